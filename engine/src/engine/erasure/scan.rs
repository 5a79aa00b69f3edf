//! One pass over amendments in bounded steps: to find what waits, and what is to be erased.

use crate::amendment::{AmendmentKind, decode_key, decode_value};
use crate::entry::{KeyedVersion, TableId};
use crate::error::Result;
use crate::memtable::Memtable;
use crate::read::View;
use crate::sstable::{KeyedCursor, Sstable};
use crate::sync::Arc;
use crate::version::{AMENDMENT_TABLE, SstableMeta};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Versions that a step looks at.
const STEP_VERSIONS: usize = 4096;

/// Retractions in some tables, above a commit in each; source by source, each in the order of keys.
pub(super) struct RetractionScan {
    /// Above which commit, by table.
    above: BTreeMap<TableId, u64>,
    /// Keys behind this one alone.
    after: Option<Box<[u8]>>,
    /// Still to come, the next one last.
    memtables: Vec<Arc<Memtable>>,
    sstables: Vec<Arc<Sstable>>,
    /// The SSTable being read.
    cursor: Option<KeyedCursor>,
    /// The last key seen in the memtable being read.
    reached: Option<Box<[u8]>>,
}

/// What the caller wants after a retraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    /// No more of this source: its keys only rise.
    SkipSource,
}

impl RetractionScan {
    /// Of what is in the SSTables of a view, and in its memtables if these are wanted.
    pub(super) fn new(
        view: &View,
        above: BTreeMap<TableId, u64>,
        after: Option<Box<[u8]>>,
        with_memtables: bool,
    ) -> RetractionScan {
        let least = above.values().copied().min().unwrap_or(u64::MAX);
        let sstables = view.sstables_of(AMENDMENT_TABLE).map(Arc::clone);
        let may_hold = |sstable: &Arc<Sstable>| {
            let meta = sstable.meta();
            meta.commits.1 > least && may_amend(meta, above.keys())
        };
        let sstables = sstables.filter(may_hold).collect();
        let memtables = view.memtables().filter(|m| with_memtables && !m.amended().is_empty());
        let memtables = memtables.map(Arc::clone).collect();
        RetractionScan { above, after, memtables, sstables, cursor: None, reached: None }
    }

    /// Shows retractions to `each`. Says whether it was the last step.
    pub(super) fn step(&mut self, mut each: impl FnMut(&KeyedVersion) -> Next) -> Result<bool> {
        if let Some(memtable) = self.memtables.last().map(Arc::clone) {
            let after = self.reached.take();
            self.reached = self.step_memtable(&memtable, after, &mut each);
            if self.reached.is_none() {
                self.memtables.pop();
            }
            return Ok(false);
        }
        let Some(cursor) = &mut self.cursor else {
            let Some(sstable) = self.sstables.pop() else { return Ok(true) };
            let from = from_bound(&self.above, self.after.as_deref());
            self.cursor = Some(sstable.keyed_scan(as_bound(&from))?);
            return Ok(false);
        };
        for _ in 0..STEP_VERSIONS {
            let wanted = match cursor.next()? {
                None => Next::SkipSource,
                Some(version) => show(&self.above, &version, &mut each),
            };
            if wanted == Next::SkipSource {
                self.cursor = None;
                break;
            }
        }
        Ok(false)
    }

    /// Gives the last key that was looked at, if there may be more.
    fn step_memtable(
        &self,
        memtable: &Arc<Memtable>,
        after: Option<Box<[u8]>>,
        each: &mut impl FnMut(&KeyedVersion) -> Next,
    ) -> Option<Box<[u8]>> {
        let after = after.or_else(|| self.after.clone());
        let from = from_bound(&self.above, after.as_deref());
        let mut last: Option<Box<[u8]>> = None;
        for (count, version) in memtable.keyed_range(AMENDMENT_TABLE, as_bound(&from)).enumerate() {
            // The versions of a key are looked at in one step.
            if count >= STEP_VERSIONS && last.as_ref() != Some(&version.key) {
                return last;
            }
            if show(&self.above, &version, each) == Next::SkipSource {
                return None;
            }
            last = Some(version.key);
        }
        None
    }
}

/// Whether an SSTable of amendments may have some of entries of these tables, by its keys.
pub(super) fn may_amend<'a>(
    meta: &SstableMeta,
    mut tables: impl Iterator<Item = &'a TableId>,
) -> bool {
    let table_of = |key: &[u8]| decode_key(key).map(|(table, ..)| table);
    match (table_of(&meta.first.0), table_of(&meta.last.0)) {
        (Some(first), Some(last)) => tables.any(|table| (first..=last).contains(table)),
        // Keys that none can have: whoever reads them hears of it.
        _ => true,
    }
}

/// Shows a version, if it is a retraction that is asked for.
fn show(
    above: &BTreeMap<TableId, u64>,
    version: &KeyedVersion,
    each: &mut impl FnMut(&KeyedVersion) -> Next,
) -> Next {
    let Some((table, ..)) = decode_key(&version.key) else { return Next::Go };
    if above.last_key_value().is_none_or(|(greatest, _)| table > *greatest) {
        return Next::SkipSource;
    }
    let wanted = above.get(&table).is_some_and(|above| version.commit > *above)
        && decode_value(&version.value) == Some(AmendmentKind::Retracted);
    if wanted { each(version) } else { Next::Go }
}

fn from_bound(above: &BTreeMap<TableId, u64>, after: Option<&[u8]>) -> Bound<Box<[u8]>> {
    let least = above.first_key_value().map(|(table, _)| table.0).unwrap_or(0);
    match after {
        Some(after) => Bound::Excluded(after.into()),
        None => Bound::Included(least.to_be_bytes()[..].into()),
    }
}

fn as_bound(bound: &Bound<Box<[u8]>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
