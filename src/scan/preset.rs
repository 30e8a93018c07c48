//! What a scanner must be able to do to be the scanner of a build: list the packages of an image, and match such a list
//! with a database of advisories. Each scanner's own file says how.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::{FileError, io_failed};

use super::findings::{Finding, FindingKind, Severity};
use super::grype::Grype;
use super::inventory::{Database, JavaArchives, Package, Scanner, System, known};
use super::osv_scanner::OsvScanner;
use super::stage::link;
use super::trivy::Trivy;
use super::trouble::Trouble;
use super::versions::Versions;

/// How many characters of a description stand for it.
const TITLE: usize = 100;

/// Why an answer of a scanner, or its database, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is no JSON of what was asked for.
    #[error("what the scanner wrote cannot be read")]
    Json(#[from] serde_json::Error),
    /// It is a report of another version.
    #[error("what the scanner wrote is of the version {found}, but {expected} is what can be read")]
    Schema {
        /// The version that it has.
        found: u64,
        /// The version that is read.
        expected: u64,
    },
    /// It speaks of a package that was not in the list.
    #[error(
        "the scanner found something in the package {0:?}, which is not in the list that it was given"
    )]
    UnknownPackage(String),
    /// The database cannot be read.
    #[error("the scanner's database cannot be read")]
    Database(#[source] io::Error),
    /// The database's description cannot be read.
    #[error("the metadata of the scanner's database cannot be read")]
    Metadata(#[source] serde_json::Error),
}

/// How a scanner is called: its arguments, and variables of its environment. Placeholders are those of a scan
/// ([`super::LAYOUT_PLACEHOLDER`]).
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The arguments.
    pub arguments: Vec<String>,
    /// Names and values of variables.
    pub environment: Vec<(String, String)>,
}

/// The packages in a list, its system, and who made it.
#[derive(Clone, Debug)]
pub struct PackageList {
    /// The system, if it has one.
    pub system: Option<System>,
    /// The packages by the references that a report on the list has.
    pub packages: BTreeMap<String, Package>,
    /// Who made the list.
    pub scanner: Scanner,
}

/// Something that a scanner knows against a package of a list.
#[derive(Clone, Debug)]
pub struct Match {
    /// See [`super::findings::Finding`].
    pub kind: FindingKind,
    /// The package's reference in the list.
    pub package: String,
    /// See [`super::findings::Finding`], as for the rest.
    pub id: String,
    /// See [`super::findings::Finding`].
    pub aliases: BTreeSet<String>,
    /// See [`super::findings::Finding`].
    pub fixed: Option<String>,
    /// See [`super::findings::Finding`].
    pub severity: Severity,
    /// See [`super::findings::Finding`].
    pub title: Option<String>,
}

/// A scanner of a build.
pub trait Preset: Sync {
    /// Whether it can look for such.
    fn can_find(&self, kind: FindingKind) -> bool {
        kind == FindingKind::Vulnerability
    }

    /// By what it knows Java archives, given a database of them and its description, or nothing.
    fn java_archives(&self, database: &[PathBuf]) -> Result<JavaArchives, AnswerError>;

    /// Whether it looks into Java archives of such a name.
    fn looks_into(&self, path: &str) -> bool;

    /// The call that lists the packages of the image in `{layout}`, in `{report}`. `cache` is a directory that it may
    /// make and use; `java_database` is a database of Java archives of use, and its description, or nothing.
    fn list(&self, cache: &Path, java_database: &[PathBuf]) -> Result<Call, FileError>;

    /// The list of an image without layers, where the scanner makes none.
    fn empty_list(&self) -> Option<Value> {
        None
    }

    /// A list without what differs from run to run.
    fn normalized(&self, list: &[u8]) -> Result<Vec<u8>, AnswerError>;

    /// Reads a list.
    fn read_list(&self, list: &[u8]) -> Result<PackageList, AnswerError>;

    /// What a database is about, by its file and its description.
    fn read_database(
        &self,
        file: &Path,
        metadata: &[u8],
    ) -> Result<Box<dyn Advisories>, AnswerError>;

    /// The call that looks for `kinds` in the files of the image in `{layout}`, into `{report}`, if it can find any in
    /// files. `cache` is a directory that it may make and use.
    fn look(&self, cache: &Path, kinds: &BTreeSet<FindingKind>) -> Option<Call> {
        let _ = (cache, kinds);
        None
    }

    /// Reads what was found in files.
    fn read_look(&self, report: &[u8]) -> Result<BTreeSet<Finding>, AnswerError> {
        let _ = report;
        Ok(BTreeSet::new())
    }

    /// The call that matches the list in `{layout}` with a database, which is its file and its description, into
    /// `{report}`, and that looks for `kinds` beside vulnerabilities. `cache` is a directory that it may make and use, and
    /// `unknown` is the system in the list, if the database has nothing about it.
    fn match_list(
        &self,
        cache: &Path,
        database: &[PathBuf],
        kinds: &BTreeSet<FindingKind>,
        unknown: Option<&System>,
    ) -> Result<Call, FileError>;

    /// What it says where it cannot read its database, and ends well all the same.
    fn complaints(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads what was found.
    fn read_report(&self, report: &[u8]) -> Result<Vec<Match>, AnswerError>;
}

/// A database of advisories, as far as its scanner would use it.
pub trait Advisories {
    /// What it says of itself.
    fn database(&self) -> &Database;

    /// The form of databases that the scanner reads.
    fn expected_schema(&self) -> u64;

    /// Whether there is any advisory.
    fn has_any(&self) -> bool;

    /// Why the scanner drops some of the advisories, if it does.
    fn dropped(&self) -> Option<Trouble> {
        None
    }

    /// Whether there are advisories of a system, in its very release. What its `os-release` said, counts where the scanner names
    /// none.
    fn covers_system(&self, system: &System, said: Option<&System>) -> bool;

    /// Whether the packages of a system that it covers are of a kind, in the scanner's words.
    fn is_kind_of(&self, kind: &str, system: &System) -> bool {
        let _ = (kind, system);
        true
    }

    /// Whether there are advisories of packages of a language, in the scanner's words.
    fn covers_language(&self, kind: &str) -> bool;

    /// The versions of packages of a kind that the scanner compares with those of advisories.
    fn versions(&self, kind: &str) -> Versions {
        let _ = kind;
        Versions::any()
    }

    /// The names of packages of a kind that there are advisories of, as `spelled` has them.
    fn names(&self, kind: &str) -> io::Result<BTreeSet<String>> {
        let _ = kind;
        Ok(BTreeSet::new())
    }

    /// A name in the spelling in which those of packages of a kind are compared.
    fn spelled(&self, kind: &str, name: &str) -> String {
        let _ = kind;
        name.to_lowercase()
    }

    /// The same of packages of a system, of a kind in the scanner's words, and of this type in a package URL.
    fn versions_of_system(&self, kind: &str, url_type: &str) -> Versions {
        let _ = kind;
        Versions::of_system(url_type)
    }

    /// Whether the scanner compares a package with no advisories that there are, whatever its version.
    fn leaves_out(&self, package: &Package) -> bool {
        let _ = package;
        false
    }

    /// Those of these packages that the scanner passes over because it cannot compare their versions: of a system all, and of
    /// languages those that there are advisories of.
    fn passed_over<'a>(&self, packages: &'a [Package]) -> io::Result<Vec<&'a Package>> {
        let mut by_kind: BTreeMap<_, Vec<&Package>> = BTreeMap::new();
        for package in packages {
            let url_type = package.of_system.then(|| package.url_type());
            let kind = by_kind.entry((url_type, &*package.kind));
            kind.or_default().push(package);
        }
        let mut passed_over = Vec::new();
        for ((url_type, kind), mut packages) in by_kind {
            let versions = match url_type {
                Some(url_type) => self.versions_of_system(kind, url_type),
                None => self.versions(kind),
            };
            packages.retain(|package| {
                !versions.has(package.version.as_deref()) || self.leaves_out(package)
            });
            if url_type.is_none() && !packages.is_empty() {
                let names = self.names(kind)?;
                packages.retain(|package| names.contains(&self.spelled(kind, &package.name)));
            }
            passed_over.extend(packages);
        }
        Ok(passed_over)
    }

    /// Whether two systems have the same advisories.
    fn is_same_system(&self, one: Option<&System>, other: Option<&System>) -> bool;
}

/// A scanner that lists packages and matches them in one step, so that it reads an image again with each new database. It
/// ends with 1 if it found something, and else with 0.
pub trait AtOnce: Sync {
    /// The call that scans the image in `{layout}`, an archive as `docker save` writes it, by these files of a database,
    /// into `{report}`. `cache` is a directory that it may make and use.
    fn scan(&self, cache: &Path, database: &[PathBuf]) -> Result<Call, FileError>;

    /// Whether it looks into Java archives of such a name.
    fn looks_into(&self, path: &str) -> bool;

    /// The module of Go's that it is built of, whose release its version is.
    fn module(&self) -> &'static str;

    /// Its version, by what it says if it is called with `--version`.
    fn read_version<'a>(&self, said: &'a str) -> Option<&'a str>;

    /// Reads what was found: the packages that there are, and what is known against them. The list lacks who made it.
    fn read_report(&self, report: &[u8]) -> Result<(PackageList, Vec<Match>), AnswerError>;

    /// What a database is about, by its files, as far as it matters to a list.
    fn read_database(
        &self,
        files: &[PathBuf],
        list: &PackageList,
    ) -> Result<Box<dyn Advisories>, AnswerError>;
}

/// The scanners that list packages, and match such a list in a step of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString, strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum StepwiseScanner {
    /// Trivy.
    Trivy,
    /// Grype, whose lists are syft's.
    Grype,
}

impl StepwiseScanner {
    /// How it is called and read.
    pub(super) fn preset(self) -> &'static dyn Preset {
        match self {
            StepwiseScanner::Trivy => &Trivy,
            StepwiseScanner::Grype => &Grype,
        }
    }
}

/// The scanners that do all in one step.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString, strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum AtOnceScanner {
    /// OSV-Scanner.
    OsvScanner,
    /// `ClamAV`, which looks for malware in files.
    Clamav,
}

impl AtOnceScanner {
    /// How it is called and read, if it is one of packages.
    pub(super) fn preset(self) -> Option<&'static dyn AtOnce> {
        match self {
            AtOnceScanner::OsvScanner => Some(&OsvScanner),
            AtOnceScanner::Clamav => None,
        }
    }
}

/// Makes a directory in which a scanner finds a database and its description by their names; an empty one where these are
/// not given.
pub(super) fn provide(
    directory: &Path,
    names: [&str; 2],
    database: &[PathBuf],
) -> Result<(), FileError> {
    io_failed("make", directory, fs::create_dir_all(directory))?;
    for (file, name) in database.iter().zip(names) {
        link(file, &directory.join(name))?;
    }
    Ok(())
}

/// How a description begins, which stands for it.
pub(super) fn title(description: Option<&str>) -> Option<String> {
    let line = description?.lines().next().unwrap_or_default();
    known(match line.char_indices().nth(TITLE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    })
}
