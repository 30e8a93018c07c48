//! What the headers before an entry say of it: GNU tar's long names, and the records of pax.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::entry::{Mtime, TarError};
use super::header::{BLOCK, decimal, number, until_nul};

/// What the records of a pax header begin with that are extended attributes.
pub(in crate::tar) const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the headers before an entry say of it.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) any: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Extensions {
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, TarError> {
        let Some(value) = self.pax.get(key.as_bytes()) else {
            return Ok(None);
        };
        let number = decimal(value).ok_or(TarError::Form("a pax header has no number in it"))?;
        Ok(Some(number))
    }

    pub(super) fn id(&self, key: &str, header: &[u8]) -> Result<u32, TarError> {
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
    pub(super) fn owner(&self, key: &str, header: &[u8; BLOCK], field: Range<usize>) -> Vec<u8> {
        let said = self.pax.get(key.as_bytes()).filter(|name| !name.is_empty());
        let name = match said {
            Some(name) => name,
            None if &header[257..262] == b"ustar" => until_nul(&header[field]),
            None => b"",
        };
        name.to_vec()
    }
}

/// The records of a pax header, `LENGTH KEY=VALUE\n` each; one without a value stands for none, but an extended attribute
/// may be empty.
///
/// In the sparse format 0.0, a piece is two records, which are there once for each piece: together they are the map of
/// the format 0.1.
pub(super) fn parse_pax(mut data: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TarError> {
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
pub(super) fn parse_time(text: &[u8]) -> Option<Mtime> {
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
