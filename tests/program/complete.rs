//! Layouts that lack blobs, which are given from elsewhere.

use std::fs;

use oci_pull_all_support::layout::{add_blob, write_index};
use oci_pull_all_support::{CONFIG, INDEX, LAYER, MANIFEST, User, text};
use serde_json::{Value, json};

use crate::new_user;

/// An image in the layout `layout`, with the layer in the layout `base`.
fn image(user: &User, layer: &[u8]) -> (Value, Value) {
    let layout = user.path("layout");
    let layer = add_blob(&user.path("base"), LAYER, layer);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = add_blob(&layout, CONFIG, config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let manifest = add_blob(&layout, MANIFEST, manifest.to_string().as_bytes());
    (manifest, layer)
}

fn blob(layout: &str, descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().expect("a digest");
    format!("{layout}/blobs/{}", digest.replace(':', "/"))
}

#[test]
fn a_layout_is_completed_with_what_it_lacks() {
    let user = new_user();
    let empty = vec![0; 1024];
    let (manifest, layer) = image(&user, &empty);
    write_index(&user.path("layout"), std::slice::from_ref(&manifest));
    // No part of a layout, as a desktop leaves it.
    fs::write(user.path("layout/blobs/.DS_Store"), "").expect("can be written");
    let complete = ["layout", "complete", "layout", "--output", "whole"];
    user.run(&complete).failed(&[
        &format!(
            "the layer {} is neither in layout",
            layer["digest"].as_str().expect("one")
        ),
        "the same digest",
    ]);
    // Whoever reads layers says as much.
    for command in [
        "layout archive layout --format oci --output image.tar",
        "layout archive layout --format docker --output image.tar",
        "layout rootfs layout --output root",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let lacks = format!("the layer {} is not in ", text(&layer["digest"]));
        let needs = format!(", but {} needs it", text(&manifest["digest"]));
        user.run(&arguments)
            .failed(&[&lacks, &needs, "make it whole with oci_complete_layout"]);
    }
    let given = blob("base", &layer);
    let with_blob = [&complete[..], &["--blob", &given]].concat();
    user.run(&with_blob).succeeded();
    user.verify(&user.path("whole"));
    assert!(user.path(&blob("whole", &layer)).is_symlink());
    user.run(&with_blob).failed(&["whole is not empty"]);

    // The layout has the base's layer, too, but the base's is taken.
    fs::copy(user.path(&given), user.path(&blob("layout", &layer))).expect("can be copied");
    let elsewhere = [
        "layout", "complete", "layout", "--output", "linked", "--blob", &given,
    ];
    user.run(&elsewhere).succeeded();
    assert!(user.path(&blob("linked", &layer)).is_symlink());
    let alone = ["layout", "complete", "layout", "--output", "alone"];
    user.run(&alone).succeeded();
    assert!(!user.path(&blob("alone", &layer)).is_symlink());

    let spoilt = vec![1; 1024];
    fs::write(user.path(&blob("layout", &layer)), spoilt).expect("can be written");
    let wrong = ["layout", "complete", "layout", "--output", "wrong"];
    user.run(&wrong).failed(&["was given as"]);
    assert!(!user.path("wrong").exists());
    // A directory of the user's stays.
    fs::create_dir(user.path("wrong")).expect("can be made");
    user.run(&wrong).failed(&["was given as"]);
    let left = fs::read_dir(user.path("wrong")).expect("there").count();
    assert_eq!(left, 0);

    // What a link leads to was verified when it was pulled.
    fs::write(user.path(&given), vec![2; 1024]).expect("can be written");
    let base = |mode: &'static str| {
        let complete = ["layout", "complete", "layout", "--output", mode];
        user.run(&[&complete[..], &["--blob", &given, "--blobs", mode]].concat())
    };
    base("link").succeeded();
    user.run(&["verify", "link"])
        .failed(&[text(&layer["digest"]), "its content has the digest"]);
    base("file").failed(&["was given as"]);
}

/// A base for one platform does not make the layers of another one's image superfluous.
#[test]
fn an_index_is_completed_for_each_of_its_images() {
    let user = new_user();
    let (amd64, layer) = image(&user, &[0; 1024]);
    let layout = user.path("layout");
    let other = add_blob(&user.path("base"), LAYER, &[0; 2048]);
    let config = json!({
        "architecture": "arm64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [other["digest"]]},
    });
    let config = add_blob(&layout, CONFIG, config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [other],
    });
    let arm64 = add_blob(&layout, MANIFEST, manifest.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [amd64, arm64]});
    let index = add_blob(&layout, INDEX, index.to_string().as_bytes());
    write_index(&layout, std::slice::from_ref(&index));
    let complete = ["layout", "complete", "layout", "--output", "whole"];
    let [one, other_blob] = [&layer, &other].map(|layer| blob("base", layer));
    user.run(&[&complete[..], &["--blob", &one]].concat())
        .failed(&[text(&other["digest"]), text(&arm64["digest"])]);
    // So it is where an image is made of its parts.
    fs::write(user.path("index"), index.to_string()).expect("can be written");
    let mut merge = vec![
        "layout".to_owned(),
        "merge".to_owned(),
        "--root=index".to_owned(),
        "--output=merged".to_owned(),
        format!("--blob={one}"),
    ];
    for entry in fs::read_dir(layout.join("blobs/sha256")).expect("is there") {
        let path = entry.expect("can be read").path();
        merge.push(format!("--local-file={}", path.display()));
    }
    let arguments: Vec<&str> = merge.iter().map(String::as_str).collect();
    user.run(&arguments)
        .failed(&[text(&other["digest"]), text(&arm64["digest"])]);
    user.run(&[&complete[..], &["--blob", &one, "--blob", &other_blob]].concat())
        .succeeded();
}
