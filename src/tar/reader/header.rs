//! The fields of a header.

/// The size of a header, and what all data is padded to.
pub(crate) const BLOCK: usize = 512;

/// Whether a block has a header's checksum.
pub(super) fn has_checksum(block: &[u8; BLOCK]) -> bool {
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
pub(in crate::tar) fn is_archive(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(has_checksum)
}

/// How many zeros follow `size` bytes of data.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in a header: octal digits, or binary after a byte with the highest bit set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
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

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    (!text.starts_with('+')).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

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
