//! What is in a layout directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tool;

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

/// Has the program verify a layout.
///
/// # Panics
/// If it finds something wrong.
pub fn verify(layout: &Path) {
    let verified = Command::new(tool())
        .arg("verify")
        .arg(layout)
        .output()
        .expect("can be run");
    assert!(
        verified.status.success(),
        "{}: {}",
        layout.display(),
        String::from_utf8_lossy(&verified.stderr)
    );
}
