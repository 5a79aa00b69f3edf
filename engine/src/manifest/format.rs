//! Bytes of manifest records and of the edits in them. Little-endian.
//!
//! ```text
//! offset  size  field     notes
//!      0     4  checksum  CRC-32 of bytes 4..padded length, seeded (file id, extent offset,
//!                         offset of the record in the extent)
//!      4     1  kind      1 base, 2 edits; 0 is never valid
//!      5     3  reserved  zero, checked
//!      8     4  length    of header and edits; at most 1 MiB, padding not counted
//!     12     4  previous  checksum of the record before; 0 in a base
//!     16     8  number    of the record in this store, from 1, one more than the one before
//!     24     4  count     edits in the record
//!     28     4  reserved  zero, checked
//!     32     …  edits     one behind the other; then zeros up to a multiple of 4,096
//! ```
//!
//! A record is valid if and only if: (1) its length is 32 bytes to 1 MiB and its padded length lies
//! inside the used part of the extent; (2) the checksum is right; (3) reserved bytes and padding
//! are zero; (4) the first record of the extent, and no other, is a base; (5) `previous` is the
//! checksum of the record before, and `number` its number and one; (6) exactly `count` edits fill
//! the length; (7) each edit can be applied to the catalog that the edits before it have made; (8)
//! the last record ends where the superblock says, and its checksum is the one in the superblock.
//!
//! Edits, by their first byte:
//!
//! ```text
//! 1 table created   the record of the table, see `table.rs`
//! 2 SSTable added   level u8 | number u64 | table u32 | kind u8 | tier u8 (1 hot, 2 cold)
//!                   | window ms u64 | extent offset u64, length u64 | bytes u64
//!                   | footer checksum u32 | entries u64 | keys u64 | payload bytes u64
//!                   | commits u64, u64 | times ms u64, u64 | oldest origin u64
//!                   | first seq u64 | last seq u64
//!                   | first key length u16 | last key length u16 | first key | last key
//!                   | segment count u32 | segment numbers u64 each, rising
//! 3 SSTable removed number u64
//! 4 SSTable moved   number u64 | level u8
//! 5 epoch begun     commit u64
//! 6 counters        next SSTable u64 | next table u32
//! 7 table altered   the new record of a table, see `table.rs`
//! 8 table dropped   table u32
//! 9 segment added   see `segment.rs`
//! 10 segment removed number u64
//! 11 segment replaced number u64 | extent offset u64, length u64 | footer checksum u32
//! 12 cold file      first SSTable number u64
//! ```

use super::segment;
use super::table::{decode_table, encode_table};
use crate::codec::{DecodeError, Decoder, Encode, checksum_seeded, round_up};
use crate::entry::TableId;
use crate::file::{AlignedBuffer, Extent, FileId};
use crate::limits::{BLOCK_SIZE, SEGMENTS_PER_SSTABLE_MAX};
use crate::own_ttl::OwnTtl;
use crate::version::{Edit, Shard, SstableMeta, TableKind, Tier};

/// Bytes of a record's header.
pub(super) const HEADER_SIZE: usize = 32;
/// The longest record, padding not counted: a reader never needs more memory than this.
pub(super) const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// No edit is longer: that of an SSTable with the most segments, and what else an edit says.
pub(super) const EDIT_BYTES_MAX: usize = 8 * SEGMENTS_PER_SSTABLE_MAX + 4096;
/// The kind of the first record of an extent.
pub(super) const KIND_BASE: u8 = 1;
/// The kind of all others.
pub(super) const KIND_EDITS: u8 = 2;

const _: () = assert!((RECORD_BYTES_MAX as u64).is_multiple_of(BLOCK_SIZE));
const _: () = assert!(HEADER_SIZE + EDIT_BYTES_MAX <= RECORD_BYTES_MAX);

/// The tags of edits. Persisted.
mod tag {
    pub(super) const TABLE_CREATED: u8 = 1;
    pub(super) const SSTABLE_ADDED: u8 = 2;
    pub(super) const SSTABLE_REMOVED: u8 = 3;
    pub(super) const SSTABLE_MOVED: u8 = 4;
    pub(super) const EPOCH_BEGUN: u8 = 5;
    pub(super) const COUNTERS: u8 = 6;
    pub(super) const TABLE_ALTERED: u8 = 7;
    pub(super) const TABLE_DROPPED: u8 = 8;
    pub(super) const SEGMENT_ADDED: u8 = 9;
    pub(super) const SEGMENT_REMOVED: u8 = 10;
    pub(super) const SEGMENT_REPLACED: u8 = 11;
    pub(super) const COLD_FILE: u8 = 12;
}

/// The tags of table options. Persisted.
pub(super) mod option {
    /// Time to live, in milliseconds.
    pub(in crate::manifest) const TTL: u8 = 1;
    /// Newest entries of a timeline that are shown.
    pub(in crate::manifest) const KEEP_LAST: u8 = 2;
    /// Age of a retraction by which what it took back is erased, in milliseconds.
    pub(in crate::manifest) const ERASE_AFTER: u8 = 3;
    /// Age at which data become cold, in milliseconds.
    pub(in crate::manifest) const COLD_AFTER: u8 = 4;
    /// The tier that new data go to: 2 cold. Left out for hot.
    pub(in crate::manifest) const PLACEMENT: u8 = 5;
    /// 1: entries with a time to live of their own have been written to the table.
    pub(in crate::manifest) const OWN_TTL: u8 = 6;
    /// What retractions up to this commit took back has been erased. Left out for 0.
    pub(in crate::manifest) const ERASED_THROUGH: u8 = 7;
}

/// What the header of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) length: u32,
    pub(super) previous: u32,
    pub(super) number: u64,
    pub(super) count: u32,
}

/// The edits of one record, encoded.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
}

impl Body {
    /// Bytes that the record takes in the extent.
    pub(super) fn padded_length(&self) -> u64 {
        round_up((HEADER_SIZE + self.bytes.len()) as u64, BLOCK_SIZE)
    }
}

/// Cuts edits into the bodies of as many records as they need, one at least.
pub(super) fn encode_bodies(edits: &[Edit]) -> Vec<Body> {
    let mut bodies = vec![Body::default()];
    let mut encoded = Vec::new();
    for edit in edits {
        encoded.clear();
        encode_edit(&mut encoded, edit);
        assert!(HEADER_SIZE + encoded.len() <= RECORD_BYTES_MAX, "limits keep edits short");
        let full = |body: &Body| HEADER_SIZE + body.bytes.len() + encoded.len() > RECORD_BYTES_MAX;
        if bodies.last().is_none_or(full) {
            bodies.push(Body::default());
        }
        let body = bodies.last_mut().expect("there is at least one");
        body.bytes.put(&encoded);
        body.count += 1;
    }
    bodies
}

/// The bytes of a record at `offset` in `extent`, padded, and its checksum.
pub(super) fn encode_record(
    file: FileId,
    extent: Extent,
    offset: u64,
    header: Header,
    body: &Body,
) -> (AlignedBuffer, u32) {
    let mut bytes = Vec::with_capacity(HEADER_SIZE);
    bytes.put_u32(0);
    bytes.put_u8(header.kind);
    bytes.put(&[0; 3]);
    bytes.put_u32(header.length);
    bytes.put_u32(header.previous);
    bytes.put_u64(header.number);
    bytes.put_u32(header.count);
    bytes.put_u32(0);
    assert_eq!(bytes.len(), HEADER_SIZE);
    let padded = usize::try_from(body.padded_length()).expect("records are short");
    let mut buffer = AlignedBuffer::with_capacity(padded);
    buffer.extend(&bytes);
    buffer.extend(&body.bytes);
    buffer.pad_to(usize::try_from(BLOCK_SIZE).expect("a block is 4 KiB"));
    let sum = record_checksum(file, extent, offset, buffer.as_slice());
    buffer.as_mut_slice()[..4].copy_from_slice(&sum.to_le_bytes());
    (buffer, sum)
}

/// The checksum of a padded record.
pub(super) fn record_checksum(file: FileId, extent: Extent, offset: u64, padded: &[u8]) -> u32 {
    checksum_seeded(file, extent.offset, offset, &padded[4..])
}

/// Rule (1): the length of a record, not verified yet, from its first block.
pub(super) fn decode_length(block: &[u8]) -> Result<usize, DecodeError> {
    let mut decoder = Decoder::new(block);
    decoder.take(8, "record header")?;
    let error = decoder.error("record length");
    match usize::try_from(decoder.u32("record length")?) {
        Ok(length) if (HEADER_SIZE..=RECORD_BYTES_MAX).contains(&length) => Ok(length),
        _ => Err(error),
    }
}

/// Rules (3) and (6), on the verified bytes of a padded record.
pub(super) fn decode_record(padded: &[u8]) -> Result<(Header, Vec<Edit>), DecodeError> {
    let mut decoder = Decoder::new(padded);
    decoder.take(4, "checksum")?;
    let kind = decoder.u8("record kind")?;
    decoder.zeros(3, "reserved bytes")?;
    let length = decoder.u32("record length")?;
    let previous = decoder.u32("previous checksum")?;
    let number = decoder.u64("record number")?;
    let count = decoder.u32("edit count")?;
    decoder.zeros(4, "reserved bytes")?;
    let header = Header { kind, length, previous, number, count };

    let error = decoder.error("edits");
    let body_length = usize::try_from(length).ok().and_then(|l| l.checked_sub(HEADER_SIZE));
    let body = decoder.take(body_length.ok_or(error)?, "edits")?;
    decoder.zeros(decoder.remaining(), "padding")?;
    let mut decoder = Decoder::new(body);
    let mut edits = Vec::new();
    while !decoder.is_empty() {
        edits.push(decode_edit(&mut decoder)?);
    }
    if edits.len() as u64 != u64::from(count) {
        return Err(error);
    }
    Ok((header, edits))
}

fn encode_edit(bytes: &mut Vec<u8>, edit: &Edit) {
    match edit {
        Edit::TableCreated(record) => {
            bytes.put_u8(tag::TABLE_CREATED);
            encode_table(bytes, record);
        }
        Edit::TableAltered(record) => {
            bytes.put_u8(tag::TABLE_ALTERED);
            encode_table(bytes, record);
        }
        Edit::TableDropped { table } => {
            bytes.put_u8(tag::TABLE_DROPPED);
            bytes.put_u32(table.0);
        }
        Edit::SstableAdded { level, meta } => {
            bytes.put_u8(tag::SSTABLE_ADDED);
            bytes.put_u8(*level);
            encode_meta(bytes, meta);
        }
        Edit::SstableRemoved { number } => {
            bytes.put_u8(tag::SSTABLE_REMOVED);
            bytes.put_u64(*number);
        }
        Edit::SstableMoved { number, level } => {
            bytes.put_u8(tag::SSTABLE_MOVED);
            bytes.put_u64(*number);
            bytes.put_u8(*level);
        }
        Edit::EpochBegun { commit } => {
            bytes.put_u8(tag::EPOCH_BEGUN);
            bytes.put_u64(*commit);
        }
        Edit::SegmentAdded { meta } => {
            bytes.put_u8(tag::SEGMENT_ADDED);
            segment::encode(bytes, meta);
        }
        Edit::SegmentRemoved { number } => {
            bytes.put_u8(tag::SEGMENT_REMOVED);
            bytes.put_u64(*number);
        }
        Edit::SegmentReplaced { number, extent, footer_checksum } => {
            bytes.put_u8(tag::SEGMENT_REPLACED);
            segment::encode_replaced(bytes, *number, *extent, *footer_checksum);
        }
        Edit::ColdFile { first } => {
            bytes.put_u8(tag::COLD_FILE);
            bytes.put_u64(*first);
        }
        Edit::Counters { next_sstable, next_table } => {
            bytes.put_u8(tag::COUNTERS);
            bytes.put_u64(*next_sstable);
            bytes.put_u32(*next_table);
        }
    }
}

fn decode_edit(decoder: &mut Decoder<'_>) -> Result<Edit, DecodeError> {
    let unknown = decoder.error("edit tag");
    match decoder.u8("edit tag")? {
        tag::TABLE_CREATED => Ok(Edit::TableCreated(decode_table(decoder)?)),
        tag::TABLE_ALTERED => Ok(Edit::TableAltered(decode_table(decoder)?)),
        tag::TABLE_DROPPED => Ok(Edit::TableDropped { table: TableId(decoder.u32("table id")?) }),
        tag::SSTABLE_ADDED => {
            let level = decoder.u8("level")?;
            Ok(Edit::SstableAdded { level, meta: decode_meta(decoder)? })
        }
        tag::SSTABLE_REMOVED => Ok(Edit::SstableRemoved { number: decoder.u64("number")? }),
        tag::SSTABLE_MOVED => {
            let number = decoder.u64("number")?;
            Ok(Edit::SstableMoved { number, level: decoder.u8("level")? })
        }
        tag::COLD_FILE => Ok(Edit::ColdFile { first: decoder.u64("number")? }),
        tag::EPOCH_BEGUN => Ok(Edit::EpochBegun { commit: decoder.u64("commit")? }),
        tag::SEGMENT_ADDED => Ok(Edit::SegmentAdded { meta: segment::decode(decoder)? }),
        tag::SEGMENT_REMOVED => Ok(Edit::SegmentRemoved { number: decoder.u64("number")? }),
        tag::SEGMENT_REPLACED => segment::decode_replaced(decoder),
        tag::COUNTERS => {
            let next_sstable = decoder.u64("next SSTable")?;
            Ok(Edit::Counters { next_sstable, next_table: decoder.u32("next table")? })
        }
        _ => Err(unknown),
    }
}

fn encode_meta(bytes: &mut Vec<u8>, meta: &SstableMeta) {
    let SstableMeta { first, last, commits, times_ms, extent, .. } = meta;
    bytes.put_u64(meta.number);
    bytes.put_u32(meta.table.0);
    bytes.put_u8(kind_byte(meta.kind));
    bytes.put_u8(match meta.shard.tier {
        Tier::Hot => 1,
        Tier::Cold => 2,
    });
    bytes.put_u64(meta.shard.window);
    bytes.put_u64(extent.offset);
    bytes.put_u64(extent.length);
    bytes.put_u64(meta.bytes);
    bytes.put_u32(meta.footer_checksum);
    bytes.put_u64(meta.entries);
    bytes.put_u64(meta.keys);
    bytes.put_u64(meta.payload_bytes);
    bytes.put_u64(commits.0);
    bytes.put_u64(commits.1);
    bytes.put_u64(times_ms.0);
    bytes.put_u64(times_ms.1);
    bytes.put_u64(meta.oldest_origin);
    bytes.put_u64(first.1);
    bytes.put_u64(last.1);
    put_u16_length(bytes, &first.0);
    put_u16_length(bytes, &last.0);
    bytes.put(&first.0);
    bytes.put(&last.0);
    bytes.put_u32(u32::try_from(meta.segments.len()).expect("the catalog bounds them"));
    meta.segments.iter().for_each(|number| bytes.put_u64(*number));
    meta.own_ttl.encode(bytes);
}

fn decode_meta(decoder: &mut Decoder<'_>) -> Result<SstableMeta, DecodeError> {
    let number = decoder.u64("number")?;
    let table = TableId(decoder.u32("table id")?);
    let kind = decode_kind(decoder)?;
    let shard = Shard { tier: decode_tier(decoder)?, window: decoder.u64("window")? };
    let extent = Extent { offset: decoder.u64("extent")?, length: decoder.u64("extent")? };
    let bytes = decoder.u64("bytes")?;
    let footer_checksum = decoder.u32("footer checksum")?;
    let entries = decoder.u64("entries")?;
    let keys = decoder.u64("keys")?;
    let payload_bytes = decoder.u64("payload bytes")?;
    let commits = (decoder.u64("commits")?, decoder.u64("commits")?);
    let times_ms = (decoder.u64("times")?, decoder.u64("times")?);
    let oldest_origin = decoder.u64("oldest origin")?;
    let (first_seq, last_seq) = (decoder.u64("first seq")?, decoder.u64("last seq")?);
    let first_length = usize::from(decoder.u16("first key length")?);
    let last_length = usize::from(decoder.u16("last key length")?);
    let first = (decoder.take(first_length, "first key")?.into(), first_seq);
    let last = (decoder.take(last_length, "last key")?.into(), last_seq);
    let count = decoder.u32("segment count")? as usize;
    // The record bounds the numbers: a hostile count ends with it.
    let numbers = decoder.take(count.saturating_mul(8), "segment numbers")?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let segments = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
    let own_ttl = OwnTtl::decode(decoder, entries)?;
    Ok(SstableMeta {
        number,
        table,
        kind,
        shard,
        extent,
        bytes,
        footer_checksum,
        entries,
        keys,
        payload_bytes,
        first,
        last,
        commits,
        times_ms,
        oldest_origin,
        own_ttl,
        segments,
    })
}

pub(super) fn kind_byte(kind: TableKind) -> u8 {
    match kind {
        TableKind::Timeline => 1,
        TableKind::Keyed => 2,
    }
}

pub(super) fn decode_kind(decoder: &mut Decoder<'_>) -> Result<TableKind, DecodeError> {
    let unknown = decoder.error("table kind");
    match decoder.u8("table kind")? {
        1 => Ok(TableKind::Timeline),
        2 => Ok(TableKind::Keyed),
        _ => Err(unknown),
    }
}

fn decode_tier(decoder: &mut Decoder<'_>) -> Result<Tier, DecodeError> {
    let unknown = decoder.error("tier");
    match decoder.u8("tier")? {
        1 => Ok(Tier::Hot),
        2 => Ok(Tier::Cold),
        _ => Err(unknown),
    }
}

pub(super) fn put_u16_length(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.put_u16(u16::try_from(value.len()).expect("keys and names are short by their limits"));
}
