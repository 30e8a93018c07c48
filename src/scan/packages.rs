//! The databases in which package managers keep what is installed.

use std::collections::BTreeSet;

use crate::files::FileError;

use super::rpm;

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
        return rpm::read(path, bytes);
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
    pub(super) fn of(packages: BTreeSet<(String, String)>) -> Self {
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
