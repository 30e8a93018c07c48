//! The databases of rpm in each of the forms that it has had, and the list that images without rpm have. In all but that,
//! what a package is, its header says.

use std::borrow::Cow;

use crate::files::{FileError, io_failed};

use super::brought::{BroughtFiles, FileDigest};
use super::packages::Installed;
use super::sqlite::{self, all, open};

/// What rpm calls the keys that it trusts, which are no packages.
const KEY: &str = "gpg-pubkey";
/// How the name of the list ends of which each line begins with a name and a version.
const LIST: &str = "container-manifest-2";
/// How a file of rpm's own form begins.
const NDB: &[u8] = b"RpmP";
/// The most bytes of paths that are taken out of one database: few headers can make many of them.
const MAX_PATHS: usize = 512 << 20;

/// Reads a database. One that cannot be read says nothing.
pub(super) fn read(path: &str, bytes: &[u8]) -> Result<Option<Installed>, FileError> {
    if path.ends_with(LIST) {
        return Ok(Some(Installed::of(of_list(&String::from_utf8_lossy(
            bytes,
        )))));
    }
    let headers = if bytes.starts_with(sqlite::MAGIC) {
        of_sqlite(bytes)?
    } else if bytes.starts_with(NDB) {
        of_ndb(bytes)
    } else {
        of_berkeley(bytes)
    };
    let read = headers.and_then(|headers| {
        let installed = of_headers(&headers)?;
        Some((!headers.is_empty()).then_some(installed))
    });
    Ok(read.unwrap_or_else(|| Some(Installed::default())))
}

fn of_list(text: &str) -> Vec<(String, String, Option<String>)> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split('\t').map(str::to_owned);
        Some((fields.next()?, fields.next()?, fields.nth(5)))
    });
    lines.collect()
}

fn of_headers(headers: &[Cow<'_, [u8]>]) -> Option<Installed> {
    let mut packages = Vec::new();
    let mut files = BroughtFiles::new();
    let mut left = MAX_PATHS;
    for header in headers {
        let header = Header::parse(header)?;
        for (file, digest) in header.files() {
            left = left.checked_sub(file.len())?;
            files.insert(file, digest);
        }
        let package = header.package()?;
        if package.0 != KEY {
            packages.push(package);
        }
    }
    Some(Installed {
        files,
        ..Installed::of(packages)
    })
}

/// The headers in a database of SQLite, of which each is a row.
fn of_sqlite(bytes: &[u8]) -> Result<Option<Vec<Cow<'static, [u8]>>>, FileError> {
    let scratch = std::env::temp_dir();
    let file = io_failed("make a file in", &scratch, tempfile::NamedTempFile::new())?;
    io_failed("write", file.path(), std::fs::write(file.path(), bytes))?;
    let rows = open(file.path()).and_then(|connection| {
        all(&connection, "SELECT blob FROM Packages", |row| {
            row.get::<_, Vec<u8>>(0).map(Cow::Owned)
        })
    });
    Ok(rows.ok())
}

/// The headers in a database of rpm's own form: pages of slots, and what these point to (rpm's `rpmpkg.c`).
fn of_ndb(bytes: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    const PAGE: usize = 4096;
    // Both a slot and what blobs are counted in.
    const BLOCK: usize = 16;
    const SLOT: &[u8] = b"Slot";
    const BLOB: &[u8] = b"BlbS";
    let word = |at| Order::Little.word(bytes, at).map(|word| word as usize);
    let is = |at: usize, magic: &[u8]| bytes.get(at..)?.starts_with(magic).then_some(());
    let pages = word(12)?;
    let mut headers = Vec::new();
    let mut left = bytes.len();
    // The file's own header takes the place of two.
    for slot in 2..pages.checked_mul(PAGE / BLOCK)? {
        let slot = slot * BLOCK;
        is(slot, SLOT)?;
        let package = word(slot + 4)?;
        if package == 0 {
            continue;
        }
        let blob = word(slot + 8)?.checked_mul(BLOCK)?;
        is(blob, BLOB)?;
        let size = word(blob + 12)?;
        left = left.checked_sub(size)?;
        let start = blob + BLOCK;
        headers.push(Cow::Borrowed(bytes.get(start..start.checked_add(size)?)?));
    }
    Some(headers)
}

/// The headers in a hash of Berkeley DB, in the byte order of the machine that wrote it (libdb's `db_page.h`): the
/// values on its pages, or the chains of pages that they point to.
fn of_berkeley(bytes: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    const MAGIC: u32 = 0x0006_1561;
    const HEADER: usize = 26;
    const KIND: usize = 25;
    const HASH_METADATA: u8 = 8;
    const HASHES: [u8; 2] = [2, 13];
    const OVERFLOW: u8 = 7;
    const HERE: u8 = 1;
    const ELSEWHERE: u8 = 3;
    /// The number of the next package, which is no header.
    const COUNTER: usize = 4;
    let mut orders = [Order::Little, Order::Big].into_iter();
    let order = orders.find(|order| order.word(bytes, 12) == Some(MAGIC))?;
    let word = |part: &[u8], at| order.word(part, at).map(|word| word as usize);
    let half = |part: &[u8], at| order.half(part, at).map(usize::from);
    let size = word(bytes, 20)?;
    if bytes.get(KIND) != Some(&HASH_METADATA) || !(512..=65_536).contains(&size) {
        return None;
    }
    let page = |number: usize| {
        let start = number.checked_mul(size)?;
        bytes.get(start..start.checked_add(size)?)
    };
    let mut headers = Vec::new();
    let mut left = bytes.len();
    for number in 1..=word(bytes, 32)? {
        let page_of_items = page(number)?;
        if !HASHES.contains(&page_of_items[KIND]) {
            continue;
        }
        // Items lie from the end of the page downwards, a key before each value.
        let mut end = size;
        for item in 0..half(page_of_items, 20)? {
            let start = half(page_of_items, HEADER + 2 * item)?;
            let value = page_of_items.get(start..end)?;
            end = start;
            if item % 2 == 0 {
                continue;
            }
            let header = match *value.first()? {
                HERE if value.len() == 1 + COUNTER => continue,
                HERE => Cow::Borrowed(&value[1..]),
                ELSEWHERE => {
                    let mut chain = Vec::new();
                    let mut next = word(value, 4)?;
                    while next != 0 {
                        let part = page(next)?;
                        if part[KIND] != OVERFLOW {
                            return None;
                        }
                        let content = part.get(HEADER..HEADER + half(part, 22)?)?;
                        left = left.checked_sub(content.len().max(1))?;
                        chain.extend_from_slice(content);
                        next = word(part, 16)?;
                    }
                    if chain.len() != word(value, 8)? {
                        return None;
                    }
                    Cow::Owned(chain)
                }
                _ => return None,
            };
            headers.push(header);
        }
    }
    Some(headers)
}

/// In which order the bytes of numbers lie.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    fn half(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }
}

/// A package's header: two counts, an index of entries of four numbers each, and what these are about (rpm's "Header format").
struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    const NAME: u32 = 1000;
    const VERSION: u32 = 1001;
    const RELEASE: u32 = 1002;
    const DIRECTORY_OF: u32 = 1116;
    const ARCHITECTURE: u32 = 1022;
    const DIGESTS: u32 = 1035;
    const NAMES: u32 = 1117;
    const DIRECTORIES: u32 = 1118;

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let [entries, size] =
            [Order::Big.word(bytes, 0)?, Order::Big.word(bytes, 4)?].map(|count| count as usize);
        let (index, data) = bytes.get(8..)?.split_at_checked(entries.checked_mul(16)?)?;
        let data = data.get(..size)?;
        Some(Header { index, data })
    }

    /// What an entry with this tag is about, from its first byte, and how many values it has.
    fn entry(&self, tag: u32) -> Option<(&'a [u8], usize)> {
        let mut entries = self.index.chunks_exact(16);
        let entry = entries.find(|entry| Order::Big.word(entry, 0) == Some(tag))?;
        let [offset, count] =
            [Order::Big.word(entry, 8)?, Order::Big.word(entry, 12)?].map(|count| count as usize);
        Some((self.data.get(offset..)?, count))
    }

    fn texts(&self, tag: u32) -> impl Iterator<Item = String> + use<'a> {
        let (bytes, count) = self.entry(tag).unwrap_or_default();
        let texts = bytes.split(|byte| *byte == 0).take(count);
        texts.map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn numbers(&self, tag: u32) -> impl Iterator<Item = usize> + use<'a> {
        let (bytes, count) = self.entry(tag).unwrap_or_default();
        let numbers = bytes.chunks_exact(4).take(count);
        numbers.filter_map(|bytes| Some(Order::Big.word(bytes, 0)? as usize))
    }

    fn package(&self) -> Option<(String, String, Option<String>)> {
        let [name, version, release, architecture] =
            [Self::NAME, Self::VERSION, Self::RELEASE, Self::ARCHITECTURE]
                .map(|tag| self.texts(tag).next());
        Some((name?, format!("{}-{}", version?, release?), architecture))
    }

    fn files(&self) -> impl Iterator<Item = (String, Option<FileDigest>)> + use<'a> {
        let directories: Vec<String> = self.texts(Self::DIRECTORIES).collect();
        let digests = self.texts(Self::DIGESTS);
        let digests = digests.map(|digest| FileDigest::of_hex(&digest));
        let names = self
            .texts(Self::NAMES)
            .zip(self.numbers(Self::DIRECTORY_OF))
            .zip(digests.chain(std::iter::repeat(None)));
        names.filter_map(move |((name, of), digest)| {
            Some((format!("{}{name}", directories.get(of)?), digest))
        })
    }
}
