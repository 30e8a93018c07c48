//! The README's first command.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::script;

#[test]
fn the_demo_ends_with_the_path_of_a_whole_layout() {
    let demo = |arguments: &[&str]| {
        let output = script("e2e/demo").args(arguments).output();
        let output = output.expect("e2e/demo can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), text, messages)
    };

    let (success, text, messages) = demo(&[]);
    assert!(success, "{text}{messages}");
    let lines: Vec<_> = text.lines().collect();
    let layout = Path::new(lines[lines.len() - 1]);
    let largest = fs::read_dir(layout.join("blobs/sha256"))
        .expect("a layout has blobs")
        .map(|blob| {
            fs::metadata(blob.expect("can be read").path())
                .expect("no link dangles")
                .len()
        })
        .max();
    assert!(largest > Some(50_000_000), "{text}");
    let image = lines
        .iter()
        .position(|line| *line == "$ bazel build //:image")
        .expect("the demo builds it");
    assert!(lines[image + 1].ends_with(": 0 bytes of layers"), "{text}");

    assert!(messages.starts_with("compiling "), "{messages}");
    for line in [
        "the database of vulnerabilities that Trivy is given is made up",
        "  allowed: the database has nothing about debian forky/sid [system-not-covered]",
        "  passed",
    ] {
        assert!(lines.contains(&line), "no {line:?} in {text}");
    }

    let registry = DockerRegistry::with_base_images();
    let digest = registry.digest("library/debian-docker", "stable");
    let image = format!("{}/library/debian-docker", registry.host());
    let (success, text, messages) = demo(&[&format!("{image}@{digest}")]);
    assert!(success, "{text}{messages}");

    let (success, _, messages) = demo(&[&format!("{image}:stable")]);
    assert!(!success && messages.contains("has no digest"), "{messages}");
}
