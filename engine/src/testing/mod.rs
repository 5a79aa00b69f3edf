//! The simulated world: a disk that loses power, a clock that jumps, a scheduler with a seed.
//!
//! Everything here is deterministic: the same seed and the same calls give the same bytes, the same
//! order and the same [`SimDisk::log_hash`].

pub mod fuzzing;
#[doc(hidden)]
pub mod probes;
mod sim_clock;
mod sim_disk;
mod sim_scheduler;

pub use crate::runtime::{Random, SeededEntropy};
pub use sim_clock::SimClock;
pub use sim_disk::{
    AfterFailedSync, CrashPolicy, DiskCounts, Fault, FaultEffect, FaultOperation, FaultTimes,
    SimDisk, SimOptions, WrittenPart,
};
pub use sim_scheduler::SimScheduler;
