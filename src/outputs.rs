//! Files that are there once all of them is written.
//!
//! Where a user names an output, its bytes go to the first of these that it is:
//!
//! 1. What the process's own output or error output has open, by whatever name: through that, so that other output goes
//!    on behind them.
//! 2. A pipe, a device, or what another process has open, behind links: they are written to it.
//! 3. A file, or nothing yet, behind links: a new file beside it takes the name, with the owner and the mode of the one that
//!    was there. Until then it has no name, where the system can do that.
//! 4. A file whose place no other can take, because its directory is read-only or it is mounted by itself: its content is
//!    overwritten, once there is room for all of it.
//!
//! For all but the third, the bytes are in a temporary file until they are whole.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::files::{directory_of, temporary_builder};

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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_replaced_below_a_directory_of_ours_and_followed_where_a_user_says() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("elsewhere")).unwrap();
        symlink("elsewhere", root.join("link")).unwrap();
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
