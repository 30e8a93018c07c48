//! The way from a manifest over the indexes to all manifests below it.
//!
//! Whoever walks reads the bytes: from a registry, a store or a layout. The walk says which manifest is
//! next, and ends where a registry would have it go on without end.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::digest::Digest;
use crate::oci::manifest::MAX_MANIFEST_SIZE;
use crate::oci::platform::Platform;

/// Manifests of one image; more are taken for an attack.
const MAX_MANIFESTS: usize = 20_000;
/// Bytes of all manifests of one image, which are all in memory, once for each time that they are listed; and
/// of all its configs, which are read as often.
const MAX_BYTES: u64 = 64 << 20;

/// Why a walk ends before all was seen.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The image has no end.
    #[error("it has more than {MAX_MANIFESTS} manifests")]
    TooMany,
    /// They are too large together.
    #[error("its manifests have more than the limit of 64 MiB together")]
    TooLarge,
    /// What they name as their configs is too large together.
    #[error("the configs of its images have more than the limit of 64 MiB together")]
    Configs,
    /// One is listed in two ways.
    #[error("the manifest {0} is listed with several sizes or media types")]
    Twice(Digest),
    /// One is too large.
    #[error("the manifest {digest} has {size} bytes, more than the limit of 4 MiB")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// Its size by its descriptor.
        size: u64,
    },
}

/// Whether images whose configs have these sizes may be read.
pub(crate) fn check_configs(sizes: impl Iterator<Item = u64>) -> Result<(), WalkError> {
    if sizes.fold(0, u64::saturating_add) > MAX_BYTES {
        return Err(WalkError::Configs);
    }
    Ok(())
}

/// The manifests that were met, each once for each way in which it is listed.
#[derive(Debug, Default)]
pub(crate) struct Met {
    listed: HashSet<(Digest, Option<Platform>)>,
    /// What must be the same wherever a digest is listed.
    digests: HashMap<Digest, (MediaType, u64)>,
    bytes: u64,
    /// Whether a registry says what there is, which must not say too much.
    is_limited: bool,
}

impl Met {
    /// None yet of those that a registry tells.
    pub(crate) fn of_registry() -> Self {
        Met {
            is_limited: true,
            ..Met::default()
        }
    }

    /// Whether a manifest is met for the first time.
    pub(crate) fn meet(&mut self, manifest: &Descriptor) -> Result<bool, WalkError> {
        let (digest, size) = (&manifest.digest, manifest.size);
        let told = (manifest.media_type.clone(), size);
        if *self.digests.entry(digest.clone()).or_insert(told.clone()) != told {
            return Err(WalkError::Twice(digest.clone()));
        }
        if !self
            .listed
            .insert((digest.clone(), manifest.platform.clone()))
        {
            return Ok(false);
        }
        if size > MAX_MANIFEST_SIZE {
            let digest = digest.clone();
            return Err(WalkError::Manifest { digest, size });
        }
        self.bytes += size;
        if self.is_limited && self.listed.len() > MAX_MANIFESTS {
            return Err(WalkError::TooMany);
        }
        if self.is_limited && self.bytes > MAX_BYTES {
            return Err(WalkError::TooLarge);
        }
        Ok(true)
    }
}

/// A walk, breadth first, with what is known of the way to each manifest.
#[derive(Debug)]
pub(crate) struct Walk<T = ()> {
    waiting: VecDeque<(Descriptor, T)>,
    met: Met,
}

impl<T> Default for Walk<T> {
    fn default() -> Self {
        Walk {
            waiting: VecDeque::new(),
            met: Met::default(),
        }
    }
}

impl<T> Walk<T> {
    /// One over what a registry tells.
    pub(crate) fn of_registry() -> Self {
        Walk {
            waiting: VecDeque::new(),
            met: Met::of_registry(),
        }
    }

    /// Puts a manifest on the way, unless it was there.
    pub(crate) fn add(&mut self, manifest: Descriptor, way: T) -> Result<(), WalkError> {
        if self.met.meet(&manifest)? {
            self.waiting.push_back((manifest, way));
        }
        Ok(())
    }

    /// The manifest that is next.
    pub(crate) fn next(&mut self) -> Option<(Descriptor, T)> {
        self.waiting.pop_front()
    }

    /// All that are on the way now.
    pub(crate) fn level(&mut self) -> impl Iterator<Item = (Descriptor, T)> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    /// How many different manifests were on the way.
    pub(crate) fn len(&self) -> usize {
        self.met.digests.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::descriptor::MediaType;

    fn manifest(name: &str, size: u64, platform: Option<&str>) -> Descriptor {
        let mut manifest = Descriptor::of(MediaType::OCI_MANIFEST, name.as_bytes());
        manifest.size = size;
        manifest.platform = platform.map(|platform| platform.parse().unwrap());
        manifest
    }

    #[test]
    fn each_manifest_is_met_once_for_each_of_its_platforms() {
        let mut walk = Walk::default();
        for platform in [None, Some("linux/amd64"), Some("linux/arm64"), None] {
            walk.add(manifest("a", 1, platform), ()).unwrap();
        }
        assert_eq!(walk.len(), 1);
        assert_eq!(walk.level().count(), 3);
        walk.add(manifest("a", 1, None), ()).unwrap();
        assert!(walk.next().is_none());
    }

    #[test]
    fn a_walk_has_an_end() {
        let mut walk = Walk::of_registry();
        let mut add = |number: usize, size| walk.add(manifest(&number.to_string(), size, None), ());
        for number in 0..16 {
            add(number, MAX_MANIFEST_SIZE).unwrap();
        }
        assert!(matches!(add(16, 1), Err(WalkError::TooLarge)));
        let error = add(17, MAX_MANIFEST_SIZE + 1).unwrap_err();
        assert!(matches!(error, WalkError::Manifest { .. }));
        let mut walk = Walk::of_registry();
        let mut add = |number: usize| {
            let platform = format!("linux/a{number}");
            walk.add(manifest("a", MAX_MANIFEST_SIZE, Some(&platform)), ())
        };
        (0..16).try_for_each(&mut add).unwrap();
        assert!(matches!(add(16), Err(WalkError::TooLarge)));
        let mut walk = Walk::of_registry();
        let too_many = (0..=MAX_MANIFESTS)
            .try_for_each(|number| walk.add(manifest(&number.to_string(), 1, None), ()));
        assert!(matches!(too_many, Err(WalkError::TooMany)));
    }
}
