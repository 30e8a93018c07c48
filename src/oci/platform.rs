//! Platforms (OCI image spec, image-index.md, the `platform` property).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The operating system and processor that an image is for, in Go's names (`linux`, `arm64`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `GOOS`, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// `GOARCH`, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// The processor's variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system, used by Windows images.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Required features of the operating system, used by Windows images.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// Why a string is not a platform.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a platform: expected OS/ARCHITECTURE[/VARIANT], such as linux/amd64")]
pub struct PlatformError(String);

impl Platform {
    /// Whether this is no platform: the placeholder under which build tools file attestations in an
    /// index, or the empty one in the config of a signature.
    pub fn is_unknown(&self) -> bool {
        [&self.os, &self.architecture]
            .into_iter()
            .any(|name| name.is_empty() || name == "unknown")
    }

    /// The variant with containerd's defaults filled in: arm64 is v8 and arm is v7.
    fn effective_variant(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", None | Some("" | "8")) => "v8",
            ("arm", None | Some("" | "7")) => "v7",
            ("arm", Some("6")) => "v6",
            ("arm", Some("5")) => "v5",
            (_, Some(variant)) => variant,
            (_, None) => "",
        }
    }

    /// How well an image for `self` serves a machine of the platform `wanted`; lower is better, and
    /// `None` is not at all.
    ///
    /// An arm machine runs images of its own variant and of lower ones, as in containerd.
    pub fn rank_for(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        if let Some(version) = &wanted.os_version
            && self.os_version.as_ref() != Some(version)
        {
            return None;
        }
        let (have, want) = (self.effective_variant(), wanted.effective_variant());
        if have == want {
            return Some(0);
        }
        let level = |variant: &str| variant.strip_prefix('v')?.parse::<u32>().ok();
        match (self.architecture.as_str(), level(have), level(want)) {
            ("arm", Some(have), Some(want)) if have < want => Some(want - have),
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformError(text.to_owned())),
        };
        if !parts.iter().all(|part| word(part)) {
            return Err(PlatformError(text.to_owned()));
        }
        Ok(Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
            os_features: Vec::new(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, " ({version})")?;
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

/// The names of what an index or a layout has images for, for messages.
pub(crate) fn offered<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    let names: Vec<String> = platforms
        .filter(|platform| !platform.is_unknown())
        .map(ToString::to_string)
        .collect();
    if names.is_empty() {
        "no platforms at all".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(have: &str, want: &str) -> Option<u32> {
        let have: Platform = have.parse().unwrap();
        have.rank_for(&want.parse().unwrap())
    }

    #[test]
    fn matches_as_containerd_does() {
        assert_eq!(rank("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(rank("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(rank("linux/arm", "linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), Some(1));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), None);
        assert_eq!(rank("linux/amd64", "linux/arm64"), None);
        assert_eq!(rank("windows/amd64", "linux/amd64"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), None);
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
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
