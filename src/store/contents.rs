//! What a store holds: listed, verified and pruned.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::oci::digest::{Algorithm, Digest};

use super::lock::{Lock, lock};
use super::root::open_root;
use super::seal::{Held, Trust};
use super::{Store, StoreError, failed};

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

impl Store {
    /// Every blob.
    pub fn blobs(&self) -> Result<Vec<Blob>, StoreError> {
        let entries = self.entries()?.into_iter();
        let files = entries.filter(|(_, metadata)| metadata.is_file());
        Ok(files
            .map(|(digest, metadata)| self.blob(digest, &metadata))
            .collect())
    }

    /// What stands where blobs are, files or not.
    fn entries(&self) -> Result<Vec<(Digest, fs::Metadata)>, StoreError> {
        let mut entries = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = self.root.join("blobs").join(algorithm.as_str());
            entries.extend(
                list(&directory)?
                    .into_iter()
                    .filter_map(|(name, metadata)| {
                        let digest = format!("{}:{name}", algorithm.as_str()).parse().ok()?;
                        Some((digest, metadata))
                    }),
            );
        }
        Ok(entries)
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
            shared: links(metadata).is_some_and(|links| metadata.is_file() && links > 1),
            last_used: last_used.unwrap_or(SystemTime::UNIX_EPOCH),
            digest,
        }
    }

    /// The bytes that are allocated for what is half-written.
    pub fn half_written(&self) -> Result<u64, StoreError> {
        let files = self.ingest_files()?;
        Ok(files.iter().map(|(_, metadata)| allocated(metadata)).sum())
    }

    fn ingest_files(&self) -> Result<Vec<(PathBuf, fs::Metadata)>, StoreError> {
        let mut files = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = self.root.join("ingest").join(algorithm.as_str());
            let listed = list(&directory)?.into_iter();
            let listed = listed.filter(|(_, metadata)| metadata.is_file());
            files.extend(listed.map(|(name, metadata)| (directory.join(name), metadata)));
        }
        Ok(files)
    }

    /// Hashes every blob, removes those whose bytes are wrong or that are no files, and returns these.
    pub fn verify(&self) -> Result<Vec<Blob>, StoreError> {
        let mut wrong = Vec::new();
        for (digest, metadata) in self.entries()? {
            let path = self.blob_path(&digest);
            let blob = self.blob(digest, &metadata);
            if !metadata.is_file() {
                let removed = if metadata.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                failed("remove", &path, removed)?;
                wrong.push(blob);
                continue;
            }
            let file = failed("open", &path, File::open(&path))?;
            let held = self
                .seals
                .check(&file, &blob.digest, blob.size, Trust::Nothing);
            if !matches!(failed("read", &path, held)?, Held::Blob | Held::Unsealed) {
                failed("remove", &path, fs::remove_file(&path))?;
                wrong.push(blob);
            }
        }
        Ok(wrong)
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
/// longest unused until no more than `max_size` bytes are allocated, and everything half-written.
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
) -> Result<Pruned, StoreError> {
    let file = open_root(root, waiting)?;
    failed("lock", root, lock(&file, Lock::Exclusive, waiting))?;
    let store = Store::locked(root, Trust::Seal.into(), file);
    let mut pruned = Pruned {
        half_written: store.half_written()?,
        ..Pruned::default()
    };
    for (path, _) in store.ingest_files()? {
        failed("remove", &path, fs::remove_file(&path))?;
    }
    let mut blobs = store.blobs()?;
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
        let path = store.blob_path(&blob.digest);
        failed("remove", &path, fs::remove_file(&path))?;
        let _ = fs::remove_file(root.join(Store::below("used", &blob.digest)));
        left -= blob.allocated;
        pruned.blobs += 1;
        pruned.bytes += blob.allocated;
    }
    Ok(pruned)
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

/// What is in a directory, which need not exist, but for what other processes take away meanwhile.
fn list(directory: &Path) -> Result<Vec<(String, fs::Metadata)>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return failed("list", directory, Err(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = failed("list", directory, entry)?;
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => failed("read", &entry.path(), metadata)?,
        };
        if let Ok(name) = entry.file_name().into_string() {
            files.push((name, metadata));
        }
    }
    Ok(files)
}
