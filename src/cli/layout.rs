//! `layout archive`, `layout rootfs` and `layout file`: what is made of a layout.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use oci_pull_all::layout::{self, Format, find_image};
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Tagged;
use oci_pull_all::rootfs::{Purpose, Rootfs};

use super::Result;

#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    /// The layout's directory.
    layout: PathBuf,
    /// The file for the archive.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Who is to read the archive.
    #[arg(long, value_enum)]
    format: FormatArg,
    /// Which image: with `oci`, that one alone; with `docker`, if the layout has several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// A name that the image gets when a `docker` archive is loaded. May be repeated.
    #[arg(long, value_name = "NAME:TAG")]
    tag: Vec<Tagged>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// The layout as it is.
    Oci,
    /// One image, as `docker save` writes it since version 25: a layout that `docker load` reads too.
    Docker,
}

pub(crate) fn archive(args: &ArchiveArgs) -> Result<()> {
    let format = match args.format {
        FormatArg::Oci if !args.tag.is_empty() => {
            return Err("--tag is for archives with --format docker".into());
        }
        FormatArg::Oci => Format::Oci,
        FormatArg::Docker => Format::Docker(&args.tag),
    };
    layout::archive(&args.layout, args.platform.as_ref(), format, &args.output)?;
    Ok(())
}

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
    /// may read and write it; devices and named pipes are left out.
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

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The layout's directory.
    layout: PathBuf,
    /// The file's path in the image.
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    path: String,
    /// Which image, if the layout has several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// It must be a program that runs without its image: no script, and linked statically.
    #[arg(long)]
    program: bool,
    /// What is to run the program is no Linux.
    #[arg(long, requires = "program")]
    foreign: bool,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn file(args: &FileArgs) -> Result<()> {
    if args.foreign {
        let path = &args.path;
        return Err(format!("cannot run {path:?} out of the image: it is a program of Linux, and the platform that would run it is another; build for or on one with the constraint @platforms//os:linux").into());
    }
    let image = find_image(&args.layout, args.platform.as_ref())?;
    let rootfs = Rootfs::read(&args.layout, &image.manifest, &image.config)?;
    let purpose = if args.program {
        Purpose::Program(&image.config.platform.architecture)
    } else {
        Purpose::Content
    };
    Ok(rootfs.write_file(&args.path, purpose, &args.output)?)
}

pub(super) fn unpack(layout: &Path, platform: Option<&Platform>, directory: &Path) -> Result<()> {
    Ok(read(layout, platform)?.write_directory(directory)?)
}

fn read(layout: &Path, platform: Option<&Platform>) -> Result<Rootfs> {
    let image = find_image(layout, platform)?;
    Ok(Rootfs::read(layout, &image.manifest, &image.config)?)
}
