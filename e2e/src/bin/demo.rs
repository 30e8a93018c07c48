//! The main job, shown: pulls a base image through Bazel, builds a whole image layout on it, and scans it.
//!
//! usage: demo [REFERENCE]

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use oci_pull_all_e2e::bazel::{Bazel, Workspace};
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::root::Root;
use oci_pull_all_e2e::trivy_db::{Advisory, metadata, trivy_db};
use oci_pull_all_e2e::{in_target, make_removable, program};

fn main() -> ExitCode {
    let directory = in_target("demo");
    let users = ["bazelisk", "bazel"]
        .iter()
        .find_map(|name| Bazel::on_path(name.as_ref()));
    let bazel = users.map_or(Bazel::Debian, Bazel::Users);
    if let Some(reference) = std::env::args().nth(1) {
        return build(&directory, bazel, &reference, None);
    }
    if Root::try_get().is_none() {
        eprintln!("error: no base image could be made; name one: e2e/demo IMAGE@DIGEST");
        return ExitCode::FAILURE;
    }
    let mut registry = DockerRegistry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let reference = format!("{}/library/debian@{digest}", registry.host());
    build(
        &directory,
        bazel,
        &reference,
        Some((&mut registry, &digest)),
    )
}

fn build(
    directory: &Path,
    bazel: Bazel,
    reference: &str,
    registry: Option<(&mut DockerRegistry, &str)>,
) -> ExitCode {
    let Some((image, digest)) = reference.split_once('@') else {
        eprintln!(
            "error: {reference} has no digest; a pull is by digest, such as the one that this prints:"
        );
        eprintln!("  {} resolve {reference}", program().display());
        return ExitCode::FAILURE;
    };
    if directory.exists() {
        make_removable(directory);
        fs::remove_dir_all(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    }
    let values = [("IMAGE", image), ("DIGEST", digest)];
    let mut workspace = Workspace::in_directory(directory, bazel, "demo", &values);
    println!(
        "a workspace on {reference}: {}",
        workspace.path("").display()
    );

    let mut asked = {
        let mut registry = registry;
        let mut before = 0;
        move || {
            let Some((registry, digest)) = &mut registry else {
                return String::new();
            };
            let layers = registry.layers(digest);
            let sent = registry.layer_bytes(&layers);
            let bytes: u64 = sent.iter().map(|(_, bytes)| bytes).sum();
            let new = bytes - before;
            before = bytes;
            format!("; asked of the registry: {new} bytes of layers")
        }
    };
    let mut steps = vec![
        vec!["build", "//:image"],
        vec!["build", "//:image_layout"],
        vec!["test", "//:scan"],
    ];
    match Peer::Trivy.find() {
        Ok(trivy) => {
            provide(&mut workspace, &trivy);
            println!("the database of vulnerabilities that Trivy is given is made up");
            steps.push(vec!["test", SCANNER, "//:vulnerabilities"]);
        }
        Err(cause) => println!("no scan by Trivy: {cause}"),
    }
    for arguments in steps {
        let begin = Instant::now();
        println!("$ bazel {}", arguments.join(" "));
        let run = workspace.bazel(&arguments);
        if !run.success {
            eprintln!("{}", run.stderr);
            return ExitCode::FAILURE;
        }
        println!("  {:.1} s{}", begin.elapsed().as_secs_f64(), asked());
    }

    let log = workspace.output("../testlogs/vulnerabilities/test.log");
    let log = fs::read_to_string(log).unwrap_or_default();
    // Behind what Bazel writes before a test's own output.
    for line in log
        .lines()
        .skip_while(|line| !line.starts_with("---"))
        .skip(1)
    {
        println!("  {line}");
    }
    let layout = workspace.output("image_layout");
    println!("$ oci-pull-all verify {}", layout.display());
    let verified = Command::new(program()).arg("verify").arg(&layout).status();
    if !verified.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    println!("{}", layout.display());
    ExitCode::SUCCESS
}

/// Trivy as the scanner of the build.
const SCANNER: &str = "--@oci_pull_all//oci:scanner=//security:trivy";

/// Puts Trivy into the workspace, and a made-up database of today.
fn provide(workspace: &mut Workspace, trivy: &Path) {
    workspace.share(trivy.parent().expect("it is in a directory"));
    symlink(trivy, workspace.path("security/trivy_program")).expect("can be made");
    let advisory = Advisory {
        source: "pip::GitHub Security Advisory Pip",
        package: "made-up",
        id: "CVE-2099-0001",
        fixed: "2.0",
        severity: "HIGH",
        title: "made up",
    };
    let database = workspace.path("security/trivy.db");
    fs::write(database, trivy_db(&[advisory])).expect("can be written");
    let today = Command::new("date").args(["-u", "+%F"]).output();
    let today = String::from_utf8(today.expect("date runs").stdout).expect("a day");
    let description = workspace.path("security/metadata.json");
    fs::write(description, metadata(today.trim_end())).expect("can be written");
}
