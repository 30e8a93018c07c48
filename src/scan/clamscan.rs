//! ClamAV's clamscan: how it is run, and how its answers are read. It looks into the files of a root file system for malware, and
//! knows nothing of packages and layers.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed};

use super::clamav;
use super::inventory::{Database, System};
use super::preset::{Advisories, AnswerError, Call};
use super::stage::link;

/// No limit but those that it has itself, which it tells, and no link that leads out of the image.
const OPTIONS: &str = "--recursive --infected --official-db-only=no --cross-fs=yes --follow-dir-symlinks=0 \
    --follow-file-symlinks=0 --alert-exceeds-max=yes --max-dir-recursion=10000 --max-files=0 \
    --max-filesize=0 --max-scansize=0 --max-scantime=0 --log={report}";
/// How it calls that it did not look into all of a file.
const LIMITS: &str = "Heuristics.Limits.Exceeded";
/// What its log has behind the files.
const SUMMARY: &str = "----------- SCAN SUMMARY -----------";
/// The form of its databases, of which there is one.
const SCHEMA: u64 = 1;

/// The call that scans the root file system in `{layout}` by the files of a database, into `{report}`. `cache` is a
/// directory that it may make and use.
pub(super) fn call(cache: &Path, database: &[PathBuf]) -> Result<Call, FileError> {
    io_failed("make", cache, fs::create_dir_all(cache))?;
    for file in database {
        link(file, &cache.join(file.file_name().unwrap_or_default()))?;
    }
    let mut arguments: Vec<String> = OPTIONS.split_whitespace().map(str::to_owned).collect();
    arguments.push(format!("--database={}", cache.display()));
    arguments.push("{layout}".to_owned());
    Ok(Call {
        arguments,
        environment: Vec::new(),
    })
}

/// Its version, by what it says if it is called with `--version`.
pub(super) fn read_version(said: &str) -> Option<&str> {
    let version = said.lines().find_map(|line| line.strip_prefix("ClamAV "))?;
    version.split('/').next()
}

/// What it says of a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it found, by the path from the root, and what it calls it.
    pub found: Vec<(String, String)>,
    /// The paths of files that it did not look into as a whole.
    pub unscanned: Vec<String>,
    /// How many files it looked into.
    pub files: u64,
}

/// Why its log cannot be trusted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// It has no such number.
    #[error("the log of clamscan does not say {0:?}")]
    Missing(&'static str),
    /// It could not read something.
    #[error("clamscan could not read everything: its log tells of {0} errors")]
    Errors(u64),
    /// It found more, or less, than it lists.
    #[error("the log of clamscan lists {listed} infected files, and counts {counted}")]
    Count {
        /// How many it lists.
        listed: u64,
        /// How many it says.
        counted: u64,
    },
}

/// Reads its log about the root file system in the directory `root`.
pub(super) fn read(log: &str, root: &str) -> Result<Answer, LogError> {
    let (files, summary) = log.rsplit_once(SUMMARY).ok_or(LogError::Missing(SUMMARY))?;
    let numbers: BTreeMap<&str, u64> = summary
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, number)| Some((name, number.trim().parse().ok()?)))
        .collect();
    let number = |name: &'static str| {
        let number = numbers.get(name).copied();
        number.ok_or(LogError::Missing(name))
    };
    let mut answer = Answer {
        found: Vec::new(),
        unscanned: Vec::new(),
        files: number("Scanned files")?,
    };
    // A file's name may have a line break in it, but not the directory's, which nobody knew.
    for line in files.split(&format!("\n{root}/")).skip(1) {
        let line = line.trim_end_matches('\n').strip_suffix(" FOUND");
        let Some((path, name)) = line.and_then(|line| line.rsplit_once(": ")) else {
            continue;
        };
        if name.starts_with(LIMITS) {
            answer.unscanned.push(path.to_owned());
        } else {
            answer.found.push((path.to_owned(), name.to_owned()));
        }
    }
    let listed = answer.found.len() + answer.unscanned.len();
    let (listed, counted) = (listed as u64, number("Infected files")?);
    if let Some(errors) = numbers.get("Total errors").filter(|errors| **errors > 0) {
        return Err(LogError::Errors(*errors));
    }
    if listed != counted {
        return Err(LogError::Count { listed, counted });
    }
    Ok(answer)
}

/// What a database is about, by its files.
pub(super) fn read_database(files: &[PathBuf]) -> Result<impl Advisories, AnswerError> {
    let mut found = Signatures {
        database: Database {
            schema: SCHEMA,
            built: None,
            newest: None,
        },
        has_any: false,
    };
    for file in files {
        let read = clamav::read(file);
        let (built, has_any) =
            read.map_err(|error| AnswerError::Database(io::Error::other(error)))?;
        // What is new comes in one of the files; the others stay for years.
        found.database.built = found.database.built.max(Some(built));
        found.has_any |= has_any;
    }
    Ok(found)
}

struct Signatures {
    database: Database,
    has_any: bool,
}

impl Advisories for Signatures {
    fn database(&self) -> &Database {
        &self.database
    }

    fn expected_schema(&self) -> u64 {
        SCHEMA
    }

    fn has_any(&self) -> bool {
        self.has_any
    }

    fn covers_system(&self, _system: &System, _said: Option<&System>) -> bool {
        true
    }

    fn covers_language(&self, _kind: &str) -> bool {
        true
    }

    fn is_same_system(&self, _one: Option<&System>, _other: Option<&System>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &str, infected: u64) -> String {
        format!(
            "\n---\n\n{lines}\n{SUMMARY}\nKnown viruses: 1\nScanned files: 5\nInfected files: {infected}\nTime: 0.03 sec\n"
        )
    }

    #[test]
    fn a_log_is_read_whatever_files_are_called() {
        let lines = "/r/app/a: Marked.Local.UNOFFICIAL FOUND\n/r/e: vil FOUND\nx: Marked FOUND\n/r/big: Heuristics.Limits.Exceeded.MaxFileSize FOUND\n";
        let expected = Answer {
            found: [
                ("app/a", "Marked.Local.UNOFFICIAL"),
                ("e: vil FOUND\nx", "Marked"),
            ]
            .map(|(path, name)| (path.to_owned(), name.to_owned()))
            .into(),
            unscanned: vec!["big".to_owned()],
            files: 5,
        };
        assert_eq!(read(&log(lines, 3), "/r"), Ok(expected));
        let error = LogError::Count {
            listed: 3,
            counted: 4,
        };
        assert_eq!(read(&log(lines, 4), "/r"), Err(error));
        let missing = LogError::Missing("Infected files");
        let cut = log(lines, 3).replace("Infected", "Other");
        assert_eq!(read(&cut, "/r"), Err(missing));
        let errors = log(lines, 3) + "Total errors: 2\n";
        assert_eq!(read(&errors, "/r"), Err(LogError::Errors(2)));
    }
}
