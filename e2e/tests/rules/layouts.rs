//! Layouts of many kinds, built by Bazel and read by other people's tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::{LAYOUTS, verify};
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::scratch;
use oci_pull_all_support::{Registry, text};
use serde_json::{Value, json};

#[test]
fn others_read_what_bazel_builds() {
    let registry = Registry::with_base_images();
    let workspace = Workspace::layouts(&registry);
    let labels = LAYOUTS.map(|name| format!("//:{name}"));
    let mut arguments = vec!["build"];
    arguments.extend(labels.iter().map(String::as_str));
    workspace.succeed(&arguments);
    let layouts = LAYOUTS.map(|name| (name, Layout(workspace.output(name))));
    let target = Registry::empty();

    for (name, layout) in &layouts {
        verify(&layout.0);
        layout.agree_with_peers(name, &workspace, &target);
    }
    let [
        explicit,
        files,
        no_base,
        on_docker,
        compressions,
        stacked,
        index,
        base,
    ] = layouts.map(|(_, layout)| layout);

    what_the_attributes_say(&registry, &explicit);
    assert!(files.same_bytes(&explicit));
    assert!(explicit.links() > 0);
    assert_eq!(files.links(), 0);

    without_a_base(&no_base);
    of_media_types(&on_docker, &compressions);
    let stacked_config = stacked.config(&stacked.root());
    let env = stacked_config["config"]["Env"]
        .as_array()
        .expect("an environment");
    assert!(
        env.contains(&json!("GREETING=stacked")) && !env.contains(&json!("GREETING=a b=c")),
        "{env:?}"
    );
    assert_eq!(stacked.root()["layers"], explicit.root()["layers"]);

    let entries = index.root()["manifests"].clone();
    let platforms: Vec<_> = entries
        .as_array()
        .expect("manifests")
        .iter()
        .map(|e| e["platform"].clone())
        .collect();
    assert_eq!(
        platforms,
        [
            json!({"os": "linux", "architecture": "amd64"}),
            json!({"os": "linux", "architecture": "arm64", "variant": "v8"}),
        ]
    );
    assert_eq!(
        base.descriptor()["digest"],
        registry.digest("library/debian-docker", "stable")
    );

    the_archive_holds_the_same(&workspace, &index);
    unpacks(&workspace, &files);

    workspace.succeed(&["test", "//:rootfs_scan"]);
    let run = workspace.succeed(&["build", "//:explicit"]);
    assert_eq!(run.count("OCILayer"), 0, "layers are built once");
}

fn without_a_base(no_base: &Layout) {
    let config = no_base.config(&no_base.root());
    assert_eq!(
        [&config["os"], &config["architecture"], &config["variant"]],
        ["linux", "arm64", "v8"]
    );
    assert_eq!(no_base.root()["layers"].as_array().map(Vec::len), Some(1));
}

fn of_media_types(on_docker: &Layout, compressions: &Layout) {
    let manifest = on_docker.root();
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.image.config.v1+json"
    );
    for layer in manifest["layers"].as_array().expect("layers") {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
    }
    let layers = compressions.root()["layers"].clone();
    assert_eq!(
        layers[2]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    assert_eq!(
        layers[3]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar"
    );
}

fn what_the_attributes_say(registry: &Registry, explicit: &Layout) {
    let manifest = explicit.root();
    let index = registry.manifest(&registry.digest("library/debian", "stable"));
    let base = registry.manifest(text(&index["manifests"][0]["digest"]));
    let base_config = registry.manifest(text(&base["config"]["digest"]));
    assert_eq!(
        explicit.descriptor()["annotations"]["org.opencontainers.image.ref.name"],
        "explicit:latest"
    );
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.title"],
        "explicit"
    );
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 5);
    for (layer, of_base) in layers
        .iter()
        .zip(base["layers"].as_array().expect("layers"))
    {
        assert_eq!(layer["digest"], of_base["digest"]);
    }

    let config = explicit.config(&manifest);
    assert_eq!(
        config["config"],
        json!({
            "Cmd": ["--verbose"],
            "Entrypoint": ["/opt/program"],
            "Env": ["PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin", "GREETING=a b=c"],
            "ExposedPorts": {"53/udp": {}, "8080/tcp": {}},
            "Labels": {"team": "images"},
            "StopSignal": "SIGINT",
            "User": "1000:1001",
            "Volumes": {"/var/lib/app": {}},
            "WorkingDir": "/opt",
        })
    );
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("diff_ids");
    assert_eq!(diff_ids.len(), 5);
    assert_eq!(
        diff_ids[..2],
        base_config["rootfs"]["diff_ids"]
            .as_array()
            .expect("diff_ids")[..]
    );
    let history = config["history"].as_array().expect("history");
    assert!(
        history.len() > 2
            && history[..2] == base_config["history"].as_array().expect("history")[..]
    );
}

fn the_archive_holds_the_same(workspace: &Workspace, layout: &Layout) {
    workspace.succeed(&["build", "//:index_archive"]);
    let unpacked = scratch();
    let tar = Command::new("tar")
        .args(["-C", &unpacked.path().display().to_string(), "-xf"])
        .arg(workspace.output("index_archive.tar"))
        .output()
        .expect("tar can be run");
    assert!(tar.status.success(), "{tar:?}");
    let archived = Layout(unpacked.path().to_owned());
    assert!(archived.same_bytes(layout));
    assert_eq!(archived.links(), 0);
}

/// What a container on the image would see.
fn unpacks(workspace: &Workspace, layout: &Layout) {
    let bundle = scratch();
    let unpack = Root::get()
        .command(
            Life::Child,
            &[workspace.directory(), bundle.path()],
            "umoci",
        )
        .args(["unpack", "--image"])
        .arg(format!("{}:explicit:latest", layout.0.display()))
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

#[derive(Debug)]
struct Layout(PathBuf);

impl Layout {
    fn descriptor(&self) -> Value {
        let index = fs::read(self.0.join("index.json")).expect("a layout has an index.json");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
        index["manifests"][0].clone()
    }

    fn blob(&self, digest: &Value) -> Value {
        let path = self.0.join("blobs").join(text(digest).replace(':', "/"));
        serde_json::from_slice(&fs::read(path).expect("the blob is there")).expect("JSON")
    }

    /// The manifest or index that the layout is of.
    fn root(&self) -> Value {
        self.blob(&self.descriptor()["digest"])
    }

    fn config(&self, manifest: &Value) -> Value {
        self.blob(&manifest["config"]["digest"])
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let blobs = fs::read_dir(self.0.join("blobs/sha256")).expect("a layout has blobs");
        let mut blobs: Vec<_> = blobs
            .map(|entry| entry.expect("can be read").path())
            .collect();
        blobs.sort();
        blobs
    }

    fn links(&self) -> usize {
        self.blobs().iter().filter(|path| path.is_symlink()).count()
    }

    fn same_bytes(&self, other: &Self) -> bool {
        let names = |blobs: &[PathBuf]| {
            blobs
                .iter()
                .map(|p| p.file_name().map(ToOwned::to_owned))
                .collect::<Vec<_>>()
        };
        let (ours, theirs) = (self.blobs(), other.blobs());
        let read = |path: &Path| fs::read(path).expect("can be read");
        self.descriptor() == other.descriptor()
            && names(&ours) == names(&theirs)
            && ours.iter().zip(&theirs).all(|(a, b)| read(a) == read(b))
    }

    /// skopeo, crane and oras each bring the layout to a registry, under the digest that we gave it.
    fn agree_with_peers(&self, name: &str, workspace: &Workspace, registry: &Registry) {
        let descriptor = self.descriptor();
        let digest = text(&descriptor["digest"]);
        let layout = self.0.display().to_string();
        let run = |program: &str, arguments: &[&str]| {
            let output = Root::get()
                .command(Life::Child, &[workspace.directory()], program)
                .args(arguments)
                .output()
                .expect("can be run");
            succeeded(
                &format!("{name}: {program} {}", arguments.join(" ")),
                &output,
            )
        };
        let remote = |program: &str| format!("{}/{program}/{name}", registry.host());

        run("skopeo", &["inspect", "--raw", &format!("oci:{layout}")]);
        let skopeo = remote("skopeo");
        let to = format!("docker://{skopeo}:v1");
        run(
            "skopeo",
            &[
                "copy",
                "--quiet",
                "--all",
                "--preserve-digests",
                "--dest-tls-verify=false",
                &format!("oci:{layout}"),
                &to,
            ],
        );
        assert_eq!(
            run("crane", &["digest", "--insecure", &format!("{skopeo}:v1")]),
            digest,
            "{name}"
        );

        // crane pushes `index.json` where the layout is of an index, and thereby ours below it.
        let crane = remote("crane");
        let tag = format!("{crane}:v1");
        let mut push = vec!["push", "--insecure", &layout, &tag];
        if self.root()["manifests"].is_array() {
            push.push("--index");
        }
        run("crane", &push);
        let pushed = format!("{crane}@{digest}");
        assert_eq!(run("crane", &["digest", "--insecure", &pushed]), digest);
        // crane validates gzip layers only.
        if name != "compressions_layout" {
            run("crane", &["validate", "--insecure", "--remote", &pushed]);
        }

        let oras = format!("{}:v1", remote("oras"));
        let from = format!("{layout}@{digest}");
        run(
            "oras",
            &[
                "cp",
                "--no-tty",
                "--from-oci-layout",
                "--to-plain-http",
                &from,
                &oras,
            ],
        );
        assert_eq!(run("crane", &["digest", "--insecure", &oras]), digest);
    }
}

fn succeeded(what: &str, output: &Output) -> String {
    assert!(
        output.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
