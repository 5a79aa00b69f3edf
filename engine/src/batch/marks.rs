//! The marks of a batch: trimming, deleting, retention of single timelines.
//!
//! A record holds the key and the operand of a version in the mark table, see `marks/`. Deleting a
//! timeline of a million entries is one record of constant size. The leader cuts each mark off at
//! the end that the timeline has at this place of the batch, so that it hides what is there and
//! nothing that comes.

use super::{KIND_MARK, WriteBatch, check_key, decode, offset32, put_u16_length};
use crate::codec::Encode;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits;
use crate::marks::{
    DELETED_OFFSET, MarkKind, SAID_OFFSET, Said, TRIMMED_OFFSET, TimelineMarks, decode_range_end,
    encode_range_end,
};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Where a mark record lies in its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarkPlace {
    /// Offset in the body.
    offset: u32,
    /// Targets before it.
    targets: u32,
}

impl MarkPlace {
    /// It lies elsewhere in the body now.
    pub(super) fn move_to(&mut self, moved: impl Fn(u32) -> u32) {
        self.offset = moved(self.offset);
    }
}

impl WriteBatch {
    /// Hides the entries of a timeline below `before_seq`: they are never read again, their bytes
    /// come back with compaction, and readers that ask for gaps hear that they were trimmed. The
    /// timeline's next sequence id goes on. A lower trim than an earlier one changes nothing; one
    /// beyond the newest entry trims all there are at this place of the batch, and nothing that
    /// comes later.
    ///
    /// # Errors
    /// As [`WriteBatch::append`].
    pub fn trim(&mut self, table: TableId, key: &[u8], before_seq: u64) -> Result<()> {
        let marks = TimelineMarks { trimmed_below: before_seq, ..TimelineMarks::default() };
        self.mark_timeline(table, key, &marks)
    }

    /// Deletes all entries that a timeline has at this place of the batch, as [`WriteBatch::trim`]
    /// does; readers that ask for gaps hear that they were deleted. One write of constant size,
    /// however many entries there are. The timeline stays listed, and its next sequence id goes on.
    ///
    /// # Errors
    /// As [`WriteBatch::append`].
    pub fn delete_timeline(&mut self, table: TableId, key: &[u8]) -> Result<()> {
        let marks = TimelineMarks { deleted_below: u64::MAX, ..TimelineMarks::default() };
        self.mark_timeline(table, key, &marks)
    }

    /// Deletes the entries of a timeline with these sequence ids, as far as they are there: ids
    /// beyond the newest entry are left alone. It is one mark, which every read of the timeline
    /// looks at: to delete from the oldest entry on, [`WriteBatch::trim`] is cheaper.
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; also for an empty range and for sequence ids that cannot be.
    pub fn delete_range(
        &mut self,
        table: TableId,
        key: &[u8],
        seqs: RangeInclusive<u64>,
    ) -> Result<()> {
        let (from, to) = (*seqs.start(), *seqs.end());
        if from == 0 || from > limits::SEQ_MAX {
            let limit = limits::SEQ_MAX;
            return Err(Error::TooLarge { what: "sequence id", value: from, limit });
        }
        if from > to {
            return Err(Error::invalid(format!("the range {from} to {to} is empty")));
        }
        let marks = TimelineMarks { has_ranges: true, ..TimelineMarks::default() };
        self.mark_timeline(table, key, &marks)?;
        let end = to.min(limits::SEQ_MAX) + 1;
        self.mark(table, key, MarkKind::Range, from, &encode_range_end(end))
    }

    /// Deletes one entry of a timeline, as [`WriteBatch::delete_range`].
    ///
    /// # Errors
    /// As [`WriteBatch::delete_range`].
    pub fn delete_entry(&mut self, table: TableId, key: &[u8], seq: u64) -> Result<()> {
        self.delete_range(table, key, seq..=seq)
    }

    /// Gives a timeline a time to live of its own, by commit time; `None` takes it away. The
    /// shorter of it and the table's holds. What has expired stays expired when it is taken away
    /// or made longer.
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; also for a time to live below a millisecond.
    pub fn set_timeline_ttl(
        &mut self,
        table: TableId,
        key: &[u8],
        ttl: Option<Duration>,
    ) -> Result<()> {
        let ttl = match ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)) {
            Some(0) => return Err(Error::invalid("a time to live is at least a millisecond")),
            None => Said::None,
            Some(ttl_ms) => Said::Some(ttl_ms),
        };
        self.mark_timeline(table, key, &TimelineMarks { ttl, ..TimelineMarks::default() })
    }

    /// Shows only the newest `count` entries of a timeline, whatever its table says; `None` makes
    /// the table's number hold again. When the number is raised, entries that it hid and that are
    /// still in the file are shown again: [`WriteBatch::trim`] hides for ever.
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; also for 0, and for tables whose sequence ids the caller gives
    /// (at commit).
    pub fn set_keep_last(&mut self, table: TableId, key: &[u8], count: Option<u64>) -> Result<()> {
        let keep_last = match count {
            Some(0) => return Err(Error::invalid("keep_last is 0, it must be at least 1")),
            None => Said::None,
            Some(count) => Said::Some(count),
        };
        self.mark_timeline(table, key, &TimelineMarks { keep_last, ..TimelineMarks::default() })
    }

    pub(crate) fn mark_count(&self) -> usize {
        self.marks.len()
    }

    /// Mark `index`, in the order of the calls, and the number of targets before it.
    pub(crate) fn mark_at(&self, index: usize) -> (decode::Mark<'_>, usize) {
        let place = self.marks[index];
        (decode::mark_at(&self.body, place.offset as usize), place.targets as usize)
    }

    /// Whether a mark of this batch gives its timeline a number of entries to keep.
    pub(crate) fn keeps_last(&self, mark: &decode::Mark<'_>) -> bool {
        let value = &self.body[mark.value.clone()];
        mark.kind == MarkKind::Timeline
            && TimelineMarks::decode(value).is_ok_and(|marks| marks.keep_last.value().is_some())
    }

    /// Whether a mark of this batch gives its timeline a time to live, or takes one away.
    pub(crate) fn changes_ttl(&self) -> bool {
        (0..self.marks.len()).any(|index| {
            let mark = self.mark_at(index).0;
            let value = &self.body[mark.value.clone()];
            mark.kind == MarkKind::Timeline
                && TimelineMarks::decode(value).is_ok_and(|marks| marks.ttl != Said::Nothing)
        })
    }

    /// The leader's other change: mark `index` goes no further than `end`, the seq behind the
    /// newest entry of its timeline, and is said at `now_ms`.
    pub(crate) fn settle_mark(&mut self, index: usize, end: u64, now_ms: u64) {
        let mark = decode::mark_at(&self.body, self.marks[index].offset as usize);
        let (kind, value) = (mark.kind, mark.value.clone());
        let bytes = &mut self.body[value];
        match kind {
            MarkKind::Timeline => {
                let mut marks = TimelineMarks::decode(bytes).expect("the batch wrote it");
                marks.trimmed_below = marks.trimmed_below.min(end);
                marks.deleted_below = marks.deleted_below.min(end);
                put_at(bytes, TRIMMED_OFFSET, marks.trimmed_below);
                put_at(bytes, DELETED_OFFSET, marks.deleted_below);
                if marks.ttl != Said::Nothing {
                    put_at(bytes, SAID_OFFSET, now_ms);
                }
            }
            MarkKind::Range => {
                let to = decode_range_end(bytes).expect("the batch wrote it");
                bytes.copy_from_slice(&encode_range_end(to.min(end)));
            }
        }
    }

    fn mark_timeline(&mut self, table: TableId, key: &[u8], marks: &TimelineMarks) -> Result<()> {
        self.mark(table, key, MarkKind::Timeline, 0, &marks.encode())
    }

    fn mark(
        &mut self,
        table: TableId,
        key: &[u8],
        kind: MarkKind,
        from: u64,
        value: &[u8],
    ) -> Result<()> {
        check_key(key)?;
        if table.is_engine_owned() {
            return Err(Error::NotFound { what: format!("table {}", table.0) });
        }
        self.check_room(key.len() + value.len() + 16)?;
        let targets = offset32(self.targets.len());
        self.mixed = true;
        self.marks.push(MarkPlace { offset: offset32(self.body.len()), targets });
        self.input_bytes += key.len() as u64;
        let body = &mut self.body;
        body.put_u8(KIND_MARK);
        body.put_u8(kind as u8);
        body.put_u32(table.0);
        put_u16_length(body, key);
        body.put_u64(from);
        body.put(key);
        body.put(value);
        Ok(())
    }
}

fn put_at(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}
