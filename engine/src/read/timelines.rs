//! The list of a table's timelines: the state table's records and the memtables' runs, merged.
//! Every timeline has a record from its first flush on; directories say more of those whose
//! records are older.

use super::pin::Pin;
use super::state::{newest_of, state_in_memory, state_on_disk};
use super::{Fences, Snapshot, View, scan};
use crate::entry::{KeyedVersion, TableId};
use crate::error::{Error, Result};
use crate::memtable::Run;
use crate::sstable::KeyedCursor;
use crate::state::{StateRecord, state_key};
use crate::sync::Arc;
use crate::version::STATE_TABLE;
use std::iter::Peekable;
use std::ops::Bound;

/// One timeline of a table, as it was at the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineInfo {
    /// Its encoded id.
    pub key: Box<[u8]>,
    /// The sequence id of its newest entry, whether or not that is still shown.
    pub latest_seq: u64,
    /// The sequence id that the entry after its newest one gets, if no power is lost before: higher
    /// by a jump where power was lost since.
    pub next_seq: u64,
    /// Commit number of its newest entry.
    pub last_commit: u64,
    /// Commit time of its newest entry, in milliseconds since 1970 (UTC).
    pub last_time_ms: u64,
}

/// Timelines in the order of their ids; see [`Snapshot::timelines`].
pub struct Timelines {
    snapshot: Snapshot,
    view: Arc<View>,
    table: TableId,
    prefix: Box<[u8]>,
    runs: Vec<Peekable<std::vec::IntoIter<Run>>>,
    records: Vec<(KeyedCursor, Option<KeyedVersion>)>,
    pin: Pin,
    /// The id that was looked at last.
    last_key: Option<Box<[u8]>>,
    ended: bool,
}

impl Timelines {
    pub(super) fn new(
        snapshot: &Snapshot,
        view: &Arc<View>,
        table: TableId,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<Timelines> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let runs = view
            .memtables()
            .map(|memtable| memtable.runs_sorted(table, from).into_iter().peekable())
            .collect();
        let state_from = match from {
            Bound::Excluded(after) => Bound::Excluded(state_key(table, after)),
            _ => Bound::Included(state_key(table, prefix)),
        };
        let mut records = Vec::new();
        for sstable in view.sstables_of(STATE_TABLE) {
            let mut cursor = sstable.keyed_cursor(state_from.as_ref().map(|key| &key[..]))?;
            let head = cursor.next()?;
            records.push((cursor, head));
        }
        Ok(Timelines {
            snapshot: snapshot.clone(),
            view: Arc::clone(view),
            table,
            prefix: prefix.into(),
            runs,
            records,
            pin: Pin::new(snapshot.core(), view),
            last_key: None,
            ended: false,
        })
    }

    /// Opens the present view behind the last id. See `pin.rs`.
    fn open_anew(&mut self) -> Result<()> {
        let Some(last) = self.last_key.clone() else {
            return Ok(());
        };
        let view = self.snapshot.core().views.current();
        let fresh = Timelines::new(&self.snapshot, &view, self.table, &self.prefix, Some(&last))?;
        *self = Timelines { last_key: Some(last), ..fresh };
        Ok(())
    }

    /// The smallest id at any head, if it still has the prefix.
    fn next_key(&mut self) -> Option<Box<[u8]>> {
        let table = self.table.0.to_be_bytes();
        let runs = self.runs.iter_mut().filter_map(|runs| runs.peek().map(|run| run.key().into()));
        let runs: Vec<Box<[u8]>> = runs.collect();
        let records = self.records.iter().filter_map(|(_, head)| head.as_ref());
        let records = records.filter_map(|version| version.key.strip_prefix(&table[..]));
        let key = runs.iter().map(|key| &key[..]).chain(records).min()?;
        key.starts_with(&self.prefix).then(|| key.into())
    }

    /// Takes everything known of `key` off the heads, and says what the snapshot shows of it.
    ///
    /// Records and directories tell of the newest entry there is. Where that is newer than the
    /// snapshot, and no memtable has a visible entry, the snapshot's newest is looked for.
    fn take(&mut self, key: &[u8]) -> Result<StateRecord> {
        let recorded = self.take_records(key)?;
        let in_memory = self.take_runs(key);
        let commit = self.snapshot.commit();
        if let Some(state) = in_memory {
            return Ok(state);
        }
        let on_disk = state_on_disk(&self.view, self.table, key)?;
        if let Some(state) = on_disk.filter(|state| state.last_commit <= commit) {
            return Ok(state);
        }
        let newest = scan::newest_at(&self.view, self.table, key, commit)?;
        let newest = newest.map(|entry| StateRecord {
            next_seq: entry.seq.saturating_add(1),
            last_commit: entry.commit,
            last_time_ms: entry.time_ms,
        });
        let mut known = newest_of(newest, recorded).unwrap_or(StateRecord::NEW);
        // Compaction may have taken what marks hide; that it was there they know.
        let hidden = Fences::read(&self.view, self.table, key, commit)?.highest_hidden();
        if hidden >= known.next_seq {
            known = StateRecord { next_seq: hidden + 1, last_commit: commit, ..known };
        }
        Ok(known)
    }

    /// The newest of the records that the snapshot may know of.
    fn take_records(&mut self, key: &[u8]) -> Result<Option<StateRecord>> {
        let mut newest = None;
        let full_key = state_key(self.table, key);
        let commit = self.snapshot.commit();
        for (cursor, head) in &mut self.records {
            while head.as_ref().is_some_and(|version| *version.key == full_key[..]) {
                let version = std::mem::replace(head, cursor.next()?);
                let Some(version) = version else { break };
                let record = StateRecord::decode(&version.value)
                    .map_err(|error| Error::corruption("timeline state", 0, error.to_string()))?;
                let seen = (record.last_commit <= commit).then_some(record);
                newest = newest_of(newest, seen);
            }
        }
        Ok(newest)
    }

    /// The newest entry in memory that the snapshot shows; it is newer than any on disk.
    fn take_runs(&mut self, key: &[u8]) -> Option<StateRecord> {
        let mut newest = None;
        let commit = self.snapshot.commit();
        for runs in &mut self.runs {
            while let Some(run) = runs.next_if(|run| run.key() == key) {
                newest = newest_of(newest, state_in_memory(&run, commit));
            }
        }
        newest
    }

    fn advance(&mut self) -> Result<Option<TimelineInfo>> {
        loop {
            if self.pin.is_stale(self.snapshot.core()) {
                self.open_anew()?;
            }
            let Some(key) = self.next_key() else {
                return Ok(None);
            };
            let record = self.take(&key)?;
            self.last_key = Some(key.clone());
            if record.last_commit > 0 {
                let core = self.snapshot.core();
                let next_seq = core.with_epochs(self.table, &record).next_seq;
                return Ok(Some(TimelineInfo {
                    key,
                    latest_seq: record.next_seq - 1,
                    next_seq,
                    last_commit: record.last_commit,
                    last_time_ms: record.last_time_ms,
                }));
            }
        }
    }
}

impl Iterator for Timelines {
    type Item = Result<TimelineInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance();
        self.ended = !matches!(next, Ok(Some(_)));
        match next {
            Ok(item) => item.map(Ok),
            Err(error) => Some(Err(self.snapshot.explain(error))),
        }
    }
}
