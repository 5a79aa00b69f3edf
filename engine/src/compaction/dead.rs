//! What no reader can see any more, so that compaction leaves it out.
//!
//! ```text
//! entries of a timeline   1 2 3 4 5 6 7 8 9 10 11 12 13 14
//! hidden from everybody   \__ below __/     \_ hole _/
//! written                                7 8 9          13 14
//! ```
//! # Invariants
//! 1. Dead is what every live snapshot and every later reader is shown nothing of. So it depends on
//!    the oldest snapshot: marks only add.
//! 2. A piece that is alive as a whole is copied as it is; one that is dead as a whole is not read.
//!
//! # Concurrency
//! Whoever tells what is dead may be asked on the thread of the job, at any time.

use crate::entry::KeyedVersion;
use crate::error::Result;
use crate::marks::Hole;
use crate::state::StateRecord;
use std::sync::Arc;

/// What is dead of one timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dead {
    /// Seqs below it.
    pub(crate) below: u64,
    /// Entries that were committed before this time.
    pub(crate) before_ms: u64,
    /// Seqs in these, which are sorted and do not touch.
    pub(crate) holes: Arc<[Hole]>,
    /// Entries that have outlived a time to live of their own by this time, up to this commit: what
    /// came later tells a snapshot how far its timeline had come.
    pub(crate) own: (u64, u64),
}

impl Dead {
    /// Whether an entry is dead.
    pub(crate) fn hides(&self, seq: u64, time_ms: u64) -> bool {
        seq < self.below
            || time_ms < self.before_ms
            || self.hole_from(seq).is_some_and(|hole| hole.from <= seq)
    }

    /// Whether an entry of this commit that expires at this time is dead by itself.
    pub(crate) fn has_expired(&self, expires_ms: u64, commit: u64) -> bool {
        let (now_ms, last_commit) = self.own;
        expires_ms <= now_ms && commit <= last_commit
    }

    /// Whether all entries with seqs from `first` to `last`, and none newer than `newest_ms`, are.
    pub(crate) fn covers(&self, first: u64, last: u64, newest_ms: u64) -> bool {
        last < self.below
            || newest_ms < self.before_ms
            || self
                .hole_from(first.max(self.below))
                .is_some_and(|hole| hole.from <= first.max(self.below) && last <= hole.to)
    }

    /// Whether none of the entries with these seqs, and none older than `oldest_ms`, is.
    pub(crate) fn spares(&self, first: u64, last: u64, oldest_ms: u64) -> bool {
        first >= self.below
            && oldest_ms >= self.before_ms
            && self.hole_from(first).is_none_or(|hole| hole.from > last)
    }

    /// The hole that `seq` lies in, or else the first one behind it.
    fn hole_from(&self, seq: u64) -> Option<Hole> {
        self.holes.get(self.holes.partition_point(|hole| hole.to < seq)).copied()
    }
}

/// Tells a job what is dead.
pub(crate) trait DeadEntries: Send + Sync {
    /// Of a timeline of the job's table.
    fn of_timeline(&self, key: &[u8]) -> Result<Dead>;

    /// Whether nothing but the job's inputs knows as much of a timeline of its table as `state`:
    /// then it is recorded before they go.
    fn is_last_known(&self, key: &[u8], state: &StateRecord) -> Result<bool>;

    /// Whether versions of a key of the job's keyed table, all that survived, can go together.
    fn forgets(&self, survivors: &[KeyedVersion]) -> Result<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_covered_spared_or_cut() {
        let holes = Arc::from([Hole { from: 10, to: 12 }, Hole { from: 20, to: 29 }]);
        let dead = Dead { below: 5, before_ms: 100, holes, own: (0, 0) };
        let (old, new) = (99, 100);
        assert!(dead.covers(1, 4, new) && !dead.covers(1, 5, new) && dead.covers(7, 9, old));
        assert!(dead.covers(20, 29, new) && dead.covers(11, 12, new) && !dead.covers(9, 12, new));
        assert!(!dead.covers(10, 20, new), "two holes are no bridge");
        assert!(dead.spares(5, 9, new) && dead.spares(13, 19, new) && dead.spares(30, 99, new));
        assert!(!dead.spares(4, 9, new) && !dead.spares(5, 9, old) && !dead.spares(13, 20, new));
        for seq in 1..40 {
            let hidden = dead.hides(seq, new);
            assert_eq!(hidden, dead.covers(seq, seq, new), "{seq}");
            assert_eq!(hidden, !dead.spares(seq, seq, new), "{seq}");
        }
        assert!(Dead::default().spares(1, u64::MAX, 0));
    }
}
