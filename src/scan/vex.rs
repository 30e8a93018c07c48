//! Statements of `OpenVEX` 0.2.0 (openvex.dev, "`OpenVEX` Specification"): what somebody says of vulnerabilities in products.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::oci::strict;
use crate::oci::time::Time;

use super::findings::{Finding, Findings};

/// The version that is read.
const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

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
    statements: Vec<Written>,
}

#[derive(Clone, Debug, Deserialize)]
struct Written {
    vulnerability: Vulnerability,
    timestamp: Option<Time>,
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

#[derive(Clone, Debug, Deserialize)]
struct Component {
    #[serde(rename = "@id")]
    id: Option<String>,
    identifiers: Option<Identifiers>,
}

#[derive(Clone, Debug, Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    NotAffected,
    Affected,
    Fixed,
    UnderInvestigation,
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
            statements.push(Statement {
                place: format!("{}, statement {number}", path.display()),
                time: written.timestamp.unwrap_or(document.timestamp),
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

/// The statement by which a finding passes: the newest of those about it, unless that says otherwise.
pub(super) fn passes<'a>(
    documents: &'a [VexDocument],
    finding: &Finding,
    findings: &Findings,
) -> Option<&'a Statement> {
    let statements = documents.iter().flat_map(|document| &document.statements);
    let about = statements.filter(|statement| statement.is_for(finding, findings));
    // Of several of one time, the last.
    let newest = about.max_by_key(|statement| statement.time)?;
    newest.lets_pass().then_some(newest)
}

impl Statement {
    /// Whether it is about a finding.
    pub(super) fn is_for(&self, finding: &Finding, findings: &Findings) -> bool {
        let Vulnerability { name, aliases } = &self.written.vulnerability;
        let mut names = aliases.iter().flatten().chain([name]);
        let is_named = names.any(|name| {
            let mut ids = finding.aliases.iter().chain([&finding.id]);
            ids.any(|id| id.eq_ignore_ascii_case(name))
        });
        let is_package = |purl: &str| covers(purl, &finding.package.purl);
        let is_image = |purl: &str| {
            Purl::parse(purl).is_some_and(|purl| {
                let digest = Some(&findings.image.manifest);
                purl.name.starts_with("pkg:oci/") && purl.version.as_ref() == digest
            })
        };
        let is_part =
            |part: &Component| purls(part.id.as_ref(), part.identifiers.as_ref()).any(is_package);
        let is_in = |product: &Product| {
            let mut products = purls(product.id.as_ref(), product.identifiers.as_ref());
            match product.subcomponents.as_deref() {
                None | Some([]) => products.any(|purl| is_package(purl) || is_image(purl)),
                Some(parts) => products.any(is_image) && parts.iter().any(is_part),
            }
        };
        is_named && self.written.products.iter().flatten().any(is_in)
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

    fn lets_pass(&self) -> bool {
        matches!(self.written.status, Status::NotAffected | Status::Fixed)
    }
}

impl Written {
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

/// What may be package URLs of a product.
fn purls<'a>(
    id: Option<&'a String>,
    identifiers: Option<&'a Identifiers>,
) -> impl Iterator<Item = &'a str> {
    let purl = identifiers.and_then(|of| of.purl.as_deref());
    id.map(String::as_str).into_iter().chain(purl)
}

/// A package URL (github.com/package-url/purl-spec), decoded. Scanners do not agree on the case of names.
struct Purl {
    name: String,
    version: Option<String>,
    qualifiers: Vec<(String, String)>,
}

impl Purl {
    fn parse(text: &str) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let text = text.split('#').next()?;
        let (text, qualifiers) = text.split_once('?').unwrap_or((text, ""));
        let name_end = text.rfind('/')?;
        let (name, version) = match text[name_end..].split_once('@') {
            Some((name, version)) => (&text[..name_end + name.len()], Some(decoded(version))),
            None => (text, None),
        };
        if !name.starts_with("pkg:") {
            return None;
        }
        let qualifiers = qualifiers
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        Some(Purl {
            name: decoded(name).to_ascii_lowercase(),
            version: version.filter(|version| !version.is_empty()),
            qualifiers: qualifiers
                .map(|(key, value)| (key.to_ascii_lowercase(), decoded(value)))
                .collect(),
        })
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
        && qualifiers.all(|qualifier| package.qualifiers.contains(qualifier))
}
