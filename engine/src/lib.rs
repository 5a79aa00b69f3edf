//! The storage engine of Tidelog: timelines in one file.

pub mod batch;
mod cache;
mod codec;
mod compaction;
mod entry;
mod error;
mod file;
mod health;
pub mod limits;
mod memtable;
mod manifest;
mod options;
mod runtime;
mod sstable;
mod state;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod version;

pub use batch::{KeyedOperation, Precondition, WriteBatch};
pub use entry::{Direction, Entry, Origin, Payload, TableId};
pub use error::{Corruption, Error, ErrorKind, Result};
pub use file::{Disk, Extent, FileId, Flush, Geometry, Identity, OpenMode, OsDisk, Region};
pub use options::{Compression, Durability, Options, ReadMode, Sequence, TableOptions};
pub use runtime::{Clock, Progress, Random, Scheduler, Wake, Worker};
pub use runtime::{Entropy, SeededEntropy, SystemClock, SystemEntropy, ThreadScheduler};
pub use version::{SstableMeta, TableKind};
