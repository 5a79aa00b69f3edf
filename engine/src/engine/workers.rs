//! The background workers: flush, compaction, log sync, commits of async callers.
//!
//! Each is stepped by the scheduler and does a bounded piece of work a step. None holds a lock
//! between steps. A worker that dies poisons the store: no silent stop.

use super::root::Change;
use super::{Core, Counters};
use crate::compaction::{CompactionJob, FlushJob, PickerOptions, pick};
use crate::error::{Error, Result};
use crate::limits;
use crate::read::Frozen;
use crate::runtime::{Progress, Wake, Worker};
use crate::sstable::Sstable;
use crate::sync::{Arc, Ordering};
use std::collections::BTreeSet;
use std::time::Duration;

/// How to wake each worker.
pub(crate) struct Wakes {
    pub(crate) flush: Arc<dyn Wake>,
    pub(crate) compact: Arc<dyn Wake>,
    pub(crate) sync: Arc<dyn Wake>,
    pub(crate) commit: Arc<dyn Wake>,
}

/// After a failure, the time before the next try.
const RETRY: Duration = Duration::from_millis(20);

/// Starts all workers.
pub(crate) fn start(core: &Arc<Core>) -> Result<()> {
    let flush = spawn(core, "tidelog-flush", |core| FlushWorker {
        core,
        job: None,
    })?;
    let compact = spawn(core, "tidelog-compact", |core| CompactWorker {
        core,
        job: None,
    })?;
    let sync = spawn(core, "tidelog-sync", |core| SyncWorker { core })?;
    let commit = spawn(core, "tidelog-commit", |core| CommitWorker { core })?;
    let set = core.wakes.set(Wakes {
        flush,
        compact,
        sync,
        commit,
    });
    assert!(set.is_ok(), "workers are started once");
    Ok(())
}

fn spawn<W: Worker>(
    core: &Arc<Core>,
    name: &'static str,
    make: impl FnOnce(Counted) -> W,
) -> Result<Arc<dyn Wake>> {
    core.live_workers.fetch_add(1, Ordering::AcqRel);
    let worker = Box::new(make(Counted(Arc::clone(core))));
    let health = core.health.clone();
    let dead = Box::new(move |panic: String| {
        let _ = health.poison(&format!("the worker {name} died"), &Error::invalid(panic));
    });
    core.scheduler.spawn(name, worker, dead)
}

/// A worker's hold on the core; counts itself out when dropped.
struct Counted(Arc<Core>);

impl std::ops::Deref for Counted {
    type Target = Arc<Core>;

    fn deref(&self) -> &Arc<Core> {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.live_workers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Flushes the oldest frozen memtable.
struct FlushWorker {
    core: Counted,
    job: Option<(Arc<Frozen>, FlushJob)>,
}

impl Worker for FlushWorker {
    fn step(&mut self) -> Progress {
        if self.core.closed.load(Ordering::Acquire) {
            self.job = None;
            return Progress::Done;
        }
        match self.try_step() {
            Ok(progress) => progress,
            Err(error) => {
                self.job = None;
                *self.core.flush_error.lock() = Some(error);
                Progress::Idle(Some(RETRY))
            }
        }
    }
}

impl FlushWorker {
    fn try_step(&mut self) -> Result<Progress> {
        let core = &self.core;
        core.health.check()?;
        if self.job.is_none() {
            let view = core.views.current();
            let Some(frozen) = view.frozen.last() else {
                core.pacer.set_urgent(false);
                return Ok(Progress::Idle(None));
            };
            // Writers fill the other memtable meanwhile: a flush is never slowed down for good
            // manners.
            core.pacer.set_urgent(true);
            let job = core.flush_job(&view, frozen);
            self.job = Some((Arc::clone(frozen), job));
        }
        let Some((frozen, job)) = &mut self.job else {
            return Ok(Progress::Busy);
        };
        if let Some(output) = job.step()? {
            let frozen = Arc::clone(frozen);
            self.job = None;
            core.finish_flush(frozen, output.sstables)?;
            *core.flush_error.lock() = None;
            core.wake(|wakes| &wakes.compact);
        }
        Ok(Progress::Busy)
    }
}

impl Core {
    /// The job that flushes `frozen`.
    pub(crate) fn flush_job(&self, view: &crate::read::View, frozen: &Frozen) -> FlushJob {
        let tables = view
            .tables
            .values()
            .map(|record| (record.id, record.options.kind, record.options.compression))
            .collect();
        FlushJob::new(
            self.output.clone(),
            Arc::clone(&frozen.memtable),
            tables,
            self.snapshots.commits(),
        )
    }

    /// Makes a flush durable and visible.
    pub(crate) fn finish_flush(
        &self,
        frozen: Arc<Frozen>,
        sstables: Vec<Arc<Sstable>>,
    ) -> Result<()> {
        let bytes = sstables
            .iter()
            .map(|sstable| sstable.meta().extent.length)
            .sum();
        let added = sstables.into_iter().map(|sstable| (0, sstable)).collect();
        self.commit_root(Change {
            added,
            flushed: Some(frozen),
            ..Change::default()
        })?;
        Counters::add(&self.counters.flushes, 1);
        Counters::add(&self.counters.flushed_bytes, bytes);
        Ok(())
    }
}

/// Picks and runs compactions, one at a time.
struct CompactWorker {
    core: Counted,
    job: Option<CompactionJob>,
}

impl Worker for CompactWorker {
    fn step(&mut self) -> Progress {
        if self.core.closed.load(Ordering::Acquire) {
            self.job = None;
            return Progress::Done;
        }
        match self.try_step() {
            Ok(progress) => progress,
            Err(error) => {
                self.job = None;
                *self.core.compaction_error.lock() = Some(error);
                Progress::Idle(Some(RETRY * 10))
            }
        }
    }
}

impl Core {
    /// The most urgent compaction, if any is due.
    fn pick_compaction(&self) -> Option<CompactionJob> {
        let asked = self.compact_all.load(Ordering::Acquire);
        let options = PickerOptions {
            level0_compact: if asked { 1 } else { limits::LEVEL0_COMPACT },
            level_bytes_base: limits::LEVEL0_COMPACT as u64 * self.options.sstable_bytes,
            ratio: limits::LEVEL_RATIO,
            sstable_bytes: self.options.sstable_bytes,
        };
        let view = self.views.current();
        let job = pick(&view.version, &options, &BTreeSet::new())?;
        let table = view
            .tables
            .get(&job.table)
            .expect("SSTables belong to tables");
        let compression = table.options.compression;
        let snapshots = self.snapshots.commits();
        Some(CompactionJob::new(
            self.output.clone(),
            job,
            compression,
            snapshots,
        ))
    }
}

impl CompactWorker {
    fn try_step(&mut self) -> Result<Progress> {
        let core = &self.core;
        core.health.check()?;
        let Some(job) = &mut self.job else {
            self.job = core.pick_compaction();
            if self.job.is_none() {
                core.compact_all.store(false, Ordering::Release);
                return Ok(Progress::Idle(None));
            }
            return Ok(Progress::Busy);
        };
        if let Some(output) = job.step()? {
            self.job = None;
            let bytes = output
                .added
                .iter()
                .map(|(_, s)| s.meta().extent.length)
                .sum();
            core.commit_root(Change {
                removed: output.removed,
                added: output.added,
                moved: output.moved,
                ..Change::default()
            })?;
            *core.compaction_error.lock() = None;
            Counters::add(&core.counters.compactions, 1);
            Counters::add(&core.counters.compacted_bytes, bytes);
        }
        Ok(Progress::Busy)
    }
}

/// Syncs the log when an `Interval` commit is due.
struct SyncWorker {
    core: Counted,
}

impl Worker for SyncWorker {
    fn step(&mut self) -> Progress {
        let core = &self.core;
        if core.closed.load(Ordering::Acquire) {
            return Progress::Done;
        }
        let due = core.sync_due_ms.load(Ordering::Acquire);
        if due == u64::MAX || core.health.check().is_err() {
            return Progress::Idle(None);
        }
        let now = core.raw_clock.monotonic_ms();
        if now < due {
            return Progress::Idle(Some(Duration::from_millis(due - now)));
        }
        // Commits that come from here on set a new due time.
        core.sync_due_ms.store(u64::MAX, Ordering::Release);
        // A failure poisons the store, which the next commit reports.
        let _ = core.sync();
        Progress::Busy
    }
}

/// Leads for callers that do not wait on a thread.
struct CommitWorker {
    core: Counted,
}

impl Worker for CommitWorker {
    fn step(&mut self) -> Progress {
        if self.core.closed.load(Ordering::Acquire) {
            return Progress::Done;
        }
        if !self.core.queue.is_empty() && self.core.lead() {
            return Progress::Busy;
        }
        Progress::Idle(None)
    }
}
