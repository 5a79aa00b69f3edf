//! A small store that holds every structure there is, and all that is known of it: what may become
//! of it when its bytes change can then be judged.
//!
//! - `store.rs`: makes it.
//! - `workloads.rs`: what became of it before anybody damages it.
//! - `units.rs`: which of its bytes are what.
//! - `answers.rs`: everything that it can be asked, and its answers.
//! - `check.rs`: what must hold of a machine whose bytes have rotted.

mod answers;
pub(crate) mod check;
pub(crate) mod store;
pub(crate) mod units;
pub(crate) mod workloads;

#[cfg(test)]
pub(crate) use answers::Answer;
pub(crate) use answers::Truth;

use std::cell::OnceCell;
use std::ops::Range;
use store::{Golden, options, told};
use tidelog_engine::ReadMode;
use units::Units;

/// The golden store with all that is known of it.
pub(crate) struct Known {
    pub(crate) golden: Golden,
    pub(crate) units: Units,
    pub(crate) truth: Truth,
    /// The places of the log's groups, oldest first.
    pub(crate) groups: Vec<u64>,
    /// What the store shows where the log ends before the group of this index.
    cut: Vec<OnceCell<Truth>>,
}

impl Known {
    /// Asks and inspects a store.
    ///
    /// # Errors
    /// Those of the engine: the store is undamaged, so there must be none.
    pub(crate) fn of(golden: Golden) -> Result<Known, String> {
        let failed = |error: tidelog_engine::Error| format!("the golden store: {}", told(&error));
        let units = Units::of(&golden.machine).map_err(failed)?;
        let process = golden.machine.twin().open(&options(ReadMode::Map)).map_err(failed)?;
        let truth = Truth::of(&process.engine);
        process.kill();
        let groups: Vec<u64> = units
            .used()
            .filter(|unit| unit.what == "log group")
            .map(|unit| unit.bytes.start)
            .collect();
        let cut = groups.iter().map(|_| OnceCell::new()).collect();
        Ok(Known { golden, units, truth: truth.map_err(failed)?, groups, cut })
    }

    /// What the store shows without the groups from this index on.
    pub(crate) fn truth_until(&self, group: usize) -> &Truth {
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
}

/// The ranges of a file in which the bytes from `offset` on differ, whole runs of them.
pub(crate) fn differences(
    file: usize,
    offset: u64,
    was: &[u8],
    is: &[u8],
) -> Vec<(usize, Range<u64>)> {
    let mut changed: Vec<(usize, Range<u64>)> = Vec::new();
    for (place, (was, is)) in (offset..).zip(was.iter().zip(is)) {
        match changed.last_mut() {
            _ if was == is => {}
            Some((_, run)) if run.end == place => run.end += 1,
            _ => changed.push((file, place..place + 1)),
        }
    }
    changed
}
