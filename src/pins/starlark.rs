//! A module file in Starlark, as far as it is plain: statements that call something by its name, with strings as arguments.

use std::collections::BTreeSet;
use std::ops::Range;

/// The text of a module file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) text: String,
    /// The same with spaces for comments, and for what joins lines.
    pub(super) code: String,
    /// The same with spaces for strings as well: what has the form of code in one is none.
    pub(super) shape: String,
    /// Where strings begin.
    strings: BTreeSet<usize>,
    /// Where lines begin.
    lines: Vec<usize>,
}

/// More parentheses than this around a value are nobody's.
const MAX_PARENTHESES: usize = 16;

/// A statement.
pub(super) struct Statement<'a> {
    pub(super) range: Range<usize>,
    /// What stands before `=`, if it gives something a value.
    pub(super) target: Option<&'a str>,
    /// What it calls, if it plainly does nothing else.
    pub(super) call: Option<Call<'a>>,
}

/// A call.
pub(super) struct Call<'a> {
    source: &'a Source,
    /// The function's name, with what it is called on.
    pub(super) function: &'a str,
    arguments: Vec<(Option<&'a str>, Range<usize>)>,
}

/// What a string stands for, and where that is.
pub(super) struct Literal<'a> {
    pub(super) text: &'a str,
    pub(super) range: Range<usize>,
}

impl Source {
    pub(super) fn new(text: String) -> Self {
        let mut strings = BTreeSet::new();
        let code = blanked(&text, |start, piece| {
            let is_string = !piece.starts_with(['#', '\\']);
            if is_string {
                strings.insert(start);
            }
            !is_string
        });
        let shape = blanked(&text, |_, _| true);
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        Source {
            lines: std::iter::once(0).chain(starts).collect(),
            text,
            code,
            shape,
            strings,
        }
    }

    /// The comment on the line in which what stands at a place ends, without its sign.
    pub(super) fn comment_behind(&self, range: &Range<usize>) -> Option<&str> {
        let line = self.text[range.end..].lines().next()?;
        let mut signs = line.match_indices('#');
        // Elsewhere it is in a string.
        let (sign, _) = signs.find(|(at, _)| self.code[range.end + at..].starts_with(' '))?;
        Some(&line[sign + 1..])
    }

    /// The number of the line that a place is in.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Whether what stands there is no code.
    pub(super) fn is_blank(&self, range: &Range<usize>) -> bool {
        // With the quote, because an empty text is the same everywhere.
        let with_quote = range.start - 1..range.end;
        self.text[with_quote.clone()] != self.code[with_quote]
    }

    /// Whether what stands in quotes there is a string, and neither a comment nor a part of a longer string.
    pub(super) fn is_string(&self, quoted: &Range<usize>) -> bool {
        let starts = [1, 3].map(|quotes| quoted.start.checked_sub(quotes));
        let mut starts = starts.into_iter().flatten();
        starts.any(|start| {
            self.strings.contains(&start)
                && start + quotes(&self.text[start..]).len() == quoted.start
        })
    }

    /// All statements, in their order.
    pub(super) fn statements(&self) -> impl Iterator<Item = Statement<'_>> {
        let all = split(&self.shape, 0..self.shape.len(), b"\n;");
        all.into_iter().map(|range| self.statement(range))
    }

    fn statement(&self, range: Range<usize>) -> Statement<'_> {
        let (target, value) = self.assignment(range.clone());
        Statement {
            call: self.call(value),
            range,
            target,
        }
    }

    /// What stands before the first `=`, if there is one, and the value.
    fn assignment(&self, range: Range<usize>) -> (Option<&str>, Range<usize>) {
        let left = split(&self.shape, range.clone(), b"=").swap_remove(0);
        if left == range {
            return (None, range);
        }
        let value = left.end + 1..range.end;
        (Some(self.shape[left].trim()), value)
    }

    fn call(&self, range: Range<usize>) -> Option<Call<'_>> {
        let range = self.expression(range);
        let open = range.start + self.shape[range.clone()].find('(')?;
        let function = self.shape[range.start..open].trim();
        if function.is_empty() || !function.split('.').all(is_name) {
            return None;
        }
        let arguments = split(&self.shape, self.within(open, range.end)?, b",");
        let arguments = arguments.into_iter().map(|range| self.assignment(range));
        Some(Call {
            source: self,
            function,
            arguments: arguments.collect(),
        })
    }

    /// What is between the bracket at `open` and the one that closes it, if that is the last before `end`.
    fn within(&self, open: usize, end: usize) -> Option<Range<usize>> {
        let mut depth = 0;
        let mut brackets = self.shape[open..].bytes();
        let length = brackets.position(|c| {
            depth += depth_of(c);
            depth == 0
        })?;
        (open + length + 1 == end).then_some(open + 1..open + length)
    }

    /// What is left of a range without blanks and parentheses around.
    fn expression(&self, mut range: Range<usize>) -> Range<usize> {
        for _ in 0..MAX_PARENTHESES {
            let code = &self.code[range.clone()];
            let start = range.end - code.trim_start().len();
            range = start..start + code.trim().len();
            let is_open = self.shape[range.clone()].starts_with('(');
            let inner = is_open.then(|| self.within(range.start, range.end));
            match inner.flatten() {
                Some(inner) => range = inner,
                None => break,
            }
        }
        range
    }

    /// What is in the quotes of a string that says it without escapes.
    fn literal(&self, range: Range<usize>) -> Option<Literal<'_>> {
        let range = self.expression(range);
        let written = &self.code[range.clone()];
        let raw = written.strip_prefix('r');
        let string = raw.unwrap_or(written);
        if !string.starts_with(['"', '\'']) || string_length(string) != string.len() {
            return None;
        }
        let quotes = quotes(string);
        let text = string[quotes.len()..].strip_suffix(quotes)?;
        let end = range.end - quotes.len();
        (raw.is_some() || !text.contains('\\')).then_some(Literal {
            text,
            range: end - text.len()..end,
        })
    }
}

impl Statement<'_> {
    /// Whether it gives a variable a value, in whatever way.
    pub(super) fn sets(&self, variable: &str) -> bool {
        let mut names = self.target.unwrap_or_default().split(|c| !is_of_name(c));
        names.any(|name| name == variable)
    }
}

impl<'a> Call<'a> {
    /// Whether it has an argument of a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.arguments
            .iter()
            .any(|(called, _)| *called == Some(name))
    }

    /// The argument of a name, if it is a string.
    pub(super) fn named(&self, name: &str) -> Option<Literal<'a>> {
        let mut arguments = self.arguments.iter();
        let (_, value) = arguments.find(|(called, _)| *called == Some(name))?;
        self.source.literal(value.clone())
    }

    /// The argument at a place, if it is a string without a name.
    pub(super) fn at(&self, place: usize) -> Option<&'a str> {
        match self.arguments.get(place)? {
            (None, value) => Some(self.source.literal(value.clone())?.text),
            (Some(_), _) => None,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_of_name)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// By how much what is behind a character is deeper in brackets.
fn depth_of(c: u8) -> i32 {
    match c {
        b'(' | b'[' | b'{' => 1,
        b')' | b']' | b'}' => -1,
        _ => 0,
    }
}

/// The parts of a range between characters that stand in no brackets of it; at least one.
fn split(shape: &str, range: Range<usize>, characters: &[u8]) -> Vec<Range<usize>> {
    let mut depth = 0;
    let mut start = range.start;
    let mut parts = Vec::new();
    for (at, c) in shape[range.clone()].bytes().enumerate() {
        depth += depth_of(c);
        if depth == 0 && characters.contains(&c) {
            parts.push(start..range.start + at);
            start = range.start + at + 1;
        }
    }
    parts.push(start..range.end);
    parts
}

/// A text with spaces for the comments, the strings and the joints of lines that `is_blank` says of.
fn blanked(text: &str, mut is_blank: impl FnMut(usize, &str) -> bool) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['#', '"', '\'', '\\']) {
        let (before, after) = rest.split_at(start);
        code += before;
        let length = if after.starts_with('#') {
            after.find('\n').unwrap_or(after.len())
        } else if let Some(line) = after.strip_prefix('\\') {
            let end = ["\n", "\r\n"].into_iter().find(|end| line.starts_with(end));
            1 + end.map_or(0, str::len)
        } else {
            string_length(after)
        };
        let (piece, after) = after.split_at(length);
        if is_blank(code.len(), piece) {
            code += &" ".repeat(length);
        } else {
            code += piece;
        }
        rest = after;
    }
    code + rest
}

/// The quotes that a string begins with.
fn quotes(string: &str) -> &str {
    let one = &string[..1];
    let three = one.repeat(3);
    if string.starts_with(&three) {
        &string[..3]
    } else {
        one
    }
}

/// The length of the string that a text begins with.
fn string_length(text: &str) -> usize {
    let quotes = quotes(text);
    let mut at = quotes.len();
    while let Some(next) = text[at..].chars().next() {
        if text[at..].starts_with(quotes) {
            return at + quotes.len();
        }
        // A string of one line that has no end is an error, which Bazel tells.
        if next == '\n' && quotes.len() == 1 {
            break;
        }
        at += next.len_utf8();
        if next == '\\' {
            let joint = text[at..].starts_with("\r\n").then_some(2);
            let next = text[at..].chars().next().map_or(0, char::len_utf8);
            at += joint.unwrap_or(next);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_begin_outside_of_strings() {
        for (text, code) in [
            ("a # b\nc", "a    \nc"),
            ("'#' # b", "'#'    "),
            (r##""\"#" # b"##, r##""\"#"    "##),
            ("'''\n'#''' # \"\nb", "'''\n'#'''    \nb"),
            ("'' # '\n''", "''    \n''"),
            ("'no end # b\nc # d", "'no end # b\nc    "),
            ("\"\\", "\"\\"),
            ("a \\\nb \\\r\n'\\\n' # \\\nc", "a   b    '\\\n'    \nc"),
            ("'a \\\r\n # b' # c", "'a \\\r\n # b'    "),
        ] {
            assert_eq!(Source::new(text.to_owned()).code, code);
        }
    }

    #[test]
    fn a_comment_is_that_of_the_line() {
        for (text, comment) in [
            ("f('x', 'a#b') # c # d", Some(" c # d")),
            ("f('x', 'a#b')\n# c", None),
            ("f('x', \"\"\"# c\n\"\"\")", None),
            ("f('x', r\"\"\"\n#\"\"\") # c", None),
            ("f('x' # c\n)", Some(" c")),
            ("f('x' #", Some("")),
            ("f('x')", None),
            ("# 'x' # c", Some(" c")),
        ] {
            let source = Source::new(text.to_owned());
            let at = text.find('x').unwrap();
            assert_eq!(source.comment_behind(&(at..at + 1)), comment, "{text}");
        }
    }

    /// Statements as `TARGET = FUNCTION NAME:TEXT…`, where something is known of them.
    fn read(text: &str) -> Vec<String> {
        let source = Source::new(text.to_owned());
        let words = source.statements().map(|statement| {
            let target = statement.target.map(|target| format!("{target} = "));
            let call = statement.call.map(|call| {
                let arguments = call.arguments.iter().map(|(name, value)| {
                    let literal = source.literal(value.clone());
                    let name = name.unwrap_or_default();
                    format!(" {name}:{}", literal.map_or("?", |literal| literal.text))
                });
                format!("{}{}", call.function, arguments.collect::<String>())
            });
            target.unwrap_or_default() + &call.unwrap_or_default()
        });
        words.filter(|words| !words.is_empty()).collect()
    }

    #[test]
    fn plain_calls_are_read() {
        for (text, expected) in [
            ("f('a', \"b\")", &["f :a :b"][..]),
            ("a=x.f(n = 'v',);g()", &["a = x.f n:v :?", "g :?"]),
            ("f(\n  n # of it\n  = 'v' # and\n)\n", &["f n:v"]),
            ("f(r'\\a', r\"b\", '\\a')", &["f :\\a :b :?"]),
            (
                "f('''a\nb''', r\"\"\"c\"\"\", '', '''''')",
                &["f :a\nb :c : :"],
            ),
            ("a = \\\n f \\\r\n (n = \\\n 'v')", &["a = f n:v"]),
            ("a = (\n f(n = (('v'))))", &["a = f n:v"]),
            (
                "f('v' + w, ('v',), ['v'], g('v'), 'v'[0])",
                &["f :? :? :? :? :?"],
            ),
            ("f('a'if b else'c', n = V)", &["f :? n:?"]),
            (
                "f('x(n = 1)')\n'''\nf('y')\n'''\n# f('z')",
                &["f :x(n = 1)"],
            ),
            ("a, b = f(), 1", &["a, b = "]),
            (
                "a = f('v').g\nb = f('v') or g('v')\nc[0] = f()",
                &["a = ", "b = ", "c[0] = f :?"],
            ),
            ("[f('v') for f in [g]]\nf('v')('w')\nx[0].f('v')", &[]),
            ("a == f('v')\na += f('v')", &["a = ", "a + = f :v"]),
            ("f('v'\ng('v')", &[]),
            ("f('v'))\ng(", &[]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
