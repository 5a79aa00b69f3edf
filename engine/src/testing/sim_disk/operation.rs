//! Operations that the simulated device has not made durable yet.

use super::image::Image;
use std::sync::Arc;

/// A change of the file between its volatile and its durable image.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) change: Change,
    /// The file's new length, where this operation made the file longer.
    pub(super) grows_to: Option<u64>,
    /// Written with `Flush::Now`: in every image, but kept here because an earlier operation that
    /// is still pending touches the same bytes and must be applied first.
    pub(super) durable: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    /// New bytes at a place.
    Write { offset: u64, bytes: Arc<[u8]> },
    /// Room for a range.
    Allocate { offset: u64, length: u64 },
    /// The file is cut (or grown) to a length.
    Truncate { length: u64 },
    /// A range reads as zeros.
    Punch { offset: u64, length: u64 },
    /// The length alone: what remains of a write whose bytes were lost by a failed sync.
    Length,
}

impl Operation {
    pub(super) fn apply(&self, image: &mut Image) {
        match &self.change {
            Change::Write { offset, bytes } => image.write(*offset, bytes),
            Change::Allocate { offset, length } => image.allocate(*offset, *length),
            Change::Truncate { length } => image.set_length(*length),
            Change::Punch { offset, length } => image.punch(*offset, *length),
            Change::Length => {}
        }
        if let Some(length) = self.grows_to {
            image.grow(length);
        }
    }

    /// Whether a write of `offset..end` must come after this operation to give the same bytes.
    pub(super) fn orders_before_write(&self, offset: u64, end: u64) -> bool {
        let overlaps = |start: u64, length: u64| start < end && offset < start + length;
        match &self.change {
            Change::Write { offset: start, bytes } => overlaps(*start, bytes.len() as u64),
            Change::Punch { offset: start, length } => overlaps(*start, *length),
            Change::Truncate { length } => *length < end,
            Change::Allocate { .. } | Change::Length => false,
        }
    }

    /// Forgets the bytes of a write, but not that it made the file longer.
    pub(super) fn lose_bytes(&mut self) {
        if matches!(self.change, Change::Write { .. }) && !self.durable {
            self.change = Change::Length;
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.change, Change::Length) && self.grows_to.is_none()
    }
}
