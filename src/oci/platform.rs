//! Platforms (OCI image spec, image-index.md, the `platform` property).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::descriptor::Descriptor;
use crate::text::named;

/// The operating system and processor that an image is for, in Go's names (`linux`, `arm64`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Platform {
    /// `GOOS`, such as `linux`; empty if it is not told.
    #[serde(default, deserialize_with = "word")]
    pub os: String,
    /// `GOARCH`, such as `amd64`; empty if it is not told.
    #[serde(default, deserialize_with = "word")]
    pub architecture: String,
    /// The processor's variant, such as `v8`.
    #[serde(
        default,
        deserialize_with = "optional_word",
        skip_serializing_if = "Option::is_none"
    )]
    pub variant: Option<String>,
    /// The version of the operating system, used by Windows images.
    #[serde(
        default,
        rename = "os.version",
        deserialize_with = "optional_version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Required features of the operating system, used by Windows images.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Required features of the processor, which the spec reserves.
    #[serde(
        default,
        deserialize_with = "words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub features: Vec<String>,
    #[serde(skip)]
    pub(super) spelling: Spelling,
}

/// What of a platform has another name than Go's in a document, which says nothing of what it is: all are equal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Spelling {
    #[default]
    Gos,
    OtherVariant,
    OtherName,
}

impl PartialEq for Spelling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spelling {}

impl Hash for Spelling {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Ord for Spelling {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl PartialOrd for Spelling {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Platform::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let platform = Platform::deserialize(deserializer)?.in_gos_names();
        // Without a system, containerd takes its own.
        if platform.os.is_empty() && !platform.architecture.is_empty() {
            return Err(D::Error::custom(format!(
                "a platform of {:?} without an os is what some take for their own system",
                platform.architecture
            )));
        }
        Ok(platform)
    }
}

/// Other names of systems, and Go's.
const SYSTEMS: [(&str, &str); 1] = [("macos", "darwin")];
/// Other names of processors, Go's, and the variant that such a name stands for, if it does. With these and without
/// capitals, containerd knows a platform (containerd/platforms, `normalizeArch`); others compare names as they are.
const ARCHITECTURES: [(&str, &str, Option<&str>); 6] = [
    ("aarch64", "arm64", None),
    ("armel", "arm", Some("v6")),
    ("armhf", "arm", Some("v7")),
    ("i386", "386", Some("")),
    ("x86-64", "amd64", None),
    ("x86_64", "amd64", None),
];

/// Other names of variants, by processor, and those that containerd makes of them.
const VARIANTS: [(&str, &str, &str); 9] = [
    ("arm", "5", "v5"),
    ("arm", "6", "v6"),
    ("arm", "7", "v7"),
    ("arm", "8", "v8"),
    ("arm64", "8", "v8"),
    ("arm64", "9", "v9"),
    ("arm64", "9.0", "v9"),
    ("arm64", "v8.0", "v8"),
    ("arm64", "v9.0", "v9"),
];

/// Why a string is not a platform.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a platform: expected OS/ARCHITECTURE[/VARIANT][:OS_VERSION], such as linux/amd64"
)]
pub struct PlatformError(String);

/// Whether a text can be a part of a platform but its version.
fn is_word(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    text.len() <= 64 && text.bytes().all(fits)
}

/// Whether a text can be the version of a system, such as `10.0.20348.2` or `macOS 14.1`.
fn is_version(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() || b == b' ';
    text.len() <= 64 && text.bytes().all(fits)
}

fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    fits: fn(&str) -> bool,
    expected: &str,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if fits(&text) {
        return Ok(text);
    }
    Err(D::Error::custom(format!(
        "{text:?} is no part of a platform: expected {expected}"
    )))
}

fn not_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// What a platform is made of, or nothing.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, is_word, "letters, digits and _.-, 64 at most")
}

pub(super) fn optional_word<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    word(deserializer).map(not_empty)
}

pub(super) fn optional_version<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    checked(
        deserializer,
        is_version,
        "printable ASCII characters, 64 at most",
    )
    .map(not_empty)
}

pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Word(#[serde(deserialize_with = "word")] String);
    let words = Vec::<Word>::deserialize(deserializer)?;
    Ok(words.into_iter().map(|Word(word)| word).collect())
}

/// The level of a processor's variant, such as `v8.1`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Level {
    major: u32,
    minor: u32,
}

impl Platform {
    /// The same in Go's names.
    #[must_use]
    pub(super) fn in_gos_names(self) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let mut os = lower(&self.os);
        let mut architecture = lower(&self.architecture);
        let mut variant = self.variant.as_deref().map(lower);
        if let Some((_, known)) = SYSTEMS.iter().find(|(other, _)| *other == os) {
            os = (*known).to_owned();
        }
        let mut others = ARCHITECTURES.iter();
        if let Some((_, known, its)) = others.find(|(other, ..)| *other == architecture) {
            architecture = (*known).to_owned();
            variant = its.map_or(variant, |its| not_empty(its.to_owned()));
        }
        let mut others = VARIANTS.iter();
        let is_it = |(of, other, _): &&(&str, &str, &str)| {
            *of == architecture && Some(*other) == variant.as_deref()
        };
        if let Some((.., known)) = others.find(is_it) {
            variant = Some((*known).to_owned());
        }
        let spelling = if (&os, &architecture) != (&self.os, &self.architecture) {
            Spelling::OtherName
        } else if variant != self.variant {
            Spelling::OtherVariant
        } else {
            Spelling::Gos
        };
        Platform {
            os,
            architecture,
            variant,
            spelling,
            ..self
        }
    }

    /// Whether the document that has it has other names than Go's, which are those that all readers know.
    pub(crate) fn has_other_names(&self) -> bool {
        !matches!(self.spelling, Spelling::Gos)
    }

    /// Whether that is so of the system or the processor, by which alone some choose.
    pub(crate) fn has_other_system_names(&self) -> bool {
        matches!(self.spelling, Spelling::OtherName)
    }

    /// Whether it is what those ask for who name no variant.
    pub(crate) fn is_default(&self) -> bool {
        let without_variant = Platform {
            variant: None,
            ..self.clone()
        };
        self.rank_for(&without_variant) == Some(0)
    }

    /// Whether it serves the machine for which go-containerregistry takes an image whose platform nothing tells.
    pub(crate) fn serves_go_default(&self) -> bool {
        self.os == "linux" && self.architecture == "amd64" && self.is_default()
    }

    /// Whether this is no platform, or half of one, which no machine is of: the placeholder under which build tools file
    /// attestations in an index, the empty one in the config of a signature, or a system or a processor alone.
    pub(crate) fn is_unknown(&self) -> bool {
        [&self.os, &self.architecture]
            .into_iter()
            .any(|name| name.is_empty() || name == "unknown")
    }

    /// Whether this is the placeholder `unknown/unknown`, which says on purpose that something is no image.
    pub(crate) fn is_placeholder(&self) -> bool {
        [&self.os, &self.architecture]
            .into_iter()
            .all(|name| name == "unknown")
    }

    /// The variant's level, with containerd's defaults filled in, for processors whose variants are levels. What is written
    /// otherwise, as `v07` or `v1.0`, is a name like any other to most.
    fn level(&self) -> Option<Level> {
        let default = match self.architecture.as_str() {
            "amd64" => "v1",
            "arm64" => "v8",
            "arm" => "v7",
            _ => return None,
        };
        let variant = self.variant.as_deref().unwrap_or(default);
        let digits = variant.strip_prefix('v')?;
        let number = |digits: &str| {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .parse()
                .ok()
                .filter(|_| is_plain && !digits.starts_with('0'))
        };
        let (major, minor) = match digits.split_once('.') {
            Some((major, minor)) if self.architecture == "arm64" => (major, number(minor)?),
            _ => (digits, 0),
        };
        let major = number(major)?;
        Some(Level { major, minor })
    }

    /// How well an image for `self` serves a machine of the platform `wanted`; lower is better, and
    /// `None` is not at all.
    ///
    /// A machine runs images of its own variant and of lower ones, as in containerd: arm, amd64, and arm64,
    /// whose v9.0 runs what v8.5 does. A version of the system fits if it begins with the one wanted.
    /// `oci/tests/unit/platform_cases.bzl` has cases.
    pub fn rank_for(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        if let Some(version) = &wanted.os_version {
            let rest = self.os_version.as_deref()?.strip_prefix(version.as_str())?;
            if !rest.is_empty() && !rest.starts_with('.') {
                return None;
            }
        }
        match (self.level(), wanted.level()) {
            (Some(have), Some(want)) if have.major == want.major => {
                want.minor.checked_sub(have.minor)
            }
            (Some(have), Some(want)) => {
                let majors = want.major.checked_sub(have.major)?;
                // Where versions have minor ones, a major one begins with five of those before.
                let reach = 5 + want.minor;
                (have.minor <= reach).then(|| 100 * majors + (reach - have.minor))
            }
            _ => (self.variant == wanted.variant).then_some(0),
        }
    }

    /// Whether a machine of this platform may run an image for another one in place of its own: containerd goes on to the
    /// processors that its own stands for, too.
    pub(crate) fn may_run(&self, other: &Platform) -> bool {
        let processors = (&*self.architecture, &*other.architecture);
        let is_below = matches!(processors, ("amd64", "386") | ("arm64", "arm"));
        other.rank_for(self).is_some() || self.os == other.os && is_below
    }

    /// Whether containerd passes over it where no such features were asked for. It reads those of Windows otherwise.
    pub(crate) fn wants_features(&self) -> bool {
        self.os != "windows" && !self.os_features.is_empty()
    }

    /// Whether both serve the same machines equally well, as `linux/amd64` and `linux/amd64/v1` do.
    pub(crate) fn is_same(&self, other: &Platform) -> bool {
        self.os_version == other.os_version
            && self.os_features == other.os_features
            && self.rank_for(other) == Some(0)
            && other.rank_for(self) == Some(0)
    }

    /// Whether both name a platform, and not the same one.
    pub(crate) fn differs(&self, other: &Platform) -> bool {
        let without_version = |platform: &Platform| Platform {
            os_version: None,
            ..platform.clone()
        };
        let serves = without_version(self).rank_for(&without_version(other)) == Some(0);
        // Not all that have a version say it.
        let versions = self.os_version.as_ref().zip(other.os_version.as_ref());
        let is_same = serves && versions.is_none_or(|(one, other)| one == other);
        !self.is_unknown() && !other.is_unknown() && !is_same
    }

    /// What runtimes go by: images of an index for which it is equal are the same to them, and they take the first. The
    /// version counts for Windows alone, and features for nobody.
    pub fn machine(&self) -> (&str, &str, String, Option<&str>) {
        let variant = match self.level() {
            Some(Level { major, minor }) => format!("v{major}.{minor}"),
            None => self.variant.clone().unwrap_or_default(),
        };
        let version = self.os_version.as_deref();
        let version = version.filter(|_| self.os == "windows");
        (&self.os, &self.architecture, variant, version)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let (names, version) = match text.split_once(':') {
            Some((names, version)) => (names, Some(version)),
            None => (text, None),
        };
        let parts: Vec<&str> = names.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformError(text.to_owned())),
        };
        let fits = |word: &&str| {
            !word.is_empty() && is_word(word) && !word.contains(|c: char| c.is_ascii_uppercase())
        };
        let are_words = parts.iter().all(fits);
        let is_one = |version: &str| !version.is_empty() && is_version(version);
        if !are_words || !version.is_none_or(is_one) {
            return Err(PlatformError(text.to_owned()));
        }
        Ok(Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: version.map(str::to_owned),
            os_features: Vec::new(),
            features: Vec::new(),
            spelling: Spelling::default(),
        }
        .in_gos_names())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

/// Those of `items` that serve `wanted` best, in their order; none if none serves it.
pub(crate) fn best_for<'a, T>(
    items: &'a [T],
    platform: impl Fn(&T) -> Option<&Platform>,
    wanted: &Platform,
) -> Vec<&'a T> {
    let rank = |item: &T| platform(item)?.rank_for(wanted);
    let Some(best) = items.iter().filter_map(rank).min() else {
        return Vec::new();
    };
    items
        .iter()
        .filter(|item| rank(item) == Some(best))
        .collect()
}

/// Of the manifests of an index those that are for `platforms`: for each of them those that fit best. An
/// error is the platform that none is for.
pub(crate) fn choose<'a>(
    manifests: &[Descriptor],
    platforms: &'a [Platform],
) -> Result<Vec<Descriptor>, &'a Platform> {
    let mut chosen = HashSet::new();
    for wanted in platforms {
        let fitting = best_for(manifests, |entry| entry.platform.as_ref(), wanted);
        if fitting.is_empty() {
            return Err(wanted);
        }
        chosen.extend(
            fitting
                .into_iter()
                .map(|entry| (&entry.digest, &entry.platform)),
        );
    }
    let is_chosen = |entry: &&Descriptor| chosen.contains(&(&entry.digest, &entry.platform));
    Ok(manifests.iter().filter(is_chosen).cloned().collect())
}

/// The names of what an index or a layout has images for, each once, for messages.
pub(crate) fn offered<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    let platforms = platforms.filter(|platform| !platform.is_unknown());
    let mut known = HashSet::new();
    let names = platforms.map(Platform::to_string);
    let names = named(names.filter(|name| known.insert(name.clone())));
    if names.is_empty() {
        "no platforms at all".to_owned()
    } else {
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::strict::read;

    /// The image, the machine and the rank of a line of the table that the build rules are tested with as well.
    fn case(line: &str) -> Option<(&str, &str, Option<u32>)> {
        let mut parts = line.strip_prefix("    (\"")?.split('"');
        let (image, _, machine) = (parts.next()?, parts.next()?, parts.next()?);
        let rank = parts.next()?.trim_matches([' ', ',', ')']);
        Some((image, machine, rank.parse().ok()))
    }

    #[test]
    fn matches_as_the_table_has_it() {
        let table = include_str!("../../oci/tests/unit/platform_cases.bzl");
        let cases: Vec<_> = table.lines().filter_map(case).collect();
        assert!(cases.len() > 30, "{}", cases.len());
        for (image, machine, rank) in cases {
            let have: Platform = image.parse().unwrap();
            let found = have.rank_for(&machine.parse().unwrap());
            assert_eq!(found, rank, "{image} on {machine}");
            assert_eq!(
                have.to_string() == image,
                !have.has_other_names(),
                "{image}"
            );
        }
    }

    #[test]
    fn names_are_those_that_containerd_makes_of_them() {
        for (os, architecture, variant, expected) in [
            ("linux", "aarch64", "v8", "linux/arm64/v8"),
            ("linux", "x86_64", "", "linux/amd64"),
            ("Linux", "X86-64", "V2", "linux/amd64/v2"),
            ("linux", "armhf", "v6", "linux/arm/v7"),
            ("linux", "armel", "", "linux/arm/v6"),
            ("linux", "i386", "sse2", "linux/386"),
            ("linux", "arm", "7", "linux/arm/v7"),
            ("linux", "arm64", "8", "linux/arm64/v8"),
            ("linux", "arm64", "9.0", "linux/arm64/v9"),
            ("macos", "arm64", "", "darwin/arm64"),
            ("linux", "amd64", "", "linux/amd64"),
        ] {
            let text =
                format!(r#"{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#);
            let read: Platform = read(text.as_bytes()).unwrap();
            assert_eq!(read.to_string(), expected);
            assert_eq!(read.has_other_names(), !text.contains("amd64"), "{text}");
        }
        assert_eq!(
            "linux/x86_64".parse::<Platform>().unwrap().to_string(),
            "linux/amd64"
        );
    }

    #[test]
    fn what_says_another_variant_or_version_differs() {
        let differs = |one: &str, other: &str| {
            let [one, other]: [Platform; 2] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(one.differs(&other), other.differs(&one));
            one.differs(&other)
        };
        for (one, other) in [
            ("linux/arm/v6", "linux/arm/v7"),
            ("linux/amd64", "linux/amd64/v4"),
            ("linux/arm64", "linux/amd64"),
            ("windows/amd64:10.0.1", "windows/amd64:10.0.2"),
        ] {
            assert!(differs(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("linux/arm", "linux/arm/v7"),
            ("linux/amd64/v1", "linux/amd64"),
            ("windows/amd64:10.0.1", "windows/amd64"),
            ("unknown/unknown", "linux/amd64"),
        ] {
            assert!(!differs(one, other), "{one} {other}");
        }
    }

    #[test]
    fn refuses_what_is_no_platform() {
        for bad in [
            "",
            "linux",
            "linux/",
            "linux/a/b/c",
            "Linux/amd64",
            "linux/amd 64",
            "linux/amd64:",
            "windows/amd64:10\u{a0}1",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
        for bad in [
            r#"{"os":"linux","architecture":"amd64\",\n],)\nlocal_path_override("}"#,
            r#"{"os":"linux\u001b[2J","architecture":"amd64"}"#,
            r#"{"os":"linux","architecture":"amd64","variant":"a b"}"#,
            r#"{"os":"windows","architecture":"amd64","os.version":"\u202e"}"#,
            r#"{"os":"windows","architecture":"amd64","os.features":["a/b"]}"#,
        ] {
            let error = read::<Platform>(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is no part of a platform"), "{error}");
        }
    }
}
