//! The rooms of the Starlark code are as docs/architecture.md draws them.

use std::fs;
use std::path::{Path, PathBuf};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
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
