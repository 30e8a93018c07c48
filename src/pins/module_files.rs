//! The texts of `MODULE.bazel` and of what it includes: where the digests stand, and other digests in their place.
//!
//! Nothing is parsed: a digest is so long that the same one in quotes is the same pin, wherever it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::files::{FileError, io_failed, rewrite};
use crate::oci::digest::Digest;
use crate::oci::reference::Tag;

use super::declared::Declared;
use super::repository_rules::{BazelError, USE_REPO_RULE, ask};

/// The file that makes a directory a module.
pub const MODULE_FILE: &str = "MODULE.bazel";

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
    /// It is computed, or in a file that is loaded.
    #[error(
        "{digest:?} stands neither in {MODULE_FILE} nor in what that includes: write \"{new}\" where {name} has its digest from"
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
    /// It is no digest, and stands in other places than those of the pulls that have it.
    #[error(
        "{digest:?} stands at {places}, and nothing tells which of them is that of {name}: write \"{new}\" there"
    )]
    Word {
        /// Whose digest it is.
        name: String,
        /// What stands as its digest.
        digest: String,
        /// Files and lines.
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
    /// The digest that it is to have, if it is to have another one.
    pub new: Option<Digest>,
}

impl Move {
    fn target(&self) -> Option<String> {
        self.new.as_ref().map(ToString::to_string)
    }
}

/// Files and lines.
#[derive(Debug)]
pub struct Places(Vec<(PathBuf, usize)>);

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (path, line)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{}:{line}", path.display())?;
        }
        Ok(())
    }
}

/// The module files of a workspace.
#[derive(Debug)]
pub struct ModuleFiles {
    root: PathBuf,
    /// Their texts, with a character for each byte: Bazel takes them in any encoding of which ASCII is a part.
    files: Vec<(PathBuf, String)>,
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
        };
        let mut queue = vec![module.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(path) = queue.pop() {
            // A link may lead to one that is included as well.
            if !seen.insert(io_failed("read", &path, fs::canonicalize(&path))?) {
                continue;
            }
            let text = decoded(&io_failed("read", &path, fs::read(&path))?);
            let included = included(&text).into_iter().rev();
            let included = included.filter_map(|label| String::from_utf8(encoded(label)).ok());
            let included = included.filter_map(|label| workspace.file(&label));
            // What a comment includes may be there no more.
            queue.extend(included.filter(|path| path.is_file()));
            workspace.files.push((path, text));
        }
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

    /// What repository rules of the workspace pull, which Bazel, called `program`, is asked for where there are any.
    pub fn repository_rules(&self, program: &str) -> Result<Vec<Declared>, BazelError> {
        let mut texts = self.files.iter().map(|(_, text)| text);
        if texts.any(|text| text.contains(USE_REPO_RULE)) {
            ask(&self.root, program)
        } else {
            Ok(Vec::new())
        }
    }

    /// The tag that stands alone in a comment behind the digest, as it did before there was an attribute for it.
    pub fn tag_in_comment(&self, digest: &str) -> Option<&str> {
        let places = self.places(digest);
        let comments = places.iter().filter_map(|place| {
            let (_, text) = &self.files[place.file];
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
        let mut by_digest: BTreeMap<&str, Vec<&Move>> = BTreeMap::new();
        for one in moves {
            by_digest.entry(&one.digest).or_default().push(one);
        }
        let mut refusals = Vec::new();
        let mut edits = Vec::new();
        for (digest, moves) in by_digest {
            let news: BTreeSet<Option<String>> = moves.iter().map(|one| one.target()).collect();
            let places = self.places(digest);
            let is_clear = news.len() == 1;
            let moving = moves
                .iter()
                .filter_map(|one| Some((one, one.new.as_ref()?)));
            if places.is_empty() {
                refusals.extend(moving.map(|(one, new)| Refusal::NoPlace {
                    name: one.name.clone(),
                    digest: digest.to_owned(),
                    new: new.clone(),
                }));
            } else if is_word(digest) && places.len() != moves.len() {
                refusals.extend(moving.map(|(one, new)| Refusal::Word {
                    name: one.name.clone(),
                    digest: digest.to_owned(),
                    places: self.lines(&places),
                    new: new.clone(),
                }));
            } else if is_clear {
                let new = news.into_iter().flatten().next();
                edits.extend(
                    places
                        .into_iter()
                        .zip(std::iter::repeat(new))
                        .filter_map(|(place, new)| Some((place, new?))),
                );
            } else if moving.count() > 0 {
                let wanted = moves.iter().map(|one| match one.target() {
                    Some(new) => format!("{} {new}", one.name),
                    None => format!("{} unchanged", one.name),
                });
                refusals.push(Refusal::Several {
                    digest: digest.to_owned(),
                    places: self.lines(&places),
                    wanted: wanted.collect::<Vec<_>>().join(", "),
                });
            }
        }
        self.write(edits)?;
        Ok(refusals)
    }

    fn write(&self, mut edits: Vec<(Place, String)>) -> Result<(), PinError> {
        edits.sort_by_key(|(place, _)| (place.file, place.range.start));
        for (number, (path, old)) in self.files.iter().enumerate() {
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

    /// Where a digest stands in quotes of either kind. A word that is none may stand for other things, and counts only
    /// as the whole value of an attribute `digest`.
    fn places(&self, text: &str) -> Vec<Place> {
        let mut places = Vec::new();
        let is_word = is_word(text);
        let text = decoded(text.as_bytes());
        for (file, (_, content)) in self.files.iter().enumerate() {
            for (start, found) in content.match_indices(&text) {
                let range = start..start + found.len();
                let (before, after) = (&content[..range.start], &content[range.end..]);
                let is_quoted = |quote: char| before.ends_with(quote) && after.starts_with(quote);
                if (is_quoted('"') || is_quoted('\''))
                    && (!is_word || is_value_of_digest(&before[..start - 1], &after[1..]))
                {
                    places.push(Place { file, range });
                }
            }
        }
        places
    }

    fn lines(&self, places: &[Place]) -> Places {
        let line = |place: &Place| {
            let (path, text) = &self.files[place.file];
            let line = text[..place.range.start].matches('\n').count() + 1;
            (path.clone(), line)
        };
        Places(places.iter().map(line).collect())
    }
}

/// How digests begin, right ones or not.
const ALGORITHMS: [&str; 2] = ["sha256:", "sha512:"];

/// Whether what stands as a digest may stand elsewhere for something else.
fn is_word(text: &str) -> bool {
    let mut algorithms = ALGORITHMS.iter();
    !algorithms.any(|algorithm| text.len() > algorithm.len() && text.starts_with(algorithm))
}

/// Whether what stands between these is all of the value of an attribute `digest`.
fn is_value_of_digest(before: &str, after: &str) -> bool {
    let attribute = before.trim_end().strip_suffix('=').map(str::trim_end);
    let before = attribute.and_then(|attribute| attribute.strip_suffix("digest"));
    let is_digest =
        before.is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let next = after.trim_start().chars().next();
    is_digest && matches!(next, None | Some(',' | ')' | '#'))
}

/// The labels of what a module file includes.
fn included(text: &str) -> Vec<&str> {
    let calls = text.split("include").skip(1);
    let labels = calls.filter_map(|call| {
        let mut argument = call.trim_start().strip_prefix('(')?.trim_start();
        while let Some(comment) = argument.strip_prefix('#') {
            argument = comment.split_once('\n')?.1.trim_start();
        }
        let quote = argument
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))?;
        argument[1..].split_once(quote).map(|(label, _)| label)
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
        let text = "include('//a:b')\ninclude (\n    # why\n # and\n    \"//c:d\",\n)\nincluded = include(label)";
        assert_eq!(included(text), ["//a:b", "//c:d"]);
    }
}
