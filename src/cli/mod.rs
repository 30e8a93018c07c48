//! The commands.

mod arguments;
mod database;
mod findings;
mod hints;
mod image;
mod layer;
mod layout;
mod load;
mod pin;
mod progress;
mod pull;
mod push;
mod resolve;
mod scan;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ContextValue;
use clap::{Parser, Subcommand};
use oci_pull_all::files::open_regular;
use oci_pull_all::layout::{
    FaultKind, LayoutImages, Verification, VerifyOptions, verify as verify_layout,
};
use oci_pull_all::oci::strict;
use oci_pull_all::outputs::write_output;
use oci_pull_all::rootfs::changed_parents;
use oci_pull_all::tar::UnnamedParent;
use oci_pull_all::text::{abridged, first_of, shown, shown_in_lines, without_login};

use arguments::users_path;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Writes a line to standard error.
#[expect(
    clippy::disallowed_macros,
    reason = "this is the one way to tell something"
)]
fn tell(line: impl Display) {
    eprintln!("{}", shown(&line.to_string()));
}

/// Writes lines to standard error, of many the first.
fn tell_first<T: Display>(lines: impl IntoIterator<Item = T>) {
    if let Some(more) = first_of(lines, |line| tell(line)) {
        tell(more);
    }
}

/// Writes a line to the standard output. Who has closed it, such as `head`, wants no more of it.
fn say(line: impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{}", shown_in_lines(&line.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to the standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Pull whole container images as OCI image layouts, and build and merge such layouts.
///
/// A first argument @FILE stands for the arguments in FILE, which are written as for a POSIX shell.
#[derive(Debug, Parser)]
#[command(name = "oci-pull-all", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pull an image or an artifact by digest into an OCI image layout.
    Pull(pull::PullArgs),
    /// Print the lines for MODULE.bazel that pin what tags point to now, and what that is.
    Resolve(resolve::ResolveArgs),
    /// Replace the digests in MODULE.bazel by those that their tags point to now.
    Pin(pin::PinArgs),
    /// Look after the store of blobs that all pulls share.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Build a layer from local files.
    Layer(Box<layer::LayerArgs>),
    /// List what an archive of files holds, as mtree(5) does, and its extended attributes as go-mtree does.
    Mtree(layer::MtreeArgs),
    /// Build an image's config and manifest.
    Image(Box<image::ImageArgs>),
    /// Build an image index.
    Index(image::IndexArgs),
    /// Work on OCI image layouts.
    #[command(subcommand)]
    Layout(LayoutCommand),
    /// Check that a directory is a valid OCI image layout, and print what is wrong with it.
    Verify(VerifyArgs),
    /// Run a scanner on an image, as a test.
    Scan(scan::ScanArgs),
    /// Judge what an image has in it: the steps of a scan with a policy.
    #[command(subcommand)]
    Findings(findings::FindingsCommand),
    /// Make artifacts of databases of scanners that are published otherwise.
    #[command(subcommand)]
    Database(database::DatabaseCommand),
    /// Find out whether this process may have namespaces of its own.
    #[command(name = TRY_NAMESPACES, hide = true)]
    TryNamespaces,
    /// Run a command, and end it with the process that wants it.
    #[command(name = SUPERVISE, hide = true)]
    Supervise(scan::SuperviseArgs),
    /// Push an image that was built, and what its base has, to a registry.
    Push(Box<push::PushArgs>),
    /// Push several images, and none of them unless all can be pushed as far as this machine knows.
    PushAll(push::PushAllArgs),
    /// Load an image of a layout into a local Docker, podman or containerd.
    Load(load::LoadArgs),
}

#[derive(Debug, Subcommand)]
enum LayoutCommand {
    /// Put a layout together from a pulled base's blobs and local ones.
    Merge(layout::MergeArgs),
    /// Make a layout that lacks its base's blobs whole, with those of a pulled base.
    Complete(layout::CompleteArgs),
    /// Write a layout, or one image of it, as an archive.
    Archive(layout::ArchiveArgs),
    /// Write the root file system of an image: its layers applied one on the other.
    Rootfs(layout::RootfsArgs),
    /// Write a file out of an image.
    File(layout::FileArgs),
}

/// What shells have for a command that is not written as it should be.
const MISUSED: u8 = 2;

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The layout's directory.
    layout: PathBuf,
    /// Accept an index that lists images of which the layout holds nothing, or no layer, as a pull or an export
    /// with --platform leaves it, as long as it holds one below that index.
    #[arg(long)]
    sparse: bool,
    /// The descriptor of a layer and the list of its directories that nobody named, as `layer` writes them: none of these
    /// may change what the layers below have there.
    #[arg(long, num_args = 2, value_names = ["DESCRIPTOR", "FILE"], action = clap::ArgAction::Append)]
    unnamed_parents: Vec<PathBuf>,
}

pub(crate) fn run() -> Result<ExitCode> {
    let cli = match arguments::parse::<Cli>(arguments::arguments()?) {
        Ok(cli) => cli,
        // It shows arguments, whoever wrote them, and whatever is in them.
        Err(mut error) if error.use_stderr() => {
            let texts = error.context().filter_map(|(kind, value)| match value {
                ContextValue::String(text) => {
                    let text = shown(&abridged(&without_login(text)));
                    Some((kind, ContextValue::String(text)))
                }
                _ => None,
            });
            for (kind, text) in texts.collect::<Vec<_>>() {
                error.insert(kind, text);
            }
            error.render().to_string().lines().for_each(tell);
            return Ok(ExitCode::from(MISUSED));
        }
        Err(help) => help.exit(),
    };
    match cli.command {
        Command::Pull(args) => pull::pull(&args)?,
        Command::Resolve(args) => resolve::resolve(&args)?,
        Command::Pin(args) => return pin::pin(&args),
        Command::Store(command) => return store::run(&command),
        Command::Layer(args) => layer::layer(&args)?,
        Command::Mtree(args) => layer::mtree(&args)?,
        Command::Image(args) => image::image(&args)?,
        Command::Index(args) => image::index(&args)?,
        Command::Layout(LayoutCommand::Merge(args)) => layout::merge(&args)?,
        Command::Layout(LayoutCommand::Complete(args)) => layout::complete(&args)?,
        Command::Layout(LayoutCommand::Archive(args)) => layout::archive(&args)?,
        Command::Layout(LayoutCommand::Rootfs(args)) => layout::rootfs(&args)?,
        Command::Layout(LayoutCommand::File(args)) => layout::file(&args)?,
        Command::Verify(args) => return verify(&args),
        Command::Scan(args) => return scan::scan(args),
        Command::Findings(command) => return findings::run(&command),
        Command::Database(command) => database::run(&command)?,
        Command::TryNamespaces => scan::try_namespaces()?,
        Command::Supervise(args) => scan::supervise(&args)?,
        Command::Push(args) => return push::push(&args),
        Command::PushAll(args) => return push::push_all(&args),
        Command::Load(args) => load::load(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let options = VerifyOptions {
        sparse: args.sparse,
    };
    let Verification { faults, warnings } = verify_layout(&args.layout, options);
    let line = |kind, fault| format!("{kind}: {}", hints::fault_in_words(fault));
    tell_first(warnings.iter().map(|fault| line("warning", fault)));
    let path = args.layout.display();
    if faults.is_empty() && check_parents(args)? {
        say(format_args!("{path}: valid"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if faults.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    tell_first(faults.iter().map(|fault| line("error", fault)));
    tell(format_args!("{path}: not valid, faults: {}", faults.len()));
    if faults.iter().all(|fault| fault.kind == FaultKind::LeftOut) {
        tell(
            "it is valid with --sparse (in an oci_layout_test, sparse = True), which accepts that other platforms were left out",
        );
    }
    Ok(ExitCode::FAILURE)
}

/// Whether the directories that nobody named leave what is below them; tells of those that do not.
fn check_parents(args: &VerifyArgs) -> Result<bool> {
    let mut lists = BTreeMap::new();
    for pair in args.unnamed_parents.chunks_exact(2) {
        let list: Vec<UnnamedParent> = strict::read(&read(&pair[1])?)
            .map_err(|error| format!("{} is no list of directories: {error}", pair[1].display()))?;
        if !list.is_empty() {
            lists.insert(layout::read_descriptor(&pair[0])?.digest, list);
        }
    }
    if lists.is_empty() {
        return Ok(true);
    }
    let mut told = BTreeSet::new();
    for image in LayoutImages::read(&args.layout)?.held {
        for (layer, change) in
            changed_parents(&args.layout, &image.manifest, &image.config, &lists)?
        {
            told.insert(format!(
                "error: {layer}: {}",
                hints::change_in_words(&change)
            ));
        }
    }
    tell_first(&told);
    if !told.is_empty() {
        let path = args.layout.display();
        tell(format_args!(
            "{path}: directories that nobody named change the base: {}",
            told.len()
        ));
    }
    Ok(told.is_empty())
}

/// What `scan` asks the program, in processes of its own.
const TRY_NAMESPACES: &str = "try-namespaces";
const SUPERVISE: &str = "supervise";

/// What was to be done, to what, and why it was not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {0} {1}")]
struct Failed(&'static str, String, #[source] Box<dyn Error>);

/// Writes an error with its causes to standard error.
pub(crate) fn print_error(error: &(dyn Error + 'static)) {
    tell(format_args!("error: {}", hints::error_in_words(error)));
    let mut source = error.source();
    while let Some(cause) = source {
        tell(format_args!("  cause: {}", hints::error_in_words(cause)));
        source = cause.source();
    }
}

/// Reads a file, which must be one: whoever gave a pipe its name may never write into it.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open_regular(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(write_output(path, bytes)?)
}
