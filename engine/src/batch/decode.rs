//! Reading a frame body back: by the leader, the memtable, recovery, the dump tool. The bytes may
//! come from the file, so nothing is believed before it is checked.

use super::{
    FLAG_EVENT, FLAG_LARGE, FLAG_ORIGIN, FLAG_ORIGIN_IS_FIRST, FLAG_OWN_TTL, KIND_AMEND,
    KIND_KEYED, KIND_MARK, KIND_MESSAGE, KeyedOperation,
};
use crate::amendment;
use crate::codec::{DecodeError, Decoder, take_varint};
use crate::entry::{OriginRef, TableId};
use crate::limits;
use crate::marks::{MarkKey, MarkKind, TimelineMarks};
use crate::segment::LargePayload;
use std::ops::Range;

type Result<T> = std::result::Result<T, DecodeError>;

/// Fewest bytes of a target record before its key.
const TARGET_HEADER_MIN: usize = 10;

/// One record of a frame body.
#[derive(Debug, Clone)]
pub(crate) enum Op<'a> {
    Message(Message<'a>),
    Keyed {
        /// Index of the record in its batch: later records win.
        index: u32,
        operation: KeyedOperation,
        table: TableId,
        /// Range of the key in the body.
        key: Range<usize>,
        /// Range of the value in the body.
        value: Range<usize>,
    },
    Amend {
        /// Index of the record in its batch: later records win.
        index: u32,
        /// The entry that is amended.
        target: Target<'a>,
        /// Range of the value in the body, see `amendment.rs`.
        value: Range<usize>,
    },
    Mark {
        /// Index of the record in its batch: later records win.
        index: u32,
        mark: Mark<'a>,
    },
}

/// A mark record: a write to the mark table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    /// The timeline.
    pub(crate) table: TableId,
    pub(crate) key: &'a [u8],
    pub(crate) kind: MarkKind,
    pub(crate) from: u64,
    /// Range of the value in the body, see `marks/`.
    pub(crate) value: Range<usize>,
}

impl Mark<'_> {
    /// Its key in the mark table.
    pub(crate) fn stored_key(&self) -> Vec<u8> {
        let Mark { table, key: id, kind, from, .. } = *self;
        MarkKey { table, id, kind, from }.encode()
    }
}

/// A message record: one payload and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Message<'a> {
    /// Offset of the record in the body.
    pub(crate) offset: usize,
    /// The time to live that its entries have of their own.
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) target_count: usize,
    /// Where the payload lies, if not in the body.
    pub(crate) large: Option<LargePayload>,
    targets: Decoder<'a>,
}

impl<'a> Message<'a> {
    /// The targets, in order, each with the offset of its key in the body.
    pub(crate) fn targets_placed(&self) -> impl Iterator<Item = (Target<'a>, usize)> + use<'a> {
        let mut decoder = self.targets.clone();
        (0..self.target_count).map(move |_| {
            let target = target(&mut decoder).expect("checked by decode");
            (target, decoder.position() - target.key.len())
        })
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) table: TableId,
    pub(crate) key: &'a [u8],
    /// 0 until assigned.
    pub(crate) seq: u64,
}

/// The payload of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Its range in the body.
    Inline(Range<usize>),
    /// It has an extent of its own.
    Large(LargePayload),
}

/// What all entries of one message share, found again from the record's offset.
#[derive(Debug, Clone)]
pub(crate) struct MessageRef<'a> {
    pub(crate) event_ms: Option<i64>,
    /// The time to live that the entries have of their own.
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) content: Content,
    flags: u8,
    origin: Option<(TableId, u64, &'a [u8])>,
    first: Target<'a>,
}

impl<'a> MessageRef<'a> {
    /// The origin of all its entries, or of all but that of the first target.
    pub(crate) fn shared_origin(&self) -> Option<OriginRef<'a>> {
        if let Some((table, seq, key)) = self.origin {
            return Some(OriginRef { table, seq, key });
        }
        let Target { table, key, seq } = self.first;
        (self.flags & FLAG_ORIGIN_IS_FIRST != 0).then_some(OriginRef { table, key, seq })
    }

    /// Whether the entry of this message at `place` is the origin of the others. The timeline alone
    /// does not tell: it may be among the other targets once more.
    pub(crate) fn is_origin(&self, place: OriginRef<'_>) -> bool {
        let Target { table, key, seq } = self.first;
        self.flags & FLAG_ORIGIN_IS_FIRST != 0 && place == OriginRef { table, key, seq }
    }

    /// The origin of the entry of this message at `place`. The first target of a fan-out has none:
    /// it is the origin.
    pub(crate) fn origin(&self, place: OriginRef<'_>) -> Option<OriginRef<'a>> {
        if let Some((table, seq, key)) = self.origin {
            return Some(OriginRef { table, seq, key });
        }
        if self.flags & FLAG_ORIGIN_IS_FIRST == 0 || self.is_origin(place) {
            return None;
        }
        let Target { table, key, seq } = self.first;
        Some(OriginRef { table, key, seq })
    }
}

/// The records of a body, front to back. Stops after the first error.
pub(crate) fn decode(body: &[u8]) -> impl Iterator<Item = Result<Op<'_>>> {
    let mut decoder = Decoder::new(body);
    let mut index = 0;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || decoder.is_empty() {
            return None;
        }
        let op = next(&mut decoder, index);
        index += 1;
        failed = op.is_err();
        Some(op)
    })
}

/// The message record at `offset` of a body that [`decode`] has accepted.
pub(crate) fn message_at(body: &[u8], offset: usize) -> Result<MessageRef<'_>> {
    let mut decoder = Decoder::new(body);
    decoder.take(offset, "message offset")?;
    message_ref(&mut decoder).map(|(message, _)| message)
}

/// The payload of the message record at `offset` of a body that [`decode`] has accepted, if the
/// record has nothing else that its entries share.
pub(crate) fn plain_payload(body: &[u8], offset: usize) -> Option<&[u8]> {
    let record = body.get(offset..)?;
    let [KIND_MESSAGE, 0, rest @ ..] = record else { return None };
    match rest {
        // Lengths of one byte and of two: most messages.
        [length @ 0..0x80, rest @ ..] => rest.get(..usize::from(*length)),
        [low, high @ 0..0x80, rest @ ..] => {
            rest.get(..usize::from(low & 0x7f) | usize::from(*high) << 7)
        }
        _ => {
            let mut decoder = Decoder::new(rest);
            let length = take_length(&mut decoder, "payload length").ok()?;
            decoder.take(length, "payload").ok()
        }
    }
}

/// The mark record at `offset` of a body built by a batch.
pub(super) fn mark_at(body: &[u8], offset: usize) -> Mark<'_> {
    let mut decoder = Decoder::new(body);
    let skipped = decoder.take(offset + 1, "mark offset").and_then(|_| mark(&mut decoder));
    skipped.expect("the batch wrote this record")
}

/// The target record at `offset` of a body built by a batch.
pub(super) fn target_at(body: &[u8], offset: usize) -> Target<'_> {
    let mut decoder = Decoder::new(&body[offset..]);
    target(&mut decoder).expect("the batch wrote this record")
}

fn next<'a>(decoder: &mut Decoder<'a>, index: u32) -> Result<Op<'a>> {
    let offset = decoder.position();
    let mut ahead = decoder.clone();
    match ahead.u8("record kind")? {
        KIND_MESSAGE => {
            let (MessageRef { ttl_ms, content, .. }, target_count) = message_ref(decoder)?;
            let large = match content {
                Content::Inline(_) => None,
                Content::Large(large) => Some(large),
            };
            let targets = decoder.clone();
            for _ in 0..target_count {
                target(decoder)?;
            }
            Ok(Op::Message(Message { offset, ttl_ms, target_count, large, targets }))
        }
        KIND_KEYED => {
            *decoder = ahead;
            keyed(decoder, index)
        }
        KIND_AMEND => {
            *decoder = ahead;
            amend(decoder, index)
        }
        KIND_MARK => {
            *decoder = ahead;
            Ok(Op::Mark { index, mark: mark(decoder)? })
        }
        _ => Err(decoder.error("record kind")),
    }
}

/// Reads a message record up to its targets; the decoder then stands at the first target.
fn message_ref<'a>(decoder: &mut Decoder<'a>) -> Result<(MessageRef<'a>, usize)> {
    if decoder.u8("record kind")? != KIND_MESSAGE {
        return Err(decoder.error("record kind"));
    }
    let flags = decoder.u8("message flags")?;
    let known = FLAG_EVENT | FLAG_ORIGIN | FLAG_ORIGIN_IS_FIRST | FLAG_OWN_TTL | FLAG_LARGE;
    if flags & !known != 0 {
        return Err(decoder.error("message flags"));
    }
    if flags & FLAG_ORIGIN != 0 && flags & FLAG_ORIGIN_IS_FIRST != 0 {
        return Err(decoder.error("two origins"));
    }
    let event_ms = match flags & FLAG_EVENT {
        0 => None,
        _ => Some(decoder.i64("event time")?),
    };
    let invalid = decoder.error("time to live of a message");
    let ttl_ms = match flags & FLAG_OWN_TTL {
        0 => None,
        _ => Some(take_varint(decoder, "time to live of a message")?),
    };
    if ttl_ms == Some(0) {
        return Err(invalid);
    }
    let origin = match flags & FLAG_ORIGIN {
        0 => None,
        _ => {
            let Target { table, key, seq } = target(decoder)?;
            Some((table, seq, key))
        }
    };
    let content = match flags & FLAG_LARGE {
        0 => {
            let length = take_length(decoder, "payload length")?;
            let start = decoder.position();
            decoder.take(length, "payload")?;
            Content::Inline(start..decoder.position())
        }
        _ => Content::Large(LargePayload::decode(decoder)?),
    };
    let target_count = take_length(decoder, "target count")?;
    if target_count == 0 || target_count > decoder.remaining() / TARGET_HEADER_MIN {
        return Err(decoder.error("target count"));
    }
    let first = target(&mut decoder.clone())?;
    Ok((MessageRef { event_ms, ttl_ms, content, flags, origin, first }, target_count))
}

fn target<'a>(decoder: &mut Decoder<'a>) -> Result<Target<'a>> {
    let seq = decoder.u64("target seq")?;
    let invalid = decoder.error("target table");
    let table = u32::try_from(take_varint(decoder, "target table")?).map_err(|_| invalid)?;
    let table = TableId(table);
    let length = take_length(decoder, "key length")?;
    if !(limits::KEY_LENGTH_MIN..=limits::KEY_LENGTH_MAX).contains(&length) {
        return Err(decoder.error("key length"));
    }
    Ok(Target { table, seq, key: decoder.take(length, "target key")? })
}

/// A varint that counts bytes or records of the body.
fn take_length(decoder: &mut Decoder<'_>, what: &'static str) -> Result<usize> {
    let error = decoder.error(what);
    usize::try_from(take_varint(decoder, what)?).map_err(|_| error)
}

fn keyed<'a>(decoder: &mut Decoder<'a>, index: u32) -> Result<Op<'a>> {
    let operation = decoder.u8("keyed operation")?;
    let operation = KeyedOperation::from_byte(operation).ok_or(decoder.error("keyed operation"))?;
    if operation == KeyedOperation::Mark {
        return Err(decoder.error("keyed operation"));
    }
    let table = TableId(decoder.u32("keyed table")?);
    let key_length = key(decoder)?.len();
    let key = decoder.position() - key_length..decoder.position();
    let value_length = decoder.u32("value length")? as usize;
    let start = decoder.position();
    decoder.take(value_length, "value")?;
    Ok(Op::Keyed { index, operation, table, key, value: start..decoder.position() })
}

fn amend<'a>(decoder: &mut Decoder<'a>, index: u32) -> Result<Op<'a>> {
    let invalid = decoder.error("amended entry");
    let target = target(decoder)?;
    if target.seq == 0 || target.seq > limits::SEQ_MAX {
        return Err(invalid);
    }
    let length = decoder.u32("amendment length")? as usize;
    let start = decoder.position();
    let invalid = decoder.error("amendment");
    let value = decoder.take(length, "amendment")?;
    amendment::decode_written(value).ok_or(invalid)?;
    Ok(Op::Amend { index, target, value: start..decoder.position() })
}

/// Reads a mark record behind its first byte.
fn mark<'a>(decoder: &mut Decoder<'a>) -> Result<Mark<'a>> {
    let invalid = decoder.error("mark");
    let kind = MarkKind::from_byte(decoder.u8("mark kind")?).ok_or(invalid)?;
    let table = TableId(decoder.u32("mark table")?);
    let length = decoder.u16("key length")? as usize;
    let from = decoder.u64("mark from")?;
    if !(limits::KEY_LENGTH_MIN..=limits::KEY_LENGTH_MAX).contains(&length) {
        return Err(decoder.error("key length"));
    }
    let key = decoder.take(length, "mark key")?;
    let start = decoder.position();
    let value = decoder.take(kind.value_bytes(), "mark value")?;
    let possible = match kind {
        MarkKind::Timeline => from == 0 && TimelineMarks::decode(value).is_ok(),
        MarkKind::Range => (1..=limits::SEQ_MAX).contains(&from),
    };
    if !possible || table.is_engine_owned() {
        return Err(invalid);
    }
    Ok(Mark { table, key, kind, from, value: start..decoder.position() })
}

fn key<'a>(decoder: &mut Decoder<'a>) -> Result<&'a [u8]> {
    let length = decoder.u16("key length")? as usize;
    if !(limits::KEY_LENGTH_MIN..=limits::KEY_LENGTH_MAX).contains(&length) {
        return Err(decoder.error("key length"));
    }
    decoder.take(length, "key")
}
