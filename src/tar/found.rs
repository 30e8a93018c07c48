//! Archives as people have them: plain, compressed, or the files of a Debian package (deb(5)).

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::files::open_regular;
use crate::oci::descriptor::Compression;

use super::compression::{Padding, decompress, decompress_xz, open};
use super::reader::{Archive, BLOCK, is_archive};

/// What files are read through.
const BUFFER: usize = 256 * 1024;
const AR_MAGIC: &[u8] = b"!<arch>\n";
const AR_HEADER: usize = 60;
/// How the first block in bzip2 begins, and the end where there is none.
const BZIP2_BLOCKS: [&[u8]; 2] = [b"1AY&SY", b"\x17rE8P\x90"];

/// What follows the name of an archive in a Debian package that is read.
const ENDINGS: [&str; 4] = ["", ".gz", ".xz", ".zst"];

/// How a frame of zstd begins that is not to be skipped.
const ZSTD_FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As a layer may be.
    Layer(Compression),
    /// By xz.
    Xz,
    /// In a Debian package, which is an archive of `ar` and has it as `data.tar`.
    Debian,
}

impl Packing {
    /// How what begins with these bytes is packed, if that can be read.
    pub(crate) fn of(head: &[u8]) -> io::Result<Self> {
        Ok(match head {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            [b'B', b'Z', b'h', ..] => return Err(invalid("it is compressed by bzip2")),
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(invalid("it is compressed by lz4")),
            [b'P', b'K', 3, 4, ..] => return Err(invalid("it is a zip file")),
            _ if head.starts_with(AR_MAGIC) => Packing::Debian,
            _ => Packing::Layer(Compression::of(head)),
        })
    }
}

/// Reads the archive that `reader` has, unpacked.
pub(crate) fn open_archive<'a>(reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    open_padded(reader, Padding::Refused)
}

fn open_padded<'a>(
    mut reader: impl BufRead + 'a,
    padding: Padding,
) -> io::Result<Box<dyn Read + 'a>> {
    let head = reader.fill_buf()?;
    match Packing::of(head)? {
        Packing::Layer(compression) => open(reader, compression, padding),
        Packing::Xz => Ok(decompress_xz(reader)),
        Packing::Debian => {
            let data = debian_member(reader, "data.tar")?;
            open_padded(BufReader::new(data), padding)
        }
    }
}

/// Opens the archive in which the Debian package in a file tells of itself, unpacked.
pub(crate) fn open_control(path: &Path) -> io::Result<BufReader<Box<dyn Read>>> {
    let file = BufReader::new(open_regular(path)?);
    let control = BufReader::new(debian_member(file, "control.tar")?);
    Ok(BufReader::new(open_padded(control, Padding::Refused)?))
}

/// Opens the archive in a file, unpacked. It is no layer.
pub(crate) fn open_archive_file(path: &Path) -> io::Result<BufReader<Box<dyn Read>>> {
    let file = BufReader::with_capacity(BUFFER, open_regular(path)?);
    Ok(BufReader::with_capacity(
        BUFFER,
        open_padded(file, Padding::Taken)?,
    ))
}

/// Whether a file holds anything to podman, which unpacks it as a layer; none if it can unpack no such file.
pub(crate) fn holds_layer(path: &Path) -> Option<bool> {
    let file = BufReader::with_capacity(BUFFER, open_regular(path).ok()?);
    match head_of_layer(file) {
        Ok(head) if is_archive(&head) => Some(true),
        Ok(head) => Archive::new(&*head).next().is_ok().then_some(false),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        // What cannot be read here for another reason, such as how much memory it takes, podman may read.
        Err(_) => Some(true),
    }
}

/// How an archive begins, or what ends it where it is empty.
fn head_of_layer(mut file: impl BufRead) -> io::Result<Vec<u8>> {
    let head = file.fill_buf()?;
    if let [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] = head
        && BZIP2_BLOCKS.iter().any(|magic| block.starts_with(magic))
    {
        return Err(invalid("it is compressed by bzip2"));
    }
    let archive: Box<dyn Read> = match Packing::of(head) {
        // podman knows no zstd that begins with a frame to be skipped.
        Ok(Packing::Layer(Compression::Zstd)) if !head.starts_with(&ZSTD_FRAME) => Box::new(file),
        Ok(Packing::Layer(compression)) => decompress(file, compression, Padding::Refused)?,
        Ok(Packing::Xz) => decompress_xz(file),
        Ok(Packing::Debian) | Err(_) => Box::new(file),
    };
    let mut head = Vec::new();
    archive.take(2 * BLOCK as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// An archive in a Debian package, by its name without what tells the compression: its bytes do that.
fn debian_member<'a>(
    mut reader: impl BufRead + 'a,
    archive: &str,
) -> io::Result<Box<dyn Read + 'a>> {
    reader.read_exact(&mut [0; AR_MAGIC.len()])?;
    loop {
        let mut header = [0; AR_HEADER];
        reader.read_exact(&mut header).map_err(|_| {
            invalid(&format!(
                "it is an archive of ar without {archive}, so no Debian package"
            ))
        })?;
        let size = str::from_utf8(&header[48..58]).ok();
        let size: Option<u64> = size.and_then(|size| size.trim_end().parse().ok());
        let (Some(size), b"`\n") = (size, &header[58..]) else {
            return Err(invalid("it is no whole archive of ar"));
        };
        let name = String::from_utf8_lossy(&header[..16]);
        let name = name.trim_end().trim_end_matches('/');
        if let Some(ending) = name.strip_prefix(archive) {
            if !ENDINGS.contains(&ending) {
                return Err(invalid(&format!(
                    "its {name} has a compression that is not read: pack it by gzip, xz or zstd"
                )));
            }
            // What is in it is an archive, and no package again.
            let mut member = BufReader::new(reader.take(size));
            if member.fill_buf()?.starts_with(AR_MAGIC) {
                return Err(invalid(&format!("its {archive} is no tar archive")));
            }
            return Ok(Box::new(member));
        }
        let rest = size + size % 2;
        if io::copy(&mut (&mut reader).take(rest), &mut io::sink())? != rest {
            return Err(invalid("it is no whole archive of ar"));
        }
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
