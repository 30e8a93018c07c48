//! Pulls whole container images as OCI image layouts, and builds and merges such layouts.
//!
//! The modules stand on each other in this order, and import only those before them: [`oci`] has the
//! documents of the OCI specifications; `files` writes where others may have put links; [`store`] keeps blobs on disk;
//! [`registry`] speaks to a registry; [`layout`] reads, writes, merges and verifies layout
//! directories; [`image`] builds layers, images and indexes; [`rootfs`] applies an image's layers on
//! each other; [`bundle`] moves blobs from one store to another as an archive; [`scan`] runs a scanner on
//! an image; [`stamp`] fills in what a build knows of itself; [`load`] gives an image to a container
//! engine; [`progress`] shows a person what happens; [`pull`] fetches an image through all of them;
//! [`push`] sends one to a registry. [`module_file`] reads what a `MODULE.bazel` pins, and [`pin`] the
//! files of a workspace.

#![forbid(unsafe_code)]

pub mod bundle;
pub mod files;
pub mod image;
mod io;
pub mod json;
pub mod layout;
pub mod load;
pub mod oci;
pub mod pins;
pub mod progress;
pub mod pull;
pub mod push;
pub mod registry;
pub mod rootfs;
pub mod scan;
pub mod store;
pub mod tar;
mod text;
