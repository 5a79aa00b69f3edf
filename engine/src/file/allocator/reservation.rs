//! A reservation: an extent that one writer fills and that no root names yet.

use super::Allocator;
use crate::codec::round_up;
use crate::file::Extent;
use crate::limits::BLOCK_SIZE;
use std::sync::Arc;

/// An extent reserved for one writer. What is not committed when it is dropped is free again.
#[derive(Debug)]
pub(crate) struct Reservation {
    allocator: Arc<Allocator>,
    /// What is still reserved; empty after a commit.
    extent: Extent,
}

impl Reservation {
    pub(super) fn new(allocator: Arc<Allocator>, extent: Extent) -> Reservation {
        Reservation { allocator, extent }
    }

    /// The reserved extent.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Keeps the front that holds `bytes`, and forfeits the tail. The caller now owns the extent
    /// and gives it back by `release`, or by `forfeit` if no root ever named it.
    pub(crate) fn commit(mut self, bytes: u64) -> Extent {
        assert!(bytes > 0 && bytes <= self.extent.length, "{bytes} bytes of {:?}", self.extent);
        let kept = Extent { offset: self.extent.offset, length: round_up(bytes, BLOCK_SIZE) };
        self.extent = Extent { offset: kept.end(), length: self.extent.length - kept.length };
        kept
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.allocator.forfeit(self.extent);
    }
}
