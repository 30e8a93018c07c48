//! The drawings in docs/architecture.md are what the sources are: a room imports only rooms of the floors
//! below its own, and every room is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A room's floor, by its name.
type Drawing = BTreeMap<String, u32>;

/// The sources of a room, by its name, each with a name for messages.
type Rooms = BTreeMap<String, Vec<(String, String)>>;

/// What is drawn: the heading above the drawing, the sources, and the names that they call their crate by.
const HOUSES: [(&str, &str, &[&str]); 3] = [
    ("### `src`", "src", &["crate", "oci_pull_all"]),
    (
        "### `tests/support/src`",
        "tests/support/src",
        &["crate", "oci_pull_all_support"],
    ),
    ("### `e2e/src`", "e2e/src", &["crate", "oci_pull_all_e2e"]),
];

#[test]
fn the_drawings_are_what_the_sources_are() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page =
        fs::read_to_string(checkout.join("docs/architecture.md")).expect("the page is there");
    for (heading, directory, crate_names) in HOUSES {
        let faults = faults(
            &drawing(&page, heading),
            &rooms(&checkout.join(directory)),
            crate_names,
        );
        assert!(faults.is_empty(), "{directory}:\n{}", faults.join("\n"));
    }
}

/// The drawing below a heading: on each line that begins a room its floor, if it is another one than that of
/// the line before, its name, and in words what it is.
fn drawing(page: &str, heading: &str) -> Drawing {
    let (_, section) = page.split_once(heading).expect("the page has the heading");
    let block = section.split("```").nth(1).expect("a drawing is below it");
    let mut floor = None;
    let mut drawing = Drawing::new();
    for line in block.lines().skip(2) {
        let (left, room) = line.split_at_checked(4).unwrap_or((line, ""));
        if let Ok(number) = left.trim().parse() {
            floor = Some(number);
        }
        // A line that goes on begins further right.
        if !room.is_empty() && !room.starts_with(' ') {
            let name = room.split(' ').next().unwrap_or(room);
            let floor = floor.expect("the first room has a floor");
            assert_eq!(
                drawing.insert(name.to_owned(), floor),
                None,
                "{name} is drawn twice"
            );
        }
    }
    drawing
}

/// The rooms of a crate: the files and directories in its `src`. What lies in `lib.rs` itself is a room if it
/// is more than a list of rooms.
fn rooms(src: &Path) -> Rooms {
    let mut rooms = Rooms::new();
    for entry in fs::read_dir(src).expect("there are sources") {
        let path = entry.expect("it can be listed").path();
        let stem = path.file_stem().expect("it has a name");
        let mut files = Vec::new();
        read(&path, &mut files);
        rooms.insert(stem.display().to_string(), files);
    }
    if rooms["lib"].iter().all(|(_, text)| !text.contains("fn ")) {
        rooms.remove("lib");
    }
    rooms
}

fn read(path: &Path, files: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it can be listed") {
            read(&entry.expect("it can be listed").path(), files);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).expect("a source is text");
        files.push((path.display().to_string(), without_comments(&text)));
    }
}

/// All in which the drawing and the sources differ, and each import that does not lead down.
fn faults(drawing: &Drawing, rooms: &Rooms, crate_names: &[&str]) -> Vec<String> {
    let mut faults: Vec<String> = Vec::new();
    for room in rooms.keys().filter(|room| !drawing.contains_key(*room)) {
        faults.push(format!("{room} is not in the drawing"));
    }
    for room in drawing.keys().filter(|room| !rooms.contains_key(*room)) {
        faults.push(format!(
            "{room} is in the drawing, but there is no such room"
        ));
    }
    let mut arrows = BTreeSet::new();
    for (room, files) in rooms {
        for (file, text) in files {
            for import in imports(text, room, files, rooms, crate_names) {
                let floors = (drawing.get(room), drawing.get(&import));
                if let (Some(from), Some(to)) = floors
                    && to >= from
                {
                    faults.push(format!(
                        "{file}: {room} on floor {from} imports {import} on floor {to}"
                    ));
                }
                arrows.insert((room.clone(), import));
            }
        }
    }
    faults.extend(circle(&arrows).map(|rooms| format!("a circle: {}", rooms.join(" → "))));
    faults
}

/// The other rooms that a source of `room` names in paths.
fn imports(
    text: &str,
    room: &str,
    files: &[(String, String)],
    rooms: &Rooms,
    crate_names: &[&str],
) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for crate_name in crate_names {
        for name in named(text, crate_name) {
            // What is no room lies in the crate's root.
            let import = if rooms.contains_key(&name) {
                name
            } else {
                "lib".to_owned()
            };
            imports.insert(import);
        }
    }
    for name in named(text, "super") {
        let inside = [
            format!("/{room}/{name}.rs"),
            format!("/{room}/{name}/mod.rs"),
        ];
        let is_inside = |(file, _): &(String, String)| inside.iter().any(|end| file.ends_with(end));
        if rooms.contains_key(&name) && !files.iter().any(is_inside) {
            imports.insert(name);
        }
    }
    imports.remove(room);
    imports.retain(|import| rooms.contains_key(import));
    imports
}

/// The names right behind `root::` in paths, those in braces too.
fn named(text: &str, root: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (start, _) in text.match_indices(root) {
        let before = text[..start].chars().next_back();
        let behind = text[start + root.len()..].strip_prefix("::");
        // `super::super::x` begins with one, and `x::super` cannot be.
        let goes_on = |c| is_word(c) || (c == ':' && root != "super");
        let (Some(behind), false) = (behind, before.is_some_and(goes_on)) else {
            continue;
        };
        match behind.strip_prefix('{') {
            None => names.push(word(behind)),
            Some(group) => {
                let mut depth = 0;
                let mut is_first = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => is_first = true,
                        c if is_word(c) && depth == 0 && is_first => {
                            is_first = false;
                            names.push(word(&group[at..]));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Rooms each of which imports the next one, and the last one the first.
fn circle(arrows: &BTreeSet<(String, String)>) -> Option<Vec<String>> {
    let mut rest = arrows.clone();
    // What imports nothing that is left, or is imported by nothing that is left, is in no circle.
    loop {
        let before = rest.len();
        let from: BTreeSet<_> = rest.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<_> = rest.iter().map(|(_, to)| to.clone()).collect();
        rest.retain(|(one, other)| to.contains(one) && from.contains(other));
        if rest.len() == before {
            break;
        }
    }
    let mut rooms = vec![rest.first()?.0.clone()];
    loop {
        let last = rooms.last()?;
        let next = &rest.iter().find(|(from, _)| from == last)?.1;
        if let Some(begin) = rooms.iter().position(|room| room == next) {
            rooms.drain(..begin);
            return Some(rooms);
        }
        rooms.push(next.clone());
    }
}

/// What is said of a house with these floors and sources.
fn judge(floors: &[(&str, u32)], sources: &[(&str, &str)]) -> Vec<String> {
    let drawing = floors
        .iter()
        .map(|(room, floor)| ((*room).to_owned(), *floor));
    let rooms = sources.iter().map(|(room, text)| {
        let file = (format!("src/{room}.rs"), without_comments(text));
        ((*room).to_owned(), vec![file])
    });
    faults(&drawing.collect(), &rooms.collect(), &["crate", "house"])
}

#[test]
fn an_arrow_up_a_circle_and_an_undrawn_room_are_faults() {
    let floors = [("attic", 3), ("hall", 2), ("cellar", 1)];
    let hall = "use crate::cellar::Coal;\nuse super::cellar;\n// use crate::attic::Trunk;";
    let attic = "use house::{cellar::{Coal, attic}, hall};";
    let of_cellar = |text| {
        judge(
            &floors,
            &[("attic", attic), ("hall", hall), ("cellar", text)],
        )
    };
    assert_eq!(of_cellar("use std::fs;"), Vec::<String>::new());
    for upward in [
        "use crate::attic::Trunk;",
        "use crate::{attic, io};",
        "use crate::{\n    io::{self, Read},\n    attic,\n};",
        "fn f() { crate::attic::sweep(); }",
        "use super::attic;",
        "use super::super::attic;",
    ] {
        let faults = of_cellar(upward);
        let expected = "src/cellar.rs: cellar on floor 1 imports attic on floor 3";
        assert_eq!(faults[0], expected, "{upward}");
        assert!(faults[1].starts_with("a circle: "), "{faults:?}");
    }

    let same_floor = judge(
        &[("one", 1), ("other", 1)],
        &[("one", "use crate::other;"), ("other", "")],
    );
    assert_eq!(
        same_floor,
        ["src/one.rs: one on floor 1 imports other on floor 1"]
    );
    assert_eq!(judge(&[], &[("shed", "")]), ["shed is not in the drawing"]);
    assert_eq!(
        judge(&[("shed", 1)], &[]),
        ["shed is in the drawing, but there is no such room"]
    );
}

#[test]
fn a_drawing_is_read_line_by_line() {
    let page = "### `a`\n```text\nfloor\n  2 attic  what is old\n         and dusty\n    hall   shoes\n  1 cellar\n```\n### `b`\n";
    let expected = [("attic", 2), ("hall", 2), ("cellar", 1)];
    let expected = expected.map(|(room, floor)| (room.to_owned(), floor));
    assert_eq!(drawing(page, "### `a`"), Drawing::from(expected));
}

/// `OCI_PULL_ALL_BAZEL` runs them on a Bazel of the user's own, where there is no Debian root.
#[test]
fn the_tests_of_the_rules_need_no_debian_root() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/tests/rules");
    for entry in fs::read_dir(rules).expect("can be listed") {
        let path = entry.expect("can be read").path();
        let text = fs::read_to_string(&path).expect("can be read");
        for name in [
            "Bazel::Debian",
            "DockerRegistry",
            "Engine",
            "RemoteExecution",
            "Root",
        ] {
            assert!(!text.contains(name), "{}: {name}", path.display());
        }
    }
}
