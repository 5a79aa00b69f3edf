//! Checksums: CRC-32 (IEEE), seeded with the identity of what they cover.
//!
//! The seed is the file's id and the place of the unit, so intact bytes of another file, another
//! SSTable or another place fail like damaged ones.

use crate::file::FileId;

/// The plain checksum of `bytes`.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The checksum of `bytes` as the unit of `file` that `owner` (an SSTable number, a salt, a copy
/// index) holds at `place`.
pub(crate) fn checksum_seeded(file: FileId, owner: u64, place: u64, bytes: &[u8]) -> u32 {
    checksum_seeded_parts(file, owner, place, [bytes])
}

/// The same of bytes that lie in parts.
pub(crate) fn checksum_seeded_parts<const N: usize>(
    file: FileId,
    owner: u64,
    place: u64,
    parts: [&[u8]; N],
) -> u32 {
    let mut seed = [0u8; 32];
    seed[..16].copy_from_slice(&file.0);
    seed[16..24].copy_from_slice(&owner.to_le_bytes());
    seed[24..].copy_from_slice(&place.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed);
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}
