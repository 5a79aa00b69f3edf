//! Logical positions to places in the file.

use crate::error::{Error, Result};
use crate::file::disk::{read_exact_at, write_all_at};
use crate::file::{Disk, Extent, Flush};
use crate::limits::BLOCK_SIZE;

/// The ring's extent, with the arithmetic of wrapping around its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    extent: Extent,
}

impl Ring {
    /// The ring that a superblock names.
    ///
    /// # Errors
    /// [`Error::Corruption`] where no ring can be like that.
    pub(super) fn new(extent: Extent) -> Result<Ring> {
        let whole_blocks =
            extent.offset.is_multiple_of(BLOCK_SIZE) && extent.length.is_multiple_of(BLOCK_SIZE);
        let fits = extent.offset.checked_add(extent.length).is_some();
        if !whole_blocks || !fits || extent.length < 2 * BLOCK_SIZE {
            let detail = format!("a ring of {} bytes cannot be", extent.length);
            return Err(Error::corruption("WAL", extent.offset, detail));
        }
        Ok(Ring { extent })
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    pub(super) fn length(&self) -> u64 {
        self.extent.length
    }

    /// The file offset of a logical position.
    pub(super) fn place(&self, lsn: u64) -> u64 {
        self.extent.offset + lsn % self.extent.length
    }

    /// How many of the `length` bytes at `lsn` lie in front of the ring's end; the rest lies at its
    /// beginning.
    fn before_end(&self, lsn: u64, length: usize) -> usize {
        assert!(length as u64 <= self.extent.length, "nothing is longer than the ring");
        let room = self.extent.end() - self.place(lsn);
        usize::try_from(room).unwrap_or(usize::MAX).min(length)
    }

    /// The place in the file of so many bytes, unless they wrap.
    pub(super) fn unbroken(&self, lsn: u64, length: usize) -> Option<u64> {
        (self.before_end(lsn, length) == length).then(|| self.place(lsn))
    }

    /// The bytes of `lsn` with their offsets in the file, in two pieces where they wrap.
    pub(super) fn parts<'a>(
        &self,
        lsn: u64,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (u64, &'a [u8])> {
        let (front, rest) = bytes.split_at(self.before_end(lsn, bytes.len()));
        let parts = [(self.place(lsn), front), (self.extent.offset, rest)];
        parts.into_iter().filter(|(_, part)| !part.is_empty())
    }

    /// Writes the bytes of `lsn`.
    pub(super) fn write(
        &self,
        disk: &dyn Disk,
        lsn: u64,
        bytes: &[u8],
        flush: Flush,
    ) -> Result<()> {
        for (place, part) in self.parts(lsn, bytes) {
            write_all_at(disk, "write a WAL group", place, part, flush)?;
        }
        Ok(())
    }

    /// Reads the bytes of `lsn`, in two pieces where they wrap. Bytes that cannot be read are an
    /// error, whatever they would have said.
    pub(super) fn read(&self, disk: &dyn Disk, lsn: u64, buffer: &mut [u8]) -> Result<()> {
        let (front, rest) = buffer.split_at_mut(self.before_end(lsn, buffer.len()));
        read_exact_at(disk, "read the WAL", self.place(lsn), front)?;
        if rest.is_empty() {
            return Ok(());
        }
        read_exact_at(disk, "read the WAL", self.extent.offset, rest)
    }
}
