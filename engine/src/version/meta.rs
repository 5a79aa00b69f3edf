//! What the manifest knows of one SSTable: plain data, no I/O.

use super::{Shard, Tier};
use crate::entry::TableId;
use crate::file::Extent;
use crate::own_ttl::OwnTtl;
use crate::sync::Arc;

/// What a table of the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// Append-only queues keyed by `(timeline id, seq)`.
    Timeline,
    /// Bytes keyed by bytes, newest value wins.
    Keyed,
}

/// The manifest's record of one SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SstableMeta {
    /// Unique in the store, never reused; part of the seed of every checksum in the SSTable.
    pub number: u64,
    /// The table whose data it holds.
    pub table: TableId,
    /// What the table holds.
    pub kind: TableKind,
    /// The shard of the table in whose levels it is, for as long as it lives.
    pub shard: Shard,
    /// Where it lies.
    pub extent: Extent,
    /// Bytes in use at the front of the extent, footer included.
    pub bytes: u64,
    /// Checksum of the footer: the parent holds its child's checksum.
    pub footer_checksum: u32,
    /// Entries (versions, in a keyed table).
    pub entries: u64,
    /// Timelines, or keys.
    pub keys: u64,
    /// Payload or value bytes.
    pub payload_bytes: u64,
    /// Smallest key, and the first seq of that timeline here (0 in a keyed table).
    pub first: (Box<[u8]>, u64),
    /// Largest key, and the last seq of that timeline here (0 in a keyed table).
    pub last: (Box<[u8]>, u64),
    /// Smallest and largest commit number.
    pub commits: (u64, u64),
    /// Smallest and largest commit time, in milliseconds since 1970.
    pub times_ms: (u64, u64),
    /// Smallest commit number of an entry that has an origin; 0 where there is none.
    pub oldest_origin: u64,
    /// When entries expire that have a time to live of their own.
    pub own_ttl: OwnTtl,
    /// Numbers of the payload segments that its entries refer to, rising.
    pub segments: Arc<[u64]>,
}

/// The manifest's record of one payload segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Unique in the store among SSTables and segments, never reused; part of the seed of every
    /// checksum in the segment.
    pub number: u64,
    /// Its home: the table that keeps longest among those its payloads went to.
    pub table: TableId,
    /// Where it lies.
    pub extent: Extent,
    /// Bytes in use at the front of the extent, footer included.
    pub bytes: u64,
    /// Checksum of the footer: the parent holds its child's checksum.
    pub footer_checksum: u32,
    /// Payloads in it.
    pub records: u64,
    /// Bytes of the payloads.
    pub payload_bytes: u64,
}

impl SstableMeta {
    /// Whether it lies in the cold file, where that takes cold SSTables of the number `from` and
    /// above; `None`: there is no such file.
    pub(crate) fn is_in_cold_file(&self, from: Option<u64>) -> bool {
        self.shard.tier == Tier::Cold && from.is_some_and(|from| self.number >= from)
    }

    /// Whether the key ranges meet.
    pub fn overlaps(&self, other: &SstableMeta) -> bool {
        self.first.0 <= other.last.0 && other.first.0 <= self.last.0
    }
}
