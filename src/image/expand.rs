//! Variables in the values of variables, as a Dockerfile's `ENV` expands them.

/// How deep variables may stand in one another.
const MAX_DEPTH: usize = 100;

/// Why a value cannot be expanded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A brace without its fellow.
    #[error("'${{' lacks its '}}'")]
    Open,
    /// What stands for nothing that an image's config can have.
    #[error("'${0}' is no variable of an image; a dollar sign is written '$$'")]
    NoName(String),
    /// A form that is not known.
    #[error(
        "'${{{0}}}' is none of ${{X}}, ${{X:-WORD}}, ${{X-WORD}}, ${{X:+WORD}}, ${{X+WORD}}, ${{X:?WORD}} and ${{X?WORD}}"
    )]
    Form(String),
    /// There is no end to it.
    #[error("variables stand in one another more than {MAX_DEPTH} times")]
    Depth,
    /// A variable that must be there is not.
    #[error("{name} is not set: {word}")]
    Unset {
        /// The variable.
        name: String,
        /// What is said of it.
        word: String,
    },
}

/// Replaces what stands for variables in `text` by their values, `$$` and `\$` by a dollar sign. Other backslashes stay.
pub(super) fn expand<'a>(
    text: &str,
    value: &impl Fn(&str) -> Option<&'a str>,
) -> Result<String, ExpandError> {
    expand_at(0, text, value)
}

fn expand_at<'a>(
    depth: usize,
    text: &str,
    value: &impl Fn(&str) -> Option<&'a str>,
) -> Result<String, ExpandError> {
    if depth > MAX_DEPTH {
        return Err(ExpandError::Depth);
    }
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if let Some(before) = before.strip_suffix('\\') {
            expanded += before;
            expanded.push('$');
            rest = after;
            continue;
        }
        expanded += before;
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let end = closing(after).ok_or(ExpandError::Open)?;
            expanded += &braced(depth, &after[..end], value)?;
            rest = &after[end + 1..];
        } else {
            let (name, after) = after.split_at(name_length(after));
            match after.chars().next() {
                Some(next) if name.is_empty() && stands_for_something(next) => {
                    return Err(ExpandError::NoName(next.to_string()));
                }
                _ if name.is_empty() => expanded.push('$'),
                _ => expanded += value(name).unwrap_or_default(),
            }
            rest = after;
        }
    }
    Ok(expanded + rest)
}

/// What stands between braces.
fn braced<'a>(
    depth: usize,
    inside: &str,
    value: &impl Fn(&str) -> Option<&'a str>,
) -> Result<String, ExpandError> {
    let (name, form) = inside.split_at(name_length(inside));
    let unknown = || ExpandError::Form(inside.to_owned());
    if name.is_empty() {
        return Err(unknown());
    }
    let found = value(name);
    if form.is_empty() {
        return Ok(found.unwrap_or_default().to_owned());
    }
    // With a colon, what is empty is as good as not set.
    let (form, found) = match form.strip_prefix(':') {
        Some(form) => (form, found.filter(|value| !value.is_empty())),
        None => (form, found),
    };
    let mut characters = form.chars();
    let kind = characters.next();
    let word = characters.as_str();
    match (kind, found) {
        (Some('-' | '?'), Some(found)) => Ok(found.to_owned()),
        (Some('-'), None) | (Some('+'), Some(_)) => expand_at(depth + 1, word, value),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(ExpandError::Unset {
            name: name.to_owned(),
            word: expand_at(depth + 1, word, value)?,
        }),
        _ => Err(unknown()),
    }
}

/// Where the brace is that closes what `text` is in.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    loop {
        at += match text.as_bytes().get(at..)? {
            [b'$', b'{', ..] => {
                depth += 1;
                2
            }
            [b'$' | b'\\', b'$', ..] => 2,
            [b'}', ..] if depth == 0 => return Some(at),
            [b'}', ..] => {
                depth -= 1;
                1
            }
            [] => return None,
            _ => 1,
        };
    }
}

fn name_length(text: &str) -> usize {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    text.find(|character| !is_name(character))
        .unwrap_or(text.len())
}

/// What a shell has arguments and the like for, of which an image has none.
fn stands_for_something(character: char) -> bool {
    character.is_ascii_digit() || "@*#?-!".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, ExpandError> {
        expand(text, &|name| match name {
            "SET" => Some("value"),
            "EMPTY" => Some(""),
            _ => None,
        })
    }

    #[test]
    fn as_in_a_dockerfile() {
        for (text, expected) in [
            ("a$SET/$SET", "avalue/value"),
            ("${SET}x$NONE", "valuex"),
            ("$$SET $", "$SET $"),
            ("5$ and $/", "5$ and $/"),
            ("\\$SET \\${SET} C:\\d\\", "$SET ${SET} C:\\d\\"),
            ("${NONE:-\\${SET}}${NONE:-$${}", "${SET}${"),
            ("${NONE:-d}${NONE-d}", "dd"),
            ("${EMPTY:-d}${EMPTY-d}", "d"),
            ("${SET:-d}${SET-d}", "valuevalue"),
            ("${SET:+a}${EMPTY:+a}${EMPTY+a}${NONE+a}", "aa"),
            ("${NONE:-${EMPTY:-${SET}}/x}}", "value/x}"),
            ("${SET:?x}${EMPTY?x}", "value"),
            ("${NONE:-a:-b}", "a:-b"),
        ] {
            assert_eq!(expanded(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for text in [
            "${",
            "${SET",
            "${}",
            "${1}",
            "${SET:x}",
            "${SET#v}",
            "${SET/v/w}",
            "${SET:}",
            "$1",
            "$@",
            "${-x}",
            "${NONE?}",
            "${EMPTY:?it is wanted}",
        ] {
            assert!(expanded(text).is_err(), "{text}");
        }
        let nested = |times| "${NONE:-".repeat(times) + &"}".repeat(times);
        assert_eq!(expanded(&nested(100)), Ok(String::new()));
        assert_eq!(expanded(&nested(100_000)), Err(ExpandError::Depth));
        let error = expanded("${EMPTY:?it is $SET}").unwrap_err().to_string();
        assert_eq!(error, "EMPTY is not set: it is value");
    }
}
