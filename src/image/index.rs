//! Image indexes (OCI image spec, image-index.md).

use std::collections::BTreeMap;

use crate::json::to_json;
use crate::oci::descriptor::{Descriptor, Kind, MediaType};
use crate::oci::manifest::ImageIndex;
use crate::oci::platform::Platform;

/// Why an index cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Two images for one platform: a client could not choose.
    #[error("two images are for {0}: an index needs images for different platforms")]
    Duplicate(Box<Platform>),
    /// Not the descriptor of an image.
    #[error("{digest} is {media_type}, not an image manifest")]
    NotAnImage {
        /// The content.
        digest: crate::oci::digest::Digest,
        /// Its media type.
        media_type: MediaType,
    },
}

/// Builds an index of `images`, in their order; returns its bytes and its descriptor.
pub fn build_index(
    images: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Descriptor), IndexError> {
    let mut platforms: Vec<&Platform> = Vec::new();
    for image in images {
        if !matches!(image.media_type.kind(), Kind::Manifest | Kind::Index) {
            return Err(IndexError::NotAnImage {
                digest: image.digest.clone(),
                media_type: image.media_type.clone(),
            });
        }
        if let Some(platform) = &image.platform {
            if platforms.iter().any(|other| other.is_same(platform)) {
                return Err(IndexError::Duplicate(Box::new(platform.clone())));
            }
            platforms.push(platform);
        }
    }
    let media_type = MediaType::OCI_INDEX;
    let bytes = to_json(&ImageIndex {
        schema_version: 2,
        media_type: media_type.clone(),
        artifact_type: None,
        manifests: images.to_vec(),
        subject: None,
        annotations: annotations.clone(),
    });
    let descriptor = Descriptor::of(media_type, &bytes);
    Ok((bytes, descriptor))
}
