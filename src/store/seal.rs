//! How a file says that its bytes were verified: by its modification time, which is derived from its digest and set
//! once, before the file has its name.
//!
//! Any later write gives a file another time, without knowing of it, so one `stat` tells whether the
//! bytes are still those that were hashed.
//!
//! A power loss may take bytes that were written and leave the file's name, size and time. So the seal counts for
//! digests that are in a list: what was verified since this boot, whose bytes the kernel has, or what was made
//! durable. A digest that is in neither is hashed once, made durable and listed. Lists only grow, a line at a time,
//! and what is lost of them costs no more than a hash.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::files::{FileError, io_failed, make_way, open_own, read_at_most};
use crate::oci::digest::{Digest, hash_reader};

/// How far a file that is found on disk is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its size, and the seal set when it was verified.
    Seal,
    /// Nothing: hash it again.
    Nothing,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The blob.
    Blob,
    /// The blob, but somebody has changed the time that says so.
    Unsealed,
    /// The blob, which has this many bytes and not as many as were said.
    OtherSize(u64),
    /// Something else.
    Nothing,
}

/// The directory of the lists.
const LISTS: &str = "sealed";
/// The list of what was made durable.
const DURABLE: &str = "durable";
/// How the names of the others begin; the boot follows.
const BOOT: &str = "boot-";
/// The most bytes that a list may have: a million digests.
const MAX_LIST: u64 = 128 << 20;

/// Sets seals and recognizes them.
#[derive(Clone, Debug)]
pub(super) struct Seals {
    root: PathBuf,
    /// The list of this boot, where the system tells one boot from another.
    boot: Option<String>,
    lists: Arc<Mutex<VerifiedLists>>,
}

/// The lists as they were last read.
#[derive(Debug, Default)]
struct VerifiedLists {
    this_boot: HashSet<Digest>,
    durable: HashSet<Digest>,
}

impl VerifiedLists {
    fn has(&self, digest: &Digest) -> bool {
        self.this_boot.contains(digest) || self.durable.contains(digest)
    }
}

impl Seals {
    /// Those of the store in `root`.
    pub(super) fn of(root: &Path) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|id| id.chars().filter(char::is_ascii_alphanumeric).collect());
        Seals {
            root: root.to_owned(),
            boot: boot
                .filter(|id: &String| !id.is_empty())
                .map(|id| format!("{BOOT}{id}")),
            lists: Arc::default(),
        }
    }

    /// Seals the file at `path`, whose bytes were just written and verified, and which has not its name yet.
    pub(super) fn seal_new(
        &self,
        path: &Path,
        file: &File,
        digest: &Digest,
    ) -> Result<(), FileError> {
        io_failed("seal", path, set(file, seal_of(digest)))?;
        // A file that took the place of a durable one is not what the list speaks of.
        let durable = self.read().durable.contains(digest);
        match &self.boot {
            Some(boot) if !durable => self.list(boot, digest),
            _ => {
                io_failed("sync", path, file.sync_all())?;
                self.list(DURABLE, digest)
            }
        }
    }

    /// What the file holds. What has no valid seal is hashed.
    pub(super) fn check(
        &self,
        file: &File,
        digest: &Digest,
        size: u64,
        trust: Trust,
    ) -> io::Result<Held> {
        let metadata = file.metadata()?;
        let sealed = metadata.modified()? == seal_of(digest);
        let fits = metadata.len() == size;
        let listed = sealed && self.is_listed(digest);
        if fits && listed && trust == Trust::Seal {
            return Ok(Held::Blob);
        }
        if !(fits || sealed) || hash_reader(digest.algorithm(), file)?.0 != *digest {
            return Ok(Held::Nothing);
        }
        if !fits {
            return Ok(Held::OtherSize(metadata.len()));
        }
        if !sealed {
            return Ok(Held::Unsealed);
        }
        if !listed && file.sync_all().is_ok() {
            // A store that belongs to someone else is still readable.
            let _ = self.list(DURABLE, digest);
        }
        Ok(Held::Blob)
    }

    /// Whether the digest is in a list, which another process may have written since it was last read.
    fn is_listed(&self, digest: &Digest) -> bool {
        self.last_read().has(digest) || self.read().has(digest)
    }

    /// Adds a line to a list.
    fn list(&self, name: &str, digest: &Digest) -> Result<(), FileError> {
        let path = make_way(&self.root, &format!("{LISTS}/{name}"))?;
        let is_new = !path.exists();
        let opened = open_own(&path, OpenOptions::new().append(true).create(true));
        let written = opened.and_then(|mut list| list.write_all(format!("{digest}\n").as_bytes()));
        io_failed("write", &path, written)?;
        if is_new && name != DURABLE {
            self.forget_other_boots(name);
        }
        Ok(())
    }

    /// Removes the lists of other boots, which say nothing any more.
    fn forget_other_boots(&self, this: &str) {
        let entries = fs::read_dir(self.root.join(LISTS));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(BOOT) && name != this)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Reads the lists anew.
    fn read(&self) -> std::sync::MutexGuard<'_, VerifiedLists> {
        let digests = |name: &str| -> HashSet<Digest> {
            let path = self.root.join(LISTS).join(name);
            let bytes = read_at_most(&path, MAX_LIST);
            // What a power loss made of a line is no digest.
            let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        let lists = VerifiedLists {
            this_boot: self.boot.as_deref().map(digests).unwrap_or_default(),
            durable: digests(DURABLE),
        };
        let mut guard = self.last_read();
        *guard = lists;
        guard
    }

    fn last_read(&self) -> std::sync::MutexGuard<'_, VerifiedLists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a file read-only and gives it the time `seal`.
fn set(file: &File, seal: SystemTime) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)?;
    file.set_times(FileTimes::new().set_modified(seal))
}

/// The modification time that marks a file as once verified against a digest.
///
/// Derived from the digest, it is the same on every machine;
/// it lies between 2001 and 2017 so that no tool takes it for one in the future.
fn seal_of(digest: &Digest) -> SystemTime {
    let mut head = [0_u8; 8];
    hex::decode_to_slice(&digest.hex()[..16], &mut head).expect("a digest holds hex only");
    let seed = u64::from_be_bytes(head);
    let seconds = 1_000_000_000 + (seed >> 32) % 500_000_000;
    // Microseconds: the coarsest step among the file systems that have sub-second times.
    let micros = (seed & 0xffff_ffff) % 1_000_000;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;

    #[test]
    fn a_seal_lies_in_the_past_and_depends_on_the_digest() {
        let one = seal_of(&Digest::of(Algorithm::Sha256, b"1"));
        let two = seal_of(&Digest::of(Algorithm::Sha256, b"2"));
        assert_ne!(one, two);
        let year_2001 = SystemTime::UNIX_EPOCH + Duration::from_secs(978_307_200);
        for (algorithm, length) in [("sha256", 64), ("sha512", 128)] {
            for digit in "0123456789abcdef".chars() {
                let hex = digit.to_string().repeat(length);
                let seal = seal_of(&format!("{algorithm}:{hex}").parse().unwrap());
                assert!(seal > year_2001 && seal < SystemTime::now(), "{seal:?}");
            }
        }
    }

    #[test]
    fn a_seal_counts_for_what_was_verified_since_this_boot_or_is_durable() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let blob = |text: &str| {
            let path = directory.path().join(text);
            fs::write(&path, text).unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            (file, Digest::of(Algorithm::Sha256, text.as_bytes()))
        };
        let boot = |id: &str| Seals {
            boot: Some(format!("{BOOT}{id}")),
            ..Seals::of(directory.path())
        };
        let (file, digest) = blob("bytes");
        boot("1").seal_new(root, &file, &digest).unwrap();
        assert!(boot("1").is_listed(&digest));
        assert!(!boot("2").is_listed(&digest));
        let modified = |file: &File| file.metadata().unwrap().modified().unwrap();
        let seal = modified(&file);
        let held = boot("2").check(&file, &digest, 5, Trust::Seal).unwrap();
        assert_eq!(held, Held::Blob);
        assert_eq!(modified(&file), seal);
        assert!(boot("3").is_listed(&digest));

        // What takes the place of a durable blob is made durable itself, and not listed for a boot alone.
        boot("3").seal_new(root, &file, &digest).unwrap();
        let lists = || fs::read_dir(directory.path().join(LISTS)).unwrap().count();
        assert_eq!(lists(), 2);
        let (other, other_digest) = blob("other");
        boot("3").seal_new(root, &other, &other_digest).unwrap();
        assert_eq!(lists(), 2, "those of this boot and of what is durable");
        assert!(!boot("1").is_listed(&other_digest));

        // A line that a power loss has torn.
        fs::write(directory.path().join(LISTS).join(DURABLE), [0; 100]).unwrap();
        assert!(!boot("4").is_listed(&digest));
    }
}
