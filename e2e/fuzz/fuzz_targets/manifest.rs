//! Image manifests and indexes.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use oci_pull_all::oci::artifact::Artifact;
use oci_pull_all::oci::descriptor::{Descriptor, Kind, MediaType};
use oci_pull_all::oci::manifest::Manifest;

fuzz_target!(|data: &[u8]| {
    let mut kinds = Vec::new();
    for expected in MediaType::MANIFESTS {
        if let Ok(manifest) = Manifest::parse(data, Some(&expected)) {
            assert_eq!(manifest.media_type(), &expected);
            kinds.push(check(&manifest));
        }
    }
    if let Ok(manifest) = Manifest::parse(data, None) {
        kinds.push(check(&manifest));
    }
    // CVE-2021-41190
    kinds.dedup();
    assert!(kinds.len() <= 1, "one content can be read in two ways");
});

fn check(manifest: &Manifest) -> Kind {
    let (printed, descriptors): (_, Vec<&Descriptor>) = match manifest {
        Manifest::Index(index) => (
            serde_json::to_vec(index),
            index.manifests.iter().chain(&index.subject).collect(),
        ),
        Manifest::Image(image) => (
            serde_json::to_vec(image),
            [&image.config]
                .into_iter()
                .chain(&image.layers)
                .chain(&image.subject)
                .collect(),
        ),
    };
    if let Manifest::Image(image) = manifest
        && let Ok(artifact) = Artifact::of(image)
    {
        for file in artifact.files {
            let paths = std::iter::once(&file.path).chain(&file.directory);
            for path in paths {
                let mut parts = Path::new(path).components();
                assert!(
                    parts.all(|part| matches!(part, Component::Normal(_))),
                    "{path:?}"
                );
            }
        }
    }
    let printed = printed.expect("a manifest is JSON");
    let again =
        Manifest::parse(&printed, Some(manifest.media_type())).expect("what was printed parses");
    assert_eq!(&again, manifest);
    for descriptor in descriptors {
        // The spec's sizes are int64, and other tools read them as such.
        assert!(i64::try_from(descriptor.size).is_ok(), "{descriptor:?}");
        let oci = descriptor.media_type.to_oci();
        assert_eq!(oci.kind(), descriptor.media_type.kind());
        assert_eq!(oci.to_oci(), oci);
    }
    let kind = manifest.media_type().kind();
    assert_eq!(matches!(manifest, Manifest::Index(_)), kind == Kind::Index);
    kind
}
