//! The superblock copies as they lie in the file.

use super::Inspector;
use crate::error::Result;
use crate::file::superblock::{CopyState, Superblock, read_copies};
use crate::file::{Extent, FileId, Identity};
use crate::limits::SUPERBLOCK_STRIDE;

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// Its index, from 0.
    pub copy: usize,
    /// Its offset in the file.
    pub offset: u64,
    /// What it holds.
    pub verdict: CopyVerdict,
}

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyVerdict {
    /// A whole superblock.
    Valid(Box<RootReport>),
    /// A whole superblock of a newer build, and what this one does not know.
    Unsupported(String),
    /// Something else, and why.
    Damaged(String),
}

/// The fields of a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootReport {
    /// Counts the updates, from 1.
    pub sequence: u64,
    /// Random identity of the file.
    pub file: FileId,
    /// Counts the lives of the file.
    pub incarnation: u64,
    /// Version of the format.
    pub format_version: u32,
    /// Features that a build may ignore, must know to write, and must know to read.
    pub features: (u64, u64, u64),
    /// Length that the file has at least, in bytes.
    pub file_length: u64,
    /// The WAL ring.
    pub ring: Extent,
    /// The manifest's extent.
    pub manifest: Extent,
    /// Bytes of the manifest in use.
    pub manifest_length: u64,
    /// Checksum of the manifest's last record.
    pub manifest_checksum: u32,
    /// Logical position where replay of the WAL begins.
    pub head_lsn: u64,
    /// Salt of the opening that writes the WAL.
    pub salt: u64,
    /// Everything in the WAL before this position is known to be on the disk.
    pub synced_lsn: u64,
    /// The last commit before the head.
    pub commit: u64,
    /// Highest time that the clock has given out, in milliseconds since 1970.
    pub clock_high_water_ms: u64,
    /// The store was closed in order.
    pub clean: bool,
    /// Commits may have been acknowledged before they were synced.
    pub unsynced: bool,
    /// File and boot of the last writer.
    pub identity: Identity,
    /// When the file was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// Id and generation of the cold file, if there is one.
    pub cold_file: Option<([u8; 16], u64)>,
}

impl Inspector {
    /// All four copies.
    pub fn superblocks(&self) -> Vec<CopyReport> {
        let copies = read_copies(&*self.disk).into_iter().enumerate();
        copies
            .map(|(copy, state)| CopyReport {
                copy,
                offset: copy as u64 * SUPERBLOCK_STRIDE,
                verdict: match state {
                    CopyState::Valid(superblock) => {
                        CopyVerdict::Valid(Box::new(RootReport::of(&superblock)))
                    }
                    CopyState::Unsupported(what) => CopyVerdict::Unsupported(what),
                    CopyState::Damaged(why) => CopyVerdict::Damaged(why),
                },
            })
            .collect()
    }

    /// The root that an opening would choose.
    ///
    /// # Errors
    /// Those of an opening.
    pub fn root(&self) -> Result<RootReport> {
        self.superblock().map(|superblock| RootReport::of(&superblock))
    }
}

impl RootReport {
    pub(super) fn of(superblock: &Superblock) -> RootReport {
        RootReport {
            sequence: superblock.sequence,
            file: superblock.file,
            incarnation: superblock.incarnation,
            format_version: superblock.format_version,
            features: (
                superblock.compatible,
                superblock.read_only_compatible,
                superblock.incompatible,
            ),
            file_length: superblock.file_length,
            ring: superblock.ring,
            manifest: superblock.manifest.extent,
            manifest_length: superblock.manifest.length,
            manifest_checksum: superblock.manifest.checksum,
            head_lsn: superblock.wal.lsn,
            salt: superblock.wal.salt,
            synced_lsn: superblock.synced_lsn,
            commit: superblock.commit,
            clock_high_water_ms: superblock.clock_high_water_ms,
            clean: superblock.clean,
            unsynced: superblock.unsynced,
            identity: superblock.identity,
            created_ms: superblock.created_ms,
            cold_file: superblock.cold.map(|cold| (cold.id, cold.generation)),
        }
    }
}
