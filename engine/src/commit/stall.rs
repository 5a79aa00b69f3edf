//! When writers are slowed down or stopped: a pure decision.
//!
//! Slowing grows smoothly, so that writers meet the pace of the background work instead of a wall.
//!
//! - **Level 0.** A compaction out of it takes seconds where there is much below, and makes room at
//!   its end. What may be written meanwhile is what is left up to the stop, so each byte costs
//!   time: little where level 0 begins to be deep, and so much at the brink that nobody gets there.
//!   Between the two lies the depth at which writers are as fast as compaction is.
//! - **A memtable that is full before the last one is flushed.** That takes a fraction of a second,
//!   so a batch sleeps for a moment, however large it is; and not at all while a flush that is a
//!   little late would be over in time: to sleep then is to lose.
//!
//! Small commits that wait for a sync feel nothing of either.

use crate::limits::{LEVEL0_SLOW, LEVEL0_STOP};
use std::time::Duration;

/// What the background work has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// Bytes in the active memtable, and its limit.
    pub(crate) memtable_bytes: usize,
    pub(crate) memtable_limit: usize,
    /// A frozen memtable waits for its flush.
    pub(crate) flushing: bool,
    /// Most level-0 SSTables of any table.
    pub(crate) level0: usize,
}

/// What a writer does before it queues, and the commit worker behind what it has led for futures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    Go,
    /// Sleep so long in all, as long as it is so.
    Slow(Duration),
    /// Wait until the pressure falls.
    Stop,
}

/// Delay of a quarter of a megabyte whose memtable is full before the last one is flushed.
const MEMTABLE_DELAY_MAX: Duration = Duration::from_millis(4);
/// Delay of each quarter of a megabyte at the brink of level 0: that is 4 MB/s. Callers that sleep
/// beside each other share this pace, see `engine/commit_pace.rs`.
const LEVEL0_DELAY_MAX: Duration = Duration::from_millis(64);
const QUARTER_MEGABYTE: usize = 256 * 1024;

/// The decision for a batch of `bytes`.
pub(crate) fn stall(pressure: &Pressure, bytes: usize) -> Stall {
    if pressure.level0 >= LEVEL0_STOP {
        return Stall::Stop;
    }
    let delay = level0_delay(pressure.level0, bytes).max(memtable_delay(pressure, bytes));
    // Sleeping has a cost of its own: below this it would only add to it.
    match delay < Duration::from_micros(50) {
        true => Stall::Go,
        false => Stall::Slow(delay),
    }
}

/// It grows with the cube of the depth: 250 MB/s a quarter of the way to the stop, 30 MB/s half of
/// it, 10 MB/s at three quarters.
fn level0_delay(level0: usize, bytes: usize) -> Duration {
    let deep = share(level0.saturating_sub(LEVEL0_SLOW), LEVEL0_STOP - LEVEL0_SLOW);
    let cubed = u128::from(deep).pow(3);
    let nanos = LEVEL0_DELAY_MAX.as_nanos() * cubed / 1_000_000_000;
    nanoseconds(nanos * bytes as u128 / QUARTER_MEGABYTE as u128)
}

fn memtable_delay(pressure: &Pressure, bytes: usize) -> Duration {
    if !pressure.flushing {
        return Duration::ZERO;
    }
    let eighth = pressure.memtable_limit / 8;
    let full = share(pressure.memtable_bytes.saturating_sub(eighth * 7), eighth);
    // A small batch waits its share.
    let weight = share(bytes, QUARTER_MEGABYTE).max(1);
    nanoseconds(MEMTABLE_DELAY_MAX.as_nanos() * u128::from(full) * u128::from(weight) / 1_000_000)
}

fn nanoseconds(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// `part` of `whole` in thousandths, at most 1,000.
fn share(part: usize, whole: usize) -> u64 {
    let thousandths = part as u128 * 1000 / (whole.max(1) as u128);
    u64::try_from(thousandths.min(1000)).expect("at most 1,000")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pressure =
        Pressure { memtable_bytes: 0, memtable_limit: 1000, flushing: false, level0: 0 };

    #[test]
    fn nothing_behind_means_no_delay() {
        assert_eq!(stall(&CALM, 1 << 20), Stall::Go);
        let full = Pressure { memtable_bytes: 1000, ..CALM };
        assert_eq!(stall(&full, 1 << 20), Stall::Go, "nothing is being flushed");
    }

    #[test]
    fn delay_grows_smoothly_up_to_the_stop() {
        let delay = |level0, bytes| match stall(&Pressure { level0, ..CALM }, bytes) {
            Stall::Go => Duration::ZERO,
            Stall::Slow(delay) => delay,
            Stall::Stop => panic!("stopped at {level0}"),
        };
        let mut last = Duration::ZERO;
        for level0 in LEVEL0_SLOW..LEVEL0_STOP {
            let delay = delay(level0, 1 << 20);
            assert!(delay >= last && delay <= LEVEL0_DELAY_MAX * 4, "{level0}: {delay:?}");
            // One SSTable more is no wall.
            let is_smooth = delay < Duration::from_millis(2) || delay * 2 < last * 3;
            assert!(is_smooth, "{level0}: {last:?}, {delay:?}");
            last = delay;
        }
        assert_eq!(stall(&Pressure { level0: LEVEL0_STOP, ..CALM }, 1), Stall::Stop);
    }

    /// A batch of a megabyte slept no longer than a quarter of one: imports of large messages ran
    /// into the stop at 250 MB/s, and stood still for ten seconds until a compaction had ended.
    #[test]
    fn each_byte_waits_for_a_deep_level_0() {
        let deep = Pressure { level0: LEVEL0_STOP - 1, ..CALM };
        let (Stall::Slow(quarter), Stall::Slow(whole)) =
            (stall(&deep, 1 << 18), stall(&deep, 1 << 20))
        else {
            panic!("it is slowed");
        };
        assert!(whole > quarter * 39 / 10, "{quarter:?}, {whole:?}");
        // What is written at this pace until a compaction of twenty seconds ends is little.
        let written = 20_000_000_000 / whole.as_nanos();
        assert!(written <= 100, "{written} MiB");
    }

    #[test]
    fn a_small_commit_beside_a_flush_is_not_slept() {
        let busy = Pressure { memtable_bytes: 938, flushing: true, ..CALM };
        assert_eq!(stall(&busy, 200), Stall::Go);
        assert!(matches!(stall(&busy, 1 << 20), Stall::Slow(_)));
    }
}
