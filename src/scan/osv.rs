//! Databases of OSV: for each ecosystem a zip file of records (OSV schema 1.7), as osv-scanner reads them offline.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::files::{FileError, io_failed, open_regular};
use crate::oci::strict;
use crate::oci::time::Time;
use crate::text::named;

use super::osv_schema::Readable;

/// The most bytes of a record.
const MAX_RECORD: u64 = 64 << 20;
/// How the name of a record ends.
const RECORD: &str = ".json";

/// Why a file is no database.
#[derive(Debug, thiserror::Error)]
pub enum OsvError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It is no zip file.
    #[error("{path} is no zip file of OSV's, or is not whole", path = .path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ZipError,
    },
    /// A part of it cannot be read.
    #[error("{name:?} in {path} cannot be read", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The part.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Something else is in it.
    #[error("{name:?} in {path} is no record of OSV's", path = .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The part.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// There is nothing in it.
    #[error("{path} has no record", path = .0.display())]
    Empty(PathBuf),
    /// It is where osv-scanner looks for another one.
    #[error(
        "the records of {path} are of {found}, and its directory must be called so, such as PyPI/all.zip", path = .path.display()
    )]
    Directory {
        /// The file.
        path: PathBuf,
        /// What its records are about.
        found: String,
    },
    /// Nothing says which part of a database it is.
    #[error(
        "nothing says which ecosystem {path} is of: its records have {found} in common; put it into a directory that is called as the ecosystem, such as PyPI/all.zip", path = .path.display()
    )]
    Ecosystem {
        /// The file.
        path: PathBuf,
        /// What its records are about.
        found: String,
    },
    /// It is of several parts of a database.
    #[error(
        "the records of {path} have no ecosystem in common: there are {found}; take a file of one, as OSV publishes it", path = .path.display()
    )]
    Mixed {
        /// The file.
        path: PathBuf,
        /// What its records are about.
        found: String,
    },
}

/// The records of an ecosystem.
#[derive(Clone, Debug)]
pub(super) struct Records {
    /// What all of them are about, without a release.
    common: BTreeSet<String>,
    /// All that any of them is about, with its release, such as `Debian:12`, unless it was withdrawn.
    ecosystems: BTreeSet<String>,
    /// When the newest of them was changed, if there are any: the file has no other date.
    pub(super) newest: Option<DateTime<Utc>>,
    /// Those that osv-scanner drops, if there are any.
    pub(super) dropped: Option<Dropped>,
}

/// Records that osv-scanner drops without a word.
#[derive(Clone, Debug)]
pub(super) struct Dropped {
    /// The first of them.
    pub(super) record: String,
    /// Why.
    pub(super) why: String,
    /// How many more there are.
    pub(super) more: u64,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "id")]
    _id: String,
    modified: Time,
    withdrawn: Option<IgnoredAny>,
    affected: Option<Vec<Affected>>,
}

#[derive(Deserialize)]
struct Affected {
    package: Option<AffectedPackage>,
}

#[derive(Deserialize)]
struct AffectedPackage {
    ecosystem: String,
}

impl Record {
    /// What it is about.
    fn ecosystems(&self) -> impl Iterator<Item = &str> {
        let affected = self.affected.iter().flatten();
        let packages = affected.filter_map(|affected| affected.package.as_ref());
        packages.map(|package| package.ecosystem.as_str())
    }
}

impl Records {
    /// Reads a file, all of it.
    pub(super) fn read(path: &Path) -> Result<Self, OsvError> {
        let file = io_failed("read", path, open_regular(path))?;
        let zip = |source| OsvError::Zip {
            path: path.to_owned(),
            source,
        };
        let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(zip)?;
        let mut newest = None;
        let mut dropped: Option<Dropped> = None;
        let mut all = BTreeSet::new();
        let mut common: Option<BTreeSet<String>> = None;
        for index in 0..archive.len() {
            let mut part = archive.by_index(index).map_err(zip)?;
            if part.is_dir() {
                continue;
            }
            let name = part.name().map_err(zip)?.into_owned();
            let (record, fault) = read_record(&mut part, &name, path)?;
            newest = newest.max(Some(record.modified.utc()));
            if let Some(fault) = fault {
                match &mut dropped {
                    Some(dropped) => dropped.more += 1,
                    None => {
                        dropped = Some(Dropped {
                            record: name,
                            why: fault.to_string(),
                            more: 0,
                        });
                    }
                }
            } else if record.withdrawn.is_none() {
                all.extend(record.ecosystems().map(str::to_owned));
            }
            let ecosystems: BTreeSet<_> = record.ecosystems().map(without_release).collect();
            // One that was withdrawn may be about nothing.
            if ecosystems.is_empty() {
                continue;
            }
            match &mut common {
                Some(common) => common.retain(|name| ecosystems.contains(name.as_str())),
                None => common = Some(ecosystems.into_iter().map(str::to_owned).collect()),
            }
        }
        Ok(Records {
            common: common.unwrap_or_default(),
            ecosystems: all,
            newest,
            dropped,
        })
    }

    /// All that its records are about of the ecosystem by which its directory is called, with releases: osv-scanner reads no
    /// more of it. It is an error if they are of another one.
    pub(super) fn of_directory(self, path: &Path) -> Result<BTreeSet<String>, OsvError> {
        let directory = directory_name(path);
        if !self.common.is_empty() && !self.common.contains(directory) {
            return Err(OsvError::Directory {
                path: path.to_owned(),
                found: quoted_names(&self.common),
            });
        }
        let all = self.ecosystems.into_iter();
        Ok(all
            .filter(|name| without_release(name) == directory)
            .collect())
    }

    /// The ecosystem that the file at `path` is of. Where the records leave several, its directory tells, as OSV
    /// publishes it.
    pub(super) fn ecosystem(&self, path: &Path) -> Result<&str, OsvError> {
        let mut all = self.common.iter();
        match (
            self.common.get(directory_name(path)),
            all.next(),
            all.next(),
        ) {
            (Some(found), ..) | (_, Some(found), None) => Ok(found),
            (None, None, _) => Err(OsvError::Mixed {
                path: path.to_owned(),
                found: quoted_names(&self.ecosystems),
            }),
            (None, Some(_), Some(_)) => Err(OsvError::Ecosystem {
                path: path.to_owned(),
                found: quoted_names(&self.common),
            }),
        }
    }
}

/// Whether a zip file is one of records, by the first that it has.
pub(super) fn is_database(path: &Path) -> io::Result<bool> {
    let Ok(mut archive) = ZipArchive::new(io::BufReader::new(open_regular(path)?)) else {
        return Ok(false);
    };
    for index in 0..archive.len() {
        let Ok(mut part) = archive.by_index(index) else {
            return Ok(false);
        };
        if !part.is_dir() {
            let name = part.name().map(Cow::into_owned).unwrap_or_default();
            return Ok(read_record(&mut part, &name, path).is_ok());
        }
    }
    Ok(false)
}

fn quoted_names(ecosystems: &BTreeSet<String>) -> String {
    if ecosystems.is_empty() {
        return "none".to_owned();
    }
    named(ecosystems.iter().map(|name| format!("{name:?}")))
}

/// The name of the directory of a file, which is called as the ecosystem where OSV publishes it.
pub(super) fn directory_name(file: &Path) -> &str {
    let directory = file.parent().and_then(Path::file_name);
    let name = directory.and_then(|name| name.to_str());
    name.unwrap_or_default()
}

/// What an ecosystem is called without its release: of `Debian:12`, `Debian`.
pub(super) fn without_release(ecosystem: &str) -> &str {
    ecosystem.split(':').next().unwrap_or_default()
}

/// Reads a record; returns it with why osv-scanner drops it, if it does.
fn read_record(
    part: &mut impl io::Read,
    name: &str,
    path: &Path,
) -> Result<(Record, Option<serde_json::Error>), OsvError> {
    let unreadable = |source| OsvError::Unreadable {
        path: path.to_owned(),
        name: name.to_owned(),
        source,
    };
    if !name.ends_with(RECORD) {
        let problem = "a record's name ends with .json";
        return Err(unreadable(io::Error::other(problem)));
    }
    let mut bytes = Vec::new();
    let read = part.take(MAX_RECORD + 1).read_to_end(&mut bytes);
    if read.map_err(unreadable)? as u64 > MAX_RECORD {
        return Err(unreadable(io::Error::other("it has more than 64 MiB")));
    }
    let record = strict::read(&bytes).map_err(|source| OsvError::Record {
        path: path.to_owned(),
        name: name.to_owned(),
        source,
    })?;
    Ok((record, strict::read::<Readable>(&bytes).err()))
}
