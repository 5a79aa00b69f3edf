//! Payload segments: what a message says, stored once, however many timelines it went to.
//!
//! ```text
//! SSTable entries     8-byte references                    segment, one extent
//!   inbox of alice  ──┐                          0                              bytes
//!   inbox of bob    ──┼── number, offset ──────► | record | record | … | footer |
//!   conversation    ──┘                            event time, origin, payload
//! ```
//!
//! A flush writes the segments first, then the SSTables that refer to them; one root names both.
//! Compaction copies references and never touches segments. A segment may be replaced by a copy in
//! another extent, under its number, with the same offsets: so it moves down in the file, and so
//! payloads are erased. It dies in the same record of the manifest as the last SSTable that needs
//! it.
//!
//! - `reference.rs`: the eight bytes in an entry.
//! - `format.rs`: records and footer, drawn where they are encoded.
//! - `writer.rs`: front to back over an extent.
//! - `large.rs`: a segment of one record, which the log names before the manifest does.
//! - `reader.rs`: one record by its reference, through a map or with `pread`.
//! - `copy.rs`: the same segment in another extent.
//! - `remains.rs`: a damaged segment without the records that cannot be read.
//! - `set.rs`: the open segments of an SSTable, by number.
//! - `verify.rs`: everything that a segment says of itself; one record in words.
//!
//! # Invariants
//! 1. A record is found by its reference alone, and its checksum is seeded with file, number and
//!    offset: a wrong reference cannot meet a right record.
//! 2. Whoever can meet a reference holds the open segment, and so its extent.
//!
//! # Concurrency
//! A writer has one owner. An open segment is immutable: any thread.

mod copy;
#[cfg(test)]
mod copy_tests;
mod format;
mod large;
mod reader;
mod reference;
mod remains;
mod set;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use crate::entry::OriginRef;
pub(crate) use copy::SegmentCopy;
pub(crate) use format::{FOOTER_SIZE, record_size};
pub(crate) use large::{LARGE_SIZE, LargePayload};
pub(crate) use reader::{Record, Segment};
pub(crate) use reference::Reference;
pub(crate) use set::Segments;
pub(crate) use verify::RecordPlaces;
pub(crate) use writer::SegmentWriter;

/// What goes into a record: all that the entries of one message share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordRef<'a> {
    /// Time given by the caller.
    pub(crate) event_ms: Option<i64>,
    /// Where the entries were fanned out from: all but the entry that is the origin.
    pub(crate) origin: Option<OriginRef<'a>>,
    /// The caller's bytes.
    pub(crate) payload: &'a [u8],
}
