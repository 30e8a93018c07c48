//! The file system that layers make when one is applied on the other (OCI image spec, layer.md,
//! "Applying Changesets", "Whiteouts", "Opaque Whiteout" and "Hardlinks").

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

use crate::tar::{Content, Device, Entry, MAX_MEMORY, MAX_PATH, Metadata, TarError, components};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself, which old images hold.
const BOOKKEEPING: &[u8] = b".wh..wh.";
/// How many links may stand on the way to one entry; containerd's limit.
const MAX_LINKS: usize = 255;
/// How many names may be followed in all: links can make of few entries more than time is for.
const MAX_STEPS: u64 = 100_000_000;
/// How long the paths of directories may be in all that links to directories lead to.
const MAX_BEHIND_LINKS: u64 = 256 << 20;
const ROOT: usize = 0;

/// The tree: names, and what they are names of. What is no longer reached stays until the end.
#[derive(Debug)]
pub(super) struct Tree {
    directories: Vec<Directory>,
    inodes: Vec<Inode>,
    /// The length of all paths, which may be much longer than those of the entries that links led there.
    length: u64,
    /// How many names were followed.
    steps: Cell<u64>,
}

#[derive(Debug)]
struct Directory {
    /// None if no layer has an entry of it.
    metadata: Option<Metadata>,
    children: BTreeMap<Vec<u8>, Node>,
    /// The length of the path.
    length: usize,
}

/// What a name stands for, by its number.
#[derive(Clone, Copy, Debug)]
enum Node {
    Directory(usize),
    /// One of perhaps several names of an inode.
    Inode {
        number: usize,
        /// Whether its layer has it as a hard link.
        is_hard_link: bool,
        /// Since which layer it is there, counted from 0.
        layer: usize,
    },
}

/// Anything but a directory.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) kind: InodeKind,
    pub(super) metadata: Metadata,
}

impl Inode {
    /// Sets what a hard link says of it. As in containerd, an owner is given anew, by which Linux takes capabilities away.
    fn set(&mut self, said: Metadata) {
        let mut xattrs = std::mem::take(&mut self.metadata.xattrs);
        xattrs.remove(&b"security.capability"[..]);
        xattrs.extend(said.xattrs);
        self.metadata = Metadata { xattrs, ..said };
    }
}

#[derive(Debug)]
pub(super) enum InodeKind {
    File {
        size: u64,
        source: ContentSource,
    },
    Symlink {
        target: Vec<u8>,
    },
    Device {
        kind: Device,
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// Which entry of which layer, both counted from 0, holds a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentSource {
    pub(super) layer: usize,
    pub(super) entry: usize,
}

/// A path of the tree.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) path: Vec<u8>,
    pub(super) thing: Thing<'a>,
    /// The inode's number, of anything but a directory.
    pub(super) inode: Option<usize>,
    /// Whether its layer has it as a hard link.
    pub(super) is_hard_link: bool,
    /// Since which layer it is there, counted from 0, of anything but a directory.
    pub(super) layer: usize,
}

/// What stands at a path itself, links not followed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing<'a> {
    /// A directory, perhaps one that no layer has an entry of.
    Directory(Option<&'a Metadata>),
    Inode(&'a Inode),
}

#[derive(Debug)]
pub(super) enum Thing<'a> {
    /// A directory, perhaps one that no layer has an entry of.
    Directory(Option<&'a Metadata>),
    /// An inode's first name.
    Inode(&'a Inode),
    /// Another name of an inode: which item has the first one.
    HardLink(&'a Inode, usize),
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            directories: vec![Directory::new(None, 0)],
            inodes: Vec::new(),
            length: 0,
            steps: Cell::new(0),
        }
    }
}

impl Directory {
    fn new(metadata: Option<Metadata>, length: usize) -> Self {
        Directory {
            metadata,
            children: BTreeMap::new(),
            length,
        }
    }
}

impl Tree {
    /// Applies a layer, the one numbered `layer`, on those below it.
    ///
    /// Whiteouts come first: they hide what is below, wherever in the layer they stand.
    pub(super) fn apply(&mut self, layer: usize, entries: Vec<Entry>) -> Result<(), TarError> {
        self.hide(&entries)?;
        let mut bookkeeping = Vec::new();
        for (position, entry) in entries.into_iter().enumerate() {
            let (parent, name) = split(&entry.path);
            let is_whiteout = name.starts_with(WHITEOUT) && !name.starts_with(BOOKKEEPING);
            if is_whiteout || name == OPAQUE {
                continue;
            }
            let source = ContentSource {
                layer,
                entry: position,
            };
            // Entries may be hard links to what is to be ignored.
            if let Some(path) = bookkeeping_part(&entry.path) {
                bookkeeping.push(path.to_vec());
            }
            let (parent, name) = (parent.to_vec(), name.to_vec());
            self.place(&parent, name, entry, source)?;
        }
        for path in bookkeeping {
            let (parent, name) = split(&path);
            if let Ok(Some(parent)) = self.find(parent) {
                self.directories[parent].children.remove(name);
            }
        }
        Ok(())
    }

    /// What stands at `path`; nothing if the way there leads over a link.
    pub(super) fn standing(&self, path: &[u8]) -> Option<Standing<'_>> {
        let mut node = Node::Directory(ROOT);
        for name in components(path) {
            let Node::Directory(directory) = node else {
                return None;
            };
            node = self.child(directory, name)?;
        }
        Some(match node {
            Node::Directory(number) => {
                Standing::Directory(self.directories[number].metadata.as_ref())
            }
            Node::Inode { number, .. } => Standing::Inode(&self.inodes[number]),
        })
    }

    /// All paths, each directory before what is in it, names in the order of their bytes.
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        let mut first = vec![None; self.inodes.len()];
        let mut rest = vec![(Vec::new(), Node::Directory(ROOT))];
        while let Some((path, node)) = rest.pop() {
            let item = match node {
                Node::Directory(number) => {
                    let directory = &self.directories[number];
                    let below = directory.children.iter().rev().map(|(name, child)| {
                        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                        ([&path, slash, name].concat(), *child)
                    });
                    rest.extend(below);
                    Item {
                        path,
                        thing: Thing::Directory(directory.metadata.as_ref()),
                        inode: None,
                        is_hard_link: false,
                        layer: 0,
                    }
                }
                Node::Inode {
                    number,
                    is_hard_link,
                    layer,
                } => {
                    let this = items.len();
                    let first = *first[number].get_or_insert(this);
                    let inode = &self.inodes[number];
                    Item {
                        path,
                        thing: if first == this {
                            Thing::Inode(inode)
                        } else {
                            Thing::HardLink(inode, first)
                        },
                        inode: Some(number),
                        is_hard_link,
                        layer,
                    }
                }
            };
            items.push(item);
        }
        items
    }

    /// Takes away what the whiteouts of a layer hide.
    fn hide(&mut self, entries: &[Entry]) -> Result<(), TarError> {
        let is_directory = |entry: &&Entry| entry.content == Content::Directory;
        let directories: HashSet<&[u8]> = entries
            .iter()
            .filter(is_directory)
            .map(|entry| entry.path.as_slice())
            .collect();
        let mut hidden = Vec::new();
        for entry in entries {
            let (parent, name) = split(&entry.path);
            let target = match name.strip_prefix(WHITEOUT) {
                Some(_) if name == OPAQUE => None,
                Some(target) if !name.starts_with(BOOKKEEPING) => Some(target),
                _ => continue,
            };
            if target.is_some_and(|target| matches!(target, b"" | b"." | b"..")) {
                return Err(TarError::entry(&entry.path, "is a whiteout of nothing"));
            }
            if self.is_replaced(parent, &directories) {
                continue;
            }
            match self.find(parent) {
                Ok(Some(parent)) => hidden.push((parent, target)),
                // There is no such directory, so there is nothing to hide.
                Ok(None) | Err(Obstacle::NotADirectory) => {}
                Err(obstacle) => return Err(obstacle.of(&entry.path)),
            }
        }
        for (parent, target) in hidden {
            let children = &mut self.directories[parent].children;
            match target {
                Some(name) => {
                    children.remove(name);
                }
                None => children.clear(),
            }
        }
        Ok(())
    }

    /// Whether a layer that has these directories puts one in the place of a link on the way to `path`.
    fn is_replaced(&self, path: &[u8], directories: &HashSet<&[u8]>) -> bool {
        let mut directory = ROOT;
        let mut end = 0;
        for name in components(path) {
            end += name.len();
            match self.child(directory, name) {
                None => return false,
                Some(Node::Inode { .. }) => return directories.contains(&path[..end]),
                Some(Node::Directory(child)) => directory = child,
            }
            end += 1;
        }
        false
    }

    fn place(
        &mut self,
        parent: &[u8],
        name: Vec<u8>,
        entry: Entry,
        source: ContentSource,
    ) -> Result<(), TarError> {
        let Entry {
            path,
            content,
            metadata,
        } = entry;
        if path.is_empty() {
            if content != Content::Directory {
                return Err(TarError::entry(b"/", "is the root, but not a directory"));
            }
            self.directories[ROOT].metadata = Some(metadata);
            return Ok(());
        }
        let parent = self
            .make_way(parent)
            .map_err(|obstacle| obstacle.of(&path))?;
        let kind = match content {
            Content::Directory => {
                return self
                    .place_directory(parent, name, metadata)
                    .map_err(|obstacle| obstacle.of(&path));
            }
            Content::HardLink { target } => {
                let number = self.inode(&target).ok_or_else(|| {
                    let target = String::from_utf8_lossy(&target);
                    let problem = format!("is a hard link to {target:?}, which is no file here");
                    TarError::entry(&path, problem)
                })?;
                self.inodes[number].set(metadata);
                let is_there = |there: usize| there == number;
                let node = Node::Inode {
                    number,
                    is_hard_link: true,
                    layer: self.since(parent, &name, is_there).unwrap_or(source.layer),
                };
                return self
                    .insert(parent, name, node)
                    .map_err(|obstacle| obstacle.of(&path));
            }
            Content::File { size } => InodeKind::File { size, source },
            Content::Symlink { target } => InodeKind::Symlink { target },
            Content::Device { kind, major, minor } => InodeKind::Device { kind, major, minor },
            Content::Fifo => InodeKind::Fifo,
        };
        let is_there = |there: usize| match (&kind, &self.inodes[there].kind) {
            (InodeKind::Symlink { target }, InodeKind::Symlink { target: there }) => {
                target == there
            }
            _ => false,
        };
        let node = Node::Inode {
            number: self.inodes.len(),
            is_hard_link: false,
            layer: self.since(parent, &name, is_there).unwrap_or(source.layer),
        };
        self.inodes.push(Inode { kind, metadata });
        self.insert(parent, name, node)
            .map_err(|obstacle| obstacle.of(&path))
    }

    /// A directory takes the place of anything else, and the attributes of one that is there.
    fn place_directory(
        &mut self,
        parent: usize,
        name: Vec<u8>,
        new: Metadata,
    ) -> Result<(), Obstacle> {
        if let Some(Node::Directory(there)) = self.child(parent, &name) {
            self.directories[there].metadata = Some(new);
            return Ok(());
        }
        self.insert_directory(parent, name, Some(new)).map(drop)
    }

    /// A new directory; returns its number.
    fn insert_directory(
        &mut self,
        parent: usize,
        name: Vec<u8>,
        metadata: Option<Metadata>,
    ) -> Result<usize, Obstacle> {
        let number = self.directories.len();
        let length = self.directories[parent].length + 1 + name.len();
        self.directories.push(Directory::new(metadata, length));
        self.insert(parent, name, Node::Directory(number))?;
        Ok(number)
    }

    fn insert(&mut self, parent: usize, name: Vec<u8>, node: Node) -> Result<(), Obstacle> {
        let parent = &mut self.directories[parent];
        let length = parent.length + 1 + name.len();
        if length > MAX_PATH {
            return Err(Obstacle::TooLong);
        }
        self.length += length as u64;
        if self.length > MAX_MEMORY {
            return Err(Obstacle::TooMany);
        }
        parent.children.insert(name, node);
        Ok(())
    }

    /// What a hard link to `path` is another name of.
    fn inode(&self, path: &[u8]) -> Option<usize> {
        let (parent, name) = split(path);
        let parent = self.find(parent).ok()??;
        match self.child(parent, name)? {
            Node::Inode { number, .. } => Some(number),
            Node::Directory(_) => None,
        }
    }

    fn child(&self, parent: usize, name: &[u8]) -> Option<Node> {
        self.directories[parent].children.get(name).copied()
    }

    /// Since which layer a name is there that is to be one of the same again: layers say again what they do not change.
    fn since(&self, parent: usize, name: &[u8], is_same: impl Fn(usize) -> bool) -> Option<usize> {
        match self.child(parent, name)? {
            Node::Inode { number, layer, .. } => is_same(number).then_some(layer),
            Node::Directory(_) => None,
        }
    }

    /// Since which layer there is what a path itself is a name of; none of a directory.
    pub(super) fn layer(&self, path: &[u8]) -> Option<usize> {
        let (parent, name) = split(path);
        let parent = self.find(parent).ok()??;
        self.since(parent, name, |_| true)
    }

    /// The directory at `path`, if there is one.
    fn find(&self, path: &[u8]) -> Result<Option<usize>, Obstacle> {
        let (directory, missing) = self.walk(path)?;
        Ok(missing.is_empty().then_some(directory))
    }

    /// The directory at `path`, which is made if need be.
    fn make_way(&mut self, path: &[u8]) -> Result<usize, Obstacle> {
        let (mut parent, missing) = self.walk(path)?;
        for name in missing {
            parent = self.insert_directory(parent, name, None)?;
        }
        Ok(parent)
    }

    /// What a path leads to, links at its end included: a file, or else nothing that is one.
    pub(super) fn file(&self, path: &[u8]) -> Result<Option<&Inode>, Obstacle> {
        Ok(self.number(path)?.map(|inode| &self.inodes[inode]))
    }

    /// As `file`, by its number.
    pub(super) fn number(&self, path: &[u8]) -> Result<Option<usize>, Obstacle> {
        match self.follow(path)? {
            Way::Inode(inode, rest) if rest.is_empty() => Ok(Some(inode)),
            Way::Inode(..) => Err(Obstacle::NotADirectory),
            Way::Directory(..) => Ok(None),
        }
    }

    /// What a path leads to, links at its end included, if there is anything.
    pub(super) fn end(&self, path: &[u8]) -> Result<Option<End>, Obstacle> {
        Ok(match self.follow(path)? {
            Way::Inode(inode, rest) if rest.is_empty() => Some(End::Inode(inode)),
            Way::Directory(directory, missing) if missing.is_empty() => {
                Some(End::Directory(directory))
            }
            _ => None,
        })
    }

    /// Gives `take` the paths below links to directories, given with these, of all that is no directory, at most `depth` names
    /// deep, until it has too much of them. Further links are followed, but to no directory on the way; of what is the same
    /// by so many names at its end one path is enough.
    pub(super) fn walk_below(
        &self,
        links: Vec<(Vec<u8>, usize)>,
        depth: usize,
        mut take: impl FnMut(Vec<u8>, usize) -> bool,
    ) -> Result<(), Obstacle> {
        let mut known = HashSet::new();
        let mut length = 0;
        let links = links.into_iter();
        let mut rest: Vec<_> = links.map(|(path, end)| (path, vec![end])).collect();
        while let Some((path, way)) = rest.pop() {
            let directory = way[way.len() - 1];
            if !known.insert((directory, way.len(), ending(&path, depth).to_vec())) {
                continue;
            }
            for (name, node) in &self.directories[directory].children {
                self.step()?;
                let path = [&path, &b"/"[..], name].concat();
                let end = match node {
                    Node::Directory(number) => Some(End::Directory(*number)),
                    Node::Inode { number, .. } => match &self.inodes[*number].kind {
                        InodeKind::Symlink { .. } => reachable(self.end(&path))?,
                        _ => Some(End::Inode(*number)),
                    },
                };
                match end {
                    Some(End::Directory(next)) if way.len() < depth && !way.contains(&next) => {
                        length += path.len() as u64;
                        if length > MAX_BEHIND_LINKS {
                            return Err(Obstacle::TooMany);
                        }
                        rest.push((path, [&way[..], &[next]].concat()));
                    }
                    Some(End::Inode(number)) if !take(path, number) => {
                        return Err(Obstacle::TooMany);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Counts a name that is followed.
    fn step(&self) -> Result<(), Obstacle> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err(Obstacle::TooMany);
        }
        Ok(())
    }

    /// The paths that a pattern leads to, links followed; in each of its names a `*` stands for any part of one.
    pub(super) fn matching(&self, pattern: &str) -> Result<Vec<Vec<u8>>, Obstacle> {
        let mut paths = vec![Vec::new()];
        let mut length = 0;
        for part in pattern.split('/') {
            let mut longer = Vec::new();
            for path in paths {
                let Some(End::Directory(directory)) = reachable(self.end(&path))? else {
                    continue;
                };
                let names = self.directories[directory].children.keys();
                let names = names.filter(|name| is_name(part.as_bytes(), name));
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                for name in names {
                    let path = [&path, slash, name].concat();
                    length += path.len() as u64;
                    if length > MAX_MEMORY {
                        return Err(Obstacle::TooMany);
                    }
                    longer.push(path);
                }
            }
            paths = longer;
        }
        Ok(paths)
    }

    /// An inode by its number.
    pub(super) fn inode_at(&self, number: usize) -> &Inode {
        &self.inodes[number]
    }

    /// Whether a path leads to a directory.
    pub(super) fn has_directory(&self, path: &[u8]) -> bool {
        matches!(self.find(path), Ok(Some(_)))
    }

    /// Follows `path` within the root as far as it leads, links included: the last directory that is
    /// there, and the names that are not.
    fn walk(&self, path: &[u8]) -> Result<(usize, Vec<Vec<u8>>), Obstacle> {
        match self.follow(path)? {
            Way::Directory(directory, missing) => Ok((directory, missing)),
            Way::Inode(..) => Err(Obstacle::NotADirectory),
        }
    }

    fn follow(&self, path: &[u8]) -> Result<Way, Obstacle> {
        let mut way = vec![ROOT];
        let mut missing = Vec::new();
        let mut rest: Vec<&[u8]> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            self.step()?;
            if name == b".." {
                // The root is its own parent.
                if missing.pop().is_none() && way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let child = self.child(way[way.len() - 1], name);
            let (true, Some(child)) = (missing.is_empty(), child) else {
                missing.push(name.to_vec());
                continue;
            };
            let inode = match child {
                Node::Directory(directory) => {
                    way.push(directory);
                    continue;
                }
                Node::Inode { number, .. } => number,
            };
            let InodeKind::Symlink { target } = &self.inodes[inode].kind else {
                let rest = rest.iter().rev().map(|name| name.to_vec());
                return Ok(Way::Inode(inode, rest.collect()));
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(Obstacle::Loop);
            }
            if target.starts_with(b"/") {
                way.truncate(1);
            }
            rest.extend(components(target).rev());
        }
        Ok(Way::Directory(way[way.len() - 1], missing))
    }
}

/// Where a path leads.
enum Way {
    /// The last directory that is there, and the names that are not.
    Directory(usize, Vec<Vec<u8>>),
    /// Something that is no directory, and the names that would have to be in it.
    Inode(usize, Vec<Vec<u8>>),
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Directory(usize),
    /// Anything else but a link.
    Inode(usize),
}

/// What is at the end of a way that may be none.
pub(super) fn reachable(end: Result<Option<End>, Obstacle>) -> Result<Option<End>, Obstacle> {
    match end {
        Err(Obstacle::TooMany) => Err(Obstacle::TooMany),
        end => Ok(end.unwrap_or_default()),
    }
}

/// Whether a name is of a pattern, in which a `*` stands for any part.
pub(crate) fn is_name(pattern: &[u8], name: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return pattern == name;
    };
    let (start, end) = (&pattern[..star], &pattern[star + 1..]);
    let rest = name.strip_prefix(start);
    rest.is_some_and(|rest| rest.ends_with(end))
}

/// What keeps an entry from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    NotADirectory,
    Loop,
    TooLong,
    TooMany,
}

impl Obstacle {
    pub(super) fn of(self, path: &[u8]) -> TarError {
        let problem = match self {
            Obstacle::NotADirectory => "is below what is not a directory",
            Obstacle::Loop => "is below a link that leads in a circle, or over too many others",
            Obstacle::TooLong => "is below a link that makes its path longer than Linux takes",
            Obstacle::TooMany => return TarError::TooMuch,
        };
        TarError::entry(path, problem)
    }
}

/// A path's directory and name; both are empty for the root.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The last names of a path.
fn ending(path: &[u8], names: usize) -> &[u8] {
    let mut slashes = (0..path.len()).rev().filter(|place| path[*place] == b'/');
    &path[slashes.nth(names - 1).map_or(0, |slash| slash + 1)..]
}

/// The path up to a name of aufs's own, if there is one in it.
fn bookkeeping_part(path: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    for name in path.split(|byte| *byte == b'/') {
        end += name.len();
        if name.starts_with(BOOKKEEPING) {
            return Some(&path[..end]);
        }
        end += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry from a text: `dir/`, `file`, `link -> target`, `name => hard link's target`.
    fn entry(text: &str, layer: usize) -> Entry {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let (path, content) = if let Some((path, target)) = text.split_once(" -> ") {
            let target = bytes(target);
            (path, Content::Symlink { target })
        } else if let Some((path, target)) = text.split_once(" => ") {
            let target = bytes(target);
            (path, Content::HardLink { target })
        } else if let Some(path) = text.strip_suffix('/') {
            (path, Content::Directory)
        } else {
            (text, Content::File { size: 1 })
        };
        let mode = u32::try_from(layer + 1).unwrap();
        Entry {
            path: bytes(path),
            content,
            metadata: Metadata {
                mode,
                ..Metadata::default()
            },
        }
    }

    fn apply(layers: &[&[&str]]) -> Result<Vec<String>, TarError> {
        let mut tree = Tree::default();
        for (number, layer) in layers.iter().enumerate() {
            let entries = layer.iter().map(|text| entry(text, number));
            tree.apply(number, entries.collect())?;
        }
        let items = tree.items();
        let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
        let describe = |item: &Item| {
            let path = text(&item.path);
            match &item.thing {
                Thing::Directory(None) => format!("{path}/"),
                Thing::Directory(Some(metadata)) => format!("{path}/ {}", metadata.mode - 1),
                Thing::HardLink(_, first) => format!("{path} => {}", text(&items[*first].path)),
                Thing::Inode(inode) => match &inode.kind {
                    InodeKind::Symlink { target } => format!("{path} -> {}", text(target)),
                    InodeKind::File { source, .. } => format!("{path} {}", source.layer),
                    _ => path,
                },
            }
        };
        Ok(items.iter().skip(1).map(describe).collect())
    }

    /// Layers and the tree that they make: `dir/ LAYER`, or `dir/` if it is implied; `file LAYER`.
    #[test]
    fn layers_make_a_tree() {
        let table: &[(&[&[&str]], &[&str])] = &[
            (&[&["a/b", "a-b", "a"]], &["a 0", "a-b 0"]),
            (&[&["a/b", "a-b"]], &["a/", "a/b 0", "a-b 0"]),
            (&[&["a", "b"], &["a"]], &["a 1", "b 0"]),
            // Directories are merged, and nothing else is.
            (&[&["d/", "d/x"], &["d/"]], &["d/ 1", "d/x 0"]),
            (&[&["d/", "d/x"], &["d"]], &["d 1"]),
            (&[&["d"], &["d/", "d/y"]], &["d/ 1", "d/y 1"]),
            (&[&["e/x", "d -> e"], &["d/"]], &["d/ 1", "e/", "e/x 0"]),
            // Whiteouts hide what is below, and only that.
            (&[&["d/x", "d/y"], &["d/.wh.x"]], &["d/", "d/y 0"]),
            (&[&["d/x/y"], &["d/.wh.x"]], &["d/"]),
            (&[&["x"], &[".wh.x", "x"]], &["x 1"]),
            (&[&["x"], &["x", ".wh.x"]], &["x 1"]),
            (&[&["d/x"], &["d/y", ".wh.d"]], &["d/", "d/y 1"]),
            (&[&["x"], &[".wh.y", "none/.wh.y", "x/.wh.y"]], &["x 0"]),
            (&[&["d/x"], &["d/y", "d/.wh..wh..opq"]], &["d/", "d/y 1"]),
            (
                &[&["d/", "d/x/z"], &["d/.wh..wh..opq", "d/x/y"]],
                &["d/ 0", "d/x/", "d/x/y 1"],
            ),
            (&[&["x", "y/z"], &[".wh..wh..opq"]], &[]),
            (&[&["x"], &[".wh.x"], &["x"]], &["x 2"]),
            // The bookkeeping of aufs is there for hard links only.
            (
                &[&[".wh..wh.plnk/1.2", "x => .wh..wh.plnk/1.2", ".wh..wh.aufs"]],
                &["x 0"],
            ),
            // A hard link is another name of what it was made from.
            (&[&["b", "a => b"]], &["a 0", "b => a"]),
            (&[&["b"], &["a => b"]], &["a 0", "b => a"]),
            (&[&["b", "c => b"], &[".wh.b"]], &["c 0"]),
            (&[&["b", "c => b"], &["b"]], &["b 1", "c 0"]),
            (&[&["b -> x", "c => b"]], &["b -> x", "c => b"]),
            (
                &[&["lib -> usr/lib", "usr/lib/x"], &["y => lib/x"]],
                &[
                    "lib -> usr/lib",
                    "usr/",
                    "usr/lib/",
                    "usr/lib/x 0",
                    "y => usr/lib/x",
                ],
            ),
        ];
        for (layers, expected) in table {
            assert_eq!(apply(layers).unwrap(), *expected, "{layers:?}");
        }
    }

    #[test]
    fn links_lead_within_the_root() {
        let place = |target: &str, entry: &str| {
            let link = format!("d/l -> {target}");
            let tree = apply(&[&["d/", "e/", &link], &[entry]]).unwrap();
            tree.into_iter().find(|path| path.ends_with(" 1")).unwrap()
        };
        assert_eq!(place("../e", "d/l/x"), "e/x 1");
        assert_eq!(place("/e", "d/l/x"), "e/x 1");
        assert_eq!(place("../../../../e", "d/l/x"), "e/x 1");
        assert_eq!(place("/../../e/./", "d/l/x"), "e/x 1");
        assert_eq!(place("none", "d/l/x"), "d/none/x 1");
        assert_eq!(place("none/../new", "d/l/x"), "d/new/x 1");
        assert_eq!(place("/", "d/l/x"), "x 1");

        let circle = apply(&[&["a -> b", "b -> a"], &["a/x"]]).unwrap_err();
        assert!(circle.to_string().contains("circle"), "{circle}");
        let below = apply(&[&["a"], &["a/x"]]).unwrap_err().to_string();
        assert!(below.contains("\"a/x\" is below what is not"), "{below}");
    }

    #[test]
    fn a_whiteout_goes_where_the_link_below_leads() {
        let lower: &[&str] = &["lib -> usr/lib", "usr/lib/x", "usr/lib/y"];
        let hidden = apply(&[lower, &["lib/.wh.x"]]).unwrap();
        assert_eq!(
            hidden,
            ["lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/y 0"]
        );
        let gone = apply(&[lower, &["lib/.wh..wh..opq"]]).unwrap();
        assert_eq!(gone, ["lib -> usr/lib", "usr/", "usr/lib/"]);
        for replaced in [["lib/", "lib/.wh.x"], ["lib/.wh.x", "lib/"]] {
            let tree = apply(&[lower, &replaced]).unwrap();
            assert_eq!(
                tree,
                ["lib/ 1", "usr/", "usr/lib/", "usr/lib/x 0", "usr/lib/y 0"]
            );
        }
    }

    #[test]
    fn a_link_to_nothing_is_an_error() {
        for layers in [
            &[&["a => b"][..]][..],
            &[&["b/"], &["a => b"]],
            &[&["b"], &[".wh.b"], &["a => b"]],
            &[&["b"], &["a => b/c"]],
        ] {
            let error = apply(layers).unwrap_err().to_string();
            assert!(error.contains("\"a\" is a hard link to"), "{error}");
        }
        for bad in [".wh.", "d/.wh..", ".wh..."] {
            assert!(apply(&[&["d/x"], &[bad]]).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_do_not_grow_without_end() {
        let deep = vec!["d".repeat(100); 40].join("/");
        let link = format!("l -> {deep}");
        let below = format!("l/{deep}");
        let error = apply(&[&[&link], &[&below]]).unwrap_err().to_string();
        assert!(error.contains("longer than Linux takes"), "{error}");
    }
}
