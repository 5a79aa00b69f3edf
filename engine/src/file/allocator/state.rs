//! What the allocator knows of the grid, behind its lock: map operations only.

use super::free_runs::FreeRuns;
use super::ranges::Ranges;
use crate::file::Extent;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) free: FreeRuns,
    /// Free since the last look at least. A part of `free`.
    pub(super) cold: Ranges,
    /// Free, and without room on the device. A part of `free`.
    pub(super) holes: Ranges,
    /// Where the grid ends: what the next superblock says.
    pub(super) file_length: u64,
    /// Where the file itself ends; never before the grid, nor before what the superblock says.
    pub(super) physical_length: u64,
    /// Free space from here on was looked through for holes to punch.
    pub(super) punched_from: u64,
    /// What may hold bytes that are to be erased, unless it is live: see `scrubbing.rs`.
    pub(super) dirty: Ranges,
    /// Sequence of the newest superblock that is known to be durable.
    pub(super) durable: u64,
    /// Extents that wait, by the generation that was the last to name them.
    pub(super) released: BTreeMap<u64, Vec<Extent>>,
}

impl State {
    /// Takes the first fit.
    pub(super) fn take_first(&mut self, length: u64) -> Option<Extent> {
        let extent = self.free.take_first(length)?;
        self.cold.remove(extent);
        Some(extent)
    }

    /// Takes the first fit that ends at `end` or before.
    pub(super) fn take_first_before(&mut self, length: u64, end: u64) -> Option<Extent> {
        let extent = self.free.take_first_before(length, end)?;
        self.cold.remove(extent);
        Some(extent)
    }

    /// Takes the first fit that has room on the device.
    pub(super) fn take_solid(&mut self, length: u64) -> Option<Extent> {
        let parts = self.free.iter().flat_map(|run| self.holes.missing(run));
        let part = parts.into_iter().find(|part| part.length >= length)?;
        let extent = Extent { offset: part.offset, length };
        self.take(extent);
        Some(extent)
    }

    /// Takes a stretch that is free as a whole.
    pub(super) fn take(&mut self, extent: Extent) {
        self.free.take(extent);
        self.cold.remove(extent);
    }

    /// Takes the free run at the end of the grid.
    pub(super) fn take_trailing(&mut self) -> Option<Extent> {
        let run = self.free.take_trailing(self.file_length)?;
        self.cold.remove(run);
        Some(run)
    }

    /// Free bytes that have room on the device.
    pub(super) fn solid_bytes(&self) -> u64 {
        // What is being filled may be neither free nor forgotten as a hole for a moment.
        self.free.bytes().saturating_sub(self.holes.bytes())
    }

    /// The superblock of `sequence` is durable.
    pub(super) fn durable(&mut self, sequence: u64) {
        self.durable = self.durable.max(sequence);
        while let Some(waiting) = self.released.first_entry() {
            if waiting.key().saturating_add(2) > sequence {
                break;
            }
            for extent in waiting.remove() {
                self.free.add(extent);
            }
        }
    }

    pub(super) fn released_bytes(&self) -> u64 {
        self.released.values().flatten().map(|extent| extent.length).sum()
    }
}
