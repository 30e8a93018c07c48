//! Artifacts: manifests whose blobs are not the layers of a file system (OCI image spec, manifest.md,
//! "Guidelines for Artifact Usage"), and the files that they hold.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::oci::descriptor::{Descriptor, MediaType};
use crate::oci::manifest::ImageManifest;

/// The annotation of the time at which something was made (annotations.md).
pub(crate) const CREATED: &str = "org.opencontainers.image.created";
/// The annotation that names a blob as a file (annotations.md).
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation by which oras says that a blob is an archive of a directory.
const UNPACK: &str = "io.deis.oras.content.unpack";
/// How names of archives end that can be unpacked, in file names and in media types.
const ARCHIVE_ENDINGS: [&str; 7] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tar.zstd",
    ".tar+gzip",
    ".tar+zstd",
];
/// The longest path of a file, in bytes.
const MAX_PATH: usize = 1024;
/// The longest name in it, which file systems set.
const MAX_NAME: usize = 255;

/// What an artifact holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What it is: its `artifactType`, or else its config's media type.
    pub artifact_type: MediaType,
    /// Its blobs, in the manifest's order, each once.
    pub files: Vec<ArtifactFile>,
}

/// A blob of an artifact as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFile {
    /// Its path: its title if that is a path, or else its media type.
    pub path: String,
    /// Whether it is an archive, by its name, by its media type or by what oras says of it.
    pub is_archive: bool,
    /// The directory that it also is if it is an archive: its path without the ending.
    pub directory: Option<String>,
    /// Why it is none, although it is an archive, or why it is not called by its title.
    pub problem: Option<String>,
    /// The blob.
    pub blob: Descriptor,
}

/// Why an artifact's blobs cannot be files.
#[derive(Debug, thiserror::Error)]
pub enum BadArtifact {
    /// A media type, by which a blob would be called, is no path within a directory.
    #[error("its blob would be called by its media type {name:?}, which {problem}")]
    Name {
        /// What it would be called.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two blobs want to be one file, or one is where another needs a directory.
    #[error("its blobs {one} and {other} cannot both be files: both need {path:?}")]
    Twice {
        /// The path.
        path: String,
        /// A blob's path.
        one: String,
        /// Another blob's path.
        other: String,
    },
}

impl Artifact {
    /// Reads what the artifact of `manifest` holds.
    pub fn of(manifest: &ImageManifest) -> Result<Self, BadArtifact> {
        let mut files: Vec<ArtifactFile> = Vec::new();
        let mut names = Names::default();
        for layer in &manifest.layers {
            names.reserve(layer);
        }
        let mut known = HashSet::new();
        for layer in &manifest.layers {
            let Some(path) = names.of(layer)? else {
                continue;
            };
            if known.insert((path.clone(), &layer.digest)) {
                files.push(ArtifactFile {
                    is_archive: is_called_archive(&path) || is_directory(layer),
                    path,
                    directory: None,
                    problem: title_problem(layer),
                    blob: layer.bare(),
                });
            }
        }
        check_paths(&files)?;
        name_directories(&mut files);
        let config = &manifest.config.media_type;
        Ok(Artifact {
            artifact_type: manifest.artifact_type.as_ref().unwrap_or(config).clone(),
            files,
        })
    }
}

/// The paths of blobs: their titles, or else their media types, with a number where there are several of one.
#[derive(Default)]
struct Names<'a> {
    /// Titles and media types, which numbers keep clear of.
    reserved: HashSet<String>,
    titles: HashSet<String>,
    /// How many blobs of a media type have a path.
    counts: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn reserve(&mut self, blob: &Descriptor) {
        if let Some(Ok(path)) = title(blob) {
            self.titles.insert(path.clone());
            self.reserved.insert(path);
        } else {
            self.reserved.insert(blob.media_type.as_str().to_owned());
        }
    }

    fn of(&mut self, blob: &'a Descriptor) -> Result<Option<String>, BadArtifact> {
        if let Some(Ok(path)) = title(blob) {
            return Ok(Some(path));
        }
        if blob.media_type == MediaType::OCI_EMPTY {
            return Ok(None);
        }
        let media_type = blob.media_type.as_str();
        let count = self.counts.entry(media_type).or_default();
        loop {
            *count += 1;
            let (name, is_taken) = if *count == 1 {
                (media_type.to_owned(), self.titles.contains(media_type))
            } else {
                let name = format!("{media_type}-{count}");
                let is_taken = self.reserved.contains(&name);
                (name, is_taken)
            };
            if !is_taken {
                return checked_path(&name).map(Some);
            }
        }
    }
}

fn checked_path(name: &str) -> Result<String, BadArtifact> {
    file_path(name).map_err(|problem| BadArtifact::Name {
        name: name.to_owned(),
        problem,
    })
}

/// The path that the title of a blob is, or what is wrong with it; none if it has no title.
fn title(blob: &Descriptor) -> Option<Result<String, &'static str>> {
    blob.annotations.get(TITLE).map(|title| file_path(title))
}

fn title_problem(blob: &Descriptor) -> Option<String> {
    let title = blob.annotations.get(TITLE)?;
    let problem = file_path(title).err()?;
    Some(format!(
        "is called by its media type, because its title {title:?} {problem}"
    ))
}

/// Whether a name is one of archives, those included that are not unpacked.
fn is_called_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut endings = ARCHIVE_ENDINGS.iter().chain(&[".tar.xz", ".txz"]);
    endings.any(|ending| name.ends_with(ending))
}

/// Whether a blob is a directory as oras pushes it, and others do. What ends with `.tar` alone is what oras calls any file.
fn is_directory(blob: &Descriptor) -> bool {
    let is_marked = blob.annotations.get(UNPACK).is_some_and(|is| is == "true");
    is_marked || blob.media_type.as_str().contains(".tar+")
}

/// A blob that is a file called `title`.
pub(crate) fn titled(mut blob: Descriptor, title: &str) -> Descriptor {
    blob.annotations.insert(TITLE.to_owned(), title.to_owned());
    blob
}

/// What stands for the config of an artifact that has none.
pub const EMPTY_CONFIG: &[u8] = b"{}";

/// The manifest of an artifact of files, which was made at a time (manifest.md, "Guidelines for Artifact Usage").
pub(crate) fn artifact_manifest(
    artifact_type: MediaType,
    layers: Vec<Descriptor>,
    created: DateTime<Utc>,
) -> ImageManifest {
    let created = created.to_rfc3339_opts(SecondsFormat::Secs, true);
    ImageManifest {
        schema_version: 2,
        media_type: MediaType::OCI_MANIFEST,
        artifact_type: Some(artifact_type),
        config: Descriptor::of(MediaType::OCI_EMPTY, EMPTY_CONFIG),
        layers,
        subject: None,
        annotations: BTreeMap::from([(CREATED.to_owned(), created)]),
    }
}

/// A path that a file in a Bazel package may have, in its one form.
///
/// `:` and `\` are no part of a target's name, `...` is a wildcard, and a file called `BUILD` would begin another package.
/// What is wrong with it is said as of the text: "is too long".
pub(crate) fn file_path(text: &str) -> Result<String, &'static str> {
    let names: Vec<&str> = text.split('/').filter(|name| *name != ".").collect();
    if text.len() > MAX_PATH || names.iter().any(|name| name.len() > MAX_NAME) {
        return Err("is too long for a file");
    }
    if names.is_empty() || names.iter().any(|name| matches!(*name, "" | "..")) {
        return Err("is no path of a file within a directory");
    }
    if text.contains(|c: char| c.is_control() || matches!(c, ':' | '\\')) {
        return Err("has a character that no file of Bazel's may have in its name");
    }
    if names.contains(&"...") {
        return Err("is what Bazel takes for all targets of a package");
    }
    if names
        .iter()
        .any(|name| matches!(*name, "BUILD" | "BUILD.bazel"))
    {
        return Err("is what Bazel takes for the file of a package");
    }
    Ok(names.join("/"))
}

/// The directories that a path leads through.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

fn check_paths(files: &[ArtifactFile]) -> Result<(), BadArtifact> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files {
        if let Some(other) = owners.insert(&file.path, &file.path) {
            return Err(BadArtifact::Twice {
                path: file.path.clone(),
                one: other.to_owned(),
                other: file.path.clone(),
            });
        }
    }
    for file in files {
        for parent in parents(&file.path) {
            if let Some(other) = owners.get(parent) {
                return Err(BadArtifact::Twice {
                    path: parent.to_owned(),
                    one: (*other).to_owned(),
                    other: file.path.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Gives archives their directories, where nothing else is in the way.
fn name_directories(files: &mut [ArtifactFile]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for file in files.iter() {
        taken.extend(parents(&file.path).map(str::to_owned));
        taken.insert(file.path.clone());
    }
    for file in files {
        let mut endings = ARCHIVE_ENDINGS.iter();
        let Some(stem) = endings.find_map(|ending| file.path.strip_suffix(ending)) else {
            if file.is_archive {
                let problem =
                    "is an archive that is not unpacked: its name does not end as .tar.gz does";
                file.problem.get_or_insert(problem.to_owned());
            }
            continue;
        };
        if file_path(stem).is_ok_and(|path| path == stem) && !taken.contains(stem) {
            taken.insert(stem.to_owned());
            taken.extend(parents(stem).map(str::to_owned));
            file.directory = Some(stem.to_owned());
        } else {
            let problem = if taken.contains(stem) {
                format!("is not unpacked: {stem:?}, which would be its directory, is another one's")
            } else {
                format!("is not unpacked: {stem:?} cannot be a directory")
            };
            file.problem.get_or_insert(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::{Algorithm, Digest};
    use crate::oci::manifest::Manifest;

    fn artifact(layers: &[(&str, Option<&str>, &str)]) -> Result<Artifact, BadArtifact> {
        let layers: Vec<_> = layers
            .iter()
            .map(|(media_type, title, content)| {
                let digest = Digest::of(Algorithm::Sha256, content.as_bytes()).to_string();
                let mut layer = serde_json::json!({
                    "mediaType": media_type, "digest": digest, "size": content.len(),
                });
                if let Some(title) = title {
                    layer["annotations"] = serde_json::json!({TITLE: title});
                }
                layer
            })
            .collect();
        let empty = Digest::of(Algorithm::Sha256, b"{}").to_string();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "artifactType": "a/b",
            "config": {"mediaType": MediaType::OCI_EMPTY, "digest": empty, "size": 2},
            "layers": layers,
        });
        let manifest = Manifest::parse(manifest.to_string().as_bytes(), None).unwrap();
        Artifact::of(manifest.as_image().unwrap())
    }

    fn paths(layers: &[(&str, Option<&str>, &str)]) -> Vec<(String, Option<String>)> {
        let files = artifact(layers).unwrap().files.into_iter();
        files.map(|file| (file.path, file.directory)).collect()
    }

    #[test]
    fn blobs_are_called_by_title_or_by_media_type() {
        let found = paths(&[
            ("a/x", Some("db.tar.gz"), "1"),
            ("a/x", Some("./docs/a b.txt"), "2"),
            ("a/x", Some("db.tar.gz"), "1"),
            ("application/vnd.x.layer.v1.tar+gzip", None, "3"),
            ("a/y", None, "4"),
            ("a/y", None, "5"),
            (MediaType::OCI_EMPTY.as_str(), None, "{}"),
            ("a/x", Some("app"), "6"),
            ("a/x", Some("app.tgz"), "7"),
            ("a/x", Some("..tar"), "8"),
            ("a/x", Some("a/...tar"), "9"),
            ("a/x", Some("....tar"), "10"),
            ("a/x", Some("BUILD.tar"), "11"),
        ]);
        let expected = [
            ("db.tar.gz", Some("db")),
            ("docs/a b.txt", None),
            (
                "application/vnd.x.layer.v1.tar+gzip",
                Some("application/vnd.x.layer.v1"),
            ),
            ("a/y", None),
            ("a/y-2", None),
            ("app", None),
            // Its directory would be the other's file.
            ("app.tgz", None),
            // Theirs would be none in a package.
            ("..tar", None),
            ("a/...tar", None),
            ("....tar", None),
            ("BUILD.tar", None),
        ];
        let expected =
            expected.map(|(path, directory)| (path.to_owned(), directory.map(str::to_owned)));
        assert_eq!(found, expected);
    }

    #[test]
    fn names_that_are_made_up_are_nobody_elses() {
        let names = |layers: &[(&str, Option<&str>, &str)]| -> Vec<String> {
            paths(layers).into_iter().map(|(path, _)| path).collect()
        };
        let (y, y2) = (("a/y", None, "1"), ("a/y-2", None, "2"));
        assert_eq!(names(&[y, y, y2]), ["a/y", "a/y-3", "a/y-2"]);
        assert_eq!(names(&[y2, y, y, y2]), ["a/y-2", "a/y", "a/y-3", "a/y-2-2"]);
        let titled = ("a/x", Some("a/y"), "3");
        assert_eq!(names(&[y, titled, y]), ["a/y-2", "a/y", "a/y-3"]);
    }

    #[test]
    fn an_archive_without_a_directory_says_why() {
        let layers = [
            "a.tgz", "a.tar", "b", "b.tar", "..tar", "c.TAR.GZ", "d.tar.xz",
        ];
        let mut layers: Vec<_> = layers.map(|title| ("a/x.tar", Some(title), title)).to_vec();
        layers.push(("a/x.tar+gzip", Some("dir"), "dir"));
        let files = artifact(&layers).unwrap().files.into_iter();
        let told: Vec<_> = files
            .map(|file| (file.directory.is_some(), file.problem.is_some()))
            .collect();
        let (unpacked, plain, is_told) = ((true, false), (false, false), (false, true));
        assert_eq!(told[..3], [unpacked, is_told, plain]);
        assert_eq!(told[3..], [is_told; 5]);
    }

    #[test]
    fn a_title_that_is_no_path_is_no_name() {
        for title in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "a\nb",
            "a:b",
            "a\\b",
            "a/...",
            "BUILD",
            "x/BUILD.bazel",
        ] {
            let layers = [("a/x", Some(title), "1"), ("a/x", Some("b"), "2")];
            let files = artifact(&layers).unwrap().files;
            assert_eq!((&*files[0].path, &*files[1].path), ("a/x", "b"));
            let problem = files[0].problem.as_ref().unwrap();
            assert!(problem.contains(&format!("{title:?}")), "{problem}");
            assert_eq!(files[1].problem, None);
        }
        let error = artifact(&[("a/BUILD", None, "1")]).unwrap_err();
        assert!(matches!(error, BadArtifact::Name { .. }), "{error}");
        for (one, other) in [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b")] {
            let error =
                artifact(&[("a/x", Some(one), "1"), ("a/x", Some(other), "2")]).unwrap_err();
            assert!(matches!(error, BadArtifact::Twice { .. }), "{one} {other}");
        }
    }
}
