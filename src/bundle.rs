//! Blobs of a store as an archive, for a machine that has no network.
//!
//! The archive is an OCI image layout (image-layout.md) of the images that it was made for, so other
//! tools read it too.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed, open_regular};
use crate::layout::{
    INDEX_FILE, MergeError, REF_NAME, Reachable, Sources, entry, index_of, write_blobs,
};
use crate::oci::config::MAX_CONFIG_SIZE;
use crate::oci::descriptor::{Compression, Descriptor, Kind, MediaType};
use crate::oci::digest::{Digest, HashingWriter};
use crate::oci::manifest::{ImageIndex, ImageManifest, MAX_MANIFEST_SIZE, Manifest, ManifestError};
use crate::oci::platform::{Platform, choose, offered};
use crate::oci::reference::Reference;
use crate::oci::walk::{Walk, WalkError};
use crate::outputs::WholeFile;
use crate::store::{Blob, Ingest, Store, StoreError, Writer};
use crate::tar::{Archive, Content, TarError, copy_data, open_archive_file};
use crate::text::named;

/// The most bytes that are read behind an archive's end, which fill its last record.
const MAX_PADDING: u64 = 1 << 20;

/// Why blobs cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image that nothing in the store is known by.
    #[error("{0} has no digest: expected REGISTRY/REPOSITORY@DIGEST")]
    NoDigest(String),
    /// The store has a part of an image at most.
    #[error("the store lacks the {role} {digest} of {image}")]
    Lacks {
        /// The image.
        image: String,
        /// What it is in the image.
        role: &'static str,
        /// The blob.
        digest: Digest,
    },
    /// Some of what an index lists was not pulled.
    #[error("the store has {image} only in part, without {lacking}")]
    Part {
        /// The image.
        image: String,
        /// The manifests that it lacks, in words.
        lacking: String,
    },
    /// The image has no end.
    #[error("the manifests of the image cannot be used")]
    Walk(#[from] WalkError),
    /// Nothing that the store knows of an image is for a platform.
    #[error("the store knows no image for {wanted} of {image}, which offers {offered}")]
    Platform {
        /// The image.
        image: String,
        /// The platform.
        wanted: Box<Platform>,
        /// What there is, in words.
        offered: String,
    },
    /// What was named is not an image.
    #[error("{image} is no image that can be exported")]
    Manifest {
        /// The image.
        image: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The archive cannot be written, or a blob is wrong.
    #[error(transparent)]
    Write(#[from] MergeError),
    /// Some of what is to be exported cannot be read.
    #[error("cannot read {0}")]
    Unreadable(String),
    /// There is nothing to export.
    #[error("the store has no blobs")]
    Empty,
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The archive cannot be read to its end.
    #[error("cannot read {path} to its end; the blobs before stay in the store", path = path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        source: TarError,
    },
    /// It has other bytes than a blob's.
    #[error("{path} has other bytes as {digest}: they {found}", path = path.display())]
    Wrong {
        /// The archive.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// How they differ, in words.
        found: String,
    },
    /// It has something else than a file in the place of a blob.
    #[error("{digest} is {what} in {path}, and no blob", path = path.display())]
    NoFile {
        /// The archive.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// What is in its place.
        what: &'static str,
    },
    /// Its `index.json` is of no use.
    #[error("the index.json of {path} cannot be used; the blobs that came stay in the store", path = path.display())]
    Index {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// It was cut between two entries, or made without some.
    #[error("{path} {}lacks {lacking}; the blobs that came stay in the store", if *cut { "breaks off, and " } else { "" }, path = path.display())]
    Incomplete {
        /// The archive.
        path: PathBuf,
        /// Whether it has no end.
        cut: bool,
        /// What it lacks, in words.
        lacking: String,
    },
    /// Some other archive.
    #[error("{path} has no file blobs/ALGORITHM/HEX: it is not an archive of an OCI image layout", path = .0.display())]
    NoBlobs(PathBuf),
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The number of blobs.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What an import found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What the store did not have.
    pub added: Moved,
    /// What it had.
    pub present: Moved,
}

/// Writes `images`, which must be whole in the store, to the file `output`; with platforms, only the images for
/// these.
pub fn export_images(
    store: &Store,
    images: &[Reference],
    platforms: &[Platform],
    output: &Path,
) -> Result<Moved, BundleError> {
    with_sources(store, |_, sources| {
        export_from(store, sources, images, platforms, output)
    })
}

fn export_from(
    store: &Store,
    sources: &Sources,
    images: &[Reference],
    platforms: &[Platform],
    output: &Path,
) -> Result<Moved, BundleError> {
    let mut blobs = BTreeMap::new();
    // However often and in whatever order they are named.
    let mut entries = BTreeMap::new();
    for image in images {
        let digest = image
            .digest()
            .ok_or_else(|| BundleError::NoDigest(image.to_string()))?;
        let image = image.to_string();
        let Some((root, _)) = manifest(store, digest).map_err(|error| match error {
            Unusable::Store(error) => error.into(),
            Unusable::Manifest(source) => BundleError::Manifest {
                image: image.clone(),
                source,
            },
        })?
        else {
            return Err(BundleError::Lacks {
                image,
                role: "manifest",
                digest: digest.clone(),
            });
        };
        blobs.extend(blobs_of(store, sources, &root, &image, platforms)?);
        let name = (REF_NAME.to_owned(), image.clone());
        entries.insert(image, entry(&root, [name]));
    }
    write(&blobs, entries.into_values(), output)
}

/// What belongs to an image or artifact, or to its images for these platforms. All of it is there.
fn blobs_of<'a>(
    store: &Store,
    sources: &'a Sources,
    root: &Descriptor,
    image: &str,
    platforms: &[Platform],
) -> Result<Reachable<'a>, BundleError> {
    let lacks = |error| match error {
        MergeError::Missing { role, digest, .. } => BundleError::Lacks {
            image: image.to_owned(),
            role,
            digest,
        },
        error => error.into(),
    };
    let below = Below::read(store, root)?;
    let chosen = below.choose(store, image, platforms)?;
    let wanted = |entry: &Descriptor| {
        entry.media_type.kind() == Kind::Index || chosen.contains(&entry.digest)
    };
    let mut blobs = sources.reachable_of(root, &wanted).map_err(lacks)?;
    if !platforms.is_empty() {
        // The pull of the archive chooses as well.
        for (role, blob) in &below.silent {
            let source = sources.find(role, blob, &root.digest).map_err(lacks)?;
            blobs.insert(blob.digest.blob_path(), (blob.bare(), source));
        }
    }
    Ok(blobs)
}

/// Writes all blobs of the store to the file `output`, as a layout of the images that it has whole. Returns also what it has
/// only a part of, and of which the layout lists no more than the images that are whole.
pub fn export_all(store: &Store, output: &Path) -> Result<(Moved, Vec<BundleError>), BundleError> {
    with_sources(store, |all, sources| {
        export_all_from(store, all, sources, output)
    })
}

fn export_all_from(
    store: &Store,
    all: &[Blob],
    sources: &Sources,
    output: &Path,
) -> Result<(Moved, Vec<BundleError>), BundleError> {
    let mut whole = Vec::new();
    let mut partial = Vec::new();
    let mut below_whole = HashSet::new();
    let mut below_partial = HashSet::new();
    let mut blobs: Reachable<'_> = BTreeMap::new();
    for blob in all {
        if let Ok(Some((root, manifest))) = manifest(store, &blob.digest) {
            let lacking = blobs_of(store, sources, &root, &root.digest.to_string(), &[]).err();
            if let Manifest::Index(index) = manifest {
                let below = if lacking.is_none() {
                    &mut below_whole
                } else {
                    &mut below_partial
                };
                below.extend(index.manifests.into_iter().map(|entry| entry.digest));
            }
            match lacking {
                None => whole.push(root),
                Some(error) => partial.push((root, error)),
            }
        }
        let media_type = MediaType::OCTET_STREAM;
        let descriptor = Descriptor::new(media_type, blob.digest.clone(), blob.size);
        let source = sources.find("blob", &descriptor, &descriptor.digest)?;
        blobs.insert(descriptor.digest.blob_path(), (descriptor, source));
    }
    if blobs.is_empty() {
        return Err(BundleError::Empty);
    }
    whole.retain(|root| !below_whole.contains(&root.digest));
    partial.retain(|(root, _)| !below_partial.contains(&root.digest));
    let moved = write(&blobs, whole.iter().map(|root| entry(root, [])), output)?;
    let partial = partial.into_iter().map(|(_, error)| error).collect();
    Ok((moved, partial))
}

/// Takes the blobs of an archive of a layout, compressed or not, into the store.
///
/// Each is verified, those that the store has as well. A wrong one keeps nobody from the others, and is added to `refused`; so is
/// one in whose place the store has what cannot be used. An import that broke off is done again.
pub fn import(
    store: &Store,
    archive: &Path,
    refused: &mut Vec<BundleError>,
) -> Result<Imported, BundleError> {
    let failed = |source| BundleError::Read {
        path: archive.to_owned(),
        source,
    };
    // What the archive cannot have, it will not bring.
    let most = match io_failed("open", archive, Compression::of_file(archive))? {
        Compression::None => io_failed("read", archive, fs::metadata(archive))?.len(),
        Compression::Gzip | Compression::Zstd => u64::MAX,
    };
    let mut reader = Archive::new(io_failed("open", archive, open_archive_file(archive))?);
    let mut imported = Imported::default();
    let mut came = HashSet::new();
    let mut index = None;
    while let Some(file) = reader.next().map_err(failed)? {
        if let Content::File { size } = file.content
            && file.path == INDEX_FILE.as_bytes()
        {
            let mut bytes = Vec::new();
            index = Some(if size > MAX_MANIFEST_SIZE {
                Err(ManifestError::Size(size))
            } else {
                copy_data(&mut reader, size, &mut bytes).map_err(failed)?;
                ImageIndex::parse(&bytes)
            });
            continue;
        }
        let Some(digest) = digest_of(&file.path) else {
            continue;
        };
        let Content::File { size } = file.content else {
            refused.push(BundleError::NoFile {
                path: archive.to_owned(),
                digest,
                what: in_words(&file.content),
            });
            continue;
        };
        match take(store, &mut reader, (&digest, size), most).map_err(|error| match error {
            NotTaken::Read(source) => failed(source),
            NotTaken::Store(error) => error.into(),
        })? {
            Taken::Added => imported.added.add(size),
            Taken::Present => imported.present.add(size),
            Taken::Unusable(error) => refused.push(error.into()),
            Taken::Wrong(found) => refused.push(BundleError::Wrong {
                path: archive.to_owned(),
                digest: digest.clone(),
                found,
            }),
        }
        came.insert(digest);
    }
    let has_end = reader.has_end();
    // What is compressed has a checksum at its end.
    let read = io::copy(&mut reader.into_inner().take(MAX_PADDING), &mut io::sink());
    read.map_err(|error| failed(error.into()))?;
    // What was refused is told by itself.
    if !refused.is_empty() {
        return Ok(imported);
    }
    if came.is_empty() {
        return Err(BundleError::NoBlobs(archive.to_owned()));
    }
    let lacking = match index.transpose() {
        Ok(Some(index)) => lacking(store, &index, &came)?,
        Ok(None) => Some(INDEX_FILE.to_owned()),
        Err(source) => {
            return Err(BundleError::Index {
                path: archive.to_owned(),
                source,
            });
        }
    };
    match lacking {
        None => Ok(imported),
        Some(lacking) => Err(BundleError::Incomplete {
            path: archive.to_owned(),
            cut: !has_end,
            lacking,
        }),
    }
}

/// What became of a blob of an archive.
enum Taken {
    Added,
    Present,
    /// Its bytes are others, in these words.
    Wrong(String),
    /// What the store has in its place cannot be used.
    Unusable(StoreError),
}

enum NotTaken {
    Read(TarError),
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        NotTaken::Store(error)
    }
}

/// Takes the blob that an archive is at into the store. One of more than `most` bytes is not there, whatever it says.
fn take(
    store: &Store,
    reader: &mut Archive<impl BufRead>,
    (digest, size): (&Digest, u64),
    most: u64,
) -> Result<Taken, NotTaken> {
    let writer = match store.ingest(digest, size, store.waiting()) {
        Ok(Ingest::Writer(writer)) => writer,
        // That the store's is right says nothing of the archive's.
        Ok(Ingest::Present) => {
            let mut hashing = HashingWriter::new(digest.algorithm(), io::sink());
            copy_data(reader, size, &mut hashing).map_err(NotTaken::Read)?;
            let found = hashing.finish().digest;
            return Ok(if found == *digest {
                Taken::Present
            } else {
                Taken::Wrong(format!("have the digest {found}"))
            });
        }
        Err(StoreError::Size { found, .. }) => {
            return Ok(Taken::Wrong(format!("are {size}, not {found}")));
        }
        Err(error) if error.path() == Some(&store.blob_path(digest)) => {
            return Ok(Taken::Unusable(error));
        }
        Err(error) => return Err(error.into()),
    };
    // What was left half-written may be wrong, and these bytes cost little.
    writer.restart()?;
    if size <= most {
        writer.reserve()?;
    }
    let mut coming = Coming::to(&writer);
    let read = copy_data(reader, size, &mut coming);
    coming.stored?;
    read.map_err(NotTaken::Read)?;
    match writer.finish() {
        Ok(()) => Ok(Taken::Added),
        Err(StoreError::Digest { found, .. }) => {
            Ok(Taken::Wrong(format!("have the digest {found}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is in the place of a file.
fn in_words(content: &Content) -> &'static str {
    match content {
        Content::File { .. } => "a file",
        Content::Directory => "a directory",
        Content::Symlink { .. } | Content::HardLink { .. } => {
            "a link (tar --dereference makes none)"
        }
        Content::Device { .. } => "a device",
        Content::Fifo => "a named pipe",
    }
}

/// What of an archive with this index neither the archive has, of which these blobs came, nor the store.
fn lacking(
    store: &Store,
    index: &ImageIndex,
    came: &HashSet<Digest>,
) -> Result<Option<String>, BundleError> {
    with_sources(store, |blobs, all| {
        let mut own = Sources::default();
        for blob in blobs.iter().filter(|blob| came.contains(&blob.digest)) {
            own.add_pulled(store.blob_path(&blob.digest))?;
        }
        // What was left out of it, the store may have in part, which says nothing.
        // What cannot be used, whoever pulls it is told.
        let lacked = |sources: &Sources| match sources.reachable(&index.manifests) {
            Err(MergeError::Missing { role, digest, .. }) => Some(format!("the {role} {digest}")),
            _ => None,
        };
        Ok(lacked(&own).and_then(|_| lacked(all)))
    })
}

/// A blob that comes in its order.
struct Coming<'a> {
    writer: &'a Writer,
    end: u64,
    stored: Result<(), StoreError>,
}

impl<'a> Coming<'a> {
    fn to(writer: &'a Writer) -> Self {
        Coming {
            writer,
            end: 0,
            stored: Ok(()),
        }
    }
}

impl io::Write for Coming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stored = self.writer.write(self.end, bytes);
        if self.stored.is_err() {
            return Err(io::ErrorKind::Other.into());
        }
        self.end += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Moved {
    fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// Exports what the store has. Where that fails because the store has found a blob altered, and removed it, that is what is
/// told.
fn with_sources<T>(
    store: &Store,
    export: impl FnOnce(&[Blob], &Sources) -> Result<T, BundleError>,
) -> Result<T, BundleError> {
    let mut sources = Sources::default();
    let mut failures = Vec::new();
    let blobs = store.blobs(&mut failures);
    if let Some(error) = failures.pop() {
        return Err(error.into());
    }
    for blob in &blobs {
        sources.add_pulled(store.blob_path(&blob.digest))?;
    }
    export(&blobs, &sources).map_err(|error| {
        let mut digests = blobs.into_iter().map(|blob| blob.digest);
        match digests.find(|digest| !store.blob_path(digest).exists()) {
            Some(lost) => StoreError::Lost(lost).into(),
            None => error,
        }
    })
}

enum Unusable {
    Store(StoreError),
    Manifest(ManifestError),
}

/// A manifest of the store with its descriptor, if it is there.
fn manifest(store: &Store, digest: &Digest) -> Result<Option<(Descriptor, Manifest)>, Unusable> {
    let bytes = store
        .read(digest, MAX_MANIFEST_SIZE)
        .map_err(Unusable::Store)?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let manifest = Manifest::parse(&bytes, None).map_err(Unusable::Manifest)?;
    let media_type = manifest.media_type().clone();
    let root = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
    Ok(Some((root, manifest)))
}

/// What is below an index, or a manifest itself.
#[derive(Default)]
struct Below {
    /// The images and artifacts, those that are not there as well, each with the platform that the index, or else its config,
    /// tells.
    manifests: Vec<Descriptor>,
    /// What is read to find the platforms of which the index is silent: manifests and configs.
    silent: Vec<(&'static str, Descriptor)>,
    /// Whether it is one manifest by itself, which is no image.
    is_artifact: bool,
}

impl Below {
    fn read(store: &Store, root: &Descriptor) -> Result<Self, BundleError> {
        let mut below = Below::default();
        let mut walk = Walk::default();
        walk.add(root.clone(), ())?;
        while let Some((mut descriptor, ())) = walk.next() {
            let found = manifest(store, &descriptor.digest).ok().flatten();
            let image = match found {
                Some((_, Manifest::Index(index))) => {
                    for entry in manifests_of(index) {
                        walk.add(entry, ())?;
                    }
                    continue;
                }
                Some((_, Manifest::Image(image))) => Some(image),
                None => None,
            };
            if descriptor.platform.is_none() {
                below.silent.push(("manifest", descriptor.clone()));
                if let Some(image) = image.filter(ImageManifest::may_be_image) {
                    let config = store.read(&image.config.digest, MAX_CONFIG_SIZE)?;
                    let config = image.image(&config.unwrap_or_default(), None);
                    descriptor.platform = config.ok().flatten().map(|config| config.platform);
                    below.silent.push(("config", image.config));
                }
            }
            below.is_artifact = descriptor.digest == root.digest && descriptor.platform.is_none();
            below.manifests.push(descriptor);
        }
        Ok(below)
    }

    /// Those for these platforms, as a pull chooses them, or all if there are none. All of them are there.
    fn choose(
        &self,
        store: &Store,
        image: &str,
        platforms: &[Platform],
    ) -> Result<BTreeSet<Digest>, BundleError> {
        let chosen = if platforms.is_empty() || self.is_artifact {
            self.manifests.clone()
        } else {
            choose(&self.manifests, platforms).map_err(|wanted| BundleError::Platform {
                image: image.to_owned(),
                wanted: Box::new(wanted.clone()),
                offered: offered(
                    self.manifests
                        .iter()
                        .filter_map(|entry| entry.platform.as_ref()),
                ),
            })?
        };
        let lacking = named(
            chosen
                .iter()
                .filter(|entry| !has(store, entry))
                .map(|entry| {
                    let platform = entry
                        .platform
                        .as_ref()
                        .map(|platform| format!(" ({platform})"));
                    format!("{}{}", entry.digest, platform.unwrap_or_default())
                }),
        );
        if !lacking.is_empty() {
            return Err(BundleError::Part {
                image: image.to_owned(),
                lacking,
            });
        }
        Ok(chosen.into_iter().map(|entry| entry.digest).collect())
    }
}

fn has(store: &Store, blob: &Descriptor) -> bool {
    store.blob_path(&blob.digest).exists()
}

fn manifests_of(index: ImageIndex) -> impl Iterator<Item = Descriptor> {
    index.manifests.into_iter().filter(Descriptor::is_manifest)
}

fn write(
    blobs: &Reachable<'_>,
    images: impl IntoIterator<Item = Descriptor>,
    output: &Path,
) -> Result<Moved, BundleError> {
    // All of them are named, before anything is written.
    let unreadable = named(blobs.values().filter_map(|(_, source)| {
        let error = open_regular(source.path()).err()?;
        Some(format!("{} ({error})", source.path().display()))
    }));
    if !unreadable.is_empty() {
        return Err(BundleError::Unreadable(unreadable));
    }
    let files = [(INDEX_FILE, index_of(images))];
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    write_blobs(blobs, &files, &whole, output)?;
    io_failed("write", output, whole.finish())?;
    let mut moved = Moved::default();
    for (descriptor, _) in blobs.values() {
        moved.add(descriptor.size);
    }
    Ok(moved)
}

/// The digest that a path of a layout is for.
fn digest_of(path: &[u8]) -> Option<Digest> {
    let (algorithm, hex) = str::from_utf8(path)
        .ok()?
        .strip_prefix("blobs/")?
        .split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
