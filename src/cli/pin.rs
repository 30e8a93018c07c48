//! `pin`: new digests for what a workspace declares.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::HumanBytes;
use oci_pull_all::json::to_json;
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::oci::reference::{Reference, Tag};
use oci_pull_all::pins::{Declared, MODULE_FILE, ModuleFiles, Move, Pinned, Refusal, of_extension};
use oci_pull_all::progress::{Reporter, Silent};
use oci_pull_all::pull::{self, DescribedKind, Description, Selection, Upstream};
use oci_pull_all::registry::{Client, Keychain};
use oci_pull_all::store::{Store, Trust};
use serde::Serialize;

use super::hints::in_one_line;
use super::pull::RegistryArgs;
use super::resolve::in_words;
use super::store::{self, StoreLocation};
use super::{Failed, Result, print_error, read, say, tell, users_path};

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// The repositories' names, as in oci.pull(name = "NAME", …); all that are declared if none is given.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Change nothing, and fail if a tag points to another digest than the one that is pinned.
    #[arg(long)]
    check: bool,
    /// Fail, too, if what is pinned was made longer ago than this, such as 5d or 12h, by its own word.
    #[arg(long, value_name = "AGE", requires = "check")]
    max_age: Option<Age>,
    /// Print what was found as JSON, for other programs.
    #[arg(long)]
    json: bool,
    /// The file that pins the images; by default MODULE.bazel of the workspace.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// What the module extension says that the workspace declares. `bazel run @oci_pull_all//:pin` knows it.
    #[arg(long, value_name = "FILE")]
    pins: PathBuf,
    /// The Bazel that is asked for what repository rules declare (`use_repo_rule`).
    #[arg(long, value_name = "PROGRAM", default_value = "bazel")]
    bazel: String,
    /// Resolve this tag, whatever is declared.
    #[arg(long, value_name = "TAG", requires = "names")]
    tag: Option<String>,
    #[command(flatten)]
    store: StoreLocation,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// How old something may be.
#[derive(Clone, Copy, Debug)]
struct Age(Duration);

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let expected = "expected a number of hours, days or weeks, such as 12h, 5d or 2w";
        let (number, unit) =
            text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
        let hours = match unit {
            "h" => 1,
            "d" => 24,
            "w" => 7 * 24,
            _ => return Err(expected),
        };
        let number: u32 = number.parse().map_err(|_| expected)?;
        Ok(Age(Duration::from_secs(
            u64::from(number) * hours * 60 * 60,
        )))
    }
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
enum PinsError {
    #[error(
        "{0} declares nothing to pin: neither by oci.pull of oci_pull_all's extension, nor by its repository rules"
    )]
    Nothing(String),
    #[error("nothing that is declared has the name {name:?}: there is {known}")]
    Unknown { name: String, known: String },
    #[error(
        "nothing says which tag it follows: add tag = \"TAG\" to its declaration, such as tag = \"stable\", or pass --tag"
    )]
    NoTag,
    #[error("its docker_config {0:?} is not in this workspace: pass --docker-config")]
    DockerConfig(String),
    #[error("{0:?} is no digest, so its age cannot be told")]
    NoDigest(String),
}

/// What was found of something that is pinned.
#[derive(Default, Serialize)]
struct Found {
    name: String,
    /// The name that was asked for, with its tag.
    reference: Option<String>,
    /// The digest that is pinned.
    digest: String,
    /// The digest that the tag points to now.
    new: Option<String>,
    /// Whether these differ.
    moves: bool,
    /// What the newest of the two is.
    description: Option<String>,
    /// When what is pinned was made, if that was asked for and it says so.
    created: Option<DateTime<Utc>>,
    /// Whether that is too long ago.
    too_old: bool,
    /// Why it was not found out.
    error: Option<String>,
}

/// What a tag points to now.
struct Resolved {
    reference: Reference,
    digest: Digest,
    /// Nothing where nobody asked.
    description: Option<Description>,
    /// What the pinned digest says of its age, where somebody asked.
    created: Option<DateTime<Utc>>,
}

#[tokio::main(worker_threads = 2)]
pub(crate) async fn pin(args: &PinArgs) -> Result<ExitCode> {
    let files = ModuleFiles::read(&module(args)?)?;
    let mut declared = of_extension(&read(&args.pins)?)
        .map_err(|error| format!("cannot read {}: {error}", args.pins.display()))?;
    let mut knows_all = true;
    match files.repository_rules(&args.bazel) {
        Ok(more) => declared.extend(more),
        // What cannot be asked for keeps nobody from the others.
        Err(error) => {
            print_error(&error);
            knows_all = false;
        }
    }
    check_names(args, &declared)?;
    let store = Arc::new(store::open(&args.store.path()?, Trust::Seal)?);
    let mut all = Vec::new();
    let mut moves = Vec::new();
    for Declared { name, pinned } in &declared {
        let mut found = Found {
            name: name.clone(),
            ..Found::default()
        };
        let mut new = None;
        if args.names.is_empty() || args.names.contains(name) {
            let resolved = match pinned {
                Ok(pinned) => {
                    found.digest.clone_from(&pinned.digest);
                    resolve(args, &files, &store, pinned).await
                }
                Err(error) => Err(in_one_line(error).into()),
            };
            match resolved {
                Ok(resolved) => {
                    new = found.take(args, &resolved);
                }
                Err(error) => {
                    found.error = Some(in_one_line(&*error));
                    print_error(&Failed("pin", name.clone(), error));
                }
            }
            if !args.json {
                found.print()?;
            }
            all.push(found);
        }
        if let Ok(pinned) = pinned {
            moves.push(Move {
                name: name.clone(),
                digest: pinned.digest.clone(),
                new,
            });
        }
    }
    let is_current = if args.check {
        check(args, &all)
    } else {
        for refusal in files.replace(&moves)? {
            refuse(&mut all, refusal);
        }
        true
    };
    if args.json {
        say(String::from_utf8_lossy(&to_json(&all)).trim_end())?;
    }
    let is_good = knows_all && is_current && all.iter().all(|found| found.error.is_none());
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tells why digests are left as they are, of each that was to have another one.
fn refuse(all: &mut [Found], refusal: Refusal) {
    let refused = all
        .iter_mut()
        .filter(|found| found.moves && refusal.is_of(&found.name, &found.digest));
    let mut names = Vec::new();
    for found in refused {
        found.error = Some(in_one_line(&refusal));
        names.push(found.name.clone());
    }
    print_error(&Failed("pin", names.join(" "), refusal.into()));
}

fn module(args: &PinArgs) -> Result<PathBuf> {
    if let Some(file) = &args.module {
        return Ok(users_path(file));
    }
    if let Some(workspace) = env::var_os("BUILD_WORKSPACE_DIRECTORY") {
        return Ok(Path::new(&workspace).join(MODULE_FILE));
    }
    Ok(ModuleFiles::find(&users_path(&env::current_dir()?))?)
}

fn check_names(args: &PinArgs, declared: &[Declared]) -> Result<()> {
    let known: Vec<&str> = declared.iter().map(|declared| &*declared.name).collect();
    if known.is_empty() {
        return Err(PinsError::Nothing(module(args)?.display().to_string()).into());
    }
    match args
        .names
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(name) => Err(PinsError::Unknown {
            name: name.clone(),
            known: known.join(", "),
        }
        .into()),
    }
}

/// Whether nothing is outdated; tells what is.
fn check(args: &PinArgs, all: &[Found]) -> bool {
    let names = |is: fn(&Found) -> bool| -> String {
        let names = all
            .iter()
            .filter(|found| is(found))
            .map(|found| &*found.name);
        names.collect::<Vec<_>>().join(" ")
    };
    let outdated = names(|found| found.moves);
    let too_old = names(|found| found.too_old);
    if !outdated.is_empty() {
        tell(format_args!("error: outdated: {outdated}"));
        tell(format_args!(
            "to pin what is new: bazel run @oci_pull_all//:pin -- {outdated}"
        ));
    }
    if !too_old.is_empty() {
        tell(format_args!("error: too old: {too_old}"));
    }
    if args.max_age.is_some() {
        let silent = names(|found| found.created.is_none() && found.error.is_none());
        if !silent.is_empty() {
            tell(format_args!(
                "warning: nothing says when these were made, so their age was not judged: {silent}"
            ));
        }
    }
    outdated.is_empty() && too_old.is_empty()
}

impl Found {
    /// Takes what was found; returns the digest if it is another one than is pinned.
    fn take(&mut self, args: &PinArgs, resolved: &Resolved) -> Option<Digest> {
        let new = resolved.digest.to_string();
        self.reference = Some(resolved.reference.to_string());
        self.moves = new != self.digest;
        self.new = Some(new);
        self.description = resolved.description.as_ref().map(|description| {
            let size = HumanBytes(description.size);
            format!("{}; {size}", in_words(description))
        });
        self.created = resolved.created;
        let now = DateTime::<Utc>::from(SystemTime::now());
        self.too_old = args.max_age.is_some_and(|Age(age)| {
            // What was made in the future is not old.
            let made = self
                .created
                .and_then(|created| (now - created).to_std().ok());
            made.is_some_and(|made| made > age)
        });
        self.moves.then(|| resolved.digest.clone())
    }

    fn print(&self) -> Result<()> {
        let (Some(reference), Some(new)) = (&self.reference, &self.new) else {
            return Ok(());
        };
        say(format_args!("{}: {reference}", self.name))?;
        if self.moves {
            say(format_args!("  old: {}\n  new: {new}", self.digest))?;
        } else {
            say(format_args!("  unchanged: {new}"))?;
        }
        if let Some(description) = &self.description {
            say(format_args!("  {description}"))?;
        }
        if let Some(created) = &self.created {
            say(format_args!(
                "  pinned one created {}",
                created.date_naive()
            ))?;
        }
        Ok(())
    }
}

async fn resolve(
    args: &PinArgs,
    files: &ModuleFiles,
    store: &Arc<Store>,
    pinned: &Pinned,
) -> Result<Resolved> {
    let tag = args.tag.as_deref().or(pinned.tag.as_deref());
    // The form before there was an attribute for it.
    let tag = tag.or_else(|| files.tag_in_comment(&pinned.digest));
    let tag: Tag = tag.ok_or(PinsError::NoTag)?.parse()?;
    let mut options = args.registry.options()?;
    if pinned.plain_http {
        let registry = pinned.repository.registry();
        options.plain_http.insert(registry.clone());
    }
    if let (Some(label), None) = (&pinned.docker_config, args.registry.docker_config()) {
        let file = files.file(label);
        let file = file.ok_or_else(|| PinsError::DockerConfig(label.clone()))?;
        options.keychain = Keychain::of_file(&file)?;
    }
    // A tag is what its registry says, and no mirror.
    let origin = Client::new(pinned.repository.clone(), options);
    let upstream = Arc::new(Upstream::new(origin, []));
    let reporter: Arc<dyn Reporter> = Arc::new(Silent);
    // What is pinned by sha512 stays so.
    let old: Option<Digest> = pinned.digest.parse().ok();
    let algorithm = old.map_or(Algorithm::Sha256, |old| old.algorithm());
    let digest = pull::resolve(upstream.origin(), store, &tag, algorithm, &reporter).await?;
    let selection = Selection {
        platforms: pinned.platforms.clone(),
        shallow: true,
        ..Selection::default()
    };
    let describe = async |digest: &Digest| {
        pull::describe(&upstream, store, digest, &selection, &reporter).await
    };
    // A registry counts manifests, and CI checks often.
    let description = if args.check && digest.to_string() == pinned.digest {
        None
    } else {
        Some(describe(&digest).await?)
    };
    let created = if args.max_age.is_some() {
        let digest = pinned.digest.parse();
        let digest = digest.map_err(|_| PinsError::NoDigest(pinned.digest.clone()))?;
        let description = describe(&digest).await?;
        match (description.created, &description.kind) {
            (None, DescribedKind::Artifact(artifact)) => {
                pull::built(&upstream, store, artifact, &selection, &reporter).await?
            }
            (created, _) => created,
        }
    } else {
        None
    };
    Ok(Resolved {
        reference: pinned.repository.clone().tagged(tag),
        digest,
        description,
        created,
    })
}
