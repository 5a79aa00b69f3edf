//! Writes one extent from front to back, in large aligned pieces past the page cache.
//!
//! 1. Bytes gather in an aligned buffer of one piece.
//! 2. A full piece waits for the pacer and is written, not synced: the caller syncs once, before
//!    the root that names the extent.
//!    Where that is asked, the write goes on while the next piece is gathered.
//! 3. `finish` pads the last piece with zeros to a whole block.
//!
//! # Invariants
//! 1. Nothing is ever written outside the extent.
//! 2. Each byte of the extent is written at most once.
//! 3. Nothing is being written any more when `finish` has returned, or when the writer is dropped.
//!    So whoever gives the extent back drops the writer before.

use super::disk::{self, Disk, Flush};
use super::pacer::Pacer;
use super::{AlignedBuffer, Begun, Extent};
use crate::error::{Error, Result};
use crate::limits::{BLOCK_SIZE, OUTPUT_PIECE_BYTES};
use std::sync::Arc;

/// A writer of background output, or of a large payload.
pub(crate) struct ExtentWriter {
    disk: Arc<dyn Disk>,
    /// `None`: somebody waits for the output.
    pacer: Option<Arc<Pacer>>,
    extent: Extent,
    /// Bytes of the extent that were written, a multiple of the piece size.
    written: u64,
    buffer: AlignedBuffer,
    /// Whether a piece is written while the next one is gathered.
    overlaps: bool,
    /// The piece that is being written, and its place.
    going: Option<(Begun, u64)>,
    /// What the piece after it is gathered in.
    spare: AlignedBuffer,
}

impl ExtentWriter {
    /// A writer at the front of `extent`.
    pub(crate) fn new(disk: Arc<dyn Disk>, extent: Extent, pacer: Arc<Pacer>) -> ExtentWriter {
        ExtentWriter::with_pace(disk, extent, Some(pacer))
    }

    /// The same for what a commit waits for: it is not held back.
    pub(crate) fn unpaced(disk: Arc<dyn Disk>, extent: Extent) -> ExtentWriter {
        ExtentWriter::with_pace(disk, extent, None)
    }

    fn with_pace(disk: Arc<dyn Disk>, extent: Extent, pacer: Option<Arc<Pacer>>) -> ExtentWriter {
        assert!(extent.offset.is_multiple_of(BLOCK_SIZE));
        assert!(extent.length.is_multiple_of(BLOCK_SIZE));
        let buffer = AlignedBuffer::with_capacity(OUTPUT_PIECE_BYTES);
        let spare = AlignedBuffer::default();
        let (overlaps, going) = (false, None);
        ExtentWriter { disk, pacer, extent, written: 0, buffer, overlaps, going, spare }
    }

    /// The same, which gathers a piece while the one before is written: for whoever drops the
    /// writer before the extent can become somebody else's.
    #[must_use]
    pub(crate) fn overlapping(self) -> ExtentWriter {
        let spare = AlignedBuffer::with_capacity(OUTPUT_PIECE_BYTES);
        ExtentWriter { overlaps: true, spare, ..self }
    }

    /// Bytes taken so far: the offset in the extent of what comes next.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// `TooLarge` when they do not fit: none of them is taken. An I/O error, after which the writer
    /// must be dropped.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let end = self.position().saturating_add(bytes.len() as u64);
        if end > self.extent.length {
            let limit = self.extent.length;
            return Err(Error::TooLarge { what: "bytes of an extent", value: end, limit });
        }
        while !bytes.is_empty() {
            let room = OUTPUT_PIECE_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend(now);
            bytes = later;
            if self.buffer.len() == OUTPUT_PIECE_BYTES {
                self.write_piece()?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and returns how many bytes the extent holds, padding not counted.
    /// Nothing is synced.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let bytes = self.position();
        let block = usize::try_from(BLOCK_SIZE).expect("a block is 4 KiB");
        self.buffer.pad_to(block);
        if !self.buffer.is_empty() {
            self.write_piece()?;
        }
        self.wait()?;
        Ok(bytes)
    }

    fn write_piece(&mut self) -> Result<()> {
        let length = self.buffer.len() as u64;
        assert!(self.written + length <= self.extent.length, "no write leaves the extent");
        if let Some(pacer) = &self.pacer {
            pacer.take(length);
        }
        let offset = self.extent.offset + self.written;
        if self.overlaps {
            self.wait()?;
            let piece = std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare));
            self.going = Some((self.disk.begin_write(offset, piece), offset));
        } else {
            let piece = self.buffer.as_slice();
            disk::write_all_at(&*self.disk, "write an extent", offset, piece, Flush::Later)?;
            self.buffer.clear();
        }
        self.written += length;
        Ok(())
    }

    /// Waits for the piece that is being written.
    fn wait(&mut self) -> Result<()> {
        let Some((begun, offset)) = self.going.take() else {
            return Ok(());
        };
        let (mut piece, outcome) = begun.finish(&*self.disk, "write an extent", offset);
        piece.clear();
        self.spare = piece;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::pacer::tests::unlimited;
    use crate::testing::{Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk, SimOptions};

    fn writer(disk: &SimDisk, length: u64) -> ExtentWriter {
        let extent = Extent { offset: 8192, length };
        ExtentWriter::new(Arc::new(disk.clone()), extent, Arc::new(unlimited()))
    }

    /// A file of `0xee` bytes, so that writes outside an extent would show.
    fn disk() -> SimDisk {
        SimDisk::from_bytes(SimOptions::default(), &vec![0xee; 1 << 20])
    }

    #[test]
    fn pieces_of_any_size_arrive_in_order() {
        let (plain, overlapping) = (disk(), disk());
        pieces_arrive(&plain, writer(&plain, 768 * 1024));
        pieces_arrive(&overlapping, writer(&overlapping, 768 * 1024).overlapping());
    }

    fn pieces_arrive(disk: &SimDisk, mut writer: ExtentWriter) {
        let mut expected = Vec::new();
        for size in [1, 4095, 4096, 100_000, 0, 262_144, 262_143, 7] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            writer.write(&bytes).unwrap();
            expected.extend(bytes);
            assert_eq!(writer.position(), expected.len() as u64);
        }
        let length = expected.len();
        assert_eq!(writer.finish().unwrap(), length as u64);
        expected.resize(length.next_multiple_of(4096), 0);
        let bytes = disk.bytes();
        assert!(bytes[8192..8192 + expected.len()] == expected);
        assert!(bytes[..8192].iter().all(|byte| *byte == 0xee));
        assert!(bytes[8192 + expected.len()..].iter().all(|byte| *byte == 0xee));
    }

    #[test]
    fn nothing_is_written_behind_the_end() {
        let disk = disk();
        let mut writer = writer(&disk, 8192);
        writer.write(&[1; 8000]).unwrap();
        let error = writer.write(&[2; 193]).unwrap_err();
        assert!(matches!(error, Error::TooLarge { value: 8193, limit: 8192, .. }));
        writer.write(&[1; 192]).unwrap();
        assert_eq!(writer.finish().unwrap(), 8192);
        let bytes = disk.bytes();
        assert!(bytes[8192..16384].iter().all(|byte| *byte == 1));
        assert!(bytes[16384..].iter().all(|byte| *byte == 0xee));
    }

    /// The disk refuses a piece while the next one is gathered.
    #[test]
    fn a_piece_that_fails_beside_the_next_one_is_told() {
        let disk = disk();
        let mut writer = writer(&disk, 768 * 1024).overlapping();
        disk.fail(Fault {
            operation: FaultOperation::Write,
            effect: FaultEffect::Error,
            at: 0,
            times: FaultTimes::Once,
        });
        writer.write(&vec![1; OUTPUT_PIECE_BYTES]).unwrap();
        writer.write(&[1; 100]).unwrap();
        assert!(matches!(writer.finish(), Err(Error::Io { .. })));
    }
}
