//! Directories that a layer has only because something is in them.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::entry::{MAX_MEMORY, TarError};

/// What is kept of a path beside its bytes, more or less.
const PATH_MEMORY: u64 = 100;

/// A directory that nobody named. A layer must have it all the same: what makes a file system of layers would else choose
/// its mode and owner, and not all choose alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnnamedParent {
    /// Its path, from the root.
    pub path: String,
    /// The mode that the layer gives it.
    pub mode: u32,
    /// The user whom it belongs to.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
}

impl UnnamedParent {
    /// The directory at `path`, which has no slash before it.
    pub(crate) fn new(path: &[u8], mode: u32, uid: u32, gid: u32) -> Self {
        UnnamedParent {
            path: format!("/{}", String::from_utf8_lossy(path)),
            mode,
            uid,
            gid,
        }
    }
}

/// Finds the directories that an archive has no entry of, but something in.
#[derive(Default)]
pub(crate) struct Parents {
    named: HashSet<Vec<u8>>,
    /// What leads to these.
    leading: BTreeSet<Vec<u8>>,
    /// What these take, more or less.
    memory: u64,
}

impl Parents {
    /// Takes note of an entry at `path`.
    pub(crate) fn add(&mut self, path: Vec<u8>) -> Result<(), TarError> {
        let slashes = path.iter().enumerate().rev();
        for (end, _) in slashes.filter(|(_, byte)| **byte == b'/') {
            // Where a directory is known, so are those that lead to it.
            if !self.leading.insert(path[..end].to_vec()) {
                break;
            }
            self.memory += end as u64 + PATH_MEMORY;
        }
        self.memory += path.len() as u64 + PATH_MEMORY;
        self.named.insert(path);
        if self.memory > MAX_MEMORY {
            return Err(TarError::TooMuch);
        }
        Ok(())
    }

    /// The directories, as who unpacks the archive makes them where there is none.
    pub(crate) fn unnamed(self) -> Vec<UnnamedParent> {
        let unnamed = self.leading.iter();
        unnamed
            .filter(|path| !self.named.contains(*path))
            .map(|path| UnnamedParent::new(path, 0o755, 0, 0))
            .collect()
    }
}
