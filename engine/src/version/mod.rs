//! Which SSTables are live, at which level: plain data, no I/O, no locks.
//!
//! - `meta.rs`: what is known of one SSTable.
//! - `levels.rs`: the SSTables of one table, in the order in which readers want them.
//! - here, `Version`: the levels of all tables at one moment; never changed once it is shared.
//! - `edit.rs`: the steps from one moment to the next, as the manifest logs them.
//! - `segments.rs`: the live payload segments, and how many SSTables need each.
//! - `catalog.rs`: everything that the manifest knows: tables, version, epochs, counters.
//!
//! A version is generic over its handles: the catalog's holds the metas themselves, the readers'
//! holds open SSTables, which keep their extents from reuse.
//!
//! # Invariants
//! 1. An SSTable number is in a version at most once.
//! 2. A table without SSTables has no entry, so equal versions compare equal.
//! 3. Those of `levels.rs`.

mod catalog;
mod edit;
mod levels;
mod meta;
mod segments;
#[cfg(test)]
pub(crate) mod tests;

use crate::entry::TableId;
pub(crate) use catalog::Catalog;
pub(crate) use edit::{Edit, STATE_TABLE, TableRecord};
pub(crate) use levels::Levels;
pub use meta::{SegmentMeta, SstableMeta, TableKind};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A handle of an SSTable, which knows its meta.
pub(crate) trait HasMeta {
    fn meta(&self) -> &SstableMeta;
}

impl HasMeta for SstableMeta {
    fn meta(&self) -> &SstableMeta {
        self
    }
}

impl<T: HasMeta> HasMeta for Arc<T> {
    fn meta(&self) -> &SstableMeta {
        (**self).meta()
    }
}

/// The live SSTables of all tables. Cloning shares what does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version<T> {
    tables: BTreeMap<TableId, Arc<Levels<T>>>,
}

impl<T> Default for Version<T> {
    fn default() -> Version<T> {
        Version { tables: BTreeMap::new() }
    }
}

impl<T: HasMeta> Version<T> {
    /// The levels of a table; `None` where it has no SSTables.
    pub(crate) fn levels(&self, table: TableId) -> Option<&Levels<T>> {
        self.tables.get(&table).map(|levels| &**levels)
    }

    /// The SSTables of one level, in its order.
    pub(crate) fn level(&self, table: TableId, level: usize) -> &[T] {
        self.levels(table).map_or(&[], |levels| levels.level(level))
    }

    /// The SSTables of a level (1 or above) that may hold `key`, newest first. In level 0 each of
    /// them may.
    pub(crate) fn candidates<'a>(
        &'a self,
        table: TableId,
        level: usize,
        key: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = &'a T> {
        self.levels(table).into_iter().flat_map(move |levels| levels.candidates(level, key))
    }

    /// All SSTables, with table and level.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TableId, u8, &T)> {
        self.tables.iter().flat_map(|(table, levels)| {
            levels.iter().map(move |(level, item)| (*table, level, item))
        })
    }

    /// Whether the SSTable of this number is live.
    pub(crate) fn find(&self, number: u64) -> Option<(u8, &T)> {
        self.iter()
            .find(|(_, _, item)| item.meta().number == number)
            .map(|(_, level, item)| (level, item))
    }

    /// Checks every invariant.
    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let mut numbers = HashSet::new();
        for (table, level, item) in self.iter() {
            let meta = item.meta();
            if !numbers.insert(meta.number) {
                return Err(format!("SSTable {} is there twice", meta.number));
            }
            if meta.table != table {
                return Err(format!("SSTable {} of {:?} is in {table:?}", meta.number, meta.table));
            }
            if meta.first > meta.last {
                return Err(format!("SSTable {} of level {level} is upside down", meta.number));
            }
        }
        for (table, levels) in &self.tables {
            levels.check().map_err(|error| format!("{table:?}: {error}"))?;
            if levels.is_empty() {
                return Err(format!("{table:?} is there without SSTables"));
            }
        }
        Ok(())
    }
}

impl<T: HasMeta + Clone> Version<T> {
    /// The version behind this one: without `removed`, and with `added` at their levels. An SSTable
    /// that moves is in both. The manifest has the same change already, so an impossible one is a
    /// defect, and panics.
    pub(crate) fn apply(&self, removed: &[u64], added: Vec<(u8, T)>) -> Version<T> {
        let mut next = self.clone();
        for number in removed {
            assert!(next.remove(*number).is_some(), "SSTable {number} is removed but not live");
        }
        for (level, item) in added {
            if let Err(error) = next.insert(level, item) {
                panic!("an SSTable cannot be added: {error}");
            }
        }
        debug_assert_eq!(next.check_invariants(), Ok(()));
        next
    }

    /// The same version over other handles.
    pub(crate) fn try_map<U: HasMeta + Clone, E>(
        &self,
        mut handle: impl FnMut(&T) -> Result<U, E>,
    ) -> Result<Version<U>, E> {
        let mut mapped = Version::default();
        for (_, level, item) in self.iter() {
            if let Err(error) = mapped.insert(level, handle(item)?) {
                panic!("the version to map is in order: {error}");
            }
        }
        Ok(mapped)
    }

    /// Adds an SSTable in place; refuses one that would overlap.
    fn insert(&mut self, level: u8, item: T) -> Result<(), String> {
        let table = item.meta().table;
        let levels = Arc::make_mut(self.tables.entry(table).or_default());
        let inserted = levels.insert(level, item);
        if levels.is_empty() {
            self.tables.remove(&table);
        }
        inserted
    }

    /// Takes an SSTable out in place.
    fn remove(&mut self, number: u64) -> Option<(u8, T)> {
        let (level, item) = self.find(number)?;
        let table = item.meta().table;
        self.remove_from(table, level, number).map(|item| (level, item))
    }

    /// Takes an SSTable out of a known level, in place.
    fn remove_from(&mut self, table: TableId, level: u8, number: u64) -> Option<T> {
        let levels = Arc::make_mut(self.tables.get_mut(&table)?);
        let removed = levels.remove(level, number);
        if levels.is_empty() {
            self.tables.remove(&table);
        }
        removed
    }
}
