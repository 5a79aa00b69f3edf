//! The bodies of the log that is left, on their way into the new one.
//!
//! # Invariants
//! 1. A record stays as it is, or is left out as a whole: a message whose payload lies in a segment
//!    that cannot be read. Its entries are named.
//! 2. A body that cannot be decoded becomes an empty one: its commit is named, and keeps its
//!    number.
//! 3. A timeline of which entries are left is listed for ever: it has a record, or a flush will
//!    take its first entry for that of a new one.

use super::findings::{Cause, Findings};
use super::log::last_commit;
use super::next_ids::Known;
use super::report::{Loss, TimelineName};
use super::segments::SegmentHealth;
use crate::batch::{Op, decode_placed};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits::{TARGET_BYTES_MIN, UNSYNCED_ENTRIES_MAX};
use crate::options::Sequence;
use crate::segment::LargePayload;
use crate::state::StateRecord;
use crate::version::{Catalog, TableKind};
use crate::wal::GroupInfo;
use std::collections::{BTreeMap, BTreeSet};

/// What the bodies hold.
#[derive(Default)]
pub(super) struct Contents {
    /// The payloads that they name.
    pub(super) large: Vec<LargePayload>,
    /// The tables that they write to.
    pub(super) tables: BTreeMap<TableId, TableKind>,
}

/// What became of the bodies.
#[derive(Default)]
pub(super) struct Written {
    /// Entries, or versions, by table.
    pub(super) entries: BTreeMap<TableId, u64>,
    /// The segments that the new log names.
    pub(super) large: BTreeSet<u64>,
}

impl Contents {
    pub(super) fn note(&mut self, op: &Op<'_>) {
        match op {
            Op::Message(message) => {
                self.large.extend(message.large);
                for (target, _) in message.targets_placed() {
                    self.tables.entry(target.table).or_insert(TableKind::Timeline);
                }
            }
            Op::Keyed { table, .. } => {
                self.tables.insert(*table, TableKind::Keyed);
            }
            Op::Amend { target, .. } => {
                self.tables.entry(target.table).or_insert(TableKind::Timeline);
            }
            Op::Mark { mark, .. } => {
                self.tables.entry(mark.table).or_insert(TableKind::Timeline);
            }
        }
    }
}

/// Seq and commit of the newest entry of each timeline.
type Newest = BTreeMap<TimelineName, (u64, u64)>;

/// The way of the bodies into the new log, in their order.
pub(super) struct Bodies<'a> {
    catalog: &'a Catalog,
    health: &'a mut SegmentHealth,
    known: &'a Known,
    findings: &'a mut Findings,
    /// Whether groups are missing.
    has_losses: bool,
    /// Kept where groups are missing.
    newest: Newest,
    /// Timelines with entries that are left.
    left: BTreeSet<TimelineName>,
    /// The last commit before the log.
    base_commit: u64,
    /// Entries whose payload cannot be read.
    unread: u64,
    written: Written,
}

impl<'a> Bodies<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        health: &'a mut SegmentHealth,
        known: &'a Known,
        findings: &'a mut Findings,
        (base_commit, has_losses): (u64, bool),
    ) -> Bodies<'a> {
        let (newest, left, written) = (Newest::new(), BTreeSet::new(), Written::default());
        Bodies {
            catalog,
            health,
            known,
            findings,
            has_losses,
            newest,
            left,
            base_commit,
            unread: 0,
            written,
        }
    }

    /// What became of them.
    pub(super) fn end(self) -> Written {
        self.written
    }

    /// A group that cannot be read any more.
    pub(super) fn lose_group(&mut self, group: &GroupInfo, error: Error) -> Result<()> {
        self.findings.absorb("WAL", group.offset, error)?;
        let (first, last) = (group.first_commit, last_commit(group));
        self.findings.lose(Loss::Commits { first, last: Some(last), offset: group.offset });
        self.findings.jump((group.end - group.lsn) / TARGET_BYTES_MIN as u64);
        Ok(())
    }

    /// The body of a commit as it goes into the new log. `place`: that of its group in the file.
    pub(super) fn take(&mut self, place: u64, commit: u64, body: &[u8]) -> Result<Vec<u8>> {
        // Before any of it counts as taken.
        if let Some(error) = decode_placed(body).find_map(std::result::Result::err) {
            // Nobody wrote it like that: the commit is lost as a whole.
            self.findings.damaged("WAL", place, error.to_string());
            let (first, last, offset) = (commit, Some(commit), place);
            self.findings.lose(Loss::Commits { first, last, offset });
            self.findings.jump(body.len() as u64);
            return Ok(Vec::new());
        }
        let mut kept = Vec::with_capacity(body.len());
        for (range, op) in decode_placed(body).map_while(std::result::Result::ok) {
            if self.takes(commit, &op)? {
                kept.extend_from_slice(&body[range]);
            }
        }
        Ok(kept)
    }

    /// Counts a record; whether it stays.
    fn takes(&mut self, commit: u64, op: &Op<'_>) -> Result<bool> {
        let message = match op {
            Op::Message(message) => message,
            Op::Keyed { table, .. } => {
                *self.written.entries.entry(*table).or_default() += 1;
                return Ok(true);
            }
            Op::Amend { .. } | Op::Mark { .. } => return Ok(true),
        };
        let readable = message.large.is_none_or(|large| self.health.reads_large(&large));
        for (target, _) in message.targets_placed() {
            let (table, key, seq) = (target.table, target.key, target.seq);
            if self.is_assigned(table) {
                self.findings.note_seq(seq);
                self.miss_up_to(table, key, seq, commit)?;
                if readable {
                    self.keep_listed(table, key, seq)?;
                }
            }
            if readable {
                *self.written.entries.entry(table).or_default() += 1;
                continue;
            }
            self.findings.lose_entries(table, key, (seq, seq), 1);
            // The log that is left is believed before any record. All of them may have gone to one
            // timeline: a message may name it a million times.
            self.unread += 1;
            let times = 1 + self.unread / UNSYNCED_ENTRIES_MAX;
            self.findings.jump_times(Cause::Payloads, times);
        }
        if readable {
            self.written.large.extend(message.large.map(|large| large.number));
        }
        Ok(readable)
    }

    /// Whether the engine gives the ids of a table.
    fn is_assigned(&self, table: TableId) -> bool {
        let record = self.catalog.tables.get(&table);
        record.is_some_and(|record| record.options.sequence == Sequence::Assigned)
    }

    /// Lists of timelines go by records, and the first flush of a timeline writes one, which it
    /// knows by the seq of its first entry: where that is lost, the record is written now.
    fn keep_listed(&mut self, table: TableId, key: &[u8], seq: u64) -> Result<()> {
        let is_first = self.left.insert((table, key.into()));
        if !is_first || seq % UNSYNCED_ENTRIES_MAX == 1 || self.known.is_recorded(table, key)? {
            return Ok(());
        }
        let state = match self.known.newest(table, key)? {
            StateRecord::NEW => {
                StateRecord { next_seq: seq, last_commit: self.base_commit, last_time_ms: 0 }
            }
            newest => newest,
        };
        self.findings.note_state(table, key, state);
        Ok(())
    }

    /// Names the entries between the newest that is known of a timeline and this one, where groups
    /// are missing and nothing else can have left them out.
    fn miss_up_to(&mut self, table: TableId, key: &[u8], seq: u64, commit: u64) -> Result<()> {
        if !self.has_losses {
            return Ok(());
        }
        let place = (table, Box::from(key));
        let (newest, at) = match self.newest.get(&place) {
            Some(newest) => *newest,
            None => {
                let state = self.known.newest(table, key)?;
                (state.next_seq - 1, state.last_commit)
            }
        };
        // They never fall.
        let epochs = &self.catalog.epochs;
        let next = epochs.partition_point(|epoch| *epoch < at);
        let jumped = epochs.get(next).is_some_and(|epoch| *epoch < commit);
        if !jumped && seq > newest + 1 {
            self.findings.lose_entries(table, key, (newest + 1, seq - 1), seq - 1 - newest);
        }
        self.newest.insert(place, (seq, commit));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use crate::file::{Disk, FileId};
    use crate::testing::{SimDisk, SimOptions};
    use std::sync::Arc;

    const TABLE: TableId = TableId(16);

    /// What becomes of the body of commit 1, where so many entries had no payload before, and
    /// nothing else is left of the store.
    fn taken(body: &[u8], unread: u64) -> (Vec<u8>, Written, Findings) {
        let (catalog, mut health) = (Catalog::new(), SegmentHealth::default());
        let mut findings = Findings::default();
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(SimOptions::default()));
        let known = Known::over(&disk, FileId([7; 16]), &[]);
        let mut bodies = Bodies::new(&catalog, &mut health, &known, &mut findings, (0, false));
        bodies.unread = unread;
        let kept = bodies.take(4096, 1, body).unwrap();
        (kept, bodies.end(), findings)
    }

    fn body(large: bool) -> Vec<u8> {
        let mut batch = WriteBatch::new().with_large_from(if large { 8 } else { usize::MAX });
        batch.append(TABLE, b"t", &[7; 20], None).unwrap();
        batch.assign(0, 1);
        if large {
            let (number, offset, length) = (9, 1 << 20, 20);
            let place = LargePayload { number, offset, length, table: TABLE, footer_checksum: 9 };
            batch.place_large(0, &place);
        }
        batch.into_body()
    }

    /// The entries in front of what nobody wrote counted as recovered, and were in no store.
    #[test]
    fn a_body_that_cannot_be_decoded_is_lost_as_a_whole() {
        let whole = body(false);
        let (kept, written, findings) = taken(&whole, 0);
        assert_eq!((kept, written.entries), (whole.clone(), BTreeMap::from([(TABLE, 1)])));
        assert!(findings.report.lost.is_empty());
        let (kept, written, findings) = taken(&[&whole[..], &[0xff; 9]].concat(), 0);
        assert_eq!((kept, written.entries), (Vec::new(), BTreeMap::new()));
        let lost = &findings.report.lost[..];
        assert!(matches!(lost, [Loss::Commits { first: 1, last: Some(1), .. }]), "{lost:?}");
    }

    /// A message may name one timeline a million times: one jump was made for all of them, and the
    /// ids behind it were given again.
    #[test]
    fn ids_jump_for_each_million_entries_without_a_payload() {
        for (before, epochs) in
            [(0, 1), (UNSYNCED_ENTRIES_MAX - 2, 1), (UNSYNCED_ENTRIES_MAX - 1, 2)]
        {
            let (kept, written, findings) = taken(&body(true), before);
            assert_eq!((kept.len(), written.entries.len()), (0, 0));
            assert_eq!(findings.epochs(), epochs, "{before}");
        }
    }
}
