//! What was found on a day and is accepted: exceptions that the program writes.

use std::collections::BTreeSet;
use std::path::Path;

use crate::files::FileError;
use crate::outputs::write_output;
use crate::text::quoted;

use super::policy::{Exception, ExceptionFile, Written, excepting};
use super::verdict::Verdict;

/// A baseline, and how it differs from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// The file, in TOML.
    pub text: String,
    /// How many entries are new.
    pub new: usize,
    /// How many are as they were.
    pub kept: usize,
    /// How many are no longer there.
    pub gone: usize,
}

impl Baseline {
    /// The baseline with which these verdicts would pass: what there was of the old one, by which they were made, and is
    /// still found, and what fails else, for `reason`; a comment, `head`, goes before. What had an end and is over stays as it
    /// is, and goes on failing.
    pub fn new(
        old: Option<&ExceptionFile>,
        verdicts: &[Verdict],
        reason: &str,
        head: &str,
    ) -> Self {
        let old = old.map_or(&[][..], |old| &old.exceptions);
        let gone = verdicts.iter().flat_map(|verdict| &verdict.gone);
        // There may be several on a line.
        let gone: BTreeSet<_> = gone.map(|fault| (&*fault.place, &*fault.id)).collect();
        let is_kept = |exception: &&Exception| !gone.contains(&(&*exception.place, exception.id()));
        let kept: Vec<&Exception> = old.iter().filter(is_kept).collect();
        let mut accepted = Vec::new();
        for finding in verdicts.iter().flat_map(|verdict| &verdict.failing) {
            if excepting(kept.iter().copied(), finding).is_none() {
                accepted.push(Written {
                    id: finding.id.clone(),
                    package: Some(finding.package.name.clone()),
                    reason: reason.to_owned(),
                    justification: None,
                    until: None,
                    origin: Some(finding.origin),
                    owner: None,
                });
            }
        }
        let place = |entry: &Written| (entry.id.clone(), entry.package.clone(), entry.origin);
        accepted.sort_by_cached_key(place);
        accepted.dedup_by_key(|entry| place(entry));
        let new = accepted.len();
        let mut entries: Vec<Written> = kept.iter().map(|kept| kept.written.clone()).collect();
        entries.append(&mut accepted);
        entries.sort_by_cached_key(place);
        let entries: Vec<String> = entries.iter().map(in_toml).collect();
        let entries = entries.join("\n");
        Baseline {
            text: if new + kept.len() == 0 {
                head.to_owned()
            } else {
                format!("{head}\n{entries}")
            },
            new,
            kept: kept.len(),
            gone: old.len() - kept.len(),
        }
    }

    /// Writes it to a file, which need not be there.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        write_output(path, self.text.as_bytes())
    }
}

/// An entry as it is written: nobody who named a package turns lines round for who reads the file.
fn in_toml(entry: &Written) -> String {
    let Written {
        id,
        package,
        reason,
        justification,
        until,
        origin,
        owner,
    } = entry;
    let until = until.as_ref().map(|until| match until {
        toml::Value::String(text) => quoted(text),
        day => day.to_string(),
    });
    let origin = origin.map(|origin| origin.to_string());
    let text = |text: &Option<String>| text.as_deref().map(quoted);
    let lines = [
        ("id", Some(quoted(id))),
        ("package", text(package)),
        ("reason", Some(quoted(reason))),
        ("justification", text(justification)),
        ("until", until),
        ("where", text(&origin)),
        ("owner", text(owner)),
    ];
    let lines = lines.into_iter().filter_map(|(key, value)| {
        let value = value?;
        Some(format!("{key} = {value}\n"))
    });
    format!("[[exception]]\n{}", lines.collect::<String>())
}
