//! A verdict for people, and for what reads JUnit's XML. Nothing in it acts on a terminal, a log or a parser, whoever
//! named the packages.

use std::fmt::Write as _;
use std::slice;

use crate::text::{count, named, shown};

use super::findings::{Finding, FindingKind, Origin};
use super::inventory::{FILE, Image, Package};
use super::verdict::{Excepted, ExceptionFault, LookedAt, Outcome, Verdict, said_by};

/// The verdict in lines: first what is against the image.
pub fn text(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    let mut line = |line: String| lines.push(shown(&line));
    for trouble in &verdict.troubles {
        let code = trouble.trouble.code();
        line(format!("cannot be trusted: {trouble} [{code}]"));
    }
    for finding in &verdict.failing {
        line(format!("found: {}", in_line(finding)));
    }
    for fault in &verdict.faults {
        let ExceptionFault { place, id, problem } = fault;
        line(format!("exception: {place}: {id}: {problem}"));
    }
    for excepted in &verdict.excepted {
        let Excepted {
            finding,
            reason,
            place,
            ..
        } = excepted;
        line(format!("excepted: {}: {place}: {reason}", in_line(finding)));
    }
    for finding in &verdict.unfixed {
        line(format!(
            "passes, not fixed by anybody: {}",
            in_line(finding)
        ));
    }
    for trouble in &verdict.allowed {
        let code = trouble.trouble.code();
        line(format!("allowed: {trouble} [{code}]"));
    }
    for fault in &verdict.unused {
        line(format!("unused: {}: {}", fault.place, fault.id));
    }
    for fault in &verdict.gone {
        line(format!("gone: {}: {}", fault.place, fault.id));
    }
    if verdict.of_base > 0 {
        let count = count(verdict.of_base, "finding");
        line(format!("the base has {count}, for its own test"));
    }
    for note in &verdict.notes {
        line(format!("note: {note}"));
    }
    for scan in &verdict.scans {
        let looked_at = looked_at(&verdict.image, scan);
        line(said_by(verdict.name_of(&scan.name), looked_at));
    }
    line(outcome(verdict.outcome(), slice::from_ref(verdict)));
    lines.join("\n") + "\n"
}

/// What follows from verdicts, as the last line.
pub fn outcome(outcome: Outcome, verdicts: &[Verdict]) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed => {
            let failing = verdicts.iter().map(|verdict| verdict.failing.len());
            let faults = verdicts.iter().map(|verdict| verdict.faults.len());
            format!(
                "FAILED: {}, {}",
                count(failing.sum::<usize>(), "finding"),
                count(faults.sum::<usize>(), "faulty exception"),
            )
        }
        Outcome::Untrusted => {
            "NOT TRUSTED: the scan cannot say what it should, whatever it found".to_owned()
        }
    }
}

/// What was looked at, and by what means.
fn looked_at(image: &Image, scan: &LookedAt) -> String {
    let LookedAt {
        lister, packages, ..
    } = scan;
    let kinds: Vec<String> = packages
        .iter()
        .map(|(kind, number)| format!("{number} {kind}"))
        .collect();
    let packages = match kinds.as_slice() {
        _ if packages.contains_key(FILE) => format!("files: {}", packages[FILE]),
        [] => "no packages".to_owned(),
        kinds => format!("packages: {}", kinds.join(", ")),
    };
    let by = match &lister.version {
        Some(version) => format!("{} {version}", lister.name),
        None => lister.name.clone(),
    };
    format!("{} {}: {packages}; {by}", image.platform, image.manifest)
}

fn in_line(finding: &Finding) -> String {
    let package = &finding.package;
    let origin = match finding.origin {
        Origin::Local => "",
        Origin::Base => ", in the base",
    };
    let kind = match finding.kind {
        FindingKind::Vulnerability => String::new(),
        kind => format!("{kind} "),
    };
    // Who found it may call it otherwise, and what is about several vulnerabilities names each.
    let is_told = finding.found_by.len() > 1 || finding.vulnerabilities().len() > 1;
    let aliases = if is_told && !finding.aliases.is_empty() {
        format!(" ({})", named(&finding.aliases))
    } else {
        String::new()
    };
    let mut line = format!(
        "{kind}{}{aliases} {} {}{origin}",
        finding.id,
        finding.severity,
        name(package)
    );
    if let Some(fixed) = &finding.fixed {
        let _ = write!(line, ", fixed in {fixed}");
    }
    if let Some(path) = package.path.as_ref().filter(|path| **path != package.name) {
        let _ = write!(line, ", {path}");
    }
    if !finding.found_by.is_empty() {
        let names: Vec<&str> = finding.found_by.iter().map(String::as_str).collect();
        let _ = write!(line, ", found by {}", names.join(" and "));
    }
    if let Some(title) = &finding.title {
        let _ = write!(line, ": {title}");
    }
    line
}

/// The verdicts as JUnit's XML: a suite for each image, and in it a case for each finding that fails or is excepted.
pub fn junit(name: &str, verdicts: &[Verdict], unscanned: &[String]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for verdict in verdicts {
        let mut cases = String::new();
        let image = &verdict.image;
        let of_platform = verdicts
            .iter()
            .filter(|of| of.image.platform == image.platform);
        let suite = match of_platform.count() {
            1 => format!("{name} {}", image.platform),
            _ => format!("{name} {} {}", image.platform, image.manifest),
        };
        let mut case = |title: &str, result: &str| {
            let _ = writeln!(
                cases,
                "    <testcase classname=\"{}\" name=\"{}\">{result}</testcase>",
                escaped(&suite),
                escaped(title)
            );
        };
        let failure = |message: &str| format!("<failure message=\"{}\"/>", escaped(message));
        for trouble in &verdict.troubles {
            case(
                &said_by(trouble.scanner.as_deref(), trouble.trouble.code()),
                &format!("<error message=\"{}\"/>", escaped(&trouble.to_string())),
            );
        }
        for finding in &verdict.failing {
            case(&title(finding), &failure(&in_line(finding)));
        }
        for fault in &verdict.faults {
            case(
                &format!("exception {}", fault.id),
                &failure(&format!("{}: {}", fault.place, fault.problem)),
            );
        }
        for excepted in &verdict.excepted {
            let Excepted {
                finding,
                reason,
                place,
                ..
            } = excepted;
            // The finding last: what is too long is cut.
            let message = format!("{place}: {reason}: {}", in_line(finding));
            let skipped = format!("<skipped message=\"{}\"/>", escaped(&message));
            case(&title(finding), &skipped);
        }
        if verdict.outcome() == Outcome::Passed {
            case("scan", "");
        }
        let tests = cases.lines().count();
        let failures = verdict.failing.len() + verdict.faults.len();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{}\" skipped=\"{}\">\n{cases}  </testsuite>",
            escaped(&suite),
            verdict.troubles.len(),
            verdict.excepted.len(),
        );
    }
    for platform in unscanned {
        let suite = escaped(&format!("{name} {platform}"));
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{suite}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n    <testcase classname=\"{suite}\" name=\"scan\"><error message=\"it was not scanned\"/></testcase>\n  </testsuite>"
        );
    }
    xml + "</testsuites>\n"
}

fn title(finding: &Finding) -> String {
    format!("{} {}", finding.id, name(&finding.package))
}

/// A package by its name and version; a file has none.
fn name(package: &Package) -> String {
    match &package.version {
        Some(version) => format!("{} {version}", package.name),
        None => package.name.clone(),
    }
}

/// Text as the value of an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in shown(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // No character of XML 1.0.
            '\u{fffe}' | '\u{ffff}' => escaped.extend(character.escape_unicode()),
            character => escaped.push(character),
        }
    }
    escaped
}
