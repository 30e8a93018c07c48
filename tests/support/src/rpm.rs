//! Databases of rpm in each of the forms that it has had, with the packages `seen` and `other` of the version 2.0-1.fc40, and a key.

use std::fs;

use rusqlite::Connection;
use tempfile::NamedTempFile;

/// The SHA-256 of the file `/usr/bin/tool` of the package `seen`.
const TOOL: &str = "254915c8bf06a02c3082fc69230d76ae92a36303209ff2259137fb908bf24d48";

/// The header of a package of rpm's: an index of tags, types, offsets and counts, and the values. The last of its files is a
/// regular one.
fn header(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let text = |value: &str| -> (u32, u32, Vec<u8>) { (6, 1, [value.as_bytes(), &[0]].concat()) };
    let texts = |values: &[&str]| -> (u32, u32, Vec<u8>) {
        let count = u32::try_from(values.len()).expect("few");
        (8, count, (values.join("\0") + "\0").into_bytes())
    };
    let directories: Vec<&str> = files.iter().map(|(directory, _)| *directory).collect();
    let names: Vec<&str> = files.iter().map(|(_, name)| *name).collect();
    let count = u32::try_from(files.len()).expect("few");
    let numbers = (0..count).flat_map(u32::to_be_bytes).collect();
    let mut entries = vec![
        (1000, text(name)),
        (1001, text("2.0")),
        (1002, text("1.fc40")),
    ];
    if !files.is_empty() {
        let mut digests = vec![""; files.len() - 1];
        digests.push(TOOL);
        entries.extend([
            (1035, texts(&digests)),
            (1116, (4, count, numbers)),
            (1117, texts(&names)),
            (1118, texts(&directories)),
        ]);
    }
    let mut index = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (tag, (kind, count, value)) in &entries {
        if *kind == 4 {
            data.resize(data.len().next_multiple_of(4), 0);
        }
        let offset = u32::try_from(data.len()).expect("small");
        index.extend(
            [*tag, *kind, offset, *count]
                .into_iter()
                .flat_map(u32::to_be_bytes),
        );
        data.extend(value);
    }
    let counts = [entries.len(), data.len()].map(|count| u32::try_from(count).expect("small"));
    let counts: Vec<u8> = counts.into_iter().flat_map(u32::to_be_bytes).collect();
    [counts, index, data].concat()
}

/// Headers of the packages `seen` and `other`, and of a key.
fn headers() -> [Vec<u8>; 3] {
    [
        header(
            "seen",
            &[
                (&format!("/{}/", "long".repeat(200)), "x"),
                ("/usr/bin/", "tool"),
            ],
        ),
        header("other", &[]),
        header("gpg-pubkey", &[]),
    ]
}

/// A database with these, in `SQLite`'s form.
fn sqlite() -> Vec<u8> {
    let file = NamedTempFile::new().expect("a new file");
    let rpm = Connection::open(file.path()).expect("an empty file");
    rpm.execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        .expect("a table");
    for header in headers() {
        rpm.execute("INSERT INTO Packages (blob) VALUES (?)", [header])
            .expect("a row");
    }
    drop(rpm);
    fs::read(file.path()).expect("is there")
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a small number")
}

/// The same in rpm's own form: one page of slots, and the headers in blocks.
pub fn ndb() -> Vec<u8> {
    let words = |words: [u32; 3]| words.map(u32::to_le_bytes).concat();
    let mut file = [&b"RpmP"[..], &words([0, 1, 1]), &[0; 16]].concat();
    let mut blobs = Vec::new();
    for (index, header) in headers().iter().enumerate() {
        let package = small(index + 1);
        let block = small((4096 + blobs.len()) / 16);
        file.extend(b"Slot");
        file.extend(words([package, block, 1]));
        blobs.extend(b"BlbS");
        blobs.extend(words([package, 0, small(header.len())]));
        blobs.extend(header);
        blobs.resize(blobs.len().next_multiple_of(16), 0);
    }
    while file.len() < 4096 {
        file.extend(b"Slot");
        file.extend(words([0; 3]));
    }
    [file, blobs].concat()
}

/// The same as a hash of Berkeley DB, with numbers in this order: the first header lies on several pages of its own.
pub fn berkeley(word: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2]) -> Vec<u8> {
    const PAGE: usize = 512;
    let page = |number: u32, next: u32, entries: u16, free: usize, kind: u8, content: &[u8]| {
        let free = half(u16::try_from(free).expect("small"));
        let mut page = [&[0; 8][..], &word(number), &word(0), &word(next)].concat();
        page.extend([&half(entries)[..], &free, &[0, kind]].concat());
        page.extend(content);
        page.resize(PAGE, 0);
        page
    };
    let [first, second, key] = headers();
    let parts: Vec<&[u8]> = first.chunks(PAGE - 26).collect();
    let last = small(1 + parts.len());
    let mut metadata = page(0, 0, 0, 0, 8, &[]);
    for (at, number) in [(12, 0x0006_1561), (16, 9), (20, small(PAGE)), (32, last)] {
        metadata[at..at + 4].copy_from_slice(&word(number));
    }
    let elsewhere = [&[3, 0, 0, 0][..], &word(2), &word(small(first.len()))].concat();
    let here = |content: &[u8]| [&[1], content].concat();
    let mut offsets = Vec::new();
    let mut items = Vec::new();
    for (number, value) in [here(&word(4)), elsewhere, here(&second), here(&key)]
        .into_iter()
        .enumerate()
    {
        for item in [here(&word(small(number))), value] {
            items.splice(0..0, item);
            let offset = PAGE - items.len();
            offsets.extend(half(u16::try_from(offset).expect("small")));
        }
    }
    let mut hashes = page(1, 0, 8, 0, 13, &offsets);
    hashes.splice(PAGE - items.len().., items);
    let mut file = [metadata, hashes].concat();
    for (index, part) in parts.iter().enumerate() {
        let number = small(index + 2);
        let next = if index + 1 < parts.len() {
            number + 1
        } else {
            0
        };
        file.extend(page(number, next, 0, part.len(), 7, part));
    }
    file
}

/// The same in all forms, each where rpm has it.
pub fn databases() -> [(&'static str, Vec<u8>); 4] {
    [
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", sqlite()),
        ("usr/lib/sysimage/rpm/Packages.db", ndb()),
        (
            "var/lib/rpm/Packages",
            berkeley(u32::to_le_bytes, u16::to_le_bytes),
        ),
        (
            "var/lib/rpm/Packages",
            berkeley(u32::to_be_bytes, u16::to_be_bytes),
        ),
    ]
}
