//! Layouts of many kinds, read by other people's tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::layout::LAYOUTS;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::scratch;
use oci_pull_all_support::text;
use serde_json::Value;

/// The case of all tests here, with all of its layouts built.
static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| {
    let registry = DockerRegistry::with_base_images();
    let workspace = Workspace::layouts(&registry);
    let labels = LAYOUTS.map(|name| format!("//:{name}"));
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    workspace.succeed(&[&["build"][..], &labels].concat());
    workspace
});

/// The digest of what a layout is of, and whether that is an index.
fn root(layout: &Path) -> (String, bool) {
    let read = |path: &str| -> Value {
        let bytes = fs::read(layout.join(path)).expect("it is there");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let digest = text(&read("index.json")["manifests"][0]["digest"]).to_owned();
    let root = read(&format!("blobs/{}", digest.replace(':', "/")));
    (digest, root["manifests"].is_array())
}

/// Whether all layers of a layout are compressed by gzip.
fn has_gzip_alone(layout: &Path) -> bool {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("a layout has blobs");
    let documents = blobs.filter_map(|blob| {
        let bytes = fs::read(blob.expect("can be read").path()).expect("can be read");
        serde_json::from_slice::<Value>(&bytes).ok()
    });
    let layers = documents.filter_map(|document| document["layers"].as_array().cloned());
    let mut types = layers.flatten();
    types.all(|layer| text(&layer["mediaType"]).ends_with("gzip"))
}

/// Runs a peer, which must succeed; returns what it prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Root::get()
        .command(Life::Child, &[WORKSPACE.directory()], program)
        .args(arguments)
        .output()
        .expect("can be run");
    succeeded(&format!("{program} {}", arguments.join(" ")), &output)
}

#[test]
fn skopeo_copies_each_under_the_digest_that_we_gave_it() {
    let target = DockerRegistry::empty();
    for name in LAYOUTS {
        let layout = WORKSPACE.output(name);
        let from = format!("oci:{}", layout.display());
        run("skopeo", &["inspect", "--raw", &from]);
        let tag = format!("{}/{name}:v1", target.host());
        let copy = ["copy", "--quiet", "--all", "--preserve-digests"];
        let to = ["--dest-tls-verify=false", &from, &format!("docker://{tag}")];
        run("skopeo", &[&copy[..], &to].concat());
        let copied = run("crane", &["digest", "--insecure", &tag]);
        assert_eq!(copied, root(&layout).0, "{name}");
    }
}

#[test]
fn crane_pushes_each_under_the_digest_that_we_gave_it() {
    let target = DockerRegistry::empty();
    for name in LAYOUTS {
        let layout = WORKSPACE.output(name);
        let (digest, is_index) = root(&layout);
        let repository = format!("{}/{name}", target.host());
        let path = layout.display().to_string();
        let tag = format!("{repository}:v1");
        // crane pushes `index.json` where the layout is of an index, and thereby ours below it.
        let index: &[&str] = if is_index { &["--index"] } else { &[] };
        run(
            "crane",
            &[&["push", "--insecure", &path, &tag], index].concat(),
        );
        let pushed = format!("{repository}@{digest}");
        assert_eq!(run("crane", &["digest", "--insecure", &pushed]), digest);
        // crane validates gzip layers only.
        if has_gzip_alone(&layout) {
            run("crane", &["validate", "--insecure", "--remote", &pushed]);
        }
    }
}

#[test]
fn oras_copies_each_under_the_digest_that_we_gave_it() {
    let target = DockerRegistry::empty();
    for name in LAYOUTS {
        let layout = WORKSPACE.output(name);
        let (digest, _) = root(&layout);
        let from = format!("{}@{digest}", layout.display());
        let to = format!("{}/{name}:v1", target.host());
        let copy = ["cp", "--no-tty", "--from-oci-layout", "--to-plain-http"];
        run("oras", &[&copy[..], &[&from, &to]].concat());
        assert_eq!(run("crane", &["digest", "--insecure", &to]), digest);
    }
}

/// What a container on the image would see.
#[test]
fn umoci_unpacks_what_a_container_would_see() {
    let workspace = &*WORKSPACE;
    let bundle = scratch();
    let unpack = Root::get()
        .command(
            Life::Child,
            &[workspace.directory(), bundle.path()],
            "umoci",
        )
        .args(["unpack", "--image"])
        .arg(format!(
            "{}:explicit:latest",
            workspace.output("files_layout").display()
        ))
        .arg(bundle.path().join("bundle"))
        .output()
        .expect("umoci can be run");
    succeeded("umoci unpack", &unpack);
    let rootfs = bundle.path().join("bundle/rootfs");
    let stat = Command::new("stat")
        .current_dir(&rootfs)
        .args(["--format=%n %F %a %u:%g %Y"])
        .args([
            "opt/message",
            "opt/program",
            "opt/assets/assets/sub/below.txt",
            "usr/bin/program",
        ])
        .args(["var/lib/app", "message.txt"])
        .output()
        .expect("stat can be run");
    assert_eq!(
        String::from_utf8_lossy(&stat.stdout)
            .lines()
            .collect::<Vec<_>>(),
        [
            "opt/message regular file 444 1000:1001 86400",
            "opt/program regular file 555 1000:1001 86400",
            "opt/assets/assets/sub/below.txt regular file 444 1000:1001 86400",
            "usr/bin/program symbolic link 777 1000:1001 86400",
            "var/lib/app directory 755 1000:1001 86400",
            "message.txt regular file 640 5:6 7",
        ],
        "{}",
        String::from_utf8_lossy(&stat.stderr)
    );
    assert_eq!(
        fs::read_to_string(rootfs.join("etc/oci_pull_all_base")).expect("the base's file"),
        "the tests' base image\n"
    );
    for file in [
        "opt/linked.runfiles/_main/links/link.txt",
        "opt/linked.runfiles/root-link.txt",
        "opt/source-directory/below.txt",
    ] {
        assert!(rootfs.join(file).is_file(), "{file}");
    }
    let ran = Command::new("chroot")
        .arg(&rootfs)
        .arg("/opt/program")
        .output()
        .expect("chroot can be run");
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "a message\n",
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

fn succeeded(what: &str, output: &Output) -> String {
    assert!(
        output.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
