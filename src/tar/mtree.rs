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

/// Writes a line for each entry of an archive, in the archive's order. What mtree(5) has no word for is said as other
/// programs say it: `sha256digest`, and `xattr.NAME` with the value in base64.
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
    /// The target of a hard link that leads out of the archive, which mtree(5) has no word for.
    elsewhere: Option<String>,
}

/// What has one name or more.
struct Inode {
    kind: String,
    digest: String,
    names: usize,
}

impl List {
    fn add(&mut self, entry: Entry, digest: String) -> Result<(), TarError> {
        self.memory += entry.memory();
        if self.memory > MAX_MEMORY {
            return Err(TarError::TooMuch);
        }
        let (known, elsewhere) = match &entry.content {
            Content::HardLink { target } => match self.names.get(target) {
                Some(&inode) => (Some(inode), None),
                None => (None, Some(path(target))),
            },
            _ => (None, None),
        };
        let inode = known.unwrap_or_else(|| {
            self.inodes.push(Inode {
                kind: kind(&entry.content),
                digest,
                names: 0,
            });
            self.inodes.len() - 1
        });
        self.inodes[inode].names += 1;
        self.lines.push(Line {
            path: path(&entry.path),
            inode,
            metadata: metadata(&entry.metadata),
            elsewhere,
        });
        self.names.insert(entry.path, inode);
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
                elsewhere,
            } = line;
            if let Some(target) = elsewhere {
                writeln!(
                    writer,
                    "# {path} is a hard link to {target} of a layer below"
                )?;
            }
            let Inode {
                kind,
                digest,
                names,
            } = &self.inodes[*at];
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
