//! Writing one blob: in parts, by several connections at once, and hashed as it comes.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::io::{read_exact_at, write_all_at};
use crate::oci::digest::{Digest, Hasher};

use super::seal::Seals;
use super::{StoreError, open_for_writing, reading, writing};

/// A blob has at most so many parts.
const PARTS: u64 = 256;
const MIN_PART: u64 = 4 << 20;
/// What is read at once of bytes that were written before they could be hashed.
const HASH_BLOCK: u64 = 256 << 10;
/// What one call of [`Writer::write`] hashes of them at most, so that its connection is not kept.
const HASH_AT_ONCE: u64 = 8 << 20;

/// The sole writer of one blob.
///
/// The blob has parts of equal size, the last one excepted. Each is written from its beginning to
/// its end, and several at once. Dropped before [`Writer::finish`], it leaves what it has for the
/// next one to resume: in `ingest/ALGORITHM/HEX`, and in `HEX.parts`, which holds the blob's size and for
/// each part how many bytes of it are there (64 bits each, little endian). A blob of one part needs
/// no such record, as the file's length says it.
#[derive(Debug)]
pub(crate) struct Writer {
    target: PathBuf,
    digest: Digest,
    size: u64,
    part_size: u64,
    path: PathBuf,
    /// Holds the lock.
    file: File,
    record: Option<(PathBuf, File)>,
    seals: Seals,
    /// How many bytes of each part are there. Locked while one writes the part.
    parts: Vec<Mutex<u64>>,
    /// Their sum.
    written: AtomicU64,
    hashed: Mutex<Hashed>,
    /// Whether the blob is complete and has its name.
    is_named: AtomicBool,
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
        let part_size = size.div_ceil(PARTS).next_multiple_of(1 << 20).max(MIN_PART);
        let count = in_memory(size.div_ceil(part_size));
        let record = if count > 1 {
            let path = path.with_extension("parts");
            let file = writing("open", &path, open_for_writing(&path))?;
            Some((path, file))
        } else {
            None
        };
        let hasher = digest.algorithm().hasher();
        let writer = Writer {
            target,
            digest,
            size,
            part_size,
            path,
            file,
            record,
            seals,
            parts: std::iter::repeat_with(Mutex::default).take(count).collect(),
            written: AtomicU64::new(0),
            hashed: Mutex::new(Hashed { hasher, offset: 0 }),
            is_named: AtomicBool::new(false),
        };
        writer.resume()?;
        Ok(writer)
    }

    /// Sets the room aside that the blob takes, where the file system can: a blob that does not fit is found out before
    /// it is fetched, and writing to room that is there costs a third less. What it is said to take, whoever sends it
    /// must have confirmed. What is not used of it is given back in the end.
    pub(crate) fn reserve(&self) -> Result<(), StoreError> {
        reserve(&self.file, self.size).map_err(|source| StoreError::Room {
            digest: self.digest.clone(),
            size: self.size,
            path: self.path.clone(),
            source,
        })
    }

    /// How many bytes of the blob are written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// What is missing: of each part that is not whole the rest, in the blob's order.
    pub(crate) fn missing(&self) -> Vec<Range<u64>> {
        (0..self.parts.len() as u64)
            .map(|part| self.front(part)..self.end_of(part))
            .filter(|rest| !rest.is_empty())
            .collect()
    }

    /// Writes `bytes` at `offset`; what of them is there already is passed over.
    ///
    /// # Panics
    /// If bytes of the same part before `offset` are missing.
    pub(crate) fn write(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), StoreError> {
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
        let mut have = lock(&self.parts[in_memory(part)]);
        let front = part * self.part_size + *have;
        assert!(offset <= front, "a part is written from its beginning");
        let new = bytes.get(in_memory(front - offset)..).unwrap_or_default();
        if !new.is_empty() {
            writing("write", &self.path, write_all_at(&self.file, new, front))?;
            *have += new.len() as u64;
            self.written.fetch_add(new.len() as u64, Ordering::Relaxed);
            self.record(part, *have)?;
        }
        drop(have);
        // Where another thread is hashing, it or a later call takes these bytes too. What was passed
        // over must not be hashed from memory: the file may have other bytes there.
        match self.hashed.try_lock() {
            Ok(mut hashed) => self.hash(&mut hashed, (front, new), HASH_AT_ONCE),
            Err(_) => Ok(()),
        }
    }

    /// Up to where the part is written, as an offset in the blob.
    fn front(&self, part: u64) -> u64 {
        part * self.part_size + *lock(&self.parts[in_memory(part)])
    }

    fn end_of(&self, part: u64) -> u64 {
        ((part + 1) * self.part_size).min(self.size)
    }

    /// Notes for the next process how much of the part is there.
    fn record(&self, part: u64, have: u64) -> Result<(), StoreError> {
        match &self.record {
            Some((path, file)) => {
                let noted = write_all_at(file, &have.to_le_bytes(), (part + 1) * 8);
                writing("write", path, noted)
            }
            None => Ok(()),
        }
    }

    /// Hashes what is written behind what is hashed, `limit` bytes of it at most. The bytes at the
    /// offset `fresh.0` were written from `fresh.1`, and need not be read.
    fn hash(&self, hashed: &mut Hashed, fresh: (u64, &[u8]), limit: u64) -> Result<(), StoreError> {
        if fresh.0 == hashed.offset {
            hashed.hasher.update(fresh.1);
            hashed.offset += fresh.1.len() as u64;
        }
        let stop = hashed.offset.saturating_add(limit).min(self.size);
        let mut block = Vec::new();
        while hashed.offset < stop {
            let front = self.front(hashed.offset / self.part_size).min(stop);
            let length = in_memory((front - hashed.offset).min(HASH_BLOCK));
            if length == 0 {
                break;
            }
            block.resize(length, 0);
            let read = read_exact_at(&self.file, &mut block, hashed.offset);
            reading("read", &self.path, read)?;
            hashed.hasher.update(&block);
            hashed.offset += length as u64;
        }
        Ok(())
    }

    /// Takes what a former process left.
    fn resume(&self) -> Result<(), StoreError> {
        let length = reading("read", &self.path, self.file.metadata())?.len();
        let mut left = vec![0; self.parts.len()];
        if let Some((path, file)) = &self.record {
            let mut bytes = vec![0; 8 * (1 + left.len())];
            match read_exact_at(file, &mut bytes, 0) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return reading("read", path, Err(error)),
            }
            let mut numbers = bytes
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u64::from_le_bytes(*bytes));
            // Of another size, it is about other parts.
            if numbers.next() == Some(self.size) {
                left = numbers.collect();
            }
        } else if let [only] = &mut left[..] {
            *only = length;
        }
        if length > self.size {
            return self.restart();
        }
        for (part, left) in (0..).zip(&mut left) {
            let possible = self.end_of(part).min(length);
            if *left > possible.saturating_sub(part * self.part_size) {
                *left = 0;
            }
        }
        self.set(&left)
    }

    /// Forgets everything written.
    pub(crate) fn restart(&self) -> Result<(), StoreError> {
        writing("truncate", &self.path, self.file.set_len(0))?;
        let hasher = self.digest.algorithm().hasher();
        *lock(&self.hashed) = Hashed { hasher, offset: 0 };
        self.set(&vec![0; self.parts.len()])
    }

    /// Says of each part how many bytes of it are there.
    fn set(&self, numbers: &[u64]) -> Result<(), StoreError> {
        for (part, number) in self.parts.iter().zip(numbers) {
            *lock(part) = *number;
        }
        self.written.store(numbers.iter().sum(), Ordering::Relaxed);
        if let Some((path, file)) = &self.record {
            let record: Vec<u8> = std::iter::once(&self.size)
                .chain(numbers)
                .flat_map(|number| number.to_le_bytes())
                .collect();
            writing("write", path, write_all_at(file, &record, 0))?;
        }
        Ok(())
    }

    /// Checks size and digest and gives the blob its name.
    ///
    /// Bytes that are wrong are forgotten, so that no one resumes them.
    pub(crate) fn finish(&self) -> Result<(), StoreError> {
        let written = self.written();
        if written != self.size {
            return Err(self.size_error(written));
        }
        let found = {
            let mut hashed = lock(&self.hashed);
            self.hash(&mut hashed, (0, &[]), self.size)?;
            hashed.hasher.clone().finish()
        };
        if found != self.digest {
            self.restart()?;
            return Err(StoreError::Digest {
                expected: self.digest.clone(),
                found,
            });
        }
        let sealed = self.seals.seal_new(&self.path, &self.file, &self.digest);
        sealed.map_err(StoreError::Write)?;
        // While the lock is held: the next one to get it finds the blob under its name.
        writing("name", &self.target, fs::rename(&self.path, &self.target))?;
        self.is_named.store(true, Ordering::Relaxed);
        if let Some((path, _)) = &self.record {
            // What stays of it does no harm: it says more than the next file has.
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

impl Drop for Writer {
    /// Gives back the room that was set aside and is not used, and leaves no file if nothing came.
    fn drop(&mut self) {
        if self.is_named.load(Ordering::Relaxed) {
            return;
        }
        // This is for whoever comes next: it has no bearing on how this ends.
        if self.written() > 0 {
            let _ = release(&self.file, &self.missing());
            return;
        }
        if let Some((path, _)) = &self.record {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Has the file system set `size` bytes aside.
#[cfg(target_os = "linux")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
    use rustix::io::Errno;
    use std::os::unix::fs::MetadataExt as _;

    let metadata = file.metadata()?;
    let missing = size.saturating_sub(512 * metadata.blocks());
    if fstatvfs(file).is_ok_and(|system| missing > system.f_bavail.saturating_mul(system.f_frsize))
    {
        return Err(Errno::NOSPC.into());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
            // Some file systems keep what they had set aside until then.
            file.set_len(metadata.len())?;
            Err(full.into())
        }
        _ => Ok(()),
    }
}

/// Gives back what is set aside for the bytes in `ranges`, which are not written.
#[cfg(target_os = "linux")]
fn release(file: &File, ranges: &[Range<u64>]) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    let length = file.metadata()?.len();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for range in ranges {
        let end = range.end.min(length);
        if range.start < end {
            fallocate(file, hole, range.start, end - range.start)?;
        }
    }
    // What is behind the end goes when the end is set.
    file.set_len(length)
}

#[cfg(not(target_os = "linux"))]
fn release(_: &File, _: &[Range<u64>]) -> io::Result<()> {
    Ok(())
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
    use crate::oci::digest::Algorithm;
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
        match store.ingest(digest, size as u64, |_| {}).unwrap() {
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
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
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
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
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
    fn what_is_passed_over_is_hashed_as_the_file_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
        let bytes = vec![7; MIB];
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        open(&store, &digest, MIB).write(0, b"planted").unwrap();
        let second = open(&store, &digest, MIB);
        second.write(0, &bytes).unwrap();
        assert!(matches!(second.finish(), Err(StoreError::Digest { .. })));
    }

    #[test]
    fn what_was_left_of_another_size_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
        let (digest, bytes) = blob();
        let larger = open(&store, &digest, 20 * MIB);
        larger.write(16 * MIB as u64, &[1; 1000]).unwrap();
        drop(larger);
        let right = open(&store, &digest, bytes.len());
        assert_eq!(right.written(), 0);
        write(&right, &bytes, 0..10 * MIB);
        right.finish().unwrap();
        let size = bytes.len() as u64;
        let path = store.find(&digest, size).unwrap().unwrap();
        assert_eq!(fs::metadata(path).unwrap().len(), size);
    }

    #[test]
    fn a_size_that_no_disk_has_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
        let (digest, _) = blob();
        for size in [1 << 50, i64::MAX.unsigned_abs()] {
            let Ingest::Writer(writer) = store.ingest(&digest, size, |_| {}).unwrap() else {
                panic!("the blob is there");
            };
            let error = writer.reserve().unwrap_err();
            assert!(matches!(error, StoreError::Room { .. }), "{error}");
        }
    }

    #[test]
    fn wrong_bytes_in_one_part_are_forgotten_with_all_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Trust::Seal).unwrap();
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
