//! Databases of SQLite, read.

use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use crate::files::open_regular;

/// How a file of SQLite begins.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// Whether a file is a database, by how it begins.
pub(super) fn is_database(file: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    let file = open_regular(file)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head == MAGIC)
}

/// Opens a database that nobody writes to.
pub(super) fn open(file: &Path) -> rusqlite::Result<Connection> {
    let path = file.display().to_string();
    let path = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    // Beside one that is read so, no file is looked for or made.
    let name = format!("file:{path}?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(name, flags)
}

/// All rows of a query.
pub(super) fn all<T>(
    connection: &Connection,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map([], read)?.collect()
}

/// Reads a database to its end; returns what is wrong with it.
pub(super) fn check(file: &Path) -> Result<(), String> {
    let checked = open(file).and_then(|connection| {
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
    });
    match checked {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(found),
        Err(error) => Err(error.to_string()),
    }
}
