//! `layout …`: how a layout is made, and what is made of one.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use oci_pull_all::layout::{self, BlobMode, Format, Sources, find_image};
use oci_pull_all::oci::descriptor::Descriptor;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::{RefName, Tagged};
use oci_pull_all::oci::strict;
use oci_pull_all::rootfs::{Purpose, Rootfs};

use super::{Result, read};

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
#[command(group = ArgGroup::new("where").args(["tar", "output"]).required(true))]
pub(crate) struct RootfsArgs {
    /// The layout's directory.
    layout: PathBuf,
    /// Which image, if the layout has several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The file for a tar archive, which has owners, devices and extended attributes.
    #[arg(long, value_name = "FILE")]
    tar: Option<PathBuf>,
    /// The directory to unpack into, which must be empty or not there. All in it belongs to you, who
    /// may read and write it; devices and named pipes are left out.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn rootfs(args: &RootfsArgs) -> Result<()> {
    let platform = args.platform.as_ref();
    if let Some(file) = &args.tar {
        read_rootfs(&args.layout, platform)?.write_tar(file)?;
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
    Ok(read_rootfs(layout, platform)?.write_directory(directory)?)
}

fn read_rootfs(layout: &Path, platform: Option<&Platform>) -> Result<Rootfs> {
    let image = find_image(layout, platform)?;
    Ok(Rootfs::read(layout, &image.manifest, &image.config)?)
}

#[derive(Debug, Args)]
pub(super) struct LocalBlobs {
    /// A local blob: its descriptor and its file.
    #[arg(long, num_args = 2, value_names = ["DESCRIPTOR", "FILE"], action = clap::ArgAction::Append)]
    local: Vec<PathBuf>,
    /// A small local blob, whose digest is computed: a manifest, a config or an index.
    #[arg(long, value_name = "FILE")]
    local_file: Vec<PathBuf>,
}

impl LocalBlobs {
    pub(super) fn sources(&self) -> Result<Sources> {
        let mut sources = Sources::default();
        for pair in self.local.chunks_exact(2) {
            sources.add_local(&read_descriptor(&pair[0])?, pair[1].clone());
        }
        for file in &self.local_file {
            sources.add_local_file(file.clone())?;
        }
        Ok(sources)
    }
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The directory for the layout.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// The descriptor of the image or index.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    #[command(flatten)]
    local: LocalBlobs,
    /// A blob of a pulled base, whose path ends in blobs/ALGORITHM/HEX.
    #[arg(long, value_name = "FILE")]
    blob: Vec<PathBuf>,
    /// The index.json of a pulled base's layout. What refers to the image's manifests, by what it lists,
    /// is in the layout, too.
    #[arg(long, value_name = "FILE")]
    referrers: Vec<PathBuf>,
    /// The image's name within the layout (annotation org.opencontainers.image.ref.name).
    #[arg(long, value_name = "NAME")]
    ref_name: Option<RefName>,
    /// How a pulled base's blobs get into the directory.
    #[arg(long, value_enum, default_value_t = BlobsArg::Link)]
    blobs: BlobsArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BlobsArg {
    /// As relative symlinks, so that nothing is copied.
    Link,
    /// As files.
    File,
}

impl From<BlobsArg> for BlobMode {
    fn from(blobs: BlobsArg) -> Self {
        match blobs {
            BlobsArg::Link => BlobMode::Link,
            BlobsArg::File => BlobMode::File,
        }
    }
}

pub(crate) fn merge(args: &MergeArgs) -> Result<()> {
    let mut sources = args.local.sources()?;
    for blob in &args.blob {
        sources.add_pulled(blob.clone())?;
    }
    for index in &args.referrers {
        sources.add_referrers(index)?;
    }
    let root = read_descriptor(&args.root)?;
    let ref_name = args.ref_name.as_ref();
    sources.write_directory(&root, ref_name, args.blobs.into(), &args.output)?;
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    /// The layout that lacks its base's blobs.
    layout: PathBuf,
    /// The directory for the complete one.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// A blob of the pulled base, whose path ends in blobs/ALGORITHM/HEX.
    #[arg(long, value_name = "FILE")]
    blob: Vec<PathBuf>,
    /// How the pulled base's blobs get into the directory.
    #[arg(long, value_enum, default_value_t = BlobsArg::Link)]
    blobs: BlobsArg,
}

pub(crate) fn complete(args: &CompleteArgs) -> Result<()> {
    let mut sources = Sources::default();
    for blob in &args.blob {
        sources.add_pulled(blob.clone())?;
    }
    sources.complete(&args.layout, args.blobs.into(), &args.output)?;
    Ok(())
}

/// What is built has the media types that its descriptors say, so none may lack it (descriptor.md, "Properties").
pub(super) fn read_descriptor(path: &Path) -> Result<Descriptor> {
    let not_one = |why: String| format!("{} is not a content descriptor: {why}", path.display());
    let descriptor: Descriptor =
        strict::read(&read(path)?).map_err(|error| not_one(error.to_string()))?;
    if descriptor.media_type.is_empty() {
        return Err(not_one("it has no mediaType".to_owned()).into());
    }
    Ok(descriptor)
}
