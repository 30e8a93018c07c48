//! Which images a layout holds, and which one is for a platform (OCI image spec, image-layout.md,
//! "index.json", and image-index.md).

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::read_at_most;
use crate::oci::config::{ImageConfig, MAX_CONFIG_SIZE};
use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::digest::Digest;
use crate::oci::image::BadImage;
use crate::oci::listed::{BadEntry, Listed};
use crate::oci::manifest::{ImageIndex, ImageManifest, MAX_MANIFEST_SIZE, Manifest, ManifestError};
use crate::oci::platform::{Platform, best_for, offered};
use crate::oci::walk::{Walk, WalkError, check_configs};

use super::referrers::is_list;
use super::sparse::{Lacked, Need, Presence, is_there, may_be_image};
use super::{INDEX_FILE, NotLayout, check_marker};

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct FoundImage {
    /// Its manifest's descriptor; the platform is that of the index, or else of the config.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its config.
    pub config: ImageConfig,
}

impl FoundImage {
    fn platform(&self) -> Option<&Platform> {
        self.descriptor.platform.as_ref()
    }
}

/// Why there is no such image.
#[derive(Debug, thiserror::Error)]
pub enum ImageNotFound {
    /// A file of the layout cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It is no layout of the version that is known.
    #[error(transparent)]
    NotLayout(#[from] NotLayout),
    /// A blob is not what its name says.
    #[error("{expected} of the layout has the digest {found}")]
    Digest {
        /// The digest that it should have.
        expected: Digest,
        /// The one that it has.
        found: Digest,
    },
    /// An index or a manifest is of no use.
    #[error("{file} of the layout cannot be used")]
    Manifest {
        /// The file, by its path in the layout.
        file: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// An image is of no use.
    #[error("the image {digest} of the layout cannot be used")]
    Image {
        /// Its manifest.
        digest: Digest,
        /// What is wrong with it.
        source: BadImage,
    },
    /// What an index lists is of no use.
    #[error("the image {digest} of the layout cannot be used")]
    Entry {
        /// What it lists.
        digest: Digest,
        /// What is wrong with it.
        source: BadEntry,
    },
    /// The layout has no end.
    #[error("the manifests of the layout cannot be used")]
    Walk(#[from] WalkError),
    /// The image lacks a blob.
    #[error("the {role} {digest} is not in the layout, but {need}")]
    Lacks {
        /// What it is in the image.
        role: &'static str,
        /// Its digest.
        digest: Digest,
        /// What needs it.
        need: Need,
    },
    /// There is no image for the platform.
    #[error("the layout has no image for {wanted}: it has {offered}")]
    Platform {
        /// The platform asked for.
        wanted: Box<Platform>,
        /// The platforms that it has.
        offered: String,
    },
    /// The image for the platform was left out.
    #[error(
        "the layout has no image for {wanted}: it lists {digest}, which was left out; pull or export that, too"
    )]
    LeftOut {
        /// The platform asked for.
        wanted: Box<Platform>,
        /// The image's manifest.
        digest: Digest,
    },
    /// It holds something else.
    #[error(
        "the layout has no image: the layer {layer} of {manifest} is not a file system layer, its media type is {media_type}"
    )]
    Artifact {
        /// Its manifest.
        manifest: Digest,
        /// The layer.
        layer: Digest,
        /// The layer's media type.
        media_type: MediaType,
    },
    /// It holds no image at all.
    #[error("the layout has no image")]
    None,
    /// It holds several, and it was not said which.
    #[error("the layout has {count} images, for {offered}: name a platform to choose one of them")]
    Several {
        /// How many.
        count: usize,
        /// Their platforms.
        offered: String,
    },
    /// It holds one, and lists what some run as another.
    #[error(
        "the layout lists {digest} as {media_type:?}, which is no manifest, and which some run all the same: name a platform to choose the image beside it", media_type = media_type.as_str()
    )]
    Disguised {
        /// What it lists.
        digest: Digest,
        /// As what.
        media_type: MediaType,
    },
    /// It holds several for the platform.
    #[error("the layout has {count} images for {wanted}, and nothing tells which is meant")]
    Ambiguous {
        /// How many.
        count: usize,
        /// The platform asked for.
        wanted: Box<Platform>,
    },
}

/// The image of the layout in the directory `layout` that is for `platform`, or the only one.
///
/// Attestations, signatures and other artifacts are no images. An index may list manifests that the
/// layout does not hold (image-layout.md lets a layout miss blobs).
pub fn find_image(layout: &Path, platform: Option<&Platform>) -> Result<FoundImage, ImageNotFound> {
    LayoutImages::read(layout)?.find(platform).cloned()
}

impl From<Lacked> for ImageNotFound {
    fn from(Lacked { role, digest, need }: Lacked) -> Self {
        ImageNotFound::Lacks { role, digest, need }
    }
}

/// The images of a layout.
#[derive(Clone, Debug)]
pub struct LayoutImages {
    /// Those that it holds, each once for each of its platforms.
    pub held: Vec<FoundImage>,
    /// What its indexes list beside.
    absent: Vec<Descriptor>,
    /// What they list that is no manifest by its media type, and that some run all the same.
    disguised: Vec<Descriptor>,
    /// Layers that images lack which nobody left out.
    lost: Vec<Lacked>,
}

impl LayoutImages {
    /// Reads the manifests and configs of the layout in the directory `layout`.
    pub fn read(layout: &Path) -> Result<Self, ImageNotFound> {
        let bytes = read(layout, INDEX_FILE, MAX_MANIFEST_SIZE)?;
        let index = ImageIndex::parse(&bytes).map_err(|source| ImageNotFound::Manifest {
            file: INDEX_FILE.to_owned(),
            source,
        })?;
        check_marker(layout)?;
        let mut walk = Walk::default();
        let mut listed = Listed::default();
        let mut disguised: Vec<Descriptor> = index.disguised().cloned().collect();
        let manifests = index.manifests.into_iter().filter(Descriptor::is_manifest);
        let (lists, roots): (Vec<_>, Vec<_>) = manifests.partition(is_list);
        for entry in roots {
            listed.add_roots([&entry]);
            walk.add(entry, None)?;
        }
        let mut held = Held::default();
        let mut absent = Vec::new();
        let mut artifact = None;
        while let Some((descriptor, parent)) = walk.next() {
            let manifest = read_manifest(layout, &descriptor)?;
            if let Manifest::Index(index) = &manifest {
                listed.add_index(&descriptor.digest, index);
                disguised.extend(index.disguised().cloned());
            }
            for entry in manifest.manifests() {
                if !add_there(layout, &mut walk, entry, Some(&descriptor.digest))? {
                    absent.push(entry.clone());
                }
            }
            let Manifest::Image(manifest) = manifest else {
                continue;
            };
            if let Some(layer) = manifest.other_layer() {
                artifact.get_or_insert_with(|| ImageNotFound::Artifact {
                    manifest: descriptor.digest.clone(),
                    layer: layer.digest.clone(),
                    media_type: layer.media_type.clone(),
                });
            }
            held.add_listed(
                layout,
                &mut listed,
                parent.as_ref(),
                (&descriptor, manifest),
            )?;
        }
        let lost = held.part_with_left_out(&listed, &mut absent)?;
        for entry in &lists {
            add_there(layout, &mut walk, entry, None)?;
        }
        held.add_referring(layout, &mut walk)?;
        let held = held.images;
        if let Some((digest, source)) = listed.faults().into_iter().next() {
            let digest = digest.clone();
            return Err(ImageNotFound::Entry { digest, source });
        }
        match artifact {
            Some(artifact) if held.is_empty() => Err(artifact),
            _ => Ok(LayoutImages {
                held,
                absent,
                disguised,
                lost,
            }),
        }
    }

    /// The one image, or the one that fits `platform` best.
    pub fn find(&self, platform: Option<&Platform>) -> Result<&FoundImage, ImageNotFound> {
        let fitting = match platform {
            Some(wanted) => best_for(&self.held, FoundImage::platform, wanted),
            None => self.held.iter().collect(),
        };
        // One image may be there for several platforms.
        if let Some((first, rest)) = fitting.split_first()
            && rest
                .iter()
                .all(|image| image.descriptor.digest == first.descriptor.digest)
        {
            if let (None, Some(entry)) = (platform, self.disguised.first()) {
                return Err(ImageNotFound::Disguised {
                    digest: entry.digest.clone(),
                    media_type: entry.media_type.clone(),
                });
            }
            let digest = Some(&first.descriptor.digest);
            let mut lost = self.lost.iter();
            let lost = lost.find(|lost| lost.needed_by() == digest);
            return lost.cloned().map_or(Ok(first), |lost| Err(lost.into()));
        }
        let count = fitting.len();
        let left_out = |wanted: &Platform| {
            let absent = best_for(&self.absent, |entry| entry.platform.as_ref(), wanted);
            absent.first().map(|entry| entry.digest.clone())
        };
        let offered = || offered(self.held.iter().filter_map(FoundImage::platform));
        Err(match platform.cloned().map(Box::new) {
            None if count == 0 => ImageNotFound::None,
            None => ImageNotFound::Several {
                count,
                offered: offered(),
            },
            Some(wanted) if count == 0 => match left_out(&wanted) {
                Some(digest) => ImageNotFound::LeftOut { wanted, digest },
                None => ImageNotFound::Platform {
                    wanted,
                    offered: offered(),
                },
            },
            Some(wanted) => ImageNotFound::Ambiguous { count, wanted },
        })
    }

    /// What indexes list that is no manifest by its media type, and that some run all the same.
    pub fn disguised(&self) -> impl Iterator<Item = &Descriptor> {
        self.disguised.iter()
    }

    /// The images that an index lists, and that the layout does not hold.
    pub fn absent(&self) -> impl Iterator<Item = &Descriptor> {
        // What is for no platform is no image, but what is said of one (attestations).
        let is_for_none =
            |entry: &&Descriptor| entry.platform.as_ref().is_some_and(Platform::is_unknown);
        self.absent.iter().filter(move |entry| !is_for_none(entry))
    }
}

/// The images that were found, whose configs are all in memory.
#[derive(Default)]
struct Held {
    images: Vec<FoundImage>,
    config_bytes: u64,
    presence: Presence,
    /// What may be an image, and has no config.
    unread: Vec<Descriptor>,
}

impl Held {
    /// Adds a manifest that is there, which an index lists, or else the layout itself.
    fn add_listed(
        &mut self,
        layout: &Path,
        listed: &mut Listed,
        index: Option<&Digest>,
        (entry, manifest): (&Descriptor, ImageManifest),
    ) -> Result<(), ImageNotFound> {
        let is_there = |blob: &Descriptor| is_there(layout, blob);
        let is_unclear = !is_there(&manifest.config) && may_be_image(entry, &manifest);
        let mut is_image = is_unclear;
        if is_unclear {
            self.unread.push(entry.clone());
        } else {
            let platform = self.add(layout, entry, manifest.clone())?;
            is_image = platform.is_some();
            listed.found(entry, platform);
        }
        let manifest = (entry, &manifest);
        self.presence
            .add(listed, index, manifest, is_image, is_there);
        Ok(())
    }

    /// Moves the images that were left out, but for their manifests and perhaps their configs, to those that are not there;
    /// returns what others lack.
    fn part_with_left_out(
        &mut self,
        listed: &Listed,
        absent: &mut Vec<Descriptor>,
    ) -> Result<Vec<Lacked>, ImageNotFound> {
        let presence = std::mem::take(&mut self.presence);
        let (left_out, lost) = presence.into_left_out_and_lost(listed);
        if let Some(config) = lost.iter().find(|lost| lost.role == "config") {
            return Err(config.clone().into());
        }
        let left_out: HashSet<_> = left_out.iter().filter_map(Lacked::needed_by).collect();
        let is_left_out = |image: &mut FoundImage| left_out.contains(&image.descriptor.digest);
        let images = self.images.extract_if(.., is_left_out);
        absent.extend(images.map(|image| image.descriptor));
        absent.append(&mut self.unread);
        Ok(lost)
    }

    /// Adds a manifest that is there, if it is an image; returns its platform by its config then.
    fn add(
        &mut self,
        layout: &Path,
        entry: &Descriptor,
        manifest: ImageManifest,
    ) -> Result<Option<Platform>, ImageNotFound> {
        if manifest.may_be_image() {
            self.config_bytes = self.config_bytes.saturating_add(manifest.config.size);
            check_configs(std::iter::once(self.config_bytes))?;
        }
        let Some(config) = image_config(layout, entry, &manifest)? else {
            return Ok(None);
        };
        let platform = config.platform.clone();
        let mut descriptor = entry.clone();
        descriptor.platform.get_or_insert_with(|| platform.clone());
        self.images.push(FoundImage {
            descriptor,
            manifest,
            config,
        });
        Ok(Some(platform))
    }

    /// Adds the images that are left on the way, which lists of what refers to images lead to: by its name alone nobody knows
    /// that an index is such a list.
    fn add_referring(
        &mut self,
        layout: &Path,
        walk: &mut Walk<Option<Digest>>,
    ) -> Result<(), ImageNotFound> {
        while let Some((entry, _)) = walk.next() {
            let manifest = read_manifest(layout, &entry)?;
            for below in manifest.manifests() {
                add_there(layout, walk, below, None)?;
            }
            if let Manifest::Image(manifest) = manifest
                && manifest.other_layer().is_none()
            {
                self.add(layout, &entry, manifest)?;
            }
        }
        Ok(())
    }
}

/// Puts a manifest on the way, which an index lists, or else the layout itself, if it is there; returns whether it is.
fn add_there(
    layout: &Path,
    walk: &mut Walk<Option<Digest>>,
    entry: &Descriptor,
    index: Option<&Digest>,
) -> Result<bool, ImageNotFound> {
    let is_there = layout.join(entry.digest.blob_path()).exists();
    if is_there {
        walk.add(entry.clone(), index.cloned())?;
    }
    Ok(is_there)
}

/// Reads a manifest of the layout.
fn read_manifest(layout: &Path, entry: &Descriptor) -> Result<Manifest, ImageNotFound> {
    let bytes = read_blob(layout, &entry.digest, MAX_MANIFEST_SIZE)?;
    let parsed = Manifest::parse(&bytes, Some(&entry.media_type));
    parsed.map_err(|source| ImageNotFound::Manifest {
        file: entry.digest.blob_path(),
        source,
    })
}

/// The config of an image; none of an artifact.
fn image_config(
    layout: &Path,
    descriptor: &Descriptor,
    image: &ImageManifest,
) -> Result<Option<ImageConfig>, ImageNotFound> {
    if !image.may_be_image() {
        return Ok(None);
    }
    let bytes = read_blob(layout, &image.config.digest, MAX_CONFIG_SIZE)?;
    image
        .image(&bytes, descriptor.platform.as_ref())
        .map_err(|source| ImageNotFound::Image {
            digest: descriptor.digest.clone(),
            source,
        })
}

fn read_blob(layout: &Path, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageNotFound> {
    let bytes = read(layout, &digest.blob_path(), limit)?;
    let found = Digest::of(digest.algorithm(), &bytes);
    if found == *digest {
        return Ok(bytes);
    }
    Err(ImageNotFound::Digest {
        expected: digest.clone(),
        found,
    })
}

fn read(layout: &Path, file: &str, limit: u64) -> Result<Vec<u8>, ImageNotFound> {
    let path = layout.join(file);
    read_at_most(&path, limit).map_err(|source| ImageNotFound::Io { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::json::to_json;
    use crate::layout::{MARKER_FILE, ReferrersIndexes, index_json, marker_json};
    use crate::oci::descriptor::MediaType;

    struct Layout(tempfile::TempDir);

    impl Layout {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
            fs::write(directory.path().join(MARKER_FILE), marker_json()).unwrap();
            Layout(directory)
        }

        fn add(&self, media_type: MediaType, bytes: &[u8]) -> Descriptor {
            let descriptor = Descriptor::of(media_type, bytes);
            fs::write(self.0.path().join(descriptor.digest.blob_path()), bytes).unwrap();
            descriptor
        }

        /// An image whose config says what it is for.
        fn image(&self, os: &str, architecture: &str, note: &str) -> Descriptor {
            let config = json!({"os": os, "architecture": architecture, "note": note});
            let config = self.add(MediaType::OCI_CONFIG, config.to_string().as_bytes());
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
            self.add(MediaType::OCI_MANIFEST, manifest.to_string().as_bytes())
        }

        fn index(&self, manifests: &[&Descriptor]) -> Descriptor {
            let index = json!({"schemaVersion": 2, "manifests": manifests});
            self.add(MediaType::OCI_INDEX, &to_json(&index))
        }

        fn find(&self, root: &Descriptor, platform: Option<&str>) -> Result<Digest, String> {
            let index = index_json(root, None, &ReferrersIndexes::default());
            fs::write(self.0.path().join(INDEX_FILE), index).unwrap();
            let platform = platform.map(|platform| platform.parse().unwrap());
            find_image(self.0.path(), platform.as_ref())
                .map(|image| image.descriptor.digest)
                .map_err(|error| error.to_string())
        }
    }

    #[test]
    fn an_image_is_found_by_its_platform() {
        let layout = Layout::new();
        let amd64 = layout.image("linux", "amd64", "");
        let arm = layout.image("linux", "arm64", "");
        let attestation = layout.image("unknown", "unknown", "");
        assert_eq!(layout.find(&amd64, None), Ok(amd64.digest.clone()));
        assert_eq!(
            layout.find(&amd64, Some("linux/arm64")),
            Err("the layout has no image for linux/arm64: it has linux/amd64".to_owned())
        );
        let one = layout.index(&[&amd64, &attestation, &amd64]);
        assert_eq!(layout.find(&one, None), Ok(amd64.digest.clone()));
        let both = layout.index(&[&amd64, &one, &arm]);
        assert_eq!(
            layout.find(&both, Some("linux/arm64/v8")),
            Ok(arm.digest.clone())
        );
        let error = layout.find(&both, None).unwrap_err();
        assert!(
            error.contains("2 images, for linux/amd64, linux/arm64"),
            "{error}"
        );
        let none = layout.index(&[&attestation]);
        assert_eq!(
            layout.find(&none, None),
            Err("the layout has no image".to_owned())
        );
        let twice = layout.index(&[&amd64, &layout.image("linux", "amd64", "other")]);
        let error = layout.find(&twice, Some("linux/amd64")).unwrap_err();
        assert!(error.contains("2 images for linux/amd64"), "{error}");
    }

    #[test]
    fn a_sparse_layout_has_what_is_there() {
        let layout = Layout::new();
        let amd64 = layout.image("linux", "amd64", "");
        let arm = layout.image("linux", "arm64", "");
        let both = layout.index(&[&amd64, &arm]);
        let path = layout.0.path().join(arm.digest.blob_path());
        fs::remove_file(&path).unwrap();
        assert_eq!(layout.find(&both, None), Ok(amd64.digest.clone()));
        fs::write(&path, "another").unwrap();
        let error = layout.find(&both, None).unwrap_err();
        assert!(error.contains("has the digest"), "{error}");
    }
}
