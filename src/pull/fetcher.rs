//! Blobs on their way from a registry into the store.
//!
//! Each connection has a task of its own, which reads, hashes and writes: handing the bytes on to
//! other threads costs more than it gains. Each blob has one connection, and all take its parts in
//! order, so that bytes are mostly hashed while they are in memory; connections that no blob has for
//! itself help with the parts of others.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::progress::{BlobReporter, BlobState, Note, Reporter};
use crate::registry::{Backoff, Body, RegistryError};
use crate::store::{Ingest, Store, StoreError, Writer};

use super::schedule::{Clock, Schedule, share};
use super::sources::{Senders, Source, Sources};
use super::upstream::Upstream;
use super::{PullError, blocking};

/// Bytes that make a failed request worth another round of tries; less may be a registry that lies.
const PROGRESS: u64 = 256 * 1024;
/// How often in a row the answers of a mirror or at a URL may break off before others are asked.
const MAX_BREAKS: u32 = 2;

/// Where blobs come from and where they go.
pub(super) struct Fetcher {
    upstream: Arc<Upstream>,
    store: Arc<Store>,
    reporter: Arc<dyn Reporter>,
    connections: usize,
    /// Connections that no blob has for itself.
    spare: Semaphore,
    /// Blobs that are not complete yet.
    unfinished: AtomicUsize,
}

impl Fetcher {
    /// One that uses at most so many `connections` at once.
    pub(super) fn new(
        upstream: Arc<Upstream>,
        store: Arc<Store>,
        reporter: Arc<dyn Reporter>,
        connections: usize,
    ) -> Arc<Self> {
        Arc::new(Fetcher {
            upstream,
            store,
            reporter,
            connections,
            spare: Semaphore::new(0),
            unfinished: AtomicUsize::new(0),
        })
    }

    /// Gets all `blobs` into the store; returns how many bytes came over the network.
    pub(super) async fn fetch_all(
        self: &Arc<Self>,
        mut blobs: Vec<Descriptor>,
    ) -> Result<u64, PullError> {
        // The sooner a large blob begins, the sooner the last one ends.
        blobs.sort_by_key(|blob| Reverse(blob.size));
        self.unfinished.store(blobs.len(), Ordering::Relaxed);
        let mut waiting = blobs.into_iter();
        let mut fetches = JoinSet::new();
        let mut use_connection = |fetches: &mut JoinSet<_>| match waiting.next() {
            Some(blob) => drop(fetches.spawn(Arc::clone(self).fetch(blob))),
            None => self.spare.add_permits(1),
        };
        for _ in 0..self.connections {
            use_connection(&mut fetches);
        }
        let mut transferred = 0;
        while let Some(fetched) = fetches.join_next().await {
            match unless_panicked(fetched) {
                Ok(bytes) => transferred += bytes,
                Err(error) => {
                    // What the others leave is theirs to put in order.
                    fetches.shutdown().await;
                    return Err(error);
                }
            }
            self.unfinished.fetch_sub(1, Ordering::Relaxed);
            use_connection(&mut fetches);
        }
        Ok(transferred)
    }

    /// Gets a blob into the store; returns how many bytes came over the network.
    async fn fetch(self: Arc<Self>, blob: Descriptor) -> Result<u64, PullError> {
        let progress = self.reporter.blob(&blob.digest, blob.size);
        let mut transferred = 0;
        let sources = Arc::new(Sources::new(&self.upstream, &self.reporter, &blob));
        loop {
            progress.state(BlobState::Locked);
            let Some(writer) = self.ingest(&blob).await? else {
                progress.move_to(blob.size);
                return Ok(transferred);
            };
            progress.state(BlobState::Moving);
            progress.move_to(writer.written());
            let fetch = Arc::new(BlobFetch {
                fetcher: Arc::clone(&self),
                blob: blob.clone(),
                writer,
                progress: Arc::clone(&progress),
                sources: Arc::clone(&sources),
                senders: Mutex::default(),
                received: AtomicU64::new(0),
                schedule: Mutex::default(),
                wanted: Semaphore::new(1),
                drained: Semaphore::new(0),
            });
            if blob.size == 0 && blob.digest != Digest::of(blob.digest.algorithm(), b"") {
                fetch.ask_what_it_is().await?;
            }
            fetch.run().await?;
            transferred += fetch.received.load(Ordering::Relaxed);
            match fetch.writer.finish() {
                Ok(()) => return Ok(transferred),
                // The bytes are forgotten.
                Err(StoreError::Digest { found, .. }) => sources.wrong(&fetch.senders(), found)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn ingest(&self, blob: &Descriptor) -> Result<Option<Writer>, PullError> {
        let ingest = if let Some(ingest) = self.store.try_ingest(&blob.digest, blob.size)? {
            ingest
        } else {
            let (store, digest, size) = (self.store.clone(), blob.digest.clone(), blob.size);
            let reporter = Arc::clone(&self.reporter);
            // While this waits for another process, the blobs that this process holds must go on, or
            // the two would wait for each other.
            blocking(move || {
                store.ingest(&digest, size, |process| {
                    let blob = &digest;
                    reporter.note(&Note::Waiting { blob, process });
                })
            })
            .await?
        };
        Ok(match ingest {
            Ingest::Present => None,
            Ingest::Writer(writer) => Some(*writer),
        })
    }
}

/// What it takes to get the missing bytes of one blob.
struct BlobFetch {
    fetcher: Arc<Fetcher>,
    blob: Descriptor,
    writer: Writer,
    progress: Arc<dyn BlobReporter>,
    sources: Arc<Sources>,
    /// Who sent bytes of it: what was asked of them, and the hosts that answered.
    senders: Mutex<Senders>,
    received: AtomicU64,
    /// What no connection has begun with yet.
    schedule: Mutex<Schedule>,
    /// Helpers that may begin.
    wanted: Semaphore,
    /// Closed when no part is left to begin with.
    drained: Semaphore,
}

/// An answer on its way.
struct Opened {
    body: Body,
    source: Source,
}

/// What became of an answer.
struct Received {
    /// Where in the blob it ended.
    end: u64,
    /// How it ended.
    result: Result<(), RegistryError>,
}

/// Which answers to a request for a range are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// A range: other connections bring the others, and all of the blob would come many times.
    Ranges,
    /// A range or all of the blob.
    Any,
}

/// Why parts are got no further.
enum Stop {
    /// The registry sends all of the blob where it was asked for a range.
    NoRanges,
    /// The pull failed.
    Failed(PullError),
}

impl From<PullError> for Stop {
    fn from(error: PullError) -> Self {
        Stop::Failed(error)
    }
}

impl BlobFetch {
    /// Gets all that is missing.
    async fn run(self: &Arc<Self>) -> Result<(), PullError> {
        let mut ranges = true;
        loop {
            *self.schedule() = Schedule::new(self.writer.missing());
            let Some(first) = self.next_run() else {
                return Ok(());
            };
            let answer = self.open(&first, &mut Backoff::default()).await?;
            // What a manifest alone says of a size may be anything.
            if answer.body.tells_size() {
                self.writer.reserve()?;
            }
            // Without ranges one connection brings everything.
            ranges = ranges && !answer.body.is_whole();
            let got = if ranges {
                self.get_together(first, answer).await
            } else {
                self.get(first, Some(answer), Answers::Any).await
            };
            match got {
                Ok(()) => {}
                Err(Stop::NoRanges) => ranges = false,
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    /// Asks for what has a size of nothing, and a digest of something, so that who has it tells the size.
    async fn ask_what_it_is(&self) -> Result<(), PullError> {
        let Opened { mut body, source } = self.open(&(0..0), &mut Backoff::default()).await?;
        self.senders().note(source, &body);
        Ok(self.receive(&mut body).await?.result?)
    }

    /// Gets all parts, the first of which was asked for already, with what help is to be had.
    async fn get_together(self: &Arc<Self>, first: Range<u64>, answer: Opened) -> Result<(), Stop> {
        let mut helpers = JoinSet::new();
        for _ in 0..self.schedule().parts().min(self.fetcher.connections - 1) {
            helpers.spawn(Arc::clone(self).help());
        }
        let own = async {
            self.get(first, Some(answer), Answers::Ranges).await?;
            self.work().await?;
            self.drained.close();
            Ok(())
        };
        let others = async {
            while let Some(helped) = helpers.join_next().await {
                unless_panicked(helped)?;
            }
            Ok(())
        };
        let got = tokio::try_join!(own, others).map(drop);
        // Each holds the blob.
        helpers.shutdown().await;
        got
    }

    /// Gets parts over a connection that no blob has for itself, once there is one and it is wanted.
    async fn help(self: Arc<Self>) -> Result<(), Stop> {
        let connection = async {
            if let Ok(wanted) = self.wanted.acquire().await {
                wanted.forget();
            }
            self.fetcher.spare.acquire().await
        };
        tokio::select! {
            biased;
            _ = self.drained.acquire() => Ok(()),
            _held = connection => self.work().await,
        }
    }

    /// Gets one run of parts after the other until none is left.
    async fn work(&self) -> Result<(), Stop> {
        while let Some(run) = self.next_run() {
            self.get(run, None, Answers::Ranges).await?;
        }
        Ok(())
    }

    fn next_run(&self) -> Option<Range<u64>> {
        let unfinished = self.fetcher.unfinished.load(Ordering::Relaxed);
        let connections = share(self.fetcher.connections, unfinished);
        self.schedule().next_run(connections)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn senders(&self) -> MutexGuard<'_, Senders> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets a run of parts, for which somebody may have been asked already.
    async fn get(
        &self,
        run: Range<u64>,
        mut asked: Option<Opened>,
        answers: Answers,
    ) -> Result<(), Stop> {
        let mut backoff = Backoff::default();
        let mut breaks = 0;
        let mut at = run.start;
        while at < run.end {
            let Opened { mut body, source } = match asked.take() {
                Some(answer) => answer,
                None => self.open(&(at..run.end), &mut backoff).await?,
            };
            if body.is_whole() && answers == Answers::Ranges {
                return Err(Stop::NoRanges);
            }
            self.senders().note(source, &body);
            let before = at;
            let Received { end, mut result } =
                self.receive(&mut body).await.map_err(PullError::from)?;
            at = at.max(end);
            if at - before >= PROGRESS {
                backoff.reset();
                breaks = 0;
            } else if at < run.end && result.is_ok() {
                // A registry may send less than asked for, but not so little that it never ends.
                if body.is_whole() {
                    result = Err(body.ended_at(at));
                } else {
                    body.give_up_ranges();
                }
            }
            let Err(error) = result else {
                continue;
            };
            breaks += 1;
            let progress = &*self.progress;
            let is_hopeless = breaks >= MAX_BREAKS || !error.is_transient();
            if is_hopeless && self.sources.may_others_have_it(source) {
                breaks = 0;
                self.sources
                    .failed(source, error, &mut backoff, progress)
                    .await?;
            } else {
                let waited = backoff.wait_after(error, progress).await;
                waited.map_err(PullError::from)?;
            }
        }
        Ok(())
    }

    /// Asks one source after the other for a range until one answers, or until there is no hope.
    async fn open(&self, range: &Range<u64>, backoff: &mut Backoff) -> Result<Opened, PullError> {
        loop {
            let source = self.sources.source();
            let error = match self.ask(source, range).await {
                Ok(body) => return Ok(Opened { body, source }),
                Err(error) => error,
            };
            self.sources
                .failed(source, error, backoff, &*self.progress)
                .await?;
        }
    }

    async fn ask(&self, source: Source, range: &Range<u64>) -> Result<Body, RegistryError> {
        let upstream = &self.fetcher.upstream;
        let (registry, url) = match source {
            Source::Endpoint(endpoint) => (upstream.registry(endpoint), None),
            Source::Url(url) => (upstream.origin(), Some(self.sources.url(url))),
        };
        registry.blob(&self.blob, url, range).await
    }

    /// Writes a body as it comes. What the store refuses ends the pull.
    async fn receive(&self, body: &mut Body) -> Result<Received, StoreError> {
        let mut at = body.range().start;
        let mut clock = Clock::start(Instant::now());
        let result = loop {
            let bytes = match body.chunk(at).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if clock.waited_mostly(Instant::now()) {
                self.wanted.add_permits(1);
            }
            self.writer.write(at, &bytes)?;
            clock.worked(Instant::now());
            at += bytes.len() as u64;
            self.received
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.progress.move_to(self.writer.written());
        };
        Ok(Received { end: at, result })
    }
}

fn unless_panicked<T, E>(result: Result<Result<T, E>, JoinError>) -> Result<T, E> {
    result.expect("a connection's task does not panic")
}
