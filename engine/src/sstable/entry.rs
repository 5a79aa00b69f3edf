//! One entry of a timeline as it goes in, and its bytes in a fragment.
//!
//! ```text
//! [event time i64]                                       flag 1
//! [origin: table u32 | seq u64 | key length u16 | key]   flag 2
//! payload                                                the rest
//! ```
//!
//! The flags lie in a column of the fragment; seq, commit and time too.

use super::format::STORED_KEY_LENGTH_MAX;
use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::{Origin, TableId};
use crate::limits::PAYLOAD_LENGTH_MAX;

/// The entry has an event time.
pub(super) const FLAG_EVENT: u8 = 1;
/// The entry has an origin.
pub(super) const FLAG_ORIGIN: u8 = 2;

/// The entry that an entry was fanned out from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OriginRef<'a> {
    /// The table of the original entry.
    pub(crate) table: TableId,
    /// The encoded timeline id of the original entry.
    pub(crate) key: &'a [u8],
    /// The original entry's sequence id.
    pub(crate) seq: u64,
}

impl OriginRef<'_> {
    pub(crate) fn to_origin(self) -> Origin {
        Origin { table: self.table, key: self.key.into(), seq: self.seq }
    }
}

/// An entry of a timeline, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRef<'a> {
    /// Position in its timeline.
    pub(crate) seq: u64,
    /// Number of the batch that wrote it.
    pub(crate) commit: u64,
    /// Commit time.
    pub(crate) time_ms: u64,
    /// Time given by the caller.
    pub(crate) event_ms: Option<i64>,
    /// Where it was fanned out from.
    pub(crate) origin: Option<OriginRef<'a>>,
    /// The caller's bytes.
    pub(crate) payload: &'a [u8],
}

impl EntryRef<'_> {
    pub(super) fn flags(&self) -> u8 {
        let event = if self.event_ms.is_some() { FLAG_EVENT } else { 0 };
        let origin = if self.origin.is_some() { FLAG_ORIGIN } else { 0 };
        event | origin
    }

    /// Appends what precedes the payload.
    pub(super) fn encode_head(&self, out: &mut Vec<u8>) {
        if let Some(event_ms) = self.event_ms {
            out.put_i64(event_ms);
        }
        if let Some(origin) = self.origin {
            out.put_u32(origin.table.0);
            out.put_u64(origin.seq);
            out.put_u16(u16::try_from(origin.key.len()).expect("the builder checks key lengths"));
            out.put(origin.key);
        }
    }
}

/// What an entry's bytes hold beside the columns.
pub(super) struct EntryBytes<'a> {
    pub(super) event_ms: Option<i64>,
    pub(super) origin: Option<OriginRef<'a>>,
    pub(super) payload: &'a [u8],
}

/// Reads an entry's bytes.
pub(super) fn decode(flags: u8, bytes: &[u8]) -> Result<EntryBytes<'_>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    if flags & !(FLAG_EVENT | FLAG_ORIGIN) != 0 {
        return Err(decoder.error("entry flags"));
    }
    let event_ms = match flags & FLAG_EVENT {
        0 => None,
        _ => Some(decoder.i64("event time")?),
    };
    let origin = match flags & FLAG_ORIGIN {
        0 => None,
        _ => Some(decode_origin(&mut decoder)?),
    };
    if decoder.remaining() > PAYLOAD_LENGTH_MAX {
        return Err(decoder.error("payload length"));
    }
    let payload = decoder.take(decoder.remaining(), "payload")?;
    Ok(EntryBytes { event_ms, origin, payload })
}

fn decode_origin<'a>(decoder: &mut Decoder<'a>) -> Result<OriginRef<'a>, DecodeError> {
    let table = TableId(decoder.u32("origin table")?);
    let seq = decoder.u64("origin seq")?;
    let length = usize::from(decoder.u16("origin key length")?);
    if length == 0 || length > STORED_KEY_LENGTH_MAX {
        return Err(decoder.error("origin key length"));
    }
    Ok(OriginRef { table, key: decoder.take(length, "origin key")?, seq })
}
