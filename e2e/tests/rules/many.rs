//! Many bases, which are pulled at once into one store.

use std::collections::BTreeSet;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_support::{Images, Registry, text};

#[test]
fn two_hundred_repositories_fetch_each_blob_once() {
    const IMAGES: usize = 100;
    let mut images = Images::default();
    // On two bases, which have their lowest layer in common.
    let digests = (0..IMAGES).map(|n| {
        let second = [5_000_002, 4_000_003][n % 2];
        images.add_image("base", &[8_000_001, second, 10_000 + n])
    });
    let digests: Vec<String> = digests.collect();
    let registry = Registry::with(images);
    let workspace = Workspace::of_bases(&format!("{}/base", registry.host()), &digests);

    let run = workspace.succeed(&["build", "//:all"]);
    assert_eq!(run.count("OCILayout"), IMAGES);
    for n in 0..IMAGES {
        for name in [format!("base_{n}"), format!("base_{n}_all")] {
            assert!(workspace.pulled(&name).is_some(), "{name} was fetched");
        }
    }
    verify(&workspace.output("layout_99"));
    let manifests = digests.iter().map(|digest| registry.manifest(digest));
    let layers: BTreeSet<(String, u64)> = manifests
        .flat_map(|manifest| manifest["layers"].as_array().expect("layers").clone())
        .map(|layer| {
            (
                text(&layer["digest"]).to_owned(),
                layer["size"].as_u64().expect("a size"),
            )
        })
        .collect();
    assert_eq!(layers.len(), 3 + IMAGES);
    let layers: Vec<_> = layers.into_iter().collect();
    assert_eq!(
        registry.layer_bytes(&layers),
        layers,
        "each byte of each layer is sent once"
    );
}
