//! SSTables over which background jobs failed: left alone, so that all other jobs go on.
//!
//! ```text
//! damage of the SSTable itself ──────────────────────────────► left alone
//! the disk fails to read it, ── [`TRIES`] times ──► left alone for [`REST_MS`], then tried once
//! or what else a job must know
//! ```
//! Damage stays what it is: only a user who asks for a compaction, and the next opening, have it
//! tried again. A disk may come to its senses.
//!
//! # Concurrency
//! Owned by one worker.

use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often a failing read is tried again at once.
const TRIES: u32 = 3;
/// How long an SSTable that the disk fails to read is left alone, in milliseconds.
const REST_MS: u64 = 60_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// Left alone now.
    numbers: BTreeSet<u64>,
    /// Failures that were no damage, by SSTable.
    failures: BTreeMap<u64, u32>,
    /// Of those that are left alone for a while: until when, on the monotonic clock.
    rests: BTreeMap<u64, u64>,
}

impl Unreadable {
    /// What is left alone.
    pub(super) fn numbers(&self) -> &BTreeSet<u64> {
        &self.numbers
    }

    /// A job failed over `sstables`. `itself`: the error is of what is in them, not of something
    /// else that had to be known. Returns whether they are left alone from now on.
    pub(super) fn met(
        &mut self,
        sstables: &BTreeSet<u64>,
        error: &Error,
        itself: bool,
        now_ms: u64,
    ) -> bool {
        if sstables.is_empty() || !error.is_unreadable() {
            return false;
        }
        if !(itself && error.is_damage()) {
            let mut most = 0;
            for number in sstables {
                let failures = self.failures.entry(*number).or_default();
                *failures += 1;
                most = most.max(*failures);
            }
            if most < TRIES {
                return false;
            }
            let until_ms = now_ms.saturating_add(REST_MS);
            self.rests.extend(sstables.iter().map(|number| (*number, until_ms)));
        }
        self.numbers.extend(sstables);
        true
    }

    /// Takes out those that have been left alone for long enough, and says whether there were any.
    pub(super) fn end_rests(&mut self, now_ms: u64) -> bool {
        let resting = self.rests.len();
        self.rests.retain(|number, until_ms| {
            let rests = now_ms < *until_ms;
            if !rests {
                self.numbers.remove(number);
            }
            rests
        });
        self.rests.len() < resting
    }

    /// How long until the next one is to be tried again, if any is.
    pub(super) fn rest(&self, now_ms: u64) -> Option<Duration> {
        let until_ms = self.rests.values().min()?;
        Some(Duration::from_millis(until_ms.saturating_sub(now_ms)))
    }

    /// All are tried again. Says whether there were any.
    pub(super) fn clear(&mut self) -> bool {
        !std::mem::take(self).numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn eio() -> Error {
        Error::io("read", 0, io::Error::from_raw_os_error(5))
    }

    #[test]
    fn a_failing_read_is_tried_a_few_times_and_again_after_a_while() {
        let mut unreadable = Unreadable::default();
        let bad = BTreeSet::from([7]);
        assert!(!unreadable.met(&bad, &eio(), true, 0));
        assert!(!unreadable.met(&bad, &eio(), true, 1));
        assert!(unreadable.met(&bad, &eio(), true, 2));
        assert_eq!(unreadable.numbers(), &bad);
        assert_eq!(unreadable.rest(1_002), Some(Duration::from_millis(REST_MS - 1_000)));
        assert!(!unreadable.end_rests(1 + REST_MS));
        assert!(unreadable.end_rests(2 + REST_MS) && unreadable.numbers().is_empty());
        assert!(unreadable.met(&bad, &eio(), true, 100_000), "one more try was one too many");
    }

    #[test]
    fn damage_is_believed_at_once_and_for_good() {
        let mut unreadable = Unreadable::default();
        let damage = Error::corruption("block", 0, "rotten");
        assert!(unreadable.met(&BTreeSet::from([7]), &damage, true, 0));
        assert!(!unreadable.end_rests(u64::MAX));
        assert_eq!(unreadable.rest(0), None);
        assert!(unreadable.clear() && unreadable.numbers().is_empty());
        // Damage of something else says nothing of the SSTable.
        assert!(!unreadable.met(&BTreeSet::from([8]), &damage, false, 0));
        let full = Error::NoSpace { what: "an SSTable", needed: 1 };
        assert!(!unreadable.met(&BTreeSet::from([9]), &full, true, 0));
        assert!(!unreadable.met(&BTreeSet::new(), &damage, true, 0));
    }
}
