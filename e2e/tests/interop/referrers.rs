//! Signatures, SBOMs and attestations that are pulled with an image.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::new_user;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_support::layout::index_json;
use oci_pull_all_support::referrers::{Repository, SBOM, SIGNATURE, list_of, pull};
use oci_pull_all_support::{Answer, Faulty, Seen, blobs, text};
use serde_json::Value;

/// The names of the entries of a layout's `index.json` after the image itself.
fn names(layout: &Path) -> Vec<String> {
    let index = index_json(layout);
    let entries = index["manifests"].as_array().expect("manifests");
    let name =
        |entry: &Value| text(&entry["annotations"]["org.opencontainers.image.ref.name"]).to_owned();
    entries[1..].iter().map(name).collect()
}

fn tag_of(subject: &Value) -> String {
    text(&subject["digest"]).replace(':', "-")
}

fn tags_of(subjects: &[&Value]) -> Vec<String> {
    let mut tags: Vec<_> = subjects.iter().map(|subject| tag_of(subject)).collect();
    tags.sort();
    tags
}

/// What oras finds in a layout that refers to its index or to its image, at any depth: digests and artifact
/// types.
fn discovered(layout: &Path, subject: &Value) -> Vec<(String, String)> {
    fn walk(node: &Value, found: &mut Vec<(String, String)>) {
        for referrer in node["referrers"].as_array().into_iter().flatten() {
            let part = |name: &str| text(&referrer[name]).to_owned();
            found.push((part("digest"), part("artifactType")));
            walk(referrer, found);
        }
    }
    // oras finds by its digest only what index.json lists.
    let root = &index_json(layout)["manifests"][0]["digest"];
    let reference = format!("{}@{}", layout.display(), text(root));
    let platform: &[&str] = if *root == subject["digest"] {
        &[]
    } else {
        &["--platform", "linux/amd64"]
    };
    // In Bazel's output, the blobs are links out of the layout.
    let shared = layout.ancestors().find(|path| path.ends_with("e2e"));
    let output = Root::get()
        .command(Life::Child, &[shared.unwrap_or(layout)], "oras")
        .args(["discover", "--oci-layout", "--format", "json", &reference])
        .args(platform)
        .output()
        .expect("oras can be run");
    assert!(output.status.success(), "{output:?}");
    let tree: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut found = Vec::new();
    walk(&tree, &mut found);
    found.sort();
    found
}

fn expected(referrers: &[(&Value, &str)]) -> Vec<(String, String)> {
    let mut expected: Vec<_> = referrers
        .iter()
        .map(|(referrer, kind)| (text(&referrer["digest"]).to_owned(), (*kind).to_owned()))
        .collect();
    expected.sort();
    expected
}

#[test]
fn what_refers_to_an_image_comes_with_it() {
    let (repository, [signature, sbom, of_sbom]) = Repository::signed();
    let (index, image) = (repository.index.clone(), repository.image.clone());
    let registry = repository.clone().serve(|_, answer| answer);
    let reference = repository.reference(&registry.host());
    let user = new_user();

    user.run(&["pull", &reference, "--output", "bare"])
        .succeeded();
    let asked = |seen: &Seen| seen.path.contains("/referrers/");
    assert!(!registry.seen().iter().any(asked), "nobody wanted them");
    assert_eq!(names(&user.path("bare")), Vec::<String>::new());

    pull(&user, &reference, "out", &[]).succeeded();
    let layout = user.path("out");
    verify(&layout);
    // The index, the image with its config and layer; three referrers with one blob each and the empty
    // config; three indexes that list them.
    assert_eq!(blobs(&layout).len(), 4 + 3 * 2 + 1 + 3);
    assert_eq!(names(&layout), tags_of(&[&index, &image, &sbom]));
    assert_eq!(
        index_json(&layout)["manifests"][0]["digest"],
        index["digest"]
    );
    assert_eq!(
        discovered(&layout, &index),
        expected(&[(&signature, SIGNATURE)])
    );
    assert_eq!(
        discovered(&layout, &image),
        expected(&[(&sbom, SBOM), (&of_sbom, SIGNATURE)])
    );
    let mut twice = pull(&user, &reference, "out", &[]).succeeded().stderr;
    twice.retain(|c| c != '\n');
    assert!(twice.contains(" 0 B transferred"), "{twice}");
    pull(&user, &reference, "none", &["--shallow"]).failed(&["--referrers", "--shallow"]);
}

#[test]
fn what_is_no_manifest_is_left_out_and_told() {
    let (mut repository, [signature, ..]) = Repository::signed();
    let index = repository.index.clone();
    let old = "application/vnd.oci.artifact.manifest.v1+json";
    let entry = repository.content.add(old, b"{}".to_vec());
    repository.list(&index, entry);
    let registry = repository.clone().serve(|_, answer| answer);
    let user = new_user();
    let reference = repository.reference(&registry.host());
    let ran = pull(&user, &reference, "out", &[]).succeeded();
    assert!(ran.stderr.contains("left out"), "{}", ran.stderr);
    let found = discovered(&user.path("out"), &index);
    assert_eq!(found, expected(&[(&signature, SIGNATURE)]));
}

/// An image in an empty registry of Debian's, which has no API, to which oras attached two files.
struct Attached {
    registry: DockerRegistry,
    repository: Repository,
}

impl Attached {
    fn new() -> Self {
        let registry = DockerRegistry::empty();
        let repository = Repository::new();
        let user = new_user();
        let source = repository.clone().serve(|_, answer| answer);
        let reference = repository.reference(&source.host());
        user.run(&["pull", &reference, "--output", "seed"])
            .succeeded();
        let oras = |arguments: &[&str]| {
            let output = Root::get()
                .command(Life::Child, &[user.home()], "env")
                .arg(format!("--chdir={}", user.home().display()))
                .arg("oras")
                .args(arguments)
                .output()
                .expect("oras can be run");
            assert!(output.status.success(), "{output:?}");
        };
        let there = repository.reference(registry.host());
        let seed = format!("seed@{}", text(&repository.index["digest"]));
        let tagged = format!("{}/app:v1", registry.host());
        oras(&["cp", "--from-oci-layout", "--to-plain-http", &seed, &tagged]);
        fs::write(user.path("sbom.json"), "{\"sbom\": 1}").expect("can be written");
        let attach = ["attach", "--plain-http", "--artifact-type", SBOM];
        oras(&[&attach[..], &[&there, "sbom.json:application/json"]].concat());
        let image = text(&repository.image["digest"]);
        let image = format!("{}/app@{image}", registry.host());
        oras(&[&attach[..], &[&image, "sbom.json:application/json"]].concat());
        Self {
            registry,
            repository,
        }
    }
}

#[test]
fn a_registry_without_the_api_has_tags() {
    let attached = Attached::new();
    let Repository { index, image, .. } = &attached.repository;
    let host = attached.registry.host();
    let reference = attached.repository.reference(host);
    let user = new_user();
    pull(&user, &reference, "out", &[]).succeeded();
    let layout = user.path("out");
    verify(&layout);
    assert_eq!(names(&layout), tags_of(&[index, image]));
    for subject in [index, image] {
        let found = discovered(&layout, subject);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, SBOM);
    }

    // A mirror that has the image alone does not tell that nothing refers to it.
    let mirror = attached.repository.clone();
    let mirror = Faulty::good(mirror.content);
    let user = new_user();
    let mirrors = ["--mirror", &mirror.host()];
    pull(&user, &reference, "out", &mirrors).succeeded();
    assert_eq!(index_json(&user.path("out")), index_json(&layout));
    // Where nothing but mirrors can be reached, it must, and that is told once.
    let user = new_user();
    let elsewhere = attached.repository.reference("127.0.0.1:1");
    let ran = pull(&user, &elsewhere, "out", &["--mirror", host]).succeeded();
    assert_eq!(index_json(&user.path("out")), index_json(&layout));
    let told = ran.stderr.matches("only what the mirrors have").count();
    assert_eq!(told, 1, "{}", ran.stderr);

    // A registry that answers whatever it does not know with a page for people.
    let (repository, [signature, ..]) = Repository::signed();
    let lists = repository.clone();
    let registry = Faulty::start(repository.content.clone(), move |seen, answer| {
        if seen.path.contains("/referrers/") {
            return Answer::new(200, "<html>").header("Content-Type", "text/html");
        }
        let tag = seen.path.rsplit('/').next().unwrap_or_default();
        match lists.lists.get(&tag.replace("sha256-", "sha256:")) {
            Some(list) if tag.starts_with("sha256-") => list_of(list),
            _ => answer,
        }
    });
    let user = new_user();
    pull(&user, &repository.reference(&registry.host()), "out", &[]).succeeded();
    let found = discovered(&user.path("out"), &repository.index);
    assert_eq!(found, expected(&[(&signature, SIGNATURE)]));
}

#[test]
fn bazel_keeps_them_in_layouts_of_the_base_itself() {
    let attached = Attached::new();
    let Repository { index, image, .. } = &attached.repository;
    let name = format!("{}/app", attached.registry.host());
    let values = [("DIGEST", text(&index["digest"])), ("IMAGE", name.as_str())];
    let workspace = Workspace::new("referrers", &values);
    workspace.succeed(&["test", "//..."]);
    workspace.succeed(&["build", "//:archive", "//:rootfs"]);
    for layout in ["base_layout", "other_layout"] {
        let layout = workspace.output(layout);
        assert_eq!(names(&layout), tags_of(&[index, image]));
        let mut found = discovered(&layout, index);
        found.extend(discovered(&layout, image));
        assert_eq!(found.len(), 2, "{found:?}");
    }
    // In an index of others, what refers to the image stays, and what refers to its former index does not.
    let mixed = workspace.output("mixed_layout");
    assert_eq!(names(&mixed), tags_of(&[image]));
    assert_eq!(discovered(&mixed, image).len(), 1);
    for (layout, count) in [("built_layout", 3), ("bare_layout", 4)] {
        let layout = workspace.output(layout);
        assert_eq!(names(&layout), Vec::<String>::new());
        assert_eq!(blobs(&layout).len(), count);
    }
    let archive = fs::metadata(workspace.output("archive.tar")).expect("there");
    assert!(archive.len() > 0);
}
