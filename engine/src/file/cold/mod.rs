//! The cold file: a second file, by path, for the SSTables of the cold tier.
//!
//! ```text
//! 0          4 KiB      8 KiB        64 KiB                           end
//! | header 0 | header 1 | zeros      | extents: SSTables, free space … |
//! ```
//! It has no log, no manifest and no superblock: the first file says what is in it. What it has is
//! a header that ties it to the first file, and to a moment of it.
//!
//! 1. *Created*: made 64 KiB long and synced; a header of generation 1 written and synced; then a
//!    root of the first file names it.
//! 2. *Added to*: SSTables are written; the header of the next generation is written, to the copy
//!    that does not hold the present one; one sync; then a root of the first file names SSTables
//!    and generation.
//! 3. *Opened*: it is the file of this root if its ids are right, its generation is that of the
//!    root or the next one (a crash came between header and root), and every extent that the root
//!    names lies inside it. Otherwise it is missing, foreign or stale, which the error says.
//!
//! The ids decide, not the path: the file may be moved, and opened by its new path.
//!
//! # Invariants
//! 1. While a copy of the header is written, the other one holds the generation of the newest root.
//! 2. No root names a generation or an extent that is not durable in the cold file.
//! 3. A file that is not empty, and not a creation that was cut off, is never written to unless its
//!    ids are right.
//!
//! # Concurrency
//! Headers are written under the `root` lock; extents by whoever reserved them.

mod absent;
mod format;
#[cfg(test)]
mod tests;

use super::disk::{self, Disk, Flush, read_exact_at};
use super::{Extent, FileId};
use crate::error::{ColdFileProblem, Error, Result};
use crate::limits::BLOCK_SIZE;
pub(crate) use absent::AbsentDisk;
use std::io;

/// Where the extents of the cold file begin.
pub(crate) const GRID_OFFSET: u64 = format::GRID_OFFSET;

/// What the root of the first file says of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColdRef {
    /// Its random identity.
    pub(crate) id: [u8; 16],
    /// The generation that it has at least.
    pub(crate) generation: u64,
}

/// The header of the cold file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColdHeader {
    /// Counts the roots that added something.
    pub(crate) generation: u64,
    /// Its random identity.
    pub(crate) id: [u8; 16],
    /// Identity of the first file.
    pub(crate) file: FileId,
}

/// The error for a cold file that cannot be used.
pub(crate) fn problem(problem: ColdFileProblem, detail: impl Into<String>) -> Error {
    Error::ColdFile { problem, detail: detail.into() }
}

/// The newest valid header; `None` where there is none.
pub(crate) fn read(disk: &dyn Disk) -> Result<Option<ColdHeader>> {
    let length = length(disk)?;
    let mut newest: Option<ColdHeader> = None;
    for copy in 0..2 {
        let offset = copy * BLOCK_SIZE;
        if offset + BLOCK_SIZE > length {
            break;
        }
        let mut bytes = vec![0; format::HEADER_SIZE];
        read_exact_at(disk, "read the header of the cold file", offset, &mut bytes)?;
        if let Some(header) = format::decode(&bytes, copy)
            && newest.is_none_or(|newest| newest.generation < header.generation)
        {
            newest = Some(header);
        }
    }
    Ok(newest)
}

/// Writes a header to its copy and syncs: everything written before is durable then.
pub(crate) fn advance(disk: &dyn Disk, header: &ColdHeader) -> Result<()> {
    let buffer = format::encode(header);
    let copy = format::copy_of(header.generation);
    assert_eq!(format::decode(buffer.as_slice(), copy), Some(*header), "it can be read back");
    let what = "write the header of the cold file";
    disk::write_all_at(disk, what, copy * BLOCK_SIZE, buffer.as_slice(), Flush::Later)?;
    disk::sync(disk, "sync the cold file")
}

/// Bytes that one header takes.
pub(crate) const HEADER_BYTES: u64 = format::HEADER_SIZE as u64;

/// Makes an empty file, or one whose creation was cut off, a cold file of `file`, durably. `id` is
/// for a new one.
///
/// # Errors
/// `ColdFile` with `Foreign` for a file with anything else in it: nothing of it is changed.
pub(crate) fn create(disk: &dyn Disk, file: FileId, id: [u8; 16]) -> Result<ColdRef> {
    let found = read(disk)?;
    let header = match found {
        // Created, but the root that was to name it never became durable.
        Some(found) if found.file == file && found.generation == 1 => found,
        Some(found) => {
            let detail = format!("it belongs to the store {}", hex(&found.file.0));
            return Err(problem(ColdFileProblem::Foreign, detail));
        }
        None if is_unfinished(disk)? => ColdHeader { generation: 1, id, file },
        None => {
            let detail = "it has other contents than a cold file";
            return Err(problem(ColdFileProblem::Foreign, detail));
        }
    };
    disk.allocate(0, GRID_OFFSET).map_err(|error| Error::io("create the cold file", 0, error))?;
    disk::sync(disk, "create the cold file")?;
    advance(disk, &header)?;
    Ok(ColdRef { id: header.id, generation: 1 })
}

/// Whether it is empty, or its creation was cut off: no longer than the zone of the header, and
/// zeros but for the place of the first header, which is written when the zone has its length.
fn is_unfinished(disk: &dyn Disk) -> Result<bool> {
    let length = length(disk)?;
    if length > GRID_OFFSET {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(length).expect("at most 64 KiB")];
    read_exact_at(disk, "read the cold file", 0, &mut bytes)?;
    let torn = format::HEADER_SIZE..2 * format::HEADER_SIZE;
    let whole = length == GRID_OFFSET;
    Ok(bytes.iter().enumerate().all(|(at, byte)| *byte == 0 || (whole && torn.contains(&at))))
}

/// Checks that this is the file that the root speaks of. `writing`: nobody else writes meanwhile.
///
/// # Errors
/// `ColdFile` that says what is wrong.
pub(crate) fn check(
    disk: &dyn Disk,
    file: FileId,
    root: &ColdRef,
    live: &[Extent],
    writing: bool,
) -> Result<()> {
    let length = length(disk)?;
    if length == 0 {
        return Err(problem(ColdFileProblem::Missing, "it is empty"));
    }
    let Some(header) = read(disk)? else {
        return Err(problem(ColdFileProblem::Foreign, "it has no header of a cold file"));
    };
    if header.file != file || header.id != root.id {
        let detail = format!(
            "it is {} of the store {}, this is the store {} and its cold file is {}",
            hex(&header.id),
            hex(&header.file.0),
            hex(&file.0),
            hex(&root.id)
        );
        return Err(problem(ColdFileProblem::Foreign, detail));
    }
    if header.generation < root.generation {
        let detail =
            format!("its generation is {}, the store needs {}", header.generation, root.generation);
        return Err(problem(ColdFileProblem::Stale, detail));
    }
    if writing && header.generation > root.generation + 1 {
        let detail = format!(
            "its generation is {}, the store is at {}: the store is older than the file",
            header.generation, root.generation
        );
        return Err(problem(ColdFileProblem::Stale, detail));
    }
    let end = live.iter().map(Extent::end).max().unwrap_or(GRID_OFFSET);
    if length < end {
        let detail = format!("it has {length} bytes, the store needs {end}");
        return Err(problem(ColdFileProblem::Stale, detail));
    }
    Ok(())
}

fn length(disk: &dyn Disk) -> Result<u64> {
    disk.length().map_err(|error| Error::io("read the length of the cold file", 0, error))
}

/// What an opening of the cold file that failed means.
pub(crate) fn explain(error: Error) -> Error {
    match &error {
        Error::NotFound { what } => problem(ColdFileProblem::Missing, what.clone()),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            problem(ColdFileProblem::Missing, error.to_string())
        }
        _ => error,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
