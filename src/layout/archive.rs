//! Layouts as tar archives (OCI image spec, image-layout.md), and as those that `docker save` writes.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{FileError, io_failed, open_regular};
use crate::io::Tee;
use crate::json::to_json;
use crate::oci::descriptor::{Compression, Descriptor, MediaType};
use crate::oci::digest::{Digest, HashingWriter};
use crate::oci::manifest::MAX_MANIFEST_SIZE;
use crate::oci::platform::Platform;
use crate::oci::reference::Tagged;
use crate::oci::strict;
use crate::outputs::WholeFile;
use crate::tar::{
    Archive, Content, Entry, Metadata, TarError, copy_data, headers, read_layer, write_end,
    write_padding,
};

use super::merge::{Reachable, check_digest, check_size, read_index};
use super::sparse::Need;
use super::{
    DOCKER_FILE, FoundImage, INDEX_FILE, ImageNotFound, MARKER_FILE, MergeError, REF_NAME, Sources,
    entry, find_image, index_of, marker_json,
};

/// What archives are read and written through.
const BUFFER: usize = 1 << 20;
/// The annotation by which containerd names an image that it imports.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Who is to read an archive.
#[derive(Clone, Copy, Debug)]
pub enum Format<'a> {
    /// Whoever reads layouts.
    Oci,
    /// `docker load` as well, which gives the image these names.
    Docker(&'a [Tagged]),
}

/// Why a layout cannot be archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It lacks something, or the archive cannot be written.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// It lacks a blob.
    #[error("the {role} {digest} is not in {layout}, but {need}", layout = layout.display())]
    Lacks {
        /// What it is in the image.
        role: &'static str,
        /// Its digest.
        digest: Digest,
        /// What needs it.
        need: Need,
        /// The layout.
        layout: PathBuf,
    },
    /// It lacks the image.
    #[error(transparent)]
    Image(#[from] ImageNotFound),
    /// It is another kind of file.
    #[error("{archive} is not a tar archive, or is compressed: name what `docker save` writes, uncompressed", archive = .0.display())]
    NotTar(PathBuf, #[source] TarError),
    /// Docker cannot load it.
    #[error("{archive} has no {DOCKER_FILE}, by which engines load an archive: make it in the format docker", archive = .0.display())]
    NotDocker(PathBuf),
    /// The images that it lists cannot be told.
    #[error("{DOCKER_FILE} of {archive} cannot be used", archive = .0.display())]
    DockerFile(PathBuf, #[source] serde_json::Error),
}

impl From<FileError> for ArchiveError {
    fn from(error: FileError) -> Self {
        ArchiveError::Merge(error.into())
    }
}

impl ArchiveError {
    /// A blob that was not found is one that the layout lacks.
    fn of(self, layout: &Path) -> Self {
        match self {
            ArchiveError::Merge(MergeError::Missing { role, digest, need })
            | ArchiveError::Image(ImageNotFound::Lacks { role, digest, need }) => {
                ArchiveError::Lacks {
                    role,
                    digest,
                    need,
                    layout: layout.to_owned(),
                }
            }
            error => error,
        }
    }
}

/// One image, as Docker's `manifest.json` lists it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes the layout in the directory `layout` to the file `output`; the same bytes for the same
/// layout. With a platform, only the image for it; an archive for Docker always has only one.
pub fn archive(
    layout: &Path,
    platform: Option<&Platform>,
    format: Format<'_>,
    output: &Path,
) -> Result<(), ArchiveError> {
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    write_archive(layout, platform, format, &whole, output)?;
    io_failed("write", output, whole.finish())?;
    Ok(())
}

/// As [`archive`], to a writer, which errors call `output`.
pub(crate) fn write_archive(
    layout: &Path,
    platform: Option<&Platform>,
    format: Format<'_>,
    writer: impl io::Write,
    output: &Path,
) -> Result<(), ArchiveError> {
    write_format(layout, platform, format, writer, output).map_err(|error| error.of(layout))
}

fn write_format(
    layout: &Path,
    platform: Option<&Platform>,
    format: Format<'_>,
    writer: impl io::Write,
    output: &Path,
) -> Result<(), ArchiveError> {
    let mut sources = Sources::default();
    sources.add_layout(layout)?;
    let mut image = match (format, platform) {
        (Format::Oci, None) => {
            let (index, bytes) = read_index(&layout.join(INDEX_FILE))?;
            let files = [(INDEX_FILE, bytes)];
            return write(&sources, &index.manifests, &files, writer, output);
        }
        _ => find_image(layout, platform)?,
    };
    let unpacked;
    if matches!(format, Format::Docker(_)) && is_compressed_differently(&sources, &image)? {
        unpacked = io_failed("make a directory for", layout, tempfile::tempdir())?;
        uncompress(&mut sources, &mut image, unpacked.path())?;
    }
    let root = &image.descriptor;
    let files = match format {
        Format::Oci => vec![(INDEX_FILE, index_of([entry(root, [])]))],
        Format::Docker(tags) => vec![
            (INDEX_FILE, named_index(root, tags)),
            (DOCKER_FILE, to_json(&[docker_image(&image, tags)])),
        ],
    };
    let roots = std::slice::from_ref(root);
    write(&sources, roots, &files, writer, output)
}

/// Whether some of an image's layers are compressed otherwise than others. go-containerregistry looks at the first one
/// alone, and pushes the others as what they are not.
fn is_compressed_differently(sources: &Sources, image: &FoundImage) -> Result<bool, ArchiveError> {
    let mut found = HashSet::new();
    let manifest = &image.descriptor.digest;
    for layer in &image.manifest.layers {
        let path = &sources.find("layer", layer, manifest)?.path;
        let compression = Compression::of_file(path);
        found.insert(io_failed("read", path, compression)?);
    }
    Ok(found.len() > 1)
}

/// Makes an image into the same with layers that are not compressed, in files in `directory`.
fn uncompress(
    sources: &mut Sources,
    image: &mut FoundImage,
    directory: &Path,
) -> Result<(), ArchiveError> {
    let manifest = &image.descriptor.digest;
    let layers = image.manifest.layers.iter_mut();
    for (layer, diff_id) in layers.zip(&image.config.diff_ids) {
        let path = sources.find("layer", layer, manifest)?.path.clone();
        let target = directory.join(diff_id.hex());
        let write =
            |mut reader: Box<dyn io::Read + '_>| io::copy(&mut reader, &mut File::create(&target)?);
        let read = read_layer(&path, &layer.digest, diff_id, true, write);
        let read = io_failed("read", &path, read)?;
        check_digest(layer, &path, &read.digest)?;
        let size = io_failed("unpack", &path, read.done)?;
        let media_type = MediaType::layer(Compression::None);
        *layer = Descriptor::new(media_type, diff_id.clone(), size);
        if let Some(found) = read.diff_id {
            check_digest(layer, &path, &found)?;
        }
        sources.add_local(layer, target);
    }
    let manifest = &mut image.manifest;
    manifest.media_type = MediaType::OCI_MANIFEST;
    manifest.config.media_type = manifest.config.media_type.to_oci();
    let bytes = to_json(manifest);
    let platform = image.descriptor.platform.take();
    image.descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
    image.descriptor.platform = platform;
    let file = directory.join("manifest");
    io_failed("write", &file, fs::write(&file, bytes))?;
    sources.add_local(&image.descriptor, file);
    Ok(())
}

/// The names of the images of an archive that `docker load` reads.
pub(crate) fn names_in_archive(archive: &Path) -> Result<Vec<String>, ArchiveError> {
    /// The part of a [`DockerImage`] that matters, which is null where `docker save` knew no names.
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "RepoTags")]
        tags: Option<Vec<String>>,
    }
    let file = io_failed("open", archive, open_regular(archive))?;
    let mut entries = Archive::new(BufReader::with_capacity(BUFFER, file));
    let not_tar = |error| ArchiveError::NotTar(archive.to_owned(), error);
    while let Some(entry) = entries.next().map_err(not_tar)? {
        if entry.path != DOCKER_FILE.as_bytes() {
            continue;
        }
        let Content::File { size } = entry.content else {
            break;
        };
        let mut bytes = Vec::new();
        if size <= MAX_MANIFEST_SIZE {
            copy_data(&mut entries, size, &mut bytes).map_err(not_tar)?;
        }
        let images: Vec<Named> = strict::read(&bytes)
            .map_err(|error| ArchiveError::DockerFile(archive.to_owned(), error))?;
        let names = images.into_iter().filter_map(|image| image.tags);
        return Ok(names.flatten().collect());
    }
    Err(ArchiveError::NotDocker(archive.to_owned()))
}

/// Copies an archive to a writer, which errors call `output`.
pub(crate) fn copy_archive(
    archive: &Path,
    mut writer: impl io::Write,
    output: &Path,
) -> Result<(), ArchiveError> {
    let mut file = io_failed("open", archive, open_regular(archive))?;
    io_failed("write", output, io::copy(&mut file, &mut writer))?;
    Ok(())
}

/// An `index.json` with an entry for each of an image's names, as Docker's containerd store needs it.
fn named_index(root: &Descriptor, tags: &[Tagged]) -> Vec<u8> {
    if tags.is_empty() {
        return index_of([entry(root, [])]);
    }
    index_of(tags.iter().map(|tag| {
        let names = [
            (IMAGE_NAME.to_owned(), tag.reference().to_string()),
            (REF_NAME.to_owned(), tag.tag().to_string()),
        ];
        entry(root, names)
    }))
}

fn docker_image(image: &FoundImage, tags: &[Tagged]) -> DockerImage {
    let layers = &image.manifest.layers;
    DockerImage {
        config: image.manifest.config.digest.blob_path(),
        repo_tags: tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
        layers: layers
            .iter()
            .map(|layer| layer.digest.blob_path())
            .collect(),
    }
}

fn write(
    sources: &Sources,
    roots: &[Descriptor],
    files: &[(&str, Vec<u8>)],
    writer: impl io::Write,
    output: &Path,
) -> Result<(), ArchiveError> {
    let blobs = sources.reachable(roots)?;
    Ok(write_blobs(&blobs, files, writer, output)?)
}

/// Writes blobs, and files beside them that make them a layout.
pub(crate) fn write_blobs(
    blobs: &Reachable<'_>,
    files: &[(&str, Vec<u8>)],
    writer: impl io::Write,
    output: &Path,
) -> Result<(), MergeError> {
    // Some readers unpack an archive to where its entries lead, and make no directory of their own.
    let directories: BTreeSet<&str> = blobs
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..=end]))
        .collect();
    let mut writer = io::BufWriter::with_capacity(BUFFER, writer);
    let mut append = |path: &str, content: Content, bytes: &mut dyn io::Read| {
        let mode = if content == Content::Directory {
            0o755
        } else {
            0o644
        };
        let entry = Entry {
            path: path.trim_end_matches('/').as_bytes().to_vec(),
            content,
            metadata: Metadata {
                mode,
                ..Metadata::default()
            },
        };
        let written = writer.write_all(&headers(&entry)).and_then(|()| {
            let size = io::copy(bytes, &mut writer)?;
            write_padding(&mut writer, size)
        });
        io_failed("write", output, written)
    };
    let marker = (MARKER_FILE, marker_json());
    for (name, bytes) in std::iter::once(&marker).chain(files) {
        let size = bytes.len() as u64;
        append(name, Content::File { size }, &mut bytes.as_slice())?;
    }
    for directory in directories {
        append(directory, Content::Directory, &mut io::empty())?;
    }
    for (path, (descriptor, source)) in blobs {
        let file = io_failed("open", &source.path, open_regular(&source.path))?;
        let found = io_failed("read", &source.path, file.metadata())?.len();
        check_size(descriptor, &source.path, found)?;
        let hasher = HashingWriter::new(descriptor.digest.algorithm(), io::sink());
        let size = descriptor.size;
        // It may grow.
        let mut blob = Tee::new(BufReader::new(file).take(size), hasher);
        append(path, Content::File { size }, &mut blob)?;
        let found = blob.into_writer().finish().digest;
        check_digest(descriptor, &source.path, &found)?;
    }
    let ended = write_end(&mut writer).and_then(|()| writer.flush());
    io_failed("write", output, ended)?;
    Ok(())
}
