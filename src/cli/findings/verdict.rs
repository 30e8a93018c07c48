//! `findings verdict`: findings judged by a policy.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use oci_pull_all::scan::findings::{FindingKind, Findings, Severity};
use oci_pull_all::scan::policy::Policy;
use oci_pull_all::scan::trouble::TroubleCode;
use oci_pull_all::scan::verdict::{Bases, Verdict};
use oci_pull_all::scan::vex::VexDocument;
use strum::VariantArray;

use super::{read_each, read_exceptions, word, write_json};
use crate::cli::{Result, read};

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

pub(super) fn verdict(args: &VerdictArgs) -> Result<()> {
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

/// The word for one of the troubles that may be allowed.
fn allowed() -> impl TypedValueParser<Value = TroubleCode> {
    let codes = TroubleCode::VARIANTS.iter().copied();
    let allowed = codes.filter(|code| code.may_be_allowed());
    let words: BTreeSet<&str> = allowed.map(<&str>::from).collect();
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}
