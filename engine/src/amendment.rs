//! Amendments: what replaces the payload of an entry, or takes it back.
//!
//! They are versions of the engine's own keyed table 2, one key for each amended entry. An entry is
//! never changed: readers lay the newest amendment that their snapshot shows over it (`read/`), and
//! compaction keeps all of them as long as somebody may ask (`compaction/keep_amendments.rs`).
//!
//! ```text
//! key     table u32 big-endian | timeline id | seq u64 big-endian
//! value   u8 1 replaced, 2 retracted, 3 replaced and erased | payload, with 1 alone
//! ```
//!
//! # Invariants
//! 1. Each version is a put; the key says what is amended, the version's commit when.
//! 2. An amendment counts for entries of its own commit and of older ones: its own entry, and those
//!    that name it as their origin. What was fanned out later was given its payload later.
//! 3. What was erased is never written by a commit: an older version becomes it, when a retraction
//!    that came later has been followed by the erasure of what it took back (`engine/erasure/`).

use crate::codec::Encode;
use crate::entry::TableId;
use crate::limits::{KEY_LENGTH_MAX, KEY_LENGTH_MIN};

/// First byte of a value: the payload behind it replaces that of the entry.
pub(crate) const TAG_REPLACED: u8 = 1;
/// First byte of a value, and the only one: the entry was retracted.
pub(crate) const TAG_RETRACTED: u8 = 2;

/// First byte of a value, and the only one: the entry was replaced, and what it was replaced by was
/// erased.
pub(crate) const TAG_ERASED: u8 = 3;

/// Bytes of a key beside the timeline id.
const KEY_OVERHEAD: usize = 12;

/// What an amendment of `seq` is kept under.
pub(crate) fn amendment_key(table: TableId, key: &[u8], seq: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(KEY_OVERHEAD + key.len());
    put_amendment_key(&mut bytes, table, key, seq);
    bytes
}

/// The same into a buffer that is used again and again; what was in it goes.
pub(crate) fn put_amendment_key(bytes: &mut Vec<u8>, table: TableId, key: &[u8], seq: u64) {
    bytes.clear();
    bytes.put(&table.0.to_be_bytes());
    bytes.put(key);
    bytes.put(&seq.to_be_bytes());
}

/// Table, timeline id and seq of the entry that a key names; `None` where it is no such key.
pub(crate) fn decode_key(bytes: &[u8]) -> Option<(TableId, &[u8], u64)> {
    let (table, rest) = bytes.split_first_chunk::<4>()?;
    let (key, seq) = rest.split_last_chunk::<8>()?;
    let valid = (KEY_LENGTH_MIN..=KEY_LENGTH_MAX).contains(&key.len());
    valid.then(|| (TableId(u32::from_be_bytes(*table)), key, u64::from_be_bytes(*seq)))
}

/// What a version of an amendment did to its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AmendmentKind {
    /// It got another payload.
    Replaced,
    /// It was taken back.
    Retracted,
    /// It got another payload, which was erased.
    Erased,
}

/// What a value says; `None` where it is no value of an amendment.
pub(crate) fn decode_value(value: &[u8]) -> Option<AmendmentKind> {
    match value {
        [TAG_REPLACED, ..] => Some(AmendmentKind::Replaced),
        [TAG_RETRACTED] => Some(AmendmentKind::Retracted),
        [TAG_ERASED] => Some(AmendmentKind::Erased),
        _ => None,
    }
}

/// The same of a value that a commit writes.
pub(crate) fn decode_written(value: &[u8]) -> Option<AmendmentKind> {
    decode_value(value).filter(|kind| *kind != AmendmentKind::Erased)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_key() {
        let key = amendment_key(TableId(16), b"room", 7);
        assert_eq!(key, b"\0\0\0\x10room\0\0\0\0\0\0\0\x07");
        assert_eq!(decode_key(&key), Some((TableId(16), &b"room"[..], 7)));
    }

    #[test]
    fn what_is_no_key_and_no_value_is_refused() {
        assert_eq!(decode_key(b"\0\0\0\x10\0\0\0\0\0\0\0\x07"), None);
        assert_eq!(decode_key(&vec![0; KEY_LENGTH_MAX + KEY_OVERHEAD + 1]), None);
        assert_eq!(decode_value(b""), None);
        assert_eq!(decode_value(b"\0text"), None);
        assert_eq!(decode_value(b"\x03text"), None);
        assert_eq!(decode_value(b"\x04"), None);
        assert_eq!(decode_written(b"\x03"), None);
        assert_eq!(decode_value(b"\x02text"), None);
        assert_eq!(decode_value(b"\x01"), Some(AmendmentKind::Replaced));
        assert_eq!(decode_value(b"\x02"), Some(AmendmentKind::Retracted));
        assert_eq!(decode_value(b"\x03"), Some(AmendmentKind::Erased));
    }

    #[test]
    fn the_amendments_of_a_timeline_lie_together_in_order() {
        let keys = [(1, 9), (2, 0), (2, 255), (2, 256)]
            .map(|(table, seq)| amendment_key(TableId(table), b"room", seq));
        assert!(keys.is_sorted());
    }
}
