//! One file out of a root file system.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::path::Path;

use elf::ElfStream;
use elf::abi::{
    DT_NEEDED, DT_SONAME, ELFMAGIC, EM_386, EM_AARCH64, EM_ARM, EM_LOONGARCH, EM_PPC64, EM_RISCV,
    EM_S390, EM_X86_64, ET_DYN, ET_EXEC, PT_INTERP,
};
use elf::endian::AnyEndian;

use crate::files::{io_failed, set_plain_mode};
use crate::outputs::WholeFile;
use crate::tar::Metadata;

use super::tree::Inode;
use super::{InodeKind, Rootfs, RootfsError};

/// The longest first line of a script that Linux reads.
const MAX_LINE: u64 = 256;

/// What a file is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Its content.
    Content,
    /// To be run outside of its image, where it has nothing of it, on a machine of this architecture (`GOARCH`).
    Program(&'a str),
}

/// Why a path of an image is not what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// There is nothing.
    #[error("there is no such file in the image")]
    Missing,
    /// There is something else.
    #[error("it is {0}, and not a file")]
    Kind(&'static str),
    /// It is not what its path says.
    #[error("it is a file, and its path is that of a directory: leave the slash at its end out")]
    Slash,
    /// The way to it is none.
    #[error("its path cannot be followed: {0}")]
    Way(String),
    /// Nobody may run it.
    #[error("it is not executable in the image, so it is no program")]
    NotExecutable,
    /// It needs a dynamic loader.
    #[error(
        "it is a program that needs the dynamic loader {0} and libraries, which are in its image and not where a build runs it: name a program that is linked statically"
    )]
    Loader(String),
    /// It is a script.
    #[error(
        "it is a script for {0}, which is in its image and not where a build runs it: name a program that is linked statically"
    )]
    Script(String),
    /// It is for other machines.
    #[error(
        "it is a program for another processor (ELF machine {machine}) than its image is for, {architecture}"
    )]
    Machine {
        /// The processor, as ELF numbers it.
        machine: u16,
        /// What the image is for.
        architecture: String,
    },
    /// It is a part of programs, or what one left.
    #[error("it is no program, but a library, an object file or a core dump (ELF type {0})")]
    Part(u16),
    /// It is something else.
    #[error("it is no program of Linux (ELF)")]
    NoProgram,
    /// It begins as a program does.
    #[error("it is a program of Linux (ELF) that cannot be read")]
    Damaged(#[source] elf::ParseError),
}

/// Writes the file at `path`, links followed, to `output`.
pub(super) fn write(
    rootfs: &Rootfs,
    path: &str,
    purpose: Purpose<'_>,
    output: &Path,
) -> Result<(), RootfsError> {
    let failed = |source| RootfsError::File {
        path: path.to_owned(),
        source,
    };
    let found = rootfs.tree.file(path.as_bytes());
    let found = found.map_err(|obstacle| {
        let way = obstacle.of(path.as_bytes());
        failed(FileFault::Way(way.to_string()))
    })?;
    let Some(Inode { kind, metadata }) = found else {
        let is_directory = rootfs.tree.has_directory(path.as_bytes());
        let fault = if is_directory {
            FileFault::Kind("a directory")
        } else {
            FileFault::Missing
        };
        return Err(failed(fault));
    };
    let (size, source) = match kind {
        InodeKind::File { .. } if path.ends_with('/') || path.ends_with("/.") => {
            return Err(failed(FileFault::Slash));
        }
        InodeKind::File { size, source } => (*size, *source),
        InodeKind::Device { .. } => return Err(failed(FileFault::Kind("a device"))),
        InodeKind::Fifo => return Err(failed(FileFault::Kind("a named pipe"))),
        // Links are followed.
        InodeKind::Symlink { .. } => return Err(failed(FileFault::Missing)),
    };
    let whole = io_failed("write", output, WholeFile::begin(output))?;
    let file = whole.file();
    rootfs.layers[source.layer].contents(&[(source.entry, ())], |(), archive| {
        archive.data(|bytes, offset| whole.write_all_at(bytes, offset))
    })?;
    // It may end in a hole.
    io_failed("write", output, whole.set_len(size))?;
    if let Purpose::Program(architecture) = purpose {
        check_program(file, metadata, architecture).map_err(|fault| match fault {
            Checked::Fault(fault) => failed(fault),
            Checked::Io(error) => RootfsError::Write(error),
        })?;
    }
    io_failed("write", output, set_plain_mode(file, metadata.mode))?;
    Ok(io_failed("write", output, whole.finish())?)
}

/// Why a program was not found good.
enum Checked {
    Fault(FileFault),
    Io(io::Error),
}

impl From<io::Error> for Checked {
    fn from(error: io::Error) -> Self {
        Checked::Io(error)
    }
}

/// Whether a program can be run without its image.
fn check_program(file: &File, metadata: &Metadata, architecture: &str) -> Result<(), Checked> {
    let fault = |fault| Err(Checked::Fault(fault));
    if metadata.mode & 0o111 == 0 {
        return fault(FileFault::NotExecutable);
    }
    let mut file = file.try_clone()?;
    file.rewind()?;
    let mut head = Vec::new();
    BufReader::new(&file)
        .take(MAX_LINE)
        .read_until(b'\n', &mut head)?;
    let interpreter = head.strip_prefix(b"#!").unwrap_or_default();
    let interpreter = String::from_utf8_lossy(interpreter).trim().to_owned();
    if !interpreter.is_empty() {
        return fault(FileFault::Script(interpreter));
    }
    if !head.starts_with(&ELFMAGIC) {
        return fault(FileFault::NoProgram);
    }
    file.rewind()?;
    let parsed = ElfStream::<AnyEndian, _>::open_stream(file);
    let damaged = |error| Checked::Fault(FileFault::Damaged(error));
    let mut program = parsed.map_err(damaged)?;
    let machine = program.ehdr.e_machine;
    if machine_of(architecture).is_some_and(|expected| expected != machine) {
        let architecture = architecture.to_owned();
        return fault(FileFault::Machine {
            machine,
            architecture,
        });
    }
    let segments = program.segments().iter();
    let Some(loader) = segments
        .into_iter()
        .find(|segment| segment.p_type == PT_INTERP)
        .copied()
    else {
        return if is_program(&mut program).map_err(damaged)? {
            Ok(())
        } else {
            fault(FileFault::Part(program.ehdr.e_type))
        };
    };
    match program.segment_data(&loader) {
        Ok(name) => {
            let name = String::from_utf8_lossy(name);
            fault(FileFault::Loader(name.trim_end_matches('\0').to_owned()))
        }
        Err(error) => Err(damaged(error)),
    }
}

/// Whether what names no loader is a program all the same. One that may lie anywhere has the type of a library, and
/// neither a library's name nor other libraries.
fn is_program(file: &mut ElfStream<AnyEndian, File>) -> Result<bool, elf::ParseError> {
    Ok(match file.ehdr.e_type {
        ET_EXEC => true,
        ET_DYN => {
            let dynamic = file.dynamic()?;
            let mut entries = dynamic.into_iter().flatten();
            !entries.any(|entry| [DT_NEEDED, DT_SONAME].contains(&entry.d_tag))
        }
        _ => false,
    })
}

/// The number that ELF has for a processor, if it has one number alone.
fn machine_of(architecture: &str) -> Option<u16> {
    Some(match architecture {
        "386" => EM_386,
        "amd64" => EM_X86_64,
        "arm" => EM_ARM,
        "arm64" => EM_AARCH64,
        "loong64" => EM_LOONGARCH,
        "ppc64le" => EM_PPC64,
        "riscv64" => EM_RISCV,
        "s390x" => EM_S390,
        _ => return None,
    })
}
