//! The storage engine of Tidelog: timelines in one file.

pub mod batch;
mod codec;
mod compaction;
mod entry;
mod error;
mod file;
mod health;
pub mod limits;
mod options;
mod runtime;
mod sync;
mod version;

pub use batch::{KeyedOperation, Precondition, WriteBatch};
pub use entry::{Entry, Origin, Payload, TableId};
pub use error::{Corruption, Error, ErrorKind, Result};
pub use file::{Disk, Extent, FileId, Flush, Geometry, Identity, Region};
pub use options::{Compression, Durability, Options, ReadMode, Sequence, TableOptions};
pub use runtime::{Clock, Progress, Scheduler, Wake, Worker};
pub use version::{SstableMeta, TableKind};
