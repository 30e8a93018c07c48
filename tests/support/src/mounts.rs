//! Mounts of a process's own, where a machine lets it have some.

use std::process::Command;

use crate::skip;

/// That this machine lets a process mount what it likes, in namespaces of its own.
#[derive(Clone, Copy, Debug)]
pub struct Mounts(());

impl Mounts {
    /// Where the machine does not, the calling test counts as skipped, and must return.
    ///
    /// # Panics
    /// In CI, which skips nothing.
    pub fn or_skip() -> Option<Self> {
        let mounts = Mounts(());
        let mut probe = mounts.shell("mount -t tmpfs none /tmp && mount --bind /tmp /tmp");
        if probe.output().is_ok_and(|ran| ran.status.success()) {
            return Some(mounts);
        }
        skip("this system gives no namespace of mounts");
        None
    }

    /// A shell that may mount, and runs a script, in which `"$@"` is what the command is given.
    #[must_use]
    pub fn shell(self, script: &str) -> Command {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        unshare
    }

    /// A command that mounts by a script, and then runs what it is given.
    #[must_use]
    pub fn within(self, mounts: &str) -> Command {
        self.shell(&format!("{mounts} && exec \"$@\""))
    }
}
