//! Files of artifacts and files out of images, as targets.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::scratch;
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{Images, Registry, debian, program};
use tar::EntryType;

const TGZ: &str = "application/vnd.example.layer.v1.tar+gzip";

/// A registry with all that the case `pins` pulls.
pub(super) struct Pins {
    pub(super) registry: Registry,
    /// What stands for the keys of the case.
    values: Vec<(&'static str, String)>,
}

impl Pins {
    pub(super) fn new() -> Self {
        let (registry, values) = serve();
        Pins { registry, values }
    }

    /// The case, in which some keys have other values.
    pub(super) fn workspace(&self, others: &[(&str, &str)]) -> Workspace {
        let values = self.values.iter().map(|(key, value)| {
            let other = others.iter().find(|(name, _)| name == key);
            (*key, other.map_or(value.as_str(), |(_, other)| other))
        });
        Workspace::new("pins", &values.collect::<Vec<_>>())
    }
}

fn serve() -> (Registry, Vec<(&'static str, String)>) {
    let mut images = debian();
    let archive = Layer::new()
        .file("metadata.json", "{\"v\":1}")
        .file("data", "d");
    let db = images.add_artifact(
        "team/db",
        "application/vnd.example.db",
        &[
            (Some("db.tar.gz"), TGZ, archive.0),
            (Some("notes.txt"), "text/plain", b"n".to_vec()),
        ],
    );
    images.tag("team/db", "1", &db);
    let newer = Layer::new().file("metadata.json", "{\"v\":2}");
    let whole = images.add_artifact(
        "team/db",
        "application/vnd.example.db",
        &[(Some("db.tar.gz"), TGZ, newer.0)],
    );
    images.tag("team/db", "2", &whole);
    let untitled = images.add_artifact(
        "team/untitled",
        "application/vnd.example.db",
        &[
            (None, "application/json", b"1".to_vec()),
            (None, TGZ, b"no archive".to_vec()),
        ],
    );
    images.tag("team/untitled", "1", &untitled);
    let tools = add_tools(&mut images);
    images.tag("team/tools", "latest", &tools);
    let registry = Registry::with(images);
    let base = registry.digest("library/debian", "stable");
    let values = vec![
        ("HOST", registry.host().to_owned()),
        ("BASE", base),
        ("TOOLS", tools),
        ("DB", db),
        ("UNTITLED", untitled),
        ("WHOLE", whole),
        ("INVALID", "sha256:TODO".to_owned()),
    ];
    (registry, values)
}

fn add_tools(images: &mut Images) -> String {
    let dynamic = program("never", Some("/lib64/ld-of-the-image.so"));
    let layer = Layer::new()
        .add(
            EntryType::Regular,
            "bin/hello-1.0",
            0o755,
            "",
            &program("from the image\n", None),
        )
        .symlink("bin/hello", "hello-1.0")
        .add(EntryType::Regular, "bin/dynamic", 0o755, "", &dynamic)
        .file("etc/data", "data of the image\n");
    images.add_image_of("team/tools", layer.0, |config| {
        config["architecture"] = match std::env::consts::ARCH {
            "aarch64" => "arm64".into(),
            _ => "amd64".into(),
        };
    })
}

#[test]
fn an_artifacts_files_are_fetched_by_who_needs_them() {
    let pins = Pins::new();
    let workspace = pins.workspace(&[]);
    workspace.succeed(&["build", "@db", "//:image"]);
    workspace.succeed(&["query", "deps(//:metadata)"]);
    assert_eq!(workspace.pulled("db_all"), None, "a manifest is enough");

    let list = |target: &str| {
        let files = workspace
            .succeed(&["cquery", "--output=files", target])
            .stdout;
        let mut names: Vec<String> = files
            .lines()
            .filter_map(|line| Some(line.split_once("/files/")?.1.to_owned()))
            .collect();
        names.sort();
        names
    };
    workspace.succeed(&["build", "//:metadata", "@db//:files", "//:whole"]);
    assert_eq!(list("//:metadata"), ["db/metadata.json"]);
    assert_eq!(list("//:db"), ["db/data", "db/metadata.json"]);
    assert_eq!(
        list("@db//:files"),
        ["db.tar.gz", "db/data", "db/metadata.json", "notes.txt"]
    );
    assert_eq!(list("//:whole"), ["db.tar.gz"]);
    let untitled = list("@untitled//:files");
    assert_eq!(
        untitled,
        [
            "application/json",
            "application/vnd.example.layer.v1.tar+gzip"
        ]
    );

    let messages = workspace.fail(&["build", "//:missing"]);
    assert!(
        messages.contains("no file \"db/nothing\"") && messages.contains("notes.txt"),
        "{messages}"
    );
    let messages = workspace.fail(&["build", "//:from_broken"]);
    assert!(
        messages.contains("is not unpacked") && messages.contains("not a whole tar archive"),
        "{messages}"
    );
}

#[test]
fn a_program_out_of_an_image_runs_in_a_build() {
    let pins = Pins::new();
    let workspace = pins.workspace(&[]);
    workspace.succeed(&["build", "//:image"]);
    assert_eq!(workspace.pulled("tools_all"), None);
    workspace.succeed(&["build", "//:hello"]);
    let said = fs::read_to_string(workspace.output("hello.txt")).expect("was built");
    assert_eq!(said, "from the image\ndata of the image\n");
    let run = workspace.succeed(&["run", "//:tool"]);
    assert_eq!(run.stdout, "from the image\n");
    // As a file it may be anything, as a tool it may not.
    workspace.succeed(&["build", "//:dynamic"]);
    let messages = workspace.fail(&["build", "//:cannot"]);
    assert!(
        messages.contains("dynamic loader /lib64/ld-of-the-image.so"),
        "{messages}"
    );
    let messages = workspace.fail(&["build", "//:data", "--platforms=//:s390x"]);
    assert!(
        messages.contains("has no image for linux/s390x. It offers linux/"),
        "{messages}"
    );
}

#[test]
fn a_cached_run_fetches_what_it_depends_on_and_with_a_store_nothing() {
    let pins = Pins::new();
    let cache = scratch();
    let run = |store: Option<&Path>| {
        let mut workspace = pins.workspace(&[]);
        workspace.append_rc(&format!("build --disk_cache={}", cache.path().display()));
        if let Some(store) = store {
            workspace.set_env("OCI_PULL_ALL_STORE", store.to_str());
        }
        let before = pins.registry.requests().len();
        let run = workspace.succeed(&["test", "//:hello", "//:metadata", "//:layout_test"]);
        let requests = pins.registry.requests().split_off(before);
        let bytes: u64 = requests.iter().map(|request| request.bytes).sum();
        (workspace, run, bytes)
    };
    let (_first, _, bytes) = run(None);
    assert!(bytes > 5_000_000, "the base came: {bytes}");
    let (second, cached, again) = run(None);
    assert!(
        cached.spawns.iter().all(|spawn| spawn["cacheHit"] == true),
        "something was run"
    );
    // What an action has as its input must be there to know that it need not be run.
    assert_eq!(again, bytes);
    let (_third, _, bytes) = run(Some(&second.directory().join("store")));
    assert_eq!(bytes, 0);
}
