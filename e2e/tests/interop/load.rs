//! What container engines have when an image was loaded into them.

use std::fs;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::engine::{DockerStore, Engine, PodmanStore};
use oci_pull_all_e2e::new_user;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_support::text;
use serde_json::Value;

/// The case `push`, which has images to load.
fn workspace() -> (DockerRegistry, Workspace) {
    let registry = DockerRegistry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let values = [
        ("SOURCE", registry.host()),
        ("DIGEST", &digest),
        ("TARGET", registry.host()),
    ];
    let workspace = Workspace::new("push", &values);
    (registry, workspace)
}

/// What an engine should have of an image.
struct Image {
    manifest: String,
    config: String,
    diff_ids: Value,
    layers: usize,
}

impl Image {
    /// The image for an architecture of the layout or, in an index, of the one that this lists.
    fn of(layout: &Path, architecture: &str) -> Self {
        let read = |digest: &str| -> Value {
            let blob = layout.join("blobs").join(digest.replace(':', "/"));
            serde_json::from_slice(&fs::read(blob).expect("there")).expect("JSON")
        };
        let index = fs::read(layout.join("index.json")).expect("there");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        let mut roots = vec![text(&index["manifests"][0]["digest"]).to_owned()];
        while let Some(root) = roots.pop() {
            let manifest = read(&root);
            if let Some(entries) = manifest["manifests"].as_array() {
                roots.extend(
                    entries
                        .iter()
                        .map(|entry| text(&entry["digest"]).to_owned()),
                );
                continue;
            }
            let id = text(&manifest["config"]["digest"]).to_owned();
            let config = read(&id);
            if config["architecture"] == architecture {
                return Self {
                    manifest: root,
                    config: id,
                    diff_ids: config["rootfs"]["diff_ids"].clone(),
                    layers: manifest["layers"].as_array().expect("layers").len(),
                };
            }
        }
        panic!("{} has no image for {architecture}", layout.display());
    }
}

/// Has `check` look at an engine's images, each with the name that it was loaded by, after each of them
/// was loaded twice.
fn load_all(workspace: &mut Workspace, engine: &Engine, check: impl Fn(&str, &Image)) {
    for (name, value) in engine.environment() {
        workspace.set_env(name, Some(value));
    }
    for _ in 0..2 {
        for target in ["//:load", "//:load_archive", "//:load_arm64"] {
            workspace.succeed(&["run", target, "--", "--loader", engine.program]);
        }
    }
    let amd64 = Image::of(&workspace.output("layout"), "amd64");
    let arm64 = Image::of(&workspace.output("index_layout"), "arm64");
    check("team/app:v1", &amd64);
    check("example.com/app:archived", &amd64);
    check("team/app:arm64", &arm64);
}

/// What Docker or podman tells of an image.
fn inspect(engine: &Engine, name: &str) -> Value {
    let inspected = engine.asked(&["image", "inspect", name]);
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    inspected[0].clone()
}

#[test]
fn podman_loads_images() {
    let (_registry, mut workspace) = workspace();
    let engine = Engine::podman(PodmanStore::Vfs);
    load_all(&mut workspace, &engine, |name, image| {
        let found = inspect(&engine, name);
        assert_eq!(format!("sha256:{}", text(&found["Id"])), image.config);
        assert_eq!(found["RootFS"]["Layers"], image.diff_ids);
    });
}

#[test]
fn docker_loads_images_into_each_of_its_stores() {
    let (_registry, mut workspace) = workspace();
    let stores = [DockerStore::Layers, DockerStore::Containerd];
    let engines = stores.map(Engine::docker);
    for (store, engine) in stores.into_iter().zip(&engines) {
        load_all(&mut workspace, engine, |name, image| {
            let found = inspect(engine, name);
            let id = match store {
                DockerStore::Layers => &image.config,
                DockerStore::Containerd => &image.manifest,
            };
            assert_eq!(text(&found["Id"]), id, "{store:?} {name}");
            assert_eq!(
                found["RootFS"]["Layers"], image.diff_ids,
                "{store:?} {name}"
            );
        });
    }
}

#[test]
fn containerd_loads_images_into_a_namespace() {
    let (_registry, mut workspace) = workspace();
    let engine = Engine::containerd("team");
    load_all(&mut workspace, &engine, |name, image| {
        let name = match name.strip_prefix("team/") {
            Some(_) => format!("docker.io/{name}"),
            None => name.to_owned(),
        };
        let found = engine.asked(&["images", "check", &format!("name=={name}")]);
        let blobs = image.layers + 1;
        for expected in [
            &name,
            &image.manifest,
            &format!("complete ({blobs}/{blobs})"),
        ] {
            assert!(found.contains(expected.as_str()), "no {expected}: {found}");
        }
        assert!(found.trim_end().ends_with("true"), "not unpacked: {found}");
    });
    let elsewhere = engine.asked(&["--namespace", "default", "images", "ls", "--quiet"]);
    assert_eq!(elsewhere, "");
}

#[test]
fn any_program_that_loads_an_archive_from_a_pipe_serves() {
    let (_registry, mut workspace) = workspace();
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let messages = workspace.fail(&["run", "//:load", "--", "--loader", "bin/refuses"]);
    for expected in ["no engine is running", "refuses load ended with", "3"] {
        assert!(messages.contains(expected), "{messages}");
    }
    workspace.set_env("PATH", Some(&path));
    let run = workspace.succeed(&["run", "//:load", "--", "--tag", "team/app:mine"]);
    assert_eq!(run.stdout, "loaded\n");
    let image = Image::of(&workspace.output("layout"), "amd64");
    for tag in ["v1", "mine"] {
        let archive = workspace.path("loaded.tar");
        let inspected = Root::get()
            .command(Life::Child, &[workspace.directory()], "skopeo")
            .arg("inspect")
            .arg(format!(
                "docker-archive:{}:team/app:{tag}",
                archive.display()
            ))
            .output()
            .expect("skopeo can be run");
        assert!(inspected.status.success(), "{inspected:?}");
        let inspected: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
        assert_eq!(inspected["Architecture"], "amd64");
        assert_eq!(inspected["Layers"], image.diff_ids);
    }
    let messages = workspace.fail(&["build", "//:load_rootfs"]);
    assert!(messages.contains("a root file system"), "{messages}");
}

#[test]
fn what_no_engine_could_load_is_told() {
    let user = new_user();
    fs::write(user.path("file"), "content").expect("can be written");
    for command in [
        "layer --file /f file --compression gzip --output layer --descriptor layer.json",
        "image --platform linux/amd64 --layer layer.json --manifest manifest --config config --descriptor image.json",
        "layout merge --root image.json --local-file manifest --local-file config --local layer.json layer --output layout",
        "layout archive layout --format docker --output nameless.tar",
        "layout archive layout --format oci --output oci.tar",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        user.run(&arguments).succeeded();
    }
    // As `tar -c .` names what is in an archive.
    let repack =
        "mkdir unpacked && tar -xf nameless.tar -C unpacked && tar -cf dotted.tar -C unpacked .";
    let repacked = Command::new("sh")
        .args(["-c", repack])
        .current_dir(user.home())
        .status();
    assert!(repacked.expect("sh can be run").success());
    user.run(&["load", "layout"])
        .failed(&["none of docker, podman, nerdctl, ctr is on PATH"]);
    for nameless in ["layout", "nameless.tar", "dotted.tar"] {
        user.run(&["load", nameless, "--loader", "ctr"]).failed(&[
            &format!("{nameless} has no name"),
            "without which ctr loads no image",
        ]);
    }
    user.run(&["load", "oci.tar", "--loader", "podman"])
        .failed(&["oci.tar has no manifest.json", "in the format docker"]);
    fs::write(user.path("text.tar"), "no tar\n".repeat(100)).expect("can be written");
    user.run(&["load", "text.tar", "--loader", "podman"])
        .failed(&["text.tar is not a tar archive, or is compressed"]);
    for settled in [["--tag", "app:v1"], ["--platform", "linux/amd64"]] {
        let load = ["load", "nameless.tar", "--loader", "podman"];
        user.run(&[&load[..], &settled].concat())
            .failed(&["nameless.tar is an archive", "where it is made"]);
    }
    let layer = fs::read_to_string(user.path("layer.json")).expect("can be read");
    let layer: Value = serde_json::from_str(&layer).expect("JSON");
    let layer = text(&layer["digest"]);
    let blob = user.path("layout/blobs").join(layer.replace(':', "/"));
    fs::remove_file(blob).expect("can be removed");
    for format in ["docker", "oci"] {
        let archive = ["layout", "archive", "layout", "--output", "lacking.tar"];
        user.run(&[&archive[..], &["--format", format]].concat())
            .failed(&[layer, "is not in layout", "oci_complete_layout"]);
    }
}
