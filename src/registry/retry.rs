//! When to try again, and how long to wait before.

use std::time::{Duration, Instant, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap};

use crate::progress::{BlobReporter, BlobState};

use super::RegistryError;

/// Tries of one request, the first included.
const MAX_ATTEMPTS: u32 = 8;
/// Tries of a request where nobody is there to answer: a name that does not exist, a port at which nobody
/// listens. They take less than two seconds.
const MAX_UNREACHABLE: u32 = 4;
/// Tries of a request where nobody says anything, which takes all the time that there is for a connection.
const MAX_SILENT: u32 = 2;
/// From the first failure in a row to the last try.
const MAX_TOTAL: Duration = Duration::from_secs(5 * 60);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Whether another try may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would end in the same way.
    Never,
    /// After a while.
    Backoff,
    /// After the time that the server asks for, where that fits into the bounds.
    After(Duration),
}

impl Retry {
    /// Whether an answer that is an error may be another one later.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let passes = match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
            // What it cannot do now, or has no room for, it cannot do later.
            StatusCode::NOT_IMPLEMENTED
            | StatusCode::HTTP_VERSION_NOT_SUPPORTED
            | StatusCode::VARIANT_ALSO_NEGOTIATES
            | StatusCode::INSUFFICIENT_STORAGE
            | StatusCode::LOOP_DETECTED
            | StatusCode::NOT_EXTENDED
            | StatusCode::NETWORK_AUTHENTICATION_REQUIRED => false,
            status => status.is_server_error(),
        };
        if !passes {
            return Retry::Never;
        }
        let after = headers.get(header::RETRY_AFTER);
        after
            .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()))
            .map_or(Retry::Backoff, Retry::After)
    }
}

/// Tries of one request that fails so.
fn tries(error: &RegistryError) -> u32 {
    if error.is_silent() {
        MAX_SILENT
    } else if error.is_unreachable() {
        MAX_UNREACHABLE
    } else {
        MAX_ATTEMPTS
    }
}

/// The same where there are others to ask.
pub(super) fn tries_of_many(error: &RegistryError) -> u32 {
    tries(error).min(MAX_UNREACHABLE)
}

/// Exponential delays with jitter, bounded in number and in total time.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    since: Instant,
    /// When the first failure was, be it that nobody was waited for.
    first: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            failures: 0,
            since: Instant::now(),
            first: None,
        }
    }
}

impl Backoff {
    /// Counts a failure; the time to wait before the next try, or `None` to give up.
    pub(super) fn after_failure(&mut self, retry: Retry, max_attempts: u32) -> Option<Duration> {
        if retry == Retry::Never {
            return None;
        }
        if self.failures == 0 {
            self.since = Instant::now();
        }
        self.failures += 1;
        if self.failures >= max_attempts {
            return None;
        }
        let full = (FIRST_DELAY * 2_u32.pow(self.failures - 1)).min(MAX_DELAY);
        let delay = match retry {
            Retry::After(delay) => delay,
            _ => full.mul_f64(0.5 + 0.5 * fastrand::f64()),
        };
        (self.since.elapsed().saturating_add(delay) <= MAX_TOTAL).then_some(delay)
    }

    /// Notes a failure after which others are asked at once. Whether there is time for them.
    pub(crate) fn has_time(&mut self) -> bool {
        self.first.get_or_insert_with(Instant::now).elapsed() <= MAX_TOTAL
    }

    /// Waits after a failure until it is time for the next try, or gives the error back when there should be
    /// none.
    pub(crate) async fn wait_after(
        &mut self,
        error: RegistryError,
        progress: &dyn BlobReporter,
    ) -> Result<(), RegistryError> {
        let delay = self.after_failure(error.retry(), tries(&error));
        // Who has been silent for as long as that again says nothing more.
        let is_patient = |delay: &Duration| {
            let patience = error.silence();
            patience.is_none_or(|patience| self.since.elapsed() + *delay < patience)
        };
        let Some(delay) = delay.filter(is_patient) else {
            return Err(error);
        };
        progress.state(BlobState::Retrying);
        tokio::time::sleep(delay).await;
        progress.state(BlobState::Moving);
        Ok(())
    }

    /// Progress was made: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        *self = Backoff::default();
    }
}

/// The delay that a `Retry-After` header asks for, in seconds or as a date (RFC 9110, 10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_and_never_waits_past_the_bound() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> =
            std::iter::from_fn(|| backoff.after_failure(Retry::Backoff, MAX_ATTEMPTS)).collect();
        assert_eq!(delays.len(), MAX_ATTEMPTS as usize - 1);
        assert!(delays.iter().all(|delay| *delay <= MAX_DELAY));
        assert!(
            Backoff::default()
                .after_failure(Retry::After(MAX_TOTAL * 2), MAX_ATTEMPTS)
                .is_none()
        );
    }

    #[test]
    fn who_is_not_there_is_given_up_soon() {
        let mut backoff = Backoff::default();
        let delays = std::iter::from_fn(|| backoff.after_failure(Retry::Backoff, MAX_UNREACHABLE));
        assert!(delays.sum::<Duration>() < Duration::from_secs(2));
    }

    #[test]
    fn a_wait_without_end_is_none() {
        let mut backoff = Backoff::default();
        backoff.after_failure(Retry::Backoff, MAX_ATTEMPTS).unwrap();
        assert_eq!(
            backoff.after_failure(Retry::After(Duration::MAX), MAX_ATTEMPTS),
            None
        );
    }

    #[test]
    fn others_are_asked_for_no_longer_than_who_is_waited_for() {
        let mut backoff = Backoff::default();
        assert!(backoff.has_time() && backoff.has_time());
        backoff.first = Instant::now().checked_sub(MAX_TOTAL + FIRST_DELAY);
        assert!(!backoff.has_time());
        backoff.reset();
        assert!(backoff.has_time());
    }

    #[test]
    fn what_does_not_pass_is_not_waited_for() {
        let retry = |status| Retry::of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        for status in [408, 429, 500, 502, 503, 504, 520, 599] {
            assert_eq!(retry(status), Retry::Backoff, "{status}");
        }
        for status in [
            302, 400, 401, 403, 404, 416, 451, 501, 505, 506, 507, 508, 510, 511,
        ] {
            assert_eq!(retry(status), Retry::Never, "{status}");
        }
    }

    #[test]
    fn reads_seconds_and_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:07 GMT").unwrap();
        let parse = |value| parse_retry_after(value, now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(parse(date), Some(Duration::from_secs(30)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
    }
}
