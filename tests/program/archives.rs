//! Archives of layouts, as other people's tools read them.

use std::fs;

use oci_pull_all_support::layout::{add_blob, archive, make_image, write_index};
use oci_pull_all_support::rootfs::{Layer, write_layout};
use oci_pull_all_support::{CONFIG, MANIFEST, digest, gzip, manifest_of, text};
use serde_json::Value;

use crate::new_user;

#[test]
fn an_archive_for_docker_has_one_image() {
    let user = new_user();
    make_image(&user, "linux/amd64", "gzip");
    archive(&user, &["--format", "docker"]).succeeded();
    archive(&user, &["--format", "docker", "--platform", "linux/arm64"])
        .failed(&["no image for linux/arm64", "linux/amd64"]);
    archive(&user, &["--format", "oci", "--tag", "app:v1"]).failed(&["--tag", "--format docker"]);
    archive(&user, &["--format", "docker", "--tag", "App:v1"])
        .failed(&["\"App:v1\"", "lower-case"]);
    archive(&user, &["--format", "docker", "--tag", "app/b@sha256:12"]).failed(&["digest"]);
}

#[test]
fn a_directory_that_is_no_layout_is_named() {
    let user = new_user();
    fs::create_dir(user.path("empty")).expect("can be made");
    for command in [
        "layout archive empty --format oci --output out.tar",
        "layout complete empty --output out",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        user.run(&arguments)
            .failed(&["empty is not an OCI image layout: it has no file oci-layout"]);
    }
}

#[test]
fn layers_that_are_compressed_differently_are_not_compressed_for_docker() {
    let user = new_user();
    let base = Layer::new().file("etc/base", "of the base\n").0;
    let own = Layer::new().file("etc/own", "our own\n").0;
    let layout = user.path("layout");
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let layers = [
        add_blob(&layout, tar, &base),
        add_blob(&layout, &format!("{tar}+gzip"), &gzip(&own)),
    ];
    write_layout(&layout, &layers, &[digest(&base), digest(&own)]);
    archive(&user, &["--format", "docker"]).succeeded();
    let entries = user.path("entries");
    fs::create_dir(&entries).expect("can be made");
    let file = fs::File::open(user.path("image.tar")).expect("is there");
    tar::Archive::new(file).unpack(&entries).expect("a tar");
    let listed = fs::read(entries.join("manifest.json")).expect("can be read");
    let listed: Value = serde_json::from_slice(&listed).expect("JSON");
    let paths: Vec<&str> = listed[0]["Layers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text)
        .collect();
    let contents: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| fs::read(entries.join(path)).expect("can be read"))
        .collect();
    assert!(contents == [base, own]);
    user.run(&["verify", "entries"]).succeeded();
}

#[test]
fn a_config_that_can_be_read_in_two_ways_is_put_into_nothing() {
    let user = new_user();
    let layout = user.path("layout");
    let config = r#"{"os": "linux", "OS": "windows", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}"#;
    let config = add_blob(&layout, CONFIG, config.as_bytes());
    let manifest = manifest_of(&config, &[]).to_string();
    let manifest = add_blob(&layout, MANIFEST, manifest.as_bytes());
    write_index(&layout, &[manifest]);
    archive(&user, &["--format", "oci"]).failed(&["the config", "OS"]);
    let complete = ["layout", "complete", "layout", "--output", "out"];
    user.run(&complete).failed(&["the config", "OS"]);
}
