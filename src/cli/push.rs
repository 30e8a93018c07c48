//! `push`: what sends an image to a registry.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use indicatif::HumanBytes;
use oci_pull_all::oci::digest::Digest;
use oci_pull_all::oci::reference::{Repository, Tag, Tagged};
use oci_pull_all::progress::{Reporter, Silent};
use oci_pull_all::push::stamp::BuildStatus;
use oci_pull_all::push::{self, Pushed, PushedImage};
use oci_pull_all::registry::Client;
use oci_pull_all::scan::verdict::{Outcome, Verdict};
use oci_pull_all::store::{Store, Trust};
use oci_pull_all::text::count;

use super::arguments::{pairs, parse, read_arguments};
use super::findings::{exit_code, read_verdicts, say_verdicts};
use super::layout::{LocalBlobs, read_descriptor};
use super::progress::Progress;
use super::pull::{RegistryArgs, TransferArgs, time_in_words, transfer};
use super::store::{self, StoreLocation};
use super::{Failed, Result, read, say, tell};

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Where the image is pushed to: REGISTRY/REPOSITORY. If repeated, the last one counts.
    #[arg(long, value_name = "REPOSITORY", overrides_with = "repository")]
    repository: Repository,
    /// A tag that is to point to the image. {NAME} in it stands for a value of the build's status. May be
    /// repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// A file with one more tag on each line.
    #[arg(long, value_name = "FILE")]
    tag_file: Vec<PathBuf>,
    /// A file with the build's status, as Bazel writes it: a name and a value on each line.
    #[arg(long, value_name = "FILE")]
    status: Vec<PathBuf>,
    /// The descriptor of the image or index.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    #[command(flatten)]
    local: LocalBlobs,
    /// What the manifest of this descriptor names and is no local blob is in this repository, from which
    /// the base was pulled.
    #[arg(long, num_args = 2, value_names = ["DESCRIPTOR", "REPOSITORY"], action = clap::ArgAction::Append)]
    from: Vec<String>,
    /// Push nothing unless each image has a verdict, and each verdict is that it passes.
    #[arg(long)]
    require_scan: bool,
    /// The verdict on an image. May be repeated.
    #[arg(long, value_name = "FILE", requires = "require_scan")]
    verdict: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreLocation,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PushAllArgs {
    /// A file with the arguments of a push, as for a POSIX shell. May be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    push: Vec<PathBuf>,
    /// Arguments that count for each of them, after --.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// A push whose arguments are in a file.
#[derive(Debug, Parser)]
#[command(name = "oci-pull-all", no_binary_name = true)]
struct PushOfFile {
    #[command(subcommand)]
    command: PushCommand,
}

#[derive(Debug, Subcommand)]
enum PushCommand {
    Push(Box<PushArgs>),
}

pub(crate) fn push(args: &PushArgs) -> Result<ExitCode> {
    push_each(&[(None, args)])
}

pub(crate) fn push_all(args: &PushAllArgs) -> Result<ExitCode> {
    let mut listed = Vec::new();
    for file in &args.push {
        let arguments = read_arguments(file)?.chain(args.arguments.iter().cloned());
        let PushOfFile {
            command: PushCommand::Push(push),
        } = parse(arguments).unwrap_or_else(|error| error.exit());
        listed.push(push);
    }
    let files = args.push.iter().map(|file| Some(file.as_path()));
    let listed: Vec<_> = files.zip(listed.iter().map(Box::as_ref)).collect();
    push_each(&listed)
}

/// Pushes one after the other, and nothing at all if one of them could not begin.
fn push_each(pushes: &[(Option<&Path>, &PushArgs)]) -> Result<ExitCode> {
    let mut outcome = Outcome::Passed;
    let mut prepared = Vec::new();
    for (file, args) in pushes {
        let verdicts = read_verdicts(&args.verdict)?;
        let passes = say_verdicts(&verdicts)?;
        let push = Prepared::new(args).and_then(|push| {
            if args.require_scan && passes == Outcome::Passed {
                push.check_scanned(&verdicts)?;
            }
            Ok(push)
        });
        outcome = outcome.max(passes);
        prepared.push(push.map_err(|error| match file {
            Some(file) => Failed("push what is said in", file.display().to_string(), error).into(),
            None => error,
        })?);
    }
    if outcome != Outcome::Passed {
        tell("error: nothing is pushed, because the image does not pass its scan");
        return Ok(exit_code(outcome));
    }
    for push in prepared {
        push.send()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A push of which all is there that this machine can have.
pub(super) struct Prepared<'a> {
    transfer: &'a TransferArgs,
    tags: Vec<Tag>,
    image: PushedImage,
    target: Arc<Client>,
    store: Option<Store>,
}

impl<'a> Prepared<'a> {
    fn new(args: &'a PushArgs) -> Result<Self> {
        let image = PushedImage {
            sources: args.local.sources()?,
            origins: origins(args)?,
            root: read_descriptor(&args.root)?,
        };
        let target = &args.repository;
        let mut mounted: Vec<Repository> = image
            .origins
            .values()
            .map(|origin| origin.repository())
            .filter(|from| from.registry() == target.registry() && *from != target)
            .cloned()
            .collect();
        mounted.sort();
        mounted.dedup();
        // A machine that has pulled nothing has no store.
        let path = args.store.path().ok().filter(|path| path.exists());
        let store = path.map(|path| store::open_existing(&path, Trust::Seal));
        let options = args.registry.options()?;
        Ok(Prepared {
            transfer: &args.transfer,
            tags: tags(args)?,
            image,
            target: Arc::new(Client::for_push(target.clone(), options, mounted)),
            store: store.transpose()?,
        })
    }

    /// A push of what lies here, all of it.
    pub(super) fn of_local(
        image: PushedImage,
        target: &Tagged,
        registry: &RegistryArgs,
        transfer: &'a TransferArgs,
    ) -> Result<Self> {
        let repository = target.reference().repository().clone();
        let client = Client::for_push(repository, registry.options()?, Vec::new());
        Ok(Prepared {
            transfer,
            tags: vec![target.tag().clone()],
            image,
            target: Arc::new(client),
            store: None,
        })
    }

    /// Each image that is pushed must be one that was scanned.
    fn check_scanned(&self, verdicts: &[Verdict]) -> Result<()> {
        let scanned = verdicts.iter().map(|verdict| &verdict.image.manifest);
        let scanned = scanned
            .filter_map(|manifest| manifest.parse().ok())
            .collect();
        let found = transfer(self.transfer.concurrency, async {
            Ok(push::unscanned(&self.image, &scanned, &Silent).await?)
        });
        let Some(image) = found? else {
            return Ok(());
        };
        let platform = image.platform.map(|platform| format!(" for {platform}"));
        Err(format!(
            "nothing is pushed, because the image {}{} was not scanned",
            image.digest,
            platform.unwrap_or_default()
        )
        .into())
    }

    pub(super) fn send(self) -> Result<()> {
        let connections = self.transfer.concurrency;
        transfer(connections, self.send_by(connections.into()))
    }

    async fn send_by(self, connections: usize) -> Result<()> {
        let progress = Progress::new(self.transfer.progress);
        let reporter: Arc<dyn Reporter> = Arc::new(progress.clone());
        let name = self.target.repository().to_string();
        let digest = self.image.root.digest.clone();
        let pushed = push::push(
            &self.target,
            self.image,
            &self.tags,
            self.store,
            connections,
            &reporter,
        );
        let report = pushed
            .await
            .map_err(|error| Failed("push to", name.clone(), error.into()))?;
        progress.finish(&describe(&name, &self.tags, &report));
        say(format_args!("{name}@{digest}"))
    }
}

fn tags(args: &PushArgs) -> Result<Vec<Tag>> {
    let mut status = BuildStatus::default();
    for file in &args.status {
        status.add(&String::from_utf8_lossy(&read(file)?));
    }
    let mut written = args.tag.clone();
    for file in &args.tag_file {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        let lines = text.lines().map(str::trim);
        written.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let mut seen = HashSet::new();
    written.retain(|tag| seen.insert(tag.clone()));
    let tags = written.iter().map(|tag| Ok(status.fill(tag)?.parse()?));
    tags.collect()
}

/// One client for each repository that bases were pulled from.
fn origins(args: &PushArgs) -> Result<HashMap<Digest, Arc<Client>>> {
    let mut registries: HashMap<&str, Arc<Client>> = HashMap::new();
    let mut origins = HashMap::new();
    for (descriptor, repository) in pairs(&args.from) {
        let registry = if let Some(registry) = registries.get(repository) {
            Arc::clone(registry)
        } else {
            let options = args.registry.options()?;
            let registry = Arc::new(Client::new(repository.parse()?, options));
            registries.insert(repository, Arc::clone(&registry));
            registry
        };
        let descriptor = read_descriptor(descriptor.as_ref())?;
        origins.insert(descriptor.digest, registry);
    }
    Ok(origins)
}

fn describe(name: &str, tags: &[Tag], report: &Pushed) -> String {
    let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
    format!(
        "{name}: {}, {}, {} present, {} mounted, {} sent, {}",
        if tags.is_empty() {
            "no tag".to_owned()
        } else {
            tags.join(" ")
        },
        count(report.blobs, "blob"),
        report.present,
        report.mounted,
        HumanBytes(report.sent),
        time_in_words(report.elapsed)
    )
}
