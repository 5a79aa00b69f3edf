//! The clock of the machine.

use super::Clock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall time and monotonic time of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn wall_ms(&self) -> u64 {
        // A clock set before 1970 counts as 1970: it is wrong either way.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, SystemClock};

    #[test]
    fn time_runs() {
        let clock = SystemClock::new();
        let first = clock.monotonic_ms();
        assert!(clock.wall_ms() > 1_600_000_000_000);
        assert!(clock.monotonic_ms() >= first);
    }
}
