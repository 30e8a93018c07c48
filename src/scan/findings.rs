//! The model of what is known against an image: no scanner's own, and the same bytes anywhere, as [`super::inventory`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;

use super::inventory::{Database, FILE, Image, Inventory, Package, SCHEMA, Scanner, known};
use super::isolate::Access;
use super::preset::{Advisories, AnswerError, Match, PackageList};
use super::trouble::Trouble;

/// What a scanner found in the files of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFindings {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the scanner could use of the network.
    pub network: Access,
    /// What it looked for.
    pub kinds: BTreeSet<FindingKind>,
    /// What it found, as if nothing were the base's.
    pub findings: BTreeSet<Finding>,
}

/// What is known against the packages of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who looked.
    pub scanner: Scanner,
    /// What matched the packages with the database, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matcher: Option<String>,
    /// What it could use of the network.
    pub network: Access,
    /// Where advisories came from.
    pub database: Database,
    /// By what Java archives are known, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub java_database: Option<Database>,
    /// What was looked at.
    pub image: Image,
    /// How many packages of each kind.
    pub looked_at: BTreeMap<String, u64>,
    /// What was looked for.
    pub kinds: BTreeSet<FindingKind>,
    /// Why the result cannot be trusted, as far as it is known already.
    pub troubles: Vec<Trouble>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was found, sorted.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// What a scanner found against the packages of its list, and why that cannot be trusted. What the base has, too, is the
    /// base's. All else is as the inventory has it.
    pub fn new(
        matches: Vec<Match>,
        list: &PackageList,
        inventory: &Inventory,
        base: Option<&Inventory>,
        advisories: &dyn Advisories,
    ) -> Result<Self, AnswerError> {
        let of_base: BaseContents = base.into_iter().collect();
        let mut findings = Vec::new();
        for found in matches {
            let package = list.packages.get(&found.package).cloned();
            let package = package.ok_or(AnswerError::UnknownPackage(found.package))?;
            findings.push(Finding {
                origin: Origin::of(of_base.have(found.kind, &package)),
                kind: found.kind,
                id: found.id,
                aliases: found.aliases,
                package,
                fixed: found.fixed,
                severity: found.severity,
                title: found.title,
                same_package: Vec::new(),
                found_by: BTreeSet::new(),
            });
        }
        findings.sort();
        findings.dedup();
        let mut troubles = inventory.not_covered(advisories);
        let (not_compared, unversioned) = inventory.not_compared(advisories)?;
        troubles.extend(not_compared);
        troubles.extend(inventory.troubles(base, advisories));
        troubles.sort();
        Ok(Findings {
            schema: SCHEMA,
            scanner: inventory.scanner.clone(),
            matcher: None,
            network: inventory.network,
            database: advisories.database().clone(),
            java_database: inventory.java_database().cloned(),
            image: inventory.image.clone(),
            looked_at: inventory.looked_at(),
            kinds: BTreeSet::from([FindingKind::Vulnerability]),
            troubles,
            notes: inventory.notes().into_iter().chain(unversioned).collect(),
            findings,
        })
    }

    /// What a scanner of files alone found in the image's, of which it looked into so many, and why that cannot be trusted.
    pub fn of_files(
        kind: FindingKind,
        found: BTreeSet<Finding>,
        files: u64,
        mut troubles: Vec<Trouble>,
        inventory: &Inventory,
        base: Option<&Inventory>,
        advisories: &dyn Advisories,
    ) -> Self {
        troubles.extend(inventory.not_covered(advisories));
        troubles.sort();
        let mut findings = Findings {
            schema: SCHEMA,
            scanner: inventory.scanner.clone(),
            matcher: None,
            network: inventory.network,
            database: advisories.database().clone(),
            java_database: None,
            image: inventory.image.clone(),
            looked_at: BTreeMap::from([(FILE.to_owned(), files)]),
            kinds: BTreeSet::new(),
            troubles,
            notes: Vec::new(),
            findings: Vec::new(),
        };
        let found = FileFindings {
            schema: SCHEMA,
            network: inventory.network,
            kinds: BTreeSet::from([kind]),
            findings: found,
        };
        findings.add_files(found, base);
        findings
    }

    /// What people call the scanner.
    pub fn name(&self) -> &str {
        self.matcher.as_deref().unwrap_or(&self.scanner.name)
    }

    /// Adds what was found in the image's files.
    pub fn add_files(&mut self, files: FileFindings, base: Option<&Inventory>) {
        let of_base: BaseContents = base.into_iter().collect();
        self.network = self.network.max(files.network);
        self.kinds.extend(files.kinds);
        self.findings
            .extend(files.findings.into_iter().map(|found| Finding {
                origin: Origin::of(of_base.have(found.kind, &found.package)),
                ..found
            }));
        self.findings.sort();
    }
}

/// Where a finding comes from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Origin {
    /// The image itself.
    Local,
    /// Its base, which has the same package.
    Base,
}

impl Origin {
    fn of(is_of_base: bool) -> Self {
        if is_of_base {
            Origin::Base
        } else {
            Origin::Local
        }
    }
}

/// What a finding is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum FindingKind {
    /// A weakness that somebody published.
    Vulnerability,
    /// The terms that a package may be used under.
    License,
    /// What nobody may know, such as a key.
    Secret,
    /// A setting that should be another.
    Misconfiguration,
    /// What harms whoever runs it.
    Malware,
}

impl FindingKind {
    /// Whether it is found in files, and not by the packages that there are.
    pub fn is_of_files(self) -> bool {
        match self {
            FindingKind::Vulnerability | FindingKind::License => false,
            FindingKind::Secret | FindingKind::Misconfiguration | FindingKind::Malware => true,
        }
    }
}

/// How bad a finding is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum Severity {
    /// Nobody said.
    Unknown,
    /// Of no weight.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// What a scanner says; a word that is none is as good as nothing.
    pub(super) fn read(word: Option<&str>) -> Self {
        let severity = word.and_then(|word| word.parse().ok());
        severity.unwrap_or(Severity::Unknown)
    }
}

/// One thing that is known against a package, or against a file, which counts as a package of the kind `file` by its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Whose it is.
    pub origin: Origin,
    /// What it is.
    pub kind: FindingKind,
    /// Its identifier, such as `CVE-2026-0001`.
    pub id: String,
    /// What else it is called.
    pub aliases: BTreeSet<String>,
    /// The package.
    pub package: Package,
    /// The version without it, if there is one.
    #[serde(with = "known")]
    pub fixed: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words, if the scanner has any.
    #[serde(with = "known")]
    pub title: Option<String>,
    /// The package as others have it that found the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_package: Vec<Package>,
    /// Who found it, where several looked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub found_by: BTreeSet<String>,
}

/// How identifiers begin of which each is another vulnerability, the list that counts first. Others may be advisories about
/// several.
pub(super) const LISTS: [&str; 2] = ["CVE-", "GHSA-"];

impl Finding {
    /// Its own identifier and its aliases.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        [&self.id].into_iter().chain(&self.aliases)
    }

    /// The vulnerabilities that it is about, each by all names that mean it: what is said of one of several says nothing of the
    /// others, unless it is said of the finding's own identifier.
    pub(super) fn vulnerabilities(&self) -> Vec<Vec<&str>> {
        let ids = || self.ids().map(String::as_str);
        let of_list = |list: &str| -> Vec<&str> {
            let begins = |id: &&str| {
                let begin = id.get(..list.len());
                begin.is_some_and(|begin| begin.eq_ignore_ascii_case(list))
            };
            ids().filter(begins).collect()
        };
        let mut lists = LISTS.into_iter().map(of_list);
        let all = lists.find(|all| !all.is_empty()).unwrap_or_default();
        if all.len() < 2 {
            return vec![ids().collect()];
        }
        all.into_iter().map(|one| vec![one, &*self.id]).collect()
    }

    /// The package as each has it that found this.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        [&self.package].into_iter().chain(&self.same_package)
    }

    /// Malware in the file at a path, which is from a layer. It is as bad as can be, whatever it is.
    pub fn of_malware(path: String, id: String, layer: Option<&Digest>) -> Self {
        Finding {
            origin: Origin::Local,
            kind: FindingKind::Malware,
            id,
            aliases: BTreeSet::new(),
            package: Package::file(path, layer.map(Digest::to_string)),
            fixed: None,
            severity: Severity::Critical,
            title: None,
            same_package: Vec::new(),
            found_by: BTreeSet::new(),
        }
    }
}

/// What is in the images that an image stands on: what is found in that is theirs.
#[derive(Default)]
pub(super) struct BaseContents<'a> {
    packages: BTreeSet<(&'a str, &'a str, Option<&'a str>, Option<&'a str>)>,
    layers: BTreeSet<String>,
}

impl<'a> FromIterator<&'a Inventory> for BaseContents<'a> {
    fn from_iter<T: IntoIterator<Item = &'a Inventory>>(inventories: T) -> Self {
        let mut contents = BaseContents::default();
        for inventory in inventories {
            let packages = inventory.packages.iter();
            contents.packages.extend(packages.map(Package::identity));
            let layers = inventory.layers.iter();
            contents.layers.extend(layers.map(Digest::to_string));
        }
        contents
    }
}

impl BaseContents<'_> {
    /// Whether a finding is about what is in them: a package, wherever layers put it, or a file by its layer.
    pub(super) fn have(&self, kind: FindingKind, package: &Package) -> bool {
        if kind.is_of_files() {
            let layer = package.layer.as_ref();
            layer.is_some_and(|layer| self.layers.contains(layer))
        } else {
            self.packages.contains(&package.identity())
        }
    }
}
