//! The payload segments: which records can be read, and a place in the new store for them.
//!
//! A segment that is whole is copied as it is. One that is damaged is written anew, with the
//! records that entries of the new store refer to; the offsets of these do not change.
//!
//! # Invariants
//! 1. `reads` says yes only to records that were verified; of a damaged segment exactly those are
//!    written.

use super::findings::Findings;
use super::target::Target;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::limits::BLOCK_SIZE;
use crate::segment::{LargePayload, RecordPlaces, Reference, Segment};
use crate::sstable::Output;
use crate::version::SegmentMeta;
use std::collections::{BTreeMap, BTreeSet};

/// One segment of the old store.
struct Known {
    segment: Segment,
    state: State,
}

enum State {
    /// These are its records.
    Whole(RecordPlaces),
    /// Offsets that were asked for, and whether a record can be read there.
    Damaged(BTreeMap<u64, bool>),
}

/// See the module.
#[derive(Default)]
pub(super) struct SegmentHealth(BTreeMap<u64, Known>);

impl SegmentHealth {
    /// Verifies a segment that the manifest or the log names.
    pub(super) fn add(&mut self, segment: Segment, findings: &mut Findings) {
        let number = segment.meta().number;
        let (damage, places) = segment.verify_all();
        let state = match damage.is_empty() {
            true => State::Whole(places),
            false => State::Damaged(BTreeMap::new()),
        };
        findings.note_damage(damage, &format!("segment {number}"));
        self.0.insert(number, Known { segment, state });
    }

    /// What is wrong with a reference by itself.
    pub(super) fn wrong(&self, reference: Reference) -> Option<String> {
        match self.0.get(&reference.number()).map(|known| &known.state) {
            Some(State::Whole(places)) if places.contains(reference) => None,
            Some(State::Whole(_)) => Some("there is no record".to_owned()),
            // That it is damaged was noted once; which entries that costs is told as lost.
            Some(State::Damaged(_)) => None,
            None => Some("there is no such segment".to_owned()),
        }
    }

    /// Whether what a reference names may have been lost: an SSTable with such a one is looked at
    /// closely.
    pub(super) fn is_in_doubt(&self, reference: Reference) -> bool {
        let state = self.0.get(&reference.number()).map(|known| &known.state);
        matches!(state, Some(State::Damaged(_)))
    }

    /// Whether the record can be read; then it will be in the new store.
    pub(super) fn reads(&mut self, reference: Reference) -> bool {
        let Some(known) = self.0.get_mut(&reference.number()) else {
            return false;
        };
        match &mut known.state {
            State::Whole(places) => places.contains(reference),
            State::Damaged(asked) => *asked
                .entry(reference.offset())
                .or_insert_with(|| known.segment.record(reference).is_ok()),
        }
    }

    /// Whether the payload that a message of the log names can be read.
    pub(super) fn reads_large(&mut self, large: &LargePayload) -> bool {
        let same = self.0.get(&large.number).is_some_and(|known| large.is_of(&known.segment));
        same && self.reads(large.reference())
    }

    /// Whether the segment of this number was added.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.contains_key(&number)
    }

    /// Where the segments end that whole ones keep, and those that the log names: such a one has
    /// its place also where the file of `length` bytes was cut off in the middle of it.
    pub(super) fn end(&self, length: u64) -> u64 {
        let metas = self.0.values().map(|known| known.segment.meta());
        let begun = metas.filter(|meta| meta.extent.offset < length);
        let end = |meta: &SegmentMeta| {
            meta.extent.offset.saturating_add(round_up(meta.bytes, BLOCK_SIZE))
        };
        begun.map(end).max().unwrap_or(0)
    }

    /// The greatest number.
    pub(super) fn last_number(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }

    /// Writes the segments of these numbers to the target; gives what its manifest says of them.
    /// `in_place`: those that the log names, by place.
    pub(super) fn write(
        &self,
        numbers: &BTreeSet<u64>,
        in_place: bool,
        target: &mut Target,
    ) -> Result<Vec<SegmentMeta>> {
        let known = numbers.iter().filter_map(|number| self.0.get(number));
        known.map(|known| known.write(in_place, target)).collect()
    }
}

impl Known {
    fn write(&self, in_place: bool, target: &mut Target) -> Result<SegmentMeta> {
        let meta = self.segment.meta();
        let State::Damaged(asked) = &self.state else {
            let extent = target.copy(&**self.segment.disk(), meta.extent, meta.bytes, true)??;
            return Ok(SegmentMeta { extent, ..meta.clone() });
        };
        let needed = asked.iter().filter(|(_, readable)| **readable).map(|(offset, _)| *offset);
        let needed: BTreeSet<u64> = needed.collect();
        let mut appender = target.appender();
        let written = self.segment.write_remains(&needed, &mut |bytes| appender.write(bytes))?;
        let extent = target.place(appender)?;
        if !in_place {
            return Ok(SegmentMeta { extent, ..written });
        }
        // The log says where it is, and what its footer says: the same as before.
        if written != *meta {
            let detail = format!("segment {} is not what the log says", meta.number);
            return Err(Error::corruption("large payload", meta.extent.offset, detail));
        }
        let disk = target.disk().clone();
        target.copy_within(&*disk, extent, meta)?;
        Ok(written)
    }
}
