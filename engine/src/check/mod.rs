//! Checking a store's file while it is written: what a scrub and `verify` have in common.
//!
//! A check reads the device, not what the process remembers: [`FreshDisk`] under the structures'
//! own code, which knows how to check an SSTable (`sstable/verify.rs`) and a segment
//! (`segment/verify.rs`). Here is what is different in a file that lives:
//!
//! | module | what, and when something wrong is believed |
//! |---|---|
//! | `root` | superblock copies: the same wrong bytes for a second, with no update between |
//! | `manifest` | its records: twice, under roots that name the same extent |
//! | `log` | the durable groups: three times at one place, which the root still holds |
//!
//! A writer replaces structures, and never changes what the newest root names. So what looked wrong
//! is looked at again under the newest root: it is right now (it was being written), or gone (a
//! root ago it was there), or damaged. There is no fourth.
//!
//! # Invariants
//! 1. Nothing is called damage that a writer may have written since the root was read.
//! 2. What the oldest and the newest root of a check both name has been read, or is reported.
//!
//! # Concurrency
//! A check has one thread, takes no lock of the store, and writes nothing.

mod log;
mod manifest;
mod root;

pub(crate) use log::{check_log, group_bytes_max};
pub(crate) use manifest::{Roots, read_roots, read_superblock};
pub(crate) use root::check_copies;

use crate::error::{Corruption, Error};
use crate::file::{Disk, FreshDisk, ReadPace};
use crate::sync::{Arc, AtomicU64, Ordering};

/// Between two looks at something that may be being written, in milliseconds.
const LOOK_REST_MS: u64 = 50;

/// A file that somebody may be writing.
pub(crate) struct LiveFile {
    pub(crate) disk: FreshDisk,
    /// Whether the root is being written: odd meanwhile, another value behind it. Only a process
    /// that writes the file itself can tell; for others it stays 0.
    writes: Arc<AtomicU64>,
}

impl LiveFile {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        pace: Arc<ReadPace>,
        writes: Arc<AtomicU64>,
    ) -> LiveFile {
        LiveFile { disk: FreshDisk::new(disk, pace), writes }
    }

    pub(crate) fn pace(&self) -> &ReadPace {
        self.disk.pace()
    }

    /// The stamp of the root, unless it is being written.
    fn stamp(&self) -> Option<u64> {
        Some(self.writes.load(Ordering::SeqCst)).filter(|stamp| stamp % 2 == 0)
    }

    /// A moment for a writer to end what it has begun.
    fn rest(&self) -> crate::error::Result<()> {
        self.pace().rest(LOOK_REST_MS)
    }
}

/// What an error says of a place: damage, or a file that ends before it. Everything else is no
/// finding but the end of the check.
pub(crate) fn damage_of(error: Error) -> Result<Corruption, Error> {
    match (error.damaged_place(), error) {
        (_, Error::Corruption(corruption)) => Ok(corruption),
        (Some((what, offset)), error) => Ok(Corruption { what, offset, detail: error.to_string() }),
        (None, error) => Err(error),
    }
}
