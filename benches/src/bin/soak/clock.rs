//! A wall clock that can be made to jump. Monotonic time goes on as it does.

use std::sync::atomic::{AtomicI64, Ordering};
use tidelog_engine::{Clock, SystemClock};

/// The clock of the machine with a lie added.
#[derive(Debug, Default)]
pub(crate) struct JumpingClock {
    clock: SystemClock,
    lie_ms: AtomicI64,
}

/// A year, in milliseconds.
pub(crate) const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;

impl JumpingClock {
    /// From now on the wall clock is so many milliseconds off.
    pub(crate) fn lie(&self, lie_ms: i64) {
        self.lie_ms.store(lie_ms, Ordering::Relaxed);
    }

    /// The true wall time, in milliseconds since 1970.
    pub(crate) fn true_ms(&self) -> u64 {
        self.clock.wall_ms()
    }
}

impl Clock for JumpingClock {
    fn wall_ms(&self) -> u64 {
        self.true_ms().saturating_add_signed(self.lie_ms.load(Ordering::Relaxed))
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
        let clock = JumpingClock::default();
        let (wall, monotonic) = (clock.wall_ms(), clock.monotonic_ms());
        clock.lie(YEAR_MS);
        assert!(clock.wall_ms() >= wall + YEAR_MS.unsigned_abs());
        clock.lie(-YEAR_MS);
        assert!(clock.wall_ms() < wall);
        assert!(clock.monotonic_ms() - monotonic < 60_000);
        assert!(clock.true_ms() >= wall);
    }
}
