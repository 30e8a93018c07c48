//! Reproducible file system layers (OCI image spec, layer.md).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ::tar::{EntryType, Header};

use crate::files::{FileError, io_failed, open_regular};
use crate::io::{Tee, drain};
use crate::oci::descriptor::{Compression, Descriptor, MediaType};
use crate::oci::digest::{Algorithm, HashingWriter};
use crate::tar::decompress;

use super::DIFF_ID;

/// The default of the common tools: more costs much time for little space.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Why a layer cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A path that no layer can hold.
    #[error("{0:?} is not a path for a layer: expected a path without '..', such as /app/server")]
    Path(String),
    /// An archive has such a path.
    #[error("{archive} has an entry that no layer can have", archive = archive.display())]
    Entry {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with the entry.
        source: Box<LayerError>,
    },
    /// What should be an archive is none.
    #[error("{path} is not a whole tar archive; it may be plain, or compressed by gzip or zstd", path = path.display())]
    NotATar {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A path or link in an archive whose bytes would have to be altered.
    #[error("{path} holds the name {name:?}, which is not UTF-8", path = path.display())]
    NotUtf8 {
        /// The archive.
        path: PathBuf,
        /// The name, as far as it can be shown.
        name: String,
    },
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
    /// Something is placed below a path that is not a directory.
    #[error("{child:?} cannot be placed below {parent:?}, which is not a directory")]
    NotADirectory {
        /// The path that is not a directory.
        parent: String,
        /// What was to be placed below.
        child: String,
    },
    /// A mode for a path that the layer does not have.
    #[error("there is no {0:?} in the layer to set a mode for")]
    NoSuchPath(String),
}

/// The numeric owner of a layer's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user's ID.
    pub uid: u64,
    /// The group's ID.
    pub gid: u64,
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
    modes: BTreeMap<String, u32>,
    tars: Vec<PathBuf>,
}

/// How a layer is written.
#[derive(Clone, Copy, Debug)]
pub struct LayerOptions {
    /// The compression of the blob.
    pub compression: Compression,
    /// The owner of every entry.
    pub owner: Owner,
    /// The mode of every regular file, in place of 0644 and 0755.
    pub mode: Option<u32>,
    /// The modification time of every entry, in seconds since 1970.
    pub mtime: u64,
}

impl LayerContent {
    /// Adds an entry at `path`, and the directories that lead to it.
    pub fn add(&mut self, path: &str, entry: LayerEntry) -> Result<(), LayerError> {
        let name = normal(path)?;
        if name.is_empty() {
            return match entry {
                LayerEntry::Directory => Ok(()),
                _ => Err(LayerError::Path(path.to_owned())),
            };
        }
        for (end, _) in name.match_indices('/') {
            let parent = &name[..end];
            let present = self.entries.entry(parent.to_owned());
            if *present.or_insert(LayerEntry::Directory) != LayerEntry::Directory {
                return Err(LayerError::NotADirectory {
                    parent: format!("/{parent}"),
                    child: format!("/{name}"),
                });
            }
        }
        match self.entries.get(&name) {
            Some(present) if *present != entry => Err(LayerError::Conflict {
                path: format!("/{name}"),
                first: present.to_string(),
                second: entry.to_string(),
            }),
            _ => {
                self.entries.insert(name, entry);
                Ok(())
            }
        }
    }

    /// Adds all that is in the local directory `source` below `path`, following symlinks.
    pub fn add_tree(&mut self, path: &str, source: &Path) -> Result<(), LayerError> {
        self.add(path, LayerEntry::Directory)?;
        let entries = io_failed("list", source, fs::read_dir(source))?;
        for entry in entries {
            let entry = io_failed("list", source, entry)?;
            let local = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(LayerError::Path(local.display().to_string()));
            };
            let below = format!("{}/{name}", path.trim_end_matches('/'));
            // Build systems hand over trees of symlinks to the real files.
            let metadata = io_failed("read", &local, fs::metadata(&local))?;
            if metadata.is_dir() {
                self.add_tree(&below, &local)?;
            } else {
                let executable = true;
                self.add(
                    &below,
                    LayerEntry::File {
                        source: local,
                        executable,
                    },
                )?;
            }
        }
        Ok(())
    }

    /// Adds what is in a tar archive, which may be compressed.
    pub fn add_tar(&mut self, source: PathBuf) {
        self.tars.push(source);
    }

    /// Sets the mode of one path.
    pub fn set_mode(&mut self, path: &str, mode: u32) -> Result<(), LayerError> {
        self.modes.insert(normal(path)?, mode);
        Ok(())
    }
}

/// Writes the layer to the file `output`; returns its descriptor, with the annotation [`DIFF_ID`].
///
/// The same content gives the same bytes: entries are sorted by path and have the given owner and
/// time. The entries of archives follow as they are, with their own metadata. A layer that is a
/// single archive and nothing else keeps the archive's bytes, so that its `diff_id` is the archive's
/// digest.
pub fn build_layer(
    content: &LayerContent,
    options: &LayerOptions,
    output: &Path,
) -> Result<Descriptor, LayerError> {
    if let Some(path) = content
        .modes
        .keys()
        .find(|path| !content.entries.contains_key(*path))
    {
        return Err(LayerError::NoSuchPath(format!("/{path}")));
    }
    let file = io_failed("write", output, File::create(output))?;
    let blob = HashingWriter::new(Algorithm::Sha256, BufWriter::with_capacity(1 << 20, file));
    let mut layer = HashingWriter::new(
        Algorithm::Sha256,
        io_failed("write", output, Compressor::new(options.compression, blob))?,
    );
    match (&content.tars[..], content.entries.is_empty()) {
        ([archive], true) => {
            copy_tar(archive, &mut layer)?;
        }
        _ => write_tar(content, options, output, &mut layer)?,
    }
    let layer = layer.finish();
    let blob = io_failed("write", output, layer.inner.finish())?;
    let mut blob = blob.finish();
    io_failed("write", output, blob.inner.flush())?;
    let media_type = MediaType::layer(options.compression);
    let mut descriptor = Descriptor::new(media_type, blob.digest, blob.size);
    descriptor
        .annotations
        .insert(DIFF_ID.to_owned(), layer.digest.to_string());
    Ok(descriptor)
}

fn write_tar(
    content: &LayerContent,
    options: &LayerOptions,
    output: &Path,
    writer: impl Write,
) -> Result<(), LayerError> {
    let mut tar = tar::Builder::new(writer);
    for (path, entry) in &content.entries {
        let mut header = Header::new_gnu();
        header.set_uid(options.owner.uid);
        header.set_gid(options.owner.gid);
        header.set_mtime(options.mtime);
        header.set_size(0);
        let mode = content.modes.get(path).copied();
        match entry {
            LayerEntry::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(mode.unwrap_or(0o755));
                let result = tar.append_data(&mut header, format!("{path}/"), io::empty());
                io_failed("write", output, result)?;
            }
            LayerEntry::EmptyFile => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(mode.or(options.mode).unwrap_or(0o644));
                let result = tar.append_data(&mut header, path, io::empty());
                io_failed("write", output, result)?;
            }
            LayerEntry::Symlink { target } => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                io_failed("write", output, tar.append_link(&mut header, path, target))?;
            }
            LayerEntry::File { source, executable } => {
                let default = if *executable { 0o755 } else { 0o644 };
                header.set_entry_type(EntryType::Regular);
                header.set_mode(mode.or(options.mode).unwrap_or(default));
                let file = io_failed("open", source, open_regular(source))?;
                header.set_size(io_failed("read", source, file.metadata())?.len());
                let result = tar.append_data(&mut header, path, BufReader::new(file));
                io_failed("add to the layer", source, result)?;
            }
        }
    }
    let mut places = Places::of(content);
    for (number, path) in content.tars.iter().enumerate() {
        let not_a_tar = not_a_tar(path);
        let mut archive = tar::Archive::new(open_tar(path)?);
        for entry in archive.entries().map_err(not_a_tar)? {
            let mut entry = entry.map_err(not_a_tar)?;
            append_entry(&mut places, number, path, &mut tar, &mut entry)?;
        }
    }
    Ok(io_failed("write", output, tar.finish())?)
}

/// What a failure to read an archive is turned into.
fn not_a_tar(path: &Path) -> impl Fn(io::Error) -> LayerError + Copy {
    |source| LayerError::NotATar {
        path: path.to_owned(),
        source,
    }
}

/// Copies an archive byte for byte, if it is one.
fn copy_tar(path: &Path, writer: impl Write) -> Result<(), LayerError> {
    let not_a_tar = not_a_tar(path);
    let mut tee = Tee::new(open_tar(path)?, writer);
    let mut archive = tar::Archive::new(&mut tee);
    for entry in archive.entries().map_err(not_a_tar)? {
        let name = entry.map_err(not_a_tar)?.path_bytes().into_owned();
        entry_name(path, &String::from_utf8_lossy(&name))?;
    }
    drain(&mut tee).map_err(not_a_tar)?;
    if tee.count() == 0 {
        return Err(not_a_tar(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// The path in the layer of an archive's entry.
fn entry_name(archive: &Path, name: &str) -> Result<String, LayerError> {
    normal(name).map_err(|source| LayerError::Entry {
        archive: archive.to_owned(),
        source: Box::new(source),
    })
}

/// What stands where in a layer, and which source put it there: an archive's number, or none.
struct Places<'a> {
    content: &'a LayerContent,
    places: HashMap<String, Place>,
}

struct Place {
    is_directory: bool,
    source: Option<usize>,
}

impl<'a> Places<'a> {
    fn of(content: &'a LayerContent) -> Self {
        let entries = content.entries.iter();
        let places = entries.map(|(name, entry)| {
            let is_directory = *entry == LayerEntry::Directory;
            let source = None;
            (
                name.clone(),
                Place {
                    is_directory,
                    source,
                },
            )
        });
        let places = places.collect();
        Places { content, places }
    }

    fn describe(&self, name: &str, source: Option<usize>) -> String {
        match source {
            Some(archive) => self.content.tars[archive].display().to_string(),
            None => self.content.entries[name].to_string(),
        }
    }

    /// Takes the place for an archive; tells whether there is something to write.
    ///
    /// Sources may share directories and nothing else. What an archive does to itself is its own affair.
    fn take(&mut self, name: &str, is_directory: bool, archive: usize) -> Result<bool, LayerError> {
        let source = Some(archive);
        for (end, _) in name.match_indices('/') {
            let parent = self.places.entry(name[..end].to_owned()).or_insert(Place {
                is_directory: true,
                source,
            });
            if !parent.is_directory && parent.source != source {
                return Err(LayerError::NotADirectory {
                    parent: format!("/{}", &name[..end]),
                    child: format!("/{name}"),
                });
            }
        }
        match self.places.get(name) {
            Some(place) if place.source != source => {
                if place.is_directory && is_directory {
                    Ok(false)
                } else {
                    Err(LayerError::Conflict {
                        path: format!("/{name}"),
                        first: self.describe(name, place.source),
                        second: self.describe(name, source),
                    })
                }
            }
            _ => {
                let place = Place {
                    is_directory,
                    source,
                };
                self.places.insert(name.to_owned(), place);
                Ok(true)
            }
        }
    }
}

/// Copies an archive's entry with its metadata; only its path is brought into the layer's form.
fn append_entry(
    places: &mut Places<'_>,
    number: usize,
    archive: &Path,
    tar: &mut tar::Builder<impl Write>,
    entry: &mut tar::Entry<'_, impl Read>,
) -> Result<(), LayerError> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| LayerError::NotUtf8 {
            path: archive.to_owned(),
            name: String::from_utf8_lossy(bytes).into_owned(),
        })
    };
    let name = entry_name(archive, &text(&entry.path_bytes())?)?;
    let kind = entry.header().entry_type();
    if name.is_empty()
        || kind == EntryType::XGlobalHeader
        || !places.take(&name, kind.is_dir(), number)?
    {
        return Ok(());
    }
    let name = if kind.is_dir() {
        format!("{name}/")
    } else {
        name
    };
    let mut extensions: Vec<(String, Vec<u8>)> = Vec::new();
    if let Some(found) = io_failed("read", archive, entry.pax_extensions())? {
        for extension in found {
            let extension = io_failed("read", archive, extension)?;
            let key = extension.key().unwrap_or_default();
            // Paths and sizes are written anew by this writer.
            if !["path", "linkpath", "size"].contains(&key) {
                extensions.push((key.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    if !extensions.is_empty() {
        let pairs = extensions
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        io_failed("write", archive, tar.append_pax_extensions(pairs))?;
    }
    let mut header = entry.header().clone();
    if kind == EntryType::GNUSparse {
        header = io_failed("read", archive, without_holes(entry))?;
    }
    let link = entry
        .link_name_bytes()
        .map(|link| text(&link))
        .transpose()?;
    let result = match link {
        Some(link) if kind.is_symlink() => tar.append_link(&mut header, &name, link),
        Some(link) if kind.is_hard_link() => tar.append_link(&mut header, &name, normal(&link)?),
        _ => tar.append_data(&mut header, &name, entry),
    };
    Ok(io_failed("add to the layer an entry of", archive, result)?)
}

/// The header of a sparse file as one of a regular file, since its holes are read as zeros.
fn without_holes(entry: &tar::Entry<'_, impl Read>) -> io::Result<Header> {
    let sparse = entry.header();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(entry.size());
    header.set_mode(sparse.mode()?);
    header.set_uid(sparse.uid()?);
    header.set_gid(sparse.gid()?);
    header.set_mtime(sparse.mtime()?);
    if let Some(name) = sparse.username().ok().flatten() {
        header.set_username(name)?;
    }
    if let Some(name) = sparse.groupname().ok().flatten() {
        header.set_groupname(name)?;
    }
    Ok(header)
}

/// Opens an archive, whatever its compression.
fn open_tar(path: &Path) -> Result<Box<dyn Read>, LayerError> {
    let mut reader =
        BufReader::with_capacity(1 << 20, io_failed("open", path, open_regular(path))?);
    let head = io_failed("read", path, io::BufRead::fill_buf(&mut reader))?;
    let compression = match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    };
    Ok(io_failed("read", path, decompress(reader, compression))?)
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

enum Compressor<W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    fn new(compression: Compression, writer: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Compressor::None(writer),
            Compression::Gzip => Compressor::Gzip(
                flate2::GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(writer, flate2::Compression::new(GZIP_LEVEL)),
            ),
            Compression::Zstd => {
                Compressor::Zstd(zstd::stream::write::Encoder::new(writer, ZSTD_LEVEL)?)
            }
        })
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Compressor::None(writer) => Ok(writer),
            Compressor::Gzip(encoder) => encoder.finish(),
            Compressor::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::None(writer) => writer.write(buf),
            Compressor::Gzip(encoder) => encoder.write(buf),
            Compressor::Zstd(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Compressor::None(writer) => writer.flush(),
            Compressor::Gzip(encoder) => encoder.flush(),
            Compressor::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: LayerOptions = LayerOptions {
        compression: Compression::None,
        owner: Owner { uid: 7, gid: 8 },
        mode: None,
        mtime: 5,
    };

    fn build(content: &LayerContent, options: &LayerOptions) -> (Descriptor, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("layer");
        let built = build_layer(content, options, &output).unwrap();
        (built, fs::read(output).unwrap())
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
        content.set_mode("/etc/tool.conf", 0o600).unwrap();
        let (built, bytes) = build(&content, &PLAIN);
        let names = names(&bytes);
        assert_eq!(names[0], "etc/ 755 7:8 5");
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
                compression,
                ..PLAIN
            };
            let (built, bytes) = build(&content, &options);
            let mut raw = Vec::new();
            decompress(bytes.as_slice(), compression)
                .unwrap()
                .read_to_end(&mut raw)
                .unwrap();
            let diff_id = crate::oci::digest::Digest::of(Algorithm::Sha256, &raw);
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
        content.set_mode("/nowhere", 0o600).unwrap();
        let output = Path::new("/dev/null");
        assert!(matches!(
            build_layer(&content, &PLAIN, output),
            Err(LayerError::NoSuchPath(_))
        ));
    }
}
