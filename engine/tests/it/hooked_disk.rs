//! A simulated disk that calls a test before each write to the log, on the leader's thread: races
//! become sequences. Likewise beside a sync of something else. It counts what is read of the log,
//! and may refuse its lock for a while.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidelog_engine::testing::SimDisk;
use tidelog_engine::{Disk, Flush, Geometry, Identity, Region, StoreBy, Stores, limits};

/// What is called at such a moment.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// See the module.
pub(crate) struct HookedDisk {
    pub(crate) inner: SimDisk,
    pub(crate) ring_bytes: u64,
    /// Called before each write into the ring.
    pub(crate) hook: Hook,
    /// Called before the first sync behind a write elsewhere tells that it has ended.
    pub(crate) synced: Hook,
    /// Something was written elsewhere.
    pub(crate) written: AtomicBool,
    /// Bytes read of the ring.
    pub(crate) read_bytes: Arc<AtomicU64>,
    /// How often the lock is still refused.
    pub(crate) refusals: AtomicU64,
}

impl HookedDisk {
    /// A disk that does nothing of all that, but count.
    pub(crate) fn new(inner: SimDisk, ring_bytes: u64) -> HookedDisk {
        HookedDisk {
            inner,
            ring_bytes,
            hook: Arc::new(|| {}),
            synced: Arc::new(|| {}),
            written: AtomicBool::new(false),
            read_bytes: Arc::default(),
            refusals: AtomicU64::new(0),
        }
    }

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
        match self.is_in_ring(offset) {
            true => (self.hook)(),
            false if offset >= limits::RING_OFFSET => self.written.store(true, Ordering::SeqCst),
            false => {}
        }
        self.inner.write_at(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        if self.written.swap(false, Ordering::SeqCst) {
            (self.synced)();
        }
        Ok(())
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

    fn open_stores(
        &self,
        offset: u64,
        length: u64,
        by: StoreBy,
    ) -> io::Result<Option<Arc<dyn Stores>>> {
        self.inner.open_stores(offset, length, by)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let less = |left: u64| left.checked_sub(1);
        match self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Ok(false),
            Err(_) => self.inner.try_lock(),
        }
    }
}
