//! What an image or artifact is, before its layers are pulled.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::oci::artifact::{Artifact, CREATED};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::oci::time::{BadTime, Time};
use crate::progress::Reporter;
use crate::store::Store;

use super::plan::{Planner, PullPlan};
use super::{PullError, Selection, Upstream};

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

/// Describes the image `digest` of `upstream`, whose manifests and configs are then in the store.
pub async fn describe(
    upstream: &Arc<Upstream>,
    store: &Arc<Store>,
    digest: &Digest,
    selection: &Selection,
    reporter: &Arc<dyn Reporter>,
) -> Result<Description, PullError> {
    let planner = Planner::new(upstream, store, selection, reporter);
    let mut plan = planner.plan(digest).await?;
    let configs = plan.blobs(true)?;
    planner.fetch(&mut plan, &configs).await?;
    planner.take_embedded(&plan.blobs(false)?).await?;
    plan.describe()
}

impl PullPlan {
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
}
