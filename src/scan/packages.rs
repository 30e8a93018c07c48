//! The databases in which package managers keep what is installed.

use std::collections::BTreeSet;

use crate::files::{FileError, io_failed};

use super::sqlite::{all, open};

/// What a database says, or a file of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    /// The packages, by name and version; none where they cannot be told.
    pub(super) packages: Option<BTreeSet<(String, String)>>,
    /// The paths of what they brought, as far as it says.
    pub(super) files: BTreeSet<String>,
}

/// Reads a database of packages that have the type `kind` in a package URL. Nothing is one that never had a package.
pub(super) fn read(kind: &str, path: &str, bytes: &[u8]) -> Result<Option<Installed>, FileError> {
    if kind == "rpm" {
        return if path.ends_with(".sqlite") {
            of_rpm(bytes)
        } else {
            Ok(Some(Installed::default()))
        };
    }
    let text = String::from_utf8_lossy(bytes);
    let named = |name: &str| text.lines().any(|line| line.starts_with(name));
    Ok(match kind {
        "deb" | "opkg" => named("Package:").then(|| Installed::of(of_dpkg(&text))),
        "apk" => named("P:").then(|| of_apk(&text)),
        "alpm" => named("%NAME%").then(|| Installed::of(of_pacman(&text))),
        _ => Some(Installed::default()),
    })
}

impl Installed {
    fn of(packages: BTreeSet<(String, String)>) -> Self {
        Installed {
            packages: Some(packages),
            files: BTreeSet::new(),
        }
    }
}

/// The packages that dpkg's database says are installed, also in part (deb-control(5), dpkg(1)).
fn of_dpkg(text: &str) -> BTreeSet<(String, String)> {
    let stanzas = text.split("\n\n");
    let is_installed = |stanza: &&str| {
        let mut states = stanza
            .lines()
            .filter_map(|line| line.strip_prefix("Status:"));
        let state = states
            .next()
            .and_then(|state| state.split_whitespace().nth(2));
        !matches!(state, Some("not-installed" | "config-files"))
    };
    let stanzas = stanzas.filter(is_installed);
    stanzas
        .flat_map(|stanza| pairs(stanza, "Package:", "Version:"))
        .collect()
}

/// The packages and files of apk's database: a file's line, `R:`, is below the directory's before it, `F:`.
fn of_apk(text: &str) -> Installed {
    let mut directory = "";
    let mut files = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("F:") {
            directory = name;
        } else if let Some(name) = line.strip_prefix("R:") {
            files.insert(format!("{directory}/{name}"));
        }
    }
    Installed {
        packages: Some(pairs(text, "P:", "V:")),
        files,
    }
}

/// The names and versions in a text of lines, a version after each name.
fn pairs(text: &str, name: &str, version: &str) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    let mut last = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(name) {
            last = Some(name.trim().to_owned());
        } else if let Some(version) = line.strip_prefix(version)
            && let Some(name) = last.take()
        {
            pairs.insert((name, version.trim().to_owned()));
        }
    }
    pairs
}

/// The package of one of pacman's files, in which each value is on the line behind its name.
fn of_pacman(text: &str) -> BTreeSet<(String, String)> {
    let value = |name: &str| {
        let mut lines = text.lines().skip_while(|line| *line != name);
        lines.nth(1).map(|value| value.trim().to_owned())
    };
    let package = value("%NAME%").zip(value("%VERSION%"));
    package.into_iter().collect()
}

/// What rpm calls the keys that it trusts, which are no packages.
const KEY: &str = "gpg-pubkey";

/// The packages and files of rpm's database, of which each package's header is a row. One that cannot be read says nothing.
fn of_rpm(bytes: &[u8]) -> Result<Option<Installed>, FileError> {
    let scratch = std::env::temp_dir();
    let file = io_failed("make a file in", &scratch, tempfile::NamedTempFile::new())?;
    io_failed("write", file.path(), std::fs::write(file.path(), bytes))?;
    let rows = open(file.path()).and_then(|connection| {
        all(&connection, "SELECT blob FROM Packages", |row| {
            row.get::<_, Vec<u8>>(0)
        })
    });
    let Ok(rows) = rows else {
        return Ok(Some(Installed::default()));
    };
    let mut packages = BTreeSet::new();
    let mut files = BTreeSet::new();
    for row in &rows {
        let Some(header) = RpmHeader::parse(row) else {
            return Ok(Some(Installed::default()));
        };
        files.extend(header.files());
        if let Some(package) = header.package()
            && package.0 != KEY
        {
            packages.insert(package);
        }
    }
    let installed = Installed {
        packages: Some(packages),
        files,
    };
    Ok((!rows.is_empty()).then_some(installed))
}

/// A package's header: two counts, an index of entries of four numbers each, and what these are about (rpm's "Header format").
struct RpmHeader<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> RpmHeader<'a> {
    const NAME: u32 = 1000;
    const VERSION: u32 = 1001;
    const RELEASE: u32 = 1002;
    const DIRECTORY_OF: u32 = 1116;
    const NAMES: u32 = 1117;
    const DIRECTORIES: u32 = 1118;

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let [entries, size] = [number(bytes, 0)?, number(bytes, 4)?].map(|count| count as usize);
        let (index, data) = bytes.get(8..)?.split_at_checked(entries.checked_mul(16)?)?;
        let data = data.get(..size)?;
        Some(RpmHeader { index, data })
    }

    /// What an entry with this tag is about, from its first byte, and how many values it has.
    fn entry(&self, tag: u32) -> Option<(&'a [u8], usize)> {
        let mut entries = self.index.chunks_exact(16);
        let entry = entries.find(|entry| number(entry, 0) == Some(tag))?;
        let [offset, count] = [number(entry, 8)?, number(entry, 12)?].map(|count| count as usize);
        Some((self.data.get(offset..)?, count))
    }

    fn texts(&self, tag: u32) -> impl Iterator<Item = String> + use<'a> {
        let (bytes, count) = self.entry(tag).unwrap_or_default();
        let texts = bytes.split(|byte| *byte == 0).take(count);
        texts.map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn numbers(&self, tag: u32) -> impl Iterator<Item = usize> + use<'a> {
        let (bytes, count) = self.entry(tag).unwrap_or_default();
        let numbers = bytes.chunks_exact(4).take(count);
        numbers.filter_map(|bytes| Some(number(bytes, 0)? as usize))
    }

    fn package(&self) -> Option<(String, String)> {
        let [name, version, release] =
            [Self::NAME, Self::VERSION, Self::RELEASE].map(|tag| self.texts(tag).next());
        Some((name?, format!("{}-{}", version?, release?)))
    }

    fn files(&self) -> Vec<String> {
        let directories: Vec<String> = self.texts(Self::DIRECTORIES).collect();
        let names = self
            .texts(Self::NAMES)
            .zip(self.numbers(Self::DIRECTORY_OF));
        let files = names.filter_map(|(name, of)| Some(format!("{}{name}", directories.get(of)?)));
        files.collect()
    }
}

/// The number of 32 bits at a place, its highest byte first.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
