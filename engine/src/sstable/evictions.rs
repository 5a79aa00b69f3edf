//! Notices that the system takes memory back from maps.
//!
//! A block that was verified is read where it lies, page by page. As long as it stays in memory
//! that is the quickest way; once the file is larger than the memory that it is given, its pages
//! have gone, and each comes back by a read of its own, one behind the other. So now and then the
//! system is asked whether a block that is about to be read is still there. Where one was not, the
//! next blocks of that SSTable are asked for as a whole: one read each.
//!
//! # Invariants
//! 1. Advice only: what is noticed, or not, changes no answer.
//! 2. Where nothing was taken back, one read in [`READS_A_LOOK`] costs a call of the system.
//!
//! # Concurrency
//! Any thread. Counts that two threads write at once may lose one.

use crate::sync::{AtomicU64, Ordering};

/// Reads of blocks of one SSTable from one look to the next.
const READS_A_LOOK: u64 = 32;
/// Reads behind a block that was gone, in which blocks are asked for.
const READS_ASKED: u64 = 256;

/// What was noticed of one SSTable.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    reads: AtomicU64,
    /// Reads that are left in which blocks are asked for.
    asked: AtomicU64,
}

impl Evictions {
    /// Before a block is read that was in memory once: whether to ask for it. `is_there` asks the
    /// system, `None` where it cannot tell.
    pub(super) fn before_read(&self, is_there: impl FnOnce() -> Option<bool>) -> bool {
        let reads = self.reads.load(Ordering::Relaxed);
        self.reads.store(reads.wrapping_add(1), Ordering::Relaxed);
        if reads % READS_A_LOOK == READS_A_LOOK - 1 && is_there() == Some(false) {
            self.asked.store(READS_ASKED, Ordering::Relaxed);
        }
        let asked = self.asked.load(Ordering::Relaxed);
        if asked > 0 {
            self.asked.store(asked - 1, Ordering::Relaxed);
        }
        asked > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_asked_for_behind_one_that_was_gone_and_not_for_ever() {
        let evictions = Evictions::default();
        let mut looks = 0;
        let mut read = |there: Option<bool>| {
            evictions.before_read(|| {
                looks += 1;
                there
            })
        };
        assert!((0..1000).all(|_| !read(Some(true)) && !read(None)));
        let first = (0..READS_A_LOOK).position(|_| read(Some(false)));
        assert!(first.is_some(), "one in so many reads looks");
        assert!((1..READS_ASKED).all(|_| read(Some(true))));
        assert!((0..1000).all(|_| !read(Some(true))));
        assert!(looks < 3300 / READS_A_LOOK + 2, "{looks} looks");
    }
}
