//! Archives, read as Go's `archive/tar` reads them, and written; and what they are compressed with.

mod compression;
mod entry;
mod found;
mod mtree;
mod parents;
mod reader;
mod unpack;
mod writer;

pub(crate) use compression::{Compressor, read_layer};
pub use entry::TarError;
pub(crate) use entry::{Content, Device, Entry, MAX_MEMORY, MAX_PATH, Metadata, Mtime, components};
pub(crate) use found::{Packing, holds_layer, open_archive, open_archive_file, open_control};
pub(crate) use mtree::list;
pub(crate) use parents::Parents;
pub use parents::{ParentPath, UnnamedParent};
pub(crate) use reader::{Archive, BLOCK, padding};
pub(crate) use unpack::{Limits, stays_inside, unpack};
pub(crate) use writer::{copy_data, headers, write_end, write_padding};
