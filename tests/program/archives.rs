//! Archives of layouts, as other people's tools read them.

use std::fs;

use oci_pull_all_support::layout::{archive, make_image};

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
