//! Marks: what hides entries of a timeline without touching them. Bytes and merging only.
//!
//! ```text
//! seq      1 . . . . . . . 8 . . . . . . . 16 . . . 20 . . . . . 26 . . . . . .
//!          \__ deleted ___/ \__ trimmed __/          \_ deleted _/
//!                                           low-water                range
//! ```
//! Marks are versions in a keyed table of the engine's own, so that the log, memtables, flush,
//! compaction, recovery and snapshots need nothing new for them. A timeline has at most one record
//! of kind 1, which says everything but its deleted ranges, and one of kind 2 for each of these.
//!
//! ```text
//! key      table u32 BE | id length u16 BE | id | kind u8 | from u64 BE
//! kind 1   the timeline: from is 0; value: [`TimelineMarks`], merged by [`KeyedOperation::Mark`]
//! kind 2   a deleted range: from is its first seq; value: the seq behind its last one, as an i64
//!          of the same order, merged by [`KeyedOperation::Max`]
//!
//! offset  size  field              notes: the value of kind 1, little-endian
//!      0     1  flags              1 time to live said, 2 keep-last said, 4 there are ranges
//!      1     8  trimmed below      seqs below it were trimmed
//!      9     8  deleted below      seqs below it were deleted
//!     17     8  time to live       milliseconds, 0 none; 0 without flag 1
//!     25     8  said at            expiry clock when it was first said; 0 without flag 1
//!     33     8  keep last          entries, 0 none; 0 without flag 2
//!     41     8  expired before     commit time; what is older has expired for good
//! ```
//!
//! # Invariants
//! 1. Marks only add: merging never lowers a low-water mark, nor the time before which everything
//!    has expired. A time to live and keep-last are replaced by the newest that was said.
//! 2. Merging is associative: versions may be folded in any grouping, see `compaction/keep.rs`.
//! 3. A mark never reaches beyond the newest entry of its timeline when it was committed: the
//!    leader sees to that.
//!
//! # Concurrency
//! None: plain values.

#[cfg(test)]
mod tests;

use crate::batch::KeyedOperation;
use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::TableId;
use crate::limits;

/// Bytes of a value of kind 1.
pub(crate) const TIMELINE_MARKS_BYTES: usize = 49;
/// Bytes of a value of kind 2.
pub(crate) const RANGE_BYTES: usize = 8;
/// Offsets in a value of kind 1 that the leader fills in.
pub(crate) const TRIMMED_OFFSET: usize = 1;
/// See [`TRIMMED_OFFSET`].
pub(crate) const DELETED_OFFSET: usize = 9;
/// See [`TRIMMED_OFFSET`].
pub(crate) const SAID_OFFSET: usize = 25;

const FLAG_TTL: u8 = 1;
const FLAG_KEEP_LAST: u8 = 2;
const FLAG_RANGES: u8 = 4;

/// Deleted seqs inside a timeline, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The kinds of marks. Persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum MarkKind {
    Timeline = 1,
    Range = 2,
}

impl MarkKind {
    pub(crate) fn from_byte(byte: u8) -> Option<MarkKind> {
        match byte {
            1 => Some(MarkKind::Timeline),
            2 => Some(MarkKind::Range),
            _ => None,
        }
    }

    /// Bytes of a value.
    pub(crate) fn value_bytes(self) -> usize {
        match self {
            MarkKind::Timeline => TIMELINE_MARKS_BYTES,
            MarkKind::Range => RANGE_BYTES,
        }
    }

    /// How versions are merged.
    pub(crate) fn operation(self) -> KeyedOperation {
        match self {
            MarkKind::Timeline => KeyedOperation::Mark,
            MarkKind::Range => KeyedOperation::Max,
        }
    }
}

/// An option of a timeline: the last that was said of it, if anything was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Said {
    /// Nothing was said: the table's holds.
    #[default]
    Nothing,
    /// There is none of the timeline's own: the table's holds.
    None,
    /// This value.
    Some(u64),
}

impl Said {
    pub(crate) fn value(self) -> Option<u64> {
        match self {
            Said::Some(value) => Some(value),
            Said::Nothing | Said::None => None,
        }
    }

    fn encoded(self, flag: u8) -> (u8, u64) {
        match self {
            Said::Nothing => (0, 0),
            Said::None => (flag, 0),
            Said::Some(value) => (flag, value),
        }
    }

    fn decoded(said: bool, value: u64) -> Option<Said> {
        match (said, value) {
            (false, 0) => Some(Said::Nothing),
            (false, _) => None,
            (true, 0) => Some(Said::None),
            (true, value) => Some(Said::Some(value)),
        }
    }
}

/// The value of kind 1: an operand, or what operands amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimelineMarks {
    pub(crate) trimmed_below: u64,
    pub(crate) deleted_below: u64,
    /// In milliseconds.
    pub(crate) ttl: Said,
    /// When a time to live was first said among these operands, by the expiry clock.
    pub(crate) said_at_ms: u64,
    pub(crate) keep_last: Said,
    pub(crate) has_ranges: bool,
    /// What was committed before this time has expired for good.
    pub(crate) expired_before_ms: u64,
}

impl TimelineMarks {
    /// No entry below is shown.
    pub(crate) fn low_water(&self) -> u64 {
        self.trimmed_below.max(self.deleted_below)
    }

    /// The fence of the timeline's own time to live at a moment of the expiry clock: what was
    /// committed before it has expired.
    pub(crate) fn alive_from_ms(&self, now_ms: u64) -> u64 {
        let fence = self.ttl.value().map_or(0, |ttl| fence(now_ms, ttl));
        fence.max(self.expired_before_ms)
    }

    /// What an older value and a newer one amount to.
    pub(crate) fn merge(older: &TimelineMarks, newer: &TimelineMarks) -> TimelineMarks {
        let mut merged = *older;
        merged.trimmed_below = older.trimmed_below.max(newer.trimmed_below);
        merged.deleted_below = older.deleted_below.max(newer.deleted_below);
        merged.has_ranges |= newer.has_ranges;
        merged.expired_before_ms = older.expired_before_ms.max(newer.expired_before_ms);
        if newer.keep_last != Said::Nothing {
            merged.keep_last = newer.keep_last;
        }
        if newer.ttl != Said::Nothing {
            // What had expired when the time to live was replaced stays expired.
            let expired = older.ttl.value().map_or(0, |ttl| fence(newer.said_at_ms, ttl));
            merged.expired_before_ms = merged.expired_before_ms.max(expired);
            merged.ttl = newer.ttl;
            if older.ttl == Said::Nothing {
                merged.said_at_ms = newer.said_at_ms;
            }
        }
        merged
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (ttl_flag, ttl) = self.ttl.encoded(FLAG_TTL);
        let (keep_flag, keep) = self.keep_last.encoded(FLAG_KEEP_LAST);
        let ranges = if self.has_ranges { FLAG_RANGES } else { 0 };
        let mut bytes = Vec::with_capacity(TIMELINE_MARKS_BYTES);
        bytes.put_u8(ttl_flag | keep_flag | ranges);
        for field in [
            self.trimmed_below,
            self.deleted_below,
            ttl,
            self.said_at_ms,
            keep,
            self.expired_before_ms,
        ] {
            bytes.put_u64(field);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<TimelineMarks, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let invalid = decoder.error("marks of a timeline");
        let flags = decoder.u8("flags of marks")?;
        let trimmed_below = decoder.u64("trimmed below")?;
        let deleted_below = decoder.u64("deleted below")?;
        let ttl = Said::decoded(flags & FLAG_TTL != 0, decoder.u64("time to live")?);
        let said_at_ms = decoder.u64("said at")?;
        let keep_last = Said::decoded(flags & FLAG_KEEP_LAST != 0, decoder.u64("keep last")?);
        let expired_before_ms = decoder.u64("expired before")?;
        let unknown = flags & !(FLAG_TTL | FLAG_KEEP_LAST | FLAG_RANGES) != 0;
        let (Some(ttl), Some(keep_last)) = (ttl, keep_last) else {
            return Err(invalid);
        };
        if unknown || !decoder.is_empty() || (ttl == Said::Nothing && said_at_ms != 0) {
            return Err(invalid);
        }
        let has_ranges = flags & FLAG_RANGES != 0;
        Ok(TimelineMarks {
            trimmed_below,
            deleted_below,
            ttl,
            said_at_ms,
            keep_last,
            has_ranges,
            expired_before_ms,
        })
    }

    /// The merge operator over encoded values. Bytes that do not decode stay as they are, so that
    /// whoever reads them hears of the damage.
    pub(crate) fn merge_encoded(older: &[u8], newer: &[u8]) -> Vec<u8> {
        match (TimelineMarks::decode(older), TimelineMarks::decode(newer)) {
            (Ok(older), Ok(newer)) => TimelineMarks::merge(&older, &newer).encode(),
            (Err(_), _) => older.to_vec(),
            (_, Err(_)) => newer.to_vec(),
        }
    }
}

/// What was committed before this has outlived a time to live: an entry of time t is alive while
/// now < t + ttl.
fn fence(now_ms: u64, ttl_ms: u64) -> u64 {
    now_ms.saturating_add(1).saturating_sub(ttl_ms)
}

/// The seq behind a range, as the value of kind 2 holds it: an i64, so that the larger one wins.
pub(crate) fn encode_range_end(end: u64) -> [u8; RANGE_BYTES] {
    (end ^ (1 << 63)).to_le_bytes()
}

/// See [`encode_range_end`].
pub(crate) fn decode_range_end(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(|bytes| u64::from_le_bytes(bytes) ^ (1 << 63))
}

/// A key of the mark table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkKey<'a> {
    pub(crate) table: TableId,
    pub(crate) id: &'a [u8],
    pub(crate) kind: MarkKind,
    pub(crate) from: u64,
}

impl<'a> MarkKey<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = prefix(self.table, self.id);
        bytes.put_u8(self.kind as u8);
        bytes.put(&self.from.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<MarkKey<'a>> {
        let (table, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (id, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (kind, from) = rest.split_first()?;
        let kind = MarkKind::from_byte(*kind)?;
        let from = u64::from_be_bytes(from.try_into().ok()?);
        let possible = match kind {
            MarkKind::Timeline => from == 0,
            MarkKind::Range => (1..=limits::SEQ_MAX).contains(&from),
        };
        let table = TableId(u32::from_be_bytes(*table));
        possible.then_some(MarkKey { table, id, kind, from })
    }
}

/// How the keys of a timeline's marks begin, and no others.
pub(crate) fn prefix(table: TableId, id: &[u8]) -> Vec<u8> {
    let length = u16::try_from(id.len()).expect("ids are at most 1,024 bytes");
    let mut bytes = Vec::with_capacity(15 + id.len());
    bytes.put(&table.0.to_be_bytes());
    bytes.put(&length.to_be_bytes());
    bytes.put(id);
    bytes
}
