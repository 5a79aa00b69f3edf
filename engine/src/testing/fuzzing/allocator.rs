//! The extent allocator.

use crate::error::Result;
use crate::file::{Allocator, Extent, ExtentGuard, Giving, Reservation};
use crate::testing::SimDisk;
use std::sync::Arc;

/// An allocator of the file's grid.
#[derive(Debug, Clone)]
pub struct Extents(Arc<Allocator>);

/// An extent that nobody else gets until it is committed or dropped.
#[derive(Debug)]
pub struct Reserved(Reservation);

/// A reader's hold on an extent.
#[derive(Debug)]
pub struct Guard(ExtentGuard);

impl Extents {
    /// An allocator in which `live` is in use.
    ///
    /// # Errors
    /// Corruption where that cannot be.
    pub fn new(disk: &SimDisk, grid_start: u64, length: u64, live: &[Extent]) -> Result<Extents> {
        let allocator = Allocator::new(Arc::new(disk.clone()), grid_start, length, live)?;
        Ok(Extents(Arc::new(allocator)))
    }

    /// Reserves at least so many bytes.
    ///
    /// # Errors
    /// No space; the disk's.
    pub fn reserve(&self, bytes: u64) -> Result<Reserved> {
        self.0.reserve(bytes, "a fuzzed extent").map(Reserved)
    }

    /// The extent is in no version; the superblock of `generation` was the last to name it.
    pub fn release(&self, extent: Extent, generation: u64) {
        self.0.release(extent, generation);
    }

    /// No superblock ever named the extent.
    pub fn forfeit(&self, extent: Extent) {
        self.0.forfeit(extent);
    }

    /// The superblock of `sequence` is durable.
    pub fn durable(&self, sequence: u64) {
        self.0.durable(sequence);
    }

    /// A reader's hold.
    pub fn guard(&self, extent: Extent) -> Guard {
        Guard(ExtentGuard::new(extent, Arc::clone(&self.0)))
    }

    /// What is free now is cold from now on, until somebody takes it.
    pub fn look(&self) {
        self.0.look();
    }

    /// Lets the grid end earlier, and cuts the file there, as behind a durable superblock. Says
    /// whether there was anything to cut.
    ///
    /// # Errors
    /// The disk's.
    pub fn cut(&self, keep_bytes: u64, least_bytes: u64, warm: bool) -> Result<bool> {
        let cut = self.0.cut(Giving { keep_bytes, least_bytes, warm });
        while self.0.shorten(self.0.file_length())? {}
        Ok(cut)
    }

    /// Punches one hole, if there is one to punch; says whether there may be more.
    ///
    /// # Errors
    /// The disk's.
    pub fn punch(&self, keep_bytes: u64, least_bytes: u64, warm: bool) -> Result<bool> {
        self.0.punch(Giving { keep_bytes, least_bytes, warm })
    }

    /// Bytes of free space without room on the device.
    pub fn hole_bytes(&self) -> u64 {
        self.0.holes()
    }

    /// The free runs, by offset.
    pub fn free_runs(&self) -> Vec<Extent> {
        self.0.free_runs()
    }

    /// Bytes that are free, and bytes that wait for a superblock.
    pub fn byte_counts(&self) -> (u64, u64) {
        (self.0.free_bytes(), self.0.released())
    }

    /// The durable length of the file.
    pub fn file_length(&self) -> u64 {
        self.0.file_length()
    }
}

impl Reserved {
    /// What is reserved.
    pub fn extent(&self) -> Extent {
        self.0.extent()
    }

    /// Keeps the front.
    pub fn commit(self, bytes: u64) -> Extent {
        self.0.commit(bytes)
    }
}

impl Guard {
    /// The extent is released when the guard goes.
    pub fn mark_obsolete(&self, generation: u64) {
        self.0.mark_obsolete(generation);
    }
}
