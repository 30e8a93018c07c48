//! OCI image layouts: a directory of blobs with an entry point (OCI image spec, image-layout.md).

mod archive;
mod image;
mod merge;
mod referrers;
mod sparse;
mod verify;

pub(crate) use archive::write_blobs;
pub use archive::{ArchiveError, Format, archive};
pub(crate) use archive::{copy_archive, names_in_archive, write_archive};
pub use image::{FoundImage, ImageNotFound, LayoutImages, find_image};
pub(crate) use merge::Reachable;
pub use merge::{BlobMode, MergeError, Merged, Sources};
pub(crate) use referrers::{ReferrersIndexes, referrers_index};
pub use sparse::Need;
pub use verify::{Fault, FaultKind, Verification, VerifyOptions, verify};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{FileError, io_failed, make_way, read_at_most};
use crate::json::to_json;
use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::manifest::{ImageIndex, MAX_MANIFEST_SIZE};
use crate::oci::reference::RefName;
use crate::oci::strict::{self, Folded};
use crate::outputs::write_whole;

/// The file that marks a directory as a layout.
pub const MARKER_FILE: &str = "oci-layout";
/// The file that lists the layout's images.
pub const INDEX_FILE: &str = "index.json";
/// The file that lists the images of an archive to Docker.
const DOCKER_FILE: &str = "manifest.json";
/// The annotation that names an image within a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
const VERSION: &str = "1.0.0";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Why a directory is no layout of the version that is known.
#[derive(Debug, thiserror::Error)]
#[error("{path} is not an OCI image layout: {problem}", path = .path.display())]
pub struct NotLayout {
    path: PathBuf,
    problem: BadMarker,
}

/// What is wrong with an `oci-layout`.
#[derive(Debug, thiserror::Error)]
enum BadMarker {
    #[error("it has no file {MARKER_FILE}")]
    Missing,
    #[error("{MARKER_FILE} cannot be read: {0}")]
    Io(io::Error),
    #[error("{MARKER_FILE} is not valid: {0}")]
    Json(serde_json::Error),
    #[error("{MARKER_FILE}: imageLayoutVersion is {0:?}, not {VERSION:?}")]
    Version(String),
}

/// Checks that `root` is a layout of the version that is known, because another one may mean something else; returns the
/// keys of its marker that are in another case.
fn read_marker(root: &Path) -> Result<Vec<Folded>, BadMarker> {
    let bytes = match read_at_most(&root.join(MARKER_FILE), MAX_MANIFEST_SIZE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BadMarker::Missing),
        bytes => bytes.map_err(BadMarker::Io)?,
    };
    match strict::read_noting::<Marker>(&bytes).map_err(BadMarker::Json)? {
        (marker, folded) if marker.image_layout_version == VERSION => Ok(folded),
        (marker, _) => Err(BadMarker::Version(marker.image_layout_version)),
    }
}

fn check_marker(root: &Path) -> Result<(), NotLayout> {
    let path = root.to_owned();
    read_marker(root)
        .map(drop)
        .map_err(|problem| NotLayout { path, problem })
}

/// The content of `oci-layout`.
pub(crate) fn marker_json() -> Vec<u8> {
    to_json(&Marker {
        image_layout_version: VERSION.to_owned(),
    })
}

/// The content of an `index.json` that lists `root`, named `ref_name` if given, and the indexes of what
/// refers to its manifests.
///
/// An image's platform is left out: the entry is the image, whatever it is for.
pub(crate) fn index_json(
    root: &Descriptor,
    ref_name: Option<&RefName>,
    referrers: &ReferrersIndexes,
) -> Vec<u8> {
    let name = ref_name.map(|name| (REF_NAME.to_owned(), name.as_str().to_owned()));
    let lists = referrers.0.iter().map(|(tag, index)| {
        let tag = (REF_NAME.to_owned(), tag.clone());
        entry(index, [tag])
    });
    index_of([entry(root, name)].into_iter().chain(lists))
}

/// An entry of an `index.json` for `root`.
pub(crate) fn entry(
    root: &Descriptor,
    annotations: impl IntoIterator<Item = (String, String)>,
) -> Descriptor {
    let mut entry = Descriptor::new(root.media_type.clone(), root.digest.clone(), root.size);
    entry.platform.clone_from(&root.platform);
    entry.annotations.extend(annotations);
    entry
}

pub(crate) fn index_of(entries: impl IntoIterator<Item = Descriptor>) -> Vec<u8> {
    to_json(&ImageIndex {
        schema_version: 2,
        media_type: MediaType::OCI_INDEX,
        artifact_type: None,
        manifests: entries.into_iter().collect(),
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    })
}

/// Why a layout cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The directory holds another image.
    #[error("{path} already holds another image: name another directory, or remove this one first", path = .0.display())]
    Occupied(PathBuf),
    /// Something else is there.
    #[error("{path} is not a directory: name another one", path = .0.display())]
    NotDirectory(PathBuf),
}

/// A layout directory that is being filled with one image.
#[derive(Debug)]
pub(crate) struct LayoutWriter {
    root: PathBuf,
    /// Whether the directory was not there.
    is_new: bool,
    index: Vec<u8>,
}

impl LayoutWriter {
    /// Begins a layout of `image` in the directory `root`, which is made if need be.
    ///
    /// Until [`LayoutWriter::finish`] the directory is no layout, unless it was already one of the
    /// same image.
    pub(crate) fn begin(
        root: &Path,
        image: &Descriptor,
        ref_name: Option<&RefName>,
        referrers: &ReferrersIndexes,
    ) -> Result<Self, LayoutError> {
        Self::begin_with(root, index_json(image, ref_name, referrers))
    }

    /// As [`LayoutWriter::begin`], with these bytes for `index.json`.
    fn begin_with(root: &Path, index: Vec<u8>) -> Result<Self, LayoutError> {
        let index_path = root.join(INDEX_FILE);
        match read_at_most(&index_path, MAX_MANIFEST_SIZE) {
            Ok(present) if present != index => return Err(LayoutError::Occupied(root.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(LayoutError::NotDirectory(root.to_owned()));
            }
            Err(error) => io_failed("read", &index_path, Err(error))?,
        }
        let is_new = !root.exists();
        io_failed("make", root, fs::create_dir_all(root))?;
        Ok(LayoutWriter {
            root: root.to_owned(),
            is_new,
            index,
        })
    }

    /// The path for the blob of `descriptor`; its directory exists.
    pub(crate) fn blob_path(&self, descriptor: &Descriptor) -> Result<PathBuf, LayoutError> {
        Ok(make_way(&self.root, &descriptor.digest.blob_path())?)
    }

    /// Writes a small blob.
    pub(crate) fn write_blob(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), LayoutError> {
        let path = self.blob_path(descriptor)?;
        Ok(io_failed("write", &path, write_whole(&path, bytes))?)
    }

    /// Makes the directory a layout: `index.json` is written last.
    pub(crate) fn finish(&self) -> Result<(), LayoutError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = self.root.join(name);
            io_failed("write", &path, write_whole(&path, bytes))
        };
        write(MARKER_FILE, &marker_json())?;
        Ok(write(INDEX_FILE, &self.index)?)
    }

    /// Removes what was written into a directory that held nothing.
    pub(crate) fn abandon(self) {
        let _ = fs::remove_dir_all(self.root.join("blobs"));
        for name in [MARKER_FILE, INDEX_FILE] {
            let _ = fs::remove_file(self.root.join(name));
        }
        if self.is_new {
            let _ = fs::remove_dir(&self.root);
        }
    }
}
