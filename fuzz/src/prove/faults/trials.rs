//! Every fault that is tried, by number.

use super::run::{self, PLANS, STOPS};
use crate::prove::whole::crash_sweep::Plan;
use tidelog_engine::testing::{
    AfterFailedSync, DiskCounts, Fault, FaultEffect, FaultOperation, FaultTimes, WrittenPart,
};

/// One trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// A fault in a workload.
    Work { plan: usize, disk: usize, fault: Fault },
    /// A fault in the opening behind a workload that was killed.
    Open { plan: usize, stop: usize, disk: usize, fault: Fault },
    /// A disk that is full but for some pages, from a step on.
    Full { plan: usize, disk: usize, step: usize, pages: u64 },
}

/// All of them, in one order.
pub(super) struct Trials {
    trials: Vec<Trial>,
}

const AFTER_FAILED_SYNC: [AfterFailedSync; 3] =
    [AfterFailedSync::KeptInCache, AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash];

impl Trials {
    /// Runs each workload once to know how many operations there are to fail.
    pub(super) fn of(seed: u64) -> Trials {
        let mut trials = Vec::new();
        for (plan, Plan { count, .. }) in PLANS.iter().enumerate() {
            for (disk, counts) in run::counts_of_work(seed, plan).into_iter().enumerate() {
                trials.extend(faults(&counts).map(|fault| Trial::Work { plan, disk, fault }));
                for step in 0..*count {
                    let full = |pages| Trial::Full { plan, disk, step, pages };
                    trials.extend([0, 3, 11].map(full));
                }
            }
            for stop in 0..STOPS {
                let counts = run::counts_of_opening(seed, plan, stop);
                for (disk, counts) in counts.into_iter().enumerate() {
                    let open = |fault| Trial::Open { plan, stop, disk, fault };
                    trials.extend(faults(&counts).map(open));
                }
            }
        }
        Trials { trials }
    }

    pub(super) fn count(&self) -> u64 {
        self.trials.len() as u64
    }

    pub(super) fn get(&self, case: u64) -> Option<Trial> {
        self.trials.get(usize::try_from(case).ok()?).copied()
    }
}

/// Every operation in every way, once and for ever.
fn faults(counts: &DiskCounts) -> impl Iterator<Item = Fault> + use<> {
    let syncs = AFTER_FAILED_SYNC
        .into_iter()
        .flat_map(|after| [FaultEffect::FailedSync(after), FaultEffect::FullSync(after)]);
    let mut ways: Vec<(FaultOperation, FaultEffect, u64)> = vec![
        (FaultOperation::Read, FaultEffect::Error, counts.reads),
        (FaultOperation::Read, FaultEffect::ShortRead, counts.reads),
        (FaultOperation::Write, FaultEffect::Error, counts.writes),
        (FaultOperation::Write, FaultEffect::PartialWrite(WrittenPart::OneSector), counts.writes),
        (FaultOperation::Write, FaultEffect::PartialWrite(WrittenPart::Half), counts.writes),
        (FaultOperation::Write, FaultEffect::ShortWrite, counts.writes),
        (FaultOperation::Allocate, FaultEffect::Error, counts.allocations),
    ];
    ways.extend(syncs.map(|effect| (FaultOperation::Sync, effect, counts.syncs)));
    ways.into_iter().flat_map(|(operation, effect, count)| {
        let times = [FaultTimes::Once, FaultTimes::Forever];
        (0..count).flat_map(move |at| times.map(|times| Fault { operation, at, times, effect }))
    })
}
