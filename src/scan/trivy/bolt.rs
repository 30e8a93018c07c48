//! The names of the top-level buckets of a bbolt database, which is what Trivy's is: they tell which systems and languages
//! it has advisories of.
//!
//! Pages are read one by one and bounded; nothing else of the file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use crate::files::open_regular;
use crate::io::read_exact_at;

/// The most pages that are read, which is far more than the names of any database take.
const MAX_PAGES: usize = 100_000;
/// The most bytes of a page with its overflow.
const MAX_PAGE: usize = 64 << 20;
const MAGIC: u32 = 0xED0C_DAED;
const HEADER: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// The flag of an element that is a bucket.
const BUCKET: u32 = 1;

/// A database's top-level buckets, and whether each has anything in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets(BTreeMap<String, bool>);

impl Buckets {
    /// Reads the names out of the file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let (page_size, root) = meta(&file)?;
        let mut buckets = BTreeMap::new();
        walk(&file, page_size, root, |key, value, flags| {
            if flags & BUCKET != 0 {
                let filled = has_content(&file, value, page_size)?;
                buckets.insert(String::from_utf8_lossy(key).into_owned(), filled);
            }
            Ok(())
        })?;
        Ok(Buckets(buckets))
    }

    /// The keys in the bucket that is below others by these names; none where it is not there.
    pub(super) fn keys_in(path: &Path, names: &[&str]) -> io::Result<BTreeSet<String>> {
        let file = open_regular(path)?;
        let (page_size, root) = meta(&file)?;
        let mut bucket = root.to_le_bytes().to_vec();
        for name in names {
            let mut inner = None;
            walk_bucket(&file, page_size, &bucket, |key, value, flags| {
                if flags & BUCKET != 0 && key == name.as_bytes() {
                    inner = Some(value.to_vec());
                }
                Ok(())
            })?;
            match inner {
                Some(inner) => bucket = inner,
                None => return Ok(BTreeSet::new()),
            }
        }
        let mut keys = BTreeSet::new();
        walk_bucket(&file, page_size, &bucket, |key, _, _| {
            keys.insert(String::from_utf8_lossy(key).into_owned());
            Ok(())
        })?;
        Ok(keys)
    }

    /// Whether there is a bucket of this name with anything in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).copied().unwrap_or(false)
    }

    /// The names of the buckets that have anything in them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.0.iter();
        all.filter_map(|(name, filled)| filled.then_some(name.as_str()))
    }
}

/// Goes through the elements below a page: their keys, values and flags.
fn walk(
    file: &File,
    page_size: usize,
    root: u64,
    mut each: impl FnMut(&[u8], &[u8], u32) -> io::Result<()>,
) -> io::Result<()> {
    let mut queue = vec![root];
    let mut seen = BTreeSet::new();
    while let Some(number) = queue.pop() {
        if !seen.insert(number) || seen.len() > MAX_PAGES {
            return Err(bad("its pages lead in a circle, or are too many"));
        }
        let page = read_page(file, number, page_size)?;
        match Page(&page).elements()? {
            Elements::Pages(pages) => queue.extend(pages),
            Elements::Leaf(items) => {
                for (key, value, flags) in items {
                    each(key, value, flags)?;
                }
            }
        }
    }
    Ok(())
}

/// The same of a bucket, of which an element's value tells.
fn walk_bucket(
    file: &File,
    page_size: usize,
    value: &[u8],
    mut each: impl FnMut(&[u8], &[u8], u32) -> io::Result<()>,
) -> io::Result<()> {
    let root = number::<8>(value, 0)?;
    if root != 0 {
        return walk(file, page_size, root, each);
    }
    // A small bucket is in its parent's page.
    let page = value.get(16..).ok_or_else(|| bad("a bucket is cut off"))?;
    match Page(page).elements()? {
        Elements::Leaf(items) => items
            .into_iter()
            .try_for_each(|(key, value, flags)| each(key, value, flags)),
        Elements::Pages(_) => Err(bad("a page is of another kind")),
    }
}

fn bad(problem: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it is no database of bbolt: {problem}"),
    )
}

/// The page size and the root bucket's page, by the newer of the two meta pages.
fn meta(file: &File) -> io::Result<(usize, u64)> {
    let mut first = [0; 4096];
    read_exact_at(file, &mut first, 0)?;
    let page_size = number::<4>(&first, HEADER + 8)?;
    let page_size = usize::try_from(page_size).map_err(|_| bad("its page size"))?;
    if !(512..=65_536).contains(&page_size) {
        return Err(bad("its page size"));
    }
    let mut newest = None;
    for start in [0, page_size] {
        let mut page = [0; 80];
        read_exact_at(file, &mut page, start as u64)?;
        let magic = number::<4>(&page, HEADER)?;
        let root = number::<8>(&page, HEADER + 16)?;
        let transaction = number::<8>(&page, HEADER + 48)?;
        let sum = number::<8>(&page, HEADER + 56)?;
        let is_whole = magic == u64::from(MAGIC) && sum == checksum(&page[HEADER..HEADER + 56]);
        if is_whole && newest.is_none_or(|(newest, _)| transaction > newest) {
            newest = Some((transaction, root));
        }
    }
    let (_, root) = newest.ok_or_else(|| bad("it has no meta page"))?;
    Ok((page_size, root))
}

/// FNV-1a, by which bbolt tells a meta page that was not written to its end.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn read_page(file: &File, number_: u64, page_size: usize) -> io::Result<Vec<u8>> {
    let offset = number_
        .checked_mul(page_size as u64)
        .ok_or_else(|| bad("a page is out of range"))?;
    let mut page = vec![0; page_size];
    read_exact_at(file, &mut page, offset)?;
    let overflow = usize::try_from(number::<4>(&page, 12)?).unwrap_or(usize::MAX);
    let size = overflow
        .checked_add(1)
        .and_then(|pages| pages.checked_mul(page_size))
        .filter(|size| *size <= MAX_PAGE)
        .ok_or_else(|| bad("a page is too large"))?;
    if size > page_size {
        page.resize(size, 0);
        read_exact_at(file, &mut page, offset)?;
    }
    Ok(page)
}

/// Whether a bucket, of which an element's value tells, has an element.
fn has_content(file: &File, value: &[u8], page_size: usize) -> io::Result<bool> {
    let root = number::<8>(value, 0)?;
    // A small bucket is in its parent's page.
    if root == 0 {
        return Ok(number::<2>(value, 16 + 10)? > 0);
    }
    let offset = root.checked_mul(page_size as u64);
    let offset = offset.ok_or_else(|| bad("a page is out of range"))?;
    let mut header = [0; HEADER];
    read_exact_at(file, &mut header, offset)?;
    Ok(number::<2>(&header, 10)? > 0)
}

struct Page<'a>(&'a [u8]);

enum Elements<'a> {
    Pages(Vec<u64>),
    /// Keys, values and flags.
    Leaf(Vec<(&'a [u8], &'a [u8], u32)>),
}

impl<'a> Page<'a> {
    fn elements(&self) -> io::Result<Elements<'a>> {
        let page = self.0;
        let flags = number::<2>(page, 8)?;
        let count = usize::try_from(number::<2>(page, 10)?).unwrap_or_default();
        let starts = (0..count).map(|index| HEADER + 16 * index);
        if flags == u64::from(BRANCH) {
            let pages = starts.map(|start| number::<8>(page, start + 8));
            return Ok(Elements::Pages(pages.collect::<io::Result<_>>()?));
        }
        if flags != u64::from(LEAF) {
            return Err(bad("a page is of another kind"));
        }
        let item = |start: usize| {
            let at = |offset| number::<4>(page, start + offset);
            let index = |number| usize::try_from(number).unwrap_or(usize::MAX);
            let key = start.saturating_add(index(at(4)?));
            let value = key.saturating_add(index(at(8)?));
            let end = value.saturating_add(index(at(12)?));
            let part = |from, to| {
                page.get(from..to)
                    .ok_or_else(|| bad("an element is cut off"))
            };
            let flags = u32::try_from(at(0)?).unwrap_or_default();
            Ok((part(key, value)?, part(value, end)?, flags))
        };
        Ok(Elements::Leaf(starts.map(item).collect::<io::Result<_>>()?))
    }
}

/// A number of N bytes, the lowest first.
fn number<const N: usize>(bytes: &[u8], start: usize) -> io::Result<u64> {
    let bytes = bytes
        .get(start..start + N)
        .ok_or_else(|| bad("it is cut off"))?;
    Ok(bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}
