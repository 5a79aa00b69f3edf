//! The catalog: everything that the manifest knows of the store. Replaying the manifest is applying
//! its edits to a new catalog.
//!
//! # Invariants
//! 1. Tables 1 to 3 are the engine's own; users' tables begin at 16; ids and names are unique, and
//!    ids grow.
//! 2. Every SSTable belongs to a table of its kind, and lies in the version's order.
//! 3. `next_sstable` and `next_table` are above everything that was ever there.
//! 4. Epochs never fall.
//! 5. What has expired stays expired: `expired_before_ms` of a table never falls; nor do kind, name
//!    and sequence of a table ever change.
//! 6. `places` has exactly the live SSTables, so that replay does not search for each number.
//! 7. A refused edit changes nothing.
//! 8. The segments that an SSTable lists are live; behind a whole change none is without SSTables.
//!    Numbers of SSTables and segments come from one counter, and differ.

use super::edit::{ENGINE_TABLES, FIRST_USER_TABLE};
use super::segments::LiveSegments;
use super::{Edit, SegmentMeta, Shard, SstableMeta, TableKind, TableRecord, Version};
use crate::entry::TableId;
use crate::limits::{
    BLOCK_SIZE, KEY_LENGTH_MAX, KEY_LENGTH_MIN, LEVEL_COUNT, SEGMENTS_PER_SSTABLE_MAX,
    TABLE_COUNT_MAX, TABLE_NAME_LENGTH_MAX,
};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Tables, live SSTables, epochs and counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// By id, the engine's own tables included.
    pub(crate) tables: BTreeMap<TableId, TableRecord>,
    /// The live SSTables.
    pub(crate) version: Version<SstableMeta>,
    /// Table, shard and level of each live SSTable, by number.
    places: HashMap<u64, ((TableId, Shard), u8), FixedState>,
    /// The live payload segments.
    pub(crate) segments: LiveSegments,
    /// The commit of each beginning of an epoch.
    pub(crate) epochs: Vec<u64>,
    /// Cold SSTables of this number and above lie in the cold file; `None`: there is no such file.
    pub(crate) cold_file_from: Option<u64>,
    /// The number of the next SSTable or segment.
    pub(crate) next_sstable: u64,
    /// The id of the next table.
    pub(crate) next_table: u32,
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog::new()
    }
}

impl Catalog {
    /// The catalog of a new store: nothing but the engine's own tables.
    pub(crate) fn new() -> Catalog {
        let own = ENGINE_TABLES.map(|(id, name, _)| (id, TableRecord::engine_owned(id, name)));
        Catalog {
            tables: BTreeMap::from(own),
            version: Version::default(),
            places: HashMap::default(),
            segments: LiveSegments::default(),
            epochs: Vec::new(),
            cold_file_from: None,
            next_sstable: 1,
            next_table: FIRST_USER_TABLE,
        }
    }

    /// Whether an SSTable lies in the cold file. One that was cold before the store had such a file
    /// stays in the first.
    pub(crate) fn is_in_cold_file(&self, meta: &SstableMeta) -> bool {
        meta.is_in_cold_file(self.cold_file_from)
    }

    /// The table of this name.
    pub(crate) fn table_named(&self, name: &str) -> Option<&TableRecord> {
        self.tables.values().find(|record| record.name == name)
    }

    /// Tables beside the engine's own.
    pub(crate) fn user_table_count(&self) -> usize {
        self.tables.len() - ENGINE_TABLES.len()
    }

    /// Takes one step.
    ///
    /// # Errors
    /// Why the step is impossible; nothing has changed then.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        match edit {
            Edit::TableCreated(record) => self.create_table(record),
            Edit::TableDropped { table } => self.drop_table(*table),
            Edit::TableAltered(record) => self.alter_table(record),
            Edit::SstableAdded { level, meta } => self.add_sstable(*level, meta),
            Edit::SstableRemoved { number } => self.remove_sstable(*number),
            Edit::SstableMoved { number, level } => self.move_sstable(*number, *level),
            Edit::SegmentAdded { meta } => self.add_segment(meta),
            Edit::SegmentRemoved { number } => self.segments.remove(*number),
            Edit::SegmentReplaced { number, extent, footer_checksum } => {
                self.segments.replace(*number, *extent, *footer_checksum)
            }
            Edit::EpochBegun { commit } => match self.epochs.last() {
                Some(last) if commit < last => Err(format!("epoch {commit} begins before {last}")),
                _ => {
                    self.epochs.push(*commit);
                    Ok(())
                }
            },
            Edit::ColdFile { first } => {
                if self.cold_file_from.is_some() {
                    return Err("there are two cold files".to_owned());
                }
                self.cold_file_from = Some(*first);
                Ok(())
            }
            Edit::Counters { next_sstable, next_table } => {
                if *next_sstable < self.next_sstable || *next_table < self.next_table {
                    return Err(format!(
                        "the counters fall from {} and {} to {next_sstable} and {next_table}",
                        self.next_sstable, self.next_table
                    ));
                }
                self.next_sstable = *next_sstable;
                self.next_table = *next_table;
                Ok(())
            }
        }
    }

    /// The edits that make this catalog out of a new one: the base of a manifest.
    pub(crate) fn edits(&self) -> Vec<Edit> {
        let users = self.tables.range(TableId(FIRST_USER_TABLE)..);
        let tables = users.map(|(_, record)| Edit::TableCreated(record.clone()));
        let sstables = self
            .version
            .iter()
            .map(|(_, level, meta)| Edit::SstableAdded { level, meta: meta.clone() });
        let segments = self.segments.iter().map(|meta| Edit::SegmentAdded { meta: meta.clone() });
        let epochs = self.epochs.iter().map(|commit| Edit::EpochBegun { commit: *commit });
        let counters =
            Edit::Counters { next_sstable: self.next_sstable, next_table: self.next_table };
        let cold = self.cold_file_from.map(|first| Edit::ColdFile { first });
        tables.chain(segments).chain(sstables).chain(epochs).chain(cold).chain([counters]).collect()
    }

    fn create_table(&mut self, record: &TableRecord) -> Result<(), String> {
        let TableRecord { id, name, .. } = record;
        if id.0 < self.next_table {
            return Err(format!("table id {} is below the next one, {}", id.0, self.next_table));
        }
        let next_table = id.0.checked_add(1).ok_or("the last table id cannot be used")?;
        if name.is_empty() || name.len() > TABLE_NAME_LENGTH_MAX || name.starts_with('\0') {
            return Err(format!("table {} cannot have the name {name:?}", id.0));
        }
        if self.table_named(name).is_some() {
            return Err(format!("there are two tables with the name {name:?}"));
        }
        if self.user_table_count() >= TABLE_COUNT_MAX {
            return Err(format!("there are more than {TABLE_COUNT_MAX} tables"));
        }
        self.tables.insert(*id, record.clone());
        self.next_table = next_table;
        Ok(())
    }

    fn alter_table(&mut self, record: &TableRecord) -> Result<(), String> {
        let TableRecord { id, name, options, expired_before_ms, .. } = record;
        let old = self.tables.get_mut(id).filter(|_| !id.is_engine_owned());
        let old = old.ok_or_else(|| format!("table {} is altered but not there", id.0))?;
        let same = old.name == *name
            && old.options.kind == options.kind
            && old.options.sequence == options.sequence;
        if !same {
            return Err(format!("table {} cannot become another one: {record:?}", id.0));
        }
        if old.own_ttl && !record.own_ttl {
            return Err(format!("table {} would forget entries' times to live", id.0));
        }
        if *expired_before_ms < old.expired_before_ms {
            return Err(format!("what has expired in table {} would come back", id.0));
        }
        if record.erased_through < old.erased_through {
            return Err(format!("table {} would be erased again", id.0));
        }
        *old = record.clone();
        Ok(())
    }

    fn drop_table(&mut self, table: TableId) -> Result<(), String> {
        if table.is_engine_owned() || !self.tables.contains_key(&table) {
            return Err(format!("{table:?} is dropped and is no table of a user"));
        }
        if self.version.shards(table).next().is_some() {
            return Err(format!("{table:?} is dropped with live SSTables"));
        }
        self.tables.remove(&table);
        Ok(())
    }

    fn add_sstable(&mut self, level: u8, meta: &SstableMeta) -> Result<(), String> {
        let number = meta.number;
        check_meta(meta).map_err(|error| format!("SSTable {number}: {error}"))?;
        check_level(level)?;
        match self.tables.get(&meta.table) {
            None => {
                return Err(format!("SSTable {number} is of the unknown {:?}", meta.table));
            }
            Some(record) if record.options.kind != meta.kind => {
                return Err(format!("SSTable {number} is not of the kind of {:?}", meta.table));
            }
            Some(_) => {}
        }
        if self.places.contains_key(&number) {
            return Err(format!("SSTable {number} is added twice"));
        }
        if self.segments.contains(number) {
            return Err(format!("SSTable {number} has the number of a segment"));
        }
        let live = self.segments.check_live(&meta.segments);
        live.map_err(|error| format!("SSTable {number}: {error}"))?;
        self.version.insert(level, meta.clone())?;
        self.segments.hold(&meta.segments);
        self.places.insert(number, ((meta.table, meta.shard), level));
        self.next_sstable = self.next_sstable.max(number + 1);
        Ok(())
    }

    /// Whether a live SSTable or segment has this number.
    pub(crate) fn is_number_used(&self, number: u64) -> bool {
        self.places.contains_key(&number) || self.segments.contains(number)
    }

    fn add_segment(&mut self, meta: &SegmentMeta) -> Result<(), String> {
        let number = meta.number;
        if self.places.contains_key(&number) {
            return Err(format!("segment {number} has the number of an SSTable"));
        }
        self.segments.add(meta)?;
        self.next_sstable = self.next_sstable.max(number + 1);
        Ok(())
    }

    fn remove_sstable(&mut self, number: u64) -> Result<(), String> {
        let Some((place, level)) = self.places.remove(&number) else {
            return Err(format!("SSTable {number} is removed but not live"));
        };
        let removed = self.version.remove_from(place, level, number);
        let removed = removed.expect("the places are those of the version");
        self.segments.let_go(&removed.segments);
        Ok(())
    }

    fn move_sstable(&mut self, number: u64, level: u8) -> Result<(), String> {
        check_level(level)?;
        let Some((place, old)) = self.places.get(&number).copied() else {
            return Err(format!("SSTable {number} is moved but not live"));
        };
        if old == level {
            return Err(format!("SSTable {number} is in level {level} already"));
        }
        let meta = self.version.remove_from(place, old, number);
        let meta = meta.expect("the places are those of the version");
        let moved = self.version.insert(level, meta.clone());
        match moved {
            Ok(()) => drop(self.places.insert(number, (place, level))),
            Err(_) => self.version.insert(old, meta).expect("it was there a moment ago"),
        }
        moved
    }
}

fn check_level(level: u8) -> Result<(), String> {
    if usize::from(level) < LEVEL_COUNT {
        return Ok(());
    }
    Err(format!("there is no level {level}"))
}

/// What must hold of every meta, by itself.
fn check_meta(meta: &SstableMeta) -> Result<(), String> {
    if meta.number == 0 || meta.number == u64::MAX {
        return Err("the number is not possible".to_owned());
    }
    let extent = meta.extent;
    let aligned =
        extent.offset.is_multiple_of(BLOCK_SIZE) && extent.length.is_multiple_of(BLOCK_SIZE);
    if !aligned || extent.offset.checked_add(extent.length).is_none() {
        return Err(format!("its extent is {extent:?}"));
    }
    if meta.bytes == 0 || meta.bytes > extent.length {
        return Err(format!("{} bytes in an extent of {}", meta.bytes, extent.length));
    }
    let own = ENGINE_TABLES.iter().find(|(id, ..)| *id == meta.table);
    let longest = own.map_or(KEY_LENGTH_MAX, |(.., longest)| *longest);
    for (key, _) in [&meta.first, &meta.last] {
        if !(KEY_LENGTH_MIN..=longest).contains(&key.len()) {
            return Err(format!("a key of {} bytes", key.len()));
        }
    }
    if meta.kind == TableKind::Keyed && (meta.first.1, meta.last.1) != (0, 0) {
        return Err("a keyed SSTable with sequence ids".to_owned());
    }
    let possible = meta.segments.len() <= SEGMENTS_PER_SSTABLE_MAX
        && (meta.kind == TableKind::Timeline || meta.segments.is_empty());
    if !possible || !meta.segments.is_sorted_by(|before, behind| before < behind) {
        return Err(format!("{} segments are not a set of numbers", meta.segments.len()));
    }
    let ordered = meta.first <= meta.last
        && meta.commits.0 <= meta.commits.1
        && meta.times_ms.0 <= meta.times_ms.1;
    if !ordered {
        return Err("keys, commits or times are upside down".to_owned());
    }
    let origin = meta.oldest_origin;
    let possible = origin == 0 || (meta.commits.0..=meta.commits.1).contains(&origin);
    if meta.kind == TableKind::Keyed && meta.own_ttl.entries() > 0 {
        return Err("a keyed SSTable with times to live of entries".to_owned());
    }
    if !possible || (origin != 0 && meta.kind == TableKind::Keyed) {
        return Err(format!("an entry with an origin at commit {origin}"));
    }
    Ok(())
}
