//! `bazel test //...` at the root runs the tests of the Starlark code.

use std::fs;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::{checkout, scratch};
use tempfile::TempDir;

/// A copy of the checkout: Bazel must not write to it. The seeds of the fuzz targets are left out, which are no text.
fn copy() -> TempDir {
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
            fs::create_dir_all(to.parent().expect("in a directory")).expect("can be made");
            fs::copy(from, to).expect("can be copied");
        }
    }
    copy
}

#[test]
fn the_tests_of_the_starlark_code_succeed() {
    let copy = copy();
    let workspace = Workspace::new(copy.path().to_str().expect("UTF-8"), &[]);
    let summary = workspace.succeed(&["test", "//..."]).stdout;
    let passed: Vec<_> = summary
        .lines()
        .filter(|line| line.contains(" PASSED "))
        .collect();
    for part in ["unit", "analysis"] {
        let package = format!("//oci/tests/{part}:");
        assert!(
            passed.iter().any(|test| test.starts_with(&package)),
            "{summary}"
        );
    }
    assert!(
        passed.iter().all(|test| test.starts_with("//oci/tests/")),
        "a case is taken for a part of this workspace: {summary}"
    );
}
