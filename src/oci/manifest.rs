//! Image manifests and image indexes (OCI image spec, manifest.md and image-index.md; Docker's
//! manifest schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::descriptor::{Descriptor, Kind, MediaType};

/// The largest manifest that is read, in bytes: the limit that registries keep (distribution spec,
/// "Pushing Manifests").
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// An image manifest: one config and its layers, lowest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type, or else the one it was referred to with.
    // `Manifest::parse` has read it already.
    #[serde(skip_deserializing, default = "oci_manifest")]
    pub media_type: MediaType,
    /// The type of the artifact, when this is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about (a signature's image, say).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Arbitrary metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index: manifests, each usually for a platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type, or else the one it was referred to with.
    // `Manifest::parse` has read it already.
    #[serde(skip_deserializing, default = "oci_index")]
    pub media_type: MediaType,
    /// The type of the artifact, when this is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, in the index's order.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Arbitrary metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest of either kind.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few of them")]
pub enum Manifest {
    /// An image index or a Docker manifest list.
    Index(ImageIndex),
    /// An image manifest.
    Image(ImageManifest),
}

/// Why bytes are not a manifest that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a required property is missing or malformed.
    #[error("it is not valid JSON of a manifest")]
    Json(#[from] serde_json::Error),
    /// Docker's schema 1, which has no digests of its config.
    #[error(
        "it has schemaVersion {0}: only schemaVersion 2 is supported, so push the image again with a current tool"
    )]
    SchemaVersion(u64),
    /// Neither an index nor an image manifest.
    #[error("its media type {0:?} is neither an image manifest nor an image index")]
    MediaType(String),
    /// An index and an image manifest at once: which, would be up to the reader.
    #[error("it has both manifests and a config, so it can be read in two ways")]
    Ambiguous,
    /// The content has another media type than the one that pointed to it says.
    #[error("it says that it is {found}, but it was referred to as {expected}")]
    Mismatch {
        /// What the descriptor said.
        expected: MediaType,
        /// What the content says.
        found: MediaType,
    },
    /// Larger than [`MAX_MANIFEST_SIZE`].
    #[error("it has {0} bytes, more than the limit of 4 MiB for a manifest")]
    Size(u64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<MediaType>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Parses `bytes`, which were referred to with the media type `expected`, if any.
    ///
    /// The `mediaType` inside must agree, and so must the properties, so that one content cannot be
    /// read in two ways (CVE-2021-41190).
    pub fn parse(bytes: &[u8], expected: Option<&MediaType>) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST_SIZE {
            return Err(ManifestError::Size(bytes.len() as u64));
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(head.schema_version));
        }
        let kind_by_content = match (&head.manifests, &head.config) {
            (Some(_), None) => Some(MediaType::OCI_INDEX),
            (None, Some(_)) => Some(MediaType::OCI_MANIFEST),
            (Some(_), Some(_)) => return Err(ManifestError::Ambiguous),
            (None, None) => None,
        };
        if let (Some(expected), Some(found)) = (expected, &head.media_type)
            && expected != found
        {
            return Err(ManifestError::Mismatch {
                expected: expected.clone(),
                found: found.clone(),
            });
        }
        let media_type = head
            .media_type
            .or_else(|| expected.cloned())
            .or_else(|| kind_by_content.clone())
            .ok_or_else(|| ManifestError::MediaType(String::new()))?;
        if let Some(by_content) = kind_by_content
            && by_content.kind() != media_type.kind()
        {
            return Err(ManifestError::Mismatch {
                expected: media_type,
                found: by_content,
            });
        }
        match media_type.kind() {
            Kind::Index => {
                let mut index: ImageIndex = serde_json::from_slice(bytes)?;
                index.media_type = media_type;
                Ok(Manifest::Index(index))
            }
            Kind::Manifest => {
                let mut image: ImageManifest = serde_json::from_slice(bytes)?;
                image.media_type = media_type;
                Ok(Manifest::Image(image))
            }
            _ => Err(ManifestError::MediaType(media_type.as_str().to_owned())),
        }
    }

    /// The manifest's media type: its own, or else the one it was referred to with.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Manifest::Index(index) => &index.media_type,
            Manifest::Image(image) => &image.media_type,
        }
    }
}

impl ImageIndex {
    /// Parses the bytes of what can be nothing but an image index of OCI's.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        match Manifest::parse(bytes, Some(&MediaType::OCI_INDEX))? {
            Manifest::Index(index) => Ok(index),
            Manifest::Image(image) => Err(ManifestError::MediaType(image.media_type.into())),
        }
    }
}

fn oci_manifest() -> MediaType {
    MediaType::OCI_MANIFEST
}

fn oci_index() -> MediaType {
    MediaType::OCI_INDEX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, expected: Option<&MediaType>) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes(), expected)
    }

    #[test]
    fn the_media_type_inside_must_agree() {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(parse(index, None), Ok(Manifest::Index(_))));
        assert!(matches!(
            parse(index, Some(&MediaType::OCI_MANIFEST)),
            Err(ManifestError::Mismatch { .. })
        ));
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        let config = serde_json::to_string(&Descriptor::of(MediaType::OCI_CONFIG, b"config"));
        let both = format!(
            r#"{{"schemaVersion":2,"manifests":[],"config":{}}}"#,
            config.unwrap()
        );
        for expected in [
            None,
            Some(&MediaType::OCI_INDEX),
            Some(&MediaType::OCI_MANIFEST),
        ] {
            assert!(parse(&both, expected).is_err(), "{expected:?}");
        }
    }

    #[test]
    fn refuses_schema_1_and_nonsense() {
        let old = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(
            parse(old, None),
            Err(ManifestError::SchemaVersion(1))
        ));
        assert!(parse("<html>", None).is_err());
        let deep = "[".repeat(1000);
        assert!(parse(&format!(r#"{{"schemaVersion":2,"manifests":{deep}"#), None).is_err());
    }
}
