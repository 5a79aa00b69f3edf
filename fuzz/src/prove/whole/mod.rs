//! The whole store and its reference, as the engine's tests have them.
//!
//! The files are those of `engine/tests/it`, included where they are: one source, compiled into
//! both. They are tests in all they do, and panic where something is wrong; so nothing here needs
//! to be public, and the engine's library stays without a reference of itself.

#[path = "../../../../engine/tests/it/crash_sweep.rs"]
pub(super) mod crash_sweep;
#[path = "../../../../engine/tests/it/draw.rs"]
pub(crate) mod draw;
#[path = "../../../../engine/tests/it/history.rs"]
pub(super) mod history;
#[path = "../../../../engine/tests/it/images.rs"]
mod images;
#[path = "../../../../engine/tests/it/linked_disk.rs"]
mod linked_disk;
#[path = "../../../../engine/tests/it/reference/mod.rs"]
pub(crate) mod reference;
#[path = "../../../../engine/tests/it/sim.rs"]
pub(crate) mod sim;
#[path = "../../../../engine/tests/it/world.rs"]
pub(crate) mod world;

use super::{Counts, Failure};
use crate::harness::panic_message;
use crash_sweep::{Plan, durable, everything, intervals, lasting, mixed, passing};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The workloads that power losses and faults are tried on: each has a store of its own kind.
pub(super) const PLANS: [Plan; 4] = [
    Plan { two_disks: false, create: lasting, count: 40, step: durable },
    Plan { two_disks: false, create: lasting, count: 100, step: mixed },
    Plan { two_disks: false, create: lasting, count: 60, step: intervals },
    Plan { two_disks: true, create: passing, count: 90, step: everything },
];

/// Runs one case; a panic is what goes wrong.
pub(super) fn caught(case: u64, run: impl FnOnce() -> Counts) -> Result<Counts, Failure> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|panic| Failure { case, what: panic_message(&*panic).to_owned() })
}
