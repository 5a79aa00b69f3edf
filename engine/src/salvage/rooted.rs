//! The new store as it will be once it has its root: for whoever verifies it before that.
//!
//! ```text
//! 0                      64 KiB
//! | copies, in memory    | the target's bytes …
//! ```
//! So what was not verified is never a store, whatever ends the salvage: the root reaches the
//! target behind that.

use crate::error::Result;
use crate::file::Region;
use crate::file::disk::{Disk, Flush, Geometry, Identity};
use crate::file::superblock::{self, Superblock};
use crate::limits::RING_OFFSET;
use crate::sync::{Arc, Mutex};
use std::io;

/// See the module.
pub(super) struct Rooted {
    target: Arc<dyn Disk>,
    /// What will lie before the ring.
    zone: Mutex<Vec<u8>>,
}

impl Rooted {
    /// The bytes of the target under this root.
    pub(super) fn new(target: Arc<dyn Disk>, root: &Superblock) -> Result<Rooted> {
        let zone = usize::try_from(RING_OFFSET).expect("the zone is 64 KiB");
        let rooted = Rooted { target, zone: Mutex::new(vec![0; zone]) };
        superblock::write(&rooted, root)?;
        Ok(rooted)
    }
}

impl Disk for Rooted {
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
        let zone = self.zone.lock();
        let held = &zone[from..];
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

    fn write_at(&self, offset: u64, bytes: &[u8], _: Flush) -> io::Result<usize> {
        let Some(from) = place_in_zone(offset) else {
            return refuse();
        };
        let mut zone = self.zone.lock();
        match zone.get_mut(from..from + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => return refuse(),
        }
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        refuse()
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refuse()
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<bool> {
        refuse()
    }

    fn map(&self, _: u64, _: u64) -> io::Result<Region> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        refuse()
    }
}

/// Where a place of the file lies in the zone before the ring.
fn place_in_zone(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok().filter(|_| offset < RING_OFFSET)
}

fn refuse<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a store that is verified is only read"))
}
