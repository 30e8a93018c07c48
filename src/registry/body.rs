//! What an answer brings of a blob: all of it, or a range (RFC 9110, 14).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap};
use reqwest::{Response, StatusCode, Url};

use crate::oci::digest::Digest;

use super::no_answer::Asked;
use super::request::coding;
use super::{NoAnswer, RegistryError, Subject};

/// Whether ranges are of use, as far as is known: of the repository, and of each host that has blobs at URLs of their own.
#[derive(Debug, Default)]
pub(super) struct Ranges(Mutex<HashMap<Option<String>, Arc<AtomicBool>>>);

impl Ranges {
    /// What is known of the repository, or of the host of a URL.
    pub(super) fn of(&self, url: Option<&str>) -> Arc<AtomicBool> {
        let host =
            |url: &str| Url::parse(url).map_or_else(|_| url.to_owned(), |url| authority(&url));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_use = known.entry(url.map(host));
        Arc::clone(of_use.or_insert_with(|| Arc::new(AtomicBool::new(true))))
    }
}

/// The bytes of a blob, or of a part of it, as they come.
#[derive(Debug)]
pub(crate) struct Body {
    range: Range<u64>,
    whole: bool,
    /// Whether it tells the size of all of the blob, which is what it should be.
    tells_size: bool,
    what: Subject,
    host: String,
    response: Response,
    /// Whether ranges of who sends it are of use.
    ranges: Arc<AtomicBool>,
    /// How long who sends it may say nothing.
    patience: Duration,
    /// How it is encoded, if it is: as a blob's own bytes may be, and what was not asked for.
    coding: Option<String>,
}

impl Body {
    /// The answer to a request for a blob of `size` bytes, or for the bytes `wanted` of it.
    pub(super) fn new(
        what: Subject,
        response: Response,
        size: u64,
        wanted: Option<&Range<u64>>,
        ranges: Arc<AtomicBool>,
        patience: Duration,
    ) -> Result<Self, RegistryError> {
        let host = authority(response.url());
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let length = response.content_length();
        let sent = if is_part {
            // It may be shorter than what was asked for; the rest is asked for again.
            let asked = wanted.cloned().unwrap_or(0..size);
            content_range(response.headers())
                .filter(|(sent, _)| sent.start == asked.start && sent.end <= asked.end)
                .filter(|(sent, _)| wanted.is_some() || *sent == asked)
        } else {
            // Some send a part as if it were all; its length tells.
            let is_plain = wanted.is_none() || length.is_some();
            is_plain.then_some((0..size, length))
        };
        let Some((range, total)) = sent else {
            return Err(match wanted {
                Some(_) => RegistryError::Range { what, host },
                None => RegistryError::Part { what, host },
            });
        };
        let left = range.end - range.start;
        let wrong = |said: Option<u64>, right| said.filter(|said| *said != right);
        let wrong_total = wrong(total, size).map(|said| (said, size));
        let wrong_length = wrong(length, left).map(|said| (said, left));
        let coding = coding(&response);
        match wrong_total.or(wrong_length) {
            Some((said, left)) => Err(match coding {
                Some(coding) => RegistryError::Coding { what, host, coding },
                None => RegistryError::Length {
                    what,
                    host,
                    said,
                    left,
                },
            }),
            None => Ok(Body {
                whole: !is_part || wanted.is_none(),
                range,
                tells_size: total.is_some(),
                what,
                host,
                response,
                ranges,
                patience,
                coding,
            }),
        }
    }

    /// What was asked for.
    pub(crate) fn what(&self) -> &Subject {
        &self.what
    }

    /// Who sends it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Which bytes of the blob these are.
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Whether this is all of the blob, asked for or not.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether who sends it has confirmed the size of the blob.
    pub(crate) fn tells_size(&self) -> bool {
        self.tells_size
    }

    /// The next bytes, which begin at `position` in the blob; `None` at the end.
    pub(crate) async fn chunk(&mut self, position: u64) -> Result<Option<Bytes>, RegistryError> {
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|source| RegistryError::Transport {
            what: self.what.clone(),
            host: self.host.clone(),
            why: NoAnswer::new(
                source,
                Asked {
                    answered: true,
                    patience: self.patience,
                    proxy: None,
                    named_by: None,
                    speaks_tls: false,
                },
            ),
        })?;
        let left = self.range.end.saturating_sub(position);
        match chunk {
            Some(bytes) if bytes.len() as u64 > left && !self.whole => {
                self.give_up_ranges();
                Err(RegistryError::Range {
                    what: self.what.clone(),
                    host: self.host.clone(),
                })
            }
            Some(bytes) if bytes.len() as u64 > left => Err(self.fault(RegistryError::Long {
                what: self.what.clone(),
                host: self.host.clone(),
                found: position + bytes.len() as u64,
                expected: self.range.end,
            })),
            None if left > 0 => Err(self.ended_at(position)),
            chunk => Ok(chunk),
        }
    }

    /// Has no range of who sends it be asked for again in this pull.
    pub(crate) fn give_up_ranges(&self) {
        self.ranges.store(false, Ordering::Relaxed);
    }

    /// The error that the body ended too early, at `position` in the blob.
    pub(crate) fn ended_at(&self, position: u64) -> RegistryError {
        self.fault(RegistryError::Short {
            what: self.what.clone(),
            host: self.host.clone(),
            found: position,
            expected: self.range.end,
        })
    }

    /// What is wrong with its length, or how it comes to be.
    fn fault(&self, wrong: RegistryError) -> RegistryError {
        match &self.coding {
            Some(coding) => RegistryError::Coding {
                what: self.what.clone(),
                host: self.host.clone(),
                coding: coding.clone(),
            },
            None => wrong,
        }
    }
}

/// The host, with its port where that is not the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The digest of a manifest that an answer tells ("Pulling manifests").
pub(super) fn told_digest(response: &Response) -> Option<Digest> {
    let digest = response.headers().get("docker-content-digest")?;
    digest.to_str().ok()?.parse().ok()
}

/// The range that a partial answer brings, and the size of all, if it is told (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    // Case does not matter (RFC 9110, 14.1).
    let (unit, value) = value.split_once(' ')?;
    let (range, total) = value.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (unit.eq_ignore_ascii_case("bytes") && first <= last)
        .then_some((first..last.checked_add(1)?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_of_bytes_only() {
        let range = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 5-9/10"), Some((5..10, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5..10, None)));
        assert_eq!(range("Bytes 5-9/10"), Some((5..10, Some(10))));
        for bad in [
            "bytes 9-5/10",
            "bytes */10",
            "items 5-9/10",
            "bytes 5-9",
            "bytes -1-9/10",
            "bytes 0-18446744073709551615/10",
            "bytes 5-9/1180591620717411303424",
            "bytes 5-9/ten",
        ] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
