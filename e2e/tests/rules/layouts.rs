//! Layouts of many kinds, as Bazel builds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::{LAYOUTS, verify};
use oci_pull_all_e2e::scratch;
use oci_pull_all_support::{Registry, text};
use serde_json::{Value, json};

/// The case of all tests here.
struct Case {
    registry: Registry,
    workspace: Workspace,
}

impl Case {
    /// The case, which each test has to itself, with all of its layouts built: a build of something else would take
    /// the base from under their links.
    fn get() -> MutexGuard<'static, Self> {
        static CASE: LazyLock<Mutex<Case>> = LazyLock::new(|| {
            let registry = Registry::with_base_images();
            let workspace = Workspace::layouts(&registry);
            Mutex::new(Case {
                registry,
                workspace,
            })
        });
        let case = CASE.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = LAYOUTS.map(|name| format!("//:{name}"));
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        case.workspace.succeed(&[&["build"][..], &labels].concat());
        case
    }

    fn layout(&self, name: &str) -> Layout {
        Layout(self.workspace.output(name))
    }
}

#[test]
fn each_is_valid() {
    let case = Case::get();
    for name in LAYOUTS {
        verify(&case.workspace.output(name));
    }
}

#[test]
fn links_and_files_hold_the_same() {
    let case = Case::get();
    let (links, files) = (case.layout("explicit_layout"), case.layout("files_layout"));
    assert!(files.same_bytes(&links));
    assert!(links.links() > 0);
    assert_eq!(files.links(), 0);
}

#[test]
fn an_archive_holds_the_same() {
    let case = Case::get();
    case.workspace.succeed(&["build", "//:index_archive"]);
    let unpacked = scratch();
    let tar = Command::new("tar")
        .args(["-C", &unpacked.path().display().to_string(), "-xf"])
        .arg(case.workspace.output("index_archive.tar"))
        .output()
        .expect("tar can be run");
    assert!(tar.status.success(), "{tar:?}");
    let archived = Layout(unpacked.path().to_owned());
    assert!(archived.same_bytes(&case.layout("index_layout")));
    assert_eq!(archived.links(), 0);
}

#[test]
fn an_image_without_a_base_has_the_platform_that_it_is_given() {
    let case = Case::get();
    let image = case.layout("no_base_layout");
    let config = image.config(&image.root());
    assert_eq!(
        [&config["os"], &config["architecture"], &config["variant"]],
        ["linux", "arm64", "v8"]
    );
    assert_eq!(image.root()["layers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_image_on_a_base_in_dockers_format_is_in_that_of_oci() {
    let case = Case::get();
    let manifest = case.layout("on_docker_layout").root();
    let oci = |name: &str| format!("application/vnd.oci.image.{name}");
    assert_eq!(manifest["mediaType"], oci("manifest.v1+json"));
    assert_eq!(manifest["config"]["mediaType"], oci("config.v1+json"));
    for layer in manifest["layers"].as_array().expect("layers") {
        assert_eq!(layer["mediaType"], oci("layer.v1.tar+gzip"));
    }
}

#[test]
fn a_layers_media_type_is_that_of_its_compression() {
    let case = Case::get();
    let layers = case.layout("compressions_layout").root()["layers"].clone();
    let oci = |name: &str| format!("application/vnd.oci.image.layer.v1.{name}");
    assert_eq!(layers[2]["mediaType"], oci("tar+zstd"));
    assert_eq!(layers[3]["mediaType"], oci("tar"));
}

#[test]
fn an_image_on_an_image_has_its_layers_and_its_own_environment() {
    let case = Case::get();
    let (stacked, below) = (
        case.layout("stacked_layout"),
        case.layout("explicit_layout"),
    );
    let config = stacked.config(&stacked.root());
    let env = config["config"]["Env"].as_array().expect("an environment");
    assert!(
        env.contains(&json!("GREETING=stacked")) && !env.contains(&json!("GREETING=a b=c")),
        "{env:?}"
    );
    assert_eq!(stacked.root()["layers"], below.root()["layers"]);
}

#[test]
fn an_index_lists_the_platforms_of_its_images() {
    let case = Case::get();
    let entries = case.layout("index_layout").root()["manifests"].clone();
    let entries = entries.as_array().expect("manifests").iter();
    let platforms: Vec<_> = entries.map(|entry| entry["platform"].clone()).collect();
    assert_eq!(
        platforms,
        [
            json!({"os": "linux", "architecture": "amd64"}),
            json!({"os": "linux", "architecture": "arm64", "variant": "v8"}),
        ]
    );
}

#[test]
fn a_layout_of_a_base_has_the_bases_digest() {
    let case = Case::get();
    assert_eq!(
        case.layout("base_layout").descriptor()["digest"],
        case.registry.digest("library/debian-docker", "stable")
    );
}

#[test]
fn a_root_file_system_is_scanned_as_an_archive() {
    let case = Case::get();
    case.workspace.succeed(&["test", "//:rootfs_scan"]);
}

#[test]
fn layers_are_built_once() {
    let case = Case::get();
    let run = case.workspace.succeed(&["build", "//:explicit"]);
    assert_eq!(run.count("OCILayer"), 0);
}

#[test]
fn attributes_reach_the_manifest_and_the_config() {
    let case = Case::get();
    let (registry, explicit) = (&case.registry, case.layout("explicit_layout"));
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
}
