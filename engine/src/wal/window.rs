//! A window of the ring in memory: sequential reads with read-ahead, seen without the wrap.
//!
//! # Invariants
//! 1. The window holds the bytes of `[start, start + bytes.len())`, as one slice.
//! 2. Nothing at or behind `limit`, a full lap behind the head, is ever read.
//! 3. It never holds more than the longest stretch asked for, or the read-ahead where that is more.

use super::ring::Ring;
use crate::error::Result;
use crate::file::Disk;

/// Bytes of one read.
const READ_AHEAD_BYTES: usize = 512 * 1024;

pub(super) struct Window<'a> {
    disk: &'a dyn Disk,
    ring: Ring,
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(disk: &'a dyn Disk, ring: Ring, limit: u64) -> Window<'a> {
        Window { disk, ring, limit, start: 0, bytes: Vec::new() }
    }

    /// The `length` bytes at `lsn`, read from the disk where the window does not hold them yet.
    /// They must lie before the limit.
    pub(super) fn bytes(&mut self, lsn: u64, length: usize) -> Result<&[u8]> {
        if lsn < self.start || lsn + length as u64 > self.end() {
            self.fill(lsn, length)?;
        }
        let offset = usize::try_from(lsn - self.start).expect("inside the window");
        Ok(&self.bytes[offset..offset + length])
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Moves the window to `lsn`. What it holds of the bytes there is kept.
    fn fill(&mut self, lsn: u64, length: usize) -> Result<()> {
        assert!(lsn + length as u64 <= self.limit, "nothing behind a full lap is read");
        if (self.start..self.end()).contains(&lsn) {
            let passed = usize::try_from(lsn - self.start).expect("inside the window");
            self.bytes.drain(..passed);
        } else {
            self.bytes.clear();
        }
        self.start = lsn;
        let kept = self.bytes.len();
        let to_limit = usize::try_from(self.limit - lsn).unwrap_or(usize::MAX);
        let wanted = length.max(READ_AHEAD_BYTES).min(to_limit);
        if length <= READ_AHEAD_BYTES {
            self.bytes.shrink_to(READ_AHEAD_BYTES);
        }
        self.bytes.resize(wanted, 0);
        let read = self.ring.read(self.disk, lsn + kept as u64, &mut self.bytes[kept..]);
        if read.is_err() {
            self.bytes.truncate(kept);
        }
        read
    }
}
