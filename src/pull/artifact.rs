//! The blobs of an artifact as files, and archives among them as directories.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files::{FileError, io_failed, make_way};
use crate::layout::LayoutError;
use crate::oci::artifact::{Artifact, file_path};
use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::digest::Digest;
use crate::store::Store;
use crate::tar::{Limits, TarError, open_archive_file, unpack};
use crate::text::{chain, named};

use super::PullError;

/// The most entries of the archives of an artifact that are unpacked.
const MAX_ENTRIES: u64 = 200_000;
/// How many times their own size the archives of an artifact may unpack to; vulnerability databases take some 15 times
/// theirs.
const MAX_RATIO: u64 = 100;
/// What they may unpack to in any case.
const SMALL: u64 = 64 << 20;
/// An artifact of a pull, as build rules read it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PulledArtifact {
    /// What it is.
    pub artifact_type: MediaType,
    /// Its blobs as files.
    pub files: Vec<PulledFile>,
}

/// A blob of an artifact as a file.
#[derive(Clone, Debug, Serialize)]
pub struct PulledFile {
    /// Its path in the directory for files.
    pub path: String,
    /// The blob.
    pub digest: Digest,
    /// The directory in which it is unpacked.
    pub directory: Option<String>,
    /// What is to be said of it: why it is not unpacked, although it is an archive, or what of it is not, or why it is not
    /// called by its title.
    pub problem: Option<String>,
}

impl PulledArtifact {
    /// The artifact with no file written.
    pub(super) fn of(artifact: &Artifact) -> Self {
        let files = artifact.files.iter().map(|file| PulledFile {
            path: file.path.clone(),
            digest: file.blob.digest.clone(),
            directory: file.directory.clone(),
            problem: file.problem.clone(),
        });
        PulledArtifact {
            artifact_type: artifact.artifact_type.clone(),
            files: files.collect(),
        }
    }
}

/// Writes the files into the directory `output`, which must be empty or not there. The store has the blobs, which were `placed`
/// before.
///
/// An archive that cannot be unpacked is a file alone.
pub(super) fn write_files(
    artifact: &Artifact,
    store: &Store,
    placed: impl Fn(&Descriptor) -> Result<PathBuf, LayoutError>,
    output: &Path,
) -> Result<PulledArtifact, PullError> {
    if fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(PullError::NotEmpty(output.to_owned()));
    }
    io_failed("make", output, fs::create_dir_all(output))?;
    let mut pulled = PulledArtifact::of(artifact);
    let mut limits = limits(artifact);
    for (file, pulled) in artifact.files.iter().zip(&mut pulled.files) {
        let path = make_way(output, &file.path)?;
        store.place_again(&file.blob.digest, &placed(&file.blob)?, &path)?;
        let Some(directory) = &file.directory else {
            continue;
        };
        match unpack_file(&path, output, directory, &mut limits)? {
            Ok(dangling) if dangling.is_empty() => {}
            Ok(dangling) => {
                let links = named(dangling);
                pulled.problem = Some(format!("is unpacked without links to nothing: {links}"));
            }
            Err(problem) => {
                pulled.directory = None;
                pulled.problem = Some(format!("is not unpacked: {problem}"));
            }
        }
    }
    Ok(pulled)
}

/// How much all archives of an artifact may hold: one blob may have many titles.
fn limits(artifact: &Artifact) -> Limits {
    let archives = artifact.files.iter();
    let archives = archives.filter(|file| file.directory.is_some());
    let sizes: HashMap<&Digest, u64> = archives
        .map(|file| (&file.blob.digest, file.blob.size))
        .collect();
    let size = sizes
        .values()
        .fold(0, |sum: u64, size| sum.saturating_add(*size));
    Limits {
        entries: MAX_ENTRIES,
        bytes: SMALL.max(size.saturating_mul(MAX_RATIO)),
    }
}

/// Unpacks an archive; returns the links to nothing in it, or why it cannot be unpacked, if it is its own fault.
fn unpack_file(
    path: &Path,
    output: &Path,
    directory: &str,
    limits: &mut Limits,
) -> Result<Result<Vec<String>, String>, FileError> {
    let target = make_way(output, directory)?;
    let check = |name: &str| file_path(name).map(drop);
    let unpacked = open_archive_file(path)
        .map_err(TarError::from)
        .and_then(|content| unpack(content, &target, limits, check));
    match unpacked {
        Ok(dangling) => Ok(Ok(dangling)),
        Err(TarError::Write(error)) => io_failed("unpack into", &target, Err(error)),
        Err(error) => {
            if target.exists() {
                io_failed("remove", &target, fs::remove_dir_all(&target))?;
            }
            Ok(Err(chain(&error)))
        }
    }
}
