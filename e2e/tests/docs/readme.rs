//! The front page: what it says to write makes a workspace whose images are scanned.

use std::fs;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::page::write_files;
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::trivy_db::{Advisory, add_trivy_db};
use oci_pull_all_e2e::{checkout, scratch};
use oci_pull_all_support::{Registry, debian};

/// Of what is in the base.
const ADVISORY: Advisory = Advisory {
    source: "debian 13",
    package: "base-files",
    id: "CVE-2099-0001",
    fixed: "13.1",
    severity: "HIGH",
    title: "made up",
};

#[test]
fn what_is_written_as_on_the_front_page_is_scanned() {
    let mut images = debian();
    let path = "usr/local/bin/trivy";
    let Some(trivy) = Peer::Trivy.image_or_skip(&mut images, "aquasecurity/trivy", path) else {
        return;
    };
    let database = add_trivy_db(&mut images, &[ADVISORY], "2026-10-10");
    let registry = Registry::with(images);
    let pulled = [
        ("debian", registry.digest("library/debian", "stable")),
        ("trivy", trivy),
        ("trivy_db", database),
    ];

    let files = scratch();
    let page = fs::read_to_string(checkout().join("README.md")).expect("can be read");
    write_files(&page, files.path());
    let workspace = Workspace::new(files.path().to_str().expect("UTF-8"), &[]);
    let module = workspace.path("MODULE.bazel");
    let mut text = fs::read_to_string(&module).expect("can be read");
    for (name, digest) in pulled {
        let before = format!("name = \"{name}\",\n    digest = \"");
        assert!(text.contains(&before), "no {name} in {text}");
        text = text.replace(&format!("{before}sha256:…"), &format!("{before}{digest}"));
    }
    for host in ["docker.io", "ghcr.io"] {
        text = text.replace(&format!("\"{host}/"), &format!("\"{}/", registry.host()));
    }
    fs::write(&module, text).expect("can be written");
    fs::create_dir(workspace.path("server")).expect("can be made");
    fs::write(workspace.path("server/server"), "#!/bin/sh\n").expect("can be written");
    fs::write(
        workspace.path("server/BUILD.bazel"),
        "exports_files([\"server\"])\n",
    )
    .expect("can be written");

    // What the base has fails once, beside the policy.
    let run = workspace.bazel(&["test", "//...", "--keep_going"]);
    assert!(!run.success, "{}", run.stdout);
    let said = run.stdout;
    for (test, end) in [("//security:debian", "FAILED"), ("//:scan", "PASSED")] {
        let ended = |line: &str| line.starts_with(test) && line.contains(end);
        assert!(said.lines().any(ended), "no {test} {end} in {said}");
    }
    let found = "found: CVE-2099-0001 high base-files 13, fixed in 13.1: made up";
    assert!(said.contains(found), "{said}");
}
