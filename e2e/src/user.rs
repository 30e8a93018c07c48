//! A person who runs the program, also among other people's programs.

use std::process::{Command, Output};

use oci_pull_all_support::{Ran, User};

use crate::program;
use crate::root::{Life, Root};

/// A new user of the program, who has nothing.
pub fn new_user() -> User {
    User::of(program())
}

/// Runs another program, that of the Debian root, in a user's home.
///
/// # Panics
/// If it cannot be started.
pub fn run_in_root(user: &User, program: &str, arguments: &[&str]) -> Output {
    Root::get()
        .command(Life::Child, &[user.home()], "sh")
        .args(["-euc", "cd \"$0\"; exec \"$@\""])
        .arg(user.home())
        .arg(program)
        .args(arguments)
        .output()
        .expect("can be run")
}

/// Has a user run the program with other file systems, which these arguments of bwrap mount.
pub fn run_mounted(user: &User, mounts: &[&str], arguments: &[&str]) -> Ran {
    let mut bwrap = Command::new("bwrap");
    bwrap.args(["--dev-bind", "/", "/"]).args(mounts).arg("--");
    user.run_by(bwrap, arguments)
}
