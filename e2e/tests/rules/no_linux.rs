//! Where no platform that actions run on is Linux, which scanners' images are of.

use std::collections::BTreeSet;

use oci_pull_all_e2e::bazel::Workspace;

const SCANNER: &str = "--@oci_pull_all//oci:scanner=//:";

#[test]
fn a_scan_by_an_image_is_skipped_and_one_by_a_program_is_not() {
    let workspace = Workspace::new("no_linux", &[]);
    let macos = "--host_platform=//:macos";
    let of_image = format!("{SCANNER}trivy_of_an_image");
    let of_system = format!("{SCANNER}trivy_of_this_system");

    // Nothing is red, whether scans are wanted of all or of none.
    let required = "--@oci_pull_all//oci:require_scan";
    let ran = workspace.succeed(&["test", "//...", macos, &of_image, "--test_summary=terse"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("1 was skipped"), "{said}");
    assert_eq!(ran.count("OCIInventory"), 0);
    let asked = workspace.fail(&["test", "//:scan", macos, &of_image]);
    for said in [
        "Target //:scan is incompatible",
        "//:trivy_of_an_image.program",
    ] {
        assert!(asked.contains(said), "{asked}");
    }
    // A push cannot be let through unseen.
    let push = workspace.fail(&["build", "//:push", macos, &of_image, required]);
    let said = "which runs on none of the execution platforms";
    assert!(push.contains(said), "{push}");

    // With a program of its own, the system has a scan, whatever is built for.
    for built_for in ["--platforms=//:macos", "--platforms=//:linux"] {
        let build = ["build", "--nobuild", "//:scan", macos, built_for];
        workspace.succeed(&[&build[..], &[&of_system]].concat());
        let build = ["build", "--nobuild", "//:own_scan", macos, built_for];
        workspace.succeed(&[&build[..], &[&of_image]].concat());
    }
    // And where there is Linux, nothing is skipped.
    workspace.succeed(&["build", "--nobuild", "//:scan", &of_image]);
}

#[test]
fn a_scan_is_done_on_linux_wherever_that_was_registered() {
    let workspace = Workspace::new("no_linux", &[]);
    let of_image = format!("{SCANNER}trivy_of_an_image");
    let platforms = |more: &[&str], mnemonics: &str| -> BTreeSet<String> {
        let actions = format!("mnemonic('{mnemonics}', deps(//:scan))");
        let ran = workspace.succeed(&[&["aquery", &actions, &of_image], more].concat());
        let platforms = ran.stdout.lines().filter_map(|line| {
            let platform = line.trim().strip_prefix("Execution platform: ")?;
            Some(platform.rsplit_once(':').map_or(platform, |(_, name)| name))
        });
        platforms.map(str::to_owned).collect()
    };
    let before = "--extra_execution_platforms=//:macos";
    let scans = platforms(&[before], "OCI(Inventory|Findings)");
    assert_eq!(scans, BTreeSet::from(["host".to_owned()]));
    // All else is done where it was, as the user has it.
    let judged = platforms(&[before], "OCIVerdict");
    assert_eq!(judged, BTreeSet::from(["macos".to_owned()]));

    // What Linux has no tool for is not done there: a scanner and the program that runs it are of one platform.
    let test = ["test", "//...", "--host_platform=//:macos", &of_image];
    let without_tool = "--extra_execution_platforms=//:linux";
    let ran = workspace.succeed(&[&test[..], &[without_tool, "--test_summary=terse"]].concat());
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("1 was skipped"), "{said}");
}
