//! `findings`: what the actions and tests of a scan with a policy call.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use oci_pull_all::json::to_json;
use oci_pull_all::layout::{FoundImage, LayoutImages};
use oci_pull_all::oci::descriptor::{Descriptor, Kind};
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::oci::manifest::Manifest;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Repository;
use oci_pull_all::oci::strict;
use oci_pull_all::outputs::check_apart;
use oci_pull_all::scan::baseline::Baseline;
use oci_pull_all::scan::findings::{FindingKind, Findings, Severity};
use oci_pull_all::scan::policy::{ExceptionFile, Policy};
use oci_pull_all::scan::steps::{LayoutImage, ScannerProgram, Step};
use oci_pull_all::scan::trouble::TroubleCode;
use oci_pull_all::scan::verdict::{Bases, Outcome, Verdict, settle, without_verdict};
use oci_pull_all::scan::vex::{self, VexDocument};
use oci_pull_all::scan::{AtOnceScanner, Isolation, StepwiseScanner, report};
use serde::de::DeserializeOwned;
use strum::{VariantArray, VariantNames};

use super::hints::in_one_line;
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

impl ScannerArgs {
    /// First of all, because it takes a process with one thread.
    fn begin(&self, isolate: fn(bool) -> Result<Isolation>) -> Result<Step> {
        let isolation = isolate(self.network)?;
        let scanner = ScannerProgram {
            file: self.program.clone(),
            name: self.scanner_name.clone(),
            config: self.scanner_config.clone(),
        };
        // A line of its own could be a command to who reads logs.
        let tell_said = |line: &str| tell(format_args!("| {line}"));
        Ok(Step::begin(scanner, isolation, ITSELF, tell_said)?)
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
    #[arg(long, value_name = "NAME", value_parser = word::<StepwiseScanner>())]
    kind: StepwiseScanner,
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
    #[arg(long, value_name = "NAME", value_parser = word::<StepwiseScanner>())]
    kind: StepwiseScanner,
    #[command(flatten)]
    scanner: ScannerArgs,
    #[command(flatten)]
    image: ImageArgs,
    /// What it looks for: secret or misconfiguration. May be repeated.
    #[arg(long, value_name = "KIND", required = true, value_parser = word::<FindingKind>())]
    look_for: Vec<FindingKind>,
    /// The file for what it finds.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// Which scanner it is: trivy or grype.
    #[arg(long, value_name = "NAME", value_parser = word::<StepwiseScanner>())]
    kind: StepwiseScanner,
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
    #[arg(long, value_name = "KIND", value_parser = word::<FindingKind>())]
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
    #[arg(long, value_name = "NAME", value_parser = word::<AtOnceScanner>())]
    kind: AtOnceScanner,
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
    /// The findings. May be repeated, for those of other scanners in the same image.
    #[arg(long, value_name = "FILE", required = true)]
    findings: Vec<PathBuf>,
    /// The inventory of an image that this one stands on, by a scanner of the findings. May be repeated.
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
    #[arg(long, value_name = "KIND", default_value = "vulnerability", value_parser = word::<FindingKind>())]
    fail_kind: Vec<FindingKind>,
    /// The lowest severity that fails.
    #[arg(long, default_value = "high", value_parser = word::<Severity>())]
    fail_on: Severity,
    /// The severity of what has none.
    #[arg(long, default_value = "high", value_parser = word::<Severity>())]
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
    #[arg(long, value_name = "CODE", value_parser = allowed())]
    allow: Vec<TroubleCode>,
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
    /// The index that the images are of: each must have a verdict. May be repeated, for the indexes that it lists.
    #[arg(long, value_name = "FILE")]
    index: Vec<PathBuf>,
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
    /// What the verdicts are on: the document is of the day of the newest database. May be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    findings: Vec<PathBuf>,
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
            let findings = read_each(&args.findings)?;
            let document = vex::document(&verdicts, &findings, &args.author, &args.repository)?;
            write(&args.output, &document)?;
        }
        FindingsCommand::Show(args) => return show(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn import(args: &ImportArgs) -> Result<()> {
    check_apart(&args.output)?;
    let [database, metadata] = pair(&args.output)?;
    let step = args.scanner.begin(isolate)?;
    Ok(step.import(&args.database, [database, metadata])?)
}

fn inventory(args: &InventoryArgs) -> Result<()> {
    check_apart([&args.output, &args.list])?;
    let step = args.scanner.begin(isolate)?;
    let image = args.image.find()?;
    let (inventory, list) = step.inventory(args.kind, &image, &args.java_database)?;
    write(&args.list, &list)?;
    write_json(&args.output, &inventory)
}

fn scan(args: &ScanArgs) -> Result<()> {
    check_apart([&args.inventory, &args.output])?;
    let step = args.scanner.begin(isolate)?;
    let image = args.image.find()?;
    let base = args.base.as_deref().map(read_json).transpose()?;
    let (inventory, findings) = step.at_once(args.kind, &image, base.as_ref(), &args.database)?;
    write_json(&args.inventory, &inventory)?;
    write_json(&args.output, &findings)
}

fn files(args: &FilesArgs) -> Result<()> {
    let step = args.scanner.begin(isolate)?;
    let image = args.image.find()?;
    write_json(
        &args.output,
        &step.files(args.kind, &image, &args.look_for)?,
    )
}

impl ImageArgs {
    /// The image. The layout must have no other, unless its platform is named, too, or one image alone is asked for.
    fn find(&self) -> Result<LayoutImage> {
        let found = |image: &FoundImage| LayoutImage {
            layout: self.layout.clone(),
            platform: self.platform.clone(),
            image: image.clone(),
        };
        let images = LayoutImages::read(&self.layout)?;
        let image = images.find(self.platform.as_ref())?;
        if self.platform.is_some() && self.scanned_platform.is_empty() {
            return Ok(found(image));
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
        if let Some(entry) = images.disguised().next() {
            return Err(format!(
                "the layout lists {} as {:?}, which is no manifest: scan it where it is listed as what it is, or with platform one image alone",
                entry.digest,
                entry.media_type.as_str()
            )
            .into());
        }
        Ok(found(image))
    }
}

fn match_(args: &MatchArgs) -> Result<()> {
    let database = pair(&args.database)?;
    // A list may as well be copied.
    let step = args.scanner.begin(isolate_from_network)?;
    let inventory = read_json(&args.inventory)?;
    let base = args.base.as_deref().map(read_json).transpose()?;
    let base = base.as_ref();
    let listed = (&inventory, &*args.list);
    let mut findings = step.match_list(args.kind, listed, base, database, &args.look_for)?;
    if let Some(files) = &args.files {
        findings.add_files(read_json(files)?, base);
    }
    write_json(&args.output, &findings)
}

/// The two files of a database: itself, and its description.
fn pair(files: &[PathBuf]) -> Result<[&Path; 2]> {
    match files {
        [database, metadata] => Ok([database, metadata]),
        _ => Err("a database is two files".into()),
    }
}

fn verdict(args: &VerdictArgs) -> Result<()> {
    let findings: Vec<Findings> = read_each(&args.findings)?;
    let mut exceptions = Vec::new();
    let mut documents = Vec::new();
    for path in &args.exceptions {
        if path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
        {
            documents.push(VexDocument::read(path, &read(path)?)?);
        } else {
            exceptions.push(read_exceptions(path)?);
        }
    }
    if let Some(kind) = args
        .fail_kind
        .iter()
        .find(|kind| findings.iter().all(|of| !of.kinds.contains(kind)))
    {
        let who = match findings.len() {
            1 => "the scanner did not look",
            _ => "none of the scanners looked",
        };
        return Err(format!(
            "{} is about the kind {kind}, which {who} for",
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
        allow: args.allow.iter().copied().collect(),
        max_database_age: args.max_database_age,
        offline: args.offline,
        unused_exceptions_pass: args.unused_exceptions_pass,
        exceptions,
        vex: documents,
        baseline: args.baseline.as_deref().map(read_exceptions).transpose()?,
    };
    let advice = args.base_name.as_ref().map(|base| {
        let policy = &args.policy_name;
        format!(
            "where {base} has a test of its own, bases = [\"{base}\"] in {policy} leaves them to it"
        )
    });
    let bases = Bases {
        advice,
        tested: read_each(&args.tested_base)?,
        untested: read_each(&args.base)?,
    };
    write_json(&args.output, &Verdict::new(&findings, &policy, &bases)?)
}

fn show(args: &ShowArgs) -> Result<ExitCode> {
    let verdicts = read_verdicts(&args.verdicts)?;
    let mut outcome = say_verdicts(&verdicts)?;
    let unscanned = tell_unscanned(args, &verdicts)?;
    if !unscanned.is_empty() {
        outcome = Outcome::Untrusted;
        say(report::outcome(outcome, &verdicts))?;
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

/// Tells of the images of the indexes that have no verdict; returns the names of those that must have one.
fn tell_unscanned(args: &ShowArgs, verdicts: &[Verdict]) -> Result<Vec<String>> {
    let mut given = HashSet::new();
    let mut indexes = Vec::new();
    for path in &args.index {
        let bytes = read(path)?;
        let index = Manifest::parse(&bytes, None)
            .map_err(|error| format!("{}: {}", path.display(), in_one_line(&error)))?;
        given.extend(
            [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| Digest::of(algorithm, &bytes)),
        );
        indexes.push(index);
    }
    let entries = indexes.iter().flat_map(Manifest::manifests);
    let entries: Vec<&Descriptor> = entries
        .filter(|entry| !given.contains(&entry.digest))
        .collect();
    let is_open = |entry: &&Descriptor| entry.media_type.kind() == Kind::Index;
    let listed: HashSet<String> = entries
        .iter()
        .map(|entry| entry.digest.to_string())
        .collect();
    // What an index within it lists is not at hand.
    if !indexes.is_empty()
        && !entries.iter().any(is_open)
        && let Some(verdict) = verdicts
            .iter()
            .find(|verdict| !listed.contains(&verdict.image.manifest))
    {
        let manifest = &verdict.image.manifest;
        return Err(format!("the verdict on {manifest} is of no image of the index").into());
    }
    let disguised: Vec<&Descriptor> = indexes.iter().flat_map(Manifest::disguised).collect();
    for Descriptor {
        digest, media_type, ..
    } in &disguised
    {
        let media_type = media_type.as_str();
        say(format_args!(
            "not scanned: {digest}, which is listed as {media_type:?} and no manifest"
        ))?;
    }
    let mut counts: HashMap<_, usize> = HashMap::new();
    for entry in &entries {
        *counts.entry(&entry.platform).or_default() += 1;
    }
    let mut unscanned = Vec::new();
    for image in without_verdict(entries.iter().copied().chain(disguised), verdicts) {
        let digest = &image.digest;
        // There may be several for one.
        let name = match &image.platform {
            Some(platform) if counts.get(&image.platform).is_none_or(|count| *count <= 1) => {
                platform.to_string()
            }
            _ => digest.to_string(),
        };
        match (args.pulled, image.media_type.kind()) {
            (true, Kind::Index) => say(format_args!(
                "not scanned: what the index {digest} lists and no line above names, if there is any"
            ))?,
            (true, Kind::Manifest) => say(format_args!(
                "not scanned: {name}, which platforms of the pull leaves out, or which is no image"
            ))?,
            (true, _) => {}
            (false, kind) => {
                if kind == Kind::Index {
                    say(format_args!(
                        "cannot be trusted: nobody knows what the index {digest} lists; give it by --index, too"
                    ))?;
                } else {
                    say(format_args!("cannot be trusted: {name} was not scanned"))?;
                }
                unscanned.push(name);
            }
        }
    }
    Ok(unscanned)
}

/// Reads the verdicts on the images of one target.
pub(super) fn read_verdicts(files: &[PathBuf]) -> Result<Vec<Verdict>> {
    let mut verdicts: Vec<Verdict> = read_each(files)?;
    settle(&mut verdicts);
    Ok(verdicts)
}

/// Prints verdicts; the worst of them is that of all, and is said last.
pub(super) fn say_verdicts(verdicts: &[Verdict]) -> Result<Outcome> {
    for verdict in verdicts {
        say(report::text(verdict).trim_end())?;
    }
    let mut outcomes = verdicts.iter().map(Verdict::outcome);
    let outcome = outcomes.clone().max().unwrap_or(Outcome::Passed);
    if outcomes.next_back().is_some_and(|last| last != outcome) {
        say(report::outcome(outcome, verdicts))?;
    }
    Ok(outcome)
}

pub(super) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Untrusted => ExitCode::from(2),
    }
}

/// What begins a baseline.
const HEAD: &str = "# What was found and accepted. `--accept` writes this file anew: what the entries say stays, comments do not.\n";

/// Why it is accepted, where nobody says.
const REASON: &str = "it was there when the baseline was made";

fn accept(args: &ShowArgs, baseline: &Path, verdicts: &[Verdict]) -> Result<()> {
    let workspace = args.workspace.as_ref().ok_or_else(|| {
        let name = &args.name;
        format!("--accept writes into the workspace: bazel run {name} -- --accept")
    })?;
    let path = workspace.join(baseline);
    // By the name that the verdict has it by.
    let old = path
        .try_exists()?
        .then(|| read_exceptions_as(&path, baseline));
    let made = Baseline::new(
        old.transpose()?.as_ref(),
        verdicts,
        args.reason.as_deref().unwrap_or(REASON),
        HEAD,
    );
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
    read_exceptions_as(path, path)
}

fn read_exceptions_as(path: &Path, name: &Path) -> Result<ExceptionFile> {
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| format!("{} is not UTF-8", name.display()))?;
    Ok(ExceptionFile::read(name, &text)?)
}

/// One of the words that there are.
fn word<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantNames + FromStr<Err: std::error::Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS).try_map(|word| word.parse())
}

/// The word for one of the troubles that may be allowed.
fn allowed() -> impl TypedValueParser<Value = TroubleCode> {
    let codes = TroubleCode::VARIANTS.iter().copied();
    let allowed = codes.filter(|code| code.may_be_allowed());
    let words: BTreeSet<&str> = allowed.map(<&str>::from).collect();
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read(path)?;
    strict::read(&bytes).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

fn read_each<T: DeserializeOwned>(paths: &[PathBuf]) -> Result<Vec<T>> {
    paths.iter().map(|path| read_json(path)).collect()
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    write(path, &to_json(value))
}
