//! A damaged segment, written anew without the records that cannot be read.
//!
//! ```text
//! damaged   | record | ######## | record | ## | record | foot## |
//! anew      | record | filler   | record | filler      | footer |
//! ```
//! Records that are needed keep their offsets, so references to them stay. What lies between them
//! becomes records whose payload was erased: the walk over a segment goes from record to record.
//!
//! # Invariants
//! 1. Every record that is copied was verified in the same read.
//! 2. The length is that of the damaged segment, so it fits where that lay.

use super::format::{FOOTER_SIZE, Footer, RECORD_HEADER, RECORD_UNIT, encode_filler};
use super::verify::Totals;
use super::{Reference, Segment};
use crate::error::Result;
use crate::limits::PAYLOAD_LENGTH_MAX;
use crate::version::SegmentMeta;
use std::collections::BTreeSet;

/// The longest filler.
const FILLER_BYTES_MAX: usize = (PAYLOAD_LENGTH_MAX + RECORD_HEADER) / RECORD_UNIT * RECORD_UNIT;

impl Segment {
    /// Where the record at `offset` ends with its padding, if it can be read; and how many bytes
    /// that was looked for in. One that says more than `bytes_max` is not looked at.
    pub(crate) fn remaining_record(&self, offset: u64, bytes_max: u64) -> (Option<u64>, u64) {
        let cost = RECORD_HEADER as u64;
        let whole = self.data_length().is_multiple_of(RECORD_UNIT as u64);
        if !whole || self.data_length().saturating_sub(offset) < RECORD_UNIT as u64 {
            return (None, 0);
        }
        let mut bytes = vec![0; RECORD_HEADER];
        if bytes_max < cost || self.read(offset, &mut bytes).is_err() {
            return (None, cost);
        }
        let Ok(head) = self.whole_head(offset, &bytes) else {
            return (None, cost);
        };
        let padded = head.padded() as u64;
        if padded > bytes_max {
            return (None, cost);
        }
        bytes.resize(head.length(), 0);
        let sound = self.read(offset, &mut bytes).and_then(|()| self.verify(offset, &bytes));
        (sound.is_ok().then_some(offset + padded), padded)
    }

    /// Hands the segment to `write`, front to back, with the records at these offsets and no
    /// others. Gives what a manifest says of it, at the extent that it has.
    ///
    /// # Errors
    /// `Corruption` where one of the records cannot be read, or two of them overlap; those of
    /// `write`.
    pub(crate) fn write_remains(
        &self,
        needed: &BTreeSet<u64>,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<SegmentMeta> {
        let number = self.meta().number;
        let mut totals = Totals::default();
        let mut end = 0;
        for offset in needed {
            let Some(room) = offset.checked_sub(end) else {
                return Err(self.damage(*offset, "a record lies over the one before"));
            };
            self.fill(end, room, &mut totals, write)?;
            let record = self.record(Reference::new(number, *offset))?;
            totals.add(record.head, record.bytes());
            write(record.bytes())?;
            let padding = record.head.padded() - record.head.length();
            write(&[0; RECORD_UNIT][..padding])?;
            end = offset + record.head.padded() as u64;
        }
        let length = self.data_length();
        let Some(room) = length.checked_sub(end).filter(|room| room % RECORD_UNIT as u64 == 0)
        else {
            return Err(self.damage(end, format!("the records end behind {length} bytes")));
        };
        self.fill(end, room, &mut totals, write)?;
        let (file, table) = (self.source.file, self.meta().table);
        let Totals { records, payload_bytes, erased, checksum } = totals;
        let records_checksum = checksum.finalize();
        let data_length = length;
        let footer =
            Footer { number, data_length, records, payload_bytes, table, records_checksum, erased };
        let (bytes, footer_checksum) = footer.encode(file);
        debug_assert_eq!(bytes.len(), FOOTER_SIZE);
        write(&bytes)?;
        Ok(SegmentMeta { footer_checksum, records, payload_bytes, ..self.meta().clone() })
    }

    /// Fills `room` bytes from `offset` on with erased records.
    fn fill(
        &self,
        mut offset: u64,
        mut room: u64,
        totals: &mut Totals,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        while room > 0 {
            let length = usize::try_from(room).unwrap_or(usize::MAX).min(FILLER_BYTES_MAX);
            let number = self.meta().number;
            let head = encode_filler(self.source.file, number, offset, length, &mut bytes);
            totals.add(head, &bytes);
            write(&bytes)?;
            offset += length as u64;
            room -= length as u64;
        }
        Ok(())
    }
}
