//! `store`: the blobs that all pulls share.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use directories::ProjectDirs;
use indicatif::HumanBytes;
use oci_pull_all::bundle;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Reference;
use oci_pull_all::store::{Store, Trust, prune};

use super::{Result, say, tell, users_path};

#[derive(Debug, Args)]
pub(crate) struct StoreLocation {
    /// The store's directory; by default `oci_pull_all` in the user's cache folder.
    #[arg(long, value_name = "DIR", env = "OCI_PULL_ALL_STORE")]
    store: Option<PathBuf>,
}

impl StoreLocation {
    pub(crate) fn path(&self) -> Result<PathBuf> {
        match &self.store {
            Some(path) if !path.as_os_str().is_empty() => {
                Ok(std::path::absolute(users_path(path))?)
            }
            _ => ProjectDirs::from("", "", "oci_pull_all")
                .map(|dirs| dirs.cache_dir().join("store"))
                .ok_or_else(|| {
                    "there is no home directory to keep the store in: name a directory with --store or OCI_PULL_ALL_STORE, or use --no-store".into()
                }),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Print the store's directory.
    Path(StoreLocation),
    /// Print how many blobs the store has, and their size.
    Size(StoreLocation),
    /// Hash every blob again, and remove those that are wrong.
    Verify(StoreLocation),
    /// Write images that were pulled to an archive, for the store of another machine.
    ///
    /// The archive is an OCI image layout, which other tools read as well.
    Export(ExportArgs),
    /// Take the blobs of such an archive, or of any archive of an OCI image layout, into the store.
    Import(ImportArgs),
    /// Remove blobs that were not used for long, and what killed pulls left half-written.
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["max_size", "older_than"]).multiple(true).required(true))]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    location: StoreLocation,
    /// Remove the longest unused blobs until no more than this is left, such as 20GiB.
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
            let blobs = Store::open_existing(&location.path()?, Trust::Seal)?.blobs()?;
            let bytes = blobs.iter().map(|blob| blob.size).sum();
            say(format_args!("{} blobs, {}", blobs.len(), HumanBytes(bytes)))?;
        }
        StoreCommand::Verify(location) => {
            let store = Store::open_existing(&location.path()?, Trust::Nothing)?;
            let wrong = store.verify()?;
            for digest in &wrong {
                tell(format_args!(
                    "error: {digest}: its content was altered, so it was removed"
                ));
            }
            if !wrong.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            say(format_args!("{} blobs, all right", store.blobs()?.len()))?;
        }
        StoreCommand::Export(args) => {
            let store = Store::open_existing(&args.location.path()?, Trust::Seal)?;
            let moved = if args.all {
                bundle::export_all(&store, &args.output)?
            } else {
                bundle::export_images(&store, &args.images, &args.platform, &args.output)?
            };
            say(format_args!(
                "exported {} blobs, {}",
                moved.blobs,
                HumanBytes(moved.bytes)
            ))?;
        }
        StoreCommand::Import(args) => {
            let store = Store::open(&args.location.path()?, Trust::Seal)?;
            let imported = bundle::import(&store, &args.archive)?;
            for fault in &imported.refused {
                tell(format_args!("error: a blob was refused: {fault}"));
            }
            say(format_args!(
                "imported {} blobs, {}; {} were there",
                imported.added.blobs,
                HumanBytes(imported.added.bytes),
                imported.present.blobs
            ))?;
            if !imported.refused.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        StoreCommand::Prune(args) => {
            let path = args.location.path()?;
            let pruned = prune(&path, args.max_size, args.older_than, || {
                tell("waiting for the pulls that use the store");
            })?;
            say(format_args!(
                "removed {} blobs, {}",
                pruned.blobs,
                HumanBytes(pruned.bytes)
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A number and a unit: `500MB`, `20GiB`, or plain bytes.
fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => 0,
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
    {
        Some(bytes) if factor > 0 => Ok(bytes),
        _ => Err("expected a whole number and a unit, such as 500MB or 20GiB".to_owned()),
    }
}

/// A number and a unit: `90s`, `30m`, `12h`, `30d`.
fn parse_age(text: &str) -> std::result::Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => 0,
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
    {
        Some(seconds) if factor > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a whole number and one of s, m, h, d, w, such as 30d".to_owned()),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_ages() {
        assert_eq!(parse_size("20GiB"), Ok(20 << 30));
        assert_eq!(parse_size("500 MB"), Ok(500_000_000));
        assert_eq!(parse_size("7"), Ok(7));
        assert_eq!(parse_age("30d"), Ok(Duration::from_secs(30 * 86400)));
        for bad in ["", "GiB", "1.5GiB", "5 parsecs", "99999999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
            assert!(parse_age(bad).is_err(), "{bad:?}");
        }
    }
}
