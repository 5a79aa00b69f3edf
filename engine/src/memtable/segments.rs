//! A vector of up to 4 Gi items that grows by segments and never moves what it holds, so that a
//! reader may keep a reference while the writer appends.
//!
//! ```text
//! segment  0 … 7   8 … 15   16 … 23   24 …
//! items    128     256      512       1,024 …    eight segments of a size, then twice the size
//! ```
//!
//! So a tiny memtable is tiny, a large one wastes at most an eighth, and an index is turned into
//! its place by a count of leading zeros and two shifts.
//!
//! # Invariants
//! 1. A segment is allocated once and freed with the whole.
//! 2. An index is read only after it was published by an acquire load of something its writer
//!    released later: then its segment is there.
//!
//! # Concurrency
//! One writer allocates; any number of readers. No locks.

use std::sync::OnceLock;

/// Logarithm of the items in the first segment. Loom pays for every atomic, and its threads have
/// small stacks, so it gets few.
const FIRST_BITS: u32 = if cfg!(loom) { 3 } else { 7 };
/// Logarithm of the number of segments of one size.
const PIECE_BITS: u32 = 3;
/// Logarithm of the number that is added to an index to make its leading bit name its size class.
const BASE_BITS: u32 = FIRST_BITS + PIECE_BITS;
/// Size classes: the last one ends where indexes end.
const SIZE_CLASSES_U32: u32 = if cfg!(loom) { 3 } else { u32::BITS - BASE_BITS };
pub(super) const SIZE_CLASSES: usize = SIZE_CLASSES_U32 as usize;
/// Segments of one size.
pub(super) const PIECES: usize = 1 << PIECE_BITS;
const SEGMENT_COUNT: usize = SIZE_CLASSES * PIECES;

/// Items that fit: indexes are below this.
pub(super) const CAPACITY: u32 =
    (u32::MAX >> (u32::BITS - BASE_BITS - SIZE_CLASSES_U32)) - (1 << BASE_BITS) + 1;

/// See the module.
pub(super) struct Segments<T> {
    segments: [OnceLock<Box<[T]>>; SEGMENT_COUNT],
}

/// Where an index lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: usize,
    pub(super) offset: usize,
    /// Items in the segment.
    pub(super) length: usize,
}

/// The place of `index`.
pub(super) fn place(index: u32) -> Place {
    debug_assert!(index < CAPACITY);
    let based = index + (1 << BASE_BITS);
    let class = based.ilog2() - BASE_BITS;
    let bits = class + FIRST_BITS;
    let piece = (based >> bits) & ((1 << PIECE_BITS) - 1);
    Place {
        segment: ((class << PIECE_BITS) + piece) as usize,
        offset: (based & ((1 << bits) - 1)) as usize,
        length: 1 << bits,
    }
}

/// The size class of the segment in which `index` lies, and its offset where all segments of that
/// size lie one behind the other.
pub(super) fn place_in_class(index: u32) -> (usize, usize) {
    debug_assert!(index < CAPACITY);
    let based = index + (1 << BASE_BITS);
    let bits = based.ilog2();
    ((bits - BASE_BITS) as usize, (based - (1 << bits)) as usize)
}

impl<T: Default> Segments<T> {
    pub(super) fn new() -> Segments<T> {
        Segments { segments: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Makes sure that the segment at `place` is there. Returns the bytes allocated for it now.
    pub(super) fn ensure(&self, place: Place) -> usize {
        let slot = &self.segments[place.segment];
        if slot.get().is_some() {
            return 0;
        }
        slot.get_or_init(|| (0..place.length).map(|_| T::default()).collect());
        place.length * size_of::<T>()
    }

    /// Item `index`, which was published.
    pub(super) fn get(&self, index: u32) -> &T {
        let place = place(index);
        &self.segment(place)[place.offset]
    }

    fn segment(&self, place: Place) -> &[T] {
        self.segments[place.segment].get().expect("published indexes lie in allocated segments")
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_dense_and_reach_the_end() {
        let mut expected = Place { segment: 0, offset: 0, length: 128 };
        for index in 0..100_000 {
            assert_eq!(place(index), expected, "index {index}");
            let (class, offset) = place_in_class(index);
            let in_class = expected.segment % PIECES * expected.length + expected.offset;
            assert_eq!((class, offset), (expected.segment / PIECES, in_class), "index {index}");
            expected.offset += 1;
            if expected.offset == expected.length {
                expected.segment += 1;
                expected.offset = 0;
                expected.length = 128 << (expected.segment / 8);
            }
        }
        let last = place(CAPACITY - 1);
        assert_eq!((last.segment, last.offset), (SEGMENT_COUNT - 1, last.length - 1));
    }

    #[test]
    fn segments_are_allocated_once() {
        let segments = Segments::<u64>::new();
        assert_eq!(segments.ensure(place(5)), 128 * 8);
        assert_eq!(segments.ensure(place(127)), 0);
        assert_eq!(segments.ensure(place(1024)), 256 * 8);
        assert_eq!(*segments.get(120), 0);
    }
}
