//! `SimClock`: time that passes when a test says so, and a wall clock that jumps.

use crate::runtime::Clock;
use crate::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A manual clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct SimClock {
    times: Arc<Mutex<Times>>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    wall_ms: u64,
    monotonic_ms: u64,
}

impl SimClock {
    /// A clock whose wall shows `wall_ms` and whose monotonic time is 0.
    pub fn new(wall_ms: u64) -> SimClock {
        SimClock { times: Arc::new(Mutex::new(Times { wall_ms, monotonic_ms: 0 })) }
    }

    /// Lets time pass, in whole milliseconds rounded up.
    pub fn advance(&self, duration: Duration) {
        let passed = u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let mut times = self.times.lock();
        times.wall_ms = times.wall_ms.saturating_add(passed);
        times.monotonic_ms = times.monotonic_ms.saturating_add(passed);
    }

    /// Moves the wall clock either way; no time passes.
    pub fn jump_wall(&self, by_ms: i64) {
        let mut times = self.times.lock();
        times.wall_ms = times.wall_ms.saturating_add_signed(by_ms);
    }

    /// Sets the wall clock; no time passes.
    pub fn set_wall(&self, wall_ms: u64) {
        self.times.lock().wall_ms = wall_ms;
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.times.lock().wall_ms
    }

    fn monotonic_ms(&self) -> u64 {
        self.times.lock().monotonic_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_move_the_wall_alone() {
        let clock = SimClock::new(1000);
        let same = clock.clone();
        clock.advance(Duration::from_micros(1));
        clock.jump_wall(-500);
        assert_eq!((same.wall_ms(), same.monotonic_ms()), (501, 1));
        clock.jump_wall(-5000);
        assert_eq!((same.wall_ms(), same.monotonic_ms()), (0, 1));
        clock.set_wall(7);
        clock.advance(Duration::MAX);
        assert_eq!((same.wall_ms(), same.monotonic_ms()), (u64::MAX, u64::MAX));
    }
}
