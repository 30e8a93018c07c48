//! Archives of layouts, as other people's tools read them.

use std::fs;

use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::{new_user, run_in_root};
use oci_pull_all_support::User;
use oci_pull_all_support::layout::{archive, make_image};
use serde_json::Value;

fn succeeds(user: &User, program: &str, arguments: &[&str]) -> String {
    let output = run_in_root(user, program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json_of(user: &User, path: &str) -> Value {
    serde_json::from_slice(&fs::read(user.path(path)).expect("there")).expect("JSON")
}

#[test]
fn one_archive_serves_readers_of_both_formats() {
    let registry = DockerRegistry::empty();
    for compression in ["gzip", "zstd", "none"] {
        let user = new_user();
        make_image(&user, "linux/amd64", compression);
        let tags = [
            "--format",
            "docker",
            "--tag",
            "team/app:v1",
            "--tag",
            "other",
        ];
        archive(&user, &tags).succeeded();
        let bytes = fs::read(user.path("image.tar")).expect("there");
        archive(&user, &tags).succeeded();
        assert_eq!(fs::read(user.path("image.tar")).expect("there"), bytes);

        let inspected = succeeds(
            &user,
            "skopeo",
            &["inspect", "docker-archive:image.tar:team/app:v1"],
        );
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        assert_eq!(inspected["Architecture"], "amd64", "{compression}");
        succeeds(
            &user,
            "skopeo",
            &[
                "copy",
                "--quiet",
                "docker-archive:image.tar:docker.io/library/other:latest",
                "dir:copied",
            ],
        );
        succeeds(
            &user,
            "skopeo",
            &["copy", "--quiet", "oci-archive:image.tar:v1", "dir:whole"],
        );
        let manifest = json_of(&user, "whole/manifest.json");
        assert_eq!(manifest, json_of(&user, "manifest"), "{compression}");
        let diff_ids = json_of(&user, "config")["rootfs"]["diff_ids"].clone();
        let copied = json_of(&user, "copied/manifest.json");
        // What Docker loads is not compressed.
        assert_eq!(copied["layers"][0]["digest"], diff_ids[0], "{compression}");

        archive(&user, &["--format", "docker", "--tag", "team/app:v1"]).succeeded();
        succeeds(
            &user,
            "skopeo",
            &["copy", "--quiet", "oci-archive:image.tar", "dir:only"],
        );
        if compression != "zstd" {
            succeeds(&user, "crane", &["validate", "--tarball", "image.tar"]);
        }
        let to = format!("{}/crane/{compression}:v1", registry.host());
        succeeds(&user, "crane", &["push", "--insecure", "image.tar", &to]);
    }
}

#[test]
fn one_image_of_many_can_be_archived() {
    let registry = DockerRegistry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let reference = format!("{}/library/debian@{digest}", registry.host());
    let user = new_user();
    user.run(&["pull", &reference, "--output", "layout"])
        .succeeded();
    archive(&user, &["--format", "docker"]).failed(&["2 images", "linux/amd64, linux/arm64/v8"]);
    for format in ["docker", "oci"] {
        archive(&user, &["--format", format, "--platform", "linux/arm64"]).succeeded();
        let from = format!("{format}-archive:image.tar");
        let inspected = succeeds(
            &user,
            "skopeo",
            &["--override-arch", "arm64", "inspect", &from],
        );
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        assert_eq!(inspected["Architecture"], "arm64", "{format}");
    }
    archive(&user, &["--format", "oci"]).succeeded();
    fs::create_dir(user.path("unpacked")).expect("can be made");
    let tar = run_in_root(&user, "tar", &["-xf", "image.tar", "-C", "unpacked"]);
    assert!(tar.status.success(), "{tar:?}");
    user.run(&["verify", "unpacked"]).succeeded();
    assert_eq!(
        json_of(&user, "unpacked/index.json"),
        json_of(&user, "layout/index.json")
    );
}
