//! Reproducible file system layers (OCI image spec, layer.md).

use std::collections::btree_map;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::files::{FileError, WholeFile, io_failed, open_regular};
use crate::io::{Tee, drain};
use crate::oci::descriptor::{Compression, Descriptor, MediaType};
use crate::oci::digest::{Algorithm, Digest, HashingWriter};
use crate::tar::{
    Archive, Compressor, Content, Entry, MAX_MEMORY, Metadata, Mtime, Packing, TarError,
    UnnamedParent, components, copy_data, headers, list, open_archive, stays_inside, write_end,
    write_padding,
};

use super::DIFF_ID;
use super::metadata::{MetadataChange, MetadataRule, PathPattern};

/// What is kept of an archive's entry beside its path while a layer is made, more or less.
const LISTED_MEMORY: u64 = 200;
/// How many links may stand on the way to one entry.
const MAX_LINKS: usize = 40;

/// Why a layer cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A path that no layer can hold.
    #[error("{0:?} is not a path for a layer: expected a path without '..', such as /app/server")]
    Path(String),
    /// An archive has an entry that cannot be used.
    #[error("{path} has an entry that no layer can have", path = path.display())]
    Entry {
        /// The archive.
        path: PathBuf,
        /// What is wrong with the entry.
        source: TarError,
    },
    /// What should be an archive is none.
    #[error("{path} is not a whole tar archive; it may be plain, compressed by gzip, zstd or xz, or in a Debian package", path = path.display())]
    NotATar {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TarError,
    },
    /// A link in a local directory that leads out of it.
    #[error("{link} is a link to {target}, which is not in the directory {directory}", link = link.display(), directory = directory.display())]
    LeadsOut {
        /// The directory.
        directory: PathBuf,
        /// The link in it.
        link: PathBuf,
        /// What the link says.
        target: String,
    },
    /// The base's links lead nowhere.
    #[error("the links on the way to {0:?} go in a circle")]
    Circle(String),
    /// Two different things at one path.
    #[error("{path:?} is given twice in the layer: by {first}, and by {second}")]
    Conflict {
        /// The path.
        path: String,
        /// What has it.
        first: String,
        /// What is to have it too.
        second: String,
    },
    /// Two archives say different things of one directory.
    #[error(
        "the directory {path:?} has the mode {:04o} and the owner {} in {first}, but {:04o} and {} in {second}",
        .one.0, .one.1, .other.0, .other.1
    )]
    Directory {
        /// The path.
        path: String,
        /// What has it.
        first: String,
        /// The mode there, and the owner.
        one: (u32, Owner),
        /// What has it too.
        second: String,
        /// The mode there, and the owner.
        other: (u32, Owner),
    },
    /// Something is placed below a path that is not a directory.
    #[error("{child:?} cannot be placed below {parent:?}, which is not a directory")]
    NotADirectory {
        /// The path that is not a directory.
        parent: String,
        /// What was to be placed below.
        child: String,
    },
    /// Metadata for a path that the layer does not have.
    #[error(
        "nothing in the layer matches {0:?}, for which metadata is given; a directory that nobody named must be named by its path, and a hard link has what it is another name of"
    )]
    NoSuchPath(String),
}

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
    entries: BTreeMap<String, LayerEntry>,
    rules: Vec<MetadataRule>,
    parents: BTreeMap<String, (u32, Owner)>,
    links: BTreeMap<String, String>,
    tars: Vec<PathBuf>,
    /// The paths that are taken, if not all are.
    take: Vec<PathPattern>,
    /// The paths that are left out.
    leave: Vec<PathPattern>,
}

/// How a layer is written.
#[derive(Clone, Copy, Debug)]
pub struct LayerOptions {
    /// The compression of the blob; if it is not said, gzip, or that of an archive which is all that the layer holds.
    pub compression: Option<Compression>,
    /// The owner of every entry.
    pub owner: Owner,
    /// The mode of every regular file, in place of 0644 and 0755.
    pub mode: Option<u32>,
    /// The modification time of every entry, in seconds since 1970.
    pub mtime: u64,
}

/// A layer that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltLayer {
    /// Its descriptor, with the annotation [`DIFF_ID`].
    pub descriptor: Descriptor,
    /// The directories in it that nobody named.
    pub unnamed_parents: Vec<UnnamedParent>,
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
        let path = normal(path)?;
        if path.is_empty() || components(target.as_bytes()).next().is_none() {
            return Err(LayerError::Path(target.to_owned()));
        }
        self.links.insert(path, target.to_owned());
        Ok(())
    }

    /// Says what mode and owner the base gives the directory `path`, which the layer has if something is in it.
    pub fn set_parent(&mut self, path: &str, mode: u32, owner: Owner) -> Result<(), LayerError> {
        self.parents.insert(normal(path)?, (mode, owner));
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
            let not_utf8 = || LayerError::Path(local.display().to_string());
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(not_utf8)?;
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

    /// Adds what is in a tar archive, which may be compressed, or in a Debian package.
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
                Ok(pattern.below(&placed, rest))
            }
        }
    }

    /// Where something with this name stands, given the base's links: those on the way, and with `all` the one at its end.
    fn place(&self, name: &str, all: bool) -> Result<String, LayerError> {
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

    /// The archive that is all that the layer holds, if it may stay as it is.
    fn lone_archive(&self) -> Option<&Path> {
        let is_alone = self.entries.is_empty() && self.links.is_empty() && self.rules.is_empty();
        match &self.tars[..] {
            [archive] if is_alone => Some(archive),
            _ => None,
        }
    }
}

fn not_a_directory(parent: &str, child: &str) -> LayerError {
    LayerError::NotADirectory {
        parent: format!("/{parent}"),
        child: format!("/{child}"),
    }
}

/// Writes the layer to the file `output`.
///
/// The same content gives the same bytes: entries are sorted by path and have the given owner and time. The entries of
/// archives follow, with their own metadata. A directory that is there only because something is in it belongs to root
/// and has the mode that distributions give it. A layer that is a single archive and nothing else keeps the archive's
/// bytes: uncompressed, or as they are if no compression is asked for and OCI has a media type for them.
pub fn build_layer(
    content: &LayerContent,
    options: &LayerOptions,
    output: &Path,
) -> Result<BuiltLayer, LayerError> {
    let file = io_failed("write", output, File::create(output))?;
    let blob = HashingWriter::new(Algorithm::Sha256, BufWriter::with_capacity(1 << 20, file));
    if let (Some(archive), None) = (content.lone_archive(), options.compression)
        && let Packing::Layer(compression) = packing_of(archive)?
    {
        return keep_archive(archive, compression, blob, output);
    }
    let compression = options.compression.unwrap_or(Compression::Gzip);
    let mut layer = HashingWriter::new(
        Algorithm::Sha256,
        io_failed("write", output, Compressor::new(compression, blob))?,
    );
    let unnamed_parents = match content.lone_archive() {
        Some(archive) => {
            copy_tar(archive, open_tar(archive)?, &mut layer)?;
            Vec::new()
        }
        None => write_tar(content, options, output, &mut layer)?,
    };
    let layer = layer.finish();
    let blob = io_failed("write", output, layer.inner.finish())?;
    built(compression, blob, &layer.digest, unnamed_parents, output)
}

fn built(
    compression: Compression,
    blob: HashingWriter<impl Write>,
    diff_id: &Digest,
    unnamed_parents: Vec<UnnamedParent>,
    output: &Path,
) -> Result<BuiltLayer, LayerError> {
    let mut blob = blob.finish();
    io_failed("write", output, blob.inner.flush())?;
    let media_type = MediaType::layer(compression);
    let mut descriptor = Descriptor::new(media_type, blob.digest, blob.size);
    descriptor
        .annotations
        .insert(DIFF_ID.to_owned(), diff_id.to_string());
    Ok(BuiltLayer {
        descriptor,
        unnamed_parents,
    })
}

/// How an archive is packed.
fn packing_of(path: &Path) -> Result<Packing, LayerError> {
    let mut reader = BufReader::new(io_failed("open", path, open_regular(path))?);
    let head = io_failed("read", path, reader.fill_buf())?;
    Packing::of(head).map_err(|error| not_a_tar(path)(error.into()))
}

/// Copies the bytes of an archive that a layer may be.
fn keep_archive(
    path: &Path,
    compression: Compression,
    mut blob: HashingWriter<impl Write>,
    output: &Path,
) -> Result<BuiltLayer, LayerError> {
    let file = io_failed("open", path, open_regular(path))?;
    let mut raw = Tee::new(file, &mut blob);
    let mut diff_id = HashingWriter::new(Algorithm::Sha256, io::sink());
    let reader = open_archive(BufReader::with_capacity(1 << 20, &mut raw));
    let reader = reader.map_err(|error| not_a_tar(path)(error.into()))?;
    copy_tar(path, reader, &mut diff_id)?;
    io_failed("read", path, drain(&mut raw))?;
    built(
        compression,
        blob,
        &diff_id.finish().digest,
        Vec::new(),
        output,
    )
}

/// Writes entries and archives; returns the directories that nobody named.
fn write_tar(
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
        let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, open_tar(path)?));
        let mut count = 0;
        while let Some(entry) = archive.next().map_err(not_a_tar(path))? {
            count += 1;
            layer.add_archived(number, count, entry, &mut archive)?;
        }
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
        .map(|(path, metadata)| UnnamedParent {
            path: format!("/{}", String::from_utf8_lossy(&path)),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
        })
        .collect())
}

/// What a failure to read an archive is turned into.
fn not_a_tar(path: &Path) -> impl Fn(TarError) -> LayerError + Copy {
    |source| match source {
        TarError::Entry { .. } => LayerError::Entry {
            path: path.to_owned(),
            source,
        },
        TarError::Write(source) => LayerError::Io(FileError {
            action: "write what is in",
            path: path.to_owned(),
            source,
        }),
        source => LayerError::NotATar {
            path: path.to_owned(),
            source,
        },
    }
}

/// Copies an archive byte for byte, if it is one.
fn copy_tar(path: &Path, reader: impl Read, writer: impl Write) -> Result<(), LayerError> {
    let not_a_tar = not_a_tar(path);
    let mut tee = Tee::new(reader, writer);
    let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, &mut tee));
    while archive.next().map_err(not_a_tar)?.is_some() {}
    drain(&mut tee).map_err(|error| not_a_tar(error.into()))?;
    if tee.count() == 0 {
        return Err(not_a_tar(TarError::Form("it is empty")));
    }
    Ok(())
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
    archived: Vec<HashMap<Vec<u8>, Archived>>,
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

    /// An entry of the layer's own.
    fn entry(&self, path: &str, content: Content, mode: u32) -> Entry {
        let Owner { uid, gid } = self.options.owner;
        Entry {
            path: path.as_bytes().to_vec(),
            content,
            metadata: Metadata {
                mode,
                uid,
                gid,
                mtime: self.mtime(),
                ..Metadata::default()
            },
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
        let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, open_tar(path)?));
        let mut archived = HashMap::new();
        let mut number = 0;
        while let Some(mut entry) = archive.next().map_err(not_a_tar(path))? {
            number += 1;
            self.place_archived(&mut entry)?;
            self.memory += entry.path.len() as u64 + LISTED_MEMORY;
            if self.memory > MAX_MEMORY {
                return Err(not_a_tar(path)(TarError::TooMuch));
            }
            let is_directory = entry.content == Content::Directory;
            let directory = is_directory.then_some(entry.metadata);
            archived.insert(entry.path, Archived { number, directory });
        }
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
        if let Content::HardLink { target } = &entry.content
            && archived
                .get(target)
                .is_some_and(|target| target.number > number)
        {
            let problem = "is a hard link to what the archive has again, or only, after it";
            return Err(not_a_tar(path)(TarError::entry(&entry.path, problem)));
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
        // The links are text, so they are on no other way.
        if let Ok(text) = str::from_utf8(path) {
            *path = self.content.place(text, all)?.into_bytes();
        }
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
            && !self.content.rules.is_empty()
            && let Some(place) = self.places.get(target)
        {
            entry.metadata = place.metadata.clone();
        }
        if let Some(place) = self.places.get(&entry.path) {
            // What the layer itself says of a directory counts.
            let both_are_archives = place.source != Source::Content && source != Source::Content;
            if both_are_archives
                && (&place.content, &entry.content) == (&Content::Directory, &Content::Directory)
            {
                return self.compare(place, &entry, source);
            }
            let is_same = if entry.content == Content::Directory {
                place.content == Content::Directory
            } else {
                let mut hasher = HashingWriter::new(Algorithm::Sha256, io::sink());
                place.content == entry.content && place.metadata == entry.metadata && {
                    data(&mut hasher)?;
                    !matches!(entry.content, Content::File { .. })
                        || place.digest == Some(hasher.finish().digest)
                }
            };
            return if is_same {
                Ok(())
            } else {
                Err(LayerError::Conflict {
                    path: format!("/{}", String::from_utf8_lossy(&entry.path)),
                    first: self.describe(&entry.path, place.source),
                    second: self.describe(&entry.path, source),
                })
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

    /// Compares what two archives say of a directory, but for the time at which it was last changed.
    fn compare(&self, place: &Place, entry: &Entry, source: Source) -> Result<(), LayerError> {
        let said = |metadata: &Metadata| {
            let Metadata { mode, uid, gid, .. } = *metadata;
            (mode, Owner { uid, gid })
        };
        let (one, other) = (said(&place.metadata), said(&entry.metadata));
        if one == other {
            return Ok(());
        }
        Err(LayerError::Directory {
            path: format!("/{}", String::from_utf8_lossy(&entry.path)),
            first: self.describe(&entry.path, place.source),
            one,
            second: self.describe(&entry.path, source),
            other,
        })
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
                if place.content != Content::Directory
                    && (place.source != source || source == Source::Content)
                {
                    return Err(not_a_directory(
                        &String::from_utf8_lossy(parent),
                        &String::from_utf8_lossy(path),
                    ));
                }
                continue;
            }
            let mut entry = self.parent(parent);
            let archived = self.archived.iter().enumerate();
            let mut archived = archived.filter_map(|(number, archived)| {
                let metadata = archived.get(parent)?.directory.clone()?;
                Some((Source::Archive(number), metadata))
            });
            let by_archive = archived.next();
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
        let text = str::from_utf8(path).unwrap_or_default();
        let known = match text {
            "tmp" | "var/tmp" => 0o1777,
            "root" => 0o700,
            _ => 0o755,
        };
        let said = self.content.parents.get(text).copied();
        let (mode, Owner { uid, gid }) = said.unwrap_or((known, Owner::default()));
        Entry {
            path: path.to_vec(),
            content: Content::Directory,
            metadata: Metadata {
                mode,
                uid,
                gid,
                mtime: self.mtime(),
                ..Metadata::default()
            },
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

/// Lists what an archive holds in the file `output`, as mtree(5) writes it.
pub fn list_archive(archive: &Path, output: &Path) -> Result<(), LayerError> {
    let reader = BufReader::with_capacity(256 * 1024, open_tar(archive)?);
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    let mut writer = BufWriter::new(whole.file());
    list(reader, &mut writer).map_err(not_a_tar(archive))?;
    io_failed("write", output, writer.flush())?;
    drop(writer);
    io_failed("write", output, whole.finish())?;
    Ok(())
}

/// Opens an archive, whatever its compression.
fn open_tar(path: &Path) -> Result<Box<dyn Read>, LayerError> {
    let file = io_failed("open", path, open_regular(path))?;
    open_archive(BufReader::with_capacity(1 << 20, file))
        .map_err(|error| not_a_tar(path)(error.into()))
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
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: LayerOptions = LayerOptions {
        compression: Some(Compression::None),
        owner: Owner { uid: 7, gid: 8 },
        mode: None,
        mtime: 5,
    };

    fn build(content: &LayerContent, options: &LayerOptions) -> (Descriptor, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("layer");
        let built = build_layer(content, options, &output).unwrap();
        (built.descriptor, fs::read(output).unwrap())
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            format!(
                "{} {:o} {}:{} {}",
                entry.path().unwrap().display(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.mtime().unwrap()
            )
        });
        entries.collect()
    }

    fn sample(directory: &Path) -> LayerContent {
        let source = directory.join("source");
        fs::write(&source, "hello").unwrap();
        let mut content = LayerContent::default();
        let file = |executable| LayerEntry::File {
            source: source.clone(),
            executable,
        };
        content.add("/usr/bin/tool", file(true)).unwrap();
        content.add("etc//./tool.conf", file(false)).unwrap();
        let link = LayerEntry::Symlink {
            target: "tool".to_owned(),
        };
        content.add("/usr/bin/alias", link).unwrap();
        content
            .add(&format!("/{}", "long/".repeat(60)), file(false))
            .unwrap();
        content
    }

    #[test]
    fn is_sorted_owned_and_the_same_every_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut content = sample(directory.path());
        let only = MetadataChange::mode(0o600);
        let path = PathPattern::literal("/etc/tool.conf");
        content.set_metadata(&path, only).unwrap();
        let (built, bytes) = build(&content, &PLAIN);
        let names = names(&bytes);
        assert_eq!(names[0], "etc/ 755 0:0 5");
        assert_eq!(names[1], "etc/tool.conf 600 7:8 5");
        assert_eq!(names[names.len() - 1], "usr/bin/tool 755 7:8 5");
        assert!(names.contains(&"usr/bin/alias 777 7:8 5".to_owned()));
        let (again, _) = build(&content, &PLAIN);
        assert_eq!(built, again);
    }

    #[test]
    fn compression_changes_the_blob_but_not_the_diff_id() {
        let directory = tempfile::tempdir().unwrap();
        let content = sample(directory.path());
        let diff_id = |compression| {
            let options = LayerOptions {
                compression: Some(compression),
                ..PLAIN
            };
            let (built, bytes) = build(&content, &options);
            let mut raw = Vec::new();
            open_archive(bytes.as_slice())
                .unwrap()
                .read_to_end(&mut raw)
                .unwrap();
            let diff_id = Digest::of(Algorithm::Sha256, &raw);
            assert_eq!(built.annotations[DIFF_ID], diff_id.to_string());
            diff_id
        };
        let none = diff_id(Compression::None);
        assert_eq!(diff_id(Compression::Gzip), none);
        assert_eq!(diff_id(Compression::Zstd), none);
    }

    #[test]
    fn a_single_archive_keeps_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let (_, bytes) = build(&sample(directory.path()), &PLAIN);
        let path = directory.path().join("archive.tar");
        fs::write(&path, &bytes).unwrap();
        let mut alone = LayerContent::default();
        alone.add_tar(path.clone());
        assert_eq!(build(&alone, &PLAIN).1, bytes);

        let mut mixed = alone.clone();
        mixed.add("/zz", LayerEntry::Directory).unwrap();
        let mixed = names(&build(&mixed, &PLAIN).1);
        assert_eq!(mixed[0], "zz/ 755 7:8 5");
        assert_eq!(mixed[1..], names(&bytes));
    }

    #[test]
    fn refuses_what_cannot_be() {
        let mut content = LayerContent::default();
        content.add("/a", LayerEntry::Directory).unwrap();
        let link = LayerEntry::Symlink {
            target: "x".to_owned(),
        };
        content.add("/b", link.clone()).unwrap();
        assert!(matches!(
            content.add("/a", link),
            Err(LayerError::Conflict { .. })
        ));
        assert!(matches!(
            content.add("/b/c", LayerEntry::Directory),
            Err(LayerError::NotADirectory { .. })
        ));
        for bad in ["", "/../etc", "a/../../b"] {
            assert!(matches!(
                content.add(bad, LayerEntry::Directory),
                Err(LayerError::Path(_))
            ));
        }
        let nowhere = PathPattern::literal("/nowhere");
        content
            .set_metadata(&nowhere, MetadataChange::mode(0o600))
            .unwrap();
        let output = Path::new("/dev/null");
        assert!(matches!(
            build_layer(&content, &PLAIN, output),
            Err(LayerError::NoSuchPath(_))
        ));
    }
}
