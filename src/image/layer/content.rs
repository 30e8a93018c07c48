//! What is to be in a layer: entries at their paths, what is said of paths by patterns, and archives.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::files::io_failed;
use crate::image::metadata::{MetadataChange, MetadataRule, PathPattern};
use crate::tar::{MAX_PATH, components, stays_inside};

use super::{Difference, LayerError};

/// How many links may stand on the way to one entry.
const MAX_LINKS: usize = 40;

/// The numeric owner of a layer's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user's ID.
    pub uid: u32,
    /// The group's ID.
    pub gid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (uid, gid) = text.split_once(':')?;
            Some(Owner {
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            })
        };
        parse().ok_or_else(|| {
            format!("{text:?} is not an owner: expected UID:GID in numbers, such as 0:0")
        })
    }
}

/// One thing in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerEntry {
    /// An empty directory, or one that other entries are in.
    Directory,
    /// A regular file without content.
    EmptyFile,
    /// A regular file with the content of a local one.
    File {
        /// The local file.
        source: PathBuf,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, as written.
        target: String,
    },
}

impl fmt::Display for LayerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerEntry::Directory => f.write_str("a directory"),
            LayerEntry::EmptyFile => f.write_str("an empty file"),
            LayerEntry::File { source, .. } => write!(f, "{}", source.display()),
            LayerEntry::Symlink { target } => write!(f, "a symbolic link to {target}"),
        }
    }
}

/// What a layer holds: entries by path, then archives.
#[derive(Clone, Debug, Default)]
pub struct LayerContent {
    pub(super) entries: BTreeMap<String, LayerEntry>,
    pub(super) rules: Vec<MetadataRule>,
    pub(super) parents: BTreeMap<String, (u32, Owner)>,
    pub(super) links: BTreeMap<String, String>,
    pub(super) tars: Vec<PathBuf>,
    /// The paths that are taken, if not all are.
    pub(super) take: Vec<PathPattern>,
    /// The paths that are left out.
    pub(super) leave: Vec<PathPattern>,
}

impl LayerContent {
    /// Of what is added afterwards, has it take only that whose path matches one of `take`, if there are any, and none of
    /// `leave`. Archives are added whole.
    pub fn pick(&mut self, take: &[PathPattern], leave: &[PathPattern]) -> Result<(), LayerError> {
        let placed = |patterns: &[PathPattern]| {
            let placed = patterns.iter().map(|pattern| self.place_pattern(pattern));
            placed.collect::<Result<Vec<_>, _>>()
        };
        (self.take, self.leave) = (placed(take)?, placed(leave)?);
        Ok(())
    }

    fn takes(&self, path: &str) -> bool {
        let any =
            |patterns: &[PathPattern]| patterns.iter().any(|one| one.matches(path.as_bytes()));
        (self.take.is_empty() || any(&self.take)) && !any(&self.leave)
    }

    /// Says that the base has a symbolic link at `path`: what is to be below it goes where the link leads. It counts for
    /// what is added afterwards, and for archives.
    pub fn add_link_of_base(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        let name = normal(path)?;
        for (text, is_empty) in [
            (path, name.is_empty()),
            (target, components(target.as_bytes()).next().is_none()),
        ] {
            if is_empty {
                return Err(LayerError::Path(text.to_owned()));
            }
        }
        self.links.insert(name, target.to_owned());
        Ok(())
    }

    /// Says what mode and owner the base gives the directory that `path` leads to, which the layer has if something is in it.
    pub fn set_parent(&mut self, path: &str, mode: u32, owner: Owner) -> Result<(), LayerError> {
        let path = self.place(&normal(path)?, true)?;
        self.parents.insert(path, (mode, owner));
        Ok(())
    }

    /// Adds an entry at `path`, if it takes such paths; returns whether it does.
    pub fn add(&mut self, path: &str, entry: LayerEntry) -> Result<bool, LayerError> {
        let name = normal(path)?;
        let name = self.place(&name, entry == LayerEntry::Directory)?;
        if name.is_empty() {
            return match entry {
                LayerEntry::Directory => Ok(true),
                _ => Err(LayerError::Path(path.to_owned())),
            };
        }
        if !self.takes(&name) {
            return Ok(false);
        }
        match &entry {
            LayerEntry::Symlink { target } if target.is_empty() => {
                return Err(LayerError::Path(target.clone()));
            }
            LayerEntry::Symlink { target } if target.len() > MAX_PATH => {
                return Err(LayerError::Long(target.clone()));
            }
            _ => {}
        }
        if entry != LayerEntry::Directory {
            let below = format!("{name}/");
            let mut children = self.entries.range(below.clone()..);
            if let Some((child, _)) = children
                .next()
                .filter(|(child, _)| child.starts_with(&below))
            {
                return Err(not_a_directory(&name, child));
            }
        }
        for (end, _) in name.match_indices('/') {
            let parent = self.entries.get(&name[..end]);
            if parent.is_some_and(|parent| *parent != LayerEntry::Directory) {
                return Err(not_a_directory(&name[..end], &name));
            }
        }
        match self.entries.entry(name) {
            btree_map::Entry::Occupied(present) if *present.get() != entry => {
                Err(LayerError::Conflict {
                    path: format!("/{}", present.key()),
                    first: present.get().to_string(),
                    second: entry.to_string(),
                    difference: Difference::Content,
                })
            }
            present => {
                present.or_insert(entry);
                Ok(true)
            }
        }
    }

    /// Adds all that is in the local directory `source` below `path`, as far as it takes such paths; returns whether it takes
    /// any. Links in it stay links.
    pub fn add_tree(&mut self, path: &str, source: &Path) -> Result<bool, LayerError> {
        let taken = self.add(path, LayerEntry::Directory)?;
        Ok(taken | self.add_below(path.trim_end_matches('/'), source, "")?)
    }

    fn add_below(&mut self, path: &str, root: &Path, inner: &str) -> Result<bool, LayerError> {
        let mut taken = false;
        let directory = root.join(inner);
        for entry in io_failed("list", &directory, fs::read_dir(&directory))? {
            let entry = io_failed("list", &directory, entry)?;
            let local = entry.path();
            let not_utf8 = || LayerError::NotUtf8(local.clone());
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(not_utf8)?;
            // Who names such a path wants that; of a tree it is but what somebody called a file.
            if name.starts_with(".wh.") {
                return Err(LayerError::Whiteout(local.display().to_string()));
            }
            let inner = if inner.is_empty() {
                name.to_owned()
            } else {
                format!("{inner}/{name}")
            };
            let below = format!("{path}/{inner}");
            let kind = io_failed("read", &local, entry.file_type())?;
            taken |= if kind.is_dir() {
                let taken = self.add(&below, LayerEntry::Directory)?;
                taken | self.add_below(path, root, &inner)?
            } else if kind.is_symlink() {
                let target = io_failed("read", &local, fs::read_link(&local))?;
                let target = target.to_str().ok_or_else(not_utf8)?.to_owned();
                if !stays_inside(&inner, &target) {
                    return Err(LayerError::LeadsOut {
                        directory: root.to_owned(),
                        link: local,
                        target,
                    });
                }
                self.add(&below, LayerEntry::Symlink { target })?
            } else {
                let executable = true;
                self.add(
                    &below,
                    LayerEntry::File {
                        source: local,
                        executable,
                    },
                )?
            };
        }
        Ok(taken)
    }

    /// Adds what is in a tar archive, which may be compressed, or in a Debian package, and then what records that.
    pub fn add_tar(&mut self, source: PathBuf) {
        self.tars.push(source);
    }

    /// Gives what has such a path other metadata, in archives too; what was said before counts less. A directory that is there
    /// only because something is in it must be named by its path, and then somebody has named it.
    pub fn set_metadata(
        &mut self,
        pattern: &PathPattern,
        change: MetadataChange,
    ) -> Result<(), LayerError> {
        let pattern = self.place_pattern(pattern)?;
        self.rules.push(MetadataRule::new(pattern, change));
        Ok(())
    }

    /// The pattern of where what matches `pattern` stands, given the base's links to its literal part.
    fn place_pattern(&self, pattern: &PathPattern) -> Result<PathPattern, LayerError> {
        match pattern.literal_part() {
            (path, None) => {
                let placed = self.place(&normal(path)?, false)?;
                Ok(PathPattern::literal(&format!("/{placed}")))
            }
            (parents, Some(rest)) => {
                let placed = self.place(parents, true)?;
                pattern.below(&placed, rest).map_err(LayerError::Pattern)
            }
        }
    }

    /// Where something with this name stands, given the base's links: those on the way, and with `all` the one at its end.
    pub(super) fn place(&self, name: &str, all: bool) -> Result<String, LayerError> {
        let mut done: Vec<&str> = Vec::new();
        let mut rest: Vec<&str> = name
            .split('/')
            .filter(|part| !part.is_empty())
            .rev()
            .collect();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part {
                "." | "" => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            if !rest.is_empty() || all {
                let Some(target) = self.links.get(&done.join("/")) else {
                    continue;
                };
                links += 1;
                if links > MAX_LINKS {
                    return Err(LayerError::Circle(format!("/{name}")));
                }
                if target.starts_with('/') {
                    done.clear();
                } else {
                    done.pop();
                }
                rest.extend(target.split('/').rev());
            }
        }
        Ok(done.join("/"))
    }

    /// The archive that is all that somebody put into the layer.
    pub(super) fn lone_archive(&self) -> Option<&Path> {
        let is_alone = self.entries.is_empty()
            && self.links.is_empty()
            && self.parents.is_empty()
            && self.rules.is_empty();
        match &self.tars[..] {
            [archive] if is_alone => Some(archive),
            _ => None,
        }
    }
}

pub(super) fn not_a_directory(parent: &str, child: &str) -> LayerError {
    LayerError::NotADirectory {
        parent: format!("/{parent}"),
        child: format!("/{child}"),
    }
}

/// A layer's path in its one form: relative, without `.`, `..` and doubled slashes.
fn normal(path: &str) -> Result<String, LayerError> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") || path.contains('\0') || path.is_empty() {
        return Err(LayerError::Path(path.to_owned()));
    }
    if path.len() > MAX_PATH {
        return Err(LayerError::Long(path.to_owned()));
    }
    Ok(parts.join("/"))
}
