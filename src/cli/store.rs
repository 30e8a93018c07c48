//! `store`: the blobs that all pulls share.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use directories::ProjectDirs;
use indicatif::HumanBytes;
use oci_pull_all::bundle;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Reference;
use oci_pull_all::outputs::check_outside_store;
use oci_pull_all::store::{Placement, Removed, Store, StoreError, StoreOptions, Trust, prune};
use oci_pull_all::text::count;

use super::hints::in_one_line;
use super::progress::other_process;
use super::{Result, say, tell, tell_first, users_path};

#[derive(Debug, Args)]
pub(crate) struct StoreLocation {
    /// The store's directory; by default `oci_pull_all/store` in the user's cache folder.
    #[arg(long, value_name = "DIR", env = "OCI_PULL_ALL_STORE")]
    store: Option<PathBuf>,
}

impl StoreLocation {
    pub(crate) fn path(&self) -> Result<PathBuf> {
        match &self.store {
            Some(path) => Ok(std::path::absolute(users_path(path))?),
            None => ProjectDirs::from("", "", "oci_pull_all")
                .map(|dirs| dirs.cache_dir().join("store"))
                .ok_or_else(|| {
                    "there is no home directory to keep the store in: name a directory with --store or OCI_PULL_ALL_STORE".into()
                }),
        }
    }
}

/// Opens the store at `path`, made if need be, for a command that places no blob.
pub(super) fn open(path: &Path, trust: Trust) -> Result<Store> {
    Ok(Store::open(
        path,
        store_options(trust, Placement::default()),
    )?)
}

/// Opens the store that is at `path`.
pub(super) fn open_existing(path: &Path, trust: Trust) -> Result<Store> {
    Ok(Store::open_existing(
        path,
        store_options(trust, Placement::default()),
    )?)
}

pub(super) fn store_options(trust: Trust, placement: Placement) -> StoreOptions {
    StoreOptions {
        trust,
        placement,
        waiting,
    }
}

fn waiting(process: Option<u32>) {
    let process = other_process(process);
    tell(format_args!(
        "oci-pull-all: waiting for {process}, which uses the store"
    ));
}

/// How blobs get into a layout where the file system has no reflinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PlacementMode {
    /// Of blobs of 1 MiB and more, the first layout has a hard link into the store, and others have copies.
    Auto,
    /// They are hard links in all layouts: no room is taken twice, but with Bazel's native library each new link
    /// makes the other workspaces read and hash the blob again.
    Link,
    /// All are copies: nothing that happens to a layout reaches the store.
    Copy,
}

impl From<PlacementMode> for Placement {
    fn from(mode: PlacementMode) -> Self {
        match mode {
            PlacementMode::Auto => Placement::Auto,
            PlacementMode::Link => Placement::Link,
            PlacementMode::Copy => Placement::Copy,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Print the store's directory.
    Path(StoreLocation),
    /// Print how many blobs the store has, and the room that is allocated for them.
    Size(StoreLocation),
    /// Hash every blob again, and name and remove those that are wrong.
    Verify(StoreLocation),
    /// Write images that were pulled to an archive, for the store of another machine.
    ///
    /// The archive is an OCI image layout, which other tools read as well.
    Export(ExportArgs),
    /// Take the blobs of such an archive, or of any archive of an OCI image layout, compressed or not, into the store.
    Import(ImportArgs),
    /// Remove blobs that were not used for long, and what killed pulls left half-written. A blob that is also a file
    /// of a layout stays: to remove it would free nothing.
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["max_size", "older_than"]).multiple(true).required(true))]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    location: StoreLocation,
    /// Remove the longest unused blobs until no more than this is allocated, such as 20GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Remove the blobs that no pull used for this long, such as 30d or 12h.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["images", "all"]).required(true))]
pub(crate) struct ExportArgs {
    /// The images, by digest: REGISTRY/REPOSITORY@DIGEST.
    #[arg(value_name = "IMAGE@DIGEST")]
    images: Vec<Reference>,
    /// Export everything that the store has.
    #[arg(long)]
    all: bool,
    /// Export only this platform's images, such as linux/arm64/v8. May be repeated.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all")]
    platform: Vec<Platform>,
    /// The file for the archive.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    location: StoreLocation,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The archive.
    archive: PathBuf,
    #[command(flatten)]
    location: StoreLocation,
}

pub(crate) fn run(command: &StoreCommand) -> Result<ExitCode> {
    match command {
        StoreCommand::Path(location) => say(format_args!("{}", location.path()?.display()))?,
        StoreCommand::Size(location) => {
            let store = open_existing(&location.path()?, Trust::Seal)?;
            let mut failures = Vec::new();
            let blobs = store.blobs(&mut failures);
            let bytes = blobs.iter().map(|blob| blob.allocated).sum();
            let rest = half_written(store.half_written(&mut failures));
            let blobs = count(blobs.len(), "blob");
            say(format_args!("{blobs}, {}{rest}", HumanBytes(bytes)))?;
            return Ok(told(&failures));
        }
        StoreCommand::Verify(location) => {
            let store = open_existing(&location.path()?, Trust::Nothing)?;
            return verify(&store);
        }
        StoreCommand::Export(args) => {
            let path = args.location.path()?;
            check_outside_store(&args.output, &path)?;
            let store = open_existing(&path, Trust::Seal)?;
            let moved = if args.all {
                let (moved, partial) = bundle::export_all(&store, &args.output)?;
                tell_first(
                    partial
                        .iter()
                        .map(|part| format!("warning: index.json does not list it: {part}")),
                );
                moved
            } else {
                bundle::export_images(&store, &args.images, &args.platform, &args.output)?
            };
            // The archive may be what goes to standard output.
            tell(format_args!(
                "exported {}, {}",
                count(moved.blobs, "blob"),
                HumanBytes(moved.bytes)
            ));
        }
        StoreCommand::Import(args) => {
            let store = open(&args.location.path()?, Trust::Seal)?;
            let mut refused = Vec::new();
            let imported = bundle::import(&store, &args.archive, &mut refused);
            tell_first(refused.iter().map(|fault| {
                let fault = in_one_line(fault);
                format!("error: a blob was refused: {fault}")
            }));
            let imported = imported?;
            let present = imported.present.blobs;
            let were = if present == 1 { "was" } else { "were" };
            say(format_args!(
                "imported {}, {}; {present} {were} there",
                count(imported.added.blobs, "blob"),
                HumanBytes(imported.added.bytes),
            ))?;
            if !refused.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        StoreCommand::Prune(args) => {
            let path = args.location.path()?;
            let (pruned, failures) = prune(&path, args.max_size, args.older_than, waiting)?;
            say(format_args!(
                "removed {}, {}{}",
                count(pruned.blobs, "blob"),
                HumanBytes(pruned.bytes),
                half_written(pruned.half_written)
            ))?;
            if pruned.shared > 0 {
                say(format_args!(
                    "kept {}, {}, shared with layouts: to remove that would free nothing",
                    count(pruned.shared, "blob"),
                    HumanBytes(pruned.shared_bytes)
                ))?;
            }
            return Ok(told(&failures));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Names everything that is wrong, so that who puts it right has not to come again for each.
fn verify(store: &Store) -> Result<ExitCode> {
    let verified = store.verify();
    for Removed {
        digest,
        what,
        shared,
    } in &verified.removed
    {
        let elsewhere = if *shared {
            "; it is also a file of a layout that was pulled, which must be pulled again (in Bazel, bazel clean --expunge)"
        } else {
            ""
        };
        tell(format_args!(
            "error: {digest}: {what}, so it was removed{elsewhere}"
        ));
    }
    for failure in &verified.failures {
        tell(format_args!("error: {}", in_one_line(failure)));
    }
    let blobs = count(verified.right, "blob");
    let bad = verified.removed.len() + verified.failures.len();
    if bad == 0 {
        say(format_args!("{blobs}, all right"))?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(format_args!("right: {blobs}, faults: {bad}"));
    Ok(ExitCode::FAILURE)
}

/// Tells what could not be done, and how that ends.
fn told(failures: &[StoreError]) -> ExitCode {
    tell_first(
        failures
            .iter()
            .map(|failure| format!("error: {}", in_one_line(failure))),
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn half_written(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(", and {} of half-written ones", HumanBytes(bytes)),
    }
}

/// A number and a unit: `500MB`, `20GiB`, `7B`; or 0. Who forgets a unit would lose what they want to keep.
fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let bytes = parse_units(text, |unit| match unit.to_ascii_lowercase().as_str() {
        "" if text == "0" => Some(1),
        "b" => Some(1),
        "kb" => Some(1000),
        "mb" => Some(1000_u64.pow(2)),
        "gb" => Some(1000_u64.pow(3)),
        "tb" => Some(1000_u64.pow(4)),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        "t" | "tib" => Some(1 << 40),
        _ => None,
    });
    bytes.ok_or_else(|| "expected a whole number and a unit, such as 500MB or 20GiB".to_owned())
}

/// A number and a unit: `90s`, `30m`, `12h`, `30d`.
fn parse_age(text: &str) -> std::result::Result<Duration, String> {
    let seconds = parse_units(text, |unit| match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        "w" => Some(7 * 24 * 60 * 60),
        _ => None,
    });
    let problem = || "expected a whole number and one of s, m, h, d, w, such as 30d".to_owned();
    seconds.map(Duration::from_secs).ok_or_else(problem)
}

/// A number of units, of which each is as much as `worth` says.
fn parse_units(text: &str, worth: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    number.checked_mul(worth(unit.trim())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_ages() {
        assert_eq!(parse_size("20GiB"), Ok(20 << 30));
        assert_eq!(parse_size("500 MB"), Ok(500_000_000));
        assert_eq!(parse_size("7B"), Ok(7));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_age("30d"), Ok(Duration::from_secs(30 * 86400)));
        for bad in ["", "GiB", "1.5GiB", "5 parsecs", "20", "99999999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
            assert!(parse_age(bad).is_err(), "{bad:?}");
        }
    }
}
