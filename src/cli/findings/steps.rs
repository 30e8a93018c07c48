//! The steps of a scan, which run the scanner: `import`, `inventory`, `files`, `match` and `scan`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use oci_pull_all::layout::{FoundImage, LayoutImages};
use oci_pull_all::oci::descriptor::Descriptor;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::outputs::check_apart;
use oci_pull_all::scan::findings::FindingKind;
use oci_pull_all::scan::steps::{LayoutImage, ScannerProgram, Step};
use oci_pull_all::scan::{AtOnceScanner, Isolation, StepwiseScanner};

use super::{read_json, word, write_json};
use crate::cli::scan::{ITSELF, isolate, isolate_from_network};
use crate::cli::{Result, tell, write};

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

pub(super) fn import(args: &ImportArgs) -> Result<()> {
    check_apart(&args.output)?;
    let [database, metadata] = pair(&args.output)?;
    let step = args.scanner.begin(isolate)?;
    Ok(step.import(&args.database, [database, metadata])?)
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

pub(super) fn inventory(args: &InventoryArgs) -> Result<()> {
    check_apart([&args.output, &args.list])?;
    let step = args.scanner.begin(isolate)?;
    let image = args.image.find()?;
    let (inventory, list) = step.inventory(args.kind, &image, &args.java_database)?;
    write(&args.list, &list)?;
    write_json(&args.output, &inventory)
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

pub(super) fn files(args: &FilesArgs) -> Result<()> {
    let step = args.scanner.begin(isolate)?;
    let image = args.image.find()?;
    write_json(
        &args.output,
        &step.files(args.kind, &image, &args.look_for)?,
    )
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

pub(super) fn match_(args: &MatchArgs) -> Result<()> {
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

pub(super) fn scan(args: &ScanArgs) -> Result<()> {
    check_apart([&args.inventory, &args.output])?;
    let step = args.scanner.begin(isolate)?;
    let image = args.image.find()?;
    let base = args.base.as_deref().map(read_json).transpose()?;
    let (inventory, findings) = step.at_once(args.kind, &image, base.as_ref(), &args.database)?;
    write_json(&args.inventory, &inventory)?;
    write_json(&args.output, &findings)
}

/// The two files of a database: itself, and its description.
fn pair(files: &[PathBuf]) -> Result<[&Path; 2]> {
    match files {
        [database, metadata] => Ok([database, metadata]),
        _ => Err("a database is two files".into()),
    }
}
