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
            for import in imports(file, text, room, rooms, crate_names) {
                if import == "*" {
                    faults.push(format!("{file}: {room} imports the root of the crate"));
                    continue;
                }
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

/// The other rooms that a source of `room` names in paths; `*` where it has the crate's root itself, in which all are.
fn imports(
    file: &str,
    text: &str,
    room: &str,
    rooms: &Rooms,
    crate_names: &[&str],
) -> BTreeSet<String> {
    let depth = depth(file);
    let mut imports = BTreeSet::new();
    for (inline, path) in paths(text, crate_names) {
        let mut level = depth + inline;
        let mut segments = path.into_iter().peekable();
        while let Some(step) = segments.next_if(|name| is_root(name, crate_names)) {
            level = match step {
                "self" => level,
                "super" => level.saturating_sub(1),
                _ => 0,
            };
        }
        if level > 0 {
            continue;
        }
        let name = segments.next().unwrap_or("*");
        // What is no room lies in the crate's root.
        let is_known = name == "*" || rooms.contains_key(name);
        imports.insert(if is_known { name } else { "lib" }.to_owned());
    }
    imports.remove(room);
    imports.retain(|import| match &**import {
        "*" => depth > 0,
        import => rooms.contains_key(import),
    });
    imports
}

/// How many modules a source is below the crate's root.
fn depth(file: &str) -> usize {
    let (_, inside) = file.rsplit_once("src/").expect("it is a source");
    let names = inside.trim_end_matches(".rs").split('/');
    names
        .filter(|name| !["lib", "main", "mod"].contains(name))
        .count()
}

fn is_root(name: &str, crate_names: &[&str]) -> bool {
    ["self", "super"].contains(&name) || crate_names.contains(&name)
}

/// The paths from a crate's root, or from a module relative to a source's own, those in braces too; with the number of
/// modules within the source that each is in.
fn paths<'t>(text: &'t str, crate_names: &[&str]) -> Vec<(usize, Vec<&'t str>)> {
    let tokens = tokens(text);
    let is = |at: usize, token: &str| tokens.get(at).is_some_and(|(_, found)| *found == token);
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some((inline, token)) = tokens.get(at) {
        let goes_on = |mark| at > 0 && is(at - 1, mark);
        let is_used = *token == "use" || *token == "crate" && goes_on("extern");
        let begins = is_root(token, crate_names) && !goes_on("::");
        if !(is_used || begins && is(at + 1, "::")) {
            at += 1;
            continue;
        }
        at += usize::from(is_used);
        at += usize::from(is(at, "::"));
        let mut found = Vec::new();
        tree(&tokens, &mut at, &[], &mut found);
        let own = found
            .into_iter()
            .filter(|path: &Vec<_>| path.first().is_some_and(|name| is_root(name, crate_names)));
        paths.extend(own.map(|path| (*inline, path)));
    }
    paths
}

/// Adds the paths of the tree of paths that begins at a token, each behind `before`.
fn tree<'t>(
    tokens: &[(usize, &'t str)],
    at: &mut usize,
    before: &[&'t str],
    found: &mut Vec<Vec<&'t str>>,
) {
    let mut path = before.to_vec();
    loop {
        match tokens.get(*at) {
            Some((_, "{")) => {
                *at += 1;
                while tokens.get(*at).is_some_and(|(_, token)| *token != "}") {
                    match tokens[*at].1 {
                        "as" => *at += 2,
                        token if is_step(token) => tree(tokens, at, &path, found),
                        _ => *at += 1,
                    }
                }
                *at += 1;
                return;
            }
            Some((_, token)) if is_step(token) => {
                path.push(token);
                *at += 1;
            }
            _ => break,
        }
        if tokens.get(*at).is_none_or(|(_, token)| *token != "::") {
            break;
        }
        *at += 1;
    }
    found.push(path);
}

/// Whether a path may go on with a token.
fn is_step(token: &str) -> bool {
    token == "*" || token == "{" || token.chars().all(is_word)
}

/// The words of a source, its `::` and its other marks, each with the number of modules within the source that it is in.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut modules: Vec<&str> = Vec::new();
    for line in text.lines() {
        let (indent, code) = line.split_at(line.len() - line.trim_start().len());
        if code.starts_with('}') && modules.last() == Some(&indent) {
            modules.pop();
        }
        let mut rest = code;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if is_word(first) => word(rest).len(),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            if !first.is_whitespace() {
                tokens.push((modules.len(), &rest[..length]));
            }
            rest = &rest[length..];
        }
        let is_module = code.starts_with("mod ") || code.contains(" mod ");
        if is_module && code.ends_with('{') {
            modules.push(indent);
        }
    }
    tokens
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
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
        let room = room.split('/').next().unwrap_or(room);
        (room.to_owned(), vec![file])
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
        "use crate :: attic;",
        "use ::house::attic;",
        "use crate::{\n    io, // of bytes\n    attic,\n};",
        "use house::{cellar::{self}, attic as trunks};",
        "use super::attic;",
        "use self::super::attic;",
        "mod own {\n    use super::super::attic;\n}\nuse super::cellar;",
        "use super::{cellar, attic::Trunk};",
    ] {
        let faults = of_cellar(upward);
        let expected = "src/cellar.rs: cellar on floor 1 imports attic on floor 3";
        assert_eq!(faults[0], expected, "{upward}");
        assert!(faults[1].starts_with("a circle: "), "{faults:?}");
    }

    for whole in [
        "use crate::*;",
        "use crate as x;",
        "use crate::{self as x};",
        "use super::*;",
        "use super::{cellar::Coal, *};",
        "use super as x;",
        "mod own {\n    use super::super::*;\n}",
        "use house as x;",
        "extern crate house as x;",
    ] {
        let expected = ["src/cellar.rs: cellar imports the root of the crate"];
        assert_eq!(of_cellar(whole), expected, "{whole}");
    }
    for own in [
        "mod own {\n    use super::*;\n}",
        "use self::attic::Trunk;",
        "pub(crate) use std::x;",
    ] {
        assert_eq!(of_cellar(own), Vec::<String>::new(), "{own}");
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

/// A room may have a part that is called as another room.
#[test]
fn what_is_above_a_part_of_a_room_depends_on_how_deep_it_is() {
    let floors = [("attic", 2), ("cellar", 1)];
    let of_part = |part, text| judge(&floors, &[("attic", ""), (part, text)]);
    for (part, text) in [
        ("cellar/coal", "use super::attic;"),
        ("cellar/mod", "use self::attic;"),
        ("cellar/coal/black", "use super::super::attic;"),
        (
            "cellar/coal",
            "mod tests {\n    use super::super::attic;\n}",
        ),
    ] {
        assert_eq!(of_part(part, text), Vec::<String>::new(), "{part}: {text}");
    }
    for (part, text) in [
        ("cellar/coal", "use super::super::attic;"),
        ("cellar/coal", "use super::{super::attic};"),
        ("cellar/mod", "use super::attic;"),
        (
            "cellar/coal/black",
            "fn f() { super::super::super::attic::sweep(); }",
        ),
    ] {
        let expected = format!("src/{part}.rs: cellar on floor 1 imports attic on floor 2");
        assert_eq!(of_part(part, text), [expected], "{text}");
    }
    let expected = "src/cellar/coal.rs: cellar imports the root of the crate";
    assert_eq!(of_part("cellar/coal", "use super::super::*;"), [expected]);
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
