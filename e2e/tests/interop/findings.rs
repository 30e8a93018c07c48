//! Scans by the scanner of the build and a policy: real Trivy, real grype with syft, and real osv-scanner, whose images and
//! databases are pulled like the base, and Debian's clamscan, whose database is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use oci_pull_all_e2e::bazel::{Run, Workspace};
use oci_pull_all_e2e::clamav_db::clamav_db;
use oci_pull_all_e2e::grype_db::grype_db;
use oci_pull_all_e2e::jar::{jar, sha1};
use oci_pull_all_e2e::nginx::Nginx;
use oci_pull_all_e2e::osv_db::osv_db;
use oci_pull_all_e2e::page::blocks;
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::remote::RemoteExecution;
use oci_pull_all_e2e::trivy_db::{
    Advisory, JavaArchive, add_trivy_db, add_trivy_java_db, metadata_of, trivy_java_db,
};
use oci_pull_all_e2e::{checkout, new_user};
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{Images, Registry, User, dpkg_status, pushed, text};
use serde_json::{Value, json};
use tar::EntryType;

const ADVISORIES: [Advisory; 5] = [
    Advisory {
        source: "debian 12",
        package: "openssl",
        id: "CVE-2099-0001",
        fixed: "3.0.11-1~deb12u2",
        severity: "HIGH",
        title: "made up\u{1b}[2J\n::error::]]>\u{202e}",
    },
    Advisory {
        source: "pip::GitHub Security Advisory Pip",
        package: "jinja2",
        id: "CVE-2099-0002",
        fixed: "2.11.3",
        severity: "CRITICAL",
        title: "made up, too",
    },
    Advisory {
        source: "debian 12",
        package: "curl",
        id: "CVE-2099-0003",
        fixed: "",
        severity: "UNKNOWN",
        title: "",
    },
    Advisory {
        source: "debian 12",
        package: "perl-base",
        id: "CVE-2099-0004",
        fixed: "",
        severity: "LOW",
        title: "too low to matter",
    },
    Advisory {
        source: "maven::GitHub Security Advisory Maven",
        package: "org.example:lib",
        id: "CVE-2099-0005",
        fixed: "2.0",
        severity: "HIGH",
        title: "in an archive",
    },
];

/// Java archives of two versions of that package, which do not say what they are.
fn archives() -> [(&'static str, Vec<u8>); 2] {
    ["1.0", "2.0"].map(|version| (version, jar(&[("a.txt", version)])))
}

/// A database that knows them.
fn java_database() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trivy-java.db");
    let known = archives().map(|(version, bytes)| JavaArchive {
        name: ["org.example", "lib", version],
        sha1: sha1(&bytes),
    });
    trivy_java_db(&file, &known);
    fs::read(&file).expect("can be read")
}

const SIGNATURES: [(&str, &str); 1] = [("Marked.Local", "marked for ClamAV")];

/// A digest of nothing.
const NOT_PULLED: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

const RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\nNAME=\"Debian GNU/Linux\"\n";

fn add_image(images: &mut Images, repository: &str, layer: Layer, created: &str) -> String {
    images.add_image_of(repository, layer.0, |config| {
        config["created"] = created.into();
    })
}

/// A registry with what the case pulls.
struct Pulls {
    registry: Registry,
    digests: Vec<(&'static str, String)>,
}

impl Pulls {
    /// A base, Trivy and its databases. Where there is no Trivy, the test is skipped.
    fn of_trivy() -> Option<Self> {
        let mut images = Images::default();
        let path = "usr/local/bin/trivy";
        let trivy = Peer::Trivy.image_or_skip(&mut images, "aquasecurity/trivy", path)?;
        Some(Self::with(images, vec![("TRIVY", trivy)]))
    }

    /// The same with grype, and with syft.
    fn of_grype() -> Option<Self> {
        let mut images = Images::default();
        let grype = Peer::Grype.image_or_skip(&mut images, "anchore/grype", "grype")?;
        let syft = Peer::Syft.image_or_skip(&mut images, "anchore/syft", "syft")?;
        let mut pulls = Self::with(images, vec![("GRYPE", grype), ("SYFT", syft)]);
        let database = pulls.push_grype_db();
        pulls.set("GRYPE_DB", database);
        Some(pulls)
    }

    /// The same with Trivy, with grype and with clamscan.
    fn of_several() -> Option<Self> {
        let mut images = Images::default();
        let path = "usr/local/bin/trivy";
        let trivy = Peer::Trivy.image_or_skip(&mut images, "aquasecurity/trivy", path)?;
        let grype = Peer::Grype.image_or_skip(&mut images, "anchore/grype", "grype")?;
        let syft = Peer::Syft.image_or_skip(&mut images, "anchore/syft", "syft")?;
        let digests = vec![("TRIVY", trivy), ("GRYPE", grype), ("SYFT", syft)];
        let mut pulls = Self::with(images, digests);
        let database = pulls.push_grype_db();
        pulls.set("GRYPE_DB", database);
        let database = pulls.push_clamav_db();
        pulls.set("CLAMAV_DB", database);
        Some(pulls)
    }

    /// The same with osv-scanner.
    fn of_osv_scanner() -> Option<Self> {
        let mut images = Images::default();
        let path = "osv-scanner";
        let scanner = Peer::OsvScanner.image_or_skip(&mut images, "google/osv-scanner", path)?;
        let mut pulls = Self::with(images, vec![("OSV_SCANNER", scanner)]);
        let user = new_user();
        let files = osv_db(user.home(), &ADVISORIES, "2026-11-10");
        let files = files.iter().map(|file| file.display().to_string());
        let database = pulls.push_db(&user, "osv", &files.collect::<Vec<_>>());
        pulls.set("OSV_DB", database);
        Some(pulls)
    }

    /// The same with clamscan, which Debian installs.
    fn of_clamav() -> Self {
        let mut pulls = Self::with(Images::default(), Vec::new());
        let database = pulls.push_clamav_db();
        pulls.set("CLAMAV_DB", database);
        pulls
    }

    /// Pushes a database for clamscan; returns the digest.
    fn push_clamav_db(&self) -> String {
        let user = new_user();
        let names = ["main.cud", "daily.cud"];
        clamav_db(
            &user.path("main.cud"),
            &[("Other", "nowhere")],
            "1 Jan 2021",
        );
        clamav_db(&user.path("daily.cud"), &SIGNATURES, "10 Nov 2026");
        self.push_db(&user, "clamav", &names.map(str::to_owned))
    }

    fn set(&mut self, name: &'static str, digest: String) {
        self.digests.retain(|(other, _)| *other != name);
        self.digests.push((name, digest));
    }

    /// Pushes a database of files; returns the digest.
    fn push_db(&self, user: &User, kind: &str, files: &[String]) -> String {
        let repository = format!("{}/mirror/{kind}-db", self.registry.host());
        let reference = format!("{repository}:current");
        let push = ["database", "push", kind, &reference];
        let files = files.iter().map(String::as_str);
        let arguments: Vec<_> = push.into_iter().chain(files).collect();
        let ran = user.run(&arguments).succeeded();
        pushed(&ran.stdout, &repository).to_owned()
    }

    /// Pushes a database of grype's, as its listing offers it; returns the digest.
    fn push_grype_db(&self) -> String {
        let user = new_user();
        let file = user.path("vulnerability.db");
        grype_db(&file, &ADVISORIES, "2026-11-10", 6);
        let database = fs::read(&file).expect("can be read");
        let layer = Layer::new().add(EntryType::Regular, "vulnerability.db", 0o600, "", &database);
        let archive = [layer.0, vec![0; 1024]].concat();
        let archive = zstd::encode_all(&archive[..], 3).expect("can be compressed");
        let name = "vulnerability-db_v6.1.10_2026-11-10.tar.zst";
        fs::write(user.path(name), archive).expect("can be written");
        self.push_db(&user, "grype", &[name.to_owned()])
    }

    fn with(mut images: Images, mut digests: Vec<(&'static str, String)>) -> Self {
        let base = Layer::new()
            .file("etc/os-release", RELEASE)
            .file("etc/debian_version", "12.5\n")
            .file(
                "var/lib/dpkg/status",
                &dpkg_status(&[("openssl", "3.0.9-1"), ("perl-base", "5.36.0-7")]),
            );
        let base = add_image(&mut images, "library/debian", base, "2026-11-01T00:00:00Z");
        digests.push(("DEBIAN", base));
        for (name, advisories, day) in [
            ("TRIVY_DB", &ADVISORIES[..], "2026-11-10"),
            ("NEXT_DB", &ADVISORIES, "2026-11-11"),
            ("STALE_DB", &ADVISORIES, "2025-11-10"),
            ("EMPTY_DB", &[], "2026-11-10"),
        ] {
            digests.push((name, add_trivy_db(&mut images, advisories, day)));
        }
        let java = add_trivy_java_db(&mut images, &java_database(), "2026-11-10");
        digests.push(("TRIVY_JAVA_DB", java));
        for name in [
            "TRIVY",
            "GRYPE",
            "SYFT",
            "GRYPE_DB",
            "OSV_SCANNER",
            "OSV_DB",
            "CLAMAV_DB",
        ] {
            if digests.iter().all(|(pull, _)| *pull != name) {
                digests.push((name, NOT_PULLED.to_owned()));
            }
        }
        Pulls {
            registry: Registry::with(images),
            digests,
        }
    }

    fn workspace(&self) -> Workspace {
        let mut values = vec![("HOST", self.registry.host())];
        values.extend(
            self.digests
                .iter()
                .map(|(name, digest)| (*name, digest.as_str())),
        );
        Workspace::new("findings", &values)
    }
}

/// How a test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Untrusted,
}

use End::{Failed, Passed, Untrusted};

/// Runs one test, which must end so; returns its log.
fn log(workspace: &Workspace, test: &str, more: &[&str], end: End) -> String {
    let arguments = [&["test", test][..], more].concat();
    let said = if end == Passed {
        workspace.succeed(&arguments).stderr
    } else {
        workspace.fail(&arguments)
    };
    let test = test.replace(':', "/");
    let logs = workspace
        .info("bazel-testlogs")
        .join(test.trim_start_matches('/'));
    let read = |name: &str| {
        let file = logs.join(name);
        fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}: {said}", file.display()))
    };
    // The report is ours, and not what Bazel makes of a test without one.
    let report = read("test.xml");
    let has = |element: &str| report.contains(&format!("<{element} message="));
    assert_eq!(has("error"), end == Untrusted, "{report}");
    assert!(has("failure") || end != Failed, "{report}");
    assert!(
        !report.contains('\u{1b}') && !report.contains("\n::"),
        "{report}"
    );
    read("test.log")
}

/// Checks that these lines are among those of a log, and no line of `absent` begins so.
fn has(log: &str, lines: &[&str], absent: &[&str]) {
    for line in lines {
        assert!(
            log.lines().any(|found| found == *line),
            "no {line:?} in:\n{log}"
        );
    }
    for beginning in absent {
        assert!(
            !log.lines().any(|found| found.starts_with(beginning)),
            "{beginning:?} in:\n{log}"
        );
    }
}

/// The lines of logs that `docs/scanning.md` shows.
fn shown_lines() -> Vec<String> {
    let page = fs::read_to_string(checkout().join("docs/scanning.md")).expect("can be read");
    let blocks = blocks(&page);
    let shown = blocks.into_iter().filter(|(kind, _)| *kind == "text");
    let lines = shown.flat_map(|(_, text)| text.lines());
    lines.map(str::to_owned).collect()
}

const OPENSSL: &str = "CVE-2099-0001 high openssl 3.0.9-1";
const JINJA: &str = "found: CVE-2099-0002 critical Jinja2 2.11.2, fixed in 2.11.3, usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA: made up, too";
const CURL: &str = "found: CVE-2099-0003 unknown curl 1:7.88.1-10";

#[test]
fn a_policy_decides_on_what_trivy_finds() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let made_up = "made up\\u{1b}[2J\\u{a}::error::]]>\\u{202e}";

    // The base's own test has the base's findings, and the policy's exception.
    let base = log(&workspace, "//security:debian", &[], Passed);
    let excepted = format!(
        "excepted: {OPENSSL}, fixed in 3.0.11-1~deb12u2: {made_up}: security/exceptions.toml:3 (security@example.com): nothing here speaks TLS 1.0"
    );
    has(&base, &[&excepted, "passed"], &["found:"]);

    // Those of an image on it are what the image brings, whatever else its package database repeats.
    let image = log(&workspace, "//:image_scan", &[], Failed);
    has(
        &image,
        &[JINJA, CURL, "FAILED: 2 findings, 0 faulty exceptions"],
        &["found: CVE-2099-0001"],
    );
    for line in shown_lines() {
        if !line.contains(", found by ") {
            has(&image, &[&line], &[]);
        }
    }
    // An image on that image has them from its base, which has no test that the policy names.
    let above = log(&workspace, "//:above_scan", &[], Failed);
    let in_base = CURL.replace("curl 1:7.88.1-10", "curl 1:7.88.1-10, in the base");
    let note = "note: 2 of these are in the base: where @@//:image has a test of its own, bases = [\"@@//:image\"] in @@//security:policy leaves them to it";
    has(&above, &[&in_base, note], &[]);
    let index = log(&workspace, "//:index_scan", &[], Failed);
    has(&index, &[JINJA, CURL], &[]);

    // Without a policy that knows the base, all counts.
    let alone = log(&workspace, "//:image_alone_scan", &[], Failed);
    let openssl = format!("found: {OPENSSL}, in the base, fixed in 3.0.11-1~deb12u2: {made_up}");
    has(
        &alone,
        &[
            JINJA,
            CURL,
            &openssl,
            "FAILED: 3 findings, 0 faulty exceptions",
        ],
        &["excepted"],
    );

    let passing = log(&workspace, "//:excepted_scan", &[], Passed);
    has(&passing, &["passed"], &["found"]);
    let expired = log(&workspace, "//:expired_scan", &[], Failed);
    let over = "exception: app/expired.toml:5: CVE-2099-0003: it ended on 2026-11-09, and the database is of 2026-11-10";
    has(&expired, &[CURL, over], &["found: CVE-2099-0002"]);
}

#[test]
fn a_build_scans_unless_it_is_told_not_to() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let scans = |run: &Run| run.count("OCIInventory") + run.count("OCIFindings");
    let without = "--build_tag_filters=-oci-scan";
    assert_eq!(scans(&workspace.succeed(&["build", "//...", without])), 0);
    // It is about builds: a test that is asked for scans.
    let tested = workspace.succeed(&["test", "//:excepted_scan", without]);
    assert!(scans(&tested) > 0);
    assert!(scans(&workspace.succeed(&["build", "//..."])) > 0);
}

#[test]
fn what_a_policy_lets_pass_is_told_to_others() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    workspace.succeed(&["build", "//:vex"]);
    let document = fs::read(workspace.output("vex.openvex.json")).expect("was written");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    assert_eq!(document["timestamp"], "2026-11-10T06:00:00Z");
    let said: Vec<_> = document["statements"]
        .as_array()
        .expect("statements")
        .iter()
        .map(|statement| {
            let name = text(&statement["vulnerability"]["name"]);
            (name, text(&statement["status"]))
        })
        .collect();
    assert_eq!(
        said,
        [
            ("CVE-2099-0001", "affected"),
            ("CVE-2099-0002", "not_affected"),
            ("CVE-2099-0003", "affected")
        ]
    );
    // Where it is an exception itself, what is not affected passes.
    let vex = fs::read(workspace.output("vex.openvex.json")).expect("was written");
    fs::write(workspace.path("app/team.json"), vex).expect("can be written");
    let build = workspace.path("BUILD.bazel");
    let text = fs::read_to_string(&build).expect("can be read");
    let changed = text.replacen("app/expired.toml", "app/team.json", 1);
    fs::write(&build, changed).expect("can be written");
    let log = log(&workspace, "//:expired_scan", &[], Failed);
    has(&log, &[CURL], &["found: CVE-2099-0002"]);
}

#[test]
fn what_is_accepted_is_a_baseline() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let ran = workspace.succeed(&["run", "//:image_scan", "--", "--accept"]);
    let line = "image_scan.baseline.toml: 2 new, 0 as before, 0 gone";
    assert!(
        ran.stdout.lines().any(|found| found == line),
        "{}",
        ran.stdout
    );
    let file = workspace.path("image_scan.baseline.toml");
    let baseline = fs::read_to_string(&file).expect("was written");
    let passed = log(&workspace, "//:image_scan", &[], Passed);
    has(&passed, &["passed"], &["found", "gone"]);

    // One that is not in it fails, and one that is found no more is named.
    let changed = baseline.replace("CVE-2099-0003", "CVE-2099-0005");
    fs::write(&file, changed).expect("can be written");
    let failed = log(&workspace, "//:image_scan", &[], Failed);
    let gone = "gone: image_scan.baseline.toml:9: CVE-2099-0005";
    has(&failed, &[CURL, gone], &["found: CVE-2099-0002"]);
    let ran = workspace.succeed(&["run", "//:image_scan", "--", "--accept"]);
    let line = "image_scan.baseline.toml: 1 new, 1 as before, 1 gone";
    assert!(
        ran.stdout.lines().any(|found| found == line),
        "{}",
        ran.stdout
    );
    assert_eq!(fs::read_to_string(&file).expect("was written"), baseline);
}

#[test]
fn a_scan_that_saw_nothing_is_not_trusted() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let untrusted = "NOT TRUSTED: the scan cannot say what it should, whatever it found";
    let empty = log(&workspace, "//:without_packages_scan", &[], Untrusted);
    let nothing = "cannot be trusted: the scanner saw no package in the image [no-packages]";
    has(&empty, &[nothing, untrusted], &["passed"]);
    let lenient = log(&workspace, "//:lenient_scan", &[], Passed);
    has(
        &lenient,
        &[
            "allowed: the scanner saw no package in the image [no-packages]",
            "passed",
        ],
        &[],
    );

    let disguised = log(&workspace, "//:disguised_scan", &[], Untrusted);
    let other = "cannot be trusted: the image says that it is debian 11, and its base that it is debian 12 [system-differs]";
    has(&disguised, &[other], &[]);

    let scanner = |name: &str| format!("--@oci_pull_all//oci:scanner=//security:{name}");
    let stale = log(
        &workspace,
        "//:excepted_scan",
        &[&scanner("trivy_of_last_year")],
        Untrusted,
    );
    let old = "cannot be trusted: the database was built on 2025-11-10, more than 30 days before 2026-11-01, the newest date of the image, its bases and the scanner [database-too-old]";
    has(&stale, &[old], &[]);
    // An image without a date is not older than its scanner.
    let stale = log(
        &workspace,
        "//:from_nothing_scan",
        &[&scanner("trivy_of_last_year")],
        Untrusted,
    );
    has(&stale, &[&old.replace("2026-11-01", "2026-10-01")], &[]);
    let with_network = scanner("trivy_with_network");
    let open = log(&workspace, "//:excepted_scan", &[&with_network], Untrusted);
    let network =
        "cannot be trusted: the scanner was allowed to use the network [network-not-blocked]";
    has(&open, &[network], &[]);
    let knows_nothing = scanner("trivy_that_knows_nothing");
    let empty = log(&workspace, "//:excepted_scan", &[&knows_nothing], Untrusted);
    has(
        &empty,
        &["cannot be trusted: the database has no advisory [empty-database]"],
        &[],
    );

    let none = workspace.fail(&[
        "test",
        "//:image_scan",
        "--@oci_pull_all//oci:scanner=@oci_pull_all//oci:no_scanner",
    ]);
    assert!(
        none.contains("no scanner is set that could scan @@//:image"),
        "{none}"
    );
}

/// Images that Trivy sees less of than there is, and what is said of each.
fn odd_images() -> Vec<(&'static str, Layer, &'static str)> {
    let wheel = |name: &str| format!("Metadata-Version: 2.1\nName: {name}\nVersion: 2.11.2\n\n");
    let path = "usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA";
    let debian = || {
        Layer::new()
            .file("etc/os-release", RELEASE)
            .file("etc/debian_version", "12.5\n")
    };
    let openssl = dpkg_status(&[("openssl", "3.0.9-1")]);
    let marked = openssl.replace("install ok", "deinstall ok");
    let removed = marked.replace("ok installed", "ok config-files");
    // As much of a program as tells that Go made it.
    let mut program = b"\x7fELF".to_vec();
    program.resize(300_000, 0);
    program.extend(b"\xff Go buildinf:\x08\x02");
    program.resize(400_000, 0);
    let go = |layer: Layer| layer.add(EntryType::Regular, "usr/bin/go-made", 0o755, "", &program);
    vec![
        (
            "partial",
            debian().file(
                "var/lib/dpkg/status",
                &format!("{openssl}{}", marked.replace("openssl", "curl")),
            ),
            "the image has curl 3.0.9-1 in var/lib/dpkg/status, and the scanner did not see it [system-packages-missing]",
        ),
        (
            "several",
            debian()
                .file("var/lib/dpkg/status", &openssl)
                .file("cache/curl", &openssl.replace("openssl", "curl"))
                .hard_link("var/lib/dpkg/status.d/curl", "cache/curl"),
            "the image has packages in var/lib/dpkg/status.d/, and the scanner saw none of them: it may not look there, or take the image for another system by its os-release [system-packages-unseen]",
        ),
        (
            "without_database",
            debian().file(path, &wheel("Jinja2")),
            "the image says that it is debian 12, and has no database of that system's packages [system-without-packages]",
        ),
        (
            "linked",
            Layer::new()
                .file(
                    "usr/lib/python3/dist-packages/a.dist-info/METADATA",
                    &wheel("a"),
                )
                .file("cache/b", &wheel("Jinja2"))
                .hard_link(path, "cache/b"),
            "the scanner passed over packages: it saw others or none in usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA [language-packages-unseen]",
        ),
        (
            "without_modules",
            go(debian().file("var/lib/dpkg/status", &openssl)),
            "the Go program usr/bin/go-made does not say of which modules it is made [go-program-without-modules]",
        ),
        // Nothing is hidden in these.
        (
            "with_links",
            Layer::new()
                .file(path, &wheel("Jinja2"))
                .hard_link("again/J.dist-info/METADATA", path)
                .symlink("once/more.dist-info/METADATA", &format!("/{path}")),
            "",
        ),
        (
            "removed",
            debian()
                .file("var/lib/dpkg/status", &removed)
                .file(path, &wheel("Jinja2")),
            "",
        ),
        (
            "of_the_system",
            go(debian()
                .file("var/lib/dpkg/status", &openssl)
                .symlink("bin", "usr/bin")
                .file("var/lib/dpkg/info/openssl.list", "/.\n/bin/go-made\n")),
            "",
        ),
    ]
}

#[test]
fn what_trivy_passes_over_is_found_out() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let package = workspace.path("odd");
    fs::create_dir(&package).expect("can be made");
    let mut build =
        "load(\"@oci_pull_all//oci:defs.bzl\", \"oci_image\", \"oci_scan_test\")\n".to_owned();
    for (name, layer, _) in odd_images() {
        let mut layer = layer.0;
        layer.resize(layer.len() + 1024, 0);
        fs::write(package.join(format!("{name}.tar")), layer).expect("can be written");
        let _ = write!(
            build,
            "oci_image(name = \"{name}\", architecture = \"amd64\", os = \"linux\", tars = [\"{name}.tar\"])\n\
             oci_scan_test(name = \"{name}_scan\", image = \"{name}\")\n"
        );
    }
    fs::write(package.join("BUILD.bazel"), build).expect("can be written");
    for (name, _, trouble) in odd_images() {
        let end = if trouble.is_empty() {
            Failed
        } else {
            Untrusted
        };
        let log = log(&workspace, &format!("//odd:{name}_scan"), &[], end);
        if trouble.is_empty() {
            has(&log, &[], &["cannot be trusted"]);
        } else {
            has(&log, &[&format!("cannot be trusted: {trouble}")], &[]);
            assert_eq!(log.matches("cannot be trusted").count(), 1, "{log}");
        }
    }
}

#[test]
fn each_image_is_looked_into_once() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let run = workspace.bazel(&["test", "--keep_going", "//..."]);
    // debian, image, above, disguised, from_nothing, without_packages
    assert_eq!(run.count("OCIInventory"), 6, "{}", run.stderr);
    assert_eq!(run.count("OCIFindings"), 6, "{}", run.stderr);
    assert_eq!(run.count("OCIVerdict"), 12, "{}", run.stderr);

    let exceptions = workspace.path("app/exceptions.toml");
    let text = fs::read_to_string(&exceptions).expect("can be read");
    fs::write(&exceptions, text.replace("2026-11-10", "2026-11-11")).expect("can be written");
    let run = workspace.succeed(&["test", "//:excepted_scan"]);
    assert_eq!(
        (
            run.count("OCIInventory"),
            run.count("OCIFindings"),
            run.count("OCIVerdict")
        ),
        (0, 0, 1)
    );

    // Another database reads no layer again, and no test is run that would say the same.
    let module = workspace.path("MODULE.bazel");
    let text = fs::read_to_string(&module).expect("can be read");
    let [old, first] = ["tag = \"old\"", "tag = \"2\""].map(|tag| digest_before(&text, tag));
    let mut next = pulls.digests.iter().filter(|(name, _)| *name == "NEXT_DB");
    let (_, next) = next.next().expect("there");
    for (database, tests) in [(next, 0), (&old, 1)] {
        fs::write(&module, text.replace(&first, database)).expect("can be written");
        let run = workspace.bazel(&["test", "//:excepted_scan"]);
        let mnemonics = ["OCIInventory", "OCIFindings", "OCIVerdict", "TestRunner"];
        let counts = mnemonics.map(|mnemonic| run.count(mnemonic));
        assert_eq!(counts, [0, 1, 1, tests], "{}", run.stderr);
    }
}

/// The digest of the pull that has this line after it.
fn digest_before(module: &str, line: &str) -> String {
    let (before, _) = module.split_once(line).expect("a pull");
    let (_, digest) = before.rsplit_once("digest = \"").expect("a digest");
    digest.split('"').next().expect("its end").to_owned()
}

/// Builds the documents of a scan by Trivy and by grype, and reads them: what is in the image and its base, what was found and
/// what follows.
fn documents(workspace: &Workspace) -> (Run, BTreeMap<String, Vec<u8>>) {
    let arguments = [
        "//:excepted_scan",
        "--@oci_pull_all//oci:scanner=//several:both",
        "--output_groups=findings,inventory,verdict",
    ];
    let run = workspace.succeed(&[&["build"], &arguments[..]].concat());
    let files = workspace.succeed(&[&["cquery", "--output=files"], &arguments[..]].concat());
    let root = workspace.output("../../..");
    let read = |path: &str| {
        let bytes = fs::read(root.join(path)).expect("can be read");
        (path.to_owned(), bytes)
    };
    (run, files.stdout.lines().map(read).collect())
}

#[test]
fn findings_are_the_same_bytes_wherever_they_are_found() {
    let Some(pulls) = Pulls::of_several() else {
        return;
    };
    let cache = Nginx::cache();
    let cached = || {
        let workspace = pulls.workspace();
        workspace.append_rc(&format!("build --remote_cache=http://{}", cache.host()));
        let before = pulls.registry.sent();
        let (run, found) = documents(&workspace);
        (workspace, run, found, pulls.registry.sent() - before)
    };
    let (workspace, run, found, sent) = cached();
    let runners = |run: &Run, runner: &str| {
        let spawns = run.spawns.iter();
        let others = spawns.filter(|spawn| spawn["runner"] != runner);
        let others: Vec<_> = others.map(|spawn| spawn["mnemonic"].clone()).collect();
        assert_eq!(others, Vec::<Value>::new(), "not by {runner}");
    };
    runners(&run, "linux-sandbox");
    let (_second, run, again, sent_again) = cached();
    runners(&run, "remote cache hit");
    assert!(again == found);
    // What an action has as its input must be there to know that it need not be run.
    assert_eq!(sent_again, sent);

    let engine = RemoteExecution::start();
    let mut remote = pulls.workspace();
    remote.use_remote(&engine);
    let (run, by_worker) = documents(&remote);
    runners(&run, "remote");
    assert!(by_worker == found);

    // Of each scanner what is in the image, and what it found, and of both one verdict.
    assert_eq!(found.len(), 5, "{:?}", found.keys());
    let directory = workspace.directory().display().to_string();
    for (path, bytes) in &found {
        let words = String::from_utf8_lossy(bytes);
        assert!(
            !words.contains(&directory) && !words.contains("/tmp/"),
            "{path}: {words}"
        );
    }
    for (scanner, prefix, looked_at) in [
        ("trivy", "", json!({"debian": 3, "python-pkg": 1})),
        ("grype", "GHSA-", json!({"deb": 3, "python": 1})),
    ] {
        let end = format!("/{scanner}/findings.json");
        let mut named = found.iter().filter(|(path, _)| path.ends_with(&end));
        let (_, bytes) = named.next().expect("it looked");
        let findings: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(findings["database"]["built"], "2026-11-10T06:00:00Z");
        assert_eq!(findings["network"], "none");
        assert_eq!(findings["looked_at"], looked_at);
        let all = findings["findings"].as_array().expect("a list");
        let origin = |finding: &Value| {
            let [origin, id] = [&finding["origin"], &finding["id"]].map(text);
            (origin.to_owned(), id.to_owned())
        };
        let mut origins: Vec<_> = all.iter().map(origin).collect();
        origins.sort();
        let expected = [
            ("base", "CVE-2099-0001".to_owned()),
            ("base", "CVE-2099-0004".to_owned()),
            ("local", "CVE-2099-0003".to_owned()),
            ("local", format!("{prefix}CVE-2099-0002")),
        ];
        let mut expected = expected.map(|(origin, id)| (origin.to_owned(), id));
        expected.sort();
        assert_eq!(origins, expected);
    }
}

#[test]
fn a_policy_decides_on_what_grype_finds() {
    let Some(pulls) = Pulls::of_grype() else {
        return;
    };
    let workspace = pulls.workspace();
    let file = |name: &str| workspace.path(&format!("grype/{name}.db"));
    let others = [Advisory {
        source: "debian 13",
        ..ADVISORIES[0]
    }];
    grype_db(&file("of_another_form"), &ADVISORIES, "2026-11-10", 7);
    grype_db(&file("of_last_year"), &ADVISORIES, "2025-11-10", 6);
    grype_db(&file("of_others"), &others, "2026-11-10", 6);
    grype_db(&file("that_knows_nothing"), &[], "2026-11-10", 6);
    let by = |name: &str| format!("--@oci_pull_all//oci:scanner=//grype:{name}");
    let grype = by("grype");

    let base = log(&workspace, "//security:debian", &[&grype], Passed);
    let excepted = format!(
        "excepted: {OPENSSL}, fixed in 3.0.11-1~deb12u2: made up\\u{{1b}}[2J: security/exceptions.toml:3 (security@example.com): nothing here speaks TLS 1.0"
    );
    has(&base, &[&excepted, "passed"], &["found:"]);

    let jinja = JINJA.replace(
        "CVE-2099-0002 critical Jinja2",
        "GHSA-CVE-2099-0002 critical jinja2",
    );
    let image = log(&workspace, "//:image_scan", &[&grype], Failed);
    has(
        &image,
        &[&jinja, CURL, "FAILED: 2 findings, 0 faulty exceptions"],
        &["found: CVE-2099-0001"],
    );
    // The exceptions name what another scanner calls them.
    let passing = log(&workspace, "//:excepted_scan", &[&grype], Passed);
    has(&passing, &["passed"], &["found"]);
    let expired = log(&workspace, "//:expired_scan", &[&grype], Failed);
    let over = "exception: app/expired.toml:5: CVE-2099-0003: it ended on 2026-11-09, and the database is of 2026-11-10";
    has(&expired, &[CURL, over], &["found: GHSA"]);

    let empty = log(&workspace, "//:without_packages_scan", &[&grype], Untrusted);
    let nothing = "cannot be trusted: the scanner saw no package in the image [no-packages]";
    has(&empty, &[nothing], &["passed"]);
    let disguised = log(&workspace, "//:disguised_scan", &[&grype], Untrusted);
    let other = "cannot be trusted: the image says that it is debian 11, and its base that it is debian 12 [system-differs]";
    has(&disguised, &[other], &[]);

    for (scanner, trouble) in [
        (
            "grype_of_last_year",
            "the database was built on 2025-11-10, more than 30 days before 2026-11-01, the newest date of the image, its bases and the scanner [database-too-old]",
        ),
        (
            "grype_that_knows_nothing",
            "the database has no advisory [empty-database]",
        ),
        (
            "grype_of_another_form",
            "the database is of the form 7, and the scanner reads 6 [database-schema]",
        ),
        (
            "grype_of_others",
            "the database has nothing about debian 12.5 [system-not-covered]",
        ),
    ] {
        let log = log(&workspace, "//:excepted_scan", &[&by(scanner)], Untrusted);
        has(
            &log,
            &[&format!("cannot be trusted: {trouble}")],
            &["passed"],
        );
    }
}

#[test]
fn a_policy_decides_on_what_osv_scanner_finds() {
    let Some(pulls) = Pulls::of_osv_scanner() else {
        return;
    };
    let workspace = pulls.workspace();
    let directory = |name: &str| workspace.path(&format!("osv/{name}"));
    let others = [Advisory {
        source: "debian 13",
        ..ADVISORIES[0]
    }];
    let of_python: Vec<_> = ADVISORIES[1..2].to_vec();
    osv_db(&directory("of_last_year"), &ADVISORIES, "2025-11-10");
    osv_db(&directory("of_others"), &others, "2026-11-10");
    osv_db(&directory("that_knows_nothing"), &[], "2026-11-10");
    osv_db(&directory("without_debian"), &of_python, "2026-11-10");
    fs::remove_dir_all(directory("without_debian/Debian")).expect("is there");
    let by = |name: &str| format!("--@oci_pull_all//oci:scanner=//osv:{name}");
    let osv = by("osv");

    let base = log(&workspace, "//security:debian", &[&osv], Passed);
    let of_openssl = "DEBIAN-CVE-2099-0001 high openssl 3.0.9-1";
    let excepted = format!(
        "excepted: {of_openssl}, fixed in 3.0.11-1~deb12u2: made up\\u{{1b}}[2J: security/exceptions.toml:3 (security@example.com): nothing here speaks TLS 1.0"
    );
    has(&base, &[&excepted, "passed"], &["found:"]);

    let jinja = JINJA.replace(
        "CVE-2099-0002 critical Jinja2",
        "GHSA-CVE-2099-0002 critical jinja2",
    );
    let curl = CURL.replace("CVE", "DEBIAN-CVE");
    let image = log(&workspace, "//:image_scan", &[&osv], Failed);
    has(
        &image,
        &[&jinja, &curl, "FAILED: 2 findings, 0 faulty exceptions"],
        &["found: DEBIAN-CVE-2099-0001"],
    );
    assert!(image.contains("; osv-scanner 2.6.0\n"), "{image}");
    let alone = log(&workspace, "//:image_alone_scan", &[&osv], Failed);
    let in_base = format!("found: {of_openssl}, in the base, fixed in 3.0.11-1~deb12u2");
    assert!(alone.contains(&in_base), "{alone}");
    // The exceptions name what another scanner calls them.
    let passing = log(&workspace, "//:excepted_scan", &[&osv], Passed);
    has(&passing, &["passed"], &["found"]);
    let expired = log(&workspace, "//:expired_scan", &[&osv], Failed);
    let over = "exception: app/expired.toml:5: CVE-2099-0003: it ended on 2026-11-09, and the database is of 2026-11-10";
    has(&expired, &[&curl, over], &["found: GHSA"]);

    let empty = log(&workspace, "//:without_packages_scan", &[&osv], Untrusted);
    let nothing = "cannot be trusted: the scanner saw no package in the image [no-packages]";
    has(&empty, &[nothing], &["passed"]);
    let disguised = log(&workspace, "//:disguised_scan", &[&osv], Untrusted);
    let other = "cannot be trusted: the image says that it is debian 11, and its base that it is debian 12 [system-differs]";
    has(&disguised, &[other], &[]);

    for (scanner, trouble) in [
        (
            "osv_of_last_year",
            "the database was built on 2025-11-10, more than 30 days before 2026-11-01, the newest date of the image, its bases and the scanner [database-too-old]",
        ),
        (
            "osv_that_knows_nothing",
            "the database has no advisory [empty-database]",
        ),
        (
            "osv_of_others",
            "the database has nothing about Debian 12 [system-not-covered]",
        ),
        (
            "osv_without_debian",
            "the database has nothing about Debian 12 [system-not-covered]",
        ),
    ] {
        let log = log(&workspace, "//:excepted_scan", &[&by(scanner)], Untrusted);
        has(
            &log,
            &[&format!("cannot be trusted: {trouble}")],
            &["passed"],
        );
    }
    let missing = by("osv_without_a_database");
    let missing = workspace.fail(&["test", "//:excepted_scan", &missing]);
    let message = "//osv:osv_without_a_database: databases have no all.zip";
    assert!(missing.contains(message), "{missing}");
}

#[test]
fn a_policy_decides_on_what_clamav_finds() {
    let pulls = Pulls::of_clamav();
    let workspace = pulls.workspace();
    let file = |name: &str| workspace.path(&format!("clamav/{name}/daily.cud"));
    clamav_db(&file("of_last_year"), &SIGNATURES, "10 Nov 2025");
    clamav_db(&file("that_knows_nothing"), &[], "10 Nov 2026");
    let by = |name: &str| format!("--@oci_pull_all//oci:scanner=//clamav:{name}");
    let clamav = by("clamav");

    let clean = log(&workspace, "//clamav:clean_scan", &[&clamav], Passed);
    has(&clean, &["passed"], &["found", "note"]);
    assert!(clean.contains("files: 3; clamav 1.4."), "{clean}");
    let marked = log(&workspace, "//clamav:marked_scan", &[&clamav], Failed);
    let found = "found: malware Marked.Local.UNOFFICIAL critical /app/marked";
    let failed = "FAILED: 1 finding, 0 faulty exceptions";
    has(&marked, &[found, failed], &["passed"]);
    let above = log(&workspace, "//clamav:above_scan", &[&clamav], Passed);
    let of_base = "the base has 1 finding, for its own test";
    has(&above, &[of_base, "passed"], &["found"]);
    let empty = log(
        &workspace,
        "//clamav:without_files_scan",
        &[&clamav],
        Untrusted,
    );
    let nothing = "cannot be trusted: the scanner saw no file in the image [no-files]";
    has(&empty, &[nothing], &["passed"]);

    for (scanner, trouble) in [
        (
            "clamav_of_last_year",
            "the database was built on 2025-11-10, more than 30 days before 2026-11-01, the newest date of the image, its bases and the scanner [database-too-old]",
        ),
        (
            "clamav_that_knows_nothing",
            "the database has no advisory [empty-database]",
        ),
    ] {
        let log = log(
            &workspace,
            "//clamav:clean_scan",
            &[&by(scanner)],
            Untrusted,
        );
        has(
            &log,
            &[&format!("cannot be trusted: {trouble}")],
            &["passed"],
        );
    }
    let missing = by("clamav_without_a_database");
    let missing = workspace.fail(&["test", "//clamav:clean_scan", &missing]);
    let message = "//clamav:clamav_without_a_database: databases have no file of ClamAV's";
    assert!(missing.contains(message), "{missing}");
    // What it does not look for.
    let other = workspace.fail(&["test", "//:image_scan", &clamav]);
    let message = "the policy @@//security:policy has the kind vulnerability, which @@//clamav:clamav does not look for";
    assert!(other.contains(message), "{other}");
}

#[test]
fn a_push_that_requires_a_scan_sends_nothing_that_does_not_pass() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let by_policy = "--@oci_pull_all//oci:scan_policy=//security:policy";
    let required = "--@oci_pull_all//oci:require_scan";
    let sent = || {
        let requests = pulls.registry.requests();
        let sent = requests
            .iter()
            .filter(|request| request.method != "GET" && request.method != "HEAD");
        sent.count()
    };

    workspace.succeed(&["build", "//:push_image", by_policy, required]);
    for push in ["//:push_image", "//:push_index"] {
        let run = workspace.bazel(&["run", push, by_policy, required]);
        assert!(!run.success && run.stdout.contains(JINJA), "{}", run.stdout);
        let refused = "error: nothing is pushed, because the image does not pass its scan";
        assert!(run.stderr.contains(refused), "{}", run.stderr);
    }
    assert_eq!(sent(), 0);
    for push in ["//:push_labelled", "//:push_base"] {
        let run = workspace.succeed(&["run", push, by_policy, required]);
        assert!(run.stdout.contains("passed\n"), "{}", run.stdout);
    }
    let pushed = sent();
    assert!(pushed > 0);

    // Without the setting nothing is scanned.
    let run = workspace.succeed(&["run", "//:push_image"]);
    assert_eq!(run.count("OCIVerdict"), 0, "{}", run.stderr);
    assert!(sent() > pushed);
}

/// Adds a package to a workspace; `tars` are layers that it has as files.
fn add_package(workspace: &Workspace, name: &str, build: &str, tars: Vec<(&str, Layer)>) {
    let package = workspace.path(name);
    fs::create_dir(&package).expect("can be made");
    for (name, layer) in tars {
        let mut layer = layer.0;
        layer.resize(layer.len() + 1024, 0);
        fs::write(package.join(name), layer).expect("can be written");
    }
    fs::write(package.join("BUILD.bazel"), build).expect("can be written");
}

const FOREIGN: &str = r#"
load("@oci_pull_all//oci:defs.bzl", "oci_image_index", "oci_image_layout", "oci_scan_test", base_image = "oci_image")
load("@rules_oci//oci:defs.bzl", "oci_image")

base_image(name = "debian", base = "@debian")
oci_image_layout(name = "debian_layout", image = ":debian")
oci_image(name = "image", base = ":debian_layout", tars = ["app.tar"])
oci_scan_test(name = "scan", base = "@debian", layout = ":image", policy = "//security:policy")
oci_scan_test(name = "without_base_scan", layout = ":image")
oci_scan_test(name = "mistaken_scan", base = ":amd64", layout = ":image")

base_image(name = "amd64", architecture = "amd64", os = "linux", tars = ["app.tar"])
base_image(name = "arm64", architecture = "arm64", os = "linux", tars = ["app.tar"])
oci_image_index(name = "index", images = [":amd64", ":arm64"])
oci_image_layout(name = "layout", image = ":index")
oci_scan_test(name = "all_scan", layout = ":layout", platforms = ["linux/amd64", "linux/arm64"])
oci_scan_test(name = "one_scan", layout = ":layout", platform = "linux/arm64")
oci_scan_test(name = "incomplete_scan", layout = ":layout", platforms = ["linux/arm64"])
oci_scan_test(name = "said_scan", layout = ":layout")
filegroup(name = "silent_layout", srcs = [":layout"])
oci_scan_test(name = "undecided_scan", layout = ":silent_layout")
"#;

/// Adds images of another ruleset to a workspace, and layouts of several images.
fn with_foreign(workspace: Workspace) -> Workspace {
    let ruleset = checkout().join("e2e/cases/rulesets/rules_oci");
    workspace.append_rc(&format!(
        "common --override_module=rules_oci={}",
        ruleset.display()
    ));
    let module = workspace.path("MODULE.bazel");
    let text = fs::read_to_string(&module).expect("can be read");
    fs::write(
        &module,
        text + "bazel_dep(name = \"rules_oci\", version = \"2.2.6\")\n",
    )
    .expect("can be written");
    let file = |name: &str| fs::read_to_string(workspace.path(name)).expect("can be read");
    let app = Layer::new()
        .file("var/lib/dpkg/status", &file("app/status"))
        .file(
            "usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA",
            &file("app/METADATA"),
        );
    add_package(&workspace, "foreign", FOREIGN, vec![("app.tar", app)]);
    workspace
}

#[test]
fn layouts_of_other_rulesets_are_scanned_as_images_are() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = with_foreign(pulls.workspace());

    let scan = log(&workspace, "//foreign:scan", &[], Failed);
    has(
        &scan,
        &[JINJA, CURL, "FAILED: 2 findings, 0 faulty exceptions"],
        &["found: CVE-2099-0001"],
    );
    let alone = log(&workspace, "//foreign:without_base_scan", &[], Failed);
    has(&alone, &[JINJA, CURL], &["note: the base"]);
    assert!(
        alone.contains(&format!("found: {OPENSSL}, fixed in")),
        "{alone}"
    );
    let mistaken = workspace.fail(&["test", "//foreign:mistaken_scan"]);
    assert!(
        mistaken.contains(
            "does not stand on the base, for linux/amd64: layer 1 of the base has the diff_id"
        ),
        "{mistaken}"
    );
    // The base is what the policy's test and other images have listed.
    let run = workspace.bazel(&[
        "test",
        "//foreign:scan",
        "//security:debian",
        "//:image_scan",
    ]);
    assert_eq!(run.count("OCIInventory"), 1, "{}", run.stderr);

    // Of several images, those that are named, or that the layout's target says to be there.
    for test in ["//foreign:all_scan", "//foreign:said_scan"] {
        let all = log(&workspace, test, &[], Untrusted);
        for platform in ["linux/amd64", "linux/arm64"] {
            assert!(all.contains(&format!("{platform} sha256:")), "{all}");
        }
    }
    let one = log(&workspace, "//foreign:one_scan", &[], Untrusted);
    assert!(
        one.contains("linux/arm64 sha256:") && !one.contains("linux/amd64"),
        "{one}"
    );
    let incomplete = workspace.fail(&["test", "//foreign:incomplete_scan"]);
    let missing =
        "the layout's image for linux/amd64 is not scanned: name that platform in platforms, too";
    assert!(incomplete.contains(missing), "{incomplete}");
    let undecided = workspace.fail(&["test", "//foreign:undecided_scan"]);
    let several = "the layout has 2 images, for linux/amd64, linux/arm64: name a platform to choose one of them";
    assert!(undecided.contains(several), "{undecided}");

    let engine = RemoteExecution::start();
    let mut remote = pulls.workspace();
    remote.use_remote(&engine);
    let remote = with_foreign(remote);
    let build = ["build", "//foreign:scan", "--output_groups=findings"];
    let run = remote.succeed(&build);
    assert_eq!(run.runners("OCIInventory"), ["remote", "remote"]);
    workspace.succeed(&build);
    let found = |workspace: &Workspace| {
        let file = workspace.output("foreign/scan.layout/findings.json");
        fs::read(file).expect("can be read")
    };
    assert!(found(&workspace) == found(&remote));
}

const FURTHER: &str = r#"
load("@oci_pull_all//oci:defs.bzl", "oci_image", "oci_scan_policy", "oci_scan_test", "trivy_scanner")

trivy_scanner(
    name = "trivy",
    databases = ["@trivy_db"],
    image = "@trivy",
    kinds = ["license", "misconfiguration", "secret"],
)
oci_image(name = "image", base = "@debian", tars = ["app.tar"])
oci_image(name = "above", base = ":image", labels = {"above": "1"})
oci_scan_policy(name = "policy", kinds = ["license", "secret"])
oci_scan_policy(name = "policy_above", bases = [":image"], kinds = ["license", "secret"])
oci_scan_test(name = "scan", image = ":image", policy = ":policy")
oci_scan_test(name = "above_scan", image = ":above", policy = ":policy_above")
"#;

#[test]
fn secrets_and_licenses_are_found_where_they_are_looked_for() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    // In pieces, so that this file has none.
    let token = format!("GITHUB_TOKEN=ghp_{}\n", "a1B2".repeat(9));
    let metadata = "Metadata-Version: 2.1\nName: Jinja2\nVersion: 2.11.2\nLicense: AGPL-3.0\n\n";
    let app = Layer::new()
        .file("app/.env", &token)
        .file("app/Dockerfile", "FROM debian\nUSER root\n")
        .file(
            "usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA",
            metadata,
        )
        .file(
            "usr/lib/python3/dist-packages/plain-1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: plain\nVersion: 1\n\n",
        );
    add_package(&workspace, "further", FURTHER, vec![("app.tar", app)]);

    let by = "--@oci_pull_all//oci:scanner=//further:trivy";
    let scan = log(&workspace, "//further:scan", &[by], Failed);
    let found = [
        "found: license AGPL-3.0-only critical Jinja2 2.11.2, usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA: forbidden",
        "found: secret github-pat critical /app/.env: GitHub Personal Access Token (line 1)",
        "FAILED: 2 findings, 0 faulty exceptions",
    ];
    has(&scan, &found, &["found: CVE"]);
    assert!(
        scan.contains("note: no license is known of ")
            && scan.contains("note: of the kind vulnerability, ")
            && scan.contains("note: of the kind misconfiguration, "),
        "{scan}"
    );
    let above = log(&workspace, "//further:above_scan", &[by], Passed);
    has(
        &above,
        &["the base has 2 findings, for its own test"],
        &["found"],
    );

    // A scanner that does not look for them.
    let missing = workspace.fail(&["test", "//further:scan"]);
    let message = "the policy @@//further:policy has the kind license, which @@//security:trivy does not look for";
    assert!(missing.contains(message), "{missing}");
    let run = workspace.bazel(&["test", "//:image_scan"]);
    assert_eq!(run.count("OCIFileFindings"), 0, "{}", run.stderr);
}

const JAVA: &str = r#"
load("@oci_pull_all//oci:defs.bzl", "oci_image", "oci_scan_test", "trivy_scanner")

trivy_scanner(name = "trivy", databases = ["@trivy_db", "@trivy_java_db"], image = "@trivy")
trivy_scanner(
    name = "trivy_of_last_year",
    databases = ["@trivy_db", "trivy-java.db", "metadata.json"],
    image = "@trivy",
)
[
    oci_image(name = name, base = "@debian", tars = [name + ".tar"])
    for name in ["1.0", "2.0"]
]
[
    oci_scan_test(name = name + "_scan", image = name, policy = "//security:policy")
    for name in ["1.0", "2.0"]
]
"#;

#[test]
fn java_archives_are_known_by_a_database_of_them() {
    let Some(pulls) = Pulls::of_trivy() else {
        return;
    };
    let workspace = pulls.workspace();
    let layers = archives().map(|(version, bytes)| {
        let layer = Layer::new().add(EntryType::Regular, "app/lib.jar", 0o644, "", &bytes);
        (format!("{version}.tar"), layer)
    });
    let layers = layers.into_iter();
    let (names, layers): (Vec<String>, Vec<Layer>) = layers.unzip();
    let tars = names.iter().map(String::as_str).zip(layers).collect();
    add_package(&workspace, "java", JAVA, tars);
    let file = |name: &str| workspace.path(&format!("java/{name}"));
    fs::write(file("trivy-java.db"), java_database()).expect("can be written");
    fs::write(file("metadata.json"), metadata_of(1, "2025-11-10")).expect("can be written");
    let by = |name: &str| format!("--@oci_pull_all//oci:scanner=//java:{name}");

    let found = log(&workspace, "//java:1.0_scan", &[&by("trivy")], Failed);
    let line =
        "found: CVE-2099-0005 high org.example:lib 1.0, fixed in 2.0, app/lib.jar: in an archive";
    has(&found, &[line], &["note:"]);
    let well = log(&workspace, "//java:2.0_scan", &[&by("trivy")], Passed);
    has(&well, &["passed"], &["found", "note:"]);
    assert!(well.contains("1 jar"), "{well}");

    let blind = log(&workspace, "//java:2.0_scan", &[], Untrusted);
    let line = "cannot be trusted: 1 Java archive was not looked into, because there is no Java database [no-java-database]";
    has(&blind, &[line], &["passed"]);
    let stale = by("trivy_of_last_year");
    let stale = log(&workspace, "//java:2.0_scan", &[&stale], Untrusted);
    let line = "cannot be trusted: the Java database was built on 2025-11-10, more than 30 days before 2026-11-01, the newest date of the image, its bases and the scanner [database-too-old]";
    has(&stale, &[line], &["passed"]);
}

#[test]
fn a_policy_decides_on_what_several_scanners_find() {
    let Some(pulls) = Pulls::of_several() else {
        return;
    };
    let workspace = pulls.workspace();
    let stale = workspace.path("grype/of_last_year.db");
    grype_db(&stale, &ADVISORIES, "2025-11-10", 6);
    let by = |name: &str| format!("--@oci_pull_all//oci:scanner=//several:{name}");
    let everything = by("everything");

    // The image and its base, each once by each.
    let run = workspace.bazel(&["test", "//:marked_scan", &everything]);
    assert_eq!(run.count("OCIInventory"), 4, "{}", run.stderr);
    // Those of the base only where they come with its inventory.
    assert_eq!(run.count("OCIFindings"), 4, "{}", run.stderr);
    assert_eq!(run.count("OCIVerdict"), 1, "{}", run.stderr);
    let marked = log(&workspace, "//:marked_scan", &[&everything], Failed);
    let jinja = JINJA
        .replace("CVE-2099-0002", "CVE-2099-0002 (GHSA-CVE-2099-0002)")
        .replace(": made up", ", found by grype and trivy: made up");
    let curl = format!("{CURL}, found by grype and trivy");
    let malware = "found: malware Marked.Local.UNOFFICIAL critical /app/marked, found by clamav";
    let failed = "FAILED: 3 findings, 0 faulty exceptions";
    has(&marked, &[&jinja, &curl, malware, failed], &["found: GHSA"]);
    for line in shown_lines() {
        if line.contains(", found by ") {
            has(&marked, &[&line], &[]);
        }
    }
    for scanner in ["trivy", "grype", "clamav"] {
        let line = format!("\n{scanner}: linux/amd64 sha256:");
        assert!(marked.contains(&line), "no {scanner} in {marked}");
    }
    let base = log(&workspace, "//security:debian", &[&everything], Passed);
    let excepted = format!(
        "excepted: {OPENSSL}, fixed in 3.0.11-1~deb12u2, found by grype and trivy: made up"
    );
    assert!(base.contains(&excepted), "{base}");

    // What one of them finds in no image is looked for by the other.
    let both = by("both");
    log(&workspace, "//:excepted_scan", &[&both], Passed);
    let expired = log(&workspace, "//:expired_scan", &[&both], Failed);
    let over = "exception: app/expired.toml:5: CVE-2099-0003: it ended on 2026-11-09, and the newest database is of 2026-11-10";
    has(&expired, &[&curl, over], &["found: CVE-2099-0002"]);
    let stale = by("one_of_last_year");
    let stale = log(&workspace, "//:excepted_scan", &[&stale], Untrusted);
    let trouble = "cannot be trusted: grype: the database was built on 2025-11-10, more than 30 days before 2026-11-01, the newest date of the image, its bases and the scanner [database-too-old]";
    has(&stale, &[trouble], &["passed", "cannot be trusted: trivy"]);

    let push = "--@oci_pull_all//oci:require_scan";
    let refused = workspace.fail(&["run", "//:push_image", push, &both]);
    let message = "nothing is pushed, because the image does not pass its scan";
    assert!(refused.contains(message), "{refused}");

    let malware = workspace.fail(&["test", "//:marked_scan", &both]);
    let message =
        "has the kind malware, which @@//security:trivy and @@//grype:grype do not look for";
    assert!(malware.contains(message), "{malware}");
    let twice = workspace.fail(&["test", "//:image_scan", &by("twice")]);
    let message = "//several:twice: scanners has both @@//security:trivy and @@//security:trivy_of_last_year, which are of one kind, trivy";
    assert!(twice.contains(message), "{twice}");
}
