//! Large images, written straight into the storage of Debian's `docker-registry`: a push would cost
//! as much as what is measured.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oci_pull_all_support::{
    CONFIG, LAYER, MANIFEST, config_of, digest, hex, manifest_of, noise, text,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 1 << 20;

/// A registry's storage that a bench or a test fills.
#[derive(Debug)]
pub struct Storage {
    root: PathBuf,
}

/// What a layer is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Bytes that do not compress, different in each layer.
    Noise,
    /// A hole: no byte of it is on the disk.
    Zeros,
}

impl Storage {
    /// The storage in the directory `root`, which is made if need be.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.join("docker/registry/v2"),
        }
    }

    /// Adds an image with layers of these sizes in bytes and returns its digest.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn add_image(&self, repository: &str, layers: &[u64], fill: Fill) -> String {
        let layers: Vec<_> = (0..)
            .zip(layers)
            .map(|(number, &size)| self.add_layer(repository, number, size, fill))
            .collect();
        let config = self.add_document(repository, "_layers", CONFIG, &config_of(&layers));
        let manifest = manifest_of(&config, &layers);
        let manifest = self.add_document(repository, "_manifests/revisions", MANIFEST, &manifest);
        text(&manifest["digest"]).to_owned()
    }

    fn add_layer(&self, repository: &str, number: u64, size: u64, fill: Fill) -> Value {
        let path = self.root.join(format!("new-layer-{number}"));
        fs::create_dir_all(&self.root).expect("the storage can be made");
        let mut layer = File::create(&path).expect("a layer can be made");
        let mut block = match fill {
            Fill::Noise => noise(size ^ (number + 1), BLOCK),
            Fill::Zeros => vec![0; BLOCK],
        };
        let mut hasher = Sha256::new();
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
            if fill == Fill::Noise {
                block[..8].copy_from_slice(&left.to_le_bytes());
                layer
                    .write_all(&block[..length])
                    .expect("the disk has room");
            }
            hasher.update(&block[..length]);
            left -= length as u64;
        }
        layer.set_len(size).expect("a layer can be made");
        let digest = format!("sha256:{}", hex::encode(hasher.finalize()));
        let data = self.root.join(data(&digest));
        fs::create_dir_all(data.parent().expect("in a directory")).expect("can be made");
        fs::rename(&path, &data).expect("can be named");
        self.link(repository, "_layers", &digest);
        json!({"mediaType": LAYER, "digest": digest, "size": size})
    }

    fn add_document(&self, repository: &str, role: &str, media_type: &str, value: &Value) -> Value {
        let bytes = value.to_string();
        let digest = digest(bytes.as_bytes());
        self.write(&data(&digest), bytes.as_bytes());
        self.link(repository, role, &digest);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn link(&self, repository: &str, role: &str, digest: &str) {
        let link = format!(
            "repositories/{repository}/{role}/sha256/{}/link",
            hex(digest)
        );
        self.write(&link, digest.as_bytes());
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("can be made");
        fs::write(path, bytes).expect("can be written");
    }
}

/// Where the storage keeps a blob or a manifest, below its `docker/registry/v2`.
pub(crate) fn data(digest: &str) -> String {
    let hex = hex(digest);
    format!("blobs/sha256/{}/{hex}/data", &hex[..2])
}
