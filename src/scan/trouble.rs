//! Why the result of a scan cannot be trusted, and the words by which a policy allows it.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::inventory::{NoJavaDatabase, known};
use super::isolate::Access;

/// Why the result of a scan cannot be trusted.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::EnumDiscriminants,
)]
#[serde(tag = "code", rename_all = "kebab-case")]
#[strum_discriminants(
    doc = "The word for a trouble: the `code` of its JSON.",
    name(TroubleCode),
    derive(
        PartialOrd,
        Ord,
        strum::Display,
        strum::EnumString,
        strum::IntoStaticStr,
        strum::VariantArray
    ),
    strum(serialize_all = "kebab-case"),
    allow(missing_docs)
)]
pub enum Trouble {
    /// The scanner saw no package.
    NoPackages,
    /// The image has a database of packages of which the scanner saw none.
    SystemPackagesUnseen {
        /// The database's path.
        path: String,
    },
    /// The image has a database of packages of which the scanner saw only a part.
    SystemPackagesMissing {
        /// The database's path.
        path: String,
        /// One that it did not see.
        package: String,
        /// How many more there are.
        more: u64,
    },
    /// The image has a database of packages that cannot be read here, so nobody knows what the scanner saw of it.
    SystemPackagesUnjudged {
        /// The database's path.
        path: String,
    },
    /// The image says of which system it is, and has no database of its packages.
    SystemWithoutPackages {
        /// The system.
        system: String,
    },
    /// The scanner of files saw none.
    NoFiles,
    /// The scanner of files did not look into all of them.
    FilesUnseen {
        /// How many it looked into.
        seen: u64,
        /// How many there are.
        files: u64,
    },
    /// The scanner of files did not look into all of a file.
    FilesUnscanned {
        /// One of them.
        path: String,
        /// How many more there are.
        more: u64,
    },
    /// The scanner passed over files of packages of a language.
    LanguagePackagesUnseen {
        /// One of them.
        path: String,
        /// How many more there are.
        more: u64,
    },
    /// Programs that Go made do not say of which modules.
    GoProgramWithoutModules {
        /// One of them.
        path: String,
        /// How many more there are.
        more: u64,
    },
    /// A part of a database of packages is in a log that scanners do not read.
    UnreadLog {
        /// The log's path.
        path: String,
    },
    /// The database has nothing about the system.
    SystemNotCovered {
        /// The system.
        system: String,
    },
    /// The database has nothing about the packages of a language.
    LanguageNotCovered {
        /// What the scanner calls them.
        kind: String,
    },
    /// The scanner cannot compare the version of a package with those of advisories.
    VersionNotCompared {
        /// The package's name.
        package: String,
        /// Its version.
        version: String,
        /// Where it is.
        #[serde(with = "known")]
        path: Option<String>,
        /// How many more there are.
        more: u64,
    },
    /// The database has no advisory at all.
    EmptyDatabase,
    /// The scanner drops advisories of the database, which have something that it does not know.
    AdvisoriesDropped {
        /// One of them.
        advisory: String,
        /// What it has.
        why: String,
        /// How many more there are.
        more: u64,
    },
    /// The database is of another form than the scanner reads.
    DatabaseSchema {
        /// The version that it has.
        found: u64,
        /// The version that is read.
        expected: u64,
    },
    /// A database does not say when it was built.
    DatabaseWithoutDate {
        /// Which.
        database: DatabaseOf,
    },
    /// A database is older than what it is to know about.
    DatabaseTooOld {
        /// Which.
        database: DatabaseOf,
        /// When it was built.
        built: NaiveDate,
        /// The newest date of the image, its bases and the scanner.
        newest: NaiveDate,
        /// How many days it may be behind.
        days: u32,
    },
    /// The base has packages of a system, and the image has none.
    SystemPackagesGone,
    /// The image says that it is of another system than its base.
    SystemDiffers {
        /// The image's.
        image: String,
        /// The base's.
        base: String,
    },
    /// The scanner takes the image for one of another system, or of one where the image says nothing.
    SystemMistaken {
        /// What the image says.
        said: Option<String>,
        /// What the scanner took it for.
        seen: String,
    },
    /// The image says that it is of another release than its packages.
    SystemOfOtherBranch {
        /// What the image says.
        said: String,
        /// Where its packages come from.
        branches: String,
    },
    /// The scanner could use the network, or nobody can tell.
    NetworkNotBlocked {
        /// What it could use.
        network: Access,
    },
    /// Java archives cannot be looked into without a database of them.
    NoJavaDatabase {
        /// How many there are.
        archives: u64,
        /// Why there is none.
        why: NoJavaDatabase,
    },
}

impl Trouble {
    /// The word by which a policy allows it.
    pub fn code(&self) -> TroubleCode {
        self.into()
    }
}

impl TroubleCode {
    /// Whether a policy may allow it: without a network of which it is known that it was closed, or with a database that the scanner
    /// cannot read, nothing was scanned.
    pub fn may_be_allowed(self) -> bool {
        !matches!(
            self,
            TroubleCode::DatabaseSchema | TroubleCode::NetworkNotBlocked
        )
    }
}

/// A database that a scan goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseOf {
    /// Of advisories.
    Advisories,
    /// Of Java archives.
    Java,
}

impl std::fmt::Display for DatabaseOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DatabaseOf::Advisories => "database",
            DatabaseOf::Java => "Java database",
        })
    }
}

/// How many more there are of what is named.
pub(super) fn and_more(number: u64) -> String {
    match number {
        0 => String::new(),
        number => format!(" and {number} more"),
    }
}

impl std::fmt::Display for Trouble {
    #[expect(clippy::too_many_lines, reason = "it is a list of sentences")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::NoPackages => f.write_str("the scanner saw no package in the image"),
            Trouble::NoFiles => f.write_str("the scanner saw no file in the image"),
            Trouble::FilesUnseen { seen, files } => {
                write!(f, "the scanner looked into {seen} of {files} files")
            }
            Trouble::FilesUnscanned { path, more } => {
                write!(
                    f,
                    "the scanner did not look into all of {path}{}",
                    and_more(*more)
                )
            }
            Trouble::SystemPackagesUnseen { path } => {
                write!(
                    f,
                    "the image has packages in {path}, and the scanner saw none of them: it may not look there, or take the image for another system by its os-release"
                )
            }
            Trouble::SystemPackagesMissing {
                path,
                package,
                more,
            } => {
                write!(
                    f,
                    "the image has {package}{} in {path}, and the scanner did not see it",
                    and_more(*more)
                )
            }
            Trouble::SystemPackagesUnjudged { path } => {
                write!(
                    f,
                    "the image has packages in {path}, which cannot be read here, so nobody knows whether the scanner saw all of them"
                )
            }
            Trouble::SystemWithoutPackages { system } => {
                write!(
                    f,
                    "the image says that it is {system}, and has no database of that system's packages"
                )
            }
            Trouble::LanguagePackagesUnseen { path, more } => {
                write!(
                    f,
                    "the scanner passed over packages: it saw others or none in {path}{}",
                    and_more(*more)
                )
            }
            Trouble::GoProgramWithoutModules { path, more } => {
                write!(
                    f,
                    "the Go program {path}{} does not say of which modules it is made",
                    and_more(*more)
                )
            }
            Trouble::UnreadLog { path } => {
                write!(
                    f,
                    "some packages may be in {path} alone, which scanners do not read"
                )
            }
            Trouble::SystemNotCovered { system } => {
                write!(f, "the database has nothing about {system}")
            }
            Trouble::LanguageNotCovered { kind } => {
                write!(
                    f,
                    "the database has nothing about packages of the kind {kind}"
                )
            }
            Trouble::VersionNotCompared {
                package,
                version,
                path,
                more,
            } => {
                let path = path.iter().map(|path| format!(" in {path}"));
                write!(
                    f,
                    "the scanner cannot compare the version of {package} {version}{}{} with those of advisories",
                    path.collect::<String>(),
                    and_more(*more)
                )
            }
            Trouble::EmptyDatabase => f.write_str("the database has no advisory"),
            Trouble::AdvisoriesDropped {
                advisory,
                why,
                more,
            } => {
                write!(
                    f,
                    "the scanner drops {advisory}{} of the database, which it cannot read: {why}",
                    and_more(*more)
                )
            }
            Trouble::DatabaseSchema { found, expected } => {
                write!(
                    f,
                    "the database is of the form {found}, and the scanner reads {expected}"
                )
            }
            Trouble::DatabaseWithoutDate { database } => {
                write!(f, "the {database} does not say when it was built")
            }
            Trouble::DatabaseTooOld {
                database,
                built,
                newest,
                days,
            } => write!(
                f,
                "the {database} was built on {built}, more than {days} days before {newest}, the newest date of the image, its bases and the scanner"
            ),
            Trouble::SystemPackagesGone => {
                f.write_str("the base has packages of its system, and the image has none")
            }
            Trouble::SystemDiffers { image, base } => {
                write!(
                    f,
                    "the image says that it is {image}, and its base that it is {base}"
                )
            }
            Trouble::SystemMistaken {
                said: Some(said),
                seen,
            } => write!(
                f,
                "the image says that it is {said}, and the scanner took it for {seen}"
            ),
            Trouble::SystemMistaken { said: None, seen } => write!(
                f,
                "no os-release says of which system the image is, and the scanner took it for {seen}"
            ),
            Trouble::SystemOfOtherBranch { said, branches } => {
                write!(
                    f,
                    "the image says that it is {said}, and its packages come from {branches}"
                )
            }
            Trouble::NetworkNotBlocked { network } => network.fmt(f),
            Trouble::NoJavaDatabase { archives, why } => {
                let were = if *archives == 1 { " was" } else { "s were" };
                write!(
                    f,
                    "{archives} Java archive{were} not looked into, because {why}"
                )
            }
        }
    }
}
