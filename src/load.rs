//! Loads an image into a local container engine, which reads it as an archive from its standard input.

use std::env;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::layout::{ArchiveError, Format, write_archive};
use crate::platform::Platform;
use crate::reference::Tagged;

/// The programs whose `load` reads a `docker save` archive, in the order in which they are looked for.
pub const LOADERS: [&str; 3] = ["docker", "podman", "nerdctl"];

/// Why an image is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No program of [`LOADERS`] is there.
    #[error("none of {names} is on PATH: install one of them, or name another program", names = LOADERS.join(", "))]
    NoLoader,
    /// The program cannot be run.
    #[error("cannot run {program}: is it on PATH?", program = .0.display())]
    Spawn(OsString, #[source] io::Error),
    /// The archive cannot be made, or the program does not read it to its end.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The program failed.
    #[error("{program} load ended with {status}", program = .program.display())]
    End {
        /// The program.
        program: OsString,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Has `loader`, or the first of [`LOADERS`] on PATH, load an image of the layout in the directory
/// `layout` under the names `tags`. The program's output is that of this process.
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
    let mut child = Command::new(&program)
        .arg("load")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| LoadError::Spawn(program.clone(), error))?;
    let stdin = child.stdin.take().expect("stdin is piped");
    let output = PathBuf::from(&program);
    let written = write_archive(layout, platform, Format::Docker(tags), stdin, &output);
    let hung_up = written.as_ref().is_err_and(is_broken_pipe);
    if written.is_err() && !hung_up {
        // It must not take a part of the archive for the whole.
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| LoadError::Spawn(program.clone(), error))?;
    match written {
        // It has said why it did not read on.
        _ if hung_up && !status.success() => Err(LoadError::End { program, status }),
        Err(error) => Err(error.into()),
        Ok(()) if status.success() => Ok(()),
        Ok(()) => Err(LoadError::End { program, status }),
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
