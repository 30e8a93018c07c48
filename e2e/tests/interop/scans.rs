//! Scans as ordinary tests: real scanners on what Bazel builds, with no network and no flags.

use std::fs;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::new_user;
use oci_pull_all_e2e::scratch;
use oci_pull_all_support::Registry;
use serde_json::Value;

/// A file of a test's outputs, which Bazel zips.
fn output(workspace: &Workspace, test: &str, name: &str) -> Vec<u8> {
    let unpacked = scratch();
    let archive = workspace
        .info("bazel-testlogs")
        .join(test)
        .join("test.outputs/outputs.zip");
    let status = Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&archive)
        .arg(unpacked.path())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{}",
        archive.display()
    );
    fs::read(unpacked.path().join(name)).unwrap_or_else(|e| panic!("{test}: {name}: {e}"))
}

/// Runs a test that must fail; returns what it wrote.
fn failing(workspace: &Workspace, test: &str) -> String {
    workspace.fail(&["test", &format!("//:{test}")]);
    let log = workspace.info("bazel-testlogs").join(test).join("test.log");
    fs::read_to_string(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()))
}

/// Checks that a test's log has these texts, in this order.
fn in_order(log: &str, texts: &[&str]) {
    let mut rest = log;
    for text in texts {
        let Some((_, after)) = rest.split_once(text) else {
            panic!("no {text:?}, or not in its place, in:\n{log}");
        };
        rest = after;
    }
}

#[test]
fn scanners_pass_and_fail_for_the_right_reason() {
    let registry = Registry::with_base_images();
    let Some(workspace) = Workspace::scans(&registry) else {
        return;
    };

    workspace.succeed(&["test", "//..."]);
    let given = ["oci_dir", "oci_archive", "docker_archive", "dir"];
    let made = [
        "layout",
        "oci_archive",
        "docker_archive",
        "rootfs",
        "registry",
    ];
    let given = given.map(|source| format!("syft_{source}"));
    let made = made.map(|input| format!("syft_by_{input}"));
    for test in given.into_iter().chain(made) {
        let sbom: Value =
            serde_json::from_slice(&output(&workspace, &test, "sbom.json")).expect("JSON");
        let names: Vec<_> = sbom["artifacts"]
            .as_array()
            .expect("artifacts")
            .iter()
            .filter_map(|artifact| artifact["name"].as_str())
            .collect();
        for package in ["base-files", "leftpad"] {
            assert!(
                names.contains(&package),
                "{test}: no {package} in {names:?}"
            );
        }
    }
    let listed = output(&workspace, "trivy", "sbom.cdx.json");
    let listed: Value = serde_json::from_slice(&listed).expect("JSON");
    let components = listed["components"].as_array().expect("components");
    for package in ["base-files", "leftpad"] {
        let found = components.iter().any(|found| found["name"] == package);
        assert!(found, "trivy: no {package} in {listed}");
    }
    let sbom = |name: &str| -> Value {
        let text = fs::read(workspace.output(name)).expect("can be read");
        serde_json::from_slice(&text).expect("JSON")
    };
    assert_eq!(sbom("sbom.spdx.json")["spdxVersion"], "SPDX-2.3");
    assert_eq!(sbom("cyclonedx.cdx.json")["bomFormat"], "CycloneDX");
    assert_eq!(
        output(&workspace, "rule", "sub/report.txt"),
        b"as it should be\n"
    );
    assert_eq!(output(&workspace, "rule", "more.txt"), b"more\n");
    let log = String::from_utf8(output(&workspace, "clamav", "clamav.log")).expect("text");
    in_order(&log, &["Infected files: 0"]);

    for (test, package) in [("base", "base-files"), ("local", "leftpad")] {
        let log = failing(&workspace, &format!("fails_policy_{test}"));
        in_order(
            &log,
            &[&format!("the image has the forbidden package {package}")],
        );
    }

    workspace.succeed(&["test", "//:reaches_nobody", "//:reaches_somebody"]);

    for (test, path, signature) in [
        ("base", "/etc/oci_pull_all_base", "Marked.Base"),
        ("local", "/app/marked", "Marked.Local"),
    ] {
        let log = failing(&workspace, &format!("fails_clamav_{test}"));
        let found = format!("{path}: {signature}.UNOFFICIAL FOUND");
        in_order(
            &log,
            &[&found, "Infected files: 1", "ended with exit status: 1"],
        );
    }

    let log = failing(&workspace, "fails_code");
    in_order(
        &log,
        &[
            "the scanner ends with 7",
            "the scanner @@//:ends.sh ended with exit status: 7, not with 0",
        ],
    );
    let log = failing(&workspace, "fails_good_end");
    in_order(
        &log,
        &[
            "the scanner ends with 0",
            "ended with exit status: 0, not with 5",
        ],
    );
    let log = failing(&workspace, "fails_undeclared_report");
    in_order(&log, &["\"{report}\" has {report}, but no report is named"]);
    let log = failing(&workspace, "fails_no_report");
    in_order(&log, &["the scanner ends with 0", "wrote no report"]);
    let log = failing(&workspace, "fails_no_layout");
    in_order(
        &log,
        &[
            "oci-layout: imageLayoutVersion is \"0.9\"",
            "index.json",
            "not valid",
        ],
    );
}

#[test]
fn what_no_sandbox_holds_the_program_does() {
    let registry = Registry::with_base_images();
    let Some(mut workspace) = Workspace::scans(&registry) else {
        return;
    };
    workspace.run_locally("TestRunner");
    workspace.run_locally("OCISBOM");
    workspace.succeed(&[
        "test",
        "//:reaches_nobody",
        "//:reaches_somebody",
        "//:rule",
        "//:sbom",
        "//:syft_oci_dir",
        "//:trivy",
    ]);
}

#[test]
fn the_command_scans_what_is_there() {
    let user = new_user();
    fs::write(user.path("layout"), "").expect("can be written");
    fs::write(user.path("@x"), "").expect("can be written");
    let scan = ["scan", "--scanner", "/usr/bin/cp", "--report", "r.txt"];
    let run = |more: &[&str]| user.run(&[&scan[..], more].concat());
    run(&["--layout", "missing", "--", "{layout}", "{report}"]).failed(&["there is no", "missing"]);
    run(&["--layout", "layout", "--", "{layout}", "{report}"]).succeeded();
    let echo = [
        "scan",
        "--layout",
        "layout",
        "--scanner",
        "/usr/bin/echo",
        "--",
    ];
    let echoed = user.run(&[&echo[..], &["@x"]].concat()).succeeded();
    assert_eq!(echoed.stdout, "@x\n");
    run(&["--layout", "layout", "--", "--version"]).failed(&["wrote no report"]);
    run(&["--layout", "layout", "--expected-exit", "256"]).failed(&["256"]);
    user.run(&["scan", "--layout", "layout", "--scanner", "nowhere"])
        .failed(&["cannot run the scanner nowhere"]);
}
