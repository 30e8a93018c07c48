//! Files that are there once all of them is written.
//!
//! Where a user names an output, its bytes go to the first of these that it is:
//!
//! 1. What the process's own output or error output has open, by whatever name, or a file that it was given open and that
//!    `/dev/fd` names: through that, so that other output goes on behind them.
//! 2. A pipe, a device, or what another process has open, behind links: they are written to it.
//! 3. A file, or nothing yet, behind links: a new file beside it takes the name, with the owner and the mode of the one that
//!    was there. Until then it has no name, where the system can do that.
//! 4. A file whose place no other can take, because its directory is read-only or it is mounted by itself: its content is
//!    overwritten, once there is room for all of it.
//!
//! For all but the third, the bytes are in a temporary file until they are whole.

use std::env;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write};
use std::path::{Component, Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::files::{
    FileError, directory_of, io_failed, is_same_file, number_of, temporary_builder,
};
use crate::io::write_all_at;

/// Why what goes elsewhere in the end cannot be kept until then.
#[derive(Debug, thiserror::Error)]
#[error("its bytes go to a file in {directory} first", directory = .directory.display())]
pub struct KeptFirst {
    /// The directory for temporary files.
    pub directory: PathBuf,
    /// What it refused.
    pub source: io::Error,
}

/// Two outputs are in each other's way.
#[derive(Debug, thiserror::Error)]
pub enum NotApart {
    /// They are one file.
    #[error("{first} and {second} are one file, of which only what is written last would be left", first = .first.display(), second = .second.display())]
    OneFile {
        /// The output that was named first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// A file is among others that are written as well.
    #[error("{file} is in {directory}, which is an output itself: name a file elsewhere", file = .file.display(), directory = .directory.display())]
    Within {
        /// The file.
        file: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// An output is among the files of a store.
    #[error("{output} is in the store {store}, where nothing but its own files stay: name a place elsewhere", output = .output.display(), store = .store.display())]
    InStore {
        /// The output.
        output: PathBuf,
        /// The store.
        store: PathBuf,
    },
}

/// Checks that no two of these outputs are one file, before any is written.
pub fn check_apart<'a>(outputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), NotApart> {
    let mut known: Vec<(&PathBuf, Place)> = Vec::new();
    for output in outputs {
        let Some(place) = Place::of(output) else {
            continue;
        };
        let mut others = known.iter();
        // By one name, what is open is written to twice, one behind the other.
        if let Some((first, _)) = others.find(|(first, other)| {
            place.is_same(other) && !(place.is_open() && other.is_open() && *first == output)
        }) {
            return Err(NotApart::OneFile {
                first: (*first).clone(),
                second: output.clone(),
            });
        }
        known.push((output, place));
    }
    Ok(())
}

/// Checks that an output is in none of these directories, whose other files are written as well.
pub fn check_outside(file: &Path, directories: &[PathBuf]) -> Result<(), NotApart> {
    match directories
        .iter()
        .find(|directory| is_within(file, directory))
    {
        None => Ok(()),
        Some(directory) => Err(NotApart::Within {
            file: file.to_owned(),
            directory: directory.clone(),
        }),
    }
}

/// Checks that an output, a file or a directory, is not in the store in `store`, nor the store itself.
pub fn check_outside_store(output: &Path, store: &Path) -> Result<(), NotApart> {
    if !is_within(output, store) {
        return Ok(());
    }
    Err(NotApart::InStore {
        output: output.to_owned(),
        store: store.to_owned(),
    })
}

/// Whether an output is a directory, or below it.
fn is_within(output: &Path, directory: &Path) -> bool {
    let name = Place::of(output).and_then(|place| place.name);
    let names = name.zip(way_to(directory));
    names.is_some_and(|(name, way)| name.ancestors().any(|parent| is_one(parent, &way)))
}

/// Which file an output is.
struct Place {
    /// Where it is named, if that is where it will be.
    name: Option<PathBuf>,
    /// What is there, if it is a regular file, by device and number.
    file: Option<(u64, u64)>,
    /// Whether what is there is written to, and not replaced.
    stays: bool,
}

impl Place {
    /// None if that cannot be found out, which is told where it is written.
    fn of(path: &Path) -> Option<Self> {
        let (name, there, stays) = match Destination::of(path).ok()? {
            Destination::File(path) => {
                let name = match path.file_name() {
                    Some(name) => way_to(directory_of(&path))?.join(name),
                    None => way_to(&path)?,
                };
                (Some(name), fs::metadata(&path).ok(), is_kept(&path))
            }
            Destination::InPlace(path) | Destination::Open(path) => {
                (None, fs::metadata(&path).ok(), true)
            }
            Destination::Own(own) => (None, own.metadata().ok(), true),
        };
        let there = there.filter(fs::Metadata::is_file);
        Some(Place {
            name,
            file: there.as_ref().and_then(number_of),
            stays,
        })
    }

    fn is_open(&self) -> bool {
        self.name.is_none()
    }

    fn is_same(&self, other: &Self) -> bool {
        let names = self.name.as_ref().zip(other.name.as_ref());
        let is_name = names.is_some_and(|(name, other)| is_same_name(name, other));
        let is_file = self.file.is_some() && self.file == other.file;
        is_name || is_file && (self.stays || other.stays)
    }
}

/// A path behind all links, of what need not be there, nor the directories that it is in.
fn way_to(path: &Path) -> Option<PathBuf> {
    let (there, mut way) = path.ancestors().find_map(|there| {
        let path = if there == "" { Path::new(".") } else { there };
        Some((there, fs::canonicalize(path).ok()?))
    })?;
    for component in path.strip_prefix(there).ok()?.components() {
        match component {
            Component::ParentDir => drop(way.pop()),
            component => way.push(component),
        }
    }
    Some(way)
}

/// Whether two directories are one, which may be mounted at two places.
fn is_one(directory: &Path, other: &Path) -> bool {
    // What is not there yet will be one where that is which it is in.
    is_same_file(directory, other).unwrap_or_else(|_| is_same_name(directory, other))
}

fn is_same_name(path: &Path, other: &Path) -> bool {
    let parents = path.parent().zip(other.parent());
    path.file_name() == other.file_name()
        && parents.is_some_and(|(parent, other)| is_one(parent, other))
}

/// Whether nothing can take the place of a file that is there.
fn is_kept(path: &Path) -> bool {
    is_mounted(path) || WholeFile::beside(path.to_owned()).is_err_and(|error| is_refused(&error))
}

/// Whether a file is mounted by itself.
#[cfg(target_os = "linux")]
fn is_mounted(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

    statx(CWD, path, AtFlags::empty(), StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn is_mounted(_path: &Path) -> bool {
    false
}

/// Writes a file below a directory of ours, as a whole or not at all. What was at `path`, a link too, is replaced.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = WholeFile::beside(path.to_owned())?;
    file.file().write_all(bytes)?;
    file.finish()
}

/// As [`write_whole`], so that no power loss takes it or leaves a part of it.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    let (mut file, name) = named_file(directory)?.into_parts();
    file.write_all(bytes)?;
    file.sync_all()?;
    name.persist(path)?;
    // Its name; not every system lets a directory be synced.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Writes what a user wants written, to where [`WholeFile::begin`] finds that it goes.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = WholeFile::begin(path).and_then(|file| {
        (&file).write_all(bytes)?;
        file.finish()
    });
    io_failed("write", path, written)
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
/// Those of this process.
const OWN_OPEN: &str = "/proc/self/fd";

impl Destination {
    /// Follows the links at `path`, whether or not there is a file where they lead.
    fn of(path: &Path) -> io::Result<Self> {
        if let Some(own) = own_output(path) {
            return Ok(Destination::Own(own));
        }
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let there = fs::metadata(&path);
            let Ok(target) = fs::read_link(&path) else {
                let is_open = |there: fs::Metadata| !there.is_file() && !there.is_dir();
                return Ok(if there.is_ok_and(is_open) {
                    Destination::Open(path)
                } else {
                    Destination::File(path)
                });
            };
            let directory = fs::canonicalize(directory_of(&path))?;
            if directory.starts_with(PROCESSES) {
                let is_own = fs::canonicalize(OWN_OPEN).is_ok_and(|own| own == directory);
                return if is_own && there?.is_file() {
                    given_open(&path).map(Destination::Own)
                } else {
                    Ok(Destination::Open(path))
                };
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
                            make_like(&whole.file, &there)?;
                        }
                        return Ok(whole);
                    }
                    Err(_) => Destination::InPlace(path),
                }
            }
            destination => destination,
        };
        Ok(WholeFile {
            file: tempfile::tempfile().map_err(kept_first)?,
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

    /// The file, to be read.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.done(write_all_at(&self.file, bytes, offset))
    }

    /// Makes it as long as this; what was not written is zeros.
    pub(crate) fn set_len(&self, length: u64) -> io::Result<()> {
        self.done(self.file.set_len(length))
    }

    /// Tells of a failure where it is.
    fn done<T>(&self, done: io::Result<T>) -> io::Result<T> {
        match self.destination {
            Destination::File(_) => done,
            _ => done.map_err(kept_first),
        }
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

impl Write for &WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.done((&self.file).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kept_first(source: io::Error) -> io::Error {
    let directory = env::temp_dir();
    io::Error::new(source.kind(), KeptFirst { directory, source })
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

/// Makes a file in `directory`, with a name of ours, of which errors do not speak.
fn named_file(directory: &Path) -> io::Result<NamedTempFile> {
    temporary_builder().make_in(directory, |path| {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).open(path)
    })
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

        let open = format!("{OWN_OPEN}/{}", file.as_raw_fd());
        let link = |name: &Path| Ok(linkat(CWD, &open, CWD, name, AtFlags::SYMLINK_FOLLOW)?);
        if let Ok(named) = temporary_builder().make_in(directory, link) {
            return Ok(named.into_temp_path());
        }
    }
    named_copy(file, directory)
}

/// Makes a copy of a file, with a name of ours in `directory`.
fn named_copy(file: &mut File, directory: &Path) -> io::Result<TempPath> {
    let (mut copy, name) = named_file(directory)?.into_parts();
    copy_all(file, &mut copy)?;
    make_like(&copy, &file.metadata()?)?;
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

    let there = fs::metadata(path).ok()?;
    let own = [
        io::stdout().as_fd().try_clone_to_owned(),
        io::stderr().as_fd().try_clone_to_owned(),
    ];
    own.into_iter().flatten().map(File::from).find(|own| {
        own.metadata()
            .is_ok_and(|own| number_of(&own) == number_of(&there))
    })
}

#[cfg(not(unix))]
fn own_output(_path: &Path) -> Option<File> {
    None
}

/// The file that this process was given open by the number that is the name of `path`. What is opened anew by that path would
/// be written from its beginning.
#[cfg(target_os = "linux")]
fn given_open(path: &Path) -> io::Result<File> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    /// `O_CLOEXEC`, as the system tells it of what is open.
    const CLOSED_FOR_OTHERS: u32 = 0o2_000_000;

    let number = path
        .file_name()
        .and_then(|name| name.to_str()?.parse().ok());
    let number = number.ok_or(io::ErrorKind::NotFound)?;
    // What this program opened itself, nobody has named.
    let flags = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let mut flags = flags.lines().filter_map(|line| line.strip_prefix("flags:"));
    let flags = flags
        .next()
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    if flags.is_none_or(|flags| flags & CLOSED_FOR_OTHERS != 0) {
        return Err(io::Error::other(
            "nothing that is open was given by that number",
        ));
    }
    let file = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()));
    match file {
        Ok(file) => Ok(file.into()),
        Err(_) => Err(io::Error::other(
            "this system does not let it be written behind what it has: name /dev/stdout",
        )),
    }
}

#[cfg(not(target_os = "linux"))]
fn given_open(_path: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a new file to whose the one that is `there` is, if this process may, and lets the same be done with it, but not that it
/// runs as its owner.
#[cfg(unix)]
fn make_like(new: &File, there: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

    let _ = fchown(new, Some(there.uid()), Some(there.gid()));
    new.set_permissions(fs::Permissions::from_mode(there.mode() & 0o777))
}

#[cfg(not(unix))]
fn make_like(new: &File, there: &fs::Metadata) -> io::Result<()> {
    new.set_permissions(there.permissions())
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
        assert!(error.source.to_string().contains("no end"), "{error}");
    }

    /// Where the system gives what has no name none.
    #[test]
    fn a_copy_belongs_to_whom_its_file_does() {
        use std::os::unix::fs::{MetadataExt as _, fchown};

        let directory = tempfile::tempdir().unwrap();
        let mut file = tempfile::tempfile_in(directory.path()).unwrap();
        file.write_all(b"theirs").unwrap();
        // Who may not give it away keeps it.
        let _ = fchown(&file, Some(4242), Some(4242));
        let copy = named_copy(&mut file, directory.path()).unwrap();
        let [file, there] = [file.metadata().unwrap(), fs::metadata(&copy).unwrap()];
        assert_eq!((there.uid(), there.gid()), (file.uid(), file.gid()));
        assert_eq!(there.mode(), file.mode());
        assert_eq!(fs::read(&copy).unwrap(), b"theirs");
    }
}
