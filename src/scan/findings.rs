//! The model of what a scan found: the packages of an image, and what is known against them. No scanner's own, and the same
//! bytes anywhere: sorted, with no clock, random identifier or absolute path in it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;

use super::isolate::Access;
use super::preset::{Advisories, AnswerError, Listed, Match};
use super::traces::{PackageDatabase, Traces, is_java_archive};

/// The version of these documents.
pub const SCHEMA: u32 = 1;

/// The kind of a file, where that counts as a package.
pub(super) const FILE: &str = "file";

/// What an image has in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who looked.
    pub scanner: Scanner,
    /// What it could use of the network.
    pub network: Access,
    /// What was looked at.
    pub image: Image,
    /// Its layers by their verified `diff_id`s, the lowest first.
    pub layers: Vec<Digest>,
    /// The system, if the image says which.
    pub system: Option<System>,
    /// The packages, sorted.
    pub packages: Vec<Package>,
    /// What its files say of its packages, whatever the scanner saw.
    pub traces: Traces,
    /// By what the scanner knows Java archives.
    pub java: JavaArchives,
}

/// By what a scanner knows the packages in Java archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JavaArchives {
    /// By what is in them.
    Content,
    /// By a database, too.
    Database(Database),
    /// It does not look into them, because it has no database of use.
    Nothing(NoJavaDatabase),
}

/// Why there is no database of Java archives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoJavaDatabase {
    /// None is given.
    Missing,
    /// It has nothing in it.
    Empty,
    /// It is of another form than the scanner reads.
    Schema {
        /// The version that it has.
        found: u64,
        /// The version that is read.
        expected: u64,
    },
}

/// A scanner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanner {
    /// What it is called.
    pub name: String,
    /// Its version, as it says.
    pub version: String,
    /// When the image was made that it is from, if it is from one that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<DateTime<Utc>>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The manifest's digest.
    pub manifest: String,
    /// What it is for.
    pub platform: String,
    /// When it was made, if it says so.
    pub created: Option<DateTime<Utc>>,
}

/// A system as `os-release` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its family, such as `debian`.
    pub family: String,
    /// Its release, such as `12.5`.
    pub release: String,
    /// The release's name, such as `bookworm`, if it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub codename: String,
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let release = [&self.release, &self.codename];
        let release = release.into_iter().find(|name| !name.is_empty());
        f.write_str(&self.family)?;
        release.map_or(Ok(()), |release| write!(f, " {release}"))
    }
}

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// What it is a package of, in the scanner's words, such as `debian` or `python-pkg`.
    pub kind: String,
    /// Whether it belongs to the system, and not to a language.
    pub of_system: bool,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, of a package of the system.
    pub architecture: String,
    /// Where it is, of a package of a language.
    pub path: String,
    /// Its package URL.
    pub purl: String,
    /// The `diff_id` of the layer that it came with, if the scanner knows.
    pub layer: String,
}

impl Package {
    /// A file of an image, or what counts as one.
    pub(super) fn file(path: String, layer: String) -> Self {
        Package {
            kind: FILE.to_owned(),
            of_system: false,
            name: path.clone(),
            version: String::new(),
            architecture: String::new(),
            path,
            purl: String::new(),
            layer,
        }
    }

    /// What makes it the same package in an image and in its base, wherever layers put it.
    pub(super) fn identity(&self) -> (&str, &str, &str, &str) {
        let place = if self.of_system {
            &self.architecture
        } else {
            &self.path
        };
        (&self.kind, &self.name, &self.version, place)
    }
}

/// An image does not stand on what is called its base.
#[derive(Debug, thiserror::Error)]
#[error(
    "the image, for {image}, does not stand on the base, for {base}: layer {number} of the base has the diff_id {expected}, and that of the image {}",
    .found.as_ref().map_or_else(|| "is not there".to_owned(), |found| format!("has {found}"))
)]
pub struct OtherBase {
    image: String,
    base: String,
    number: usize,
    expected: Digest,
    found: Option<Digest>,
}

impl Inventory {
    /// Makes sure that the layers of `base` are the first of the image's.
    pub fn check_base(&self, base: &Inventory) -> Result<(), OtherBase> {
        let layers = self.layers.iter().map(Some).chain(std::iter::repeat(None));
        let mut pairs = base.layers.iter().zip(layers).enumerate();
        match pairs.find(|(_, (expected, found))| Some(*expected) != *found) {
            None => Ok(()),
            Some((index, (expected, found))) => Err(OtherBase {
                image: self.image.platform.clone(),
                base: base.image.platform.clone(),
                number: index + 1,
                expected: expected.clone(),
                found: found.cloned(),
            }),
        }
    }

    /// The packages by what they are of.
    fn looked_at(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for package in &self.packages {
            *counts.entry(package.kind.clone()).or_default() += 1;
        }
        counts
    }

    /// What a database lacks to say something about the image.
    fn not_covered(&self, advisories: &dyn Advisories) -> Vec<Trouble> {
        let (found, expected) = (advisories.database().schema, advisories.expected_schema());
        if found != expected {
            // Of another form nothing is known.
            return vec![Trouble::DatabaseSchema { found, expected }];
        }
        let mut troubles = Vec::new();
        if advisories.database().built.is_none() {
            troubles.push(Trouble::DatabaseWithoutDate);
        }
        if !advisories.has_any() {
            troubles.push(Trouble::EmptyDatabase);
        }
        if let Some(system) = &self.system {
            let of_system = self.packages.iter().filter(|package| package.of_system);
            let kinds: BTreeSet<&str> = of_system.map(|package| &*package.kind).collect();
            let not_covered = |system| Trouble::SystemNotCovered { system };
            if !kinds.is_empty() && !advisories.covers_system(system) {
                troubles.push(not_covered(system.to_string()));
            } else {
                let others = kinds
                    .into_iter()
                    .filter(|kind| !advisories.is_kind_of(kind, system));
                troubles.extend(
                    others.map(|kind| {
                        not_covered(format!("{system} with packages of the kind {kind}"))
                    }),
                );
            }
        }
        for kind in self.language_kinds() {
            if !advisories.covers_language(kind) {
                troubles.push(Trouble::LanguageNotCovered {
                    kind: kind.to_owned(),
                });
            }
        }
        troubles
    }

    /// Why nothing can be said about the image, whatever a database has.
    fn troubles(&self, base: Option<&Inventory>, advisories: &dyn Advisories) -> Vec<Trouble> {
        let has_system =
            |inventory: &Inventory| inventory.packages.iter().any(|package| package.of_system);
        let mut troubles = Vec::new();
        if self.packages.is_empty() {
            troubles.push(Trouble::NoPackages);
        }
        let databases = self.traces.databases.iter();
        troubles.extend(databases.filter_map(|database| self.unseen(database)));
        // That of a base whose packages are gone, or that says the same, is the base's.
        let is_of_base = |base: &Inventory| {
            has_system(base) || base.traces.system.as_ref() == self.traces.system.as_ref()
        };
        if let (Some(said), true) = (&self.traces.system, self.traces.databases.is_empty())
            && !base.is_some_and(is_of_base)
            && !has_system(self)
            && !self.packages.is_empty()
        {
            troubles.push(Trouble::SystemWithoutPackages {
                system: said.to_string(),
            });
        }
        let looks_into_archives = !matches!(self.java, JavaArchives::Nothing(_));
        let passed_over = self.traces.passed_over.iter();
        let passed_over = passed_over.filter(|path| looks_into_archives || !is_java_archive(path));
        troubles.extend(summary(passed_over, |path, more| {
            Trouble::LanguagePackagesUnseen { path, more }
        }));
        let programs = self.traces.go_programs.iter();
        troubles.extend(summary(programs, |path, more| {
            Trouble::GoProgramWithoutModules { path, more }
        }));
        if self.system.is_none() && has_system(self) {
            let said = self.traces.system.as_ref();
            troubles.push(Trouble::SystemNotCovered {
                system: said
                    .map_or_else(|| "a system without a name".to_owned(), System::to_string),
            });
        }
        if let (None, Some(seen), true) = (&self.traces.system, &self.system, has_system(self)) {
            troubles.push(Trouble::SystemNotSaid {
                seen: seen.to_string(),
            });
        }
        if let (Some(said), Some(seen)) = (&self.traces.system, &self.system)
            && is_mistaken(said, seen, advisories)
        {
            troubles.push(Trouble::SystemMistaken {
                said: said.to_string(),
                seen: seen.to_string(),
            });
        }
        troubles.extend(self.of_other_branch());
        if let Some(path) = &self.traces.log {
            troubles.push(Trouble::UnreadLog { path: path.clone() });
        }
        match &self.java {
            JavaArchives::Nothing(why) if self.traces.java_archives > 0 => {
                troubles.push(Trouble::NoJavaDatabase {
                    archives: self.traces.java_archives,
                    why: why.clone(),
                });
            }
            _ => {}
        }
        if let Some(Database { built: None, .. }) = self.java_database() {
            troubles.push(Trouble::JavaDatabaseWithoutDate);
        }
        if let Some(base) = base
            && has_system(base)
        {
            if !has_system(self) {
                troubles.push(Trouble::SystemPackagesGone);
            }
            if !advisories.is_same_system(self.traces.system.as_ref(), base.traces.system.as_ref())
            {
                let name = |inventory: &Inventory| {
                    let system = inventory.traces.system.as_ref();
                    system.map_or_else(|| "none".to_owned(), ToString::to_string)
                };
                troubles.push(Trouble::SystemDiffers {
                    image: name(self),
                    base: name(base),
                });
            }
        }
        troubles
    }

    /// That the packages are of no release that Alpine says it is.
    fn of_other_branch(&self) -> Option<Trouble> {
        let said = self.traces.system.as_ref()?;
        let branches = &self.traces.branches;
        let release: Vec<&str> = said.release.splitn(3, '.').take(2).collect();
        // What will be a release is one of edge until then.
        let own = match &*release {
            [major, minor] if !said.release.contains('_') => format!("v{major}.{minor}"),
            _ => "edge".to_owned(),
        };
        let is_other = said.family == "alpine"
            && !branches.is_empty()
            && !branches.contains(&own)
            && self.packages.iter().any(|package| package.of_system);
        is_other.then(|| Trouble::SystemOfOtherBranch {
            said: said.to_string(),
            branches: branches.iter().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// What the scanner did not see of a database of packages.
    fn unseen(&self, database: &PackageDatabase) -> Option<Trouble> {
        let prefix = format!("pkg:{}/", database.kind);
        let seen = self.packages.iter();
        let seen = seen.filter(|package| package.of_system && package.purl.starts_with(&prefix));
        let seen: BTreeSet<_> = seen
            .map(|seen| (&*seen.name, epochless(&seen.version)))
            .collect();
        let path = database.path.clone();
        let Some(packages) = &database.packages else {
            return Some(if self.system.is_none() || seen.is_empty() {
                Trouble::SystemPackagesUnseen { path }
            } else {
                Trouble::SystemPackagesUnjudged { path }
            });
        };
        let is_unseen =
            |(name, version): &&(String, String)| !seen.contains(&(&**name, epochless(version)));
        let unseen: Vec<_> = packages.iter().filter(is_unseen).collect();
        let (name, version) = unseen.first()?;
        if self.system.is_none() || unseen.len() == packages.len() {
            return Some(Trouble::SystemPackagesUnseen { path });
        }
        Some(Trouble::SystemPackagesMissing {
            path,
            package: format!("{name} {version}"),
            more: unseen.len() as u64 - 1,
        })
    }

    /// The database of Java archives, where there are any that the scanner looked into.
    fn java_database(&self) -> Option<&Database> {
        match &self.java {
            JavaArchives::Database(database) if self.traces.java_archives > 0 => Some(database),
            _ => None,
        }
    }

    /// What is no trouble, and is to be said all the same.
    fn notes(&self) -> Vec<String> {
        let archives = self.traces.unknown_archives.iter();
        let looks_into_them = !matches!(self.java, JavaArchives::Nothing(_));
        let unknown = summary(archives.filter(|_| looks_into_them), |path, more| {
            format!(
                "the scanner knows nothing that is in {path}{}",
                and_more(more)
            )
        });
        unknown.into_iter().collect()
    }

    /// The kinds of packages that belong to languages.
    fn language_kinds(&self) -> BTreeSet<&str> {
        let of_languages = self.packages.iter().filter(|package| !package.of_system);
        of_languages.map(|package| &*package.kind).collect()
    }
}

/// Whether a scanner takes an image that says that it is `said` for another system.
fn is_mistaken(said: &System, seen: &System, advisories: &dyn Advisories) -> bool {
    if !said.release.is_empty() {
        return !advisories.is_same_system(Some(said), Some(seen));
    }
    // Who names no release is before the first; a number comes from elsewhere.
    let family = |system: &System| System {
        family: system.family.clone(),
        ..System::default()
    };
    seen.release.starts_with(|c: char| c.is_ascii_digit())
        || !advisories.is_same_system(Some(&family(said)), Some(&family(seen)))
}

/// A version without its epoch, which not all scanners and package managers tell (deb-version(7)).
fn epochless(version: &str) -> &str {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => version,
    }
}

/// One thing to say of all these files: by the first of them, and how many more there are.
pub fn summary<'a, T>(
    mut files: impl Iterator<Item = &'a String>,
    said: impl FnOnce(String, u64) -> T,
) -> Option<T> {
    let path = files.next()?.clone();
    Some(said(path, files.count() as u64))
}

/// What is in an image, or in several: what is found in those is theirs.
#[derive(Default)]
pub(super) struct Contents<'a> {
    packages: BTreeSet<(&'a str, &'a str, &'a str, &'a str)>,
    layers: BTreeSet<String>,
}

impl<'a> FromIterator<&'a Inventory> for Contents<'a> {
    fn from_iter<T: IntoIterator<Item = &'a Inventory>>(inventories: T) -> Self {
        let mut contents = Contents::default();
        for inventory in inventories {
            let packages = inventory.packages.iter();
            contents.packages.extend(packages.map(Package::identity));
            let layers = inventory.layers.iter();
            contents.layers.extend(layers.map(Digest::to_string));
        }
        contents
    }
}

impl Contents<'_> {
    /// Whether a finding is about what is in them: a package, wherever layers put it, or a file by its layer.
    pub(super) fn have(&self, kind: FindingKind, package: &Package) -> bool {
        if kind.is_of_files() {
            self.layers.contains(&package.layer)
        } else {
            self.packages.contains(&package.identity())
        }
    }
}

/// What a scanner found in the files of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFindings {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the scanner could use of the network.
    pub network: Access,
    /// What it looked for.
    pub kinds: BTreeSet<FindingKind>,
    /// What it found, as if nothing were the base's.
    pub findings: BTreeSet<Finding>,
}

/// What is known against the packages of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who looked.
    pub scanner: Scanner,
    /// What it could use of the network.
    pub network: Access,
    /// Where advisories came from.
    pub database: Database,
    /// By what Java archives are known, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub java_database: Option<Database>,
    /// What was looked at.
    pub image: Image,
    /// How many packages of each kind.
    pub looked_at: BTreeMap<String, u64>,
    /// What was looked for.
    pub kinds: BTreeSet<FindingKind>,
    /// Why the result cannot be trusted, as far as it is known already.
    pub troubles: Vec<Trouble>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was found, sorted.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// What a scanner found against the packages of its list, and why that cannot be trusted. What the base has, too, is the
    /// base's. All else is as the inventory has it.
    pub fn new(
        matches: Vec<Match>,
        list: &Listed,
        inventory: &Inventory,
        base: Option<&Inventory>,
        advisories: &dyn Advisories,
    ) -> Result<Self, AnswerError> {
        let of_base: Contents = base.into_iter().collect();
        let mut findings = Vec::new();
        for found in matches {
            let package = list.packages.get(&found.package).cloned();
            let package = package.ok_or(AnswerError::UnknownPackage(found.package))?;
            findings.push(Finding {
                origin: Origin::of(of_base.have(found.kind, &package)),
                kind: found.kind,
                id: found.id,
                aliases: found.aliases,
                package,
                fixed: found.fixed,
                severity: found.severity,
                title: found.title,
            });
        }
        findings.sort();
        findings.dedup();
        let mut troubles = inventory.not_covered(advisories);
        troubles.extend(inventory.troubles(base, advisories));
        troubles.sort();
        Ok(Findings {
            schema: SCHEMA,
            scanner: inventory.scanner.clone(),
            network: inventory.network,
            database: advisories.database().clone(),
            java_database: inventory.java_database().cloned(),
            image: inventory.image.clone(),
            looked_at: inventory.looked_at(),
            kinds: BTreeSet::from([FindingKind::Vulnerability]),
            troubles,
            notes: inventory.notes(),
            findings,
        })
    }

    /// What a scanner of files alone found in the image's, of which it looked into so many, and why that cannot be trusted.
    pub fn of_files(
        kind: FindingKind,
        found: BTreeSet<Finding>,
        files: u64,
        mut troubles: Vec<Trouble>,
        inventory: &Inventory,
        base: Option<&Inventory>,
        advisories: &dyn Advisories,
    ) -> Self {
        troubles.extend(inventory.not_covered(advisories));
        troubles.sort();
        let mut findings = Findings {
            schema: SCHEMA,
            scanner: inventory.scanner.clone(),
            network: inventory.network,
            database: advisories.database().clone(),
            java_database: None,
            image: inventory.image.clone(),
            looked_at: BTreeMap::from([(FILE.to_owned(), files)]),
            kinds: BTreeSet::new(),
            troubles,
            notes: Vec::new(),
            findings: Vec::new(),
        };
        let found = FileFindings {
            schema: SCHEMA,
            network: inventory.network,
            kinds: BTreeSet::from([kind]),
            findings: found,
        };
        findings.add_files(found, base);
        findings
    }

    /// Adds what was found in the image's files.
    pub fn add_files(&mut self, files: FileFindings, base: Option<&Inventory>) {
        let of_base: Contents = base.into_iter().collect();
        self.network = self.network.max(files.network);
        self.kinds.extend(files.kinds);
        self.findings
            .extend(files.findings.into_iter().map(|found| Finding {
                origin: Origin::of(of_base.have(found.kind, &found.package)),
                ..found
            }));
        self.findings.sort();
    }
}

/// A database of advisories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The version of its form, as it says.
    pub schema: u64,
    /// When it was built.
    pub built: Option<DateTime<Utc>>,
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The image itself.
    Local,
    /// Its base, which has the same package.
    Base,
}

impl Origin {
    fn of(is_of_base: bool) -> Self {
        if is_of_base {
            Origin::Base
        } else {
            Origin::Local
        }
    }
}

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// A weakness that somebody published.
    Vulnerability,
    /// The terms that a package may be used under.
    License,
    /// What nobody may know, such as a key.
    Secret,
    /// A setting that should be another.
    Misconfiguration,
    /// What harms whoever runs it.
    Malware,
}

impl FindingKind {
    /// Whether it is found in files, and not by the packages that there are.
    pub fn is_of_files(self) -> bool {
        match self {
            FindingKind::Vulnerability | FindingKind::License => false,
            FindingKind::Secret | FindingKind::Misconfiguration | FindingKind::Malware => true,
        }
    }
}

impl std::fmt::Display for FindingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FindingKind::Vulnerability => "vulnerability",
            FindingKind::License => "license",
            FindingKind::Secret => "secret",
            FindingKind::Misconfiguration => "misconfiguration",
            FindingKind::Malware => "malware",
        })
    }
}

impl std::str::FromStr for FindingKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "vulnerability" => FindingKind::Vulnerability,
            "license" => FindingKind::License,
            "secret" => FindingKind::Secret,
            "misconfiguration" => FindingKind::Misconfiguration,
            "malware" => FindingKind::Malware,
            _ => {
                return Err(
                    "there are vulnerability, license, secret, misconfiguration and malware"
                        .to_owned(),
                );
            }
        })
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nobody said.
    Unknown,
    /// Of no weight.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// What a scanner says; a word that is none is as good as nothing.
    pub(super) fn read(word: Option<&str>) -> Self {
        let severity = word.and_then(|word| word.parse().ok());
        severity.unwrap_or(Severity::Unknown)
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Severity::Unknown => "unknown",
            Severity::Negligible => "negligible",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        })
    }
}

impl std::str::FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "unknown" => Severity::Unknown,
            "negligible" => Severity::Negligible,
            "low" => Severity::Low,
            "medium" => Severity::Medium,
            "high" => Severity::High,
            "critical" => Severity::Critical,
            _ => {
                return Err(format!(
                    "{text:?} is no severity: there are negligible, low, medium, high and critical"
                ));
            }
        })
    }
}

/// One thing that is known against a package, or against a file, which counts as a package of the kind `file` by its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Whose it is.
    pub origin: Origin,
    /// What it is.
    pub kind: FindingKind,
    /// Its identifier, such as `CVE-2026-0001`.
    pub id: String,
    /// What else it is called.
    pub aliases: BTreeSet<String>,
    /// The package.
    pub package: Package,
    /// The version without it; empty when there is none.
    pub fixed: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: String,
}

impl Finding {
    /// Malware in the file at a path, which is from a layer. It is as bad as can be, whatever it is.
    pub fn of_malware(path: String, id: String, layer: Option<&Digest>) -> Self {
        Finding {
            origin: Origin::Local,
            kind: FindingKind::Malware,
            id,
            aliases: BTreeSet::new(),
            package: Package::file(path, layer.map_or_else(String::new, Digest::to_string)),
            fixed: String::new(),
            severity: Severity::Critical,
            title: String::new(),
        }
    }
}

/// Why the result of a scan cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Trouble {
    /// The scanner saw no package.
    NoPackages,
    /// The image has a database of packages of which the scanner saw none.
    SystemPackagesUnseen {
        /// The database's path.
        path: String,
    },
    /// The image has a database of packages of which the scanner saw only a part.
    SystemPackagesMissing {
        /// The database's path.
        path: String,
        /// One that it did not see.
        package: String,
        /// How many more there are.
        more: u64,
    },
    /// The image has a database of packages that cannot be read here, so nobody knows what the scanner saw of it.
    SystemPackagesUnjudged {
        /// The database's path.
        path: String,
    },
    /// The image says of which system it is, and has no database of its packages.
    SystemWithoutPackages {
        /// The system.
        system: String,
    },
    /// The scanner of files saw none.
    NoFiles,
    /// The scanner of files did not look into all of them.
    FilesUnseen {
        /// How many it looked into.
        seen: u64,
        /// How many there are.
        files: u64,
    },
    /// The scanner of files did not look into all of a file.
    FilesUnscanned {
        /// One of them.
        path: String,
        /// How many more there are.
        more: u64,
    },
    /// The scanner passed over files of packages of a language.
    LanguagePackagesUnseen {
        /// One of them.
        path: String,
        /// How many more there are.
        more: u64,
    },
    /// Programs that Go made do not say of which modules.
    GoProgramWithoutModules {
        /// One of them.
        path: String,
        /// How many more there are.
        more: u64,
    },
    /// A part of a database of packages is in a log that scanners do not read.
    UnreadLog {
        /// The log's path.
        path: String,
    },
    /// The database has nothing about the system.
    SystemNotCovered {
        /// The system.
        system: String,
    },
    /// The database has nothing about the packages of a language.
    LanguageNotCovered {
        /// What the scanner calls them.
        kind: String,
    },
    /// The database has no advisory at all.
    EmptyDatabase,
    /// The database is of another form than the scanner reads.
    DatabaseSchema {
        /// The version that it has.
        found: u64,
        /// The version that is read.
        expected: u64,
    },
    /// The database does not say when it was built.
    DatabaseWithoutDate,
    /// The database is older than what it is to know about.
    DatabaseTooOld {
        /// When it was built.
        built: NaiveDate,
        /// The newest date of the image, its bases and the scanner.
        newest: NaiveDate,
        /// How many days it may be behind.
        days: u32,
    },
    /// The same of the database of Java archives.
    JavaDatabaseWithoutDate,
    /// The same of the database of Java archives.
    JavaDatabaseTooOld {
        /// When it was built.
        built: NaiveDate,
        /// The newest date of the image, its bases and the scanner.
        newest: NaiveDate,
        /// How many days it may be behind.
        days: u32,
    },
    /// The base has packages of a system, and the image has none.
    SystemPackagesGone,
    /// The image says that it is of another system than its base.
    SystemDiffers {
        /// The image's.
        image: String,
        /// The base's.
        base: String,
    },
    /// The scanner takes the image for one of another system.
    SystemMistaken {
        /// What the image says.
        said: String,
        /// What the scanner took it for.
        seen: String,
    },
    /// The image says that it is of another release than its packages.
    SystemOfOtherBranch {
        /// What the image says.
        said: String,
        /// Where its packages come from.
        branches: String,
    },
    /// The image does not say of which system it is, and the scanner takes it for one all the same.
    SystemNotSaid {
        /// What the scanner took it for.
        seen: String,
    },
    /// The scanner could use the network, or nobody can tell.
    NetworkNotBlocked {
        /// What it could use.
        network: Access,
    },
    /// Java archives cannot be looked into without a database of them.
    NoJavaDatabase {
        /// How many there are.
        archives: u64,
        /// Why there is none.
        why: NoJavaDatabase,
    },
}

impl Trouble {
    /// The words of those that a policy may allow.
    pub const ALLOWED: [&str; 20] = [
        "database-too-old",
        "database-without-date",
        "empty-database",
        "files-unscanned",
        "files-unseen",
        "go-program-without-modules",
        "language-not-covered",
        "language-packages-unseen",
        "no-files",
        "no-java-database",
        "no-packages",
        "system-differs",
        "system-mistaken",
        "system-not-covered",
        "system-packages-gone",
        "system-packages-missing",
        "system-packages-unjudged",
        "system-packages-unseen",
        "system-without-packages",
        "unread-log",
    ];

    /// The word by which a policy allows it.
    pub fn code(&self) -> &'static str {
        match self {
            Trouble::NoPackages => "no-packages",
            Trouble::NoFiles => "no-files",
            Trouble::FilesUnseen { .. } => "files-unseen",
            Trouble::FilesUnscanned { .. } => "files-unscanned",
            Trouble::SystemPackagesUnseen { .. } => "system-packages-unseen",
            Trouble::SystemPackagesMissing { .. } => "system-packages-missing",
            Trouble::SystemPackagesUnjudged { .. } => "system-packages-unjudged",
            Trouble::SystemWithoutPackages { .. } => "system-without-packages",
            Trouble::LanguagePackagesUnseen { .. } => "language-packages-unseen",
            Trouble::GoProgramWithoutModules { .. } => "go-program-without-modules",
            Trouble::UnreadLog { .. } => "unread-log",
            Trouble::SystemNotCovered { .. } => "system-not-covered",
            Trouble::LanguageNotCovered { .. } => "language-not-covered",
            Trouble::EmptyDatabase => "empty-database",
            Trouble::DatabaseSchema { .. } => "database-schema",
            Trouble::DatabaseWithoutDate | Trouble::JavaDatabaseWithoutDate => {
                "database-without-date"
            }
            Trouble::DatabaseTooOld { .. } | Trouble::JavaDatabaseTooOld { .. } => {
                "database-too-old"
            }
            Trouble::SystemPackagesGone => "system-packages-gone",
            Trouble::SystemDiffers { .. } => "system-differs",
            Trouble::SystemMistaken { .. }
            | Trouble::SystemOfOtherBranch { .. }
            | Trouble::SystemNotSaid { .. } => "system-mistaken",
            Trouble::NetworkNotBlocked { .. } => "network-not-blocked",
            Trouble::NoJavaDatabase { .. } => "no-java-database",
        }
    }
}

fn and_more(number: u64) -> String {
    match number {
        0 => String::new(),
        number => format!(" and {number} more"),
    }
}

impl std::fmt::Display for Trouble {
    #[expect(clippy::too_many_lines, reason = "it is a list of sentences")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::NoPackages => f.write_str("the scanner saw no package in the image"),
            Trouble::NoFiles => f.write_str("the scanner saw no file in the image"),
            Trouble::FilesUnseen { seen, files } => {
                write!(f, "the scanner looked into {seen} of {files} files")
            }
            Trouble::FilesUnscanned { path, more } => {
                write!(
                    f,
                    "the scanner did not look into all of {path}{}",
                    and_more(*more)
                )
            }
            Trouble::SystemPackagesUnseen { path } => {
                write!(
                    f,
                    "the image has packages in {path}, and the scanner saw none of them: is its os-release what it should be?"
                )
            }
            Trouble::SystemPackagesMissing {
                path,
                package,
                more,
            } => {
                write!(
                    f,
                    "the image has {package}{} in {path}, and the scanner did not see it",
                    and_more(*more)
                )
            }
            Trouble::SystemPackagesUnjudged { path } => {
                write!(
                    f,
                    "the image has packages in {path}, which cannot be read here, so nobody knows whether the scanner saw all of them"
                )
            }
            Trouble::SystemWithoutPackages { system } => {
                write!(
                    f,
                    "the image says that it is {system}, and has no database of that system's packages"
                )
            }
            Trouble::LanguagePackagesUnseen { path, more } => {
                write!(
                    f,
                    "the scanner passed over packages: it saw none in {path}{}",
                    and_more(*more)
                )
            }
            Trouble::GoProgramWithoutModules { path, more } => {
                write!(
                    f,
                    "the Go program {path}{} does not say of which modules it is made",
                    and_more(*more)
                )
            }
            Trouble::UnreadLog { path } => {
                write!(
                    f,
                    "some packages may be in {path} alone, which scanners do not read"
                )
            }
            Trouble::SystemNotCovered { system } => {
                write!(f, "the database has nothing about {system}")
            }
            Trouble::LanguageNotCovered { kind } => {
                write!(
                    f,
                    "the database has nothing about packages of the kind {kind}"
                )
            }
            Trouble::EmptyDatabase => f.write_str("the database has no advisory"),
            Trouble::DatabaseSchema { found, expected } => {
                write!(
                    f,
                    "the database is of the form {found}, and the scanner reads {expected}"
                )
            }
            Trouble::DatabaseWithoutDate => {
                f.write_str("the database does not say when it was built")
            }
            Trouble::DatabaseTooOld {
                built,
                newest,
                days,
            } => write!(
                f,
                "the database was built on {built}, more than {days} days before {newest}, the newest date of the image, its bases and the scanner"
            ),
            Trouble::JavaDatabaseWithoutDate => {
                f.write_str("the Java database does not say when it was built")
            }
            Trouble::JavaDatabaseTooOld {
                built,
                newest,
                days,
            } => write!(
                f,
                "the Java database was built on {built}, more than {days} days before {newest}, the newest date of the image, its bases and the scanner"
            ),
            Trouble::SystemPackagesGone => {
                f.write_str("the base has packages of its system, and the image has none")
            }
            Trouble::SystemDiffers { image, base } => {
                write!(
                    f,
                    "the image says that it is {image}, and its base that it is {base}"
                )
            }
            Trouble::SystemMistaken { said, seen } => {
                write!(
                    f,
                    "the image says that it is {said}, and the scanner took it for {seen}"
                )
            }
            Trouble::SystemOfOtherBranch { said, branches } => {
                write!(
                    f,
                    "the image says that it is {said}, and its packages come from {branches}"
                )
            }
            Trouble::SystemNotSaid { seen } => {
                write!(
                    f,
                    "no os-release says of which system the image is, and the scanner took it for {seen}"
                )
            }
            Trouble::NetworkNotBlocked { network } => network.fmt(f),
            Trouble::NoJavaDatabase { archives, why } => {
                let were = if *archives == 1 { " was" } else { "s were" };
                write!(
                    f,
                    "{archives} Java archive{were} not looked into, because {why}"
                )
            }
        }
    }
}

impl std::fmt::Display for NoJavaDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoJavaDatabase::Missing => f.write_str("there is no Java database"),
            NoJavaDatabase::Empty => f.write_str("the Java database has nothing in it"),
            NoJavaDatabase::Schema { found, expected } => write!(
                f,
                "the Java database is of the form {found}, and the scanner reads {expected}"
            ),
        }
    }
}
