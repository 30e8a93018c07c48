//! `findings show`: what verdicts say, and how their test ends.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use oci_pull_all::oci::descriptor::{Descriptor, Kind};
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::oci::manifest::Manifest;
use oci_pull_all::scan::baseline::Baseline;
use oci_pull_all::scan::policy::ExceptionFile;
use oci_pull_all::scan::report;
use oci_pull_all::scan::verdict::{Outcome, Verdict, without_verdict};

use super::{exit_code, read_exceptions_as, read_verdicts, say_verdicts};
use crate::cli::hints::in_one_line;
use crate::cli::{Result, read, say, tell, write};

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

pub(super) fn show(args: &ShowArgs) -> Result<ExitCode> {
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
