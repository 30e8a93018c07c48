//! What the files of an image say of its packages, whatever a scanner sees of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::oci::config::ImageConfig;
use crate::oci::manifest::ImageManifest;
use crate::oci::strict::{self, BYTE_ORDER_MARK};
use crate::rootfs::{FileEntry, FileNumber, Kept, Rootfs, RootfsError};

use super::go_program;
use super::inventory::{Package, System, known};
use super::packages::{self, Installed};

/// The endings of the names of files that are taken for Java archives, in any case.
pub const JAVA_ARCHIVES: [&str; 10] = [
    ".ear", ".hpi", ".jar", ".jpi", ".kar", ".lpkg", ".nar", ".par", ".sar", ".war",
];

/// The endings of programs of Python that bring their packages in a zip file, in any case.
const ZIPAPPS: [&str; 3] = [".pex", ".pyz", ".pyzw"];

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
/// Beside a package's file there, the digests and paths of its files.
const DPKG_DIGESTS: &str = ".md5sums";
/// The type of dpkg's packages.
const DPKG: &str = "deb";
/// Where and by which ending dpkg has the paths of a package's files.
const DPKG_LISTS: (&str, &str) = ("var/lib/dpkg/info/", ".list");
/// What a package's file is called in pacman's database, and what the list of what it brought.
const PACMAN_PACKAGE: &str = "/desc";
const PACMAN_FILES: &str = "/files";
/// What a zip file ends with has so many bytes, and with the comment behind it at most so many.
const ZIP_RECORD: usize = 22;
const MAX_ZIP_END: usize = ZIP_RECORD + 0xffff;
/// No program of Go's is smaller, in bytes.
const MIN_PROGRAM: u64 = 200_000;
/// Behind the name of a database of SQLite, the name of what it has not yet taken over.
const LOG: &str = "-wal";

/// Where npm lists what it installed in a directory, and below.
pub(super) const NPM_LIST: &str = "node_modules/.package-lock.json";

/// Where an image says of which system it is (os-release(5)).
const RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// Where Alpine says from where its packages come, and where it has more such lists (apk-repositories(5)).
const REPOSITORIES: &str = "etc/apk/repositories";
const MORE_REPOSITORIES: ([&str; 3], &str) = (
    [
        "etc/apk/repositories.d/",
        "lib/apk/repositories.d/",
        "usr/lib/apk/repositories.d/",
    ],
    ".list",
);

/// The largest file that is read as a whole, in bytes.
const MAX_TEXT: u64 = 256 << 20;
/// How much is kept of what layers have, before it is known which of it is left. For the rest, they are read once more.
const MAX_KEPT: u64 = 256 << 20;

/// What is to be expected of a scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// The system that the image says it is.
    pub system: Option<System>,
    /// The branches of Alpine that packages come from, such as `v3.20` or `edge`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub branches: BTreeSet<String>,
    /// The databases of packages, also of such that were all removed.
    pub databases: Vec<PackageDatabase>,
    /// The path of a log of such a database that has something in it.
    pub log: Option<String>,
    /// How many Java archives there are.
    pub java_archives: u64,
    /// The files of packages of languages in which the scanner did not see what they say, and that no package of the system
    /// brought.
    pub passed_over: Vec<String>,
    /// The same of Java archives, of which it tells only those that it knows.
    pub unknown_archives: Vec<String>,
    /// The same of programs that Go made.
    pub go_programs: Vec<String>,
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
    /// Those of an image, which was read, and in which the scanner saw these packages. It looks into Java archives of
    /// such names.
    pub fn of(
        mut image: ReadImage,
        packages: &BTreeSet<Package>,
        looks_into: impl Fn(&str) -> bool,
    ) -> Result<Self, RootfsError> {
        let rootfs = &image.rootfs;
        let seen = Seen::of(packages);
        let mut names: BTreeMap<FileNumber, Vec<String>> = BTreeMap::new();
        let mut linked = BTreeSet::new();
        let mut texts: BTreeMap<FileNumber, Text> = BTreeMap::new();
        let mut archives = BTreeSet::new();
        let mut traces = Traces::default();
        for name in rootfs.names() {
            if rootfs.size(name.file) == 0 {
                continue;
            }
            let path = String::from_utf8_lossy(&name.path).into_owned();
            if let Some(text) = Text::of(&path) {
                texts.entry(name.file).or_insert(text);
            } else if is_java_archive(&path) {
                archives.insert(name.file);
            }
            if name.is_link {
                linked.insert(name.file);
            }
            names.entry(name.file).or_default().push(path);
        }
        // Links are followed, which scanners do not.
        traces.log = add_databases(rootfs, &mut texts);
        // So are those to where the scanner saw a package, whatever it read there.
        for path in seen.packages.keys() {
            if let Some(form) = Form::of(path)
                && let Some(file) = rootfs.file(path).filter(|file| rootfs.size(*file) > 0)
            {
                texts.entry(file).or_insert(Text::Language(form));
                let names = names.entry(file).or_default();
                if names.iter().all(|name| name != path) {
                    names.push((*path).to_owned());
                }
            }
        }
        // What the first of them says that is there.
        if let Some(file) = RELEASE.iter().find_map(|path| rootfs.file(path)) {
            texts.insert(file, Text::Release);
        }
        if let Some(file) = rootfs.file(REPOSITORIES) {
            texts.insert(file, Text::Repositories);
        }
        texts.retain(|file, _| rootfs.size(*file) > 0);
        traces.java_archives = archives.len() as u64;
        archives.retain(|file| !seen.has(&names[file]));
        let read = read(rootfs, &mut image.kept, &names, &texts, &archives)?;
        let mut brought = Vec::new();
        let mut passed_over = BTreeSet::new();
        for (file, text, bytes) in read.texts {
            let mut owner = Owner::Itself;
            let files = match text {
                Text::Database { kind, path } => traces.add(kind, &path, bytes.as_deref())?,
                Text::Files(of) => {
                    owner = of;
                    lines(bytes.as_deref(), |line| Some(line))
                }
                Text::Digests(of) => {
                    owner = of;
                    lines(bytes.as_deref(), |line| Some(line.split_once("  ")?.1))
                }
                Text::Release => {
                    let text = bytes.unwrap_or_default();
                    traces.system = parse_release(&String::from_utf8_lossy(&text));
                    BTreeSet::new()
                }
                Text::Repositories => {
                    let branches = lines(bytes.as_deref(), branch);
                    traces.branches.extend(branches);
                    BTreeSet::new()
                }
                Text::Language(form) => {
                    let said = bytes.map_or(Said::Unreadable, |bytes| form.read(&bytes));
                    if !seen.knows(&names[&file], &said) {
                        passed_over.insert(file);
                    }
                    BTreeSet::new()
                }
            };
            brought.push((owner, files));
        }
        let owned = traces.owned(rootfs, brought);
        // A link to one that is known by another name is passed over.
        let (unread, unknown) = archives.into_iter().partition(|file| {
            let is_read = names[file].iter().any(|name| looks_into(name));
            !is_read || linked.contains(file) || !read.whole_archives.contains(file)
        });
        passed_over.extend::<BTreeSet<_>>(unread);
        let programs = read.go_programs.into_iter();
        let programs = programs.filter(|file| !seen.has_modules(&names[file]));
        let names_of = |files: BTreeSet<FileNumber>| -> Vec<String> {
            let names = files.difference(&owned).map(|file| &names[file]);
            // Its own before those by which scanners do not know it.
            let telling = names.filter_map(|names| {
                let mut telling = names.iter().filter(|name| is_of_language(name));
                telling.next().or(names.first()).cloned()
            });
            telling.collect()
        };
        traces.go_programs = names_of(programs.collect());
        traces.passed_over = names_of(passed_over);
        traces.unknown_archives = names_of(unknown);
        Ok(traces)
    }

    /// The files that packages of the system brought, by their lists.
    fn owned(
        &self,
        rootfs: &Rootfs,
        brought: Vec<(Owner, BTreeSet<String>)>,
    ) -> BTreeSet<FileNumber> {
        let mut owned = BTreeSet::new();
        for (owner, files) in brought {
            let is_installed = match owner {
                Owner::Itself => true,
                Owner::Package(name) => self.has_installed(DPKG, &name),
                Owner::File(path) => rootfs.file(&path).is_some(),
            };
            if is_installed {
                owned.extend(files.iter().filter_map(|path| rootfs.file(path)));
            }
        }
        owned
    }

    /// Whether a package of this name is in a database of the kind, as far as is known.
    fn has_installed(&self, kind: &str, name: &str) -> bool {
        let mut databases = self.databases.iter().filter(|there| there.kind == kind);
        databases.any(|there| {
            let packages = there.packages.as_ref();
            packages.is_none_or(|packages| packages.iter().any(|(there, _)| there == name))
        })
    }

    /// Adds what a database has, or a file of one; returns the paths of what its packages brought.
    fn add(
        &mut self,
        kind: &str,
        path: &str,
        bytes: Option<&[u8]>,
    ) -> Result<BTreeSet<String>, RootfsError> {
        let installed = match bytes {
            Some(bytes) => packages::read(kind, path, bytes)?,
            None => Some(Installed::default()),
        };
        let Some(Installed { packages, files }) = installed else {
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

/// Adds the databases of packages; returns the path of a log of one that has something in it.
fn add_databases(rootfs: &Rootfs, texts: &mut BTreeMap<FileNumber, Text>) -> Option<String> {
    let mut first_log = None;
    for (kind, path) in DATABASES {
        let found = |path: &str| rootfs.file(path).filter(|file| rootfs.size(*file) > 0);
        if let Some(file) = found(path) {
            let path = path.to_owned();
            texts.insert(file, Text::Database { kind, path });
        }
        let log = format!("{path}{LOG}");
        if found(&log).is_some() {
            first_log.get_or_insert(log);
        }
    }
    first_log
}

/// The lines of a text, or what is wanted of each.
fn lines(bytes: Option<&[u8]>, wanted: impl Fn(&str) -> Option<&str>) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes.unwrap_or_default());
    let lines = text.lines().filter_map(wanted);
    lines.map(str::to_owned).collect()
}

/// Where the scanner saw packages of languages.
struct Seen<'a> {
    /// By where they are.
    packages: BTreeMap<&'a str, Vec<&'a Package>>,
    /// Where there is more than what Go itself brings, which is listed of each program of Go's.
    with_modules: BTreeMap<&'a str, Vec<&'a Package>>,
}

impl<'a> Seen<'a> {
    fn of(packages: &'a BTreeSet<Package>) -> Self {
        let mut seen = Seen {
            packages: BTreeMap::new(),
            with_modules: BTreeMap::new(),
        };
        for package in packages.iter().filter(|package| !package.of_system) {
            let Some(path) = &package.path else {
                continue;
            };
            let path = path.trim_start_matches('/');
            seen.packages.entry(path).or_default().push(package);
            if package.name != "stdlib" {
                seen.with_modules.entry(path).or_default().push(package);
            }
        }
        seen
    }

    /// Whether there is any in a file, by any of its names.
    fn has(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| at(&self.packages, name).next().is_some())
    }

    /// Whether there are modules in a program.
    fn has_modules(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| at(&self.with_modules, name).next().is_some())
    }

    /// What was seen in the lists that npm has of a path.
    fn listed(&self, path: &str) -> impl Iterator<Item = &'a Package> {
        let directories = path.match_indices("node_modules/");
        let lists = directories.filter_map(|(place, _)| {
            let list = format!("{}{NPM_LIST}", &path[..place]);
            self.packages.get(&*list)
        });
        lists.flatten().copied()
    }

    /// Whether what a file says that it is was seen there, by any of its names: a scanner that passes over it may have seen
    /// what a layer below had there.
    fn knows(&self, names: &[String], said: &Said) -> bool {
        match said {
            Said::Nothing => true,
            Said::Unreadable => self.has(names),
            Said::Package { name, version } => {
                let mut seen = names
                    .iter()
                    .flat_map(|name| at(&self.packages, name).chain(self.listed(name)));
                seen.any(|seen| {
                    normal_name(&seen.name) == normal_name(name)
                        && seen.version.as_deref().map(normal_version)
                            == Some(normal_version(version))
                })
            }
        }
    }
}

/// What is at a path. What is in an archive has the archive's path before its own.
fn at<'a>(
    packages: &'a BTreeMap<&str, Vec<&'a Package>>,
    path: &str,
) -> impl Iterator<Item = &'a Package> {
    let from_there = (Bound::Included(path), Bound::Unbounded);
    packages
        .range::<str, _>(from_there)
        .map_while(move |(found, packages)| Some((found.strip_prefix(path)?, packages)))
        .filter(|(rest, _)| rest.is_empty() || rest.starts_with('/'))
        .flat_map(|(_, packages)| packages.iter().copied())
}

/// Scanners do not agree on how names are written (packaging.python.org, "Names and normalization").
fn normal_name(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

fn normal_version(version: &str) -> String {
    let version = version.trim().to_ascii_lowercase();
    version.trim_start_matches(['=', 'v', ' ']).to_owned()
}

/// What a file is read for.
#[derive(Clone, Debug)]
enum Text {
    /// The packages of a system.
    Database { kind: &'static str, path: String },
    /// The paths of what a package brought, one on each line.
    Files(Owner),
    /// The same, each behind its digest.
    Digests(Owner),
    /// Of which system the image says it is.
    Release,
    /// From where Alpine's packages come.
    Repositories,
    /// A package of a language.
    Language(Form),
}

/// Whose files a list has, which are left behind where that is not installed.
#[derive(Clone, Debug)]
enum Owner {
    /// The list says itself what is installed.
    Itself,
    /// A package of dpkg's of this name.
    Package(String),
    /// A package of which this file tells.
    File(String),
}

impl Text {
    /// What a file is read for by its path.
    fn of(path: &str) -> Option<Self> {
        let (directory, ending) = DPKG_LISTS;
        let list = path.strip_prefix(directory);
        if let Some(package) = list.and_then(|list| list.strip_suffix(ending)) {
            // Behind a colon is its architecture.
            let name = package.split(':').next().unwrap_or_default();
            return Some(Text::Files(Owner::Package(name.to_owned())));
        }
        let (directories, ending) = MORE_REPOSITORIES;
        if directories.iter().any(|below| path.starts_with(below)) {
            return path.ends_with(ending).then_some(Text::Repositories);
        }
        let mut directories = DIRECTORIES.iter();
        let Some((kind, _)) = directories.find(|(_, directory)| path.starts_with(directory)) else {
            return Form::of(path).map(Text::Language);
        };
        match *kind {
            "alpm" => match path.strip_suffix(PACMAN_FILES) {
                Some(package) => {
                    let owner = Owner::File(format!("{package}{PACMAN_PACKAGE}"));
                    return Some(Text::Files(owner));
                }
                None if path.ends_with(PACMAN_PACKAGE) => {}
                None => return None,
            },
            _ => {
                if let Some(package) = path.strip_suffix(DPKG_DIGESTS) {
                    return Some(Text::Digests(Owner::File(package.to_owned())));
                }
            }
        }
        Some(Text::Database {
            kind,
            path: path.to_owned(),
        })
    }
}

/// What was read of the files' contents.
struct FileContents {
    /// The bytes of those that are not too large.
    texts: Vec<(FileNumber, Text, Option<Vec<u8>>)>,
    go_programs: BTreeSet<FileNumber>,
    /// Those that can be read as zip files.
    whole_archives: BTreeSet<FileNumber>,
}

/// How a file is read.
#[derive(Debug)]
enum Sink {
    Text(Vec<u8>),
    Program(Program),
    /// The end of an archive.
    Archive(Vec<u8>),
}

impl Sink {
    /// For a program, if a file may be one of Go's. A plugin need not be executable.
    fn of_program(size: u64) -> Option<Self> {
        (size >= MIN_PROGRAM).then(|| Sink::Program(Program::default()))
    }

    fn take(&mut self, bytes: &[u8], offset: u64) {
        match self {
            Sink::Text(text) => {
                // There may be holes.
                text.resize(usize::try_from(offset).unwrap_or(usize::MAX), 0);
                text.extend_from_slice(bytes);
            }
            Sink::Program(program) => program.take(bytes, offset),
            Sink::Archive(end) => {
                end.extend_from_slice(&bytes[bytes.len().saturating_sub(MAX_ZIP_END)..]);
                let surplus = end.len().saturating_sub(MAX_ZIP_END);
                end.drain(..surplus);
            }
        }
    }
}

/// An image's files, and what matters of their contents.
#[derive(Debug)]
pub struct ReadImage {
    rootfs: Rootfs,
    kept: Kept<Sink>,
}

impl ReadImage {
    /// Reads all layers of an image, which must be what its config says.
    pub fn read(
        layout: &Path,
        manifest: &ImageManifest,
        config: &ImageConfig,
    ) -> Result<Self, RootfsError> {
        let left = AtomicU64::new(MAX_KEPT);
        let want = |entry: &FileEntry<'_>| {
            let path = String::from_utf8_lossy(entry.path);
            let is_text = DATABASES.iter().any(|(_, database)| *database == path)
                || RELEASE.contains(&&*path)
                || path == REPOSITORIES
                || Text::of(&path).is_some();
            if !is_text {
                return Sink::of_program(entry.size);
            }
            let less = |left: u64| left.checked_sub(entry.size);
            let is_room = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            is_room.is_ok().then(|| Sink::Text(Vec::new()))
        };
        let (rootfs, kept) = Rootfs::read_keeping(layout, manifest, config, want, Sink::take)?;
        Ok(ReadImage { rootfs, kept })
    }
}

/// Reads what matters of files: once more those of which it was not kept.
fn read(
    rootfs: &Rootfs,
    kept: &mut Kept<Sink>,
    names: &BTreeMap<FileNumber, Vec<String>>,
    texts: &BTreeMap<FileNumber, Text>,
    archives: &BTreeSet<FileNumber>,
) -> Result<FileContents, RootfsError> {
    let mut contents = FileContents {
        texts: Vec::new(),
        go_programs: BTreeSet::new(),
        whole_archives: BTreeSet::new(),
    };
    let mut read = Vec::new();
    let mut unread = Vec::new();
    for file in names.keys() {
        let (file, size) = (*file, rootfs.size(*file));
        let sink = match texts.get(&file) {
            Some(text) if size > MAX_TEXT => {
                contents.texts.push((file, text.clone(), None));
                continue;
            }
            Some(_) => Some(Sink::Text(Vec::new())),
            None if archives.contains(&file) => Some(Sink::Archive(Vec::new())),
            None => Sink::of_program(size),
        };
        match (sink, kept.take(rootfs, file)) {
            (None, _) => {}
            (Some(Sink::Text(_)), Some(kept @ Sink::Text(_)))
            | (Some(Sink::Program(_)), Some(kept @ Sink::Program(_))) => read.push((file, kept)),
            (Some(sink), _) => unread.push((file, Mutex::new(sink))),
        }
    }
    rootfs.read_files(
        unread.iter().map(|(file, sink)| (*file, sink)),
        |sink, bytes, offset| sink.lock().expect("no holder panics").take(bytes, offset),
    )?;
    let unread = unread
        .into_iter()
        .map(|(file, sink)| (file, sink.into_inner().expect("no holder panics")));
    for (file, sink) in read.into_iter().chain(unread) {
        match (sink, texts.get(&file)) {
            (Sink::Text(bytes), Some(text)) => {
                contents.texts.push((file, text.clone(), Some(bytes)));
            }
            (Sink::Program(program), _) if program.is_of_go => {
                contents.go_programs.insert(file);
            }
            (Sink::Archive(end), _) if is_whole(&end) => {
                contents.whole_archives.insert(file);
            }
            _ => {}
        }
    }
    Ok(contents)
}

/// Whether a zip file, which has this end, is whole: it ends with a record of its directory and a comment (APPNOTE.TXT,
/// 4.3.16).
fn is_whole(end: &[u8]) -> bool {
    memmem::find_iter(end, b"PK\x05\x06").any(|start| {
        let record = &end[start..];
        let comment = record.get(ZIP_RECORD - 2..ZIP_RECORD);
        comment.is_some_and(|size| {
            record.len() == ZIP_RECORD + usize::from(u16::from_le_bytes([size[0], size[1]]))
        })
    })
}

/// A program while it is read.
#[derive(Debug, Default)]
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
        let overlap = go_program::MARKED - 1;
        self.end
            .extend_from_slice(&bytes[..bytes.len().min(overlap)]);
        self.is_of_go = go_program::is_marked(&self.end) || go_program::is_marked(bytes);
        if bytes.len() >= overlap {
            self.end = bytes[bytes.len() - overlap..].to_vec();
        } else {
            let surplus = self.end.len().saturating_sub(overlap);
            self.end.drain(..surplus);
        }
    }
}

/// How a file says of which package of a language it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Lines of a name and a value (Python's "Core metadata specifications").
    Headers,
    /// An object of JSON (npm's package.json).
    Json,
    /// A program (Ruby's gemspec).
    Gemspec,
    /// A zip file (Python's egg, pex and zipapp, what Yarn runs packages from).
    Zip,
    /// A list of JSON, of several (what Composer, for PHP, has installed).
    List,
}

impl Form {
    /// That of a file by whose path scanners know a package.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/');
        let (name, parent) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let above = [parts.next(), parts.next()].map(Option::unwrap_or_default);
        match name {
            "installed.json" => (parent == "composer").then_some(Form::List),
            "METADATA" => ends_with(parent, ".dist-info").then_some(Form::Headers),
            "PKG-INFO" => ends_with(parent, "egg-info").then_some(Form::Headers),
            "package.json" => {
                let is_installed = above[0] == "node_modules"
                    || above[0].starts_with('@') && above[1] == "node_modules";
                is_installed.then_some(Form::Json)
            }
            _ if name.ends_with(".egg-info") => Some(Form::Headers),
            _ if ends_with(name, ".egg") => name.contains("-py").then_some(Form::Zip),
            _ if ZIPAPPS.iter().any(|ending| ends_with(name, ending)) => Some(Form::Zip),
            _ if ends_with(name, ".zip") && parent == "cache" => {
                let is_of_yarn = above[0] == ".yarn" || above == ["berry", ".yarn"];
                is_of_yarn.then_some(Form::Zip)
            }
            _ if name.ends_with(".gemspec") => {
                let is_installed = parent == "specifications"
                    // Those that Ruby itself brings.
                    || parent == "default" && above[0] == "specifications";
                is_installed.then_some(Form::Gemspec)
            }
            _ => None,
        }
    }

    /// Of which package a file of the form is.
    fn read(self, bytes: &[u8]) -> Said {
        #[derive(Deserialize)]
        struct Manifest {
            name: Option<String>,
            version: Option<String>,
        }
        let (name, version) = match self {
            Form::Headers => {
                let text = String::from_utf8_lossy(bytes);
                let value = |name: &str| {
                    let headers = text.lines().take_while(|line| !line.is_empty());
                    let mut headers = headers.filter_map(|line| line.split_once(':'));
                    let found = headers.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.trim().to_owned())
                };
                (value("Name"), value("Version"))
            }
            Form::Json => match json::<Manifest>(bytes) {
                Ok(Manifest { name, version }) => (name, version),
                Err(_) => return Said::Unreadable,
            },
            Form::Gemspec | Form::Zip => return Said::Unreadable,
            Form::List => {
                #[derive(Deserialize)]
                struct List {
                    packages: Vec<IgnoredAny>,
                }
                // Before Composer 2 it was a list alone.
                let packages = json::<Vec<IgnoredAny>>(bytes)
                    .or_else(|_| json::<List>(bytes).map(|list| list.packages));
                return match packages {
                    Ok(packages) if packages.is_empty() => Said::Nothing,
                    _ => Said::Unreadable,
                };
            }
        };
        match (name, version) {
            (Some(name), Some(version)) if !name.is_empty() && !version.is_empty() => {
                Said::Package { name, version }
            }
            _ => Said::Nothing,
        }
    }
}

/// Whether a name ends so, in any case.
fn ends_with(name: &str, ending: &str) -> bool {
    name.to_ascii_lowercase().ends_with(ending)
}

/// Reads JSON, which editors may have put a mark before.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    strict::read(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
}

/// What a file says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Package {
        name: String,
        version: String,
    },
    /// No package, or one without a version.
    Nothing,
    /// It may be a package, or several.
    Unreadable,
}

/// Whether a path is that by which scanners know a package of a language.
fn is_of_language(path: &str) -> bool {
    Form::of(path).is_some() || is_java_archive(path)
}

/// Whether a file is taken for a Java archive.
pub(super) fn is_java_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    JAVA_ARCHIVES.iter().any(|ending| path.ends_with(ending))
}

/// The branch of Alpine in a line of its repositories, which may begin with a tag.
fn branch(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let url = words.find(|word| word.starts_with('#') || word.contains('/'));
    let url = url.filter(|word| !word.starts_with('#'))?;
    // What a branch has is behind it, or in words of its own.
    let behind = usize::from(words.next().is_none());
    let branch = url.trim_end_matches('/').rsplit('/').nth(behind)?;
    let number = branch.strip_prefix('v').unwrap_or_default();
    (branch == "edge" || number.starts_with(|first: char| first.is_ascii_digit())).then_some(branch)
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
        release: known(value("VERSION_ID")),
        codename: known(value("VERSION_CODENAME")),
        ..System::default()
    })
}
