//! `findings vex`: what verdicts let pass, for others.

use std::path::PathBuf;

use clap::Args;
use oci_pull_all::oci::reference::Repository;
use oci_pull_all::scan::vex::document;

use super::{read_each, read_verdicts};
use crate::cli::{Result, write};

#[derive(Debug, Args)]
pub(crate) struct VexArgs {
    /// Who says it.
    #[arg(long, value_name = "NAME")]
    author: String,
    /// What the verdicts are on: the document is of the day of the newest database. May be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    findings: Vec<PathBuf>,
    /// Where the images are pushed to, by which the document names them: REGISTRY/REPOSITORY.
    #[arg(long, value_name = "REPOSITORY")]
    repository: Repository,
    /// The file for the document.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The verdicts.
    #[arg(required = true)]
    verdicts: Vec<PathBuf>,
}

pub(super) fn vex(args: &VexArgs) -> Result<()> {
    let verdicts = read_verdicts(&args.verdicts)?;
    let findings = read_each(&args.findings)?;
    let document = document(&verdicts, &findings, &args.author, &args.repository)?;
    write(&args.output, &document)
}
