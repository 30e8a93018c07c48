//! By which files an image's packages are known, and what such a file says of its package.

use std::collections::BTreeMap;
use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::oci::strict::{self, BYTE_ORDER_MARK};

/// The endings of the names of files that are taken for Java archives, in any case.
pub const JAVA_ARCHIVES: [&str; 13] = [
    ".ear", ".far", ".hpi", ".jar", ".jpi", ".kar", ".lpkg", ".nar", ".par", ".rar", ".sar",
    ".war", ".zap",
];

/// Those of them that other files have, too, such as those of PAR2, RAR, MIDI and sysstat: there it must be a zip file.
const OF_OTHERS: [&str; 6] = [".far", ".kar", ".par", ".rar", ".sar", ".zap"];

/// The endings of programs of Python that bring their packages in a zip file, in any case.
const ZIPAPPS: [&str; 3] = [".pex", ".pyz", ".pyzw"];

/// What every egg has in it, which a zip file says in plain words (setuptools, "The Internal Structure of Python Eggs").
const IN_EGG: &[u8] = b"EGG-INFO/";

/// Beside Composer's list, the same as a program, in which what the list has is not looked for.
pub(super) const COMPOSER: [&str; 2] = ["composer/installed.json", "composer/installed.php"];

/// How many names there may be behind a link to a directory, for that to decide of what type a file is.
pub(super) const BEHIND_LINK: usize = 5;

/// How a file says of which package of a language it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines of a name and a value (Python's "Core metadata specifications").
    Headers,
    /// An object of JSON (npm's package.json, what Conda has installed).
    Json,
    /// A program (Ruby's gemspec, Homebrew's formula, what Composer has installed).
    Program,
    /// A zip file (Python's pex and zipapp, what Yarn runs packages from).
    Zip,
    /// A zip file, or anything else of its name (Python's egg).
    Egg,
    /// A list of JSON, of several (what Composer, for PHP, has installed).
    List,
}

impl Form {
    /// That of a file by whose path scanners know a package.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/');
        let (name, parent) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let above = [parts.next(), parts.next()].map(Option::unwrap_or_default);
        match name {
            "installed.json" => (parent == "composer").then_some(Form::List),
            "installed.php" => (parent == "composer").then_some(Form::Program),
            "METADATA" => ends_with(parent, ".dist-info").then_some(Form::Headers),
            "PKG-INFO" => ends_with(parent, "egg-info").then_some(Form::Headers),
            "package.json" => {
                let is_installed = above[0] == "node_modules"
                    || above[0].starts_with('@') && above[1] == "node_modules";
                is_installed.then_some(Form::Json)
            }
            _ if ends_with(name, ".json") && parent == "conda-meta" => Some(Form::Json),
            _ if ends_with(name, ".egg-info") => Some(Form::Headers),
            _ if ends_with(name, ".egg") => Some(Form::Egg),
            _ if ends_with_any(name, &ZIPAPPS) => Some(Form::Zip),
            _ if ends_with(name, ".zip") && parent == "cache" => {
                let is_of_yarn = above[0] == ".yarn" || above == ["berry", ".yarn"];
                is_of_yarn.then_some(Form::Zip)
            }
            _ if name.ends_with(".gemspec") => {
                let is_installed = parent == "specifications"
                    // Those that Ruby itself brings.
                    || parent == "default" && above[0] == "specifications"
                    || is_of_bundler(path);
                is_installed.then_some(Form::Program)
            }
            _ if ends_with(name, ".rb") && parent == ".brew" => Some(Form::Program),
            _ => None,
        }
    }

    /// Of which package a file of the form is, of which there are no bytes if it is too large.
    pub(super) fn read(self, bytes: Option<&[u8]>) -> Said {
        #[derive(Deserialize)]
        struct List {
            packages: Vec<IgnoredAny>,
        }
        let Some(bytes) = bytes else {
            let is_one = matches!(self, Form::Headers | Form::Json);
            return if is_one { Said::Unreadable } else { Said::Some };
        };
        let some = |is_some| if is_some { Said::Some } else { Said::Nothing };
        match self {
            Form::Headers => of_headers(bytes),
            Form::Json => of_json(bytes),
            Form::Program | Form::Zip => some(!bytes.is_empty()),
            Form::Egg => some(memmem::find(bytes, IN_EGG).is_some()),
            Form::List => {
                // Before Composer 2 it was a list alone.
                let packages = json::<Vec<IgnoredAny>>(bytes)
                    .or_else(|_| json::<List>(bytes).map(|list| list.packages));
                some(packages.map_or(true, |packages| !packages.is_empty()))
            }
        }
    }
}

/// What a file says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// This package.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// No package, or one without a version.
    Nothing,
    /// A package or several, which it does not say in a way that is read here.
    Some,
    /// A package, and nobody can tell which.
    Unreadable,
}

impl Said {
    fn package(name: Option<String>, version: Option<String>) -> Option<Self> {
        let is_there = |value: &String| !value.is_empty();
        let (name, version) = (name.filter(is_there)?, version.filter(is_there)?);
        Some(Said::Package { name, version })
    }
}

/// What headers say, by Python's rules (`email.feedparser`), as pip and Python itself read them: the first line that is no
/// header ends them, and of several of one name the first counts. A package is there without them, too.
fn of_headers(bytes: &[u8]) -> Said {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = text.split(['\n', '\r']).peekable();
    let is_more = |line: &&str| line.starts_with([' ', '\t']);
    while lines.next_if(is_more).is_some() {}
    while let Some((name, value)) = lines.next().and_then(|line| line.split_once(':')) {
        if name.bytes().any(|byte| !byte.is_ascii_graphic()) {
            break;
        }
        let mut value = value.to_owned();
        while let Some(line) = lines.next_if(is_more) {
            value.push('\n');
            value.push_str(line);
        }
        let value = value.trim().to_owned();
        headers.entry(name.to_ascii_lowercase()).or_insert(value);
    }
    let package = Said::package(headers.remove("name"), headers.remove("version"));
    package.unwrap_or(Said::Unreadable)
}

/// What an object says, by Node.js's rules: a key is what it is, and the last of equal ones counts.
#[expect(
    clippy::disallowed_methods,
    reason = "it is no document of an image, and scanners that read it otherwise are to be told"
)]
fn of_json(bytes: &[u8]) -> Said {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let Ok(Manifest { name, version }) = serde_json::from_slice(bytes) else {
        return Said::Unreadable;
    };
    Said::package(name, version).unwrap_or(Said::Nothing)
}

/// What npm's package.json says.
#[derive(Default)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ManifestVisitor)
    }
}

struct ManifestVisitor;

impl<'de> Visitor<'de> for ManifestVisitor {
    type Value = Manifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
        let mut manifest = Manifest::default();
        while let Some(key) = map.next_key::<String>()? {
            let field = match &*key {
                "name" => &mut manifest.name,
                "version" => &mut manifest.version,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = match map.next_value()? {
                Value::String(value) => Some(value),
                _ => None,
            };
        }
        Ok(manifest)
    }
}

/// Reads JSON, which editors may have put a mark before.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    strict::read(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
}

/// Whether Bundler takes a gemspec for that of a gem which it has from git: it looks two directories deep.
fn is_of_bundler(path: &str) -> bool {
    let directory = "bundler/gems/";
    path.match_indices(directory).any(|(place, _)| {
        let is_whole = place == 0 || path[..place].ends_with('/');
        let names = path[place + directory.len()..].split('/').count();
        is_whole && (2..=4).contains(&names)
    })
}

/// Whether a name ends so, in any case.
fn ends_with(name: &str, ending: &str) -> bool {
    let start = name.len().checked_sub(ending.len());
    start.is_some_and(|start| name.as_bytes()[start..].eq_ignore_ascii_case(ending.as_bytes()))
}

/// Whether a path is that by which scanners know a package of a language.
pub(super) fn is_of_language(path: &str) -> bool {
    Form::of(path).is_some() || is_java_archive(path)
}

/// Whether a file is taken for a Java archive.
pub(super) fn is_java_archive(path: &str) -> bool {
    ends_with_any(path, &JAVA_ARCHIVES)
}

/// Whether a file is taken for a Java archive by its name alone.
pub(super) fn is_surely_java_archive(path: &str) -> bool {
    is_java_archive(path) && !ends_with_any(path, &OF_OTHERS)
}

/// Whether a name ends with one of these, in any case.
pub(super) fn ends_with_any(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| ends_with(name, ending))
}
