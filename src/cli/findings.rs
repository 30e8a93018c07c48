//! `findings`: what the actions and tests of a scan with a policy call.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use oci_pull_all::json::to_json;
use oci_pull_all::layout::{Format, FoundImage, LayoutImages, archive};
use oci_pull_all::oci::config::ImageConfig;
use oci_pull_all::oci::descriptor::Descriptor;
use oci_pull_all::oci::manifest::Manifest;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Repository;
use oci_pull_all::oci::strict;
use oci_pull_all::rootfs::Rootfs;
use oci_pull_all::scan::baseline::Baseline;
use oci_pull_all::scan::findings::{
    FileFindings, Finding, FindingKind, Findings, Image, Inventory, JavaArchives, Package, SCHEMA,
    Scanner, Severity, Trouble, summary,
};
use oci_pull_all::scan::policy::{ExceptionFile, Policy};
use oci_pull_all::scan::preset::{Advisories, AtOnce, Call, Listed, Preset, at_once, preset};
use oci_pull_all::scan::traces::{ReadImage, Traces};
use oci_pull_all::scan::verdict::{Bases, Outcome, Verdict, settle, without_verdict};
use oci_pull_all::scan::vex::{self, VexDocument};
use oci_pull_all::scan::{Isolation, Scan, Scanned, clamscan, grype, report};
use serde::de::DeserializeOwned;

use super::scan::{ITSELF, isolate, isolate_from_network};
use super::{Result, read, say, tell, write};

#[derive(Debug, Subcommand)]
pub(crate) enum FindingsCommand {
    /// Make a database of grype's usable by the grype that is to match with it.
    Import(ImportArgs),
    /// List the packages of an image.
    Inventory(InventoryArgs),
    /// Look for secrets and misconfigurations in the files of an image.
    Files(FilesArgs),
    /// Find what is known against the packages of an inventory.
    Match(MatchArgs),
    /// List the packages of an image and find what is known against them, or look into its files, by a scanner that does
    /// so in one step.
    Scan(ScanArgs),
    /// Judge findings by a policy.
    Verdict(VerdictArgs),
    /// Write what verdicts let pass by exceptions as a VEX document (openvex.dev).
    Vex(VexArgs),
    /// Print verdicts, and end with 0 if all passed, with 1 if one failed, and with 2 if one cannot be trusted.
    Show(ShowArgs),
}

/// The scanner.
#[derive(Debug, Args)]
struct ScannerArgs {
    /// Its program.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// What errors call it.
    #[arg(long, value_name = "NAME")]
    scanner_name: String,
    /// The config of the image that the program is from.
    #[arg(long, value_name = "FILE")]
    scanner_config: Option<PathBuf>,
    /// Let it use the network.
    #[arg(long)]
    network: bool,
}

/// A scanner of a build.
#[derive(Clone)]
struct PresetKind(&'static dyn Preset);

impl std::fmt::Debug for PresetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresetKind")
    }
}

fn parse_kind(name: &str) -> std::result::Result<PresetKind, String> {
    let found = preset(name).map(PresetKind);
    found.ok_or_else(|| "there are trivy and grype".to_owned())
}

/// A scanner of a build that does all in one step: of packages, or of files alone.
#[derive(Clone)]
enum AtOnceKind {
    Packages(&'static dyn AtOnce),
    Clamav,
}

impl std::fmt::Debug for AtOnceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtOnceKind")
    }
}

fn parse_at_once(name: &str) -> std::result::Result<AtOnceKind, String> {
    match at_once(name) {
        Some(found) => Ok(AtOnceKind::Packages(found)),
        None if name == clamscan::NAME => Ok(AtOnceKind::Clamav),
        None => Err("there are osv-scanner and clamav".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    scanner: ScannerArgs,
    /// The database, or an archive of it.
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// The files for the database and for what the import says of it.
    #[arg(long, num_args = 2, required = true, value_names = ["FILE", "METADATA"])]
    output: Vec<PathBuf>,
}

/// An image of a layout.
#[derive(Debug, Args)]
struct ImageArgs {
    /// The layout.
    #[arg(long, value_name = "DIR")]
    layout: PathBuf,
    /// Which image of the layout, if there are several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// A platform whose image is scanned. May be repeated; where it is given, all images of the layout must be for such.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    scanned_platform: Vec<Platform>,
}

#[derive(Debug, Args)]
pub(crate) struct InventoryArgs {
    /// Which scanner it is: trivy, or grype, whose lists are syft's.
    #[arg(long, value_name = "NAME", value_parser = parse_kind)]
    kind: PresetKind,
    #[command(flatten)]
    scanner: ScannerArgs,
    #[command(flatten)]
    image: ImageArgs,
    /// The Java database and its metadata.json, if there is one.
    #[arg(long, num_args = 2, value_names = ["FILE", "METADATA"])]
    java_database: Vec<PathBuf>,
    /// The file for the inventory.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The file for the same as the scanner's own list (CycloneDX).
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// Which scanner it is: trivy.
    #[arg(long, value_name = "NAME", value_parser = parse_kind)]
    kind: PresetKind,
    #[command(flatten)]
    scanner: ScannerArgs,
    #[command(flatten)]
    image: ImageArgs,
    /// What it looks for: secret or misconfiguration. May be repeated.
    #[arg(long, value_name = "KIND", required = true)]
    look_for: Vec<FindingKind>,
    /// The file for what it finds.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// Which scanner it is: trivy or grype.
    #[arg(long, value_name = "NAME", value_parser = parse_kind)]
    kind: PresetKind,
    #[command(flatten)]
    scanner: ScannerArgs,
    /// The inventory.
    #[arg(long, value_name = "FILE")]
    inventory: PathBuf,
    /// The scanner's own list.
    #[arg(long, value_name = "FILE")]
    list: PathBuf,
    /// The inventory of the image's base.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// What it looks for beside vulnerabilities: license.
    #[arg(long, value_name = "KIND")]
    look_for: Vec<FindingKind>,
    /// What it found in the image's files.
    #[arg(long, value_name = "FILE")]
    files: Option<PathBuf>,
    /// The database and its metadata.json.
    #[arg(long, num_args = 2, required = true, value_names = ["FILE", "METADATA"])]
    database: Vec<PathBuf>,
    /// The file for the findings.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Which scanner it is: osv-scanner, or clamav, which looks for malware.
    #[arg(long, value_name = "NAME", value_parser = parse_at_once)]
    kind: AtOnceKind,
    #[command(flatten)]
    scanner: ScannerArgs,
    #[command(flatten)]
    image: ImageArgs,
    /// The inventory of the image's base.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// A file of the database: of OSV, all.zip in a directory that is called as the ecosystem. May be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    database: Vec<PathBuf>,
    /// The file for the inventory.
    #[arg(long, value_name = "FILE")]
    inventory: PathBuf,
    /// The file for the findings.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerdictArgs {
    /// The findings.
    #[arg(long, value_name = "FILE")]
    findings: PathBuf,
    /// The inventory of an image that this one stands on. May be repeated.
    #[arg(long, value_name = "FILE")]
    base: Vec<PathBuf>,
    /// What people call the nearest image that this one stands on.
    #[arg(long, value_name = "NAME")]
    base_name: Option<String>,
    /// The same of one that has a test of its own: what it has passes here. May be repeated.
    #[arg(long, value_name = "FILE")]
    tested_base: Vec<PathBuf>,
    /// What people call the policy.
    #[arg(long, value_name = "NAME", default_value = "the policy")]
    policy_name: String,
    /// A kind of findings that fails: vulnerability, license, secret or misconfiguration. May be repeated.
    #[arg(long, value_name = "KIND", default_value = "vulnerability")]
    fail_kind: Vec<FindingKind>,
    /// The lowest severity that fails.
    #[arg(long, default_value = "high")]
    fail_on: Severity,
    /// The severity of what has none.
    #[arg(long, default_value = "high")]
    unknown_as: Severity,
    /// Let pass what nobody has fixed.
    #[arg(long)]
    only_fixed: bool,
    /// Trust no scan whose scanner could use the network.
    #[arg(long)]
    offline: bool,
    /// Let pass exceptions that match nothing.
    #[arg(long)]
    unused_exceptions_pass: bool,
    /// A trouble that does not matter, by its code. May be repeated.
    #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(Trouble::ALLOWED))]
    allow: Vec<String>,
    /// How many days the database may be behind the newest date of the image, its bases and the scanner.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    max_database_age: u32,
    /// A file with exceptions in TOML, or a VEX document (openvex.dev), whose name ends with .json. May be repeated.
    #[arg(long, value_name = "FILE")]
    exceptions: Vec<PathBuf>,
    /// A file with what was found before and was accepted.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// The file for the verdict.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The name of the test.
    #[arg(long)]
    name: String,
    /// The file for the verdicts as JUnit's XML.
    #[arg(long, value_name = "FILE", env = "XML_OUTPUT_FILE")]
    junit: Option<PathBuf>,
    /// Write all that fails into the baseline, so that it fails no more.
    #[arg(long, requires = "baseline")]
    accept: bool,
    /// Why it is accepted.
    #[arg(long, value_name = "TEXT", requires = "accept")]
    reason: Option<String>,
    /// The path of the baseline in the workspace.
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
    /// The workspace.
    #[arg(
        long,
        value_name = "DIR",
        env = "BUILD_WORKSPACE_DIRECTORY",
        hide = true
    )]
    workspace: Option<PathBuf>,
    /// The index that the images are of: each must have a verdict.
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// It was pulled, and perhaps not all of its images.
    #[arg(long, requires = "index")]
    pulled: bool,
    /// The verdicts.
    #[arg(required = true)]
    verdicts: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VexArgs {
    /// Who says it.
    #[arg(long, value_name = "NAME")]
    author: String,
    /// Where the images are pushed to, by which the document names them: REGISTRY/REPOSITORY.
    #[arg(long, value_name = "REPOSITORY")]
    repository: Repository,
    /// The file for the document.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The verdicts.
    #[arg(required = true)]
    verdicts: Vec<PathBuf>,
}

pub(crate) fn run(command: &FindingsCommand) -> Result<ExitCode> {
    match command {
        FindingsCommand::Import(args) => import(args)?,
        FindingsCommand::Inventory(args) => inventory(args)?,
        FindingsCommand::Files(args) => files(args)?,
        FindingsCommand::Match(args) => match_(args)?,
        FindingsCommand::Scan(args) => scan(args)?,
        FindingsCommand::Verdict(args) => verdict(args)?,
        FindingsCommand::Vex(args) => {
            let verdicts = read_verdicts(&args.verdicts)?;
            let document = vex::document(&verdicts, &args.author, &args.repository)?;
            write(&args.output, &document)?;
        }
        FindingsCommand::Show(args) => return show(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn import(args: &ImportArgs) -> Result<()> {
    let run = Run::begin(&args.scanner)?;
    let database = grype::unpacked(&args.database, run.scratch.path())?;
    let imported = if grype::is_importable(&database, &args.database)? {
        let subject = Scanned::Given(database.clone());
        run.scan(subject, grype::import(&run.cache()), None, &[0])?;
        grype::imported(&run.cache())
    } else {
        // The verdict tells.
        let nothing = run.scratch.path().join(grype::IMPORT);
        write(&nothing, b"{}")?;
        [database, nothing]
    };
    for (from, to) in imported.iter().zip(&args.output) {
        fs::copy(from, to).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    }
    Ok(())
}

fn inventory(args: &InventoryArgs) -> Result<()> {
    let run = Run::begin(&args.scanner)?;
    let image = args.image.find()?;
    // Reads all layers, which must be what the config says: the scanner would not notice.
    let read = ReadImage::read(&args.image.layout, &image.manifest, &image.config)?;
    let PresetKind(preset) = args.kind;
    let java = preset.java_archives(&args.java_database)?;
    let java_database = match &java {
        JavaArchives::Database(database) => {
            check_not_yet("Java database", database.built)?;
            &args.java_database[..]
        }
        JavaArchives::Content | JavaArchives::Nothing(_) => &[],
    };
    let list = match preset.empty_list() {
        Some(list) if image.manifest.layers.is_empty() => to_json(&list),
        _ => {
            let call = preset.list(&run.cache(), java_database)?;
            let subject = args.image.subject(image.clone());
            preset.normalized(&run.report(subject, call)?)?
        }
    };
    let listed = preset.read_list(&list)?;
    write(&args.list, &list)?;
    let looks_into = |path: &str| preset.looks_into(path);
    let inventory = run.inventory(image, Some((read, &looks_into)), &listed, java)?;
    write_json(&args.output, &inventory)
}

/// Whether a scanner looks into Java archives of a name.
type LooksInto<'a> = &'a dyn Fn(&str) -> bool;

/// How a scanner ends that found something, or did not.
const FOUND: i32 = 1;
const FOUND_NOTHING: i32 = 0;

fn scan(args: &ScanArgs) -> Result<()> {
    let run = Run::begin(&args.scanner)?;
    let image = args.image.find()?;
    let base: Option<Inventory> = args.base.as_deref().map(read_json).transpose()?;
    let base = base.as_ref();
    let (inventory, findings) = match args.kind {
        AtOnceKind::Packages(preset) => scan_packages(args, &run, image, base, preset)?,
        AtOnceKind::Clamav => scan_files(args, &run, image, base)?,
    };
    write_json(&args.inventory, &inventory)?;
    write_json(&args.output, &findings)
}

fn scan_packages(
    args: &ScanArgs,
    run: &Run<'_>,
    image: FoundImage,
    base: Option<&Inventory>,
    preset: &dyn AtOnce,
) -> Result<(Inventory, Findings)> {
    // Reads all layers, as for an inventory.
    let read = ReadImage::read(&args.image.layout, &image.manifest, &image.config)?;
    // One without layers is an error to it.
    let (code, report) = if image.manifest.layers.is_empty() {
        (FOUND_NOTHING, b"{}".to_vec())
    } else {
        let file = run.scratch.path().join("image.tar");
        let platform = args.image.platform.as_ref();
        archive(&args.image.layout, platform, Format::Docker(&[]), &file)?;
        let call = preset.scan(&run.cache(), &args.database)?;
        run.ended(Scanned::Given(file), call, &[FOUND_NOTHING, FOUND])?
    };
    let (mut list, matches) = preset.read_report(&report)?;
    run.check_code(code, matches.len())?;
    list.scanner.version = run.version(|said| preset.read_version(said))?;
    let advisories = preset.read_database(&args.database, &list)?;
    check_not_yet("database", advisories.database().built)?;
    let looks_into = |path: &str| preset.looks_into(path);
    let read = Some((read, &looks_into as LooksInto<'_>));
    let inventory = run.inventory(image, read, &list, JavaArchives::Content)?;
    if let Some(base) = base {
        inventory.check_base(base)?;
    }
    let findings = Findings::new(matches, &list, &inventory, base, advisories.as_ref())?;
    Ok((inventory, findings))
}

fn scan_files(
    args: &ScanArgs,
    run: &Run<'_>,
    image: FoundImage,
    base: Option<&Inventory>,
) -> Result<(Inventory, Findings)> {
    let advisories = clamscan::read_database(&args.database)?;
    check_not_yet("database", advisories.database().built)?;
    // Reads all layers, which must be what the config says.
    let rootfs = Rootfs::read(&args.image.layout, &image.manifest, &image.config)?;
    let unpacked = run.scratch.path().join("rootfs");
    rootfs.write_directory(&unpacked)?;
    let layers = image.config.diff_ids.clone();
    let listed = Listed {
        system: None,
        packages: BTreeMap::new(),
        scanner: Scanner {
            name: clamscan::NAME.to_owned(),
            version: run.version(clamscan::read_version)?,
            created: None,
        },
    };
    let inventory = run.inventory(image, None, &listed, JavaArchives::Content)?;
    if let Some(base) = base {
        inventory.check_base(base)?;
    }
    let files = count_files(&unpacked)?;
    let mut troubles = Vec::new();
    let mut found = BTreeSet::new();
    let mut seen = 0;
    // What it cannot read is an error to it; the verdict tells.
    if advisories.has_any() {
        let root = unpacked.display().to_string();
        let call = clamscan::call(&run.cache(), &args.database)?;
        let (code, log) = run.ended(Scanned::Made(unpacked), call, &[FOUND_NOTHING, FOUND])?;
        let answer = clamscan::read(&String::from_utf8_lossy(&log), &root)?;
        run.check_code(code, answer.found.len() + answer.unscanned.len())?;
        let paths = answer.unscanned.iter();
        troubles.extend(summary(paths, |path, more| Trouble::FilesUnscanned {
            path,
            more,
        }));
        seen = answer.files;
        if seen < files {
            troubles.push(Trouble::FilesUnseen { seen, files });
        }
        found.extend(answer.found.into_iter().map(|(path, id)| {
            let file = rootfs.file(&path);
            let layer = file.and_then(|file| layers.get(rootfs.layer(file)?));
            Finding::of_malware(format!("/{path}"), id, layer)
        }));
    }
    if files == 0 {
        troubles.push(Trouble::NoFiles);
    }
    let findings = Findings::of_files(
        FindingKind::Malware,
        found,
        seen,
        troubles,
        &inventory,
        base,
        &advisories,
    );
    Ok((inventory, findings))
}

/// How many names of files with something in them are below a directory.
fn count_files(directory: &Path) -> Result<u64> {
    let mut number = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            number += count_files(&entry.path())?;
        } else if metadata.is_file() && metadata.len() > 0 {
            number += 1;
        }
    }
    Ok(number)
}

fn files(args: &FilesArgs) -> Result<()> {
    let run = Run::begin(&args.scanner)?;
    let image = args.image.find()?;
    let PresetKind(preset) = args.kind;
    let kinds = wanted(preset, &args.look_for, true)?;
    let call = preset
        .look(&run.cache(), &kinds)
        .ok_or("this scanner does not look into files")?;
    let report = run.report(args.image.subject(image), call)?;
    write_json(
        &args.output,
        &FileFindings {
            schema: SCHEMA,
            network: run.isolation.access(),
            findings: preset.read_look(&report)?,
            kinds,
        },
    )
}

/// What a scanner is to look for: what is found in files, or by packages.
fn wanted(
    preset: &dyn Preset,
    kinds: &[FindingKind],
    of_files: bool,
) -> Result<BTreeSet<FindingKind>> {
    let is_wrong = |kind: &&FindingKind| !preset.can_find(**kind) || kind.is_of_files() != of_files;
    match kinds.iter().find(is_wrong) {
        Some(kind) => Err(format!("this scanner does not look for the kind {kind} here").into()),
        None => Ok(kinds.iter().copied().collect()),
    }
}

impl ImageArgs {
    /// The image. The layout must have no other, unless its platform is named, too, or one image alone is asked for.
    fn find(&self) -> Result<FoundImage> {
        let images = LayoutImages::read(&self.layout)?;
        let image = images.find(self.platform.as_ref())?;
        if self.platform.is_some() && self.scanned_platform.is_empty() {
            return Ok(image.clone());
        }
        let mut scanned = BTreeSet::from([&image.descriptor.digest]);
        for platform in &self.scanned_platform {
            scanned.insert(&images.find(Some(platform))?.descriptor.digest);
        }
        let mut held = images.held.iter().map(|image| &image.descriptor);
        let name = |image: &Descriptor| {
            let platform = image.platform.as_ref().map(Platform::to_string);
            platform.unwrap_or_else(|| image.digest.to_string())
        };
        if let Some(image) = held.find(|image| !scanned.contains(&image.digest)) {
            return Err(format!(
                "the layout's image for {} is not scanned: name that platform in platforms, too",
                name(image)
            )
            .into());
        }
        if let Some(image) = images.absent().next() {
            return Err(format!(
                "the layout lists an image for {}, but does not have it: scan what has it, or with platform one image alone",
                name(image)
            )
            .into());
        }
        Ok(image.clone())
    }

    /// All that a scanner sees.
    fn subject(&self, image: FoundImage) -> Scanned {
        Scanned::Image(self.layout.clone(), Box::new(image))
    }
}

fn match_(args: &MatchArgs) -> Result<()> {
    let run = Run::begin_small(&args.scanner)?;
    let inventory: Inventory = read_json(&args.inventory)?;
    let base = args
        .base
        .as_deref()
        .map(read_json::<Inventory>)
        .transpose()?;
    let [database, metadata] = &args.database[..] else {
        return Err("a database is two files".into());
    };
    if let Some(base) = &base {
        inventory.check_base(base)?;
    }
    let PresetKind(preset) = args.kind;
    let kinds = wanted(preset, &args.look_for, false)?;
    let advisories = preset.read_database(database, &read(metadata)?)?;
    check_not_yet("database", advisories.database().built)?;
    // What would fail again and again is told by the verdict.
    let is_readable = advisories.database().schema == advisories.expected_schema();
    let matches = if is_readable && !inventory.packages.is_empty() {
        let system = inventory.system.as_ref();
        let unknown = system.filter(|system| !advisories.covers_system(system));
        let call = preset.match_list(&run.cache(), &args.database, &kinds, unknown)?;
        let report = run.report(Scanned::Given(args.list.clone()), call)?;
        run.check_said(preset.complaints())?;
        preset.read_report(&report)?
    } else {
        Vec::new()
    };
    let list = preset.read_list(&read(&args.list)?)?;
    let base = base.as_ref();
    let mut findings = Findings::new(matches, &list, &inventory, base, advisories.as_ref())?;
    findings.scanner.created = findings.scanner.created.max(run.scanner_created()?);
    findings.network = findings.network.max(run.isolation.access());
    findings.kinds.extend(kinds);
    if let Some(files) = &args.files {
        findings.add_files(read_json(files)?, base);
    }
    write_json(&args.output, &findings)
}

/// When an image was made, if it says so.
fn created(config: &ImageConfig) -> Option<DateTime<Utc>> {
    let created = config.created.as_ref()?.as_ref().ok()?;
    created.real()
}

/// A database of a day to come would never be too old. An error is cached nowhere, and a day that has come stays so, which
/// is why a clock may be asked.
pub(super) fn check_not_yet(what: &str, built: Option<DateTime<Utc>>) -> Result<()> {
    let day = Duration::from_secs(24 * 60 * 60);
    match built {
        Some(built) if SystemTime::from(built) > SystemTime::now() + day => Err(format!(
            "the {what} says that it was built on {}, which is not yet: pull another one, or set this machine's clock",
            built.date_naive()
        )
        .into()),
        _ => Ok(()),
    }
}

fn verdict(args: &VerdictArgs) -> Result<()> {
    let findings: Findings = read_json(&args.findings)?;
    let inventories = |paths: &[PathBuf]| -> Result<Vec<Inventory>> {
        paths.iter().map(|path| read_json(path)).collect()
    };
    let mut exceptions = Vec::new();
    let mut documents = Vec::new();
    for path in &args.exceptions {
        if path.extension().is_some_and(|ending| ending == "json") {
            documents.push(VexDocument::read(path, &read(path)?)?);
        } else {
            exceptions.push(read_exceptions(path)?);
        }
    }
    if let Some(kind) = args
        .fail_kind
        .iter()
        .find(|kind| !findings.kinds.contains(kind))
    {
        return Err(format!(
            "{} is about the kind {kind}, which the scanner did not look for",
            args.policy_name
        )
        .into());
    }
    let policy = Policy {
        name: args.policy_name.clone(),
        kinds: args.fail_kind.iter().copied().collect(),
        fail_on: args.fail_on,
        unknown_as: args.unknown_as,
        only_fixed: args.only_fixed,
        allow: args.allow.iter().cloned().collect(),
        max_database_age: args.max_database_age,
        offline: args.offline,
        unused_exceptions_pass: args.unused_exceptions_pass,
        exceptions,
        vex: documents,
        baseline: args.baseline.as_deref().map(read_exceptions).transpose()?,
    };
    let bases = Bases {
        nearest: args.base_name.clone(),
        tested: inventories(&args.tested_base)?,
        untested: inventories(&args.base)?,
    };
    write_json(&args.output, &Verdict::new(findings, &policy, &bases))
}

fn show(args: &ShowArgs) -> Result<ExitCode> {
    let verdicts = read_verdicts(&args.verdicts)?;
    let mut outcome = say_verdicts(&verdicts)?;
    let mut unscanned = Vec::new();
    if let Some(index) = &args.index {
        let index = Manifest::parse(&read(index)?, None)?;
        for image in without_verdict(index.manifests(), &verdicts) {
            let platform = image.platform.as_ref();
            let name = platform.map_or_else(|| image.digest.to_string(), Platform::to_string);
            if args.pulled {
                say(format_args!(
                    "not scanned: {name}, which platforms of the pull leaves out"
                ))?;
            } else {
                say(format_args!("cannot be trusted: {name} was not scanned"))?;
                outcome = Outcome::Untrusted;
                unscanned.push(name);
            }
        }
    }
    if let Some(file) = &args.junit {
        write(
            file,
            report::junit(&args.name, &verdicts, &unscanned).as_bytes(),
        )?;
    }
    if let (true, Some(baseline)) = (args.accept, &args.baseline) {
        if outcome == Outcome::Untrusted {
            tell("error: nothing is accepted of a scan that cannot be trusted");
            return Ok(exit_code(outcome));
        }
        accept(args, baseline, &verdicts)?;
        if verdicts.iter().any(|verdict| !verdict.faults.is_empty()) {
            tell(
                "error: the test still fails: exceptions are faulty, as said above, which is for you to correct",
            );
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    Ok(exit_code(outcome))
}

/// Reads the verdicts on the images of one target.
pub(super) fn read_verdicts(files: &[PathBuf]) -> Result<Vec<Verdict>> {
    let verdicts: Result<Vec<Verdict>> = files.iter().map(|file| read_json(file)).collect();
    let mut verdicts = verdicts?;
    settle(&mut verdicts);
    Ok(verdicts)
}

/// Prints verdicts; the worst of them is that of all.
pub(super) fn say_verdicts(verdicts: &[Verdict]) -> Result<Outcome> {
    for verdict in verdicts {
        say(report::text(verdict).trim_end())?;
    }
    let outcomes = verdicts.iter().map(Verdict::outcome);
    Ok(outcomes.max().unwrap_or(Outcome::Passed))
}

pub(super) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Untrusted => ExitCode::from(2),
    }
}

fn accept(args: &ShowArgs, baseline: &Path, verdicts: &[Verdict]) -> Result<()> {
    let workspace = args.workspace.as_ref().ok_or_else(|| {
        let name = &args.name;
        format!("--accept writes into the workspace: bazel run {name} -- --accept")
    })?;
    let path = workspace.join(baseline);
    let old = path.try_exists()?.then(|| read_exceptions(&path));
    let made = Baseline::new(old.transpose()?.as_ref(), verdicts, args.reason.as_deref());
    // What it could not read again, it does not write.
    ExceptionFile::read(baseline, &made.text)
        .map_err(|error| format!("this cannot be accepted: {error}"))?;
    made.write(&path)?;
    let Baseline {
        new, kept, gone, ..
    } = made;
    let path = baseline.display();
    say(format_args!(
        "{path}: {new} new, {kept} as before, {gone} gone"
    ))
}

fn read_exceptions(path: &Path) -> Result<ExceptionFile> {
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| format!("{} is not UTF-8", path.display()))?;
    Ok(ExceptionFile::read(path, &text)?)
}

/// How many of the last bytes that a scanner said are shown.
const MAX_SAID: usize = 64 << 10;

/// A run of the scanner, kept from the network, with room of its own.
struct Run<'a> {
    args: &'a ScannerArgs,
    isolation: Isolation,
    scratch: tempfile::TempDir,
}

impl<'a> Run<'a> {
    /// One for which files are mounted.
    fn begin(args: &'a ScannerArgs) -> Result<Self> {
        Self::begin_in(args, isolate)
    }

    /// One for which files may as well be copied.
    fn begin_small(args: &'a ScannerArgs) -> Result<Self> {
        Self::begin_in(args, isolate_from_network)
    }

    fn begin_in(args: &'a ScannerArgs, isolate: fn(bool) -> Result<Isolation>) -> Result<Self> {
        // First, because it takes a process with one thread.
        let isolation = isolate(args.network)?;
        let scratch = tempfile::tempdir()
            .map_err(|error| format!("cannot make a directory for temporary files: {error}"))?;
        Ok(Run {
            args,
            isolation,
            scratch,
        })
    }

    /// When the image was made that the program is from.
    fn scanner_created(&self) -> Result<Option<DateTime<Utc>>> {
        let Some(file) = &self.args.scanner_config else {
            return Ok(None);
        };
        let config = ImageConfig::parse(&read(file)?)
            .map_err(|error| format!("cannot use {}: {error}", file.display()))?;
        Ok(created(&config))
    }

    /// A directory for what the scanner needs.
    fn cache(&self) -> PathBuf {
        self.scratch.path().join("cache")
    }

    /// What there is in an image, by what the scanner listed.
    fn inventory(
        &self,
        image: FoundImage,
        read: Option<(ReadImage, LooksInto<'_>)>,
        listed: &Listed,
        java: JavaArchives,
    ) -> Result<Inventory> {
        let FoundImage {
            descriptor, config, ..
        } = image;
        let created = created(&config);
        let packages: BTreeSet<Package> = listed.packages.values().cloned().collect();
        let platform = descriptor.platform.unwrap_or(config.platform);
        Ok(Inventory {
            schema: SCHEMA,
            scanner: Scanner {
                created: self.scanner_created()?,
                ..listed.scanner.clone()
            },
            network: self.isolation.access(),
            image: Image {
                manifest: descriptor.digest.to_string(),
                platform: platform.to_string(),
                created,
            },
            layers: config.diff_ids,
            system: listed.system.clone(),
            traces: match read {
                Some((read, looks_into)) => Traces::of(read, &packages, looks_into)?,
                None => Traces::default(),
            },
            packages: packages.into_iter().collect(),
            java,
        })
    }

    /// Makes sure that a scanner ended as one that found so much.
    fn check_code(&self, code: i32, found: usize) -> Result<()> {
        if (code == FOUND) == (found > 0) {
            return Ok(());
        }
        let name = &self.args.scanner_name;
        Err(
            format!("the scanner {name} ended with {code}, but it wrote that it found {found}")
                .into(),
        )
    }

    /// Has the scanner read something, and returns what it wrote.
    fn report(&self, subject: Scanned, call: Call) -> Result<Vec<u8>> {
        Ok(self.ended(subject, call, &[0])?.1)
    }

    /// The same, and with which of these codes it ended.
    fn ended(&self, subject: Scanned, call: Call, expected: &[i32]) -> Result<(i32, Vec<u8>)> {
        let code = self.scan(subject, call, Some("report.json"), expected)?;
        Ok((code, read(&self.outputs().join("report.json"))?))
    }

    /// The scanner's version, as it says.
    fn version(&self, read_version: impl Fn(&str) -> Option<&str>) -> Result<String> {
        let call = Call {
            arguments: vec!["--version".to_owned()],
            environment: Vec::new(),
        };
        let nothing = Scanned::Given("/dev/null".into());
        self.scan(nothing, call, None, &[0])?;
        let said = read(&self.said())?;
        let said = String::from_utf8_lossy(&said);
        Ok(read_version(&said).unwrap_or_default().to_owned())
    }

    /// Makes sure that the scanner did not complain of its database.
    fn check_said(&self, complaints: &[&str]) -> Result<()> {
        let said = read(&self.said())?;
        let said = String::from_utf8_lossy(&said);
        let is_complaint = |line: &&str| complaints.iter().any(|words| line.contains(words));
        match said.lines().find(is_complaint) {
            None => Ok(()),
            Some(line) => Err(format!(
                "the scanner {} ended well, but did not read all of its database: {line}",
                self.args.scanner_name
            )
            .into()),
        }
    }

    /// The file with what the scanner says. It names what is in images, so it is shown where it matters, and in no other form
    /// than all that others named.
    fn said(&self) -> PathBuf {
        self.scratch.path().join("said")
    }

    fn outputs(&self) -> PathBuf {
        self.scratch.path().join("outputs")
    }

    fn scan(
        &self,
        subject: Scanned,
        call: Call,
        report: Option<&str>,
        expected: &[i32],
    ) -> Result<i32> {
        let scratch = tempfile::tempdir_in(self.scratch.path())?;
        let scan = Scan {
            scanner: self.args.program.clone(),
            name: self.args.scanner_name.clone(),
            subject,
            served: false,
            arguments: call.arguments,
            environment: call.environment,
            data: Vec::new(),
            inherits: false,
            itself: ITSELF,
            said: Some(self.said()),
            outputs: self.outputs(),
            scratch: scratch.path().to_owned(),
            isolation: self.isolation,
            report: report.map(str::to_owned),
            expected_exits: expected.to_vec(),
        };
        let ended = scan.run();
        if ended.is_err() {
            let said = fs::read(self.said()).unwrap_or_default();
            let said = &said[said.len().saturating_sub(MAX_SAID)..];
            for line in String::from_utf8_lossy(said).lines() {
                // A line of its own could be a command to who reads logs.
                tell(format_args!("| {line}"));
            }
        }
        Ok(ended?)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read(path)?;
    strict::read(&bytes).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write(path, &to_json(value))
}
