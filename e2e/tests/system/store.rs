//! The store on disks that are full, read-only or another than its own, after a power loss and after kills.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use oci_pull_all_e2e::bazel::{Bazel, Workspace};
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::{new_user, run_mounted, scratch};
use oci_pull_all_support::{Content, Faulty, Flow, Images, LAYER, Registry, blobs, noise, text};
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

/// What a fetch of a real Bazel does while it may be killed.
enum Event {
    /// It got what it was to get.
    UsedUp,
    /// Bazel has ended.
    Ended,
}

/// As `two_hundred_kills_leave_no_wrong_blob_and_cost_little` of tests/program, with all pulls of a build at once, and with
/// Bazel's server killed together with them each twentieth time.
#[test]
fn killed_fetches_of_bazel_leave_no_wrong_blob_and_cost_little() {
    const KILLS: usize = 60;
    const BASES: usize = 3;
    let sizes = [32, 16].into_iter().chain([8; BASES]);
    let sizes: Vec<usize> = sizes.map(|size| size * MEGABYTE).collect();
    let all: usize = sizes.iter().sum();
    let mut content = Content::default();
    let layers: Vec<Value> = (10..)
        .zip(&sizes)
        .map(|(n, size)| content.add(LAYER, noise(n, *size)))
        .collect();
    let mut digests = Vec::new();
    for own in &layers[2..] {
        content = content.finish(&[layers[0].clone(), layers[1].clone(), own.clone()]);
        digests.push(content.digest.clone());
    }
    let budget = Arc::new(AtomicI64::new(0));
    let (events, happened) = mpsc::channel();
    let flow = {
        let (budget, events) = (Arc::clone(&budget), events.clone());
        Flow::new(move |bytes| {
            thread::sleep(Duration::from_millis(2));
            let bytes = i64::try_from(bytes).expect("a piece is small");
            let left = budget.fetch_sub(bytes, Ordering::SeqCst) - bytes;
            if left <= 0 {
                let _ = events.send(Event::UsedUp);
            }
            left > 0
        })
    };
    let names: Vec<String> = layers
        .iter()
        .map(|layer| text(&layer["digest"]).to_owned())
        .collect();
    let registry = Faulty::start(content, move |seen, answer| {
        if names.iter().any(|name| seen.path.ends_with(name.as_str())) {
            answer.flow(flow.clone())
        } else {
            answer
        }
    });
    let image = format!("{}/base", registry.host());
    let workspace = Workspace::of_bases(&image, &digests);
    let server = workspace.info("output_base").join("server/server.pid.txt");
    let store = workspace.directory().join("store").display().to_string();
    let user = new_user();

    let mean = all / (KILLS + KILLS / 10);
    for (kill, moment) in noise(14, KILLS).into_iter().enumerate() {
        while happened.try_recv().is_ok() {}
        let bytes = 1 + mean * usize::from(moment) / 128;
        budget.store(i64::try_from(bytes).expect("small"), Ordering::SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| {
                let run = workspace.bazel(&["build", "//:all"]);
                events.send(Event::Ended).expect("somebody waits");
                assert!(!run.success, "kill {kill}: {}", run.stderr);
            });
            let mut is_first = true;
            while let Ok(Event::UsedUp) = happened.recv() {
                if is_first && kill % 20 == 19 {
                    let server = fs::read_to_string(&server).expect("it runs");
                    kill_all(&[server]);
                }
                is_first = false;
                kill_all(&processes_with(&image));
            }
            assert!(!is_first, "fetch {kill} was not killed");
        });
    }
    user.run(&["store", "verify", "--store", &store])
        .succeeded();
    budget.store(i64::MAX, Ordering::SeqCst);
    workspace.succeed(&["build", "//:all"]);
    for n in 0..BASES {
        verify(&workspace.output(&format!("layout_{n}")));
    }
    user.run(&["store", "verify", "--store", &store])
        .succeeded();
    let sent = registry.sent();
    assert!(
        sent < (all + all / 2) as u64,
        "{sent} bytes for images of {all}"
    );
}

/// The processes that have this in their arguments.
fn processes_with(word: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there").map_while(Result::ok);
    let has = |process: &fs::DirEntry| {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(word)
    };
    let found = processes.filter(has);
    found
        .map(|process| process.file_name().display().to_string())
        .collect()
}

fn kill_all(processes: &[String]) {
    // Some have ended by themselves.
    let _ = Command::new("kill")
        .arg("-KILL")
        .args(processes.iter().map(|process| process.trim()))
        .stderr(Stdio::null())
        .status();
}
