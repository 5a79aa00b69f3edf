//! The allocator of extents.

use super::MemoryDisk;
use crate::error::Result;
use crate::file::{Allocator, Extent};
use crate::limits::BLOCK_SIZE;
use std::sync::Arc;

/// An allocator in which extents come and go.
pub struct Extents {
    allocator: Arc<Allocator>,
    live: Vec<Extent>,
    generation: u64,
}

impl Extents {
    /// An allocator of so many blocks in which every other one is in use.
    ///
    /// # Errors
    /// None that this disk has.
    pub fn new(blocks: u64) -> Result<Extents> {
        let extent = |block: u64| Extent { offset: block * BLOCK_SIZE, length: BLOCK_SIZE };
        let live: Vec<Extent> = (0..blocks).step_by(2).map(extent).collect();
        let disk = Arc::new(MemoryDisk::default());
        let allocator = Arc::new(Allocator::new(disk, 0, blocks * BLOCK_SIZE, &live)?);
        Ok(Extents { allocator, live, generation: 1 })
    }

    /// Lets an extent go and takes one of as many bytes, so many times; a superblock in between
    /// makes what went free for use. Gives the count of those taken.
    ///
    /// # Errors
    /// `NoSpace`, which it should not give.
    pub fn turn_over(&mut self, count: usize) -> Result<u64> {
        for index in 0..count {
            let place = index * 7919 % self.live.len();
            self.allocator.release(self.live[place], self.generation);
            self.generation += 1;
            self.allocator.durable(self.generation);
            let reserved = self.allocator.reserve(BLOCK_SIZE, "a measured extent")?;
            self.live[place] = reserved.commit(BLOCK_SIZE);
        }
        Ok(count as u64)
    }
}
