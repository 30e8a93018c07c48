//! The versions that Trivy can compare with those of advisories, by the ecosystem of their packages. One that it cannot, it
//! passes over without a word.

use regex_automata::meta::Regex;

/// Of ecosystems that have none of their own (aquasecurity/go-version, version).
const LIKE_SEMANTIC: &str = r"^v?[0-9]+(\.[0-9]+)*(-[0-9]+[0-9A-Za-z\-~]*(\.[0-9A-Za-z\-~]+)*|-?[A-Za-z\-~]+[0-9A-Za-z\-~]*(\.[0-9A-Za-z\-~]+)*)?(\+[0-9A-Za-z\-~]+(\.[0-9A-Za-z\-~]+)*)?$";
/// Of npm's (Semantic Versioning 2.0.0).
const SEMANTIC: &str = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$";
/// Of Python's (PEP 440, appendix B).
const PYTHON: &str = r"(?i)^\s*v?([0-9]+!)?[0-9]+(\.[0-9]+)*([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?([0-9]+)?)?(-[0-9]+|[-_.]?(post|rev|r)[-_.]?([0-9]+)?)?([-_.]?dev[-_.]?([0-9]+)?)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?\s*$";
/// Of Ruby's (`Gem::Version`).
const RUBY: &str = r"^\s*([0-9]+(\.[0-9a-zA-Z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?)?\s*$";

/// The versions of an ecosystem's packages that are compared; none of them is empty.
pub(super) struct Versions(Option<Regex>);

impl Versions {
    /// Those of an ecosystem, in the words of Trivy's database.
    pub(super) fn of(ecosystem: &str) -> Self {
        let pattern = match ecosystem {
            // All that is there.
            "maven" => return Versions(None),
            "npm" => SEMANTIC,
            "pip" => PYTHON,
            "rubygems" => RUBY,
            _ => LIKE_SEMANTIC,
        };
        Versions(Some(Regex::new(pattern).expect("it is a pattern")))
    }

    /// Whether this one is among them.
    pub(super) fn has(&self, version: Option<&str>) -> bool {
        let Versions(pattern) = self;
        version.is_some_and(|version| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(version))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_the_ecosystem_writes_them() {
        for (ecosystem, compared, not) in [
            (
                "npm",
                &["1.0.0", "1.0.0-beta.1+build.5"][..],
                &["latest", "1.0", "v1.0.0", "1.0.0.1", "01.0.0", "*"][..],
            ),
            (
                "pip",
                &[
                    "2.11.2",
                    "1!2.0rc1.post2.dev3",
                    "1.0.0+ubuntu0.1",
                    "1.0-ALPHA-1",
                ],
                &["latest", "2004d", "1.0-ubuntu1", "1.0.0~rc1", "0.dev-x"],
            ),
            (
                "rubygems",
                &["1.0", "1.0.0.pre1", "2.0-java"],
                &["latest", "v1.0", "1.0+x"],
            ),
            (
                "go",
                &[
                    "v1.2.3",
                    "1.22",
                    "v0.0.0-20260101000000-0123456789ab",
                    "1.2.3+incompatible",
                ],
                &["(devel)", "master", "go1.22", ""],
            ),
            ("maven", &["latest", "1.0.Final"], &[]),
        ] {
            let versions = Versions::of(ecosystem);
            for version in compared {
                assert!(versions.has(Some(version)), "{ecosystem} {version}");
            }
            for version in not {
                assert!(!versions.has(Some(version)), "{ecosystem} {version}");
            }
            assert!(!versions.has(None), "{ecosystem}");
        }
    }
}
