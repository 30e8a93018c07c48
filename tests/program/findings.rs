//! What follows from findings and a policy: verdicts, exceptions, and how they are shown. No scanner is needed.

use std::fs;

use oci_pull_all_support::layout::{add_blob, write_index};
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{
    CONFIG, INDEX, Images, LAYER, MANIFEST, Ran, Registry, User, deb, digest, dpkg_status, gzip,
    manifest_of, rpm, text,
};
use serde_json::{Value, json};
use tar::EntryType;

use crate::new_user;

fn finding(id: &str, severity: &str, name: &str, origin: &str) -> Value {
    json!({
        "origin": origin,
        "kind": "vulnerability",
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
        "network": "none",
        "database": {"schema": 2, "built": built.map(|day| format!("{day}T23:59:59Z"))},
        "image": {"manifest": "sha256:0", "platform": "linux/amd64", "created": null},
        "looked_at": {"debian": 3},
        "kinds": ["vulnerability"],
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

#[test]
fn images_for_one_platform_are_told_apart() {
    let user = new_user();
    for image in ["1", "2"] {
        let mut found = findings(None, &[]);
        found["image"]["manifest"] = format!("sha256:{image}").into();
        assert!(judge(&user, &found, "", &["--offline"]).success);
        fs::rename(user.path("v.json"), user.path(image)).expect("can be renamed");
    }
    let shown = ["findings", "show", "--name=//:scan", "--junit=j.xml"];
    let ran = user.run(&[&shown[..], &["1", "2"]].concat()).succeeded();
    let report = fs::read_to_string(user.path("j.xml")).expect("was written");
    for image in ["linux/amd64 sha256:1", "linux/amd64 sha256:2"] {
        assert!(ran.stdout.contains(image), "{}", ran.stdout);
        let suite = format!("<testsuite name=\"//:scan {image}\"");
        assert!(report.contains(&suite), "{report}");
    }
}

/// The lines of a verdict that are not about what was looked at.
fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout
        .lines()
        .filter(|line| !line.starts_with("linux/amd64"))
        .collect()
}

const UNJUDGED: &str = "note: the age of the database was not judged: neither the image nor a base nor the scanner has a date";

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

/// So no test is run again for a database that changes nothing.
#[test]
fn a_verdict_is_the_same_by_every_database_that_says_the_same() {
    let user = new_user();
    let verdict_on = |built, found: &[Value]| {
        judge(&user, &findings(Some(built), found), "", &[]);
        fs::read(user.path("v.json")).expect("was written")
    };
    let fails = finding("CVE-1", "high", "a", "local");
    let passes = finding("CVE-2", "low", "a", "local");
    let first = verdict_on("2026-11-10", std::slice::from_ref(&fails));
    let found = [fails.clone(), passes];
    assert!(verdict_on("2026-11-11", &found) == first);
    let found = [fails, finding("CVE-3", "high", "a", "local")];
    assert!(verdict_on("2026-11-11", &found) != first);
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

/// An advisory about two vulnerabilities, as `grype` tells of those of distributions, passes if both do.
#[test]
fn what_is_about_several_vulnerabilities_passes_by_all_or_by_its_own_name() {
    let user = new_user();
    let mut advisory = finding("ELSA-1", "critical", "openssl", "local");
    advisory["aliases"] = json!(["CVE-1", "CVE-2"]);
    let found = findings(Some("2026-11-10"), &[advisory]);
    let exception = |id: &str| format!("[[exception]]\nid = \"{id}\"\nreason = \"r\"\n");
    for (ids, passes) in [
        (&["CVE-1"][..], false),
        (&["cve-2"], false),
        (&["CVE-1", "CVE-2"], true),
        (&["elsa-1"], true),
    ] {
        let exceptions: String = ids.iter().map(|id| exception(id)).collect();
        let ran = judge(&user, &found, &exceptions, &[]);
        assert_eq!(ran.success, passes, "{ids:?}: {}", ran.stdout);
        assert!(
            ran.stdout
                .contains("ELSA-1 (CVE-1, CVE-2) critical openssl"),
            "{}",
            ran.stdout
        );
        assert!(!ran.stdout.contains("exception: "), "{}", ran.stdout);
    }
    let product = json!({"@id": "pkg:deb/debian/openssl"});
    let time = "2026-11-10T00:00:00Z";
    for (ids, passes) in [
        (&["CVE-1"][..], false),
        (&["CVE-1", "CVE-2"], true),
        (&["ELSA-1"], true),
    ] {
        let statements = ids.iter().map(|id| statement(id, "fixed", &product, time));
        let document = json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/x", "author": "x", "timestamp": time,
            "version": 1, "statements": statements.collect::<Vec<_>>(),
        });
        for file in ["x.json", "x.JSON"] {
            fs::write(user.path(file), document.to_string()).expect("can be written");
            let ran = judge(&user, &found, "", &["--exceptions", file]);
            assert_eq!(ran.success, passes, "{ids:?}: {}{}", ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn exceptions_that_are_none_are_named_by_file_and_line() {
    let user = new_user();
    let found = findings(Some("2026-11-10"), &[]);
    let head = "# a comment\n\n[[exception]]\n";
    for (exceptions, expected) in [
        (
            "id = \"CVE-1\"\n",
            &["e.toml:3:1: ", "missing field `reason`"][..],
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
            &["e.toml:6:1: ", "unknown field `untl`, expected one of"],
        ),
        ("id = \"CVE-1\nreason = 1", &["e.toml:4:"]),
        ("id = \"\u{e9}\", = 1", &["e.toml:4:9: "]),
    ] {
        let ran = judge(&user, &found, &format!("{head}{exceptions}"), &[]);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("u{a}"), "{}", ran.stderr);
        ran.failed(expected);
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

    // A scanner of today may know of more than a database of yesterday.
    old["image"]["created"] = Value::Null;
    old["scanner"]["created"] = "2026-11-10T00:00:00Z".into();
    let ran = judge(&user, &old, "", &[]);
    let line = "cannot be trusted: the database was built on 2026-10-10, more than 30 days before 2026-11-10, the newest date of the image, its bases and the scanner [database-too-old]";
    assert!(
        !ran.success && lines(&ran).contains(&line),
        "{}",
        ran.stdout
    );
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

/// A database of grype's with nothing but what it says of systems and languages.
const GRYPE: &str = "
    CREATE TABLE db_metadata (build_timestamp datetime, model integer, revision integer, addition integer);
    INSERT INTO db_metadata VALUES ('2026-11-10 06:00:00.123+00:00', 6, 1, 10);
    CREATE TABLE affected_package_handles (id integer PRIMARY KEY, operating_system_id integer, package_id integer);
    CREATE TABLE affected_cpe_handles (id integer PRIMARY KEY);
    CREATE TABLE packages (id integer PRIMARY KEY, ecosystem text, name text);
    INSERT INTO packages (id, ecosystem, name) VALUES
        (1, 'deb', 'a'), (2, 'Python', 'b'), (3, 'python', 'c'), (4, 'apk', 'd'), (5, 'rpm', 'e');
    CREATE TABLE operating_systems (id integer PRIMARY KEY, name text, release_id text, major_version text,
        minor_version text, label_version text, codename text, channel text);
    INSERT INTO operating_systems VALUES
        (1, 'debian', 'debian', '12', '', '', 'bookworm', ''),
        (2, 'alpine', 'alpine', '3', '20', '', '', NULL),
        (3, 'redhat', 'rhel', '9', '', '', '', ''),
        (4, 'redhat', 'rhel', '9', '4', '', '', 'eus'),
        (5, 'ubuntu', 'ubuntu', '24', '4', '', 'noble', ''),
        (6, 'debian', 'debian', '11', '', '', 'bullseye', ''),
        (7, 'wolfi', 'wolfi', '', '', 'rolling', '', '');
    INSERT INTO affected_package_handles (operating_system_id, package_id) VALUES
        (1, 1), (2, 4), (3, 5), (4, 5), (5, 1), (7, 4);
    CREATE TABLE operating_system_specifier_overrides (alias text, version text, version_pattern text, codename text,
        replacement text, replacement_major_version text, replacement_minor_version text,
        replacement_label_version text, rolling numeric, applicable_client_db_schemas text);
    INSERT INTO operating_system_specifier_overrides VALUES
        ('rhel', '', '^\\d+', '', NULL, NULL, '', NULL, 0, '< 6.0.3'),
        ('rocky', '', '', '', 'rhel', NULL, NULL, NULL, 0, ''),
        ('wolfi', '', '', '', NULL, NULL, NULL, NULL, 1, '');";

/// Writes a database of grype's, and what its import says of it.
fn write_database(user: &User, name: &str, tables: &str) {
    let database = rusqlite::Connection::open(user.path(name)).expect("a new file");
    database.execute_batch(tables).expect("tables");
    fs::write(user.path("import.json"), "{}").expect("can be written");
}

/// A package of an inventory.
fn package(kind: &str, of_system: bool) -> Value {
    json!({
        "kind": kind, "of_system": of_system, "name": "a", "version": "1", "architecture": "",
        "path": "", "purl": format!("pkg:{kind}/a@1"), "layer": "",
    })
}

#[test]
fn a_database_of_grype_covers_a_release_that_it_has_and_no_other() {
    let user = new_user();
    write_database(&user, "d?b%#.db", GRYPE);
    let script =
        "printf '{\"matches\": [], \"descriptor\": {\"name\": \"grype\"}}' >\"$OCI_SCAN_REPORT\"";
    user.write_script("scanner", script);
    let list = nothing_listed();
    fs::write(user.path("l.json"), list.to_string()).expect("can be written");
    let troubles_of = |of_system: &str, family: &str, release: &str, codename: &str, kind: &str| {
        let system = json!({"family": family, "release": release, "codename": codename});
        let inventory = inventory(
            &system,
            &system,
            &json!([package(of_system, true), package(kind, false)]),
        );
        fs::write(user.path("i.json"), inventory.to_string()).expect("can be written");
        let ran = matched(&user, "grype", "scanner", ["d?b%#.db", "import.json"], &[]);
        assert!(ran.success, "{}", ran.stderr);
        let findings = fs::read(user.path("f.json")).expect("can be read");
        let findings: Value = serde_json::from_slice(&findings).expect("JSON");
        assert_eq!(findings["database"]["built"], "2026-11-10T06:00:00.123Z");
        findings["troubles"].clone()
    };
    let troubles = |family: &str, release: &str, codename: &str, kind: &str| {
        let of_system = match family {
            "alpine" | "wolfi" => "apk",
            "rhel" | "rocky" => "rpm",
            _ => "deb",
        };
        troubles_of(of_system, family, release, codename, kind)
    };
    for (family, release, codename) in [
        ("debian", "12", "bookworm"),
        ("debian", "12.5", ""),
        ("alpine", "3.20.3", ""),
        ("rhel", "9.4", ""),
        ("rocky", "9.2", ""),
        ("ubuntu", "24.04", "noble"),
        ("wolfi", "20230201", ""),
    ] {
        assert_eq!(
            troubles(family, release, codename, "python"),
            json!([]),
            "{family} {release}"
        );
    }
    for (family, release, codename) in [
        ("debian", "13", "trixie"),
        // The name of another release: grype finds nothing.
        ("debian", "12", "trixie"),
        ("debian", "", "forky"),
        ("debian", "12-3", ""),
        ("debian", "12_3", ""),
        ("debian", ".12", ""),
        // It falls back on another release.
        ("alpine", "3.22.1", ""),
        ("ubuntu", "24.10", ""),
        // There is the release, but nothing about it.
        ("debian", "11", "bullseye"),
        ("kali", "2026.1", ""),
        // It knows an ID as os-release(5) spells it.
        ("Debian", "12", "bookworm"),
    ] {
        let release_name = if release.is_empty() {
            codename
        } else {
            release
        };
        assert_eq!(
            troubles(family, release, codename, "python"),
            json!([{"code": "system-not-covered", "system": format!("{family} {release_name}")}]),
        );
    }
    // Packages that are not of the system's kind are matched with nothing.
    assert_eq!(
        troubles_of("deb", "alpine", "3.20.3", "", "python"),
        json!([{"code": "system-not-covered", "system": "alpine 3.20.3 with packages of the kind deb"}]),
    );
    assert_eq!(
        troubles("debian", "12", "", "gem"),
        json!([{"code": "language-not-covered", "kind": "gem"}]),
    );
}

/// Has a test accept what `judge` found, in a workspace that is the user's directory.
fn accept(user: &User, more: &[&str]) -> Ran {
    let arguments = [
        "findings",
        "show",
        "--name",
        "//:scan",
        "--baseline=scan.baseline.toml",
        "v.json",
        "--accept",
    ];
    let workspace = user.path("").display().to_string();
    user.run(&[&arguments, more, &["--workspace", &workspace]].concat())
}

#[test]
fn a_baseline_is_of_what_fails_and_only_new_findings_fail_then() {
    let user = new_user();
    let [one, two, three] = ["CVE-1", "CVE-2", "CVE-3"]
        .map(|id| finding(id, "high", "a \"b\"\n[[exception]]\u{202e}\u{1b}", "local"));
    let day = Some("2026-11-10");
    judge(
        &user,
        &findings(day, &[two.clone(), one.clone(), two.clone()]),
        "",
        &[],
    );
    let ran = accept(&user, &[]);
    let line = "scan.baseline.toml: 2 new, 0 as before, 0 gone";
    assert!(
        ran.success && lines(&ran).contains(&line),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    let baseline = fs::read_to_string(user.path("scan.baseline.toml")).expect("was written");
    let ids: Vec<_> = baseline
        .lines()
        .filter(|line| line.starts_with("id = "))
        .collect();
    assert_eq!(ids, ["id = \"CVE-1\"", "id = \"CVE-2\""], "{baseline}");
    // Who reads it sees what is there.
    assert!(!baseline.contains(['\u{202e}', '\u{1b}']), "{baseline:?}");
    assert!(
        baseline
            .contains("reason = \"it was there when the baseline was made\"\nwhere = \"local\""),
        "{baseline}"
    );

    // What an entry says stays.
    let baseline = baseline.replacen("it was there", "it is known from", 1);
    fs::write(user.path("scan.baseline.toml"), &baseline).expect("can be written");
    let with = &["--baseline=scan.baseline.toml"];
    assert!(judge(&user, &findings(day, &[one.clone(), two]), "", with).success);
    let ran = judge(&user, &findings(day, &[one, three]), "", with);
    let found = lines(&ran);
    assert!(!ran.success, "{}", ran.stdout);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("found: CVE-3 high"))
    );
    assert!(
        found.contains(&"gone: scan.baseline.toml:9: CVE-2"),
        "{}",
        ran.stdout
    );
    let ran = accept(&user, &["--reason", "as it was shipped"]);
    let line = "scan.baseline.toml: 1 new, 1 as before, 1 gone";
    assert!(lines(&ran).contains(&line), "{}{}", ran.stdout, ran.stderr);
    let baseline = fs::read_to_string(user.path("scan.baseline.toml")).expect("was written");
    assert!(
        baseline.contains("it is known from") && baseline.contains("as it was shipped"),
        "{baseline}"
    );
    assert!(!baseline.contains("CVE-2"), "{baseline}");
}

#[test]
fn what_is_accepted_keeps_its_end_and_can_be_read_again() {
    let user = new_user();
    let day = Some("2026-11-10");
    let [one, two] = ["CVE-1", "CVE-2"].map(|id| finding(id, "high", "a", "local"));
    let file = user.path("scan.baseline.toml");
    let entry = |until: &str, reason: &str| {
        format!(
            "[[exception]]\nid = \"CVE-1\"\npackage = \"a\"\nreason = \"{reason}\"\nowner = \"x\"\nuntil = {until}\n"
        )
    };
    let with = &["--baseline=scan.baseline.toml"];

    // One that is over goes on failing, whatever is accepted beside it.
    fs::write(&file, entry("2026-11-09", "one")).expect("can be written");
    judge(&user, &findings(day, &[one.clone(), two]), "", with);
    let ran = accept(&user, &[]);
    let line = "scan.baseline.toml: 1 new, 1 as before, 0 gone";
    assert!(lines(&ran).contains(&line), "{}", ran.stdout);
    ran.failed(&["the test still fails: exceptions are faulty"]);
    let baseline = fs::read_to_string(&file).expect("was written");
    for part in [
        "until = 2026-11-09",
        "owner = \"x\"",
        "reason = \"one\"",
        "CVE-2",
    ] {
        assert!(baseline.contains(part), "no {part} in {baseline}");
    }

    // Two for the same stay two.
    let both = entry("2026-12-01", "one") + &entry("2026-12-02", "two");
    fs::write(&file, both).expect("can be written");
    judge(&user, &findings(day, &[one]), "", with);
    let ran = accept(&user, &[]).succeeded();
    let line = "scan.baseline.toml: 0 new, 2 as before, 0 gone";
    assert!(lines(&ran).contains(&line), "{}", ran.stdout);

    // Of several on one line, each is its own.
    let line = "exception = [{id = \"CVE-1\", reason = \"r\"}, {id = \"CVE-9\", reason = \"r\"}]\n";
    fs::write(&file, line).expect("can be written");
    let one = finding("CVE-1", "high", "a", "local");
    judge(&user, &findings(day, &[one]), "", with);
    let ran = accept(&user, &[]).succeeded();
    let line = "scan.baseline.toml: 0 new, 1 as before, 1 gone";
    assert!(lines(&ran).contains(&line), "{}", ran.stdout);

    // What could not be read again is not written.
    fs::remove_file(&file).expect("is there");
    judge(
        &user,
        &findings(day, &[finding("CVE-1 ", "high", "a", "local")]),
        "",
        &[],
    );
    accept(&user, &[]).failed(&["this cannot be accepted", "its id is"]);
    judge(
        &user,
        &findings(day, &[finding("CVE-1", "high", "a", "local")]),
        "",
        &[],
    );
    accept(&user, &["--reason", " "]).failed(&["this cannot be accepted", "its reason is empty"]);
    assert!(!file.exists());
}

#[test]
fn nothing_is_accepted_of_a_scan_that_cannot_be_trusted() {
    let user = new_user();
    let mut found = findings(
        Some("2026-11-10"),
        &[finding("CVE-1", "high", "a", "local")],
    );
    found["troubles"] = json!([{"code": "no-packages"}]);
    judge(&user, &found, "", &[]);
    accept(&user, &[]).failed(&["nothing is accepted of a scan that cannot be trusted"]);
    assert!(!user.path("scan.baseline.toml").exists());
    let ran = user.run(&[
        "findings",
        "show",
        "--name=//:scan",
        "--baseline=b.toml",
        "v.json",
        "--accept",
    ]);
    assert!(!ran.success);
}

#[test]
fn what_may_be_allowed_is_told_everywhere_alike() {
    let user = new_user();
    let found = findings(Some("2026-11-10"), &[]);
    let ran = judge(&user, &found, "", &["--allow=no-package"]);
    assert!(!ran.success);
    let (_, known) = ran.stderr.split_once("possible values: ").expect("a list");
    let (known, _) = known.split_once(']').expect("its end");
    let known: Vec<&str> = known.split(", ").collect();
    let checkout = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let rule = "oci/private/rules/oci_scan_policy.bzl";
    let rule = fs::read_to_string(checkout.join(rule)).expect("can be read");
    let (_, list) = rule.split_once("_TROUBLES = [").expect("a list");
    let (list, _) = list.split_once(']').expect("its end");
    let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, known);
    let page = fs::read_to_string(checkout.join("docs/scanning.md")).expect("can be read");
    for code in known {
        assert!(page.contains(&format!("\n| `{code}` |")), "{code}");
    }
}

/// A statement of VEX about a product.
fn statement(id: &str, status: &str, product: &Value, time: &str) -> Value {
    json!({
        "vulnerability": {"@id": "https://example.com/v", "name": id},
        "timestamp": time,
        "products": [product],
        "status": status,
        "justification": "vulnerable_code_not_present",
    })
}

/// Judges one finding, CVE-1 in a+b 1.0-1, with a document of these statements.
fn judge_with_statements(user: &User, statements: &[Value]) -> Ran {
    let document = json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.com/vex",
        "author": "a",
        "timestamp": "2026-11-01T00:00:00Z",
        "version": 1,
        "statements": statements,
    });
    fs::write(user.path("x.vex.json"), document.to_string()).expect("can be written");
    judge(user, &one_finding(), "", &["--exceptions", "x.vex.json"])
}

fn one_finding() -> Value {
    findings(
        Some("2026-11-10"),
        &[finding("CVE-1", "high", "a+b", "local")],
    )
}

#[test]
fn statements_of_openvex_are_exceptions() {
    let user = new_user();
    let judged = |statements: &[Value]| judge_with_statements(&user, statements);
    let day = "2026-11-01T00:00:00Z";
    let package = json!({"@id": "pkg:deb/debian/a%2Bb"});
    let image = json!({"@id": "pkg:oci/app@sha256%3A0?repository_url=x"});
    let part = json!({
        "identifiers": {"purl": "pkg:oci/app@sha256:0"},
        "subcomponents": [{"@id": "pkg:deb/debian/a+b@1.0-1"}],
    });
    for product in [&package, &image, &part] {
        for status in ["not_affected", "fixed"] {
            let ran = judged(&[statement("ghsa-cve-1", status, product, day)]);
            assert!(
                ran.success,
                "{product} {status}: {}{}",
                ran.stdout, ran.stderr
            );
        }
        assert!(!judged(&[statement("CVE-1", "affected", product, day)]).success);
        assert!(!judged(&[statement("CVE-2", "fixed", product, day)]).success);
    }
    let ran = judged(&[statement("CVE-1", "not_affected", &package, day)]);
    let line = "excepted: CVE-1 high a+b 1.0-1, fixed in 1.0-2: x.vex.json, statement 1: not affected: vulnerable_code_not_present";
    assert!(lines(&ran).contains(&line), "{}", ran.stdout);

    for product in [
        json!({"@id": "pkg:deb/debian/a%2Bb@2"}),
        json!({"@id": "pkg:deb/debian/a%2Bb?arch=arm64"}),
        json!({"@id": "pkg:rpm/debian/a%2Bb"}),
        json!({"@id": "pkg:deb/debian/a%2Bb#part"}),
        json!({"@id": "pkg:oci/app"}),
        json!({"@id": "pkg:oci/app@sha256:1"}),
        json!({"@id": "pkg:oci/app@sha256:0", "subcomponents": [{"@id": "pkg:deb/debian/c"}]}),
    ] {
        let ran = judged(&[statement("CVE-1", "fixed", &product, day)]);
        let unused = "exception: x.vex.json, statement 1: CVE-1: nothing that was found is like it: remove it";
        assert!(
            !ran.success && lines(&ran).contains(&unused),
            "{}",
            ran.stdout
        );
    }

    // The newest counts, wherever it stands.
    let [newer, fixed] = [
        statement("CVE-1", "affected", &package, "2026-11-02T00:00:00Z"),
        statement("CVE-1", "fixed", &package, "2026-11-02T00:00:00+01:00"),
    ];
    assert!(!judged(&[newer, fixed]).success);
    let mut changed = statement("CVE-1", "affected", &package, "2026-10-01T00:00:00Z");
    changed["last_updated"] = "2026-11-03T00:00:00Z".into();
    let fixed = statement("CVE-1", "fixed", &package, "2026-11-02T00:00:00Z");
    assert!(!judged(&[changed, fixed]).success);

    let mut bare = statement("CVE-1", "not_affected", &package, day);
    bare["justification"] = Value::Null;
    judged(&[bare]).failed(&["x.vex.json: statement 1 says not_affected"]);
    let mut invented = statement("CVE-1", "not_affected", &package, day);
    invented["justification"] = "it is fine".into();
    judged(&[invented]).failed(&[
        "x.vex.json: statement 1 has a justification that is none of OpenVEX's: write it as impact_statement",
    ]);
    let mut nowhere = statement("CVE-1", "fixed", &package, day);
    nowhere["products"] = json!([]);
    judged(&[nowhere]).failed(&["x.vex.json: statement 1 names no products"]);
    fs::write(user.path("x.vex.json"), "{\"@context\": \"https://openvex.dev/ns\", \"timestamp\": \"2026-11-01T00:00:00Z\", \"statements\": []}")
        .expect("can be written");
    judge(&user, &one_finding(), "", &["--exceptions", "x.vex.json"]).failed(&["@context"]);
}

/// Its `@id` and its identifiers count together where they are of one thing, and else nobody knows what is meant.
#[test]
fn a_product_of_openvex_is_one_thing() {
    let user = new_user();
    let day = "2026-11-01T00:00:00Z";
    let judged = |statements: &[Value]| judge_with_statements(&user, statements);
    let named = |id: &str, purl: &str| json!({"@id": id, "identifiers": {"purl": purl}});
    for product in [
        named("https://example.com/a", "pkg:deb/debian/a%2Bb"),
        named("PKG:deb/debian/a+b", "pkg:deb/debian/a%2Bb@1.0-1"),
    ] {
        let ran = judged(&[statement("CVE-1", "fixed", &product, day)]);
        assert!(ran.success, "{product}: {}{}", ran.stdout, ran.stderr);
    }
    let more = named("pkg:deb/debian/a+b@2", "pkg:deb/debian/a+b");
    assert!(!judged(&[statement("CVE-1", "fixed", &more, day)]).success);
    let of_image = |part: &Value| json!({"@id": "pkg:oci/app@sha256:0", "subcomponents": [part]});
    for (id, purl) in [
        ("pkg:deb/debian/a+b", "pkg:deb/debian/c"),
        ("pkg:deb/debian/c", "pkg:deb/debian/a+b"),
        ("pkg:deb/debian/a+b@1.0-1", "pkg:deb/debian/a+b@2"),
        (
            "pkg:deb/debian/a+b?arch=arm64",
            "pkg:deb/debian/a+b?arch=amd64",
        ),
        ("pkg:oci/app@sha256:0", "pkg:deb/debian/a+b"),
        ("pkg:deb/debian/a+b", "a+b"),
    ] {
        let product = named(id, purl);
        for product in [&of_image(&product), &product] {
            let words =
                format!("x.vex.json: statement 1 has a product that is {id} by its @id and {purl}");
            judged(&[statement("CVE-1", "affected", product, day)]).failed(&[&words]);
        }
    }
}

#[test]
fn a_database_of_a_day_to_come_is_an_error() {
    let user = new_user();
    write_database(&user, "d.db", &GRYPE.replace("2026-11-10", "2999-11-10"));
    let inventory = inventory(&Value::Null, &Value::Null, &json!([]));
    fs::write(user.path("i.json"), inventory.to_string()).expect("can be written");
    matched(&user, "grype", "scanner", ["d.db", "import.json"], &[])
        .failed(&["the database says that it was built on 2999-11-10, which is not yet"]);
}

#[test]
fn an_image_without_a_verdict_is_not_pushed_whatever_it_is_listed_for() {
    let user = new_user();
    let mut images = Images::default();
    let image = |images: &mut Images, text: &str| {
        images.add_image_of("base", Layer::new().file("f", text).0, |_| {})
    };
    let [judged, other] = ["judged", "other"].map(|text| image(&mut images, text));
    let statement = images.add_blob("base", "application/vnd.in-toto+json", b"{}".to_vec());
    let config = json!({
        "os": "unknown", "architecture": "unknown",
        "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]},
    });
    let config = images.add_blob("base", CONFIG, config.to_string().into_bytes());
    let statement = manifest_of(&config, &[statement]).to_string();
    let statement = images.add_manifest("base", MANIFEST, statement.into_bytes());
    let statement = text(&statement["digest"]).to_owned();
    let artifact = images.add_artifact("base", "a/b", &[(None, "a/c", b"x".to_vec())]);
    let mut index = |entries: &[(&str, Value)]| {
        let manifests = entries.iter().map(|(digest, platform)| {
            let size = images.manifest(digest).to_string().len();
            let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": size});
            if !platform.is_null() {
                entry["platform"] = platform.clone();
            }
            entry
        });
        let manifests: Vec<Value> = manifests.collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        images.add_manifest("base", INDEX, index.to_string().into_bytes())
    };
    let linux = json!({"os": "linux", "architecture": "amd64"});
    let unknown = json!({"os": "unknown", "architecture": "unknown"});
    let empty = json!({"os": "", "architecture": ""});
    let first = (&*judged, linux.clone());
    let of_others = [
        first.clone(),
        (&*statement, unknown.clone()),
        (&*artifact, Value::Null),
        (&*artifact, unknown.clone()),
    ];
    let good = index(&of_others);
    let bad: Vec<Value> = [linux, unknown, empty, Value::Null]
        .into_iter()
        .map(|told| index(&[first.clone(), (&other, told)]))
        .collect();
    let registry = Registry::with(images);
    let target = Registry::empty();
    let mut found = findings(Some("2026-11-10"), &[]);
    found["image"]["manifest"] = json!(judged);
    judge(&user, &found, "", &[]).succeeded();
    let repository = format!("{}/base", registry.host());
    let push = |root: &Value, tag: &str| {
        fs::write(user.path("root.json"), root.to_string()).expect("can be written");
        let index = registry.manifest(text(&root["digest"])).to_string();
        fs::write(user.path("index.json"), index).expect("can be written");
        let to = format!("{}/to", target.host());
        let push = [
            "push",
            "--repository",
            &to,
            "--root",
            "root.json",
            "--tag",
            tag,
        ];
        let verdict = ["--require-scan", "--verdict", "v.json"];
        let from = [
            "--local-file",
            "index.json",
            "--from",
            "root.json",
            &repository,
        ];
        user.run(&[&push[..], &verdict, &from].concat())
    };
    for root in &bad {
        push(root, "bad").failed(&[&other, "was not scanned"]);
    }
    assert!(target.requests().is_empty(), "nothing is asked of it");
    push(&good, "good").succeeded();
    assert_eq!(target.digest("to", "good"), text(&good["digest"]));
}

#[test]
fn an_image_of_an_index_without_a_verdict_is_named() {
    let user = new_user();
    judge(&user, &findings(Some("2026-11-10"), &[]), "", &[]).succeeded();
    let entry = |digit: &str, os: &str, architecture: &str| {
        json!({
            "mediaType": MANIFEST, "size": 2, "digest": format!("sha256:{}", digit.repeat(64)),
            "platform": {"os": os, "architecture": architecture},
        })
    };
    let as_json = |mut entry: Value| {
        entry["mediaType"] = json!("application/json");
        entry
    };
    let mut nested = entry("5", "linux", "amd64");
    nested["mediaType"] = json!(INDEX);
    nested["platform"] = Value::Null;
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [
            entry("1", "linux", "arm64"),
            entry("0", "linux", "amd64"),
            entry("6", "linux", "amd64"),
            entry("2", "unknown", "unknown"),
            as_json(entry("3", "unknown", "unknown")),
            as_json(entry("4", "linux", "s390x")),
            nested,
        ],
    });
    fs::write(user.path("index.json"), index.to_string()).expect("can be written");
    let show = |more: &[&str]| {
        let arguments = [
            "findings",
            "show",
            "--name=a",
            "--index=index.json",
            "v.json",
        ];
        user.run(&[&arguments[..], more].concat())
    };
    let ran = show(&[]);
    let line = "cannot be trusted: linux/arm64 was not scanned";
    assert!(
        !ran.success && lines(&ran).contains(&line),
        "{}",
        ran.stdout
    );
    let last = "NOT TRUSTED: the scan cannot say what it should, whatever it found";
    assert_eq!(ran.stdout.lines().last(), Some(last));
    show(&["--junit=j.xml"]);
    let report = fs::read_to_string(user.path("j.xml")).expect("was written");
    for platform in ["linux/arm64", "linux/s390x"] {
        let case = format!(
            "<testcase classname=\"a {platform}\" name=\"scan\"><error message=\"it was not scanned\"/>"
        );
        assert!(report.contains(&case), "{report}");
    }
    assert!(!report.contains("unknown"), "{report}");
    let ran = show(&["--pulled"]).succeeded();
    let [nested, soci] = ["5", "6"].map(|digit| format!("sha256:{}", digit.repeat(64)));
    for line in [
        "not scanned: linux/arm64, which platforms of the pull leaves out, or which is no image",
        &format!(
            "not scanned: what the index {nested} lists and no line above names, if there is any"
        ),
        &format!(
            "not scanned: {soci}, which platforms of the pull leaves out, or which is no image"
        ),
    ] {
        assert!(lines(&ran).contains(&line), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("unknown"), "{}", ran.stdout);
    // A verdict on another image says nothing of these.
    let other = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry("1", "linux", "amd64")]});
    fs::write(user.path("index.json"), other.to_string()).expect("can be written");
    show(&["--pulled"]).failed(&["the verdict on sha256:0 is of no image of the index"]);
    fs::write(user.path("index.json"), "no index").expect("can be written");
    show(&[]).failed(&["index.json: it is not valid JSON of a manifest"]);
    let line = "which is listed as \"application/json\" and no manifest";
    assert_eq!(ran.stdout.matches(line).count(), 2, "{}", ran.stdout);
}

/// An index in an index is no image, and what it lists is to be looked at.
#[test]
fn what_an_index_in_an_index_lists_must_have_a_verdict() {
    let user = new_user();
    judge(&user, &findings(Some("2026-11-10"), &[]), "", &[]).succeeded();
    let entry = |digit: &str, architecture: &str| {
        json!({
            "mediaType": MANIFEST, "size": 2, "digest": format!("sha256:{}", digit.repeat(64)),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let verdict = fs::read_to_string(user.path("v.json")).expect("can be read");
    let verdict = verdict.replace("sha256:0", text(&entry("0", "amd64")["digest"]));
    fs::write(user.path("v.json"), verdict).expect("can be written");
    let write = |name: &str, entry: Value| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        let index = index.to_string();
        fs::write(user.path(name), &index).expect("can be written");
        digest(index.as_bytes())
    };
    let inner = write("inner.json", entry("0", "amd64"));
    write(
        "outer.json",
        json!({"mediaType": INDEX, "digest": inner, "size": 2}),
    );
    write("other.json", entry("1", "arm64"));
    let show = |indexes: &[&str]| {
        let show = ["findings", "show", "--name=a", "v.json"];
        user.run(&[&show[..], indexes].concat())
    };
    let unknown = format!(
        "cannot be trusted: nobody knows what the index {inner} lists; give it by --index, too"
    );
    let outer = "--index=outer.json";
    for (indexes, line) in [
        (&[outer][..], unknown.as_str()),
        (
            &[outer, "--index=inner.json", "--index=other.json"],
            "cannot be trusted: linux/arm64 was not scanned",
        ),
    ] {
        let ran = show(indexes);
        assert!(
            !ran.success && lines(&ran).contains(&line),
            "{}",
            ran.stdout
        );
    }
    show(&[outer, "--index=inner.json"]).succeeded();
    show(&[outer, "--index=other.json"]).failed(&[]);
}

/// Writes a script that writes `report` where a scanner's report is wanted.
fn write_scanner(user: &User, name: &str, script: &str, report: &Value) {
    let script = format!("set -e\n{script}\ncat >\"$OCI_SCAN_REPORT\" <<'END'\n{report}\nEND");
    user.write_script(name, &script);
}

/// The list of a syft that saw nothing.
fn nothing_listed() -> Value {
    json!({
        "artifacts": [], "distro": {}, "source": {"metadata": {}},
        "descriptor": {"name": "syft", "version": "1"},
    })
}

/// The inventory of an image that says that it is the system `said`, and that a scanner took for `seen`.
fn inventory(said: &Value, seen: &Value, packages: &Value) -> Value {
    json!({
        "schema": 1,
        "scanner": {"name": "syft", "version": "1"}, "network": "none",
        "image": {"manifest": "sha256:0", "platform": "linux/amd64", "created": null},
        "layers": [],
        "system": seen,
        "packages": packages,
        "traces": {
            "system": said, "databases": [], "log": null, "java_archives": 0, "passed_over": [],
            "unknown_archives": [], "go_programs": [],
        },
        "java": "content",
    })
}

/// Matches the list `l.json` of the inventory `i.json` with a database into `f.json`.
fn matched(user: &User, kind: &str, program: &str, database: [&str; 2], more: &[&str]) -> Ran {
    let (kind, program) = (format!("--kind={kind}"), format!("--program={program}"));
    let arguments = [
        "findings",
        "match",
        &kind,
        &program,
        "--scanner-name=a",
        "--network",
        "--inventory=i.json",
        "--list=l.json",
        "--output=f.json",
    ];
    let database = ["--database", database[0], database[1]];
    user.run(&[&arguments[..], &database, more].concat())
}

/// The report of a grype that found nothing.
fn nothing_found() -> Value {
    json!({"matches": [], "descriptor": {"name": "grype", "version": "1"}})
}

/// Adds an image of these layers to the layout `layout`; returns its descriptor.
fn add_image(user: &User, layout: &str, architecture: &str, layers: &[Layer]) -> Value {
    let layout = user.path(layout);
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| add_blob(&layout, LAYER, &layer.0))
        .collect();
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = add_blob(&layout, CONFIG, config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    add_blob(&layout, MANIFEST, manifest.to_string().as_bytes())
}

/// Lists an image of `layout` by a lister that sees no package, and fails where it sees two images.
fn list(user: &User, layout: &str, more: &[&str]) -> Ran {
    let nothing = nothing_listed();
    let alone = "[ \"$(grep -o '\"digest\"' \"$OCI_LAYOUT/index.json\" | wc -l)\" = 1 ]";
    write_scanner(user, "lister", alone, &nothing);
    let inventory = format!("--output={layout}.json");
    let arguments = [
        "findings",
        "inventory",
        "--kind=grype",
        "--program=lister",
        "--scanner-name=a",
        "--network",
        "--list=own.json",
        "--layout",
        layout,
        &inventory,
    ];
    user.run(&[&arguments[..], more].concat())
}

fn read(user: &User, name: &str) -> Value {
    let bytes = fs::read(user.path(name)).expect("can be read");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn of_a_layout_of_several_images_each_is_listed_for_itself() {
    let user = new_user();
    let [amd64, arm64] =
        ["amd64", "arm64"].map(|name| add_image(&user, "l", name, &[Layer::new().file("a", name)]));
    write_index(&user.path("l"), &[amd64.clone(), arm64.clone()]);
    list(&user, "l", &[]).failed(&[
        "the layout has 2 images, for linux/amd64, linux/arm64: name a platform to choose one of them",
    ]);
    for more in [
        &["--platform=linux/arm64"][..],
        &[
            "--platform=linux/arm64",
            "--scanned-platform=linux/arm64",
            "--scanned-platform=linux/amd64",
        ],
    ] {
        list(&user, "l", more).succeeded();
        let image = read(&user, "l.json")["image"].clone();
        assert_eq!(image["manifest"], arm64["digest"]);
        assert_eq!(image["platform"], "linux/arm64");
    }
    // So is one that is listed as something else, which some run by its digest.
    let disguised =
        json!({"mediaType": "application/json", "digest": arm64["digest"], "size": arm64["size"]});
    let index = json!({"schemaVersion": 2, "manifests": [amd64, disguised]});
    let nested = add_blob(&user.path("l"), INDEX, index.to_string().as_bytes());
    for entries in [&[amd64.clone(), disguised][..], &[nested]] {
        write_index(&user.path("l"), entries);
        list(&user, "l", &[]).failed(&[
            "the layout lists",
            text(&arm64["digest"]),
            "as \"application/json\", which is no manifest",
        ]);
        list(&user, "l", &["--platform=linux/amd64"]).succeeded();
    }
    // By its name alone, an index is no list of what refers to an image.
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [arm64]});
    let mut referring = add_blob(&user.path("l"), INDEX, index.to_string().as_bytes());
    let name = format!("sha256-{}", "a".repeat(64));
    referring["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    write_index(&user.path("l"), &[amd64.clone(), referring]);
    list(&user, "l", &[]).failed(&["the layout has 2 images, for linux/amd64, linux/arm64"]);
    write_index(&user.path("l"), &[amd64, arm64.clone()]);
    // One that nobody scans is named.
    list(
        &user,
        "l",
        &["--platform=linux/arm64", "--scanned-platform=linux/arm64"],
    )
    .failed(&[
        "the layout's image for linux/amd64 is not scanned: name that platform in platforms, too",
    ]);
    // So is one that nobody can scan.
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": MANIFEST, "digest": arm64["digest"], "size": arm64["size"]},
        {"mediaType": MANIFEST, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2,
         "platform": {"os": "linux", "architecture": "s390x"}},
        {"mediaType": MANIFEST, "digest": format!("sha256:{}", "2".repeat(64)), "size": 2,
         "platform": {"os": "unknown", "architecture": "unknown"}},
    ]});
    let index = add_blob(&user.path("l"), INDEX, index.to_string().as_bytes());
    write_index(&user.path("l"), &[index]);
    for more in [
        &[][..],
        &["--platform=linux/arm64", "--scanned-platform=linux/arm64"],
    ] {
        list(&user, "l", more)
            .failed(&["the layout lists an image for linux/s390x, but does not have it"]);
    }
    list(&user, "l", &["--platform=linux/arm64"]).succeeded();
    list(&user, "l", &["--platform=linux/s390x"])
        .failed(&["the layout has no image for linux/s390x: it lists sha256:111"]);
}

#[test]
fn a_base_is_what_the_lowest_layers_are() {
    let user = new_user();
    let layers = |names: &str| -> Vec<Layer> {
        let names = names.chars().map(|name| name.to_string());
        names.map(|name| Layer::new().file(&name, &name)).collect()
    };
    for (name, contents) in [
        ("base", "ab"),
        ("on", "abc"),
        ("other", "acb"),
        ("short", "a"),
    ] {
        let image = add_image(&user, name, "amd64", &layers(contents));
        write_index(&user.path(name), &[image]);
        list(&user, name, &[]).succeeded();
    }
    write_database(&user, "d.db", GRYPE);
    let matched = |name: &str| {
        user.run(&[
            "findings",
            "match",
            "--kind=grype",
            "--program=lister",
            "--scanner-name=a",
            "--network",
            &format!("--inventory={name}.json"),
            "--base=base.json",
            "--list=own.json",
            "--output=f.json",
            "--database",
            "d.db",
            "import.json",
        ])
    };
    for name in ["base", "on"] {
        matched(name).succeeded();
    }
    let [b, c] = ["b", "c"].map(|name| digest(&Layer::new().file(name, name).0));
    matched("other").failed(&[&format!(
        "does not stand on the base, for linux/amd64: layer 2 of the base has the diff_id {b}, and that of the image has {c}"
    )]);
    matched("short").failed(&[&format!(
        "layer 2 of the base has the diff_id {b}, and that of the image is not there"
    )]);
}

#[test]
fn an_exception_is_unused_only_if_no_image_has_a_use_for_it() {
    let user = new_user();
    let [one, two] = ["CVE-1", "CVE-2"].map(|id| finding(id, "high", "a", "local"));
    let day = Some("2026-11-10");
    let exception = |id: &str| format!("[[exception]]\nid = \"{id}\"\nreason = \"r\"\n");
    let exceptions = ["CVE-1", "CVE-2", "CVE-3"].map(exception);
    let shown = |exceptions: &str, policy: &[&str]| {
        for (file, found) in [("amd64.json", &one), ("arm64.json", &two)] {
            judge(
                &user,
                &findings(day, std::slice::from_ref(found)),
                exceptions,
                policy,
            );
            fs::rename(user.path("v.json"), user.path(file)).expect("can be renamed");
        }
        user.run(&["findings", "show", "--name=a", "amd64.json", "arm64.json"])
    };
    shown(&exceptions[..2].concat(), &[]).succeeded();
    // What is said last is of all images.
    let ran = shown(&exceptions[1], &[]);
    let last = ran.stdout.lines().rev().take(2).collect::<Vec<_>>();
    assert_eq!(last, ["FAILED: 1 finding, 0 faulty exceptions", "passed"]);
    ran.failed(&[]);
    let ran = shown(&exceptions.concat(), &[]);
    let fault = |number: u32| {
        format!("exception: e.toml:{number}: CVE-3: nothing that was found is like it: remove it")
    };
    assert!(!ran.success, "{}", ran.stdout);
    assert_eq!(
        ran.stdout.matches("exception: ").count(),
        2,
        "{}",
        ran.stdout
    );
    assert!(lines(&ran).contains(&&*fault(7)), "{}", ran.stdout);
    let ran = shown(&exceptions.concat(), &["--unused-exceptions-pass"]).succeeded();
    assert!(!ran.stdout.contains("unused: e.toml:1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("unused: e.toml:7"), "{}", ran.stdout);
    // Alone, each image has one exception too many.
    let ran = user.run(&["findings", "show", "--name=a", "amd64.json"]);
    assert!(
        ran.success && ran.stdout.contains("unused: e.toml:4"),
        "{}",
        ran.stdout
    );

    // The same of what was accepted.
    fs::write(user.path("b.toml"), exceptions[..2].concat()).expect("can be written");
    let ran = shown("", &["--baseline=b.toml"]).succeeded();
    assert!(!ran.stdout.contains("gone: "), "{}", ran.stdout);
}

#[test]
fn a_policy_may_want_a_scanner_that_could_not_use_the_network() {
    let user = new_user();
    let mut found = findings(Some("2026-11-10"), &[]);
    judge(&user, &found, "", &["--offline"]).succeeded();
    for (network, words) in [
        ("allowed", "the scanner was allowed to use the network"),
        (
            "unknown",
            "nobody can tell on this system whether the scanner could use the network",
        ),
    ] {
        found["network"] = network.into();
        let ran = judge(&user, &found, "", &[]).succeeded();
        assert!(
            lines(&ran).contains(&&*format!("note: {words}")),
            "{}",
            ran.stdout
        );
        let ran = judge(&user, &found, "", &["--offline"]);
        let line = format!("cannot be trusted: {words} [network-not-blocked]");
        assert!(
            !ran.success && lines(&ran).contains(&&*line),
            "{}",
            ran.stdout
        );
    }
    // An inventory says what its scanner was let.
    let image = add_image(&user, "l", "amd64", &[Layer::new().file("a", "a")]);
    write_index(&user.path("l"), &[image]);
    list(&user, "l", &[]).succeeded();
    assert_eq!(read(&user, "l.json")["network"], "allowed");
}

/// A report of Trivy's on the files of an image.
fn trivy_report(layer: &str) -> Value {
    let layer = json!({"DiffID": layer});
    json!({
        "SchemaVersion": 2,
        "ArtifactName": "/somewhere/l",
        "Results": [
            {"Target": "/somewhere/l (debian 12)", "Class": "os-pkgs", "Packages": [
                {"Name": "a", "Identifier": {"PURL": "pkg:deb/a", "UID": "1"}},
            ]},
            {"Target": "/app/.env", "Class": "secret", "Secrets": [
                {"RuleID": "a-key", "Severity": "CRITICAL", "Title": "A key", "StartLine": 3, "Match": "KEY=***", "Layer": layer},
                {"RuleID": "a-key", "Severity": "CRITICAL", "Title": "A key", "StartLine": 1, "Layer": layer},
            ]},
            {"Target": "/somewhere/l", "Class": "secret", "Secrets": [
                {"RuleID": "a-token", "Severity": "HIGH", "Title": "A token", "StartLine": 24},
            ]},
            {"Target": "app/Dockerfile", "Class": "config", "Misconfigurations": [
                {"ID": "DS-1", "Severity": "LOW", "Title": "t", "Status": "FAIL", "CauseMetadata": {}, "Layer": layer},
                {"ID": "DS-2", "Severity": "LOW", "Title": "t", "Status": "PASS", "Layer": layer},
            ]},
        ],
    })
}

#[test]
fn what_is_in_files_is_found_by_a_scanner_that_looks_for_it() {
    let user = new_user();
    let image = add_image(&user, "l", "amd64", &[Layer::new().file("a", "a")]);
    write_index(&user.path("l"), &[image]);
    write_scanner(&user, "trivy", "", &trivy_report("sha256:1"));
    let files = |kind: &str, look_for: &[&str]| {
        let arguments = [
            "findings",
            "files",
            "--program=trivy",
            "--scanner-name=a",
            "--network",
            "--layout=l",
            "--output=f.json",
            kind,
        ];
        user.run(&[&arguments, look_for].concat())
    };
    let both = ["--look-for=secret", "--look-for=misconfiguration"];
    files("--kind=trivy", &both).succeeded();
    let found = read(&user, "f.json");
    assert_eq!(found["kinds"], json!(["secret", "misconfiguration"]));
    let found: Vec<String> = found["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| {
            let package = &found["package"];
            let fields = [
                &found["kind"],
                &found["id"],
                &found["severity"],
                &package["name"],
                &found["title"],
                &package["layer"],
            ];
            fields.map(text).join("|")
        })
        .collect();
    assert_eq!(
        found,
        [
            "secret|a-key|critical|/app/.env|A key (line 1)|sha256:1",
            "secret|a-key|critical|/app/.env|A key (line 3)|sha256:1",
            "secret|a-token|high|config|A token (line 24)|",
            "misconfiguration|DS-1|low|/app/Dockerfile|t|sha256:1",
        ]
    );
    for (kind, look_for) in [
        ("--kind=grype", "secret"),
        ("--kind=trivy", "license"),
        ("--kind=trivy", "vulnerability"),
    ] {
        files(kind, &[&format!("--look-for={look_for}")]).failed(&[&format!(
            "this scanner does not look for the kind {look_for} here"
        )]);
    }
}

#[test]
fn a_policy_says_which_kinds_of_findings_fail() {
    let user = new_user();
    let layer = digest(&Layer::new().file("a", "a").0);
    let of = |kind: &str, id: &str, name: &str, layer: &str| {
        let mut found = finding(id, "high", name, "local");
        found["kind"] = kind.into();
        found["fixed"] = "".into();
        if kind == "secret" {
            found["package"] = json!({
                "kind": "file", "of_system": false, "name": name, "version": "", "architecture": "",
                "path": name, "purl": "", "layer": layer,
            });
        }
        found
    };
    let all = [
        of("license", "GPL-3.0", "a", ""),
        of("secret", "a-key", "/app/.env", "sha256:1"),
        of("secret", "a-key", "/etc/old", &layer),
    ];
    let mut found = findings(Some("2026-11-10"), &all);
    judge(&user, &found, "", &["--fail-kind=secret"])
        .failed(&["the policy is about the kind secret, which the scanner did not look for"]);
    found["kinds"] = json!(["vulnerability", "license", "secret"]);
    let ran = judge(&user, &found, "", &[]).succeeded();
    for note in [
        "note: of the kind license, 1 were found, and the policy lets all of that kind pass",
        "note: of the kind secret, 2 were found, and the policy lets all of that kind pass",
    ] {
        assert!(lines(&ran).contains(&note), "{}", ran.stdout);
    }

    // Nobody fixes what is no vulnerability.
    let policy = ["--fail-kind=secret", "--fail-kind=license", "--only-fixed"];
    let ran = judge(&user, &found, "", &policy);
    let expected = [
        "found: license GPL-3.0 high a 1.0-1",
        "found: secret a-key high /app/.env",
        "found: secret a-key high /etc/old",
        UNJUDGED,
        "FAILED: 3 findings, 0 faulty exceptions",
    ];
    assert_eq!(lines(&ran), expected, "{}", ran.stderr);
    let excepted = "[[exception]]\nid = \"a-key\"\npackage = \"/app/.env\"\nreason = \"r\"\n";
    let ran = judge(&user, &found, excepted, &["--fail-kind=secret"]);
    let line = "excepted: secret a-key high /app/.env: e.toml:1: r";
    assert!(lines(&ran).contains(&line), "{}", ran.stdout);

    // What is in a layer of a base is the base's.
    let image = add_image(&user, "l", "amd64", &[Layer::new().file("a", "a")]);
    write_index(&user.path("l"), &[image]);
    list(&user, "l", &[]).succeeded();
    found["scanner"]["name"] = "syft".into();
    let ran = judge(
        &user,
        &found,
        "",
        &["--fail-kind=secret", "--tested-base=l.json"],
    );
    let expected = "the base has 1 finding, for its own test";
    assert!(lines(&ran).contains(&expected), "{}", ran.stdout);
    assert!(
        !ran.success && !ran.stdout.contains("/etc/old"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_package_managers_say_is_compared_with_what_a_scanner_saw() {
    let user = new_user();
    let apk = "P:seen\nV:2.0-1.fc40\nF:usr/bin\nR:tool\n\nP:other\nV:2.0-1.fc40\n\n";
    let pacman = |name: &str| format!("%NAME%\n{name}\n\n%VERSION%\n1:2.0-1.fc40\n\n");
    let tool = [&b"\x7fELF\xff Go buildinf:\x08\x02"[..], &vec![0; 300_000]].concat();
    let program = |layer: Layer, name: &str| layer.add(EntryType::Regular, name, 0o755, "", &tool);

    write_database(&user, "d.db", GRYPE);
    write_scanner(&user, "matcher", "", &nothing_found());
    let of_rpm = rpm::databases().map(|(path, bytes)| {
        let layer = Layer::new().add(EntryType::Regular, path, 0o644, "", &bytes);
        ("rpm", path, layer)
    });
    let others = [
        (
            "apk",
            "lib/apk/db/installed",
            Layer::new().file("lib/apk/db/installed", apk),
        ),
        (
            "alpm",
            "var/lib/pacman/local/",
            Layer::new()
                .file("var/lib/pacman/local/seen-2/desc", &pacman("seen"))
                .file(
                    "var/lib/pacman/local/seen-2/files",
                    "%FILES%\nusr/bin/\nusr/bin/tool\n",
                )
                .file("var/lib/pacman/local/other-2/desc", &pacman("other")),
        ),
    ];
    for (kind, path, layer) in of_rpm.into_iter().chain(others) {
        let layer = layer.file("etc/os-release", "ID=fedora\nVERSION_ID=40\n");
        let layer = program(program(layer, "usr/bin/tool"), "usr/bin/own");
        let image = add_image(&user, kind, "amd64", &[layer]);
        write_index(&user.path(kind), &[image]);
        let seen = json!({
            "artifacts": [{
                "id": "1", "name": "seen", "version": "2.0-1.fc40", "type": kind,
                "purl": format!("pkg:{kind}/x/seen@2.0-1.fc40"), "locations": [],
            }],
            "distro": {"id": "fedora", "versionID": "40"}, "source": {"metadata": {}},
            "descriptor": {"name": "syft", "version": "1"},
        });
        write_scanner(&user, "lister", "", &seen);
        list_and_match(&user, kind, &[]);
        let found = read(&user, "f.json");
        let troubles = found["troubles"].as_array().expect("troubles");
        let missing = json!({
            "code": "system-packages-missing", "path": path, "package": match kind {
                "alpm" => "other 1:2.0-1.fc40",
                _ => "other 2.0-1.fc40",
            }, "more": 0,
        });
        let own = json!({"code": "go-program-without-modules", "path": "usr/bin/own", "more": 0});
        for expected in [missing, own] {
            assert!(
                troubles.contains(&expected),
                "{kind}: {expected}: {troubles:?}"
            );
        }
    }
}

#[test]
fn what_exceptions_let_pass_is_said_as_vex() {
    let user = new_user();
    let found = findings(
        Some("2026-11-10"),
        &[
            finding("CVE-1", "high", "a", "local"),
            finding("CVE-2", "high", "b", "base"),
            finding("CVE-3", "low", "c", "local"),
        ],
    );
    let exceptions = "[[exception]]\nid = \"CVE-1\"\nreason = \"nobody calls it\"\njustification = \"vulnerable_code_not_in_execute_path\"\n
        [[exception]]\nid = \"CVE-2\"\nreason = \"until the vendor mends it\"\n";
    assert!(judge(&user, &found, exceptions, &[]).success);
    let vex_of = |repository: &str| {
        let arguments = [
            "findings",
            "vex",
            "--author=a team",
            "--findings=f.json",
            "--output=x.json",
        ];
        user.run(&[&arguments[..], &["--repository", repository, "v.json"]].concat())
    };
    vex_of("example.com/team/My-App").failed(&["My-App"]);
    let vex = || vex_of("example.com:5000/team/my-app");
    vex().succeeded();
    let document = read(&user, "x.json");
    assert_eq!(document["@context"], "https://openvex.dev/ns/v0.2.0");
    assert_eq!(document["author"], "a team");
    assert_eq!(document["timestamp"], "2026-11-10T23:59:59Z");
    let product = "pkg:oci/my-app@sha256%3A0?repository_url=example.com%3A5000%2Fteam%2Fmy-app";
    let products = |package: &str| {
        let package = format!("pkg:deb/debian/{package}@1.0-1");
        json!([{"@id": product, "subcomponents": [{"@id": package}]}])
    };
    assert_eq!(
        document["statements"],
        json!([
            {
                "vulnerability": {"name": "CVE-1", "aliases": ["GHSA-CVE-1"]},
                "products": products("a"),
                "status": "not_affected",
                "justification": "vulnerable_code_not_in_execute_path",
                "impact_statement": "nobody calls it",
            },
            {
                "vulnerability": {"name": "CVE-2", "aliases": ["GHSA-CVE-2"]},
                "products": products("b"),
                "status": "affected",
                "action_statement": "until the vendor mends it",
            },
        ])
    );
    let first = fs::read(user.path("x.json")).expect("is there");
    vex().succeeded();
    assert_eq!(fs::read(user.path("x.json")).expect("is there"), first);

    // Who reads it lets pass what is not affected, and nothing else.
    fs::rename(user.path("x.json"), user.path("team.json")).expect("can be renamed");
    let ran = judge(&user, &found, "", &["--exceptions", "team.json"]);
    let line = "excepted: CVE-1 high a 1.0-1, fixed in 1.0-2: team.json, statement 1: not affected: vulnerable_code_not_in_execute_path: nobody calls it";
    assert!(lines(&ran).contains(&line), "{}", ran.stdout);
    assert!(ran.stdout.contains("found: CVE-2"), "{}", ran.stdout);
    // What a document says of something is passed on.
    vex().succeeded();
    let passed_on = read(&user, "x.json");
    assert_eq!(passed_on["statements"], json!([document["statements"][0]]));

    let unknown = exceptions.replace("vulnerable_code_not_in_execute_path", "because");
    judge(&user, &found, &unknown, &[]).failed(&[
        "e.toml:1: its justification is \"because\", but OpenVEX has component_not_present",
    ]);
    let mut undated = found.clone();
    undated["database"]["built"] = Value::Null;
    judge(&user, &undated, exceptions, &[]);
    vex().failed(&["does not say when it was built"]);
    let mut empty = found;
    empty["troubles"] = json!([{"code": "no-packages"}]);
    judge(&user, &empty, exceptions, &[]);
    vex().failed(&["the scan of the image sha256:0 cannot be trusted"]);
}

/// Runs the first two steps on a layout, by the programs `lister` and `matcher`.
fn list_and_match(user: &User, layout: &str, more: &[&str]) {
    let common = [
        "--kind=grype",
        "--scanner-name=a",
        "--network",
        "--list=l.json",
    ];
    let inventory = [
        "findings",
        "inventory",
        "--program=lister",
        "--output=i.json",
        "--layout",
        layout,
    ];
    user.run(&[&inventory[..], &common].concat()).succeeded();
    matched(user, "grype", "matcher", ["d.db", "import.json"], more).succeeded();
}

/// Scanners go on to list what was in a directory that a layer has replaced with something else.
#[test]
fn packages_of_a_system_whose_database_is_replaced_are_gone() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let list = json!({
        "artifacts": [{
            "id": "1", "name": "a", "version": "1", "type": "deb", "purl": "pkg:deb/x/a@1", "locations": [],
        }],
        "distro": {"id": "debian", "versionID": "12"}, "source": {"metadata": {}},
        "descriptor": {"name": "syft", "version": "1"},
    });
    write_scanner(&user, "lister", "", &list);
    write_scanner(&user, "matcher", "", &nothing_found());
    let base = || {
        Layer::new()
            .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
            .file("var/lib/dpkg/status", &dpkg_status(&[("a", "1")]))
    };
    let scanned = |layers: &[Layer], more: &[&str]| {
        let _ = fs::remove_dir_all(user.path("l"));
        let image = add_image(&user, "l", "amd64", layers);
        write_index(&user.path("l"), &[image]);
        list_and_match(&user, "l", more);
        read(&user, "f.json")["troubles"].clone()
    };
    assert_eq!(scanned(&[base()], &[]), json!([]));
    fs::rename(user.path("i.json"), user.path("b.json")).expect("can be renamed");
    for (layer, troubles) in [
        (Layer::new().file("app", "x"), json!([])),
        (
            Layer::new().file("var/lib/dpkg", "x"),
            json!([{"code": "system-packages-gone"}]),
        ),
        (
            Layer::new().symlink("var", "nowhere"),
            json!([{"code": "system-packages-gone"}]),
        ),
    ] {
        assert_eq!(scanned(&[base(), layer], &["--base", "b.json"]), troubles);
    }
}

/// Of what is there for several architectures, Trivy tells one, and that by chance.
#[test]
fn a_package_for_another_architecture_than_the_bases_is_the_images_own() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let found = json!({
        "matches": [{"vulnerability": {"id": "CVE-1", "severity": "High"}, "artifact": {"id": "1"}}],
        "descriptor": {"name": "grype", "version": "1"},
    });
    write_scanner(&user, "matcher", "", &found);
    let status = dpkg_status(&[("a", "1:1-1")]);
    let other = status.replace("amd64", "i386");
    let base = |status: &str| {
        Layer::new()
            .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
            .file("var/lib/dpkg/status", status)
    };
    let scanned = |layers: &[Layer], told: &str, more: &[&str]| {
        let list = json!({
            "artifacts": [{
                "id": "1", "name": "a", "version": "1:1-1", "type": "deb", "locations": [],
                "purl": format!("pkg:deb/debian/a@1%3A1-1?arch={told}&distro=debian-12"),
            }],
            "distro": {"id": "debian", "versionID": "12"}, "source": {"metadata": {}},
            "descriptor": {"name": "syft", "version": "1"},
        });
        write_scanner(&user, "lister", "", &list);
        let _ = fs::remove_dir_all(user.path("l"));
        let image = add_image(&user, "l", "amd64", layers);
        write_index(&user.path("l"), &[image]);
        list_and_match(&user, "l", more);
        let files = ["i.json", "l.json", "f.json"];
        let files = files.map(|file| fs::read_to_string(user.path(file)).expect("was written"));
        let place = read(&user, "f.json")["findings"][0]["origin"].clone();
        (place, files)
    };
    scanned(&[base(&status)], "amd64", &[]);
    fs::rename(user.path("i.json"), user.path("b.json")).expect("can be renamed");
    let of_base = ["--base", "b.json"];
    let layers = [base(&status), Layer::new().file("app", "x")];
    assert_eq!(scanned(&layers, "amd64", &of_base).0, "base");
    let layers = [
        base(&status),
        Layer::new().file("var/lib/dpkg/status.d/a", &other),
    ];
    for (layers, more, place) in [
        (&layers[..], &of_base[..], "local"),
        (&[base(&format!("{other}\n{status}"))], &[], "local"),
    ] {
        let by_one = scanned(layers, "amd64", more);
        assert_eq!(by_one.0, place);
        assert_eq!(by_one, scanned(layers, "i386", more));
    }
}

/// The troubles of an image of this layer by a lister that answers with these packages of Fedora 40.
fn troubles_of(user: &User, layer: Layer, artifacts: &Value) -> Value {
    troubles_of_release(user, ["fedora", "40"], layer, artifacts)
}

/// The same of another system.
fn troubles_of_release(
    user: &User,
    [id, release]: [&str; 2],
    layer: Layer,
    artifacts: &Value,
) -> Value {
    let layer = layer.file(
        "etc/os-release",
        &format!("ID={id}\nVERSION_ID={release}\n"),
    );
    let _ = fs::remove_dir_all(user.path("l"));
    let image = add_image(user, "l", "amd64", &[layer]);
    write_index(&user.path("l"), &[image]);
    let list = json!({
        "artifacts": artifacts,
        "distro": {"id": id, "versionID": release}, "source": {"metadata": {}},
        "descriptor": {"name": "syft", "version": "1"},
    });
    write_scanner(user, "lister", "", &list);
    write_scanner(user, "matcher", "", &nothing_found());
    list_and_match(user, "l", &[]);
    let mut troubles = read(user, "f.json")["troubles"].clone();
    // No database of these tests knows the system, and not every image has packages of it.
    let troubles = troubles.as_array_mut().expect("a list");
    let others = ["system-not-covered", "system-without-packages"];
    troubles.retain(|trouble| !others.contains(&text(&trouble["code"])));
    troubles.clone().into()
}

#[test]
fn a_damaged_database_of_packages_is_told() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([{
        "id": "1", "name": "seen", "version": "2.0-1.fc40", "type": "rpm",
        "purl": "pkg:rpm/x/seen@2.0-1.fc40", "locations": [],
    }]);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 600].to_vec();
    for (path, bytes) in [
        ("var/lib/rpm/Packages", b"no database".to_vec()),
        ("var/lib/rpm/Packages.db", cut(rpm::ndb())),
        (
            "var/lib/rpm/Packages",
            cut(rpm::berkeley(u32::to_le_bytes, u16::to_le_bytes)),
        ),
    ] {
        let layer = || Layer::new().add(EntryType::Regular, path, 0o644, "", &bytes);
        let code = |code: &str| json!([{"code": code, "path": path}]);
        assert_eq!(
            troubles_of(&user, layer(), &seen),
            code("system-packages-unjudged")
        );
        let none = troubles_of(&user, layer(), &json!([]));
        let unseen = json!({"code": "system-packages-unseen", "path": path});
        assert!(
            none.as_array().is_some_and(|all| all.contains(&unseen)),
            "{none}"
        );
    }
}

/// As dpkg itself reads it: fields in any case and order, stanzas between lines of spaces.
#[test]
fn a_database_of_dpkg_is_read_as_dpkg_does() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([{
        "id": "1", "name": "seen", "version": "1", "type": "deb", "purl": "pkg:deb/x/seen@1", "locations": [],
    }]);
    let path = "var/lib/dpkg/status";
    let missing = json!([{
        "code": "system-packages-missing", "path": path, "package": "other 2", "more": 0,
    }]);
    for (other, is_told) in [
        (
            "Package: other\nStatus: install ok installed\nVersion: 2\n",
            true,
        ),
        ("package : other\nVERSION:2\n", true),
        (
            "Version: 2\nStatus: install ok unpacked\nPackage: other\n",
            true,
        ),
        (
            "Package: old\nStatus: deinstall ok config-files\nVersion: 1\n \nPackage: other\nVersion: 2\n",
            true,
        ),
        ("Package: other\r\nVersion: 2\r\n\r\n", true),
        (
            "Package: other\nstatus: deinstall ok config-files\nVersion: 2\n",
            false,
        ),
    ] {
        let status = format!("Package: seen\nVersion: 1\n\n{other}");
        let expected = if is_told { missing.clone() } else { json!([]) };
        assert_eq!(
            troubles_of(&user, Layer::new().file(path, &status), &seen),
            expected,
            "{other}"
        );
    }
}

/// A layer that is made of a Debian package tells of it, so that a scanner that does not see it is found out.
#[test]
fn a_debian_package_in_a_layer_is_one_of_the_system() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = |names: &[&str]| -> Value {
        let package = |name: &&str| {
            json!({
                "id": name, "name": name, "version": "3.0.9-1", "type": "deb", "locations": [],
                "purl": format!("pkg:deb/x/{name}@3.0.9-1"),
            })
        };
        names.iter().map(package).collect()
    };
    let layer_of = |more: &str| {
        let control = format!("Package: openssl\nVersion: 3.0.9-1\nArchitecture: amd64\n{more}");
        // What a package of the system brought has that one's findings.
        let wheel = "usr/lib/b.dist-info/METADATA";
        let control = Layer::new().file("./control", &control).file(
            "./md5sums",
            &format!("f5642b290049f3b0e4e13b87ed8d755b  {wheel}\n"),
        );
        let data = Layer::new().file(wheel, "Metadata-Version: 2.1\nName: b\nVersion: 1\n");
        let package = deb(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", &gzip(&control.0)),
            ("data.tar", &data.0),
        ]);
        fs::write(user.path("openssl.deb"), package).expect("can be written");
        let outputs = ["--output=layer", "--descriptor=json", "--compression=none"];
        user.run(&[&["layer", "--tar=openssl.deb"], &outputs[..]].concat())
            .succeeded();
        let layer = fs::read(user.path("layer")).expect("was written");
        // The end of the archive, behind which more is added.
        Layer(layer[..layer.len() - 1024].to_vec())
    };
    let path = "var/lib/dpkg/status.d/";
    for more in ["", "Multi-Arch: same\n"] {
        let found = troubles_of(&user, layer_of(more), &seen(&["openssl"]));
        assert_eq!(found, json!([]));
        let other = "Package: other\nVersion: 3.0.9-1\n";
        let both = layer_of(more).file("var/lib/dpkg/status.d/other", other);
        let found = troubles_of(&user, both, &seen(&["other"]));
        let package = "openssl 3.0.9-1";
        assert_eq!(
            found,
            json!([{
                "code": "system-packages-missing", "path": path, "package": package, "more": 0,
            }])
        );
        let found = troubles_of(&user, layer_of(more), &seen(&["other"]));
        let unseen = json!([{"code": "system-packages-unseen", "path": path}]);
        assert_eq!(found, unseen);
    }
}

#[test]
fn the_list_of_an_image_without_rpm_is_compared_too() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let path = "var/lib/rpmmanifest/container-manifest-2";
    let list = "seen\t2.0-1.fc40\t1\t1\tx\t(none)\t1\tx86_64\t0\tx\nother\t2.0-1.fc40\t1\n";
    let seen = json!([{
        "id": "1", "name": "seen", "version": "2.0-1.fc40", "type": "rpm",
        "purl": "pkg:rpm/x/seen@2.0-1.fc40", "locations": [],
    }]);
    let missing = json!([{
        "code": "system-packages-missing", "path": path, "package": "other 2.0-1.fc40", "more": 0,
    }]);
    let layer = Layer::new().file(path, list);
    assert_eq!(troubles_of(&user, layer, &seen), missing);
}

#[test]
fn a_package_of_a_language_that_a_scanner_passed_over_is_told() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([
        {
            "id": "1", "name": "a_b", "version": "1", "type": "python", "purl": "pkg:pypi/a-b@1",
            "locations": [{"path": "/lib/a.dist-info/METADATA", "annotations": {"evidence": "primary"}}],
        },
        {
            "id": "2", "name": "python3-b", "version": "1", "type": "deb", "purl": "pkg:deb/x/python3-b@1", "locations": [],
        },
    ]);
    let wheel = |name: &str, version: &str| {
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: other\n")
    };
    let module = "{\"name\": \"b\", \"version\": \"1\"}";
    let seen_file = "lib/a.dist-info/METADATA";
    let base = || Layer::new().file(seen_file, &wheel("A_.b", "1"));
    let path = "lib/b.dist-info/METADATA";
    let b = || base().file(path, &wheel("b", "1"));
    let installed = dpkg_status(&[("python3-b", "1")]);
    let list = format!("/.\n/{path}\n");
    let list_of = |layer: Layer| layer.file("var/lib/dpkg/info/python3-b:all.list", &list);
    let digests = format!("0  {path}\n");
    let digests_of = |layer: Layer| layer.file("var/lib/dpkg/status.d/python3-b.md5sums", &digests);
    let other = || Layer::new().file("app/x", &wheel("a-b", "2"));
    for (layer, passed_over) in [
        (base(), ""),
        (b(), path),
        // One that nobody can read is a package all the same.
        (base().file(path, "Name: b\n\nno version"), path),
        (base().file(path, ""), path),
        (base().file(path, "\nName: b\nVersion: 1\n"), path),
        (
            base().file("opt/node_modules/b/package.json", module),
            "opt/node_modules/b/package.json",
        ),
        (
            base().file("opt/node_modules/@b/b/package.json", "{"),
            "opt/node_modules/@b/b/package.json",
        ),
        (
            base().file("opt/node_modules/b/package.json", "{\"name\": \"b\"}"),
            "",
        ),
        (base().file("opt/b/package.json", module), ""),
        (
            base().file("opt/vendor/composer/installed.json", "\u{feff}[]"),
            "",
        ),
        (base().symlink("opt/x.dist-info", "/lib/a.dist-info"), ""),
        // What a scanner saw there may be what a layer below has.
        (Layer::new().file(seen_file, &wheel("a_b", "2")), seen_file),
        (Layer::new().file(seen_file, &wheel("c", "1")), seen_file),
        (other().hard_link(seen_file, "app/x"), seen_file),
        (other().symlink(seen_file, "/app/x"), seen_file),
        (
            Layer::new()
                .file("opt/a/METADATA", &wheel("a_b", "2"))
                .symlink("lib/a.dist-info", "/opt/a"),
            seen_file,
        ),
        // What the system's packages brought, they have the findings of, as long as they are installed.
        (list_of(b().file("var/lib/dpkg/status", &installed)), ""),
        (list_of(b()), path),
        (
            digests_of(b().file("var/lib/dpkg/status.d/python3-b", &installed)),
            "",
        ),
        (digests_of(b()), path),
    ] {
        let expected = if passed_over.is_empty() {
            json!([])
        } else {
            json!([{"code": "language-packages-unseen", "path": passed_over, "more": 0}])
        };
        assert_eq!(troubles_of(&user, layer, &seen), expected, "{passed_over}");
    }
}

#[test]
fn java_archives_that_a_scanner_passed_over_are_told() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([{
        "id": "1", "name": "seen", "version": "1", "type": "deb", "purl": "pkg:deb/x/seen@1", "locations": [],
    }]);
    // A Java archive of which nobody knows anything may be what it is, if the scanner could look into it.
    let empty = format!("PK\u{5}\u{6}{}", "\0".repeat(18));
    for path in ["opt/b.jar", "opt/b.hpi"] {
        let found = troubles_of(&user, Layer::new().file(path, &empty), &seen);
        assert_eq!(found, json!([]));
        let notes = read(&user, "f.json")["notes"].clone();
        let note = format!("the scanner knows nothing that is in {path}");
        assert_eq!(notes, json!([note]));
    }
    // By some of their names, there are other files, too.
    for (path, content) in [
        ("opt/b.par", "PAR2\0PKT"),
        ("opt/b.kar", "MThd"),
        ("opt/b.rar", "Rar!\u{1a}\u{7}"),
        ("opt/b.sar", "x"),
    ] {
        let found = troubles_of(&user, Layer::new().file(path, content), &seen);
        assert_eq!(found, json!([]));
    }
    let cut = format!("PK\u{3}\u{4}{empty}, which was within");
    for (path, content) in [
        ("opt/b.jar", "x"),
        ("opt/b.war", &cut),
        ("opt/b.par", &cut),
        ("opt/b.rar", &cut),
        ("opt/b.Far", &empty),
        ("opt/B.JAR", &empty),
        ("opt/b.Hpi", &empty),
    ] {
        let found = troubles_of(&user, Layer::new().file(path, content), &seen);
        let unseen = json!({"code": "language-packages-unseen", "path": path, "more": 0});
        assert_eq!(found, json!([unseen]));
    }
}

/// A scanner may take what is at the place of a system's file for that, whatever it is.
#[test]
fn what_took_the_place_of_a_systems_file_is_told() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([{
        "id": "1", "name": "seen", "version": "2.0-1.fc40", "type": "deb", "purl": "pkg:deb/x/seen@2.0-1.fc40",
        "locations": [],
    }]);
    let path = "lib/b.dist-info/METADATA";
    let brought = "Metadata-Version: 2.1\nName: b\nVersion: 1\n\nName: other\n";
    let md5 = "f3ce14117606e9474afbad15b3840d2e";
    let status = || {
        let packages = dpkg_status(&[("seen", "2.0-1.fc40")]);
        Layer::new().file("var/lib/dpkg/status", &packages)
    };
    let dpkg = || {
        let list = format!("/.\n/lib\n/{path}\n/usr/bin/tool\n");
        status().file("var/lib/dpkg/info/seen:amd64.list", &list)
    };
    let digests = format!("{md5}  {path}\n0a31c758cd29bcade3a56e4ef6e2ca0b  usr/bin/tool\n");
    let with_digests = || dpkg().file("var/lib/dpkg/info/seen:amd64.md5sums", &digests);
    let of_status = || {
        let beside = "var/lib/dpkg/status.d/seen";
        let layer = Layer::new().file(beside, &dpkg_status(&[("seen", "2.0-1.fc40")]));
        layer.file(&format!("{beside}.md5sums"), &digests)
    };
    let apk = |digest: &str| {
        let text = format!(
            "P:seen\nV:2.0-1.fc40\nF:lib/b.dist-info\nR:other\nZ:Q1AAAA\nR:METADATA\na:0:0:644\nZ:{digest}\n\n"
        );
        Layer::new().file("lib/apk/db/installed", &text)
    };
    let portage = || {
        let text = format!("dir /lib\nobj /{path} {md5} 1700000000\n");
        Layer::new().file("var/db/pkg/x/seen-2.0-1.fc40/CONTENTS", &text)
    };
    let databases: [(Layer, bool); 6] = [
        (dpkg(), false),
        (with_digests(), true),
        (of_status(), true),
        (apk("Q13G83fWPkwFo4zFhXm/abBBjNye0="), true),
        (apk("Q2qmtsD3QG75PfBgt/0g2pPC25xus4xfx5lViFJsM4i0k="), true),
        (portage(), true),
    ];
    let troubles = |layer: Layer| {
        let found = troubles_of(&user, layer, &seen);
        let codes = found.as_array().expect("a list").iter();
        let of_files = ["language-packages-unseen", "go-program-without-modules"];
        let of_files = codes.filter(|found| of_files.contains(&text(&found["code"])));
        of_files
            .map(|found| text(&found["path"]).to_owned())
            .collect::<Vec<_>>()
    };
    for (database, has_digests) in databases {
        let is_told = if has_digests { &[path][..] } else { &[] };
        let replaced = brought.replace("Version: 1", "Version: 0");
        assert_eq!(troubles(database.clone().file(path, brought)), [""; 0]);
        assert_eq!(troubles(database.file(path, &replaced)), is_told);
    }
    // What is read in pieces, and once more.
    let mut program = b"\x7fELF".to_vec();
    program.resize(300_000, 0);
    program.extend(b"\xff Go buildinf:\x08\x02");
    program.resize(400_000, 0);
    let with = |layer: Layer, bytes: &[u8]| {
        layer.add(EntryType::Regular, "usr/bin/tool", 0o755, "", bytes)
    };
    assert_eq!(troubles(with(with_digests(), &program)), [""; 0]);
    assert_eq!(troubles(with(dpkg(), &program[..399_999])), [""; 0]);
    for other in [&program[..399_999], &[&program[..], b"x"].concat()] {
        assert_eq!(troubles(with(with_digests(), other)), ["usr/bin/tool"]);
        for (path, packages) in rpm::databases() {
            let rpm = Layer::new().add(EntryType::Regular, path, 0o644, "", &packages);
            assert_eq!(troubles(with(rpm, other)), ["usr/bin/tool"], "{path}");
        }
    }
}

/// As languages and their tools lay them out beside the usual way.
#[test]
fn unusual_places_of_packages_are_known() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([{
        "id": "1", "name": "a", "version": "1", "type": "deb", "purl": "pkg:deb/x/a@1", "locations": [],
    }]);
    let wheel = "Name: c\nVersion: 1\n";
    let egg = "PK\u{3}\u{4}EGG-INFO/PKG-INFO";
    for (path, content) in [
        ("lib/c.DIST-INFO/METADATA", wheel),
        ("lib/c-1.egg/EGG-INFO/PKG-INFO", wheel),
        ("lib/c.EGG-INFO", wheel),
        ("lib/c-1-py3.8.egg", egg),
        ("lib/c-1.egg", egg),
        ("app/c.pex", "#!/usr/bin/env python3\nPK"),
        ("app/C.PYZ", "PK"),
        ("app/c.pyzw", "PK"),
        ("app/.yarn/cache/c-npm-1-0.zip", "PK"),
        ("root/.yarn/berry/cache/c-npm-1-0.zip", "PK"),
        ("gems/specifications/default/c-1.gemspec", "Gem"),
        ("ruby/3.3.0/bundler/gems/c-0a1b/c.gemspec", "Gem"),
        ("bundler/gems/c-0a1b/c/c/c.gemspec", "Gem"),
        ("app/vendor/composer/installed.php", "<?php return array();"),
        (
            "opt/conda/conda-meta/c-1-0.json",
            "{\"name\": \"c\", \"version\": \"1\"}",
        ),
        ("brew/Cellar/c/1/.brew/c.rb", "class C"),
    ] {
        let found = troubles_of(&user, Layer::new().file(path, content), &seen);
        let unseen = json!({"code": "language-packages-unseen", "path": path, "more": 0});
        assert_eq!(found, json!([unseen]));
    }
    for layer in [
        // A model of Panda3D.
        Layer::new().file("app/c.egg", "<CoordinateSystem> { Z-up }"),
        Layer::new().file("bundler/gems/c-0a1b/spec/a/b/c.gemspec", "Gem"),
        Layer::new().file("app/mybundler/gems/c-0a1b/c.gemspec", "Gem"),
        Layer::new()
            .file("app/vendor/composer/installed.php", "<?php return array();")
            .file("app/vendor/composer/installed.json", "[]"),
    ] {
        assert_eq!(troubles_of(&user, layer, &seen), json!([]));
    }
}

/// Scanners follow some links, and go by the names of what these lead to.
#[test]
fn packages_behind_links_to_directories_are_known() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let seen = json!([{
        "id": "1", "name": "a", "version": "1", "type": "python", "purl": "pkg:pypi/a@1",
        "locations": [{"path": "/opt/a1/package.json", "annotations": {"evidence": "primary"}}],
    }]);
    let wheel = "Name: c\nVersion: 1\n";
    let module = |name: &str| format!("{{\"name\": \"{name}\", \"version\": \"1\"}}");
    for (layer, path) in [
        (
            Layer::new()
                .file("opt/c/METADATA", wheel)
                .symlink("lib/c.dist-info", "../opt/c"),
            "lib/c.dist-info/METADATA",
        ),
        (
            Layer::new()
                .file("opt/c/METADATA", wheel)
                .symlink("opt/store", "/opt/c")
                .symlink("lib/c.dist-info", "/opt/store"),
            "lib/c.dist-info/METADATA",
        ),
        // Of several links on one way each may be what tells.
        (
            Layer::new()
                .file("opt/c1/package.json", &module("c"))
                .symlink("opt/all/c", "../c1")
                .symlink("app/node_modules", "/opt/all"),
            "app/node_modules/c/package.json",
        ),
        (
            Layer::new()
                .file("opt/c1/package.json", &module("c"))
                .symlink("app/node_modules/@s/c", "/opt/c1"),
            "app/node_modules/@s/c/package.json",
        ),
        (
            Layer::new()
                .file("opt/c/c-1.gemspec", "Gem")
                .symlink("gems/specifications", "/opt/c"),
            "gems/specifications/c-1.gemspec",
        ),
        (
            Layer::new()
                .file("opt/c/c/installed.json", "[{}]")
                .symlink("v/composer", "/opt/c/c"),
            "v/composer/installed.json",
        ),
        // In a circle.
        (
            Layer::new()
                .file("opt/c/METADATA", wheel)
                .symlink("opt/c/c.dist-info", ".")
                .symlink("opt/c/up", "../.."),
            "opt/c/c.dist-info/METADATA",
        ),
    ] {
        let found = troubles_of(&user, layer, &seen);
        let told = found.as_array().map(|all| {
            let is_unseen = |one: &&Value| one["code"] == "language-packages-unseen";
            let unseen: Vec<&str> = all
                .iter()
                .filter(is_unseen)
                .map(|one| text(&one["path"]))
                .collect();
            unseen
        });
        assert_eq!(told, Some(vec![path]), "{found}");
    }
    // By whichever of its names it was seen.
    let layer = Layer::new()
        .file("opt/a1/package.json", &module("a"))
        .symlink("app/node_modules/a", "/opt/a1");
    assert_eq!(troubles_of(&user, layer, &seen), json!([]));
}

/// What a local layer adds by a link has code of its own beside it, and a base's test says nothing of that.
#[test]
fn a_copy_of_a_package_of_the_base_that_only_a_link_makes_is_told() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let file = "lib/b-1.dist-info/METADATA";
    let json = "lib/node_modules/n/package.json";
    let seen = |paths: &[&str]| -> Vec<Value> {
        let package = |path: &&str| {
            let (name, kind) = match *path {
                path if path.ends_with("json") => ("n", "npm"),
                path if path.ends_with("tool") => ("m", "go-module"),
                _ => ("b", "python"),
            };
            json!({
                "id": path, "name": name, "version": "1", "type": kind, "purl": format!("pkg:{kind}/{name}@1"),
                "locations": [{"path": format!("/{path}"), "annotations": {"evidence": "primary"}}],
            })
        };
        paths.iter().map(package).collect()
    };
    let program = [&b"\x7fELF\xff Go buildinf:\x08\x02"[..], &vec![0; 300_000]].concat();
    let base = || {
        Layer::new()
            .add(EntryType::Regular, "lib/tool", 0o755, "", &program)
            .file(file, "Name: b\nVersion: 1\n")
            .file(json, r#"{"name": "n", "version": "1"}"#)
            .file("lib/j.jar", "x")
            .hard_link("old/b-1.dist-info/METADATA", file)
            .symlink("usr", ".")
    };
    let of_base = [file, json, "lib/j.jar", "lib/tool"];
    let scanned = |layer: Option<Layer>, paths: &[&str], more: &[&str]| -> Vec<Value> {
        let _ = fs::remove_dir_all(user.path("l"));
        let layers: Vec<Layer> = [base()].into_iter().chain(layer).collect();
        let image = add_image(&user, "l", "amd64", &layers);
        write_index(&user.path("l"), &[image]);
        let mut list = nothing_listed();
        list["artifacts"] = seen(&[&of_base, paths].concat()).into();
        write_scanner(&user, "lister", "", &list);
        write_scanner(&user, "matcher", "", &nothing_found());
        list_and_match(&user, "l", more);
        let troubles = read(&user, "f.json")["troubles"].clone();
        let troubles = troubles.as_array().expect("a list").iter();
        let unseen = troubles.filter(|trouble| trouble["code"] == "language-packages-unseen");
        unseen.map(|trouble| trouble["path"].clone()).collect()
    };
    assert_eq!(scanned(None, &[], &[]), [""; 0]);
    fs::rename(user.path("i.json"), user.path("b.json")).expect("can be renamed");
    let copy = "app/b-1.dist-info/METADATA";
    let module = "app/node_modules/n/package.json";
    let layer = Layer::new;
    for (layer, path) in [
        (layer().hard_link(copy, file), copy),
        (layer().symlink(copy, &format!("/{file}")), copy),
        (
            layer().symlink("app/b-1.dist-info", "/lib/b-1.dist-info"),
            copy,
        ),
        (layer().hard_link(module, json), module),
        (layer().symlink(module, &format!("/{json}")), module),
        (layer().hard_link("app/k.jar", "lib/j.jar"), "app/k.jar"),
        (layer().hard_link("app/t", "lib/tool"), "app/t"),
    ] {
        let base = ["--base", "b.json"];
        assert_eq!(scanned(Some(layer), &[], &base), [path], "{path}");
    }
    for (layer, paths) in [
        // What is seen by its own name.
        (layer().hard_link(copy, file), &[copy][..]),
        // What is the image's own is told as that.
        (
            layer()
                .file("app/a/b-1.dist-info/METADATA", "Name: b\nVersion: 1\n")
                .hard_link(copy, "app/a/b-1.dist-info/METADATA"),
            &["app/a/b-1.dist-info/METADATA"],
        ),
        // What brings the code along, and what was there before.
        (layer().symlink("app", "lib"), &[]),
        (
            layer().symlink("app/node_modules/n", "/lib/node_modules/n"),
            &[],
        ),
        (layer().symlink("app/k.jar", "/lib/j.jar"), &[]),
        (layer().symlink("app/t", "/lib/tool"), &[]),
        (
            layer()
                .hard_link("old/b-1.dist-info/METADATA", file)
                .symlink("usr", "."),
            &[],
        ),
    ] {
        let found = scanned(Some(layer), paths, &["--base", "b.json"]);
        assert_eq!(found, [""; 0], "{paths:?}");
    }
    // Without a base, all that is told is the image's own.
    assert_eq!(
        scanned(Some(layer().hard_link(copy, file)), &[], &[]),
        [""; 0]
    );
}

/// A scanner that reads a file otherwise than those who run what it tells of sees another package.
#[test]
fn what_is_read_in_two_ways_is_told() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let scanned_as = |path: &str, content: &str, name: &str, version: &str| {
        let seen = json!([{
            "id": "1", "name": name, "version": version, "type": "python", "purl": "pkg:x/c",
            "locations": [{"path": format!("/{path}"), "annotations": {"evidence": "primary"}}],
        }]);
        let found = troubles_of(&user, Layer::new().file(path, content), &seen);
        let unseen = json!([{"code": "language-packages-unseen", "path": path, "more": 0}]);
        assert!(found == unseen || found == json!([]), "{found}");
        found == json!([])
    };
    let scanned =
        |path: &str, content: &str, version: &str| scanned_as(path, content, "c", version);
    // What Python's `email` makes of it.
    for content in [
        "Name:\n c\nVersion:\n\t1\n",
        "Name:\r\n c\r\nVersion: 1\r\n",
        "Name: c\rVersion: 1\r",
        "\u{feff}Metadata-Version: 2.1\nName: c\nVersion: 1\n",
        "NAME: c\nversion: 1\nName: d\nVersion: 2\n",
        "Summary: x\n y\n \nName: c\nVersion: 1\n",
        ":\nName: c\nVersion: 1\n",
        " Name: d\nName: c\nVersion: 1\n",
    ] {
        let path = "lib/c.dist-info/METADATA";
        assert!(scanned(path, content, "1"), "{content:?}");
        assert!(!scanned(path, content, "2"), "{content:?}");
    }
    for content in [
        "Name : c\nVersion: 1\n",
        "x\nName: c\nVersion: 1\n",
        "Name: c\n\nVersion: 1\n",
        "Name: c\nVersion:\n",
        "N\0a\0m\0e\0:\0 \0c\0",
    ] {
        assert!(
            !scanned("lib/c.dist-info/METADATA", content, "1"),
            "{content:?}"
        );
    }
    // And Node.js.
    for content in [
        r#"{"name": "c", "version": "1", "Version": "2"}"#,
        r#"{"NAME": "d", "name": "c", "version": "2", "version": "1"}"#,
        r#"{"name": "d", "name": "c", "version": "1", "readme": "\ud800", "x": 1e999}"#,
        "\u{feff}{\"name\": \"c\", \"version\": \"1\"}\r\n",
    ] {
        let path = "opt/node_modules/c/package.json";
        assert!(scanned(path, content, "1"), "{content}");
        assert!(!scanned(path, content, "2"), "{content}");
    }
    let cut = r#"{"name": "c", "version": "1""#;
    assert!(!scanned("opt/node_modules/c/package.json", cut, "1"));
    // Without a version nothing is compared.
    let gem = "Gem::Specification.new { |s| s.version = Gem::Version.new(\"1\") }";
    for (version, is_seen) in [("1", true), ("", false), ("UNKNOWN", false)] {
        assert_eq!(
            scanned("gems/specifications/c-1.gemspec", gem, version),
            is_seen
        );
    }
    // A scanner may take the words of a program for a name.
    let gem = "Gem::Specification.new { |s| s.name = %q{c} }";
    for (name, is_seen) in [("c", true), ("%q{c}", false)] {
        let path = "gems/specifications/c-1.gemspec";
        assert_eq!(scanned_as(path, gem, name, "1"), is_seen);
    }
}

/// Whatever keeps packages, and that the scanner may know nothing of.
#[test]
fn databases_of_any_manager_are_told_where_a_scanner_saw_nothing_of_them() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let of = |kind: &str, purl: &str| {
        json!([{
            "id": "1", "name": "c/seen", "version": "1.0-r1", "type": kind, "purl": format!("pkg:{purl}/c/seen@1"),
            "locations": [{"path": "/x"}],
        }])
    };
    let stanza = "Package: c/seen\nVersion: 1.0-r1\n";
    let pacman = "%NAME%\nc/seen\n\n%VERSION%\n1.0-r1\n";
    for (path, content, database, kind, purl) in [
        (
            "var/lib/opkg/status",
            stanza,
            "var/lib/opkg/status",
            "deb",
            "opkg",
        ),
        (
            "usr/lib/opkg/status",
            stanza,
            "usr/lib/opkg/status",
            "deb",
            "opkg",
        ),
        (
            "usr/lib/holo/pacmandb/local/a-1/desc",
            pacman,
            "usr/lib/holo/pacmandb/local/",
            "alpm",
            "alpm",
        ),
        (
            "var/db/pkg/c/seen-1.0-r1/CONTENTS",
            "dir /x\n",
            "var/db/pkg/",
            "portage",
            "ebuild",
        ),
        (
            "nix/store/0a1b-seen-1/bin/x",
            "x",
            "nix/store/",
            "python",
            "nix",
        ),
        (
            "var/lib/chisel/manifest.wall",
            "x",
            "var/lib/chisel/manifest.wall",
            "deb",
            "deb",
        ),
        (
            "var/db/xbps/pkgdb-0.38.plist",
            "x",
            "var/db/xbps/",
            "deb",
            "xbps",
        ),
        (
            "var/lib/pkgtools/packages/a-1-x86-1",
            "x",
            "var/lib/pkgtools/packages/",
            "deb",
            "slackware",
        ),
    ] {
        let layer = || Layer::new().file(path, content);
        let other = of("deb", "other");
        let unseen = json!([{"code": "system-packages-unseen", "path": database}]);
        assert_eq!(troubles_of(&user, layer(), &other), unseen);
        assert_eq!(
            troubles_of(&user, layer(), &of(kind, purl)),
            json!([]),
            "{path}"
        );
        // By links, too.
        let (start, rest) = path.split_once('/').expect("it has directories");
        let linked = Layer::new()
            .file(&format!("mnt/{rest}"), content)
            .symlink(start, "mnt");
        assert_eq!(troubles_of(&user, linked, &other), unseen);
    }
}

/// Where Alpine's packages are.
const ALPINE_SITE: &str = "https://dl-cdn.alpinelinux.org/alpine";

/// The troubles of an image of this layer that says that it is this release of Alpine, and has a package of its.
fn troubles_of_alpine(user: &User, release: &str, layer: Layer) -> Value {
    let seen = json!([{
        "id": "1", "name": "seen", "version": "2.0-r1", "type": "apk",
        "purl": "pkg:apk/alpine/seen@2.0-r1", "locations": [],
    }]);
    troubles_of_release(user, ["alpine", release], layer, &seen)
}

#[test]
fn packages_of_another_branch_of_alpine_are_told() {
    let (user, site) = (new_user(), ALPINE_SITE);
    write_database(&user, "d.db", GRYPE);
    for (release, repositories, elsewhere) in [
        (
            "3.20.1",
            format!("{site}/v3.20/main\n{site}/v3.20/community\n"),
            "",
        ),
        (
            "3.20.1",
            format!("{site}/v3.20/main\n@e {site}/edge/testing\n"),
            "",
        ),
        (
            "3.20.1",
            format!("#{site}/edge/main\n/media/cdrom/apks\n"),
            "",
        ),
        ("3.22_alpha20250108", format!("{site}/edge/main\n"), ""),
        ("3.20.1", format!("{site}/edge/main/\n"), "edge"),
        (
            "3.20.1",
            format!("v3 {site}/v3.21 main community\n"),
            "v3.21",
        ),
        (
            "3.20.1",
            format!("# v3 {site}/v3.21 main\nv3 {site}/v3.20 main\n"),
            "",
        ),
        (
            "3.20.1",
            "/srv/edge/main\n/srv/v3.19/main\n".to_owned(),
            "edge, v3.19",
        ),
        (
            "3.22_alpha20250108",
            format!("{site}/v3.21/main\n"),
            "v3.21",
        ),
    ] {
        let layer = Layer::new().file("etc/apk/repositories", &repositories);
        let found = troubles_of_alpine(&user, release, layer);
        let said = format!("alpine {release}");
        let trouble = json!({
            "code": "system-of-other-branch", "said": said, "branches": elsewhere,
        });
        let expected = if elsewhere.is_empty() {
            json!([])
        } else {
            json!([trouble])
        };
        assert_eq!(found, expected, "{repositories}");
        if !elsewhere.is_empty() {
            let judged = judge(
                &user,
                &read(&user, "f.json"),
                "",
                &["--allow=system-mistaken"],
            );
            let line =
                format!("the image says that it is {said}, and its packages come from {elsewhere}");
            assert!(judged.stdout.contains(&line), "{}", judged.stdout);
        }
    }
}

#[test]
fn further_lists_of_alpine_s_repositories_count() {
    let (user, site) = (new_user(), ALPINE_SITE);
    write_database(&user, "d.db", GRYPE);
    for (path, own, is_told) in [
        ("etc/apk/repositories.d/a.list", "", true),
        ("lib/apk/repositories.d/a.list", "", true),
        ("etc/apk/repositories.d/a.list", "v3.20", false),
        // apk reads no other names.
        ("etc/apk/repositories.d/a.off", "", false),
    ] {
        let mut layer = Layer::new().file(path, &format!("{site}/edge/main\n"));
        if !own.is_empty() {
            layer = layer.file("etc/apk/repositories", &format!("{site}/{own}/main\n"));
        }
        let found = troubles_of_alpine(&user, "3.20.1", layer);
        let trouble = json!({
            "code": "system-of-other-branch", "said": "alpine 3.20.1", "branches": "edge",
        });
        let expected = if is_told { json!([trouble]) } else { json!([]) };
        assert_eq!(found, expected, "{path} {own}");
    }
}

/// A leaf of bbolt's: keys, values, and whether they are buckets.
fn bbolt_leaf(items: &[(&str, Vec<u8>, u32)]) -> Vec<u8> {
    let mut leaf = vec![0; 16];
    leaf[8] = 2;
    leaf[10] = u8::try_from(items.len()).expect("few");
    let mut data = Vec::new();
    for (index, (key, value, flags)) in items.iter().enumerate() {
        let start = 16 * (items.len() - index) + data.len();
        leaf.extend(flags.to_le_bytes());
        for number in [start, key.len(), value.len()] {
            leaf.extend(u32::try_from(number).expect("small").to_le_bytes());
        }
        data.extend([key.as_bytes(), value].concat());
    }
    leaf.extend(data);
    leaf
}

/// A database of Trivy's that has these repositories of Red Hat's.
fn write_trivy_database(user: &User, repositories: &[&str]) {
    let bucket = |items: &[_]| [vec![0; 16], bbolt_leaf(items)].concat();
    let names: Vec<_> = repositories
        .iter()
        .map(|name| (*name, b"[0]".to_vec(), 0))
        .collect();
    let of_red_hat = bucket(&[("repository", bucket(&names), 1)]);
    let some = bucket(&[("CVE-1", b"{}".to_vec(), 0)]);
    let root = bbolt_leaf(&[("Red Hat CPE", of_red_hat, 1), ("vulnerability", some, 1)]);
    let mut meta = [0; 56];
    meta[..4].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
    meta[8..12].copy_from_slice(&4096_u32.to_le_bytes());
    meta[16] = 2;
    let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut file = [&[0; 16][..], &meta, &sum.to_le_bytes()].concat();
    file.resize(2 * 4096, 0);
    file.extend(root);
    file.resize(3 * 4096, 0);
    fs::write(user.path("trivy.db"), file).expect("can be written");
    let metadata = "{\"Version\": 2, \"UpdatedAt\": \"2026-11-10T06:00:00Z\"}";
    fs::write(user.path("metadata.json"), metadata).expect("can be written");
}

#[test]
fn a_release_of_red_hat_at_which_trivy_stops_is_known_beforehand() {
    let user = new_user();
    let repositories = [
        "rhel-10-for-x86_64-baseos-rpms",
        "rhel-9-for-x86_64-baseos-rpms",
    ];
    write_trivy_database(&user, &repositories);
    let list = json!({"metadata": {"tools": {"components": []}}});
    fs::write(user.path("l.json"), list.to_string()).expect("can be written");
    for (release, is_covered) in [
        ("9.4", true),
        ("8.10", false),
        ("10.0", false),
        ("5", false),
    ] {
        let system = json!({"family": "redhat", "release": release});
        let inventory = inventory(&system, &system, &json!([package("redhat", true)]));
        fs::write(user.path("i.json"), inventory.to_string()).expect("can be written");
        // It matches packages of the system only where it knows any.
        let [of_all, of_languages] = if is_covered {
            ["", "exit 1"]
        } else {
            ["exit 1", ""]
        };
        let script =
            format!("case \"$*\" in *'--pkg-types library'*) {of_languages};; *) {of_all};; esac");
        let report = json!({"SchemaVersion": 2, "ArtifactName": "a"});
        write_scanner(&user, "matcher", &script, &report);
        matched(
            &user,
            "trivy",
            "matcher",
            ["trivy.db", "metadata.json"],
            &[],
        )
        .succeeded();
        let system = format!("redhat {release}");
        let not_covered = json!({"code": "system-not-covered", "system": system});
        let expected = if is_covered {
            json!([])
        } else {
            json!([not_covered])
        };
        assert_eq!(read(&user, "f.json")["troubles"], expected, "{release}");
    }
}

#[test]
fn packages_without_a_known_license_are_told_where_licenses_are_looked_for() {
    let user = new_user();
    write_trivy_database(&user, &["rhel-9-for-x86_64-baseos-rpms"]);
    let component = |name: &str| {
        json!({
            "bom-ref": name, "type": "library", "name": name, "version": "1",
            "properties": [
                {"name": "aquasecurity:trivy:PkgType", "value": "python-pkg"},
                {"name": "aquasecurity:trivy:FilePath", "value": format!("lib/{name}/METADATA")},
            ],
        })
    };
    let components = ["a", "b", "c"].map(component);
    let list = json!({"metadata": {"tools": {"components": []}}, "components": components});
    fs::write(user.path("l.json"), list.to_string()).expect("can be written");
    let none = Value::Null;
    let inventory = inventory(&none, &none, &json!([package("python-pkg", false)]));
    fs::write(user.path("i.json"), inventory.to_string()).expect("can be written");
    let license = |name: &str| {
        json!({
            "PkgName": name, "FilePath": format!("lib/{name}/METADATA"), "Name": "MIT",
            "Category": "notice", "Severity": "LOW",
        })
    };
    let listed = |name: &str| {
        json!({
            "Name": name, "Identifier": {"BOMRef": name}, "FilePath": format!("lib/{name}/METADATA"),
        })
    };
    let database = ["trivy.db", "metadata.json"];
    for (licensed, note) in [
        (
            vec!["a"],
            Some("no license is known of b in lib/b/METADATA and 1 more"),
        ),
        (vec!["a", "b", "c"], None),
    ] {
        let licenses: Vec<_> = licensed.into_iter().map(license).collect();
        let packages = ["a", "b", "c"].map(listed);
        let results = json!([
            {"Target": "Python", "Class": "lang-pkgs", "Packages": packages},
            {"Target": "Python", "Class": "license", "Licenses": licenses},
        ]);
        let report = json!({"SchemaVersion": 2, "ArtifactName": "a", "Results": results});
        write_scanner(&user, "matcher", "", &report);
        let notes = |more: &[&str]| {
            matched(&user, "trivy", "matcher", database, more).succeeded();
            read(&user, "f.json").get("notes").cloned()
        };
        let expected = note.map(|note| json!([note]));
        assert_eq!(notes(&["--look-for=license"]), expected);
        assert_eq!(notes(&[]), None);
    }
}

#[test]
fn a_scanner_has_nothing_of_the_environment() {
    let user = new_user();
    let image = add_image(&user, "l", "amd64", &[Layer::new().file("a", "a")]);
    write_index(&user.path("l"), &[image]);
    let list = nothing_listed();
    write_scanner(
        &user,
        "lister",
        "[ -z \"$SYFT_EXCLUDE\" ] && [ -n \"$PATH\" ]",
        &list,
    );
    let arguments = [
        "findings",
        "inventory",
        "--kind=grype",
        "--program=lister",
        "--scanner-name=a",
        "--network",
        "--list=l.json",
        "--layout=l",
        "--output=i.json",
    ];
    user.run_with(&[("SYFT_EXCLUDE", "./a")], &arguments)
        .succeeded();
}

/// What a scanner that took an image for Debian 12 makes of an image that says that it is `said`.
fn troubles_of_system(user: &User, said: &Value, base: Option<&Value>, of_system: bool) -> Value {
    let system = json!({"family": "debian", "release": "12"});
    let packages = json!([package(if of_system { "deb" } else { "python" }, of_system)]);
    let seen = if of_system { &system } else { &Value::Null };
    let write = |name: &str, value: Value| {
        fs::write(user.path(name), value.to_string()).expect("can be written");
    };
    write("i.json", inventory(said, seen, &packages));
    write("l.json", nothing_listed());
    write_scanner(user, "matcher", "", &nothing_found());
    let mut more = Vec::new();
    if let Some(base) = base {
        write("b.json", inventory(base, &Value::Null, &json!([])));
        more.extend(["--base", "b.json"]);
    }
    matched(user, "grype", "matcher", ["d.db", "import.json"], &more).succeeded();
    let findings = read(user, "f.json");
    let troubles = findings["troubles"].as_array().expect("a list");
    troubles
        .iter()
        .map(|trouble| trouble["code"].clone())
        .collect()
}

#[test]
fn a_system_is_what_the_image_says_and_has_its_packages() {
    let user = new_user();
    write_database(&user, "d.db", GRYPE);
    let named = |family: &str, release: &str, codename: &str| json!({"family": family, "release": release, "codename": codename});
    let debian = named("debian", "12", "");
    let of = |said: &Value| troubles_of_system(&user, said, None, true);
    assert_eq!(of(&debian), json!([]));
    for said in [
        named("arch", "", ""),
        named("debian", "", "forky"),
        named("debian", "", ""),
        named("debian", "13", ""),
    ] {
        assert_eq!(of(&said), json!(["system-mistaken"]), "{said}");
    }
    let without = |base: Option<&Value>| troubles_of_system(&user, &debian, base, false);
    assert_eq!(without(None), json!(["system-without-packages"]));
    assert_eq!(without(Some(&debian)), json!([]));
    for base in [Value::Null, named("debian", "11", "")] {
        assert_eq!(
            without(Some(&base)),
            json!(["system-without-packages"]),
            "{base}"
        );
    }
}
