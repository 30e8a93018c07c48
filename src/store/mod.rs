//! The content-addressed store: blobs on disk, shared by all of a user's workspaces.
//!
//! ```text
//! ROOT/version                    the format's version
//! ROOT/lock                       held shared by every user, exclusively while pruning
//! ROOT/blobs/ALGORITHM/HEX        complete, verified, read-only
//! ROOT/ingest/ALGORITHM/HEX       being written, and locked by the one process that does so
//! ROOT/ingest/ALGORITHM/HEX.parts which bytes of it are there
//! ```
//!
//! A blob gets its name only after its size and digest are checked, and is sealed then, so that a
//! later write cannot go unnoticed. The access time is set at each use, for pruning.

mod seal;
mod writer;

pub use seal::Trust;
pub(crate) use writer::Writer;

use std::fs::{self, File, FileTimes, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::files::{make_way, write_whole};
use crate::oci::digest::{Algorithm, Digest};

use seal::{Held, Seals};

const VERSION: &str = "1";

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("the store could not {action} {path}; make room there and let it be written", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Written by another version of this program.
    #[error("the store {path} has the format version {found:?}, and this program knows only {VERSION:?}", path = path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// What its version file says.
        found: String,
    },
    /// A directory that this program did not make.
    #[error("{path} is not a store of blobs: name one that a pull has made, or for a pull a new directory", path = path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// What was written is longer or shorter than said.
    #[error("{digest} should have {expected} bytes, but {found} came")]
    Size {
        /// The blob.
        digest: Digest,
        /// Its size by its descriptor.
        expected: u64,
        /// How many bytes came (at least, when too many).
        found: u64,
    },
    /// What was written has another digest.
    #[error("{expected} was asked for, but what came has the digest {found}")]
    Digest {
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
}

fn failed<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    })
}

/// A content-addressed store in a directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    trust: Trust,
    seals: Seals,
    /// Cleared by the first that fails, because a try makes a file.
    reflinks: AtomicBool,
    /// Held until the store is dropped.
    _lock: File,
}

/// What [`Store::ingest`] found.
#[derive(Debug)]
pub(crate) enum Ingest {
    /// The blob is there.
    Present,
    /// The blob is to be written, by the holder of this and by nobody else.
    Writer(Box<Writer>),
}

impl Store {
    /// Opens the store in `root`, which is made if need be.
    pub fn open(root: &Path, trust: Trust) -> Result<Self, StoreError> {
        make_root(root)?;
        Self::open_existing(root, trust)
    }

    /// Opens the store that is in `root`.
    pub fn open_existing(root: &Path, trust: Trust) -> Result<Self, StoreError> {
        let lock = open_root(root)?;
        failed("lock", root, lock.lock_shared())?;
        Ok(Store {
            root: root.to_owned(),
            trust,
            seals: Seals::of_this_boot(),
            reflinks: AtomicBool::new(true),
            _lock: lock,
        })
    }

    /// Where the blob of `digest` is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.blob_path())
    }

    /// The path of a blob whose bytes are known to be right, or `None`.
    ///
    /// A file that is not what its name says is removed.
    pub(crate) fn find(&self, digest: &Digest, size: u64) -> Result<Option<PathBuf>, StoreError> {
        let path = self.blob_path(digest);
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return failed("open", &path, Err(error)),
        };
        let held = self.seals.check(&file, digest, size, self.trust);
        match failed("read", &path, held)? {
            Held::Blob => {
                // Only a hint for pruning: a store that belongs to someone else is still readable.
                let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
                Ok(Some(path))
            }
            Held::OtherSize(found) => Err(StoreError::Size {
                digest: digest.clone(),
                expected: size,
                found,
            }),
            Held::Nothing => {
                failed("remove", &path, fs::remove_file(&path))?;
                Ok(None)
            }
        }
    }

    /// Prepares to write the blob of `digest` with `size` bytes, resuming what a killed process left.
    ///
    /// Blocks while another process writes the same blob.
    pub(crate) fn ingest(&self, digest: &Digest, size: u64) -> Result<Ingest, StoreError> {
        if self.find(digest, size)?.is_some() {
            return Ok(Ingest::Present);
        }
        loop {
            let (path, file) = self.open_ingest(digest)?;
            failed("lock", &path, file.lock())?;
            if let Some(ingest) = self.ingest_locked(digest, size, path, file)? {
                return Ok(ingest);
            }
        }
    }

    /// As [`Store::ingest`], but `None` while another process writes the same blob.
    pub(crate) fn try_ingest(
        &self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Ingest>, StoreError> {
        if self.find(digest, size)?.is_some() {
            return Ok(Some(Ingest::Present));
        }
        let (path, file) = self.open_ingest(digest)?;
        match file.try_lock() {
            Ok(()) => self.ingest_locked(digest, size, path, file),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => failed("lock", &path, Err(error)),
        }
    }

    fn open_ingest(&self, digest: &Digest) -> Result<(PathBuf, File), StoreError> {
        let make_way = |relative: &str| {
            let made = make_way(&self.root, relative);
            failed("make a directory in", &self.root, made)
        };
        make_way(&digest.blob_path())?;
        let path = make_way(&format!(
            "ingest/{}/{}",
            digest.algorithm().as_str(),
            digest.hex()
        ))?;
        let file = failed("open", &path, open_for_writing(&path))?;
        Ok((path, file))
    }

    /// What is to be done once `file`, opened at `path`, is locked. `None` if it is there no more.
    fn ingest_locked(
        &self,
        digest: &Digest,
        size: u64,
        path: PathBuf,
        file: File,
    ) -> Result<Option<Ingest>, StoreError> {
        // The process that had the lock may have given the file its name, or removed it.
        if self.find(digest, size)?.is_some() {
            return Ok(Some(Ingest::Present));
        }
        let copy = failed("open", &path, file.try_clone())?;
        let locked = failed("open", &path, same_file::Handle::from_file(copy))?;
        if same_file::Handle::from_path(&path).ok() != Some(locked) {
            return Ok(None);
        }
        let writer = Writer::open(
            path,
            file,
            self.blob_path(digest),
            digest.clone(),
            size,
            self.seals.clone(),
        )?;
        Ok(Some(Ingest::Writer(Box::new(writer))))
    }

    /// Writes `bytes`, which must have the digest `digest`.
    pub(crate) fn insert(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        match self.ingest(digest, bytes.len() as u64)? {
            Ingest::Present => Ok(()),
            Ingest::Writer(writer) => {
                writer.restart()?;
                writer.write(0, bytes)?;
                writer.finish()
            }
        }
    }

    /// The bytes of the blob of `digest`, if it is there and no larger than `limit`.
    pub(crate) fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let size = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.len() <= limit => metadata.len(),
            _ => return Ok(None),
        };
        match self.find(digest, size)? {
            // Manifests are small, so they are hashed at each use.
            Some(path) => {
                let bytes = failed("read", &path, fs::read(&path))?;
                Ok((Digest::of(digest.algorithm(), &bytes) == *digest).then_some(bytes))
            }
            None => Ok(None),
        }
    }

    /// Puts the blob, which must be there, at `target`: as a reflink, else a hard link, else a copy.
    ///
    /// `target` is read-only, because it may be the very file that the store holds.
    pub(crate) fn place(&self, digest: &Digest, target: &Path) -> Result<(), StoreError> {
        let source = self.blob_path(digest);
        if same_file::is_same_file(&source, target).unwrap_or(false)
            && !fs::symlink_metadata(target).is_ok_and(|file| file.is_symlink())
        {
            return Ok(());
        }
        let directory = target.parent().expect("a blob is in a directory");
        let placed = tempfile::Builder::new()
            .prefix(".new")
            .make_in(directory, |new| self.copy(&source, new))
            .and_then(|new| {
                let name = new.path().to_owned();
                new.persist(target).map_err(|error| error.error)?;
                // Where another process has placed the same file, to rename it does nothing.
                match fs::remove_file(name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            });
        failed("place a blob at", target, placed)
    }

    /// Makes `new`, which is not there yet, the same as `source`, read-only.
    fn copy(&self, source: &Path, new: &Path) -> io::Result<()> {
        let reflinked =
            self.reflinks.load(Ordering::Relaxed) && reflink_copy::reflink(source, new).is_ok();
        self.reflinks.store(reflinked, Ordering::Relaxed);
        if !reflinked && fs::hard_link(source, new).is_err() {
            fs::copy(source, new)?;
        }
        let mut permissions = fs::metadata(new)?.permissions();
        if !permissions.readonly() {
            permissions.set_readonly(true);
            fs::set_permissions(new, permissions)?;
        }
        Ok(())
    }

    /// Every blob: its digest, its size in bytes and the time of its last use.
    pub fn blobs(&self) -> Result<Vec<Blob>, StoreError> {
        let mut blobs = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = self.root.join("blobs").join(algorithm.as_str());
            for (name, metadata) in list(&directory)? {
                let Ok(digest) = format!("{}:{name}", algorithm.as_str()).parse() else {
                    continue;
                };
                blobs.push(Blob {
                    digest,
                    size: metadata.len(),
                    last_used: metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH),
                });
            }
        }
        Ok(blobs)
    }

    /// Hashes every blob, removes those whose bytes are wrong, and returns these.
    pub fn verify(&self) -> Result<Vec<Digest>, StoreError> {
        let mut wrong = Vec::new();
        for blob in self.blobs()? {
            let path = self.blob_path(&blob.digest);
            let file = failed("open", &path, File::open(&path))?;
            let held = self
                .seals
                .check(&file, &blob.digest, blob.size, Trust::Nothing);
            if failed("read", &path, held)? != Held::Blob {
                failed("remove", &path, fs::remove_file(&path))?;
                wrong.push(blob.digest);
            }
        }
        Ok(wrong)
    }
}

/// One blob of a store.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// When a pull last used it.
    pub last_used: SystemTime,
}

/// What [`prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the blobs of the store in `root` that were last used before `older_than` ago, then the
/// longest unused until no more than `max_size` bytes are left, and everything half-written.
///
/// Waits until no other process uses the store; `waiting` is called if that takes time.
pub fn prune(
    root: &Path,
    max_size: Option<u64>,
    older_than: Option<Duration>,
    waiting: impl FnOnce(),
) -> Result<Pruned, StoreError> {
    let lock = open_root(root)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            failed("lock", root, lock.lock())?;
        }
        Err(TryLockError::Error(error)) => return failed("lock", root, Err(error)),
    }
    let store = Store {
        root: root.to_owned(),
        trust: Trust::Seal,
        seals: Seals::of_this_boot(),
        reflinks: AtomicBool::new(false),
        _lock: lock,
    };
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let directory = root.join("ingest").join(algorithm.as_str());
        for (name, _) in list(&directory)? {
            let path = directory.join(name);
            failed("remove", &path, fs::remove_file(&path))?;
        }
    }
    let mut blobs = store.blobs()?;
    blobs.sort_by_key(|blob| blob.last_used);
    let mut left: u64 = blobs.iter().map(|blob| blob.size).sum();
    let now = SystemTime::now();
    let mut pruned = Pruned::default();
    for blob in blobs {
        let age = now.duration_since(blob.last_used).unwrap_or_default();
        let too_old = older_than.is_some_and(|limit| age > limit);
        let too_much = max_size.is_some_and(|limit| left > limit);
        if too_old || too_much {
            let path = store.blob_path(&blob.digest);
            failed("remove", &path, fs::remove_file(&path))?;
            left -= blob.size;
            pruned.blobs += 1;
            pruned.bytes += blob.size;
        }
    }
    Ok(pruned)
}

/// Makes a directory a store, unless it is one.
fn make_root(root: &Path) -> Result<(), StoreError> {
    let path = root.join("version");
    if path.exists() {
        return Ok(());
    }
    failed("make", root, fs::create_dir_all(root))?;
    // A store has its version before it has blobs, so blobs without a version are somebody else's.
    if root.join("blobs").exists() && !path.exists() {
        return Err(StoreError::NotAStore {
            path: root.to_owned(),
        });
    }
    let version = format!("{VERSION}\n");
    failed("write", &path, write_whole(&path, version.as_bytes()))
}

/// Checks the store's version and opens its lock, which is not held yet.
fn open_root(root: &Path) -> Result<File, StoreError> {
    let path = root.join("version");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == VERSION => {}
        Ok(found) => {
            return Err(StoreError::Version {
                path: root.to_owned(),
                found: found.trim().to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NotAStore {
                path: root.to_owned(),
            });
        }
        Err(error) => return failed("read", &path, Err(error)),
    }
    let path = root.join("lock");
    failed("open", &path, open_for_writing(&path))
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    refuse_symlink(path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn open_regular(path: &Path) -> io::Result<File> {
    refuse_symlink(path)?;
    File::open(path)
}

/// Nothing in a store is a symlink: one that is there was put there by someone else.
fn refuse_symlink(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
        _ => Ok(()),
    }
}

/// The regular files of a directory, which need not exist.
fn list(directory: &Path) -> Result<Vec<(String, fs::Metadata)>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return failed("list", directory, Err(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = failed("list", directory, entry)?;
        let metadata = failed("read", &entry.path(), entry.metadata())?;
        if let Ok(name) = entry.file_name().into_string()
            && metadata.is_file()
        {
            files.push((name, metadata));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(text: &str) -> (Digest, &[u8]) {
        (
            Digest::of(Algorithm::Sha256, text.as_bytes()),
            text.as_bytes(),
        )
    }

    fn store(trust: Trust) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), trust).unwrap();
        (directory, store)
    }

    fn writer(store: &Store, digest: &Digest, size: u64) -> Box<Writer> {
        match store.ingest(digest, size).unwrap() {
            Ingest::Writer(writer) => writer,
            Ingest::Present => panic!("the blob is there"),
        }
    }

    #[test]
    fn resumes_what_was_dropped() {
        let (_directory, store) = store(Trust::Seal);
        let (digest, bytes) = blob("hello world");
        let first = writer(&store, &digest, 11);
        first.write(0, &bytes[..5]).unwrap();
        drop(first);
        let second = writer(&store, &digest, 11);
        assert_eq!(second.written(), 5);
        second.write(5, &bytes[5..]).unwrap();
        second.finish().unwrap();
        assert!(matches!(
            store.ingest(&digest, 11).unwrap(),
            Ingest::Present
        ));
    }

    #[test]
    fn wrong_bytes_never_get_the_name() {
        let (_directory, store) = store(Trust::Seal);
        let (digest, _) = blob("right");
        let wrong = writer(&store, &digest, 5);
        wrong.write(0, b"wrong").unwrap();
        assert!(matches!(wrong.finish(), Err(StoreError::Digest { .. })));
        drop(wrong);
        assert_eq!(writer(&store, &digest, 5).written(), 0);
        let long = writer(&store, &digest, 5);
        assert!(matches!(
            long.write(0, b"longer"),
            Err(StoreError::Size { .. })
        ));
        assert!(matches!(long.finish(), Err(StoreError::Size { .. })));
        assert!(store.find(&digest, 5).unwrap().is_none());
    }

    #[test]
    fn an_altered_blob_is_not_found() {
        for trust in [Trust::Seal, Trust::Nothing] {
            let (_directory, store) = store(trust);
            let (digest, bytes) = blob("right");
            store.insert(&digest, bytes).unwrap();
            let path = store.find(&digest, 5).unwrap().unwrap();
            fs::remove_file(&path).unwrap();
            fs::write(&path, "wrong").unwrap();
            assert!(store.find(&digest, 5).unwrap().is_none());
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_forged_seal_is_found_out_without_trust() {
        let (directory, trusting) = store(Trust::Seal);
        let (digest, bytes) = blob("right");
        trusting.insert(&digest, bytes).unwrap();
        let path = trusting.find(&digest, 5).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "wrong").unwrap();
        let file = File::open(&path).unwrap();
        trusting.seals.seal_new(&file, &digest).unwrap();
        assert!(trusting.find(&digest, 5).unwrap().is_some());
        let wary = Store::open(directory.path(), Trust::Nothing).unwrap();
        assert!(wary.find(&digest, 5).unwrap().is_none());
    }

    #[test]
    fn places_read_only() {
        let (directory, store) = store(Trust::Seal);
        let (digest, bytes) = blob("right");
        store.insert(&digest, bytes).unwrap();
        let target = directory.path().join("target");
        store.place(&digest, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), bytes);
        assert!(fs::metadata(&target).unwrap().permissions().readonly());
    }

    #[test]
    fn prunes_the_longest_unused_first() {
        let (directory, store) = store(Trust::Seal);
        let hour = Duration::from_secs(3600);
        for (index, text) in ["aaaa", "bbbb", "cccc"].iter().enumerate() {
            let (digest, bytes) = blob(text);
            store.insert(&digest, bytes).unwrap();
            let used = SystemTime::now() - hour * (10 - u32::try_from(index).unwrap());
            File::open(store.blob_path(&digest))
                .unwrap()
                .set_times(FileTimes::new().set_accessed(used))
                .unwrap();
        }
        drop(store);
        let pruned = prune(directory.path(), Some(8), None, || {}).unwrap();
        assert_eq!(pruned, Pruned { blobs: 1, bytes: 4 });
        let pruned = prune(directory.path(), None, Some(hour * 17 / 2), || {}).unwrap();
        assert_eq!(pruned, Pruned { blobs: 1, bytes: 4 });
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
        assert_eq!(store.blobs().unwrap()[0].digest, blob("cccc").0);
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("version"), "2\n").unwrap();
        let error = Store::open(directory.path(), Trust::Seal).unwrap_err();
        assert!(error.to_string().contains("format version"), "{error}");
    }
}
