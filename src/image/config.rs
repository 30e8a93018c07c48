//! Image configurations and manifests (OCI image spec, config.md and manifest.md).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::json::to_json;
use crate::oci::config::{ConfigError, ImageConfig};
use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::digest::Digest;
use crate::oci::manifest::{ImageManifest, Manifest, ManifestError};
use crate::oci::platform::Platform;

use super::DIFF_ID;
use super::expand::{ExpandError, expand};

/// The creation time of everything that is built: none, so that the same input gives the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";
const CREATED_BY: &str = "oci_pull_all";
/// The least nanoseconds that Docker takes for a time of a health check, but for none.
const LEAST_TIME: u64 = 1_000_000;
/// The signals of Linux that have names.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS",
    "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
    "XFSZ",
];
const LAST_SIGNAL: u8 = 64;

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The base's manifest is of no use.
    #[error("the base's manifest cannot be used")]
    BaseManifest(#[source] ManifestError),
    /// The base is an index.
    #[error("the base is an image index: name the manifest of one platform")]
    BaseIsIndex,
    /// The base's config is of no use.
    #[error("the base's config cannot be used")]
    BaseConfig(#[source] ConfigError),
    /// The base's config does not fit its manifest.
    #[error("the base's config has {diff_ids} diff_ids, but its manifest has {layers} layers")]
    BaseLayers {
        /// Entries in the config.
        diff_ids: usize,
        /// Entries in the manifest.
        layers: usize,
    },
    /// The base is for another platform than the one asked for.
    #[error("the base is for {base}, not for {wanted}")]
    BasePlatform {
        /// The base's platform.
        base: Box<Platform>,
        /// The platform asked for.
        wanted: Box<Platform>,
    },
    /// Neither a base nor a platform says what the image is for.
    #[error("an image without a base needs a platform")]
    NoPlatform,
    /// A layer's descriptor does not say what the layer uncompressed is.
    #[error("the descriptor of the layer {0} has no annotation {DIFF_ID}")]
    NoDiffId(Digest),
    /// A variable without a value.
    #[error("{0:?} is not an environment variable: expected NAME=VALUE, and no blanks in the name")]
    Env(String),
    /// A variable with a value that cannot be expanded.
    #[error("the environment variable {name} cannot be set")]
    Expand {
        /// Its name.
        name: String,
        /// What is wrong with its value.
        source: ExpandError,
    },
    /// Not a health check as Docker writes it.
    #[error(
        "{0:?} is not a health check: it begins with CMD, CMD-SHELL or NONE, and what CMD runs follows"
    )]
    Healthcheck(Vec<String>),
    /// Not a signal.
    #[error("{0:?} is not a signal: expected a name, such as SIGTERM, or a number from 1 to 64")]
    Signal(String),
    /// A directory that is none on Windows.
    #[error(
        "{0:?} is not a directory: it is where a drive happens to be; behind the drive's letter stands a backslash"
    )]
    Drive(String),
    /// A volume without a path.
    #[error("a volume is a path, such as /data, and one is empty")]
    Volume,
    /// Not a port as config.md writes it.
    #[error(
        "{0:?} is not a port: expected PORT or PORT-PORT, and perhaps /tcp, /udp or /sctp behind it"
    )]
    Port(String),
}

/// The image that another one is built on.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The bytes of its manifest.
    pub manifest: &'a [u8],
    /// The bytes of its config.
    pub config: &'a [u8],
}

/// What the image's config gets beyond the base's. What is `None`, or empty and no `Option`, stays as in the base.
#[derive(Clone, Debug, Default)]
pub struct ConfigChanges {
    /// Replaces `Entrypoint`, or takes it away; the base's `Cmd`, which was meant for the base's entry point, is dropped.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces `Cmd`, or takes it away.
    pub cmd: Option<Vec<String>>,
    /// `NAME=VALUE`, added to `Env`; a variable of the base with the same name is replaced in its
    /// first place. `$NAME` and `${NAME}` in a value stand for the base's variables, as in a Dockerfile, also in
    /// the forms `${NAME:-WORD}`, `${NAME:+WORD}` and `${NAME:?WORD}`, and `$$` and `\$` for a dollar sign.
    pub env: Vec<String>,
    /// Added to `Labels`.
    pub labels: BTreeMap<String, String>,
    /// Replaces `User`.
    pub user: Option<String>,
    /// Replaces `WorkingDir`, on which it stands if it is relative.
    pub workdir: Option<String>,
    /// Added to `ExposedPorts`.
    pub exposed_ports: Vec<String>,
    /// Added to `Volumes`.
    pub volumes: Vec<String>,
    /// Replaces `StopSignal`.
    pub stop_signal: Option<String>,
    /// Replaces `Shell`, a Docker extension: what runs commands that are not lists.
    pub shell: Vec<String>,
    /// Replaces `Healthcheck`, a Docker extension.
    pub healthcheck: Option<Healthcheck>,
    /// Replaces `author`.
    pub author: Option<String>,
    /// Replaces `created`, also in the history of the layers that are added.
    pub created: Option<DateTime<Utc>>,
}

/// How Docker finds out whether a container works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    test: Vec<String>,
    options: BTreeMap<&'static str, u64>,
}

impl Healthcheck {
    /// A check by the words of `test`, the first of which is `CMD`, `CMD-SHELL` or `NONE`.
    pub fn new(test: Vec<String>, options: &[HealthOption]) -> Result<Self, ImageError> {
        let words = test.iter().map(String::as_str).collect::<Vec<_>>();
        let fits = match words[..] {
            ["NONE"] => options.is_empty(),
            ["CMD", _, ..] | ["CMD-SHELL", _] => true,
            _ => false,
        };
        if !fits {
            return Err(ImageError::Healthcheck(test));
        }
        let options = options.iter().map(|option| (option.key, option.value));
        let options = options.collect();
        Ok(Healthcheck { test, options })
    }
}

/// How often, how long and how many times a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthOption {
    key: &'static str,
    value: u64,
}

impl FromStr for HealthOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let key = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start_period" => "StartPeriod",
            "start_interval" => "StartInterval",
            "retries" => "Retries",
            _ => {
                return Err(format!(
                    "{name:?} is no option of a health check: these are interval, timeout, start_period, start_interval and retries"
                ));
            }
        };
        let value = if key == "Retries" {
            value.parse().ok()
        } else {
            nanoseconds(value).filter(|time| *time == 0 || *time >= LEAST_TIME)
        };
        // Who reads a config has 63 bits for it.
        let value = value.filter(|value| i64::try_from(*value).is_ok());
        let value = value.ok_or_else(|| {
            format!("{text:?} has no value that fits: a number for retries, else a time of a millisecond or more, such as 1m30s or 1.5s")
        })?;
        Ok(HealthOption { key, value })
    }
}

/// Numbers with units, as Go reads a time (`time.ParseDuration`).
fn nanoseconds(mut text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    if text.is_empty() {
        return None;
    }
    // Nothing needs no unit.
    if text == "0" {
        return Some(0);
    }
    while !text.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, rest) = text.split_at(text.find(|c| !is_number(c))?);
        let (unit, rest) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
        let unit = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(times(number, unit)?)?;
        text = rest;
    }
    Some(total)
}

/// So many units, of which a decimal number may have a part; what is smaller than one is left out.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !are_digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // No unit has as many digits.
    let digits = &fraction[..fraction.len().min(15)];
    let part = match digits.parse::<u128>() {
        Ok(part) => part * u128::from(unit) / 10_u128.pow(u32::try_from(digits.len()).ok()?),
        Err(_) => 0,
    };
    unit.checked_mul(whole)?
        .checked_add(u64::try_from(part).ok()?)
}

/// A manifest and its config.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The bytes of the config.
    pub config: Vec<u8>,
    /// The manifest's descriptor, with the platform.
    pub descriptor: Descriptor,
}

/// Builds an image from `base`, if any, with `layers` on top of its layers, lowest first.
///
/// Each layer's descriptor has the annotation [`DIFF_ID`]. A base in Docker's format gives an OCI
/// image. `platform` is what the image is for: required without a base, checked with one.
pub fn build_image(
    base: Option<Base<'_>>,
    platform: Option<&Platform>,
    layers: &[Descriptor],
    changes: &ConfigChanges,
    annotations: &BTreeMap<String, String>,
) -> Result<BuiltImage, ImageError> {
    let (mut config, mut all_layers, of_base) = match base {
        Some(base) => read_base(base)?,
        None => (Map::new(), Vec::new(), None),
    };
    let platform = set_platform(&mut config, of_base, platform)?;
    let created = changes
        .created
        .map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    if base.is_none() || created.is_some() {
        let created = created.as_deref().unwrap_or(CREATED);
        config.insert("created".to_owned(), json!(created));
    }
    if let Some(author) = &changes.author {
        config.insert("author".to_owned(), json!(author));
    }
    let created = created.as_deref().unwrap_or(CREATED);
    add_layers(&mut config, all_layers.len(), layers, created)?;
    apply(object(&mut config, "config"), &platform, changes)?;

    all_layers.extend(layers.iter().cloned().map(|mut layer| {
        layer.annotations.remove(DIFF_ID);
        layer
    }));
    let config = to_json(&config);
    let manifest_type = MediaType::OCI_MANIFEST;
    let manifest = to_json(&ImageManifest {
        schema_version: 2,
        media_type: manifest_type.clone(),
        artifact_type: None,
        config: Descriptor::of(MediaType::OCI_CONFIG, &config),
        layers: all_layers,
        subject: None,
        annotations: annotations.clone(),
    });
    let mut descriptor = Descriptor::of(manifest_type, &manifest);
    descriptor.platform = Some(platform);
    Ok(BuiltImage {
        manifest,
        config,
        descriptor,
    })
}

/// The members of the base's config, with as many `diff_ids` as layers; its layers with OCI media types; and
/// what it is for.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn read_base(
    base: Base<'_>,
) -> Result<(Map<String, Value>, Vec<Descriptor>, Option<Platform>), ImageError> {
    let manifest = match Manifest::parse(base.manifest, None).map_err(ImageError::BaseManifest)? {
        Manifest::Image(image) => image,
        Manifest::Index(_) => return Err(ImageError::BaseIsIndex),
    };
    let (config, members) =
        ImageConfig::parse_members(base.config).map_err(ImageError::BaseConfig)?;
    let diff_ids = config.diff_ids.len();
    if diff_ids != manifest.layers.len() {
        return Err(ImageError::BaseLayers {
            diff_ids,
            layers: manifest.layers.len(),
        });
    }
    let layers = manifest
        .layers
        .into_iter()
        .map(|layer| Descriptor {
            media_type: layer.media_type.to_oci(),
            ..layer
        })
        .collect();
    let platform = Some(config.platform).filter(|platform| !platform.os.is_empty());
    Ok((members, layers, platform))
}

/// Whether the base serves what is wanted; of what its config is silent, it is not held to it.
fn serves(base: &Platform, wanted: &Platform) -> bool {
    let mut base = base.clone();
    base.variant = base.variant.or_else(|| wanted.variant.clone());
    base.os_version = base.os_version.or_else(|| wanted.os_version.clone());
    base.rank_for(wanted).is_some()
}

fn set_platform(
    config: &mut Map<String, Value>,
    base: Option<Platform>,
    wanted: Option<&Platform>,
) -> Result<Platform, ImageError> {
    match (base, wanted) {
        (Some(base), Some(wanted)) if !serves(&base, wanted) => Err(ImageError::BasePlatform {
            base: Box::new(base),
            wanted: Box::new(wanted.clone()),
        }),
        (Some(base), _) => {
            // What is built has names that all know.
            if base.has_other_names() {
                write_platform(config, &base);
            }
            Ok(base)
        }
        (None, Some(wanted)) => {
            write_platform(config, wanted);
            Ok(wanted.clone())
        }
        (None, None) => Err(ImageError::NoPlatform),
    }
}

fn write_platform(config: &mut Map<String, Value>, platform: &Platform) {
    for key in ["architecture", "variant", "os.version", "os.features"] {
        config.remove(key);
    }
    if let Value::Object(platform) = json!(platform) {
        config.extend(platform);
    }
}

/// Extends `rootfs.diff_ids` and `history`, which together tell the story of `base_layers` layers.
fn add_layers(
    config: &mut Map<String, Value>,
    base_layers: usize,
    layers: &[Descriptor],
    created: &str,
) -> Result<(), ImageError> {
    let rootfs = object(config, "rootfs");
    rootfs.insert("type".to_owned(), json!("layers"));
    let diff_ids = array(rootfs, "diff_ids");
    for layer in layers {
        let diff_id = layer
            .annotations
            .get(DIFF_ID)
            .ok_or_else(|| ImageError::NoDiffId(layer.digest.clone()))?;
        diff_ids.push(json!(diff_id));
    }
    let history = array(config, "history");
    let is_layer = |entry: &&Value| entry.get("empty_layer") != Some(&json!(true));
    let told = history.iter().filter(is_layer).count();
    // A base may have no history, or not all of it; readers pair entries and layers by position.
    for _ in told..base_layers {
        history.push(json!({"created": CREATED, "comment": "a layer of the base image"}));
    }
    for _ in layers {
        history.push(json!({"created": created, "created_by": CREATED_BY}));
    }
    Ok(())
}

fn set_env(
    env: &mut Vec<Value>,
    platform: &Platform,
    variables: &[String],
) -> Result<(), ImageError> {
    // Windows knows a variable by its name in any case.
    let key = |name: &str| {
        if is_windows(platform) {
            name.to_uppercase()
        } else {
            name.to_owned()
        }
    };
    let of_base: HashMap<String, String> = env
        .iter()
        .filter_map(|entry| entry.as_str()?.split_once('='))
        .map(|(name, value)| (key(name), value.to_owned()))
        .collect();
    for variable in variables {
        let (name, value) = match variable.split_once('=') {
            // No process could be given it.
            Some((name, value)) if is_name(name) && !variable.contains('\0') => (name, value),
            _ => return Err(ImageError::Env(variable.clone())),
        };
        let known = |name: &str| of_base.get(&key(name)).map(String::as_str);
        let value = expand(value, &known).map_err(|source| ImageError::Expand {
            name: name.to_owned(),
            source,
        })?;
        let same_name = |entry: &Value| {
            let text = entry.as_str().unwrap_or_default();
            text.split('=').next().map(key) == Some(key(name))
        };
        let place = env.iter().position(same_name).unwrap_or(env.len());
        // Of several, runtimes take the last.
        env.retain(|entry| !same_name(entry));
        env.insert(place, json!(format!("{name}={value}")));
    }
    Ok(())
}

/// Whether a variable may have such a name. With a blank it would be a line that a shell reads otherwise.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_whitespace)
}

fn is_windows(platform: &Platform) -> bool {
    platform.os == "windows"
}

fn apply(
    config: &mut Map<String, Value>,
    platform: &Platform,
    changes: &ConfigChanges,
) -> Result<(), ImageError> {
    // What the base asks of whoever builds on it is no longer asked of whoever builds on that.
    config.remove("OnBuild");
    if let Some(entrypoint) = &changes.entrypoint {
        config.insert("Entrypoint".to_owned(), json!(entrypoint));
        config.remove("Cmd");
    }
    if let Some(cmd) = &changes.cmd {
        config.insert("Cmd".to_owned(), json!(cmd));
    }
    set_env(array(config, "Env"), platform, &changes.env)?;
    let labels = changes.labels.iter();
    let labels = labels.map(|(name, value)| (name.clone(), json!(value)));
    object(config, "Labels").extend(labels);
    expose(config, &changes.exposed_ports)?;
    if changes.volumes.iter().any(String::is_empty) {
        return Err(ImageError::Volume);
    }
    let volumes = changes.volumes.iter();
    let volumes = volumes.map(|volume| (volume.clone(), json!({})));
    object(config, "Volumes").extend(volumes);
    if let Some(signal) = &changes.stop_signal
        && !is_signal(signal)
    {
        return Err(ImageError::Signal(signal.clone()));
    }
    for (key, value) in [
        ("User", &changes.user),
        ("StopSignal", &changes.stop_signal),
    ] {
        if let Some(value) = value {
            config.insert(key.to_owned(), json!(value));
        }
    }
    if let Some(workdir) = &changes.workdir {
        let of_base = config.get("WorkingDir").and_then(Value::as_str);
        let of_base = of_base.unwrap_or_default();
        let workdir = if is_windows(platform) {
            join_on_windows(of_base, workdir)?
        } else {
            format!("/{}", join(of_base, workdir).join("/"))
        };
        config.insert("WorkingDir".to_owned(), json!(workdir));
    }
    if !changes.shell.is_empty() {
        config.insert("Shell".to_owned(), json!(changes.shell));
    }
    if let Some(Healthcheck { test, options }) = &changes.healthcheck {
        let mut check = Map::from_iter([("Test".to_owned(), json!(test))]);
        check.extend(
            options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), json!(value))),
        );
        config.insert("Healthcheck".to_owned(), Value::Object(check));
    }
    config.retain(|_, value| !is_empty(value));
    Ok(())
}

/// As Docker has it: the path is of the drive `C:` unless it says otherwise.
fn join_on_windows(base: &str, path: &str) -> Result<String, ImageError> {
    let split = |path: &str| {
        let path = path.replace('\\', "/");
        match path.split_at_checked(2) {
            Some((drive, rest)) if drive.ends_with(':') => {
                let is_rooted = rest.starts_with('/');
                is_rooted.then(|| (Some(drive.to_ascii_uppercase()), rest.to_owned()))
            }
            _ => Some((None, path)),
        }
    };
    let drive_alone = |path: &str| ImageError::Drive(path.to_owned());
    let (drive, path) = split(path).ok_or_else(|| drive_alone(path))?;
    let (of_base, base) = split(base).ok_or_else(|| drive_alone(base))?;
    let of_base = of_base.filter(|_| !path.starts_with('/'));
    let drive = drive.or(of_base).unwrap_or_else(|| "C:".to_owned());
    Ok(format!("{drive}\\{}", join(&base, &path).join("\\")))
}

/// The parts of `path` as seen from `base`, in its one form.
fn join<'a>(base: &'a str, path: &'a str) -> Vec<&'a str> {
    let base = if path.starts_with('/') { "" } else { base };
    let mut parts = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// Adds ports as they are written: one, or several, with or without a protocol.
fn expose(config: &mut Map<String, Value>, written: &[String]) -> Result<(), ImageError> {
    let mut added = BTreeSet::new();
    for ports in written {
        added.extend(parse_ports(ports)?);
    }
    if added.is_empty() {
        return Ok(());
    }
    let exposed = object(config, "ExposedPorts");
    // A base may have written the same otherwise.
    exposed.retain(|there, _| {
        !parse_ports(there).is_ok_and(|mut ports| ports.all(|port| added.contains(&port)))
    });
    exposed.extend(added.into_iter().map(|port| (port, json!({}))));
    Ok(())
}

/// Whether Docker takes it for a signal, in any case and with or without `SIG` before it.
fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=LAST_SIGNAL).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let within = |start: &str, last: u8| {
        let number = name.strip_prefix(start);
        number.is_some_and(|number| (1..=last).any(|fits| number == fits.to_string()))
    };
    SIGNALS.contains(&name) || within("RTMIN+", 15) || within("RTMAX-", 14)
}

/// `8080` means `8080/tcp`, and `8000-8001/udp` two ports.
fn parse_ports(text: &str) -> Result<impl Iterator<Item = String>, ImageError> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let protocol = protocol.to_ascii_lowercase();
    let number = |text: &str| -> Option<u16> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| is_number && *port > 0)
    };
    match (number(first), number(last), &*protocol) {
        (Some(first), Some(last), "tcp" | "udp" | "sctp") if first <= last => {
            Ok((first..=last).map(move |port| format!("{port}/{protocol}")))
        }
        _ => Err(ImageError::Port(text.to_owned())),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// The member `key`, made an object if it is none (Docker writes `null` for empty ones).
fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = parent.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made an object")
}

/// The member `key`, made an array if it is none.
fn array<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = parent.entry(key).or_insert(Value::Null);
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it was made an array")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;
    use crate::oci::strict::read;

    fn layer(content: &str) -> Descriptor {
        let mut layer = Descriptor::of(
            MediaType::layer(crate::oci::descriptor::Compression::Gzip),
            content.as_bytes(),
        );
        let diff_id = Digest::of(Algorithm::Sha256, format!("{content} raw").as_bytes());
        layer
            .annotations
            .insert(DIFF_ID.to_owned(), diff_id.to_string());
        layer
    }

    fn linux() -> Platform {
        "linux/amd64".parse().unwrap()
    }

    fn docker_base() -> (Vec<u8>, Vec<u8>) {
        let config = json!({
            "os": "linux", "architecture": "amd64", "created": "2020-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/bin", "LANG=C"], "Cmd": ["sh"], "Labels": null, "User": "root"},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(Algorithm::Sha256, b"base raw")]},
        });
        let config = to_json(&config);
        let media_type = |name: &str| format!("application/vnd.docker.{name}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type("distribution.manifest.v2+json"),
            "config": {"mediaType": media_type("container.image.v1+json"), "size": config.len(),
                       "digest": Digest::of(Algorithm::Sha256, &config)},
            "layers": [{"mediaType": media_type("image.rootfs.diff.tar.gzip"), "size": 4,
                        "digest": Digest::of(Algorithm::Sha256, b"base")}],
        });
        (to_json(&manifest), config)
    }

    #[test]
    fn a_docker_base_becomes_an_oci_image() {
        let (manifest, config) = docker_base();
        let base = Base {
            manifest: &manifest,
            config: &config,
        };
        let changes = ConfigChanges {
            entrypoint: Some(vec!["/app".to_owned()]),
            env: [
                "LANG=C.UTF-8",
                "A=b=c",
                "PATH=/app:$PATH",
                "B=$$1${NONE}${LANG:+x}",
            ]
            .map(str::to_owned)
            .to_vec(),
            exposed_ports: vec!["80".to_owned(), "53/udp".to_owned()],
            ..ConfigChanges::default()
        };
        let built = build_image(
            Some(base),
            None,
            &[layer("one")],
            &changes,
            &BTreeMap::new(),
        )
        .unwrap();
        let Manifest::Image(manifest) = Manifest::parse(&built.manifest, None).unwrap() else {
            panic!("not an image manifest");
        };
        let types: Vec<&str> = manifest
            .layers
            .iter()
            .map(|l| l.media_type.as_str())
            .collect();
        assert_eq!(types, ["application/vnd.oci.image.layer.v1.tar+gzip"; 2]);
        assert!(manifest.layers[1].annotations.is_empty());
        assert_eq!(manifest.config.media_type, MediaType::OCI_CONFIG);
        let config: Value = read(&built.config).unwrap();
        assert_eq!(
            config["config"],
            json!({"Env": ["PATH=/app:/bin", "LANG=C.UTF-8", "A=b=c", "B=$1x"],
                   "Entrypoint": ["/app"], "User": "root", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}})
        );
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        assert_eq!(config["history"].as_array().unwrap().len(), 2);
        assert_eq!(config["created"], "2020-01-01T00:00:00Z");
        assert_eq!(built.descriptor.platform, Some(linux()));
    }

    #[test]
    fn an_image_needs_no_base() {
        let none = BTreeMap::new();
        let changes = ConfigChanges::default();
        let built = build_image(None, Some(&linux()), &[layer("one")], &changes, &none).unwrap();
        let config: Value = read(&built.config).unwrap();
        assert_eq!(config["os"], "linux");
        assert!(matches!(
            build_image(None, None, &[], &changes, &none),
            Err(ImageError::NoPlatform)
        ));
    }

    #[test]
    fn a_number_of_the_base_stays_the_same() {
        let (manifest, config) = docker_base();
        let text = String::from_utf8(config).unwrap();
        let config = text.replacen('{', r#"{"n":184467440073.37094,"#, 1);
        let base = Base {
            manifest: &manifest,
            config: config.as_bytes(),
        };
        let none = BTreeMap::new();
        let built = build_image(Some(base), None, &[], &ConfigChanges::default(), &none).unwrap();
        let config = String::from_utf8(built.config).unwrap();
        assert!(config.contains(r#""n":184467440073.37094,"#), "{config}");
    }

    #[test]
    fn a_base_without_a_platform_gets_the_whole_of_it() {
        let (manifest, config) = docker_base();
        let none = BTreeMap::new();
        let build = |members: Value| {
            let mut config: Map<String, Value> = read(&config).unwrap();
            config.remove("os");
            config.extend(members.as_object().unwrap().clone());
            let base = Base {
                manifest: &manifest,
                config: &to_json(&config),
            };
            let changes = ConfigChanges::default();
            build_image(Some(base), Some(&linux()), &[], &changes, &none)
        };
        let image = build(json!({"variant": "v7", "os.version": "10"})).unwrap();
        let platform = ImageConfig::parse(&image.config).unwrap().platform;
        assert_eq!(platform, linux());
        // What is no platform is not to be written over either: it may be another one.
        assert!(matches!(
            build(json!({"os": "windows", "variant": 7})),
            Err(ImageError::BaseConfig(_))
        ));
    }

    #[test]
    fn refuses_another_platform_and_bad_values() {
        let (manifest, config) = docker_base();
        let base = Some(Base {
            manifest: &manifest,
            config: &config,
        });
        let arm: Platform = "linux/arm64".parse().unwrap();
        let none = BTreeMap::new();
        let build =
            |platform, changes: &ConfigChanges| build_image(base, platform, &[], changes, &none);
        assert!(matches!(
            build(Some(&arm), &ConfigChanges::default()),
            Err(ImageError::BasePlatform { .. })
        ));
        let env = ConfigChanges {
            env: vec!["NAME".to_owned()],
            ..ConfigChanges::default()
        };
        assert!(matches!(build(None, &env), Err(ImageError::Env(_))));
        let port = ConfigChanges {
            exposed_ports: vec!["http".to_owned()],
            ..ConfigChanges::default()
        };
        assert!(matches!(build(None, &port), Err(ImageError::Port(_))));
    }
}
