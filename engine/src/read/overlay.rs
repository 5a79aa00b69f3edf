//! Amendments, laid over the entries that a reader gets.
//!
//! ```text
//! entry (table, id, seq)  ─┐   tables  commits   filter        look-up
//!   origin (table, id, seq)┴─► range ─► range ─► (bloom) ────► newest version at the snapshot
//! ```
//! For its own place and for its origin, each source of amendments (memtables, SSTables of table 2)
//! is asked in turn, newest first, what costs little before what costs more: whether it holds
//! amendments of that table at all, whether they are young enough to count for the entry, whether
//! its filter knows the entry. Of what is found the newest commit wins.
//!
//! # Invariants
//! 1. Only amendments of the snapshot count, and of these only such as were committed with the
//!    entry or later.
//! 2. Sources are those of one view: what a compaction drops because the entries are gone is
//!    dropped for readers of those entries as well.
//! 3. A value in the table of amendments that is none is corruption that names the SSTable.

use super::View;
use crate::amendment::{AmendmentKind, decode_key, decode_value, put_amendment_key};
use crate::batch::KeyedOperation;
use crate::entry::{Entry, KeyedVersion, Payload, Revision, TableId};
use crate::error::{Error, Result};
use crate::memtable::Memtable;
use crate::sstable::Sstable;
use crate::sync::Arc;
use crate::version::{AMENDMENT_TABLE, Version};

/// The SSTables of amendments of one version, found once for all readers.
#[derive(Debug)]
pub(crate) struct AmendmentSstables {
    /// Each of level 0 by itself, newest first, then each deeper level, by key.
    levels: Vec<Vec<AmendmentSstable>>,
    /// The lowest and the highest table of amended entries, in any of them.
    tables: (TableId, TableId),
    /// The newest amendment in any of them.
    last_commit: u64,
}

#[derive(Debug)]
struct AmendmentSstable {
    sstable: Arc<Sstable>,
    tables: (TableId, TableId),
}

impl AmendmentSstables {
    /// Those of `version`.
    pub(crate) fn of(version: &Version<Arc<Sstable>>) -> AmendmentSstables {
        let tables = (TableId(u32::MAX), TableId(0));
        let mut found = AmendmentSstables { levels: Vec::new(), tables, last_commit: 0 };
        for (_, levels) in version.shards(AMENDMENT_TABLE) {
            let mut last_level = 0;
            for (level, sstable) in levels.iter() {
                if level == 0 || level != last_level {
                    found.levels.push(Vec::new());
                }
                last_level = level;
                found.add(sstable);
            }
        }
        found
    }

    /// Adds an SSTable to the last level.
    fn add(&mut self, sstable: &Arc<Sstable>) {
        let meta = sstable.meta();
        // A key that is none is met by nobody, but may bound the others.
        let least = decode_key(&meta.first.0).map_or(TableId(0), |(table, ..)| table);
        let greatest = decode_key(&meta.last.0).map_or(TableId(u32::MAX), |(table, ..)| table);
        self.tables = (self.tables.0.min(least), self.tables.1.max(greatest));
        self.last_commit = self.last_commit.max(meta.commits.1);
        let level = self.levels.last_mut().expect("a level was begun");
        level.push(AmendmentSstable { sstable: Arc::clone(sstable), tables: (least, greatest) });
    }

    /// Whether an entry of `table` that was committed by `commit` may have been amended here.
    fn may_hold(&self, table: TableId, commit: u64) -> bool {
        self.last_commit >= commit && holds(self.tables, table) && !self.levels.is_empty()
    }

    /// The SSTables that may hold amendments of `key` for an entry of `commit`, newest first.
    fn candidates<'a>(
        &'a self,
        table: TableId,
        key: &'a [u8],
        commit: u64,
        snapshot: u64,
    ) -> impl Iterator<Item = &'a Arc<Sstable>> {
        let within = move |found: &&AmendmentSstable| {
            let meta = found.sstable.meta();
            holds(found.tables, table)
                && meta.commits.1 >= commit
                && meta.commits.0 <= snapshot
                && *meta.first.0 <= *key
                && *key <= *meta.last.0
        };
        let in_level = |level: &'a Vec<AmendmentSstable>| {
            level.get(level.partition_point(|found| *found.sstable.meta().last.0 < *key))
        };
        self.levels.iter().filter_map(in_level).filter(within).map(|found| &found.sstable)
    }
}

fn holds((least, greatest): (TableId, TableId), table: TableId) -> bool {
    least <= table && table <= greatest
}

/// See the module.
pub(super) struct Overlay {
    memtables: Vec<Arc<Memtable>>,
    sstables: Arc<AmendmentSstables>,
    snapshot: u64,
    /// The key being looked up.
    key: Vec<u8>,
}

/// A version, and what it did.
struct Amendment {
    version: KeyedVersion,
    kind: AmendmentKind,
}

impl Amendment {
    fn revision(&self) -> Revision {
        let KeyedVersion { commit, time_ms, .. } = self.version;
        Revision { commit, time_ms, retracted: self.kind == AmendmentKind::Retracted }
    }

    fn order(&self) -> (u64, u32) {
        (self.version.commit, self.version.index)
    }

    fn is_erased(&self) -> bool {
        self.kind == AmendmentKind::Erased
    }

    fn payload(self) -> Payload {
        self.version.value.without_first(1)
    }
}

impl Overlay {
    /// The amendments of a view, as a snapshot shows them; `None` where there are none at all.
    pub(super) fn new(view: &View, snapshot: u64) -> Option<Overlay> {
        let amended = |memtable: &&Arc<Memtable>| !memtable.amended().is_empty();
        let mut memtables = view.memtables().filter(amended).peekable();
        if memtables.peek().is_none() && view.amendments.levels.is_empty() {
            return None;
        }
        let memtables = memtables.map(Arc::clone).collect();
        let sstables = Arc::clone(&view.amendments);
        Some(Overlay { memtables, sstables, snapshot, key: Vec::new() })
    }

    /// Lays the newest amendment over an entry of a timeline.
    pub(super) fn apply(&mut self, table: TableId, key: &[u8], entry: &mut Entry) -> Result<()> {
        let mut newest = self.newest(table, key, entry.seq, entry.commit)?;
        if let Some(origin) = &entry.origin {
            let of_origin = self.newest(origin.table, &origin.key, origin.seq, entry.commit)?;
            let order = |found: &Option<Amendment>| found.as_ref().map(Amendment::order);
            if order(&of_origin) > order(&newest) {
                newest = of_origin;
            }
        }
        if let Some(amendment) = newest {
            entry.revision = Some(amendment.revision());
            entry.erased = amendment.is_erased();
            entry.payload = amendment.payload();
        }
        Ok(())
    }

    /// An entry as it was written, and as each amendment made it, oldest first.
    pub(super) fn versions(
        &mut self,
        table: TableId,
        key: &[u8],
        original: Entry,
    ) -> Result<Vec<Entry>> {
        let mut found = self.all(table, key, original.seq, original.commit)?;
        if let Some(origin) = &original.origin {
            found.extend(self.all(origin.table, &origin.key, origin.seq, original.commit)?);
        }
        found.sort_by_key(Amendment::order);
        found.dedup_by_key(|amendment| amendment.order());
        let amended = |amendment: Amendment| Entry {
            revision: Some(amendment.revision()),
            erased: amendment.is_erased(),
            payload: amendment.payload(),
            ..original.clone()
        };
        let amended: Vec<Entry> = found.into_iter().map(amended).collect();
        Ok(std::iter::once(original).chain(amended).collect())
    }

    /// The newest amendment of a place that counts for an entry of `commit`.
    fn newest(
        &mut self,
        table: TableId,
        key: &[u8],
        seq: u64,
        commit: u64,
    ) -> Result<Option<Amendment>> {
        let in_memory = self.memtables.iter().any(|m| m.amended().may_hold_table(table));
        let on_disk = self.sstables.may_hold(table, commit);
        if !in_memory && !on_disk {
            return Ok(None);
        }
        put_amendment_key(&mut self.key, table, key, seq);
        if in_memory {
            for memtable in self.memtables.iter().filter(|m| m.amended().may_hold(&self.key)) {
                let versions = memtable.versions(AMENDMENT_TABLE, &self.key, self.snapshot);
                if let Some(version) = versions.into_iter().next() {
                    return counted(version, commit, 0);
                }
            }
        }
        if !on_disk {
            return Ok(None);
        }
        let sstables = self.sstables.candidates(table, &self.key, commit, self.snapshot);
        for sstable in sstables {
            if !sstable.filter_contains(&self.key)? {
                continue;
            }
            let versions = sstable.versions(&self.key, self.snapshot)?;
            if let Some(version) = versions.into_iter().next() {
                return counted(version, commit, sstable.meta().extent.offset);
            }
        }
        Ok(None)
    }

    /// All amendments of a place that count for an entry of `commit`, in no order.
    fn all(&mut self, table: TableId, key: &[u8], seq: u64, commit: u64) -> Result<Vec<Amendment>> {
        put_amendment_key(&mut self.key, table, key, seq);
        let mut found = Vec::new();
        for memtable in &self.memtables {
            for version in memtable.all_versions(AMENDMENT_TABLE, &self.key, self.snapshot) {
                found.extend(counted(version, commit, 0)?);
            }
        }
        let sstables = self.sstables.candidates(table, &self.key, commit, self.snapshot);
        for sstable in sstables {
            for version in sstable.all_versions(&self.key, self.snapshot)? {
                found.extend(counted(version, commit, sstable.meta().extent.offset)?);
            }
        }
        Ok(found)
    }
}

/// The amendment in a version, if it counts for an entry of `commit`.
fn counted(version: KeyedVersion, commit: u64, place: u64) -> Result<Option<Amendment>> {
    let kind = match version.operation {
        KeyedOperation::Put => decode_value(&version.value),
        _ => None,
    };
    let Some(kind) = kind else {
        let detail = format!("commit {} has a value that is no amendment", version.commit);
        return Err(Error::corruption("amendment", place, detail));
    };
    Ok((version.commit >= commit).then_some(Amendment { version, kind }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amendment::amendment_key;

    fn version(operation: KeyedOperation, value: &[u8]) -> KeyedVersion {
        KeyedVersion {
            key: amendment_key(TableId(16), b"room", 1).into(),
            commit: 5,
            index: 0,
            time_ms: 1,
            operation,
            value: Payload::from_vec(value.to_vec()),
        }
    }

    #[test]
    fn what_is_no_amendment_is_corruption_that_names_its_place() {
        let hostile = [
            version(KeyedOperation::Put, b""),
            version(KeyedOperation::Put, b"\0text"),
            version(KeyedOperation::Put, b"\x02text"),
            version(KeyedOperation::Delete, b""),
            version(KeyedOperation::Add, b"\x01"),
        ];
        for version in hostile {
            let Err(Error::Corruption(found)) = counted(version, 9, 4096) else {
                panic!("corruption");
            };
            assert_eq!((found.what, found.offset), ("amendment", 4096));
        }
    }

    #[test]
    fn an_amendment_counts_for_entries_of_its_commit_and_of_older_ones() {
        let amendment = || version(KeyedOperation::Put, b"\x01text");
        assert!(counted(amendment(), 4, 0).unwrap().is_some());
        assert!(counted(amendment(), 5, 0).unwrap().is_some());
        assert!(counted(amendment(), 6, 0).unwrap().is_none());
        let found = counted(amendment(), 5, 0).unwrap().unwrap();
        assert_eq!(found.revision(), Revision { commit: 5, time_ms: 1, retracted: false });
        assert_eq!(&*found.payload(), b"text");
    }
}
