//! Machines without a registry: what another one pulled, fetched or vendored is all that they need.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::new_user;
use oci_pull_all_support::{Registry, blobs};

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
