//! Databases of Trivy: bbolt files of a few advisories that a test makes up (Trivy's schema 2), and of Java archives (its
//! schema 1).

use std::path::Path;

use oci_pull_all_support::Images;
use oci_pull_all_support::rootfs::Layer;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tar::EntryType;

const PAGE: usize = 4096;
const LEAF: u16 = 2;
const BUCKET: u32 = 1;

/// An advisory that a test makes up.
#[derive(Clone, Copy, Debug)]
pub struct Advisory {
    /// Whose it is, such as `debian 12`.
    pub source: &'static str,
    /// The package.
    pub package: &'static str,
    /// Its identifier.
    pub id: &'static str,
    /// The version from which on a package is well; empty if there is none.
    pub fixed: &'static str,
    /// `LOW`, `MEDIUM`, `HIGH`, `CRITICAL` or `UNKNOWN`.
    pub severity: &'static str,
    /// What it is about.
    pub title: &'static str,
}

/// The bytes of a `trivy.db` with these advisories.
pub fn trivy_db(advisories: &[Advisory]) -> Vec<u8> {
    write(&buckets(advisories))
}

/// The same, and another one of Red Hat's about what is from a repository.
pub fn trivy_db_of_red_hat(
    advisories: &[Advisory],
    [package, id, repository]: [&str; 3],
) -> Vec<u8> {
    let mut root = buckets(advisories);
    let entries = json!({"Entries": [{"Cves": [{"Severity": 3}], "Affected": [1]}]});
    root["Red Hat"][package][id] = entries.to_string().into();
    root["Red Hat CPE"]["repository"][repository] = "[1]".into();
    let origin = json!({"ID": "redhat", "Name": "Red Hat", "URL": "https://example.com"});
    root["data-source"]["Red Hat"] = origin.to_string().into();
    write(&root)
}

fn buckets(advisories: &[Advisory]) -> Value {
    let mut root = json!({});
    for advisory in advisories {
        let Advisory {
            source,
            package,
            id,
            fixed,
            severity,
            title,
        } = advisory;
        let details = match (source.contains("::"), fixed.is_empty()) {
            (_, true) => json!({}),
            (true, false) => json!({
                "VulnerableVersions": [format!("<{fixed}")],
                "PatchedVersions": [fixed],
            }),
            (false, false) => json!({"FixedVersion": fixed}),
        };
        root[source][package][id] = details.to_string().into();
        let vendor = match *severity {
            "LOW" => 1,
            "MEDIUM" => 2,
            "HIGH" => 3,
            "CRITICAL" => 4,
            _ => 0,
        };
        let vulnerability = json!({
            "Title": title,
            "Severity": severity,
            "VendorSeverity": {"nvd": vendor},
        });
        root["vulnerability"][id] = vulnerability.to_string().into();
        let origin = json!({"ID": "nvd", "Name": source, "URL": "https://example.com"});
        root["data-source"][source] = origin.to_string().into();
    }
    root
}

/// A Java archive that a database knows.
#[derive(Clone, Debug)]
pub struct JavaArchive<'a> {
    /// Its group, name and version.
    pub name: [&'a str; 3],
    /// The SHA-1 digest of the file.
    pub sha1: Vec<u8>,
}

/// Writes a `trivy-java.db` with these archives.
///
/// # Panics
/// If it cannot be written.
pub fn trivy_java_db(file: &Path, archives: &[JavaArchive<'_>]) {
    let database = Connection::open(file).expect("a new file");
    let tables = "
        CREATE TABLE artifacts (id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT);
        CREATE TABLE indices (artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT,
            FOREIGN KEY (artifact_id) REFERENCES artifacts (id));
        CREATE UNIQUE INDEX artifacts_idx ON artifacts (artifact_id, group_id);
        CREATE INDEX indices_artifact_idx ON indices (artifact_id);
        CREATE UNIQUE INDEX indices_sha1_idx ON indices (sha1);";
    database.execute_batch(tables).expect("tables");
    for JavaArchive { name, sha1 } in archives {
        let [group, artifact, version] = name;
        let run = |query: &str, values: &[&dyn rusqlite::ToSql]| {
            database.execute(query, values).expect("a row");
        };
        run(
            "INSERT OR IGNORE INTO artifacts (group_id, artifact_id) VALUES (?, ?)",
            params![group, artifact],
        );
        run(
            "INSERT INTO indices SELECT id, ?, ?, 'jar' FROM artifacts WHERE group_id = ? AND artifact_id = ?",
            params![version, sha1, group, artifact],
        );
    }
}

/// Adds the artifact of such a database, the bytes of which are `database`, built on a day; returns its digest.
pub fn add_trivy_java_db(images: &mut Images, database: &[u8], day: &str) -> String {
    let archive = Layer::new()
        .add(
            EntryType::Regular,
            "metadata.json",
            0o600,
            "",
            &metadata_of(1, day),
        )
        .add(EntryType::Regular, "trivy-java.db", 0o600, "", database);
    images.add_artifact(
        "aquasecurity/trivy-java-db",
        "application/vnd.aquasec.trivy.config.v1+json",
        &[(
            Some("javadb.tar.gz"),
            "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip",
            archive.0,
        )],
    )
}

/// Adds the artifact of a database with these advisories, built on a day, as Trivy's are published; returns its digest.
pub fn add_trivy_db(images: &mut Images, advisories: &[Advisory], day: &str) -> String {
    let file = |layer: Layer, name: &str, data: &[u8]| {
        layer.add(EntryType::Regular, name, 0o600, "", data)
    };
    let archive = file(Layer::new(), "metadata.json", &metadata(day));
    let archive = file(archive, "trivy.db", &trivy_db(advisories));
    images.add_artifact(
        "aquasecurity/trivy-db",
        "application/vnd.aquasec.trivy.config.v1+json",
        &[(
            Some("db.tar.gz"),
            "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip",
            archive.0,
        )],
    )
}

/// The bytes of a `metadata.json` for a database that was built on a day, such as `2026-11-10`.
pub fn metadata(day: &str) -> Vec<u8> {
    metadata_of(2, day)
}

/// The same of a database of this form.
pub fn metadata_of(schema: u32, day: &str) -> Vec<u8> {
    let time = format!("{day}T06:00:00Z");
    let metadata = json!({
        "Version": schema,
        "UpdatedAt": time,
        "NextUpdate": time,
        "DownloadedAt": time,
    });
    metadata.to_string().into_bytes()
}

/// A bbolt file of nested buckets, which are objects; a string is a value.
fn write(root: &Value) -> Vec<u8> {
    let mut pages = Vec::new();
    let root = bucket(root, &mut pages);
    let end = 3 + pages.len() as u64 / PAGE as u64;
    let mut file = Vec::new();
    for transaction in [0, 1] {
        file.extend(meta(transaction, root, end));
    }
    file.extend(page(2, 16, 0, &[]));
    file.extend(pages);
    // Readers map more of it than is used.
    file.resize(file.len().max(16 * PAGE), 0);
    file
}

/// Adds the pages of a bucket, the inner ones first; returns its number.
fn bucket(content: &Value, pages: &mut Vec<u8>) -> u64 {
    let object = content.as_object().expect("a bucket is an object");
    let mut items: Vec<(&[u8], Vec<u8>, u32)> = Vec::new();
    for (key, value) in object {
        let (bytes, flags) = if let Some(text) = value.as_str() {
            (text.as_bytes().to_vec(), 0)
        } else {
            let number = bucket(value, pages);
            (numbers(&[number, 0]), BUCKET)
        };
        items.push((key.as_bytes(), bytes, flags));
    }
    items.sort();
    let mut elements = Vec::new();
    let mut data = Vec::new();
    for (index, (key, value, flags)) in items.iter().enumerate() {
        let position = 16 * (items.len() - index) + data.len();
        for number in [*flags as usize, position, key.len(), value.len()] {
            elements.extend(u32::try_from(number).expect("a small file").to_le_bytes());
        }
        data.extend_from_slice(key);
        data.extend_from_slice(value);
    }
    elements.extend(data);
    let number = 3 + (pages.len() / PAGE) as u64;
    let count = u16::try_from(items.len()).expect("few items");
    pages.extend(page(number, LEAF, count, &elements));
    number
}

fn page(number: u64, flags: u16, count: u16, content: &[u8]) -> Vec<u8> {
    let length = 16 + content.len();
    let overflow = u32::try_from(length.div_ceil(PAGE) - 1).expect("a small file");
    let mut page = number.to_le_bytes().to_vec();
    page.extend(flags.to_le_bytes());
    page.extend(count.to_le_bytes());
    page.extend(overflow.to_le_bytes());
    page.extend(content);
    page.resize(length.next_multiple_of(PAGE), 0);
    page
}

fn meta(transaction: u64, root: u64, end: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for number in [0xED0C_DAED, 2, u32::try_from(PAGE).expect("small"), 0] {
        meta.extend(number.to_le_bytes());
    }
    meta.extend(numbers(&[root, 0, 2, end, transaction]));
    // FNV-1a
    let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    meta.extend(sum.to_le_bytes());
    page(transaction, 4, 0, &meta)
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}
