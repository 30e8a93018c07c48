//! What Bazel shows an action of its inputs.
//!
//! In a sandbox a file is a link to the same path in the execution root, and so is each file of a tree. A link of the build
//! (`ctx.actions.declare_symlink`) is a link with its own text. Which of the two a link is, its text tells.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed};

/// The text of a link of the build; none if `path` is shown as a file, wherever its content lies.
pub fn link_of_build(path: &Path) -> Option<PathBuf> {
    let text = fs::read_link(path).ok()?;
    (!is_shown_by(&text, path)).then_some(text)
}

/// The directory that Bazel shows at `path`, with the links that are in it.
pub fn shown_directory(path: &Path) -> Result<PathBuf, FileError> {
    if path.is_symlink() {
        return io_failed("open", path, fs::canonicalize(path));
    }
    let Some(inner) = first_file(path)? else {
        return Ok(path.to_owned());
    };
    let file = path.join(&inner);
    let Ok(text) = fs::read_link(&file) else {
        return Ok(path.to_owned());
    };
    let real = text.is_absolute() && text.ends_with(&file);
    let root = text.ancestors().nth(inner.components().count());
    Ok(root.filter(|_| real).unwrap_or(path).to_owned())
}

/// The first thing below a directory that is not a directory.
fn first_file(root: &Path) -> Result<Option<PathBuf>, FileError> {
    for entry in io_failed("list", root, fs::read_dir(root))? {
        let entry = io_failed("list", root, entry)?;
        let name = PathBuf::from(entry.file_name());
        if !io_failed("read", &entry.path(), entry.file_type())?.is_dir() {
            return Ok(Some(name));
        }
        if let Some(inner) = first_file(&entry.path())? {
            return Ok(Some(name.join(inner)));
        }
    }
    Ok(None)
}

/// Whether Bazel made a link with this text at `path`: to the path itself, or without a sandbox to another file of the
/// execution root or the output base.
fn is_shown_by(text: &Path, path: &Path) -> bool {
    if !text.is_absolute() {
        return false;
    }
    let root = env::current_dir().unwrap_or_default();
    let external = root.ancestors().nth(2).map(|base| base.join("external"));
    text.ends_with(path)
        || text.starts_with(&root)
        || external.is_some_and(|external| text.starts_with(external))
}
