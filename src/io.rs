//! Readers and writers: at an offset, by several threads on one file, and what passes bytes on.

use std::fs::File;
use std::io::{self, Read, Write};

#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        #[cfg(unix)]
        let result = file.write_at(bytes, offset);
        #[cfg(windows)]
        let result = file.seek_write(bytes, offset);
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `bytes` with what is at `offset`.
pub(crate) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        #[cfg(unix)]
        let result = file.read_at(bytes, offset);
        #[cfg(windows)]
        let result = file.seek_read(bytes, offset);
        match result {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads to the end, in steps of a size at which hashing costs more than reading.
pub(crate) fn drain(mut reader: impl Read) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A reader that also writes what is read from it.
pub(crate) struct Tee<R, W> {
    reader: R,
    writer: W,
    count: u64,
}

impl<R: Read, W: Write> Tee<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Self {
        let count = 0;
        Tee {
            reader,
            writer,
            count,
        }
    }

    /// How many bytes were read.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn into_writer(self) -> W {
        self.writer
    }
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.writer.write_all(&buffer[..count])?;
        self.count += count as u64;
        Ok(count)
    }
}
