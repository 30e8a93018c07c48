//! Its databases, and what they are about.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::oci::strict;
use crate::oci::time::Time;
use crate::scan::inventory::{Database, Package, System};
use crate::scan::preset::{Advisories, AnswerError};
use crate::scan::sqlite::open;
use crate::scan::versions::Versions;

use super::bolt::Buckets;

/// The form of databases of advisories that it reads.
const DATABASE_SCHEMA: u64 = 2;
/// Where a database has Red Hat's repositories and builds.
const RED_HAT: [[&str; 2]; 2] = [["Red Hat CPE", "repository"], ["Red Hat CPE", "nvr"]];

/// A database, and what it is about.
#[derive(Debug)]
pub(super) struct TrivyDatabase {
    file: PathBuf,
    database: Database,
    buckets: Buckets,
    /// Red Hat's repositories and builds.
    sources: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    version: u64,
    updated_at: Option<Time>,
}

pub(super) fn read_metadata(metadata: &[u8]) -> Result<Database, AnswerError> {
    let metadata: Metadata = strict::read(metadata).map_err(AnswerError::Metadata)?;
    Ok(Database {
        schema: metadata.version,
        built: metadata.updated_at.and_then(Time::real),
        newest: None,
    })
}

/// Whether a database of Java archives has any.
pub(super) fn has_archives(file: &Path) -> rusqlite::Result<bool> {
    let any = "SELECT EXISTS (SELECT 1 FROM indices)";
    open(file)?.query_row(any, [], |row| row.get(0))
}

impl TrivyDatabase {
    /// Reads what a `trivy.db` and its `metadata.json` say.
    pub(super) fn read(database: &Path, metadata: &[u8]) -> Result<Self, AnswerError> {
        let mut sources = BTreeSet::new();
        for names in RED_HAT {
            sources.extend(Buckets::keys_in(database, &names).map_err(AnswerError::Database)?);
        }
        Ok(TrivyDatabase {
            file: database.to_owned(),
            database: read_metadata(metadata)?,
            buckets: Buckets::read(database).map_err(AnswerError::Database)?,
            sources,
        })
    }

    /// The buckets with advisories of an ecosystem, one for each who tells of them.
    fn of_ecosystem(&self, ecosystem: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{ecosystem}::");
        let all = self.buckets.names();
        all.filter(move |name| name.starts_with(&prefix))
    }
}

/// What a database calls the ecosystem that packages of a kind are of.
fn ecosystem(kind: &str) -> &str {
    match kind {
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
    }
}

impl Advisories for TrivyDatabase {
    fn database(&self) -> &Database {
        &self.database
    }

    fn expected_schema(&self) -> u64 {
        DATABASE_SCHEMA
    }

    fn has_any(&self) -> bool {
        self.buckets.has("vulnerability")
    }

    fn covers_system(&self, system: &System, _said: Option<&System>) -> bool {
        if matches!(&*system.family, "redhat" | "centos") {
            let has = |source: &str| self.sources.contains(source);
            // It ends with an error at a package of which it knows no source.
            let is_known = |sources: &BTreeSet<String>| {
                if sources.is_empty() {
                    repository_of(system).is_some_and(has)
                } else {
                    sources.iter().any(|source| has(source))
                }
            };
            let none = BTreeSet::new();
            let sources = system.sources.is_empty().then_some(&none);
            return system.sources.iter().chain(sources).all(is_known);
        }
        buckets_of(system)
            .iter()
            .any(|bucket| self.buckets.has(bucket))
    }

    fn covers_language(&self, kind: &str) -> bool {
        self.of_ecosystem(ecosystem(kind)).next().is_some()
    }

    fn versions(&self, kind: &str) -> Versions {
        match ecosystem(kind) {
            "maven" => Versions::any(),
            "bitnami" | "npm" => Versions::semantic(),
            "pip" => Versions::python(),
            "rubygems" => Versions::ruby(),
            _ => Versions::like_semantic(),
        }
    }

    fn versions_of_system(&self, kind: &str, url_type: &str) -> Versions {
        // It reads those of this system as dpkg's.
        Versions::of_system(if kind == "amazon" { "deb" } else { url_type })
    }

    fn leaves_out(&self, package: &Package) -> bool {
        let version = package.version.as_deref().unwrap_or_default();
        // AlmaLinux has built some that do not say of which module they are.
        let is_unlabelled = package.kind == "alma"
            && version.contains(".module_el")
            && !package
                .purl
                .as_deref()
                .unwrap_or_default()
                .contains("modularitylabel=");
        let supplier = supplier(package).map(|supplier| format!("{supplier} "));
        let has = |supplier: &String| self.buckets.names().any(|name| name.starts_with(supplier));
        is_unlabelled || supplier.is_some_and(|supplier| !has(&supplier))
    }

    fn names(&self, kind: &str) -> io::Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for bucket in self.of_ecosystem(ecosystem(kind)) {
            let names = Buckets::keys_in(&self.file, &[bucket])?;
            all.extend(names.iter().map(|name| self.spelled(kind, name)));
        }
        Ok(all)
    }

    /// It makes more of case for some ecosystems, in which no two packages differ in that alone.
    fn spelled(&self, kind: &str, name: &str) -> String {
        let name = name.to_lowercase();
        match ecosystem(kind) {
            "pip" => name.replace('_', "-"),
            _ => name,
        }
    }

    fn is_same_system(&self, one: Option<&System>, other: Option<&System>) -> bool {
        one.map(buckets_as_said) == other.map(buckets_as_said)
    }
}

/// Who has mended a package, by its name or the end of its version, and is then asked instead of all others.
fn supplier(package: &Package) -> Option<&'static str> {
    let version = package.version.as_deref().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let behind = |mark: &str| version.rsplit_once(mark).map(|(_, rest)| rest);
    let is_of_seal = |rest: &str| match rest.split_once('p') {
        Some((number, patch)) => is_number(number) && is_number(patch),
        None => is_number(rest),
    };
    let is_of_echo = |rest: &str| rest.split(['.', '_', '-']).next().is_some_and(is_number);
    if package.of_system {
        package.name.starts_with("seal-").then_some("seal")
    } else if behind("+sp").is_some_and(is_of_seal) {
        Some("seal")
    } else {
        behind("+echo.").is_some_and(is_of_echo).then_some("echo")
    }
}

/// The repository by which Trivy looks up the packages of a release of Red Hat's that do not say where they are from. It has
/// none for others, and ends with an error there, as where the database does not have it.
fn repository_of(system: &System) -> Option<&'static str> {
    match system.release.as_ref()?.split('.').next()? {
        "6" => Some("rhel-6-server-rpms"),
        "7" => Some("rhel-7-server-rpms"),
        "8" => Some("rhel-8-for-x86_64-baseos-rpms"),
        "9" => Some("rhel-9-for-x86_64-baseos-rpms"),
        _ => None,
    }
}

/// What the buckets of a system's advisories may be called: by its release, as the database counts releases.
fn buckets_of(system: &System) -> Vec<String> {
    let release = system.release.as_deref().unwrap_or_default();
    let major = release.split('.').next().unwrap_or_default();
    let two = release.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    match system.family.as_str() {
        "redhat" | "centos" => vec![format!("Red Hat Enterprise Linux {major}")],
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

/// The same of a system as os-release(5) names it, which has other names than Trivy, and nothing of longer support.
fn buckets_as_said(system: &System) -> Vec<String> {
    let family = match system.family.as_str() {
        "rhel" => "redhat",
        "ol" => "oracle",
        "almalinux" => "alma",
        "amzn" => "amazon",
        "mariner" => "cbl-mariner",
        "sle-micro" | "sl-micro" => "slem",
        family => family,
    };
    let release = system.release.as_deref();
    buckets_of(&System {
        family: family.to_owned(),
        release: release.map(|release| release.trim_end_matches("-ESM").to_owned()),
        ..System::default()
    })
}
