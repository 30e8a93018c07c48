//! What may not be pushed where only that may that was scanned.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::files::{io_failed, read_at_most};
use crate::oci::config::MAX_CONFIG_SIZE;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{ImageManifest, Manifest};
use crate::oci::walk::Met;
use crate::progress::Reporter;
use crate::registry::{Backoff, Client, RegistryError};

use super::{PushError, PushedImage, base_failed, parse, read_manifest};

/// The first image of what is pushed that is none of those that were `scanned`, whatever it is listed as. What is no image by
/// its manifest and config, such as an attestation, need not be one of them.
pub async fn unscanned(
    image: &PushedImage,
    scanned: &BTreeSet<Digest>,
    reporter: &dyn Reporter,
) -> Result<Option<Descriptor>, PushError> {
    let mut met = Met::of_registry();
    let mut waiting = vec![(image.root.clone(), None)];
    while let Some((entry, above)) = waiting.pop() {
        if !met.meet(&entry)? {
            continue;
        }
        let origin = image.origins.get(&entry.digest).cloned().or(above);
        let bytes = read_manifest(image, &entry, origin.as_ref(), reporter).await?;
        match parse(&entry, &bytes)? {
            Manifest::Index(index) => {
                if let Some(disguised) = index.disguised().next() {
                    return Ok(Some(disguised.clone()));
                }
                let manifests = index.manifests.into_iter().rev();
                let manifests = manifests.filter(Descriptor::is_manifest);
                waiting.extend(manifests.map(|below| (below, origin.clone())));
            }
            Manifest::Image(_) if scanned.contains(&entry.digest) => {}
            Manifest::Image(manifest) => {
                if manifest.may_be_image() && manifest.config.size > MAX_CONFIG_SIZE {
                    return Ok(Some(entry));
                }
                let config = config_of(image, &manifest, origin.as_ref(), reporter).await?;
                // Some take it for what it is listed as, some for what it says itself.
                let told = [None, entry.platform.as_ref()];
                let is_image = told
                    .into_iter()
                    .any(|told| !matches!(manifest.image(&config, told), Ok(None)));
                if is_image {
                    return Ok(Some(entry));
                }
            }
        }
    }
    Ok(None)
}

/// The config of what may be an image, by which it is one.
async fn config_of(
    image: &PushedImage,
    manifest: &ImageManifest,
    origin: Option<&Arc<Client>>,
    reporter: &dyn Reporter,
) -> Result<Vec<u8>, PushError> {
    let config = &manifest.config;
    if !manifest.may_be_image() {
        return Ok(Vec::new());
    }
    match (image.sources.path(&config.digest), origin) {
        (Some(path), _) => Ok(io_failed(
            "read",
            path,
            read_at_most(path, MAX_CONFIG_SIZE),
        )?),
        (None, Some(origin)) => config_of_base(config, origin, reporter).await,
        (None, None) => Err(PushError::Missing {
            role: "config",
            digest: config.digest.clone(),
        }),
    }
}

/// A config that does not lie here.
async fn config_of_base(
    config: &Descriptor,
    origin: &Arc<Client>,
    reporter: &dyn Reporter,
) -> Result<Vec<u8>, PushError> {
    let progress = reporter.blob(&config.digest, 0);
    let mut backoff = Backoff::default();
    let bytes = loop {
        match read_blob(config, origin).await {
            Ok(bytes) => break bytes,
            Err(error) => backoff
                .wait_after(error, &*progress)
                .await
                .map_err(|source| base_failed(origin, source))?,
        }
    };
    let found = Digest::of(config.digest.algorithm(), &bytes);
    if found != config.digest {
        return Err(PushError::Wrong {
            place: origin.repository().to_string(),
            expected: config.digest.to_string(),
            found: found.to_string(),
        });
    }
    Ok(bytes)
}

async fn read_blob(blob: &Descriptor, origin: &Client) -> Result<Vec<u8>, RegistryError> {
    let mut body = origin.blob(blob, None, &(0..blob.size)).await?;
    let mut bytes = Vec::new();
    while let Some(more) = body.chunk(bytes.len() as u64).await? {
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}
