//! The storage engine of Tidelog: timelines in one file.

mod amendment;
pub mod batch;
mod cache;
mod check;
mod codec;
mod commit;
mod compaction;
mod engine;
mod entry;
mod error;
mod file;
mod health;
pub mod inspect;
pub mod limits;
mod manifest;
mod marks;
mod memory;
mod memtable;
mod options;
mod own_ttl;
#[doc(hidden)]
pub mod planted;
mod read;
mod runtime;
pub mod salvage;
mod segment;
mod sstable;
mod state;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod version;
mod wal;

pub use batch::{AppendOptions, KeyedOperation, Precondition, WriteBatch};
pub use commit::{CommitFuture, Committed};
pub use engine::{Engine, ErasureStats, OpenCold, Parts, PendingWork, Stats, TableInfo};
pub use engine::{
    EntrySpan, Scrub, ScrubCancel, ScrubCounts, ScrubFault, ScrubProgress, ScrubReport, ScrubStats,
    ScrubStructure,
};
pub use entry::{Direction, Entry, EntryView, Origin, OriginRef, Payload, Revision, TableId};
pub use error::{ColdFileProblem, Corruption, Error, ErrorKind, Result};
pub use file::{
    AlignedBuffer, Begun, Disk, Extent, FileId, Flush, Geometry, Identity, OpenMode, OsDisk,
    Region, StoreBy, Stores,
};
pub use memory::OwnProcess;
pub use options::{
    Compression, Durability, Options, ReadMode, ScrubOptions, Sequence, TableOptions,
    UnsyncedCommits,
};
pub use own_ttl::OwnTtl;
pub use read::{Gap, GapReason, Item, Items};
pub use read::{Scan, Snapshot, TimelineInfo, Timelines, Values};
pub use runtime::{Clock, Progress, Random, Scheduler, Wake, Worker};
pub use runtime::{Entropy, SeededEntropy, SystemClock, SystemEntropy, ThreadScheduler};
pub use version::{
    LevelStats, SegmentMeta, Shard, SstableMeta, TableKind, TableStats, Tier, WindowStats,
};
