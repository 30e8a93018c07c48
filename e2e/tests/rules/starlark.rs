//! The Starlark code: its rooms are as drawn, and `bazel test //...` at the root runs its tests.

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

/// The names of the `.bzl` files in a directory, and their texts.
fn sources(directory: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(checkout().join(directory)).expect("can be read");
    let sources: Vec<_> = entries
        .map(|entry| entry.expect("can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bzl"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("can be read");
            (path.display().to_string(), text)
        })
        .collect();
    assert!(!sources.is_empty(), "{directory} has no Starlark files");
    sources
}

/// The labels that a file loads. A label of another repository is in a file that is written.
fn loads(text: &str) -> impl Iterator<Item = &str> {
    text.split("\nload(")
        .skip(1)
        .map(|call| call.split('"').nth(1).expect("a load has a label"))
}

#[test]
fn a_room_loads_only_from_its_own_and_those_drawn_above_it() {
    let page = fs::read_to_string(checkout().join("docs/architecture.md")).expect("can be read");
    let (_, section) = page.split_once("### In Starlark\n").expect("has a drawing");
    let rooms: Vec<&str> = section
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with("| `"))
        .map(|line| line.split('`').nth(1).expect("a room has a name"))
        .collect();
    let private = fs::read_dir(checkout().join("oci/private")).expect("can be read");
    let mut there: Vec<String> = private
        .map(|entry| entry.expect("can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    there.sort();
    let mut drawn = rooms.clone();
    drawn.sort_unstable();
    assert_eq!(there, drawn);

    for (floor, room) in rooms.iter().enumerate() {
        for (file, text) in sources(&format!("oci/private/{room}")) {
            for label in loads(&text).filter(|label| label.starts_with("//")) {
                let allowed = rooms[..=floor]
                    .iter()
                    .any(|above| label.starts_with(&format!("//oci/private/{above}:")));
                assert!(allowed, "{file} loads {label}");
            }
        }
    }
}

#[test]
fn public_files_only_re_export() {
    for (file, text) in sources("oci") {
        assert!(loads(&text).next().is_some(), "{file}");
        let assigned = text
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with([' ', 'l']));
        for line in assigned {
            let (name, value) = line.split_once(" = ").expect("just found");
            assert_eq!(value, format!("_{name}"), "{file}");
        }
        assert!(!text.contains("\ndef "), "{file}");
    }
}
