//! A fuzzer that must fail: it shows that a failure is seen, and repeated from its seed.

use crate::harness;

/// Expects numbers that are rare, and calls them failures when they come.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    harness::each(seed, events, 1 << 20, |random| {
        let number = random.below(16);
        harness::ensure(number != 7, || format!("the canary sang at {number}"))
    })
}
