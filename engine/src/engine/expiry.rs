//! Expiry: SSTables of which every entry has expired are dropped whole.
//!
//! ```text
//! fence of a table      | expired <- | -> alive
//! SSTables by time   [a]   [b]   [ c ]   [d]         a and b are dropped, no data are touched
//! ```
//! 1. The fence is that of readers: the clock first, then the record of the table.
//! 2. The directories of what goes are read page by page. A timeline of which nothing else knows as
//!    much gets a record in the state table (a small SSTable), so that its next seq never falls.
//! 3. One root takes the SSTables out and puts the records in. Its sync covers the log, so an entry
//!    in a memtable that made a record needless is durable with it: of what is in memory only what
//!    was published counts, since the log may never have the rest.
//! 4. Two roots more, if nothing else writes any: then the extents are free.
//!
//! # Invariants
//! 1. What is dropped is hidden from every reader, now and later: the fence never falls, and the
//!    root that drops holds a clock mark at or behind it.
//! 2. For each timeline the newest that was ever known stays known, after a crash at any step.
//!    Whoever takes the newest away writes it down in the same root; what is newer is not taken
//!    away without the same care.
//! 3. What another job works on is claimed: it is asked to give up, and dropped later. No other job
//!    begins with it in between.
//!
//! # Concurrency
//! One worker. Readers keep what they have opened.

use super::claims::Claim;
use super::dead_shares::is_dead;
use super::root::Change;
use super::unreadable::Unreadable;
use super::workers::Task;
use super::{Core, Counters};
use crate::compaction::SstableSink;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits::{CLOCK_LEASE_MS, EXPIRY_TICK_MS, EXPIRY_TICK_MS_MAX};
use crate::options::{Compression, TableOptions};
use crate::planted::Planted;
use crate::read::{is_known_without, state_of_run};
use crate::runtime::Progress;
use crate::sstable::Sstable;
use crate::state::StateRecord;
use crate::sync::{Arc, Ordering};
use crate::version::{STATE_TABLE, Shard, TableKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most SSTables, and timelines in them, that one root drops.
const DROPPED_SSTABLES_MAX: usize = 64;
const DROPPED_TIMELINES_MAX: u64 = 1_000_000;
/// Directory pages that one step reads, and records that one step writes.
const PAGES_A_STEP: u64 = 16;
const RECORDS_A_STEP: usize = 4096;
/// Roots after the one that dropped something until its space is free.
const ROOTS_UNTIL_FREE: u32 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct ExpiryWorker {
    job: Option<DropJob>,
    /// Roots that may still be needed to free what was dropped.
    roots: u32,
    /// SSTables whose directories cannot be read: what they know of timelines cannot be kept.
    unreadable: Unreadable,
    /// Of what was dropped and is not free yet: when its first entry expired.
    expired_since_ms: Option<u64>,
}

impl Task for ExpiryWorker {
    fn step(&mut self, core: &Arc<Core>) -> Progress {
        if core.health.check().is_err() {
            return Progress::Idle(None);
        }
        self.try_step(core).unwrap_or_else(|error| {
            if let Some(job) = self.job.take() {
                let now_ms = core.raw_clock.monotonic_ms();
                self.unreadable.met(&job.blamed(), &error, job.unread().is_some(), now_ms);
            }
            core.free_released(&error);
            core.after_failure();
            Progress::Idle(Some(Duration::from_millis(EXPIRY_TICK_MS)))
        })
    }
}

impl ExpiryWorker {
    fn try_step(&mut self, core: &Arc<Core>) -> Result<Progress> {
        if core.renew_clock()? {
            return Ok(Progress::Busy);
        }
        if let Some(job) = &mut self.job {
            if job.step(core)? {
                let since_ms = job.expired_since_ms(core);
                self.expired_since_ms = self.expired_since_ms.into_iter().chain(since_ms).min();
                self.job = None;
                self.roots = ROOTS_UNTIL_FREE;
            }
            return Ok(Progress::Busy);
        }
        if self.roots > 0 && core.released() > 0 {
            self.roots -= 1;
            core.commit_root(Change::default())?;
            return Ok(Progress::Busy);
        }
        self.roots = 0;
        if let Some(since_ms) = self.expired_since_ms.take() {
            let lag_ms = core.expiry_now().saturating_sub(since_ms);
            core.counters.expiry_lag_ms.fetch_max(lag_ms, Ordering::Relaxed);
        }
        self.unreadable.end_rests(core.raw_clock.monotonic_ms());
        let (expired, wait_ms) = core.expired_sstables(self.unreadable.numbers());
        self.job = DropJob::new(core, expired);
        if self.job.is_some() {
            return Ok(Progress::Busy);
        }
        // Where no table has a fence the clock's mark is looked at all the same.
        let wait_ms = wait_ms.unwrap_or(EXPIRY_TICK_MS_MAX);
        let wait_ms = wait_ms.clamp(EXPIRY_TICK_MS, EXPIRY_TICK_MS_MAX);
        Ok(Progress::Idle(Some(Duration::from_millis(wait_ms))))
    }
}

impl Core {
    /// Writes a root when something goes by the clock and the clock's mark has grown old; whether
    /// it did.
    fn renew_clock(&self) -> Result<bool> {
        let view = self.views.current();
        let timed = |options: &TableOptions| options.ttl_ms.or(options.cold_after_ms).is_some();
        let expires = view.tables.values().any(|record| timed(&record.options));
        // Timelines of a table with marks may have times to live of their own, and entries too.
        if !expires && view.marked.is_empty() && view.own_ttl.is_empty() {
            return Ok(false);
        }
        let mark_ms = self.durable_clock_ms.load(Ordering::Acquire);
        if self.clock.expiry_now() < mark_ms + CLOCK_LEASE_MS / 2 {
            return Ok(false);
        }
        self.commit_root(Change::default())?;
        Ok(true)
    }

    /// SSTables of which every entry has expired, those first that did so first; and how long until
    /// the next one does. `None` where no table has a fence.
    pub(super) fn expired_sstables(
        &self,
        unreadable: &BTreeSet<u64>,
    ) -> (Vec<Arc<Sstable>>, Option<u64>) {
        let now_ms = self.expiry_now();
        let view = self.views.current();
        let (mut expired, mut wait_ms) = (Vec::new(), None);
        for record in view.tables.values() {
            let alive_from_ms = record.alive_from_ms(now_ms);
            if record.options.kind != TableKind::Timeline || alive_from_ms == 0 {
                continue;
            }
            let wait_ms = wait_ms.get_or_insert(EXPIRY_TICK_MS_MAX);
            for sstable in view.sstables_of(record.id) {
                let meta = sstable.meta();
                let decides =
                    if Planted::OldestDecides.is_on() { meta.times_ms.0 } else { meta.times_ms.1 };
                if decides >= alive_from_ms {
                    *wait_ms = (*wait_ms).min(meta.times_ms.1 - alive_from_ms + 1);
                } else if !unreadable.contains(&meta.number) && !self.is_out_of_reach(sstable) {
                    expired.push(Arc::clone(sstable));
                }
            }
        }
        expired.sort_by_key(|sstable| (sstable.meta().times_ms.1, sstable.meta().number));
        (expired, wait_ms)
    }
}

/// One root that drops SSTables, and what is done before it.
pub(super) struct DropJob {
    claim: Claim,
    sstables: Vec<Arc<Sstable>>,
    /// The SSTable and the page of its directory that come next.
    next: (usize, u64),
    /// By table and timeline: what nothing else knows.
    records: BTreeMap<(TableId, Box<[u8]>), StateRecord>,
    sink: Option<SstableSink>,
    /// Whether they go because all in them is said to be dead, not because it has expired.
    of_dead: bool,
    /// The SSTable that turned out to have an entry that somebody can see.
    alive: Option<u64>,
    /// The SSTable that could not be read.
    unread: Option<u64>,
}

impl DropJob {
    /// A job for as many of `expired` as one root takes and nobody else has. Whoever has one of
    /// them is asked for it.
    fn new(core: &Core, expired: Vec<Arc<Sstable>>) -> Option<DropJob> {
        let claimed = core.claims.numbers();
        let mut timelines = 0;
        let (mut sstables, mut wanted) = (Vec::new(), BTreeSet::new());
        for sstable in expired {
            let meta = sstable.meta();
            if claimed.contains(&meta.number) {
                wanted.insert(meta.number);
                continue;
            }
            timelines += meta.keys;
            let full = sstables.len() >= DROPPED_SSTABLES_MAX || timelines > DROPPED_TIMELINES_MAX;
            if full && !sstables.is_empty() {
                break;
            }
            sstables.push(sstable);
        }
        let numbers: BTreeSet<u64> = sstables.iter().map(|it| it.meta().number).collect();
        let claim = if numbers.is_empty() { None } else { core.claims.claim(numbers) };
        // Behind the claim: what was wanted until now may be in it, and nobody else is to begin
        // with that in between.
        core.claims.want(wanted);
        let claim = claim?;
        // What was claimed by somebody else a moment ago may be gone.
        let view = core.views.current();
        let live =
            view.version.iter().filter(|(_, _, it)| claim.numbers().contains(&it.meta().number));
        if live.count() < claim.numbers().len() {
            return None;
        }
        Some(DropJob::claimed(claim, sstables, false))
    }

    /// A job for these, which are claimed, and of which nobody could see anything any more when it
    /// was looked at last: what is dropped is looked at again.
    pub(super) fn of_dead(claim: Claim, sstables: Vec<Arc<Sstable>>) -> DropJob {
        DropJob::claimed(claim, sstables, true)
    }

    /// A job for these, which are claimed, and of which every entry has outlived a time to live.
    pub(super) fn of_expired(claim: Claim, sstables: Vec<Arc<Sstable>>) -> DropJob {
        DropJob::claimed(claim, sstables, false)
    }

    fn claimed(claim: Claim, sstables: Vec<Arc<Sstable>>, of_dead: bool) -> DropJob {
        DropJob {
            claim,
            sstables,
            next: (0, 0),
            records: BTreeMap::new(),
            sink: None,
            of_dead,
            alive: None,
            unread: None,
        }
    }

    /// The SSTable that somebody can see something of: then the job is over, and nothing is
    /// dropped.
    pub(super) fn alive(&self) -> Option<u64> {
        self.alive
    }

    /// When the first entry of all of them expired, by today's options.
    fn expired_since_ms(&self, core: &Core) -> Option<u64> {
        let now_ms = core.expiry_now();
        let view = core.views.current();
        let since_ms = |sstable: &Arc<Sstable>| {
            let alive_from_ms = view.tables.get(&sstable.meta().table)?.alive_from_ms(now_ms);
            let ago_ms = alive_from_ms.saturating_sub(sstable.meta().times_ms.0);
            Some(now_ms.saturating_sub(ago_ms))
        };
        self.sstables.iter().filter_map(since_ms).min()
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The SSTable whose directory could not be read, where the job failed over one.
    pub(super) fn unread(&self) -> Option<u64> {
        self.unread
    }

    /// The SSTables without which the job would not have failed: that which could not be read, or
    /// of whose timelines something else could not be.
    pub(super) fn blamed(&self) -> BTreeSet<u64> {
        self.sstables.get(self.next.0).map(|sstable| sstable.meta().number).into_iter().collect()
    }

    /// Passes on what was read of an SSTable, and notes a failure.
    fn noting<T>(&mut self, sstable: &Sstable, read: Result<T>) -> Result<T> {
        self.unread = read.is_err().then(|| sstable.meta().number);
        read
    }

    /// Does a bounded piece; says whether it was the last one, with which the SSTables are gone.
    pub(super) fn step(&mut self, core: &Core) -> Result<bool> {
        if self.next.0 < self.sstables.len() {
            return self.read_pages(core).map(|()| false);
        }
        if !self.records.is_empty() {
            return self.write_records(core).map(|()| false);
        }
        let records = self.sink.take().map(SstableSink::finish).transpose()?.unwrap_or_default();
        let bytes = self.sstables.iter().map(|sstable| sstable.meta().extent.length).sum();
        let recorded = records.iter().map(|sstable| sstable.meta().extent.length).sum();
        let mut gone = false;
        let outcome = core.commit_root_with(|root| {
            let removed: Vec<u64> = self.claim.numbers().iter().copied().collect();
            gone = removed.iter().any(|number| root.catalog.version.find(*number).is_none());
            if gone {
                core.output.discard(records.clone(), Vec::new());
                return Err(Error::NotFound { what: "a table that was dropped".to_owned() });
            }
            let added = records.iter().map(|sstable| (0, Arc::clone(sstable))).collect();
            Ok(Change { removed, added, ..Change::default() })
        });
        if gone {
            // Its table was dropped meanwhile; what is left of other tables has its own job.
            return Ok(true);
        }
        outcome?;
        Counters::add(&core.counters.dropped_sstables, self.sstables.len() as u64);
        Counters::add(&core.counters.dropped_bytes, bytes);
        Counters::add(&core.counters.root_bytes, recorded);
        Ok(true)
    }

    /// Looks which timelines of the next pages only the SSTables that go know.
    fn read_pages(&mut self, core: &Core) -> Result<()> {
        let view = core.views.current();
        let published = core.published.load(Ordering::Acquire);
        let sstable = Arc::clone(&self.sstables[self.next.0]);
        let table = sstable.meta().table;
        let pages = self.noting(&sstable, sstable.run_pages())?;
        let end = pages.min(self.next.1 + PAGES_A_STEP);
        for page in self.next.1..end {
            for (key, run) in self.noting(&sstable, sstable.runs_of_page(page))? {
                if self.of_dead {
                    let dead = is_dead(core, &sstable, &key, &run);
                    if !self.noting(&sstable, dead)? {
                        self.alive = Some(sstable.meta().number);
                        return Ok(());
                    }
                }
                let state = state_of_run(&run);
                let leaving = self.claim.numbers();
                if is_known_without(&view, table, &key, &state, leaving, published)?
                    || Planted::NextSeqForgotten.is_on()
                {
                    continue;
                }
                let known = self.records.entry((table, key)).or_insert(state);
                if state.is_newer_than(known) {
                    *known = state;
                }
            }
            self.next.1 = page + 1;
        }
        if end == pages {
            self.next = (self.next.0 + 1, 0);
        }
        Ok(())
    }

    /// Writes the next records, in the order of the state table.
    fn write_records(&mut self, core: &Core) -> Result<()> {
        let sink = self.sink.get_or_insert_with(|| {
            let (kind, shard) = (TableKind::Keyed, Shard::default());
            SstableSink::new(&core.output, STATE_TABLE, kind, shard, Compression::None)
        });
        for _ in 0..RECORDS_A_STEP {
            let Some(((table, key), state)) = self.records.pop_first() else {
                break;
            };
            sink.add_versions(&[state.version(table, &key)])?;
        }
        Ok(())
    }
}
