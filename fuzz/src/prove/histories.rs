//! Random histories of every operation, over crashes and clocks that jump, against a reference.
//!
//! A case is a history; each other one is under a clock that jumps by a year. What must hold is
//! told in `engine/tests/it/history.rs`.

use super::whole::caught;
use super::whole::history::live;
use super::{Cases, Counts, Failure, each};

/// Histories of one shard.
const SHARD_CASES: u64 = 20;
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
        caught(case, || {
            let seen = live(test, seed, jumps);
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
    }

    fn about(&self) -> String {
        "histories without end".to_owned()
    }
}
