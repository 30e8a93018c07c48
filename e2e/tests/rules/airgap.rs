//! Machines without a registry: what another one pulled, fetched or vendored is all that they need.

use std::fs;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::new_user;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_support::layout::content as layout_content;
use oci_pull_all_support::{Ran, Registry, User, blobs};

/// A pull that asks nobody.
fn pull_offline(user: &User, reference: &str, options: &[&str]) -> Ran {
    let arguments = [&["pull", reference, "--output", "offline"], options].concat();
    // No proxy listens there.
    user.run_with(&[("ALL_PROXY", "http://127.0.0.1:1")], &arguments)
}

fn copy(from: &User, to: &User) {
    fs::copy(from.path("blobs.tar"), to.path("blobs.tar")).expect("can be copied");
}

#[test]
fn what_was_exported_is_pulled_without_a_registry_and_read_by_others() {
    let registry = Registry::with_base_images();
    let [debian, docker] = ["debian", "debian-docker"].map(|name| {
        let repository = format!("library/{name}");
        let digest = registry.digest(&repository, "stable");
        format!("{}/{repository}@{digest}", registry.host())
    });
    let (sender, receiver) = (new_user(), new_user());
    let both = [&*debian, &*docker];
    for (image, output) in both.iter().zip(["debian", "docker"]) {
        let pull = ["pull", image, "--output", output];
        sender.run(&pull).succeeded();
    }
    drop(registry);
    let export = [&["store", "export", "--output", "blobs.tar"], &both[..]].concat();
    sender.run(&export).succeeded();
    let bytes = fs::read(sender.path("blobs.tar")).expect("is there");
    sender.run(&export).succeeded();
    assert!(bytes == fs::read(sender.path("blobs.tar")).expect("is there"));

    copy(&sender, &receiver);
    let import = ["store", "import", "blobs.tar"];
    let ran = receiver.run(&import).succeeded();
    assert!(ran.stdout.contains("; 0 were there"), "{}", ran.stdout);
    let ran = pull_offline(&receiver, &debian, &[]).succeeded();
    assert!(ran.stderr.contains("0 B transferred"), "{}", ran.stderr);
    assert!(layout_content(&receiver.path("offline")) == layout_content(&sender.path("debian")));
    let ran = receiver.run(&import).succeeded();
    assert!(ran.stdout.contains("imported 0 blobs"), "{}", ran.stdout);
    receiver.run(&["store", "verify"]).succeeded();

    // The archive is a layout: of two images here, by their names.
    fs::create_dir(receiver.path("layout")).expect("can be made");
    let tar = Command::new("tar")
        .args(["-xf", "blobs.tar", "-C", "layout"])
        .current_dir(receiver.home())
        .status();
    assert!(tar.expect("tar can be run").success());
    verify(&receiver.path("layout"));
    let source = format!("oci-archive:blobs.tar:{debian}");
    let skopeo = Root::get()
        .command(Life::Child, &[receiver.home()], "env")
        .arg(format!("--chdir={}", receiver.home().display()))
        .args(["skopeo", "inspect", "--raw", &source])
        .output()
        .expect("skopeo can be run");
    let raw = String::from_utf8_lossy(&skopeo.stdout);
    assert!(raw.contains("manifests"), "{skopeo:?}");

    // All of a store, one image of which is not whole.
    sender
        .run(&["store", "prune", "--max-size", "0"])
        .succeeded();
    sender.run(&import).succeeded();
    let all = ["store", "export", "--all", "--output", "all.tar"];
    let ran = sender.run(&all).succeeded();
    let size = sender.run(&["store", "size"]).succeeded().stdout;
    assert_eq!(
        ran.stdout.trim_end(),
        format!("exported {}", size.trim_end())
    );
    assert!(
        bytes.len() as u64 <= fs::metadata(sender.path("all.tar")).expect("there").len() + 4096
    );
}

#[test]
fn bazel_builds_on_what_was_imported() {
    let registry = Registry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let debian = format!("{}/library/debian@{digest}", registry.host());
    let user = new_user();
    user.run(&["pull", &debian, "--output", "out"]).succeeded();
    user.run(&["store", "export", "--output", "blobs.tar", &debian])
        .succeeded();
    let workspace = Workspace::demo(&registry);
    drop(registry);
    let store = workspace.directory().join("store").display().to_string();
    user.run(&["store", "import", "blobs.tar", "--store", &store])
        .succeeded();
    workspace.succeed(&["test", "//:scan"]);
}

/// A workspace whose store is taken away, and whose registry is stopped, after `bazel` ran.
fn prepared(arguments: &[&str]) -> Workspace {
    let registry = Registry::with_base_images();
    let workspace = Workspace::demo(&registry);
    let whole = workspace.canonical("oci", "base_all");
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("{WHOLE}", &whole));
    let arguments: Vec<_> = arguments.collect();
    workspace.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    fs::remove_dir_all(workspace.directory().join("store")).expect("can be removed");
    workspace
}

#[test]
fn what_was_fetched_is_built_without_a_registry() {
    for fetch in [
        &["fetch", "//:image_layout"][..],
        &["fetch", "--repo=@base", "--repo=@@{WHOLE}"],
    ] {
        let workspace = prepared(fetch);
        workspace.succeed(&["build", "//:image_layout"]);
        verify(&workspace.output("image_layout"));
    }
}

#[test]
fn what_was_vendored_is_built_without_a_registry() {
    let vendored = "--vendor_dir=vendored";
    let workspace = prepared(&["vendor", vendored, "//:image_layout"]);
    let base = workspace
        .path("vendored")
        .join(workspace.canonical("oci", "base_all"));
    assert!(blobs(&base).len() > 5, "{}", base.display());
    workspace.succeed(&["clean", "--expunge"]);
    workspace.succeed(&["build", vendored, "//:image_layout"]);
    verify(&workspace.output("image_layout"));
    assert!(Path::new(&base).join("index.json").is_file());
}
