//! Image configurations (OCI image spec, config.md; Docker's image spec 1.2).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::oci::digest::Digest;
use crate::oci::platform::{Platform, Spelling, optional_version, optional_word, word, words};
use crate::oci::strict::{Folded, folds_to, mentions, read, read_noting, respell};
use crate::oci::time::{BadTime, Time};

/// The largest image configuration that is read, in bytes.
pub const MAX_CONFIG_SIZE: u64 = 16 * 1024 * 1024;

/// An image's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// What the image is for; its parts may be empty.
    pub platform: Platform,
    /// When it was made, by its own word.
    pub created: Option<Result<Time, BadTime>>,
    /// How it is run.
    pub process: Process,
    /// The digests of its layers, uncompressed, lowest first.
    pub diff_ids: Vec<Digest>,
    /// What its history has for a time, and is none.
    pub bad_history: Option<BadTime>,
    /// Keys in another case than config.md has them.
    pub folded: Vec<Folded>,
}

/// How an image is run (config.md, `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// `Entrypoint`
    pub entrypoint: Vec<String>,
    /// `Cmd`
    pub cmd: Vec<String>,
    /// `Env`, `NAME=VALUE` each.
    pub env: Vec<String>,
    /// `User`
    pub user: String,
    /// `WorkingDir`
    pub working_dir: String,
    /// `StopSignal`
    pub stop_signal: String,
    /// `Labels`
    pub labels: BTreeMap<String, String>,
    /// The keys of `ExposedPorts`.
    pub exposed_ports: Vec<String>,
    /// The keys of `Volumes`.
    pub volumes: Vec<String>,
}

/// Why bytes are no image configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON of one.
    #[error("it is not valid JSON of an image configuration")]
    Json(#[from] serde_json::Error),
    /// Its file system is something else.
    #[error("its rootfs.type is {0:?}, not \"layers\"")]
    Rootfs(String),
    /// Larger than [`MAX_CONFIG_SIZE`].
    #[error("it has {0} bytes, more than the limit of 16 MiB for an image configuration")]
    Size(u64),
}

impl ImageConfig {
    /// Parses the bytes of a config.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > MAX_CONFIG_SIZE {
            return Err(ConfigError::Size(bytes.len() as u64));
        }
        // Go reads `null` as an object without members.
        let (document, folded) = read_noting::<Option<Document>>(bytes)?;
        let document = document.unwrap_or_default();
        let rootfs = document.rootfs.unwrap_or_default();
        if !["", "layers"].contains(&rootfs.kind.as_str()) {
            return Err(ConfigError::Rootfs(rootfs.kind));
        }
        let config = document.config.unwrap_or_default();
        let times = document.history.into_iter().flatten();
        let mut times = times.filter_map(|step| Time::try_from(step.created?).err());
        Ok(ImageConfig {
            platform: Platform {
                os: document.os,
                architecture: document.architecture,
                variant: document.variant,
                os_version: document.os_version,
                os_features: document.os_features,
                features: Vec::new(),
                spelling: Spelling::default(),
            }
            .in_gos_names(),
            created: document.created.map(Time::try_from),
            process: Process {
                entrypoint: config.entrypoint,
                cmd: config.cmd,
                env: config.env,
                user: config.user,
                working_dir: config.working_dir,
                stop_signal: config.stop_signal,
                labels: config.labels,
                exposed_ports: config.exposed_ports.into_keys().collect(),
                volumes: config.volumes.into_keys().collect(),
            },
            diff_ids: rootfs.diff_ids,
            bad_history: times.next(),
            folded,
        })
    }

    /// As [`ImageConfig::parse`], with all members, whose keys are as config.md has them: whoever edits them
    /// then finds what runtimes find.
    pub(crate) fn parse_members(bytes: &[u8]) -> Result<(Self, Map<String, Value>), ConfigError> {
        let config = Self::parse(bytes)?;
        let mut members = read::<Option<_>>(bytes)?.unwrap_or_default();
        respell(&mut members, &config.folded);
        Ok((config, members))
    }
}

/// Whether others, who take what is refused here, may find all these members in a document.
pub(crate) fn has_members(bytes: &[u8], names: &[&str]) -> bool {
    // Go reads what is not UTF-8 all the same, and what is nested deeper, has half of a surrogate pair, or is followed by
    // something else.
    let text = String::from_utf8_lossy(bytes);
    if let Ok(members) = read::<BTreeMap<String, Value>>(text.as_bytes()) {
        let is_there = |name: &&str| members.keys().any(|key| folds_to(key, name));
        names.iter().all(is_there)
    } else {
        // A name may be written with escapes.
        let is_there = |name: &&str| text.contains("\\u") || mentions(&text, name);
        text.trim_start().starts_with('{') && names.iter().all(is_there)
    }
}

/// The object as it is, with all keys that config.md and Docker know. What is not looked at has its type all the same, because
/// others do not read a config with another one.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an image configuration")]
struct Document {
    #[serde(deserialize_with = "word")]
    architecture: String,
    #[serde(deserialize_with = "word")]
    os: String,
    #[serde(deserialize_with = "optional_word")]
    variant: Option<String>,
    #[serde(rename = "os.version", deserialize_with = "optional_version")]
    os_version: Option<String>,
    #[serde(rename = "os.features", deserialize_with = "words")]
    os_features: Vec<String>,
    created: Option<String>,
    config: Option<Config>,
    rootfs: Option<Rootfs>,
    history: Vec<Option<History>>,
    #[serde(rename = "container_config")]
    _container_config: Option<Config>,
    #[serde(rename = "author")]
    _author: Text,
    #[serde(rename = "comment")]
    _comment: Text,
    #[serde(rename = "container")]
    _container: Text,
    #[serde(rename = "docker_version")]
    _docker_version: Text,
    #[serde(rename = "id")]
    _id: Text,
    #[serde(rename = "parent")]
    _parent: Text,
    #[serde(rename = "Size")]
    _size: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct History {
    #[serde(rename = "author")]
    _author: Text,
    #[serde(rename = "comment")]
    _comment: Text,
    created: Option<String>,
    #[serde(rename = "created_by")]
    _created_by: Text,
    #[serde(rename = "empty_layer")]
    _empty_layer: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    user: String,
    working_dir: String,
    stop_signal: String,
    labels: BTreeMap<String, String>,
    exposed_ports: BTreeMap<String, Option<Nothing>>,
    volumes: BTreeMap<String, Option<Nothing>>,
    #[serde(rename = "Healthcheck")]
    _healthcheck: Option<Healthcheck>,
    #[serde(rename = "ArgsEscaped")]
    _args_escaped: Option<bool>,
    #[serde(rename = "AttachStderr")]
    _attach_stderr: Option<bool>,
    #[serde(rename = "AttachStdin")]
    _attach_stdin: Option<bool>,
    #[serde(rename = "AttachStdout")]
    _attach_stdout: Option<bool>,
    #[serde(rename = "CpuShares")]
    _cpu_shares: Option<i64>,
    #[serde(rename = "Domainname")]
    _domainname: Text,
    #[serde(rename = "Hostname")]
    _hostname: Text,
    #[serde(rename = "Image")]
    _image: Text,
    #[serde(rename = "MacAddress")]
    _mac_address: Text,
    #[serde(rename = "Memory")]
    _memory: Option<i64>,
    #[serde(rename = "MemorySwap")]
    _memory_swap: Option<i64>,
    #[serde(rename = "NetworkDisabled")]
    _network_disabled: Option<bool>,
    #[serde(rename = "OnBuild")]
    _on_build: Vec<Text>,
    #[serde(rename = "OpenStdin")]
    _open_stdin: Option<bool>,
    #[serde(rename = "Shell")]
    _shell: Vec<Text>,
    #[serde(rename = "StdinOnce")]
    _stdin_once: Option<bool>,
    #[serde(rename = "StopTimeout")]
    _stop_timeout: Option<i64>,
    #[serde(rename = "Tty")]
    _tty: Option<bool>,
}

/// Text that is not looked at, and of which nothing is kept.
#[derive(Default)]
struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

impl Visitor<'_> for Text {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

/// The value of a port or a volume: an object whose members mean nothing.
#[derive(Deserialize)]
struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Healthcheck {
    #[serde(rename = "Test")]
    _test: Vec<Text>,
    #[serde(rename = "Interval")]
    _interval: Option<i64>,
    #[serde(rename = "Timeout")]
    _timeout: Option<i64>,
    #[serde(rename = "StartPeriod")]
    _start_period: Option<i64>,
    #[serde(rename = "StartInterval")]
    _start_interval: Option<i64>,
    #[serde(rename = "Retries")]
    _retries: Option<i64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(text: &str) -> String {
        let error = ImageConfig::parse(text.as_bytes()).unwrap_err();
        match error {
            ConfigError::Json(error) => error.to_string(),
            error => error.to_string(),
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, key) in [
            (r#"{"os":"linux","OS":"windows"}"#, "OS"),
            (r#"{"rootfs":{"diff_ids":[],"Diff_IDs":[]}}"#, "Diff_IDs"),
            (r#"{"rootfs":{},"rootfS":{}}"#, "rootfS"),
            (r#"{"config":{"User":"1","user":"0"}}"#, "user"),
            (r#"{"config":{"Uſer":"1","User":"0"}}"#, "User"),
            (
                r#"{"config":{"WorKingDir":"","WorkingDir":"/"}}"#,
                "WorkingDir",
            ),
            (
                r#"{"config":{"Healthcheck":{"Test":[],"test":[]}}}"#,
                "test",
            ),
            (
                r#"{"config":{"Healthcheck":{},"HealthchecK":{}}}"#,
                "HealthchecK",
            ),
            (r#"{"config":{"Tty":true,"tty":false}}"#, "tty"),
            (r#"{"config":{"Labels":{"a":"1","a":"2"}}}"#, "a"),
            (r#"{"config":{"Volumes":{"/a":{},"/a":{}}}}"#, "/a"),
            (r#"{"container_config":{"Cmd":[],"CMD":[]}}"#, "CMD"),
            (
                r#"{"history":[{"empty_layer":true,"Empty_layer":false}]}"#,
                "Empty_layer",
            ),
            (r#"{"moby.buildkit.cache":{"a":[{"b":1,"b":2}]}}"#, "b"),
        ] {
            let error = failure(text);
            assert!(
                error.contains(&format!("{key:?}")) && error.contains("line 1"),
                "{error}"
            );
        }
        assert!(failure(r#"{"rootfs":{"type":"other"}}"#).contains("\"other\""));
        assert!(failure("[]").contains("a list where an object should be"));
    }

    #[test]
    fn reads_what_real_images_have() {
        let config =
            br#"{"architecture":"amd64","os":"windows","os.version":"10.0.17763.1","variant":"",
            "config":{"Hostname":"","Labels":null,"Env":null,"Volumes":{"/v":null,"/V":{}},
            "ExposedPorts":{"80/tcp":{}},"OnBuild":null,"Healthcheck":null,"Labels2":{"a":1}},
            "history":null,"rootfS":{"type":"layers","diff_ids":null},"unknown":{"Os":1,"os":2}}"#;
        let read = ImageConfig::parse(config).unwrap();
        assert_eq!(read.platform.to_string(), "windows/amd64:10.0.17763.1");
        assert_eq!(read.process.volumes, ["/V", "/v"]);
        assert_eq!(read.process.exposed_ports, ["80/tcp"]);
        assert_eq!(read.folded.len(), 1);
        let (_, members) = ImageConfig::parse_members(config).unwrap();
        assert_eq!(
            members["rootfs"],
            json!({"type": "layers", "diff_ids": null})
        );
        assert!(!members.contains_key("rootfS"));
        assert_eq!(members["unknown"], json!({"Os": 1, "os": 2}));
        assert!(ImageConfig::parse(br#"{"config":null,"rootfs":null,"os":null}"#).is_ok());
        let (nothing, members) = ImageConfig::parse_members(b"null").unwrap();
        assert!(nothing.platform.is_unknown() && members.is_empty());
    }
}
