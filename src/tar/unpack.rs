//! Unpacks an archive of plain files into a new directory.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use crate::files::{set_plain_mode, symlink_file};
use crate::io::write_all_at;

use super::entry::{Content, Entry, TarError, components};
use super::reader::Archive;

/// How much may be unpacked, of one archive or of several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries of all kinds, and directories that they are in.
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// Unpacks what `reader` reads into `output`, which is made.
///
/// Files, directories and links within the archive are taken; `check` says what is wrong with a path. Links are
/// made last, so nothing is written through one, and then followed, because who lists the files follows them: they
/// lead to no directory that they are in, and what is seen through them counts as entries. Those that lead to nothing are
/// left out, and returned. What was written stays when it fails. What is left of `limits` then is for other archives.
pub(crate) fn unpack(
    reader: impl BufRead,
    output: &Path,
    limits: &mut Limits,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<Vec<String>, TarError> {
    fs::create_dir(output).map_err(TarError::Write)?;
    let mut archive = Archive::new(reader);
    let mut links = BTreeMap::new();
    let all_entries = limits.entries;
    while let Some(entry) = archive.next()? {
        let Entry {
            path,
            content,
            metadata,
        } = entry;
        let refuse = |problem: &str| TarError::entry(&path, problem);
        let mut count = |entries: u64| {
            let fewer = limits.entries.checked_sub(entries);
            limits.entries = fewer.ok_or_else(|| refuse(TOO_MUCH))?;
            Ok::<_, TarError>(())
        };
        count(1)?;
        if path.is_empty() {
            continue;
        }
        let name = str::from_utf8(&path).map_err(|_| refuse("has a name that is not UTF-8"))?;
        check(name).map_err(refuse)?;
        let target = output.join(name);
        let parent = target.parent().unwrap_or(output);
        count(make_directories(parent).map_err(|_| refuse("is below a file"))?)?;
        match content {
            Content::Directory => {
                make_directories(&target).map_err(|_| refuse("is a file and a directory"))?;
            }
            Content::File { size } => {
                limits.bytes = limits
                    .bytes
                    .checked_sub(size)
                    .ok_or_else(|| refuse(TOO_MUCH))?;
                links.remove(name);
                remove(&target).map_err(|_| refuse("is a file and a directory"))?;
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&target);
                let file = file.map_err(TarError::Write)?;
                archive.data(|bytes, offset| write_all_at(&file, bytes, offset))?;
                file.set_len(size).map_err(TarError::Write)?;
                set_plain_mode(&file, metadata.mode).map_err(TarError::Write)?;
            }
            Content::HardLink { target: of } => {
                let of = str::from_utf8(&of).map_err(|_| refuse("links to no file here"))?;
                links.remove(name);
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
    if links.is_empty() {
        return Ok(Vec::new());
    }
    for (name, to) in &links {
        let link = symlink_file(Path::new(to), &output.join(name));
        link.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                TarError::entry(name.as_bytes(), "is a directory and a link")
            }
            _ => TarError::Write(error),
        })?;
    }
    let is_dangling = |name: &String| {
        let found = fs::metadata(output.join(name));
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let dangling: Vec<String> = links.into_keys().filter(is_dangling).collect();
    for name in &dangling {
        fs::remove_file(output.join(name)).map_err(TarError::Write)?;
    }
    let mut seen = Seen {
        output,
        check: &check,
        left: all_entries,
        above: Vec::new(),
    };
    seen.add("")?;
    limits.entries = limits.entries.min(seen.left);
    Ok(dangling)
}

/// What is seen of the directory `output` by who follows links.
struct Seen<'a> {
    output: &'a Path,
    check: &'a dyn Fn(&str) -> Result<(), &'static str>,
    /// How many more entries there may be.
    left: u64,
    /// The directories that are on the way, by their paths without links.
    above: Vec<PathBuf>,
}

impl Seen<'_> {
    fn add(&mut self, name: &str) -> Result<(), TarError> {
        let directory = self.output.join(name);
        // Systems follow 40 links or so.
        let directory = fs::canonicalize(directory)
            .map_err(|_| TarError::entry(name.as_bytes(), "is a link that cannot be followed"))?;
        if self.above.contains(&directory) {
            let problem = "is a link to a directory that it is in";
            return Err(TarError::entry(name.as_bytes(), problem));
        }
        for entry in fs::read_dir(&directory).map_err(TarError::Write)? {
            let path = entry.map_err(TarError::Write)?.path();
            let below = path.strip_prefix(&directory).unwrap_or(&path);
            let below = Path::new(name).join(below);
            let below = below.to_str().unwrap_or_default();
            let refuse = |problem: &str| TarError::entry(below.as_bytes(), problem);
            (self.check)(below).map_err(refuse)?;
            let left = self.left.checked_sub(1);
            self.left = left.ok_or_else(|| refuse(TOO_MUCH))?;
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => {
                    self.above.push(directory.clone());
                    self.add(below)?;
                    self.above.pop();
                }
                Ok(_) => {}
                Err(_) => return Err(refuse("is a link that cannot be followed")),
            }
        }
        Ok(())
    }
}

const TOO_MUCH: &str = "is more than an archive of this size may hold";

/// Makes a directory and those that it is in; returns how many were made.
fn make_directories(path: &Path) -> io::Result<u64> {
    match (fs::create_dir(path), path.parent()) {
        (Ok(()), _) => Ok(1),
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            let made = make_directories(parent)?;
            fs::create_dir(path)?;
            Ok(made + 1)
        }
        (Err(_), _) if path.is_dir() => Ok(0),
        (Err(error), _) => Err(error),
    }
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
pub(crate) fn stays_inside(name: &str, to: &str) -> bool {
    let depth = components(name.as_bytes()).count() - 1;
    let mut parts = components(to.as_bytes());
    let ups = parts.by_ref().take_while(|part| *part == b"..").count();
    !to.starts_with('/') && ups <= depth && parts.all(|part| part != b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    use ::tar::{Builder, EntryType, Header};

    fn add(archive: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        archive.append_data(&mut header, name, io::empty()).unwrap();
    }

    fn unpacked(archive: Builder<Vec<u8>>, entries: u64) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output");
        let bytes = archive.into_inner().unwrap();
        let mut limits = Limits { entries, bytes: 0 };
        let unpacked = unpack(&bytes[..], &output, &mut limits, |_| Ok(()));
        unpacked.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn directories_are_counted_where_they_are_made() {
        let deep = || {
            let mut archive = Builder::new(Vec::new());
            for n in 0..3 {
                let name = format!("{n}/a/a/a/a/file");
                add(&mut archive, EntryType::Regular, &name, "");
            }
            archive
        };
        assert_eq!(unpacked(deep(), 18), Ok(()));
        assert!(unpacked(deep(), 17).unwrap_err().contains(TOO_MUCH));
    }

    #[test]
    fn what_links_multiply_is_counted() {
        let doubling = || {
            let mut archive = Builder::new(Vec::new());
            for n in 0..4 {
                let next = format!("../d{}", n + 1);
                add(&mut archive, EntryType::Symlink, &format!("d{n}/a"), &next);
                add(&mut archive, EntryType::Symlink, &format!("d{n}/b"), &next);
            }
            add(&mut archive, EntryType::Directory, "d4/", "");
            archive
        };
        // Five directories, with 2 + 4 + 8 + 16, 2 + 4 + 8, 2 + 4 and 2 links below them.
        assert_eq!(unpacked(doubling(), 57), Ok(()));
        assert!(unpacked(doubling(), 56).unwrap_err().contains(TOO_MUCH));
    }

    #[test]
    fn more_links_on_a_way_than_systems_follow_are_refused() {
        let mut archive = Builder::new(Vec::new());
        for n in 0..60 {
            let next = format!("../{}", n + 1);
            add(&mut archive, EntryType::Symlink, &format!("{n}/l"), &next);
        }
        add(&mut archive, EntryType::Directory, "60/", "");
        let error = unpacked(archive, 10_000).unwrap_err();
        assert!(error.contains("cannot be followed"), "{error}");
    }
}
