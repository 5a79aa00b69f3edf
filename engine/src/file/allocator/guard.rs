//! The guard of a live extent: keeps it from reuse while a snapshot or a map of this process reads
//! it.
//!
//! 1. Everything that reads the extent shares one guard by `Arc`.
//! 2. Compaction takes the extent out of the version and calls `mark_obsolete`.
//! 3. The last reader drops the guard: now the extent is released, and free two superblocks later.
//!
//! A guard that is never marked does nothing: the extent stays live when the store is closed.

use super::Allocator;
use crate::file::Extent;
use crate::planted::Planted;
use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;

/// The value of a guard whose extent is live. Sequences of superblocks begin at 1.
const LIVE: u64 = 0;

/// Shared by the readers of one extent.
#[derive(Debug)]
pub(crate) struct ExtentGuard {
    extent: Extent,
    allocator: Arc<Allocator>,
    /// Sequence of the last superblock that names the extent, or `LIVE`.
    obsolete: AtomicU64,
}

impl ExtentGuard {
    pub(crate) fn new(extent: Extent, allocator: Arc<Allocator>) -> ExtentGuard {
        ExtentGuard { extent, allocator, obsolete: AtomicU64::new(LIVE) }
    }

    #[cfg(test)]
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// The extent is in no version any more; the superblock of sequence `generation` was the last
    /// to name it. Call this only when the superblock that does not name it is durable: until then
    /// the change may still fail, and the extent stay live.
    pub(crate) fn mark_obsolete(&self, generation: u64) {
        assert_ne!(generation, LIVE, "superblock sequences begin at 1");
        self.allocator.held.fetch_add(self.extent.length, Ordering::Relaxed);
        if Planted::ReadersForgotten.is_on() {
            self.allocator.release(self.extent, generation);
            return;
        }
        // Dropping the Arc orders this store before the load in `drop`.
        let before = self.obsolete.swap(generation, Ordering::Release);
        debug_assert_eq!(before, LIVE, "an extent becomes obsolete once");
    }
}

impl ExtentGuard {
    /// No root ever named the extent: it is free at once. The guard must not be marked.
    pub(crate) fn forfeit(&self) {
        self.allocator.forfeit(self.extent);
    }
}

impl Drop for ExtentGuard {
    fn drop(&mut self) {
        let generation = self.obsolete.load(Ordering::Acquire);
        if generation != LIVE {
            self.allocator.held.fetch_sub(self.extent.length, Ordering::Relaxed);
            self.allocator.release(self.extent, generation);
        }
    }
}
