//! Images that a test makes of a few bytes.

use std::collections::HashMap;
use std::io::Write as _;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::http::{Answer, Seen};

/// The media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a layer that is not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The media type of no content, which an artifact has as its config.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The config of an image of these layers, which are not compressed.
pub fn config_of(layers: &[Value]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    json!({
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

/// The manifest of an image, of descriptors.
pub fn manifest_of(config: &Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

/// What a registry has: blobs and manifests by digest.
#[derive(Clone, Debug, Default)]
pub struct Content {
    documents: HashMap<String, (String, Vec<u8>)>,
    /// The digest of the image.
    pub digest: String,
    /// The digests of its layers.
    pub layers: Vec<String>,
}

impl Content {
    /// An image of these layers.
    pub fn image(layers: &[Vec<u8>]) -> Self {
        let mut content = Self::default();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| content.add(LAYER, layer.clone()))
            .collect();
        content.layers = layers.iter().map(|layer| digest(layer)).collect();
        content.finish(&descriptors)
    }

    /// Adds a document and returns its descriptor.
    pub fn add(&mut self, media_type: &str, data: Vec<u8>) -> Value {
        let digest = digest(&data);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": data.len()});
        self.documents.insert(digest, (media_type.to_owned(), data));
        descriptor
    }

    /// The descriptor of a document that it has.
    ///
    /// # Panics
    /// If it has none of this digest.
    pub fn descriptor(&self, digest: &str) -> Value {
        let (media_type, data) = &self.documents[digest];
        json!({"mediaType": media_type, "digest": digest, "size": data.len()})
    }

    /// Makes the image of what these descriptors say its layers are.
    #[must_use]
    pub fn finish(mut self, layers: &[Value]) -> Self {
        let config = self.add(CONFIG, config_of(layers).to_string().into_bytes());
        let manifest = manifest_of(&config, layers).to_string();
        self.with_root(MANIFEST, manifest.into_bytes())
    }

    /// Makes this document the image.
    #[must_use]
    pub fn with_root(mut self, media_type: &str, data: Vec<u8>) -> Self {
        self.digest = digest(&data);
        self.add(media_type, data);
        self
    }

    /// What a good registry answers who asks for this digest.
    pub fn answer_to(&self, digest: &str) -> Answer {
        self.answer(&Seen::get(format!("/{digest}")))
    }

    /// What a good registry answers: manifests and blobs by digest, with ranges. It has no referrers API.
    pub fn answer(&self, seen: &Seen) -> Answer {
        let wanted = seen.path.rsplit('/').next().unwrap_or_default();
        if seen.path == "/v2/" {
            return Answer::new(200, "{}");
        }
        let found = self.documents.get(wanted);
        let Some((media_type, data)) = found.filter(|_| !seen.path.contains("/referrers/")) else {
            return Answer::new(404, r#"{"errors":[{"code":"NOT_FOUND"}]}"#);
        };
        let answer = match seen.range(data.len()) {
            Some(range) => Answer::new(206, &data[range.clone()]).header(
                "Content-Range",
                format!("bytes {}-{}/{}", range.start, range.end - 1, data.len()),
            ),
            None => Answer::new(200, data.clone()),
        };
        answer
            .header("Content-Type", media_type)
            .header("Docker-Content-Digest", wanted)
    }
}

/// The digest of data.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}

/// Bytes that hardly compress and are the same each time; where there is room for that, an archive with a file of them.
///
/// # Panics
/// If a seed had a hundred digits.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut bytes = random(seed, length);
    if let Some(room) = length.checked_sub(3 * BLOCK) {
        let size = room - room % BLOCK;
        let mut header = tar::Header::new_ustar();
        header
            .set_path(format!("noise-{seed}"))
            .expect("it is short");
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let (head, rest) = bytes.split_at_mut(BLOCK);
        head.copy_from_slice(header.as_bytes());
        rest[size..size + 2 * BLOCK].fill(0);
    }
    bytes
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    })
    .take(length)
    .collect()
}

/// A JSON value that must be a string.
///
/// # Panics
/// If it is not.
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}

/// The hexadecimal part of a digest.
///
/// # Panics
/// If it is not one of sha256.
pub fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").expect("a sha256 digest")
}

/// What gzip makes of these bytes.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
