//! Trivy: how it is run, and how its answers are read.
//!
//! It looks in two steps: `trivy image` lists an image's packages, for which it needs no database of advisories, and
//! `trivy sbom` matches that list with one, so a new database reads no layer again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::{FileError, io_failed, symlink_file};
use crate::json::to_json;
use crate::oci::strict;

use super::bolt::Buckets;
use super::findings::{
    Database, Finding, Findings, Inventory, Origin, Package, SCHEMA, Scanner, Severity, System,
    Trouble, is_real,
};
use super::traces::JAVA_ARCHIVES;

/// What keeps it from the network and from asking for updates, and what it otherwise says of its progress.
const OFFLINE: [&str; 8] = [
    "--offline-scan",
    "--skip-db-update",
    "--skip-java-db-update",
    "--skip-version-check",
    "--disable-telemetry",
    "--skip-vex-repo-update",
    "--no-progress",
    "--quiet",
];
/// The form of databases that it reads.
const DATABASE_SCHEMA: u64 = 2;

/// Why an answer of Trivy's cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrivyError {
    /// It is no JSON of what was asked for.
    #[error("what Trivy wrote cannot be read")]
    Json(#[from] serde_json::Error),
    /// It speaks of a package that was not in the list.
    #[error(
        "Trivy found something in the package {0:?}, which is not in the list that it was given"
    )]
    UnknownPackage(String),
    /// The database cannot be read.
    #[error("Trivy's database cannot be read")]
    Database(#[source] io::Error),
    /// The database's description cannot be read.
    #[error("the metadata.json of Trivy's database cannot be read")]
    Metadata(#[source] serde_json::Error),
}

/// The arguments that have it list the packages of the image in `{layout}`, in `{report}`, with an empty directory for
/// its cache.
pub fn inventory_arguments(cache: &str, has_java_database: bool) -> Vec<String> {
    let mut arguments = arguments(
        "image --input {layout} --format cyclonedx --skip-check-update",
        cache,
    );
    if !has_java_database {
        for ending in JAVA_ARCHIVES {
            // Trivy knows them in any case, and takes a pattern as it is.
            let both = ending.chars().map(|c| match c {
                '.' => ".".to_owned(),
                c => format!("[{c}{}]", c.to_ascii_uppercase()),
            });
            let pattern = format!("**/*{}", both.collect::<String>());
            arguments.extend(["--skip-files".to_owned(), pattern]);
        }
    }
    arguments
}

/// The arguments that have it match the list in `{layout}` with the database in `cache`, into `{report}`.
pub fn match_arguments(cache: &str) -> Vec<String> {
    arguments(
        "sbom {layout} --format json --list-all-pkgs --scanners vuln",
        cache,
    )
}

/// The words of a command, and what all commands have.
fn arguments(command: &str, cache: &str) -> Vec<String> {
    let words = command.split(' ').chain(OFFLINE);
    let words = words.chain([
        "--cache-backend",
        "memory",
        "--output",
        "{report}",
        "--cache-dir",
        cache,
    ]);
    words.map(str::to_owned).collect()
}

/// What a database of Trivy's is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// Advisories.
    Advisories,
    /// Java archives, by their digests.
    Java,
}

/// Makes the directory of a cache in which Trivy finds a database and its `metadata.json`; an empty one where these are
/// not given.
pub fn make_cache(cache: &Path, kind: DatabaseKind, files: &[PathBuf]) -> Result<(), FileError> {
    let (directory, name) = match kind {
        DatabaseKind::Advisories => ("db", "trivy.db"),
        DatabaseKind::Java => ("java-db", "trivy-java.db"),
    };
    let directory = cache.join(directory);
    io_failed("make", &directory, fs::create_dir_all(&directory))?;
    for (file, name) in files.iter().zip([name, "metadata.json"]) {
        let link = directory.join(name);
        let linked = std::path::absolute(file).and_then(|file| symlink_file(&file, &link));
        io_failed("provide", file, linked)?;
    }
    Ok(())
}

/// The packages in a list, its system, and who made it.
pub struct Listed {
    /// The system, if it has one.
    pub system: Option<System>,
    /// The packages by the references that a report on the list has.
    pub packages: BTreeMap<String, Package>,
    /// Trivy, in its version.
    pub scanner: Scanner,
}

#[derive(Deserialize)]
struct Bom {
    metadata: BomMetadata,
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct BomMetadata {
    tools: BomTools,
}

#[derive(Deserialize)]
struct BomTools {
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "bom-ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    group: Option<String>,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    properties: Option<Vec<Property>>,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    value: String,
}

impl Component {
    fn property(&self, name: &str) -> Option<&str> {
        let properties = self.properties.iter().flatten();
        let mut named = properties
            .filter(|property| property.name.strip_prefix("aquasecurity:trivy:") == Some(name));
        named.next().map(|property| property.value.as_str())
    }

    fn full_name(&self) -> String {
        match self.group.as_deref() {
            Some(group) if !group.is_empty() => {
                let purl = self.purl.as_deref().unwrap_or_default();
                let separator = if purl.starts_with("pkg:maven/") {
                    ':'
                } else {
                    '/'
                };
                format!("{group}{separator}{}", self.name)
            }
            _ => self.name.clone(),
        }
    }
}

/// Reads a list that Trivy wrote.
pub fn read_list(cyclonedx: &[u8]) -> Result<Listed, TrivyError> {
    let bom: Bom = strict::read(cyclonedx)?;
    let components = bom.components.unwrap_or_default();
    let system = components
        .iter()
        .find(|component| component.kind == "operating-system");
    let system = system.map(|component| System {
        family: component.name.clone(),
        release: component.version.clone().unwrap_or_default(),
    });
    let family = system.as_ref().map(|system| system.family.clone());
    // What it calls a system that it does not know.
    let system = system.filter(|system| system.family != "none");
    let mut packages = BTreeMap::new();
    for component in &components {
        let (Some(reference), Some(kind)) = (&component.reference, component.property("PkgType"))
        else {
            continue;
        };
        // It calls packages of a system by the system.
        let of_system = Some(kind) == family.as_deref();
        let purl = component.purl.clone().unwrap_or_default();
        let package = Package {
            kind: kind.to_owned(),
            of_system,
            name: component.full_name(),
            version: component.version.clone().unwrap_or_default(),
            architecture: if of_system {
                qualifier(&purl, "arch")
            } else {
                String::new()
            },
            path: component
                .property("FilePath")
                .unwrap_or_default()
                .to_owned(),
            purl,
            layer: component
                .property("LayerDiffID")
                .unwrap_or_default()
                .to_owned(),
        };
        packages.insert(reference.clone(), package);
    }
    let tool = bom.metadata.tools.components.into_iter().next();
    Ok(Listed {
        system,
        packages,
        scanner: Scanner {
            name: "trivy".to_owned(),
            version: tool.and_then(|tool| tool.version).unwrap_or_default(),
        },
    })
}

fn qualifier(purl: &str, name: &str) -> String {
    let (_, qualifiers) = purl.split_once('?').unwrap_or_default();
    let qualifiers = qualifiers.split(['&', '#']);
    let mut values = qualifiers.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap_or_default().to_owned()
}

/// The list without what differs from run to run: the time, random identifiers, and the order that follows these.
pub fn normalized(cyclonedx: &[u8]) -> Result<Vec<u8>, TrivyError> {
    let mut bom: Map<String, Value> = strict::read(cyclonedx)?;
    bom.remove("serialNumber");
    let mut names = BTreeMap::new();
    if let Some(Value::Object(metadata)) = bom.get_mut("metadata") {
        metadata.remove("timestamp");
        if let Some(Value::Object(component)) = metadata.get_mut("component") {
            // The path by which it was scanned.
            component.insert("name".to_owned(), "image".into());
            rename(component, &mut names);
        }
    }
    if let Some(Value::Array(components)) = bom.get_mut("components") {
        components.sort_by_cached_key(|component| {
            let mut component = component.clone();
            if let Value::Object(component) = &mut component {
                component.remove("bom-ref");
            }
            component.to_string()
        });
        for component in components {
            if let Value::Object(component) = component {
                rename(component, &mut names);
            }
        }
    }
    if let Some(Value::Array(dependencies)) = bom.get_mut("dependencies") {
        for dependency in dependencies.iter_mut() {
            if let Some(reference) = dependency.get_mut("ref") {
                respell(reference, &names);
            }
            if let Some(Value::Array(others)) = dependency.get_mut("dependsOn") {
                for other in others.iter_mut() {
                    respell(other, &names);
                }
                others.sort_by_cached_key(Value::to_string);
            }
        }
        dependencies.sort_by_cached_key(Value::to_string);
    }
    Ok(to_json(&bom))
}

/// Gives a component a reference that its place tells.
fn rename(component: &mut Map<String, Value>, names: &mut BTreeMap<String, String>) {
    let name = format!("component-{}", names.len());
    if let Some(Value::String(old)) = component.insert("bom-ref".to_owned(), name.clone().into()) {
        names.insert(old, name);
    }
}

fn respell(reference: &mut Value, names: &BTreeMap<String, String>) {
    let new = reference.as_str().and_then(|old| names.get(old));
    if let Some(new) = new.cloned() {
        *reference = new.into();
    }
}

/// A database, and what it is about.
#[derive(Debug)]
pub struct TrivyDatabase {
    /// What it says of itself.
    pub database: Database,
    buckets: Buckets,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    version: u64,
    updated_at: Option<DateTime<Utc>>,
}

impl TrivyDatabase {
    /// Reads what a `trivy.db` and its `metadata.json` say.
    pub fn read(database: &Path, metadata: &[u8]) -> Result<Self, TrivyError> {
        let metadata: Metadata = strict::read(metadata).map_err(TrivyError::Metadata)?;
        let built = metadata.updated_at.filter(is_real);
        Ok(TrivyDatabase {
            database: Database {
                schema: metadata.version,
                built,
            },
            buckets: Buckets::read(database).map_err(TrivyError::Database)?,
        })
    }

    /// Whether Trivy would read it.
    pub fn is_readable(&self) -> bool {
        self.database.schema == DATABASE_SCHEMA
    }

    /// What it lacks to say something about an image.
    pub fn troubles(&self, inventory: &Inventory) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if !self.is_readable() {
            troubles.push(Trouble::DatabaseSchema {
                found: self.database.schema,
                expected: DATABASE_SCHEMA,
            });
        }
        if self.database.built.is_none() {
            troubles.push(Trouble::DatabaseWithoutDate);
        }
        if !self.buckets.has("vulnerability") {
            troubles.push(Trouble::EmptyDatabase);
        }
        if let Some(system) = &inventory.system
            && inventory.packages.iter().any(|package| package.of_system)
            && !self.covers_system(system)
        {
            troubles.push(Trouble::SystemNotCovered {
                system: system.to_string(),
            });
        }
        for kind in inventory.language_kinds() {
            if !self.covers_language(kind) {
                troubles.push(Trouble::LanguageNotCovered {
                    kind: kind.to_owned(),
                });
            }
        }
        troubles
    }

    /// Whether there are advisories of a system.
    fn covers_system(&self, system: &System) -> bool {
        buckets_of(system)
            .iter()
            .any(|bucket| self.buckets.has(bucket))
    }

    /// Whether there are advisories of the packages of a language.
    fn covers_language(&self, kind: &str) -> bool {
        let ecosystem = match kind {
            "python-pkg" | "pip" | "pipenv" | "poetry" | "uv" => "pip",
            "node-pkg" | "npm" | "yarn" | "pnpm" | "bun" => "npm",
            "gobinary" | "gomod" => "go",
            "gemspec" | "bundler" => "rubygems",
            "composer" | "composer-vendor" => "composer",
            "rustbinary" | "cargo" => "cargo",
            "jar" | "pom" | "gradle" | "sbt" => "maven",
            "dotnet-core" | "nuget" | "packages-props" => "nuget",
            "conan" => "conan",
            "hex" => "erlang",
            "pub" => "pub",
            "swift" | "cocoapods" => "swift",
            "julia" => "julia",
            other => other,
        };
        self.buckets.has_any(&format!("{ecosystem}::"))
    }
}

/// What the buckets of a system's advisories may be called: by its release, as the database counts releases.
fn buckets_of(system: &System) -> Vec<String> {
    let release = system.release.as_str();
    let major = release.split('.').next().unwrap_or_default();
    let two = release.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    match system.family.as_str() {
        "redhat" | "centos" => vec![
            format!("Red Hat Enterprise Linux {major}"),
            "Red Hat CPE".to_owned(),
        ],
        "oracle" => vec![format!("Oracle Linux {major}")],
        family @ ("alma" | "rocky" | "debian") => vec![format!("{family} {major}")],
        family @ ("alpine" | "ubuntu") => vec![format!("{family} {two}")],
        "amazon" => {
            let first = release.split([' ', '.']).next().unwrap_or_default();
            vec![format!("amazon linux {first}")]
        }
        "photon" => vec![format!("Photon OS {release}")],
        "azurelinux" => vec![format!("Azure Linux {two}")],
        "cbl-mariner" => vec![format!("CBL-Mariner {two}")],
        "opensuse" | "opensuse-leap" => vec![format!("openSUSE Leap {release}")],
        "opensuse-tumbleweed" => vec!["openSUSE Tumbleweed".to_owned()],
        "slem" => vec![format!("SUSE Linux Enterprise Micro {release}")],
        "sles" => vec![format!("SUSE Linux Enterprise {release}")],
        // They have no releases.
        family => vec![family.to_owned()],
    }
}

/// Whether the database takes two systems for one.
fn is_same_system(one: Option<&System>, other: Option<&System>) -> bool {
    let name = |system: &System| {
        // os-release(5) has other names than Trivy, and nothing of longer support.
        let family = match system.family.as_str() {
            "rhel" => "redhat",
            "ol" => "oracle",
            "almalinux" => "alma",
            "amzn" => "amazon",
            "mariner" => "cbl-mariner",
            "sle-micro" | "sl-micro" => "slem",
            family => family,
        };
        let release = system.release.trim_end_matches("-ESM");
        buckets_of(&System {
            family: family.to_owned(),
            release: release.to_owned(),
        })
    };
    one.map(name) == other.map(name)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    results: Option<Vec<ReportResult>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReportResult {
    vulnerabilities: Option<Vec<Vulnerability>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(rename = "VendorIDs")]
    vendor_ids: Option<Vec<String>>,
    fixed_version: Option<String>,
    pkg_identifier: Identifier,
    title: Option<String>,
    severity: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(rename = "BOMRef")]
    reference: String,
}

/// Reads what Trivy found against the packages of a list; no report is there where it was not asked. What the base has,
/// too, is the base's.
pub fn findings(
    report: Option<&[u8]>,
    list: &Listed,
    inventory: &Inventory,
    base: Option<&Inventory>,
    database: &TrivyDatabase,
) -> Result<Findings, TrivyError> {
    let mut findings = Vec::new();
    let report: Option<Report> = report.map(strict::read).transpose()?;
    let results = report.and_then(|report| report.results);
    let vulnerabilities = results
        .into_iter()
        .flatten()
        .filter_map(|result| result.vulnerabilities);
    let of_base: BTreeSet<_> = base
        .iter()
        .flat_map(|base| &base.packages)
        .map(Package::identity)
        .collect();
    for found in vulnerabilities.flatten() {
        let reference = found.pkg_identifier.reference;
        let package = list.packages.get(&reference).cloned();
        let package = package.ok_or(TrivyError::UnknownPackage(reference))?;
        let is_of_base = of_base.contains(&package.identity());
        findings.push(Finding {
            origin: if is_of_base {
                Origin::Base
            } else {
                Origin::Local
            },
            id: found.id,
            aliases: BTreeSet::from_iter(found.vendor_ids.unwrap_or_default()),
            package,
            fixed: found.fixed_version.unwrap_or_default(),
            severity: found
                .severity
                .and_then(|word| word.parse().ok())
                .unwrap_or(Severity::Unknown),
            title: found.title.unwrap_or_default(),
        });
    }
    findings.sort();
    findings.dedup();
    let mut troubles = database.troubles(inventory);
    troubles.extend(inventory.troubles(base, is_same_system));
    troubles.sort();
    Ok(Findings {
        schema: SCHEMA,
        scanner: inventory.scanner.clone(),
        database: database.database.clone(),
        image: inventory.image.clone(),
        looked_at: inventory.looked_at(),
        troubles,
        findings,
    })
}
