//! The store on file systems with reflinks, each in a file that is mounted.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use oci_pull_all_e2e::peer::skip_counted;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::{cargo, scratch};
use tempfile::TempDir;

use super::store::nothing_is_fetched_or_hashed_again;

/// A new file system, mounted until this is dropped.
struct Mounted {
    scratch: TempDir,
}

impl Mounted {
    /// One of a kind. Where this user may mount none, the calling test is skipped.
    fn new(kind: &str) -> Option<Self> {
        let scratch = scratch();
        let image = scratch.path().join("image");
        let made = File::create(&image).and_then(|image| image.set_len(4 << 30));
        made.expect("can be made");
        let made = Root::get()
            .command(Life::Child, &[scratch.path()], format!("mkfs.{kind}"))
            .arg("-q")
            .arg(&image)
            .output()
            .expect("can be run");
        assert!(made.status.success(), "{made:?}");
        let mounted = Mounted { scratch };
        fs::create_dir(mounted.path()).expect("can be made");
        let mount = Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(mounted.path())
            .output();
        match mount {
            Ok(mount) if mount.status.success() => Some(mounted),
            _ => {
                skip_counted(&format!("no {kind} can be mounted here"));
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("mounted")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .output();
    }
}

/// What is claimed of the store, where users have their homes on such a file system.
fn claims_hold(kind: &str) {
    let Some(mounted) = Mounted::new(kind) else {
        return;
    };
    let tests = [
        "test",
        "--release",
        "--locked",
        "--package",
        "oci-pull-all",
        "--test",
        "program",
        "--",
        "store::",
    ];
    let ran = cargo(&tests)
        .env("TMPDIR", mounted.path())
        .output()
        .expect("cargo can be run");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(
        said.contains("store::what_is_placed_never_changes ... ok"),
        "{said}"
    );
    nothing_is_fetched_or_hashed_again(&mounted.path());
}

#[test]
fn what_is_claimed_of_the_store_holds_on_xfs() {
    claims_hold("xfs");
}

#[test]
fn what_is_claimed_of_the_store_holds_on_btrfs() {
    claims_hold("btrfs");
}
