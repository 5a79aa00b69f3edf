//! Bytes of a payload segment: records, and the footer that says whose they are. Little-endian.
//!
//! ```text
//! record, at a multiple of 16
//! offset  size  field              notes
//!      0     4  checksum           CRC-32 of bytes 4..length, seeded with file id, segment number,
//!                                  offset of the record
//!      4     4  payload length     p, at most 16 MiB
//!      8     1  flags              1 event time, 2 origin, 4 erased; others zero
//!      9     1  reserved           zero, checked
//!     10     2  origin key length  m, 1 to 1,024; 0 without flag 2
//!     12     8  event time         i64, milliseconds since 1970; with flag 1
//!      …     4  origin table       with flag 2
//!      …     8  origin seq         with flag 2
//!      …     m  origin key         with flag 2
//!      …     p  payload            zeros with flag 4; the record's length ends here
//!      …        padding            zeros up to a multiple of 16
//!
//! footer, behind the last record
//!      0     4  checksum           CRC-32 of bytes 4..64, seeded with file id, segment number,
//!                                  offset of the footer; the manifest holds it too
//!      4     1  kind               8
//!      5     3  reserved           zero, checked
//!      8     8  number             of this segment
//!     16     8  data length        bytes before the footer, a multiple of 16
//!     24     8  records            at least 1
//!     32     8  payload bytes      of all records
//!     40     4  table              home: the table among its targets that keeps longest
//!     44     4  records' checksum  CRC-32 over the checksums of the records, in order
//!     48     8  erased             records with flag 4
//!     56     8  reserved           zero, checked
//! ```
//!
//! A record is valid if and only if: (1) it lies before the footer; (2) the checksum holds, which
//! also says that it is a record of this segment at this place; (3) its fields are in the bounds
//! above, and add up; (4) the payload of an erased record is zeros. A footer is valid if and only
//! if its checksum is right and the manifest's, its fields are those of the manifest, and reserved
//! bytes are zero.

use super::RecordRef;
use crate::codec::{DecodeError, Decoder, Encode, checksum_seeded};
use crate::entry::{OriginRef, TableId};
use crate::file::FileId;
use crate::limits::{KEY_LENGTH_MAX, KEY_LENGTH_MIN, PAYLOAD_LENGTH_MAX};
use std::ops::Range;

/// Records begin at multiples of it, so that a reference counts in it.
pub(crate) const RECORD_UNIT: usize = 16;
/// Bytes of a record that are always there.
pub(super) const RECORD_HEADER: usize = 12;
/// Where the flags of a record are.
const FLAGS_OFFSET: usize = 8;
/// Bytes of the footer.
pub(crate) const FOOTER_SIZE: usize = 64;
/// The kind of a footer: block kinds count on from those of SSTables.
pub(super) const KIND_SEGMENT: u8 = 8;
/// The record has an event time.
pub(super) const FLAG_EVENT: u8 = 1;
/// The record has an origin.
pub(super) const FLAG_ORIGIN: u8 = 2;
/// The payload was erased: zeros are in its place.
pub(super) const FLAG_ERASED: u8 = 4;
/// Table and seq of an origin, before its key.
const ORIGIN_HEADER: usize = 12;

/// What the fixed front of a record says of its length. Not verified: a bound, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    flags: u8,
    origin_key: usize,
    payload: usize,
}

impl RecordHead {
    /// That of a record without event time and origin.
    pub(super) fn of_payload(payload: usize) -> RecordHead {
        RecordHead { flags: 0, origin_key: 0, payload }
    }

    /// Reads the first [`RECORD_HEADER`] bytes of a record.
    pub(super) fn decode(bytes: &[u8]) -> Result<RecordHead, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.take(4, "record checksum")?;
        let payload = decoder.u32("record payload length")? as usize;
        let flags = decoder.u8("record flags")?;
        if payload > PAYLOAD_LENGTH_MAX {
            return Err(decoder.error("record payload length"));
        }
        if flags & !(FLAG_EVENT | FLAG_ORIGIN | FLAG_ERASED) != 0 {
            return Err(decoder.error("record flags"));
        }
        decoder.zeros(1, "reserved byte of a record")?;
        let origin_key = usize::from(decoder.u16("record origin key length")?);
        let possible = match flags & FLAG_ORIGIN {
            0 => origin_key == 0,
            _ => (KEY_LENGTH_MIN..=KEY_LENGTH_MAX).contains(&origin_key),
        };
        if !possible {
            return Err(decoder.error("record origin key length"));
        }
        Ok(RecordHead { flags, origin_key, payload })
    }

    fn before_payload(self) -> usize {
        let event = if self.flags & FLAG_EVENT == 0 { 0 } else { 8 };
        let origin = if self.flags & FLAG_ORIGIN == 0 { 0 } else { ORIGIN_HEADER };
        RECORD_HEADER + event + origin + self.origin_key
    }

    /// Whether the payload was erased.
    pub(super) fn is_erased(self) -> bool {
        self.flags & FLAG_ERASED != 0
    }

    /// Bytes of the record, padding not counted.
    pub(super) fn length(self) -> usize {
        self.before_payload() + self.payload
    }

    /// Where the payload lies in the record.
    pub(super) fn payload_range(self) -> Range<usize> {
        self.before_payload()..self.length()
    }

    /// Bytes of the record and its padding.
    pub(super) fn padded(self) -> usize {
        self.length().next_multiple_of(RECORD_UNIT)
    }
}

/// What a record takes in a segment.
pub(crate) fn record_size(record: &RecordRef<'_>) -> usize {
    head_of(record).padded()
}

fn head_of(record: &RecordRef<'_>) -> RecordHead {
    let event = if record.event_ms.is_some() { FLAG_EVENT } else { 0 };
    let origin = if record.origin.is_some() { FLAG_ORIGIN } else { 0 };
    RecordHead {
        flags: event | origin,
        origin_key: record.origin.map_or(0, |origin| origin.key.len()),
        payload: record.payload.len(),
    }
}

/// Makes `out` the record at `offset` with its padding, and returns its checksum.
pub(super) fn encode_record(
    file: FileId,
    number: u64,
    offset: u64,
    record: &RecordRef<'_>,
    out: &mut Vec<u8>,
) -> u32 {
    let head = head_of(record);
    out.clear();
    out.put_u32(0);
    out.put_u32(u32::try_from(head.payload).expect("payload lengths are checked"));
    out.put_u8(head.flags);
    out.put_u8(0);
    out.put_u16(u16::try_from(head.origin_key).expect("key lengths are checked"));
    if let Some(event_ms) = record.event_ms {
        out.put_i64(event_ms);
    }
    if let Some(origin) = record.origin {
        out.put_u32(origin.table.0);
        out.put_u64(origin.seq);
        out.put(origin.key);
    }
    out.put(record.payload);
    debug_assert_eq!(out.len(), head.length());
    let checksum = checksum_seeded(file, number, offset, &out[4..]);
    out[..4].copy_from_slice(&checksum.to_le_bytes());
    out.resize(head.padded(), 0);
    checksum
}

/// Erases the payload of the record that fills `bytes`, padding not counted, in place.
pub(super) fn erase_record(file: FileId, number: u64, offset: u64, bytes: &mut [u8]) -> RecordHead {
    let head = RecordHead::decode(bytes).expect("the record is verified");
    bytes[head.payload_range()].fill(0);
    bytes[FLAGS_OFFSET] |= FLAG_ERASED;
    let checksum = checksum_seeded(file, number, offset, &bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    RecordHead { flags: bytes[FLAGS_OFFSET], ..head }
}

/// The checksum that a record, or a footer, carries.
pub(super) fn carried_checksum(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |first| u32::from_le_bytes(*first))
}

/// Rules (2) to (4) of a record that fills `bytes`, padding not counted.
pub(super) fn verify_record(
    file: FileId,
    number: u64,
    offset: u64,
    bytes: &[u8],
) -> Result<RecordHead, String> {
    let carried = carried_checksum(bytes);
    let computed = checksum_seeded(file, number, offset, bytes.get(4..).unwrap_or_default());
    if carried != computed {
        return Err(format!("its checksum is {computed:#010x}, it carries {carried:#010x}"));
    }
    let head = RecordHead::decode(bytes).map_err(|error| error.to_string())?;
    if head.length() != bytes.len() {
        return Err(format!("it says {} bytes, and has {}", head.length(), bytes.len()));
    }
    if head.is_erased() && bytes[head.payload_range()].iter().any(|byte| *byte != 0) {
        return Err("it is erased, and its payload is there".to_owned());
    }
    Ok(head)
}

/// Event time and origin of a verified record.
pub(super) fn decode_shared(
    head: RecordHead,
    bytes: &[u8],
) -> Result<(Option<i64>, Option<OriginRef<'_>>), DecodeError> {
    let mut decoder = Decoder::new(bytes);
    decoder.take(RECORD_HEADER, "record header")?;
    let event_ms = match head.flags & FLAG_EVENT {
        0 => None,
        _ => Some(decoder.i64("record event time")?),
    };
    let origin = match head.flags & FLAG_ORIGIN {
        0 => None,
        _ => Some(OriginRef {
            table: TableId(decoder.u32("record origin table")?),
            seq: decoder.u64("record origin seq")?,
            key: decoder.take(head.origin_key, "record origin key")?,
        }),
    };
    Ok((event_ms, origin))
}

/// Makes `out` a record of exactly `length` bytes, padding included, whose payload was erased: what
/// stands in the place of records that cannot be read.
pub(super) fn encode_filler(
    file: FileId,
    number: u64,
    offset: u64,
    length: usize,
    out: &mut Vec<u8>,
) -> RecordHead {
    debug_assert!(length.is_multiple_of(RECORD_UNIT) && length > RECORD_HEADER);
    let head = RecordHead { flags: FLAG_ERASED, origin_key: 0, payload: length - RECORD_HEADER };
    out.clear();
    out.put_u32(0);
    out.put_u32(u32::try_from(head.payload).expect("a filler is no longer than a payload"));
    out.put_u8(head.flags);
    out.resize(length, 0);
    let checksum = checksum_seeded(file, number, offset, &out[4..]);
    out[..4].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// What the footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) number: u64,
    pub(crate) data_length: u64,
    pub(crate) records: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) table: TableId,
    pub(crate) records_checksum: u32,
    pub(crate) erased: u64,
}

impl Footer {
    /// The footer's bytes, and its checksum.
    pub(super) fn encode(&self, file: FileId) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(FOOTER_SIZE);
        out.put_u32(0);
        out.put_u8(KIND_SEGMENT);
        out.put(&[0; 3]);
        out.put_u64(self.number);
        out.put_u64(self.data_length);
        out.put_u64(self.records);
        out.put_u64(self.payload_bytes);
        out.put_u32(self.table.0);
        out.put_u32(self.records_checksum);
        out.put_u64(self.erased);
        out.put(&[0; 8]);
        debug_assert_eq!(out.len(), FOOTER_SIZE);
        let checksum = checksum_seeded(file, self.number, self.data_length, &out[4..]);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        (out, checksum)
    }

    /// Verifies a footer that should be that of segment `number` with so many bytes of data.
    pub(super) fn decode(
        file: FileId,
        number: u64,
        data_length: u64,
        expected: u32,
        bytes: &[u8],
    ) -> Result<Footer, String> {
        let carried = carried_checksum(bytes);
        let computed =
            checksum_seeded(file, number, data_length, bytes.get(4..).unwrap_or_default());
        if carried != computed || carried != expected {
            return Err(format!(
                "its checksum is {computed:#010x}, it carries {carried:#010x}, the manifest \
                 expects {expected:#010x}"
            ));
        }
        let footer = Footer::decode_fields(bytes).map_err(|error| error.to_string())?;
        if footer.number != number || footer.data_length != data_length {
            return Err(format!(
                "it says segment {} with {} bytes, expected segment {number} with {data_length}",
                footer.number, footer.data_length
            ));
        }
        Ok(footer)
    }

    fn decode_fields(bytes: &[u8]) -> Result<Footer, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.take(4, "footer checksum")?;
        if decoder.u8("footer kind")? != KIND_SEGMENT {
            return Err(decoder.error("footer kind"));
        }
        decoder.zeros(3, "reserved bytes of a footer")?;
        let footer = Footer {
            number: decoder.u64("segment number")?,
            data_length: decoder.u64("data length")?,
            records: decoder.u64("records")?,
            payload_bytes: decoder.u64("payload bytes")?,
            table: TableId(decoder.u32("home table")?),
            records_checksum: decoder.u32("records' checksum")?,
            erased: decoder.u64("erased records")?,
        };
        decoder.zeros(8, "reserved bytes of a footer")?;
        Ok(footer)
    }
}
