//! `docs/other-rulesets.md`: its files make workspaces, in which images of other rulesets are scanned.

use std::fs;

use oci_pull_all_e2e::bazel::{Run, Workspace};
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::page::{blocks, write_files};
use oci_pull_all_e2e::remote::RemoteExecution;
use oci_pull_all_e2e::{checkout, scratch};
use oci_pull_all_support::layout::content;

/// The workspace of one section of the page, on a small stand-in for the ruleset, and its commands.
fn section(ruleset: &str, registry: &DockerRegistry) -> (Workspace, Vec<String>) {
    let page = fs::read_to_string(checkout().join("docs/other-rulesets.md")).expect("can be read");
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with(&format!("bazel-contrib/{ruleset}\n")))
        .expect("the page has that section");
    let digest = registry.digest("library/debian", "stable");
    let section = section
        .replace("sha256:…", &digest)
        .replace("index.docker.io", registry.host())
        .replace("docker.io", registry.host());
    let files = scratch();
    write_files(&section, files.path());
    let rulesets = checkout().join("e2e/cases/rulesets");
    fs::copy(rulesets.join("scan.sh"), files.path().join("scan.sh")).expect("can be copied");
    let workspace = Workspace::new(files.path().to_str().expect("UTF-8"), &[]);

    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "app.txt", &b"app"[..])
        .expect("can be written");
    let archive = archive.into_inner().expect("can be written");
    fs::write(workspace.path("app.tar"), archive).expect("can be written");
    let path = rulesets.join(ruleset);
    workspace.append_rc(&format!(
        "common --override_module={ruleset}={}\n",
        path.display()
    ));
    let commands = blocks(&section)
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("bazel "))
        .map(str::to_owned)
        .collect();
    (workspace, commands)
}

fn run(workspace: &Workspace, command: &str) -> Run {
    workspace.succeed(&command.split(' ').collect::<Vec<_>>())
}

fn passed(run: &Run) -> usize {
    run.stdout.matches(" PASSED in ").count()
}

#[test]
fn an_image_of_rules_oci_stands_on_a_pulled_base_and_is_scanned() {
    let registry = DockerRegistry::with_base_images();
    let (workspace, commands) = section("rules_oci", &registry);
    let [test] = &commands[..] else {
        panic!("the section has one command: {commands:?}");
    };
    let ran = run(&workspace, test);
    assert_eq!(passed(&ran), 2);
    assert_eq!(ran.count("ForeignImage"), 1);
    let base = content(&workspace.output("debian_layout")).1;
    let image = content(&workspace.output("image")).1;
    assert!(base.iter().all(|blob| image.contains(blob)));
    // Another build, in which only the links' way leads to the base.
    workspace.succeed(&["build", "//:debian"]);
    let ran = workspace.succeed(&["test", "--nocache_test_results", "//:scan"]);
    assert_eq!(ran.count("ForeignImage"), 0);
    assert_eq!(passed(&ran), 1);
}

#[test]
fn a_shallow_image_of_rules_img_gets_its_base_on_demand() {
    let mut registry = DockerRegistry::with_base_images();
    let layers = registry.layers(&registry.digest("library/debian", "stable"));
    let (workspace, commands) = section("rules_img", &registry);
    let [build, test] = &commands[..] else {
        panic!("the section has two commands: {commands:?}");
    };
    let ran = run(&workspace, build);
    assert_eq!(registry.layer_bytes(&layers), []);
    assert_eq!(ran.count("OCILayer"), 1);
    let ran = run(&workspace, test);
    assert_eq!(registry.layer_bytes(&layers), layers);
    assert_eq!(ran.count("OCICompleteLayout"), 1);
    assert_eq!(ran.count("OCILayer"), 0, "the image was built twice");
    assert_eq!(passed(&ran), 2);
    let whole = workspace.output("image_layout");
    verify(&whole);
    // The blobs that are links, and those that are not.
    let blobs = |layout: &str| {
        let (links, files): (Vec<_>, Vec<_>) =
            fs::read_dir(workspace.output(layout).join("blobs/sha256"))
                .expect("can be read")
                .map(|blob| blob.expect("can be read").path())
                .partition(|blob| blob.is_symlink());
        (links.len(), files.len())
    };
    assert_eq!(blobs("image_layout"), (2, 3));
    let index = |layout: &str| fs::read(workspace.output(layout).join("index.json")).expect("read");
    assert_eq!(index("image_layout"), index("image_oci_layout"));

    let build_file = workspace.path("BUILD.bazel");
    let before = fs::read_to_string(&build_file).expect("can be read");
    let more = r#"
load("@rules_img//img:image.bzl", "image_index")

image_manifest(name = "arm64", architecture = "arm64", base = "@debian", layers = ["app.tar"], os = "linux")
image_index(name = "index", manifests = ["image", "arm64"])
filegroup(name = "index_without_base", srcs = [":index"], output_group = "oci_layout")
oci_complete_layout(name = "index_layout", layout = ":index_without_base", pulled_base = "@debian_layers")
oci_complete_layout(name = "index_files", blobs = "file", layout = ":index_without_base", pulled_base = "@debian_layers")
oci_complete_layout(name = "of_one_platform", layout = ":index_without_base", pulled_base = ":debian")
oci_complete_layout(name = "shallow", layout = ":index_without_base", pulled_base = "@debian")
"#;
    fs::write(&build_file, before + more).expect("can be written");
    workspace.succeed(&["build", "//:index_layout", "//:index_files"]);
    verify(&workspace.output("index_layout"));
    assert_eq!(blobs("index_layout"), (3, 5));
    assert_eq!(blobs("index_files"), (0, 8));
    assert!(
        content(&workspace.output("index_files")) == content(&workspace.output("index_layout"))
    );
    let messages = workspace.fail(&["build", "//:of_one_platform"]);
    assert!(
        messages.contains("nor among the blobs of the pulled base"),
        "{messages}"
    );
    let messages = workspace.fail(&["build", "//:shallow"]);
    assert!(
        messages.contains(":debian has no layers: name a base"),
        "{messages}"
    );
}

#[test]
fn both_are_scanned_on_a_worker() {
    let registry = DockerRegistry::with_base_images();
    let engine = RemoteExecution::start();
    for ruleset in ["rules_oci", "rules_img"] {
        let (mut workspace, commands) = section(ruleset, &registry);
        workspace.use_remote(&engine);
        let test = commands.last().expect("the section has a command");
        assert_eq!(passed(&run(&workspace, test)), 2);
    }
}
