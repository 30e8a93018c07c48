//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull").
//!
//! The token flow is `oci_client`'s. Manifests and blobs are asked for beside it, with the same HTTP
//! library, because it neither bounds what it reads nor verifies what it resumes.

mod body;
mod challenge;
mod credentials;
mod error;
mod retry;

pub use body::Body;
pub use challenge::Challenge;
pub use credentials::{AuthFile, Credential, CredentialError, Found, Keychain};
pub use error::RegistryError;
pub use retry::Backoff;

use std::collections::BTreeSet;
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

use body::authority;
use error::{error_detail, is_certificate_error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// What is read of an error's body, in bytes.
const ERROR_BODY_LIMIT: u64 = 64 * 1024;
const USER_AGENT: &str = concat!("oci-pull-all/", env!("CARGO_PKG_VERSION"));

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
        Body::new(what, response, blob.size, range)
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
                    && (is_loopback(&authority(parsed))
                        || self.options.plain_http.contains(&authority(parsed))))
        });
        let Some(parsed) = parsed else {
            return Err(RegistryError::Url {
                what,
                url: url.to_owned(),
            });
        };
        let response = self.send(&what, parsed, part(blob, range), None).await?;
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
