//! Fills the page cache around what is touched, while a store that was opened is still cold.
//!
//! SSTables are written past the page cache, and a map that is told it is read at random brings in
//! one block a touch: a store would warm up by tens of thousands of reads, each as long as one of a
//! mebibyte. So the first touch of a piece of an SSTable asks for all of the piece, as long as the
//! store has an allowance for it: twice its memory budget. Beyond, what is asked for would push out
//! what was.
//!
//! # Invariants
//! 1. A piece is asked for once, while its SSTable is open.
//! 2. All SSTables together have asked for at most what the allowance was; one that is closed gives
//!    back its share.
//!
//! # Concurrency
//! Any thread. A bit is set by one thread, and that one asks.

use crate::limits::READ_AROUND_BYTES;
use crate::sync::{AtomicU64, Ordering};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that a store may still ask for. The default allows nothing.
#[derive(Debug, Default)]
pub(crate) struct Allowance(AtomicU64);

impl Allowance {
    /// That of a store with so much memory.
    pub(crate) fn of(memory_budget: usize) -> Allowance {
        Allowance(AtomicU64::new((memory_budget as u64).saturating_mul(2)))
    }

    fn take(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The pieces of one SSTable that were asked for.
#[derive(Debug)]
pub(super) struct ReadAround {
    allowance: Arc<Allowance>,
    /// A bit for each piece.
    asked: Box<[AtomicU64]>,
    length: u64,
}

impl ReadAround {
    /// Of an SSTable of so many bytes.
    pub(super) fn new(allowance: &Arc<Allowance>, length: u64) -> ReadAround {
        let words = length.div_ceil(READ_AROUND_BYTES).div_ceil(u64::from(u64::BITS));
        let asked = (0..words).map(|_| AtomicU64::new(0)).collect();
        ReadAround { allowance: Arc::clone(allowance), asked, length }
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.asked)
    }

    /// What to ask for when bytes from `start` on are touched: the piece they lie in, where nobody
    /// has asked for it and the store may.
    pub(super) fn touch(&self, start: u64) -> Option<Range<u64>> {
        let piece = start / READ_AROUND_BYTES;
        let range = piece * READ_AROUND_BYTES..self.length.min((piece + 1) * READ_AROUND_BYTES);
        let (word, bit) = self.bit(piece)?;
        if range.is_empty() || word.load(Ordering::Relaxed) & bit != 0 {
            return None;
        }
        if !self.allowance.take(range.end - range.start) {
            return None;
        }
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            // Somebody else was first.
            self.allowance.give_back(range.end - range.start);
            return None;
        }
        Some(range)
    }

    fn bit(&self, piece: u64) -> Option<(&AtomicU64, u64)> {
        let word = usize::try_from(piece / u64::from(u64::BITS)).ok()?;
        Some((self.asked.get(word)?, 1 << (piece % u64::from(u64::BITS))))
    }

    fn taken(&self) -> u64 {
        let pieces = self.length.div_ceil(READ_AROUND_BYTES);
        let asked = |piece: &u64| {
            self.bit(*piece).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
        };
        let bytes = |piece| READ_AROUND_BYTES.min(self.length - piece * READ_AROUND_BYTES);
        (0..pieces).filter(asked).map(bytes).sum()
    }
}

impl Drop for ReadAround {
    fn drop(&mut self) {
        self.allowance.give_back(self.taken());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = READ_AROUND_BYTES;

    #[test]
    fn a_piece_is_asked_for_once_and_within_the_allowance() {
        let budget = usize::try_from(PIECE).unwrap();
        let allowance = Arc::new(Allowance::of(budget));
        let around = ReadAround::new(&allowance, 70 * PIECE + 5);
        assert_eq!(around.touch(PIECE + 17), Some(PIECE..2 * PIECE));
        assert_eq!(around.touch(PIECE), None, "it was asked for");
        assert_eq!(around.touch(70 * PIECE), Some(70 * PIECE..70 * PIECE + 5), "the last is short");
        assert_eq!(around.touch(3 * PIECE), None, "all but five bytes less are spent");
        assert_eq!(around.touch(99 * PIECE), None, "beyond the end");
        let other = ReadAround::new(&allowance, 2 * PIECE);
        assert_eq!(other.touch(0), None);
        drop(around);
        assert_eq!(other.touch(0), Some(0..PIECE), "what is closed gives back its share");
        assert_eq!(other.touch(PIECE), Some(PIECE..2 * PIECE));
        drop(other);
        assert_eq!(allowance.0.load(Ordering::Relaxed), 2 * PIECE);
    }

    #[test]
    fn without_an_allowance_nothing_is_asked_for() {
        let around = ReadAround::new(&Arc::default(), 8 * PIECE);
        assert_eq!(around.touch(0), None);
    }
}
