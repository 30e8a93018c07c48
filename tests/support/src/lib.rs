//! What the tests stand on: registries on free loopback ports, and a person who runs the program.
//!
//! Nothing here needs root, a network or another program, but for what skips a test without it. A failure here
//! is a failure of the test at hand, so these helpers panic with what they know.

#![forbid(unsafe_code)]

mod cases;
mod content;
mod cutting;
mod debian;
mod faulty;
mod http;
mod images;
pub mod layout;
mod mounts;
mod program;
mod proxy;
pub mod referrers;
mod registry;
pub mod rootfs;
pub mod rpm;
mod skip;
mod user;

pub use cases::side_by_side;
pub use content::{
    CONFIG, Content, EMPTY, INDEX, LAYER, MANIFEST, config_of, digest, gzip, hex, manifest_of,
    noise, text,
};
pub use cutting::Cutting;
pub use debian::{deb, dpkg_status, images as debian};
pub use faulty::Faulty;
pub use http::{
    Answer, Deaf, End, Flow, Identity, PIECE, Request, Seen, Server, Unfit, about, bytes_of,
};
pub use images::Images;
pub use mounts::Mounts;
pub use program::program;
pub use proxy::Proxy;
pub use registry::{CREDENTIALS, Registry};
pub use skip::{SKIPPED, skip};
pub use user::{Ran, User, blobs, pushed};
