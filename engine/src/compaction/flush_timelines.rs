//! The part of a flush that writes timelines: one portion of the runs of one table.
//!
//! ```text
//! runs, by key   ──► places of the next entries ──► their messages touched ──► SSTable builder
//! ```
//! Entries of one run name messages all over the memtable. Those of the next few entries are
//! touched together before they are read: memory brings several at once in the time of one.
//!
//! # Invariants
//! 1. Entries go out by key, and along a run from the oldest on.
//!
//! # Concurrency
//! Owned by the flush. The memtable is frozen.

use super::flush::{ENTRY_OVERHEAD, STEP_BYTES, Stepped};
use super::output::SstableSink;
use super::sharing::SharedPayloads;
use crate::entry::{Direction, Entry, Origin, TableId, expires_ms};
use crate::error::Result;
use crate::memtable::{LargeEntry, Placed, Run, RunCursor};
use crate::sstable::{EntryRef, OriginRef, Shared};
use crate::version::Shard;
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries whose messages are touched together.
const GATHERED_MAX: usize = 32;

/// A part of a timeline table's runs: what goes to one shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion {
    pub(super) table: TableId,
    pub(super) shard: Shard,
    /// Entries committed from this time on, and before that one.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    /// The expiry clock when the flush began: what has outlived its own time to live is left out.
    pub(super) now_ms: u64,
    /// Up to this commit: what came later tells a snapshot how far its timeline had come.
    pub(super) last_commit: u64,
}

/// Writes one portion of the runs of a timeline table.
#[derive(Debug)]
pub(super) struct TimelineStage {
    portion: Portion,
    runs: Arc<[Run]>,
    /// The run that comes next.
    next: usize,
    current: Option<RunCursor>,
    /// Entries of the current run that are still to come.
    left: usize,
    /// The next entries, each with the index of its run.
    gathered: VecDeque<(usize, Placed)>,
    shared: Arc<SharedPayloads>,
    pub(super) sink: SstableSink,
    /// Entries so far that have not expired.
    pub(super) entries: u64,
}

impl TimelineStage {
    pub(super) fn new(
        portion: Portion,
        runs: Arc<[Run]>,
        shared: Arc<SharedPayloads>,
        sink: SstableSink,
    ) -> TimelineStage {
        TimelineStage {
            portion,
            runs,
            next: 0,
            current: None,
            left: 0,
            gathered: VecDeque::with_capacity(GATHERED_MAX),
            shared,
            sink,
            entries: 0,
        }
    }

    /// A bounded piece.
    pub(super) fn step(&mut self) -> Result<Stepped> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some((run, placed)) = self.gathered.pop_front() else {
                bytes += self.gather();
                let is_over = self.left == 0 && self.next == self.runs.len();
                if self.gathered.is_empty() && is_over {
                    return Ok(Stepped { bytes, finished: true });
                }
                continue;
            };
            let run = &self.runs[run];
            let ttl_ms = run.own_ttl(placed.place);
            let Portion { now_ms, last_commit, .. } = self.portion;
            let alive = |ttl_ms| expires_ms(placed.time_ms, ttl_ms) > now_ms;
            if ttl_ms.is_none_or(alive) || placed.commit > last_commit {
                bytes += append(&mut self.sink, &self.shared, run, (placed, ttl_ms))?;
                self.entries += 1;
            } else {
                bytes += ENTRY_OVERHEAD;
            }
        }
        Ok(Stepped { bytes, finished: false })
    }

    /// Takes the places of the next entries, and touches their messages: these lie all over the
    /// memtable, and memory brings several at once in about the time of one. Returns the bytes that
    /// it counts for runs.
    fn gather(&mut self) -> usize {
        let mut bytes = 0;
        while self.gathered.len() < GATHERED_MAX && bytes < STEP_BYTES {
            if self.left > 0
                && let Some(cursor) = &mut self.current
                && let Some(placed) = cursor.next_placed()
            {
                self.left -= 1;
                self.gathered.push_back((self.next - 1, placed));
                continue;
            }
            let Some(run) = self.runs.get(self.next) else {
                break;
            };
            self.next += 1;
            bytes += ENTRY_OVERHEAD;
            let count = run.count();
            let from = run.rank_time(self.portion.from_ms, count);
            self.left = run.rank_time(self.portion.until_ms, count).saturating_sub(from);
            self.current = Some(run.cursor(from, Direction::Forward));
        }
        let touched = self.gathered.iter().map(|(run, placed)| self.runs[*run].touch(placed.place));
        std::hint::black_box(touched.fold(0, std::ops::BitXor::bitxor));
        bytes
    }
}

/// Writes an entry, by reference where its payload is shared. Gives the bytes that it counts.
fn append(
    sink: &mut SstableSink,
    shared: &SharedPayloads,
    run: &Run,
    (placed, ttl_ms): (Placed, Option<u64>),
) -> Result<usize> {
    if let Some(large) = run.large(placed) {
        return append_large(sink, run, (placed, ttl_ms), &large);
    }
    let Some(found) = shared.find(placed.place) else {
        let entry = run.build(placed)?;
        sink.append(run.key(), &borrowed(&entry))?;
        return Ok(entry.payload.len() + ENTRY_OVERHEAD);
    };
    let is_origin = found.has_origin && run.is_origin(placed);
    let entry = EntryRef {
        seq: placed.seq,
        commit: placed.commit,
        time_ms: placed.time_ms,
        event_ms: None,
        ttl_ms,
        origin: None,
        payload: &[],
        shared: Some(Shared { reference: found.reference, is_origin }),
        erased: false,
    };
    sink.append(run.key(), &entry)?;
    Ok(ENTRY_OVERHEAD)
}

/// Writes an entry whose payload has had a segment to itself since its commit. What else the
/// message says is not in that.
fn append_large(
    sink: &mut SstableSink,
    run: &Run,
    (placed, ttl_ms): (Placed, Option<u64>),
    large: &LargeEntry,
) -> Result<usize> {
    let entry = EntryRef {
        seq: placed.seq,
        commit: placed.commit,
        time_ms: placed.time_ms,
        event_ms: large.event_ms,
        ttl_ms,
        origin: large.origin.as_ref().map(origin_ref),
        payload: &[],
        shared: Some(Shared { reference: large.reference, is_origin: large.origin.is_none() }),
        erased: false,
    };
    sink.append(run.key(), &entry)?;
    Ok(ENTRY_OVERHEAD)
}

fn origin_ref(origin: &Origin) -> OriginRef<'_> {
    OriginRef { table: origin.table, key: &origin.key, seq: origin.seq }
}

fn borrowed(entry: &Entry) -> EntryRef<'_> {
    EntryRef {
        seq: entry.seq,
        commit: entry.commit,
        time_ms: entry.time_ms,
        event_ms: entry.event_ms,
        ttl_ms: entry.ttl_ms,
        origin: entry.origin.as_ref().map(origin_ref),
        payload: &entry.payload,
        shared: None,
        erased: entry.erased,
    }
}
