//! What a layout may lack: images that a pull or an export for some platforms left out.
//!
//! An image was left out where nothing of its own is there but its manifest and perhaps its config, and another one, which
//! is whole, is below each of the layout's entries that lead to it. So was what an index lists for no platform and is no
//! image: an export takes its manifest and config along for a pull to choose by. What refers to an image, and what the
//! layout itself lists, is never left out.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::listed::Listed;
use crate::oci::manifest::ImageManifest;
use crate::oci::platform::Platform;

use super::INDEX_FILE;
use super::referrers::is_list;

/// What is there of what a layout lists.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// The images that are there with all that they need, and their layers.
    held: HashSet<Digest>,
    lacking: Vec<Lacking>,
}

/// What of one manifest is not there, and, where it may have been left out, with what image.
#[derive(Debug)]
struct Lacking {
    blobs: Vec<Lacked>,
    image: Option<Listing>,
}

/// An image that an index lists, and of which something lacks.
#[derive(Debug)]
struct Listing {
    index: Digest,
    image: Digest,
    /// The layers that are there.
    layers: Vec<Digest>,
}

/// A blob that a layout lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lacked {
    /// What it is in the image.
    pub(super) role: &'static str,
    pub(super) digest: Digest,
    pub(super) need: Need,
}

/// What needs a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What names the blob; the layout itself where that is none.
    by: Option<Digest>,
    why: Why,
}

/// Why an image was not left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It stands by itself.
    Alone,
    /// It refers to an image.
    Refers,
    /// It is none, and platforms are of images.
    Artifact,
    /// Some of it is there.
    Parts,
    /// There is no other one.
    Only,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Some(by) => by.fmt(f)?,
            None => f.write_str(INDEX_FILE)?,
        }
        f.write_str(" needs it")?;
        f.write_str(match self.why {
            Why::Alone => "",
            Why::Refers => ", which is or lists what refers to an image",
            Why::Artifact => ", which is no image: of that, platforms leave out all or nothing",
            Why::Parts => ", of which other layers are there",
            Why::Only => ", and no other image that its index leads to is whole by itself",
        })
    }
}

impl Lacked {
    /// What names it, where that is not the layout itself.
    pub(super) fn needed_by(&self) -> Option<&Digest> {
        self.need.by.as_ref()
    }
}

impl Need {
    /// Of what is needed whole.
    pub(super) fn of(manifest: &Digest) -> Self {
        Need {
            by: Some(manifest.clone()),
            why: Why::Alone,
        }
    }
}

/// Adds what a layout lists.
pub(super) fn add_roots(listed: &mut Listed, roots: &[Descriptor]) {
    listed.add_roots(roots);
    let (lists, others): (Vec<_>, Vec<_>) = roots.iter().partition(|entry| is_list(entry));
    let others: HashSet<&Digest> = others.into_iter().map(|other| &other.digest).collect();
    // What has another name, too, may be asked for an image.
    for list in lists {
        if !others.contains(&list.digest) {
            listed.add_referrers(&list.digest);
        }
    }
}

/// Whether a blob is there, or a link to nothing in its place.
pub(super) fn is_there(layout: &Path, blob: &Descriptor) -> bool {
    let there = fs::symlink_metadata(layout.join(blob.digest.blob_path()));
    // What may not be looked at is not missing: who reads it says why.
    !there.is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    })
}

/// Whether a manifest whose config is not there may be an image's.
pub(super) fn may_be_image(entry: &Descriptor, image: &ImageManifest) -> bool {
    let listed = entry.platform.as_ref();
    image.other_layer().is_none() && !listed.is_some_and(Platform::is_unknown)
}

impl Presence {
    /// Adds what an index lists, or else the layout itself, and is not there.
    pub(super) fn add_absent(
        &mut self,
        listed: &Listed,
        index: Option<&Digest>,
        entry: &Descriptor,
    ) {
        let is_manifest = entry.is_manifest();
        let (why, index) = match index {
            None => (Why::Alone, None),
            Some(index) if listed.has_referrers(index) => (Why::Refers, Some(index)),
            // Nobody pulls it.
            Some(_) if !is_manifest => return,
            Some(index) => (Why::Only, Some(index)),
        };
        let image = index.filter(|_| why == Why::Only).map(|index| Listing {
            index: index.clone(),
            image: entry.digest.clone(),
            layers: Vec::new(),
        });
        let lacked = Lacked {
            role: if is_manifest { "manifest" } else { "artifact" },
            digest: entry.digest.clone(),
            need: Need {
                by: index.cloned(),
                why,
            },
        };
        self.lacking.push(Lacking {
            blobs: vec![lacked],
            image,
        });
    }

    /// Adds a manifest that is there, which an index lists, or else the layout itself.
    pub(super) fn add(
        &mut self,
        listed: &Listed,
        index: Option<&Digest>,
        (entry, manifest): (&Descriptor, &ImageManifest),
        is_image: bool,
        is_there: impl Fn(&Descriptor) -> bool,
    ) {
        let image = &entry.digest;
        let layers = manifest.layers.iter().filter(|layer| is_there(layer));
        let layers: Vec<Digest> = layers.map(|layer| layer.digest.clone()).collect();
        let roles = std::iter::once("config").chain(std::iter::repeat("layer"));
        let blobs = roles.zip(manifest.blobs());
        let lacked: Vec<_> = blobs.filter(|(_, blob)| !is_there(blob)).collect();
        if lacked.is_empty() {
            if is_image {
                self.held.extend(layers.into_iter().chain([image.clone()]));
            }
            return;
        }
        let (why, listing) = match index {
            None => (Why::Alone, None),
            Some(index) if listed.has_referrers(index) => (Why::Refers, None),
            Some(_) if !is_image && entry.platform.is_some() => (Why::Artifact, None),
            Some(index) => {
                let (index, image) = (index.clone(), image.clone());
                let listing = Listing {
                    index,
                    image,
                    layers,
                };
                (Why::Only, Some(listing))
            }
        };
        let lacked = lacked.into_iter().map(|(role, blob)| Lacked {
            role,
            digest: blob.digest.clone(),
            need: Need {
                by: Some(image.clone()),
                why,
            },
        });
        self.lacking.push(Lacking {
            blobs: lacked.collect(),
            image: listing,
        });
    }

    /// All that lacks.
    pub(super) fn into_lacked(self) -> impl Iterator<Item = Lacked> {
        self.lacking.into_iter().flat_map(|lacking| lacking.blobs)
    }

    /// What lacks: what was left out, and what is lost.
    pub(super) fn into_left_out_and_lost(self, listed: &Listed) -> (Vec<Lacked>, Vec<Lacked>) {
        let without_any = listed.without_any(&self.held);
        let why = |image: &Listing| {
            if [&image.index, &image.image]
                .iter()
                .any(|digest| without_any.contains(digest))
            {
                Some(Why::Only)
            } else if image.layers.iter().any(|layer| !self.held.contains(layer)) {
                Some(Why::Parts)
            } else {
                None
            }
        };
        let (mut left_out, mut lost) = (Vec::new(), Vec::new());
        for Lacking { mut blobs, image } in self.lacking {
            let why = image.as_ref().map(why);
            if let Some(why) = why {
                for blob in &mut blobs {
                    blob.need.why = why.unwrap_or(Why::Alone);
                }
            }
            let lacked = match why {
                Some(None) => &mut left_out,
                _ => &mut lost,
            };
            lacked.append(&mut blobs);
        }
        (left_out, lost)
    }
}
