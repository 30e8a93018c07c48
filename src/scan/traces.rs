//! What the files of an image say of its packages, whatever a scanner sees of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::files::{io_failed, read_at_most};
use crate::rootfs::{FileFault, FileNumber, Purpose, Rootfs, RootfsError};

use super::findings::System;
use super::packages::{self, Installed};

/// The names of files that are taken for Java archives.
pub const JAVA_ARCHIVES: [&str; 4] = [".jar", ".war", ".ear", ".par"];

/// Where package managers keep their databases, by the type that their packages have in a package URL.
const DATABASES: [(&str, &str); 14] = [
    ("apk", "lib/apk/db/installed"),
    ("apk", "usr/lib/apk/db/installed"),
    ("deb", "var/lib/dpkg/status"),
    ("opkg", "usr/lib/opkg/status"),
    ("rpm", "usr/lib/sysimage/rpm/Packages"),
    ("rpm", "usr/lib/sysimage/rpm/Packages.db"),
    ("rpm", "usr/lib/sysimage/rpm/rpmdb.sqlite"),
    ("rpm", "usr/share/rpm/Packages"),
    ("rpm", "usr/share/rpm/Packages.db"),
    ("rpm", "usr/share/rpm/rpmdb.sqlite"),
    ("rpm", "var/lib/rpm/Packages"),
    ("rpm", "var/lib/rpm/Packages.db"),
    ("rpm", "var/lib/rpm/rpmdb.sqlite"),
    ("rpm", "var/lib/rpmmanifest/container-manifest-2"),
];
/// Where they keep a file for each package.
const DIRECTORIES: [(&str, &str); 2] = [
    ("alpm", "var/lib/pacman/local/"),
    ("deb", "var/lib/dpkg/status.d/"),
];
/// Beside a package's file there, the digests of its files.
const DPKG_DIGESTS: &str = ".md5sums";
/// Where and by which ending dpkg has the paths of a package's files.
const DPKG_LISTS: (&str, &str) = ("var/lib/dpkg/info/", ".list");
/// What a package's file is called in pacman's database, and what the list of what it brought.
const PACMAN_PACKAGE: &str = "/desc";
const PACMAN_FILES: &str = "/files";
/// What Go puts into each program, before what modules it is made of (debug/buildinfo).
const GO_MARK: &[u8] = b"\xff Go buildinf:";
/// No program of Go's is smaller, in bytes.
const MIN_PROGRAM: u64 = 200_000;
/// Behind the name of a database of SQLite, the name of what it has not yet taken over.
const LOG: &str = "-wal";

/// Where an image says of which system it is (os-release(5)).
const RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The largest of these files that is read, in bytes.
const MAX_RELEASE: u64 = 1 << 20;

/// The largest database of packages that is read, in bytes.
const MAX_DATABASE: u64 = 256 << 20;

/// What is to be expected of a scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// The system that the image says it is.
    pub system: Option<System>,
    /// The databases of packages, also of such that were all removed.
    pub databases: Vec<PackageDatabase>,
    /// The path of a log of such a database that has something in it.
    pub log: Option<String>,
    /// How many Java archives there are.
    pub java_archives: u64,
    /// The files of packages of languages that have a name by a link, which scanners may pass over: all names of each, the
    /// telling ones first.
    pub linked: Vec<Vec<String>>,
    /// Programs that Go made and that no package of the system brought: all names of each.
    pub go_programs: Vec<Vec<String>>,
}

/// A database of packages of a system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageDatabase {
    /// The type that its packages have in a package URL.
    pub kind: String,
    /// Its path.
    pub path: String,
    /// Its packages, by name and version; none where this program cannot read it.
    pub packages: Option<BTreeSet<(String, String)>>,
}

impl Traces {
    /// Those of an image's root file system.
    pub fn of(rootfs: &Rootfs) -> Result<Self, RootfsError> {
        let mut names: BTreeMap<FileNumber, Vec<String>> = BTreeMap::new();
        let mut linked = BTreeSet::new();
        let mut texts: BTreeMap<FileNumber, Text> = BTreeMap::new();
        let mut traces = Traces {
            system: system(rootfs)?,
            ..Traces::default()
        };
        for name in rootfs.names() {
            if rootfs.size(name.file) == 0 {
                continue;
            }
            let path = String::from_utf8_lossy(&name.path).into_owned();
            if name.is_link && is_of_language(&path) {
                linked.insert(name.file);
            }
            if let Some(text) = Text::of_member(&path) {
                texts.entry(name.file).or_insert(text);
            }
            names.entry(name.file).or_default().push(path);
        }
        // Links are followed, which scanners do not.
        for (kind, path) in DATABASES {
            let found = |path: &str| rootfs.file(path).filter(|file| rootfs.size(*file) > 0);
            if let Some(file) = found(path) {
                texts.entry(file).or_insert(Text::Database {
                    kind,
                    path: path.to_owned(),
                });
            }
            let log = format!("{path}{LOG}");
            if found(&log).is_some() {
                traces.log.get_or_insert(log);
            }
        }
        let read = read(rootfs, &names, &texts)?;
        let mut owned = BTreeSet::new();
        for (text, bytes) in read.texts {
            let files = match text {
                Text::Database { kind, path } => traces.add(kind, &path, &bytes)?,
                Text::Files => {
                    let text = String::from_utf8_lossy(&bytes);
                    text.lines().map(str::to_owned).collect()
                }
            };
            owned.extend(files.iter().filter_map(|path| rootfs.file(path)));
        }
        let is_archive = |paths: &&Vec<String>| paths.iter().any(|path| is_java_archive(path));
        let archives = names.values().filter(is_archive);
        traces.java_archives = archives.count() as u64;
        let names_of = |files: BTreeSet<FileNumber>| {
            let files = files.difference(&owned);
            files.map(|file| names[file].clone()).collect::<Vec<_>>()
        };
        traces.linked = names_of(linked);
        for names in &mut traces.linked {
            names.sort_by_cached_key(|name| !is_of_language(name));
        }
        traces.go_programs = names_of(read.go_programs);
        Ok(traces)
    }

    /// Adds what a database has, or a file of one; returns the paths of what its packages brought.
    fn add(
        &mut self,
        kind: &str,
        path: &str,
        bytes: &[u8],
    ) -> Result<BTreeSet<String>, RootfsError> {
        let Some(Installed { packages, files }) = packages::read(kind, path, bytes)? else {
            return Ok(BTreeSet::new());
        };
        let directory = DIRECTORIES.iter().map(|(_, directory)| *directory);
        let mut directories = directory.filter(|directory| path.starts_with(directory));
        let path = directories.next().unwrap_or(path).to_owned();
        let mut there = self.databases.iter_mut();
        match there.find(|database| database.path == path) {
            Some(PackageDatabase {
                packages: Some(all),
                ..
            }) => all.extend(packages.into_iter().flatten()),
            Some(_) => {}
            None => self.databases.push(PackageDatabase {
                kind: kind.to_owned(),
                path,
                packages,
            }),
        }
        Ok(files)
    }
}

/// What a file is read for.
#[derive(Clone, Debug)]
enum Text {
    /// The packages of a system.
    Database { kind: &'static str, path: String },
    /// The paths of what a package brought, one on each line.
    Files,
}

impl Text {
    /// What one of many files is read for.
    fn of_member(path: &str) -> Option<Self> {
        if path.starts_with(DPKG_LISTS.0) && path.ends_with(DPKG_LISTS.1) {
            return Some(Text::Files);
        }
        let mut directories = DIRECTORIES.iter();
        let (kind, _) = directories.find(|(_, directory)| path.starts_with(directory))?;
        let is_database = match *kind {
            "alpm" if path.ends_with(PACMAN_FILES) => return Some(Text::Files),
            "alpm" => path.ends_with(PACMAN_PACKAGE),
            _ => !path.ends_with(DPKG_DIGESTS),
        };
        is_database.then(|| Text::Database {
            kind,
            path: path.to_owned(),
        })
    }

    /// Whether its content matters.
    fn is_read(&self) -> bool {
        match self {
            Text::Database { kind, path } => *kind != "rpm" || path.ends_with(".sqlite"),
            Text::Files => true,
        }
    }
}

/// What was read of the files' contents.
struct Contents {
    texts: Vec<(Text, Vec<u8>)>,
    go_programs: BTreeSet<FileNumber>,
}

/// How a file is read.
enum Sink {
    Text(Text, Mutex<Vec<u8>>),
    Program(FileNumber, Mutex<Program>),
}

/// Reads all files that matter in one pass over the layers.
fn read(
    rootfs: &Rootfs,
    names: &BTreeMap<FileNumber, Vec<String>>,
    texts: &BTreeMap<FileNumber, Text>,
) -> Result<Contents, RootfsError> {
    let mut sinks = Vec::new();
    for file in names.keys() {
        if let Some(text) = texts.get(file) {
            sinks.push((*file, Sink::Text(text.clone(), Mutex::default())));
        } else if rootfs.is_executable(*file) && rootfs.size(*file) >= MIN_PROGRAM {
            sinks.push((*file, Sink::Program(*file, Mutex::default())));
        }
    }
    let wanted = sinks.iter().filter(|(_, sink)| match sink {
        Sink::Text(text, _) => text.is_read(),
        Sink::Program(..) => true,
    });
    rootfs.read_files(
        wanted.map(|(file, sink)| (*file, sink)),
        |sink, bytes, offset| match sink {
            Sink::Text(_, text) => {
                let mut text = text.lock().expect("no holder panics");
                if (text.len() as u64) < MAX_DATABASE {
                    text.extend_from_slice(bytes);
                }
            }
            Sink::Program(_, program) => {
                program
                    .lock()
                    .expect("no holder panics")
                    .take(bytes, offset);
            }
        },
    )?;
    let mut contents = Contents {
        texts: Vec::new(),
        go_programs: BTreeSet::new(),
    };
    for (_, sink) in sinks {
        match sink {
            Sink::Text(text, bytes) => {
                let bytes = bytes.into_inner().expect("no holder panics");
                contents.texts.push((text, bytes));
            }
            Sink::Program(file, program) => {
                if program.into_inner().expect("no holder panics").is_of_go {
                    contents.go_programs.insert(file);
                }
            }
        }
    }
    Ok(contents)
}

/// A program while it is read.
#[derive(Default)]
struct Program {
    is_elf: bool,
    is_of_go: bool,
    /// The last bytes of what was read, which may begin the mark.
    end: Vec<u8>,
}

impl Program {
    fn take(&mut self, bytes: &[u8], offset: u64) {
        if offset == 0 {
            self.is_elf = bytes.starts_with(b"\x7fELF");
        }
        if !self.is_elf || self.is_of_go {
            return;
        }
        let overlap = GO_MARK.len() - 1;
        self.end
            .extend_from_slice(&bytes[..bytes.len().min(overlap)]);
        self.is_of_go =
            memmem::find(&self.end, GO_MARK).is_some() || memmem::find(bytes, GO_MARK).is_some();
        if bytes.len() >= overlap {
            self.end = bytes[bytes.len() - overlap..].to_vec();
        } else {
            let surplus = self.end.len().saturating_sub(overlap);
            self.end.drain(..surplus);
        }
    }
}

/// Whether a path is that by which scanners know a package of a language.
fn is_of_language(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (name, parent) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let above = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    match name {
        "METADATA" => parent.ends_with(".dist-info"),
        "PKG-INFO" => parent.ends_with(".egg-info"),
        "package.json" => {
            above[0] == "node_modules" || above[0].starts_with('@') && above[1] == "node_modules"
        }
        _ => {
            name.ends_with(".egg-info")
                || parent == "specifications" && name.ends_with(".gemspec")
                || is_java_archive(name)
        }
    }
}

/// Whether a file is taken for a Java archive.
pub(super) fn is_java_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    JAVA_ARCHIVES.iter().any(|ending| path.ends_with(ending))
}

/// What the first of the files says that is there.
fn system(rootfs: &Rootfs) -> Result<Option<System>, RootfsError> {
    let scratch = std::env::temp_dir();
    let scratch = io_failed("make a directory in", &scratch, tempfile::tempdir())?;
    let file = scratch.path().join("os-release");
    for path in RELEASE {
        match rootfs.write_file(path, Purpose::Content, &file) {
            Ok(()) => {
                let bytes = io_failed("read", &file, read_at_most(&file, MAX_RELEASE))?;
                return Ok(parse_release(&String::from_utf8_lossy(&bytes)));
            }
            Err(RootfsError::File {
                source: FileFault::Missing | FileFault::Kind(_) | FileFault::Way(_),
                ..
            }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn parse_release(text: &str) -> Option<System> {
    let value = |key: &str| {
        let mut values = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        let words = shlex::split(values.next_back()?)?;
        words.into_iter().next()
    };
    Some(System {
        family: value("ID")?,
        release: value("VERSION_ID").unwrap_or_default(),
        codename: value("VERSION_CODENAME").unwrap_or_default(),
    })
}
