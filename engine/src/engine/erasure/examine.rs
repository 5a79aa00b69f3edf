//! Looks through SSTables for what is to be erased, and has those that hold any written anew.
//!
//! ```text
//! live SSTables ── may it hold any? ── read it ──┬── nothing: examined
//!       ▲           (its record says)            ├── payloads of its own: a job writes it anew
//!       └──────────── its outputs, and those of other jobs: not examined yet
//! ```
//! It is over when every live SSTable that may hold any has been examined. What a job that is at
//! work then will write is examined too, in a sense: its inputs are live until it ends.
//!
//! # Invariants
//! 1. An SSTable counts as examined once all of it was read and nothing was found that it has
//!    itself. Numbers are not used again, and an SSTable never changes.
//! 2. What other jobs work on is waited for: their outputs come to be examined.

use super::gather::Round;
use super::scan::may_amend;
use super::shared::SharedPayloads;
use crate::compaction::{CompactionJob, EntryFate, Place, pick_erase};
use crate::engine::claims::Claim;
use crate::engine::work::Work;
use crate::engine::{Core, Counters};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::sstable::{FragmentCursor, FragmentView, KeyedCursor, Sstable};
use crate::sync::Arc;
use crate::version::{AMENDMENT_TABLE, SstableMeta, TableKind, Tier};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Bytes that a step reads.
const STEP_BYTES: usize = 1024 * 1024;
/// Timelines that a step looks up.
const STEP_TIMELINES: usize = 1024;

/// See the module.
pub(super) struct Examination {
    round: Round,
    /// Those with retracted entries.
    timelines: Vec<(TableId, Box<[u8]>)>,
    examined: BTreeSet<u64>,
    at_work: AtWork,
    /// Payloads in segments that belong to what was retracted.
    shared: SharedPayloads,
}

enum AtWork {
    Nothing,
    /// Whether it has any of the timelines; the next one by its place in the list.
    LooksUp(Arc<Sstable>, usize),
    Entries(Arc<Sstable>, Box<FragmentCursor>),
    Versions(Arc<Sstable>, Box<KeyedCursor>),
    /// This one is to be written anew.
    Found(u64),
    Writes(Box<CompactionJob>, Claim),
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Examined {
    Running,
    /// For whom is waited.
    Waits(&'static str),
    All,
}

impl Examination {
    pub(super) fn new(round: Round) -> Examination {
        let timelines = round.retracted.timelines();
        let timelines = timelines.map(|(table, key)| (table, Box::from(key))).collect();
        let (examined, shared) = (BTreeSet::new(), SharedPayloads::default());
        Examination { round, timelines, examined, at_work: AtWork::Nothing, shared }
    }

    /// What the round has found in segments.
    pub(super) fn finish(self) -> (SharedPayloads, Round) {
        (self.shared, self.round)
    }

    /// Does a bounded piece.
    pub(super) fn step(&mut self, core: &Arc<Core>) -> Result<Examined> {
        match std::mem::replace(&mut self.at_work, AtWork::Nothing) {
            AtWork::Nothing => return self.next_sstable(core),
            AtWork::LooksUp(sstable, next) => self.look_up(sstable, next)?,
            AtWork::Entries(sstable, cursor) => self.read_entries(sstable, cursor)?,
            AtWork::Versions(sstable, cursor) => self.read_versions(sstable, cursor)?,
            AtWork::Found(number) => return self.begin_job(core, number),
            AtWork::Writes(job, claim) => return self.write(core, job, claim),
        }
        Ok(Examined::Running)
    }

    /// Opens the next SSTable that may hold something, if there is one.
    fn next_sstable(&mut self, core: &Core) -> Result<Examined> {
        let view = core.views.current();
        let unexamined = view.version.iter().map(|(_, _, sstable)| sstable).find(|sstable| {
            let meta = sstable.meta();
            !self.examined.contains(&meta.number) && self.may_hold(meta)
        });
        let Some(sstable) = unexamined else { return Ok(Examined::All) };
        let sstable = Arc::clone(sstable);
        core.check_reach(&sstable)?;
        self.at_work = match sstable.meta().kind {
            TableKind::Timeline if !self.may_hold_copies(sstable.meta()) => {
                AtWork::LooksUp(sstable, 0)
            }
            TableKind::Timeline => {
                let cursor = sstable.fragments(None)?;
                AtWork::Entries(sstable, Box::new(cursor))
            }
            TableKind::Keyed => {
                let cursor = sstable.keyed_scan(Bound::Unbounded)?;
                AtWork::Versions(sstable, Box::new(cursor))
            }
        };
        Ok(Examined::Running)
    }

    /// Whether an SSTable may hold something of what was retracted, as far as its record tells.
    fn may_hold(&self, meta: &SstableMeta) -> bool {
        let Round { retracted, since, .. } = &self.round;
        let (oldest, newest) = meta.commits;
        if meta.kind == TableKind::Keyed {
            return meta.table == AMENDMENT_TABLE
                && oldest <= retracted.newest()
                && may_amend(meta, retracted.tables().iter());
        }
        let own = retracted.tables().contains(&meta.table) && oldest <= retracted.newest();
        newest >= *since && (own || self.may_hold_copies(meta))
    }

    /// Whether it may hold entries that came from what was retracted.
    fn may_hold_copies(&self, meta: &SstableMeta) -> bool {
        meta.oldest_origin > 0 && meta.oldest_origin <= self.round.retracted.newest()
    }

    /// Looks whether an SSTable without origins has any of the entries themselves: only then it is
    /// read.
    fn look_up(&mut self, sstable: Arc<Sstable>, mut next: usize) -> Result<()> {
        let meta = sstable.meta();
        let end = self.timelines.len().min(next + STEP_TIMELINES);
        while next < end {
            let (table, key) = &self.timelines[next];
            next += 1;
            if *table != meta.table {
                continue;
            }
            if let Some(run) = sstable.find(key)?
                && self.round.retracted.any_within(*table, key, run.first_seq..=run.last_seq)
            {
                let cursor = sstable.fragments(None)?;
                self.at_work = AtWork::Entries(sstable, Box::new(cursor));
                return Ok(());
            }
        }
        match next < self.timelines.len() {
            true => self.at_work = AtWork::LooksUp(sstable, next),
            false => _ = self.examined.insert(meta.number),
        }
        Ok(())
    }

    fn read_entries(
        &mut self,
        sstable: Arc<Sstable>,
        mut cursor: Box<FragmentCursor>,
    ) -> Result<()> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(fragment) = cursor.next()? else {
                self.examined.insert(sstable.meta().number);
                return Ok(());
            };
            let view = fragment.view();
            bytes += view.bytes().len();
            if self.look_at(&sstable, &view)? {
                self.at_work = AtWork::Found(sstable.meta().number);
                return Ok(());
            }
        }
        self.at_work = AtWork::Entries(sstable, cursor);
        Ok(())
    }

    /// Whether an entry of a fragment has a payload of its own that is to be erased. Those that lie
    /// in segments are noted.
    fn look_at(&mut self, sstable: &Sstable, view: &FragmentView<'_>) -> Result<bool> {
        let Round { retracted, since, .. } = &self.round;
        let table = sstable.meta().table;
        let place = sstable.meta().extent.offset;
        let damaged = |error: crate::codec::DecodeError| {
            Error::corruption("SSTable fragment", place, error.to_string())
        };
        for k in 0..view.count() {
            let commit = view.commit(k).map_err(damaged)?;
            if commit > retracted.newest() {
                break;
            }
            if commit < *since {
                continue;
            }
            let entry = view.entry(k).map_err(damaged)?;
            let place = Place { table, key: view.key(), seq: entry.seq };
            if retracted.fate(place, &entry) == EntryFate::Loses {
                return Ok(true);
            }
            self.shared.note(retracted, sstable, place, &entry)?;
        }
        Ok(false)
    }

    fn read_versions(&mut self, sstable: Arc<Sstable>, mut cursor: Box<KeyedCursor>) -> Result<()> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(version) = cursor.next()? else {
                self.examined.insert(sstable.meta().number);
                return Ok(());
            };
            bytes += version.key.len() + version.value.len();
            if self.round.retracted.concerns_version(&version) {
                self.at_work = AtWork::Found(sstable.meta().number);
                return Ok(());
            }
        }
        self.at_work = AtWork::Versions(sstable, cursor);
        Ok(())
    }

    /// Begins the job that writes an SSTable anew, unless it is gone by now.
    fn begin_job(&mut self, core: &Arc<Core>, number: u64) -> Result<Examined> {
        let now_ms = core.expiry_now();
        let busy = core.claims.busy();
        let view = core.views.current();
        let Some((_, sstable)) = view.version.find(number) else {
            return Ok(Examined::Running);
        };
        let cold = sstable.meta().shard.tier == Tier::Cold;
        self.at_work = AtWork::Found(number);
        if cold && !core.cold_usable() {
            return Ok(Examined::Waits("the cold tier, which cannot be written"));
        }
        let job = pick_erase(&view.version, number, &core.picker_options(true), &busy);
        let Some(job) = job else { return Ok(Examined::Waits("compactions at work")) };
        let claim = core.claims.claim(job.numbers().collect());
        // Somebody may have been quicker, and may have taken away what was claimed then.
        let same = Arc::ptr_eq(&core.views.current().version, &view.version);
        let Some(claim) = claim.filter(|_| same) else { return Ok(Examined::Running) };
        if let Work::Merge(claim, job) = core.merge(&view, claim, job, now_ms) {
            let job = job.erasing(Arc::clone(&self.round.retracted));
            self.at_work = AtWork::Writes(Box::new(job), claim);
        }
        Ok(Examined::Running)
    }

    fn write(
        &mut self,
        core: &Core,
        mut job: Box<CompactionJob>,
        claim: Claim,
    ) -> Result<Examined> {
        if claim.is_asked() {
            // Its inputs are to be dropped: what it has written is given back. Until whoever asked
            // has taken them, no job is begun that needs one.
            drop((job, claim));
            core.wake(|wakes| &wakes.expire);
            return Ok(Examined::Waits("the drop of SSTables"));
        }
        let Some(output) = job.step()? else {
            self.at_work = AtWork::Writes(job, claim);
            return Ok(Examined::Running);
        };
        let bytes = output.added.iter().map(|(_, sstable)| sstable.meta().extent.length).sum();
        core.finish_compaction(job.table(), output)?;
        Counters::add(&core.counters.compacted_bytes, bytes);
        Counters::add(&core.counters.compactions, 1);
        core.wake(|wakes| &wakes.compact);
        if claim.is_asked() {
            // It has ended all the same: what was asked for is gone.
            core.wake(|wakes| &wakes.expire);
        }
        Ok(Examined::Running)
    }
}
