//! An open-loop schedule: operations are due at a steady rate, whether or not the earlier ones are
//! done. Latency counts from the moment an operation was due, so that a stall is charged to all
//! that had to wait for it, not only to the one that met it.

use std::time::{Duration, Instant};

/// Operations at a steady rate from one moment on.
#[derive(Debug, Clone)]
pub struct Schedule {
    start: Instant,
    per_second: f64,
    given: u64,
}

impl Schedule {
    /// Begins now.
    pub fn new(per_second: f64) -> Schedule {
        assert!(per_second > 0.0, "{per_second} operations a second");
        Schedule { start: Instant::now(), per_second, given: 0 }
    }

    /// Sleeps until the next operation is due, and says when that was: long ago, if the caller is
    /// behind.
    pub fn wait(&mut self) -> Instant {
        let due = self.next_due();
        let now = Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        }
        due
    }

    /// How far the caller is behind.
    pub fn behind(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.offset(self.given))
    }

    fn next_due(&mut self) -> Instant {
        let due = self.start + self.offset(self.given);
        self.given += 1;
        due
    }

    fn offset(&self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_due_at_the_rate_however_late_they_come() {
        let mut schedule = Schedule::new(4.0);
        let start = schedule.start;
        for quarter in 0..10 {
            assert_eq!(schedule.next_due() - start, Duration::from_millis(250) * quarter);
        }
        // Ten were given at once: the eleventh is due two and a half seconds from the start.
        assert_eq!(schedule.behind(), Duration::ZERO);
        schedule.start -= Duration::from_secs(5);
        assert!(schedule.behind() >= Duration::from_millis(2500));
    }
}
