//! Image manifests and image indexes (OCI image spec, manifest.md and image-index.md; Docker's
//! manifest schema 2).

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::oci::config::{ConfigError, ImageConfig, MAX_CONFIG_SIZE, has_members};
use crate::oci::descriptor::{Descriptor, Kind, MediaType};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
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

/// Why what is no image is taken for one that is listed for its platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistaken {
    /// The image is not before it.
    #[error("some tools take the first of both")]
    First,
    /// podman prefers it.
    #[error("podman prefers it to the image before it, for its annotation {ZSTD}")]
    Zstd,
    /// The image is listed under another name than Go's.
    #[error(
        "the image before it is listed for that under another name, which some tools do not know"
    )]
    Name,
    /// The image is listed for another variant, or for no platform.
    #[error(
        "the image before it is listed for {}, and some tools prefer what is listed for the very platform that is asked for",
        told(.0.as_deref())
    )]
    Platform(Option<Box<Platform>>),
}

/// What something is listed for, in words.
pub(crate) fn told(platform: Option<&Platform>) -> String {
    platform.map_or("no platform".to_owned(), Platform::to_string)
}

/// The annotation by which podman knows what is compressed by zstd.
pub(crate) const ZSTD: &str = "io.github.containers.compression.zstd";

/// Why a manifest of what should be an image is none.
#[derive(Debug, thiserror::Error)]
pub enum BadImage {
    /// It is no image, and there is one for the platform that it is listed for.
    #[error("it is no image, but it is listed for {platform}, as an image is: {why}")]
    Artifact {
        /// What it is listed for.
        platform: Box<Platform>,
        /// Who takes it for the image.
        why: Mistaken,
    },
    /// It is not for linux/amd64, and an entry without a platform leads to it before the image that is.
    #[error(
        "it, or an index that leads to it, is listed without a platform before the image for linux/amd64, which it is not: some tools take it for that"
    )]
    NoPlatform,
    /// It is listed under another name than Go's, and there is another image for the platform.
    #[error(
        "it is listed for {platform} beside another image, one of them under another name of that: some tools take the one, and some the other"
    )]
    Names {
        /// What both are for.
        platform: Box<Platform>,
    },
    /// It says not what it is for.
    #[error(
        "its config {digest} does not say for which os and architecture its layers are: some tools run them on their own"
    )]
    Unnamed {
        /// The config.
        digest: Digest,
    },
    /// It has an image's config, and something else than a file system among its layers.
    #[error(
        "by its config it is an image, but its layer {layer} is of the media type {media_type}, which is no layer's: some tools run it all the same"
    )]
    Layer {
        /// The first such layer.
        layer: Digest,
        /// What it says to be.
        media_type: MediaType,
    },
    /// It is an image, and listed for no platform.
    #[error(
        "by its config it is an image for {platform}, but its index lists it for an unknown one, as what is no image: who names its digest runs it all the same"
    )]
    Hidden {
        /// What it is for.
        platform: Box<Platform>,
    },
    /// Its config is of no use.
    #[error("its config {digest} cannot be used")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Its config tells of other layers.
    #[error("its config {digest} has {diff_ids} diff_ids, but it has {layers} layers")]
    DiffIds {
        /// The config.
        digest: Digest,
        /// Entries in the config.
        diff_ids: usize,
        /// Entries in the manifest.
        layers: usize,
    },
}

impl ImageManifest {
    /// The config, and the layers, lowest first.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// The first layer that is not of a file system: what has one is an artifact, whatever its config is.
    pub(crate) fn other_layer(&self) -> Option<&Descriptor> {
        let mut layers = self.layers.iter();
        layers.find(|layer| !layer.is_file_system())
    }

    /// Whether its config calls itself an image's.
    fn claims_to_be_image(&self) -> bool {
        self.config.media_type.kind() == Kind::Config
    }

    /// Whether its config must tell what it is.
    pub(crate) fn may_be_image(&self) -> bool {
        self.config.size <= MAX_CONFIG_SIZE || self.config.media_type.is_config_to_docker()
    }

    /// Whether there is a layer that a runtime unpacks for its media type.
    fn has_unpacked_layer(&self) -> bool {
        self.layers
            .iter()
            .any(|layer| layer.media_type.is_unpacked())
    }

    /// Whether podman unpacks its layers, whatever their media types are, or its config's where it is Docker's, and counts no
    /// `diff_id`.
    fn is_podmans(&self) -> bool {
        let is_its_form = if self.media_type == MediaType::DOCKER_MANIFEST {
            let mut layers = self.layers.iter();
            layers.all(|layer| layer.media_type.is_dockers_to_podman())
        } else {
            self.config.media_type == MediaType::OCI_CONFIG
        };
        is_its_form && !self.layers.is_empty()
    }

    /// Whether podman runs it, though this is no image by [`ImageManifest::image`]: it can read the config, and unpack all
    /// layers, of which `content` says whether they hold anything, if it can be unpacked.
    pub(crate) fn is_run_by_podman(
        &self,
        config: &[u8],
        content: impl FnMut(&Descriptor) -> Option<bool>,
    ) -> bool {
        let is_read = || ImageConfig::parse(config).is_ok() || has_members(config, &[]);
        if !self.is_podmans() || !is_read() {
            return false;
        }
        let layers: Option<Vec<bool>> = self.layers.iter().map(content).collect();
        layers.is_some_and(|layers| layers.contains(&true))
    }

    /// The image's config if this is an image and no artifact: its layers are of file
    /// systems, and its config is an image's with a `diff_id` for each of them.
    ///
    /// `config` are the config's bytes, and `listed` is what the index says that it is for, which counts more
    /// than what the config says: one image may be listed for several platforms. What others may take for an
    /// image, and is none by this, is an error: what calls its config an image's, and has another; what has an image's
    /// config, and other layers, of which a runtime unpacks some; what says nowhere for which platform the layers are that a
    /// runtime unpacks; and an image that is listed for no platform, by a name for that, which no scan of the index's platforms
    /// would see.
    pub fn image(
        &self,
        config: &[u8],
        listed: Option<&Platform>,
    ) -> Result<Option<ImageConfig>, BadImage> {
        let told = listed.filter(|listed| !listed.is_unknown());
        let is_hidden = listed.is_some() && told.is_none();
        if !self.may_be_image() || (is_hidden && !listed.is_some_and(Platform::is_called_unknown)) {
            return Ok(None);
        }
        let other_layer = self.other_layer();
        // What nobody unpacks, nobody runs.
        let is_unpacked = self.has_unpacked_layer();
        if other_layer.is_some() && !is_unpacked && !self.is_podmans() {
            return Ok(None);
        }
        let is_doubtful = is_hidden || other_layer.is_some();
        let claims =
            self.claims_to_be_image() && other_layer.is_none() && (is_unpacked || !is_hidden);
        let digest = self.config.digest.clone();
        let read = match ImageConfig::parse(config) {
            Ok(read) => read,
            Err(source) => {
                // What nobody else says for which platform it is, it must say itself.
                let parts: &[_] = if is_doubtful && told.is_none() {
                    &["rootfs", "os", "architecture"]
                } else {
                    &["rootfs"]
                };
                return if claims || (!self.layers.is_empty() && has_members(config, parts)) {
                    Err(BadImage::Config { digest, source })
                } else {
                    Ok(None)
                };
            }
        };
        let (diff_ids, layers) = (read.diff_ids.len(), self.layers.len());
        let is_unknown = told.unwrap_or(&read.platform).is_unknown();
        if is_doubtful {
            // Some count all layers, some those that they know, and some none where the config calls itself an image's. What
            // has none of these is a module, or the disk of a machine.
            let is_run = if is_unpacked {
                diff_ids > 0 || self.claims_to_be_image()
            } else {
                diff_ids > 0 && read.platform.architecture != "wasm"
            };
            // Of nothing, nothing can be run.
            if layers == 0 || !is_run {
                return Ok(None);
            }
            if is_unknown {
                return if is_unpacked {
                    Err(BadImage::Unnamed { digest })
                } else {
                    Ok(None)
                };
            }
            let platform = Box::new(read.platform);
            return Err(match other_layer.filter(|_| !is_hidden) {
                Some(layer) => BadImage::Layer {
                    layer: layer.digest.clone(),
                    media_type: layer.media_type.clone(),
                },
                None => BadImage::Hidden { platform },
            });
        }
        match (is_unknown, diff_ids == layers) {
            (false, true) => Ok(Some(read)),
            (true, _) if layers == 0 => Ok(None),
            (true, true) => Err(BadImage::Unnamed { digest }),
            (_, false) if claims => Err(BadImage::DiffIds {
                digest,
                diff_ids,
                layers,
            }),
            (_, false) => Ok(None),
        }
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

    fn told(
        media_type: &str,
        layers: &str,
        config: &str,
        listed: Option<&str>,
    ) -> Result<Option<String>, String> {
        let text = manifest(&format!(r#","layers":[{layers}]"#)).replacen(
            r#"{"digest""#,
            &format!(r#"{{"mediaType":"{media_type}","digest""#),
            1,
        );
        let Manifest::Image(image) = parse(&text, None).unwrap() else {
            panic!("an image manifest");
        };
        let listed = listed.map(|listed| listed.parse().unwrap());
        image
            .image(config.as_bytes(), listed.as_ref())
            .map(|config| config.map(|config| config.platform.to_string()))
            .map_err(|error| error.to_string())
    }

    /// Others run it by its digest, whatever is wrong with its config.
    #[test]
    fn what_says_that_it_is_an_image_is_not_hidden_by_its_config() {
        let layer = |media_type: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{EMPTY}","size":1}}"#)
        };
        let oci = MediaType::OCI_CONFIG;
        let unknown = Some("unknown/unknown");
        let image = layer("application/vnd.oci.image.layer.v1.tar");
        let error = told(oci.as_str(), &image, "null", unknown).unwrap_err();
        assert!(error.contains("does not say for which os"), "{error}");
        for config in [r#"{"a":1,"a":2}"#, r#"{"history":null,"History":[]}"#] {
            let error = told(oci.as_str(), &image, config, unknown).unwrap_err();
            assert!(error.contains("cannot be used"), "{config}: {error}");
            let attestation = layer("application/vnd.in-toto+json");
            assert_eq!(told(oci.as_str(), &attestation, config, unknown), Ok(None));
        }
    }

    #[test]
    fn an_image_is_told_from_manifest_and_config() {
        let oci = MediaType::OCI_CONFIG;
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{EMPTY}","size":1}}"#
        );
        let statement = layer.replace("vnd.oci.image.layer.v1.tar", "vnd.in-toto+json");
        let platform = r#""os":"linux","architecture":"amd64""#;
        let config = format!(r#"{{{platform},"rootfs":{{"diff_ids":["{EMPTY}"]}}}}"#);
        let amd64 = Ok(Some("linux/amd64".to_owned()));
        for media_type in [
            oci.as_str(),
            "",
            "application/json",
            "application/octet-stream",
        ] {
            assert_eq!(
                told(media_type, &layer, &config, None),
                amd64,
                "{media_type}"
            );
            // containerd and Docker go by the media types of layers, of which Docker knows old ones, too.
            let nameless = layer.replace("vnd.oci.image.layer.v1.tar", "octet-stream");
            let erofs = layer.replace("vnd.oci.image.layer.v1.tar", "vnd.erofs.layer.v1+zstd");
            for platform in [None, Some("linux/amd64")] {
                for (layer, is_run) in [
                    (&nameless, true),
                    (&erofs, true),
                    (&statement, media_type == oci.as_str()),
                ] {
                    let told = told(media_type, layer, &config, platform);
                    let is_told = told.is_err_and(|error| error.contains(", which is no layer's"));
                    assert_eq!(is_told, is_run, "{media_type} {layer}");
                }
            }
            let listed = Some("linux/amd64/v1");
            assert!(told(media_type, &layer, &config, listed).unwrap().is_some());
            // Go reads all of these.
            let deep = format!(r#"{{"deep":{}{}"#, "[".repeat(200), "]".repeat(200));
            for more in [&deep, r#"{"author":"\ud800""#] {
                let config = config.replacen('{', &format!("{more},"), 1);
                for layer in [&layer, &nameless] {
                    let error = told(media_type, layer, &config, None).unwrap_err();
                    assert!(error.contains("cannot be used"), "{error}");
                }
            }
            let error = told(media_type, &nameless, &format!("{config}{{}}"), None).unwrap_err();
            assert!(error.contains("cannot be used"), "{error}");
            let unknown = Some("unknown/unknown");
            for layer in [&layer, &nameless] {
                let error = told(media_type, layer, &config, unknown).unwrap_err();
                assert!(error.contains("an image for linux/amd64"), "{error}");
                // Go reads the last of two.
                let twice = config.replace(r#""os""#, r#""os":"windows","os""#);
                let error = told(media_type, layer, &twice, unknown).unwrap_err();
                assert!(error.contains("cannot be used"), "{error}");
            }
            // containerd takes the layers that it knows, and podman all of them, whatever the config counts.
            let both = format!("{layer},{statement}");
            for platform in [None, Some("linux/amd64")] {
                let error = told(media_type, &both, &config, platform).unwrap_err();
                assert!(error.contains("vnd.in-toto+json"), "{error}");
            }
            let error = told(media_type, &both, &config, unknown).unwrap_err();
            assert!(error.contains("an image for linux/amd64"), "{error}");
            let uncounted = format!("{{{platform}}}");
            let uncounted = told(media_type, &both, &uncounted, None);
            assert_eq!(
                uncounted.is_err(),
                media_type == oci.as_str(),
                "{media_type}"
            );
            let unlike = config.replace("linux", "unknown");
            // Some run what does not say for what it is.
            let unnamed = config.replace(platform, r#""os":"","architecture":"amd64""#);
            for (config, listed) in [(&unnamed, None), (&unlike, unknown)] {
                let error = told(media_type, &layer, config, listed).unwrap_err();
                assert!(error.contains("does not say for which os"), "{error}");
            }
            assert_eq!(told(media_type, "", "{}", None), Ok(None));
        }
        for media_type in ["", "application/json"] {
            assert_eq!(told(media_type, &layer, "{}", None), Ok(None));
        }
        let error = told(oci.as_str(), &layer, "{}", None).unwrap_err();
        assert!(error.contains("0 diff_ids"), "{error}");
        assert_eq!(told("", &layer, "[]", None), Ok(None));
        assert!(told(oci.as_str(), &layer, "[]", None).is_err());
        let error = told(oci.as_str(), "", &config, None).unwrap_err();
        assert!(error.contains("1 diff_ids"), "{error}");
        assert_eq!(told("a/b", "", &config, None), Ok(None));
    }

    /// The configs of artifacts, as those write them who make them.
    #[test]
    fn artifacts_are_no_images() {
        let artifact = |config_type: &str, config: &str, layer_type: &str, listed: Option<&str>| {
            let layer = format!(r#"{{"mediaType":"{layer_type}","digest":"{EMPTY}","size":1}}"#);
            let text = manifest(&format!(r#","layers":[{layer}]"#));
            let named = format!(r#"{{"mediaType":"{config_type}","digest""#);
            let text = text.replacen(r#"{"digest""#, &named, 1);
            let manifest = parse(&text, None).unwrap();
            let listed = listed.map(|listed| listed.parse().unwrap());
            let image = manifest.as_image().unwrap();
            image.image(config.as_bytes(), listed.as_ref()).unwrap()
        };
        let oci = MediaType::OCI_CONFIG;
        let rootfs = format!(r#""rootfs":{{"type":"layers","diff_ids":["{EMPTY}"]}}"#);
        let signature = format!(r#"{{"architecture":"","os":"","config":{{}},{rootfs}}}"#);
        let statement = signature.replace("\"\"", "\"unknown\"");
        let image = format!(r#"{{"architecture":"amd64","os":"linux",{rootfs}}}"#);
        let model = rootfs.replace("layers", "rootfs");
        let model = format!(r#"{{"config":{{"format":"gguf"}},"descriptor":{{}},{model}}}"#);
        let module = r#"{"created":"2026-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["sha256:x"]}"#;
        for (config_type, config, layer_type) in [
            (
                "application/vnd.cncf.helm.config.v1+json",
                r#"{"name":"x","version":"1","apiVersion":"v2"}"#,
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            ),
            (
                oci.as_str(),
                &signature,
                "application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (
                "application/json",
                &signature,
                "application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (
                oci.as_str(),
                "{}",
                "application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (oci.as_str(), &statement, "application/vnd.in-toto+json"),
            (
                "application/vnd.aquasec.trivy.config.v1+json",
                "{}",
                "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip",
            ),
            (
                MediaType::OCI_EMPTY.as_str(),
                "{}",
                "application/octet-stream",
            ),
            (
                "application/vnd.wasm.config.v0+json",
                module,
                "application/wasm",
            ),
            (
                "application/vnd.docker.ai.model.config.v0.1+json",
                &model,
                "application/vnd.docker.ai.gguf.v3",
            ),
            // Ollama's.
            (
                "application/vnd.docker.container.image.v1+json",
                &image,
                "application/vnd.ollama.image.model",
            ),
            // A module as Docker runs it, and as Spin does.
            (
                oci.as_str(),
                &image.replace("linux", "wasi").replace("amd64", "wasm"),
                "application/vnd.wasm.content.layer.v1+wasm",
            ),
            (
                oci.as_str(),
                r#"{"os":"wasip1","architecture":"wasm","rootfs":{"diff_ids":[]}}"#,
                "application/vnd.fermyon.spin.application.v1+config",
            ),
            // The disk of a machine, as Tart keeps it.
            (
                oci.as_str(),
                r#"{"os":"darwin","architecture":"arm64"}"#,
                "application/vnd.cirruslabs.tart.disk.v2",
            ),
            ("application/x", "no JSON", "application/x"),
            ("application/x", "{ name: x, rootfs: y }", "application/x"),
            ("application/x", "{\"a\":1}\n{\"os\":2}\n", "application/x"),
            (
                "application/vnd.cncf.helm.config.v1+json",
                r#"{"annotations":{"a":"1","a":"2"}}"#,
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            ),
        ] {
            // podman unpacks all layers where the config is OCI's, and an index says for what.
            let listed = Some("linux/amd64").filter(|_| config_type != oci.as_str());
            for listed in [None, Some("unknown/unknown"), listed] {
                assert_eq!(
                    artifact(config_type, config, layer_type, listed),
                    None,
                    "{config}"
                );
            }
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
