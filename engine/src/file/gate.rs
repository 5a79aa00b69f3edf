//! The sync gate: one sync at a time, and after a failed one none ever again.
//!
//! Why: of two overlapping syncs the kernel may tell only one about a page that it could not write,
//! and a later sync says nothing about it any more. Behind the gate a sync that returns well speaks
//! for everything written before it began, whoever wrote it; and after a failure nobody can mistake
//! a later success for durability. Only opening the store again makes a new gate.
//!
//! # Concurrency
//! Syncs wait for each other. Direct writes that flush themselves do not: their errors are told to
//! their own caller, and close the gate.

use super::disk::{Disk, Flush, Geometry, Identity};
use super::region::Region;
use super::stores::{StoreBy, Stores};
use super::{AlignedBuffer, Begun};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::io;

/// Errors of a write that flushes itself which say nothing about what was written before: a
/// signal, and a disk that had no room for its own bytes.
const OF_A_WRITE: [io::ErrorKind; 2] = [io::ErrorKind::Interrupted, io::ErrorKind::StorageFull];
/// Those of a sync. A disk that is full only now, where space is given out late, has lost pages
/// that it had taken, whoever wrote them.
const OF_A_SYNC: [io::ErrorKind; 1] = [io::ErrorKind::Interrupted];

/// A disk whose syncs go through a gate.
pub(crate) struct GatedDisk {
    inner: Arc<dyn Disk>,
    syncing: Mutex<()>,
    failed: AtomicBool,
}

impl GatedDisk {
    pub(crate) fn new(inner: Arc<dyn Disk>) -> GatedDisk {
        GatedDisk { inner, syncing: Mutex::new(()), failed: AtomicBool::new(false) }
    }

    fn check(&self) -> io::Result<()> {
        match self.is_closed() {
            true => Err(io::Error::other("an earlier sync failed: durability is in doubt")),
            false => Ok(()),
        }
    }

    /// Whether a sync has failed: none succeeds any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Runs something that makes data durable. `harmless`: errors that say nothing about what was
    /// written before.
    fn through<T>(
        &self,
        harmless: &[io::ErrorKind],
        durable: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.check()?;
        let outcome = durable();
        match &outcome {
            Err(error) if harmless.contains(&error.kind()) => {}
            Err(_) => self.failed.store(true, Ordering::Release),
            Ok(_) => self.check()?,
        }
        outcome
    }
}

impl Disk for GatedDisk {
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
        self.inner.read_at(offset, buffer)
    }

    fn read_past_cache_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_past_cache_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        match flush {
            Flush::Later => self.inner.write_at(offset, bytes, flush),
            Flush::Now if self.geometry().direct => {
                self.through(&OF_A_WRITE, || self.inner.write_at(offset, bytes, flush))
            }
            Flush::Now => {
                let _one_at_a_time = self.syncing.lock();
                self.through(&OF_A_WRITE, || self.inner.write_at(offset, bytes, flush))
            }
        }
    }

    fn begin_write(&self, offset: u64, buffer: AlignedBuffer) -> Begun {
        self.inner.begin_write(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        let _one_at_a_time = self.syncing.lock();
        self.through(&OF_A_SYNC, || self.inner.sync())
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

    fn is_cached(&self, offset: u64) -> io::Result<Option<bool>> {
        self.inner.is_cached(offset)
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
        self.inner.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        AfterFailedSync, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk, SimOptions,
    };

    const BLOCK: [u8; 512] = [7; 512];

    fn gated(options: SimOptions) -> (SimDisk, GatedDisk) {
        let disk = SimDisk::new(SimOptions { direct: false, ..options });
        let gate = GatedDisk::new(Arc::new(disk.clone()));
        (disk, gate)
    }

    /// A full disk was taken for harmless wherever it was told. Where a sync is told, pages of
    /// others were lost, whose own sync then succeeded.
    #[test]
    fn a_sync_that_finds_the_disk_full_closes_the_gate() {
        let (disk, gate) = gated(SimOptions::default());
        gate.write_at(0, &BLOCK, Flush::Later).unwrap();
        disk.fail(Fault {
            operation: FaultOperation::Sync,
            at: 0,
            times: FaultTimes::Once,
            effect: FaultEffect::FullSync(AfterFailedSync::LostOnlyAfterCrash),
        });
        assert_eq!(gate.sync().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(gate.is_closed());
        gate.sync().unwrap_err();
        gate.write_at(512, &BLOCK, Flush::Now).unwrap_err();
    }

    #[test]
    fn a_write_that_finds_the_disk_full_does_not() {
        let (disk, gate) = gated(SimOptions { capacity: Some(4096), ..SimOptions::default() });
        gate.write_at(0, &BLOCK, Flush::Later).unwrap();
        let full = gate.write_at(1 << 20, &BLOCK, Flush::Now).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(!gate.is_closed());
        gate.sync().unwrap();
        disk.set_capacity(None);
        gate.write_at(1 << 20, &BLOCK, Flush::Now).unwrap();
    }
}
