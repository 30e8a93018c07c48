//! What a team lets pass: a policy, and exceptions from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::Deserialize;
use toml::Spanned;

use super::findings::{Finding, FindingKind, Origin, Severity};
use super::trouble::TroubleCode;
use super::vex::{Claim, JUSTIFICATIONS, VexDocument};

/// What passes.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What people call it.
    pub name: String,
    /// The kinds of findings that fail.
    pub kinds: BTreeSet<FindingKind>,
    /// The lowest severity that fails.
    pub fail_on: Severity,
    /// What counts where nobody said a severity.
    pub unknown_as: Severity,
    /// Whether what has no fixed version passes.
    pub only_fixed: bool,
    /// The troubles that are allowed.
    pub allow: BTreeSet<TroubleCode>,
    /// How many days the database may be behind the newest date of the image, its bases and the scanner.
    pub max_database_age: u32,
    /// Whether a scan counts only if its scanner could not use the network.
    pub offline: bool,
    /// Whether exceptions that match nothing pass.
    pub unused_exceptions_pass: bool,
    /// What passes all the same.
    pub exceptions: Vec<ExceptionFile>,
    /// What others say of vulnerabilities.
    pub vex: Vec<VexDocument>,
    /// What was found before and was accepted.
    pub baseline: Option<ExceptionFile>,
}

/// Exceptions of a file.
#[derive(Clone, Debug)]
pub struct ExceptionFile {
    pub(super) exceptions: Vec<Exception>,
}

/// A finding that passes, or several.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    /// Its file and line, and whose it is.
    pub(super) place: String,
    /// The last day on which it counts.
    pub(super) until: Option<NaiveDate>,
    pub(super) written: Written,
}

/// An exception as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) package: Option<String>,
    pub(super) reason: String,
    /// Why the image is not affected, in a word of `OpenVEX`'s; nothing where it is, and that is accepted.
    pub(super) justification: Option<String>,
    pub(super) until: Option<toml::Value>,
    #[serde(rename = "where")]
    pub(super) origin: Option<Origin>,
    pub(super) owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    exception: Vec<Spanned<Written>>,
}

/// Why exceptions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExceptionsError {
    /// It is no TOML of exceptions.
    #[error("{path}:{line}:{column}: this cannot be read as TOML with tables [[exception]]: {problem}", path = path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The character in it.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// An exception is of no use.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Exception {
        /// The file.
        path: PathBuf,
        /// The line on which the exception begins.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl ExceptionFile {
    /// Reads a file in TOML: tables `[[exception]]` with `id`, `reason`, and perhaps `package`, `until` (the last day on
    /// which it counts), `where` (`local` or `base`) and `owner`.
    pub fn read(path: &Path, text: &str) -> Result<Self, ExceptionsError> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line = before.rsplit('\n').next().unwrap_or_default();
            ExceptionsError::Toml {
                path: path.to_owned(),
                line: line_at(text, start),
                column: line.chars().count() + 1,
                problem: error.message().lines().collect::<Vec<_>>().join(", "),
            }
        })?;
        let mut exceptions = Vec::new();
        for spanned in document.exception {
            let line = line_at(text, spanned.span().start);
            let written = spanned.into_inner();
            let problem = |problem: String| ExceptionsError::Exception {
                path: path.to_owned(),
                line,
                problem,
            };
            if written.id.trim() != written.id || written.id.is_empty() {
                return Err(problem(format!("its id is {:?}", written.id)));
            }
            if written.package.as_ref().is_some_and(String::is_empty) {
                return Err(problem(
                    "its package is empty: leave it out for any".to_owned(),
                ));
            }
            if written.reason.trim().is_empty() {
                return Err(problem("its reason is empty: say why it passes".to_owned()));
            }
            if let Some(word) = &written.justification
                && !JUSTIFICATIONS.contains(&&**word)
            {
                return Err(problem(format!(
                    "its justification is {word:?}, but OpenVEX has {}",
                    JUSTIFICATIONS.join(", ")
                )));
            }
            let until = written.until.as_ref().map(|until| {
                let day = match until {
                    toml::Value::String(text) => text.clone(),
                    toml::Value::Datetime(day) => day.to_string(),
                    other => format!("of the type {}", other.type_str()),
                };
                let no_day = |_| {
                    problem(format!(
                        "its until is {day}, which is no day: write until = 2026-12-31"
                    ))
                };
                day.parse().map_err(no_day)
            });
            let owner = written.owner.as_ref();
            let owner = owner.map(|owner| format!(" ({owner})")).unwrap_or_default();
            exceptions.push(Exception {
                place: format!("{}:{line}{owner}", path.display()),
                until: until.transpose()?,
                written,
            });
        }
        Ok(ExceptionFile { exceptions })
    }
}

/// The number of the line that a place is in.
fn line_at(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.matches('\n').count() + 1
}

impl Policy {
    /// The exceptions of all files.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = &Exception> {
        self.exceptions.iter().flat_map(|file| &file.exceptions)
    }

    /// What the baseline has.
    pub(super) fn baseline(&self) -> impl Iterator<Item = &Exception> {
        self.baseline.iter().flat_map(|file| &file.exceptions)
    }
}

/// Of exceptions, the first of those by which a finding passes: they are for each vulnerability that it is about.
pub(super) fn excepting<'a>(
    exceptions: impl Iterator<Item = &'a Exception>,
    finding: &Finding,
) -> Option<&'a Exception> {
    let about: Vec<_> = exceptions.filter(|one| one.is_about(finding)).collect();
    if about.is_empty() {
        return None;
    }
    let vulnerabilities = finding.vulnerabilities().into_iter().map(|names| {
        let mut about = about.iter();
        about.find(|one| names.iter().any(|name| name.eq_ignore_ascii_case(one.id())))
    });
    let all: Option<Vec<_>> = vulnerabilities.collect();
    all?.first().map(|first| **first)
}

impl Exception {
    /// Whether it says something about a finding, or about one of the vulnerabilities that it is of.
    fn is_about(&self, finding: &Finding) -> bool {
        let Written {
            id,
            package,
            origin,
            ..
        } = &self.written;
        let is_named = finding.ids().any(|other| other.eq_ignore_ascii_case(id));
        // Scanners do not agree on the case of names.
        let is_of = |name: &String| {
            let mut packages = finding.packages();
            packages.any(|package| package.name.eq_ignore_ascii_case(name))
        };
        is_named
            && package.as_ref().is_none_or(is_of)
            && origin.is_none_or(|origin| origin == finding.origin)
    }

    /// Whether it is for something that was found.
    pub(super) fn is_used<'a>(&self, mut found: impl Iterator<Item = &'a Finding>) -> bool {
        found.any(|finding| self.is_about(finding))
    }

    /// Whether it counts no more by a database of a day; it does on its last day.
    pub(super) fn is_over(&self, built: Option<NaiveDate>) -> bool {
        let counts = |until| built.is_some_and(|built| built <= until);
        !self.until.is_none_or(counts)
    }

    /// The identifier that it is for.
    pub(super) fn id(&self) -> &str {
        &self.written.id
    }

    /// Why it is one.
    pub(super) fn reason(&self) -> &str {
        &self.written.reason
    }

    /// The same for machines.
    pub(super) fn claim(&self) -> Claim {
        Claim::of_exception(&self.written.reason, self.written.justification.as_deref())
    }
}
