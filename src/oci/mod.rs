//! The documents of the OCI specifications as types that cannot hold bad values, parsed once at the edge.

pub mod artifact;
pub mod config;
pub mod descriptor;
pub mod digest;
pub mod image;
pub mod listed;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod strict;
pub mod time;
pub mod walk;
