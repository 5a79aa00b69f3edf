//! Latencies, and the counters that the kernel keeps of this process, its memory, its files and the
//! block device: what `soak` and the comparison with other engines measure with.

mod cgroup;
mod device;
mod disk;
mod latencies;
mod machine;
mod memory;
pub mod process;
mod schedule;

pub use cgroup::MemoryGroup;
pub use device::{Counters, Device};
pub use disk::{allocated_bytes, disk_bytes, settle};
pub use latencies::Latencies;
pub use machine::Machine;
pub use memory::MemoryWatch;
pub use schedule::Schedule;
