//! What the files of an image say of its packages, whatever a scanner sees of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::files::{io_failed, read_at_most};
use crate::rootfs::{FileFault, Purpose, Rootfs, RootfsError};

use super::findings::System;

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
/// Behind the name of a database of SQLite, the name of what it has not yet taken over.
const LOG: &str = "-wal";

/// Where an image says of which system it is (os-release(5)).
const RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The largest of these files that is read, in bytes.
const MAX_RELEASE: u64 = 1 << 20;

/// What is to be expected of a scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// The system that the image says it is.
    pub system: Option<System>,
    /// The path of a database of packages that is not empty, by the type that its packages have in a package URL.
    pub databases: BTreeMap<String, String>,
    /// The path of a log of such a database that has something in it.
    pub log: Option<String>,
    /// How many Java archives there are.
    pub java_archives: u64,
}

impl Traces {
    /// Those of an image's root file system.
    pub fn of(rootfs: &Rootfs) -> Result<Self, RootfsError> {
        let mut traces = Traces {
            system: system(rootfs)?,
            ..Traces::default()
        };
        // Links are followed, which scanners do not.
        let has_content = |path: &str| rootfs.size(path).is_some_and(|size| size > 0);
        for (kind, path) in DATABASES {
            if has_content(path) {
                traces.add(kind, path);
            }
            let log = format!("{path}{LOG}");
            if has_content(&log) {
                traces.log.get_or_insert(log);
            }
        }
        for (path, size) in rootfs.files() {
            if size == 0 {
                continue;
            }
            let path = String::from_utf8_lossy(&path);
            for (kind, directory) in DIRECTORIES {
                if path.starts_with(directory) && !path.ends_with(DPKG_DIGESTS) {
                    traces.add(kind, &path);
                }
            }
            let name = path.to_ascii_lowercase();
            let is_archive = JAVA_ARCHIVES.iter().any(|ending| name.ends_with(ending));
            traces.java_archives += u64::from(is_archive);
        }
        Ok(traces)
    }

    fn add(&mut self, kind: &str, path: &str) {
        let database = self.databases.entry(kind.to_owned());
        database.or_insert_with(|| path.to_owned());
    }
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
