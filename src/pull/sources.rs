//! Who is asked for one blob: the endpoints of its repository, and then the URLs of its descriptor (descriptor.md, `urls`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::progress::{BlobReporter, Reporter};
use crate::registry::{Backoff, RegistryError};

use super::PullError;
use super::choice::{Choice, Failure};
use super::upstream::{Candidates, Upstream};

/// Who is asked for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A mirror or the origin, by its number.
    Endpoint(usize),
    /// A URL of the descriptor, by its number.
    Url(usize),
}

/// Who may have a blob, as far as is known.
pub(super) struct Sources {
    upstream: Arc<Upstream>,
    endpoints: Candidates,
    digest: Digest,
    /// The URLs, each once.
    places: Vec<String>,
    urls: Mutex<Choice<RegistryError>>,
    /// What was last said of each URL that failed, and what else than that it is not there of the endpoints.
    said: Mutex<BTreeMap<Option<usize>, String>>,
    /// Whether the URLs are asked, because no endpoint gives it.
    lacking: AtomicBool,
    /// Who told a length that cannot be.
    mismeasured: Mutex<BTreeSet<Source>>,
}

impl Sources {
    /// Nothing is known yet.
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        reporter: &Arc<dyn Reporter>,
        blob: &Descriptor,
    ) -> Self {
        let mut known = HashSet::new();
        let places = blob.urls.iter().filter(|url| known.insert(*url));
        let places: Vec<String> = places.cloned().collect();
        Sources {
            upstream: Arc::clone(upstream),
            endpoints: Candidates::new(upstream, reporter),
            digest: blob.digest.clone(),
            urls: Mutex::new(Choice::new(places.len().saturating_sub(1))),
            said: Mutex::default(),
            places,
            lacking: AtomicBool::new(false),
            mismeasured: Mutex::default(),
        }
    }

    /// A URL by its number.
    pub(super) fn place(&self, url: usize) -> &str {
        &self.places[url]
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<Option<usize>, String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn urls(&self) -> MutexGuard<'_, Choice<RegistryError>> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to be asked now.
    pub(super) fn source(&self) -> Source {
        if self.lacking.load(Ordering::Relaxed) {
            Source::Url(self.urls().endpoint(|_| 0))
        } else {
            Source::Endpoint(self.endpoints.endpoint())
        }
    }

    /// Whether others than this one may have it, before it is waited for this one.
    pub(super) fn may_others_have_it(&self, source: Source) -> bool {
        match source {
            Source::Endpoint(endpoint) => self.upstream.is_mirror(endpoint),
            Source::Url(_) => true,
        }
    }

    /// Who was asked gave no answer that can be used. Waits if all were asked; gives an error back if it is of no use to go
    /// on.
    pub(super) async fn failed(
        &self,
        source: Source,
        error: RegistryError,
        backoff: &mut Backoff,
        progress: &dyn BlobReporter,
    ) -> Result<(), PullError> {
        let is_wrong = self.is_wrong_again(source, &error);
        match source {
            Source::Endpoint(endpoint) if is_wrong && !self.upstream.is_mirror(endpoint) => {
                Err(error.into())
            }
            Source::Endpoint(endpoint) => {
                let failed = self.endpoints.failed(endpoint, error, backoff, progress);
                match failed.await {
                    Err(error) if !self.places.is_empty() => {
                        if !matches!(error, RegistryError::NotFound { .. }) {
                            self.said().insert(None, error.to_string());
                        }
                        self.lacking.store(true, Ordering::Relaxed);
                        Ok(())
                    }
                    failed => Ok(failed?),
                }
            }
            Source::Url(url) => {
                self.said().insert(Some(url), error.to_string());
                let is_transient = error.is_transient() && !is_wrong;
                let failure = Failure {
                    error,
                    is_transient,
                };
                let stop = self.urls().failed(url, failure);
                let Some(error) = stop else {
                    return Ok(());
                };
                let is_over = self.urls().is_over();
                let waited = if is_over {
                    Err(error)
                } else {
                    backoff.wait_after(error, progress).await
                };
                waited.map_err(|error| {
                    let source = Box::new(self.urls().verdict().unwrap_or(error));
                    let told = source.to_string();
                    let mut others: Vec<String> = self.said().values().cloned().collect();
                    others.retain(|other| *other != told);
                    PullError::Foreign {
                        digest: self.digest.clone(),
                        others,
                        source,
                    }
                })
            }
        }
    }

    /// Whether it is the second time that somebody tells a wrong length. As with wrong bytes, a second try may find better
    /// ones; a third would not.
    fn is_wrong_again(&self, source: Source, error: &RegistryError) -> bool {
        let known = || {
            self.mismeasured
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        matches!(error, RegistryError::Length { .. }) && !known().insert(source)
    }

    /// The bytes that these sent together are wrong. Whether it is of use to ask again.
    pub(super) fn wrong(&self, senders: &BTreeSet<Source>) -> bool {
        let urls = senders.iter().filter_map(|sender| match sender {
            Source::Url(url) => Some(*url),
            Source::Endpoint(_) => None,
        });
        let urls: BTreeSet<_> = urls.collect();
        if !urls.is_empty() {
            return self.urls().wrong(&urls);
        }
        let endpoints = senders.iter().filter_map(|sender| match sender {
            Source::Endpoint(endpoint) => Some(*endpoint),
            Source::Url(_) => None,
        });
        self.endpoints.wrong(&endpoints.collect())
    }
}
