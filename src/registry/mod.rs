//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull").
//!
//! The token flow is `oci_client`'s. Manifests and blobs are asked for beside it, with the same HTTP
//! library, because it neither bounds what it reads nor verifies what it resumes.

mod challenge;
mod credentials;
mod retry;

pub use challenge::Challenge;
pub use credentials::{AuthFile, Credential, CredentialError, Found, Keychain};
pub use retry::Backoff;

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oci_client::RegistryOperation;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};

use crate::descriptor::{Descriptor, MediaType};
use crate::digest::{Algorithm, Digest};
use crate::manifest::MAX_MANIFEST_SIZE;
use crate::reference::Reference;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// What is read of an error's body, in bytes.
const ERROR_BODY_LIMIT: u64 = 64 * 1024;
const USER_AGENT: &str = concat!("oci-pull-all/", env!("CARGO_PKG_VERSION"));

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer, or it broke off.
    #[error("{what}: no answer from {host}")]
    Transport {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// Why it failed.
        source: reqwest::Error,
    },
    /// The answer is an error.
    #[error("{what}: {host} answered {status}{detail}")]
    Status {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The status.
        status: StatusCode,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// Not allowed, or not without logging in.
    #[error("{what}: {host} refused access ({status}){detail}; {advice}")]
    Access {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// 401 or 403.
        status: StatusCode,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// What to do.
        advice: String,
    },
    /// Not there.
    #[error(
        "{what}: {host} has none in {repository}{detail}; check the repository's name and the digest"
    )]
    NotFound {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The repository.
        repository: String,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
    },
    /// More bytes than admitted.
    #[error("{what}: {host} sends more than the limit of {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not those of the digest.
    #[error("{what}: what {host} sent has the digest {found}")]
    Digest {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The digest of what came.
        found: Digest,
    },
    /// A partial answer that does not begin where it was asked to.
    #[error("{what}: {host} sent another range than asked for")]
    Range {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
    },
    /// An answer that says that it is longer or shorter than what is asked for.
    #[error("{what}: {host} announces {said} bytes where there should be {left}")]
    Length {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The length that the answer says it has.
        said: u64,
        /// The length of what was asked for.
        left: u64,
    },
    /// A body without an error that has fewer bytes than the blob.
    #[error("{what}: {host} ended the answer after {found} bytes")]
    Short {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// Where in the blob the answer ended.
        found: u64,
    },
    /// A URL that must not or cannot be fetched.
    #[error(
        "{what}: {url:?} is not an https URL, and plain HTTP was not asked for with --plain-http"
    )]
    Url {
        /// What was asked for.
        what: String,
        /// The URL.
        url: String,
    },
    /// The credentials are not to be had.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The token service gave no token.
    #[error(
        "{host}: cannot get a token for {repository}; check the login with `docker login {host}`"
    )]
    Token {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up HTTPS")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RegistryError {
    /// Whether another try may succeed, and if so, how long the registry asks to wait.
    pub fn transient(&self) -> Option<Option<Duration>> {
        match self {
            RegistryError::Transport { source, .. } => {
                let hopeless = source.is_redirect() || is_certificate_error(source);
                (!hopeless).then_some(None)
            }
            RegistryError::Status {
                status,
                retry_after,
                ..
            } => (status.is_server_error()
                || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status))
            .then_some(*retry_after),
            RegistryError::Range { .. }
            | RegistryError::Length { .. }
            | RegistryError::Short { .. } => Some(None),
            _ => None,
        }
    }
}

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where credentials are found.
    pub keychain: Keychain,
    /// The hosts (with port) that are spoken to without TLS.
    pub plain_http: BTreeSet<String>,
    /// How long a connection may say nothing.
    pub idle_timeout: Duration,
}

/// A repository of a registry.
#[derive(Debug)]
pub struct Registry {
    reference: Reference,
    options: Options,
    connection: OnceCell<Connection>,
    access: Mutex<Access>,
}

/// Made at the first request: a pull that finds all in the store needs none.
#[derive(Debug)]
struct Connection {
    http: reqwest::Client,
    scheme: &'static str,
}

/// The current `Authorization` header; `generation` grows with each renewal.
#[derive(Debug, Default)]
struct Access {
    generation: u64,
    header: Option<HeaderValue>,
}

impl Registry {
    /// The repository of `reference`; nothing is asked of it yet.
    pub fn new(reference: Reference, options: Options) -> Self {
        Registry {
            reference,
            options,
            connection: OnceCell::new(),
            access: Mutex::default(),
        }
    }

    async fn connection(&self) -> Result<&Connection, RegistryError> {
        self.connection.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connection, RegistryError> {
        // Fails only when a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(self.options.idle_timeout)
            .redirect(redirect_policy())
            .build()
            .map_err(|error| RegistryError::Client(error.into()))?;
        let host = self.reference.api_host();
        let scheme = if self.options.plain_http.contains(self.reference.registry())
            || (is_loopback(host) && !speaks_tls(&http, host).await)
        {
            "http"
        } else {
            "https"
        };
        Ok(Connection { http, scheme })
    }

    /// The reference that this was made for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest of `digest`, verified.
    pub async fn manifest(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        let what = format!("manifest {digest}");
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
        let what = format!("tag {tag}");
        let response = self.get(&what, &format!("manifests/{tag}"), None).await?;
        let bytes = self.read(&what, response, MAX_MANIFEST_SIZE).await?;
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Ok((bytes, digest))
    }

    /// The bytes `range` of a blob, or all of it where the registry has no ranges (RFC 9110, 14).
    /// They are not verified.
    pub async fn blob(&self, blob: &Descriptor, range: &Range<u64>) -> Result<Body, RegistryError> {
        let digest = &blob.digest;
        let what = format!("blob {digest}");
        let path = format!("blobs/{digest}");
        let response = self.get(&what, &path, part(blob, range)).await?;
        self.body(what, response, blob.size, range)
    }

    /// A blob from `url`, without credentials (descriptor.md, `urls`).
    pub async fn foreign_blob(
        &self,
        blob: &Descriptor,
        url: &str,
        range: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let what = format!("blob {} from {url}", blob.digest);
        let parsed = Url::parse(url).ok().filter(|parsed| {
            parsed.scheme() == "https"
                || (parsed.scheme() == "http"
                    && parsed.host_str().is_some_and(|host| {
                        let with_port = match parsed.port() {
                            Some(port) => format!("{host}:{port}"),
                            None => host.to_owned(),
                        };
                        is_loopback(&with_port) || self.options.plain_http.contains(&with_port)
                    }))
        });
        let Some(parsed) = parsed else {
            return Err(RegistryError::Url {
                what,
                url: url.to_owned(),
            });
        };
        let response = self.send(&what, parsed, part(blob, range), None).await?;
        let response = self.accept(&what, response).await?;
        self.body(what, response, blob.size, range)
    }

    /// What an answer to a request for `wanted` brings of a blob of `size` bytes.
    fn body(
        &self,
        what: String,
        response: Response,
        size: u64,
        wanted: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let range = if partial {
            // The answer may be shorter than what was asked for; the rest is asked for again.
            let sent = content_range(response.headers())
                .filter(|sent| sent.start == wanted.start && sent.end <= wanted.end);
            match sent {
                Some(sent) => sent,
                None => {
                    return Err(RegistryError::Range {
                        what,
                        host: self.host(),
                    });
                }
            }
        } else {
            0..size
        };
        let left = range.end - range.start;
        if let Some(said) = response.content_length().filter(|said| *said != left) {
            return Err(RegistryError::Length {
                what,
                host: authority(response.url()),
                said,
                left,
            });
        }
        Ok(Body {
            range,
            whole: !partial,
            what,
            host: authority(response.url()),
            response,
        })
    }

    /// A GET below `/v2/REPOSITORY/`, authorized as need be.
    async fn get(
        &self,
        what: &str,
        path: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let url = format!(
            "{}://{}/v2/{}/{path}",
            self.connection().await?.scheme,
            self.reference.api_host(),
            self.reference.repository()
        );
        let url = Url::parse(&url).map_err(|_| RegistryError::Url {
            what: what.to_owned(),
            url: url.clone(),
        })?;
        let (generation, authorization) = {
            let access = self.access.lock().await;
            (access.generation, access.header.clone())
        };
        let response = self.send(what, url.clone(), range, authorization).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !same_host(response.url(), &url) {
            return self.accept(what, response).await;
        }
        match self.authorize(generation, response.headers()).await? {
            Some(authorization) => {
                let response = self.send(what, url, range, Some(authorization)).await?;
                self.accept(what, response).await
            }
            None => self.accept(what, response).await,
        }
    }

    async fn send(
        &self,
        what: &str,
        url: Url,
        range: Option<&Range<u64>>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let http = &self.connection().await?.http;
        let mut request = http.request(Method::GET, url);
        if what.starts_with("blob") {
            // A proxy that compresses would change the bytes and break ranges.
            request = request.header(header::ACCEPT_ENCODING, "identity");
        } else {
            request = request.header(header::ACCEPT, MediaType::MANIFESTS.join(", "));
        }
        if let Some(range) = range {
            let range = format!("bytes={}-{}", range.start, range.end - 1);
            request = request.header(header::RANGE, range);
        }
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request
            .send()
            .await
            .map_err(|source| self.transport(what, source))
    }

    /// Turns an answer that is an error into one.
    async fn accept(&self, what: &str, response: Response) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let what = what.to_owned();
        let host = authority(response.url());
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| retry::parse_retry_after(value.to_str().ok()?, SystemTime::now()));
        let detail = match self.read(&what, response, ERROR_BODY_LIMIT).await {
            Ok(body) => error_detail(&body),
            Err(_) => String::new(),
        };
        let registry = self.reference.registry();
        Err(match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound {
                what,
                host,
                repository: self.reference.repository().to_owned(),
                detail,
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Access {
                what,
                host,
                status,
                detail,
                advice: match self.options.keychain.find(&self.reference).await? {
                    Some(_) => format!(
                        "the credentials found for {registry} do not serve for {}: log in again with `docker login {registry}`",
                        self.reference.repository()
                    ),
                    None => format!(
                        "no credentials were found for {registry}: log in with `docker login {registry}`, or check the repository's name"
                    ),
                },
            },
            _ => RegistryError::Status {
                what,
                host,
                status,
                detail,
                retry_after,
            },
        })
    }

    async fn read(
        &self,
        what: &str,
        mut response: Response,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let mut bytes = Vec::new();
        let too_large = |found: u64| found > limit;
        if too_large(response.content_length().unwrap_or(0)) {
            return Err(self.too_large(what, limit));
        }
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|source| self.transport(what, source))?
        {
            if too_large((bytes.len() + chunk.len()) as u64) {
                return Err(self.too_large(what, limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    /// Gets a new `Authorization` header as the challenge in `headers` asks, unless another request
    /// has done so since `generation`. `None` when there is nothing to offer.
    async fn authorize(
        &self,
        generation: u64,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let mut access = self.access.lock().await;
        if access.generation != generation {
            return Ok(access.header.clone());
        }
        let Some(challenge) = Challenge::from_headers(headers) else {
            return Ok(None);
        };
        let credential = self.options.keychain.find(&self.reference).await?;
        let value = match (challenge, credential) {
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                use base64::Engine as _;
                let pair = format!("{user}:{password}");
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                Some(format!("Basic {encoded}"))
            }
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { .. }, Some(Credential::RegistryToken(token))) => {
                Some(format!("Bearer {token}"))
            }
            (Challenge::Bearer { realm, service }, Some(Credential::IdentityToken(token))) => Some(
                format!("Bearer {}", self.exchange(&realm, &service, &token).await?),
            ),
            (Challenge::Bearer { .. }, Some(Credential::Password { user, password })) => self
                .token(RegistryAuth::Basic(user, password))
                .await?
                .map(|token| format!("Bearer {token}")),
            (Challenge::Bearer { .. }, None) => self
                .token(RegistryAuth::Anonymous)
                .await?
                .map(|token| format!("Bearer {token}")),
        };
        access.header = value.and_then(|value| HeaderValue::from_str(&value).ok());
        access.generation += 1;
        Ok(access.header.clone())
    }

    /// A pull token by the distribution's token flow.
    async fn token(&self, auth: RegistryAuth) -> Result<Option<String>, RegistryError> {
        let host = self.reference.api_host().to_owned();
        let client = oci_client::Client::try_from(ClientConfig {
            protocol: match self.connection().await?.scheme {
                "http" => ClientProtocol::HttpsExcept(vec![host]),
                _ => ClientProtocol::Https,
            },
            user_agent: USER_AGENT,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(self.options.idle_timeout),
            ..ClientConfig::default()
        })
        .map_err(|error| RegistryError::Client(error.into()))?;
        client
            .auth(
                &self.reference.as_oci_client(),
                &auth,
                RegistryOperation::Pull,
            )
            .await
            .map_err(|error| self.token_error(error.into()))
    }

    /// A pull token for an identity token (the distribution's `OAuth2` flow), which `oci_client` lacks.
    async fn exchange(
        &self,
        realm: &str,
        service: &str,
        refresh_token: &str,
    ) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let connection = self.connection().await?;
        let realm = Url::parse(realm)
            .ok()
            .filter(|url| url.scheme() == "https" || connection.scheme == "http")
            .ok_or_else(|| RegistryError::Url {
                what: "token service".to_owned(),
                url: realm.to_owned(),
            })?;
        let scope = format!("repository:{}:pull", self.reference.repository());
        let response = connection
            .http
            .post(realm)
            .form(&[
                ("grant_type", "refresh_token"),
                ("service", service),
                ("scope", &scope),
                ("client_id", "oci-pull-all"),
                ("refresh_token", refresh_token),
            ])
            .send()
            .await
            .and_then(Response::error_for_status)
            .map_err(|error| self.token_error(error.without_url().into()))?;
        let body = self.read("token", response, MAX_MANIFEST_SIZE).await?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| self.token_error(error.into()))?;
        Ok(answer.access_token)
    }

    fn token_error(&self, source: Box<dyn std::error::Error + Send + Sync>) -> RegistryError {
        RegistryError::Token {
            host: self.reference.registry().to_owned(),
            repository: self.reference.repository().to_owned(),
            source,
        }
    }

    fn host(&self) -> String {
        self.reference.registry().to_owned()
    }

    fn too_large(&self, what: &str, limit: u64) -> RegistryError {
        RegistryError::TooLarge {
            what: what.to_owned(),
            host: self.host(),
            limit,
        }
    }

    fn transport(&self, what: &str, source: reqwest::Error) -> RegistryError {
        let host = source.url().map(authority);
        RegistryError::Transport {
            what: what.to_owned(),
            host: host.unwrap_or_else(|| self.host()),
            // A storage service's URL holds a signature.
            source: source.without_url(),
        }
    }
}

/// The bytes of a blob, or of a part of it, as they come.
#[derive(Debug)]
pub struct Body {
    range: Range<u64>,
    whole: bool,
    what: String,
    host: String,
    response: Response,
}

impl Body {
    /// Which bytes of the blob these are.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Whether this is all of the blob, asked for or not.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The next bytes, which begin at `position` in the blob; `None` at the end.
    pub async fn chunk(&mut self, position: u64) -> Result<Option<Bytes>, RegistryError> {
        let (what, host) = (&self.what, &self.host);
        let chunk = self.response.chunk().await;
        match chunk.map_err(|source| RegistryError::Transport {
            what: what.clone(),
            host: host.clone(),
            source: source.without_url(),
        })? {
            Some(bytes) if bytes.len() as u64 > self.range.end.saturating_sub(position) => {
                Err(RegistryError::TooLarge {
                    what: what.clone(),
                    host: host.clone(),
                    limit: self.range.end - self.range.start,
                })
            }
            None if position < self.range.end => Err(self.ended_at(position)),
            chunk => Ok(chunk),
        }
    }

    /// The error that the body ended too early, at `position` in the blob.
    pub fn ended_at(&self, position: u64) -> RegistryError {
        RegistryError::Short {
            what: self.what.clone(),
            host: self.host.clone(),
            found: position,
        }
    }
}

fn redirect_policy() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let from_https = attempt
            .previous()
            .last()
            .is_some_and(|url| url.scheme() == "https");
        if from_https && attempt.url().scheme() != "https" {
            attempt.error("the redirect leads from https to http")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

/// The host, with its port where that is not the scheme's own.
fn authority(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether two URLs have one host and port: the registry itself answered, not one it redirected to.
fn same_host(one: &Url, other: &Url) -> bool {
    let host = |url: &Url| {
        (
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        )
    };
    host(one) == host(other)
}

/// Whether a host, perhaps with a port, is this machine by its name.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a server on this machine answers TLS at all, be its certificate trusted or not.
async fn speaks_tls(http: &reqwest::Client, host: &str) -> bool {
    match http.get(format!("https://{host}/v2/")).send().await {
        Ok(_) => true,
        Err(error) => is_certificate_error(&error),
    }
}

fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An I/O error names as its source not what it wraps, but that one's source.
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// What an error's body says (distribution spec, "Error Codes"), with a separator before it.
fn error_detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return String::new();
    };
    let text = envelope
        .errors
        .iter()
        .take(3)
        .map(|item| format!("{} {}", item.code, item.message).trim().to_owned())
        .collect::<Vec<_>>()
        .join("; ");
    // A server's text goes to a terminal.
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

/// What to ask for to get `range` of a blob: nothing where that is all of it.
fn part<'a>(blob: &Descriptor, range: &'a Range<u64>) -> Option<&'a Range<u64>> {
    (*range != (0..blob.size)).then_some(range)
}

/// The range that a partial answer brings (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Option<Range<u64>> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, _) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_loopback_names() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1:5000",
            "[::2]:80",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_the_same_with_its_default_port_and_in_capitals() {
        let url = |text| Url::parse(text).unwrap();
        let asked = url("https://GHCR.IO:443/v2/");
        assert!(same_host(&url("https://ghcr.io/v2/x"), &asked));
        assert!(!same_host(&url("https://ghcr.io:8443/v2/x"), &asked));
        assert!(!same_host(&url("https://cdn.ghcr.io/v2/x"), &asked));
    }

    #[test]
    fn shows_what_a_registry_says_without_control_characters() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway"}]}"#;
        assert_eq!(error_detail(body), ": DENIED no [31mway");
        assert_eq!(error_detail(b"<html>"), "");
    }
}
