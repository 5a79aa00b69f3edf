//! What can be done to a store, and how often it is.

use tidelog_engine::testing::Random;

/// One operation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// A batch of writes, synced or not.
    Commit,
    /// The workers do some steps; no time passes.
    Work,
    /// Time passes, and the workers do some steps.
    Wait,
    /// The wall clock jumps ahead, or back to where it was.
    Jump,
    Flush,
    Compact,
    Sync,
    /// Everything is read and compared, in held snapshots too.
    Check,
    /// A snapshot is taken and held.
    Hold,
    /// A table gets other options.
    Alter,
    /// A table is dropped, or created again.
    DropOrCreate,
    /// The cold disk begins to fail, or is well again.
    Cold,
    /// The store is closed in order and opened again, perhaps without its cold file.
    Reopen,
    /// The process is gone in the middle of work, alone or with the machine.
    Crash,
}

/// All of them, each with how often of a hundred times it is drawn.
pub(super) const WEIGHTS: [(Operation, u64); 14] = [
    (Operation::Commit, 58),
    (Operation::Work, 10),
    (Operation::Wait, 10),
    (Operation::Jump, 2),
    (Operation::Flush, 4),
    (Operation::Compact, 1),
    (Operation::Sync, 2),
    (Operation::Check, 2),
    (Operation::Hold, 2),
    (Operation::Alter, 2),
    (Operation::DropOrCreate, 1),
    (Operation::Cold, 1),
    (Operation::Reopen, 1),
    (Operation::Crash, 4),
];

impl Operation {
    /// The next one.
    pub(super) fn draw(random: &mut Random) -> Operation {
        let all: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut left = random.below(all);
        for (operation, weight) in WEIGHTS {
            if left < weight {
                return operation;
            }
            left -= weight;
        }
        unreachable!("what was drawn is below the sum of all")
    }
}
