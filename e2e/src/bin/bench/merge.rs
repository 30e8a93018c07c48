//! What it costs in a real Bazel to make a layout, beside other ways to have a base's blobs in a
//! directory.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::bazel::{Bazel, Workspace};
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::make_removable;
use oci_pull_all_e2e::storage::Fill;
use serde_json::Value;

use super::{Bench, GIB, MIB, Spread, mebibytes, remove, run};

const SIZES: [(&str, u64); 3] = [("10 MiB", 10 * MIB), ("1 GiB", GIB), ("5 GiB", 5 * GIB)];
const LAYERS: u64 = 9;
/// How the names of a way's targets begin in the case, and its name in the table; ours is the first.
const WAYS: [(&str, &str); 4] = [
    ("link", "oci_image_layout"),
    ("file", "the same, `blobs = \"file\"`"),
    ("hard_link", "hard links, no sandbox"),
    ("copy", "`cp`, no sandbox"),
];
/// What the case's other ways run.
const UNSANDBOXED: &str = "PlaceBlobs";

/// What one layout cost.
#[derive(Clone, Copy, Debug)]
struct Merge {
    /// The action with its sandbox, in seconds.
    action: f64,
    /// Bazel's look at what the action made, in seconds.
    digests: f64,
    /// The build of it all, in seconds.
    build: f64,
    /// What was not on disk before, in bytes.
    disk: u64,
}

impl Bench {
    /// Compares the ways on small and on large bases.
    pub(super) fn merge(&self) {
        for (name, bytes) in SIZES {
            println!("## A layout on a base of {name} in {LAYERS} layers, in Bazel\n");
            print(&self.merges(bytes, self.rounds.min(3)));
        }
    }

    /// What each way costs, in each round.
    fn merges(&self, bytes: u64, rounds: usize) -> Vec<Vec<Merge>> {
        let layers: Vec<_> = (0..LAYERS).map(|n| bytes / LAYERS + n).collect();
        let (storage, image) = self.image(&layers, Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        let (repository, digest) = image.split_once('@').expect("made with a digest");
        let directory = self.path("merge");
        let values = [
            ("IMAGE", &*format!("{}/{repository}", registry.host())),
            ("DIGEST", digest),
            ("ROUNDS", &(rounds + 1).to_string()),
        ];
        let mut workspace = Workspace::in_directory(&directory, Bazel::Debian, "merge", &values);
        workspace.run_locally(UNSANDBOXED);
        workspace.succeed(&["build", "//:image", "//:known"]);
        drop(registry);
        remove(&storage);

        let base = blocks(&[&directory.join("store"), &workspace.external()]);
        // Asked for once: after `bazel info`, the next build analyzes everything again.
        let outputs = workspace.output("");
        let mut merges = vec![Vec::new(); WAYS.len()];
        for round in 0..=rounds {
            for ((way, _), merges) in WAYS.iter().zip(&mut merges) {
                let target = format!("{way}_{round}");
                if round == 0 {
                    // Its log shows who ran in a sandbox. Bazel reads all outputs again to write one.
                    workspace.succeed(&["build", &format!("//:{target}")]);
                } else {
                    merges.push(measure(&workspace, &outputs, &target, &base));
                }
                let output = outputs.join(&target);
                make_removable(&output);
                remove(&output);
            }
        }
        drop(workspace);
        remove(&directory);
        merges
    }
}

fn measure(
    workspace: &Workspace,
    outputs: &Path,
    target: &str,
    base: &HashMap<(u64, u64), u64>,
) -> Merge {
    let profile = workspace.directory().join("profile.json");
    // What others left to be written must not be charged to this one.
    run(Command::new("sync"));
    let built = workspace.succeed(&[
        "build",
        "--execution_log_json_file=",
        &format!("--profile={}", profile.display()),
        &format!("//:{target}"),
    ]);
    let profile = fs::read(&profile).expect("Bazel writes it");
    let profile: Value = serde_json::from_slice(&profile).expect("a profile is JSON");
    let events = profile["traceEvents"].as_array().expect("it has events");
    let span = |event: &Value| {
        let begin = event["ts"].as_f64()?;
        Some((begin, begin + event["dur"].as_f64()?))
    };
    let label = format!("//:{target}");
    let (begin, end) = events
        .iter()
        .filter(|event| event["cat"] == "action processing")
        .find(|event| {
            event["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(&label))
        })
        .and_then(span)
        .expect("the action ran");
    let within = |name: &str| {
        let named = events.iter().filter(|event| event["name"] == name);
        let inside = named
            .filter_map(span)
            .filter(|(b, e)| begin <= *b && *e <= end);
        inside.map(|(b, e)| (e - b) / 1e6).sum()
    };
    let after = blocks(&[&outputs.join(target)]);
    let new = after.iter().filter(|(inode, _)| !base.contains_key(inode));
    Merge {
        action: within("Action.execute"),
        digests: within("checkOutputs"),
        build: built.wall.as_secs_f64(),
        disk: new.map(|(_, bytes)| bytes).sum(),
    }
}

/// What all below these directories takes on disk, in bytes, by device and inode.
fn blocks(directories: &[&Path]) -> HashMap<(u64, u64), u64> {
    let mut found = HashMap::new();
    let mut left: Vec<_> = directories.iter().map(|path| path.to_path_buf()).collect();
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("can be read");
        found.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("can be read");
            left.extend(entries.map(|entry| entry.expect("can be read").path()));
        }
    }
    found
}

fn print(merges: &[Vec<Merge>]) {
    println!(
        "| | action, ms | Bazel's digests, ms | `bazel build`, s | new on disk, MiB | our action / its | our build / its |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ((_, name), theirs) in WAYS.iter().zip(merges) {
        let ratio = |of: fn(&Merge) -> f64| {
            let pairs = merges[0].iter().zip(theirs);
            Spread::of(pairs.map(|(ours, theirs)| of(ours) / of(theirs)))
        };
        println!(
            "| {name} | {} | {} | {} | {:.2} | {} | {} |",
            Spread::of(theirs.iter().map(|merge| merge.action * 1e3)),
            Spread::of(theirs.iter().map(|merge| merge.digests * 1e3)),
            Spread::of(theirs.iter().map(|merge| merge.build)),
            Spread::of(theirs.iter().map(|merge| mebibytes(merge.disk))).median,
            ratio(|merge| merge.action),
            ratio(|merge| merge.build),
        );
    }
    println!();
}
