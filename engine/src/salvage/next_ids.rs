//! The next sequence ids of the new store: what its SSTables say, and records for timelines that
//! have lost their newest entries, or their records.

use super::findings::{Cause, Findings};
use super::rebuild::Rebuild;
use super::report::TimelineName;
use super::target::Target;
use crate::cache::{BlockCache, Source};
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Disk, Extent, FileId};
use crate::limits::{UNSYNCED_ENTRIES_MAX, VERIFY_CACHE_BYTES};
use crate::own_ttl::OwnTtl;
use crate::read::{newest_of, state_of_run};
use crate::sstable::Sstable;
use crate::state::{StateRecord, state_key};
use crate::sync::Arc;
use crate::version::{STATE_TABLE, Shard, SstableMeta, TableKind, TableRecord};
use std::ops::Bound;

/// The index of a record that salvage writes: above that of others of the same commit.
const INDEX: u32 = 1;

/// The SSTables of the new store.
pub(super) struct Known(Vec<Arc<Sstable>>);

impl Known {
    pub(super) fn over(disk: &Arc<dyn Disk>, file: FileId, metas: &[(u8, SstableMeta)]) -> Known {
        let cache = Arc::new(BlockCache::new(VERIFY_CACHE_BYTES));
        let source = Source { cache, ..Source::uncached(Arc::clone(disk), file) };
        let open = |(_, meta): &(u8, SstableMeta)| {
            Arc::new(Sstable::new(meta.clone(), source.clone(), None))
        };
        Known(metas.iter().map(open).collect())
    }

    /// The newest that they say of a timeline.
    pub(super) fn newest(&self, table: TableId, key: &[u8]) -> Result<StateRecord> {
        let run = self.newest_run(table, key)?;
        let record = self.newest_record(table, key)?;
        Ok(newest_of(run, record).unwrap_or(StateRecord::NEW))
    }

    /// Whether the state table has a record of a timeline.
    pub(super) fn is_recorded(&self, table: TableId, key: &[u8]) -> Result<bool> {
        Ok(self.newest_record(table, key)?.is_some())
    }

    /// The newest that directories say.
    fn newest_run(&self, table: TableId, key: &[u8]) -> Result<Option<StateRecord>> {
        let mut newest = None;
        for sstable in self.of(table).filter(|sstable| sstable.meta().kind == TableKind::Timeline) {
            let run = sstable.find(key)?;
            newest = newest_of(newest, run.as_ref().map(state_of_run));
        }
        Ok(newest)
    }

    /// The newest that the state table says.
    fn newest_record(&self, table: TableId, key: &[u8]) -> Result<Option<StateRecord>> {
        let stored = state_key(table, key);
        let mut newest = None;
        for sstable in self.of(STATE_TABLE) {
            let versions = sstable.versions(&stored, u64::MAX)?;
            let newest_here = versions.first().map(|version| StateRecord::decode(&version.value));
            newest = newest_of(newest, newest_here.and_then(std::result::Result::ok));
        }
        Ok(newest)
    }

    /// Notes what directories say of timelines whose records are lost: lists of timelines go by the
    /// records.
    pub(super) fn note_unrecorded(&self, findings: &mut Findings) -> Result<()> {
        let lost = LostRecords::new(std::mem::take(&mut findings.lost_records));
        if lost.is_none() {
            return Ok(());
        }
        for sstable in self.0.iter().filter(|sstable| sstable.meta().kind == TableKind::Timeline) {
            let mut timelines = sstable.timelines(Bound::Unbounded)?;
            while let Some((key, run)) = timelines.next()? {
                let name = (sstable.meta().table, key);
                if lost.contain(&name) {
                    findings.note_state(name.0, &name.1, state_of_run(&run));
                }
            }
        }
        Ok(())
    }

    fn of(&self, table: TableId) -> impl Iterator<Item = &Arc<Sstable>> {
        self.0.iter().filter(move |sstable| sstable.meta().table == table)
    }

    /// Writes an SSTable of the state table with the records that the others lack. Where a timeline
    /// still has older entries, their directory is believed before any record: then ids jump.
    pub(super) fn write_states(
        &self,
        record: &TableRecord,
        (file, number): (FileId, u64),
        findings: &mut Findings,
        target: &mut Target,
    ) -> Result<Option<SstableMeta>> {
        let meta = empty_meta(number);
        let mut rebuild = Rebuild::of(&meta, record, file, target);
        for ((table, key), state) in &std::mem::take(&mut findings.states) {
            if self.is_recorded(*table, key)? && !state.is_newer_than(&self.newest(*table, key)?) {
                continue;
            }
            let run = self.newest_run(*table, key)?;
            if let Some(run) = run.filter(|run| state.is_newer_than(run)) {
                let lost = state.next_seq.saturating_sub(run.next_seq);
                findings.jump_times(Cause::Runs, 1 + lost / UNSYNCED_ENTRIES_MAX);
            }
            let mut version = state.version(*table, key);
            version.index = INDEX;
            rebuild.add_version(&version)?;
        }
        rebuild.finish(&meta, target)
    }
}

/// Which timelines may have lost their records.
enum LostRecords {
    Any,
    /// First and last, in order and apart: there may be as many as SSTables of the state table.
    Between(Vec<(TimelineName, TimelineName)>),
}

impl LostRecords {
    fn new(ranges: Vec<Option<(TimelineName, TimelineName)>>) -> LostRecords {
        let Some(mut ranges) = ranges.into_iter().collect::<Option<Vec<_>>>() else {
            return LostRecords::Any;
        };
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let meet = next.0 <= last.1;
            if meet && last.1 < next.1 {
                last.1 = next.1.clone();
            }
            meet
        });
        LostRecords::Between(ranges)
    }

    fn is_none(&self) -> bool {
        matches!(self, LostRecords::Between(ranges) if ranges.is_empty())
    }

    fn contain(&self, name: &TimelineName) -> bool {
        let LostRecords::Between(ranges) = self else {
            return true;
        };
        let next = ranges.partition_point(|(_, last)| last < name);
        ranges.get(next).is_some_and(|(first, _)| first <= name)
    }
}

fn empty_meta(number: u64) -> SstableMeta {
    SstableMeta {
        number,
        table: STATE_TABLE,
        kind: TableKind::Keyed,
        shard: Shard::default(),
        extent: Extent::default(),
        bytes: 0,
        footer_checksum: 0,
        entries: 0,
        keys: 0,
        payload_bytes: 0,
        first: (Box::default(), 0),
        last: (Box::default(), 0),
        commits: (0, 0),
        times_ms: (0, 0),
        oldest_origin: 0,
        own_ttl: OwnTtl::default(),
        segments: [].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_records_are_between_any_of_their_ranges() {
        let name = |key: &str| -> TimelineName { (TableId(16), key.as_bytes().into()) };
        let range = |first: &str, last: &str| Some((name(first), name(last)));
        let lost = |ranges: &[Option<(TimelineName, TimelineName)>]| {
            let lost = LostRecords::new(ranges.to_vec());
            let held = ["a", "b", "c", "d", "e", "f", "g", "h"];
            held.into_iter().filter(|key| lost.contain(&name(key))).collect::<String>()
        };
        assert!(LostRecords::new(Vec::new()).is_none());
        assert_eq!(lost(&[]), "");
        assert_eq!(lost(&[range("b", "c")]), "bc");
        assert_eq!(lost(&[range("f", "g"), range("b", "b")]), "bfg");
        assert_eq!(lost(&[range("b", "g"), range("c", "d"), range("h", "h")]), "bcdefgh");
        assert_eq!(lost(&[range("b", "c"), range("c", "e")]), "bcde");
        assert_eq!(lost(&[range("b", "c"), None]), "abcdefgh");
    }
}
