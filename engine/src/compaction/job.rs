//! Compaction: the SSTables of one job become those of its output level.
//!
//! ```text
//! level n      [c....k] [a.....m]        by age (level 0), or one SSTable
//!                  \       /
//!                   merge by key ──► sink ──► [a...d][e...i][k...o]   level n+1
//!                  /
//! level n+1    [a..d][e..h][i..o]        one behind the other: one source
//! ```
//! 1. A job that only moves says so at once.
//! 2. Sources: the inputs of one level at and below 1 lie one behind the other and are one source;
//!    each SSTable of level 0 is one.
//! 3. A timeline table: fragments by key, those of one timeline in the order of the sources.
//!    Nothing is compared inside a timeline: older data come first by invariant 3 of the picker.
//! 4. A keyed table: versions by key, newest first, through `keep.rs`; amendments through
//!    `keep_amendments.rs`.
//! 5. Where readers have warmed up the inputs, the outputs are brought into memory: `warm_up.rs`.
//!
//! # Invariants
//! 1. What a source gives is in order, and inside a timeline each fragment begins behind the end of
//!    the one before. Anything else is corruption, and the job fails.
//! 2. As many entries are read of each input as its meta says; and a timeline table's outputs hold
//!    as many as the inputs, less what is dead (`dead.rs`). Otherwise the job fails.
//! 3. A job that fails, or is dropped, leaves its inputs live, and gives its outputs back.
//! 4. References to payload segments are copied, never what they refer to; an output lists exactly
//!    the segments that its entries need.
//! 5. Memory: a block, or a piece of the file, and one fragment or version a source; the survivors
//!    of one key; the outputs' directories.
//!
//! # Concurrency
//! One owner. The inputs are immutable, and busy until the job's outcome is live.

use super::dead::{Dead, DeadEntries};
use super::erase::{EntryFate, Place, Retracted};
use super::flush::{ENTRY_OVERHEAD, STEP_BYTES};
use super::keep::Keeper;
use super::keep_amendments::{AmendmentFences, AmendmentKeeper};
use super::key_ranges::KeyRanges;
use super::output::{OutputContext, PendingOutputs, SstableSink};
use super::picker::{Job, JobKind};
use super::source::{FragmentSource, SourceCursor, VersionSource, sources};
use super::warm_up::WarmUp;
use crate::codec::DecodeError;
use crate::entry::{KeyedVersion, TableId, expires_ms};
use crate::error::{Error, Result};
use crate::options::Compression;
use crate::planted::Planted;
use crate::segment::Segments;
use crate::sstable::{EntryRef, FragmentView, Sstable};
use crate::state::StateRecord;
use crate::version::{STATE_TABLE, Shard, TableKind, Tier};
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

/// What a job has done to the levels; the caller makes it live at once.
#[derive(Debug, Default)]
pub(crate) struct JobOutput {
    /// Numbers of the SSTables that are live no more.
    pub(crate) removed: Vec<u64>,
    /// New SSTables with their level.
    pub(crate) added: Vec<(u8, Arc<Sstable>)>,
    /// SSTables that are at another level now, by number.
    pub(crate) moved: Vec<(u64, u8)>,
}

/// What decides which versions of a keyed table stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// The commits that live snapshots read at, ascending; readers that are not in it read at
    /// commits above all of the inputs.
    pub(crate) snapshots: Vec<u64>,
    /// In a compaction of the table of amendments.
    pub(crate) amendments: Option<AmendmentFences>,
}

/// One compaction, stepped by a worker. Dropped before its end it leaves nothing behind.
pub(crate) struct CompactionJob {
    context: OutputContext,
    job: Job<Arc<Sstable>>,
    kept: Kept,
    /// Where marks may hide something of the table.
    dead: Option<Arc<dyn DeadEntries>>,
    /// Of what nothing but its place is written.
    retracted: Option<Arc<Retracted>>,
    stage: Stage,
    /// The input that could not be read, by number.
    unread: Option<u64>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is written: the inputs move, or go.
    Manifest,
    Timelines(Box<TimelineMerge>),
    Keyed(Box<KeyedMerge>),
    /// All is written, with the state of timelines: the outputs are brought in.
    WarmUp(WarmUp, PendingOutputs, PendingOutputs),
    Over,
}

impl CompactionJob {
    /// `compression`: of the table.
    pub(crate) fn new(
        context: OutputContext,
        job: Job<Arc<Sstable>>,
        compression: Compression,
        kept: Kept,
    ) -> CompactionJob {
        let kind = job.inputs.first().map_or(TableKind::Keyed, |(_, input)| input.meta().kind);
        let inputs = job.inputs.iter().flat_map(|(_, input)| input.segments().iter().cloned());
        let segments = Segments::new(inputs);
        let sink = SstableSink::new(&context, job.table, kind, job.shard, compression);
        let sink = sink.with_segments(segments);
        let stage = match (job.kind, kind) {
            (JobKind::Move | JobKind::Drop, _) => Stage::Manifest,
            (JobKind::Merge, TableKind::Timeline) => {
                let (compression, shard) = (Compression::None, Shard::default());
                let records =
                    SstableSink::new(&context, STATE_TABLE, TableKind::Keyed, shard, compression);
                let merge = TimelineMerge::new(job.table, sources(&job.inputs), sink, records);
                let merge = TimelineMerge { records_all: job.leaves_tier(), ..merge };
                Stage::Timelines(Box::new(merge))
            }
            (JobKind::Merge, TableKind::Keyed) => {
                let below = job.below.clone();
                Stage::Keyed(Box::new(KeyedMerge { sources: sources(&job.inputs), below, sink }))
            }
        };
        CompactionJob { context, job, kept, dead: None, retracted: None, stage, unread: None }
    }

    /// The same job, which leaves out what is dead.
    #[must_use]
    pub(crate) fn burying(mut self, dead: Arc<dyn DeadEntries>) -> CompactionJob {
        self.dead = Some(dead);
        self
    }

    /// The same job, which erases the payloads of what was retracted.
    #[must_use]
    pub(crate) fn erasing(mut self, retracted: Arc<Retracted>) -> CompactionJob {
        self.retracted = Some(retracted);
        self
    }

    /// The table of the inputs.
    pub(crate) fn table(&self) -> TableId {
        self.job.table
    }

    /// The tier that the outputs go to.
    pub(crate) fn tier(&self) -> Tier {
        self.job.shard.tier
    }

    /// Whether it moves data from one tier to the other.
    pub(crate) fn changes_tier(&self) -> bool {
        self.job.leaves_tier()
    }

    /// Whether no data are touched: it is one step, however large its inputs are.
    pub(crate) fn is_of_metadata(&self) -> bool {
        self.job.kind != JobKind::Merge
    }

    /// The numbers of the inputs: busy while the job runs.
    #[cfg(test)]
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.job.numbers()
    }

    /// Does a bounded piece; the last one returns the outcome. After an error the job is over, and
    /// everything it wrote is given back.
    pub(crate) fn step(&mut self) -> Result<Option<JobOutput>> {
        let result = self.try_step();
        if result.is_err() {
            self.unread = match &self.stage {
                Stage::Timelines(merge) => merge.sources.iter().find_map(SourceCursor::unread),
                Stage::Keyed(merge) => merge.sources.iter().find_map(SourceCursor::unread),
                Stage::Manifest | Stage::WarmUp(..) | Stage::Over => None,
            };
            self.stage = Stage::Over;
        }
        result
    }

    /// The input that could not be read, by number, where the job failed over one.
    pub(crate) fn unread(&self) -> Option<u64> {
        self.unread
    }

    fn try_step(&mut self) -> Result<Option<JobOutput>> {
        let finished = match &mut self.stage {
            Stage::Manifest => true,
            Stage::Timelines(merge) => {
                merge.step(self.dead.as_deref(), self.retracted.as_deref())?
            }
            Stage::Keyed(merge) => {
                merge.step(&self.kept, self.dead.as_deref(), self.retracted.as_deref())?
            }
            Stage::WarmUp(warm_up, ..) => !warm_up.step(),
            Stage::Over => return Err(Error::invalid("a step of a compaction that is over")),
        };
        if !finished {
            return Ok(None);
        }
        let level = self.job.output_level;
        let (sink, left_out, records) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Timelines(merge) => (merge.sink, Some(merge.left_out), Some(merge.records)),
            Stage::Keyed(merge) => (merge.sink, None, None),
            Stage::WarmUp(_, outputs, recorded) => {
                return Ok(Some(self.hand_over(outputs, recorded)));
            }
            Stage::Manifest | Stage::Over if self.job.kind == JobKind::Drop => {
                let removed = self.job.numbers().collect();
                return Ok(Some(JobOutput { removed, ..JobOutput::default() }));
            }
            Stage::Manifest | Stage::Over => {
                let moved = self.job.numbers().map(|number| (number, level)).collect();
                return Ok(Some(JobOutput { moved, ..JobOutput::default() }));
            }
        };
        let mut outputs = PendingOutputs::new(&self.context);
        outputs.extend(sink.finish()?);
        let read: u64 = self.job.inputs.iter().map(|(_, input)| input.meta().entries).sum();
        let written = outputs.entries();
        if written > read || left_out.is_some_and(|dead| written + dead != read) {
            let detail = format!("{written} entries were written of {read} that were read");
            return Err(Error::corruption("compaction", 0, detail));
        }
        let mut recorded = PendingOutputs::new(&self.context);
        recorded.extend(records.map(SstableSink::finish).transpose()?.unwrap_or_default());
        let inputs = self.job.inputs.iter().map(|(_, input)| input);
        if self.job.shard.tier == Tier::Hot && WarmUp::is_due(inputs.clone()) {
            let warm_up = WarmUp::in_place_of(inputs, outputs.sstables().to_vec());
            self.stage = Stage::WarmUp(warm_up, outputs, recorded);
            return Ok(None);
        }
        Ok(Some(self.hand_over(outputs, recorded)))
    }

    /// The outcome: outputs, and SSTables with the state of timelines.
    fn hand_over(&self, mut outputs: PendingOutputs, mut recorded: PendingOutputs) -> JobOutput {
        let removed = self.job.numbers().collect();
        let at = |level| move |sstable| (level, sstable);
        let added = outputs.take().into_iter().map(at(self.job.output_level));
        let added = added.chain(recorded.take().into_iter().map(at(0))).collect();
        JobOutput { removed, added, moved: Vec::new() }
    }
}

/// Concatenates timelines.
#[derive(Debug)]
struct TimelineMerge {
    table: TableId,
    sources: Vec<SourceCursor<FragmentSource>>,
    /// Key and last seq of the last fragment.
    last: Option<(Vec<u8>, u64)>,
    /// What is dead of the timeline of the last fragment.
    dead: Dead,
    /// Dead entries so far.
    left_out: u64,
    /// The state of every timeline is recorded: nobody asks the tier that the outputs go to.
    records_all: bool,
    /// What the newest entry of that timeline so far says, where the outputs do not tell it.
    untold: Option<StateRecord>,
    sink: SstableSink,
    /// State of timelines that would be known less of without it.
    records: SstableSink,
}

impl TimelineMerge {
    fn new(
        table: TableId,
        sources: Vec<SourceCursor<FragmentSource>>,
        sink: SstableSink,
        records: SstableSink,
    ) -> TimelineMerge {
        TimelineMerge {
            table,
            sources,
            last: None,
            dead: Dead::default(),
            left_out: 0,
            records_all: false,
            untold: None,
            sink,
            records,
        }
    }

    /// Records the state of the timeline of the last fragment, if it is known nowhere else.
    fn settle(&mut self, dead: Option<&dyn DeadEntries>) -> Result<()> {
        let untold = self.untold.take();
        if let (Some(state), Some((key, _)), Some(dead)) = (untold, &self.last, dead)
            && dead.is_last_known(key, &state)?
            && !Planted::BuriedSeqForgotten.is_on()
        {
            self.records.add_versions(&[state.version(self.table, key)])?;
        }
        Ok(())
    }

    /// Whether it was the last step.
    fn step(
        &mut self,
        dead: Option<&dyn DeadEntries>,
        retracted: Option<&Retracted>,
    ) -> Result<bool> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let mut least: Option<(usize, &[u8])> = None;
            for (index, source) in self.sources.iter_mut().enumerate() {
                let Some(fragment) = source.head()? else {
                    continue;
                };
                let key = fragment.view().key();
                // The first of equals: older data come first.
                if least.is_none_or(|(_, least)| key < least) {
                    least = Some((index, key));
                }
            }
            let Some((index, _)) = least else {
                self.settle(dead)?;
                return Ok(true);
            };
            bytes += self.take_fragment(index, dead, retracted)?;
        }
        Ok(false)
    }

    /// Writes the next fragment of a source, and returns its bytes.
    fn take_fragment(
        &mut self,
        index: usize,
        dead: Option<&dyn DeadEntries>,
        retracted: Option<&Retracted>,
    ) -> Result<usize> {
        let source = &mut self.sources[index];
        let place = source.place();
        let fragment = source.take()?;
        let view = fragment.view();
        let last_seq = view
            .last_seq()
            .map_err(|error| Error::corruption("SSTable fragment", place, error.to_string()))?;
        if let Some((key, last)) = &self.last {
            let ordered = match key.as_slice().cmp(view.key()) {
                Ordering::Less => true,
                Ordering::Equal => *last < view.first_seq(),
                Ordering::Greater => false,
            };
            if !ordered {
                let found = view.first_seq();
                let detail = format!("a fragment from seq {found} on comes behind seq {last}");
                return Err(Error::corruption("compaction input", place, detail));
            }
        }
        if let Some(dead) = dead
            && self.last.as_ref().is_none_or(|(key, _)| key != view.key())
        {
            self.settle(Some(dead))?;
            self.dead = dead.of_timeline(view.key())?;
        }
        self.write_living(&view, last_seq, retracted)
            .map_err(|error| error.into_error("SSTable fragment", place))?;
        let (key, last) = self.last.get_or_insert_default();
        key.clear();
        key.extend_from_slice(view.key());
        *last = last_seq;
        Ok(view.bytes().len())
    }

    /// Writes what is not dead of a fragment.
    fn write_living(
        &mut self,
        view: &FragmentView<'_>,
        last_seq: u64,
        retracted: Option<&Retracted>,
    ) -> Result<(), Failure> {
        let count = view.count();
        let (oldest_ms, newest_ms) = (view.time_ms(0)?, view.time_ms(count - 1)?);
        let first_seq = view.first_seq();
        self.untold = None;
        let may_be_told = self.records_all || self.dead.hides(last_seq, newest_ms);
        if may_be_told || self.has_expired(view, count - 1)? {
            let last_commit = view.entry(count - 1)?.commit;
            let next_seq = last_seq.saturating_add(1);
            self.untold = Some(StateRecord { next_seq, last_commit, last_time_ms: newest_ms });
        }
        if self.dead.covers(first_seq, last_seq, newest_ms) {
            self.left_out += count as u64;
            return Ok(());
        }
        let erasing = match retracted {
            Some(retracted) => retracted.concerns(self.table, view)?,
            None => false,
        };
        let spared = self.dead.spares(first_seq, last_seq, oldest_ms) && !erasing;
        if spared && !self.any_has_expired(view)? {
            return Ok(self.sink.append_fragment(view)?);
        }
        for k in 0..count {
            let entry = view.entry(k)?;
            let lost = Planted::EntryLost.is_on() && k == 0;
            if self.dead.hides(entry.seq, entry.time_ms) || self.has_expired(view, k)? || lost {
                self.left_out += 1;
            } else {
                self.write_entry(view.key(), entry, retracted.filter(|_| erasing))?;
            }
        }
        Ok(())
    }
}

impl TimelineMerge {
    /// Writes an entry, without its payload if that was retracted.
    fn write_entry(
        &mut self,
        key: &[u8],
        entry: EntryRef<'_>,
        retracted: Option<&Retracted>,
    ) -> Result<()> {
        let place = Place { table: self.table, key, seq: entry.seq };
        let fate = retracted.map_or(EntryFate::Stays, |retracted| retracted.fate(place, &entry));
        match fate {
            EntryFate::Loses => self.sink.append(key, &entry.without_payload()),
            EntryFate::Stays | EntryFate::Shares(_) => self.sink.append(key, &entry),
        }
    }

    /// Whether entry `k` has outlived a time to live of its own.
    fn has_expired(&self, view: &FragmentView<'_>, k: usize) -> Result<bool, DecodeError> {
        let Some(ttl_ms) = view.own_ttl(k)? else { return Ok(false) };
        Ok(self.dead.has_expired(expires_ms(view.time_ms(k)?, ttl_ms), view.commit(k)?))
    }

    fn any_has_expired(&self, view: &FragmentView<'_>) -> Result<bool, DecodeError> {
        for k in 0..if view.may_have_own_ttl() { view.count() } else { 0 } {
            if self.has_expired(view, k)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Why a fragment was not written: it is damaged, or its output failed.
enum Failure {
    Damaged(DecodeError),
    Output(Error),
}

impl Failure {
    fn into_error(self, what: &'static str, place: u64) -> Error {
        match self {
            Failure::Damaged(error) => Error::corruption(what, place, error.to_string()),
            Failure::Output(error) => error,
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Failure {
        Failure::Damaged(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Output(error)
    }
}

/// What thins out the versions of one key.
enum AnyKeeper<'a> {
    Values(Keeper<'a>),
    Amendments(AmendmentKeeper<'a>),
}

impl<'a> AnyKeeper<'a> {
    fn new(kept: &'a Kept) -> AnyKeeper<'a> {
        match &kept.amendments {
            None => AnyKeeper::Values(Keeper::new(&kept.snapshots, None)),
            Some(fences) => AnyKeeper::Amendments(AmendmentKeeper::new(&kept.snapshots, fences)),
        }
    }

    fn push(&mut self, version: KeyedVersion) {
        match self {
            AnyKeeper::Values(keeper) => keeper.push(version),
            AnyKeeper::Amendments(keeper) => keeper.push(version),
        }
    }

    /// `bottom`: nothing older of the key lies below.
    fn finish(self, bottom: bool) -> Vec<KeyedVersion> {
        match self {
            AnyKeeper::Values(keeper) => keeper.finish(bottom),
            AnyKeeper::Amendments(keeper) => keeper.finish(),
        }
    }
}

/// Merges versions, and keeps those that somebody can see.
#[derive(Debug)]
struct KeyedMerge {
    sources: Vec<SourceCursor<VersionSource>>,
    /// Where the levels below the output may hold older versions.
    below: KeyRanges,
    sink: SstableSink,
}

impl KeyedMerge {
    /// Whether it was the last step. One key is one piece: its versions are folded as they come.
    fn step(
        &mut self,
        kept: &Kept,
        dead: Option<&dyn DeadEntries>,
        retracted: Option<&Retracted>,
    ) -> Result<bool> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(index) = self.next_source()? else {
                return Ok(true);
            };
            let newest = self.sources[index].take()?;
            let key = newest.key.clone();
            bytes += key.len() + newest.value.len() + ENTRY_OVERHEAD;
            let mut last = (newest.commit, newest.index);
            let mut keeper = AnyKeeper::new(kept);
            keeper.push(newest);
            while let Some((version, place)) = self.next_of(&key)? {
                let order = (version.commit, version.index);
                if order >= last {
                    let detail = format!("version {order:?} of a key comes behind {last:?}");
                    return Err(Error::corruption("compaction input", place, detail));
                }
                last = order;
                bytes += version.value.len() + ENTRY_OVERHEAD;
                keeper.push(version);
            }
            let mut survivors = keeper.finish(!self.below.contains(&key));
            if let Some(retracted) = retracted {
                retracted.erase_versions(&mut survivors);
            }
            if !dead.map_or(Ok(false), |dead| dead.forgets(&survivors))? {
                self.sink.add_versions(&survivors)?;
            }
        }
        Ok(false)
    }

    /// The next version, if it is one of `key`, and the file offset of its SSTable.
    fn next_of(&mut self, key: &[u8]) -> Result<Option<(KeyedVersion, u64)>> {
        let Some(index) = self.next_source()? else {
            return Ok(None);
        };
        let source = &mut self.sources[index];
        if source.head()?.is_none_or(|version| *version.key != *key) {
            return Ok(None);
        }
        let place = source.place();
        source.take().map(|version| Some((version, place)))
    }

    /// The source that has the smallest key, and of that the newest version.
    fn next_source(&mut self) -> Result<Option<usize>> {
        let mut least = None;
        for (index, source) in self.sources.iter_mut().enumerate() {
            let Some(version) = source.head()? else {
                continue;
            };
            let place = (&version.key, Reverse((version.commit, version.index)));
            if least.as_ref().is_none_or(|(_, least)| place < *least) {
                least = Some((index, place));
            }
        }
        Ok(least.map(|(index, _)| index))
    }
}
