//! Layers, applied on each other.
//!
//! An input is the layers' tar archives with lines of `---` between them. Headers get their checksums
//! here.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use oci_pull_all::oci::config::ImageConfig;
use oci_pull_all::oci::descriptor::{Compression, Descriptor, MediaType};
use oci_pull_all::oci::digest::Digest;
use oci_pull_all::oci::manifest::{ImageManifest, Manifest};
use oci_pull_all::rootfs::Rootfs;

const SEPARATOR: &[u8] = b"\n---\n";
const BLOCK: usize = 512;
const MAX_LAYERS: usize = 8;
/// Sparse files may be large, and are read back as a whole.
const MAX_TAR: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let layers = split(data);
    if layers.len() > MAX_LAYERS {
        return;
    }
    let shm = Path::new("/dev/shm");
    let memory = if shm.is_dir() {
        shm.to_owned()
    } else {
        std::env::temp_dir()
    };
    let directory = tempfile::tempdir_in(memory).expect("a directory can be made");
    let root = directory.path();
    fs::create_dir_all(root.join("layout/blobs/sha256")).expect("a directory can be made");
    let layers: Vec<Vec<u8>> = layers.into_iter().map(with_checksums).collect();
    let (manifest, config) = image(root, &layers);
    let Ok(rootfs) = Rootfs::read(&root.join("layout"), &manifest, &config) else {
        return;
    };

    let tar = root.join("root.tar");
    if rootfs.write_tar(&tar).is_ok() && fs::metadata(&tar).expect("there").len() <= MAX_TAR {
        let bytes = fs::read(&tar).expect("there");
        is_one_layer_of_itself(root, &bytes);
        let before = files(root);
        let _ = rootfs.write_directory(&root.join("output"));
        let mut after = files(root);
        after.retain(|path| *path != root.join("output"));
        assert_eq!(after, before, "something was written elsewhere");
    }
});

/// A root file system is an image of one layer that makes the same root file system.
fn is_one_layer_of_itself(root: &Path, bytes: &[u8]) {
    // A directory may have a whiteout's name, if no layer has an entry of it.
    if bytes.windows(4).any(|window| window == b".wh.") {
        return;
    }
    let (manifest, config) = image(root, &[bytes.to_vec()]);
    let again = Rootfs::read(&root.join("layout"), &manifest, &config);
    let tar = root.join("again.tar");
    again
        .expect("what was written can be read")
        .write_tar(&tar)
        .expect("what was written can be written");
    assert!(fs::read(&tar).expect("there") == bytes, "it is another");
}

fn image(root: &Path, layers: &[Vec<u8>]) -> (ImageManifest, ImageConfig) {
    let media_type = MediaType::layer(Compression::None);
    let layers = layers.iter().map(|layer| {
        let descriptor = Descriptor::of(media_type.clone(), layer);
        let path = root.join("layout").join(descriptor.digest.blob_path());
        fs::write(path, layer).expect("it can be written");
        descriptor
    });
    let layers: Vec<Descriptor> = layers.collect();
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = serde_json::json!({"rootfs": {"diff_ids": diff_ids}}).to_string();
    let config = config.as_bytes();
    let pointer = Descriptor::of(MediaType::OCI_CONFIG, config);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": pointer, "layers": layers});
    let Ok(Manifest::Image(manifest)) = Manifest::parse(manifest.to_string().as_bytes(), None)
    else {
        panic!("not an image manifest");
    };
    (
        manifest,
        ImageConfig::parse(config).expect("it is a config"),
    )
}

/// What is in a directory, as far as it is not below a directory.
fn files(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).expect("it can be listed");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    paths
}

fn with_checksums(layer: &[u8]) -> Vec<u8> {
    let mut layer = layer.to_vec();
    for block in layer.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    layer
}

fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(end) = data
        .windows(SEPARATOR.len())
        .position(|window| window == SEPARATOR)
    {
        parts.push(&data[..end]);
        data = &data[end + SEPARATOR.len()..];
    }
    parts.push(data);
    parts
}
