//! Bytes of a table's record in the edits "table created" and "table altered".
//!
//! ```text
//! table u32 | kind u8 (1 timeline, 2 keyed) | sequence u8 (1 assigned, 2 given)
//! | compression u8 (1 none, 2 lz4, 64 + level: zstd)
//! | option count u8 | options: tag u8, value u64, tags rising
//! | expired before ms u64 | piece count u8 | pieces: from ms u64, width ms u64, rising
//! | name length u16 | name (UTF-8)
//! ```
//! An option that a table does not have is left out. A tag that is not known is refused: what it
//! asks for could not be kept.

use super::format::{decode_kind, kind_byte, option, put_u16_length};
use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::TableId;
use crate::limits::ZSTD_LEVELS;
use crate::options::{Compression, Sequence, TableOptions};
use crate::version::{Grid, Piece, TableRecord, Tier};

/// What is added to a level of zstd to make it a byte of compression.
const ZSTD_LEVEL_ZERO: u8 = 64;
/// The value of the option `placement`.
const PLACEMENT_COLD: u64 = 2;
/// The value of the option `own time to live`.
const OWN_TTL_WRITTEN: u64 = 1;

pub(super) fn encode_table(bytes: &mut Vec<u8>, record: &TableRecord) {
    let TableRecord { id, name, options, expired_before_ms, grid, .. } = record;
    let TableOptions { kind, sequence, ttl_ms, keep_last, compression, .. } = options;
    bytes.put_u32(id.0);
    bytes.put_u8(kind_byte(*kind));
    bytes.put_u8(match sequence {
        Sequence::Assigned => 1,
        Sequence::Given => 2,
    });
    bytes.put_u8(match compression {
        Compression::None => 1,
        Compression::Lz4 => 2,
        Compression::Zstd { level } => ZSTD_LEVEL_ZERO + level,
    });
    let placement = (options.placement == Tier::Cold).then_some(PLACEMENT_COLD);
    let all = [
        (option::TTL, *ttl_ms),
        (option::KEEP_LAST, *keep_last),
        (option::ERASE_AFTER, options.erase_after_ms),
        (option::COLD_AFTER, options.cold_after_ms),
        (option::PLACEMENT, placement),
        (option::OWN_TTL, record.own_ttl.then_some(OWN_TTL_WRITTEN)),
        (option::ERASED_THROUGH, Some(record.erased_through).filter(|commit| *commit > 0)),
    ];
    put_options(bytes, &all);
    bytes.put_u64(*expired_before_ms);
    bytes.put_u8(u8::try_from(grid.pieces().len()).expect("a grid has few pieces"));
    for Piece { from_ms, width_ms } in grid.pieces() {
        bytes.put_u64(*from_ms);
        bytes.put_u64(*width_ms);
    }
    put_u16_length(bytes, name.as_bytes());
    bytes.put(name.as_bytes());
}

/// `all`: every option by its tag, tags rising.
fn put_options(bytes: &mut Vec<u8>, all: &[(u8, Option<u64>)]) {
    let there = || all.iter().filter_map(|(tag, value)| value.map(|value| (*tag, value)));
    bytes.put_u8(u8::try_from(there().count()).expect("there are few options"));
    for (tag, value) in there() {
        bytes.put_u8(tag);
        bytes.put_u64(value);
    }
}

pub(super) fn decode_table(decoder: &mut Decoder<'_>) -> Result<TableRecord, DecodeError> {
    let id = TableId(decoder.u32("table id")?);
    let kind = decode_kind(decoder)?;
    let unknown = decoder.error("sequence");
    let sequence = match decoder.u8("sequence")? {
        1 => Sequence::Assigned,
        2 => Sequence::Given,
        _ => return Err(unknown),
    };
    let unknown = decoder.error("compression");
    let compression = match decoder.u8("compression")? {
        1 => Compression::None,
        2 => Compression::Lz4,
        byte => match byte.checked_sub(ZSTD_LEVEL_ZERO) {
            Some(level) if ZSTD_LEVELS.contains(&level) => Compression::Zstd { level },
            _ => return Err(unknown),
        },
    };
    let mut options = TableOptions {
        kind,
        sequence,
        ttl_ms: None,
        keep_last: None,
        compression,
        cold_after_ms: None,
        placement: Tier::Hot,
        erase_after_ms: None,
    };
    let own = decode_options(decoder, &mut options)?;
    let expired_before_ms = decoder.u64("expired before")?;
    let grid = decode_grid(decoder)?;
    let length = usize::from(decoder.u16("name length")?);
    let error = decoder.error("name");
    let name = decoder.take(length, "name")?;
    let name = std::str::from_utf8(name).map_err(|_| error)?.to_owned();
    let Recorded { own_ttl, erased_through } = own;
    Ok(TableRecord { id, name, options, expired_before_ms, grid, own_ttl, erased_through })
}

fn decode_grid(decoder: &mut Decoder<'_>) -> Result<Grid, DecodeError> {
    let error = decoder.error("grid");
    let mut pieces = Vec::new();
    for _ in 0..decoder.u8("piece count")? {
        let (from_ms, width_ms) = (decoder.u64("piece")?, decoder.u64("piece")?);
        pieces.push(Piece { from_ms, width_ms });
    }
    Grid::from_pieces(pieces).ok_or(error)
}

/// What stands among the options of a table, and is none.
#[derive(Default)]
struct Recorded {
    own_ttl: bool,
    erased_through: u64,
}

fn decode_options(
    decoder: &mut Decoder<'_>,
    options: &mut TableOptions,
) -> Result<Recorded, DecodeError> {
    let mut recorded = Recorded::default();
    let mut last = 0;
    for _ in 0..decoder.u8("option count")? {
        let unknown = decoder.error("option tag");
        let tag = decoder.u8("option tag")?;
        // Zero is no tag, and none comes twice.
        if tag <= last {
            return Err(unknown);
        }
        last = tag;
        let value = decoder.u64("option value")?;
        match tag {
            option::TTL => options.ttl_ms = Some(value),
            option::KEEP_LAST => options.keep_last = Some(value),
            option::COLD_AFTER => options.cold_after_ms = Some(value),
            option::PLACEMENT if value == PLACEMENT_COLD => options.placement = Tier::Cold,
            option::ERASE_AFTER => options.erase_after_ms = Some(value),
            option::OWN_TTL if value == OWN_TTL_WRITTEN => recorded.own_ttl = true,
            option::ERASED_THROUGH if value > 0 => recorded.erased_through = value,
            _ => return Err(unknown),
        }
    }
    Ok(recorded)
}
