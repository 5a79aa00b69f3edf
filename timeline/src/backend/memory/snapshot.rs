//! Reading memory as of one commit.

use super::Shared;
use super::state::{Run, State, Version};
use crate::backend::{
    BackendSnapshot, Direction, KeyValue, Page, ScanRequest, TableDescription, TimelineDescription,
};
use crate::error::Result;
use std::collections::VecDeque;
use std::ops::Bound;
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
        read: impl FnOnce(Option<&Run>, std::ops::Range<usize>) -> T,
    ) -> Result<T> {
        let state = self.shared.state.read();
        state.check_open()?;
        let table = state.table(table, TableKind::Timeline)?;
        let fence = self.fence(&state, table);
        let Some(run) = state.timelines.get(&(table.id, key.into())) else {
            return Ok(read(None, 0..0));
        };
        let end = run.visible(self.commit);
        let start = run.entries.partition_point(|entry| entry.time_ms < fence).min(end);
        Ok(read(Some(run), start..end))
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
        self.with_run(table, key, |run, range| {
            let run = run?;
            let index = run.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
            range.contains(&index).then(|| run.entries[index].clone())
        })
    }

    fn latest(&self, table: TableId, key: &[u8]) -> Result<Option<Entry>> {
        self.with_run(table, key, |run, range| run?.entries.range(range).next_back().cloned())
    }

    fn latest_seq(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.with_run(table, key, |run, _| run.map_or(0, |run| run.last_seq_at(self.commit)))
    }

    fn len(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.with_run(table, key, |_, range| range.len() as u64)
    }

    fn scan(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<Page> {
        let (low, high) = match request.direction {
            Direction::Forward => (request.from, request.to),
            Direction::Backward => (request.to, request.from),
        };
        self.with_run(table, key, |run, range| {
            let Some(run) = run else {
                return Ok(Page::default());
            };
            let end = run.entries.partition_point(|entry| entry.seq <= high).min(range.end);
            let start = run.entries.partition_point(|entry| entry.seq < low).max(range.start);
            let entries = run.entries.range(start.min(end)..end);
            match request.direction {
                Direction::Forward => Page::fill(entries.cloned().map(Ok), request),
                Direction::Backward => Page::fill(entries.rev().cloned().map(Ok), request),
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
