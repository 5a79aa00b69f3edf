//! The superblock: the root of the file, from which everything else is found.
//!
//! ```text
//! 0       16 KiB   32 KiB   48 KiB   64 KiB
//! | copy 0 | copy 1 | copy 2 | copy 3 | WAL ring …   each copy 4 KiB, the rest of its 16 KiB zero
//! ```
//!
//! An update, `write`:
//! 1. the caller has synced everything that the new superblock refers to;
//! 2. write copies 0 and 1, sync;
//! 3. write copies 2 and 3, sync. Now the update is durable.
//!
//! An opening, `read`: of the states held by two equal valid copies, the one of the highest
//! sequence. A crash in step 2 leaves the old state in copies 2 and 3, a crash in step 3 leaves the
//! new one in copies 0 and 1.
//!
//! An opening for writing then calls `heal` before it writes anything else. Why: after a crash in
//! step 3 the chosen state may be in copies 0 and 1 only, and the next update begins by overwriting
//! just these; a second crash would bring back a state whose extents have been reused since.
//!
//! # Invariants
//! 1. Sequences grow by one with each update; a store that takes writes has sequence 2 or more.
//! 2. While a copy is written, two other copies hold one durable state.
//! 3. Copies of one update are equal but for the copy index, so they can be compared as bytes.
//! 4. No field is believed before the checksum of its copy has been verified.
//!
//! # Concurrency
//! One writer. A reader in another process may meet an update half way: it reads again.

mod format;
mod quorum;
#[cfg(test)]
mod tests;

use super::cold::ColdRef;
use super::disk::{self, Disk, Flush, Identity};
use super::{AlignedBuffer, Extent, FileId};
use crate::error::{Error, Result};
use crate::limits::{
    BLOCK_SIZE, RING_OFFSET, SUPERBLOCK_COPIES, SUPERBLOCK_SIZE, SUPERBLOCK_STRIDE,
};
use crate::planted::Planted;
pub(crate) use format::FORMAT_VERSION;
use quorum::RawCopy;

/// How often a reader looks again when it finds no two equal copies: a live writer may be in the
/// middle of an update.
const READ_ATTEMPTS: usize = 3;

/// Where the manifest lies, and how much of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ManifestRef {
    /// The extent of the manifest.
    pub(crate) extent: Extent,
    /// Bytes in use at its front: what lies behind does not exist.
    pub(crate) length: u64,
    /// Checksum of the last record, which chains to all records before it.
    pub(crate) checksum: u32,
}

/// Where replay of the WAL begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WalHead {
    /// Logical position of the first group that is not in SSTables.
    pub(crate) lsn: u64,
    /// Checksum of the group before it.
    pub(crate) previous: u32,
    /// Salt of the opening that writes the log.
    pub(crate) salt: u64,
}

/// The root of the store. Every field is persisted, see `format.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Counts the updates, from 1.
    pub(crate) sequence: u64,
    /// Random identity of the file.
    pub(crate) file: FileId,
    /// Counts the lives of the file: a restored copy begins a new one.
    pub(crate) incarnation: u64,
    /// Version of the format.
    pub(crate) format_version: u32,
    /// Features that a build may ignore.
    pub(crate) compatible: u64,
    /// Features that a build must know to write.
    pub(crate) read_only_compatible: u64,
    /// Features that a build must know to read.
    pub(crate) incompatible: u64,
    /// Length the file has at least.
    pub(crate) file_length: u64,
    /// The WAL ring.
    pub(crate) ring: Extent,
    /// The manifest.
    pub(crate) manifest: ManifestRef,
    /// Where replay begins.
    pub(crate) wal: WalHead,
    /// Everything in the log before this position is known to be on the disk.
    pub(crate) synced_lsn: u64,
    /// The last commit number before the head.
    pub(crate) commit: u64,
    /// The highest time that the clamped clock has given out, in milliseconds since 1970.
    pub(crate) clock_high_water_ms: u64,
    /// The store was closed in order: the log is empty.
    pub(crate) clean: bool,
    /// Commits may have been acknowledged before they were synced.
    pub(crate) unsynced: bool,
    /// The file and the boot of the last writer.
    pub(crate) identity: Identity,
    /// When the file was created, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// The second file, if there is one.
    pub(crate) cold: Option<ColdRef>,
}

impl Superblock {
    /// Refuses a store whose features this build can read but not keep up.
    pub(crate) fn check_writable(&self) -> Result<()> {
        let unknown = self.read_only_compatible & !format::READ_ONLY_COMPATIBLE_KNOWN;
        if unknown != 0 {
            return Err(Error::Unsupported {
                what: format!(
                    "writing a store with the unknown features {unknown:#x}; it can be opened \
                     read-only"
                ),
            });
        }
        Ok(())
    }

    /// Whether every counter leaves room to go on counting, as an opening asks; or which does not.
    pub(crate) fn check_counters(&self) -> std::result::Result<(), String> {
        format::check_counters(self)
    }
}

/// One copy, for the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// The copy is whole.
    Valid(Box<Superblock>),
    /// The copy is whole, but a newer build wrote it.
    Unsupported(String),
    /// The copy cannot be used, and why.
    Damaged(String),
}

/// File offset of a copy.
fn copy_offset(copy: usize) -> u64 {
    copy as u64 * SUPERBLOCK_STRIDE
}

/// Reads the state that the file is in.
///
/// # Errors
/// Corruption where no two copies agree, a counter leaves no room to go on counting, or the file is
/// shorter than it should be; `Unsupported` for a newer format; an I/O error where copies that
/// cannot be read may decide.
pub(crate) fn read(disk: &dyn Disk) -> Result<Superblock> {
    let mut attempt = 1;
    loop {
        match read_once(disk) {
            // A live writer may be in the middle of an update, or have shortened the file since.
            Err(Error::Corruption(_) | Error::Io { .. }) if attempt < READ_ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn read_once(disk: &dyn Disk) -> Result<Superblock> {
    let copies = read_raw(disk);
    let chosen = quorum::choose(&copies)?;
    let superblock = format::decode(chosen.bytes(), copy_offset(chosen.copy()))?;
    if let Err(detail) = format::check_counters(&superblock) {
        return Err(Error::corruption("superblock", 0, detail));
    }
    let length = disk.length().map_err(|error| Error::io("read the file's length", 0, error))?;
    if length < superblock.file_length && !Planted::ShortFileOpened.is_on() {
        let detail = format!(
            "the file is {length} bytes long, its superblock says {}: it was cut short",
            superblock.file_length
        );
        return Err(Error::corruption("superblock", length, detail));
    }
    Ok(superblock)
}

/// Makes `superblock` the state of the file. Everything that it refers to must have been synced.
/// After a failure the file holds the old or the new state: the caller must poison the store.
pub(crate) fn write(disk: &dyn Disk, superblock: &Superblock) -> Result<()> {
    if Planted::SuperblockAtOnce.is_on() {
        return write_copies(disk, superblock, &[0, 1, 2, 3]);
    }
    write_copies(disk, superblock, &[0, 1])?;
    write_copies(disk, superblock, &[2, 3])
}

/// What lies before the ring once this is the state of the file.
pub(crate) fn zone(superblock: &Superblock) -> Vec<u8> {
    let mut zone = vec![0; usize::try_from(RING_OFFSET).expect("the ring begins at 64 KiB")];
    for copy in 0..SUPERBLOCK_COPIES {
        let start = usize::try_from(copy_offset(copy)).expect("the zone is 64 KiB");
        let buffer = encode_copy(superblock, copy);
        zone[start..start + SUPERBLOCK_SIZE].copy_from_slice(buffer.as_slice());
    }
    zone
}

/// Brings the state that `read` returned to all four copies, and returns how many did not hold it.
/// Must be called, by the holder of the writer lock, before anything else is written.
///
/// All copies are written, those that look right included: after a failed sync the system may show
/// bytes that are not on the disk. The order is such that what is relied upon meanwhile was durable
/// before the update that was interrupted, or is what `read` chose:
/// - copies 2 and 3 agree, and 0 and 1 do not hold the same: the first half of an update was
///   interrupted, and may not be on the disk whatever it looks like. Do the update again.
/// - otherwise, copies 0 and 1 agree: the second half was interrupted, and may not be on the disk.
///   Write it first.
/// - neither half agrees with itself, so each holds one good copy: only the other two are written.
pub(crate) fn heal(disk: &dyn Disk, superblock: &Superblock) -> Result<usize> {
    if Planted::NothingHealed.is_on() {
        return Ok(0);
    }
    // What a killed process has written must be durable before the rest is overwritten.
    disk::sync(disk, "sync the superblock")?;
    let copies = read_raw(disk);
    let chosen = quorum::choose(&copies)?;
    if format::decode(chosen.bytes(), copy_offset(chosen.copy()))? != *superblock {
        let detail = "it was changed by somebody else since it was read";
        return Err(Error::corruption("superblock", 0, detail));
    }
    let covered = |copy: usize| match &copies[copy] {
        RawCopy::Verified(held) => Some(held.covered()),
        RawCopy::Damaged { .. } | RawCopy::Unreadable(_) => None,
    };
    let holds = |copy: &usize| covered(*copy) == Some(chosen.covered());
    let stale: Vec<usize> = (0..SUPERBLOCK_COPIES).filter(|copy| !holds(copy)).collect();
    let first = covered(0).filter(|first| covered(1) == Some(first));
    let second = covered(2).filter(|second| covered(3) == Some(second));
    match (first, second) {
        (None, None) => write_copies(disk, superblock, &stale)?,
        (first, Some(second)) if first != Some(second) => write(disk, superblock)?,
        _ => {
            write_copies(disk, superblock, &[2, 3])?;
            write_copies(disk, superblock, &[0, 1])?;
        }
    }
    Ok(stale.len())
}

/// First bytes of copy 0 from the beginning of a creation until the first superblock takes its
/// place; zeros follow.
const CREATION_MAGIC: [u8; 8] = *b"TideNew\0";

/// Marks the file as being created, durably: what is torn from here on to the first superblock
/// belongs to a store that was never finished.
pub(crate) fn mark_creation(disk: &dyn Disk) -> Result<()> {
    let mut block = AlignedBuffer::with_capacity(SUPERBLOCK_SIZE);
    block.extend(&CREATION_MAGIC);
    block.pad_to(SUPERBLOCK_SIZE);
    disk::write_all_at(disk, "marking the creation", 0, block.as_slice(), Flush::Later)?;
    disk::sync(disk, "marking the creation")
}

/// Whether the creation of this file never came to its end, so that it may be created anew: no
/// acknowledged write can be in it.
///
/// So it is if and only if copies 2 and 3 and the gaps of the zone are zero (bytes behind the end
/// of the file count as zero), the first block of the ring is zero or copy 0 is the creation mark,
/// and copies 0 and 1
/// - hold no valid state of sequence 2 or more, and
/// - are zero as well where the file is too short for a ring: creation gives the file its length
///   before it writes, so a short file with bytes in it is somebody else's.
pub(crate) fn is_unfinished(disk: &dyn Disk) -> Result<bool> {
    let zone_length = RING_OFFSET + BLOCK_SIZE;
    let length = disk.length().map_err(|error| Error::io("read the file's length", 0, error))?;
    let there = usize::try_from(zone_length.min(length)).expect("the zone is 68 KiB");
    let mut zone = vec![0; there];
    disk::read_exact_at(disk, "read the superblock zone", 0, &mut zone)?;

    let stride = usize::try_from(SUPERBLOCK_STRIDE).expect("the stride is 16 KiB");
    let in_first_half =
        |offset: usize| offset % stride < SUPERBLOCK_SIZE && offset < stride + SUPERBLOCK_SIZE;
    let long_enough = length >= zone_length;
    let ring = usize::try_from(RING_OFFSET).expect("the ring begins at 64 KiB");
    let marked = zone.starts_with(&CREATION_MAGIC)
        && zone[CREATION_MAGIC.len()..SUPERBLOCK_SIZE.min(there)].iter().all(|byte| *byte == 0);
    let of_creation = |offset: usize| in_first_half(offset) || marked && offset >= ring;
    let foreign =
        |(offset, byte): (usize, &u8)| *byte != 0 && !(long_enough && of_creation(offset));
    if zone.iter().enumerate().any(foreign) {
        return Ok(false);
    }
    let in_use = read_raw(disk)
        .iter()
        .any(|copy| matches!(copy, RawCopy::Verified(held) if held.sequence() >= 2));
    Ok(!in_use)
}

/// The state of each copy by itself.
pub(crate) fn read_copies(disk: &dyn Disk) -> [CopyState; SUPERBLOCK_COPIES] {
    read_raw(disk).map(|copy| match copy {
        RawCopy::Verified(held) => match format::decode(held.bytes(), copy_offset(held.copy())) {
            Ok(superblock) => CopyState::Valid(Box::new(superblock)),
            Err(Error::Unsupported { what }) => CopyState::Unsupported(what),
            Err(error) => CopyState::Damaged(error.to_string()),
        },
        RawCopy::Damaged { reason, .. } => CopyState::Damaged(reason),
        RawCopy::Unreadable(error) => CopyState::Damaged(error.to_string()),
    })
}

fn read_raw(disk: &dyn Disk) -> [RawCopy; SUPERBLOCK_COPIES] {
    std::array::from_fn(|copy| {
        let mut bytes = vec![0; SUPERBLOCK_SIZE];
        match disk::read_exact_at(disk, "read the superblock", copy_offset(copy), &mut bytes) {
            Ok(()) => RawCopy::verify(copy, bytes),
            Err(error) => RawCopy::unread(error),
        }
    })
}

fn write_copies(disk: &dyn Disk, superblock: &Superblock, copies: &[usize]) -> Result<()> {
    for copy in copies {
        let (buffer, offset) = (encode_copy(superblock, *copy), copy_offset(*copy));
        disk::write_all_at(disk, "write the superblock", offset, buffer.as_slice(), Flush::Later)?;
    }
    disk::sync(disk, "sync the superblock")
}

fn encode_copy(superblock: &Superblock, copy: usize) -> AlignedBuffer {
    let buffer: AlignedBuffer = format::encode(superblock, copy);
    // Pair assertion: a superblock that cannot be read back must never reach the file.
    let decoded = RawCopy::verify(copy, buffer.as_slice().to_vec());
    let RawCopy::Verified(held) = decoded else {
        panic!("an encoded superblock copy must verify");
    };
    let decoded = format::decode(held.bytes(), copy_offset(copy));
    assert!(
        matches!(&decoded, Ok(read_back) if read_back == superblock),
        "a superblock must be read back as it was written: {superblock:?}, {decoded:?}"
    );
    buffer
}
