//! Writes entries of archives: in GNU tar's format, with a pax header for what that has no place for.

use std::io::{self, BufRead, Write};

use ::tar::{EntryType, Header};

use super::entry::{Content, Device, Entry, Metadata, Mtime, TarError};
use super::reader::{Archive, BLOCK, XATTR, padding};

/// The longest name of a user or a group that a header has room for.
const MAX_NAME: usize = 32;

/// The header of an entry and the extended ones before it.
pub(crate) fn headers(entry: &Entry) -> Vec<u8> {
    let metadata = &entry.metadata;
    let mut name = entry.path.clone();
    let mut header = Header::new_gnu();
    let mut link: &[u8] = b"";
    header.set_size(0);
    let kind = match &entry.content {
        Content::Directory => {
            // The root has the name "./".
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
            EntryType::Directory
        }
        Content::HardLink { target } => {
            link = target;
            EntryType::Link
        }
        Content::File { size } => {
            header.set_size(*size);
            EntryType::Regular
        }
        Content::Symlink { target } => {
            link = target;
            EntryType::Symlink
        }
        Content::Device { kind, major, minor } => {
            let gnu = header.as_gnu_mut().expect("it is one");
            gnu.set_device_major(*major);
            gnu.set_device_minor(*minor);
            match kind {
                Device::Character => EntryType::Char,
                Device::Block => EntryType::Block,
            }
        }
        Content::Fifo => EntryType::Fifo,
    };
    header.set_entry_type(kind);
    let mut bytes = Vec::with_capacity(BLOCK);
    // A hard link has those of what it is another name of: containerd gives it its owner anew, which takes capabilities away.
    extend(&mut bytes, EntryType::XHeader, &pax(metadata));
    let old = header.as_old_mut();
    for (text, field, kind) in [
        (&name[..], &mut old.name, EntryType::GNULongName),
        (link, &mut old.linkname, EntryType::GNULongLink),
    ] {
        if text.len() > field.len() {
            extend(&mut bytes, kind, &[text, b"\0"].concat());
        }
        let count = text.len().min(field.len());
        field[..count].copy_from_slice(&text[..count]);
    }
    let gnu = header.as_gnu_mut().expect("it is one");
    for (name, field) in [
        (&metadata.user, &mut gnu.uname),
        (&metadata.group, &mut gnu.gname),
    ] {
        if name.len() <= MAX_NAME {
            field[..name.len()].copy_from_slice(name);
        }
    }
    header.set_mode(metadata.mode);
    header.set_uid(metadata.uid.into());
    header.set_gid(metadata.gid.into());
    set_mtime(&mut header, metadata.mtime);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// Copies the data of the entry that an archive is at, a file of `size` bytes, with zeros for its holes and no padding.
pub(crate) fn copy_data(
    archive: &mut Archive<impl BufRead>,
    size: u64,
    writer: &mut (impl Write + ?Sized),
) -> Result<(), TarError> {
    let mut at = 0;
    archive.data(|bytes, offset| {
        write_zeros(writer, offset - at)?;
        at = offset + bytes.len() as u64;
        writer.write_all(bytes)
    })?;
    write_zeros(writer, size - at).map_err(TarError::Write)
}

/// Ends an archive: two blocks of zeros.
pub(crate) fn write_end(writer: &mut impl Write) -> io::Result<()> {
    write_zeros(writer, 2 * BLOCK as u64)
}

/// Fills the last block of `size` bytes of data.
pub(crate) fn write_padding(writer: &mut impl Write, size: u64) -> io::Result<()> {
    write_zeros(writer, padding(size))
}

fn write_zeros(writer: &mut (impl Write + ?Sized), count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), writer).map(drop)
}

/// Adds an extended header, if there is something to say in it.
fn extend(bytes: &mut Vec<u8>, kind: EntryType, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let mut header = Header::new_gnu();
    let name: &[u8] = match kind {
        EntryType::XHeader => b"././@PaxHeader",
        _ => b"././@LongLink",
    };
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// What of the attributes does not go into the header, as records of a pax header.
fn pax(metadata: &Metadata) -> Vec<u8> {
    let mut records = Vec::new();
    let Mtime {
        seconds,
        nanoseconds,
    } = metadata.mtime;
    if nanoseconds > 0 {
        let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        let sign = if total < 0 { "-" } else { "" };
        let (whole, fraction) = (total.abs() / 1_000_000_000, total.abs() % 1_000_000_000);
        let text = format!("{sign}{whole}.{fraction:09}");
        record(
            &mut records,
            b"mtime",
            text.trim_end_matches('0').as_bytes(),
        );
    }
    for (key, name) in [(b"uname", &metadata.user), (b"gname", &metadata.group)] {
        if name.len() > MAX_NAME {
            record(&mut records, key, name);
        }
    }
    for (name, value) in &metadata.xattrs {
        record(&mut records, &[XATTR, &name[..]].concat(), value);
    }
    records
}

/// Adds `LENGTH KEY=VALUE\n`, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |number: usize| number.to_string().len();
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    records.extend_from_slice(format!("{length} ").as_bytes());
    for part in [key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

/// Sets the seconds; those before 1970, and those that take more than eleven digits, in binary.
fn set_mtime(header: &mut Header, time: Mtime) {
    if let Ok(seconds) = u64::try_from(time.seconds) {
        header.set_mtime(seconds);
    } else {
        let field = &mut header.as_old_mut().mtime;
        field.fill(0xff);
        field[4..].copy_from_slice(&time.seconds.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(entry: &Entry) -> Entry {
        Archive::new(headers(entry).as_slice())
            .next()
            .unwrap()
            .unwrap()
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let long = vec![b'n'; 200];
        let metadata = Metadata {
            mode: 0o4755,
            uid: 4_000_000_000,
            gid: 7,
            user: b"www-data".to_vec(),
            group: vec![b'g'; 40],
            mtime: Mtime {
                seconds: -2,
                nanoseconds: 750_000_000,
            },
            xattrs: [(b"user.x".to_vec(), b"a\nb\0".to_vec())].into(),
        };
        for content in [
            Content::Symlink {
                target: b"..//a/./b/".to_vec(),
            },
            Content::Symlink {
                target: vec![b't'; 300],
            },
            Content::Device {
                kind: Device::Block,
                major: 8,
                minor: 70_000,
            },
        ] {
            let entry = Entry {
                path: long.clone(),
                content,
                metadata: metadata.clone(),
            };
            assert_eq!(read_back(&entry), entry);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 5, 6, 90, 91, 92, 93, 94, 95, 984, 985, 986, 987, 988] {
            let mut records = Vec::new();
            record(&mut records, b"key", &vec![b'x'; length]);
            let said: usize = String::from_utf8_lossy(&records)
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(said, records.len(), "{length}");
        }
    }
}
