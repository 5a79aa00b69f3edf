//! Replaces one payload segment by a copy in another extent, under its number: to bring it lower in
//! the file, or to erase payloads in it.
//!
//! ```text
//! open segment ──copy, a piece a step──► new extent ──► one root: edit 11, and a view in which
//!                                                every open SSTable that needs it has the new one
//! ```
//! 1. A copy holds nothing back and claims nothing: flushes, compactions, drops, expiry go on. What
//!    became of the segment meanwhile is looked at in the root that would name the copy. If it was
//!    dropped, or somebody else has replaced it, the copy goes, and nothing has changed.
//! 2. Compactions hold the references of their inputs, and the open segments with them. Where their
//!    outputs become live behind a replacement, the root gives them the segment that is live then
//!    ([`Core::refer_to_present`]); what they hold keeps the old extent until they are done.
//! 3. Readers of older views go on in the old extent. It is free two roots after the last that
//!    named it, and when nobody holds it: as the extent of an SSTable that is moved.
//! 4. The log that can be replayed never names what is replaced. A large payload is in the manifest
//!    from the root on that moves the head of the log behind the frame that names it, and only what
//!    is in the manifest is replaced. A root with an older head is older than the last root that
//!    names the old extent: whoever still opens by it, and replays the frame, finds the payload
//!    where it was. No frame ever names the new extent.
//! 5. The cold file has no segments: those of cold SSTables lie in the first file.
//!
//! # Invariants
//! 1. All open SSTables of a view that need a segment hold the same open one: that of the catalog.
//! 2. A replacement that fails, or is dropped, leaves the segment where it is and gives its extent
//!    back.
//!
//! # Concurrency
//! One owner. Any number of replacements, of the same segment too: the first to publish wins.

use super::Core;
use super::root::{Change, Root};
use crate::error::{Error, Result};
use crate::file::{ExtentGuard, ExtentWriter, Reservation};
use crate::segment::{Segment, SegmentCopy, Segments};
use crate::sstable::Sstable;
use crate::sync::Arc;
use crate::version::{HasMeta, SegmentMeta, Version};
use std::collections::BTreeSet;

/// What became of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaced {
    /// The copy is the segment.
    Done,
    /// The segment was dropped meanwhile: nobody needs it any more.
    Dropped,
    /// Somebody else has replaced it meanwhile: what was to be erased is not.
    Overtaken,
}

/// A segment on its way to another extent. Dropped before its end it leaves nothing behind.
pub(super) struct SegmentReplacement {
    segment: Arc<Segment>,
    reservation: Reservation,
    copy: SegmentCopy,
}

impl SegmentReplacement {
    /// Begins to copy `segment`, as the present view has it, into `reservation`, which has room for
    /// it. The records at the offsets `erase` lose their payload.
    pub(super) fn begin(
        core: &Core,
        segment: Arc<Segment>,
        reservation: Reservation,
        erase: BTreeSet<u64>,
    ) -> SegmentReplacement {
        let (disk, pacer) = (Arc::clone(&core.disk), Arc::clone(&core.pacer));
        let output = ExtentWriter::new(disk, reservation.extent(), pacer);
        let copy = SegmentCopy::new(Arc::clone(&segment), output, erase);
        SegmentReplacement { segment, reservation, copy }
    }

    /// The number of the segment.
    pub(super) fn number(&self) -> u64 {
        self.segment.meta().number
    }

    /// Copies a piece; the last one is told by `true`.
    ///
    /// # Errors
    /// `Corruption` that names a damaged record; `Io`. The replacement must be dropped.
    pub(super) fn step(&mut self) -> Result<bool> {
        self.copy.step()
    }

    /// Makes the copy, which is whole, the segment: durable and visible.
    ///
    /// # Errors
    /// `Corruption` where the segment is not what its footer says; `InvalidUse` where a record that
    /// was to be erased is not there; as every root. The segment stays where it is.
    pub(super) fn publish(self, core: &Core) -> Result<Replaced> {
        let SegmentReplacement { segment, reservation, copy } = self;
        let old = segment.meta();
        let written = copy.finish(reservation.extent())?;
        let cached_as = core.output.segment_number()?;
        let extent = reservation.commit(written.bytes);
        let meta = SegmentMeta { extent, ..written };
        let guard = ExtentGuard::new(extent, Arc::clone(&core.allocator));
        let replacement = segment.replacement(meta, cached_as, Some(Arc::new(guard)));
        let replacement = Arc::new(replacement);
        let mut refused = None;
        let outcome = core.commit_root_with(|root| {
            refused = match root.catalog.segments.get(old.number) {
                None => Some(Replaced::Dropped),
                Some(live) if live.extent != old.extent => Some(Replaced::Overtaken),
                Some(_) => None,
            };
            match refused {
                Some(_) => Err(Error::invalid("the segment is not what was copied any more")),
                None => {
                    Ok(Change { replaced: vec![Arc::clone(&replacement)], ..Change::default() })
                }
            }
        });
        if let Some(refused) = refused {
            core.output.discard(Vec::new(), vec![replacement]);
            return Ok(refused);
        }
        outcome.map(|()| Replaced::Done)
    }
}

impl Core {
    /// The open segment of this number in the present view.
    pub(super) fn open_segment(&self, number: u64) -> Option<Arc<Segment>> {
        open_segment(&self.views.current().version, number)
    }

    /// SSTables that become live under `root` may have been begun before a segment that they need
    /// was replaced: from now on they refer to what is live.
    pub(super) fn refer_to_present(&self, root: &Root, added: &mut [(u8, Arc<Sstable>)]) {
        let is_stale = |segment: &Arc<Segment>| {
            let live = root.catalog.segments.get(segment.meta().number);
            live.is_some_and(|live| live.extent != segment.meta().extent)
        };
        for (_, sstable) in added {
            if !sstable.segments().iter().any(is_stale) {
                continue;
            }
            let present = sstable.segments().iter().map(|segment| match is_stale(segment) {
                true => self.open_segment(segment.meta().number).expect("an SSTable needs it"),
                false => Arc::clone(segment),
            });
            *sstable = Arc::new(sstable.over(Segments::new(present)));
        }
    }
}

/// The open segment of this number that the SSTables of a version hold.
pub(super) fn open_segment(version: &Version<Arc<Sstable>>, number: u64) -> Option<Arc<Segment>> {
    let mut sstables = version.iter();
    sstables.find_map(|(_, _, sstable)| sstable.segments().get(number).cloned())
}

/// The version in which SSTables hold `replaced` instead of what had these numbers.
pub(super) fn over_replaced(
    version: Version<Arc<Sstable>>,
    replaced: &[Arc<Segment>],
) -> Version<Arc<Sstable>> {
    if replaced.is_empty() {
        return version;
    }
    let now = Segments::new(replaced.iter().cloned());
    version.exchanged(|sstable| {
        let needed = &sstable.meta().segments;
        if !now.iter().any(|segment| needed.binary_search(&segment.meta().number).is_ok()) {
            return None;
        }
        let segments = sstable.segments().iter();
        let segments = segments.map(|held| now.get(held.meta().number).unwrap_or(held));
        Some(Arc::new(sstable.over(Segments::new(segments.cloned()))))
    })
}
