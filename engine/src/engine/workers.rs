//! The background workers: flush, compaction (`compact_worker.rs`), log sync, commits of async
//! callers, expiry (`expiry.rs`), space (`space.rs`) and erasure (`erasure/`).
//!
//! Each is stepped by the scheduler and does a bounded piece of work a step. None holds a lock
//! between steps. A worker that dies poisons the store: no silent stop.

use super::commit_pace::CommitPace;
use super::compact_worker::CompactWorker;
use super::erasure::EraseWorker;
use super::expiry::ExpiryWorker;
use super::flush_pace::FlushPace;
use super::kept_memory::KeptMemory;
use super::root::{Change, Root};
use super::space::SpaceWorker;
use super::sync_due::Due;
use super::{Core, Counters};
use crate::compaction::{FlushJob, FlushOutput, FlushTable, WarmUp, cold_flush};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::memtable::Memtable;
use crate::read::{Frozen, View};
use crate::runtime::{Progress, Wake, Worker};
use crate::sstable::Sstable;
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::version::{Edit, TableRecord};
use std::cell::Cell;
use std::time::Duration;

/// How to wake each worker.
pub(crate) struct Wakes {
    pub(crate) flush: Arc<dyn Wake>,
    pub(crate) compact: Arc<dyn Wake>,
    pub(crate) sync: Arc<dyn Wake>,
    pub(crate) commit: Arc<dyn Wake>,
    pub(crate) expire: Arc<dyn Wake>,
    pub(crate) space: Arc<dyn Wake>,
    pub(crate) erase: Arc<dyn Wake>,
}

impl Wakes {
    /// All of them.
    pub(crate) fn all(&self) -> [&Arc<dyn Wake>; 7] {
        let Wakes { flush, compact, sync, commit, expire, space, erase } = self;
        [flush, compact, sync, commit, expire, space, erase]
    }
}

/// After a failure, the time before the next try.
pub(super) const RETRY: Duration = Duration::from_millis(20);

crate::sync::thread_local! {
    /// Whether this thread is stepping a worker: closing from here must not wait for itself.
    static STEPPING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is inside a worker's step.
pub(crate) fn inside_a_worker() -> bool {
    STEPPING.with(Cell::get)
}

/// Starts all workers.
pub(crate) fn start(core: &Arc<Core>) -> Result<()> {
    let mut started: Vec<Arc<dyn Wake>> = Vec::new();
    let mut start = |name, worker| {
        let wake = spawn(core, name, worker)?;
        started.push(Arc::clone(&wake));
        Ok(wake)
    };
    let wakes = (|| {
        Ok(Wakes {
            flush: start("tidelog-flush", Box::new(FlushWorker::new(core)))?,
            compact: start("tidelog-compact", Box::<CompactWorker>::default())?,
            sync: start("tidelog-sync", Box::new(SyncWorker))?,
            commit: start("tidelog-commit", Box::<CommitWorker>::default())?,
            expire: start("tidelog-expire", Box::<ExpiryWorker>::default())?,
            space: start("tidelog-space", Box::new(SpaceWorker::new()))?,
            erase: start("tidelog-erase", Box::<EraseWorker>::default())?,
        })
    })();
    match wakes {
        Ok(wakes) => {
            let flush = Arc::clone(&wakes.flush);
            core.memory.call_to_touch(move || flush.wake());
            assert!(core.wakes.set(wakes).is_ok(), "workers are started once");
            Ok(())
        }
        Err(error) => {
            // Those that were started must not wait for ever, nor hold the lock.
            core.closed.store(true, Ordering::Release);
            started.iter().for_each(|wake| wake.wake());
            Err(error)
        }
    }
}

/// What a worker does in a step.
pub(super) trait Task: Send + 'static {
    fn step(&mut self, core: &Arc<Core>) -> Progress;

    /// See [`Worker::gives_way`].
    fn gives_way(&self) -> bool {
        false
    }
}

fn spawn(core: &Arc<Core>, name: &'static str, task: Box<dyn Task>) -> Result<Arc<dyn Wake>> {
    core.live_workers.fetch_add(1, Ordering::AcqRel);
    let live = Arc::clone(&core.live_workers);
    let worker = Box::new(CoreWorker { core: Some(Arc::clone(core)), task, live });
    let (health, late) = (core.health.clone(), Arc::downgrade(core));
    let dead = Box::new(move |panic: String| {
        let _ = health.poison(&format!("the worker {name} died"), &Error::invalid(panic));
        if let Some(core) = late.upgrade() {
            // Poisoned, everything that waits is refused.
            core.lead();
        }
    });
    core.scheduler.spawn(name, worker, dead)
}

/// A task and its hold on the core; counts itself out when it has let go.
struct CoreWorker {
    core: Option<Arc<Core>>,
    task: Box<dyn Task>,
    live: Arc<AtomicUsize>,
}

impl Worker for CoreWorker {
    fn step(&mut self) -> Progress {
        let Some(core) = &self.core else { return Progress::Done };
        if core.closed.load(Ordering::Acquire) {
            return Progress::Done;
        }
        let outer = STEPPING.with(|stepping| stepping.replace(true));
        let progress = self.task.step(core);
        STEPPING.with(|stepping| stepping.set(outer));
        progress
    }

    fn gives_way(&self) -> bool {
        self.task.gives_way()
    }
}

impl Drop for CoreWorker {
    fn drop(&mut self) {
        drop(self.core.take());
        self.live.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Flushes the oldest frozen memtable.
struct FlushWorker {
    job: Option<(Arc<Frozen>, FlushJob, FlushPace)>,
    memory: KeptMemory,
}

impl Task for FlushWorker {
    fn gives_way(&self) -> bool {
        true
    }

    fn step(&mut self, core: &Arc<Core>) -> Progress {
        match self.try_step(core) {
            Ok(progress) => progress,
            Err(error) => {
                let cold = self.job.take().is_some_and(|(_, job, _)| job.writes_cold());
                core.free_released(&error);
                core.after_failure();
                match cold {
                    // The next try goes to the hot tier: nobody has to hear of this one.
                    true => core.cold_failed(&error),
                    false => *core.flush_error.lock() = Some(error),
                }
                Progress::Idle(Some(RETRY))
            }
        }
    }
}

impl FlushWorker {
    fn new(core: &Core) -> FlushWorker {
        FlushWorker { job: None, memory: KeptMemory::new(core.raw_clock.monotonic_ms()) }
    }

    fn try_step(&mut self, core: &Arc<Core>) -> Result<Progress> {
        core.health.check()?;
        if core.memory.touch() {
            return Ok(Progress::Busy);
        }
        if self.job.is_none() {
            let view = core.views.current();
            let Some(frozen) = view.frozen.last() else {
                core.set_urgency();
                core.begin_late_log()?;
                let now_ms = core.raw_clock.monotonic_ms();
                let look_again = self.memory.look(now_ms, || core.memory.trim_unused());
                return Ok(Progress::Idle(look_again));
            };
            let job = core.flush_job(frozen);
            let now_ms = core.raw_clock.monotonic_ms();
            self.memory.flush_begins(now_ms);
            let pace = FlushPace::new(now_ms);
            self.job = Some((Arc::clone(frozen), job, pace));
        }
        let Some((frozen, job, pace)) = &mut self.job else {
            return Ok(Progress::Busy);
        };
        let bytes = frozen.memtable.bytes() as u64;
        if let Some(limit) = pace.wait(core, job.done_bytes(), bytes) {
            return Ok(Progress::Idle(Some(limit)));
        }
        core.set_urgency();
        if core.flush_is_waited_for() {
            job.hurry();
        }
        if let Some(output) = job.step()? {
            // The job stays until its outcome is live: it says whose failure a failure is.
            core.finish_flush(Arc::clone(frozen), output)?;
            self.job = None;
            *core.flush_error.lock() = None;
            core.wake(|wakes| &wakes.compact);
            core.wake(|wakes| &wakes.expire);
        }
        Ok(Progress::Busy)
    }
}

impl Core {
    /// The job that flushes `frozen`.
    pub(crate) fn flush_job(&self, frozen: &Frozen) -> FlushJob {
        // Not while a grid changes: what was committed from then on would go by the old one.
        let grids = self.grids.lock();
        // The clock first, then the records, as readers do.
        let now_ms = self.expiry_now();
        let view = self.views.current();
        drop(grids);
        let usable = self.cold_usable();
        let table = |record: &TableRecord| {
            let cold = cold_flush(&view.version, record.id, &record.options, usable);
            let warm = WarmUp::is_due_above(&view.version, record.id);
            FlushTable::new(record, now_ms).into_cold(cold).into_warm(warm)
        };
        let tables = view.tables.values().map(table).collect();
        FlushJob::new(
            self.output.clone(),
            Arc::clone(&frozen.memtable),
            tables,
            self.snapshots.commits(),
        )
        .without(&self.dropped_of(&view, &frozen.memtable))
    }

    /// Tables of a memtable that were dropped since: their ids were given out, and nobody has them
    /// any more. An id that was never given out is for the job to complain of.
    fn dropped_of(&self, view: &View, memtable: &Memtable) -> Vec<TableId> {
        let ids = memtable.tables().into_iter().map(|(id, _)| id);
        let gone: Vec<TableId> = ids.filter(|id| !view.tables.contains_key(id)).collect();
        if gone.is_empty() {
            return gone;
        }
        let next_table = self.root.lock().catalog.next_table;
        gone.into_iter().filter(|id| !id.is_engine_owned() && id.0 < next_table).collect()
    }

    /// That there are entries with a time to live of their own, for tables of which the catalog
    /// does not know it yet: what the log says of them goes with the flush.
    fn own_ttl_edits(&self, root: &Root) -> Vec<Edit> {
        let view = self.views.current();
        let records = view.own_ttl.iter().filter_map(|id| root.catalog.tables.get(id));
        let new = records.filter(|record| !record.own_ttl);
        new.map(|record| Edit::TableAltered(TableRecord { own_ttl: true, ..record.clone() }))
            .collect()
    }

    /// Makes a flush durable and visible.
    pub(crate) fn finish_flush(&self, frozen: Arc<Frozen>, output: FlushOutput) -> Result<()> {
        let FlushOutput { sstables, segments } = output;
        let bytes: u64 = sstables.iter().map(|sstable| sstable.meta().extent.length).sum();
        let shared: u64 = segments.iter().map(|segment| segment.meta().extent.length).sum();
        let bytes = bytes + shared;
        self.commit_root_with(|root| {
            let of_table = |sstable: &Arc<Sstable>| root.has_table(sstable.meta().table);
            let (live, dropped): (Vec<_>, Vec<_>) = sstables.into_iter().partition(of_table);
            self.output.discard(dropped, Vec::new());
            let added = live.into_iter().map(|sstable| (0, sstable)).collect();
            let edits = self.own_ttl_edits(root);
            Ok(Change { edits, added, segments, flushed: Some(frozen), ..Change::default() })
        })?;
        Counters::add(&self.counters.flushes, 1);
        Counters::add(&self.counters.flushed_bytes, bytes);
        Ok(())
    }
}

/// Syncs the log when an `Interval` commit is due. It does nothing else, and waits for nobody but
/// the disk of the log: whoever has the root may be waiting for another one.
pub(super) struct SyncWorker;

impl Task for SyncWorker {
    fn step(&mut self, core: &Arc<Core>) -> Progress {
        if core.health.check().is_err() {
            return Progress::Idle(None);
        }
        match core.sync_due.look(core.raw_clock.monotonic_ms()) {
            Due::Never => Progress::Idle(None),
            Due::In(rest_ms) => Progress::Idle(Some(Duration::from_millis(rest_ms))),
            Due::Now => {
                // A failure poisons the store, which the next commit reports.
                let _ = core.sync_log();
                Progress::Busy
            }
        }
    }
}

/// Leads for callers that do not wait on a thread.
#[derive(Default)]
struct CommitWorker {
    pace: CommitPace,
}

impl Task for CommitWorker {
    fn step(&mut self, core: &Arc<Core>) -> Progress {
        let wait = self.pace.wait(core);
        if !core.queue.is_empty() {
            if let Some(limit) = wait {
                return Progress::Idle(Some(limit));
            }
            let log_bytes = || core.counters.log_bytes.load(Ordering::Relaxed);
            let before = log_bytes();
            if core.lead() {
                self.pace.led(core, log_bytes() - before);
                return Progress::Busy;
            }
        }
        if core.health.check().is_err() {
            // A leader that panicked has kept the wakers of the groups before.
            core.lead();
        }
        Progress::Idle(None)
    }
}
