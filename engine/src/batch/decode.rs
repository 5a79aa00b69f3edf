//! Reading a frame body back: by the leader, the memtable, recovery, the dump tool. The bytes may
//! come from the file, so nothing is believed before it is checked.

use super::{
    FLAG_EVENT, FLAG_LARGE, FLAG_ONE_TARGET, FLAG_ORIGIN, FLAG_ORIGIN_IS_FIRST, FLAG_OWN_TTL,
    FLAG_WIDE, KIND_AMEND, KIND_KEYED, KIND_MARK, KIND_MESSAGE, KeyedOperation,
};
use crate::amendment;
use crate::codec::{DecodeError, Decoder, take_varint};
use crate::entry::{OriginRef, TableId};
use crate::limits;
use crate::marks::{MarkKey, MarkKind, TimelineMarks};
use crate::segment::LargePayload;
use std::ops::Range;

type Result<T> = std::result::Result<T, DecodeError>;

/// Fewest bytes of a target record, which has a key of one byte.
const TARGET_BYTES_MIN: usize = 7;

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
    /// Whether seqs are written in 8 bytes.
    pub(super) wide: bool,
    /// The first target, and the offset of its key.
    first: (Target<'a>, usize),
    /// In front of the second target.
    rest: Decoder<'a>,
}

impl<'a> Message<'a> {
    /// The targets, in order, each with the offset of its key in the body.
    pub(crate) fn targets_placed(&self) -> impl Iterator<Item = (Target<'a>, usize)> + use<'a> {
        let mut decoder = self.rest.clone();
        let wide = self.wide;
        let rest = (1..self.target_count)
            .map(move |_| placed_target(&mut decoder, wide).expect("checked by decode"));
        std::iter::once(self.first).chain(rest)
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
    origin: Option<OriginRef<'a>>,
    /// The first target, where that is the origin of the others.
    first: Option<OriginRef<'a>>,
}

impl<'a> MessageRef<'a> {
    /// The origin of all its entries, or of all but that of the first target.
    pub(crate) fn shared_origin(&self) -> Option<OriginRef<'a>> {
        self.origin.or(self.first)
    }

    /// Whether the entry of this message at `place` is the origin of the others. The timeline alone
    /// does not tell: it may be among the other targets once more.
    pub(crate) fn is_origin(&self, place: OriginRef<'_>) -> bool {
        self.first.is_some_and(|first| first == place)
    }

    /// The origin of the entry of this message at `place`. The first target of a fan-out has none:
    /// it is the origin.
    pub(crate) fn origin(&self, place: OriginRef<'_>) -> Option<OriginRef<'a>> {
        self.origin.or(self.first.filter(|first| *first != place))
    }
}

/// The records of a body, front to back. Stops after the first error.
pub(crate) fn decode(body: &[u8]) -> impl Iterator<Item = Result<Op<'_>>> {
    decode_placed(body).map(|placed| placed.map(|(_, op)| op))
}

/// The same, each with its place in the body.
pub(crate) fn decode_placed(body: &[u8]) -> impl Iterator<Item = Result<(Range<usize>, Op<'_>)>> {
    let mut decoder = Decoder::new(body);
    let mut index = 0;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || decoder.is_empty() {
            return None;
        }
        let start = decoder.position();
        let op = next(&mut decoder, index).map(|op| (start..decoder.position(), op));
        index += 1;
        failed = op.is_err();
        Some(op)
    })
}

/// The message record at `offset` of a body that [`decode`] has accepted.
pub(crate) fn message_at(body: &[u8], offset: usize) -> Result<MessageRef<'_>> {
    let mut decoder = Decoder::new(body);
    decoder.take(offset, "message offset")?;
    let header = Header::take(&mut decoder)?;
    let first = match header.has(FLAG_ORIGIN_IS_FIRST) {
        true => Some(target(&mut decoder, header.has(FLAG_WIDE))?.place()),
        false => None,
    };
    let Header { event_ms, ttl_ms, content, origin, .. } = header;
    Ok(MessageRef { event_ms, ttl_ms, content, origin, first })
}

/// The payload of the message record at `offset` of a body that [`decode`] has accepted, if the
/// record has nothing else that its entries share.
pub(crate) fn plain_payload(body: &[u8], offset: usize) -> Option<&[u8]> {
    let record = body.get(offset..)?;
    let [flags, rest @ ..] = record else { return None };
    if flags & !(FLAG_ONE_TARGET | FLAG_WIDE) != KIND_MESSAGE {
        return None;
    }
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

/// The target record at `offset` of a body built by a batch, and the offset of its key.
#[inline]
pub(super) fn target_at(body: &[u8], offset: usize, wide: bool) -> (Target<'_>, usize) {
    let mut decoder = Decoder::new(&body[offset..]);
    let (target, key) = placed_target(&mut decoder, wide).expect("the batch wrote this record");
    (target, offset + key)
}

fn next<'a>(decoder: &mut Decoder<'a>, index: u32) -> Result<Op<'a>> {
    let mut ahead = decoder.clone();
    match ahead.u8("record kind")? {
        KIND_MESSAGE.. => message(decoder).map(Op::Message),
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

/// A message record up to its targets.
struct Header<'a> {
    flags: u8,
    event_ms: Option<i64>,
    ttl_ms: Option<u64>,
    origin: Option<OriginRef<'a>>,
    content: Content,
    target_count: usize,
}

impl<'a> Header<'a> {
    /// Reads it; the decoder then stands at the first target.
    #[inline]
    fn take(decoder: &mut Decoder<'a>) -> Result<Header<'a>> {
        let invalid = decoder.error("message flags");
        let flags = decoder.u8("record kind")?;
        if flags & KIND_MESSAGE == 0 {
            return Err(DecodeError { what: "record kind", ..invalid });
        }
        if flags & (FLAG_ORIGIN | FLAG_ORIGIN_IS_FIRST) == FLAG_ORIGIN | FLAG_ORIGIN_IS_FIRST {
            return Err(DecodeError { what: "two origins", ..invalid });
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
            _ => Some(target(decoder, true)?.place()),
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
        let invalid = decoder.error("target count");
        let target_count = match flags & FLAG_ONE_TARGET {
            0 => take_length(decoder, "target count")?,
            _ => 1,
        };
        // One target has one form.
        let counted = flags & FLAG_ONE_TARGET == 0;
        if counted && !(2..=decoder.remaining() / TARGET_BYTES_MIN).contains(&target_count) {
            return Err(invalid);
        }
        Ok(Header { flags, event_ms, ttl_ms, origin, content, target_count })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn message<'a>(decoder: &mut Decoder<'a>) -> Result<Message<'a>> {
    let offset = decoder.position();
    let header = Header::take(decoder)?;
    let wide = header.has(FLAG_WIDE);
    let large = match header.content {
        Content::Inline(_) => None,
        Content::Large(large) => Some(large),
    };
    let first = placed_target(decoder, wide)?;
    let rest = decoder.clone();
    for _ in 1..header.target_count {
        target(decoder, wide)?;
    }
    let Header { ttl_ms, target_count, .. } = header;
    Ok(Message { offset, ttl_ms, target_count, large, wide, first, rest })
}

impl<'a> Target<'a> {
    fn place(self) -> OriginRef<'a> {
        let Target { table, key, seq } = self;
        OriginRef { table, key, seq }
    }
}

/// Reads a target; gives the offset of its key, too.
#[inline]
fn placed_target<'a>(decoder: &mut Decoder<'a>, wide: bool) -> Result<(Target<'a>, usize)> {
    let target = target(decoder, wide)?;
    Ok((target, decoder.position() - target.key.len()))
}

/// Reads a target, whose seq has 8 bytes where it is wide, else 4.
#[inline]
fn target<'a>(decoder: &mut Decoder<'a>, wide: bool) -> Result<Target<'a>> {
    let seq = match wide {
        true => decoder.u64("target seq")?,
        false => u64::from(decoder.u32("target seq")?),
    };
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
#[inline]
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
    let target = target(decoder, true)?;
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
