//! Operations of the disk that fail: every one of a workload, and every one of an opening.
//!
//! What is simulated: the k-th read, write, sync or allocation of one of the disks fails, once or
//! for ever, in each way that it can; or the disk is full from some moment on, and has room again
//! later. Why that is possible in reality: devices return errors, file systems fill up, and a
//! failed sync leaves pages in one of three states. What must hold:
//! 1. Every error is one of the disk, never of damage: what cannot be read is not taken for
//!    garbage, nor for the end of the log. Short reads and writes are no errors at all.
//! 2. Answers are right or errors, while faults last; all are right when they are over.
//! 3. A poisoned store acknowledges nothing. One that is not takes writes again, without being
//!    opened again, when the faults are over.
//! 4. After a kill, and after a loss of power, the store opens; what was acknowledged as durable is
//!    there, each batch whole; it goes on from there, and `verify` finds nothing.

mod run;
mod trials;

use super::whole::caught;
use super::{Cases, Counts, Failure, each, strided};
use trials::Trials;

/// Trials of one shard, about.
const SHARD_CASES: u64 = 150;

struct Faults {
    seed: u64,
    trials: Trials,
}

pub(super) fn cases(seed: u64) -> Result<Box<dyn Cases>, String> {
    Ok(Box::new(Faults { seed, trials: Trials::of(seed) }))
}

impl Cases for Faults {
    fn shards(&self) -> Option<u64> {
        Some(self.trials.count().div_ceil(SHARD_CASES) | 1)
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        let step = self.shards().expect("there is an end");
        each(strided(shard, self.trials.count(), step), |case| self.one(case))
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        let nothing = || Failure { case, what: "there is no such trial".to_owned() };
        let trial = self.trials.get(case).ok_or_else(nothing)?;
        caught(case, || run::run(self.seed, &trial)).map_err(|failure| {
            let what = format!("{trial:?}: {}", failure.what);
            Failure { what, ..failure }
        })
    }

    fn about(&self) -> String {
        format!("{} faults of {} workloads", self.trials.count(), run::PLANS.len())
    }
}

#[cfg(test)]
mod tests {
    use super::trials::Trial;
    use super::*;
    use tidelog_engine::testing::{Fault, FaultEffect, FaultOperation, FaultTimes};

    /// A map with a random order made a pass that erases read blocks in another order each time. So
    /// a fault had another number in each process, and the command of a failure tried another one.
    #[test]
    fn the_same_workload_asks_for_the_same_each_time() {
        for plan in 0..run::PLANS.len() {
            let first = run::counts_of_work(1, plan);
            for _ in 0..3 {
                assert_eq!(run::counts_of_work(1, plan), first, "workload {plan}");
            }
        }
    }

    /// A write that fails while the first table is made left a store without one, to which the
    /// trial went on to commit messages.
    #[test]
    fn a_store_without_a_table_goes_on() {
        for (plan, at) in (0..run::PLANS.len()).flat_map(|plan| (0..40).map(move |at| (plan, at))) {
            let (operation, effect) = (FaultOperation::Write, FaultEffect::Error);
            let fault = Fault { operation, at, times: FaultTimes::Once, effect };
            run::run(1, &Trial::Work { plan, disk: 0, fault });
        }
    }

    /// A disk that takes nothing any more, and takes back what it had, was expected to tell.
    #[test]
    fn a_disk_that_cannot_be_told_of_a_loss_does_not_tell_of_it() {
        use tidelog_engine::testing::AfterFailedSync::Reverted;
        let (operation, times) = (FaultOperation::Sync, FaultTimes::Forever);
        for effect in [FaultEffect::FailedSync(Reverted), FaultEffect::FullSync(Reverted)] {
            for at in 20..30 {
                let fault = Fault { operation, at, times, effect };
                run::run(1, &Trial::Work { plan: 1, disk: 0, fault });
            }
        }
    }

    #[test]
    fn no_fault_is_forgotten() {
        let faults = Faults { seed: 1, trials: Trials::of(1) };
        let counts = faults.shard(0).unwrap_or_else(|failure| panic!("{}", failure.what));
        for (what, least) in
            [("trials", 100), ("felt", 30), ("poisoned", 10), ("refused_openings", 5)]
        {
            assert!(counts.get(what) >= least, "{what}: {counts:?}");
        }
    }
}
