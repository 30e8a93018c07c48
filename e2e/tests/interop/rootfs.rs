//! Root file systems of images, those that mean harm among them.

use std::fs;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::new_user;
use oci_pull_all_support::layout::{add_blob, write_index};
use oci_pull_all_support::{User, digest, text};
use serde_json::{Value, json};
use tar::EntryType;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer that is being made. It takes any name.
struct Layer(Vec<u8>);

impl Layer {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(mut self, kind: EntryType, name: &str, mode: u32, link: &str, data: &[u8]) -> Self {
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

    fn file(self, name: &str, data: &str) -> Self {
        self.add(EntryType::Regular, name, 0o644, "", data.as_bytes())
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        self.add(EntryType::Directory, name, mode, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, 0o777, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, 0o644, target, b"")
    }
}

/// Makes the layout `layout` of an image of these layers.
fn image(user: &User, layers: &[Layer]) {
    let layout = user.path("layout");
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(&layer.0)).collect();
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| add_blob(&layout, LAYER, &layer.0))
        .collect();
    write_layout(&layout, &layers, &diff_ids);
}

fn write_layout(layout: &Path, layers: &[Value], diff_ids: &[String]) {
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

fn unpack(user: &User) -> oci_pull_all_support::Ran {
    user.run(&["layout", "rootfs", "layout", "--output", "rootfs"])
}

/// What a shell script in the user's home prints.
fn shell(user: &User, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(user.home())
        .output()
        .expect("sh can be run");
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that is in a directory of the user: path, type, mode, owner, link, and what `more` says to print.
fn listing(user: &User, directory: &str, more: &str) -> String {
    let script = format!(
        "cd {directory}; find . -mindepth 1 -printf '%P %y %#m %U:%G %l{more}\\n' | LC_ALL=C sort; \
         find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum"
    );
    shell(user, &script)
}

/// An image with a bit of everything that layers can do to each other.
fn changed_image(user: &User) {
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

fn peer(user: &User, program: &str, arguments: &[&str]) {
    let output = oci_pull_all_e2e::run_in_root(user, program, arguments);
    assert!(output.status.success(), "{program}: {output:?}");
}

/// Unpacks the image in `layout`, which has the name `latest`, in all ways, and compares.
fn agree_with_umoci(user: &User) {
    peer(
        user,
        "umoci",
        &["unpack", "--image", "layout:latest", "bundle"],
    );
    user.run(&["layout", "rootfs", "layout", "--tar", "root.tar"])
        .succeeded();
    shell(user, "mkdir tar; tar --numeric-owner -xpf root.tar -C tar");
    // The links of a directory are its file system's affair.
    let theirs = listing(user, "bundle/rootfs", " %s %n");
    let ours = listing(user, "tar", " %s %n");
    let without_size_of_directories = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| match line.split_once(" d ") {
            Some((path, rest)) => {
                let rest: Vec<&str> = rest.split(' ').take(2).collect();
                format!("{path} d {}", rest.join(" "))
            }
            None => line.to_owned(),
        });
        lines.collect()
    };
    let (ours, theirs) = (
        without_size_of_directories(&ours),
        without_size_of_directories(&theirs),
    );
    assert_same(&ours, &theirs);
    let times = "find . ! -type d -printf '%P %T@\\n' | LC_ALL=C sort";
    assert_eq!(
        shell(user, &format!("cd tar; {times}")),
        shell(user, &format!("cd bundle/rootfs; {times}"))
    );

    unpack(user).succeeded();
    let script = |directory: &str| {
        format!(
            "cd {directory}; find . ! -type p ! -type c ! -type b -printf '%P %y %l\\n' | LC_ALL=C sort; \
             find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
        )
    };
    let lines = |directory: &str| -> Vec<String> {
        let text = shell(user, &script(directory));
        text.lines().map(str::to_owned).collect()
    };
    assert_same(&lines("rootfs"), &lines("tar"));
}

/// Shows what differs, which is little of much.
fn assert_same(ours: &[String], theirs: &[String]) {
    let lacks = |one: &[String], other: &[String]| -> Vec<String> {
        let lines = one.iter().filter(|line| !other.contains(line));
        lines.take(10).cloned().collect()
    };
    assert!(
        ours == theirs,
        "only ours: {:#?}\nonly theirs: {:#?}",
        lacks(ours, theirs),
        lacks(theirs, ours)
    );
}

#[test]
fn umoci_unpacks_the_same() {
    let user = new_user();
    changed_image(&user);
    agree_with_umoci(&user);
}

#[test]
fn peers_unpack_the_same_from_a_whole_debian() {
    let registry = DockerRegistry::with_base_images();
    let index = registry.digest("library/debian", "stable");
    let digest = registry.manifest(&index)["manifests"][0]["digest"].clone();
    let user = new_user();
    let reference = format!("{}/library/debian@{}", registry.host(), text(&digest));
    user.run(&["pull", &reference, "--output", "layout"])
        .succeeded();
    let path = user.path("layout/index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    index["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(&path, index.to_string()).expect("can be written");
    agree_with_umoci(&user);

    peer(
        &user,
        "crane",
        &["export", "--insecure", &reference, "crane.tar"],
    );
    shell(
        &user,
        "mkdir crane; tar --numeric-owner -xpf crane.tar -C crane",
    );
    let lines = |directory: &str| -> Vec<String> {
        let text = listing(&user, directory, "");
        text.lines().map(str::to_owned).collect()
    };
    assert_same(&lines("tar"), &lines("crane"));
}
