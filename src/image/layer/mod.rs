//! Reproducible file system layers (OCI image spec, layer.md).

mod content;
mod package;
mod writer;

pub use content::{LayerContent, LayerEntry, Owner};
pub use package::PackageError;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed, open_regular};
use crate::io::{Tee, drain};
use crate::oci::descriptor::{Compression, Descriptor, MediaType};
use crate::oci::digest::{Algorithm, Digest, HashingWriter};
use crate::outputs::WholeFile;
use crate::tar::{
    Archive, Compressor, Entry, MAX_PATH, Packing, Parents, TarError, UnnamedParent, list,
    open_archive,
};

use super::DIFF_ID;
use writer::write_tar;

/// Why a layer cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A path that no layer can hold.
    #[error("{0:?} is not a path for a layer: expected a path without '..', such as /app/server")]
    Path(String),
    /// A pattern of paths that is none where the base's links lead.
    #[error("{0}")]
    Pattern(String),
    /// A local file has a name, or a link a text, that is not UTF-8.
    #[error("{path} has a name, or is a link with a text, that is not UTF-8", path = .0.display())]
    NotUtf8(PathBuf),
    /// A file of a directory has a name that removes what is below.
    #[error(
        "{0} has a name that in a layer removes what layers below have (layer.md, Whiteouts): leave it out, or name its path where it is meant so"
    )]
    Whiteout(String),
    /// Longer than systems take paths.
    #[error("a path or link is longer than the {MAX_PATH} bytes that one may have: {0:?}")]
    Long(String),
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
    /// A Debian package of which scanners could not be told.
    #[error("{path} is no Debian package that a layer can record, so that scanners know of it: build it again by dpkg-deb, or, if none need know, take its data.tar", path = path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PackageError,
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
    #[error("{path:?} is given twice in the layer: by {first}, and by {second}{difference}")]
    Conflict {
        /// The path.
        path: String,
        /// What has it.
        first: String,
        /// What is to have it too.
        second: String,
        /// How the two differ.
        difference: Difference,
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

/// How two things at one path differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// One is no file of the kind that the other is, or has other content, or leads elsewhere.
    #[error("")]
    Content,
    /// Their modes.
    #[error(", with the modes {0:04o} and {1:04o}")]
    Mode(u32, u32),
    /// Their owners.
    #[error(", with the owners {0} and {1}")]
    Owner(Owner, Owner),
    /// The names of their owners.
    #[error(", with different names of the owners")]
    Names,
    /// Their times.
    #[error(", with different modification times")]
    Time,
    /// An extended attribute.
    #[error(", with different extended attributes {0}")]
    Attribute(String),
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

/// Writes the layer to the file `output`.
///
/// The same content gives the same bytes: entries are sorted by path and have the given owner and time. The entries of
/// archives follow, with their own metadata. A directory that is there only because something is in it belongs to root
/// and has the mode that distributions give it. A layer that is a single archive and nothing else keeps the archive's
/// bytes: uncompressed, or as they are if no compression is asked for and OCI has a media type for them. Directories that
/// such an archive does not name are in the list as most runtimes make them. A Debian package is never kept so: beside its
/// files, the layer has what records it.
pub fn build_layer(
    content: &LayerContent,
    options: &LayerOptions,
    output: &Path,
) -> Result<BuiltLayer, LayerError> {
    // What is to be replaced may be read for it.
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    let built = write_layer(content, options, &whole, output)?;
    io_failed("write", output, whole.finish())?;
    Ok(built)
}

/// Writes the layer to a writer, which errors call `output`.
fn write_layer(
    content: &LayerContent,
    options: &LayerOptions,
    writer: impl Write,
    output: &Path,
) -> Result<BuiltLayer, LayerError> {
    let blob = HashingWriter::new(Algorithm::Sha256, BufWriter::with_capacity(1 << 20, writer));
    let lone = match content.lone_archive() {
        Some(archive) => Some((archive, packing_of(archive)?)),
        None => None,
    };
    if let (Some((archive, Packing::Layer(compression))), None) = (lone, options.compression) {
        return keep_archive(archive, compression, blob, output);
    }
    let compression = options.compression.unwrap_or(Compression::Gzip);
    let mut layer = HashingWriter::new(
        Algorithm::Sha256,
        io_failed("write", output, Compressor::new(compression, blob))?,
    );
    let unnamed_parents = match lone {
        Some((archive, Packing::Layer(_) | Packing::Xz)) => {
            copy_tar(archive, open_tar(archive)?, &mut layer)?
        }
        Some((_, Packing::Debian)) | None => write_tar(content, options, output, &mut layer)?,
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
    let unnamed_parents = copy_tar(path, reader, &mut diff_id)?;
    io_failed("read", path, drain(&mut raw))?;
    let diff_id = diff_id.finish().digest;
    built(compression, blob, &diff_id, unnamed_parents, output)
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

/// Copies an archive byte for byte, if it is one; returns the directories that nobody named.
fn copy_tar(
    path: &Path,
    reader: impl Read,
    writer: impl Write,
) -> Result<Vec<UnnamedParent>, LayerError> {
    let mut parents = Parents::default();
    read_tar(path, reader, writer, |entry, _| {
        parents.add(entry.path).map_err(not_a_tar(path))
    })?;
    Ok(parents.unnamed())
}

/// Reads an archive to its end, because the checksum of a compressed one is behind its entries. What is read is written to
/// `writer`.
fn read_tar<R: Read, W: Write>(
    path: &Path,
    reader: R,
    writer: W,
    mut each: impl FnMut(Entry, &mut Archive<BufReader<&mut Tee<R, W>>>) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let not_a_tar = not_a_tar(path);
    let mut tee = Tee::new(reader, writer);
    let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, &mut tee));
    while let Some(entry) = archive.next().map_err(not_a_tar)? {
        each(entry, &mut archive)?;
    }
    drain(&mut tee).map_err(|error| not_a_tar(error.into()))?;
    if tee.count() == 0 {
        return Err(not_a_tar(TarError::Form("it is empty")));
    }
    Ok(())
}

/// Lists what an archive holds in the file `output`, as mtree(5) writes it.
pub fn list_archive(archive: &Path, output: &Path) -> Result<(), LayerError> {
    let reader = BufReader::with_capacity(256 * 1024, open_tar(archive)?);
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    let mut writer = BufWriter::new(&whole);
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::image::{MetadataChange, PathPattern};

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
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("layer");
        assert!(matches!(
            build_layer(&content, &PLAIN, &output),
            Err(LayerError::NoSuchPath(_))
        ));
    }
}
