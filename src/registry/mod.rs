//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull" and "Push").
//!
//! How a registry is asked, from the bottom: `connection` has the HTTP clients, `proxies` and `local` what they
//! may reach, `certificates` and `x509` whom they trust; `challenge`, `token` and `authorization` show who is asking; `request`, `redirect`,
//! `subject`, `error`, `shown` and `retry` are of every request. On that stand `download`, `upload` and `referrers`.

mod authorization;
mod body;
mod certificates;
mod challenge;
mod connection;
mod credentials;
mod download;
mod error;
mod local;
mod mirrors;
mod no_answer;
mod proxies;
mod redirect;
mod referrers;
mod request;
mod retry;
mod secrets;
mod shown;
mod subject;
mod token;
mod upload;
mod x509;

pub(crate) use body::Body;
pub use certificates::{Certificates, CertificatesError};
pub use challenge::Challenge;
pub use credentials::{AuthFile, Credential, CredentialError, Found, Keychain};
pub use error::{HttpStatus, NoObject, RegistryError, TokenError};
pub use mirrors::{Mirror, MirrorError, Mirrors, MirrorsError};
pub use no_answer::{NoAnswer, ProxyLogin, Reason};
pub use proxies::{Proxies, ProxyError, Unproxied};
pub(crate) use retry::Backoff;
pub use retry::Retry;
pub use subject::{Elsewhere, Subject};
pub(crate) use upload::{ManifestName, Mount, Upload};

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::{Mutex, OnceCell};

use crate::oci::reference::{Registry, Repository, Scheme};

use authorization::Authorization;
use body::Ranges;
use connection::Connection;
use local::is_loopback;

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Where credentials are found.
    pub keychain: Keychain,
    /// Those that are spoken to without TLS.
    pub plain_http: BTreeSet<Registry>,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// The authorities that are trusted beside those of the system.
    pub certificates: Certificates,
    /// Directories that have one for each registry, with its certificates.
    pub certificates_by_registry: Vec<PathBuf>,
    /// How long a connection may say nothing. What is small may take four times as long in all.
    pub idle_timeout: Duration,
}

impl RegistryOptions {
    /// How a registry may be spoken to: on this machine that is found out, unless the user says it.
    pub fn schemes_of(&self, registry: &Registry) -> &'static [Scheme] {
        match registry.api_url(Scheme::Http) {
            Some(url) if self.is_plain(&url) => &[Scheme::Http],
            Some(url) if is_loopback(&url) => &[Scheme::Https, Scheme::Http],
            _ => &[Scheme::Https],
        }
    }

    /// Whether the user wants a URL's host to be spoken to in clear at its port.
    fn is_plain(&self, url: &Url) -> bool {
        let plain = self.plain_http.iter();
        let mut plain = plain.filter_map(|registry| registry.api_url(Scheme::Http));
        plain.any(|plain| plain.origin() == url.origin())
    }
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

/// Asks the registry of a repository, and sends to it.
#[derive(Debug)]
pub struct Client {
    repository: Repository,
    options: RegistryOptions,
    purpose: Intent,
    connection: OnceCell<Connection>,
    authorization: Mutex<Authorization>,
    /// The hosts that have answered.
    answered: StdMutex<BTreeSet<String>>,
    ranges: Ranges,
}

/// What a registry's token service is asked to permit.
#[derive(Debug)]
enum Intent {
    Pull,
    /// To push, and to read what is mounted from these repositories.
    Push(Vec<Repository>),
}

impl Client {
    /// One for a repository, of which nothing is asked yet.
    pub fn new(repository: Repository, options: RegistryOptions) -> Self {
        Self::with_purpose(repository, options, Intent::Pull)
    }

    /// As [`Client::new`], to push to, and to mount blobs from `sources`, which are repositories of the
    /// same registry.
    pub fn for_push(
        repository: Repository,
        options: RegistryOptions,
        sources: Vec<Repository>,
    ) -> Self {
        Self::with_purpose(repository, options, Intent::Push(sources))
    }

    fn with_purpose(repository: Repository, options: RegistryOptions, purpose: Intent) -> Self {
        Client {
            repository,
            options,
            purpose,
            connection: OnceCell::new(),
            authorization: Mutex::default(),
            answered: StdMutex::default(),
            ranges: Ranges::default(),
        }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_spoken_to_as_the_user_says() {
        let plain = ["reg.test", "port.test:5000", "docker.io", "80.test:80"];
        let options = RegistryOptions {
            plain_http: plain.map(|name| name.parse().unwrap()).into(),
            ..RegistryOptions::default()
        };
        for (registry, expected) in [
            ("reg.test", &[Scheme::Http][..]),
            ("reg.test:80", &[Scheme::Http]),
            ("80.test", &[Scheme::Http]),
            ("reg.test:443", &[Scheme::Https]),
            ("port.test:5000", &[Scheme::Http]),
            ("port.test", &[Scheme::Https]),
            ("docker.io", &[Scheme::Http]),
            ("registry-1.docker.io:80", &[Scheme::Http]),
            // Docker Hub's API is at another host.
            ("docker.io:80", &[Scheme::Https]),
            ("localhost", &[Scheme::Https, Scheme::Http]),
            ("127.0.0.1:80", &[Scheme::Https, Scheme::Http]),
        ] {
            let schemes = options.schemes_of(&registry.parse().unwrap());
            assert_eq!(schemes, expected, "{registry}");
        }
    }
}
