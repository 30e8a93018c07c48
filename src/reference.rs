//! Image references (`registry/repository:tag@digest`), in Docker's and containerd's grammar.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// The name of an image in a registry, with a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    name: oci_client::Reference,
    digest: Option<Digest>,
}

/// Why a string is not a reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The grammar does not admit it.
    #[error(
        "{0:?} is not an image reference: expected REGISTRY/REPOSITORY[:TAG][@DIGEST], such as docker.io/library/debian:stable"
    )]
    Grammar(String, #[source] oci_client::ParseError),
    /// The grammar's implementation admits it, but registries do not.
    #[error(
        "{0:?} is not an image reference: a repository has lower-case letters, digits and ._-/ only"
    )]
    Repository(String),
    /// The grammar's implementation takes letters of all scripts for those of a tag.
    #[error("{0:?} is not an image reference: a tag has ASCII letters, digits and ._- only")]
    Tag(String),
    /// The part after `@` is not a digest.
    #[error("{0:?} has a malformed digest")]
    Digest(String, #[source] DigestError),
}

impl Reference {
    /// The registry's host and port as written, such as `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        self.name.registry()
    }

    /// The host and port that answer for the registry: Docker Hub's API has another name than
    /// its images.
    pub fn api_host(&self) -> &str {
        match self.name.registry() {
            "docker.io" => "registry-1.docker.io",
            registry => registry,
        }
    }

    /// The repository within the registry, such as `library/debian`.
    pub fn repository(&self) -> &str {
        self.name.repository()
    }

    /// The tag; `latest` when the reference has neither a tag nor a digest.
    pub fn tag(&self) -> Option<&str> {
        self.name.tag()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository in the form that `oci_client` takes.
    pub(crate) fn as_oci_client(&self) -> oci_client::Reference {
        oci_client::Reference::with_tag(
            self.api_host().to_owned(),
            self.repository().to_owned(),
            self.tag().unwrap_or("latest").to_owned(),
        )
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // Parsed apart, because the grammar's own digests are looser than ours.
        let digest = match text.split_once('@') {
            Some((_, digest)) => Some(
                digest
                    .parse()
                    .map_err(|error| ReferenceError::Digest(text.to_owned(), error))?,
            ),
            None => None,
        };
        let name = oci_client::Reference::try_from(text)
            .map_err(|error| ReferenceError::Grammar(text.to_owned(), error))?;
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)
        };
        if !name.repository().bytes().all(allowed) {
            return Err(ReferenceError::Repository(text.to_owned()));
        }
        if !name.tag().unwrap_or_default().is_ascii() {
            return Err(ReferenceError::Tag(text.to_owned()));
        }
        Ok(Reference { name, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry(), self.repository())?;
        if let Some(tag) = self.tag() {
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
    fn fills_in_docker_hub() {
        let reference: Reference = "debian".parse().unwrap();
        assert_eq!(reference.to_string(), "docker.io/library/debian:latest");
        assert_eq!(reference.api_host(), "registry-1.docker.io");
    }

    #[test]
    fn keeps_port_tag_and_digest() {
        let text = format!("127.0.0.1:5000/team/app:v1@{DIGEST}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.registry(), "127.0.0.1:5000");
        assert_eq!(reference.repository(), "team/app");
        assert_eq!(reference.tag(), Some("v1"));
        assert_eq!(reference.digest().unwrap().to_string(), DIGEST);
        assert_eq!(reference.to_string(), text);
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
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
