//! Writes a root file system as a tar archive.
//!
//! The sizes of all files are known, hence the place of each in the archive. So headers are written
//! first, and contents as they come out of the layers.

use std::path::Path;

use ::tar::{EntryType, Header};

use crate::files::{WholeFile, io_failed};
use crate::io::write_all_at;

use super::{InodeKind, Item, Rootfs, RootfsError, Thing, by_layer, each};
use crate::tar::{BLOCK, Device, Metadata, Time, padding};

/// A directory that no layer has an entry of.
const IMPLIED: u32 = 0o755;

pub(super) fn write(rootfs: &Rootfs, output: &Path) -> Result<(), RootfsError> {
    // An archive that lacks contents must not be taken for a whole one.
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    let file = whole.file();

    let items = rootfs.tree.items();
    let mut end = 0;
    let mut wanted = Vec::new();
    for item in &items {
        // The root is not something that an archive must have.
        if item.path.is_empty() && matches!(item.thing, Thing::Directory(None)) {
            continue;
        }
        let headers = headers(item, &items);
        io_failed("write", output, write_all_at(file, &headers, end))?;
        end += headers.len() as u64;
        if let Thing::Inode(inode) = item.thing
            && let InodeKind::File { size, source } = inode.kind
            && size > 0
        {
            wanted.push((source, end));
            end += size + padding(size);
        }
    }
    // Two blocks of zeros are the end.
    io_failed("write", output, file.set_len(end + 2 * BLOCK as u64))?;
    let wanted = by_layer(&rootfs.layers, wanted.into_iter());
    each(&rootfs.layers, |number, layer| {
        layer.contents(&wanted[number], |start, archive| {
            archive.data(|bytes, offset| write_all_at(file, bytes, start + offset))
        })
    })?;
    Ok(io_failed("write", output, whole.finish())?)
}

/// The header of an entry and the extended ones before it.
fn headers(item: &Item<'_>, items: &[Item<'_>]) -> Vec<u8> {
    let implied = Metadata {
        mode: IMPLIED,
        ..Metadata::default()
    };
    let mut name = item.path.clone();
    let mut header = Header::new_gnu();
    let mut link: &[u8] = b"";
    header.set_size(0);
    let metadata = match &item.thing {
        Thing::Directory(metadata) => {
            // The root has the name "./".
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
            header.set_entry_type(EntryType::Directory);
            metadata.unwrap_or(&implied)
        }
        Thing::HardLink(inode, first) => {
            header.set_entry_type(EntryType::Link);
            link = &items[*first].path;
            &inode.metadata
        }
        Thing::Inode(inode) => {
            match &inode.kind {
                InodeKind::File { size, .. } => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(*size);
                }
                InodeKind::Symlink { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    link = target;
                }
                InodeKind::Device { kind, major, minor } => {
                    header.set_entry_type(match kind {
                        Device::Character => EntryType::Char,
                        Device::Block => EntryType::Block,
                    });
                    let gnu = header.as_gnu_mut().expect("it is one");
                    gnu.set_device_major(*major);
                    gnu.set_device_minor(*minor);
                }
                InodeKind::Fifo => header.set_entry_type(EntryType::Fifo),
            }
            &inode.metadata
        }
    };
    let mut bytes = Vec::with_capacity(BLOCK);
    // A hard link has the attributes of what it is another name of.
    let is_link = matches!(item.thing, Thing::HardLink(..));
    let pax = if is_link { Vec::new() } else { pax(metadata) };
    extend(&mut bytes, EntryType::XHeader, &pax);
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
    header.set_mode(metadata.mode);
    header.set_uid(metadata.uid.into());
    header.set_gid(metadata.gid.into());
    set_mtime(&mut header, metadata.mtime);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes
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
    let Time {
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
    for (name, value) in &metadata.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
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
fn set_mtime(header: &mut Header, time: Time) {
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
    use super::super::tree::Inode;
    use super::*;
    use crate::tar::{Archive, Content, Entry};

    fn read_back(item: &Item<'_>, items: &[Item<'_>]) -> Entry {
        let bytes = headers(item, items);
        Archive::new(bytes.as_slice()).next().unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let long = vec![b'n'; 200];
        let metadata = Metadata {
            mode: 0o4755,
            uid: 4_000_000_000,
            gid: 7,
            mtime: Time {
                seconds: -2,
                nanoseconds: 750_000_000,
            },
            xattrs: [(b"user.x".to_vec(), b"a\nb\0".to_vec())].into(),
        };
        let inode = |kind| Inode {
            kind,
            metadata: metadata.clone(),
        };
        let link = inode(InodeKind::Symlink {
            target: b"..//a/./b/".to_vec(),
        });
        let far = inode(InodeKind::Symlink {
            target: vec![b't'; 300],
        });
        let device = inode(InodeKind::Device {
            kind: Device::Block,
            major: 8,
            minor: 70_000,
        });
        for (inode, content) in [
            (
                &link,
                Content::Symlink {
                    target: b"..//a/./b/".to_vec(),
                },
            ),
            (
                &far,
                Content::Symlink {
                    target: vec![b't'; 300],
                },
            ),
            (
                &device,
                Content::Device {
                    kind: Device::Block,
                    major: 8,
                    minor: 70_000,
                },
            ),
        ] {
            let thing = Thing::Inode(inode);
            let path = long.clone();
            let entry = read_back(&Item { path, thing }, &[]);
            assert_eq!(entry.path, long);
            assert_eq!(entry.content, content);
            assert_eq!(entry.metadata, metadata);
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
