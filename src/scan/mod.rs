//! Runs a scanner on an image as a test: what the image is to the scanner, what the scanner is kept from, where its
//! report goes, and which end is a good one.

pub mod baseline;
mod brought;
mod child;
mod clamav;
mod clamscan;
mod coverage;
pub mod database;
mod evidence;
pub mod findings;
mod go_program;
mod grype;
pub mod inventory;
mod isolate;
mod join;
mod memory;
mod osv;
mod osv_scanner;
mod osv_schema;
mod packages;
mod places;
pub mod policy;
mod preset;
mod purl;
pub mod report;
mod rpm;
pub mod sbom;
mod serve;
mod sqlite;
mod stage;
pub mod steps;
pub mod traces;
mod trivy;
pub mod trouble;
pub mod verdict;
mod versions;
pub mod vex;

pub use child::{Itself, supervise};
pub use clamscan::LogError;
pub use grype::ImportError;
pub use isolate::{Access, Isolation, Network, NetworkIsOpen};
pub use preset::{AnswerError, AtOnceScanner, StepwiseScanner};

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::files::{FileError, io_failed};
use crate::layout::FoundImage;

use stage::Stage;

/// The variable in which the scanner finds what [`LAYOUT_PLACEHOLDER`] stands for.
pub const LAYOUT_VARIABLE: &str = "OCI_LAYOUT";
/// The variable in which the scanner finds what [`REPORT_PLACEHOLDER`] stands for.
pub const REPORT_VARIABLE: &str = "OCI_SCAN_REPORT";
/// Stands for the absolute path of what is scanned, or for its name in a registry.
pub const LAYOUT_PLACEHOLDER: &str = "{layout}";
/// Stands for the absolute path of the report.
pub const REPORT_PLACEHOLDER: &str = "{report}";
/// Stands for the absolute path of the directory with the report.
pub const OUTPUTS_PLACEHOLDER: &str = "{outputs}";

/// Where a scanner would find configuration beside its `HOME` (XDG base directory specification).
const ELSEWHERE: [&str; 6] = [
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
];

/// What a scanner that inherits nothing has all the same: where programs are, and what those of Windows do not start without.
const KEPT: [&str; 2] = ["PATH", "SystemRoot"];

/// Why a scan is not a success.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A path that no placeholder can stand for.
    #[error("the path {path} is not UTF-8", path = .0.display())]
    NotUtf8(PathBuf),
    /// There is nothing to scan.
    #[error("there is no {path} to scan", path = .0.display())]
    NoLayout(PathBuf),
    /// There is no directory to stage it in.
    #[error("scanners take no path with one of @:?%, such as {path}: have the directory for temporary files named otherwise", path = .0.display())]
    NoPlainPath(PathBuf),
    /// The scanner could use the network.
    #[error(transparent)]
    Network(#[from] NetworkIsOpen),
    /// An argument or a variable has a placeholder that stands for nothing.
    #[error(
        "{text:?} has {name}, which stands for nothing: there are {LAYOUT_PLACEHOLDER}, {REPORT_PLACEHOLDER} and {OUTPUTS_PLACEHOLDER}"
    )]
    UnknownPlaceholder {
        /// The placeholder.
        name: String,
        /// The argument or variable.
        text: String,
    },
    /// An argument or a variable speaks of a report, but none is declared.
    #[error("{text:?} has {REPORT_PLACEHOLDER}, but no report is named")]
    NoReportName {
        /// The argument or variable.
        text: String,
    },
    /// The scanner does not start.
    #[error(
        "cannot run the scanner {scanner}: it must be an executable program, and if a script, its interpreter must be there"
    )]
    Start {
        /// The scanner.
        scanner: String,
        /// Why it does not start.
        source: io::Error,
    },
    /// The scanner ended otherwise than it should.
    #[error(
        "the scanner {scanner} ended with {status}{memory}, not with {expected} as expected; its output is above"
    )]
    End {
        /// The scanner.
        scanner: String,
        /// How it ended.
        status: ExitStatus,
        /// What memory it had used if it was killed.
        memory: String,
        /// The exit codes that make the scan a success.
        expected: String,
    },
    /// The scanner wrote no report.
    #[error("the scanner {scanner} ended well, but wrote no report to {report}: give it {REPORT_PLACEHOLDER}, or let it write to the path in {REPORT_VARIABLE}", report = report.display())]
    NoReport {
        /// The scanner.
        scanner: String,
        /// Where its report should be.
        report: PathBuf,
    },
}

/// What a scanner scans.
#[derive(Clone, Debug)]
pub enum Scanned {
    /// An image layout or a file, which the scanner sees as regular files that it cannot change; a directory that is no
    /// layout it sees as it is.
    Given(PathBuf),
    /// One image of the layout, which is all that the scanner sees of it.
    Image(PathBuf, Box<FoundImage>),
    /// A directory that was made for this scan, and that the scanner cannot change on Linux.
    Made(PathBuf),
}

/// A scanner, and what it is to do.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The program.
    pub scanner: PathBuf,
    /// What errors call it.
    pub name: String,
    /// What it scans.
    pub subject: Scanned,
    /// Whether it finds that in a registry, of which [`LAYOUT_PLACEHOLDER`] is then the image's name.
    pub served: bool,
    /// Its arguments, in which the placeholders stand for paths.
    pub arguments: Vec<String>,
    /// Variables of its environment beside the inherited ones, in whose values the placeholders stand for
    /// paths.
    pub environment: Vec<(String, String)>,
    /// Files and directories that it finds at the same relative paths in its working directory, which has nothing else.
    pub data: Vec<PathBuf>,
    /// Whether it has the whole environment of this process, and not the path of programs alone.
    pub inherits: bool,
    /// How this program starts itself to see the scanner to its end.
    pub itself: Itself,
    /// The file for what it says, which else goes where this process writes.
    pub said: Option<PathBuf>,
    /// Where reports go.
    pub outputs: PathBuf,
    /// An empty directory for what the scan needs while it runs: what is staged, and the scanner's `HOME` and `TMPDIR`.
    pub scratch: PathBuf,
    /// What the scanner is kept from.
    pub isolation: Isolation,
    /// The name of a report in `outputs` that the scanner must write.
    pub report: Option<String>,
    /// The exit codes that make the scan a success.
    pub expected_exits: Vec<i32>,
}

impl Scan {
    /// Runs the scanner, whose output is that of this process; returns its exit code.
    pub fn run(&self) -> Result<i32, ScanError> {
        self.isolation.check_network()?;
        let scanner = absolute(&self.scanner)?;
        let outputs = absolute(&self.outputs)?;
        let report = self.report.as_ref().map(|name| outputs.join(name));
        let directory = report.as_deref().and_then(Path::parent).unwrap_or(&outputs);
        io_failed("make", directory, fs::create_dir_all(directory))?;

        let scratch = absolute(&self.scratch)?;
        let (source, image) = match &self.subject {
            Scanned::Given(source) | Scanned::Made(source) => (source, None),
            Scanned::Image(source, image) => (source, Some(image.as_ref())),
        };
        let source = absolute(source)?;
        if !source.exists() {
            return Err(ScanError::NoLayout(source));
        }
        let is_made = matches!(self.subject, Scanned::Made(_));
        let _protected = is_made
            .then(|| stage::protect(&source, self.isolation))
            .transpose()?;
        // Where the scratch directory has a name that scanners misread, the system's may not.
        let elsewhere;
        let mut stage = None;
        if !is_made && stage::is_for(&source) {
            let mut place = scratch.as_path();
            if !stage::is_plain(place) {
                let temporary = env::temp_dir();
                elsewhere = io_failed("make a directory in", &temporary, tempfile::tempdir())?;
                place = elsewhere.path();
            }
            if !stage::is_plain(place) {
                return Err(ScanError::NoPlainPath(place.to_owned()));
            }
            let place = place.join("stage");
            stage = Some(Stage::new(&source, image, &place, self.isolation)?);
        }
        let layout = stage.as_ref().map_or(source.as_path(), Stage::path);
        let layout = if self.served {
            serve::serve(layout)?
        } else {
            text(layout)?.to_owned()
        };

        let status = scratch.join("status");
        let mut command = child::command(&scanner, self.itself, &status);
        self.set_surroundings(&mut command, &scratch)?;
        let mut places = vec![
            (LAYOUT_PLACEHOLDER, layout.as_str()),
            (OUTPUTS_PLACEHOLDER, text(&outputs)?),
        ];
        command.env(LAYOUT_VARIABLE, &layout);
        if let Some(report) = &report {
            // One of an earlier run would be taken for this one's.
            if fs::symlink_metadata(report).is_ok() {
                io_failed("remove", report, fs::remove_file(report))?;
            }
            places.push((REPORT_PLACEHOLDER, text(report)?));
            command.env(REPORT_VARIABLE, report);
        }
        for (name, value) in &self.environment {
            command.env(name, fill(value, &places)?);
        }
        for argument in &self.arguments {
            command.arg(fill(argument, &places)?);
        }
        if let Some(file) = &self.said {
            let said = io_failed("write", file, fs::File::create(file))?;
            command.stdout(io_failed("write", file, said.try_clone())?);
            command.stderr(said).stdin(Stdio::null());
        }
        let status = child::run(command, &status).map_err(|source| ScanError::Start {
            scanner: self.name.clone(),
            source,
        })?;

        let expected = |code: &i32| self.expected_exits.contains(code);
        let Some(code) = status.code().filter(expected) else {
            let codes = self.expected_exits.iter().map(i32::to_string);
            return Err(ScanError::End {
                scanner: self.name.clone(),
                memory: if status.code().is_none() {
                    memory::in_words()
                } else {
                    String::new()
                },
                status,
                expected: codes.collect::<Vec<_>>().join(" or "),
            });
        };
        match report {
            Some(report) if !report.is_file() => Err(ScanError::NoReport {
                scanner: self.name.clone(),
                report,
            }),
            _ => Ok(code),
        }
    }

    /// Scanners obey what lies in their working directory and below `HOME`, and unpack images below `TMPDIR`.
    fn set_surroundings(&self, command: &mut Command, scratch: &Path) -> Result<(), ScanError> {
        command.current_dir(stage::working_directory(&scratch.join("work"), &self.data)?);
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        if !self.inherits {
            let kept = |name: &OsString| {
                name == self.itself.variable
                    || KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
            };
            for name in env::vars_os()
                .map(|(name, _)| name)
                .filter(|name| !kept(name))
            {
                command.env_remove(name);
            }
        }
        for (name, directory) in [("HOME", "home"), ("TMPDIR", "tmp")] {
            let directory = scratch.join(directory);
            io_failed("make", &directory, fs::create_dir(&directory))?;
            command.env(name, directory);
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ScanError> {
    Ok(io_failed("find", path, std::path::absolute(path))?)
}

/// Replaces the placeholders. Braces that are none stay, such as a template's, which are double.
fn fill(text: &str, places: &[(&str, &str)]) -> Result<String, ScanError> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find('{') {
        let is_second = begin == 0 && filled.ends_with('{');
        filled.push_str(&rest[..begin]);
        rest = &rest[begin..];
        if let Some((name, path)) = places.iter().find(|(name, _)| rest.starts_with(name)) {
            filled.push_str(path);
            rest = &rest[name.len()..];
            continue;
        }
        if let Some(name) = placeholder(rest)
            && !(is_second && rest[name.len()..].starts_with('}'))
        {
            let (name, text) = (name.to_owned(), text.to_owned());
            return Err(if name == REPORT_PLACEHOLDER {
                ScanError::NoReportName { text }
            } else {
                ScanError::UnknownPlaceholder { name, text }
            });
        }
        filled.push('{');
        rest = &rest[1..];
    }
    Ok(filled + rest)
}

/// What looks like a placeholder at the beginning of a text: a word in braces.
fn placeholder(text: &str) -> Option<&str> {
    let word = text.strip_prefix('{')?;
    let end = word.find(|c: char| !c.is_ascii_lowercase() && c != '_')?;
    (end > 0 && word[end..].starts_with('}')).then(|| &text[..end + 2])
}

fn text(path: &Path) -> Result<&str, ScanError> {
    path.to_str()
        .ok_or_else(|| ScanError::NotUtf8(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let places = [
            (LAYOUT_PLACEHOLDER, "/a/{report}"),
            (REPORT_PLACEHOLDER, "/r"),
        ];
        let filled = |text| fill(text, &places).map_err(|error| error.to_string());
        for (text, expected) in [
            ("{{layout}:{layout}{}{", "{/a/{report}:/a/{report}{}{"),
            ("{report}", "/r"),
            ("é{report}é", "é/ré"),
            ("{{range}}{{.Name}}{end", "{{range}}{{.Name}}{end"),
            ("{\"a\": {X}}", "{\"a\": {X}}"),
        ] {
            assert_eq!(filled(text), Ok(expected.to_owned()));
        }
        for (text, name) in [
            ("a{image}", "{image}"),
            ("{{other}", "{other}"),
            ("{x}}", "{x}"),
        ] {
            let error = filled(text).unwrap_err();
            assert!(
                error.contains(&format!("{name}, which stands for nothing")),
                "{error}"
            );
        }
        let error = fill("{report}", &places[..1]).unwrap_err().to_string();
        assert!(error.contains("no report is named"), "{error}");
    }
}
