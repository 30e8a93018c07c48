//! Loads an image into a local container engine, which reads it as an archive from its standard input.

use std::env;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::layout::{ArchiveError, Format, copy_archive, names_in_archive, write_archive};
use crate::oci::platform::Platform;
use crate::oci::reference::Tagged;

/// The programs that load a `docker save` archive, in the order in which they are looked for.
pub const LOADERS: [&str; 4] = ["docker", "podman", "nerdctl", "ctr"];

/// Why an image is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No program of [`LOADERS`] is there.
    #[error("none of {names} is on PATH: install one of them", names = LOADERS.join(", "))]
    NoLoader,
    /// The program cannot be run.
    #[error("cannot run {program}: is it on PATH?", program = .0.display())]
    Spawn(OsString, #[source] io::Error),
    /// The archive cannot be made, or the program does not read it to its end.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A name or a platform was given with an archive, which has its own.
    #[error("{archive} is an archive, and has the names and the platforms of its images in it: set them where it is made", archive = .0.display())]
    Settled(PathBuf),
    /// containerd would say that all is well, and have no image.
    #[error("{image} has no name, without which {program} loads no image: give it one, such as example.com/app:latest", image = .image.display(), program = .program.display())]
    NoName {
        /// The layout or the archive.
        image: PathBuf,
        /// The program.
        program: OsString,
    },
    /// The program failed.
    #[error("{program} {arguments} ended with {status}", program = .program.display(), arguments = .arguments.join(" "))]
    End {
        /// The program.
        program: OsString,
        /// Its arguments.
        arguments: &'static [&'static str],
        /// How it ended.
        status: ExitStatus,
    },
}

/// Has `loader`, or the first of [`LOADERS`] on PATH, load an image of the layout in the directory
/// `layout` under the names `tags`, or that of the archive `layout` under the names that it has there.
/// The program's output is that of this process.
pub fn load(
    layout: &Path,
    platform: Option<&Platform>,
    tags: &[Tagged],
    loader: Option<&OsStr>,
) -> Result<(), LoadError> {
    let program = match loader {
        Some(loader) => loader.to_owned(),
        None => find().ok_or(LoadError::NoLoader)?,
    };
    let is_archive = layout.is_file();
    let has_name = if is_archive {
        if platform.is_some() || !tags.is_empty() {
            return Err(LoadError::Settled(layout.to_owned()));
        }
        !names_in_archive(layout)?.is_empty()
    } else {
        !tags.is_empty()
    };
    let of_containerd = Path::new(&program).file_stem() == Some(OsStr::new("ctr"));
    if of_containerd && !has_name {
        return Err(LoadError::NoName {
            image: layout.to_owned(),
            program,
        });
    }
    let arguments: &[&str] = if of_containerd {
        // Else it leaves out an image that is not for this machine.
        &["images", "import", "--all-platforms", "-"]
    } else {
        &["load"]
    };
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| LoadError::Spawn(program.clone(), error))?;
    let stdin = child.stdin.take().expect("stdin is piped");
    let output = PathBuf::from(&program);
    let written = if is_archive {
        copy_archive(layout, stdin, &output)
    } else {
        write_archive(layout, platform, Format::Docker(tags), stdin, &output)
    };
    let hung_up = written.as_ref().is_err_and(is_broken_pipe);
    if written.is_err() && !hung_up {
        // It must not take a part of the archive for the whole.
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| LoadError::Spawn(program.clone(), error))?;
    let ended = LoadError::End {
        program,
        arguments,
        status,
    };
    match written {
        // It has said why it did not read on.
        _ if hung_up && !status.success() => Err(ended),
        Err(error) => Err(error.into()),
        Ok(()) if status.success() => Ok(()),
        Ok(()) => Err(ended),
    }
}

fn is_broken_pipe(error: &ArchiveError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let kind = error.downcast_ref().map(io::Error::kind);
        if kind == Some(io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The first of [`LOADERS`] on PATH.
fn find() -> Option<OsString> {
    let path = env::var_os("PATH")?;
    let there = |name: &&&str| {
        env::split_paths(&path).any(|directory| {
            let program = directory.join(format!("{name}{}", env::consts::EXE_SUFFIX));
            program.is_file()
        })
    };
    LOADERS.iter().find(there).map(OsString::from)
}
