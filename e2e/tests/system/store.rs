//! The store on disks that are full, read-only or another than its own, and after a power loss.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::bazel::{Bazel, Workspace};
use oci_pull_all_e2e::{new_user, run_mounted, scratch};
use oci_pull_all_support::{Content, Faulty, Images, Registry, blobs, noise, text};
use serde_json::Value;

const MEGABYTE: usize = 1 << 20;

fn image() -> Content {
    Content::image(&[noise(1, 3 * MEGABYTE), noise(2, 1000)])
}

fn serve(content: &Content) -> (Faulty, String) {
    let registry = Faulty::good(content.clone());
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    (registry, reference)
}

#[test]
fn a_full_disk_is_named() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let disk = user.path("disk");
    fs::create_dir(&disk).expect("can be made");
    let disk = disk.display().to_string();
    let mounts = ["--size", "1000000", "--tmpfs", &disk];
    run_mounted(
        &user,
        &mounts,
        &[
            "pull",
            &reference,
            "--output",
            "out",
            "--store",
            &format!("{disk}/store"),
        ],
    )
    .failed(&[&disk, "No space left"]);
    run_mounted(
        &user,
        &mounts,
        &["pull", &reference, "--output", &format!("{disk}/out")],
    )
    .failed(&[&disk, "No space left"]);
    assert!(!user.path("out/index.json").exists());
    user.run(&["store", "verify"]).succeeded();
}

/// A disk that is full in every phase of a pull: with some more room each time, until there is enough.
#[test]
fn a_disk_that_is_full_at_any_time_ends_a_pull_clearly() {
    const STEP: usize = 16 << 10;
    let (_registry, reference) = serve(&Content::image(&[noise(1, 200_000), noise(2, 1000)]));
    // What is left must be right, and no layout.
    let script = "set +e; \"$@\"; code=$?; cd disk
        [ ! -e store/version ] || \"$1\" store verify --store store >&2 || echo 'a wrong store' >&2
        [ $code = 0 ] || [ ! -e out/index.json ] || echo 'a layout' >&2
        exit $code";
    let user = new_user();
    let disk = user.path("disk");
    fs::create_dir(&disk).expect("can be made");
    let disk = disk.display().to_string();
    let mut failures = 0;
    for room in (STEP..).step_by(STEP) {
        let mut command = Command::new("bwrap");
        command.args([
            "--dev-bind",
            "/",
            "/",
            "--size",
            &room.to_string(),
            "--tmpfs",
            &disk,
        ]);
        command.args(["--", "sh", "-c", script, "sh"]);
        let pull = [
            "pull",
            &reference,
            "--output",
            "disk/out",
            "--store",
            "disk/store",
        ];
        let summary = ["--summary", "disk/summary.json"];
        let ran = user.run_by(command, &[&pull[..], &summary].concat());
        assert!(
            !ran.stderr.contains("a wrong store"),
            "{room}: {}",
            ran.stderr
        );
        if ran.success {
            break;
        }
        assert_eq!(
            ran.stderr.matches("error: ").count(),
            1,
            "{room}: {}",
            ran.stderr
        );
        // It may be written before what tells of it.
        let told = ran.stderr.contains("a layout") && !ran.stderr.contains("summary.json");
        assert!(!told, "{room}: {}", ran.stderr);
        ran.failed(&["disk/", "No space left"]);
        failures += 1;
    }
    assert!(failures > 20, "{failures}");
}

#[test]
fn a_store_on_another_file_system_is_copied_from() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let disk = user.path("disk");
    fs::create_dir(&disk).expect("can be made");
    let disk = disk.display().to_string();
    let store = format!("{disk}/store");
    run_mounted(
        &user,
        &["--tmpfs", &disk],
        &["pull", &reference, "--output", "out", "--store", &store],
    )
    .succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 4);
}

#[test]
fn a_read_only_store_is_named() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let store = user.path("store");
    fs::create_dir(&store).expect("can be made");
    let store = store.display().to_string();
    run_mounted(
        &user,
        &["--ro-bind", &store, &store],
        &["pull", &reference, "--output", "out", "--store", &store],
    )
    .failed(&[&store, "Read-only file system"]);
    assert!(!user.path("out/index.json").exists());
}

#[test]
fn what_a_power_loss_took_is_found_out_after_the_next_boot() {
    let content = image();
    let (registry, reference) = serve(&content);
    let user = new_user();
    let pull = |boot: &str, output: &str| {
        let file = user.path(boot);
        fs::write(&file, format!("{boot}\n")).expect("can be written");
        let file = file.display().to_string();
        run_mounted(
            &user,
            &["--ro-bind", &file, "/proc/sys/kernel/random/boot_id"],
            &["pull", &reference, "--output", output, "--store", "store"],
        )
        .succeeded();
    };
    pull("first-boot", "one");
    let layer = content.layers[0].clone();
    let blob = user.path(&format!("store/blobs/{}", layer.replace(':', "/")));
    let sealed = |path: &std::path::Path| fs::metadata(path).and_then(|file| file.modified());
    let seal = sealed(&blob).expect("the blob is there");

    // Its name, size and seal are left, but its bytes are lost.
    fs::remove_file(&blob).expect("can be removed");
    let file = fs::File::create(&blob).expect("can be made");
    file.set_len(3 * MEGABYTE as u64).expect("can be made");
    file.set_modified(seal).expect("can be set");
    pull("second-boot", "two");
    assert_eq!(registry.count(&layer), 2);
    blobs(&user.path("two"));

    // What is right is hashed once, made durable, and does not change.
    let placed = fs::metadata(&blob).expect("the blob is there");
    pull("third-boot", "three");
    pull("fourth-boot", "four");
    assert_eq!(registry.count(&layer), 2);
    let now = fs::metadata(&blob).expect("the blob is there");
    assert_eq!(now.ino(), placed.ino());
    assert_eq!(
        (now.mtime(), now.mtime_nsec()),
        (placed.mtime(), placed.mtime_nsec())
    );
    assert_eq!(
        (now.ctime(), now.ctime_nsec()),
        (placed.ctime(), placed.ctime_nsec())
    );
    let durable = fs::read_to_string(user.path("store/sealed/durable")).expect("there");
    assert!(durable.lines().any(|line| line == layer), "{durable}");
}

/// Builds a layout; returns how many actions made one, and whose digests of blobs Bazel computed.
fn build(workspace: &Workspace) -> (usize, Vec<String>) {
    let profile = workspace.directory().join("profile.json");
    let run = workspace.succeed(&[
        "build",
        "//:image_layout",
        "--noslim_profile",
        "--record_full_profiler_data",
        &format!("--profile={}", profile.display()),
    ]);
    let profile = fs::read(&profile).expect("Bazel writes it");
    let profile: Value = serde_json::from_slice(&profile).expect("a profile is JSON");
    let events = profile["traceEvents"].as_array().expect("it has events");
    let is_digest = |event: &&Value| {
        let category = event["cat"].as_str().unwrap_or_default().to_lowercase();
        category.contains("md5") || category.contains("digest")
    };
    let names = events
        .iter()
        .filter(is_digest)
        .map(|event| text(&event["name"]).to_owned());
    let blobs = names.filter(|name| name.contains("/blobs/sha256/"));
    (run.count("OCILayout"), blobs.collect())
}

#[test]
fn nothing_that_others_do_makes_a_workspace_fetch_or_hash_again() {
    let scratch = scratch();
    nothing_is_fetched_or_hashed_again(scratch.path());
}

/// With workspaces and a store in a directory.
pub(super) fn nothing_is_fetched_or_hashed_again(directory: &Path) {
    let mut images = Images::default();
    let digest = images.add_image("base", &[8_000_001, 5_000_002, 1_003]);
    let registry = Registry::with(images);
    let image = format!("{}/base", registry.host());
    let values = [("IMAGE", image.as_str()), ("DIGEST", digest.as_str())];
    let make = |name: &str| {
        let directory = directory.join(name);
        fs::create_dir(&directory).expect("can be made");
        Workspace::in_directory(&directory, Bazel::Debian, "demo", &values)
    };
    let workspace = make("first");
    let (layouts, hashed) = build(&workspace);
    assert_eq!(layouts, 1);
    assert!(
        !hashed.is_empty(),
        "a server that has just started knows no digest"
    );
    let (layouts, hashed) = build(&workspace);
    assert_eq!((layouts, hashed), (0, Vec::new()));
    let asked = registry.requests().len();

    let store = workspace.directory().join("store").display().to_string();
    let mut second = make("second");
    second.share(workspace.directory());
    second.set_env("OCI_PULL_ALL_STORE", Some(&store));
    assert_eq!(build(&second).0, 1);
    let user = new_user();
    let boot = user.path("next-boot");
    fs::write(&boot, "next-boot\n").expect("can be written");
    let mounts = [
        "--ro-bind",
        &boot.display().to_string(),
        "/proc/sys/kernel/random/boot_id",
    ];
    let reference = format!("{image}@{digest}");
    let pull = ["pull", &reference, "--output", "out", "--store", &store];
    run_mounted(&user, &mounts, &pull).succeeded();
    for command in [
        &["store", "verify", "--store", &store][..],
        &["store", "prune", "--max-size", "0", "--store", &store][..],
    ] {
        run_mounted(&user, &mounts, command).succeeded();
    }
    assert_eq!(registry.requests().len(), asked);
    for workspace in [&workspace, &second] {
        assert_eq!(build(workspace), (0, Vec::new()));
        workspace.succeed(&["shutdown"]);
    }
    assert_eq!(registry.requests().len(), asked);
}
