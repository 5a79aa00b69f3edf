//! What the memory backend holds.

use super::amendments::Amendments;
use super::marks::Settled;
use crate::backend::TableDescription;
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, VecDeque};
use tidelog_engine::{Entry, Payload, TableId, TableKind, TableOptions};

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
    /// Of tables that were altered.
    pub(super) gone: BTreeMap<TableId, Gone>,
    /// Tables created so far: ids are never used again.
    pub(super) created: u32,
    pub(super) timelines: BTreeMap<Key, Run>,
    pub(super) keyed: BTreeMap<Key, VecDeque<Version>>,
    pub(super) amendments: Amendments,
    /// Snapshots that are held: commit to how many.
    pub(super) snapshots: BTreeMap<u64, usize>,
}

/// What of a table is gone for good, whatever options it gets.
#[derive(Default, Clone, Copy)]
pub(super) struct Gone {
    /// Entries and values that were committed before this time have expired.
    expired_before: u64,
    /// What was taken back before this time is erased.
    erased_before: u64,
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

/// What was committed before this time is as old as `age_ms`, or older.
fn older_before(age_ms: Option<u64>, now: u64) -> u64 {
    age_ms.map_or(0, |age_ms| now.saturating_add(1).saturating_sub(age_ms))
}

pub(super) fn not_found(table: TableId) -> Error {
    Error::new(ErrorKind::NotFound, format!("not found: table {}", table.0))
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
            return Err(not_found(id));
        };
        if table.options.kind != kind {
            return Err(Error::invalid(format!("table {} is not of this kind", table.name)));
        }
        Ok(table)
    }

    /// Gives a table other options. What is gone stays gone.
    pub(super) fn alter(&mut self, id: TableId, options: &TableOptions, now: u64) -> Result<()> {
        options.validate()?;
        let Some(table) = self.tables.get(&id) else {
            return Err(not_found(id));
        };
        let old = &table.options;
        if old.kind != options.kind || old.sequence != options.sequence {
            let name = &table.name;
            let text = format!("table {name} keeps its kind, and who gives its sequence ids");
            return Err(Error::invalid(text));
        }
        let erased_before = older_before(old.erase_after_ms, now);
        let gone = self.gone.get(&id).copied().unwrap_or_default();
        let gone = Gone {
            expired_before: self.expired_before(table, now),
            erased_before: gone.erased_before.max(erased_before),
        };
        self.gone.insert(id, gone);
        if let Some(table) = self.tables.get_mut(&id) {
            table.options = options.clone();
        }
        Ok(())
    }

    /// Entries and values committed before this time have expired: one of time t is alive while
    /// now < t + ttl, as in the engine.
    pub(super) fn expired_before(&self, table: &TableDescription, now: u64) -> u64 {
        let gone = self.gone.get(&table.id).map_or(0, |gone| gone.expired_before);
        gone.max(older_before(table.options.ttl_ms, now))
    }

    /// Whether what a retraction took back, by table, commit and commit time, is past the erasure
    /// deadline, and shown to nobody.
    pub(super) fn is_erased(&self, retraction: (TableId, u64, u64), now: u64) -> bool {
        let (id, commit, time_ms) = retraction;
        let gone = self.gone.get(&id).map_or(0, |gone| gone.erased_before);
        let deadline_ms = self.tables.get(&id).and_then(|table| table.options.erase_after_ms);
        time_ms < gone.max(older_before(deadline_ms, now)) && commit <= self.oldest_snapshot()
    }

    /// The oldest commit that somebody may still look from.
    pub(super) fn oldest_snapshot(&self) -> u64 {
        self.snapshots.first_key_value().map_or(self.commit, |(commit, _)| *commit)
    }
}
