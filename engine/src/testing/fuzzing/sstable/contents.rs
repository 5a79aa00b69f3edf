//! What a fuzzed SSTable is built of.

use crate::batch::KeyedOperation;
use crate::entry::{KeyedVersion, Origin, Payload};
use crate::segment::Reference;
use crate::sstable::{EntryRef, Shared};
use crate::testing::fuzzing::segment::Record;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Entries, by timeline and seq, and what they may refer to.
    Timelines {
        /// The entries.
        rows: Vec<Row>,
        /// The records of the segment.
        records: Vec<Record>,
    },
    /// Versions, by key, the newest of each key first.
    Keys(Vec<Version>),
}

/// An entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The timeline.
    pub key: Vec<u8>,
    /// Position in its timeline.
    pub seq: u64,
    /// Number of its batch.
    pub commit: u64,
    /// Commit time.
    pub time_ms: u64,
    /// Time given by the caller.
    pub event_ms: Option<i64>,
    /// Its own time to live.
    pub ttl_ms: Option<u64>,
    /// Where it was fanned out from.
    pub origin: Option<Origin>,
    /// Its payload.
    pub content: Content,
}

/// The payload of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It lies in the entry.
    Own(Vec<u8>),
    /// It was erased.
    Erased,
    /// It lies in a record of the segment.
    Shared {
        /// The index of the record.
        record: usize,
        /// The entry is the origin that the record names: it has none itself.
        is_origin: bool,
    },
}

/// A version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The key.
    pub key: Vec<u8>,
    /// Number of its batch.
    pub commit: u64,
    /// Index of its record in the batch.
    pub index: u32,
    /// Commit time.
    pub time_ms: u64,
    /// What is done to the key.
    pub operation: KeyedOperation,
    /// The operand.
    pub value: Vec<u8>,
}

impl Row {
    pub(super) fn entry(&self, references: &[Reference]) -> EntryRef<'_> {
        let (payload, shared, erased) = match &self.content {
            Content::Own(payload) => (&payload[..], None, false),
            Content::Erased => (&[][..], None, true),
            Content::Shared { record, is_origin } => {
                let shared = Shared { reference: references[*record], is_origin: *is_origin };
                (&[][..], Some(shared), false)
            }
        };
        EntryRef {
            seq: self.seq,
            commit: self.commit,
            time_ms: self.time_ms,
            event_ms: self.event_ms,
            ttl_ms: self.ttl_ms,
            origin: self.origin.as_ref().map(Origin::as_ref),
            payload,
            shared,
            erased,
        }
    }
}

impl Version {
    pub(super) fn stored(&self) -> KeyedVersion {
        KeyedVersion {
            key: self.key.as_slice().into(),
            commit: self.commit,
            index: self.index,
            time_ms: self.time_ms,
            operation: self.operation,
            value: Payload::from_vec(self.value.clone()),
        }
    }

    pub(super) fn of(stored: KeyedVersion) -> Version {
        Version {
            key: stored.key.into_vec(),
            commit: stored.commit,
            index: stored.index,
            time_ms: stored.time_ms,
            operation: stored.operation,
            value: stored.value.to_vec(),
        }
    }
}
