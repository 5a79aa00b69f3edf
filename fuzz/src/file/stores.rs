//! The stores that are damaged: one of each workload, made once a run, always the same.

use super::layout::Layout;
use crate::golden::store::{Machine, told};
use crate::golden::workloads::{WORKLOADS, Workload};
use crate::golden::{Known, differences};
use crate::harness::ensure;
use std::ops::Range;

/// The seed of the golden stores: what an event does hangs on its own seed alone.
const SEED: u64 = 1;

/// A store, and all that is known of it.
pub(super) struct Store {
    pub(super) workload: Workload,
    pub(super) known: Known,
    pub(super) layout: Layout,
    /// The main file and the cold one.
    pub(super) files: [Vec<u8>; 2],
    /// Kinds of what is used.
    pub(super) kinds: Vec<&'static str>,
}

/// Makes them.
///
/// # Errors
/// Those of the engine: nothing is damaged yet, so there must be none.
pub(super) fn make() -> Result<Vec<Store>, String> {
    let mut stores = Vec::new();
    for workload in WORKLOADS {
        let failed = |error: tidelog_engine::Error| format!("{workload:?}: {}", told(&error));
        let known = Known::of(workload.make(SEED).map_err(failed)?)?;
        let machine = &known.golden.machine;
        let files = [machine.main.bytes(), machine.cold.bytes()];
        let layout = Layout::of(machine, &files).map_err(failed)?;
        let mut repaired = files.clone();
        layout.repair(&mut repaired);
        ensure(repaired == files, || format!("{workload:?}: a repair changes what is whole"))?;
        let mut kinds: Vec<&'static str> = known.units.used().map(|unit| unit.what).collect();
        kinds.sort_unstable();
        kinds.dedup();
        stores.push(Store { workload, known, layout, files, kinds });
    }
    Ok(stores)
}

impl Store {
    /// A machine with other files of the same lengths, and where they differ.
    pub(super) fn with_files(&self, files: &[Vec<u8>; 2]) -> (Machine, Vec<(usize, Range<u64>)>) {
        let machine = self.known.golden.machine.twin();
        let mut changed = Vec::new();
        for file in [0, 1] {
            for (_, range) in differences(file, 0, &self.files[file], &files[file]) {
                machine.disk(file).set_bytes(range.start, &files[file][index(&range)]);
                changed.push((file, range));
            }
        }
        (machine, changed)
    }
}

/// A range of a file in its bytes.
pub(super) fn index(range: &Range<u64>) -> Range<usize> {
    let place = |offset: u64| usize::try_from(offset).expect("a small file");
    place(range.start)..place(range.end)
}
