//! What is wrong in a workspace is an error that names it, its cause and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::{INDEX, Images, MANIFEST, Registry, text};
use serde_json::json;

/// A workspace whose declaration of bases is yet to be written.
struct Case {
    workspace: Workspace,
    registry: Registry,
    digest: String,
}

impl Case {
    fn new() -> Self {
        let registry = Registry::with_base_images();
        let digest = registry.digest("library/debian", "stable");
        Self {
            workspace: Workspace::new("errors", &[]),
            registry,
            digest,
        }
    }

    fn declare(&self, pulls: &str) {
        let module = format!(
            "bazel_dep(name = \"oci_pull_all\", version = \"0.1.0\")\n\
             oci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n\
             {pulls}\n"
        );
        fs::write(self.workspace.path("MODULE.bazel"), module).expect("can be written");
    }

    fn declare_base(&self, attributes: &str) {
        self.declare(&format!(
            "oci.pull(name = \"base\", {attributes})\nuse_repo(oci, \"base\")"
        ));
    }

    fn image(&self) -> String {
        format!("image = \"{}/library/debian\"", self.registry.host())
    }

    fn good(&self) -> String {
        format!("{}, digest = \"{}\"", self.image(), self.digest)
    }

    fn assert_fails(&self, target: &str, expected: &[&str]) {
        let messages = self.workspace.fail(&["build", target]);
        for text in expected {
            assert!(messages.contains(text), "no {text:?} in:\n{messages}");
        }
    }
}

#[test]
fn a_declaration_that_cannot_be_meant() {
    let case = Case::new();
    let image = case.image();

    let hex = case.digest.trim_start_matches("sha256:");
    for digest in [
        "",
        hex,
        "sha256:123",
        "md5:00000000000000000000000000000000",
    ] {
        case.declare_base(&format!("{image}, digest = \"{digest}\""));
        case.assert_fails(
            "//:image",
            &[
                &format!("base: \"{digest}\" is not a digest"),
                "oci-pull-all -- resolve",
                "/library/debian:TAG`",
            ],
        );
    }

    let upper = case.digest.to_uppercase().replace("SHA256", "sha256");
    case.declare_base(&format!("{image}, digest = \"{upper}\""));
    case.assert_fails("//:image", &["is not a digest", "lower-case"]);

    case.declare_base(&format!(
        "registry = \"docker.io\", digest = \"{}\"",
        case.digest
    ));
    case.assert_fails(
        "//:image",
        &["the image is not named clearly", "repository = "],
    );

    case.declare_base(&format!("{}, platforms = [\"linux\"]", case.good()));
    case.assert_fails(
        "//:image",
        &["\"linux\" is not a platform", "linux/arm64/v8"],
    );

    let pull = format!("oci.pull(name = \"base\", {})\n", case.good());
    let other = pull.replace("\"base\"", "\"base_all\"");
    case.declare(&format!("{pull}{other}use_repo(oci, \"base\")"));
    case.assert_fails(
        "//:image",
        &[
            "makes the repository \"base_all\"",
            "give one of them another name",
        ],
    );
}

#[test]
fn what_is_no_image() {
    let mut images = Images::default();
    let artifact = images.add_artifact("db", "a/b", &[(Some("f"), "a/c", b"x".to_vec())]);
    let size = images.manifest(&artifact).to_string().len();
    let entries = json!([{"mediaType": MANIFEST, "digest": artifact, "size": size}]);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let index = images.add_manifest("db", INDEX, index.to_string().into_bytes());
    let case = Case {
        workspace: Workspace::new("errors", &[]),
        registry: Registry::with(images),
        digest: text(&index["digest"]).to_owned(),
    };
    let declare = |digest: &str| {
        let image = format!("{}/db", case.registry.host());
        case.declare_base(&format!("image = \"{image}\", digest = \"{digest}\""));
    };
    declare(&case.digest);
    case.assert_fails("//:image", &["lists no image", "resolve", &case.digest]);
    declare(&artifact);
    case.assert_fails(
        "//:image",
        &[
            "is no image, but an artifact of the type \"a/b\"",
            "oci_artifact_files",
        ],
    );
}

#[test]
fn an_isolated_usage() {
    let case = Case::new();
    case.declare_base(&case.good());
    let module = case.workspace.path("MODULE.bazel");
    let text = fs::read_to_string(&module).expect("can be read");
    let isolated = text.replace("\"oci\")", "\"oci\", isolate = True)");
    fs::write(&module, isolated).expect("can be written");
    let flag = "--experimental_isolated_extension_usages";
    let messages = case.workspace.fail(&["build", flag, "//:image"]);
    assert!(messages.contains("leave isolate out"), "{messages}");
    fs::write(&module, text).expect("can be written");
    case.workspace.succeed(&["build", flag, "//:image"]);
}

#[test]
fn an_image_that_cannot_be_built() {
    let case = Case::new();
    case.declare_base(&case.good());
    case.assert_fails(
        "//:half_a_platform",
        &["os and architecture must be set both"],
    );
    case.assert_fails("//:same_platform_twice", &["linux/amd64"]);
}

#[test]
fn what_cannot_be_scanned() {
    let case = Case::new();
    case.declare_base(&case.good());
    for (target, expected) in [
        (
            "scan_of_pulled",
            &["base//:base is an image", "make an oci_image_layout"][..],
        ),
        ("scan_of_two_files", &["//:two_files has 2 files"]),
        (
            "archive_of_pulled",
            &["base//:base is an image", "make an oci_image_layout"],
        ),
        (
            "sbom_of_rootfs",
            &["//:rootfs is rootfs.tar", "not a directory"],
        ),
        (
            "layout_test_of_archive",
            &["archive.tar", "not a directory"],
        ),
        ("sbom_without_generator", &["make an oci_sbom_toolchain"]),
        ("scan_with_env", &["the variable \"A=B\""]),
        ("scan_with_exit", &["expected_exit is 256"]),
        ("scan_with_report", &["report is \"../report.txt\""]),
        ("scan_with_directory", &["report is \"sub/\""]),
        (
            "scan_with_unknown_placeholder",
            &[
                "args has {image} in \"oci-dir:{image}\"",
                "there are {layout}, {report}, {outputs}",
            ],
        ),
        (
            "scan_with_no_placeholder",
            &["neither args nor env has a placeholder", "OCI_LAYOUT"],
        ),
        ("scan_with_no_program", &["//:two_files is not a program"]),
        ("oci_tags", &["repo_tags are for format = \"docker\""]),
        ("no_tag", &["\"example.com:5000/app\"", "a name and a tag"]),
        (
            "template_image",
            &["args_template has {image}", "stands for nothing"],
        ),
        (
            "template_no_output",
            &["no word of args_template has {output}"],
        ),
    ] {
        case.assert_fails(&format!("//:{target}"), expected);
    }
}

#[test]
fn a_store_for_one_repository_alone() {
    let mut case = Case::new();
    case.declare_base(&case.good());
    case.workspace
        .set_env("OCI_PULL_ALL_STORE", Some("relative/store"));
    case.assert_fails(
        "//:image",
        &["OCI_PULL_ALL_STORE is \"relative/store\"", "absolute path"],
    );
}

#[test]
fn a_tool_by_a_relative_path() {
    let mut case = Case::new();
    case.declare_base(&case.good());
    let path = "relative/oci-pull-all";
    case.workspace.set_env("OCI_PULL_ALL_TOOL", Some(path));
    case.assert_fails(
        "//:image",
        &[
            &format!("OCI_PULL_ALL_TOOL is \"{path}\""),
            "absolute path",
            "unset it",
        ],
    );
}

#[test]
fn a_program_that_cargo_cannot_build() {
    let mut case = Case::new();
    case.declare_base(&case.good());
    let bin = case.workspace.path("bin");
    fs::create_dir(&bin).expect("can be made");
    let cargo =
        "#!/bin/sh\n[ \"$1\" != -vV ] || exec echo 'host: here'\necho 'no linker' >&2\nexit 1\n";
    fs::write(bin.join("cargo"), cargo).expect("can be written");
    let executable = PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("cargo"), executable).expect("can be set");
    case.workspace.set_env("OCI_PULL_ALL_TOOL", None);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    case.workspace.set_env("PATH", Some(&path));
    case.assert_fails(
        "//:image",
        &[
            "no linker",
            "cargo could not build oci-pull-all from ",
            "A C compiler must be installed",
        ],
    );
}

#[test]
fn a_scanner_of_which_nobody_says_where_its_program_is() {
    let case = Case::new();
    case.declare_base(&case.good());
    let package = case.workspace.path("scanner");
    fs::create_dir(&package).expect("can be made");
    for (rule, attributes, expected) in [
        (
            "trivy_scanner",
            "databases = []",
            "scanner.program: give either image or program",
        ),
        (
            "trivy_scanner",
            "databases = [], image = \"@base\", program = \"trivy\"",
            "scanner.program: give either image or program",
        ),
        (
            "grype_scanner",
            "database = \"db\", program = \"grype\"",
            "scanner.syft: give either syft_image or syft_program",
        ),
    ] {
        let load = format!("load(\"@oci_pull_all//oci:defs.bzl\", \"{rule}\")");
        let build = format!("{load}\n\n{rule}(name = \"scanner\", {attributes})\n");
        fs::write(package.join("BUILD.bazel"), build).expect("can be written");
        case.assert_fails("//scanner", &[expected]);
    }
}
