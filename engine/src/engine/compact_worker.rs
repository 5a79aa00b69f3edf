//! The worker that compacts: merges, moves to the cold tier, and drops of what is dead.
//!
//! One job at a time, stepped; between two steps it can be cut short, and what it has written is
//! given back. Which job comes next: `compaction/picker.rs`, `compaction/tiering.rs`,
//! `compaction/dead_share.rs` and `compaction/locality.rs`; whose turn it is, `tiers.rs`.
//!
//! # Concurrency
//! One owner, the scheduler. It holds no lock between steps; its claim keeps others off its inputs.

use super::burial::{erased_through, oldest_origin};
use super::dead_shares::{DeadShares, Search};
use super::expiry::DropJob;
use super::root::Change;
use super::tiers::Turn;
use super::unreadable::Unreadable;
use super::work::Work;
use super::workers::{RETRY, Task};
use super::{Core, Counters};
use crate::compaction::{
    AmendmentFences, Job, JobKind, JobOutput, PickerOptions, pick, pick_dead, pick_scattered,
};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits;
use crate::read::View;
use crate::runtime::Progress;
use crate::sstable::Sstable;
use crate::sync::{Arc, Ordering};
use crate::version::{AMENDMENT_TABLE, Shard, Tier};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Picks and runs compactions, one at a time.
#[derive(Default)]
pub(super) struct CompactWorker {
    job: Option<Work>,
    /// SSTables that jobs failed over.
    unreadable: Unreadable,
    /// The newest wish of a user for a compaction that has been seen.
    seen: u64,
    /// What is dead in which SSTable.
    shares: DeadShares,
    /// Whether the next job should be a compaction or a move to the cold tier.
    turn: Turn,
}

impl Task for CompactWorker {
    fn gives_way(&self) -> bool {
        true
    }

    fn step(&mut self, core: &Arc<Core>) -> Progress {
        match self.try_step(core) {
            Ok(progress) => progress,
            Err(error) => {
                let work = self.job.take();
                core.free_released(&error);
                core.after_failure();
                match work {
                    Some(work) => self.failed(core, &work, error),
                    None => {
                        *core.compaction_error.lock() = Some(error);
                        Progress::Idle(Some(RETRY * 10))
                    }
                }
            }
        }
    }
}

impl CompactWorker {
    /// What follows from a failure of `work`.
    fn failed(&mut self, core: &Core, work: &Work, error: Error) -> Progress {
        let unread = work.unread().is_some();
        if work.tier() == Tier::Cold && !unread && !error.is_damage() {
            // Hot compaction goes on.
            core.cold_failed(&error);
            return Progress::Busy;
        }
        let now_ms = core.raw_clock.monotonic_ms();
        if self.unreadable.met(&work.blamed(), &error, work.met_itself(), now_ms) {
            *core.unread_error.lock() = Some(error);
            core.show_damaged(self.unreadable.numbers());
            return Progress::Busy;
        }
        if !unread {
            *core.compaction_error.lock() = Some(error);
        }
        Progress::Idle(Some(RETRY * 10))
    }

    /// Has what was left alone tried again, where it is time, or a user asks for it by a new wish.
    fn try_unreadable_again(&mut self, core: &Core, wish: Option<u64>) {
        let asked = wish.is_some_and(|wish| wish > self.seen);
        self.seen = wish.unwrap_or(self.seen);
        let again = if asked { self.unreadable.clear() } else { false };
        if self.unreadable.end_rests(core.raw_clock.monotonic_ms()) || again {
            if self.unreadable.numbers().is_empty() {
                *core.unread_error.lock() = None;
            }
            core.show_damaged(self.unreadable.numbers());
        }
    }
}

impl Core {
    /// Writers do not wait for the compaction of shards that these SSTables are of.
    fn show_damaged(&self, sstables: &BTreeSet<u64>) {
        let view = self.views.current();
        let of_damaged =
            view.version.iter().filter(|(_, _, s)| sstables.contains(&s.meta().number));
        let damaged: BTreeSet<(TableId, Shard)> =
            of_damaged.map(|(table, _, sstable)| (table, sstable.meta().shard)).collect();
        self.views.replace(|view| {
            view.damaged = damaged;
            view.level0_depth = view.measure_level0();
        });
    }

    /// What amendments may still be laid over. `now_ms`: of the expiry clock, read before the view,
    /// as readers do.
    pub(super) fn amendment_fences(view: &View, now_ms: u64) -> AmendmentFences {
        let tables = view.tables.values();
        AmendmentFences {
            alive_from_ms: tables.map(|table| (table.id, table.alive_from_ms(now_ms))).collect(),
            oldest_origin: oldest_origin(view),
            erased_through: erased_through(&view.tables),
        }
    }

    /// Drops SSTables of amendments that nobody can meet any more and nobody works on. Whether
    /// there was one.
    fn drop_dead_amendments(&self) -> Result<bool> {
        let claimed = self.claims.numbers();
        let dead = self.dead_amendments().into_iter();
        self.drop_amendments(dead.filter(|number| !claimed.contains(number)).collect())
    }

    /// Drops those of these that are still there: somebody may have taken them away between the
    /// look at them and the claim.
    pub(super) fn drop_amendments(&self, numbers: BTreeSet<u64>) -> Result<bool> {
        if numbers.is_empty() {
            return Ok(false);
        }
        let Some(claim) = self.claims.claim(numbers) else { return Ok(false) };
        let live = self.dead_amendments();
        let removed: Vec<u64> =
            live.into_iter().filter(|it| claim.numbers().contains(it)).collect();
        if removed.is_empty() {
            return Ok(false);
        }
        self.commit_root(Change { removed, ..Change::default() })?;
        Ok(true)
    }

    /// SSTables of amendments that nobody can meet any more.
    fn dead_amendments(&self) -> Vec<u64> {
        let now_ms = self.expiry_now();
        let view = self.views.current();
        let mut sstables = view.sstables_of(AMENDMENT_TABLE).peekable();
        if sstables.peek().is_none() {
            return Vec::new();
        }
        let fences = Core::amendment_fences(&view, now_ms);
        let metas = sstables.map(|sstable| sstable.meta());
        metas.filter(|meta| !fences.needs_any_of(meta)).map(|meta| meta.number).collect()
    }

    /// `asked`: a user wants everything compacted.
    pub(super) fn picker_options(&self, asked: bool) -> PickerOptions {
        PickerOptions {
            level0_compact: if asked { 1 } else { limits::LEVEL0_COMPACT },
            level_bytes_base: limits::LEVEL0_COMPACT as u64 * self.options.sstable_bytes,
            ratio: limits::LEVEL_RATIO,
            sstable_bytes: self.options.sstable_bytes,
        }
    }

    /// The most urgent compaction that needs nothing `damaged` and nothing that others work on, if
    /// any is due. `asked`: a user wants everything compacted.
    fn pick_compaction(
        self: &Arc<Self>,
        shares: &DeadShares,
        damaged: &BTreeSet<u64>,
        asked: bool,
    ) -> Option<Work> {
        let options = self.picker_options(asked);
        let damaged = &self.with_unusable_cold(damaged);
        let now_ms = self.expiry_now();
        let (view, claim, job) = loop {
            let busy = &self.claims.busy() | damaged;
            let view = self.views.current();
            let dead = shares.found(&view, now_ms, self.moments()[0]);
            let (trigger, job) = choose(&view, &dead, &options, &busy)?;
            let claim = self.claims.claim(job.numbers().collect());
            // Somebody may have been quicker, and may have taken away what was claimed then.
            let now = self.views.current();
            let same = Arc::ptr_eq(&now.version, &view.version);
            if let Some(claim) = claim.filter(|_| same) {
                match trigger {
                    Trigger::Dead => Counters::add(&self.counters.dead_compactions, 1),
                    Trigger::Reads => Counters::add(&self.counters.locality_compactions, 1),
                    Trigger::Levels => {}
                }
                break (view, claim, job);
            }
        };
        if job.kind == JobKind::Drop {
            let sstables: Vec<_> = job.inputs.into_iter().map(|(_, sstable)| sstable).collect();
            // What has expired by itself stays so, and needs no second look.
            let has_expired = |sstable: &Arc<Sstable>| {
                let meta = sstable.meta();
                meta.own_ttl.expired(now_ms) >= meta.entries
            };
            let job = match sstables.iter().all(has_expired) {
                true => DropJob::of_expired(claim, sstables),
                false => DropJob::of_dead(claim, sstables),
            };
            return Some(Work::Drop(Box::new(job)));
        }
        Some(self.merge(&view, claim, job, now_ms))
    }
}

/// Why a compaction is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// Level 0 has too many SSTables, or a level too many bytes.
    Levels,
    /// Much of it is dead.
    Dead,
    /// Scans had to look into too many SSTables.
    Reads,
}

/// The job that comes next. `dead`: dead entries by number of the SSTable. To drop what is all dead
/// costs nothing; else what is due comes first, then what is dead, and last what reads ask for.
fn choose(
    view: &View,
    dead: &BTreeMap<u64, u64>,
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<(Trigger, Job<Arc<Sstable>>)> {
    let dead = pick_dead(&view.version, dead, options, busy).map(|job| (Trigger::Dead, job));
    if dead.as_ref().is_some_and(|(_, job)| job.kind == JobKind::Drop) {
        return dead;
    }
    let due = pick(&view.version, options, busy).map(|job| (Trigger::Levels, job));
    due.or(dead).or_else(|| {
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable);
        let charged = sstables.map(|sstable| (sstable.meta().number, sstable.charged()));
        let charges = charged.filter(|(_, reads)| *reads > 0).collect();
        let job = pick_scattered(&view.version, &charges, options, busy)?;
        Some((Trigger::Reads, job))
    })
}

impl Core {
    /// Makes a compaction durable and visible, unless its table was dropped meanwhile.
    pub(super) fn finish_compaction(&self, table: TableId, output: JobOutput) -> Result<()> {
        let JobOutput { removed, added, moved } = output;
        let mut dropped = false;
        let finished = self.commit_root_with(|root| {
            if root.has_table(table) {
                return Ok(Change { removed, added, moved, ..Change::default() });
            }
            dropped = true;
            let added = added.into_iter().map(|(_, sstable)| sstable);
            self.output.discard(added.collect(), Vec::new());
            Err(Error::NotFound { what: format!("table {}", table.0) })
        });
        if dropped { Ok(()) } else { finished }
    }
}

impl CompactWorker {
    /// Picks the next job, or else looks for what is dead.
    fn pick(&mut self, core: &Arc<Core>) -> Result<Progress> {
        let wish = core.compact_all.newest();
        let asked = wish.is_some();
        self.try_unreadable_again(core, wish);
        if core.drop_dead_amendments()? {
            return Ok(Progress::Busy);
        }
        let (shares, damaged) = (&self.shares, self.unreadable.numbers());
        let compaction = || core.pick_compaction(shares, damaged, asked);
        self.job = match self.turn.next() {
            Turn::Compaction => compaction().or_else(|| core.pick_move(damaged)),
            Turn::Move => core.pick_move(damaged).or_else(compaction),
        };
        if let Some(work) = &self.job {
            if work.is_of_metadata() {
                // It takes no turn: what is cold sinks this way behind each piece of a move, and
                // must not keep others from theirs.
                self.turn = Turn::Compaction;
            }
            return Ok(Progress::Busy);
        }
        let again = match self.shares.step(core, asked)? {
            Search::Running => return Ok(Progress::Busy),
            Search::Rests(again) => again,
        };
        if asked && !core.claims.busy().is_empty() {
            // What others are about to take away is part of what was asked for.
            return Ok(Progress::Idle(Some(RETRY)));
        }
        *core.compaction_error.lock() = None;
        // Who has asked since that look is still to be heard.
        if let Some(wish) = wish {
            core.compact_all.hear(wish);
        }
        let again = again.map(Duration::from_millis);
        let own = DeadShares::until_own_share(core).map(Duration::from_millis);
        let rest = self.unreadable.rest(core.raw_clock.monotonic_ms());
        let waits = [core.until_next_move(), again, own, rest];
        Ok(Progress::Idle(waits.into_iter().flatten().min()))
    }

    fn try_step(&mut self, core: &Arc<Core>) -> Result<Progress> {
        core.health.check()?;
        if core.closing.load(Ordering::Acquire) {
            // Whoever closes waits for the flush alone. What was begun comes with the next opening.
            self.job = None;
            return Ok(Progress::Idle(Some(RETRY)));
        }
        let Some(work) = &mut self.job else {
            return self.pick(core);
        };
        if work.claim().is_asked() {
            // Its inputs are to be dropped: what it has written is given back. Until whoever asked
            // has taken them, no job is picked that needs one.
            self.job = None;
            core.wake(|wakes| &wakes.expire);
            return Ok(Progress::Idle(Some(RETRY)));
        }
        core.set_urgency();
        let bytes = match work {
            Work::Drop(job) => {
                let over = job.step(core)?;
                if let Some(number) = job.alive() {
                    // What was found of it is out of date.
                    self.shares.forget(number);
                    self.job = None;
                    return Ok(Progress::Busy);
                }
                over.then_some(0)
            }
            Work::Merge(_, job) => match job.step()? {
                None => None,
                Some(output) => {
                    let bytes = output.added.iter().map(|(_, s)| s.meta().extent.length).sum();
                    core.finish_compaction(job.table(), output)?;
                    Some(bytes)
                }
            },
        };
        if let Some(bytes) = bytes {
            let counters = &core.counters;
            let written = match work.changes_tier() {
                true => &counters.moved_bytes,
                false => &counters.compacted_bytes,
            };
            Counters::add(written, bytes);
            if work.claim().is_asked() {
                // It has ended all the same: what was asked for is gone.
                core.wake(|wakes| &wakes.expire);
            }
            if self.job.take().is_some_and(|work| work.tier() == Tier::Cold) {
                core.cold_worked();
            }
            *core.compaction_error.lock() = None;
            Counters::add(&core.counters.compactions, 1);
        }
        Ok(Progress::Busy)
    }
}
