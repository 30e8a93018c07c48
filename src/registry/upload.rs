//! Manifests and blobs on their way to a registry (OCI distribution spec, "Push").

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _, stream};
use oci_client::secrets::RegistryAuth;
use reqwest::header;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};

use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::digest::Digest;
use crate::oci::reference::{Repository, Tag};

use super::body::{authority, told_digest};
use super::shown::shown_url;
use super::{Client, Elsewhere, HttpStatus, RegistryError, Retry, Subject, redirect};

/// The longest chunk that a registry may want, in bytes: it is kept in memory.
const MAX_CHUNK: usize = 64 << 20;
/// The length in which a chunk is handed to the network, to see whether it goes on.
const PIECE: usize = 64 << 10;

/// A blob that is being sent.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Where the registry says that it is to be sent. It may be another host.
    location: Url,
    /// The bytes that the registry has.
    received: u64,
    /// No chunk but the last one may be shorter (`OCI-Chunk-Min-Length`).
    least_chunk: usize,
}

impl Upload {
    /// How many bytes of the blob the registry has.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Where the last request of the upload goes to.
    fn end(&self, digest: &Digest) -> Url {
        let mut url = self.location.clone();
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        url
    }
}

/// The name that a manifest is pushed to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ManifestName<'a> {
    Digest(&'a Digest),
    Tag(&'a Tag),
}

/// How a registry answers a wish to mount a blob.
#[derive(Debug)]
pub(crate) enum Mount {
    /// The repository has the blob now.
    Mounted,
    /// The blob is to be sent.
    Upload(Upload),
}

impl Client {
    /// Whether the repository has a blob ("Checking if content exists in the registry").
    pub(crate) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let what = Subject::Blob(blob.digest.clone());
        let path = format!("blobs/{}", blob.digest);
        let shape = |request| what.read(None, request);
        let response = self.ask(&what, Method::HEAD, &path, shape).await?;
        let is_own = self.is_own_answer(&response).await?;
        match response.status() {
            StatusCode::OK => Ok(tells_of(&response, is_own, blob)),
            // Who does not answer to it may take a push all the same.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(false),
            // A storage service may answer to nothing but GET.
            status if status.is_success() || !is_own => Ok(false),
            _ => self.accept_push(&what, response).await.map(|_| true),
        }
    }

    /// Whether the repository has a manifest.
    pub(crate) async fn has_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let what = Subject::Manifest(digest.clone());
        let answer = self.head_manifest(&what, &digest.to_string()).await?;
        // To send it again costs little, and somebody's page is there for everything.
        Ok(answer.as_ref().and_then(told_digest).as_ref() == Some(digest))
    }

    /// The digest that a tag points to now, if there is such a tag, as far as the registry tells.
    pub(crate) async fn tagged(&self, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let response = self
            .head_manifest(&Subject::Tag(tag.clone()), tag.as_str())
            .await?;
        Ok(response.as_ref().and_then(told_digest))
    }

    async fn head_manifest(
        &self,
        what: &Subject,
        reference: &str,
    ) -> Result<Option<Response>, RegistryError> {
        let path = format!("manifests/{reference}");
        let shape = |request| what.read(None, request);
        let response = self.ask(what, Method::HEAD, &path, shape).await?;
        if let StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED = response.status() {
            return Ok(None);
        }
        self.accept_push(what, response).await.map(Some)
    }

    /// Asks for a blob that the repository `from` of the same registry has ("Mounting a blob from another
    /// repository").
    pub(crate) async fn mount(
        &self,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mount, RegistryError> {
        let what = Subject::MountedBlob(Box::new(Elsewhere {
            digest: digest.clone(),
            place: from.path().to_owned(),
        }));
        let query = [
            ("mount", digest.to_string()),
            ("from", from.path().to_owned()),
        ];
        let shape = |request: RequestBuilder| empty(request.query(&query));
        let response = self
            .ask(&what, Method::POST, "blobs/uploads/", shape)
            .await?;
        let response = self.accept_push(&what, response).await?;
        took(
            what.clone(),
            &response,
            &[StatusCode::CREATED, StatusCode::ACCEPTED],
        )?;
        if response.status() == StatusCode::CREATED {
            return as_sent(what, &response, digest).map(|()| Mount::Mounted);
        }
        self.location(&what, &response).await.map(Mount::Upload)
    }

    /// Asks where to send a blob ("Pushing a blob monolithically", "POST then PUT").
    pub(crate) async fn begin_upload(&self, digest: &Digest) -> Result<Upload, RegistryError> {
        let what = Subject::Blob(digest.clone());
        let response = self
            .ask(&what, Method::POST, "blobs/uploads/", empty)
            .await?;
        let response = self.accept_push(&what, response).await?;
        took(what.clone(), &response, &[StatusCode::ACCEPTED])?;
        self.location(&what, &response).await
    }

    /// Asks what the registry has of an upload that broke off ("Pushing a blob in chunks", the status of an
    /// upload). If it says nothing of use, the blob is to be sent anew; an error is the token service's.
    pub(crate) async fn resume_upload(
        &self,
        blob: &Descriptor,
        broken: &Upload,
    ) -> Result<Option<Upload>, RegistryError> {
        let what = Subject::Blob(blob.digest.clone());
        let response = match self.upload_status(&what, broken).await {
            Ok(response) => response,
            // It was not asked.
            Err(
                error @ (RegistryError::Status {
                    what: Subject::Token,
                    ..
                }
                | RegistryError::Transport {
                    what: Subject::Token,
                    ..
                }),
            ) => return Err(error),
            Err(_) => return Ok(None),
        };
        let range = response.headers().get(header::RANGE);
        let received = range.and_then(|range| received(range.to_str().ok()?));
        let (Some(received), Ok(upload)) = (received, self.location(&what, &response).await) else {
            return Ok(None);
        };
        Ok((received <= blob.size).then_some(Upload {
            received,
            least_chunk: broken.least_chunk,
            ..upload
        }))
    }

    async fn upload_status(
        &self,
        what: &Subject,
        upload: &Upload,
    ) -> Result<Response, RegistryError> {
        let url = upload.location.clone();
        let response = if self.is_own(&url).await? {
            self.ask_url(what, Method::GET, url, |request| request)
                .await?
        } else {
            let request = self.connection().await?.requests(&url).await?.get(url);
            self.send(what, request, &RegistryAuth::Anonymous).await?
        };
        self.accept_push(what, response).await
    }

    async fn location(&self, what: &Subject, response: &Response) -> Result<Upload, RegistryError> {
        let value = response.headers().get(header::LOCATION);
        let Some(value) = value.map(redirect::text_of) else {
            return Err(RegistryError::NoLocation {
                what: what.clone(),
                host: authority(response.url()),
            });
        };
        let least_chunk = response.headers().get("oci-chunk-min-length");
        let least_chunk = least_chunk
            .and_then(|length| length.to_str().ok()?.parse().ok())
            .filter(|length| *length <= MAX_CHUNK)
            .unwrap_or(1);
        let connection = self.connection().await?;
        let location = redirect::named(response, &value)
            .filter(redirect::is_http)
            .ok_or_else(|| RegistryError::NoUrl {
                what: what.clone(),
                by: authority(response.url()),
                url: shown_url(&value),
            })?;
        if location.scheme() != "https" && connection.base.scheme() == "https" {
            return Err(RegistryError::Location {
                what: what.clone(),
                host: authority(response.url()),
                url: shown_url(&value),
            });
        }
        if !connection.guard.permits(&location).await {
            return Err(self.local(what, &location));
        }
        Ok(Upload {
            location,
            received: 0,
            least_chunk,
        })
    }

    /// Sends what the registry does not have of a blob, whose bytes `body` brings, in one request ("Pushing
    /// a blob monolithically"). The registry checks their digest.
    ///
    /// If that fails, `upload` tells with what to go on.
    pub(crate) async fn upload(
        &self,
        blob: &Descriptor,
        upload: &mut Upload,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RegistryError> {
        if upload.received == 0 {
            return self.end_upload(blob, upload, blob.size, body).await;
        }
        if upload.received < blob.size {
            self.send_chunk(blob, upload, blob.size, body).await?;
        }
        self.end_upload(blob, upload, 0, stream::empty()).await
    }

    /// As [`Client::upload`], in several requests, each with at most `length` bytes ("Pushing a blob in
    /// chunks").
    pub(crate) async fn upload_in_chunks(
        &self,
        blob: &Descriptor,
        upload: &mut Upload,
        length: usize,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let length = length.max(upload.least_chunk);
        let mut body = Box::pin(body);
        let mut chunk = BytesMut::new();
        loop {
            let more = body.try_next().await;
            // Whose bytes they are knows why.
            let more = more.map_err(|_| RegistryError::Body {
                what: Subject::Blob(blob.digest.clone()),
            })?;
            let ended = more.is_none();
            chunk.extend(more);
            while chunk.len() >= length || (ended && !chunk.is_empty()) {
                let bytes = chunk.split_to(length.min(chunk.len())).freeze();
                let end = upload.received + bytes.len() as u64;
                let pieces = (0..bytes.len()).step_by(PIECE).map(|begin| {
                    let end = bytes.len().min(begin + PIECE);
                    Ok(bytes.slice(begin..end))
                });
                let pieces = stream::iter(pieces.collect::<Vec<_>>());
                self.send_chunk(blob, upload, end, pieces).await?;
            }
            if ended {
                break;
            }
        }
        self.end_upload(blob, upload, 0, stream::empty()).await
    }

    /// Sends the bytes up to `end` behind those that the registry has.
    async fn send_chunk(
        &self,
        blob: &Descriptor,
        upload: &mut Upload,
        end: u64,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let what = Subject::Upload(blob.digest.clone());
        let begin = upload.received;
        let shape = |request: RequestBuilder| {
            request
                .header(header::CONTENT_LENGTH, end - begin)
                .header(header::CONTENT_RANGE, format!("{begin}-{}", end - 1))
        };
        let url = upload.location.clone();
        let response = self.send_to(&what, Method::PATCH, url, shape, body).await?;
        *upload = Upload {
            received: end,
            ..self.location(&what, &response).await?
        };
        Ok(())
    }

    /// Ends an upload with the last `length` bytes.
    async fn end_upload(
        &self,
        blob: &Descriptor,
        upload: &Upload,
        length: u64,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), RegistryError> {
        let what = Subject::Upload(blob.digest.clone());
        let url = upload.end(&blob.digest);
        let shape = |request: RequestBuilder| request.header(header::CONTENT_LENGTH, length);
        let response = self.send_to(&what, Method::PUT, url, shape, body).await?;
        // A storage service answers as it likes.
        if self.is_own_answer(&response).await? {
            took(what.clone(), &response, &[StatusCode::CREATED])?;
        }
        as_sent(what, &response, &blob.digest)
    }

    /// A request with bytes of a blob to a location.
    async fn send_to(
        &self,
        what: &Subject,
        method: Method,
        url: Url,
        shape: impl FnOnce(RequestBuilder) -> RequestBuilder,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Response, RegistryError> {
        let is_own = self.is_own(&url).await?;
        let (generation, auth) = if is_own {
            self.authorization().await?
        } else {
            (0, RegistryAuth::Anonymous)
        };
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let body = body.inspect_ok(move |bytes| {
            counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        });
        let http = self.connection().await?.uploads(&url).await?;
        let host = authority(&url);
        let request = http
            .request(method, url)
            .header(header::CONTENT_TYPE, MediaType::OCTET_STREAM.as_str())
            .body(Body::wrap_stream(body));
        let response = tokio::select! {
            response = self.send(what, shape(request), &auth) => response?,
            () = self.stands_still(&taken) => return Err(RegistryError::Idle {
                what: what.clone(),
                host,
                seconds: self.options.idle_timeout.as_secs(),
            }),
        };
        // The bytes are gone, but what is sent next shows what this one was asked for.
        if is_own
            && self.is_own_answer(&response).await?
            && let Some(challenges) = self.challenges(&response, &auth).await?
        {
            // Who is refused with a token has no right, and is not to be told that the token service was busy.
            let answered = self.answer(generation, &challenges, response.status());
            match answered.await {
                Err(error) if error.is_transient() => {}
                met => drop(met?),
            }
        }
        self.accept_push(what, response).await
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
    pub(crate) async fn put_manifest(
        &self,
        name: ManifestName<'_>,
        media_type: &MediaType,
        bytes: &Bytes,
    ) -> Result<(), RegistryError> {
        let (what, path) = match name {
            ManifestName::Digest(digest) => (
                Subject::Manifest(digest.clone()),
                format!("manifests/{digest}"),
            ),
            ManifestName::Tag(tag) => (Subject::Tag(tag.clone()), format!("manifests/{tag}")),
        };
        let shape = |request: RequestBuilder| {
            let request = request.header(header::CONTENT_TYPE, media_type.as_str());
            request.body(bytes.clone())
        };
        let response = self.ask(&what, Method::PUT, &path, shape).await?;
        let response = self.accept_push(&what, response).await?;
        match told_digest(&response) {
            Some(found) if found != Digest::of(found.algorithm(), bytes) => {
                Err(RegistryError::Changed {
                    what,
                    host: authority(response.url()),
                    found,
                })
            }
            // Only who has it knows its digest, whatever the status: Quay has answered 202.
            Some(_) => Ok(()),
            None if self.is_own_answer(&response).await? => {
                took(what, &response, &[StatusCode::CREATED])
            }
            None => took(what, &response, &[]),
        }
    }

    /// Turns an answer that is an error into one.
    async fn accept_push(
        &self,
        what: &Subject,
        response: Response,
    ) -> Result<Response, RegistryError> {
        match self.accept(what, response).await {
            Err(RegistryError::NotFound {
                what,
                host,
                repository,
                detail,
                may_be_repository,
            }) => Err(if may_be_repository {
                RegistryError::NoRepository {
                    what,
                    host,
                    repository,
                    detail,
                }
            } else {
                RegistryError::Status {
                    what,
                    host,
                    status: HttpStatus(StatusCode::NOT_FOUND),
                    detail,
                    retry: Retry::Never,
                }
            }),
            Err(RegistryError::Status {
                what,
                host,
                status: status @ HttpStatus(StatusCode::METHOD_NOT_ALLOWED),
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

/// Whether an answer is of a blob, and not of somebody's page, which is there for everything: it tells the length, or the
/// registry itself tells the digest, and neither is another one.
fn tells_of(response: &Response, is_own: bool, blob: &Descriptor) -> bool {
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let digest = told_digest(response);
    let digest = digest.filter(|told| told.algorithm() == blob.digest.algorithm());
    let may_tell = length.is_some() || (is_own && digest.is_some());
    may_tell
        && length.is_none_or(|length| length == blob.size)
        && digest.is_none_or(|digest| digest == blob.digest)
}

/// That a good answer is one of those by which a push is taken.
fn took(what: Subject, response: &Response, by: &[StatusCode]) -> Result<(), RegistryError> {
    if by.contains(&response.status()) {
        return Ok(());
    }
    Err(RegistryError::NotTaken {
        what,
        host: authority(response.url()),
        status: HttpStatus(response.status()),
    })
}

/// That what was taken is the blob that was sent, as far as it is told.
fn as_sent(what: Subject, response: &Response, digest: &Digest) -> Result<(), RegistryError> {
    match told_digest(response) {
        Some(found) if found.algorithm() == digest.algorithm() && found != *digest => {
            let host = authority(response.url());
            Err(RegistryError::Changed { what, host, found })
        }
        _ => Ok(()),
    }
}

fn empty(request: RequestBuilder) -> RequestBuilder {
    request.header(header::CONTENT_LENGTH, 0)
}

/// How many bytes of an upload a registry has that tells it so: `0-LAST`. What has none is told as `0-0`
/// by some, so that may be none or one.
fn received(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    (last > 0).then(|| last.checked_add(1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_registry_has_of_an_upload() {
        assert_eq!(received("0-9"), Some(10));
        assert_eq!(received("bytes=0-9"), Some(10));
        for nothing in ["0-0", "0--1", "5-9", "0-18446744073709551615", "0", ""] {
            assert_eq!(received(nothing), None, "{nothing}");
        }
    }
}
