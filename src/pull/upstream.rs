//! The endpoints of a repository: its mirrors, and the registry that it is named after, the origin.
//!
//! A digest tells whether what came is right, whoever sent it, so any answer of a mirror may be tried.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::progress::{BlobReporter, Note, Reporter};
use crate::registry::{Backoff, Client, RegistryError};

use super::choice::{Choice, Failure};

/// A repository that is at several endpoints.
#[derive(Debug)]
pub struct Upstream {
    mirrors: Vec<Endpoint>,
    origin: Endpoint,
    /// Whether the origin was asked what refers to a manifest, and could not be reached.
    cut_off: AtomicBool,
}

#[derive(Debug)]
struct Endpoint {
    registry: Client,
    /// How often it failed.
    failures: AtomicUsize,
    /// Whether it was told that it failed.
    told: AtomicBool,
}

impl Endpoint {
    fn new(registry: Client) -> Self {
        Endpoint {
            registry,
            failures: AtomicUsize::new(0),
            told: AtomicBool::new(false),
        }
    }
}

impl Upstream {
    /// The repository of `origin`, of which each of `mirrors` has a copy, or some of it.
    pub fn new(origin: Client, mirrors: impl IntoIterator<Item = Client>) -> Self {
        Upstream {
            mirrors: mirrors.into_iter().map(Endpoint::new).collect(),
            origin: Endpoint::new(origin),
            cut_off: AtomicBool::new(false),
        }
    }

    /// The registry that the image is named after.
    pub fn origin(&self) -> &Client {
        &self.origin.registry
    }

    pub(super) fn registry(&self, endpoint: usize) -> &Client {
        let endpoint = self.endpoint(endpoint);
        &endpoint.unwrap_or(&self.origin).registry
    }

    /// The number of endpoints.
    pub(super) fn endpoints(&self) -> usize {
        self.mirrors.len() + 1
    }

    pub(super) fn is_mirror(&self, endpoint: usize) -> bool {
        endpoint < self.mirrors.len()
    }

    /// An endpoint by its number: the mirrors in their order, and then the origin.
    fn endpoint(&self, endpoint: usize) -> Option<&Endpoint> {
        let origin = std::iter::once(&self.origin);
        self.mirrors.iter().chain(origin).nth(endpoint)
    }

    /// Whether only mirrors can be asked what refers to a manifest.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Notes that the origin cannot be reached, and tells what that means, once.
    pub(super) fn cut_off(&self, error: &RegistryError, reporter: &dyn Reporter) {
        if !self.cut_off.swap(true, Ordering::Relaxed) {
            reporter.note(&Note::OnlyMirrors(error));
        }
    }
}

/// Where one content may be: the endpoints, and URLs of its own, whose numbers go on behind them.
#[derive(Debug)]
pub(super) struct Candidates {
    upstream: Arc<Upstream>,
    reporter: Arc<dyn Reporter>,
    choice: Mutex<Choice<RegistryError>>,
    /// Who told a length that cannot be.
    mismeasured: Mutex<BTreeSet<usize>>,
}

impl Candidates {
    pub(super) fn new(upstream: &Arc<Upstream>, reporter: &Arc<dyn Reporter>, urls: usize) -> Self {
        Candidates {
            upstream: Arc::clone(upstream),
            reporter: Arc::clone(reporter),
            choice: Mutex::new(Choice::new(upstream.mirrors.len() + urls)),
            mismeasured: Mutex::default(),
        }
    }

    fn choice(&self) -> MutexGuard<'_, Choice<RegistryError>> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to be asked now.
    pub(super) fn endpoint(&self) -> usize {
        let failures = |endpoint| match self.upstream.endpoint(endpoint) {
            Some(endpoint) => endpoint.failures.load(Ordering::Relaxed),
            // Who is not asked by name comes last.
            None => usize::MAX,
        };
        self.choice().endpoint(failures)
    }

    /// A mirror does not have the content, which says nothing of the others.
    pub(super) fn lacks(&self, endpoint: usize) {
        self.choice().lacks(endpoint);
    }

    /// Who was asked gave no answer that can be used. Waits if all were asked; gives an error back if it
    /// is of no use to go on.
    pub(super) async fn failed(
        &self,
        endpoint: usize,
        error: RegistryError,
        backoff: &mut Backoff,
        progress: &dyn BlobReporter,
    ) -> Result<(), RegistryError> {
        let counts = !matches!(error, RegistryError::NotFound { .. });
        self.tell(endpoint, &error, counts);
        if !backoff.has_time() {
            return Err(self.choice().verdict().unwrap_or(error));
        }
        let failure = Failure {
            is_transient: error.is_transient() && !self.is_wrong_again(endpoint, &error),
            error,
        };
        let Some(error) = self.choice().failed(endpoint, failure) else {
            return Ok(());
        };
        let waited = if self.choice().is_over() {
            Err(error)
        } else {
            backoff.wait_after(error, progress).await
        };
        // In the end, what the last one said is what is told.
        waited.map_err(|error| self.choice().verdict().unwrap_or(error))
    }

    /// Whether it is the second time that somebody tells a wrong length. As with wrong bytes, a second try may find better
    /// ones; a third would not.
    fn is_wrong_again(&self, endpoint: usize, error: &RegistryError) -> bool {
        let known = || {
            self.mismeasured
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        matches!(error, RegistryError::Length { .. }) && !known().insert(endpoint)
    }

    /// The bytes that these endpoints sent together are wrong, as `error` says. Gives an error back if it is of no use to
    /// ask again.
    pub(super) fn wrong(
        &self,
        senders: &BTreeSet<usize>,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        let mirrors = senders
            .iter()
            .filter(|sender| self.upstream.is_mirror(**sender));
        mirrors.for_each(|mirror| self.tell(*mirror, &error, true));
        let mut choice = self.choice();
        if choice.wrong(senders) {
            return Ok(());
        }
        Err(choice.verdict().unwrap_or(error))
    }

    /// Counts a failure if it `counts`, and tells of a mirror's first one.
    fn tell(&self, number: usize, error: &RegistryError, counts: bool) {
        let Some(endpoint) = self.upstream.endpoint(number) else {
            return;
        };
        if counts {
            endpoint.failures.fetch_add(1, Ordering::Relaxed);
        }
        if self.upstream.is_mirror(number) && !endpoint.told.swap(true, Ordering::Relaxed) {
            self.reporter.note(&Note::MirrorFailed {
                mirror: endpoint.registry.repository(),
                error,
            });
        }
    }
}
