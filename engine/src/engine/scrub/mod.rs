//! Scrub: reads what the store holds from the device, at a pace, while everything else goes on.
//!
//! ```text
//! superblock copies ─► log ─► manifest ─► segments by number ─► cold file ─► SSTables by number
//!                                           each: pin it ─ read and verify ─ let go
//! ```
//! 1. A pass covers what is live when it begins and still is when it comes by: SSTables and
//!    segments are gone through by their numbers, which only grow and which keep to a structure
//!    that is moved in the file. What is written meanwhile belongs to the next pass. So a pass
//!    ends, and needs no version of its own: each step looks into the present view.
//! 2. One structure is pinned at a time, by the guard of its extent. Compaction, erasure and
//!    expiry go on; the space of what they drop waits for the scrub no longer than it takes to read
//!    that one SSTable or segment.
//! 3. What is read comes past map, block cache and the page cache of the system (`file/fresh.rs`),
//!    and every checksum is computed anew. Superblock, log and manifest are judged as by a reader
//!    in another process (`check/`), since the engine goes on writing them.
//! 4. A fault is reported, counted in [`Stats::scrub`](crate::Stats::scrub), and believed by
//!    readers: from then on blocks in the map of that SSTable (of any segment: records) are
//!    verified at each touch, so that a rotten one is an error and no wrong answer, and no
//!    compaction copies it. What memory still has in its right form goes on being served, as long
//!    as it has it.
//!
//! # Invariants
//! 1. No lock of the store is held while something is read, and none is taken that is held across
//!    I/O.
//! 2. Memory: a few pieces of 256 KiB, one block or record, and the faults in words, at most
//!    `limits::SCRUB_FAULTS_MAX` of them; the catalog once, while the manifest is checked.
//!
//! # Concurrency
//! One scrub of a store at a time: two would read twice as fast as either was asked to. It runs on
//! the thread that steps it.

mod pass;
mod report;

pub(crate) use report::ScrubState;
pub use report::{
    EntrySpan, ScrubCounts, ScrubFault, ScrubProgress, ScrubReport, ScrubStats, ScrubStructure,
};

use super::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{ReadPace, Stop};
use crate::inspect::check_pace;
use crate::options::ScrubOptions;
use crate::sync::{Arc, AtomicBool, Ordering};
use pass::Pass;

/// A scrub of an open store, see [`Engine::scrub`](crate::Engine::scrub). Dropping it ends it.
///
/// ```
/// use tidelog_engine::{Engine, Options, ScrubOptions};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("chat.tide");
/// let engine = Engine::open(&path, Options::default())?;
/// let mut scrub = engine.scrub(ScrubOptions::default().pace(32 << 20))?;
/// while scrub.step()? {
///     println!("{} bytes read", scrub.progress().read_bytes);
/// }
/// assert_eq!(scrub.report().faults, []);
/// # drop(scrub);
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scrub {
    /// `None` once the store was closed: the scrub keeps no file open.
    core: Option<Arc<Core>>,
    pass: Pass,
    cancelled: Arc<AtomicBool>,
    /// Tells the store when the scrub goes.
    _running: Running,
}

/// Ends a scrub from another thread.
#[derive(Debug, Clone)]
pub struct ScrubCancel {
    cancelled: Arc<AtomicBool>,
}

impl ScrubCancel {
    /// The scrub ends at its next read: its report is of a part, and says so.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

/// That a store has a scrub.
#[derive(Debug)]
struct Running(Arc<ScrubState>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl std::fmt::Debug for Scrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrub").field("pass", &self.pass).finish_non_exhaustive()
    }
}

impl Scrub {
    pub(super) fn new(core: &Arc<Core>, options: ScrubOptions) -> Result<Scrub> {
        core.check_open()?;
        check_pace(options.pace)?;
        if core.options.read_only {
            let what = "a scrub needs the store opened for writing: verify the file instead";
            return Err(Error::invalid(what));
        }
        if !core.scrub.begin() {
            return Err(Error::AlreadyExists { what: "a scrub of this store".to_owned() });
        }
        let running = Running(Arc::clone(&core.scrub));
        let cancelled = Arc::new(AtomicBool::new(false));
        let (clock, scheduler) = (Arc::clone(&core.raw_clock), Arc::clone(&core.scheduler));
        let stop = stop(core, &cancelled);
        let pace = Arc::new(ReadPace::new(clock, scheduler, options.pace, stop));
        let pass = Pass::new(core, pace);
        Ok(Scrub { core: Some(Arc::clone(core)), pass, cancelled, _running: running })
    }

    /// Checks the next structure, and says whether there are more. Takes as long as the pace says:
    /// by default four seconds for an SSTable of 64 MiB.
    ///
    /// # Errors
    /// `Closed` once the store was closed, also while a step waits or reads: it ends at once.
    /// Faults are no errors: see [`Scrub::report`].
    pub fn step(&mut self) -> Result<bool> {
        let Some(core) = self.core.clone() else {
            return Err(closed());
        };
        if self.cancelled.load(Ordering::Acquire) {
            return Ok(false);
        }
        match self.pass.step(&core) {
            Ok(more) => Ok(more),
            Err(error) if error.kind() == ErrorKind::Closed => {
                if core.is_closing() {
                    self.core = None;
                    return Err(closed());
                }
                // It was cancelled.
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Checks all that is left.
    ///
    /// # Errors
    /// As [`Scrub::step`].
    pub fn run(mut self) -> Result<ScrubReport> {
        while self.step()? {}
        Ok(self.pass.into_report())
    }

    /// What was found so far.
    pub fn report(&self) -> &ScrubReport {
        self.pass.report()
    }

    /// How far it is.
    pub fn progress(&self) -> ScrubProgress {
        self.pass.progress()
    }

    /// A way to end it from another thread.
    pub fn cancel(&self) -> ScrubCancel {
        ScrubCancel { cancelled: Arc::clone(&self.cancelled) }
    }
}

fn closed() -> Error {
    Error::Closed { what: "the store was closed during a scrub" }
}

fn stop(core: &Arc<Core>, cancelled: &Arc<AtomicBool>) -> Stop {
    let (core, cancelled) = (Arc::downgrade(core), Arc::clone(cancelled));
    Box::new(move || {
        if cancelled.load(Ordering::Acquire) {
            return Err(Error::Closed { what: "the scrub was cancelled" });
        }
        match core.upgrade() {
            Some(core) if !core.is_closing() => Ok(()),
            _ => Err(closed()),
        }
    })
}
