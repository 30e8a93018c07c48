//! What an archive holds, as a list that people read and programs compare (mtree(5)).

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::copy_data;
use super::entry::{Content, Device, Entry, MAX_MEMORY, Metadata, Mtime, TarError};
use super::reader::Archive;
use crate::io::drain;
use crate::oci::digest::{Algorithm, HashingWriter};

/// Writes a line for each entry of an archive, in the archive's order. mtree(5) has no word for extended attributes:
/// they are said as go-mtree says and reads them, `xattr.NAME` with the value in base64. libarchive warns of them.
pub(crate) fn list(mut reader: impl BufRead, writer: &mut impl Write) -> Result<(), TarError> {
    let mut archive = Archive::new(&mut reader);
    let mut list = List::default();
    while let Some(entry) = archive.next()? {
        let digest = match entry.content {
            Content::File { size } => {
                let mut hashing = HashingWriter::new(Algorithm::Sha256, io::sink());
                copy_data(&mut archive, size, &mut hashing)?;
                format!(" sha256digest={}", hashing.finish().digest.hex())
            }
            _ => String::new(),
        };
        list.add(entry, digest)?;
    }
    // The checksum of a compressed archive is behind its entries.
    drain(reader)?;
    list.write(writer).map_err(TarError::Write)
}

/// The lines, until it is known of what there are several names.
#[derive(Default)]
struct List {
    lines: Vec<Line>,
    inodes: Vec<Inode>,
    /// What each path is a name of; of several entries the last.
    names: HashMap<Vec<u8>, usize>,
    memory: u64,
}

struct Line {
    path: String,
    inode: usize,
    metadata: String,
}

/// What has one name or more.
struct Inode {
    kind: String,
    digest: String,
    names: usize,
    /// What it is called in hard links, if no entry before these is it: mtree(5) has no word for that.
    elsewhere: Option<String>,
}

impl List {
    fn add(&mut self, entry: Entry, digest: String) -> Result<(), TarError> {
        self.memory += entry.memory();
        if self.memory > MAX_MEMORY {
            return Err(TarError::TooMuch);
        }
        let target = match &entry.content {
            Content::HardLink { target } => Some(target.clone()),
            _ => None,
        };
        let known = target.as_ref().and_then(|target| self.names.get(target));
        let inode = known.copied().unwrap_or_else(|| {
            self.inodes.push(Inode {
                kind: kind(&entry.content),
                digest,
                names: 0,
                elsewhere: target.as_deref().map(path),
            });
            self.inodes.len() - 1
        });
        self.lines.push(Line {
            path: path(&entry.path),
            inode,
            metadata: metadata(&entry.metadata),
        });
        self.names.extend(target.map(|target| (target, inode)));
        // An archive may link a file to itself.
        if self.names.insert(entry.path, inode) != Some(inode) {
            self.inodes[inode].names += 1;
        }
        Ok(())
    }

    /// Names of one file have the same number, by which other programs know them.
    fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(b"#mtree\n")?;
        let mut numbers = HashMap::new();
        for line in &self.lines {
            let Line {
                path,
                inode: at,
                metadata,
            } = line;
            let Inode {
                kind,
                digest,
                names,
                elsewhere,
            } = &self.inodes[*at];
            if let Some(target) = elsewhere {
                writeln!(
                    writer,
                    "# {path} is a hard link to {target}, which no entry before it is"
                )?;
            }
            write!(writer, "{path} {kind}")?;
            if *names > 1 {
                let next = numbers.len() + 1;
                let number = numbers.entry(at).or_insert(next);
                write!(writer, " nlink={names} inode={number}")?;
            }
            writeln!(writer, " {metadata}{digest}")?;
        }
        Ok(())
    }
}

fn path(path: &[u8]) -> String {
    if path.is_empty() {
        ".".to_owned()
    } else {
        format!("./{}", visible(path))
    }
}

fn kind(content: &Content) -> String {
    match content {
        Content::File { size } => format!("type=file size={size}"),
        Content::Directory => "type=dir".to_owned(),
        Content::Symlink { target } => format!("type=link link={}", visible(target)),
        Content::HardLink { .. } => "type=file".to_owned(),
        Content::Device { kind, major, minor } => {
            let kind = match kind {
                Device::Character => "char",
                Device::Block => "block",
            };
            format!("type={kind} device=native,{major},{minor}")
        }
        Content::Fifo => "type=fifo".to_owned(),
    }
}

fn metadata(metadata: &Metadata) -> String {
    let Metadata { mode, uid, gid, .. } = metadata;
    let mut words = vec![
        format!("mode={mode:04o}"),
        format!("uid={uid}"),
        format!("gid={gid}"),
    ];
    for (word, name) in [("uname", &metadata.user), ("gname", &metadata.group)] {
        if !name.is_empty() {
            words.push(format!("{word}={}", visible(name)));
        }
    }
    let Mtime {
        seconds,
        nanoseconds,
    } = metadata.mtime;
    words.push(format!("time={seconds}.{nanoseconds:09}"));
    for (name, value) in &metadata.xattrs {
        words.push(format!(
            "xattr.{}={}",
            visible(name),
            STANDARD.encode(value)
        ));
    }
    words.join(" ")
}

/// A text with all but the plainest characters in octal, as vis(3) writes it.
fn visible(text: &[u8]) -> String {
    let characters = text.iter().map(|byte| {
        if byte.is_ascii_graphic() && !b"#\\=*?[".contains(byte) {
            char::from(*byte).to_string()
        } else {
            format!("\\{byte:03o}")
        }
    });
    characters.collect()
}
