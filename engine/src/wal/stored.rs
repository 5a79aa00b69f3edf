//! The unsynced part of the log, stored into the page cache instead of written to the device: a
//! commit that nobody asked to be durable waits for no disk.
//!
//! # Invariants
//! 1. A group is stored only where its first page holds nothing that a sync speaks of: the page is
//!    written again as a whole, and a power loss would tear that too. `WalState` keeps watch.
//!    Elsewhere the group is written directly, which touches its own blocks alone; that is so for
//!    the few groups behind a sync, up to the next page.
//! 2. Stores and direct writes of the ring never overlap in time: both are the leader's.
//! 3. By a write, the block that a group reaches first is written whole, with zeros behind the
//!    group: else the system would have to read it. They lie in what is free, since a block of the
//!    ring always is, and to replay they are a new ring.
//!
//! # Concurrency
//! The leader's own.

use super::ring::Ring;
use crate::error::{Error, Result};
use crate::file::{Disk, StoreBy, Stores};
use crate::limits::{BLOCK_SIZE, STORED_PIECE_BYTES};
use std::sync::Arc;

/// How unsynced groups reach the file.
pub(super) enum UnsyncedGroups {
    /// By direct writes: stores were not asked for, or are not to be had.
    Written,
    /// By stores, once there is something to store.
    ToBeOpened(StoreBy),
    /// By stores.
    Stored(StoredLog),
}

/// The ring, open for stores.
pub(super) struct StoredLog {
    ring: Ring,
    stores: Arc<dyn Stores>,
    by: StoreBy,
    /// A group with the zeros behind it.
    padded: Vec<u8>,
    /// The device was told to begin with what lies before this.
    begun: u64,
}

impl UnsyncedGroups {
    /// The ring, where groups are to be stored. One that takes no stores is written.
    pub(super) fn stored(
        &mut self,
        disk: &dyn Disk,
        ring: Ring,
        lsn: u64,
    ) -> Option<&mut StoredLog> {
        if let UnsyncedGroups::ToBeOpened(by) = *self {
            let extent = ring.extent();
            let opened = disk.open_stores(extent.offset, extent.length, by).ok().flatten();
            *self = match opened {
                Some(stores) => {
                    let log = StoredLog { ring, stores, by, padded: Vec::new(), begun: lsn };
                    log.read_ahead(lsn);
                    UnsyncedGroups::Stored(log)
                }
                None => UnsyncedGroups::Written,
            };
        }
        match self {
            UnsyncedGroups::Stored(log) => Some(log),
            UnsyncedGroups::Written | UnsyncedGroups::ToBeOpened(_) => None,
        }
    }
}

impl StoredLog {
    /// Stores the bytes of `lsn`, in two pieces where they wrap.
    pub(super) fn store(&mut self, lsn: u64, bytes: &[u8]) -> Result<()> {
        let bytes = match self.by {
            StoreBy::Write => with_whole_block(&mut self.padded, lsn, bytes),
            StoreBy::Map => bytes,
        };
        for (place, part) in self.ring.parts(lsn, bytes) {
            let stored = self.stores.store(place, part);
            stored.map_err(|error| Error::io("store a WAL group", place, error))?;
        }
        Ok(())
    }

    /// Behind a group that ends at `end`: lets the device begin with whole pages, a piece at a
    /// time, so that the next sync finds little to do.
    pub(super) fn begin_writing(&mut self, end: u64) {
        let end = end - end % BLOCK_SIZE;
        if end < self.begun + STORED_PIECE_BYTES {
            return;
        }
        // What was written directly meanwhile is clean, and costs nothing. The piece before is told
        // again: by now it is clean too, and leaves the cache.
        let from = self.begun.saturating_sub(STORED_PIECE_BYTES);
        let from = from.max(end.saturating_sub(self.ring.length()));
        let start = self.ring.place(from);
        let front = (self.ring.extent().end() - start).min(end - from);
        self.stores.start_writing(start, front);
        if front < end - from {
            self.stores.start_writing(self.ring.extent().offset, end - from - front);
        }
        self.begun = end;
        self.read_ahead(end);
    }

    /// Lets the device read the piece that begins at `from`, and what groups reach into behind it:
    /// a map has to have the pages that are stored to.
    fn read_ahead(&self, from: u64) {
        if self.by == StoreBy::Write {
            return;
        }
        let length = (2 * STORED_PIECE_BYTES).min(self.ring.length());
        let place = self.ring.place(from);
        let front = (self.ring.extent().end() - place).min(length);
        self.stores.read_ahead(place, front);
        self.stores.read_ahead(self.ring.extent().offset, length - front);
    }
}

/// The bytes of `lsn`, and zeros up to the end of their last block, unless that was begun before.
fn with_whole_block<'a>(padded: &'a mut Vec<u8>, lsn: u64, bytes: &'a [u8]) -> &'a [u8] {
    let end = lsn + bytes.len() as u64;
    let block = (end - 1) / BLOCK_SIZE * BLOCK_SIZE;
    if block < lsn || end.is_multiple_of(BLOCK_SIZE) {
        return bytes;
    }
    let zeros = usize::try_from(block + BLOCK_SIZE - end).expect("they are below a block");
    padded.clear();
    padded.extend_from_slice(bytes);
    padded.resize(bytes.len() + zeros, 0);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_written_whole_by_the_group_that_reaches_it_first() {
        let length = |lsn, bytes: usize| {
            let mut padded = vec![9; 5];
            let group = vec![1; bytes];
            let stored = with_whole_block(&mut padded, lsn, &group);
            assert_eq!(&stored[..bytes], &group);
            assert!(stored[bytes..].iter().all(|byte| *byte == 0));
            stored.len()
        };
        assert_eq!(length(8192, 512), 4096, "it begins the block");
        assert_eq!(length(8704, 512), 512, "the block was begun by the group before");
        assert_eq!(length(8704, 3584), 3584, "it ends with the block");
        assert_eq!(length(8704, 4096), 3584 + 4096, "it reaches into the next one");
        assert_eq!(length(8192, 8192), 8192);
    }
}
