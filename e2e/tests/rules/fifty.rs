//! Many images on one base, which is there once.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_support::{Images, Registry, text};
use serde_json::Value;

/// All files and links below a directory.
fn below(directory: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("can be read");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("can be read");
            left.extend(entries.map(|entry| entry.expect("can be read").path()));
        } else {
            found.push((path, metadata));
        }
    }
    found
}

fn json(path: &Path) -> Value {
    let data = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&data).expect("JSON")
}

/// The digest and the size that a descriptor has.
fn blob(descriptor: &Value) -> (String, u64) {
    let size = descriptor["size"].as_u64().expect("a size");
    (text(&descriptor["digest"]).to_owned(), size)
}

/// From which size on, in bytes, a repository has a link to the store's file.
const LINKED: u64 = 1 << 20;

#[test]
fn fifty_images_have_their_base_once() {
    const IMAGES: usize = 50;
    let mut images = Images::default();
    let digest = images.add_image("base", &[8_000_001, 5_000_002, 1_000_003]);
    let registry = Registry::with(images);
    let layers = registry.manifest(&digest)["layers"].clone();
    let layers: Vec<_> = layers
        .as_array()
        .expect("layers")
        .iter()
        .map(blob)
        .collect();
    let image = format!("{}/base", registry.host());
    let workspace = Workspace::new("fifty", &[("IMAGE", &image), ("DIGEST", &digest)]);

    let run = workspace.succeed(&["build", "//..."]);
    assert_eq!(run.count("OCILayout"), IMAGES);
    assert_eq!(
        registry.layer_bytes(&layers),
        layers,
        "each byte of each layer is sent once"
    );

    let mut manifests = BTreeSet::new();
    let outputs = workspace.output("");
    for n in 0..IMAGES {
        let layout = outputs.join(format!("layout_{n}"));
        verify(&layout);

        let index = json(&layout.join("index.json"));
        let manifest = blob(&index["manifests"][0]);
        let path = layout.join("blobs").join(manifest.0.replace(':', "/"));
        let document = json(&path);
        let of_image = document["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .map(blob);
        let (of_base, local): (Vec<_>, Vec<_>) = of_image.partition(|l| layers.contains(l));
        assert_eq!((of_base, local.len()), (layers.clone(), 1));
        let (links, own): (Vec<_>, Vec<_>) = below(&layout)
            .into_iter()
            .partition(|(_, metadata)| metadata.is_symlink());
        assert_eq!(links.len(), layers.len());
        let own_names = ["index.json", "oci-layout"].map(|name| layout.join(name));
        let around: u64 = own_names
            .iter()
            .map(|path| fs::metadata(path).expect("there").len())
            .sum();
        assert_eq!(
            own.iter().map(|(_, metadata)| metadata.len()).sum::<u64>(),
            around + manifest.1 + blob(&document["config"]).1 + local[0].1,
            "no byte of the base is in {}",
            layout.display()
        );
        manifests.insert(manifest);
    }
    assert_eq!(manifests.len(), IMAGES, "no two images are the same");

    // The store and the repository have the same blocks, but for what is small. Were they on two file systems, each would
    // have its own.
    let probe = [workspace.path("MODULE.bazel"), workspace.path("probe")];
    let reflinks = Command::new("cp")
        .arg("--reflink=always")
        .args(&probe)
        .output();
    let reflinks = reflinks.expect("cp can be run").status.success();
    let everything = below(workspace.directory());
    for (digest, size) in &layers {
        let same = everything
            .iter()
            .filter(|(_, metadata)| metadata.len() == *size);
        let (paths, inodes): (Vec<_>, BTreeSet<_>) = same
            .map(|(path, metadata)| (path, (metadata.dev(), metadata.ino())))
            .unzip();
        assert_eq!(paths.len(), 2, "{digest}: {paths:?}");
        assert_eq!(
            inodes.len(),
            if reflinks || *size < LINKED { 2 } else { 1 },
            "{digest}: {paths:?}"
        );
    }
}
