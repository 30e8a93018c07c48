//! Manifests and blobs on their way from a registry (OCI distribution spec, "Pull").

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use oci_client::secrets::RegistryAuth;
use reqwest::{Response, StatusCode, Url};

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::{MAX_MANIFEST_SIZE, Manifest};
use crate::oci::reference::Tag;

use super::body::{authority, told_digest};
use super::error::NoObject;
use super::local::is_loopback;
use super::secrets::Secrets;
use super::shown::shown_url;
use super::{Body, Client, Elsewhere, HttpStatus, RegistryError, Subject, redirect};

impl Client {
    /// The manifest of `digest`, verified.
    pub async fn manifest(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        self.verified(Subject::Manifest(digest.clone()), digest)
            .await
    }

    /// As [`Client::manifest`], of one that another manifest or list of the repository names.
    pub(crate) async fn listed_manifest(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        self.verified(Subject::Listed(digest.clone()), digest).await
    }

    async fn verified(&self, what: Subject, digest: &Digest) -> Result<Bytes, RegistryError> {
        let response = self.get_manifest(&what, &digest.to_string()).await?;
        let host = authority(response.url());
        let secrets = Secrets::of_answer(&response);
        let mut bytes = Vec::new();
        let read = self.read_into(&mut bytes, &what, response, MAX_MANIFEST_SIZE);
        let read = read.await;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found == *digest {
            return Ok(bytes.into());
        }
        read?;
        if !bytes.trim_ascii_start().starts_with(b"{") {
            check_object(&what, &host, &bytes, &secrets)?;
        }
        Err(RegistryError::Digest { what, host, found })
    }

    /// What a tag points to now: the manifest and its digest.
    pub async fn resolve(&self, tag: &Tag) -> Result<(Bytes, Digest), RegistryError> {
        let what = Subject::Tag(tag.clone());
        let response = self.get_manifest(&what, tag.as_str()).await?;
        let told = told_digest(&response);
        let way = self.way(response.url());
        let host = authority(response.url());
        let secrets = Secrets::of_answer(&response);
        let mut bytes = Vec::new();
        let read = self.read_into(&mut bytes, &what, response, MAX_MANIFEST_SIZE);
        let read = read.await;
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let other = told.as_ref().and_then(|told| {
            let found = Digest::of(told.algorithm(), &bytes);
            (found != *told).then(|| (found, told.clone()))
        });
        if let Err(error) = read {
            let is_whole = match told {
                Some(_) => other.is_none(),
                // White space may be missing, which counts: the registry knows its manifests by their digests.
                None => {
                    Manifest::parse(&bytes, None).is_ok() && self.manifest(&digest).await.is_ok()
                }
            };
            if !is_whole {
                return Err(error);
            }
        }
        check_object(&what, &host, &bytes, &secrets)?;
        match other {
            Some((found, told)) => Err(RegistryError::Told {
                what,
                way,
                found,
                told,
            }),
            None => Ok((bytes.into(), digest)),
        }
    }

    /// A GET of all of a manifest, as the registry has it.
    async fn get_manifest(
        &self,
        what: &Subject,
        reference: &str,
    ) -> Result<Response, RegistryError> {
        let path = format!("manifests/{reference}");
        let response = self.get(what, &path, None).await?;
        let what = what.clone();
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Err(RegistryError::Part {
                what,
                host: authority(response.url()),
            }),
            status @ StatusCode::NON_AUTHORITATIVE_INFORMATION => Err(RegistryError::Transformed {
                what,
                way: self.way(response.url()),
                status: HttpStatus(status),
            }),
            _ => Ok(response),
        }
    }

    /// The bytes `range` of a blob, or all of it where ranges are of no use (RFC 9110, 14): where an answer to
    /// one cannot be used, the whole blob is asked for, and no range of who gave it again. With a `url` of its descriptor it comes
    /// from there, without credentials (descriptor.md, `urls`). The bytes are not verified.
    pub(crate) async fn blob(
        &self,
        blob: &Descriptor,
        url: Option<&str>,
        range: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let ranges = self.ranges.of(url);
        if *range == (0..blob.size) || !ranges.load(Ordering::Relaxed) {
            return self.ask_for_blob(blob, url, None, ranges).await;
        }
        let part = self.ask_for_blob(blob, url, Some(range), Arc::clone(&ranges));
        match part.await {
            Err(error) if error.may_be_about_range() => {
                let whole = self.ask_for_blob(blob, url, None, Arc::clone(&ranges));
                let body = whole.await?;
                ranges.store(false, Ordering::Relaxed);
                Ok(body)
            }
            answer => answer,
        }
    }

    async fn ask_for_blob(
        &self,
        blob: &Descriptor,
        url: Option<&str>,
        range: Option<&Range<u64>>,
        ranges: Arc<AtomicBool>,
    ) -> Result<Body, RegistryError> {
        let (what, response) = match url {
            None => {
                let what = Subject::Blob(blob.digest.clone());
                let path = format!("blobs/{}", blob.digest);
                let response = self.get(&what, &path, range).await?;
                (what, response)
            }
            Some(url) => self.get_foreign(blob, url, range).await?,
        };
        let patience = self.options.idle_timeout;
        Body::new(what, response, blob.size, range, ranges, patience)
    }

    /// A GET of a URL that a descriptor has, without credentials.
    async fn get_foreign(
        &self,
        blob: &Descriptor,
        url: &str,
        range: Option<&Range<u64>>,
    ) -> Result<(Subject, Response), RegistryError> {
        let what = Subject::ForeignBlob(Box::new(Elsewhere {
            digest: blob.digest.clone(),
            place: shown_url(url),
        }));
        let connection = self.connection().await?;
        let Some(parsed) = Url::parse(url).ok().filter(redirect::is_http) else {
            return Err(RegistryError::NoUrl {
                by: self.names(&what),
                what,
                url: shown_url(url),
            });
        };
        let parsed = redirect::without_login(parsed);
        // Where it leads says more than how.
        if !connection.guard.permits(&parsed).await {
            return Err(self.local(&what, &parsed));
        }
        let may_be_plain = || is_loopback(&parsed) || connection.guard.may_be_plain(&parsed);
        if parsed.scheme() != "https" && !may_be_plain() {
            return Err(RegistryError::Url {
                what,
                url: shown_url(url),
            });
        }
        let request = what.read(range, connection.requests(&parsed).await?.get(parsed));
        let response = self.send(&what, request, &RegistryAuth::Anonymous).await?;
        let response = self.accept(&what, response).await?;
        Ok((what, response))
    }
}

/// Whether what came may be a manifest, and is not somebody's page.
fn check_object(
    what: &Subject,
    host: &str,
    bytes: &[u8],
    secrets: &Secrets,
) -> Result<(), RegistryError> {
    match NoObject::of(bytes, secrets) {
        None => Ok(()),
        Some(fault) => Err(RegistryError::NoObject {
            what: what.clone(),
            host: host.to_owned(),
            fault,
        }),
    }
}
