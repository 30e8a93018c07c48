//! Where else a registry's repositories are to be had.

use std::fmt;
use std::str::FromStr;

use crate::oci::reference::{Reference, is_component, is_host, normal_registry};

/// A host, and the prefix that repositories have there before their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    host: String,
    prefix: String,
    plain_http: bool,
}

/// Why a string is not a mirror.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a mirror: expected HOST[:PORT][/PREFIX], such as mirror.example.com/hub, and http:// before it to speak plain HTTP"
)]
pub struct MirrorError(String);

impl Mirror {
    /// What an image is called there.
    pub fn reference(&self, image: &Reference) -> Reference {
        image.moved(&self.host, &self.prefix)
    }

    /// The host, with its port where one was given.
    pub fn host(&self) -> &str {
        &self.host
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
        let rest = without_api(rest);
        let (host, prefix) = match rest.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix)),
            None => (rest, None),
        };
        if !is_host(host) || !prefix.is_none_or(|prefix| prefix.split('/').all(is_component)) {
            return Err(MirrorError(text.to_owned()));
        }
        Ok(Mirror {
            host: normal_registry(&host.to_ascii_lowercase()).to_owned(),
            prefix: prefix.unwrap_or_default().to_owned(),
            plain_http,
        })
    }
}

/// A host, perhaps with a prefix, without the path of the API that some write behind it.
fn without_api(text: &str) -> &str {
    let text = text.trim_end_matches('/');
    let bare = text
        .strip_suffix("/v2")
        .or_else(|| text.strip_suffix("/v1"));
    bare.filter(|host| !host.contains('/')).unwrap_or(text)
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.plain_http {
            f.write_str("http://")?;
        }
        f.write_str(&self.host)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// The mirrors that a site has for all of its pulls, by registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<(String, Mirror)>);

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
    Mirror(String, #[source] MirrorError),
}

impl Mirrors {
    /// The mirrors of a registry, in the order in which they are to be asked.
    pub fn of<'a>(&'a self, registry: &'a str) -> impl Iterator<Item = &'a Mirror> {
        self.0
            .iter()
            .filter(move |(of, _)| of.eq_ignore_ascii_case(registry))
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
                .ok_or_else(|| MirrorsError::Entry(entry.to_owned()))?;
            let registry = registry.trim().to_ascii_lowercase();
            let name = registry.trim_start_matches("https://");
            let name = without_api(name.trim_start_matches("http://"));
            if !is_host(name) {
                return Err(MirrorsError::Entry(entry.to_owned()));
            }
            let registry = normal_registry(name).to_owned();
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

    #[test]
    fn a_mirror_has_the_repositories_below_its_prefix() {
        let image: Reference = "debian:stable".parse().unwrap();
        let there = |mirror: &str| {
            let mirror: Mirror = mirror.parse().unwrap();
            (mirror.reference(&image).to_string(), mirror.plain_http())
        };
        let name = |name: &str, plain: bool| (name.to_owned(), plain);
        assert_eq!(
            there("mirror.test:5000/a/hub/"),
            name("mirror.test:5000/a/hub/library/debian:stable", false)
        );
        assert_eq!(
            there("http://mirror"),
            name("mirror/library/debian:stable", true)
        );
        assert_eq!(
            there("https://[::1]:5000"),
            name("[::1]:5000/library/debian:stable", false)
        );
    }

    #[test]
    fn refuses_what_is_no_mirror() {
        for bad in [
            "",
            "ftp://mirror.test",
            "mirror.test/UPPER",
            "mirror.test//hub",
            "user:secret@mirror.test",
            "mirror.test/../x",
            "mirror.test/hub?ns=x",
        ] {
            let error = bad.parse::<Mirror>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_site_has_mirrors_for_registries() {
        let mirrors: Mirrors =
            "index.docker.io=one.test/hub, quay.io=one.test/quay,docker.io=two.test,"
                .parse()
                .unwrap();
        let of = |registry| {
            let mirrors = mirrors.of(registry).map(ToString::to_string);
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
            let of: Vec<_> = mirrors.of("docker.io").map(ToString::to_string).collect();
            assert_eq!(of, ["http://one.test"], "{name}");
        }
        for bad in ["one.test", "=one.test", "docker.io=", "a/b=one.test"] {
            assert!(bad.parse::<Mirrors>().is_err(), "{bad}");
        }
        assert_eq!("".parse::<Mirrors>().unwrap(), Mirrors::default());
    }
}
