//! Power is lost at every disk operation of some workloads, and again in recovery.
//!
//! A case is a crash point: an operation of one disk of one workload. What is simulated and what
//! must hold is told in `engine/tests/it/crash_sweep.rs`.

use super::whole::crash_sweep::sweep_point;
use super::whole::{PLANS, caught};
use super::{Cases, Counts, Failure, each, strided};

/// Crash points of one shard, about.
const SHARD_CASES: u64 = 40;

struct Crashes {
    seed: u64,
    /// By plan: operations of each disk.
    operations: Vec<Vec<u64>>,
}

pub(super) fn cases(seed: u64) -> Result<Box<dyn Cases>, String> {
    let operations = PLANS.iter().map(|plan| plan.operations(seed)).collect();
    Ok(Box::new(Crashes { seed, operations }))
}

impl Crashes {
    fn count(&self) -> u64 {
        self.operations.iter().flatten().sum()
    }

    /// The plan, the disk and the operation of a case.
    fn find(&self, case: u64) -> Option<(usize, usize, u64)> {
        let mut left = case;
        for (plan, disks) in self.operations.iter().enumerate() {
            for (disk, operations) in disks.iter().enumerate() {
                if left < *operations {
                    return Some((plan, disk, left));
                }
                left -= operations;
            }
        }
        None
    }
}

impl Cases for Crashes {
    fn shards(&self) -> Option<u64> {
        Some(self.count().div_ceil(SHARD_CASES))
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        let step = self.count().div_ceil(SHARD_CASES);
        each(strided(shard, self.count(), step), |case| self.one(case))
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        let nowhere = || Failure { case, what: "there is no such crash point".to_owned() };
        let (plan, disk, at) = self.find(case).ok_or_else(nowhere)?;
        caught(case, || {
            let mut swept = (0, 0, 0);
            sweep_point(self.seed, &PLANS[plan], (disk, at), &mut swept);
            let mut counts = Counts::default();
            counts.add("crash_points", swept.0 as u64);
            counts.add("images", swept.1 as u64);
            counts.add("images_of_crashes_in_recovery", swept.2 as u64);
            counts
        })
    }

    fn about(&self) -> String {
        format!("{} crash points of {} workloads", self.count(), PLANS.len())
    }
}
