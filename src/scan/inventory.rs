//! What an image has in it, by what a scanner listed and by its own files. No scanner's own, and the same bytes anywhere: sorted,
//! with no clock, random identifier or absolute path in it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;

use super::isolate::Access;
use super::packages::Architectures;
use super::traces::Traces;

/// The version of these documents.
pub const SCHEMA: u32 = 1;

/// The kind of a file, where that counts as a package.
pub(super) const FILE: &str = "file";

/// A text, unless it is empty, as scanners write what they do not know.
pub(super) fn known(text: impl Into<Option<String>>) -> Option<String> {
    text.into().filter(|text| !text.is_empty())
}

/// The same in these documents.
pub(super) mod known {
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde has it so")]
    pub(in crate::scan) fn serialize<S: Serializer>(
        text: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text.as_deref().unwrap_or_default())
    }

    pub(in crate::scan) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        String::deserialize(deserializer).map(super::known)
    }
}

/// What an image has in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who looked.
    pub scanner: Scanner,
    /// What it could use of the network.
    pub network: Access,
    /// What was looked at.
    pub image: Image,
    /// Its layers by their verified `diff_id`s, the lowest first.
    pub layers: Vec<Digest>,
    /// The system, if the image says which.
    pub system: Option<System>,
    /// The packages, sorted.
    pub packages: Vec<Package>,
    /// What its files say of its packages, whatever the scanner saw.
    pub traces: Traces,
    /// By what the scanner knows Java archives.
    pub java: JavaArchives,
}

/// By what a scanner knows the packages in Java archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JavaArchives {
    /// By what is in them.
    Content,
    /// By a database, too.
    Database(Database),
    /// It does not look into them, because it has no database of use.
    Nothing(NoJavaDatabase),
}

/// Why there is no database of Java archives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoJavaDatabase {
    /// None is given.
    Missing,
    /// It has nothing in it.
    Empty,
    /// It is of another form than the scanner reads.
    Schema {
        /// The version that it has.
        found: u64,
        /// The version that is read.
        expected: u64,
    },
}

/// A scanner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanner {
    /// What it is called.
    pub name: String,
    /// Its version, if it says so.
    #[serde(with = "known")]
    pub version: Option<String>,
    /// When the image was made that it is from, if it is from one that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<DateTime<Utc>>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The manifest's digest.
    pub manifest: String,
    /// What it is for.
    pub platform: String,
    /// When it was made, if it says so.
    pub created: Option<DateTime<Utc>>,
}

/// A system as `os-release` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its family, such as `debian`.
    pub family: String,
    /// Its release, such as `12.5`, if it has any.
    #[serde(with = "known")]
    pub release: Option<String>,
    /// The release's name, such as `bookworm`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "known")]
    pub codename: Option<String>,
    /// Where its packages are from, if some of them say so: of each kind of them all the repositories and builds, by which
    /// there are advisories of it (Red Hat's content sets).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<BTreeSet<String>>,
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let release = self.release.as_ref().or(self.codename.as_ref());
        f.write_str(&self.family)?;
        release.map_or(Ok(()), |release| write!(f, " {release}"))
    }
}

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// What it is a package of, in the scanner's words, such as `debian` or `python-pkg`.
    pub kind: String,
    /// Whether it belongs to the system, and not to a language.
    pub of_system: bool,
    /// Its name.
    pub name: String,
    /// Its version, as for the rest if the scanner knows.
    #[serde(with = "known")]
    pub version: Option<String>,
    /// Its architecture, of a package of the system.
    #[serde(with = "known")]
    pub architecture: Option<String>,
    /// Where it is, of a package of a language.
    #[serde(with = "known")]
    pub path: Option<String>,
    /// Its package URL.
    #[serde(with = "known")]
    pub purl: Option<String>,
    /// The `diff_id` of the layer that it came with.
    #[serde(with = "known")]
    pub layer: Option<String>,
}

impl Package {
    /// A file of an image, or what counts as one.
    pub(super) fn file(path: String, layer: Option<String>) -> Self {
        Package {
            kind: FILE.to_owned(),
            of_system: false,
            name: path.clone(),
            version: None,
            architecture: None,
            path: Some(path),
            purl: None,
            layer,
        }
    }

    /// The type in its package URL, or nothing.
    pub(super) fn url_type(&self) -> &str {
        let url = self.purl.as_deref().unwrap_or_default();
        let rest = url.strip_prefix("pkg:").unwrap_or_default();
        rest.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// What makes it the same package in an image and in its base, wherever layers put it.
    pub(super) fn identity(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        let place = if self.of_system {
            &self.architecture
        } else {
            &self.path
        };
        (
            &self.kind,
            &self.name,
            self.version.as_deref(),
            place.as_deref(),
        )
    }
}

/// An image does not stand on what is called its base.
#[derive(Debug, thiserror::Error)]
#[error(
    "the image, for {image}, does not stand on the base, for {base}: layer {number} of the base has the diff_id {expected}, and that of the image {}",
    .found.as_ref().map_or_else(|| "is not there".to_owned(), |found| format!("has {found}"))
)]
pub struct OtherBase {
    image: String,
    base: String,
    number: usize,
    expected: Digest,
    found: Option<Digest>,
}

impl Inventory {
    /// Makes sure that the layers of `base` are the first of the image's.
    pub fn check_base(&self, base: &Inventory) -> Result<(), OtherBase> {
        let layers = self.layers.iter().map(Some).chain(std::iter::repeat(None));
        let mut pairs = base.layers.iter().zip(layers).enumerate();
        match pairs.find(|(_, (expected, found))| Some(*expected) != *found) {
            None => Ok(()),
            Some((index, (expected, found))) => Err(OtherBase {
                image: self.image.platform.clone(),
                base: base.image.platform.clone(),
                number: index + 1,
                expected: expected.clone(),
                found: found.cloned(),
            }),
        }
    }

    /// Of the packages of its system that are there for several architectures, each of these.
    pub(super) fn architectures(&self) -> Architectures {
        let of_system = self.packages.iter().filter(|package| package.of_system);
        let all = of_system.filter_map(|package| {
            let architectures = package.architecture.as_deref()?.split(' ');
            let version = package.version.as_deref().unwrap_or_default();
            Some(
                architectures
                    .map(move |one| (package.name.clone(), version.to_owned(), one.to_owned())),
            )
        });
        all.flatten().collect()
    }

    /// The packages by what they are of.
    pub(super) fn looked_at(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for package in &self.packages {
            *counts.entry(package.kind.clone()).or_default() += 1;
        }
        counts
    }

    /// The database of Java archives, where there are any that the scanner looked into.
    pub(super) fn java_database(&self) -> Option<&Database> {
        match &self.java {
            JavaArchives::Database(database) if self.traces.java_archives > 0 => Some(database),
            _ => None,
        }
    }

    /// The kinds of packages that belong to languages.
    pub(super) fn language_kinds(&self) -> BTreeSet<&str> {
        let of_languages = self.packages.iter().filter(|package| !package.of_system);
        of_languages.map(|package| &*package.kind).collect()
    }
}

/// A database of advisories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The version of its form, as it says.
    pub schema: u64,
    /// When it was built, the oldest part of it where they have dates of their own.
    pub built: Option<DateTime<Utc>>,
    /// When the newest part was built, where they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<DateTime<Utc>>,
}

impl std::fmt::Display for NoJavaDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoJavaDatabase::Missing => f.write_str("there is no Java database"),
            NoJavaDatabase::Empty => f.write_str("the Java database has nothing in it"),
            NoJavaDatabase::Schema { found, expected } => write!(
                f,
                "the Java database is of the form {found}, and the scanner reads {expected}"
            ),
        }
    }
}
