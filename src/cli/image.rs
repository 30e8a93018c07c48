//! `image` and `index`: what build actions call.

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;

use clap::Args;
use oci_pull_all::image::{
    BASE_DIGEST, BASE_NAME, Base, ConfigChanges, HealthOption, Healthcheck, build_image,
    build_index,
};
use oci_pull_all::json::to_json;
use oci_pull_all::oci::descriptor::Descriptor;
use oci_pull_all::oci::digest::Digest;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::Tagged;
use oci_pull_all::oci::time::Time;
use oci_pull_all::outputs::check_apart;

use super::arguments::parse_pair;
use super::{Result, read, write};

use super::layout::read_descriptor;

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
    /// The files for it.
    fn outputs(&self) -> impl Iterator<Item = &PathBuf> {
        iter::once(&self.descriptor).chain(&self.digest)
    }

    fn write(&self, descriptor: &Descriptor) -> Result<()> {
        write(&self.descriptor, &to_json(descriptor))?;
        match &self.digest {
            Some(file) => write(file, format!("{}\n", descriptor.digest).as_bytes()),
            None => Ok(()),
        }
    }
}

pub(crate) fn image(args: &ImageArgs) -> Result<()> {
    check_apart(
        [&args.manifest, &args.config]
            .into_iter()
            .chain(args.described.outputs()),
    )?;
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
    check_apart(iter::once(&args.output).chain(args.described.outputs()))?;
    let images = read_descriptors(&args.image)?;
    let annotations: BTreeMap<_, _> = args.annotation.iter().cloned().collect();
    let (index, descriptor) = build_index(&images, &annotations)?;
    write(&args.output, &index)?;
    args.described.write(&descriptor)
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
