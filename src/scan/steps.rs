//! The steps of a scan of a build: each has a scanner read one thing, and returns what that means. What is not the scanner's
//! to know comes from the image's own files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDate, Utc};

use crate::files::{FileError, io_failed, open_regular};
use crate::json::to_json;
use crate::layout::{ArchiveError, Format, FoundImage, archive};
use crate::oci::config::{ConfigError, ImageConfig};
use crate::oci::platform::Platform;
use crate::rootfs::{Rootfs, RootfsError};

use super::child::Itself;
use super::clamscan;
use super::coverage::{summary, unlicensed};
use super::findings::{FileFindings, Finding, FindingKind, Findings};
use super::go_program;
use super::grype::{self, ImportError};
use super::inventory::{
    Image, Inventory, JavaArchives, OtherBase, Package, SCHEMA, Scanner, known,
};
use super::isolate::Isolation;
use super::packages::{settled, tell_architectures};
use super::preset::{
    Advisories, AnswerError, AtOnce, AtOnceScanner, Call, PackageList, Preset, StepwiseScanner,
};
use super::traces::{ReadImage, Traces};
use super::trouble::{DatabaseOf, Trouble};
use super::{Scan, ScanError, Scanned};

/// How a scanner ends that found something, or did not.
const FOUND: i32 = 1;
const FOUND_NOTHING: i32 = 0;

/// How many of the last bytes that a scanner said are told.
const MAX_SAID: usize = 64 << 10;

/// Why a step has no result. It would be another one at another try, or with another scanner: what would be the same again is a
/// [`Trouble`].
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no directory for temporary files.
    #[error("cannot make a directory for temporary files")]
    Scratch(#[source] io::Error),
    /// The scanner did not do it.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// What the scanner wrote, or its database, is of no use.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// What clamscan wrote is of no use.
    #[error(transparent)]
    Log(#[from] clamscan::LogError),
    /// The image's layers cannot be read.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The image cannot be archived for the scanner.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A database of grype's cannot be made usable.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The image does not stand on its base.
    #[error(transparent)]
    OtherBase(#[from] OtherBase),
    /// A database is of a day to come.
    #[error(transparent)]
    NotYet(#[from] NotYet),
    /// The config of the image that the scanner is from cannot be read.
    #[error("cannot use {path}", path = .path.display())]
    ScannerConfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ConfigError,
    },
    /// The scanner cannot look for such.
    #[error("this scanner does not look for the kind {0} here")]
    Kind(FindingKind),
    /// The scanner looks at packages alone.
    #[error("this scanner does not look into files")]
    NoFiles,
    /// The scanner ended as if it had found something, or as if it had not.
    #[error("the scanner {scanner} ended with {code}, but it wrote that it found {found}")]
    Code {
        /// The scanner.
        scanner: String,
        /// The code.
        code: i32,
        /// How much it found.
        found: usize,
    },
    /// The scanner complained of its database, and ended well.
    #[error("the scanner {scanner} ended well, but did not read all of its database: {line}")]
    Complaint {
        /// The scanner.
        scanner: String,
        /// What it said.
        line: String,
    },
}

/// A database of a day to come would never be too old.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {database} says that it was built on {day}, which is not yet: pull another one, or set this machine's clock"
)]
pub struct NotYet {
    database: DatabaseOf,
    day: NaiveDate,
}

/// Makes sure that a database is of no day to come. An error is cached nowhere, and a day that has come stays so, which is why a
/// clock may be asked.
pub fn check_not_yet(database: DatabaseOf, built: Option<DateTime<Utc>>) -> Result<(), NotYet> {
    let day = Duration::from_secs(24 * 60 * 60);
    match built {
        Some(built) if SystemTime::from(built) > SystemTime::now() + day => Err(NotYet {
            database,
            day: built.date_naive(),
        }),
        _ => Ok(()),
    }
}

/// The program of a scanner.
#[derive(Clone, Debug)]
pub struct ScannerProgram {
    /// The program.
    pub file: PathBuf,
    /// What errors call it.
    pub name: String,
    /// The config of the image that it is from.
    pub config: Option<PathBuf>,
}

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct LayoutImage {
    /// The layout's directory.
    pub layout: PathBuf,
    /// By what the image is found in it, if there are several.
    pub platform: Option<Platform>,
    /// The image.
    pub image: FoundImage,
}

impl LayoutImage {
    /// All that a scanner sees.
    fn subject(&self) -> Scanned {
        Scanned::Image(self.layout.clone(), Box::new(self.image.clone()))
    }
}

/// A scanner at work, with room of its own, which goes with it.
#[derive(Debug)]
pub struct Step {
    scanner: ScannerProgram,
    isolation: Isolation,
    itself: Itself,
    tell: fn(&str),
    scratch: tempfile::TempDir,
}

impl Step {
    /// One with this scanner. What the scanner said goes to `tell`, line by line, if it does not end as it should.
    pub fn begin(
        scanner: ScannerProgram,
        isolation: Isolation,
        itself: Itself,
        tell: fn(&str),
    ) -> Result<Self, StepError> {
        Ok(Step {
            scanner,
            isolation,
            itself,
            tell,
            scratch: tempfile::tempdir().map_err(StepError::Scratch)?,
        })
    }

    /// Makes a database of grype's usable by this grype: the database, or an archive of it, becomes the two files of
    /// `output`, the second of which is what the import says of it.
    pub fn import(&self, database: &Path, output: [&Path; 2]) -> Result<(), StepError> {
        let unpacked = grype::unpacked(database, self.scratch.path())?;
        let imported = if grype::is_importable(&unpacked, database)? {
            let call = grype::import(&self.cache());
            self.scan(Scanned::Given(unpacked), call, None, &[0])?;
            grype::imported(&self.cache())
        } else {
            // The verdict tells.
            let nothing = self.scratch.path().join(grype::IMPORT);
            io_failed("write", &nothing, fs::write(&nothing, b"{}"))?;
            [unpacked, nothing]
        };
        for (from, to) in imported.iter().zip(output) {
            io_failed("write", to, fs::copy(from, to))?;
        }
        Ok(())
    }

    /// Lists the packages of an image, by a database of Java archives and its description, or nothing; also as the scanner's own
    /// list (`CycloneDX`, or syft's).
    pub fn inventory(
        &self,
        kind: StepwiseScanner,
        subject: &LayoutImage,
        java_database: &[PathBuf],
    ) -> Result<(Inventory, Vec<u8>), StepError> {
        let preset = kind.preset();
        let image = &subject.image;
        // Reads all layers, which must be what the config says: the scanner would not notice.
        let read = ReadImage::read(&subject.layout, &image.manifest, &image.config)?;
        let java = preset.java_archives(java_database)?;
        let java_database = match &java {
            JavaArchives::Database(database) => {
                check_not_yet(DatabaseOf::Java, database.built)?;
                java_database
            }
            JavaArchives::Content | JavaArchives::Nothing(_) => &[],
        };
        let mut list = match preset.empty_list() {
            Some(list) if image.manifest.layers.is_empty() => to_json(&list),
            _ => {
                let call = preset.list(&self.cache(), java_database)?;
                preset.normalized(&self.report(subject.subject(), call)?)?
            }
        };
        let listed = preset.read_list(&list)?;
        let looks_into = |path: &str| preset.looks_into(path);
        let packages = listed.packages.values().cloned().collect();
        let traces = Traces::of(read, &packages, looks_into)?;
        let told = |list: &[u8]| -> Result<PackageList, StepError> {
            let mut listed = preset.read_list(list)?;
            tell_architectures(&mut listed, &traces.architectures);
            Ok(listed)
        };
        let mut listed = told(&list)?;
        if let Some(settled) = settled(&list, &listed) {
            listed = told(&settled)?;
            list = settled;
        }
        let packages = listed.packages.values().cloned().collect();
        let inventory = self.inventoried(image, traces, &listed, packages, java)?;
        Ok((inventory, list))
    }

    /// Looks for what is in the files of an image.
    pub fn files(
        &self,
        kind: StepwiseScanner,
        subject: &LayoutImage,
        kinds: &[FindingKind],
    ) -> Result<FileFindings, StepError> {
        let preset = kind.preset();
        let kinds = wanted(preset, kinds, true)?;
        let call = preset.look(&self.cache(), &kinds);
        let report = self.report(subject.subject(), call.ok_or(StepError::NoFiles)?)?;
        Ok(FileFindings {
            schema: SCHEMA,
            network: self.isolation.access(),
            findings: preset.read_look(&report)?,
            kinds,
        })
    }

    /// Finds what a database, which is its file and its description, has against the packages of a list, which has this
    /// inventory, and what is of these kinds beside vulnerabilities.
    pub fn match_list(
        &self,
        kind: StepwiseScanner,
        (inventory, list): (&Inventory, &Path),
        base: Option<&Inventory>,
        database: [&Path; 2],
        kinds: &[FindingKind],
    ) -> Result<Findings, StepError> {
        if let Some(base) = base {
            inventory.check_base(base)?;
        }
        let preset = kind.preset();
        let kinds = wanted(preset, kinds, false)?;
        let advisories = preset.read_database(database[0], &read(database[1])?)?;
        check_not_yet(DatabaseOf::Advisories, advisories.database().built)?;
        // What would fail again and again is told by the verdict.
        let is_readable = advisories.database().schema == advisories.expected_schema();
        let matches = if is_readable && !inventory.packages.is_empty() {
            let system = inventory.system.as_ref();
            let said = inventory.traces.system.as_ref();
            let unknown = system.filter(|system| !advisories.covers_system(system, said));
            let database = database.map(Path::to_owned);
            let call = preset.match_list(&self.cache(), &database, &kinds, unknown)?;
            let report = self.report(Scanned::Given(list.to_owned()), call)?;
            self.check_said(preset.complaints())?;
            preset.read_report(&report)?
        } else {
            Vec::new()
        };
        let mut list = preset.read_list(&read(list)?)?;
        tell_architectures(&mut list, &inventory.architectures());
        let asked = is_readable && kinds.contains(&FindingKind::License);
        let unlicensed = asked.then(|| unlicensed(&list, &matches)).flatten();
        let mut findings = Findings::new(matches, &list, inventory, base, advisories.as_ref())?;
        findings.scanner.created = findings.scanner.created.max(self.scanner_created()?);
        findings.network = findings.network.max(self.isolation.access());
        findings.kinds.extend(kinds);
        findings.notes.extend(unlicensed);
        let name = kind.to_string();
        findings.matcher = (name != findings.scanner.name).then_some(name);
        Ok(findings)
    }

    /// Lists what is in an image and finds what the files of a database have against it, by a scanner that does so in one
    /// step.
    pub fn at_once(
        &self,
        kind: AtOnceScanner,
        subject: &LayoutImage,
        base: Option<&Inventory>,
        database: &[PathBuf],
    ) -> Result<(Inventory, Findings), StepError> {
        match kind.preset() {
            Some(preset) => self.packages_at_once(preset, subject, base, database),
            None => self.malware(subject, base, database),
        }
    }

    fn packages_at_once(
        &self,
        preset: &dyn AtOnce,
        subject: &LayoutImage,
        base: Option<&Inventory>,
        database: &[PathBuf],
    ) -> Result<(Inventory, Findings), StepError> {
        let image = &subject.image;
        // Reads all layers, as for an inventory.
        let read = ReadImage::read(&subject.layout, &image.manifest, &image.config)?;
        // One without layers is an error to it.
        let (code, report) = if image.manifest.layers.is_empty() {
            (FOUND_NOTHING, b"{}".to_vec())
        } else {
            let file = self.scratch.path().join("image.tar");
            let platform = subject.platform.as_ref();
            archive(&subject.layout, platform, Format::Docker(&[]), &file)?;
            let call = preset.scan(&self.cache(), database)?;
            self.ended(Scanned::Given(file), call, &[FOUND_NOTHING, FOUND])?
        };
        let (mut list, matches) = preset.read_report(&report)?;
        self.check_code(code, matches.len())?;
        list.scanner.version = self.release(preset)?;
        let advisories = preset.read_database(database, &list)?;
        check_not_yet(DatabaseOf::Advisories, advisories.database().built)?;
        let looks_into = |path: &str| preset.looks_into(path);
        let packages = list.packages.values().cloned().collect();
        let traces = Traces::of(read, &packages, looks_into)?;
        tell_architectures(&mut list, &traces.architectures);
        let packages = list.packages.values().cloned().collect();
        let java = JavaArchives::Content;
        let inventory = self.inventoried(image, traces, &list, packages, java)?;
        if let Some(base) = base {
            inventory.check_base(base)?;
        }
        let findings = Findings::new(matches, &list, &inventory, base, advisories.as_ref())?;
        Ok((inventory, findings))
    }

    fn malware(
        &self,
        subject: &LayoutImage,
        base: Option<&Inventory>,
        database: &[PathBuf],
    ) -> Result<(Inventory, Findings), StepError> {
        let image = &subject.image;
        let advisories = clamscan::read_database(database)?;
        check_not_yet(DatabaseOf::Advisories, advisories.database().built)?;
        // Reads all layers, which must be what the config says.
        let rootfs = Rootfs::read(&subject.layout, &image.manifest, &image.config)?;
        let unpacked = self.scratch.path().join("rootfs");
        rootfs.write_directory(&unpacked)?;
        let listed = PackageList {
            system: None,
            packages: BTreeMap::new(),
            scanner: Scanner {
                name: AtOnceScanner::Clamav.to_string(),
                version: self.version(clamscan::read_version)?,
                created: None,
            },
        };
        let inventory = self.inventoried(
            image,
            Traces::default(),
            &listed,
            BTreeSet::new(),
            JavaArchives::Content,
        )?;
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
            let call = clamscan::call(&self.cache(), database)?;
            let (code, log) = self.ended(Scanned::Made(unpacked), call, &[FOUND_NOTHING, FOUND])?;
            let answer = clamscan::read(&String::from_utf8_lossy(&log), &root)?;
            self.check_code(code, answer.found.len() + answer.unscanned.len())?;
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
                let layer = rootfs.layer(&path);
                let layer = layer.and_then(|layer| inventory.layers.get(layer));
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

    /// When the image was made that the scanner is from.
    fn scanner_created(&self) -> Result<Option<DateTime<Utc>>, StepError> {
        let Some(path) = &self.scanner.config else {
            return Ok(None);
        };
        let config = ImageConfig::parse(&read(path)?);
        let config = config.map_err(|source| StepError::ScannerConfig {
            path: path.clone(),
            source,
        })?;
        Ok(created(&config))
    }

    /// What there is in an image.
    fn inventoried(
        &self,
        image: &FoundImage,
        traces: Traces,
        listed: &PackageList,
        packages: BTreeSet<Package>,
        java: JavaArchives,
    ) -> Result<Inventory, StepError> {
        let FoundImage {
            descriptor, config, ..
        } = image;
        let platform = descriptor.platform.as_ref().unwrap_or(&config.platform);
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
                created: created(config),
            },
            layers: config.diff_ids.clone(),
            system: listed.system.clone(),
            traces,
            packages: packages.into_iter().collect(),
            java,
        })
    }

    /// Makes sure that the scanner ended as one that found so much.
    fn check_code(&self, code: i32, found: usize) -> Result<(), StepError> {
        if (code == FOUND) == (found > 0) {
            return Ok(());
        }
        Err(StepError::Code {
            scanner: self.scanner.name.clone(),
            code,
            found,
        })
    }

    /// Has the scanner read something, and returns what it wrote.
    fn report(&self, subject: Scanned, call: Call) -> Result<Vec<u8>, StepError> {
        Ok(self.ended(subject, call, &[0])?.1)
    }

    /// The same, and with which of these codes it ended.
    fn ended(
        &self,
        subject: Scanned,
        call: Call,
        expected: &[i32],
    ) -> Result<(i32, Vec<u8>), StepError> {
        let code = self.scan(subject, call, Some("report.json"), expected)?;
        Ok((code, read(&self.outputs().join("report.json"))?))
    }

    /// The scanner's version, of one that is built of Go's modules.
    fn release(&self, preset: &dyn AtOnce) -> Result<Option<String>, StepError> {
        let file = &self.scanner.file;
        let program = io_failed("read", file, open_regular(file))?;
        let release = go_program::release(program, preset.module());
        match io_failed("read", file, release)? {
            Some(release) => Ok(Some(release)),
            // Only one that is built in another way has to be asked.
            None => self.version(|said| preset.read_version(said)),
        }
    }

    /// The scanner's version, as it says.
    fn version(
        &self,
        read_version: impl Fn(&str) -> Option<&str>,
    ) -> Result<Option<String>, StepError> {
        let call = Call {
            arguments: vec!["--version".to_owned()],
            environment: Vec::new(),
        };
        let nothing = Scanned::Given("/dev/null".into());
        self.scan(nothing, call, None, &[0])?;
        let said = read(&self.said())?;
        let said = String::from_utf8_lossy(&said);
        Ok(known(read_version(&said).map(str::to_owned)))
    }

    /// Makes sure that the scanner did not complain of its database.
    fn check_said(&self, complaints: &[&str]) -> Result<(), StepError> {
        let said = read(&self.said())?;
        let said = String::from_utf8_lossy(&said);
        let is_complaint = |line: &&str| complaints.iter().any(|words| line.contains(words));
        match said.lines().find(is_complaint) {
            None => Ok(()),
            Some(line) => Err(StepError::Complaint {
                scanner: self.scanner.name.clone(),
                line: line.to_owned(),
            }),
        }
    }

    /// A directory for what the scanner needs.
    fn cache(&self) -> PathBuf {
        self.scratch.path().join("cache")
    }

    /// The file with what the scanner says. It names what is in images, so it is told where it matters, and in no other form
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
    ) -> Result<i32, StepError> {
        let scratch = tempfile::tempdir_in(self.scratch.path()).map_err(StepError::Scratch)?;
        let scan = Scan {
            scanner: self.scanner.file.clone(),
            name: self.scanner.name.clone(),
            subject,
            served: false,
            arguments: call.arguments,
            environment: call.environment,
            data: Vec::new(),
            inherits: false,
            itself: self.itself,
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
            String::from_utf8_lossy(said).lines().for_each(self.tell);
        }
        Ok(ended?)
    }
}

/// What a scanner is to look for: what is found in files, or by packages.
fn wanted(
    preset: &dyn Preset,
    kinds: &[FindingKind],
    of_files: bool,
) -> Result<BTreeSet<FindingKind>, StepError> {
    let is_wrong = |kind: &&FindingKind| !preset.can_find(**kind) || kind.is_of_files() != of_files;
    match kinds.iter().find(is_wrong) {
        Some(kind) => Err(StepError::Kind(*kind)),
        None => Ok(kinds.iter().copied().collect()),
    }
}

/// When an image was made, if it says so.
fn created(config: &ImageConfig) -> Option<DateTime<Utc>> {
    let created = config.created.as_ref()?.as_ref().ok()?;
    created.real()
}

/// How many names of files with something in them are below a directory.
fn count_files(directory: &Path) -> Result<u64, FileError> {
    let mut number = 0;
    for entry in io_failed("read", directory, fs::read_dir(directory))? {
        let entry = io_failed("read", directory, entry)?;
        let metadata = io_failed("read", directory, entry.metadata())?;
        if metadata.is_dir() {
            number += count_files(&entry.path())?;
        } else if metadata.is_file() && metadata.len() > 0 {
            number += 1;
        }
    }
    Ok(number)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    io_failed("read", path, fs::read(path))
}
