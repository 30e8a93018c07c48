//! `database`: databases of scanners that are published as files, as artifacts of a registry.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use oci_pull_all::json::to_json;
use oci_pull_all::layout::Sources;
use oci_pull_all::oci::artifact::EMPTY_CONFIG;
use oci_pull_all::oci::descriptor::Descriptor;
use oci_pull_all::oci::reference::Tagged;
use oci_pull_all::push::PushedImage;
use oci_pull_all::scan::database::{DatabaseArtifact, DatabaseKind};
use oci_pull_all::scan::steps::check_not_yet;
use oci_pull_all::scan::trouble::DatabaseOf;

use super::pull::{RegistryArgs, TransferArgs};
use super::push::Prepared;
use super::{Failed, Result, tell, users_path, write};

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Push a database to a registry, as an artifact that oci.pull pulls and pin pins.
    Push(DatabasePushArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DatabasePushArgs {
    /// Whose database it is.
    #[arg(value_name = "KIND", value_parser = named_kind())]
    kind: (&'static str, DatabaseKind),
    /// Where it is pushed to.
    #[arg(value_name = "REPOSITORY:TAG")]
    reference: Tagged,
    /// Its files: of grype, vulnerability.db or an archive of it; of OSV, the all.zip of each ecosystem; of ClamAV,
    /// main.cvd, daily.cvd and what else there is.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A kind, and how it is called.
fn named_kind() -> impl TypedValueParser<Value = (&'static str, DatabaseKind)> {
    let names = DatabaseKind::ALL.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(|name| {
        let mut kinds = DatabaseKind::ALL.into_iter();
        let found = kinds.find(|(known, _)| *known == name);
        found.ok_or("no such kind")
    })
}

pub(crate) fn run(command: &DatabaseCommand) -> Result<()> {
    let DatabaseCommand::Push(args) = command;
    push(args)
}

fn push(args: &DatabasePushArgs) -> Result<()> {
    let scratch = tempfile::tempdir()
        .map_err(|error| format!("cannot make a directory for temporary files: {error}"))?;
    let artifact = read(args, &scratch.path().join("unpacked"))
        .map_err(|error| Failed("push", format!("a database of {}", args.kind.0), error))?;
    let mut sources = Sources::default();
    for (descriptor, path) in artifact.files {
        sources.add_local(&descriptor, path);
    }
    let manifest = to_json(&artifact.manifest);
    let root = Descriptor::of(artifact.manifest.media_type, &manifest);
    for (descriptor, bytes, name) in [
        (&artifact.manifest.config, EMPTY_CONFIG, "config.json"),
        (&root, &manifest, "manifest.json"),
    ] {
        let path = scratch.path().join(name);
        write(&path, bytes)?;
        sources.add_local(descriptor, path);
    }
    tell(format_args!(
        "{}: built {}",
        args.reference.as_str(),
        artifact.built
    ));
    let image = PushedImage {
        root,
        sources,
        origins: HashMap::new(),
    };
    Prepared::of_local(image, &args.reference, &args.registry, &args.transfer)?.send()
}

fn read(args: &DatabasePushArgs, scratch: &Path) -> Result<DatabaseArtifact> {
    let (_, kind) = args.kind;
    let files: Vec<_> = args.files.iter().map(|file| users_path(file)).collect();
    fs::create_dir(scratch)?;
    let artifact = kind.artifact(&files, scratch)?;
    check_not_yet(DatabaseOf::Advisories, Some(artifact.built))?;
    Ok(artifact)
}
