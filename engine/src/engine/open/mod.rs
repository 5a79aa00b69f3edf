//! Opening and closing, in order.
//!
//! ```text
//! lock ─► superblock ─► manifest ─► (writer) the log is read ─► allocator
//!      ─► replay the log into memtables, flushing where two of them do not hold it
//!      ─► (writer) begin a new log that holds the same, under a new salt ─► workers
//! ```
//! Recovery writes only to free space, of the ring too, until its last step, the superblock that
//! begins the new log; so it may crash anywhere, any number of times, and starts again from the
//! same root.

mod cold;
mod create;
mod fill;
mod first_pass;
#[cfg(test)]
mod hostile_tests;
mod recover;
mod replay;
mod tail;
mod without_log;

pub(super) use cold::ColdFile;
pub(super) use without_log::{NewLog, WithoutLog};

use super::root::Change;
use super::{Core, workers};
use crate::error::{Error, Result};
use crate::file::disk::Disk;
use crate::file::superblock;
use crate::file::{GatedDisk, OpenMode, OsDisk};
use crate::limits;
use crate::options::Options;
use crate::runtime::{Clock, Entropy, Scheduler, SystemClock, SystemEntropy, ThreadScheduler};
use crate::sync::{Arc, Ordering};
use std::path::Path;
use std::time::Duration;

/// Opens the cold file, when the store needs it.
pub type OpenCold = Arc<dyn Fn(OpenMode) -> Result<Arc<dyn Disk>> + Send + Sync>;

/// The seams a store stands on.
pub struct Parts {
    /// The file.
    pub disk: Arc<dyn Disk>,
    /// The cold file, if one is given.
    pub cold: Option<OpenCold>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Threads.
    pub scheduler: Arc<dyn Scheduler>,
    /// Randomness, for file ids and salts.
    pub entropy: Arc<dyn Entropy>,
    /// What errors call the store: its path.
    pub name: String,
}

impl Parts {
    /// The operating system's file, clock and threads.
    ///
    /// # Errors
    /// `NotFound` when the file does not exist and is not to be created; `Io`.
    pub fn real(path: &Path, options: &Options) -> Result<Parts> {
        options.validate()?;
        let mode = match (options.read_only, options.create) {
            (true, _) => OpenMode::ReadOnly,
            (false, true) => OpenMode::CreateReadWrite,
            (false, false) => OpenMode::ReadWrite,
        };
        let cold = options.cold_file.clone().map(|path| {
            let open = move |mode| Ok(Arc::new(OsDisk::open(&path, mode)?) as Arc<dyn Disk>);
            Arc::new(open) as OpenCold
        });
        Ok(Parts {
            disk: Arc::new(OsDisk::open(path, mode)?),
            cold,
            clock: Arc::new(SystemClock::new()),
            scheduler: Arc::new(ThreadScheduler::new()),
            entropy: Arc::new(SystemEntropy),
            name: path.display().to_string(),
        })
    }
}

/// Opens a store.
pub(super) fn open(parts: Parts, options: Options) -> Result<Arc<Core>> {
    options.validate()?;
    let options = options.within_budget();
    let ungated = parts.disk;
    let parts = Parts { disk: Arc::new(GatedDisk::new(Arc::clone(&ungated))), ..parts };
    if !options.read_only && !locked(&parts)? {
        return Err(Error::Locked { path: parts.name });
    }
    if superblock::is_unfinished(&*parts.disk)? {
        if options.read_only || !options.create {
            return Err(Error::NotFound { what: format!("a store in {}", parts.name) });
        }
        create::create(&parts, &options)?;
    }
    let core = match options.read_only {
        true => recover::open_beside_writer(&parts, &options)?,
        false => recover::open_for_writing(&parts, ungated, &options)?,
    };
    if !options.read_only {
        workers::start(&core)?;
    }
    Ok(core)
}

fn locked(parts: &Parts) -> Result<bool> {
    try_lock(parts, &*parts.disk, "locking the store")
}

/// Takes the lock of a file. A process that was killed may hold it for some milliseconds more:
/// until the system has ended the last write that it had begun. So a lock that is held is asked for
/// again for a moment.
fn try_lock(parts: &Parts, disk: &dyn Disk, operation: &'static str) -> Result<bool> {
    let tries = if parts.scheduler.single_threaded() { 1 } else { limits::LOCK_TRIES };
    for _ in 1..tries {
        if disk.try_lock().map_err(|error| Error::io(operation, 0, error))? {
            return Ok(true);
        }
        parts.scheduler.pause(limits::LOCK_PAUSE);
    }
    disk.try_lock().map_err(|error| Error::io(operation, 0, error))
}

impl Core {
    /// Flushes, stops the workers, marks the file as closed in order.
    pub(crate) fn close(&self) -> Result<()> {
        self.check_process()?;
        if self.options.read_only {
            self.closed.store(true, Ordering::Release);
            return Ok(());
        }
        if self.closing.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let let_go = EndWorkers(self);
        let outcome = self.close_in_order();
        std::mem::forget(let_go);
        outcome
    }

    fn close_in_order(&self) -> Result<()> {
        if self.without_log.check().is_err() {
            // The old log is whole, and the root names it: the next opening replays it.
            self.closed.swap(true, Ordering::AcqRel);
            self.stop_workers();
            return Ok(());
        }
        let flushed = self.drain();
        self.retire_leader();
        self.closed.swap(true, Ordering::AcqRel);
        self.stop_workers();
        // What a caller pushed just before it could see that the store is closed.
        self.lead();
        if let Err(error) = flushed {
            // No worker is left that would do it, or hear of it.
            let _ = self.sync_log();
            self.after_failure();
            return Err(error);
        }
        let clean = Change { clean: true, unsynced: Some(false), ..Change::default() };
        self.commit_root(clean)
    }

    /// Commits what was queued before the closing, and flushes it; again, if more came in time.
    fn drain(&self) -> Result<()> {
        loop {
            while !self.queue.is_empty() {
                if !self.lead() {
                    self.scheduler.pause(Duration::from_micros(100));
                }
            }
            self.flush_memtables()?;
            let Some(leadership) = self.queue.try_lead() else {
                // Whoever leads may need this processor to go on.
                self.scheduler.pause(Duration::from_micros(100));
                continue;
            };
            // Nobody leads now: what is published is all there is.
            let published = self.published.load(Ordering::Acquire);
            // More may count as flushed: an epoch leaves commit numbers out.
            let flushed = published <= self.flushed_through.load(Ordering::Acquire);
            // A leader may have put back what it had taken out while the queue was looked at.
            if flushed && self.queue.is_empty() {
                *self.leader.lock() = None;
                drop(leadership);
                return Ok(());
            }
        }
    }

    /// Whatever comes from here on is refused as closed.
    fn retire_leader(&self) {
        loop {
            if let Some(leadership) = self.queue.try_lead() {
                *self.leader.lock() = None;
                drop(leadership);
                break;
            }
            self.scheduler.pause(Duration::from_micros(100));
        }
        // What was pushed meanwhile, by callers that do not lead.
        self.lead();
    }

    fn stop_workers(&self) {
        let Some(wakes) = self.wakes.get() else {
            return;
        };
        let own = usize::from(workers::inside_a_worker());
        while self.live_workers.load(Ordering::Acquire) > own {
            wakes.all().into_iter().for_each(|wake| wake.wake());
            self.scheduler.pause(Duration::from_micros(100));
        }
    }
}

/// Dropped by a panic of whoever closes: the workers end all the same, and let go of the file. What
/// was not flushed is in the log.
struct EndWorkers<'a>(&'a Core);

impl Drop for EndWorkers<'_> {
    fn drop(&mut self) {
        let error = Error::Closed { what: "closing was cut off by a panic" };
        let _ = self.0.health.poison("closing the store failed", &error);
        self.0.closed.store(true, Ordering::Release);
        if let Some(wakes) = self.0.wakes.get() {
            wakes.all().into_iter().for_each(|wake| wake.wake());
        }
    }
}
