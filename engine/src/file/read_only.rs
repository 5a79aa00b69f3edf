//! A disk that is only read: all that a [`Disk`] can do beside reading is refused here, once for
//! whoever shows a file in a way of its own.
//!
//! How it reads, it says by [`Reads`]; [`ReadOnly`] makes a disk of that.

use super::Region;
use super::disk::{Disk, Flush, Geometry, Identity};
use std::io;

/// How a disk reads; see [`Disk`] for what each call promises.
pub(crate) trait Reads: Send + Sync + 'static {
    /// What those are told who want more than to read.
    const REFUSAL: &'static str;

    fn geometry(&self) -> Geometry;
    fn identity(&self) -> Identity;
    fn length(&self) -> io::Result<u64>;
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    fn read_past_cache_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(offset, buffer)
    }
}

/// See the module.
pub(crate) struct ReadOnly<R>(pub(crate) R);

impl<R: Reads> Disk for ReadOnly<R> {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn identity(&self) -> Identity {
        self.0.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn read_past_cache_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_past_cache_at(offset, buffer)
    }

    fn write_at(&self, _: u64, _: &[u8], _: Flush) -> io::Result<usize> {
        refuse::<R, _>()
    }

    fn sync(&self) -> io::Result<()> {
        refuse::<R, _>()
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        refuse::<R, _>()
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refuse::<R, _>()
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<bool> {
        refuse::<R, _>()
    }

    /// Whoever wants a map reads where there is none.
    fn map(&self, _: u64, _: u64) -> io::Result<Region> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        refuse::<R, _>()
    }
}

fn refuse<R: Reads, T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, R::REFUSAL))
}
