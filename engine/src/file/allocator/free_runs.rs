//! The free runs of the grid: a map from offset to length, neighbours merged.
//!
//! # Invariants
//! 1. Runs are not empty, do not overlap and do not touch.
//! 2. `bytes` is the sum of their lengths.

use crate::file::Extent;
use std::collections::BTreeMap;

/// Free runs by offset.
#[derive(Debug, Default)]
pub(super) struct FreeRuns {
    runs: BTreeMap<u64, u64>,
    bytes: u64,
}

impl FreeRuns {
    /// Makes `extent` free. It must not be free already: that would be a second owner.
    pub(super) fn add(&mut self, extent: Extent) {
        if extent.length == 0 {
            return;
        }
        let (mut offset, mut end) = (extent.offset, extent.end());
        if let Some((before, length)) = self.runs.range(..=offset).next_back() {
            let before = Extent { offset: *before, length: *length };
            assert!(before.end() <= offset, "{extent:?} is freed twice: {before:?} is free");
            if before.end() == offset {
                offset = before.offset;
            }
        }
        if let Some((behind, length)) = self.runs.range(extent.offset..).next() {
            let behind = Extent { offset: *behind, length: *length };
            assert!(end <= behind.offset, "{extent:?} is freed twice: {behind:?} is free");
            if behind.offset == end {
                end = behind.end();
                self.runs.remove(&behind.offset);
            }
        }
        self.runs.insert(offset, end - offset);
        self.bytes += extent.length;
    }

    /// Takes `length` bytes from the front of the first run that has them.
    pub(super) fn take_first(&mut self, length: u64) -> Option<Extent> {
        let found = self.runs.iter().find(|(_, free)| **free >= length);
        let (offset, free) = found.map(|(offset, free)| (*offset, *free))?;
        self.runs.remove(&offset);
        if free > length {
            self.runs.insert(offset + length, free - length);
        }
        self.bytes -= length;
        Some(Extent { offset, length })
    }

    /// Takes the run that ends at `end`, if there is one.
    pub(super) fn take_trailing(&mut self, end: u64) -> Option<Extent> {
        let last = self.runs.last_entry()?;
        let run = Extent { offset: *last.key(), length: *last.get() };
        if run.end() != end {
            return None;
        }
        last.remove();
        self.bytes -= run.length;
        Some(run)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> {
        self.runs.iter().map(|(offset, length)| Extent { offset: *offset, length: *length })
    }
}
