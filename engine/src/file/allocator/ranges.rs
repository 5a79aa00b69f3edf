//! A set of ranges of the file, for what is remembered about free space: which of it has been free
//! for long, and which of it has no room on the device.
//!
//! # Invariants
//! 1. Ranges are not empty and do not overlap; neighbours may touch.
//! 2. `bytes` is the sum of their lengths.

use crate::file::Extent;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    ranges: BTreeMap<u64, u64>,
    bytes: u64,
}

impl FromIterator<Extent> for Ranges {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Ranges {
        let mut ranges = Ranges::default();
        extents.into_iter().for_each(|extent| ranges.add(extent));
        ranges
    }
}

impl Ranges {
    /// Adds a range of which nothing is in the set.
    pub(super) fn add(&mut self, extent: Extent) {
        if extent.length > 0 {
            debug_assert_eq!(self.common(extent).next(), None, "{extent:?} is added twice");
            self.ranges.insert(extent.offset, extent.length);
            self.bytes += extent.length;
        }
    }

    /// Takes out whatever of `extent` is in the set.
    pub(super) fn remove(&mut self, extent: Extent) {
        let touched: Vec<Extent> = self.touching(extent).collect();
        for range in touched {
            self.ranges.remove(&range.offset);
            self.bytes -= range.length;
            let front = extent.offset.saturating_sub(range.offset);
            let back = range.end().saturating_sub(extent.end());
            self.add(Extent { offset: range.offset, length: front });
            self.add(Extent { offset: range.end() - back, length: back });
        }
    }

    /// What `extent` and the set have in common, by offset.
    pub(super) fn common(&self, extent: Extent) -> impl Iterator<Item = Extent> {
        self.touching(extent).map(move |range| {
            let offset = range.offset.max(extent.offset);
            Extent { offset, length: range.end().min(extent.end()) - offset }
        })
    }

    /// What of `extent` is not in the set, by offset.
    pub(super) fn missing(&self, extent: Extent) -> Vec<Extent> {
        let mut missing = Vec::new();
        let mut position = extent.offset;
        for range in self.common(extent) {
            missing.push(Extent { offset: position, length: range.offset - position });
            position = range.end();
        }
        missing.push(Extent { offset: position, length: extent.end() - position });
        missing.retain(|gap| gap.length > 0);
        missing
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The ranges that share a byte with `extent`.
    fn touching(&self, extent: Extent) -> impl Iterator<Item = Extent> {
        let range = |(offset, length): (&u64, &u64)| Extent { offset: *offset, length: *length };
        let before = self.ranges.range(..extent.offset).next_back().map(range);
        let before = before.filter(move |range| range.end() > extent.offset);
        let inside = self.ranges.range(extent.offset..extent.end()).map(range);
        before.into_iter().chain(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_bytes(
            calls in prop::collection::vec((any::<bool>(), 0..60u64, 0..9u64), 1..60),
        ) {
            let mut ranges = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for (add, offset, length) in calls {
                let range = extent(offset, length);
                if add {
                    for gap in ranges.missing(range) {
                        ranges.add(gap);
                    }
                    model.extend(offset..offset + length);
                } else {
                    ranges.remove(range);
                    model.retain(|byte| !(offset..offset + length).contains(byte));
                }
                prop_assert_eq!(ranges.bytes(), model.len() as u64);
                for byte in 0..80 {
                    let found = ranges.common(extent(byte, 1)).count() == 1;
                    prop_assert_eq!(found, model.contains(&byte));
                    prop_assert_eq!(ranges.missing(extent(byte, 1)).is_empty(), found);
                }
            }
        }
    }
}
