//! Layers as they are compressed (OCI image spec, layer.md).

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::Path;

use crate::files::open_regular;
use crate::io::{Tee, drain};
use crate::oci::descriptor::Compression;
use crate::oci::digest::{Digest, HashingWriter};
use crate::tar::reader::is_archive;

/// The default of the common tools: more costs much time for little space.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// What was found while a layer's blob was read.
pub(crate) struct LayerRead<T, E> {
    /// The digest of the whole blob.
    pub(crate) digest: Digest,
    /// How the blob is compressed.
    pub(crate) compression: Compression,
    /// The digest of all that it decompresses to, if it was asked for and the blob can be decompressed.
    pub(crate) diff_id: Option<Digest>,
    /// What was made of that.
    pub(crate) done: Result<T, E>,
}

/// Gives `work` what a layer's blob decompresses to, and hashes the whole blob, however much of it `work` has
/// read; with `hash`, also all that it decompresses to.
///
/// Runtimes decompress a blob by what its bytes are, whatever the media type says, and so does this. What is
/// compressed and at once an archive as it is would be another layer to whoever goes by the media type, or does not
/// know that a zstd frame can be one to be skipped: it is an error.
pub(crate) fn read_layer<T, E: From<io::Error>>(
    path: &Path,
    blob: &Digest,
    diff_id: &Digest,
    hash: bool,
    work: impl FnOnce(Box<dyn Read + '_>) -> Result<T, E>,
) -> io::Result<LayerRead<T, E>> {
    let hasher = HashingWriter::new(blob.algorithm(), io::sink());
    let mut raw = Tee::new(open_regular(path)?, hasher);
    let mut buffered = BufReader::with_capacity(256 * 1024, &mut raw);
    let head = buffered.fill_buf()?;
    let compression = Compression::of(head);
    let is_blob = compression == Compression::None && diff_id.algorithm() == blob.algorithm();
    let mut found = None;
    let mut can_be_read = true;
    let done = match open(buffered, compression) {
        Err(error) => {
            can_be_read = false;
            Err(error.into())
        }
        Ok(reader) if !hash || is_blob => work(reader),
        Ok(reader) => {
            let hasher = HashingWriter::new(diff_id.algorithm(), io::sink());
            let mut content = Tee::new(reader, hasher);
            let done = work(Box::new(&mut content));
            // What was left unread is part of the layer all the same.
            match drain(&mut content) {
                Ok(()) => {
                    found = Some(content.into_writer().finish().digest);
                    done
                }
                Err(error) => done.and(Err(error.into())),
            }
        }
    };
    drain(&mut raw)?;
    let digest = raw.into_writer().finish().digest;
    if hash && is_blob && can_be_read {
        found = Some(digest.clone());
    }
    Ok(LayerRead {
        digest,
        compression,
        diff_id: found,
        done,
    })
}

/// Compressions that some readers tell by the first bytes, and for which layers have no media type.
const OTHERS: [(&[u8], &str); 2] = [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2")];

/// Reads what `reader`, which is compressed so, decompresses to.
pub(super) fn open<'a>(
    mut reader: impl io::BufRead + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'a>> {
    let head = reader.fill_buf()?;
    let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
    let name = match (compression, other) {
        (Compression::None, None) => None,
        (_, Some((_, name))) => Some((*name).to_owned()),
        (compression, None) => Some(compression.to_string()),
    };
    let problem = match name {
        Some(name) if is_archive(head) => {
            format!("it is {name} and a tar archive at once, so it can be read in two ways")
        }
        Some(name) if other.is_some() => {
            format!(
                "it is compressed by {name}, for which layers have no media type: take gzip or zstd"
            )
        }
        _ => return decompress(reader, compression),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

impl Compression {
    /// How a file is compressed.
    pub(crate) fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(open_regular(path)?);
        Ok(Self::of(file.fill_buf()?))
    }

    /// How what begins with these bytes is compressed, as containerd tells it.
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            // A frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// Reads what a layer's blob decompresses to.
fn decompress<'a>(
    reader: impl io::BufRead + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    })
}

/// A writer that compresses.
pub(crate) enum Compressor<W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    pub(crate) fn new(compression: Compression, writer: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Compressor::None(writer),
            Compression::Gzip => Compressor::Gzip(
                flate2::GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(writer, flate2::Compression::new(GZIP_LEVEL)),
            ),
            Compression::Zstd => {
                Compressor::Zstd(zstd::stream::write::Encoder::new(writer, ZSTD_LEVEL)?)
            }
        })
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Compressor::None(writer) => Ok(writer),
            Compressor::Gzip(encoder) => encoder.finish(),
            Compressor::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::None(writer) => writer.write(buf),
            Compressor::Gzip(encoder) => encoder.write(buf),
            Compressor::Zstd(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Compressor::None(writer) => writer.flush(),
            Compressor::Gzip(encoder) => encoder.flush(),
            Compressor::Zstd(encoder) => encoder.flush(),
        }
    }
}
