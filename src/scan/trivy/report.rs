//! What it reports of packages and files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::oci::strict;
use crate::scan::findings::{Finding, FindingKind, Origin, Severity};
use crate::scan::inventory::{Package, known};
use crate::scan::preset::{AnswerError, Match};

const REPORT_SCHEMA: u64 = 2;

/// What it found in files.
pub(super) fn read_look(report: &[u8]) -> Result<BTreeSet<Finding>, AnswerError> {
    let Report {
        artifact, results, ..
    } = parse_report(report)?;
    let mut found = BTreeSet::new();
    for result in results.into_iter().flatten() {
        let place = if result.target == artifact {
            "config".to_owned()
        } else {
            format!("/{}", result.target.trim_start_matches('/'))
        };
        let secrets = result.secrets.into_iter().flatten();
        found.extend(secrets.map(|secret| secret.finding(&place)));
        let settings = result.misconfigurations.into_iter().flatten();
        let failing = settings.filter(|setting| setting.status.as_deref() != Some("PASS"));
        found.extend(failing.map(|setting| setting.finding(&place)));
    }
    Ok(found)
}

/// What is known against packages.
pub(super) fn read_report(report: &[u8]) -> Result<Vec<Match>, AnswerError> {
    let report = parse_report(report)?;
    let results = report.results.unwrap_or_default();
    let mut matches = licenses(&results);
    let found = results
        .into_iter()
        .filter_map(|result| result.vulnerabilities);
    matches.extend(found.flatten().map(Match::from));
    Ok(matches)
}

/// Reads a report of the form that is known.
fn parse_report(report: &[u8]) -> Result<Report, AnswerError> {
    let report: Report = strict::read(report)?;
    match report.schema_version {
        REPORT_SCHEMA => Ok(report),
        found => Err(AnswerError::Schema {
            found,
            expected: REPORT_SCHEMA,
        }),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    schema_version: u64,
    #[serde(rename = "ArtifactName")]
    artifact: String,
    results: Option<Vec<ReportResult>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReportResult {
    target: String,
    class: Option<String>,
    packages: Option<Vec<ReportPackage>>,
    vulnerabilities: Option<Vec<Vulnerability>>,
    licenses: Option<Vec<License>>,
    secrets: Option<Vec<Secret>>,
    misconfigurations: Option<Vec<Misconfiguration>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReportPackage {
    name: String,
    identifier: Identifier,
    file_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct License {
    pkg_name: String,
    file_path: Option<String>,
    name: String,
    category: Option<String>,
    severity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    #[serde(rename = "RuleID")]
    id: String,
    title: Option<String>,
    severity: Option<String>,
    start_line: Option<u64>,
    layer: Option<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Misconfiguration {
    #[serde(rename = "ID")]
    id: String,
    title: Option<String>,
    severity: Option<String>,
    status: Option<String>,
    cause_metadata: Option<Cause>,
    layer: Option<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cause {
    start_line: Option<u64>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "DiffID")]
    diff_id: Option<String>,
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
    #[serde(rename = "BOMRef", default)]
    reference: String,
}

impl Secret {
    fn finding(self, place: &str) -> Finding {
        let kind = FindingKind::Secret;
        let severity = Severity::read(self.severity.as_deref());
        file_finding(
            kind,
            self.id,
            self.title,
            severity,
            self.start_line,
            place,
            self.layer,
        )
    }
}

impl Misconfiguration {
    fn finding(self, place: &str) -> Finding {
        let kind = FindingKind::Misconfiguration;
        let severity = Severity::read(self.severity.as_deref());
        let line = self.cause_metadata.and_then(|cause| cause.start_line);
        file_finding(kind, self.id, self.title, severity, line, place, self.layer)
    }
}

/// What was found in the file at `place`.
fn file_finding(
    kind: FindingKind,
    id: String,
    title: Option<String>,
    severity: Severity,
    line: Option<u64>,
    place: &str,
    layer: Option<Layer>,
) -> Finding {
    let title = match line.filter(|line| *line > 0) {
        Some(line) => Some(format!("{} (line {line})", title.unwrap_or_default())),
        None => known(title),
    };
    let layer = known(layer.and_then(|layer| layer.diff_id));
    Finding {
        origin: Origin::Local,
        kind,
        id,
        aliases: BTreeSet::new(),
        package: Package::file(place.to_owned(), layer),
        fixed: None,
        severity,
        title,
        same_package: Vec::new(),
        found_by: BTreeSet::new(),
    }
}

/// The licenses of packages. Trivy tells a package by its name and path alone, the latter of what it is listed in.
fn licenses(results: &[ReportResult]) -> Vec<Match> {
    let mut packages: BTreeMap<&str, Vec<(Option<&str>, &str)>> = BTreeMap::new();
    for result in results {
        for package in result.packages.iter().flatten() {
            let path = match (&package.file_path, result.class.as_deref()) {
                (None, Some("lang-pkgs")) => Some(&*result.target),
                (path, _) => path.as_deref(),
            };
            let reference = package.identifier.reference.as_str();
            packages
                .entry(&package.name)
                .or_default()
                .push((path, reference));
        }
    }
    let mut matches = Vec::new();
    for license in results
        .iter()
        .flat_map(|result| result.licenses.iter().flatten())
    {
        let named = packages.get(&*license.pkg_name);
        let named = named.map(Vec::as_slice).unwrap_or_default();
        let path = license.file_path.as_deref();
        let is_there = |(place, _): &&(Option<&str>, &str)| *place == path;
        let mut references: Vec<&str> = named.iter().filter(is_there).map(|(_, of)| *of).collect();
        if references.is_empty() {
            references = named.iter().map(|(_, of)| *of).collect();
        }
        if references.is_empty() {
            references.push(&license.pkg_name);
        }
        matches.extend(references.into_iter().map(|reference| Match {
            kind: FindingKind::License,
            package: reference.to_owned(),
            id: license.name.clone(),
            aliases: BTreeSet::new(),
            fixed: None,
            severity: Severity::read(license.severity.as_deref()),
            title: known(license.category.clone()),
        }));
    }
    matches
}

impl From<Vulnerability> for Match {
    fn from(found: Vulnerability) -> Self {
        Match {
            kind: FindingKind::Vulnerability,
            package: found.pkg_identifier.reference,
            id: found.id,
            aliases: BTreeSet::from_iter(found.vendor_ids.unwrap_or_default()),
            fixed: known(found.fixed_version),
            severity: Severity::read(found.severity.as_deref()),
            title: known(found.title),
        }
    }
}
