//! Writing one blob: in parts, by several connections at once, and hashed as it comes.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::{Digest, Hasher};

use super::positioned::{read_exact_at, write_all_at};
use super::seal::Seals;
use super::{StoreError, failed, open_for_writing};

/// A blob has at most so many parts, unless they would be larger than [`MAX_PART`].
const PARTS: u64 = 256;
const MIN_PART: u64 = 4 << 20;
const MAX_PART: u64 = 64 << 20;
/// What is read at once of bytes that were written before they could be hashed.
const HASH_BLOCK: usize = 256 << 10;
/// What one call of [`Writer::write`] hashes of them at most, so that its connection is not kept.
const HASH_AT_ONCE: u64 = 8 << 20;

/// The sole writer of one blob.
///
/// The blob has parts of equal size, the last one excepted. Each is written from its beginning to
/// its end, and several at once. Dropped before [`Writer::finish`], it leaves what it has for the
/// next one to resume: in `ingest/ALGORITHM/HEX`, and in `HEX.parts`, which holds for each part how
/// many bytes of it are there (64 bits, little endian). A blob of one part needs no such record, as
/// the file's length says it.
#[derive(Debug)]
pub struct Writer {
    target: PathBuf,
    digest: Digest,
    size: u64,
    part_size: u64,
    path: PathBuf,
    /// Holds the lock.
    file: File,
    seals: Seals,
    written: Mutex<Written>,
    hashed: Mutex<Hashed>,
}

/// How many bytes of each part are there.
#[derive(Debug)]
struct Written {
    parts: Vec<u64>,
    record: Option<(PathBuf, File)>,
}

/// The digest of the bytes before `offset`.
#[derive(Debug)]
struct Hashed {
    hasher: Hasher,
    offset: u64,
}

impl Writer {
    /// Takes up what is in `file`, which is at `path` and locked.
    pub(super) fn open(
        path: PathBuf,
        file: File,
        target: PathBuf,
        digest: Digest,
        size: u64,
        seals: Seals,
    ) -> Result<Self, StoreError> {
        let part_size = size
            .div_ceil(PARTS)
            .next_multiple_of(1 << 20)
            .clamp(MIN_PART, MAX_PART);
        let count = in_memory(size.div_ceil(part_size));
        let record = if count > 1 {
            let path = path.with_extension("parts");
            let file = failed("open", &path, open_for_writing(&path))?;
            Some((path, file))
        } else {
            None
        };
        let writer = Writer {
            hashed: Mutex::new(Hashed {
                hasher: digest.algorithm().hasher(),
                offset: 0,
            }),
            target,
            digest,
            size,
            part_size,
            path,
            file,
            seals,
            written: Mutex::new(Written {
                parts: vec![0; count],
                record,
            }),
        };
        writer.resume()?;
        failed(
            "reserve room for",
            &writer.path,
            reserve(&writer.file, size),
        )?;
        Ok(writer)
    }

    /// How many bytes of the blob are written.
    pub fn written(&self) -> u64 {
        lock(&self.written).parts.iter().sum()
    }

    /// What is missing: of each part that is not whole the rest, in the blob's order.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let written = lock(&self.written);
        (0_u64..)
            .zip(&written.parts)
            .map(|(part, have)| part * self.part_size + have..self.end_of(part))
            .filter(|rest| !rest.is_empty())
            .collect()
    }

    /// Writes `bytes` at `offset`; what of them is there already is passed over.
    ///
    /// # Panics
    /// If bytes of the same part before `offset` are missing.
    pub fn write(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), StoreError> {
        let end = offset + bytes.len() as u64;
        if end > self.size {
            return Err(self.size_error(end));
        }
        while !bytes.is_empty() {
            let part = offset / self.part_size;
            let length = in_memory(end.min(self.end_of(part)) - offset);
            let (here, rest) = bytes.split_at(length);
            self.write_in_part(part, offset, here)?;
            offset += length as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn write_in_part(&self, part: u64, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let have = self.front(part);
        assert!(offset <= have, "a part is written from its beginning");
        let end = offset + bytes.len() as u64;
        if end > have {
            let new = &bytes[in_memory(have - offset)..];
            failed("write", &self.path, write_all_at(&self.file, new, have))?;
            self.record(part, end)?;
        }
        // Where another thread is hashing, it or a later call takes these bytes too.
        match self.hashed.try_lock() {
            Ok(mut hashed) => self.hash(&mut hashed, Some((offset, bytes)), HASH_AT_ONCE),
            Err(_) => Ok(()),
        }
    }

    /// Up to where the part is written, as an offset in the blob.
    fn front(&self, part: u64) -> u64 {
        part * self.part_size + lock(&self.written).parts[in_memory(part)]
    }

    fn end_of(&self, part: u64) -> u64 {
        ((part + 1) * self.part_size).min(self.size)
    }

    /// Notes that the part is written up to `end`, for this process and for the next one.
    fn record(&self, part: u64, end: u64) -> Result<(), StoreError> {
        let mut written = lock(&self.written);
        let Written { parts, record } = &mut *written;
        let have = &mut parts[in_memory(part)];
        *have = (end - part * self.part_size).max(*have);
        match record {
            Some((path, file)) => failed(
                "write",
                path,
                write_all_at(file, &have.to_le_bytes(), part * 8),
            ),
            None => Ok(()),
        }
    }

    /// Hashes what is written behind what is hashed, `limit` bytes of it at most. `fresh` is in
    /// memory and need not be read.
    fn hash(
        &self,
        hashed: &mut Hashed,
        fresh: Option<(u64, &[u8])>,
        limit: u64,
    ) -> Result<(), StoreError> {
        if let Some((offset, bytes)) = fresh
            && offset == hashed.offset
        {
            hashed.hasher.update(bytes);
            hashed.offset += bytes.len() as u64;
        }
        let stop = hashed.offset.saturating_add(limit).min(self.size);
        let mut block = Vec::new();
        while hashed.offset < stop {
            let front = self.front(hashed.offset / self.part_size).min(stop);
            let length = in_memory(front - hashed.offset).min(HASH_BLOCK);
            if length == 0 {
                break;
            }
            block.resize(length, 0);
            let read = read_exact_at(&self.file, &mut block, hashed.offset);
            failed("read", &self.path, read)?;
            hashed.hasher.update(&block);
            hashed.offset += length as u64;
        }
        Ok(())
    }

    /// Takes what a former process left.
    fn resume(&self) -> Result<(), StoreError> {
        let length = failed("read", &self.path, self.file.metadata())?.len();
        let mut written = lock(&self.written);
        let Written { parts, record } = &mut *written;
        match record {
            // A blob of one part, or of none.
            None => match parts.first_mut() {
                Some(have) if length <= self.size => *have = length,
                _ if length == 0 => {}
                _ => {
                    drop(written);
                    return self.restart();
                }
            },
            Some((path, _)) => {
                let bytes = failed("read", path, fs::read(&*path))?;
                for ((part, have), bytes) in (0..).zip(parts).zip(bytes.chunks_exact(8)) {
                    let said = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
                    let start = part * self.part_size;
                    let possible = self.end_of(part).min(length).saturating_sub(start);
                    *have = if said <= possible { said } else { 0 };
                }
            }
        }
        Ok(())
    }

    /// Forgets everything written.
    pub fn restart(&self) -> Result<(), StoreError> {
        failed("truncate", &self.path, self.file.set_len(0))?;
        let mut written = lock(&self.written);
        if let Some((path, record)) = &written.record {
            failed("truncate", path, record.set_len(0))?;
        }
        written.parts.fill(0);
        *lock(&self.hashed) = Hashed {
            hasher: self.digest.algorithm().hasher(),
            offset: 0,
        };
        Ok(())
    }

    /// Checks size and digest and gives the blob its name.
    ///
    /// Bytes that are wrong are forgotten, so that no one resumes them.
    pub fn finish(&self) -> Result<(), StoreError> {
        let written = self.written();
        if written != self.size {
            return Err(self.size_error(written));
        }
        let found = {
            let mut hashed = lock(&self.hashed);
            self.hash(&mut hashed, None, self.size)?;
            hashed.hasher.clone().finish()
        };
        if found != self.digest {
            self.restart()?;
            return Err(StoreError::Digest {
                expected: self.digest.clone(),
                found,
            });
        }
        failed(
            "seal",
            &self.path,
            self.seals.seal_new(&self.file, &self.digest),
        )?;
        // While the lock is held: the next one to get it finds the blob under its name.
        failed("name", &self.target, fs::rename(&self.path, &self.target))?;
        if let Some((path, _)) = &lock(&self.written).record {
            // What stays of it does no harm: without its file it counts for nothing.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    fn size_error(&self, found: u64) -> StoreError {
        StoreError::Size {
            digest: self.digest.clone(),
            expected: self.size,
            found,
        }
    }
}

/// Has the file system set `size` bytes aside, where it can: a blob that does not fit is found out
/// before it is fetched, and writing to room that is there costs a third less.
#[cfg(target_os = "linux")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(full.into()),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// A number of parts, or of bytes of one: small enough for every machine.
fn in_memory(number: u64) -> usize {
    usize::try_from(number).expect("smaller than a part")
}

/// A thread that panicked while it held the lock has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use crate::digest::Algorithm;
    use crate::store::{Ingest, Store, Trust};

    use super::*;

    const MIB: usize = 1 << 20;

    /// A blob of three parts, the last one not whole.
    fn blob() -> (Digest, Vec<u8>) {
        let bytes: Vec<u8> = (0..10 * MIB)
            .map(|n| u8::try_from(n / 1000 % 251).unwrap())
            .collect();
        (Digest::of(Algorithm::Sha256, &bytes), bytes)
    }

    fn open(store: &Store, digest: &Digest, size: usize) -> Box<Writer> {
        match store.ingest(digest, size as u64).unwrap() {
            Ingest::Writer(writer) => writer,
            Ingest::Present => panic!("the blob is there"),
        }
    }

    fn write(writer: &Writer, bytes: &[u8], range: Range<usize>) {
        writer.write(range.start as u64, &bytes[range]).unwrap();
    }

    #[test]
    fn parts_come_in_any_order_and_are_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Stamp).unwrap();
        let (digest, bytes) = blob();
        let first = open(&store, &digest, bytes.len());
        assert_eq!(first.missing().len(), 3);
        write(&first, &bytes, 8 * MIB..9 * MIB);
        write(&first, &bytes, 4 * MIB..6 * MIB);
        drop(first);

        let second = open(&store, &digest, bytes.len());
        let mib = MIB as u64;
        let missing = [0..4 * mib, 6 * mib..8 * mib, 9 * mib..10 * mib];
        assert_eq!(second.missing(), missing);
        // What is there already is passed over, be it right or not.
        write(&second, &bytes, 9 * MIB..10 * MIB);
        second.write(5 * mib, &vec![0; MIB]).unwrap();
        write(&second, &bytes, 6 * MIB..8 * MIB);
        write(&second, &bytes, 0..4 * MIB);
        second.finish().unwrap();
        assert!(store.find(&digest, 10 * mib).unwrap().is_some());
        let left = fs::read_dir(directory.path().join("ingest/sha256")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_record_without_its_bytes_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Stamp).unwrap();
        let (digest, bytes) = blob();
        let first = open(&store, &digest, bytes.len());
        write(&first, &bytes, 0..4 * MIB);
        write(&first, &bytes, 4 * MIB..6 * MIB);
        first.file.set_len(5 * MIB as u64).unwrap();
        drop(first);
        let second = open(&store, &digest, bytes.len());
        assert_eq!(second.written(), 4 * MIB as u64);
        drop(second);
        let path = directory.path().join("ingest/sha256").join(digest.hex());
        fs::write(path.with_extension("parts"), [0xff; 100]).unwrap();
        assert_eq!(open(&store, &digest, bytes.len()).written(), 0);
    }

    #[test]
    fn wrong_bytes_in_one_part_are_forgotten_with_all_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Stamp).unwrap();
        let (digest, mut bytes) = blob();
        bytes[5 * MIB] ^= 1;
        let writer = open(&store, &digest, bytes.len());
        write(&writer, &bytes, 4 * MIB..10 * MIB);
        write(&writer, &bytes, 0..4 * MIB);
        assert!(matches!(writer.finish(), Err(StoreError::Digest { .. })));
        drop(writer);
        assert_eq!(open(&store, &digest, bytes.len()).written(), 0);
    }
}
