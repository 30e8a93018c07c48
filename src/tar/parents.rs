//! Directories that a layer has only because something is in them.

use serde::{Deserialize, Serialize};

/// A directory that nobody named. A layer must have it all the same: what makes a file system of layers would else choose
/// its mode and owner, and not all choose alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnnamedParent {
    /// Its path, from the root.
    pub path: String,
    /// The mode that the layer gives it.
    pub mode: u32,
    /// The user whom it belongs to.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
}
