//! `docs/reference`: what stardoc makes of the docstrings now.

use std::fs;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::checkout;

/// Set to write the reference anew.
const UPDATE: &str = "OCI_PULL_ALL_UPDATE_REFERENCE";

#[test]
fn the_reference_is_that_of_the_docstrings() {
    let workspace = Workspace::new("reference", &[]);
    workspace.succeed(&["build", "//:defs", "//:extensions"]);
    for name in ["defs.md", "extensions.md"] {
        let made = fs::read_to_string(workspace.output(name)).expect("can be read");
        let path = checkout().join("docs/reference").join(name);
        if std::env::var_os(UPDATE).is_some() {
            fs::create_dir_all(path.parent().expect("it has one")).expect("can be made");
            fs::write(&path, &made).expect("can be written");
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == made,
            "{} is stale: run {UPDATE}=1 e2e/test the_reference",
            path.display()
        );
    }
}
