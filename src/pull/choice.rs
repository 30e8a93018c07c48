//! Which endpoint is asked for a content.
//!
//! What no mirror gives, the origin gives, and what that does not, a URL of the content's own; and who failed is asked after who did not, so that where one of
//! them cannot be reached at all, not every content waits for it.

use std::collections::BTreeSet;

/// What is known of the endpoints that may have one content. They are numbered: the mirrors in their order, the origin,
/// and URLs. The last one's word counts.
#[derive(Debug)]
pub(super) struct Choice<E> {
    last: usize,
    /// Those that failed since all were asked anew.
    failed: BTreeSet<usize>,
    /// Those that sent wrong bytes.
    blamed: BTreeSet<usize>,
    /// Those that it is of no use to ask again.
    gone: BTreeSet<usize>,
    /// What the last one said.
    verdict: Option<Failure<E>>,
    /// What another one said since all were asked anew: of several, what may pass.
    other: Option<Failure<E>>,
}

/// Why an endpoint gave no answer that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure<E> {
    pub(super) error: E,
    /// Whether another try may succeed.
    pub(super) is_transient: bool,
}

impl<E> Choice<E> {
    /// Nothing is known of the endpoints before `last`, nor of that.
    pub(super) fn new(last: usize) -> Self {
        Choice {
            last,
            failed: BTreeSet::new(),
            blamed: BTreeSet::new(),
            gone: BTreeSet::new(),
            verdict: None,
            other: None,
        }
    }

    /// Who is to be asked now, where each endpoint has failed so often, for whatever content.
    pub(super) fn endpoint(&self, failures: impl Fn(usize) -> usize) -> usize {
        (0..=self.last)
            .filter(|endpoint| !self.failed.contains(endpoint) && !self.gone.contains(endpoint))
            .min_by_key(|endpoint| (failures(*endpoint), *endpoint))
            .unwrap_or(self.last)
    }

    /// An endpoint does not have the content, which says nothing of the others.
    pub(super) fn lacks(&mut self, endpoint: usize) {
        self.gone.insert(endpoint);
    }

    /// An endpoint failed. Nothing if another one is to be asked at once, else the error to wait after, or
    /// to end with if it is final.
    pub(super) fn failed(&mut self, endpoint: usize, failure: Failure<E>) -> Option<E> {
        if failure.is_transient {
            self.failed.insert(endpoint);
        } else {
            self.gone.insert(endpoint);
        }
        let is_hoped_for = |failure: &Failure<E>| failure.is_transient;
        if endpoint == self.last {
            self.verdict = Some(failure);
        } else if failure.is_transient || !self.other.as_ref().is_some_and(is_hoped_for) {
            self.other = Some(failure);
        }
        if !self.all_were_asked() {
            return None;
        }
        let hopeful = !self.failed.is_empty();
        self.failed.clear();
        let other = self.other.take();
        let failure = match self.verdict.take() {
            // Its word counts, unless it is final and another's is not.
            Some(verdict) if hopeful && !verdict.is_transient => {
                self.verdict = Some(verdict);
                other
            }
            verdict => verdict.or(other),
        };
        failure.map(|failure| failure.error)
    }

    /// Whether it is of no use to ask any of them again.
    pub(super) fn is_over(&self) -> bool {
        self.gone.len() > self.last
    }

    /// What the last one has said, if that is final and others were waited for.
    pub(super) fn verdict(&mut self) -> Option<E> {
        self.verdict.take().map(|failure| failure.error)
    }

    /// The bytes that these endpoints sent together are wrong. Whether it is of use to ask again: a second
    /// try may find better ones; a third would not.
    pub(super) fn wrong(&mut self, senders: &BTreeSet<usize>) -> bool {
        let mut others: Vec<_> = senders.range(..self.last).copied().collect();
        if others.is_empty() {
            others.push(self.last);
        }
        for endpoint in others {
            if self.blamed.insert(endpoint) {
                self.failed.insert(endpoint);
            } else {
                self.gone.insert(endpoint);
            }
        }
        if self.all_were_asked() {
            self.failed.clear();
        }
        !self.is_over()
    }

    fn all_were_asked(&self) -> bool {
        self.failed.union(&self.gone).count() > self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who fails, and whether that may pass.
    type Step = (usize, bool);

    /// With two mirrors and the origin, which is 2: who is asked after these failures, and whether the last
    /// one is to be waited for.
    fn after(steps: &[Step]) -> (usize, Option<String>) {
        let mut choice = Choice::new(2);
        let mut end = None;
        for (endpoint, is_transient) in steps {
            let error = format!("{endpoint}");
            let is_transient = *is_transient;
            end = choice.failed(
                *endpoint,
                Failure {
                    error,
                    is_transient,
                },
            );
        }
        (choice.endpoint(|_| 0), end)
    }

    #[test]
    fn each_is_asked_before_one_is_asked_again() {
        let table: [(&[Step], usize, Option<&str>); 9] = [
            (&[], 0, None),
            (&[(0, true)], 1, None),
            (&[(0, true), (1, false)], 2, None),
            // Now all were asked: the origin's word counts, and those that may do better begin again.
            (&[(0, true), (1, false), (2, true)], 0, Some("2")),
            (&[(0, false), (1, false), (2, true)], 2, Some("2")),
            (&[(0, false), (1, false), (2, false)], 2, Some("2")),
            // The origin's is final, a mirror's is not: the mirror's is waited after.
            (&[(0, false), (2, false), (1, true)], 1, Some("1")),
            // In whatever order they were asked.
            (&[(0, true), (1, false), (2, false)], 0, Some("0")),
            // In the end, what the origin said is what is told.
            (
                &[(0, false), (2, false), (1, true), (1, false)],
                2,
                Some("2"),
            ),
        ];
        for (steps, next, end) in table {
            assert_eq!(after(steps), (next, end.map(str::to_owned)), "{steps:?}");
        }
    }

    #[test]
    fn who_failed_less_is_asked_first() {
        let choice: Choice<()> = Choice::new(2);
        for (failures, next) in [
            ([0, 0, 0], 0),
            ([1, 0, 0], 1),
            ([1, 1, 0], 2),
            ([1, 1, 1], 0),
            ([2, 3, 2], 0),
        ] {
            assert_eq!(choice.endpoint(|endpoint| failures[endpoint]), next);
        }
    }

    #[test]
    fn who_lacks_a_content_is_not_asked_again() {
        let mut choice: Choice<()> = Choice::new(1);
        choice.lacks(0);
        assert_eq!(choice.endpoint(|_| 0), 1);
    }

    #[test]
    fn wrong_bytes_are_asked_for_once_more() {
        let mut alone: Choice<()> = Choice::new(0);
        assert!(alone.wrong(&BTreeSet::from([0])));
        assert_eq!(alone.endpoint(|_| 0), 0);
        assert!(!alone.wrong(&BTreeSet::from([0])));

        // Another one may do better.
        let mut choice: Choice<()> = Choice::new(1);
        assert!(choice.wrong(&BTreeSet::from([1])));
        assert!(choice.wrong(&BTreeSet::from([1])));
        assert_eq!(choice.endpoint(|_| 0), 0);

        // A mirror among the senders is blamed first, and left alone after the second time.
        let mut choice: Choice<()> = Choice::new(1);
        assert!(choice.wrong(&BTreeSet::from([0, 1])));
        assert_eq!(choice.endpoint(|_| 0), 1);
        assert!(choice.wrong(&BTreeSet::from([0])));
        let transient = Failure {
            error: (),
            is_transient: true,
        };
        assert_eq!(choice.failed(1, transient), Some(()));
        assert_eq!(choice.endpoint(|_| 0), 1);
        assert!(choice.wrong(&BTreeSet::from([1])));
        assert!(!choice.wrong(&BTreeSet::new()));
    }
}
