//! The texts of `MODULE.bazel` and of what it includes: where the digests stand, and other digests in their place.
//!
//! A digest is so long that the same one in quotes is the same pin, wherever it stands. What stands for one that is not
//! known yet may stand for anything, so it is replaced only in a call that names the pull.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::files::{FileError, io_failed, read_at_most};
use crate::oci::digest::Digest;
use crate::oci::reference::Tag;
use crate::outputs::WholeFile;
use crate::text::named;

use super::declared::Declared;
use super::repository_rules::{Bazel, BazelError, RULES, USE_REPO_RULE, ask};
use super::starlark::{Call, Source, Statement};

/// The file that makes a directory a module.
pub const MODULE_FILE: &str = "MODULE.bazel";

/// The most bytes that a module file may have.
const MAX_FILE: u64 = 16 << 20;
/// What this module calls itself.
const THIS_MODULE: &str = "oci_pull_all";
/// The function by which a module file names an extension.
const USE_EXTENSION: &str = "use_extension";
/// The extension that pulls.
const EXTENSION: &str = "oci";

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
    /// Some files have their new digests, and another one cannot be written.
    #[error("new digests were written to {}, and to no other file: pin again once what follows is put right", named(.written.iter().map(|path| path.display())))]
    Partly {
        /// The files that were written.
        written: Vec<PathBuf>,
        /// Why another one was not.
        source: FileError,
    },
}

/// Why a digest is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is computed, or in a file that is loaded or lies elsewhere.
    #[error(
        "{digest:?} stands neither in {MODULE_FILE} nor in a file of this workspace that it includes, but for comments: write \"{new}\" where {name} has its digest from"
    )]
    NoPlace {
        /// Whose digest it is.
        name: String,
        /// What stands as its digest.
        digest: String,
        /// What it should be.
        new: Digest,
    },
    /// It is in what a link out of the workspace leads to, perhaps beside other places.
    #[error("{digest:?} stands at {places}: write \"{new}\" where {name} has its digest from")]
    Outside {
        /// Whose digest it is.
        name: String,
        /// What stands as its digest.
        digest: String,
        /// Files and lines outside.
        places: String,
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
        places: String,
        /// Who is to have which digest.
        wanted: String,
    },
    /// It is no digest of anything, and no call says that it is that of the pull.
    #[error(
        "{digest:?} is no digest that only one thing can have, and {many} of this workspace that is plainly a pull of {THIS_MODULE} has it as digest beside name = {name:?}{at}: write \"{new}\" where {name} has its digest from", many = if *.many { "more than one call" } else { "no call" }, at = standing(.places)
    )]
    Word {
        /// Whose digest it is.
        name: String,
        /// What stands as its digest.
        digest: String,
        /// Whether several calls have it.
        many: bool,
        /// Files and lines where it stands all the same, and why each does not count.
        places: String,
        /// What it should be.
        new: Digest,
    },
}

impl Refusal {
    /// Whether it is about what has this name and this text as its digest.
    pub fn is_of(&self, name: &str, digest: &str) -> bool {
        match self {
            Refusal::NoPlace { name: of, .. }
            | Refusal::Outside { name: of, .. }
            | Refusal::Word { name: of, .. } => of == name,
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

/// Where a text stands, as the end of a sentence.
fn standing(places: &str) -> String {
    if places.is_empty() {
        String::new()
    } else {
        format!("; it stands at {places}")
    }
}

/// A line of a file, and perhaps what is to be said of it.
#[derive(Debug)]
struct Line {
    path: PathBuf,
    number: usize,
    why: Option<NotOurs>,
}

/// Why a text is not plainly the digest of one of this module's pulls.
#[derive(Clone, Debug)]
enum NotOurs {
    /// What a link out of the workspace leads to is not written.
    Outside,
    Comment,
    /// It is in no statement that is a call, or in one of something else.
    Elsewhere,
    /// The function is not one that the file plainly has from this module.
    Function(String),
    /// The pull's name, or the digest, is computed.
    Computed(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { path, number, why } = self;
        write!(f, "{}:{number}", path.display())?;
        match why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotOurs::Outside => {
                f.write_str("where a link leads out of the workspace, so it is not written")
            }
            NotOurs::Comment => f.write_str("in a comment"),
            NotOurs::Elsewhere => f.write_str("in no such call"),
            NotOurs::Function(function) => write!(
                f,
                "in a call of {function}, which this file does not plainly have from {THIS_MODULE}"
            ),
            NotOurs::Computed(function) => write!(
                f,
                "in a call of {function} whose name or digest is not a string alone"
            ),
        }
    }
}

/// The module files of a workspace.
#[derive(Debug)]
pub struct ModuleFiles {
    root: PathBuf,
    files: Vec<ModuleFile>,
    /// Where calls that are plainly pulls of this module's have a name and a digest, by both.
    ours: HashMap<[String; 2], Vec<Place>>,
}

#[derive(Debug)]
struct ModuleFile {
    path: PathBuf,
    /// With a character for each byte: Bazel takes it in any encoding of which ASCII is a part.
    source: Source,
    /// Whether it may be written: a link may lead out of the workspace.
    is_inside: bool,
    /// The statements in it that are calls.
    calls: Vec<Stated>,
}

/// A statement that is a call.
#[derive(Debug)]
struct Stated {
    function: String,
    /// Whether it plainly is a pull of this module's.
    is_ours: bool,
    name: Option<String>,
    has_digest: bool,
    digest: Option<(String, Range<usize>)>,
    statement: Range<usize>,
}

/// Where a quoted text stands, without its quotes.
#[derive(Clone, Debug)]
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
            ours: HashMap::new(),
        };
        let within = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let within = io_failed("read", within, fs::canonicalize(within))?;
        let mut queue = vec![module.to_owned()];
        let mut seen = BTreeSet::new();
        let mut names = BTreeSet::new();
        while let Some(path) = queue.pop() {
            // A link may lead to one that is included as well.
            let place = io_failed("read", &path, fs::canonicalize(&path))?;
            let is_inside = place.starts_with(&within);
            if !seen.insert(place) {
                continue;
            }
            let source = Source::new(decoded(&io_failed(
                "read",
                &path,
                read_at_most(&path, MAX_FILE),
            )?));
            let included = included(&source).into_iter().rev();
            let included = included.filter_map(|label| String::from_utf8(encoded(label)).ok());
            let included = included.filter_map(|label| workspace.file(&label));
            // One that is not there Bazel tells of.
            queue.extend(included.filter(|path| path.is_file()));
            names.extend(names_of_this_module(&source));
            workspace.files.push(ModuleFile {
                path,
                source,
                is_inside,
                calls: Vec::new(),
            });
        }
        for (number, file) in workspace.files.iter_mut().enumerate() {
            file.calls = calls(&file.source, &names);
            for call in file
                .calls
                .iter()
                .filter(|call| call.is_ours && file.is_inside)
            {
                if let (Some(name), Some((digest, range))) = (&call.name, &call.digest) {
                    let places = workspace.ours.entry([name.clone(), digest.clone()]);
                    places.or_default().push(Place {
                        file: number,
                        range: range.clone(),
                    });
                }
            }
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

    /// What repository rules of the workspace pull, which Bazel is asked for where there are any.
    pub fn repository_rules(&self, bazel: Bazel) -> Result<Vec<Declared>, BazelError> {
        if self
            .files
            .iter()
            .any(|file| file.source.shape.contains(USE_REPO_RULE))
        {
            ask(&self.root, bazel)
        } else {
            Ok(Vec::new())
        }
    }

    /// The tag that stands alone in a comment behind the digest of `name`, as it did before there was an attribute for it,
    /// in a call that plainly is this pull. What stands behind the same digest elsewhere is somebody else's.
    pub fn tag_in_comment(&self, name: &str, digest: &str) -> Option<&str> {
        let comments = self.of_pull(name, digest).iter().filter_map(|place| {
            let comment = self.files[place.file].source.comment_behind(&place.range)?;
            Some(comment.trim()).filter(|comment| comment.parse::<Tag>().is_ok())
        });
        let tags: BTreeSet<&str> = comments.collect();
        tags.first().copied().filter(|_| tags.len() == 1)
    }

    /// Replaces digests, and nothing else.
    ///
    /// Returns why some are left as they are, and whether the others are written.
    pub fn replace(&self, moves: &[Move]) -> (Vec<Refusal>, Result<(), PinError>) {
        let mut pins: BTreeMap<(&str, &str), Vec<&Move>> = BTreeMap::new();
        for one in moves {
            // Pulls of one digest move together, and a word means another one in each of them.
            let name = if is_word(&one.digest) { &*one.name } else { "" };
            pins.entry((&one.digest, name)).or_default().push(one);
        }
        let mut refusals = Vec::new();
        let mut edits = Vec::new();
        let mut others: HashMap<&str, Vec<Line>> = HashMap::new();
        for ((digest, name), moves) in pins {
            let targets: BTreeSet<&Target> = moves.iter().map(|one| &one.target).collect();
            let places = self.places(name, digest);
            let lines = places.iter().map(|place| self.line(place, None));
            let outside = self.outside(&places);
            let is_clear = targets.len() == 1;
            let moving = moves
                .iter()
                .filter_map(|one| Some((one, one.new_digest()?)));
            if is_word(digest) && places.len() != moves.len() {
                let others = others.entry(digest).or_insert_with(|| self.others(digest));
                let lines: Vec<Line> = lines.collect();
                let told = named(lines.iter().chain(&*others));
                refusals.extend(moving.map(|(one, new)| Refusal::Word {
                    name: one.name.clone(),
                    digest: digest.to_owned(),
                    many: !places.is_empty(),
                    places: told.clone(),
                    new: new.clone(),
                }));
            } else if !outside.is_empty() {
                // Which of the places is whose, nothing tells.
                refusals.extend(moving.map(|(one, new)| Refusal::Outside {
                    name: one.name.clone(),
                    digest: digest.to_owned(),
                    places: outside.clone(),
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
                    let inside = places.into_iter().filter(|place| self.is_inside(place));
                    edits.extend(inside.map(|place| (place, new.to_string())));
                }
            } else if moving.count() > 0 {
                refusals.push(Refusal::Several {
                    digest: digest.to_owned(),
                    places: named(lines),
                    wanted: named(moves),
                });
            }
        }
        (refusals, self.write(edits))
    }

    /// Whether a digest still stands where it stood, after an error of [`ModuleFiles::replace`].
    pub fn is_left(&self, name: &str, digest: &str, error: &PinError) -> bool {
        let PinError::Partly { written, .. } = error else {
            return true;
        };
        let places = self.places(name, digest);
        places
            .iter()
            .any(|place| !written.contains(&self.files[place.file].path))
    }

    fn write(&self, mut edits: Vec<(Place, String)>) -> Result<(), PinError> {
        edits.sort_by_key(|(place, _)| (place.file, place.range.start));
        let mut changed = Vec::new();
        for (number, ModuleFile { path, source, .. }) in self.files.iter().enumerate() {
            let old = &source.text;
            let mut text = old.clone();
            let here = edits.iter().filter(|(place, _)| place.file == number);
            for (place, new) in here.rev() {
                text.replace_range(place.range.clone(), new);
            }
            if text == *old {
                continue;
            }
            if io_failed("read", path, read_at_most(path, MAX_FILE))? != encoded(old) {
                return Err(PinError::Changed(path.clone()));
            }
            changed.push((path, text));
        }
        // What can be found out before any of them is another one.
        let mut begun = Vec::new();
        for (path, text) in changed {
            let file = io_failed("write", path, WholeFile::begin(path))?;
            let all = (&file).write_all(&encoded(&text));
            io_failed("write", path, all)?;
            begun.push((path, file));
        }
        let mut written = Vec::new();
        for (path, file) in begun {
            match io_failed("write", path, file.finish()) {
                Ok(()) => written.push(path.clone()),
                Err(error) if written.is_empty() => return Err(error.into()),
                Err(source) => return Err(PinError::Partly { written, source }),
            }
        }
        Ok(())
    }

    /// The places of the digest of `name`: all where it stands, but of a word those where a call says that it is this
    /// pull's.
    fn places(&self, name: &str, digest: &str) -> Vec<Place> {
        if is_word(digest) {
            self.of_pull(name, digest).to_vec()
        } else {
            self.quoted(digest)
        }
    }

    /// Where calls in the workspace say that a text is the digest of `name`.
    fn of_pull(&self, name: &str, digest: &str) -> &[Place] {
        let key = [name, digest].map(|text| decoded(text.as_bytes()));
        self.ours.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Where a text stands in quotes of either kind. An empty one stands for much: it counts where a name says that it is
    /// some digest.
    fn quoted(&self, text: &str) -> Vec<Place> {
        let mut places = Vec::new();
        let text = decoded(text.as_bytes());
        for (file, ModuleFile { source, .. }) in self.files.iter().enumerate() {
            let content = &source.text;
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

    /// Which of these places are in code outside of the workspace, in words.
    fn outside(&self, places: &[Place]) -> String {
        let outside = places
            .iter()
            .filter(|place| !self.is_inside(place) && self.is_code(place));
        named(outside.map(|place| self.line(place, Some(NotOurs::Outside))))
    }

    fn is_inside(&self, place: &Place) -> bool {
        self.files[place.file].is_inside
    }

    fn is_code(&self, place: &Place) -> bool {
        self.files[place.file].source.is_string(&place.range)
    }

    fn line(&self, place: &Place, why: Option<NotOurs>) -> Line {
        let ModuleFile { path, source, .. } = &self.files[place.file];
        Line {
            path: path.clone(),
            number: source.line(place.range.start),
            why,
        }
    }

    /// Where a word stands that is not plainly the digest of a pull.
    fn others(&self, word: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        for place in self.quoted(word) {
            let ModuleFile { source, calls, .. } = &self.files[place.file];
            let at = place.range.start;
            let before = calls.partition_point(|call| call.statement.start <= at);
            let call = calls[..before].last();
            let call = call.filter(|call| call.statement.contains(&at));
            let why = match call {
                _ if !self.is_inside(&place) => NotOurs::Outside,
                _ if source.is_blank(&place.range) => NotOurs::Comment,
                _ if !self.is_code(&place) => NotOurs::Elsewhere,
                Some(call) if !call.has_digest => NotOurs::Elsewhere,
                Some(call) if !call.is_ours => NotOurs::Function(call.function.clone()),
                Some(call) => match &call.digest {
                    Some((_, range)) if *range != place.range => NotOurs::Elsewhere,
                    Some(_) if call.name.is_some() => continue,
                    _ => NotOurs::Computed(call.function.clone()),
                },
                None => NotOurs::Elsewhere,
            };
            lines.push(self.line(&place, Some(why)));
        }
        lines
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

/// The statements of a module file that are calls, and which of them plainly are pulls of the module of these names.
fn calls(source: &Source, names: &BTreeSet<String>) -> Vec<Stated> {
    let statements: Vec<Statement<'_>> = source.statements().collect();
    let mut are_ours = BTreeMap::new();
    let calls = statements.iter().filter_map(|statement| {
        let call = statement.call.as_ref()?;
        // One of an extension, or a repository rule by itself.
        let (bound, by) = match call.function.split_once('.') {
            Some((bound, "pull")) => (bound, USE_EXTENSION),
            _ => (call.function, USE_REPO_RULE),
        };
        let is_ours = *are_ours.entry((bound, by)).or_insert_with(|| {
            // What is not plainly this module's may be anybody's.
            let origins = statements.iter().filter(|one| one.sets(bound));
            let mut come = origins.map(|one| comes_from(one, bound, by, names));
            come.next() == Some(true) && come.all(|comes| comes)
        });
        let digest = call.named("digest");
        Some(Stated {
            function: call.function.to_owned(),
            is_ours,
            name: call.named("name").map(|name| name.text.to_owned()),
            has_digest: call.has("digest"),
            digest: digest.map(|digest| (digest.text.to_owned(), digest.range)),
            statement: statement.range.clone(),
        })
    });
    calls.collect()
}

/// Whether a statement plainly makes a variable what pulls, of the module of these names.
fn comes_from(
    statement: &Statement<'_>,
    variable: &str,
    function: &str,
    names: &BTreeSet<String>,
) -> bool {
    let known = if function == USE_EXTENSION {
        &[EXTENSION][..]
    } else {
        &RULES
    };
    let is_known = |call: &Call<'_>| {
        let (repository, _) = call.at(0)?.split_once("//")?;
        let repository = repository.trim_start_matches('@');
        Some(names.contains(repository) && known.contains(&call.at(1)?))
    };
    let call = statement
        .call
        .as_ref()
        .filter(|call| call.function == function);
    statement.target == Some(variable) && call.and_then(is_known) == Some(true)
}

/// What a module file calls this module.
fn names_of_this_module(source: &Source) -> Vec<String> {
    let calls = source.statements().filter_map(|statement| statement.call);
    let names = calls.filter_map(|call| {
        // A label without a repository is the root's own.
        let own = match call.function {
            "module" => Some(""),
            "bazel_dep" => None,
            _ => return None,
        };
        let name = call.named("name").filter(|name| name.text == THIS_MODULE)?;
        // One that is computed is not known, and an empty one is none.
        let called = match call.named("repo_name") {
            Some(called) if !called.text.is_empty() => Some(called.text),
            None if call.has("repo_name") => None,
            _ => Some(name.text),
        };
        Some(own.into_iter().chain(called).map(str::to_owned))
    });
    names.flatten().collect()
}

/// The labels of what a module file includes.
fn included(source: &Source) -> Vec<&str> {
    let calls = source.statements().filter_map(|statement| statement.call);
    let calls = calls.filter(|call| call.function == "include");
    calls.filter_map(|call| call.at(0)).collect()
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
            ours: HashMap::new(),
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
                    include(r\"//e:f\")\ninclude(\"\"\"//g:h\"\"\")\ninclude(r'''//i:j''')\n\
                    x = \"include('//no:a')\"\n'''\ninclude('//no:b')\n'''\nmy_include('//no:c')\ninclude(\\\n'//k:l')";
        assert_eq!(
            included(&Source::new(text.to_owned())),
            ["//a:b", "//c:d", "//e:f", "//g:h", "//i:j", "//k:l"]
        );
    }

    #[test]
    fn nothing_is_written_where_one_of_the_files_has_changed() {
        let [old, new] =
            ["0123456789abcdef", "fedcba9876543210"].map(|hex| format!("sha256:{}", hex.repeat(4)));
        let directory = tempfile::tempdir().unwrap();
        let [module, other] = [MODULE_FILE, "other"].map(|name| directory.path().join(name));
        let text = format!("include('//:other')\ndigest = '{old}'\n");
        fs::write(&module, &text).unwrap();
        fs::write(&other, &text).unwrap();
        let files = ModuleFiles::read(&module).unwrap();
        fs::write(&other, "changed").unwrap();
        let target = Target::New(new.parse().unwrap());
        let (name, digest) = ("a".to_owned(), old);
        let (_, moved) = files.replace(&[Move {
            name,
            digest,
            target,
        }]);
        assert!(matches!(moved, Err(PinError::Changed(path)) if path == other));
        assert_eq!(fs::read_to_string(&module).unwrap(), text);
    }

    /// What stands as the digest of a pull `a`, where it is plainly one of the module that is called `layers` or nothing.
    fn filled(text: &str) -> bool {
        let names = ["layers", ""].map(str::to_owned).into();
        let calls = calls(&Source::new(text.to_owned()), &names);
        let mut ours = calls.into_iter().filter(|call| call.is_ours);
        ours.any(|call| {
            call.name.as_deref() == Some("a")
                && call
                    .digest
                    .is_some_and(|(digest, at)| digest == "TODO" && text[at] == digest)
        })
    }

    #[test]
    fn a_word_is_of_the_pull_whose_call_it_is_in() {
        let ours = "oci = use_extension('@layers//oci:extensions.bzl', 'oci', dev_dependency = True)\n\
                    whole = use_repo_rule(\"@layers//oci:defs.bzl\", \"oci_pull_all\")\n\
                    own = use_extension('//oci:extensions.bzl', 'oci')\n\
                    raw = use_extension(r\"\"\"@layers//oci:extensions.bzl\"\"\", (r'oci'))\n\
                    far = \\\n (\n use_extension(\n'@@layers//oci:extensions.bzl', \\\n 'oci'))\n\
                    r = use_extension(\n '@rules_oci//oci:extensions.bzl',\n 'oci')\n\
                    t = use_extension(LABEL, 'oci')\nu = use_extension('@layers//oci:extensions.bzl', 'other')\n\
                    v = use_repo_rule('@b//:b.bzl', 'oci_pull_all')\nw = oci\n\
                    a, b = use_extension('@layers//oci:extensions.bzl', 'oci'), r\n\
                    x[0] = use_extension('@layers//oci:extensions.bzl', 'oci')\n\
                    y = use_extension('@layers//oci:extensions.bzl', 'oci') if no else r\n\
                    z = use_extension('@layers//oci:extensions.bzl', 'oci')\n(z) = r\n";
        for text in [
            "oci.pull(name = \"a\", digest = \"TODO\")",
            "oci.pull(digest='TODO', env=[f(\"b\")], name='a',)",
            "whole(name = 'a', digest = 'TODO')",
            "own.pull(name = 'a', digest = 'TODO')",
            "raw.pull(name = r'a', digest = '''TODO''')",
            "raw.pull(name = \"\"\"a\"\"\", digest = r\"\"\"TODO\"\"\")",
            "far.pull(name = ('a'), digest = (\n 'TODO' # why\n))",
            "oci.pull \\\n (name = \\\r\n 'a', digest = \\\n \"TODO\")",
            "x = 1; oci.pull(name = 'a', digest = 'TODO') # one",
        ] {
            assert!(filled(&format!("{ours}{text}")), "{text}");
        }
        for text in [
            "oci.pull(name = 'b', digest = 'TODO')",
            "oci.pull(name = N, digest = 'TODO')",
            "oci.pull(name = 'a' + N, digest = 'TODO')",
            "oci.pull(name = 'a', digest = 'TODO' + D)",
            "oci.pull(name = 'a', digest = '\\x54ODO')",
            "oci.pull(name = 'a', other_digest = 'TODO')",
            "oci.pull(name = 'a', digest = f('TODO'))",
            "oci.pull(name = 'a', digest = ['TODO'])",
            "oci.pull(f(name = 'a'), digest = 'TODO')",
            "oci.thing(name = 'a', digest = 'TODO')",
            "[(name = 'a', digest = 'TODO')]",
            "f('oci.pull(name = \"a\", digest = \"TODO\")')",
            "digest = 'TODO'",
            "dict(name = 'a', digest = 'TODO')",
            "whole.pull(name = 'a', digest = 'TODO')",
            "oci(name = 'a', digest = 'TODO')",
            "x[0].pull(name = 'a', digest = 'TODO')",
            "[oci.pull(name = 'a', digest = 'TODO') for oci in [r]]",
            "use_extension('@layers//oci:extensions.bzl', 'oci').pull(name = 'a', digest = 'TODO')",
            "r.pull(name = 'a', digest = 'TODO')",
            "t.pull(name = 'a', digest = 'TODO')",
            "u.pull(name = 'a', digest = 'TODO')",
            "v(name = 'a', digest = 'TODO')",
            "w.pull(name = 'a', digest = 'TODO')",
            "a.pull(name = 'a', digest = 'TODO')",
            "b.pull(name = 'a', digest = 'TODO')",
            "y.pull(name = 'a', digest = 'TODO')",
            "z.pull(name = 'a', digest = 'TODO')",
            "theirs. oci.pull(name = 'a', digest = 'TODO')",
        ] {
            assert!(!filled(&format!("{ours}{text}")), "{text}");
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
                "bazel_dep(name = r'oci_pull_all', repo_name = '''a''')",
                &["a"],
            ),
            ("bazel_dep(name = 'oci_pull_all', repo_name = NAME)", &[]),
            (
                "bazel_dep(name = 'oci_pull_all', repo_name = '')",
                &["oci_pull_all"],
            ),
            (
                "module(name = \"oci_pull_all\", repo_name = \"a\")",
                &["", "a"],
            ),
            ("module(name = 'b')", &[]),
            ("x = \"bazel_dep(name = 'oci_pull_all')\"", &[]),
        ] {
            let called = names_of_this_module(&Source::new(text.to_owned()));
            assert_eq!(called, expected, "{text}");
        }
    }
}
