//! What the program does, tried from outside: it and registries on loopback, nothing else.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read documents as others do"
)]

mod airgap;
mod archives;
#[cfg(unix)]
mod arguments;
mod artifacts;
mod at_once;
mod complete;
mod configs;
mod databases;
mod docs;
mod documents;
mod faults;
mod findings;
mod layers;
mod logins;
mod mirrors;
mod network;
mod packages;
mod pin;
mod pull;
mod push;
mod referrers;
mod rooms;
mod rootfs;
mod scan;
mod starlark;
mod store;
mod strange;
mod tokens;
mod two_scanners;

use oci_pull_all_support::User;

/// A new user of the program, who has nothing.
fn new_user() -> User {
    User::of(env!("CARGO_BIN_EXE_oci-pull-all"))
}
