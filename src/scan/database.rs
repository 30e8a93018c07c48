//! Databases of scanners as they are published: when they were built, by their own word, and what an artifact of one is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::files::{FileError, io_failed, open_regular, read_at_most};
use crate::io::write_all_at;
use crate::oci::artifact::{Artifact, ArtifactFile, artifact_manifest, titled};
use crate::oci::descriptor::{Compression, Descriptor, MediaType};
use crate::oci::digest::{Algorithm, hash_reader};
use crate::oci::manifest::ImageManifest;
use crate::oci::strict;
use crate::oci::time::{BadTime, Time, is_real};
use crate::tar::{Archive, Content, Packing, TarError, components, open_archive_file};

use super::clamav::{self, ClamavError};
use super::grype::{self, ImportError};
use super::osv::{self, OsvError, Records};
use super::sqlite;

/// A kind of databases that are published as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// `vulnerability.db`, or an archive of it.
    Grype,
    /// A zip file for each ecosystem.
    Osv,
    /// `main.cvd`, `daily.cvd` and so on.
    Clamav,
}

/// As much of a file as tells what it is.
const HEAD: u64 = 512;

/// Why files are no database that an artifact can be made of.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It is none of grype's.
    #[error(transparent)]
    Grype(#[from] ImportError),
    /// It is one of another grype.
    #[error("{path} is of the form {found} of grype's databases, and {expected} is read: take one of that form", path = .path.display(), expected = grype::SCHEMA)]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u64,
    },
    /// A part of it is missing.
    #[error("{path} is damaged, or not whole: {problem}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        problem: String,
    },
    /// Its age could never be judged.
    #[error("{path} does not say when it was built", path = .0.display())]
    NoDate(PathBuf),
    /// There is nothing.
    #[error("no files were given")]
    NoFiles,
    /// A database is one file.
    #[error("a database of grype's is one file, and {0} were given")]
    Several(usize),
    /// It is none of OSV's.
    #[error(transparent)]
    Osv(#[from] OsvError),
    /// It is none of ClamAV's.
    #[error(transparent)]
    Clamav(#[from] ClamavError),
    /// Two files would be one.
    #[error("two of the files are {0}")]
    Twice(String),
}

/// The artifact of a database.
#[derive(Clone, Debug)]
pub struct DatabaseArtifact {
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its blobs, and where they are.
    pub files: Vec<(Descriptor, PathBuf)>,
    /// When it was built.
    pub built: DateTime<Utc>,
}

/// A file of a database.
struct Part {
    path: PathBuf,
    title: String,
    media_type: &'static str,
    built: DateTime<Utc>,
}

impl DatabaseKind {
    /// The kind of what [`DatabaseKind::artifact`] made, by its type.
    pub fn of(artifact_type: &MediaType) -> Option<Self> {
        let mut kinds = Self::ALL.into_iter().map(|(_, kind)| kind);
        kinds.find(|kind| kind.artifact_type() == *artifact_type)
    }

    /// All kinds, and how they are called.
    pub const ALL: [(&'static str, DatabaseKind); 3] = [
        ("clamav", DatabaseKind::Clamav),
        ("grype", DatabaseKind::Grype),
        ("osv", DatabaseKind::Osv),
    ];

    fn artifact_type(self) -> MediaType {
        MediaType::new(match self {
            DatabaseKind::Grype => "application/vnd.oci-pull-all.database.grype.v6",
            DatabaseKind::Osv => "application/vnd.oci-pull-all.database.osv",
            DatabaseKind::Clamav => "application/vnd.oci-pull-all.database.clamav",
        })
    }

    /// Reads a database, all of it, and makes an artifact of it, which has the same bytes for the same files. `scratch` is a
    /// directory for what is unpacked.
    pub fn artifact(
        self,
        files: &[PathBuf],
        scratch: &Path,
    ) -> Result<DatabaseArtifact, DatabaseError> {
        let mut parts = Vec::new();
        for path in files {
            parts.push(match self {
                DatabaseKind::Grype if files.len() > 1 => {
                    return Err(DatabaseError::Several(files.len()));
                }
                DatabaseKind::Grype => Part::of_grype(path, scratch)?,
                DatabaseKind::Osv => Part::of_osv(path)?,
                DatabaseKind::Clamav => Part::of_clamav(path)?,
            });
        }
        parts.sort_by(|one, other| one.title.cmp(&other.title));
        let twice = parts.windows(2).find(|pair| pair[0].title == pair[1].title);
        if let Some([part, _]) = twice {
            return Err(DatabaseError::Twice(part.title.clone()));
        }
        if let Some(part) = parts.iter().find(|part| !is_real(&part.built)) {
            return Err(DatabaseError::NoDate(part.path.clone()));
        }
        let dates = parts.iter().map(|part| part.built);
        let built = match self {
            // What is new comes in daily.cvd; main.cvd stays for years.
            DatabaseKind::Clamav => dates.max(),
            DatabaseKind::Grype | DatabaseKind::Osv => dates.min(),
        };
        let built = built.ok_or(DatabaseError::NoFiles)?;
        let mut described = Vec::new();
        for part in parts {
            let file = io_failed("read", &part.path, open_regular(&part.path))?;
            let hashed = hash_reader(Algorithm::Sha256, file);
            let (digest, size) = io_failed("read", &part.path, hashed)?;
            let blob = Descriptor::new(MediaType::new(part.media_type), digest, size);
            described.push((titled(blob, &part.title), part.path));
        }
        let layers = described.iter().map(|(blob, _)| blob.clone()).collect();
        Ok(DatabaseArtifact {
            manifest: artifact_manifest(self.artifact_type(), layers, built),
            files: described,
            built,
        })
    }
}

impl Part {
    fn of_grype(path: &Path, scratch: &Path) -> Result<Self, DatabaseError> {
        let database = grype::unpacked(path, scratch)?;
        let described = grype::describe(&database, path)?;
        if described.schema != grype::SCHEMA {
            return Err(DatabaseError::Schema {
                path: path.to_owned(),
                found: described.schema,
            });
        }
        sqlite::check(&database).map_err(|problem| DatabaseError::Damaged {
            path: path.to_owned(),
            problem,
        })?;
        let (title, media_type) = match packing(path)? {
            None => (grype::DATABASE, "application/vnd.sqlite3"),
            Some(Packing::Layer(Compression::Gzip)) => ("grype-db.tar.gz", "application/gzip"),
            Some(Packing::Layer(Compression::Zstd)) => ("grype-db.tar.zst", "application/zstd"),
            Some(Packing::Xz) => ("grype-db.tar.xz", "application/x-xz"),
            Some(_) => ("grype-db.tar", "application/x-tar"),
        };
        Ok(Part {
            path: path.to_owned(),
            title: title.to_owned(),
            media_type,
            built: described
                .built
                .ok_or_else(|| DatabaseError::NoDate(path.to_owned()))?,
        })
    }

    fn of_osv(path: &Path) -> Result<Self, DatabaseError> {
        let records = Records::read(path)?;
        let newest = records.newest;
        let newest = newest.ok_or_else(|| OsvError::Empty(path.to_owned()))?;
        let ecosystem = records.ecosystem(path)?;
        Ok(Part {
            path: path.to_owned(),
            // Where osv-scanner looks for it below its directory.
            title: format!("osv-scalibr/{ecosystem}/all.zip"),
            media_type: "application/zip",
            built: newest,
        })
    }

    fn of_clamav(path: &Path) -> Result<Self, DatabaseError> {
        let built = clamav::check(path)?;
        let name = path.file_name().unwrap_or_default();
        Ok(Part {
            path: path.to_owned(),
            title: name.to_string_lossy().into_owned(),
            media_type: "application/octet-stream",
            built,
        })
    }
}

/// How the archive in a file is packed; none if it is a database itself.
fn packing(path: &Path) -> Result<Option<Packing>, FileError> {
    let mut head = Vec::new();
    let file = io_failed("read", path, open_regular(path))?;
    let read = file.take(HEAD).read_to_end(&mut head);
    io_failed("read", path, read)?;
    if head.starts_with(sqlite::MAGIC) {
        return Ok(None);
    }
    io_failed("read", path, Packing::of(&head)).map(Some)
}

/// What says of a database of Trivy's, and of older ones of grype's, when it was built.
const METADATA: &str = "metadata.json";
/// How the types begin of what Trivy's people publish: databases.
const TRIVY_TYPES: &str = "application/vnd.aquasec.trivy.";
/// The most bytes that it may have.
const MAX_METADATA: u64 = 1 << 20;
/// How the files of OSV's end.
const ZIP: &str = ".zip";
/// The file of ClamAV's that says how new a database is: the others stay for years.
const DAILY: [&str; 3] = ["daily.cvd", "daily.cld", "daily.cud"];
/// The most bytes of a database in an archive.
const MAX_DATABASE: u64 = 64 << 30;

#[derive(Deserialize)]
struct Metadata {
    /// In Trivy's words.
    #[serde(rename = "UpdatedAt")]
    updated_at: Option<String>,
    /// In grype's.
    built: Option<String>,
}

/// Why a file that says when a database was built cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DateError {
    /// The file system refused.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// What should be a time is none, or it is no JSON.
    #[error("{METADATA} cannot be read")]
    Metadata(#[from] serde_json::Error),
    /// Nobody writes as much.
    #[error("{METADATA} is larger than {MAX_METADATA} bytes")]
    TooLarge,
    /// It is no file.
    #[error("{0} in it is a link or a device")]
    NoFile(String),
    /// It is no database of grype's.
    #[error(transparent)]
    Grype(#[from] ImportError),
    /// It is none of OSV's.
    #[error(transparent)]
    Osv(#[from] OsvError),
    /// It is none of ClamAV's.
    #[error(transparent)]
    Clamav(#[from] ClamavError),
    /// The archive cannot be read.
    #[error("the archive cannot be read")]
    Archive(#[from] TarError),
}

/// A date that a database says, which may be none.
type Said = Result<Time, BadTime>;

/// Whether a file of an artifact is to be asked when a database was built: by its name, or because it is an archive. Others'
/// files are called so, too: whether it is one of a database, its bytes tell.
pub fn may_say_date(file: &ArtifactFile) -> bool {
    let name = file_name(file);
    file.is_archive
        || [METADATA, grype::DATABASE].contains(&name)
        || name.ends_with(ZIP)
        || DAILY.contains(&name)
}

fn file_name(file: &ArtifactFile) -> &str {
    file.path.rsplit('/').next().unwrap_or_default()
}

/// Whether an artifact is a database by its type or by that of a file. Any other may have one all the same.
pub fn is_of_database(artifact: &Artifact) -> bool {
    let of_files = artifact.files.iter().map(|file| &file.blob.media_type);
    let mut types = of_files.chain([&artifact.artifact_type]);
    types.any(|kind| kind.as_str().starts_with(TRIVY_TYPES))
}

/// When an artifact was made, by what is in its files.
#[derive(Debug)]
pub struct OwnDates {
    is_database: bool,
    dates: Vec<Said>,
}

impl OwnDates {
    /// Nothing is read yet of what may be known to be a database.
    pub fn new(is_database: bool) -> Self {
        OwnDates {
            is_database,
            dates: Vec::new(),
        }
    }

    /// What was read, if it is of a database or says a date. It may be one that nobody has set, as Go writes it, too.
    pub fn of_database(mut self) -> Option<Vec<Said>> {
        if !self.is_database {
            self.dates.retain(Result::is_ok);
        }
        (self.is_database || !self.dates.is_empty()).then_some(self.dates)
    }

    /// Reads a file for which [`may_say_date`] holds. What cannot be read counts only if it is of a database.
    pub fn read(&mut self, file: &ArtifactFile, path: &Path) -> Result<(), DateError> {
        let name = file_name(file);
        let dates = if name == METADATA {
            in_metadata(&read_at_most(path, MAX_METADATA)?)?
        } else if name == grype::DATABASE {
            self.in_database(path)?
        } else if file.is_archive {
            self.in_archive(path)?
        } else if name.ends_with(ZIP) && osv::is_database(path)? {
            self.is_database = true;
            let newest = Records::read(path)?.newest;
            newest.map(|newest| Ok(newest.into())).into_iter().collect()
        } else if DAILY.contains(&name) && clamav::is_database(path)? {
            self.is_database = true;
            vec![Ok(clamav::built(path)?.into())]
        } else {
            Vec::new()
        };
        self.dates.extend(dates);
        Ok(())
    }

    /// By all files in an archive that say it. Of several with one path, the last is the one that is unpacked.
    fn in_archive(&mut self, path: &Path) -> Result<Vec<Said>, DateError> {
        let mut archive = Archive::new(open_archive_file(path).map_err(TarError::Read)?);
        let mut found = BTreeMap::new();
        while let Some(entry) = archive.next()? {
            let name = components(&entry.path).next_back().unwrap_or_default();
            let is_metadata = name == METADATA.as_bytes();
            let is_directory = matches!(entry.content, Content::Directory);
            if is_directory || !is_metadata && name != grype::DATABASE.as_bytes() {
                continue;
            }
            let dates = match entry.content {
                Content::File { size } if is_metadata && size <= MAX_METADATA => {
                    let mut metadata = Vec::new();
                    archive.data(|bytes, _| metadata.write_all(bytes))?;
                    in_metadata(&metadata).map_err(DateError::from)
                }
                Content::File { .. } if is_metadata => Err(DateError::TooLarge),
                Content::File { size } if size <= MAX_DATABASE => {
                    let file = tempfile::NamedTempFile::new().map_err(TarError::Write)?;
                    let target: &File = file.as_file();
                    archive.data(|bytes, offset| write_all_at(target, bytes, offset))?;
                    target.set_len(size).map_err(TarError::Write)?;
                    self.in_database(file.path())
                }
                _ => Err(DateError::NoFile(
                    String::from_utf8_lossy(name).into_owned(),
                )),
            };
            found.insert(entry.path, dates);
        }
        let dates: Result<Vec<Vec<Said>>, DateError> = found.into_values().collect();
        Ok(dates?.concat())
    }

    /// By what is called as grype's database is.
    fn in_database(&mut self, path: &Path) -> Result<Vec<Said>, DateError> {
        if !grype::is_database(path)? {
            return Ok(Vec::new());
        }
        self.is_database = true;
        let built = grype::describe(path, path)?.built;
        Ok(built.map(|built| Ok(built.into())).into_iter().collect())
    }
}

fn in_metadata(metadata: &[u8]) -> serde_json::Result<Vec<Said>> {
    let metadata: Metadata = strict::read(metadata)?;
    let dates = [metadata.updated_at, metadata.built].into_iter().flatten();
    Ok(dates.map(Time::try_from).collect())
}
