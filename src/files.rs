//! Ways below a directory of ours, in which others may have put symlinks: none is followed. And reading, which follows
//! them, but only to files.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::iter;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

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
pub(crate) fn make_way(root: &Path, relative: &str) -> Result<PathBuf, FileError> {
    let mut path = root.to_owned();
    let (directories, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    for directory in Path::new(directories) {
        path.push(directory);
        let made = match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_directory(&path),
            made => made,
        };
        io_failed("make", &path, made)?;
    }
    Ok(path.join(name))
}

/// What is in the directory `relative` below `root`. It is an error if a link leads there.
pub(crate) fn list_below(root: &Path, relative: &str) -> Result<fs::ReadDir, FileError> {
    let mut path = root.to_owned();
    for directory in Path::new(relative) {
        path.push(directory);
        io_failed("list", &path, check_directory(&path))?;
    }
    io_failed("list", &path, fs::read_dir(&path))
}

fn check_directory(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::other(
        "it is not a directory, nor may it be a link to one",
    ))
}

/// Opens a file to read it: not a named pipe, which would be to wait, nor a device, which may have no end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    check_regular(&fs::metadata(path)?)?;
    open_checked(path, OpenOptions::new().read(true))
}

/// As [`open_regular`], of a file of ours, which no link stands for. It is made if the options say so.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(there) => check_regular(&there)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    open_checked(path, options)
}

/// Opens what was a regular file, or was not there, and may have become something else since.
fn open_checked(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt as _;

        // Not to wait; of a regular file it says nothing.
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

fn check_regular(there: &fs::Metadata) -> io::Result<()> {
    if there.is_file() {
        return Ok(());
    }
    Err(io::Error::other("it is not a regular file"))
}

/// Whether two paths lead to one file or directory. Neither is opened: to open a named pipe would be to wait.
#[cfg(unix)]
pub fn is_same_file(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(number_of(&fs::metadata(one)?) == number_of(&fs::metadata(other)?))
}

/// Whether two paths lead to one file or directory.
#[cfg(not(unix))]
pub fn is_same_file(one: &Path, other: &Path) -> io::Result<bool> {
    same_file::is_same_file(one, other)
}

/// The device of a file and its number there.
#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems have no such numbers"
)]
pub(crate) fn number_of(there: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    Some((there.dev(), there.ino()))
}

#[cfg(not(unix))]
pub(crate) fn number_of(_there: &fs::Metadata) -> Option<(u64, u64)> {
    None
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

/// How the names of files begin that are being written.
const TEMPORARY: &str = ".oci-pull-all-";

/// Makes the names of files that are being written.
pub(crate) fn temporary_builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    builder
}

/// Whether a file that has this name is being written, or was.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
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
                if is_temporary(&entry.file_name()) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// The directory that a path is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
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
    fn a_link_is_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("elsewhere")).unwrap();
        assert_eq!(make_way(root, "a/b/c").unwrap(), root.join("a/b/c"));
        assert!(root.join("a/b").is_dir());
        assert!(make_way(root, "a/b/d").is_ok());
        symlink("elsewhere", root.join("link")).unwrap();
        let error = make_way(root, "link/b/c").unwrap_err();
        assert_eq!(error.path, root.join("link"));
        let cause = error.source.to_string();
        assert!(cause.contains("is not a directory"), "{cause}");
        assert!(!root.join("elsewhere/b").exists());
    }
}
