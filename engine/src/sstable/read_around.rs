//! Fills the page cache around what is touched, while a store that was opened is still cold.
//!
//! SSTables are written past the page cache, and a map that is told it is read at random brings in
//! one block a touch: a store would warm up by tens of thousands of reads, each nearly as long as
//! one of a mebibyte. So the first touch of a piece of an SSTable asks for all of it, as long as
//! the store has an allowance: twice its memory budget. Beyond, what is asked for would push out
//! what was.
//!
//! Not so the first few touches of an SSTable: the first read of a store looks into all that may
//! have its timeline, sixteen of level 0 alone, and a piece takes as long as twenty blocks. Who
//! reads more comes back.
//!
//! Pieces are as large as a huge page and lie in the file as one does. One that belongs to the
//! SSTable as a whole is asked for as a huge page: where the file system has them, what is read at
//! random then waits for memory once and not twice. Once it is there the advice is taken back: what
//! the system pushes out again comes back by blocks. A piece on the edge is none: a direct write
//! into the neighbour would drop all of a huge page.
//!
//! Flushes and compactions write past the page cache: what readers had warmed up would be cold
//! again. So these ask for the pieces of their outputs before they hand them over, where readers
//! have touched much of what they take the place of, or lie upon (`compaction/warm_up.rs`). A
//! compaction does it out of the share that its inputs give back.
//!
//! # Invariants
//! 1. A piece is asked for once, while its SSTable is open.
//! 2. The first [`READ_ALONE_BLOCKS`] touches of an SSTable ask for no piece.
//! 3. All SSTables together have asked for at most what the allowance was; one that is closed, or
//!    about to be replaced, gives back its share.
//! 4. What readers have touched, and what was asked for, are counted apart: outputs that nobody has
//!    read are no reason to bring in the next.
//!
//! # Concurrency
//! Any thread. A bit is set by one thread, and that one asks.

use crate::limits::{READ_ALONE_BLOCKS, READ_AROUND_BYTES};
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

    /// What is left of it.
    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
    /// A bit for each piece that readers have touched.
    touched: Box<[AtomicU64]>,
    /// Touches that have asked for no piece, up to as many as are to.
    alone: AtomicU64,
    /// Bytes of the share that were given back before the end.
    given_back: AtomicU64,
    /// Where the SSTable begins in its first piece.
    phase: u64,
    length: u64,
}

/// What to ask the system for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A huge page, which comes with its first touch.
    Whole(Range<u64>),
    /// Part of one.
    Edge(Range<u64>),
}

impl ReadAround {
    /// Of an SSTable of so many bytes at a place in the file.
    pub(super) fn new(allowance: &Arc<Allowance>, offset: u64, length: u64) -> ReadAround {
        let phase = offset % READ_AROUND_BYTES;
        let pieces = phase.saturating_add(length).div_ceil(READ_AROUND_BYTES);
        let words = pieces.div_ceil(u64::from(u64::BITS));
        let none = || (0..words).map(|_| AtomicU64::new(0)).collect();
        ReadAround {
            allowance: Arc::clone(allowance),
            asked: none(),
            touched: none(),
            alone: AtomicU64::new(0),
            given_back: AtomicU64::new(0),
            phase,
            length,
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.asked) + size_of_val(&*self.touched)
    }

    /// What to ask for when the byte at `place` is touched: the piece it lies in, where nobody has
    /// asked for it and the store may; nothing at the first few touches.
    pub(super) fn touch(&self, place: u64) -> Option<Piece> {
        let piece = place.checked_add(self.phase)? / READ_AROUND_BYTES;
        let (word, bit) = bit(&self.touched, piece)?;
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        if self.is_alone() {
            self.alone.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.ask(piece)
    }

    /// Whether the next touch brings in its block alone.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed) < READ_ALONE_BLOCKS
    }

    /// What to ask for so that the piece with the byte at `place` is there before anybody touches
    /// it, and where the next piece begins; `None` at the end.
    pub(super) fn bring_in(&self, place: u64) -> Option<(Option<Piece>, u64)> {
        if place >= self.length {
            return None;
        }
        let piece = place.checked_add(self.phase)? / READ_AROUND_BYTES;
        Some((self.ask(piece), self.range(piece).end))
    }

    /// Bytes of the pieces that readers have touched.
    pub(super) fn touched_bytes(&self) -> u64 {
        self.bytes_of(&self.touched)
    }

    /// Bytes of the pieces that were asked for.
    #[cfg(test)]
    pub(super) fn asked_bytes(&self) -> u64 {
        self.bytes_of(&self.asked)
    }

    /// Gives back what has been asked for so far: it is about to be replaced.
    pub(super) fn give_back(&self) {
        let asked = self.bytes_of(&self.asked);
        let before = self.given_back.fetch_max(asked, Ordering::Relaxed);
        self.allowance.give_back(asked.saturating_sub(before));
    }

    fn ask(&self, piece: u64) -> Option<Piece> {
        let (word, bit) = bit(&self.asked, piece)?;
        let range = self.range(piece);
        if range.is_empty() || word.load(Ordering::Relaxed) & bit != 0 {
            return None;
        }
        let bytes = range.end - range.start;
        if !self.allowance.take(bytes) {
            return None;
        }
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            // Somebody else was first.
            self.allowance.give_back(bytes);
            return None;
        }
        Some(if bytes == READ_AROUND_BYTES { Piece::Whole(range) } else { Piece::Edge(range) })
    }

    /// What a piece has of the SSTable.
    fn range(&self, piece: u64) -> Range<u64> {
        let start = (piece * READ_AROUND_BYTES).saturating_sub(self.phase);
        let end = (piece + 1) * READ_AROUND_BYTES - self.phase;
        start.min(self.length)..end.min(self.length)
    }

    /// Bytes of the pieces whose bits are set.
    fn bytes_of(&self, bits: &[AtomicU64]) -> u64 {
        let pieces = (self.phase + self.length).div_ceil(READ_AROUND_BYTES);
        let is_set = |piece: &u64| {
            bit(bits, *piece).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
        };
        let bytes = |range: Range<u64>| range.end - range.start;
        (0..pieces).filter(is_set).map(|piece| bytes(self.range(piece))).sum()
    }
}

/// The bit of a piece, and the word it is in.
fn bit(bits: &[AtomicU64], piece: u64) -> Option<(&AtomicU64, u64)> {
    let word = usize::try_from(piece / u64::from(u64::BITS)).ok()?;
    Some((bits.get(word)?, 1 << (piece % u64::from(u64::BITS))))
}

impl Drop for ReadAround {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = READ_AROUND_BYTES;

    /// One that has been touched often enough.
    fn after_the_first(allowance: &Arc<Allowance>, offset: u64, length: u64) -> ReadAround {
        let around = ReadAround::new(allowance, offset, length);
        assert!((0..READ_ALONE_BLOCKS).all(|_| around.touch(0).is_none()));
        around
    }

    /// The first read of a store waited for a piece of each SSTable, 40 ms for sixteen of them.
    #[test]
    fn the_first_touches_bring_in_their_block_alone() {
        let allowance = Arc::new(Allowance::of(1 << 30));
        let around = ReadAround::new(&allowance, 0, 16 * PIECE);
        for block in 0..READ_ALONE_BLOCKS {
            assert_eq!(around.touch(block * PIECE), None);
        }
        assert_eq!(around.bytes_of(&around.asked), 0);
        assert_eq!(around.touch(0), Some(Piece::Whole(0..PIECE)), "they have asked for nothing");
    }

    #[test]
    fn a_piece_is_asked_for_once_and_within_the_allowance() {
        let budget = usize::try_from(PIECE).unwrap();
        let allowance = Arc::new(Allowance::of(budget));
        let around = after_the_first(&allowance, 5 * PIECE, 70 * PIECE + 5);
        assert_eq!(around.touch(PIECE + 17), Some(Piece::Whole(PIECE..2 * PIECE)));
        assert_eq!(around.touch(PIECE), None, "it was asked for");
        let end = 70 * PIECE;
        assert_eq!(around.touch(end), Some(Piece::Edge(end..end + 5)), "the last is short");
        assert_eq!(around.touch(3 * PIECE), None, "all but five bytes less are spent");
        assert_eq!(around.touch(99 * PIECE), None, "beyond the end");
        assert_eq!(around.touch(u64::MAX), None, "far beyond the end");
        let other = after_the_first(&allowance, 0, 2 * PIECE);
        assert_eq!(other.touch(0), None);
        drop(around);
        assert_eq!(other.touch(0), Some(Piece::Whole(0..PIECE)), "what is closed gives back");
        assert_eq!(other.touch(PIECE), Some(Piece::Whole(PIECE..2 * PIECE)));
        drop(other);
        assert_eq!(allowance.left(), 2 * PIECE);
    }

    /// What compaction brings in is asked for once, out of what its inputs give back.
    #[test]
    fn outputs_are_brought_in_out_of_the_share_of_their_inputs() {
        let allowance = Arc::new(Allowance::of(usize::try_from(PIECE).unwrap()));
        let input = after_the_first(&allowance, 0, 2 * PIECE);
        assert_eq!(input.touched_bytes(), PIECE, "the first touches count");
        assert!(input.touch(0).is_some() && input.touch(PIECE).is_some());
        assert_eq!(input.touched_bytes(), 2 * PIECE);
        let output = ReadAround::new(&allowance, 0, PIECE + 7);
        assert_eq!(output.bring_in(0), Some((None, PIECE)), "all is spent");
        input.give_back();
        assert_eq!(output.bring_in(0), Some((Some(Piece::Whole(0..PIECE)), PIECE)));
        let end = PIECE..PIECE + 7;
        assert_eq!(output.bring_in(PIECE), Some((Some(Piece::Edge(end.clone())), end.end)));
        assert_eq!(output.bring_in(end.end), None);
        assert_eq!(output.touched_bytes(), 0, "nobody has read it");
        assert!((0..2 * READ_ALONE_BLOCKS).all(|_| output.touch(0).is_none()), "it was asked for");
        assert_eq!(output.touched_bytes(), PIECE);
        input.give_back();
        drop((input, output));
        assert_eq!(allowance.left(), 2 * PIECE, "a share comes back once");
    }

    #[test]
    fn pieces_lie_in_the_file_as_huge_pages_do() {
        let allowance = Arc::new(Allowance::of(1 << 30));
        let around = after_the_first(&allowance, 7 * PIECE - 4096, 2 * PIECE);
        assert_eq!(around.touch(0), Some(Piece::Edge(0..4096)));
        assert_eq!(around.touch(4096), Some(Piece::Whole(4096..PIECE + 4096)));
        assert_eq!(around.touch(2 * PIECE - 1), Some(Piece::Edge(PIECE + 4096..2 * PIECE)));
        assert_eq!(around.bytes_of(&around.asked), 2 * PIECE);
    }

    #[test]
    fn without_an_allowance_nothing_is_asked_for() {
        let around = after_the_first(&Arc::default(), 0, 8 * PIECE);
        assert_eq!(around.touch(0), None);
    }
}
