//! The writer of the write-ahead log.

use super::MemoryDisk;
use crate::error::Result;
use crate::file::{Extent, FileId};
use crate::limits::BLOCK_SIZE;
use crate::wal::{WalPosition, Writer};
use std::sync::Arc;

const FILE: FileId = FileId([5; 16]);
const SALT: u64 = 9;

/// A log over memory.
pub struct Log {
    writer: Writer,
    next_commit: u64,
}

impl Log {
    /// An empty log with a ring of so many blocks.
    pub fn new(blocks: u64) -> Log {
        let length = blocks * BLOCK_SIZE;
        let disk = vec![0; usize::try_from(length).expect("a ring in memory is small")];
        let ring = Extent { offset: 0, length };
        let start = WalPosition { lsn: 0, previous: 0 };
        let disk = Arc::new(MemoryDisk::from_bytes(disk));
        Log { writer: Writer::new(disk, FILE, ring, SALT, start), next_commit: 1 }
    }

    /// Appends a group of these bodies, durably, and releases it. Gives the bytes it took.
    ///
    /// # Errors
    /// None that this disk has.
    pub fn append(&mut self, bodies: &[Vec<u8>]) -> Result<u64> {
        let before = self.writer.position().lsn;
        let end = self.writer.write_group(self.next_commit, 1, bodies, true)?.lsn;
        self.next_commit += bodies.len() as u64;
        self.writer.state().release(end);
        Ok(end - before)
    }
}
