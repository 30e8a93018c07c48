//! Databases of grype: SQLite files of a few advisories that a test makes up (grype's schema 6), as far as an import does
//! not add the rest.

use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::json;

use crate::trivy_db::Advisory;

const TABLES: &str = "
    CREATE TABLE blobs (id integer PRIMARY KEY, value text NOT NULL);
    CREATE TABLE db_metadata (build_timestamp datetime NOT NULL, model integer NOT NULL, revision integer NOT NULL,
        addition integer NOT NULL);
    CREATE TABLE providers (id text PRIMARY KEY, version text, processor text, date_captured datetime, input_digest text);
    CREATE TABLE vulnerability_handles (id integer PRIMARY KEY, name text NOT NULL, status text NOT NULL,
        published_date datetime, modified_date datetime, withdrawn_date datetime, provider_id text NOT NULL, blob_id integer);
    CREATE TABLE operating_systems (id integer PRIMARY KEY, name text, release_id text, major_version text,
        minor_version text, label_version text, codename text, channel text, eol_date datetime, eoas_date datetime);
    CREATE TABLE packages (id integer PRIMARY KEY, ecosystem text, name text);
    CREATE TABLE affected_package_handles (id integer PRIMARY KEY, vulnerability_id integer NOT NULL,
        operating_system_id integer, package_id integer, blob_id integer);
    INSERT INTO providers VALUES ('test', '1', 'test', '2026-01-01 00:00:00+00:00', 'xxh64:0');";

/// Writes a `vulnerability.db` with these advisories, of a system (`debian 12`) or of a language's packages (`pip::…`), that
/// was built on a day, in a form of grype's. Those of languages have the identifier that GitHub would give them, and their
/// own as an alias.
pub fn grype_db(file: &Path, advisories: &[Advisory], day: &str, model: u32) {
    let database = Connection::open(file).expect("a new file");
    database.execute_batch(TABLES).expect("tables");
    let run = |query: &str, values: &[&dyn rusqlite::ToSql]| {
        database.execute(query, values).expect("a row");
        database.last_insert_rowid()
    };
    let built = format!("{day} 06:00:00+00:00");
    run(
        "INSERT INTO db_metadata VALUES (?, ?, 1, 10)",
        params![built, model],
    );
    let blob = |value: serde_json::Value| {
        run(
            "INSERT INTO blobs (value) VALUES (?)",
            params![value.to_string()],
        )
    };
    let system = |source: &str| {
        let (name, release) = source.split_once(' ').expect("a system and its release");
        let (major, minor) = release.split_once('.').unwrap_or((release, ""));
        let known = "SELECT id FROM operating_systems WHERE name = ? AND major_version = ? AND minor_version = ?";
        let known = database.query_row(known, params![name, major, minor], |row| row.get(0));
        known.unwrap_or_else(|_| {
            run(
                "INSERT INTO operating_systems VALUES (NULL, ?1, ?1, ?2, ?3, '', '', '', NULL, NULL)",
                params![name, major, minor],
            )
        })
    };
    for advisory in advisories {
        let source = advisory.source.split_once("::");
        let (ecosystem, scheme) = match source {
            None if advisory.source.starts_with("alpine") => ("apk", "apk"),
            None => ("deb", "dpkg"),
            Some(("pip", _)) => ("python", "python"),
            Some(("go", _)) => ("go-module", "go"),
            Some(("maven", _)) => ("java-archive", "maven"),
            Some((name, _)) => (name, "semver"),
        };
        let system = source.is_none().then(|| system(advisory.source));
        let id = if source.is_some() {
            format!("GHSA-{}", advisory.id)
        } else {
            advisory.id.to_owned()
        };
        let vulnerability = blob(json!({
            "id": id,
            "description": advisory.title,
            "aliases": [advisory.id],
            "refs": [{"url": "https://example.com"}],
            "severities": [{"scheme": "CHMLN", "value": advisory.severity.to_lowercase(), "rank": 1}],
        }));
        let vulnerability = run(
            "INSERT INTO vulnerability_handles (name, status, provider_id, blob_id) VALUES (?, 'active', 'test', ?)",
            params![id, vulnerability],
        );
        let (constraint, fix) = if advisory.fixed.is_empty() {
            (String::new(), json!({"state": "not-fixed"}))
        } else {
            let fix = json!({"version": advisory.fixed, "state": "fixed"});
            (format!("< {}", advisory.fixed), fix)
        };
        let affected = blob(json!({
            "cves": [advisory.id],
            "ranges": [{"version": {"type": scheme, "constraint": constraint}, "fix": fix}],
        }));
        let known = "SELECT id FROM packages WHERE ecosystem = ? AND name = ?";
        let names = params![ecosystem, advisory.package];
        let known = database.query_row(known, names, |row| row.get(0));
        let package: i64 = known.unwrap_or_else(|_| {
            run(
                "INSERT INTO packages (ecosystem, name) VALUES (?, ?)",
                names,
            )
        });
        run(
            "INSERT INTO affected_package_handles VALUES (NULL, ?, ?, ?, ?)",
            params![vulnerability, system, package, affected],
        );
    }
}
