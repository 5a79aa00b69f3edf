//! `WriteBatch`: what one commit writes, atomically, over any timelines and tables.
//!
//! The batch's bytes *are* the frame body in the WAL, and the memtable keeps a copy of them as they
//! are. Only the leader changes them, before they are written: it fills in the sequence ids.
//!
//! ```text
//! body    = op*                                            all integers little-endian
//! message: u8 kind = 128 | flags | [i64 event_ms] | [ttl_ms] | [origin] | content
//!          | [target count] | target*
//! content: payload length | payload, or with flag 16 where it lies (`segment/large.rs`)
//! origin:  wide target                                     flag 2
//! target:  u32 seq | table | key length | key              seq is 0 until the leader assigns it
//! wide:    the same with u64 seq                           flag 64
//! keyed:   u8 kind = 2 | u8 operation | u32 table | u16 key length | key | u32 value length
//!          | value
//! amend:   u8 kind = 3 | wide target | u32 value length | value
//! value:   u8 1 replaced, 2 retracted | payload
//! mark:    u8 kind = 4 | u8 mark kind | u32 table | u16 key length | u64 from | key | value
//! flags:   1 event time   2 origin   4 target 0 is the origin of all other targets
//!          8 time to live of the entries' own, not 0   16 the payload has an extent of its own
//!          32 one target, no count   64 targets are wide: in all messages of a batch or in none
//! Where a message says no width, it is a varint.
//! kinds:   5 blob, 6 feed slot: reserved
//! ```

mod decode;
mod large;
mod marks;
mod message;
#[cfg(test)]
mod tests;
mod wide;

use crate::amendment::{TAG_REPLACED, TAG_RETRACTED};
use crate::codec::{Encode, put_varint};
use crate::entry::{Origin, TableId};
use crate::error::{Error, Result};
use crate::limits;
pub(crate) use decode::{
    Content, Message, MessageRef, Op, Target, decode, decode_placed, message_at, plain_payload,
};
use large::Large;
use marks::MarkPlace;
pub(crate) use message::Appends;
use message::TargetPlace;
use std::collections::BTreeSet;
use std::time::Duration;

/// The bit that makes the first byte of a record that of a message; the others are its flags.
pub(crate) const KIND_MESSAGE: u8 = 128;
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
/// The entries have a time to live of their own.
pub(crate) const FLAG_OWN_TTL: u8 = 8;
/// The payload has an extent of its own, which the message names.
pub(crate) const FLAG_LARGE: u8 = 16;
/// The message has one target, and no count of them.
pub(crate) const FLAG_ONE_TARGET: u8 = 32;
/// The seqs of targets have 8 bytes, else 4.
pub(crate) const FLAG_WIDE: u8 = 64;

/// What is done to a key of a keyed table. The discriminants are persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyedOperation {
    /// The value replaces what was there.
    Put = 1,
    /// The key is gone.
    Delete = 2,
    /// The value, an i64 of 8 little-endian bytes, is added (wrapping) to the counter there. What
    /// is not 8 bytes long, or absent, counts as 0. A value that has expired by the table's time to
    /// live is still there for this: it is not returned, but what is added is added to it. Delete
    /// it first where a counter should begin anew.
    Add = 3,
    /// The larger of the counter there and the value, both i64, stays. A value that is not 8 bytes
    /// long, or none, gives way. An expired value counts, as for `Add`.
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
    /// The timeline has no entry of this sequence id or a higher one, and had none: the newest one
    /// is right below it.
    NextSeq {
        /// A timeline table.
        table: TableId,
        /// The encoded timeline id.
        key: Box<[u8]>,
        /// The sequence id behind the newest entry: 1 for a timeline that was never written. Where
        /// power was lost since that entry, the one that the next entry will get is as good.
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

/// What may be said of an entry beside its payload; see [`WriteBatch::append_with`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppendOptions<'a> {
    /// When it happened, in milliseconds since 1970 (UTC).
    pub event_ms: Option<i64>,
    /// A time to live of its own, in whole milliseconds, from 1 on. It only shortens: the entry is
    /// shown until the earliest of what its table, its timeline and it itself keep. It cannot be
    /// taken back. Expired, it goes on counting among those that `keep_last` keeps, its sequence id
    /// is never given again, and [`GapReason::Expired`](crate::GapReason::Expired) tells of it.
    pub ttl: Option<Duration>,
    /// The entry of which these are copies.
    pub origin: Option<&'a Origin>,
    /// Target 0 is the origin of all other targets; not beside `origin`.
    pub first_is_origin: bool,
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
    /// Where each target record lies, in the order of the calls.
    targets: Vec<TargetPlace>,
    /// Whether targets are wide.
    wide: bool,
    /// Whether there is anything but messages that decoding tells no more of than their targets.
    mixed: bool,
    keyed: u32,
    amendments: u32,
    /// Mark records, in the order of the calls.
    marks: Vec<MarkPlace>,
    /// Tables of entries with a time to live of their own.
    own_ttl: BTreeSet<TableId>,
    /// Payloads that are not in the body, in the order of the calls.
    large: Vec<Large>,
    /// Other than [`limits::LARGE_PAYLOAD_BYTES`].
    large_from: Option<usize>,
    preconditions: Vec<Precondition>,
    /// See [`WriteBatch::input_bytes`].
    input_bytes: u64,
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
        if event_ms.is_none() && !self.is_large(payload) {
            return self.plain(table, key, payload);
        }
        let options = AppendOptions { event_ms, ..AppendOptions::default() };
        self.message(&[(table, key, 0)], payload, &options)
    }

    /// Appends messages, each a timeline id and a payload, to timelines of one table: what
    /// [`WriteBatch::append`] does for one. Quicker where there are many, since memory is asked for
    /// several payloads at a time.
    ///
    /// ```
    /// use tidelog_engine::{TableId, WriteBatch};
    /// let mut batch = WriteBatch::new();
    /// batch.append_all(TableId(16), [("alice", &b"hello"[..]), ("bob", b"hi")])?;
    /// assert_eq!(batch.append_count(), 2);
    /// # Ok::<(), tidelog_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; the batch is unchanged.
    pub fn append_all<'a, Key: AsRef<[u8]>>(
        &mut self,
        table: TableId,
        messages: impl IntoIterator<Item = (Key, &'a [u8])>,
    ) -> Result<()> {
        self.plain_all(table, messages.into_iter())
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
        let options = AppendOptions { event_ms, ..AppendOptions::default() };
        self.message(&[(table, key, seq)], payload, &options)
    }

    /// Appends `payload` to one timeline, or to many: it is stored once. What may be said of it
    /// beside that is in `options`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidelog_engine::{AppendOptions, TableId, WriteBatch};
    /// let mut batch = WriteBatch::new();
    /// let ttl = Some(Duration::from_secs(60));
    /// let options = AppendOptions { ttl, ..AppendOptions::default() };
    /// batch.append_with([(TableId(16), &b"alice"[..])], b"is typing", &options)?;
    /// # Ok::<(), tidelog_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`WriteBatch::append`]; also when there is no target, for a time to live below a
    /// millisecond or above `u64::MAX` of them, and for an origin beside `first_is_origin`.
    pub fn append_with<'a>(
        &mut self,
        targets: impl IntoIterator<Item = (TableId, &'a [u8])>,
        payload: &[u8],
        options: &AppendOptions<'_>,
    ) -> Result<()> {
        let targets: Vec<_> = targets.into_iter().map(|(table, key)| (table, key, 0)).collect();
        self.message(&targets, payload, options)
    }

    /// As [`WriteBatch::append_with`] to one timeline, with a sequence id given by the caller: for
    /// tables of [`Sequence::Given`](crate::Sequence::Given) only.
    ///
    /// # Errors
    /// As [`WriteBatch::append_with`]; also for seq 0 and for one above the largest.
    pub fn append_at_with(
        &mut self,
        table: TableId,
        key: &[u8],
        seq: u64,
        payload: &[u8],
        options: &AppendOptions<'_>,
    ) -> Result<()> {
        check_seq(seq)?;
        self.message(&[(table, key, seq)], payload, options)
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
        let options = AppendOptions { event_ms, origin, first_is_origin, ttl: None };
        self.append_with(targets, payload, &options)
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
    /// a payload again. Earlier payloads stay readable as versions, and in the file, unless the
    /// table has an erasure deadline: see [`TableOptions::erase_after`](crate::TableOptions).
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

    /// Bytes of payloads, values, timeline ids and keys, as they were given: a payload that is
    /// fanned out once, the id of each target.
    pub(crate) fn input_bytes(&self) -> u64 {
        self.input_bytes
    }

    pub(crate) fn preconditions(&self) -> &[Precondition] {
        &self.preconditions
    }

    /// Tables that get entries with a time to live of their own.
    pub(crate) fn own_ttl_tables(&self) -> &BTreeSet<TableId> {
        &self.own_ttl
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

    #[cfg(test)]
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
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
        self.mixed = true;
        self.keyed += 1;
        self.input_bytes += (key.len() + value.len()) as u64;
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
        self.mixed = true;
        self.amendments += 1;
        self.input_bytes += (key.len() + payload.len()) as u64;
        let body = &mut self.body;
        body.put_u8(KIND_AMEND);
        put_target(body, table, key, seq);
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

/// A wide target.
fn put_target(body: &mut Vec<u8>, table: TableId, key: &[u8], seq: u64) {
    body.put_u64(seq);
    put_timeline(body, table, key);
}

/// What a target has behind its seq.
fn put_timeline(body: &mut Vec<u8>, table: TableId, key: &[u8]) {
    put_varint(body, u64::from(table.0));
    put_varint(body, key.len() as u64);
    body.put(key);
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
