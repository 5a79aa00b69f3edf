//! The first stage of a flush: payloads that several entries share go into segments.
//!
//! ```text
//! memtable frames ──plan──► (home, message) sorted ──write──► segments, a reference a message
//!                                                                  │
//!                                the entries of the flush  ◄───────┘ looked up by message
//! ```
//! 1. Plan: every message with two or more targets whose bytes in an entry would be more than
//!    [`INLINE_BYTES_MAX`], and which are not in a segment since their commit. Its home is the
//!    table among its targets that keeps longest.
//! 2. Write: the messages of one home together, in commit order, in extents of exactly their size,
//!    none longer than an SSTable may be, or one record if that is more.
//!
//! # Invariants
//! 1. A step plans or writes about [`STEP_BYTES`], or one frame or record if that is more.
//! 2. Memory: 24 bytes a message that is shared.
//! 3. What was written belongs to the flush's pending outputs, so a failure gives it back.

use super::flush::{STEP_BYTES, Stepped};
use super::output::{OutputContext, PendingOutputs};
use crate::batch::Message;
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{ExtentGuard, ExtentWriter, Reservation};
use crate::limits::{BLOCK_SIZE, INLINE_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::memtable::{Memtable, MessagePlace};
use crate::segment::{FOOTER_SIZE, RecordRef, Reference, Segment, SegmentWriter, record_size};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of an origin in an entry, beside its key.
const ORIGIN_BYTES: usize = 14;

/// How long each table keeps its entries, in milliseconds; `u64::MAX` is for ever.
pub(super) type Keeps = BTreeMap<TableId, u64>;

/// A message that is to be stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    home: TableId,
    place: MessagePlace,
    bytes: u32,
}

/// A payload that was stored in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedPayload {
    place: MessagePlace,
    pub(super) reference: Reference,
    /// The record names an origin, which the entry of the origin itself has not.
    pub(super) has_origin: bool,
}

/// The payloads of one memtable that were stored in segments.
#[derive(Debug, Default)]
pub(super) struct SharedPayloads(Vec<SharedPayload>);

impl SharedPayloads {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the payload of a message lies, if it is shared.
    pub(super) fn find(&self, place: MessagePlace) -> Option<SharedPayload> {
        let found = self.0.binary_search_by_key(&place, |shared| shared.place).ok()?;
        Some(self.0[found])
    }
}

/// The segment being written: it ends before `end` of the plan.
struct Open {
    number: u64,
    writer: SegmentWriter,
    reservation: Reservation,
    end: usize,
}

/// See the module.
pub(super) struct SharingStage {
    memtable: Arc<Memtable>,
    keeps: Keeps,
    /// The next frame to be planned; `None` once all are.
    frame: Option<u32>,
    plan: Vec<Planned>,
    /// Planned messages that are written.
    position: usize,
    open: Option<Open>,
    written: Vec<SharedPayload>,
}

impl std::fmt::Debug for SharingStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharingStage")
            .field("planned", &self.plan.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl SharingStage {
    pub(super) fn new(memtable: &Arc<Memtable>, keeps: Keeps) -> SharingStage {
        SharingStage {
            memtable: Arc::clone(memtable),
            keeps,
            // Most memtables of chats have no such message, and need not be read for it.
            frame: memtable.has_shared().then_some(0),
            plan: Vec::new(),
            position: 0,
            open: None,
            written: Vec::new(),
        }
    }

    /// A bounded piece.
    pub(super) fn step(
        &mut self,
        context: &OutputContext,
        outputs: &mut PendingOutputs,
    ) -> Result<Stepped> {
        if let Some(frame) = self.frame {
            self.frame = self.plan_from(frame);
            if self.frame.is_none() {
                self.plan.sort_unstable();
            }
            // Nothing is written yet.
            return Ok(Stepped { bytes: 0, finished: false });
        }
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(planned) = self.plan.get(self.position).copied() else {
                return Ok(Stepped { bytes, finished: true });
            };
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open(context, planned.home)?,
            };
            let record = self.memtable.record(planned.place);
            let reference = open.writer.append(&record)?;
            let has_origin = record.origin.is_some();
            self.written.push(SharedPayload { place: planned.place, reference, has_origin });
            self.position += 1;
            bytes += planned.bytes as usize;
            if self.position == open.end {
                outputs.push_segment(close(context, open)?);
            } else {
                self.open = Some(open);
            }
        }
        Ok(Stepped { bytes, finished: false })
    }

    /// Where the payloads are.
    pub(super) fn finish(mut self) -> SharedPayloads {
        self.written.sort_unstable_by_key(|shared| shared.place);
        SharedPayloads(self.written)
    }

    /// Plans frames from `frame` on; gives the next one, if there are more.
    fn plan_from(&mut self, mut frame: u32) -> Option<u32> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let (length, messages) = self.memtable.messages(frame)?;
            for (place, message) in messages {
                if message.target_count < 2 || message.large.is_some() {
                    continue;
                }
                let record = self.memtable.record(place);
                if inline_bytes(&record) > INLINE_BYTES_MAX {
                    let home = home(&self.keeps, &message);
                    let size = u32::try_from(record_size(&record));
                    let bytes = size.expect("payloads are far below 4 GiB");
                    self.plan.push(Planned { home, place, bytes });
                }
            }
            bytes += length;
            frame += 1;
        }
        Some(frame)
    }

    /// A segment for the next messages of `home`, in an extent of exactly their size.
    fn open(&self, context: &OutputContext, home: TableId) -> Result<Open> {
        let most = context.sstable_bytes.clamp(BLOCK_SIZE, SEGMENT_BYTES_MAX);
        let mut bytes = 0u64;
        let mut end = self.position;
        for planned in &self.plan[self.position..] {
            let with = bytes + u64::from(planned.bytes);
            if planned.home != home || (with > most && bytes > 0) {
                break;
            }
            bytes = with;
            end += 1;
        }
        let length = bytes + FOOTER_SIZE as u64;
        let reservation = context.allocator.reserve(length, "a payload segment")?;
        let number = context.segment_number()?;
        let output = ExtentWriter::new(
            Arc::clone(&context.disk),
            reservation.extent(),
            Arc::clone(&context.pacer),
        );
        let writer = SegmentWriter::new(output, context.file, number, home);
        Ok(Open { number, writer, reservation, end })
    }
}

/// Finishes a segment. On an error its extent is given back.
fn close(context: &OutputContext, open: Open) -> Result<Arc<Segment>> {
    let Open { number, writer, reservation, .. } = open;
    let meta = writer.finish(reservation.extent())?;
    debug_assert_eq!(meta.number, number);
    let extent = reservation.commit(meta.bytes);
    debug_assert_eq!(meta.extent, extent, "the extent was reserved for exactly this");
    let guard = ExtentGuard::new(extent, Arc::clone(&context.allocator));
    Ok(Arc::new(Segment::new(meta, context.source.clone(), Some(Arc::new(guard)))))
}

/// What an entry with the payload would take, beside its columns.
fn inline_bytes(record: &RecordRef<'_>) -> usize {
    let event = record.event_ms.map_or(0, |_| 8);
    let origin = record.origin.map_or(0, |origin| ORIGIN_BYTES + origin.key.len());
    event + origin + record.payload.len()
}

/// The table among a message's targets that keeps longest; of several the first.
fn home(keeps: &Keeps, message: &Message<'_>) -> TableId {
    let mut longest: Option<(u64, TableId)> = None;
    for (target, _) in message.targets_placed() {
        if longest.is_some_and(|(_, table)| table == target.table) {
            continue;
        }
        let kept = keeps.get(&target.table).copied().unwrap_or(0);
        if longest.is_none_or(|(most, _)| kept > most) {
            longest = Some((kept, target.table));
        }
    }
    longest.map(|(_, table)| table).expect("a message has a target")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The measure behind [`INLINE_BYTES_MAX`].
    #[test]
    fn above_the_limit_a_shared_payload_of_two_entries_halves_the_bytes() {
        let reference = size_of::<Reference>();
        let halves = |bytes: usize| {
            let payload = vec![0; bytes];
            let record = RecordRef { event_ms: None, origin: None, payload: &payload };
            assert_eq!(inline_bytes(&record), bytes);
            // Two entries, each written by the flush and by one compaction.
            2 * (record_size(&record) + 4 * reference) <= 4 * bytes
        };
        assert!((INLINE_BYTES_MAX + 1..4096).all(halves));
        assert!(!halves(INLINE_BYTES_MAX / 2), "the limit is far too high");
    }
}
