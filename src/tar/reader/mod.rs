//! Reads a tar archive entry by entry (POSIX.1-2001 pax, and GNU tar's own format).
//!
//! What the archive says is taken as Go's `archive/tar` takes it, because that is what runs images:
//! a scanner must see what runs. Neither names nor attributes are read into memory without limit.

mod extensions;
mod header;
mod sparse;

pub(super) use extensions::XATTR;
pub(super) use header::is_archive;
pub(crate) use header::{BLOCK, padding};

use std::io::{self, BufRead, Read};

use super::entry::{Content, Device, Entry, MAX_PATH, Metadata, Mtime, TarError, normal};
use extensions::{Extensions, parse_pax, parse_time};
use header::{has_checksum, number, until_nul};
use sparse::Piece;

/// The most that a long name, a pax header or the map of a sparse file may have; Go's limit.
const MAX_SPECIAL: u64 = 1 << 20;

/// An archive that is being read.
pub(crate) struct Archive<R> {
    reader: R,
    /// How much of the current entry's data is still to come.
    left: u64,
    /// How much padding follows the current entry's data.
    padding: u64,
    /// Where the current entry's data belongs in its file.
    pieces: Vec<Piece>,
    ended: bool,
    /// Whether blocks of zeros say where it ends.
    has_end: bool,
}

impl<R: BufRead> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Archive {
            reader,
            left: 0,
            padding: 0,
            pieces: Vec::new(),
            ended: false,
            has_end: false,
        }
    }

    /// What the archive is read from.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    /// Whether the archive says itself that nothing follows what was read: else it may have been cut between two entries.
    pub(crate) fn has_end(&self) -> bool {
        self.has_end
    }

    /// The next entry; none at the archive's end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            self.pieces.clear();
            let Some(header) = self.header()? else {
                self.ended = true;
                if extensions.any {
                    return Err(TarError::Form("it ends after an extended header"));
                }
                return Ok(None);
            };
            let size = number(&header[124..136]).and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or(TarError::Form("a header has no size"))?;
            match header[156] {
                b'L' => extensions.name = Some(until_nul(&self.special(size)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.special(size)?).to_vec()),
                b'x' | b'X' => extensions.pax = parse_pax(&self.special(size)?)?,
                b'g' => {
                    self.special(size)?;
                    extensions = Extensions::default();
                    continue;
                }
                _ => return self.entry(&header, size, &extensions).map(Some),
            }
            extensions.any = true;
        }
    }

    /// Gives the current file's data to `write`, each piece with its offset in the file.
    pub(crate) fn data(
        &mut self,
        mut write: impl FnMut(&[u8], u64) -> io::Result<()>,
    ) -> Result<(), TarError> {
        for Piece { mut offset, length } in std::mem::take(&mut self.pieces) {
            let end = offset + length;
            while offset < end {
                let buffer = self.reader.fill_buf()?;
                if buffer.is_empty() {
                    return Err(TarError::Form("it ends within a file"));
                }
                let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX);
                let count = buffer.len().min(wanted);
                write(&buffer[..count], offset).map_err(TarError::Write)?;
                self.reader.consume(count);
                self.left -= count as u64;
                offset += count as u64;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        size: u64,
        extensions: &Extensions,
    ) -> Result<Entry, TarError> {
        let named = match extensions.pax.get(&b"GNU.sparse.name"[..]) {
            Some(name) => name.clone(),
            None => name(header, extensions),
        };
        let path = normal(&named)?;
        let fault = |problem: &str| TarError::entry(&named, problem);
        let stored = extensions.number("size")?.unwrap_or(size);
        let link = || -> Result<Vec<u8>, TarError> {
            let pax = extensions.pax.get(&b"linkpath"[..]);
            let link = extensions.link.as_ref().or(pax).cloned();
            let link = link.unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
            if link.is_empty() || link.len() > MAX_PATH {
                return Err(fault("is a link with a target that is empty or too long"));
            }
            Ok(link)
        };
        let device = |kind| -> Result<Content, TarError> {
            let part = |field| number(field).and_then(|part| u32::try_from(part).ok());
            let (major, minor) = (part(&header[329..337]), part(&header[337..345]));
            match (major, minor) {
                (Some(major), Some(minor)) => Ok(Content::Device { kind, major, minor }),
                _ => Err(fault("is a device without a number")),
            }
        };
        let content = match header[156] {
            // Before POSIX, a slash at its end made a directory.
            0 if named.ends_with(b"/") => Content::Directory,
            0 | b'0' | b'S' => Content::File {
                size: self.begin_file(header, stored, extensions, &named)?,
            },
            b'1' => Content::HardLink {
                target: normal(&link()?)
                    .map_err(|_| fault("is a hard link to a path with '..' in it"))?,
            },
            b'2' => Content::Symlink { target: link()? },
            b'3' => device(Device::Character)?,
            b'4' => device(Device::Block)?,
            b'5' => Content::Directory,
            b'6' => Content::Fifo,
            other => {
                let problem = format!("has the unknown type {:?}", char::from(other));
                return Err(fault(&problem));
            }
        };
        let mode = number(&header[100..108]).ok_or_else(|| fault("has no mode"))?;
        let mtime = match extensions.pax.get(&b"mtime"[..]) {
            Some(time) => parse_time(time),
            None => number(&header[136..148]).map(|seconds| Mtime {
                seconds,
                nanoseconds: 0,
            }),
        };
        let is_mapped = extensions.pax.contains_key(&b"GNU.sparse.map"[..])
            || extensions.pax.contains_key(&b"GNU.sparse.major"[..]);
        if is_mapped && !matches!(content, Content::File { .. }) {
            return Err(fault("is sparse, but no file"));
        }
        let xattrs = extensions.pax.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(XATTR)?;
            Some((name.to_vec(), value.clone()))
        });
        let metadata = Metadata {
            mode: u32::try_from(mode & 0o7777).expect("it has twelve bits"),
            uid: extensions.id("uid", &header[108..116])?,
            gid: extensions.id("gid", &header[116..124])?,
            user: extensions.owner("uname", header, 265..297),
            group: extensions.owner("gname", header, 297..329),
            mtime: mtime.ok_or_else(|| fault("has no modification time"))?,
            xattrs: xattrs.collect(),
        };
        Ok(Entry {
            path,
            content,
            metadata,
        })
    }

    /// The next header; none at the end, which two blocks of zeros make, or none.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK] {
            self.has_end = true;
            return match self.block()? {
                Some(block) if block != [0; BLOCK] => Err(TarError::Form(
                    "a single block of zeros is followed by more",
                )),
                _ => Ok(None),
            };
        }
        if !has_checksum(&block) {
            return Err(TarError::Form("a header has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut count = 0;
        while count < BLOCK {
            match self.reader.read(&mut block[count..]) {
                Ok(0) if count == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Form("it ends within a block")),
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(block))
    }

    /// Reads the data of an extended header.
    fn special(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_SPECIAL {
            return Err(TarError::Form("an extended header has more than 1 MiB"));
        }
        let mut data = Vec::new();
        (&mut self.reader).take(size).read_to_end(&mut data)?;
        if data.len() as u64 != size {
            return Err(TarError::Form("it ends within an extended header"));
        }
        self.padding = padding(size);
        Ok(data)
    }

    fn skip(&mut self, mut count: u64) -> Result<(), TarError> {
        while count > 0 {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Err(TarError::Form("it ends within a file"));
            }
            let step = buffer
                .len()
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            self.reader.consume(step);
            count -= step as u64;
        }
        Ok(())
    }
}

fn name(header: &[u8; BLOCK], extensions: &Extensions) -> Vec<u8> {
    let pax = extensions.pax.get(&b"path"[..]);
    if let Some(name) = extensions.name.as_ref().or(pax) {
        return name.clone();
    }
    let name = until_nul(&header[..100]);
    // Go before 1.8 wrote a prefix where GNU tar has times.
    let is_time = |field: &[u8]| field[0] == 0 || number(field).is_some();
    let has_prefix = match &header[257..263] {
        b"ustar\0" => true,
        b"ustar " => !is_time(&header[345..357]) || !is_time(&header[357..369]),
        _ => false,
    };
    let prefix = until_nul(&header[345..500]);
    if has_prefix && !prefix.is_empty() {
        [prefix, b"/", name].concat()
    } else {
        name.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with a name and a type, otherwise empty.
    fn header(name: &[u8], kind: u8, size: usize) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size as u64);
        header.set_mode(0o640);
        header.set_mtime(7);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn with_data(name: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = [&header(name, kind, data.len()), data].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (rest..rest + 9).find(|length| rest + length.to_string().len() == *length);
        let head = format!("{} {key}=", length.unwrap());
        [head.as_bytes(), value, b"\n"].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
        let mut archive = Archive::new(bytes);
        let mut entries = Vec::new();
        while let Some(entry) = archive.next()? {
            let mut data = Vec::new();
            archive.data(|bytes, offset| {
                data.resize(usize::try_from(offset).unwrap(), b'.');
                data.extend_from_slice(bytes);
                Ok(())
            })?;
            entries.push((entry, data));
        }
        Ok(entries)
    }

    fn error(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn an_attribute_may_hold_anything() {
        let capability = b"\x01\n\n12 path=evil\n\x00";
        let pax = [
            record("SCHILY.xattr.security.capability", capability),
            record("path", b"a/long/name"),
            record("mtime", b"-1.25"),
            record("uid", b"4000000000"),
        ];
        let bytes = [
            with_data(b"x", b'x', &pax.concat()),
            with_data(b"short", b'0', b"content"),
        ];
        let entries = read(&bytes.concat()).unwrap();
        let (entry, data) = &entries[0];
        assert_eq!(entry.path, b"a/long/name");
        assert_eq!(data, b"content");
        let metadata = &entry.metadata;
        assert_eq!(
            metadata.xattrs[&b"security.capability"[..]],
            capability.to_vec()
        );
        assert_eq!((metadata.mode, metadata.uid), (0o640, 4_000_000_000));
        let mtime = Mtime {
            seconds: -2,
            nanoseconds: 750_000_000,
        };
        assert_eq!(metadata.mtime, mtime);
    }

    #[test]
    fn numbers_and_sparse_files_are_as_in_go() {
        let with = |records: &[Vec<u8>], kind| {
            let pax = with_data(b"x", b'x', &records.concat());
            [pax, with_data(b"f", kind, b"")].concat()
        };
        let nobody = with(&[record("uid", b"-2")], b'0');
        assert_eq!(read(&nobody).unwrap()[0].0.metadata.uid, 4_294_967_294);
        let version = [
            record("GNU.sparse.major", b"1"),
            record("GNU.sparse.minor", b"0"),
        ];
        assert!(error(&with(&version, b'5')).contains("sparse, but no file"));
        assert!(error(&with_data(b"f", b'7', b"")).contains("unknown type '7'"));
    }

    #[test]
    fn a_link_has_no_data_whatever_its_size() {
        let mut link = tar::Header::new_ustar();
        link.as_old_mut().linkname[..1].copy_from_slice(b"f");
        link.as_old_mut().name[..1].copy_from_slice(b"l");
        link.set_entry_type(tar::EntryType::hard_link());
        link.set_size(1000);
        link.set_mode(0);
        link.set_mtime(0);
        link.set_cksum();
        let bytes = [link.as_bytes().to_vec(), with_data(b"f", b'0', b"x")];
        let entries = read(&bytes.concat()).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].0.path, b"f");
    }

    #[test]
    fn names_stay_inside() {
        let path = |name: &[u8]| read(&header(name, b'5', 0)).map(|all| all[0].0.path.clone());
        assert_eq!(path(b"/./etc//x/").unwrap(), b"etc/x");
        assert_eq!(path(b"./").unwrap(), b"");
        assert_eq!(path(b"caf\xe9").unwrap(), b"caf\xe9");
        for bad in [&b"../x"[..], b"a/../../x", b"/..", b""] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
        let nul = with_data(b"x", b'x', &record("path", b"a\0b"));
        assert!(error(&[nul, header(b"f", b'0', 0)].concat()).contains("NUL"));
    }

    #[test]
    fn sparse_files_of_both_formats() {
        let mut old = tar::Header::new_gnu();
        old.as_old_mut().name[..3].copy_from_slice(b"old");
        old.set_entry_type(tar::EntryType::GNUSparse);
        old.set_size(3);
        old.set_mode(0);
        old.set_mtime(0);
        let gnu = old.as_gnu_mut().unwrap();
        gnu.sparse[0].set_offset(5);
        gnu.sparse[0].set_length(3);
        gnu.set_real_size(10);
        old.set_cksum();
        let mut data = b"abc".to_vec();
        data.resize(BLOCK, 0);
        let old = [&old.as_bytes()[..], &data].concat();

        let pax = [
            record("GNU.sparse.major", b"1"),
            record("GNU.sparse.minor", b"0"),
            record("GNU.sparse.name", b"new"),
            record("GNU.sparse.realsize", b"10"),
        ];
        let mut map = b"1\n5\n3\n".to_vec();
        map.resize(BLOCK, 0);
        map.extend_from_slice(b"abc");
        let new = [
            with_data(b"x", b'x', &pax.concat()),
            with_data(b"GNUSparseFile.0/new", b'0', &map),
            with_data(b"after", b'0', b"y"),
        ];
        let entries = read(&[old, new.concat()].concat()).unwrap();
        for (number, name) in ["old", "new"].into_iter().enumerate() {
            let (entry, data) = &entries[number];
            assert_eq!(entry.path, name.as_bytes());
            assert_eq!(entry.content, Content::File { size: 10 });
            assert_eq!(data, b".....abc");
        }
        assert_eq!(entries[2].1, b"y");

        let of_0_1 = [record("GNU.sparse.map", b"5,3")];
        let of_0_0 = [
            record("GNU.sparse.offset", b"5"),
            record("GNU.sparse.numbytes", b"3"),
        ];
        for map in [&of_0_1[..], &of_0_0] {
            let rest = [
                record("GNU.sparse.size", b"10"),
                record("GNU.sparse.numblocks", b"1"),
            ];
            let pax = [map.concat(), rest.concat()].concat();
            let file = [with_data(b"x", b'x', &pax), with_data(b"f", b'0', b"abc")];
            let entries = read(&file.concat()).unwrap();
            assert_eq!(entries[0].0.content, Content::File { size: 10 });
            assert_eq!(entries[0].1, b".....abc");
        }
        let unknown = [
            record("GNU.sparse.major", b"2"),
            record("GNU.sparse.minor", b"0"),
        ];
        let unknown = [
            with_data(b"x", b'x', &unknown.concat()),
            with_data(b"f", b'0', b"abc"),
        ];
        assert!(error(&unknown.concat()).contains("not known"));
    }

    #[test]
    fn refuses_what_is_no_archive() {
        let file = with_data(b"f", b'0', b"x");
        assert_eq!(read(b"").unwrap(), []);
        assert!(error(b"text").contains("ends within a block"));
        assert!(error(&[b'x'; BLOCK]).contains("checksum"));
        assert!(error(&file[..BLOCK]).contains("ends within a file"));
        let hidden = [&[0; BLOCK][..], &file].concat();
        assert!(error(&hidden).contains("single block of zeros"));
        assert!(error(&with_data(b"f", b'V', b"")).contains("unknown type 'V'"));
        assert!(error(&header(b"f", b'L', 1 << 21)).contains("more than 1 MiB"));
        for bad in [&b"5 a=b"[..], b"99 a=b\n", b"6 a=b\n6 c\n"] {
            let bytes = [with_data(b"x", b'x', bad), file.clone()].concat();
            assert!(error(&bytes).contains("pax"), "{bad:?}");
        }
    }
}
