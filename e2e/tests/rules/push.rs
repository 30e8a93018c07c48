//! What goes over the wire when an image is pushed, as the registries saw it.

use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::new_user;
use oci_pull_all_support::{Registry, Request, about, debian, pushed, text};

const BASE: &str = "library/debian";

/// The case `push`, with the base at `source`, to push to `target`.
fn workspace(source: &Registry, digest: &str, target: &Registry) -> Workspace {
    let values = [
        ("SOURCE", source.host()),
        ("DIGEST", digest),
        ("TARGET", target.host()),
    ];
    Workspace::new("push", &values)
}

/// Has the program pull an image, which must be whole.
fn check_image(reference: &str) {
    let user = new_user();
    user.run(&["pull", reference, "--output", "layout"])
        .succeeded();
    user.run(&["verify", "layout"]).succeeded();
}

fn methods(requests: &[Request]) -> Vec<&str> {
    let mut methods: Vec<_> = requests.iter().map(|r| r.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    methods
}

/// The layers of the base's image for amd64.
fn amd64_layers(registry: &Registry, index: &str) -> Vec<(String, u64)> {
    let index = registry.manifest(index);
    let manifests = index["manifests"].as_array().expect("an index");
    let amd64 = manifests
        .iter()
        .find(|entry| entry["platform"]["architecture"] == "amd64")
        .expect("the base has an image for amd64");
    let image = registry.manifest(text(&amd64["digest"]));
    let layers = image["layers"].as_array().expect("layers").iter();
    layers
        .map(|layer| {
            let size = layer["size"].as_u64().expect("a size");
            (text(&layer["digest"]).to_owned(), size)
        })
        .collect()
}

#[test]
fn a_base_of_the_same_registry_is_mounted() {
    let registry = Registry::with(debian());
    let digest = registry.digest(BASE, "stable");
    let layers = amd64_layers(&registry, &digest);
    let workspace = workspace(&registry, &digest, &registry);
    workspace.succeed(&["build", "//:push"]);

    let before = registry.requests().len();
    let run = workspace.succeed(&["run", "//:push"]);
    let repository = format!("{}/team/app", registry.host());
    let image = pushed(&run.stdout, &repository).to_owned();
    let requests = registry.requests().split_off(before);
    for (layer, _) in &layers {
        let asked = about(&requests, "POST", layer);
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].path.contains("from=library%2Fdebian"), "{asked:?}");
        assert_eq!(asked[0].status, 201);
        for method in ["GET", "PUT"] {
            assert_eq!(about(&requests, method, layer), Vec::<&Request>::new());
        }
    }
    let sent = |request: &&Request| request.method == "PUT" && request.path.contains("/blobs/");
    assert_eq!(
        requests.iter().filter(sent).count(),
        2,
        "the config and the local layer"
    );
    for tag in ["latest", "v1"] {
        assert_eq!(registry.digest("team/app", tag), image);
    }
    check_image(&format!("{repository}@{image}"));

    let before = registry.requests().len();
    workspace.succeed(&["run", "//:push"]);
    let requests = registry.requests().split_off(before);
    assert_eq!(methods(&requests), ["HEAD"], "all is there");

    workspace.succeed(&["run", "//:push", "--", "--tag", "v2"]);
    assert_eq!(registry.digest("team/app", "v2"), image);
    assert_eq!(
        workspace.pulled("base_all"),
        None,
        "a push fetched the base"
    );
}

#[test]
fn a_base_of_another_registry_passes_through() {
    let source = Registry::with_base_images();
    let digest = source.digest(BASE, "stable");
    let layers = amd64_layers(&source, &digest);
    let target = Registry::empty();
    let workspace = workspace(&source, &digest, &target);

    let run = workspace.succeed(&["run", "//:push"]);
    let repository = format!("{}/team/app", target.host());
    check_image(&format!(
        "{repository}@{}",
        pushed(&run.stdout, &repository)
    ));
    assert_eq!(source.layer_bytes(&layers), layers, "each byte once");
    assert_eq!(
        workspace.pulled("base_all"),
        None,
        "a push fetched the base"
    );

    workspace.succeed(&["build", "//:layout"]);
    let known = source.requests().len();
    let other = format!("{}/team/other", target.host());
    let run = workspace.succeed(&["run", "//:push", "--", "--repository", &other]);
    check_image(&format!("{other}@{}", pushed(&run.stdout, &other)));
    assert_eq!(
        source.requests().len(),
        known,
        "the store has the base's layers now"
    );
}

#[test]
fn an_index_goes_with_all_its_images_and_its_tags_are_stamped() {
    let source = Registry::with_base_images();
    let digest = source.digest(BASE, "stable");
    let target = Registry::empty();
    let workspace = workspace(&source, &digest, &target);
    // What is stamped only when it runs cannot fail a build.
    workspace.succeed(&["build", "//:push", "//:push_index", "//:copy"]);
    let messages = workspace.fail(&["run", "//:push_index"]);
    assert!(messages.contains("--embed_label sets it"), "{messages}");
    let stamped = ["run", "//:push_index", "--embed_label=v3"];
    let messages = workspace.fail(&stamped);
    for expected in ["BUILD_USER_NUMBER", "--workspace_status_command"] {
        assert!(messages.contains(expected), "{messages}");
    }
    let status = format!(
        "--workspace_status_command={}",
        workspace.path("status.sh").display()
    );
    let run = workspace.succeed(&[&stamped[..], &[&status]].concat());
    let repository = format!("{}/team/index", target.host());
    let index = pushed(&run.stdout, &repository).to_owned();
    for tag in ["v3-17", "release", "stable"] {
        assert_eq!(target.digest("team/index", tag), index);
    }
    check_image(&format!("{repository}@{index}"));

    // A pulled index has an attestation, which is no image that a build could name.
    let run = workspace.succeed(&["run", "//:copy"]);
    let repository = format!("{}/copied/debian", target.host());
    assert_eq!(pushed(&run.stdout, &repository), digest);
    check_image(&format!("{repository}@{digest}"));

    let messages = workspace.fail(&["build", "//:push_to_tag"]);
    for expected in ["/team/app:v1", "without a tag", "remote_tags"] {
        assert!(messages.contains(expected), "{messages}");
    }
}

#[test]
fn several_are_pushed_once_all_can_be() {
    let source = Registry::with_base_images();
    let digest = source.digest(BASE, "stable");
    let target = Registry::empty();
    let workspace = workspace(&source, &digest, &target);
    // The second has a tag that nobody fills in.
    let messages = workspace.fail(&["run", "//:push_all"]);
    assert!(messages.contains("--embed_label sets it"), "{messages}");
    assert!(target.requests().is_empty(), "{:?}", target.requests());

    let status = format!(
        "--workspace_status_command={}",
        workspace.path("status.sh").display()
    );
    let run = workspace.succeed(&[
        "run",
        "//:push_all",
        "--embed_label=v3",
        &status,
        "--",
        "--tag",
        "both",
    ]);
    for (name, tag) in [("app", "v1"), ("index", "v3-17")] {
        let repository = format!("{}/team/{name}", target.host());
        let line = run
            .stdout
            .lines()
            .find(|line| line.starts_with(&repository));
        let digest = pushed(line.expect("it is told"), &repository);
        for tag in [tag, "both"] {
            assert_eq!(target.digest(&format!("team/{name}"), tag), digest);
        }
    }
}

#[test]
fn a_push_starts_wherever_it_stands() {
    let source = Registry::with_base_images();
    let digest = source.digest(BASE, "stable");
    let target = Registry::empty();
    let workspace = workspace(&source, &digest, &target);
    workspace.succeed(&["build", "//:push", "//:deploy"]);
    let elsewhere = tempfile::tempdir().expect("a directory");
    for (program, tag) in [("push", "v1"), ("deploy", "deployed")] {
        let output = Command::new(workspace.output(program))
            .current_dir(elsewhere.path())
            .output()
            .expect("can be run");
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {messages}");
        let repository = format!("{}/team/app", target.host());
        let digest = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(target.digest("team/app", tag), pushed(&digest, &repository));
    }
}
