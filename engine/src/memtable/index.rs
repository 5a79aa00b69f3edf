//! Which run belongs to a key: an open-addressing hash table of 8-byte slots, read without locks.
//!
//! ```text
//! slot: 63 … 32 tag (32 bits of the key's hash) | 31 … 0 run (word index of its header), 0 = empty
//! ```
//!
//! The place of a slot comes from the high bits of its tag and nothing else, so a larger table is
//! filled from a smaller one front to back without touching a single run.
//!
//! # Invariants
//! 1. A slot is written once, by a release store, after the header of its run.
//! 2. At most three quarters of the slots are taken, so every probe ends.
//! 3. A table is complete before it becomes the current one by a release store; from then on only
//!    the current one is written. Older ones stay: a reader may still be probing them, and finds
//!    there every run that was published before it began.
//!
//! # Concurrency
//! One writer inserts. Any number of readers.

use super::arena::{pack, unpack};
use crate::memory::{Pool, Words};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// Logarithm of the slots of the first table.
const FIRST_BITS: u32 = if cfg!(loom) { 2 } else { 6 };
/// Doublings: the last table has 2^30 slots, more than the arena has room for headers.
const TABLE_COUNT: usize = if cfg!(loom) { 3 } else { 25 };

/// See the module.
pub(super) struct RunIndex {
    pool: Arc<Pool>,
    tables: [OnceLock<Words>; TABLE_COUNT],
    current: AtomicUsize,
    /// Slots taken. Only the writer looks at it.
    taken: AtomicUsize,
    bytes: AtomicUsize,
}

impl RunIndex {
    pub(super) fn new(pool: &Arc<Pool>) -> RunIndex {
        let index = RunIndex {
            pool: Arc::clone(pool),
            tables: std::array::from_fn(|_| OnceLock::new()),
            current: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        };
        index.allocate(0);
        index
    }

    /// The run with this tag that `is_it` recognises.
    pub(super) fn find(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let table = self.table(self.current.load(Ordering::Acquire));
        let mut position = position(table, tag);
        loop {
            match unpack(table[position].load(Ordering::Acquire)) {
                (_, 0) => return None,
                (found, run) if found == tag && is_it(run) => return Some(run),
                _ => position = (position + 1) & (table.len() - 1),
            }
        }
    }

    /// Reads the first slot that a look-up of this tag probes, for its being in the processor's
    /// cache.
    pub(super) fn touch(&self, tag: u32) -> u64 {
        let table = self.table(self.current.load(Ordering::Relaxed));
        table[position(table, tag)].load(Ordering::Relaxed)
    }

    /// Publishes `run` under `tag`. Writer only.
    pub(super) fn insert(&self, tag: u32, run: u32) {
        debug_assert!(run != 0);
        let mut level = self.current.load(Ordering::Relaxed);
        let taken = self.taken.load(Ordering::Relaxed) + 1;
        if taken > self.table(level).len() / 4 * 3 {
            level += 1;
            self.grow(level);
        }
        let table = self.table(level);
        place(table, pack(tag, run), Ordering::Release);
        self.taken.store(taken, Ordering::Relaxed);
        // Not before it is likely: what is touched in vain is memory that nobody counts.
        if taken == table.len() / 16 * 11 {
            self.pool.words_ahead(2 * table.len(), 2 * table.len());
        }
    }

    /// Bytes of all tables.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn grow(&self, level: usize) {
        self.allocate(level);
        let table = self.table(level);
        for slot in self.table(level - 1) {
            let word = slot.load(Ordering::Relaxed);
            if word != 0 {
                place(table, word, Ordering::Relaxed);
            }
        }
        self.current.store(level, Ordering::Release);
    }

    fn allocate(&self, level: usize) {
        let count = 1usize << FIRST_BITS << level;
        self.tables[level].get_or_init(|| Words::zeroed(&self.pool, count));
        self.bytes.fetch_add(count * size_of::<AtomicU64>(), Ordering::Relaxed);
    }

    fn table(&self, level: usize) -> &[AtomicU64] {
        self.tables[level].get().expect("the current table and those before it are allocated")
    }
}

/// Stores `word` in the first free slot of its probe sequence.
fn place(table: &[AtomicU64], word: u64, ordering: Ordering) {
    let mut position = position(table, unpack(word).0);
    while table[position].load(Ordering::Relaxed) != 0 {
        position = (position + 1) & (table.len() - 1);
    }
    table[position].store(word, ordering);
}

/// The first slot of a tag's probe sequence: its high bits.
fn position(table: &[AtomicU64], tag: u32) -> usize {
    (tag >> (u32::BITS - table.len().ilog2())) as usize
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_found_through_many_growths() {
        let index = RunIndex::new(&Arc::default());
        for run in 1..=20_000u32 {
            index.insert(run.wrapping_mul(0x9e37_79b9), run);
        }
        for run in 1..=20_000u32 {
            let tag = run.wrapping_mul(0x9e37_79b9);
            assert_eq!(index.find(tag, |found| found == run), Some(run));
        }
        assert_eq!(index.find(3, |_| false), None);
    }

    #[test]
    fn equal_tags_are_told_apart_and_wrap_around() {
        let index = RunIndex::new(&Arc::default());
        for run in 1..=500 {
            index.insert(u32::MAX, run);
        }
        assert_eq!(index.find(u32::MAX, |run| run == 500), Some(500));
        assert_eq!(index.find(u32::MAX, |run| run == 501), None);
        assert_eq!(index.find(0, |_| true), None);
    }
}
