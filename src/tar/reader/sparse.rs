//! Files with holes: where the data of a file belongs in it, in GNU tar's own format and in those of pax.

use std::io::BufRead;

use super::super::entry::TarError;
use super::extensions::Extensions;
use super::header::{BLOCK, decimal, number, padding};
use super::{Archive, MAX_SPECIAL};

/// The most that the holes of a sparse file may have: whoever reads it reads zeros for them.
const MAX_HOLES: u64 = 64 << 30;

/// A run of bytes of a file that are not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl<R: BufRead> Archive<R> {
    /// Prepares for the data of a regular file; returns the file's size.
    pub(super) fn begin_file(
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
}

/// The map of a sparse file in the pax formats 0.0, which `parse_pax` has turned into 0.1, and 0.1.
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
