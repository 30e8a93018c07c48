//! Layers as they are compressed (OCI image spec, layer.md).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::{
    ZSTD_error_dictionary_wrong as OTHER_DICTIONARY,
    ZSTD_error_frameParameter_windowTooLarge as WINDOW_TOO_LARGE,
};

use crate::files::open_regular;
use crate::io::{Tee, drain};
use crate::oci::descriptor::Compression;
use crate::oci::digest::{Digest, HashingWriter};
use crate::tar::reader::is_archive;

/// The default of the common tools: more costs much time for little space.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// The largest window of zstd that is read, as its logarithm: what zstd reads by itself.
const ZSTD_WINDOW: u32 = 27;

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
    let done = match open(buffered, compression, Padding::Refused) {
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
    padding: Padding,
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
        _ => return decompress(reader, compression, padding),
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
pub(super) fn decompress<'a>(
    reader: impl io::BufRead + 'a,
    compression: Compression,
    padding: Padding,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => {
            let member = Some(GzDecoder::new(reader));
            Decompressed::boxed("gzip", Members { member, padding })
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Decompressed::boxed("zstd", decoder)
        }
    })
}

/// Whether a file of gzip may end in zeros, which fill its last record. Not what is a layer: runtimes take none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    Taken,
    Refused,
}

/// Reads the members of a file of gzip, one after the other (RFC 1952, 2.2).
struct Members<R> {
    /// None behind the last one.
    member: Option<GzDecoder<R>>,
    padding: Padding,
}

/// What is no gzip follows what is.
#[derive(Debug, thiserror::Error)]
#[error("something follows the end of its gzip that is no gzip")]
struct Trailing;

/// Whether another member follows; an error where something else does.
fn has_member(rest: &mut impl BufRead, padding: Padding) -> io::Result<bool> {
    let mut is_padding = false;
    loop {
        let head = rest.fill_buf()?;
        match head {
            [] => return Ok(false),
            [0x1f] | [0x1f, 0x8b, ..] if !is_padding => return Ok(true),
            [0, ..] if padding == Padding::Taken => {}
            _ => return Err(io::Error::other(Trailing)),
        }
        is_padding = true;
        let zeros = head.iter().take_while(|byte| **byte == 0).count();
        rest.consume(zeros);
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            let has_next = has_member(member.get_mut(), self.padding)?;
            let ended = self.member.take().filter(|_| has_next);
            self.member = ended.map(|ended| GzDecoder::new(ended.into_inner()));
        }
        Ok(0)
    }
}

/// The largest file of xz that is read, by the memory that it needs, in KiB: `xz -9` takes 64 MiB.
const XZ_MEMORY: u32 = 100 << 10;

/// Reads what a file of xz decompresses to.
pub(super) fn decompress_xz<'a>(reader: impl io::BufRead + 'a) -> Box<dyn Read + 'a> {
    let reader = lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY);
    Decompressed::boxed("xz", reader)
}

/// A reader of what a library decompresses, whose errors say what is wrong, and where.
struct Decompressed<R> {
    name: &'static str,
    reader: R,
    /// How many bytes it has given.
    position: u64,
}

impl<'a, R: Read + 'a> Decompressed<R> {
    fn boxed(name: &'static str, reader: R) -> Box<dyn Read + 'a> {
        Box::new(Decompressed {
            name,
            reader,
            position: 0,
        })
    }
}

impl<R> Decompressed<R> {
    fn in_words(&self, error: &io::Error) -> String {
        let Decompressed { name, position, .. } = self;
        let of_zstd = error.get_ref();
        let of_zstd = of_zstd.and_then(|error| error.downcast_ref::<zstd::Error>());
        let is = |code| of_zstd.is_some_and(|error| error.is(code));
        let limit = |what: &str, limit: u32| {
            format!(
                "it is compressed by {name} with a {what} that needs more than the limit of {limit} MiB: compress it again with a smaller one"
            )
        };
        let trailing: Option<&Trailing> = error.get_ref().and_then(|error| error.downcast_ref());
        match error.kind() {
            _ if trailing.is_some() => format!("{Trailing}: compress it again"),
            _ if is(WINDOW_TOO_LARGE) => limit("window", (1 << ZSTD_WINDOW) >> 20),
            _ if is(OTHER_DICTIONARY) => format!(
                "it is compressed by {name} with a dictionary, which is not in it: compress it again without"
            ),
            io::ErrorKind::OutOfMemory => limit("dictionary", XZ_MEMORY >> 10),
            io::ErrorKind::UnexpectedEof => format!(
                "it is cut: its {name} ends early, after {position} bytes of what it decompresses to"
            ),
            _ => format!(
                "it is damaged: it is no valid {name}, after {position} bytes of what it decompresses to"
            ),
        }
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buf) {
            Ok(read) => {
                self.position += read as u64;
                Ok(read)
            }
            // What the system says is said of the file.
            Err(error)
                if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted =>
            {
                Err(error)
            }
            Err(error) => {
                let kind = match error.kind() {
                    kind @ io::ErrorKind::UnexpectedEof => kind,
                    _ => io::ErrorKind::InvalidData,
                };
                Err(io::Error::new(kind, self.in_words(&error)))
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(mut reader: Box<dyn Read + '_>) -> String {
        let read = io::copy(&mut reader, &mut io::sink());
        read.unwrap_err().to_string()
    }

    #[test]
    fn what_is_cut_or_damaged_is_told() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let compressed = |compression| {
            let mut compressor = Compressor::new(compression, Vec::new()).unwrap();
            compressor.write_all(&content).unwrap();
            compressor.finish().unwrap()
        };
        let xz = b"\xfd7zXZ\x00\x00\x01i\x22\xde6\x02\x00!\x01\x0c\x00\x00\x00\x8f\x98A\x9c\xe0\x00s\x00\x1c]\x009\x9b\xc9\xf2\xe7P\xb8\xc5\xe2]\xa5\xd4\xfb\x90\xd7*\xf6\x18\x14ki<r\x15\xa2\x85\xcd\xc0\x00\xf0\xf8\xc6\x0e\x00\x014t\xf9\xf3\xc4\xcc\x90B\x99\x0d\x01\x00\x00\x00\x00\x01YZ";
        for (name, bytes) in [
            ("gzip", compressed(Compression::Gzip)),
            ("zstd", compressed(Compression::Zstd)),
            ("xz", xz.to_vec()),
        ] {
            let read = |bytes: Vec<u8>| {
                let reader = io::Cursor::new(bytes);
                match name {
                    "gzip" => {
                        failure(decompress(reader, Compression::Gzip, Padding::Refused).unwrap())
                    }
                    "zstd" => {
                        failure(decompress(reader, Compression::Zstd, Padding::Refused).unwrap())
                    }
                    _ => failure(decompress_xz(reader)),
                }
            };
            for length in [8, bytes.len() / 2, bytes.len() - 1] {
                let error = read(bytes[..length].to_vec());
                let told = format!("it is cut: its {name} ends early, after ");
                assert!(error.starts_with(&told), "{length}: {error}");
            }
            // What it has of its content is not checked by all.
            let place = if name == "zstd" { 4 } else { bytes.len() / 2 };
            let mut bytes = bytes;
            bytes[place..place + 12].fill(0xff);
            let error = read(bytes);
            let told = format!("it is damaged: it is no valid {name}, after ");
            assert!(error.starts_with(&told), "{error}");
        }
        // A frame of one byte that needs the dictionary 5 (RFC 8878, 3.1.1.1).
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x21, 5, 1, 9, 0, 0, b'a'];
        let error = failure(decompress(&frame[..], Compression::Zstd, Padding::Refused).unwrap());
        assert!(
            error.contains("a dictionary, which is not in it"),
            "{error}"
        );
    }

    #[test]
    fn what_follows_the_end_of_gzip_is_told() {
        let gzip = |content: &[u8]| {
            let mut compressor = Compressor::new(Compression::Gzip, Vec::new()).unwrap();
            compressor.write_all(content).unwrap();
            compressor.finish().unwrap()
        };
        let read = |behind: &[u8], padding| {
            let bytes = [&gzip(b"one")[..], &gzip(b"two"), behind].concat();
            // Wherever what is read at once ends.
            let reader = BufReader::with_capacity(1, &bytes[..]);
            io::read_to_string(decompress(reader, Compression::Gzip, padding).unwrap())
                .map_err(|error| error.to_string())
        };
        let whole = || Ok("onetwo".to_owned());
        assert_eq!(read(b"", Padding::Refused), whole());
        assert_eq!(read(&[0; 512], Padding::Taken), whole());
        let junk = [&[0; 512][..], b"junk"].concat();
        let member = [&[0; 512][..], &gzip(b"three")].concat();
        for (behind, padding) in [
            (&[0; 512][..], Padding::Refused),
            (b"junk", Padding::Refused),
            (b"junk", Padding::Taken),
            (&junk, Padding::Taken),
            (&member, Padding::Taken),
        ] {
            let error = read(behind, padding).unwrap_err();
            assert!(error.contains("follows the end of its gzip"), "{error}");
        }
    }

    #[test]
    fn what_takes_too_much_memory_is_told() {
        // A frame with a window and one empty block (RFC 8878, 3.1.1).
        let zstd = |window_log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 1, 0, 0];
        let fits = zstd(27);
        let mut fits = decompress(&fits[..], Compression::Zstd, Padding::Refused).unwrap();
        assert_eq!(io::copy(&mut fits, &mut io::sink()).unwrap(), 0);
        let larger = zstd(28);
        let error = failure(decompress(&larger[..], Compression::Zstd, Padding::Refused).unwrap());
        assert!(error.contains("limit of 128 MiB: compress it"), "{error}");

        // The header of a block with one filter, LZMA2 (the .xz file format 1.2, 3.1), and its CRC32.
        let xz = |dictionary: u8| {
            let block = [2, 0, 0x21, 1, dictionary, 0, 0, 0];
            let mut crc = flate2::Crc::new();
            crc.update(&block);
            let begin = *b"\xfd7zXZ\0\0\0\xff\x12\xd9\x41";
            [&begin[..], &block, &crc.sum().to_le_bytes(), &[0; 4]].concat()
        };
        let error = failure(decompress_xz(&xz(34)[..]));
        assert!(error.contains("limit of 100 MiB: compress it"), "{error}");
        let error = failure(decompress_xz(&xz(28)[..]));
        assert!(!error.contains("limit"), "{error}");
    }
}
