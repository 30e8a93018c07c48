//! The Bazel that the tests run on, where that is Debian's.

use std::fs;

use oci_pull_all_e2e::bazel::{Bazel, Workspace};
use oci_pull_all_e2e::scratch;

#[test]
fn debians_bazel_has_its_native_library() {
    // Without it, Bazel sees neither ctime nor inode of a file, and goes on.
    let scratch = scratch();
    let workspace = Workspace::in_directory(scratch.path(), Bazel::Debian, "fifty", &[]);
    let log = workspace.info("output_base").join("java.log");
    let log = fs::read_to_string(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
    assert!(!log.contains("Failed to load JNI library"), "{log}");
}
