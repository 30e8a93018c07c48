//! `layer`, `image`, `index` and `layout merge`: what build actions call.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use oci_pull_all::image::{
    BASE_DIGEST, BASE_NAME, Base, ConfigChanges, HealthOption, Healthcheck, LayerContent,
    LayerEntry, LayerOptions, MetadataChange, Owner, PathPattern, build_image, build_index,
    build_layer, link_of_build, list_archive, parse_mode, shown_directory,
};
use oci_pull_all::json::to_json;
use oci_pull_all::layout::{BlobMode, Sources};
use oci_pull_all::oci::descriptor::{Compression, Descriptor};
use oci_pull_all::oci::digest::Digest;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Tagged;
use oci_pull_all::oci::strict;
use oci_pull_all::oci::time::Time;

use super::arguments::{pairs, parse_pair};
use super::{Result, read, write};

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
    /// All that is in a tar archive, with its own owners, modes and times.
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
        (&args.source, FileKind::Source),
        (&args.file, FileKind::Data),
        (&args.executable, FileKind::Executable),
        (&args.link, FileKind::Link),
    ] {
        for (path, file) in pairs(files) {
            if !add_file(&mut content, path, Path::new(file), kind)? {
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

/// What Bazel says a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Source,
    Data,
    Executable,
    Link,
}

/// Adds a file, if the layer takes such a path.
fn add_file(content: &mut LayerContent, path: &str, file: &Path, kind: FileKind) -> Result<bool> {
    let link = match kind {
        // A link in the sources is the file that it leads to.
        FileKind::Source => None,
        FileKind::Link => Some(
            fs::read_link(file)
                .map_err(|error| format!("cannot read the link {}: {error}", file.display()))?,
        ),
        FileKind::Data | FileKind::Executable => link_of_build(file),
    };
    if let Some(target) = link {
        let target = target.into_os_string().into_string();
        let target = target
            .map_err(|_| format!("{} is a link with a text that is not UTF-8", file.display()))?;
        return Ok(content.add(path, LayerEntry::Symlink { target })?);
    }
    // Bazel cannot tell a label of a source directory from one of a file.
    if file.is_dir() {
        return Ok(content.add_tree(path, &shown_directory(file)?)?);
    }
    let executable = match kind {
        FileKind::Source => is_program(file),
        kind => kind == FileKind::Executable,
    };
    let source = file.to_owned();
    Ok(content.add(path, LayerEntry::File { source, executable })?)
}

/// Whether a file of the sources is to be executed. Its bit alone does not tell: where an action runs remotely, all files
/// have it.
fn is_program(file: &Path) -> bool {
    let mut head = [0; 4];
    let read = fs::File::open(file).and_then(|mut file| file.read(&mut head));
    may_be_executed(file)
        && read.is_ok_and(|count| head[..count].starts_with(b"#!") || head == *b"\x7fELF")
}

#[cfg(unix)]
fn may_be_executed(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn may_be_executed(_file: &Path) -> bool {
    true
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

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The base image's manifest.
    #[arg(long, value_name = "FILE", requires = "base_config")]
    base_manifest: Option<PathBuf>,
    /// The base image's config.
    #[arg(long, value_name = "FILE", requires = "base_manifest")]
    base_config: Option<PathBuf>,
    /// What the image is for: required without a base, checked with one.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The descriptor of a layer, as `layer` writes it; the lowest first.
    #[arg(long, value_name = "FILE")]
    layer: Vec<PathBuf>,
    /// A word of the entry point; drops the base's command.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Take away the base's entry point and command.
    #[arg(long, conflicts_with = "entrypoint")]
    clear_entrypoint: bool,
    /// A word of the command.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// Take away the base's command.
    #[arg(long, conflicts_with = "cmd")]
    clear_cmd: bool,
    /// An environment variable.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A label.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// An annotation of the manifest.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    annotation: Vec<(String, String)>,
    /// The pulled image that this one stands on, unless an annotation says so already.
    #[arg(long, value_name = "NAME:TAG")]
    base_name: Option<Tagged>,
    /// Its digest.
    #[arg(long, value_name = "DIGEST")]
    base_digest: Option<Digest>,
    /// The user, and perhaps the group, that runs the command.
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The directory in which the command runs.
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// A port that the command listens on.
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    exposed_port: Vec<String>,
    /// A directory for data that outlives a container.
    #[arg(long, value_name = "PATH")]
    volume: Vec<String>,
    /// The signal that ends the command.
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// A word of the shell for commands that are one text.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    shell: Vec<String>,
    /// A word of the health check: CMD, CMD-SHELL or NONE, then those of the command.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    healthcheck: Vec<String>,
    /// How the health check is made: `interval`, `timeout`, `start_period`, `start_interval` or `retries`.
    #[arg(long, value_name = "NAME=VALUE", requires = "healthcheck")]
    healthcheck_option: Vec<HealthOption>,
    /// Who made the image.
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,
    /// When the image was made, as RFC 3339 writes it.
    #[arg(long, value_name = "TIME")]
    created: Option<Time>,
    /// A file with an environment variable on each line, before those of --env.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// A file with a label on each line, before those of --label.
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// A file with an annotation on each line, before those of --annotation.
    #[arg(long, value_name = "FILE")]
    annotation_file: Vec<PathBuf>,
    /// The file for the manifest.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// The file for the config.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    described: Described,
}

/// Where it is said what was built.
#[derive(Debug, Args)]
struct Described {
    /// The file for its descriptor.
    #[arg(long, value_name = "FILE")]
    descriptor: PathBuf,
    /// A file for its digest, in one line.
    #[arg(long, value_name = "FILE")]
    digest: Option<PathBuf>,
}

impl Described {
    fn write(&self, descriptor: &Descriptor) -> Result<()> {
        write(&self.descriptor, &to_json(descriptor))?;
        match &self.digest {
            Some(file) => write(file, format!("{}\n", descriptor.digest).as_bytes()),
            None => Ok(()),
        }
    }
}

pub(crate) fn image(args: &ImageArgs) -> Result<()> {
    let base = match (&args.base_manifest, &args.base_config) {
        (Some(manifest), Some(config)) => Some((read(manifest)?, read(config)?)),
        _ => None,
    };
    let base = base
        .as_ref()
        .map(|(manifest, config)| Base { manifest, config });
    let mut env: Vec<String> = Vec::new();
    for (name, value) in pairs_of_files(&args.env_file)? {
        env.push(format!("{name}={value}"));
    }
    env.extend(args.env.iter().cloned());
    let healthcheck = if args.healthcheck.is_empty() {
        None
    } else {
        let words = args.healthcheck.clone();
        Some(Healthcheck::new(words, &args.healthcheck_option)?)
    };
    let mut labels: BTreeMap<_, _> = pairs_of_files(&args.label_file)?.into_iter().collect();
    labels.extend(args.label.iter().cloned());
    let said = |words: &[String], clear| (clear || !words.is_empty()).then(|| words.to_vec());
    let changes = ConfigChanges {
        entrypoint: said(&args.entrypoint, args.clear_entrypoint),
        cmd: said(&args.cmd, args.clear_cmd),
        env,
        labels,
        shell: args.shell.clone(),
        healthcheck,
        author: args.author.clone(),
        created: args.created.map(Time::utc),
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        exposed_ports: args.exposed_port.clone(),
        volumes: args.volume.clone(),
        stop_signal: args.stop_signal.clone(),
    };
    let layers = read_descriptors(&args.layer)?;
    let base_name = args.base_name.as_ref();
    let base_name = base_name.map(|name| name.as_str().to_owned());
    let base_digest = args.base_digest.as_ref().map(ToString::to_string);
    let of_base = [(BASE_NAME, base_name), (BASE_DIGEST, base_digest)];
    let of_base = of_base
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let mut annotations: BTreeMap<_, _> = of_base.collect();
    annotations.extend(pairs_of_files(&args.annotation_file)?);
    annotations.extend(args.annotation.iter().cloned());
    let built = build_image(
        base,
        args.platform.as_ref(),
        &layers,
        &changes,
        &annotations,
    )?;
    write(&args.manifest, &built.manifest)?;
    write(&args.config, &built.config)?;
    args.described.write(&built.descriptor)
}

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// The descriptor of an image, as `image` writes it.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// An annotation of the index.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    annotation: Vec<(String, String)>,
    /// The file for the index.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    described: Described,
}

pub(crate) fn index(args: &IndexArgs) -> Result<()> {
    let images = read_descriptors(&args.image)?;
    let annotations: BTreeMap<_, _> = args.annotation.iter().cloned().collect();
    let (index, descriptor) = build_index(&images, &annotations)?;
    write(&args.output, &index)?;
    args.described.write(&descriptor)
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
    ref_name: Option<String>,
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
    let ref_name = args.ref_name.as_deref();
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

fn read_descriptors(paths: &[PathBuf]) -> Result<Vec<Descriptor>> {
    paths.iter().map(|path| read_descriptor(path)).collect()
}

/// The lines of files, each `NAME=VALUE`, without those that are blank or begin with `#`. Blanks before a name are none of
/// it, as Docker reads such files.
fn pairs_of_files(paths: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for path in paths {
        let text = String::from_utf8(read(path)?)
            .map_err(|_| format!("{} is not UTF-8", path.display()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = text.lines().map(str::trim_start).enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            pairs.push(
                parse_pair(line).map_err(|problem| {
                    format!("{} line {}: {problem}", path.display(), number + 1)
                })?,
            );
        }
    }
    Ok(pairs)
}
