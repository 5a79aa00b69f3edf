//! When the log must be synced, for commits with `Durability::Interval`.
//!
//! ```text
//! leader   group written ─► asks for a sync within its time ─► calls the worker, unless it comes
//! worker   the time has come ─► takes it away ─► looks how far the log is written ─► syncs that
//! ```
//!
//! # Invariants
//! 1. Who asks is synced in time: either the worker takes the time away behind the asking, and then
//!    sees what was written before it, or the one who asks sees that it was taken away, and calls.
//!
//! # Concurrency
//! Both change the time by one step that reads it as well, so that one of them comes behind the
//! other. A plain store would not do: it may still be on its way to the others when the look behind
//! it, at the log, is over.

use crate::sync::{AtomicU64, Ordering};

/// Nobody has asked.
const NEVER: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct SyncDue(AtomicU64);

/// What the worker has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, until it is called.
    Never,
    /// Nothing for so many milliseconds.
    In(u64),
    /// To sync what is written. Who asks from here on asks anew.
    Now,
}

impl Default for SyncDue {
    fn default() -> SyncDue {
        SyncDue(AtomicU64::new(NEVER))
    }
}

impl SyncDue {
    /// What is written is to be synced by this time of the monotonic clock. Whether the worker must
    /// be called for it.
    pub(super) fn ask(&self, due_ms: u64) -> bool {
        self.0.fetch_min(due_ms, Ordering::AcqRel) > due_ms
    }

    /// The worker's.
    pub(super) fn look(&self, now_ms: u64) -> Due {
        match self.0.load(Ordering::Acquire) {
            NEVER => Due::Never,
            due_ms if now_ms < due_ms => Due::In(due_ms - now_ms),
            _ => {
                self.0.swap(NEVER, Ordering::AcqRel);
                Due::Now
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_sooner_time_holds_and_is_taken_away_once() {
        let due = SyncDue::default();
        assert_eq!(due.look(5), Due::Never);
        assert!(due.ask(9), "nobody has asked");
        assert!(!due.ask(12), "the worker comes sooner");
        assert!(due.ask(7), "the worker would come later");
        assert_eq!((due.look(5), due.look(6)), (Due::In(2), Due::In(1)));
        assert_eq!((due.look(7), due.look(7)), (Due::Now, Due::Never));
        assert!(!due.ask(u64::MAX), "never");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::Arc;
    use loom::thread;

    /// The time was taken away by a plain store. A commit that came in just then saw the time of
    /// the one before, called nobody, and was not seen by the sync: where no other followed, it
    /// was synced with the next flush, or never.
    #[test]
    fn loom_who_asks_is_synced_or_calls_the_worker() {
        loom::model(|| {
            let (due, written) = (SyncDue::default(), AtomicU64::new(0));
            assert!(due.ask(1), "somebody has asked before");
            let log = Arc::new((due, written));
            let beside = Arc::clone(&log);
            let leader = thread::spawn(move || {
                beside.1.store(1, Ordering::Release);
                beside.0.ask(3)
            });
            assert_eq!(log.0.look(2), Due::Now);
            let synced = log.1.load(Ordering::Acquire);
            let called = leader.join().unwrap();
            assert!(synced == 1 || called, "nobody syncs it");
        });
    }
}
