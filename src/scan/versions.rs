//! The versions that scanners can compare with those of advisories. One that they cannot, they pass over without a word.

use regex_automata::meta::Regex;

/// Of ecosystems that have none of their own (aquasecurity/go-version, version).
const LIKE_SEMANTIC: &str = r"^v?[0-9]+(\.[0-9]+)*(-[0-9]+[0-9A-Za-z\-~]*(\.[0-9A-Za-z\-~]+)*|-?[A-Za-z\-~]+[0-9A-Za-z\-~]*(\.[0-9A-Za-z\-~]+)*)?(\+[0-9A-Za-z\-~]+(\.[0-9A-Za-z\-~]+)*)?$";
/// Semantic Versioning 2.0.0.
const SEMANTIC: &str = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$";
/// Python's (PEP 440, appendix B).
const PYTHON: &str = r"(?i)^[\t\n\f\r ]*v?([0-9]+!)?[0-9]+(\.[0-9]+)*([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?([0-9]+)?)?(-[0-9]+|[-_.]?(post|rev|r)[-_.]?([0-9]+)?)?([-_.]?dev[-_.]?([0-9]+)?)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?[\t\n\f\r ]*$";
/// Those of Go, of its modules and of its own, as grype reads them: what comes before a release may follow two or three numbers
/// at once.
const GO: &str = r"^(go)?v?([0-9]+\.[0-9]+(\.[0-9]+)?[A-Za-z][0-9A-Za-z\-~]*(\.[0-9A-Za-z\-~]+)*|[0-9]+(\.[0-9]+)*(-[0-9A-Za-z\-~]+(\.[0-9A-Za-z\-~]+)*)?)(\+[0-9A-Za-z\-~]+([.+][0-9A-Za-z\-~]+)*)?$";
/// Ruby's (`Gem::Version`).
const RUBY: &str =
    r"^[\t\n\f\r ]*([0-9]+(\.[0-9a-zA-Z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?)?[\t\n\f\r ]*$";
/// The same, with the platform of the machine that a gem is for, such as `x86_64-linux`, of those that grype knows.
const RUBY_ON_PLATFORM: &str = r"^[\t\n\f\r ]*[0-9][0-9A-Za-z]*([.-][0-9A-Za-z]+)*(-(x86|universal|arm|aarch64|java|dalvik|x64|powerpc|sparc|mswin).*)?[\t\n\f\r ]*$";
/// dpkg's (deb-version(7)), as all scanners read them: in a revision, and where there is no epoch, there is no colon.
const DEBIAN: &str = r"^\s*([0-9]+:[0-9][\p{L}\p{Nd}.+~_:]*((-[\p{L}\p{Nd}.+~_:]*)*-[\p{L}\p{Nd}.+~_]*)?|[0-9][\p{L}\p{Nd}.+~_]*(-[\p{L}\p{Nd}.+~_]*)*)\s*$";
/// apk's (apk-package(5)), but for the hash of a commit, which no scanner reads.
const ALPINE: &str = r"^v?[0-9]+(\.[0-9]+)*([a-z]([0-9]+(\.[0-9]+)*)?)*(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(-r[0-9]+)?$";
/// What begins with a number. grype compares versions of no form of its own part by part, and anything else is then below all
/// that do.
const NUMBERED: &str = r"^([vV]|go)?[0-9]";

/// Versions that are compared; none of them is empty.
pub struct Versions {
    pattern: Option<Regex>,
    /// The part whose numbers must be of 64 bits, one of them the sign's.
    numbers: fn(&str) -> &str,
}

impl Versions {
    /// All that there are.
    pub(super) fn any() -> Self {
        Versions {
            pattern: None,
            numbers: |_| "",
        }
    }

    /// Those of Semantic Versioning.
    pub(super) fn semantic() -> Self {
        Self::new(SEMANTIC, release)
    }

    /// Those that are much like them.
    pub(super) fn like_semantic() -> Self {
        Self::new(LIKE_SEMANTIC, release)
    }

    /// Go's.
    pub(super) fn go() -> Self {
        Self::new(GO, release)
    }

    /// Python's.
    pub(super) fn python() -> Self {
        Self::new(PYTHON, |version| {
            version.split('+').next().unwrap_or_default()
        })
    }

    /// Ruby's.
    pub(super) fn ruby() -> Self {
        Self::new(RUBY, |_| "")
    }

    /// Ruby's, which may have the platform behind them.
    pub(super) fn ruby_on_platform() -> Self {
        Self::new(RUBY_ON_PLATFORM, |_| "")
    }

    /// Those that begin with a number.
    pub(super) fn numbered() -> Self {
        Self::new(NUMBERED, |_| "")
    }

    /// Those of a system's packages, of this type in a package URL.
    pub(super) fn of_system(kind: &str) -> Self {
        match kind {
            "apk" => Self::new(ALPINE, |_| ""),
            "deb" => Self::new(DEBIAN, |version| match version.split_once(':') {
                Some((epoch, _)) => epoch,
                None => "",
            }),
            _ => Self::any(),
        }
    }

    fn new(pattern: &str, numbers: fn(&str) -> &str) -> Self {
        let pattern = Regex::new(pattern).expect("it is a pattern");
        Versions {
            pattern: Some(pattern),
            numbers,
        }
    }

    /// Whether this one is among them.
    pub(super) fn has(&self, version: Option<&str>) -> bool {
        let version = version.filter(|version| !is_none(version));
        version.is_some_and(|version| {
            let mut numbers = (self.numbers)(version).split(|c: char| !c.is_ascii_digit());
            let is_small = |number: &str| number.is_empty() || number.parse::<i64>().is_ok();
            let pattern = self.pattern.as_ref();
            pattern.is_none_or(|pattern| pattern.is_match(version)) && numbers.all(is_small)
        })
    }
}

/// Whether this is a word for no version: Go's for what was built of no release, and syft's.
pub(super) fn is_none(version: &str) -> bool {
    matches!(version, "(devel)" | "UNKNOWN")
}

/// What is before the name of what comes before the release.
fn release(version: &str) -> &str {
    let end = version.strip_prefix("go").unwrap_or(version);
    let end = end.trim_start_matches('v');
    let end = end.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    &version[..version.len() - end.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const N: usize>(cases: [(Versions, &[&str], &[&str]); N]) {
        for (versions, compared, not) in cases {
            for version in compared {
                assert!(versions.has(Some(version)), "{version}");
            }
            for version in not {
                assert!(!versions.has(Some(version)), "{version}");
            }
            assert!(!versions.has(None));
        }
    }

    #[test]
    fn versions_are_compared_as_the_ecosystem_writes_them() {
        check([
            (
                Versions::semantic(),
                &["1.0.0", "1.0.0-beta.1+build.5"][..],
                &[
                    "latest",
                    "1.0",
                    "v1.0.0",
                    "1.0.0.1",
                    "01.0.0",
                    "*",
                    "1.0.9223372036854775808",
                ][..],
            ),
            (
                Versions::python(),
                &[
                    "2.11.2",
                    "1!2.0rc1.post2.dev3",
                    "1.0.0+ubuntu0.1",
                    "1.0-ALPHA-1",
                    " 1.0\n",
                    "1.0+20181231235959999999999",
                ],
                &[
                    "latest",
                    "2004d",
                    "1.0-ubuntu1",
                    "1.0.0~rc1",
                    "0.dev-x",
                    "\u{a0}1.0",
                    "1.0.post99999999999999999999",
                ],
            ),
            (
                Versions::ruby(),
                &["1.0", "1.0.0.pre1", "2.0-java"],
                &["latest", "v1.0", "1.0+x"],
            ),
            (
                Versions::ruby_on_platform(),
                &["1.0", "1.16.2-x86_64-linux-gnu"],
                &[
                    "latest",
                    "v1.0",
                    "1.0.0_beta",
                    "",
                    "1.2.3-foo_bar",
                    "1.0.0-a..b",
                    "1.0-",
                    "1.0--a",
                ],
            ),
            (
                Versions::like_semantic(),
                &[
                    "v1.2.3",
                    "1.22",
                    "v0.0.0-20260101000000-0123456789ab",
                    "1.2.3+incompatible",
                ],
                &["(devel)", "master", "go1.22", "", "99999999999999999999.0"],
            ),
            (
                Versions::numbered(),
                &["1.0.2k", "v1.2.3", "go1.22"],
                &["latest", "dev-main", "*", "UNKNOWN"],
            ),
            (Versions::any(), &["latest", "1.0.Final"], &["UNKNOWN"]),
            (
                Versions::of_system("deb"),
                &[
                    "3.0.9-1",
                    "1:2.36.1-8+deb11u1",
                    "2:1.0-rc1-2",
                    "1.0~rc1+b_1",
                ],
                &[
                    "latest",
                    "1.0 beta",
                    "a:1.0",
                    "1.0-1:2",
                    "1:",
                    "9223372036854775808:1",
                ],
            ),
            (
                Versions::of_system("apk"),
                &[
                    "3.1.4-r5",
                    "1.36.1_git20240101-r0",
                    "9.5_p2",
                    "2024a-r1",
                    "1.0b2.1",
                ],
                &["1.0~0a1b2c3-r0", "latest", "1.0-1", "1.0_x-r0", "1:1.0"],
            ),
            (Versions::of_system("rpm"), &["(none):1.0-1"], &[]),
        ]);
    }

    /// As `grype` reads them.
    #[test]
    fn versions_of_go_are_compared() {
        check([(
            Versions::go(),
            &[
                "v1.2.3",
                "1.22",
                "1",
                "go1.22rc1",
                "go1.22-abc",
                "9.6.0b1.2",
                "v1.2.3+incompatible+dirty",
                "1.0.0+a+b",
                "v1.2.3-0.20260101000000-0123456789ab+dirty",
                "v1.22.3-2-gabcdef~dirty",
                "1.2.3.4.5",
            ],
            &[
                "1.2.3_x",
                "2023.8.1 (built x)",
                "1.0.0.RELEASE",
                "1.x",
                "go1.22.1 X:boringcrypto",
                "1.0.0 ",
                "V1.0.0",
                "1.0.0-\u{3b1}",
                "99999999999999999999.0.0",
                "go1.9223372036854775808",
                "1:1.0.0",
                "1.0.0-a..b",
                "1.0.0-",
                "1.0.0+",
                "1.2.3.4b1",
                "latest",
            ],
        )]);
    }
}
