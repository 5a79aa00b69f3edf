//! The messages of a batch: how they are written to its body, and what the leader asks and changes
//! of their targets.

use super::decode::{self, Target};
use super::{
    AppendOptions, FLAG_EVENT, FLAG_LARGE, FLAG_ONE_TARGET, FLAG_ORIGIN, FLAG_ORIGIN_IS_FIRST,
    FLAG_OWN_TTL, FLAG_WIDE, KIND_MESSAGE, WriteBatch, check_key, check_payload, offset32,
    put_target, put_timeline,
};
use crate::codec::{Encode, VARINT_SIZE_MAX, put_varint};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits::{self, KEY_LENGTH_MAX};
use crate::segment::LARGE_SIZE;
use std::time::Duration;

/// Most bytes of a message beside its payload, origin and targets.
const MESSAGE_HEADER_MAX: usize = 1 + 8 + 3 * VARINT_SIZE_MAX;
/// Most bytes of a target between its seq and its key: a table id of 32 bits, and the length of a
/// key, as varints.
const TIMELINE_HEADER_MAX: usize = 5 + 2;
/// The same with the seq.
const TARGET_HEADER_MAX: usize = 8 + TIMELINE_HEADER_MAX;
const _: () = assert!(KEY_LENGTH_MAX < 1 << 14);

/// Payloads that are asked of memory together.
const TOGETHER: usize = 64;
/// Bytes of a payload that are asked for ahead: behind them the processor sees where it goes on.
const FETCHED_BYTES: usize = 256;
/// A line of the processor's cache.
const LINE_BYTES: usize = 64;

/// Where a target lies in its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TargetPlace {
    /// Offset of its message.
    pub(crate) message: u32,
    /// Offset of the target itself.
    pub(super) target: u32,
}

impl TargetPlace {
    /// The target, and the offset of its key.
    pub(crate) fn target(self, body: &[u8], wide: bool) -> (Target<'_>, usize) {
        decode::target_at(body, self.target as usize, wide)
    }
}

/// A body of plain messages, with what its batch knows of it: so that it need not be decoded.
#[derive(Debug)]
pub(crate) struct Appends {
    pub(crate) body: Vec<u8>,
    pub(crate) targets: Vec<TargetPlace>,
    /// Whether the targets are wide.
    pub(crate) wide: bool,
}

impl WriteBatch {
    /// The body, and where its targets lie, where there is nothing but messages of which decoding
    /// tells no more; or else the body alone.
    pub(crate) fn into_appends(self) -> std::result::Result<Appends, Vec<u8>> {
        match self.mixed {
            true => Err(self.body),
            false => Ok(Appends { body: self.body, targets: self.targets, wide: self.wide }),
        }
    }

    /// Target `index`, in the order of the calls.
    pub(crate) fn target(&self, index: usize) -> Target<'_> {
        self.targets[index].target(&self.body, self.wide).0
    }

    /// The targets, in the order of the calls.
    pub(crate) fn targets(&self) -> impl ExactSizeIterator<Item = Target<'_>> {
        self.targets.iter().map(|place| place.target(&self.body, self.wide).0)
    }

    /// The sequence id of target `index`, 0 until it is assigned.
    pub(crate) fn seq(&self, index: usize) -> u64 {
        let seq = &self.body[self.targets[index].target as usize..];
        match self.wide {
            true => seq.first_chunk().map_or(0, |seq| u64::from_le_bytes(*seq)),
            false => seq.first_chunk().map_or(0, |seq| u64::from(u32::from_le_bytes(*seq))),
        }
    }

    /// The leader's one change: the sequence id of target `index`, which [`WriteBatch::holds_seq`].
    pub(crate) fn assign(&mut self, index: usize, seq: u64) {
        let place = self.targets[index].target as usize;
        match self.wide {
            true => self.body[place..place + 8].copy_from_slice(&seq.to_le_bytes()),
            false => {
                let seq = u32::try_from(seq).expect("the leader has asked whether it fits");
                self.body[place..place + 4].copy_from_slice(&seq.to_le_bytes());
            }
        }
    }

    /// Appends a message of a payload and one target, and nothing more.
    #[inline]
    pub(super) fn plain(&mut self, table: TableId, key: &[u8], payload: &[u8]) -> Result<()> {
        check_key(key)?;
        check_payload(payload)?;
        let bytes = MESSAGE_HEADER_MAX + TARGET_HEADER_MAX + key.len() + payload.len();
        self.check_room(bytes)?;
        let message = offset32(self.body.len());
        let body = &mut self.body;
        body.reserve(bytes);
        body.put_u8(KIND_MESSAGE | FLAG_ONE_TARGET | if self.wide { FLAG_WIDE } else { 0 });
        put_varint(body, payload.len() as u64);
        body.put(payload);
        self.targets.push(TargetPlace { message, target: offset32(body.len()) });
        match self.wide {
            true => body.put_u64(0),
            false => body.put_u32(0),
        }
        put_timeline(body, table, key);
        self.input_bytes += (key.len() + payload.len()) as u64;
        Ok(())
    }

    /// See [`WriteBatch::append_all`].
    pub(super) fn plain_all<'a, Key: AsRef<[u8]>>(
        &mut self,
        table: TableId,
        mut messages: impl Iterator<Item = (Key, &'a [u8])>,
    ) -> Result<()> {
        let before = (self.body.len(), self.targets.len(), self.large.len(), self.input_bytes);
        let mut together = Vec::with_capacity(TOGETHER);
        loop {
            together.extend(messages.by_ref().take(TOGETHER));
            if together.is_empty() {
                return Ok(());
            }
            if self.targets.len() == before.1 {
                self.reserve_like(&together, messages.size_hint().0);
            }
            fetch(together.iter().map(|(_, payload)| *payload));
            for (key, payload) in together.drain(..) {
                if let Err(error) = self.append(table, key.as_ref(), payload, None) {
                    self.body.truncate(before.0);
                    self.targets.truncate(before.1);
                    self.large.truncate(before.2);
                    self.input_bytes = before.3;
                    return Err(error);
                }
            }
        }
    }

    /// Makes room for these messages and for so many more like them, so that the body need not be
    /// moved as it grows.
    fn reserve_like<Key: AsRef<[u8]>>(&mut self, messages: &[(Key, &[u8])], more: usize) {
        let header = MESSAGE_HEADER_MAX + TARGET_HEADER_MAX;
        let bytes = |(key, payload): &(Key, &[u8])| header + key.as_ref().len() + payload.len();
        let bytes: usize = messages.iter().map(bytes).sum();
        let others = (bytes / messages.len()).saturating_mul(more);
        let bytes = bytes.saturating_add(others).min(limits::BATCH_BYTES_MAX);
        self.body.reserve(bytes);
        self.targets.reserve(messages.len().saturating_add(more).min(bytes / header));
    }

    pub(super) fn message(
        &mut self,
        targets: &[(TableId, &[u8], u64)],
        payload: &[u8],
        options: &AppendOptions<'_>,
    ) -> Result<()> {
        let AppendOptions { event_ms, ttl, origin, first_is_origin } = *options;
        let ttl_ms = ttl.map(own_ttl_ms).transpose()?;
        let is_large = self.is_large(payload);
        let wide = self.wide || targets.iter().any(|(_, _, seq)| !self.holds_seq(*seq));
        let bytes = check(targets, payload, options, (is_large, wide))?;
        self.check_room(bytes)?;
        if wide {
            self.widen();
        }
        let message = offset32(self.body.len());
        let mut flags = KIND_MESSAGE;
        flags |= if targets.len() == 1 { FLAG_ONE_TARGET } else { 0 };
        flags |= if self.wide { FLAG_WIDE } else { 0 };
        flags |= if event_ms.is_some() { FLAG_EVENT } else { 0 };
        flags |= if origin.is_some() { FLAG_ORIGIN } else { 0 };
        flags |= if first_is_origin { FLAG_ORIGIN_IS_FIRST } else { 0 };
        flags |= if ttl_ms.is_some() { FLAG_OWN_TTL } else { 0 };
        flags |= if is_large { FLAG_LARGE } else { 0 };
        let body = &mut self.body;
        // Once, and not by each of the fields.
        body.reserve(bytes);
        body.put_u8(flags);
        if let Some(event_ms) = event_ms {
            body.put_i64(event_ms);
        }
        if let Some(ttl_ms) = ttl_ms {
            put_varint(body, ttl_ms);
            self.mixed = true;
            self.own_ttl.extend(targets.iter().map(|(table, ..)| *table));
        }
        if let Some(origin) = origin {
            put_target(body, origin.table, &origin.key, origin.seq);
        }
        if is_large {
            self.put_large(payload, targets.len());
        } else {
            put_varint(body, payload.len() as u64);
            body.put(payload);
        }
        self.input_bytes += payload.len() as u64;
        self.put_targets(message, targets);
        Ok(())
    }

    /// Writes the targets of the message at an offset.
    fn put_targets(&mut self, message: u32, targets: &[(TableId, &[u8], u64)]) {
        let body = &mut self.body;
        if targets.len() > 1 {
            put_varint(body, targets.len() as u64);
        }
        for (table, key, seq) in targets {
            self.input_bytes += key.len() as u64;
            self.targets.push(TargetPlace { message, target: offset32(body.len()) });
            match self.wide {
                true => body.put_u64(*seq),
                false => body.put_u32(u32::try_from(*seq).expect("else it was made wide")),
            }
            put_timeline(body, *table, key);
        }
    }
}

/// Has memory bring the fronts of all of these payloads into the processor's cache: so that they do
/// not wait for each other, nor for what is done with the one before.
fn fetch<'a>(payloads: impl Iterator<Item = &'a [u8]>) {
    let lines = payloads.flat_map(|payload| {
        let front = &payload[..payload.len().min(FETCHED_BYTES)];
        front.iter().step_by(LINE_BYTES).chain(front.last())
    });
    std::hint::black_box(lines.fold(0, |sum, byte| sum ^ byte));
}

/// Whether a message can be; gives the most bytes that it takes.
fn check(
    targets: &[(TableId, &[u8], u64)],
    payload: &[u8],
    options: &AppendOptions<'_>,
    (is_large, wide): (bool, bool),
) -> Result<usize> {
    if targets.is_empty() {
        return Err(Error::invalid("a message needs at least one target"));
    }
    if options.first_is_origin && options.origin.is_some() {
        return Err(Error::invalid("a message has one origin: a given one, or its first target"));
    }
    check_payload(payload)?;
    let content_bytes = if is_large { LARGE_SIZE } else { payload.len() };
    let mut bytes = MESSAGE_HEADER_MAX + content_bytes;
    let seq_bytes = if wide { 8 } else { 4 };
    for (_, key, _) in targets {
        check_key(key)?;
        bytes += seq_bytes + TIMELINE_HEADER_MAX + key.len();
    }
    if let Some(origin) = options.origin {
        check_key(&origin.key)?;
        bytes += 8 + TIMELINE_HEADER_MAX + origin.key.len();
    }
    Ok(bytes)
}

/// A time to live in milliseconds.
fn own_ttl_ms(ttl: Duration) -> Result<u64> {
    match u64::try_from(ttl.as_millis()) {
        Ok(0) => Err(Error::invalid(format!(
            "the time to live of an entry is {ttl:?}, it must be at least 1 ms"
        ))),
        Ok(ttl_ms) => Ok(ttl_ms),
        Err(_) => Err(Error::invalid(format!(
            "the time to live of an entry is {ttl:?}, it must be at most {} ms",
            u64::MAX
        ))),
    }
}
