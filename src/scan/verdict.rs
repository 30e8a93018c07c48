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
use super::inventory::{Database, Inventory, SCHEMA};
use super::policy::{Exception, Policy};
use super::trouble::{DatabaseOf, Trouble};
use super::vex::{self, Claim, VexDocument};

/// The images that an image stands on.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    /// What to say to whoever has no test of the nearest.
    pub advice: Option<String>,
    /// Those that have tests of their own.
    pub tested: Vec<Inventory>,
    /// The others.
    pub untested: Vec<Inventory>,
}

/// What becomes of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was scanned, and with what.
    pub findings: Findings,
    /// Why the result cannot be trusted.
    pub troubles: Vec<Trouble>,
    /// Troubles that the policy allows.
    pub allowed: Vec<Trouble>,
    /// What must not be.
    pub failing: Vec<Finding>,
    /// What an exception lets pass.
    pub excepted: Vec<Excepted>,
    /// What a base is tested for.
    pub of_base: Vec<Finding>,
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
    /// Judges an image by its findings.
    pub fn new(findings: Findings, policy: &Policy, bases: &Bases) -> Self {
        let mut verdict = Verdict {
            schema: SCHEMA,
            troubles: Vec::new(),
            allowed: Vec::new(),
            failing: Vec::new(),
            excepted: Vec::new(),
            of_base: Vec::new(),
            unfixed: Vec::new(),
            faults: Vec::new(),
            unused: Vec::new(),
            unused_exceptions_pass: policy.unused_exceptions_pass,
            gone: Vec::new(),
            notes: findings.notes.clone(),
            findings,
        };
        verdict.judge_scan(policy, bases);
        verdict.judge_findings(policy, bases);
        verdict.judge_exceptions(policy);
        verdict
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

    fn judge_scan(&mut self, policy: &Policy, bases: &Bases) {
        let mut troubles = self.findings.troubles.clone();
        let all = bases.tested.iter().chain(&bases.untested);
        let dates = all.filter_map(|base| base.image.created);
        let dates = dates.chain(self.findings.scanner.created);
        match dates.chain(self.findings.image.created).max() {
            Some(newest) => troubles.extend(age(&self.findings, newest, policy)),
            None => self.notes.push(
                "the age of the database was not judged: neither the image nor a base nor the scanner has a date"
                    .to_owned(),
            ),
        }
        let network = self.findings.network;
        let open = (network != Access::None).then_some(Trouble::NetworkNotBlocked { network });
        if policy.offline {
            troubles.extend(open);
        } else {
            self.notes.extend(open.as_ref().map(Trouble::to_string));
        }
        let is_allowed = |trouble: &Trouble| policy.allow.contains(&trouble.code());
        (self.allowed, self.troubles) = troubles.into_iter().partition(is_allowed);
    }

    fn judge_findings(&mut self, policy: &Policy, bases: &Bases) {
        let tested: BaseContents = bases.tested.iter().collect();
        let untested: BaseContents = bases.untested.iter().collect();
        let mut in_base = 0;
        let mut others: BTreeMap<FindingKind, u64> = BTreeMap::new();
        for finding in &self.findings.findings {
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
            let excepting = policy
                .exceptions()
                .chain(policy.baseline())
                .find(|exception| exception.is_for(finding) && !exception.is_over(&self.findings));
            if let Some(exception) = excepting {
                self.excepted.push(Excepted {
                    finding: finding.clone(),
                    reason: exception.reason().to_owned(),
                    claim: exception.claim(),
                    place: exception.place.clone(),
                });
            } else if let Some(statement) = vex::passes(&policy.vex, finding, &self.findings) {
                self.excepted.push(Excepted {
                    finding: finding.clone(),
                    reason: statement.reason(),
                    claim: statement.claim(),
                    place: statement.place.clone(),
                });
            } else if tested.have(finding.kind, &finding.package) {
                self.of_base.push(finding.clone());
            } else if policy.only_fixed
                && finding.kind == FindingKind::Vulnerability
                && finding.fixed.is_empty()
            {
                self.unfixed.push(finding.clone());
            } else {
                in_base += u64::from(untested.have(finding.kind, &finding.package));
                self.failing.push(finding.clone());
            }
        }
        for (kind, number) in others {
            self.notes.push(format!(
                "of the kind {kind}, {number} were found, and {} lets all of that kind pass",
                policy.name
            ));
        }
        if let (Some(advice), true) = (&bases.advice, in_base > 0) {
            let note = format!("{in_base} of these are in the base: {advice}");
            self.notes.push(note);
        }
    }

    fn judge_exceptions(&mut self, policy: &Policy) {
        let found = &self.findings;
        let mut unused = Vec::new();
        for exception in policy.exceptions() {
            if let Some(fault) = expired(exception, found) {
                self.faults.push(fault);
            } else if !exception.is_used(found) {
                unused.push((&exception.place, exception.id()));
            }
        }
        for statement in policy.vex.iter().flat_map(VexDocument::passing) {
            let mut all = found.findings.iter();
            if !all.any(|finding| statement.is_for(finding, found)) {
                unused.push((&statement.place, statement.id()));
            }
        }
        self.unused = unused
            .into_iter()
            .map(|(place, id)| ExceptionFault {
                place: place.clone(),
                id: id.to_owned(),
                problem: "nothing that was found is like it: remove it".to_owned(),
            })
            .collect();
        for accepted in policy.baseline() {
            if let Some(fault) = expired(accepted, found) {
                self.faults.push(fault);
            } else if !accepted.is_used(found) {
                self.gone
                    .push(fault(accepted, "nothing that was found is like it"));
            }
        }
    }
}

fn fault(exception: &Exception, problem: &str) -> ExceptionFault {
    ExceptionFault {
        place: exception.place.clone(),
        id: exception.id().to_owned(),
        problem: problem.to_owned(),
    }
}

/// What is wrong with an exception that counts no more.
fn expired(exception: &Exception, findings: &Findings) -> Option<ExceptionFault> {
    if !exception.is_over(findings) {
        return None;
    }
    let problem = match (exception.until, findings.database.built) {
        (Some(until), Some(built)) => {
            format!(
                "it ended on {until}, and the database is of {}",
                built.date_naive()
            )
        }
        _ => "it has an end, but the database does not say when it was built".to_owned(),
    };
    Some(fault(exception, &problem))
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
    let judged = verdicts.iter().map(|verdict| &verdict.findings.image);
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
