//! Rot: every damage of a golden store is found, or harms nobody; no answer is silently wrong.
//!
//! What is simulated: one damage of the files of a store that is not open: a flipped bit, a zeroed
//! sector, exchanged pages, pages of the past, a cut file (`damage`). Then the store is opened and
//! asked everything that can be asked (`answers`), takes writes, and is verified. What must hold:
//! 1. Each answer is that of the undamaged store, or an error that names a place in the damaged
//!    structure; an iterator gives nothing behind an error.
//! 2. `verify` names each damage, unless it lies in bytes that nobody reads (`units`).
//! 3. Damage of the last groups of the log, of all of them from one on, may look like an unfinished
//!    end. Then these groups are gone as a whole, and everything before them is there.
//! 4. Flush and compaction copy no damage, and lose nothing of what can be read.
//! 5. Nothing panics, and nothing is allocated because damaged bytes say so.

mod answers;
mod check;
mod damage;
mod golden;
#[cfg(test)]
mod tests;
mod units;

use super::{Cases, Counts, Failure, each, strided};
use crate::harness::panic_message;
use crate::memory;
use answers::Truth;
use damage::Plan;
use golden::{Golden, options, told};
use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tidelog_engine::{ReadMode, Result};
use units::{Units, Use};

/// Damages of one shard, about.
const SHARD_CASES: u64 = 2500;
/// No check may hold more bytes at once.
const MEMORY_MAX: usize = 64 << 20;

/// The golden store with all that is known of it.
pub(crate) struct Rot {
    golden: Golden,
    units: Units,
    plan: Plan,
    truth: Truth,
    /// The places of the log's groups, oldest first.
    groups: Vec<u64>,
    /// What the store shows where the log ends before the group of this index.
    cut: Vec<OnceCell<Truth>>,
}

impl Rot {
    /// Makes everything from a seed.
    ///
    /// # Errors
    /// Those of the engine: the store is undamaged, so there must be none.
    pub(crate) fn new(seed: u64) -> Result<Rot, String> {
        let failed = |error: tidelog_engine::Error| format!("the golden store: {}", told(&error));
        let golden = golden::make(seed).map_err(failed)?;
        let units = Units::of(&golden.machine).map_err(failed)?;
        let plan = Plan::of(&golden, &units);
        let process = golden.machine.twin().open(&options(ReadMode::Map)).map_err(failed)?;
        let truth = Truth::of(&process.engine);
        process.kill();
        let groups: Vec<u64> = units
            .used()
            .filter(|unit| unit.what == "log group")
            .map(|unit| unit.bytes.start)
            .collect();
        let cut = groups.iter().map(|_| OnceCell::new()).collect();
        Ok(Rot { golden, units, plan, truth: truth.map_err(failed)?, groups, cut })
    }

    /// What the store shows without the groups from this index on.
    fn truth_until(&self, group: usize) -> &Truth {
        self.cut[group].get_or_init(|| {
            let machine = self.golden.machine.twin();
            for place in &self.groups[group..] {
                machine.main.zero(*place, 96);
            }
            let process = machine.open(&options(ReadMode::Read)).expect("the log just ends");
            let truth = Truth::of(&process.engine).expect("nothing else is damaged");
            process.kill();
            truth
        })
    }

    /// Bytes that are used, for the report: of both files.
    fn used_bytes(&self) -> u64 {
        let used = self.units.used();
        used.map(|unit| unit.bytes.end - unit.bytes.start).sum()
    }

    /// Tries one damage.
    fn case(&self, number: u64) -> Result<Counts, String> {
        let damage = self.plan.get(number).ok_or("there is no damage of this number")?;
        let attempt = || catch_unwind(AssertUnwindSafe(|| check::check(self, number, damage)));
        let (outcome, peak) = memory::measure(attempt);
        match outcome {
            Ok(Ok(_)) if peak > MEMORY_MAX => Err(format!("{damage:?}: it held {peak} bytes")),
            Ok(outcome) => outcome.map_err(|what| format!("{damage:?}: {what}")),
            Err(panic) => Err(format!("{damage:?}: it panicked: {}", panic_message(&*panic))),
        }
    }
}

/// The damages of one shard: each so many of all, so that every shard has some of all kinds.
pub(super) fn cases(seed: u64) -> Result<Box<dyn Cases>, String> {
    Rot::new(seed).map(|rot| Box::new(rot) as Box<dyn Cases>)
}

impl Cases for Rot {
    fn shards(&self) -> Option<u64> {
        // Odd, so that a shard has flips of all bits.
        Some(self.plan.count().div_ceil(SHARD_CASES) | 1)
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        let step = self.shards().expect("there is an end");
        each(strided(shard, self.plan.count(), step), |case| self.one(case))
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        self.case(case).map_err(|what| Failure { case, what })
    }

    fn about(&self) -> String {
        let unused = self.units.all().iter().filter(|unit| unit.usage == Use::Unused);
        let unused: u64 = unused.map(|unit| unit.bytes.end - unit.bytes.start).sum();
        format!(
            "{} damages of {} used bytes beside {unused} unused ones, {} questions, {} groups",
            self.plan.count(),
            self.used_bytes(),
            self.truth.count(),
            self.groups.len(),
        )
    }
}
