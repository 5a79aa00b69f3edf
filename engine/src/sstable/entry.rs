//! One entry of a timeline as it goes in, and its bytes in a fragment.
//!
//! ```text
//! [event time i64]                                       flag 1
//! [own time to live varint]                              flag 4, milliseconds, not 0
//! [origin: table u32 | seq u64 | key length u16 | key]   flag 2
//! payload                                                the rest, without flag 8 and flag 32
//! reference u64                                          the rest, with flag 8
//! ```
//!
//! The flags lie in a column of the fragment; seq, commit and time too. With flag 8 the payload is
//! in a segment, and so are event time and origin where the entry has none itself. Flag 16, beside
//! 8 and never beside 2, says that the segment's origin is not for this entry: it is that origin.
//! With flag 32, never beside 8, the payload was erased: there is none.

use super::format::STORED_KEY_LENGTH_MAX;
use crate::codec::{DecodeError, Decoder, Encode, put_varint, take_varint};
pub(crate) use crate::entry::OriginRef;
use crate::entry::TableId;
use crate::limits::PAYLOAD_LENGTH_MAX;
use crate::segment::Reference;

/// The entry has an event time.
pub(super) const FLAG_EVENT: u8 = 1;
/// The entry has an origin.
pub(super) const FLAG_ORIGIN: u8 = 2;
/// The entry has a time to live of its own.
pub(super) const FLAG_OWN_TTL: u8 = 4;

/// The payload lies in a segment.
pub(super) const FLAG_REFERENCE: u8 = 8;
/// The entry is the origin of the others that refer to the same record.
pub(super) const FLAG_IS_ORIGIN: u8 = 16;
/// The payload was erased.
pub(super) const FLAG_ERASED: u8 = 32;
const FLAGS: u8 =
    FLAG_EVENT | FLAG_ORIGIN | FLAG_OWN_TTL | FLAG_REFERENCE | FLAG_IS_ORIGIN | FLAG_ERASED;
/// Bytes of a reference.
pub(super) const REFERENCE_SIZE: usize = 8;

/// Whether an entry of these flags may name an origin other than itself. That of a reference lies
/// in the segment: it is taken to have one.
pub(super) fn may_name_origin(flags: u8) -> bool {
    flags & FLAG_ORIGIN != 0 || flags & (FLAG_REFERENCE | FLAG_IS_ORIGIN) == FLAG_REFERENCE
}

/// What an entry has in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shared {
    /// The record.
    pub(crate) reference: Reference,
    /// The entry is the origin that the record names, so it has none.
    pub(crate) is_origin: bool,
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
    /// Its own time to live.
    pub(crate) ttl_ms: Option<u64>,
    /// Where it was fanned out from.
    pub(crate) origin: Option<OriginRef<'a>>,
    /// The caller's bytes; empty where they are shared.
    pub(crate) payload: &'a [u8],
    /// Where the payload is, if not here; also event time and origin, if not here.
    pub(crate) shared: Option<Shared>,
    /// The payload was erased: there is none, here or elsewhere.
    pub(crate) erased: bool,
}

/// An entry of a timeline that is a payload and nothing more: its flags are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainEntry<'a> {
    /// Position in its timeline.
    pub(crate) seq: u64,
    /// Number of the batch that wrote it.
    pub(crate) commit: u64,
    /// Commit time.
    pub(crate) time_ms: u64,
    /// The caller's bytes.
    pub(crate) payload: &'a [u8],
}

impl<'a> PlainEntry<'a> {
    /// The same entry, among others.
    pub(super) fn to_ref(self) -> EntryRef<'a> {
        let PlainEntry { seq, commit, time_ms, payload } = self;
        EntryRef {
            seq,
            commit,
            time_ms,
            event_ms: None,
            ttl_ms: None,
            origin: None,
            payload,
            shared: None,
            erased: false,
        }
    }

    /// Whether the other one can come behind it in a timeline.
    pub(super) fn precedes(&self, behind: &PlainEntry<'_>) -> bool {
        self.seq < behind.seq && self.commit <= behind.commit && self.time_ms <= behind.time_ms
    }
}

impl<'a> EntryRef<'a> {
    /// The same entry without its payload, which is erased. What it has in a segment stays there.
    pub(crate) fn without_payload(self) -> EntryRef<'a> {
        debug_assert!(self.shared.is_none(), "a shared payload is erased where it lies");
        EntryRef { payload: &[], erased: true, ..self }
    }
}

impl EntryRef<'_> {
    pub(super) fn flags(&self) -> u8 {
        let event = if self.event_ms.is_some() { FLAG_EVENT } else { 0 };
        let origin = if self.origin.is_some() { FLAG_ORIGIN } else { 0 };
        let shared = match self.shared {
            None => 0,
            Some(Shared { is_origin: false, .. }) => FLAG_REFERENCE,
            Some(Shared { is_origin: true, .. }) => FLAG_REFERENCE | FLAG_IS_ORIGIN,
        };
        let own_ttl = if self.ttl_ms.is_some() { FLAG_OWN_TTL } else { 0 };
        let erased = if self.erased { FLAG_ERASED } else { 0 };
        event | origin | own_ttl | shared | erased
    }

    /// Appends what precedes the payload, or all there is where that is shared.
    pub(super) fn encode_head(&self, out: &mut Vec<u8>) {
        if let Some(event_ms) = self.event_ms {
            out.put_i64(event_ms);
        }
        if let Some(ttl_ms) = self.ttl_ms {
            put_varint(out, ttl_ms);
        }
        if let Some(origin) = self.origin {
            out.put_u32(origin.table.0);
            out.put_u64(origin.seq);
            out.put_u16(u16::try_from(origin.key.len()).expect("the builder checks key lengths"));
            out.put(origin.key);
        }
        if let Some(shared) = self.shared {
            out.put_u64(shared.reference.bits());
        }
    }
}

/// What an entry's bytes hold beside the columns.
pub(super) struct EntryBytes<'a> {
    pub(super) event_ms: Option<i64>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) origin: Option<OriginRef<'a>>,
    pub(super) payload: &'a [u8],
    pub(super) shared: Option<Shared>,
    pub(super) erased: bool,
}

/// Reads an entry's bytes.
pub(super) fn decode(flags: u8, bytes: &[u8]) -> Result<EntryBytes<'_>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    if flags & !FLAGS != 0 || !is_origin_possible(flags) || !is_erasure_possible(flags) {
        return Err(decoder.error("entry flags"));
    }
    let event_ms = match flags & FLAG_EVENT {
        0 => None,
        _ => Some(decoder.i64("event time")?),
    };
    let ttl_ms = decode_ttl(flags, &mut decoder)?;
    let origin = match flags & FLAG_ORIGIN {
        0 => None,
        _ => Some(decode_origin(&mut decoder)?),
    };
    if flags & FLAG_REFERENCE != 0 {
        let reference = decode_reference(&mut decoder)?;
        let shared = Some(Shared { reference, is_origin: flags & FLAG_IS_ORIGIN != 0 });
        return Ok(EntryBytes { event_ms, ttl_ms, origin, payload: &[], shared, erased: false });
    }
    if decoder.remaining() > PAYLOAD_LENGTH_MAX {
        return Err(decoder.error("payload length"));
    }
    let erased = flags & FLAG_ERASED != 0;
    if erased && !decoder.is_empty() {
        return Err(decoder.error("payload that was erased"));
    }
    let payload = decoder.take(decoder.remaining(), "payload")?;
    Ok(EntryBytes { event_ms, ttl_ms, origin, payload, shared: None, erased })
}

fn is_erasure_possible(flags: u8) -> bool {
    flags & FLAG_ERASED == 0 || flags & FLAG_REFERENCE == 0
}

fn is_origin_possible(flags: u8) -> bool {
    flags & FLAG_IS_ORIGIN == 0 || flags & (FLAG_REFERENCE | FLAG_ORIGIN) == FLAG_REFERENCE
}

/// The time to live that stands behind the event time, if the entry has one of its own.
fn decode_ttl(flags: u8, decoder: &mut Decoder<'_>) -> Result<Option<u64>, DecodeError> {
    if flags & FLAG_OWN_TTL == 0 {
        return Ok(None);
    }
    let error = decoder.error("time to live of an entry");
    match take_varint(decoder, "time to live of an entry")? {
        0 => Err(error),
        ttl_ms => Ok(Some(ttl_ms)),
    }
}

/// The time to live in the bytes of an entry, without the rest of it.
pub(super) fn own_ttl(flags: u8, bytes: &[u8]) -> Result<Option<u64>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    if flags & (FLAG_EVENT | FLAG_OWN_TTL) == FLAG_EVENT | FLAG_OWN_TTL {
        decoder.i64("event time")?;
    }
    decode_ttl(flags, &mut decoder)
}

/// The reference with which the bytes of an entry end.
fn decode_reference(decoder: &mut Decoder<'_>) -> Result<Reference, DecodeError> {
    let error = decoder.error("reference to a segment");
    let bits = decoder.u64("reference to a segment")?;
    match Reference::from_bits(bits) {
        Some(reference) if decoder.is_empty() => Ok(reference),
        _ => Err(error),
    }
}

/// The reference in the bytes of an entry, without the rest of it.
pub(super) fn reference(flags: u8, bytes: &[u8]) -> Result<Option<Reference>, DecodeError> {
    if flags & FLAG_REFERENCE == 0 {
        return Ok(None);
    }
    let start = bytes.len().saturating_sub(REFERENCE_SIZE);
    decode_reference(&mut Decoder::new(&bytes[start..])).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erased_entry_keeps_all_but_its_payload() {
        let origin = OriginRef { table: TableId(16), key: b"room", seq: 7 };
        let entry = EntryRef {
            seq: 1,
            commit: 2,
            time_ms: 3,
            event_ms: Some(-1),
            ttl_ms: Some(60),
            origin: Some(origin),
            payload: b"text",
            shared: None,
            erased: false,
        };
        let erased = entry.without_payload();
        assert_eq!(erased.flags(), FLAG_EVENT | FLAG_ORIGIN | FLAG_OWN_TTL | FLAG_ERASED);
        let mut bytes = Vec::new();
        erased.encode_head(&mut bytes);
        let decoded = decode(erased.flags(), &bytes).unwrap();
        assert_eq!((decoded.event_ms, decoded.ttl_ms), (Some(-1), Some(60)));
        assert_eq!(
            (decoded.origin, decoded.payload, decoded.erased),
            (Some(origin), &[][..], true)
        );
        // With a payload all the same, beside a reference, and unknown flags.
        assert!(decode(FLAG_ERASED, b"x").is_err());
        let reference = Reference::new(1, 16).bits().to_le_bytes();
        assert!(decode(FLAG_REFERENCE, &reference).is_ok());
        assert!(decode(FLAG_REFERENCE | FLAG_ERASED, &reference).is_err());
        assert!(decode(64, b"").is_err() && decode(128, b"").is_err());
    }
}
