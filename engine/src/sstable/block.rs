//! Sealing and opening blocks: header and checksum. Nothing here does I/O.
//!
//! # Invariants
//! 1. A [`Block`] has been verified: its checksum, its place and its lengths are right.
//! 2. Its content is raw: decompression comes before it.
//! 3. No field of a block is believed, and nothing is allocated for it, before its checksum holds.

use super::format::{BlockHeader, BlockKind, Codec, HEADER_SIZE, length32};
use crate::codec::{DecodeError, checksum_seeded, checksum_seeded_parts};
use crate::error::Error;
use crate::file::{FileId, Region};
use crate::planted::Planted;
use std::ops::Range;
use std::sync::Arc;

/// Whose blocks these are: the seed of every checksum in an SSTable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) file: FileId,
    pub(super) number: u64,
}

/// What is to become a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsealed<'a> {
    pub(super) kind: BlockKind,
    pub(super) flags: u16,
    pub(super) items: u32,
    /// The content as stored, and its length before compression.
    pub(super) codec: Codec,
    pub(super) stored: &'a [u8],
    pub(super) raw_length: usize,
}

/// Appends the header of the block to `out` and returns its checksum. What is stored comes behind
/// the header, and need not be copied for it.
pub(super) fn seal(
    identity: Identity,
    offset: u64,
    block: &Unsealed<'_>,
    out: &mut Vec<u8>,
) -> u32 {
    let start = out.len();
    let header = BlockHeader {
        kind: block.kind,
        codec: block.codec,
        flags: block.flags,
        stored_length: length32(block.stored.len()),
        raw_length: length32(block.raw_length),
        items: block.items,
        number: identity.number,
        offset,
    };
    header.encode(out);
    let parts = [&out[start + 4..], block.stored];
    let checksum = checksum_seeded_parts(identity.file, identity.number, offset, parts);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// The checksum that a block carries in its first four bytes.
pub(super) fn carried_checksum(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|first| u32::from_le_bytes(*first))
}

/// Verifies the block that fills `bytes`. The error says what is wrong with it.
pub(super) fn verify(
    identity: Identity,
    offset: u64,
    kind: BlockKind,
    parent_checksum: Option<u32>,
    bytes: &[u8],
) -> Result<BlockHeader, String> {
    if bytes.len() < HEADER_SIZE {
        return Err(format!("{} bytes cannot hold a header", bytes.len()));
    }
    let carried = carried_checksum(bytes).expect("longer than a header");
    let computed = checksum_seeded(identity.file, identity.number, offset, &bytes[4..]);
    if carried != computed && !Planted::BlockNotChecked.is_on() {
        return Err(format!("its checksum is {computed:#010x}, it carries {carried:#010x}"));
    }
    if let Some(expected) = parent_checksum
        && expected != carried
        && !Planted::ParentNotChecked.is_on()
    {
        return Err(format!("its parent expects checksum {expected:#010x}, found {carried:#010x}"));
    }
    let header = BlockHeader::decode(bytes).map_err(|error| error.to_string())?;
    if header.kind != kind || header.number != identity.number || header.offset != offset {
        return Err(format!(
            "it says it is a {} of SSTable {} at {}, expected a {} of SSTable {} at {offset}",
            header.kind.name(),
            header.number,
            header.offset,
            kind.name(),
            identity.number
        ));
    }
    if header.stored_length as usize != bytes.len() - HEADER_SIZE {
        return Err(format!(
            "its stored length is {}, its parent gives it {}",
            header.stored_length,
            bytes.len() - HEADER_SIZE
        ));
    }
    Ok(header)
}

/// A shared buffer of zeros, to be filled while it is still unshared.
pub(super) fn zeroed(length: usize) -> Arc<[u8]> {
    std::iter::repeat_n(0u8, length).collect()
}

/// A verified block with raw content, in a map, in a piece of the file, or in the cache.
#[derive(Debug, Clone)]
pub(super) struct Block {
    region: Region,
    content: Range<usize>,
    header: BlockHeader,
    file_offset: u64,
}

/// A verified block with raw content, where it lies: sharing costs nothing, since nobody keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockView<'a> {
    pub(super) content: &'a [u8],
    pub(super) header: BlockHeader,
    pub(super) file_offset: u64,
}

impl BlockView<'_> {
    pub(super) fn items(&self) -> usize {
        self.header.items as usize
    }

    /// Content that was written wrongly, or damaged in a way that the checksum missed.
    #[cold]
    pub(super) fn damage(&self, error: &DecodeError) -> Error {
        self.corruption(error.to_string())
    }

    #[cold]
    pub(super) fn corruption(&self, detail: impl Into<String>) -> Error {
        Error::corruption(self.header.kind.name(), self.file_offset, detail)
    }
}

impl Block {
    /// The block whose header lies at `start` of `region`, with its raw content behind.
    pub(super) fn new(
        region: Region,
        start: usize,
        header: BlockHeader,
        file_offset: u64,
    ) -> Block {
        let content = start + HEADER_SIZE..start + HEADER_SIZE + header.raw_length as usize;
        assert!(content.end <= region.len(), "a block lies inside its region");
        Block { region, content, header, file_offset }
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.region[self.content.clone()]
    }

    pub(super) fn view(&self) -> BlockView<'_> {
        let (header, file_offset) = (self.header, self.file_offset);
        BlockView { content: self.content(), header, file_offset }
    }

    pub(super) fn items(&self) -> usize {
        self.header.items as usize
    }

    pub(super) fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The bytes that the content lies in, to be shared with a reader.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// Where the content begins in the region.
    pub(super) fn content_start(&self) -> usize {
        self.content.start
    }

    /// Content that was written wrongly, or damaged in a way that the checksum missed.
    pub(super) fn damage(&self, error: &DecodeError) -> Error {
        self.corruption(error.to_string())
    }

    pub(super) fn corruption(&self, detail: impl Into<String>) -> Error {
        Error::corruption(self.header.kind.name(), self.file_offset, detail)
    }
}
