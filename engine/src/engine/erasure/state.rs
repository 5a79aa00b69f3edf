//! What the worker that erases shares with the leader, and with whoever asks how far it is.

use super::pending::Pending;
use crate::engine::Core;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// How it stands with the erasure of what was retracted, see
/// [`TableOptions::erase_after`](crate::TableOptions::erase_after).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasureStats {
    /// Milliseconds since the oldest retraction whose bytes have not been erased yet, of all tables
    /// with an erasure deadline; `None` where nothing waits.
    pub oldest_pending_ms: Option<u64>,
    /// Whether a pass is at work.
    pub running: bool,
    /// Passes that have ended well since the store was opened.
    pub passes: u64,
    /// What the pass waits for, or what keeps it from beginning, if there is something: a snapshot
    /// from before a retraction, readers that hold old bytes.
    pub waits_for: Option<String>,
    /// Why a pass failed last, until none is due that has failed. It is tried again. What cannot be
    /// read holds up the tables of which it may hide something, and no others.
    pub problem: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Erasure {
    pub(super) pending: Pending,
    pub(super) running: AtomicBool,
    pub(super) passes: AtomicU64,
    pub(super) waits_for: Mutex<Option<String>>,
    pub(super) problem: Mutex<Option<Error>>,
    /// A piece of the ring is to be overwritten by whoever leads next.
    wipe_wanted: AtomicBool,
    wipe: Mutex<Wipe>,
}

/// The part of the ring that is being overwritten, as positions of the log.
#[derive(Debug, Default)]
struct Wipe {
    next: u64,
    end: u64,
    error: Option<Error>,
}

impl Erasure {
    /// A retraction was published. Says whether the worker should look.
    pub(crate) fn note(&self, table: TableId, commit: u64, time_ms: u64) -> bool {
        self.pending.note(table, commit, time_ms)
    }

    /// The ring is to be overwritten between these positions.
    pub(super) fn begin_wipe(&self, from: u64, end: u64) {
        *self.wipe.lock() = Wipe { next: from, end, error: None };
    }

    /// Asks for a piece, which whoever leads next overwrites. Says whether it was the last one.
    pub(super) fn ask_for_wipe(&self, core: &Core) -> Result<bool> {
        self.wipe_wanted.store(true, Ordering::Release);
        core.lead();
        let mut wipe = self.wipe.lock();
        match wipe.error.take() {
            Some(error) => Err(error),
            None => Ok(wipe.next >= wipe.end),
        }
    }

    /// The leader's, between groups: overwrites a piece, if one was asked for.
    pub(crate) fn wipe_piece(&self, overwrite: impl FnOnce(u64, u64) -> Result<u64>) {
        let wanted = self.wipe_wanted.load(Ordering::Acquire);
        if !wanted || !self.wipe_wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut wipe = self.wipe.lock();
        if wipe.next < wipe.end {
            match overwrite(wipe.next, wipe.end) {
                Ok(next) => wipe.next = next,
                Err(error) => wipe.error = Some(error),
            }
        }
    }
}

impl Core {
    pub(in crate::engine) fn erasure_stats(&self) -> ErasureStats {
        let erasure = &self.erasure;
        let now_ms = self.clock.commit_now();
        ErasureStats {
            oldest_pending_ms: erasure.pending.since_ms().map(|ms| now_ms.saturating_sub(ms)),
            running: erasure.running.load(Ordering::Relaxed),
            passes: erasure.passes.load(Ordering::Relaxed),
            waits_for: erasure.waits_for.lock().clone(),
            problem: erasure.problem.lock().as_ref().map(ToString::to_string),
        }
    }
}
