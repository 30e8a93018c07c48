//! The command line of the library `oci_pull_all`: arguments to calls, errors to messages.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    outlive_limits();
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            cli::print_error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Has a write fail that would make a file larger than the user's limit (`ulimit -f`), where the process would be killed
/// without a word. Children begin with no signal blocked.
#[cfg(target_os = "linux")]
fn outlive_limits() {
    use nix::sys::signal::{SigSet, Signal};

    let mut too_large = SigSet::empty();
    too_large.add(Signal::SIGXFSZ);
    let _ = too_large.thread_block();
}
