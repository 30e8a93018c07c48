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

mod lock;
mod seal;
mod writer;

pub use seal::Trust;
pub(crate) use writer::Writer;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::files::{
    FileError, io_failed, make_way, read_at_most, temporary, temporary_builder, write_whole,
};
use crate::oci::digest::{Algorithm, Digest, hash_reader};

use lock::{Lock, lock};
use seal::{Held, Seals};

const VERSION: &str = "2";
/// As version 2 but for the seals, which are made anew when a blob is used.
const VERSION_BEFORE: &str = "1";
/// The size in bytes from which a placed blob may be the store's own file. To copy a smaller one takes less than a
/// millisecond, and to read its digest again no more.
const MIN_SHARED: u64 = 1 << 20;
/// How old a note of a use must be to be made anew.
const USED_AGAIN: Duration = Duration::from_secs(600);

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused to do something in the store.
    #[error(transparent)]
    Io(#[from] FileError),
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

fn failed<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, StoreError> {
    Ok(io_failed(action, path, result)?)
}

/// How a blob gets into an output where the file system has no reflinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Each large blob is a hard link in the first output that has it, and a copy in others; small ones are copies.
    #[default]
    Auto,
    /// Large blobs are hard links: they take room once, but each new link changes the file's status for those who
    /// have it.
    Link,
    /// All are copies: nobody has a file of the store.
    Copy,
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
        failed("lock", root, lock(&file, Lock::Shared, options.waiting))?;
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
        let file = match open_own(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return failed("open", &path, Err(error)),
        };
        let held = self.seals.check(&file, digest, size, self.trust);
        match failed("read", &path, held)? {
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
                failed("remove", &path, fs::remove_file(&path))?;
                Ok(None)
            }
        }
    }

    /// Puts a sealed copy in the place of a blob's file. The file stays as it is, for whoever has it too.
    fn renew(&self, path: &Path, mut file: &File, digest: &Digest) -> io::Result<()> {
        use std::io::Seek as _;

        let new = make_way(&self.root, &Self::below("ingest", digest))?;
        let new = temporary(&new)?;
        file.rewind()?;
        let (found, _) = hash_reader(
            digest.algorithm(),
            Copying {
                from: file,
                to: new.as_file(),
            },
        )?;
        if found == *digest {
            let sealed = self.seals.seal_new(new.path(), new.as_file(), digest);
            sealed.map_err(|error| error.source)?;
            new.persist(path).map_err(|error| error.error)?;
        }
        Ok(())
    }

    /// Notes for pruning that the blob was used.
    fn note_use(&self, digest: &Digest) -> io::Result<()> {
        let path = make_way(&self.root, &Self::below("used", digest))?;
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
            failed("lock", &path, lock(&file, Lock::Exclusive, &waiting))?;
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
        let path = make_way(&Self::below("ingest", digest))?;
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
            Ok(metadata) if metadata.len() <= limit => metadata.len(),
            _ => return Ok(None),
        };
        match self.find(digest, size)? {
            // Manifests are small, so they are hashed at each use.
            Some(path) => {
                let bytes = failed("read", &path, fs::read(&path))?;
                if Digest::of(digest.algorithm(), &bytes) == *digest {
                    return Ok(Some(bytes));
                }
                failed("remove", &path, fs::remove_file(&path))?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Puts the blob, which must be there, at `target`, read-only: as a reflink, or else as the store's [`Placement`] says.
    ///
    /// What is at `target` stays if it is the blob.
    pub(crate) fn place(&self, digest: &Digest, target: &Path) -> Result<(), StoreError> {
        let source = self.blob_path(digest);
        let placed = is_placed(&source, digest, target).and_then(|placed| {
            if placed {
                return Ok(());
            }
            place_at(target, |new| self.copy(&source, new))
        });
        io_failed("place a blob at", target, placed).map_err(StoreError::Output)
    }

    /// Puts the blob, which was placed at `placed`, also at `target` in the same output. The two may be one file.
    pub(crate) fn place_again(
        &self,
        digest: &Digest,
        placed: &Path,
        target: &Path,
    ) -> Result<(), StoreError> {
        let is_large = fs::symlink_metadata(placed).is_ok_and(|file| file.len() >= MIN_SHARED);
        if is_large && place_at(target, |new| fs::hard_link(placed, new)).is_ok() {
            return Ok(());
        }
        self.place(digest, target)
    }

    /// Makes `new`, which is not there yet, the same as `source`, read-only.
    fn copy(&self, source: &Path, new: &Path) -> io::Result<()> {
        let reflinked =
            self.reflinks.load(Ordering::Relaxed) && reflink_copy::reflink(source, new).is_ok();
        self.reflinks.store(reflinked, Ordering::Relaxed);
        if !reflinked {
            if self.link(source, new).is_ok_and(|linked| linked) {
                return Ok(());
            }
            fs::copy(source, new)?;
        }
        let mut permissions = fs::metadata(new)?.permissions();
        if !permissions.readonly() {
            permissions.set_readonly(true);
            fs::set_permissions(new, permissions)?;
        }
        Ok(())
    }

    /// Makes `new` a hard link, if that is to be one.
    fn link(&self, source: &Path, new: &Path) -> io::Result<bool> {
        if self.placement == Placement::Copy {
            return Ok(false);
        }
        // While this is locked, nobody else makes a link.
        let file = File::open(source)?;
        file.lock()?;
        let metadata = file.metadata()?;
        let shares = match self.placement {
            Placement::Auto => links(&metadata) == Some(1),
            Placement::Link => true,
            Placement::Copy => false,
        };
        if !shares || metadata.len() < MIN_SHARED {
            return Ok(false);
        }
        fs::hard_link(source, new).map(|()| true)
    }

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

/// Makes a directory a store, unless it is one.
fn make_root(root: &Path) -> Result<(), StoreError> {
    let path = root.join("version");
    if path.exists() {
        return Ok(());
    }
    failed("make", root, make_private(root))?;
    // A store has its version before it has blobs, so blobs without a version are somebody else's.
    if root.join("blobs").exists() && !path.exists() {
        return Err(StoreError::NotAStore {
            path: root.to_owned(),
        });
    }
    let version = format!("{VERSION}\n");
    failed("write", &path, write_whole(&path, version.as_bytes()))
}

/// Makes a directory for nobody else: what is in it may come from a registry that asks who it is.
fn make_private(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(directory) {
        Err(_) if directory.is_dir() => Ok(()),
        made => made,
    }
}

/// Checks the store's version and opens its lock, which is not held yet.
fn open_root(root: &Path, waiting: fn(Option<u32>)) -> Result<File, StoreError> {
    let version = read_version(root)?;
    let path = root.join("lock");
    let file = match open_for_writing(&path) {
        // Who may not write there may read, and holds the lock as well.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            open_own(&path).map_err(|_| error)
        }
        opened => opened,
    };
    let file = failed("open", &path, file)?;
    match version.as_str() {
        VERSION => {}
        VERSION_BEFORE => {
            // Programs that know only that version may use the store.
            failed("lock", root, lock(&file, Lock::Exclusive, waiting))?;
            let path = root.join("version");
            let version = format!("{VERSION}\n");
            failed("write", &path, write_whole(&path, version.as_bytes()))?;
        }
        _ => {
            return Err(StoreError::Version {
                path: root.to_owned(),
                found: version,
            });
        }
    }
    Ok(file)
}

fn read_version(root: &Path) -> Result<String, StoreError> {
    let path = root.join("version");
    match read_at_most(&path, 1 << 20) {
        Ok(found) => Ok(String::from_utf8_lossy(&found).trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotAStore {
            path: root.to_owned(),
        }),
        Err(error) => failed("read", &path, Err(error)),
    }
}

/// Whether the blob is at `target` already.
fn is_placed(source: &Path, digest: &Digest, target: &Path) -> io::Result<bool> {
    let Ok(there) = fs::symlink_metadata(target) else {
        return Ok(false);
    };
    if !there.is_file() || there.len() != fs::symlink_metadata(source)?.len() {
        return Ok(false);
    }
    if same_file::is_same_file(source, target)? {
        return Ok(true);
    }
    Ok(hash_reader(digest.algorithm(), File::open(target)?)?.0 == *digest)
}

/// Gives `target` what `make` makes at a path beside it, in the place of what is there.
fn place_at(target: &Path, make: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let directory = target.parent().expect("a blob is in a directory");
    let new = temporary_builder().make_in(directory, make)?;
    let name = new.path().to_owned();
    new.persist(target).map_err(|error| error.error)?;
    // Where the two are one file, to rename it does nothing.
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads from one file, and writes to the other what it has read.
struct Copying<'a> {
    from: &'a File,
    to: &'a File,
}

impl io::Read for Copying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        io::Write::write_all(&mut self.to, &buffer[..count])?;
        Ok(count)
    }
}

/// How many names the file has, where that can be known.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
fn links(metadata: &fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::nlink(metadata))
}

#[cfg(not(unix))]
fn links(_: &fs::Metadata) -> Option<u64> {
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

fn open_for_writing(path: &Path) -> io::Result<File> {
    refuse_symlink(path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Opens a file of the store.
fn open_own(path: &Path) -> io::Result<File> {
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
        if let Ok(name) = entry.file_name().into_string() {
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
        let each = store.blobs().unwrap()[0].allocated;
        drop(store);
        let one = Pruned {
            blobs: 1,
            bytes: each,
            ..Pruned::default()
        };
        let pruned = prune(directory.path(), Some(2 * each), None, |_| {}).unwrap();
        assert_eq!(pruned, one);
        let pruned = prune(directory.path(), None, Some(hour * 17 / 2), |_| {}).unwrap();
        assert_eq!(pruned, one);
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
        assert_eq!(store.blobs().unwrap()[0].digest, blob("cccc").0);
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("version"), "3\n").unwrap();
        let error = Store::open(directory.path(), Trust::Seal).unwrap_err();
        assert!(error.to_string().contains("format version"), "{error}");
    }
}
