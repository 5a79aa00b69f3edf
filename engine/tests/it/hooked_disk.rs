//! A simulated disk that calls a test before each write to the log, on the leader's thread: races
//! become sequences. It counts what is read of the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidelog_engine::testing::SimDisk;
use tidelog_engine::{Disk, Flush, Geometry, Identity, Region, limits};

/// What is called before each write into the ring.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// See the module.
pub(crate) struct HookedDisk {
    pub(crate) inner: SimDisk,
    pub(crate) ring_bytes: u64,
    pub(crate) hook: Hook,
    /// Bytes read of the ring.
    pub(crate) read_bytes: Arc<AtomicU64>,
}

impl HookedDisk {
    fn is_in_ring(&self, offset: u64) -> bool {
        (limits::RING_OFFSET..limits::RING_OFFSET + self.ring_bytes).contains(&offset)
    }
}

impl Disk for HookedDisk {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read_at(offset, buffer)?;
        if self.is_in_ring(offset) {
            self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        if self.is_in_ring(offset) {
            (self.hook)();
        }
        self.inner.write_at(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.allocate(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.inner.punch_hole(offset, length)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        self.inner.map(offset, length)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}
