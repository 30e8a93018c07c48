//! Writes a root file system as a tar archive.
//!
//! The sizes of all files are known, hence the place of each in the archive. So headers are written
//! first, and contents as they come out of the layers.

use std::path::Path;

use crate::files::io_failed;
use crate::outputs::WholeFile;

use super::{InodeKind, Item, Rootfs, RootfsError, Thing, by_layer, each};
use crate::tar::{BLOCK, Content, Entry, Metadata, headers, padding};

/// A directory that no layer has an entry of.
const IMPLIED: u32 = 0o755;

pub(super) fn write(rootfs: &Rootfs, output: &Path) -> Result<(), RootfsError> {
    // An archive that lacks contents must not be taken for a whole one.
    let whole = io_failed("write", output, WholeFile::begin(output))?;

    let items = rootfs.tree.items();
    let mut end = 0;
    let mut wanted = Vec::new();
    for item in &items {
        // The root is not something that an archive must have.
        if item.path.is_empty() && matches!(item.thing, Thing::Directory(None)) {
            continue;
        }
        let headers = headers(&entry(item, &items));
        io_failed("write", output, whole.write_all_at(&headers, end))?;
        end += headers.len() as u64;
        if let Thing::Inode(inode) = item.thing
            && let InodeKind::File { size, source } = inode.kind
            && size > 0
        {
            wanted.push((source, end));
            end += size + padding(size);
        }
    }
    // Two blocks of zeros are the end.
    io_failed("write", output, whole.set_len(end + 2 * BLOCK as u64))?;
    let wanted = by_layer(&rootfs.layers, wanted.into_iter());
    each(&rootfs.layers, |number, layer| {
        layer.contents(&wanted[number], |start, archive| {
            archive.data(|bytes, offset| whole.write_all_at(bytes, start + offset))
        })
    })?;
    Ok(io_failed("write", output, whole.finish())?)
}

/// What the archive has of a path.
fn entry(item: &Item<'_>, items: &[Item<'_>]) -> Entry {
    let (content, metadata) = match &item.thing {
        Thing::Directory(metadata) => (Content::Directory, metadata.cloned()),
        Thing::HardLink(inode, first) => {
            let target = items[*first].path.clone();
            (Content::HardLink { target }, Some(inode.metadata.clone()))
        }
        Thing::Inode(inode) => {
            let content = match &inode.kind {
                InodeKind::File { size, .. } => Content::File { size: *size },
                InodeKind::Symlink { target } => Content::Symlink {
                    target: target.clone(),
                },
                InodeKind::Device { kind, major, minor } => Content::Device {
                    kind: *kind,
                    major: *major,
                    minor: *minor,
                },
                InodeKind::Fifo => Content::Fifo,
            };
            (content, Some(inode.metadata.clone()))
        }
    };
    Entry {
        path: item.path.clone(),
        content,
        metadata: metadata.unwrap_or_else(|| Metadata {
            mode: IMPLIED,
            ..Metadata::default()
        }),
    }
}
