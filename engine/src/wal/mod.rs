//! The write-ahead log: a ring of groups in a fixed extent of the file. The commit leader appends
//! groups, recovery replays them, the flush worker frees them; nobody here knows what a batch
//! means.
//!
//! ```text
//! logical   head (released)      synced            written (tail)      head + ring length
//!     ...... | group | group | ... | group | group | free .............. |
//!            ^ replay starts      ^ on the disk   ^ next group          ^ never reached
//!
//! physical  offset of lsn = ring.offset + lsn % ring.length; a group may wrap around the end
//! ```
//!
//! # Invariants
//! 1. released <= synced <= written <= released + ring length - one spare block. All only grow.
//! 2. A place of the log (one salt, one lsn) is written once. Synced bytes are never written again
//!    before the head has moved over them in a durable superblock.
//! 3. No group follows a hole: after a failed write or sync nothing is written any more.
//! 4. A group names the group before it by checksum, so what is replayed is an unbroken prefix.
//! 5. `synced_lsn` in a header was true before the header was written.
//!
//! # Concurrency
//! One [`Writer`], owned by the commit leader. [`WalState`] is shared: the flush worker releases,
//! the interval worker syncs, anybody reads. No lock is held while the disk works.

mod ending;
mod format;
mod listing;
mod reader;
mod remains;
mod ring;
mod state;
mod stored;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use crate::codec::round_up;
pub(crate) use ending::Ending;
pub(crate) use format::{FRAME_BATCH, FRAME_HEADER_SIZE};
pub(crate) use listing::{GroupInfo, Listing, scan_groups};
pub(crate) use reader::{Group, replay, replay_to};
pub(crate) use remains::{LogPlace, group_bodies, remaining_groups};
pub(crate) use state::{WalState, sync_written};
pub(crate) use writer::Writer;

/// A place between two groups: where the next one starts, and which one it must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WalPosition {
    /// Logical position, in bytes since the store was created.
    pub(crate) lsn: u64,
    /// Header checksum of the group that ends here; 0 where there was none.
    pub(crate) previous: u32,
}

impl WalPosition {
    /// The first place from here on where a disk of this alignment can start a log. A new log must
    /// start there, since a file may have moved to a disk with larger blocks.
    pub(crate) fn aligned(self, alignment: usize) -> WalPosition {
        WalPosition { lsn: round_up(self.lsn, alignment as u64), previous: self.previous }
    }
}
