//! The memtable.

use crate::batch::KeyedOperation;
use crate::entry::{Direction, Entry, KeyedVersion, TableId};
use crate::memtable::Memtable;
use crate::version::TableKind;
use std::ops::Bound;
use std::sync::Arc;

/// A memtable.
#[derive(Debug, Clone)]
pub struct Table(Arc<Memtable>);

/// A version of a key, copied out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The key.
    pub key: Vec<u8>,
    /// Its commit.
    pub commit: u64,
    /// Its record in the batch.
    pub index: u32,
    /// What was done: the persisted byte.
    pub operation: u8,
    /// The operand.
    pub value: Vec<u8>,
}

impl Table {
    /// An empty one.
    pub fn new(base_commit: u64, base_time_ms: u64) -> Table {
        Table(Arc::new(Memtable::new(base_commit, base_time_ms)))
    }

    /// Whether a body fits.
    pub fn fits(&self, commit: u64, time_ms: u64, body_bytes: usize, targets: usize) -> bool {
        self.0.fits(commit, time_ms, body_bytes, targets)
    }

    /// Applies a body.
    ///
    /// # Errors
    /// Where it cannot have been committed.
    pub fn apply(&self, body: Vec<u8>, commit: u64, time_ms: u64) -> Result<(), String> {
        self.0.apply(Arc::new(body), commit, time_ms).map_err(|error| error.to_string())
    }

    /// Estimate of the bytes held.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Entries and versions.
    pub fn entries(&self) -> u64 {
        self.0.entries()
    }

    /// First and last commit.
    pub fn commits(&self) -> Option<(u64, u64)> {
        self.0.commits()
    }

    /// The tables written to, and whether they hold timelines.
    pub fn tables(&self) -> Vec<(TableId, bool)> {
        let tables = self.0.tables();
        tables.into_iter().map(|(id, kind)| (id, kind == TableKind::Timeline)).collect()
    }

    /// The timelines of a table from a key on.
    pub fn timelines(&self, table: TableId, from: Bound<&[u8]>) -> Vec<Vec<u8>> {
        let runs = self.0.runs_sorted(table, from);
        runs.iter().map(|run| run.key().to_vec()).collect()
    }

    /// The entries of a timeline that a snapshot sees, oldest first, read in every way that must
    /// agree.
    pub fn entries_at(&self, table: TableId, key: &[u8], commit: u64) -> Option<Vec<Entry>> {
        let run = self.0.run(table, key)?;
        assert_eq!((run.table(), run.key()), (table, key));
        let visible = run.count_at(commit);
        let whole = |entry: crate::error::Result<Entry>| entry.expect("it lies in memory");
        let forward = run.cursor(0, Direction::Forward).take(visible);
        let forward: Vec<Entry> = forward.map(whole).collect();
        let Some(last) = visible.checked_sub(1) else {
            return Some(forward);
        };
        let backward = run.cursor(last, Direction::Backward);
        let mut backward: Vec<Entry> = backward.map(whole).collect();
        backward.reverse();
        assert_eq!(seqs(&forward), seqs(&backward), "both directions agree");
        assert_eq!(run.first_seq(), run.seq(0));
        for (index, entry) in forward.iter().enumerate() {
            let found = (run.seq(index), run.commit(index), run.time_ms(index));
            assert_eq!(found, (entry.seq, entry.commit, entry.time_ms));
            assert_eq!(run.lower_bound(entry.seq, visible), index);
            assert_eq!(whole(run.entry(index)).payload, entry.payload);
        }
        Some(forward)
    }

    /// How many of the entries that a snapshot sees have a commit time before `time_ms`.
    pub fn rank_time(&self, table: TableId, key: &[u8], commit: u64, time_ms: u64) -> usize {
        let run = self.0.run(table, key);
        run.map_or(0, |run| run.rank_time(time_ms, run.count_at(commit)))
    }

    /// The versions of a key that a snapshot needs, newest first.
    pub fn versions(&self, table: TableId, key: &[u8], commit: u64) -> Vec<Version> {
        self.0.versions(table, key, commit).iter().map(copied).collect()
    }

    /// All versions of a table from a key on.
    pub fn all_versions(&self, table: TableId, from: Bound<&[u8]>) -> Vec<Version> {
        self.0.keyed_range(table, from).map(|version| copied(&version)).collect()
    }

    /// Whether the key was written after a commit.
    pub fn has_write_after(&self, table: TableId, key: &[u8], commit: u64) -> bool {
        self.0.has_write_after(table, key, commit)
    }
}

/// The persisted byte of an operation.
pub fn operation_byte(operation: KeyedOperation) -> u8 {
    operation as u8
}

fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

fn copied(version: &KeyedVersion) -> Version {
    Version {
        key: version.key.to_vec(),
        commit: version.commit,
        index: version.index,
        operation: operation_byte(version.operation),
        value: version.value.to_vec(),
    }
}
