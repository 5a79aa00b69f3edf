//! The pace of a flush: it keeps step with the memtable that fills meanwhile.
//!
//! ```text
//! active memtable   empty ─────────────────────── 60% full ───── full: writers wait
//! flush             begun ─────────────────────── done
//! ```
//! A flush at full speed takes a processor and most of the disk for as long as it lasts, and the
//! commits of that time queue behind each other, though as much again could be done in the calm
//! behind it. So it goes no faster than it must.
//!
//! 1. Its done share is at most that of the active memtable, as if 60% were all of it.
//! 2. Or what [`FLUSH_RATE_MIN`] makes of the time: where nobody writes, it ends all the same.
//! 3. Where somebody waits for it, or soon may, it does not wait: see [`Core::flush_presses`].
//! 4. It is advice. A step is held back for so many pauses and no more, whatever the clock says.
//!
//! # Concurrency
//! Owned by the worker that flushes. What it asks for may be out of date: it is asked again.

use super::Core;
use crate::limits::{FLUSH_RATE_MIN, LEVEL0_SLOW, RING_SPAN_PARTS};
use crate::sync::{AtomicUsize, Ordering};
use std::time::Duration;

/// The active memtable's fill, in thousandths, at which a flush should be over.
const DONE_AT: u64 = 600;
/// The fill at which it does nothing that can be left out.
const WAITED_FOR_AT: u64 = 800;
/// One pause.
const PAUSE: Duration = Duration::from_millis(1);
/// Pauses in a row: more than a piece at the least rate needs.
const PAUSES_MAX: u32 = 50;

/// How one flush has come along.
#[derive(Debug)]
pub(super) struct FlushPace {
    begun_ms: u64,
    /// In a row.
    pauses: u32,
}

impl FlushPace {
    pub(super) fn new(now_ms: u64) -> FlushPace {
        FlushPace { begun_ms: now_ms, pauses: 0 }
    }

    /// How long to wait before the next step; then to ask again.
    pub(super) fn wait(&mut self, core: &Core, done_bytes: u64, bytes: u64) -> Option<Duration> {
        let elapsed_ms = core.raw_clock.monotonic_ms().saturating_sub(self.begun_ms);
        let goes = self.pauses >= PAUSES_MAX
            || core.flush_presses()
            || done_bytes <= allowed_bytes(bytes, core.active_fill(), elapsed_ms);
        self.pauses = if goes { 0 } else { self.pauses + 1 };
        (!goes).then_some(PAUSE)
    }
}

/// How far a flush of `bytes` may have come. `fill`: of the active memtable, in thousandths.
fn allowed_bytes(bytes: u64, fill: u64, elapsed_ms: u64) -> u64 {
    let by_fill = bytes.saturating_mul(fill) / DONE_AT;
    let by_time = FLUSH_RATE_MIN.saturating_mul(elapsed_ms) / 1000;
    by_fill.max(by_time)
}

/// Those who wait for flushes.
#[derive(Debug, Default)]
pub(crate) struct FlushWaiters(AtomicUsize);

impl FlushWaiters {
    /// One more, until the guard is dropped.
    pub(super) fn join(&self) -> impl Drop {
        struct Waiter<'a>(&'a AtomicUsize);
        impl Drop for Waiter<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Waiter(&self.0)
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Core {
    /// How full the active memtable is, in thousandths: of its memory, or of its part of the log.
    fn active_fill(&self) -> u64 {
        let view = self.views.current();
        let frozen = view.frozen.first().map_or(u64::MAX, |frozen| frozen.end.lsn);
        let span = self.log.written_lsn().saturating_sub(frozen);
        let of = |part: u64, whole: u64| part.saturating_mul(1000) / whole.max(1);
        let (parts, of_parts) = RING_SPAN_PARTS;
        let memory = of(view.active.bytes() as u64, self.options.memtable_bytes as u64);
        memory.max(of(span, self.options.ring_bytes / of_parts * parts))
    }

    /// Sets the limit on output aside while writers wait for some of it, or soon may.
    pub(super) fn set_urgency(&self) {
        let view = self.views.current();
        let flush = !view.frozen.is_empty() && self.flush_presses();
        self.pacer.set_urgent(flush || view.level0_depth >= LEVEL0_SLOW / 2);
    }

    /// Whether somebody waits for the flush that runs, or writers may soon have to: then it is not
    /// slowed down for good manners.
    pub(super) fn flush_presses(&self) -> bool {
        self.flush_is_waited_for() || self.active_fill() >= DONE_AT
    }

    /// Whether somebody waits for the flush that runs, or writers are about to.
    pub(super) fn flush_is_waited_for(&self) -> bool {
        self.flush_waiters.any()
            || self.closing.load(Ordering::Acquire)
            || self.without_log.check().is_err()
            || self.log.free_bytes() < self.options.ring_bytes / 4
            || self.active_fill() >= WAITED_FOR_AT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMTABLE: u64 = 64 << 20;

    #[test]
    fn a_flush_is_over_before_the_memtable_behind_it_is_full() {
        assert_eq!(allowed_bytes(MEMTABLE, 0, 0), 0);
        assert_eq!(allowed_bytes(MEMTABLE, DONE_AT / 2, 0), MEMTABLE / 2);
        assert_eq!(allowed_bytes(MEMTABLE, DONE_AT, 0), MEMTABLE);
        assert!(allowed_bytes(u64::MAX, 1000, u64::MAX) > 0, "nothing overflows");
    }

    #[test]
    fn a_flush_ends_where_nobody_writes() {
        assert_eq!(allowed_bytes(MEMTABLE, 0, 1000), FLUSH_RATE_MIN);
        assert!(allowed_bytes(MEMTABLE, 0, 4000) >= MEMTABLE);
    }

    #[test]
    fn waiters_are_counted() {
        let waiters = FlushWaiters::default();
        let (one, two) = (waiters.join(), waiters.join());
        drop(one);
        assert!(waiters.any());
        drop(two);
        assert!(!waiters.any());
    }
}
