//! What a reader gets: entries of a timeline, values of a keyed table, and their payload bytes.

use crate::batch::KeyedOperation;
use crate::file::Region;
use crate::memory::Piece;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A table of one store. Ids are given at creation and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

impl TableId {
    /// Ids below this are the engine's own tables.
    pub(crate) const FIRST_OF_USERS: u32 = 16;

    /// Whether the table is the engine's own, which users neither read nor write.
    pub(crate) fn is_engine_owned(self) -> bool {
        self.0 < TableId::FIRST_OF_USERS
    }
}

/// Where an inbox entry came from: the entry of the conversation that was fanned out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The table of the original entry.
    pub table: TableId,
    /// The encoded timeline id of the original entry.
    pub key: Box<[u8]>,
    /// The original entry's sequence id.
    pub seq: u64,
}

impl Origin {
    /// Borrowed.
    pub fn as_ref(&self) -> OriginRef<'_> {
        OriginRef { table: self.table, key: &self.key, seq: self.seq }
    }
}

/// The entry that an entry was fanned out from, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginRef<'a> {
    /// The table of the original entry.
    pub table: TableId,
    /// The encoded timeline id of the original entry.
    pub key: &'a [u8],
    /// The original entry's sequence id.
    pub seq: u64,
}

impl OriginRef<'_> {
    /// With a key of its own.
    pub fn to_origin(self) -> Origin {
        Origin { table: self.table, key: self.key.into(), seq: self.seq }
    }
}

/// One entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in its timeline: 1, 2, 3, …
    pub seq: u64,
    /// Number of the batch that wrote it, over the whole store.
    pub commit: u64,
    /// When the engine committed it, in milliseconds since 1970 (UTC). Never falls inside a
    /// timeline.
    pub time_ms: u64,
    /// When it happened, as the caller gave it, in milliseconds since 1970 (UTC).
    pub event_ms: Option<i64>,
    /// The time to live that it was given of its own, in milliseconds. It expires with it, or
    /// earlier where its timeline or table keep nothing as long.
    pub ttl_ms: Option<u64>,
    /// The entry it was fanned out from.
    pub origin: Option<Origin>,
    /// The caller's bytes: those of the newest amendment, where there is one.
    pub payload: Payload,
    /// The newest amendment that the snapshot shows, of this entry or of its origin.
    pub revision: Option<Revision>,
    /// The payload that this version of the entry had was erased from the file, since a later
    /// retraction took it back: see
    /// [`TableOptions::erase_after`](crate::TableOptions::erase_after). Only
    /// [`Snapshot::versions`](crate::Snapshot::versions) shows such versions.
    pub erased: bool,
}

/// One entry of a timeline, borrowed from the scan that stands at it: nothing is counted, copied or
/// allocated for it. The fields are those of [`Entry`].
///
/// Given by [`Scan::next_view`](crate::Scan::next_view), and gone with the next step of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// Position in its timeline: 1, 2, 3, …
    pub seq: u64,
    /// Number of the batch that wrote it, over the whole store.
    pub commit: u64,
    /// When the engine committed it, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// When it happened, as the caller gave it, in milliseconds since 1970 (UTC).
    pub event_ms: Option<i64>,
    /// The time to live that it was given of its own, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// The entry it was fanned out from.
    pub origin: Option<OriginRef<'a>>,
    /// The caller's bytes: those of the newest amendment, where there is one.
    pub payload: &'a [u8],
    /// The newest amendment that the snapshot shows, of this entry or of its origin.
    pub revision: Option<Revision>,
    /// See [`Entry::erased`].
    pub erased: bool,
}

impl EntryView<'_> {
    /// The entry, with these bytes.
    pub(crate) fn to_entry(self, payload: Payload) -> Entry {
        Entry {
            seq: self.seq,
            commit: self.commit,
            time_ms: self.time_ms,
            event_ms: self.event_ms,
            ttl_ms: self.ttl_ms,
            origin: self.origin.map(OriginRef::to_origin),
            payload,
            revision: self.revision,
            erased: self.erased,
        }
    }
}

impl Entry {
    /// Borrowed.
    pub fn view(&self) -> EntryView<'_> {
        EntryView {
            seq: self.seq,
            commit: self.commit,
            time_ms: self.time_ms,
            event_ms: self.event_ms,
            ttl_ms: self.ttl_ms,
            origin: self.origin.as_ref().map(Origin::as_ref),
            payload: &self.payload,
            revision: self.revision,
            erased: self.erased,
        }
    }
}

/// The first moment at which an entry of this commit time and time to live is shown no more.
pub(crate) fn expires_ms(time_ms: u64, ttl_ms: u64) -> u64 {
    time_ms.saturating_add(ttl_ms)
}

/// An amendment of an entry: what its payload was replaced by, or that it was retracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Number of the batch that amended the entry.
    pub commit: u64,
    /// When the engine committed it, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// Whether the entry was retracted: it stays in its place, with an empty payload.
    pub retracted: bool,
}

/// One version of a key of a keyed table: what one write did to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyedVersion {
    /// The key.
    pub key: Box<[u8]>,
    /// Number of the batch that wrote it, over the whole store.
    pub commit: u64,
    /// Index of the record in its batch: the highest is the newest.
    pub index: u32,
    /// When the engine committed it, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// What was done to the key.
    pub operation: KeyedOperation,
    /// The operand: empty for a deletion.
    pub value: Payload,
}

/// Which way a scan goes along a timeline or a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From old to new, from small keys to large ones.
    Forward,
    /// From new to old, from large keys to small ones.
    Backward,
}

/// Payloads from so many bytes on keep the slab that they lie in.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// Bytes of an entry, shared with the memtable or the block they lie in: cloning copies nothing.
#[derive(Clone)]
pub struct Payload {
    owner: PayloadOwner,
    range: Range<usize>,
}

#[derive(Clone)]
enum PayloadOwner {
    Frame(Arc<Vec<u8>>),
    Piece(Piece),
    Region(Region),
}

impl Payload {
    /// Bytes `range` of a WAL frame held by a memtable. The range must lie inside the frame.
    pub(crate) fn in_frame(frame: Arc<Vec<u8>>, range: Range<usize>) -> Payload {
        assert!(range.start <= range.end && range.end <= frame.len());
        Payload { owner: PayloadOwner::Frame(frame), range }
    }

    /// Bytes `range` of a frame in a slab. A short payload is copied: it must not keep megabytes.
    pub(crate) fn in_piece(piece: &Piece, range: Range<usize>) -> Payload {
        assert!(range.start <= range.end && range.end <= piece.len());
        if range.len() >= SHARED_BYTES_MIN {
            return Payload { owner: PayloadOwner::Piece(piece.clone()), range };
        }
        let bytes: Arc<[u8]> = piece[range].into();
        let range = 0..bytes.len();
        Payload::in_region(Region::from_memory(bytes), range)
    }

    /// Bytes `range` of a block or of a mapped extent. The range must lie inside the region.
    pub(crate) fn in_region(region: Region, range: Range<usize>) -> Payload {
        assert!(range.start <= range.end && range.end <= region.len());
        Payload { owner: PayloadOwner::Region(region), range }
    }

    /// The same bytes without the first `count`, which must be there.
    pub(crate) fn without_first(mut self, count: usize) -> Payload {
        assert!(count <= self.range.len());
        self.range.start += count;
        self
    }

    /// A payload of its own.
    pub fn from_vec(bytes: Vec<u8>) -> Payload {
        let range = 0..bytes.len();
        Payload { owner: PayloadOwner::Frame(Arc::new(bytes)), range }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.owner {
            PayloadOwner::Frame(frame) => &frame[self.range.clone()],
            PayloadOwner::Piece(piece) => &piece[self.range.clone()],
            PayloadOwner::Region(region) => &region[self.range.clone()],
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Payload({} bytes: {:?})",
            self.len(),
            String::from_utf8_lossy(&self[..self.len().min(32)])
        )
    }
}
