//! Databases of scanners that are published as files, and the artifacts that they become.

use std::fs;
use std::io::{Cursor, Write as _};

use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{EMPTY, Images, MANIFEST, Registry, User, gzip, manifest_of, pushed};
use serde_json::{Value, json};
use tar::EntryType;
use zip::write::SimpleFileOptions;

use crate::new_user;

const CREATED: &str = "org.opencontainers.image.created";
const TITLE: &str = "org.opencontainers.image.title";

/// Writes a database of grype's of a form, built at a time, with as many rows as take several pages.
fn write_grype(user: &User, name: &str, form: u32, built: &str) -> Vec<u8> {
    let tables = format!(
        "CREATE TABLE db_metadata (build_timestamp datetime, model integer);
        INSERT INTO db_metadata VALUES ('{built}', {form});
        CREATE TABLE blobs (id integer PRIMARY KEY, value text);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO blobs SELECT i, hex(randomblob(64)) FROM n;"
    );
    sqlite(user, name, &tables)
}

fn record(id: &str, ecosystems: &[&str], modified: &str) -> (String, Vec<u8>) {
    let affected: Vec<Value> = ecosystems
        .iter()
        .map(|name| json!({"package": {"ecosystem": name, "name": "openssl"}}))
        .collect();
    let record =
        json!({"schema_version": "1.7.0", "id": id, "modified": modified, "affected": affected});
    (format!("{id}.json"), record.to_string().into_bytes())
}

fn zip(records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in records {
        let options = SimpleFileOptions::default();
        writer.start_file(name.as_str(), options).expect("a record");
        writer.write_all(bytes).expect("a record");
    }
    writer.finish().expect("a zip file").into_inner()
}

/// A database of ClamAV's that was built at a time.
fn cvd(built: &str) -> Vec<u8> {
    let header = format!("ClamAV-VDB:{built}:27456:1:90:0123456789abcdef:sig:tester:1");
    let signatures = "Test.Signature:0:*:6f63692d70756c6c2d616c6c".repeat(100);
    let archive = Layer::new().file("daily.ndb", &signatures).0;
    let archive = [archive, vec![0; 1024]].concat();
    [format!("{header:512}").into_bytes(), gzip(&archive)].concat()
}

fn write(user: &User, name: &str, bytes: &[u8]) {
    let path = user.path(name);
    let directory = path.parent().expect("below the home");
    fs::create_dir_all(directory).expect("can be made");
    fs::write(path, bytes).expect("can be written");
}

/// Pushes a database; returns its manifest and its digest.
fn push(user: &User, registry: &Registry, kind: &str, files: &[&str]) -> (Value, String) {
    let reference = format!("{}/mirror/{kind}-db:current", registry.host());
    let arguments = [&["database", "push", kind, &reference], files].concat();
    let ran = user.run(&arguments).succeeded();
    let repository = format!("{}/mirror/{kind}-db", registry.host());
    let digest = pushed(&ran.stdout, &repository).to_owned();
    assert_eq!(
        registry.digest(&format!("mirror/{kind}-db"), "current"),
        digest
    );
    (registry.manifest(&digest), digest)
}

fn titles(manifest: &Value) -> Vec<&str> {
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers
        .map(|layer| layer["annotations"][TITLE].as_str().expect("a title"))
        .collect()
}

#[test]
fn each_becomes_an_artifact_with_the_date_that_it_says_itself() {
    let registry = Registry::empty();
    let user = new_user();
    let database = write_grype(&user, "vulnerability.db", 6, "2026-11-25 01:02:03+00:00");
    let archive = Layer::new()
        .add(EntryType::Regular, "vulnerability.db", 0o644, "", &database)
        .0;
    let archive = [archive, vec![0; 1024]].concat();
    write(&user, "a.tar.gz", &gzip(&archive));
    let zstd = zstd::encode_all(&archive[..], 3).expect("can be compressed");
    write(&user, "vulnerability-db_v6.1.3_2026.tar.zst", &zstd);
    let both = record("A-2", &["PyPI", "npm"], "2026-11-23T00:00:00Z");
    let one = record("A-1", &["PyPI", "npm", "Debian:12"], "2026-11-24T00:00:00Z");
    write(&user, "osv/PyPI/all.zip", &zip(&[one, both]));
    let debian = record("D-1", &["Debian:12", "Debian:13"], "2026-11-20T00:00:00Z");
    write(&user, "osv/debian.zip", &zip(&[debian]));
    write(&user, "main.cvd", &cvd("16 Sep 2021 08-32 -0400"));
    write(&user, "daily.cvd", &cvd("24 Nov 2026 21-26 -0500"));
    let cases: [(&str, &[&str], &[&str], &str); 5] = [
        (
            "grype",
            &["vulnerability.db"],
            &["vulnerability.db"],
            "2026-11-25T01:02:03Z",
        ),
        (
            "grype",
            &["a.tar.gz"],
            &["grype-db.tar.gz"],
            "2026-11-25T01:02:03Z",
        ),
        (
            "grype",
            &["vulnerability-db_v6.1.3_2026.tar.zst"],
            &["grype-db.tar.zst"],
            "2026-11-25T01:02:03Z",
        ),
        (
            "osv",
            &["osv/PyPI/all.zip", "osv/debian.zip"],
            &["osv-scalibr/Debian/all.zip", "osv-scalibr/PyPI/all.zip"],
            "2026-11-20T00:00:00Z",
        ),
        (
            "clamav",
            &["main.cvd", "daily.cvd"],
            &["daily.cvd", "main.cvd"],
            "2026-11-25T02:26:00Z",
        ),
    ];
    for (kind, files, expected, built) in cases {
        let (manifest, digest) = push(&user, &registry, kind, files);
        assert_eq!(titles(&manifest), expected, "{kind}");
        assert_eq!(manifest["annotations"][CREATED], built, "{kind}");
        let artifact_type = manifest["artifactType"].as_str().expect("a type");
        assert!(artifact_type.contains(kind), "{artifact_type}");
        // The same files are the same artifact.
        assert_eq!(push(&user, &registry, kind, files).1, digest, "{kind}");

        // Another user pulls it, and carries it to where there is no registry.
        let reference = format!("{}/mirror/{kind}-db@{digest}", registry.host());
        let other = new_user();
        let pull = ["pull", &reference, "--output=out", "--files=out/files"];
        other.run(&pull).succeeded();
        for title in expected {
            assert!(other.path("out/files").join(title).is_file(), "{title}");
        }
        if expected == ["grype-db.tar.zst"] {
            let unpacked = other.path("out/files/grype-db/vulnerability.db");
            assert!(fs::read(unpacked).expect("is unpacked") == database);
        }
        let export = ["store", "export", "--output", "store.tar", &reference];
        other.run(&export).succeeded();
    }
}

/// Checks that files are no database, each with its messages, and that no registry hears of them.
fn refused(user: &User, kind: &str, cases: &[(&[&str], &[&str])]) {
    let registry = Registry::empty();
    let reference = format!("{}/mirror/db:1", registry.host());
    for (files, expected) in cases {
        let push = ["database", "push", kind, &reference];
        user.run(&[&push, *files].concat()).failed(expected);
    }
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn what_is_no_database_of_grype_is_told_before_a_byte_is_sent() {
    let user = new_user();
    let whole = write_grype(&user, "whole.db", 6, "2026-11-25 01:02:03+00:00");
    write(&user, "cut.db", &whole[..whole.len() - 8192]);
    let mut damaged = whole.clone();
    let middle = whole.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 4096].fill(0);
    write(&user, "damaged.db", &damaged);
    write_grype(&user, "undated.db", 6, "");
    write_grype(&user, "of-the-epoch.db", 6, "1970-01-01 00:00:00+00:00");
    write_grype(&user, "to-come.db", 6, "2999-01-01 00:00:00+00:00");
    write_grype(&user, "older.db", 5, "2026-11-25 01:02:03+00:00");
    let other = rusqlite::Connection::open(user.path("other.db")).expect("a new file");
    other.execute_batch("CREATE TABLE t (i)").expect("a table");
    other.close().expect("it is written");
    write(&user, "empty.db", b"");
    write(&user, "text.db", b"no database");
    let archive = Layer::new().add(EntryType::Regular, "vulnerability.db", 0o644, "", &whole);
    let archive = gzip(&archive.0);
    write(&user, "cut.tar.gz", &archive[..archive.len() / 2]);
    write(&user, "without.tar", &Layer::new().file("a", "b").0);
    let neither = "neither a database of grype's nor an archive";
    refused(
        &user,
        "grype",
        &[
            (
                &["cut.db"],
                &["cut.db is no database of grype's", "malformed"],
            ),
            (&["damaged.db"], &["damaged.db is damaged, or not whole"]),
            (
                &["undated.db"],
                &["undated.db does not say when it was built"],
            ),
            (&["of-the-epoch.db"], &["does not say when it was built"]),
            (&["to-come.db"], &["2999-01-01, which is not yet"]),
            (
                &["older.db"],
                &["older.db is of the form 5 of grype's databases, and 6 is read"],
            ),
            (&["other.db"], &["other.db is no database of grype's"]),
            (&["empty.db"], &["empty.db"]),
            (&["text.db"], &[neither]),
            (&["cut.tar.gz"], &[neither]),
            (&["without.tar"], &["without.tar has no vulnerability.db"]),
            (&["whole.db", "older.db"], &["one file, and 2 were given"]),
            (&["no-such.db"], &["cannot read", "no-such.db"]),
        ],
    );
    user.run(&["database", "push", "trivy", "example.com/db:1", "whole.db"])
        .failed(&["clamav, grype, osv"]);
}

#[test]
fn what_is_no_database_of_osv_is_told_before_a_byte_is_sent() {
    let user = new_user();
    let known = record("D-1", &["Debian:12"], "2026-11-20T00:00:00Z");
    let packed = zip(&[known]);
    write(&user, "cut.zip", &packed[..packed.len() - 10]);
    let mut damaged = packed.clone();
    damaged[60] ^= 1;
    write(&user, "damaged.zip", &damaged);
    write(&user, "none.zip", &zip(&[]));
    write(&user, "text.zip", b"no zip file");
    let broken = ("X-1.json".to_owned(), b"{\"id\": \"X-1\"}".to_vec());
    write(&user, "broken.zip", &zip(&[broken]));
    let two = record("A-1", &["PyPI", "npm"], "2026-11-24T00:00:00Z");
    write(&user, "two.zip", &zip(&[two]));
    write(&user, "good.zip", &packed);
    let mixed = ["PyPI", "npm"].map(|name| record(name, &[name], "2026-11-24T00:00:00Z"));
    write(&user, "PyPI/all.zip", &zip(&mixed));
    refused(
        &user,
        "osv",
        &[
            (&["cut.zip"], &["cut.zip is no zip file of OSV's"]),
            (&["damaged.zip"], &["damaged.zip"]),
            (&["none.zip"], &["none.zip has no record"]),
            (&["text.zip"], &["text.zip is no zip file of OSV's"]),
            (
                &["broken.zip"],
                &["\"X-1.json\" in", "broken.zip is no record of OSV's"],
            ),
            (
                &["two.zip"],
                &["which ecosystem", "\"PyPI\", \"npm\"", "PyPI/all.zip"],
            ),
            (
                &["PyPI/all.zip"],
                &[
                    "the records of",
                    "PyPI/all.zip have no ecosystem in common: there are \"PyPI\", \"npm\"",
                    "take a file of one",
                ],
            ),
            (
                &["good.zip", "good.zip"],
                &["two of the files are osv-scalibr/Debian/all.zip"],
            ),
        ],
    );
}

#[test]
fn what_is_no_database_of_clamav_is_told_before_a_byte_is_sent() {
    let user = new_user();
    let good = cvd("24 Nov 2026 21-26 -0500");
    write(&user, "cut.cvd", &good[..good.len() - 6]);
    write(&user, "header.cvd", &good[..512]);
    write(&user, "short.cvd", &good[..100]);
    write(&user, "undated.cvd", &cvd("yesterday"));
    write(&user, "daily.ndb", &good);
    write(&user, "text.cvd", &[b'x'; 1000]);
    let header = "it does not begin with ClamAV-VDB";
    refused(
        &user,
        "clamav",
        &[
            (
                &["cut.cvd"],
                &["the signatures in", "cut.cvd cannot be read"],
            ),
            (&["header.cvd"], &["header.cvd"]),
            (&["short.cvd"], &[header]),
            (&["text.cvd"], &[header]),
            (
                &["undated.cvd"],
                &["undated.cvd does not say when it was built"],
            ),
            (&["daily.ndb"], &["*.cvd, *.cld and *.cud"]),
        ],
    );
}

/// What a pusher says of a database is when it was pushed.
#[test]
fn the_age_of_a_database_is_what_it_says_itself() {
    let user = new_user();
    let mut images = Images::default();
    // All of them say by an annotation that they were made on 2026-11-20.
    let old = write_grype(&user, "old.db", 6, "2020-01-02 00:00:00+00:00");
    let archive = Layer::new()
        .add(EntryType::Regular, "vulnerability.db", 0o644, "", &old)
        .0;
    let zipped = zip(&[record("D-1", &["PyPI", "npm"], "2020-01-03T00:00:00Z")]);
    let metadata = br#"{"Version":2,"UpdatedAt":"2020-01-04T00:00:00Z"}"#.to_vec();
    let databases = [
        ("a", "vulnerability.db", old),
        ("b", "vulnerability-db_v6.tar.gz", gzip(&archive)),
        ("c", "osv-scalibr/PyPI/all.zip", zipped),
        ("d", "db/metadata.json", metadata),
        ("e", "daily.cvd", cvd("05 Jan 2020 00-00 +0000")),
        ("f", "policy.rego", b"package main".to_vec()),
    ];
    let mut pins = Vec::new();
    for (repository, title, bytes) in databases {
        let digest = images.add_artifact(repository, "a/b", &[(Some(title), "a/c", bytes)]);
        images.tag(repository, "1", &digest);
        pins.push((repository, "1", digest));
    }
    let registry = Registry::with(images);
    write(&user, "main.cvd", &cvd("16 Sep 2019 08-32 -0400"));
    write(&user, "daily.cvd", &cvd("24 Nov 2026 21-26 -0500"));
    let (_, digest) = push(&user, &registry, "clamav", &["main.cvd", "daily.cvd"]);
    pins.push(("mirror/clamav-db", "current", digest));
    let pins: Vec<Value> = pins
        .iter()
        .map(|(repository, tag, digest)| {
            json!({
                "name": repository.replace('/', "_"), "image": format!("{}/{repository}", registry.host()),
                "tag": tag, "digest": digest, "platforms": [], "plain_http": false, "docker_config": "",
            })
        })
        .collect();
    write(&user, "MODULE.bazel", b"");
    write(&user, "pins.json", json!(pins).to_string().as_bytes());
    let ran = user.run(&["pin", "--pins", "pins.json", "--check", "--max-age", "99w"]);
    for day in [
        "2020-01-02",
        "2020-01-03",
        "2020-01-04",
        "2020-01-05",
        "2026-11-20",
        "2026-11-25",
    ] {
        assert!(
            ran.stdout.contains(&format!("created {day}")),
            "{day}: {}",
            ran.stdout
        );
    }
    ran.failed(&["error: too old: a b c d e\n"]);
}

/// A file of SQLite with these tables.
fn sqlite(user: &User, name: &str, tables: &str) -> Vec<u8> {
    let path = user.path(name);
    let database = rusqlite::Connection::open(&path).expect("a new file");
    database.execute_batch(tables).expect("tables");
    database.close().expect("it is written");
    fs::read(path).expect("it is there")
}

/// What has the names of databases, and is none.
fn called_so_by_others(user: &User) -> [(&'static str, &'static str, Vec<u8>); 7] {
    let text = ("b.txt".to_owned(), b"text".to_vec());
    let archive = Layer::new().file("db/metadata.json", "{");
    let tables = sqlite(user, "tables", "CREATE TABLE words (word text)");
    [
        ("other-all", "all.zip", zip(&[text])),
        ("other-no-zip", "all.zip", b"PK".to_vec()),
        ("other-empty", "all.zip", zip(&[])),
        ("other-daily", "daily.cvd", b"every day".to_vec()),
        ("other-trivys", "trivy.db", b"x".to_vec()),
        (
            "other-in-archive",
            "db.tar",
            archive.file("db/trivy.db", "").0,
        ),
        ("other-tables", "vulnerability.db", tables),
    ]
}

#[test]
fn the_age_of_a_database_that_does_not_tell_it_is_not_when_it_was_pushed() {
    const TRIVYS: &str = "application/vnd.aquasec.trivy.config.v1+json";
    const NEW: &str = r#"{"UpdatedAt":"2026-11-20T00:00:00Z"}"#;
    const OLD: &str = r#"{"UpdatedAt":"2020-01-02T00:00:00Z"}"#;
    let mut images = Images::default();
    let archive = |metadata: &str| Layer::new().file("db/metadata.json", metadata);
    let twice = archive(NEW).file("db/metadata.json", OLD);
    let (once, link) = (archive(OLD), Layer::new().symlink("metadata.json", "f"));
    let packed = gzip(&archive(NEW).file("f", &"x".repeat(3000)).0);
    // Of Trivy's type, and of any.
    let unreadable = [
        ("number", "metadata.json", br#"{"UpdatedAt":15}"#.to_vec()),
        ("list", "metadata.json", b"[1]".to_vec()),
        ("words", "db.tar", archive(r#"{"built":"with love"}"#).0),
        ("broken", "db.tar", archive("{{ toJson .Values }}").0),
        ("large", "db.tar", archive(&" ".repeat(1 << 21)).0),
        (
            "dup",
            "db.tar",
            archive(r#"{"UpdatedAt":"2026-11-20T00:00:00Z","UpdatedAt":"2020-01-02T00:00:00Z"}"#).0,
        ),
        ("cut", "db.tar.gz", packed[..packed.len() - 20].to_vec()),
        ("text", "model.tar.gz", b"no gzip".to_vec()),
        ("link", "db.tar", link.0),
    ];
    let undated = [
        ("missing", "db.tar", archive("{}").0),
        ("null", "db.tar", archive(r#"{"UpdatedAt":null}"#).0),
        ("nothing", "db.tar", Layer::new().0),
    ];
    let user = new_user();
    let grypes = sqlite(&user, "grypes", "CREATE TABLE db_metadata (model integer)");
    let record = record("P-1", &["PyPI"], "2020-01-03T00:00:00Z");
    let text = ("b.txt".to_owned(), b"text".to_vec());
    let cases = [
        ("sql", "vulnerability.db", grypes),
        ("osv", "osv-scalibr/PyPI/all.zip", zip(&[record, text])),
        ("clam", "daily.cvd", b"ClamAV-VDB:some day".to_vec()),
        (
            "zero",
            "db.tar",
            archive(r#"{"UpdatedAt":"0001-01-01T00:00:00Z"}"#).0,
        ),
        ("twice", "db.tar", twice.0),
        ("capitals", "db.TAR", once.0.clone()),
        ("zip", "other.zip", b"PK".to_vec()),
        ("other-sql", "vulnerability.db", b"some text".to_vec()),
        (
            "other-archived",
            "db.tar",
            Layer::new().file("vulnerability.db", "some text").0,
        ),
    ];
    let mut pins: Vec<(String, String)> = Vec::new();
    let of_trivy = unreadable.iter().chain(&undated);
    let of_others = of_trivy.clone().map(|case| ("other-", "a/b", case));
    let of_trivy = of_trivy.map(|case| ("", TRIVYS, case));
    let others = called_so_by_others(&user);
    let cases = cases.iter().chain(&others).map(|case| ("", "a/b", case));
    for (prefix, kind, (name, title, bytes)) in of_trivy.chain(of_others).chain(cases) {
        let repository = format!("{prefix}{name}");
        let blobs = [(Some(*title), "a/c", bytes.clone())];
        let digest = images.add_artifact(&repository, kind, &blobs);
        pins.push((repository, digest));
    }
    // A directory, as oras sends it.
    let config = images.add_blob("oras", EMPTY, b"{}".to_vec());
    let mut layer = images.add_blob("oras", "a/c", gzip(&once.0));
    layer["annotations"] = json!({
        TITLE: "db", "io.deis.oras.content.unpack": "true",
    });
    let manifest = manifest_of(&config, &[layer]).to_string();
    let manifest = images.add_manifest("oras", MANIFEST, manifest.into_bytes());
    pins.push((
        "oras".to_owned(),
        manifest["digest"].as_str().expect("a text").to_owned(),
    ));
    for (repository, digest) in &pins {
        images.tag(repository, "1", digest);
    }
    let registry = Registry::with(images);
    let pins = pins.iter().map(|(repository, digest)| {
        json!({
            "name": repository, "image": format!("{}/{repository}", registry.host()),
            "tag": "1", "digest": digest, "platforms": [], "plain_http": false, "docker_config": "",
        })
    });
    let pins: Vec<Value> = pins.collect();
    write(&user, "MODULE.bazel", b"");
    write(&user, "pins.json", json!(pins).to_string().as_bytes());
    let check = ["pin", "--pins", "pins.json", "--check", "--max-age", "99w"];
    let ran = user.run(&check);
    let unreadable = unreadable.iter().map(|(name, ..)| *name);
    for name in unreadable.chain(["sql", "osv", "clam"]) {
        let told = format!("cannot pin {name}\n");
        assert!(ran.stderr.contains(&told), "{name}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("other-"), "{}", ran.stderr);
    ran.failed(&[
        "its metadata.json may say",
        "error: too old: twice capitals oras\n",
        "not judged: missing null nothing zero\n",
    ]);
}
