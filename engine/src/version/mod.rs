//! Which SSTables are live, at which level: plain data, no I/O, no locks.
//!
//! - `meta.rs`: what is known of one SSTable.
//! - `shard.rs`: the pieces, by time and tier, into which a table is cut.
//! - `grid.rs`: how the commit times of a table are cut into windows.
//! - `levels.rs`: the SSTables of one shard, in the order in which readers want them.
//! - here, `Version`: the levels of all shards of all tables at one moment; never changed once it
//!   is shared.
//! - `edit.rs`: the steps from one moment to the next, as the manifest logs them.
//! - `segments.rs`: the live payload segments, and how many SSTables need each.
//! - `summary.rs`: tiers, windows and levels in numbers.
//! - `catalog.rs`: everything that the manifest knows: tables, version, epochs, counters.
//!
//! A version is generic over its handles: the catalog's holds the metas themselves, the readers'
//! holds open SSTables, which keep their extents from reuse.
//!
//! # Invariants
//! 1. An SSTable number is in a version at most once.
//! 2. A shard without SSTables has no entry, so equal versions compare equal.
//! 3. Those of `levels.rs`.

mod catalog;
mod edit;
mod grid;
#[cfg(test)]
mod grid_tests;
mod levels;
mod meta;
mod segments;
mod shard;
mod summary;
#[cfg(test)]
pub(crate) mod tests;

use crate::entry::TableId;
use crate::limits::LEVEL_COUNT;
pub(crate) use catalog::Catalog;
pub(crate) use edit::{AMENDMENT_TABLE, Edit, MARK_TABLE, STATE_TABLE, TableRecord};
pub(crate) use grid::{Grid, Part, Piece, window_width_ms};
pub(crate) use levels::Levels;
pub use meta::{SegmentMeta, SstableMeta, TableKind};
pub use shard::{Shard, Tier};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
pub(crate) use summary::summarize;
pub use summary::{LevelStats, TableStats, WindowStats};

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
    /// In the order in which readers go through the shards of a table.
    shards: BTreeMap<(TableId, Shard), Arc<Levels<T>>>,
}

impl<T> Default for Version<T> {
    fn default() -> Version<T> {
        Version { shards: BTreeMap::new() }
    }
}

impl<T: HasMeta> Version<T> {
    /// The shards of a table that have SSTables: for any one timeline, newer data come first.
    pub(crate) fn shards(&self, table: TableId) -> impl Iterator<Item = (Shard, &Levels<T>)> {
        let all = (table, Shard::FIRST)..=(table, Shard::LAST);
        self.shards.range(all).map(|((_, shard), levels)| (*shard, &**levels))
    }

    /// The shards of all tables.
    pub(crate) fn all_shards(&self) -> impl Iterator<Item = (TableId, Shard, &Levels<T>)> {
        self.shards.iter().map(|((table, shard), levels)| (*table, *shard, &**levels))
    }

    /// The SSTables of one level of a shard, in its order.
    #[cfg(test)]
    pub(crate) fn level(&self, table: TableId, shard: Shard, level: usize) -> &[T] {
        self.shards.get(&(table, shard)).map_or(&[], |levels| levels.level(level))
    }

    /// The SSTables of a table that may hold `key`, newest data first.
    pub(crate) fn candidates<'a>(
        &'a self,
        table: TableId,
        key: &'a [u8],
    ) -> impl Iterator<Item = &'a T> {
        self.leveled_candidates(table, key).map(|(_, item)| item)
    }

    /// The same, with their levels.
    pub(crate) fn leveled_candidates<'a>(
        &'a self,
        table: TableId,
        key: &'a [u8],
    ) -> impl Iterator<Item = (u8, &'a T)> {
        let holds = move |item: &&T| {
            let meta = item.meta();
            *meta.first.0 <= *key && *key <= *meta.last.0
        };
        self.shards(table).flat_map(move |(_, levels)| {
            let deeper = (1u8..).take(LEVEL_COUNT - 1).flat_map(move |level| {
                levels.candidates(usize::from(level), key).map(move |item| (level, item))
            });
            levels.level(0).iter().filter(holds).map(|item| (0, item)).chain(deeper)
        })
    }

    /// All SSTables, with table and level; those of a shard together.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TableId, u8, &T)> {
        self.shards.iter().flat_map(|((table, _), levels)| {
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
        let mut numbers = BTreeSet::new();
        for ((table, shard), levels) in &self.shards {
            for (level, item) in levels.iter() {
                let meta = item.meta();
                if !numbers.insert(meta.number) {
                    return Err(format!("SSTable {} is there twice", meta.number));
                }
                if (meta.table, meta.shard) != (*table, *shard) {
                    let number = meta.number;
                    return Err(format!("SSTable {number} is not of {table:?}, {shard:?}"));
                }
                if meta.first > meta.last {
                    return Err(format!("SSTable {} of level {level} is upside down", meta.number));
                }
            }
            levels.check().map_err(|error| format!("{table:?}, {shard:?}: {error}"))?;
            if levels.is_empty() {
                return Err(format!("{table:?}, {shard:?} is there without SSTables"));
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

    /// The same SSTables, where `exchange` gives another handle of one, by that.
    pub(crate) fn exchanged(&self, mut exchange: impl FnMut(&T) -> Option<T>) -> Version<T> {
        let mut next = self.clone();
        for levels in next.shards.values_mut() {
            if let Some(exchanged) = levels.exchanged(&mut exchange) {
                *levels = Arc::new(exchanged);
            }
        }
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
        let place = (item.meta().table, item.meta().shard);
        let levels = Arc::make_mut(self.shards.entry(place).or_default());
        let inserted = levels.insert(level, item);
        if levels.is_empty() {
            self.shards.remove(&place);
        }
        inserted
    }

    /// Takes an SSTable out in place.
    fn remove(&mut self, number: u64) -> Option<(u8, T)> {
        let (level, item) = self.find(number)?;
        let place = (item.meta().table, item.meta().shard);
        self.remove_from(place, level, number).map(|item| (level, item))
    }

    /// Takes an SSTable out of a known level, in place.
    fn remove_from(&mut self, place: (TableId, Shard), level: u8, number: u64) -> Option<T> {
        let levels = Arc::make_mut(self.shards.get_mut(&place)?);
        let removed = levels.remove(level, number);
        if levels.is_empty() {
            self.shards.remove(&place);
        }
        removed
    }
}
