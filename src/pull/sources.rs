//! Who is asked for one blob: the endpoints of its repository, and then the URLs of its descriptor (descriptor.md, `urls`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::progress::{BlobReporter, Reporter};
use crate::registry::{Backoff, Body, RegistryError, Subject};
use crate::text::named;

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

/// Who sent bytes of a blob.
#[derive(Debug, Default)]
pub(super) struct Senders(BTreeMap<Source, Sent>);

/// What was asked of one, and the hosts that answered.
#[derive(Debug)]
struct Sent {
    what: Subject,
    hosts: BTreeSet<String>,
}

impl Senders {
    /// Notes who sends a body.
    pub(super) fn note(&mut self, source: Source, body: &Body) {
        let sent = self.0.entry(source).or_insert_with(|| Sent {
            what: body.what().clone(),
            hosts: BTreeSet::new(),
        });
        sent.hosts.insert(body.host().to_owned());
    }

    /// The error that what they sent together has the digest `found`, and not that of the blob.
    fn wrong(&self, digest: &Digest, found: Digest) -> RegistryError {
        let hosts: BTreeSet<_> = self.0.values().flat_map(|sent| &sent.hosts).collect();
        let mut all = self.0.values();
        let what = match (all.next(), all.next()) {
            (Some(one), None) => one.what.clone(),
            _ => Subject::Blob(digest.clone()),
        };
        RegistryError::Digest {
            what,
            host: named(hosts),
            found,
        }
    }
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
        self.tell(source, &error);
        let number = self.number(source);
        let failed = self.candidates.failed(number, error, backoff, progress);
        failed.await.map_err(|error| self.verdict(error))
    }

    /// Keeps what is told of a source in the end.
    fn tell(&self, source: Source, error: &RegistryError) {
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
    }

    fn verdict(&self, error: RegistryError) -> PullError {
        if self.urls.is_empty() {
            return error.into();
        }
        let said = self.said();
        let asked = said.keys().filter(|said| matches!(said, Source::Url(_)));
        let told = error.to_string();
        // What several sent together is told once.
        let mut others: Vec<_> = said.values().cloned().collect();
        others.retain(|said| *said != told);
        others.dedup();
        PullError::Foreign {
            digest: self.digest.clone(),
            unasked: self.urls.len() - asked.count(),
            others,
            source: Box::new(error),
        }
    }

    /// The bytes that these sent together are wrong. Gives an error back if it is of no use to ask again.
    pub(super) fn wrong(&self, senders: &Senders, found: Digest) -> Result<(), PullError> {
        let error = senders.wrong(&self.digest, found);
        let senders = senders.0.keys().map(|sender| {
            self.tell(*sender, &error);
            self.number(*sender)
        });
        let wrong = self.candidates.wrong(&senders.collect(), error);
        wrong.map_err(|error| self.verdict(error))
    }
}
