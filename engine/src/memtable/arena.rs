//! The words of the memtable's runs: a bump allocator over atomics, addressed by 32-bit word
//! indexes, where 0 means none. Words lie as [`place`] says; all pieces of one size lie side by
//! side in one stretch of memory, so that large ones are on huge pages.
//!
//! Why atomics: they let one writer fill words that readers may hold a reference to, in safe Rust;
//! a relaxed store costs what a plain one does.
//!
//! # Invariants
//! 1. What one call of [`WordArena::allocate`] returns lies in one segment.
//! 2. A word is written by relaxed stores before the one release store that publishes its index
//!    (or the count that covers it), and is not written again, save for the mutable words of a run
//!    header that `run.rs` names.
//!
//! # Concurrency
//! One writer allocates and stores. Readers load.

use super::segments::{CAPACITY, PIECES, Place, SIZE_CLASSES, place, place_in_class};
use crate::memory::{Pool, Words};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// See the module.
pub(super) struct WordArena {
    pool: Arc<Pool>,
    /// All pieces of a size.
    classes: [OnceLock<Words>; SIZE_CLASSES],
    /// The next free word. Only the writer looks at it.
    next: AtomicU64,
    bytes: AtomicUsize,
}

/// Words given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allocation {
    pub(super) index: u32,
    pub(super) count: u32,
}

impl WordArena {
    pub(super) fn new(pool: &Arc<Pool>) -> WordArena {
        // Word 0 is never given out: it stands for none.
        WordArena {
            pool: Arc::clone(pool),
            classes: std::array::from_fn(|_| OnceLock::new()),
            next: AtomicU64::new(1),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Gives out at least `least` words, `wanted` where the segment has them; `None` when the arena
    /// is full. They may be anything. Taking what a segment has left keeps its tail from being
    /// lost. Writer only.
    pub(super) fn allocate(&self, least: u32, wanted: u32) -> Option<Allocation> {
        debug_assert!(0 < least && least <= wanted);
        let mut next = u32::try_from(self.next.load(Ordering::Relaxed)).ok()?;
        loop {
            if next >= CAPACITY {
                return None;
            }
            let place = place(next);
            let room = u32::try_from(place.length - place.offset).ok()?;
            if room < least {
                next = next.checked_add(room)?;
                continue;
            }
            let count = wanted.min(room);
            if place.offset == 0 || next == 1 {
                self.enter(place);
            }
            self.next.store(u64::from(next) + u64::from(count), Ordering::Relaxed);
            return Some(Allocation { index: next, count });
        }
    }

    /// Nothing of this piece was given out before. Has the next one touched ahead.
    fn enter(&self, place: Place) {
        let class = &self.classes[place.segment / PIECES];
        let words = class.get_or_init(|| Words::dirty(&self.pool, place.length * PIECES));
        self.bytes.fetch_add(place.length * size_of::<AtomicU64>(), Ordering::Relaxed);
        match place.segment % PIECES + 1 {
            PIECES => self.pool.words_ahead(2 * place.length * PIECES, 2 * place.length),
            next => words.touch_ahead(&self.pool, (next + 1) * place.length),
        }
    }

    /// Bytes of all pieces.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Words given out or skipped so far.
    #[cfg(all(test, not(loom)))]
    pub(super) fn used(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(super) fn word(&self, index: u32) -> &AtomicU64 {
        let (class, offset) = place_in_class(index);
        &self.class(class)[offset]
    }

    /// `count` words from `index` on, of one allocation.
    pub(super) fn slice(&self, index: u32, count: usize) -> &[AtomicU64] {
        let (class, offset) = place_in_class(index);
        &self.class(class)[offset..offset + count]
    }

    fn class(&self, class: usize) -> &[AtomicU64] {
        self.classes[class].get().expect("published indexes lie in what was entered")
    }
}

/// Two 32-bit halves in one word.
pub(super) fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The halves of a word: high, low.
pub(super) fn unpack(word: u64) -> (u32, u32) {
    let low = u32::try_from(word & u64::from(u32::MAX)).expect("masked to 32 bits");
    let high = u32::try_from(word >> 32).expect("shifted to 32 bits");
    (high, low)
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_stay_inside_one_segment() {
        let arena = WordArena::new(&Arc::default());
        assert_eq!(arena.allocate(8, 100), Some(Allocation { index: 1, count: 100 }));
        assert_eq!(arena.allocate(8, 100), Some(Allocation { index: 101, count: 27 }));
        assert_eq!(arena.allocate(120, 120), Some(Allocation { index: 128, count: 120 }));
        assert_eq!(arena.allocate(9, 9), Some(Allocation { index: 256, count: 9 }));
        assert_eq!(arena.bytes(), 3 * 128 * 8);
    }

    /// All memory of a large memtable is asked for before it is entered.
    #[test]
    fn pieces_are_asked_for_before_they_are_entered() {
        let pool = Arc::new(Pool::new(64 << 20));
        pool.call_to_touch(|| {});
        let arena = WordArena::new(&pool);
        let mut touched = 0;
        while arena.bytes() < 24 << 20 {
            arena.allocate(100, 100).unwrap();
            while pool.touch() {
                touched += 1;
            }
        }
        // Two megabytes at a time, from where maps are on huge pages: 2 + 4 + 8 + 16 MiB, and asks
        // for maps whose front is a part of that.
        assert!((10..=20).contains(&touched), "{touched}");
    }

    #[test]
    fn a_full_arena_says_so() {
        let arena = WordArena::new(&Arc::default());
        arena.next.store(u64::from(CAPACITY), Ordering::Relaxed);
        assert_eq!(arena.allocate(1, 1), None);
        assert_eq!(arena.bytes(), 0);
    }

    #[test]
    fn halves_come_back() {
        assert_eq!(unpack(pack(7, u32::MAX)), (7, u32::MAX));
    }
}
