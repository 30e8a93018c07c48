//! What the scanners of a build find in two steps, and at once; and what cannot be trusted of either, whatever they say
//! themselves. Real Trivy, real grype with syft, and real osv-scanner, on images of a few files; no Bazel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_pull_all_e2e::grype_db::grype_db;
use oci_pull_all_e2e::jar::{jar, sha1};
use oci_pull_all_e2e::new_user;
use oci_pull_all_e2e::osv_db::osv_db;
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::trivy_db::{
    Advisory, JavaArchive, metadata, metadata_of, trivy_db, trivy_db_of_red_hat, trivy_java_db,
};
use oci_pull_all_support::layout::add_blob;
use oci_pull_all_support::rootfs::{Layer, image, write_layout};
use oci_pull_all_support::{Ran, User, digest, dpkg_status, rpm, text};
use serde_json::{Value, json};
use tar::EntryType;

const DAY: &str = "2026-11-10";

const fn advisory(source: &'static str, package: &'static str, id: &'static str) -> Advisory {
    Advisory {
        source,
        package,
        id,
        fixed: "99.0.0",
        severity: "HIGH",
        title: "made up",
    }
}

const ADVISORIES: [Advisory; 15] = [
    advisory("debian 12", "openssl", "CVE-2099-0001"),
    // As it was below, and not as it is.
    Advisory {
        fixed: "3.0.10",
        ..advisory("debian 12", "openssl", "CVE-2099-0002")
    },
    advisory("debian 12", "perl-base", "CVE-2099-0003"),
    Advisory {
        fixed: "",
        severity: "LOW",
        ..advisory("debian 12", "zlib1g", "CVE-2099-0004")
    },
    Advisory {
        severity: "UNKNOWN",
        ..advisory("debian 12", "curl", "CVE-2099-0005")
    },
    advisory("alpine 3.20", "openssl", "CVE-2099-0006"),
    advisory("pip::Made Up", "requests", "CVE-2099-0007"),
    advisory("pip::Made Up", "jinja2", "CVE-2099-0008"),
    advisory("npm::Made Up", "left-pad", "CVE-2099-0009"),
    advisory("npm::Made Up", "@scope/thing", "CVE-2099-0010"),
    advisory("maven::Made Up", "org.example:lib", "CVE-2099-0011"),
    advisory("maven::Made Up", "org.example:known", "CVE-2099-0012"),
    advisory("go::Made Up", "stdlib", "CVE-2099-0013"),
    advisory("go::Made Up", "google.golang.org/protobuf", "CVE-2099-0014"),
    advisory("npm::Made Up", "removed", "CVE-2099-0015"),
];

/// A scanner of a build, and who runs it.
struct Scanner {
    user: User,
    kind: &'static str,
    lister: PathBuf,
    program: PathBuf,
    /// The database, as it is given; grype's is imported then.
    java_database: Vec<String>,
    /// The files of osv-scanner's.
    files: Vec<String>,
}

impl Scanner {
    /// Trivy, with these advisories and a database of Java archives.
    fn trivy(advisories: &[Advisory], archives: &[JavaArchive<'_>]) -> Option<Self> {
        let program = Peer::Trivy.or_skip()?;
        let user = new_user();
        for directory in ["cache/db", "cache/java-db"] {
            fs::create_dir_all(user.path(directory)).expect("can be made");
        }
        fs::write(user.path("cache/db/trivy.db"), trivy_db(advisories)).expect("can be written");
        fs::write(user.path("cache/db/metadata.json"), metadata(DAY)).expect("can be written");
        trivy_java_db(&user.path("cache/java-db/trivy-java.db"), archives);
        let java = user.path("cache/java-db/metadata.json");
        fs::write(java, metadata_of(1, DAY)).expect("can be written");
        let file = |name: &str| format!("cache/java-db/{name}");
        Some(Scanner {
            user,
            kind: "trivy",
            lister: program.clone(),
            program,
            java_database: vec![file("trivy-java.db"), file("metadata.json")],
            files: Vec::new(),
        })
    }

    /// grype, with these advisories, and syft.
    fn grype(advisories: &[Advisory]) -> Option<Self> {
        let scanner = Scanner {
            user: new_user(),
            kind: "grype",
            lister: Peer::Syft.or_skip()?,
            program: Peer::Grype.or_skip()?,
            java_database: Vec::new(),
            files: Vec::new(),
        };
        grype_db(&scanner.user.path("given.db"), advisories, DAY, 6);
        scanner.import();
        Some(scanner)
    }

    /// osv-scanner, with these advisories.
    fn osv(advisories: &[Advisory]) -> Option<Self> {
        let program = Peer::OsvScanner.or_skip()?;
        let user = new_user();
        let files = osv_db(&user.path("osv"), advisories, DAY);
        let files = files.iter().map(|file| file.display().to_string());
        Some(Scanner {
            kind: "osv-scanner",
            lister: program.clone(),
            program,
            java_database: Vec::new(),
            files: files.collect(),
            user,
        })
    }

    /// Imports `given.db` into the cache.
    fn import(&self) {
        fs::create_dir_all(self.user.path("cache/6")).expect("can be made");
        let program = self.program.display().to_string();
        let arguments = [
            "findings",
            "import",
            "--scanner-name=grype",
            "--database=given.db",
            "--program",
            &program,
            "--output",
            "cache/6/vulnerability.db",
            "cache/6/import.json",
        ];
        self.user.run(&arguments).succeeded();
    }

    fn database(&self) -> [&'static str; 2] {
        match self.kind {
            "trivy" => ["cache/db/trivy.db", "cache/db/metadata.json"],
            _ => ["cache/6/vulnerability.db", "cache/6/import.json"],
        }
    }

    /// Scans the image in `layout`, in two steps where the scanner can.
    fn scan(&self) -> Ran {
        let kind = format!("--kind={}", self.kind);
        let [lister, program] =
            [&self.lister, &self.program].map(|path| format!("--program={}", path.display()));
        if !self.files.is_empty() {
            let scan = [
                "findings",
                "scan",
                &kind,
                &program,
                "--scanner-name=scanner",
                "--layout=layout",
                "--inventory=i.json",
                "--output=f.json",
            ];
            let database = self.files.iter().flat_map(|file| ["--database", file]);
            return self
                .user
                .run(&scan.into_iter().chain(database).collect::<Vec<_>>());
        }
        let list = [
            "findings",
            "inventory",
            &kind,
            &lister,
            "--scanner-name=lister",
            "--layout=layout",
            "--output=i.json",
            "--list=l.json",
        ];
        let java: Vec<&str> = self.java_database.iter().map(String::as_str).collect();
        let java = if java.is_empty() {
            java
        } else {
            [&["--java-database"], &*java].concat()
        };
        let ran = self.user.run(&[&list, &*java].concat());
        if !ran.success {
            return ran;
        }
        let matched = [
            "findings",
            "match",
            &kind,
            &program,
            "--scanner-name=matcher",
            "--inventory=i.json",
            "--list=l.json",
            "--output=f.json",
            "--database",
        ];
        self.user.run(&[&matched, &self.database()[..]].concat())
    }

    /// What is found in the image in `layout`.
    fn findings(&self) -> Value {
        self.scan().succeeded();
        read(&self.user.path("f.json"))
    }

    /// The codes of what makes the scan of an image of these layers one that cannot be trusted.
    fn troubles(&self, layers: &[Layer]) -> Vec<String> {
        let _ = fs::remove_dir_all(self.user.path("layout"));
        image(&self.user, layers);
        self.codes()
    }

    fn codes(&self) -> Vec<String> {
        let findings = self.findings();
        let troubles = findings["troubles"].as_array().expect("a list");
        let codes = troubles.iter().map(|trouble| text(&trouble["code"]));
        codes.map(str::to_owned).collect()
    }

    /// What it writes of the image in `layout` if it looks at it once, without a network.
    fn at_once(&self, arguments: &[&str]) -> Value {
        let program = self.program.display().to_string();
        let ran = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--", &program])
            .args(arguments)
            .current_dir(self.user.home())
            .env("GRYPE_DB_CACHE_DIR", self.user.path("cache"))
            .env("GRYPE_DB_AUTO_UPDATE", "false")
            .env("GRYPE_DB_VALIDATE_AGE", "false")
            .env("GRYPE_CHECK_FOR_APP_UPDATE", "false")
            .output()
            .expect("unshare can be run");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
        serde_json::from_slice(&ran.stdout).expect("JSON")
    }
}

fn read(file: &Path) -> Value {
    let bytes = fs::read(file).expect("can be read");
    serde_json::from_slice(&bytes).expect("JSON")
}

const RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\n";
const STATUS: &str = "var/lib/dpkg/status";

fn debian() -> Layer {
    Layer::new()
        .file("etc/os-release", RELEASE)
        .file("etc/debian_version", "12.5\n")
}

fn wheel(name: &str, version: &str) -> (String, String) {
    let path = format!("usr/lib/python3/site-packages/{name}-{version}.dist-info/METADATA");
    let text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nx\n");
    (path, text)
}

fn with_wheel(layer: Layer, name: &str) -> Layer {
    let (path, text) = wheel(name, "2.11.2");
    layer.file(&path, &text)
}

fn with_module(layer: Layer, name: &str) -> Layer {
    let text = json!({"name": name, "version": "1.0.0"});
    let path = format!("app/node_modules/{name}/package.json");
    layer.file(&path, &text.to_string())
}

fn with_bytes(layer: Layer, path: &str, bytes: &[u8]) -> Layer {
    layer.add(EntryType::Regular, path, 0o755, "", bytes)
}

/// An archive that says which it is.
fn named_jar() -> Vec<u8> {
    let properties = "groupId=org.example\nartifactId=lib\nversion=1.0\n";
    let path = "META-INF/maven/org.example/lib/pom.properties";
    jar(&[
        ("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n"),
        (path, properties),
    ])
}

/// Archives that do not.
fn jars() -> [Vec<u8>; 2] {
    ["known", "unknown"].map(|name| jar(&[("a.txt", name)]))
}

fn known_archives() -> [JavaArchive<'static>; 1] {
    [JavaArchive {
        name: ["org.example", "known", "1.0"],
        sha1: sha1(&jars()[0]),
    }]
}

/// Several layers, of which the upper ones upgrade, remove and repeat what those below have.
fn layers(go_program: &[u8]) -> [Layer; 4] {
    let below = [
        ("openssl", "3.0.9-1"),
        ("perl-base", "5.36.0-7"),
        ("zlib1g", "1:1.2.13.dfsg-1"),
    ];
    let above = [
        ("openssl", "3.0.11-1~deb12u2"),
        ("zlib1g", "1:1.2.13.dfsg-1"),
        ("curl", "7.88.1-10"),
    ];
    let [known, unknown] = jars();
    let base = with_module(
        with_wheel(debian().file(STATUS, &dpkg_status(&below)), "requests"),
        "removed",
    );
    let middle = with_bytes(
        with_module(with_wheel(Layer::new(), "Jinja2"), "left-pad"),
        "usr/bin/go-made",
        go_program,
    );
    let jars = with_bytes(
        with_bytes(
            with_bytes(Layer::new(), "app/lib.jar", &named_jar()),
            "app/other.jar",
            &known,
        ),
        "app/unknown.jar",
        &unknown,
    );
    let last = with_module(
        with_module(
            Layer::new()
                .file(STATUS, &dpkg_status(&above))
                .file("app/node_modules/.wh.removed", ""),
            "@scope/thing",
        ),
        "left-pad",
    );
    [base, middle, jars, last]
}

/// What a finding is, in words that both ways have.
type Row = BTreeMap<&'static str, String>;

fn rows(findings: &Value, with_layer: bool) -> BTreeSet<Row> {
    let findings = findings["findings"].as_array().expect("a list");
    let row = |finding: &Value| {
        let package = &finding["package"];
        let mut row: Row = [
            ("id", &finding["id"]),
            ("package", &package["name"]),
            ("version", &package["version"]),
            ("purl", &package["purl"]),
            ("path", &package["path"]),
            ("fixed", &finding["fixed"]),
            ("severity", &finding["severity"]),
            ("layer", &package["layer"]),
        ]
        .map(|(name, value)| (name, text(value).to_owned()))
        .into();
        if !with_layer {
            row.remove("layer");
        }
        row
    };
    let rows: BTreeSet<Row> = findings.iter().map(row).collect();
    assert_eq!(rows.len(), findings.len(), "some are the same");
    rows
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The identifiers, without what is GitHub's of them.
fn ids(rows: &BTreeSet<Row>) -> Vec<&str> {
    let mut ids: Vec<&str> = rows
        .iter()
        .map(|row| row["id"].trim_start_matches("GHSA-"))
        .collect();
    ids.sort_unstable();
    ids
}

/// All but what is only in layers below, or is well by now.
const FOUND: [&str; 11] = [
    "CVE-2099-0001",
    "CVE-2099-0004",
    "CVE-2099-0005",
    "CVE-2099-0007",
    "CVE-2099-0008",
    "CVE-2099-0009",
    "CVE-2099-0010",
    "CVE-2099-0011",
    "CVE-2099-0012",
    "CVE-2099-0013",
    "CVE-2099-0014",
];

#[test]
fn trivy_finds_in_two_steps_what_it_finds_at_once() {
    let Some(go) = Peer::Buildifier.or_skip() else {
        return;
    };
    let Some(trivy) = Scanner::trivy(&ADVISORIES, &known_archives()) else {
        return;
    };
    image(&trivy.user, &layers(&fs::read(go).expect("can be read")));
    let findings = trivy.findings();
    let found = rows(&findings, true);
    assert_eq!(ids(&found), FOUND);
    // An archive that nobody knows is no trouble, and is not kept back.
    assert_eq!(findings["troubles"], json!([]));
    let note = json!(["the scanner knows nothing that is in app/unknown.jar"]);
    assert_eq!(findings["notes"], note);
    assert_eq!(findings["java_database"]["built"], "2026-11-10T06:00:00Z");

    let words = "image --input layout --format json --scanners vuln --offline-scan --skip-db-update \
        --skip-java-db-update --skip-check-update --skip-version-check --disable-telemetry \
        --quiet --cache-backend memory --cache-dir cache";
    let report = trivy.at_once(&words.split_whitespace().collect::<Vec<_>>());
    let mut expected = BTreeSet::new();
    for result in report["Results"].as_array().expect("results") {
        for found in result["Vulnerabilities"].as_array().into_iter().flatten() {
            let path = match &found["PkgPath"] {
                Value::String(path) => path.clone(),
                _ if result["Type"] == "gobinary" => word(&result["Target"]),
                _ => String::new(),
            };
            let row = [
                ("id", word(&found["VulnerabilityID"])),
                ("package", word(&found["PkgName"])),
                ("version", word(&found["InstalledVersion"])),
                ("purl", word(&found["PkgIdentifier"]["PURL"])),
                ("path", path),
                ("fixed", word(&found["FixedVersion"])),
                ("severity", word(&found["Severity"]).to_lowercase()),
                ("layer", word(&found["Layer"]["DiffID"])),
            ];
            expected.insert(Row::from(row));
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn grype_finds_in_two_steps_what_it_finds_at_once() {
    let Some(go) = Peer::Buildifier.or_skip() else {
        return;
    };
    let Some(grype) = Scanner::grype(&ADVISORIES) else {
        return;
    };
    image(&grype.user, &layers(&fs::read(go).expect("can be read")));
    let findings = grype.findings();
    // Its layers are right only so.
    let found = rows(&findings, false);
    assert_eq!(findings["troubles"], json!([]));

    let report = grype.at_once(&["oci-dir:layout", "--output", "json", "--quiet"]);
    let mut expected = BTreeSet::new();
    for found in report["matches"].as_array().expect("matches") {
        let artifact = &found["artifact"];
        let vulnerability = &found["vulnerability"];
        let path = match text(&artifact["type"]) {
            "deb" => String::new(),
            _ => word(&artifact["locations"][0]["path"]),
        };
        let fixed = vulnerability["fix"]["versions"].as_array();
        let fixed: Vec<&str> = fixed.into_iter().flatten().map(text).collect();
        let row = [
            ("id", word(&vulnerability["id"])),
            ("package", word(&artifact["name"])),
            ("version", word(&artifact["version"])),
            ("purl", word(&artifact["purl"])),
            ("path", path.trim_start_matches('/').to_owned()),
            ("fixed", fixed.join(", ")),
            ("severity", word(&vulnerability["severity"]).to_lowercase()),
        ];
        expected.insert(Row::from(row));
    }
    assert_eq!(found, expected);
    // It does not know an archive by its digest.
    let expected: Vec<&str> = FOUND
        .into_iter()
        .filter(|id| *id != "CVE-2099-0012")
        .collect();
    assert_eq!(ids(&found), expected);
}

/// An image of which a scanner sees less than there is, or knows less than there is to know, and the codes of what is said
/// of it with Trivy, with grype and with osv-scanner.
struct Odd {
    name: &'static str,
    layers: Vec<Layer>,
    trivy: &'static [&'static str],
    grype: &'static [&'static str],
    osv: &'static [&'static str],
}

/// One of which the same is said with each.
fn all(name: &'static str, layers: Vec<Layer>, codes: &'static [&'static str]) -> Odd {
    apart(name, layers, codes, codes, codes)
}

fn apart(
    name: &'static str,
    layers: Vec<Layer>,
    trivy: &'static [&'static str],
    grype: &'static [&'static str],
    osv: &'static [&'static str],
) -> Odd {
    Odd {
        name,
        layers,
        trivy,
        grype,
        osv,
    }
}

fn openssl() -> String {
    dpkg_status(&[("openssl", "3.0.9-1")])
}

fn whole() -> Layer {
    debian().file(STATUS, &openssl())
}

/// Images whose system is not what it seems.
fn odd_systems() -> Vec<Odd> {
    let system = |text: &str| Layer::new().file("etc/os-release", text);
    vec![
        all("whole", vec![whole()], &[]),
        all(
            "no packages",
            vec![Layer::new().file("app/serve", "#!/bin/sh\n")],
            &["no-packages"],
        ),
        all("no layers", vec![], &["no-packages"]),
        all(
            "a system without a release",
            vec![
                system("ID=debian\nVERSION_CODENAME=forky\n")
                    .file("etc/debian_version", "forky/sid\n")
                    .file(STATUS, &openssl()),
            ],
            &["system-not-covered"],
        ),
        apart(
            "another release",
            vec![
                system("ID=debian\nVERSION_ID=11\n")
                    .file("etc/debian_version", "11.9\n")
                    .file(STATUS, &openssl()),
            ],
            &["system-not-covered"],
            &["system-not-covered", "system-mistaken"],
            &["system-not-covered"],
        ),
        apart(
            "no os-release",
            vec![Layer::new().file(STATUS, &openssl())],
            &["system-packages-unseen", "system-not-covered"],
            &["system-packages-unseen", "system-not-covered"],
            &["system-not-covered", "system-mistaken"],
        ),
        apart(
            "packages of another system's kind",
            vec![system("ID=alpine\nVERSION_ID=3.20.3\n").file(STATUS, &openssl())],
            &["system-packages-unseen", "version-not-compared"],
            &["system-packages-unseen", "system-not-covered"],
            &["system-not-covered"],
        ),
        apart(
            "an os-release that is gone",
            vec![whole(), Layer::new().file("etc/.wh.os-release", "")],
            &["system-mistaken"],
            &["system-packages-unseen", "system-not-covered"],
            &["system-not-covered", "system-mistaken"],
        ),
    ]
}

/// Images whose packages are not all seen.
fn odd_packages() -> Vec<Odd> {
    let (path, text) = wheel("Jinja2", "2.11.2");
    // As much of a program as tells that Go made it.
    let mut program = b"\x7fELF".to_vec();
    program.resize(300_000, 0);
    program.extend(b"\xff Go buildinf:\x08\x02");
    program.resize(400_000, 0);
    vec![
        all(
            "a system without its packages",
            vec![with_wheel(debian(), "Jinja2")],
            &["system-without-packages"],
        ),
        apart(
            "packages one by one, without a directory's entry",
            vec![debian().file("var/lib/dpkg/status.d/openssl", &openssl())],
            &[],
            &["no-packages", "system-packages-unseen"],
            &[],
        ),
        apart(
            "a language that is not covered",
            vec![
                whole()
                    .file(
                        "usr/lib/ruby/gems/3.0.0/specifications/a-1.0.gemspec",
                        "Gem::Specification.new do |s|\n  s.name = \"a\".freeze\n  s.version = \"1.0\"\nend\n",
                    ),
            ],
            &["language-not-covered"],
            &["language-not-covered"],
            &["language-packages-unseen"],
        ),
        apart(
            "packages of PHP",
            vec![whole().file(
                "app/vendor/composer/installed.json",
                r#"{"packages": [{"name": "a/b", "version": "1.0.0", "version_normalized": "1.0.0.0", "type": "library"}], "dev": false}"#,
            )],
            &["language-not-covered"],
            &["language-not-covered"],
            &["language-packages-unseen"],
        ),
        all(
            "no packages of PHP",
            vec![
                whole()
                    .file(
                        "app/vendor/composer/installed.json",
                        r#"{"packages": [], "dev": false}"#,
                    )
                    .file("old/vendor/composer/installed.json", "[]"),
            ],
            &[],
        ),
        apart(
            "packages that are links",
            vec![whole().file("cache/j", &text).hard_link(&path, "cache/j")],
            &["language-packages-unseen"],
            &[],
            &["language-packages-unseen"],
        ),
        apart(
            "no file that says of which system it is",
            vec![
                whole(),
                Layer::new()
                    .file("etc/.wh.os-release", "")
                    .file("etc/.wh.debian_version", ""),
            ],
            &["system-mistaken"],
            &["system-packages-unseen", "system-not-covered"],
            &["system-not-covered", "system-mistaken"],
        ),
        all(
            "a program of Go's without modules",
            vec![with_bytes(whole(), "usr/bin/go-made", &program)],
            &["go-program-without-modules"],
        ),
        apart(
            "a version that is none of dpkg's",
            vec![debian().file(STATUS, &dpkg_status(&[("openssl", "latest")]))],
            &["no-packages", "system-packages-unseen"],
            &["version-not-compared"],
            &["version-not-compared"],
        ),
        all(
            "a log of rpm's",
            vec![whole().file("var/lib/rpm/rpmdb.sqlite-wal", "x")],
            &["unread-log"],
        ),
    ]
}

/// Makes sure that a scanner's scans of all odd images are told for what they are.
fn check_odd(scanner: &Scanner, codes: impl Fn(&Odd) -> &'static [&'static str]) {
    let mut wrong = Vec::new();
    for odd in odd_systems().into_iter().chain(odd_packages()) {
        let expected: BTreeSet<&str> = codes(&odd).iter().copied().collect();
        let found = scanner.troubles(&odd.layers);
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        if found != expected {
            wrong.push(format!("{}: {found:?}, not {expected:?}", odd.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_trivy_does_not_see_or_know_is_told() {
    if let Some(trivy) = Scanner::trivy(&ADVISORIES, &known_archives()) {
        check_odd(&trivy, |odd| odd.trivy);
    }
}

#[test]
fn what_grype_does_not_see_or_know_is_told() {
    if let Some(grype) = Scanner::grype(&ADVISORIES) {
        check_odd(&grype, |odd| odd.grype);
    }
}

#[test]
fn what_osv_scanner_does_not_see_or_know_is_told() {
    if let Some(osv) = Scanner::osv(&ADVISORIES) {
        check_odd(&osv, |odd| odd.osv);
    }
}

#[test]
fn scanners_of_registries_find_an_image_on_loopback() {
    let scanners = [
        Scanner::trivy(&ADVISORIES, &[]),
        Scanner::grype(&ADVISORIES),
    ];
    for scanner in scanners {
        let Some(scanner) = scanner else { return };
        let user = &scanner.user;
        image(user, &[whole()]);
        let cache = user.path("cache").display().to_string();
        let words = match scanner.kind {
            "trivy" => format!(
                "image --image-src remote {{layout}} --format json --scanners vuln --offline-scan --skip-db-update \
                --skip-java-db-update --skip-check-update --skip-version-check --disable-telemetry \
                --cache-backend memory --cache-dir {cache} --output {{report}}"
            ),
            _ => "registry:{layout} --output json --file {report}".to_owned(),
        };
        let program = scanner.program.display().to_string();
        let scan = [
            "scan",
            "--layout=layout",
            "--input=registry",
            "--report=r.json",
            "--env=GRYPE_DB_AUTO_UPDATE=false",
            "--env=GRYPE_DB_VALIDATE_AGE=false",
            "--env=GRYPE_CHECK_FOR_APP_UPDATE=false",
            &format!("--env=GRYPE_DB_CACHE_DIR={cache}"),
            "--scanner",
            &program,
            "--",
        ];
        let words = words.split_whitespace();
        user.run(&scan.into_iter().chain(words).collect::<Vec<_>>())
            .succeeded();
        let report = fs::read_to_string(user.path("r.json")).expect("was written");
        for id in ["CVE-2099-0001", "CVE-2099-0002"] {
            assert!(report.contains(id), "{}: no {id}: {report}", scanner.kind);
        }
    }
}

#[test]
fn osv_scanner_finds_what_a_package_is_built_from() {
    let Some(osv) = Scanner::osv(&ADVISORIES) else {
        return;
    };
    let status = openssl().replace("Package: openssl", "Package: libssl3\nSource: openssl");
    image(&osv.user, &[debian().file(STATUS, &status)]);
    let findings = osv.findings();
    assert_eq!(findings["troubles"], json!([]));
    let found = &findings["findings"][0];
    assert_eq!(found["id"], "DEBIAN-CVE-2099-0001");
    assert_eq!(found["aliases"], json!(["CVE-2099-0001"]));
    assert_eq!(found["package"]["name"], "libssl3");
    assert_eq!(found["fixed"], "99.0.0");
}

#[test]
fn osv_scanner_knows_systems_as_their_records_are_named() {
    let apk = "P:seen-libs\nV:2.0-r0\nA:x86_64\no:seen\n\n";
    let [(path, packages), ..] = rpm::databases();
    let of_apk = || Layer::new().file("lib/apk/db/installed", apk);
    let of_rpm = || with_bytes(Layer::new(), path, &packages);
    let of_dpkg = || Layer::new().file(STATUS, &dpkg_status(&[("seen", "2.0-1")]));
    let found = &["CVE-2099-0017"][..];
    let not_covered = &["system-not-covered"][..];
    for (source, said, layer, codes, ids_found) in [
        ("Alpine:v3.20", "alpine 3.20.3", of_apk(), &[][..], found),
        ("Wolfi", "wolfi 20230201", of_apk(), &[], found),
        ("Chainguard", "chainguard 20230214", of_apk(), &[], found),
        ("Ubuntu:24.10", "ubuntu 24.10", of_dpkg(), &[], found),
        (
            "Ubuntu:22.04:LTS",
            "ubuntu 22.04",
            of_dpkg(),
            not_covered,
            &[],
        ),
        ("AlmaLinux:9", "almalinux 9.4", of_rpm(), &[], found),
        ("AlmaLinux:8", "almalinux 9.4", of_rpm(), not_covered, &[]),
        ("Mageia:9", "mageia 9", of_rpm(), &[], found),
        (
            "openSUSE:Leap 15.6",
            "opensuse-leap 15.6",
            of_rpm(),
            &[],
            found,
        ),
        // Of these it finds what is known against any release.
        ("Rocky Linux:9", "rocky 9.4", of_rpm(), &[], found),
        ("Rocky Linux:8", "rocky 9.4", of_rpm(), not_covered, found),
        (
            "Red Hat:enterprise_linux:9::baseos",
            "rhel 9.4",
            of_rpm(),
            &[],
            found,
        ),
        (
            "Red Hat:enterprise_linux:8::baseos",
            "rhel 9.4",
            of_rpm(),
            not_covered,
            found,
        ),
        (
            "SUSE:Linux Enterprise Server 15 SP6",
            "sles 15.6",
            of_rpm(),
            not_covered,
            &[],
        ),
        (
            "Azure Linux:3",
            "azurelinux 3.0",
            of_rpm(),
            not_covered,
            &[],
        ),
    ] {
        let advisory = Advisory {
            source,
            ..advisory("", "seen", "CVE-2099-0017")
        };
        let Some(osv) = Scanner::osv(&[advisory]) else {
            return;
        };
        let (family, release) = said.split_once(' ').expect("a release");
        let release = format!("ID={family}\nVERSION_ID={release}\n");
        let codes_found = osv.troubles(&[layer.file("etc/os-release", &release)]);
        assert_eq!(codes_found, codes, "{said} by {source}");
        let findings = read(&osv.user.path("f.json"));
        let all = findings["findings"].as_array().expect("a list");
        let all: Vec<&str> = all.iter().map(|found| text(&found["aliases"][0])).collect();
        assert_eq!(all, ids_found, "{said} by {source}");
    }
}

#[test]
fn trivy_knows_packages_of_red_hat_by_where_they_are_from() {
    const ID: &str = "CVE-2099-0016";
    let Some(trivy) = Scanner::trivy(&ADVISORIES, &[]) else {
        return;
    };
    let [(path, packages), ..] = rpm::databases();
    let image_of = |release: &str, repositories: &[&str]| {
        let system = format!("Red Hat Enterprise Linux release {release}.0 (Made Up)\n");
        let said = format!("ID=\"rhel\"\nVERSION_ID=\"{release}.0\"\n");
        let layer = Layer::new()
            .file("etc/os-release", &said)
            .file("etc/redhat-release", &system);
        let mut layers = vec![with_bytes(with_wheel(layer, "Jinja2"), path, &packages)];
        if !repositories.is_empty() {
            let manifest = json!({"content_sets": repositories}).to_string();
            let place = "root/buildinfo/content_manifests/made-up.json";
            layers.push(Layer::new().file(place, &manifest));
        }
        layers
    };
    let of_language = "CVE-2099-0008";
    for (release, repositories, known, codes, found) in [
        (
            "9",
            &[][..],
            "rhel-9-for-x86_64-baseos-rpms",
            &[][..],
            &[of_language, ID][..],
        ),
        ("9", &[], "other", &["system-not-covered"], &[of_language]),
        (
            "9",
            &["own"],
            "rhel-9-for-x86_64-baseos-rpms",
            &["system-not-covered"],
            &[of_language],
        ),
        ("9", &["own"], "own", &[], &[of_language, ID]),
        (
            "10",
            &[],
            "rhel-10-for-x86_64-baseos-rpms",
            &["system-not-covered"],
            &[of_language],
        ),
        (
            "10",
            &["own", "rhel-10-for-x86_64-baseos-rpms__10"],
            "rhel-10-for-x86_64-baseos-rpms",
            &[],
            &[of_language, ID],
        ),
    ] {
        let database = trivy_db_of_red_hat(&ADVISORIES, ["seen", ID, known]);
        fs::write(trivy.user.path("cache/db/trivy.db"), database).expect("can be written");
        let of = format!("{release} from {repositories:?}, where {known} is known");
        assert_eq!(
            trivy.troubles(&image_of(release, repositories)),
            codes,
            "{of}"
        );
        let findings = read(&trivy.user.path("f.json"));
        assert_eq!(ids(&rows(&findings, true)), found, "{of}");
    }
}

#[test]
fn what_trivy_cannot_compare_with_anything_is_told() {
    let Some(trivy) = Scanner::trivy(&ADVISORIES, &[]) else {
        return;
    };
    let module = |layer: Layer, name: &str, version: &str| {
        let text = json!({"name": name, "version": version});
        let path = format!("app/node_modules/{name}/package.json");
        layer.file(&path, &text.to_string())
    };
    let (path, text) = wheel("Jinja2", "2.11_x");
    let layer = module(whole().file(&path, &text), "left-pad", "latest");
    // Nobody has anything against it in any version.
    let layer = module(layer, "nothing", "latest");
    assert_eq!(trivy.troubles(&[layer]), ["version-not-compared"]);
    let findings = read(&trivy.user.path("f.json"));
    assert_eq!(
        ids(&rows(&findings, true)),
        ["CVE-2099-0001", "CVE-2099-0002"]
    );
    let expected = json!({
        "code": "version-not-compared",
        "package": "left-pad",
        "version": "latest",
        "path": "app/node_modules/left-pad/package.json",
        "more": 1,
    });
    assert_eq!(findings["troubles"][0], expected);
    let said = judged(&[&trivy], &[]).stdout;
    let line = "cannot be trusted: the scanner cannot compare the version of left-pad latest in app/node_modules/left-pad/package.json and 1 more with those of advisories [version-not-compared]";
    assert!(said.lines().any(|found| found == line), "{said}");
}

/// Trivy asks a supplier's advisories, and no others, of what has its mark.
#[test]
fn what_trivy_compares_with_advisories_that_are_not_there_is_told() {
    let Some(trivy) = Scanner::trivy(&ADVISORIES, &[]) else {
        return;
    };
    for (version, codes) in [
        ("2.11.2", &[][..]),
        ("2.11.2+sp1", &["version-not-compared"]),
        ("2.11.2+echo.1", &["version-not-compared"]),
        ("2.11.2+spx", &[]),
    ] {
        let (path, text) = wheel("Jinja2", version);
        assert_eq!(trivy.troubles(&[whole().file(&path, &text)]), codes);
        let findings = read(&trivy.user.path("f.json"));
        let rows = rows(&findings, true);
        let is_found = ids(&rows).contains(&"CVE-2099-0008");
        assert_eq!(is_found, codes.is_empty(), "{version}: {rows:?}");
    }
}

#[test]
fn what_grype_cannot_compare_with_anything_is_told() {
    let Some(grype) = Scanner::grype(&ADVISORIES) else {
        return;
    };
    let (path, text) = wheel("Jinja2", "2004d");
    let python = whole().file(&path, &text);
    let path = "app/node_modules/left-pad/package.json";
    let npm = whole().file(path, r#"{"name": "left-pad", "version": "latest"}"#);
    for (layer, package) in [(python, "jinja2 2004d"), (npm, "left-pad latest")] {
        assert_eq!(grype.troubles(&[layer]), ["version-not-compared"]);
        let said = judged(&[&grype], &[]).stdout;
        let words = format!("cannot compare the version of {package} in ");
        assert!(said.contains(&words), "{said}");
    }
}

/// Most programs of Go whose build was told no version are of good images.
#[test]
fn what_says_no_version_is_told_and_is_no_trouble() {
    let own = advisory("go::Made Up", "example.org/own", "CVE-2099-0017");
    let advisories = [&ADVISORIES[..], &[own]].concat();
    for scanner in [
        Scanner::trivy(&advisories, &[]),
        Scanner::grype(&advisories),
    ] {
        let Some(scanner) = scanner else {
            continue;
        };
        let source = scanner.user.path("own");
        fs::create_dir(&source).expect("can be made");
        fs::write(source.join("go.mod"), "module example.org/own\n").expect("can be written");
        fs::write(source.join("main.go"), "package main\n\nfunc main() {}\n")
            .expect("can be written");
        let layer = |with_modules| {
            let built = Command::new("go")
                .args(["build", "-buildvcs=false", "-o", "program", "."])
                .env("GO111MODULE", with_modules)
                .current_dir(&source)
                .status();
            assert!(built.expect("Go can be run").success());
            let program = fs::read(source.join("program")).expect("can be read");
            with_bytes(whole(), "usr/bin/own", &program)
        };
        assert_eq!(
            scanner.troubles(&[layer("off")]),
            ["go-program-without-modules"]
        );
        assert_eq!(scanner.troubles(&[layer("on")]), [""; 0]);
        let findings = read(&scanner.user.path("f.json"));
        let note = "nothing was compared with what is known against example.org/own in ";
        assert!(
            findings["notes"][0]
                .as_str()
                .is_some_and(|found| found.starts_with(note)),
            "{findings}"
        );
    }
}

#[test]
fn java_archives_want_a_database_of_use() {
    let Some(mut trivy) = Scanner::trivy(&ADVISORIES, &known_archives()) else {
        return;
    };
    let with_jar = || {
        let layer = whole();
        [with_bytes(layer, "app/LIB.jar", &named_jar())]
    };
    let troubles = |trivy: &Scanner| {
        trivy.troubles(&with_jar());
        read(&trivy.user.path("f.json"))["troubles"].clone()
    };
    assert_eq!(troubles(&trivy), json!([]));
    let told = |why: Value| json!([{"code": "no-java-database", "archives": 1, "why": why}]);
    let metadata = trivy.user.path("cache/java-db/metadata.json");
    fs::write(&metadata, metadata_of(2, DAY)).expect("can be written");
    assert_eq!(
        troubles(&trivy),
        told(json!({"schema": {"found": 2, "expected": 1}}))
    );
    fs::write(&metadata, "{\"Version\": 1}").expect("can be written");
    assert_eq!(
        troubles(&trivy),
        json!([{"code": "database-without-date", "database": "java"}])
    );
    fs::write(&metadata, metadata_of(1, "2999-01-01")).expect("can be written");
    trivy
        .scan()
        .failed(&["the Java database says that it was built on 2999-01-01, which is not yet"]);
    fs::write(&metadata, metadata_of(1, DAY)).expect("can be written");
    let file = trivy.user.path("cache/java-db/trivy-java.db");
    fs::remove_file(&file).expect("is there");
    trivy_java_db(&file, &[]);
    assert_eq!(troubles(&trivy), told(json!("empty")));
    trivy.java_database.clear();
    assert_eq!(troubles(&trivy), told(json!("missing")));
}

#[test]
fn a_database_that_a_scanner_cannot_read_in_part_is_an_error() {
    let Some(grype) = Scanner::grype(&ADVISORIES) else {
        return;
    };
    image(&grype.user, &[whole()]);
    assert_eq!(
        grype.findings()["findings"].as_array().map(Vec::len),
        Some(2)
    );
    let given = grype.user.path("given.db");
    let database = rusqlite::Connection::open(&given).expect("can be opened");
    database
        .execute_batch("UPDATE blobs SET value = '{' || value")
        .expect("a table");
    drop(database);
    grype.import();
    grype.scan().failed(&["did not read all of its database"]);
}

#[test]
fn a_layer_that_says_it_is_compressed_and_is_not_hides_nothing() {
    let layer = with_wheel(whole(), "Jinja2");
    let diff_id = digest(&layer.0);
    for scanner in [
        Scanner::trivy(&ADVISORIES, &[]),
        Scanner::grype(&ADVISORIES),
        Scanner::osv(&ADVISORIES),
    ] {
        let Some(scanner) = scanner else { return };
        for kind in ["tar", "tar+gzip", "tar+zstd"] {
            let layout = scanner.user.path("layout");
            let media_type = format!("application/vnd.oci.image.layer.v1.{kind}");
            let descriptor = add_blob(&layout, &media_type, &layer.0);
            write_layout(&layout, &[descriptor], std::slice::from_ref(&diff_id));
            // Either the scanner says that it cannot, or what it did not see is told, or it saw all.
            if scanner.scan().success {
                let findings = read(&scanner.user.path("f.json"));
                let is_whole = rows(&findings, true).len() == 3;
                assert!(
                    is_whole || findings["troubles"] != json!([]),
                    "{} {kind}: {findings}",
                    scanner.kind
                );
            }
        }
    }
}

/// The verdict on the image that each of these has in `layout`, by what each found in it, and what a test shows of it.
fn judged(scanners: &[&Scanner], more: &[&str]) -> Ran {
    let user = &scanners[0].user;
    let mut arguments = vec!["findings".to_owned(), "verdict".to_owned()];
    for scanner in scanners {
        let file = scanner.user.path("f.json").display().to_string();
        arguments.extend(["--findings".to_owned(), file]);
    }
    let arguments = arguments.iter().map(String::as_str);
    let arguments: Vec<&str> = arguments.chain(["--output=v.json"]).collect();
    user.run(&[&arguments, more].concat()).succeeded();
    user.run(&["findings", "show", "--name=//:scan", "v.json"])
}

#[test]
fn what_several_scanners_find_is_one_finding_with_the_names_of_all() {
    let (Some(trivy), Some(grype), Some(go)) = (
        Scanner::trivy(&ADVISORIES, &known_archives()),
        Scanner::grype(&ADVISORIES),
        Peer::Buildifier.or_skip(),
    ) else {
        return;
    };
    let layers = layers(&fs::read(go).expect("can be read"));
    let scan = |scanner: &Scanner| {
        image(&scanner.user, &layers);
        scanner.scan().succeeded();
    };
    scan(&trivy);
    scan(&grype);
    let found = |scanners: &[&Scanner]| -> Vec<String> {
        let more = ["--fail-on=negligible", "--unknown-as=low"];
        let ran = judged(scanners, &more);
        assert!(!ran.success, "{}", ran.stdout);
        let verdict = read(&scanners[0].user.path("v.json"));
        let failing = verdict["failing"].as_array().expect("a list");
        let line = |finding: &Value| {
            let names = finding["found_by"].as_array().expect("a list");
            let names: Vec<&str> = names.iter().map(text).collect();
            format!("{} {}", text(&finding["id"]), names.join(" "))
        };
        let mut lines: Vec<String> = failing.iter().map(line).collect();
        lines.sort();
        lines
    };
    // Trivy alone knows an archive by its digest.
    let by_both: Vec<String> = FOUND
        .iter()
        .map(|id| match *id {
            "CVE-2099-0012" => format!("{id} trivy"),
            id => format!("{id} grype trivy"),
        })
        .collect();
    assert_eq!(found(&[&trivy, &grype]), by_both);
    let Some(osv) = Scanner::osv(&ADVISORIES) else {
        return;
    };
    scan(&osv);
    // Of Node.js it wants another file.
    let of_node = ["CVE-2099-0009 grype trivy", "CVE-2099-0010 grype trivy"];
    let by_all: Vec<String> = by_both
        .iter()
        .map(|line| match &**line {
            line if of_node.contains(&line) => line.to_owned(),
            line => line.replace("grype trivy", "grype osv-scanner trivy"),
        })
        .collect();
    assert_eq!(found(&[&trivy, &grype, &osv]), by_all);
    // Whoever is asked first.
    assert_eq!(found(&[&osv, &grype, &trivy]).len(), by_all.len());
}
