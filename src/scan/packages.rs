//! The databases in which package managers keep what is installed.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::FileError;

use super::brought::{BroughtFiles, FileDigest};
use super::coverage::epochless;
use super::inventory::Package;
use super::places::Format;
use super::preset::PackageList;
use super::purl::qualifier;
use super::rpm;

/// What a database says, or a file of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    /// The packages, by name and version; none where they cannot be told.
    pub(super) packages: Option<BTreeSet<(String, String)>>,
    /// The same with their architectures, as far as it says.
    pub(super) architectures: Architectures,
    /// What they brought, as far as it says.
    pub(super) files: BroughtFiles,
}

/// Packages by name, version and architecture.
pub(super) type Architectures = BTreeSet<(String, String, String)>;

/// Says of the packages of a system of what architecture they are, where a scanner does not, or tells but one of several, and
/// that by chance. Which of those that it has of one name and version is of which is the same to who compares them with those
/// of a base.
pub(super) fn tell_architectures(list: &mut PackageList, installed: &Architectures) {
    let key = |name: &str, version: &str| (name.to_owned(), epochless(version).to_owned());
    let mut known: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (name, version, architecture) in installed {
        known
            .entry(key(name, version))
            .or_default()
            .push(architecture);
    }
    let mut listed: BTreeMap<_, Vec<&mut Package>> = BTreeMap::new();
    for package in list
        .packages
        .values_mut()
        .filter(|package| package.of_system)
    {
        let version = package.version.as_deref().unwrap_or_default();
        let same = listed.entry(key(&package.name, version));
        same.or_default().push(package);
    }
    for (key, packages) in listed {
        let Some(architectures) = known.get(&key) else {
            continue;
        };
        let missing = packages.len() < architectures.len();
        for (number, package) in packages.into_iter().enumerate() {
            if missing {
                package.architecture = Some(architectures.join(" "));
            } else if package.architecture.is_none() {
                let one = architectures.get(number).copied();
                package.architecture =
                    Some(one.map_or_else(|| architectures.join(" "), str::to_owned));
            }
        }
    }
}

/// A scanner's list, of whose packages that are there for several architectures it tells one, in which that is the first.
pub(super) fn settled(list: &[u8], packages: &PackageList) -> Option<Vec<u8>> {
    let mut text = String::from_utf8_lossy(list).into_owned();
    let mut is_settled = true;
    for package in packages.packages.values() {
        let (Some((first, _)), Some(purl)) = (
            package
                .architecture
                .as_deref()
                .and_then(|all| all.split_once(' ')),
            &package.purl,
        ) else {
            continue;
        };
        if let Some(told) = qualifier(purl, "arch").filter(|told| told != first) {
            let other = purl.replace(&format!("arch={told}"), &format!("arch={first}"));
            text = text.replace(&format!("\"{purl}\""), &format!("\"{other}\""));
            is_settled = false;
        }
    }
    (!is_settled).then(|| text.into_bytes())
}

/// Reads a database, or a file of one. Nothing is one that never had a package.
pub(super) fn read(
    format: Format,
    path: &str,
    bytes: &[u8],
) -> Result<Option<Installed>, FileError> {
    let text = String::from_utf8_lossy(bytes);
    let named = |name: &str| {
        let mut starts = text.lines().filter_map(|line| line.get(..name.len()));
        starts.any(|start| start.eq_ignore_ascii_case(name))
    };
    Ok(match format {
        Format::Rpm => return rpm::read(path, bytes),
        Format::Dpkg => named("Package:").then(|| Installed::of(of_dpkg(&text))),
        Format::Apk => named("P:").then(|| of_apk(&text)),
        Format::Pacman => named("%NAME%").then(|| Installed::of(of_pacman(&text))),
        Format::Portage => of_portage(path, &text),
        Format::Other | Format::Beside => Some(Installed::default()),
    })
}

impl Installed {
    /// Packages by name, version and, where that is told, architecture.
    pub(super) fn of(packages: impl IntoIterator<Item = (String, String, Option<String>)>) -> Self {
        let mut installed = Installed::default();
        let mut all = BTreeSet::new();
        for (name, version, architecture) in packages {
            if let Some(architecture) = architecture {
                let package = (name.clone(), version.clone(), architecture);
                installed.architectures.insert(package);
            }
            all.insert((name, version));
        }
        installed.packages = Some(all);
        installed
    }
}

/// The packages that dpkg's database says are installed, also in part (deb-control(5), dpkg(1)).
fn of_dpkg(text: &str) -> Vec<(String, String, Option<String>)> {
    let packages = stanzas(text).into_iter().filter_map(|stanza| {
        let field = |name: &str| {
            let mut fields = stanza.iter().filter_map(|line| line.split_once(':'));
            let field = fields.find(|(key, _)| key.trim_end().eq_ignore_ascii_case(name));
            field.map(|(_, value)| value.trim())
        };
        let state = field("Status").and_then(|state| state.split_whitespace().nth(2));
        let is_installed = !matches!(state, Some("not-installed" | "config-files"));
        let package = field("Package").filter(|_| is_installed)?;
        Some((
            package.to_owned(),
            field("Version").unwrap_or_default().to_owned(),
            field("Architecture").map(str::to_owned),
        ))
    });
    packages.collect()
}

/// The packages and files of apk's database: a file's line, `R:`, is below the directory's before it, `F:`, and before that of
/// its digest, `Z:`.
fn of_apk(text: &str) -> Installed {
    let mut packages = BTreeSet::new();
    let mut files = BroughtFiles::new();
    for stanza in stanzas(text) {
        let field = |name: &str| {
            let mut values = stanza.iter().filter_map(|line| line.strip_prefix(name));
            values.next().map(|value| value.trim().to_owned())
        };
        packages.extend(field("P:").map(|name| (name, field("V:").unwrap_or_default())));
        let (mut directory, mut file) = ("", String::new());
        for line in stanza {
            if let Some(name) = line.strip_prefix("F:") {
                directory = name;
            } else if let Some(name) = line.strip_prefix("R:") {
                file = format!("{directory}/{name}");
                files.insert(file.clone(), None);
            } else if let Some(digest) = line.strip_prefix("Z:") {
                files.insert(file.clone(), FileDigest::of_apk(digest.trim()));
            }
        }
    }
    Installed {
        packages: Some(packages),
        files,
        ..Installed::default()
    }
}

/// The parts of a text between empty lines, by their lines.
fn stanzas(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let stanzas = lines.split(|line| line.trim().is_empty());
    stanzas.map(<[&str]>::to_vec).collect()
}

/// The package of one of pacman's files, in which each value is on the line behind its name.
fn of_pacman(text: &str) -> Option<(String, String, Option<String>)> {
    let value = |name: &str| {
        let mut lines = text.lines().skip_while(|line| *line != name);
        lines.nth(1).map(|value| value.trim().to_owned())
    };
    Some((value("%NAME%")?, value("%VERSION%")?, None))
}

/// The package that a directory of Portage's is called after, and its files: each has a line `obj PATH DIGEST TIME`
/// (PMS, "Version Specifications"; portage(5)).
fn of_portage(path: &str, text: &str) -> Option<Installed> {
    let mut names = path.rsplit('/').skip(1);
    let (package, category) = (names.next()?, names.next()?);
    let mut dashes = package.rmatch_indices('-').map(|(place, _)| place);
    let is_number = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    let dash = dashes.find(|dash| is_number(&package[dash + 1..]))?;
    let name = format!("{category}/{}", &package[..dash]);
    let files = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("obj ")?.rsplitn(3, ' ').skip(1);
        let digest = FileDigest::of_hex(words.next()?);
        Some((words.next()?.to_owned(), digest))
    });
    Some(Installed {
        packages: Some(BTreeSet::from([(name, package[dash + 1..].to_owned())])),
        files: files.collect(),
        ..Installed::default()
    })
}
