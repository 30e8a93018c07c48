//! Why a registry did not do what was asked of it, and whether to ask again.

use std::fmt;
use std::time::Duration;

use oci_client::errors::OciErrorCode;
use reqwest::StatusCode;
use serde::Deserialize as _;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::oci::digest::Digest;
use crate::oci::manifest::ManifestError;
use crate::oci::reference::Registry;
use crate::text::shown;

use super::secrets::Secrets;
use super::shown::with_shown_urls;
use super::{CertificatesError, CredentialError, NoAnswer, Retry, Subject};

/// The status of an answer (RFC 9110, 15), which shows its number and its name, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpStatus(pub(super) StatusCode);

impl HttpStatus {
    /// Whether it is a network on the way that answers, and wants a login (RFC 6585, 6).
    pub fn is_of_network(self) -> bool {
        self.0 == StatusCode::NETWORK_AUTHENTICATION_REQUIRED
    }

    /// Whether it leads elsewhere, though as an error it does not say where.
    pub fn is_redirection(self) -> bool {
        self.0.is_redirection()
    }
}

impl fmt::Display for HttpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.canonical_reason() {
            Some(_) => self.0.fmt(f),
            None => self.0.as_str().fmt(f),
        }
    }
}

/// Why a registry did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer, or it broke off.
    #[error(
        "{what}: {}: {why}",
        if .why.has_begun() { format!("the answer of {host} breaks off") } else { format!("no answer from {host}") }
    )]
    Transport {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// Why it failed.
        why: NoAnswer,
    },
    /// The answer is an error.
    #[error("{what}: {host} answered {status}{detail}")]
    Status {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// The status.
        status: HttpStatus,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// Whether to ask again.
        retry: Retry,
    },
    /// A proxy refuses what is not encrypted, or passes on that somebody behind it does.
    #[error("{what}: {way} answered {status}{detail}")]
    Proxy {
        /// What was asked for.
        what: Subject,
        /// Whom, and through which proxy.
        way: String,
        /// The status.
        status: HttpStatus,
        /// What the proxy said, with a separator before it, or nothing.
        detail: String,
        /// Whether to ask again.
        retry: Retry,
    },
    /// What is not encrypted is not understood, where the user has it so: who answers says that TLS is spoken there.
    #[error("{what}: {host} answered {status}{detail}")]
    Plain {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// 400.
        status: HttpStatus,
        /// What was said, with a separator before it, or nothing.
        detail: String,
    },
    /// Not allowed, or not without logging in.
    #[error("{what}: {host} refused access ({status}){detail}; {advice}")]
    Access {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// 401 or 403.
        status: HttpStatus,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// What to do.
        advice: String,
    },
    /// Not without logging in, where nobody is shown a login: another server has what the registry was asked for.
    #[error(
        "{what}: {from} redirects {way}, which refused access ({status}){detail}; no login is shown where a redirect leads: {advice}",
        way = if from == to { format!("elsewhere and back to {to}") } else { format!("to {to}") },
        advice = if from == to { "who runs that host has to mend it" } else { "name the image by the registry that it leads to" },
    )]
    AccessElsewhere {
        /// What was asked for.
        what: Subject,
        /// The registry, with the scheme.
        from: String,
        /// Where it leads to, with the scheme.
        to: String,
        /// 401.
        status: HttpStatus,
        /// What was said there, with a separator before it, or nothing.
        detail: String,
    },
    /// Not there.
    #[error(
        "{what}: not found in {host}/{repository}{detail}; {advice}",
        advice = .what.advice_where_missing()
    )]
    NotFound {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// The repository.
        repository: String,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// Whether it may be the repository that is not there: nothing else is said to be missing.
        may_be_repository: bool,
    },
    /// There is nothing to push to.
    #[error(
        "{what}: {host} has no repository {repository}, and does not make it{detail}; check its name, or make it first"
    )]
    NoRepository {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
        /// The repository.
        repository: String,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
    },
    /// Pushes are not taken at all.
    #[error("{what}: {host} takes no pushes ({status}){detail}; it may be a mirror, or read-only")]
    ReadOnly {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
        /// 405.
        status: HttpStatus,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
    },
    /// An upload that was begun is not known any more, be it that it took too long, or that another server is asked.
    #[error("{what}: {host} does not know the upload any more{detail}")]
    UploadGone {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
    },
    /// It is not said where an upload goes (distribution spec, "Pushing blobs").
    #[error("{what}: {host} takes an upload but does not say at which location")]
    NoLocation {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
    },
    /// An upload, a list or a login goes on where everybody may listen, as what takes TLS away before a registry makes it
    /// say.
    #[error(
        "{what}: {host} has it go on at {url:?}, which is no https URL: what stands before the registry must tell it that it is reached by https (X-Forwarded-Proto)"
    )]
    Location {
        /// What was pushed or asked for.
        what: Subject,
        /// Whom, who named that.
        host: String,
        /// Where it goes on.
        url: String,
    },
    /// A push is answered well, and not as who takes one does (distribution spec, "Push"), such as by the page of a network.
    #[error("{what}: {host} answered {status}, which does not say that it has taken it")]
    NotTaken {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
        /// The status.
        status: HttpStatus,
    },
    /// What was taken is not what was sent.
    #[error("{what}: {host} has taken it as {found}")]
    Changed {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
        /// The digest of what it has now.
        found: Digest,
    },
    /// What was to be sent is not to be had.
    #[error("{what}: it ended before its time")]
    Body {
        /// What was pushed.
        what: Subject,
    },
    /// An upload stands still.
    #[error("{what}: {host} has taken nothing for {seconds} s")]
    Idle {
        /// What was pushed.
        what: Subject,
        /// To whom.
        host: String,
        /// For how long.
        seconds: u64,
    },
    /// More bytes than admitted.
    #[error("{what}: {host} sends more than the limit of {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// An answer that goes on and on, though it is small.
    #[error("{what}: the answer of {host} has not ended after {seconds} s")]
    Slow {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// After how long.
        seconds: u64,
    },
    /// The bytes are not those of the digest.
    #[error("{what}: what {host} sent has the digest {found}")]
    Digest {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// The digest of what came.
        found: Digest,
    },
    /// The bytes are not those of the digest that comes with them.
    #[error(
        "{what}: what {way} sent has the digest {found}, and not {told}, as its Docker-Content-Digest says"
    )]
    Told {
        /// What was asked for.
        what: Subject,
        /// Who answered, and through which proxy if that may have.
        way: String,
        /// The digest of what came.
        found: Digest,
        /// The one that comes with it.
        told: Digest,
    },
    /// A good answer that is not the one to the request (RFC 9110, 15.3.4).
    #[error("{what}: {way} answered {status}, which is what a proxy has made of an answer")]
    Transformed {
        /// What was asked for.
        what: Subject,
        /// Who answered, and through which proxy if that may have.
        way: String,
        /// 203.
        status: HttpStatus,
    },
    /// What came is no manifest, such as the page of a network where one has to log in first.
    #[error("{what}: what {host} sent {fault}")]
    NoObject {
        /// What was asked for.
        what: Subject,
        /// Who answered.
        host: String,
        /// What is wrong with it.
        fault: NoObject,
    },
    /// What came is compressed or so (RFC 9110, 8.4.1), and not in a way that can be undone here.
    #[error("{what}: what {host} sent is encoded ({coding}), which was not asked for")]
    Coding {
        /// What was asked for.
        what: Subject,
        /// Who answered.
        host: String,
        /// How it is encoded.
        coding: String,
    },
    /// What came is compressed, and cannot be decompressed.
    #[error(
        "{what}: what {host} sent is no whole {coding}, as its Content-Encoding says: it is cut or damaged"
    )]
    Damaged {
        /// What was asked for.
        what: Subject,
        /// Who answered.
        host: String,
        /// How it is encoded.
        coding: String,
    },
    /// A partial answer that does not begin where it was asked to.
    #[error("{what}: {host} sent another range than asked for")]
    Range {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
    },
    /// A partial answer where no part was asked for.
    #[error("{what}: {host} sent a part (206) where all was asked for")]
    Part {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
    },
    /// An answer that says that it is longer or shorter than what is asked for.
    #[error(
        "{what}: {host} announces {said} bytes where there should be {left}, by the size that the manifest says"
    )]
    Length {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// The length that the answer says it has.
        said: u64,
        /// The length of what was asked for.
        left: u64,
    },
    /// A body without an error that has fewer bytes than the blob.
    #[error(
        "{what}: {host} ended the answer after {found} bytes where there should be {expected}, by the size that the manifest says"
    )]
    Short {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// Where in the blob the answer ended.
        found: u64,
        /// Where it should have ended.
        expected: u64,
    },
    /// A body that goes on where the blob should have ended.
    #[error(
        "{what}: {host} sends at least {found} bytes where there should be {expected}, by the size that the manifest says"
    )]
    Long {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// How many bytes have come, or more.
        found: u64,
        /// Where it should have ended.
        expected: u64,
    },
    /// A list of referrers that is none.
    #[error("{what}: what {host} sent is not an image index")]
    List {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The next page of a list is not the registry's.
    #[error("{what}: {host} has the next page at {next:?}, which is not there")]
    NextPage {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// Where the next page is said to be.
        next: String,
    },
    /// A list whose pages lead round.
    #[error("{what}: {host} has the next page at {next:?}, which came before")]
    PageAgain {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// Where the next page is said to be.
        next: String,
    },
    /// A list without end.
    #[error("{what}: {host} sends more than {pages} pages, or {entries} entries")]
    Pages {
        /// What was asked for.
        what: Subject,
        /// Whom.
        host: String,
        /// The limit of pages.
        pages: usize,
        /// The limit of entries of all pages.
        entries: usize,
    },
    /// A redirect to where everybody may listen.
    #[error("{what}: {host} redirects from https to http: it is not followed")]
    Unencrypted {
        /// What was asked for.
        what: Subject,
        /// Who redirects.
        host: String,
    },
    /// Redirects without end.
    #[error("{what}: {way} redirects more than {limit} times")]
    Redirects {
        /// What was asked for.
        what: Subject,
        /// Whom, and through which proxy if that may have answered.
        way: String,
        /// The limit.
        limit: usize,
    },
    /// A URL that must not or cannot be fetched.
    #[error("{what}: {url:?} is not an https URL, and plain HTTP was not asked for")]
    Url {
        /// What was asked for.
        what: Subject,
        /// The URL.
        url: String,
    },
    /// What is named as a URL is none that can be asked.
    #[error("{what}: {by} names {url:?}, which is no http or https URL of a host")]
    NoUrl {
        /// What was asked for, or pushed.
        what: Subject,
        /// Who names it, in words.
        by: String,
        /// The URL, as it may be shown.
        url: String,
    },
    /// A URL that leads into this machine or its cloud, where nobody but the user may lead to.
    #[error(
        "{what}: {url:?} leads to an address of this machine or its link, where {registry} is not: it is not followed"
    )]
    Local {
        /// What was asked for.
        what: Subject,
        /// The URL.
        url: String,
        /// The registry that named the URL.
        registry: String,
    },
    /// The credentials are not to be had.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A token service is named that cannot be asked.
    #[error(
        "{what}: {host} names a token service that cannot be asked: {realm:?} is no http or https URL of a host, or has a login in it"
    )]
    Realm {
        /// What was asked for.
        what: Subject,
        /// The registry.
        host: String,
        /// What it says, as it may be shown.
        realm: String,
    },
    /// The token service gave no token.
    #[error("{host}: cannot get a token for {repository}; {advice}")]
    Token {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What to do.
        advice: String,
        /// Why it failed.
        source: Box<TokenError>,
    },
    /// The certificates for a registry are of no use.
    #[error("the certificates for {0} cannot be used")]
    Certificates(Registry, #[source] CertificatesError),
    /// The HTTP client cannot be made.
    #[error("cannot set up HTTPS")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RegistryError {
    /// Whether an answer without a range may be of use where this one is not (RFC 9110, 14): it may be the
    /// range that is not liked, or not understood.
    pub(crate) fn may_be_about_range(&self) -> bool {
        match self {
            RegistryError::Range { .. }
            | RegistryError::Length { .. }
            | RegistryError::Coding { .. }
            | RegistryError::Access { .. }
            | RegistryError::AccessElsewhere { .. }
            | RegistryError::NotFound { .. } => true,
            RegistryError::Status { retry, .. } => *retry == Retry::Never,
            _ => false,
        }
    }

    /// Whether it is the length of what was sent that the registry, or what stands before it, does not like
    /// (RFC 9110, 15.5.14).
    pub(crate) fn refuses_length(&self) -> bool {
        matches!(self, RegistryError::Status { status, .. } if status.0 == StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// Whether who asks may not have it done, or does not show who is asking as the registry wants it.
    pub(crate) fn refuses_access(&self) -> bool {
        matches!(self, RegistryError::Access { .. })
    }

    /// Whether the registry answers fewer requests than were made (RFC 6585, 4).
    pub fn limits_rate(&self) -> bool {
        matches!(self, RegistryError::Status { status, .. } if status.0 == StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether another try may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        self.retry() != Retry::Never
    }

    /// Whether nobody was there to answer at all.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            RegistryError::Transport { why, .. } => why.is_unreachable(),
            RegistryError::Proxy { .. } => true,
            _ => false,
        }
    }

    /// Whether nobody said anything, not even that nobody is there.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, RegistryError::Transport { why, .. } if why.is_silent())
    }

    /// How long somebody may say nothing who says nothing, or too little, now.
    pub(super) fn silence(&self) -> Option<Duration> {
        match self {
            RegistryError::Transport { why, .. } => why.silence(),
            RegistryError::Slow { seconds, .. } | RegistryError::Idle { seconds, .. } => {
                Some(Duration::from_secs(*seconds))
            }
            _ => None,
        }
    }

    /// Whether, and when, another try may succeed.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            RegistryError::Transport { why, .. } if !why.is_final() => Retry::Backoff,
            RegistryError::Status { retry, .. } | RegistryError::Proxy { retry, .. } => *retry,
            RegistryError::Range { .. }
            | RegistryError::Length { .. }
            | RegistryError::Short { .. }
            | RegistryError::Slow { .. }
            | RegistryError::UploadGone { .. }
            | RegistryError::Idle { .. } => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

/// Why a token service gave no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It refused.
    #[error("the token service {host} answered {status}{detail}")]
    Refused {
        /// The token service.
        host: String,
        /// The status.
        status: HttpStatus,
        /// What it said, with a separator before it, or nothing.
        detail: String,
    },
    /// It sends elsewhere.
    #[error("the token service {host} redirects to {location:?}, where the login is not shown")]
    Redirect {
        /// The token service.
        host: String,
        /// Where it redirects to, with the scheme.
        location: String,
    },
    /// It sends on and on.
    #[error("the token service {host} redirects more than {limit} times")]
    Redirects {
        /// The token service.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The answer has none.
    #[error(
        "what the token service {0} sent has neither a \"token\" nor an \"access_token\" that can be shown"
    )]
    Missing(String),
    /// The answer is none.
    #[error("what the token service {host} sent {fault}")]
    NoObject {
        /// The token service.
        host: String,
        /// What is wrong with it.
        fault: NoObject,
    },
}

impl TokenError {
    /// Whether another login, or one at all, may mend it (RFC 6749, 5.2).
    pub(super) fn is_about_login(&self) -> bool {
        let TokenError::Refused { status, .. } = self else {
            return false;
        };
        matches!(
            status.0,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
    }
}

/// Why a body is no JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoObject {
    /// It is a page, or whatever else: what is told of that, with a separator before it, or nothing.
    #[error("is no JSON{0}")]
    NoJson(String),
    /// It begins with a byte order mark.
    #[error("begins with a byte order mark, which JSON does not have (RFC 8259, 8.1)")]
    Mark,
    /// It is an array, a string or so.
    #[error("is JSON, but no object")]
    Other,
    /// Its end is missing, though nothing says so.
    #[error("is JSON that ends early, after {0} bytes")]
    Short(usize),
    /// It is one up to a place.
    #[error("is not valid JSON: see line {line}, column {column}")]
    Broken {
        /// The line of what is wrong.
        line: usize,
        /// The column in it.
        column: usize,
    },
}

impl NoObject {
    /// What is wrong with a body, if it is no JSON object.
    #[expect(clippy::disallowed_methods, reason = "it looks for an object alone")]
    pub(super) fn of(body: &[u8], secrets: &Secrets) -> Option<Self> {
        let begins = body.trim_ascii_start().starts_with(b"{");
        if body.starts_with("\u{feff}".as_bytes()) {
            return Some(NoObject::Mark);
        }
        match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(IgnoredAny) if begins => None,
            Ok(IgnoredAny) => Some(NoObject::Other),
            Err(error) if begins && error.is_eof() => Some(NoObject::Short(body.len())),
            Err(error) if begins => Some(NoObject::Broken {
                line: error.line(),
                column: error.column(),
            }),
            Err(_) => Some(NoObject::NoJson(ErrorBody::of(body, secrets).detail)),
        }
    }

    /// What is wrong with an object that cannot be read, such as a text that is no UTF-8.
    pub(super) fn unread(body: &[u8], error: &serde_json::Error) -> Self {
        NoObject::of(body, &Secrets::default()).unwrap_or(NoObject::Broken {
            line: error.line(),
            column: error.column(),
        })
    }
}

/// How servers say, in a page or a line, that they were spoken to in clear where TLS is spoken: Go's and nginx, Apache
/// and Tomcat.
const WANTS_TLS: [&str; 4] = [
    "to an HTTPS server",
    "to HTTPS port",
    "to an SSL-enabled server port",
    "host and port requires TLS",
];

/// The longest text of an error's body that is shown, in characters.
const MAX_DETAIL: usize = 300;
/// How many of its errors are.
const MAX_ERRORS: usize = 3;

/// What the body of an answer that is an error says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    /// In the words of the distribution spec ("Error Codes").
    pub(super) codes: Vec<OciErrorCode>,
    /// For people, with a separator before it, or nothing.
    pub(super) detail: String,
}

impl ErrorBody {
    /// Whether it says that TLS is spoken where it comes from.
    pub(super) fn wants_tls(&self) -> bool {
        WANTS_TLS.iter().any(|words| self.detail.contains(words))
    }

    /// Of a body in any form, without the secrets of what was asked.
    #[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
    pub(super) fn of(body: &[u8], secrets: &Secrets) -> Self {
        match serde_json::from_slice(body) {
            Ok(said) => Self::of_json(&said, secrets),
            Err(_) => ErrorBody {
                codes: Vec::new(),
                detail: detail(&text_of_page(body, secrets)),
            },
        }
    }

    /// As [`ErrorBody::of`], of what is known to be for people alone: the texts of an object that is an error.
    #[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
    pub(super) fn of_object(body: &[u8], secrets: &Secrets) -> Self {
        match serde_json::from_slice(body) {
            Ok(said @ Value::Object(_)) => Self::of_json(&said, secrets),
            _ => ErrorBody::default(),
        }
    }

    fn of_json(said: &Value, secrets: &Secrets) -> Self {
        let errors = member(said, "errors").and_then(Value::as_array);
        let codes = errors.into_iter().flatten().filter_map(|error| {
            let code = member(error, "code")?;
            OciErrorCode::deserialize(code).ok()
        });
        let words = match errors {
            Some(errors) if !errors.is_empty() => words_of_all(errors),
            _ => words_of(said),
        };
        ErrorBody {
            codes: codes.collect(),
            detail: detail(&secrets.hide(words.unwrap_or_default())),
        }
    }
}

/// A member of an object, whose name some write in capitals.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let named =
        |(key, value): (&String, &'a Value)| key.eq_ignore_ascii_case(name).then_some(value);
    value.as_object()?.iter().find_map(named)
}

/// What an error says for people: its code, and the first text under one of the keys that are in use.
fn words_of(error: &Value) -> Option<String> {
    const KEYS: [&str; 5] = ["error_description", "message", "details", "detail", "error"];
    match error {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(errors) => words_of_all(errors),
        Value::Object(_) => {
            let code = member(error, "code").and_then(Value::as_str);
            let text = KEYS.iter().find_map(|key| words_of(member(error, key)?));
            let words: Vec<_> = code.into_iter().chain(text.as_deref()).collect();
            Some(words.join(" ")).filter(|words| !words.is_empty())
        }
        _ => None,
    }
}

fn words_of_all(errors: &[Value]) -> Option<String> {
    let words: Vec<_> = errors
        .iter()
        .filter_map(words_of)
        .take(MAX_ERRORS)
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// As much of a text as a message has room for, with a separator before it.
fn detail(text: &str) -> String {
    let text = with_shown_urls(text);
    let text = shown(&text.chars().take(MAX_DETAIL).collect::<String>());
    // The message goes on after it.
    match text.trim_end_matches('.') {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// The elements of a page whose text nobody is shown.
const UNREAD: [&str; 2] = ["script", "style"];

/// What a person would read of a page.
fn text_of_page(body: &[u8], secrets: &Secrets) -> String {
    // Text may be in any encoding, most of which are alike in most letters.
    if body.contains(&0) {
        return String::new();
    }
    // A secret may have what looks like a tag.
    let text = secrets.hide(String::from_utf8_lossy(body));
    let mut parts = text.split('<');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    let parts: Vec<_> = parts
        .map(|part| part.split_once('>').unwrap_or((part, "")))
        .collect();
    let ends = |tag: &str, element: &str| {
        let name = tag.strip_prefix('/').map(str::trim_end);
        name.is_some_and(|name| name.eq_ignore_ascii_case(element))
    };
    // What has no end hides no more than what follows it at once, or it would be the rest of the page.
    let last_ends = UNREAD.map(|element| parts.iter().rposition(|(tag, _)| ends(tag, element)));
    let mut unread = None;
    for (at, (tag, text)) in parts.iter().enumerate() {
        let name = tag.split(char::is_whitespace).next().unwrap_or_default();
        let begun = UNREAD
            .iter()
            .position(|element| name.eq_ignore_ascii_case(element));
        unread = match unread {
            None => begun.filter(|element| last_ends[*element] > Some(at)),
            Some(element) => Some(element).filter(|element| !ends(tag, UNREAD[*element])),
        };
        if unread.is_none() && begun.is_none() {
            plain.push(' ');
            plain.push_str(text);
        }
    }
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &[u8]) -> ErrorBody {
        ErrorBody::of(body, &Secrets::default())
    }

    #[test]
    fn shows_what_a_registry_says_without_control_characters() {
        for (body, told) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway."}]}"#,
                ": DENIED no \\u{1b}[31mway",
            ),
            (
                "<html><head><title>403 Forbidden</title></head>\r\n<body>no\x1b[2J way</body></html>",
                ": 403 Forbidden no\\u{1b}[2J way",
            ),
            ("<html>", ""),
            (
                "<STYLE media=all>a > b {c: d}</STYLE >no<script>if (a<b) {1>0}</script> way",
                ": no way",
            ),
            ("<style>a {b: c}<h1>no</h1> way", ": no way"),
            ("no<script>if (a<b) {1>0}<p>way<style>x", ": no 0} way"),
            ("<style>a</style>no<style>b<b>way", ": no way"),
            (
                r#"{"details":"incorrect username or password"}"#,
                ": incorrect username or password",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":null}]}"#,
                ": DENIED",
            ),
            (r#"{"errors":[{"code":7,"message":"busy"}]}"#, ": busy"),
            (r#"{"errors":[7,{"code":"A"},{"code":"B"}]}"#, ": A; B"),
            (r#"{"errors":null,"message":"no"}"#, ": no"),
            (r#"{"errors":[]}"#, ""),
            (
                r#"{"error":{"code":403,"message":"Permission denied"}}"#,
                ": Permission denied",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"","detail":"quota"}]}"#,
                ": DENIED quota",
            ),
            (
                r#"{"error_description":"","message":"not here"}"#,
                ": not here",
            ),
            (r#"{"Errors":[{"Code":"A","Message":"b"}]}"#, ": A b"),
            (r#"["no","way"]"#, ": no; way"),
            ("[1]", ""),
        ] {
            assert_eq!(said(body.as_bytes()).detail, told, "{body}");
        }
        let latin = b"<h1>Zugriff verweigert</h1> f\xfcr G\xe4ste";
        let told = said(latin).detail;
        assert!(told.starts_with(": Zugriff verweigert f"), "{told}");
        assert_eq!(said(b"\x89PNG\0\xff<b>x").detail, "");
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":null},{"code":"X"}]}"#;
        let codes = said(body).codes;
        let other = OciErrorCode::Other("X".to_owned());
        assert_eq!(codes, [OciErrorCode::NameUnknown, other]);
    }

    #[test]
    fn what_is_no_object_is_told_apart() {
        let fault = |body: &str| {
            NoObject::of(body.as_bytes(), &Secrets::default()).map(|fault| fault.to_string())
        };
        assert_eq!(fault(" {\"a\": [1]}\n"), None);
        for (body, told) in [
            ("", "is no JSON"),
            ("<b>log in</b>", "is no JSON: log in"),
            ("[1, 2]", "is JSON, but no object"),
            ("\u{feff}{}", "begins with a byte order mark"),
            ("{\"a\": [1", "is JSON that ends early, after 8 bytes"),
            ("{\"a\":\n x}", "is not valid JSON: see line 2, column 2"),
        ] {
            let fault = fault(body).unwrap();
            assert!(fault.starts_with(told), "{body}: {fault}");
        }
    }
}
