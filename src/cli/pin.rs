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
use oci_pull_all::oci::reference::Tag;
use oci_pull_all::oci::time::BadTime;
use oci_pull_all::pins::{
    Bazel, Declared, MODULE_FILE, ModuleFiles, Move, Pinned, Refusal, Target, of_extension,
};
use oci_pull_all::progress::{Reporter, Silent};
use oci_pull_all::pull::{self, Dates, DescribedKind, Description, PullError, Selection, Upstream};
use oci_pull_all::registry::{Client, Keychain};
use oci_pull_all::scan::database::{self, DatabaseKind, DateError, OwnDates};
use oci_pull_all::store::{Store, Trust};
use oci_pull_all::text::named;
use serde::Serialize;

use super::arguments::{OF_THIS_RUN, variable};
use super::hints::in_one_line;
use super::pull::{RegistryArgs, transfer};
use super::resolve::description_in_words;
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

/// By how much the clocks of machines may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

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
        "nothing in this workspace says which tag it follows: add tag = \"TAG\" to its declaration, such as tag = \"stable\", or pass --tag"
    )]
    NoTag,
    #[error("its docker_config {0:?} is not in this workspace: pass --docker-config")]
    DockerConfig(String),
    #[error("{0:?} is no digest, so its age cannot be told")]
    NoDigest(String),
    #[error("when it was made, its {file} may say, which cannot be read")]
    Database { file: String, source: DateError },
    #[error(
        "its tag points to {new} now, and {old} is pinned: if that is meant, write \"{digest}\" as its digest"
    )]
    Kind {
        new: &'static str,
        old: &'static str,
        digest: Digest,
    },
    #[error("it says when it was made, but not so that its age could be told")]
    Unreadable(#[source] BadTime),
    #[error(
        "it says that it was made at {0}, which is yet to come: pin another one, or set this machine's clock"
    )]
    Future(DateTime<Utc>),
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
    /// When the oldest of what is pinned was made, if that was asked for and it says so.
    created: Option<DateTime<Utc>>,
    /// Whether that is too long ago.
    too_old: bool,
    /// Whether that says only when a database was pushed, so that it may be older.
    only_pushed: bool,
    /// Why not all was found out.
    error: Option<String>,
}

pub(crate) fn pin(args: &PinArgs) -> Result<ExitCode> {
    let mut all = Vec::new();
    let is_good = transfer(2, pin_all(args, &mut all));
    // Who reads it is told what was found out before an error, too.
    if args.json {
        say(String::from_utf8_lossy(&to_json(&all)).trim_end())?;
    }
    Ok(if is_good? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether all is as it should be; what was found is added to `all`.
async fn pin_all(args: &PinArgs, all: &mut Vec<Found>) -> Result<bool> {
    let files = ModuleFiles::read(&module(args)?)?;
    let mut declared = of_extension(&read(&args.pins)?)
        .map_err(|error| format!("cannot read {}: {error}", args.pins.display()))?;
    let mut knows_all = true;
    let bazel = Bazel {
        program: &args.bazel,
        unset: &OF_THIS_RUN,
    };
    match files.repository_rules(bazel) {
        Ok(more) => declared.extend(more),
        // What cannot be asked for keeps nobody from the others.
        Err(error) => {
            print_error(&error);
            knows_all = false;
        }
    }
    check_names(args, &declared)?;
    let store = Arc::new(store::open(&args.store.path()?, Trust::Seal)?);
    let mut moves = Vec::new();
    for Declared {
        name,
        digest,
        pinned,
    } in &declared
    {
        let mut found = Found {
            name: name.clone(),
            digest: digest.clone(),
            ..Found::default()
        };
        let mut target = Target::Same;
        if args.names.is_empty() || args.names.contains(name) {
            let new = match pinned {
                Ok(pinned) => found.look(args, &files, &store, pinned).await,
                Err(error) => Err(in_one_line(error).into()),
            };
            match new {
                Ok(new) if found.moves => target = Target::New(new),
                Ok(_) => {}
                Err(error) => {
                    target = Target::Unknown;
                    found.error = Some(in_one_line(&*error));
                    print_error(&Failed("pin", name.clone(), error));
                }
            }
            if !args.json {
                found.print()?;
            }
            all.push(found);
        }
        moves.push(Move {
            name: name.clone(),
            digest: digest.clone(),
            target,
        });
    }
    let is_current = if args.check {
        check(args, all)
    } else {
        let (refusals, written) = files.replace(&moves);
        for refusal in refusals {
            refuse(all, refusal);
        }
        if let Err(error) = &written {
            let is_left = |found: &Found| files.is_left(&found.name, &found.digest, error);
            let left = all.iter_mut().filter(|found| found.moves && is_left(found));
            for found in left.filter(|found| found.error.is_none()) {
                found.error = Some(in_one_line(error));
            }
        }
        written?;
        true
    };
    Ok(knows_all && is_current && all.iter().all(|found| found.error.is_none()))
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
    if let Some(workspace) = variable("BUILD_WORKSPACE_DIRECTORY") {
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
            known: named(known),
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
        let tag = args.tag.as_ref().map_or_else(String::new, |tag| {
            let quoted = shlex::try_quote(tag);
            format!(" --tag {}", quoted.unwrap_or_default())
        });
        tell(format_args!(
            "to pin what is new: bazel run @oci_pull_all//:pin -- {outdated}{tag}"
        ));
    }
    if !too_old.is_empty() {
        tell(format_args!("error: too old: {too_old}"));
    }
    if args.max_age.is_some() {
        let silent = names(|found| {
            let is_told = found.created.is_some() && !found.only_pushed;
            !is_told && !found.too_old && found.error.is_none()
        });
        if !silent.is_empty() {
            tell(format_args!(
                "warning: nothing says when these were made (of a database, when it was pushed does not say it), so their age was not judged: {silent}"
            ));
        }
    }
    outdated.is_empty() && too_old.is_empty()
}

impl Found {
    /// Finds out what there is of `pinned`, and returns the digest that its tag points to now.
    ///
    /// What is found is kept when more cannot be found out.
    async fn look(
        &mut self,
        args: &PinArgs,
        files: &ModuleFiles,
        store: &Arc<Store>,
        pinned: &Pinned,
    ) -> Result<Digest> {
        let name = &pinned.repository;
        self.reference = Some(name.to_string());
        let tag = args.tag.as_deref().or(pinned.tag.as_deref());
        // The form before there was an attribute for it.
        let tag = tag.or_else(|| files.tag_in_comment(&self.name, &self.digest));
        let tag: Tag = tag.ok_or(PinsError::NoTag)?.parse()?;
        self.reference = Some(name.clone().tagged(tag.clone()).to_string());
        let source = Source::new(args, files, store, pinned)?;

        let old: Option<Digest> = self.digest.parse().ok();
        // What is pinned by sha512, or is to be, stays so.
        let algorithm = self.digest.split(':').next();
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|known| Some(known.as_str()) == algorithm)
            .unwrap_or(Algorithm::Sha256);
        let new = source.resolve(&tag, algorithm).await?;
        self.new = Some(new.to_string());
        self.moves = self.new.as_ref() != Some(&self.digest);
        // A registry counts manifests, and CI checks often.
        if self.moves || !args.check {
            let description = source.describe(&new).await?;
            let size = HumanBytes(description.size);
            self.description = Some(format!("{}; {size}", description_in_words(&description)));
            // It may be gone.
            if let Some(old) = old.as_ref().filter(|_| self.moves)
                && let Ok(before) = source.describe(old).await
            {
                let (was, is) = (kind(&before), kind(&description));
                if was != is {
                    let (old, new, digest) = (was, is, new);
                    return Err(PinsError::Kind { new, old, digest }.into());
                }
            }
        }
        match (args.max_age, old) {
            (Some(age), Some(old)) => {
                let made = source.made(&old).await?;
                self.only_pushed = made.only_pushed;
                self.judge(age, made.dates)?;
            }
            (Some(_), None) => return Err(PinsError::NoDigest(self.digest.clone()).into()),
            // Where nobody judges it, it may be gone.
            (None, Some(old)) if args.json => {
                let description = source.describe(&old).await.ok();
                self.created = description.and_then(|description| description.dates.oldest);
            }
            (None, _) => {}
        }
        Ok(new)
    }

    fn judge(&mut self, Age(age): Age, dates: Dates) -> std::result::Result<(), PinsError> {
        let now = SystemTime::now();
        self.created = dates.oldest;
        self.too_old = dates.oldest.is_some_and(|made| {
            let made = now.duration_since(made.into());
            made.is_ok_and(|made| made > age)
        });
        if let Some(error) = dates.unreadable {
            return Err(PinsError::Unreadable(error));
        }
        let is_future = |made: &DateTime<Utc>| SystemTime::from(*made) > now + CLOCKS_DIFFER;
        dates
            .newest
            .filter(is_future)
            .map_or(Ok(()), |made| Err(PinsError::Future(made)))
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

/// What is not expected to become something else.
fn kind(description: &Description) -> &'static str {
    match description.kind {
        DescribedKind::Images(_) => "an image",
        DescribedKind::Artifact(_) => "an artifact",
    }
}

/// Where something that is pinned comes from.
struct Source {
    upstream: Arc<Upstream>,
    store: Arc<Store>,
    selection: Selection,
    reporter: Arc<dyn Reporter>,
}

impl Source {
    fn new(
        args: &PinArgs,
        files: &ModuleFiles,
        store: &Arc<Store>,
        pinned: &Pinned,
    ) -> Result<Self> {
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
        Ok(Source {
            upstream: Arc::new(Upstream::new(origin, [])),
            store: Arc::clone(store),
            selection: Selection {
                platforms: pinned.platforms.clone(),
                shallow: true,
                ..Selection::default()
            },
            reporter: Arc::new(Silent),
        })
    }

    async fn resolve(
        &self,
        tag: &Tag,
        algorithm: Algorithm,
    ) -> std::result::Result<Digest, PullError> {
        let origin = self.upstream.origin();
        pull::resolve(origin, &self.store, tag, algorithm, &self.reporter).await
    }

    async fn describe(&self, digest: &Digest) -> std::result::Result<Description, PullError> {
        let Source {
            upstream,
            store,
            selection,
            reporter,
        } = self;
        pull::describe(upstream, store, digest, selection, reporter).await
    }

    /// When the image or artifact `digest` was made. Who pushes a database says when that was: when it was built, the
    /// database tells itself, so it is fetched.
    async fn made(&self, digest: &Digest) -> Result<Made> {
        let Description { kind, dates, .. } = self.describe(digest).await?;
        let said = |dates| Made {
            dates,
            only_pushed: false,
        };
        let artifact = match kind {
            DescribedKind::Artifact(artifact) => artifact,
            DescribedKind::Images(_) => return Ok(said(dates)),
        };
        // Of these it is what the database tells.
        if DatabaseKind::of(&artifact.artifact_type).is_some() {
            return Ok(said(dates));
        }
        let Source {
            upstream,
            store,
            selection,
            reporter,
        } = self;
        let is_database = database::is_of_database(&artifact);
        let mut files = artifact.files;
        files.retain(database::may_say_date);
        let paths = pull::files(upstream, store, &files, selection, reporter).await?;
        let read = move || -> std::result::Result<Option<Dates>, PinsError> {
            let mut own = OwnDates::new(is_database);
            let mut unreadable = None;
            for (file, path) in files.iter().zip(&paths) {
                if let Err(source) = own.read(file, path) {
                    unreadable.get_or_insert(PinsError::Database {
                        file: file.path.clone(),
                        source,
                    });
                }
            }
            // What is no database may have files that are called like one's.
            match (own.of_database(), unreadable) {
                (Some(_), Some(error)) => Err(error),
                (dates, _) => Ok(dates.map(|dates| dates.into_iter().collect())),
            }
        };
        let own = tokio::task::spawn_blocking(read).await??;
        Ok(match own {
            None => said(dates),
            Some(Dates {
                oldest: None,
                unreadable: None,
                ..
            }) => Made {
                dates,
                only_pushed: true,
            },
            Some(own) => said(own),
        })
    }
}

/// When something was made.
struct Made {
    dates: Dates,
    /// Whether these say only when a database was pushed, which does not say itself when it was built: it is that old at
    /// least.
    only_pushed: bool,
}
