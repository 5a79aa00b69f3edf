//! The edit that adds a payload segment.
//!
//! ```text
//! number u64 | table u32 | extent offset u64, length u64 | bytes u64 | footer checksum u32
//! | records u64 | payload bytes u64
//! ```

use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::TableId;
use crate::file::Extent;
use crate::version::SegmentMeta;

pub(super) fn encode(bytes: &mut Vec<u8>, meta: &SegmentMeta) {
    bytes.put_u64(meta.number);
    bytes.put_u32(meta.table.0);
    bytes.put_u64(meta.extent.offset);
    bytes.put_u64(meta.extent.length);
    bytes.put_u64(meta.bytes);
    bytes.put_u32(meta.footer_checksum);
    bytes.put_u64(meta.records);
    bytes.put_u64(meta.payload_bytes);
}

pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<SegmentMeta, DecodeError> {
    Ok(SegmentMeta {
        number: decoder.u64("segment number")?,
        table: TableId(decoder.u32("home table")?),
        extent: Extent { offset: decoder.u64("extent")?, length: decoder.u64("extent")? },
        bytes: decoder.u64("bytes")?,
        footer_checksum: decoder.u32("footer checksum")?,
        records: decoder.u64("records")?,
        payload_bytes: decoder.u64("payload bytes")?,
    })
}
