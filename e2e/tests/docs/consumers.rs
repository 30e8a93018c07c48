//! `docs/consumers.md`: each of its commands, run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::engine::{DockerStore, Engine, PodmanStore};
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::{checkout, new_user};
use oci_pull_all_support::{Registry, User, debian, text};
use serde_json::Value;

/// The commands in the table of the page.
fn commands(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| row.strip_suffix("` |")?.rsplit('`').next())
        .collect()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What brings a command of the Debian root into the user's home.
fn at_home<'a>(command: &'a mut Command, user: &User) -> &'a mut Command {
    command
        .args(["-euc", "cd \"$0\"; exec \"$@\""])
        .arg(user.home())
}

/// The user's home, with all that the page names.
fn home(workspace: &Workspace, registry: &str) -> User {
    let user = new_user();
    for (name, output) in [
        ("layout", "layout"),
        ("files", "files_layout"),
        ("oci.tar", "oci_archive.tar"),
        ("docker.tar", "archive.tar"),
    ] {
        symlink(workspace.output(output), user.path(name)).expect("can be made");
    }
    let test = "schemaVersion: 2.0.0\nfileExistenceTests:\n- name: app\n  path: /app/serve\n  shouldExist: true\n";
    fs::write(user.path("test.yaml"), test).expect("can be written");
    let registries = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
    fs::create_dir_all(user.path(".config/containers")).expect("can be made");
    let file = user.path(".config/containers/registries.conf");
    fs::write(file, registries).expect("can be written");
    user
}

#[test]
fn each_program_takes_what_the_page_gives_it() {
    let page = fs::read_to_string(checkout().join("docs/consumers.md")).expect("can be read");
    let commands = commands(&page);
    let mut peers = Vec::new();
    for command in &commands {
        let name = command.split(' ').next();
        let peer = Peer::ALL.into_iter().find(|peer| Some(peer.name()) == name);
        let program = peer.map(Peer::or_skip);
        if program == Some(None) {
            return;
        }
        peers.push(program.flatten());
    }
    let bases = Registry::with(debian());
    let base = bases.digest("library/debian", "stable");
    let values = [
        ("SOURCE", bases.host()),
        ("DIGEST", &base),
        ("TARGET", bases.host()),
    ];
    let workspace = Workspace::new("push", &values);
    let targets = [
        "//:layout",
        "//:files_layout",
        "//:oci_archive",
        "//:archive",
    ];
    workspace.succeed(&[&["build"][..], &targets].concat());
    let registry = DockerRegistry::empty();
    let host = registry.host().replace("127.0.0.1", "localhost");
    let user = home(&workspace, &host);
    let shared: [&Path; 2] = [user.home(), workspace.directory()];
    let config = config_of(&workspace.output("layout"));

    for (row, (command, peer)) in commands.iter().zip(peers).enumerate() {
        let repository = format!("row{row}/app");
        let line = command.replace("registry.example.com/app", &format!("{host}/{repository}"));
        let words: Vec<&str> = line.split(' ').collect();
        let (program, arguments) = words.split_first().expect("a program");
        let run = |mut command: Command| succeeded(&command.output().expect("can be run"));
        if let Some(peer) = peer {
            let by_user = || {
                let mut command = Command::new(&peer);
                command.env_clear().env("HOME", user.home());
                command.env("SYFT_CHECK_FOR_APP_UPDATE", "false");
                command.current_dir(user.home());
                command
            };
            if *program == "regctl" {
                let mut command = by_user();
                command.args(["registry", "set", "--tls", "disabled", &host]);
                run(command);
            }
            let mut command = by_user();
            command.args(arguments);
            run(command);
        } else if let Some(engine) = engine(program) {
            let mut command = engine.command(&shared, "sh");
            at_home(&mut command, &user).args(&words);
            run(command);
            let has: &[&str] = match *program {
                "ctr" => &["images", "check"],
                _ => &["images", "--quiet", "--no-trunc"],
            };
            let has = engine.asked(has);
            let found = if *program == "ctr" {
                "complete"
            } else {
                &*config
            };
            assert!(has.contains(found), "{line}: {has}");
        } else {
            let mut command = Root::get().command(Life::Child, &shared, "env");
            command.arg(format!("HOME={}", user.home().display()));
            command.arg("sh");
            at_home(&mut command, &user).args(&words);
            run(command);
        }
        if line.contains(&host) {
            let manifest = registry.manifest(&registry.digest(&repository, "v1"));
            assert_eq!(text(&manifest["config"]["digest"]), config, "{line}");
        }
    }
    assert!(user.path("bundle/rootfs/app/serve").exists());
}

/// The container engine that is called so, if it is one.
fn engine(program: &str) -> Option<Engine> {
    match program {
        "podman" => Some(Engine::podman(PodmanStore::Overlay)),
        "docker" => Some(Engine::docker(DockerStore::Layers)),
        "ctr" => Some(Engine::containerd("team")),
        _ => None,
    }
}

/// The digest of the config of the image in a layout of one.
fn config_of(layout: &Path) -> String {
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON")
    };
    let index = read(&layout.join("index.json"));
    let digest = text(&index["manifests"][0]["digest"]).replace(':', "/");
    let manifest = read(&layout.join("blobs").join(digest));
    text(&manifest["config"]["digest"]).to_owned()
}
