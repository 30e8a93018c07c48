//! `findings`: what the actions and tests of a scan with a policy call.

mod show;
mod steps;
mod verdict;
mod vex;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use oci_pull_all::json::to_json;
use oci_pull_all::oci::strict;
use oci_pull_all::scan::policy::ExceptionFile;
use oci_pull_all::scan::report;
use oci_pull_all::scan::verdict::{Outcome, Verdict, settle};
use serde::de::DeserializeOwned;
use strum::VariantNames;

use super::{Result, read, say, write};

#[derive(Debug, Subcommand)]
pub(crate) enum FindingsCommand {
    /// Make a database of grype's usable by the grype that is to match with it.
    Import(steps::ImportArgs),
    /// List the packages of an image.
    Inventory(steps::InventoryArgs),
    /// Look for secrets and misconfigurations in the files of an image.
    Files(steps::FilesArgs),
    /// Find what is known against the packages of an inventory.
    Match(steps::MatchArgs),
    /// List the packages of an image and find what is known against them, or look into its files, by a scanner that does
    /// so in one step.
    Scan(steps::ScanArgs),
    /// Judge findings by a policy.
    Verdict(verdict::VerdictArgs),
    /// Write what verdicts let pass by exceptions as a VEX document (openvex.dev).
    Vex(vex::VexArgs),
    /// Print verdicts, and end with 0 if all passed, with 1 if one failed, and with 2 if one cannot be trusted.
    Show(show::ShowArgs),
}

pub(crate) fn run(command: &FindingsCommand) -> Result<ExitCode> {
    match command {
        FindingsCommand::Import(args) => steps::import(args)?,
        FindingsCommand::Inventory(args) => steps::inventory(args)?,
        FindingsCommand::Files(args) => steps::files(args)?,
        FindingsCommand::Match(args) => steps::match_(args)?,
        FindingsCommand::Scan(args) => steps::scan(args)?,
        FindingsCommand::Verdict(args) => verdict::verdict(args)?,
        FindingsCommand::Vex(args) => vex::vex(args)?,
        FindingsCommand::Show(args) => return show::show(args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the verdicts on the images of one target.
pub(in crate::cli) fn read_verdicts(files: &[PathBuf]) -> Result<Vec<Verdict>> {
    let mut verdicts: Vec<Verdict> = read_each(files)?;
    settle(&mut verdicts);
    Ok(verdicts)
}

/// Prints verdicts; the worst of them is that of all, and is said last.
pub(in crate::cli) fn say_verdicts(verdicts: &[Verdict]) -> Result<Outcome> {
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

pub(in crate::cli) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Untrusted => ExitCode::from(2),
    }
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
