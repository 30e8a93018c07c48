//! What follows from findings and a policy: verdicts, exceptions, and how they are shown. No scanner is needed.

use std::fs;

use oci_pull_all_support::{Ran, User};
use serde_json::{Value, json};

use crate::new_user;

fn finding(id: &str, severity: &str, name: &str, origin: &str) -> Value {
    json!({
        "origin": origin,
        "id": id,
        "aliases": [format!("GHSA-{id}")],
        "package": {
            "kind": "debian", "of_system": true, "name": name, "version": "1.0-1",
            "architecture": "amd64", "path": "", "purl": format!("pkg:deb/debian/{name}@1.0-1"), "layer": "",
        },
        "fixed": "1.0-2",
        "severity": severity,
        "title": "",
    })
}

/// Findings by a database that was built on a day.
fn findings(built: Option<&str>, findings: &[Value]) -> Value {
    json!({
        "schema": 1,
        "scanner": {"name": "a scanner", "version": "1"},
        "database": {"schema": 2, "built": built.map(|day| format!("{day}T23:59:59Z"))},
        "image": {"manifest": "sha256:0", "platform": "linux/amd64", "created": null},
        "looked_at": {"debian": 3},
        "troubles": [],
        "findings": findings,
    })
}

/// The verdict on `findings` by a policy and the exceptions of a file, and what a test shows of it.
fn judge(user: &User, findings: &Value, exceptions: &str, policy: &[&str]) -> Ran {
    fs::write(user.path("f.json"), findings.to_string()).expect("can be written");
    fs::write(user.path("e.toml"), exceptions).expect("can be written");
    let arguments = [
        "findings",
        "verdict",
        "--findings",
        "f.json",
        "--output",
        "v.json",
    ];
    let exceptions = ["--exceptions", "e.toml"];
    let ran = user.run(&[&arguments, policy, &exceptions].concat());
    if !ran.success {
        return ran;
    }
    user.run(&[
        "findings", "show", "--name", "//:scan", "--junit", "j.xml", "v.json",
    ])
}

/// The lines of a verdict that are not about what was looked at.
fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout
        .lines()
        .filter(|line| !line.starts_with("linux/amd64"))
        .collect()
}

const UNJUDGED: &str =
    "note: the age of the database was not judged: nothing that was scanned has a date";

#[test]
fn severities_decide() {
    let user = new_user();
    let found = findings(
        Some("2026-11-10"),
        &[
            finding("CVE-1", "medium", "a", "local"),
            finding("CVE-2", "unknown", "b", "local"),
        ],
    );
    for (policy, expected) in [
        (&["--unknown-as=low"][..], vec![UNJUDGED, "passed"]),
        (
            &[],
            vec![
                "found: CVE-2 unknown b 1.0-1, fixed in 1.0-2",
                UNJUDGED,
                "FAILED: 1 finding, 0 faulty exceptions",
            ],
        ),
        (
            &["--fail-on=medium", "--unknown-as=low"],
            vec![
                "found: CVE-1 medium a 1.0-1, fixed in 1.0-2",
                UNJUDGED,
                "FAILED: 1 finding, 0 faulty exceptions",
            ],
        ),
    ] {
        let ran = judge(&user, &found, "", policy);
        assert_eq!(lines(&ran), expected, "{}", ran.stderr);
        assert_eq!(ran.success, expected.contains(&"passed"));
    }
}

#[test]
fn an_exception_is_for_what_it_says_and_as_long_as_it_says() {
    let user = new_user();
    let found = |built| findings(built, &[finding("CVE-1", "high", "Jinja", "local")]);
    let day = Some("2026-11-10");
    let passes = |built, exception: &str| {
        judge(
            &user,
            &found(built),
            &format!("[[exception]]\nreason = \"r\"\n{exception}\n"),
            &[],
        )
        .success
    };
    for exception in [
        "id = \"CVE-1\"",
        "id = \"GHSA-CVE-1\"\npackage = \"jinja\"",
        "id = \"CVE-1\"\nwhere = \"local\"\nuntil = 2026-11-10",
        "id = \"CVE-1\"\nuntil = \"2026-11-10\"",
    ] {
        assert!(passes(day, exception), "{exception}");
    }
    for exception in [
        "id = \"CVE-10\"",
        "id = \"CVE-1\"\npackage = \"jinja2\"",
        "id = \"CVE-1\"\nwhere = \"base\"",
        "id = \"CVE-1\"\nuntil = 2026-11-09",
    ] {
        assert!(!passes(day, exception), "{exception}");
    }
    assert!(!passes(None, "id = \"CVE-1\"\nuntil = 2026-11-10"));
    assert!(passes(None, "id = \"CVE-1\""));
}

#[test]
fn exceptions_that_are_none_are_named_by_file_and_line() {
    let user = new_user();
    let found = findings(Some("2026-11-10"), &[]);
    let head = "# a comment\n\n[[exception]]\n";
    for (exceptions, expected) in [
        (
            "id = \"CVE-1\"\n",
            &["e.toml", "missing field `reason`"][..],
        ),
        (
            "id = \"CVE-1\"\nreason = \" \"\n",
            &["e.toml:3", "its reason is empty"],
        ),
        (
            "id = \"CVE-1\"\nreason = \"r\"\nuntil = \"soon\"\n",
            &[
                "e.toml:3",
                "its until is soon, which is no day: write until = 2026-12-31",
            ],
        ),
        (
            "id = \"CVE-1\"\nreason = \"r\"\nuntl = 2026-11-10\n",
            &["e.toml", "unknown field `untl`"],
        ),
        ("id = \"CVE-1\nreason = 1", &["e.toml"]),
    ] {
        judge(&user, &found, &format!("{head}{exceptions}"), &[]).failed(expected);
    }
    let unused = format!("{head}id = \"CVE-1\"\nreason = \"r\"\n");
    let ran = judge(&user, &found, &unused, &[]);
    let line = "exception: e.toml:3: CVE-1: nothing that was found is like it: remove it";
    assert!(
        !ran.success && lines(&ran).contains(&line),
        "{}",
        ran.stdout
    );
    let ran = judge(&user, &found, &unused, &["--unused-exceptions-pass"]);
    assert!(
        ran.success && lines(&ran).contains(&"unused: e.toml:3: CVE-1"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_scan_that_cannot_be_trusted_stays_so() {
    let user = new_user();
    let mut found = findings(Some("2026-11-10"), &[]);
    found["troubles"] = json!([{"code": "system-not-covered", "system": "debian 99"}]);
    let ran = judge(&user, &found, "", &[]);
    assert!(
        !ran.success && ran.stdout.contains("NOT TRUSTED"),
        "{}",
        ran.stdout
    );
    let report = fs::read_to_string(user.path("j.xml")).expect("can be read");
    assert!(
        report.contains("<error message=\"the database has nothing about debian 99\"/>"),
        "{report}"
    );
    assert!(judge(&user, &found, "", &["--allow=system-not-covered"]).success);
    assert!(!judge(&user, &found, "", &["--allow=no-packages"]).success);

    let mut old = findings(Some("2026-10-10"), &[]);
    old["image"]["created"] = "2026-11-10T00:00:00Z".into();
    assert!(!judge(&user, &old, "", &[]).success);
    assert!(judge(&user, &old, "", &["--max-database-age=31"]).success);
}

#[test]
fn what_others_named_acts_on_no_terminal_and_no_parser() {
    let user = new_user();
    let mut hostile = finding("CVE-1", "high", "a\u{1b}[2J\r\n::error::x", "local");
    hostile["title"] = "]]>\u{202e}<b a=\"'&\u{0}\u{fffe}".into();
    let ran = judge(&user, &findings(Some("2026-11-10"), &[hostile]), "", &[]);
    assert!(
        !ran.stdout.contains(['\u{1b}', '\u{202e}', '\r', '\0']),
        "{:?}",
        ran.stdout
    );
    assert!(
        ran.stdout.lines().all(|line| !line.starts_with("::")),
        "{:?}",
        ran.stdout
    );
    let report = fs::read_to_string(user.path("j.xml")).expect("can be read");
    assert!(
        !report.contains(['\u{1b}', '\u{202e}', '\r', '\0', '\u{fffe}']),
        "{report:?}"
    );
    assert_eq!(report.matches("<failure ").count(), 1, "{report}");
    assert!(
        report.contains("]]&gt;") && report.contains("&lt;b a=&quot;"),
        "{report}"
    );
}
