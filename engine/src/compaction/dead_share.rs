//! Which SSTables are rewritten, or dropped, because of what is dead in them. Pure.
//!
//! 1. An SSTable in which everything is dead goes, wherever it is: no data are touched.
//! 2. One of level 1 or deeper that is a quarter dead is written anew in its place, without the
//!    dead; it keeps its level, and its outputs lie between its ends.
//! 3. Level 0 is in order of age, so nothing is written anew there: a shard whose level 0 is a
//!    quarter dead is compacted into level 1.
//!
//! # Invariants
//! 1. The places of a level stay disjoint: outputs lie inside the place of their one input.
//! 2. A job makes progress: the shares come from what the job itself will find dead, or less.

use super::key_ranges::KeyRanges;
use super::picker::{Job, JobKind, PickerOptions, pick_level0};
use crate::version::{HasMeta, Version};
use std::collections::{BTreeMap, BTreeSet};

/// An SSTable is written anew when one in so many of its entries is dead.
pub(crate) const DEAD_SHARE: u64 = 4;

/// The job that drops or frees most, if one is worth it. `dead`: dead entries by number of the
/// SSTable; where they are as many as it has, all are.
pub(crate) fn pick_dead<T: HasMeta + Clone>(
    version: &Version<T>,
    dead: &BTreeMap<u64, u64>,
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    if dead.is_empty() {
        return None;
    }
    let dead_in = |item: &T| dead.get(&item.meta().number).copied().unwrap_or(0);
    let mut best: Option<((bool, u64), Job<T>)> = None;
    for (table, shard, levels) in version.all_shards() {
        let entries: u64 = levels.level(0).iter().map(|item| item.meta().entries).sum();
        let level0: u64 = levels.level(0).iter().map(&dead_in).sum();
        for (level, item) in levels.iter() {
            let (meta, count) = (item.meta(), dead_in(item));
            if count == 0 || busy.contains(&meta.number) {
                continue;
            }
            let kind = if count >= meta.entries { JobKind::Drop } else { JobKind::Merge };
            if kind == JobKind::Merge && (level == 0 || count * DEAD_SHARE < meta.entries) {
                continue;
            }
            // What costs nothing comes first.
            let freed = meta.bytes.saturating_mul(count) / meta.entries.max(1);
            let worth = (kind == JobKind::Drop, freed);
            if best.as_ref().is_some_and(|(most, _)| *most >= worth) {
                continue;
            }
            best = Some((worth, Job { kind, ..rewrite_in_place(level, item) }));
        }
        if best.is_none() && level0 > 0 && level0 * DEAD_SHARE >= entries {
            let job = pick_level0(version, (table, shard), options, busy);
            best = job.map(|job| ((false, 0), job));
        }
    }
    best.map(|(_, job)| job)
}

/// The job that writes one SSTable anew, at its level and in its place.
pub(super) fn rewrite_in_place<T: HasMeta + Clone>(level: u8, item: &T) -> Job<T> {
    let (inputs, below) = (vec![(level, item.clone())], KeyRanges::default());
    let (table, shard) = (item.meta().table, item.meta().shard);
    Job { table, shard, inputs, output_level: level, kind: JobKind::Merge, below }
}
