//! Unpacks a root file system into a directory, as a user without privileges.
//!
//! The directory was empty, all parents are directories made here, and links are made last: nothing
//! can be in the way that leads elsewhere.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::files::{io_failed, symlink_file};
use crate::io::write_all_at;

use super::layers::Reader;
use super::tree::Inode;
use super::{InodeKind, Rootfs, RootfsError, Thing, by_layer, each};
use crate::tar::{Metadata, Mtime, TarError};

pub(super) fn write(rootfs: &Rootfs, output: &Path) -> Result<(), RootfsError> {
    begin(output)?;
    let written = fill(rootfs, output);
    if written.is_err() {
        clear(output);
    }
    written
}

/// Takes away all that was written: it is of no use, and in the way of another try.
fn clear(output: &Path) {
    let Ok(entries) = fs::read_dir(output) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if fs::remove_file(&path).is_err() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn fill(rootfs: &Rootfs, output: &Path) -> Result<(), RootfsError> {
    let items = rootfs.tree.items();
    let mut paths = Vec::with_capacity(items.len());
    for item in &items {
        let path = io_failed("write below", output, local(output, &item.path))?;
        if let Thing::Directory(metadata) = item.thing
            && !item.path.is_empty()
        {
            io_failed("make", &path, make_directory(&path, metadata))?;
        }
        paths.push(path);
    }

    let files = items.iter().zip(&paths).filter_map(|(item, path)| {
        let Thing::Inode(inode) = item.thing else {
            return None;
        };
        match inode.kind {
            InodeKind::File { size, source } => Some((source, NewFile { path, inode, size })),
            _ => None,
        }
    });
    let wanted = by_layer(&rootfs.layers, files);
    each(&rootfs.layers, |number, layer| {
        layer.contents(&wanted[number], |file, archive| file.write(archive))
    })?;

    for (item, path) in items.iter().zip(&paths) {
        match item.thing {
            Thing::HardLink(inode, first) if matches!(inode.kind, InodeKind::File { .. }) => {
                io_failed("link", path, link(&paths[first], path))?;
            }
            Thing::Inode(inode) | Thing::HardLink(inode, _) => {
                if let InodeKind::Symlink { target } = &inode.kind {
                    let link = os(target).and_then(|target| symlink_file(target.as_ref(), path));
                    io_failed("link", path, link)?;
                }
            }
            Thing::Directory(_) => {}
        }
    }
    Ok(())
}

/// Makes another name of a file, or a copy where the file has as many names as the system takes.
fn link(first: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(first, path) {
        Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
            fs::copy(first, path)?;
            File::open(path)?.set_modified(fs::metadata(first)?.modified()?)
        }
        linked => linked,
    }
}

/// Makes the output, unless it is there and empty.
fn begin(output: &Path) -> Result<(), RootfsError> {
    match fs::read_dir(output) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RootfsError::Occupied(output.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(io_failed("make", output, fs::create_dir_all(output))?)
        }
        Err(error) => Ok(io_failed("list", output, Err(error))?),
    }
}

fn make_directory(path: &Path, metadata: Option<&Metadata>) -> io::Result<()> {
    fs::create_dir(path)?;
    set_mode(
        path,
        metadata.map_or(0o755, |metadata| metadata.mode) | 0o700,
    )
}

/// A regular file that is to be.
struct NewFile<'a> {
    path: &'a Path,
    inode: &'a Inode,
    size: u64,
}

impl NewFile<'_> {
    fn write(&self, archive: &mut Reader<'_>) -> Result<(), TarError> {
        let failed = |error: io::Error| {
            let path = self.path.display();
            io::Error::new(error.kind(), format!("cannot write {path}: {error}"))
        };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).open(self.path);
        let write = |error| TarError::Write(failed(error));
        let file = file.map_err(write)?;
        archive.data(|bytes, offset| write_all_at(&file, bytes, offset).map_err(failed))?;
        self.finish(&file).map_err(write)?;
        Ok(())
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        // It may end in a hole.
        file.set_len(self.size)?;
        file.set_modified(system_time(self.inode.metadata.mtime)?)?;
        set_mode(self.path, self.inode.metadata.mode | 0o600)
    }
}

/// Sets the permissions: what else is in a mode gives privileges, or needs some.
#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

fn system_time(time: Mtime) -> io::Result<SystemTime> {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanoseconds.into())))
        .ok_or_else(|| io::Error::other("its modification time is out of range"))
}

/// Where a path of the tree is on this machine, below `output`.
fn local(output: &Path, path: &[u8]) -> io::Result<PathBuf> {
    let mut local = output.to_owned();
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let name = os(name)?;
        // On other systems a name may be more than a name.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
        {
            let message = format!("{} is no name for a file here", name.display());
            return Err(io::Error::other(message));
        }
        local.push(name);
    }
    Ok(local)
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "elsewhere not all bytes are a name"
)]
fn os(bytes: &[u8]) -> io::Result<&OsStr> {
    Ok(std::os::unix::ffi::OsStrExt::from_bytes(bytes))
}

#[cfg(not(unix))]
fn os(bytes: &[u8]) -> io::Result<&OsStr> {
    std::str::from_utf8(bytes)
        .map(OsStr::new)
        .map_err(|_| io::Error::other("a name is not UTF-8"))
}
