//! Looking into a store's file: for the tools, and for whoever has to find out what happened.
//!
//! Never writes, takes no lock, goes on after damage as far as it can, hides nothing. Everything is
//! read with `pread` from the file as it is; beside a live writer a structure may be replaced while
//! it is read, so [`Inspector::verify`] looks at the root again before it calls that damage.
//!
//! | module | what |
//! |---|---|
//! | `superblock` | the four copies, and the root that they make |
//! | `log` | the groups of the WAL ring, and why there are no more |
//! | `manifest` | its records, and the tables and SSTables that they make |
//! | `cold` | the second file, that of the cold tier |
//! | `space` | who owns which bytes of the file |
//! | `blocks` | the blocks of an SSTable, and one block in words |
//! | `verify` | all of it against all of it |

mod blocks;
mod cold;
mod log;
mod manifest;
mod marks;
mod space;
mod superblock;
#[cfg(test)]
mod tests;
mod verify;

pub use blocks::{BlockReport, BlockText};
pub(crate) use log::group_bytes_max;
pub use log::{LogEnding, LogGroup, LogPayload, LogReport};
pub use manifest::{ManifestRecord, ManifestReport, SstableReport};
pub use space::{SpaceKind, SpaceRun};
pub use superblock::{CopyReport, CopyVerdict, RootReport};
pub use verify::{Counts, Fault, Report};

use crate::error::{Error, Result};
use crate::file::disk::Disk;
use crate::file::superblock::{CopyState, Superblock};
use crate::file::{OpenMode, OsDisk};
use crate::sync::Arc;
use std::path::Path;

/// A file under inspection.
pub struct Inspector {
    disk: Arc<dyn Disk>,
    cold: Option<Arc<dyn Disk>>,
}

impl Inspector {
    /// The file at `path`.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Inspector> {
        Ok(Inspector::over(Arc::new(OsDisk::open(path.as_ref(), OpenMode::ReadOnly)?)))
    }

    /// A file behind another disk.
    pub fn over(disk: Arc<dyn Disk>) -> Inspector {
        Inspector { disk, cold: None }
    }

    /// The same, with the cold file at `path`.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn with_cold_file(self, path: impl AsRef<Path>) -> Result<Inspector> {
        Ok(self.with_cold(Arc::new(OsDisk::open(path.as_ref(), OpenMode::ReadOnly)?)))
    }

    /// The same, with the cold file behind another disk.
    #[must_use]
    pub fn with_cold(mut self, disk: Arc<dyn Disk>) -> Inspector {
        self.cold = Some(disk);
        self
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn length(&self) -> Result<u64> {
        self.disk.length().map_err(|error| Error::io("reading the length", 0, error))
    }

    /// The root that the engine would open with.
    fn superblock(&self) -> Result<Superblock> {
        crate::file::superblock::read(&*self.disk)
    }

    /// That root, or the newest valid copy where no two agree: better than seeing nothing.
    fn superblock_or_best_copy(&self) -> Result<Superblock> {
        let refused = match self.superblock() {
            Ok(superblock) => return Ok(superblock),
            Err(error) => error,
        };
        let valid =
            crate::file::superblock::read_copies(&*self.disk).into_iter().filter_map(|copy| {
                match copy {
                    CopyState::Valid(superblock) => Some(*superblock),
                    CopyState::Unsupported(_) | CopyState::Damaged(_) => None,
                }
            });
        valid.max_by_key(|superblock| superblock.sequence).ok_or(refused)
    }
}
