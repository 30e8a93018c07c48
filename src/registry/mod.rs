//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull" and "Push").
//!
//! How a registry is asked, from the bottom: `connection` has the HTTP clients, `proxies` and `local` what they
//! may reach, `certificates` and `x509` whom they trust; `challenge`, `token` and `authorization` show who is asking; `request`, `redirect`,
//! `subject`, `error` and `retry` are of every request. On that stand `download`, `upload` and `referrers`.

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
pub use no_answer::{NoAnswer, Reason};
pub use proxies::{Proxies, ProxyError};
pub(crate) use retry::Backoff;
pub use retry::Retry;
pub use subject::{Elsewhere, Subject};
pub(crate) use upload::{ManifestName, Mount, Upload};

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use crate::oci::reference::{Registry, Repository, Scheme};

use authorization::Authorization;
use body::Ranges;
use connection::Connection;

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
    /// How a registry is spoken to, as far as the user says it.
    pub fn scheme_of(&self, registry: &Registry) -> Scheme {
        let mut plain = self.plain_http.iter();
        if plain.any(|plain| plain.is_same(registry, Scheme::Http)) {
            Scheme::Http
        } else {
            Scheme::Https
        }
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
