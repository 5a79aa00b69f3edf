//! The numbers of the segments that the entries of an SSTable refer to.

use crate::segment::Reference;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A set of numbers that is mostly told the same one again.
#[derive(Debug, Default)]
pub(super) struct SegmentNumbers {
    numbers: BTreeSet<u64>,
    last: u64,
}

impl SegmentNumbers {
    pub(super) fn note(&mut self, reference: Reference) {
        let number = reference.number();
        if number != self.last {
            self.last = number;
            self.numbers.insert(number);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn into_sorted(self) -> Arc<[u64]> {
        self.numbers.into_iter().collect()
    }
}
