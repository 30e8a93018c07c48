//! The commands.

mod build;
mod pull;
mod store;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use oci_pull_all::layout;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Pull whole container images as OCI image layouts, and build and merge such layouts.
///
/// An argument @FILE stands for the arguments in FILE, one a line.
#[derive(Debug, Parser)]
#[command(name = "oci-pull-all", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pull an image by digest into an OCI image layout.
    Pull(pull::PullArgs),
    /// Print the digest that a tag points to now, and the lines for MODULE.bazel that pin it.
    Resolve(pull::ResolveArgs),
    /// Look after the store of blobs that all pulls share.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Build a layer from local files.
    Layer(Box<build::LayerArgs>),
    /// Build an image's config and manifest.
    Image(Box<build::ImageArgs>),
    /// Build an image index.
    Index(build::IndexArgs),
    /// Work on OCI image layouts.
    #[command(subcommand)]
    Layout(LayoutCommand),
    /// Check that a directory is a valid OCI image layout, and print all that is wrong with it.
    Verify(VerifyArgs),
}

#[derive(Debug, Subcommand)]
enum LayoutCommand {
    /// Put a layout together from a pulled base's blobs and local ones.
    Merge(build::MergeArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The layout's directory.
    layout: PathBuf,
    /// Accept an index that lists manifests which the layout does not hold, as a pull with
    /// --platform leaves it, as long as it holds one of them.
    #[arg(long)]
    sparse: bool,
}

pub(crate) fn run() -> Result<ExitCode> {
    let arguments = expand_files(std::env::args_os())?;
    match Cli::parse_from(arguments).command {
        Command::Pull(args) => pull::pull(&args)?,
        Command::Resolve(args) => pull::resolve(&args)?,
        Command::Store(command) => return store::run(&command),
        Command::Layer(args) => build::layer(&args)?,
        Command::Image(args) => build::image(&args)?,
        Command::Index(args) => build::index(&args)?,
        Command::Layout(LayoutCommand::Merge(args)) => build::merge(&args)?,
        Command::Verify(args) => return Ok(verify(&args)),
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> ExitCode {
    let options = layout::VerifyOptions {
        sparse: args.sparse,
    };
    let faults = layout::verify(&args.layout, options);
    let path = args.layout.display();
    if faults.is_empty() {
        println!("{path}: valid");
        return ExitCode::SUCCESS;
    }
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    eprintln!("{path}: not valid, faults: {}", faults.len());
    if faults.iter().all(|fault| fault.left_out) {
        eprintln!("it is valid with --sparse, which accepts that other platforms were left out");
    }
    ExitCode::FAILURE
}

/// Replaces each argument `@FILE` by the lines of the file.
fn expand_files(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut expanded = Vec::new();
    for argument in arguments {
        match argument.to_str().and_then(|text| text.strip_prefix('@')) {
            Some(file) => {
                let text = read_text(Path::new(file))?;
                expanded.extend(text.lines().map(OsString::from));
            }
            None => expanded.push(argument),
        }
    }
    Ok(expanded)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}
