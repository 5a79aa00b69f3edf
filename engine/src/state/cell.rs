//! The state of one timeline in memory.

use super::StateRecord;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Shared by the batches that write to the timeline; changed by the leader alone.
#[derive(Debug)]
pub(crate) struct StateCell {
    next_seq: AtomicU64,
    last_commit: AtomicU64,
    /// Second chance for the cache's clock.
    pub(super) touched: AtomicBool,
}

impl StateCell {
    pub(crate) fn new(record: &StateRecord) -> StateCell {
        StateCell {
            next_seq: AtomicU64::new(record.next_seq),
            last_commit: AtomicU64::new(record.last_commit),
            touched: AtomicBool::new(true),
        }
    }

    /// The sequence id that the next entry gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    /// The newest commit that wrote to the timeline.
    #[cfg(test)]
    pub(crate) fn last_commit(&self) -> u64 {
        self.last_commit.load(Ordering::Acquire)
    }

    /// Leader only.
    pub(crate) fn set_next_seq(&self, seq: u64) {
        self.next_seq.store(seq, Ordering::Release);
    }

    /// Leader only.
    pub(crate) fn set_last_commit(&self, commit: u64) {
        self.last_commit.store(commit, Ordering::Release);
    }
}
