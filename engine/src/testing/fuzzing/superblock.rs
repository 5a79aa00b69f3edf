//! The four copies of the superblock.

use super::put_checksum;
use crate::codec::checksum;
use crate::error::Result;
use crate::file::cold::ColdRef;
use crate::file::superblock::{self, FORMAT_VERSION, Superblock, WalHead};
use crate::file::{Extent, FileId, Identity, ManifestRef};
use crate::limits::{RING_BYTES_MIN, RING_OFFSET, SUPERBLOCK_SIZE, SUPERBLOCK_STRIDE};
use crate::runtime::Random;
use crate::testing::SimDisk;

/// Length of a file whose superblocks are made by [`write()`].
pub const FILE_LENGTH: u64 = RING_OFFSET + RING_BYTES_MIN + 256 * 1024;

/// A superblock whose every field follows from its sequence and a seed.
fn made(sequence: u64, seed: u64) -> Superblock {
    let mut random = Random::new(seed ^ sequence.rotate_left(32));
    let ring = Extent { offset: RING_OFFSET, length: RING_BYTES_MIN };
    let extent = Extent { offset: ring.end() + 4096 * random.below(16), length: 64 * 1024 };
    let lsn = random.next_u64() >> 20;
    let mut boot = [0; 16];
    random.fill(&mut boot);
    Superblock {
        sequence,
        file: FileId([9; 16]),
        incarnation: random.next_u64() >> 1,
        format_version: FORMAT_VERSION,
        compatible: random.next_u64(),
        read_only_compatible: 0,
        incompatible: 0,
        file_length: FILE_LENGTH,
        ring,
        manifest: ManifestRef {
            extent,
            length: 4096 * (1 + random.below(16)),
            checksum: u32::try_from(random.below(1 << 32)).expect("it is below 2^32"),
        },
        wal: WalHead { lsn, previous: 7, salt: random.next_u64() },
        synced_lsn: lsn + random.below(1 << 20),
        commit: random.next_u64() >> 1,
        clock_high_water_ms: random.next_u64() >> 1,
        clean: random.chance(1, 2),
        unsynced: random.chance(1, 2),
        identity: Identity { device: random.next_u64(), inode: random.next_u64(), boot },
        created_ms: random.next_u64(),
        cold: random
            .chance(1, 2)
            .then(|| ColdRef { id: [8; 16], generation: 1 + (random.next_u64() >> 2) }),
    }
}

/// Writes the superblock of this sequence and seed.
///
/// # Errors
/// The disk's.
pub fn write(disk: &SimDisk, sequence: u64, seed: u64) -> Result<()> {
    superblock::write(disk, &made(sequence, seed))
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The superblock that [`write()`] makes of this sequence and the seed given.
    Made(u64),
    /// A superblock that makes sense and that [`write()`] did not make.
    Other,
}

/// Reads the file's superblock.
///
/// # Errors
/// Typed, for anything but a state that two copies agree on.
pub fn read(disk: &SimDisk, seed: u64) -> Result<Found> {
    let found = superblock::read(disk)?;
    if found == made(found.sequence, seed) {
        return Ok(Found::Made(found.sequence));
    }
    Ok(Found::Other)
}

/// Brings what [`read`] finds to all four copies.
///
/// # Errors
/// As [`read`], and the disk's.
pub fn heal(disk: &SimDisk) -> Result<usize> {
    let found = superblock::read(disk)?;
    superblock::heal(disk, &found)
}

/// Where a copy lies.
pub fn copy_range(copy: usize) -> std::ops::Range<usize> {
    let stride = usize::try_from(SUPERBLOCK_STRIDE).expect("a small number");
    copy * stride..copy * stride + SUPERBLOCK_SIZE
}

/// Gives a copy's bytes the checksum they have.
pub fn repair(copy: &mut [u8]) {
    let sum = copy.get(16..).map_or(0, checksum);
    put_checksum(copy, 8, sum);
}

/// Looks at everything that the tools look at; must not panic.
pub fn look(disk: &SimDisk) {
    let _ = superblock::read_copies(disk);
    let _ = superblock::is_unfinished(disk);
}
