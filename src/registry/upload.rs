//! Manifests and blobs on their way to a registry (OCI distribution spec, "Push").

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use reqwest::header;
use reqwest::{Body, Method, Response, StatusCode, Url};

use crate::descriptor::{Descriptor, MediaType};
use crate::digest::Digest;

use super::{Registry, RegistryError, authority, authorized, client, reading, same_host};

/// Where the registry says that a blob is to be sent. It may be another host.
#[derive(Debug)]
pub struct Upload {
    location: Url,
}

/// How a registry answers a wish to mount a blob.
#[derive(Debug)]
pub enum Mount {
    /// The repository has the blob now.
    Mounted,
    /// The blob is to be sent.
    Upload(Upload),
}

impl Registry {
    /// Whether the repository has a blob ("Checking if content exists in the registry").
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("blob {digest}");
        let path = format!("blobs/{digest}");
        let shape = |request| reading(&what, None, request);
        let response = self.ask(&what, Method::HEAD, &path, shape).await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // A storage service may answer to nothing but GET.
            _ if !same_host(response.url(), &self.url(&what, &path).await?) => Ok(false),
            _ => self.accept_push(&what, response).await.map(|_| true),
        }
    }

    /// Whether the repository has a manifest.
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("manifest {digest}");
        let answer = self.head_manifest(&what, &digest.to_string()).await?;
        Ok(answer.is_some())
    }

    /// The digest that a tag points to now, if there is such a tag, as far as the registry tells.
    pub async fn tagged(&self, tag: &str) -> Result<Option<Digest>, RegistryError> {
        let response = self.head_manifest(&format!("tag {tag}"), tag).await?;
        Ok(response.and_then(|response| {
            let digest = response.headers().get("docker-content-digest")?;
            digest.to_str().ok()?.parse().ok()
        }))
    }

    async fn head_manifest(
        &self,
        what: &str,
        reference: &str,
    ) -> Result<Option<Response>, RegistryError> {
        let path = format!("manifests/{reference}");
        let shape = |request| reading(what, None, request);
        let response = self.ask(what, Method::HEAD, &path, shape).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accept_push(what, response).await.map(Some)
    }

    /// Asks for a blob that the repository `from` of the same registry has ("Mounting a blob from another
    /// repository").
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, RegistryError> {
        let what = format!("blob {digest} of {from}");
        let query = [("mount", digest.to_string()), ("from", from.to_owned())];
        let shape = |request: reqwest::RequestBuilder| {
            let request = request.query(&query);
            request.header(header::CONTENT_LENGTH, 0)
        };
        let response = self
            .ask(&what, Method::POST, "blobs/uploads/", shape)
            .await?;
        let response = self.accept_push(&what, response).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Mount::Mounted);
        }
        self.location(&what, &response).await.map(Mount::Upload)
    }

    /// Asks where to send a blob ("Pushing a blob monolithically", "POST then PUT").
    pub async fn begin_upload(&self, digest: &Digest) -> Result<Upload, RegistryError> {
        let what = format!("blob {digest}");
        let shape = |request: reqwest::RequestBuilder| request.header(header::CONTENT_LENGTH, 0);
        let response = self
            .ask(&what, Method::POST, "blobs/uploads/", shape)
            .await?;
        let response = self.accept_push(&what, response).await?;
        self.location(&what, &response).await
    }

    async fn location(&self, what: &str, response: &Response) -> Result<Upload, RegistryError> {
        let value = response.headers().get(header::LOCATION);
        let Some(value) = value.and_then(|value| value.to_str().ok()) else {
            return Err(RegistryError::NoLocation {
                what: what.to_owned(),
                host: authority(response.url()),
            });
        };
        let scheme = self.connection().await?.scheme;
        let location = response.url().join(value).ok();
        location
            .filter(|url| url.scheme() == "https" || url.scheme() == scheme)
            .map(|location| Upload { location })
            .ok_or_else(|| RegistryError::Url {
                what: what.to_owned(),
                url: value.to_owned(),
            })
    }

    /// Sends a blob, whose bytes `body` brings. The registry checks their digest.
    pub async fn upload(
        &self,
        blob: &Descriptor,
        upload: Upload,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let what = format!("blob {}", blob.digest);
        let own = self.url(&what, "").await?;
        let mut url = upload.location;
        url.query_pairs_mut()
            .append_pair("digest", &blob.digest.to_string());
        let host = authority(&url);
        let authorization = if same_host(&url, &own) {
            self.authorization().await.1
        } else {
            None
        };
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let body = body.inspect_ok(move |bytes| {
            counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        });
        // That client's limit of the time until an answer would be one of the time that an upload takes.
        let http = self
            .uploads
            .get_or_try_init(async || client(|builder| builder));
        let request = http
            .await?
            .put(url)
            .header(header::CONTENT_LENGTH, blob.size)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Body::wrap_stream(body));
        let response = tokio::select! {
            response = authorized(request, authorization).send() => {
                response.map_err(|source| self.transport(&what, source))?
            }
            () = self.stands_still(&taken) => return Err(RegistryError::Idle {
                what,
                host,
                seconds: self.options.idle_timeout.as_secs(),
            }),
        };
        self.accept_push(&what, response).await.map(drop)
    }

    /// Waits until the number has been the same for a while.
    async fn stands_still(&self, number: &AtomicU64) {
        let mut before = 0;
        loop {
            tokio::time::sleep(self.options.idle_timeout).await;
            let now = number.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Sends a manifest to its digest or to a tag ("Pushing Manifests").
    pub async fn put_manifest(
        &self,
        reference: &str,
        media_type: &MediaType,
        bytes: &Bytes,
    ) -> Result<(), RegistryError> {
        let what = if reference.contains(':') {
            format!("manifest {reference}")
        } else {
            format!("tag {reference}")
        };
        let path = format!("manifests/{reference}");
        let shape = |request: reqwest::RequestBuilder| {
            let request = request.header(header::CONTENT_TYPE, media_type.as_str());
            request.body(bytes.clone())
        };
        let response = self.ask(&what, Method::PUT, &path, shape).await?;
        self.accept_push(&what, response).await.map(drop)
    }

    /// Turns an answer that is an error into one.
    async fn accept_push(&self, what: &str, response: Response) -> Result<Response, RegistryError> {
        match self.accept(what, response).await {
            Err(RegistryError::NotFound {
                what,
                host,
                repository,
                detail,
            }) => Err(RegistryError::NoRepository {
                what,
                host,
                repository,
                detail,
            }),
            Err(RegistryError::Status {
                what,
                host,
                status: status @ StatusCode::METHOD_NOT_ALLOWED,
                detail,
                ..
            }) => Err(RegistryError::ReadOnly {
                what,
                host,
                status,
                detail,
            }),
            other => other,
        }
    }
}
