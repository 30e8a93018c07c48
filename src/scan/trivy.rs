//! Trivy: how it is run, and how its answers are read.
//!
//! It looks in two steps: `trivy image` lists an image's packages, for which it needs no database of advisories, and
//! `trivy sbom` matches that list with one, so a new database reads no layer again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::FileError;
use crate::json::to_json;
use crate::oci::strict;
use crate::oci::time::Time;

use super::bolt::Buckets;
use super::findings::{Finding, FindingKind, Origin, Severity};
use super::inventory::{Database, JavaArchives, NoJavaDatabase, Package, Scanner, System, known};
use super::preset::{
    Advisories, AnswerError, Call, Match, PackageList, Preset, provide, qualifier,
};
use super::sqlite::open;
use super::trivy_versions::Versions;

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
/// Where a database has Red Hat's repositories and builds.
const RED_HAT: [[&str; 2]; 2] = [["Red Hat CPE", "repository"], ["Red Hat CPE", "nvr"]];
/// The forms of databases that it reads, of advisories and of Java archives.
const DATABASE_SCHEMA: u64 = 2;
const JAVA_DATABASE_SCHEMA: u64 = 1;
const REPORT_SCHEMA: u64 = 2;

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
        let metadata = std::fs::read(metadata).map_err(AnswerError::Database)?;
        let Database { schema, built } = read_metadata(&metadata)?;
        Ok(if schema != JAVA_DATABASE_SCHEMA {
            JavaArchives::Nothing(NoJavaDatabase::Schema {
                found: schema,
                expected: JAVA_DATABASE_SCHEMA,
            })
        } else if has_archives(file)
            .map_err(|error| AnswerError::Database(io::Error::other(error)))?
        {
            JavaArchives::Database(Database { schema, built })
        } else {
            JavaArchives::Nothing(NoJavaDatabase::Empty)
        })
    }

    fn looks_into(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        JAVA_ARCHIVES.iter().any(|ending| path.ends_with(ending))
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
        let report = parse_report(report)?;
        let results = report.results.unwrap_or_default();
        let mut matches = licenses(&results);
        let found = results
            .into_iter()
            .filter_map(|result| result.vulnerabilities);
        matches.extend(found.flatten().map(Match::from));
        Ok(matches)
    }
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

#[derive(Deserialize)]
struct Bom {
    metadata: BomMetadata,
    components: Option<Vec<Component>>,
    dependencies: Option<Vec<Dependency>>,
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(rename = "dependsOn")]
    others: Option<Vec<String>>,
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
    fn properties(&self, name: &str) -> impl Iterator<Item = &str> {
        let properties = self.properties.iter().flatten();
        let named = properties.filter(move |property| {
            property.name.strip_prefix("aquasecurity:trivy:") == Some(name)
        });
        named.map(|property| property.value.as_str())
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.properties(name).next()
    }

    /// The repositories of Red Hat's that it is from, and the build, as a database has them.
    fn sources(&self) -> BTreeSet<String> {
        let repositories = self.properties("ContentSet").map(without_number);
        let mut sources: BTreeSet<String> = repositories.map(str::to_owned).collect();
        if let (Some(build), Some(architecture)) = (self.property("NVR"), self.property("Arch")) {
            sources.insert(format!("{build}-{architecture}"));
        }
        sources
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

/// A repository without the number of a release that the build of an image puts behind its name.
fn without_number(repository: &str) -> &str {
    match repository.rsplit_once("__") {
        Some((name, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => repository,
    }
}

/// Reads a list that Trivy wrote.
fn read_list(cyclonedx: &[u8]) -> Result<PackageList, AnswerError> {
    let bom: Bom = strict::read(cyclonedx)?;
    let components = bom.components.unwrap_or_default();
    let dependencies = bom.dependencies.unwrap_or_default();
    let files = files(&components, &dependencies);
    let system = components
        .iter()
        .find(|component| component.kind == "operating-system");
    let system = system.map(|component| System {
        family: component.name.clone(),
        release: known(component.version.clone()),
        ..System::default()
    });
    let family = system.as_ref().map(|system| system.family.clone());
    // What it calls a system that it does not know.
    let mut system = system.filter(|system| system.family != "none");
    let mut packages = BTreeMap::new();
    let mut sources = BTreeSet::new();
    for component in &components {
        let (Some(reference), Some(kind)) = (&component.reference, component.property("PkgType"))
        else {
            continue;
        };
        // It calls packages of a system by the system.
        let of_system = Some(kind) == family.as_deref();
        if of_system {
            sources.insert(component.sources());
        }
        let purl = known(component.purl.clone());
        let file = || files.get(&**reference).copied();
        let path = component.property("FilePath").or_else(file);
        let package = Package {
            kind: kind.to_owned(),
            of_system,
            name: component.full_name(),
            version: known(component.version.clone()),
            architecture: match &purl {
                Some(purl) if of_system => qualifier(purl, "arch"),
                _ => None,
            },
            path: known(path.map(str::to_owned)),
            purl,
            layer: known(component.property("LayerDiffID").map(str::to_owned)),
        };
        packages.insert(reference.clone(), package);
    }
    if let Some(system) = &mut system
        && sources.iter().any(|sources| !sources.is_empty())
    {
        system.sources = sources;
    }
    let tool = bom.metadata.tools.components.into_iter().next();
    Ok(PackageList {
        system,
        packages,
        scanner: Scanner {
            name: "trivy".to_owned(),
            version: known(tool.and_then(|tool| tool.version)),
            created: None,
        },
    })
}

/// The files that packages are listed in, such as programs and lock files, by the packages' references.
fn files<'a>(
    components: &'a [Component],
    dependencies: &'a [Dependency],
) -> BTreeMap<&'a str, &'a str> {
    let others: BTreeMap<&str, &Option<Vec<String>>> = dependencies
        .iter()
        .map(|dependency| (&*dependency.reference, &dependency.others))
        .collect();
    let mut files = BTreeMap::new();
    for file in components {
        let Some(reference) = file
            .reference
            .as_deref()
            .filter(|_| file.kind == "application")
        else {
            continue;
        };
        let mut rest = vec![reference];
        while let Some(reference) = rest.pop() {
            for other in others
                .get(reference)
                .copied()
                .into_iter()
                .flatten()
                .flatten()
            {
                if files.insert(&**other, &*file.name).is_none() {
                    rest.push(other);
                }
            }
        }
    }
    files
}

/// The list without what differs from run to run: the time, random identifiers, and the order that follows these.
fn normalized(cyclonedx: &[u8]) -> Result<Vec<u8>, AnswerError> {
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
struct TrivyDatabase {
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

fn read_metadata(metadata: &[u8]) -> Result<Database, AnswerError> {
    let metadata: Metadata = strict::read(metadata).map_err(AnswerError::Metadata)?;
    Ok(Database {
        schema: metadata.version,
        built: metadata.updated_at.and_then(Time::real),
    })
}

/// Whether a database of Java archives has any.
fn has_archives(file: &Path) -> rusqlite::Result<bool> {
    let any = "SELECT EXISTS (SELECT 1 FROM indices)";
    open(file)?.query_row(any, [], |row| row.get(0))
}

impl TrivyDatabase {
    /// Reads what a `trivy.db` and its `metadata.json` say.
    fn read(database: &Path, metadata: &[u8]) -> Result<Self, AnswerError> {
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

    /// The packages of an ecosystem that there are advisories of, by names in one spelling.
    fn packages_of(&self, ecosystem: &str) -> io::Result<BTreeSet<String>> {
        let mut packages = BTreeSet::new();
        for bucket in self.of_ecosystem(ecosystem) {
            let names = Buckets::keys_in(&self.file, &[bucket])?;
            packages.extend(names.iter().map(|name| spelling(ecosystem, name)));
        }
        Ok(packages)
    }
}

/// A name as Trivy compares it: it makes more of case for some ecosystems, in which no two packages differ in that alone.
fn spelling(ecosystem: &str, name: &str) -> String {
    let name = name.to_lowercase();
    match ecosystem {
        "pip" => name.replace('_', "-"),
        _ => name,
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

    fn passed_over<'a>(&self, packages: &'a [Package]) -> io::Result<Vec<&'a Package>> {
        let mut by_ecosystem: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
        for package in packages.iter().filter(|package| !package.of_system) {
            let ecosystem = ecosystem(&package.kind);
            by_ecosystem.entry(ecosystem).or_default().push(package);
        }
        let mut passed_over = Vec::new();
        for (ecosystem, mut packages) in by_ecosystem {
            let versions = Versions::of(ecosystem);
            packages.retain(|package| !versions.has(package.version.as_deref()));
            if !packages.is_empty() {
                let known = self.packages_of(ecosystem)?;
                packages.retain(|package| known.contains(&spelling(ecosystem, &package.name)));
                passed_over.extend(packages);
            }
        }
        Ok(passed_over)
    }

    fn is_same_system(&self, one: Option<&System>, other: Option<&System>) -> bool {
        one.map(buckets_as_said) == other.map(buckets_as_said)
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
