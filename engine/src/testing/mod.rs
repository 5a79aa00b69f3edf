//! The simulated world: a disk that loses power, a clock that jumps, a scheduler with a seed.
//!
//! Everything here is deterministic: the same seed and the same calls give the same bytes, the same
//! order and the same [`SimDisk::log_hash`].

mod sim_disk;

pub use crate::runtime::Random;
pub use sim_disk::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk,
    SimOptions, WrittenPart,
};
