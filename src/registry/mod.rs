//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull" and "Push").
//!
//! The token flow is `oci_client`'s. Manifests and blobs are asked for beside it, with the same HTTP
//! library, because it neither bounds what it reads nor verifies what it resumes.

mod body;
mod challenge;
mod credentials;
mod error;
mod mirrors;
mod no_answer;
mod referrers;
mod retry;
mod upload;

pub(crate) use body::Body;
pub use challenge::Challenge;
pub use credentials::{AuthFile, Credential, CredentialError, Found, Keychain};
pub use error::{HttpStatus, RegistryError};
pub use mirrors::{Mirror, MirrorError, Mirrors, MirrorsError};
pub use no_answer::{NoAnswer, Reason};
pub(crate) use retry::Backoff;
pub(crate) use upload::{Mount, Upload};

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oci_client::RegistryOperation;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OnceCell};

use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::MAX_MANIFEST_SIZE;
use crate::oci::reference::Reference;

use body::authority;
use error::error_detail;
use no_answer::is_certificate_error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// What is read of an error's body, in bytes.
const ERROR_BODY_LIMIT: u64 = 64 * 1024;
const USER_AGENT: &str = concat!("oci-pull-all/", env!("CARGO_PKG_VERSION"));

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Where credentials are found.
    pub keychain: Keychain,
    /// The hosts (with port) that are spoken to without TLS.
    pub plain_http: BTreeSet<String>,
    /// How long a connection may say nothing.
    pub idle_timeout: Duration,
}

impl Default for RegistryOptions {
    /// No credentials, and a minute of silence.
    fn default() -> Self {
        RegistryOptions {
            keychain: Keychain::default(),
            plain_http: BTreeSet::new(),
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
    uploads: OnceCell<reqwest::Client>,
    access: Mutex<Access>,
}

/// What a registry's token service is asked to permit.
#[derive(Debug)]
enum Purpose {
    Pull,
    /// To push, and to read what is mounted from these repositories.
    Push(Vec<String>),
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
            uploads: OnceCell::new(),
            access: Mutex::default(),
        }
    }

    async fn connection(&self) -> Result<&Connection, RegistryError> {
        self.connection.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connection, RegistryError> {
        let http = client(|builder| builder.read_timeout(self.options.idle_timeout))?;
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
    pub(crate) async fn blob(
        &self,
        blob: &Descriptor,
        range: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let digest = &blob.digest;
        let what = format!("blob {digest}");
        let path = format!("blobs/{digest}");
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
        let what = format!("blob {} from {url}", blob.digest);
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
        let request = self.connection().await?.http.get(parsed);
        let request = reading(&what, part(blob, range), request);
        let response = self.send(&what, request, None).await?;
        let response = self.accept(&what, response).await?;
        Body::new(what, response, blob.size, range)
    }

    /// A GET below `/v2/REPOSITORY/`, authorized as need be.
    async fn get(
        &self,
        what: &str,
        path: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let url = self.url(what, path).await?;
        self.get_url(what, url, range).await
    }

    /// A GET of the registry itself, authorized as need be.
    async fn get_url(
        &self,
        what: &str,
        url: Url,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let shape = |request| reading(what, range, request);
        let response = self.ask_url(what, Method::GET, url, shape).await?;
        self.accept(what, response).await
    }

    /// A request below `/v2/REPOSITORY/`, authorized as need be. The answer may be an error.
    async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let url = self.url(what, path).await?;
        self.ask_url(what, method, url, shape).await
    }

    async fn ask_url(
        &self,
        what: &str,
        method: Method,
        url: Url,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let http = &self.connection().await?.http;
        let request = || shape(http.request(method.clone(), url.clone()));
        let (generation, authorization) = self.authorization().await;
        let response = self.send(what, request(), authorization).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !same_host(response.url(), &url) {
            return Ok(response);
        }
        match self.authorize(generation, response.headers()).await? {
            Some(authorization) => self.send(what, request(), Some(authorization)).await,
            None => Ok(response),
        }
    }

    async fn url(&self, what: &str, path: &str) -> Result<Url, RegistryError> {
        let url = format!(
            "{}://{}/v2/{}/{path}",
            self.connection().await?.scheme,
            self.reference.api_host(),
            self.reference.repository()
        );
        Url::parse(&url).map_err(|_| RegistryError::Url {
            what: what.to_owned(),
            url: url.clone(),
        })
    }

    /// The current `Authorization` header, and which one it is.
    async fn authorization(&self) -> (u64, Option<HeaderValue>) {
        let access = self.access.lock().await;
        (access.generation, access.header.clone())
    }

    async fn send(
        &self,
        what: &str,
        request: RequestBuilder,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RegistryError> {
        authorized(request, authorization)
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
                status: HttpStatus(status),
                detail,
                advice: self.login_advice(status).await?,
            },
            StatusCode::TOO_MANY_REQUESTS => RegistryError::Status {
                what,
                host,
                status: HttpStatus(status),
                detail: format!(
                    "{detail}; wait, or log in with `docker login {}` if you are not",
                    self.reference.registry()
                ),
                retry_after,
            },
            _ => RegistryError::Status {
                what,
                host,
                status: HttpStatus(status),
                detail,
                retry_after,
            },
        })
    }

    /// What to do about a refusal.
    async fn login_advice(&self, status: StatusCode) -> Result<String, RegistryError> {
        let registry = self.reference.registry();
        let repository = self.reference.repository();
        let login = self.options.keychain.find(&self.reference).await?;
        Ok(match (login, status) {
            (None, _) => format!(
                "no credentials were found for {registry}: log in with `docker login {registry}`, or check the repository's name"
            ),
            (Some(_), StatusCode::FORBIDDEN) => format!(
                "the credentials found for {registry} do not permit this in {repository}: ask its owner for the right, or log in as another user with `docker login {registry}`"
            ),
            (Some(_), _) => format!(
                "the credentials found for {registry} do not serve for {repository}: log in again with `docker login {registry}`, or check the repository's name"
            ),
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
            (Challenge::Bearer { realm, service }, credential) => {
                let password = match credential {
                    Some(Credential::Password { user, password }) => Some((user, password)),
                    _ => None,
                };
                let token = match self.scopes().as_slice() {
                    [_] => self.token(password).await?,
                    scopes => {
                        let all = self.token_of(&realm, &service, scopes, password.clone());
                        match all.await {
                            Ok(token) => Some(token),
                            // Some refuse all when one of the repositories may not be read.
                            Err(_) => self.token(password).await?,
                        }
                    }
                };
                token.map(|token| format!("Bearer {token}"))
            }
        };
        access.header = value.and_then(|value| HeaderValue::from_str(&value).ok());
        access.generation += 1;
        Ok(access.header.clone())
    }

    /// What the token service is asked for (the distribution's token specification, "scope").
    fn scopes(&self) -> Vec<String> {
        let scope = |repository: &str, actions: &str| format!("repository:{repository}:{actions}");
        let repository = self.reference.repository();
        match &self.purpose {
            Purpose::Pull => vec![scope(repository, "pull")],
            Purpose::Push(sources) => std::iter::once(scope(repository, "pull,push"))
                .chain(sources.iter().map(|source| scope(source, "pull")))
                .collect(),
        }
    }

    /// A token for this repository by the distribution's token flow.
    async fn token(
        &self,
        password: Option<(String, String)>,
    ) -> Result<Option<String>, RegistryError> {
        let auth = match password {
            Some((user, password)) => RegistryAuth::Basic(user, password),
            None => RegistryAuth::Anonymous,
        };
        let operation = match self.purpose {
            Purpose::Pull => RegistryOperation::Pull,
            Purpose::Push(_) => RegistryOperation::Push,
        };
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
        match client
            .auth(&self.reference.as_oci_client(), &auth, operation)
            .await
        {
            Ok(token) => Ok(token),
            Err(OciDistributionError::RequestError(error)) => Err(self.no_token(error).await?),
            Err(error) => Err(self.token_error(error.into()).await?),
        }
    }

    /// A token for several scopes, which `oci_client` lacks.
    async fn token_of(
        &self,
        realm: &str,
        service: &str,
        scopes: &[String],
        password: Option<(String, String)>,
    ) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(alias = "access_token")]
            token: String,
        }
        let realm = self.token_service(realm).await?;
        let query: Vec<_> = std::iter::once(("service", service))
            .chain(scopes.iter().map(|scope| ("scope", scope.as_str())))
            .collect();
        let mut request = self.connection().await?.http.get(realm).query(&query);
        if let Some((user, password)) = password {
            request = request.basic_auth(user, Some(password));
        }
        let answer: Answer = self.token_answer(request).await?;
        Ok(answer.token)
    }

    /// A token for an identity token (the distribution's `OAuth2` flow), which `oci_client` lacks.
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
        let realm = self.token_service(realm).await?;
        let scope = self.scopes().join(" ");
        let request = self.connection().await?.http.post(realm).form(&[
            ("grant_type", "refresh_token"),
            ("service", service),
            ("scope", &scope),
            ("client_id", "oci-pull-all"),
            ("refresh_token", refresh_token),
        ]);
        let answer: Answer = self.token_answer(request).await?;
        Ok(answer.access_token)
    }

    async fn token_service(&self, realm: &str) -> Result<Url, RegistryError> {
        let scheme = self.connection().await?.scheme;
        Url::parse(realm)
            .ok()
            .filter(|url| url.scheme() == "https" || scheme == "http")
            .ok_or_else(|| RegistryError::Url {
                what: "token service".to_owned(),
                url: realm.to_owned(),
            })
    }

    #[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
    async fn token_answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, RegistryError> {
        let response = request.send().await.and_then(Response::error_for_status);
        let response = match response {
            Ok(response) => response,
            Err(error) => return Err(self.no_token(error).await?),
        };
        let body = self.read("token", response, MAX_MANIFEST_SIZE).await?;
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.token_error(error.into()).await?),
        }
    }

    /// A token service that cannot be reached is one more host that gave no answer: no login helps.
    async fn no_token(&self, error: reqwest::Error) -> Result<RegistryError, RegistryError> {
        if error.is_status() || error.is_decode() {
            self.token_error(error.without_url().into()).await
        } else {
            Ok(self.transport("token", error))
        }
    }

    async fn token_error(
        &self,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Result<RegistryError, RegistryError> {
        Ok(RegistryError::Token {
            host: self.host(),
            repository: self.reference.repository().to_owned(),
            advice: self.login_advice(StatusCode::UNAUTHORIZED).await?,
            source,
        })
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
            why: NoAnswer::new(source),
        }
    }
}

fn client(
    configure: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, RegistryError> {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect_policy());
    configure(builder)
        .build()
        .map_err(|error| RegistryError::Client(error.into()))
}

/// What is asked of a blob, or of a part of it, or of a manifest.
fn reading(what: &str, range: Option<&Range<u64>>, request: RequestBuilder) -> RequestBuilder {
    let request = if what.starts_with("blob") {
        // A proxy that compresses would change the bytes and break ranges.
        request.header(header::ACCEPT_ENCODING, "identity")
    } else {
        request.header(
            header::ACCEPT,
            MediaType::MANIFESTS.map(String::from).join(", "),
        )
    };
    match range {
        Some(range) => {
            let range = format!("bytes={}-{}", range.start, range.end - 1);
            request.header(header::RANGE, range)
        }
        None => request,
    }
}

fn authorized(request: RequestBuilder, authorization: Option<HeaderValue>) -> RequestBuilder {
    match authorization {
        Some(mut value) => {
            value.set_sensitive(true);
            request.header(header::AUTHORIZATION, value)
        }
        None => request,
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

/// What to ask for to get `range` of a blob: nothing where that is all of it.
fn part<'a>(blob: &Descriptor, range: &'a Range<u64>) -> Option<&'a Range<u64>> {
    (*range != (0..blob.size)).then_some(range)
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
}
