//! `docs/scanners.md`: its files make a workspace, its commands run in it, and write what it shows.

use std::fs;

use oci_pull_all_e2e::bazel::{Run, Workspace};
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::page::{blocks, write_files};
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::{checkout, scratch};

const IMAGE: &str = "docker.io/library/debian";

/// A line without what differs from run to run: numbers, times and the machine's paths.
fn lasting(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let word = match word.rsplit_once("testlogs/") {
            Some((_, log)) => log,
            None => word.split("@sha256:").next().unwrap_or(word),
        };
        word.trim_end_matches(|c: char| c.is_ascii_digit() || ".,:s".contains(c))
    });
    words
        .filter(|word| !word.is_empty() && !["B", "KiB", "MiB"].contains(word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn shows(block: &str, run: &Run, host: &str) {
    let written: Vec<_> = run
        .stdout
        .lines()
        .chain(run.stderr.lines())
        .map(|line| lasting(&line.replace(host, "docker.io")))
        .collect();
    for line in block.lines().skip(1).filter(|line| !line.is_empty()) {
        assert!(
            written.contains(&lasting(line)),
            "the page shows\n{line}\nbut Bazel wrote\n{}\n{}",
            run.stdout,
            run.stderr
        );
    }
}

#[test]
fn the_page_on_scanners_is_true() {
    let registry = DockerRegistry::with_base_images();
    let page = fs::read_to_string(checkout().join("docs/scanners.md")).expect("can be read");
    let runs: Vec<_> = blocks(&page)
        .into_iter()
        .filter_map(|(language, text)| (language == "console").then_some(text))
        .collect();
    let [fails, passes] = runs[..] else {
        panic!("the page has two runs");
    };

    let files = scratch();
    write_files(&page, files.path());
    let case = files.path().to_str().expect("UTF-8");
    let image = format!("{}/library/debian", registry.host());
    let mut workspace = Workspace::new(case, &[]);
    let edit = |file: &str, from: &str, to: &str| {
        let path = workspace.path(file);
        let text = fs::read_to_string(&path).expect("can be read");
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replace(from, to)).expect("can be written");
    };
    edit("MODULE.bazel", IMAGE, &image);
    let digest = registry.digest("library/debian", "stable");
    edit("MODULE.bazel", "sha256:…", &digest);
    if workspace.provide(&[Peer::Syft]).is_none() {
        return;
    }
    let run = workspace.bazel(&["test", "//..."]);
    assert!(!run.success);
    shows(fails, &run, registry.host());
    let edit = |from: &str, to: &str| {
        let path = workspace.path("BUILD.bazel");
        let text = fs::read_to_string(&path).expect("can be read");
        fs::write(&path, text.replace(from, to)).expect("can be written");
    };
    edit(", \"perl-base\"", "");
    let run = workspace.succeed(&["test", "//..."]);
    shows(passes, &run, registry.host());
}
