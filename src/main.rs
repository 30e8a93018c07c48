//! The command line of the library `oci_pull_all`: arguments to calls, errors to messages.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            cli::print_error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}
