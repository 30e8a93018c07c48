//! Files of artifacts and files out of images, as targets.

use std::fs;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{
    CONFIG, Images, LAYER, MANIFEST, Registry, config_of, debian, manifest_of, program, text,
};
use tar::EntryType;

const TGZ: &str = "application/vnd.example.layer.v1.tar+gzip";

/// The case `pins`, on a registry with all that it pulls. What is not in `old` is pinned as it is.
pub(super) fn workspace(old: &[(&str, &str)]) -> (Registry, Workspace) {
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
    let mut values = vec![
        ("HOST", registry.host()),
        ("BASE", &base),
        ("TOOLS", &tools),
        ("DB", &db),
        ("UNTITLED", &untitled),
        ("WHOLE", &whole),
        ("INVALID", "sha256:TODO"),
    ];
    for (key, value) in &mut values {
        if let Some((_, old)) = old.iter().find(|(name, _)| name == key) {
            *value = old;
        }
    }
    let workspace = Workspace::new("pins", &values);
    (registry, workspace)
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
    let layer = images.add_blob("team/tools", LAYER, layer.0);
    let mut config = config_of(std::slice::from_ref(&layer));
    config["architecture"] = match std::env::consts::ARCH {
        "aarch64" => "arm64".into(),
        _ => "amd64".into(),
    };
    let config = images.add_blob("team/tools", CONFIG, config.to_string().into_bytes());
    let manifest = manifest_of(&config, &[layer]).to_string().into_bytes();
    let manifest = images.add_manifest("team/tools", MANIFEST, manifest);
    text(&manifest["digest"]).to_owned()
}

#[test]
fn an_artifacts_files_are_fetched_by_who_needs_them() {
    let (_registry, workspace) = workspace(&[]);
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
    let (_registry, workspace) = workspace(&[]);
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
