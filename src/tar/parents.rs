//! Directories that a layer has only because something is in them.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{MAX_MEMORY, TarError};

/// What is kept of a path beside its bytes, more or less.
const PATH_MEMORY: u64 = 100;

/// A directory that nobody named. A layer must have it all the same: what makes a file system of layers would else choose
/// its mode and owner, and not all choose alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnnamedParent {
    /// Its path, from the root.
    pub path: ParentPath,
    /// The mode that the layer gives it.
    pub mode: u32,
    /// The user whom it belongs to.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
}

/// A path in a layer. In JSON it is text, or a list of its bytes where they are none.
#[derive(Clone, PartialEq, Eq)]
pub struct ParentPath(Vec<u8>);

impl ParentPath {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        ParentPath(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }
}

/// Bytes that are no text are written as `\xFF`, and a backslash as two, so that each path has a text of its own.
impl fmt::Display for ParentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let text = chunk.valid().replace('\\', r"\\");
            write!(f, "{text}{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ParentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for ParentPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_seq(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ParentPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = ParentPath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, as text or as a list of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ParentPath, E> {
                Ok(ParentPath(text.as_bytes().to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ParentPath, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(ParentPath(bytes))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl UnnamedParent {
    /// The directory at `path`, which has no slash before it.
    pub(crate) fn new(path: &[u8], mode: u32, uid: u32, gid: u32) -> Self {
        UnnamedParent {
            path: ParentPath([b"/", path].concat()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_a_text_of_its_own() {
        for (path, text) in [
            (&b"/d\xff"[..], r"/d\xff"),
            (br"/d\xff", r"/d\\xff"),
            ("/d\u{ff}".as_bytes(), "/d\u{ff}"),
        ] {
            assert_eq!(ParentPath::new(path.to_vec()).to_string(), text);
        }
    }
}
