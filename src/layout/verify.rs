//! Checks a layout against the OCI image spec, and finds all its faults, not the first.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;

use crate::files::{open_regular, read_at_most};
use crate::oci::descriptor::{Compression, Descriptor, Kind};
use crate::oci::digest::{Algorithm, Digest, hash_reader};
use crate::oci::manifest::{ImageIndex, ImageManifest, MAX_MANIFEST_SIZE, Manifest};
use crate::tar::read_layer;
use crate::text::chain;

use super::{INDEX_FILE, MARKER_FILE, Marker, VERSION};

/// One thing that is wrong with a layout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where: a file of the layout, or a digest.
    pub subject: String,
    /// What.
    pub problem: String,
    /// What kind of fault it is.
    pub kind: FaultKind,
}

/// What is to be said of a fault beside what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A manifest was left out of an index's: [`VerifyOptions::sparse`] accepts it.
    LeftOut,
    /// A blob is a link to nothing, as is left of a pulled base that was taken away.
    Dangling,
    /// Anything else.
    Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

/// How strictly to judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// An index may list manifests that the layout does not hold, as long as it holds one of them:
    /// the layout of a pull for some platforms only.
    pub sparse: bool,
}

/// Checks the layout in the directory `root`: its version, and of every reachable blob the presence,
/// the size, the digest and the media type; of every image that its `diff_ids` are its layers'.
///
/// Returns all faults; none means that the layout is valid.
pub fn verify(root: &Path, options: VerifyOptions) -> Vec<Fault> {
    let mut verifier = Verifier {
        root,
        options,
        faults: Vec::new(),
        known: HashSet::new(),
        queue: VecDeque::new(),
        seen: HashSet::new(),
        judged: HashSet::new(),
        read: HashMap::new(),
    };
    if !root.is_dir() {
        verifier.fault(root.display(), "it is not a directory");
        return verifier.faults;
    }
    verifier.check_marker();
    verifier.check_entry_point();
    while let Some((parent, descriptor)) = verifier.queue.pop_front() {
        verifier.check_content(&parent, &descriptor);
    }
    verifier.check_unreferenced();
    verifier.faults
}

struct Verifier<'a> {
    root: &'a Path,
    options: VerifyOptions,
    faults: Vec<Fault>,
    /// The same, so that none is told twice.
    known: HashSet<Fault>,
    /// What is still to be checked, and what points to it.
    queue: VecDeque<(Rc<str>, Descriptor)>,
    /// The manifests and indexes that were read.
    seen: HashSet<Digest>,
    /// The blobs whose content was compared with their digest, or has a fault already.
    judged: HashSet<Digest>,
    /// The `diff_id` of each config and layer that was read, which depends on what it was taken for.
    read: HashMap<(Digest, Option<Compression>), Option<Digest>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

impl Verifier<'_> {
    fn fault(&mut self, subject: impl fmt::Display, problem: impl Into<String>) {
        self.add(FaultKind::Wrong, subject, problem);
    }

    fn missing(&mut self, parent: &str, digest: &Digest, kind: FaultKind) {
        self.add(
            kind,
            digest,
            format!("it is missing, but {parent} needs it"),
        );
    }

    /// Whether a blob is a link to nothing, which is a fault then.
    fn dangles(&mut self, digest: &Digest, path: &Path) -> bool {
        let Ok(target) = fs::read_link(path) else {
            return false;
        };
        if path.exists() {
            return false;
        }
        let problem = format!("it is a link to {}, which is not there", target.display());
        self.add(FaultKind::Dangling, digest, problem);
        true
    }

    fn add(&mut self, kind: FaultKind, subject: impl fmt::Display, problem: impl Into<String>) {
        let fault = Fault {
            subject: subject.to_string(),
            problem: problem.into(),
            kind,
        };
        if self.known.insert(fault.clone()) {
            self.faults.push(fault);
        }
    }

    /// Every blob must be what its name says, needed or not.
    fn check_unreferenced(&mut self) {
        const NO_BLOB: &str = "its path is not that of a blob, blobs/ALGORITHM/HEX";
        let name = |path: &Path| path.file_name().map(|name| name.display().to_string());
        for directory in list(&self.root.join("blobs")) {
            let algorithm = name(&directory).unwrap_or_default();
            if !directory.is_dir() {
                self.fault(format!("blobs/{algorithm}"), NO_BLOB);
            }
            for file in list(&directory) {
                let hex = name(&file).unwrap_or_default();
                let subject = format!("blobs/{algorithm}/{hex}");
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    self.fault(subject, NO_BLOB);
                    continue;
                };
                if self.judged.contains(&digest) || self.dangles(&digest, &file) {
                    continue;
                }
                match open_regular(&file).and_then(|file| hash_reader(digest.algorithm(), file)) {
                    Ok((found, _)) if found == digest => {}
                    Ok((found, _)) => {
                        self.fault(subject, format!("its content has the digest {found}"));
                    }
                    Err(error) => self.fault(subject, format!("cannot be read: {error}")),
                }
            }
        }
    }

    fn check_marker(&mut self) {
        match read_at_most(&self.root.join(MARKER_FILE), MAX_MANIFEST_SIZE) {
            Ok(bytes) => match serde_json::from_slice::<Marker>(&bytes) {
                Ok(marker) if marker.image_layout_version == VERSION => {}
                Ok(marker) => self.fault(
                    MARKER_FILE,
                    format!(
                        "imageLayoutVersion is {:?}, not {VERSION:?}",
                        marker.image_layout_version
                    ),
                ),
                Err(error) => self.fault(MARKER_FILE, format!("not valid: {error}")),
            },
            Err(error) => self.fault(MARKER_FILE, format!("cannot be read: {error}")),
        }
    }

    fn check_entry_point(&mut self) {
        let bytes = match read_at_most(&self.root.join(INDEX_FILE), MAX_MANIFEST_SIZE) {
            Ok(bytes) => bytes,
            Err(error) => return self.fault(INDEX_FILE, format!("cannot be read: {error}")),
        };
        match Manifest::parse(&bytes, None) {
            Ok(Manifest::Index(index)) => self.check_index(INDEX_FILE, &index, false),
            Ok(Manifest::Image(_)) => self.fault(INDEX_FILE, "it is not an image index"),
            Err(error) => self.fault(INDEX_FILE, format!("not valid: {}", chain(&error))),
        }
    }

    fn check_index(&mut self, subject: &str, index: &ImageIndex, may_be_sparse: bool) {
        let root = self.root;
        let present =
            |entry: &Descriptor| fs::symlink_metadata(root.join(entry.digest.blob_path())).is_ok();
        let sparse = may_be_sparse && index.manifests.iter().any(present);
        if index.manifests.is_empty() {
            self.fault(subject, "it lists no manifests");
        }
        let parent: Rc<str> = subject.into();
        for entry in &index.manifests {
            if present(entry) || !sparse {
                self.queue.push_back((parent.clone(), entry.clone()));
            } else if !self.options.sparse {
                self.missing(subject, &entry.digest, FaultKind::LeftOut);
            }
        }
    }

    /// Checks that a content which `parent` points to is there, with its size.
    fn check_presence(&mut self, parent: &str, descriptor: &Descriptor) -> bool {
        let path = self.root.join(descriptor.digest.blob_path());
        if self.dangles(&descriptor.digest, &path) {
            return false;
        }
        let problem = match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => "it is not a regular file".to_owned(),
            Ok(metadata) if metadata.len() != descriptor.size => {
                let (found, expected) = (metadata.len(), descriptor.size);
                format!("it has {found} bytes, but {parent} says {expected}")
            }
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.missing(parent, &descriptor.digest, FaultKind::Wrong);
                return false;
            }
            Err(error) => format!("cannot be read: {error}"),
        };
        self.fault(&descriptor.digest, problem);
        self.judged.insert(descriptor.digest.clone());
        false
    }

    /// Checks a content that `parent` points to, and all that it points to but what it puts in the queue.
    fn check_content(&mut self, parent: &str, descriptor: &Descriptor) {
        let is_manifest = matches!(descriptor.media_type.kind(), Kind::Index | Kind::Manifest);
        // The digest of what is no manifest is checked with those of the unreferenced.
        if !self.check_presence(parent, descriptor)
            || !is_manifest
            || !self.seen.insert(descriptor.digest.clone())
        {
            return;
        }
        self.judged.insert(descriptor.digest.clone());
        let path = self.root.join(descriptor.digest.blob_path());
        let subject = descriptor.digest.to_string();
        let bytes = match read_at_most(&path, MAX_MANIFEST_SIZE) {
            Ok(bytes) => bytes,
            Err(error) => return self.fault(subject, format!("cannot be read: {error}")),
        };
        let found = Digest::of(descriptor.digest.algorithm(), &bytes);
        if found != descriptor.digest {
            return self.fault(subject, format!("its content has the digest {found}"));
        }
        match Manifest::parse(&bytes, Some(&descriptor.media_type)) {
            Ok(Manifest::Index(index)) => {
                self.check_index(&subject, &index, true);
            }
            Ok(Manifest::Image(image)) => self.check_image(&subject, &image),
            Err(error) => self.fault(subject, format!("not valid: {}", chain(&error))),
        }
    }

    fn check_image(&mut self, subject: &str, image: &ImageManifest) {
        let before = self.faults.len();
        for blob in std::iter::once(&image.config).chain(&image.layers) {
            self.check_presence(subject, blob);
        }
        let is_image = image.config.media_type.kind() == Kind::Config;
        let layers: Vec<Option<Digest>> = image
            .layers
            .iter()
            .map(|layer| self.check_bytes(subject, layer, is_image))
            .collect();
        self.check_bytes(subject, &image.config, false);
        if !is_image || self.faults.len() > before {
            return;
        }
        let path = self.root.join(image.config.digest.blob_path());
        let config = read_at_most(&path, MAX_MANIFEST_SIZE)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                serde_json::from_slice::<Config>(&bytes).map_err(|error| error.to_string())
            });
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                let problem = format!("it is not an image configuration: {error}");
                return self.fault(&image.config.digest, problem);
            }
        };
        // An attestation has an image's config, but its layers are not file systems.
        let has_file_systems = image
            .layers
            .iter()
            .all(|layer| matches!(layer.media_type.kind(), Kind::Layer(_)));
        if !has_file_systems {
            return;
        }
        if config.rootfs.kind != "layers" {
            let problem = format!(
                "its rootfs.type is {:?}, not \"layers\"",
                config.rootfs.kind
            );
            self.fault(&image.config.digest, problem);
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let problem = format!(
                "it has {} diff_ids, but {subject} has {} layers",
                diff_ids.len(),
                layers.len()
            );
            return self.fault(&image.config.digest, problem);
        }
        for ((layer, diff_id), expected) in image.layers.iter().zip(layers).zip(diff_ids) {
            if diff_id.as_ref() != Some(expected) {
                let found = diff_id.map_or("none".to_owned(), |diff_id| diff_id.to_string());
                let problem = format!(
                    "its diff_id is {found}, but the config {} says {expected}",
                    image.config.digest
                );
                self.fault(&layer.digest, problem);
            }
        }
    }

    /// Checks the digest of a config or layer; returns a layer's `diff_id`.
    fn check_bytes(
        &mut self,
        subject: &str,
        descriptor: &Descriptor,
        is_image: bool,
    ) -> Option<Digest> {
        let path = self.root.join(descriptor.digest.blob_path());
        let compression = match descriptor.media_type.kind() {
            Kind::Layer(compression) if is_image => Some(compression),
            Kind::Layer(_) | Kind::Config | Kind::Other => None,
            Kind::Index | Kind::Manifest => {
                let media_type = &descriptor.media_type;
                let problem = format!(
                    "{subject} has it as a config or layer, with the media type {media_type}"
                );
                self.fault(&descriptor.digest, problem);
                return None;
            }
        };
        let read = (descriptor.digest.clone(), compression);
        if let Some(diff_id) = self.read.get(&read) {
            return diff_id.clone();
        }
        if !path.exists() {
            return None;
        }
        let diff_id = match hash_layer(&path, descriptor.digest.algorithm(), compression) {
            Ok((digest, _)) if digest != descriptor.digest => {
                let problem = format!("its content has the digest {digest}");
                self.fault(&descriptor.digest, problem);
                None
            }
            Ok((_, Ok(diff_id))) => diff_id,
            Ok((_, Err(error))) => {
                let problem = format!("it cannot be decompressed: {error}");
                self.fault(&descriptor.digest, problem);
                None
            }
            Err(error) => {
                self.fault(&descriptor.digest, format!("cannot be read: {error}"));
                None
            }
        };
        self.judged.insert(descriptor.digest.clone());
        self.read.insert(read, diff_id.clone());
        diff_id
    }
}

/// The digest of a file and of what it decompresses to.
#[allow(clippy::type_complexity)]
fn hash_layer(
    path: &Path,
    algorithm: Algorithm,
    compression: Option<Compression>,
) -> io::Result<(Digest, io::Result<Option<Digest>>)> {
    let Some(compression) = compression else {
        let (digest, _) = hash_reader(algorithm, open_regular(path)?)?;
        return Ok((digest, Ok(None)));
    };
    read_layer(path, algorithm, compression, |reader| {
        hash_reader(Algorithm::Sha256, reader).map(|(digest, _)| Some(digest))
    })
}

/// The paths in a directory, in order; none if it cannot be read.
fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ReferrersIndexes, index_json, marker_json};
    use crate::oci::descriptor::MediaType;

    /// An index may list what is neither a manifest nor an index.
    #[test]
    fn a_changed_artifact_of_an_index_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let artifact = Descriptor::of(MediaType::new("text/plain"), b"as it was");
        let path = root.join(artifact.digest.blob_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "as it was").unwrap();
        fs::write(root.join(MARKER_FILE), marker_json()).unwrap();
        let index = index_json(&artifact, None, &ReferrersIndexes::default());
        fs::write(root.join(INDEX_FILE), index).unwrap();
        assert_eq!(verify(root, VerifyOptions::default()), []);

        fs::write(&path, "as it is!").unwrap();
        let faults = verify(root, VerifyOptions::default());
        assert!(
            faults.len() == 1 && faults[0].problem.starts_with("its content has the digest"),
            "{faults:?}"
        );
    }
}
