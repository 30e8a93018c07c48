//! Which bytes of a blob a connection asks for next, and when more connections are of use.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What one request asks for at most, unless a part is larger. The connections that a blob gets later
/// must find something to do.
const MAX_RUN: u64 = 32 << 20;
/// How often it is asked whether a connection waits for the network.
const PERIOD: Duration = Duration::from_millis(50);

/// The parts of a blob that no connection has begun with, in the blob's order.
#[derive(Debug, Default)]
pub(super) struct Schedule(VecDeque<Range<u64>>);

impl Schedule {
    pub(super) fn new(missing: Vec<Range<u64>>) -> Self {
        Schedule(missing.into())
    }

    /// The number of parts.
    pub(super) fn parts(&self) -> usize {
        self.0.len()
    }

    /// Takes the next parts, one behind the other, for one of so many connections: many as long as much is
    /// left, so that there are few requests, and few at the end, so that all connections end together.
    pub(super) fn next_run(&mut self, connections: u64) -> Option<Range<u64>> {
        let left: u64 = self.0.iter().map(|part| part.end - part.start).sum();
        let enough = (left / (2 * connections)).min(MAX_RUN);
        let mut run = self.0.pop_front()?;
        while let Some(next) = self.0.front()
            && next.start == run.end
            && next.end - run.start <= enough
        {
            run.end = next.end;
            self.0.pop_front();
        }
        Some(run)
    }
}

/// The connections for each of the `unfinished` blobs, if all had the same number.
pub(super) fn share(connections: usize, unfinished: usize) -> u64 {
    (connections / unfinished.max(1)).max(1) as u64
}

/// Tells what a connection's time goes into: more connections help where it waits for the network, and
/// hinder where this machine is what is slow.
#[derive(Debug)]
pub(super) struct Clock {
    period: Instant,
    since: Instant,
    waited: Duration,
}

impl Clock {
    pub(super) fn start(now: Instant) -> Self {
        Clock {
            period: now,
            since: now,
            waited: Duration::ZERO,
        }
    }

    /// Bytes have come. Whether at the end of a period most of it was spent on waiting for them.
    pub(super) fn waited_mostly(&mut self, now: Instant) -> bool {
        self.waited += now - self.since;
        let period = now - self.period;
        if period < PERIOD {
            return false;
        }
        let mostly = self.waited * 8 > period * 7;
        (self.period, self.waited) = (now, Duration::ZERO);
        mostly
    }

    /// The bytes were dealt with.
    pub(super) fn worked(&mut self, now: Instant) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Parts of 4 MiB, of which these are missing.
    fn schedule(missing: impl IntoIterator<Item = u64>) -> Schedule {
        let part = |number| 4 * MIB * number..4 * MIB * (number + 1);
        Schedule::new(missing.into_iter().map(part).collect())
    }

    /// The lengths of the runs, in parts.
    fn runs(missing: impl IntoIterator<Item = u64>, connections: u64) -> Vec<u64> {
        let mut schedule = schedule(missing);
        let run = || schedule.next_run(connections);
        std::iter::from_fn(run)
            .map(|run| (run.end - run.start) / (4 * MIB))
            .collect()
    }

    #[test]
    fn runs_are_long_first_and_short_at_the_end() {
        for (parts, connections, expected) in [
            (0, 1, vec![]),
            (1, 8, vec![1]),
            (8, 1, vec![4, 2, 1, 1]),
            (8, 2, vec![2, 1, 1, 1, 1, 1, 1]),
            (8, 8, vec![1; 8]),
            // No run is longer than 32 MiB.
            (32, 1, vec![8, 8, 8, 4, 2, 1, 1]),
        ] {
            assert_eq!(
                runs(0..parts, connections),
                expected,
                "{parts} {connections}"
            );
        }
    }

    #[test]
    fn a_run_has_no_gap_and_all_runs_are_all_that_is_missing() {
        let missing = [0, 1, 4, 5, 6, 7, 9];
        assert_eq!(runs(missing, 1), [2, 2, 1, 1, 1]);
        let mut schedule = schedule(missing);
        let mut got = Vec::new();
        while let Some(run) = schedule.next_run(1) {
            got.extend(
                (run.start..run.end)
                    .step_by(4 << 20)
                    .map(|at| at / (4 * MIB)),
            );
        }
        assert_eq!(got, missing);
        assert_eq!(schedule.parts(), 0);
    }

    #[test]
    fn a_part_is_asked_for_as_a_whole_however_large() {
        let large = 0..3 * MAX_RUN;
        let mut schedule = Schedule::new(vec![large.clone()]);
        assert_eq!(schedule.next_run(8), Some(large));
    }

    #[test]
    fn connections_are_shared_and_each_blob_has_one() {
        for (connections, unfinished, expected) in
            [(8, 0, 8), (8, 1, 8), (8, 3, 2), (8, 8, 1), (8, 100, 1)]
        {
            assert_eq!(share(connections, unfinished), expected);
        }
    }

    #[test]
    fn a_connection_waits_mostly_at_seven_eighths() {
        for (waits, works, expected) in [
            (80, 0, true),
            (71, 9, true),
            (70, 10, false),
            (8, 72, false),
        ] {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut clock = Clock::start(start);
            // Too early to say.
            assert!(!clock.waited_mostly(at(0)));
            clock.worked(at(works));
            assert_eq!(clock.waited_mostly(at(works + waits)), expected, "{waits}");
            // A new period has begun.
            clock.worked(at(works + waits));
            assert!(!clock.waited_mostly(at(works + waits + 1)));
        }
    }
}
