//! `layer` and `mtree`: what build actions call.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use oci_pull_all::image::{
    InputKind, LayerContent, LayerEntry, LayerOptions, MetadataChange, Owner, PathPattern,
    build_layer, list_archive, parse_mode, shown_directory,
};
use oci_pull_all::json::to_json;
use oci_pull_all::oci::descriptor::Compression;
use oci_pull_all::outputs::check_apart;

use super::arguments::pairs;
use super::{Result, write};

#[derive(Debug, Args)]
pub(crate) struct LayerArgs {
    /// The file for the layer.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The file for the layer's descriptor.
    #[arg(long, value_name = "FILE")]
    descriptor: PathBuf,
    /// The file for a list of the directories that are in the layer only because something is in them.
    #[arg(long, value_name = "FILE")]
    unnamed_parents: Option<PathBuf>,
    /// How the layer is compressed. By default gzip; an archive that is all of the layer stays as it is.
    #[arg(long, value_enum)]
    compression: Option<CompressionArg>,
    /// The owner of all entries.
    #[arg(long, value_name = "UID:GID", default_value = "0:0")]
    owner: Owner,
    /// The modification time of all entries, in seconds since 1970.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    mtime: u64,
    /// The mode of all regular files, in octal.
    #[arg(long, value_name = "OCTAL", value_parser = parse_mode)]
    mode: Option<u32>,
    /// A regular file with mode 0755 if it may be executed and begins as a program does, else with mode 0644.
    #[arg(long, num_args = 2, value_names = ["PATH", "FILE"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    source: Vec<String>,
    /// A regular file with mode 0644.
    #[arg(long, num_args = 2, value_names = ["PATH", "FILE"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    file: Vec<String>,
    /// A regular file with mode 0755.
    #[arg(long, num_args = 2, value_names = ["PATH", "FILE"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    executable: Vec<String>,
    /// What is a link of the build, with its text.
    #[arg(long, num_args = 2, value_names = ["PATH", "LINK"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    link: Vec<String>,
    /// All that is in a local directory.
    #[arg(long, num_args = 2, value_names = ["PATH", "DIR"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    directory: Vec<String>,
    /// An empty directory.
    #[arg(long, value_name = "PATH")]
    empty_directory: Vec<String>,
    /// An empty regular file with mode 0644.
    #[arg(long, value_name = "PATH")]
    empty_file: Vec<String>,
    /// A symbolic link.
    #[arg(long, num_args = 2, value_names = ["PATH", "TARGET"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    symlink: Vec<String>,
    /// All that is in a tar archive, with its own owners, modes and times, or in a Debian package, with what records that.
    #[arg(long, value_name = "FILE")]
    tar: Vec<PathBuf>,
    /// A symbolic link of the base: what is to be below it goes where it leads.
    #[arg(long, num_args = 2, value_names = ["PATH", "TARGET"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    base_link: Vec<String>,
    /// The mode, in octal, and perhaps the owner of a directory that is there only because something is in it.
    #[arg(long, num_args = 2, value_names = ["PATH", "OCTAL [UID:GID]"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    parent: Vec<String>,
    /// The mode of one path, in octal.
    #[arg(long, num_args = 2, value_names = ["PATH", "OCTAL"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    path_mode: Vec<String>,
    /// What is said of all paths that match a pattern: mode=OCTAL, uid=NUMBER, gid=NUMBER, uname=NAME, gname=NAME, time=SECONDS.
    #[arg(long, num_args = 2, value_names = ["PATTERN", "WORDS"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    metadata: Vec<String>,
    /// Take only what has a path that matches one of these patterns. May be repeated.
    #[arg(
        long,
        value_name = "PATTERN",
        allow_hyphen_values = true,
        conflicts_with = "tar"
    )]
    take: Vec<PathPattern>,
    /// Leave out what has a path that matches one of these patterns. May be repeated.
    #[arg(
        long,
        value_name = "PATTERN",
        allow_hyphen_values = true,
        conflicts_with = "tar"
    )]
    leave: Vec<PathPattern>,
    /// The file for a list of the local files of which nothing was taken.
    #[arg(long, value_name = "FILE")]
    unused_inputs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionArg {
    /// gzip, which everything reads.
    Gzip,
    /// zstd, smaller and faster.
    Zstd,
    /// No compression.
    None,
}

impl From<CompressionArg> for Compression {
    fn from(compression: CompressionArg) -> Self {
        match compression {
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Zstd => Compression::Zstd,
            CompressionArg::None => Compression::None,
        }
    }
}

pub(crate) fn layer(args: &LayerArgs) -> Result<()> {
    let outputs = [&args.output, &args.descriptor].into_iter();
    check_apart(
        outputs
            .chain(&args.unnamed_parents)
            .chain(&args.unused_inputs),
    )?;
    let mut content = LayerContent::default();
    for (path, target) in pairs(&args.base_link) {
        content.add_link_of_base(path, target)?;
    }
    content.pick(&args.take, &args.leave)?;
    for (path, said) in pairs(&args.parent) {
        let (mode, owner) = said.split_once(' ').unwrap_or((said, "0:0"));
        content.set_parent(path, parse_mode(mode)?, owner.parse()?)?;
    }
    let mut unused = Vec::new();
    for (files, kind) in [
        (&args.source, InputKind::Source),
        (&args.file, InputKind::Data),
        (&args.executable, InputKind::Executable),
        (&args.link, InputKind::Link),
    ] {
        for (path, file) in pairs(files) {
            if !content.add_input(path, Path::new(file), kind)? {
                unused.push(file);
            }
        }
    }
    for (path, source) in pairs(&args.directory) {
        if !content.add_tree(path, &shown_directory(Path::new(source))?)? {
            unused.push(source);
        }
    }
    for path in &args.empty_directory {
        content.add(path, LayerEntry::Directory)?;
    }
    for path in &args.empty_file {
        content.add(path, LayerEntry::EmptyFile)?;
    }
    for (path, target) in pairs(&args.symlink) {
        let target = target.to_owned();
        content.add(path, LayerEntry::Symlink { target })?;
    }
    for archive in &args.tar {
        content.add_tar(archive.clone());
    }
    for (path, mode) in pairs(&args.path_mode) {
        let mode = MetadataChange::mode(parse_mode(mode)?);
        content.set_metadata(&PathPattern::literal(path), mode)?;
    }
    for (pattern, words) in pairs(&args.metadata) {
        content.set_metadata(&pattern.parse()?, words.parse()?)?;
    }
    let options = LayerOptions {
        compression: args.compression.map(Compression::from),
        owner: args.owner,
        mode: args.mode,
        mtime: args.mtime,
    };
    let built = build_layer(&content, &options, &args.output)?;
    if let Some(file) = &args.unnamed_parents {
        write(file, &to_json(&built.unnamed_parents))?;
    }
    if let Some(file) = &args.unused_inputs {
        let lines: Vec<_> = unused.iter().map(|path| format!("{path}\n")).collect();
        write(file, lines.concat().as_bytes())?;
    }
    write(&args.descriptor, &to_json(&built.descriptor))
}

#[derive(Debug, Args)]
pub(crate) struct MtreeArgs {
    /// The archive: a layer or a root file system, compressed or not.
    archive: PathBuf,
    /// The file for the list.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn mtree(args: &MtreeArgs) -> Result<()> {
    Ok(list_archive(&args.archive, &args.output)?)
}
