//! What hides entries of one timeline at a snapshot: marks and retention, as seqs and times.
//!
//! ```text
//! mark table ──► marks of the timeline ──┐
//! table's options (keep-last) ───────────┼──► from: seqs below are hidden
//! newest seq of the timeline ────────────┘    alive_from_ms: older ones have expired
//!                mark table, kind 2 ─────────► holes: sorted, disjoint, not touching
//! ```
//! # Invariants
//! 1. Marks are read at the snapshot's commit, times to live at a moment of the clock given once:
//!    so a read mixes no moments.
//! 2. A timeline without marks, in a table with some, costs one look-up more; one in a table
//!    without costs none.

use super::{View, keyed};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::marks::{Hole, MarkKey, MarkKind, TimelineMarks, decode_range_end, prefix};
use crate::sync::Arc;
use crate::version::MARK_TABLE;
use std::collections::BTreeMap;
use std::ops::Bound;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fences {
    pub(crate) marks: TimelineMarks,
    /// Sorted, disjoint, not touching.
    pub(crate) holes: Arc<[Hole]>,
    /// The lowest seq that the marks show, and keep-last where the caller has looked at it.
    pub(crate) shown_from: u64,
}

impl Fences {
    /// The marks of a timeline as a commit sees them.
    pub(crate) fn read(view: &View, table: TableId, id: &[u8], commit: u64) -> Result<Fences> {
        if !view.marked.contains(&table) {
            return Ok(Fences::default());
        }
        let marks = timeline_marks(view, table, id, commit)?.unwrap_or_default();
        let holes = match marks.has_ranges {
            true => holes(view, table, id, commit, marks.low_water())?,
            false => Arc::default(),
        };
        Ok(Fences { marks, holes, shown_from: marks.low_water() })
    }

    /// The hole that `seq` lies in, or else the first one behind it.
    pub(crate) fn hole_from(&self, seq: u64) -> Option<Hole> {
        let index = self.holes.partition_point(|hole| hole.to < seq);
        self.holes.get(index).copied()
    }

    /// The hole that `seq` lies in.
    pub(crate) fn hole_at(&self, seq: u64) -> Option<Hole> {
        self.hole_from(seq).filter(|hole| hole.from <= seq)
    }

    /// The highest seq that is known to have been there, because a mark hides it; 0 if none is.
    pub(crate) fn highest_hidden(&self) -> u64 {
        let below = self.marks.low_water().saturating_sub(1);
        self.holes.last().map_or(below, |hole| hole.to.max(below))
    }
}

/// The record of a timeline's marks at a commit.
pub(crate) fn timeline_marks(
    view: &View,
    table: TableId,
    id: &[u8],
    commit: u64,
) -> Result<Option<TimelineMarks>> {
    let key = MarkKey { table, id, kind: MarkKind::Timeline, from: 0 }.encode();
    let Some(value) = keyed::value_in(view, MARK_TABLE, &key, commit, 0)? else {
        return Ok(None);
    };
    let marks = TimelineMarks::decode(&value);
    marks.map(Some).map_err(|error| Error::corruption("marks of a timeline", 0, error.to_string()))
}

/// The deleted ranges of a timeline at a commit, joined; what lies below `low_water` is left out.
fn holes(
    view: &View,
    table: TableId,
    id: &[u8],
    commit: u64,
    low_water: u64,
) -> Result<Arc<[Hole]>> {
    let first = MarkKey { table, id, kind: MarkKind::Range, from: 1 }.encode();
    let prefix = prefix(table, id);
    // Of one key the largest end wins, so the versions of all sources may come in any order.
    let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
    let mut take = |version: &crate::entry::KeyedVersion| -> Result<bool> {
        if !version.key.starts_with(&prefix) {
            return Ok(false);
        }
        let damage = || Error::corruption("deleted range", 0, "it is none");
        let key = MarkKey::decode(&version.key).ok_or_else(damage)?;
        if version.commit <= commit {
            let end = decode_range_end(&version.value).ok_or_else(damage)?;
            let known = ends.entry(key.from).or_default();
            *known = end.max(*known);
        }
        Ok(true)
    };
    for memtable in view.memtables() {
        for version in memtable.keyed_range(MARK_TABLE, Bound::Included(&first)) {
            if !take(&version)? {
                break;
            }
        }
    }
    for sstable in view.sstables_of(MARK_TABLE) {
        let meta = sstable.meta();
        if *meta.last.0 < *first || (*meta.first.0 > *prefix && !meta.first.0.starts_with(&prefix))
        {
            continue;
        }
        let mut cursor = sstable.keyed_cursor(Bound::Included(&first))?;
        while let Some(version) = cursor.next()? {
            if !take(&version)? {
                break;
            }
        }
    }
    Ok(join(ends, low_water))
}

/// Ranges by their first seq, with the seq behind their last, as holes.
fn join(ends: BTreeMap<u64, u64>, low_water: u64) -> Arc<[Hole]> {
    let mut holes: Vec<Hole> = Vec::new();
    for (from, end) in ends {
        let from = from.max(low_water);
        // A range that was settled before anything was there is empty.
        if end <= from {
            continue;
        }
        let to = end - 1;
        match holes.last_mut() {
            Some(last) if from <= last.to.saturating_add(1) => last.to = last.to.max(to),
            _ => holes.push(Hole { from, to }),
        }
    }
    holes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_cut() {
        let ends = [(1, 3), (5, 8), (6, 7), (8, 10), (12, 12), (20, 25)];
        let holes = join(BTreeMap::from(ends), 2);
        let hole = |from, to| Hole { from, to };
        assert_eq!(&*holes, [hole(2, 2), hole(5, 9), hole(20, 24)]);
        let fences = Fences { holes, ..Fences::default() };
        assert_eq!(fences.hole_at(4), None);
        assert_eq!(fences.hole_at(9), Some(hole(5, 9)));
        assert_eq!(fences.hole_from(10), Some(hole(20, 24)));
        assert_eq!(fences.hole_from(25), None);
        assert_eq!(fences.highest_hidden(), 24);
    }
}
