//! What `.ci/program` and `.ci/release` make is what a user needs who has a registry of Bazel modules and no Rust.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::{cache, checkout, scratch, script};
use oci_pull_all_support::Registry;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = "oci-pull-all-linux-x86_64";

/// Runs a program of `.ci`, which must succeed; returns what it writes to its standard error.
fn run(program: &str, arguments: &[&str]) -> String {
    // The crates that stay the same are built once, and cargo tells when they do not.
    let output = script(&format!(".ci/{program}"))
        .args(arguments)
        .env("CARGO_TARGET_DIR", cache().join("programs"))
        // What a release is made of is tried here, not how fast it is.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .output()
        .expect("can be run");
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program}:\n{messages}");
    messages
}

fn sha256(file: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(file).expect("can be read")).to_vec()
}

/// The entry of the Bazel Central Registry, as its template has it, but with the archive where it is.
fn source(archive: &Path) -> Value {
    let template =
        fs::read_to_string(checkout().join(".bcr/source.template.json")).expect("can be read");
    let filled = template
        .replace("{OWNER}", "someone")
        .replace("{REPO}", "oci_pull_all")
        .replace("{TAG}", &format!("v{VERSION}"))
        .replace("{VERSION}", VERSION);
    let mut source: Value = serde_json::from_str(&filled).expect("JSON");
    let file = archive
        .file_name()
        .expect("a file")
        .to_str()
        .expect("UTF-8");
    let url = source["url"].as_str().expect("a string");
    assert!(url.ends_with(&format!("/v{VERSION}/{file}")), "{url}");
    source["url"] = json!(format!("file://{}", archive.display()));
    source["integrity"] = json!(format!("sha256-{}", STANDARD.encode(sha256(archive))));
    source
}

#[test]
fn a_release_serves_who_has_no_rust() {
    let release = scratch();
    let directory = release.path().to_str().expect("UTF-8");
    let url = format!("file://{directory}/");
    run("program", &["linux", "x86_64", directory]);
    let messages = run("release", &[&url, directory]);
    assert!(
        messages.contains("no oci-pull-all-macos-aarch64"),
        "{messages}"
    );
    let archive = release
        .path()
        .join(format!("oci_pull_all-{VERSION}.tar.gz"));
    let first = sha256(&archive);
    run("release", &[&url, directory]);
    assert_eq!(sha256(&archive), first, "the same files, another archive");

    let registry = Registry::with_base_images();
    let mut workspace = Workspace::new("../smoke", &[]);
    let entry = format!("modules/oci_pull_all/{VERSION}/source.json");
    let entry = workspace.registry().join(entry);
    fs::write(entry, source(&archive).to_string()).expect("can be written");
    let module = fs::read_to_string(workspace.path("MODULE.bazel")).expect("can be read");
    let (head, rest) = module
        .split_once("local_path_override(")
        .expect("the smoke test overrides the module");
    let (_, tail) = rest.split_once(")\n").expect("the call ends");
    let digest = tail
        .split('"')
        .find(|word| word.starts_with("sha256:"))
        .expect("a pull has a digest");
    let module = format!("{head}{tail}")
        .replace(digest, &registry.digest("library/debian", "stable"))
        .replace(
            "gcr.io/distroless/base",
            &format!("{}/library/debian", registry.host()),
        );
    fs::write(workspace.path("MODULE.bazel"), module).expect("can be written");
    workspace.set_env("OCI_PULL_ALL_TOOL", None);

    workspace.succeed(&["build", "//..."]);
    workspace.succeed(&["test", "//..."]);
    let repository = workspace.repository("tool", "oci_pull_all_tool");
    let program = repository.expect("it was fetched").join("oci-pull-all");
    assert_eq!(sha256(&program), sha256(&release.path().join(PROGRAM)));
}
