//! [`Batch`]: what one commit writes, in plain data that every backend can read.

use std::time::Duration;
use tidelog_engine::{KeyedOperation, Origin, Payload, Precondition, TableId, limits};

/// What the engine keeps of a large payload in a batch.
const LARGE_BYTES: usize = 28;

/// Bytes of a target in a batch.
pub(crate) fn target_bytes(key: &[u8]) -> usize {
    14 + key.len()
}

/// Where one entry of a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A timeline table.
    pub table: TableId,
    /// The encoded timeline id.
    pub key: Box<[u8]>,
    /// The sequence id, on a table of given ids; `None` where the backend assigns it.
    pub seq: Option<u64>,
}

/// One payload and the timelines it goes to. Backends keep the payload once.
#[derive(Debug, Clone)]
pub struct BatchMessage {
    /// The payload, shared: cloning a batch copies none.
    pub payload: Payload,
    /// When it happened, in milliseconds since 1970 (UTC), if the caller says so.
    pub event_ms: Option<i64>,
    /// A time to live of the entries' own, from a millisecond on. It only shortens: an entry is
    /// shown until the earliest of what its table, its timeline and it itself keep.
    pub ttl: Option<Duration>,
    /// The entry it comes from, named by every entry of this message.
    pub origin: Option<Origin>,
    /// Whether target 0 is the origin of all other targets. Not together with `origin`.
    pub first_is_origin: bool,
    /// At least one.
    pub targets: Vec<Target>,
}

/// A write to a keyed table.
#[derive(Debug, Clone)]
pub struct KeyedWrite {
    /// What is done.
    pub operation: KeyedOperation,
    /// A keyed table.
    pub table: TableId,
    /// The key.
    pub key: Box<[u8]>,
    /// The value; empty for a deletion.
    pub value: Vec<u8>,
}

/// What becomes of an entry, wherever it is read: see
/// [`Timeline::amend`](crate::Timeline::amend).
#[derive(Debug, Clone)]
pub struct Amendment {
    /// A timeline table.
    pub table: TableId,
    /// The encoded timeline id.
    pub key: Box<[u8]>,
    /// The entry's sequence id.
    pub seq: u64,
    /// What replaces its payload; `None` retracts it.
    pub payload: Option<Payload>,
}

/// What is done to the entries that a timeline has, and to what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MarkChange {
    /// Entries below this sequence id are trimmed; those that come later are not.
    TrimBefore(u64),
    /// Entries from one sequence id to another, both inclusive, are deleted, as far as they are
    /// there.
    DeleteRange(u64, u64),
    /// All entries are deleted.
    DeleteAll,
    /// The timeline gets a time to live of its own, or none. What has expired stays expired.
    TimeToLive(Option<Duration>),
    /// Only so many of the newest entries are shown, or as many as the table says.
    KeepLast(Option<u64>),
}

/// A change of a timeline that appends nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimelineMark {
    /// The timeline; its `seq` is `None`.
    pub target: Target,
    /// How many messages of the batch it comes behind.
    pub after: usize,
    /// What is done.
    pub change: MarkChange,
}

/// Writes that are committed together or not at all. Messages take their sequence ids in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Messages.
    pub messages: Vec<BatchMessage>,
    /// Writes to keyed tables; a later write of one key wins.
    pub keyed: Vec<KeyedWrite>,
    /// Amendments of entries that were committed before; a later one of an entry wins.
    pub amendments: Vec<Amendment>,
    /// Trims, deletions and retention, by rising `after`.
    pub marks: Vec<TimelineMark>,
    /// What must hold before anything of the batch takes effect.
    pub preconditions: Vec<Precondition>,
}

impl Batch {
    /// A batch that appends a payload to one timeline.
    pub fn append(target: Target, payload: Payload, event_ms: Option<i64>) -> Batch {
        let targets = vec![target];
        Batch::of(BatchMessage {
            payload,
            event_ms,
            ttl: None,
            origin: None,
            first_is_origin: false,
            targets,
        })
    }

    /// A batch of one mark.
    pub fn mark(table: TableId, key: &[u8], change: MarkChange) -> Batch {
        let target = Target { table, key: key.into(), seq: None };
        Batch { marks: vec![TimelineMark { target, after: 0, change }], ..Batch::default() }
    }

    /// A batch of one message.
    pub fn of(message: BatchMessage) -> Batch {
        Batch { messages: vec![message], ..Batch::default() }
    }

    /// A batch of one amendment.
    pub fn amend(amendment: Amendment) -> Batch {
        Batch { amendments: vec![amendment], ..Batch::default() }
    }

    /// Entries that the batch appends: one a target.
    pub fn append_count(&self) -> usize {
        self.messages.iter().map(|message| message.targets.len()).sum()
    }

    /// Bytes of the batch: payloads once, and each target.
    pub fn byte_count(&self) -> usize {
        self.bytes(|payload| payload.len())
    }

    /// The same as the engine's limit counts them: a payload of 256 KiB or more lies elsewhere.
    pub fn frame_bytes(&self) -> usize {
        self.bytes(|payload| match payload.len() {
            limits::LARGE_PAYLOAD_BYTES.. => LARGE_BYTES,
            inline => inline,
        })
    }

    fn bytes(&self, payload_bytes: impl Fn(&Payload) -> usize) -> usize {
        let origin = |origin: &Origin| 14 + origin.key.len();
        let target = |target: &Target| target_bytes(&target.key);
        let message = |message: &BatchMessage| {
            10 + message.event_ms.map_or(0, |_| 8)
                + message.ttl.map_or(0, |_| 10)
                + message.origin.as_ref().map_or(0, origin)
                + payload_bytes(&message.payload)
                + message.targets.iter().map(target).sum::<usize>()
        };
        let keyed = |write: &KeyedWrite| 12 + write.key.len() + write.value.len();
        let amendment = |amendment: &Amendment| {
            20 + amendment.key.len() + amendment.payload.as_ref().map_or(0, |bytes| bytes.len())
        };
        let mark = |mark: &TimelineMark| 2 * (65 + mark.target.key.len());
        self.messages.iter().map(message).sum::<usize>()
            + self.amendments.iter().map(amendment).sum::<usize>()
            + self.keyed.iter().map(keyed).sum::<usize>()
            + self.marks.iter().map(mark).sum::<usize>()
    }

    /// Adds all writes of `other` behind those of this batch.
    pub fn join(&mut self, mut other: Batch) {
        for mut mark in other.marks {
            mark.after += self.messages.len();
            self.marks.push(mark);
        }
        self.messages.append(&mut other.messages);
        self.keyed.append(&mut other.keyed);
        self.amendments.append(&mut other.amendments);
        self.preconditions.append(&mut other.preconditions);
    }

    /// Every timeline and every key that the batch writes to, by table and encoded id, once for
    /// each write.
    pub fn places(&self) -> impl Iterator<Item = (TableId, &[u8])> {
        let amended = self.amendments.iter().map(|amended| (amended.table, &amended.key[..]));
        let keyed = self.keyed.iter().map(|write| (write.table, &write.key[..]));
        let targets = self.targets().chain(self.marks.iter().map(|mark| &mark.target));
        targets.map(|target| (target.table, &target.key[..])).chain(amended).chain(keyed)
    }

    /// Every target, in the order in which sequence ids are answered.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.messages.iter().flat_map(|message| &message.targets)
    }
}
