//! Random histories of every operation, over crashes and clocks that jump, against a reference.
//!
//! A case is a history; each other one is under a clock that jumps by a year. What must hold is
//! told in `engine/tests/it/history.rs`. One that fails is tried with fewer operations.

use super::shrink::shrink;
use super::whole::caught;
use super::whole::history::{OPERATIONS, command, live};
use super::{Cases, Counts, Failure, each};

/// Histories of one shard.
const SHARD_CASES: u64 = 20;
/// Tries to find a failure with fewer operations: each takes as long as a history.
const TRIES: usize = 300;
/// Far from the histories of the test suite, and of other seeds.
const SEED_STEP: u64 = 1 << 32;

struct Histories {
    seed: u64,
}

pub(super) fn cases(seed: u64) -> Result<Box<dyn Cases>, String> {
    Ok(Box::new(Histories { seed }))
}

impl Cases for Histories {
    fn shards(&self) -> Option<u64> {
        None
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        each(shard * SHARD_CASES..(shard + 1) * SHARD_CASES, |case| self.one(case))
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        let (seed, jumps) = (self.seed.wrapping_mul(SEED_STEP).wrapping_add(case), case % 2 == 1);
        let test = match jumps {
            false => "histories_agree_with_the_reference",
            true => "histories_under_a_clock_that_jumps_agree_with_the_reference",
        };
        let all: Vec<u64> = (0..OPERATIONS).collect();
        let fails = |operations: &[u64]| {
            let run = || {
                live(seed, jumps, operations);
                Counts::default()
            };
            caught(case, run).is_err()
        };
        caught(case, || {
            let seen = live(seed, jumps, &all);
            let mut counts = Counts::default();
            counts.add("histories", 1);
            counts.add("with_clock_jumps", u64::from(jumps));
            counts.add("crashes", seen.crashes);
            counts.add("crashes_in_recovery", seen.crashes_in_recovery);
            counts.add("expired_sstables", seen.dropped);
            counts.add("moved_bytes", seen.moved);
            counts.add("erased_payloads", seen.erased);
            counts
        })
        .map_err(|failure| {
            let left = shrink(&all, TRIES, fails);
            let (count, command) = (left.len(), command(test, seed, &left));
            Failure { case, what: format!("{}\n{count} operations fail: {command}", failure.what) }
        })
    }

    fn about(&self) -> String {
        "histories without end".to_owned()
    }
}
