//! Puts an image together from blobs that lie in several places: a pulled base's and local ones.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed, open_regular, read_at_most, symlink_file};
use crate::oci::config::{ConfigError, ImageConfig, MAX_CONFIG_SIZE};
use crate::oci::descriptor::{Descriptor, Kind};
use crate::oci::digest::{Algorithm, Digest, hash_reader};
use crate::oci::listed::Listed;
use crate::oci::manifest::{ImageIndex, ImageManifest, MAX_MANIFEST_SIZE, Manifest, ManifestError};
use crate::oci::reference::RefName;
use crate::oci::walk::{Walk, WalkError};

use super::sparse::{self, Lacked, Need, Presence, add_roots, may_be_image};
use super::{INDEX_FILE, LayoutError, LayoutWriter, NotLayout, ReferrersIndexes, check_marker};

/// How a pulled blob gets into the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobMode {
    /// As a relative symlink to where it lies, so that nothing is copied.
    Link,
    /// As a file of its own.
    File,
}

/// Why an image cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The layout cannot be written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The output directory holds something.
    #[error("{path} is not empty: name a directory that is empty or does not exist", path = .0.display())]
    Occupied(PathBuf),
    /// A blob was not given.
    #[error("the {role} {digest} is not among the blobs given, but {need}")]
    Missing {
        /// What it is in the image.
        role: &'static str,
        /// Its digest.
        digest: Digest,
        /// What needs it.
        need: Need,
    },
    /// A file is not what it was given as.
    #[error("{path} was given as {expected}, but it has {found}", path = path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The digest or size that it should have.
        expected: String,
        /// The one that it has.
        found: String,
    },
    /// A directory is no layout.
    #[error(transparent)]
    NotLayout(#[from] NotLayout),
    /// A path does not say which blob it is.
    #[error("{path} does not end in blobs/ALGORITHM/HEX", path = .0.display())]
    Name(PathBuf),
    /// Neither a layout nor the pulled base has a blob.
    #[error("the {role} {digest} is neither in {layout} nor among the blobs of the pulled base, but {need}", layout = layout.display())]
    Incomplete {
        /// What it is in the image.
        role: &'static str,
        /// Its digest.
        digest: Digest,
        /// What needs it.
        need: Need,
        /// The layout.
        layout: PathBuf,
    },
    /// A config cannot be read, or could be read in two ways.
    #[error("the config {digest} cannot be used")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// A layout's `index.json` is of no use.
    #[error("{path} cannot be used", path = path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
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
}

impl From<FileError> for MergeError {
    fn from(error: FileError) -> Self {
        MergeError::Layout(error.into())
    }
}

/// Where the blobs are.
#[derive(Debug, Default)]
pub struct Sources {
    blobs: HashMap<Digest, BlobSource>,
    referrers: ReferrersIndexes,
}

#[derive(Clone, Debug)]
pub(crate) struct BlobSource {
    pub(super) path: PathBuf,
    pulled: bool,
}

impl BlobSource {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Blobs by their path in a layout.
pub(crate) type Reachable<'a> = BTreeMap<String, (Descriptor, &'a BlobSource)>;

/// What a merge put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The number of blobs.
    pub blobs: usize,
    /// The bytes that were written, not linked.
    pub copied: u64,
}

impl Sources {
    /// Adds a blob that `descriptor` describes.
    pub fn add_local(&mut self, descriptor: &Descriptor, path: PathBuf) {
        let source = BlobSource {
            path,
            pulled: false,
        };
        self.blobs.insert(descriptor.digest.clone(), source);
    }

    /// Adds a small file, whose digest is computed.
    pub fn add_local_file(&mut self, path: PathBuf) -> Result<(), MergeError> {
        let file = io_failed("open", &path, open_regular(&path))?;
        let (digest, _) = io_failed("read", &path, hash_reader(Algorithm::Sha256, file))?;
        let source = BlobSource {
            path,
            pulled: false,
        };
        self.blobs.insert(digest, source);
        Ok(())
    }

    /// Adds a blob of a pulled base, whose path ends in `blobs/ALGORITHM/HEX`.
    ///
    /// Its bytes were verified when it was pulled, and are not read again.
    pub fn add_pulled(&mut self, path: PathBuf) -> Result<(), MergeError> {
        let Some(digest) = digest_of_path(&path) else {
            return Err(MergeError::Name(path));
        };
        let source = BlobSource { path, pulled: true };
        self.blobs.entry(digest).or_insert(source);
        Ok(())
    }

    /// The path of a blob, if it was given.
    pub fn path(&self, digest: &Digest) -> Option<&Path> {
        self.blobs.get(digest).map(|source| source.path.as_path())
    }

    /// Adds what refers to manifests, as the `index.json` of a pulled base's layout lists it.
    pub fn add_referrers(&mut self, index: &Path) -> Result<(), MergeError> {
        let (index, _) = read_index(index)?;
        self.referrers.extend(ReferrersIndexes::of_index(&index));
        Ok(())
    }

    /// Adds the blobs of the layout in the directory `layout` that were not given yet.
    pub(super) fn add_layout(&mut self, layout: &Path) -> Result<(), MergeError> {
        check_marker(layout)?;
        let blobs = layout.join("blobs");
        for algorithm in io_failed("list", &blobs, files_in(&blobs))? {
            if !algorithm.is_dir() {
                continue;
            }
            for blob in io_failed("list", &algorithm, files_in(&algorithm))? {
                // What else lies there is no part of the layout.
                if let Some(digest) = digest_of_path(&blob) {
                    let source = BlobSource {
                        path: blob,
                        pulled: false,
                    };
                    self.blobs.entry(digest).or_insert(source);
                }
            }
        }
        Ok(())
    }

    /// Writes the layout of `root`, with what refers to its manifests, into the directory `output`.
    pub fn write_directory(
        &self,
        root: &Descriptor,
        ref_name: Option<&RefName>,
        mode: BlobMode,
        output: &Path,
    ) -> Result<Merged, MergeError> {
        check_empty(output)?;
        let mut blobs = self.reachable_whole(root)?;
        let referrers = self.add_referring(&mut blobs)?;
        let writer = LayoutWriter::begin(output, root, ref_name, &referrers)?;
        place(&blobs, mode, writer)
    }

    /// Writes the images of the directory `layout`, which may miss what was given to this, into the
    /// directory `output`, with the same `index.json`.
    pub fn complete(
        mut self,
        layout: &Path,
        mode: BlobMode,
        output: &Path,
    ) -> Result<Merged, MergeError> {
        check_empty(output)?;
        self.add_layout(layout)?;
        let (index, bytes) = read_index(&layout.join(INDEX_FILE))?;
        // What is whole by its base alone says nothing of what was left out.
        let blobs = self.reachable_within(&index.manifests, Some(layout));
        let blobs = blobs.map_err(|error| match error {
            MergeError::Missing { role, digest, need } => MergeError::Incomplete {
                role,
                digest,
                need,
                layout: layout.to_owned(),
            },
            error => error,
        })?;
        place(&blobs, mode, LayoutWriter::begin_with(output, bytes)?)
    }

    /// Adds what refers to `blobs`, and what refers to that, as far as it is known.
    fn add_referring<'a>(
        &'a self,
        blobs: &mut Reachable<'a>,
    ) -> Result<ReferrersIndexes, MergeError> {
        let mut found = ReferrersIndexes::default();
        let mut subjects: Vec<Digest> = digests(blobs);
        while let Some(subject) = subjects.pop() {
            let Some(index) = self.referrers.of(&subject) else {
                continue;
            };
            let mut referring = self.reachable_of(index, &|_| true)?;
            found.add(&subject, index.clone());
            referring.retain(|path, _| !blobs.contains_key(path));
            subjects.extend(digests(&referring));
            blobs.append(&mut referring);
        }
        Ok(found)
    }

    /// The blobs of a layout that lists these, by their path in it, but what it may lack, and does.
    pub(crate) fn reachable(&self, roots: &[Descriptor]) -> Result<Reachable<'_>, MergeError> {
        self.reachable_within(roots, None)
    }

    /// As [`Sources::reachable`], where an image is whole if this layout has all of it.
    fn reachable_within(
        &self,
        roots: &[Descriptor],
        layout: Option<&Path>,
    ) -> Result<Reachable<'_>, MergeError> {
        let found = self.follow(roots, &|_| true, layout)?;
        let (_, lost) = found.presence.into_left_out_and_lost(&found.listed);
        none_of(lost)?;
        Ok(found.blobs)
    }

    /// As [`Sources::reachable`], where all of a manifest that was given must be there.
    fn reachable_whole(&self, root: &Descriptor) -> Result<Reachable<'_>, MergeError> {
        let found = self.follow(std::slice::from_ref(root), &|_| true, None)?;
        let (left_out, lost) = found.presence.into_left_out_and_lost(&found.listed);
        none_of(lost)?;
        none_of(
            left_out
                .into_iter()
                .filter(|lacked| lacked.role != "manifest"),
        )?;
        Ok(found.blobs)
    }

    /// The blobs that `root` needs, by their path in a layout, all of them, without the manifests of an index that are not
    /// `wanted`.
    pub(crate) fn reachable_of(
        &self,
        root: &Descriptor,
        wanted: &dyn Fn(&Descriptor) -> bool,
    ) -> Result<Reachable<'_>, MergeError> {
        let found = self.follow(std::slice::from_ref(root), wanted, None)?;
        none_of(found.presence.into_lacked())?;
        Ok(found.blobs)
    }

    /// Finds what `roots` lead to, as far as it is there, and of what is whole what the layout, if any, has itself.
    fn follow(
        &self,
        roots: &[Descriptor],
        wanted: &dyn Fn(&Descriptor) -> bool,
        layout: Option<&Path>,
    ) -> Result<Found<'_>, MergeError> {
        let mut found = Found::default();
        add_roots(&mut found.listed, roots);
        for root in roots {
            found.add(self, None, root)?;
        }
        while let Some((entry, parent)) = found.walk.next() {
            match self.read_manifest(&entry)? {
                Manifest::Index(index) => {
                    found.listed.add_index(&entry.digest, &index);
                    for below in index.manifests.iter().filter(|below| wanted(below)) {
                        found.add(self, Some(&entry.digest), below)?;
                    }
                }
                Manifest::Image(image) => {
                    let is_image = self.is_image(&entry, &image)?;
                    let sources = image.blobs().filter_map(|blob| {
                        let source = self.blobs.get(&blob.digest)?;
                        Some((blob.digest.blob_path(), (blob.bare(), source)))
                    });
                    found.blobs.extend(sources);
                    let is_there = |blob: &Descriptor| self.blobs.contains_key(&blob.digest);
                    let is_own = |layout| image.blobs().all(|blob| sparse::is_there(layout, blob));
                    if image.blobs().all(is_there) && !layout.is_none_or(is_own) {
                        continue;
                    }
                    let listed = &found.listed;
                    let manifest = (&entry, &image);
                    let index = parent.as_ref();
                    found
                        .presence
                        .add(listed, index, manifest, is_image, is_there);
                }
            }
        }
        Ok(found)
    }

    fn read_manifest(&self, entry: &Descriptor) -> Result<Manifest, MergeError> {
        let path = &self.find("manifest", entry, &entry.digest)?.path;
        let bytes = io_failed("read", path, read_at_most(path, MAX_MANIFEST_SIZE))?;
        let found = Digest::of(entry.digest.algorithm(), &bytes);
        check_digest(entry, path, &found)?;
        Manifest::parse(&bytes, Some(&entry.media_type)).map_err(|source| MergeError::Manifest {
            digest: entry.digest.clone(),
            source,
        })
    }

    /// Whether a manifest is an image's. A config of another ruleset's image was not looked at by a pull.
    fn is_image(&self, entry: &Descriptor, image: &ImageManifest) -> Result<bool, MergeError> {
        let Some(BlobSource { path, .. }) = self.blobs.get(&image.config.digest) else {
            return Ok(may_be_image(entry, image));
        };
        let bytes = io_failed("read", path, read_at_most(path, MAX_CONFIG_SIZE));
        let bytes = match bytes {
            Err(_) if image.config.media_type.kind() != Kind::Config => return Ok(false),
            bytes => bytes?,
        };
        if image.config.media_type.kind() == Kind::Config {
            ImageConfig::parse(&bytes).map_err(|source| MergeError::Config {
                digest: image.config.digest.clone(),
                source,
            })?;
        }
        let config = image.image(&bytes, entry.platform.as_ref());
        Ok(config.is_ok_and(|config| config.is_some()))
    }

    /// A blob that a manifest needs.
    pub(crate) fn find(
        &self,
        role: &'static str,
        descriptor: &Descriptor,
        manifest: &Digest,
    ) -> Result<&BlobSource, MergeError> {
        self.blobs
            .get(&descriptor.digest)
            .ok_or_else(|| MergeError::Missing {
                role,
                digest: descriptor.digest.clone(),
                need: Need::of(manifest),
            })
    }
}

/// What is found on the way over a layout.
#[derive(Default)]
struct Found<'a> {
    blobs: Reachable<'a>,
    listed: Listed,
    presence: Presence,
    /// The manifests that are still to be read, and the index that lists each.
    walk: Walk<Option<Digest>>,
}

impl<'a> Found<'a> {
    /// Adds what an index lists, or else the layout itself.
    fn add(
        &mut self,
        sources: &'a Sources,
        index: Option<&Digest>,
        entry: &Descriptor,
    ) -> Result<(), WalkError> {
        let Some(source) = sources.blobs.get(&entry.digest) else {
            self.presence.add_absent(&self.listed, index, entry);
            return Ok(());
        };
        let path = entry.digest.blob_path();
        self.blobs.insert(path, (entry.bare(), source));
        if entry.is_manifest() {
            self.walk.add(entry.clone(), index.cloned())?;
        }
        Ok(())
    }
}

fn none_of(lacked: impl IntoIterator<Item = Lacked>) -> Result<(), MergeError> {
    let first = lacked.into_iter().next();
    first.map_or(Ok(()), |Lacked { role, digest, need }| {
        Err(MergeError::Missing { role, digest, need })
    })
}

/// The digest that a path which ends in blobs/ALGORITHM/HEX says.
fn digest_of_path(path: &Path) -> Option<Digest> {
    let mut parts = path.iter().rev().map(|part| part.to_str());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Some(hex)), Some(Some(algorithm)), Some(Some("blobs"))) => {
            format!("{algorithm}:{hex}").parse().ok()
        }
        _ => None,
    }
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

/// An `index.json`, and its bytes.
pub(super) fn read_index(path: &Path) -> Result<(ImageIndex, Vec<u8>), MergeError> {
    let bytes = io_failed("read", path, read_at_most(path, MAX_MANIFEST_SIZE))?;
    let index = ImageIndex::parse(&bytes).map_err(|source| MergeError::Index {
        path: path.to_owned(),
        source,
    })?;
    Ok((index, bytes))
}

fn check_empty(output: &Path) -> Result<(), MergeError> {
    if fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(MergeError::Occupied(output.to_owned()));
    }
    Ok(())
}

/// Writes the layout of `blobs`, or nothing.
fn place(
    blobs: &Reachable<'_>,
    mode: BlobMode,
    writer: LayoutWriter,
) -> Result<Merged, MergeError> {
    let placed = place_blobs(blobs, mode, &writer).and_then(|merged| {
        writer.finish()?;
        Ok(merged)
    });
    if placed.is_err() {
        writer.abandon();
    }
    placed
}

fn place_blobs(
    blobs: &Reachable<'_>,
    mode: BlobMode,
    writer: &LayoutWriter,
) -> Result<Merged, MergeError> {
    let mut merged = Merged {
        blobs: blobs.len(),
        copied: 0,
    };
    for (descriptor, source) in blobs.values() {
        let target = writer.blob_path(descriptor)?;
        if source.pulled && mode == BlobMode::Link {
            // Its bytes are not read, but a power loss may have left it shorter than it was.
            let found = io_failed("read", &source.path, fs::metadata(&source.path))?.len();
            check_size(descriptor, &source.path, found)?;
            let link = relative(&source.path, &target);
            io_failed("link", &target, symlink_file(&link, &target))?;
        } else {
            copy_verified(descriptor, &source.path, &target)?;
            merged.copied += descriptor.size;
        }
    }
    Ok(merged)
}

fn digests(blobs: &Reachable<'_>) -> Vec<Digest> {
    let descriptors = blobs.values().map(|(descriptor, _)| descriptor);
    descriptors.map(|blob| blob.digest.clone()).collect()
}

pub(super) fn check_size(
    descriptor: &Descriptor,
    path: &Path,
    found: u64,
) -> Result<(), MergeError> {
    if found == descriptor.size {
        return Ok(());
    }
    Err(MergeError::Wrong {
        path: path.to_owned(),
        expected: format!("{} with {} bytes", descriptor.digest, descriptor.size),
        found: format!("{found} bytes"),
    })
}

pub(super) fn check_digest(
    descriptor: &Descriptor,
    path: &Path,
    found: &Digest,
) -> Result<(), MergeError> {
    if *found == descriptor.digest {
        return Ok(());
    }
    Err(MergeError::Wrong {
        path: path.to_owned(),
        expected: descriptor.digest.to_string(),
        found: found.to_string(),
    })
}

fn copy_verified(descriptor: &Descriptor, source: &Path, target: &Path) -> Result<(), MergeError> {
    let found = io_failed("read", source, fs::metadata(source))?.len();
    check_size(descriptor, source, found)?;
    if reflink_copy::reflink(source, target).is_err() {
        io_failed("copy a blob to", target, fs::copy(source, target))?;
    }
    let copy = io_failed("open", target, File::open(target))?;
    let algorithm = descriptor.digest.algorithm();
    let (found, _) = io_failed("read", target, hash_reader(algorithm, copy))?;
    check_digest(descriptor, source, &found)
}

/// The path from the directory of `link` to `target`; both are relative to the same directory, or
/// both absolute.
fn relative(target: &Path, link: &Path) -> PathBuf {
    let directory = link.parent().unwrap_or(Path::new(""));
    let common = target
        .components()
        .zip(directory.components())
        .take_while(|(one, other)| one == other)
        .count();
    let up = directory.components().skip(common).map(|_| "..".as_ref());
    let down = target
        .components()
        .skip(common)
        .map(std::path::Component::as_os_str);
    up.chain(down).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        let link = Path::new("bazel-out/k8/bin/pkg/layout/blobs/sha256/aa");
        let target = Path::new("external/base/blobs/sha256/aa");
        assert_eq!(
            relative(target, link),
            Path::new("../../../../../../../external/base/blobs/sha256/aa")
        );
        assert_eq!(relative(Path::new("a/b"), Path::new("a/c")), Path::new("b"));
    }

    #[test]
    fn a_pulled_blob_is_known_by_its_path() {
        let mut sources = Sources::default();
        let hex = "e".repeat(64);
        sources
            .add_pulled(format!("external/b/blobs/sha256/{hex}").into())
            .unwrap();
        for bad in [
            format!("external/b/sha256/{hex}"),
            "blobs/sha256/aa".to_owned(),
        ] {
            assert!(matches!(
                sources.add_pulled(bad.into()),
                Err(MergeError::Name(_))
            ));
        }
    }
}
