//! Seams that panic once, at their k-th call: disk, clock, randomness, threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidelog_engine::testing::SimDisk;
use tidelog_engine::{
    Clock, Disk, Entropy, Error, Flush, Geometry, Identity, Region, Result, Scheduler, StoreBy,
    Stores, Wake, Worker,
};

/// Counts calls; the k-th one panics, and none after it.
#[derive(Debug, Default)]
pub(crate) struct Fuse {
    calls: AtomicU64,
    at: AtomicU64,
}

impl Fuse {
    /// One that burns at the k-th call from now on.
    pub(crate) fn at(call: u64) -> Arc<Fuse> {
        Arc::new(Fuse { calls: AtomicU64::new(0), at: AtomicU64::new(call) })
    }

    /// Burns at the next call.
    pub(crate) fn light(&self) {
        self.light_at(1);
    }

    /// Burns at the k-th call from now on.
    pub(crate) fn light_at(&self, call: u64) {
        self.at.store(self.calls.load(Ordering::SeqCst) + call, Ordering::SeqCst);
    }

    /// Whether it has burnt.
    pub(crate) fn burnt(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.at.load(Ordering::SeqCst)
    }

    fn touch(&self, what: &str) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(call != self.at.load(Ordering::SeqCst), "a defect in {what}");
    }
}

/// A disk over a fuse.
pub(crate) struct FusedDisk {
    pub(crate) inner: SimDisk,
    pub(crate) fuse: Arc<Fuse>,
    /// Only writes burn it, those behind this offset.
    pub(crate) writes_from: Option<u64>,
}

impl FusedDisk {
    fn touch(&self, what: &str) {
        if self.writes_from.is_none() {
            self.fuse.touch(what);
        }
    }
}

impl Disk for FusedDisk {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.touch("length");
        self.inner.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.touch("read_at");
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        self.touch("write_at");
        if self.writes_from.is_some_and(|from| offset >= from) {
            self.fuse.touch("write_at");
        }
        self.inner.write_at(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        self.touch("sync");
        self.inner.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.touch("allocate");
        self.inner.allocate(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.touch("truncate");
        self.inner.truncate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.touch("punch_hole");
        self.inner.punch_hole(offset, length)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        self.touch("map");
        self.inner.map(offset, length)
    }

    fn open_stores(
        &self,
        offset: u64,
        length: u64,
        by: StoreBy,
    ) -> io::Result<Option<Arc<dyn Stores>>> {
        self.touch("open_stores");
        self.inner.open_stores(offset, length, by)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.touch("try_lock");
        self.inner.try_lock()
    }
}

/// A clock over a fuse.
pub(crate) struct FusedClock<C> {
    pub(crate) inner: C,
    pub(crate) fuse: Arc<Fuse>,
}

impl<C: Clock> Clock for FusedClock<C> {
    fn wall_ms(&self) -> u64 {
        self.fuse.touch("wall_ms");
        self.inner.wall_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.fuse.touch("monotonic_ms");
        self.inner.monotonic_ms()
    }
}

/// Randomness over a fuse.
pub(crate) struct FusedEntropy<E> {
    pub(crate) inner: E,
    pub(crate) fuse: Arc<Fuse>,
}

impl<E: Entropy> Entropy for FusedEntropy<E> {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        self.fuse.touch("fill");
        self.inner.fill(bytes)
    }
}

/// A scheduler that gets no thread from the system at its k-th wish.
pub(crate) struct FewThreads<S> {
    pub(crate) inner: S,
    pub(crate) wishes: AtomicU64,
    pub(crate) refused: u64,
}

impl<S: Scheduler> Scheduler for FewThreads<S> {
    fn spawn(
        &self,
        name: &str,
        worker: Box<dyn Worker>,
        dead: Box<dyn FnOnce(String) + Send>,
    ) -> Result<Arc<dyn Wake>> {
        if self.wishes.fetch_add(1, Ordering::SeqCst) + 1 == self.refused {
            let source = Arc::new(io::Error::from(io::ErrorKind::WouldBlock));
            return Err(Error::Io { operation: "starting a worker thread", offset: 0, source });
        }
        self.inner.spawn(name, worker, dead)
    }

    fn pause(&self, limit: Duration) {
        self.inner.pause(limit);
    }

    fn single_threaded(&self) -> bool {
        self.inner.single_threaded()
    }
}
