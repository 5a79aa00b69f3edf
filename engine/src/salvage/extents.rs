//! Stretches of a file, none over another.
//!
//! What a store has in use never lies over each other. A manifest or a log whose checksums hold may
//! say otherwise, any number of times, and each structure is read at least once: so one that lies
//! over another is not looked at.

use crate::file::Extent;
use std::collections::BTreeMap;

/// See the module: where each ends, by where it begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Extents(BTreeMap<u64, u64>);

impl Extents {
    /// Takes `bytes` from the front of an extent, if nothing else lies there.
    pub(super) fn take(&mut self, extent: Extent, bytes: u64) -> bool {
        let end = extent.offset.saturating_add(bytes);
        let free = !self.meet(extent.offset, end);
        if free {
            self.0.insert(extent.offset, end);
        }
        free
    }

    /// Gives one back that was taken.
    pub(super) fn give_back(&mut self, extent: Extent) {
        self.0.remove(&extent.offset);
    }

    /// Whether any of them lies over `bytes` at the front of an extent.
    pub(super) fn have(&self, extent: Extent, bytes: u64) -> bool {
        self.meet(extent.offset, extent.offset.saturating_add(bytes))
    }

    fn meet(&self, start: u64, end: u64) -> bool {
        // Of those that begin before the end, the last one reaches furthest.
        let last = self.0.range(..end).next_back();
        last.is_some_and(|(_, last)| *last > start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_over_another_is_not_taken() {
        let mut extents = Extents::default();
        let at = |offset| Extent { offset, length: 1 << 40 };
        assert!(extents.take(at(4096), 4096) && extents.take(at(12_288), 100));
        for (offset, bytes, free) in [
            (0, 4096, true),
            (0, 4097, false),
            (4096, 4096, false),
            (5000, 10, false),
            (8192, 4096, true),
            (8192, 4097, false),
            (0, u64::MAX, false),
            (12_388, u64::MAX, true),
        ] {
            assert_eq!(!extents.have(at(offset), bytes), free, "{bytes} at {offset}");
            assert_eq!(extents.clone().take(at(offset), bytes), free, "{bytes} at {offset}");
        }
        extents.give_back(at(4096));
        assert!(extents.have(at(12_288), 1) && extents.take(at(5000), 10));
    }
}
