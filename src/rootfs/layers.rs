//! Reads the layers of an image, several at once, and trusts none before its digest is right.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;

use super::{LayerFault, RootfsError};
use crate::tar::{Archive, Entry, MAX_MEMORY, TarError, read_layer};

/// What files are read through.
pub(super) type Reader<'a> = Archive<BufReader<Box<dyn Read + 'a>>>;

/// A layer of an image in a layout.
#[derive(Debug)]
pub(super) struct Layer {
    descriptor: Descriptor,
    path: PathBuf,
    diff_id: Digest,
}

impl Layer {
    pub(super) fn new(layout: &Path, descriptor: &Descriptor, diff_id: &Digest) -> Self {
        Layer {
            descriptor: descriptor.clone(),
            path: layout.join(descriptor.digest.blob_path()),
            diff_id: diff_id.clone(),
        }
    }

    /// What makes it the same layer as another.
    pub(super) fn id(&self) -> (&Path, &Digest) {
        (&self.path, &self.diff_id)
    }

    /// All entries, in the archive's order, each shown to `look` with what follows it. What they take is added to `memory`,
    /// which all layers share.
    pub(super) fn entries(
        &self,
        memory: &AtomicU64,
        mut look: impl FnMut(usize, &Entry, &mut Reader<'_>) -> Result<(), TarError>,
    ) -> Result<Vec<Entry>, RootfsError> {
        self.read(true, |mut archive| {
            let mut entries = Vec::new();
            while let Some(entry) = archive.next()? {
                look(entries.len(), &entry, &mut archive)?;
                let more = entry.memory();
                if memory.fetch_add(more, Ordering::Relaxed) + more > MAX_MEMORY {
                    return Err(TarError::TooMuch);
                }
                entries.push(entry);
            }
            Ok(entries)
        })
    }

    /// Calls `take` for each of the wanted entries, which are given by their number, in order.
    pub(super) fn contents<T>(
        &self,
        wanted: &[(usize, T)],
        take: impl Fn(&T, &mut Reader<'_>) -> Result<(), TarError>,
    ) -> Result<(), RootfsError> {
        if wanted.is_empty() {
            return Ok(());
        }
        // The bytes are those of the first reading if the digest is.
        self.read(false, |mut archive| {
            let mut number = 0;
            for (position, item) in wanted {
                while number <= *position {
                    if archive.next()?.is_none() {
                        return Err(TarError::Form("it changed while it was read"));
                    }
                    number += 1;
                }
                take(item, &mut archive)?;
            }
            Ok(())
        })
    }

    pub(super) fn failed(&self, source: LayerFault) -> RootfsError {
        RootfsError::Layer {
            digest: self.descriptor.digest.clone(),
            source,
        }
    }

    /// Reads the whole blob, the first time with its `diff_id`. That it is another than it should be goes
    /// before what follows from that.
    fn read<T>(
        &self,
        is_first: bool,
        work: impl FnOnce(Reader<'_>) -> Result<T, TarError>,
    ) -> Result<T, RootfsError> {
        let Descriptor { digest, size, .. } = &self.descriptor;
        let unreadable = |error| self.failed(LayerFault::Read(error));
        let found = fs::metadata(&self.path).map_err(unreadable)?.len();
        if found != *size {
            return Err(self.failed(LayerFault::Size {
                expected: *size,
                found,
            }));
        }
        let through = |reader: Box<dyn Read + '_>| {
            work(Archive::new(BufReader::with_capacity(256 * 1024, reader)))
        };
        let read =
            read_layer(&self.path, digest, &self.diff_id, is_first, through).map_err(unreadable)?;
        if read.digest != *digest {
            return Err(self.failed(LayerFault::Digest(read.digest)));
        }
        if let Some(found) = read.diff_id
            && found != self.diff_id
        {
            return Err(self.failed(LayerFault::DiffId {
                expected: self.diff_id.clone(),
                found,
                compression: read.compression,
            }));
        }
        read.done.map_err(|error| match error {
            TarError::Write(error) => RootfsError::Write(error),
            error => self.failed(LayerFault::Archive(error)),
        })
    }
}

/// Does `work` for each of the layers, on all processors; returns the results in order, or the lowest
/// layer's error.
pub(super) fn each<T: Send>(
    layers: &[Layer],
    work: impl Fn(usize, &Layer) -> Result<T, RootfsError> + Sync,
) -> Result<Vec<T>, RootfsError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let worker = || {
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some(layer) = layers.get(number)
        {
            let result = work(number, layer);
            let mut results = results.lock().expect("no holder panics");
            results.push((number, result));
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..processors.min(layers.len()) {
            // Where there can be no other thread, this one reads them all.
            if thread::Builder::new().spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        worker();
    });
    let mut results = results.into_inner().expect("no holder panics");
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
