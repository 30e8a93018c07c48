//! The Bazel that the tests run on, where that is Debian's.

use std::fs;

use oci_pull_all_e2e::bazel::{Bazel, Workspace};
use oci_pull_all_e2e::scratch;

#[test]
fn debians_bazel_has_its_native_library() {
    // Without it, Bazel sees neither ctime nor inode of a file, and goes on.
    let scratch = scratch();
    let workspace = Workspace::in_directory(scratch.path(), Bazel::Debian, "fifty", &[]);
    let base = workspace.succeed(&["info", "output_base"]).stdout;
    let log = format!("{}/java.log", base.trim_end());
    let log = fs::read_to_string(&log).unwrap_or_else(|e| panic!("{log}: {e}"));
    assert!(!log.contains("Failed to load JNI library"), "{log}");
}
