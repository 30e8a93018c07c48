//! Image references (`registry/repository:tag@digest`), in Docker's and containerd's grammar.
//!
//! They are parsed here and not by `oci_client`, whose regular expression takes longer to compile
//! than a pull takes that finds all it needs in the store.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use reqwest::Url;

use crate::oci::digest::{Digest, DigestError};
use crate::text::without_login;

const DOCKER_HUB: &str = "docker.io";
/// The longest name of a registry and a repository that registries take, in bytes.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const TAG_RULE: &str =
    "a tag has up to 128 ASCII letters, digits and ._-, and begins with none of .-";

/// How a registry is spoken to: each scheme has a port that need not be said (RFC 9110, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without.
    Http,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        }
    }

    fn port(self) -> &'static str {
        match self {
            Scheme::Https => ":443",
            Scheme::Http => ":80",
        }
    }
}

/// A registry, as its images are named after it: its host, with a port or without, such as `docker.io` or
/// `localhost:5000`, in the one form that names the same host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(String);

/// Why a string is not a registry.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a registry: expected a host with a port or without, and no scheme or login")]
pub struct RegistryNameError(String);

impl Registry {
    /// The host and port.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host and port that answer for the registry: Docker Hub's API has another name than
    /// its images.
    pub fn api_host(&self) -> &str {
        match self.as_str() {
            DOCKER_HUB => "registry-1.docker.io",
            registry => registry,
        }
    }

    /// Where its API is, where it is spoken to so.
    pub(crate) fn api_url(&self, scheme: Scheme) -> Option<Url> {
        Url::parse(&format!("{}://{}/v2/", scheme.name(), self.api_host())).ok()
    }

    /// The one that a host names where it is spoken to so: with the port of TLS, Docker Hub's host is not Docker Hub in clear.
    pub(crate) fn spoken_to(text: &str, scheme: Scheme) -> Option<Self> {
        let host = normal_host(text)?;
        let bare = match scheme {
            Scheme::Https => host.strip_suffix(scheme.port()).unwrap_or(&host),
            Scheme::Http => &host,
        };
        Some(match bare {
            DOCKER_HUB | "index.docker.io" | "registry-1.docker.io" => {
                Registry(DOCKER_HUB.to_owned())
            }
            _ => Registry(host),
        })
    }

    /// Without the port that is the scheme's own, whether that was said or not: all that is filed by registries compares this.
    pub(crate) fn without_port_of(&self, scheme: Scheme) -> &str {
        let bare = self.0.strip_suffix(scheme.port());
        // Docker Hub answers at another host.
        bare.filter(|bare| *bare != DOCKER_HUB).unwrap_or(&self.0)
    }

    /// Whether both are one, if they are spoken to so.
    pub(crate) fn is_same(&self, other: &Self, scheme: Scheme) -> bool {
        self.without_port_of(scheme) == other.without_port_of(scheme)
    }

    /// The other name under which it may be filed: with the scheme's port, or without.
    pub(crate) fn other_name(&self, scheme: Scheme) -> Option<String> {
        let bare = self.without_port_of(scheme);
        let has_port = bare.contains(':') && bracketed(bare).is_none();
        if bare != self.0 {
            Some(bare.to_owned())
        } else if has_port || bare == DOCKER_HUB {
            None
        } else {
            Some(format!("{bare}{}", scheme.port()))
        }
    }
}

impl FromStr for Registry {
    type Err = RegistryNameError;

    fn from_str(text: &str) -> Result<Self, RegistryNameError> {
        Registry::spoken_to(text, Scheme::Https)
            .ok_or_else(|| RegistryNameError(without_login(text).into_owned()))
    }
}

impl Borrow<str> for Registry {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository of a registry, such as `docker.io/library/debian`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: Registry,
    path: String,
}

/// Why a string is not the name of a repository alone.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// It is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It says which image of the repository.
    #[error("it has a tag or a digest: name the repository alone")]
    Tagged,
}

impl Repository {
    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The repository within the registry, such as `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The image that a tag points to.
    pub fn tagged(self, tag: Tag) -> Reference {
        Reference {
            repository: self,
            tag: Some(tag),
            digest: None,
        }
    }

    /// The same repository below `prefix`, which may be empty, in another registry.
    pub(crate) fn moved(&self, registry: &Registry, prefix: &str) -> Self {
        let path = if prefix.is_empty() {
            self.path.clone()
        } else {
            format!("{prefix}/{}", self.path)
        };
        Repository {
            registry: registry.clone(),
            path,
        }
    }
}

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let reference: Reference = text.parse()?;
        let tagged = |tag: &Tag| text.ends_with(&format!(":{tag}"));
        if reference.digest().is_some() || reference.tag().is_some_and(tagged) {
            return Err(RepositoryError::Tagged);
        }
        Ok(reference.repository)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// The name of an image in a repository, with a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Why a string is not a reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A part of it is not what the grammar admits.
    #[error(
        "{0:?} is not an image reference: {1}; expected REGISTRY/REPOSITORY[:TAG][@DIGEST], such as docker.io/library/debian:stable"
    )]
    Grammar(String, &'static str),
    /// It begins with a scheme.
    #[error(
        "{0:?} has a scheme, and an image reference has none: expected REGISTRY/REPOSITORY[:TAG][@DIGEST]"
    )]
    Scheme(String),
    /// It has a login.
    #[error(
        "{0:?} has a login before the registry, and an image reference has none: expected REGISTRY/REPOSITORY[:TAG][@DIGEST], after docker login REGISTRY"
    )]
    Login(String),
    /// The part after `@` is not a digest.
    #[error("{0:?} has a malformed digest")]
    Digest(String, #[source] DigestError),
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag; `latest` when the reference has neither a tag nor a digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let shown = || without_login(text).into_owned();
        // A login is before a host, which no digest has in it.
        let is_host = |part: &str| {
            let host = part.split('/').next().unwrap_or(part);
            let is_one = part.contains('/') || is_host_like(before_colon(host));
            is_one && normal_host(host).is_some()
        };
        if text.split('@').skip(1).any(is_host) {
            return Err(ReferenceError::Login(shown()));
        }
        if text.contains("://") {
            return Err(ReferenceError::Scheme(shown()));
        }
        let malformed = |why| ReferenceError::Grammar(shown(), why);
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|error| ReferenceError::Digest(shown(), error))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon before a slash is a port's.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if is_host_like(host) => (host, path),
            _ => (DOCKER_HUB, name),
        };
        let registry: Registry = registry
            .parse()
            .map_err(|_| malformed("its registry is not a host with a port or without"))?;
        let path = if registry.as_str() == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !path.split('/').all(is_component) {
            return Err(malformed(
                "a repository has lower-case letters and digits, joined by ., _, __, - and /",
            ));
        }
        let repository = Repository { registry, path };
        if repository.to_string().len() > MAX_NAME {
            return Err(malformed("its name is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(Tag::latest()),
            (None, Some(_)) => None,
            (Some(tag), _) => Some(tag.parse().map_err(|_| malformed(TAG_RULE))?),
        };
        Ok(Reference {
            repository,
            tag,
            digest,
        })
    }
}

/// A reference with a tag and no digest: a name that an image may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    written: String,
    reference: Reference,
    tag: Tag,
}

/// Why a string is not a name for an image.
#[derive(Debug, thiserror::Error)]
pub enum TaggedError {
    /// It is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It has a digest, which nobody can give.
    #[error("{0:?} has a digest: expected NAME:TAG, such as team/app:v1")]
    Digest(String),
}

impl Tagged {
    /// The name as written, with its tag.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The reference in full.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The tag.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }
}

impl FromStr for Tagged {
    type Err = TaggedError;

    fn from_str(text: &str) -> Result<Self, TaggedError> {
        let reference: Reference = text.parse()?;
        let (None, Some(tag)) = (reference.digest(), reference.tag()) else {
            return Err(TaggedError::Digest(text.to_owned()));
        };
        let tag = tag.clone();
        let written = if text.ends_with(&format!(":{tag}")) {
            text.to_owned()
        } else {
            format!("{text}:{tag}")
        };
        Ok(Tagged {
            written,
            reference,
            tag,
        })
    }
}

/// A tag (distribution spec, "Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

/// Why a string is not a tag.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a tag: {TAG_RULE}")]
pub struct TagError(String);

impl Tag {
    /// The tag of a reference that says neither a tag nor a digest.
    pub fn latest() -> Self {
        Tag("latest".to_owned())
    }

    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        if is_tag(text) {
            Ok(Tag(text.to_owned()))
        } else {
            Err(TagError(text.to_owned()))
        }
    }
}

/// The name of an image within a layout (image spec, annotations.md, `org.opencontainers.image.ref.name`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefName(String);

/// Why a string is not a name within a layout.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a name for an image in a layout: expected parts of A-Za-z0-9 with one of -._:@+, or --, between, and a slash between several of these, such as latest or library/debian:stable"
)]
pub struct RefNameError(String);

impl RefName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RefName {
    type Err = RefNameError;

    fn from_str(text: &str) -> Result<Self, RefNameError> {
        let is_component = |component: &str| {
            let component = component.replace("--", "-");
            let mut words = component.split(['-', '.', '_', ':', '@', '+']);
            let is_word = |word: &str| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            words.all(is_word)
        };
        if text.split('/').all(is_component) {
            Ok(RefName(text.to_owned()))
        } else {
            Err(RefNameError(text.to_owned()))
        }
    }
}

fn before_colon(text: &str) -> &str {
    text.split_once(':').map_or(text, |(before, _)| before)
}

/// Whether the part before the first slash is a registry and not the beginning of a repository.
fn is_host_like(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

/// A host name, an IPv4 address or an IPv6 address in brackets, perhaps with a port, in the one form that means it.
fn normal_host(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) if port.starts_with('+') => return None,
        Some(port) => format!(":{}", port.parse::<u16>().ok()?),
        None => String::new(),
    };
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let host = match bracketed(host) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
        None if host.split('.').all(label) => in_urls(host)?,
        None => return None,
    };
    Some(host + &port)
}

/// A host as URLs have it, which may be an IPv4 address that is written in another way; none if none can.
fn in_urls(host: &str) -> Option<String> {
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    url.host_str().map(str::to_owned)
}

/// What is in the brackets around an IPv6 address.
pub(crate) fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// Whether `text` may stand between the slashes of a repository (distribution spec, "Pulling manifests").
pub(crate) fn is_component(text: &str) -> bool {
    let is_separator =
        |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(letter) && text.ends_with(letter) && text.split(letter).all(is_separator)
}

/// Whether `text` is a tag (distribution spec, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_name_in_a_layout_is_of_the_grammar() {
        for good in [
            "latest",
            "v1.0_a+b",
            "docker.io/a/b:c",
            "a--b",
            "a@sha256:0",
        ] {
            assert_eq!(good.parse::<RefName>().unwrap().as_str(), good);
        }
        for bad in [
            "", "a b", "a..b", "/a", "a/", "-a", "a---b", "a:", "é", "a\n",
        ] {
            assert!(bad.parse::<RefName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fills_in_docker_hub() {
        let reference: Reference = "debian".parse().unwrap();
        assert_eq!(reference.to_string(), "docker.io/library/debian:latest");
        let registry = reference.repository().registry();
        assert_eq!(registry.api_host(), "registry-1.docker.io");
    }

    #[test]
    fn keeps_port_tag_and_digest() {
        let text = format!("127.0.0.1:5000/team/app:v1@{DIGEST}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.repository().registry().as_str(), "127.0.0.1:5000");
        assert_eq!(reference.repository().path(), "team/app");
        assert_eq!(reference.tag().map(Tag::as_str), Some("v1"));
        assert_eq!(reference.digest().unwrap().to_string(), DIGEST);
        assert_eq!(reference.to_string(), text);
    }

    #[test]
    fn tells_a_registry_from_a_repository() {
        let name = |text: &str| {
            let reference: Reference = text.parse().unwrap();
            let Repository { registry, path } = reference.repository;
            (registry.0, path)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            name("index.docker.io/debian"),
            pair("docker.io", "library/debian")
        );
        assert_eq!(name("team/app"), pair("docker.io", "team/app"));
        assert_eq!(name("localhost/app"), pair("localhost", "app"));
        assert_eq!(name("GHCR.IO/team/app:v1"), pair("ghcr.io", "team/app"));
        assert_eq!(
            name("Docker.io:443/debian"),
            pair("docker.io", "library/debian")
        );
        assert_eq!(name("[::1]:5000/app"), pair("[::1]:5000", "app"));
        assert_eq!(name("[0:0::0001]:05000/app"), pair("[::1]:5000", "app"));
        assert_eq!(
            name("r.test:443/a__b/c--d.e"),
            pair("r.test:443", "a__b/c--d.e")
        );
    }

    #[test]
    fn a_registry_is_one_with_the_port_of_tls_and_without() {
        for (text, name) in [
            ("A.test", "a.test"),
            ("a.test:443", "a.test"),
            ("a.test:80", "a.test:80"),
            ("[::1]:443", "[::1]"),
            ("[::443]:5000", "[::443]:5000"),
        ] {
            let registry: Registry = text.parse().unwrap();
            assert_eq!(registry.without_port_of(Scheme::Https), name, "{text}");
        }
        for (text, scheme, other) in [
            ("a.test", Scheme::Https, Some("a.test:443")),
            ("a.test:443", Scheme::Https, Some("a.test")),
            ("a.test:443", Scheme::Http, None),
            ("a.test:80", Scheme::Http, Some("a.test")),
            ("[::1]", Scheme::Http, Some("[::1]:80")),
            ("[::1]:5000", Scheme::Https, None),
            ("docker.io", Scheme::Https, None),
        ] {
            let registry: Registry = text.parse().unwrap();
            let name = registry.other_name(scheme);
            assert_eq!(name.as_deref(), other, "{text}");
        }
        assert_eq!("127.1:80".parse::<Registry>().unwrap().0, "127.0.0.1:80");
        // As in Docker's grammar.
        for bad in [
            "localhost.",
            "localhost.:5000",
            "a.test.",
            "::1",
            "::1:5000",
            "[::1%eth0]",
            "a.test:+1",
            "a.test:",
            // What no URL can have.
            "1.2.3.4.5",
            "a.0x",
            "256.1.1.1:5000",
            "xn--a.test",
        ] {
            assert!(bad.parse::<Registry>().is_err(), "{bad}");
        }
    }

    #[test]
    fn another_tag_takes_the_place_of_tag_and_digest() {
        let reference: Reference = format!("a.test/b:v1@{DIGEST}").parse().unwrap();
        let other = reference.repository.tagged("v2".parse().unwrap());
        assert_eq!(other.to_string(), "a.test/b:v2");
        for bad in ["", "a/b", "v1@x", "a b"] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_keeps_its_form_and_has_a_tag() {
        let name = |text: &str| text.parse::<Tagged>().unwrap();
        assert_eq!(name("app").as_str(), "app:latest");
        assert_eq!(
            name("localhost:5000/app").as_str(),
            "localhost:5000/app:latest"
        );
        let full = name("team/app:v1");
        assert_eq!((full.as_str(), full.tag().as_str()), ("team/app:v1", "v1"));
        assert_eq!(full.reference().to_string(), "docker.io/team/app:v1");
        for bad in [
            &format!("app@{DIGEST}"),
            &format!("app:v1@{DIGEST}"),
            "App:v1",
        ] {
            assert!(bad.parse::<Tagged>().is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_no_reference() {
        for bad in [
            "",
            "UPPER/case",
            "a/b@sha256:12",
            "a/b@../../x",
            "a b",
            "https://a/b",
            "a/b:\u{446}",
            "a/b:.tag",
            "a//b",
            "a/b-",
            "a/b___c",
            "a/../b",
            "-a.test/b",
            "a.test:/b",
            "a.test:5x/b",
            "a.test:65536/b",
            "[::g]/b",
            &format!("a/{}", "b".repeat(300)),
            &format!("a/b:{}", "t".repeat(129)),
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            let shown = without_login(bad);
            assert!(error.contains(&format!("{shown:?}")), "{error}");
        }
    }
}
