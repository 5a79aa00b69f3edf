//! The new store as it will be once it has its root: for whoever verifies it before that.
//!
//! ```text
//! 0                      64 KiB
//! | copies, in memory    | the target's bytes …
//! ```
//! So what was not verified is never a store, whatever ends the salvage: the root reaches the
//! target behind that.

use crate::file::Reads;
use crate::file::disk::{Disk, Geometry, Identity};
use crate::file::superblock::{self, Superblock};
use crate::limits::RING_OFFSET;
use crate::sync::Arc;
use std::io;

/// See the module: a disk once it is in a `ReadOnly`.
pub(super) struct Rooted {
    target: Arc<dyn Disk>,
    /// What will lie before the ring.
    zone: Vec<u8>,
}

impl Rooted {
    /// The bytes of the target under this root.
    pub(super) fn new(target: Arc<dyn Disk>, root: &Superblock) -> Rooted {
        Rooted { target, zone: superblock::zone(root) }
    }
}

impl Reads for Rooted {
    const REFUSAL: &'static str = "a store that is verified is only read";

    fn geometry(&self) -> Geometry {
        self.target.geometry()
    }

    fn identity(&self) -> Identity {
        self.target.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.target.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(from) = place_in_zone(offset) else {
            return self.target.read_at(offset, buffer);
        };
        let held = &self.zone[from..];
        let count = held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&held[..count]);
        Ok(count)
    }

    fn read_past_cache_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match place_in_zone(offset) {
            Some(_) => self.read_at(offset, buffer),
            None => self.target.read_past_cache_at(offset, buffer),
        }
    }
}

/// Where a place of the file lies in the zone before the ring.
fn place_in_zone(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok().filter(|_| offset < RING_OFFSET)
}
