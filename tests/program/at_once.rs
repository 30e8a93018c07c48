//! What scanners find that do all in one step, by scripts that answer as they do.
#![cfg(target_os = "linux")]

use std::fs;

use oci_pull_all_support::rootfs::{Layer, image};
use oci_pull_all_support::{Ran, User, digest, dpkg_status};
use serde_json::{Value, json};

use crate::new_user;

/// Writes a scanner, which runs a script unless it is asked for its version.
fn write_scanner(user: &User, version: &str, script: &str) {
    let asked = format!("if [ \"$1\" = --version ]; then echo '{version}'; exit; fi");
    user.write_script("scanner", &format!("{asked}\n{script}"));
}

fn scan(user: &User, kind: &str, more: &[&str]) -> Ran {
    let kind = format!("--kind={kind}");
    let arguments = [
        "findings",
        "scan",
        &kind,
        "--program=scanner",
        "--scanner-name=//:scanner",
        "--layout=layout",
        "--inventory=i.json",
        "--output=f.json",
    ];
    user.run(&[&arguments, more].concat())
}

fn read(user: &User, name: &str) -> Value {
    let bytes = fs::read(user.path(name)).expect("was written");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn codes(findings: &Value) -> Vec<&str> {
    let troubles = findings["troubles"].as_array().expect("a list");
    let codes = troubles.iter().map(|trouble| trouble["code"].as_str());
    codes.map(|code| code.expect("a code")).collect()
}

/// A file of ClamAV's that was built on a day.
fn write_signatures(user: &User, name: &str, day: &str, files: &[(&str, &str)]) {
    let header = format!("ClamAV-VDB:{day} 06-00 +0000:1:1:90:X:X:tester:0");
    let archive = files
        .iter()
        .fold(Layer::new(), |layer, (name, text)| layer.file(name, text));
    let bytes = [
        format!("{header:512}").into_bytes(),
        archive.0,
        vec![0; 1024],
    ];
    fs::write(user.path(name), bytes.concat()).expect("can be written");
}

const SIGNATURES: [(&str, &str); 3] = [
    ("COPYING", "x"),
    ("daily.info", "x"),
    ("daily.ndb", "Marked:0:*:6d"),
];

/// What clamscan writes that found so much in so many files; `{}` stands for the directory.
fn log(lines: &str, files: u32, infected: u32) -> String {
    format!(
        "printf '\\n---\\n\\n{lines}\\n----------- SCAN SUMMARY -----------\\nScanned files: {files}\\nInfected files: {infected}\\n' \"$OCI_LAYOUT\" >\"$OCI_SCAN_REPORT\""
    )
}

#[test]
fn malware_is_the_bases_by_the_layer_that_its_file_is_from() {
    let user = new_user();
    let below = Layer::new().file("app/a", "a").file("empty", "");
    let above = Layer::new().file("app/b", "b");
    let layers = [&below.0, &above.0].map(|layer| digest(layer));
    image(&user, &[below, above]);
    write_signatures(&user, "main.cvd", "1 Jan 2020", &SIGNATURES);
    write_signatures(&user, "daily.cvd", "10 Nov 2026", &SIGNATURES);
    let database = ["--database=main.cvd", "--database=daily.cvd"];
    let version = "ClamAV 1.4.6/27456/Tue Nov 10 06:00:00 2026";
    let lines = "%s/app/a: Evil FOUND\\n%s/app/b: Heuristics.Limits.Exceeded.MaxFiles FOUND\\n";
    let found = log(lines, 2, 2).replacen("\"$OCI_LAYOUT\"", "\"$OCI_LAYOUT\" \"$OCI_LAYOUT\"", 1);
    write_scanner(&user, version, &format!("{found}; exit 1"));
    scan(&user, "clamav", &database).succeeded();
    let findings = read(&user, "f.json");
    assert_eq!(codes(&findings), ["files-unscanned"]);
    assert_eq!(findings["scanner"]["version"], "1.4.6");
    assert_eq!(findings["database"]["built"], "2026-11-10T06:00:00Z");
    assert_eq!(findings["kinds"], json!(["malware"]));
    let finding = &findings["findings"][0];
    assert_eq!(finding["id"], "Evil");
    assert_eq!(finding["package"]["path"], "/app/a");
    assert_eq!(finding["package"]["layer"], layers[0]);
    assert_eq!(finding["origin"], "local");
    assert_eq!(findings["findings"].as_array().map(Vec::len), Some(1));

    // The same on a base that has the first layer.
    let mut base = read(&user, "i.json");
    base["layers"] = json!([layers[0]]);
    fs::write(user.path("base.json"), base.to_string()).expect("can be written");
    let on_base = [&database[..], &["--base=base.json"]].concat();
    scan(&user, "clamav", &on_base).succeeded();
    assert_eq!(read(&user, "f.json")["findings"][0]["origin"], "base");
    base["layers"] = json!([layers[1]]);
    fs::write(user.path("base.json"), base.to_string()).expect("can be written");
    scan(&user, "clamav", &on_base).failed(&["does not stand on the base"]);
}

/// A policy may except what a base has at a path.
#[test]
fn a_further_name_of_a_file_of_the_base_is_the_images_own() {
    let user = new_user();
    let below = || Layer::new().file("app/a", "a").hard_link("app/b", "app/a");
    let above = Layer::new()
        .hard_link("app/b", "app/a")
        .hard_link("app/c", "app/a");
    write_signatures(&user, "daily.cvd", "10 Nov 2026", &SIGNATURES);
    let lines = ["a", "b", "c"].map(|name| format!("%s/app/{name}: Evil FOUND\\n"));
    let scanned = |layers: &[Layer], more: &[&str]| {
        let _ = fs::remove_dir_all(user.path("layout"));
        image(&user, layers);
        let found = log(&lines.concat(), 3, 3);
        let directory = "\"$OCI_LAYOUT\" ".repeat(3);
        let found = found.replacen("\"$OCI_LAYOUT\" ", &directory, 1);
        write_scanner(&user, "ClamAV 1.4.6", &format!("{found}; exit 1"));
        scan(&user, "clamav", &[&["--database=daily.cvd"], more].concat()).succeeded();
    };
    scanned(&[below()], &[]);
    fs::rename(user.path("i.json"), user.path("base.json")).expect("can be renamed");
    scanned(&[below(), above], &["--base=base.json"]);
    let findings = read(&user, "f.json");
    let findings = findings["findings"].as_array().expect("a list").iter();
    let rows = findings.map(|found| json!([found["origin"], found["package"]["path"]]));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            json!(["local", "/app/c"]),
            json!(["base", "/app/a"]),
            json!(["base", "/app/b"]),
        ]
    );
}

#[test]
fn clamav_is_not_believed_where_it_cannot_be_right() {
    let user = new_user();
    image(&user, &[Layer::new().file("a", "a").file("b", "b")]);
    write_signatures(&user, "daily.cvd", "10 Nov 2026", &SIGNATURES);
    write_signatures(&user, "empty.cvd", "10 Nov 2026", &SIGNATURES[..2]);
    write_signatures(&user, "to-come.cvd", "10 Nov 2999", &SIGNATURES);
    let found = "%s/a: Evil FOUND\\n";
    let with = |script: String, database: &str| {
        write_scanner(&user, "ClamAV 1.4.6", &script);
        scan(&user, "clamav", &["--database", database])
    };
    let codes_with = |script: String, database: &str| -> Vec<String> {
        with(script, database).succeeded();
        let findings = read(&user, "f.json");
        codes(&findings).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(codes_with(log("%.0s", 2, 0), "daily.cvd"), [""; 0]);
    assert_eq!(codes_with(log("%.0s", 1, 0), "daily.cvd"), ["files-unseen"]);
    // One that would read no signature ends with an error, so it is not asked.
    let empty = codes_with("exit 2".to_owned(), "empty.cvd");
    assert_eq!(empty, ["empty-database"]);
    for (script, database, messages) in [
        (
            log(found, 2, 1),
            "daily.cvd",
            &["ended with 0, but it wrote that it found 1"][..],
        ),
        (
            log("%.0s", 2, 0) + "; exit 1",
            "daily.cvd",
            &["ended with 1, but it wrote that it found 0"],
        ),
        (
            log(found, 2, 2) + "; exit 1",
            "daily.cvd",
            &["lists 1 infected files, and counts 2"],
        ),
        (
            ": >\"$OCI_SCAN_REPORT\"".to_owned(),
            "daily.cvd",
            &["does not say"],
        ),
        (
            "exit 2".to_owned(),
            "daily.cvd",
            &["ended with exit status: 2, not with 0 or 1 as expected"],
        ),
        (
            log("%.0s", 2, 0),
            "to-come.cvd",
            &["2999-11-10, which is not yet"],
        ),
    ] {
        with(script, database).failed(messages);
    }
    // An image without files.
    let _ = fs::remove_dir_all(user.path("layout"));
    image(&user, &[]);
    assert_eq!(codes_with(log("%.0s", 0, 0), "daily.cvd"), ["no-files"]);
}

/// Writes a file of OSV's, for an ecosystem, with a record about each of these.
fn write_records(user: &User, directory: &str, ecosystems: &[&str], day: &str) {
    let records = ecosystems.iter().map(|ecosystem| record(&[ecosystem], day));
    write_zip(user, directory, &records.collect::<Vec<_>>());
}

/// A record about a package of each of these ecosystems.
fn record(ecosystems: &[&str], day: &str) -> Value {
    let affected = ecosystems
        .iter()
        .map(|ecosystem| json!({"package": {"ecosystem": ecosystem, "name": "a"}}));
    json!({
        "id": "X", "modified": format!("{day}T00:00:00Z"), "affected": affected.collect::<Vec<_>>(),
    })
}

fn write_zip(user: &User, directory: &str, records: &[Value]) {
    use std::io::Write as _;
    let file = user.path(directory).join("all.zip");
    fs::create_dir_all(user.path(directory)).expect("can be made");
    let mut writer = zip::ZipWriter::new(fs::File::create(file).expect("can be made"));
    for (number, record) in records.iter().enumerate() {
        let name = format!("X-{number}.json");
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(name, options).expect("a record");
        let bytes = record.to_string();
        writer.write_all(bytes.as_bytes()).expect("a record");
    }
    writer.finish().expect("a zip file");
}

/// What osv-scanner writes of an image with openssl, of Debian's `libssl3`, and Jinja2.
fn report(ecosystem: &str, layer: &str) -> Value {
    json!({
        "results": [
            {
                "source": {"path": "usr/lib/python3/site-packages/Jinja2-2.11.2.dist-info/METADATA", "type": "artifact"},
                "packages": [{
                    "package": {"name": "jinja2", "version": "2.11.2", "ecosystem": "PyPI", "image_origin_details": {"index": 0}},
                    "vulnerabilities": [{
                        "id": "GHSA-1", "aliases": ["CVE-1"], "summary": "made up",
                        "affected": [{"package": {"name": "Jinja2", "ecosystem": "PyPI"}, "ranges": [
                            {"type": "GIT", "events": [{"introduced": "0"}, {"fixed": "0123"}]},
                            {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.11.3"}]},
                        ]}],
                    }],
                    "groups": [{"ids": ["GHSA-1"], "aliases": ["CVE-1", "GHSA-1"], "max_severity": "9.8"}],
                }],
            },
            {
                "source": {"path": "var/lib/dpkg/status", "type": "os"},
                "packages": [{
                    "package": {"name": "openssl", "os_package_name": "libssl3", "version": "3.0.9-1", "ecosystem": ecosystem},
                    "vulnerabilities": [
                        {"id": "DEBIAN-CVE-2", "upstream": ["CVE-2"]},
                        {"id": "DSA-3", "upstream": ["CVE-3", "CVE-4"]},
                    ],
                    "groups": [
                        {"ids": ["DEBIAN-CVE-2"], "max_severity": "", "experimental_analysis": {"DEBIAN-CVE-2": {"called": true, "unimportant": true}}},
                        {"ids": ["DSA-3"], "max_severity": ""},
                    ],
                }],
            },
        ],
        "image_metadata": {"layer_metadata": [{"diff_id": layer}]},
    })
}

#[test]
fn what_osv_scanner_says_is_read_as_what_it_knows() {
    let user = new_user();
    let layer = Layer::new()
        .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
        .file(
            "var/lib/dpkg/status",
            &dpkg_status(&[("libssl3", "3.0.9-1")]),
        )
        .file(
            "usr/lib/python3/site-packages/Jinja2-2.11.2.dist-info/METADATA",
            "Name: Jinja2\nVersion: 2.11.2\n",
        );
    let diff_id = digest(&layer.0);
    image(&user, &[layer]);
    write_records(
        &user,
        "db/Debian",
        &["Debian:12", "Debian:13"],
        "2026-11-10",
    );
    write_records(&user, "db/PyPI", &["PyPI"], "2026-11-12");
    write_records(&user, "db/npm", &["npm"], "2020-01-01");
    let database = ["Debian", "PyPI", "npm"].map(|name| format!("--database=db/{name}/all.zip"));
    let database = database.each_ref().map(String::as_str);
    // Each ecosystem has a file, and the last argument is the directory of all.
    let script = "for last; do :; done\nfor name in Debian Alpine 'Rocky Linux'; do test -s \"$last/osv-scalibr/$name/all.zip\" || exit 7; done\ncp \"$0.json\" \"$OCI_SCAN_REPORT\"; exit 1";
    write_scanner(&user, "osv-scanner version: 2.6.0", script);
    let write = |report: &Value| {
        fs::write(user.path("scanner.json"), report.to_string()).expect("can be written");
    };
    write(&report("Debian:12", &diff_id));
    scan(&user, "osv-scanner", &database).succeeded();
    let findings = read(&user, "f.json");
    assert_eq!(findings["troubles"], json!([]));
    assert_eq!(findings["scanner"]["version"], "2.6.0");
    // Of the files that matter, the oldest.
    assert_eq!(findings["database"]["built"], "2026-11-10T00:00:00Z");
    let rows: Vec<Value> = findings["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| {
            let package = &found["package"];
            json!([
                found["id"],
                found["aliases"],
                found["severity"],
                found["fixed"],
                package["name"],
                package["purl"],
                package["layer"],
            ])
        })
        .collect();
    let libssl3 = "pkg:deb/debian/libssl3@3.0.9-1";
    assert_eq!(
        rows,
        [
            json!([
                "DEBIAN-CVE-2",
                ["CVE-2"],
                "negligible",
                "",
                "libssl3",
                libssl3,
                ""
            ]),
            json!(["DSA-3", [], "unknown", "", "libssl3", libssl3, ""]),
            json!([
                "GHSA-1",
                ["CVE-1"],
                "critical",
                "2.11.3",
                "jinja2",
                "pkg:pypi/jinja2@2.11.2",
                diff_id
            ]),
        ]
    );

    // It looks up a release as it is said, and any where there is none: then that counts which os-release names.
    for (ecosystem, expected) in [
        ("Debian", &[][..]),
        ("Debian:12.5", &["system-not-covered"]),
        ("Debian:11", &["system-not-covered", "system-mistaken"]),
        ("Ubuntu:22.04", &["system-not-covered", "system-mistaken"]),
    ] {
        write(&report(ecosystem, &diff_id));
        scan(&user, "osv-scanner", &database).succeeded();
        let findings = read(&user, "f.json");
        assert_eq!(codes(&findings), expected, "{ecosystem}");
    }
    // Without a file for an ecosystem.
    write(&report("Debian:12", &diff_id));
    scan(&user, "osv-scanner", &database[..1]).succeeded();
    assert_eq!(codes(&read(&user, "f.json")), ["language-not-covered"]);
    let nothing = json!({"results": []});
    write(&nothing);
    let message = "ended with 1, but it wrote that it found 0";
    scan(&user, "osv-scanner", &database).failed(&[message]);
    fs::write(user.path("db/PyPI/all.zip"), "cut").expect("can be written");
    write(&report("Debian:12", &diff_id));
    scan(&user, "osv-scanner", &database).failed(&["the scanner's database cannot be read"]);
}

/// osv-scanner does not tell of what architecture a package is.
#[test]
fn a_package_of_another_architecture_than_the_bases_is_the_images_own() {
    let user = new_user();
    write_records(&user, "db/Debian", &["Debian:12"], "2026-11-10");
    let script = "cp \"$0.json\" \"$OCI_SCAN_REPORT\"; exit 1";
    write_scanner(&user, "osv-scanner version: 2.6.0", script);
    let status = dpkg_status(&[("libssl3", "3.0.9-1")]);
    let base = || {
        Layer::new()
            .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
            .file("var/lib/dpkg/status", &status)
    };
    // How often it lists what is there twice, is its own.
    let scanned = |layers: &[Layer], times: usize, more: &[&str]| {
        let _ = fs::remove_dir_all(user.path("layout"));
        image(&user, layers);
        let mut report = report("Debian:12", &digest(&layers[0].0));
        let package = report["results"][1]["packages"][0].clone();
        report["results"][1]["packages"] = vec![package; times].into();
        report["results"] = json!([report["results"][1]]);
        fs::write(user.path("scanner.json"), report.to_string()).expect("can be written");
        let database = ["--database=db/Debian/all.zip"];
        scan(&user, "osv-scanner", &[&database, more].concat()).succeeded();
        let findings = read(&user, "f.json");
        let findings = findings["findings"].as_array().expect("a list").iter();
        let origins = findings.filter(|found| found["id"] == "DSA-3");
        origins
            .map(|found| found["origin"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(scanned(&[base()], 1, &[]), ["local"]);
    fs::rename(user.path("i.json"), user.path("base.json")).expect("can be renamed");
    let on_base = ["--base=base.json"];
    let above = |added: &str| Layer::new().file("var/lib/dpkg/status", &format!("{status}{added}"));
    let other = status.replace("amd64", "i386");
    let another = dpkg_status(&[("other", "1")]);
    assert_eq!(scanned(&[base(), above(&another)], 1, &on_base), ["base"]);
    assert_eq!(scanned(&[base(), above(&other)], 1, &on_base), ["local"]);
    assert_eq!(
        scanned(&[base(), above(&other)], 2, &on_base),
        ["local", "base"]
    );
}

/// An image with a wheel and a package of npm's, and osv-scanner, which says that it saw both.
fn with_wheel_and_module(user: &User) {
    let path = "lib/python3/site-packages/a-1.dist-info/METADATA";
    let module = "app/node_modules/a/node_modules/b/package.json";
    let layer = Layer::new()
        .file(path, "Name: a\nVersion: 1\n")
        .file(module, "{\"name\": \"b\", \"version\": \"2\"}");
    image(user, &[layer]);
    let of = |path: &str, name: &str, version: &str, ecosystem: &str| {
        json!({
            "source": {"path": path, "type": "artifact"},
            "packages": [{"package": {"name": name, "version": version, "ecosystem": ecosystem}}],
        })
    };
    let list = "app/node_modules/.package-lock.json";
    let report = json!({"results": [of(path, "a", "1", "PyPI"), of(list, "b", "2", "npm")]});
    fs::write(user.path("scanner.json"), report.to_string()).expect("can be written");
    let script = "cp \"$0.json\" \"$OCI_SCAN_REPORT\"; exit 0";
    write_scanner(user, "osv-scanner version: 2.6.0", script);
}

/// It looks in the directory of an ecosystem alone.
#[test]
fn a_file_of_osv_is_about_its_directorys_ecosystem_alone() {
    let user = new_user();
    with_wheel_and_module(&user);
    let day = "2026-11-10";
    write_zip(&user, "both/PyPI", &[record(&["PyPI", "npm"], day)]);
    write_zip(&user, "both/npm", &[record(&["npm", "PyPI"], day)]);
    let by = |files: &[&str]| {
        let files = files
            .iter()
            .map(|file| format!("--database={file}/all.zip"));
        let files: Vec<String> = files.collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        scan(&user, "osv-scanner", &files)
    };
    by(&["both/PyPI"]).succeeded();
    assert_eq!(codes(&read(&user, "f.json")), ["language-not-covered"]);
    // What npm's list has, wherever it lies below that, was seen.
    by(&["both/PyPI", "both/npm"]).succeeded();
    assert_eq!(codes(&read(&user, "f.json")), [""; 0]);
    write_records(&user, "lower/pypi", &["PyPI"], day);
    by(&["lower/pypi"]).failed(&["lower/pypi/all.zip", "\"PyPI\"", "must be called so"]);
}

/// Whatever else a record has, osv-scanner drops it, and says nothing.
#[test]
fn records_that_osv_scanner_drops_are_told() {
    let user = new_user();
    with_wheel_and_module(&user);
    let day = "2026-11-10";
    write_records(&user, "db/npm", &["npm"], day);
    let with = |key: &str, value: Value| {
        let mut record = record(&["PyPI"], day);
        record[key] = value;
        let good = self::record(&["PyPI"], day);
        write_zip(&user, "db/PyPI", &[good, record.clone(), record]);
        let files = ["--database=db/PyPI/all.zip", "--database=db/npm/all.zip"];
        scan(&user, "osv-scanner", &files).succeeded();
        read(&user, "f.json")["troubles"].clone()
    };
    for (key, value) in [
        (
            "severity",
            json!([{"type": "CVSS_V4", "score": "x", "source": "NVD"}]),
        ),
        (
            "references",
            json!([{"type": "WEB", "url": "https://example.com"}]),
        ),
        (
            "credits",
            json!([{"name": "x", "type": "FINDER", "contact": ["x"]}]),
        ),
        ("published", json!("2026-01-01T00:00:00.123456789Z")),
        ("database_specific", json!({"any": [1, {"thing": null}]})),
        ("aliases", json!(null)),
    ] {
        assert_eq!(with(key, value), json!([]), "{key}");
    }
    for (key, value) in [
        ("new", json!(1)),
        ("severity", json!("HIGH")),
        ("severity", json!([{"type": "CVSS_V5"}])),
        ("references", json!([{"type": "NEW"}])),
        ("references", json!([{"new": "x"}])),
        ("published", json!(5)),
        ("aliases", json!("CVE-1")),
        ("summary", json!(1)),
        ("database_specific", json!([])),
        (
            "affected",
            json!([{"package": {"ecosystem": "PyPI", "name": "a"}, "versions": [1]}]),
        ),
        (
            "affected",
            json!([{"package": {"ecosystem": "PyPI", "name": "a"}, "ranges": [{"events": [{"new": "1"}]}]}]),
        ),
    ] {
        let told = with(key, value);
        assert_eq!(told[0]["code"], "advisories-dropped", "{key}: {told}");
        assert_eq!(told[0]["advisory"], "X-1.json", "{key}: {told}");
        assert_eq!(told[0]["more"], 1, "{key}: {told}");
    }
}

/// Adding what an old database is about makes no exception last longer.
#[test]
fn an_exception_runs_out_by_the_newest_file_of_osv() {
    let user = new_user();
    with_wheel_and_module(&user);
    write_records(&user, "db/npm", &["npm"], "2026-03-01");
    write_records(&user, "db/PyPI", &["PyPI"], "2026-11-10");
    let files = ["--database=db/PyPI/all.zip", "--database=db/npm/all.zip"];
    scan(&user, "osv-scanner", &files).succeeded();
    let database = read(&user, "f.json")["database"].clone();
    assert_eq!(database["built"], "2026-03-01T00:00:00Z");
    let exceptions = "[[exception]]\nid = \"CVE-1\"\nreason = \"r\"\nuntil = 2026-06-01\n";
    fs::write(user.path("e.toml"), exceptions).expect("can be written");
    let arguments = "findings verdict --findings f.json --exceptions e.toml --output v.json";
    user.run(&arguments.split(' ').collect::<Vec<_>>())
        .succeeded();
    let problem = read(&user, "v.json")["faults"][0]["problem"].clone();
    assert_eq!(
        problem,
        "it ended on 2026-06-01, and the database is of 2026-11-10"
    );
}

/// As its program says, where it is built of a release.
#[test]
fn osv_scanner_is_not_run_to_say_its_version() {
    let user = new_user();
    image(&user, &[Layer::new().file("etc/motd", "x")]);
    write_records(&user, "db/PyPI", &["PyPI"], "2026-11-12");
    let script = "echo '{\"results\": []}' >\"$OCI_SCAN_REPORT\"; exit 0";
    write_scanner(&user, "osv-scanner version: 2.6.0", script);
    let version = || {
        scan(&user, "osv-scanner", &["--database=db/PyPI/all.zip"]).succeeded();
        read(&user, "f.json")["scanner"]["version"].clone()
    };
    assert_eq!(version(), "2.6.0");
    let frame = "-".repeat(16);
    let modules = format!(
        "{frame}path\tgithub.com/google/osv-scanner/v2/cmd/osv-scanner\nmod\tgithub.com/google/osv-scanner/v2\tv2.6.1\n{frame}"
    );
    let length = u8::try_from(modules.len()).expect("a short text");
    let program = [
        &fs::read(user.path("scanner")).expect("there"),
        &b"\xff Go buildinf:\x08\x02"[..],
        &[0; 16],
        b"\x01g",
        &[0x80 | length, length >> 7],
        modules.as_bytes(),
    ];
    fs::write(user.path("scanner"), program.concat()).expect("can be written");
    assert_eq!(version(), "2.6.1");
}
