//! What a scanner sees, and what it is kept from, whether the system lets the program make namespaces or not.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_pull_all_support::layout::make_image;
use oci_pull_all_support::{Ran, Registry, User, blobs, skip};
use serde_json::Value;

use crate::new_user;

/// What the system lets a process have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// What the machine of this test does.
    AsItIs,
    /// No namespaces, and the network of this machine.
    WithoutNamespaces,
    /// No namespaces, in a network namespace that somebody else made, as sandboxes do.
    SandboxWithoutNamespaces,
    /// Namespaces in which a process can do nothing, as some security modules do.
    RefusingHalfway,
}

use System::{AsItIs, RefusingHalfway, SandboxWithoutNamespaces, WithoutNamespaces};

/// In a user namespace, this holds for it and for those below.
const FORBID: &str = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";

/// Who may not write to `/proc` cannot say who is who in a user namespace.
const FORBID_HALFWAY: &str =
    "mount --rbind /proc /proc && mount -o remount,bind,ro /proc && exec \"$@\"";

/// Whether the machine of this test lets an ordinary process have namespaces.
fn gives_namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "--net", "true"]);
    unshare.output().is_ok_and(|output| output.status.success())
}

impl System {
    /// Those that can be had on this machine. Without the others, the calling test counts as skipped.
    fn all() -> Vec<Self> {
        let all = [
            AsItIs,
            WithoutNamespaces,
            SandboxWithoutNamespaces,
            RefusingHalfway,
        ];
        Self::to_be_had(&all)
    }

    fn to_be_had(systems: &[Self]) -> Vec<Self> {
        if gives_namespaces() {
            return systems.to_vec();
        }
        skip("this system gives no namespaces");
        vec![AsItIs]
    }

    fn gives_namespaces(self) -> bool {
        self == AsItIs && gives_namespaces()
    }

    fn run(self, user: &User, arguments: &[&str]) -> Ran {
        let (flags, script): (&[&str], _) = match self {
            AsItIs => return user.run_by(Command::new("env"), arguments),
            WithoutNamespaces => (&["--map-root-user"], FORBID),
            SandboxWithoutNamespaces => (&["--map-root-user", "--net"], FORBID),
            RefusingHalfway => (&["--map-root-user", "--mount"], FORBID_HALFWAY),
        };
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", script, "sh"]);
        user.run_by(command, arguments)
    }

    /// Runs a script on a layout or a file; it may use the network where that cannot be cut off.
    fn scan(self, user: &User, layout: &str, script: &str, more: &[&str]) -> Ran {
        write_script(user, "scanner.sh", script);
        let arguments = ["scan", "--layout", layout, "--scanner", "./scanner.sh"];
        let mut arguments = arguments.to_vec();
        if !self.gives_namespaces() {
            arguments.push("--network");
        }
        arguments.extend(more);
        self.run(user, &arguments)
    }
}

fn write_script(user: &User, name: &str, script: &str) {
    user.write_script(name, &format!("set -eu\n{script}"));
}

/// Makes the layout `layout`, all of whose files are links, as in a sandbox; returns what they lead to.
fn make_linked_layout(user: &User) -> Vec<PathBuf> {
    make_image(user, "linux/amd64", "none");
    fs::rename(user.path("layout"), user.path("stored")).expect("can be renamed");
    let directory = fs::read_dir(user.path("stored/blobs/sha256")).expect("a layout has blobs");
    let blobs = directory.map(|entry| entry.expect("can be read").file_name());
    let mut files: Vec<_> = blobs
        .map(|name| Path::new("blobs/sha256").join(name))
        .collect();
    files.extend(["index.json", "oci-layout"].map(PathBuf::from));
    fs::create_dir_all(user.path("layout/blobs/sha256")).expect("can be made");
    for file in &files {
        let link = user.path("layout").join(file);
        symlink(user.path("stored").join(file), link).expect("can be made");
    }
    files
        .iter()
        .map(|file| user.path("stored").join(file))
        .collect()
}

/// All by which somebody could tell that a file was changed.
fn state(files: &[PathBuf]) -> Vec<(Vec<u8>, String)> {
    let of = |file: &PathBuf| {
        let found = fs::symlink_metadata(file).expect("is there");
        let inode = format!(
            "{} {:o} {} links, {}.{:09}, {}.{:09}",
            found.ino(),
            found.mode(),
            found.nlink(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        );
        (fs::read(file).expect("can be read"), inode)
    };
    files.iter().map(of).collect()
}

/// Fails unless the layout is regular files with the right names, and tells what it could change.
const SPOIL: &str = r#"
case "$OCI_LAYOUT" in *[@:?%]*) echo "$OCI_LAYOUT"; exit 9 ;; esac
test "$OCI_LAYOUT" = "$1"
test -z "$(find "$OCI_LAYOUT" ! -type f ! -type d)"
test -f "$OCI_LAYOUT/index.json"
test -f "$OCI_LAYOUT/oci-layout"
(cd "$OCI_LAYOUT/blobs/sha256" && for blob in *; do echo "$blob  $blob"; done | sha256sum --check --quiet)
find "$OCI_LAYOUT" -type f | while read -r file; do
  umount "$file" 2>&- || true
  mount -o remount,bind,rw "$file" 2>&- || true
  chmod 777 "$file" 2>&- && echo "mode"
  (echo changed >>"$file") 2>&- && echo "content"
  rm -f "$file" 2>&- && echo "name"
  true
done
umount "$OCI_LAYOUT/.." 2>&- && echo "mount"
(echo new >"$OCI_LAYOUT/new") 2>&- && echo "new"
true
"#;

#[test]
fn a_layout_of_links_is_regular_files_that_no_scanner_can_change() {
    for system in System::all() {
        let user = new_user();
        let stored = make_linked_layout(&user);
        fs::rename(user.path("layout"), user.path("a@b:c?d%e")).expect("can be renamed");
        let before = state(&stored);
        let ran = system.scan(&user, "a@b:c?d%e", SPOIL, &["--", "{layout}"]);
        let ran = ran.succeeded();
        assert_eq!(state(&stored), before, "{system:?}");
        if system.gives_namespaces() {
            assert_eq!(ran.stdout, "", "nothing could be changed");
        }
        // What the scan needed is gone.
        let scratch = user.path("scratch");
        fs::create_dir(&scratch).expect("can be made");
        let scratch_directory = scratch.to_str().expect("UTF-8");
        let more = ["--scratch", scratch_directory, "--", "{layout}"];
        system.scan(&user, "a@b:c?d%e", SPOIL, &more).succeeded();
        let left = fs::read_dir(&scratch).expect("can be listed").count();
        assert_eq!(left, 0, "{system:?}");
    }
}

#[test]
fn nothing_is_copied_where_the_system_gives_namespaces() {
    if !gives_namespaces() {
        return skip("this system gives no namespaces");
    }
    let user = new_user();
    let stored = make_linked_layout(&user);
    let inode = |file: &PathBuf| fs::metadata(file).expect("is there").ino().to_string();
    let mut expected: Vec<_> = stored.iter().map(inode).collect();
    expected.sort();
    let script = "find \"$OCI_LAYOUT\" -type f -exec stat --format %i {} + | sort";
    let ran = AsItIs.scan(&user, "layout", script, &[]).succeeded();
    let seen: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(seen, expected);
}

#[test]
fn of_an_index_a_scanner_sees_the_image_that_it_is_for() {
    let registry = Registry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let image = format!("{}/library/debian@{digest}", registry.host());
    for system in System::all() {
        let user = new_user();
        user.run(&["pull", &image, "--output", "layout"])
            .succeeded();
        let index = |user: &User| -> Value {
            let text = fs::read(user.path("seen/index.json")).expect("can be read");
            serde_json::from_slice(&text).expect("JSON")
        };
        let script = "rm -rf seen; cp -r \"$OCI_LAYOUT\" \"$SEEN\"";
        let seen = format!("SEEN={}", user.path("seen").display());
        let of = ["--platform", "linux/arm64", "--env", &seen];
        system.scan(&user, "layout", script, &of).succeeded();
        user.verify(&user.path("seen"));
        let manifests = index(&user)["manifests"].clone();
        let [manifest] = &manifests.as_array().expect("a list")[..] else {
            panic!("not one image: {manifests}");
        };
        assert_eq!(manifest["platform"]["architecture"], "arm64");
        let blobs = blobs(&user.path("seen"));
        let manifest = manifest["digest"].as_str().expect("text");
        let manifest = registry.manifest(manifest);
        let layers = manifest["layers"].as_array().expect("a list").len();
        assert_eq!(blobs.len(), 2 + layers, "manifest, config and layers");

        let no_such = ["--platform", "linux/riscv64"];
        system
            .scan(&user, "layout", script, &no_such)
            .failed(&["no image for linux/riscv64"]);
    }
}

#[test]
fn a_file_is_a_regular_one_whose_name_has_its_ending() {
    for system in System::all() {
        let user = new_user();
        fs::write(user.path("file"), "content").expect("can be written");
        symlink("file", user.path("image@1.tar")).expect("can be made");
        let script = "test ! -h \"$1\"; test \"$(cat \"$1\")\" = content; basename \"$1\"";
        let ran = system.scan(&user, "image@1.tar", script, &["--", "{layout}"]);
        assert_eq!(ran.succeeded().stdout, "image_1.tar\n", "{system:?}");
    }
}

#[test]
fn a_scratch_directory_that_scanners_misread_is_not_where_the_layout_is() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    fs::create_dir(user.path("a@b")).expect("can be made");
    let script = "case \"$OCI_LAYOUT\" in *@*) exit 9 ;; esac; case \"$TMPDIR\" in *a@b*) ;; *) exit 8 ;; esac";
    let scratch = ["--scratch", "a@b"];
    AsItIs.scan(&user, "layout", script, &scratch).succeeded();

    let arguments = [
        "scan",
        "--network",
        "--scratch",
        "a@b",
        "--layout",
        "layout",
    ];
    let arguments = [&arguments[..], &["--scanner", "./scanner.sh"]].concat();
    let temporary = user.path("a@b").display().to_string();
    user.run_with(&[("TMPDIR", &temporary)], &arguments)
        .failed(&["scanners take no path with one of @:?%", "a@b"]);
}

#[test]
fn a_layout_that_leads_round_in_a_circle_is_an_error() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    symlink("..", user.path("layout/blobs/up")).expect("can be made");
    AsItIs
        .scan(&user, "layout", "", &[])
        .failed(&["/layout/blobs/up", "as deep as this"]);
}

#[test]
fn a_scanner_finds_no_settings_but_those_that_it_is_given() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    for settings in [".trivyignore", ".grype.yaml", "settings/mine.yaml"] {
        fs::create_dir_all(user.path("settings")).expect("can be made");
        fs::write(user.path(settings), settings).expect("can be written");
    }
    let script = "find . \"$HOME\" \"$TMPDIR\" -mindepth 1; echo \"${XDG_CONFIG_HOME-}\"; \
                  test \"$PWD\" != \"$HOME\"; test \"$TMPDIR\" != \"$HOME\"";
    write_script(&user, "scanner.sh", script);
    let scan = ["scan", "--network", "--layout", "layout"];
    let scan = [&scan[..], &["--scanner", "./scanner.sh"]].concat();
    let environment = [("PATH", "/usr/bin:/bin"), ("XDG_CONFIG_HOME", "/etc")];
    let ran = user.run_with(&environment, &scan).succeeded();
    assert_eq!(ran.stdout, "\n");

    let set = [&scan[..], &["--env", "HOME=/", "--env", "TMPDIR=/"]].concat();
    write_script(&user, "scanner.sh", "echo \"$HOME$TMPDIR\"");
    let ran = user.run_with(&environment, &set).succeeded();
    assert_eq!(ran.stdout, "//\n");

    // Both, and what is in another of Bazel's repositories.
    fs::create_dir(user.path("here")).expect("can be made");
    let data = ["settings", "settings/mine.yaml", "../.grype.yaml"];
    let data: Vec<_> = data.iter().flat_map(|path| ["--data", path]).collect();
    let script = "cat settings/mine.yaml ../.grype.yaml; ls -A";
    write_script(&user, "scanner.sh", script);
    let mut command = Command::new("env");
    command.arg(format!("--chdir={}", user.path("here").display()));
    let scan = [
        "scan",
        "--network",
        "--layout=../layout",
        "--scanner=../scanner.sh",
    ];
    symlink("../settings", user.path("here/settings")).expect("can be made");
    let ran = user.run_by(command, &[&scan[..], &data].concat());
    assert_eq!(
        ran.succeeded().stdout,
        "settings/mine.yaml.grype.yamlsettings\n"
    );

    for path in ["/etc/passwd", "../../x", "a/../../../x"] {
        let arguments = [&scan[..2], &["--layout=layout", "--scanner=./scanner.sh"]].concat();
        let arguments = [&arguments[..], &["--data", path]].concat();
        user.run(&arguments).failed(&[
            &format!("cannot provide {path}"),
            "below the working directory",
        ]);
    }
}

#[test]
fn a_scanner_reaches_nobody_unless_it_may() {
    let registry = Registry::with_base_images();
    let image = format!("{}/library/debian:stable", registry.host());
    for system in System::all() {
        let user = new_user();
        make_image(&user, "linux/amd64", "none");
        let scan = |flags: &[&str]| {
            let program = user.program().to_str().expect("UTF-8");
            let scan = ["scan", "--layout", "layout", "--scanner", program];
            // It asks once where a tag points to, to tell which digest to pull.
            let scanner = ["--", "pull", &image, "--output", "out"];
            system.run(&user, &[&scan[..], flags, &scanner].concat())
        };
        let asked = registry.requests().len();
        let ran = scan(&[]);
        assert_eq!(registry.requests().len(), asked, "{system:?}");
        let cause = match system {
            // Its own loopback is up, and has nobody on it.
            AsItIs if gives_namespaces() => "Connection refused",
            AsItIs | WithoutNamespaces | RefusingHalfway => {
                "lets no process have a network namespace of its own"
            }
            SandboxWithoutNamespaces => "Network is unreachable",
        };
        ran.failed(&[cause]);
        if system != SandboxWithoutNamespaces {
            scan(&["--network"]).failed(&["pin the digest that it points to now"]);
            assert!(registry.requests().len() > asked, "{system:?}");
        }
    }
}

#[test]
fn what_stands_for_nothing_is_an_error() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    for (arguments, name) in [
        (["--", "oci-dir:{image}"], "{image}"),
        (["--env", "A={layouts}"], "{layouts}"),
    ] {
        AsItIs.scan(&user, "layout", "", &arguments).failed(&[
            name,
            "stands for nothing",
            "{layout}, {report} and {outputs}",
        ]);
    }
}

#[test]
fn a_scanner_that_fails_has_its_name() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    let named = ["--scanner-name=@@//security:trivy"];
    AsItIs
        .scan(&user, "layout", "exit 4", &named)
        .failed(&["the scanner @@//security:trivy ended with exit status: 4"]);
    AsItIs
        .scan(&user, "layout", "exit 4", &[])
        .failed(&["the scanner ./scanner.sh ended with exit status: 4"]);
}

#[test]
fn of_a_scanner_that_is_killed_the_memory_is_told() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    AsItIs.scan(&user, "layout", "kill -9 $$", &[]).failed(&[
        "the scanner ./scanner.sh ended with signal: 9 (SIGKILL) after it had used ",
        " MiB of memory",
    ]);
}

/// A remote worker has files where others have links: the program must not take what it starts of itself for the rule's.
#[test]
fn a_test_that_is_no_link_scans_once() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    write_script(&user, "scanner.sh", "echo scanned");
    fs::create_dir_all(user.path("test.runfiles/_main")).expect("can be made");
    // What this process has open for writing, others of its tests would hold open when it is to be run.
    let mut copied = Command::new("cp");
    let copied = copied.arg(user.program()).arg(user.path("test")).status();
    assert!(copied.is_ok_and(|copied| copied.success()));
    let arguments = ["layout", "scanner.sh"].map(|name| user.path(name).display().to_string());
    let [layout, scanner] = arguments;
    let arguments = format!("scan --network --layout {layout} --scanner {scanner} -- {{layout}}");
    fs::write(user.path("test.arguments"), arguments).expect("can be written");
    // What starts itself without end ends with its group.
    let mut command = Command::new("timeout");
    let command = command.arg("60").arg(user.path("test"));
    let output = command.output().expect("can be run");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "scanned\n");
}

#[test]
fn a_scanner_gets_a_layout_in_the_form_that_it_reads() {
    for system in System::all() {
        let user = new_user();
        make_linked_layout(&user);
        for (input, script) in [
            (
                "layout",
                "test -f \"$1/oci-layout\"; test ! -h \"$1/index.json\"",
            ),
            (
                "oci-archive",
                "tar -tf \"$1\" >names; grep -qx oci-layout names; ! grep -qx manifest.json names",
            ),
            ("docker-archive", "tar -tf \"$1\" | grep -qx manifest.json"),
            ("rootfs", "test -d \"$1\"; test ! -e \"$1/oci-layout\""),
            (
                "registry",
                "case \"$1\" in 127.0.0.1:*/image:latest) ;; *) exit 9 ;; esac",
            ),
        ] {
            let script = format!("{script}; test \"$OCI_LAYOUT\" = \"$1\"");
            let ran = system.scan(
                &user,
                "layout",
                &script,
                &["--input", input, "--", "{layout}"],
            );
            assert!(ran.success, "{system:?} {input}: {}", ran.stderr);
        }
        // What some run and nothing lists as an image is not left out without a word.
        let index = user.path("layout/index.json");
        let mut both: Value =
            serde_json::from_slice(&fs::read(&index).expect("can be read")).expect("JSON");
        let mut other = both["manifests"][0].clone();
        other["mediaType"] = "application/json".into();
        other.as_object_mut().expect("an object").remove("platform");
        both["manifests"]
            .as_array_mut()
            .expect("a list")
            .push(other);
        fs::remove_file(&index).expect("it is there");
        fs::write(&index, both.to_string()).expect("can be written");
        let all = ["--input", "layout", "--", "{layout}"];
        let script = "test \"$(grep -o '\"digest\"' \"$1/index.json\" | wc -l)\" = 2";
        system.scan(&user, "layout", script, &all).succeeded();
        for input in ["docker-archive", "rootfs"] {
            let one = ["--input", input, "--", "{layout}"];
            system.scan(&user, "layout", "exit 0", &one).failed(&[
                "the layout lists sha256:",
                "as \"application/json\", which is no manifest",
                "name a platform",
            ]);
        }
        let file = ["--input", "registry"];
        fs::write(user.path("file"), "").expect("can be written");
        let ran = system.scan(&user, "file", "exit 0", &file);
        assert!(!ran.success, "a file is no layout");
    }
}

#[test]
fn a_registry_for_a_scanner_has_the_whole_image() {
    let registry = Registry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let image = format!("{}/library/debian@{digest}", registry.host());
    for system in System::to_be_had(&[AsItIs, SandboxWithoutNamespaces]) {
        let user = new_user();
        user.run(&["pull", &image, "--output", "layout"])
            .succeeded();
        let index = fs::read(user.path("layout/index.json")).expect("can be read");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        let root = index["manifests"][0]["digest"].as_str().expect("text");
        let program = user.program().to_str().expect("UTF-8");
        let output = user.path("pulled").display().to_string();
        let store = user.path("another-store").display().to_string();
        let scan = ["scan", "--layout=layout", "--input=registry"];
        let wanted = format!("{{layout}}@{root}");
        let scanner = ["--scanner", program, "--", "pull", &wanted];
        let more = ["--output", &output, "--store", &store];
        // Loopback must be up, which it is not in a network namespace that is just made.
        let arguments = [&scan[..], &scanner, &more].concat();
        let ran = if system == AsItIs {
            system.run(&user, &arguments)
        } else {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--net", "sh", "-c"]);
            command.args([&format!("ip link set lo up && {FORBID}"), "sh"]);
            user.run_by(command, &arguments)
        };
        ran.succeeded();
        user.verify(&user.path("pulled"));
        assert_eq!(blobs(&user.path("pulled")), blobs(&user.path("layout")));
    }
}

#[test]
fn a_list_that_scanners_could_do_nothing_with_is_no_input() {
    let user = new_user();
    let scan = |list: &str| {
        fs::write(user.path("sbom.json"), list).expect("can be written");
        AsItIs.scan(
            &user,
            "sbom.json",
            "cat \"$1\"",
            &["--input", "sbom", "--", "{layout}"],
        )
    };
    let good = r#"{"bomFormat": "CycloneDX", "components": [{"purl": "pkg:pypi/jinja2@2"}]}"#;
    assert_eq!(scan(good).succeeded().stdout, good);
    for (bad, problem) in [
        ("", "it is no JSON"),
        ("{}", "it is neither of CycloneDX nor of SPDX nor of syft"),
        (r#"{"bomFormat": "CycloneDX"}"#, "it lists no package"),
        (
            r#"{"bomFormat": "CycloneDX", "components": [{"purl": "pkg:deb/debian/openssl@3"}]}"#,
            "it has packages of a system (pkg:deb/debian/openssl@3, say), and does not say of which",
        ),
    ] {
        scan(bad).failed(&["cannot scan sbom.json", problem]);
    }
}

/// The pipe ends when nobody is left that could write to it.
#[test]
fn who_is_asked_to_end_leaves_no_scanner_behind() {
    let user = new_user();
    make_image(&user, "linux/amd64", "none");
    let pipe = user.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|made| made.success()));
    let script = "(sleep 60; echo late) & echo ready; sleep 60; echo late";
    let script = format!("exec >{}\n{script}", pipe.display());
    write_script(&user, "scanner.sh", &script);
    for signal in ["TERM", "INT", "HUP", "KILL"] {
        let scan = [
            "scan",
            "--layout",
            "layout",
            "--scanner",
            "./scanner.sh",
            "--network",
        ];
        let mut scan = user.spawn_heard(&scan);
        let mut heard = BufReader::new(fs::File::open(&pipe).expect("can be read"));
        let mut said = String::new();
        heard.read_line(&mut said).expect("is text");
        assert_eq!(said, "ready\n");
        let kill = Command::new("kill")
            .args(["-s", signal, &scan.id().to_string()])
            .status();
        assert!(kill.is_ok_and(|kill| kill.success()));
        let mut late = String::new();
        heard.read_to_string(&mut late).expect("is text");
        assert_eq!(late, "", "{signal}");
        let mut error = String::new();
        let told = scan.stderr.as_mut().expect("it is read");
        told.read_to_string(&mut error).expect("is text");
        // Who is killed says nothing.
        assert!(
            signal == "KILL" || error.contains("the scanner ./scanner.sh ended with signal: "),
            "{error}"
        );
        assert!(!scan.wait().expect("it has ended").success());
    }
}
