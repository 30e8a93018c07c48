//! Why a registry did not do what was asked of it, and whether to ask again.

use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::oci::digest::Digest;
use crate::oci::manifest::ManifestError;
use crate::text::shown;

use super::{CredentialError, NoAnswer};

/// The status of an answer (RFC 9110, 15), which shows its number and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpStatus(pub(super) StatusCode);

impl fmt::Display for HttpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a registry did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer, or it broke off.
    #[error("{what}: no answer from {host}: {why}")]
    Transport {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// Why it failed.
        why: NoAnswer,
    },
    /// The answer is an error.
    #[error("{what}: {host} answered {status}{detail}")]
    Status {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The status.
        status: HttpStatus,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// Not allowed, or not without logging in.
    #[error("{what}: {host} refused access ({status}){detail}; {advice}")]
    Access {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// 401 or 403.
        status: HttpStatus,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
        /// What to do.
        advice: String,
    },
    /// Not there.
    #[error(
        "{what}: not found in {host}/{repository}{detail}; check the repository's name, and the tag or digest"
    )]
    NotFound {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The repository.
        repository: String,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
    },
    /// There is nothing to push to.
    #[error(
        "{what}: {host} has no repository {repository}, and does not make it{detail}; check its name, or make it first"
    )]
    NoRepository {
        /// What was pushed.
        what: String,
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
        what: String,
        /// To whom.
        host: String,
        /// 405.
        status: HttpStatus,
        /// What the registry said, with a separator before it, or nothing.
        detail: String,
    },
    /// It is not said where an upload goes (distribution spec, "Pushing blobs").
    #[error("{what}: {host} takes an upload but does not say at which location")]
    NoLocation {
        /// What was pushed.
        what: String,
        /// To whom.
        host: String,
    },
    /// What was to be sent is not to be had.
    #[error("{what}: it ended before its time")]
    Body {
        /// What was pushed.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// An upload stands still.
    #[error("{what}: {host} has taken nothing for {seconds} s")]
    Idle {
        /// What was pushed.
        what: String,
        /// To whom.
        host: String,
        /// For how long.
        seconds: u64,
    },
    /// More bytes than admitted.
    #[error("{what}: {host} sends more than the limit of {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not those of the digest.
    #[error("{what}: what {host} sent has the digest {found}")]
    Digest {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The digest of what came.
        found: Digest,
    },
    /// A partial answer that does not begin where it was asked to.
    #[error("{what}: {host} sent another range than asked for")]
    Range {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
    },
    /// An answer that says that it is longer or shorter than what is asked for.
    #[error("{what}: {host} announces {said} bytes where there should be {left}")]
    Length {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The length that the answer says it has.
        said: u64,
        /// The length of what was asked for.
        left: u64,
    },
    /// A body without an error that has fewer bytes than the blob.
    #[error("{what}: {host} ended the answer after {found} bytes")]
    Short {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// Where in the blob the answer ended.
        found: u64,
    },
    /// A list of referrers that is none.
    #[error("{what}: what {host} sent is not an image index")]
    List {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The next page of a list is not the registry's.
    #[error("{what}: {host} has the next page at {next:?}, which is not there")]
    NextPage {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// Where the next page is said to be.
        next: String,
    },
    /// A list without end.
    #[error("{what}: {host} sends more than {limit} pages, or too many entries")]
    Pages {
        /// What was asked for.
        what: String,
        /// Whom.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// A URL that must not or cannot be fetched.
    #[error("{what}: {url:?} is not an https URL, and plain HTTP was not asked for")]
    Url {
        /// What was asked for.
        what: String,
        /// The URL.
        url: String,
    },
    /// The credentials are not to be had.
    #[error(transparent)]
    Credential(#[from] CredentialError),
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
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up HTTPS")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RegistryError {
    /// Whether it is the range that the registry does not like (RFC 9110, 15.5.17).
    pub(crate) fn refuses_range(&self) -> bool {
        matches!(self, RegistryError::Status { status, .. } if status.0 == StatusCode::RANGE_NOT_SATISFIABLE)
    }

    /// Whether it is the length of what was sent that the registry, or what stands before it, does not like
    /// (RFC 9110, 15.5.14).
    pub(crate) fn refuses_length(&self) -> bool {
        matches!(self, RegistryError::Status { status, .. } if status.0 == StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// Whether the registry answers fewer requests than were made (RFC 6585, 4).
    pub fn limits_rate(&self) -> bool {
        matches!(self, RegistryError::Status { status, .. } if status.0 == StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether another try may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            RegistryError::Transport { why, .. } => !why.is_final(),
            RegistryError::Status {
                status: HttpStatus(status),
                ..
            } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            RegistryError::Range { .. }
            | RegistryError::Length { .. }
            | RegistryError::Short { .. }
            | RegistryError::Idle { .. } => true,
            _ => false,
        }
    }

    /// How long the registry asks to wait before another try.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What an error's body says (distribution spec, "Error Codes"), with a separator before it.
#[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
pub(super) fn error_detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return String::new();
    };
    let text = envelope
        .errors
        .iter()
        .take(3)
        .map(|item| format!("{} {}", item.code, item.message).trim().to_owned())
        .collect::<Vec<_>>()
        .join("; ");
    let text = shown(&text.chars().take(300).collect::<String>());
    // The message goes on after it.
    match text.trim_end_matches('.') {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_a_registry_says_without_control_characters() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway."}]}"#;
        assert_eq!(error_detail(body), ": DENIED no \\u{1b}[31mway");
        assert_eq!(error_detail(b"<html>"), "");
    }
}
