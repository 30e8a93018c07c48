//! Links in the documentation lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn pages(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .expect("can be read")
        .map(|entry| entry.expect("can be read").path())
        .flat_map(|path| {
            if path.is_dir() {
                pages(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The anchors of a page, as GitHub makes them of its headings, and those that it names itself.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        });
    let named = page.split("<a id=\"").skip(1);
    let named = named.filter_map(|rest| rest.split('"').next().map(str::to_owned));
    headings.chain(named).collect()
}

/// Renovate 44.121.2 reads `NAME.pull(…)` where NAME begins with `oci`, with plain strings for these. Where there is no
/// tag, it would move the digest to the one of `latest`.
#[test]
fn pulls_are_shown_in_the_form_that_renovate_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = pages(&root.join("docs"));
    all.push(root.join("README.md"));
    let mut pulls = 0;
    for path in all {
        let page = fs::read_to_string(&path).expect("can be read");
        let lines: Vec<&str> = page.lines().collect();
        let begins =
            |line: &&str| line.split('#').next().unwrap_or_default().trim_end() == "oci.pull(";
        for call in lines.split(begins).skip(1) {
            let call = call.iter().take_while(|line| **line != ")");
            let call: Vec<&str> = call.copied().collect();
            pulls += 1;
            for attribute in ["name", "image", "tag", "digest"] {
                let is_plain = |line: &&str| {
                    let code = line.split('#').next().unwrap_or_default();
                    let value = code.trim().strip_prefix(attribute);
                    let value = value.and_then(|value| value.strip_prefix(" = \""));
                    let value = value.and_then(|value| value.strip_suffix("\","));
                    value.is_some_and(|value| !value.contains('"'))
                };
                assert!(
                    call.iter().any(is_plain),
                    "{}: no {attribute} in {call:?}",
                    path.display()
                );
            }
        }
    }
    assert!(pulls > 5, "{pulls}");
}

#[test]
fn links_lead_somewhere() {
    let mut all = pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs"));
    all.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let mut followed = 0;
    for path in all {
        let page = fs::read_to_string(&path).expect("can be read");
        for link in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.with_file_name(file)
            };
            assert!(target.exists(), "{}: no {link}", path.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).expect("can be read");
                assert!(
                    anchors(&text).contains(anchor),
                    "{}: no {link}",
                    path.display()
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "only {followed} links were found");
}

#[test]
fn the_page_on_testing_names_each_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/testing.md")).expect("can be read");
    for (directory, list) in [
        ("tests/program", "main.rs"),
        ("e2e/tests/docs", "mod.rs"),
        ("e2e/tests/interop", "mod.rs"),
        ("e2e/tests/rules", "mod.rs"),
        ("e2e/tests/system", "mod.rs"),
    ] {
        let beginning = format!("| [{directory}]");
        let row = page.lines().find(|line| line.starts_with(&beginning));
        let row = row.unwrap_or_else(|| panic!("no row of {directory}"));
        let modules = fs::read_to_string(root.join(directory).join(list)).expect("can be read");
        let modules = modules.lines().filter_map(|line| line.strip_prefix("mod "));
        for module in modules.map(|name| name.trim_end_matches(';')) {
            assert!(
                row.contains(&format!("`{module}`")) || row.contains(&format!("[`{module}`]")),
                "no {module} in {row}"
            );
        }
    }
}
