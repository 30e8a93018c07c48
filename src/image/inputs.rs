//! What Bazel shows an action of its inputs.
//!
//! In a sandbox a file is a link to the same path in the execution root, and so is each file of a tree. A link of the build
//! (`ctx.actions.declare_symlink`) is a link with its own text. Which of the two a link is, its text tells.

use std::env;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed, open_regular};

use super::layer::{LayerContent, LayerEntry, LayerError};

/// What Bazel says a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A file of the sources; a link there is what it leads to.
    Source,
    /// What an action made.
    Data,
    /// The same, which is to be executed.
    Executable,
    /// A link of the build.
    Link,
}

impl LayerContent {
    /// Adds the file `file` at `path`, if it takes such paths; returns whether it does.
    pub fn add_input(
        &mut self,
        path: &str,
        file: &Path,
        kind: InputKind,
    ) -> Result<bool, LayerError> {
        let link = match kind {
            InputKind::Source => None,
            InputKind::Link => Some(io_failed("read the link", file, fs::read_link(file))?),
            InputKind::Data | InputKind::Executable => link_of_build(file),
        };
        if let Some(target) = link {
            let not_utf8 = |_| LayerError::NotUtf8(file.to_owned());
            let target = target.into_os_string().into_string().map_err(not_utf8)?;
            return self.add(path, LayerEntry::Symlink { target });
        }
        // Bazel cannot tell a label of a source directory from one of a file.
        if file.is_dir() {
            return self.add_tree(path, &shown_directory(file)?);
        }
        let executable = match kind {
            InputKind::Source => is_program(file),
            kind => kind == InputKind::Executable,
        };
        let source = file.to_owned();
        self.add(path, LayerEntry::File { source, executable })
    }
}

/// The text of a link of the build; none if `path` is shown as a file, wherever its content lies.
fn link_of_build(path: &Path) -> Option<PathBuf> {
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

/// Whether a file of the sources is to be executed. Its bit alone does not tell: where an action runs remotely, all files
/// have it.
fn is_program(file: &Path) -> bool {
    let mut head = [0; 4];
    let read = open_regular(file).and_then(|mut file| file.read(&mut head));
    may_be_executed(file)
        && read.is_ok_and(|count| head[..count].starts_with(b"#!") || head == *b"\x7fELF")
}

#[cfg(unix)]
fn may_be_executed(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn may_be_executed(_file: &Path) -> bool {
    true
}
