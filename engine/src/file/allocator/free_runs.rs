//! The free runs of the grid: a map from offset to length, neighbours merged; and the same runs by
//! the class of their length, so that a fit is found without a look at all the short ones.
//!
//! ```text
//! class = logarithm of the length in blocks
//! a run of n blocks: the lowest run of each class above n's fits; of n's own class, the lowest
//! that is long enough and lies before that
//! ```
//!
//! # Invariants
//! 1. Runs are not empty, do not overlap and do not touch.
//! 2. `bytes` is the sum of their lengths.
//! 3. `classes` has exactly the runs of `runs`, each in the class of its length.

use crate::file::Extent;
use crate::limits::BLOCK_SIZE;
use std::collections::BTreeMap;

/// Free runs by offset, and by class and offset.
#[derive(Debug, Default, Clone)]
pub(super) struct FreeRuns {
    runs: BTreeMap<u64, u64>,
    classes: BTreeMap<u32, BTreeMap<u64, u64>>,
    bytes: u64,
}

/// Runs of one class differ in length by less than a factor of two.
fn class(length: u64) -> u32 {
    (length / BLOCK_SIZE).max(1).ilog2()
}

impl FreeRuns {
    /// Makes `extent` free. It must not be free already: that would be a second owner.
    pub(super) fn add(&mut self, extent: Extent) {
        if extent.length == 0 {
            return;
        }
        let (mut offset, mut end) = (extent.offset, extent.end());
        if let Some(before) = self.last_from_to(0, offset + 1) {
            assert!(before.end() <= offset, "{extent:?} is freed twice: {before:?} is free");
            if before.end() == offset {
                offset = before.offset;
                self.remove(before);
            }
        }
        if let Some((behind, length)) = self.runs.range(extent.offset..).next() {
            let behind = Extent { offset: *behind, length: *length };
            assert!(end <= behind.offset, "{extent:?} is freed twice: {behind:?} is free");
            if behind.offset == end {
                end = behind.end();
                self.remove(behind);
            }
        }
        self.insert(Extent { offset, length: end - offset });
    }

    /// Takes `length` bytes from the front of the first run that has them.
    pub(super) fn take_first(&mut self, length: u64) -> Option<Extent> {
        let run = self.first_fit(length)?;
        let taken = Extent { offset: run.offset, length };
        self.take(taken);
        Some(taken)
    }

    /// Takes `length` bytes from the front of the first run that has them, if they end at `end` or
    /// before.
    pub(super) fn take_first_before(&mut self, length: u64, end: u64) -> Option<Extent> {
        let run = self.first_fit(length)?;
        (run.offset.checked_add(length)? <= end).then(|| {
            let taken = Extent { offset: run.offset, length };
            self.take(taken);
            taken
        })
    }

    /// Takes a stretch that is free as a whole.
    pub(super) fn take(&mut self, extent: Extent) {
        let run = self.last_from_to(0, extent.offset + 1);
        let run = run.filter(|run| extent.end() <= run.end());
        let run = run.expect("only what is free is taken");
        self.remove(run);
        self.insert(Extent { offset: run.offset, length: extent.offset - run.offset });
        self.insert(Extent { offset: extent.end(), length: run.end() - extent.end() });
    }

    /// The run that ends at `end`, if there is one.
    pub(super) fn trailing(&self, end: u64) -> Option<Extent> {
        let (offset, length) = self.runs.last_key_value()?;
        let run = Extent { offset: *offset, length: *length };
        (run.end() == end).then_some(run)
    }

    /// Takes the run that ends at `end`, if there is one.
    pub(super) fn take_trailing(&mut self, end: u64) -> Option<Extent> {
        let run = self.trailing(end)?;
        self.remove(run);
        Some(run)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By offset.
    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> {
        self.runs.iter().map(|(offset, length)| Extent { offset: *offset, length: *length })
    }

    /// The runs that begin before `end`, the highest first.
    pub(super) fn iter_before(&self, end: u64) -> impl Iterator<Item = Extent> {
        let runs = self.runs.range(..end).rev();
        runs.map(|(offset, length)| Extent { offset: *offset, length: *length })
    }

    /// The lowest run of `length` bytes or more.
    fn first_fit(&self, length: u64) -> Option<Extent> {
        let own = class(length);
        let larger = self.classes.range(own + 1..);
        let larger = larger.filter_map(|(_, runs)| runs.first_key_value());
        let larger = larger.map(|(offset, length)| (*offset, *length)).min();
        let end = larger.map_or(u64::MAX, |(offset, _)| offset);
        let fits = |(_, found): &(&u64, &u64)| **found >= length;
        let of_own_class = self.classes.get(&own).and_then(|runs| runs.range(..end).find(fits));
        let found = of_own_class.map(|(offset, length)| (*offset, *length)).or(larger);
        found.map(|(offset, length)| Extent { offset, length })
    }

    /// The last run that begins in `from..to`.
    fn last_from_to(&self, from: u64, to: u64) -> Option<Extent> {
        let (offset, length) = self.runs.range(from..to).next_back()?;
        Some(Extent { offset: *offset, length: *length })
    }

    fn insert(&mut self, run: Extent) {
        if run.length == 0 {
            return;
        }
        self.runs.insert(run.offset, run.length);
        self.classes.entry(class(run.length)).or_default().insert(run.offset, run.length);
        self.bytes += run.length;
    }

    fn remove(&mut self, run: Extent) {
        let length = self.runs.remove(&run.offset);
        debug_assert_eq!(length, Some(run.length), "the run is there");
        let class = class(run.length);
        if let Some(runs) = self.classes.get_mut(&class) {
            runs.remove(&run.offset);
            if runs.is_empty() {
                self.classes.remove(&class);
            }
        }
        self.bytes -= run.length;
    }
}
