//! The Debian root in which Bazel and the image tools run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{checkout, script};

/// What `e2e/provision` made.
#[derive(Debug)]
pub struct Root {
    directory: PathBuf,
}

/// Whether a process may outlive the one that starts it, as a Bazel server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It ends with its parent.
    Child,
    /// It may stay.
    Daemon,
}

impl Root {
    /// The root, made by the first call if this user has none yet.
    pub fn get() -> &'static Self {
        Self::try_get().expect("e2e/provision must succeed; its messages are above")
    }

    /// As [`Root::get`], or nothing where it cannot be made.
    pub fn try_get() -> Option<&'static Self> {
        static ROOT: OnceLock<Option<Root>> = OnceLock::new();
        let root = ROOT.get_or_init(|| {
            let output = script("e2e/provision")
                .stderr(Stdio::inherit())
                .output()
                .expect("e2e/provision can be run");
            let directory = String::from_utf8(output.stdout).expect("a path in UTF-8");
            output.status.success().then(|| Self {
                directory: directory.trim_end().into(),
            })
        });
        root.as_ref()
    }

    /// Where the root's own files are seen from outside.
    pub fn path(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Where what is made of the root's Java classes is kept.
    pub fn class_archives(&self) -> PathBuf {
        self.directory.join("classes")
    }

    /// The storage of a registry that holds the base images.
    pub fn registry_storage(&self) -> PathBuf {
        self.directory.join("registry")
    }

    /// A command in the root. It sees the checkout, read-only, and `shared`, at the same paths as
    /// outside; its environment holds nothing of the caller's.
    pub fn command(
        &self,
        life: Life,
        shared: &[&Path],
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Command {
        let mut command = Command::new("bwrap");
        command.arg("--bind").arg(self.path()).arg("/");
        command.args([
            "--dev-bind",
            "/dev",
            "/dev",
            "--dev-bind",
            "/proc",
            "/proc",
            "--bind",
            "/sys",
            "/sys",
        ]);
        command.args([
            "--tmpfs",
            "/tmp",
            "--clearenv",
            "--setenv",
            "LC_ALL",
            "C.UTF-8",
        ]);
        command.args([
            "--setenv",
            "PATH",
            "/usr/sbin:/usr/bin:/sbin:/bin",
            "--setenv",
            "HOME",
            "/root",
        ]);
        let checkout = checkout();
        command.arg("--ro-bind").arg(&checkout).arg(&checkout);
        for path in shared {
            command.arg("--bind").arg(path).arg(path);
        }
        if life == Life::Child {
            command.arg("--die-with-parent");
        }
        command.arg("--").arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// A command in the root that sees nothing of the machine: it has no network, `/tmp` and `/run` of its
    /// own, and of the machine's directories only `mounts`, each at the given path below `/run`. It ends
    /// with its parent, and its children end with it.
    pub fn isolated(&self, mounts: &[(&Path, &str)]) -> Command {
        let mut command = Command::new("bwrap");
        command.arg("--ro-bind").arg(self.path()).arg("/");
        command.args(["--dev", "/dev", "--proc", "/proc"]);
        command.args(["--tmpfs", "/tmp", "--tmpfs", "/run"]);
        for (outside, inside) in mounts {
            command.arg("--bind").arg(outside).arg(inside);
        }
        command.args(["--unshare-pid", "--unshare-ipc", "--unshare-net"]);
        command.args(["--die-with-parent", "--clearenv"]);
        command.args(["--setenv", "PATH", "/usr/bin:/bin"]);
        command.args(["--setenv", "LC_ALL", "C.UTF-8"]);
        command.stdin(Stdio::null());
        command
    }
}
