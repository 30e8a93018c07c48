//! What an archive holds, as a list that people read and programs compare (mtree(5)).

use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::copy_data;
use super::entry::{Content, Device, Entry, Mtime, TarError};
use super::reader::Archive;
use crate::io::drain;
use crate::oci::digest::{Algorithm, HashingWriter};

/// Writes a line for each entry of an archive, in the archive's order. What mtree(5) has no word for is said as other
/// programs say it: `sha256digest` and `hardlink`, and `xattr.NAME` with the value in base64.
pub(crate) fn list(mut reader: impl BufRead, writer: &mut impl Write) -> Result<(), TarError> {
    let mut archive = Archive::new(&mut reader);
    writer.write_all(b"#mtree\n").map_err(TarError::Write)?;
    while let Some(entry) = archive.next()? {
        let mut line = words(&entry);
        if let Content::File { size } = entry.content {
            let mut hashing = HashingWriter::new(Algorithm::Sha256, io::sink());
            copy_data(&mut archive, size, &mut hashing)?;
            line.push(format!("sha256digest={}", hashing.finish().digest.hex()));
        }
        writeln!(writer, "{}", line.join(" ")).map_err(TarError::Write)?;
    }
    // The checksum of a compressed archive is behind its entries.
    Ok(drain(reader)?)
}

fn words(entry: &Entry) -> Vec<String> {
    let mut words = vec![if entry.path.is_empty() {
        ".".to_owned()
    } else {
        format!("./{}", visible(&entry.path))
    }];
    match &entry.content {
        Content::File { size } => words.extend(["type=file".to_owned(), format!("size={size}")]),
        Content::Directory => words.push("type=dir".to_owned()),
        Content::Symlink { target } => {
            words.extend(["type=link".to_owned(), format!("link={}", visible(target))]);
        }
        Content::HardLink { target } => {
            words.push("type=file".to_owned());
            // What it says beside is given to the file, all of whose names have it.
            words.push(format!("hardlink=./{}", visible(target)));
        }
        Content::Device { kind, major, minor } => {
            let kind = match kind {
                Device::Character => "char",
                Device::Block => "block",
            };
            words.extend([
                format!("type={kind}"),
                format!("device=native,{major},{minor}"),
            ]);
        }
        Content::Fifo => words.push("type=fifo".to_owned()),
    }
    let metadata = &entry.metadata;
    words.push(format!("mode={:04o}", metadata.mode));
    words.push(format!("uid={}", metadata.uid));
    words.push(format!("gid={}", metadata.gid));
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
    words
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
