//! The part of a flush that writes timelines: one portion of the runs of one table.
//!
//! ```text
//! runs, by key ──► groups of entries, fetched together ──► pieces of a run ──► SSTable builder
//! ```
//! Most entries are a payload and nothing more. Those of a run that follow each other go to the
//! builder as one piece: nothing is checked, counted or allocated for each of them alone. An entry
//! of which there is more to say goes by itself.
//!
//! # Invariants
//! 1. Entries go out by key, and along a run from the oldest on.
//! 2. A piece has at most [`PIECE_BYTES_MAX`] of payload, or one entry.
//!
//! # Concurrency
//! Owned by the flush. The memtable is frozen.

use super::flush::{ENTRY_OVERHEAD, STEP_BYTES, Stepped};
use super::output::SstableSink;
use super::sharing::SharedPayloads;
use crate::entry::{Entry, Origin, TableId, expires_ms};
use crate::error::Result;
use crate::memtable::{Gatherer, LargeEntry, Placed, Run};
use crate::sstable::{EntryRef, OriginRef, PlainEntry, Shared};
use crate::version::Shard;
use std::ops::Range;
use std::sync::Arc;

/// Payload bytes that go to the builder together.
const PIECE_BYTES_MAX: usize = 16 * 1024;

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

impl Portion {
    /// The entries of a run that belong to it.
    fn bounds(&self, run: &Run) -> Range<usize> {
        let (count, memtable) = (run.count(), run.memtable());
        if self.from_ms <= memtable.base_time_ms() && self.until_ms > memtable.last_time_ms() {
            return 0..count;
        }
        let from = run.rank_time(self.from_ms, count);
        from..run.rank_time(self.until_ms, count).max(from)
    }
}

/// Writes one portion of the runs of a timeline table.
#[derive(Debug)]
pub(super) struct TimelineStage {
    portion: Portion,
    runs: Arc<[Run]>,
    gatherer: Gatherer,
    /// The next part of the group, and how many of its entries are done.
    part: usize,
    done: usize,
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
            gatherer: Gatherer::default(),
            part: 0,
            done: 0,
            shared,
            sink,
            entries: 0,
        }
    }

    /// A bounded piece.
    pub(super) fn step(&mut self) -> Result<Stepped> {
        let runs = Arc::clone(&self.runs);
        let mut bytes = 0;
        let mut plain = Vec::new();
        while bytes < STEP_BYTES {
            let Some(part) = self.gatherer.parts().get(self.part).cloned() else {
                (self.part, self.done) = (0, 0);
                match self.gatherer.gather(&runs, |run| self.portion.bounds(run)) {
                    Some(ended) => bytes += ended * ENTRY_OVERHEAD,
                    None => return Ok(Stepped { bytes, finished: true }),
                }
                continue;
            };
            let run = &runs[part.run];
            let from = part.entries.start + self.done;
            let length = self.gather_plain(run, from..part.entries.end, &mut plain);
            if plain.is_empty() {
                bytes += self.write_one(run, self.gatherer.entries()[from])?;
                self.done += 1;
            } else {
                let ends = part.ends && from + plain.len() == part.entries.end;
                self.sink.append_plain(run.key(), &plain, ends)?;
                bytes += length + plain.len() * ENTRY_OVERHEAD;
                self.entries += plain.len() as u64;
                self.done += plain.len();
                plain.clear();
            }
            if self.done == part.entries.len() {
                (self.part, self.done) = (self.part + 1, 0);
            }
        }
        Ok(Stepped { bytes, finished: false })
    }

    /// Takes the entries that are a payload and nothing more, up to one that is not, and up to so
    /// many bytes. Gives the bytes.
    fn gather_plain<'a>(
        &self,
        run: &'a Run,
        entries: Range<usize>,
        plain: &mut Vec<PlainEntry<'a>>,
    ) -> usize {
        let mut bytes = 0;
        for placed in &self.gatherer.entries()[entries] {
            if !self.shared.is_empty() && self.shared.find(placed.place).is_some() {
                break;
            }
            let Some(payload) = run.plain(placed.place) else { break };
            if bytes + payload.len() > PIECE_BYTES_MAX && bytes > 0 {
                break;
            }
            bytes += payload.len();
            let Placed { seq, commit, time_ms, .. } = *placed;
            plain.push(PlainEntry { seq, commit, time_ms, payload });
        }
        bytes
    }

    /// Writes an entry, if it has not expired. Gives the bytes that it counts.
    fn write_one(&mut self, run: &Run, placed: Placed) -> Result<usize> {
        let ttl_ms = run.own_ttl(placed.place);
        let Portion { now_ms, last_commit, .. } = self.portion;
        let alive = |ttl_ms| expires_ms(placed.time_ms, ttl_ms) > now_ms;
        if ttl_ms.is_none_or(alive) || placed.commit > last_commit {
            self.entries += 1;
            return append(&mut self.sink, &self.shared, run, (placed, ttl_ms));
        }
        Ok(ENTRY_OVERHEAD)
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
