//! The unsynced part of the log, stored into the page cache instead of written to the device: a
//! commit that nobody asked to be durable waits for no disk.
//!
//! # Invariants
//! 1. A group is stored only where its first page holds nothing that a sync speaks of: the page is
//!    written again as a whole, and a power loss would tear that too. `WalState` keeps watch.
//!    Elsewhere the group is written directly, which touches its own blocks alone; that is so for
//!    the few groups behind a sync, up to the next page.
//! 2. Stores and direct writes of the ring never overlap in time: both are the leader's.
//!
//! # Concurrency
//! The leader's own.

use super::ring::Ring;
use crate::error::{Error, Result};
use crate::file::{Disk, Stores};
use crate::limits::{BLOCK_SIZE, STORED_PIECE_BYTES};
use std::sync::Arc;

/// How unsynced groups reach the file.
pub(super) enum UnsyncedGroups {
    /// By direct writes: stores were not asked for, or are not to be had.
    Written,
    /// By stores, once there is something to store.
    ToBeMapped,
    /// By stores.
    Stored(StoredLog),
}

/// The ring, mapped.
pub(super) struct StoredLog {
    ring: Ring,
    stores: Arc<dyn Stores>,
    /// The device was told to begin with what lies before this.
    begun: u64,
}

impl UnsyncedGroups {
    /// The mapped ring, where groups are to be stored. A ring that cannot be mapped is written.
    pub(super) fn stored(
        &mut self,
        disk: &dyn Disk,
        ring: Ring,
        lsn: u64,
    ) -> Option<&mut StoredLog> {
        if matches!(self, UnsyncedGroups::ToBeMapped) {
            let extent = ring.extent();
            let mapped = disk.map_stores(extent.offset, extent.length).ok().flatten();
            *self = match mapped {
                Some(stores) => {
                    let log = StoredLog { ring, stores, begun: lsn };
                    log.read_ahead(lsn);
                    UnsyncedGroups::Stored(log)
                }
                None => UnsyncedGroups::Written,
            };
        }
        match self {
            UnsyncedGroups::Stored(log) => Some(log),
            UnsyncedGroups::Written | UnsyncedGroups::ToBeMapped => None,
        }
    }
}

impl StoredLog {
    /// Stores the bytes of `lsn`, in two pieces where they wrap.
    pub(super) fn store(&self, lsn: u64, bytes: &[u8]) -> Result<()> {
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
        // What was written directly meanwhile is clean, and costs nothing.
        let from = self.begun.max(end.saturating_sub(self.ring.length()));
        let start = self.ring.place(from);
        let front = (self.ring.extent().end() - start).min(end - from);
        self.stores.start_writing(start, front);
        if front < end - from {
            self.stores.start_writing(self.ring.extent().offset, end - from - front);
        }
        self.begun = end;
        self.read_ahead(end);
    }

    /// Lets the device read the piece that begins at `from`, and what groups reach into behind it.
    fn read_ahead(&self, from: u64) {
        let length = (2 * STORED_PIECE_BYTES).min(self.ring.length());
        let place = self.ring.place(from);
        let front = (self.ring.extent().end() - place).min(length);
        self.stores.read_ahead(place, front);
        self.stores.read_ahead(self.ring.extent().offset, length - front);
    }
}
