//! The root file system of an image: its layers applied one on the other (OCI image spec, layer.md,
//! "Applying Changesets").
//!
//! All layers are read twice: for their entries, which make the tree, and for the contents that are
//! left in it. Where each content goes is known by then, so no order is forced on the second reading,
//! and nothing but the tree is held in memory.

mod directory;
mod file;
mod layers;
mod parents;
mod tar;
mod tree;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use crate::files::FileError;
use crate::oci::config::ImageConfig;
use crate::oci::descriptor::Compression;
use crate::oci::digest::Digest;
use crate::oci::manifest::ImageManifest;
use crate::tar::{Content, Entry, MAX_MEMORY, TarError};

pub use file::{FileFault, Purpose};
use layers::{Layer, Reader, each};
pub use parents::{ChangedParent, changed_parents};
pub(crate) use tree::is_name;
use tree::{ContentSource, End, InodeKind, Item, Thing, Tree, reachable};

/// Why a root file system cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A layer that cannot be applied.
    #[error("the layer {digest} cannot be applied")]
    Layer {
        /// The layer.
        digest: Digest,
        /// What is wrong with it.
        source: LayerFault,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A file of the output cannot be written.
    #[error("cannot write the root file system")]
    Write(#[source] io::Error),
    /// A file of it is not what is wanted.
    #[error("cannot take {path:?} out of the image")]
    File {
        /// The path that was asked for.
        path: String,
        /// What is wrong with it.
        source: FileFault,
    },
    /// Links of the image lead to more than can be followed.
    #[error("links in the image give its files more names than can be looked at")]
    Links,
    /// The output directory holds something.
    #[error("{path} is not empty: name a directory that is empty or does not exist", path = .0.display())]
    Occupied(PathBuf),
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerFault {
    /// Its blob cannot be read.
    #[error("its blob cannot be read")]
    Read(#[source] io::Error),
    /// Its blob has another size.
    #[error("its blob has {found} bytes, but the manifest says {expected}")]
    Size {
        /// What the manifest says.
        expected: u64,
        /// The size that it has.
        found: u64,
    },
    /// Its blob is another one.
    #[error("its blob has the digest {0}")]
    Digest(Digest),
    /// What it holds is not what the config says.
    #[error("its diff_id is {found}, read as {compression}, but the config says {expected}")]
    DiffId {
        /// What the config says.
        expected: Digest,
        /// The digest that it has.
        found: Digest,
        /// How it is compressed, by its bytes.
        compression: Compression,
    },
    /// What the blob holds is of no use.
    #[error(transparent)]
    Archive(TarError),
}

/// The root file system of an image.
#[derive(Debug)]
pub struct Rootfs {
    layers: Vec<Layer>,
    tree: Tree,
}

/// A file of a root file system, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(usize);

/// A name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    /// The path from the root.
    pub(crate) path: Vec<u8>,
    /// The file.
    pub(crate) file: FileNumber,
    /// Whether it is a symbolic link, or a hard link in the layer that it came with.
    pub(crate) is_link: bool,
    /// What makes it a name of the file, and since which layer, counted from 0.
    pub(crate) by: By,
}

/// What makes a path a name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// It is the file's own, one of perhaps several.
    Itself(usize),
    /// It is a symbolic link.
    Link(usize),
    /// The directory that it is in is one.
    Directory(usize),
    /// A directory further up is one.
    Further,
}

/// A file of a layer while that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileEntry<'a> {
    /// Its path, as its layer has it.
    pub(crate) path: &'a [u8],
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// What was kept of files while layers were read.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    /// Where each layer stands for the first time, which is when it was read.
    first: Vec<usize>,
    /// By layer and entry.
    items: HashMap<(usize, usize), T>,
}

impl<T> Kept<T> {
    /// Takes out what was kept of a file, if anything was.
    pub(crate) fn take(&mut self, rootfs: &Rootfs, file: FileNumber) -> Option<T> {
        match rootfs.tree.inode_at(file.0).kind {
            InodeKind::File { source, .. } => {
                let place = (self.first[source.layer], source.entry);
                self.items.remove(&place)
            }
            _ => None,
        }
    }
}

impl Rootfs {
    /// The root file system of the image of `manifest` and `config` in the directory `layout`. Each layer must
    /// be, uncompressed, what the config says.
    pub fn read(
        layout: &Path,
        manifest: &ImageManifest,
        config: &ImageConfig,
    ) -> Result<Self, RootfsError> {
        Self::read_watched(layout, manifest, config, |_, _| {})
    }

    /// As [`Rootfs::read`], and keeps something of files on the way: `want` says of which, and `take` gets their bytes piece
    /// by piece, each with its offset. Not all of these files are left in the end.
    pub(crate) fn read_keeping<T: Send>(
        layout: &Path,
        manifest: &ImageManifest,
        config: &ImageConfig,
        want: impl Fn(&FileEntry<'_>) -> Option<T> + Sync,
        take: impl Fn(&mut T, &[u8], u64) + Sync,
    ) -> Result<(Self, Kept<T>), RootfsError> {
        Self::read_looking(
            layout,
            manifest,
            config,
            |_, _| {},
            |entry, archive| {
                let Content::File { size } = entry.content else {
                    return Ok(None);
                };
                let path = &entry.path;
                let Some(mut kept) = want(&FileEntry { path, size }) else {
                    return Ok(None);
                };
                archive.data(|bytes, offset| {
                    take(&mut kept, bytes, offset);
                    Ok(())
                })?;
                Ok(Some(kept))
            },
        )
    }

    /// As [`Rootfs::read`]; `watch` sees what is below each layer, and the layer's blob.
    fn read_watched(
        layout: &Path,
        manifest: &ImageManifest,
        config: &ImageConfig,
        watch: impl FnMut(&Tree, &Digest),
    ) -> Result<Self, RootfsError> {
        let look = |_: &Entry, _: &mut Reader<'_>| Ok(None::<()>);
        let (rootfs, _) = Self::read_looking(layout, manifest, config, watch, look)?;
        Ok(rootfs)
    }

    /// As both of these: what `look` returns of an entry is kept.
    fn read_looking<T: Send>(
        layout: &Path,
        manifest: &ImageManifest,
        config: &ImageConfig,
        mut watch: impl FnMut(&Tree, &Digest),
        look: impl Fn(&Entry, &mut Reader<'_>) -> Result<Option<T>, TarError> + Sync,
    ) -> Result<(Self, Kept<T>), RootfsError> {
        let layers = manifest.layers.iter().zip(&config.diff_ids);
        let layers: Vec<Layer> = layers
            .map(|(layer, diff_id)| Layer::new(layout, layer, diff_id))
            .collect();
        let mut tree = Tree::default();
        let memory = AtomicU64::new(0);
        // A layer that is there several times is read once.
        let mut places: HashMap<_, (usize, usize)> = HashMap::new();
        for (number, layer) in layers.iter().enumerate() {
            places.entry(layer.id()).or_insert((number, number)).1 = number;
        }
        let mut read = each(&layers, |number, layer| {
            let mut kept = Vec::new();
            let entries = if places[&layer.id()].0 == number {
                layer.entries(&memory, |position, entry, archive| {
                    kept.extend(look(entry, archive)?.map(|item| (position, item)));
                    Ok(())
                })?
            } else {
                Vec::new()
            };
            Ok((entries, kept))
        })?;
        let mut kept = Kept {
            first: Vec::new(),
            items: HashMap::new(),
        };
        for (number, layer) in layers.iter().enumerate() {
            let (first, last) = places[&layer.id()];
            let (entries, items) = &mut read[first];
            let items = std::mem::take(items).into_iter();
            kept.items
                .extend(items.map(|(entry, item)| ((first, entry), item)));
            kept.first.push(first);
            let entries = if number == last {
                std::mem::take(entries)
            } else {
                entries.clone()
            };
            watch(&tree, &manifest.layers[number].digest);
            tree.apply(number, entries)
                .map_err(|error| layer.failed(LayerFault::Archive(error)))?;
        }
        Ok((Rootfs { layers, tree }, kept))
    }

    /// Writes it as a tar archive to the file `output`, with all its attributes; the same bytes for
    /// the same image.
    pub fn write_tar(&self, output: &Path) -> Result<(), RootfsError> {
        tar::write(self, output)
    }

    /// Writes the file at `path` to `output`. Links on the way and at its end are followed within the root.
    pub fn write_file(
        &self,
        path: &str,
        purpose: Purpose<'_>,
        output: &Path,
    ) -> Result<(), RootfsError> {
        file::write(self, path, purpose, output)
    }

    /// The file at `path`, links followed; none if there is no file.
    pub fn file(&self, path: &str) -> Option<FileNumber> {
        let number = self.tree.number(path.as_bytes()).ok()??;
        self.is_file(number).then_some(FileNumber(number))
    }

    /// The size of a file in bytes.
    pub(crate) fn size(&self, file: FileNumber) -> u64 {
        match self.tree.inode_at(file.0).kind {
            InodeKind::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Which layer a path is from, counted from 0, if it is there and no directory: not that of the file which it is a further
    /// name of.
    pub fn layer(&self, path: &str) -> Option<usize> {
        self.tree.layer(path.as_bytes())
    }

    /// All names of files, links to files included, in the order of their paths. Behind them those of which `want` says so,
    /// by ways that lead over links to directories, with at most `depth` names behind the first of these.
    pub(crate) fn names(
        &self,
        depth: usize,
        want: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<FileName>, RootfsError> {
        let mut names = Vec::new();
        let mut links = Vec::new();
        for item in self.tree.items() {
            let Some(inode) = item.inode else {
                continue;
            };
            let is_file = self.is_file(inode);
            let end = if is_file {
                Some(End::Inode(inode))
            } else {
                reachable(self.tree.end(&item.path)).map_err(|_| RootfsError::Links)?
            };
            match end {
                Some(End::Inode(number)) if self.is_file(number) => names.push(FileName {
                    path: item.path,
                    file: FileNumber(number),
                    is_link: item.is_hard_link || !is_file,
                    by: if is_file {
                        By::Itself(item.layer)
                    } else {
                        By::Link(item.layer)
                    },
                }),
                Some(End::Directory(directory)) => links.push((item.path, directory)),
                _ => {}
            }
        }
        let mut length = 0;
        let take = |path: Vec<u8>, number| {
            if self.is_file(number) && want(&path) {
                length += path.len() as u64;
                let end = path.iter().rposition(|byte| *byte == b'/');
                let directory = &path[..end.unwrap_or_default()];
                let by = self.tree.layer(directory);
                names.push(FileName {
                    path,
                    file: FileNumber(number),
                    is_link: false,
                    by: by.map_or(By::Further, By::Directory),
                });
            }
            length <= MAX_MEMORY
        };
        let walked = self.tree.walk_below(links, depth, take);
        walked.map_err(|_| RootfsError::Links)?;
        Ok(names)
    }

    /// The paths that a pattern leads to, links followed, in which `*` stands for a part of a name.
    pub(crate) fn matching(&self, pattern: &str) -> Result<Vec<String>, RootfsError> {
        let found = self.tree.matching(pattern);
        let found = found.map_err(|_| RootfsError::Links)?.into_iter();
        Ok(found
            .map(|path| String::from_utf8_lossy(&path).into_owned())
            .collect())
    }

    /// Reads files: `take` gets their bytes piece by piece, each with its offset, and files from several threads.
    pub(crate) fn read_files<T: Send + Sync>(
        &self,
        files: impl Iterator<Item = (FileNumber, T)>,
        take: impl Fn(&T, &[u8], u64) + Sync,
    ) -> Result<(), RootfsError> {
        let wanted = files.filter_map(|(file, item)| match self.tree.inode_at(file.0).kind {
            InodeKind::File { source, .. } => Some((source, item)),
            _ => None,
        });
        let wanted = by_layer(&self.layers, wanted);
        each(&self.layers, |number, layer| {
            layer.contents(&wanted[number], |item, archive| {
                archive.data(|bytes, offset| {
                    take(item, bytes, offset);
                    Ok(())
                })
            })
        })?;
        Ok(())
    }

    fn is_file(&self, inode: usize) -> bool {
        matches!(self.tree.inode_at(inode).kind, InodeKind::File { .. })
    }

    /// Writes it into the directory `output`, which is empty or made, as a user without privileges can.
    ///
    /// Files and directories are the user's, who may read and write them all; devices, named pipes and extended
    /// attributes are left out.
    pub fn write_directory(&self, output: &Path) -> Result<(), RootfsError> {
        directory::write(self, output)
    }
}

/// Applies layers, of each of which these are all entries, one on the other, lowest first. An error is which of them cannot
/// be applied.
pub(crate) fn check_entries<'a>(
    layers: impl IntoIterator<Item = &'a [Entry]>,
) -> Result<(), (usize, TarError)> {
    let mut tree = Tree::default();
    let mut memory = 0;
    for (number, entries) in layers.into_iter().enumerate() {
        memory += entries.iter().map(Entry::memory).sum::<u64>();
        if memory > MAX_MEMORY {
            return Err((number, TarError::TooMuch));
        }
        let applied = tree.apply(number, entries.to_vec());
        applied.map_err(|error| (number, error))?;
    }
    Ok(())
}

/// What to take from each layer, given the contents that are wanted.
fn by_layer<T>(
    layers: &[Layer],
    wanted: impl Iterator<Item = (ContentSource, T)>,
) -> Vec<Vec<(usize, T)>> {
    let mut sorted: Vec<Vec<(usize, T)>> = layers.iter().map(|_| Vec::new()).collect();
    for (source, content) in wanted {
        sorted[source.layer].push((source.entry, content));
    }
    for layer in &mut sorted {
        layer.sort_by_key(|(entry, _)| *entry);
    }
    sorted
}
