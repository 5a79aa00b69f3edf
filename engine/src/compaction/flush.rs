//! Flush: a frozen memtable becomes SSTables of level 0, and the state of its timelines goes into
//! the state table.
//!
//! ```text
//! memtable   table 16 (timelines)   table 17 (keyed)   table 18 (timelines)
//!                 │       └─ state ─┐     │  keep.rs        │      │
//!                 ▼                 │     ▼                 ▼      │
//! level 0     SSTables of 16        │  SSTables of 17   SSTables of 18
//!                                   └──────► SSTables of 1 ◄───────┘
//! ```
//! 1. Tables in order of their ids. A timeline table's runs are written by key, each front to back;
//!    a keyed table's versions by key, less what no snapshot can see.
//! 2. Then the state table: a Put for each timeline written, in the order of its keys, that is by
//!    table and timeline. It carries the commit and the time of the timeline's newest entry.
//! 3. The last step hands over the SSTables of all tables, which the caller makes live together.
//!
//! # Invariants
//! 1. The SSTables hold each timeline entry of the memtable once: counted and checked. Tables that
//!    were dropped since are left out.
//! 2. The memtable is frozen: nobody writes to it any more.
//! 3. Nothing is dropped for lying at the bottom: a flush does not look below.
//! 4. A step writes about [`STEP_BYTES`], or one entry if that is more.
//!
//! # Concurrency
//! One owner. Flushes of one store follow each other in the order of their memtables, since the
//! numbers of their SSTables are the age of level 0. Readers go on with the memtable meanwhile.

use super::keep::Keeper;
use super::output::{OutputContext, PendingOutputs, SstableSink};
use crate::batch::KeyedOperation;
use crate::entry::{Direction, Entry, KeyedVersion, Payload, TableId};
use crate::error::{Error, Result};
use crate::memtable::{KeyedRange, Memtable, Run, RunCursor};
use crate::options::Compression;
use crate::sstable::{EntryRef, OriginRef, Sstable};
use crate::state::{StateRecord, state_key};
use crate::version::{STATE_TABLE, Shard, TableKind};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// Bytes of output after which a step ends.
pub(super) const STEP_BYTES: usize = 1024 * 1024;
/// What an entry counts beside its payload.
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// What a flush has written.
#[derive(Debug)]
pub(crate) struct FlushOutput {
    /// All for level 0, in rising order of their numbers.
    pub(crate) sstables: Vec<Arc<Sstable>>,
}

/// The flush of one memtable, stepped by a worker. Dropped before its end it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct FlushJob {
    context: OutputContext,
    memtable: Arc<Memtable>,
    tables: Vec<(TableId, TableKind, Compression)>,
    snapshots: Vec<u64>,
    /// The memtable's tables that are still to come, the next one last.
    ahead: Vec<(TableId, TableKind)>,
    /// Tables of the memtable that are no more: nothing is written of them.
    dropped: Vec<TableId>,
    stage: Stage,
    outputs: PendingOutputs,
}

#[derive(Debug)]
enum Stage {
    /// Between tables.
    Next,
    Timelines(TimelineStage),
    Keyed(KeyedStage),
    State(StateStage),
    Over,
}

impl FlushJob {
    /// `tables`: those of the catalog. `snapshots`: the commits that live snapshots read at,
    /// ascending; readers that are not in it read at commits above all of the memtable.
    pub(crate) fn new(
        context: OutputContext,
        memtable: Arc<Memtable>,
        tables: Vec<(TableId, TableKind, Compression)>,
        snapshots: Vec<u64>,
    ) -> FlushJob {
        let mut ahead = memtable.tables();
        ahead.reverse();
        let outputs = PendingOutputs::new(&context);
        let (stage, dropped) = (Stage::Next, Vec::new());
        FlushJob { context, memtable, tables, snapshots, ahead, dropped, stage, outputs }
    }

    /// The same job without these tables, which were dropped since they were written to.
    #[must_use]
    pub(crate) fn without(mut self, dropped: Vec<TableId>) -> FlushJob {
        self.ahead.retain(|(table, _)| !dropped.contains(table));
        self.dropped = dropped;
        self
    }

    /// Does a bounded piece; the last one returns the outcome. After an error the job is over and
    /// everything it wrote is given back; the memtable can be flushed again by another job.
    pub(crate) fn step(&mut self) -> Result<Option<FlushOutput>> {
        let result = self.try_step();
        if result.is_err() {
            self.stage = Stage::Over;
            self.outputs = PendingOutputs::new(&self.context);
        }
        result
    }

    fn try_step(&mut self) -> Result<Option<FlushOutput>> {
        let finished = match &mut self.stage {
            Stage::Next => return self.next_table(),
            Stage::Timelines(stage) => stage.step()?,
            Stage::Keyed(stage) => stage.step(&self.snapshots)?,
            Stage::State(stage) => stage.step()?,
            Stage::Over => return Err(Error::invalid("a step of a flush that is over")),
        };
        if !finished {
            return Ok(None);
        }
        let (sink, expected, last) = match std::mem::replace(&mut self.stage, Stage::Next) {
            Stage::Timelines(stage) => (stage.sink, Some(stage.entries), false),
            Stage::Keyed(stage) => (stage.sink, None, false),
            Stage::State(stage) => (stage.sink, Some(stage.records), true),
            Stage::Next | Stage::Over => unreachable!("these have no steps of their own"),
        };
        let before = self.outputs.entries();
        self.outputs.extend(sink.finish()?);
        let written = self.outputs.entries() - before;
        if let Some(expected) = expected.filter(|expected| *expected != written) {
            let detail = format!("{written} entries were written, the memtable has {expected}");
            return Err(Error::corruption("flush", 0, detail));
        }
        if !last {
            return Ok(None);
        }
        self.stage = Stage::Over;
        Ok(Some(FlushOutput { sstables: self.outputs.take() }))
    }

    fn next_table(&mut self) -> Result<Option<FlushOutput>> {
        let Some((table, kind)) = self.ahead.pop() else {
            let sink = self.sink(STATE_TABLE, TableKind::Keyed)?;
            self.stage = Stage::State(StateStage::new(&self.memtable, &self.dropped, sink));
            return Ok(None);
        };
        let sink = self.sink(table, kind)?;
        self.stage = match kind {
            TableKind::Timeline => {
                Stage::Timelines(TimelineStage::new(&self.memtable, table, sink))
            }
            TableKind::Keyed => Stage::Keyed(KeyedStage::new(&self.memtable, table, sink)),
        };
        Ok(None)
    }

    fn sink(&self, table: TableId, kind: TableKind) -> Result<SstableSink> {
        let record = self.tables.iter().find(|(id, ..)| *id == table);
        let compression = match record {
            Some((_, known, compression)) if *known == kind => *compression,
            None if table == STATE_TABLE => Compression::None,
            _ => {
                let detail = format!("the log has {kind:?} writes to {table:?}, the catalog not");
                return Err(Error::corruption("memtable", 0, detail));
            }
        };
        Ok(SstableSink::new(&self.context, table, kind, Shard::default(), compression))
    }
}

/// Writes the runs of one timeline table.
#[derive(Debug)]
struct TimelineStage {
    runs: std::vec::IntoIter<Run>,
    current: Option<RunCursor>,
    sink: SstableSink,
    /// Entries of the runs so far.
    entries: u64,
}

impl TimelineStage {
    fn new(memtable: &Arc<Memtable>, table: TableId, sink: SstableSink) -> TimelineStage {
        let runs = memtable.runs_sorted(table, Bound::Unbounded).into_iter();
        TimelineStage { runs, current: None, sink, entries: 0 }
    }

    /// Whether it was the last step.
    fn step(&mut self) -> Result<bool> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            if let Some(cursor) = &mut self.current
                && let Some(entry) = cursor.next()
            {
                let key = cursor.run().key();
                self.sink.append(key, &borrowed(&entry))?;
                bytes += entry.payload.len() + ENTRY_OVERHEAD;
                continue;
            }
            let Some(run) = self.runs.next() else {
                return Ok(true);
            };
            bytes += run.key().len();
            self.entries += run.count() as u64;
            self.current = Some(run.cursor(0, Direction::Forward));
        }
        Ok(false)
    }
}

fn borrowed(entry: &Entry) -> EntryRef<'_> {
    EntryRef {
        seq: entry.seq,
        commit: entry.commit,
        time_ms: entry.time_ms,
        event_ms: entry.event_ms,
        origin: entry.origin.as_ref().map(|origin| OriginRef {
            table: origin.table,
            key: &origin.key,
            seq: origin.seq,
        }),
        payload: &entry.payload,
    }
}

/// Writes the versions of one keyed table that survive.
struct KeyedStage {
    versions: Peekable<KeyedRange>,
    sink: SstableSink,
}

impl std::fmt::Debug for KeyedStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedStage").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl KeyedStage {
    fn new(memtable: &Arc<Memtable>, table: TableId, sink: SstableSink) -> KeyedStage {
        let versions = memtable.keyed_range(table, Bound::Unbounded).peekable();
        KeyedStage { versions, sink }
    }

    /// Whether it was the last step. One key is one piece: its versions are folded as they come.
    fn step(&mut self, snapshots: &[u64]) -> Result<bool> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(first) = self.versions.next() else {
                return Ok(true);
            };
            let key = first.key.clone();
            let mut keeper = Keeper::new(snapshots, None);
            keeper.push(first);
            while let Some(version) = self.versions.next_if(|version| version.key == key) {
                bytes += ENTRY_OVERHEAD;
                keeper.push(version);
            }
            let survivors = keeper.finish(false);
            bytes += survivors.iter().map(|version| version.value.len()).sum::<usize>();
            bytes += key.len() + ENTRY_OVERHEAD;
            self.sink.add_versions(&survivors)?;
        }
        Ok(false)
    }
}

/// Writes the state of the timelines.
#[derive(Debug)]
struct StateStage {
    memtable: Arc<Memtable>,
    /// Timeline tables that are still to come, by id.
    tables: std::vec::IntoIter<(TableId, TableKind)>,
    runs: std::vec::IntoIter<Run>,
    sink: SstableSink,
    records: u64,
}

impl StateStage {
    fn new(memtable: &Arc<Memtable>, dropped: &[TableId], sink: SstableSink) -> StateStage {
        let mut tables = memtable.tables();
        tables.retain(|(id, kind)| *kind == TableKind::Timeline && !dropped.contains(id));
        StateStage {
            memtable: Arc::clone(memtable),
            tables: tables.into_iter(),
            runs: Vec::new().into_iter(),
            sink,
            records: 0,
        }
    }

    /// Whether it was the last step.
    fn step(&mut self) -> Result<bool> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            if let Some(run) = self.runs.next() {
                let version = state_of(&run)?;
                bytes += version.key.len() + version.value.len() + ENTRY_OVERHEAD;
                self.sink.add_versions(&[version])?;
                self.records += 1;
                continue;
            }
            let Some((table, _)) = self.tables.next() else {
                return Ok(true);
            };
            self.runs = self.memtable.runs_sorted(table, Bound::Unbounded).into_iter();
        }
        Ok(false)
    }
}

/// What the state table is told of a timeline: that of its newest entry.
fn state_of(run: &Run) -> Result<KeyedVersion> {
    let newest = run.count().checked_sub(1);
    let newest = newest.ok_or_else(|| Error::corruption("memtable", 0, "a run without entries"))?;
    let (commit, time_ms) = (run.commit(newest), run.time_ms(newest));
    let record = StateRecord {
        next_seq: run.seq(newest).saturating_add(1),
        last_commit: commit,
        last_time_ms: time_ms,
    };
    Ok(KeyedVersion {
        key: state_key(run.table(), run.key()).into(),
        commit,
        index: 0,
        time_ms,
        operation: KeyedOperation::Put,
        value: Payload::from_vec(record.encode()),
    })
}
