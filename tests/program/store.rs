//! The store under bad disks, crowds and kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use oci_pull_all_support::{
    Answer, Content, End, Faulty, Flow, Mounts, Ran, Seen, User, blobs, digest, noise, skip, text,
};
use serde_json::{Value, json};

use crate::new_user;

const MEGABYTE: usize = 1 << 20;

fn image() -> Content {
    Content::image(&[noise(1, 3 * MEGABYTE), noise(2, 2000)])
}

fn serve(content: &Content) -> (Faulty, String) {
    let registry = Faulty::good(content.clone());
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
    fs::write(&version, "3\n").expect("can be written");
    user.run(&["pull", &reference, "--output", "two"])
        .failed(&["format version \"3\"", "--store"]);
    assert_eq!(fs::read_to_string(version).expect("there"), "3\n");
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
        .map(|n| Content::image(&[noise(5, 2 * MEGABYTE), noise(100 + n, 2000)]))
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
#[ignore = "it takes half a minute, and a fifth of the work of all tests; e2e/test runs it"]
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
    // Where nothing is kept it is twice the image. What a busy machine had sent and not yet received is lost.
    let sent = registry.sent();
    assert!(
        sent < (image + image / 2) as u64,
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

/// What a build sees of the blobs of an output: of each file the inode, and when it and its status were changed.
fn seen_by_a_build(output: &Path) -> BTreeMap<String, (u64, i64, i64, i64, i64)> {
    let directory = output.join("blobs/sha256");
    let names = blobs(output).into_iter();
    names
        .map(|name| {
            let file = fs::metadata(directory.join(&name)).expect("there");
            let times = (
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            );
            let (mtime, mtime_nsec, ctime, ctime_nsec) = times;
            assert_eq!(file.mode() & 0o222, 0, "{name} is read-only");
            (name, (file.ino(), mtime, mtime_nsec, ctime, ctime_nsec))
        })
        .collect()
}

/// Of each blob of an output the inode, and when it was changed.
fn files(output: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let seen = seen_by_a_build(output).into_iter();
    seen.map(|(name, (inode, seconds, rest, _, _))| (name, (inode, seconds, rest)))
        .collect()
}

fn inodes(output: &Path) -> BTreeSet<u64> {
    seen_by_a_build(output)
        .values()
        .map(|seen| seen.0)
        .collect()
}

fn blob(user: &User, store: &str, digest: &str) -> PathBuf {
    user.path(store)
        .join("blobs")
        .join(digest.replace(':', "/"))
}

#[test]
fn what_is_placed_never_changes() {
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let pull = |output: &str| {
        user.run(&["pull", &reference, "--output", output, "--store", "store"])
            .succeeded()
    };
    pull("one");
    let one = seen_by_a_build(&user.path("one"));
    pull("two");
    pull("one");
    let two = seen_by_a_build(&user.path("two"));
    assert_eq!(
        inodes(&user.path("one"))
            .intersection(&inodes(&user.path("two")))
            .count(),
        0
    );
    pull("three");
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
    user.run(&["store", "prune", "--max-size", "0", "--store", "store"])
        .succeeded();
    pull("four");
    assert_eq!(seen_by_a_build(&user.path("one")), one);
    assert_eq!(seen_by_a_build(&user.path("two")), two);

    // The store's own time of a blob was changed: that is mended beside the file that outputs have.
    let layer = blob(&user, "store", &content.layers[0]);
    let file = File::open(&layer).expect("there");
    file.set_modified(SystemTime::now()).expect("can be set");
    let one = files(&user.path("one"));
    pull("five");
    pull("six");
    assert_eq!(files(&user.path("one")), one);
}

#[test]
fn who_pulls_chooses_how_blobs_are_placed() {
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let pull = |output: &str, placement: &str| {
        let arguments = ["pull", &reference, "--output", output, "--store", "store"];
        user.run_with(&[("OCI_PULL_ALL_PLACEMENT", placement)], &arguments)
            .succeeded();
        inodes(&user.path(output))
    };
    let of_the_store =
        |inodes: &BTreeSet<u64>| inodes.intersection(&inodes_of_store(&user)).count();
    assert_eq!(of_the_store(&pull("copy", "copy")), 0);
    let reflinks = reflinks(&user.path("store"));
    let large = usize::from(!reflinks);
    let linked = pull("link", "link");
    assert_eq!(
        of_the_store(&linked),
        large,
        "the large layer alone is linked"
    );
    let again = pull("again", "link");
    assert_eq!(linked.intersection(&again).count(), large);
    assert_eq!(
        of_the_store(&pull("auto", "auto")),
        0,
        "others have the file"
    );
    for output in ["link", "again"] {
        fs::remove_dir_all(user.path(output)).expect("can be removed");
    }
    assert_eq!(of_the_store(&pull("alone", "auto")), large);
}

fn inodes_of_store(user: &User) -> BTreeSet<u64> {
    inodes(&user.path("store"))
}

/// Whether the file system of a directory has reflinks.
fn reflinks(directory: &Path) -> bool {
    let [from, to] = ["from", "to"].map(|name| directory.join(name));
    fs::write(&from, "bytes").expect("can be written");
    let copied = Command::new("cp")
        .arg("--reflink=always")
        .args([&from, &to])
        .output()
        .expect("can be run");
    let _ = fs::remove_file(to);
    fs::remove_file(from).expect("there");
    copied.status.success()
}

#[test]
fn a_store_of_the_version_before_is_taken_over() {
    let content = image();
    let (registry, reference) = serve(&content);
    let user = new_user();
    let pull = |output: &str| {
        user.run(&["pull", &reference, "--output", output, "--store", "store"])
            .succeeded();
    };
    pull("one");
    // Version 1 had no lists, and another time for what was verified since the boot.
    fs::write(user.path("store/version"), "1\n").expect("can be written");
    fs::remove_dir_all(user.path("store/sealed")).expect("there");
    fs::remove_dir_all(user.path("store/used")).expect("there");
    let layer = blob(&user, "store", &content.layers[0]);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_100_000_000);
    File::open(&layer)
        .and_then(|file| file.set_modified(time))
        .expect("can be set");
    let one = files(&user.path("one"));
    pull("two");
    assert_eq!(files(&user.path("one")), one);
    assert_eq!(registry.count(&content.layers[0]), 1);
    let version = fs::read_to_string(user.path("store/version")).expect("there");
    assert_ne!(version, "1\n");
    let sealed = fs::metadata(&layer).and_then(|file| file.modified());
    assert_ne!(sealed.expect("there"), time);
}

/// As a power loss leaves it.
#[test]
fn a_store_that_has_lost_its_version_is_one() {
    let content = image();
    let (registry, reference) = serve(&content);
    let user = new_user();
    let version = user.path("store/version");
    let pull = |output: &str| {
        let pull = ["pull", &reference, "--output", output, "--store", "store"];
        user.run(&pull).succeeded();
    };
    fs::create_dir(user.path("store")).expect("can be made");
    fs::write(&version, "").expect("can be written");
    pull("one");
    let written = fs::read(&version).expect("there");
    for lost in [&b""[..], b"\0\0"] {
        fs::write(&version, lost).expect("can be written");
        let size = user.run(&["store", "size", "--store", "store"]);
        assert!(size.succeeded().stdout.contains("4 blobs"));
        assert_eq!(fs::read(&version).expect("there"), written);
    }
    fs::write(&version, "").expect("can be written");
    pull("two");
    assert_eq!(registry.count(&content.layers[0]), 1);

    // A file of that name makes nothing else a store.
    fs::write(&version, "").expect("can be written");
    fs::write(user.path("store/index.json"), "{}").expect("can be written");
    for command in [&["size"][..], &["prune", "--max-size", "0"]] {
        let command = [&["store"], command, &["--store", "store"]].concat();
        user.run(&command).failed(&["is not a store of blobs"]);
    }
    assert_eq!(fs::read(&version).expect("there"), b"");
}

#[test]
fn a_directory_with_something_of_somebody_elses_becomes_no_store() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let pull = ["pull", &reference, "--output", "out", "--store", "store"];
    let thesis = user.path("store/thesis");
    fs::create_dir(user.path("store")).expect("can be made");
    fs::write(&thesis, "hi").expect("can be written");
    user.run(&pull)
        .failed(&["store is not a store of blobs", "a new directory"]);
    let left = fs::read_dir(user.path("store")).expect("can be read");
    assert_eq!(left.count(), 1);
    fs::remove_file(thesis).expect("it is there");
    // A file system of its own has that.
    fs::create_dir(user.path("store/lost+found")).expect("can be made");
    user.run(&pull).succeeded();
}

/// A part of a blob would be in the way of the next try.
#[test]
fn a_full_output_has_no_part_of_a_blob() {
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let script = "mkdir t && mount -t tmpfs -o size=2m none t && { \"$@\"; find t -name '.oci-pull-all-*'; }";
    let pull = [
        "pull",
        &reference,
        "--output",
        "t/out",
        "--progress",
        "none",
    ];
    let ran = user.run_by(mounts.shell(script), &pull);
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("oci-pull-all-"), "{}", ran.stdout);
}

/// What the program has open itself is no output.
#[test]
fn a_descriptor_that_was_not_given_is_no_output() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    user.run(&["pull", &reference, "--output", "out"])
        .succeeded();
    for number in 3..9 {
        let output = format!("/dev/fd/{number}");
        user.run(&["store", "export", "--all", "--output", &output])
            .failed(&["cannot write", &output]);
    }
}

/// As CI leaves a variable that nobody has set.
#[test]
fn an_empty_variable_is_as_none() {
    let user = new_user();
    let path = |environment: &[(&str, &str)]| {
        let ran = user.run_with(environment, &["store", "path"]);
        ran.succeeded().stdout
    };
    let usual = path(&[]);
    assert_eq!(path(&[("OCI_PULL_ALL_STORE", "")]), usual);
    assert_ne!(path(&[("OCI_PULL_ALL_STORE", "other")]), usual);

    let (_registry, reference) = serve(&image());
    let empty = [
        "OCI_PULL_ALL_ARGUMENTS",
        "OCI_PULL_ALL_MIRRORS",
        "OCI_PULL_ALL_PLACEMENT",
        "OCI_PULL_ALL_STORE",
        "OCI_PULL_ALL_VERIFY",
        "BUILD_WORKING_DIRECTORY",
    ];
    let empty = empty.map(|name| (name, ""));
    let pull = |environment: &[(&str, &str)]| {
        user.run_with(environment, &["pull", &reference, "--output", "out"])
    };
    pull(&empty).succeeded();
    pull(&[("OCI_PULL_ALL_PLACEMENT", "other")]).failed(&["other"]);
    let absent = ["store", "size", "--store", ""];
    user.run(&absent).failed(&["a value is required"]);
}

#[test]
fn a_new_store_is_its_users_alone() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    user.run(&["pull", &reference, "--output", "out"])
        .succeeded();
    let root = fs::metadata(user.store()).expect("there");
    assert_eq!(root.permissions().mode() & 0o777, 0o700);
}

/// The bytes that are allocated for files below a directory.
fn allocated(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("there");
    let sizes = entries.map(|entry| {
        let path = entry.expect("can be read").path();
        let metadata = fs::symlink_metadata(&path).expect("can be read");
        if metadata.is_dir() {
            allocated(&path)
        } else {
            512 * metadata.blocks()
        }
    });
    sizes.sum()
}

/// A manifest may say of a blob that it takes as much as no disk has, or as this one has left.
#[test]
fn no_room_is_set_aside_for_a_size_that_nobody_confirms() {
    type Spoil = fn(&Seen, Answer) -> Answer;
    let claims = |size: u64, spoil: Spoil| {
        let mut content = Content::default();
        let mut layer = content.add(
            "application/vnd.oci.image.layer.v1.tar",
            noise(30, MEGABYTE),
        );
        layer["size"] = json!(size);
        let name = text(&layer["digest"]).to_owned();
        let content = content.finish(&[layer]);
        let registry = Faulty::start(content.clone(), move |seen, answer| {
            if seen.path.ends_with(&name) {
                spoil(seen, answer)
            } else {
                answer
            }
        });
        let reference = format!("{}/app@{}", registry.host(), content.digest);
        (registry, reference)
    };
    let honest: Spoil = |_, answer| answer;
    let endless: Spoil = |_, mut answer| {
        answer.headers.retain(|(name, _)| name != "Content-Length");
        answer
    };
    let silent: Spoil = |seen, mut answer| {
        answer.headers.retain(|(name, _)| name != "Content-Length");
        if seen.earlier > 0 {
            Answer::new(403, "")
        } else {
            answer
        }
    };
    let liar: Spoil = |_, answer| answer.header("Content-Length", "1099511627776000");
    for (size, answer, problem) in [
        (
            1 << 30,
            honest,
            "announces 1048576 bytes where there should be 1073741824, by the size that the manifest says",
        ),
        (1 << 40, honest, "bytes where there should be 1099511627776"),
        (
            i64::MAX.unsigned_abs(),
            honest,
            "bytes where there should be 9223372036854775807",
        ),
        (1 << 40, silent, "403"),
        (
            100,
            honest,
            "announces 1048576 bytes where there should be 100,",
        ),
        (
            100,
            endless,
            "bytes where there should be 100, by the size that the manifest says",
        ),
        (
            0,
            honest,
            "announces 1048576 bytes where there should be 0,",
        ),
        (
            0,
            endless,
            "bytes where there should be 0, by the size that the manifest says",
        ),
        (
            1_099_511_627_776_000,
            liar,
            "which has 1099511627776000 bytes: make room there",
        ),
    ] {
        let (_registry, reference) = claims(size, answer);
        let stores = [(&["--store", "store"][..], "set OCI_PULL_ALL_STORE")];
        for (store, place) in stores
            .into_iter()
            .chain([(&["--no-store"][..], "by --output")])
        {
            let user = new_user();
            let pull = [&["pull", &reference, "--output", "out"][..], store].concat();
            let ran = user.run(&pull);
            let blames_disk = ran.stderr.contains("No space left");
            assert_eq!(blames_disk, problem.contains("room"), "{}", ran.stderr);
            assert_eq!(blames_disk, ran.stderr.contains(place), "{}", ran.stderr);
            ran.failed(&[problem]);
            let root = user.path("store");
            assert!(!root.exists() || allocated(&root.join("ingest")) <= 2 * MEGABYTE as u64);
        }
    }
}

#[test]
fn sizes_that_are_together_more_than_a_number_can_be_are_no_error_of_their_own() {
    let layers: Vec<Value> = (0..3)
        .map(|number| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": i64::MAX,
                "digest": digest(format!("{number}").as_bytes()),
            })
        })
        .collect();
    let (_registry, reference) = serve(&Content::default().finish(&layers));
    let user = new_user();
    user.run(&["pull", &reference, "--output", "out"])
        .failed(&["not found"]);
}

#[test]
fn a_failed_pull_gives_back_the_room_that_it_set_aside() {
    let liar = |came: usize| {
        let mut content = Content::default();
        let mut layer = content.add(
            "application/vnd.oci.image.layer.v1.tar",
            noise(30, 3 * MEGABYTE),
        );
        layer["size"] = json!(200 * MEGABYTE);
        let name = text(&layer["digest"]).to_owned();
        let content = content.finish(&[layer]);
        let registry = Faulty::start(content.clone(), move |seen, answer| {
            if !seen.path.ends_with(&name) {
                return answer;
            }
            if came == 0 || seen.earlier > 0 {
                return Answer::new(403, "");
            }
            let mut answer = Answer::new(200, noise(31, 200 * MEGABYTE));
            answer = answer.cut(came, End::Reset);
            answer
        });
        let reference = format!("{}/app@{}", registry.host(), content.digest);
        (registry, reference)
    };
    let user = new_user();
    let pull = |reference: &str| {
        let arguments = ["pull", reference, "--output", "out", "--store", "store"];
        user.run(&arguments).failed(&["403"]);
        allocated(&user.path("store/ingest"))
    };
    let (_registry, reference) = liar(0);
    assert_eq!(pull(&reference), 0);
    let left = fs::read_dir(user.path("store/ingest/sha256")).expect("there");
    assert_eq!(left.count(), 0);
    let (_registry, reference) = liar(2 * MEGABYTE);
    let left = pull(&reference);
    assert!(left < 4 * MEGABYTE as u64, "{left} bytes");
    let size = user.run(&["store", "size", "--store", "store"]).succeeded();
    assert!(size.stdout.contains("half-written"), "{size:?}");
    let pruned = user.run(&["store", "prune", "--max-size", "0", "--store", "store"]);
    assert!(pruned.succeeded().stdout.contains("half-written"));
    assert_eq!(allocated(&user.path("store/ingest")), 0);
}

#[test]
fn a_killed_copy_leaves_nothing_in_the_next_layout() {
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let arguments = [
        "pull",
        &reference,
        "--output",
        "out",
        "--store",
        "store",
        "--placement",
        "copy",
    ];
    user.run(&arguments).succeeded();
    fs::remove_dir_all(user.path("out")).expect("there");
    // The system would kill who writes a larger file.
    let limited = || {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -c 0; ulimit -f 2048; exec \"$0\" \"$@\""]);
        limited
    };
    if !reflinks(&user.path("store")) {
        let ran = user.run_by(limited(), &arguments);
        assert!(!ran.stderr.contains("the store needs"), "{ran:?}");
        ran.failed(&["cannot place a blob at", "File too large"]);
    }
    fs::remove_dir_all(user.path("store")).expect("there");
    user.run_by(limited(), &arguments)
        .failed(&["store/ingest", "File too large", "ulimit -f"]);
    user.run(&arguments).succeeded();
    fs::write(user.path("out/.oci-pull-all-1"), "").expect("can be written");
    fs::write(user.path("out/blobs/sha256/.oci-pull-all-2"), "cut").expect("can be written");
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(user.path(directory)).expect("there");
        let names = entries.map(|entry| entry.expect("can be read").file_name());
        names
            .map(|name| name.into_string().expect("UTF-8"))
            .collect()
    };
    let is_left = |name: &String| name.starts_with('.');
    user.run(&arguments).succeeded();
    assert_eq!(names("out/blobs/sha256").len(), 4);
    assert!(!names("out").iter().any(is_left));
    user.verify(&user.path("out"));
}

#[test]
fn a_wait_for_another_process_is_told_with_its_number() {
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
    let hear = |mut child: Child, text: &str| {
        let stderr = BufReader::new(child.stderr.take().expect("it is heard"));
        let mut lines = stderr.lines().map(|line| line.expect("UTF-8"));
        let heard = lines.by_ref().find(|line| line.contains(text));
        assert!(heard.is_some(), "it ended without {text:?}");
        thread::spawn(move || lines.count());
        child
    };
    let holder = user.spawn(&["pull", &reference, "--output", "one", "--store", "store"]);
    wait.recv().expect("the holder asks for the layer");
    let process = format!("process {}", holder.id());
    let arguments = ["pull", &reference, "--output", "two", "--store", "store"];
    let pull = hear(user.spawn_heard(&arguments), &process);
    let arguments = ["store", "prune", "--max-size", "0", "--store", "store"];
    let prune = user.spawn_heard(&arguments);
    let prune = hear(prune, "waiting for the process");
    kill(holder);
    all_succeed(vec![pull, prune]);
}

#[test]
fn a_named_pipe_where_a_file_is_to_be_is_an_error() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let pull = || user.run(&["pull", &reference, "--output", "out", "--store", "store"]);
    pull().succeeded();
    for path in ["out/index.json", "store/version", "store/lock"] {
        let there = fs::read(user.path(path)).expect("there");
        fs::remove_file(user.path(path)).expect("there");
        let made = Command::new("mkfifo").arg(user.path(path)).status();
        assert!(made.expect("can be run").success());
        pull().failed(&[path, "not a regular file"]);
        fs::remove_file(user.path(path)).expect("there");
        fs::write(user.path(path), there).expect("can be written");
    }
    pull().succeeded();
}

#[test]
fn a_named_pipe_where_a_directory_is_to_be_is_an_error() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let pull = |options: &[&str]| user.run(&[&["pull", &reference], options].concat());
    pull(&["--output", "out", "--store", "store"]).succeeded();
    let made = Command::new("mkfifo").arg(user.path("pipe")).status();
    assert!(made.expect("can be run").success());
    pull(&["--output", "pipe", "--store", "store"]).failed(&["pipe is not a directory"]);
    pull(&["--output", "out", "--store", "pipe"]).failed(&["pipe", "not a directory"]);
    let files = ["--output", "out", "--files", "pipe", "--store", "store"];
    pull(&[&files[..], &["--summary", "summary"]].concat()).succeeded();
    user.run(&["store", "size", "--store", "pipe"])
        .failed(&["pipe", "ot a directory"]);
    user.run(&["@pipe"])
        .failed(&["cannot read pipe", "not a regular file"]);
}

#[test]
fn an_edit_that_hides_is_found_by_who_verifies() {
    let content = image();
    let (registry, reference) = serve(&content);
    let user = new_user();
    let arguments =
        |output: &'static str| ["pull", &reference, "--output", output, "--store", "store"];
    user.run(&arguments("one")).succeeded();
    let layer = content.layers[0].clone();
    let path = blob(&user, "store", &layer);
    let spoil = || {
        let time = fs::metadata(&path)
            .and_then(|file| file.modified())
            .expect("there");
        let mut bytes = fs::read(&path).expect("there");
        bytes[1_000_000] ^= 1;
        fs::remove_file(&path).expect("there");
        fs::write(&path, bytes).expect("can be written");
        let file = File::options().write(true).open(&path).expect("there");
        file.set_modified(time).expect("can be set");
    };
    spoil();
    user.run_with(&[("OCI_PULL_ALL_VERIFY", "0")], &arguments("trusting"))
        .succeeded();
    assert_eq!(registry.count(&layer), 1);
    user.run_with(&[("OCI_PULL_ALL_VERIFY", "1")], &arguments("wary"))
        .succeeded();
    assert_eq!(registry.count(&layer), 2);
    assert_eq!(blobs(&user.path("wary")).len(), 4);

    spoil();
    let link = user.path("a-layout");
    fs::hard_link(&path, &link).expect("can be made");
    user.run(&["store", "verify", "--store", "store"])
        .failed(&[&layer, "altered", "pulled again"]);
    assert!(!path.exists());
    user.run(&["store", "verify", "--store", "store"])
        .succeeded();
    // What is no file is no blob, and in the way of the next pull.
    let theirs = user.path("theirs");
    fs::write(&theirs, "theirs").expect("can be written");
    let no_files: [fn(&Path); 4] = [
        |path| symlink("nowhere", path).expect("can be made"),
        |path| symlink("../../../theirs", path).expect("can be made"),
        |path| fs::create_dir(path).expect("can be made"),
        |path| drop(UnixListener::bind(path).expect("can be made")),
    ];
    for make in no_files {
        make(&path);
        user.run(&["store", "verify", "--store", "store"])
            .failed(&[&layer, "it is no file, so it was removed"]);
        user.run(&["store", "verify", "--store", "store"])
            .succeeded();
    }
    assert_eq!(fs::read_to_string(theirs).expect("there"), "theirs");
}

/// Somebody whom the system refuses what root may do.
struct Ordinary {
    _program: tempfile::TempDir,
    user: User,
}

impl Ordinary {
    fn new() -> Self {
        let program = tempfile::tempdir().expect("can be made");
        let user = User::of(copy_into(program.path(), new_user().program()));
        for directory in [program.path(), user.home()] {
            set_mode(directory, 0o777);
        }
        Ordinary {
            _program: program,
            user,
        }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        if fs::metadata("/proc/self").expect("there").uid() != 0 {
            return self.user.run(arguments);
        }
        let mut by = Command::new("setpriv");
        by.args(["--reuid=4242", "--regid=4242", "--clear-groups"]);
        self.user.run_by(by, arguments)
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("there");
}

#[test]
fn what_cannot_be_read_keeps_nobody_from_the_rest() {
    let layers: Vec<_> = (0..6).map(|n| noise(20 + n, 2000)).collect();
    let content = Content::image(&layers);
    let (_registry, reference) = serve(&content);
    let other = Ordinary::new();
    let run = |arguments: &[&str]| other.run(&[arguments, &["--store", "s"]].concat());
    let pull = || run(&["pull", &reference, "--output", "out"]);
    pull().succeeded();
    let layers = &content.layers;
    let path = |digest: &str| blob(&other.user, "s", digest);
    let spoil = |digest: &str| {
        fs::remove_file(path(digest)).expect("there");
        fs::write(path(digest), "spoilt").expect("can be written");
    };
    let unreadable = [&*layers[0], &*layers[1]];
    for digest in unreadable {
        set_mode(&path(digest), 0);
    }
    run(&["store", "size"]).succeeded();
    let export = ["store", "export", "--all", "--output", "all.tar"];
    let told = [unreadable[0], unreadable[1], "let it be read"];
    run(&export).failed(&told.map(|told| told.trim_start_matches("sha256:")));
    pull().failed(&["cannot open", "let it be read", "Permission denied"]);

    spoil(&layers[2]);
    spoil(&layers[3]);
    let pipe = path(&layers[4]);
    fs::remove_file(&pipe).expect("there");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("can be run").success());
    let directory = path(&layers[5]);
    fs::remove_file(&directory).expect("there");
    fs::create_dir(&directory).expect("can be made");
    fs::write(directory.join("theirs"), "theirs").expect("can be written");
    let names = layers.iter().map(|digest| &digest["sha256:".len()..]);
    let names: Vec<&str> = names.chain(["let it be read", "move away"]).collect();
    run(&["store", "verify"]).failed(&names);
    assert!([&layers[2], &layers[3], &layers[4]].iter().all(|digest| {
        // A link or a pipe too.
        fs::symlink_metadata(path(digest)).is_err()
    }));
    assert!(directory.join("theirs").exists());
    let ran = run(&["store", "verify"]);
    assert!(!ran.stderr.contains("removed"), "{}", ran.stderr);
    ran.failed(
        &[unreadable[0], unreadable[1], &layers[5]].map(|digest| &digest["sha256:".len()..]),
    );

    fs::remove_dir_all(&directory).expect("ours");
    for digest in unreadable {
        set_mode(&path(digest), 0o444);
    }
    let blobs = other.user.path("s/blobs/sha256");
    set_mode(&blobs, 0o555);
    run(&["store", "prune", "--max-size", "0"]).failed(&[
        &unreadable[0]["sha256:".len()..],
        &unreadable[1]["sha256:".len()..],
        "let the directory that it is in be written",
    ]);
    set_mode(&blobs, 0);
    for command in [&["store", "size"][..], &["store", "verify"], &export] {
        run(command).failed(&["cannot list", "s/blobs/sha256", "let it be read"]);
    }
    set_mode(&blobs, 0o755);
    pull().succeeded();
    set_mode(&other.user.path("s/lock"), 0);
    run(&["store", "size"]).failed(&["s/lock", "let it be read"]);
    set_mode(&other.user.path("s"), 0);
    pull().failed(&["s/version", "let it be read"]);
    run(&["store", "size"]).failed(&["s/version", "let it be read"]);

    let more = other.user.path("out/blobs/sha512");
    fs::create_dir(&more).expect("can be made");
    other.run(&["verify", "out"]).succeeded();
    set_mode(&more, 0);
    other
        .run(&["verify", "out"])
        .failed(&["blobs/sha512: cannot be read: Permission denied"]);
}

#[test]
fn what_a_link_leads_to_is_not_removed() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    user.run(&["pull", &reference, "--output", "out", "--store", "s"])
        .succeeded();
    let name = "a".repeat(64);
    fs::create_dir(user.path("theirs")).expect("can be made");
    fs::write(user.path("theirs").join(&name), "theirs").expect("can be written");
    for directory in ["blobs", "ingest"] {
        let directory = user.path("s").join(directory);
        fs::create_dir_all(&directory).expect("can be made");
        let _ = fs::remove_dir_all(directory.join("sha256"));
        symlink("../../theirs", directory.join("sha256")).expect("can be made");
    }
    for command in [
        &["store", "verify"][..],
        &["store", "prune", "--max-size", "0"],
    ] {
        user.run(&[command, &["--store", "s"]].concat()).failed(&[
            "s/blobs/sha256",
            "is not a directory, nor may it be a link to one",
        ]);
    }
    assert!(user.path("theirs").join(&name).exists());
}

/// Copies the program. Another process does: a child that some other test starts just then holds open what this process writes,
/// and what is open for writing cannot be run.
fn copy_into(directory: &Path, program: &Path) -> PathBuf {
    let copied = Command::new("cp").args([program, directory]).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp");
    directory.join(program.file_name().expect("it has a name"))
}

#[test]
fn few_open_files_or_threads_are_an_error_that_says_so() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let arguments = ["pull", &reference, "--output", "out", "--store", "store"];
    let limited = |limit: &str| {
        let mut shell = Command::new("sh");
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script]);
        user.run_by(shell, &arguments)
    };
    limited("-n 20").failed(&["open files are needed", "ulimit -n"]);
    // A soft limit is raised.
    limited("-S -n 20").succeeded();

    // The system does not limit root, so somebody else runs it.
    let program = tempfile::tempdir().expect("can be made");
    let copy = copy_into(program.path(), user.program());
    let user = User::of(&copy);
    for directory in [program.path(), user.home()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("ours");
    }
    for arguments in [&arguments[..], &["resolve", "localhost:1/app:tag"]] {
        let mut limited = Command::new("prlimit");
        // Threads need memory, too: the system does not tell which of the two it is that lacks.
        limited.args(["--nproc=1", "--as=17179869184"]);
        if fs::metadata("/proc/self").expect("there").uid() == 0 {
            // Of whom no other test has a process, which would count.
            let user = 10_000 + std::process::id() % 50_000;
            let [user, group] = ["reuid", "regid"].map(|what| format!("--{what}={user}"));
            limited.args(["setpriv", &user, &group, "--clear-groups"]);
        }
        user.run_by(limited, arguments).failed(&[
            "threads are needed",
            "ulimit -u, ulimit -v",
            "container",
        ]);
    }
}

#[test]
fn a_store_that_others_own_is_read() {
    if fs::metadata("/proc/self").expect("there").uid() != 0 {
        return skip("needs root, to own what another user may only read");
    }
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let pull = ["pull", &reference, "--output", "out", "--store", "store"];
    user.run(&pull).succeeded();
    let program = tempfile::tempdir().expect("can be made");
    let copy = copy_into(program.path(), user.program());
    let all = fs::Permissions::from_mode(0o755);
    for directory in [program.path(), user.home(), &user.path("store")] {
        fs::set_permissions(directory, all.clone()).expect("ours");
    }
    let other = User::of(&copy);
    fs::set_permissions(other.home(), fs::Permissions::from_mode(0o777)).expect("ours");
    let run = |arguments: &[&str]| {
        let mut by = Command::new("setpriv");
        by.args(["--reuid=4242", "--regid=4242", "--clear-groups"]);
        let store = user.path("store").display().to_string();
        other.run_by(by, &[arguments, &["--store", &store]].concat())
    };
    run(&["store", "size"]).succeeded();
    run(&["store", "verify"]).succeeded();
    run(&["store", "export", "--all", "--output", "all.tar"]).succeeded();
    run(&["pull", &reference, "--output", "out"]).succeeded();
    assert_eq!(blobs(&other.path("out")).len(), 4);
    let more = Content::image(&[noise(7, 2000)]);
    let (_registry, reference) = serve(&more);
    run(&["pull", &reference, "--output", "more"]).failed(&[
        "which the store needs: let it be written",
        "Permission denied",
    ]);
}

#[test]
fn a_store_on_a_medium_that_is_read_only_is_read() {
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let content = image();
    let (_registry, reference) = serve(&content);
    let user = new_user();
    let pull = ["pull", &reference, "--output", "out", "--store", "store"];
    user.run(&pull).succeeded();
    let run = |arguments: &[&str]| {
        let read_only = "mount --bind store store && mount -o remount,bind,ro store";
        let by = mounts.within(read_only);
        user.run_by(by, &[arguments, &["--store", "store"]].concat())
    };
    run(&["store", "size"]).succeeded();
    run(&["store", "verify"]).succeeded();
    run(&["store", "export", "--all", "--output", "all.tar"]).succeeded();
    run(&["pull", &reference, "--output", "other"]).succeeded();
    assert_eq!(blobs(&user.path("other")).len(), 4);
    let more = Content::image(&[noise(7, 2000)]);
    let (_registry, reference) = serve(&more);
    for (arguments, told) in [
        (
            &["pull", &reference, "--output", "more"][..],
            "which the store needs: let it be written",
        ),
        (
            &["store", "prune", "--max-size", "0"],
            "let the directory that it is in be written",
        ),
    ] {
        run(arguments).failed(&[told, "Read-only file system"]);
    }
}

#[test]
fn a_store_is_no_output() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let pull = |options: &[&str]| {
        let pull = ["pull", &reference, "--store", "s"];
        user.run(&[&pull, options].concat())
    };
    let told = ["is in the store ", "name a place elsewhere"];
    pull(&["--output", "./s/"]).failed(&told);
    assert!(!user.path("s").exists());
    pull(&["--output", "out"]).succeeded();
    symlink("s", user.path("link")).expect("can be made");
    symlink("s/version", user.path("file")).expect("can be made");
    let digest = reference.split_once('@').expect("it has a digest").1;
    let root = format!("s/blobs/{}", digest.replace(':', "/"));
    for place in ["link", "s/blobs", "s/new/layout", "link/blobs/../new"] {
        pull(&["--output", place]).failed(&told);
        pull(&["--output", "more", "--files", place]).failed(&told);
    }
    for place in ["s/version", "file", "s/new", &root] {
        pull(&["--output", "more", "--summary", place]).failed(&told);
        let export = ["store", "export", &reference, "--store", "s", "--output"];
        user.run(&[&export[..], &[place]].concat()).failed(&told);
    }
    assert!(!user.path("more").exists());
    user.run(&["store", "verify", "--store", "s"]).succeeded();
    pull(&["--output", "more"]).succeeded();
}

#[test]
fn a_summary_that_is_the_output_is_told_before_anything_is_fetched() {
    let (registry, reference) = serve(&image());
    let user = new_user();
    for (output, summary, told) in [
        ("one", "one", "one and one are one file"),
        ("one", "./one", "one and ./one are one file"),
        ("one/below", "one", "one/below is in one"),
    ] {
        user.run(&["pull", &reference, "--output", output, "--summary", summary])
            .failed(&[told]);
        assert!(!user.path("one").exists());
    }
    assert!(registry.seen().is_empty());
}

#[test]
fn a_variable_that_turns_something_on_says_so_or_is_an_error() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let pull = |value: &str| {
        let pull = ["pull", &reference, "--output", "out"];
        user.run_with(&[("OCI_PULL_ALL_VERIFY", value)], &pull)
    };
    for value in ["", "0", "No", "false", "off", "1", "yes", "TRUE", "on"] {
        pull(value).succeeded();
    }
    for value in ["banana", "2", " "] {
        pull(value).failed(&["OCI_PULL_ALL_VERIFY is 1, true, yes or on"]);
    }
}

#[test]
fn a_document_that_rotted_is_told_as_that() {
    let content = image();
    let (registry, reference) = serve(&content);
    let user = new_user();
    let pull = |output: &str| user.run(&["pull", &reference, "--output", output, "--store", "s"]);
    pull("one").succeeded();
    let export = || {
        user.run(&[
            "store", "export", "--all", "--store", "s", "--output", "tar",
        ])
    };
    let manifest = fs::read(blob(&user, "s", &content.digest)).expect("there");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = text(&manifest["config"]["digest"]).to_owned();
    let spoil = |digest: &str, keep: bool| {
        let path = blob(&user, "s", digest);
        let time = fs::metadata(&path).and_then(|file| file.modified());
        let mut bytes = fs::read(&path).expect("there");
        bytes[0] ^= 1;
        fs::remove_file(&path).expect("there");
        fs::write(&path, bytes).expect("can be written");
        if keep {
            let file = File::options().write(true).open(&path).expect("there");
            file.set_modified(time.expect("there")).expect("can be set");
        }
    };
    let lost = |digest: &str| format!("the store has lost the blob {digest}");
    spoil(&config, true);
    pull("two").failed(&[&lost(&config), "store verify"]);
    pull("two").succeeded();
    // A manifest comes again at once.
    spoil(&content.digest, true);
    let before = registry.count(&content.digest);
    pull("three").succeeded();
    assert_eq!(registry.count(&content.digest), before + 1);
    user.verify(&user.path("three"));

    spoil(&config, false);
    export().failed(&[&lost(&config), "Pull its image again"]);
    export().succeeded();
    spoil(&content.layers[0], true);
    export().failed(&[&lost(&content.layers[0]), "store verify"]);
}

#[test]
fn what_the_store_cannot_do_is_told_of_the_path_that_it_is() {
    let (_registry, reference) = serve(&image());
    let user = new_user();
    let pull = || user.run(&["pull", &reference, "--output", "out", "--store", "s"]);
    pull().succeeded();
    fs::remove_dir_all(user.path("s/sealed")).expect("there");
    fs::remove_dir_all(user.path("s/blobs")).expect("there");
    fs::write(user.path("s/sealed"), "").expect("can be written");
    pull().failed(&["s/sealed", "put right what is there"]);
}
