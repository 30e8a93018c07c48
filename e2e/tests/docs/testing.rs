//! `docs/testing.md`: the rules are tested on a Bazel of one's own.
//!
//! It takes longest, and tests begin in the order of their names: at the end it would run alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::modules::write_registry;
use oci_pull_all_e2e::root::Root;
use oci_pull_all_e2e::{checkout, program, scratch, script};

/// Where the user without rights sees the Debian root.
const DEBIAN: &str = "/run/debian";

/// A program that is a Bazel to who runs it: Debian's, with Debian's modules.
fn write_bazel(directory: &Path) {
    let modules = directory.join("modules");
    fs::create_dir(&modules).expect("can be made");
    let registry = write_registry(&modules, &Root::get().path());
    let rc = format!("common --registry={registry} --noenable_workspace\n");
    fs::write(directory.join("debian.bazelrc"), rc).expect("can be written");
    // The arguments of Bazel come last, so those of bwrap go before them. Of the root, only what
    // Debian put there: a checkout of another user leaves its mount point in it.
    let script = format!(
        "#!/bin/sh
set -- --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys --tmpfs /tmp \\
  --ro-bind {checkout} {checkout} --bind {own} {own} --chdir \"$PWD\" \\
  --setenv PATH /usr/bin:/bin --setenv HOME {own} -- bazel --bazelrc={own}/debian.bazelrc \"$@\"
for name in bin etc lib lib64 opt sbin usr var; do
  entry={DEBIAN}/$name
  if [ -L \"$entry\" ]; then
    set -- --symlink \"$(readlink \"$entry\")\" \"/$name\" \"$@\"
  else
    set -- --ro-bind \"$entry\" \"/$name\" \"$@\"
  fi
done
exec bwrap --tmpfs / \"$@\"
",
        checkout = checkout().display(),
        own = directory.display()
    );
    let bazel = directory.join("bazel");
    write_program(&bazel, &script);
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("can be written");
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("can be set");
}

/// To the tests themselves, which cargo runs elsewhere, such a path says nothing.
#[test]
fn a_bazel_is_named_by_a_path_from_where_the_user_is() {
    let scratch = scratch();
    let own = scratch.path();
    fs::create_dir(own.join("bin")).expect("can be made");
    write_program(
        &own.join("bin/cargo"),
        "#!/bin/sh\necho \"cargo has $OCI_PULL_ALL_BAZEL\"\n",
    );
    let path = std::env::var("PATH").expect("is set");
    for (given, passed_on) in [
        ("bin/bazel", format!("{}/bin/bazel", own.display())),
        ("/opt/bazel", "/opt/bazel".to_owned()),
        ("bazelisk", "bazelisk".to_owned()),
    ] {
        let mut command = script("e2e/test");
        command.env("PATH", format!("{}/bin:{path}", own.display()));
        command.env("OCI_PULL_ALL_BAZEL", given).current_dir(own);
        let output = command.output().expect("e2e/test can be run");
        let told = String::from_utf8_lossy(&output.stdout);
        let expected = format!("cargo has {passed_on}\n");
        assert!(told.starts_with(&expected), "{told}");
    }

    let mut command = Command::new(std::env::current_exe().expect("has a path"));
    command.arg("rules::starlark").current_dir(own);
    command.env("OCI_PULL_ALL_BAZEL", "bin/bazel");
    let output = command.output().expect("can be run");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{told}");
    let refusal =
        "OCI_PULL_ALL_BAZEL is bin/bazel, but a name on PATH or an absolute path is wanted";
    assert!(told.contains(refusal), "{told}");
}

#[test]
fn the_rules_are_tested_on_a_bazel_on_path_by_who_has_no_rights() {
    let scratch = scratch();
    let own = scratch.path();
    write_bazel(own);
    fs::copy(program(), own.join("program")).expect("can be copied");
    fs::create_dir(own.join("tmp")).expect("can be made");
    // Root under another name, without root's rights: a checkout may be closed to all other users.
    let mut command = Command::new("bwrap");
    command.args("--unshare-user --cap-drop ALL --uid 65534 --gid 65534".split(' '));
    command.args("--ro-bind / / --dev-bind /dev /dev --bind /proc /proc --tmpfs /run".split(' '));
    command.arg("--bind").args([own, own]);
    command.arg("--ro-bind").arg(Root::get().path()).arg(DEBIAN);
    command.arg(std::env::current_exe().expect("has a path"));
    command.args(["rules::on_demand", "--test-threads=1"]);
    command.env_clear().env("OCI_PULL_ALL_BAZEL", "bazel");
    command.env("OCI_PULL_ALL_PROGRAM", own.join("program"));
    command.env("PATH", format!("{}:/usr/bin:/bin", own.display()));
    command.env("TMPDIR", own.join("tmp")).current_dir(own);
    let output = command.output().expect("bwrap can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("4 passed"), "{text}");
}
