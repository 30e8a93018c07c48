//! The files that packages of a system brought, as long as they are what was brought.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::rootfs::{FileNumber, Rootfs, RootfsError};

/// What a package brought: the paths of files, and what each was, where that is told.
pub(super) type BroughtFiles = BTreeMap<String, Option<FileDigest>>;

/// Files of which a scanner tells nothing, with their bytes, as far as these are at hand.
pub(super) type UntoldFiles = BTreeMap<FileNumber, Option<Vec<u8>>>;

/// The digest of a file by MD5, SHA-1 or one of SHA-2, which its length tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileDigest(Vec<u8>);

impl FileDigest {
    /// As dpkg, Portage and rpm write it.
    pub(super) fn of_hex(text: &str) -> Option<Self> {
        Self::new(hex::decode(text).ok()?)
    }

    /// As apk writes it, behind `Q1` or `Q2`.
    pub(super) fn of_apk(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("Q1").or(text.strip_prefix("Q2"))?;
        Self::new(BASE64_STANDARD.decode(digits).ok()?)
    }

    fn new(bytes: Vec<u8>) -> Option<Self> {
        hasher(bytes.len()).map(|_| FileDigest(bytes))
    }
}

/// The algorithm whose digests have so many bytes.
fn hasher(length: usize) -> Option<Box<dyn DynDigest + Send>> {
    Some(match length {
        16 => Box::new(Md5::default()),
        20 => Box::new(Sha1::default()),
        28 => Box::new(Sha224::default()),
        32 => Box::new(Sha256::default()),
        48 => Box::new(Sha384::default()),
        64 => Box::new(Sha512::default()),
        _ => return None,
    })
}

/// A file while it is compared with what it may have been.
struct Comparison {
    expected: BTreeSet<FileDigest>,
    hashers: Vec<Box<dyn DynDigest + Send>>,
    /// How much was read.
    end: u64,
}

impl Comparison {
    fn with(expected: &BTreeSet<FileDigest>) -> Self {
        let lengths: BTreeSet<usize> = expected.iter().map(|digest| digest.0.len()).collect();
        Comparison {
            expected: expected.clone(),
            hashers: lengths.into_iter().filter_map(hasher).collect(),
            end: 0,
        }
    }

    fn take(&mut self, bytes: &[u8], offset: u64) {
        // There may be holes.
        self.fill(offset);
        for hasher in &mut self.hashers {
            hasher.update(bytes);
        }
        self.end = offset + bytes.len() as u64;
    }

    fn fill(&mut self, end: u64) {
        const HOLE: [u8; 4096] = [0; 4096];
        while self.end < end {
            let hole = &HOLE[..HOLE
                .len()
                .min(usize::try_from(end - self.end).unwrap_or(usize::MAX))];
            self.hashers
                .iter_mut()
                .for_each(|hasher| hasher.update(hole));
            self.end += hole.len() as u64;
        }
    }

    /// Whether a file of so many bytes is one of those that were expected.
    fn ends_as_expected(mut self, size: u64) -> bool {
        self.fill(size);
        let mut found = self
            .hashers
            .into_iter()
            .map(|hasher| FileDigest(hasher.finalize().into_vec()));
        found.any(|digest| self.expected.contains(&digest))
    }
}

/// Those of these files that packages brought. Of some the content is known; the others are read if it matters.
pub(super) fn as_brought(
    rootfs: &Rootfs,
    files: UntoldFiles,
    lists: impl IntoIterator<Item = BroughtFiles>,
) -> Result<BTreeSet<FileNumber>, RootfsError> {
    let mut expected: BTreeMap<FileNumber, BTreeSet<FileDigest>> = BTreeMap::new();
    for (path, digest) in lists.into_iter().flatten() {
        if let Some(file) = rootfs.file(&path)
            && files.contains_key(&file)
        {
            expected.entry(file).or_default().extend(digest);
        }
    }
    let mut brought = BTreeSet::new();
    let mut unread = Vec::new();
    for (file, content) in files {
        let Some(expected) = expected.get(&file) else {
            continue;
        };
        let mut comparison = Comparison::with(expected);
        match content {
            // By its name alone.
            _ if expected.is_empty() => drop(brought.insert(file)),
            None => unread.push((file, Mutex::new(comparison))),
            Some(content) => {
                comparison.take(&content, 0);
                if comparison.ends_as_expected(content.len() as u64) {
                    brought.insert(file);
                }
            }
        }
    }
    rootfs.read_files(
        unread.iter().map(|(file, comparison)| (*file, comparison)),
        |comparison, bytes, offset| {
            comparison
                .lock()
                .expect("no holder panics")
                .take(bytes, offset);
        },
    )?;
    for (file, comparison) in unread {
        let comparison = comparison.into_inner().expect("no holder panics");
        if comparison.ends_as_expected(rootfs.size(file)) {
            brought.insert(file);
        }
    }
    Ok(brought)
}
