//! What refers to an image: signatures, SBOMs, attestations, and what refers to those.
//!
//! The image's digest says nothing of them: who may write to the repository may add some at any time.
//! What comes is as the digests in the list say, and says itself that it refers to the image.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::layout::{LayoutError, LayoutWriter, ReferrersIndexes, referrers_index};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{ImageManifest, Manifest};
use crate::oci::walk::Walk;
use crate::progress::Note;
use crate::registry::{Backoff, RegistryError};

use super::PullError;
use super::plan::{Planner, PullPlan};
use super::upstream::Candidates;

/// Manifests that refer to an image, directly or not; more are taken for an attack, as are those below.
const MAX_REFERRERS: usize = 1000;
/// What refers to what refers to an image, and so on.
const MAX_DEPTH: usize = 4;
/// Bytes of all blobs of all referrers.
const MAX_SIZE: u64 = 1 << 30;

/// Why what refers to an image cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub enum ReferrersError {
    /// The registry lists what refers to something else, or to nothing.
    #[error(
        "the registry says that {referrer} refers to {subject}, but its manifest does not say so"
    )]
    Subject {
        /// What is listed.
        referrer: Digest,
        /// What it should refer to.
        subject: Digest,
    },
    /// There are too many.
    #[error("more than {MAX_REFERRERS} manifests refer to the image")]
    TooMany,
    /// They refer to each other without end.
    #[error(
        "what refers to the image is referred to itself, and so on, more than {MAX_DEPTH} times"
    )]
    TooDeep,
    /// They are too large.
    #[error("what refers to the image has {0} bytes, more than the limit of 1 GiB")]
    TooLarge(u64),
}

/// What refers to the manifests of an image.
#[derive(Debug)]
pub(super) struct FoundReferrers {
    /// The manifests that refer to each subject, those of the image first.
    lists: Vec<(Digest, Vec<Digest>)>,
    /// These manifests, and those that indexes among them list.
    manifests: HashMap<Digest, (Descriptor, Manifest)>,
    walk: Walk,
}

/// What refers to one manifest, as build rules read it.
#[derive(Clone, Debug, Serialize)]
pub struct Referring {
    /// The manifest that is referred to.
    pub subject: Digest,
    /// The manifests that refer to it, or to those, with their blobs and the indexes that list them.
    pub blobs: Vec<Descriptor>,
}

impl FoundReferrers {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        FoundReferrers {
            lists: Vec::new(),
            manifests: HashMap::new(),
            walk: Walk::of_registry(),
        }
    }

    /// The manifests, each once.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &(Descriptor, Manifest)> {
        self.manifests.values()
    }

    /// The configs and layers of all of them.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests()
            .filter_map(|(_, manifest)| manifest.as_image())
            .flat_map(ImageManifest::blobs)
    }

    fn index(&self, list: &[Digest]) -> (Descriptor, Vec<u8>) {
        let manifests = list.iter().map(|digest| &self.manifests[digest]);
        referrers_index(manifests.map(|(descriptor, manifest)| (descriptor, manifest)))
    }

    /// The indexes that list them.
    pub(super) fn indexes(&self) -> ReferrersIndexes {
        let mut indexes = ReferrersIndexes::default();
        for (subject, list) in &self.lists {
            indexes.add(subject, self.index(list).0);
        }
        indexes
    }

    /// Writes those indexes; returns how many they are.
    pub(super) fn write(&self, writer: &LayoutWriter) -> Result<usize, LayoutError> {
        for (_, list) in &self.lists {
            let (descriptor, bytes) = self.index(list);
            writer.write_blob(&descriptor, &bytes)?;
        }
        Ok(self.lists.len())
    }

    /// All that refers to any of `subjects`, which are under the name of the first.
    pub(super) fn referring(&self, subjects: &[&Digest]) -> Option<Referring> {
        let mut blobs: HashMap<Digest, Descriptor> = HashMap::new();
        let mut queue: Vec<&Digest> = subjects.to_vec();
        let mut seen: HashSet<&Digest> = queue.iter().copied().collect();
        while let Some(digest) = queue.pop() {
            let mut add = |blob: &Descriptor| {
                blobs.insert(blob.digest.clone(), blob.bare());
            };
            let mut next = Vec::new();
            if let Some((descriptor, manifest)) = self.manifests.get(digest) {
                add(descriptor);
                match manifest {
                    Manifest::Image(image) => image.blobs().for_each(&mut add),
                    Manifest::Index(index) => {
                        next.extend(index.manifests.iter().map(|entry| &entry.digest));
                    }
                }
            }
            if let Some((_, list)) = self.lists.iter().find(|(subject, _)| subject == digest) {
                add(&self.index(list).0);
                next.extend(list);
            }
            queue.extend(next.into_iter().filter(|digest| seen.insert(digest)));
        }
        let mut blobs: Vec<_> = blobs.into_values().collect();
        blobs.sort_by_key(|blob| blob.digest.to_string());
        (!blobs.is_empty()).then(|| Referring {
            subject: subjects[0].clone(),
            blobs,
        })
    }
}

impl Planner<'_> {
    /// Finds what refers to the manifests of `plan`, level by level.
    pub(super) async fn add_referrers(&self, plan: &mut PullPlan) -> Result<(), PullError> {
        let subjects = plan.manifests.iter().map(|(subject, _)| &subject.digest);
        let mut subjects: Vec<Digest> = subjects.cloned().collect();
        let mut seen: HashSet<Digest> = subjects.iter().cloned().collect();
        for depth in 0.. {
            let lists = stream::iter(subjects.into_iter().map(|subject| async {
                let list = self.referrers_of(&subject).await?;
                Ok::<_, PullError>((subject, list))
            }));
            let connections = self.selection.connections;
            let mut coming = pin!(lists.buffered(connections));
            let mut lists = Vec::new();
            let mut count = plan.referrers.walk.len();
            while let Some((subject, list)) = coming.try_next().await? {
                count += list.len();
                if count > MAX_REFERRERS {
                    return Err(ReferrersError::TooMany.into());
                }
                if !list.is_empty() {
                    lists.push((subject, list));
                }
            }
            subjects = Vec::new();
            for (subject, list) in lists {
                if depth == MAX_DEPTH {
                    return Err(ReferrersError::TooDeep.into());
                }
                let digests: Vec<_> = list.iter().map(|entry| entry.digest.clone()).collect();
                self.add_manifests(plan, list).await?;
                for digest in &digests {
                    let (_, manifest) = &plan.referrers.manifests[digest];
                    if manifest.subject().is_none_or(|says| says.digest != subject) {
                        let referrer = digest.clone();
                        return Err(ReferrersError::Subject { referrer, subject }.into());
                    }
                }
                subjects.extend(
                    digests
                        .iter()
                        .filter(|one| seen.insert((*one).clone()))
                        .cloned(),
                );
                plan.referrers.lists.push((subject, digests));
            }
            if subjects.is_empty() {
                break;
            }
        }
        let blobs = plan.referrers.blobs();
        let blobs: HashMap<_, _> = blobs.map(|blob| (&blob.digest, blob.size)).collect();
        let size = blobs
            .values()
            .fold(0, |sum: u64, size| sum.saturating_add(*size));
        if size > MAX_SIZE {
            return Err(ReferrersError::TooLarge(size).into());
        }
        Ok(())
    }

    /// Gets manifests that refer to something, and those that indexes among them list.
    async fn add_manifests(
        &self,
        plan: &mut PullPlan,
        descriptors: Vec<Descriptor>,
    ) -> Result<(), PullError> {
        for descriptor in descriptors {
            plan.referrers.walk.add(descriptor, ())?;
        }
        loop {
            if plan.referrers.walk.len() > MAX_REFERRERS {
                return Err(ReferrersError::TooMany.into());
            }
            let level: Vec<_> = plan
                .referrers
                .walk
                .level()
                .map(|(entry, ())| entry)
                .collect();
            if level.is_empty() {
                return Ok(());
            }
            for read in self.manifests(level).await? {
                plan.count(&read);
                for entry in read.manifest.manifests() {
                    plan.referrers.walk.add(entry.bare(), ())?;
                }
                let digest = read.descriptor.digest.clone();
                plan.referrers
                    .manifests
                    .insert(digest, (read.descriptor, read.manifest));
            }
        }
    }

    /// The manifests that refer to `subject`, each once, by their digests.
    async fn referrers_of(&self, subject: &Digest) -> Result<Vec<Descriptor>, PullError> {
        let progress = self.reporter.blob(subject, 0);
        let mut backoff = Backoff::default();
        let candidates = Candidates::new(self.upstream, self.reporter, 0);
        let mut lacking = false;
        let mut list = loop {
            let endpoint = candidates.endpoint();
            let is_origin = !self.upstream.is_mirror(endpoint);
            if is_origin && lacking && self.upstream.is_cut_off() {
                return Ok(Vec::new());
            }
            match self.upstream.registry(endpoint).referrers(subject).await {
                Ok(Some(list)) => break list,
                Ok(None) if is_origin => return Ok(Vec::new()),
                // It may have the image alone, so the others are asked.
                Ok(None) => {
                    candidates.lacks(endpoint);
                    lacking = true;
                }
                // But where only mirrors can be reached, their word must do.
                Err(error @ RegistryError::Transport { .. }) if is_origin && lacking => {
                    self.upstream.cut_off(&error, &**self.reporter);
                }
                Err(error) => {
                    candidates
                        .failed(endpoint, error, &mut backoff, &*progress)
                        .await?;
                }
            }
        };
        let all = list.len();
        list.retain(Descriptor::is_manifest);
        if list.len() < all {
            self.reporter.note(&Note::LeftOut {
                subject,
                count: all - list.len(),
            });
        }
        list.sort_by_key(|entry| entry.digest.to_string());
        list.dedup_by(|one, other| one.digest == other.digest);
        if list.len() > MAX_REFERRERS {
            return Err(ReferrersError::TooMany.into());
        }
        Ok(list)
    }
}
