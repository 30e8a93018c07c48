//! What a layer's directories that nobody named do to the layers below.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::oci::config::ImageConfig;
use crate::oci::digest::Digest;
use crate::oci::manifest::ImageManifest;
use crate::tar::{Metadata, ParentPath, UnnamedParent};

use super::tree::{Inode, InodeKind, Standing};
use super::{Rootfs, RootfsError};

/// A directory that a layer has only because something is in it, and that changes what the layers below have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedParent {
    /// Below is a symbolic link.
    Link {
        /// The path.
        path: ParentPath,
        /// What the link says.
        target: ParentPath,
    },
    /// Below is something else that is no directory.
    NoDirectory {
        /// The path.
        path: ParentPath,
    },
    /// Below is a directory with another mode or owner.
    Differs {
        /// What the layer has.
        parent: UnnamedParent,
        /// The mode below.
        mode: u32,
        /// The user below.
        uid: u32,
        /// The group below.
        gid: u32,
    },
}

impl fmt::Display for ChangedParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangedParent::Link { path, target } => write!(
                f,
                "it has the directory {path}, which nobody named, in place of the link to {target} that the layers below have"
            ),
            ChangedParent::NoDirectory { path } => write!(
                f,
                "it has the directory {path}, which nobody named, in place of what is no directory in the layers below"
            ),
            ChangedParent::Differs {
                parent:
                    UnnamedParent {
                        path,
                        mode: new,
                        uid: user,
                        gid: group,
                    },
                mode,
                uid,
                gid,
            } => write!(
                f,
                "it gives the directory {path}, which nobody named, the mode {new:04o} and the owner {user}:{group}, but the layers below give it {mode:04o} and {uid}:{gid}"
            ),
        }
    }
}

/// Finds the directories of an image's layers that change what is below them, by the layers' blobs. `lists` has the
/// directories of each blob that nobody named.
pub fn changed_parents(
    layout: &Path,
    manifest: &ImageManifest,
    config: &ImageConfig,
    lists: &BTreeMap<Digest, Vec<UnnamedParent>>,
) -> Result<Vec<(Digest, ChangedParent)>, RootfsError> {
    if !manifest
        .layers
        .iter()
        .any(|layer| lists.contains_key(&layer.digest))
    {
        return Ok(Vec::new());
    }
    let mut changed = Vec::new();
    Rootfs::read_watched(layout, manifest, config, |tree, layer| {
        for parent in lists.get(layer).into_iter().flatten() {
            let path = &parent.path;
            let standing = tree.standing(path.as_bytes());
            if let Some(change) = standing.and_then(|standing| compare(parent, standing)) {
                changed.push((layer.clone(), change));
            }
        }
    })?;
    Ok(changed)
}

fn compare(parent: &UnnamedParent, below: Standing<'_>) -> Option<ChangedParent> {
    let path = parent.path.clone();
    match below {
        // No layer has an entry of it, and so it is as runtimes make it.
        Standing::Directory(None) => None,
        Standing::Directory(Some(&Metadata { mode, uid, gid, .. })) => {
            let same = (mode, uid, gid) == (parent.mode, parent.uid, parent.gid);
            let parent = parent.clone();
            (!same).then_some(ChangedParent::Differs {
                parent,
                mode,
                uid,
                gid,
            })
        }
        Standing::Inode(Inode {
            kind: InodeKind::Symlink { target },
            ..
        }) => {
            let target = ParentPath::new(target.clone());
            Some(ChangedParent::Link { path, target })
        }
        Standing::Inode(_) => Some(ChangedParent::NoDirectory { path }),
    }
}
