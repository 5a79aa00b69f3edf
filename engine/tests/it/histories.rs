//! A few random histories; see CONTRIBUTING.md for how to run many.

use super::history::live;
use super::sim::Seen;

/// The seeds of a test: as many as `TIDELOG_SEEDS` says from `TIDELOG_SEED` on, or a few.
pub(crate) fn seeds(from: u64, count: u64) -> std::ops::Range<u64> {
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let from = given("TIDELOG_SEED").unwrap_or(from);
    from..from + given("TIDELOG_SEEDS").unwrap_or(count)
}

fn live_all(test: &'static str, seeds: std::ops::Range<u64>, jumps: bool) {
    let mut seen = Seen::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let one = live(test, seed, jumps);
        seen.crashes += one.crashes;
        seen.dropped += one.dropped;
        seen.moved += one.moved;
        seen.segments += one.segments;
        seen.degraded += one.degraded;
        seen.erased += one.erased;
    }
    let counts =
        [seen.crashes, seen.dropped, seen.moved, seen.segments, seen.degraded, seen.erased];
    assert!(count < 10 || counts.into_iter().all(|counted| counted > count / 2), "{seen:?}");
}

#[test]
fn histories_agree_with_the_reference() {
    live_all("histories_agree_with_the_reference", seeds(0, 12), false);
}

#[test]
fn histories_under_a_clock_that_jumps_agree_with_the_reference() {
    let test = "histories_under_a_clock_that_jumps_agree_with_the_reference";
    live_all(test, seeds(1_000_000, 12), true);
}
