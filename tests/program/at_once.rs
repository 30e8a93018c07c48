//! What scanners find that do all in one step, by scripts that answer as they do.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use oci_pull_all_support::rootfs::{Layer, image};
use oci_pull_all_support::{Ran, User, digest};
use serde_json::{Value, json};

use crate::new_user;

/// Writes a scanner, which runs a script unless it is asked for its version.
fn write_scanner(user: &User, version: &str, script: &str) {
    let asked = format!("if [ \"$1\" = --version ]; then echo '{version}'; exit; fi");
    let scanner = user.path("scanner");
    fs::write(&scanner, format!("#!/bin/sh\n{asked}\n{script}\n")).expect("can be written");
    fs::set_permissions(&scanner, fs::Permissions::from_mode(0o755)).expect("can be set");
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
