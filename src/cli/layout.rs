//! `layout rootfs`: what is made of a layout.

use std::path::{Path, PathBuf};

use clap::Args;
use oci_pull_all::layout::find_image;
use oci_pull_all::platform::Platform;
use oci_pull_all::rootfs::Rootfs;

use super::Result;

#[derive(Debug, Args)]
pub(crate) struct RootfsArgs {
    /// The layout's directory.
    layout: PathBuf,
    /// Which image, if the layout has several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The file for a tar archive, which has owners, devices and extended attributes.
    #[arg(long, value_name = "FILE", required_unless_present = "output")]
    tar: Option<PathBuf>,
    /// The directory to unpack into, which must be empty or not there. All in it belongs to you, who
    /// may read and write it; devices are left out.
    #[arg(long, value_name = "DIR", conflicts_with = "tar")]
    output: Option<PathBuf>,
}

pub(crate) fn rootfs(args: &RootfsArgs) -> Result<()> {
    let platform = args.platform.as_ref();
    if let Some(file) = &args.tar {
        read(&args.layout, platform)?.write_tar(file)?;
    }
    if let Some(directory) = &args.output {
        unpack(&args.layout, platform, directory)?;
    }
    Ok(())
}

pub(super) fn unpack(layout: &Path, platform: Option<&Platform>, directory: &Path) -> Result<()> {
    Ok(read(layout, platform)?.write_directory(directory)?)
}

fn read(layout: &Path, platform: Option<&Platform>) -> Result<Rootfs> {
    let image = find_image(layout, platform)?;
    Ok(Rootfs::read(layout, &image.manifest)?)
}
