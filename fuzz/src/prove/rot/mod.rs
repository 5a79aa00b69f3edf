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

mod damage;
#[cfg(test)]
mod tests;

use super::{Cases, Counts, Failure, each, strided};
use crate::golden::units::Use;
use crate::golden::{Known, check, store};
use crate::harness::panic_message;
use crate::memory;
use damage::{Damage, Plan};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Damages of one shard, about.
const SHARD_CASES: u64 = 2500;
/// No check may hold more bytes at once.
const MEMORY_MAX: usize = 64 << 20;

/// The golden store with all that is known of it, and its damages.
pub(crate) struct Rot {
    known: Known,
    plan: Plan,
}

impl Rot {
    /// Makes everything from a seed.
    ///
    /// # Errors
    /// Those of the engine: the store is undamaged, so there must be none.
    pub(crate) fn new(seed: u64) -> Result<Rot, String> {
        let golden = store::make(seed);
        let golden =
            golden.map_err(|error| format!("the golden store: {}", store::told(&error)))?;
        let known = Known::of(golden)?;
        let plan = Plan::of(&known.golden, &known.units);
        Ok(Rot { known, plan })
    }

    /// Bytes that are used, for the report: of both files.
    fn used_bytes(&self) -> u64 {
        let used = self.known.units.used();
        used.map(|unit| unit.bytes.end - unit.bytes.start).sum()
    }

    /// Tries one damage.
    fn check(&self, number: u64, damage: Damage) -> Result<Counts, String> {
        let golden = &self.known.golden;
        let machine = golden.machine.twin();
        let changed = damage.apply(&machine, &golden.past);
        let mut counts = Counts::default();
        counts.add("checks", 1);
        counts.add(damage.kind(), 1);
        counts.add("silent", 0);
        if changed.is_empty() {
            counts.add("unchanged", 1);
            return Ok(counts);
        }
        let is_cut = matches!(damage, Damage::Cut { .. });
        check::check(&self.known, number, &machine, (&changed[..], is_cut), &mut counts)?;
        Ok(counts)
    }

    /// Tries the damage of a number; it must neither panic nor hold too much memory.
    fn case(&self, number: u64) -> Result<Counts, String> {
        let damage = self.plan.get(number).ok_or("there is no damage of this number")?;
        let attempt = || catch_unwind(AssertUnwindSafe(|| self.check(number, damage)));
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
        let unused = self.known.units.all().iter().filter(|unit| unit.usage == Use::Unused);
        let unused: u64 = unused.map(|unit| unit.bytes.end - unit.bytes.start).sum();
        format!(
            "{} damages of {} used bytes beside {unused} unused ones, {} questions, {} groups",
            self.plan.count(),
            self.used_bytes(),
            self.known.truth.count(),
            self.known.groups.len(),
        )
    }
}
