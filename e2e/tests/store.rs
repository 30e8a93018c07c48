//! The store under bad disks, crowds and kills.

use std::fs;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use oci_pull_all_e2e::faulty::{Content, End, Faulty, noise};
use oci_pull_all_e2e::user::{User, blobs};

const MEGABYTE: usize = 1 << 20;

fn image() -> Content {
    Content::image(&[noise(1, 3 * MEGABYTE), noise(2, 1000)])
}

fn serve(content: &Content) -> (Faulty, String) {
    let registry = Faulty::start(content.clone(), |_, answer| answer);
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    (registry, reference)
}

fn all_succeed(pulls: Vec<Child>) {
    for mut pull in pulls {
        assert!(pull.wait().expect("can be waited for").success());
    }
}

fn kill(mut pull: Child) {
    pull.kill().expect("can be killed");
    pull.wait().expect("can be waited for");
}

#[test]
fn a_full_disk_is_named() {
    let (_registry, reference) = serve(&image());
    let user = User::new();
    let disk = user.path("disk");
    fs::create_dir(&disk).expect("can be made");
    let disk = disk.display().to_string();
    let mounts = ["--size", "1000000", "--tmpfs", &disk];
    user.run_mounted(
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
    user.run_mounted(
        &mounts,
        &["pull", &reference, "--output", &format!("{disk}/out")],
    )
    .failed(&[&disk, "No space left"]);
    assert!(!user.path("out/index.json").exists());
    user.run(&["store", "verify"]).succeeded();
}

#[test]
fn a_store_on_another_file_system_is_copied_from() {
    let (_registry, reference) = serve(&image());
    let user = User::new();
    let disk = user.path("disk");
    fs::create_dir(&disk).expect("can be made");
    let disk = disk.display().to_string();
    let store = format!("{disk}/store");
    user.run_mounted(
        &["--tmpfs", &disk],
        &["pull", &reference, "--output", "out", "--store", &store],
    )
    .succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 4);
}

#[test]
fn a_read_only_store_is_named() {
    let (_registry, reference) = serve(&image());
    let user = User::new();
    let store = user.path("store");
    fs::create_dir(&store).expect("can be made");
    let store = store.display().to_string();
    user.run_mounted(
        &["--ro-bind", &store, &store],
        &["pull", &reference, "--output", "out", "--store", &store],
    )
    .failed(&[&store, "Read-only file system"]);
    assert!(!user.path("out/index.json").exists());
}

#[test]
fn a_newer_store_is_left_alone() {
    let (_registry, reference) = serve(&image());
    let user = User::new();
    user.run(&["pull", &reference, "--output", "one"])
        .succeeded();
    let version = user.store().join("version");
    fs::write(&version, "2\n").expect("can be written");
    user.run(&["pull", &reference, "--output", "two"])
        .failed(&["format version \"2\"", "--store"]);
    assert_eq!(fs::read_to_string(version).expect("there"), "2\n");
}

#[test]
fn a_crowd_fetches_each_blob_once() {
    let shared = noise(3, 2 * MEGABYTE);
    let same = Content::image(&[shared.clone(), noise(4, MEGABYTE)]);
    let (registry, reference) = serve(&same);
    let user = User::new();
    let pulls: Vec<_> = (0..8)
        .map(|n| {
            user.spawn(&[
                "pull",
                &reference,
                "--output",
                &format!("out{n}"),
                "--store",
                "store",
            ])
        })
        .collect();
    all_succeed(pulls);
    for layer in &same.layers {
        assert_eq!(registry.count(layer), 1);
    }
    for n in 0..8 {
        assert_eq!(blobs(&user.path(&format!("out{n}"))).len(), 4);
    }

    let different: Vec<_> = (0..8)
        .map(|n| Content::image(&[noise(5, 2 * MEGABYTE), noise(100 + n, 1000)]))
        .collect();
    let served: Vec<_> = different.iter().map(serve).collect();
    let pulls: Vec<_> = served
        .iter()
        .enumerate()
        .map(|(n, (_, reference))| {
            user.spawn(&[
                "pull",
                reference,
                "--output",
                &format!("other{n}"),
                "--store",
                "store",
            ])
        })
        .collect();
    all_succeed(pulls);
    let common = &different[0].layers[0];
    let fetched: usize = served
        .iter()
        .map(|(registry, _)| registry.count(common))
        .sum();
    assert_eq!(fetched, 1, "the layer that all share crosses the wire once");
}

#[test]
fn a_killed_holder_blocks_nobody() {
    let content = image();
    let layer = content.layers[0].clone();
    let (reached, wait) = mpsc::channel();
    let registry = Faulty::start(content.clone(), move |seen, answer| {
        if seen.path.ends_with(&layer) && seen.earlier == 0 {
            reached.send(()).expect("the test waits");
            return answer.cut(MEGABYTE, End::Stall);
        }
        answer
    });
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    let user = User::new();
    let holder = user.spawn(&["pull", &reference, "--output", "one", "--store", "store"]);
    wait.recv().expect("the holder asks for the layer");
    let second = user.spawn(&["pull", &reference, "--output", "two", "--store", "store"]);
    kill(holder);
    all_succeed(vec![second]);
    assert_eq!(blobs(&user.path("two")).len(), 4);
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
}

#[test]
fn kills_at_any_moment_leave_no_wrong_blob() {
    const KILLS: usize = 200;
    let layers: Vec<_> = (0..4).map(|n| noise(10 + n, 2 * MEGABYTE)).collect();
    let content = Content::image(&layers);
    // The answer to each pull is cut a little later than the one before, and there the pull is killed.
    let (reached, wait) = mpsc::channel();
    let names = content.layers.clone();
    let kills = AtomicUsize::new(0);
    let registry = Faulty::start(content.clone(), move |seen, answer| {
        if !names.iter().any(|name| seen.path.ends_with(name.as_str())) {
            return answer;
        }
        let kill = kills.fetch_add(1, Ordering::SeqCst);
        let body = answer.body.len();
        let part = if kill < KILLS {
            body.min(4 * 2 * MEGABYTE / KILLS + kill * 97)
        } else {
            body
        };
        if kill >= KILLS {
            return answer;
        }
        let _ = reached.send(());
        answer.cut(part, End::Stall)
    });
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    let user = User::new();
    let arguments = [
        "pull",
        &reference,
        "--output",
        "out",
        "--store",
        "store",
        "--concurrency",
        "1",
    ];
    for _ in 0..KILLS {
        let pull = user.spawn(&arguments);
        let _ = wait.recv();
        kill(pull);
    }
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
    user.run(&arguments).succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 6);
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
}

#[test]
fn what_a_killed_pull_received_is_not_fetched_again() {
    const PART: usize = 300_000;
    let content = Content::image(&[noise(20, 3 * MEGABYTE)]);
    let layer = content.layers[0].clone();
    let ending = layer.clone();
    let registry = Faulty::start(content.clone(), move |seen, answer| {
        if seen.path.ends_with(&ending) && answer.body.len() > PART {
            answer.cut(PART, End::Stall)
        } else {
            answer
        }
    });
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    let user = User::new();
    let arguments = ["pull", &reference, "--output", "out", "--store", "store"];
    let partial = user.path(&format!("store/ingest/{}", layer.replace(':', "/")));
    for round in 1..=10 {
        let mut pull = user.spawn(&arguments);
        while fs::metadata(&partial).map_or(0, |file| file.len()) < (round * PART) as u64 {
            assert!(
                pull.try_wait().expect("can be asked").is_none(),
                "it goes on"
            );
            std::thread::yield_now();
        }
        kill(pull);
    }
    user.run(&arguments).succeeded();
    blobs(&user.path("out"));
    let asked: Vec<_> = registry
        .seen()
        .iter()
        .filter(|seen| seen.path.ends_with(&layer))
        .map(|seen| seen.headers.get("range").cloned().unwrap_or_default())
        .collect();
    let resumed: Vec<_> = (1..=10)
        .map(|kill| format!("bytes={}-", kill * PART))
        .collect();
    assert_eq!(asked[0], "");
    assert_eq!(asked[1..], resumed);
}
