//! Bazel's servers: how they end, and who has them next.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// A process that ends a workspace's Bazel server and removes its directory, however the test's process ends.
#[derive(Debug)]
pub(crate) struct Reaper(Child);

/// The directory of a workspace that nobody uses any more, and the server that still runs for it. The next workspace that stands
/// there spares the start of a server, and has one that Java has compiled by then.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) directory: TempDir,
    pub(crate) reaper: Reaper,
}

static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

impl Idle {
    /// The last one that was left, with nothing but Bazel's own output in its directories.
    pub(crate) fn take() -> Option<Self> {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        // The server would not serve who stands in another directory of that name.
        for directory in ["home", "registry", "store", "workspace"] {
            empty(&idle.directory.path().join(directory));
        }
        Some(idle)
    }

    /// Leaves it to another workspace.
    pub(crate) fn leave(self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self);
    }
}

impl Reaper {
    pub(crate) fn new(shutdown: &Command, output: &Path, remove: Option<&Path>) -> Self {
        // The pipe is closed when this process ends, or lets go of it.
        let script = "cat >/dev/null; output=$0 remove=$1; shift; \"$@\" >/dev/null 2>&1; \
                      chmod -R u+w \"$output\"; [ -z \"$remove\" ] || rm -rf \"$remove\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(output);
        command.arg(remove.unwrap_or_else(|| Path::new("")));
        command
            .arg(shutdown.get_program())
            .args(shutdown.get_args());
        if let Some(directory) = shutdown.get_current_dir() {
            command.current_dir(directory);
        }
        let variables = shutdown.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().expect("sh can be run"))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Removes what is in a directory, if it is there.
///
/// # Panics
/// If something cannot be removed.
pub(crate) fn empty(directory: &Path) {
    if !directory.exists() {
        return;
    }
    make_removable(directory);
    for entry in fs::read_dir(directory).expect("can be read") {
        let entry = entry.expect("can be read");
        let removed = if entry.file_type().expect("can be read").is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.unwrap_or_else(|e| panic!("{}: {e}", entry.path().display()));
    }
}

/// Gives back the permissions that Bazel takes from its directories, which a user who is not root
/// could not remove.
pub fn make_removable(directory: &Path) {
    let _ = Command::new("chmod")
        .args(["-R", "u+w"])
        .arg(directory)
        .output();
}
