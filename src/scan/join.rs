//! What several scanners found in one image, as one list: what is the same is one finding, with all who found it.
//!
//! A vulnerability is the same if it is in the same package and an identifier says so, of its own or an alias, also by way of
//! others. What is joined is judged as one, so what is about several vulnerabilities is never joined by them: an exception
//! for one would let the others pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::evidence::is_java_archive;
use super::findings::{Finding, FindingKind, Findings, LISTS, Origin};
use super::inventory::Package;
use super::purl::Purl;
use super::traces::NPM_LIST;

/// Where Python's packages are described, each scanner by another file of the directory.
const PYTHON: [&str; 2] = [".dist-info/", ".egg-info/"];

/// A finding, and how each who found it has it.
pub(super) struct Joined<'a> {
    pub(super) finding: Finding,
    pub(super) seen: Vec<Seen<'a>>,
}

/// A finding as one scanner has it, and which.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) scan: usize,
    pub(super) finding: &'a Finding,
}

/// What these found, sorted. Of one, it is as it is.
pub(super) fn join(scans: &[Findings]) -> Vec<Joined<'_>> {
    let all = scans.iter().enumerate().flat_map(|(scan, findings)| {
        let seen = move |finding| Seen { scan, finding };
        findings.findings.iter().map(seen)
    });
    if scans.len() == 1 {
        let alone = all.map(|seen| Joined {
            finding: seen.finding.clone(),
            seen: vec![seen],
        });
        return alone.collect();
    }
    let mut joined = Vec::new();
    let mut packages: BTreeMap<Named, Vec<Seen<'_>>> = BTreeMap::new();
    for seen in all {
        if seen.finding.kind == FindingKind::Vulnerability {
            let package = Named::of(&seen.finding.package);
            packages.entry(package).or_default().push(seen);
        } else {
            joined.push(vec![seen]);
        }
    }
    for seen in packages.into_values().flat_map(by_place) {
        joined.extend(by_id(seen));
    }
    let joined = joined.into_iter().map(|seen| Joined {
        finding: one(&seen, scans),
        seen,
    });
    let mut joined: Vec<Joined<'_>> = joined.collect();
    joined.sort_by(|one, other| one.finding.cmp(&other.finding));
    joined
}

/// A package by what scanners agree on, wherever it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    of_system: bool,
    name: String,
    version: Option<String>,
}

impl Named {
    fn of(package: &Package) -> Self {
        // Of a system, scanners' package URLs are of different things: what is installed, or what that is made from.
        let purl = package.purl.as_deref().filter(|_| !package.of_system);
        let name = match purl.and_then(Purl::parse) {
            Some(Purl {
                name,
                subpath: Some(part),
                ..
            }) => format!("{name}/{part}"),
            Some(purl) => purl.name,
            None => package.name.to_ascii_lowercase(),
        };
        Named {
            of_system: package.of_system,
            name,
            version: package
                .version
                .as_deref()
                .map(|version| plain_version(version).to_owned()),
        }
    }
}

/// A version without what only some scanners write before it: the name of Go's own and the letter of its modules', and an
/// epoch of rpm's that is none.
fn plain_version(version: &str) -> &str {
    let mut plain = ["go", "v", "0:"]
        .iter()
        .filter_map(|word| version.strip_prefix(word))
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    plain.next().unwrap_or(version)
}

/// Which of several packages of a name it is, if that is known: of a system by its architecture, else by its path.
fn place(package: &Package) -> Option<&str> {
    if package.of_system {
        return package.architecture.as_deref();
    }
    let path = package.path.as_deref()?.trim_start_matches('/');
    if path.ends_with(NPM_LIST) {
        return None;
    }
    // Of an archive in an archive, only some say where it is in that.
    let mut ends = path.match_indices('/').map(|(end, _)| &path[..end]);
    if let Some(archive) = ends.find(|path| is_java_archive(path)) {
        return Some(archive);
    }
    let mut ends = PYTHON.iter().filter_map(|ending| {
        let begin = path.rfind(ending)?;
        Some(begin + ending.len())
    });
    Some(ends.next().map_or(path, |end| &path[..end]))
}

/// What is of one package each. A scanner that does not say where it is means the one that others have, if it is but one.
fn by_place(all: Vec<Seen<'_>>) -> impl Iterator<Item = Vec<Seen<'_>>> {
    let mut places: BTreeMap<Option<&str>, Vec<Seen<'_>>> = BTreeMap::new();
    for seen in all {
        let place = place(&seen.finding.package);
        places.entry(place).or_default().push(seen);
    }
    if places.len() == 2
        && let Some(nowhere) = places.remove(&None)
        && let Some(mut known) = places.first_entry()
    {
        known.get_mut().extend(nowhere);
        // In the order of the scanners.
        known.get_mut().sort_by_key(|seen| seen.scan);
    }
    places.into_values()
}

/// What is one vulnerability each, of what is of one package.
fn by_id(all: Vec<Seen<'_>>) -> Vec<Vec<Seen<'_>>> {
    let mut parts = Parts((0..all.len()).collect());
    let mut first = HashMap::new();
    for (number, seen) in all.iter().enumerate() {
        for id in seen.finding.ids() {
            let other = *first.entry(in_capitals(id)).or_insert(number);
            parts.unite(number, other);
        }
    }
    let mut connected: BTreeMap<usize, Vec<Seen<'_>>> = BTreeMap::new();
    for (number, seen) in all.into_iter().enumerate() {
        connected.entry(parts.root(number)).or_default().push(seen);
    }
    connected.into_values().flat_map(apart).collect()
}

/// Takes apart again what is about several vulnerabilities, and was connected by what is about more than one.
fn apart(connected: Vec<Seen<'_>>) -> Vec<Vec<Seen<'_>>> {
    let names_of = |list| {
        connected
            .iter()
            .flat_map(move |seen| named(list, seen.finding))
    };
    let list = LISTS
        .into_iter()
        .find(|list| names_of(list).next().is_some());
    let Some(list) = list else {
        return vec![connected];
    };
    let mut all = names_of(list);
    let first = all.next();
    if all.all(|name| Some(&name) == first.as_ref()) {
        return vec![connected];
    }
    // One vulnerability's name is told from that of what is about several, which may be one of these.
    let mut parts: BTreeMap<(bool, Cow<'_, str>), Vec<Seen<'_>>> = BTreeMap::new();
    for seen in connected {
        let mut names: BTreeSet<_> = named(list, seen.finding).collect();
        let name = match (names.pop_first(), names.is_empty()) {
            (Some(name), true) => (true, name),
            _ => (false, in_capitals(&seen.finding.id)),
        };
        parts.entry(name).or_default().push(seen);
    }
    parts.into_values().collect()
}

/// The names that a finding has in a list.
fn named<'a>(list: &'static str, finding: &'a Finding) -> impl Iterator<Item = Cow<'a, str>> {
    let ids = finding.ids().map(|id| in_capitals(id));
    ids.filter(move |id| id.starts_with(list))
}

/// An identifier in the case in which it is compared, as it mostly is.
fn in_capitals(id: &str) -> Cow<'_, str> {
    if id.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(id.to_ascii_uppercase())
    } else {
        Cow::Borrowed(id)
    }
}

/// Things by their numbers, each with another one of its part, or itself.
struct Parts(Vec<usize>);

impl Parts {
    fn root(&mut self, mut number: usize) -> usize {
        while self.0[number] != number {
            self.0[number] = self.0[self.0[number]];
            number = self.0[number];
        }
        number
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// One finding of what is the same: as bad as the worst has it, and the base's only if it is to all.
fn one(seen: &[Seen<'_>], scans: &[Findings]) -> Finding {
    let mut finding = seen[0].finding.clone();
    for Seen { finding: other, .. } in &seen[1..] {
        if other.origin == Origin::Local {
            finding.origin = Origin::Local;
        }
        let ids = other.ids().filter(|id| **id != finding.id);
        finding.aliases.extend(ids.cloned());
        finding.severity = finding.severity.max(other.severity);
        for (text, other) in [
            (&mut finding.fixed, &other.fixed),
            (&mut finding.title, &other.title),
        ] {
            if text.is_none() {
                text.clone_from(other);
            }
        }
        if finding.packages().all(|known| *known != other.package) {
            finding.same_package.push(other.package.clone());
        }
    }
    let names = seen.iter().map(|seen| scans[seen.scan].name().to_owned());
    finding.found_by = names.collect();
    finding
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::findings::Severity;
    use super::super::inventory::{Database, Image, SCHEMA, Scanner, known};
    use super::super::isolate::Access;
    use super::*;

    fn scan(name: &str, findings: Vec<Finding>) -> Findings {
        Findings {
            schema: SCHEMA,
            scanner: Scanner {
                name: name.to_owned(),
                version: None,
                created: None,
            },
            matcher: None,
            network: Access::None,
            database: Database {
                schema: 1,
                built: Some(DateTime::UNIX_EPOCH),
                newest: None,
            },
            java_database: None,
            image: Image {
                manifest: String::new(),
                platform: String::new(),
                created: None,
            },
            looked_at: BTreeMap::new(),
            kinds: BTreeSet::from([FindingKind::Vulnerability]),
            troubles: Vec::new(),
            notes: Vec::new(),
            findings,
        }
    }

    /// A finding of `ids`, the first its own, in a package: name, version, architecture or path, and package URL.
    fn found(ids: &str, package: [&str; 4]) -> Finding {
        let [name, version, place, purl] = package;
        let of_system = purl.starts_with("pkg:deb/") || purl.starts_with("pkg:rpm/");
        let mut ids = ids.split(' ').map(str::to_owned);
        let text = |text: &str| known(text.to_owned());
        let [architecture, path] = if of_system { [place, ""] } else { ["", place] };
        Finding {
            origin: Origin::Base,
            kind: FindingKind::Vulnerability,
            id: ids.next().unwrap_or_default(),
            aliases: ids.collect(),
            package: Package {
                kind: String::new(),
                of_system,
                name: name.to_owned(),
                version: text(version),
                architecture: text(architecture),
                path: text(path),
                purl: text(purl),
                layer: None,
            },
            fixed: None,
            severity: Severity::Unknown,
            title: None,
            same_package: Vec::new(),
            found_by: BTreeSet::new(),
        }
    }

    const CURL: [&str; 4] = [
        "curl",
        "7.88.1-10",
        "amd64",
        "pkg:deb/debian/curl@7.88.1-10",
    ];

    /// What each of the joined ones is called, by whom it was found: `CVE-1 GHSA-1: a b`.
    fn joined(scans: &[Findings]) -> Vec<String> {
        let joined = join(scans).into_iter().map(|joined| joined.finding);
        let line = |finding: Finding| {
            let ids: Vec<&str> = finding.ids().map(String::as_str).collect();
            let names: Vec<&str> = finding.found_by.iter().map(String::as_str).collect();
            format!("{}: {}", ids.join(" "), names.join(" "))
        };
        joined.map(line).collect()
    }

    #[test]
    fn identifiers_say_what_is_the_same() {
        let by =
            |name: &str, all: &[&str]| scan(name, all.iter().map(|ids| found(ids, CURL)).collect());
        for (name, a, b, expected) in [
            (
                "its own",
                &["CVE-1"][..],
                &["CVE-1"][..],
                &["CVE-1: a b"][..],
            ),
            ("in any case", &["CVE-1"], &["cve-1"], &["CVE-1 cve-1: a b"]),
            (
                "an alias",
                &["CVE-1"],
                &["GHSA-1 CVE-1"],
                &["CVE-1 GHSA-1: a b"],
            ),
            (
                "aliases alone",
                &["A-1 CVE-1"],
                &["B-1 CVE-1"],
                &["A-1 B-1 CVE-1: a b"],
            ),
            (
                "by way of others",
                &["CVE-1", "PYSEC-1 GHSA-1"],
                &["GHSA-1 CVE-1"],
                &["CVE-1 GHSA-1 PYSEC-1: a b"],
            ),
            (
                "twice by one",
                &["CVE-1", "GHSA-1 CVE-1"],
                &[],
                &["CVE-1 GHSA-1: a"],
            ),
            ("nothing", &["CVE-1"], &["CVE-2"], &["CVE-1: a", "CVE-2: b"]),
            (
                "an advisory about several",
                &["CVE-1 DSA-1", "CVE-2 DSA-1"],
                &["CVE-1", "CVE-2"],
                &["CVE-1 DSA-1: a b", "CVE-2 DSA-1: a b"],
            ),
            (
                "one that names several",
                &["CVE-1", "CVE-2"],
                &["ALAS-1 CVE-1 CVE-2"],
                &["ALAS-1 CVE-1 CVE-2: b", "CVE-1: a", "CVE-2: a"],
            ),
            (
                "one that names several and is called as one of them",
                &["CVE-1", "CVE-2"],
                &["CVE-1 CVE-2"],
                &["CVE-1: a", "CVE-1 CVE-2: b", "CVE-2: a"],
            ),
            (
                "one that names several of another list",
                &["GHSA-1", "GHSA-2"],
                &["PYSEC-1 GHSA-1 GHSA-2"],
                &["GHSA-1: a", "GHSA-2: a", "PYSEC-1 GHSA-1 GHSA-2: b"],
            ),
            (
                "several of another list that are one of the first",
                &["GHSA-1 CVE-1"],
                &["GHSA-2 CVE-1"],
                &["GHSA-1 CVE-1 GHSA-2: a b"],
            ),
            (
                "several by way of one that names none",
                &["CVE-1 X-1", "X-1"],
                &["CVE-2 X-1"],
                &["CVE-1 X-1: a", "CVE-2 X-1: b", "X-1: a"],
            ),
        ] {
            assert_eq!(joined(&[by("a", a), by("b", b)]), expected, "{name}");
        }
        // Of one scanner, all is as it is.
        assert_eq!(
            joined(&[by("a", &["CVE-1", "CVE-1 X"])]),
            ["CVE-1: ", "CVE-1 X: "]
        );
    }

    /// Whether what two scanners found in packages is one finding.
    fn is_joined(one: [&str; 4], other: [&str; 4]) -> bool {
        let [one, other] = [("a", one), ("b", other)]
            .map(|(name, package)| scan(name, vec![found("CVE-1", package)]));
        joined(&[one, other]).len() == 1
    }

    #[test]
    fn packages_of_a_system_are_the_same_by_name_version_and_architecture() {
        let [name, version, architecture, purl] = CURL;
        let rpm = |version| ["a", version, "x86_64", "pkg:rpm/a"];
        let of_source = "pkg:deb/debian/src@7.88.1-10";
        for (name, one, other, is_same) in [
            ("one", CURL, CURL, true),
            (
                "another",
                CURL,
                ["curl2", version, architecture, purl],
                false,
            ),
            (
                "another version",
                CURL,
                [name, "7.88.1-11", architecture, purl],
                false,
            ),
            (
                "another architecture",
                CURL,
                [name, version, "i386", purl],
                false,
            ),
            (
                "no architecture",
                CURL,
                [name, version, "", of_source],
                true,
            ),
            (
                "an epoch that is none",
                rpm("1-2.el9"),
                rpm("0:1-2.el9"),
                true,
            ),
        ] {
            assert_eq!(is_joined(one, other), is_same, "{name}");
        }
        // Which of two is meant by who says no architecture, nobody knows.
        let [other, nowhere] = ["i386", ""].map(|place| [name, version, place, purl]);
        let both = scan("a", vec![found("CVE-1", CURL), found("CVE-1", other)]);
        let scans = [both, scan("b", vec![found("CVE-1", nowhere)])];
        assert_eq!(joined(&scans).len(), 3);
    }

    #[test]
    fn packages_of_languages_are_the_same_as_scanners_name_them() {
        let maven = "pkg:maven/org.example/lib@1.0";
        let go = "pkg:golang/example.com/m";
        let [jar, wheel] = ["app/lib.jar", "usr/lib/a-1.0.dist-info/METADATA"];
        let [inner, record] = [
            "app/lib.jar/BOOT-INF/lib/a.jar",
            "usr/lib/a-1.0.dist-info/RECORD",
        ];
        let [part, whole] = [format!("{go}@v2.0.0#v2"), format!("{go}/v2@2.0.0")];
        let known = ["org.example:lib", "1.0", jar, maven];
        let of_python = ["a", "1.0", wheel, "pkg:pypi/a@1.0"];
        for (name, one, other, is_same) in [
            ("Maven", known, ["lib", "1.0", jar, maven], true),
            (
                "an archive in an archive",
                ["org.example:lib", "1.0", inner, maven],
                ["lib", "1.0", jar, maven],
                true,
            ),
            (
                "another group",
                known,
                ["lib", "1.0", jar, "pkg:maven/org.other/lib@1.0"],
                false,
            ),
            (
                "Python",
                ["Made_Up", "1.0", wheel, "pkg:pypi/made-up@1.0"],
                ["made.up", "1.0", record, "pkg:pypi/Made.Up@1.0"],
                true,
            ),
            (
                "another path",
                of_python,
                [
                    "a",
                    "1.0",
                    "venv/a-1.0.dist-info/METADATA",
                    "pkg:pypi/a@1.0",
                ],
                false,
            ),
            (
                "Go's own",
                [
                    "stdlib",
                    "v1.22.1",
                    "app/serve",
                    "pkg:golang/stdlib@v1.22.1",
                ],
                [
                    "stdlib",
                    "go1.22.1",
                    "app/serve",
                    "pkg:golang/stdlib@1.22.1",
                ],
                true,
            ),
            (
                "a part of a module",
                ["m/v2", "v2.0.0", "app/serve", &part],
                ["m/v2", "2.0.0", "app/serve", &whole],
                true,
            ),
            (
                "no package URL",
                ["A", "1.0", "app/a", ""],
                ["a", "1.0", "/app/a", ""],
                true,
            ),
        ] {
            assert_eq!(is_joined(one, other), is_same, "{name}");
        }
    }

    #[test]
    fn the_worst_that_one_says_counts() {
        let low = Finding {
            severity: Severity::Low,
            title: Some("a title".to_owned()),
            ..found("CVE-1", CURL)
        };
        let other = Finding {
            origin: Origin::Local,
            severity: Severity::High,
            fixed: Some("8".to_owned()),
            ..found("CVE-1", ["CURL", CURL[1], CURL[2], CURL[3]])
        };
        let scans = [scan("a", vec![low.clone()]), scan("b", vec![other.clone()])];
        let joined: Vec<Finding> = join(&scans).into_iter().map(|one| one.finding).collect();
        let expected = Finding {
            origin: Origin::Local,
            severity: Severity::High,
            fixed: Some("8".to_owned()),
            same_package: vec![other.package],
            found_by: BTreeSet::from(["a".to_owned(), "b".to_owned()]),
            ..low
        };
        assert_eq!(joined, [expected]);
    }

    #[test]
    fn what_is_no_vulnerability_stays_alone() {
        let secret = Finding {
            kind: FindingKind::Secret,
            ..found("private-key", CURL)
        };
        let scans = [
            scan("a", vec![secret.clone(), secret]),
            scan("b", Vec::new()),
        ];
        assert_eq!(joined(&scans), ["private-key: a", "private-key: a"]);
    }
}
