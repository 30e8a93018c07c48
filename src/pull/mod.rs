//! Pulls an image by digest: plans what belongs to it, then fetches it into the store and places it
//! in a layout.

mod artifact;
mod choice;
mod describe;
mod fetcher;
mod plan;
mod referrers;
mod schedule;
mod sources;
mod upstream;

pub use artifact::{PulledArtifact, PulledFile};
pub use describe::{Dates, DescribedKind, Description, describe};
pub use referrers::{ReferrersError, Referring};
pub use upstream::Upstream;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task;

use crate::files::{FileError, Filling, io_failed};
use crate::layout::{LayoutError, LayoutWriter};
use crate::oci::artifact::{ArtifactFile, BadArtifact};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::image::BadImage;
use crate::oci::listed::BadEntry;
use crate::oci::manifest::ManifestError;
use crate::oci::platform::Platform;
use crate::oci::reference::Tag;
use crate::oci::walk::WalkError;
use crate::progress::Reporter;
use crate::registry::{Backoff, Client, RegistryError};
use crate::store::{Store, StoreError};
use crate::text::named;

use plan::{Planner, parse};

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A manifest is of no use.
    #[error("the manifest {digest} cannot be used")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// An image is of no use.
    #[error("the image {digest} cannot be used")]
    Image {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: BadImage,
    },
    /// What an index lists is of no use.
    #[error("the image {digest} cannot be used")]
    Entry {
        /// What it lists.
        digest: Digest,
        /// What is wrong with it.
        source: BadEntry,
    },
    /// What is in the directory for an artifact's files may be somebody's.
    #[error("{path} is not empty: name a directory that is empty or does not exist", path = .0.display())]
    NotEmpty(PathBuf),
    /// An artifact's blobs cannot be files.
    #[error("the artifact {digest} cannot be used")]
    Artifact {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: BadArtifact,
    },
    /// A file of an artifact cannot be written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// One digest, two sizes: at least one descriptor lies.
    #[error("the image says of {digest} both that it has {one} and that it has {other} bytes")]
    Sizes {
        /// The blob.
        digest: Digest,
        /// The size by one descriptor.
        one: u64,
        /// The size by another one.
        other: u64,
    },
    /// The image has no end.
    #[error("the manifests of the image cannot be used")]
    Walk(#[from] WalkError),
    /// What refers to the image.
    #[error(transparent)]
    Referrers(#[from] ReferrersError),
    /// The platform is not to be had.
    #[error("the image has none for {wanted}")]
    Platform {
        /// The platform asked for.
        wanted: Box<Platform>,
        /// What there is, in words.
        offered: String,
        /// Whether the digest is that of one image, and not of an index, which may have more.
        alone: bool,
    },
    /// An index of which nothing can be used, because a build chooses among images alone.
    #[error("the index {digest} lists no image{instead}", instead = listed(.artifacts))]
    NoImage {
        /// The index.
        digest: Digest,
        /// What it lists instead.
        artifacts: Vec<Digest>,
    },
    /// Every source of a foreign layer failed; the last one's reason.
    #[error("the layer {digest} is neither in the registry nor at any of its URLs{}", also(.others, *.unasked))]
    Foreign {
        /// The layer.
        digest: Digest,
        /// Why the other URLs failed, in words.
        others: Vec<String>,
        /// How many URLs were not asked: there are too many of them, or too little time.
        unasked: usize,
        /// Why the last URL failed.
        source: Box<RegistryError>,
    },
}

/// What to pull.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The platforms; all when empty.
    pub platforms: Vec<Platform>,
    /// Manifests and configs, but no layers.
    pub shallow: bool,
    /// What refers to the image as well: signatures, SBOMs and attestations.
    pub referrers: bool,
    /// The directory that is made for the blobs of an artifact as files, if they are wanted.
    pub files: Option<PathBuf>,
    /// How many connections are used at once.
    pub connections: usize,
}

impl Default for Selection {
    /// All platforms' images, over 8 connections.
    fn default() -> Self {
        Selection {
            platforms: Vec::new(),
            shallow: false,
            referrers: false,
            files: None,
            connections: 8,
        }
    }
}

/// What a pull did.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// What was pulled.
    pub summary: Summary,
    /// The number of different blobs in the layout, manifests included.
    pub blobs: usize,
    /// Bytes of blobs that came over the network.
    pub transferred: u64,
    /// Bytes of blobs that the store had.
    pub from_store: u64,
    /// The time it took.
    pub elapsed: Duration,
}

/// The images of a pull, as build rules read them.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What the digest points to.
    pub root: Descriptor,
    /// The image manifests that have a platform, in the index's order.
    pub images: Vec<PulledImage>,
    /// The artifact that the root is, if it is no image and no index.
    pub artifact: Option<PulledArtifact>,
    /// What refers to the root, to anything below it and to these images, where it was pulled.
    pub referrers: Vec<Referring>,
}

/// How many of the URLs that failed are told beside the last one.
const MAX_OTHERS: usize = 2;

/// What else failed, for messages.
fn also(others: &[String], unasked: usize) -> String {
    let mut words: Vec<_> = others.iter().take(MAX_OTHERS).cloned().collect();
    if others.len() > MAX_OTHERS {
        words.push(format!("and {} more", others.len() - MAX_OTHERS));
    }
    match unasked {
        0 => {}
        1 => words.push("1 URL was not asked".to_owned()),
        unasked => words.push(format!("{unasked} URLs were not asked")),
    }
    match words.join("; ") {
        words if words.is_empty() => words,
        words => format!(" ({words})"),
    }
}

/// What an index lists beside images, for messages.
fn listed(artifacts: &[Digest]) -> String {
    if artifacts.is_empty() {
        return String::new();
    }
    format!(
        ", but artifacts: name one of them by its own digest, such as {}",
        named(artifacts)
    )
}

/// One image of a pull.
#[derive(Clone, Debug, Serialize)]
pub struct PulledImage {
    /// The image's manifest.
    pub manifest: Descriptor,
    /// What the image is for.
    pub platform: Platform,
    /// The image's config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Pulls the image or artifact `digest` of `upstream` into a layout in `output`.
///
/// Wants a runtime with more worker threads than cores: a connection's task hashes and writes, too.
pub async fn pull(
    upstream: &Arc<Upstream>,
    store: &Arc<Store>,
    digest: &Digest,
    selection: &Selection,
    output: &Path,
    reporter: &Arc<dyn Reporter>,
) -> Result<Pulled, PullError> {
    let started = Instant::now();
    let planner = Planner::new(upstream, store, selection, reporter);
    let mut plan = planner.plan(digest).await?;
    if selection.referrers {
        planner.add_referrers(&mut plan).await?;
    }
    let writer = LayoutWriter::begin(output, &plan.root, None, &plan.referrers.indexes())?;
    let filling = Filling::begin(output);
    let blobs = plan.blobs(selection.shallow)?;
    let sizes = blobs.iter().map(|blob| blob.size);
    reporter.expect(sizes.fold(0, u64::saturating_add));
    planner.fetch(&mut plan, &blobs).await?;

    let manifests = plan.manifests.iter().chain(plan.referrers.manifests());
    let manifests = manifests.map(|(manifest, _)| (&manifest.digest, manifest));
    let blobs = blobs.iter().map(|blob| (&blob.digest, blob));
    let all: HashMap<&Digest, &Descriptor> = manifests.chain(blobs).collect();
    for blob in all.values() {
        store.place(&blob.digest, &writer.blob_path(blob)?)?;
    }
    let artifact = plan.artifact()?;
    let artifact = match (&artifact, &selection.files) {
        (Some(artifact), Some(files)) if !selection.shallow => {
            let placed = |blob: &Descriptor| writer.blob_path(blob);
            Some(artifact::write_files(artifact, store, placed, files)?)
        }
        (artifact, _) => artifact.as_ref().map(PulledArtifact::of),
    };
    let indexes = plan.referrers.write(&writer)?;
    let left = filling.remove_leftovers(&Algorithm::ALL.map(Algorithm::blob_directory));
    io_failed("remove what killed pulls left in", output, left)?;
    writer.finish()?;
    let transferred = plan.transferred.values().sum::<u64>() + plan.fetched;
    let total: u64 = all.values().map(|blob| blob.size).sum();
    let blobs = all.len() + indexes;
    Ok(Pulled {
        summary: plan.summary(artifact),
        blobs,
        transferred,
        from_store: total.saturating_sub(transferred),
        elapsed: started.elapsed(),
    })
}

/// What a tag points to now: the manifest's digest, by this algorithm. The manifest is kept in the store.
pub async fn resolve(
    registry: &Client,
    store: &Arc<Store>,
    tag: &Tag,
    algorithm: Algorithm,
    reporter: &Arc<dyn Reporter>,
) -> Result<Digest, PullError> {
    let mut backoff = Backoff::default();
    let bytes = loop {
        match registry.resolve(tag).await {
            Ok((bytes, _)) => break bytes,
            Err(error) => {
                // The tag's digest is what is asked for.
                let progress = reporter.blob(&Digest::of(Algorithm::Sha256, b""), 0);
                backoff.wait_after(error, &*progress).await?;
            }
        }
    };
    let digest = Digest::of(algorithm, &bytes);
    parse(&digest, &bytes, None)?;
    let (store, key) = (store.clone(), digest.clone());
    blocking(move || store.insert(&key, &bytes)).await?;
    Ok(digest)
}

/// Fetches files of an artifact of `upstream` into the store; returns where each is.
pub async fn files(
    upstream: &Arc<Upstream>,
    store: &Arc<Store>,
    files: &[ArtifactFile],
    selection: &Selection,
    reporter: &Arc<dyn Reporter>,
) -> Result<Vec<PathBuf>, PullError> {
    let blobs: Vec<_> = files.iter().map(|file| file.blob.clone()).collect();
    let planner = Planner::new(upstream, store, selection, reporter);
    planner.fetcher().fetch_all(blobs.clone()).await?;
    let store = Arc::clone(store);
    let found = blocking(move || {
        let find = |Descriptor { digest, size, .. }| {
            let path = store.find(&digest, size)?;
            path.ok_or(StoreError::Lost(digest))
        };
        blobs.into_iter().map(find).collect::<Result<_, _>>()
    });
    Ok(found.await?)
}

/// Runs what may block on a thread where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    task::spawn_blocking(work)
        .await
        .expect("the work does not panic")
}
