//! The picker: which SSTables to compact next. Pure: no I/O, no locks, no clock, no randomness.
//!
//! ```text
//! level 0   [c....m] [a..........z] [b..f]   by age, ranges overlap    a job: the oldest ones
//!               |          |           |
//! level 1   [a..d] [e.....k] [l...p] [q..z]  by key, disjoint          a job: one SSTable
//!                     |
//! level 2   [a.b][c..f][f....h][i..m][n..s]  by key, disjoint
//! ```
//!
//! Every shard of a table is a level structure of its own, and nothing is merged over two of them.
//!
//! 1. A shard whose level 0 has `level0_compact` SSTables is due, half as many of keyed data, and
//!    so is each level (but the last) that holds more than its target: `level_bytes_base`, times
//!    `ratio` a level. What is furthest beyond its due comes first.
//! 2. From level 0: the oldest SSTables, in order of age, up to `level_bytes_base` bytes.
//!    From level n: the SSTable that meets the fewest bytes in level n+1, in proportion to its own.
//! 3. With it go all SSTables of the output level between its smallest and its largest place.
//! 4. Where that is none, the SSTables move by metadata alone. Small ones do not: they are merged
//!    with each other, and with a small neighbour in the output level, so that a table with little
//!    traffic does not end as thousands of tiny SSTables.
//! 5. What another job works on is busy. A job that would need something busy is not picked.
//! 6. Where nothing is due, reads may ask: `locality.rs` names an SSTable that scans reach only
//!    after many others, and [`pick_over`] takes what lies over it one level down. Such a job is
//!    one of those that would have come anyway, only earlier, so all that follows holds for it.
//!
//! # Invariants
//! A *place* is a pair (key, seq). Reads lean on 1 and 2, keyed merges also on 6.
//! 1. Inside level n >= 1 the places of SSTables are disjoint. Proof: the outputs of a job lie
//!    between the smallest and the largest place of its inputs, and every SSTable of the output
//!    level that meets this range is an input; no other job has outputs there, since it would need
//!    one of the same inputs, which are busy.
//!    A small neighbour (4.) widens the range by a gap in which the output level has nothing, and
//!    a job of what the level above has there would need none of the same inputs. So jobs between
//!    levels are one at a time; those beside them write in place, out of level 0, or elsewhere.
//! 2. For one timeline, everything in level n+1 is older (smaller seqs) than everything in level n,
//!    and in level 0 higher numbers are newer. By induction over jobs:
//!    - Flushes add to level 0 what is newer than everything, with a higher number.
//!    - A job from level 0 takes the *oldest* ones, without a gap, so nothing that stays in level 0
//!      is older than what goes. What it joins in level 1 is older than level 0.
//!    - A job from level n >= 1 takes an SSTable only if the one to its left does not end with the
//!      key with which it begins. A timeline that is cut over neighbours thus goes down from its
//!      oldest part on; what stays in level n of any timeline is newer than what goes. What is in
//!      level n+1 is older by induction.
//! 3. The inputs of a job are listed so that for any one timeline the older data come first: the
//!    output level first, by place; then the level above, level 0 by age, others by place.
//! 4. A job from level 0 reads at most `level_bytes_base` of level 0 (or one SSTable), and the
//!    overlapping part of level 1; a job from level n reads one SSTable and what it meets.
//! 5. A job makes progress: its inputs leave their level, or become fewer. (So a picker called
//!    again and again ends with `None`.)
//! 6. A keyed table never cuts the versions of a key over two SSTables of one level: 1 then holds
//!    for keys alone, and `below` of a job names every place where older versions may be.

use super::key_ranges::KeyRanges;
use crate::entry::TableId;
use crate::limits::LEVEL_COUNT;
use crate::version::{HasMeta, Shard, SstableMeta, TableKind, Version};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;

/// A level's fill is counted in thousandths of its due.
const FULL: u64 = 1000;
/// An SSTable below this share (1/n) of the target size is small.
const SMALL_SHARE: u64 = 4;

/// What the picker goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PickerOptions {
    /// SSTables in level 0 of a shard at which it is due.
    pub(crate) level0_compact: usize,
    /// Target of level 1 in bytes, and most bytes that one job takes from level 0.
    pub(crate) level_bytes_base: u64,
    /// Target of level n+1 in terms of that of level n.
    pub(crate) ratio: u64,
    /// Target size of one SSTable.
    pub(crate) sstable_bytes: u64,
}

/// How a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum JobKind {
    /// The inputs get another level in the manifest; no data are touched.
    Move,
    /// The inputs are read, and their contents written anew.
    Merge,
    /// The inputs go: everything in them is dead. No data are touched.
    Drop,
}

/// One compaction.
#[derive(Debug, Clone)]
pub(crate) struct Job<T> {
    /// All inputs are of this table.
    pub(crate) table: TableId,
    /// The shard of the outputs: that of the inputs, but for a move to the cold tier.
    pub(crate) shard: Shard,
    /// The inputs and their levels: for any one timeline older data come first.
    pub(crate) inputs: Vec<(u8, T)>,
    /// Where the outputs go.
    pub(crate) output_level: u8,
    /// How.
    pub(crate) kind: JobKind,
    /// Keyed tables: the keys of which the levels below the output may hold older versions.
    pub(crate) below: KeyRanges,
}

impl<T: HasMeta> Job<T> {
    /// The numbers of the inputs: busy while the job runs.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.inputs.iter().map(|(_, sstable)| sstable.meta().number)
    }

    /// Whether the inputs are of another tier than the outputs.
    pub(crate) fn leaves_tier(&self) -> bool {
        self.inputs.iter().any(|(_, sstable)| sstable.meta().shard.tier != self.shard.tier)
    }
}

/// The most urgent job that needs nothing of `busy`, if any is due.
pub(crate) fn pick<T: HasMeta + Clone>(
    version: &Version<T>,
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    let candidates: Vec<_> = version
        .all_shards()
        .map(|(table, shard, levels)| {
            let levels = std::array::from_fn(|level| levels.level(level));
            Candidate { table, shard, levels, options, busy }
        })
        .collect();
    let mut due = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        due.extend(candidate.due().map(|(fill, level)| (Reverse(fill), index, level)));
    }
    due.sort_unstable();
    due.into_iter().find_map(|(_, index, level)| candidates[index].job(level))
}

/// Bytes of the SSTables that jobs would rewrite now, each counted once: for every level that is
/// due one job, the most urgent first. What moves by metadata alone is not among them; what these
/// jobs make due is not foreseen.
pub(crate) fn debt_bytes<T: HasMeta + Clone>(version: &Version<T>, options: &PickerOptions) -> u64 {
    let (mut busy, mut bytes) = (BTreeSet::new(), 0);
    // One job of each level that is due, as workers would do them side by side.
    let shards: Vec<_> = version.all_shards().collect();
    let mut due = Vec::new();
    for (index, (table, shard, levels)) in shards.iter().enumerate() {
        let levels = std::array::from_fn(|level| levels.level(level));
        let candidate = Candidate { table: *table, shard: *shard, levels, options, busy: &busy };
        due.extend(candidate.due().map(|(fill, level)| (Reverse(fill), index, level)));
    }
    due.sort_unstable();
    for (_, index, level) in due {
        let (table, shard, levels) = shards[index];
        let levels = std::array::from_fn(|level| levels.level(level));
        let job = Candidate { table, shard, levels, options, busy: &busy }.job(level);
        let Some(job) = job else {
            continue;
        };
        busy.extend(job.numbers());
        if job.kind == JobKind::Merge {
            bytes += job.inputs.iter().map(|(_, sstable)| sstable.meta().bytes).sum::<u64>();
        }
    }
    bytes
}

/// The job that takes the oldest of a shard's level 0 down, due or not.
pub(super) fn pick_level0<T: HasMeta + Clone>(
    version: &Version<T>,
    wanted: (TableId, Shard),
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    let mut shards = version.all_shards();
    let (table, shard, levels) = shards.find(|(table, shard, _)| (*table, *shard) == wanted)?;
    if levels.level(0).is_empty() {
        return None;
    }
    let levels = std::array::from_fn(|level| levels.level(level));
    Candidate { table, shard, levels, options, busy }.job(0)
}

/// The job that takes what lies over an SSTable one level down: of the next level above it that
/// shares keys with it. For level 0 itself, the oldest of it.
pub(super) fn pick_over<T: HasMeta + Clone>(
    version: &Version<T>,
    number: u64,
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    let (level, item) = version.find(number)?;
    let meta = item.meta();
    let mut shards = version.all_shards();
    let (table, shard, levels) =
        shards.find(|(table, shard, _)| (*table, *shard) == (meta.table, meta.shard))?;
    let levels = std::array::from_fn(|level| levels.level(level));
    let candidate = Candidate { table, shard, levels, options, busy };
    for upper in (1..usize::from(level)).rev() {
        let over = candidate.sharing_keys(upper, meta);
        if !over.is_empty() {
            return over.into_iter().find_map(|index| candidate.job_of(upper, index));
        }
    }
    let level0 = levels[0].iter().any(|item| shares_keys(item.meta(), meta));
    level0.then(|| candidate.job(0)).flatten()
}

/// The levels of one shard, and what a decision needs beside them.
struct Candidate<'a, T> {
    table: TableId,
    shard: Shard,
    /// Level 0 newest first, the others by place.
    levels: [&'a [T]; LEVEL_COUNT],
    options: &'a PickerOptions,
    busy: &'a BTreeSet<u64>,
}

impl<T: HasMeta + Clone> Candidate<'_, T> {
    /// The levels that are due, with how far they are filled.
    fn due(&self) -> impl Iterator<Item = (u64, usize)> {
        (0..LEVEL_COUNT - 1)
            .map(|level| (self.fill(level), level))
            .filter(|(fill, _)| *fill >= FULL)
    }

    /// How far a level is filled, in thousandths of what makes it due.
    fn fill(&self, level: usize) -> u64 {
        if level == 0 {
            let due = self.level0_due().max(1) as u64;
            return (self.levels[0].len() as u64).saturating_mul(FULL) / due;
        }
        let bytes: u64 = self.levels[level].iter().map(|sstable| sstable.meta().bytes).sum();
        let mut target = self.options.level_bytes_base.max(1);
        for _ in 1..level {
            target = target.saturating_mul(self.options.ratio.max(1));
        }
        // Due only beyond the target.
        bytes.saturating_sub(1).saturating_mul(FULL) / target
    }

    /// SSTables in level 0 that make it due. Entries of timelines lie there as well as below, and
    /// only readers mind. Of keyed tables each may hold another version of the same keys, which
    /// takes room, so these wait for half as many.
    fn level0_due(&self) -> usize {
        let is_keyed = |sstable: &T| sstable.meta().kind == TableKind::Keyed;
        match self.levels[0].first().is_some_and(is_keyed) {
            true => self.options.level0_compact.div_ceil(2),
            false => self.options.level0_compact,
        }
    }

    /// The job that `level` needs, unless what it needs is busy.
    fn job(&self, level: usize) -> Option<Job<T>> {
        let (upper, lower) = if level == 0 {
            let upper = self.oldest_of_level0();
            if upper.iter().any(|sstable| self.is_busy(sstable)) {
                return None;
            }
            let lower = self.met_by(&upper, 1);
            (upper, lower)
        } else {
            self.cheapest_of(level)?
        };
        if self.levels[level + 1][lower.clone()].iter().any(|sstable| self.is_busy(sstable)) {
            return None;
        }
        Some(self.build(level, upper, lower))
    }

    /// The oldest SSTables of level 0, by age, as many as a job may take.
    fn oldest_of_level0(&self) -> Vec<T> {
        let mut taken = 0u64;
        let mut upper = Vec::new();
        for sstable in self.levels[0].iter().rev() {
            taken = taken.saturating_add(sstable.meta().bytes);
            if !upper.is_empty() && taken > self.options.level_bytes_base {
                break;
            }
            upper.push(sstable.clone());
        }
        upper
    }

    /// The SSTable of a level below 0 that meets the fewest bytes in the next one, and what it
    /// meets.
    fn cheapest_of(&self, level: usize) -> Option<(Vec<T>, Range<usize>)> {
        let sstables = self.levels[level];
        let next = self.levels[level + 1];
        let mut best: Option<(u64, usize, Range<usize>)> = None;
        for (index, sstable) in sstables.iter().enumerate() {
            // Invariant 2: of a timeline that is cut over neighbours the oldest part goes first.
            if self.is_cut(level, index) || self.is_busy(sstable) {
                continue;
            }
            let met = self.met_by(std::slice::from_ref(sstable), level + 1);
            if next[met.clone()].iter().any(|sstable| self.is_busy(sstable)) {
                continue;
            }
            let bytes: u64 = next[met.clone()].iter().map(|sstable| sstable.meta().bytes).sum();
            let cost = bytes.saturating_mul(FULL) / sstable.meta().bytes.max(1);
            if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, index, met));
            }
        }
        best.map(|(_, index, met)| (vec![sstables[index].clone()], met))
    }

    /// The indexes of the SSTables of a level below 0 that share keys with `meta`, and of those to
    /// their left that must go first.
    fn sharing_keys(&self, level: usize, meta: &SstableMeta) -> Range<usize> {
        let sstables = self.levels[level];
        let mut start = sstables.partition_point(|item| item.meta().last.0 < meta.first.0);
        let end = sstables.partition_point(|item| item.meta().first.0 <= meta.last.0);
        while start < end && self.is_cut(level, start) {
            start -= 1;
        }
        start..end.max(start)
    }

    /// Whether an SSTable of a level below 0 begins with the timeline with which its left neighbour
    /// ends.
    fn is_cut(&self, level: usize, index: usize) -> bool {
        let sstables = self.levels[level];
        index > 0 && sstables[index - 1].meta().last.0 == sstables[index].meta().first.0
    }

    /// The job that takes this SSTable of a level below 0 down, unless something keeps it.
    fn job_of(&self, level: usize, index: usize) -> Option<Job<T>> {
        let upper = vec![self.levels[level][index].clone()];
        let met = self.met_by(&upper, level + 1);
        let mut needed = upper.iter().chain(&self.levels[level + 1][met.clone()]);
        let kept = self.is_cut(level, index) || needed.any(|item| self.is_busy(item));
        (!kept).then(|| self.build(level, upper, met))
    }

    /// The SSTables of `level`, one below 0, between the smallest and the largest place of `upper`.
    fn met_by(&self, upper: &[T], level: usize) -> Range<usize> {
        let first = upper.iter().map(|sstable| &sstable.meta().first).min();
        let last = upper.iter().map(|sstable| &sstable.meta().last).max();
        let (Some(first), Some(last)) = (first, last) else {
            return 0..0;
        };
        let sstables = self.levels[level];
        let start = sstables.partition_point(|sstable| sstable.meta().last < *first);
        let end = sstables.partition_point(|sstable| sstable.meta().first <= *last);
        start..end.max(start)
    }

    fn build(&self, level: usize, upper: Vec<T>, mut lower: Range<usize>) -> Job<T> {
        let output = level + 1;
        let free = lower.is_empty() && are_disjoint(&upper);
        let movable = free && upper.iter().all(|sstable| !self.is_small(sstable.meta()));
        if !movable {
            lower = self.with_small_neighbours(output, lower);
        }
        let alone = lower.is_empty() && upper.len() == 1;
        let kind = if movable || alone { JobKind::Move } else { JobKind::Merge };
        let below = self.below(&upper, &self.levels[output][lower.clone()], output);
        let lower =
            self.levels[output][lower].iter().map(|sstable| (number8(output), sstable.clone()));
        let upper = upper.into_iter().map(|sstable| (number8(level), sstable));
        let inputs = lower.chain(upper).collect();
        Job {
            table: self.table,
            shard: self.shard,
            inputs,
            output_level: number8(output),
            kind,
            below,
        }
    }

    /// The range, and the neighbour on each side if it is small and nobody works on it.
    fn with_small_neighbours(&self, level: usize, range: Range<usize>) -> Range<usize> {
        let sstables = self.levels[level];
        let takes = |index: usize| {
            let sstable = sstables.get(index);
            sstable.is_some_and(|found| self.is_small(found.meta()) && !self.is_busy(found))
        };
        let start =
            if range.start > 0 && takes(range.start - 1) { range.start - 1 } else { range.start };
        let end = if takes(range.end) { range.end + 1 } else { range.end };
        start..end
    }

    /// The key ranges below `output` that inputs may have older versions in.
    fn below(&self, upper: &[T], lower: &[T], output: usize) -> KeyRanges {
        let inputs = || upper.iter().chain(lower).map(HasMeta::meta);
        if inputs().any(|meta| meta.kind == TableKind::Timeline) {
            return KeyRanges::default();
        }
        let deeper = self.levels[output + 1..].iter().flat_map(|level| level.iter());
        let met =
            deeper.map(HasMeta::meta).filter(|meta| inputs().any(|input| input.overlaps(meta)));
        KeyRanges::new(met.map(|meta| (meta.first.0.clone(), meta.last.0.clone())))
    }

    fn is_busy(&self, sstable: &T) -> bool {
        self.busy.contains(&sstable.meta().number)
    }

    fn is_small(&self, meta: &SstableMeta) -> bool {
        meta.bytes < self.options.sstable_bytes / SMALL_SHARE
    }
}

/// Whether a key may be in both.
pub(super) fn shares_keys(one: &SstableMeta, other: &SstableMeta) -> bool {
    one.first.0 <= other.last.0 && other.first.0 <= one.last.0
}

/// Whether no two of the SSTables share a place.
fn are_disjoint<T: HasMeta>(sstables: &[T]) -> bool {
    let mut metas: Vec<&SstableMeta> = sstables.iter().map(HasMeta::meta).collect();
    metas.sort_unstable_by_key(|meta| &meta.first);
    metas.is_sorted_by(|left, right| left.last < right.first)
}

fn number8(level: usize) -> u8 {
    u8::try_from(level).expect("there are few levels")
}
