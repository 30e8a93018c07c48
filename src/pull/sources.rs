//! Who is asked for a content: an image's mirrors, and the registry that it is named after.
//!
//! A digest tells whether what came is right, whoever sent it, so any answer of a mirror may be
//! tried. What no mirror gives, the registry gives; and who failed is asked after who did not, so that
//! where one of them cannot be reached at all, not every content waits for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::progress::{BlobProgress, Progress};
use crate::registry::{Backoff, Registry, RegistryError};
use crate::text::chain;

use super::{PullError, wait_after};

/// A repository that is in several places.
#[derive(Debug)]
pub struct Upstream {
    /// The mirrors in their order, and then the origin.
    places: Vec<Place>,
    /// Whether the origin was asked what refers to a manifest, and could not be reached.
    cut_off: AtomicBool,
}

#[derive(Debug)]
struct Place {
    registry: Registry,
    /// How often it failed.
    failures: AtomicUsize,
    /// Whether it was told that it failed.
    told: AtomicBool,
}

impl Upstream {
    /// The repository of `origin`, of which each of `mirrors` has a copy, or some of it.
    pub fn new(origin: Registry, mirrors: impl IntoIterator<Item = Registry>) -> Self {
        let places = mirrors.into_iter().chain([origin]).map(|registry| Place {
            registry,
            failures: AtomicUsize::new(0),
            told: AtomicBool::new(false),
        });
        Upstream {
            places: places.collect(),
            cut_off: AtomicBool::new(false),
        }
    }

    /// The registry that the image is named after.
    pub fn origin(&self) -> &Registry {
        &self.places[self.last()].registry
    }

    pub(super) fn registry(&self, place: usize) -> &Registry {
        &self.places[place].registry
    }

    pub(super) fn is_mirror(&self, place: usize) -> bool {
        place < self.last()
    }

    fn last(&self) -> usize {
        self.places.len() - 1
    }

    /// Whether only mirrors can be asked what refers to a manifest.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Notes that the origin cannot be reached, and tells what that means, once.
    pub(super) fn cut_off(&self, error: &RegistryError, progress: &Progress) {
        if !self.cut_off.swap(true, Ordering::Relaxed) {
            progress.note(&format!(
                "what refers to the image is only what the mirrors have: {}",
                chain(error)
            ));
        }
    }

    /// Tells of a mirror's failure, if none was told of it before.
    fn tell(&self, place: usize, what: &str, progress: &Progress) {
        let mirror = &self.places[place];
        if self.is_mirror(place) && !mirror.told.swap(true, Ordering::Relaxed) {
            let name = mirror.registry.reference();
            progress.note(&format!(
                "the mirror {}/{} did not serve, so others are asked: {what}",
                name.registry(),
                name.repository()
            ));
        }
    }
}

/// What is known of the places where one content may be.
#[derive(Debug)]
pub(super) struct Choice {
    upstream: Arc<Upstream>,
    progress: Progress,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that failed since all were asked anew.
    failed: BTreeSet<usize>,
    /// Those that sent wrong bytes.
    blamed: BTreeSet<usize>,
    /// Those that it is of no use to ask again.
    gone: BTreeSet<usize>,
    /// What the origin said.
    verdict: Option<RegistryError>,
}

impl Choice {
    pub(super) fn new(upstream: &Arc<Upstream>, progress: &Progress) -> Self {
        Choice {
            upstream: Arc::clone(upstream),
            progress: progress.clone(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is to be asked now.
    pub(super) fn place(&self) -> usize {
        let state = self.state();
        let places = 0..self.upstream.places.len();
        places
            .filter(|place| !state.failed.contains(place) && !state.gone.contains(place))
            .min_by_key(|place| {
                let failures = &self.upstream.places[*place].failures;
                (failures.load(Ordering::Relaxed), *place)
            })
            .unwrap_or(self.upstream.last())
    }

    /// Who was asked gave no answer that can be used. Waits if all were asked; gives an error back if it
    /// is of no use to go on.
    pub(super) async fn failed(
        &self,
        place: usize,
        error: RegistryError,
        backoff: &mut Backoff,
        progress: &BlobProgress,
    ) -> Result<(), PullError> {
        match self.note(place, error) {
            Some(error) => Ok(wait_after(backoff, error, progress).await?),
            None => Ok(()),
        }
    }

    /// A mirror does not have the content, which says nothing of the others.
    pub(super) fn lacks(&self, place: usize) {
        self.state().gone.insert(place);
    }

    /// Notes a failure. Nothing if another place is to be asked at once, else the error to wait after or
    /// to end with.
    fn note(&self, place: usize, error: RegistryError) -> Option<RegistryError> {
        self.upstream.tell(place, &chain(&error), &self.progress);
        if !matches!(error, RegistryError::NotFound { .. }) {
            self.upstream.places[place]
                .failures
                .fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.state();
        if error.transient().is_some() {
            state.failed.insert(place);
        } else {
            state.gone.insert(place);
        }
        let mut error = Some(error);
        if place == self.upstream.last() {
            state.verdict = error.take();
        }
        let all = self.upstream.places.len();
        if state.failed.union(&state.gone).count() < all {
            return None;
        }
        let hopeful = !state.failed.is_empty();
        state.failed.clear();
        match state.verdict.take() {
            // The origin's word counts, unless it is final and a mirror's is not.
            Some(verdict) if hopeful && verdict.transient().is_none() => {
                state.verdict = Some(verdict);
                error
            }
            verdict => verdict.or(error),
        }
    }

    /// The bytes that `places` sent are wrong. Whether it is of use to ask again: a second try may find
    /// better ones; a third would not.
    pub(super) fn wrong(&self, places: &BTreeSet<usize>) -> bool {
        let mut state = self.state();
        let mut mirrors = places
            .iter()
            .filter(|place| self.upstream.is_mirror(**place))
            .peekable();
        if mirrors.peek().is_none() {
            return state.blamed.insert(self.upstream.last());
        }
        for &mirror in mirrors {
            let what = "what it sent has another digest";
            self.upstream.tell(mirror, what, &self.progress);
            self.upstream.places[mirror]
                .failures
                .fetch_add(1, Ordering::Relaxed);
            if state.blamed.insert(mirror) {
                state.failed.insert(mirror);
            } else {
                state.gone.insert(mirror);
            }
        }
        true
    }
}
