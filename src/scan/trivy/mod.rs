//! Trivy: how it is run, and how its answers are read.
//!
//! It looks in two steps: `trivy image` lists an image's packages, for which it needs no database of advisories, and
//! `trivy sbom` matches that list with one, so a new database reads no layer again.

mod bolt;
mod database;
mod list;
mod report;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{FileError, read_at_most};

use super::evidence::ends_with_any;
use super::findings::{Finding, FindingKind};
use super::inventory::{JavaArchives, NoJavaDatabase, System};
use super::preset::{Advisories, AnswerError, Call, Match, PackageList, Preset, provide};

use database::{TrivyDatabase, has_archives, read_metadata};
use list::{normalized, read_list};
use report::{read_look, read_report};

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
/// The endings of the Java archives that it looks into, in any case.
const JAVA_ARCHIVES: [&str; 4] = [".jar", ".war", ".ear", ".par"];
/// The form of databases of Java archives that it reads.
const JAVA_DATABASE_SCHEMA: u64 = 1;

/// The most bytes that what a database says of itself may have.
const MAX_METADATA: u64 = 1 << 20;

/// Trivy.
pub(super) struct Trivy;

impl Preset for Trivy {
    fn can_find(&self, kind: FindingKind) -> bool {
        kind != FindingKind::Malware
    }

    fn java_archives(&self, database: &[PathBuf]) -> Result<JavaArchives, AnswerError> {
        let [file, metadata] = database else {
            return Ok(JavaArchives::Nothing(NoJavaDatabase::Missing));
        };
        let metadata = read_at_most(metadata, MAX_METADATA).map_err(AnswerError::Database)?;
        let database = read_metadata(&metadata)?;
        Ok(if database.schema != JAVA_DATABASE_SCHEMA {
            JavaArchives::Nothing(NoJavaDatabase::Schema {
                found: database.schema,
                expected: JAVA_DATABASE_SCHEMA,
            })
        } else if has_archives(file)
            .map_err(|error| AnswerError::Database(io::Error::other(error)))?
        {
            JavaArchives::Database(database)
        } else {
            JavaArchives::Nothing(NoJavaDatabase::Empty)
        })
    }

    fn looks_into(&self, path: &str) -> bool {
        ends_with_any(path, &JAVA_ARCHIVES)
    }

    fn list(&self, cache: &Path, java_database: &[PathBuf]) -> Result<Call, FileError> {
        let names = ["trivy-java.db", "metadata.json"];
        provide(&cache.join("java-db"), names, java_database)?;
        let mut call = call(
            "image --input {layout} --format cyclonedx --skip-check-update",
            cache,
        );
        if java_database.is_empty() {
            skip_java_archives(&mut call);
        }
        Ok(call)
    }

    fn normalized(&self, list: &[u8]) -> Result<Vec<u8>, AnswerError> {
        normalized(list)
    }

    fn read_list(&self, list: &[u8]) -> Result<PackageList, AnswerError> {
        read_list(list)
    }

    fn read_database(
        &self,
        file: &Path,
        metadata: &[u8],
    ) -> Result<Box<dyn Advisories>, AnswerError> {
        Ok(Box::new(TrivyDatabase::read(file, metadata)?))
    }

    fn look(&self, cache: &Path, kinds: &BTreeSet<FindingKind>) -> Option<Call> {
        let kinds = scanners(kinds);
        // The checks are those that it has in itself.
        let command = format!(
            "image --input {{layout}} --format json --skip-check-update --scanners {kinds} --image-config-scanners {kinds}"
        );
        let mut call = call(&command, cache);
        skip_java_archives(&mut call);
        Some(call)
    }

    fn read_look(&self, report: &[u8]) -> Result<BTreeSet<Finding>, AnswerError> {
        read_look(report)
    }

    fn match_list(
        &self,
        cache: &Path,
        database: &[PathBuf],
        kinds: &BTreeSet<FindingKind>,
        unknown: Option<&System>,
    ) -> Result<Call, FileError> {
        provide(&cache.join("db"), ["trivy.db", "metadata.json"], database)?;
        let mut scanned = kinds.clone();
        scanned.insert(FindingKind::Vulnerability);
        let scanners = scanners(&scanned);
        let mut call = call(
            &format!("sbom {{layout}} --format json --scanners {scanners}"),
            cache,
        );
        // A license is a package's by the package's name, a vulnerability by its reference.
        if kinds.contains(&FindingKind::License) {
            call.arguments.push("--list-all-pkgs".to_owned());
        }
        // Of this family, it ends with an error where it knows nothing.
        if unknown.is_some_and(|system| matches!(&*system.family, "centos" | "redhat")) {
            let languages_alone = ["--pkg-types", "library"];
            call.arguments.extend(languages_alone.map(str::to_owned));
        }
        // What it allocates is little, so to collect garbage would be a third of its work.
        call.environment = [("GOGC", "off"), ("GOMEMLIMIT", "512MiB")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Ok(call)
    }

    fn read_report(&self, report: &[u8]) -> Result<Vec<Match>, AnswerError> {
        read_report(report)
    }
}

/// What Trivy calls those that look for these kinds.
fn scanners(kinds: &BTreeSet<FindingKind>) -> String {
    let names = kinds.iter().filter_map(|kind| match kind {
        FindingKind::Vulnerability => Some("vuln"),
        FindingKind::License => Some("license"),
        FindingKind::Secret => Some("secret"),
        FindingKind::Misconfiguration => Some("misconfig"),
        FindingKind::Malware => None,
    });
    names.collect::<Vec<_>>().join(",")
}

/// Has it pass over Java archives, for which it would want its database of them.
fn skip_java_archives(call: &mut Call) {
    for ending in JAVA_ARCHIVES {
        // Trivy knows them in any case, and takes a pattern as it is.
        let both = ending.chars().map(|c| match c {
            '.' => ".".to_owned(),
            c => format!("[{c}{}]", c.to_ascii_uppercase()),
        });
        let pattern = format!("**/*{}", both.collect::<String>());
        call.arguments.extend(["--skip-files".to_owned(), pattern]);
    }
}

/// A call of the words of a command, and of what all commands have.
fn call(command: &str, cache: &Path) -> Call {
    let words = command.split(' ').chain(OFFLINE);
    let words = words.chain(["--cache-backend", "memory", "--output", "{report}"]);
    let mut arguments: Vec<String> = words.map(str::to_owned).collect();
    arguments.extend(["--cache-dir".to_owned(), cache.display().to_string()]);
    Call {
        arguments,
        environment: Vec::new(),
    }
}
