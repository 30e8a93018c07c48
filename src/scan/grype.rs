//! grype, with syft: how they are run, and how their answers are read.
//!
//! syft lists an image's packages, and grype matches that list with a database. A database is bound to the version of the
//! grype that imported it, so it is imported by the very one that matches.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset};
use rusqlite::{Connection, Row};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::files::{FileError, io_failed};
use crate::json::to_json;
use crate::oci::artifact::file_path;
use crate::oci::strict;
use crate::oci::time::is_real;
use crate::tar::{Limits, TarError, open_archive_file, unpack};

use super::evidence::JAVA_ARCHIVES;
use super::findings::{FindingKind, Severity};
use super::inventory::{Database, JavaArchives, Package, Scanner, System, known};
use super::preset::{Advisories, AnswerError, Call, Match, PackageList, Preset, provide, title};
use super::purl::qualifier;
use super::sqlite::{self, all, open};
use super::stage::link;
use super::versions::Versions;

/// The file of a database, as grype calls it.
pub const DATABASE: &str = "vulnerability.db";
/// The table in which it says when it was built, and one of those that older ones have instead.
const METADATA: &str = "db_metadata";
const METADATA_BEFORE: &str = "vulnerability_metadata";
/// What an import writes beside it.
pub(super) const IMPORT: &str = "import.json";
/// The form of databases that grype reads, and the directory for it.
pub(super) const SCHEMA: u64 = 6;
/// What keeps grype from the network, and its answers free of the clock.
const SETTINGS: [(&str, &str); 5] = [
    ("GRYPE_CHECK_FOR_APP_UPDATE", "false"),
    ("GRYPE_DB_AUTO_UPDATE", "false"),
    ("GRYPE_DB_REQUIRE_UPDATE_CHECK", "false"),
    ("GRYPE_DB_VALIDATE_AGE", "false"),
    ("GRYPE_TIMESTAMP", "false"),
];
/// The kinds of packages that belong to a system.
const OF_SYSTEM: [&str; 5] = ["alpm", "apk", "deb", "portage", "rpm"];
/// The kinds of languages that grype looks up by their own names alone, and not by those of the NVD (CPE).
const BY_NAME: [&str; 11] = [
    "bitnami",
    "dart-pub",
    "dotnet",
    "gem",
    "go-module",
    "hex",
    "java-archive",
    "jenkins-plugin",
    "npm",
    "python",
    "rust-crate",
];
/// What an archive of a database unpacks to at most.
const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 64 << 30,
};

/// grype.
pub(super) struct Grype;

impl Preset for Grype {
    fn java_archives(&self, _database: &[PathBuf]) -> Result<JavaArchives, AnswerError> {
        Ok(JavaArchives::Content)
    }

    fn looks_into(&self, path: &str) -> bool {
        // In lower case alone.
        JAVA_ARCHIVES.iter().any(|ending| path.ends_with(ending))
    }

    fn list(&self, _cache: &Path, _java_database: &[PathBuf]) -> Result<Call, FileError> {
        // With the scope that it has by default, packages of a system are said to come from the layer that wrote
        // their database last.
        let words = "scan oci-dir:{layout} --scope deep-squashed --output syft-json={report}";
        Ok(Call {
            arguments: words.split(' ').map(str::to_owned).collect(),
            environment: vec![("SYFT_CHECK_FOR_APP_UPDATE".to_owned(), "false".to_owned())],
        })
    }

    fn empty_list(&self) -> Option<Value> {
        // syft calls such an image an error.
        Some(json!({
            "artifacts": [],
            "descriptor": {"name": "syft", "version": ""},
            "distro": {},
            "source": {"metadata": {"layers": []}},
        }))
    }

    fn normalized(&self, list: &[u8]) -> Result<Vec<u8>, AnswerError> {
        let mut list: Map<String, Value> = strict::read(list)?;
        // Both have paths of the machine.
        if let Some(Value::Object(descriptor)) = list.get_mut("descriptor") {
            descriptor.remove("configuration");
        }
        if let Some(Value::Object(source)) = list.get_mut("source") {
            source.insert("name".to_owned(), "image".into());
            if let Some(Value::Object(metadata)) = source.get_mut("metadata") {
                metadata.insert("userInput".to_owned(), "image".into());
            }
        }
        Ok(to_json(&list))
    }

    fn read_list(&self, list: &[u8]) -> Result<PackageList, AnswerError> {
        let list: SyftList = strict::read(list)?;
        let layers = list.source.metadata.layers.into_iter().flatten();
        let layers: Vec<String> = layers.map(|layer| layer.digest).collect();
        let artifacts = list.artifacts.into_iter().flatten();
        let packages = artifacts.map(|artifact| (artifact.id.clone(), artifact.package(&layers)));
        let distro = list.distro;
        Ok(PackageList {
            system: distro.id.map(|family| System {
                family,
                release: known(distro.release),
                codename: known(distro.codename),
                ..System::default()
            }),
            packages: packages.collect(),
            scanner: list.descriptor,
        })
    }

    fn read_database(
        &self,
        file: &Path,
        _metadata: &[u8],
    ) -> Result<Box<dyn Advisories>, AnswerError> {
        let read = GrypeDatabase::read(file);
        let read = read.map_err(|error| AnswerError::Database(io::Error::other(error)))?;
        Ok(Box::new(read))
    }

    fn match_list(
        &self,
        cache: &Path,
        database: &[PathBuf],
        _kinds: &BTreeSet<FindingKind>,
        _unknown: Option<&System>,
    ) -> Result<Call, FileError> {
        let directory = cache.join(SCHEMA.to_string());
        provide(&directory, [DATABASE, IMPORT], database)?;
        Ok(call("sbom:{layout} --output json --file {report}", cache))
    }

    fn complaints(&self) -> &'static [&'static str] {
        &[
            "matcher returned error",
            "unable to rehydrate",
            "failed to apply package alias",
        ]
    }

    fn read_report(&self, report: &[u8]) -> Result<Vec<Match>, AnswerError> {
        let report: Report = strict::read(report)?;
        Ok(report.matches.into_iter().map(Match::from).collect())
    }
}

/// Why a file is no database that could be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It is neither a database nor an archive.
    #[error("{path} is neither a database of grype's nor an archive of one", path = .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why it is no archive.
        source: TarError,
    },
    /// It is a database of something else.
    #[error("{path} is no database of grype's", path = .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: AnswerError,
    },
    /// The archive has something else in it.
    #[error("the archive {path} has no {DATABASE}", path = .0.display())]
    NoDatabase(PathBuf),
}

/// The file of a database, which may be in an archive, by a name that grype takes for one, in the directory `scratch`.
pub(super) fn unpacked(database: &Path, scratch: &Path) -> Result<PathBuf, ImportError> {
    if io_failed("read", database, sqlite::is_database(database))? {
        let place = scratch.join(DATABASE);
        link(database, &place)?;
        return Ok(place);
    }
    let directory = scratch.join("unpacked");
    let no_archive = |source| ImportError::Archive {
        path: database.to_owned(),
        source,
    };
    let archive = open_archive_file(database).map_err(|error| no_archive(error.into()))?;
    unpack(archive, &directory, &mut LIMITS.clone(), |name| {
        file_path(name).map(drop)
    })
    .map_err(no_archive)?;
    let file = directory.join(DATABASE);
    if file.is_file() {
        Ok(file)
    } else {
        Err(ImportError::NoDatabase(database.to_owned()))
    }
}

/// The call that imports the database in `{layout}`, whose name must end with `.db`, into the directory `cache`.
pub(super) fn import(cache: &Path) -> Call {
    call("db import {layout}", cache)
}

/// Where an import leaves the database and what it says of it, in the directory `cache`.
pub(super) fn imported(cache: &Path) -> [PathBuf; 2] {
    [DATABASE, IMPORT].map(|name| cache.join(SCHEMA.to_string()).join(name))
}

/// Whether grype would import a database, which was `given`: whether it is of the form that it reads.
pub(super) fn is_importable(database: &Path, given: &Path) -> Result<bool, ImportError> {
    Ok(describe(database, given)?.schema == SCHEMA)
}

/// What a database, which was `given`, says of itself.
pub(super) fn describe(database: &Path, given: &Path) -> Result<Database, ImportError> {
    let read = GrypeDatabase::read(database);
    let read = read.map_err(|error| ImportError::Database {
        path: given.to_owned(),
        source: AnswerError::Database(io::Error::other(error)),
    })?;
    Ok(read.database)
}

/// Whether a file is a database of grype's, by a table that others have not.
pub(super) fn is_database(file: &Path) -> io::Result<bool> {
    let has_one = |connection| {
        Ok(has_table(&connection, METADATA)? || has_table(&connection, METADATA_BEFORE)?)
    };
    Ok(sqlite::is_database(file)? && open(file).and_then(has_one).unwrap_or(false))
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?)";
    connection.query_row(query, [name], |row| row.get(0))
}

/// A call of the words of a command, and of what all commands have.
fn call(command: &str, cache: &Path) -> Call {
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let directory = ("GRYPE_DB_CACHE_DIR".to_owned(), cache.display().to_string());
    Call {
        arguments: command.split(' ').map(str::to_owned).collect(),
        environment: settings.into_iter().chain([directory]).collect(),
    }
}

#[derive(Deserialize)]
struct SyftList {
    artifacts: Option<Vec<Artifact>>,
    distro: Distro,
    source: Source,
    descriptor: Scanner,
}

#[derive(Deserialize)]
struct Distro {
    id: Option<String>,
    #[serde(rename = "versionID")]
    release: Option<String>,
    #[serde(rename = "versionCodename")]
    codename: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    metadata: SourceMetadata,
}

#[derive(Deserialize)]
struct SourceMetadata {
    layers: Option<Vec<SourceLayer>>,
}

#[derive(Deserialize)]
struct SourceLayer {
    digest: String,
}

#[derive(Deserialize)]
struct Artifact {
    id: String,
    name: String,
    version: String,
    #[serde(rename = "type")]
    kind: String,
    locations: Option<Vec<Location>>,
    purl: Option<String>,
    metadata: Option<ArtifactMetadata>,
}

#[derive(Deserialize)]
struct ArtifactMetadata {
    /// Of a program of Go's, its own module.
    #[serde(rename = "mainModule")]
    main_module: Option<String>,
}

#[derive(Deserialize)]
struct Location {
    path: String,
    #[serde(rename = "layerID")]
    layer: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Artifact {
    fn package(self, layers: &[String]) -> Package {
        let of_system = OF_SYSTEM.contains(&self.kind.as_str());
        let purl = known(self.purl);
        let locations = self.locations.unwrap_or_default();
        let is_primary = |location: &&Location| location.annotation("evidence") == Some("primary");
        let primary = || locations.iter().filter(is_primary);
        let is_visible = |location: &&Location| location.annotation("visible") != Some("false");
        let seen = primary().find(is_visible).or(locations.first());
        // It came with the lowest layer that has it.
        let layer = primary().filter_map(|location| location.layer.as_ref());
        let layer = layer.min_by_key(|id| layers.iter().position(|layer| layer == *id));
        let main_module = self.metadata.and_then(|metadata| metadata.main_module);
        // A program's own that its build was not told, grype takes for none.
        let is_told =
            main_module.as_ref() != Some(&self.name) || !self.version.starts_with("v0.0.0-");
        Package {
            of_system,
            name: self.name,
            version: known(self.version).filter(|_| is_told),
            architecture: match &purl {
                Some(purl) if of_system => qualifier(purl, "arch"),
                _ => None,
            },
            path: match seen {
                Some(seen) if !of_system => known(seen.path.trim_start_matches('/').to_owned()),
                _ => None,
            },
            layer: known(layer.cloned()),
            kind: self.kind,
            purl,
        }
    }
}

impl Location {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

#[derive(Deserialize)]
struct Report {
    /// Who wrote it: without, it is something else.
    #[serde(rename = "descriptor")]
    _by: Descriptor,
    matches: Vec<ReportMatch>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Deserialize)]
struct ReportMatch {
    vulnerability: Vulnerability,
    #[serde(rename = "relatedVulnerabilities")]
    related: Option<Vec<Related>>,
    artifact: Reference,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    severity: Option<String>,
    description: Option<String>,
    fix: Option<Fix>,
}

#[derive(Deserialize)]
struct Fix {
    versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Related {
    id: String,
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

impl From<ReportMatch> for Match {
    fn from(found: ReportMatch) -> Self {
        let Vulnerability {
            id,
            severity,
            description,
            fix,
        } = found.vulnerability;
        let related = found.related.into_iter().flatten();
        let versions = fix.and_then(|fix| fix.versions).unwrap_or_default();
        Match {
            kind: FindingKind::Vulnerability,
            package: found.artifact.id,
            aliases: related
                .map(|related| related.id)
                .filter(|alias| *alias != id)
                .collect(),
            id,
            fixed: known(versions.join(", ")),
            severity: Severity::read(severity.as_deref()),
            title: title(description.as_deref()),
        }
    }
}

/// What a database is about.
struct GrypeDatabase {
    file: PathBuf,
    database: Database,
    has_any: bool,
    /// Whether there are advisories by the names of the NVD.
    has_cpes: bool,
    ecosystems: BTreeSet<String>,
    releases: Vec<Release>,
    overrides: Vec<Override>,
}

/// A release of a system that the database has advisories of.
#[derive(PartialEq)]
struct Release {
    /// Of which kind its packages are; of some, the database does not say.
    kind: Option<String>,
    name: Option<String>,
    id: Option<String>,
    major: Option<String>,
    minor: Option<String>,
    label: Option<String>,
    codename: Option<String>,
}

/// What the database takes a system for.
struct Override {
    alias: Option<String>,
    version: Option<String>,
    codename: Option<String>,
    name: Option<String>,
    major: Option<String>,
    minor: Option<String>,
    label: Option<String>,
    is_rolling: bool,
}

impl GrypeDatabase {
    fn read(file: &Path) -> rusqlite::Result<Self> {
        let connection = open(file)?;
        let table = |name| has_table(&connection, name);
        // Older ones tell their form elsewhere.
        let query = if table(METADATA)? {
            "SELECT model, build_timestamp FROM db_metadata"
        } else {
            "SELECT schema_version, build_timestamp FROM id"
        };
        let (schema, built): (u32, String) =
            connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let built = built.parse::<DateTime<FixedOffset>>().ok();
        let mut read = GrypeDatabase {
            file: file.to_owned(),
            database: Database {
                schema: schema.into(),
                built: built.map(|built| built.to_utc()).filter(is_real),
                newest: None,
            },
            has_any: false,
            has_cpes: false,
            ecosystems: BTreeSet::new(),
            releases: Vec::new(),
            overrides: Vec::new(),
        };
        // Before it is imported it may lack tables that have nothing to say.
        if read.database.schema == SCHEMA && table("affected_cpe_handles")? {
            read.read_tables(&connection)?;
        }
        Ok(read)
    }

    fn read_tables(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let any = |table: &str| -> rusqlite::Result<bool> {
            let query = format!("SELECT EXISTS (SELECT 1 FROM {table})");
            connection.query_row(&query, [], |row| row.get(0))
        };
        self.has_cpes = any("affected_cpe_handles")?;
        self.has_any = self.has_cpes || any("affected_package_handles")?;
        // By the index, and not by all packages.
        let ecosystems = "
            WITH RECURSIVE found(kind) AS (
                SELECT min(ecosystem COLLATE NOCASE) FROM packages
                UNION
                SELECT (SELECT min(ecosystem COLLATE NOCASE) FROM packages WHERE ecosystem > kind COLLATE NOCASE)
                FROM found WHERE kind IS NOT NULL
            )
            SELECT lower(kind) FROM found WHERE kind IS NOT NULL";
        self.ecosystems = all(connection, ecosystems, |row| row.get(0))?
            .into_iter()
            .collect();
        let releases = "
            SELECT name, release_id, major_version, minor_version, label_version, codename, (
                SELECT lower(ifnull(ecosystem, '')) FROM affected_package_handles JOIN packages ON packages.id = package_id
                WHERE operating_system_id = operating_systems.id LIMIT 1
            ) AS kind
            FROM operating_systems WHERE ifnull(channel, '') = '' AND kind IS NOT NULL";
        self.releases = all(connection, releases, |row| {
            Ok(Release {
                name: text(row, 0)?,
                id: text(row, 1)?,
                major: text(row, 2)?,
                minor: text(row, 3)?,
                label: text(row, 4)?,
                codename: text(row, 5)?,
                kind: text(row, 6)?,
            })
        })?;
        // Those by a pattern are for what is not yet released, and those for some forms of databases for older
        // versions of grype.
        let overrides = "
            SELECT alias, version, codename, replacement, replacement_major_version, replacement_minor_version,
                replacement_label_version, rolling
            FROM operating_system_specifier_overrides
            WHERE ifnull(version_pattern, '') = '' AND ifnull(applicable_client_db_schemas, '') = ''
            ORDER BY rowid";
        self.overrides = all(connection, overrides, |row| {
            Ok(Override {
                alias: text(row, 0)?,
                version: text(row, 1)?,
                codename: text(row, 2)?,
                name: row.get(3)?,
                major: row.get(4)?,
                minor: row.get(5)?,
                label: row.get(6)?,
                is_rolling: row.get::<_, Option<bool>>(7)?.unwrap_or(false),
            })
        })?;
        Ok(())
    }

    /// The releases whose advisories are a system's: grype's own choice, but never that of another release of the system,
    /// which it falls back on.
    fn releases_of(&self, system: &System) -> Vec<&Release> {
        // It knows an ID as os-release(5) spells it alone: of any other it finds nothing.
        if system.family.contains(|c: char| c.is_ascii_uppercase()) {
            return Vec::new();
        }
        let is =
            |one: Option<&str>, other: &str| one.is_some_and(|one| one.eq_ignore_ascii_case(other));
        let mut name = system.family.as_str();
        // As grype parts a release: all else is no number to it.
        let release = system.release.as_deref();
        let mut numbers = release.into_iter().flat_map(|release| release.split('.'));
        let mut number = || {
            let number = numbers.next().filter(|number| !number.is_empty())?;
            let trimmed = number.trim_start_matches('0');
            Some(if trimmed.is_empty() { "0" } else { trimmed })
        };
        let (mut major, mut minor) = (number(), number());
        let mut label = system.codename.as_deref();
        let is_for = |other: &&Override| {
            is(other.alias.as_deref(), name)
                && (other.codename.is_none() || other.codename.as_deref() == label)
                && (other.version.is_none() || other.version.as_deref() == release)
        };
        let mut is_rolling = false;
        if let Some(other) = self.overrides.iter().find(is_for) {
            is_rolling = other.is_rolling;
            name = other.name.as_deref().unwrap_or(name);
            major = replaced(major, other.major.as_deref());
            minor = replaced(minor, other.minor.as_deref());
            label = replaced(label, other.label.as_deref());
        }
        let releases = self.releases.iter().filter(|release| {
            let named = [&release.name, &release.id];
            let labelled = [&release.label, &release.codename];
            let is_labelled = |label| labelled.iter().any(|found| is(found.as_deref(), label));
            named.iter().any(|found| is(found.as_deref(), name)) && label.is_none_or(is_labelled)
        });
        let releases: Vec<&Release> = releases.collect();
        let exactly = |minor: Option<&str>| -> Vec<&Release> {
            let found = releases.iter().copied();
            let is_it = |release: &&Release| {
                release.major.as_deref() == major && release.minor.as_deref() == minor
            };
            found.filter(is_it).collect()
        };
        if is_rolling || release.is_none() {
            return releases.clone();
        }
        let found = exactly(minor);
        if found.is_empty() {
            // Of some systems there are advisories of the first number alone.
            exactly(None)
        } else {
            found
        }
    }
}

impl Advisories for GrypeDatabase {
    fn database(&self) -> &Database {
        &self.database
    }

    fn expected_schema(&self) -> u64 {
        SCHEMA
    }

    fn has_any(&self) -> bool {
        self.has_any
    }

    fn covers_system(&self, system: &System, _said: Option<&System>) -> bool {
        !self.releases_of(system).is_empty()
    }

    fn is_kind_of(&self, kind: &str, system: &System) -> bool {
        let releases = self.releases_of(system);
        let is_kind = |of: &String| of == kind;
        let mut releases = releases.iter();
        releases.any(|release| release.kind.as_ref().is_none_or(is_kind))
    }

    fn covers_language(&self, kind: &str) -> bool {
        let ecosystem = match kind {
            "jenkins-plugin" => "java-archive",
            kind => kind,
        };
        self.ecosystems.contains(ecosystem) || (self.has_cpes && !BY_NAME.contains(&kind))
    }

    fn versions(&self, kind: &str) -> Versions {
        match kind {
            "bitnami" => Versions::like_semantic(),
            "gem" => Versions::ruby_on_platform(),
            "go-module" => Versions::go(),
            "java-archive" | "jenkins-plugin" => Versions::any(),
            "python" => Versions::python(),
            _ => Versions::numbered(),
        }
    }

    fn names(&self, kind: &str) -> io::Result<BTreeSet<String>> {
        let query = "SELECT lower(ecosystem), name FROM packages";
        let names = open(&self.file).and_then(|connection| {
            all(&connection, query, |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
        });
        let names = names.map_err(io::Error::other)?.into_iter();
        let of_kind = names.filter(|(ecosystem, _)| ecosystem == kind);
        Ok(of_kind.map(|(_, name)| self.spelled(kind, &name)).collect())
    }

    fn spelled(&self, kind: &str, name: &str) -> String {
        let name = name.to_lowercase();
        match kind {
            "python" => name.replace(['_', '.'], "-"),
            _ => name,
        }
    }

    fn is_same_system(&self, one: Option<&System>, other: Option<&System>) -> bool {
        let (Some(one), Some(other)) = (one, other) else {
            return one == other;
        };
        let releases = self.releases_of(one);
        one == other || (!releases.is_empty() && releases == self.releases_of(other))
    }
}

/// What a number or a label of a system is where the database may have another one for it, or an empty one for none.
fn replaced<'a>(own: Option<&'a str>, new: Option<&'a str>) -> Option<&'a str> {
    match new {
        Some("") => None,
        Some(new) => Some(new),
        None => own,
    }
}

/// What a column has that may as well be empty.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    row.get::<_, Option<String>>(column).map(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE_UP: &str = "v0.0.0-20260101000000-0123456789ab";

    #[test]
    fn a_program_whose_build_was_told_no_version_has_none() {
        let artifact = |id, name, version| {
            json!({
                "id": id, "name": name, "version": version, "type": "go-module",
                "metadata": {"mainModule": "a"},
            })
        };
        let list = json!({
            "artifacts": [
                artifact("1", "a", MADE_UP),
                artifact("2", "b", MADE_UP),
                artifact("3", "a", "v1.2.3"),
            ],
            "distro": {}, "source": {"metadata": {}}, "descriptor": {"name": "syft", "version": "1"},
        });
        let list = Grype.read_list(list.to_string().as_bytes()).unwrap();
        let versions = list.packages.values();
        let versions: Vec<_> = versions.map(|package| package.version.as_deref()).collect();
        assert_eq!(versions, [None, Some(MADE_UP), Some("v1.2.3")]);
    }
}
