//! Writes one segment front to back: records, then the footer.
//!
//! # Invariants
//! 1. A record is written once, and its reference given out after that.
//! 2. Nothing is synced: the caller syncs once, before whatever names the segment.

use super::format::{self, FOOTER_SIZE, Footer};
use super::{RecordRef, Reference};
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Extent, ExtentWriter, FileId};
use crate::version::SegmentMeta;
use crc32fast::Hasher;

/// The writer of one segment.
pub(crate) struct SegmentWriter {
    output: ExtentWriter,
    file: FileId,
    number: u64,
    table: TableId,
    records: u64,
    payload_bytes: u64,
    checksums: Hasher,
    buffer: Vec<u8>,
}

impl SegmentWriter {
    /// An empty segment of a number that was never used before.
    pub(crate) fn new(
        output: ExtentWriter,
        file: FileId,
        number: u64,
        table: TableId,
    ) -> SegmentWriter {
        SegmentWriter {
            output,
            file,
            number,
            table,
            records: 0,
            payload_bytes: 0,
            checksums: Hasher::new(),
            buffer: Vec::new(),
        }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// `TooLarge` where the extent has no room for it; as the disk gives them, after which the
    /// writer must be dropped.
    pub(crate) fn append(&mut self, record: &RecordRef<'_>) -> Result<Reference> {
        let offset = self.output.position();
        let checksum =
            format::encode_record(self.file, self.number, offset, record, &mut self.buffer);
        self.output.write(&self.buffer)?;
        self.checksums.update(&checksum.to_le_bytes());
        self.records += 1;
        self.payload_bytes += record.payload.len() as u64;
        Ok(Reference::new(self.number, offset))
    }

    /// Writes the footer. What is given back lies at the front of `extent`.
    pub(crate) fn finish(mut self, extent: Extent) -> Result<SegmentMeta> {
        let data_length = self.output.position();
        let footer = Footer {
            number: self.number,
            data_length,
            records: self.records,
            payload_bytes: self.payload_bytes,
            table: self.table,
            records_checksum: self.checksums.finalize(),
            erased: 0,
        };
        let (bytes, footer_checksum) = footer.encode(self.file);
        self.output.write(&bytes)?;
        let bytes = self.output.finish()?;
        debug_assert_eq!(bytes, data_length + FOOTER_SIZE as u64);
        Ok(SegmentMeta {
            number: self.number,
            table: self.table,
            extent,
            bytes,
            footer_checksum,
            records: self.records,
            payload_bytes: self.payload_bytes,
        })
    }
}
