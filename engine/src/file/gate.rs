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
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::io;

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
        match self.failed.load(Ordering::Acquire) {
            true => Err(io::Error::other("an earlier sync failed: durability is in doubt")),
            false => Ok(()),
        }
    }

    /// Runs something that makes data durable.
    fn through<T>(&self, durable: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.check()?;
        let outcome = durable();
        match &outcome {
            // A signal, or a full disk, says nothing about what was written before.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
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

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        match flush {
            Flush::Later => self.inner.write_at(offset, bytes, flush),
            Flush::Now if self.geometry().direct => {
                self.through(|| self.inner.write_at(offset, bytes, flush))
            }
            Flush::Now => {
                let _one_at_a_time = self.syncing.lock();
                self.through(|| self.inner.write_at(offset, bytes, flush))
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let _one_at_a_time = self.syncing.lock();
        self.through(|| self.inner.sync())
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
