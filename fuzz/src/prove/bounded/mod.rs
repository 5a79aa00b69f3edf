//! Bounded-exhaustive: every workload of up to three operations, the power lost at every point of
//! it, and every image of some policies; as B3 does with file systems (CrashMonkey, ACE).
//!
//! A case is a workload. It begins with the opening of a small store that was killed, whose log,
//! SSTables and extents hold something; see `base`. Its crash points are the disk operations of the
//! *last* operation, and the moment behind it, when all that was acknowledged counts: a power loss
//! in an earlier operation is that of a shorter workload, which is a case of its own. The case of
//! no operation has those of the opening. Of what was not synced at a crash point there is:
//! 1. each prefix of it, none and all among them,
//! 2. all but one write, for each, and only one,
//! 3. its lengths without its bytes, and its bytes without its lengths,
//! 4. a prefix, and of the next write the sectors before its first or its last one, which is
//!    damaged together with what it held,
//! 5. everything, where the process alone is gone.
//!
//! Images that read the same at one crash point are looked at once. What must hold: the store
//! opens, and holds what the reference says: all that was acknowledged as durable, no gap, nothing
//! invented; it writes, closes, opens and reads on, and `verify` finds nothing. Of each tenth image
//! recovery is cut off as well.
//!
//! The seed decides the order of background work, and how unsynced commits reach the log: under an
//! even one they are stored into the page cache, under an odd one they are written.
//!
//! Left out, though the reference knows them: counters that are raised to a maximum, retention by
//! count, times to live of timelines and of entries, deleted timelines and dropped tables, which go
//! the ways of what is here, and are drawn at random in `crashes` and `histories`; the cold tier,
//! which needs a second disk, and erasure, which takes minutes of passes (both are in `histories`);
//! stores and tables that are created, which `crashes` begins with; a ring that wraps and a file
//! that grows again and again, for which three operations are too few. Batches that are refused,
//! scrubs and snapshots write nothing.
//!
//! - `operations`: what can be done
//! - `workloads`: the workload of each number
//! - `base`: the store that they begin with, and a workload that is run on it
//! - `images`: what the devices may hold at a crash point, and what is asked of it

mod base;
mod images;
mod operations;
#[cfg(test)]
mod tests;
mod workloads;

use super::whole::caught;
use super::{Cases, Counts, Failure, each, strided};
use base::Base;
use operations::{OPERATIONS, Operation};

/// A prime, so that the workloads of a shard differ in each of their operations.
const SHARDS: u64 = 239;
/// The number of a disk operation that no workload gets to.
const NEVER: u64 = u64::MAX;

struct Bounded {
    base: Base,
}

pub(super) fn cases(seed: u64) -> Result<Box<dyn Cases>, String> {
    Ok(Box::new(Bounded { base: Base::new(seed) }))
}

impl Bounded {
    fn run(&self, case: u64, workload: &[Operation]) -> Counts {
        let mut counts = Counts::default();
        let whole = self.base.run(workload, NEVER);
        let points = whole.begins..whole.world.disk.operation_count();
        for at in points.clone() {
            let context = format!("{workload:?}, crash at {at} of {points:?}");
            let run = self.base.run(workload, at);
            assert!(run.world.disk.crashed(), "{context}: it is another run each time");
            images::look(&run, case + at, &context, &mut counts);
        }
        images::look(&whole, case, &format!("{workload:?}, crash behind it"), &mut counts);
        counts.add("workloads", 1);
        counts
    }
}

impl Cases for Bounded {
    fn shards(&self) -> Option<u64> {
        Some(SHARDS)
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        each(strided(shard, workloads::count(), SHARDS), |case| self.one(case))
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        let nothing = || Failure { case, what: "there is no such workload".to_owned() };
        let workload = workloads::get(case).ok_or_else(nothing)?;
        caught(case, || self.run(case, &workload))
    }

    fn about(&self) -> String {
        let (count, most) = (workloads::count(), workloads::LENGTH_MAX);
        format!("{count} workloads of up to {most} operations of {} kinds", OPERATIONS.len())
    }
}
