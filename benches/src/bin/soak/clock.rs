//! A wall clock that can be made to jump. Monotonic time goes on as it does.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidelog_engine::{Clock, SystemClock};

/// The clock of the machine with a lie added.
#[derive(Debug)]
pub(crate) struct JumpingClock {
    clock: SystemClock,
    lie_ms: AtomicI64,
    start: Instant,
    start_us: u64,
    /// How far the wall clock has run ahead of monotonic time since the start.
    lead_us: AtomicU64,
}

/// A year, in milliseconds.
pub(crate) const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;

impl JumpingClock {
    /// A clock that does not lie yet.
    pub(crate) fn new() -> JumpingClock {
        JumpingClock {
            clock: SystemClock::new(),
            lie_ms: AtomicI64::new(0),
            // In this order, here and below: who is held up in between sees the wall clock behind.
            start_us: wall_us(),
            start: Instant::now(),
            lead_us: AtomicU64::new(0),
        }
    }

    /// From now on the wall clock is so many milliseconds off.
    pub(crate) fn lie(&self, lie_ms: i64) {
        self.lie_ms.store(lie_ms, Ordering::Relaxed);
    }

    /// The time, in milliseconds since 1970, without the lie. Where the machine's wall clock is set
    /// back, this goes on, as the store's own clock does; where it is set ahead, both follow.
    pub(crate) fn true_ms(&self) -> u64 {
        let wall_us = wall_us();
        let elapsed_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let running_us = self.start_us.saturating_add(elapsed_us);
        let shown_us = wall_us.saturating_sub(running_us);
        let lead_us = self.lead_us.fetch_max(shown_us, Ordering::Relaxed).max(shown_us);
        running_us.saturating_add(lead_us) / 1000
    }
}

fn wall_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

impl Clock for JumpingClock {
    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms().saturating_add_signed(self.lie_ms.load(Ordering::Relaxed))
    }

    fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_jumps_and_monotonic_time_does_not() {
        let clock = JumpingClock::new();
        let (wall, monotonic) = (clock.wall_ms(), clock.monotonic_ms());
        clock.lie(YEAR_MS);
        assert!(clock.wall_ms() >= wall + YEAR_MS.unsigned_abs());
        clock.lie(-YEAR_MS);
        assert!(clock.wall_ms() < wall);
        assert!(clock.monotonic_ms() - monotonic < 60_000);
        assert!(clock.true_ms() >= wall);
    }

    #[test]
    fn the_true_time_goes_on_where_the_wall_clock_is_set_back() {
        let mut clock = JumpingClock::new();
        let first = clock.true_ms();
        // A minute less since the start, by the wall clock than by monotonic time.
        clock.start_us += 60_000_000;
        assert!(clock.true_ms() >= first + 60_000);
        clock.start_us -= 120_000_000;
        let followed = clock.true_ms();
        assert!(followed >= first && followed < first + 60_000, "the wall clock is ahead");
    }
}
