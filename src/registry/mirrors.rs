//! Where else a registry's repositories are to be had.

use std::fmt;
use std::str::FromStr;

use crate::oci::reference::{Registry, Repository, Scheme, is_component};

use super::shown::{shown_url, with_shown_urls};

/// A host, and the prefix that repositories have there before their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    registry: Registry,
    prefix: String,
    plain_http: bool,
}

/// Why a string is not a mirror.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a mirror: expected HOST[:PORT][/PREFIX], such as mirror.example.com/hub, and http:// before it to speak plain HTTP; it has no login"
)]
pub struct MirrorError(String);

impl Mirror {
    /// What a repository is called there.
    pub fn repository(&self, repository: &Repository) -> Repository {
        repository.moved(&self.registry, &self.prefix)
    }

    /// The registry that it is.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether plain HTTP is spoken to it.
    pub fn plain_http(&self) -> bool {
        self.plain_http
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let (plain_http, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (false, rest),
            _ => (false, text),
        };
        let (host, prefix) = split(rest);
        let registry = host.parse();
        let is_prefix = prefix.is_empty() || prefix.split('/').all(is_component);
        let (true, Ok(registry)) = (is_prefix, registry) else {
            return Err(MirrorError(shown_url(text)));
        };
        Ok(Mirror {
            registry,
            prefix: prefix.to_owned(),
            plain_http,
        })
    }
}

/// A host, and the prefix behind it, without the path of the API that some write between them.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim_end_matches('/');
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    match path.split_once('/').unwrap_or((path, "")) {
        ("v1" | "v2", prefix) => (host, prefix),
        _ => (host, path),
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.plain_http {
            f.write_str("http://")?;
        }
        write!(f, "{}", self.registry)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// The mirrors that a site has for all of its pulls, by registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<(Registry, Mirror)>);

/// Why a string does not name a site's mirrors.
#[derive(Debug, thiserror::Error)]
pub enum MirrorsError {
    /// An entry does not say whose mirror it is.
    #[error(
        "{0:?} does not name a registry and its mirror: expected REGISTRY=MIRROR, such as docker.io=mirror.example.com/hub"
    )]
    Entry(String),
    /// An entry names no mirror.
    #[error("the entry for {0} names no mirror")]
    Mirror(Registry, #[source] MirrorError),
}

impl Mirrors {
    /// The mirrors of a registry that is spoken to in one of these ways, in the order in which they are to be asked.
    pub fn of<'a>(
        &'a self,
        registry: &'a Registry,
        schemes: &'a [Scheme],
    ) -> impl Iterator<Item = &'a Mirror> {
        let is_of = |of: &Registry| schemes.iter().any(|scheme| of.is_same(registry, *scheme));
        self.0
            .iter()
            .filter(move |(of, _)| is_of(of))
            .map(|(_, mirror)| mirror)
    }
}

impl FromStr for Mirrors {
    type Err = MirrorsError;

    fn from_str(text: &str) -> Result<Self, MirrorsError> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty()).map(|entry| {
            let (registry, mirror) = entry
                .split_once('=')
                .ok_or_else(|| MirrorsError::Entry(with_shown_urls(entry)))?;
            let registry = registry.trim().to_ascii_lowercase();
            let name = registry.trim_start_matches("https://");
            let (name, path) = split(name.trim_start_matches("http://"));
            let registry: Registry = match (name.parse(), path) {
                (Ok(registry), "") => registry,
                _ => return Err(MirrorsError::Entry(with_shown_urls(entry))),
            };
            let mirror = mirror
                .trim()
                .parse()
                .map_err(|error| MirrorsError::Mirror(registry.clone(), error))?;
            Ok((registry, mirror))
        });
        entries.collect::<Result<_, _>>().map(Mirrors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::reference::Reference;

    #[test]
    fn a_mirror_has_the_repositories_below_its_prefix() {
        let image: Reference = "debian".parse().unwrap();
        let there = |mirror: &str| {
            let mirror: Mirror = mirror.parse().unwrap();
            let repository = mirror.repository(image.repository());
            (repository.to_string(), mirror.plain_http())
        };
        let name = |name: &str, plain: bool| (name.to_owned(), plain);
        assert_eq!(
            there("mirror.test:5000/a/hub/"),
            name("mirror.test:5000/a/hub/library/debian", false)
        );
        assert_eq!(there("http://mirror"), name("mirror/library/debian", true));
        assert_eq!(
            there("https://[::1]:5000"),
            name("[::1]:5000/library/debian", false)
        );
        assert_eq!(
            there("http://[0:0::1]:080/hub"),
            name("[::1]:80/hub/library/debian", true)
        );
        assert_eq!(
            there("https://mirror.test/v2/hub"),
            name("mirror.test/hub/library/debian", false)
        );
    }

    #[test]
    fn refuses_what_is_no_mirror() {
        for bad in [
            "",
            "ftp://mirror.test",
            "mirror.test/UPPER",
            "mirror.test//hub",
            "mirror.test/../x",
            "localhost.:5000",
            "mirror.test./hub",
            "::1",
            "::1:5000/hub",
        ] {
            let error = bad.parse::<Mirror>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        let login = "https://user:hunter2@mirror.test/hub?ns=x";
        let error = login.parse::<Mirror>().unwrap_err().to_string();
        let shown = "\"https://…@mirror.test/hub?…\"";
        assert!(error.starts_with(shown), "{error}");
        let error = login.parse::<Mirrors>().unwrap_err().to_string();
        assert!(error.starts_with(shown), "{error}");
    }

    #[test]
    fn a_site_has_mirrors_for_registries() {
        let mirrors: Mirrors =
            "index.docker.io=one.test/hub, quay.io=one.test/quay,docker.io=two.test,"
                .parse()
                .unwrap();
        let of = |registry: &str| {
            let registry = registry.parse().unwrap();
            let mirrors = mirrors.of(&registry, &[Scheme::Https]);
            let mirrors = mirrors.map(ToString::to_string);
            mirrors.collect::<Vec<_>>()
        };
        assert_eq!(of("docker.io"), ["one.test/hub", "two.test"]);
        assert_eq!(of("quay.io"), ["one.test/quay"]);
        assert_eq!(of("ghcr.io"), Vec::<String>::new());
        for name in [
            "registry-1.docker.io",
            "HTTPS://index.docker.io/v2/",
            "https://Docker.io/v1",
            " docker.io/ ",
        ] {
            let mirrors: Mirrors = format!("{name}=HTTP://One.test/v2/").parse().unwrap();
            let registry = "docker.io".parse().unwrap();
            let of = mirrors.of(&registry, &[Scheme::Https]);
            let of: Vec<_> = of.map(ToString::to_string).collect();
            assert_eq!(of, ["http://one.test"], "{name}");
        }
        for (name, image) in [
            ("r.test:443", "r.test"),
            ("https://r.test", "r.test:443"),
            ("[0:0::1]:5000", "[::1]:5000"),
            ("http://[2001:DB8::1]/v2/", "[2001:db8::1]"),
        ] {
            let mirrors: Mirrors = format!("{name}=one.test").parse().unwrap();
            let registry = image.parse().unwrap();
            let count = |registry, scheme| mirrors.of(registry, &[scheme]).count();
            assert_eq!(count(&registry, Scheme::Https), 1, "{name} {image}");
            let other = "r.test:80".parse().unwrap();
            assert_eq!(count(&other, Scheme::Https), 0, "{name}");
            let is_plain = name == "https://r.test";
            assert_eq!(count(&other, Scheme::Http), usize::from(is_plain), "{name}");
        }
        let mirrors: Mirrors = "localhost=one.test,docker.io=two.test,docker.io:80=three.test"
            .parse()
            .unwrap();
        for (image, schemes, expected) in [
            (
                "localhost:80",
                &[Scheme::Https, Scheme::Http][..],
                "one.test",
            ),
            ("localhost:443", &[Scheme::Https, Scheme::Http], "one.test"),
            ("docker.io", &[Scheme::Http], "two.test"),
            // Docker Hub's API is at another host.
            ("docker.io:80", &[Scheme::Http], "three.test"),
        ] {
            let registry = image.parse().unwrap();
            let of: Vec<_> = mirrors.of(&registry, schemes).collect();
            assert_eq!(of, [&expected.parse::<Mirror>().unwrap()], "{image}");
        }
        for bad in ["one.test", "=one.test", "docker.io=", "a/b=one.test"] {
            assert!(bad.parse::<Mirrors>().is_err(), "{bad}");
        }
        assert_eq!("".parse::<Mirrors>().unwrap(), Mirrors::default());
    }
}
