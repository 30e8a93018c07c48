//! `pull`, and what all commands that speak to a registry take.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fs;
use std::iter;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use directories::BaseDirs;
use indicatif::{HumanBytes, HumanDuration};
use oci_pull_all::json::to_json;
use oci_pull_all::layout::{INDEX_FILE, MARKER_FILE};
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::{Reference, Registry, Tag};
use oci_pull_all::outputs::{check_apart, check_outside, check_outside_store};
use oci_pull_all::progress::Reporter;
use oci_pull_all::pull::{self, DescribedKind, Pulled, PulledFile, Selection, Upstream};
use oci_pull_all::registry::{
    Certificates, CertificatesError, Client, Keychain, Mirror, Mirrors, MirrorsError, Proxies,
    ProxyError, RegistryOptions,
};
use oci_pull_all::store::{Store, Trust};
use oci_pull_all::text::count;
use tokio::runtime;

use super::arguments::{switch, variable};
use super::hints::{OfPull, error_in_words, limits_of_threads};
use super::progress::{Progress, ProgressMode};
use super::store::{PlacementMode, StoreLocation, store_options};
use super::{Failed, Result, tell_first, users_path, write};

#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Speak plain HTTP to this registry (host, or host:port). Registries on this machine's
    /// loopback need no permission.
    #[arg(long, value_name = "HOST")]
    plain_http: Vec<Registry>,
    /// Take credentials from this file instead of those that Docker and podman use.
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// How many seconds a connection may say nothing before it is given up. A slow one that goes on
    /// is none.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
}

impl RegistryArgs {
    pub(super) fn docker_config(&self) -> Option<&Path> {
        self.docker_config.as_deref()
    }

    pub(super) fn options(&self) -> Result<RegistryOptions> {
        Ok(RegistryOptions {
            keychain: match &self.docker_config {
                Some(file) => Keychain::of_file(&users_path(file))?,
                None => Keychain::of_files(credential_files()),
            },
            plain_http: self.plain_http.iter().cloned().collect(),
            proxies: proxies()?,
            certificates: certificates()?,
            certificates_by_registry: certificate_directories(),
            idle_timeout: Duration::from_secs(self.idle_timeout),
        })
    }
}

/// The files in which Docker and podman keep credentials: `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json`
/// or else `~/.docker/config.json`, `$XDG_RUNTIME_DIR/containers/auth.json` or else that of
/// `/run/containers/UID`, and `$XDG_CONFIG_HOME/containers/auth.json` or else that of `~/.config`.
fn credential_files() -> impl Iterator<Item = PathBuf> {
    let variable = |name| variable(name).map(PathBuf::from);
    let at_home = |name| BaseDirs::new().map(|dirs| dirs.home_dir().join(name));
    let docker = variable("DOCKER_CONFIG").or_else(|| at_home(".docker"));
    let runtime = variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers"));
    let config = variable("XDG_CONFIG_HOME").or_else(|| at_home(".config"));
    let candidates = [
        variable("REGISTRY_AUTH_FILE"),
        docker.map(|directory| directory.join("config.json")),
        runtime
            .or_else(run_containers)
            .map(|directory| directory.join("auth.json")),
        config.map(|directory| directory.join("containers/auth.json")),
    ];
    candidates.into_iter().flatten()
}

/// Where podman and skopeo keep a login until the next boot.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
fn run_containers() -> Option<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    Some(Path::new("/run/containers").join(user.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn run_containers() -> Option<PathBuf> {
    None
}

/// The proxies that the environment names.
fn proxies() -> Result<Proxies> {
    let set = |names: [&'static str; 2]| {
        let mut named = names.into_iter();
        named.find_map(|name| Some((name, variable(name)?)))
    };
    let url = |names| {
        let Some((name, value)) = set(names).or_else(|| set(["ALL_PROXY", "all_proxy"])) else {
            return Ok(None);
        };
        let failed = |source| BadProxy { name, source };
        let value = value.into_string().map_err(|_| failed(ProxyError::Url))?;
        Proxies::new(Some(&value), None, "").map_err(failed)?;
        Ok::<_, BadProxy>(Some(value))
    };
    let http = url(["HTTP_PROXY", "http_proxy"])?;
    let https = url(["HTTPS_PROXY", "https_proxy"])?;
    let direct = set(["NO_PROXY", "no_proxy"]).map(|(_, value)| value);
    let direct = direct.unwrap_or_default();
    let direct = direct.to_string_lossy();
    Ok(Proxies::new(http.as_deref(), https.as_deref(), &direct)?)
}

/// The authorities that the environment names.
fn certificates() -> Result<Certificates> {
    let failed = |name| move |source| BadCertificates { name, source };
    let mut certificates = Certificates::default();
    if let Some(file) = variable("SSL_CERT_FILE") {
        let added = certificates.add_file(Path::new(&file));
        added.map_err(failed("SSL_CERT_FILE"))?;
    }
    if let Some(directories) = variable("SSL_CERT_DIR") {
        let directories = env::split_paths(&directories);
        for directory in directories.filter(|directory| !directory.as_os_str().is_empty()) {
            let added = certificates.add_directory(&directory);
            added.map_err(failed("SSL_CERT_DIR"))?;
        }
    }
    Ok(certificates)
}

/// Where Docker and podman have the certificates of registries.
fn certificate_directories() -> Vec<PathBuf> {
    let config = variable("XDG_CONFIG_HOME");
    let home = || BaseDirs::new().map(|dirs| dirs.home_dir().join(".config"));
    let config = config.map(PathBuf::from).or_else(home);
    let users = config.into_iter().flat_map(|config| {
        ["containers/certs.d", "docker/certs.d"].map(|directory| config.join(directory))
    });
    let all = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    users.chain(all).collect()
}

/// Names where certificates come from.
#[derive(Debug, thiserror::Error)]
#[error("the certificates of {name} cannot be used")]
struct BadCertificates {
    name: &'static str,
    source: CertificatesError,
}

/// Names where a proxy comes from.
#[derive(Debug, thiserror::Error)]
#[error("the proxy in {name} cannot be used")]
struct BadProxy {
    name: &'static str,
    source: ProxyError,
}

#[derive(Debug, Args)]
struct SelectionArgs {
    /// Pull manifests and configs only, no layers.
    #[arg(long)]
    shallow: bool,
    /// Pull what refers to the image and to its index as well: signatures, SBOMs and attestations. The
    /// image's digest says nothing of them, so there may be others tomorrow.
    #[arg(long, conflicts_with = "shallow")]
    referrers: bool,
    /// Pull only this platform's image, such as linux/arm64/v8. The index stays as it is. May be
    /// repeated.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Vec<Platform>,
}

/// What all that moves blobs takes.
#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// How many connections are used at once. A pull fetches large blobs over several.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) concurrency: u16,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub(super) progress: ProgressMode,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The image or artifact, by digest: REGISTRY/REPOSITORY@DIGEST.
    reference: Reference,
    /// The directory for the layout.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Write an artifact's blobs as files into this directory, which must be empty or not there: by their titles, or
    /// else by their media types, and archives unpacked beside. An image has none, which is an error unless --summary
    /// tells it.
    #[arg(long, value_name = "DIR", conflicts_with = "shallow")]
    files: Option<PathBuf>,
    /// Write what was pulled, as JSON, to this file.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    #[command(flatten)]
    store: StoreLocation,
    /// Use no store, whatever --store says: keep the blobs in the layout only.
    #[arg(long)]
    no_store: bool,
    /// How blobs get out of the store, where the file system has no reflinks.
    #[arg(long, value_enum, default_value_t = PlacementMode::Auto, env = "OCI_PULL_ALL_PLACEMENT")]
    placement: PlacementMode,
    /// Hash again what the store has, instead of trusting its time stamps.
    #[arg(long, env = VERIFY_VARIABLE, value_parser = switch(VERIFY_VARIABLE))]
    verify: bool,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Ask this mirror first, which has the repository below its prefix. What it does not have, the
    /// registry is asked for. http:// before it speaks plain HTTP. May be repeated.
    #[arg(long, value_name = "HOST[/PREFIX]")]
    mirror: Vec<Mirror>,
    /// The mirrors of this site, REGISTRY=HOST[/PREFIX], separated by commas. They are asked before
    /// those of --mirror.
    #[arg(long, value_name = "MIRRORS", env = MIRRORS_VARIABLE)]
    site_mirrors: Option<String>,
}

/// Has each pull hash what it takes.
const VERIFY_VARIABLE: &str = "OCI_PULL_ALL_VERIFY";
/// What holds a site's mirrors.
const MIRRORS_VARIABLE: &str = "OCI_PULL_ALL_MIRRORS";

impl PullArgs {
    fn upstream(&self) -> Result<Upstream> {
        let site: Mirrors = match &self.site_mirrors {
            Some(text) => text.parse().map_err(BadMirrors)?,
            None => Mirrors::default(),
        };
        let options = self.registry.options()?;
        let repository = self.reference.repository();
        let registry = repository.registry();
        let mirrors = site.of(registry, options.schemes_of(registry));
        // Who fails is not asked again under the same name.
        let mut known = HashSet::new();
        let mirrors = mirrors
            .chain(&self.mirror)
            .filter(|mirror| known.insert(mirror.to_string()));
        let mirrors = mirrors.map(|mirror| {
            let mut options = options.clone();
            if mirror.plain_http() {
                options.plain_http.insert(mirror.registry().clone());
            }
            Client::new(mirror.repository(repository), options)
        });
        let origin = Client::new(repository.clone(), options.clone());
        Ok(Upstream::new(origin, mirrors))
    }
}

/// An artifact's files were wanted, of what has none.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is an image and no artifact, so there are no files of it: pull it without --files, and take a file out of its layout by oci-pull-all layout file"
)]
struct NoFiles;

/// Names where a site's mirrors come from.
#[derive(Debug, thiserror::Error)]
#[error("the mirrors of {MIRRORS_VARIABLE} or --site-mirrors cannot be used")]
struct BadMirrors(#[source] MirrorsError);

pub(crate) fn pull(args: &PullArgs) -> Result<()> {
    transfer(args.transfer.concurrency, pull_with(args))
}

/// Runs what uses so many connections.
pub(super) fn transfer<T>(connections: u16, work: impl Future<Output = Result<T>>) -> Result<T> {
    // Connections hash and write by themselves, so there are more than there are cores.
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = (2 * cores).min(connections.into());
    check_limits(workers, connections.into())?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    // One that failed does not wait for what its threads wait for.
    runtime.shutdown_background();
    result
}

/// Whether this process may have the threads and open files that it needs: the runtime would panic, or wait without end,
/// where it may not.
fn check_limits(workers: usize, connections: u64) -> Result<()> {
    // One thread more does what blocks, and one tells of waits.
    let threads = workers + 2;
    let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
    let mut tried = Vec::new();
    for _ in 0..threads {
        let mut stopped = stop.subscribe();
        let thread = thread::Builder::new().spawn(move || drop(stopped.blocking_recv()));
        let thread = thread.map_err(|error| {
            format!("{threads} threads are needed, and the system gives no more than {}: {error}; raise the limit that keeps it from more: {}", tried.len(), limits_of_threads())
        });
        match thread {
            Ok(thread) => tried.push(thread),
            Err(error) => return Err(error.into()),
        }
    }
    drop(stop);
    for thread in tried {
        let _ = thread.join();
    }
    #[cfg(target_os = "linux")]
    allow_open_files(16 + 3 * connections)?;
    Ok(())
}

/// Raises the limit of open files as far as that is this process's to do.
#[cfg(target_os = "linux")]
fn allow_open_files(needed: u64) -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed)));
    let raised = setrlimit(Resource::Nofile, limit);
    if raised.is_ok() && limit.current == Some(needed) {
        return Ok(());
    }
    let may = limit.current.unwrap_or_default();
    Err(format!("{needed} open files are needed, and this process may have {may}: raise the limit (ulimit -n), or use fewer connections with --concurrency").into())
}

/// Checks that nothing would take the place of the store's files, nor the summary of what else is pulled; it may lie beside
/// that.
fn check_outputs(args: &PullArgs, store: &Path) -> Result<()> {
    let outputs = [
        Some(&args.output),
        args.files.as_ref(),
        args.summary.as_ref(),
    ];
    for output in outputs.into_iter().flatten() {
        check_outside_store(output, store)?;
    }
    let Some(summary) = &args.summary else {
        return Ok(());
    };
    let [marker, index, blobs] =
        [MARKER_FILE, INDEX_FILE, "blobs"].map(|name| args.output.join(name));
    check_apart([&args.output, &marker, &index, summary])?;
    check_outside(&args.output, slice::from_ref(summary))?;
    let directories: Vec<_> = iter::once(blobs).chain(args.files.clone()).collect();
    Ok(check_outside(summary, &directories)?)
}

async fn pull_with(args: &PullArgs) -> Result<()> {
    let private_store = args.output.join(".store");
    let root = if args.no_store {
        private_store.clone()
    } else {
        let path = args.store.path();
        path.map_err(|error| format!("{error}, or use --no-store"))?
    };
    check_outputs(args, &root)?;
    let upstream = Arc::new(args.upstream()?);
    let Some(digest) = args.reference.digest() else {
        return Err(refuse_tag(upstream.origin(), &args.reference).await);
    };
    let trust = if args.verify {
        Trust::Nothing
    } else {
        Trust::Seal
    };
    let of_pull = if args.no_store {
        OfPull::WithoutStore
    } else {
        OfPull::WithStore
    };
    let store = Store::open(&root, store_options(trust, args.placement.into()));
    let store = Arc::new(store.map_err(|error| of_pull(error.into()))?);
    let selection = Selection {
        platforms: args.selection.platform.clone(),
        shallow: args.selection.shallow,
        referrers: args.selection.referrers,
        files: args.files.clone(),
        connections: args.transfer.concurrency.into(),
    };
    let progress = Progress::new(args.transfer.progress);
    let reporter: Arc<dyn Reporter> = Arc::new(progress.clone());
    let pulled = async {
        // Before all of it is fetched.
        if args.files.is_some() && args.summary.is_none() {
            let described = pull::describe(&upstream, &store, digest, &selection, &reporter);
            if let DescribedKind::Images(_) = described.await?.kind {
                return Err(NoFiles.into());
            }
        }
        let pulled = pull::pull(
            &upstream,
            &store,
            digest,
            &selection,
            &args.output,
            &reporter,
        );
        Ok::<_, Box<dyn Error>>(pulled.await?)
    }
    .await;
    drop(store);
    let removed = if args.no_store {
        fs::remove_dir_all(&private_store)
    } else {
        Ok(())
    };
    let report = pulled
        .map_err(|error| Failed("pull", args.reference.to_string(), of_pull(error).into()))?;
    removed.map_err(|error| format!("cannot remove {}: {error}", private_store.display()))?;
    progress.finish(&describe(&args.reference, &report));
    let files = report
        .summary
        .artifact
        .iter()
        .flat_map(|artifact| &artifact.files);
    tell_first(files.filter_map(|PulledFile { path, problem, .. }| {
        let problem = problem.as_ref()?;
        Some(format!("warning: {path} {problem}"))
    }));
    if let Some(file) = &args.summary {
        write(file, &to_json(&report.summary))?;
    }
    Ok(())
}

fn describe(reference: &Reference, report: &Pulled) -> String {
    format!(
        "{reference}: {}, {} transferred, {} from the store, {}",
        count(report.blobs, "blob"),
        HumanBytes(report.transferred),
        HumanBytes(report.from_store),
        time_in_words(report.elapsed)
    )
}

pub(super) fn time_in_words(elapsed: Duration) -> String {
    if elapsed.as_secs() < 60 {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        HumanDuration(elapsed).to_string()
    }
}

/// The error for a reference without a digest, with the digest to pin if the registry tells.
async fn refuse_tag(registry: &Client, reference: &Reference) -> Box<dyn Error> {
    let tag = reference.tag().cloned().unwrap_or_else(Tag::latest);
    let advice = match registry.resolve(&tag).await {
        Ok((_, digest)) => format!(
            "pin the digest that it points to now: {}@{digest}",
            reference.repository()
        ),
        Err(error) => format!(
            "pin a digest; asking for the one it points to now failed: {}",
            error_in_words(&error)
        ),
    };
    format!("{reference} is a tag, which may point to another image tomorrow; {advice}").into()
}
