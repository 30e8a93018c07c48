//! Checks a layout against the OCI image spec, and finds all its faults, not the first.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::files::{open_regular, read_at_most};
use crate::oci::config::{ImageConfig, MAX_CONFIG_SIZE};
use crate::oci::descriptor::{Descriptor, Kind};
use crate::oci::digest::{Digest, hash_reader};
use crate::oci::listed::{Listed, told};
use crate::oci::manifest::{ImageIndex, ImageManifest, MAX_MANIFEST_SIZE, Manifest};
use crate::oci::platform::Platform;
use crate::oci::walk::Walk;
use crate::rootfs::check_entries;
use crate::tar::{Archive, Entry, MAX_MEMORY, TarError, holds_layer, read_layer};
use crate::text::chain;

use super::sparse::{Lacked, Presence, add_roots, is_there, may_be_image};
use super::{DOCKER_FILE, INDEX_FILE, MARKER_FILE, REF_NAME, read_marker};

/// One thing that is wrong with a layout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where: a file of the layout, or a digest.
    pub subject: String,
    /// What.
    pub problem: String,
    /// What kind of fault it is.
    pub kind: FaultKind,
}

/// What is to be said of a fault beside what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A manifest was left out of an index's: [`VerifyOptions::sparse`] accepts it.
    LeftOut,
    /// A blob is a link to nothing, as is left of a pulled base that was taken away.
    Dangling,
    /// What a strict reader would not take, and this program does.
    Odd,
    /// Anything else.
    Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

/// What is to be said of a layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// What is wrong with it; nothing if it is valid.
    pub faults: Vec<Fault>,
    /// What is odd: some tools may not take it.
    pub warnings: Vec<Fault>,
}

/// How strictly to judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// An index may list manifests of which the layout holds nothing, or no layer, as long as it holds one of those below:
    /// the layout of a pull or an export for some platforms only.
    pub sparse: bool,
}

/// Checks the layout in the directory `root`: its version, and of every reachable blob the presence,
/// the size, the digest and the media type; of every image that its `diff_ids` are its layers'.
///
/// Returns all faults, none of which means that the layout is valid, and what is odd.
pub fn verify(root: &Path, options: VerifyOptions) -> Verification {
    let mut verifier = Verifier {
        root,
        options,
        verification: Verification::default(),
        known: HashSet::new(),
        walk: Walk::default(),
        presence: Presence::default(),
        judged: HashSet::new(),
        read: HashMap::new(),
        entries: HashMap::new(),
        memory: 0,
        listed: Listed::default(),
    };
    if !root.is_dir() {
        verifier.fault(root.display(), "it is not a directory");
        return verifier.verification;
    }
    verifier.check_marker();
    verifier.check_entry_point();
    while let Some((descriptor, parent)) = verifier.walk.next() {
        verifier.check_manifest(parent.as_ref(), &descriptor);
    }
    let listed = std::mem::take(&mut verifier.listed);
    verifier.check_lacked(&listed);
    let faults = listed.faults();
    for (digest, problem) in &faults {
        verifier.fault(digest, problem.to_string());
    }
    let refused: HashSet<&Digest> = faults.into_iter().map(|(digest, _)| digest).collect();
    let others = listed.others().into_iter();
    // What is refused is told of.
    for (digest, platform) in others.filter(|(digest, _)| !refused.contains(digest)) {
        let platform = told(platform);
        let problem = format!(
            "it is listed for {platform}, but it is no image: some tools take it for one all the same"
        );
        verifier.add(FaultKind::Odd, digest, problem);
    }
    for (index, images) in listed.offers() {
        verifier.check_platforms(index, &images);
    }
    verifier.check_unreferenced();
    verifier.verification
}

struct Verifier<'a> {
    root: &'a Path,
    options: VerifyOptions,
    verification: Verification,
    /// The same, so that none is told twice.
    known: HashSet<Fault>,
    /// The manifests that are still to be checked, and the index that lists each.
    walk: Walk<Option<Digest>>,
    presence: Presence,
    /// The blobs whose content was compared with their digest, or has a fault already.
    judged: HashSet<Digest>,
    /// The configs and layers that were read, and whether each is what its digest and its `diff_id` say.
    read: HashMap<(Digest, Option<Digest>), bool>,
    /// What layers hold, by digest and `diff_id`, of as many as there is memory for, and how much they take.
    entries: HashMap<(Digest, Digest), Rc<Vec<Entry>>>,
    memory: u64,
    listed: Listed,
}

impl Verifier<'_> {
    fn fault(&mut self, subject: impl fmt::Display, problem: impl Into<String>) {
        self.add(FaultKind::Wrong, subject, problem);
    }

    fn is_there(&self, blob: &Descriptor) -> bool {
        is_there(self.root, blob)
    }

    fn check_lacked(&mut self, listed: &Listed) {
        let presence = std::mem::take(&mut self.presence);
        let (left_out, lost) = presence.into_left_out_and_lost(listed);
        let left_out = if self.options.sparse {
            Vec::new()
        } else {
            left_out
        };
        for (kind, lacked) in [(FaultKind::Wrong, lost), (FaultKind::LeftOut, left_out)] {
            for Lacked { digest, need, .. } in lacked {
                self.add(kind, digest, format!("it is missing, but {need}"));
            }
        }
    }

    /// Whether a blob is a link to nothing, which is a fault then.
    fn dangles(&mut self, digest: &Digest, path: &Path) -> bool {
        let Ok(target) = fs::read_link(path) else {
            return false;
        };
        let target = target.display();
        let (kind, problem) = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (
                FaultKind::Dangling,
                format!("it is a link to {target}, which is not there"),
            ),
            Err(error) => (
                FaultKind::Wrong,
                format!("it is a link to {target}, which leads nowhere: {error}"),
            ),
            Ok(_) => return false,
        };
        self.add(kind, digest, problem);
        true
    }

    fn add(&mut self, kind: FaultKind, subject: impl fmt::Display, problem: impl Into<String>) {
        let fault = Fault {
            subject: subject.to_string(),
            problem: problem.into(),
            kind,
        };
        if self.known.insert(fault.clone()) {
            match kind {
                FaultKind::Odd => self.verification.warnings.push(fault),
                _ => self.verification.faults.push(fault),
            }
        }
    }

    /// Every blob must be what its name says, needed or not.
    fn check_unreferenced(&mut self) {
        const NO_BLOB: &str = "its path is not that of a blob, blobs/ALGORITHM/HEX";
        let name = |path: &Path| path.file_name().map(|name| name.display().to_string());
        for directory in self.list(&self.root.join("blobs")) {
            let algorithm = name(&directory).unwrap_or_default();
            if !directory.is_dir() {
                self.fault(format!("blobs/{algorithm}"), NO_BLOB);
                continue;
            }
            for file in self.list(&directory) {
                let hex = name(&file).unwrap_or_default();
                let subject = format!("blobs/{algorithm}/{hex}");
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    self.fault(subject, NO_BLOB);
                    continue;
                };
                if self.judged.contains(&digest) || self.dangles(&digest, &file) {
                    continue;
                }
                match open_regular(&file).and_then(|file| hash_reader(digest.algorithm(), file)) {
                    Ok((found, _)) if found == digest => {}
                    Ok((found, _)) => {
                        self.fault(subject, format!("its content has the digest {found}"));
                    }
                    Err(error) => self.fault(subject, format!("cannot be read: {error}")),
                }
            }
        }
    }

    /// The paths in a directory, in order. One that is there and cannot be read is a fault.
    fn list(&mut self, directory: &Path) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let listed = fs::read_dir(directory).and_then(|entries| {
            for entry in entries {
                paths.push(entry?.path());
            }
            Ok(())
        });
        match listed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let subject = directory.strip_prefix(self.root).unwrap_or(directory);
                self.fault(subject.display(), format!("cannot be read: {error}"));
            }
            _ => {}
        }
        paths.sort();
        paths
    }

    fn check_marker(&mut self) {
        match read_marker(self.root) {
            Ok(folded) => self.note(MARKER_FILE, &folded),
            Err(problem) => self.fault(self.root.display(), problem.to_string()),
        }
        // What engines wrote themselves is right, but nobody here checks that it is.
        if fs::symlink_metadata(self.root.join(DOCKER_FILE)).is_ok() {
            self.add(
                FaultKind::Odd,
                DOCKER_FILE,
                "some tools read this file instead of index.json: it may be another image, which was not checked",
            );
        }
    }

    fn check_entry_point(&mut self) {
        let bytes = match read_at_most(&self.root.join(INDEX_FILE), MAX_MANIFEST_SIZE) {
            Ok(bytes) => bytes,
            Err(error) => return self.fault(INDEX_FILE, format!("cannot be read: {error}")),
        };
        match ImageIndex::parse_noting(&bytes) {
            Ok((index, oddities)) => {
                self.note(INDEX_FILE, &oddities);
                add_roots(&mut self.listed, &index.manifests);
                self.check_names(&index);
                self.check_index(None, &index);
            }
            Err(error) => self.fault(INDEX_FILE, format!("not valid: {}", chain(&error))),
        }
    }

    fn note(&mut self, subject: impl fmt::Display, oddities: &[impl fmt::Display]) {
        for oddity in oddities {
            self.add(FaultKind::Odd, &subject, oddity.to_string());
        }
    }

    /// Puts what an index lists, or else the layout itself, on the way.
    fn check_index(&mut self, parent: Option<&Digest>, index: &ImageIndex) {
        let subject = &*name_of(parent);
        if index.manifests.is_empty() {
            // An index may be empty, but a layout of nothing is none that somebody wanted.
            let kind = match parent {
                None => FaultKind::Wrong,
                Some(_) => FaultKind::Odd,
            };
            self.add(kind, subject, "it lists no manifests");
        }
        for entry in index.disguised() {
            // Of what a layout lists besides, as image-layout.md does, nobody takes anything for an image.
            let is_besides = entry.platform.is_none() && !entry.media_type.is_empty();
            if parent.is_none() && is_besides {
                continue;
            }
            let media_type = entry.media_type.as_str();
            let problem = format!(
                "it is listed as {media_type:?}, which is no manifest's: some tools take it for an image all the same"
            );
            self.add(FaultKind::Odd, &entry.digest, problem);
        }
        for entry in &index.manifests {
            if let Some(platform) = &entry.platform {
                self.check_platform(&entry.digest, platform);
            }
            if !self.is_there(entry) {
                self.presence.add_absent(&self.listed, parent, entry);
            } else if !entry.is_manifest() {
                // Its digest is checked with those of the unreferenced.
                self.check_presence(subject, entry);
            } else if let Err(error) = self.walk.add(entry.clone(), parent.cloned()) {
                return self.fault(subject, error.to_string());
            }
        }
    }

    /// Whoever asks a layout for a name is to get one thing.
    fn check_names(&mut self, index: &ImageIndex) {
        let mut known = HashMap::new();
        for entry in &index.manifests {
            if let Some(name) = entry.annotations.get(REF_NAME)
                && *known.entry(name).or_insert(&entry.digest) != &entry.digest
            {
                let problem = format!(
                    "it is not the only one of the name {name:?}: some tools take the first, and some the last"
                );
                self.add(FaultKind::Odd, &entry.digest, problem);
            }
        }
    }

    /// Whoever asks for a platform is to find what is for it.
    fn check_platform(&mut self, subject: &Digest, platform: &Platform) {
        let problem = if platform.has_other_names() {
            format!(
                "it has another name for the platform {platform}, by which some tools do not know it"
            )
        } else if platform.is_unknown() && !platform.is_placeholder() {
            let Platform {
                os, architecture, ..
            } = platform;
            format!(
                "it is listed for the os {os:?} and the architecture {architecture:?}, which are no platform: nobody can choose it, and a pull for some platforms leaves it out"
            )
        } else {
            return;
        };
        self.add(FaultKind::Odd, subject, problem);
    }

    /// Whoever asks an index for a platform is to get one image.
    fn check_platforms(&mut self, subject: &Digest, images: &[(&Platform, &Digest)]) {
        let mut known = HashMap::new();
        let mut told = HashSet::new();
        for (platform, digest) in images {
            let machine = platform.machine();
            let first = *known.entry(machine.clone()).or_insert(*digest);
            if first != *digest && told.insert(machine) {
                let problem = format!(
                    "it lists several manifests for {platform}: some tools take the first of them"
                );
                self.add(FaultKind::Odd, subject, problem);
            }
        }
        let mut systems = HashMap::new();
        for (platform, _) in images
            .iter()
            .filter(|(platform, _)| platform.os != "windows")
        {
            let of_system = systems.entry((&*platform.os, &*platform.architecture));
            let (first, told) = of_system.or_insert((*platform, false));
            if !*told && !first.is_default() && platform.is_default() {
                *told = true;
                let problem = format!(
                    "it lists a manifest for {first} before that for {platform}: some tools take the first of them"
                );
                self.add(FaultKind::Odd, subject, problem);
            }
        }
    }

    /// Checks that a content which `parent` points to, and which is there, is a file with its size.
    fn check_presence(&mut self, parent: &str, descriptor: &Descriptor) -> bool {
        let path = self.root.join(descriptor.digest.blob_path());
        if self.dangles(&descriptor.digest, &path) {
            return false;
        }
        let problem = match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => "it is not a regular file".to_owned(),
            Ok(metadata) if metadata.len() != descriptor.size => {
                let (found, expected) = (metadata.len(), descriptor.size);
                format!("it has {found} bytes, but {parent} says {expected}")
            }
            Ok(_) => return true,
            Err(error) => format!("cannot be read: {error}"),
        };
        self.fault(&descriptor.digest, problem);
        self.judged.insert(descriptor.digest.clone());
        false
    }

    /// Checks a manifest that `parent` points to, and all that it points to but other manifests.
    fn check_manifest(&mut self, parent: Option<&Digest>, descriptor: &Descriptor) {
        if !self.check_presence(&name_of(parent), descriptor) {
            return;
        }
        self.judged.insert(descriptor.digest.clone());
        let path = self.root.join(descriptor.digest.blob_path());
        let subject = descriptor.digest.to_string();
        let bytes = match read_at_most(&path, MAX_MANIFEST_SIZE) {
            Ok(bytes) => bytes,
            Err(error) => return self.fault(subject, format!("cannot be read: {error}")),
        };
        let found = Digest::of(descriptor.digest.algorithm(), &bytes);
        if found != descriptor.digest {
            return self.fault(subject, format!("its content has the digest {found}"));
        }
        match Manifest::parse_noting(&bytes, Some(&descriptor.media_type)) {
            Ok((manifest, oddities)) => {
                self.note(&subject, &oddities);
                match manifest {
                    Manifest::Index(index) => {
                        self.listed.add_index(&descriptor.digest, &index);
                        self.check_index(Some(&descriptor.digest), &index);
                    }
                    Manifest::Image(image) => {
                        let root = self.root;
                        for blob in image.blobs().filter(|blob| is_there(root, blob)) {
                            self.check_presence(&subject, blob);
                        }
                        let is_image = self.check_image(&subject, descriptor, &image);
                        let manifest = (descriptor, &image);
                        let is_there = |blob: &Descriptor| is_there(root, blob);
                        self.presence
                            .add(&self.listed, parent, manifest, is_image, is_there);
                    }
                }
            }
            Err(error) => self.fault(subject, format!("not valid: {}", chain(&error))),
        }
    }

    /// Checks a manifest and what it points to, as far as that is there; returns whether it is an image.
    fn check_image(&mut self, subject: &str, entry: &Descriptor, image: &ImageManifest) -> bool {
        let listed = entry.platform.as_ref();
        let mut config = None;
        if self.check_bytes(subject, &image.config, None) && image.may_be_image() {
            config = self.read_config(subject, listed, image);
        }
        // Without its config, it is what it is listed as.
        let is_unclear = !self.is_there(&image.config) && may_be_image(entry, image);
        let is_image = config.is_some() || is_unclear;
        if !is_unclear {
            let platform = config.as_ref().map(|config| config.platform.clone());
            self.listed.found(entry, platform);
        }
        let mut diff_ids = config.iter().flat_map(|config| &config.diff_ids);
        let mut entries = Vec::new();
        for layer in &image.layers {
            let diff_id = diff_ids.next();
            self.check_bytes(subject, layer, diff_id);
            let held = diff_id.and_then(|diff_id| {
                let layer = (layer.digest.clone(), diff_id.clone());
                self.entries.get(&layer)
            });
            entries.extend(held.cloned());
        }
        // Where a layer lacks, the others say nothing.
        if entries.len() == image.layers.len()
            && let Err((number, error)) = check_entries(entries.iter().map(|layer| &***layer))
        {
            self.fault(&image.layers[number].digest, chain(&error));
        }
        is_image
    }

    fn read_config(
        &mut self,
        subject: &str,
        listed: Option<&Platform>,
        image: &ImageManifest,
    ) -> Option<ImageConfig> {
        let digest = &image.config.digest;
        let bytes = match read_at_most(&self.root.join(digest.blob_path()), MAX_CONFIG_SIZE) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fault(digest, format!("cannot be read: {error}"));
                return None;
            }
        };
        match image.image(&bytes, listed) {
            Ok(config) => {
                if let (Some(config), Some(listed)) = (&config, listed)
                    && config.platform.differs(listed)
                {
                    let problem = format!(
                        "its config says that it is for {}, but it is listed for {listed}",
                        config.platform
                    );
                    self.add(FaultKind::Odd, subject, problem);
                }
                let root = self.root;
                let content =
                    |layer: &Descriptor| holds_layer(&root.join(layer.digest.blob_path()));
                // What is none for how it is listed alone is told of that.
                if config.is_none()
                    && image.is_run_by_podman(&bytes, content)
                    && matches!(image.image(&bytes, None), Ok(None))
                {
                    let problem =
                        "by its config and its layers it is no image: podman runs it all the same";
                    self.add(FaultKind::Odd, subject, problem);
                }
                if let Some(config) = &config {
                    self.note(digest, &config.folded);
                    if config.platform.has_other_names() {
                        self.check_platform(digest, &config.platform);
                    }
                }
                let created = config.as_ref().and_then(|config| config.created.as_ref());
                if let Some(Err(error)) = created {
                    let problem =
                        format!("its created cannot be read, which some tools need: {error}");
                    self.add(FaultKind::Odd, digest, problem);
                }
                if let Some(error) = config
                    .as_ref()
                    .and_then(|config| config.bad_history.as_ref())
                {
                    let problem = format!("its history cannot be read by some tools: {error}");
                    self.add(FaultKind::Odd, digest, problem);
                }
                config
            }
            Err(error) => {
                self.fault(subject, chain(&error));
                None
            }
        }
    }

    /// Checks the digest of a config or layer, and a layer's `diff_id`; returns whether they are right.
    fn check_bytes(
        &mut self,
        subject: &str,
        descriptor: &Descriptor,
        diff_id: Option<&Digest>,
    ) -> bool {
        let path = self.root.join(descriptor.digest.blob_path());
        if descriptor.is_manifest() {
            let media_type = &descriptor.media_type;
            let problem =
                format!("{subject} has it as a config or layer, with the media type {media_type}");
            self.fault(&descriptor.digest, problem);
            return false;
        }
        let read = (descriptor.digest.clone(), diff_id.cloned());
        if let Some(&is_right) = self.read.get(&read) {
            return is_right;
        }
        if !path.exists() {
            return false;
        }
        let problem = self.problem_of(&path, descriptor, diff_id);
        let is_right = problem.is_none();
        if let Some(problem) = problem {
            self.fault(&descriptor.digest, problem);
        }
        self.judged.insert(descriptor.digest.clone());
        self.read.insert(read, is_right);
        is_right
    }

    /// Keeps what a layer holds, for the images that it is in.
    fn keep(&mut self, layer: (Digest, Digest), entries: Vec<Entry>) {
        let memory: u64 = entries.iter().map(Entry::memory).sum();
        if self.memory + memory > MAX_MEMORY {
            self.entries.clear();
            self.memory = 0;
        }
        self.memory += memory;
        self.entries.insert(layer, Rc::new(entries));
    }

    /// What is wrong with the bytes of a config or layer.
    fn problem_of(
        &mut self,
        path: &Path,
        descriptor: &Descriptor,
        diff_id: Option<&Digest>,
    ) -> Option<String> {
        let expected = &descriptor.digest;
        let unreadable = |error: io::Error| Some(format!("cannot be read: {error}"));
        let wrong = |found: Digest| Some(format!("its content has the digest {found}"));
        let Some(diff_id) = diff_id else {
            let hashed =
                open_regular(path).and_then(|file| hash_reader(expected.algorithm(), file));
            return match hashed {
                Ok((found, _)) if found == *expected => None,
                Ok((found, _)) => wrong(found),
                Err(error) => unreadable(error),
            };
        };
        let read = match read_layer(path, expected, diff_id, true, look_through) {
            Ok(read) => read,
            Err(error) => return unreadable(error),
        };
        if read.digest != *expected {
            return wrong(read.digest);
        }
        let compression = read.compression;
        match (read.diff_id, read.done) {
            (Some(found), _) if found != *diff_id => {
                return Some(format!(
                    "its diff_id is {found}, read as {compression}, but the config says {diff_id}"
                ));
            }
            (Some(_), Ok(entries)) => {
                let layer = (expected.clone(), diff_id.clone());
                self.keep(layer, entries);
            }
            (None, Ok(_)) => return Some("cannot be read".to_owned()),
            (_, Err(error)) => return Some(chain(&error)),
        }
        if let Kind::Layer(told) = descriptor.media_type.kind()
            && told != compression
        {
            let problem = format!(
                "its media type is {}, but it is {compression}, as runtimes find out",
                descriptor.media_type
            );
            self.add(FaultKind::Odd, expected, problem);
        }
        None
    }
}

/// What messages call an index, or else the layout's own list.
fn name_of(index: Option<&Digest>) -> String {
    index.map_or(INDEX_FILE.to_owned(), Digest::to_string)
}

/// All entries of a layer's archive, as those read it who unpack it.
fn look_through(reader: Box<dyn Read + '_>) -> Result<Vec<Entry>, TarError> {
    let mut archive = Archive::new(BufReader::with_capacity(256 * 1024, reader));
    let mut entries = Vec::new();
    let mut memory = 0;
    while let Some(entry) = archive.next()? {
        memory += entry.memory();
        if memory > MAX_MEMORY {
            return Err(TarError::TooMuch);
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ReferrersIndexes, index_json, marker_json};
    use crate::oci::descriptor::MediaType;

    /// An index may list what is neither a manifest nor an index.
    #[test]
    fn a_changed_artifact_of_an_index_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let artifact = Descriptor::of(MediaType::new("text/plain"), b"as it was");
        let path = root.join(artifact.digest.blob_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "as it was").unwrap();
        fs::write(root.join(MARKER_FILE), marker_json()).unwrap();
        let index = index_json(&artifact, None, &ReferrersIndexes::default());
        fs::write(root.join(INDEX_FILE), index).unwrap();
        let valid = verify(root, VerifyOptions::default());
        assert_eq!(valid, Verification::default());

        fs::write(&path, "as it is!").unwrap();
        let faults = verify(root, VerifyOptions::default()).faults;
        assert!(
            faults.len() == 1 && faults[0].problem.starts_with("its content has the digest"),
            "{faults:?}"
        );
    }
}
