//! `bazel test //...` at the root runs the tests of the Starlark code.

use oci_pull_all_e2e::bazel::Workspace;

#[test]
fn the_tests_of_the_starlark_code_succeed() {
    let workspace = Workspace::of_this_module();
    let summary = workspace.succeed(&["test", "//..."]).stdout;
    let passed: Vec<_> = summary
        .lines()
        .filter(|line| line.contains(" PASSED "))
        .collect();
    for part in ["unit", "analysis"] {
        let package = format!("//oci/tests/{part}:");
        assert!(
            passed.iter().any(|test| test.starts_with(&package)),
            "{summary}"
        );
    }
    assert!(
        passed.iter().all(|test| test.starts_with("//oci/tests/")),
        "a case is taken for a part of this workspace: {summary}"
    );
}
