//! What the memory backend holds.

use super::amendments::Amendments;
use super::marks::Settled;
use crate::backend::TableDescription;
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, VecDeque};
use tidelog_engine::{Entry, Payload, TableId, TableKind};

/// The first table id that users get; those below are the engine's own.
pub(super) const TABLE_FIRST: u32 = 16;

pub(super) type Key = (TableId, Box<[u8]>);

#[derive(Default)]
pub(super) struct State {
    pub(super) closed: bool,
    /// The last commit.
    pub(super) commit: u64,
    /// The time of the last commit: times never fall.
    pub(super) time_ms: u64,
    pub(super) tables: BTreeMap<TableId, TableDescription>,
    /// Tables created so far: ids are never used again.
    pub(super) created: u32,
    pub(super) timelines: BTreeMap<Key, Run>,
    pub(super) keyed: BTreeMap<Key, VecDeque<Version>>,
    pub(super) amendments: Amendments,
    /// Snapshots that are held: commit to how many.
    pub(super) snapshots: BTreeMap<u64, usize>,
}

/// A timeline.
#[derive(Default)]
pub(super) struct Run {
    /// Ascending by seq.
    pub(super) entries: VecDeque<Entry>,
    /// The highest seq that was dropped.
    pub(super) forgotten: u64,
    /// The first commit that wrote here.
    pub(super) born: u64,
    /// Oldest first.
    pub(super) marks: Vec<Settled>,
}

impl Run {
    /// Whether the entry is kept.
    pub(super) fn keeps(&self, seq: u64) -> bool {
        self.entries.binary_search_by_key(&seq, |entry| entry.seq).is_ok()
    }

    /// The highest seq ever written.
    pub(super) fn last_seq(&self) -> u64 {
        self.entries.back().map_or(self.forgotten, |entry| entry.seq)
    }

    /// The highest seq written at or before a commit.
    pub(super) fn last_seq_at(&self, commit: u64) -> u64 {
        match self.visible(commit) {
            0 => self.forgotten,
            count => self.entries[count - 1].seq,
        }
    }

    /// How many of the entries were written at or before a commit.
    pub(super) fn visible(&self, commit: u64) -> usize {
        self.entries.partition_point(|entry| entry.commit <= commit)
    }
}

/// What a key held from some commit on.
pub(super) struct Version {
    pub(super) commit: u64,
    pub(super) time_ms: u64,
    pub(super) value: Option<Payload>,
}

/// Whether an entry has outlived a time to live of its own.
pub(super) fn is_expired(entry: &Entry, now: u64) -> bool {
    entry.ttl_ms.is_some_and(|ttl_ms| entry.time_ms.saturating_add(ttl_ms) <= now)
}

impl State {
    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed {
            true => Err(Error::closed()),
            false => Ok(()),
        }
    }

    pub(super) fn table(&self, id: TableId, kind: TableKind) -> Result<&TableDescription> {
        let Some(table) = self.tables.get(&id) else {
            return Err(Error::new(ErrorKind::NotFound, format!("not found: table {}", id.0)));
        };
        if table.options.kind != kind {
            return Err(Error::invalid(format!("table {} is not of this kind", table.name)));
        }
        Ok(table)
    }

    /// Entries and values committed before this time have expired: one of time t is alive while
    /// now < t + ttl, as in the engine.
    pub(super) fn expired_before(&self, table: &TableDescription, now: u64) -> u64 {
        table.options.ttl_ms.map_or(0, |ttl| now.saturating_add(1).saturating_sub(ttl))
    }

    /// Whether what a retraction took back, by table, commit and commit time, is past the erasure
    /// deadline, and shown to nobody.
    pub(super) fn is_erased(&self, retraction: (TableId, u64, u64), now: u64) -> bool {
        let (table, commit, time_ms) = retraction;
        let table = self.tables.get(&table);
        let deadline_ms = table.and_then(|table| table.options.erase_after_ms);
        deadline_ms.is_some_and(|age_ms| time_ms.saturating_add(age_ms) <= now)
            && commit <= self.oldest_snapshot()
    }

    /// The oldest commit that somebody may still look from.
    pub(super) fn oldest_snapshot(&self) -> u64 {
        self.snapshots.first_key_value().map_or(self.commit, |(commit, _)| *commit)
    }
}
