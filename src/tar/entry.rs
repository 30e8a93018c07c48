//! An entry of an archive: what it is, and what is wrong with one.

use std::collections::BTreeMap;
use std::io;

/// The most memory that the names, links and attributes of an image's files may take, more or less.
pub(crate) const MAX_MEMORY: u64 = 512 << 20;
/// What is kept of an entry beside its name, its target and its attributes, more or less.
const ENTRY_MEMORY: usize = 300;
/// The longest path that Linux takes, without the NUL at its end.
pub(crate) const MAX_PATH: usize = 4095;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read or decompressed.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// What is made of it cannot be written.
    #[error("what it holds cannot be written")]
    Write(#[source] io::Error),
    /// There is too much of it.
    #[error("the names and attributes of the image's files take more than {} MiB, or links make too much of them", MAX_MEMORY >> 20)]
    TooMuch,
    /// It is not a tar archive, or not all of one.
    #[error("it is not a whole tar archive: {0}")]
    Form(&'static str),
    /// An entry that cannot be used.
    #[error("its entry {path:?} {problem}")]
    Entry {
        /// The entry's path, as far as it can be shown.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl TarError {
    pub(crate) fn entry(path: &[u8], problem: impl Into<String>) -> Self {
        TarError::Entry {
            path: String::from_utf8_lossy(path).into_owned(),
            problem: problem.into(),
        }
    }
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path in its one form: components joined by slashes, none of them `.` or `..`; empty for
    /// the root.
    pub(crate) path: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) metadata: Metadata,
}

impl Entry {
    /// How much memory it takes, more or less.
    pub(crate) fn memory(&self) -> u64 {
        let target = match &self.content {
            Content::Symlink { target } | Content::HardLink { target } => target.len(),
            _ => 0,
        };
        let Metadata {
            user,
            group,
            xattrs,
            ..
        } = &self.metadata;
        let xattrs: usize = xattrs
            .iter()
            .map(|(name, value)| ENTRY_MEMORY + name.len() + value.len())
            .sum();
        (ENTRY_MEMORY + self.path.len() + target + user.len() + group.len() + xattrs) as u64
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    File {
        size: u64,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    Device {
        kind: Device,
        major: u32,
        minor: u32,
    },
    Fifo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Character,
    Block,
}

/// The attributes that a layer has of a file (layer.md, "File Attributes").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The names of the user and the group; empty where only the numbers are said.
    pub(crate) user: Vec<u8>,
    pub(crate) group: Vec<u8>,
    pub(crate) mtime: Mtime,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A point in time: seconds since 1970, rounded down, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mtime {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// A path in its one form. A leading slash goes, as in every tar.
pub(super) fn normal(path: &[u8]) -> Result<Vec<u8>, TarError> {
    if path.is_empty() {
        return Err(TarError::entry(path, "has no name"));
    }
    if path.contains(&0) {
        return Err(TarError::entry(path, "has a NUL in its name"));
    }
    let parts: Vec<&[u8]> = components(path).collect();
    if parts.contains(&&b".."[..]) {
        return Err(TarError::entry(path, "has '..' in its name"));
    }
    let normal = parts.join(&b'/');
    if normal.len() > MAX_PATH {
        return Err(TarError::entry(path, "has a longer name than Linux takes"));
    }
    Ok(normal)
}

/// The parts of a path, without those that lead nowhere.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && part != b".")
}
