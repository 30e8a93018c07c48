//! `load`: what gives an image to a local container engine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use oci_pull_all::load;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Tagged;

use super::{Result, users_path};

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The layout's directory, or an archive in the format docker.
    layout: PathBuf,
    /// Which image, if the layout has several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", overrides_with = "platform")]
    platform: Option<Platform>,
    /// A name that the image gets. May be repeated.
    #[arg(long, value_name = "NAME:TAG")]
    tag: Vec<Tagged>,
    /// The program that loads the image: docker, podman, nerdctl or ctr, by default the first that is on
    /// PATH, or another whose `load` reads an archive of `docker save`.
    #[arg(long, value_name = "PROGRAM", overrides_with = "loader")]
    loader: Option<OsString>,
}

pub(crate) fn load(args: &LoadArgs) -> Result<()> {
    let loader = args.loader.as_ref().map(|loader| {
        // A name alone is looked for on PATH.
        if Path::new(loader).components().count() > 1 {
            users_path(Path::new(loader)).into_os_string()
        } else {
            loader.clone()
        }
    });
    let platform = args.platform.as_ref();
    load::load(&args.layout, platform, &args.tag, loader.as_deref())?;
    Ok(())
}
