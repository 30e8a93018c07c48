//! Who needs a base's layers gets them, once; who does not pays nothing for them.

use std::fs;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::verify as verify_layout;
use oci_pull_all_support::layout::content;
use oci_pull_all_support::{Registry, digest};

#[test]
fn layers_of_the_base_are_fetched_by_the_layout_alone_and_once() {
    let registry = Registry::with_base_images();
    let layers = registry.layers(&registry.digest("library/debian", "stable"));
    assert!(
        layers.iter().any(|(_, size)| *size >= 5_000_000),
        "a base worth its name: {layers:?}"
    );
    let workspace = Workspace::demo(&registry);

    let run = workspace.succeed(&["build", "//:image", "//:index"]);
    assert_eq!(registry.layer_bytes(&layers), []);
    assert_eq!(workspace.pulled("base_all"), None);
    assert_eq!(run.count("OCILayer"), 1);
    for query in ["query", "cquery"] {
        let deps = workspace.succeed(&[query, "deps(//:image)"]);
        assert!(deps.stdout.contains("//:app"), "{}", deps.stdout);
    }
    let deps = workspace.succeed(&["query", "deps(//:image_layout)"]);
    assert!(deps.stdout.contains("//:image_layout"), "{}", deps.stdout);
    assert_eq!(registry.layer_bytes(&layers), []);
    assert_eq!(
        workspace.pulled("base_all"),
        None,
        "a query fetched the base"
    );

    let run = workspace.succeed(&["build", "//:image_layout"]);
    assert_eq!(
        registry.layer_bytes(&layers),
        layers,
        "each byte of each layer is sent once"
    );
    let whole_base = workspace.pulled("base_all").expect("it was fetched");
    assert!(whole_base.join("oci-layout").exists());
    assert_eq!(
        run.count("OCILayer"),
        0,
        "the local layer is the one that was built for the image"
    );
    assert_eq!(run.count("OCILayout"), 1);

    let run = workspace.succeed(&["test", "//:scan"]);
    assert!(run.count("TestRunner") > 0, "the scan ran");
    assert_eq!(registry.layer_bytes(&layers), layers);

    let program = "@oci_pull_all//oci:oci-pull-all";
    let run = workspace.succeed(&["run", program, "--", "--version"]);
    assert_eq!(run.stdout.trim(), "oci-pull-all 0.1.0");
    // The program's repository is all that Bazel keeps in the execution root for this.
    let verify = ["run", program, "--", "verify", "bazel-bin/image_layout"];
    let messages = workspace.fail(&verify);
    assert!(messages.contains("build the layout again"), "{messages}");
    workspace.succeed(&["build", "//:image_layout"]);
    verify_layout(&workspace.output("image_layout"));

    let mut second = Workspace::demo(&registry);
    second.set_env(
        "OCI_PULL_ALL_STORE",
        Some(&workspace.directory().join("store").display().to_string()),
    );
    second.succeed(&["build", "//:image_layout"]);
    assert_eq!(
        registry.layer_bytes(&layers),
        layers,
        "a second output base takes all layers from the store",
    );
}

#[test]
fn what_stands_on_no_base_needs_no_registry() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let values = [("IMAGE", "127.0.0.1:1/library/debian"), ("DIGEST", &digest)];
    let workspace = Workspace::new("demo", &values);
    let run = workspace.succeed(&["build", "//:app"]);
    assert_eq!(run.count("OCILayer"), 1);
}

#[test]
fn two_machines_make_the_same_layout() {
    let registry = Registry::with_base_images();
    let [first, second] =
        [Workspace::demo(&registry), Workspace::demo(&registry)].map(|workspace| {
            workspace.succeed(&["build", "//:image_layout"]);
            content(&workspace.output("image_layout"))
        });
    assert!(
        first.1.len() >= 5,
        "a manifest, a config, two layers of the base and one of its own"
    );
    assert!(first == second);
}

#[test]
fn what_other_rules_look_for_is_in_output_groups() {
    let registry = Registry::with_base_images();
    let workspace = Workspace::demo(&registry);
    let groups = "--output_groups=digest,descriptor,oci_layout";
    workspace.succeed(&["build", "//:image", "//:index", "//:image_layout", groups]);
    let read = |name: &str| {
        let file = workspace.output(name);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    for (name, document) in [
        ("image", "image.manifest.json"),
        ("index", "index.index.json"),
    ] {
        let expected = digest(read(document).as_bytes());
        assert_eq!(read(&format!("{name}.digest")), format!("{expected}\n"));
        let descriptor = read(&format!("{name}.descriptor.json"));
        assert!(descriptor.contains(&expected), "{descriptor}");
    }
    assert!(workspace.output("image_layout/index.json").exists());
}
