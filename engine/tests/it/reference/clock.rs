//! What is known, from outside, of the clock by which entries expire.
//!
//! It runs with monotonic time, and no wall clock that jumps moves it. After a crash it begins
//! somewhere in the lease behind the mark that the superblock had; so from then on there are two
//! bounds instead of one time. What was hidden stays hidden, unless the wall clock fell back behind
//! the mark since.

use tidelog_engine::limits::CLOCK_LEASE_MS;

/// A lower and an upper bound of a time or a fence, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range(pub(crate) u64, pub(crate) u64);

/// What was committed before this has outlived a time to live.
pub(super) fn fence(clock_ms: Range, ttl_ms: u64) -> Range {
    let of = |now_ms: u64| (now_ms + 1).saturating_sub(ttl_ms);
    Range(of(clock_ms.0), of(clock_ms.1))
}

/// How far the store follows a wall clock at once that is a little ahead.
const TOLERANCE_MS: u64 = 999;
/// How long a wall clock must be ahead to be believed, less what looks at it may be late.
const CONFIRMED_MS: u64 = 590_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct ExpiryClock {
    now_ms: Range,
    monotonic_ms: u64,
    /// Since when this process runs, and what the upper bound may become without confirmation.
    opened_ms: u64,
    followed_ms: u64,
    wall_max_ms: u64,
}

impl ExpiryClock {
    /// Of a new store.
    pub(crate) fn new(wall_ms: u64, monotonic_ms: u64) -> ExpiryClock {
        ExpiryClock {
            now_ms: Range(wall_ms, wall_ms),
            monotonic_ms,
            opened_ms: monotonic_ms,
            followed_ms: wall_ms + TOLERANCE_MS,
            wall_max_ms: wall_ms,
        }
    }

    /// Time has passed, or the wall clock has jumped.
    pub(crate) fn look(&mut self, wall_ms: u64, monotonic_ms: u64) {
        let passed = monotonic_ms - self.monotonic_ms;
        self.monotonic_ms = monotonic_ms;
        let Range(low, high) = self.now_ms;
        self.followed_ms += passed;
        self.wall_max_ms = (self.wall_max_ms + passed).max(wall_ms);
        let high = (high + passed).max(wall_ms.min(self.followed_ms));
        let believed = match monotonic_ms - self.opened_ms >= CONFIRMED_MS {
            true => self.wall_max_ms,
            false => 0,
        };
        self.now_ms = Range(low + passed, high.max(believed));
    }

    /// The store is opened again.
    pub(crate) fn opened(&mut self, wall_ms: u64, after_crash: bool) {
        let Range(low, high) = self.now_ms;
        self.now_ms = match after_crash {
            true => {
                let least = wall_ms.min(low).max(low.saturating_sub(CLOCK_LEASE_MS));
                Range(least, high.max(wall_ms.min(high + CLOCK_LEASE_MS)))
            }
            false if wall_ms <= high + CLOCK_LEASE_MS => Range(low, high.max(wall_ms)),
            false => Range(low, high),
        };
        self.opened_ms = self.monotonic_ms;
        self.wall_max_ms = wall_ms;
        self.followed_ms = self.now_ms.1 + TOLERANCE_MS;
        self.look(wall_ms, self.monotonic_ms);
    }

    pub(crate) fn now_ms(&self) -> Range {
        self.now_ms
    }
}
