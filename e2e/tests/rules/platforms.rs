//! One image for several platforms, each on the image of the base that fits it.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::{Registry, text};
use serde_json::{Value, json};

fn blob(layout: &Path, digest: &Value) -> Value {
    let path = layout.join("blobs").join(text(digest).replace(':', "/"));
    serde_json::from_slice(&fs::read(path).expect("the blob is there")).expect("JSON")
}

/// The digest that the layout is of.
fn root(layout: &Path) -> Value {
    let index = fs::read(layout.join("index.json")).expect("can be read");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    index["manifests"][0]["digest"].clone()
}

#[test]
fn an_index_has_an_image_for_each_platform() {
    let registry = Registry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let base = registry.manifest(&digest);
    let workspace = Workspace::on_debian("platforms", &registry);

    workspace.succeed(&["test", "//..."]);
    let layout = workspace.output("index_layout");
    let index = blob(&layout, &root(&layout));
    let entries = index["manifests"].as_array().expect("manifests");
    let platforms: Vec<_> = entries.iter().map(|entry| &entry["platform"]).collect();
    assert_eq!(
        platforms,
        [
            &json!({"os": "linux", "architecture": "amd64"}),
            &json!({"os": "linux", "architecture": "arm64", "variant": "v8"}),
        ]
    );
    let mut own = Vec::new();
    for (entry, of_base) in entries
        .iter()
        .zip(base["manifests"].as_array().expect("manifests"))
    {
        let layers = blob(&layout, &entry["digest"])["layers"].clone();
        let base_layers = registry.manifest(text(&of_base["digest"]))["layers"].clone();
        let (layers, base_layers) = (
            layers.as_array().expect("layers"),
            base_layers.as_array().expect("layers"),
        );
        let (below, above) = layers.split_at(base_layers.len());
        let digests = |layers: &[Value]| -> Vec<Value> {
            layers.iter().map(|layer| layer["digest"].clone()).collect()
        };
        assert_eq!(digests(below), digests(base_layers));
        own.extend(digests(above));
    }
    assert_eq!(own.len(), 2);
    assert_ne!(
        own[0], own[1],
        "what the layer holds depends on the platform"
    );

    let arm = root(&workspace.output("image_layout"));
    assert_eq!(arm, entries[1]["digest"]);

    for (target, expected) in [
        (
            "//:not_offered",
            ["no image for linux/s390x", "linux/amd64, linux/arm64/v8"],
        ),
        (
            "//:index_for_a_platform",
            ["//:index is an index", "leave platform out"],
        ),
    ] {
        let messages = workspace.fail(&["build", target]);
        for text in expected {
            assert!(messages.contains(text), "{messages}");
        }
    }
}
