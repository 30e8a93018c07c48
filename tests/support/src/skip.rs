//! Tests that a machine cannot run.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable that names the file in which `e2e/test` counts skipped tests: a line for each, the test's name, a
/// tab, and the cause.
pub const SKIPPED: &str = "OCI_PULL_ALL_SKIPPED";

/// Counts the calling test as skipped, which must return; where nobody counts, it says so.
///
/// # Panics
/// In CI, which skips nothing.
pub fn skip(cause: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{cause}, and CI skips nothing"
    );
    let program = std::env::current_exe().expect("a test is a program");
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has its name");
    let Some(file) = std::env::var_os(SKIPPED) else {
        eprintln!("skipped: {test}: {cause}");
        return;
    };
    let line = format!("{program} {test}\t{cause}\n");
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}
