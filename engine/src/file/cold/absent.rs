//! In the place of a cold file that cannot be used: every operation fails with the reason, so that
//! whoever needs cold data is told, and nobody else is.

use crate::error::Error;
use crate::file::disk::{Disk, Flush, Geometry, Identity};
use crate::file::region::Region;
use crate::limits::DIRECT_ALIGNMENT_MAX;
use std::io;

/// See the module.
pub(crate) struct AbsentDisk {
    reason: Error,
}

impl AbsentDisk {
    pub(crate) fn new(reason: Error) -> AbsentDisk {
        AbsentDisk { reason }
    }

    /// [`Error::io`] takes the reason out again.
    fn refuse<T>(&self) -> io::Result<T> {
        Err(io::Error::other(self.reason.clone()))
    }
}

impl Disk for AbsentDisk {
    fn geometry(&self) -> Geometry {
        Geometry { alignment: DIRECT_ALIGNMENT_MAX, direct: false }
    }

    fn identity(&self) -> Identity {
        Identity::default()
    }

    fn length(&self) -> io::Result<u64> {
        self.refuse()
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        self.refuse()
    }

    fn write_at(&self, _: u64, _: &[u8], _: Flush) -> io::Result<usize> {
        self.refuse()
    }

    fn sync(&self) -> io::Result<()> {
        self.refuse()
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        self.refuse()
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        self.refuse()
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<bool> {
        self.refuse()
    }

    fn map(&self, _: u64, _: u64) -> io::Result<Region> {
        self.refuse()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.refuse()
    }
}
