//! Between which keys the damaged stretches of an SSTable lie: all that can be said of what nothing
//! readable names.

use crate::version::SstableMeta;
use std::ops::Range;

/// A readable block.
#[derive(Debug)]
struct Readable {
    place: Range<u64>,
    first: Box<[u8]>,
    last: Box<[u8]>,
}

/// The readable blocks, and the stretches between them.
#[derive(Debug, Default)]
pub(super) struct KeyBounds {
    /// In order.
    blocks: Vec<Readable>,
    /// From the first to the last byte that could not be read as what it should be.
    damaged: Option<Range<u64>>,
}

impl KeyBounds {
    pub(super) fn readable(&mut self, place: Range<u64>, first: &[u8], last: &[u8]) {
        self.blocks.push(Readable { place, first: first.into(), last: last.into() });
    }

    pub(super) fn damaged(&mut self, place: &Range<u64>) {
        let known = self.damaged.get_or_insert(place.clone());
        known.start = known.start.min(place.start);
        known.end = known.end.max(place.end);
    }

    /// The keys around all damaged stretches, themselves included.
    pub(super) fn around(&self, meta: &SstableMeta) -> (Box<[u8]>, Box<[u8]>) {
        let (first, last) = (meta.first.0.clone(), meta.last.0.clone());
        let Some(damaged) = &self.damaged else {
            return (first, last);
        };
        let before = self.blocks.iter().rfind(|block| block.place.end <= damaged.start);
        let behind = self.blocks.iter().find(|block| block.place.start >= damaged.end);
        (
            before.map_or(first, |block| block.last.clone()),
            behind.map_or(last, |block| block.first.clone()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::timeline_meta;

    #[test]
    fn the_keys_around_a_stretch_are_those_of_its_neighbours() {
        let meta = timeline_meta(1, ("a", 1), ("z", 9));
        let mut bounds = KeyBounds::default();
        assert_eq!(bounds.around(&meta), (b"a"[..].into(), b"z"[..].into()));
        bounds.readable(0..100, b"a", b"c");
        bounds.readable(200..300, b"k", b"m");
        bounds.damaged(&(100..200));
        assert_eq!(bounds.around(&meta), (b"c"[..].into(), b"k"[..].into()));
        bounds.damaged(&(300..350));
        assert_eq!(bounds.around(&meta), (b"c"[..].into(), b"z"[..].into()));
    }
}
