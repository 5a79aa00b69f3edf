//! The new store's file, while it is being written.
//!
//! ```text
//! | mark, then superblock | ring | extents as in the old file | what is written anew …
//!                                  copied, or left out           behind the last of them
//! ```
//!
//! # Invariants
//! 1. Until the superblock is written, which comes last, no opening takes the file for a store, nor
//!    for one whose creation may begin again: the mark is neither.
//! 2. Nothing is written outside the extents that were given out.

use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::file::disk::{Disk, read_exact_at, sync, write_all_at};
use crate::file::superblock::{self, Superblock};
use crate::file::{AlignedBuffer, Extent, Flush};
use crate::limits::{BLOCK_SIZE, OUTPUT_PIECE_BYTES, SUPERBLOCK_SIZE, SUPERBLOCK_STRIDE};
use crate::sstable::Output;
use crate::sync::Arc;
use crate::version::SegmentMeta;

/// First bytes of the last superblock copy of a store that is not finished.
const MARK: &[u8; 8] = b"TideSave";

/// See the module.
pub(super) struct Target {
    disk: Arc<dyn Disk>,
    /// Behind the last extent.
    end: u64,
}

impl Target {
    /// Begins a file with a ring of zeros. Extents up to `end` keep their places.
    ///
    /// # Errors
    /// `AlreadyExists` where there is anything in the file; `Locked`; `NoSpace`; `Io`.
    pub(super) fn begin(disk: Arc<dyn Disk>, ring: Extent, end: u64) -> Result<Target> {
        let length =
            disk.length().map_err(|error| Error::io("read the file's length", 0, error))?;
        if length != 0 {
            return Err(Error::AlreadyExists { what: format!("a target of {length} bytes") });
        }
        let locked = disk.try_lock();
        if !locked.map_err(|error| Error::io("locking the target", 0, error))? {
            return Err(Error::Locked { path: "the target".to_owned() });
        }
        let target = Target { disk, end: round_up(end.max(ring.end()), BLOCK_SIZE) };
        target.allocate(Extent { offset: 0, length: target.end })?;
        let mut mark = AlignedBuffer::with_capacity(SUPERBLOCK_SIZE);
        mark.extend(MARK);
        mark.pad_to(SUPERBLOCK_SIZE);
        target.write(3 * SUPERBLOCK_STRIDE, &mark)?;
        sync(&*target.disk, "marking the target")?;
        target.write_zeros(ring)?;
        Ok(target)
    }

    /// The file.
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Its length.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Copies the bytes at the front of an extent of another file to the same place, or to a new
    /// one. The rest of its last block is zeros; what the extent had behind that is left out, since
    /// nothing proves how long it was. The inner error is that of reading them: a disk that fails
    /// may have given them a moment ago.
    pub(super) fn copy(
        &mut self,
        from: &dyn Disk,
        extent: Extent,
        bytes: u64,
        same: bool,
    ) -> Result<Result<Extent>> {
        let to = match same {
            true => Target::kept(extent, bytes),
            false => self.reserve(bytes)?,
        };
        let copied = self.copy_bytes(from, extent.offset, to.offset, bytes)?;
        Ok(copied.map(|()| to))
    }

    /// What is left in the target of an extent that keeps its place.
    pub(super) fn kept(extent: Extent, bytes: u64) -> Extent {
        Extent { length: round_up(bytes, BLOCK_SIZE), ..extent }
    }

    /// The inner error is that of reading.
    fn copy_bytes(&self, disk: &dyn Disk, from: u64, to: u64, bytes: u64) -> Result<Result<()>> {
        let mut done = 0;
        while done < bytes {
            let left = usize::try_from(bytes - done).unwrap_or(usize::MAX);
            let length = left.min(OUTPUT_PIECE_BYTES);
            let mut piece = AlignedBuffer::with_capacity(OUTPUT_PIECE_BYTES);
            piece.extend(&ZEROS[..length]);
            let read = read_exact_at(disk, "copy an extent", from + done, piece.as_mut_slice());
            if read.is_err() {
                return Ok(read);
            }
            piece.pad_to(BLOCK);
            self.write(to + done, &piece)?;
            done += length as u64;
        }
        Ok(Ok(()))
    }

    /// Copies a segment from where it was written anew to where the log says that it is.
    pub(super) fn copy_within(
        &self,
        disk: &dyn Disk,
        from: Extent,
        meta: &SegmentMeta,
    ) -> Result<()> {
        self.copy_bytes(disk, from.offset, meta.extent.offset, meta.bytes)?
    }

    /// A new extent behind all others.
    fn reserve(&mut self, length: u64) -> Result<Extent> {
        let length = round_up(length, BLOCK_SIZE);
        let extent = Extent { offset: self.end, length };
        self.allocate(extent)?;
        self.end = extent.end();
        Ok(extent)
    }

    /// A stretch of unknown length behind all others; `place` ends it.
    pub(super) fn appender(&self) -> Appender {
        let buffer = AlignedBuffer::with_capacity(OUTPUT_PIECE_BYTES);
        Appender { disk: Arc::clone(&self.disk), start: self.end, written: 0, buffer }
    }

    /// Ends what was appended: its extent.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn place(&mut self, mut appender: Appender) -> Result<Extent> {
        appender.buffer.pad_to(BLOCK);
        appender.flush()?;
        let extent = Extent { offset: appender.start, length: appender.written };
        self.end = self.end.max(extent.end());
        Ok(extent)
    }

    /// The last step: everything is on the disk, and becomes a store.
    pub(super) fn finish(&self, superblock: &Superblock) -> Result<()> {
        sync(&*self.disk, "syncing the target")?;
        superblock::write(&*self.disk, superblock)
    }

    fn allocate(&self, extent: Extent) -> Result<()> {
        let allocated = self.disk.allocate(extent.offset, extent.length);
        allocated.map_err(|error| match Error::io("writing the target", extent.offset, error) {
            Error::NoSpace { .. } => Error::NoSpace { what: "the target", needed: extent.end() },
            other => other,
        })
    }

    fn write(&self, offset: u64, bytes: &AlignedBuffer) -> Result<()> {
        write_all_at(&*self.disk, "write the target", offset, bytes.as_slice(), Flush::Later)
    }

    fn write_zeros(&self, extent: Extent) -> Result<()> {
        let mut zeros = AlignedBuffer::with_capacity(OUTPUT_PIECE_BYTES);
        zeros.extend(&ZEROS);
        let mut offset = extent.offset;
        while offset < extent.end() {
            let left = usize::try_from(extent.end() - offset).unwrap_or(usize::MAX);
            let bytes = &zeros.as_slice()[..left.min(OUTPUT_PIECE_BYTES)];
            write_all_at(&*self.disk, "write the target", offset, bytes, Flush::Later)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }
}

static ZEROS: [u8; OUTPUT_PIECE_BYTES] = [0; OUTPUT_PIECE_BYTES];
const BLOCK: usize = SUPERBLOCK_SIZE;
const _: () = assert!(BLOCK as u64 == BLOCK_SIZE);

/// Takes bytes one behind the other, at the end of the target.
pub(super) struct Appender {
    disk: Arc<dyn Disk>,
    start: u64,
    /// Bytes on their way to the disk.
    written: u64,
    buffer: AlignedBuffer,
}

impl Output for Appender {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = OUTPUT_PIECE_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend(now);
            bytes = later;
            if self.buffer.len() == OUTPUT_PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }
}

impl Appender {
    fn flush(&mut self) -> Result<()> {
        let offset = self.start + self.written;
        let bytes = self.buffer.as_slice();
        write_all_at(&*self.disk, "write the target", offset, bytes, Flush::Later)?;
        self.written += bytes.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SimDisk, SimOptions};

    /// A manifest whose checksums hold may have been written by anybody, and say any length.
    #[test]
    fn a_copy_has_no_more_room_than_its_bytes() {
        let old = SimDisk::from_bytes(SimOptions::default(), &[7; 32_768]);
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(SimOptions::default()));
        let ring = Extent { offset: 65_536, length: 262_144 };
        let mut target = Target::begin(disk, ring, 0).unwrap();
        let extent = Extent { offset: 8192, length: 1 << 62 };
        let moved = target.copy(&old, extent, 5000, false).unwrap().unwrap();
        assert_eq!((moved.offset, moved.length), (ring.end(), 8192));
        assert_eq!(target.end(), moved.end());
        // What cannot be read is no error of the target.
        old.make_unreadable(12_288, 100);
        assert!(target.copy(&old, extent, 5000, false).unwrap().is_err());
    }
}
