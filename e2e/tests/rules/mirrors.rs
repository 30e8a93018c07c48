//! Pulls whose bytes come from mirrors.

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::Registry;

/// An origin at which nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

#[test]
fn bazel_pulls_from_the_projects_mirrors_and_from_the_sites() {
    let registry = Registry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let values = |other| {
        [
            ("DIGEST", digest.as_str()),
            ("IMAGE", "registry.invalid/library/debian"),
            ("MIRROR", NOWHERE),
            ("OTHER_MIRROR", other),
        ]
    };
    let workspace = Workspace::new("mirrors", &values(registry.host()));
    let run = workspace.succeed(&["test", "//:layout_test"]);
    // Once for each of the two repositories.
    assert_eq!(
        run.stderr.matches("the mirror ").count(),
        2,
        "{}",
        run.stderr
    );

    let mut workspace = Workspace::new("mirrors", &values(NOWHERE));
    let site = format!("registry.invalid={}", registry.host());
    workspace.set_env("OCI_PULL_ALL_MIRRORS", Some(&site));
    let run = workspace.succeed(&["test", "//:layout_test"]);
    assert!(!run.stderr.contains("the mirror "), "{}", run.stderr);
}
