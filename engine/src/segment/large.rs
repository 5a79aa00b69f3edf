//! A payload that has a segment to itself: written before its commit, so that the log holds only
//! where it lies.
//!
//! ```text
//! offset  size  field            notes
//!      0     8  number           of the segment, 1 to 2^40 - 1
//!      8     8  extent offset    multiple of 4,096
//!     16     4  payload length   p, at most 16 MiB
//!     20     4  table            home, as in the footer
//!     24     4  footer checksum
//! ```
//! The segment has one record, without event time and origin: the message has these. So all that
//! the manifest will say of it follows from these bytes.

use super::format::{FOOTER_SIZE, RecordHead};
use super::{RecordRef, Reference, Segment, SegmentWriter};
use crate::codec::{DecodeError, Decoder, Encode, round_up};
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Extent, ExtentWriter, FileId};
use crate::limits::{BLOCK_SIZE, PAYLOAD_LENGTH_MAX, SEGMENT_NUMBER_MAX};
use crate::version::SegmentMeta;

/// Bytes of a [`LargePayload`] in a frame.
pub(crate) const LARGE_SIZE: usize = 28;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LargePayload {
    pub(crate) number: u64,
    /// Where its extent begins.
    pub(crate) offset: u64,
    /// Bytes of the payload.
    pub(crate) length: u32,
    /// Home: the table among its targets that keeps longest.
    pub(crate) table: TableId,
    pub(crate) footer_checksum: u32,
}

impl LargePayload {
    /// A place that is not known yet; it is never written.
    pub(crate) fn unplaced(length: u32) -> LargePayload {
        let (number, offset, table) = (SEGMENT_NUMBER_MAX, BLOCK_SIZE, TableId(0));
        LargePayload { number, offset, length, table, footer_checksum: 0 }
    }

    /// Writes a payload into a segment of its own at the front of `extent`, which has room for
    /// [`LargePayload::segment_bytes`]. Nothing is synced.
    pub(crate) fn write(
        output: ExtentWriter,
        extent: Extent,
        (file, number, table): (FileId, u64, TableId),
        payload: &[u8],
    ) -> Result<LargePayload> {
        let mut writer = SegmentWriter::new(output, file, number, table);
        writer.append(&RecordRef { event_ms: None, origin: None, payload })?;
        let SegmentMeta { footer_checksum, .. } = writer.finish(extent)?;
        let length = u32::try_from(payload.len()).expect("payload lengths are checked");
        Ok(LargePayload { number, offset: extent.offset, length, table, footer_checksum })
    }

    /// Bytes of the segment of a payload of so many bytes.
    pub(crate) fn segment_bytes(payload: usize) -> u64 {
        (RecordHead::of_payload(payload).padded() + FOOTER_SIZE) as u64
    }

    /// What the manifest will say of the segment.
    pub(crate) fn meta(&self) -> SegmentMeta {
        let bytes = LargePayload::segment_bytes(self.length as usize);
        SegmentMeta {
            number: self.number,
            table: self.table,
            extent: Extent { offset: self.offset, length: round_up(bytes, BLOCK_SIZE) },
            bytes,
            footer_checksum: self.footer_checksum,
            records: 1,
            payload_bytes: u64::from(self.length),
        }
    }

    /// What entries refer to it by.
    pub(crate) fn reference(&self) -> Reference {
        Reference::new(self.number, 0)
    }

    /// Whether this is what `segment` was opened as.
    pub(crate) fn is_of(&self, segment: &Segment) -> bool {
        self.meta() == *segment.meta()
    }

    pub(crate) fn encode(&self) -> [u8; LARGE_SIZE] {
        let mut out = Vec::with_capacity(LARGE_SIZE);
        out.put_u64(self.number);
        out.put_u64(self.offset);
        out.put_u32(self.length);
        out.put_u32(self.table.0);
        out.put_u32(self.footer_checksum);
        out.try_into().expect("the fields have 28 bytes")
    }

    pub(crate) fn decode(
        decoder: &mut Decoder<'_>,
    ) -> std::result::Result<LargePayload, DecodeError> {
        let invalid = decoder.error("large payload");
        let large = LargePayload {
            number: decoder.u64("segment number")?,
            offset: decoder.u64("extent offset")?,
            length: decoder.u32("payload length")?,
            table: TableId(decoder.u32("home table")?),
            footer_checksum: decoder.u32("footer checksum")?,
        };
        let possible = (1..=SEGMENT_NUMBER_MAX).contains(&large.number)
            && large.offset.is_multiple_of(BLOCK_SIZE)
            && i64::try_from(large.offset).is_ok()
            && large.length as usize <= PAYLOAD_LENGTH_MAX;
        if possible { Ok(large) } else { Err(invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> LargePayload {
        LargePayload {
            number: 0x0102,
            offset: 0x3000,
            length: 0x0400,
            table: TableId(17),
            footer_checksum: 0x0a0b_0c0d,
        }
    }

    #[test]
    fn golden_bytes() {
        let expected = [
            &0x0102_u64.to_le_bytes()[..],
            &0x3000_u64.to_le_bytes(),
            &0x0400_u32.to_le_bytes(),
            &17_u32.to_le_bytes(),
            &[0x0d, 0x0c, 0x0b, 0x0a],
        ];
        assert_eq!(large().encode(), expected.concat()[..]);
        assert_eq!(LargePayload::decode(&mut Decoder::new(&large().encode())), Ok(large()));
    }

    #[test]
    fn the_segment_follows_from_the_length() {
        let meta = large().meta();
        // Header 12 and payload 1,024, padded to 1,040; footer 64.
        assert_eq!((meta.bytes, meta.extent.length, meta.records), (1104, 4096, 1));
        assert_eq!(LargePayload::segment_bytes(0), 16 + 64);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let hostile = [
            LargePayload { number: 0, ..large() },
            LargePayload { number: 1 << 40, ..large() },
            LargePayload { offset: 0x3001, ..large() },
            LargePayload { offset: u64::MAX - 0xfff, ..large() },
            LargePayload { length: (16 << 20) + 1, ..large() },
        ];
        for large in hostile {
            assert!(LargePayload::decode(&mut Decoder::new(&large.encode())).is_err(), "{large:?}");
        }
        assert!(LargePayload::decode(&mut Decoder::new(&large().encode()[..27])).is_err());
    }
}
