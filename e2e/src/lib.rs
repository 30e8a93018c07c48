//! What the tests and the demo stand on: a Debian root with a real Bazel and other people's image
//! tools, real registries, and workspaces such as a user would have.
//!
//! A failure here is a failure of the test at hand, so these helpers panic with what they know.

#![forbid(unsafe_code)]

pub mod bazel;
pub mod bazel_remote;
mod checkout;
pub mod clamav_db;
pub mod docker_registry;
pub mod engine;
pub mod grype_db;
pub mod jar;
pub mod layout;
pub mod link;
pub mod log;
pub mod modules;
pub mod nginx;
pub mod osv_db;
pub mod page;
pub mod peer;
mod port;
pub mod remote;
pub mod root;
mod server;
pub mod storage;
pub mod trivy_db;
mod user;

pub use checkout::{cache, cargo, checkout, copy_of_checkout, in_target, program, scratch, script};
pub use server::make_removable;
pub use user::{new_user, run_in_root, run_mounted};
