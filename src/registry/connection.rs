//! The HTTP clients of a registry.

use std::time::Duration;

use reqwest::header;
use reqwest::{ClientBuilder, Response, StatusCode, Url, redirect};
use tokio::sync::OnceCell;

use crate::oci::reference::{Registry, Scheme};

use super::local::Guard;
use super::no_answer::is_tls_error;
use super::{Certificates, RegistryError, RegistryOptions, Subject};

/// It has four packets until then that may each be lost: TCP sends them after 1, 3 and 7 seconds again. A name service
/// that is silent itself, before another one is asked, takes 5.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As many as nobody sends in good faith; 100, if nothing is said.
pub(super) const MAX_HEADERS: usize = 1000;
const USER_AGENT: &str = concat!("oci-pull-all/", env!("CARGO_PKG_VERSION"));

/// Made at the first request: a pull that finds all in the store needs none.
#[derive(Debug)]
pub(super) struct Connection {
    /// The registry's `/v2/`, by plain HTTP where that was asked for or nothing else is spoken.
    pub(super) base: Url,
    /// The same by HTTPS.
    secure: Url,
    /// Whether TLS is spoken there, if that was asked.
    speaks_tls: OnceCell<bool>,
    pub(super) guard: Guard,
    options: RegistryOptions,
    requests: Clients,
    uploads: Clients,
}

/// Only who is at the registry's host is shown a certificate.
#[derive(Debug, Default)]
struct Clients {
    own: OnceCell<reqwest::Client>,
    others: OnceCell<reqwest::Client>,
}

impl Connection {
    pub(super) async fn to(
        registry: &Registry,
        options: &RegistryOptions,
    ) -> Result<Self, RegistryError> {
        let url = |scheme| {
            registry.api_url(scheme).ok_or_else(|| RegistryError::Url {
                what: Subject::Support,
                url: registry.to_string(),
            })
        };
        let (secure, plain) = (url(Scheme::Https)?, url(Scheme::Http)?);
        let mut options = options.clone();
        options.certificates = options
            .certificates
            .of_registry(&options.certificates_by_registry, registry)
            .map_err(|error| RegistryError::Certificates(registry.clone(), error))?;
        let guard = Guard::new(&options, &secure);
        let http = client_with(&options, &options.certificates, &guard, |builder| {
            builder.read_timeout(options.idle_timeout)
        })?;
        let is_plain = match options.schemes_of(registry) {
            [scheme] => *scheme == Scheme::Http,
            _ => !speaks_tls(&http, &secure).await,
        };
        Ok(Connection {
            base: if is_plain { plain } else { secure.clone() },
            secure,
            speaks_tls: OnceCell::new(),
            guard,
            options,
            requests: Clients {
                own: OnceCell::new_with(Some(http)),
                others: OnceCell::new(),
            },
            uploads: Clients::default(),
        })
    }

    /// The proxy that refuses a request itself, as far as that can be told from a registry's refusal by the same
    /// proxy: a registry says which API it is of, or challenges.
    pub(super) fn answering_proxy(&self, response: &Response) -> Option<String> {
        let (status, headers) = (response.status(), response.headers());
        let may_be = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            || status == StatusCode::FORBIDDEN
            || status.is_server_error();
        let is_registrys = headers.contains_key("docker-distribution-api-version")
            || headers.contains_key(header::WWW_AUTHENTICATE);
        let proxy = self.options.proxies.forwarding(response.url())?;
        (may_be && !is_registrys).then_some(proxy)
    }

    /// Whether a registry that is spoken to in clear, because the user wants that, and answers with this, speaks TLS: it is
    /// asked, once.
    pub(super) async fn speaks_tls_instead(&self, error: &reqwest::Error) -> bool {
        let is_own = |url: &Url| url.origin() == self.base.origin();
        let may = error.url().is_some_and(is_own)
            && self.options.is_plain(&self.base)
            && self.options.proxies.of(&self.base).is_none()
            && !error.is_connect()
            && !error.is_timeout();
        let Ok(http) = self.requests(&self.secure).await else {
            return false;
        };
        let ask = async || speaks_tls(http, &self.secure).await;
        may && *self.speaks_tls.get_or_init(ask).await
    }

    /// For a URL to which the registry leads, or its own.
    pub(super) async fn requests(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        let timeout = self.options.idle_timeout;
        let configure = |builder: ClientBuilder| builder.read_timeout(timeout);
        self.client(&self.requests, url, configure).await
    }

    /// For uploads: a limit of the time until an answer would be one of the time that they take.
    pub(super) async fn uploads(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        self.client(&self.uploads, url, |builder| builder).await
    }

    async fn client<'a>(
        &self,
        clients: &'a Clients,
        url: &Url,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<&'a reqwest::Client, RegistryError> {
        let (client, certificates) = if url.host() == self.base.host() {
            (&clients.own, self.options.certificates.clone())
        } else {
            (&clients.others, self.options.certificates.without_own())
        };
        let make = async || client_with(&self.options, &certificates, &self.guard, configure);
        client.get_or_try_init(make).await
    }
}

fn client_with(
    options: &RegistryOptions,
    certificates: &Certificates,
    guard: &Guard,
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, RegistryError> {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxies = options.proxies.clone();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT.min(options.idle_timeout))
        .redirect(redirect::Policy::none())
        .http1_max_headers(MAX_HEADERS)
        .dns_resolver(guard.clone())
        .proxy(reqwest::Proxy::custom(move |url| proxies.of(url).cloned()));
    let builder = certificates
        .apply(builder)
        .map_err(|error| RegistryError::Client(error.into()))?;
    configure(builder)
        .build()
        .map_err(|error| RegistryError::Client(error.into()))
}

/// Whether a server on this machine answers TLS at all, be its certificate trusted or not.
async fn speaks_tls(http: &reqwest::Client, url: &Url) -> bool {
    match http.get(url.clone()).send().await {
        Ok(_) => true,
        // What breaks behind the handshake, as where a certificate of ours is missing, is no want of TLS.
        Err(error) => is_tls_error(&error) || !error.is_connect(),
    }
}
