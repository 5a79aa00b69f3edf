//! Has payload segments replaced by copies in which records are erased, one after the other
//! (`engine/segment_copy.rs`).
//!
//! A segment that somebody else has replaced meanwhile, to bring it lower in the file, is copied
//! again; one that was dropped needs nothing: its extent is free space.

use super::shared::Records;
use crate::engine::Core;
use crate::engine::segment_copy::{Replaced, SegmentReplacement};
use crate::error::Result;
use std::collections::BTreeSet;

/// What the space of a copy is asked for.
const COPY: &str = "a copy of a payload segment, to erase payloads";

/// See the module.
pub(super) struct SegmentErasure {
    /// Still to come.
    records: Records,
    at_work: Option<(SegmentReplacement, BTreeSet<u64>)>,
}

impl SegmentErasure {
    pub(super) fn new(records: Records) -> SegmentErasure {
        SegmentErasure { records, at_work: None }
    }

    /// Copies a piece; says whether all is done.
    pub(super) fn step(&mut self, core: &Core) -> Result<bool> {
        let Some((mut replacement, offsets)) = self.at_work.take() else {
            let Some((number, offsets)) = self.records.pop_first() else { return Ok(true) };
            if let Some(segment) = core.open_segment(number) {
                let reservation = core.allocator.reserve(segment.meta().bytes, COPY)?;
                let erase = offsets.clone();
                let replacement = SegmentReplacement::begin(core, segment, reservation, erase);
                self.at_work = Some((replacement, offsets));
            }
            return Ok(false);
        };
        if !replacement.step()? {
            self.at_work = Some((replacement, offsets));
            return Ok(false);
        }
        let number = replacement.number();
        if replacement.publish(core)? == Replaced::Overtaken {
            self.records.insert(number, offsets);
        }
        Ok(false)
    }
}
