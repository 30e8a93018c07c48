//! `pin`: new digests for what a workspace declares.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::HumanBytes;
use oci_pull_all::oci::digest::Digest;
use oci_pull_all::oci::reference::Reference;
use oci_pull_all::pins::{MODULE_FILE, Pinned, Workspace};
use oci_pull_all::progress::{Reporter, Silent};
use oci_pull_all::pull::{self, Description, Selection, Upstream};
use oci_pull_all::registry::{Keychain, Registry};
use oci_pull_all::store::{Store, Trust};

use super::pull::RegistryArgs;
use super::store::StoreLocation;
use super::{Failed, Result, print_error, say, tell};

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// The repositories' names, as in oci.pull(name = "NAME", …); all that are declared if none is given.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Change nothing, and fail if a tag points to another digest than the one that is pinned.
    #[arg(long)]
    check: bool,
    /// The file that pins the images; by default MODULE.bazel of the workspace.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Resolve this tag, whatever the comment on the digest's line says.
    #[arg(long, value_name = "TAG", requires = "names")]
    tag: Option<String>,
    #[command(flatten)]
    store: StoreLocation,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What a tag points to now.
struct Resolved {
    reference: Reference,
    digest: Digest,
    /// Nothing where nobody asked.
    description: Option<Description>,
}

#[tokio::main(worker_threads = 2)]
pub(crate) async fn pin(args: &PinArgs) -> Result<ExitCode> {
    let workspace = Workspace::read(&module(args)?)?;
    let store = Arc::new(Store::open(&args.store.path()?, Trust::Seal)?);
    let mut outdated = Vec::new();
    let mut failures = 0;
    for pinned in workspace.pinned(&args.names)? {
        match resolve(args, &workspace, &store, &pinned).await {
            Ok(resolved) => {
                print(&pinned, &resolved)?;
                if resolved.digest.to_string() != pinned.image.digest {
                    outdated.push((pinned, resolved.digest));
                }
            }
            Err(error) => {
                print_error(&Failed("pin", pinned.name, error));
                failures += 1;
            }
        }
    }
    if args.check && !outdated.is_empty() {
        let names: Vec<&str> = outdated.iter().map(|(pinned, _)| &*pinned.name).collect();
        let names = names.join(" ");
        tell(format_args!("error: outdated: {names}"));
        tell(format_args!(
            "to pin what is new: bazel run @oci_pull_all//:pin -- {names}"
        ));
        return Ok(ExitCode::FAILURE);
    }
    if !args.check {
        workspace.write(&outdated)?;
    }
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn module(args: &PinArgs) -> Result<PathBuf> {
    if let Some(file) = &args.module {
        return Ok(file.clone());
    }
    if let Some(workspace) = env::var_os("BUILD_WORKSPACE_DIRECTORY") {
        return Ok(Path::new(&workspace).join(MODULE_FILE));
    }
    Ok(Workspace::find(&env::current_dir()?)?)
}

async fn resolve(
    args: &PinArgs,
    workspace: &Workspace,
    store: &Arc<Store>,
    pinned: &Pinned,
) -> Result<Resolved> {
    let image = &pinned.image;
    let reference = match &args.tag {
        Some(tag) => image.repository.with_tag(tag)?,
        None => image.followed()?,
    };
    let mut options = args.registry.options()?;
    if image.plain_http {
        let host = reference.registry().to_owned();
        options.plain_http.insert(host);
    }
    if let (Some(label), None) = (&image.docker_config, args.registry.docker_config()) {
        let file = workspace.file(label).ok_or_else(|| {
            format!("its docker_config {label:?} is not in this workspace: pass --docker-config")
        })?;
        options.keychain = Keychain::of_file(&file)?;
    }
    // A tag is what its registry says, and no mirror.
    let origin = Registry::new(reference.clone(), options);
    let upstream = Arc::new(Upstream::new(origin, []));
    let reporter: Arc<dyn Reporter> = Arc::new(Silent);
    let tag = reference.tag().expect("it has one");
    let digest = pull::resolve(upstream.origin(), store, tag, &reporter).await?;
    let selection = Selection {
        platforms: image.platforms.clone(),
        shallow: true,
        ..Selection::default()
    };
    // A registry counts manifests, and CI checks often.
    let description = if args.check && digest.to_string() == image.digest {
        None
    } else {
        let description = pull::describe(&upstream, store, &digest, &selection, &reporter).await;
        Some(description?)
    };
    Ok(Resolved {
        reference,
        digest,
        description,
    })
}

fn print(pinned: &Pinned, resolved: &Resolved) -> Result<()> {
    say(format_args!("{}: {}", pinned.name, resolved.reference))?;
    let before = &pinned.image.digest;
    let after = resolved.digest.to_string();
    if *before == after {
        say(format_args!("  unchanged: {after}"))?;
    } else {
        say(format_args!("  old: {before}\n  new: {after}"))?;
    }
    if let Some(Description { size, created }) = &resolved.description {
        let created = created.as_ref().map(|day| format!(", created {day}"));
        say(format_args!(
            "  {}{}",
            HumanBytes(*size),
            created.unwrap_or_default()
        ))?;
    }
    Ok(())
}
