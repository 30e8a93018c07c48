//! Databases of ClamAV: a header of 512 bytes, and an archive of signatures behind it (`.cvd`, `.cld`, and `.cud` where it is
//! not signed).

use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::files::{FileError, io_failed, open_regular};
use crate::io::drain;
use crate::tar::{Archive, Content, TarError, open_archive};

const HEADER: usize = 512;
const MAGIC: &str = "ClamAV-VDB";
/// How the header has the time at which it was built: `15 Nov 2026 09-26 -0500`.
const TIME: &str = "%d %b %Y %H-%M %z";
/// What is in the archive beside signatures.
const LICENSE: &[u8] = b"COPYING";
const ABOUT: &[u8] = b".info";
/// How such files are called, because ClamAV goes by that.
const ENDINGS: [&str; 3] = [".cvd", ".cld", ".cud"];

/// Why a file is no database.
#[derive(Debug, thiserror::Error)]
pub enum ClamavError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It has another name.
    #[error("{path} has none of the names that ClamAV reads: *.cvd, *.cld and *.cud", path = .0.display())]
    Name(PathBuf),
    /// It has no header.
    #[error("{path} is no database of ClamAV's: it does not begin with {MAGIC}", path = .0.display())]
    Header(PathBuf),
    /// The header does not say when it was built.
    #[error("{path} does not say when it was built", path = .0.display())]
    NoDate(PathBuf),
    /// What is behind the header is not whole.
    #[error("the signatures in {path} cannot be read", path = .path.display())]
    Signatures {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TarError,
    },
    /// There is nothing behind the header.
    #[error("{path} has no signatures", path = .0.display())]
    Empty(PathBuf),
}

/// Whether a file is a database, by how it begins.
pub(super) fn is_database(file: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    let file = open_regular(file)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head == MAGIC.as_bytes())
}

/// When a database was built, by its header.
pub(super) fn built(path: &Path) -> Result<DateTime<Utc>, ClamavError> {
    open(path).map(|(built, _)| built)
}

/// The same of one that ClamAV would read, and that has signatures.
pub(super) fn check(path: &Path) -> Result<DateTime<Utc>, ClamavError> {
    match read(path)? {
        (built, true) => Ok(built),
        (_, false) => Err(ClamavError::Empty(path.to_owned())),
    }
}

/// When one that ClamAV would read was built, and whether it has signatures. It is read to its end.
pub(super) fn read(path: &Path) -> Result<(DateTime<Utc>, bool), ClamavError> {
    let name = path.to_string_lossy();
    if !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Err(ClamavError::Name(path.to_owned()));
    }
    let (built, mut reader) = open(path)?;
    match has_signatures(&mut reader) {
        Ok(has_any) => Ok((built, has_any)),
        Err(source) => Err(ClamavError::Signatures {
            path: path.to_owned(),
            source,
        }),
    }
}

fn open(path: &Path) -> Result<(DateTime<Utc>, impl BufRead), ClamavError> {
    let mut reader = BufReader::new(io_failed("read", path, open_regular(path))?);
    let mut header = Vec::new();
    let read = (&mut reader).take(HEADER as u64).read_to_end(&mut header);
    io_failed("read", path, read)?;
    let text = str::from_utf8(&header).unwrap_or_default();
    let mut fields = text.trim_end().split(':');
    if header.len() < HEADER || fields.next() != Some(MAGIC) {
        return Err(ClamavError::Header(path.to_owned()));
    }
    let time = fields.next().unwrap_or_default();
    let built = DateTime::parse_from_str(time, TIME);
    let built = built.map_err(|_| ClamavError::NoDate(path.to_owned()))?;
    Ok((built.to_utc(), reader))
}

/// Whether there is a file of signatures in the archive, which must be whole.
fn has_signatures(reader: impl BufRead) -> Result<bool, TarError> {
    let mut unpacked = BufReader::new(open_archive(reader)?);
    let mut archive = Archive::new(&mut unpacked);
    let mut any = false;
    while let Some(entry) = archive.next()? {
        let is_about_it = entry.path == LICENSE || entry.path.ends_with(ABOUT);
        any |= !is_about_it && matches!(entry.content, Content::File { size } if size > 0);
        archive.data(|_, _| io::Result::Ok(()))?;
    }
    // Its checksum is at its end.
    drain(unpacked)?;
    Ok(any)
}
