//! What is known of a timeline: the newest of its run in a memtable, its run in an SSTable, and its
//! record in the state table.
//!
//! Memtables are newer than all that is on disk. Of the two on disk either may be newer: a record
//! is brought up to date only before the last hot SSTable that knows as much goes.
//!
//! # Invariants
//! 1. What a cold SSTable knows of a timeline, a record or something hot knows as well: moves and
//!    flushes to the cold tier write records. So nobody who asks for a state waits for the disk of
//!    the cold tier, or needs it.

use super::View;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::memtable::Run;
use crate::sstable::{RunLocation, Sstable};
use crate::state::{StateRecord, state_key};
use crate::sync::Arc;
use crate::version::{HasMeta, STATE_TABLE, Tier};
use std::collections::BTreeSet;

/// The newest that is known of a timeline; `None` where it was never written.
pub(crate) fn known_state(view: &View, table: TableId, key: &[u8]) -> Result<Option<StateRecord>> {
    for memtable in view.memtables() {
        let run = memtable.run(table, key);
        if let Some(state) = run.and_then(|run| state_in_memory(&run, u64::MAX)) {
            return Ok(Some(state));
        }
    }
    state_on_disk(view, table, key)
}

/// The same without what is in memory.
pub(super) fn state_on_disk(
    view: &View,
    table: TableId,
    key: &[u8],
) -> Result<Option<StateRecord>> {
    let run = newest_run(view, table, key)?.map(|run| state_of_run(&run));
    if run.is_some() && keeps_newest(view, table) {
        // One page of one directory: the record could not say more.
        return Ok(run);
    }
    Ok(newest_of(newest_record(view, table, key)?, run))
}

/// Whether the newest entry of a timeline is never left out while an older one is there: deleted
/// ranges alone do that, and the marks of a table whose ranges hid something stay. Expiry takes
/// whole SSTables, and may take one whose newest entry is newer than what others have; an entry
/// with a time to live of its own may go before older ones.
fn keeps_newest(view: &View, table: TableId) -> bool {
    let record = view.tables.get(&table);
    let never_expired = record
        .is_some_and(|record| record.options.ttl_ms.is_none() && record.expired_before_ms == 0);
    never_expired && !view.marked.contains(&table) && !view.own_ttl.contains(&table)
}

/// The newest entry of a run that a snapshot of `commit` shows.
pub(super) fn state_in_memory(run: &Run, commit: u64) -> Option<StateRecord> {
    let last = run.count_at(commit).checked_sub(1)?;
    Some(StateRecord {
        next_seq: run.seq(last).saturating_add(1),
        last_commit: run.commit(last),
        last_time_ms: run.time_ms(last),
    })
}

/// What an SSTable's directory says of a timeline.
pub(crate) fn state_of_run(run: &RunLocation) -> StateRecord {
    StateRecord {
        next_seq: run.last_seq.saturating_add(1),
        last_commit: run.last_commit,
        last_time_ms: run.times_ms.1,
    }
}

/// The one that tells of a later moment.
pub(crate) fn newest_of(
    one: Option<StateRecord>,
    other: Option<StateRecord>,
) -> Option<StateRecord> {
    match (one, other) {
        (Some(one), Some(other)) if other.is_newer_than(&one) => Some(other),
        (one, other) => one.or(other),
    }
}

/// The newest run in the hot tier. Who asks has often a timeline that is new, and in none of them.
/// The filters tell, of which one line each is wanted: they are asked of memory at once, and where
/// SSTables were written past the page cache they are a thirtieth of what their directories are.
fn newest_run(view: &View, table: TableId, key: &[u8]) -> Result<Option<RunLocation>> {
    hot_sstables(view, table, key).for_each(|sstable| sstable.touch_filter(key));
    for sstable in hot_sstables(view, table, key) {
        // One that cannot be read denies nothing.
        if sstable.filter_contains(key).unwrap_or(true)
            && let Some(run) = sstable.find_run(key, &mut 0)?
        {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// Hot SSTables that may hold `key`, newest data first.
fn hot_sstables<'a>(
    view: &'a View,
    table: TableId,
    key: &'a [u8],
) -> impl Iterator<Item = &'a Arc<Sstable>> {
    // The hot shards of a table come first.
    view.sstables(table, key).take_while(|sstable| sstable.meta().shard.tier == Tier::Hot)
}

/// The newest durable record of a timeline, if it has one.
pub(crate) fn newest_record(
    view: &View,
    table: TableId,
    key: &[u8],
) -> Result<Option<StateRecord>> {
    recorded_state(view, table, key, u64::MAX)
}

/// The newest record of a timeline up to a commit, if it has one in the state table.
///
/// Every SSTable that has one is asked: who found that a record was needed may have been overtaken
/// by somebody who knew of newer entries, and whose record lies below.
pub(crate) fn recorded_state(
    view: &View,
    table: TableId,
    key: &[u8],
    commit: u64,
) -> Result<Option<StateRecord>> {
    let key = state_key(table, key);
    newest_among(view.sstables(STATE_TABLE, &key), &key, commit)
}

fn newest_among<'a>(
    sstables: impl Iterator<Item = &'a Arc<Sstable>>,
    key: &[u8],
    commit: u64,
) -> Result<Option<StateRecord>> {
    let mut newest = None;
    for sstable in sstables {
        if let Some(version) = sstable.versions(key, commit)?.first() {
            let record = StateRecord::decode(&version.value).map_err(|error| {
                let place = sstable.meta().extent.offset;
                Error::corruption("timeline state", place, error.to_string())
            })?;
            newest = newest_of(newest, Some(record));
        }
    }
    Ok(newest)
}

/// Whether a memtable, a record, or a hot SSTable that is not `leaving`, knows as much of a
/// timeline as `state`, so that they may go without a new record. An SSTable that cannot be read
/// counts as knowing nothing: at worst a record is written that says nothing new.
///
/// `published`: the newest published commit. What a memtable holds behind it may be in the log, or
/// never come there: the sync of the root in which they go does not speak of it.
pub(crate) fn is_known_without(
    view: &View,
    table: TableId,
    key: &[u8],
    state: &StateRecord,
    leaving: &BTreeSet<u64>,
    published: u64,
) -> Result<bool> {
    let mut runs = view.memtables().filter_map(|memtable| memtable.run(table, key));
    if runs.any(|run| run.count_at(published) > 0) {
        return Ok(true);
    }
    let stays = |sstable: &&Arc<Sstable>| !leaving.contains(&sstable.meta().number);
    for sstable in hot_sstables(view, table, key).filter(stays) {
        let run = match sstable.find(key) {
            Ok(run) => run,
            Err(error) if error.is_unreadable() => None,
            Err(error) => return Err(error),
        };
        if let Some(run) = run {
            // Sources come newest first: if this one is older, so are all behind it.
            if !state.is_newer_than(&state_of_run(&run)) {
                return Ok(true);
            }
            break;
        }
    }
    let record = newest_record(view, table, key)?;
    Ok(record.is_some_and(|record| !state.is_newer_than(&record)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Compression, ReadMode};
    use crate::sstable::testing::{Fixture, options};
    use crate::version::TableKind;

    /// A job that drops SSTables had looked at a timeline; while it went on, the timeline was
    /// written, deleted and dropped by another, whose record got the lower number. The seqs between
    /// were given out again.
    #[test]
    fn a_record_that_was_overtaken_hides_nothing() {
        let (table, key) = (TableId(16), &b"room"[..]);
        let written = |next_seq, last_commit| {
            let record = StateRecord { next_seq, last_commit, last_time_ms: 5 };
            let options = options(TableKind::Keyed, Compression::None);
            let fixture = Fixture::build(options, 4096, |builder| {
                builder.add_version(&record.version(table, key))
            });
            (record, fixture.unwrap().open(ReadMode::Read))
        };
        let (old, overtaken) = written(11, 10);
        let (new, newest) = written(21, 20);
        let key = state_key(table, key);
        let among = |sstables: [&Arc<Sstable>; 2], commit| {
            newest_among(sstables.into_iter(), &key, commit).unwrap()
        };
        for order in [[&overtaken, &newest], [&newest, &overtaken]] {
            assert_eq!(among(order, u64::MAX), Some(new));
            assert_eq!(among(order, 19), Some(old), "as a snapshot sees it");
            assert_eq!(among(order, 9), None);
        }
    }
}
