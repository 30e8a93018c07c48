//! What belongs to an image or artifact: manifests and configs are read, and tell which blobs there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::oci::artifact::Artifact;
use crate::oci::config::{ConfigError, ImageConfig, MAX_CONFIG_SIZE};
use crate::oci::descriptor::{Descriptor, Kind};
use crate::oci::digest::Digest;
use crate::oci::image::BadImage;
use crate::oci::listed::Listed;
use crate::oci::manifest::{ImageManifest, MAX_MANIFEST_SIZE, Manifest};
use crate::oci::platform::{Platform, choose, offered};
use crate::oci::time::{BadTime, Time};
use crate::oci::walk::{Walk, check_configs};
use crate::progress::Reporter;
use crate::registry::Backoff;
use crate::store::{Store, StoreError};

use super::fetcher::Fetcher;
use super::referrers::FoundReferrers;
use super::upstream::Candidates;
use super::{PullError, PulledArtifact, PulledImage, Selection, Summary, Upstream, blocking};

/// A manifest, and where it was.
pub(super) struct ReadManifest {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    /// Whether it came over the network, and not from the store.
    pub(super) came: bool,
}

/// What belongs to an image.
pub(super) struct PullPlan {
    pub(super) root: Descriptor,
    /// Every manifest, each once for each platform that it is listed for, those nearest to the root first.
    pub(super) manifests: Vec<(Descriptor, Manifest)>,
    /// The images, in the order in which the indexes list them, each once for each of its platforms, and when each was made; known
    /// once their configs are.
    pub(super) images: Vec<(PulledImage, Option<Result<Time, BadTime>>)>,
    /// The bytes of the manifests that came over the network.
    pub(super) transferred: HashMap<Digest, u64>,
    /// Bytes of other blobs that came over the network.
    pub(super) fetched: u64,
    pub(super) referrers: FoundReferrers,
}

impl PullPlan {
    pub(super) fn add(&mut self, read: ReadManifest) {
        self.count(&read);
        self.manifests.push((read.descriptor, read.manifest));
    }

    pub(super) fn count(&mut self, read: &ReadManifest) {
        let ReadManifest {
            descriptor, came, ..
        } = read;
        if *came {
            self.transferred
                .insert(descriptor.digest.clone(), descriptor.size);
        }
    }

    /// The configs and layers, each once.
    pub(super) fn blobs(&self, shallow: bool) -> Result<Vec<Descriptor>, PullError> {
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
        let manifests = self.manifests.iter().map(|(_, manifest)| manifest);
        check_configs(unclear(manifests).map(|image| image.config.size))?;
        let mut known = HashSet::new();
        let mut listed = Listed::default();
        for (descriptor, manifest) in &self.manifests {
            let Some(image) = manifest.as_image() else {
                continue;
            };
            let config = read_image(store, descriptor, image)?;
            let platform = config.as_ref().map(|config| config.platform.clone());
            listed.found(descriptor, platform);
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
        let listed = self.check_listed(listed)?;
        let below = listed.images_below(&self.root.digest).into_iter();
        let mut places = HashMap::new();
        for (place, (platform, digest)) in below.enumerate() {
            places.entry((digest, platform)).or_insert(place);
        }
        self.images.sort_by_cached_key(|(image, _)| {
            let image = (&image.manifest.digest, &image.platform);
            places.get(&image).copied()
        });
        Ok(())
    }

    /// Whether none of what the indexes list is one image to some readers and another to others.
    fn check_listed(&self, mut listed: Listed) -> Result<Listed, PullError> {
        for (descriptor, manifest) in &self.manifests {
            if let Manifest::Index(index) = manifest {
                listed.add_index(&descriptor.digest, index);
            }
        }
        match listed.faults().into_iter().next() {
            None => Ok(listed),
            Some((digest, source)) => Err(PullError::Entry {
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
    pub(super) fn artifact(&self) -> Result<Option<Artifact>, PullError> {
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
    pub(super) fn listed(&self) -> Vec<Digest> {
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

    pub(super) fn summary(self, artifact: Option<PulledArtifact>) -> Summary {
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

/// Those whose configs must tell what they are.
fn unclear<'a>(
    manifests: impl Iterator<Item = &'a Manifest>,
) -> impl Iterator<Item = &'a ImageManifest> {
    let images = manifests.filter_map(Manifest::as_image);
    images.filter(|image| image.may_be_image())
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
    let config = store.read(digest, *size)?;
    let config = config.ok_or_else(|| StoreError::Lost(digest.clone()))?;
    image
        .image(&config, descriptor.platform.as_ref())
        .map_err(unusable)
}

/// Reads what belongs to an image of an upstream, into a store.
pub(super) struct Planner<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    store: &'a Arc<Store>,
    pub(super) selection: &'a Selection,
    pub(super) reporter: &'a Arc<dyn Reporter>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        upstream: &'a Arc<Upstream>,
        store: &'a Arc<Store>,
        selection: &'a Selection,
        reporter: &'a Arc<dyn Reporter>,
    ) -> Self {
        Planner {
            upstream,
            store,
            selection,
            reporter,
        }
    }

    /// Walks from the root over the indexes, level by level, then gets the chosen image manifests.
    pub(super) async fn plan(&self, digest: &Digest) -> Result<PullPlan, PullError> {
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
        let below = read.iter().map(|read| &read.manifest);
        let configs: Vec<_> = unclear(below).map(|image| image.config.clone()).collect();
        check_configs(configs.iter().map(|config| config.size))?;
        self.fetch_blobs(plan, &configs).await?;
        let mut platforms = HashMap::new();
        let mut listed = Listed::default();
        for read in &read {
            plan.count(read);
            if let Some(image) = read.manifest.as_image() {
                let config = read_image(self.store, &read.descriptor, image)?;
                let platform = config.map(|config| config.platform);
                listed.found(&read.descriptor, platform.clone());
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
    pub(super) async fn fetch(
        &self,
        plan: &mut PullPlan,
        blobs: &[Descriptor],
    ) -> Result<(), PullError> {
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
        plan.fetched += self.fetcher().fetch_all(blobs.to_vec()).await?;
        Ok(())
    }

    pub(super) fn fetcher(&self) -> Arc<Fetcher> {
        Fetcher::new(
            Arc::clone(self.upstream),
            Arc::clone(self.store),
            Arc::clone(self.reporter),
            self.selection.connections,
        )
    }

    /// What a descriptor has embedded, no registry needs to have.
    pub(super) async fn take_embedded(&self, blobs: &[Descriptor]) -> Result<(), StoreError> {
        for blob in blobs {
            if let Some(data) = &blob.data {
                self.insert(&blob.digest, data.clone().into()).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn insert(&self, digest: &Digest, content: Bytes) -> Result<(), StoreError> {
        let (store, key) = (self.store.clone(), digest.clone());
        blocking(move || store.insert(&key, &content)).await
    }

    /// The manifests of `descriptors`, in their order, and whether each came over the network.
    pub(super) async fn manifests(
        &self,
        descriptors: Vec<Descriptor>,
    ) -> Result<Vec<ReadManifest>, PullError> {
        stream::iter(descriptors.into_iter().map(|descriptor| async move {
            let digest = &descriptor.digest;
            let (bytes, came) = if let Some(data) = &descriptor.data {
                let bytes = Bytes::from(data.clone());
                self.insert(digest, bytes.clone()).await?;
                (bytes, false)
            } else {
                self.manifest(digest, Some(descriptor.size)).await?
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

    /// A manifest from the store, or else over the network, and whether it came so. One that is listed has a size.
    pub(super) async fn manifest(
        &self,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<(Bytes, bool), PullError> {
        let (bytes, came) = match self.store.read(digest, MAX_MANIFEST_SIZE)? {
            Some(bytes) => (bytes.into(), false),
            None => (self.fetch_manifest(digest, size.is_some()).await?, true),
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

    async fn fetch_manifest(&self, digest: &Digest, is_listed: bool) -> Result<Bytes, PullError> {
        let progress = self.reporter.blob(digest, 0);
        let mut backoff = Backoff::default();
        let candidates = Candidates::new(self.upstream, self.reporter, 0);
        loop {
            let endpoint = candidates.endpoint();
            let registry = self.upstream.registry(endpoint);
            let read = if is_listed {
                registry.listed_manifest(digest).await
            } else {
                registry.manifest(digest).await
            };
            match read {
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

pub(super) fn parse(
    digest: &Digest,
    bytes: &[u8],
    by: Option<&Descriptor>,
) -> Result<Manifest, PullError> {
    Manifest::parse(bytes, by.map(|by| &by.media_type)).map_err(|source| PullError::Manifest {
        digest: digest.clone(),
        source,
    })
}
