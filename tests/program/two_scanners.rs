//! What follows where several scanners looked into one image. No scanner is needed.

use std::fs;

use oci_pull_all_support::{Ran, User};
use serde_json::{Value, json};

use crate::new_user;

/// A finding in a package as a scanner names it: name, path and package URL.
fn finding(ids: &[&str], severity: &str, origin: &str, [name, purl]: [&str; 2]) -> Value {
    json!({
        "origin": origin,
        "kind": "vulnerability",
        "id": ids[0],
        "aliases": &ids[1..],
        "package": package(name, purl),
        "fixed": "",
        "severity": severity,
        "title": "",
    })
}

fn package(name: &str, purl: &str) -> Value {
    json!({
        "kind": "jar", "of_system": false, "name": name, "version": "1.0",
        "architecture": "", "path": "app/lib.jar", "purl": purl, "layer": "",
    })
}

const BY_TRIVY: [&str; 2] = ["org.example:lib", "pkg:maven/org.example/lib@1.0"];
const BY_GRYPE: [&str; 2] = ["lib", "pkg:maven/org.example/lib@1.0?type=jar"];

fn by_trivy(severity: &str) -> Value {
    finding(&["CVE-1"], severity, "base", BY_TRIVY)
}

fn by_grype(severity: &str) -> Value {
    finding(&["GHSA-1", "CVE-1"], severity, "base", BY_GRYPE)
}

/// The findings of a scanner whose database was built on a day.
fn findings(scanner: &str, built: Option<&str>, kind: &str, findings: &[Value]) -> Value {
    let mut document = json!({
        "schema": 1,
        "scanner": {"name": scanner, "version": "1"},
        "network": "none",
        "database": {"schema": 2, "built": built.map(|day| format!("{day}T23:59:59Z"))},
        "image": {"manifest": "sha256:0", "platform": "linux/amd64", "created": "2026-11-12T00:00:00Z"},
        "looked_at": {"jar": 1},
        "kinds": [kind],
        "troubles": [],
        "findings": findings,
    });
    if scanner == "syft" {
        document["matcher"] = "grype".into();
    }
    document
}

fn trivy(all: &[Value]) -> Value {
    findings("trivy", Some("2026-11-10"), "vulnerability", all)
}

fn grype(all: &[Value]) -> Value {
    findings("syft", Some("2026-11-11"), "vulnerability", all)
}

/// What a test shows of the verdict on findings of several scanners.
fn judge(user: &User, scans: &[Value], more: &[&str]) -> Ran {
    let mut arguments = vec!["findings", "verdict", "--output=v.json"];
    let names: Vec<String> = (0..scans.len())
        .map(|number| format!("f{number}.json"))
        .collect();
    for (name, scan) in names.iter().zip(scans) {
        fs::write(user.path(name), scan.to_string()).expect("can be written");
        arguments.extend(["--findings", name]);
    }
    let ran = user.run(&[&arguments, more].concat());
    if !ran.success {
        return ran;
    }
    let show = "findings show --name //:scan --junit j.xml v.json";
    user.run(&show.split(' ').collect::<Vec<_>>())
}

fn read(user: &User, name: &str) -> String {
    fs::read_to_string(user.path(name)).expect("can be read")
}

fn verdict(user: &User) -> Value {
    serde_json::from_str(&read(user, "v.json")).expect("JSON")
}

/// Checks that these lines are in an output, which has no other of findings, troubles, exceptions and notes.
fn says(ran: &Ran, lines: &[&str]) {
    let said: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| !line.contains("linux/amd64") && !line.starts_with("FAILED"))
        .collect();
    assert_eq!(said, lines, "{}", ran.stderr);
}

const FOUND: &str =
    "CVE-1 (GHSA-1) high org.example:lib 1.0, in the base, app/lib.jar, found by grype and trivy";

#[test]
fn what_two_scanners_found_is_one_finding_with_both_names() {
    let user = new_user();
    let other = finding(&["CVE-2"], "critical", "local", BY_GRYPE);
    let scans = [trivy(&[by_trivy("low")]), grype(&[by_grype("high"), other])];
    let ran = judge(&user, &scans, &[]);
    let lines = [
        "found: CVE-2 critical lib 1.0, app/lib.jar, found by grype",
        &format!("found: {FOUND}"),
    ];
    says(&ran, &lines);
    assert!(!ran.success);
    for line in [
        "trivy: linux/amd64 sha256:0: packages: 1 jar; trivy 1",
        "grype: linux/amd64 sha256:0: packages: 1 jar; syft 1",
        "FAILED: 2 findings, 0 faulty exceptions",
    ] {
        assert!(
            ran.stdout.lines().any(|said| said == line),
            "{}",
            ran.stdout
        );
    }
    let report = read(&user, "j.xml");
    assert!(
        report.contains(&format!("<failure message=\"{FOUND}\"/>")),
        "{report}"
    );
    assert!(report.contains("tests=\"2\" failures=\"2\""), "{report}");
    let verdict = verdict(&user);
    let joined = &verdict["failing"][1];
    assert_eq!(joined["found_by"], json!(["grype", "trivy"]));
    assert_eq!(joined["aliases"], json!(["GHSA-1"]));
    assert_eq!(joined["same_package"][0]["name"], "lib");
    assert_eq!(verdict["scans"][1]["name"], "grype");
    // Each finding is there once.
    let text = read(&user, "v.json");
    assert_eq!(text.matches("\"found_by\"").count(), 2, "{text}");

    // Of one alone, there is nothing of this.
    let ran = judge(&user, &scans[..1], &["--fail-on=low"]);
    says(
        &ran,
        &["found: CVE-1 low org.example:lib 1.0, in the base, app/lib.jar"],
    );
    let verdict = read(&user, "v.json");
    for word in ["found_by", "same_package", "scanner\":\""] {
        assert!(!verdict.contains(word), "{word}: {verdict}");
    }
}

#[test]
fn what_is_excepted_by_any_of_its_names_passes_for_both() {
    let user = new_user();
    let scans = [trivy(&[by_trivy("high")]), grype(&[by_grype("high")])];
    let with = |name: &str, text: &str| {
        fs::write(user.path(name), text).expect("can be written");
        let ran = judge(&user, &scans, &[&format!("--exceptions={name}")]);
        (ran.success, ran.stdout)
    };
    for (id, more) in [
        ("CVE-1", ""),
        ("ghsa-1", "package = \"lib\""),
        ("GHSA-1", "package = \"org.example:lib\"\nwhere = \"base\""),
        ("CVE-1", "package = \"lib\"\nuntil = 2026-11-11"),
    ] {
        let exception = format!("[[exception]]\nid = \"{id}\"\nreason = \"r\"\n{more}\n");
        let (passed, said) = with("e.toml", &exception);
        assert!(
            passed && said.contains(&format!("excepted: {FOUND}")),
            "{said}"
        );
        let report = read(&user, "j.xml");
        let skipped = format!("<skipped message=\"e.toml:1: r: {FOUND}\"/>");
        assert!(report.contains(&skipped), "{report}");
    }
    // Its day is over by the newest database.
    let (passed, said) = with(
        "e.toml",
        "[[exception]]\nid = \"CVE-1\"\nreason = \"r\"\nuntil = 2026-11-10\n",
    );
    let line = "exception: e.toml:1: CVE-1: it ended on 2026-11-10, and the newest database is of 2026-11-11";
    assert!(!passed && said.contains(line), "{said}");

    let document = |purl: &str| {
        let statement = json!({
            "vulnerability": {"name": "GHSA-1"}, "products": [{"@id": purl}],
            "status": "not_affected", "justification": "component_not_present",
        });
        json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/1", "author": "x",
            "timestamp": "2026-11-01T00:00:00Z", "version": 1, "statements": [statement],
        })
    };
    for (purl, expected) in [
        (BY_TRIVY[1], true),
        (BY_GRYPE[1], true),
        ("pkg:maven/org.example/other@1.0", false),
    ] {
        let (passed, said) = with("v.openvex.json", &document(purl).to_string());
        assert_eq!(passed, expected, "{said}");
    }

    // A baseline names it once, and holds whichever scanner is asked.
    judge(&user, &scans, &[]);
    let workspace = format!("--workspace={}", user.path("").display());
    let accept = [
        "findings",
        "show",
        "--name=//:scan",
        "--baseline=b.toml",
        "v.json",
        "--accept",
        &workspace,
    ];
    let said = user.run(&accept).succeeded().stdout;
    assert!(
        said.contains("b.toml: 1 new, 0 as before, 0 gone"),
        "{said}"
    );
    for scans in [&scans[..], &scans[..1]] {
        assert!(judge(&user, scans, &["--baseline=b.toml"]).success);
    }
}

#[test]
fn a_database_without_a_date_ends_what_has_an_end() {
    let user = new_user();
    let exception = "[[exception]]\nid = \"CVE-1\"\nreason = \"r\"\nuntil = 2026-12-31\n";
    fs::write(user.path("e.toml"), exception).expect("can be written");
    let undated = findings("osv-scanner", None, "vulnerability", &[]);
    let scans = [trivy(&[by_trivy("high")]), undated];
    let ran = judge(&user, &scans, &["--exceptions=e.toml"]);
    let line =
        "exception: e.toml:1: CVE-1: it has an end, but a database does not say when it was built";
    assert!(!ran.success && ran.stdout.contains(line), "{}", ran.stdout);
}

#[test]
fn a_scan_of_one_that_cannot_be_trusted_is_one_of_the_image() {
    let user = new_user();
    let mut stale = findings("syft", Some("2026-10-01"), "vulnerability", &[]);
    stale["notes"] = json!(["a note"]);
    let scans = [trivy(&[]), stale];
    let ran = judge(&user, &scans, &[]);
    let old = "grype: the database was built on 2026-10-01, more than 30 days before 2026-11-12, the newest date of the image, its bases and the scanner";
    says(
        &ran,
        &[
            &format!("cannot be trusted: {old} [database-too-old]"),
            "note: grype: a note",
            "NOT TRUSTED: the scan cannot say what it should, whatever it found",
        ],
    );
    assert!(!ran.success);
    let report = read(&user, "j.xml");
    assert!(
        report.contains(&format!(
            "name=\"grype: database-too-old\"><error message=\"{old}\"/>"
        )),
        "{report}"
    );
    let trouble = &verdict(&user)["troubles"][0];
    assert_eq!(trouble["code"], "database-too-old");
    assert_eq!(trouble["scanner"], "grype");
    let ran = judge(&user, &scans, &["--allow=database-too-old"]);
    assert!(ran.success, "{}", ran.stdout);
    let line = format!("allowed: {old} [database-too-old]");
    assert!(ran.stdout.contains(&line), "{}", ran.stdout);
}

#[test]
fn each_kind_is_looked_for_by_one_of_them() {
    let user = new_user();
    let mut malware = finding(&["Eicar"], "critical", "local", ["app/x", ""]);
    malware["kind"] = "malware".into();
    let clamav = |all: &[Value]| findings("clamav", Some("2026-11-11"), "malware", all);
    let kinds = ["--fail-kind=vulnerability", "--fail-kind=malware"];
    let ran = judge(&user, &[trivy(&[]), clamav(&[malware])], &kinds);
    says(
        &ran,
        &["found: malware Eicar critical app/x 1.0, app/lib.jar, found by clamav"],
    );
    assert!(judge(&user, &[trivy(&[]), clamav(&[])], &kinds).success);
    judge(&user, &[trivy(&[]), grype(&[])], &kinds)
        .failed(&["is about the kind malware, which none of the scanners looked for"]);
}

/// An inventory of a base, in which a scanner saw these packages.
fn inventory(scanner: &str, packages: &[Value]) -> String {
    json!({
        "schema": 1,
        "scanner": {"name": scanner, "version": "1"},
        "network": "none",
        "image": {"manifest": "sha256:1", "platform": "linux/amd64", "created": null},
        "layers": [], "system": null, "packages": packages,
        "traces": {
            "system": null, "databases": [], "log": null, "java_archives": 0, "passed_over": [],
            "unknown_archives": [], "go_programs": [],
        },
        "java": "content",
    })
    .to_string()
}

#[test]
fn a_finding_is_the_bases_if_it_is_to_each_who_found_it() {
    let user = new_user();
    let scans = [trivy(&[by_trivy("high")]), grype(&[by_grype("high")])];
    let write = |name: &str, scanner: &str, packages: &[Value]| {
        fs::write(user.path(name), inventory(scanner, packages)).expect("can be written");
    };
    let [of_trivy, of_grype] = [BY_TRIVY, BY_GRYPE].map(|[name, purl]| package(name, purl));
    write("bt.json", "trivy", &[of_trivy]);
    write("bg.json", "syft", &[of_grype]);
    write("none.json", "syft", &[]);
    let tested = |other: &str| {
        judge(
            &user,
            &scans,
            &[
                "--tested-base=bt.json",
                "--tested-base",
                other,
                "--base-name=//:base",
            ],
        )
    };
    let ran = tested("bg.json");
    assert!(ran.success, "{}", ran.stdout);
    says(
        &ran,
        &["the base has 1 finding, for its own test", "passed"],
    );
    let ran = tested("none.json");
    assert!(!ran.success, "{}", ran.stdout);
    says(&ran, &[&format!("found: {FOUND}")]);
    // To whom the base has no test, that is told.
    let ran = judge(
        &user,
        &scans,
        &["--base=bt.json", "--base=bg.json", "--base-name=//:base"],
    );
    let note = "note: 1 of these is in the base: where //:base has a test of its own, bases = [\"//:base\"] in the policy leaves them to it";
    says(&ran, &[&format!("found: {FOUND}"), note]);
}

#[test]
fn what_is_not_of_one_image_is_not_joined() {
    let user = new_user();
    let mut other = grype(&[]);
    other["image"]["manifest"] = "sha256:1".into();
    judge(&user, &[trivy(&[]), other], &[])
        .failed(&["the findings of grype are of another image than those before"]);
    judge(&user, &[trivy(&[]), trivy(&[])], &[])
        .failed(&["two of the findings are trivy's: of one image, each scanner has but one"]);
}
