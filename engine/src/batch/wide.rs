//! How many bytes a sequence id of a batch has: 4, or 8 where one may need them.
//!
//! The leader writes sequence ids into the batch, whose bytes are fixed by then. So the batch is
//! made wide before: where the caller gives such an id, or where a timeline is so long that the
//! next two billion entries could need one.

use super::{FLAG_WIDE, Op, TargetPlace, WriteBatch, decode, offset32};

/// Bytes by which a wide target is longer.
const MORE: usize = 4;
/// A timeline that has come so far gets wide targets, long before it needs them: other batches may
/// come in front of this one.
const WIDE_FROM: u64 = 1 << 31;

impl WriteBatch {
    /// Whether a target has room for this sequence id.
    pub(crate) fn holds_seq(&self, seq: u64) -> bool {
        self.wide || u32::try_from(seq).is_ok()
    }

    /// Makes all targets wide where a timeline with one of these next sequence ids needs it.
    pub(crate) fn widen_for(&mut self, mut next_seqs: impl Iterator<Item = u64>) {
        if !self.wide && next_seqs.any(|next| next >= WIDE_FROM) {
            self.widen();
        }
    }

    /// Makes all targets wide: each gets four zero bytes behind its sequence id, and what lies
    /// behind it moves.
    pub(super) fn widen(&mut self) {
        if std::mem::replace(&mut self.wide, true) {
            return;
        }
        let messages = decode(&self.body).filter_map(|op| match op {
            Ok(Op::Message(message)) => Some(message.offset),
            _ => None,
        });
        let messages: Vec<usize> = messages.collect();
        for offset in messages {
            self.body[offset] |= FLAG_WIDE;
        }
        let narrow = std::mem::take(&mut self.body);
        self.body.reserve_exact(narrow.len() + self.targets.len() * MORE);
        let mut copied = 0;
        for target in &self.targets {
            let behind_seq = target.target as usize + 4;
            self.body.extend_from_slice(&narrow[copied..behind_seq]);
            self.body.extend_from_slice(&[0; MORE]);
            copied = behind_seq;
        }
        self.body.extend_from_slice(&narrow[copied..]);
        self.move_places();
    }

    /// Moves the noted offsets by what was put in front of them.
    fn move_places(&mut self) {
        let targets = &self.targets;
        let moved = |offset: u32| {
            let before = targets.partition_point(|place| place.target < offset);
            offset + offset32(MORE * before)
        };
        for mark in &mut self.marks {
            mark.move_to(moved);
        }
        for large in &mut self.large {
            large.move_to(moved);
        }
        let places = targets.iter().map(|place| TargetPlace {
            message: moved(place.message),
            target: moved(place.target),
        });
        self.targets = places.collect();
    }
}
