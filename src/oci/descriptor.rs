//! Content descriptors and media types (OCI image spec, descriptor.md and media-types.md).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::digest::{Algorithm, Digest};
use crate::oci::platform::Platform;

/// The longest media type: a type and a subtype of 127 characters each (RFC 6838, 4.2).
const MAX_MEDIA_TYPE: usize = 255;

/// The media type of a content, in the OCI image spec's names or in Docker's schema 2 names: at most 255
/// printable ASCII characters; none where it is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaType(Cow<'static, str>);

impl TryFrom<String> for MediaType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let fits = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let length = name.len();
        if length > MAX_MEDIA_TYPE {
            return Err(format!(
                "a media type has {length} bytes, more than the limit of {MAX_MEDIA_TYPE},"
            ));
        }
        if !name.bytes().all(fits) {
            return Err(format!("{name:?} is not a media type"));
        }
        Ok(MediaType(Cow::Owned(name)))
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.0.into_owned()
    }
}

/// What a media type says about the content's role in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image index or a Docker manifest list.
    Index,
    /// An image manifest.
    Manifest,
    /// An image configuration.
    Config,
    /// A file system layer: a tar archive, compressed as said.
    Layer(Compression),
    /// Anything else: the content of an artifact.
    Other,
}

/// How a layer's tar archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not compressed.
    None,
    /// RFC 1952 gzip.
    Gzip,
    /// RFC 8478 zstd.
    Zstd,
}

/// The names of media types, as they are matched.
mod name {
    pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub(super) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub(super) const OCI_FOREIGN_LAYER: &str =
        "application/vnd.oci.image.layer.nondistributable.v1.tar";
    pub(super) const DOCKER_INDEX: &str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub(super) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub(super) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub(super) const DOCKER_FOREIGN_LAYER: &str =
        "application/vnd.docker.image.rootfs.foreign.diff.tar";
    /// What registries and tools have called configs and layers, as Docker knows.
    pub(super) const OLD_FOR_ALL: [&str; 4] = [
        "",
        "application/octet-stream",
        "application/json",
        "text/html",
    ];
}

impl MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    pub(crate) const OCI_INDEX: Self = Self(Cow::Borrowed(name::OCI_INDEX));
    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_MANIFEST: Self = Self(Cow::Borrowed(name::OCI_MANIFEST));
    /// `application/vnd.oci.image.config.v1+json`
    pub const OCI_CONFIG: Self = Self(Cow::Borrowed(name::OCI_CONFIG));
    /// `application/vnd.oci.empty.v1+json`, which stands for no content (manifest.md, "Guidance for an Empty
    /// Descriptor").
    pub(crate) const OCI_EMPTY: Self = Self(Cow::Borrowed("application/vnd.oci.empty.v1+json"));
    /// `application/octet-stream`, of which nothing but the bytes is known.
    pub(crate) const OCTET_STREAM: Self = Self(Cow::Borrowed("application/octet-stream"));
    const CACHE_CONFIG: Self = Self(Cow::Borrowed("application/vnd.buildkit.cacheconfig.v0"));
    const DOCKER_INDEX: Self = Self(Cow::Borrowed(name::DOCKER_INDEX));
    pub(crate) const DOCKER_MANIFEST: Self = Self(Cow::Borrowed(name::DOCKER_MANIFEST));

    /// The manifest media types that a registry is asked for.
    pub const MANIFESTS: [Self; 4] = [
        Self::OCI_INDEX,
        Self::OCI_MANIFEST,
        Self::DOCKER_INDEX,
        Self::DOCKER_MANIFEST,
    ];

    /// A media type by name; a parameter such as `; charset=utf-8` is dropped, and what is no name is none.
    pub fn new(name: &str) -> Self {
        let name = name.split(';').next().unwrap_or_default().trim();
        MediaType::try_from(name.to_owned()).unwrap_or_default()
    }

    /// Whether it is of Docker's manifests of schema 1, which are of no use today.
    pub(crate) fn is_schema_1(&self) -> bool {
        let name = self
            .as_str()
            .strip_prefix("application/vnd.docker.distribution.manifest.v1+");
        name.is_some_and(|name| ["json", "prettyjws"].contains(&name))
    }

    /// Whether it is of a part of a cache, as `BuildKit` lists parts in an index of their own.
    pub(crate) fn is_of_cache(&self) -> bool {
        matches!(self.kind(), Kind::Config | Kind::Layer(_)) || *self == Self::CACHE_CONFIG
    }

    /// Whether podman knows it as one of a manifest of Docker's: it refuses what has a layer of another one.
    pub(crate) fn is_dockers_to_podman(&self) -> bool {
        let is_layer = self.layer_parts().is_some_and(|(base, compression)| {
            matches!(base, name::DOCKER_LAYER | name::DOCKER_FOREIGN_LAYER)
                && compression != Compression::Zstd
        });
        let name = self.as_str();
        is_layer
            || self.is_schema_1()
            || [
                name::DOCKER_INDEX,
                name::DOCKER_MANIFEST,
                name::DOCKER_CONFIG,
            ]
            .contains(&name)
    }

    /// Whether Docker reads a config of it as an image's: many registries and tools have called one so.
    pub(crate) fn is_config_to_docker(&self) -> bool {
        self.kind() == Kind::Config || name::OLD_FOR_ALL.contains(&self.as_str())
    }

    /// Whether a runtime takes a layer of it for a file system's, and unpacks it: Docker and containerd look at how it
    /// begins (moby's `supportedMediaTypes`, containerd's `IsLayerType`).
    pub(crate) fn is_unpacked(&self) -> bool {
        let name = self.as_str().to_ascii_lowercase();
        let is_of = |family: &str| {
            let rest = name.strip_prefix(family);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        (is_of("application/vnd.docker") && !is_of("application/vnd.docker.ai"))
            || is_of("application/vnd.oci.image")
            || name.starts_with("application/vnd.erofs")
            || name::OLD_FOR_ALL.into_iter().any(is_of)
    }

    /// Whether it is not told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One that may be absent; an empty one is.
    pub(super) fn optional<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self>, D::Error> {
        let name = Option::<MediaType>::deserialize(deserializer)?;
        Ok(name.filter(|name| !name.is_empty()))
    }

    /// The OCI layer media type for a compression.
    pub fn layer(compression: Compression) -> Self {
        MediaType(Cow::Owned(format!(
            "{}{}",
            name::OCI_LAYER,
            compression.suffix()
        )))
    }

    /// The name, such as `application/vnd.oci.image.manifest.v1+json`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The content's role.
    pub fn kind(&self) -> Kind {
        match self.as_str() {
            name::OCI_INDEX | name::DOCKER_INDEX => Kind::Index,
            name::OCI_MANIFEST | name::DOCKER_MANIFEST => Kind::Manifest,
            name::OCI_CONFIG | name::DOCKER_CONFIG => Kind::Config,
            _ => self
                .layer_parts()
                .map_or(Kind::Other, |(_, compression)| Kind::Layer(compression)),
        }
    }

    /// The same content's media type in the OCI image spec, for a Docker schema 2 type; else itself.
    #[must_use]
    pub fn to_oci(&self) -> Self {
        match self.kind() {
            Kind::Index => Self::OCI_INDEX,
            Kind::Manifest => Self::OCI_MANIFEST,
            Kind::Config => Self::OCI_CONFIG,
            Kind::Layer(compression) => match self.layer_parts() {
                Some((name::DOCKER_LAYER, _)) => Self::layer(compression),
                Some((name::DOCKER_FOREIGN_LAYER, _)) => MediaType(Cow::Owned(format!(
                    "{}{}",
                    name::OCI_FOREIGN_LAYER,
                    compression.suffix()
                ))),
                _ => self.clone(),
            },
            Kind::Other => self.clone(),
        }
    }

    /// Whether it is of a layer that registries must not distribute (media-types.md, layer.md,
    /// "Non-Distributable Layers"; Docker's "foreign" layers).
    pub(crate) fn is_nondistributable(&self) -> bool {
        self.layer_parts().is_some_and(|(base, _)| {
            matches!(base, name::OCI_FOREIGN_LAYER | name::DOCKER_FOREIGN_LAYER)
        })
    }

    fn layer_parts(&self) -> Option<(&'static str, Compression)> {
        [
            name::OCI_LAYER,
            name::OCI_FOREIGN_LAYER,
            name::DOCKER_LAYER,
            name::DOCKER_FOREIGN_LAYER,
        ]
        .into_iter()
        .find_map(|base| {
            let compression = match self.0.strip_prefix(base)? {
                "" => Compression::None,
                "+gzip" | ".gzip" => Compression::Gzip,
                "+zstd" | ".zstd" => Compression::Zstd,
                _ => return None,
            };
            Some((base, compression))
        })
    }
}

impl Compression {
    fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "plain tar",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_u64(Size)
}

struct Size;

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in bytes")
    }

    fn visit_u64<E: Error>(self, size: u64) -> Result<u64, E> {
        // The spec's sizes are int64; a larger one would be another number to other tools.
        match i64::try_from(size) {
            Ok(_) => Ok(size),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(size), &self)),
        }
    }
}

/// Points to a content: what it is, its digest and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Descriptor {
    /// The content's media type.
    #[serde(default)]
    pub media_type: MediaType,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    #[serde(deserialize_with = "parse_size")]
    pub size: u64,
    /// Where else the content may be downloaded, for layers that registries must not distribute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Arbitrary metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of the image, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact, when the content is an artifact's manifest.
    #[serde(
        default,
        deserialize_with = "MediaType::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub artifact_type: Option<MediaType>,
    /// The content itself, which has the digest and the size. An empty one is a content of no bytes.
    #[serde(default, with = "base64_text", skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let descriptor = Self::deserialize(deserializer)?;
        let Descriptor { digest, size, .. } = &descriptor;
        if let Some(data) = &descriptor.data {
            let found = Digest::of(digest.algorithm(), data);
            let length = data.len() as u64;
            if found != *digest || length != *size {
                return Err(D::Error::custom(format!(
                    "data should have {size} bytes and the digest {digest}, but has {length} and {found},"
                )));
            }
        }
        Ok(descriptor)
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Bytes as RFC 4648 base64 (descriptor.md, "Embedded Content"), read as Go reads it: over line breaks, whatever the
/// bits are that are left over, but with padding.
mod base64_text {
    use base64::Engine as _;
    use base64::alphabet;
    use base64::engine::general_purpose::{GeneralPurpose, PAD};
    use base64::prelude::BASE64_STANDARD;
    use serde::de::Error as _;

    use super::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    const GO: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        PAD.with_decode_allow_trailing_bits(true),
    );

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        data: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = data.as_ref().map(|data| BASE64_STANDARD.encode(data));
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(mut text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        text.retain(|c| !matches!(c, '\r' | '\n'));
        GO.decode(text)
            .map(Some)
            .map_err(|_| D::Error::custom("data is not base64"))
    }
}

impl Descriptor {
    /// Whether it is a layer of an image's file system.
    pub(crate) fn is_file_system(&self) -> bool {
        matches!(self.media_type.kind(), Kind::Layer(_))
    }

    /// A descriptor with the three required properties.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// Whether it points to an index or a manifest.
    pub(crate) fn is_manifest(&self) -> bool {
        matches!(self.media_type.kind(), Kind::Index | Kind::Manifest)
    }

    /// The same without what is said of the content: its media type, digest and size.
    #[must_use]
    pub(crate) fn bare(&self) -> Self {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.size)
    }

    /// The descriptor of `bytes`, by SHA-256.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        Descriptor::new(media_type, digest, bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::strict::read;

    #[test]
    fn knows_oci_and_docker_media_types() {
        let kind = |name: &str| MediaType::new(name).kind();
        assert_eq!(
            kind("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            Kind::Index
        );
        assert_eq!(
            kind("application/vnd.oci.image.layer.v1.tar+zstd"),
            Kind::Layer(Compression::Zstd)
        );
        assert_eq!(
            kind("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            Kind::Layer(Compression::Gzip)
        );
        assert_eq!(kind("application/vnd.in-toto+json"), Kind::Other);
        let to_oci = |name: &str| MediaType::new(name).to_oci().as_str().to_owned();
        assert_eq!(
            to_oci("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        );
        assert_eq!(
            to_oci("application/vnd.in-toto+json"),
            "application/vnd.in-toto+json"
        );
    }

    #[test]
    fn refuses_sizes_that_are_none() {
        let json = |size: &str| {
            let digest = Digest::of(Algorithm::Sha256, b"");
            let text = format!(r#"{{"mediaType":"a/b","digest":"{digest}"{size}}}"#);
            read::<Descriptor>(text.as_bytes())
        };
        assert!(json(r#","size":0"#).is_ok());
        assert!(json(r#","size":9223372036854775807"#).is_ok());
        // To Go, this is a whole number as well.
        let negative = json(r#","size" :-0,"other":[-0,"-0"]"#);
        assert_eq!(negative.ok().map(|descriptor| descriptor.size), Some(0));
        for size in [
            "9223372036854775808",
            "-1",
            "1e30",
            "1e3",
            "1.0",
            "0.0",
            "-0.0",
            "-0e0",
            "0e0",
            "00",
            "-00",
            "-",
            "+0",
            "\"0\"",
            "null",
        ] {
            assert!(json(&format!(r#","size":{size}"#)).is_err(), "{size}");
        }
        assert!(json("").is_err());
    }

    #[test]
    fn data_is_the_content() {
        let digest = Digest::of(Algorithm::Sha256, b"ab");
        let json = |data: &str, size: u64| {
            let text = format!(r#"{{"digest":"{digest}","size":{size},"data":{data}}}"#);
            read::<Descriptor>(text.as_bytes())
        };
        for data in ["YWI=", r"Y\r\nWI=\n", r"YWI\n=", "YWJ="] {
            let read = json(&format!("\"{data}\""), 2).unwrap();
            assert_eq!(read.data.unwrap(), b"ab", "{data}");
        }
        assert_eq!(json("null", 2).unwrap().data, None);
        let nothing = serde_json::json!({
            "mediaType": "a/b", "digest": Digest::of(Algorithm::Sha256, b""), "size": 0, "data": "",
        });
        let empty = read::<Descriptor>(nothing.to_string().as_bytes()).unwrap();
        assert_eq!(empty.data.as_deref(), Some(&b""[..]));
        assert_eq!(serde_json::to_value(&empty).unwrap(), nothing);
        for (data, size) in [
            (r#""""#, 2),
            (r#""""#, 0),
            (r#""\n""#, 2),
            (r#""YWM=""#, 2),
            (r#""YWI=""#, 3),
            (r#""?""#, 2),
            (r#""YWI""#, 2),
            (r#""YW I=""#, 2),
            (r#""YWI=YWI=""#, 2),
            (r#""YWI==""#, 2),
            (r#""-_-_""#, 3),
        ] {
            assert!(json(data, size).is_err(), "{data}");
        }
        let media_type = |name: &str| {
            let text = format!(r#"{{"mediaType":"{name}","digest":"{digest}","size":2}}"#);
            read::<Descriptor>(text.as_bytes())
        };
        assert!(media_type("").unwrap().media_type.is_empty());
        for bad in [r"a/b\u202e", r"a\u001b[2J", r"a\n"] {
            let error = media_type(bad).unwrap_err().to_string();
            assert!(error.contains("is not a media type"), "{error}");
        }
        let longest = "a".repeat(255);
        assert!(media_type(&longest).is_ok());
        let error = media_type(&format!("{longest}a")).unwrap_err().to_string();
        assert!(
            error.contains("256 bytes, more than the limit of 255"),
            "{error}"
        );
    }
}
