//! Statements of `OpenVEX` 0.2.0 (openvex.dev, "`OpenVEX` Specification"): what somebody says of vulnerabilities in products.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::SecondsFormat;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::json::to_json;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::reference::Repository;
use crate::oci::strict;
use crate::oci::time::Time;

use super::findings::{Finding, FindingKind, Findings};
use super::inventory::Image;
use super::purl::{Purl, is_purl};
use super::verdict::{Outcome, Verdict};

/// The version that is read.
const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

/// The words by which a statement may say why a product is not affected.
pub(super) const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "inline_mitigations_already_exist",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_not_present",
];

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VexError {
    /// It is no JSON of the form.
    #[error("{path} is no document of OpenVEX that can be read", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is of another version.
    #[error("{path} has the @context {found:?}, but what is read is {CONTEXT:?}", path = path.display())]
    Context {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// A statement is of no use.
    #[error("{path}: statement {number} {problem}", path = path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A product has two names that are not of one thing.
    #[error(
        "{path}: statement {number} has a product that is {id} by its @id and {purl} by its identifiers: nobody can tell which is meant",
        path = path.display()
    )]
    Product {
        /// The file.
        path: PathBuf,
        /// Which statement, counted from 1.
        number: usize,
        /// The product's `@id`.
        id: String,
        /// The package URL among its `identifiers`.
        purl: String,
    },
}

/// A document.
#[derive(Clone, Debug)]
pub struct VexDocument {
    statements: Vec<Statement>,
}

/// What is said of a vulnerability.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// The file, and which statement of it.
    pub(super) place: String,
    time: Time,
    written: Written,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@context")]
    context: String,
    timestamp: Time,
    last_updated: Option<Time>,
    statements: Vec<Written>,
}

#[derive(Clone, Debug, Deserialize)]
struct Written {
    vulnerability: Vulnerability,
    timestamp: Option<Time>,
    last_updated: Option<Time>,
    products: Option<Vec<Product>>,
    status: Status,
    justification: Option<String>,
    impact_statement: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Vulnerability {
    name: String,
    aliases: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Product {
    #[serde(rename = "@id")]
    id: Option<String>,
    identifiers: Option<Identifiers>,
    subcomponents: Option<Vec<Component>>,
}

impl Product {
    /// What may be package URLs, of itself and of each of its parts.
    fn names(&self) -> impl Iterator<Item = Names<'_>> {
        let own = Names::of(self.id.as_ref(), self.identifiers.as_ref());
        let parts = self.subcomponents.iter().flatten();
        std::iter::once(own).chain(parts.map(Component::names))
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Component {
    #[serde(rename = "@id")]
    id: Option<String>,
    identifiers: Option<Identifiers>,
}

impl Component {
    fn names(&self) -> Names<'_> {
        Names::of(self.id.as_ref(), self.identifiers.as_ref())
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

/// How a product stands to a vulnerability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does no harm.
    NotAffected,
    /// It may do harm.
    Affected,
    /// It is gone.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

/// What is said of a finding that passes, for the readers of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// How the image stands to it.
    pub status: Status,
    /// Why it is not affected, in one of the words for that.
    pub justification: Option<String>,
    /// The same in other words, or else what was decided.
    pub words: Option<String>,
}

impl Claim {
    /// What an exception says. That somebody accepts a vulnerability makes no image unaffected.
    pub(super) fn of_exception(reason: &str, justification: Option<&str>) -> Self {
        Claim {
            status: match justification {
                Some(_) => Status::NotAffected,
                None => Status::Affected,
            },
            justification: justification.map(str::to_owned),
            words: Some(reason.to_owned()),
        }
    }
}

impl VexDocument {
    /// Reads a document.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self, VexError> {
        let document: Document = strict::read(bytes).map_err(|source| VexError::Json {
            path: path.to_owned(),
            source,
        })?;
        if document.context != CONTEXT {
            return Err(VexError::Context {
                path: path.to_owned(),
                found: document.context,
            });
        }
        let mut statements = Vec::new();
        for (index, written) in document.statements.into_iter().enumerate() {
            let number = index + 1;
            let problem = if written.products.as_ref().is_none_or(Vec::is_empty) {
                Some("names no products")
            } else if written.status == Status::NotAffected && written.why().is_none() {
                Some("says not_affected, and has neither justification nor impact_statement")
            } else if written.is_justified_otherwise() {
                Some("has a justification that is none of OpenVEX's: write it as impact_statement")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(VexError::Statement {
                    path: path.to_owned(),
                    number,
                    problem,
                });
            }
            if let Some((id, purl)) = written.product_of_two() {
                return Err(VexError::Product {
                    path: path.to_owned(),
                    number,
                    id,
                    purl,
                });
            }
            statements.push(Statement {
                place: format!("{}, statement {number}", path.display()),
                // What it does not say itself, it has of the document (OpenVEX 0.2.0, "Inheritance flow").
                time: written
                    .last_updated
                    .or(written.timestamp)
                    .or(document.last_updated)
                    .unwrap_or(document.timestamp),
                written,
            });
        }
        Ok(VexDocument { statements })
    }

    /// Its statements that let something pass.
    pub(super) fn passing(&self) -> impl Iterator<Item = &Statement> {
        let statements = self.statements.iter();
        statements.filter(|statement| statement.lets_pass())
    }
}

/// The statement by which a finding passes: the newest of those about it, unless that says otherwise. Of a finding of several
/// vulnerabilities, that must be so of each.
pub(super) fn passes<'a>(
    documents: &'a [VexDocument],
    finding: &Finding,
    image: &Image,
) -> Option<&'a Statement> {
    let statements = documents.iter().flat_map(|document| &document.statements);
    let about = statements.filter(|statement| statement.is_for(finding, image));
    let about: Vec<&Statement> = about.collect();
    let vulnerabilities = finding.vulnerabilities().into_iter().map(|names| {
        let of_it = about
            .iter()
            .filter(|one| one.names_any(names.iter().copied()));
        // Of several of one time, the last.
        let newest = of_it.max_by_key(|statement| statement.time)?;
        newest.lets_pass().then_some(*newest)
    });
    let all: Option<Vec<_>> = vulnerabilities.collect();
    all?.first().copied()
}

impl Statement {
    /// Whether it is about a finding in an image.
    pub(super) fn is_for(&self, finding: &Finding, image: &Image) -> bool {
        let is_package = |names: Names<'_>| {
            let mut packages = finding.packages();
            packages.any(|package| {
                let package = package.purl.as_deref();
                package.is_some_and(|package| names.all(|purl| covers(purl, package)))
            })
        };
        let is_image = |names: Names<'_>| {
            names.all(|purl| {
                Purl::parse(purl).is_some_and(|purl| {
                    let digest = Some(&image.manifest);
                    purl.name.starts_with("pkg:oci/") && purl.version.as_ref() == digest
                })
            })
        };
        let is_part = |part: &Component| is_package(part.names());
        let is_in = |product: &Product| {
            let names = Names::of(product.id.as_ref(), product.identifiers.as_ref());
            match product.subcomponents.as_deref() {
                None | Some([]) => is_package(names) || is_image(names),
                Some(parts) => is_image(names) && parts.iter().any(is_part),
            }
        };
        self.names_any(finding.ids().map(String::as_str))
            && self.written.products.iter().flatten().any(is_in)
    }

    /// Whether it is about a vulnerability by one of these names.
    fn names_any<'a>(&self, mut ids: impl Iterator<Item = &'a str>) -> bool {
        let Vulnerability { name, aliases } = &self.written.vulnerability;
        ids.any(|id| {
            let mut names = aliases.iter().flatten().chain([name]);
            names.any(|name| name.eq_ignore_ascii_case(id))
        })
    }

    /// The vulnerability.
    pub(super) fn id(&self) -> &str {
        &self.written.vulnerability.name
    }

    /// Why what it is about passes.
    pub(super) fn reason(&self) -> String {
        let status = match self.written.status {
            Status::Fixed => "fixed",
            _ => "not affected",
        };
        match self.written.why() {
            Some(why) => format!("{status}: {why}"),
            None => status.to_owned(),
        }
    }

    /// The same for machines.
    pub(super) fn claim(&self) -> Claim {
        let Written {
            status,
            justification,
            impact_statement,
            ..
        } = &self.written;
        Claim {
            status: *status,
            justification: justification.clone(),
            words: impact_statement.clone(),
        }
    }

    fn lets_pass(&self) -> bool {
        matches!(self.written.status, Status::NotAffected | Status::Fixed)
    }
}

impl Written {
    /// Whether its justification is none that there is.
    fn is_justified_otherwise(&self) -> bool {
        let words = self.justification.as_deref().unwrap_or_default();
        !words.is_empty() && !JUSTIFICATIONS.contains(&words)
    }

    /// Two package URLs of one product, or part of one, that are not of one thing.
    fn product_of_two(&self) -> Option<(String, String)> {
        let products = self.products.iter().flatten();
        let (id, purl) = products.flat_map(Product::names).find_map(Names::of_two)?;
        Some((id.to_owned(), purl.to_owned()))
    }

    fn why(&self) -> Option<String> {
        let parts = [&self.justification, &self.impact_statement];
        let parts = parts.into_iter().flatten();
        let parts: Vec<&str> = parts
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    }
}

/// What may be package URLs of a product: its `@id`, which may be any IRI, and what is among its identifiers (`OpenVEX` 0.2.0,
/// "Product").
#[derive(Clone, Copy)]
struct Names<'a> {
    id: Option<&'a str>,
    purl: Option<&'a str>,
}

impl<'a> Names<'a> {
    fn of(id: Option<&'a String>, identifiers: Option<&'a Identifiers>) -> Self {
        Names {
            id: id.map(String::as_str).filter(|id| is_purl(id)),
            purl: identifiers.and_then(|of| of.purl.as_deref()),
        }
    }

    /// Whether there are package URLs, and this is so of each.
    fn all(self, is_so: impl Fn(&str) -> bool) -> bool {
        let names = [self.id, self.purl].into_iter().flatten();
        (self.id.is_some() || self.purl.is_some()) && names.into_iter().all(is_so)
    }

    /// Both, if no one thing has them.
    fn of_two(self) -> Option<(&'a str, &'a str)> {
        let (id, purl) = self.id.zip(self.purl)?;
        let are_one = match (Purl::parse(id), Purl::parse(purl)) {
            (Some(one), Some(other)) => one.may_be(&other),
            _ => false,
        };
        (!are_one).then_some((id, purl))
    }
}

/// Whether a package is the one that is meant: what is meant may leave out the version and qualifiers.
fn covers(meant: &str, package: &str) -> bool {
    let (Some(meant), Some(package)) = (Purl::parse(meant), Purl::parse(package)) else {
        return false;
    };
    let is_version = meant.version.is_none() || meant.version == package.version;
    let mut qualifiers = meant.qualifiers.iter();
    meant.name == package.name
        && is_version
        // What is said of a part is not said of the whole.
        && (meant.subpath.is_none() || meant.subpath == package.subpath)
        && qualifiers.all(|qualifier| package.qualifiers.contains(qualifier))
}

/// Why no document can be made.
#[derive(Debug, thiserror::Error)]
pub enum NoVex {
    /// Nothing is known of the image.
    #[error("the scan of the image {0} cannot be trusted, so nothing can be said of what is in it")]
    Untrusted(String),
    /// Documents have a time, and no clock is asked.
    #[error(
        "the database of the scan does not say when it was built, so the document would have no date"
    )]
    NoDate,
}

/// The document of what verdicts let pass by exceptions: of vulnerabilities in images that are pushed to a repository, as
/// `author` sees them. Its time is that of the newest database of the findings that they are on.
pub fn document(
    verdicts: &[Verdict],
    findings: &[Findings],
    author: &str,
    repository: &Repository,
) -> Result<Vec<u8>, NoVex> {
    let mut statements: BTreeMap<Said, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for verdict in verdicts {
        let image = &verdict.image;
        if verdict.outcome() == Outcome::Untrusted {
            return Err(NoVex::Untrusted(image.manifest.clone()));
        }
        for excepted in &verdict.excepted {
            let finding = &excepted.finding;
            if finding.kind != FindingKind::Vulnerability {
                continue;
            }
            let said = Said {
                name: finding.id.clone(),
                aliases: finding.aliases.clone(),
                claim: excepted.claim.clone(),
            };
            let products = statements.entry(said).or_default();
            let packages = products.entry(product(&image.manifest, repository));
            let purls = finding
                .packages()
                .filter_map(|package| package.purl.clone());
            packages.or_default().extend(purls);
        }
    }
    let built = findings.iter().filter_map(|scan| scan.database.built).max();
    let built = built.ok_or(NoVex::NoDate)?;
    let statements: Vec<Value> = statements.iter().map(statement).collect();
    let mut document = json!({
        "@context": CONTEXT,
        "author": author,
        "statements": statements,
        "timestamp": built.to_rfc3339_opts(SecondsFormat::Secs, true),
        "version": 1,
    });
    let digest = Digest::of(Algorithm::Sha256, &to_json(&document));
    document["@id"] = format!("https://openvex.dev/docs/public/vex-{}", digest.hex()).into();
    Ok(to_json(&document))
}

/// What is said of a vulnerability.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    name: String,
    aliases: BTreeSet<String>,
    claim: Claim,
}

fn statement((said, products): (&Said, &BTreeMap<String, BTreeSet<String>>)) -> Value {
    let Claim {
        status,
        justification,
        words,
    } = &said.claim;
    let products: Vec<Value> = products
        .iter()
        .map(|(product, packages)| {
            let packages: Vec<Value> = packages.iter().map(|purl| json!({"@id": purl})).collect();
            let mut product = json!({"@id": product});
            if !packages.is_empty() {
                product["subcomponents"] = packages.into();
            }
            product
        })
        .collect();
    let mut vulnerability = json!({"name": said.name});
    if !said.aliases.is_empty() {
        vulnerability["aliases"] = json!(said.aliases);
    }
    let mut statement = Map::new();
    statement.insert("vulnerability".to_owned(), vulnerability);
    statement.insert("products".to_owned(), products.into());
    statement.insert("status".to_owned(), json!(status));
    let words_are = match status {
        Status::Affected => "action_statement",
        _ => "impact_statement",
    };
    for (key, value) in [("justification", justification), (words_are, words)] {
        if let Some(value) = value {
            statement.insert(key.to_owned(), value.as_str().into());
        }
    }
    statement.into()
}

/// The package URL of an image (purl-spec, "oci").
fn product(manifest: &str, repository: &Repository) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let name = repository.path().rsplit('/').next().unwrap_or_default();
    // Dots and dashes stay as they are (RFC 3986, unreserved).
    let kept = |text: &str| {
        encoded(text)
            .replace("%2E", ".")
            .replace("%2D", "-")
            .replace("%5F", "_")
    };
    format!(
        "pkg:oci/{}@{}?repository_url={}",
        kept(&name.to_ascii_lowercase()),
        encoded(manifest),
        kept(&repository.to_string())
    )
}
