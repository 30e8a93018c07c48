//! The images that a Bazel workspace pins, in its `MODULE.bazel` and what that includes.

pub mod module_file;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{FileError, io_failed, rewrite};
use crate::oci::digest::Digest;
use module_file::{Declared, DeclaredImage, ModuleFile, Unreadable};

/// The file that makes a directory a module.
pub const MODULE_FILE: &str = "MODULE.bazel";
/// What this module is called where nothing else is said.
const DEFAULT_NAME: &str = "oci_pull_all";

/// Why the pins of a workspace cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// There is no such file.
    #[error("there is no {MODULE_FILE} in {path} or above it", path = .0.display())]
    NoModule(PathBuf),
    /// No image has the name.
    #[error("{path} declares no image {name:?}{there_are}", path = path.display())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// Which images there are, in words.
        there_are: String,
    },
    /// There is nothing to pin.
    #[error("{path} declares no image: neither by oci.pull of oci_pull_all's extension, nor by its repository rules", path = .0.display())]
    Nothing(PathBuf),
    /// A declaration is not what can be pinned.
    #[error("{path}:{line}: {name} cannot be pinned", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The line on which the declaration begins.
        line: usize,
        /// The repository's name.
        name: String,
        /// What is wrong with it.
        source: Unreadable,
    },
    /// Somebody else wrote to the file.
    #[error("{path} has changed while its images were asked for, so nothing was written: try again", path = .0.display())]
    Changed(PathBuf),
}

/// The module files of a workspace.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// Where this project is seen from there.
    own_name: String,
    files: Vec<(PathBuf, ModuleFile)>,
}

/// An image that a workspace pins.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The repository's name.
    pub name: String,
    /// What is declared.
    pub image: DeclaredImage,
    file: usize,
}

impl Workspace {
    /// The `MODULE.bazel` of the workspace that a directory is in.
    pub fn find(directory: &Path) -> Result<PathBuf, PinError> {
        directory
            .ancestors()
            .map(|directory| directory.join(MODULE_FILE))
            .find(|file| file.is_file())
            .ok_or_else(|| PinError::NoModule(directory.to_owned()))
    }

    /// Reads a module file and those that it includes.
    pub fn read(module: &Path) -> Result<Self, PinError> {
        let parent = module.parent().unwrap_or(Path::new(""));
        let mut workspace = Workspace {
            root: parent.to_owned(),
            own_name: String::new(),
            files: Vec::new(),
        };
        let mut queue = vec![module.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(path) = queue.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            let file = ModuleFile::new(io_failed("read", &path, fs::read_to_string(&path))?);
            let included = file.included();
            let included = included.iter().rev();
            queue.extend(included.filter_map(|label| workspace.file(label)));
            workspace.files.push((path, file));
        }
        let own_name = workspace.files.iter().find_map(|(_, file)| file.own_name());
        workspace.own_name = own_name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        Ok(workspace)
    }

    /// The path of a file of the workspace by its label; none for a file of another repository.
    pub fn file(&self, label: &str) -> Option<PathBuf> {
        let label = label.trim_start_matches('@');
        let (package, name) = match label.strip_prefix("//") {
            Some(label) => match label.split_once(':') {
                Some(parts) => parts,
                None => (label, label.rsplit('/').next().unwrap_or(label)),
            },
            None if label.contains("//") => return None,
            None => ("", label.trim_start_matches(':')),
        };
        Some(self.root.join(package).join(name))
    }

    /// The images with these names, or all that are pinned.
    pub fn pinned(&self, names: &[String]) -> Result<Vec<Pinned>, PinError> {
        let declared: Vec<(usize, Declared)> = (0..)
            .zip(&self.files)
            .flat_map(|(number, (_, file))| {
                let declared = file.declared(&self.own_name).into_iter();
                declared.map(move |declared| (number, declared))
            })
            .collect();
        let module = &self.files[0].0;
        let known: BTreeSet<&str> = declared
            .iter()
            .filter_map(|(_, declared)| declared.name.as_deref())
            .collect();
        if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
            let known: Vec<&str> = known.into_iter().collect();
            return Err(PinError::Unknown {
                name: name.clone(),
                path: module.clone(),
                there_are: if known.is_empty() {
                    ", nor any other".to_owned()
                } else {
                    format!("; it declares {}", known.join(", "))
                },
            });
        }
        if declared.is_empty() {
            return Err(PinError::Nothing(module.clone()));
        }
        let wanted = |declared: &Declared| {
            let name = declared.name.as_ref();
            names.is_empty() || name.is_some_and(|name| names.contains(name))
        };
        declared
            .into_iter()
            .filter(|(_, declared)| wanted(declared))
            .map(|(file, declared)| {
                let name = declared.name.clone().ok_or(Unreadable::NotPlain {
                    attribute: "name",
                    expected: "a string",
                });
                match name.and_then(|name| Ok((name, declared.image?))) {
                    Ok((name, image)) => Ok(Pinned { name, image, file }),
                    Err(source) => Err(PinError::Unreadable {
                        path: self.files[file].0.clone(),
                        line: declared.line,
                        name: declared.name.unwrap_or_else(|| "an image".to_owned()),
                        source,
                    }),
                }
            })
            .collect()
    }

    /// Writes other digests of images, and nothing else.
    pub fn write(&self, digests: &[(Pinned, Digest)]) -> Result<(), PinError> {
        for (number, (path, file)) in (0..).zip(&self.files) {
            let here = digests.iter().filter(|(pinned, _)| pinned.file == number);
            let text = file.with_digests(here.map(|(pinned, digest)| (&pinned.image, digest)));
            if text == file.text() {
                continue;
            }
            if io_failed("read", path, fs::read(path))? != file.text().as_bytes() {
                return Err(PinError::Changed(path.clone()));
            }
            io_failed("write", path, rewrite(path, text.as_bytes()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_file_of_the_workspace() {
        let workspace = Workspace {
            root: PathBuf::from("/w"),
            own_name: String::new(),
            files: Vec::new(),
        };
        for (label, expected) in [
            ("//a/b:c.json", Some("/w/a/b/c.json")),
            ("@@//:c", Some("/w/c")),
            (":c", Some("/w/c")),
            ("c", Some("/w/c")),
            ("//a/b", Some("/w/a/b/b")),
            ("@other//:c", None),
        ] {
            assert_eq!(workspace.file(label).as_deref(), expected.map(Path::new));
        }
    }
}
