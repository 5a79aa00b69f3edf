//! `WriteBatch`: what one commit writes, atomically, over any timelines and tables.
//!
//! The batch's bytes *are* the frame body in the WAL, and the memtable keeps them as they are: a
//! payload is copied into the batch once and never again. Only the leader changes them, before they
//! are written: it fills in the sequence ids.
//!
//! ```text
//! body    = op*                                            all integers little-endian
//! message: u8 kind = 1 | u8 flags | [i64 event_ms] | [origin] | content
//!          | u32 target count | target*
//! content: u32 payload length | payload, or with flag 16 where it lies (`segment/large.rs`)
//! origin:  u32 table | u64 seq | u16 key length | key      flag 2
//! target:  u32 table | u16 key length | u64 seq | key      seq is 0 until the leader assigns it
//! keyed:   u8 kind = 2 | u8 operation | u32 table | u16 key length | key | u32 value length
//!          | value
//! amend:   u8 kind = 3 | u32 table | u16 key length | u64 seq | key | u32 value length | value
//! value:   u8 1 replaced, 2 retracted | payload
//! mark:    u8 kind = 4 | u8 mark kind | u32 table | u16 key length | u64 from | key | value
//! flags:   1 event time   2 origin   4 target 0 is the origin of all other targets
//!          16 the payload has an extent of its own
//! kinds:   5 blob, 6 feed slot: reserved
//! ```

mod decode;
mod large;
mod marks;
#[cfg(test)]
mod tests;

use crate::amendment::{TAG_REPLACED, TAG_RETRACTED};
use crate::codec::Encode;
use crate::entry::{Origin, TableId};
use crate::error::{Error, Result};
use crate::limits;
use crate::segment::LARGE_SIZE;
pub(crate) use decode::{Content, Message, MessageRef, Op, Target, decode, message_at};
use large::Large;
use marks::MarkPlace;

/// First byte of a message record.
pub(crate) const KIND_MESSAGE: u8 = 1;
/// First byte of a keyed record.
pub(crate) const KIND_KEYED: u8 = 2;
/// First byte of an amendment record.
pub(crate) const KIND_AMEND: u8 = 3;
/// First byte of a mark record.
pub(crate) const KIND_MARK: u8 = 4;
/// The message carries an event time.
pub(crate) const FLAG_EVENT: u8 = 1;
/// The message carries an origin.
pub(crate) const FLAG_ORIGIN: u8 = 2;
/// Target 0 is the origin of all other targets.
pub(crate) const FLAG_ORIGIN_IS_FIRST: u8 = 4;
/// The payload has an extent of its own, which the message names.
pub(crate) const FLAG_LARGE: u8 = 16;

/// What is done to a key of a keyed table. The discriminants are persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyedOperation {
    /// The value replaces what was there.
    Put = 1,
    /// The key is gone.
    Delete = 2,
    /// The value, an i64 of 8 little-endian bytes, is added (wrapping) to the counter there. What
    /// is not 8 bytes long, or absent, counts as 0.
    Add = 3,
    /// The larger of the counter there and the value, both i64, stays. A value that is not 8 bytes
    /// long, or none, gives way.
    Max = 4,
    /// Marks of a timeline are added to those there. For a table of the engine's own: no batch
    /// writes it to a user's table.
    Mark = 5,
}

impl KeyedOperation {
    pub(crate) fn from_byte(byte: u8) -> Option<KeyedOperation> {
        match byte {
            1 => Some(KeyedOperation::Put),
            2 => Some(KeyedOperation::Delete),
            3 => Some(KeyedOperation::Add),
            4 => Some(KeyedOperation::Max),
            5 => Some(KeyedOperation::Mark),
            _ => None,
        }
    }

    /// Whether nothing older can matter.
    pub(crate) fn is_base(self) -> bool {
        matches!(self, KeyedOperation::Put | KeyedOperation::Delete)
    }
}

/// What must hold when the batch is committed; otherwise nothing of it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The next sequence id of the timeline is this.
    NextSeq {
        /// A timeline table.
        table: TableId,
        /// The encoded timeline id.
        key: Box<[u8]>,
        /// The expected next sequence id: 1 for a timeline that was never written.
        seq: u64,
    },
    /// The key holds this value, or nothing.
    Value {
        /// A keyed table.
        table: TableId,
        /// The key.
        key: Box<[u8]>,
        /// The expected value; `None` where the key must be absent.
        value: Option<Vec<u8>>,
    },
}

/// Writes that are committed together or not at all.
///
/// ```
/// use tidelog_engine::{TableId, WriteBatch};
/// let mut batch = WriteBatch::new();
/// batch.append(TableId(16), b"alice", b"hello", None)?;
/// batch.put(TableId(17), b"last-seen", b"now")?;
/// assert_eq!(batch.append_count(), 1);
/// # Ok::<(), tidelog_engine::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    body: Vec<u8>,
    /// Offset in `body` of each target record, in the order of the calls.
    targets: Vec<u32>,
    keyed: u32,
    amendments: u32,
    /// Mark records, in the order of the calls.
    marks: Vec<MarkPlace>,
    /// Payloads that are not in the body, in the order of the calls.
    large: Vec<Large>,
    /// Other than [`limits::LARGE_PAYLOAD_BYTES`].
    large_from: Option<usize>,
    preconditions: Vec<Precondition>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Appends `payload` to one timeline.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::InvalidUse`] for a key or payload beyond the limits; the
    /// batch is unchanged.
    pub fn append(
        &mut self,
        table: TableId,
        key: &[u8],
        payload: &[u8],
        event_ms: Option<i64>,
    ) -> Result<()> {
        self.message(&[(table, key, 0)], payload, event_ms, None, false)
    }

    /// Appends `payload` with a sequence id given by the caller: for tables of
    /// [`Sequence::Given`](crate::Sequence::Given) only.
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; also for seq 0 and for one above the largest.
    pub fn append_at(
        &mut self,
        table: TableId,
        key: &[u8],
        seq: u64,
        payload: &[u8],
        event_ms: Option<i64>,
    ) -> Result<()> {
        check_seq(seq)?;
        self.message(&[(table, key, seq)], payload, event_ms, None, false)
    }

    /// Appends one payload to many timelines: it is stored once. With `origin`, every entry names
    /// it; with `first_is_origin`, target 0 is the conversation and the origin of all others.
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; also when there is no target.
    pub fn fan_out<'a>(
        &mut self,
        targets: impl IntoIterator<Item = (TableId, &'a [u8])>,
        payload: &[u8],
        event_ms: Option<i64>,
        origin: Option<&Origin>,
        first_is_origin: bool,
    ) -> Result<()> {
        let targets: Vec<_> = targets.into_iter().map(|(table, key)| (table, key, 0)).collect();
        self.message(&targets, payload, event_ms, origin, first_is_origin)
    }

    /// Sets a key.
    ///
    /// # Errors
    /// As [`WriteBatch::append`].
    pub fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyed(KeyedOperation::Put, table, key, value)
    }

    /// Deletes a key; an absent key stays absent.
    ///
    /// # Errors
    /// As [`WriteBatch::append`].
    pub fn delete(&mut self, table: TableId, key: &[u8]) -> Result<()> {
        self.keyed(KeyedOperation::Delete, table, key, &[])
    }

    /// Adds to a counter, see [`KeyedOperation::Add`].
    ///
    /// # Errors
    /// As [`WriteBatch::append`].
    pub fn add(&mut self, table: TableId, key: &[u8], amount: i64) -> Result<()> {
        self.keyed(KeyedOperation::Add, table, key, &amount.to_le_bytes())
    }

    /// Raises a counter, see [`KeyedOperation::Max`].
    ///
    /// # Errors
    /// As [`WriteBatch::append`].
    pub fn max(&mut self, table: TableId, key: &[u8], value: i64) -> Result<()> {
        self.keyed(KeyedOperation::Max, table, key, &value.to_le_bytes())
    }

    /// Replaces the payload of an entry, wherever it is read: in its own timeline, and through
    /// every entry that was fanned out from it before. It is one write, however many these are. The
    /// earlier payloads stay readable, see [`Snapshot::versions`](crate::Snapshot::versions).
    ///
    /// The entry must have been written: the commit fails with [`Error::NotFound`] where the
    /// timeline's next sequence id is not above `seq`. That it is still kept is not asked: entries
    /// that came from it may outlive it, and show the amendment. What is fanned out from it by a
    /// later commit shows the payload given then. Sequence ids, event times and origins stay.
    ///
    /// # Errors
    /// As [`WriteBatch::append_at`].
    pub fn amend(&mut self, table: TableId, key: &[u8], seq: u64, payload: &[u8]) -> Result<()> {
        self.amendment(table, key, seq, TAG_REPLACED, payload)
    }

    /// Takes an entry back, as [`WriteBatch::amend`] with nothing: it stays in its place, so that
    /// there is no gap, is marked as retracted and has an empty payload. A later amendment gives it
    /// a payload again. Earlier payloads stay readable as versions, and in the file.
    ///
    /// # Errors
    /// As [`WriteBatch::amend`].
    pub fn retract(&mut self, table: TableId, key: &[u8], seq: u64) -> Result<()> {
        self.amendment(table, key, seq, TAG_RETRACTED, &[])
    }

    /// Adds a precondition. All are checked before anything of the batch takes effect.
    pub fn require(&mut self, precondition: Precondition) {
        self.preconditions.push(precondition);
    }

    /// Entries this batch appends: one a target.
    pub fn append_count(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Bytes of the frame body so far: payloads of [`limits::LARGE_PAYLOAD_BYTES`] and more are not
    /// in it.
    pub fn byte_count(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn preconditions(&self) -> &[Precondition] {
        &self.preconditions
    }

    pub(crate) fn has_keyed_writes(&self) -> bool {
        self.keyed > 0
    }

    pub(crate) fn has_amendments(&self) -> bool {
        self.amendments > 0
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Gives back what growing has left over.
    pub(crate) fn shrink(&mut self) {
        self.body.shrink_to_fit();
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Target `index`, in the order of the calls.
    pub(crate) fn target(&self, index: usize) -> Target<'_> {
        decode::target_at(&self.body, self.targets[index] as usize)
    }

    /// The leader's one change: the sequence id of target `index`.
    pub(crate) fn assign(&mut self, index: usize, seq: u64) {
        let place = self.targets[index] as usize + decode::TARGET_SEQ_OFFSET;
        self.body[place..place + 8].copy_from_slice(&seq.to_le_bytes());
    }

    fn message(
        &mut self,
        targets: &[(TableId, &[u8], u64)],
        payload: &[u8],
        event_ms: Option<i64>,
        origin: Option<&Origin>,
        first_is_origin: bool,
    ) -> Result<()> {
        if targets.is_empty() {
            return Err(Error::invalid("a message needs at least one target"));
        }
        if first_is_origin && origin.is_some() {
            return Err(Error::invalid(
                "a message has one origin: a given one, or its first target",
            ));
        }
        for (_, key, _) in targets {
            check_key(key)?;
        }
        if let Some(origin) = origin {
            check_key(&origin.key)?;
        }
        check_payload(payload)?;
        let origin_bytes = origin.map_or(0, |origin| origin.key.len() + 14);
        let is_large = self.is_large(payload);
        let content_bytes = if is_large { LARGE_SIZE } else { payload.len() };
        self.check_room(
            origin_bytes
                + content_bytes
                + targets.iter().map(|(_, key, _)| key.len() + 14).sum::<usize>(),
        )?;
        let mut flags = 0;
        flags |= if event_ms.is_some() { FLAG_EVENT } else { 0 };
        flags |= if origin.is_some() { FLAG_ORIGIN } else { 0 };
        flags |= if first_is_origin { FLAG_ORIGIN_IS_FIRST } else { 0 };
        flags |= if is_large { FLAG_LARGE } else { 0 };
        let body = &mut self.body;
        body.put_u8(KIND_MESSAGE);
        body.put_u8(flags);
        if let Some(event_ms) = event_ms {
            body.put_i64(event_ms);
        }
        if let Some(origin) = origin {
            body.put_u32(origin.table.0);
            body.put_u64(origin.seq);
            put_u16_length(body, &origin.key);
            body.put(&origin.key);
        }
        if is_large {
            self.put_large(payload, targets.len());
        } else {
            put_u32_length(body, payload.len());
            body.put(payload);
        }
        let body = &mut self.body;
        put_u32_length(body, targets.len());
        for (table, key, seq) in targets {
            self.targets.push(offset32(body.len()));
            body.put_u32(table.0);
            put_u16_length(body, key);
            body.put_u64(*seq);
            body.put(key);
        }
        Ok(())
    }

    fn keyed(
        &mut self,
        operation: KeyedOperation,
        table: TableId,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        check_key(key)?;
        check_payload(value)?;
        self.check_room(key.len() + value.len() + 12)?;
        self.keyed += 1;
        let body = &mut self.body;
        body.put_u8(KIND_KEYED);
        body.put_u8(operation as u8);
        body.put_u32(table.0);
        put_u16_length(body, key);
        body.put(key);
        put_u32_length(body, value.len());
        body.put(value);
        Ok(())
    }

    fn amendment(
        &mut self,
        table: TableId,
        key: &[u8],
        seq: u64,
        tag: u8,
        payload: &[u8],
    ) -> Result<()> {
        check_key(key)?;
        check_seq(seq)?;
        check_payload(payload)?;
        self.check_room(key.len() + payload.len() + 20)?;
        self.amendments += 1;
        let body = &mut self.body;
        body.put_u8(KIND_AMEND);
        body.put_u32(table.0);
        put_u16_length(body, key);
        body.put_u64(seq);
        body.put(key);
        put_u32_length(body, payload.len() + 1);
        body.put_u8(tag);
        body.put(payload);
        Ok(())
    }

    /// Keeps every offset inside 32 bits; the exact limit of the store is checked at commit.
    fn check_room(&self, more: usize) -> Result<()> {
        let value = (self.body.len() + more) as u64;
        let limit = limits::BATCH_BYTES_MAX as u64 * 2;
        if value > limit {
            return Err(Error::TooLarge { what: "batch bytes", value, limit });
        }
        Ok(())
    }
}

pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() < limits::KEY_LENGTH_MIN {
        return Err(Error::invalid("an empty key or timeline id"));
    }
    if key.len() > limits::KEY_LENGTH_MAX {
        return Err(Error::TooLarge {
            what: "key length",
            value: key.len() as u64,
            limit: limits::KEY_LENGTH_MAX as u64,
        });
    }
    Ok(())
}

fn check_seq(seq: u64) -> Result<()> {
    if seq == 0 || seq > limits::SEQ_MAX {
        let limit = limits::SEQ_MAX;
        return Err(Error::TooLarge { what: "sequence id", value: seq, limit });
    }
    Ok(())
}

fn check_payload(payload: &[u8]) -> Result<()> {
    if payload.len() > limits::PAYLOAD_LENGTH_MAX {
        return Err(Error::TooLarge {
            what: "payload length",
            value: payload.len() as u64,
            limit: limits::PAYLOAD_LENGTH_MAX as u64,
        });
    }
    Ok(())
}

fn put_u16_length(body: &mut Vec<u8>, key: &[u8]) {
    body.put_u16(u16::try_from(key.len()).expect("key lengths are checked"));
}

fn put_u32_length(body: &mut Vec<u8>, length: usize) {
    body.put_u32(u32::try_from(length).expect("batches are far below 4 GiB"));
}

fn offset32(offset: usize) -> u32 {
    u32::try_from(offset).expect("batches are far below 4 GiB")
}
