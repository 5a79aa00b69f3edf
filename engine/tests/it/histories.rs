//! A few random histories; see CONTRIBUTING.md for how to run many.

use super::history::{OPERATIONS, command, live};
use super::sim::Seen;

/// The seeds of a test: as many as `TIDELOG_SEEDS` says from `TIDELOG_SEED` on, or a few.
pub(crate) fn seeds(from: u64, count: u64) -> std::ops::Range<u64> {
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let from = given("TIDELOG_SEED").unwrap_or(from);
    from..from + given("TIDELOG_SEEDS").unwrap_or(count)
}

/// The operations of each history: those that `TIDELOG_OPERATIONS` lists, or all.
fn operations() -> Vec<u64> {
    match std::env::var("TIDELOG_OPERATIONS") {
        Ok(list) => list.split(',').map(|number| number.trim().parse().unwrap()).collect(),
        Err(_) => (0..OPERATIONS).collect(),
    }
}

/// Prints, while a test fails, the command that fails the same way.
struct Replay<'a> {
    test: &'static str,
    seed: u64,
    operations: &'a [u64],
}

impl Drop for Replay<'_> {
    #[expect(clippy::print_stderr, reason = "it is part of what a failed test prints")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: {}", command(self.test, self.seed, self.operations));
        }
    }
}

fn live_all(test: &'static str, seeds: std::ops::Range<u64>, jumps: bool) {
    let mut seen = Seen::default();
    let count = seeds.end - seeds.start;
    let operations = operations();
    for seed in seeds {
        let _replay = Replay { test, seed, operations: &operations };
        let one = live(seed, jumps, &operations);
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
