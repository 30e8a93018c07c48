//! Layout directories: what is in them, and those that a test makes by itself.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::content::digest;

/// `index.json`, and the name and content of each blob, links followed.
pub fn content(layout: &Path) -> (String, Vec<(String, Vec<u8>)>) {
    let mut blobs: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))
        .expect("a layout has blobs")
        .map(|entry| entry.expect("can be read"))
        .map(|entry| {
            (
                entry.file_name().into_string().expect("hex"),
                fs::read(entry.path()).expect("can be read"),
            )
        })
        .collect();
    blobs.sort();
    (
        fs::read_to_string(layout.join("index.json")).expect("a layout has an index.json"),
        blobs,
    )
}

/// Adds a blob to the layout in `layout`; returns its descriptor.
///
/// # Panics
/// If it cannot be written.
pub fn add_blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let path = layout.join("blobs").join(digest.replace(':', "/"));
    fs::create_dir_all(path.parent().expect("it has one")).expect("can be made");
    fs::write(path, bytes).expect("can be written");
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// Makes a layout of the directory `layout`, which lists these manifests.
///
/// # Panics
/// If it cannot be written.
pub fn write_index(layout: &Path, manifests: &[Value]) {
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(layout.join("index.json"), index.to_string()).expect("can be written");
    let marker = json!({"imageLayoutVersion": "1.0.0"});
    fs::write(layout.join("oci-layout"), marker.to_string()).expect("can be written");
}
