//! Layers of all that Bazel builds.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::digest;
use serde_json::{Value, json};

/// The case of all tests here, which each has to itself.
fn case() -> MutexGuard<'static, Workspace> {
    static CASE: LazyLock<Mutex<Workspace>> =
        LazyLock::new(|| Mutex::new(Workspace::new("layers", &[])));
    CASE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mode, the owner and the path of each entry of an archive, and what a link says.
fn listed(archive: &Path) -> Vec<String> {
    let tar = Command::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(archive)
        .output()
        .expect("tar can be run");
    assert!(tar.status.success(), "{tar:?}");
    let text = String::from_utf8(tar.stdout).expect("UTF-8");
    let lines = text.lines().map(|line| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", parts[0], parts[1], parts[5..].join(" "))
    });
    lines.collect()
}

#[test]
fn files_are_what_bazel_says_they_are() {
    let case = case();
    case.succeed(&["build", "//:files"]);
    let found = listed(&case.output("files.tar.gz"));
    for line in [
        "lrwxrwxrwx 0/0 m/absolute_link -> /usr/bin/env",
        "-rw-r--r-- 0/0 m/generated_file",
        "-rw-r--r-- 0/0 m/generated_group",
        "-rw-r--r-- 0/0 m/generated_rule",
        "-rw-r--r-- 0/0 m/source",
        "-rwxr-xr-x 0/0 m/source_program",
        "-rwxr-xr-x 0/0 m/tree/lib/libx.so.1",
        "lrwxrwxrwx 0/0 m/tree/lib/libx.so -> libx.so.1",
        "lrwxrwxrwx 0/0 m/tree/sub/lib -> ../lib",
        "-rwxr-xr-x 0/0 m/tree_group/lib/libx.so.1",
        "-rw-r--r-- 0/0 opt/plain.txt",
        "-rwxr-xr-x 0/0 opt/program",
        "lrwxrwxrwx 0/0 opt/program.runfiles/_main/relative_link -> ../nowhere/else",
        "-rwxr-xr-x 0/0 opt/program.runfiles/_main/serve.sh",
        "-rw-r--r-- 0/0 opt/program.runfiles/_main/alias",
    ] {
        assert!(
            found.iter().any(|entry| entry == line),
            "{line}: {found:#?}"
        );
    }
    let of_other = found.iter().filter(|entry| entry.ends_with("/pkg/mod.py"));
    assert_eq!(of_other.count(), 1, "{found:#?}");
    // Without a manifest, a program has its runfiles all the same.
    case.succeed(&["build", "--nobuild_runfile_manifests", "//:files"]);
    assert_eq!(listed(&case.output("files.tar.gz")), found);
}

#[test]
fn words_of_attributes_are_no_flags_and_no_files_of_arguments() {
    let case = case();
    case.succeed(&["build", "//:words"]);
    assert_eq!(
        listed(&case.output("words.tar.gz")),
        [
            "drwxr-xr-x 0/0 -directory/",
            "-r-------- 0/0 -file",
            "lrwxrwxrwx 0/0 -link -> -owner=1:1",
            "drwxr-xr-x 0/0 @directory/",
            "-rw------- 0/0 @file",
            "lrwxrwxrwx 0/0 @link -> @plain.txt",
            "lrwxrwxrwx 0/0 link -> @none",
        ]
    );
    let errors = case.fail(&["build", "//:negative_owner"]);
    assert!(
        errors.contains("'-1:0' for '--owner <UID:GID>'"),
        "{errors}"
    );
}

#[test]
fn attributes_may_be_selected() {
    let case = case();
    case.succeed(&["build", "//:selected"]);
    assert_eq!(
        listed(&case.output("selected.tar.gz")),
        ["-rw-r--r-- 5/6 always", "-rwxr-xr-x 5/6 fast"]
    );
}

#[test]
fn archives_stay_as_they_are_unless_asked() {
    let case = case();
    case.succeed(&[
        "build",
        "//:kept",
        "//:anew",
        "//:of_archives",
        "//:archive.tgz",
    ]);
    let bytes = |name: &str| fs::read(case.output(name)).expect("there");
    assert_eq!(bytes("kept.tar.gz"), bytes("archive.tgz"));
    assert_eq!(&bytes("anew.tar.zst")[..4], b"\x28\xb5\x2f\xfd");
    let manifest: Value =
        serde_json::from_slice(&bytes("of_archives.manifest.json")).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    let types: Vec<_> = layers.iter().map(|layer| &layer["mediaType"]).collect();
    let oci = |suffix: &str| format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    assert_eq!(json!(types), json!([oci(""), oci("+gzip"), oci("+gzip")]));
}

#[test]
fn a_layout_test_fails_where_a_parent_changes_the_base() {
    let case = case();
    case.succeed(&["test", "//:through_link_test", "//:with_mode_test"]);
    let found = listed(&case.output("through_link.tar.gz"));
    assert_eq!(
        found,
        [
            "drwxrwxrwt 0/0 tmp/",
            "-rw-r--r-- 1000/1001 tmp/x",
            "drwxr-xr-x 0/0 usr/",
            "drwxr-xr-x 0/0 usr/bin/",
            "-rwxr-xr-x 1000/1001 usr/bin/serve",
        ]
    );
    for (test, advice) in [
        ("//:over_link_test", "usr_merge = True"),
        ("//:over_mode_test", "parents = {\"/srv\": \"0750 0:0\"}"),
    ] {
        let run = case.bazel(&["test", "--test_output=all", test]);
        assert!(!run.success, "{}", run.stderr);
        let said = run.stdout + &run.stderr;
        assert!(said.contains(advice), "{said}");
    }
}

#[test]
fn a_config_has_what_a_dockerfile_can_say() {
    let case = case();
    case.succeed(&["build", "//:with_mode_image"]);
    let config = fs::read(case.output("with_mode_image.config.json")).expect("there");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    let expected = json!({
        "Env": ["A=default"],
        "Healthcheck": {"Interval": 30_000_000_000_u64, "Test": ["CMD", "/bin/serve"]},
        "Labels": {"built": "here"},
        "WorkingDir": "/app",
    });
    assert_eq!(config["config"], expected);
}

#[test]
fn a_program_in_layers_shares_what_changes_seldom() {
    let case = case();
    case.succeed(&["build", "//:first_image", "//:second_image"]);
    let part = |name: &str| listed(&case.output(name));
    let interpreter = part("first_layers.interpreter.tar.gz");
    let has = |layer: &[String], end: &str| layer.iter().any(|line| line.ends_with(end));
    assert!(
        has(&interpreter, " app/runfiles/_main/tree/lib/libx.so.1"),
        "{interpreter:#?}"
    );
    assert!(
        !has(&interpreter, "mod.py") && !has(&interpreter, ".own"),
        "{interpreter:#?}"
    );
    assert!(has(&part("first_layers.packages.tar.gz"), "/pkg/mod.py"));
    let own = part("first_layers.program.tar.gz");
    for end in [
        "-r-------- 0/0 app/runfiles/_main/first.own",
        "app/first.runfiles -> /app/runfiles",
        "-rwxr-xr-x 0/0 app/first",
        " app/runfiles/_main/plain.txt",
    ] {
        assert!(has(&own, end), "{end}: {own:#?}");
    }
    assert!(!has(&own, "mod.py") && !has(&own, "libx.so.1"), "{own:#?}");

    let layers = |name: &str| -> Vec<Value> {
        let manifest = fs::read(case.output(name)).expect("there");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        manifest["layers"].as_array().expect("layers").clone()
    };
    let (first, second) = (
        layers("first_image.manifest.json"),
        layers("second_image.manifest.json"),
    );
    assert_eq!(first.len(), 4);
    assert_eq!(first[..2], second[..2]);
    assert_ne!(first[2], second[2]);

    fs::write(case.path("first.own"), "changed\n").expect("can be written");
    let run = case.succeed(&["build", "//:first_image"]);
    assert_eq!(run.count("OCILayer"), 1, "{}", run.stderr);
}

#[test]
fn what_is_in_a_layer_and_in_an_image_is_listed() {
    let case = case();
    case.succeed(&["build", "//:listed_files", "//:listed_rootfs"]);
    let text = |name: &str| fs::read_to_string(case.output(name)).expect("there");
    let of_layer = text("with_mode.tar.gz.mtree");
    let content = fs::read(case.path("plain.txt")).expect("there");
    let file = format!(
        "./srv/x type=file size={} mode=0644 uid=0 gid=0 time=0.000000000 {}",
        content.len(),
        digest(&content).replace(':', "digest=")
    );
    let srv = "./srv type=dir mode=0750 uid=0 gid=0 time=0.000000000";
    assert_eq!(of_layer.lines().collect::<Vec<_>>(), ["#mtree", srv, &file]);
    let of_image = text("with_mode_rootfs.tar.mtree");
    let bin = "./bin type=link link=usr/bin mode=0777 uid=0 gid=0 time=0.000000000";
    for line in [bin, srv, &file] {
        assert!(
            of_image.lines().any(|found| found == line),
            "{line}: {of_image}"
        );
    }
}
