//! Builds what an image is made of from local files: layers, configs, manifests and indexes.

mod config;
mod expand;
mod index;
mod inputs;
mod layer;
mod metadata;

pub use config::{
    Base, BuiltImage, ConfigChanges, HealthOption, Healthcheck, ImageError, build_image,
};
pub use expand::ExpandError;
pub use index::{IndexError, build_index};
pub use inputs::{InputKind, shown_directory};
pub use layer::{
    BuiltLayer, Difference, LayerContent, LayerEntry, LayerError, LayerOptions, Owner,
    PackageError, build_layer, list_archive,
};
pub use metadata::{MetadataChange, PathPattern, parse_mode};

/// The annotation on a layer's descriptor that holds the digest of the uncompressed layer, as
/// containerd writes it. It passes from the layer to the image and is not part of the image.
pub const DIFF_ID: &str = "containerd.io/uncompressed";

/// The annotation of a manifest that names the image it stands on (annotations.md).
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// The annotation of a manifest with that image's digest (annotations.md).
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
