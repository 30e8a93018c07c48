//! Who is asked for one blob: the endpoints of its repository, and then the URLs of its descriptor (descriptor.md, `urls`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::progress::{BlobReporter, Reporter};
use crate::registry::{Backoff, RegistryError};

use super::PullError;
use super::upstream::{Candidates, Upstream};

/// How many different URLs of a blob are asked: who made the image may name any number.
const MAX_URLS: usize = 8;

/// The same for all forms of a URL, as far as is known.
fn normal(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| url.to_owned(),
        |mut url| {
            url.set_fragment(None);
            url.into()
        },
    )
}

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
    candidates: Candidates,
    digest: Digest,
    /// The URLs, each once.
    urls: Vec<String>,
    /// What was last said of each URL that failed, and what else than that it is not there of the origin.
    said: Mutex<BTreeMap<Source, String>>,
}

impl Sources {
    /// Nothing is known yet.
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        reporter: &Arc<dyn Reporter>,
        blob: &Descriptor,
    ) -> Self {
        let mut known = HashSet::new();
        let urls = blob.urls.iter().filter(|url| known.insert(normal(url)));
        let urls: Vec<String> = urls.cloned().collect();
        Sources {
            upstream: Arc::clone(upstream),
            candidates: Candidates::new(upstream, reporter, urls.len().min(MAX_URLS)),
            digest: blob.digest.clone(),
            urls,
            said: Mutex::default(),
        }
    }

    /// A URL by its number.
    pub(super) fn url(&self, url: usize) -> &str {
        &self.urls[url]
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<Source, String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a source among all, of which the URLs are the last ones.
    fn number(&self, source: Source) -> usize {
        match source {
            Source::Endpoint(endpoint) => endpoint,
            Source::Url(url) => self.upstream.endpoints() + url,
        }
    }

    /// Who is to be asked now.
    pub(super) fn source(&self) -> Source {
        let number = self.candidates.endpoint();
        match number.checked_sub(self.upstream.endpoints()) {
            None => Source::Endpoint(number),
            Some(url) => Source::Url(url),
        }
    }

    /// Whether others than this one may have it, before it is waited for this one.
    pub(super) fn may_others_have_it(&self, source: Source) -> bool {
        match source {
            Source::Endpoint(endpoint) => {
                self.upstream.is_mirror(endpoint) || !self.urls.is_empty()
            }
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
        let is_told = match source {
            // Of a mirror it is told at once.
            Source::Endpoint(endpoint) => {
                !self.upstream.is_mirror(endpoint)
                    && !matches!(error, RegistryError::NotFound { .. })
            }
            Source::Url(_) => true,
        };
        if is_told {
            self.said().insert(source, error.to_string());
        }
        let number = self.number(source);
        let failed = self.candidates.failed(number, error, backoff, progress);
        failed.await.map_err(|error| self.verdict(error))
    }

    fn verdict(&self, error: RegistryError) -> PullError {
        if self.urls.is_empty() {
            return error.into();
        }
        let said = self.said();
        let asked = said.keys().filter(|said| matches!(said, Source::Url(_)));
        let told = error.to_string();
        PullError::Foreign {
            digest: self.digest.clone(),
            unasked: self.urls.len() - asked.count(),
            others: said
                .values()
                .filter(|said| **said != told)
                .cloned()
                .collect(),
            source: Box::new(error),
        }
    }

    /// The bytes that these sent together are wrong. Whether it is of use to ask again.
    pub(super) fn wrong(&self, senders: &BTreeSet<Source>) -> bool {
        for sender in senders {
            if let Source::Url(url) = sender {
                let told = format!("what came from its URL {} has another digest", url + 1);
                self.said().insert(*sender, told);
            }
        }
        let senders = senders.iter().map(|sender| self.number(*sender));
        self.candidates.wrong(&senders.collect())
    }
}
