//! The HTTP clients of a registry.

use std::time::Duration;

use reqwest::header;
use reqwest::{ClientBuilder, Response, StatusCode, Url, redirect};
use tokio::sync::OnceCell;

use crate::oci::reference::Registry;

use super::local::{Guard, is_loopback};
use super::no_answer::is_tls_error;
use super::{Certificates, RegistryError, RegistryOptions};

/// It has four packets until then that may each be lost: TCP sends them after 1, 3 and 7 seconds again. A name service
/// that is silent itself, before another one is asked, takes 5.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 10;
const USER_AGENT: &str = concat!("oci-pull-all/", env!("CARGO_PKG_VERSION"));

/// Made at the first request: a pull that finds all in the store needs none.
#[derive(Debug)]
pub(super) struct Connection {
    /// For the registry itself, and for where it redirects to.
    pub(super) http: reqwest::Client,
    /// `https`, or `http` where that was asked for or nothing else is spoken.
    pub(super) scheme: &'static str,
    pub(super) guard: Guard,
    options: RegistryOptions,
    tokens: OnceCell<reqwest::Client>,
    foreign: OnceCell<reqwest::Client>,
    uploads: OnceCell<reqwest::Client>,
}

impl Connection {
    pub(super) async fn to(
        registry: &Registry,
        options: &RegistryOptions,
    ) -> Result<Self, RegistryError> {
        let host = registry.api_host();
        let mut options = options.clone();
        options.certificates = options
            .certificates
            .of_registry(&options.certificates_by_registry, registry)
            .map_err(|error| RegistryError::Certificates(registry.clone(), error))?;
        let named = options.plain_http.iter().map(Registry::api_host);
        let guard = Guard::new(host, options.proxies.hosts().chain(named));
        let http = client(&options, &options.certificates, |builder| {
            guarded(builder, &guard).read_timeout(options.idle_timeout)
        })?;
        let plain = options.plain_http.contains(registry)
            || (is_loopback(host) && !speaks_tls(&http, host).await);
        Ok(Connection {
            http,
            scheme: if plain { "http" } else { "https" },
            guard,
            options,
            tokens: OnceCell::new(),
            foreign: OnceCell::new(),
            uploads: OnceCell::new(),
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

    /// For token services, which follows no redirect.
    pub(super) async fn tokens(&self) -> Result<&reqwest::Client, RegistryError> {
        let make = async || {
            client(
                &self.options,
                &self.options.certificates.without_own(),
                |builder| {
                    builder
                        .read_timeout(self.options.idle_timeout)
                        .redirect(redirect::Policy::none())
                        .dns_resolver(self.guard.clone())
                },
            )
        };
        self.tokens.get_or_try_init(make).await
    }

    /// For the URLs of descriptors.
    pub(super) async fn foreign(&self) -> Result<&reqwest::Client, RegistryError> {
        let make = async || {
            client(
                &self.options,
                &self.options.certificates.without_own(),
                |builder| guarded(builder, &self.guard).read_timeout(self.options.idle_timeout),
            )
        };
        self.foreign.get_or_try_init(make).await
    }

    /// For uploads: a limit of the time until an answer would be one of the time that they take.
    pub(super) async fn uploads(&self) -> Result<&reqwest::Client, RegistryError> {
        let make = async || {
            client(&self.options, &self.options.certificates, |builder| {
                guarded(builder, &self.guard)
            })
        };
        self.uploads.get_or_try_init(make).await
    }
}

fn client(
    options: &RegistryOptions,
    certificates: &Certificates,
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, RegistryError> {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxies = options.proxies.clone();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT.min(options.idle_timeout))
        // It would tell the next host the path, and what is signed in it.
        .referer(false)
        .proxy(reqwest::Proxy::custom(move |url| proxies.of(url).cloned()));
    let builder = certificates
        .apply(builder)
        .map_err(|error| RegistryError::Client(error.into()))?;
    configure(builder)
        .build()
        .map_err(|error| RegistryError::Client(error.into()))
}

/// Has a client follow redirects, and ask only what may be asked.
fn guarded(builder: ClientBuilder, guard: &Guard) -> ClientBuilder {
    let permits = guard.clone();
    let policy = redirect::Policy::custom(move |attempt| {
        if permits.permits_at_once(attempt.url()) {
            follow(attempt)
        } else {
            attempt.error("the redirect leads to an address of this machine or its link")
        }
    });
    builder.redirect(policy).dns_resolver(guard.clone())
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
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
}

/// Whether two URLs have one host and port: the registry itself answered, not one it redirected to.
pub(super) fn same_host(one: &Url, other: &Url) -> bool {
    let host = |url: &Url| {
        (
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        )
    };
    host(one) == host(other)
}

/// Whether a server on this machine answers TLS at all, be its certificate trusted or not.
async fn speaks_tls(http: &reqwest::Client, host: &str) -> bool {
    match http.get(format!("https://{host}/v2/")).send().await {
        Ok(_) => true,
        // What breaks behind the handshake, as where a certificate of ours is missing, is no want of TLS.
        Err(error) => is_tls_error(&error) || !error.is_connect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_with_its_default_port_and_in_capitals() {
        let url = |text| Url::parse(text).unwrap();
        let asked = url("https://GHCR.IO:443/v2/");
        assert!(same_host(&url("https://ghcr.io/v2/x"), &asked));
        assert!(!same_host(&url("https://ghcr.io:8443/v2/x"), &asked));
        assert!(!same_host(&url("https://cdn.ghcr.io/v2/x"), &asked));
    }
}
