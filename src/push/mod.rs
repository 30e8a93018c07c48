//! Pushes an image to a registry: its blobs, then its manifests, then its tags (OCI distribution spec,
//! "Push").
//!
//! What the repository has is not sent again, so a push that is begun anew goes on where the last one
//! ended. A base's blobs need not be on this machine: they are mounted from the repository that the base
//! was pulled from, or else pass through memory.

mod body;
pub mod stamp;
mod unscanned;

pub use unscanned::unscanned;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::files::{FileError, io_failed, open_regular};
use crate::layout::Sources;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{Manifest, ManifestError};
use crate::oci::reference::{Repository, Tag};
use crate::oci::walk::{Met, WalkError};
use crate::progress::{BlobReporter, Reporter};
use crate::registry::{Backoff, Client, ManifestName, Mount, RegistryError, Upload};
use crate::store::{Store, StoreError};

use body::{Checkpoints, Outgoing, PROGRESS};

/// The lengths of the requests that a blob is sent in; the next is tried where one is too long for the
/// registry, or for what stands before it. Few registries take chunks as well as whole blobs.
const CHUNKS: [Option<usize>; 3] = [None, Some(16 << 20), Some(1 << 20)];

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry that is pushed to.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The base is not to be had.
    #[error("cannot get what the image has of its base {base}")]
    Base {
        /// The base's registry and repository.
        base: String,
        /// Why.
        source: Box<RegistryError>,
    },
    /// The image has no end.
    #[error("the manifests of the image cannot be used")]
    Walk(#[from] WalkError),
    /// A manifest is of no use.
    #[error("the manifest {digest} cannot be used")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A blob is nowhere.
    #[error(
        "the {role} {digest} of the image is not among the files given, and it is not said which repository it was pulled from"
    )]
    Missing {
        /// What it is in the image.
        role: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// Bytes are not those of the descriptor.
    #[error("{place} should be {expected}, but it has {found}")]
    Wrong {
        /// Where they come from.
        place: String,
        /// The digest or size that they should have.
        expected: String,
        /// The one that they have.
        found: String,
    },
    /// A tag stays where it is.
    #[error("the tag {tag} points to {now}, and the registry does not move it to {wanted}")]
    Tag {
        /// The tag.
        tag: String,
        /// What it points to.
        now: Digest,
        /// What it should point to.
        wanted: Digest,
        /// What the registry says.
        source: Box<RegistryError>,
    },
}

/// What is pushed.
#[derive(Debug)]
pub struct PushedImage {
    /// The image's or the index's manifest.
    pub root: Descriptor,
    /// The blobs that lie here.
    pub sources: Sources,
    /// By the digest of a manifest, where what it names and does not lie here was pulled from.
    pub origins: HashMap<Digest, Arc<Client>>,
}

/// What a push did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pushed {
    /// The number of different blobs, without the manifests.
    pub blobs: usize,
    /// How many of them the repository got from another one of its registry.
    pub mounted: usize,
    /// How many of them the repository had.
    pub present: usize,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// The time it took.
    pub elapsed: Duration,
}

/// How a blob came to be in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Present,
    Mounted,
    Sent,
}

/// Pushes `image` to the repository `target`, and has `tags` point to it.
///
/// Blobs of a base are taken from `store` where it has them. Wants a runtime with more worker threads than
/// cores: a connection's task reads and hashes, too.
pub async fn push(
    target: &Arc<Client>,
    image: PushedImage,
    tags: &[Tag],
    store: Option<Store>,
    connections: usize,
    reporter: &Arc<dyn Reporter>,
) -> Result<Pushed, PushError> {
    let started = Instant::now();
    let mut plan = PushPlan::of(&image, &**reporter).await?;
    // The sooner a large blob begins, the sooner the last one ends.
    plan.blobs.sort_by_key(|(blob, _)| Reverse(blob.size));
    reporter.expect(plan.blobs.iter().map(|(blob, _)| blob.size).sum());
    let pusher = Arc::new(Pusher {
        target: Arc::clone(target),
        sources: image.sources,
        store,
        reporter: Arc::clone(reporter),
        chunks: AtomicUsize::new(0),
    });
    let mut report = Pushed {
        blobs: plan.blobs.len(),
        ..Pushed::default()
    };
    let mut waiting = plan.blobs.into_iter();
    let mut running = JoinSet::new();
    let begin = |(blob, origin): (Descriptor, Option<Arc<Client>>), running: &mut JoinSet<_>| {
        let pusher = Arc::clone(&pusher);
        running.spawn(async move {
            let outcome = pusher.push_blob(&blob, origin.as_ref()).await?;
            Ok::<_, PushError>((blob.size, outcome))
        });
    };
    for blob in waiting.by_ref().take(connections) {
        begin(blob, &mut running);
    }
    while let Some(pushed) = running.join_next().await {
        match pushed.expect("a connection's task does not panic")? {
            (_, Delivery::Present) => report.present += 1,
            (_, Delivery::Mounted) => report.mounted += 1,
            (size, Delivery::Sent) => report.sent += size,
        }
        if let Some(blob) = waiting.next() {
            begin(blob, &mut running);
        }
    }
    let (root, bytes) = &plan.root;
    for (descriptor, bytes) in &plan.manifests {
        pusher.push_manifest(descriptor, bytes).await?;
    }
    pusher.push_manifest(root, bytes).await?;
    for tag in tags {
        pusher.push_tag(tag, root, bytes).await?;
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// What belongs to an image.
struct PushPlan {
    root: (Descriptor, Bytes),
    /// What is below the root, each manifest behind those that it names: some registries take no manifest
    /// without what it names.
    manifests: Vec<(Descriptor, Bytes)>,
    /// The configs and layers, each once, and where those that do not lie here come from.
    blobs: Vec<(Descriptor, Option<Arc<Client>>)>,
}

/// A step on the way through an image.
enum Step {
    Enter(Descriptor, Option<Arc<Client>>),
    Leave(Descriptor, Bytes),
}

impl PushPlan {
    async fn of(image: &PushedImage, reporter: &dyn Reporter) -> Result<Self, PushError> {
        let mut planner = Planner {
            image,
            reporter,
            seen: HashSet::new(),
            blobs: Vec::new(),
        };
        let root = image.root.bare();
        let mut met = Met::of_registry();
        met.meet(&root)?;
        let (root_bytes, mut steps) = planner.enter(&root, None).await?;
        let mut manifests = Vec::new();
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(descriptor, above) => {
                    if met.meet(&descriptor)? {
                        let (bytes, below) = planner.enter(&descriptor, above).await?;
                        steps.push(Step::Leave(descriptor, bytes));
                        steps.extend(below);
                    }
                }
                Step::Leave(descriptor, bytes) => manifests.push((descriptor, bytes)),
            }
        }
        Ok(PushPlan {
            root: (root, root_bytes),
            manifests,
            blobs: planner.blobs,
        })
    }
}

struct Planner<'a> {
    image: &'a PushedImage,
    reporter: &'a dyn Reporter,
    seen: HashSet<Digest>,
    blobs: Vec<(Descriptor, Option<Arc<Client>>)>,
}

impl Planner<'_> {
    /// The bytes of a manifest, and the steps into those that it names, the first one last.
    async fn enter(
        &mut self,
        descriptor: &Descriptor,
        above: Option<Arc<Client>>,
    ) -> Result<(Bytes, Vec<Step>), PushError> {
        let image = self.image;
        let origin = image.origins.get(&descriptor.digest).cloned().or(above);
        let bytes = read_manifest(image, descriptor, origin.as_ref(), self.reporter).await?;
        let manifest = parse(descriptor, &bytes)?;
        let entries = manifest.manifests().map(Descriptor::bare);
        let mut below: Vec<_> = entries
            .map(|entry| Step::Enter(entry, origin.clone()))
            .collect();
        below.reverse();
        if manifest.as_image().is_none() {
            return Ok((bytes, below));
        }
        for (role, blob) in manifest.blobs() {
            if blob.media_type.is_nondistributable() && !blob.urls.is_empty() {
                continue;
            }
            if origin.is_none() && image.sources.path(&blob.digest).is_none() {
                let digest = blob.digest.clone();
                return Err(PushError::Missing { role, digest });
            }
            if self.seen.insert(blob.digest.clone()) {
                self.blobs.push((blob.clone(), origin.clone()));
            }
        }
        Ok((bytes, below))
    }
}

fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Manifest, PushError> {
    let parsed = Manifest::parse(bytes, Some(&descriptor.media_type));
    parsed.map_err(|source| PushError::Manifest {
        digest: descriptor.digest.clone(),
        source,
    })
}

/// The bytes of a manifest, which lies here or where the base was pulled from.
async fn read_manifest(
    image: &PushedImage,
    descriptor: &Descriptor,
    origin: Option<&Arc<Client>>,
    reporter: &dyn Reporter,
) -> Result<Bytes, PushError> {
    let digest = &descriptor.digest;
    let Some(path) = image.sources.path(digest) else {
        let Some(origin) = origin else {
            return Err(PushError::Missing {
                role: "manifest",
                digest: digest.clone(),
            });
        };
        let progress = reporter.blob(digest, 0);
        let mut backoff = Backoff::default();
        return loop {
            match origin.manifest(digest).await {
                Ok(bytes) => break Ok(bytes),
                Err(error) => backoff
                    .wait_after(error, &*progress)
                    .await
                    .map_err(|source| base_failed(origin, source))?,
            }
        };
    };
    let read = || {
        open_regular(path)?;
        fs::read(path)
    };
    let bytes = io_failed("read", path, read())?;
    let found = Digest::of(digest.algorithm(), &bytes);
    if found != *digest {
        return Err(PushError::Wrong {
            place: path.display().to_string(),
            expected: digest.to_string(),
            found: found.to_string(),
        });
    }
    Ok(bytes.into())
}

fn base_failed(origin: &Client, source: RegistryError) -> PushError {
    PushError::Base {
        base: origin.repository().to_string(),
        source: Box::new(source),
    }
}

struct Pusher {
    target: Arc<Client>,
    sources: Sources,
    store: Option<Store>,
    reporter: Arc<dyn Reporter>,
    /// Which of [`CHUNKS`] the registry takes, as far as is known.
    chunks: AtomicUsize,
}

/// A blob that is under way.
struct BlobUpload<'a> {
    blob: &'a Descriptor,
    origin: Option<&'a Arc<Client>>,
    progress: Arc<dyn BlobReporter>,
    backoff: Backoff,
    /// The upload that broke off.
    broken: Option<Upload>,
    /// The most that the registry had of an upload that broke off.
    furthest: u64,
    /// Whether the registry refused what was sent to go on.
    refused: bool,
    /// What the registry had of the blob when it last refused access, if it did.
    denied_at: Option<u64>,
    checkpoints: Checkpoints,
}

impl Pusher {
    async fn push_blob(
        &self,
        blob: &Descriptor,
        origin: Option<&Arc<Client>>,
    ) -> Result<Delivery, PushError> {
        let mut transfer = BlobUpload {
            blob,
            origin,
            progress: self.reporter.blob(&blob.digest, blob.size),
            backoff: Backoff::default(),
            broken: None,
            furthest: 0,
            refused: false,
            denied_at: None,
            checkpoints: Checkpoints::default(),
        };
        loop {
            let chunks = self.chunks.load(Ordering::Relaxed);
            let denied_at = transfer.denied_at;
            match self.try_blob(&mut transfer, CHUNKS[chunks]).await {
                Ok(outcome) => {
                    transfer.progress.move_to(blob.size);
                    return Ok(outcome);
                }
                Err(PushError::Registry(error))
                    if error.refuses_length() && chunks + 1 < CHUNKS.len() =>
                {
                    self.chunks.fetch_max(chunks + 1, Ordering::Relaxed);
                }
                // A token may expire while bytes are sent; what asks first gets another one.
                Err(PushError::Registry(error))
                    if error.refuses_access() && transfer.denied_at > denied_at => {}
                Err(PushError::Registry(error)) => {
                    transfer
                        .backoff
                        .wait_after(error, &*transfer.progress)
                        .await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_blob(
        &self,
        transfer: &mut BlobUpload<'_>,
        chunk: Option<usize>,
    ) -> Result<Delivery, PushError> {
        let (blob, origin) = (transfer.blob, transfer.origin);
        if self.target.has_blob(blob).await? {
            return Ok(Delivery::Present);
        }
        if let Some(upload) = self.resume(transfer).await? {
            match self.send(transfer, upload, chunk).await {
                // It may take anew what it does not take the rest of.
                Err(PushError::Registry(error))
                    if !error.is_transient()
                        && !error.refuses_length()
                        && !error.refuses_access() =>
                {
                    transfer.refused = true;
                }
                sent => return sent,
            }
        }
        let mut upload = None;
        if self.sources.path(&blob.digest).is_none()
            && let Some(from) = origin.and_then(|origin| self.mountable(origin))
        {
            match self.target.mount(&blob.digest, from).await {
                Ok(Mount::Mounted) => return Ok(Delivery::Mounted),
                Ok(Mount::Upload(location)) => upload = Some(location),
                Err(error) if error.is_transient() => return Err(error.into()),
                // What one may not mount, one may still send.
                Err(_) => {}
            }
        }
        let upload = match upload {
            Some(upload) => upload,
            None => self.target.begin_upload(&blob.digest).await?,
        };
        self.send(transfer, upload, chunk).await
    }

    /// The upload that broke off, if the registry goes on with it.
    async fn resume(&self, transfer: &mut BlobUpload<'_>) -> Result<Option<Upload>, RegistryError> {
        let Some(broken) = &transfer.broken else {
            return Ok(None);
        };
        let upload = self.target.resume_upload(transfer.blob, broken).await?;
        transfer.broken = None;
        let Some(upload) = upload else {
            return Ok(None);
        };
        if upload.received() >= transfer.furthest + PROGRESS {
            transfer.furthest = upload.received();
            transfer.backoff.reset();
        }
        Ok(Some(upload))
    }

    async fn send(
        &self,
        transfer: &mut BlobUpload<'_>,
        mut upload: Upload,
        chunk: Option<usize>,
    ) -> Result<Delivery, PushError> {
        let (blob, progress) = (transfer.blob, &transfer.progress);
        let path = self.sources.path(&blob.digest);
        let outgoing = match (path, self.stored(blob)?, transfer.origin) {
            (Some(path), ..) => Outgoing::of_file(blob, path, progress)?,
            (None, Some(path), _) => Outgoing::of_file(blob, &path, progress)?,
            (None, None, Some(origin)) => Outgoing::of_registry(blob, origin, progress),
            (None, None, None) => {
                return Err(PushError::Missing {
                    role: "blob",
                    digest: blob.digest.clone(),
                });
            }
        };
        let outgoing = outgoing.from(upload.received(), &transfer.checkpoints)?;
        let (body, cause) = outgoing.into_stream();
        let target = &self.target;
        let sent = match chunk {
            None => target.upload(blob, &mut upload, body).await,
            Some(length) => {
                let sent = target.upload_in_chunks(blob, &mut upload, length, body);
                sent.await
            }
        };
        // What ended the body is the cause of what the registry says of it.
        if let Some(cause) = cause.take() {
            return Err(cause);
        }
        let Err(error) = sent else {
            return Ok(Delivery::Sent);
        };
        let is_denied = error.refuses_access() && transfer.denied_at < Some(upload.received());
        if is_denied {
            transfer.denied_at = Some(upload.received());
        }
        if (is_denied || error.is_transient()) && !transfer.refused {
            transfer.broken = Some(upload);
        }
        Err(error.into())
    }

    /// The repository to mount from, if the blobs of `origin` can be mounted.
    fn mountable<'a>(&self, origin: &'a Client) -> Option<&'a Repository> {
        let (from, to) = (origin.repository(), self.target.repository());
        (from.registry() == to.registry() && from != to).then_some(from)
    }

    /// Where the store has a blob.
    fn stored(&self, blob: &Descriptor) -> Result<Option<PathBuf>, StoreError> {
        match &self.store {
            Some(store) => store.find(&blob.digest, blob.size),
            None => Ok(None),
        }
    }

    async fn push_manifest(&self, descriptor: &Descriptor, bytes: &Bytes) -> Result<(), PushError> {
        let name = ManifestName::Digest(&descriptor.digest);
        self.persist(&descriptor.digest, async || {
            if self.target.has_manifest(&descriptor.digest).await? {
                return Ok(());
            }
            self.target
                .put_manifest(name, &descriptor.media_type, bytes)
                .await
        })
        .await
        .map_err(PushError::from)
    }

    async fn push_tag(&self, tag: &Tag, root: &Descriptor, bytes: &Bytes) -> Result<(), PushError> {
        let now = self
            .persist(&root.digest, async || self.target.tagged(tag).await)
            .await?;
        if now.as_ref() == Some(&root.digest) {
            return Ok(());
        }
        let put = async || {
            self.target
                .put_manifest(ManifestName::Tag(tag), &root.media_type, bytes)
                .await
        };
        match (self.persist(&root.digest, put).await, now) {
            (Ok(()), _) => Ok(()),
            (Err(source), Some(now)) => Err(PushError::Tag {
                tag: tag.as_str().to_owned(),
                now,
                wanted: root.digest.clone(),
                source: Box::new(source),
            }),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Tries until it succeeds, or until there is no hope.
    async fn persist<T>(
        &self,
        digest: &Digest,
        mut attempt: impl AsyncFnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let progress = self.reporter.blob(digest, 0);
        let mut backoff = Backoff::default();
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => backoff.wait_after(error, &*progress).await?,
            }
        }
    }
}
