//! What the files of an image say of its packages, whatever a scanner sees of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::oci::config::ImageConfig;
use crate::oci::manifest::ImageManifest;
use crate::rootfs::{By, FileEntry, FileName, FileNumber, Kept, Rootfs, RootfsError};

use super::brought::{BroughtFiles, FileDigest, UntoldFiles, as_brought};
use super::evidence::{
    BEHIND_LINK, COMPOSER, Form, Said, is_java_archive, is_of_language, is_surely_java_archive,
};
use super::go_program;
use super::inventory::{Package, System, known};
use super::packages::{self, Architectures, Installed};
use super::places::{self, Format, PLACES, RELEASE, Role};
use super::versions::is_none;

/// The type of dpkg's packages.
const DPKG: &str = "deb";
/// What a zip file ends with has so many bytes, and with the comment behind it at most so many.
const ZIP_RECORD: usize = 22;
const MAX_ZIP_END: usize = ZIP_RECORD + 0xffff;
/// No program of Go's is smaller, in bytes.
const MIN_PROGRAM: u64 = 200_000;
/// How much of what such a program says of itself is read, in bytes: far more than there is.
const MAX_GO_INFO: usize = 1 << 20;
/// Behind the name of a database of SQLite, the name of what it has not yet taken over.
const LOG: &str = "-wal";

/// Where npm lists what it installed in a directory, and below.
pub(super) const NPM_LIST: &str = "node_modules/.package-lock.json";

/// A file that says of which package its directory is, and has the code beside it.
const IN_PACKAGE: &str = "/package.json";

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
    /// The packages in them by name, version and architecture, for those of whom a scanner does not tell that.
    #[serde(skip)]
    pub(super) architectures: Architectures,
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
    /// The further names of files in which the scanner saw what they say, by another name alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Copied>,
}

/// Further names of a file of a package of a language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Copied {
    /// The names, and since which layer each is there, counted from 0.
    pub names: BTreeMap<String, usize>,
    /// What the scanner saw in the file.
    pub seen: BTreeSet<Package>,
}

/// A database of packages of a system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageDatabase {
    /// The type that its packages have in a package URL.
    pub kind: String,
    /// Its path.
    pub path: String,
    /// What is in it.
    pub content: DatabaseContent,
}

/// What is in a database of packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseContent {
    /// Packages, by name and version.
    Packages(BTreeSet<(String, String)>),
    /// It is damaged, or too large.
    Unreadable,
    /// It is of a form that this program does not read.
    Other,
    /// The same, of a manager that may be there beside that of the system.
    Beside,
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
        let mut traces = Traces::default();
        let mut names = Names::of(rootfs)?;
        // Links are followed, which scanners do not.
        traces.add_places(rootfs, &mut names.texts)?;
        names.add_seen(rootfs, &seen);
        let mut archives = std::mem::take(&mut names.archives);
        traces.java_archives = archives.len() as u64;
        for file in &archives {
            traces.add_copies(&names, *file, |name| at(&seen.packages, name).collect());
        }
        archives.retain(|file| !seen.has(&names.all[file]));
        let read = read(rootfs, &mut image.kept, &names, &archives)?;
        let named_so = archives.len();
        archives.retain(|file| {
            let mut names = names.all[file].iter();
            read.zips.contains_key(file) || names.any(|name| is_surely_java_archive(name))
        });
        traces.java_archives -= (named_so - archives.len()) as u64;
        let (lists, mut untold) = traces.add_texts(read.texts, &names, &seen)?;
        let mut passed_over: BTreeSet<FileNumber> = untold.keys().copied().collect();
        // A link to one that is known by another name is passed over.
        let (unread, unknown) = archives.into_iter().partition(|file| {
            let is_read = names.all[file].iter().any(|name| looks_into(name));
            !is_read || names.linked.contains(file) || read.zips.get(file) != Some(&true)
        });
        passed_over.extend::<BTreeSet<_>>(unread);
        let mut without_modules = BTreeSet::new();
        for (file, go) in read.go_programs {
            let told = |name: &str| at(&seen.with_modules, name).collect();
            traces.add_copies(&names, file, told);
            match (go, seen.has_modules(&names.all[&file])) {
                // A scanner may tell a module of the name of a program that names none.
                (Go::Read(false), _) | (_, false) if go != Go::Read(true) => {
                    without_modules.insert(file);
                }
                (_, false) => drop(passed_over.insert(file)),
                _ => {}
            }
        }
        let files = [&passed_over, &unknown, &without_modules];
        for file in files.into_iter().flatten() {
            untold.entry(*file).or_default();
        }
        let lists = lists.into_iter();
        let lists = lists.filter(|(owner, _)| traces.is_installed(rootfs, owner));
        let owned = as_brought(rootfs, untold, lists.map(|(_, files)| files))?;
        let names_of = |files: BTreeSet<FileNumber>| -> Vec<String> {
            let names = files.difference(&owned).map(|file| &names.all[file]);
            // Its own before those by which scanners do not know it.
            let telling = names.filter_map(|names| {
                let mut telling = names.iter().filter(|name| is_of_language(name));
                telling.next().or(names.first()).cloned()
            });
            telling.collect()
        };
        traces.copies.sort();
        traces.go_programs = names_of(without_modules);
        traces.passed_over = names_of(passed_over);
        traces.unknown_archives = names_of(unknown);
        Ok(traces)
    }

    /// Adds what files say; returns what packages brought, and the files of packages of languages of which the scanner did not
    /// see what they say, with their bytes.
    fn add_texts(
        &mut self,
        texts: Vec<(FileNumber, Text, Option<Vec<u8>>)>,
        names: &Names,
        seen: &Seen,
    ) -> Result<(Vec<(Owner, BroughtFiles)>, UntoldFiles), RootfsError> {
        let mut lists = Vec::new();
        let mut untold = UntoldFiles::new();
        for (file, text, bytes) in texts {
            match text {
                Text::Database(database) => {
                    let files = self.add(database, bytes.as_deref())?;
                    lists.push((Owner::Itself, files));
                }
                Text::Files(owner) => {
                    let files = lines(bytes.as_deref(), |line| Some((line.to_owned(), None)));
                    lists.push((owner, files));
                }
                Text::Digests(owner) => {
                    let files = lines(bytes.as_deref(), |line| {
                        let (digest, path) = line.split_once("  ")?;
                        Some((path.to_owned(), FileDigest::of_hex(digest)))
                    });
                    lists.push((owner, files));
                }
                Text::Release => {
                    let text = bytes.unwrap_or_default();
                    self.system = parse_release(&String::from_utf8_lossy(&text));
                }
                Text::Repositories => {
                    let branches: BTreeSet<String> =
                        lines(bytes.as_deref(), |line| branch(line).map(str::to_owned));
                    self.branches.extend(branches);
                }
                Text::Language(form) => {
                    let said = form.read(bytes.as_deref());
                    self.add_copies(names, file, |name| seen.told(name, &said));
                    if !seen.knows(&names.all[&file], &said) {
                        untold.insert(file, bytes);
                    }
                }
            }
        }
        Ok((lists, untold))
    }

    /// Adds the names of a file that layers added to it, and by which nothing is told of what is told by others.
    fn add_copies<'a>(
        &mut self,
        Names { all, added, .. }: &Names,
        file: FileNumber,
        told: impl Fn(&str) -> Vec<&'a Package>,
    ) {
        let is_untold = |(path, _): &&(String, usize)| told(path).is_empty();
        let added = added.get(&file).into_iter().flatten().filter(is_untold);
        let untold: BTreeMap<String, usize> = added.cloned().collect();
        if untold.is_empty() {
            return;
        }
        let names = all[&file].iter();
        let seen: BTreeSet<Package> = names.flat_map(|name| told(name)).cloned().collect();
        if !seen.is_empty() {
            self.copies.push(Copied {
                names: untold,
                seen,
            });
        }
    }

    /// Whether that is installed whose files a list has.
    fn is_installed(&self, rootfs: &Rootfs, owner: &Owner) -> bool {
        match owner {
            Owner::Itself => true,
            Owner::Package(name) => self.has_installed(DPKG, name),
            Owner::File(path) => rootfs.file(path).is_some(),
        }
    }

    /// Whether a package of this name is in a database of the kind, as far as is known.
    fn has_installed(&self, kind: &str, name: &str) -> bool {
        let mut databases = self.databases.iter().filter(|there| there.kind == kind);
        databases.any(|there| match &there.content {
            DatabaseContent::Packages(packages) => packages.iter().any(|(there, _)| there == name),
            DatabaseContent::Unreadable => true,
            DatabaseContent::Other | DatabaseContent::Beside => false,
        })
    }

    /// Adds what a database has, or a file of one; returns what its packages brought.
    fn add(
        &mut self,
        FileOfDatabase {
            kind,
            format,
            database,
            path,
        }: FileOfDatabase,
        bytes: Option<&[u8]>,
    ) -> Result<BroughtFiles, RootfsError> {
        let installed = match bytes {
            Some(bytes) => packages::read(format, &path, bytes)?,
            None => Some(Installed::default()),
        };
        let Some(Installed {
            packages,
            architectures,
            files,
        }) = installed
        else {
            return Ok(BroughtFiles::new());
        };
        self.architectures.extend(architectures);
        let mut there = self.databases.iter_mut();
        match there.find(|there| there.path == database) {
            Some(PackageDatabase {
                content: DatabaseContent::Packages(all),
                ..
            }) => all.extend(packages.into_iter().flatten()),
            Some(_) => {}
            None => self.databases.push(PackageDatabase {
                kind: kind.to_owned(),
                path: database.to_owned(),
                content: packages.map_or(DatabaseContent::Unreadable, DatabaseContent::Packages),
            }),
        }
        Ok(files)
    }

    /// Adds what is read where package managers keep what they know, and what is there that is not read: databases of other
    /// forms, and a log of one that has something in it.
    fn add_places(
        &mut self,
        rootfs: &Rootfs,
        texts: &mut BTreeMap<FileNumber, Text>,
    ) -> Result<(), RootfsError> {
        let found = |path: &str| rootfs.file(path).filter(|file| rootfs.size(*file) > 0);
        for (pattern, role) in PLACES {
            let paths = rootfs.matching(pattern)?;
            if let Role::Database(kind, format) = role
                && !format.is_read()
            {
                let is_new = self.databases.iter().all(|there| there.kind != *kind);
                if is_new && !paths.is_empty() {
                    self.databases.push(PackageDatabase {
                        kind: (*kind).to_owned(),
                        path: directory_of(pattern).to_owned(),
                        content: match format {
                            Format::Beside => DatabaseContent::Beside,
                            _ => DatabaseContent::Other,
                        },
                    });
                }
                continue;
            }
            for path in paths {
                if let Some(file) = found(&path) {
                    texts.insert(file, Text::of(pattern, *role, path));
                }
            }
            let log = format!("{pattern}{LOG}");
            if matches!(role, Role::Database(_, Format::Rpm)) && found(&log).is_some() {
                self.log.get_or_insert(log);
            }
        }
        Ok(())
    }
}

/// The names of files, and those of packages of languages.
#[derive(Default)]
struct Names {
    all: BTreeMap<FileNumber, Vec<String>>,
    /// The files of which a name is a link.
    linked: BTreeSet<FileNumber>,
    /// The names by which layers may have added a package once more, and which layers.
    added: BTreeMap<FileNumber, Vec<(String, usize)>>,
    texts: BTreeMap<FileNumber, Text>,
    archives: BTreeSet<FileNumber>,
}

impl Names {
    fn of(rootfs: &Rootfs) -> Result<Self, RootfsError> {
        let mut names = Names::default();
        let of_links = |path: &[u8]| form_of(rootfs, &String::from_utf8_lossy(path)).is_some();
        for name in rootfs.names(BEHIND_LINK, of_links)? {
            let path = String::from_utf8_lossy(&name.path).into_owned();
            let form = form_of(rootfs, &path);
            let is_archive = is_java_archive(&path);
            if let Some(form) = form {
                names.texts.entry(name.file).or_insert(Text::Language(form));
            } else if rootfs.size(name.file) == 0 {
                continue;
            } else if is_archive {
                names.archives.insert(name.file);
            }
            if name.is_link {
                names.linked.insert(name.file);
            }
            // A program of Go's may have any name.
            let is_hard_link = name.is_link && matches!(name.by, By::Itself(_));
            if (form.is_some() || is_archive || is_hard_link)
                && let Some(layer) = layer_of_copy(&name, form, &path)
            {
                let added = names.added.entry(name.file).or_default();
                added.push((path.clone(), layer));
            }
            names.all.entry(name.file).or_default().push(path);
        }
        Ok(names)
    }

    /// Adds those where the scanner saw a package, whatever it read there; and takes out what has no name.
    fn add_seen(&mut self, rootfs: &Rootfs, seen: &Seen) {
        for path in seen.packages.keys() {
            if let Some(form) = form_of(rootfs, path)
                && let Some(file) = rootfs.file(path)
            {
                self.texts.entry(file).or_insert(Text::Language(form));
                let names = self.all.entry(file).or_default();
                if names.iter().all(|name| name != path) {
                    names.push((*path).to_owned());
                }
            }
        }
        // What the first of them says that is there.
        if let Some(file) = RELEASE.iter().find_map(|path| rootfs.file(path)) {
            self.texts.insert(file, Text::Release);
        }
        let all = &self.all;
        self.texts
            .retain(|file, text| matches!(text, Text::Language(_)) || all.contains_key(file));
    }
}

/// That of a file by whose path scanners know a package. Beside its list, Composer's program is none.
fn form_of(rootfs: &Rootfs, path: &str) -> Option<Form> {
    let [list, program] = COMPOSER;
    let directory = path.strip_suffix(program);
    let is_beside =
        directory.is_some_and(|directory| rootfs.file(&format!("{directory}{list}")).is_some());
    Form::of(path).filter(|_| !is_beside)
}

/// The layer that added a name by which a package may be there once more, with code of its own. A link to what has the code in it
/// adds none.
fn layer_of_copy(name: &FileName, form: Option<Form>, path: &str) -> Option<usize> {
    let has_code = matches!(form, None | Some(Form::Zip | Form::Egg));
    let layer = match name.by {
        By::Itself(layer) => Some(layer),
        By::Link(layer) => (!has_code).then_some(layer),
        By::Directory(layer) => (!has_code && !path.ends_with(IN_PACKAGE)).then_some(layer),
        By::Further => None,
    };
    // What the lowest has is nobody's but the base's.
    layer.filter(|layer| *layer > 0)
}

/// The lines of a text, or what is wanted of each.
fn lines<T, C: FromIterator<T>>(bytes: Option<&[u8]>, wanted: impl Fn(&str) -> Option<T>) -> C {
    let text = String::from_utf8_lossy(bytes.unwrap_or_default());
    text.lines().filter_map(wanted).collect()
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
        let mut names = names.iter();
        *said == Said::Nothing || names.any(|name| !self.told(name, said).is_empty())
    }

    /// What was seen by a name of a file that is what the file says.
    fn told<'s>(&'s self, path: &str, said: &Said) -> Vec<&'s Package> {
        match said {
            Said::Nothing | Said::Unreadable => Vec::new(),
            Said::Some => {
                // Without one, nothing is compared.
                let is_version = |version: &String| !is_none(version);
                let seen = at(&self.packages, path);
                seen.filter(|seen| {
                    is_name(&seen.name) && seen.version.as_ref().is_some_and(is_version)
                })
                .collect()
            }
            Said::Package { name, version } => {
                let seen = at(&self.packages, path).chain(self.listed(path));
                seen.filter(|seen| {
                    normal_name(&seen.name) == normal_name(name)
                        && seen.version.as_deref().map(normal_version)
                            == Some(normal_version(version))
                })
                .collect()
            }
        }
    }
}

/// Whether a package may have such a name: a scanner takes the words of a program for one, such as `%q{a}`.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./:@_".contains(&byte);
    name.bytes().all(is_plain)
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
    let name = name.to_ascii_lowercase();
    let parts = name.split(['-', '_', '.']).enumerate();
    // Of several in a row, one is left.
    let parts = parts.filter(|(at, part)| *at == 0 || !part.is_empty());
    parts.map(|(_, part)| part).collect::<Vec<_>>().join("-")
}

fn normal_version(version: &str) -> String {
    let version = version.trim().to_ascii_lowercase();
    version.trim_start_matches(['=', 'v', ' ']).to_owned()
}

/// What a file is read for.
#[derive(Clone, Debug)]
enum Text {
    /// The packages of a system.
    Database(FileOfDatabase),
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

/// A database of packages, or a file of one.
#[derive(Clone, Debug)]
struct FileOfDatabase {
    /// The type that its packages have in a package URL.
    kind: &'static str,
    format: Format,
    /// The path of the whole.
    database: &'static str,
    path: String,
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
    /// What a file at a place is read for.
    fn of(pattern: &'static str, role: Role, path: String) -> Self {
        let stem = |ending: &str| path.strip_suffix(ending).unwrap_or_default();
        let of_dpkg = |ending: &str| {
            let name = stem(ending).rsplit('/').next().unwrap_or_default();
            // Behind a colon is its architecture.
            let name = name.split(':').next().unwrap_or_default();
            Owner::Package(name.to_owned())
        };
        match role {
            Role::Database(kind, format) => Text::Database(FileOfDatabase {
                kind,
                format,
                database: directory_of(pattern),
                path,
            }),
            Role::DpkgList => Text::Files(of_dpkg(".list")),
            Role::DpkgDigests => Text::Digests(of_dpkg(".md5sums")),
            Role::StatusDigests => Text::Digests(Owner::File(stem(".md5sums").to_owned())),
            Role::PacmanFiles => Text::Files(Owner::File(format!("{}desc", stem("files")))),
            Role::Repositories => Text::Repositories,
        }
    }
}

/// The directory that has all of a pattern's files, or else its only file.
fn directory_of(pattern: &'static str) -> &'static str {
    let start = pattern.split_once('*').map_or(pattern, |(start, _)| start);
    let end = start.rfind('/').filter(|_| start.len() < pattern.len());
    end.map_or(pattern, |slash| &pattern[..=slash])
}

/// What was read of the files' contents.
struct FileContents {
    /// The bytes of those that are not too large.
    texts: Vec<(FileNumber, Text, Option<Vec<u8>>)>,
    go_programs: BTreeMap<FileNumber, Go>,
    /// The zip files among those that may be Java archives, and whether each is whole.
    zips: BTreeMap<FileNumber, bool>,
}

/// How a file is read.
#[derive(Debug)]
enum Sink {
    Text(Vec<u8>),
    Program(Program),
    Archive(Archive),
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
            Sink::Archive(archive) => archive.take(bytes, offset),
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
            if !places::is_read(&path) && Form::of(&path).is_none() {
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
    Names { all, texts, .. }: &Names,
    archives: &BTreeSet<FileNumber>,
) -> Result<FileContents, RootfsError> {
    let mut contents = FileContents {
        texts: Vec::new(),
        go_programs: BTreeMap::new(),
        zips: BTreeMap::new(),
    };
    let mut read = Vec::new();
    let mut unread = Vec::new();
    for file in all.keys() {
        let (file, size) = (*file, rootfs.size(*file));
        let sink = match texts.get(&file) {
            Some(text) if size > MAX_TEXT => {
                contents.texts.push((file, text.clone(), None));
                continue;
            }
            Some(_) => Some(Sink::Text(Vec::new())),
            None if archives.contains(&file) => Some(Sink::Archive(Archive::default())),
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
            (Sink::Program(program), _) if program.go != Go::Unmarked => {
                contents.go_programs.insert(file, program.go);
            }
            (Sink::Archive(archive), _) => {
                let zip = archive.as_zip().map(|is_whole| (file, is_whole));
                contents.zips.extend(zip);
            }
            _ => {}
        }
    }
    Ok(contents)
}

/// What may be a zip file, while it is read.
#[derive(Debug, Default)]
struct Archive {
    /// Whether it begins as one does that has files (APPNOTE.TXT, 4.3.7).
    begins: bool,
    end: Vec<u8>,
}

impl Archive {
    fn take(&mut self, bytes: &[u8], offset: u64) {
        if offset == 0 {
            self.begins = bytes.starts_with(b"PK\x03\x04");
        }
        self.end
            .extend_from_slice(&bytes[bytes.len().saturating_sub(MAX_ZIP_END)..]);
        let surplus = self.end.len().saturating_sub(MAX_ZIP_END);
        self.end.drain(..surplus);
    }

    /// Whether it is whole, if it is a zip file: it ends with a record of its directory and a comment (4.3.16), and something
    /// else may stand before it.
    fn as_zip(&self) -> Option<bool> {
        let ends = memmem::find_iter(&self.end, b"PK\x05\x06").any(|start| {
            let record = &self.end[start..];
            let comment = record.get(ZIP_RECORD - 2..ZIP_RECORD);
            comment.is_some_and(|size| {
                record.len() == ZIP_RECORD + usize::from(u16::from_le_bytes([size[0], size[1]]))
            })
        });
        (ends || self.begins).then_some(ends)
    }
}

/// A program while it is read.
#[derive(Debug, Default)]
struct Program {
    is_elf: bool,
    /// The last bytes of what was read, which may begin the mark of Go's; and from that mark on, all that follows, until it is
    /// known what it says.
    end: Vec<u8>,
    go: Go,
}

/// What is known of a program: whether Go made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Go {
    #[default]
    Unmarked,
    Marked,
    /// Whether it names modules.
    Read(bool),
}

impl Program {
    fn take(&mut self, bytes: &[u8], offset: u64) {
        if offset == 0 {
            self.is_elf = bytes.starts_with(b"\x7fELF");
        }
        if !self.is_elf {
            return;
        }
        match self.go {
            Go::Unmarked => self.look(bytes),
            Go::Marked => {
                let room = MAX_GO_INFO.saturating_sub(self.end.len());
                self.end.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Go::Read(_) => return,
        }
        if self.go == Go::Marked
            && let Some(has_modules) = go_program::has_modules(&self.end)
        {
            self.go = Go::Read(has_modules);
            self.end = Vec::new();
        }
    }

    /// Looks for the mark.
    fn look(&mut self, bytes: &[u8]) {
        let overlap = go_program::MARKED - 1;
        let before = self.end.len();
        self.end
            .extend_from_slice(&bytes[..bytes.len().min(overlap)]);
        let between = go_program::mark(&self.end);
        if let Some(start) = between.or_else(|| Some(before + go_program::mark(bytes)?)) {
            let marked = self.end[..before].iter().chain(bytes).skip(start);
            self.end = marked.take(MAX_GO_INFO).copied().collect();
            self.go = Go::Marked;
        } else if bytes.len() >= overlap {
            self.end = bytes[bytes.len() - overlap..].to_vec();
        } else {
            let surplus = self.end.len().saturating_sub(overlap);
            self.end.drain(..surplus);
        }
    }
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
