//! The write path, from a batch to an acknowledgement.
//!
//! ```text
//! caller:  check limits ─► resolve: pin state cells ─► stall if behind
//!          ─► large payloads to extents, synced (`large.rs`) ─► push ─► lead or wait
//! leader:  unless level 0 is full: take all waiting slots; for a sync, wait a moment for callers
//!          that were just told of their last one (`delay.rs`)
//!          per slot: preconditions, sequence ids into the batch's bytes  (a refused one ends here)
//!          one WAL write, one sync if anyone asked; without one, the disk goes on writing while
//!          memtable; then the end of the write ─► published commit ─► complete slots, wake all
//!          ... again while slots wait, a few times; only then give leadership away: to the commit
//!          worker, if slots wait
//! ```
//!
//! # Invariants
//! I1. Sequence ids are assigned by the leader alone, in WAL order, and only to what is certain to
//!     be written: a failed write poisons the store, so no later batch can leave a hole behind it.
//! I2. A commit is published after its group is written (and synced, if any of the group asked),
//!     and after all of it is in the memtable; commits are published in order. So a reader that
//!     takes the published commit first and the view second sees every entry up to it, and none
//!     missing. What a memtable holds of a group whose write fails lies above all that is ever
//!     published, and is never flushed: the store is poisoned.
//! I3. A slot is completed exactly once, by the leader, and outlives its caller: a dropped future
//!     changes nothing.
//! I4. The group is woken before leadership is given away (measured: the other order halves the
//!     groups).
//! I5. Entries published ahead of the last sync are never more than `UNSYNCED_ENTRIES_MAX`, and
//!     never more than an eighth of the ring.
//! I6. While level 0 is full no group is begun: so futures, whose batches are queued before they
//!     can wait, are held back as well as callers (`engine/commit_pace.rs`).
//!
//! # Concurrency
//! Callers share the queue and the state cells. Everything else here belongs to the leader; the
//! mutex around it is taken by whoever has won leadership, so it is never waited for.

mod delay;
mod future;
mod large;
mod leader;
mod queue;
mod resolve;
mod slot;
mod stall;

pub use future::CommitFuture;
pub(crate) use large::{StoredPayloads, open as open_large};
pub(crate) use leader::Leader;
pub(crate) use queue::{CommitQueue, Leadership};
pub(crate) use resolve::resolve;
pub(crate) use slot::{Outcome, Request, Slot, take_left_behind};
pub(crate) use stall::{Pressure, Stall, stall};

/// What a commit was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The batch's number over the whole store.
    pub commit: u64,
    /// The commit time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The sequence id of each appended entry, one a target, in the order of the calls.
    pub seqs: Vec<u64>,
}
