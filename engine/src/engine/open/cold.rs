//! Opening the cold file: that which the root names, or a new one.
//!
//! 1. The root names one: it is opened by the path that was given, and checked. What is wrong fails
//!    the opening, or is kept as the answer to every read of cold data, as the options say.
//! 2. The root names none, and a path was given: a file is created there, durably, before the root
//!    that ends the opening names it (`begin_log`).

use super::Parts;
use crate::cache::Source;
use crate::compaction::ColdPlace;
use crate::error::{ColdFileProblem, Error, Result};
use crate::file::cold::{self, AbsentDisk, ColdRef};
use crate::file::disk::{Disk, sync};
use crate::file::superblock::Superblock;
use crate::file::{Allocator, Extent, FileId, GatedDisk, OpenMode};
use crate::limits::BLOCK_SIZE;
use crate::options::Options;
use crate::sync::Arc;

/// An open cold file, or what stands in its place.
#[derive(Clone)]
pub(crate) struct ColdFile {
    disk: Arc<dyn Disk>,
    allocator: Arc<Allocator>,
    /// The gate of its syncs; `None` where there is no file.
    pub(in crate::engine) gate: Option<Arc<GatedDisk>>,
    /// Why it cannot be used.
    pub(in crate::engine) refused: Option<Error>,
}

impl ColdFile {
    fn gated(gate: Arc<GatedDisk>, allocator: Allocator) -> ColdFile {
        let (disk, allocator) = (gate.clone(), Arc::new(allocator));
        ColdFile { disk, allocator, gate: Some(gate), refused: None }
    }

    /// Where its SSTables are read, and who owns their extents.
    pub(super) fn place(&self, main: &Source) -> (Source, Arc<Allocator>) {
        // What lies there is seldom read.
        let around = Arc::default();
        let source = Source { disk: Arc::clone(&self.disk), around, ..main.clone() };
        (source, Arc::clone(&self.allocator))
    }

    /// Where cold SSTables are written.
    pub(super) fn output(&self) -> ColdPlace {
        ColdPlace { disk: Arc::clone(&self.disk), allocator: Arc::clone(&self.allocator) }
    }
}

/// The cold file that the root names, in which `live` is in use.
pub(super) fn open(
    parts: &Parts,
    options: &Options,
    superblock: &Superblock,
    live: &[Extent],
) -> Result<Option<ColdFile>> {
    let Some(root) = &superblock.cold else {
        return Ok(None);
    };
    match try_open(parts, options, superblock.file, root, live) {
        Ok(disk) => {
            let length = cold_length(&*disk)?;
            let grid = cold::GRID_OFFSET;
            // Its own health: when it fails, the first file goes on.
            let allocator = Allocator::new(disk.clone(), grid, length, live)?;
            allocator.durable(superblock.sequence);
            Ok(Some(ColdFile::gated(disk, allocator)))
        }
        Err(error @ (Error::ColdFile { .. } | Error::Io { .. })) if options.without_cold_file => {
            let disk: Arc<dyn Disk> = Arc::new(AbsentDisk::new(error.clone()));
            let end = live.iter().map(Extent::end).max().unwrap_or(cold::GRID_OFFSET);
            let grid = cold::GRID_OFFSET;
            let allocator = Allocator::new(Arc::clone(&disk), grid, end, live)?;
            allocator.durable(superblock.sequence);
            let (allocator, refused) = (Arc::new(allocator), Some(error));
            Ok(Some(ColdFile { disk, allocator, gate: None, refused }))
        }
        Err(error) => Err(error),
    }
}

fn try_open(
    parts: &Parts,
    options: &Options,
    file: FileId,
    root: &ColdRef,
    live: &[Extent],
) -> Result<Arc<GatedDisk>> {
    let Some(open) = &parts.cold else {
        let detail = "the store has one, name it in `cold_file`";
        return Err(cold::problem(ColdFileProblem::NotGiven, detail));
    };
    let writing = !options.read_only;
    let mode = if writing { OpenMode::ReadWrite } else { OpenMode::ReadOnly };
    let disk = open(mode).map_err(cold::explain)?;
    let disk = Arc::new(GatedDisk::new(disk));
    if writing {
        lock(parts, &*disk)?;
        // What is read from here on is on the disk.
        sync(&*disk, "syncing the cold file before recovery")?;
    }
    cold::check(&*disk, file, root, live, writing)?;
    Ok(disk)
}

/// Makes a new cold file for a store that has none.
pub(super) fn create(parts: &Parts, file: FileId, sequence: u64) -> Result<(ColdFile, ColdRef)> {
    let open = parts.cold.as_ref().ok_or(Error::Closed { what: "the cold file" })?;
    let disk = Arc::new(GatedDisk::new(open(OpenMode::CreateReadWrite)?));
    lock(parts, &*disk)?;
    sync(&*disk, "syncing the cold file before its creation")?;
    let mut id = [0; 16];
    parts.entropy.fill(&mut id)?;
    let root = cold::create(&*disk, file, id)?;
    let length = cold_length(&*disk)?;
    let allocator = Allocator::new(disk.clone(), cold::GRID_OFFSET, length, &[])?;
    allocator.durable(sequence);
    Ok((ColdFile::gated(disk, allocator), root))
}

fn lock(parts: &Parts, disk: &dyn Disk) -> Result<()> {
    match super::try_lock(parts, disk, "locking the cold file")? {
        true => Ok(()),
        false => Err(Error::Locked { path: format!("the cold file of {}", parts.name) }),
    }
}

fn cold_length(disk: &dyn Disk) -> Result<u64> {
    let length =
        disk.length().map_err(|error| Error::io("read the length of the cold file", 0, error))?;
    Ok(length / BLOCK_SIZE * BLOCK_SIZE)
}
