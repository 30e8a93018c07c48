//! What a store holds: listed, verified and pruned.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::files::{io_failed, list_below};
use crate::oci::digest::{Algorithm, Digest};

use super::lock::{Lock, lock};
use super::root::open_root;
use super::seal::{Held, Trust};
use super::{Store, StoreError, open_to_read, reading, remove, writing};

/// One blob of a store.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The bytes that the file system has allocated for it.
    pub allocated: u64,
    /// Whether an output has the same file, so that to remove the blob would free nothing.
    pub shared: bool,
    /// When a pull last used it.
    pub last_used: SystemTime,
}

/// What [`Store::verify`] found.
#[derive(Debug, Default)]
pub struct Verified {
    /// How many blobs are right.
    pub right: usize,
    /// What is not there any more.
    pub removed: Vec<Removed>,
    /// What could not be judged, or is wrong and could not be removed.
    pub failures: Vec<StoreError>,
}

/// What stood in a blob's place.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The blob.
    pub digest: Digest,
    /// What was wrong.
    pub what: Spoilt,
    /// Whether it was also a file of an output.
    pub shared: bool,
}

/// Why something in a blob's place is not the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spoilt {
    /// It has other bytes.
    #[error("its content was altered")]
    Altered,
    /// It is a directory, a link, a pipe or the like.
    #[error("it is no file")]
    NoFile,
}

impl Store {
    /// Every blob. What keeps some from being listed is added to `failures`.
    pub fn blobs(&self, failures: &mut Vec<StoreError>) -> Vec<Blob> {
        let entries = self.entries(failures).into_iter();
        let files = entries.filter(|(_, metadata)| metadata.is_file());
        files
            .map(|(digest, metadata)| self.blob(digest, &metadata))
            .collect()
    }

    /// What stands where blobs are, files or not.
    fn entries(&self, failures: &mut Vec<StoreError>) -> Vec<(Digest, fs::Metadata)> {
        let mut entries = Vec::new();
        for algorithm in Algorithm::ALL {
            let listed = self.list("blobs", algorithm, failures).into_iter();
            entries.extend(listed.filter_map(|(path, metadata)| {
                let name = path.file_name()?.to_str()?;
                let digest = format!("{}:{name}", algorithm.as_str()).parse().ok()?;
                Some((digest, metadata))
            }));
        }
        entries
    }

    fn blob(&self, digest: Digest, metadata: &fs::Metadata) -> Blob {
        let note = self.root.join(Self::below("used", &digest));
        // An older version of this program noted uses in the blob's own time.
        let last_used = fs::symlink_metadata(note)
            .and_then(|note| note.modified())
            .or_else(|_| metadata.accessed());
        Blob {
            size: metadata.len(),
            allocated: allocated(metadata),
            shared: is_shared(metadata),
            last_used: last_used.unwrap_or(SystemTime::UNIX_EPOCH),
            digest,
        }
    }

    /// The bytes that are allocated for what is half-written. What keeps some of it from being listed is added to
    /// `failures`.
    pub fn half_written(&self, failures: &mut Vec<StoreError>) -> u64 {
        let files = self.ingest_files(failures);
        files.iter().map(|(_, metadata)| allocated(metadata)).sum()
    }

    fn ingest_files(&self, failures: &mut Vec<StoreError>) -> Vec<(PathBuf, fs::Metadata)> {
        let mut files = Vec::new();
        for algorithm in Algorithm::ALL {
            files.extend(self.list("ingest", algorithm, failures));
        }
        files.retain(|(_, metadata)| metadata.is_file());
        files
    }

    /// What is in a directory of the store, which need not exist, but for what other processes take away meanwhile.
    fn list(
        &self,
        directory: &str,
        algorithm: Algorithm,
        failures: &mut Vec<StoreError>,
    ) -> Vec<(PathBuf, fs::Metadata)> {
        let directory = format!("{directory}/{}", algorithm.as_str());
        let path = self.root.join(&directory);
        let mut there = Vec::new();
        let mut add = |entry: io::Result<fs::DirEntry>| {
            let entry = reading("list", &path, entry)?;
            match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                metadata => {
                    there.push((entry.path(), reading("read", &entry.path(), metadata)?));
                }
            }
            Ok(())
        };
        match list_below(&self.root, &directory) {
            Ok(entries) => failures.extend(entries.filter_map(|entry| add(entry).err())),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failures.push(StoreError::Read(error)),
        }
        there
    }

    /// Hashes every blob, and removes what is wrong: files with other bytes, and what is no file, unless something is in it.
    /// What cannot be read keeps nobody from the rest.
    pub fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        for (digest, metadata) in self.entries(&mut verified.failures) {
            let what = match self.judge(&digest, &metadata) {
                Ok(None) => {
                    verified.right += 1;
                    continue;
                }
                Ok(Some(what)) => what,
                // Another process has removed it meanwhile.
                Err(StoreError::Read(error)) if error.source.kind() == io::ErrorKind::NotFound => {
                    continue;
                }
                Err(error) => {
                    verified.failures.push(error);
                    continue;
                }
            };
            let path = self.blob_path(&digest);
            let removed = if metadata.is_dir() {
                io_failed("remove", &path, fs::remove_dir(&path)).map_err(StoreError::Remove)
            } else {
                remove(&path)
            };
            match removed.map_err(Box::new) {
                Ok(()) => verified.removed.push(Removed {
                    digest,
                    what,
                    shared: is_shared(&metadata),
                }),
                Err(source) => verified.failures.push(StoreError::Spoilt {
                    digest,
                    what,
                    source,
                }),
            }
        }
        verified
    }

    /// What is wrong with what stands in a blob's place.
    fn judge(
        &self,
        digest: &Digest,
        metadata: &fs::Metadata,
    ) -> Result<Option<Spoilt>, StoreError> {
        if !metadata.is_file() {
            return Ok(Some(Spoilt::NoFile));
        }
        let path = self.blob_path(digest);
        let file = reading("open", &path, open_to_read(&path))?;
        let held = self
            .seals
            .check(&file, digest, metadata.len(), Trust::Nothing);
        Ok(match reading("read", &path, held)? {
            Held::Blob | Held::Unsealed => None,
            Held::OtherSize(_) | Held::Nothing => Some(Spoilt::Altered),
        })
    }
}

/// What [`prune`] did. All bytes are as allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of blobs that were removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of what was half-written, and is removed too.
    pub half_written: u64,
    /// The number of blobs that were to be removed and stay, because outputs share them.
    pub shared: u64,
    /// Their bytes.
    pub shared_bytes: u64,
}

/// Removes the blobs of the store in `root` that were last used before `older_than` ago, then the
/// longest unused until no more than `max_size` bytes are allocated, and everything half-written. Returns also what
/// could not be listed or removed.
///
/// A blob whose file an output has as well stays: to remove it frees nothing, and changes the status of that output's
/// file.
///
/// Waits until no other process uses the store; `waiting` is called if that takes time.
pub fn prune(
    root: &Path,
    max_size: Option<u64>,
    older_than: Option<Duration>,
    waiting: fn(Option<u32>),
) -> Result<(Pruned, Vec<StoreError>), StoreError> {
    let file = open_root(root, waiting)?;
    writing("lock", root, lock(&file, Lock::Exclusive, waiting))?;
    let store = Store::locked(root, Trust::Seal.into(), file);
    let mut pruned = Pruned::default();
    let mut failures = Vec::new();
    for (path, metadata) in store.ingest_files(&mut failures) {
        match remove(&path) {
            Ok(()) => pruned.half_written += allocated(&metadata),
            Err(error) => failures.push(error),
        }
    }
    let mut blobs = store.blobs(&mut failures);
    blobs.sort_by_key(|blob| blob.last_used);
    let mut left: u64 = blobs.iter().map(|blob| blob.allocated).sum();
    let now = SystemTime::now();
    for blob in blobs {
        let age = now.duration_since(blob.last_used).unwrap_or_default();
        let too_old = older_than.is_some_and(|limit| age > limit);
        let too_much = max_size.is_some_and(|limit| left > limit);
        if !(too_old || too_much) {
            continue;
        }
        if blob.shared {
            pruned.shared += 1;
            pruned.shared_bytes += blob.allocated;
            continue;
        }
        if let Err(error) = remove(&store.blob_path(&blob.digest)) {
            failures.push(error);
            continue;
        }
        let _ = fs::remove_file(root.join(Store::below("used", &blob.digest)));
        left -= blob.allocated;
        pruned.blobs += 1;
        pruned.bytes += blob.allocated;
    }
    Ok((pruned, failures))
}

/// Whether an output has the same file.
fn is_shared(metadata: &fs::Metadata) -> bool {
    metadata.is_file() && links(metadata).is_some_and(|links| links > 1)
}

/// How many names the file has, where that can be known.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
pub(super) fn links(metadata: &fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::nlink(metadata))
}

#[cfg(not(unix))]
pub(super) fn links(_: &fs::Metadata) -> Option<u64> {
    None
}

/// The bytes that the file system has allocated, where that can be known, or else the size.
#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    512 * std::os::unix::fs::MetadataExt::blocks(metadata)
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
