//! Layout directories: what is in them, and those that a test makes by itself.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::content::digest;
use crate::user::{Ran, User};

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

/// Makes the layout `layout` of an image for a platform with one layer, with this compression.
///
/// # Panics
/// If it cannot be made.
pub fn make_image(user: &User, platform: &str, compression: &str) {
    fs::write(user.path("file"), "content").expect("can be written");
    let run = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        user.run(&arguments).succeeded();
    };
    run(&format!(
        "layer --file /f file --compression {compression} --output layer --descriptor layer.json"
    ));
    run(&format!(
        "image --platform {platform} --layer layer.json --manifest manifest --config config --descriptor image.json"
    ));
    run(
        "layout merge --root image.json --local-file manifest --local-file config --local layer.json layer --output layout",
    );
}

/// Writes the layout `layout` as the archive `image.tar`.
pub fn archive(user: &User, arguments: &[&str]) -> Ran {
    let first = ["layout", "archive", "layout", "--output", "image.tar"];
    user.run(&[&first, arguments].concat())
}

/// The `index.json` of a layout.
///
/// # Panics
/// If it has none.
pub fn index_json(layout: &Path) -> Value {
    let bytes = fs::read(layout.join("index.json")).expect("a layout has one");
    serde_json::from_slice(&bytes).expect("JSON")
}
