//! A registry's repository: its manifests and blobs (OCI distribution spec, "Pull" and "Push").
//!
//! How a registry is asked, from the bottom: `connection` has the HTTP clients, `proxies` and `local` what they
//! may reach, `certificates` whom they trust; `challenge`, `token` and `authorization` show who is asking; `request`, `subject`,
//! `error` and `retry` are of every request. On that stand `download`, `upload` and `referrers`.

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
mod referrers;
mod request;
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
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use crate::oci::reference::Reference;

use authorization::Access;
use connection::Connection;

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
    /// Whether ranges are of use, as far as is known.
    ranges: Arc<AtomicBool>,
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
            ranges: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The reference that this was made for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}
