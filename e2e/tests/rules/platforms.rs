//! One image for several platforms, each on the image of the base that fits it.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::{INDEX, Images, MANIFEST, Registry, text};
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

#[test]
fn several_images_for_one_platform_are_all_scanned_and_a_base_is_the_first() {
    let mut images = Images::default();
    let entries = [2000, 1000].map(|size| {
        let digest = images.add_image("app", &[size]);
        let size = images.manifest(&digest).to_string().len();
        json!({
            "mediaType": MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": "amd64"},
        })
    });
    let first = images.manifest(text(&entries[0]["digest"]));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let index = images.add_manifest("app", INDEX, index.to_string().into_bytes());
    let registry = Registry::with(images);

    let workspace = Workspace::new("no_linux", &[]);
    let append = |name: &str, text: &str| {
        let path = workspace.path(name);
        let before = fs::read_to_string(&path).expect("can be read");
        fs::write(path, before + text).expect("can be written");
    };
    append(
        "MODULE.bazel",
        &format!(
            "oci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n\
             oci.pull(name = \"twins\", image = \"{}/app\", digest = {})\n\
             use_repo(oci, \"twins\")\n",
            registry.host(),
            index["digest"],
        ),
    );
    append(
        "BUILD.bazel",
        "oci_scan_test(name = \"scan_of_twins\", image = \"@twins\")\n\
         oci_image_layout(name = \"twins_layout\", image = \"@twins\")\n\
         oci_scan_test(name = \"scan_of_layout\", layout = \":twins_layout\")\n\
         oci_image(name = \"on_twins\", architecture = \"amd64\", base = \"@twins\", os = \"linux\")\n",
    );

    let scanner = "--@oci_pull_all//oci:scanner=//:trivy_of_an_image";
    workspace.succeed(&["build", "--nobuild", "//:scan_of_twins", scanner]);
    let verdicts = "mnemonic('OCIVerdict', //:scan_of_twins)";
    let ran = workspace.succeed(&["aquery", verdicts, scanner]);
    assert_eq!(ran.stdout.matches("Mnemonic: OCIVerdict").count(), 2);
    let errors = workspace.fail(&["build", "--nobuild", "//:scan_of_layout", scanner]);
    let said = "linux/amd64 is twice among the platforms of @@//:twins_layout";
    assert!(errors.contains(said), "{errors}");

    workspace.succeed(&["build", "//:on_twins"]);
    let manifest = fs::read(workspace.output("on_twins.manifest.json")).expect("can be read");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest["layers"], first["layers"]);
}
