//! The header of every block and page, and the sizes of the format.
//!
//! ```text
//! offset  size  field          notes
//!      0     4  checksum       CRC-32 of bytes 4..end, seeded with file id, SSTable number, offset
//!      4     1  kind           1 timeline data, 2 keyed data, 3 index, 4 directory, 5 filter,
//!                              6 properties, 7 footer, 9 dictionary; 0 is never valid
//!      5     1  codec          1 none, 2 lz4, 3 zstd, 4 zstd with the SSTable's dictionary;
//!                              others than none in data blocks only
//!      6     2  flags          1 continued (directory pages only); all others zero
//!      8     4  stored length  bytes behind the header
//!     12     4  raw length     bytes of the content after decompression
//!     16     4  items          fragments, versions, entries, …
//!     20     4  reserved       zero, checked
//!     24     8  number         of this SSTable
//!     32     8  offset         of this block in the SSTable
//!     40     …  content        stored length bytes
//! ```
//!
//! A block is valid if and only if: (1) the checksum holds; (2) kind, number and offset are those
//! that were asked for; (3) the stored length is the length that the parent gave, less the header;
//! (4) codec none: raw length = stored length; codec lz4: stored length < raw length, at most 255
//! times as long; codecs zstd: stored length < raw length, at most 32,768 times as long; (5) the
//! raw length is at most [`RAW_LENGTH_MAX`], that of a dictionary 1 to 65,536; (6) unknown flags
//! and reserved bytes are zero.
//! Pages are blocks of exactly [`PAGE_SIZE`] bytes with codec none.

use crate::codec::{DecodeError, Decoder, Encode};
use crate::limits::{
    COLD_BLOCK_BYTES, DICTIONARY_BYTES_MAX, KEY_LENGTH_MAX, PAGE_SIZE, PAYLOAD_LENGTH_MAX,
};

/// Bytes of a block's header.
pub(super) const HEADER_SIZE: usize = 40;
/// Bytes of content in a page.
pub(super) const PAGE_CONTENT: usize = PAGE_SIZE - HEADER_SIZE;
/// Version of the format of an SSTable.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The engine's own tables prefix a user's key with a few bytes.
pub(super) const STORED_KEY_LENGTH_MAX: usize = KEY_LENGTH_MAX + 16;
/// Longest content of a block: one entry of the largest size with its origin and its frame, and a
/// fragment before it that was not cut.
pub(super) const RAW_LENGTH_MAX: usize = PAYLOAD_LENGTH_MAX + COLD_BLOCK_BYTES + 16 * 1024;
/// An entry was pushed out of this directory page: look in the next one too.
pub(super) const FLAG_CONTINUED: u16 = 1;
/// What lz4 can expand a byte to, at most.
const LZ4_RATIO_MAX: usize = 255;
/// What zstd can expand a byte to, at most: four bytes say that 128 KiB are all the same.
const ZSTD_RATIO_MAX: usize = 32 * 1024;

/// What a block holds. The discriminants are persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockKind {
    TimelineData = 1,
    KeyedData = 2,
    Index = 3,
    Directory = 4,
    Filter = 5,
    Properties = 6,
    Footer = 7,
    Dictionary = 9,
}

impl BlockKind {
    pub(super) fn from_byte(byte: u8) -> Option<BlockKind> {
        match byte {
            1 => Some(BlockKind::TimelineData),
            2 => Some(BlockKind::KeyedData),
            3 => Some(BlockKind::Index),
            4 => Some(BlockKind::Directory),
            5 => Some(BlockKind::Filter),
            6 => Some(BlockKind::Properties),
            7 => Some(BlockKind::Footer),
            9 => Some(BlockKind::Dictionary),
            _ => None,
        }
    }

    fn is_data(self) -> bool {
        matches!(self, BlockKind::TimelineData | BlockKind::KeyedData)
    }

    /// The name that errors give it.
    pub(super) fn name(self) -> &'static str {
        match self {
            BlockKind::TimelineData => "SSTable timeline block",
            BlockKind::KeyedData => "SSTable keyed block",
            BlockKind::Index => "SSTable index page",
            BlockKind::Directory => "SSTable directory page",
            BlockKind::Filter => "SSTable filter page",
            BlockKind::Properties => "SSTable properties",
            BlockKind::Footer => "SSTable footer",
            BlockKind::Dictionary => "SSTable dictionary",
        }
    }
}

/// How the content is stored. The discriminants are persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    None = 1,
    Lz4 = 2,
    Zstd = 3,
    ZstdDictionary = 4,
}

impl Codec {
    /// The name that the tools give it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
            Codec::ZstdDictionary => "zstd with dictionary",
        }
    }
}

/// A block's header, all but its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) kind: BlockKind,
    pub(super) codec: Codec,
    pub(super) flags: u16,
    pub(super) stored_length: u32,
    pub(super) raw_length: u32,
    pub(super) items: u32,
    pub(super) number: u64,
    pub(super) offset: u64,
}

impl BlockHeader {
    /// Appends the header with a checksum of zero, which the caller fills in.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(0);
        out.put_u8(self.kind as u8);
        out.put_u8(self.codec as u8);
        out.put_u16(self.flags);
        out.put_u32(self.stored_length);
        out.put_u32(self.raw_length);
        out.put_u32(self.items);
        out.put_u32(0);
        out.put_u64(self.number);
        out.put_u64(self.offset);
    }

    /// Reads a header whose checksum has been verified, and checks its fields against each other.
    pub(super) fn decode(bytes: &[u8]) -> Result<BlockHeader, DecodeError> {
        let error = DecodeError { what: "block header", offset: 0 };
        // Of a known length, so that the fields are plain loads.
        let fields: &[u8; HEADER_SIZE] = bytes.first_chunk().ok_or(error)?;
        let mut decoder = Decoder::new(fields);
        decoder.take(4, "block checksum")?;
        let kind = BlockKind::from_byte(decoder.u8("block kind")?);
        let kind = kind.ok_or(decoder.error("block kind"))?;
        let codec = match decoder.u8("block codec")? {
            1 => Codec::None,
            2 if kind.is_data() => Codec::Lz4,
            3 if kind.is_data() => Codec::Zstd,
            4 if kind.is_data() => Codec::ZstdDictionary,
            _ => return Err(decoder.error("block codec")),
        };
        let flags = decoder.u16("block flags")?;
        let known = if kind == BlockKind::Directory { FLAG_CONTINUED } else { 0 };
        if flags & !known != 0 {
            return Err(decoder.error("block flags"));
        }
        let header = BlockHeader {
            kind,
            codec,
            flags,
            stored_length: decoder.u32("stored length")?,
            raw_length: decoder.u32("raw length")?,
            items: decoder.u32("block items")?,
            number: {
                decoder.zeros(4, "reserved bytes of a block header")?;
                decoder.u64("SSTable number")?
            },
            offset: decoder.u64("block offset")?,
        };
        let (stored, raw) = (header.stored_length as usize, header.raw_length as usize);
        let fits = match codec {
            Codec::None => stored == raw,
            Codec::Lz4 => stored < raw && raw <= stored.saturating_mul(LZ4_RATIO_MAX),
            Codec::Zstd | Codec::ZstdDictionary => {
                stored < raw && raw <= stored.saturating_mul(ZSTD_RATIO_MAX)
            }
        };
        let possible = match kind {
            BlockKind::Dictionary => (1..=DICTIONARY_BYTES_MAX).contains(&raw),
            _ => raw <= RAW_LENGTH_MAX,
        };
        if !fits || !possible {
            return Err(decoder.error("block lengths"));
        }
        Ok(header)
    }
}

/// A length or a count that is far below 4 GiB by construction.
pub(super) fn length32(length: usize) -> u32 {
    u32::try_from(length).expect("lengths inside a block are bounded by its largest size")
}
