//! Unpacks an archive of plain files into a new directory.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::files::symlink_file;
use crate::io::write_all_at;

use super::reader::{Archive, Content, Entry, TarError, components};

/// How much is unpacked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries of all kinds.
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// Unpacks what `reader` reads into `output`, which is made.
///
/// Files, directories and links within the archive are taken; `check` says what is wrong with a path. Links are
/// made last, so nothing is written through one. What was written stays when it fails.
pub(crate) fn unpack(
    reader: impl Read,
    output: &Path,
    limits: Limits,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<(), TarError> {
    fs::create_dir(output).map_err(TarError::Write)?;
    let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, reader));
    let mut links = BTreeMap::new();
    let mut left = limits;
    while let Some(entry) = archive.next()? {
        let Entry {
            path,
            content,
            metadata,
        } = entry;
        let refuse = |problem: &str| TarError::entry(&path, problem);
        let too_much = || refuse("is more than an archive of this size may hold");
        left.entries = left.entries.checked_sub(1).ok_or_else(too_much)?;
        if path.is_empty() {
            continue;
        }
        let name = str::from_utf8(&path).map_err(|_| refuse("has a name that is not UTF-8"))?;
        check(name).map_err(refuse)?;
        let target = output.join(name);
        let parent = target.parent().unwrap_or(output);
        fs::create_dir_all(parent).map_err(|_| refuse("is below a file"))?;
        match content {
            Content::Directory => {
                fs::create_dir_all(&target).map_err(|_| refuse("is a file and a directory"))?;
            }
            Content::File { size } => {
                left.bytes = left.bytes.checked_sub(size).ok_or_else(too_much)?;
                links.remove(name);
                remove(&target).map_err(|_| refuse("is a file and a directory"))?;
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&target);
                let file = file.map_err(TarError::Write)?;
                archive.data(|bytes, offset| write_all_at(&file, bytes, offset))?;
                file.set_len(size).map_err(TarError::Write)?;
                set_mode(&target, metadata.mode).map_err(TarError::Write)?;
            }
            Content::HardLink { target: of } => {
                let of = str::from_utf8(&of).map_err(|_| refuse("links to no file here"))?;
                remove(&target).map_err(|_| refuse("is a file and a directory"))?;
                fs::hard_link(output.join(of), &target)
                    .map_err(|_| refuse("is a hard link to what is no file here"))?;
            }
            Content::Symlink { target: to } => {
                let to = String::from_utf8(to).map_err(|_| refuse("links to no file here"))?;
                if !stays_inside(name, &to) {
                    return Err(refuse("is a link that leads out of the archive"));
                }
                remove(&target).map_err(|_| refuse("is a file and a directory"))?;
                links.insert(name.to_owned(), to);
            }
            Content::Device { .. } | Content::Fifo => {
                return Err(refuse("is neither a file nor a directory nor a link"));
            }
        }
    }
    for (name, to) in links {
        symlink_file(Path::new(&to), &output.join(name)).map_err(TarError::Write)?;
    }
    Ok(())
}

/// Makes way for a later entry of the same name, which counts.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a link named `name` leads to something in the archive, whatever other links are on the way: each leads to a
/// directory in it, but from there a `..` could lead out.
fn stays_inside(name: &str, to: &str) -> bool {
    let depth = components(name.as_bytes()).count() - 1;
    let mut parts = components(to.as_bytes());
    let ups = parts.by_ref().take_while(|part| *part == b"..").count();
    !to.starts_with('/') && ups <= depth && parts.all(|part| part != b"..")
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}
