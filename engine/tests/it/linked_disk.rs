//! Two simulated disks of one machine: when the power of one is gone, so is that of the other.

use std::io;
use tidelog_engine::testing::SimDisk;
use tidelog_engine::{Disk, Flush, Geometry, Identity, Region};

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
        match self.other.crashed() {
            true => Err(io::Error::other("the power is gone")),
            false => Ok(&self.inner),
        }
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

    fn try_lock(&self) -> io::Result<bool> {
        self.powered()?.try_lock()
    }
}
