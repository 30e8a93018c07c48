//! Writes what a layer holds as one archive, in which each path is once.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use crate::files::{FileError, io_failed, open_regular};
use crate::image::metadata::MetadataRule;
use crate::oci::digest::{Algorithm, Digest, HashingWriter};
use crate::tar::{
    Archive, Content, Entry, MAX_MEMORY, Metadata, Mtime, TarError, UnnamedParent, copy_data,
    headers, write_end, write_padding,
};

use super::content::{LayerContent, LayerEntry, Owner, not_a_directory};
use super::package::records;
use super::{Difference, LayerError, LayerOptions, not_a_tar, open_tar, read_tar};

/// What is kept of an archive's entry beside its path while a layer is made, more or less.
const LISTED_MEMORY: u64 = 200;

/// Writes entries and archives; returns the directories that nobody named.
pub(super) fn write_tar(
    content: &LayerContent,
    options: &LayerOptions,
    output: &Path,
    writer: impl Write,
) -> Result<Vec<UnnamedParent>, LayerError> {
    let mut layer = LayerWriter {
        content,
        options,
        output,
        writer,
        places: HashMap::new(),
        archived: Vec::new(),
        unnamed: BTreeMap::new(),
        used: vec![false; content.rules.len()],
        memory: 0,
    };
    for path in &content.tars {
        layer.list(path)?;
    }
    for (path, entry) in &content.entries {
        layer.add_entry(path, entry)?;
    }
    for (number, path) in content.tars.iter().enumerate() {
        layer.add_records(number, path)?;
        let mut count = 0;
        read_tar(path, open_tar(path)?, io::sink(), |entry, archive| {
            count += 1;
            layer.add_archived(number, count, entry, archive)
        })?;
    }
    // Where only some paths are taken, others may have been meant.
    let is_whole = content.take.is_empty() && content.leave.is_empty();
    let mut rules = content.rules.iter().zip(&layer.used);
    if is_whole && let Some((unused, _)) = rules.find(|(_, used)| !**used) {
        return Err(LayerError::NoSuchPath(unused.pattern().to_owned()));
    }
    io_failed("write", output, write_end(&mut layer.writer))?;
    let unnamed = layer.unnamed.into_iter();
    Ok(unnamed
        .map(|(path, Metadata { mode, uid, gid, .. })| UnnamedParent::new(&path, mode, uid, gid))
        .collect())
}

/// A layer that is being written.
struct LayerWriter<'a, W> {
    content: &'a LayerContent,
    options: &'a LayerOptions,
    output: &'a Path,
    writer: W,
    places: HashMap<Vec<u8>, Place>,
    /// What each archive has at its paths. Docker and podman take no layer with a path twice, so that what a directory is to be
    /// is known before something is in it.
    archived: Vec<BTreeMap<Vec<u8>, Archived>>,
    unnamed: BTreeMap<Vec<u8>, Metadata>,
    /// Which of the content's rules were about an entry.
    used: Vec<bool>,
    /// What the places take, more or less.
    memory: u64,
}

/// What stands at a path of a layer.
struct Place {
    source: Source,
    content: Content,
    metadata: Metadata,
    /// The digest of a file's content.
    digest: Option<Digest>,
}

/// The last that an archive has at a path, which counts.
struct Archived {
    /// Which of the archive's entries it is, counted from one.
    number: usize,
    /// What it says of a directory.
    directory: Option<Metadata>,
}

/// Who put something in a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Content,
    /// The archive with this number.
    Archive(usize),
}

impl<W: Write> LayerWriter<'_, W> {
    fn add_entry(&mut self, path: &str, entry: &LayerEntry) -> Result<(), LayerError> {
        let of_file = self.options.mode;
        let (content, mode) = match entry {
            LayerEntry::Directory => (Content::Directory, 0o755),
            LayerEntry::EmptyFile => (Content::File { size: 0 }, of_file.unwrap_or(0o644)),
            LayerEntry::Symlink { target } => {
                let target = target.clone().into_bytes();
                (Content::Symlink { target }, 0o777)
            }
            LayerEntry::File { source, executable } => {
                let file = io_failed("open", source, open_regular(source))?;
                let size = io_failed("read", source, file.metadata())?.len();
                let default = if *executable { 0o755 } else { 0o644 };
                let mode = of_file.unwrap_or(default);
                let written = self.entry(path, Content::File { size }, mode);
                return self.write(Source::Content, written, |writer| {
                    let copied = io::copy(&mut BufReader::new(file).take(size), writer);
                    match io_failed("add to the layer", source, copied)? {
                        copied if copied == size => Ok(()),
                        _ => Err(LayerError::Io(FileError {
                            action: "add to the layer",
                            path: source.clone(),
                            source: io::ErrorKind::UnexpectedEof.into(),
                        })),
                    }
                });
            }
        };
        let written = self.entry(path, content, mode);
        self.write(Source::Content, written, |_| Ok(()))
    }

    /// Adds what records an archive that is a Debian package.
    fn add_records(&mut self, archive_number: usize, path: &Path) -> Result<(), LayerError> {
        let output = self.output;
        for (path, data) in records(path)? {
            let entry = Entry {
                path: self.content.place(&path, false)?.into_bytes(),
                content: Content::File {
                    size: data.len() as u64,
                },
                metadata: self.metadata(0o644, Owner::default()),
            };
            self.write(Source::Archive(archive_number), entry, |writer| {
                Ok(io_failed("write", output, writer.write_all(&data))?)
            })?;
        }
        Ok(())
    }

    /// An entry of the layer's own.
    fn entry(&self, path: &str, content: Content, mode: u32) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            content,
            metadata: self.metadata(mode, self.options.owner),
        }
    }

    fn metadata(&self, mode: u32, Owner { uid, gid }: Owner) -> Metadata {
        Metadata {
            mode,
            uid,
            gid,
            mtime: self.mtime(),
            ..Metadata::default()
        }
    }

    fn mtime(&self) -> Mtime {
        Mtime {
            seconds: i64::try_from(self.options.mtime).unwrap_or(i64::MAX),
            nanoseconds: 0,
        }
    }

    /// Looks through the next archive.
    fn list(&mut self, path: &Path) -> Result<(), LayerError> {
        let mut archived: BTreeMap<Vec<u8>, Archived> = BTreeMap::new();
        let mut number = 0;
        read_tar(path, open_tar(path)?, io::sink(), |mut entry, _| {
            number += 1;
            self.place_archived(&mut entry)?;
            // GNU tar writes that of a file which is named twice.
            if let Content::HardLink { target } = &entry.content
                && *target == entry.path
                && archived.contains_key(target)
            {
                return Ok(());
            }
            self.memory += entry.path.len() as u64 + LISTED_MEMORY;
            if self.memory > MAX_MEMORY {
                return Err(not_a_tar(path)(TarError::TooMuch));
            }
            let directory = if entry.content == Content::Directory {
                Some(entry.metadata)
            } else {
                // It takes the place of a directory, and all that the archive had there goes.
                let below = [&entry.path[..], b"/"].concat();
                let rest = archived.range_mut(below.clone()..);
                for (_, gone) in rest.take_while(|(path, _)| path.starts_with(&below)) {
                    *gone = Archived {
                        number,
                        directory: None,
                    };
                }
                None
            };
            archived.insert(entry.path, Archived { number, directory });
            Ok(())
        })?;
        self.archived.push(archived);
        Ok(())
    }

    /// Brings the path of an archive's entry into the layer's form.
    fn place_archived(&self, entry: &mut Entry) -> Result<(), LayerError> {
        if !self.content.links.is_empty() {
            let is_directory = entry.content == Content::Directory;
            self.follow(&mut entry.path, is_directory)?;
            if let Content::HardLink { target } = &mut entry.content {
                self.follow(target, false)?;
            }
        }
        Ok(())
    }

    /// Adds an archive's entry, which has this number in it, with its metadata.
    fn add_archived(
        &mut self,
        archive_number: usize,
        number: usize,
        mut entry: Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), LayerError> {
        self.place_archived(&mut entry)?;
        let archived = &self.archived[archive_number];
        if entry.path.is_empty() || archived[&entry.path].number != number {
            return Ok(());
        }
        let path = &self.content.tars[archive_number];
        if let Content::HardLink { target } = &entry.content {
            let problem = match archived.get(target) {
                Some(target) if target.number >= number => {
                    Some("is a hard link to what the archive has again, or only, after it")
                }
                None if !self.places.contains_key(target) => {
                    let mut later = self.archived[archive_number + 1..].iter();
                    let is_later = later.any(|archived| archived.contains_key(target));
                    is_later.then_some("is a hard link to what only a later archive has")
                }
                _ => None,
            };
            if let Some(problem) = problem {
                return Err(not_a_tar(path)(TarError::entry(&entry.path, problem)));
            }
        }
        if entry.content == Content::Directory
            && let Some((_, metadata)) = self.directory(&entry.path)
        {
            let own = std::mem::replace(&mut entry.metadata.xattrs, metadata.xattrs);
            entry.metadata.xattrs.extend(own);
        }
        let size = match entry.content {
            Content::File { size } => size,
            _ => 0,
        };
        self.write(Source::Archive(archive_number), entry, |writer| {
            copy_data(archive, size, writer).map_err(not_a_tar(path))
        })
    }

    /// Leads a path where the base's links lead it.
    fn follow(&self, path: &mut Vec<u8>, all: bool) -> Result<(), LayerError> {
        // The links are text, so they are on no way behind what is none.
        let (text, all) = match str::from_utf8(path) {
            Ok(text) => (text, all),
            Err(error) => {
                let text = str::from_utf8(&path[..error.valid_up_to()]).unwrap_or_default();
                (text.rsplit_once('/').unwrap_or_default().0, true)
            }
        };
        let length = text.len();
        let placed = self.content.place(text, all)?.into_bytes();
        path.splice(..length, placed);
        Ok(())
    }

    /// Writes an entry whose data `data` writes, if its place is free.
    ///
    /// Sources may share directories, and what is the same. What an archive does to itself is its own affair.
    fn write(
        &mut self,
        source: Source,
        mut entry: Entry,
        data: impl FnOnce(&mut dyn Write) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        self.make_way(source, &entry.path)?;
        self.apply_rules(&mut entry, |_| true);
        if let Content::HardLink { target } = &entry.content
            && let Some(place) = self.places.get(target)
        {
            if self.content.rules.is_empty() {
                let of_file = place.metadata.xattrs.iter();
                let of_file = of_file.map(|(name, value)| (name.clone(), value.clone()));
                let of_link = std::mem::take(&mut entry.metadata.xattrs);
                entry.metadata.xattrs = of_file.chain(of_link).collect();
            } else {
                entry.metadata = place.metadata.clone();
            }
        }
        if let Some(place) = self.places.get(&entry.path) {
            let difference = if place.content != entry.content {
                Some(Difference::Content)
            } else if entry.content != Content::Directory {
                let mut hasher = HashingWriter::new(Algorithm::Sha256, io::sink());
                data(&mut hasher)?;
                let digest = Some(hasher.finish().digest);
                if matches!(entry.content, Content::File { .. }) && place.digest != digest {
                    Some(Difference::Content)
                } else {
                    difference(&place.metadata, &entry.metadata)
                }
            } else if place.source == Source::Content || source == Source::Content {
                // What the layer itself says of a directory counts.
                None
            } else {
                // Its time is that of whatever was last put into it, and its names mean nothing beside the numbers.
                let there = &place.metadata;
                let (user, group) = (there.user.clone(), there.group.clone());
                let mtime = there.mtime;
                let said = Metadata {
                    user,
                    group,
                    mtime,
                    ..entry.metadata
                };
                difference(there, &said)
            };
            return match difference {
                None => Ok(()),
                Some(difference) => Err(LayerError::Conflict {
                    path: format!("/{}", String::from_utf8_lossy(&entry.path)),
                    first: self.describe(&entry.path, place.source),
                    second: self.describe(&entry.path, source),
                    difference,
                }),
            };
        }
        io_failed(
            "write",
            self.output,
            self.writer.write_all(&headers(&entry)),
        )?;
        let mut digest = None;
        if let Content::File { size } = entry.content {
            let mut hashing = HashingWriter::new(Algorithm::Sha256, &mut self.writer);
            data(&mut hashing)?;
            digest = Some(hashing.finish().digest);
            io_failed("write", self.output, write_padding(&mut self.writer, size))?;
        }
        self.put(source, entry, digest)
    }

    /// What archives say of a directory: the first of them that has it, and that one's attributes with those that only
    /// others have.
    fn directory(&self, path: &[u8]) -> Option<(Source, Metadata)> {
        let archived = self.archived.iter().enumerate();
        let mut said = archived.filter_map(|(number, archived)| {
            let metadata = archived.get(path)?.directory.as_ref()?;
            Some((Source::Archive(number), metadata))
        });
        let (source, metadata) = said.next()?;
        let mut metadata = metadata.clone();
        for (name, value) in said.flat_map(|(_, other)| &other.xattrs) {
            let own = metadata.xattrs.entry(name.clone());
            own.or_insert_with(|| value.clone());
        }
        Some((source, metadata))
    }

    fn put(
        &mut self,
        source: Source,
        entry: Entry,
        digest: Option<Digest>,
    ) -> Result<(), LayerError> {
        self.memory += entry.memory();
        if self.memory > MAX_MEMORY {
            let archive = match source {
                Source::Archive(number) => &self.content.tars[number],
                Source::Content => self.output,
            };
            return Err(not_a_tar(archive)(TarError::TooMuch));
        }
        let Entry {
            path,
            content,
            metadata,
        } = entry;
        let place = Place {
            source,
            content,
            metadata,
            digest,
        };
        self.places.insert(path, place);
        Ok(())
    }

    /// Writes the directories that lead to `path`, if they are not there.
    fn make_way(&mut self, source: Source, path: &[u8]) -> Result<(), LayerError> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in slashes {
            let parent = &path[..end];
            if let Some(place) = self.places.get(parent) {
                // An archive may lead over links of its own.
                let is_way = match place.content {
                    Content::Directory => true,
                    Content::Symlink { .. } => place.source == source && source != Source::Content,
                    _ => false,
                };
                if !is_way {
                    return Err(not_a_directory(
                        &String::from_utf8_lossy(parent),
                        &String::from_utf8_lossy(path),
                    ));
                }
                continue;
            }
            let mut entry = self.parent(parent);
            let by_archive = self.directory(parent);
            let is_named = self.content.rules.iter().any(|rule| rule.names(parent));
            if let Some((_, metadata)) = &by_archive {
                entry.metadata = metadata.clone();
                self.apply_rules(&mut entry, |_| true);
            } else if is_named {
                let Owner { uid, gid } = self.options.owner;
                (entry.metadata.uid, entry.metadata.gid) = (uid, gid);
                self.apply_rules(&mut entry, |rule| rule.names(parent));
            } else {
                self.unnamed.insert(parent.to_vec(), entry.metadata.clone());
            }
            io_failed(
                "write",
                self.output,
                self.writer.write_all(&headers(&entry)),
            )?;
            let source = by_archive.map_or(source, |(source, _)| source);
            self.put(source, entry, None)?;
        }
        Ok(())
    }

    /// Gives an entry what such rules say of it.
    fn apply_rules(&mut self, entry: &mut Entry, is_such: impl Fn(&MetadataRule) -> bool) {
        let rules = self.content.rules.iter().zip(&mut self.used);
        for (rule, used) in rules.filter(|(rule, _)| is_such(rule)) {
            *used |= rule.apply(entry);
        }
    }

    /// A directory that is there because something is in it.
    fn parent(&self, path: &[u8]) -> Entry {
        let known = match path {
            b"tmp" | b"var/tmp" => 0o1777,
            b"root" => 0o700,
            _ => 0o755,
        };
        let text = str::from_utf8(path).ok();
        let said = text
            .and_then(|path| self.content.parents.get(path))
            .copied();
        let (mode, owner) = said.unwrap_or((known, Owner::default()));
        Entry {
            path: path.to_vec(),
            content: Content::Directory,
            metadata: self.metadata(mode, owner),
        }
    }

    fn describe(&self, path: &[u8], source: Source) -> String {
        match source {
            Source::Archive(archive) => self.content.tars[archive].display().to_string(),
            Source::Content => {
                let name = String::from_utf8_lossy(path);
                let entry = self.content.entries.get(&*name);
                entry.unwrap_or(&LayerEntry::Directory).to_string()
            }
        }
    }
}

/// The first in which two things of the same kind differ, but for their content.
fn difference(one: &Metadata, other: &Metadata) -> Option<Difference> {
    let owner = |&Metadata { uid, gid, .. }: &Metadata| Owner { uid, gid };
    if one.mode != other.mode {
        return Some(Difference::Mode(one.mode, other.mode));
    }
    if owner(one) != owner(other) {
        return Some(Difference::Owner(owner(one), owner(other)));
    }
    if (&one.user, &one.group) != (&other.user, &other.group) {
        return Some(Difference::Names);
    }
    if one.mtime != other.mtime {
        return Some(Difference::Time);
    }
    let mut names = one.xattrs.keys().chain(other.xattrs.keys());
    let name = names.find(|name| one.xattrs.get(*name) != other.xattrs.get(*name))?;
    Some(Difference::Attribute(
        String::from_utf8_lossy(name).into_owned(),
    ))
}
