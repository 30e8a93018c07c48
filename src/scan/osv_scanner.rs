//! osv-scanner: how it is run, and how its answers are read.
//!
//! It takes no list of its own, so it lists and matches in one step. Of an image it takes the archive that `docker save` writes,
//! and of a database one zip file for each ecosystem. What it lacks for an ecosystem is an error to it only where it finds
//! nothing else, so it is given an empty file, and what the files are about is found by reading them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::files::{FileError, io_failed};
use crate::oci::strict;

use super::evidence::ends_with_any;
use super::findings::{FindingKind, Severity};
use super::inventory::{Database, Package, Scanner, System, known};
use super::osv::{Dropped, Records, directory_name, without_release};
use super::preset::{Advisories, AnswerError, AtOnce, Call, Match, PackageList, title};
use super::stage::link;
use super::trouble::Trouble;

/// How it is called.
pub(super) const NAME: &str = "osv-scanner";
/// The module of Go's that it is built of.
const MODULE: &str = "github.com/google/osv-scanner";
/// Before its version.
const VERSION: &str = "osv-scanner version: ";
/// Where it looks for the files of a database, below the directory that it is given, and what they are called.
const DIRECTORY: &str = "osv-scalibr";
const FILE: &str = "all.zip";
/// The major version of the OSV schema, of which all records are.
const SCHEMA: u64 = 1;
/// A zip file without anything in it (APPNOTE.TXT, 4.3.16).
const EMPTY: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The ecosystems of packages that it finds in images. It stops at a package of one that has no file.
const ECOSYSTEMS: [&str; 26] = [
    "AlmaLinux",
    "Alpaquita",
    "Alpine",
    "Azure Linux",
    "BellSoft Hardened Containers",
    "Chainguard",
    "CleanStart",
    "Debian",
    "Echo",
    "GIT",
    "Go",
    "Linux",
    "Mageia",
    "Maven",
    "MinimOS",
    "Photon OS",
    "PyPI",
    "Red Hat",
    "Rocky Linux",
    "SUSE",
    "Ubuntu",
    "Wolfi",
    "crates.io",
    "npm",
    "openEuler",
    "openSUSE",
];
/// What os-release(5) calls systems whose ecosystems have other names.
const SYSTEMS: [(&str, &str); 6] = [
    ("azure linux", "azurelinux"),
    (
        "bellsoft hardened containers",
        "bellsoft-hardened-containers",
    ),
    ("opensuse", "opensuse-leap"),
    ("red hat", "rhel"),
    ("rocky linux", "rocky"),
    ("suse", "sles"),
];
/// The types of package URLs (purl-spec), by ecosystem.
const PURLS: [(&str, &str); 5] = [
    ("Go", "golang"),
    ("Maven", "maven"),
    ("PyPI", "pypi"),
    ("crates.io", "cargo"),
    ("npm", "npm"),
];
/// The endings of the Java archives that it looks into, in any case.
const JAVA_ARCHIVES: [&str; 9] = [
    ".ear", ".hpi", ".jar", ".jpi", ".lpkg", ".nar", ".par", ".sar", ".war",
];
/// What a package URL keeps as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/');

/// osv-scanner.
pub(super) struct OsvScanner;

impl AtOnce for OsvScanner {
    fn looks_into(&self, path: &str) -> bool {
        ends_with_any(path, &JAVA_ARCHIVES)
    }

    fn scan(&self, cache: &Path, database: &[PathBuf]) -> Result<Call, FileError> {
        let mut absent = BTreeSet::from(ECOSYSTEMS);
        let provided = database
            .iter()
            .map(|file| (directory_name(file), Some(file)));
        let provided: Vec<_> = provided.collect();
        for (ecosystem, _) in &provided {
            absent.remove(ecosystem);
        }
        let absent = absent.into_iter().map(|ecosystem| (ecosystem, None));
        for (ecosystem, file) in provided.into_iter().chain(absent) {
            let directory = cache.join(DIRECTORY).join(ecosystem);
            io_failed("make", &directory, fs::create_dir_all(&directory))?;
            let place = directory.join(FILE);
            match file {
                Some(file) => link(file, &place)?,
                None => io_failed("write", &place, fs::write(&place, EMPTY))?,
            }
        }
        // A file that has no settings is taken for those beside what it scans.
        let words = "scan image --archive {layout} --config /dev/null --offline --all-packages --all-vulns \
            --allow-no-lockfiles --format json --output-file {report} --local-db-path";
        let mut arguments: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        arguments.push(cache.display().to_string());
        Ok(Call {
            arguments,
            environment: Vec::new(),
        })
    }

    fn module(&self) -> &'static str {
        MODULE
    }

    fn read_version<'a>(&self, said: &'a str) -> Option<&'a str> {
        said.lines().find_map(|line| line.strip_prefix(VERSION))
    }

    fn read_report(&self, report: &[u8]) -> Result<(PackageList, Vec<Match>), AnswerError> {
        let report: Report = strict::read(report)?;
        let layers = report.image_metadata.unwrap_or_default().layer_metadata;
        let layers = layers.unwrap_or_default();
        let mut system = None;
        let mut packages = BTreeMap::new();
        let mut matches = Vec::new();
        for (number, source) in report.results.into_iter().flatten().enumerate() {
            for (place, found) in source.packages.into_iter().enumerate() {
                let reference = format!("{number}.{place}");
                if source.source.kind == OS {
                    system = system.or_else(|| system_of(&found.package.ecosystem));
                }
                let package = found.package.package(&source.source, &layers);
                packages.insert(reference.clone(), package);
                matches.extend(found.matches(&reference));
            }
        }
        let list = PackageList {
            system,
            packages,
            scanner: Scanner {
                name: NAME.to_owned(),
                version: None,
                created: None,
            },
        };
        Ok((list, matches))
    }

    fn read_database(
        &self,
        files: &[PathBuf],
        list: &PackageList,
    ) -> Result<Box<dyn Advisories>, AnswerError> {
        let wanted: BTreeSet<&str> = list.packages.values().map(|of| &*of.kind).collect();
        let mut database = OsvDatabase {
            ecosystems: BTreeSet::new(),
            dropped: None,
            database: Database {
                schema: SCHEMA,
                built: None,
                newest: None,
            },
        };
        // One that nothing depends on may be of any age.
        let is_wanted = |file: &&PathBuf| wanted.contains(directory_name(file));
        let has_wanted = files.iter().any(|file| is_wanted(&file));
        for file in files.iter().filter(|file| !has_wanted || is_wanted(file)) {
            database.add(file)?;
        }
        Ok(Box::new(database))
    }
}

/// The system whose packages are of an ecosystem, in OSV's words.
fn system_of(ecosystem: &str) -> Option<System> {
    let (family, release) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
    (!family.is_empty()).then(|| System {
        family: family.to_owned(),
        release: known(release.to_owned()),
        ..System::default()
    })
}

/// What os-release(5) calls a system, whoever named it.
fn family(name: &str) -> String {
    let name = name.to_lowercase();
    let known = SYSTEMS.iter().find(|(other, _)| *other == name);
    known.map_or(name, |(_, name)| (*name).to_owned())
}

/// The numbers of a system's release.
fn numbers(mut release: &str) -> impl Iterator<Item = &str> {
    for words in ["v", "Leap ", "enterprise_linux:"] {
        release = release.strip_prefix(words).unwrap_or(release);
    }
    let release = release.split([':', '-']).next().unwrap_or_default();
    release.split('.').filter(|number| !number.is_empty())
}

/// How a report calls what is of a system.
const OS: &str = "os";

#[derive(Deserialize)]
struct Report {
    results: Option<Vec<ReportSource>>,
    image_metadata: Option<ImageMetadata>,
}

#[derive(Default, Deserialize)]
struct ImageMetadata {
    layer_metadata: Option<Vec<LayerMetadata>>,
}

#[derive(Deserialize)]
struct LayerMetadata {
    diff_id: Option<String>,
}

#[derive(Deserialize)]
struct ReportSource {
    source: Source,
    packages: Vec<ReportPackage>,
}

#[derive(Deserialize)]
struct Source {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct ReportPackage {
    package: PackageInfo,
    vulnerabilities: Option<Vec<Vulnerability>>,
    groups: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct PackageInfo {
    name: String,
    os_package_name: Option<String>,
    version: String,
    ecosystem: String,
    image_origin_details: Option<ImageOrigin>,
}

#[derive(Deserialize)]
struct ImageOrigin {
    index: usize,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    aliases: Option<Vec<String>>,
    upstream: Option<Vec<String>>,
    summary: Option<String>,
    details: Option<String>,
    affected: Option<Vec<Affected>>,
}

#[derive(Deserialize)]
struct Affected {
    package: Option<AffectedPackage>,
    ranges: Option<Vec<Range>>,
}

#[derive(Deserialize)]
struct AffectedPackage {
    name: String,
    ecosystem: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: Option<String>,
    events: Option<Vec<Event>>,
}

#[derive(Deserialize)]
struct Event {
    fixed: Option<String>,
}

#[derive(Deserialize)]
struct Group {
    ids: Vec<String>,
    max_severity: Option<String>,
    experimental_analysis: Option<BTreeMap<String, Analysis>>,
}

#[derive(Deserialize)]
struct Analysis {
    unimportant: Option<bool>,
}

impl PackageInfo {
    fn package(&self, source: &Source, layers: &[LayerMetadata]) -> Package {
        let of_system = source.kind == OS;
        let path = source.path.trim_start_matches('/');
        let family = without_release(&self.ecosystem);
        // Advisories are about what packages of a system are built from.
        let name = self.os_package_name.as_ref().unwrap_or(&self.name);
        let kind = match family {
            "" => path.rsplit('/').next().unwrap_or_default(),
            family => family,
        };
        let origin = self.image_origin_details.as_ref();
        let layer = origin.and_then(|origin| layers.get(origin.index)?.diff_id.clone());
        Package {
            kind: kind.to_owned(),
            of_system,
            name: name.clone(),
            version: known(self.version.clone()),
            architecture: None,
            path: if of_system {
                None
            } else {
                known(path.to_owned())
            },
            purl: if of_system {
                Some(purl(&of_database(path, family), name, &self.version))
            } else {
                let kind = PURLS.iter().find(|(name, _)| *name == family);
                kind.map(|(_, kind)| purl(kind, name, &self.version))
            },
            layer: known(layer),
        }
    }
}

/// The type and the namespace in the package URLs of a system's packages, whose database is at a path.
fn of_database(path: &str, name: &str) -> String {
    let kind = if path.contains("apk/") {
        "apk"
    } else if path.contains("dpkg/") {
        "deb"
    } else {
        "rpm"
    };
    format!("{kind}/{}", family(name))
        .trim_end_matches('/')
        .to_owned()
}

fn purl(kind: &str, name: &str, version: &str) -> String {
    let name = name.replace(':', "/");
    let [name, version] = [&*name, version].map(|text| utf8_percent_encode(text, &PLAIN));
    format!("pkg:{kind}/{name}@{version}")
}

impl ReportPackage {
    fn matches(self, reference: &str) -> Vec<Match> {
        let PackageInfo {
            name, ecosystem, ..
        } = self.package;
        let groups = self.groups.unwrap_or_default();
        let found = self.vulnerabilities.into_iter().flatten();
        let found = found.map(|found| Match {
            kind: FindingKind::Vulnerability,
            package: reference.to_owned(),
            fixed: found.fixed(&name, &ecosystem),
            severity: severity(&groups, &found.id),
            title: found.title(),
            aliases: found.aliases(),
            id: found.id,
        });
        found.collect()
    }
}

impl Vulnerability {
    /// What else it is called. What a distribution says of one vulnerability of another's is about the same; what it says of
    /// several is not about each.
    fn aliases(&self) -> BTreeSet<String> {
        let upstream = self.upstream.iter().filter(|upstream| upstream.len() == 1);
        let all = self.aliases.iter().chain(upstream).flatten();
        all.filter(|alias| **alias != self.id).cloned().collect()
    }

    /// The versions of a package without it.
    fn fixed(&self, name: &str, ecosystem: &str) -> Option<String> {
        let is_it = |affected: &&Affected| {
            affected.package.as_ref().is_some_and(|package| {
                package.name.eq_ignore_ascii_case(name) && is_same(&package.ecosystem, ecosystem)
            })
        };
        let affected = self.affected.iter().flatten().filter(is_it);
        let ranges = affected.flat_map(|affected| affected.ranges.iter().flatten());
        // Others are of commits.
        let ranges = ranges.filter(|range| range.kind.as_deref() != Some("GIT"));
        let events = ranges.flat_map(|range| range.events.iter().flatten());
        let fixed = events.filter_map(|event| event.fixed.as_deref());
        let fixed: BTreeSet<&str> = fixed.collect();
        known(fixed.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn title(&self) -> Option<String> {
        let mut told = [&self.summary, &self.details].into_iter().flatten();
        title(told.find(|text| !text.is_empty()).map(String::as_str))
    }
}

/// How bad it is, by the score (CVSS, "Qualitative Severity Rating Scale") of what it is grouped with.
fn severity(groups: &[Group], id: &str) -> Severity {
    let is_in = |group: &&Group| group.ids.iter().any(|other| other == id);
    let Some(group) = groups.iter().find(is_in) else {
        return Severity::Unknown;
    };
    let analysis = group.experimental_analysis.as_ref();
    if analysis.and_then(|all| all.get(id)?.unimportant) == Some(true) {
        return Severity::Negligible;
    }
    let score = group.max_severity.as_deref().unwrap_or_default();
    match score.parse::<f64>() {
        Err(_) => Severity::Unknown,
        Ok(score) if score >= 9.0 => Severity::Critical,
        Ok(score) if score >= 7.0 => Severity::High,
        Ok(score) if score >= 4.0 => Severity::Medium,
        Ok(score) if score > 0.0 => Severity::Low,
        Ok(_) => Severity::Negligible,
    }
}

/// What the records that matter are about.
struct OsvDatabase {
    ecosystems: BTreeSet<String>,
    dropped: Option<Dropped>,
    database: Database,
}

impl OsvDatabase {
    fn add(&mut self, file: &Path) -> Result<(), AnswerError> {
        let unreadable = |error| AnswerError::Database(io::Error::other(error));
        let mut records = Records::read(file).map_err(unreadable)?;
        if let Some(built) = records.newest {
            let Database {
                built: oldest,
                newest,
                ..
            } = &mut self.database;
            *oldest = Some(oldest.map_or(built, |oldest| oldest.min(built)));
            *newest = Some(newest.map_or(built, |newest| newest.max(built)));
        }
        self.dropped = self.dropped.take().or(records.dropped.take());
        let ecosystems = records.of_directory(file).map_err(unreadable)?;
        self.ecosystems.extend(ecosystems);
        Ok(())
    }
}

impl Advisories for OsvDatabase {
    fn database(&self) -> &Database {
        &self.database
    }

    fn expected_schema(&self) -> u64 {
        SCHEMA
    }

    fn has_any(&self) -> bool {
        !self.ecosystems.is_empty()
    }

    fn dropped(&self) -> Option<Trouble> {
        let Dropped { record, why, more } = self.dropped.clone()?;
        Some(Trouble::AdvisoriesDropped {
            advisory: record,
            why,
            more,
        })
    }

    fn covers_system(&self, system: &System, said: Option<&System>) -> bool {
        let System {
            family, release, ..
        } = system;
        if let Some(release) = release {
            return self.ecosystems.contains(&format!("{family}:{release}"));
        }
        // It finds what is known against any release, so something must be known of this one.
        let is_of_release = |ecosystem: &String| {
            let of = system_of(ecosystem).filter(|of| of.family == *family);
            of.is_some_and(|of| self.is_same_system(Some(&of), said))
        };
        self.ecosystems.contains(family)
            || said.is_some_and(|said| said.release.is_some())
                && self.ecosystems.iter().any(is_of_release)
    }

    fn covers_language(&self, kind: &str) -> bool {
        self.ecosystems.contains(kind)
    }

    fn is_same_system(&self, one: Option<&System>, other: Option<&System>) -> bool {
        let (Some(one), Some(other)) = (one, other) else {
            return one == other;
        };
        if family(&one.family) != family(&other.family) {
            return false;
        }
        let (Some(one), Some(other)) = (&one.release, &other.release) else {
            return true;
        };
        let mut both = numbers(one).zip(numbers(other)).peekable();
        // A release without any number is no other.
        one == other || both.peek().is_some() && both.all(|(one, other)| one == other)
    }
}

/// Whether osv-scanner takes two ecosystems for the same: one without a release is of any.
fn is_same(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.split_once(':').unwrap_or((name, "")));
    one.0 == other.0 && (one.1 == other.1 || one.1.is_empty() || other.1.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_without_a_number_is_no_other() {
        let database = OsvDatabase {
            ecosystems: BTreeSet::from(["Rocky Linux:9".to_owned()]),
            dropped: None,
            database: Database {
                schema: SCHEMA,
                built: None,
                newest: None,
            },
        };
        let system = |family: &str, release: &str| System {
            family: family.to_owned(),
            release: known(release.to_owned()),
            ..System::default()
        };
        let seen = system("Rocky Linux", "");
        for (release, is_covered) in [
            ("9.3", true),
            ("8", false),
            ("", false),
            (".", false),
            ("-", false),
            ("enterprise_linux:", false),
        ] {
            let said = system("rocky", release);
            let covers = database.covers_system(&seen, Some(&said));
            assert_eq!(covers, is_covered, "{release}");
            assert!(database.is_same_system(Some(&said), Some(&said)));
        }
    }
}
