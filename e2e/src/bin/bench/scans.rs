//! What it costs to scan two hundred images on six bases, at first and after each kind of change, beside a scanner that is
//! called for each image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use oci_pull_all_e2e::bazel::{Bazel, Run, Workspace};
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::trivy_db::{Advisory, add_trivy_db};
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{Images, Registry, dpkg_status, noise};

use super::{Bench, MIB, mebibytes, remove};

const IMAGES: usize = 200;
const BASES: usize = 6;
/// How many packages each base has.
const PACKAGES: usize = 200;
const ADVISORY: Advisory = Advisory {
    source: "debian 12",
    package: "package-7",
    id: "CVE-2099-0001",
    fixed: "2.0",
    severity: "HIGH",
    title: "made up",
};
const PYTHON: Advisory = Advisory {
    source: "pip::GitHub Security Advisory Pip",
    package: "another",
    id: "CVE-2099-0002",
    ..ADVISORY
};
/// Has Bazel write no log of what it runs, which takes its time, and which users do not have.
const NO_LOG: &str = "--execution_log_json_file=";
const CREATED: &str = "2026-11-01T00:00:00Z";

impl Bench {
    /// Scans them all, changes something, and scans again.
    pub(super) fn scans(&self) {
        println!("## {IMAGES} images on {BASES} bases, scanned by Trivy\n");
        let trivy = Peer::Trivy.find().expect("it is compared with");
        let mut images = Images::default();
        let bases: Vec<String> = (0..BASES).map(|n| add_base(&mut images, n)).collect();
        let program = fs::read(&trivy).expect("can be read");
        let layer = Layer::new().add(
            tar::EntryType::Regular,
            "usr/local/bin/trivy",
            0o755,
            "",
            &program,
        );
        let scanner = images.add_image_of("aquasecurity/trivy", layer.0, |config| {
            config["created"] = CREATED.into();
        });
        let advisories = [ADVISORY, PYTHON];
        let databases =
            ["2026-11-10", "2026-11-11"].map(|day| add_trivy_db(&mut images, &advisories, day));
        let registry = Registry::with(images);
        let names: Vec<String> = (0..BASES).map(|n| format!("BASE_{n}")).collect();
        let mut values = vec![
            ("HOST", registry.host()),
            ("TRIVY", &scanner),
            ("TRIVY_DB", &databases[0]),
        ];
        values.extend(
            names
                .iter()
                .map(String::as_str)
                .zip(bases.iter().map(String::as_str)),
        );
        let directory = self.path("scans");
        let workspace = Workspace::in_directory(&directory, Bazel::Debian, "many_images", &values);
        fs::create_dir(workspace.path("apps")).expect("can be made");
        for n in 0..IMAGES {
            let metadata = format!("Metadata-Version: 2.1\nName: app-{n}\nVersion: 1.0\n\nx\n");
            fs::write(workspace.path(&format!("apps/{n}")), metadata).expect("can be written");
        }

        println!("| | s | listed | matched | judged | tests run | MiB from the registry |");
        println!("|---|---|---|---|---|---|---|");
        let first = workspace.succeed(&["test", "//..."]);
        row("first scan", &first, &first, registry.sent());
        let measure = |name: &str, flags: &[&str], file: &str, states: [&str; 3]| {
            let path = workspace.path(file);
            let test = |flags: &[&str], old: &str, new: &str| {
                let text = fs::read_to_string(&path).expect("can be read");
                assert!(text.contains(old), "{old} in {text}");
                fs::write(&path, text.replace(old, new)).expect("can be written");
                workspace.succeed(&[&["test", "//..."], flags].concat())
            };
            let [old, new, newer] = states;
            let sent = registry.sent();
            let timed = test(&[&[NO_LOG], flags].concat(), old, new);
            let sent = registry.sent() - sent;
            row(name, &timed, &test(&[], new, newer), sent);
        };
        let [day, next] = &databases;
        let exceptions = "security/exceptions.toml";
        let strategy = "--strategy=OCIVerdict=local";
        measure("nothing changed", &[], exceptions, ["reason"; 3]);
        measure("a new database", &[], "MODULE.bazel", [day, next, day]);
        let reasons = ["to be changed", "changed once", "changed again"];
        measure("one exception changed", &[], exceptions, reasons);
        let reasons = [reasons[2], "changed a third time", "changed at last"];
        let name = format!("the same, by `{strategy}`");
        measure(&name, &[strategy], exceptions, reasons);
        let versions = ["Version: 1.0", "Version: 1.1", "Version: 1.2"];
        measure("one layer changed", &[], "apps/17", versions);

        workspace.succeed(&["build", "//:layouts"]);
        let cache = directory.join("trivy");
        let database = workspace.pulled("trivy_db_all").expect("it was fetched");
        fs::create_dir_all(&cache).expect("can be made");
        symlink(directory_of("trivy.db", &database), cache.join("db")).expect("can be made");
        by_hand(&trivy, &workspace.output(""), &cache);
        drop(workspace);
        remove(&directory);
    }
}

/// Scans the layouts one by one.
fn by_hand(trivy: &Path, layouts: &Path, cache: &Path) {
    let begin = Instant::now();
    for n in 0..IMAGES {
        let ran = Command::new(trivy)
            .args(["image", "--input"])
            .arg(layouts.join(format!("layout_{n}")))
            .args([
                "--offline-scan",
                "--skip-db-update",
                "--skip-java-db-update",
            ])
            .args([
                "--skip-version-check",
                "--skip-check-update",
                "--scanners",
                "vuln",
            ])
            .args(["--quiet", "--cache-backend", "memory", "--cache-dir"])
            .arg(cache)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("| `trivy image`, {IMAGES} times, for any change | {seconds:.1} | | | | | |\n");
}

/// A base with packages, and bytes that a scanner reads in vain.
fn add_base(images: &mut Images, n: usize) -> String {
    let packages: Vec<(String, String)> = (0..PACKAGES)
        .map(|package| (format!("package-{package}"), format!("{n}.{package}")))
        .collect();
    let packages: Vec<(&str, &str)> = packages
        .iter()
        .map(|(name, version)| (name.as_str(), version.as_str()))
        .collect();
    let size = usize::try_from(10 * MIB).expect("small");
    let layer = Layer::new()
        .file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        .file("etc/debian_version", "12.5\n")
        .file("var/lib/dpkg/status", &dpkg_status(&packages))
        .add(
            tar::EntryType::Regular,
            "usr/share/noise",
            0o644,
            "",
            &noise(n as u64, size),
        );
    images.add_image_of("base", layer.0, |config| config["created"] = CREATED.into())
}

/// The directory below this one in which a file is.
fn directory_of(name: &str, directory: &Path) -> PathBuf {
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        if directory.join(name).exists() {
            return directory;
        }
        let entries = fs::read_dir(&directory).expect("can be read");
        let entries = entries.map(|entry| entry.expect("can be read").path());
        left.extend(entries.filter(|path| path.is_dir()));
    }
    panic!("no {name} in {}", directory.display())
}

/// The time and the bytes of one run, and what another after the same kind of change ran.
fn row(name: &str, timed: &Run, counted: &Run, bytes: u64) {
    println!(
        "| {name} | {:.1} | {} | {} | {} | {} | {:.1} |",
        timed.wall.as_secs_f64(),
        counted.count("OCIInventory"),
        counted.count("OCIFindings"),
        counted.count("OCIVerdict"),
        counted.count("TestRunner"),
        mebibytes(bytes),
    );
}
