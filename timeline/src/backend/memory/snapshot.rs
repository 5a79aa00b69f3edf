//! Reading memory as of one commit.

use super::Shared;
use super::amendments::Amendments;
use super::marks::Fences;
use super::state::{Key, Run, State, Version, is_expired};
use crate::backend::{
    BackendSnapshot, Direction, ItemPage, KeyValue, Page, ScanRequest, TableDescription,
    TimelineDescription,
};
use crate::error::Result;
use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::sync::Arc;
use tidelog_engine::{Entry, Gap, GapReason, Item, Payload, Sequence, TableId, TableKind};

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

    /// What can be read of a timeline: its entries, and what hides some of them.
    fn with_run<T: Default>(
        &self,
        table: TableId,
        key: &[u8],
        read: impl FnOnce(&Shown<'_>) -> T,
    ) -> Result<T> {
        let state = self.shared.state.read();
        state.check_open()?;
        let table = state.table(table, TableKind::Timeline)?;
        let fence = self.fence(&state, table);
        let key = (table.id, key.into());
        let Some(run) = state.timelines.get(&key) else {
            return Ok(T::default());
        };
        let end = run.visible(self.commit);
        let start = run.entries.partition_point(|entry| entry.time_ms < fence).min(end);
        let latest = run.last_seq_at(self.commit);
        let kept = (table.options.keep_last, latest);
        let now = self.shared.now(&state);
        let fences = Fences::new(&run.marks, self.commit, kept, now);
        let dense = table.options.sequence == Sequence::Assigned;
        let (amendments, snapshot) = (&state.amendments, self.commit);
        let (key, range) = (&key, start..end);
        let state = &*state;
        Ok(read(&Shown {
            state,
            key,
            run,
            range,
            fences,
            latest,
            dense,
            amendments,
            snapshot,
            now,
        }))
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

/// What a snapshot shows of a timeline.
struct Shown<'a> {
    state: &'a State,
    key: &'a Key,
    run: &'a Run,
    /// Entries that were there and have not outlived their table's time to live.
    range: Range<usize>,
    fences: Fences,
    latest: u64,
    /// Whether the sequence ids are dense, so that gaps can be told.
    dense: bool,
    amendments: &'a Amendments,
    snapshot: u64,
    /// The clock by which entries expire.
    now: u64,
}

impl Shown<'_> {
    fn entries(&self, low: u64, high: u64) -> impl DoubleEndedIterator<Item = Entry> {
        let amended = |entry| self.amendments.amended(self.key, entry, self.snapshot);
        self.originals(low, high).map(amended)
    }

    /// As they were written.
    fn originals(&self, low: u64, high: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        let entries = &self.run.entries;
        let end = entries.partition_point(|entry| entry.seq <= high).min(self.range.end);
        let start = entries.partition_point(|entry| entry.seq < low).max(self.range.start);
        let shows = |entry: &&Entry| {
            self.fences.shows(entry.seq, entry.time_ms) && !is_expired(entry, self.now)
        };
        entries.range(start.min(end)..end).filter(shows)
    }

    /// Entries and gaps, oldest first. Nothing is ever lost here.
    fn items(&self, low: u64, high: u64) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        let mut next = low.max(1);
        let end = high.min(self.latest);
        let mut missing = |items: &mut Vec<Item>, to: u64| {
            for seq in next..=to {
                let reason = self.fences.reason(seq).unwrap_or(GapReason::Expired);
                match items.last_mut() {
                    Some(Item::Gap(gap)) if gap.reason == reason => gap.to = seq,
                    _ => items.push(Item::Gap(Gap { from: seq, to: seq, reason })),
                }
            }
            next = to + 2;
        };
        for entry in self.entries(low, high) {
            if self.dense {
                missing(&mut items, entry.seq - 1);
            }
            items.push(Item::Entry(entry));
        }
        if self.dense {
            missing(&mut items, end);
        }
        items
    }
}

fn bounds(request: &ScanRequest) -> (u64, u64) {
    match request.direction {
        Direction::Forward => (request.from, request.to),
        Direction::Backward => (request.to, request.from),
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
        self.with_run(table, key, |shown| shown.entries(seq, seq).next())
    }

    fn versions(&self, table: TableId, key: &[u8], seq: u64) -> Result<Vec<Entry>> {
        self.with_run(table, key, |shown| {
            let original = shown.originals(seq, seq).next();
            let erases =
                |table, commit, time_ms| shown.state.is_erased((table, commit, time_ms), shown.now);
            let versions =
                |entry| shown.amendments.versions(shown.key, entry, shown.snapshot, erases);
            original.map(versions).unwrap_or_default()
        })
    }

    fn latest(&self, table: TableId, key: &[u8]) -> Result<Option<Entry>> {
        self.with_run(table, key, |shown| shown.entries(0, u64::MAX).next_back())
    }

    fn latest_seq(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.with_run(table, key, |shown| shown.latest)
    }

    fn len(&self, table: TableId, key: &[u8]) -> Result<u64> {
        self.with_run(table, key, |shown| shown.entries(0, u64::MAX).count() as u64)
    }

    fn scan(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<Page> {
        let (low, high) = bounds(request);
        let page = self.with_run(table, key, |shown| {
            let entries = shown.entries(low, high);
            Some(match request.direction {
                Direction::Forward => Page::fill(entries.map(Ok), request),
                Direction::Backward => Page::fill(entries.rev().map(Ok), request),
            })
        })?;
        page.unwrap_or_else(|| Ok(Page::default()))
    }

    fn scan_items(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<ItemPage> {
        let (low, high) = bounds(request);
        let page = self.with_run(table, key, |shown| {
            let items = shown.items(low, high).into_iter().map(Ok);
            Some(match request.direction {
                Direction::Forward => ItemPage::fill(items, request),
                Direction::Backward => ItemPage::fill(items.rev(), request),
            })
        })?;
        page.unwrap_or_else(|| Ok(ItemPage::default()))
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
        let born = runs.filter(|(_, run)| (1..=self.commit).contains(&run.born));
        let found = born.map(|((_, key), run)| TimelineDescription {
            key: key.clone(),
            latest_seq: run.last_seq_at(self.commit),
        });
        Ok(found.take(limit).collect())
    }
}
