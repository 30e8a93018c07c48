//! What a scanner did not see of an image, and its database does not have. A scanner ends well all the same, so it is found by the
//! image's own files and the database's list of what it is about.

use std::collections::BTreeSet;

use super::evidence::is_java_archive;
use super::findings::{BaseContents, FindingKind};
use super::inventory::{Database, Inventory, JavaArchives, Package, System};
use super::preset::{Advisories, AnswerError, Match, PackageList};
use super::traces::{DatabaseContent, PackageDatabase};
use super::trouble::{DatabaseOf, Trouble, and_more};
use super::versions::is_none;

impl Inventory {
    /// What a database lacks to say something about the image.
    pub(super) fn not_covered(&self, advisories: &dyn Advisories) -> Vec<Trouble> {
        let (found, expected) = (advisories.database().schema, advisories.expected_schema());
        if found != expected {
            // Of another form nothing is known.
            return vec![Trouble::DatabaseSchema { found, expected }];
        }
        let mut troubles = Vec::new();
        if advisories.database().built.is_none() {
            troubles.push(Trouble::DatabaseWithoutDate {
                database: DatabaseOf::Advisories,
            });
        }
        if !advisories.has_any() {
            troubles.push(Trouble::EmptyDatabase);
        }
        troubles.extend(advisories.dropped());
        if let Some(system) = &self.system {
            let of_system = self.packages.iter().filter(|package| package.of_system);
            let kinds: BTreeSet<&str> = of_system.map(|package| &*package.kind).collect();
            let not_covered = |system| Trouble::SystemNotCovered { system };
            if !kinds.is_empty() && !advisories.covers_system(system, self.traces.system.as_ref()) {
                troubles.push(not_covered(system.to_string()));
            } else {
                let others = kinds
                    .into_iter()
                    .filter(|kind| !advisories.is_kind_of(kind, system));
                troubles.extend(
                    others.map(|kind| {
                        not_covered(format!("{system} with packages of the kind {kind}"))
                    }),
                );
            }
        }
        for kind in self.language_kinds() {
            if !advisories.covers_language(kind) {
                troubles.push(Trouble::LanguageNotCovered {
                    kind: kind.to_owned(),
                });
            }
        }
        troubles
    }

    /// What a database has something about, but in no version that the scanner can compare, and what is to be said of that
    /// which has none at all.
    pub(super) fn not_compared(
        &self,
        advisories: &dyn Advisories,
    ) -> Result<(Option<Trouble>, Option<String>), AnswerError> {
        let passed_over = advisories.passed_over(&self.packages);
        let passed_over = passed_over.map_err(AnswerError::Database)?;
        let version =
            |package: &Package| package.version.clone().filter(|version| !is_none(version));
        let (named, unnamed): (Vec<&Package>, Vec<&Package>) = passed_over
            .into_iter()
            .partition(|package| version(package).is_some());
        let trouble = named.first().map(|package| Trouble::VersionNotCompared {
            package: package.name.clone(),
            version: version(package).unwrap_or_default(),
            path: package.path.clone(),
            more: named.len() as u64 - 1,
        });
        let note = first_of(&unnamed).map(|packages| {
            format!(
                "nothing was compared with what is known against {packages}, because no version is told"
            )
        });
        Ok((trouble, note))
    }

    /// Why nothing can be said about the image, whatever a database has.
    pub(super) fn troubles(
        &self,
        base: Option<&Inventory>,
        advisories: &dyn Advisories,
    ) -> Vec<Trouble> {
        let has_system =
            |inventory: &Inventory| inventory.packages.iter().any(|package| package.of_system);
        let mut troubles = Vec::new();
        if self.packages.is_empty() {
            troubles.push(Trouble::NoPackages);
        }
        let databases = self.traces.databases.iter();
        troubles.extend(databases.filter_map(|database| self.unseen(database)));
        // That of a base whose packages are gone, or that says the same, is the base's.
        let is_of_base = |base: &Inventory| {
            has_system(base) || base.traces.system.as_ref() == self.traces.system.as_ref()
        };
        if let Some(said) = &self.traces.system
            && !self.has_database()
            && !base.is_some_and(is_of_base)
            && !has_system(self)
            && !self.packages.is_empty()
        {
            troubles.push(Trouble::SystemWithoutPackages {
                system: said.to_string(),
            });
        }
        let looks_into_archives = !matches!(self.java, JavaArchives::Nothing(_));
        let passed_over = self.traces.passed_over.iter().chain(self.copies_of(base));
        let passed_over = passed_over.filter(|path| looks_into_archives || !is_java_archive(path));
        troubles.extend(summary(passed_over, |path, more| {
            Trouble::LanguagePackagesUnseen { path, more }
        }));
        let programs = self.traces.go_programs.iter();
        troubles.extend(summary(programs, |path, more| {
            Trouble::GoProgramWithoutModules { path, more }
        }));
        if self.system.is_none() && has_system(self) {
            let said = self.traces.system.as_ref();
            troubles.push(Trouble::SystemNotCovered {
                system: said
                    .map_or_else(|| "a system without a name".to_owned(), System::to_string),
            });
        }
        if let (None, Some(seen), true) = (&self.traces.system, &self.system, has_system(self)) {
            troubles.push(Trouble::SystemMistaken {
                said: None,
                seen: seen.to_string(),
            });
        }
        if let (Some(said), Some(seen)) = (&self.traces.system, &self.system)
            && is_mistaken(said, seen, advisories)
        {
            troubles.push(Trouble::SystemMistaken {
                said: Some(said.to_string()),
                seen: seen.to_string(),
            });
        }
        troubles.extend(self.of_other_branch());
        if let Some(path) = &self.traces.log {
            troubles.push(Trouble::UnreadLog { path: path.clone() });
        }
        match &self.java {
            JavaArchives::Nothing(why) if self.traces.java_archives > 0 => {
                troubles.push(Trouble::NoJavaDatabase {
                    archives: self.traces.java_archives,
                    why: why.clone(),
                });
            }
            _ => {}
        }
        if let Some(Database { built: None, .. }) = self.java_database() {
            troubles.push(Trouble::DatabaseWithoutDate {
                database: DatabaseOf::Java,
            });
        }
        if let Some(base) = base
            && has_system(base)
        {
            // A scanner may list what a layer has replaced with something else.
            if !has_system(self) || base.has_database() && !self.has_database() {
                troubles.push(Trouble::SystemPackagesGone);
            }
            if !advisories.is_same_system(self.traces.system.as_ref(), base.traces.system.as_ref())
            {
                let name = |inventory: &Inventory| {
                    let system = inventory.traces.system.as_ref();
                    system.map_or_else(|| "none".to_owned(), ToString::to_string)
                };
                troubles.push(Trouble::SystemDiffers {
                    image: name(self),
                    base: name(base),
                });
            }
        }
        troubles
    }

    /// The names of files that the image has and its base has not, of which the scanner tells but the base's.
    fn copies_of(&self, base: Option<&Inventory>) -> impl Iterator<Item = &String> {
        let of_base: BaseContents = base.into_iter().collect();
        let layers = base.map_or(usize::MAX, |base| base.layers.len());
        let is_of_base = move |package: &Package| of_base.have(FindingKind::Vulnerability, package);
        let copies = self.traces.copies.iter();
        let copies = copies.filter(move |copy| copy.seen.iter().all(&is_of_base));
        let names = copies.flat_map(|copy| &copy.names);
        names.filter_map(move |(path, layer)| (*layer >= layers).then_some(path))
    }

    /// That the packages are of no release that Alpine says it is.
    fn of_other_branch(&self) -> Option<Trouble> {
        let said = self.traces.system.as_ref()?;
        let branches = &self.traces.branches;
        let release = said.release.as_deref().unwrap_or_default();
        let numbers: Vec<&str> = release.splitn(3, '.').take(2).collect();
        // What will be a release is one of edge until then.
        let own = match &*numbers {
            [major, minor] if !release.contains('_') => format!("v{major}.{minor}"),
            _ => "edge".to_owned(),
        };
        let is_other = said.family == "alpine"
            && !branches.is_empty()
            && !branches.contains(&own)
            && self.packages.iter().any(|package| package.of_system);
        is_other.then(|| Trouble::SystemOfOtherBranch {
            said: said.to_string(),
            branches: branches.iter().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Whether there is a database of the packages of its system.
    fn has_database(&self) -> bool {
        let mut databases = self.traces.databases.iter();
        databases.any(|database| database.content != DatabaseContent::Beside)
    }

    /// What the scanner did not see of a database of packages.
    fn unseen(&self, database: &PackageDatabase) -> Option<Trouble> {
        let prefix = format!("pkg:{}/", database.kind);
        let is_of = |purl: &String| purl.starts_with(&prefix);
        let is_beside = database.content == DatabaseContent::Beside;
        let seen = self.packages.iter();
        let seen = seen.filter(|package| {
            (package.of_system || is_beside) && package.purl.as_ref().is_some_and(is_of)
        });
        let seen: BTreeSet<_> = seen
            .map(|seen| (&*seen.name, seen.version.as_deref().map_or("", epochless)))
            .collect();
        let path = database.path.clone();
        let is_lost = !is_beside && self.system.is_none();
        let packages = match &database.content {
            DatabaseContent::Packages(packages) => packages,
            _ if is_lost || seen.is_empty() => {
                return Some(Trouble::SystemPackagesUnseen { path });
            }
            DatabaseContent::Unreadable => return Some(Trouble::SystemPackagesUnjudged { path }),
            // As far as anybody can tell.
            DatabaseContent::Other | DatabaseContent::Beside => return None,
        };
        let is_unseen =
            |(name, version): &&(String, String)| !seen.contains(&(&**name, epochless(version)));
        let unseen: Vec<_> = packages.iter().filter(is_unseen).collect();
        let (name, version) = unseen.first()?;
        if is_lost || unseen.len() == packages.len() {
            return Some(Trouble::SystemPackagesUnseen { path });
        }
        Some(Trouble::SystemPackagesMissing {
            path,
            package: format!("{name} {version}"),
            more: unseen.len() as u64 - 1,
        })
    }

    /// What is no trouble, and is to be said all the same.
    pub(super) fn notes(&self) -> Vec<String> {
        let archives = self.traces.unknown_archives.iter();
        let looks_into_them = !matches!(self.java, JavaArchives::Nothing(_));
        let unknown = summary(archives.filter(|_| looks_into_them), |path, more| {
            format!(
                "the scanner knows nothing that is in {path}{}",
                and_more(more)
            )
        });
        unknown.into_iter().collect()
    }
}

/// What is to be said of the packages of which a scanner that was asked for licenses tells none.
pub(super) fn unlicensed(list: &PackageList, matches: &[Match]) -> Option<String> {
    let found = matches
        .iter()
        .filter(|found| found.kind == FindingKind::License);
    let licensed: BTreeSet<&str> = found.map(|found| &*found.package).collect();
    let packages = list.packages.iter();
    let others = packages.filter(|(reference, _)| !licensed.contains(&***reference));
    let mut others: Vec<&Package> = others.map(|(_, package)| package).collect();
    others.sort();
    first_of(&others).map(|packages| format!("no license is known of {packages}"))
}

/// Several packages by the first of them, and how many more there are.
fn first_of(packages: &[&Package]) -> Option<String> {
    let package = packages.first()?;
    let path = package.path.iter().map(|path| format!(" in {path}"));
    let more = and_more(packages.len() as u64 - 1);
    Some(format!(
        "{}{}{more}",
        package.name,
        path.collect::<String>()
    ))
}

/// Whether a scanner takes an image that says that it is `said` for another system.
fn is_mistaken(said: &System, seen: &System, advisories: &dyn Advisories) -> bool {
    if said.release.is_some() {
        return !advisories.is_same_system(Some(said), Some(seen));
    }
    // Who names no release is before the first; a number comes from elsewhere.
    let family = |system: &System| System {
        family: system.family.clone(),
        ..System::default()
    };
    let is_number = |release: &String| release.starts_with(|c: char| c.is_ascii_digit());
    seen.release.as_ref().is_some_and(is_number)
        || !advisories.is_same_system(Some(&family(said)), Some(&family(seen)))
}

/// A version without its epoch, which not all scanners and package managers tell (deb-version(7)).
pub(super) fn epochless(version: &str) -> &str {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => version,
    }
}

/// One thing to say of all these files: by the first of them, and how many more there are.
pub fn summary<'a, T>(
    mut files: impl Iterator<Item = &'a String>,
    said: impl FnOnce(String, u64) -> T,
) -> Option<T> {
    let path = files.next()?.clone();
    Some(said(path, files.count() as u64))
}
