//! Image manifests and image indexes (OCI image spec, manifest.md and image-index.md; Docker's
//! manifest schema 2).

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::oci::descriptor::{Descriptor, Kind, MediaType};
use crate::oci::strict::{Folded, read_noting};

/// The largest manifest that is read, in bytes: the limit that registries keep (distribution spec,
/// "Pushing Manifests").
pub(crate) const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// An image manifest: one config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type, or else the one it was referred to with.
    pub media_type: MediaType,
    /// The type of the artifact, when this is not an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about (a signature's image, say).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Arbitrary metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index: manifests, each usually for a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type, or else the one it was referred to with.
    pub media_type: MediaType,
    /// The type of the artifact, when this is not an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifests, in the index's order.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Arbitrary metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them")]
pub enum Manifest {
    /// An image index or a Docker manifest list.
    Index(ImageIndex),
    /// An image manifest.
    Image(ImageManifest),
}

/// What a strict reader would not have taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// A key in another case.
    Folded(Folded),
    /// An index without a version, as `rules_oci` writes it.
    NoSchemaVersion,
}

impl std::fmt::Display for Oddity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Oddity::Folded(folded) => folded.fmt(f),
            Oddity::NoSchemaVersion => f.write_str("it has no schemaVersion, which should be 2"),
        }
    }
}

/// Why bytes are not a manifest that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a required property is missing or malformed.
    #[error("it is not valid JSON of {document}")]
    Json {
        /// What it should be.
        document: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Docker's schema 1, which has no digests of its config.
    #[error("it has schemaVersion {0}: only schemaVersion 2 is supported")]
    SchemaVersion(u64),
    /// An image manifest without a version, or with `null`.
    #[error("it has no schemaVersion, which must be 2")]
    NoSchemaVersion,
    /// Neither an index nor an image manifest.
    #[error("its media type {0:?} is neither an image manifest nor an image index")]
    MediaType(String),
    /// An image manifest without what makes it one.
    #[error("it has no config")]
    NoConfig,
    /// An index and an image manifest at once: which, would be up to the reader.
    #[error("it has both manifests and a config or layers, so it can be read in two ways")]
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

/// All that a manifest of any kind has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    #[serde(default, deserialize_with = "MediaType::optional")]
    media_type: Option<MediaType>,
    #[serde(default, deserialize_with = "MediaType::optional")]
    artifact_type: Option<MediaType>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// Schema 1's layers.
    fs_layers: Option<IgnoredAny>,
}

impl Manifest {
    /// Parses `bytes`, which were referred to with the media type `expected`, if any.
    ///
    /// The `mediaType` inside must agree, and so must the properties, so that one content cannot be
    /// read in two ways (CVE-2021-41190).
    pub fn parse(bytes: &[u8], expected: Option<&MediaType>) -> Result<Self, ManifestError> {
        Self::parse_noting(bytes, expected).map(|(manifest, _)| manifest)
    }

    /// As [`Manifest::parse`], with what a strict reader would not have taken.
    pub(crate) fn parse_noting(
        bytes: &[u8],
        expected: Option<&MediaType>,
    ) -> Result<(Self, Vec<Oddity>), ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST_SIZE {
            return Err(ManifestError::Size(bytes.len() as u64));
        }
        let (document, folded) =
            read_noting::<Document>(bytes).map_err(|source| ManifestError::Json {
                document: match expected.map(MediaType::kind) {
                    Some(Kind::Index) => "an image index",
                    _ => "a manifest",
                },
                source,
            })?;
        if let Some(version) = document.schema_version
            && version != 2
        {
            return Err(ManifestError::SchemaVersion(version));
        }
        let has_image = document.config.is_some() || document.layers.is_some();
        let by_content = match (document.manifests.is_some(), has_image) {
            (true, false) => Some(MediaType::OCI_INDEX),
            (false, true) => Some(MediaType::OCI_MANIFEST),
            (true, true) => return Err(ManifestError::Ambiguous),
            (false, false) => None,
        };
        if document.fs_layers.is_some() && by_content.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        let expected = expected.filter(|expected| !expected.is_empty());
        if let (Some(expected), Some(found)) = (expected, &document.media_type)
            && expected != found
        {
            return Err(ManifestError::Mismatch {
                expected: expected.clone(),
                found: found.clone(),
            });
        }
        let media_type = document
            .media_type
            .or_else(|| expected.cloned())
            .or_else(|| by_content.clone())
            .ok_or_else(|| ManifestError::MediaType(String::new()))?;
        if let Some(by_content) = by_content
            && by_content.kind() != media_type.kind()
        {
            return Err(ManifestError::Mismatch {
                expected: media_type,
                found: by_content,
            });
        }
        let mut oddities: Vec<Oddity> = folded.into_iter().map(Oddity::Folded).collect();
        let manifest = match media_type.kind() {
            Kind::Index => {
                if document.schema_version.is_none() {
                    oddities.push(Oddity::NoSchemaVersion);
                }
                let manifests = document.manifests.unwrap_or_default();
                Manifest::Index(ImageIndex {
                    schema_version: 2,
                    media_type,
                    artifact_type: document.artifact_type,
                    manifests,
                    subject: document.subject,
                    annotations: document.annotations,
                })
            }
            Kind::Manifest if document.schema_version.is_none() => {
                return Err(ManifestError::NoSchemaVersion);
            }
            Kind::Manifest => Manifest::Image(ImageManifest {
                schema_version: 2,
                media_type,
                artifact_type: document.artifact_type,
                config: document.config.ok_or(ManifestError::NoConfig)?,
                layers: document.layers.unwrap_or_default(),
                subject: document.subject,
                annotations: document.annotations,
            }),
            _ => return Err(ManifestError::MediaType(media_type.as_str().to_owned())),
        };
        Ok((manifest, oddities))
    }

    /// The manifest's media type: its own, or else the one it was referred to with.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Manifest::Index(index) => &index.media_type,
            Manifest::Image(image) => &image.media_type,
        }
    }

    /// The manifest, if it is not an index.
    pub(crate) fn as_image(&self) -> Option<&ImageManifest> {
        match self {
            Manifest::Index(_) => None,
            Manifest::Image(image) => Some(image),
        }
    }

    /// The manifest that this one is about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Manifest::Index(index) => index.subject.as_ref(),
            Manifest::Image(image) => image.subject.as_ref(),
        }
    }

    /// Arbitrary metadata.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Manifest::Index(index) => &index.annotations,
            Manifest::Image(image) => &image.annotations,
        }
    }

    /// The indexes and manifests that this one lists.
    pub fn manifests(&self) -> impl Iterator<Item = &Descriptor> {
        let entries = match self {
            Manifest::Index(index) => index.manifests.as_slice(),
            Manifest::Image(_) => &[],
        };
        entries.iter().filter(|entry| entry.is_manifest())
    }

    /// As [`ImageIndex::disguised`].
    pub fn disguised(&self) -> Vec<&Descriptor> {
        match self {
            Manifest::Index(index) => index.disguised().collect(),
            Manifest::Image(_) => Vec::new(),
        }
    }

    /// What else belongs to this one, and what it is: a config and layers, or artifacts that an index lists.
    pub fn blobs(&self) -> Vec<(&'static str, &Descriptor)> {
        match self {
            Manifest::Image(image) => std::iter::once("config")
                .chain(std::iter::repeat("layer"))
                .zip(image.blobs())
                .collect(),
            Manifest::Index(index) => {
                let others = index.manifests.iter().filter(|entry| !entry.is_manifest());
                others.map(|entry| ("artifact", entry)).collect()
            }
        }
    }
}

impl ImageManifest {
    /// The config, and the layers, lowest first.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

impl ImageIndex {
    /// Parses the bytes of what can be nothing but an image index of OCI's.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::parse_noting(bytes).map(|(index, _)| index)
    }

    /// What is no manifest by its media type, and what some take for an image all the same, at least by its digest: all but
    /// the parts of a cache, which are listed for no platform and beside no image.
    pub(crate) fn disguised(&self) -> impl Iterator<Item = &Descriptor> {
        let lists_image = self.manifests.iter().any(Descriptor::is_manifest);
        self.manifests.iter().filter(move |entry| {
            let is_listed_so = entry.platform.is_some() || lists_image;
            !entry.is_manifest() && (is_listed_so || !entry.media_type.is_of_cache())
        })
    }

    /// As [`ImageIndex::parse`], with what a strict reader would not have taken.
    pub(crate) fn parse_noting(bytes: &[u8]) -> Result<(Self, Vec<Oddity>), ManifestError> {
        match Manifest::parse_noting(bytes, Some(&MediaType::OCI_INDEX))? {
            (Manifest::Index(index), oddities) => Ok((index, oddities)),
            (Manifest::Image(image), _) => Err(ManifestError::MediaType(image.media_type.into())),
        }
    }
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

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(more: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{EMPTY}","size":0}}{more}}}"#)
    }

    #[test]
    fn a_document_is_the_same_to_all_readers() {
        let layer = format!(r#"{{"mediaType":"a/b","digest":"{EMPTY}","size":1}}"#);
        for more in [
            format!(r#","layers":[{layer}],"Layers":[{layer}]"#),
            format!(r#","layers":[],"layerſ":[{layer}]"#),
            r#","layers":[],"layers":[]"#.to_owned(),
            r#","Config":{}"#.to_owned(),
            r#","annotations":{"a":"1","a":"2"}"#.to_owned(),
            r#","other":{"a":{"b":1,"b":1}}"#.to_owned(),
            format!(r#","layers":[{{"digest":"{EMPTY}","size":1,"Digest":"{EMPTY}"}}]"#),
            format!(r#","subject":{{"digest":"{EMPTY}","size":1,"Size":1}}"#),
            format!(
                r#","layers":[{{"digest":"{EMPTY}","size":1,"platform":{{"os":"a","OS":"b"}}}}]"#
            ),
            r#","fsLayers":[]"#.to_owned(),
        ] {
            assert!(parse(&manifest(&more), None).is_err(), "{more}");
        }
        let text = manifest(r#","LAYERS":null,"annotations":null,"subject":null,"mediaType":"""#);
        let (_, oddities) = Manifest::parse_noting(text.as_bytes(), None).unwrap();
        assert_eq!(oddities.len(), 1);
        let index = br#"{"manifests":null}"#;
        let (_, oddities) = ImageIndex::parse_noting(index).unwrap();
        assert_eq!(oddities, [Oddity::NoSchemaVersion]);
        for version in ["", r#""schemaVersion":null,"#] {
            let text = manifest("").replace(r#""schemaVersion":2,"#, version);
            let error = parse(&text, None).unwrap_err();
            assert!(matches!(error, ManifestError::NoSchemaVersion), "{error:?}");
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
