//! Reading memory as of one commit.

use super::Shared;
use super::amendments::Amendments;
use super::state::{Key, Run, State, Version};
use crate::backend::{
    BackendSnapshot, Direction, KeyValue, Page, ScanRequest, TableDescription, TimelineDescription,
};
use crate::error::Result;
use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::sync::Arc;
use tidelog_engine::{Entry, Payload, TableId, TableKind};

pub(super) struct MemorySnapshot {
    shared: Arc<Shared>,
    commit: u64,
}

impl MemorySnapshot {
    pub(super) fn new(shared: Arc<Shared>) -> MemorySnapshot {
        let mut state = shared.state.write();
        let commit = state.commit;
        *state.snapshots.entry(commit).or_default() += 1;
        drop(state);
        MemorySnapshot { shared, commit }
    }

    /// What can be read of a timeline: the run, and the range of its entries.
    fn with_run<T>(
        &self,
        table: TableId,
        key: &[u8],
        read: impl FnOnce(Option<Found<'_>>) -> T,
    ) -> Result<T> {
        let state = self.shared.state.read();
        state.check_open()?;
        let table = state.table(table, TableKind::Timeline)?;
        let fence = self.fence(&state, table);
        let key = (table.id, key.into());
        let Some(run) = state.timelines.get(&key) else {
            return Ok(read(None));
        };
        let end = run.visible(self.commit);
        let start = run.entries.partition_point(|entry| entry.time_ms < fence).min(end);
        let (amendments, snapshot) = (&state.amendments, self.commit);
        Ok(read(Some(Found { key: &key, run, range: start..end, amendments, snapshot })))
    }

    fn fence(&self, state: &State, table: &TableDescription) -> u64 {
        state.expired_before(table, self.shared.now(state))
    }

    fn version<'a>(&self, versions: &'a VecDeque<Version>, fence: u64) -> Option<&'a Payload> {
        let visible = versions.partition_point(|version| version.commit <= self.commit);
        let newest = versions.get(visible.checked_sub(1)?)?;
        newest.value.as_ref().filter(|_| newest.time_ms >= fence)
    }
}

/// What can be read of a timeline.
struct Found<'a> {
    key: &'a Key,
    run: &'a Run,
    /// Of the entries.
    range: Range<usize>,
    amendments: &'a Amendments,
    snapshot: u64,
}

impl Found<'_> {
    fn entry(&self, seq: u64) -> Option<&Entry> {
        let index = self.run.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.range.contains(&index).then(|| &self.run.entries[index])
    }

    fn amended(&self, entry: &Entry) -> Entry {
        self.amendments.amended(self.key, entry, self.snapshot)
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = self.shared.state.write();
        let Some(count) = state.snapshots.get_mut(&self.commit) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            state.snapshots.remove(&self.commit);
        }
    }
}

impl BackendSnapshot for MemorySnapshot {
    fn commit(&self) -> u64 {
        self.commit
    }

    fn get(&self, table: TableId, key: &[u8], seq: u64) -> Result<Option<Entry>> {
        self.with_run(table, key, |found| {
            let found = found?;
            Some(found.amended(found.entry(seq)?))
        })
    }

    fn versions(&self, table: TableId, key: &[u8], seq: u64) -> Result<Vec<Entry>> {
        self.with_run(table, key, |found| {
            let found = found?;
            let entry = found.entry(seq)?;
            Some(found.amendments.versions(found.key, entry, found.snapshot))
        })
        .map(Option::unwrap_or_default)
    }

    fn latest(&self, table: TableId, key: &[u8]) -> Result<Option<Entry>> {
        self.with_run(table, key, |found| {
            let found = found?;
            let entry = found.run.entries.range(found.range.clone()).next_back()?;
            Some(found.amended(entry))
        })
    }

    fn latest_seq(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.with_run(table, key, |found| found.map_or(0, |f| f.run.last_seq_at(self.commit)))
    }

    fn len(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.with_run(table, key, |found| found.map_or(0, |found| found.range.len() as u64))
    }

    fn scan(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<Page> {
        let (low, high) = match request.direction {
            Direction::Forward => (request.from, request.to),
            Direction::Backward => (request.to, request.from),
        };
        self.with_run(table, key, |found| {
            let Some(found) = found else {
                return Ok(Page::default());
            };
            let (run, range) = (found.run, found.range.clone());
            let end = run.entries.partition_point(|entry| entry.seq <= high).min(range.end);
            let start = run.entries.partition_point(|entry| entry.seq < low).max(range.start);
            let entries = run.entries.range(start.min(end)..end);
            let amended = |entry: &Entry| Ok(found.amended(entry));
            match request.direction {
                Direction::Forward => Page::fill(entries.map(amended), request),
                Direction::Backward => Page::fill(entries.rev().map(amended), request),
            }
        })?
    }

    fn value(&self, table: TableId, key: &[u8]) -> Result<Option<Payload>> {
        let state = self.shared.state.read();
        state.check_open()?;
        let table = state.table(table, TableKind::Keyed)?;
        let fence = self.fence(&state, table);
        let versions = state.keyed.get(&(table.id, key.into()));
        Ok(versions.and_then(|versions| self.version(versions, fence)).cloned())
    }

    fn values(
        &self,
        table: TableId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>> {
        let state = self.shared.state.read();
        state.check_open()?;
        let table = state.table(table, TableKind::Keyed)?;
        let fence = self.fence(&state, table);
        let id = table.id;
        let lower = match from {
            Bound::Included(key) => Bound::Included((id, key.into())),
            Bound::Excluded(key) => Bound::Excluded((id, key.into())),
            Bound::Unbounded => Bound::Included((id, Box::default())),
        };
        let inside = |key: &[u8]| match to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        let keys = state.keyed.range((lower, Bound::Unbounded));
        let keys = keys.take_while(|((table, key), _)| *table == id && inside(key));
        let found = keys.filter_map(|((_, key), versions)| {
            Some((key.clone(), self.version(versions, fence)?.clone()))
        });
        Ok(found.take(limit).collect())
    }

    fn timelines(
        &self,
        table: TableId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<TimelineDescription>> {
        let state = self.shared.state.read();
        state.check_open()?;
        let id = state.table(table, TableKind::Timeline)?.id;
        let lower = match after {
            Some(after) if after >= prefix => Bound::Excluded((id, after.into())),
            _ => Bound::Included((id, prefix.into())),
        };
        let runs = state.timelines.range((lower, Bound::Unbounded));
        let runs = runs.take_while(|((table, key), _)| *table == id && key.starts_with(prefix));
        let born = runs.filter(|(_, run)| run.born <= self.commit);
        let found = born.map(|((_, key), run)| TimelineDescription {
            key: key.clone(),
            next_seq: run.last_seq_at(self.commit) + 1,
        });
        Ok(found.take(limit).collect())
    }
}
