//! Artifacts, whose blobs are files.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{INDEX, Images, MANIFEST, Registry, User, gzip, text};
use serde_json::{Value, json};
use tar::EntryType;

use crate::new_user;

const KIND: &str = "application/vnd.example.database.v1";
const TGZ: &str = "application/vnd.example.layer.v1.tar+gzip";

/// A registry with an artifact, and the artifact by its digest.
fn serve(blobs: &[(Option<&str>, &str, Vec<u8>)]) -> (Registry, String) {
    let mut images = Images::default();
    let digest = images.add_artifact("db", KIND, blobs);
    images.tag("db", "2", &digest);
    let registry = Registry::with(images);
    let reference = format!("{}/db@{digest}", registry.host());
    (registry, reference)
}

/// Pulls an artifact; returns its files, each with its content, and the summary.
fn pull(user: &User, reference: &str) -> (Vec<(String, String)>, Value) {
    let arguments = [
        "--output=out",
        "--files=out/files",
        "--summary=summary.json",
    ];
    let arguments: Vec<&str> = ["pull", reference].into_iter().chain(arguments).collect();
    user.run(&arguments).succeeded();
    let root = user.path("out/files");
    let mut files = Vec::new();
    list(&root, &root, &mut files);
    files.sort();
    let summary = fs::read(user.path("summary.json")).expect("can be read");
    (files, serde_json::from_slice(&summary).expect("is JSON"))
}

fn list(root: &Path, directory: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("can be read") {
        let path = entry.expect("can be read").path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            let name = path
                .strip_prefix(root)
                .expect("is below")
                .display()
                .to_string();
            let content = fs::read(&path).expect("can be read");
            files.push((name, String::from_utf8_lossy(&content).into_owned()));
        }
    }
}

fn names(files: &[(String, String)]) -> Vec<&str> {
    files.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn its_blobs_are_files_and_its_archives_directories() {
    let archive = Layer::new()
        .directory("./", 0o755)
        .file("./metadata.json", "{}")
        .file("deep/er/trivy.db", "first")
        .add(EntryType::Regular, "deep/run", 0o755, "", b"#!")
        .hard_link("deep/same", "metadata.json")
        .symlink("latest", "deep/er")
        .file("deep/er/trivy.db", "second")
        .symlink("last", "nothing")
        .hard_link("last", "metadata.json");
    let (registry, reference) = serve(&[
        (Some("db.tar.gz"), TGZ, gzip(&archive.0)),
        (Some("docs/READ ME.md"), "text/markdown", b"hello".to_vec()),
        (None, TGZ, gzip(&Layer::new().file("a", "b").0)),
        (None, "application/json", b"1".to_vec()),
        (None, "application/json", b"2".to_vec()),
    ]);
    let user = new_user();
    let (files, summary) = pull(&user, &reference);
    let all = names(&files);
    for (name, content) in [
        ("application/json", "1"),
        ("application/json-2", "2"),
        ("application/vnd.example.layer.v1/a", "b"),
        ("db/deep/er/trivy.db", "second"),
        ("db/deep/run", "#!"),
        ("db/deep/same", "{}"),
        ("db/last", "{}"),
        ("db/latest/trivy.db", "second"),
        ("db/metadata.json", "{}"),
        ("docs/READ ME.md", "hello"),
    ] {
        let found = files.iter().find(|(path, _)| path == name);
        assert_eq!(
            found.map(|(_, found)| found.as_str()),
            Some(content),
            "{name} in {all:?}"
        );
    }
    assert!(all.contains(&"db.tar.gz"), "{all:?}");
    assert_eq!(all.len(), 12, "{all:?}");
    let mode = |path: &str| {
        let file = fs::metadata(user.path("out/files").join(path)).expect("is there");
        file.permissions().mode() & 0o111
    };
    assert_eq!((mode("db/deep/run"), mode("db/metadata.json")), (0o111, 0));
    let artifact = &summary["artifact"];
    assert_eq!(artifact["artifactType"], KIND);
    assert_eq!(artifact["files"][0]["directory"], "db");
    assert_eq!(summary["images"], Value::Array(Vec::new()));
    // Once more, with nothing from the registry.
    fs::remove_dir_all(user.path("out/files")).expect("can be removed");
    assert_eq!(pull(&user, &reference).0, files);
    // And by another user, who was brought it.
    user.run(&["store", "export", "--output", "store.tar", &reference])
        .succeeded();
    drop(registry);
    let other = new_user();
    let bundle = user.path("store.tar").display().to_string();
    other.run(&["store", "import", &bundle]).succeeded();
    assert_eq!(pull(&other, &reference).0, files);
}

#[test]
fn without_its_blobs_it_is_known_all_the_same() {
    let (registry, reference) = serve(&[(Some("db.tar.gz"), TGZ, vec![1; 1000])]);
    let user = new_user();
    let arguments = ["--output=out", "--shallow", "--summary=summary.json"];
    let arguments: Vec<&str> = ["pull", &reference].into_iter().chain(arguments).collect();
    user.run(&arguments).succeeded();
    let summary = fs::read_to_string(user.path("summary.json")).expect("can be read");
    assert!(summary.contains("\"path\":\"db.tar.gz\""), "{summary}");
    let sent: u64 = registry
        .requests()
        .iter()
        .map(|request| request.bytes)
        .sum();
    assert!(sent < 1000, "{sent} bytes were sent");
}

#[test]
fn what_cannot_be_unpacked_is_a_file_alone() {
    let many = (0..3).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), "x"));
    let zeros = vec![0; 65 << 20];
    for (archive, problem) in [
        (Layer::new().file("../up", "x"), "'..' in its name"),
        (Layer::new().symlink("l", "/etc/passwd"), "leads out"),
        (Layer::new().symlink("a/l", "../../x"), "leads out"),
        (Layer::new().symlink("up", "d/../../.."), "leads out"),
        (Layer::new().hard_link("l", "missing"), "no file here"),
        (Layer::new().symlink("l", "."), "directory that it is in"),
        (
            Layer::new().symlink("a/l", "../b").symlink("b/m", "../a"),
            "directory that it is in",
        ),
        (
            Layer::new().symlink("a", "b").symlink("b", "a"),
            "cannot be followed",
        ),
        (
            Layer::new()
                .symlink("l", &"x".repeat(99))
                .symlink("m", "l/x")
                .file(&"x".repeat(99), ""),
            "cannot be followed",
        ),
        (
            Layer::new()
                .symlink("l", "d")
                .file("l/x", "")
                .directory("d", 0o755),
            "a directory and a link",
        ),
        (
            Layer::new().symlink("l", "d").directory("l", 0o755),
            "a directory and a link",
        ),
        (
            Layer::new().add(EntryType::Fifo, "p", 0o644, "", b""),
            "neither a file",
        ),
        (Layer::new().file("x/BUILD.bazel", ""), "file of a package"),
        (Layer::new().file("a:b", ""), "no file of Bazel's"),
        (Layer::new().file("a", "").file("a/b", ""), "below a file"),
        (
            Layer::new().add(EntryType::Regular, "bomb", 0o644, "", &zeros),
            "more than",
        ),
        (Layer(many.0[..700].to_vec()), "not a whole tar archive"),
        (Layer(b"words".to_vec()), "not a whole tar archive"),
    ] {
        let (_registry, reference) = serve(&[(Some("db.tar.gz"), TGZ, gzip(&archive.0))]);
        let user = new_user();
        let (files, summary) = pull(&user, &reference);
        assert_eq!(names(&files), ["db.tar.gz"], "{problem}");
        let file = &summary["artifact"]["files"][0];
        let told = file["problem"].as_str().unwrap_or_default();
        assert!(
            told.contains(problem) && file["directory"].is_null(),
            "{file}"
        );
    }
}

#[test]
fn what_is_not_unpacked_is_told() {
    let archive = |name: &str| Layer::new().file(name, name).0;
    let dangling = Layer::new().symlink("a/l", "gone").symlink("m", "a/l");
    let (_registry, reference) = serve(&[
        (Some("a.tgz"), TGZ, gzip(&archive("one"))),
        (Some("a.tar"), TGZ, archive("two")),
        (Some("b"), KIND, b"b".to_vec()),
        (Some("b.tar"), TGZ, archive("three")),
        (Some("c.tar"), TGZ, dangling.file("f", "f").0),
    ]);
    let user = new_user();
    let (files, summary) = pull(&user, &reference);
    let expected = ["a.tar", "a.tgz", "a/one", "b", "b.tar", "c.tar", "c/f"];
    assert_eq!(names(&files), expected);
    assert!(!user.path("out/files/c/m").is_symlink());
    let problems = summary["artifact"]["files"].as_array().expect("a list");
    let problems: Vec<&str> = problems
        .iter()
        .map(|file| file["problem"].as_str().unwrap_or_default())
        .collect();
    let other = "is not unpacked: \"a\", which would be its directory, is another one's";
    assert_eq!(
        problems,
        [
            "",
            other,
            "",
            &other.replace("\"a\"", "\"b\""),
            "is unpacked without links to nothing: a/l, m",
        ]
    );
    let told = user.run(&["pull", &reference, "--output=o", "--files=o/files"]);
    assert!(
        told.stderr.contains(&format!("warning: a.tar {other}")),
        "{}",
        told.stderr
    );
}

#[test]
fn files_of_others_stay_where_an_artifacts_are_to_be() {
    let (_registry, reference) = serve(&[(Some("a"), "a/y", b"1".to_vec())]);
    let user = new_user();
    fs::create_dir(user.path("mine")).expect("can be made");
    fs::write(user.path("mine/thesis.txt"), "mine").expect("can be written");
    user.run(&["pull", &reference, "--output=o", "--files=mine"])
        .failed(&["mine is not empty: name a directory that is empty"]);
    let mine = fs::read_to_string(user.path("mine/thesis.txt"));
    assert_eq!(mine.expect("is there"), "mine");
}

#[test]
fn an_image_has_no_files_which_is_told_to_who_reads_no_summary() {
    let mut images = Images::default();
    let digest = images.add_image("app", &[100]);
    let registry = Registry::with(images);
    let reference = format!("{}/app@{digest}", registry.host());
    let user = new_user();
    let pull = |more: &[&str]| {
        let pull = ["pull", &reference, "--output=o", "--files=f"];
        user.run(&[&pull, more].concat())
    };
    pull(&[]).failed(&["is an image and no artifact", "without --files"]);
    pull(&["--no-store"]).failed(&["is an image and no artifact"]);
    pull(&["--shallow"]).failed(&["cannot be used with"]);
    assert!(!user.path("o/index.json").exists() && !user.path("f").exists());
    pull(&["--summary=s"]).succeeded();
    assert!(!user.path("f").exists());
}

#[test]
fn a_summary_takes_the_place_of_nothing_that_is_pulled() {
    let (_registry, reference) = serve(&[(Some("a"), "text/plain", b"x".to_vec())]);
    let user = new_user();
    fs::create_dir_all(user.path("there/deep")).expect("can be made");
    symlink("there", user.path("link")).expect("can be made");
    symlink("there/index.json", user.path("leads")).expect("can be made");
    let pull = |summary: &str, more: &[&str]| {
        let pull = ["pull", &reference, "--summary", summary];
        user.run(&[&pull, more].concat())
    };
    for (output, summary) in [
        ("out", "out/index.json"),
        ("out", "there/../out/oci-layout"),
        ("out/new", "./out/none/../new/index.json"),
        ("there", "leads"),
        ("link", "there/deep/../index.json"),
    ] {
        pull(summary, &["--output", output]).failed(&[summary, "are one file"]);
    }
    for (output, files, summary) in [
        ("out", "f", "out/blobs/summary.json"),
        ("out", "f", "f/summary.json"),
        ("out", "f", "f"),
        ("out", "there", "there"),
        ("out", "there", "link/summary.json"),
        ("there", "f", "there/blobs"),
    ] {
        pull(summary, &["--output", output, "--files", files])
            .failed(&[summary, "which is an output itself"]);
    }
    assert!(!user.path("out").exists() && !user.path("f").exists());
    // As a repository has it.
    pull("there/s", &["--output=there", "--files=there/f"]).succeeded();
    user.verify(&user.path("there"));
}

#[test]
fn names_of_blobs_without_titles_are_nobody_elses() {
    let blob = |kind: &'static str, content: &str| (None, kind, content.as_bytes().to_vec());
    let (_registry, reference) = serve(&[blob("a/y", "1"), blob("a/y", "2"), blob("a/y-2", "3")]);
    let (files, _) = pull(&new_user(), &reference);
    assert_eq!(names(&files), ["a/y", "a/y-2", "a/y-3"]);
    let contents: Vec<&str> = files.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(contents, ["1", "3", "2"]);
}

#[test]
fn a_title_that_is_no_path_within_a_directory_is_no_name() {
    for title in ["../up", "/etc/passwd", "a\nb", "BUILD", "a/...", "."] {
        let (_registry, reference) = serve(&[
            (Some(title), "text/plain", b"x".to_vec()),
            (Some("good"), "text/plain", b"y".to_vec()),
        ]);
        let user = new_user();
        let (files, summary) = pull(&user, &reference);
        assert_eq!(names(&files), ["good", "text/plain"], "{title}");
        let told = text(&summary["artifact"]["files"][0]["problem"]);
        assert!(told.contains(&format!("{title:?}")), "{told}");
        assert!(!user.path("up").exists());
        let printed = user.run(&["resolve", &reference]).succeeded().stdout;
        assert!(printed.contains("with text/plain, good"), "{printed}");
    }
}

#[test]
fn one_archive_with_many_titles_is_unpacked_within_the_same_limits() {
    let zeros = vec![0; 40 << 20];
    let archive = Layer::new().add(EntryType::Regular, "zeros", 0o644, "", &zeros);
    let bomb = gzip(&archive.0);
    let titled = ["a.tgz", "b.tgz", "c.tgz"];
    let blobs = titled.map(|title| (Some(title), TGZ, bomb.clone()));
    let (_registry, reference) = serve(&blobs);
    let (files, summary) = pull(&new_user(), &reference);
    assert_eq!(names(&files), ["a.tgz", "a/zeros", "b.tgz", "c.tgz"]);
    let told = text(&summary["artifact"]["files"][1]["problem"]);
    assert!(told.contains("more than"), "{told}");
}

#[test]
fn resolve_says_what_each_is() {
    let mut images = Images::default();
    let digest = images.add_artifact("db", KIND, &[(Some("db.tar.gz"), TGZ, vec![1])]);
    images.tag("db", "2", &digest);
    let image = images.add_image("team/db", &[10]);
    images.tag("team/db", "latest", &image);
    let registry = Registry::with(images);
    let user = new_user();
    let (db, team) = (
        format!("{}/db:2", registry.host()),
        format!("{}/team/db", registry.host()),
    );
    let printed = user.run(&["resolve", &db, &team]).succeeded().stdout;
    let expected = format!(
        r#"oci = use_extension("@oci_pull_all//oci:extensions.bzl", "oci")
# an artifact, {KIND}, with db.tar.gz; created 2026-11-20
oci.pull(
    name = "db",
    image = "{host}/db",
    tag = "2",
    digest = "{digest}",
)
# an image for linux/amd64
oci.pull(
    name = "db_latest",
    image = "{host}/team/db",
    tag = "latest",
    digest = "{image}",
)
use_repo(oci, "db", "db_latest")
"#,
        host = registry.host()
    );
    assert_eq!(printed, expected);
}

#[test]
fn resolve_says_what_is_not_as_it_seems() {
    let mut images = Images::default();
    let old = images.add_image("app", &[10]);
    let new = images.add_image("app", &[11]);
    images.tag("app", "1", &new);
    let artifact = images.add_artifact("list", KIND, &[]);
    let size = images.manifest(&artifact).to_string().len();
    let entries = json!([{"mediaType": MANIFEST, "digest": artifact, "size": size}]);
    for (tag, entries) in [("artifacts", entries), ("empty", json!([]))] {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let index = images.add_manifest("list", INDEX, index.to_string().into_bytes());
        images.tag("list", tag, text(&index["digest"]));
    }
    let registry = Registry::with(images);
    let user = new_user();
    let app = format!("{}/app:1", registry.host());
    let ran = user.run(&["resolve", &app, &app]).succeeded();
    assert_eq!(ran.stdout.matches("oci.pull(").count(), 1, "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    let ran = user.run(&["resolve", &format!("{app}@{new}")]).succeeded();
    assert_eq!(ran.stderr, "");
    let ran = user.run(&["resolve", &format!("{app}@{old}")]).succeeded();
    assert!(ran.stdout.contains(&old), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("warning: the tag 1") && ran.stderr.contains(&new),
        "{}",
        ran.stderr
    );
    let gone = app.replace(":1", ":gone");
    let ran = user.run(&["resolve", &format!("{gone}@{old}")]).succeeded();
    assert!(ran.stderr.contains("warning: "), "{}", ran.stderr);
    let list = format!("{}/list", registry.host());
    user.run(&["resolve", &format!("{list}:empty")])
        .failed(&["lists no image"]);
    user.run(&["resolve", &format!("{list}:artifacts")])
        .failed(&["lists no image, but artifacts", &artifact]);
}

#[test]
fn resolve_prints_what_it_knows_beside_what_it_does_not() {
    let mut images = Images::default();
    let app = images.add_image("app", &[10]);
    images.tag("app", "1", &app);
    let other = images.add_image("app", &[11]);
    let entries = [&app, &other].map(|digest| {
        let size = images.manifest(digest).to_string().len();
        let platform = json!({"os": "linux", "architecture": "amd64"});
        json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let index = images.add_manifest("app", INDEX, index.to_string().into_bytes());
    images.tag("app", "both", text(&index["digest"]));
    let registry = Registry::with(images);
    let name = |tag: &str| format!("{}/app:{tag}", registry.host());
    let user = new_user();
    let ran = user.run(&["resolve", &name("gone"), &name("1"), &name("lost")]);
    assert!(ran.stdout.contains(&app), "{}", ran.stdout);
    ran.failed(&[
        &format!("cannot resolve {}", name("gone")),
        &format!("cannot resolve {}", name("lost")),
    ]);
    let ran = user.run(&["resolve", &name("gone")]);
    assert_eq!(ran.stdout, "");
    // Nothing tells which of the two is meant.
    let ran = user.run(&["resolve", &name("both")]).succeeded();
    assert!(
        ran.stdout
            .contains("# an image for linux/amd64 (2 images for it)"),
        "{}",
        ran.stdout
    );
}

#[test]
fn resolve_gives_names_that_the_module_extension_takes() {
    let mut images = Images::default();
    let repositories = ["7zip", "x/files", "y/files", "db", "x/db-all", "x/db"];
    for repository in repositories {
        let digest = images.add_artifact(repository, KIND, &[]);
        images.tag(repository, "1", &digest);
    }
    let registry = Registry::with(images);
    let references = repositories.map(|name| format!("{}/{name}:1", registry.host()));
    let arguments = ["resolve"].into_iter();
    let arguments: Vec<&str> = arguments
        .chain(references.iter().map(String::as_str))
        .collect();
    let printed = new_user().run(&arguments).succeeded().stdout;
    let lines = printed.lines();
    let names: Vec<&str> = lines
        .filter_map(|line| line.strip_prefix("    name = "))
        .collect();
    let expected = [
        "\"oci_7zip\",",
        "\"files_1\",",
        "\"files_2\",",
        "\"db\",",
        "\"db_all_1\",",
        "\"db_1\",",
    ];
    assert_eq!(names, expected);
}
