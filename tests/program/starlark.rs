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

/// What a label may stand in.
const QUOTES: [char; 2] = ['"', '\''];

/// The file of this module that each `load` of a file of `package` names; none where it is another module's. What a
/// repository rule writes into a file counts as well.
fn loads(text: &str, package: &str) -> Vec<Option<String>> {
    let calls = text.lines().enumerate().filter_map(|(number, line)| {
        let call = line.strip_prefix("load")?.trim_start().strip_prefix('(')?;
        let rest = text.lines().skip(number + 1);
        let mut lines = std::iter::once(call).chain(rest);
        let line = lines.find(|line| line.contains(QUOTES))?;
        line.split(QUOTES).nth(1)
    });
    calls.map(|label| file_of(label, package)).collect()
}

/// The path of the file of this module that a label in `package` names.
fn file_of(label: &str, package: &str) -> Option<String> {
    let own = ["@oci_pull_all//", "@@oci_pull_all//", "@@//", "@//", "//"];
    let label = match own.iter().find_map(|own| label.strip_prefix(own)) {
        Some(label) => label.to_owned(),
        None if label.contains("//") => return None,
        None => format!("{package}:{}", label.trim_start_matches(':')),
    };
    Some(label.replace(':', "/"))
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
            for loaded in loads(&text, &format!("oci/private/{room}"))
                .iter()
                .flatten()
            {
                assert!(may_load(&rooms[..=floor], loaded), "{file} loads {loaded}");
            }
        }
    }
}

/// Whether a file is in one of these rooms itself.
fn may_load(rooms: &[&str], file: &str) -> bool {
    let mut parts = file.strip_prefix("oci/private/").unwrap_or(file).split('/');
    let (room, name, more) = (parts.next(), parts.next(), parts.next());
    let is_room = room.is_some_and(|room| rooms.contains(&room));
    is_room && more.is_none() && name.is_some_and(|name| !name.starts_with('.'))
}

#[test]
fn a_load_of_a_room_below_is_seen_however_it_is_written() {
    let allowed = |text: &str| {
        let loaded = loads(text, "oci/private/common");
        let may_load = |file: &String| may_load(&["providers", "common"], file);
        loaded.iter().flatten().all(may_load)
    };
    for label in [
        "//oci/private/rules:x.bzl",
        "@oci_pull_all//oci/private/rules:x.bzl",
        "@//oci/private/rules:x.bzl",
        "@@//oci/private/rules:x.bzl",
        "../rules/x.bzl",
        ":../rules/x.bzl",
        "//oci:defs.bzl",
        "@oci_pull_all//oci:defs.bzl",
    ] {
        for text in [
            format!("load(\"{label}\", \"x\")\n"),
            format!("\"\"\"Words.\"\"\"\n\nload(\n    \"{label}\",\n    \"x\",\n)\n"),
            format!("\nload (\"{label}\", \"x\")\n"),
            format!("\nload('{label}', \"x\")\n"),
        ] {
            assert!(!allowed(&text), "{text}");
        }
    }
    for label in [
        ":x.bzl",
        "x.bzl",
        "//oci/private/providers:x.bzl",
        "@bazel_skylib//lib:x.bzl",
    ] {
        let text = format!("load(\"{label}\", \"x\")\n");
        assert!(allowed(&text), "{text}");
    }
}

#[test]
fn public_files_only_re_export() {
    for (file, text) in sources("oci") {
        assert!(!loads(&text, "oci").is_empty(), "{file}");
        // Beside words, and what goes on in a line that is indented.
        let code = text.lines().filter(|line| {
            !line.is_empty()
                && !line.starts_with([' ', '#', '"', ')'])
                && !line.starts_with("load(")
        });
        for line in code {
            let (name, value) = line.split_once(" = ").unwrap_or((line, ""));
            assert_eq!(value, format!("_{name}"), "{file}");
        }
    }
}
