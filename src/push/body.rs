//! A blob's bytes on their way to a registry.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::files::{io_failed, open_regular};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Hasher;
use crate::progress::BlobReporter;
use crate::registry::{Backoff, Body, Client, RegistryError};

use super::{PushError, base_failed};

const PIECE: usize = 256 * 1024;
/// Bytes that make a failed request worth another round of tries.
pub(super) const PROGRESS: u64 = 256 * 1024;

/// The distance between two [`Checkpoints`].
const CHECKPOINT: u64 = 1 << 20;

/// A blob's bytes, verified while they go out: the last ones do only if all are right, so that no registry
/// ever gets wrong bytes as a whole.
pub(super) struct Outgoing {
    blob: Descriptor,
    bytes: ByteSource,
    at: u64,
    /// The registry has what is before.
    begin: u64,
    hasher: Hasher,
    checkpoints: Checkpoints,
    progress: Arc<dyn BlobReporter>,
}

/// Hashers as they were at places in a blob, so that one that goes out from its middle can be verified as a
/// whole without its beginning being had again.
#[derive(Clone, Default)]
pub(super) struct Checkpoints(Arc<Mutex<BTreeMap<u64, Hasher>>>);

impl Checkpoints {
    /// Keeps the first hasher behind each [`CHECKPOINT`] bytes.
    fn add(&self, at: u64, hasher: &Hasher) {
        let mut checkpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = checkpoints
            .range(..=at)
            .next_back()
            .map_or(0, |(last, _)| *last);
        if at - last >= CHECKPOINT {
            checkpoints.insert(at, hasher.clone());
        }
    }

    /// The last one that is not behind `at`.
    fn before(&self, at: u64) -> Option<(u64, Hasher)> {
        let checkpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = checkpoints.range(..=at).next_back();
        last.map(|(at, hasher)| (*at, hasher.clone()))
    }
}

enum ByteSource {
    File(File, PathBuf),
    Registry(Box<Incoming>),
}

/// A blob that comes from another registry; a connection that breaks is replaced.
struct Incoming {
    registry: Arc<Client>,
    /// The answer, and where in the blob its next bytes begin.
    body: Option<(Body, u64)>,
    backoff: Backoff,
    /// Where in the blob the last failure was.
    failed_at: u64,
}

/// Why the bytes ended before their time.
#[derive(Clone, Default)]
pub(super) struct Cause(Arc<Mutex<Option<PushError>>>);

impl Cause {
    pub(super) fn take(&self) -> Option<PushError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: PushError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl Outgoing {
    pub(super) fn of_file(
        blob: &Descriptor,
        path: &Path,
        progress: &Arc<dyn BlobReporter>,
    ) -> Result<Self, PushError> {
        let opened = open_regular(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = io_failed("read", path, opened)?;
        let outgoing = Self::new(blob, ByteSource::File(file, path.to_owned()), progress);
        if size == blob.size {
            Ok(outgoing)
        } else {
            Err(outgoing.wrong_size(size))
        }
    }

    pub(super) fn of_registry(
        blob: &Descriptor,
        registry: &Arc<Client>,
        progress: &Arc<dyn BlobReporter>,
    ) -> Self {
        let incoming = Incoming {
            registry: Arc::clone(registry),
            body: None,
            backoff: Backoff::default(),
            failed_at: 0,
        };
        Self::new(blob, ByteSource::Registry(Box::new(incoming)), progress)
    }

    fn new(blob: &Descriptor, bytes: ByteSource, progress: &Arc<dyn BlobReporter>) -> Self {
        Outgoing {
            blob: blob.clone(),
            bytes,
            at: 0,
            begin: 0,
            hasher: blob.digest.algorithm().hasher(),
            checkpoints: Checkpoints::default(),
            progress: Arc::clone(progress),
        }
    }

    /// Those from `begin`, where `checkpoints` are of bytes of this blob that went out before.
    pub(super) fn from(mut self, begin: u64, checkpoints: &Checkpoints) -> Result<Self, PushError> {
        self.begin = begin;
        self.checkpoints = checkpoints.clone();
        if let Some((at, hasher)) = checkpoints.before(begin) {
            (self.at, self.hasher) = (at, hasher);
        }
        if let ByteSource::File(file, path) = &mut self.bytes {
            let sought = file.seek(SeekFrom::Start(self.at));
            io_failed("read", path, sought)?;
        }
        self.progress.move_to(self.at);
        Ok(self)
    }

    /// The bytes as a stream, and what tells why it ended with an error.
    pub(super) fn into_stream(
        self,
    ) -> (
        impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        Cause,
    ) {
        let cause = Cause::default();
        let told = cause.clone();
        let stream = stream::try_unfold(self, move |mut outgoing| {
            let told = told.clone();
            async move {
                match outgoing.next().await {
                    Ok(bytes) => Ok(bytes.map(|bytes| (bytes, outgoing))),
                    Err(error) => {
                        let text = error.to_string();
                        told.set(error);
                        Err(io::Error::other(text))
                    }
                }
            }
        });
        // Whatever holds it would be large with it.
        (Box::pin(stream), cause)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PushError> {
        while self.at < self.blob.size {
            let at = self.at;
            let mut bytes = self.next_verified().await?;
            if self.at > self.begin {
                return Ok(Some(bytes.split_off(behind(self.begin, at, &bytes))));
            }
        }
        Ok(None)
    }

    async fn next_verified(&mut self) -> Result<Bytes, PushError> {
        let bytes = match &mut self.bytes {
            ByteSource::File(file, path) => io_failed("read", path, read_piece(file))?,
            ByteSource::Registry(incoming) => incoming
                .next(&self.blob, self.at, &*self.progress)
                .await
                .map_err(|source| base_failed(&incoming.registry, source))?,
        };
        let end = self.at + bytes.len() as u64;
        if bytes.is_empty() || end > self.blob.size {
            return Err(self.wrong_size(end));
        }
        self.hasher.update(&bytes);
        self.at = end;
        self.checkpoints.add(end, &self.hasher);
        if end == self.blob.size {
            let found = self.hasher.clone().finish();
            if found != self.blob.digest {
                return Err(PushError::Wrong {
                    place: self.place(),
                    expected: self.blob.digest.to_string(),
                    found: found.to_string(),
                });
            }
        }
        self.progress.move_to(end);
        Ok(bytes)
    }

    fn wrong_size(&self, found: u64) -> PushError {
        PushError::Wrong {
            place: self.place(),
            expected: format!("{} with {} bytes", self.blob.digest, self.blob.size),
            found: format!("{found} bytes"),
        }
    }

    fn place(&self) -> String {
        match &self.bytes {
            ByteSource::File(_, path) => path.display().to_string(),
            ByteSource::Registry(incoming) => {
                format!("a blob of {}", incoming.registry.repository())
            }
        }
    }
}

/// Where in `bytes`, which begin at `begin` in a blob, `at` is.
fn behind(at: u64, begin: u64, bytes: &Bytes) -> usize {
    let known = usize::try_from(at.saturating_sub(begin)).unwrap_or(usize::MAX);
    known.min(bytes.len())
}

fn read_piece(file: &mut File) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

impl Incoming {
    /// The bytes of `blob` from `at`; at least one.
    async fn next(
        &mut self,
        blob: &Descriptor,
        at: u64,
        progress: &dyn BlobReporter,
    ) -> Result<Bytes, RegistryError> {
        loop {
            match self.try_next(blob, at).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    self.body = None;
                    if at - self.failed_at >= PROGRESS {
                        self.backoff.reset();
                    }
                    self.failed_at = at;
                    self.backoff.wait_after(error, progress).await?;
                }
            }
        }
    }

    async fn try_next(&mut self, blob: &Descriptor, at: u64) -> Result<Bytes, RegistryError> {
        let (body, position) = match &mut self.body {
            Some(open) => open,
            closed => {
                let body = self.registry.blob(blob, None, &(at..blob.size)).await?;
                let begin = body.range().start;
                closed.insert((body, begin))
            }
        };
        loop {
            let Some(mut bytes) = body.chunk(*position).await? else {
                return Err(body.ended_at(*position));
            };
            let begin = *position;
            *position += bytes.len() as u64;
            // A registry without ranges begins anew.
            if *position > at {
                return Ok(bytes.split_off(behind(at, begin, &bytes)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::oci::descriptor::MediaType;
    use crate::progress::Silent;

    /// What goes out of a file that is to be the blob of `content`, and how it ends.
    async fn sent(content: &[u8], file: &[u8]) -> (usize, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, file).unwrap();
        let blob = Descriptor::of(MediaType::OCI_CONFIG, content);
        let progress = Arc::new(Silent) as Arc<dyn BlobReporter>;
        let outgoing = match Outgoing::of_file(&blob, &path, &progress) {
            Ok(outgoing) => outgoing,
            Err(error) => return (0, Some(error.to_string())),
        };
        let (stream, cause) = outgoing.into_stream();
        let mut stream = Box::pin(stream);
        let mut sent = 0;
        while let Ok(Some(bytes)) = stream.try_next().await {
            sent += bytes.len();
        }
        (sent, cause.take().map(|error| error.to_string()))
    }

    #[tokio::test]
    async fn wrong_bytes_never_go_out_as_a_whole() {
        let content = vec![1; 2 * PIECE + 1];
        assert_eq!(sent(&content, &content).await, (content.len(), None));
        assert_eq!(sent(b"", b"").await, (0, None));
        let mut wrong = content.clone();
        wrong[0] = 2;
        let (count, cause) = sent(&content, &wrong).await;
        assert_eq!(count, 2 * PIECE);
        assert!(cause.is_some_and(|cause| cause.contains("should be sha256:")));
        let (count, cause) = sent(&content, &content[1..]).await;
        assert_eq!(count, 0);
        assert!(cause.is_some_and(|cause| cause.contains(&format!("{} bytes", 2 * PIECE))));
    }
    #[tokio::test]
    async fn what_goes_on_in_the_middle_is_verified_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        let mut content = vec![1; 3 << 20];
        let blob = Descriptor::of(MediaType::OCI_CONFIG, &content);
        let progress = Arc::new(Silent) as Arc<dyn BlobReporter>;
        let checkpoints = Checkpoints::default();
        let rest = async |content: &[u8], begin: u64| {
            std::fs::write(&path, content).unwrap();
            let outgoing = Outgoing::of_file(&blob, &path, &progress).unwrap();
            let (stream, cause) = outgoing.from(begin, &checkpoints).unwrap().into_stream();
            let rest: Result<Vec<Bytes>, _> = stream.try_collect().await;
            let length = rest.map(|rest| rest.iter().map(Bytes::len).sum::<usize>());
            (length.ok(), cause.take().is_some())
        };
        // Without checkpoints it is read from its beginning.
        assert_eq!(rest(&content, 2_500_000).await, (Some(645_728), false));
        for (begin, length) in [(3 << 20, 0), (1, (3 << 20) - 1), (2 << 20, 1 << 20)] {
            assert_eq!(rest(&content, begin).await, (Some(length), false));
        }
        // What is before a mark is not read.
        content[0] = 2;
        assert_eq!(rest(&content, 2_500_000).await, (Some(645_728), false));
        content[3_000_000] = 2;
        assert_eq!(rest(&content, 2_500_000).await, (None, true));
    }
}
