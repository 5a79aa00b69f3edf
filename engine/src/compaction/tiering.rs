//! What goes to the cold tier, and when. Pure: no I/O, no locks, no clock, no randomness.
//!
//! ```text
//! hot    [window 3: 90 ..] [window 2: 60 .. 90] [window 1: 30 .. 60]      newest entry of window 1
//!                                                     │                   older than `cold_after`
//!                                                     ▼ piece by piece, each a job and a root
//! cold                                          [window 0: .. 60]  level 0, behind what was there
//! ```
//! 1. A table with `cold_after` gives its oldest hot window away as soon as the newest entry in it
//!    is older than that: in pieces of bounded size (`move_piece.rs`), looked for one by one.
//!    Windows go in order of age, one behind the other. A window that has begun to move and gets
//!    newer entries, or other options, waits where it is: both parts are in order.
//! 2. A table that is born cold is flushed to the cold tier. It has hot windows only where it was
//!    not born so, or where the cold file could not be written; these go first, at once, and until
//!    they are gone flushes go to the hot tier.
//! 3. Cold windows are as wide as those by which the table expires; a table without TTL has one.
//!
//! # Invariants
//! 1. For one timeline all cold entries are older than all hot ones. By induction: what moves is of
//!    the oldest hot window, and in it the oldest of each timeline (`move_piece.rs`); a flush goes
//!    to the cold tier only if there is no hot window.
//! 2. For one timeline cold windows of a lower number hold older entries: no job ever goes to a
//!    window below the newest that is there, whatever becomes of the TTL. So the pieces of a window
//!    go to one cold window, or, where it got newer entries meanwhile, to a later one.
//! 3. Level 0 of a cold shard is in order of age by number, as everywhere: outputs of a move get
//!    higher numbers than those of the moves and flushes before.

use super::key_ranges::KeyRanges;
use super::move_piece::piece;
use super::picker::{Job, JobKind};
use crate::entry::TableId;
use crate::limits::TTL_WINDOWS;
use crate::options::TableOptions;
use crate::version::{HasMeta, Levels, Shard, SstableMeta, TableKind, Tier, Version};
use std::collections::BTreeSet;

/// The next move that needs nothing of `busy`, if one is due: of at most `piece_bytes`, or one
/// SSTable. Tables that come first in `tables` go first.
pub(crate) fn pick_move<'a, T: HasMeta + Clone>(
    version: &Version<T>,
    tables: impl Iterator<Item = (TableId, &'a TableOptions)>,
    now_ms: u64,
    piece_bytes: u64,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    let mut due = tables.filter_map(|(table, options)| {
        let (due_ms, levels) = oldest_hot(version, table, options)?;
        if due_ms > now_ms {
            return None;
        }
        let piece = piece(levels, piece_bytes, busy);
        (!piece.is_empty()).then(|| job(version, table, options, levels, &piece))
    });
    due.next()
}

/// When the next move is due, in milliseconds since 1970; `None` where no data wait for it.
pub(crate) fn next_move_ms<'a, T: HasMeta + Clone>(
    version: &Version<T>,
    tables: impl Iterator<Item = (TableId, &'a TableOptions)>,
) -> Option<u64> {
    let due = tables.filter_map(|(table, options)| oldest_hot(version, table, options));
    due.map(|(due_ms, _)| due_ms).min()
}

/// Hot windows whose turn to become cold has come, and their bytes.
pub(crate) fn due_moves<'a, T: HasMeta>(
    version: &Version<T>,
    tables: impl Iterator<Item = (TableId, &'a TableOptions)>,
    now_ms: u64,
) -> (u64, u64) {
    let (mut windows, mut bytes) = (0, 0);
    for (table, options) in tables {
        let Some(age_ms) = hot_age_ms(options) else {
            continue;
        };
        let hot = version.shards(table).filter(|(shard, _)| shard.tier == Tier::Hot);
        let mut hot: Vec<_> = hot.map(|(_, levels)| levels).collect();
        hot.reverse();
        // They go oldest first, each behind the one before.
        let is_due = |levels: &&&Levels<T>| newest_ms(levels).saturating_add(age_ms) <= now_ms;
        for levels in hot.iter().take_while(is_due) {
            windows += 1;
            bytes += levels.iter().map(|(_, sstable)| sstable.meta().bytes).sum::<u64>();
        }
    }
    (windows, bytes)
}

/// Whether a flush of the table goes to the cold tier, and then the lowest window that it may go
/// to. `usable`: the cold tier can be written.
pub(crate) fn cold_flush<T: HasMeta>(
    version: &Version<T>,
    table: TableId,
    options: &TableOptions,
    usable: bool,
) -> Option<u64> {
    let hot = version.shards(table).any(|(shard, _)| shard.tier == Tier::Hot);
    let cold = options.placement == Tier::Cold && usable && !hot;
    cold.then(|| newest_cold(version, table))
}

/// The newest cold window of a table; 0 where there is none.
fn newest_cold<T: HasMeta>(version: &Version<T>, table: TableId) -> u64 {
    let cold = version.shards(table).filter(|(shard, _)| shard.tier == Tier::Cold);
    cold.map(|(shard, _)| shard.window).max().unwrap_or(0)
}

/// The cold shard for data whose newest entry is of `newest_ms`.
fn cold_shard<T: HasMeta>(
    version: &Version<T>,
    table: TableId,
    options: &TableOptions,
    newest_ms: u64,
) -> Shard {
    let width = options.ttl_ms.map_or(0, |ttl| (ttl / TTL_WINDOWS).max(1));
    let window = newest_ms.checked_div(width).map_or(0, |number| number * width);
    Shard { tier: Tier::Cold, window: window.max(newest_cold(version, table)) }
}

/// The oldest hot window of a table that gives windows away, and when it is due.
fn oldest_hot<'a, T: HasMeta>(
    version: &'a Version<T>,
    table: TableId,
    options: &TableOptions,
) -> Option<(u64, &'a Levels<T>)> {
    let age_ms = hot_age_ms(options)?;
    // Newest first, as readers go through them.
    let (_, levels) =
        version.shards(table).take_while(|(shard, _)| shard.tier == Tier::Hot).last()?;
    Some((newest_ms(levels).saturating_add(age_ms), levels))
}

/// How old the newest entry of a hot window becomes before the window moves; `None`: it never does.
fn hot_age_ms(options: &TableOptions) -> Option<u64> {
    match (options.kind, options.placement) {
        (TableKind::Keyed, _) => None,
        (TableKind::Timeline, Tier::Cold) => Some(0),
        (TableKind::Timeline, Tier::Hot) => options.cold_after_ms,
    }
}

fn newest_ms<T: HasMeta>(levels: &Levels<T>) -> u64 {
    levels.iter().map(|(_, sstable)| sstable.meta().times_ms.1).max().unwrap_or(0)
}

fn job<T: HasMeta + Clone>(
    version: &Version<T>,
    table: TableId,
    options: &TableOptions,
    levels: &Levels<T>,
    piece: &BTreeSet<u64>,
) -> Job<T> {
    let moving = levels.iter().filter(|(_, sstable)| piece.contains(&sstable.meta().number));
    let mut inputs: Vec<(u8, T)> =
        moving.map(|(level, sstable)| (level, sstable.clone())).collect();
    // For one timeline older data first: the deepest level, by place; level 0 by age.
    let age = |level: u8, meta: &SstableMeta| if level == 0 { meta.number } else { 0 };
    inputs.sort_by_key(|(level, sstable)| (std::cmp::Reverse(*level), age(*level, sstable.meta())));
    Job {
        table,
        shard: cold_shard(version, table, options, newest_ms(levels)),
        inputs,
        output_level: 0,
        kind: JobKind::Merge,
        below: KeyRanges::default(),
    }
}
