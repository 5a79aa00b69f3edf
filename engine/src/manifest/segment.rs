//! The edits that add a payload segment, and that place it anew.
//!
//! ```text
//! added     number u64 | table u32 | extent offset u64, length u64 | bytes u64
//!           | footer checksum u32 | records u64 | payload bytes u64
//! replaced  number u64 | extent offset u64, length u64 | footer checksum u32
//! ```

use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::TableId;
use crate::file::Extent;
use crate::version::{Edit, SegmentMeta};

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

pub(super) fn encode_replaced(bytes: &mut Vec<u8>, number: u64, extent: Extent, checksum: u32) {
    bytes.put_u64(number);
    bytes.put_u64(extent.offset);
    bytes.put_u64(extent.length);
    bytes.put_u32(checksum);
}

pub(super) fn decode_replaced(decoder: &mut Decoder<'_>) -> Result<Edit, DecodeError> {
    Ok(Edit::SegmentReplaced {
        number: decoder.u64("segment number")?,
        extent: Extent { offset: decoder.u64("extent")?, length: decoder.u64("extent")? },
        footer_checksum: decoder.u32("footer checksum")?,
    })
}
