//! Databases of OSV: zip files of a few records that a test makes up (OSV schema 1.7), as osv-scanner reads them offline.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::jar::jar;
use crate::trivy_db::Advisory;

/// Writes the files of a database with these advisories, the newest of which was changed on a day, below a directory: one
/// for each ecosystem, `Debian` and `PyPI` in any case. Returns their paths. Those of languages have the identifier that
/// GitHub would give them, and their own as an alias; those of systems are about it.
///
/// # Panics
/// If they cannot be written.
pub fn osv_db(directory: &Path, advisories: &[Advisory], day: &str) -> Vec<PathBuf> {
    let mut files = BTreeMap::from([("Debian", Vec::new()), ("PyPI", Vec::new())]);
    for advisory in advisories {
        let (ecosystem, record) = record(advisory, day);
        let id = record["id"].as_str().expect("an identifier");
        let file = (format!("{id}.json"), record.to_string());
        files.entry(ecosystem).or_default().push(file);
    }
    let write = |(ecosystem, records): (&str, Vec<(String, String)>)| {
        let file = directory.join(ecosystem).join("all.zip");
        let parent = file.parent().expect("a directory");
        fs::create_dir_all(parent).expect("can be made");
        let records = records.iter().map(|(name, text)| (&**name, &**text));
        let records: Vec<_> = records.collect();
        fs::write(&file, jar(&records)).expect("can be written");
        file
    };
    files.into_iter().map(write).collect()
}

/// A record, and the ecosystem in whose file it is.
fn record(advisory: &Advisory, day: &str) -> (&'static str, Value) {
    let Advisory {
        source,
        package,
        id,
        fixed,
        severity,
        title,
    } = advisory;
    let (ecosystem, release) = match source.split_once("::") {
        // As OSV itself writes it.
        _ if source.starts_with(char::is_uppercase) || source.starts_with("openSUSE:") => {
            let end = source.find(':').unwrap_or(source.len());
            (&source[..end], source[end..].to_owned())
        }
        Some(("pip", _)) => ("PyPI", String::new()),
        Some(("npm", _)) => ("npm", String::new()),
        Some(("maven", _)) => ("Maven", String::new()),
        Some(("go", _)) => ("Go", String::new()),
        Some((name, _)) => panic!("{name} is not known here"),
        None => match source.split_once(' ') {
            Some(("debian", release)) => ("Debian", format!(":{release}")),
            Some(("alpine", release)) => ("Alpine", format!(":v{release}")),
            _ => panic!("{source} is not known here"),
        },
    };
    let mut events = vec![json!({"introduced": "0"})];
    if !fixed.is_empty() {
        events.push(json!({"fixed": fixed}));
    }
    let ranges = json!([{"type": "ECOSYSTEM", "events": events}]);
    let affected = json!([{
        "package": {"ecosystem": format!("{ecosystem}{release}"), "name": package},
        "ranges": ranges,
    }]);
    let time = format!("{day}T06:00:00Z");
    let mut record = json!({
        "schema_version": "1.7.0",
        "modified": time,
        "published": time,
        "summary": title,
        "affected": affected,
    });
    let (prefix, other) = match ecosystem {
        "Debian" => ("DEBIAN-", "upstream"),
        "Alpine" => ("ALPINE-", "upstream"),
        _ => ("GHSA-", "aliases"),
    };
    record["id"] = format!("{prefix}{id}").into();
    record[other] = json!([id]);
    let vector = match *severity {
        "CRITICAL" => "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "HIGH" => "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
        "MEDIUM" => "AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N",
        "LOW" => "AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N",
        _ => return (ecosystem, record),
    };
    record["severity"] = json!([{"type": "CVSS_V3", "score": format!("CVSS:3.1/{vector}")}]);
    (ecosystem, record)
}
