//! How blobs get into outputs.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::files::{io_failed, is_same_file, open_regular, temporary_builder};
use crate::oci::digest::{Digest, hash_reader};

use super::contents::links;
use super::{Store, StoreError};

/// The size in bytes from which a placed blob may be the store's own file. To copy a smaller one takes less than a
/// millisecond, and to read its digest again no more.
const MIN_SHARED: u64 = 1 << 20;

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

impl Store {
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
        let file = open_regular(source)?;
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
}

/// Whether the blob is at `target` already.
fn is_placed(source: &Path, digest: &Digest, target: &Path) -> io::Result<bool> {
    let Ok(there) = fs::symlink_metadata(target) else {
        return Ok(false);
    };
    if !there.is_file() || there.len() != fs::symlink_metadata(source)?.len() {
        return Ok(false);
    }
    if is_same_file(source, target)? {
        return Ok(true);
    }
    Ok(hash_reader(digest.algorithm(), open_regular(target)?)?.0 == *digest)
}

/// Gives `target` what `make` makes at a path beside it, in the place of what is there.
fn place_at(target: &Path, mut make: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let directory = target.parent().unwrap_or(target);
    let new = temporary_builder().make_in(directory, |new| {
        make(new).inspect_err(|error| {
            // A part of it would be in the way of the next try.
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_file(new);
            }
        })
    })?;
    let name = new.path().to_owned();
    new.persist(target).map_err(|error| error.error)?;
    // Where the two are one file, to rename it does nothing.
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
