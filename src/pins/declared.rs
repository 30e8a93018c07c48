//! What a workspace declares of images and artifacts to pull.

use serde::Deserialize;

use crate::oci::platform::{Platform, PlatformError};
use crate::oci::reference::{Reference, ReferenceError, Repository};
use crate::oci::strict;

/// A declaration of something to pull.
#[derive(Debug)]
pub struct Declared {
    /// The repository's name.
    pub name: String,
    /// What stands as its digest.
    pub digest: String,
    /// What it declares.
    pub pinned: Result<Pinned, BadDeclaration>,
}

/// What is pinned.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The image's or artifact's name.
    pub repository: Repository,
    /// The tag that is followed, if the declaration has one.
    pub tag: Option<String>,
    /// The platforms; all when empty.
    pub platforms: Vec<Platform>,
    /// Whether the registry is spoken to without TLS.
    pub plain_http: bool,
    /// The label of a file with credentials.
    pub docker_config: Option<String>,
}

/// Why a declaration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BadDeclaration {
    /// Neither one name of an image nor the other.
    #[error("it must name its image either by image or by registry and repository")]
    NoImage,
    /// The image's name is none.
    #[error("its image cannot be asked for")]
    Image(#[source] ReferenceError),
    /// A platform is none.
    #[error("its platforms are of no use")]
    Platform(#[source] PlatformError),
}

/// The attributes of a pull.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    name: String,
    image: String,
    registry: String,
    repository: String,
    tag: String,
    digest: String,
    platforms: Vec<String>,
    plain_http: bool,
    docker_config: String,
}

impl Attributes {
    pub(super) fn declared(mut self, name: String) -> Declared {
        Declared {
            name,
            digest: std::mem::take(&mut self.digest),
            pinned: self.pinned(),
        }
    }

    fn pinned(self) -> Result<Pinned, BadDeclaration> {
        let image = match (&*self.image, &*self.registry, &*self.repository) {
            ("", registry, repository) if !registry.is_empty() && !repository.is_empty() => {
                format!("{registry}/{repository}")
            }
            (image, "", "") if !image.is_empty() => image.to_owned(),
            _ => return Err(BadDeclaration::NoImage),
        };
        // What else it says is not what is followed.
        let image: Reference = image.parse().map_err(BadDeclaration::Image)?;
        let platforms = self.platforms.iter().map(|platform| platform.parse());
        let unless_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Pinned {
            repository: image.repository().clone(),
            platforms: platforms
                .collect::<Result<_, _>>()
                .map_err(BadDeclaration::Platform)?,
            tag: unless_empty(self.tag),
            plain_http: self.plain_http,
            docker_config: unless_empty(self.docker_config),
        })
    }
}

/// What the module extension wrote of the root module's `oci.pull`, as JSON: a list of objects with their attributes.
pub fn of_extension(json: &[u8]) -> serde_json::Result<Vec<Declared>> {
    let pulls: Vec<Attributes> = strict::read(json)?;
    let declared = |mut pull: Attributes| {
        let name = std::mem::take(&mut pull.name);
        pull.declared(name)
    };
    Ok(pulls.into_iter().map(declared).collect())
}
