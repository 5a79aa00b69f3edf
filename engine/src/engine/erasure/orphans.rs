//! Records that no entry refers to any more: the entries were expired, trimmed or deleted, and
//! compaction has left them out, while other records keep their segment. No look through SSTables
//! finds these, so segments are looked through too.
//!
//! 1. The retracted entries are looked for once more, behind the look through SSTables: what is
//!    there now has been seen by it, whatever compaction does later.
//! 2. If all are there, a record that nobody refers to can only belong to one of them as to its
//!    origin, which it names. If one is missing, any record may have been its payload.
//! 3. What is found are candidates: who refers to them is looked for (`shared.rs`). A record of one
//!    segment alone is not: an entry refers to it as long as its segment is there.
//!
//! Candidates come in bounded batches.

use super::gather::Originals;
use super::shared::SharedPayloads;
use crate::compaction::Retracted;
use crate::engine::Core;
use crate::error::Result;
use crate::segment::{Reference, Segment};
use crate::sync::Arc;
use std::collections::BTreeSet;

/// Candidates of one batch.
const BATCH_MAX: usize = 262_144;
/// Bytes of records that a step reads.
const STEP_BYTES: u64 = 1024 * 1024;

/// See the module.
pub(super) struct Orphans {
    retracted: Arc<Retracted>,
    /// Retracted entries that are still to be looked for.
    originals: Option<Originals>,
    /// One of them is gone.
    any_missing: bool,
    /// Segments that are still to come.
    segments: BTreeSet<u64>,
    /// With the offset of the next record.
    at_work: Option<(Arc<Segment>, u64)>,
}

/// What is left to do behind a batch of records.
pub(super) struct Rest {
    /// Where segments have not been looked through to the end.
    pub(super) orphans: Option<Box<Orphans>>,
    /// Where the next round begins, if there is one.
    pub(super) after: Option<Box<[u8]>>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    Running,
    /// The batch is full, and there is more.
    Full,
    All,
}

impl Orphans {
    /// All that was retracted was looked for in all SSTables.
    pub(super) fn new(core: &Core, retracted: Arc<Retracted>) -> Orphans {
        let view = core.views.current();
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable);
        let segments = sstables.flat_map(|sstable| sstable.meta().segments.iter().copied());
        Orphans {
            originals: Some(Originals::new(Arc::clone(&retracted))),
            any_missing: false,
            segments: segments.collect(),
            at_work: None,
            retracted,
        }
    }

    /// Adds a piece of the candidates.
    pub(super) fn step(&mut self, core: &Core, shared: &mut SharedPayloads) -> Result<Looked> {
        if let Some(originals) = &mut self.originals {
            if let Some((_, since)) = originals.step(core)? {
                self.any_missing = since == 0;
                self.originals = None;
            }
            return Ok(Looked::Running);
        }
        let Some((segment, mut offset)) = self.at_work.take() else {
            let Some(number) = self.segments.pop_first() else { return Ok(Looked::All) };
            let segment = core.open_segment(number);
            let segment = segment.filter(|segment| segment.meta().records > 1);
            self.at_work = segment.map(|segment| (segment, 0));
            return Ok(Looked::Running);
        };
        let end = offset + STEP_BYTES;
        while offset < end {
            let Some((record, next)) = segment.record_at(offset)? else {
                return Ok(Looked::Running);
            };
            let (_, origin) = record.shared()?;
            let of_origin = origin.is_some_and(|origin| self.retracted.contains(origin));
            if !record.is_erased() && (self.any_missing || of_origin) {
                shared.suspect(Reference::new(segment.meta().number, offset));
            }
            offset = next;
        }
        self.at_work = Some((segment, offset));
        Ok(if shared.suspects() < BATCH_MAX { Looked::Running } else { Looked::Full })
    }
}
