//! How a file says that its bytes were verified: by its modification time.
//!
//! Any later write gives a file another time, without knowing of it, so one `stat` tells whether the
//! bytes are still those that were hashed.
//!
//! A power loss may take bytes that were written and leave the file's name, size and time. So where
//! the system tells one boot from another, a new file is sealed for this boot only: that costs no
//! `fsync`, and after the next boot it is hashed once, and then sealed for good. Elsewhere bytes are
//! made durable before they are sealed.

use std::fs::{self, File, FileTimes};
use std::io;
use std::time::{Duration, SystemTime};

use crate::oci::digest::{Algorithm, Digest, hash_reader};

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
    /// The blob, which has this many bytes and not as many as were said.
    OtherSize(u64),
    /// Something else.
    Nothing,
}

/// Sets seals and recognizes them.
#[derive(Clone, Debug)]
pub(super) struct Seals {
    boot: Option<String>,
}

impl Seals {
    pub(super) fn of_this_boot() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Seals {
            boot: boot.filter(|id| !id.trim().is_empty()),
        }
    }

    /// Seals a file whose bytes were just written and verified.
    pub(super) fn seal_new(&self, file: &File, digest: &Digest) -> io::Result<()> {
        match self.seal_of_this_boot(digest) {
            Some(seal) => set(file, seal),
            None => seal_for_good(file, digest),
        }
    }

    /// What the file holds. What has no valid seal is hashed, and sealed if it is the blob.
    pub(super) fn check(
        &self,
        file: &File,
        digest: &Digest,
        size: u64,
        trust: Trust,
    ) -> io::Result<Held> {
        let metadata = file.metadata()?;
        let modified = metadata.modified()?;
        let sealed =
            modified == seal_of(digest) || Some(modified) == self.seal_of_this_boot(digest);
        let fits = metadata.len() == size;
        if fits && sealed && trust == Trust::Seal {
            return Ok(Held::Blob);
        }
        if !(fits || sealed) || hash_reader(digest.algorithm(), file)?.0 != *digest {
            return Ok(Held::Nothing);
        }
        if !fits {
            return Ok(Held::OtherSize(metadata.len()));
        }
        if !sealed {
            // A store that belongs to someone else is still readable.
            let _ = seal_for_good(file, digest);
        }
        Ok(Held::Blob)
    }

    fn seal_of_this_boot(&self, digest: &Digest) -> Option<SystemTime> {
        let both = format!("{} {digest}", self.boot.as_ref()?);
        Some(seal_of(&Digest::of(Algorithm::Sha256, both.as_bytes())))
    }
}

/// Seals a verified file, once its bytes are durable, for as long as it is not written to.
fn seal_for_good(file: &File, digest: &Digest) -> io::Result<()> {
    file.sync_data()?;
    set(file, seal_of(digest))
}

/// Makes a file read-only and gives it the time `seal`.
fn set(file: &File, seal: SystemTime) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)?;
    let now = SystemTime::now();
    file.set_times(FileTimes::new().set_accessed(now).set_modified(seal))
}

/// The modification time that marks a file as once verified against a digest.
///
/// Any later write gives the file another time, so one `stat` tells whether the bytes are still
/// those that were hashed. The time is derived from the digest, hence the same on every machine;
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
}
