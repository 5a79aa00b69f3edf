//! The pace of a pass over the file: bytes per second that it may read.
//!
//! ```text
//! each read of n bytes moves `paid` n / rate further; the next read waits until `paid` has passed
//! ```
//! 1. A read is never held back by its own size, only by those before it: a pass of N bytes takes
//!    N / rate, less one piece and the credit.
//! 2. Time in which nothing was read is not made up for beyond [`CREDIT_MS`]: a pass that was held
//!    up does not crowd out others afterwards.
//! 3. A hurried read does not wait; those behind it wait for it. It is for what a live writer will
//!    soon have replaced.
//! 4. Every wait, and every read, looks first whether the pass is to end: then it ends with the
//!    error that whoever ends it gives.
//!
//! # Concurrency
//! One pass has one pace. The lock is held for arithmetic only, never across a pause.

use crate::error::Result;
use crate::limits::{BLOCK_SIZE, OUTPUT_PIECE_BYTES};
use crate::runtime::{Clock, Scheduler};
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Unused time that is made up for, in milliseconds.
const CREDIT_MS: u64 = 100;
/// The longest single pause, so that an end is soon noticed.
const PAUSE_MS_MAX: u64 = 50;
/// Reads a second that a slow pace is cut into.
const READS_PER_SECOND: u64 = 32;
/// The shortest piece that is read ahead.
const PIECE_BYTES_MIN: u64 = 4 * BLOCK_SIZE;
const NANOS_PER_MS: u64 = 1_000_000;

/// Says with which error a pass is to end, if it is.
pub(crate) type Stop = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// See the module.
pub(crate) struct ReadPace {
    clock: Arc<dyn Clock>,
    scheduler: Arc<dyn Scheduler>,
    /// Bytes per second; 0 is no limit.
    rate: u64,
    stop: Stop,
    /// The time for which reads are paid, in nanoseconds of the monotonic clock.
    paid: Mutex<u64>,
    bytes: AtomicU64,
}

impl ReadPace {
    /// A pace of `rate` bytes per second, 0 being no limit, that ends when `stop` says so.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        scheduler: Arc<dyn Scheduler>,
        rate: u64,
        stop: Stop,
    ) -> ReadPace {
        let paid = Mutex::new(clock.monotonic_ms().saturating_mul(NANOS_PER_MS));
        ReadPace { clock, scheduler, rate, stop, paid, bytes: AtomicU64::new(0) }
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that one read should have.
    pub(super) fn piece_bytes(&self) -> u64 {
        let most = OUTPUT_PIECE_BYTES as u64;
        match self.rate {
            0 => most,
            rate => {
                (rate / READS_PER_SECOND / BLOCK_SIZE * BLOCK_SIZE).clamp(PIECE_BYTES_MIN, most)
            }
        }
    }

    /// Fails once the pass is to end.
    pub(crate) fn check(&self) -> Result<()> {
        (self.stop)()
    }

    /// Waits until the reads before are paid for.
    pub(crate) fn wait(&self) -> Result<()> {
        loop {
            self.check()?;
            match self.due_ms() {
                0 => return Ok(()),
                due_ms => self.scheduler.pause(Duration::from_millis(due_ms.min(PAUSE_MS_MAX))),
            }
        }
    }

    /// Waits for so long, whatever is paid for.
    pub(crate) fn rest(&self, rest_ms: u64) -> Result<()> {
        let until_ms = self.clock.monotonic_ms().saturating_add(rest_ms);
        loop {
            self.check()?;
            match until_ms.saturating_sub(self.clock.monotonic_ms()) {
                0 => return Ok(()),
                left_ms => self.scheduler.pause(Duration::from_millis(left_ms.min(PAUSE_MS_MAX))),
            }
        }
    }

    /// Milliseconds until the reads before are paid for.
    fn due_ms(&self) -> u64 {
        if self.rate == 0 {
            return 0;
        }
        let now = self.clock.monotonic_ms().saturating_mul(NANOS_PER_MS);
        let mut paid = self.paid.lock();
        *paid = (*paid).max(now.saturating_sub(CREDIT_MS * NANOS_PER_MS));
        paid.saturating_sub(now).div_ceil(NANOS_PER_MS)
    }

    /// So many bytes were read.
    pub(crate) fn charge(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.rate > 0 {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
            let mut paid = self.paid.lock();
            *paid = paid.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }
}

impl std::fmt::Debug for ReadPace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadPace").field("rate", &self.rate).finish_non_exhaustive()
    }
}
