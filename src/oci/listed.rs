//! What indexes list for which platforms (OCI image spec, image-index.md), as other readers choose among it.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::oci::descriptor::{Descriptor, Kind};
use crate::oci::digest::Digest;
use crate::oci::manifest::ImageIndex;
use crate::oci::platform::Platform;

/// The annotation by which podman knows what is compressed by zstd.
pub(crate) const ZSTD: &str = "io.github.containers.compression.zstd";

/// Images for variants of one processor that are listed for no platform or for another one: each is compared with all.
const MAX_UNNAMED: usize = 100;

/// Why an entry of an index cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum BadEntry {
    /// It is no image, and there is one for the platform that it is listed for.
    #[error("it is no image, but it is listed for {platform}, as an image is: {why}")]
    Artifact {
        /// What it is listed for.
        platform: Box<Platform>,
        /// Who takes it for the image.
        why: Mistaken,
    },
    /// It is not for linux/amd64, and an entry without a platform leads to it before the image that is.
    #[error(
        "it, or an index that leads to it, is listed without a platform before the image for linux/amd64, which it is not: some tools take it for that"
    )]
    NoPlatform,
    /// Some prefer another image, for how its platform is written in the entries that lead to it.
    #[error(
        "for {platform} some tools take it, and some {other}: what lists the two does not name their platforms in one way"
    )]
    Before {
        /// What both are for.
        platform: Box<Platform>,
        /// The other one.
        other: Digest,
    },
    /// Some pass over it, because it wants features of the system.
    #[error("for {platform} containerd passes over it, for its os.features, and takes {other}")]
    Features {
        /// What it is for.
        platform: Box<Platform>,
        /// Another one that such machines run.
        other: Digest,
    },
    /// There are too many like it to compare each with each.
    #[error(
        "it is one of more than {MAX_UNNAMED} images for variants of one processor that not all entries which lead to them name in Go's way"
    )]
    Unnamed,
    /// It is listed under another name than Go's, and there is another image for the platform.
    #[error(
        "it is listed for {platform} beside another image, one of them under another name of that: some tools take the one, and some the other"
    )]
    Names {
        /// What both are for.
        platform: Box<Platform>,
    },
}

/// Why what is no image is taken for one that is listed for its platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistaken {
    /// The image is not before it.
    #[error("some tools take the first of both")]
    First,
    /// The image is listed elsewhere.
    #[error("some tools take it by its own index, which lists no image for that")]
    Alone,
    /// podman prefers it.
    #[error("podman prefers it to the image before it, for its annotation {ZSTD}")]
    Zstd,
    /// The image is listed under another name than Go's.
    #[error(
        "the image before it is listed for that under another name, which some tools do not know"
    )]
    Name,
    /// The image is listed for another variant, or for no platform.
    #[error(
        "the image before it is listed for {}, and some tools prefer what is listed for the very platform that is asked for",
        told(.0.as_deref())
    )]
    Platform(Option<Box<Platform>>),
}

/// What indexes list, and what that turned out to be. Many readers choose by the platform alone, so what is no image must not
/// be listed for one that an image is for; go-containerregistry takes the first entry that is for linux/amd64 or for no
/// platform, whatever it is, for the image for linux/amd64; and some know a platform by one name alone.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    indexes: BTreeMap<Digest, Vec<Entry>>,
    /// What a layout lists, which is no image as a whole.
    roots: Vec<Entry>,
    /// The indexes of what refers to a manifest, which are asked for no image.
    referrers: HashSet<Digest>,
    /// Of what was read, for what its config says that it is an image, if it is one.
    read: HashMap<Digest, Option<Platform>>,
}

/// An entry of an index.
#[derive(Debug)]
struct Entry {
    digest: Digest,
    kind: Kind,
    /// Whether it is a manifest of Docker's first schema, which go-containerregistry takes for no image.
    is_schema_1: bool,
    /// What it is listed for.
    told: Option<Platform>,
    /// Whether podman takes it before others for its platform, as what is compressed by zstd.
    is_preferred: bool,
}

/// An entry that is below an index, and the way to it.
struct Below<'a> {
    entry: &'a Entry,
    /// The entry of the index that lists it, if that is below too, among all that are below.
    parent: Option<usize>,
    depth: usize,
}

/// How well an entry leads to an image for a platform: most readers take the first of those that name the nearest one, or
/// else of those that name none; go-containerregistry takes the latter for linux/amd64.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Lead {
    Near(u32),
    ToAny,
    /// To what another machine with such a processor runs.
    Beyond,
    Elsewhere,
}

impl Lead {
    /// To what is listed for the very platform, whether it is written in the same way or not.
    const THERE: Self = Lead::Near(0);

    fn of(entry: &Entry, platform: &Platform) -> Self {
        match &entry.told {
            None => Lead::ToAny,
            Some(told) if told.machine() == platform.machine() => Self::THERE,
            Some(told) => match told.rank_for(platform) {
                Some(rank) => Lead::Near(rank),
                None if system(told) == system(platform) => Lead::Beyond,
                None => Lead::Elsewhere,
            },
        }
    }
}

/// What is below an index, for linux/amd64.
#[derive(Clone, Copy, Default)]
struct ForDefault<'a> {
    /// What go-containerregistry takes.
    taken: Option<&'a Entry>,
    /// Whether there is an image.
    is_offered: bool,
}

impl Listed {
    /// Adds an index.
    pub(crate) fn add_index(&mut self, digest: &Digest, index: &ImageIndex) {
        let entries = entries(&index.manifests);
        self.indexes.insert(digest.clone(), entries);
    }

    /// Adds what a layout lists.
    pub(crate) fn add_roots<'a>(&mut self, listed: impl IntoIterator<Item = &'a Descriptor>) {
        self.roots.extend(entries(listed));
    }

    /// Says that an index lists what refers to a manifest.
    pub(crate) fn add_referrers(&mut self, index: &Digest) {
        self.referrers.insert(index.clone());
    }

    /// Whether an index lists what refers to a manifest.
    pub(crate) fn has_referrers(&self, index: &Digest) -> bool {
        self.referrers.contains(index)
    }

    /// Says for what a manifest is an image, if it is one, that was read as this entry lists it; others are what they
    /// are listed as.
    pub(crate) fn found(&mut self, entry: &Descriptor, by_config: Option<Platform>) {
        // What is listed for no platform is for that reason no image.
        if !entry.platform.as_ref().is_some_and(Platform::is_unknown) {
            self.read.insert(entry.digest.clone(), by_config);
        }
    }

    /// For what platform an entry is an image, if it is one.
    fn platform_of<'a>(&'a self, entry: &'a Entry) -> Option<&'a Platform> {
        if entry.kind != Kind::Manifest {
            return None;
        }
        let told = entry.told.as_ref();
        match self.read.get(&entry.digest) {
            Some(by_config) => Some(told.unwrap_or(by_config.as_ref()?)),
            None => told,
        }
    }

    /// Whether an entry is known to be no image.
    fn is_other(&self, entry: &Entry) -> bool {
        let read = self.read.get(&entry.digest);
        read.is_some_and(Option::is_none) || !matches!(entry.kind, Kind::Manifest | Kind::Index)
    }

    /// Those of the entries of an index that are known to be no image, each with why some take it for one. What is listed
    /// behind an image for the very same platform, as an index of SOCI is, nobody takes for one: all take the first.
    fn others_of<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> impl Iterator<Item = (&'a Entry, Mistaken)> {
        let images = entries.iter().filter_map(|entry| self.platform_of(entry));
        let offered: HashSet<_> = images.map(system).collect();
        // The first image for each system, and for what images are listed by Go's names, up to an entry.
        let mut first: HashMap<_, &Entry> = HashMap::new();
        let mut named = HashSet::new();
        entries.iter().filter_map(move |entry| {
            if let Some(platform) = self.platform_of(entry) {
                first.entry(system(platform)).or_insert(entry);
                named.extend(entry.told.as_ref().filter(|told| !told.has_other_names()));
                return None;
            }
            let told = entry.told.as_ref();
            let is_behind = told.is_some_and(|told| named.contains(told));
            if !self.is_other(entry) || (is_behind && !entry.is_preferred) {
                return None;
            }
            let system = told.map(system);
            let image = system.and_then(|system| first.get(&system));
            let why = match image.map(|image| &image.told) {
                None if system.is_some_and(|system| offered.contains(&system)) => Mistaken::First,
                None => Mistaken::Alone,
                Some(_) if entry.is_preferred => Mistaken::Zstd,
                Some(Some(told)) if told.has_other_names() => Mistaken::Name,
                Some(told) => Mistaken::Platform(told.clone().map(Box::new)),
            };
            Some((entry, why))
        })
    }

    fn is_default(&self, entry: &Entry) -> bool {
        let platform = self.platform_of(entry);
        platform.is_some_and(Platform::serves_go_default)
    }

    /// The entries of each index, and of the layout.
    fn all(&self) -> impl Iterator<Item = &Vec<Entry>> {
        self.indexes.values().chain([&self.roots])
    }

    /// The systems for which there are images.
    fn systems(&self) -> HashSet<(&str, &str)> {
        let images = self
            .all()
            .flatten()
            .filter_map(|entry| self.platform_of(entry));
        images.map(system).collect()
    }

    /// Manifests of no image that are listed beside images, for these platforms, or by an index for none.
    pub(crate) fn others(&self) -> Vec<(&Digest, Option<&Platform>)> {
        if self.systems().is_empty() {
            return Vec::new();
        }
        let roots = self.others_of(&self.roots);
        let roots = roots.filter(|(entry, _)| entry.told.is_some());
        let indexes = self.indexes.iter();
        let indexes = indexes.filter(|(index, _)| !self.referrers.contains(index));
        let others = indexes.flat_map(|(_, entries)| self.others_of(entries));
        let others = others.chain(roots).map(|(entry, _)| entry);
        others
            .filter(|entry| entry.kind == Kind::Manifest)
            .map(|entry| (&entry.digest, entry.told.as_ref()))
            .collect()
    }

    /// What others would take for an image, or for another one.
    pub(crate) fn faults(&self) -> Vec<(&Digest, BadEntry)> {
        let systems = self.systems();
        let mut faults = Vec::new();
        let mut known = HashSet::new();
        for (entry, why) in self.all().flat_map(|entries| self.others_of(entries)) {
            if let Some(told) = &entry.told
                && systems.contains(&system(told))
                && known.insert((&entry.digest, told))
            {
                let platform = Box::new(told.clone());
                faults.push((&entry.digest, BadEntry::Artifact { platform, why }));
            }
        }
        for index in self.indexes.values() {
            self.add_other_names(index, &mut faults);
        }
        // One reason is enough.
        let mut known: HashSet<&Digest> = faults.iter().map(|(digest, _)| *digest).collect();
        for below in self.defaults().into_values() {
            if let ForDefault {
                taken: Some(taken),
                is_offered: true,
            } = below
                && !self.is_default(taken)
                && known.insert(&taken.digest)
            {
                faults.push((&taken.digest, BadEntry::NoPlatform));
            }
        }
        for top in self.tops() {
            let others = self.not_preferred(top).into_iter();
            faults.extend(others.filter(|(digest, _)| known.insert(digest)));
        }
        faults
    }

    /// The indexes that no other one lists.
    fn tops(&self) -> impl Iterator<Item = &Digest> {
        let all = self.indexes.values().flatten();
        let nested = all.filter(|entry| entry.kind == Kind::Index);
        let nested: HashSet<&Digest> = nested.map(|entry| &entry.digest).collect();
        let indexes = self.indexes.keys();
        indexes.filter(move |index| !nested.contains(index))
    }

    /// The images below each index that no other one lists, and their platforms, in the order in which they are listed.
    pub(crate) fn offers(&self) -> Vec<(&Digest, Vec<(&Platform, &Digest)>)> {
        let tops = self.tops();
        tops.map(|top| (top, self.images_below(top))).collect()
    }

    /// The images below an index, and their platforms, in the order in which they are listed, as runtimes read it: what a
    /// nested index lists is in that one's place.
    pub(crate) fn images_below(&self, top: &Digest) -> Vec<(&Platform, &Digest)> {
        let images = self.entries_below(top).into_iter();
        let images = images
            .filter_map(|Below { entry, .. }| Some((self.platform_of(entry)?, &entry.digest)));
        images.collect()
    }

    /// What a layout lists with nothing below that is `held`, and what is below.
    pub(crate) fn without_any(&self, held: &HashSet<Digest>) -> HashSet<&Digest> {
        let mut without = HashSet::new();
        let mut known = HashSet::new();
        for root in self.roots.iter().filter(|root| known.insert(&root.digest)) {
            let below = self.entries_below(&root.digest).into_iter();
            let mut entries: Vec<&Entry> = below.map(|below| below.entry).collect();
            entries.push(root);
            if !entries.iter().any(|entry| held.contains(&entry.digest)) {
                without.extend(entries.into_iter().map(|entry| &entry.digest));
            }
        }
        without
    }

    /// What is listed below an index, in the order in which it is listed.
    fn entries_below(&self, top: &Digest) -> Vec<Below<'_>> {
        let entries = |index, parent: Option<usize>, depth| {
            let entries = self.indexes.get(index).into_iter().flatten().rev();
            entries.map(move |entry| Below {
                entry,
                parent,
                depth,
            })
        };
        let mut below = Vec::new();
        let mut known = HashSet::new();
        let mut waiting: Vec<Below> = entries(top, None, 0).collect();
        while let Some(next) = waiting.pop() {
            let Below { entry, depth, .. } = next;
            if entry.kind == Kind::Index && known.insert(&entry.digest) {
                waiting.extend(entries(&entry.digest, Some(below.len()), depth + 1));
            }
            below.push(next);
        }
        below
    }

    /// The images below an index that are first for their machines, and to which some prefer others.
    fn not_preferred(&self, top: &Digest) -> Vec<(&Digest, BadEntry)> {
        let below = self.entries_below(top);
        let judge = |image, other| self.not_taken_by_all(&below, image, other);
        let mut faults = Vec::new();
        let mut firsts = HashMap::new();
        // The first images for the machines of each system: those that all entries on the way name so, and others.
        let mut systems: HashMap<_, [Vec<usize>; 2]> = HashMap::new();
        for (at, Below { entry, .. }) in below.iter().enumerate() {
            if let Some(platform) = self.platform_of(entry) {
                let first = *firsts.entry(platform.machine()).or_insert(at);
                if first == at {
                    let is_plain = is_named_all_the_way(&below, at, platform);
                    systems.entry(system(platform)).or_default()[usize::from(!is_plain)].push(at);
                } else {
                    faults.extend(judge(first, at));
                }
            }
        }
        // What some do not find, they take others for whose processor is of another variant.
        for [plain, others] in systems.values() {
            let odd = plain.iter().filter(|one| may_be_passed_over(&below, **one));
            let odd: Vec<usize> = odd.copied().collect();
            if let Some(more) = others.get(MAX_UNNAMED).or_else(|| odd.get(MAX_UNNAMED)) {
                faults.push((&below[*more].entry.digest, BadEntry::Unnamed));
                continue;
            }
            for one in others {
                for other in plain.iter().chain(others) {
                    faults.extend(judge(*one, *other));
                    faults.extend(judge(*other, *one));
                }
            }
            for one in &odd {
                let others = plain.iter();
                faults.extend(others.filter_map(|other| self.passed_over(&below, *one, *other)));
            }
        }
        let firsts = firsts.into_values();
        faults.extend(firsts.filter_map(|first| self.without_features(&below, first)));
        faults
    }

    /// An image that wants features of the system, if there is another one that its machine runs and that does not.
    fn without_features<'a>(
        &'a self,
        below: &[Below<'a>],
        image: usize,
    ) -> Option<(&'a Digest, BadEntry)> {
        let one = below[image].entry;
        let platform = self.platform_of(one)?;
        if !platform.wants_features() {
            return None;
        }
        let mut others = below.iter().map(|below| below.entry);
        let other = others.find(|other| {
            let runs = |other: &Platform| !other.wants_features() && platform.may_run(other);
            other.digest != one.digest && self.platform_of(other).is_some_and(runs)
        })?;
        let (platform, other) = (Box::new(platform.clone()), other.digest.clone());
        Some((&one.digest, BadEntry::Features { platform, other }))
    }

    /// An image that is the first for its machine, if some prefer another one to it, and one of both was read.
    fn not_taken_by_all<'a>(
        &'a self,
        below: &[Below<'a>],
        image: usize,
        other: usize,
    ) -> Option<(&'a Digest, BadEntry)> {
        let [one, two] = [image, other].map(|at| below[at].entry);
        let platform = self.platform_of(one)?;
        let serves = self.platform_of(two)?.rank_for(platform).is_some();
        let is_read = |entry: &&Entry| self.read.contains_key(&entry.digest);
        if one.digest == two.digest
            || ![one, two].iter().any(is_read)
            || is_taken_by_all(below, platform, image, (other, serves))
        {
            return None;
        }
        let (platform, other) = (Box::new(platform.clone()), two.digest.clone());
        Some((&one.digest, BadEntry::Before { platform, other }))
    }

    /// An image whose variant is not written in Go's way where the ways to two part, if there is another one that serves its
    /// machine and that some take instead: podman, which looks for v7 of arm, for v6 and v5, and then for none.
    fn passed_over<'a>(
        &'a self,
        below: &[Below<'a>],
        image: usize,
        other: usize,
    ) -> Option<(&'a Digest, BadEntry)> {
        let entries = [image, other].map(|at| below[at].entry);
        let [one, two] = entries.map(|entry| self.platform_of(entry));
        let (one, two) = (one?, two?);
        let (to_one, to_two) = parting(below, image, other);
        let to_one = to_one.told.as_ref().unwrap_or(one);
        let to_two = to_two.told.as_ref().unwrap_or(two);
        let may_be_taken = !to_two.has_other_names()
            && (to_one.has_other_names() || is_arm_alone(to_one) && to_two.variant.is_some());
        let is_read = |entry: &&Entry| self.read.contains_key(&entry.digest);
        let [image, other] = entries;
        if to_one.variant == to_two.variant
            || !may_be_taken
            || two.rank_for(one).is_none()
            || image.digest == other.digest
            || !entries.iter().any(is_read)
        {
            return None;
        }
        let (platform, other) = (Box::new(one.clone()), other.digest.clone());
        Some((&image.digest, BadEntry::Before { platform, other }))
    }

    /// The images for a platform for which there is another one, under another name.
    fn add_other_names<'a>(&'a self, index: &'a [Entry], faults: &mut Vec<(&'a Digest, BadEntry)>) {
        let mut known: HashMap<_, (&Digest, bool)> = HashMap::new();
        for entry in index {
            let Some(platform) = self.platform_of(entry) else {
                continue;
            };
            let is_other = platform.has_other_system_names();
            let first = known.entry(system(platform));
            let (first, any_other) = first.or_insert((&entry.digest, false));
            *any_other |= is_other;
            if *any_other && **first != entry.digest {
                let platform = Box::new(platform.clone());
                faults.push((&entry.digest, BadEntry::Names { platform }));
            }
        }
    }

    /// What is below each index for linux/amd64. What a digest does not bind may lead back to itself.
    fn defaults(&self) -> HashMap<&Digest, ForDefault<'_>> {
        let mut known: HashMap<&Digest, ForDefault<'_>> = HashMap::new();
        for root in self.indexes.keys() {
            let mut waiting = vec![(root, false)];
            while let Some((index, is_below_known)) = waiting.pop() {
                let Some(entries) = self.indexes.get(index) else {
                    continue;
                };
                if is_below_known {
                    let below = self.default_of(entries, &known);
                    known.insert(index, below);
                } else if !known.contains_key(index) {
                    known.insert(index, ForDefault::default());
                    waiting.push((index, true));
                    let indexes = entries.iter().filter(|entry| entry.kind == Kind::Index);
                    waiting.extend(indexes.map(|entry| (&entry.digest, false)));
                }
            }
        }
        known
    }

    fn default_of<'a>(
        &self,
        entries: &'a [Entry],
        known: &HashMap<&Digest, ForDefault<'a>>,
    ) -> ForDefault<'a> {
        let below = |entry: &Entry| known.get(&entry.digest).copied().unwrap_or_default();
        let mut would_take = entries.iter().filter(|entry| {
            let told = entry.told.as_ref();
            told.is_none_or(Platform::serves_go_default)
        });
        let taken = would_take.next().and_then(|entry| match entry.kind {
            Kind::Index if known.contains_key(&entry.digest) => below(entry).taken,
            _ => Some(entry).filter(|entry| !entry.is_schema_1),
        });
        let is_offered = |entry: &Entry| match entry.kind {
            Kind::Index => below(entry).is_offered,
            _ => self.is_default(entry),
        };
        ForDefault {
            taken,
            is_offered: entries.iter().any(is_offered),
        }
    }
}

/// The entries of one index by which the ways to two part.
fn parting<'a>(below: &[Below<'a>], mut one: usize, mut other: usize) -> (&'a Entry, &'a Entry) {
    while below[one].parent != below[other].parent {
        let up = if below[one].depth > below[other].depth {
            &mut one
        } else {
            &mut other
        };
        let Some(parent) = below[*up].parent else {
            break;
        };
        *up = parent;
    }
    (below[one].entry, below[other].entry)
}

/// Whether all entries on the way to an image name its platform.
fn is_named_all_the_way(below: &[Below], image: usize, platform: &Platform) -> bool {
    let mut way = std::iter::successors(Some(image), |at| below[*at].parent);
    way.all(|at| Lead::of(below[at].entry, platform) == Lead::THERE)
}

/// Whether podman may look for others before an image, for how an entry on the way to it writes its platform.
fn may_be_passed_over(below: &[Below], image: usize) -> bool {
    let mut way = std::iter::successors(Some(image), |at| below[*at].parent);
    way.any(|at| {
        let told = below[at].entry.told.as_ref();
        told.is_none_or(|told| told.has_other_names() || is_arm_alone(told))
    })
}

/// Whether a platform is of arm, and of no variant.
fn is_arm_alone(platform: &Platform) -> bool {
    platform.architecture == "arm" && platform.variant.is_none()
}

/// Whether all take an image, which is the first for its platform, and not another one, which serves that, or is for another
/// variant: crane takes that, too, if no variant is asked for. podman prefers a variant's own name, and crane the one that it is
/// asked for.
fn is_taken_by_all(
    below: &[Below],
    platform: &Platform,
    image: usize,
    (other, serves): (usize, bool),
) -> bool {
    let is_before = image < other;
    let (one, two) = parting(below, image, other);
    let name = |entry: &Entry| {
        let told = entry.told.as_ref();
        told.map(|told| (told.variant.clone(), told.has_other_names()))
    };
    match [one, two].map(|entry| Lead::of(entry, platform)) {
        [Lead::Elsewhere, Lead::Elsewhere] => true,
        // crane and regctl take what there is below the first index that is for the very platform.
        [of_image, of_other] if !serves => {
            of_image != Lead::Elsewhere && (is_before || of_other != Lead::THERE)
        }
        [Lead::THERE, Lead::THERE] | [Lead::Beyond, Lead::Beyond] if is_before => {
            name(one) == name(two)
        }
        [_, Lead::Beyond] => false,
        [of_image, of_other] => of_image < of_other || (of_image == of_other && is_before),
    }
}

/// Entries of an index, but what is for no platform: that says something of others.
fn entries<'a>(listed: impl IntoIterator<Item = &'a Descriptor>) -> Vec<Entry> {
    let listed = listed.into_iter().filter(|entry| {
        let told = entry.platform.as_ref();
        entry.media_type.kind() == Kind::Index || !told.is_some_and(Platform::is_unknown)
    });
    listed
        .map(|entry| Entry {
            digest: entry.digest.clone(),
            kind: entry.media_type.kind(),
            is_schema_1: entry.media_type.is_schema_1(),
            told: entry.platform.clone(),
            is_preferred: entry.annotations.contains_key(ZSTD),
        })
        .collect()
}

/// What something is listed for, in words.
pub(crate) fn told(platform: Option<&Platform>) -> String {
    platform.map_or("no platform".to_owned(), Platform::to_string)
}

/// What most readers look at.
fn system(platform: &Platform) -> (&str, &str) {
    (&platform.os, &platform.architecture)
}
