//! `Disk`: the only door to the file. The real one is in `os/`, the simulated one in
//! `testing/sim_disk/`.
//!
//! Contract, on which every structure above leans:
//! - `write_at` goes to the device past the page cache where [`Geometry::direct`] says so, and then
//!   offset, length and memory address must be multiples of [`Geometry::alignment`]; a misaligned
//!   call is refused. Where direct writes are missing, alignment is [`BLOCK_SIZE`]: the kernel
//!   rewrites whole pages.
//! - A write, a length change or an allocation is durable only after a later sync returned `Ok`.
//! - A torn write damages whole sectors, their old contents included; it never touches sectors
//!   outside the write.
//! - Short reads and short writes are legal: see [`read_exact_at`] and [`write_all_at`].

use super::{AlignedBuffer, Begun, Region, StoreBy, Stores};
use crate::error::{Error, Result};
use crate::limits::BLOCK_SIZE;
use crate::planted::Planted;
use std::io;
use std::sync::Arc;

/// How the device wants to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Offset, length and address of every write are multiples of this: 512 or 4096.
    pub alignment: usize,
    /// Writes bypass the page cache.
    pub direct: bool,
}

/// Which file this is, and in which boot: tells a killed process from a lost machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Random id of the operating system's boot; zero where unknown.
    pub boot: [u8; 16],
}

/// Whether a write must be durable when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// The write may stay in caches until the next sync.
    Later,
    /// This write, and the metadata needed to read it, is durable on return. Says nothing about
    /// earlier writes.
    Now,
}

/// One file, seen as a random-access device.
pub trait Disk: Send + Sync + 'static {
    /// How the device wants to be written. Constant.
    fn geometry(&self) -> Geometry;
    /// Which file this is. Constant.
    fn identity(&self) -> Identity;
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes; 0 only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Reads as [`Disk::read_at`] does, but from the device and not from the page cache where the
    /// system can be made to. Offset, length and memory address are multiples of [`BLOCK_SIZE`]; a
    /// short read is of the end of the file. What comes is what the device says now: a cache of its
    /// own may still have answered.
    fn read_past_cache_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(offset, buffer)
    }
    /// Writes up to `bytes.len()` bytes, a multiple of the alignment, and returns how many.
    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize>;
    /// Begins a write of all of a buffer, which may stay in caches until the next sync, and may end
    /// before this returns: see [`Begun`]. It counts as written when it was waited for.
    fn begin_write(&self, offset: u64, buffer: AlignedBuffer) -> Begun {
        let outcome = self.write_at(offset, buffer.as_slice(), Flush::Later);
        Begun::ended(buffer, outcome)
    }
    /// Everything written before is durable on return, the file's length included.
    fn sync(&self) -> io::Result<()>;
    /// Gives `length` bytes at `offset` room on the device and extends the file over them; the
    /// contents of new bytes are zero, those of old bytes stay.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Cuts the file at `length`.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Gives the room of a range back; it reads as zeros. `Ok(false)` where not supported.
    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool>;
    /// Maps an immutable range for reading. Fails with `Unsupported` where there are no maps.
    fn map(&self, offset: u64, length: u64) -> io::Result<Region>;
    /// Whether the system has the byte at `offset` in memory; `None` where it cannot tell. Does not
    /// wait for the device.
    fn is_cached(&self, _offset: u64) -> io::Result<Option<bool>> {
        Ok(None)
    }
    /// Opens a range that exists for stores, which pass by direct writes: see [`Stores`]. `None`
    /// where that is not to be had, or where writes go through the page cache anyway.
    fn open_stores(
        &self,
        _offset: u64,
        _length: u64,
        _by: StoreBy,
    ) -> io::Result<Option<Arc<dyn Stores>>> {
        Ok(None)
    }
    /// Takes the writer lock on the file itself, without waiting. It is held until the disk is
    /// dropped or the process dies.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Fills `buffer` or fails: the end of the file is an error of kind `UnexpectedEof`.
pub(crate) fn read_exact_at(
    disk: &dyn Disk,
    operation: &'static str,
    offset: u64,
    buffer: &mut [u8],
) -> Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let place = offset + done as u64;
        match disk.read_at(place, &mut buffer[done..]) {
            Ok(0) => {
                let end = io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends here");
                return Err(Error::io(operation, place, end));
            }
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(operation, place, error)),
        }
    }
    Ok(())
}

/// Fills `buffer` with what can be read; what cannot, and what lies behind the end of the file, is
/// zeros, page by page. For whoever believes nothing but what its checksum proves.
pub(crate) fn read_readable_at(disk: &dyn Disk, offset: u64, buffer: &mut [u8]) {
    const OPERATION: &str = "read what can be read";
    if read_exact_at(disk, OPERATION, offset, buffer).is_ok() {
        return;
    }
    let page = usize::try_from(BLOCK_SIZE).expect("a block is 4 KiB");
    let mut done = 0;
    while done < buffer.len() {
        let place = offset.saturating_add(done as u64);
        let inside = usize::try_from(place % BLOCK_SIZE).expect("below 4 KiB");
        let end = buffer.len().min(done + page - inside);
        if read_exact_at(disk, OPERATION, place, &mut buffer[done..end]).is_err() {
            buffer[done..end].fill(0);
        }
        done = end;
    }
}

/// Writes all of `bytes`, or fails. After a failure any part of them may be on the disk.
pub(crate) fn write_all_at(
    disk: &dyn Disk,
    operation: &'static str,
    offset: u64,
    bytes: &[u8],
    flush: Flush,
) -> Result<()> {
    debug_assert!(offset.is_multiple_of(disk.geometry().alignment as u64));
    debug_assert!(BLOCK_SIZE.is_multiple_of(disk.geometry().alignment as u64));
    let mut done = 0;
    while done < bytes.len() {
        let place = offset + done as u64;
        match disk.write_at(place, &bytes[done..], flush) {
            Ok(0) => {
                let zero = io::Error::new(io::ErrorKind::WriteZero, "the disk took no bytes");
                return Err(Error::io(operation, place, zero));
            }
            Ok(_) if Planted::ShortWriteIgnored.is_on() => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(operation, place, error)),
        }
    }
    Ok(())
}

/// Syncs, with the error of the engine.
pub(crate) fn sync(disk: &dyn Disk, operation: &'static str) -> Result<()> {
    disk.sync().map_err(|error| Error::io(operation, 0, error))
}
