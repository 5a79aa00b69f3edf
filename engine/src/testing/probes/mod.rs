//! Doors for the benches of `tidelog-benches`: the engine's private structures, one small operation
//! each. They are as narrow as they can be, so that a structure may change behind them and is still
//! measured by the same case.
//!
//! What an operation gives back says how much it did, so that a case can tell that it measures what
//! it is named for.

mod disk;
mod extents;
mod log;
mod memtable;
mod queue;
mod sstable;

pub use disk::MemoryDisk;
pub use extents::Extents;
pub use log::Log;
pub use memtable::Memtable;
pub use queue::Queue;
pub use sstable::{Row, Table, encode};
