//! Images that a Containerfile and our rules say alike, each in a directory of the case: podman judges what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::engine::{Engine, PodmanStore};
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::{checkout, new_user, scratch};
use oci_pull_all_support::{Images, Registry, User, digest, text};
use serde_json::{Value, json};

const CASE: &str = "e2e/cases/containerfiles";

/// What is at each path: type, mode, owner, link, content and extended attributes.
type Files = BTreeMap<String, String>;

/// An image on Docker's terms, of one layer, with all that a config can have; returns its digest.
fn add_base(images: &mut Images, name: &str, layer: &[u8], on_build: &[&str]) -> String {
    let docker = |kind: &str| format!("application/vnd.docker.{kind}");
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"],
            "Entrypoint": ["/bin/sh", "-e"],
            "Cmd": ["/dev/null"],
            "WorkingDir": "/work",
            "Labels": {"maintainer": "somebody", "kept": "yes"},
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64},
            "OnBuild": on_build,
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "the base"}],
    });
    let layer = images.add_blob(name, &docker("image.rootfs.diff.tar"), layer.to_vec());
    let config = config.to_string().into_bytes();
    let config = images.add_blob(name, &docker("container.image.v1+json"), config);
    let kind = docker("distribution.manifest.v2+json");
    let manifest =
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    let manifest = images.add_manifest(name, &kind, manifest.to_string().into_bytes());
    text(&manifest["digest"]).to_owned()
}

/// Has a shell of the root run a script in a directory.
fn in_root(directory: &Path, script: &str, arguments: &[&Path]) {
    let mut command = Root::get().command(Life::Child, &[directory], "sh");
    command.args(["-euc", &format!("cd \"$0\"; {script}")]);
    printed(command.arg(directory).args(arguments));
}

/// The names of the cases.
fn cases() -> Vec<String> {
    let entries = fs::read_dir(checkout().join(CASE)).expect("can be read");
    let entries = entries.map(|entry| entry.expect("can be read"));
    let cases = entries.filter(|entry| entry.path().join("Containerfile").exists());
    let names = cases.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    let names: BTreeSet<_> = names.collect();
    names.into_iter().collect()
}

/// What an archive of a file system has.
fn files(archive: &[u8]) -> Files {
    let plain = |path: &[u8]| {
        let path = String::from_utf8_lossy(path).into_owned();
        format!("/{}", path.trim_start_matches("./").trim_matches('/'))
    };
    let mut files = Files::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("can be read") {
        let mut entry = entry.expect("can be read");
        let path = plain(&entry.path_bytes());
        // Where no layer names the root, its mode is the store's affair.
        if path == "/" {
            continue;
        }
        let header = entry.header().clone();
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let kind = header.entry_type();
        if kind.is_hard_link() {
            let first = files[&plain(&link)].clone();
            files.insert(path, first);
            continue;
        }
        let what = match kind {
            tar::EntryType::Directory => "directory".to_owned(),
            tar::EntryType::Symlink => format!("link to {}", String::from_utf8_lossy(&link)),
            tar::EntryType::Regular => "file".to_owned(),
            other => format!("{other:?}"),
        };
        let mut words = vec![what];
        if !kind.is_symlink() {
            words.push(format!("{:04o}", header.mode().expect("a mode") & 0o7777));
        }
        let owner = [header.uid(), header.gid()].map(|id| id.expect("a number"));
        words.push(format!("{}:{}", owner[0], owner[1]));
        if let Some(records) = entry.pax_extensions().expect("can be read") {
            let records = records.map(|record| record.expect("can be read"));
            let xattrs = records.filter_map(|record| {
                let name = record.key().ok()?.strip_prefix("SCHILY.xattr.")?;
                Some(format!("{name}={:?}", record.value_bytes()))
            });
            words.extend(xattrs);
        }
        if kind.is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("can be read");
            words.push(digest(&content));
        }
        files.insert(path, words.join(" "));
    }
    files
}

/// What is in the directory that a line of shell prints.
fn files_in(engine: &Engine, directory: &str, argument: &str) -> Files {
    let script = format!(
        "cd \"$({directory})\"; exec tar --numeric-owner --xattrs --xattrs-include='*' -cf - ."
    );
    let mut command = engine.command(&[], "sh");
    files(&printed(command.args(["-euc", &script, argument])))
}

/// What a command prints, which must succeed.
fn printed(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("can be run");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {messages}");
    output.stdout
}

/// What a container of podman's on an image sees.
fn seen(engine: &Engine, image: &str) -> Files {
    files_in(engine, "podman image mount \"$0\"", image)
}

/// What a container of containerd's sees on the image of a layout.
fn seen_by_containerd(
    engine: &Engine,
    user: &User,
    case: &str,
    layout: &str,
    config: &Value,
) -> Files {
    let name = format!("example.com/{case}:v1");
    let archive = [
        "layout", "archive", layout, "--format", "docker", "--tag", &name,
    ];
    user.run(&[&archive[..], &["--output", "docker.tar"]].concat())
        .succeeded();
    let mut import = engine.command(&[user.home()], "ctr");
    printed(
        import
            .args(["images", "import"])
            .arg(user.path("docker.tar")),
    );
    // image-spec, config.md: "Layer ChainID".
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("an array");
    let diff_ids = diff_ids.iter().map(|id| text(id).to_owned());
    let chain = diff_ids.reduce(|chain, id| digest(format!("{chain} {id}").as_bytes()));
    engine.asked(&["snapshots", "prepare", case, &chain.expect("a layer")]);
    let mount = engine.asked(&["snapshots", "mounts", "/mnt", case]);
    let source = mount
        .split(' ')
        .find_map(|word| word.strip_prefix("/run/engine/"));
    let source = engine.directory().join(source.expect("a directory"));
    files_in(engine, "echo \"$0\"", source.to_str().expect("UTF-8"))
}

/// Where two differ, each with what they have there.
fn differences(case: &str, names: [&str; 2], both: [&Files; 2]) -> Vec<String> {
    let paths: BTreeSet<_> = both.iter().flat_map(|files| files.keys()).collect();
    let paths = paths
        .into_iter()
        .filter(|path| both[0].get(*path) != both[1].get(*path));
    let lines = paths.map(|path| {
        let has = both.map(|files| files.get(path).map_or("nothing", String::as_str));
        let [first, second] = names;
        format!(
            "{case}: {path}:\n  {first}: {}\n  {second}: {}\n",
            has[0], has[1]
        )
    });
    lines.collect()
}

/// What a config has, each member on its own, without those that say nothing.
fn members(config: &Value) -> Files {
    let says_nothing = |value: &Value| {
        [json!(null), json!(false), json!(""), json!([]), json!({})].contains(value)
    };
    let mut members = Files::new();
    for (key, value) in config["config"].as_object().expect("an object") {
        // Of the container in which podman has built.
        if !says_nothing(value) && key != "Hostname" && key != "Image" {
            members.insert(format!("config.{key}"), value.to_string());
        }
    }
    for key in ["architecture", "os"] {
        members.insert(key.to_owned(), config[key].to_string());
    }
    members
}

#[test]
fn podman_builds_the_same_of_containerfiles() {
    let made = scratch();
    fs::create_dir(made.path().join("context")).expect("can be made");
    in_root(
        made.path(),
        "sh \"$1\"",
        &[&checkout().join(CASE).join("base.sh")],
    );
    let mut images = Images::default();
    let layer = fs::read(made.path().join("base.tar")).expect("it was made");
    let base = add_base(&mut images, "base", &layer, &[]);
    let asks = ["LABEL asked=\"of whoever builds on it\""];
    let onbuild = add_base(&mut images, "onbuild", &layer, &asks);
    let registry = Registry::with(images);
    let values = [
        ("HOST", registry.host()),
        ("BASE", &base),
        ("ONBUILD", &onbuild),
    ];
    let workspace = Workspace::new("containerfiles", &values);
    for entry in fs::read_dir(made.path().join("context")).expect("can be read") {
        let entry = entry.expect("can be read");
        let place = workspace.path("context").join(entry.file_name());
        fs::copy(entry.path(), place).expect("can be copied");
    }
    workspace.succeed(&["build", "//..."]);

    let cases = cases();
    assert!(cases.len() >= 25);
    let engines = [PodmanStore::Vfs, PodmanStore::Overlay].map(Engine::podman);
    let build = "cd \"$0\"; for case in \"$@\"; do \
                 podman build --quiet --format docker --isolation chroot --layers=false \
                 --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
                 --identity-label=false --tls-verify=false --tag \"localhost/theirs/$case\" \
                 --file \"$case/Containerfile\" context; done";
    let load = "layouts=$0; for case in \"$@\"; do \
                skopeo copy --quiet \"oci:$layouts/$case.layout:latest\" \
                \"containers-storage:localhost/ours/$case:latest\"; done";
    let layouts = workspace.output("");
    for (engine, script, directory) in [
        (&engines[0], build, workspace.path("")),
        (&engines[0], load, layouts.clone()),
        (&engines[1], load, layouts.clone()),
    ] {
        let mut command = engine.command(&[workspace.directory()], "sh");
        printed(command.args(["-euc", script]).arg(directory).args(&cases));
    }

    let containerd = Engine::containerd("team");
    let user = new_user();
    let mut differing = Vec::new();
    for case in &cases {
        let (theirs, ours) = (
            format!("localhost/theirs/{case}"),
            format!("localhost/ours/{case}"),
        );
        let layout = layouts.join(format!("{case}.layout"));
        let layout = layout.to_str().expect("UTF-8");
        user.run(&["layout", "rootfs", layout, "--tar", "root.tar"])
            .succeeded();
        let said = files(&fs::read(user.path("root.tar")).expect("it was made"));
        let config = fs::read(layouts.join(format!("{case}/image.config.json"))).expect("there");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        for (name, found) in [
            ("podman build", seen(&engines[0], &theirs)),
            ("vfs", seen(&engines[0], &ours)),
            ("overlay", seen(&engines[1], &ours)),
            (
                "containerd",
                seen_by_containerd(&containerd, &user, case, layout, &config),
            ),
        ] {
            differing.extend(differences(case, [name, "layout rootfs"], [&found, &said]));
        }
        let mut inspect = engines[0].command(&[], "skopeo");
        let image = format!("containers-storage:{theirs}");
        let theirs = printed(inspect.args(["inspect", "--config", "--raw", &image]));
        let theirs: Value = serde_json::from_slice(&theirs).expect("JSON");
        let both = [&members(&theirs), &members(&config)];
        differing.extend(differences(case, ["podman build", "here"], both));
    }
    assert!(differing.is_empty(), "{}", differing.concat());
}
