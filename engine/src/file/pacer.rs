//! The pacer: a token bucket that keeps background output from crowding out commits.
//!
//! 1. The bucket fills at `rate` bytes per second, up to a fiftieth of a second, and one piece at
//!    least. What a full bucket lets through at once is what commits wait behind.
//! 2. A write takes its bytes; while they are not there it pauses.
//! 3. A rate of 0 is no limit. `urgent` suspends the limit: writers wait for this output.
//! 4. The pacer is advice. It holds one write back for a bounded number of pauses, then lets it
//!    pass: a stopped clock must not stop the store.
//!
//! # Concurrency
//! Any number of writers share one. The lock is held for arithmetic only, never across a pause.

use crate::limits::OUTPUT_PIECE_BYTES;
use crate::runtime::{Clock, Scheduler};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// The longest single pause, so that a change of the rate is soon noticed.
const PAUSE_MS_MAX: u64 = 50;
/// Pauses after which a write passes in any case.
const PAUSES_MAX: usize = 200;

/// Limits the bytes per second of all background output together.
pub(crate) struct Pacer {
    clock: Arc<dyn Clock>,
    scheduler: Arc<dyn Scheduler>,
    rate: AtomicU64,
    urgent: AtomicBool,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    bytes: u64,
    filled_ms: u64,
}

impl Pacer {
    /// A pacer of `rate` bytes per second; 0 is no limit.
    pub(crate) fn new(clock: Arc<dyn Clock>, scheduler: Arc<dyn Scheduler>, rate: u64) -> Pacer {
        let bucket = Bucket { bytes: capacity(rate), filled_ms: clock.monotonic_ms() };
        Pacer {
            clock,
            scheduler,
            rate: AtomicU64::new(rate),
            urgent: AtomicBool::new(false),
            bucket: Mutex::new(bucket),
        }
    }

    #[cfg(test)]
    fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Suspends the limit, or brings it back.
    pub(crate) fn set_urgent(&self, urgent: bool) {
        self.urgent.store(urgent, Ordering::Relaxed);
    }

    /// Waits until `bytes` may be written.
    pub(crate) fn take(&self, bytes: u64) {
        for _ in 0..PAUSES_MAX {
            let Some(wait_ms) = self.try_take(bytes) else {
                return;
            };
            self.scheduler.pause(Duration::from_millis(wait_ms));
        }
    }

    /// Takes the bytes, or says after how many milliseconds to try again.
    fn try_take(&self, bytes: u64) -> Option<u64> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 || self.urgent.load(Ordering::Relaxed) {
            return None;
        }
        let now_ms = self.clock.monotonic_ms();
        let mut bucket = self.bucket.lock();
        let elapsed_ms = now_ms.saturating_sub(bucket.filled_ms);
        let filled = rate.saturating_mul(elapsed_ms) / 1000;
        if filled > 0 {
            // A slow rate earns less than a byte in a short time: then the time is kept.
            bucket.bytes = bucket.bytes.saturating_add(filled).min(capacity(rate));
            bucket.filled_ms = now_ms;
        }
        // More than the bucket ever holds would wait for ever.
        let bytes = bytes.min(capacity(rate));
        if let Some(rest) = bucket.bytes.checked_sub(bytes) {
            bucket.bytes = rest;
            return None;
        }
        let missing = bytes - bucket.bytes;
        Some((missing.saturating_mul(1000) / rate).clamp(1, PAUSE_MS_MAX))
    }
}

impl std::fmt::Debug for Pacer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pacer").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Bytes that may be written at once.
fn capacity(rate: u64) -> u64 {
    (rate / 50).max(OUTPUT_PIECE_BYTES as u64)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::Result;
    use crate::runtime::{Wake, Worker};

    /// Time that passes only while somebody pauses.
    struct Time {
        now_ms: AtomicU64,
        stopped: bool,
    }

    impl Clock for Time {
        fn wall_ms(&self) -> u64 {
            self.monotonic_ms()
        }
        fn monotonic_ms(&self) -> u64 {
            self.now_ms.load(Ordering::Relaxed)
        }
    }

    impl Scheduler for Time {
        fn spawn(
            &self,
            _: &str,
            _: Box<dyn Worker>,
            _: Box<dyn FnOnce(String) + Send>,
        ) -> Result<Arc<dyn Wake>> {
            panic!("the pacer starts no workers")
        }
        fn pause(&self, limit: Duration) {
            if !self.stopped {
                let ms = u64::try_from(limit.as_millis()).unwrap();
                self.now_ms.fetch_add(ms, Ordering::Relaxed);
            }
        }
        fn single_threaded(&self) -> bool {
            true
        }
    }

    fn pacer(rate: u64, stopped: bool) -> (Arc<Time>, Pacer) {
        let time = Arc::new(Time { now_ms: AtomicU64::new(7), stopped });
        (time.clone(), Pacer::new(time.clone(), time, rate))
    }

    /// A pacer that never waits.
    pub(in crate::file) fn unlimited() -> Pacer {
        pacer(0, true).1
    }

    #[test]
    fn output_takes_the_time_of_its_rate() {
        let piece = OUTPUT_PIECE_BYTES as u64;
        let (time, pacer) = pacer(10 * piece, false);
        (0..41).for_each(|_| pacer.take(piece));
        let passed_ms = time.monotonic_ms() - 7;
        assert!(
            (3_990..=4_010).contains(&passed_ms),
            "{passed_ms} ms for 40 pieces behind the first"
        );
    }

    #[test]
    fn no_limit_and_urgency_do_not_wait() {
        let (time, pacer) = pacer(1000, false);
        pacer.set_urgent(true);
        (0..100).for_each(|_| pacer.take(1 << 20));
        pacer.set_urgent(false);
        pacer.set_rate(0);
        (0..100).for_each(|_| pacer.take(1 << 20));
        assert_eq!(time.monotonic_ms(), 7);
        pacer.set_rate(1 << 20);
        (0..3).for_each(|_| pacer.take(1 << 20));
        assert!(time.monotonic_ms() > 7);
    }

    #[test]
    fn a_stopped_clock_does_not_stop_the_output() {
        let (_, pacer) = pacer(1, true);
        (0..5).for_each(|_| pacer.take(1 << 20));
    }
}
