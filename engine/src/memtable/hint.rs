//! Where the entries of a timeline lie in the memtable that is written to, so that the next entry
//! need not be looked up by its key.
//!
//! Each look-up touches the index, the header of the run and the key in its frame, which lie far
//! apart; with the hint it is the header alone, and the headers of a whole batch can be asked of
//! memory at once.
//!
//! # Invariants
//! 1. A hint is only believed for the memtable that it was written for. Memtables are told apart by
//!    their first possible commit, which rises from one to the next.
//!
//! # Concurrency
//! Written and read by whoever applies bodies: one at a time.

use crate::sync::{AtomicU64, Ordering};

/// See the module. A new one knows nothing.
#[derive(Debug)]
pub(crate) struct RunHint {
    /// The memtable's base commit and one, 0 for none.
    memtable: AtomicU64,
    /// The header of the run.
    run: AtomicU64,
}

impl RunHint {
    /// A hint that knows nothing.
    pub(crate) fn new() -> RunHint {
        RunHint { memtable: AtomicU64::new(0), run: AtomicU64::new(0) }
    }

    /// The run in the memtable of this base commit, if it was noted.
    pub(super) fn run(&self, base_commit: u64) -> Option<u32> {
        let is_of_it = self.memtable.load(Ordering::Relaxed) == base_commit + 1;
        is_of_it.then(|| u32::try_from(self.run.load(Ordering::Relaxed)).ok()).flatten()
    }

    /// Notes the run.
    pub(super) fn note(&self, base_commit: u64, run: u32) {
        self.run.store(u64::from(run), Ordering::Relaxed);
        self.memtable.store(base_commit + 1, Ordering::Relaxed);
    }
}
