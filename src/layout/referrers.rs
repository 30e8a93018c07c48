//! What refers to a layout's manifests: signatures, SBOMs and attestations.
//!
//! A layout has no API to ask, so it keeps them as a registry without the API does: an image index lists
//! what refers to a manifest, under the tag that is derived from that one's digest (distribution spec,
//! "Referrers Tag Schema"), which `index.json` has as a name (image-layout.md). regclient looks for that
//! name; oras follows all that `index.json` leads to.

use std::collections::BTreeMap;

use crate::oci::descriptor::{Descriptor, Kind, MediaType};
use crate::oci::digest::Digest;
use crate::oci::manifest::{ImageIndex, Manifest};

use super::{REF_NAME, index_of};

/// The indexes of what refers to manifests, by their tags.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReferrersIndexes(pub(super) BTreeMap<String, Descriptor>);

impl ReferrersIndexes {
    /// Those that an `index.json` lists.
    pub(super) fn of_index(index: &ImageIndex) -> Self {
        let lists = index
            .manifests
            .iter()
            .filter(|entry| is_list(entry))
            .map(|entry| (entry.annotations[REF_NAME].clone(), entry.clone()));
        ReferrersIndexes(lists.collect())
    }

    /// Adds the index of what refers to `subject`.
    pub(crate) fn add(&mut self, subject: &Digest, index: Descriptor) {
        self.0.insert(subject.referrers_tag(), index);
    }

    /// Adds what others has of manifests that this one has nothing of.
    pub(super) fn extend(&mut self, others: Self) {
        for (tag, index) in others.0 {
            self.0.entry(tag).or_insert(index);
        }
    }

    /// The index of what refers to `subject`.
    pub(super) fn of(&self, subject: &Digest) -> Option<&Descriptor> {
        self.0.get(&subject.referrers_tag())
    }
}

/// Whether an entry of an `index.json` is an index of what refers to a manifest, and not an image.
pub(super) fn is_list(entry: &Descriptor) -> bool {
    let name = entry.annotations.get(REF_NAME);
    let hex = name.and_then(|name| {
        name.strip_prefix("sha256-")
            .or_else(|| name.strip_prefix("sha512-"))
    });
    entry.media_type.kind() == Kind::Index
        && hex
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The index of the manifests that refer to one manifest, and its bytes: the same in whatever order they
/// are given.
pub(crate) fn referrers_index<'a>(
    referrers: impl IntoIterator<Item = (&'a Descriptor, &'a Manifest)>,
) -> (Descriptor, Vec<u8>) {
    let mut entries: Vec<_> = referrers
        .into_iter()
        .map(|(descriptor, manifest)| {
            let media_type = manifest.media_type().clone();
            let mut entry = Descriptor::new(media_type, descriptor.digest.clone(), descriptor.size);
            // As the spec has a registry fill them in ("Listing Referrers").
            match manifest {
                Manifest::Image(image) => {
                    let config = || image.config.media_type.clone();
                    entry.artifact_type = image.artifact_type.clone().or_else(|| Some(config()));
                    entry.annotations.clone_from(&image.annotations);
                }
                Manifest::Index(index) => {
                    entry.artifact_type.clone_from(&index.artifact_type);
                    entry.annotations.clone_from(&index.annotations);
                }
            }
            entry
        })
        .collect();
    entries.sort_by_key(|entry| entry.digest.to_string());
    let bytes = index_of(entries);
    let index = Descriptor::of(MediaType::OCI_INDEX, &bytes);
    (index, bytes)
}
