//! The state of one timeline in memory.

use super::StateRecord;
use super::name::TimelineName;
use crate::entry::TableId;
use crate::memtable::RunHint;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Shared by the batches that write to the timeline; changed by the leader alone.
#[derive(Debug)]
pub(crate) struct StateCell {
    pub(super) name: TimelineName,
    next_seq: AtomicU64,
    /// The seq behind the newest entry: `next_seq` without the jumps that no entry has made yet.
    end: AtomicU64,
    /// Where its entries are in the active memtable.
    run: RunHint,
    /// Second chance for the cache's clock.
    pub(super) touched: AtomicBool,
}

impl StateCell {
    /// The cell of a timeline in this state; `end` is the seq behind its newest entry.
    pub(super) fn new(table: TableId, id: &[u8], record: &StateRecord, end: u64) -> StateCell {
        StateCell {
            name: TimelineName::new(table, id),
            next_seq: AtomicU64::new(record.next_seq),
            end: AtomicU64::new(end),
            run: RunHint::new(),
            touched: AtomicBool::new(true),
        }
    }

    /// The sequence id that the next entry gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    /// The seq behind the newest entry.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Leader only: there is an entry of this seq now.
    pub(crate) fn assign(&self, seq: u64) {
        self.restore(seq + 1, seq + 1);
    }

    /// Leader only: takes back what was assigned.
    pub(crate) fn restore(&self, next_seq: u64, end: u64) {
        self.next_seq.store(next_seq, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    /// Leader only: where its entries are in the active memtable.
    pub(crate) fn run(&self) -> &RunHint {
        &self.run
    }
}
