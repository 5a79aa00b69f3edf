//! How much of each SSTable is dead: looked up in rounds, in bounded steps.
//!
//! ```text
//! mark table ──────────────► timelines with marks ─┐       for each: what is dead, and the runs in
//! state table, for tables                          ├─►     the SSTables' directories
//! with keep-last ──────────► all their timelines ──┘   ──► dead entries of each SSTable
//! ```
//! A round begins when marks were committed, when a flush or a compaction has changed the SSTables,
//! or when a snapshot that held something back has gone. It costs what there are marks, not what
//! there are entries, and then rests for a multiple of the time it took.
//!
//! Entries that have outlived a time to live of their own are counted without a round: the record
//! of each SSTable says how many have (`own_ttl.rs`).
//!
//! # Invariants
//! 1. What counts as dead is what a job finds dead, or less: so every job that this leads to makes
//!    progress, and an SSTable counts as dead only if all of it is. Each timeline counts once.
//!    Before an SSTable is dropped it is looked at again.
//! 2. Nothing is taken from SSTables that came after the round began, and numbers are not reused.
//! 3. What cannot be read counts as alive: it is not rewritten, and whoever reads it hears of it.
//! 4. A step looks at no more than [`STEP_TIMELINES`] timelines.
//!
//! # Concurrency
//! Owned by the worker that compacts. The leader wakes it for the first marks since a round began,
//! and not for each; whatever comes during a round is seen when it has ended.

use super::Core;
use crate::compaction::{DEAD_SHARE, Dead};
use crate::entry::{TableId, expires_ms};
use crate::error::Result;
use crate::marks::{MarkKey, MarkKind};
use crate::read::View;
use crate::sstable::{Rank, RunLocation, Sstable};
use crate::sync::{Arc, Ordering};
use crate::version::{HasMeta, MARK_TABLE, STATE_TABLE, SstableMeta};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Timelines that one step looks at.
const STEP_TIMELINES: usize = 256;
/// Deleted ranges of one run that are counted; more only make it look less dead than it is.
const HOLES_COUNTED: usize = 256;
/// After a round the rest lasts so many times as long as it took.
const REST: u64 = 20;
/// While a snapshot holds something back, the rest before the next look, in milliseconds.
const SNAPSHOT_REST_MS: u64 = 1000;
/// Shortest and longest rest before what has expired by itself is looked at again, in milliseconds.
const OWN_REST_MS: (u64, u64) = (250, 30_000);

/// What a round depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cause {
    marks: u64,
    changes: u64,
    oldest: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct DeadShares {
    round: Option<Round>,
    /// The cause of the last round that ended, and when the next may begin.
    last: Option<Cause>,
    rested_ms: u64,
    /// Dead entries by number of the SSTable.
    found: BTreeMap<u64, u64>,
}

struct Round {
    cause: Cause,
    began_ms: u64,
    /// What is still to be listed, the last first: an engine's own table, and how its keys begin.
    lists: Vec<(TableId, Vec<u8>)>,
    /// Tables of which all timelines are listed: that some of them have marks counts no further.
    keeping: Vec<TableId>,
    /// The last key looked at in the present list.
    after: Option<Box<[u8]>>,
    found: BTreeMap<u64, u64>,
}

/// What is to be done now.
pub(super) enum Search {
    /// Step again.
    Running,
    /// The numbers are as new as they get; look again after so many milliseconds, if at all.
    Rests(Option<u64>),
}

impl DeadShares {
    /// Dead entries by number of the SSTable. What is dead twice counts once: of what marks hide
    /// and of what has expired by itself the larger number counts.
    pub(super) fn found(&self, view: &View, now_ms: u64, oldest: u64) -> BTreeMap<u64, u64> {
        let mut found = self.found.clone();
        // What came after the oldest moment that somebody reads at stays, see `Dead`.
        let is_over = |meta: &&SstableMeta| meta.commits.1 <= oldest;
        for meta in worth_a_look(view, now_ms).filter(is_over) {
            let expired = meta.own_ttl.expired(now_ms);
            if expired > 0 {
                let count = found.entry(meta.number).or_default();
                *count = expired.max(*count);
            }
        }
        found
    }

    /// The milliseconds until so much of an SSTable has expired by itself that it is worth a job,
    /// if that is to come.
    pub(super) fn until_own_share(core: &Core) -> Option<u64> {
        let (now_ms, oldest) = (core.expiry_now(), core.moments()[0]);
        let view = core.views.current();
        let moments = worth_a_look(&view, now_ms).filter_map(|meta| {
            let share = meta.own_ttl.when_expired(meta.entries.div_ceil(DEAD_SHARE));
            if meta.commits.1 > oldest && share.is_some_and(|moment| moment <= now_ms) {
                // A snapshot tells nobody that it goes.
                return Some(now_ms + SNAPSHOT_REST_MS);
            }
            let all = meta.own_ttl.when_expired(meta.entries);
            share.into_iter().chain(all).filter(|moment| *moment > now_ms).min()
        });
        let rest_ms = moments.min()?.saturating_sub(now_ms);
        Some(rest_ms.clamp(OWN_REST_MS.0, OWN_REST_MS.1))
    }

    /// The SSTable is not as dead as it was found.
    pub(super) fn forget(&mut self, number: u64) {
        self.found.remove(&number);
    }

    /// Goes on with a round, or begins one if there is cause. `asked`: without a rest.
    pub(super) fn step(&mut self, core: &Core, asked: bool) -> Result<Search> {
        let Some(round) = &mut self.round else {
            return Ok(self.begin(core, asked));
        };
        match round.step(core) {
            Ok(false) => Ok(Search::Running),
            Ok(true) => {
                let round = self.round.take().expect("it ended just now");
                let now_ms = core.raw_clock.monotonic_ms();
                self.rested_ms = now_ms + (now_ms - round.began_ms) * REST;
                self.last = Some(round.cause);
                self.found = round.found;
                // The worker looks for a job before it comes back here.
                Ok(Search::Running)
            }
            Err(error) => {
                self.last = self.round.take().map(|round| round.cause);
                Err(error)
            }
        }
    }

    fn begin(&mut self, core: &Core, asked: bool) -> Search {
        let view = core.views.current();
        let keeping = view.tables.values().filter(|record| record.options.keep_last.is_some());
        let keeping: Vec<TableId> = keeping.map(|record| record.id).collect();
        if view.marked.is_empty() && keeping.is_empty() {
            return Search::Rests(None);
        }
        let moments = core.moments();
        let count = |counter: &crate::sync::AtomicU64| counter.load(Ordering::SeqCst);
        let cause = Cause {
            marks: count(&core.counters.marks),
            changes: count(&core.counters.flushes) + count(&core.counters.compactions),
            // Without a snapshot the oldest moment is now, which is no cause.
            oldest: if moments.len() > 1 { moments[0] } else { u64::MAX },
        };
        if self.last == Some(cause) {
            // A snapshot tells nobody that it goes.
            return Search::Rests((moments.len() > 1).then_some(SNAPSHOT_REST_MS));
        }
        let now_ms = core.raw_clock.monotonic_ms();
        if now_ms < self.rested_ms && !asked {
            return Search::Rests(Some(self.rested_ms - now_ms));
        }
        let mut lists: Vec<_> =
            keeping.iter().map(|id| (STATE_TABLE, id.0.to_be_bytes().to_vec())).collect();
        lists.push((MARK_TABLE, Vec::new()));
        core.counters.marks_seen.store(cause.marks, Ordering::SeqCst);
        let found = BTreeMap::new();
        let after = None;
        self.round = Some(Round { cause, began_ms: now_ms, lists, keeping, after, found });
        Search::Running
    }
}

/// SSTables with entries that have a time to live of their own, which do not go as a whole soon.
fn worth_a_look(view: &View, now_ms: u64) -> impl Iterator<Item = &SstableMeta> {
    let metas = view.version.iter().map(|(_, _, sstable)| sstable.meta());
    metas.filter(move |meta| {
        let record = view.tables.get(&meta.table);
        let goes_soon = record.and_then(|record| record.options.ttl_ms).is_some_and(|ttl_ms| {
            let left_ms = expires_ms(meta.times_ms.1, ttl_ms).saturating_sub(now_ms);
            left_ms <= ttl_ms / DEAD_SHARE
        });
        meta.own_ttl.entries() > 0 && !goes_soon
    })
}

impl Round {
    /// Whether it was the last step.
    fn step(&mut self, core: &Core) -> Result<bool> {
        let Some((list, prefix)) = self.lists.last() else {
            return Ok(true);
        };
        let keys = keys_behind(core, *list, prefix, self.after.as_deref())?;
        for key in &keys {
            let place = match *list == MARK_TABLE {
                true => MarkKey::decode(key)
                    .filter(|key| key.kind == MarkKind::Timeline)
                    .filter(|key| !self.keeping.contains(&key.table))
                    .map(|key| (key.table, key.id)),
                false => key
                    .split_first_chunk()
                    .map(|(id, rest)| (TableId(u32::from_be_bytes(*id)), rest)),
            };
            if let Some((table, id)) = place {
                look_at(core, table, id, &mut self.found)?;
            }
        }
        self.after = keys.last().cloned();
        if keys.len() < STEP_TIMELINES {
            self.lists.pop();
            self.after = None;
        }
        Ok(false)
    }
}

/// The next keys of an engine's own table that begin with `prefix`: all there are, if they are
/// fewer than a step looks at.
fn keys_behind(
    core: &Core,
    table: TableId,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> Result<Vec<Box<[u8]>>> {
    let view = core.views.current();
    let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
    let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
    let mut take = |key: Box<[u8]>, taken: &mut usize| {
        let wanted = key.starts_with(prefix) && *taken < STEP_TIMELINES;
        if wanted && keys.insert(key) {
            *taken += 1;
        }
        wanted
    };
    for memtable in view.memtables() {
        let mut taken = 0;
        for version in memtable.keyed_range(table, from) {
            if !take(version.key, &mut taken) {
                break;
            }
        }
    }
    for sstable in view.sstables_of(table) {
        let mut taken = 0;
        let mut cursor = sstable.keyed_cursor(from)?;
        while let Some(version) = cursor.next()? {
            if !take(version.key, &mut taken) {
                break;
            }
        }
    }
    // Each source gave its first ones, so together they have the first ones of all.
    Ok(keys.into_iter().take(STEP_TIMELINES).collect())
}

/// What was read, if it could be.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.is_unreadable() => Ok(None),
        read => read.map(Some),
    }
}

/// Adds what is dead of a timeline to the numbers of the SSTables it lies in.
fn look_at(core: &Core, table: TableId, id: &[u8], found: &mut BTreeMap<u64, u64>) -> Result<()> {
    let dead = readable(core.dead_of(table, id))?.unwrap_or_default();
    if (Dead { own: (0, 0), ..dead.clone() }) == Dead::default() {
        return Ok(());
    }
    let view = core.views.current();
    for sstable in view.sstables(table, id).map(Arc::clone) {
        let Some(run) = readable(sstable.find(id))?.flatten() else { continue };
        let count = dead_in(&dead, &run, |by| sstable.rank(id, &run, by));
        let count = readable(count)?.unwrap_or(0);
        if count > 0 {
            *found.entry(sstable.meta().number).or_default() += count;
        }
    }
    Ok(())
}

/// Whether nobody can see anything of a run, as far as that can be read.
pub(super) fn is_dead(
    core: &Core,
    sstable: &Sstable,
    id: &[u8],
    run: &RunLocation,
) -> Result<bool> {
    let dead = readable(core.dead_of(sstable.meta().table, id))?.unwrap_or_default();
    Ok(dead_in(&dead, run, |by| sstable.rank(id, run, by))? == run.count)
}

/// Dead entries of a run. `rank` counts its entries below a value.
fn dead_in(
    dead: &Dead,
    run: &RunLocation,
    mut rank: impl FnMut(Rank) -> Result<u64>,
) -> Result<u64> {
    let (first, last, (oldest_ms, newest_ms)) = (run.first_seq, run.last_seq, run.times_ms);
    if dead.covers(first, last, newest_ms) {
        return Ok(run.count);
    }
    if dead.spares(first, last, oldest_ms) {
        return Ok(0);
    }
    let below = rank(Rank::Seq(dead.below))?.max(rank(Rank::Time(dead.before_ms))?);
    let mut total = below;
    let inside = dead.holes.iter().filter(|hole| hole.from <= last && hole.to >= first);
    for hole in inside.take(HOLES_COUNTED) {
        let from = rank(Rank::Seq(hole.from))?.max(below);
        total += rank(Rank::Seq(hole.to + 1))?.saturating_sub(from);
    }
    Ok(total.min(run.count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Hole;

    #[test]
    fn dead_entries_of_a_run_are_counted() {
        // Every second seq from 101 on was taken out before; entry k is of time 1000 + k.
        let run = RunLocation {
            first_seq: 101,
            last_seq: 299,
            count: 100,
            first_block: 0,
            last_block: 0,
            first_offset: 0,
            times_ms: (1000, 1099),
            last_commit: 9,
        };
        let rank = |by| {
            Ok(match by {
                Rank::Seq(seq) => seq.saturating_sub(100).div_euclid(2).min(100),
                Rank::Time(time_ms) => time_ms.saturating_sub(1000).min(100),
                Rank::Commit(_) => unreachable!("nobody asks"),
            })
        };
        let count = |below, before_ms, holes: &[Hole]| {
            let dead = Dead { below, before_ms, holes: Arc::from(holes), own: (0, 0) };
            dead_in(&dead, &run, rank).unwrap()
        };
        assert_eq!(count(101, 1000, &[]), 0);
        assert_eq!(count(201, 0, &[]), 50);
        assert_eq!(count(0, 1030, &[]), 30);
        assert_eq!(count(201, 1030, &[]), 50);
        assert_eq!(count(300, 0, &[]), 100);
        assert_eq!(count(0, 1100, &[]), 100);
        let holes = [Hole { from: 101, to: 120 }, Hole { from: 280, to: 400 }];
        assert_eq!(count(0, 0, &holes), 20);
        assert_eq!(count(111, 0, &holes), 20, "what is dead twice counts once");
        assert_eq!(count(0, 0, &[Hole { from: 102, to: 102 }]), 0, "it is gone already");
        assert_eq!(count(0, 0, &[Hole { from: 101, to: 299 }]), 100);
    }
}
