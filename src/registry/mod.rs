//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull" and "Push").
//!
//! How a registry is asked, from the bottom: `connection` has the HTTP clients, `proxies` and `local` what they
//! may reach, `certificates` whom they trust; `challenge`, `token` and `authorization` show who is asking; `subject`, `error` and `retry` are of
//! every request. On that stand manifests and blobs, `referrers` and `upload`.

mod authorization;
mod body;
mod certificates;
mod challenge;
mod connection;
mod credentials;
mod error;
mod local;
mod mirrors;
mod no_answer;
mod proxies;
mod referrers;
mod retry;
mod subject;
mod token;
mod upload;

pub(crate) use body::Body;
pub use certificates::{Certificates, CertificatesError};
pub use challenge::Challenge;
pub use credentials::{AuthFile, Credential, CredentialError, Found, Keychain};
pub use error::{HttpStatus, RegistryError, TokenError};
pub use mirrors::{Mirror, MirrorError, Mirrors, MirrorsError};
pub use no_answer::{NoAnswer, Reason};
pub use proxies::{Proxies, ProxyError};
pub(crate) use retry::Backoff;
pub use retry::Retry;
pub use subject::{Elsewhere, Subject};
pub(crate) use upload::{ManifestName, Mount, Upload};

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oci_client::secrets::RegistryAuth;
use reqwest::header;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::{Mutex, OnceCell};

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::MAX_MANIFEST_SIZE;
use crate::oci::reference::Reference;

use authorization::{Access, authorized};
use body::authority;
use connection::{Connection, same_host};
use error::error_detail;
use local::is_loopback;
use token::is_passing;

/// What is read of a token or of an error's body, in bytes.
const MAX_SMALL: u64 = 1 << 20;
/// How many times the longest silence what is small may take in all.
const MAX_SILENCES: u32 = 4;

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Where credentials are found.
    pub keychain: Keychain,
    /// The hosts (with port) that are spoken to without TLS.
    pub plain_http: BTreeSet<String>,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// The authorities that are trusted beside those of the system.
    pub certificates: Certificates,
    /// Directories that have one for each registry, with its certificates.
    pub certificates_by_registry: Vec<PathBuf>,
    /// How long a connection may say nothing. What is small may take four times as long in all.
    pub idle_timeout: Duration,
}

impl Default for RegistryOptions {
    /// No credentials, no proxies, and a minute of silence.
    fn default() -> Self {
        RegistryOptions {
            keychain: Keychain::default(),
            plain_http: BTreeSet::new(),
            proxies: Proxies::default(),
            certificates: Certificates::default(),
            certificates_by_registry: Vec::new(),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// A repository of a registry.
#[derive(Debug)]
pub struct Registry {
    reference: Reference,
    options: RegistryOptions,
    purpose: Purpose,
    connection: OnceCell<Connection>,
    access: Mutex<Access>,
    /// Whether anybody has answered yet.
    answered: AtomicBool,
}

/// What a registry's token service is asked to permit.
#[derive(Debug)]
enum Purpose {
    Pull,
    /// To push, and to read what is mounted from these repositories.
    Push(Vec<String>),
}

impl Registry {
    /// The repository of `reference`; nothing is asked of it yet.
    pub fn new(reference: Reference, options: RegistryOptions) -> Self {
        Self::with_purpose(reference, options, Purpose::Pull)
    }

    /// As [`Registry::new`], to push to, and to mount blobs from `sources`, which are repositories of the
    /// same registry.
    pub fn for_push(reference: Reference, options: RegistryOptions, sources: Vec<String>) -> Self {
        Self::with_purpose(reference, options, Purpose::Push(sources))
    }

    fn with_purpose(reference: Reference, options: RegistryOptions, purpose: Purpose) -> Self {
        Registry {
            reference,
            options,
            purpose,
            connection: OnceCell::new(),
            access: Mutex::default(),
            answered: AtomicBool::new(false),
        }
    }

    async fn connection(&self) -> Result<&Connection, RegistryError> {
        let (registry, host) = (self.reference.registry(), self.reference.api_host());
        let connect = || Connection::to(registry, host, &self.options);
        self.connection.get_or_try_init(connect).await
    }

    /// The reference that this was made for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest of `digest`, verified.
    pub async fn manifest(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        let what = Subject::Manifest(digest.clone());
        let response = self
            .get(&what, &format!("manifests/{digest}"), None)
            .await?;
        let bytes = self.read(&what, response, MAX_MANIFEST_SIZE).await?;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(RegistryError::Digest {
                what,
                host: self.host(),
                found,
            })
        }
    }

    /// What a tag points to now: the manifest and its digest.
    pub async fn resolve(&self, tag: &str) -> Result<(Bytes, Digest), RegistryError> {
        let what = Subject::Tag(tag.to_owned());
        let response = self.get(&what, &format!("manifests/{tag}"), None).await?;
        let bytes = self.read(&what, response, MAX_MANIFEST_SIZE).await?;
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Ok((bytes, digest))
    }

    /// The bytes `range` of a blob, or all of it where the registry has no ranges (RFC 9110, 14).
    /// They are not verified.
    pub(crate) async fn blob(
        &self,
        blob: &Descriptor,
        range: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let what = Subject::Blob(blob.digest.clone());
        let path = format!("blobs/{}", blob.digest);
        let response = self.get(&what, &path, part(blob, range)).await?;
        Body::new(what, response, blob.size, range)
    }

    /// A blob from `url`, without credentials (descriptor.md, `urls`).
    pub(crate) async fn foreign_blob(
        &self,
        blob: &Descriptor,
        url: &str,
        range: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let what = Subject::ForeignBlob(Box::new(Elsewhere {
            digest: blob.digest.clone(),
            place: url.to_owned(),
        }));
        let parsed = Url::parse(url).ok().filter(|parsed| {
            parsed.scheme() == "https"
                || (parsed.scheme() == "http"
                    && (is_loopback(&authority(parsed))
                        || self.options.plain_http.contains(&authority(parsed))))
        });
        let Some(parsed) = parsed else {
            return Err(RegistryError::Url {
                what,
                url: url.to_owned(),
            });
        };
        let connection = self.connection().await?;
        let is_named = self.options.plain_http.contains(&authority(&parsed));
        if !is_named && !connection.guard.permits(&parsed).await {
            return Err(self.local(&what, &parsed));
        }
        let request = connection.foreign().await?.get(parsed);
        let request = what.read(part(blob, range), request);
        let response = self.send(&what, request, &RegistryAuth::Anonymous).await?;
        let response = self.accept(&what, response).await?;
        Body::new(what, response, blob.size, range)
    }

    /// A GET below `/v2/REPOSITORY/`, authorized as need be.
    async fn get(
        &self,
        what: &Subject,
        path: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let url = self.url(what, path).await?;
        self.get_url(what, url, range).await
    }

    /// A GET of the registry itself, authorized as need be.
    async fn get_url(
        &self,
        what: &Subject,
        url: Url,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let shape = |request| what.read(range, request);
        let response = self.ask_url(what, Method::GET, url, shape).await?;
        self.accept(what, response).await
    }

    /// A request below `/v2/REPOSITORY/`, authorized as need be. The answer may be an error.
    async fn ask(
        &self,
        what: &Subject,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let url = self.url(what, path).await?;
        self.ask_url(what, method, url, shape).await
    }

    /// A URL below `/v2/REPOSITORY/`.
    async fn url(&self, what: &Subject, path: &str) -> Result<Url, RegistryError> {
        let base = self.base().await?;
        let path = format!("{}/{path}", self.reference.repository());
        base.join(&path).map_err(|_| RegistryError::Url {
            what: what.clone(),
            url: path,
        })
    }

    /// The registry's `/v2/`.
    async fn base(&self) -> Result<Url, RegistryError> {
        let scheme = self.connection().await?.scheme;
        let url = format!("{scheme}://{}/v2/", self.reference.api_host());
        Url::parse(&url).map_err(|_| RegistryError::Url {
            what: Subject::Support,
            url,
        })
    }

    async fn send(
        &self,
        what: &Subject,
        request: RequestBuilder,
        auth: &RegistryAuth,
    ) -> Result<Response, RegistryError> {
        match authorized(request, auth).send().await {
            Ok(response) => {
                self.answered.store(true, Ordering::Relaxed);
                Ok(response)
            }
            Err(source) => Err(self.transport(what, source)),
        }
    }

    /// Turns an answer that is an error into one.
    async fn accept(&self, what: &Subject, response: Response) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // What another host refuses, no login at the registry permits.
        let is_own = same_host(response.url(), &self.base().await?);
        let error = self.status_error(what, response).await;
        Err(match (status, error) {
            (
                StatusCode::NOT_FOUND,
                RegistryError::Status {
                    what, host, detail, ..
                },
            ) if is_own => RegistryError::NotFound {
                what,
                host,
                repository: self.reference.repository().to_owned(),
                detail,
            },
            (
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN,
                RegistryError::Status {
                    what, host, detail, ..
                },
            ) if is_own => RegistryError::Access {
                what,
                host,
                status: HttpStatus(status),
                detail,
                advice: self.login_advice(status).await?,
            },
            (_, error) => error,
        })
    }

    /// The error that an answer is, whoever gave it.
    async fn status_error(&self, what: &Subject, response: Response) -> RegistryError {
        let status = response.status();
        let host = authority(response.url());
        let retry = if is_passing(status) {
            let after = response.headers().get(header::RETRY_AFTER);
            after
                .and_then(|value| retry::parse_retry_after(value.to_str().ok()?, SystemTime::now()))
                .map_or(Retry::Backoff, Retry::After)
        } else {
            Retry::Never
        };
        let mut detail = match self.read(what, response, MAX_SMALL).await {
            Ok(body) => error_detail(&body),
            Err(_) => String::new(),
        };
        if status == StatusCode::TOO_MANY_REQUESTS {
            detail = format!(
                "{detail}; wait, or log in with `docker login {}` if you are not",
                self.reference.registry()
            );
        }
        RegistryError::Status {
            what: what.clone(),
            host,
            status: HttpStatus(status),
            detail,
            retry,
        }
    }

    /// Reads what is small, in a time that is limited too.
    async fn read(
        &self,
        what: &Subject,
        response: Response,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let host = authority(response.url());
        let time = self.options.idle_timeout * MAX_SILENCES;
        let read = self.read_slowly(what, response, limit);
        match tokio::time::timeout(time, read).await {
            Ok(read) => read,
            Err(_) => Err(RegistryError::Slow {
                what: what.clone(),
                host,
                seconds: time.as_secs(),
            }),
        }
    }

    async fn read_slowly(
        &self,
        what: &Subject,
        mut response: Response,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let too_large = RegistryError::TooLarge {
            what: what.clone(),
            host: authority(response.url()),
            limit,
        };
        let mut bytes = Vec::new();
        if response.content_length().unwrap_or(0) > limit {
            return Err(too_large);
        }
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|source| self.transport(what, source))?
        {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    fn host(&self) -> String {
        self.reference.registry().to_owned()
    }

    fn local(&self, what: &Subject, url: &Url) -> RegistryError {
        RegistryError::Local {
            what: what.clone(),
            url: url.to_string(),
            registry: self.host(),
        }
    }

    fn transport(&self, what: &Subject, source: reqwest::Error) -> RegistryError {
        let host = source.url().map(authority);
        RegistryError::Transport {
            what: what.clone(),
            host: host.unwrap_or_else(|| self.host()),
            why: NoAnswer::new(source, self.answered.load(Ordering::Relaxed)),
        }
    }
}

/// What to ask for to get `range` of a blob: nothing where that is all of it.
fn part<'a>(blob: &Descriptor, range: &'a Range<u64>) -> Option<&'a Range<u64>> {
    (*range != (0..blob.size)).then_some(range)
}
