//! The header of the cold file, in two copies. Little-endian.
//!
//! ```text
//! offset  size  field           notes
//!      0     8  magic           "TideCold"
//!      8     4  checksum        CRC-32 of bytes 12..4096
//!     12     4  copy            0 or 1: the generation modulo 2
//!     16     8  generation      1 or more; one more with each root that adds to this file
//!     24    16  cold file id    random
//!     40    16  file id         of the store's first file
//!     56     4  format version  0
//!     60  4036  reserved        zero, checked
//! ```
//!
//! A copy is valid if and only if: (1) magic and checksum are right; (2) the copy index is that of
//! its place and the generation modulo 2; (3) the version is known; (4) the generation is 1 to
//! 2^63 - 1; (5) reserved bytes are zero.

use super::ColdHeader;
use crate::codec::{DecodeError, Decoder, Encode, checksum};
use crate::file::{AlignedBuffer, FileId};
use crate::limits::{BLOCK_SIZE, COUNTER_MAX};

/// First bytes of each copy.
pub(super) const MAGIC: [u8; 8] = *b"TideCold";
/// The newest format that this build knows.
pub(super) const FORMAT_VERSION: u32 = 0;
/// Bytes of one copy; the copies follow each other from the beginning of the file.
pub(super) const HEADER_SIZE: usize = 4096;
/// Where the extents begin.
pub(super) const GRID_OFFSET: u64 = 64 * 1024;

const CHECKSUM_OFFSET: usize = 8;
const COVERED_OFFSET: usize = 12;

const _: () = assert!(HEADER_SIZE as u64 == BLOCK_SIZE);
const _: () = assert!(2 * HEADER_SIZE as u64 <= GRID_OFFSET);

/// The copy that a generation is written to.
pub(super) fn copy_of(generation: u64) -> u64 {
    generation % 2
}

/// The bytes of the header, for its own copy.
pub(super) fn encode(header: &ColdHeader) -> AlignedBuffer {
    let mut bytes = Vec::with_capacity(HEADER_SIZE);
    bytes.put(&MAGIC);
    bytes.put_u32(0);
    bytes.put_u32(u32::from(copy_of(header.generation) == 1));
    bytes.put_u64(header.generation);
    bytes.put(&header.id);
    bytes.put(&header.file.0);
    bytes.put_u32(FORMAT_VERSION);
    bytes.resize(HEADER_SIZE, 0);
    let sum = checksum(&bytes[COVERED_OFFSET..]);
    bytes[CHECKSUM_OFFSET..COVERED_OFFSET].copy_from_slice(&sum.to_le_bytes());
    let mut buffer = AlignedBuffer::with_capacity(HEADER_SIZE);
    buffer.extend(&bytes);
    buffer
}

/// What a copy says; `None` where it is not a valid one.
pub(super) fn decode(bytes: &[u8], copy: u64) -> Option<ColdHeader> {
    decode_fields(bytes, copy).ok().flatten()
}

fn decode_fields(bytes: &[u8], copy: u64) -> Result<Option<ColdHeader>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    if decoder.take(8, "magic")? != MAGIC {
        return Ok(None);
    }
    let stored = decoder.u32("checksum")?;
    if stored != checksum(&bytes[COVERED_OFFSET..]) {
        return Ok(None);
    }
    let place = u64::from(decoder.u32("copy")?);
    let generation = decoder.u64("generation")?;
    let id = id_of(&mut decoder)?;
    let file = FileId(id_of(&mut decoder)?);
    let version = decoder.u32("format version")?;
    decoder.zeros(decoder.remaining(), "reserved bytes")?;
    let valid = place == copy
        && copy == copy_of(generation)
        && version == FORMAT_VERSION
        && (1..=COUNTER_MAX).contains(&generation);
    Ok(valid.then_some(ColdHeader { generation, id, file }))
}

fn id_of(decoder: &mut Decoder<'_>) -> Result<[u8; 16], DecodeError> {
    let error = decoder.error("id");
    decoder.take(16, "id")?.try_into().map_err(|_| error)
}
