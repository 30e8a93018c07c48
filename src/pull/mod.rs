//! Pulls an image by digest: plans what belongs to it, then fetches it into the store and places it
//! in a layout.

mod artifact;
mod choice;
mod fetcher;
mod referrers;
mod schedule;
mod upstream;

pub use artifact::{PulledArtifact, PulledFile};
pub use referrers::{ReferrersError, Referring};
pub use upstream::Upstream;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::task;

use crate::files::{FileError, Filling, io_failed};
use crate::layout::{LayoutError, LayoutWriter};
use crate::oci::artifact::{Artifact, ArtifactFile, BadArtifact, CREATED};
use crate::oci::config::{ConfigError, ImageConfig, MAX_CONFIG_SIZE};
use crate::oci::descriptor::{Descriptor, Kind};
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::{
    BadImage, ImageManifest, Listed, MAX_MANIFEST_SIZE, Manifest, ManifestError,
};
use crate::oci::platform::{Platform, choose, offered};
use crate::oci::reference::Tag;
use crate::oci::time::{BadTime, Time};
use crate::oci::walk::{Walk, WalkError, check_configs};
use crate::progress::Reporter;
use crate::registry::{Backoff, Client, RegistryError};
use crate::store::{Store, StoreError};
use crate::text::named;

use fetcher::Fetcher;
use referrers::FoundReferrers;
use upstream::Candidates;

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
    #[error("the image is too large")]
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
    #[error("the layer {digest} is neither in the registry nor at any of its URLs")]
    Foreign {
        /// The layer.
        digest: Digest,
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
    let planner = Planner {
        upstream,
        store,
        selection,
        reporter,
    };
    let mut plan = planner.plan(digest).await?;
    if selection.referrers {
        planner.add_referrers(&mut plan).await?;
    }
    let writer = LayoutWriter::begin(output, &plan.root, None, &plan.referrers.indexes())?;
    let filling = Filling::begin(output);
    let blobs = plan.blobs(selection.shallow)?;
    reporter.expect(blobs.iter().map(|blob| blob.size).sum());
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

/// What is known of an image or artifact before its layers are pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it is.
    pub kind: DescribedKind,
    /// The bytes of its layers, each counted once.
    pub size: u64,
    /// When it was made.
    pub dates: Dates,
}

/// When something was made, by what it and its images say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// The oldest date of all.
    pub oldest: Option<DateTime<Utc>>,
    /// The newest.
    pub newest: Option<DateTime<Utc>>,
    /// One that is none.
    pub unreadable: Option<BadTime>,
}

impl FromIterator<Result<Time, BadTime>> for Dates {
    fn from_iter<I: IntoIterator<Item = Result<Time, BadTime>>>(dates: I) -> Self {
        let mut all = Dates::default();
        for date in dates {
            match date.map(Time::real) {
                Ok(None) => {}
                Ok(date) => {
                    all.oldest = all.oldest.min(date).or(date);
                    all.newest = all.newest.max(date);
                }
                Err(error) => all.unreadable = Some(error),
            }
        }
        all
    }
}

/// What a digest points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DescribedKind {
    /// Images for these platforms.
    Images(Vec<Platform>),
    /// An artifact.
    Artifact(Artifact),
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

/// Describes the image `digest` of `upstream`, whose manifests and configs are then in the store.
pub async fn describe(
    upstream: &Arc<Upstream>,
    store: &Arc<Store>,
    digest: &Digest,
    selection: &Selection,
    reporter: &Arc<dyn Reporter>,
) -> Result<Description, PullError> {
    let planner = Planner {
        upstream,
        store,
        selection,
        reporter,
    };
    let mut plan = planner.plan(digest).await?;
    let configs = plan.blobs(true)?;
    planner.fetch(&mut plan, &configs).await?;
    planner.take_embedded(&plan.blobs(false)?).await?;
    plan.describe()
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
    let fetcher = Fetcher::new(
        Arc::clone(upstream),
        Arc::clone(store),
        Arc::clone(reporter),
        selection.connections,
    );
    fetcher.fetch_all(blobs.clone()).await?;
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

/// A manifest, and where it was.
struct ReadManifest {
    descriptor: Descriptor,
    manifest: Manifest,
    /// Whether it came over the network, and not from the store.
    came: bool,
}

/// What belongs to an image.
struct PullPlan {
    root: Descriptor,
    /// Every manifest, each once for each platform that it is listed for, those nearest to the root first.
    manifests: Vec<(Descriptor, Manifest)>,
    /// The images, in the index's order, each once for each of its platforms, and when each was made; known
    /// once their configs are.
    images: Vec<(PulledImage, Option<Result<Time, BadTime>>)>,
    /// The bytes of the manifests that came over the network.
    transferred: HashMap<Digest, u64>,
    /// Bytes of other blobs that came over the network.
    fetched: u64,
    referrers: FoundReferrers,
}

impl PullPlan {
    fn add(&mut self, read: ReadManifest) {
        self.count(&read);
        self.manifests.push((read.descriptor, read.manifest));
    }

    fn count(&mut self, read: &ReadManifest) {
        let ReadManifest {
            descriptor, came, ..
        } = read;
        if *came {
            self.transferred
                .insert(descriptor.digest.clone(), descriptor.size);
        }
    }

    /// The configs and layers, each once.
    fn blobs(&self, shallow: bool) -> Result<Vec<Descriptor>, PullError> {
        let mut seen: HashMap<&Digest, u64> = HashMap::new();
        let mut blobs = Vec::new();
        let images = self
            .manifests
            .iter()
            .filter_map(|(_, manifest)| manifest.as_image());
        let images = images.flat_map(|image| {
            let layers = if shallow { 0 } else { image.layers.len() };
            image.blobs().take(1 + layers)
        });
        for blob in images.chain(self.referrers.blobs()) {
            match seen.insert(&blob.digest, blob.size) {
                None => blobs.push(blob.clone()),
                Some(size) if size == blob.size => {}
                Some(size) => {
                    return Err(PullError::Sizes {
                        digest: blob.digest.clone(),
                        one: size,
                        other: blob.size,
                    });
                }
            }
        }
        Ok(blobs)
    }

    /// Tells images from artifacts, once the configs are in the store.
    fn find_images(&mut self, store: &Store) -> Result<(), PullError> {
        let images = self.manifests.iter();
        check_image_configs(images.filter_map(|(_, manifest)| manifest.as_image()))?;
        let mut known = HashSet::new();
        let mut listed = Listed::default();
        for (descriptor, manifest) in &self.manifests {
            let Some(image) = manifest.as_image() else {
                continue;
            };
            let config = read_image(store, descriptor, image)?;
            let platform = config.as_ref().map(|config| config.platform.clone());
            listed.found(descriptor, image.role(platform));
            if let Some(config) = config {
                let pulled = PulledImage {
                    manifest: descriptor.bare(),
                    platform: descriptor
                        .platform
                        .as_ref()
                        .unwrap_or(&config.platform)
                        .clone(),
                    config: image.config.bare(),
                    layers: image.layers.iter().map(Descriptor::bare).collect(),
                };
                // An entry with a platform and one without may be for the same.
                if known.insert((descriptor.digest.clone(), pulled.platform.clone())) {
                    self.images.push((pulled, config.created));
                }
            }
        }
        self.check_listed(listed)
    }

    /// Whether none of what the indexes list is one image to some readers and another to others.
    fn check_listed(&self, mut listed: Listed) -> Result<(), PullError> {
        for (_, manifest) in &self.manifests {
            listed.add_index(manifest.manifests());
        }
        match listed.faults().into_iter().next() {
            None => Ok(()),
            Some((digest, source)) => Err(PullError::Image {
                digest: digest.clone(),
                source,
            }),
        }
    }

    /// For every platform asked for there must be an image: what is listed for one may have been an artifact.
    fn check_platform(&self, wanted: &[Platform]) -> Result<(), PullError> {
        let alone = self.manifests[0].1.as_image().is_some();
        if alone && self.images.is_empty() {
            return Ok(());
        }
        let is_lacking = |wanted: &&Platform| {
            let mut images = self.images.iter();
            images.all(|(image, _)| image.platform.rank_for(wanted).is_none())
        };
        let Some(wanted) = wanted.iter().find(is_lacking) else {
            return Ok(());
        };
        let artifacts = self.listed();
        let listed = self.manifests.iter();
        let listed = listed.flat_map(|(_, manifest)| manifest.manifests());
        let listed = listed.filter(|entry| !artifacts.contains(&entry.digest));
        let listed = listed.filter_map(|entry| entry.platform.as_ref());
        let itself = self.images.iter().filter(|_| alone);
        let itself = itself.map(|(image, _)| &image.platform);
        Err(PullError::Platform {
            wanted: Box::new(wanted.clone()),
            offered: offered(listed.chain(itself)),
            alone,
        })
    }

    /// The artifact that the root is, if it is no image and no index. Whether it is an image, its config tells, which
    /// is known by now.
    fn artifact(&self) -> Result<Option<Artifact>, PullError> {
        let Some(manifest) = self.manifests[0].1.as_image() else {
            return Ok(None);
        };
        if !self.images.is_empty() {
            return Ok(None);
        }
        let artifact = Artifact::of(manifest).map_err(|source| PullError::Artifact {
            digest: self.root.digest.clone(),
            source,
        })?;
        Ok(Some(artifact))
    }

    /// The artifacts that are listed.
    fn listed(&self) -> Vec<Digest> {
        let images: HashSet<&Digest> = self
            .images
            .iter()
            .map(|(image, _)| &image.manifest.digest)
            .collect();
        let below = self.manifests.iter().skip(1);
        let below = below.filter(|(_, manifest)| manifest.as_image().is_some());
        let digests = below.map(|(descriptor, _)| &descriptor.digest);
        digests
            .filter(|digest| !images.contains(digest))
            .cloned()
            .collect()
    }

    fn describe(&self) -> Result<Description, PullError> {
        let artifact = self.artifact()?;
        if self.images.is_empty() && artifact.is_none() {
            return Err(PullError::NoImage {
                digest: self.root.digest.clone(),
                artifacts: self.listed(),
            });
        }
        let layers = self.images.iter().flat_map(|(image, _)| &image.layers);
        let files = artifact.iter().flat_map(|artifact| &artifact.files);
        let layers = layers.chain(files.map(|file| &file.blob));
        let sizes: HashMap<&Digest, u64> =
            layers.map(|layer| (&layer.digest, layer.size)).collect();
        let configs = self.images.iter();
        let configs = configs.filter_map(|(_, created)| created.clone());
        let annotated = self.manifests.iter();
        let annotated = annotated.filter_map(|(_, manifest)| manifest.annotations().get(CREATED));
        let platforms = self.images.iter().map(|(image, _)| image.platform.clone());
        Ok(Description {
            size: sizes.values().sum(),
            dates: configs
                .chain(annotated.map(|created| created.parse()))
                .collect(),
            kind: match artifact {
                Some(artifact) => DescribedKind::Artifact(artifact),
                None => DescribedKind::Images(platforms.collect()),
            },
        })
    }

    fn summary(self, artifact: Option<PulledArtifact>) -> Summary {
        let images: Vec<PulledImage> = self.images.into_iter().map(|(image, _)| image).collect();
        let all = self.manifests.iter().map(|(manifest, _)| &manifest.digest);
        let all: Vec<&Digest> = all.collect();
        let mut told = HashSet::from([&self.root.digest]);
        let each = images.iter().map(|image| &image.manifest.digest);
        let each = each.filter(|digest| told.insert(digest));
        let referrers = std::iter::once(self.referrers.referring(&all))
            .chain(each.map(|digest| self.referrers.referring(&[digest])));
        Summary {
            root: self.root.bare(),
            referrers: referrers.flatten().collect(),
            images,
            artifact,
        }
    }
}

/// Whether the configs of these are not too large together.
fn check_image_configs<'a>(
    images: impl Iterator<Item = &'a ImageManifest>,
) -> Result<(), WalkError> {
    let images = images.filter(|image| image.may_be_image());
    check_configs(images.map(|image| image.config.size))
}

/// The config of an image, if it is one; the store has it.
fn read_image(
    store: &Store,
    descriptor: &Descriptor,
    image: &ImageManifest,
) -> Result<Option<ImageConfig>, PullError> {
    let Descriptor { digest, size, .. } = &image.config;
    let unusable = |source| PullError::Image {
        digest: descriptor.digest.clone(),
        source,
    };
    if !image.may_be_image() {
        return Ok(None);
    }
    if *size > MAX_CONFIG_SIZE {
        return Err(unusable(BadImage::Config {
            digest: digest.clone(),
            source: ConfigError::Size(*size),
        }));
    }
    let config = store.read(digest, *size)?.unwrap_or_default();
    image
        .image(&config, descriptor.platform.as_ref())
        .map_err(unusable)
}

struct Planner<'a> {
    upstream: &'a Arc<Upstream>,
    store: &'a Arc<Store>,
    selection: &'a Selection,
    reporter: &'a Arc<dyn Reporter>,
}

impl Planner<'_> {
    /// Walks from the root over the indexes, level by level, then gets the chosen image manifests.
    async fn plan(&self, digest: &Digest) -> Result<PullPlan, PullError> {
        let (bytes, came) = self.manifest(digest, None).await?;
        let manifest = parse(digest, &bytes, None)?;
        let size = bytes.len() as u64;
        let root = Descriptor::new(manifest.media_type().clone(), digest.clone(), size);
        let mut plan = PullPlan {
            root: root.clone(),
            manifests: Vec::new(),
            images: Vec::new(),
            transferred: HashMap::new(),
            fetched: 0,
            referrers: FoundReferrers::new(),
        };
        let mut walk = Walk::of_registry();
        walk.add(root.clone(), ())?;
        walk.next();
        let mut images = Vec::new();
        let mut level = vec![ReadManifest {
            descriptor: root,
            manifest,
            came,
        }];
        while !level.is_empty() {
            for read in level {
                for entry in read.manifest.manifests() {
                    walk.add(entry.clone(), ())?;
                }
                plan.add(read);
            }
            let level_below = walk.level().map(|(entry, ())| entry);
            let (indexes, manifests): (Vec<_>, Vec<_>) =
                level_below.partition(|entry| entry.media_type.kind() == Kind::Index);
            images.extend(manifests);
            level = self.manifests(indexes).await?;
        }
        let is_index = plan.manifests[0].1.as_image().is_none();
        if is_index && !self.selection.platforms.is_empty() {
            images = self.tell_platforms(&mut plan, images).await?;
            images = choose(&images, &self.selection.platforms).map_err(|wanted| {
                PullError::Platform {
                    wanted: Box::new(wanted.clone()),
                    offered: offered(images.iter().filter_map(|image| image.platform.as_ref())),
                    alone: false,
                }
            })?;
        }
        for read in self.manifests(images).await? {
            plan.add(read);
        }
        Ok(plan)
    }

    /// The same manifests with the platforms that their configs tell, where the index tells none.
    async fn tell_platforms(
        &self,
        plan: &mut PullPlan,
        mut manifests: Vec<Descriptor>,
    ) -> Result<Vec<Descriptor>, PullError> {
        let silent = manifests.iter().filter(|entry| entry.platform.is_none());
        let read = self.manifests(silent.cloned().collect()).await?;
        let images = read.iter().filter_map(|read| read.manifest.as_image());
        check_image_configs(images.clone())?;
        let configs = images.filter(|image| image.may_be_image());
        let configs: Vec<_> = configs.map(|image| image.config.clone()).collect();
        self.fetch_blobs(plan, &configs).await?;
        let mut platforms = HashMap::new();
        let mut listed = Listed::default();
        for read in &read {
            plan.count(read);
            if let Some(image) = read.manifest.as_image() {
                let config = read_image(self.store, &read.descriptor, image)?;
                let platform = config.map(|config| config.platform);
                listed.found(&read.descriptor, image.role(platform.clone()));
                platforms.insert(read.descriptor.digest.clone(), platform);
            }
        }
        plan.check_listed(listed)?;
        for entry in &mut manifests {
            if let Some(by_config) = platforms.get(&entry.digest) {
                entry.platform = entry.platform.take().or_else(|| by_config.clone());
            }
        }
        Ok(manifests)
    }

    /// Brings `blobs`, among which are all configs, into the store, and what configs tell into the plan.
    async fn fetch(&self, plan: &mut PullPlan, blobs: &[Descriptor]) -> Result<(), PullError> {
        self.fetch_blobs(plan, blobs).await?;
        plan.find_images(self.store)?;
        plan.check_platform(&self.selection.platforms)
    }

    async fn fetch_blobs(
        &self,
        plan: &mut PullPlan,
        blobs: &[Descriptor],
    ) -> Result<(), PullError> {
        self.take_embedded(blobs).await?;
        let fetcher = Fetcher::new(
            Arc::clone(self.upstream),
            Arc::clone(self.store),
            Arc::clone(self.reporter),
            self.selection.connections,
        );
        plan.fetched += fetcher.fetch_all(blobs.to_vec()).await?;
        Ok(())
    }

    /// What a descriptor has embedded, no registry needs to have.
    async fn take_embedded(&self, blobs: &[Descriptor]) -> Result<(), StoreError> {
        for blob in blobs.iter().filter(|blob| !blob.data.is_empty()) {
            self.insert(&blob.digest, blob.data.clone().into()).await?;
        }
        Ok(())
    }

    async fn insert(&self, digest: &Digest, content: Bytes) -> Result<(), StoreError> {
        let (store, key) = (self.store.clone(), digest.clone());
        blocking(move || store.insert(&key, &content)).await
    }

    /// The manifests of `descriptors`, in their order, and whether each came over the network.
    async fn manifests(
        &self,
        descriptors: Vec<Descriptor>,
    ) -> Result<Vec<ReadManifest>, PullError> {
        stream::iter(descriptors.into_iter().map(|descriptor| async move {
            let digest = &descriptor.digest;
            let (bytes, came) = if descriptor.data.is_empty() {
                self.manifest(digest, Some(descriptor.size)).await?
            } else {
                let bytes = Bytes::from(descriptor.data.clone());
                self.insert(digest, bytes.clone()).await?;
                (bytes, false)
            };
            let manifest = parse(digest, &bytes, Some(&descriptor))?;
            Ok(ReadManifest {
                descriptor,
                manifest,
                came,
            })
        }))
        .buffered(self.selection.connections)
        .try_collect()
        .await
    }

    /// A manifest from the store, or else over the network, and whether it came so.
    async fn manifest(
        &self,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<(Bytes, bool), PullError> {
        let (bytes, came) = match self.store.read(digest, MAX_MANIFEST_SIZE)? {
            Some(bytes) => (bytes.into(), false),
            None => (self.fetch_manifest(digest).await?, true),
        };
        if let Some(size) = size
            && size != bytes.len() as u64
        {
            return Err(PullError::Sizes {
                digest: digest.clone(),
                one: size,
                other: bytes.len() as u64,
            });
        }
        if came {
            self.insert(digest, bytes.clone()).await?;
        }
        Ok((bytes, came))
    }

    async fn fetch_manifest(&self, digest: &Digest) -> Result<Bytes, PullError> {
        let progress = self.reporter.blob(digest, 0);
        let mut backoff = Backoff::default();
        let candidates = Candidates::new(self.upstream, self.reporter);
        loop {
            let endpoint = candidates.endpoint();
            match self.upstream.registry(endpoint).manifest(digest).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    candidates
                        .failed(endpoint, error, &mut backoff, &*progress)
                        .await?;
                }
            }
        }
    }
}

/// Runs what may block on a thread where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    task::spawn_blocking(work)
        .await
        .expect("the work does not panic")
}

fn parse(digest: &Digest, bytes: &[u8], by: Option<&Descriptor>) -> Result<Manifest, PullError> {
    Manifest::parse(bytes, by.map(|by| &by.media_type)).map_err(|source| PullError::Manifest {
        digest: digest.clone(),
        source,
    })
}
