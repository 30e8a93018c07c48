//! What a program of Go's says of what it is made of (Go's package debug/buildinfo).

use std::io::{self, Read};

use memchr::memmem;

/// What stands before it.
const MARK: &[u8] = b"\xff Go buildinf:";
/// Its length with what tells it from the same text elsewhere: the size of pointers, and flags.
pub(super) const MARKED: usize = 16;
/// How long that is, with what is between.
const HEAD: usize = 32;
/// In that, what says whether texts follow, as they do since Go 1.18, and not where they are.
const FLAGS: usize = 15;
const TEXTS_FOLLOW: u8 = 2;
/// How much stands before and behind the list of modules.
const FRAME: usize = 16;
/// How much of a program is gone through at a time, which is far more than it says of itself.
const PART: usize = 1 << 20;

/// Where a program, or a part of one, says so.
pub(super) fn mark(program: &[u8]) -> Option<usize> {
    memmem::find_iter(program, MARK).find(|start| {
        let behind = program[*start..].get(MARK.len()..MARKED);
        matches!(behind, Some([4 | 8, 0..=3]))
    })
}

/// Whether it names any module that it is made of, where it begins with the mark and is whole, and where Go is not so old
/// that it only says where that is.
pub(super) fn has_modules(info: &[u8]) -> Option<bool> {
    let is_module = |line: &str| line.starts_with("mod\t") || line.starts_with("dep\t");
    Some(modules(info)?.lines().any(is_module))
}

/// The release that a program is of, such as `2.6.0`, if it is built of a module, of any major version.
pub(super) fn release(mut program: impl Read, module: &str) -> io::Result<Option<String>> {
    let mut parts = Vec::new();
    loop {
        // What begins in the first of two is whole in both.
        let missing = 2 * PART - parts.len();
        let read = program
            .by_ref()
            .take(missing as u64)
            .read_to_end(&mut parts)?;
        if let Some(release) = release_in(&parts, module) {
            return Ok(Some(release.to_owned()));
        }
        if read < missing {
            return Ok(None);
        }
        parts.drain(..PART);
    }
}

fn release_in<'a>(program: &'a [u8], module: &str) -> Option<&'a str> {
    // Who looks for the mark has it, too.
    memmem::find_iter(program, MARK).find_map(|start| {
        let mut lines = modules(&program[start..])?.lines();
        let main = lines.find_map(|line| line.strip_prefix("mod\t"))?;
        let (path, rest) = main.split_once('\t')?;
        let major = path.strip_prefix(module)?;
        let (version, _) = rest.split_once('\t').unwrap_or((rest, ""));
        let release = version.strip_prefix('v')?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        let is_release = release.split('.').all(is_number);
        ((major.is_empty() || major.starts_with("/v")) && is_release).then_some(release)
    })
}

/// The lines behind the mark, which the bytes begin with.
fn modules(info: &[u8]) -> Option<&str> {
    let (head, rest) = info.split_at_checked(HEAD)?;
    if head[FLAGS] & TEXTS_FOLLOW == 0 {
        return None;
    }
    let (_of_go, rest) = text(rest)?;
    let (lines, _) = text(rest)?;
    // There are none at all where a build names no package either.
    let lines = lines.get(FRAME..lines.len().saturating_sub(FRAME));
    str::from_utf8(lines.unwrap_or_default()).ok()
}

/// The text that bytes begin with, behind its length, and what is behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let mut digits = bytes[..=end].iter().rev();
    let length = digits.try_fold(0_usize, |length, digit| {
        Some(length.checked_mul(128)? + usize::from(digit & 0x7f))
    })?;
    bytes[end + 1..].split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with what Go puts into it, of this flag and these lines.
    fn program(flags: u8, lines: &str) -> Vec<u8> {
        let frame = "-".repeat(FRAME);
        let modules = format!("{frame}{lines}{frame}");
        let length = u8::try_from(modules.len()).unwrap();
        let head = [&[8, flags][..], &[0; 16], b"\x08go1.27.0"].concat();
        // More than 127 takes two bytes.
        let length = [0x80 | length, length >> 7];
        [
            b"\x7fELF",
            MARK,
            b" is looked for",
            MARK,
            &head,
            &length,
            modules.as_bytes(),
            b"end",
        ]
        .concat()
    }

    fn release(program: &[u8], module: &str) -> Option<String> {
        super::release(program, module).unwrap()
    }

    #[test]
    fn modules_are_its_own_and_those_it_needs() {
        let has_modules = |program: &[u8]| super::has_modules(&program[mark(program).unwrap()..]);
        for (lines, expected) in [
            ("path\ta\nmod\ta\t(devel)\t\n", true),
            ("path\ta\ndep\tb\tv1.0.0\th1:y=\n", true),
            ("path\ta\nbuild\t-x=mod\tdep\n", false),
            ("", false),
        ] {
            let program = program(2, lines);
            assert_eq!(has_modules(&program), Some(expected), "{lines:?}");
            let cut = &program[..program.len() - FRAME - 4];
            assert_eq!(has_modules(cut), None, "{lines:?}");
        }
        assert_eq!(has_modules(&program(0, "mod\ta\tv1.0.0\t\n")), None);
    }

    #[test]
    fn a_release_is_read_from_the_program() {
        let lines = "path\tgithub.com/a/b/v2/cmd/b\nmod\tgithub.com/a/b/v2\tv2.6.0\th1:x=\ndep\tc\tv1.0.0\th1:y=\nbuild\t-compiler=gc\n";
        let released = Some("2.6.0".to_owned());
        assert_eq!(release(&program(2, lines), "github.com/a/b"), released);
        let without_sum = lines.replace("\th1:x=", "");
        assert_eq!(
            release(&program(2, &without_sum), "github.com/a/b"),
            released
        );
        for (flags, lines, module) in [
            (0, lines, "github.com/a/b"),
            (2, lines, "github.com/a"),
            (2, lines, "github.com/a/b/v"),
            (
                2,
                "path\tb\ndep\tgithub.com/a/b\tv1.0.0\th1:y=\n",
                "github.com/a/b",
            ),
            (2, "mod\tgithub.com/a/b\t(devel)\t\n", "github.com/a/b"),
            (2, "mod\tgithub.com/a/b\tv2.6.0+dirty\t\n", "github.com/a/b"),
            (
                2,
                "mod\tgithub.com/a/b\tv0.0.0-20260101000000-0123456789ab\t\n",
                "github.com/a/b",
            ),
        ] {
            assert_eq!(release(&program(flags, lines), module), None, "{lines}");
        }
        let whole = program(2, lines);
        for end in 0..whole.len() - FRAME {
            assert_eq!(release(&whole[..end], "github.com/a/b"), None);
        }
        // Wherever a program is divided.
        for before in [PART, 2 * PART, 5 * PART].map(|parts| parts - 100) {
            let program = [&vec![0; before], &whole[..], &vec![0; 2 * PART]].concat();
            assert_eq!(release(&program, "github.com/a/b"), released, "{before}");
        }
    }
}
