//! Reads a tar archive entry by entry (POSIX.1-2001 pax, and GNU tar's own format).
//!
//! What the archive says is taken as Go's `archive/tar` takes it, because that is what runs images:
//! a scanner must see what runs. Neither names nor attributes are read into memory without limit.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::ops::Range;

/// The most memory that the names, links and attributes of an image's files may take, more or less.
pub(crate) const MAX_MEMORY: u64 = 512 << 20;
/// The size of a header, and what all data is padded to.
pub(crate) const BLOCK: usize = 512;
/// The most that a long name, a pax header or the map of a sparse file may have; Go's limit.
const MAX_SPECIAL: u64 = 1 << 20;
/// What the records of a pax header begin with that are extended attributes.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";
/// The most that the holes of a sparse file may have: whoever reads it reads zeros for them.
const MAX_HOLES: u64 = 64 << 30;
/// What is kept of an entry beside its name, its target and its attributes, more or less.
const ENTRY_MEMORY: usize = 300;
/// The longest path that Linux takes, without the NUL at its end.
pub(crate) const MAX_PATH: usize = 4095;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read or decompressed.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// What is made of it cannot be written.
    #[error("what it holds cannot be written")]
    Write(#[source] io::Error),
    /// There is too much of it.
    #[error("the names and attributes of the image's files take more than {} MiB, or links make too much of them", MAX_MEMORY >> 20)]
    TooMuch,
    /// It is not a tar archive, or not all of one.
    #[error("it is not a whole tar archive: {0}")]
    Form(&'static str),
    /// An entry that cannot be used.
    #[error("its entry {path:?} {problem}")]
    Entry {
        /// The entry's path, as far as it can be shown.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl TarError {
    pub(crate) fn entry(path: &[u8], problem: impl Into<String>) -> Self {
        TarError::Entry {
            path: String::from_utf8_lossy(path).into_owned(),
            problem: problem.into(),
        }
    }
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path in its one form: components joined by slashes, none of them `.` or `..`; empty for
    /// the root.
    pub(crate) path: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) metadata: Metadata,
}

impl Entry {
    /// How much memory it takes, more or less.
    pub(crate) fn memory(&self) -> u64 {
        let target = match &self.content {
            Content::Symlink { target } | Content::HardLink { target } => target.len(),
            _ => 0,
        };
        let Metadata {
            user,
            group,
            xattrs,
            ..
        } = &self.metadata;
        let xattrs: usize = xattrs
            .iter()
            .map(|(name, value)| ENTRY_MEMORY + name.len() + value.len())
            .sum();
        (ENTRY_MEMORY + self.path.len() + target + user.len() + group.len() + xattrs) as u64
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    File {
        size: u64,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    Device {
        kind: Device,
        major: u32,
        minor: u32,
    },
    Fifo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Character,
    Block,
}

/// The attributes that a layer has of a file (layer.md, "File Attributes").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The names of the user and the group; empty where only the numbers are said.
    pub(crate) user: Vec<u8>,
    pub(crate) group: Vec<u8>,
    pub(crate) mtime: Mtime,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A point in time: seconds since 1970, rounded down, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mtime {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

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
}

/// A run of bytes of a file that are not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    offset: u64,
    length: u64,
}

/// What the headers before an entry say of it.
#[derive(Default)]
struct Extensions {
    any: bool,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Whether a block has a header's checksum.
fn has_checksum(block: &[u8; BLOCK]) -> bool {
    let sum = |value: fn(u8) -> i64| -> i64 {
        let bytes = block.iter().enumerate();
        bytes
            .map(|(at, byte)| {
                value(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum()
    };
    let said = number(&block[148..156]);
    // Some tars added up signed bytes.
    said == Some(sum(i64::from)) || said == Some(sum(|byte| i64::from(byte.cast_signed())))
}

/// Whether an archive may begin with these bytes.
pub(super) fn is_archive(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(has_checksum)
}

impl Extensions {
    fn number(&self, key: &str) -> Result<Option<u64>, TarError> {
        let Some(value) = self.pax.get(key.as_bytes()) else {
            return Ok(None);
        };
        let number = decimal(value).ok_or(TarError::Form("a pax header has no number in it"))?;
        Ok(Some(number))
    }

    fn id(&self, key: &str, header: &[u8]) -> Result<u32, TarError> {
        let said = match self.pax.get(key.as_bytes()) {
            Some(said) => str::from_utf8(said).ok().and_then(|id| id.parse().ok()),
            None => number(header),
        };
        let id = said.and_then(|id: i64| {
            // The system takes -2 for 2^32 - 2, the user "nobody" of some systems.
            u32::try_from(id)
                .or_else(|_| i32::try_from(id).map(i32::cast_unsigned))
                .ok()
        });
        id.ok_or(TarError::Form("a user or group has no number of 32 bits"))
    }

    /// The name of a user or a group, which the oldest archives have no place for.
    fn owner(&self, key: &str, header: &[u8; BLOCK], field: Range<usize>) -> Vec<u8> {
        let said = self.pax.get(key.as_bytes()).filter(|name| !name.is_empty());
        let name = match said {
            Some(name) => name,
            None if &header[257..262] == b"ustar" => until_nul(&header[field]),
            None => b"",
        };
        name.to_vec()
    }
}

impl<R: BufRead> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Archive {
            reader,
            left: 0,
            padding: 0,
            pieces: Vec::new(),
            ended: false,
        }
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

    /// Prepares for the data of a regular file; returns the file's size.
    fn begin_file(
        &mut self,
        header: &[u8; BLOCK],
        stored: u64,
        extensions: &Extensions,
        named: &[u8],
    ) -> Result<u64, TarError> {
        let fault = |problem: &str| TarError::entry(named, problem);
        // What is more than this no archive could hold; no sum of two overflows.
        if stored >= 1 << 62 {
            return Err(fault("has an impossible size"));
        }
        self.left = stored;
        self.padding = padding(stored);
        let version = ["GNU.sparse.major", "GNU.sparse.minor"]
            .map(|key| extensions.pax.get(key.as_bytes()).map(Vec::as_slice));
        let is_sparse = extensions
            .pax
            .keys()
            .any(|key| key.starts_with(b"GNU.sparse."));
        let (pieces, size) = match version {
            _ if header[156] == b'S' => self.gnu_pieces(header, stored)?,
            [Some(b"1"), Some(b"0")] => {
                let size = extensions.number("GNU.sparse.realsize")?;
                let pieces = self.pax_pieces()?;
                (
                    pieces,
                    size.ok_or_else(|| fault("is sparse, but without a size"))?,
                )
            }
            // The formats 0.0 and 0.1 need not say which they are.
            [None, None] | [Some(b"0"), Some(b"0" | b"1")] if is_sparse => {
                let size = match extensions.number("GNU.sparse.size")? {
                    None => extensions.number("GNU.sparse.realsize")?,
                    size => size,
                };
                let pieces = old_pax_pieces(extensions)
                    .ok_or_else(|| fault("is a sparse file with a map that is malformed"))?;
                (
                    pieces,
                    size.ok_or_else(|| fault("is sparse, but without a size"))?,
                )
            }
            _ if is_sparse => {
                return Err(fault(
                    "is a sparse file in a format that is not known: GNU tar's own format and the pax formats 0.0, 0.1 and 1.0 are",
                ));
            }
            _ => {
                let whole = Piece {
                    offset: 0,
                    length: stored,
                };
                (vec![whole], stored)
            }
        };
        let mut end = 0;
        let mut sum: u64 = 0;
        for piece in &pieces {
            let ordered = piece.offset >= end && piece.length <= self.left;
            end = piece.offset.saturating_add(piece.length);
            sum = sum.saturating_add(piece.length);
            if !ordered || end > size {
                return Err(fault("is a sparse file with an impossible map"));
            }
        }
        if sum != self.left || size >= 1 << 62 {
            return Err(fault("is a sparse file with an impossible map"));
        }
        if size - sum > MAX_HOLES {
            return Err(fault("is a sparse file with holes of more than 64 GiB"));
        }
        self.pieces = pieces;
        Ok(size)
    }

    /// The map of a sparse file in GNU tar's own format, and the file's size.
    fn gnu_pieces(
        &mut self,
        header: &[u8; BLOCK],
        stored: u64,
    ) -> Result<(Vec<Piece>, u64), TarError> {
        let field = |field: &[u8]| {
            number(field)
                .and_then(|number| u64::try_from(number).ok())
                .ok_or(TarError::Form("the map of a sparse file is malformed"))
        };
        let size = field(&header[483..495])?;
        let mut pieces = Vec::new();
        let mut add = |slots: &[u8]| -> Result<(), TarError> {
            for slot in slots.chunks_exact(24) {
                if slot[0] == 0 {
                    break;
                }
                let (offset, length) = (field(&slot[..12])?, field(&slot[12..])?);
                pieces.push(Piece { offset, length });
            }
            Ok(())
        };
        add(&header[386..482])?;
        let mut is_extended = header[482] != 0;
        let mut read = 0;
        (self.left, self.padding) = (0, 0);
        while is_extended {
            let block = self
                .block()?
                .ok_or(TarError::Form("it ends within a map"))?;
            read += BLOCK as u64;
            if read > MAX_SPECIAL {
                return Err(TarError::Form("the map of a sparse file is too long"));
            }
            add(&block[..504])?;
            is_extended = block[504] != 0;
        }
        (self.left, self.padding) = (stored, padding(stored));
        Ok((pieces, size))
    }

    /// The map of a sparse file in the pax format 1.0, which stands before its data.
    fn pax_pieces(&mut self) -> Result<Vec<Piece>, TarError> {
        let malformed = TarError::Form("the map of a sparse file is malformed");
        let mut text = Vec::new();
        let mut lines = 0;
        let mut wanted = 1;
        while lines < wanted {
            if self.left < BLOCK as u64 || text.len() as u64 >= MAX_SPECIAL {
                return Err(malformed);
            }
            let block = self
                .block()?
                .ok_or(TarError::Form("it ends within a map"))?;
            self.left -= BLOCK as u64;
            lines += block.split(|byte| *byte == b'\n').count() - 1;
            text.extend_from_slice(&block);
            if wanted == 1 && lines > 0 {
                let count = text.split(|byte| *byte == b'\n').next().and_then(decimal);
                wanted = count
                    .and_then(|count| usize::try_from(count).ok()?.checked_mul(2)?.checked_add(1))
                    .ok_or(TarError::Form("the map of a sparse file is malformed"))?;
            }
        }
        let numbers: Option<Vec<u64>> = text
            .split(|byte| *byte == b'\n')
            .take(wanted)
            .map(decimal)
            .collect();
        let numbers = numbers.ok_or(malformed)?;
        let pairs = numbers[1..].chunks_exact(2);
        Ok(pairs
            .map(|pair| Piece {
                offset: pair[0],
                length: pair[1],
            })
            .collect())
    }

    /// The next header; none at the end, which two blocks of zeros make, or none.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK] {
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

/// The map of a sparse file in the pax formats 0.0, which [`parse_pax`] has turned into 0.1, and 0.1.
fn old_pax_pieces(extensions: &Extensions) -> Option<Vec<Piece>> {
    let map = extensions.pax.get(&b"GNU.sparse.map"[..]);
    let numbers = map.map(|map| map.split(|byte| *byte == b',').map(decimal));
    let numbers: Vec<u64> = numbers.into_iter().flatten().collect::<Option<_>>()?;
    let count = extensions.pax.get(&b"GNU.sparse.numblocks"[..])?;
    let pairs = numbers.chunks_exact(2);
    let is_whole = pairs.remainder().is_empty() && decimal(count) == Some(pairs.len() as u64);
    is_whole.then(|| {
        pairs
            .map(|pair| Piece {
                offset: pair[0],
                length: pair[1],
            })
            .collect()
    })
}

/// How many zeros follow `size` bytes of data.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
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

/// A path in its one form. A leading slash goes, as in every tar.
fn normal(path: &[u8]) -> Result<Vec<u8>, TarError> {
    if path.is_empty() {
        return Err(TarError::entry(path, "has no name"));
    }
    if path.contains(&0) {
        return Err(TarError::entry(path, "has a NUL in its name"));
    }
    let parts: Vec<&[u8]> = components(path).collect();
    if parts.contains(&&b".."[..]) {
        return Err(TarError::entry(path, "has '..' in its name"));
    }
    let normal = parts.join(&b'/');
    if normal.len() > MAX_PATH {
        return Err(TarError::entry(path, "has a longer name than Linux takes"));
    }
    Ok(normal)
}

/// The parts of a path, without those that lead nowhere.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && part != b".")
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in a header: octal digits, or binary after a byte with the highest bit set.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 {
        let text = std::str::from_utf8(field).ok()?;
        let digits = text.trim_matches([' ', '\0']);
        let digits = digits.split('\0').next().unwrap_or_default();
        return match digits {
            "" => Some(0),
            digits if digits.starts_with('+') => None,
            digits => i64::from_str_radix(digits, 8).ok(),
        };
    }
    // The bit below the mark is the sign.
    let first = i64::from(field[0] & 0x7f) - i64::from(field[0] & 0x40) * 2;
    field[1..].iter().try_fold(first, |value, byte| {
        value.checked_mul(256)?.checked_add(i64::from(*byte))
    })
}

fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    (!text.starts_with('+')).then(|| text.parse().ok())?
}

/// The records of a pax header, `LENGTH KEY=VALUE\n` each; one without a value stands for none, but an extended attribute
/// may be empty.
///
/// In the sparse format 0.0, a piece is two records, which are there once for each piece: together they are the map of
/// the format 0.1.
fn parse_pax(mut data: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TarError> {
    let mut records = BTreeMap::new();
    let mut map: Vec<&[u8]> = Vec::new();
    while !data.is_empty() {
        let record = parse_record(data).ok_or(TarError::Form("a pax header is malformed"))?;
        data = &data[record.length..];
        let number_of_piece = match record.key {
            b"GNU.sparse.offset" => Some(0),
            b"GNU.sparse.numbytes" => Some(1),
            _ => None,
        };
        if let Some(number) = number_of_piece {
            if map.len() % 2 != number {
                return Err(TarError::Form("the map of a sparse file is malformed"));
            }
            map.push(record.value);
        } else if record.value.is_empty() && !record.key.starts_with(XATTR) {
            records.remove(record.key);
        } else {
            records.insert(record.key.to_vec(), record.value.to_vec());
        }
    }
    if !map.is_empty() {
        records.insert(b"GNU.sparse.map".to_vec(), map.join(&b','));
    }
    Ok(records)
}

struct Record<'a> {
    length: usize,
    key: &'a [u8],
    value: &'a [u8],
}

fn parse_record(data: &[u8]) -> Option<Record<'_>> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some(Record { length, key, value })
}

/// A time of a pax header: decimal seconds, perhaps negative, perhaps with a fraction.
fn parse_time(text: &[u8]) -> Option<Mtime> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Mtime {
            seconds: seconds.checked_sub(1)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        });
    }
    Some(Mtime {
        seconds,
        nanoseconds,
    })
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

    #[test]
    fn numbers_of_all_kinds() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0 "), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"8"), None);
        assert_eq!(
            number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
    }
}
