//! Runs a scanner on an image as a test: what the image is to the scanner, where its report goes, and
//! which end is a good one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::files::{FileError, io_failed};

/// The variable in which the scanner finds what [`LAYOUT_PLACEHOLDER`] stands for.
pub const LAYOUT_VARIABLE: &str = "OCI_LAYOUT";
/// The variable in which the scanner finds what [`REPORT_PLACEHOLDER`] stands for.
pub const REPORT_VARIABLE: &str = "OCI_SCAN_REPORT";
/// Stands for the absolute path of what is scanned.
pub const LAYOUT_PLACEHOLDER: &str = "{layout}";
/// Stands for the absolute path of the report.
pub const REPORT_PLACEHOLDER: &str = "{report}";
/// Stands for the absolute path of the directory with the report.
pub const OUTPUTS_PLACEHOLDER: &str = "{outputs}";

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
    /// An argument or a variable speaks of a report, but none is declared.
    #[error("{text:?} has {REPORT_PLACEHOLDER}, but no report is named")]
    NoReportName {
        /// The argument or variable.
        text: String,
    },
    /// The scanner does not start.
    #[error("cannot run the scanner {scanner}: it must be an executable program, and if a script, its interpreter must be there", scanner = scanner.display())]
    Start {
        /// The scanner.
        scanner: PathBuf,
        /// Why it does not start.
        source: io::Error,
    },
    /// The scanner ended otherwise than it should.
    #[error("the scanner {scanner} ended with {status}, not with {expected} as expected; its output is above", scanner = scanner.display())]
    End {
        /// The scanner.
        scanner: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The exit code that makes the scan a success.
        expected: i32,
    },
    /// The scanner wrote no report.
    #[error("the scanner {scanner} ended well, but wrote no report to {report}: give it {REPORT_PLACEHOLDER}, or let it write to the path in {REPORT_VARIABLE}", scanner = scanner.display(), report = report.display())]
    NoReport {
        /// The scanner.
        scanner: PathBuf,
        /// Where its report should be.
        report: PathBuf,
    },
}

/// A scanner, and what it is to do.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The program.
    pub scanner: PathBuf,
    /// What it scans.
    pub layout: PathBuf,
    /// Its arguments, in which the placeholders stand for paths.
    pub arguments: Vec<String>,
    /// Variables of its environment beside the inherited ones, in whose values the placeholders stand for
    /// paths.
    pub environment: Vec<(String, String)>,
    /// A variable that is for this program alone, and not for the scanner, which may be this program too.
    pub withheld: Option<&'static str>,
    /// Where reports go.
    pub outputs: PathBuf,
    /// The scanner's `HOME`, in which it may keep what it likes; the inherited one if there is none here.
    pub home: Option<PathBuf>,
    /// The name of a report in `outputs` that the scanner must write.
    pub report: Option<String>,
    /// The exit code that makes the scan a success.
    pub expected_exit: i32,
}

impl Scan {
    /// Runs the scanner, whose output is that of this process.
    pub fn run(&self) -> Result<(), ScanError> {
        let scanner = absolute(&self.scanner)?;
        let layout = absolute(&self.layout)?;
        if !layout.exists() {
            return Err(ScanError::NoLayout(self.layout.clone()));
        }
        let outputs = absolute(&self.outputs)?;
        let report = self.report.as_ref().map(|name| outputs.join(name));
        let directory = report.as_deref().and_then(Path::parent).unwrap_or(&outputs);
        io_failed("make", directory, fs::create_dir_all(directory))?;

        let mut places = vec![
            (LAYOUT_PLACEHOLDER, text(&layout)?),
            (OUTPUTS_PLACEHOLDER, text(&outputs)?),
        ];
        let mut command = Command::new(&scanner);
        if let Some(name) = self.withheld {
            command.env_remove(name);
        }
        command.env(LAYOUT_VARIABLE, &layout);
        let values = self.environment.iter().map(|(_, value)| value);
        if report.is_none()
            && let Some(text) = values
                .chain(&self.arguments)
                .find(|text| text.contains(REPORT_PLACEHOLDER))
        {
            return Err(ScanError::NoReportName { text: text.clone() });
        }
        if let Some(report) = &report {
            // One of an earlier run would be taken for this one's.
            if fs::symlink_metadata(report).is_ok() {
                io_failed("remove", report, fs::remove_file(report))?;
            }
            places.push((REPORT_PLACEHOLDER, text(report)?));
            command.env(REPORT_VARIABLE, report);
        }
        let fill = |text: &String| fill(text, &places);
        if let Some(home) = &self.home {
            command.env("HOME", absolute(home)?);
        }
        for (name, value) in &self.environment {
            command.env(name, fill(value));
        }
        command.args(self.arguments.iter().map(fill));
        let status = command.status().map_err(|source| ScanError::Start {
            scanner: self.scanner.clone(),
            source,
        })?;

        if status.code() != Some(self.expected_exit) {
            return Err(ScanError::End {
                scanner: self.scanner.clone(),
                status,
                expected: self.expected_exit,
            });
        }
        match report {
            Some(report) if !report.is_file() => Err(ScanError::NoReport {
                scanner: self.scanner.clone(),
                report,
            }),
            _ => Ok(()),
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ScanError> {
    Ok(io_failed("find", path, std::path::absolute(path))?)
}

/// Replaces the placeholders. Braces that are none, such as a template's, stay.
fn fill(text: &str, places: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find('{') {
        filled.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let found = places.iter().find(|(name, _)| rest.starts_with(name));
        let (name, path) = found.copied().unwrap_or(("{", "{"));
        filled.push_str(path);
        rest = &rest[name.len()..];
    }
    filled + rest
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
        assert_eq!(
            fill("{{layout}:{layout}{x}{", &places),
            "{/a/{report}:/a/{report}{x}{"
        );
        assert_eq!(fill("{report}", &places), "/r");
        assert_eq!(fill("é{report}é", &places), "é/ré");
    }
}
