//! Archives that others wrote, and what they are compressed with.

mod compression;
mod reader;
mod unpack;

pub(crate) use compression::{decompress, open_archive, read_layer};
pub use reader::TarError;
pub(crate) use reader::{
    Archive, BLOCK, Content, Device, Entry, MAX_MEMORY, MAX_PATH, Metadata, Time, components,
    padding,
};
pub(crate) use unpack::{Limits, unpack};
