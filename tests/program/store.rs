//! The store under bad disks, crowds and kills.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Child;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use oci_pull_all_support::{Content, End, Faulty, Flow, blobs, noise};
use serde_json::json;

use crate::new_user;

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
fn no_link_is_followed_when_something_is_written() {
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let elsewhere = user.path("elsewhere");
    let pull = |output: &str, store: &str| {
        user.run(&["pull", &reference, "--output", output, "--store", store])
    };
    let empty = || fs::read_dir(&elsewhere).expect("there").next().is_none();
    fs::create_dir(&elsewhere).expect("can be made");
    for (directory, links) in [
        ("out", ["blobs", "blobs/sha256"]),
        ("in", ["blobs", "ingest"]),
    ] {
        for link in links {
            let place = user.path(&format!("{directory}-{}", link.replace('/', "-")));
            fs::create_dir_all(place.join(link).parent().expect("a directory"))
                .expect("can be made");
            if directory == "in" {
                fs::write(place.join("version"), "1\n").expect("can be written");
            }
            symlink(&elsewhere, place.join(link)).expect("can be made");
            let place = place.display().to_string();
            let ran = match directory {
                "out" => pull(&place, "store"),
                _ => pull("unused", &place),
            };
            ran.failed(&[&format!("{place}/{link}"), "not a directory"]);
            assert!(empty());
        }
    }

    // A file is replaced.
    let theirs = elsewhere.join("theirs");
    fs::write(&theirs, "theirs").expect("can be written");
    fs::create_dir_all(user.path("whole/blobs/sha256")).expect("can be made");
    let layer = content.layers[0].replace(':', "/");
    for file in ["oci-layout", &format!("blobs/{layer}")] {
        symlink(&theirs, user.path("whole").join(file)).expect("can be made");
    }
    pull("whole", "store").succeeded();
    assert_eq!(fs::read_to_string(&theirs).expect("there"), "theirs");
    assert_eq!(blobs(&user.path("whole")).len(), 4);
    let target = user.path("store/ingest").join(&layer);
    fs::remove_file(user.path("store/blobs").join(&layer)).expect("there");
    symlink(&theirs, &target).expect("can be made");
    pull("again", "store").failed(&[&target.display().to_string(), "not a regular file"]);
    assert_eq!(fs::read_to_string(&theirs).expect("there"), "theirs");
}

#[test]
fn a_newer_store_is_left_alone() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
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
    let user = new_user();
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
fn a_crowd_may_share_an_output() {
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let arguments = ["pull", &reference, "--output", "out", "--store", "store"];
    for _ in 0..50 {
        all_succeed((0..4).map(|_| user.spawn(&arguments)).collect());
        assert_eq!(blobs(&user.path("out")).len(), 4);
        fs::remove_dir_all(user.path("out")).expect("can be removed");
    }
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
}

#[test]
fn an_image_that_lies_about_a_size_takes_no_blob_from_others() {
    let honest = image();
    let (registry, reference) = serve(&honest);
    let layer = honest.layers[0].clone();
    let lie = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": layer,
        "size": 20 * MEGABYTE,
    });
    let (_liar, lying) = serve(&Content::default().finish(&[lie]));
    let user = new_user();
    let pull = |reference: &str, output: &str| {
        user.run(&["pull", reference, "--output", output, "--store", "store"])
    };
    pull(&reference, "one").succeeded();
    pull(&lying, "two").failed(&[&layer, "20971520 bytes"]);
    pull(&reference, "three").succeeded();
    assert_eq!(registry.count(&layer), 1);
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
    let user = new_user();
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
fn two_hundred_kills_leave_no_wrong_blob_and_cost_little() {
    const KILLS: usize = 200;
    let sizes = [150, 60, 38, 8].map(|size| size * MEGABYTE);
    let layers: Vec<_> = (10..).zip(sizes).map(|(n, size)| noise(n, size)).collect();
    let image: usize = sizes.iter().sum();
    let content = Content::image(&layers);
    // What the registry sends until the pull is killed; then it says so, and sends no more.
    let budget = Arc::new(AtomicI64::new(0));
    let (used_up, wait) = mpsc::channel();
    let flow = {
        let budget = Arc::clone(&budget);
        Flow::new(move |bytes| {
            thread::sleep(Duration::from_millis(2));
            let bytes = i64::try_from(bytes).expect("a piece is small");
            let before = budget.fetch_sub(bytes, Ordering::SeqCst);
            if (1..=bytes).contains(&before) {
                let _ = used_up.send(());
            }
            before > bytes
        })
    };
    let names = content.layers.clone();
    let registry = Faulty::start(content.clone(), move |seen, answer| {
        if names.iter().any(|name| seen.path.ends_with(name.as_str())) {
            answer.flow(flow.clone())
        } else {
            answer
        }
    });
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    let user = new_user();
    let arguments = ["pull", &reference, "--output", "out", "--store", "store"];
    let mean = image / (KILLS + KILLS / 10);
    let moments = noise(14, KILLS);
    for moment in moments {
        let bytes = 1 + mean * usize::from(moment) / 128;
        budget.store(i64::try_from(bytes).expect("small"), Ordering::SeqCst);
        let pull = user.spawn(&arguments);
        wait.recv().expect("the registry lives");
        kill(pull);
    }
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
    budget.store(i64::MAX, Ordering::SeqCst);
    user.run(&arguments).succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 6);
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
    let sent = registry.sent();
    assert!(
        sent < (image + image / 5) as u64,
        "{sent} bytes for an image of {image}"
    );
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
    let user = new_user();
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
        .map(|kill| format!("bytes={}-{}", kill * PART, 3 * MEGABYTE - 1))
        .collect();
    assert_eq!(asked[0], "");
    assert_eq!(asked[1..], resumed);
}
