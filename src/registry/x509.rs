//! What a certificate says of itself, and whether an authority signed it (RFC 5280, 4.1), where the TLS library looks no
//! further because it is an authority's itself, or trusted.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use rustls::pki_types::{SignatureVerificationAlgorithm, TrustAnchor};

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// `id-kp-serverAuth`, and `anyExtendedKeyUsage`.
const SERVERS: [&[u8]; 2] = [
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
    &[0x55, 0x1d, 0x25, 0x00],
];
/// `id-ce-subjectAltName`, `nameConstraints`, `certificatePolicies`, `policyMappings`, `policyConstraints` and
/// `inhibitAnyPolicy`.
const OTHERS: [&[u8]; 6] = [
    &[0x55, 0x1d, 0x11],
    &[0x55, 0x1d, 0x1e],
    &[0x55, 0x1d, 0x20],
    &[0x55, 0x1d, 0x21],
    &[0x55, 0x1d, 0x24],
    &[0x55, 0x1d, 0x36],
];
/// `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const UTC_TIME: u8 = 0x17;
const BOOLEAN: u8 = 0x01;
const TRUE: &[u8] = &[0x01, 0x01, 0xff];
const SIGNS_CERTIFICATES: u8 = 0x04;

/// Why a certificate that may sign others does not do so now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unfit {
    Expired(DateTime<Utc>),
    NotYet(DateTime<Utc>),
    Extension,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As HTTP has it (RFC 9110, 5.6.7).
        let date = |time: &DateTime<Utc>| time.format("%a, %d %b %Y %H:%M:%S GMT");
        match self {
            Unfit::Expired(time) => write!(f, "expired on {}", date(time)),
            Unfit::NotYet(time) => write!(f, "is not valid before {}", date(time)),
            Unfit::Extension => f.write_str("has a critical extension that is not known here"),
        }
    }
}

/// The parts of a certificate that are looked at.
pub(super) struct Certificate<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    subject: &'a [u8],
    /// Whether it is of the first version, which has no extensions.
    is_first: bool,
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut parts = Der(Der(der).next()?.content);
        let (signed, algorithm, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let is_first = Der(signed.content).next()?.tag != VERSION;
        let mut fields = Der(signed.content).skip_while(|field| field.tag == VERSION);
        // The serial number and the algorithm are before it.
        let issuer = fields.nth(2)?.content;
        let mut validity = Der(fields.next()?.content);
        let subject = fields.next()?.content;
        let extensions = fields.find(|field| field.tag == EXTENSIONS);
        let extensions = extensions.and_then(|field| Der(field.content).next());
        Some(Certificate {
            signed: signed.whole,
            algorithm: algorithm.content,
            signature: bits(&signature)?,
            issuer,
            not_before: time(&validity.next()?)?,
            not_after: time(&validity.next()?)?,
            subject,
            is_first,
            extensions: extensions.map_or(&[], |extensions| extensions.content),
        })
    }

    /// What an extension holds, if the certificate has it.
    fn extension(&self, id: &[u8]) -> Option<&'a [u8]> {
        Der(self.extensions).find_map(|extension| {
            let mut parts = Der(extension.content);
            let has_id = parts.next()?.content == id;
            let value = parts.last()?.content;
            has_id.then_some(Der(value).next()?.content)
        })
    }

    /// Whether it is an authority's.
    pub(super) fn is_authority(&self) -> bool {
        let constraints = self.extension(BASIC_CONSTRAINTS);
        constraints.is_some_and(|constraints| constraints.starts_with(TRUE))
    }

    /// Whether it may sign those of servers: the TLS library asks that of none that is trusted (RFC 5280, 4.2.1.3 and 4.2.1.9).
    /// The first version could not say that it is an authority's, and is taken for one, as in Go.
    pub(super) fn may_sign(&self) -> bool {
        let usage = self.extension(KEY_USAGE);
        // How many bits of its last byte are unused comes first.
        let signs = |bits: &[u8]| {
            bits.get(1)
                .is_some_and(|bits| bits & SIGNS_CERTIFICATES != 0)
        };
        (self.is_first || self.is_authority()) && usage.is_none_or(signs) && self.is_for_servers()
    }

    /// Why it signs nothing, which the TLS library asks of none that is trusted either.
    pub(super) fn unfit(&self, now: DateTime<Utc>) -> Option<Unfit> {
        let known = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE];
        let is_known = |id: &[u8]| known.contains(&id) || OTHERS.contains(&id);
        let is_unknown = |extension: Value| {
            let mut parts = Der(extension.content);
            let id = parts.next().map(|id| id.content);
            let is_critical = parts.next().is_some_and(|part| part.tag == BOOLEAN);
            is_critical && !id.is_some_and(is_known)
        };
        if now > self.not_after {
            Some(Unfit::Expired(self.not_after))
        } else if now < self.not_before {
            Some(Unfit::NotYet(self.not_before))
        } else {
            let has_unknown = Der(self.extensions).any(is_unknown);
            has_unknown.then_some(Unfit::Extension)
        }
    }

    /// Whose it is, in short: its common name, or else the last part of its name.
    pub(super) fn name(&self) -> String {
        let parts = Der(self.subject)
            .flat_map(|set| Der(set.content))
            .map(|part| {
                let mut part = Der(part.content);
                let id = part.next().map(|id| id.content);
                (
                    id == Some(COMMON_NAME),
                    part.next().map(|text| text.content),
                )
            });
        let name = parts.max_by_key(|(is_common, _)| *is_common);
        let name = name.and_then(|(_, name)| name).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// Whether a server may show it.
    pub(super) fn is_for_servers(&self) -> bool {
        let usage = self.extension(EXTENDED_KEY_USAGE);
        usage.is_none_or(|usage| Der(usage).any(|purpose| SERVERS.contains(&purpose.content)))
    }

    /// Whether an authority, which has all names, signed it.
    pub(super) fn is_signed_by(
        &self,
        authority: &TrustAnchor<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let mut key = Der(authority.subject_public_key_info.as_ref());
        let (Some(kind), Some(key)) = (key.next(), key.next().as_ref().and_then(bits)) else {
            return false;
        };
        let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == kind.content
                && (algorithm.verify_signature(key, self.signed, self.signature)).is_ok()
        };
        authority.subject.as_ref() == self.issuer
            && authority.name_constraints.is_none()
            && algorithms.iter().any(verifies)
    }
}

/// A time, of which one kind has two digits of the year (RFC 5280, 4.1.2.5).
fn time(value: &Value) -> Option<DateTime<Utc>> {
    let text = str::from_utf8(value.content).ok()?;
    let century = match value.tag {
        UTC_TIME if text >= "50" => "19",
        UTC_TIME => "20",
        _ => "",
    };
    let text = format!("{century}{text}");
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some(time.and_utc())
}

/// The bytes of a string of bits.
fn bits<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    value.content.strip_prefix(&[0])
}

/// Values in DER, one after the other (X.690, 8.1).
struct Der<'a>(&'a [u8]);

struct Value<'a> {
    tag: u8,
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Iterator for Der<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, content) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (length, content) = rest.split_at_checked(usize::from(first - 0x80))?;
                let add = |sum, byte: &u8| (sum << 8) + usize::from(*byte);
                (length.iter().fold(0, add), content)
            }
            _ => return None,
        };
        let (content, left) = content.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - left.len()];
        self.0 = left;
        Some(Value {
            tag,
            whole,
            content,
        })
    }
}
