//! What becomes of an image by what was found in it and a policy.
//!
//! Nothing here looks at a clock. An exception runs out by the date of the database, so a verdict that is cached stays
//! right, and an exception ends in the change that moves the database.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::oci::descriptor::Descriptor;
use crate::oci::platform::Platform;

use super::Access;
use super::findings::{BaseContents, Finding, FindingKind, Findings, Severity};
use super::inventory::{Database, Image, Inventory, SCHEMA, Scanner};
use super::join::{Joined, Seen, join};
use super::policy::{Exception, Policy, excepting};
use super::trouble::{DatabaseOf, Trouble};
use super::vex::{self, Claim, VexDocument};

/// The images that an image stands on, as each scanner of the image sees them.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    /// What to say to whoever has no test of the nearest.
    pub advice: Option<String>,
    /// Those that have tests of their own.
    pub tested: Vec<Inventory>,
    /// The others.
    pub untested: Vec<Inventory>,
}

/// What a scanner looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedAt {
    /// What people call the scanner.
    pub name: String,
    /// Who listed what there is.
    pub lister: Scanner,
    /// How much there is of each kind.
    pub packages: BTreeMap<String, u64>,
}

/// What becomes of an image. It says no more than what is shown: with another database it is the same, unless that has it say
/// something else, so that no test is run again in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was scanned.
    pub image: Image,
    /// What was looked at, by each scanner.
    pub scans: Vec<LookedAt>,
    /// Why the result cannot be trusted.
    pub troubles: Vec<Doubt>,
    /// Troubles that the policy allows.
    pub allowed: Vec<Doubt>,
    /// What must not be.
    pub failing: Vec<Finding>,
    /// What an exception lets pass.
    pub excepted: Vec<Excepted>,
    /// How many findings a base is tested for.
    pub of_base: usize,
    /// What passes because nobody has fixed it.
    pub unfixed: Vec<Finding>,
    /// What is wrong with exceptions.
    pub faults: Vec<ExceptionFault>,
    /// Exceptions that match nothing.
    pub unused: Vec<ExceptionFault>,
    /// Whether such pass.
    pub unused_exceptions_pass: bool,
    /// What the baseline has and is no longer found.
    pub gone: Vec<ExceptionFault>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// Why the scan of a scanner cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The reason.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// The scanner, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner: Option<String>,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&said_by(self.scanner.as_deref(), &self.trouble))
    }
}

/// Why findings are not those of one image by several scanners.
#[derive(Debug, thiserror::Error)]
pub enum NotTogether {
    /// There are none.
    #[error("there are no findings to judge")]
    None,
    /// They are of two images.
    #[error("the findings of {0} are of another image than those before")]
    OtherImage(String),
    /// A scanner has several.
    #[error("two of the findings are {0}'s: of one image, each scanner has but one")]
    SameScanner(String),
}

/// A finding that passes, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excepted {
    /// The finding.
    pub finding: Finding,
    /// Why it passes.
    pub reason: String,
    /// The same for machines.
    pub claim: Claim,
    /// Where that is written.
    pub place: String,
}

/// An exception that is of no use, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExceptionFault {
    /// Its file and line.
    pub place: String,
    /// The identifier that it is for.
    pub id: String,
    /// What is wrong with it.
    pub problem: String,
}

/// How an image stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing is against it.
    Passed,
    /// There is something that must not be.
    Failed,
    /// Nobody knows.
    Untrusted,
}

impl Verdict {
    /// Judges an image by what each of its scanners found.
    pub fn new(scans: &[Findings], policy: &Policy, bases: &Bases) -> Result<Self, NotTogether> {
        let image = check(scans)?.clone();
        let of_scans: Vec<_> = scans.iter().map(|scan| BasesOf::new(scan, bases)).collect();
        let joined = join(scans).into_iter();
        let found: Vec<(Finding, InBase)> = joined
            .map(|Joined { finding, seen }| (finding, InBase::of(&seen, &of_scans)))
            .collect();
        let looked = scans.iter().map(|scan| LookedAt {
            name: scan.name().to_owned(),
            lister: scan.scanner.clone(),
            packages: scan.looked_at.clone(),
        });
        let mut verdict = Verdict {
            schema: SCHEMA,
            image,
            scans: looked.collect(),
            troubles: Vec::new(),
            allowed: Vec::new(),
            failing: Vec::new(),
            excepted: Vec::new(),
            of_base: 0,
            unfixed: Vec::new(),
            faults: Vec::new(),
            unused: Vec::new(),
            unused_exceptions_pass: policy.unused_exceptions_pass,
            gone: Vec::new(),
            notes: Vec::new(),
        };
        let built = built(scans);
        verdict.judge_scans(scans, policy, bases);
        verdict.judge_exceptions(policy, &found, built);
        verdict.judge_findings(policy, bases, found, built);
        Ok(verdict)
    }

    /// The name of a scanner, if there are several.
    pub(super) fn name_of<'a>(&self, scanner: &'a str) -> Option<&'a str> {
        (self.scans.len() > 1).then_some(scanner)
    }

    /// How the image stands. That a scan cannot be trusted goes before all else.
    pub fn outcome(&self) -> Outcome {
        if !self.troubles.is_empty() {
            Outcome::Untrusted
        } else if self.failing.is_empty() && self.faults.is_empty() {
            Outcome::Passed
        } else {
            Outcome::Failed
        }
    }

    fn judge_scans(&mut self, scans: &[Findings], policy: &Policy, bases: &Bases) {
        let mut all = Vec::new();
        let mut notes = Vec::new();
        for scan in scans {
            let scanner = self.name_of(scan.name());
            let (troubles, said) = judge_scan(scan, policy, bases);
            notes.extend(said.iter().map(|note| said_by(scanner, note)));
            all.extend(troubles.into_iter().map(|trouble| Doubt {
                trouble,
                scanner: scanner.map(str::to_owned),
            }));
        }
        self.notes = notes;
        let is_allowed = |doubt: &Doubt| policy.allow.contains(&doubt.trouble.code());
        (self.allowed, self.troubles) = all.into_iter().partition(is_allowed);
    }

    fn judge_findings(
        &mut self,
        policy: &Policy,
        bases: &Bases,
        found: Vec<(Finding, InBase)>,
        built: Option<NaiveDate>,
    ) {
        let mut in_base = 0;
        let mut others: BTreeMap<FindingKind, u64> = BTreeMap::new();
        for (finding, place) in found {
            if !policy.kinds.contains(&finding.kind) {
                *others.entry(finding.kind).or_default() += 1;
                continue;
            }
            let severity = match finding.severity {
                Severity::Unknown => policy.unknown_as,
                severity => severity,
            };
            if severity < policy.fail_on {
                continue;
            }
            let exceptions = policy.exceptions().chain(policy.baseline());
            let exceptions = exceptions.filter(|exception| !exception.is_over(built));
            if let Some(exception) = excepting(exceptions, &finding) {
                self.excepted.push(Excepted {
                    finding,
                    reason: exception.reason().to_owned(),
                    claim: exception.claim(),
                    place: exception.place.clone(),
                });
            } else if let Some(statement) = vex::passes(&policy.vex, &finding, &self.image) {
                self.excepted.push(Excepted {
                    finding,
                    reason: statement.reason(),
                    claim: statement.claim(),
                    place: statement.place.clone(),
                });
            } else if place == InBase::Tested {
                self.of_base += 1;
            } else if policy.only_fixed
                && finding.kind == FindingKind::Vulnerability
                && finding.fixed.is_none()
            {
                self.unfixed.push(finding);
            } else {
                in_base += u64::from(place == InBase::Untested);
                self.failing.push(finding);
            }
        }
        for (kind, number) in others {
            self.notes.push(format!(
                "of the kind {kind}, {number} were found, and {} lets all of that kind pass",
                policy.name
            ));
        }
        if let (Some(advice), true) = (&bases.advice, in_base > 0) {
            let are = if in_base == 1 { "is" } else { "are" };
            let note = format!("{in_base} of these {are} in the base: {advice}");
            self.notes.push(note);
        }
    }

    fn judge_exceptions(
        &mut self,
        policy: &Policy,
        found: &[(Finding, InBase)],
        built: Option<NaiveDate>,
    ) {
        let found = || found.iter().map(|(finding, _)| finding);
        let mut faults = Vec::new();
        let mut gone = Vec::new();
        let mut unused = Vec::new();
        for exception in policy.exceptions() {
            if let Some(fault) = self.expired(exception, built) {
                faults.push(fault);
            } else if !exception.is_used(found()) {
                unused.push((&exception.place, exception.id()));
            }
        }
        for statement in policy.vex.iter().flat_map(VexDocument::passing) {
            let is_about = |finding| statement.is_for(finding, &self.image);
            if !found().any(is_about) {
                unused.push((&statement.place, statement.id()));
            }
        }
        for accepted in policy.baseline() {
            if let Some(fault) = self.expired(accepted, built) {
                faults.push(fault);
            } else if !accepted.is_used(found()) {
                gone.push(fault(accepted, "nothing that was found is like it"));
            }
        }
        self.faults = faults;
        self.gone = gone;
        let unused = unused.into_iter().map(|(place, id)| ExceptionFault {
            place: place.clone(),
            id: id.to_owned(),
            problem: "nothing that was found is like it: remove it".to_owned(),
        });
        self.unused = unused.collect();
    }

    /// What is wrong with an exception that counts no more.
    fn expired(&self, exception: &Exception, built: Option<NaiveDate>) -> Option<ExceptionFault> {
        if !exception.is_over(built) {
            return None;
        }
        let (the, a) = if self.scans.len() > 1 {
            ("the newest database", "a database")
        } else {
            ("the database", "the database")
        };
        let problem = match (exception.until, built) {
            (Some(until), Some(built)) => format!("it ended on {until}, and {the} is of {built}"),
            _ => format!("it has an end, but {a} does not say when it was built"),
        };
        Some(fault(exception, &problem))
    }
}

/// The day by which exceptions run out: that of the newest database, and of its newest part, so that none counts on because
/// another is older. One without a date could be newer still.
fn built(scans: &[Findings]) -> Option<NaiveDate> {
    let newest = |database: &Database| database.newest.or(database.built);
    let dates: Option<Vec<_>> = scans.iter().map(|scan| newest(&scan.database)).collect();
    Some(dates?.into_iter().max()?.date_naive())
}

/// Whether a finding is of what an image stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum InBase {
    No,
    Untested,
    Tested,
}

/// What is in the images that an image stands on, as one scanner sees it.
struct BasesOf<'a> {
    tested: BaseContents<'a>,
    untested: BaseContents<'a>,
}

impl<'a> BasesOf<'a> {
    fn new(scan: &Findings, bases: &'a Bases) -> Self {
        let own = |all: &'a [Inventory]| {
            let all = all.iter();
            all.filter(|base| base.scanner.name == scan.scanner.name)
                .collect()
        };
        BasesOf {
            tested: own(&bases.tested),
            untested: own(&bases.untested),
        }
    }

    fn have(&self, finding: &Finding) -> InBase {
        if self.tested.have(finding.kind, &finding.package) {
            InBase::Tested
        } else if self.untested.have(finding.kind, &finding.package) {
            InBase::Untested
        } else {
            InBase::No
        }
    }
}

impl InBase {
    /// Where a finding is that several may have: in a base only if it is to all.
    fn of(seen: &[Seen<'_>], bases: &[BasesOf<'_>]) -> Self {
        let places = seen.iter().map(|seen| bases[seen.scan].have(seen.finding));
        places.min().unwrap_or(InBase::No)
    }
}

/// The image that findings are of, which must be one, and each of another scanner.
fn check(scans: &[Findings]) -> Result<&Image, NotTogether> {
    let first = scans.first().ok_or(NotTogether::None)?;
    let mut names = BTreeSet::new();
    for scan in scans {
        if scan.image.manifest != first.image.manifest {
            return Err(NotTogether::OtherImage(scan.name().to_owned()));
        }
        // By the name of who listed packages it is known whose the bases are.
        if !names.insert(&scan.scanner.name) {
            return Err(NotTogether::SameScanner(scan.name().to_owned()));
        }
    }
    Ok(&first.image)
}

/// Why what a scanner says cannot be trusted, and what else is to be said of it.
fn judge_scan(scan: &Findings, policy: &Policy, bases: &Bases) -> (Vec<Trouble>, Vec<String>) {
    let mut troubles = scan.troubles.clone();
    let mut notes = scan.notes.clone();
    let all = bases.tested.iter().chain(&bases.untested);
    let dates = all.filter_map(|base| base.image.created);
    let dates = dates.chain(scan.scanner.created);
    match dates.chain(scan.image.created).max() {
        Some(newest) => troubles.extend(age(scan, newest, policy)),
        None => notes.push(
            "the age of the database was not judged: neither the image nor a base nor the scanner has a date"
                .to_owned(),
        ),
    }
    let network = scan.network;
    let open = (network != Access::None).then_some(Trouble::NetworkNotBlocked { network });
    if policy.offline {
        troubles.extend(open);
    } else {
        notes.extend(open.as_ref().map(Trouble::to_string));
    }
    (troubles, notes)
}

/// What is said of a scan, with the scanner's name if there are several.
pub(super) fn said_by(scanner: Option<&str>, said: impl std::fmt::Display) -> String {
    match scanner {
        Some(scanner) => format!("{scanner}: {said}"),
        None => said.to_string(),
    }
}

fn fault(exception: &Exception, problem: &str) -> ExceptionFault {
    ExceptionFault {
        place: exception.place.clone(),
        id: exception.id().to_owned(),
        problem: problem.to_owned(),
    }
}

/// The databases that are too old for what they are to know about.
fn age(findings: &Findings, newest: DateTime<Utc>, policy: &Policy) -> Vec<Trouble> {
    let newest = newest.date_naive();
    let days = policy.max_database_age;
    let is_old = |built: &NaiveDate| (newest - *built).num_days() > i64::from(days);
    let day = |database: &Database| database.built.map(|built| built.date_naive());
    let of_advisories = day(&findings.database).filter(is_old);
    let of_java = findings.java_database.as_ref().and_then(day).filter(is_old);
    let mut troubles = Vec::new();
    troubles.extend(of_advisories.map(|built| Trouble::DatabaseTooOld {
        database: DatabaseOf::Advisories,
        built,
        newest,
        days,
    }));
    troubles.extend(of_java.map(|built| Trouble::DatabaseTooOld {
        database: DatabaseOf::Java,
        built,
        newest,
        days,
    }));
    troubles
}

/// Brings the verdicts on all images of one target together: an exception may be for one of them alone, so it is unused, or
/// gone, only if it is so in all; where it must not be, it is a fault.
pub fn settle(verdicts: &mut [Verdict]) {
    let in_all = |of: fn(&Verdict) -> &[ExceptionFault]| -> Vec<ExceptionFault> {
        let mut lists = verdicts.iter().map(of);
        let first = lists.next().unwrap_or_default();
        let others: Vec<BTreeSet<_>> = lists.map(BTreeSet::from_iter).collect();
        let is_in_all = |fault: &&ExceptionFault| others.iter().all(|list| list.contains(fault));
        first.iter().filter(is_in_all).cloned().collect()
    };
    let unused = in_all(|verdict| &verdict.unused);
    let gone = in_all(|verdict| &verdict.gone);
    for verdict in verdicts {
        verdict.gone.clone_from(&gone);
        verdict.unused.clone_from(&unused);
        if !verdict.unused_exceptions_pass {
            verdict.faults.append(&mut verdict.unused);
        }
    }
}

/// Those of `images`, the entries of an index, that no verdict is about. Entries for no platform are no images, but what
/// is said of some (attestations).
pub fn without_verdict<'a>(
    images: impl Iterator<Item = &'a Descriptor>,
    verdicts: &[Verdict],
) -> Vec<&'a Descriptor> {
    let judged = verdicts.iter().map(|verdict| &verdict.image);
    let judged: BTreeSet<&str> = judged.map(|image| image.manifest.as_str()).collect();
    let is_image = |entry: &&Descriptor| {
        let platform = entry.platform.as_ref();
        !platform.is_some_and(Platform::is_unknown)
    };
    images
        .filter(is_image)
        .filter(|image| !judged.contains(image.digest.to_string().as_str()))
        .collect()
}
