//! Blobs on their way from a registry into the store.
//!
//! Each connection has a task of its own, which reads, hashes and writes: handing the bytes on to
//! other threads costs more than it gains. Each blob has one connection, and all take its parts in
//! order, so that bytes are mostly hashed while they are in memory; connections that no blob has for
//! itself help with the parts of others.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::oci::descriptor::Descriptor;
use crate::progress::{BlobProgress, Progress};
use crate::registry::{Backoff, Body, RegistryError};
use crate::store::{Ingest, Store, StoreError, Writer};

use super::sources::{Choice, Upstream};
use super::{PullError, blocking, wait_after};

/// Bytes that make a failed request worth another round of tries; less may be a registry that lies.
const PROGRESS: u64 = 256 * 1024;
/// How often a transfer is asked whether it waits for the network.
const PERIOD: Duration = Duration::from_millis(50);
/// What one request asks for at most, unless a part is larger. The connections that a blob gets later
/// must find something to do.
const MAX_RUN: u64 = 32 << 20;
/// How often in a row a mirror's answers may break off before others are asked.
const MAX_BREAKS: u32 = 2;

/// Where blobs come from and where they go.
pub(super) struct Crew {
    upstream: Arc<Upstream>,
    store: Arc<Store>,
    progress: Progress,
    connections: usize,
    /// Connections that no blob has for itself.
    spare: Semaphore,
    /// Blobs that are not complete yet.
    unfinished: AtomicUsize,
}

impl Crew {
    /// A crew that uses at most so many `connections` at once.
    pub(super) fn new(
        upstream: Arc<Upstream>,
        store: Arc<Store>,
        progress: Progress,
        connections: usize,
    ) -> Arc<Self> {
        Arc::new(Crew {
            upstream,
            store,
            progress,
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
            transferred += unless_panicked(fetched)?;
            self.unfinished.fetch_sub(1, Ordering::Relaxed);
            use_connection(&mut fetches);
        }
        Ok(transferred)
    }

    /// The connections for each blob, if all had the same number.
    fn share(&self) -> u64 {
        let unfinished = self.unfinished.load(Ordering::Relaxed).max(1);
        (self.connections / unfinished).max(1) as u64
    }

    /// Gets a blob into the store; returns how many bytes came over the network.
    async fn fetch(self: Arc<Self>, blob: Descriptor) -> Result<u64, PullError> {
        let progress = Arc::new(self.progress.blob(&blob.digest, blob.size));
        let mut transferred = 0;
        let choice = Arc::new(Choice::new(&self.upstream, &self.progress));
        loop {
            progress.message("waiting for another process");
            let Some(writer) = self.ingest(&blob).await? else {
                progress.move_to(blob.size);
                return Ok(transferred);
            };
            progress.message("");
            progress.move_to(writer.written());
            let transfer = Arc::new(Transfer {
                crew: Arc::clone(&self),
                blob: blob.clone(),
                writer,
                progress: Arc::clone(&progress),
                choice: Arc::clone(&choice),
                senders: Mutex::default(),
                source: AtomicUsize::new(0),
                received: AtomicU64::new(0),
                mismeasured: AtomicBool::new(false),
                parts: Mutex::default(),
                wanted: Semaphore::new(1),
                drained: Semaphore::new(0),
            });
            transfer.run().await?;
            transferred += transfer.received.load(Ordering::Relaxed);
            match transfer.writer.finish() {
                Ok(()) => return Ok(transferred),
                // The bytes are forgotten.
                Err(StoreError::Digest { .. }) if choice.wrong(&transfer.senders()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn ingest(&self, blob: &Descriptor) -> Result<Option<Writer>, PullError> {
        let ingest = if let Some(ingest) = self.store.try_ingest(&blob.digest, blob.size)? {
            ingest
        } else {
            let (store, digest, size) = (self.store.clone(), blob.digest.clone(), blob.size);
            // While this waits for another process, the blobs that this process holds must go on, or
            // the two would wait for each other.
            blocking(move || store.ingest(&digest, size)).await?
        };
        Ok(match ingest {
            Ingest::Present => None,
            Ingest::Writer(writer) => Some(*writer),
        })
    }
}

/// What it takes to get the missing bytes of one blob.
struct Transfer {
    crew: Arc<Crew>,
    blob: Descriptor,
    writer: Writer,
    progress: Arc<BlobProgress>,
    choice: Arc<Choice>,
    /// The places that sent bytes of it.
    senders: Mutex<BTreeSet<usize>>,
    /// 0 is the registry or a mirror, the others are the descriptor's URLs.
    source: AtomicUsize,
    received: AtomicU64,
    /// Whether an answer told a length that cannot be.
    mismeasured: AtomicBool,
    /// What no connection has begun with yet.
    parts: Mutex<VecDeque<Range<u64>>>,
    /// Helpers that may begin.
    wanted: Semaphore,
    /// Closed when no part is left to begin with.
    drained: Semaphore,
}

/// An answer on its way.
struct Answer {
    body: Body,
    /// Who gives it, if it is not a URL of the descriptor.
    place: Option<usize>,
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

impl Transfer {
    /// Gets all that is missing.
    async fn run(self: &Arc<Self>) -> Result<(), PullError> {
        let mut ranges = true;
        loop {
            *self.parts() = self.writer.missing().into();
            let Some(first) = self.next_run() else {
                return Ok(());
            };
            let answer = self.open(&first, &mut Backoff::default()).await?;
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

    /// Gets all parts, the first of which was asked for already, with what help is to be had.
    async fn get_together(self: &Arc<Self>, first: Range<u64>, answer: Answer) -> Result<(), Stop> {
        let mut helpers = JoinSet::new();
        for _ in 0..self.parts().len().min(self.crew.connections - 1) {
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
        tokio::try_join!(own, others).map(drop)
    }

    /// Gets parts over a connection that no blob has for itself, once there is one and it is wanted.
    async fn help(self: Arc<Self>) -> Result<(), Stop> {
        let connection = async {
            if let Ok(wanted) = self.wanted.acquire().await {
                wanted.forget();
            }
            self.crew.spare.acquire().await
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

    /// The next parts, one behind the other: many as long as much is left, so that there are few
    /// requests, and few at the end, so that all connections end together.
    fn next_run(&self) -> Option<Range<u64>> {
        let mut parts = self.parts();
        let left: u64 = parts.iter().map(|part| part.end - part.start).sum();
        let enough = (left / (2 * self.crew.share())).min(MAX_RUN);
        let mut run = parts.pop_front()?;
        while let Some(next) = parts.front()
            && next.start == run.end
            && next.end - run.start <= enough
        {
            run.end = next.end;
            parts.pop_front();
        }
        Some(run)
    }

    fn parts(&self) -> MutexGuard<'_, VecDeque<Range<u64>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn senders(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets a run of parts, for which somebody may have been asked already.
    async fn get(
        &self,
        run: Range<u64>,
        mut asked: Option<Answer>,
        answers: Answers,
    ) -> Result<(), Stop> {
        let mut backoff = Backoff::default();
        let mut breaks = 0;
        let mut at = run.start;
        while at < run.end {
            let Answer { mut body, place } = match asked.take() {
                Some(answer) => answer,
                None => self.open(&(at..run.end), &mut backoff).await?,
            };
            if body.is_whole() && answers == Answers::Ranges {
                return Err(Stop::NoRanges);
            }
            self.senders().extend(place);
            let before = at;
            let (end, mut result) = self.receive(&mut body).await?;
            at = at.max(end);
            if at - before >= PROGRESS {
                backoff.reset();
                breaks = 0;
            } else if at < run.end {
                // A registry may send less than asked for, but not so little that it never ends.
                result = result.and(Err(body.ended_at(at)));
            }
            let Err(error) = result else {
                continue;
            };
            breaks += 1;
            match place {
                Some(place) if self.is_mirror(place) && breaks >= MAX_BREAKS => {
                    breaks = 0;
                    let choice = &self.choice;
                    choice
                        .failed(place, error, &mut backoff, &self.progress)
                        .await?;
                }
                _ => wait_after(&mut backoff, error, &self.progress)
                    .await
                    .map_err(PullError::from)?,
            }
        }
        Ok(())
    }

    fn is_mirror(&self, place: usize) -> bool {
        self.crew.upstream.is_mirror(place)
    }

    /// Asks one source after the other for a range until one answers, or until there is no hope.
    async fn open(&self, range: &Range<u64>, backoff: &mut Backoff) -> Result<Answer, PullError> {
        loop {
            let source = self.source.load(Ordering::Relaxed);
            let place = (source == 0).then(|| self.choice.place());
            let mut body = self.ask(source, place, range).await;
            if matches!(&body, Err(error) if error.refuses_range()) {
                body = self.ask(source, place, &(0..self.blob.size)).await;
            }
            let error = match body {
                Ok(body) => return Ok(Answer { body, place }),
                // As with wrong bytes, a second try may find better ones; a third would not.
                Err(error @ RegistryError::Length { .. })
                    if !place.is_some_and(|place| self.is_mirror(place))
                        && self.mismeasured.swap(true, Ordering::Relaxed) =>
                {
                    return Err(error.into());
                }
                Err(error) => error,
            };
            let error = if let Some(place) = place {
                let choice = &self.choice;
                match choice.failed(place, error, backoff, &self.progress).await {
                    Err(PullError::Registry(error @ RegistryError::NotFound { .. }))
                        if !self.blob.urls.is_empty() =>
                    {
                        error
                    }
                    result => {
                        result?;
                        continue;
                    }
                }
            } else if error.transient().is_some() {
                wait_after(backoff, error, &self.progress).await?;
                continue;
            } else {
                error
            };
            if source < self.blob.urls.len() {
                self.source.store(source + 1, Ordering::Relaxed);
            } else {
                return Err(PullError::Foreign {
                    digest: self.blob.digest.clone(),
                    source: Box::new(error),
                });
            }
        }
    }

    async fn ask(
        &self,
        source: usize,
        place: Option<usize>,
        range: &Range<u64>,
    ) -> Result<Body, RegistryError> {
        let upstream = &self.crew.upstream;
        if let Some(place) = place {
            return upstream.registry(place).blob(&self.blob, range).await;
        }
        let url = &self.blob.urls[source - 1];
        let origin = upstream.origin();
        origin.foreign_blob(&self.blob, url, range).await
    }

    /// Writes a body as it comes. Returns where in the blob it ended, and how.
    ///
    /// The outer error is the store's, which ends the pull; the inner one is the network's.
    async fn receive(
        &self,
        body: &mut Body,
    ) -> Result<(u64, Result<(), RegistryError>), PullError> {
        let mut at = body.range().start;
        let mut clock = Clock::start();
        let result = loop {
            let bytes = match body.chunk(at).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if clock.waited_mostly() {
                self.wanted.add_permits(1);
            }
            self.writer.write(at, &bytes)?;
            clock.worked();
            at += bytes.len() as u64;
            self.received
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.progress.move_to(self.writer.written());
        };
        Ok((at, result))
    }
}

/// Tells what a connection's time goes into: more connections help where it waits for the network, and
/// hinder where this machine is what is slow.
struct Clock {
    period: Instant,
    since: Instant,
    waited: Duration,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Clock {
            period: now,
            since: now,
            waited: Duration::ZERO,
        }
    }

    /// Bytes have come. Whether at the end of a period most of it was spent on waiting for them.
    fn waited_mostly(&mut self) -> bool {
        let now = Instant::now();
        self.waited += now - self.since;
        let period = now - self.period;
        if period < PERIOD {
            return false;
        }
        let mostly = self.waited * 8 > period * 7;
        (self.period, self.waited) = (now, Duration::ZERO);
        mostly
    }

    /// The bytes were dealt with.
    fn worked(&mut self) {
        self.since = Instant::now();
    }
}

fn unless_panicked<T, E>(result: Result<Result<T, E>, JoinError>) -> Result<T, E> {
    result.expect("a connection's task does not panic")
}
