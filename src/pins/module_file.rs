//! What of a `MODULE.bazel` pins images: the calls that declare them, and where their digests stand.
//!
//! A file is read as far as is needed to find calls with plain arguments: strings, comments and
//! brackets. Nothing is evaluated, and nothing is written but the digest, so all else stays as it was.

use std::ops::Range;

use crate::oci::digest::Digest;
use crate::oci::platform::{Platform, PlatformError};
use crate::oci::reference::{Reference, ReferenceError};

/// The name of this project's module.
const MODULE: &str = "oci_pull_all";
const EXTENSION_FILE: &str = "//oci:extensions.bzl";
const EXTENSION: &str = "oci";
const RULES_FILE: &str = "//oci:defs.bzl";
const RULES: [&str; 2] = ["oci_pull", "oci_pull_all"];

/// A `MODULE.bazel`, or a file that one includes.
#[derive(Clone, Debug)]
pub struct ModuleFile {
    text: String,
    tokens: Vec<Token>,
}

/// An image that a module file declares.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The repository's name, if it is written as a string.
    pub name: Option<String>,
    /// The line on which the call begins, from 1.
    pub line: usize,
    /// What the call says.
    pub image: Result<DeclaredImage, Unreadable>,
}

/// The image of a declaration.
#[derive(Clone, Debug)]
pub struct DeclaredImage {
    /// Its name; a tag means nothing here.
    pub repository: Reference,
    /// What stands as its digest.
    pub digest: String,
    /// What the comment on the digest's line says.
    pub comment: Option<String>,
    /// The platforms; all when empty.
    pub platforms: Vec<Platform>,
    /// Whether the registry is spoken to without TLS.
    pub plain_http: bool,
    /// The label of a file with credentials.
    pub docker_config: Option<String>,
    /// Where in the file the digest stands, without its quotes.
    digest_at: Range<usize>,
}

/// Why a declaration cannot be pinned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unreadable {
    /// An attribute is computed.
    #[error("its {attribute} is not written out as {expected}")]
    NotPlain {
        /// The attribute.
        attribute: &'static str,
        /// What it would have to be.
        expected: &'static str,
    },
    /// There is no digest to replace.
    #[error("it has no digest")]
    NoDigest,
    /// Neither one name of an image nor the other.
    #[error("it must name its image either by image or by registry and repository")]
    NoImage,
    /// The image's name is none.
    #[error("its image cannot be asked for: {0}")]
    Image(String),
    /// A platform is none.
    #[error("its platforms are of no use: {0}")]
    Platform(String),
}

impl From<ReferenceError> for Unreadable {
    fn from(error: ReferenceError) -> Self {
        Unreadable::Image(error.to_string())
    }
}

impl From<PlatformError> for Unreadable {
    fn from(error: PlatformError) -> Self {
        Unreadable::Platform(error.to_string())
    }
}

/// Why there is no tag to resolve.
#[derive(Debug, thiserror::Error)]
pub enum NoTag {
    /// Nothing says which tag.
    #[error(
        "nothing says which tag it follows: write the tag alone into a comment on its digest's line, such as # stable"
    )]
    None,
    /// The comment says something else.
    #[error(
        "the comment on its digest's line does not say which tag it follows: write the tag alone, such as # stable"
    )]
    Comment(#[source] ReferenceError),
}

impl DeclaredImage {
    /// The image by the tag that it follows, as the comment on its digest's line tells.
    pub fn followed(&self) -> Result<Reference, NoTag> {
        let tag = self.comment.as_deref().ok_or(NoTag::None)?;
        self.repository.with_tag(tag).map_err(NoTag::Comment)
    }
}

impl ModuleFile {
    /// Reads the text of a module file.
    pub fn new(text: String) -> Self {
        let tokens = tokens(&text);
        ModuleFile { text, tokens }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name under which the file's module sees this project's, if it says so: empty in the module itself.
    pub fn own_name(&self) -> Option<String> {
        self.calls().find_map(|call| {
            let named = |key| self.string(call.argument(key)?);
            match call.function[..] {
                [function] if self.is(function, "module") => {
                    (named("name")? == MODULE).then(String::new)
                }
                [function] if self.is(function, "bazel_dep") => {
                    let own = named("name")? == MODULE;
                    own.then(|| named("repo_name").unwrap_or_else(|| MODULE.to_owned()))
                }
                _ => None,
            }
        })
    }

    /// The labels of the files that this one includes.
    pub fn included(&self) -> Vec<String> {
        self.calls()
            .filter(|call| matches!(call.function[..], [function] if self.is(function, "include")))
            .filter_map(|call| self.string(call.positional_or(0, "label")?))
            .collect()
    }

    /// The images that are declared by this project's extension and rules, where the module sees the
    /// project as `own_name`.
    pub fn declared(&self, own_name: &str) -> Vec<Declared> {
        let repository = if own_name.is_empty() {
            String::new()
        } else {
            format!("@{own_name}")
        };
        let mut extensions: Vec<&str> = Vec::new();
        let mut rules: Vec<&str> = Vec::new();
        let mut declared = Vec::new();
        for call in self.calls() {
            let argument = |index, key| self.string(call.positional_or(index, key)?);
            let is_from = |key, file: &str| {
                argument(0, key)
                    .as_deref()
                    .and_then(|label| label.strip_prefix(&*repository))
                    .is_some_and(|label| label == file)
            };
            match call.function[..] {
                [function] if self.is(function, "use_extension") => {
                    let ours = is_from("extension_bzl_file", EXTENSION_FILE)
                        && argument(1, "extension_name").as_deref() == Some(EXTENSION);
                    extensions.extend(call.assigned.filter(|_| ours).map(|name| self.at(name)));
                }
                [function] if self.is(function, "use_repo_rule") => {
                    let ours = is_from("repo_rule_bzl_file", RULES_FILE)
                        && argument(1, "repo_rule_name")
                            .is_some_and(|rule| RULES.contains(&rule.as_str()));
                    rules.extend(call.assigned.filter(|_| ours).map(|name| self.at(name)));
                }
                [proxy, dot, tag]
                    if extensions.contains(&self.at(proxy))
                        && self.is(dot, ".")
                        && self.is(tag, "pull") =>
                {
                    declared.push(self.declare(&call));
                }
                [function] if rules.contains(&self.at(function)) => {
                    declared.push(self.declare(&call));
                }
                _ => {}
            }
        }
        declared
    }

    /// The text with other digests for images that it declares.
    pub fn with_digests<'a>(
        &self,
        digests: impl IntoIterator<Item = (&'a DeclaredImage, &'a Digest)>,
    ) -> String {
        let mut changes: Vec<_> = digests.into_iter().collect();
        changes.sort_by_key(|(image, _)| image.digest_at.start);
        let mut text = String::with_capacity(self.text.len());
        let mut done = 0;
        for (image, digest) in changes {
            text.push_str(&self.text[done..image.digest_at.start]);
            text.push_str(&digest.to_string());
            done = image.digest_at.end;
        }
        text.push_str(&self.text[done..]);
        text
    }

    fn declare(&self, call: &Call<'_>) -> Declared {
        let first = call.function[0].range.start;
        Declared {
            name: call.argument("name").and_then(|name| self.string(name)),
            line: 1 + self.text[..first].matches('\n').count(),
            image: self.image(call),
        }
    }

    fn image(&self, call: &Call<'_>) -> Result<DeclaredImage, Unreadable> {
        let plain = |attribute, value| {
            self.plain(value).ok_or(Unreadable::NotPlain {
                attribute,
                expected: "a string",
            })
        };
        let given = |attribute| match call.argument(attribute) {
            None => Ok(None),
            Some(value) => plain(attribute, value)
                .map(|literal| Some(literal.text.to_owned()).filter(|text| !text.is_empty())),
        };
        let image = match (given("image")?, given("registry")?, given("repository")?) {
            (Some(image), None, None) => image,
            (None, Some(registry), Some(repository)) => format!("{registry}/{repository}"),
            _ => return Err(Unreadable::NoImage),
        };
        let digest = call.argument("digest").ok_or(Unreadable::NoDigest)?;
        let digest = plain("digest", digest)?;
        Ok(DeclaredImage {
            repository: image.parse()?,
            digest: digest.text.to_owned(),
            comment: self.comment_behind(digest.token),
            platforms: match call.argument("platforms") {
                None => Vec::new(),
                Some(value) => self
                    .strings(value)
                    .ok_or(Unreadable::NotPlain {
                        attribute: "platforms",
                        expected: "a list of strings",
                    })?
                    .iter()
                    .map(|platform| platform.parse())
                    .collect::<Result<_, _>>()?,
            },
            plain_http: match call.argument("plain_http") {
                None => false,
                Some([value]) if self.is(value, "True") => true,
                Some([value]) if self.is(value, "False") => false,
                Some(_) => {
                    return Err(Unreadable::NotPlain {
                        attribute: "plain_http",
                        expected: "True or False",
                    });
                }
            },
            docker_config: given("docker_config")?,
            digest_at: digest.content,
        })
    }

    /// The comment on the line on which a token ends.
    fn comment_behind(&self, token: &Token) -> Option<String> {
        let comment = self
            .tokens
            .iter()
            .skip_while(|other| other.range.start < token.range.end)
            .take_while(|other| other.kind != TokenKind::Newline)
            .find(|other| other.kind == TokenKind::Comment)?;
        let text = self.at(comment).trim_start_matches('#').trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The calls that are statements, or what a variable is set to, in the file's order.
    fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        let mut depth = 0_usize;
        self.tokens
            .split(move |token| {
                match token.kind {
                    TokenKind::Open => depth += 1,
                    TokenKind::Close => depth = depth.saturating_sub(1),
                    _ => {}
                }
                token.kind == TokenKind::Newline && depth == 0
            })
            .filter_map(|statement| {
                let is_code =
                    |token: &&Token| !matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
                Call::parse(self, &statement.iter().filter(is_code).collect::<Vec<_>>())
            })
    }

    fn at(&self, token: &Token) -> &str {
        &self.text[token.range.clone()]
    }

    fn is(&self, token: &Token, text: &str) -> bool {
        self.at(token) == text
    }

    /// Where the content of a string stands, and what it means, if it is a string without escapes.
    fn literal(&self, token: &Token) -> Option<(Range<usize>, &str)> {
        let TokenKind::Text { prefix, quotes } = token.kind else {
            return None;
        };
        let content = token.range.start + prefix + quotes..token.range.end - quotes;
        let text = &self.text[content.clone()];
        // A name with an escape in it is nothing that anybody writes.
        (!text.contains('\\')).then_some((content, text))
    }

    /// A value that is one such string.
    fn plain<'a>(&'a self, value: &[&'a Token]) -> Option<Literal<'a>> {
        let [token] = value else {
            return None;
        };
        let (content, text) = self.literal(token)?;
        Some(Literal {
            token,
            content,
            text,
        })
    }

    fn string(&self, value: &[&Token]) -> Option<String> {
        self.plain(value).map(|literal| literal.text.to_owned())
    }

    fn strings(&self, value: &[&Token]) -> Option<Vec<String>> {
        let [open, elements @ .., close] = value else {
            return None;
        };
        if !self.is(open, "[") || !self.is(close, "]") {
            return None;
        }
        elements
            .split(|token| self.is(token, ","))
            .filter(|element| !element.is_empty())
            .map(|element| self.string(element))
            .collect()
    }
}

/// A call: `[ASSIGNED =] FUNCTION(ARGUMENTS)`.
#[derive(Debug)]
struct Call<'a> {
    assigned: Option<&'a Token>,
    /// Names with dots between them.
    function: Vec<&'a Token>,
    /// Each argument's name, empty where it is given by its position, and value.
    arguments: Vec<(&'a str, Vec<&'a Token>)>,
}

impl<'a> Call<'a> {
    fn parse(file: &'a ModuleFile, statement: &[&'a Token]) -> Option<Self> {
        let open = statement
            .iter()
            .position(|token| token.kind == TokenKind::Open)
            .filter(|open| file.is(statement[*open], "("))?;
        let (assigned, function) = match &statement[..open] {
            [assigned, equals, function @ ..] if file.is(equals, "=") => {
                (Some(*assigned), function.to_vec())
            }
            function => (None, function.to_vec()),
        };
        let (close, inner) = statement[open + 1..].split_last()?;
        if function.is_empty() || !file.is(close, ")") {
            return None;
        }
        let mut arguments: Vec<Vec<&Token>> = vec![Vec::new()];
        let mut depth = 0_usize;
        for &token in inner {
            match token.kind {
                TokenKind::Open => depth += 1,
                // A second call follows the first one.
                TokenKind::Close => depth = depth.checked_sub(1)?,
                TokenKind::Other if depth == 0 && file.is(token, ",") => {
                    arguments.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            arguments.last_mut().expect("there is one").push(token);
        }
        let arguments = arguments.into_iter().filter(|tokens| !tokens.is_empty());
        let arguments = arguments.map(|tokens| match tokens[..] {
            [name, equals, ref value @ ..]
                if name.kind == TokenKind::Name && file.is(equals, "=") =>
            {
                (file.at(name), value.to_vec())
            }
            _ => ("", tokens),
        });
        Some(Call {
            assigned,
            function,
            arguments: arguments.collect(),
        })
    }

    fn argument(&self, name: &str) -> Option<&[&'a Token]> {
        let mut arguments = self.arguments.iter();
        let (_, value) = arguments.find(|(argument, _)| *argument == name)?;
        Some(value)
    }

    fn positional_or(&self, index: usize, name: &str) -> Option<&[&'a Token]> {
        match self.arguments.get(index) {
            Some(("", value)) => Some(value),
            _ => self.argument(name),
        }
    }
}

/// A string without escapes.
struct Literal<'a> {
    token: &'a Token,
    /// Where its content stands.
    content: Range<usize>,
    text: &'a str,
}

/// A piece of a file that is not space.
#[derive(Clone, Debug)]
struct Token {
    kind: TokenKind,
    range: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind {
    /// A name or a number.
    Name,
    /// A string: the number of bytes before its first quote, and of quotes at either end.
    Text {
        prefix: usize,
        quotes: usize,
    },
    Comment,
    Open,
    Close,
    /// What ends a statement outside of brackets.
    Newline,
    /// Any other character, and a string that does not end.
    Other,
}

/// Takes a text apart, as Starlark's lexer does (Starlark specification, "Lexical elements").
fn tokens(text: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let until = |stop: &dyn Fn(char) -> bool| rest.find(stop).unwrap_or(rest.len());
        let (kind, length) = match first {
            '\n' | ';' => (Some(TokenKind::Newline), 1),
            '#' => (Some(TokenKind::Comment), until(&|c| c == '\n')),
            '(' | '[' | '{' => (Some(TokenKind::Open), 1),
            ')' | ']' | '}' => (Some(TokenKind::Close), 1),
            '\'' | '"' => string(rest, 0),
            // A line that goes on.
            '\\' if rest[1..].starts_with("\r\n") => (None, 3),
            '\\' if rest[1..].starts_with('\n') => (None, 2),
            c if is_word(c) => {
                let length = until(&|c| !is_word(c));
                if matches!(&rest[..length], "r" | "b" | "rb" | "br")
                    && rest[length..].starts_with(['\'', '"'])
                {
                    string(rest, length)
                } else {
                    (Some(TokenKind::Name), length)
                }
            }
            c if c.is_whitespace() => (None, c.len_utf8()),
            c => (Some(TokenKind::Other), c.len_utf8()),
        };
        if let Some(kind) = kind {
            let range = start..start + length;
            tokens.push(Token { kind, range });
        }
        start += length;
    }
    tokens
}

/// The kind and length of the string at the beginning of `text`, whose first quote is at `prefix`.
fn string(text: &str, prefix: usize) -> (Option<TokenKind>, usize) {
    let body = &text.as_bytes()[prefix..];
    let quote = body[0];
    let quotes = if body.starts_with(&[quote; 3]) { 3 } else { 1 };
    let mut at = quotes;
    while let Some(byte) = body.get(at) {
        match *byte {
            // Be it raw or not, a quote behind it ends nothing.
            b'\\' => at += 2,
            b'\n' if quotes == 1 => break,
            byte if byte == quote && body[at..].starts_with(&[quote; 3][..quotes]) => {
                return (
                    Some(TokenKind::Text { prefix, quotes }),
                    prefix + at + quotes,
                );
            }
            _ => at += 1,
        }
    }
    let mut end = (prefix + at).min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    (Some(TokenKind::Other), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;

    const HEAD: &str = "bazel_dep(name = 'oci_pull_all', version = '0.1.0')\n\
                        oci = use_extension('@oci_pull_all//oci:extensions.bzl', 'oci')\n";

    fn declared(text: &str) -> Vec<Declared> {
        let file = ModuleFile::new(text.to_owned());
        let name = file.own_name().unwrap_or_else(|| MODULE.to_owned());
        file.declared(&name)
    }

    fn names(text: &str) -> Vec<String> {
        let declared = declared(text).into_iter();
        declared.map(|one| one.name.unwrap_or_default()).collect()
    }

    fn only(call: &str) -> Result<DeclaredImage, Unreadable> {
        let mut declared = declared(&format!("{HEAD}oci.pull({call})\n"));
        assert_eq!(declared.len(), 1, "{call}");
        declared.remove(0).image
    }

    #[test]
    fn finds_calls_whatever_they_are_called_by() {
        let text = r#"
# oci.pull(name = "comment")
"""
oci.pull(name = "docstring")
"""
module(name = "app", version = "1")
bazel_dep(name = "rules_oci", version = "2"); bazel_dep(repo_name = "layers", name = "oci_pull_all")
theirs = use_extension("@rules_oci//oci:extensions.bzl", "oci")
theirs.pull(name = "theirs")
images = use_extension(
    "@layers//oci:extensions.bzl",  # ours
    extension_name = "oci",
    dev_dependency = True,
)
images.pull(name = "one")
images.pull(
    name = 'two', tags = ["x(", ")y"],
) ; images.pull(name = r"three")
images.pull(**{"name": "four"})
images.scanner(name = "five")
oci_pull = use_repo_rule("@layers//oci:defs.bzl", "oci_pull")
whole = use_repo_rule("@layers//oci:defs.bzl", "oci_pull_all")
oci_pull(name = "six")
whole(name = "seven" + "")
use_repo(images, "one", mine = "two")
http_archive(name = "eight")
"#;
        assert_eq!(names(text), ["one", "two", "three", "", "six", ""]);
        assert_eq!(declared(text)[0].line, 15);
        let own = "module(name = 'oci_pull_all')\n\
                   oci = use_extension('//oci:extensions.bzl', 'oci')\noci.pull(name = 'own')";
        assert_eq!(names(own), ["own"]);
    }

    #[test]
    fn reads_what_a_call_says() {
        let image = only(
            "name = 'n', image = 'debian', digest = 'old', # stable\nplatforms = ['linux/amd64', # both\n'linux/arm64/v8',], plain_http = True, docker_config = '//:c.json'",
        )
        .unwrap();
        assert_eq!(
            image.followed().unwrap().to_string(),
            "docker.io/library/debian:stable"
        );
        assert_eq!(image.digest, "old");
        assert_eq!(image.platforms.len(), 2);
        assert!(image.plain_http);
        assert_eq!(image.docker_config.as_deref(), Some("//:c.json"));
        let image = only("digest = '', registry = 'a.test', repository = 'b'").unwrap();
        assert_eq!(image.repository.repository(), "b");
        assert!(matches!(image.followed(), Err(NoTag::None)));
        let image = only("image = 'a', digest = '',\n# stable\n").unwrap();
        assert_eq!(image.comment, None, "it is on another line");
        let image = only("image = 'a', digest = '', # see a/b\n").unwrap();
        assert!(matches!(image.followed(), Err(NoTag::Comment(_))));
    }

    #[test]
    fn what_is_computed_is_not_guessed() {
        for (call, expected) in [
            ("image = 'a'", "no digest"),
            ("image = 'a', digest = D", "digest is not"),
            ("image = 'a', digest = 'x' + 'y'", "digest is not"),
            ("image = 'a', digest = 'x\\x41'", "digest is not"),
            ("image = IMAGE, digest = ''", "image is not"),
            ("digest = ''", "either by image"),
            (
                "image = 'a', registry = 'b', digest = ''",
                "either by image",
            ),
            ("image = 'A', digest = ''", "cannot be asked for"),
            ("image = 'a', digest = '', platforms = P", "list of strings"),
            ("image = 'a', digest = '', platforms = ['x']", "\"x\""),
            ("image = 'a', digest = '', plain_http = P", "True or False"),
        ] {
            let error = only(call).unwrap_err().to_string();
            assert!(error.contains(expected), "{call}: {error}");
        }
    }

    #[test]
    fn nothing_but_the_digest_is_replaced() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let before = format!(
            "{HEAD}oci . pull ( name=\"a\",digest=\t'''old''' ,image='x' )#  stable\r\n\
             oci.pull(image = 'y', digest = r\"\", name = 'b')\n# größe\n"
        );
        let file = ModuleFile::new(before.clone());
        let declared = file.declared(MODULE);
        let images = declared.iter().map(|one| one.image.as_ref().unwrap());
        let after = file.with_digests(images.rev().map(|image| (image, &digest)));
        let expected = before
            .replace("'''old'''", &format!("'''{digest}'''"))
            .replace("r\"\"", &format!("r\"{digest}\""));
        assert_eq!(after, expected);
        assert_eq!(file.with_digests([]), before);
    }

    #[test]
    fn a_text_that_breaks_off_is_no_call() {
        for text in [
            "oci.pull(",
            "oci.pull(name = 'x",
            "oci.pull(name = '''x'",
            "oci.pull)(",
        ] {
            assert_eq!(names(&format!("{HEAD}{text}")), [""; 0], "{text}");
        }
        for text in ["'\\", "'\\ö", "\"\"\"\\", "r", "\\", "=("] {
            tokens(text);
            names(text);
        }
        // The next line is none of it.
        let text = format!("{HEAD}x = 'a\noci.pull(name = 'y')\n");
        assert_eq!(names(&text), ["y"]);
    }

    #[test]
    fn knows_what_is_included() {
        let file = ModuleFile::new("include(\"//a:b.MODULE.bazel\")\ninclude(x)\n".to_owned());
        assert_eq!(file.included(), ["//a:b.MODULE.bazel"]);
        assert_eq!(file.own_name(), None);
    }
}
