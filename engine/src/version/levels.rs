//! The SSTables of one shard of a table, by level.
//!
//! # Invariants
//! 1. Level 0 is ordered newest first: by number, descending, since flushes follow each other and
//!    give rising numbers. Its key ranges may overlap.
//! 2. In level 1 and above, SSTables are ordered by `(first key, first seq)`, and the last
//!    `(key, seq)` of each lies before the first of the next. A timeline may span neighbours.
//! 3. A copy shares all levels with its original until one of them changes.

use super::{HasMeta, SstableMeta};
use crate::limits::LEVEL_COUNT;
use std::cmp::Reverse;
use std::sync::Arc;

/// The levels of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels<T> {
    levels: [Arc<Vec<T>>; LEVEL_COUNT],
}

impl<T> Default for Levels<T> {
    fn default() -> Levels<T> {
        Levels { levels: std::array::from_fn(|_| Arc::default()) }
    }
}

impl<T: HasMeta> Levels<T> {
    /// The SSTables of one level, in its order.
    pub(crate) fn level(&self, level: usize) -> &[T] {
        &self.levels[level]
    }

    /// All SSTables with their levels, from level 0 on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &T)> {
        (0u8..).zip(&self.levels).flat_map(|(level, items)| items.iter().map(move |i| (level, i)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.levels.iter().all(|items| items.is_empty())
    }

    /// The SSTables of a level that may hold `key`, newest first.
    pub(crate) fn candidates<'a>(
        &'a self,
        level: usize,
        key: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = &'a T> {
        assert!(level >= 1, "in level 0 every SSTable is a candidate");
        let items = &self.levels[level];
        let start = items.partition_point(|item| *item.meta().last.0 < *key);
        let count = items[start..].partition_point(|item| *item.meta().first.0 <= *key);
        // Seqs of a timeline grow with the position, so the newest entries come last.
        items[start..start + count].iter().rev()
    }

    /// Checks the invariants of this shard.
    pub(crate) fn check(&self) -> Result<(), String> {
        let newer = |pair: &[T]| age(pair[0].meta()) < age(pair[1].meta());
        if !self.levels[0].windows(2).all(newer) {
            return Err("level 0 is not ordered newest first".to_owned());
        }
        for (level, items) in self.levels.iter().enumerate().skip(1) {
            for pair in items.windows(2) {
                if pair[0].meta().last >= pair[1].meta().first {
                    return Err(overlap(level, pair[0].meta(), pair[1].meta()));
                }
            }
        }
        Ok(())
    }
}

impl<T: HasMeta + Clone> Levels<T> {
    /// Puts an SSTable into its place; refuses where it would overlap.
    pub(super) fn insert(&mut self, level: u8, item: T) -> Result<(), String> {
        let level = usize::from(level);
        let Some(items) = self.levels.get_mut(level) else {
            return Err(format!("there is no level {level}"));
        };
        let meta = item.meta();
        let place = if level == 0 {
            items.partition_point(|other| age(other.meta()) < age(meta))
        } else {
            let place = items.partition_point(|other| other.meta().first < meta.first);
            let before = place.checked_sub(1).map(|before| items[before].meta());
            if let Some(before) = before.filter(|before| before.last >= meta.first) {
                return Err(overlap(level, before, meta));
            }
            let behind = items.get(place).map(HasMeta::meta);
            if let Some(behind) = behind.filter(|behind| meta.last >= behind.first) {
                return Err(overlap(level, meta, behind));
            }
            place
        };
        Arc::make_mut(items).insert(place, item);
        Ok(())
    }

    /// The same SSTables by other handles, if `exchange` gives one for any.
    pub(super) fn exchanged(
        &self,
        exchange: &mut impl FnMut(&T) -> Option<T>,
    ) -> Option<Levels<T>> {
        let mut next = None;
        for (level, items) in self.levels.iter().enumerate() {
            for (place, item) in items.iter().enumerate() {
                if let Some(other) = exchange(item) {
                    let next = next.get_or_insert_with(|| self.clone());
                    Arc::make_mut(&mut next.levels[level])[place] = other;
                }
            }
        }
        next
    }

    /// Takes the SSTable of this number out of a level.
    pub(super) fn remove(&mut self, level: u8, number: u64) -> Option<T> {
        let items = self.levels.get_mut(usize::from(level))?;
        let place = items.iter().position(|item| item.meta().number == number)?;
        Some(Arc::make_mut(items).remove(place))
    }
}

/// What level 0 is ordered by: the newest is the smallest.
///
/// Not by commits: a flush may cut a timeline over two SSTables, and the first of them, with the
/// older part, may still hold the newest commit of the flush in another timeline.
fn age(meta: &SstableMeta) -> Reverse<u64> {
    Reverse(meta.number)
}

fn overlap(level: usize, one: &SstableMeta, other: &SstableMeta) -> String {
    format!("SSTables {} and {} overlap in level {level}", one.number, other.number)
}
