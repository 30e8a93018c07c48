//! Writing below a directory of ours, in which others may have put symlinks: none is followed. And what follows
//! them: writing where a user says, and reading, but only to files.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::iter;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

/// What the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Attaches what was tried to an I/O error.
pub(crate) fn io_failed<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, FileError> {
    result.map_err(|source| FileError {
        action,
        path: path.to_owned(),
        source,
    })
}

/// The path of the file `relative` below `root`, whose directories are made. It is an error if something
/// else than a directory is in the way.
pub(crate) fn make_way(root: &Path, relative: &str) -> io::Result<PathBuf> {
    let mut path = root.to_owned();
    let (directories, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    for directory in Path::new(directories) {
        path.push(directory);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&path)?.is_dir() {
                    let message = format!(
                        "{} is not a directory, nor may it be a link to one",
                        path.display()
                    );
                    return Err(io::Error::other(message));
                }
            }
            made => made?,
        }
    }
    Ok(path.join(name))
}

/// Opens a file to read it: not a named pipe, which would be to wait, nor a device, which may have no end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

/// Reads a file as a whole; one of more than `limit` bytes, which are whole MiB, is an error.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    let size = file.metadata()?.len();
    if size > limit {
        return Err(io::Error::other(format!(
            "it has {size} bytes, more than the limit of {} MiB",
            limit >> 20
        )));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file below a directory of ours, as a whole or not at all. What was at `path`, a link too, is replaced.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = WholeFile::beside(path.to_owned())?;
    file.file().write_all(bytes)?;
    file.finish()
}

/// Writes what a user wants written, to where [`WholeFile::begin`] finds that it goes.
pub fn write_output(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = WholeFile::begin(path)?;
    file.file().write_all(bytes)?;
    file.finish()
}

/// How the names of files begin that are being written.
const TEMPORARY: &str = ".oci-pull-all-";

/// Makes the names of files that are being written.
pub(crate) fn temporary_builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    builder
}

/// A file beside `path`, to be written and then to be given that name.
pub(crate) fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    temporary_builder().tempfile_in(directory_of(path))
}

/// Held by each process that writes files into an output directory, so that what a killed one left can be told from
/// what is being written.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    root: &'a Path,
    /// The directory itself, where the system lets a directory be locked.
    lock: Option<File>,
}

impl<'a> Filling<'a> {
    /// Begins to fill the directory `root`, which is there.
    pub(crate) fn begin(root: &'a Path) -> Self {
        let lock = File::open(root).ok();
        let lock = lock.filter(|directory| directory.lock_shared().is_ok());
        Filling { root, lock }
    }

    /// Removes what killed processes left in the root and in these `directories` below it, unless another process
    /// fills them, which then does. Others begin when this is dropped.
    pub(crate) fn remove_leftovers(&self, directories: &[String]) -> io::Result<()> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        if lock.try_lock().is_err() {
            // Who asks in vain has no lock any more.
            return lock.lock_shared();
        }
        for directory in iter::once("").chain(directories.iter().map(String::as_str)) {
            let entries = match fs::read_dir(self.root.join(directory)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                if name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// A file that has its name once all of it is written, and leaves nothing if it never is.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: File,
    /// Its name until then, where the system makes no file without one.
    name: Option<TempPath>,
    destination: Destination,
}

/// Where the bytes go that are to be at a path.
#[derive(Debug)]
enum Destination {
    /// They are a file of their own, in the place of one that is there.
    File(PathBuf),
    /// They are written to the file that is there, because nothing can take its place.
    InPlace(PathBuf),
    /// They are written to what is there, which others have open: a pipe, a device, or what another process has open.
    Open(PathBuf),
    /// They are written to the process's own output, where its other output goes on behind them.
    Own(File),
}

/// More links than this lead nowhere.
const MAX_LINKS: usize = 40;
/// Where the links are that stand for what a process has open, such as its standard output.
const PROCESSES: &str = "/proc";

impl Destination {
    /// Follows the links at `path`, whether or not there is a file where they lead.
    fn of(path: &Path) -> io::Result<Self> {
        if let Some(own) = own_output(path) {
            return Ok(Destination::Own(own));
        }
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Ok(target) = fs::read_link(&path) else {
                let is_open = |there: fs::Metadata| !there.is_file() && !there.is_dir();
                return Ok(if fs::metadata(&path).is_ok_and(is_open) {
                    Destination::Open(path)
                } else {
                    Destination::File(path)
                });
            };
            let directory = fs::canonicalize(directory_of(&path))?;
            if directory.starts_with(PROCESSES) {
                return Ok(Destination::Open(path));
            }
            path = directory.join(target);
        }
        Err(io::Error::other("it is a link that has no end"))
    }
}

impl WholeFile {
    /// Begins what a user wants written to `path`. What may be done with a file that is there stays as it was, and so does
    /// whose it is.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let destination = match Destination::of(path)? {
            Destination::File(path) => {
                let there = fs::metadata(&path).ok();
                match Self::beside(path.clone()) {
                    Err(error) if !(is_refused(&error) && is_writable(&path)) => return Err(error),
                    Ok(whole) => {
                        if let Some(there) = there {
                            give_to_owner(&whole.file, &there);
                            whole.file.set_permissions(plain_permissions(&there))?;
                        }
                        return Ok(whole);
                    }
                    Err(_) => Destination::InPlace(path),
                }
            }
            destination => destination,
        };
        Ok(WholeFile {
            file: tempfile::tempfile()?,
            name: None,
            destination,
        })
    }

    /// Begins the file that will be at `path`, in the place of a file or a link that is there.
    fn beside(path: PathBuf) -> io::Result<Self> {
        // A pipe would be taken away from those who use it.
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other(
                "it is there and is not a regular file, so it cannot be replaced",
            ));
        }
        let directory = directory_of(&path);
        let (file, name) = if let Ok(file) = nameless(directory) {
            (file, None)
        } else {
            let (file, name) = named_file(directory)?.into_parts();
            (file, Some(name))
        };
        Ok(WholeFile {
            file,
            name,
            destination: Destination::File(path),
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        let WholeFile {
            mut file,
            name,
            destination,
        } = self;
        let mut there = match destination {
            Destination::File(path) => {
                let name = match name {
                    Some(name) => name,
                    None => give_name(&mut file, directory_of(&path))?,
                };
                let Err(kept) = name.persist(&path) else {
                    return Ok(());
                };
                if !is_refused(&kept.error) {
                    return Err(kept.error);
                }
                return overwrite(&path, &mut file);
            }
            Destination::InPlace(path) => return overwrite(&path, &mut file),
            Destination::Open(path) => File::options().append(true).open(path)?,
            Destination::Own(own) => own,
        };
        copy_all(&mut file, &mut there)
    }
}

/// Writes to the file that is there. On a full disk it stays as it is.
fn overwrite(path: &Path, file: &mut File) -> io::Result<()> {
    let mut there = File::options().write(true).open(path)?;
    let length = file.metadata()?.len();
    reserve(&there, length)?;
    copy_all(file, &mut there)?;
    there.set_len(length)
}

/// Sets room aside for a file, where the system can.
#[cfg(target_os = "linux")]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _length: u64) -> io::Result<()> {
    Ok(())
}

fn copy_all(file: &mut File, target: &mut File) -> io::Result<()> {
    file.rewind()?;
    io::copy(file, target).map(drop)
}

/// Makes a file in `directory`, with a name of ours.
fn named_file(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = temporary_builder();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// Makes a file in `directory` that has no name, so that nothing is left of it whenever the process ends.
#[cfg(target_os = "linux")]
fn nameless(directory: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666))?;
    Ok(file.into())
}

#[cfg(not(target_os = "linux"))]
fn nameless(_directory: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a nameless file a name of ours in `directory`, or else makes a copy with one.
fn give_name(file: &mut File, directory: &Path) -> io::Result<TempPath> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd as _;

        use rustix::fs::{AtFlags, CWD, linkat};

        let open = format!("{PROCESSES}/self/fd/{}", file.as_raw_fd());
        let link = |name: &Path| Ok(linkat(CWD, &open, CWD, name, AtFlags::SYMLINK_FOLLOW)?);
        if let Ok(named) = temporary_builder().make_in(directory, link) {
            return Ok(named.into_temp_path());
        }
    }
    let (mut copy, name) = named_file(directory)?.into_parts();
    copy_all(file, &mut copy)?;
    copy.set_permissions(file.metadata()?.permissions())?;
    Ok(name)
}

/// Whether nothing may be put in the place of a file, by the error of trying to: its directory is another's, or is read-only,
/// or the file is mounted by itself.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::ResourceBusy
    )
}

/// Whether there is a file that may be written.
fn is_writable(path: &Path) -> bool {
    File::options().write(true).open(path).is_ok()
}

/// A copy of the process's own output or error output, if it is what is at `path`.
#[cfg(unix)]
fn own_output(path: &Path) -> Option<File> {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    let there = fs::metadata(path).ok()?;
    let own = [
        io::stdout().as_fd().try_clone_to_owned(),
        io::stderr().as_fd().try_clone_to_owned(),
    ];
    own.into_iter().flatten().map(File::from).find(|own| {
        own.metadata()
            .is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
    })
}

#[cfg(not(unix))]
fn own_output(_path: &Path) -> Option<File> {
    None
}

/// Gives a new file to whose the one that is `there` is, if this process may.
#[cfg(unix)]
fn give_to_owner(new: &File, there: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let _ = fchown(new, Some(there.uid()), Some(there.gid()));
}

#[cfg(not(unix))]
fn give_to_owner(_new: &File, _there: &fs::Metadata) {}

/// The permissions of a file, but not that it runs as its owner.
fn plain_permissions(there: &fs::Metadata) -> fs::Permissions {
    let permissions = there.permissions();
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt as _;

        fs::Permissions::from_mode(permissions.mode() & 0o777)
    };
    permissions
}

/// The directory that a path is in.
fn directory_of(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Gives a file that came out of an archive the permissions that its `mode` there stands for: it is read by all, and
/// run by all if somebody may run it.
#[cfg(unix)]
pub(crate) fn set_plain_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
pub(crate) fn set_plain_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Makes a symbolic link to a file.
#[cfg(unix)]
pub(crate) fn symlink_file(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Makes a symbolic link to a file.
#[cfg(windows)]
pub(crate) fn symlink_file(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_no_directory_and_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("elsewhere")).unwrap();
        assert_eq!(make_way(root, "a/b/c").unwrap(), root.join("a/b/c"));
        assert!(root.join("a/b").is_dir());
        assert!(make_way(root, "a/b/d").is_ok());
        symlink("elsewhere", root.join("link")).unwrap();
        let error = make_way(root, "link/b/c").unwrap_err().to_string();
        assert!(error.contains("link is not a directory"), "{error}");
        assert!(!root.join("elsewhere/b").exists());

        fs::write(root.join("elsewhere/file"), "theirs").unwrap();
        symlink("elsewhere/file", root.join("file")).unwrap();
        write_whole(&root.join("file"), b"ours").unwrap();
        assert_eq!(fs::read(root.join("file")).unwrap(), b"ours");
        assert_eq!(fs::read(root.join("elsewhere/file")).unwrap(), b"theirs");

        fs::remove_file(root.join("file")).unwrap();
        symlink("elsewhere/file", root.join("file")).unwrap();
        write_output(&root.join("file"), b"new").unwrap();
        assert_eq!(fs::read(root.join("elsewhere/file")).unwrap(), b"new");
        assert!(root.join("file").is_symlink());

        symlink("link/none", root.join("dangling")).unwrap();
        write_output(&root.join("dangling"), b"new").unwrap();
        assert_eq!(fs::read(root.join("elsewhere/none")).unwrap(), b"new");
        assert!(root.join("dangling").is_symlink());

        symlink("round", root.join("round")).unwrap();
        let error = write_output(&root.join("round"), b"new").unwrap_err();
        assert!(error.to_string().contains("no end"), "{error}");
    }
}
