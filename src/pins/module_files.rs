//! The texts of `MODULE.bazel` and of what it includes: where the digests stand, and other digests in their place.
//!
//! A digest is so long that the same one in quotes is the same pin, wherever it stands. What stands for one that is not
//! known yet may stand for anything, so it is replaced only in a call that names the pull.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::files::{FileError, io_failed, rewrite};
use crate::oci::digest::Digest;
use crate::oci::reference::Tag;

use crate::text::named;

use super::declared::Declared;
use super::repository_rules::{Bazel, BazelError, RULES, USE_REPO_RULE, ask};

/// The file that makes a directory a module.
pub const MODULE_FILE: &str = "MODULE.bazel";

/// What this module calls itself.
const THIS_MODULE: &str = "oci_pull_all";

/// Why the files of a workspace cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// There is no such file.
    #[error("there is no {MODULE_FILE} in {path} or above it", path = .0.display())]
    NoModule(PathBuf),
    /// Somebody else wrote to the file.
    #[error("{path} has changed while its images were asked for, so nothing was written: try again", path = .0.display())]
    Changed(PathBuf),
}

/// Why a digest is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is computed, or in a file that is loaded or lies elsewhere.
    #[error(
        "{digest:?} stands neither in {MODULE_FILE} nor in a file of this workspace that it includes, but for comments and what links out of it lead to: write \"{new}\" where {name} has its digest from"
    )]
    NoPlace {
        /// Whose digest it is.
        name: String,
        /// What stands as its digest.
        digest: String,
        /// What it should be.
        new: Digest,
    },
    /// It would have to become several.
    #[error(
        "{digest:?} stands at {places}, and the pulls that have it are not to have one digest any more: {wanted}; write each in its place"
    )]
    Several {
        /// What stands as its digest.
        digest: String,
        /// Files and lines.
        places: Places,
        /// Who is to have which digest.
        wanted: String,
    },
    /// It is no digest of anything, and no call says that it is that of the pull.
    #[error(
        "{digest:?} is no digest that only one thing can have, and no call that is plainly a pull of {THIS_MODULE} has it as digest beside name = {name:?}{at}: write \"{new}\" where {name} has its digest from", at = .places.as_hint()
    )]
    Word {
        /// Whose digest it is.
        name: String,
        /// What stands as its digest.
        digest: String,
        /// Files and lines where it stands all the same.
        places: Places,
        /// What it should be.
        new: Digest,
    },
}

impl Refusal {
    /// Whether it is about what has this name and this text as its digest.
    pub fn is_of(&self, name: &str, digest: &str) -> bool {
        match self {
            Refusal::NoPlace { name: of, .. } | Refusal::Word { name: of, .. } => of == name,
            Refusal::Several { digest: of, .. } => of == digest,
        }
    }
}

/// What becomes of the digest of something that is pinned.
#[derive(Clone, Debug)]
pub struct Move {
    /// The repository's name.
    pub name: String,
    /// What stands as its digest.
    pub digest: String,
    /// What it is to have in that place.
    pub target: Target,
}

/// What a digest is to become.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Another one.
    New(Digest),
    /// It stays.
    Same,
    /// It was not found out.
    Unknown,
}

impl Move {
    fn new_digest(&self) -> Option<&Digest> {
        match &self.target {
            Target::New(digest) => Some(digest),
            Target::Same | Target::Unknown => None,
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::New(digest) => write!(f, "{} {digest}", self.name),
            Target::Same => write!(f, "{} unchanged", self.name),
            Target::Unknown => write!(f, "{} unknown", self.name),
        }
    }
}

/// Files and lines.
#[derive(Debug)]
pub struct Places(Vec<(PathBuf, usize)>);

impl Places {
    fn as_hint(&self) -> String {
        if self.0.is_empty() {
            String::new()
        } else {
            format!(" (it stands at {self})")
        }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.0.iter();
        let places = places.map(|(path, line)| format!("{}:{line}", path.display()));
        f.write_str(&named(places))
    }
}

/// The module files of a workspace.
#[derive(Debug)]
pub struct ModuleFiles {
    root: PathBuf,
    files: Vec<ModuleFile>,
    /// What this workspace calls this module.
    names: BTreeSet<String>,
}

#[derive(Debug)]
struct ModuleFile {
    path: PathBuf,
    /// With a character for each byte: Bazel takes it in any encoding of which ASCII is a part.
    text: String,
    /// The same with spaces for comments.
    code: String,
    /// The same with spaces for strings as well: what has the form of code in one is none.
    shape: String,
    /// Whether it may be written: a link may lead out of the workspace.
    is_inside: bool,
}

/// Where a quoted text stands, without its quotes.
struct Place {
    file: usize,
    range: Range<usize>,
}

impl ModuleFiles {
    /// The `MODULE.bazel` of the workspace that a directory is in.
    pub fn find(directory: &Path) -> Result<PathBuf, PinError> {
        directory
            .ancestors()
            .map(|directory| directory.join(MODULE_FILE))
            .find(|file| file.is_file())
            .ok_or_else(|| PinError::NoModule(directory.to_owned()))
    }

    /// Reads a module file and those that it includes.
    pub fn read(module: &Path) -> Result<Self, PinError> {
        let parent = module.parent().unwrap_or(Path::new(""));
        let mut workspace = ModuleFiles {
            root: parent.to_owned(),
            files: Vec::new(),
            names: BTreeSet::new(),
        };
        let within = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let within = io_failed("read", within, fs::canonicalize(within))?;
        let mut queue = vec![module.to_owned()];
        let mut seen = BTreeSet::new();
        let mut modules = Vec::new();
        while let Some(path) = queue.pop() {
            // A link may lead to one that is included as well.
            let place = io_failed("read", &path, fs::canonicalize(&path))?;
            let is_inside = place.starts_with(&within);
            if !seen.insert(place) {
                continue;
            }
            let text = decoded(&io_failed("read", &path, fs::read(&path))?);
            let code = blanked(&text, |piece| piece.starts_with('#'));
            let shape = blanked(&code, |_| true);
            let included = included(&code).into_iter().rev();
            let included = included.filter_map(|label| String::from_utf8(encoded(label)).ok());
            let included = included.filter_map(|label| workspace.file(&label));
            // One that is not there Bazel tells of.
            queue.extend(included.filter(|path| path.is_file()));
            modules.extend(modules_of(&code, &shape));
            workspace.files.push(ModuleFile {
                path,
                text,
                code,
                shape,
                is_inside,
            });
        }
        let ours = modules.into_iter().filter(|(name, _)| name == THIS_MODULE);
        workspace.names = ours.map(|(_, called)| called).collect();
        Ok(workspace)
    }

    /// The path of a file of the workspace by its label; none for a file of another repository, or where no label leads.
    pub fn file(&self, label: &str) -> Option<PathBuf> {
        let label = label.trim_start_matches('@');
        let (package, name) = match label.strip_prefix("//") {
            Some(label) => match label.split_once(':') {
                Some(parts) => parts,
                None => (label, label.rsplit('/').next().unwrap_or(label)),
            },
            None if label.contains("//") => return None,
            None => ("", label.trim_start_matches(':')),
        };
        let path = Path::new(package).join(name);
        let mut parts = path.components();
        let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
        is_inside.then(|| self.root.join(path))
    }

    /// What repository rules of the workspace pull, which Bazel is asked for where there are any.
    pub fn repository_rules(&self, bazel: Bazel) -> Result<Vec<Declared>, BazelError> {
        if self
            .files
            .iter()
            .any(|file| file.code.contains(USE_REPO_RULE))
        {
            ask(&self.root, bazel)
        } else {
            Ok(Vec::new())
        }
    }

    /// The tag that stands alone in a comment behind the digest of `name`, as it did before there was an attribute for it.
    pub fn tag_in_comment(&self, name: &str, digest: &str) -> Option<&str> {
        let places = self.places(name, digest);
        let comments = places.iter().filter_map(|place| {
            let text = &self.files[place.file].text;
            let line = text[place.range.end..].lines().next()?;
            let (_, comment) = line.split_once('#')?;
            Some(comment.trim()).filter(|comment| comment.parse::<Tag>().is_ok())
        });
        let tags: BTreeSet<&str> = comments.collect();
        tags.first().copied().filter(|_| tags.len() == 1)
    }

    /// Replaces digests, and nothing else.
    ///
    /// Returns why some are left as they are; the others are written.
    pub fn replace(&self, moves: &[Move]) -> Result<Vec<Refusal>, PinError> {
        let mut pins: BTreeMap<(&str, &str), Vec<&Move>> = BTreeMap::new();
        for one in moves {
            // Pulls of one digest move together, and a word means another one in each of them.
            let name = if is_word(&one.digest) { &*one.name } else { "" };
            pins.entry((&one.digest, name)).or_default().push(one);
        }
        let mut refusals = Vec::new();
        let mut edits = Vec::new();
        for ((digest, name), moves) in pins {
            let targets: BTreeSet<&Target> = moves.iter().map(|one| &one.target).collect();
            let places = self.places(name, digest);
            let is_clear = targets.len() == 1;
            let moving = moves
                .iter()
                .filter_map(|one| Some((one, one.new_digest()?)));
            if is_word(digest) && places.len() != moves.len() {
                refusals.extend(moving.map(|(one, new)| Refusal::Word {
                    name: one.name.clone(),
                    digest: digest.to_owned(),
                    places: self.lines(&self.quoted(digest)),
                    new: new.clone(),
                }));
            } else if !places.iter().any(|place| self.is_code(place)) {
                refusals.extend(moving.map(|(one, new)| Refusal::NoPlace {
                    name: one.name.clone(),
                    digest: digest.to_owned(),
                    new: new.clone(),
                }));
            } else if is_clear {
                if let Some(new) = moves[0].new_digest() {
                    edits.extend(places.into_iter().map(|place| (place, new.to_string())));
                }
            } else if moving.count() > 0 {
                refusals.push(Refusal::Several {
                    digest: digest.to_owned(),
                    places: self.lines(&places),
                    wanted: named(moves),
                });
            }
        }
        self.write(edits)?;
        Ok(refusals)
    }

    fn write(&self, mut edits: Vec<(Place, String)>) -> Result<(), PinError> {
        edits.sort_by_key(|(place, _)| (place.file, place.range.start));
        for (number, ModuleFile { path, text, .. }) in self.files.iter().enumerate() {
            let old = text;
            let mut text = old.clone();
            let here = edits.iter().filter(|(place, _)| place.file == number);
            for (place, new) in here.rev() {
                text.replace_range(place.range.clone(), new);
            }
            if text == *old {
                continue;
            }
            if io_failed("read", path, fs::read(path))? != encoded(old) {
                return Err(PinError::Changed(path.clone()));
            }
            io_failed("write", path, rewrite(path, &encoded(&text)))?;
        }
        Ok(())
    }

    /// The places of the digest of `name`: all where it stands, but of a word those where a call says that it is this
    /// pull's.
    fn places(&self, name: &str, digest: &str) -> Vec<Place> {
        let mut places = self.quoted(digest);
        if is_word(digest) {
            let name = decoded(name.as_bytes());
            places.retain(|place| {
                let file = &self.files[place.file];
                self.is_code(place)
                    && is_digest_of(&name, (&file.code, &file.shape), &place.range, &self.names)
            });
        }
        places
    }

    /// Where a text stands in quotes of either kind. An empty one stands for much: it counts where a name says that it is
    /// some digest.
    fn quoted(&self, text: &str) -> Vec<Place> {
        let mut places = Vec::new();
        let text = decoded(text.as_bytes());
        let files = self.files.iter().enumerate();
        for (file, ModuleFile { text: content, .. }) in files.filter(|(_, file)| file.is_inside) {
            for (start, found) in content.match_indices(&text) {
                let range = start..start + found.len();
                let (before, after) = (&content[..range.start], &content[range.end..]);
                let is_quoted = |quote: char| before.ends_with(quote) && after.starts_with(quote);
                if (is_quoted('"') || is_quoted('\''))
                    && (!text.is_empty() || is_called_digest(&before[..start - 1]))
                {
                    places.push(Place { file, range });
                }
            }
        }
        places
    }

    fn is_code(&self, place: &Place) -> bool {
        let ModuleFile { text, code, .. } = &self.files[place.file];
        // With the quote, because an empty one is the same everywhere.
        let with_quote = place.range.start - 1..place.range.end;
        text[with_quote.clone()] == code[with_quote]
    }

    fn lines(&self, places: &[Place]) -> Places {
        let line = |place: &Place| {
            let ModuleFile { path, text, .. } = &self.files[place.file];
            let line = text[..place.range.start].matches('\n').count() + 1;
            (path.clone(), line)
        };
        Places(places.iter().map(line).collect())
    }
}

/// Whether what stands as a digest may stand elsewhere for something else: it is none, or the one of zeros, which people
/// write where they know none.
fn is_word(text: &str) -> bool {
    let digest: Option<Digest> = text.parse().ok();
    digest.is_none_or(|digest| digest.hex().bytes().all(|digit| digit == b'0'))
}

/// Whether what stands before a value is a name of some digest.
fn is_called_digest(before: &str) -> bool {
    let name = before.trim_end().strip_suffix('=').map(str::trim_end);
    name.is_some_and(|name| name.to_ascii_lowercase().ends_with("digest"))
}

/// Whether the string at `place`, which is given without its quotes, is the argument `digest` of a call that pulls and
/// whose argument `name` is this name. `code` has no comments, and `shape` no strings; `names` are those of this module.
fn is_digest_of(
    name: &str,
    (code, shape): (&str, &str),
    place: &Range<usize>,
    names: &BTreeSet<String>,
) -> bool {
    let is_string = shape[place.start - 1..=place.end].trim().is_empty();
    let Some(call) = arguments_around(shape, place.start).filter(|_| is_string) else {
        return false;
    };
    let callee = last_name(&shape[..call.start - 1]);
    // One of an extension, or a repository rule by itself. What is not plainly this module's may be anybody's.
    let (bound, function, known) = match callee.split_once('.') {
        Some((bound, "pull")) => (bound, "use_extension", &["oci"][..]),
        None => (callee, USE_REPO_RULE, &RULES[..]),
        Some(_) => return false,
    };
    let origins = origins(code, shape, function).filter(|(name, ..)| *name == bound);
    let mut are_ours =
        origins.map(|(_, repository, what)| names.contains(repository) && known.contains(&what));
    let is_ours = are_ours.next() == Some(true) && are_ours.all(|is| is);
    let arguments = split(shape, call);
    let is_named = |part: &Range<usize>| argument(code, part) == Some(("name", name));
    let is_digest = |part: &Range<usize>| {
        part.contains(&place.start)
            && argument(code, part) == Some(("digest", &code[place.clone()]))
    };
    is_ours && arguments.iter().any(is_named) && arguments.iter().any(is_digest)
}

/// The name, with dots or without, that a text ends with.
fn last_name(text: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let text = text.trim_end();
    &text[text.trim_end_matches(is_name).len()..]
}

/// The name of an argument that is a string, and what is in its quotes.
fn argument<'a>(code: &'a str, argument: &Range<usize>) -> Option<(&'a str, &'a str)> {
    let (name, value) = code[argument.clone()].split_once('=')?;
    Some((name.trim(), unquoted(value)?))
}

/// What is in the quotes of a string that has one at each end.
fn unquoted(value: &str) -> Option<&str> {
    let value = value.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let text = value.strip_prefix(quote)?.strip_suffix(quote)?;
    (string_length(value) == value.len() && !text.starts_with(quote)).then_some(text)
}

/// Where calls of a function begin, and their arguments.
fn calls<'a>(
    shape: &'a str,
    function: &'a str,
) -> impl Iterator<Item = (usize, Vec<Range<usize>>)> {
    shape.match_indices(function).filter_map(move |(start, _)| {
        let behind = &shape[start + function.len()..];
        let open = shape.len() - behind.trim_start().strip_prefix('(')?.len();
        Some((start, split(shape, arguments_around(shape, open)?)))
    })
}

/// The variables of a module file that are extensions, or repository rules: of which repository, and which of them.
fn origins<'a>(
    code: &'a str,
    shape: &'a str,
    function: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    calls(shape, function).filter_map(|(start, arguments)| {
        let variable = last_name(shape[..start].trim_end().strip_suffix('=')?);
        let mut words = arguments.iter().map(|one| unquoted(&code[one.clone()]));
        let (repository, _) = words.next()??.split_once("//")?;
        Some((variable, repository.trim_start_matches('@'), words.next()??))
    })
}

/// The modules that a module file names, and what their repositories are called in it.
fn modules_of(code: &str, shape: &str) -> Vec<(String, String)> {
    let modules = ["module", "bazel_dep"].map(|function| {
        let modules = calls(shape, function).filter_map(move |(_, arguments)| {
            let arguments = arguments.iter().filter_map(|one| argument(code, one));
            let arguments: BTreeMap<_, _> = arguments.collect();
            let name = *arguments.get("name")?;
            let called = *arguments.get("repo_name").unwrap_or(&name);
            // A label without a repository is the root's own.
            let own = (function == "module").then_some("");
            let called = own.into_iter().chain([called]);
            Some(
                called
                    .map(|called| (name.to_owned(), called.to_owned()))
                    .collect::<Vec<_>>(),
            )
        });
        modules.flatten().collect::<Vec<_>>()
    });
    modules.concat()
}

/// What is between the parentheses that are next around a place; none where others are next.
fn arguments_around(shape: &str, at: usize) -> Option<Range<usize>> {
    let mut depth = 0;
    let brackets = shape[..at].bytes().enumerate().rev();
    let (start, open) = brackets
        .filter(|(_, c)| b"()[]{}".contains(c))
        .find(|(_, c)| {
            depth -= depth_of(*c);
            depth < 0
        })?;
    let mut depth = 0;
    let mut brackets = shape[at..].bytes().enumerate();
    let (length, _) = brackets.find(|(_, c)| {
        depth += depth_of(*c);
        depth < 0
    })?;
    (open == b'(').then_some(start + 1..at + length)
}

/// By how much what is behind a character is deeper in brackets.
fn depth_of(c: u8) -> i32 {
    match c {
        b'(' | b'[' | b'{' => 1,
        b')' | b']' | b'}' => -1,
        _ => 0,
    }
}

/// The arguments of a call.
fn split(shape: &str, call: Range<usize>) -> Vec<Range<usize>> {
    let mut depth = 0;
    let mut start = call.start;
    let mut arguments = Vec::new();
    for (at, c) in shape[call.clone()].bytes().enumerate() {
        depth += depth_of(c);
        if depth == 0 && c == b',' {
            arguments.push(start..call.start + at);
            start = call.start + at + 1;
        }
    }
    arguments.push(start..call.end);
    arguments
}

/// A text of Starlark with spaces for the comments and strings that `is_blank` says of.
fn blanked(text: &str, is_blank: impl Fn(&str) -> bool) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['#', '"', '\'']) {
        let (before, after) = rest.split_at(start);
        code += before;
        let length = if after.starts_with('#') {
            after.find('\n').unwrap_or(after.len())
        } else {
            string_length(after)
        };
        let (piece, after) = after.split_at(length);
        if is_blank(piece) {
            code += &" ".repeat(length);
        } else {
            code += piece;
        }
        rest = after;
    }
    code + rest
}

/// The length of the string of Starlark that a text begins with.
fn string_length(text: &str) -> usize {
    let one = &text[..1];
    let three = one.repeat(3);
    let quote = if text.starts_with(&three) {
        &*three
    } else {
        one
    };
    let mut at = quote.len();
    while let Some(next) = text[at..].chars().next() {
        if text[at..].starts_with(quote) {
            return at + quote.len();
        }
        // A string of one line that has no end is an error, which Bazel tells.
        if next == '\n' && quote.len() == 1 {
            break;
        }
        at += next.len_utf8();
        if next == '\\' {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    at
}

/// The labels of what a module file includes.
fn included(code: &str) -> Vec<&str> {
    let calls = code.split("include").skip(1);
    let labels = calls.filter_map(|call| {
        let argument = call.trim_start().strip_prefix('(')?.trim_start();
        let string = argument.strip_prefix('r').unwrap_or(argument);
        if !string.starts_with(['"', '\'']) {
            return None;
        }
        // Of either form.
        Some(string[..string_length(string)].trim_matches(['"', '\'']))
    });
    labels.collect()
}

/// A text with a character for each byte.
fn decoded(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The bytes of a text that [`decoded`] made.
fn encoded(text: &str) -> Vec<u8> {
    let bytes = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?'));
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_file_of_the_workspace() {
        let workspace = ModuleFiles {
            root: PathBuf::from("/w"),
            files: Vec::new(),
            names: BTreeSet::new(),
        };
        for (label, expected) in [
            ("//a/b:c.json", Some("/w/a/b/c.json")),
            ("@@//:c", Some("/w/c")),
            (":c", Some("/w/c")),
            ("c", Some("/w/c")),
            ("//a/b", Some("/w/a/b/b")),
            ("@other//:c", None),
            ("//../other:f", None),
            ("/abs/file", None),
        ] {
            assert_eq!(workspace.file(label).as_deref(), expected.map(Path::new));
        }
    }

    #[test]
    fn what_is_included_is_found() {
        let text = "include('//a:b')\ninclude (\n    # why\n # and\n    \"//c:d\",\n)\nincluded = include(label)\n\
                    include(r\"//e:f\")\ninclude(\"\"\"//g:h\"\"\")\ninclude(r'''//i:j''')";
        let code = blanked(text, |piece| piece.starts_with('#'));
        assert_eq!(
            included(&code),
            ["//a:b", "//c:d", "//e:f", "//g:h", "//i:j"]
        );
    }

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
        ] {
            assert_eq!(blanked(text, |piece| piece.starts_with('#')), code);
        }
    }

    #[test]
    fn a_word_is_of_the_pull_whose_call_it_is_in() {
        let names = BTreeSet::from(["layers".to_owned()]);
        let ours = "oci = use_extension('@layers//oci:extensions.bzl', 'oci', dev_dependency = True)\n\
                    whole = use_repo_rule(\"@layers//oci:defs.bzl\", \"oci_pull_all\")\n\
                    r = use_extension(\n '@rules_oci//oci:extensions.bzl',\n 'oci')\n\
                    t = use_extension(LABEL, 'oci')\nu = use_extension('@layers//oci:extensions.bzl', 'other')\n\
                    v = use_repo_rule('//:b.bzl', 'oci_pull_all')\nw = oci\n";
        for (text, expected) in [
            ("oci.pull(name = \"a\", digest = \"TODO\")", true),
            ("oci.pull(digest='TODO', env=[f(\"b\")], name='a',)", true),
            ("whole(name = 'a', digest = 'TODO')", true),
            ("oci.pull(name = 'b', digest = 'TODO')", false),
            ("oci.pull(name = N, digest = 'TODO')", false),
            ("oci.pull(name = 'a' + N, digest = 'TODO')", false),
            ("oci.pull(name = 'a', digest = 'TODO' + D)", false),
            ("oci.pull(name = 'a', other_digest = 'TODO')", false),
            ("oci.pull(name = 'a', digest = f('TODO'))", false),
            ("oci.pull(name = 'a', digest = ['TODO'])", false),
            ("oci.pull(f(name = 'a'), digest = 'TODO')", false),
            ("oci.thing(name = 'a', digest = 'TODO')", false),
            ("[(name = 'a', digest = 'TODO')]", false),
            ("f('oci.pull(name = \"a\", digest = \"TODO\")')", false),
            ("digest = 'TODO'", false),
            ("dict(name = 'a', digest = 'TODO')", false),
            ("whole.pull(name = 'a', digest = 'TODO')", false),
            ("oci(name = 'a', digest = 'TODO')", false),
            ("x[0].pull(name = 'a', digest = 'TODO')", false),
            (
                "use_extension('@layers//oci:extensions.bzl', 'oci').pull(name = 'a', digest = 'TODO')",
                false,
            ),
            ("r.pull(name = 'a', digest = 'TODO')", false),
            ("t.pull(name = 'a', digest = 'TODO')", false),
            ("u.pull(name = 'a', digest = 'TODO')", false),
            ("v(name = 'a', digest = 'TODO')", false),
            ("w.pull(name = 'a', digest = 'TODO')", false),
        ] {
            let text = format!("{ours}{text}");
            let shape = blanked(&text, |_| true);
            let start = text.find("TODO").unwrap();
            assert_eq!(
                is_digest_of("a", (&text, &shape), &(start..start + 4), &names),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_workspace_may_give_this_module_another_name() {
        for (text, expected) in [
            (
                "bazel_dep(name = 'oci_pull_all', version = V)",
                &["oci_pull_all"][..],
            ),
            (
                "bazel_dep(name = 'oci_pull_all', repo_name = 'a')\nbazel_dep(name = 'b', repo_name = 'oci_pull_all')",
                &["a"],
            ),
            (
                "module(name = \"oci_pull_all\", repo_name = \"a\")",
                &["", "a"],
            ),
            ("module(name = 'b')", &[]),
        ] {
            let ours = modules_of(text, &blanked(text, |_| true)).into_iter();
            let ours = ours.filter(|(name, _)| name == THIS_MODULE);
            let called: Vec<_> = ours.map(|(_, called)| called).collect();
            assert_eq!(called, expected, "{text}");
        }
    }
}
