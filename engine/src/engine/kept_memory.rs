//! How long memory of flushed memtables is kept for the next ones.
//!
//! A page that is given back costs a fault when it is taken again, and a huge one milliseconds
//! where the machine itself has to be asked for memory: on the thread that commits. So as long as
//! memtables fill slowly, what one has left is kept for long enough that the next one asks for it.
//! Where they fill at once, a second is long, and a store that only reads gives it back soon.

use std::time::Duration;

/// At least, and at most.
const KEPT_MS: std::ops::RangeInclusive<u64> = 1_000..=30_000;
/// Of the time between two flushes. While a memtable is filled it asks for memory some dozens of
/// times.
const SHARE: u64 = 4;

/// The flush worker's own.
#[derive(Debug, Default)]
pub(super) struct KeptMemory {
    /// When the last flush began.
    flushed_ms: u64,
    kept_ms: u64,
    /// Not looked at before this.
    due_ms: u64,
}

impl KeptMemory {
    /// Of a worker that begins at this time.
    pub(super) fn new(now_ms: u64) -> KeptMemory {
        // Nobody knows yet how slowly they fill.
        KeptMemory { flushed_ms: now_ms, kept_ms: *KEPT_MS.end(), due_ms: 0 }
    }

    /// A flush begins.
    pub(super) fn flush_begins(&mut self, now_ms: u64) {
        let between = now_ms.saturating_sub(self.flushed_ms);
        self.kept_ms = (between / SHARE).clamp(*KEPT_MS.start(), *KEPT_MS.end());
        (self.flushed_ms, self.due_ms) = (now_ms, 0);
    }

    /// Nothing is to be flushed: lets `trim` look at what is free, which tells whether another look
    /// is worth it, unless it is too early. Returns when to come back.
    pub(super) fn look(&mut self, now_ms: u64, trim: impl FnOnce() -> bool) -> Option<Duration> {
        if now_ms >= self.due_ms {
            if !trim() {
                return None;
            }
            self.due_ms = now_ms.saturating_add(self.kept_ms);
        }
        Some(Duration::from_millis(self.due_ms - now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_for_a_share_of_the_time_between_flushes() {
        let kept_after = |between: u64| {
            let mut memory = KeptMemory::new(5);
            memory.flush_begins(5 + between);
            memory.look(5 + between, || true).unwrap().as_millis()
        };
        assert_eq!(kept_after(500), 1_000);
        assert_eq!(kept_after(40_000), 10_000);
        assert_eq!(kept_after(u64::MAX / 2), 30_000);
    }

    #[test]
    fn a_worker_that_is_called_for_something_else_does_not_look_early() {
        let mut memory = KeptMemory::new(0);
        assert_eq!(memory.look(0, || false), None, "there is nothing");
        memory.flush_begins(8_000);
        assert_eq!(memory.look(8_100, || true), Some(Duration::from_millis(2_000)));
        let early = || -> bool { panic!("it is too early") };
        assert_eq!(memory.look(9_000, early), Some(Duration::from_millis(1_100)));
        assert_eq!(memory.look(10_100, || false), None);
    }
}
