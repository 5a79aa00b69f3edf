//! The pace of commits: what `commit/stall.rs` decides, done to whoever commits.
//!
//! ```text
//! level 0    48 SSTables ────────────────────── 96 ──────────────────────────────────────────►
//! a caller   sleeps before it queues,           waits before it queues
//!            for each of its bytes
//! a future   queues; the commit worker rests    queues; nobody takes anything out of the queue,
//!            behind what it has led, as long    the commit worker looks each millisecond whether
//!            as a caller would have slept       that is over
//! ```
//! A future cannot wait before it queues. Its batch has its place among the commits from the call
//! on, whether or not it is polled, and also where it is dropped; and the thread that polls it is
//! not to sleep. So the queue waits, as a whole: what a caller has pushed meanwhile waits too,
//! behind what came before it.
//!
//! # Invariants
//! 1. While level 0 is full no group is begun, whoever leads. So level 0 gets no deeper than its
//!    limit and what memtables hold, however much is queued.
//! 2. Leadership is free meanwhile. A flush can freeze the memtable, the erasure can wipe, and the
//!    futures of what was committed are woken at once.
//! 3. The commit worker looks again while anything waits, without being called. So no wake-up can
//!    be lost, whatever it is that ends the waiting: room, a failure, the end of the store.
//! 4. Nobody waits in vain. Where compaction fails, or the store is poisoned, what is queued gets
//!    the error that a caller gets who waits. A store that is being closed compacts no more: what
//!    is queued then is committed beyond the limit.
//! 5. Callers that sleep beside each other are together no faster than one.
//! 6. No caller sleeps twice: while one waits in the queue for what a leader has left to the worker
//!    the worker does not rest. The caller has slept for its bytes before it queued.
//!
//! How much is queued is not bounded here, but by those who call: each future stands for one batch,
//! and to refuse it or to block the call would be worse than to let its caller keep count.
//!
//! # Concurrency
//! Level 0 is seen by one relaxed load, of a value that may be out of date: it is looked at again.
//! So is the number of those who sleep.
//! [`CommitPace`] is the commit worker's own.

use super::workers::inside_a_worker;
use super::{Core, Counters};
use crate::commit::{Pressure, Stall, stall};
use crate::error::{ErrorKind, Result};
use crate::limits::{LEVEL0_SLOW, LEVEL0_STOP};
use crate::sync::{AtomicU32, Ordering};
use std::time::Duration;

/// Longest sleep at once: then whoever waits looks again whether it is still to wait so long.
const PIECE: Duration = Duration::from_millis(10);
/// How often whoever waits for room looks again.
const LOOK: Duration = Duration::from_millis(1);

impl Core {
    /// Slows a caller down, or stops it, while background work is behind.
    pub(super) fn wait_for_pace(&self, bytes: usize) -> Result<()> {
        let mut slept = Duration::ZERO;
        let mut beside = None;
        loop {
            match stall(&self.pressure(), bytes) {
                Stall::Go => return Ok(()),
                Stall::Slow(delay) => {
                    let beside = &*beside.get_or_insert_with(|| Slowed::join(&self.slowed));
                    let piece = (delay * beside.count()).saturating_sub(slept).min(PIECE);
                    if piece.is_zero() {
                        return Ok(());
                    }
                    if !slept.is_zero() {
                        self.check_writable()?;
                    }
                    self.scheduler.pause(piece);
                    self.count_stalled(piece);
                    slept += piece;
                    if inside_a_worker() {
                        // A waker that commits: futures wait for this thread.
                        return Ok(());
                    }
                }
                Stall::Stop => {
                    self.check_writable()?;
                    self.compaction_failure()?;
                    self.wait_for_room();
                }
            }
        }
    }

    /// Lets a moment pass for a caller that waits while level 0 is full.
    pub(super) fn wait_for_room(&self) {
        self.wake(|wakes| &wakes.compact);
        self.scheduler.pause(LOOK);
        self.count_stalled(LOOK);
    }

    /// Whether a group may be begun.
    ///
    /// # Errors
    /// It may not, and to wait would be in vain.
    pub(crate) fn has_room(&self) -> Result<bool> {
        if self.views.level0_depth() < LEVEL0_STOP || self.is_closing() {
            return Ok(true);
        }
        self.health.check()?;
        self.compaction_failure()?;
        Ok(false)
    }

    /// Whether what is queued waits for room in level 0.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self.has_room(), Ok(false))
    }

    /// Why compaction makes no room, where it fails.
    fn compaction_failure(&self) -> Result<()> {
        // Damage is not waited for: a table that has it is not counted.
        match &*self.compaction_error.lock() {
            Some(error) if error.kind() != ErrorKind::Corruption => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn count_stalled(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Counters::add(&self.counters.stalled_nanos, nanos);
    }

    fn pressure(&self) -> Pressure {
        let view = self.views.current();
        Pressure {
            memtable_bytes: view.active.bytes(),
            memtable_limit: self.options.memtable_bytes,
            flushing: !view.frozen.is_empty(),
            level0: view.level0_depth,
        }
    }
}

/// A caller that sleeps for its bytes. All of them together go at the pace of one: each sleeps as
/// many times as long as there are.
struct Slowed<'a>(&'a AtomicU32);

impl<'a> Slowed<'a> {
    fn join(slowed: &'a AtomicU32) -> Slowed<'a> {
        slowed.fetch_add(1, Ordering::Relaxed);
        Slowed(slowed)
    }

    /// How many there are by now, this one included.
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Slowed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the commit worker has to wait for before it leads again.
#[derive(Debug, Default)]
pub(super) struct CommitPace {
    /// For what was led, less than a millisecond.
    owed: Duration,
    /// On the monotonic clock; 0 where it does not rest.
    rests_until_ms: u64,
    /// Since when the queue has been waiting for room.
    full_since_ms: Option<u64>,
}

impl CommitPace {
    /// How long what is queued waits from now on; then to ask again.
    pub(super) fn wait(&mut self, core: &Core) -> Option<Duration> {
        if !core.queue.is_empty() && core.is_held_back() {
            if self.full_since_ms.is_none() {
                self.full_since_ms = Some(core.raw_clock.monotonic_ms());
            }
            core.wake(|wakes| &wakes.compact);
            return Some(LOOK);
        }
        if let Some(since_ms) = self.full_since_ms.take() {
            let waited_ms = core.raw_clock.monotonic_ms().saturating_sub(since_ms);
            core.count_stalled(Duration::from_millis(waited_ms));
        }
        if self.rests_until_ms == 0 || core.queue.has_sleepers() {
            return None;
        }
        if core.views.level0_depth() <= LEVEL0_SLOW {
            *self = CommitPace::default();
            return None;
        }
        let left_ms = self.rests_until_ms.saturating_sub(core.raw_clock.monotonic_ms());
        if left_ms == 0 {
            self.rests_until_ms = 0;
            return None;
        }
        Some(Duration::from_millis(left_ms).min(PIECE))
    }

    /// Groups that take `bytes` of the log were led. For a memtable that is full before the last
    /// one is flushed nothing is owed: the worker itself has waited for it, as it leads.
    pub(super) fn led(&mut self, core: &Core, bytes: u64) {
        let level0 = core.views.level0_depth();
        if level0 <= LEVEL0_SLOW {
            return;
        }
        let pressure = Pressure { memtable_bytes: 0, memtable_limit: 0, flushing: false, level0 };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Stall::Slow(delay) = stall(&pressure, bytes) {
            self.owed += delay;
            // Whole milliseconds: less than that no clock here tells.
            let rest_ms = u64::try_from(self.owed.as_millis()).unwrap_or(u64::MAX);
            let rest = Duration::from_millis(rest_ms);
            self.owed -= rest;
            self.rests_until_ms = core.raw_clock.monotonic_ms() + rest_ms;
            core.count_stalled(rest);
        }
    }
}

#[cfg(test)]
#[path = "commit_pace_tests.rs"]
mod tests;
