//! Two simulated disks of one machine: when the power of one is gone, so is that of the other.

use std::io;
use std::sync::Arc;
use tidelog_engine::testing::SimDisk;
use tidelog_engine::{Disk, Flush, Geometry, Identity, Region, StoreBy, Stores};

/// One of the two.
pub(crate) struct LinkedDisk {
    inner: SimDisk,
    other: SimDisk,
}

impl LinkedDisk {
    /// New handles to both.
    pub(crate) fn pair(one: &SimDisk, two: &SimDisk) -> (LinkedDisk, LinkedDisk) {
        let linked = |inner: &SimDisk, other: &SimDisk| LinkedDisk {
            inner: inner.reopen(),
            other: other.clone(),
        };
        (linked(one, two), linked(two, one))
    }

    /// Another handle to the same disk, as another process would have it.
    pub(crate) fn reopen(&self) -> LinkedDisk {
        LinkedDisk { inner: self.inner.reopen(), other: self.other.clone() }
    }

    fn powered(&self) -> io::Result<&SimDisk> {
        check_power(&self.other)?;
        Ok(&self.inner)
    }
}

fn check_power(other: &SimDisk) -> io::Result<()> {
    match other.crashed() {
        true => Err(io::Error::other("the power is gone")),
        false => Ok(()),
    }
}

impl Disk for LinkedDisk {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.powered()?.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.powered()?.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        self.powered()?.write_at(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        self.powered()?.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.powered()?.allocate(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.powered()?.truncate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.powered()?.punch_hole(offset, length)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        self.powered()?.map(offset, length)
    }

    fn open_stores(
        &self,
        offset: u64,
        length: u64,
        by: StoreBy,
    ) -> io::Result<Option<Arc<dyn Stores>>> {
        let opened = self.powered()?.open_stores(offset, length, by)?;
        let linked = |inner| Arc::new(LinkedStores { inner, other: self.other.clone() });
        Ok(opened.map(|inner| linked(inner) as Arc<dyn Stores>))
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.powered()?.try_lock()
    }
}

/// Stores to one of the two.
struct LinkedStores {
    inner: Arc<dyn Stores>,
    other: SimDisk,
}

impl Stores for LinkedStores {
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_power(&self.other)?;
        self.inner.store(offset, bytes)
    }

    fn start_writing(&self, offset: u64, length: u64) {
        self.inner.start_writing(offset, length);
    }
}
