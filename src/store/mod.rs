//! The content-addressed store: blobs on disk, shared by all of a user's workspaces.
//!
//! ```text
//! ROOT/version                    the format's version
//! ROOT/lock                       held shared by every user, exclusively while pruning
//! ROOT/blobs/ALGORITHM/HEX        complete, verified, read-only
//! ROOT/ingest/ALGORITHM/HEX       being written, and locked by the one process that does so
//! ROOT/ingest/ALGORITHM/HEX.parts which bytes of it are there
//! ROOT/sealed/boot-ID             the digests verified since this boot, a line each
//! ROOT/sealed/durable             the digests whose bytes no power loss takes
//! ROOT/used/ALGORITHM/HEX         an empty file, which has the time of the blob's last use
//! ```
//!
//! A blob gets its name only after its size and digest are checked, and is sealed before, so that a
//! later write cannot go unnoticed. From then on nothing of its file changes, times and mode included,
//! because a file of somebody's repository may be the same one.

mod contents;
mod lock;
mod place;
mod root;
mod seal;
mod writer;

pub use contents::{Blob, Pruned, Removed, Spoilt, Verified, prune};
pub use place::Placement;
pub use seal::Trust;
pub(crate) use writer::Writer;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use crate::files::{FileError, io_failed, make_way, open_own, read_at_most, temporary};
use crate::io::Tee;
use crate::oci::digest::{Digest, hash_reader};

use lock::{Lock, lock};
use root::{VERSION, make_root, open_root};
use seal::{Held, Seals};

/// How old a note of a use must be to be made anew.
const USED_AGAIN: Duration = Duration::from_secs(600);

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused to read something of the store.
    #[error(transparent)]
    Read(FileError),
    /// The file system refused to write something of the store.
    #[error(transparent)]
    Write(FileError),
    /// The file system refused to take something out of the store.
    #[error(transparent)]
    Remove(FileError),
    /// What stands in a blob's place is not the blob, and stays there.
    #[error("{digest}: {what}")]
    Spoilt {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        what: Spoilt,
        /// Why it stays.
        source: Box<StoreError>,
    },
    /// The file system refused to put a blob into an output.
    #[error(transparent)]
    Output(FileError),
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
    /// There is no room for a blob.
    #[error("cannot reserve room at {path} for {digest}, which has {size} bytes", path = path.display())]
    Room {
        /// The blob.
        digest: Digest,
        /// Its size by its descriptor, and by who sends it.
        size: u64,
        /// Where it is to be written.
        path: PathBuf,
        /// Why there is none.
        source: io::Error,
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
    /// A blob that was put into the store is not in it any more.
    #[error("the store has lost the blob {0}: something else removed it, or changed it")]
    Lost(Digest),
}

impl StoreError {
    /// The path that the file system refused, if it did.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match self {
            StoreError::Read(error) | StoreError::Write(error) | StoreError::Remove(error) => {
                Some(&error.path)
            }
            _ => None,
        }
    }
}

fn reading<T>(action: &'static str, path: &Path, done: io::Result<T>) -> Result<T, StoreError> {
    io_failed(action, path, done).map_err(StoreError::Read)
}

fn writing<T>(action: &'static str, path: &Path, done: io::Result<T>) -> Result<T, StoreError> {
    io_failed(action, path, done).map_err(StoreError::Write)
}

/// Removes a file or a link, and not what it leads to.
fn remove(path: &Path) -> Result<(), StoreError> {
    io_failed("remove", path, fs::remove_file(path)).map_err(StoreError::Remove)
}

/// How a store is used.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// How far what it holds is trusted.
    pub trust: Trust,
    /// How blobs get into outputs.
    pub placement: Placement,
    /// Is called when another process keeps the store locked, with that process's number if the system tells.
    pub waiting: fn(Option<u32>),
}

impl From<Trust> for StoreOptions {
    /// The default placement; nobody is told of waits.
    fn from(trust: Trust) -> Self {
        StoreOptions {
            trust,
            placement: Placement::default(),
            waiting: |_| {},
        }
    }
}

/// A content-addressed store in a directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    trust: Trust,
    placement: Placement,
    waiting: fn(Option<u32>),
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
    pub fn open(root: &Path, options: impl Into<StoreOptions>) -> Result<Self, StoreError> {
        make_root(root)?;
        Self::open_existing(root, options)
    }

    /// Opens the store that is in `root`.
    pub fn open_existing(
        root: &Path,
        options: impl Into<StoreOptions>,
    ) -> Result<Self, StoreError> {
        let options = options.into();
        let file = open_root(root, options.waiting)?;
        reading("lock", root, lock(&file, Lock::Shared, options.waiting))?;
        Ok(Self::locked(root, options, file))
    }

    fn locked(root: &Path, options: StoreOptions, lock: File) -> Self {
        Store {
            root: root.to_owned(),
            trust: options.trust,
            placement: options.placement,
            waiting: options.waiting,
            seals: Seals::of(root),
            reflinks: AtomicBool::new(true),
            _lock: lock,
        }
    }

    /// Whom to tell of a wait.
    pub(crate) fn waiting(&self) -> fn(Option<u32>) {
        self.waiting
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
        let file = match open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return reading("open", &path, Err(error)),
        };
        let held = self.seals.check(&file, digest, size, self.trust);
        match reading("read", &path, held)? {
            held @ (Held::Blob | Held::Unsealed) => {
                // A store that belongs to someone else is still readable.
                if held == Held::Unsealed {
                    let _ = self.renew(&path, &file, digest);
                }
                let _ = self.note_use(digest);
                Ok(Some(path))
            }
            Held::OtherSize(found) => Err(StoreError::Size {
                digest: digest.clone(),
                expected: size,
                found,
            }),
            Held::Nothing => {
                remove(&path)?;
                Ok(None)
            }
        }
    }

    /// Puts a sealed copy in the place of a blob's file. The file stays as it is, for whoever has it too.
    fn renew(&self, path: &Path, mut file: &File, digest: &Digest) -> io::Result<()> {
        use std::io::Seek as _;

        let new = make_way(&self.root, &Self::below("ingest", digest));
        let new = new.map_err(|error| error.source)?;
        let new = temporary(&new)?;
        file.rewind()?;
        let copying = Tee::new(file, new.as_file());
        let (found, _) = hash_reader(digest.algorithm(), copying)?;
        if found == *digest {
            let sealed = self.seals.seal_new(new.path(), new.as_file(), digest);
            sealed.map_err(|error| error.source)?;
            new.persist(path).map_err(|error| error.error)?;
        }
        Ok(())
    }

    /// Notes for pruning that the blob was used.
    fn note_use(&self, digest: &Digest) -> io::Result<()> {
        let path = make_way(&self.root, &Self::below("used", digest));
        let path = path.map_err(|error| error.source)?;
        let file = open_for_writing(&path)?;
        let age = file.metadata()?.modified()?.elapsed();
        // One that was just made has the time of now.
        if age.map_or(true, |age| age > USED_AGAIN) {
            file.set_modified(SystemTime::now())?;
        }
        Ok(())
    }

    /// The path of what a directory of the store has of a blob.
    fn below(directory: &str, digest: &Digest) -> String {
        format!(
            "{directory}/{}/{}",
            digest.algorithm().as_str(),
            digest.hex()
        )
    }

    /// Prepares to write the blob of `digest` with `size` bytes, resuming what a killed process left.
    ///
    /// Blocks while another process writes the same blob, whose number `waiting` is told if it takes a while.
    pub(crate) fn ingest(
        &self,
        digest: &Digest,
        size: u64,
        waiting: impl Fn(Option<u32>) + Sync,
    ) -> Result<Ingest, StoreError> {
        if self.find(digest, size)?.is_some() {
            return Ok(Ingest::Present);
        }
        loop {
            let (path, file) = self.open_ingest(digest)?;
            writing("lock", &path, lock(&file, Lock::Exclusive, &waiting))?;
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
            Err(TryLockError::Error(error)) => writing("lock", &path, Err(error)),
        }
    }

    fn open_ingest(&self, digest: &Digest) -> Result<(PathBuf, File), StoreError> {
        let make_way = |relative: &str| make_way(&self.root, relative).map_err(StoreError::Write);
        make_way(&digest.blob_path())?;
        let path = make_way(&Self::below("ingest", digest))?;
        let file = match open_for_writing(&path) {
            // Somebody is about to give it its name, or was: the lock tells.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                match open_to_read(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        open_for_writing(&path)
                    }
                    opened => opened,
                }
            }
            opened => opened,
        };
        let file = writing("open", &path, file)?;
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
        let copy = writing("open", &path, file.try_clone())?;
        let locked = writing("open", &path, same_file::Handle::from_file(copy))?;
        if same_file::Handle::from_path(&path).ok() != Some(locked) {
            return Ok(None);
        }
        // Who made it read-only ended before it had its name.
        if writing("make writable", &path, make_writable(&file))? {
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
        match self.ingest(digest, bytes.len() as u64, self.waiting)? {
            Ingest::Present => Ok(()),
            Ingest::Writer(writer) => {
                writer.restart()?;
                writer.write(0, bytes)?;
                writer.finish()
            }
        }
    }

    /// The bytes of the blob of `digest`, if it is there and no larger than `limit`. Others are removed.
    pub(crate) fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let size = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.len() > limit => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => reading("read", &path, metadata)?.len(),
        };
        match self.find(digest, size)? {
            // Manifests are small, so they are hashed at each use.
            Some(path) => {
                let bytes = reading("read", &path, read_at_most(&path, limit))?;
                if Digest::of(digest.algorithm(), &bytes) == *digest {
                    return Ok(Some(bytes));
                }
                remove(&path)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    open_own(path, options.read(true).write(true).create(true))
}

fn open_to_read(path: &Path) -> io::Result<File> {
    open_own(path, OpenOptions::new().read(true))
}

/// Makes a file writable; returns whether it was not.
fn make_writable(file: &File) -> io::Result<bool> {
    let mut permissions = file.metadata()?.permissions();
    if !permissions.readonly() {
        return Ok(false);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        permissions.set_mode(permissions.mode() | 0o200);
    }
    #[cfg(not(unix))]
    permissions.set_readonly(false);
    file.set_permissions(permissions)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;

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
        match store.ingest(digest, size, |_| {}).unwrap() {
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
            store.ingest(&digest, 11, |_| {}).unwrap(),
            Ingest::Present
        ));
    }

    /// As a process leaves it that is killed right before it gives a blob its name. Root may write to it all the same.
    #[test]
    fn what_was_read_only_before_it_had_its_name_is_taken_up() {
        let (_directory, store) = store(Trust::Seal);
        let (digest, bytes) = blob("hello world");
        let killed = writer(&store, &digest, 11);
        killed.write(0, bytes).unwrap();
        drop(killed);
        let path = store.root.join(Store::below("ingest", &digest));
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();

        let next = writer(&store, &digest, 11);
        assert!(!fs::metadata(&path).unwrap().permissions().readonly());
        assert_eq!(next.written(), 11);
        next.finish().unwrap();
        assert_eq!(store.read(&digest, 11).unwrap().unwrap(), bytes);
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
        trusting.seals.seal_new(&path, &file, &digest).unwrap();
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
            store.find(&digest, 4).unwrap().unwrap();
            let note = directory.path().join(Store::below("used", &digest));
            File::options()
                .write(true)
                .open(note)
                .unwrap()
                .set_modified(used)
                .unwrap();
        }
        let each = store.blobs(&mut Vec::new())[0].allocated;
        drop(store);
        let one = Pruned {
            blobs: 1,
            bytes: each,
            ..Pruned::default()
        };
        let (pruned, _) = prune(directory.path(), Some(2 * each), None, |_| {}).unwrap();
        assert_eq!(pruned, one);
        let (pruned, _) = prune(directory.path(), None, Some(hour * 17 / 2), |_| {}).unwrap();
        assert_eq!(pruned, one);
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
        assert_eq!(store.blobs(&mut Vec::new())[0].digest, blob("cccc").0);
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("version"), "3\n").unwrap();
        let error = Store::open(directory.path(), Trust::Seal).unwrap_err();
        assert!(error.to_string().contains("format version"), "{error}");
    }
}
