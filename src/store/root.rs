//! The directory of a store: whether it is one, and of which version.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::files::{is_temporary, read_at_most};
use crate::outputs::write_durable;

use super::lock::{Lock, lock};
use super::{StoreError, open_for_writing, open_to_read, reading, writing};

pub(super) const VERSION: &str = "2";
/// As version 2 but for the seals, which are made anew when a blob is used.
const VERSION_BEFORE: &str = "1";
/// What a program that did not make it durable left, where a power loss took it.
const VERSION_LOST: &str = "";
/// What is in a store.
const OWN: [&str; 6] = ["blobs", "ingest", "lock", "sealed", "used", "version"];

/// Makes a directory a store, unless it is one.
pub(super) fn make_root(root: &Path) -> Result<(), StoreError> {
    let path = root.join("version");
    match path.try_exists() {
        Ok(true) => return Ok(()),
        // What nobody may look at is not to be made.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return reading("find", &path, Err(error));
        }
        _ => {}
    }
    writing("make", root, make_private(root))?;
    // A store has its version before it has blobs, so blobs without a version are somebody else's, as is what no store has.
    let is_ours = !root.join("blobs").exists() && reading("list", root, has_own_alone(root))?;
    if !is_ours && !path.exists() {
        return Err(StoreError::NotAStore {
            path: root.to_owned(),
        });
    }
    write_version(root)
}

fn write_version(root: &Path) -> Result<(), StoreError> {
    let path = root.join("version");
    let version = format!("{VERSION}\n");
    writing("write", &path, write_durable(&path, version.as_bytes()))
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
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::ErrorKind::NotADirectory.into())
        }
        made => made,
    }
}

/// Checks the store's version and opens its lock, which is not held yet.
pub(super) fn open_root(root: &Path, waiting: fn(Option<u32>)) -> Result<File, StoreError> {
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
            match open_to_read(&path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return reading("open", &path, Err(error));
                }
                opened => opened.map_err(|_| error),
            }
        }
        opened => opened,
    };
    let file = writing("open", &path, file)?;
    match version.as_str() {
        VERSION => {}
        VERSION_BEFORE | VERSION_LOST => {
            // Programs that know only that version may use the store.
            writing("lock", root, lock(&file, Lock::Exclusive, waiting))?;
            write_version(root)?;
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
    let found = match read_at_most(&path, 1 << 20) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NotAStore {
                path: root.to_owned(),
            });
        }
        found => reading("read", &path, found)?,
    };
    let found = String::from_utf8_lossy(&found);
    // The bytes of a file are zeros, where a power loss took them and left its length.
    let found = found.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    if found == VERSION_LOST && !reading("list", root, has_own_alone(root))? {
        return Err(StoreError::NotAStore {
            path: root.to_owned(),
        });
    }
    Ok(found.to_owned())
}

/// Whether nothing in a directory is anybody else's, but a file system's own.
fn has_own_alone(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let mut own = OWN.iter().chain(&["lost+found"]);
        if !own.any(|own| name == *own) && !is_temporary(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}
