//! Where the data blocks of an SSTable lie, in memory: four bytes a block, so that a lookup finds
//! its block without a page of the index.
//!
//! # Invariants
//! 1. They are what the verified index says. What that does not say, since a page is damaged or
//!    blocks do not follow each other, they leave out: then the index is asked, and tells.

use super::index::IndexEntry;
use std::ops::Range;

/// Offset of each data block, and behind the last one where it ends.
#[derive(Debug)]
pub(super) struct BlockPlaces(Box<[u32]>);

/// The place of a block that is not known.
const UNKNOWN: u32 = u32::MAX;

impl BlockPlaces {
    /// Those of the blocks that the index lists, one behind the other.
    pub(super) fn of(entries: impl Iterator<Item = Option<IndexEntry>>) -> BlockPlaces {
        let place = |offset: u64| u32::try_from(offset).unwrap_or(UNKNOWN);
        let (mut places, mut end) = (Vec::new(), UNKNOWN);
        for entry in entries {
            let start = entry.map_or(UNKNOWN, |entry| place(entry.offset));
            // A block that does not begin where the last one ended hides where that one ends.
            places.push(if end == UNKNOWN || end == start { start } else { UNKNOWN });
            end = entry.map_or(UNKNOWN, |entry| place(entry.offset + u64::from(entry.length)));
        }
        places.push(end);
        BlockPlaces(places.into())
    }

    /// The bytes of a block, if they are known.
    #[inline]
    pub(super) fn get(&self, block: u32) -> Option<Range<u32>> {
        let block = block as usize;
        let (start, end) = (*self.0.get(block)?, *self.0.get(block + 1)?);
        (start < end && end != UNKNOWN).then_some(start..end)
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64, length: u32) -> Option<IndexEntry> {
        Some(IndexEntry {
            offset,
            length,
            checksum: 0,
            first_seq: 0,
            base_index: 0,
            base_commit: 0,
            base_time: 0,
        })
    }

    #[test]
    fn only_what_the_index_says_is_known() {
        let far = 1 << 32;
        let entries =
            [entry(0, 10), entry(10, 20), None, entry(40, 5), entry(50, 7), entry(far, 9)];
        let places = BlockPlaces::of(entries.into_iter());
        assert_eq!(places.get(0), Some(0..10));
        let unknown = [1, 2, 3, 4, 5, 6, u32::MAX];
        assert!(unknown.iter().all(|block| places.get(*block).is_none()), "{places:?}");
        let places = BlockPlaces::of([entry(0, 10), entry(10, 20)].into_iter());
        assert_eq!((places.get(1), places.get(2)), (Some(10..30), None));
    }
}
