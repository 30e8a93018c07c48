//! The program's commands, against a real registry.

use std::fs;
use std::process::Command;

use oci_pull_all_support::{CREDENTIALS, Registry, blobs, text};
use serde_json::{Value, json};

use crate::new_user;

fn in_blobs(digest: &Value, names: &[String]) -> bool {
    names
        .iter()
        .any(|name| text(digest).ends_with(name.as_str()))
}

struct Debian {
    registry: Registry,
    image: String,
    digest: String,
    index: Value,
}

impl Debian {
    fn new(registry: Registry, repository: &str) -> Self {
        let digest = registry.digest(repository, "stable");
        let index = registry.manifest(&digest);
        let image = format!("{}/{repository}", registry.host());
        Self {
            registry,
            image,
            digest,
            index,
        }
    }

    fn reference(&self) -> String {
        format!("{}@{}", self.image, self.digest)
    }

    /// The blobs that one image needs, its manifest included.
    fn image_blobs(&self, entry: usize) -> Vec<Value> {
        let digest = &self.index["manifests"][entry]["digest"];
        let manifest = self.registry.manifest(text(digest));
        let mut blobs = vec![digest.clone(), manifest["config"]["digest"].clone()];
        blobs.extend(
            manifest["layers"]
                .as_array()
                .expect("layers")
                .iter()
                .map(|layer| layer["digest"].clone()),
        );
        blobs
    }
}

#[test]
fn all_of_an_index_comes_once_and_then_from_the_store() {
    let debian = Debian::new(Registry::with_base_images(), "library/debian");
    let reference = debian.reference();
    let user = new_user();
    let ran = user
        .run(&[
            "pull",
            &reference,
            "--output",
            "one",
            "--summary",
            "summary.json",
        ])
        .succeeded();
    assert!(ran.stderr.contains("0 B from the store"), "{}", ran.stderr);
    user.run(&["verify", "one"]).succeeded();

    let names = blobs(&user.path("one"));
    for entry in 0..3 {
        for digest in debian.image_blobs(entry) {
            assert!(in_blobs(&digest, &names), "{digest} of image {entry}");
        }
    }
    let entry: Value =
        serde_json::from_slice(&fs::read(user.path("one/index.json")).expect("there"))
            .expect("JSON");
    assert_eq!(entry["manifests"][0]["digest"], debian.digest);
    assert_eq!(
        fs::read_to_string(user.path("one/oci-layout")).expect("there"),
        r#"{"imageLayoutVersion":"1.0.0"}"#
    );
    let summary: Value =
        serde_json::from_slice(&fs::read(user.path("summary.json")).expect("there")).expect("JSON");
    assert_eq!(summary["root"]["digest"], debian.digest);

    let layers = debian.registry.layers(&debian.digest);
    assert_eq!(
        debian.registry.layer_bytes(&layers),
        layers,
        "each byte is sent once, be its layer in one image or in two"
    );

    let ran = user
        .run(&["pull", &reference, "--output", "two"])
        .succeeded();
    assert!(ran.stderr.contains("0 B transferred"), "{}", ran.stderr);
    assert_eq!(debian.registry.layer_bytes(&layers), layers);
    assert_eq!(blobs(&user.path("two")), names);

    let ran = user
        .run(&["pull", &reference, "--output", "three", "--no-store"])
        .succeeded();
    assert!(ran.stderr.contains("0 B from the store"), "{}", ran.stderr);
    assert_eq!(blobs(&user.path("three")), names);
}

#[test]
fn platforms_and_shallow_leave_out_what_is_not_asked_for() {
    let debian = Debian::new(Registry::with_base_images(), "library/debian");
    let reference = debian.reference();
    let user = new_user();

    user.run(&["pull", &reference, "--output", "shallow", "--shallow"])
        .succeeded();
    let names = blobs(&user.path("shallow"));
    assert_eq!(
        names.len(),
        1 + 3 * 2,
        "the index, and a manifest and a config of each image"
    );
    let layers = debian.registry.layers(&debian.digest);
    assert_eq!(debian.registry.layer_bytes(&layers), []);

    user.run(&[
        "pull",
        &reference,
        "--output",
        "arm64",
        "--platform",
        "linux/arm64",
    ])
    .succeeded();
    let names = blobs(&user.path("arm64"));
    assert_eq!(
        names.len(),
        1 + 4,
        "the index, and a manifest, a config and two layers"
    );
    assert!(
        debian
            .image_blobs(1)
            .iter()
            .all(|digest| in_blobs(digest, &names))
    );
    assert!(
        in_blobs(&json!(debian.digest), &names),
        "the index keeps its digest"
    );
    user.run(&["verify", "--sparse", "arm64"]).succeeded();
    user.run(&["verify", "arm64"])
        .failed(&["missing", "--sparse"]);
    fs::write(user.path("arm64/blobs/sha256/stray"), "x").expect("can be written");
    user.run(&["verify", "--sparse", "arm64"])
        .failed(&["blobs/sha256/stray"]);

    user.run(&[
        "pull",
        &reference,
        "--output",
        "none",
        "--platform",
        "linux/s390x",
    ])
    .failed(&["linux/s390x", "linux/amd64, linux/arm64/v8"]);
    user.run(&[
        "pull",
        &reference,
        "--output",
        "none",
        "--platform",
        "s390x",
    ])
    .failed(&["s390x", "linux/"]);
    assert!(
        !user.path("none/index.json").exists(),
        "no layout is left where none was made"
    );
}

#[test]
fn dockers_formats_are_pulled_as_they_are() {
    let debian = Debian::new(Registry::with_base_images(), "library/debian-docker");
    assert_eq!(
        debian.index["mediaType"],
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    let user = new_user();
    user.run(&["pull", &debian.reference(), "--output", "docker"])
        .succeeded();
    user.run(&["verify", "docker"]).succeeded();
    let names = blobs(&user.path("docker"));
    assert!(in_blobs(&json!(debian.digest), &names));
    assert!(
        debian
            .image_blobs(0)
            .iter()
            .all(|digest| in_blobs(digest, &names))
    );
}

#[test]
fn a_tag_is_refused_with_the_digest_to_pin() {
    let debian = Debian::new(Registry::with_base_images(), "library/debian");
    let user = new_user();
    let tagged = format!("{}:stable", debian.image);
    user.run(&["pull", &tagged, "--output", "out"]).failed(&[
        &tagged,
        "is a tag",
        &debian.reference(),
    ]);
    assert!(!user.path("out/index.json").exists());

    let resolved = user.run(&["resolve", &tagged]).succeeded().stdout;
    for line in [
        "oci.pull(",
        &format!("    image = \"{}\",", debian.image),
        "    tag = \"stable\",",
        &format!("    digest = \"{}\",", debian.digest),
        "        \"linux/arm64/v8\",",
        "use_repo(oci, \"debian\")",
    ] {
        assert!(
            resolved.lines().any(|l| l == line),
            "no {line:?} in:\n{resolved}"
        );
    }
    assert!(
        resolved.contains("# an image for linux/amd64, linux/arm64/v8"),
        "{resolved}"
    );
    user.run(&["resolve", &format!("{}:no-such-tag", debian.image)])
        .failed(&["no-such-tag"]);
}

#[test]
fn credentials_are_found_where_docker_and_podman_put_them() {
    let debian = Debian::new(Registry::with_password(), "library/debian");
    let reference = debian.reference();
    let host = debian.registry.host();
    let user = new_user();
    let pull = |environment: &[(&str, &str)], options: &[&str]| {
        let output = format!("out{}", fs::read_dir(user.home()).expect("there").count());
        let mut arguments = vec![
            "pull",
            "--shallow",
            "--no-store",
            "--output",
            &output,
            &reference,
        ];
        arguments.extend(options);
        user.run_with(environment, &arguments)
    };
    // `tester:secret`, and the same user with another password.
    let (right, wrong) = ("dGVzdGVyOnNlY3JldA==", "dGVzdGVyOmd1ZXNz");
    let auths = |key: &str, auth: &str| json!({"auths": {key: {"auth": auth}}}).to_string();
    let write = |path: &str, content: &str| {
        let path = user.path(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("can be made");
        fs::write(&path, content).expect("can be written");
        path.display().to_string()
    };

    pull(&[], &[]).failed(&[host, "docker login"]);
    let file = write("wrong.json", &auths(host, wrong));
    let refused = pull(&[], &["--docker-config", &file]);
    assert!(
        !refused.stderr.contains(wrong) && !refused.stderr.contains("guess"),
        "{}",
        refused.stderr
    );
    refused.failed(&[host]);

    let file = write("given.json", &auths(host, right));
    pull(&[], &["--docker-config", &file]).succeeded();
    pull(&[("REGISTRY_AUTH_FILE", &file)], &[]).succeeded();
    let file = write(
        "per-repository.json",
        &auths(&format!("{host}/library"), right),
    );
    pull(&[("REGISTRY_AUTH_FILE", &file)], &[]).succeeded();
    let file = write(
        "other-repository.json",
        &auths(&format!("{host}/private"), right),
    );
    pull(&[("REGISTRY_AUTH_FILE", &file)], &[]).failed(&[host]);
    write("runtime/containers/auth.json", &auths(host, right));
    pull(
        &[(
            "XDG_RUNTIME_DIR",
            &user.path("runtime").display().to_string(),
        )],
        &[],
    )
    .succeeded();
    write("elsewhere/config.json", &auths(host, right));
    pull(
        &[(
            "DOCKER_CONFIG",
            &user.path("elsewhere").display().to_string(),
        )],
        &[],
    )
    .succeeded();

    let helper = write(
        "bin/docker-credential-tests",
        &format!(
            "#!/bin/sh\nread host\ntest \"$1 $host\" = 'get {host}' && echo '{}'\n",
            json!({"ServerURL": host, "Username": CREDENTIALS.0, "Secret": CREDENTIALS.1})
        ),
    );
    let executable = Command::new("chmod").args(["+x", &helper]).status();
    assert!(executable.expect("chmod can be run").success());
    let path = format!("{}:/usr/bin:/bin", user.path("bin").display());
    for config in [
        json!({"credHelpers": {host: "tests"}}),
        json!({"credsStore": "tests"}),
    ] {
        let file = write("helper.json", &config.to_string());
        pull(&[("PATH", &path)], &["--docker-config", &file]).succeeded();
        pull(&[("PATH", "/nowhere")], &["--docker-config", &file])
            .failed(&["docker-credential-tests"]);
    }

    write(".docker/config.json", &auths(host, right));
    pull(&[], &[]).succeeded();
}

#[test]
fn an_output_that_is_no_directory_is_told() {
    let debian = Debian::new(Registry::with_base_images(), "library/debian");
    let user = new_user();
    fs::write(user.path("file"), "").expect("can be written");
    for output in ["file", "file/below"] {
        user.run(&["pull", &debian.reference(), "--output", output])
            .failed(&[&format!("cause: {output} is not a directory")]);
    }
}

#[test]
fn the_store_is_looked_after() {
    let debian = Debian::new(Registry::with_base_images(), "library/debian");
    let reference = debian.reference();
    let user = new_user();
    user.run(&["pull", &reference, "--output", "one"])
        .succeeded();
    let store = user.store();
    assert!(store.starts_with(user.home()));
    assert!(store.ends_with("oci_pull_all/store"));
    let help = user.run(&["store", "path", "--help"]).succeeded().stdout;
    assert!(help.contains("default `oci_pull_all/store`"), "{help}");
    let size = user.run(&["store", "size"]).succeeded().stdout;
    assert!(size.contains("11 blobs"), "{size}");
    user.run(&["store", "verify"]).succeeded();

    // The same length, other bytes, and a writer who hides it.
    let blob = debian.image_blobs(0)[2].clone();
    let path = store.join("blobs").join(text(&blob).replace(':', "/"));
    let before = fs::metadata(&path).expect("there");
    let mut data = fs::read(&path).expect("can be read");
    data[1000] ^= 1;
    fs::remove_file(&path).expect("can be removed");
    fs::write(&path, data).expect("can be written");
    let file = fs::File::options()
        .write(true)
        .open(&path)
        .expect("can be opened");
    file.set_modified(before.modified().expect("a time"))
        .expect("can be set");
    drop(file);
    let ran = user
        .run(&["pull", &reference, "--output", "two", "--verify"])
        .succeeded();
    assert!(!ran.stderr.contains(" 0 B transferred"), "{}", ran.stderr);
    blobs(&user.path("two"));

    // A write that does not hide is seen without --verify.
    fs::remove_file(&path).expect("can be removed");
    fs::write(&path, b"short").expect("can be written");
    user.run(&["pull", &reference, "--output", "three"])
        .succeeded();
    blobs(&user.path("three"));

    fs::remove_file(&path).expect("can be removed");
    fs::write(&path, b"short").expect("can be written");
    user.run(&["store", "verify"]).failed(&[text(&blob)]);
    user.run(&["store", "verify"]).succeeded();

    user.run(&["store", "prune", "--max-size", "0"]).succeeded();
    let size = user.run(&["store", "size"]).succeeded().stdout;
    assert!(size.contains("0 blobs"), "{size}");
    user.run(&["verify", "one"]).succeeded();
    user.run(&["store", "prune"])
        .failed(&["--max-size", "--older-than"]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let user = new_user();
    for reference in [
        "debian@sha256:123",
        "127.0.0.1:1/UPPER@sha256:0",
        "",
        "debian@md5:00",
        "a/../b:latest",
    ] {
        user.run(&["pull", reference, "--output", "out"])
            .failed(&["error: "]);
    }
    user.run(&["pull", "debian", "--output", "out", "--concurrency", "0"])
        .failed(&["--concurrency"]);
    user.run(&["verify", "no-such-directory"])
        .failed(&["no-such-directory"]);
    assert!(!user.path("out/index.json").exists());
}

#[test]
fn who_reads_no_further_is_no_error() {
    let registry = Registry::with_base_images();
    let image = format!("{}/library/debian:stable", registry.host());
    let user = new_user();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(user.program())
        .args(["resolve", &image])
        .env("HOME", user.home())
        .stdout(writer)
        .output()
        .expect("the program can be run");
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && messages.is_empty(), "{messages}");
}
