//! Text for people and for logs.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use icu_properties::props::DefaultIgnorableCodePoint;
use icu_properties::{CodePointSetData, CodePointSetDataBorrowed};

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The most that is named of things that there may be many of.
const MAX_NAMED: usize = 10;

/// Calls `name` with the first of some things; returns how many more there are, in words, if there are.
pub fn first_of<T>(things: impl IntoIterator<Item = T>, mut name: impl FnMut(T)) -> Option<String> {
    let mut things = things.into_iter();
    things.by_ref().take(MAX_NAMED).for_each(&mut name);
    let more = things.count();
    (more > 0).then(|| format!("and {more} more"))
}

/// The first of some things and how many more there are, with commas between.
pub fn named<T: Display>(things: impl IntoIterator<Item = T>) -> String {
    let mut words = Vec::new();
    let more = first_of(things, |thing| words.push(thing.to_string()));
    words.extend(more);
    words.join(", ")
}

/// A number of things, in words.
pub fn count<N: Copy + Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    let s = if number == N::from(1) { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// The longest text that is whole in what is said of it, in characters.
const MAX_WHOLE: usize = 400;

/// A text, or its two ends if it is long: what is told of something that has no end often stands behind it.
pub fn abridged(text: &str) -> Cow<'_, str> {
    let place = |number| text.char_indices().nth(number).map(|(at, _)| at);
    let last = text.char_indices().rev().nth(MAX_WHOLE / 2 - 1);
    match (place(MAX_WHOLE), place(MAX_WHOLE / 2), last) {
        (Some(_), Some(end), Some((start, _))) => {
            Cow::Owned(format!("{}…{}", &text[..end], &text[start..]))
        }
        _ => Cow::Borrowed(text),
    }
}

/// What somebody has written who may have written a login into it, without that: nobody knows where one begins. What a
/// digest stands behind is none.
pub fn without_login(text: &str) -> Cow<'_, str> {
    match text.rsplit_once('@') {
        Some((before, after)) if is_digest_like(after) => match without_login(before) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(before) => Cow::Owned(format!("{before}@{after}")),
        },
        Some((before, after)) if !before.is_empty() => Cow::Owned(format!("…@{after}")),
        _ => Cow::Borrowed(text),
    }
}

fn is_digest_like(text: &str) -> bool {
    ["sha256:", "sha512:"]
        .iter()
        .any(|algorithm| text.starts_with(algorithm))
}

/// The longest message that is shown, in characters.
const MAX_SHOWN: usize = 1000;

/// Text as it may be shown on a terminal, in one line, whoever wrote it: what moves the cursor, colours,
/// hides or turns other characters round is escaped, and what is too long is cut.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_SHOWN));
    for (count, (place, character)) in text.char_indices().enumerate() {
        if count == MAX_SHOWN {
            shown.push('…');
            break;
        }
        if acts_on_others(character) || is_command(&text[place..]) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// As [`shown`], of any length and with its lines.
pub fn shown_in_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (place, character) in text.char_indices() {
        if character != '\n' && acts_on_others(character) || is_command(&text[place..]) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a text begins with what GitHub's or Azure's runners obey anywhere in a line of a log.
fn is_command(text: &str) -> bool {
    text.starts_with("##[") || text.starts_with("##vso[")
}

/// Control characters, line separators, and characters without a width of their own: those that Unicode has ignored
/// where they are not known, among them those of bidirectional text (UAX #44, `Default_Ignorable_Code_Point`), and
/// those of interlinear text. What goes with the character before it, such as an accent, is seen there.
fn acts_on_others(character: char) -> bool {
    const IGNORED: CodePointSetDataBorrowed<'static> =
        CodePointSetData::new::<DefaultIgnorableCodePoint>();
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{2029}' | '\u{fff9}'..='\u{fffb}')
        || IGNORED.contains(character)
}

/// A string of Starlark, and a basic one of TOML, that means `text`, whatever it holds, to be pasted.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            character if acts_on_others(character) => {
                // The form of both, of eight digits.
                let _ = write!(quoted, "\\U{:08x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_things_the_first_are_named() {
        assert_eq!(named(["a", "b"]), "a, b");
        assert_eq!(named([0; 0]), "");
        assert_eq!(named(0..10), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
        assert_eq!(
            named(0..3000),
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2990 more"
        );
    }

    #[test]
    fn one_thing_is_no_several() {
        let counted = [0, 1, 2].map(|number: usize| count(number, "blob"));
        assert_eq!(counted, ["0 blobs", "1 blob", "2 blobs"]);
    }

    #[test]
    fn what_is_shown_acts_on_nothing_else() {
        assert_eq!(
            shown("a\u{1b}[2J\r\nb\u{202e}c\u{2066}d\u{9b}é字"),
            "a\\u{1b}[2J\\u{d}\\u{a}b\\u{202e}c\\u{2066}d\\u{9b}é字"
        );
        assert_eq!(shown_in_lines("a\n\u{7f}b"), "a\n\\u{7f}b");
        for show in [shown, shown_in_lines] {
            let commands = "a ##[error]b ##vso[task]c #[d] ## e";
            let harmless = "a \\u{23}#[error]b \\u{23}#vso[task]c #[d] ## e";
            assert_eq!(show(commands), harmless);
        }
        let whole = "é".repeat(400);
        assert_eq!(abridged(&whole), whole);
        let long = format!("{}ab{}", "x".repeat(200), "é".repeat(200));
        assert_eq!(abridged(&long), long.replace("ab", "…"));
        let long = shown(&"x".repeat(100_000));
        assert_eq!(long.chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn what_nobody_sees_is_escaped() {
        for range in [
            '\u{7f}'..='\u{9f}',
            '\u{ad}'..='\u{ad}',
            '\u{34f}'..='\u{34f}',
            '\u{61c}'..='\u{61c}',
            '\u{115f}'..='\u{1160}',
            '\u{17b4}'..='\u{17b5}',
            '\u{180b}'..='\u{180f}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{206f}',
            '\u{3164}'..='\u{3164}',
            '\u{fe00}'..='\u{fe0f}',
            '\u{feff}'..='\u{feff}',
            '\u{ffa0}'..='\u{ffa0}',
            '\u{fff0}'..='\u{fffb}',
            '\u{1bca0}'..='\u{1bca3}',
            '\u{1d173}'..='\u{1d17a}',
            '\u{e0000}'..='\u{e0fff}',
        ] {
            for character in range {
                let escaped = character.escape_unicode().to_string();
                assert_eq!(shown(&character.to_string()), escaped);
            }
        }
        for seen in [
            "e\u{301}",
            "é",
            "字",
            "한",
            "\u{2800}",
            "\u{1f600}",
            "ـ",
            "ไ",
        ] {
            assert_eq!(shown(seen), seen);
        }
    }

    #[test]
    fn what_is_pasted_is_one_string() {
        assert_eq!(
            quoted("linux/amd64\",\n],)\nlocal_path_override(\\\u{202e}"),
            r#""linux/amd64\",\n],)\nlocal_path_override(\\\U0000202e""#
        );
    }
}
