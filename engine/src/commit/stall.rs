//! When writers are slowed down or stopped: a pure decision.
//!
//! Slowing grows smoothly, so that writers meet the pace of the background work instead of a wall;
//! but not while a flush that is a little late would be over in time: to sleep then is to lose.
//! Commits that only wait for a sync feel nothing of it.

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
    /// Sleep once, so long.
    Slow(Duration),
    /// Wait until the pressure falls.
    Stop,
}

/// Longest single delay.
const DELAY_MAX: Duration = Duration::from_millis(4);

/// The decision for a batch of `bytes`.
pub(crate) fn stall(pressure: &Pressure, bytes: usize) -> Stall {
    if pressure.level0 >= LEVEL0_STOP {
        return Stall::Stop;
    }
    let level0 = share(pressure.level0.saturating_sub(LEVEL0_SLOW), LEVEL0_STOP - LEVEL0_SLOW);
    let eighth = pressure.memtable_limit / 8;
    let memtable = match pressure.flushing {
        false => 0,
        true => share(pressure.memtable_bytes.saturating_sub(eighth * 7), eighth),
    };
    let fullness = level0.max(memtable);
    if fullness == 0 {
        return Stall::Go;
    }
    // A quarter of a megabyte waits the whole delay at the brink, a small batch its share of it.
    let weight = share(bytes, 256 * 1024).max(1);
    let nanos = DELAY_MAX.as_nanos() * u128::from(fullness) * u128::from(weight) / 1_000_000;
    match u64::try_from(nanos).unwrap_or(u64::MAX) {
        // Sleeping has a cost of its own: below this it would only add to it.
        0..50_000 => Stall::Go,
        nanos => Stall::Slow(Duration::from_nanos(nanos)),
    }
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
        let mut last = Duration::ZERO;
        for level0 in LEVEL0_SLOW + 1..LEVEL0_STOP {
            let Stall::Slow(delay) = stall(&Pressure { level0, ..CALM }, 1 << 20) else {
                panic!("slow at {level0}");
            };
            assert!(delay > last && delay <= DELAY_MAX);
            last = delay;
        }
        assert_eq!(stall(&Pressure { level0: LEVEL0_STOP, ..CALM }, 1), Stall::Stop);
    }

    #[test]
    fn a_small_commit_beside_a_flush_is_not_slept() {
        let busy = Pressure { memtable_bytes: 938, flushing: true, ..CALM };
        assert_eq!(stall(&busy, 200), Stall::Go);
        assert!(matches!(stall(&busy, 1 << 20), Stall::Slow(_)));
    }
}
