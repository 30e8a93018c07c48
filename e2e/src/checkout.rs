//! The checkout, the program that cargo builds of it, and directories for what tests make.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

/// The checkout.
pub fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("e2e stands in the checkout")
        .to_owned()
}

/// The `oci-pull-all` program under test: the one that the variable `OCI_PULL_ALL_PROGRAM` names, or what
/// cargo builds as a release has it.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(given) = given() {
            return given;
        }
        let build = escargot::CargoBuild::new()
            .manifest_path(checkout().join("Cargo.toml"))
            .bin("oci-pull-all")
            .release()
            .arg("--locked");
        let build = variables_of_cargo().fold(build, escargot::CargoBuild::env_remove);
        let built = build.run().expect("the program can be built");
        built.path().to_owned()
    });
    &PROGRAM
}

/// A command that starts a script of the checkout, which may call cargo.
pub fn script(path: &str) -> Command {
    let mut command = Command::new(checkout().join(path));
    for name in variables_of_cargo() {
        command.env_remove(name);
    }
    command
}

/// A command that calls cargo in the checkout.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(checkout()).args(arguments);
    for name in variables_of_cargo() {
        command.env_remove(name);
    }
    command
}

/// What cargo sets for a test. Crates that look at these would be built anew by a cargo that a test starts, and again by the
/// next one that it does not.
fn variables_of_cargo() -> impl Iterator<Item = OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"CARGO_MANIFEST_") || name.starts_with(b"CARGO_PKG_")
    })
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

fn given() -> Option<PathBuf> {
    std::env::var_os("OCI_PULL_ALL_PROGRAM").map(PathBuf::from)
}

/// A directory of this name in cargo's target directory, which is made if need be. Where the program is not cargo's, it
/// is in the directory for temporary files.
///
/// # Panics
/// If it cannot be made.
pub fn in_target(name: &str) -> PathBuf {
    let parent = if given().is_some() {
        std::env::temp_dir()
    } else {
        let target = program().ancestors().nth(2);
        target.expect("TARGET/release/PROGRAM").to_owned()
    };
    let directory = parent.join(name);
    std::fs::create_dir_all(&directory).expect("it can be made");
    directory
}

/// A directory of the test's own, removed when dropped.
///
/// # Panics
/// If it cannot be made.
pub fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("t")
        .tempdir_in(in_target("e2e"))
        .expect("a directory can be made")
}

/// A copy of the checkout: Bazel must not write to it. The seeds of the fuzz targets are left out, which are no text.
///
/// # Panics
/// If it is no checkout of git's.
pub fn copy_of_checkout() -> TempDir {
    let listed = Command::new("git")
        .current_dir(checkout())
        .args(["ls-files", "-z", "--cached", "--others"])
        .args(["--exclude-standard", "--", ".", ":!e2e/fuzz"])
        .output()
        .expect("git can be run");
    assert!(listed.status.success(), "{listed:?}");
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    let copy = scratch();
    for name in names.split_terminator('\0') {
        let (from, to) = (checkout().join(name), copy.path().join(name));
        // What was removed and is not committed is still listed.
        if from.exists() {
            std::fs::create_dir_all(to.parent().expect("in a directory")).expect("can be made");
            std::fs::copy(from, to).expect("can be copied");
        }
    }
    copy
}
