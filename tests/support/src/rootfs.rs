//! Images whose layers a test makes entry by entry, and root file systems of them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tar::EntryType;

use crate::content::{LAYER, digest};
use crate::layout::{add_blob, write_index};
use crate::user::{Ran, User};

/// A layer that is being made. It takes any name.
#[derive(Clone, Debug, Default)]
pub struct Layer(pub Vec<u8>);

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, without looking at what it is called.
    ///
    /// # Panics
    /// If a name or a link is too long for a header.
    #[must_use]
    pub fn add(mut self, kind: EntryType, name: &str, mode: u32, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_link_name_literal(link).expect("it is short");
        header.set_mode(mode);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, name: &str, data: &str) -> Self {
        self.add(EntryType::Regular, name, 0o644, "", data.as_bytes())
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: &str, mode: u32) -> Self {
        self.add(EntryType::Directory, name, mode, "", b"")
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, 0o777, target, b"")
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, 0o644, target, b"")
    }
}

/// Makes the layout `layout` of an image of these layers.
pub fn image(user: &User, layers: &[Layer]) {
    let layout = user.path("layout");
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(&layer.0)).collect();
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| add_blob(&layout, LAYER, &layer.0))
        .collect();
    write_layout(&layout, &layers, &diff_ids);
}

/// Makes a layout of an image of these layers.
pub fn write_layout(layout: &Path, layers: &[Value], diff_ids: &[String]) {
    let config = json!({
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let document = |kind: &str, value: &Value| {
        let media_type = format!("application/vnd.oci.image.{kind}.v1+json");
        add_blob(layout, &media_type, value.to_string().as_bytes())
    };
    let config = document("config", &config);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let mut manifest = document("manifest", &manifest);
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    write_index(layout, &[manifest]);
}

/// Unpacks the image in `layout` into `rootfs`.
pub fn unpack(user: &User) -> Ran {
    user.run(&["layout", "rootfs", "layout", "--output", "rootfs"])
}

/// What a shell script in the user's home prints.
///
/// # Panics
/// If it fails.
pub fn shell(user: &User, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(user.home())
        .output()
        .expect("sh can be run");
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that is in a directory of the user: path, type, mode, owner, link, and what `more` says to print.
pub fn listing(user: &User, directory: &str, more: &str) -> String {
    let script = format!(
        "cd {directory}; find . -mindepth 1 -printf '%P %y %#m %U:%G %l{more}\\n' | LC_ALL=C sort; \
         find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum"
    );
    shell(user, &script)
}

/// An image with a bit of everything that layers can do to each other.
pub fn changed_image(user: &User) {
    let base = Layer::new()
        .directory("./", 0o755)
        .directory("etc/", 0o750)
        .file("etc/kept", "kept")
        .file("etc/gone", "gone")
        .file("etc/changed", "old")
        .directory("opaque/", 0o755)
        .file("opaque/below", "below")
        .directory("usr/", 0o755)
        .directory("usr/lib/", 0o755)
        .symlink("lib", "usr/lib")
        .file("original", "linked")
        .hard_link("second", "original")
        .symlink("dangling", "/no/such/file")
        .file("becomes_directory", "x")
        .directory("becomes_file/", 0o755)
        .file("becomes_file/x", "x")
        .add(EntryType::Regular, "setuid", 0o4711, "", b"program")
        .add(EntryType::Regular, "unreadable", 0, "", b"hidden")
        .directory("closed/", 0)
        .file("closed/x", "x")
        .add(EntryType::Fifo, "fifo", 0o600, "", b"");
    let top = Layer::new()
        .file("etc/.wh.gone", "")
        .file("etc/.wh.never", "")
        .file("etc/changed", "new")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "new")
        .file("lib/placed", "placed")
        .file(".wh.original", "")
        .directory("becomes_directory/", 0o700)
        .file("becomes_file", "x")
        .file("implied/x", "x")
        .file(".wh.closed", "")
        .directory("closed/", 0o711)
        .file("closed/y", "y");
    image(user, &[base, top]);
}
