//! Copies a segment into another extent, a piece a step, and erases payloads on the way.
//!
//! ```text
//! old extent   | record | record | record | footer |
//!                  │ verify   │ verify, zeros for the payload, flag, checksum
//! new extent   | record | erased | record | footer |      the same offsets
//! ```
//! A record says whose it is (file, segment, its offset in it) and nothing of its place in the
//! file. So one that keeps its payload is the same bytes in the new extent, and references stay.
//!
//! # Invariants
//! 1. Whatever is written was verified a moment ago: damage is found, never copied.
//! 2. The footer of the old segment counts and sums up what was copied, or the copy fails.
//! 3. Memory: a piece of [`OUTPUT_PIECE_BYTES`], and one record where that is longer.
//! 4. Nothing is synced: the caller syncs once, before the root that names the copy.

use super::Segment;
use super::format::{self, Footer, RECORD_HEADER};
use super::verify::Totals;
use crate::error::{Error, Result};
use crate::file::{Extent, ExtentWriter};
use crate::limits::OUTPUT_PIECE_BYTES;
use crate::version::SegmentMeta;
use std::collections::BTreeSet;
use std::sync::Arc;

/// See the module.
pub(crate) struct SegmentCopy {
    from: Arc<Segment>,
    output: ExtentWriter,
    /// Offsets of the records that are still to be erased.
    erase: BTreeSet<u64>,
    /// What was read, and is not written yet.
    buffer: Vec<u8>,
    /// What was read, and what was written.
    old: Totals,
    new: Totals,
}

impl SegmentCopy {
    /// A copy of `from`, in which the records at the offsets `erase` have no payload.
    pub(crate) fn new(
        from: Arc<Segment>,
        output: ExtentWriter,
        erase: BTreeSet<u64>,
    ) -> SegmentCopy {
        let (old, new) = (Totals::default(), Totals::default());
        SegmentCopy { from, output, erase, buffer: Vec::new(), old, new }
    }

    /// Copies a piece; the last one is told by `true`.
    ///
    /// # Errors
    /// `Corruption` that names the place of a damaged record; as the disk gives them. The copy must
    /// be dropped then.
    pub(crate) fn step(&mut self) -> Result<bool> {
        self.from.checked_place()?;
        self.fill(OUTPUT_PIECE_BYTES)?;
        if let Some(first) = self.padded_length(0)? {
            self.fill(first)?;
        }
        let mut done = 0;
        while let Some(length) = self.padded_length(done)?
            && done + length <= self.buffer.len()
        {
            self.take(done, length)?;
            done += length;
        }
        self.output.write(&self.buffer[..done])?;
        self.buffer.drain(..done);
        Ok(self.output.position() >= self.from.data_length())
    }

    /// Writes the footer. What is given back lies at the front of `extent`.
    ///
    /// # Errors
    /// As [`SegmentCopy::step`]; `InvalidUse` where a record that was to be erased is not there.
    pub(crate) fn finish(mut self, extent: Extent) -> Result<SegmentMeta> {
        let meta = self.from.meta();
        if let Some(offset) = self.erase.first() {
            let what = format!("erasing a record at {offset} of segment {}: none", meta.number);
            return Err(Error::invalid(what));
        }
        let data_length = self.from.data_length();
        let old = self.from.footer()?;
        self.from.check_totals(&old, &self.old)?;
        debug_assert_eq!(self.output.position(), data_length);
        let footer = Footer {
            records_checksum: self.new.checksum.clone().finalize(),
            erased: self.new.erased,
            ..old
        };
        let (bytes, footer_checksum) = footer.encode(self.from.source.file);
        self.output.write(&bytes)?;
        self.output.finish()?;
        Ok(SegmentMeta { extent, footer_checksum, ..meta.clone() })
    }

    /// Reads on until the buffer has so many bytes, or all that there are.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        let position = self.output.position();
        let left = self.from.data_length().saturating_sub(position);
        let wanted = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        let known = self.buffer.len();
        if known < wanted {
            self.buffer.resize(wanted, 0);
            self.from.read(position + known as u64, &mut self.buffer[known..])?;
        }
        Ok(())
    }

    /// Bytes of the record that begins `at` of the buffer, where enough of it is there to tell.
    fn padded_length(&self, at: usize) -> Result<Option<usize>> {
        let offset = self.output.position() + at as u64;
        let bytes = &self.buffer[at..];
        if bytes.len() < RECORD_HEADER && offset + (bytes.len() as u64) < self.from.data_length() {
            return Ok(None);
        }
        match bytes.is_empty() {
            true => Ok(None),
            false => Ok(Some(self.from.whole_head(offset, bytes)?.padded())),
        }
    }

    /// Verifies the record that has `length` bytes `at` of the buffer, and erases it where asked.
    fn take(&mut self, at: usize, length: usize) -> Result<()> {
        let offset = self.output.position() + at as u64;
        let padded = &mut self.buffer[at..at + length];
        let mut head = self.from.verify_padded(offset, padded)?;
        self.old.add(head, padded);
        if self.erase.remove(&offset) && !head.is_erased() {
            let (file, number) = (self.from.source.file, self.from.meta().number);
            head = format::erase_record(file, number, offset, &mut padded[..head.length()]);
        }
        self.new.add(head, padded);
        Ok(())
    }
}
