//! Flush: a frozen memtable becomes SSTables of level 0, and the state of timelines that nothing
//! else would tell goes into the state table (`flush_state.rs`).
//!
//! ```text
//! memtable   table 16 (timelines)   table 17 (keyed)   table 18 (timelines)
//!                 │       └─ state ─┐     │  keep.rs        │      │
//!                 ▼                 │     ▼                 ▼      │
//! level 0     SSTables of 16        │  SSTables of 17   SSTables of 18
//!                                   └──────► SSTables of 1 ◄───────┘
//! ```
//! 0. Payloads that several entries share go into segments (`sharing.rs`). Large ones lie in
//!    segments already; these belong to the memtable, and the root that ends the flush names them.
//! 1. Tables in order of their ids. A timeline table's runs are cut by time into portions, one for
//!    each window of its grid that the flush needs, older ones first; what has expired is left out.
//!    A portion is written by key, each run front to back. A keyed table's versions are written by
//!    key, less what no snapshot can see.
//! 2. Then the state table: a Put for each timeline that needs it, in the order of its keys, that
//!    is by table and timeline. It carries the commit and the time of the timeline's newest entry.
//! 3. Where readers are at work in a table, its SSTables are brought into memory: `warm_up.rs`.
//! 4. The last step hands over the SSTables of all tables, which the caller makes live together.
//!
//! # Invariants
//! 1. The SSTables hold each timeline entry of the memtable that has not expired once: counted and
//!    checked. Tables that were dropped since are left out.
//! 2. The memtable is frozen: nobody writes to it any more.
//! 3. Amendments are all kept: what nobody can meet goes in compaction.
//! 4. Nothing is dropped for lying at the bottom: a flush does not look below.
//! 5. A step writes about [`STEP_BYTES`], or one entry if that is more: a few milliseconds in which
//!    it may keep a commit from the processor.
//!
//! # Concurrency
//! One owner. Flushes of one store follow each other in the order of their memtables, since the
//! numbers of their SSTables are the age of level 0. Readers go on with the memtable meanwhile.

use super::flush_state::StateStage;
use super::flush_timelines::{Portion, TimelineStage};
use super::keep::Keeper;
use super::output::{OutputContext, PendingOutputs, SstableSink};
use super::sharing::{SharedPayloads, SharingStage};
use super::warm_up::WarmUp;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::memtable::{KeyedRange, Memtable, Run};
use crate::options::{Compression, Sequence, TableOptions};
use crate::segment::{Segment, Segments};
use crate::sstable::Sstable;
use crate::version::{
    AMENDMENT_TABLE, Grid, Part, STATE_TABLE, Shard, TableKind, TableRecord, Tier,
};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// Bytes of output after which a step ends.
pub(super) const STEP_BYTES: usize = 256 * 1024;
/// What an entry counts beside its payload.
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// What one step of a stage did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stepped {
    /// Bytes that were worked on, about.
    pub(super) bytes: usize,
    /// It was the last step.
    pub(super) finished: bool,
}

/// What a flush has written.
#[derive(Debug)]
pub(crate) struct FlushOutput {
    /// All for level 0, in rising order of their numbers.
    pub(crate) sstables: Vec<Arc<Sstable>>,
    /// The payload segments that they refer to.
    pub(crate) segments: Vec<Arc<Segment>>,
}

/// What a flush must know of a table.
#[derive(Debug, Clone)]
pub(crate) struct FlushTable {
    pub(crate) id: TableId,
    pub(crate) kind: TableKind,
    pub(crate) sequence: Sequence,
    pub(crate) compression: Compression,
    /// Time to live; none is for ever.
    pub(crate) ttl_ms: Option<u64>,
    /// How it is cut by time.
    pub(crate) grid: Grid,
    /// What was committed before this time has expired, for ever.
    pub(crate) alive_from_ms: u64,
    /// The expiry clock.
    pub(crate) now_ms: u64,
    /// The lowest window of the cold tier that it may go to, if it goes there.
    pub(crate) cold_from: Option<u64>,
    /// Its SSTables are brought into memory before they are live.
    pub(crate) is_warm: bool,
}

impl FlushTable {
    /// The table at `now_ms` of the expiry clock, which was read before the record.
    pub(crate) fn new(record: &TableRecord, now_ms: u64) -> FlushTable {
        let TableOptions { kind, sequence, compression, ttl_ms, .. } = record.options;
        FlushTable {
            id: record.id,
            kind,
            sequence,
            compression,
            ttl_ms,
            grid: record.grid.clone(),
            alive_from_ms: record.alive_from_ms(now_ms),
            now_ms,
            cold_from: None,
            is_warm: false,
        }
    }

    /// The same table, which goes to windows of the cold tier from the lowest on that is given.
    pub(crate) fn into_cold(self, cold_from: Option<u64>) -> FlushTable {
        FlushTable { cold_from, ..self }
    }

    /// The same table, whose SSTables are brought into memory, or not.
    pub(crate) fn into_warm(self, is_warm: bool) -> FlushTable {
        FlushTable { is_warm, ..self }
    }

    /// The shard that entries of a window of the grid go to.
    fn shard(&self, window: u64) -> Shard {
        match self.cold_from {
            None => Shard::hot(window),
            Some(lowest) => Shard { tier: Tier::Cold, window: window.max(lowest) },
        }
    }
}

/// The flush of one memtable, stepped by a worker. Dropped before its end it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct FlushJob {
    context: OutputContext,
    memtable: Arc<Memtable>,
    tables: Vec<FlushTable>,
    snapshots: Vec<u64>,
    shared: Arc<SharedPayloads>,
    /// The memtable's tables that are still to come, the next one last.
    ahead: Vec<(TableId, TableKind)>,
    /// The portions of the present timeline table that are still to come, the next one last.
    portions: Vec<Portion>,
    /// The runs of the timeline tables so far, the present one last.
    runs: Vec<(TableId, Arc<[Run]>)>,
    stage: Stage,
    outputs: PendingOutputs,
    /// Bytes of the memtable that were worked on, about.
    done_bytes: u64,
    /// Somebody waits for the end.
    is_waited_for: bool,
}

#[derive(Debug)]
enum Stage {
    Sharing(SharingStage),
    /// Between tables.
    Next,
    Timelines(TimelineStage),
    Keyed(KeyedStage),
    State(StateStage),
    /// All is written.
    WarmUp(WarmUp),
    Over,
}

impl FlushJob {
    /// `tables`: those of the catalog. `snapshots`: the commits that live snapshots read at,
    /// ascending; readers that are not in it read at commits above all of the memtable.
    pub(crate) fn new(
        context: OutputContext,
        memtable: Arc<Memtable>,
        tables: Vec<FlushTable>,
        snapshots: Vec<u64>,
    ) -> FlushJob {
        let mut ahead = memtable.tables();
        ahead.reverse();
        let outputs = PendingOutputs::new(&context);
        let keeps = tables.iter().map(|table| (table.id, table.ttl_ms.unwrap_or(u64::MAX)));
        let stage = Stage::Sharing(SharingStage::new(&memtable, keeps.collect()));
        FlushJob {
            context,
            memtable,
            tables,
            snapshots,
            shared: Arc::default(),
            ahead,
            portions: Vec::new(),
            runs: Vec::new(),
            stage,
            outputs,
            done_bytes: 0,
            is_waited_for: false,
        }
    }

    /// Bytes that steps have worked on so far, about: in the end as many as the memtable has.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    /// From now on it does nothing that can be left out: somebody waits for its end.
    pub(crate) fn hurry(&mut self) {
        self.is_waited_for = true;
    }

    /// The same job without these tables, which were dropped since they were written to.
    #[must_use]
    pub(crate) fn without(mut self, dropped: &[TableId]) -> FlushJob {
        self.ahead.retain(|(table, _)| !dropped.contains(table));
        self.tables.retain(|table| !dropped.contains(&table.id));
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

    /// Whether some of its SSTables go to the cold tier.
    pub(crate) fn writes_cold(&self) -> bool {
        let written = self.memtable.tables();
        let mut cold = self.tables.iter().filter(|table| table.cold_from.is_some());
        cold.any(|table| written.iter().any(|(id, _)| *id == table.id))
    }

    fn try_step(&mut self) -> Result<Option<FlushOutput>> {
        let Stepped { bytes, finished } = match &mut self.stage {
            Stage::Sharing(stage) => stage.step(&self.context, &mut self.outputs)?,
            Stage::Next => return self.next_table(),
            Stage::Timelines(stage) => stage.step()?,
            Stage::Keyed(stage) => stage.step(&self.snapshots)?,
            Stage::State(stage) => stage.step()?,
            Stage::WarmUp(warm_up) => {
                Stepped { bytes: 0, finished: self.is_waited_for || !warm_up.step() }
            }
            Stage::Over => return Err(Error::invalid("a step of a flush that is over")),
        };
        self.done_bytes += bytes as u64;
        if !finished {
            return Ok(None);
        }
        let (sink, expected, last) = match std::mem::replace(&mut self.stage, Stage::Next) {
            Stage::Sharing(stage) => {
                self.shared = Arc::new(stage.finish());
                return Ok(None);
            }
            Stage::Timelines(stage) => (stage.sink, Some(stage.entries), false),
            Stage::Keyed(stage) => (stage.sink, None, false),
            Stage::State(stage) => (stage.sink, Some(stage.records), true),
            Stage::WarmUp(_) => return Ok(Some(self.hand_over())),
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
        let warm = self.warm_outputs();
        if warm.is_empty() {
            return Ok(Some(self.hand_over()));
        }
        self.stage = Stage::WarmUp(WarmUp::new(warm));
        Ok(None)
    }

    /// What was written for tables in which readers are at work.
    fn warm_outputs(&self) -> Vec<Arc<Sstable>> {
        let is_warm = |sstable: &&Arc<Sstable>| {
            let meta = sstable.meta();
            let mut warm = self.tables.iter().filter(|table| table.is_warm);
            meta.shard.tier == Tier::Hot && warm.any(|table| table.id == meta.table)
        };
        self.outputs.sstables().iter().filter(is_warm).cloned().collect()
    }

    fn hand_over(&mut self) -> FlushOutput {
        self.stage = Stage::Over;
        let (sstables, segments) = (self.outputs.take(), self.outputs.take_segments());
        FlushOutput { sstables, segments }
    }

    fn next_table(&mut self) -> Result<Option<FlushOutput>> {
        if let Some(portion) = self.portions.pop() {
            let sink = self.sink(portion.table, TableKind::Timeline, portion.shard)?;
            let runs = self.runs.last().map(|(_, runs)| Arc::clone(runs)).unwrap_or_default();
            let stage = TimelineStage::new(portion, runs, Arc::clone(&self.shared), sink);
            self.stage = Stage::Timelines(stage);
            return Ok(None);
        }
        match self.ahead.pop() {
            Some((table, TableKind::Timeline)) => self.cut(table)?,
            Some((table, TableKind::Keyed)) => {
                let sink = self.sink(table, TableKind::Keyed, Shard::default())?;
                self.stage = Stage::Keyed(KeyedStage::new(&self.memtable, table, sink));
            }
            None => {
                let sink = self.sink(STATE_TABLE, TableKind::Keyed, Shard::default())?;
                let runs = std::mem::take(&mut self.runs);
                self.stage = Stage::State(StateStage::new(runs, self.tables.clone(), sink));
            }
        }
        Ok(None)
    }

    /// Cuts the runs of a timeline table into portions.
    fn cut(&mut self, id: TableId) -> Result<()> {
        let table = self.table(id, TableKind::Timeline)?;
        let (alive_from_ms, now_ms, table) = (table.alive_from_ms, table.now_ms, table.clone());
        let runs: Arc<[Run]> = self.memtable.runs_sorted(id, Bound::Unbounded).into();
        let times = self.times(&table, &runs);
        self.runs.push((id, runs));
        let Some((oldest, newest)) = times else {
            return Ok(());
        };
        let mut from_ms = alive_from_ms;
        for Part { window, until_ms } in table.grid.cut(oldest, newest) {
            let shard = table.shard(window);
            let last_commit = self.snapshots.first().copied().unwrap_or(u64::MAX);
            let place = Portion { table: id, shard, from_ms, until_ms, now_ms, last_commit };
            self.portions.push(place);
            from_ms = until_ms;
        }
        self.portions.reverse();
        Ok(())
    }

    /// The times of the oldest and of the newest entry that have not expired, or two that are cut
    /// like them; none where all have.
    fn times(&self, table: &FlushTable, runs: &[Run]) -> Option<(u64, u64)> {
        let all = (self.memtable.base_time_ms(), self.memtable.last_time_ms());
        let window = |time_ms| table.grid.cut(time_ms, time_ms).pop().map(|part| part.window);
        if table.alive_from_ms <= all.0 && window(all.0) == window(all.1) {
            // Then no run needs to be looked at for it.
            return Some(all);
        }
        let living = runs.iter().filter_map(|run| {
            let count = run.count();
            let first = run.rank_time(table.alive_from_ms, count);
            (first < count).then(|| (run.time_ms(first), run.time_ms(count - 1)))
        });
        living.reduce(|all, run| (all.0.min(run.0), all.1.max(run.1)))
    }

    fn table(&self, id: TableId, kind: TableKind) -> Result<&FlushTable> {
        let found = self.tables.iter().find(|table| table.id == id && table.kind == kind);
        found.ok_or_else(|| {
            let detail = format!("the log has {kind:?} writes to {id:?}, the catalog not");
            Error::corruption("memtable", 0, detail)
        })
    }

    fn sink(&self, table: TableId, kind: TableKind, shard: Shard) -> Result<SstableSink> {
        let compression = match table {
            _ if table.is_engine_owned() => Compression::None,
            _ => self.table(table, kind)?.compression,
        };
        let sink = SstableSink::new(&self.context, table, kind, shard, compression);
        let segments = self.outputs.segments();
        let large = self.memtable.large_segments();
        Ok(sink.with_segments(Segments::new(segments.iter().cloned().chain(large))))
    }
}

/// Writes the versions of one keyed table that survive.
struct KeyedStage {
    table: TableId,
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
        KeyedStage { table, versions, sink }
    }

    /// One key is one piece: its versions are folded as they come.
    fn step(&mut self, snapshots: &[u64]) -> Result<Stepped> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(first) = self.versions.next() else {
                return Ok(Stepped { bytes, finished: true });
            };
            let key = first.key.clone();
            let versions = std::iter::once(first).chain(std::iter::from_fn(|| {
                let version = self.versions.next_if(|version| version.key == key)?;
                bytes += ENTRY_OVERHEAD;
                Some(version)
            }));
            let survivors = if self.table == AMENDMENT_TABLE {
                versions.collect()
            } else {
                let mut keeper = Keeper::new(snapshots, None);
                versions.for_each(|version| keeper.push(version));
                keeper.finish(false)
            };
            bytes += survivors.iter().map(|version| version.value.len()).sum::<usize>();
            bytes += key.len() + ENTRY_OVERHEAD;
            self.sink.add_versions(&survivors)?;
        }
        Ok(Stepped { bytes, finished: false })
    }
}
