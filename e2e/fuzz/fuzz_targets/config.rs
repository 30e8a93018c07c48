//! Image configs, as platforms and as bases.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use oci_pull_all::image::{Base, BuiltImage, ConfigChanges, DIFF_ID, build_image};
use oci_pull_all::oci::config::ImageConfig;
use oci_pull_all::oci::descriptor::{Compression, Descriptor, MediaType};
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::oci::manifest::{ImageManifest, Manifest};
use oci_pull_all::oci::platform::Platform;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(platform) = serde_json::from_slice::<Platform>(data) {
        check_platform(&platform);
    }
    let Ok(Value::Object(config)) = serde_json::from_slice::<Value>(data) else {
        return;
    };

    let diff_ids = config
        .get("rootfs")
        .and_then(|rootfs| rootfs.get("diff_ids"));
    let base_layers = diff_ids.and_then(Value::as_array).map_or(0, Vec::len);
    let manifest = manifest_of(data, base_layers);
    let linux: Platform = "linux/amd64".parse().expect("it is a platform");
    let wanted = (!config.contains_key("os")).then_some(&linux);
    let mut layers = [layer(b"new")];
    let diff_id = Digest::of(Algorithm::Sha256, b"raw").to_string();
    layers[0]
        .annotations
        .insert(DIFF_ID.to_owned(), diff_id.clone());
    let changes = ConfigChanges {
        env: vec!["PATH=/app:$PATH".to_owned()],
        entrypoint: Some(vec!["/app".to_owned()]),
        ..ConfigChanges::default()
    };
    let build = |manifest, config, layers, changes| {
        build_image(
            Some(Base { manifest, config }),
            wanted,
            layers,
            changes,
            &BTreeMap::new(),
        )
    };
    let Ok(built) = build(&manifest, data, &layers, &changes) else {
        return;
    };
    let windows: Platform = "windows/amd64".parse().expect("it is a platform");
    let base = Base {
        manifest: &manifest,
        config: data,
    };
    let other = build_image(
        Some(base),
        Some(&windows),
        &[],
        &ConfigChanges::default(),
        &BTreeMap::new(),
    );
    let may_be_windows = config.get("os").is_none_or(|os| os == "windows");
    assert!(
        may_be_windows || other.is_err(),
        "built on another platform"
    );

    check_built(&built, base_layers + 1, &diff_id);
    let of_built: Value = serde_json::from_slice(&built.config).expect("a config is JSON");
    for (key, value) in &config {
        if ![
            "architecture",
            "config",
            "container_config",
            "history",
            "os",
            "os.features",
            "os.version",
            "rootfs",
            "variant",
        ]
        .contains(&folded(key).as_str())
        {
            let of_built = of_built.as_object().expect("a config is an object");
            let kept = of_built
                .iter()
                .any(|(other, kept)| folded(other) == folded(key) && kept == value);
            assert!(kept, "{key} was not kept");
        }
    }
    // Nothing more is changed where nothing is to be changed.
    let again = build(
        &built.manifest,
        &built.config,
        &[],
        &ConfigChanges::default(),
    );
    let again = again.expect("what was built can be built on");
    assert_eq!(again.config, built.config);
    assert_eq!(again.manifest, built.manifest);
});

/// A key in another case may be one of the specification's, which is written as that has it.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s").to_lowercase()
}

fn check_platform(platform: &Platform) {
    let printed = serde_json::to_string(platform).expect("a platform is JSON");
    assert_eq!(
        serde_json::from_str::<Platform>(&printed).ok().as_ref(),
        Some(platform)
    );
    assert_eq!(
        platform.rank_for(platform),
        Some(0),
        "{platform:?} does not serve itself"
    );
    let mut simple = platform.clone();
    simple.os_version = None;
    simple.os_features.clear();
    if let Ok(parsed) = simple.to_string().parse::<Platform>() {
        assert_eq!(parsed.to_string(), simple.to_string());
    }
}

fn check_built(built: &BuiltImage, layers: usize, last_diff_id: &str) {
    assert_eq!(
        built.descriptor.digest,
        Digest::of(Algorithm::Sha256, &built.manifest)
    );
    let Ok(Manifest::Image(manifest)) =
        Manifest::parse(&built.manifest, Some(&built.descriptor.media_type))
    else {
        panic!("not an image manifest");
    };
    assert_eq!(
        manifest.config.digest,
        Digest::of(Algorithm::Sha256, &built.config)
    );
    assert_eq!(manifest.config.size, built.config.len() as u64);
    assert_eq!(manifest.layers.len(), layers);

    let config = ImageConfig::parse(&built.config).expect("a config can be read");
    assert_eq!(built.descriptor.platform, Some(config.platform));
    let config: Value = serde_json::from_slice(&built.config).expect("a config is JSON");
    assert_eq!(config["rootfs"]["type"], "layers");
    let diff_ids = config["rootfs"]["diff_ids"]
        .as_array()
        .expect("a config has diff_ids");
    assert_eq!(diff_ids.len(), layers);
    assert_eq!(diff_ids.last().and_then(Value::as_str), Some(last_diff_id));
    let history = config["history"]
        .as_array()
        .expect("a config has a history");
    let told = history
        .iter()
        .filter(|entry| entry.get("empty_layer") != Some(&Value::Bool(true)));
    assert!(told.count() >= layers);
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/app"]));
    let env = config["config"]["Env"]
        .as_array()
        .expect("a variable was set");
    let entries = env.iter().filter_map(Value::as_str);
    let paths: Vec<&str> = entries.filter(|entry| entry.starts_with("PATH=")).collect();
    assert!(
        paths.len() == 1 && paths[0].starts_with("PATH=/app:"),
        "{env:?}"
    );
}

fn layer(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::layer(Compression::Gzip), content)
}

fn manifest_of(config: &[u8], layers: usize) -> Vec<u8> {
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: MediaType::OCI_MANIFEST,
        artifact_type: None,
        config: Descriptor::of(MediaType::OCI_CONFIG, config),
        layers: vec![layer(b"base"); layers],
        subject: None,
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&manifest).expect("a manifest is JSON")
}
