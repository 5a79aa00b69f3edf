//! Keyed tables: newest value wins, merge operands are folded on the way.

use super::pin::Pin;
use super::{Snapshot, View};
use crate::compaction::fold;
use crate::entry::{KeyedVersion, Payload, TableId};
use crate::error::Result;
use crate::memtable::KeyedRange;
use crate::sstable::KeyedCursor;
use std::ops::Bound;

/// The value of a key at a commit.
pub(crate) fn value_in(
    view: &View,
    table: TableId,
    key: &[u8],
    commit: u64,
    alive_from_ms: u64,
) -> Result<Option<Payload>> {
    let mut versions: Vec<KeyedVersion> = Vec::new();
    for memtable in view.memtables() {
        versions.extend(memtable.versions(table, key, commit));
        if is_base(versions.last()) {
            return Ok(alive(versions, alive_from_ms));
        }
    }
    for sstable in view.sstables(table, key) {
        versions.extend(sstable.versions(key, commit)?);
        if is_base(versions.last()) {
            break;
        }
    }
    Ok(alive(versions, alive_from_ms))
}

/// Whether nothing older can matter.
fn is_base(version: Option<&KeyedVersion>) -> bool {
    version.is_some_and(|v| v.operation.is_base())
}

/// Folds versions, newest first. A key expires with its newest version.
fn alive(versions: Vec<KeyedVersion>, alive_from_ms: u64) -> Option<Payload> {
    if versions.first()?.time_ms < alive_from_ms {
        return None;
    }
    fold(&versions)
}

/// One ordered stream of versions.
enum Stream {
    Memory(KeyedRange),
    Disk(Box<KeyedCursor>),
}

impl Stream {
    fn next(&mut self) -> Result<Option<KeyedVersion>> {
        match self {
            Stream::Memory(range) => Ok(range.next()),
            Stream::Disk(cursor) => cursor.next(),
        }
    }
}

/// The streams of a keyed table from a key on, each with its first version.
fn streams(
    view: &View,
    table: TableId,
    from: Bound<&[u8]>,
) -> Result<Vec<(Stream, Option<KeyedVersion>)>> {
    let mut streams: Vec<Stream> = Vec::new();
    for memtable in view.memtables() {
        streams.push(Stream::Memory(memtable.keyed_range(table, from)));
    }
    for sstable in view.sstables_of(table) {
        streams.push(Stream::Disk(Box::new(sstable.keyed_cursor(from)?)));
    }
    let with_head = |mut stream: Stream| stream.next().map(|head| (stream, head));
    streams.into_iter().map(with_head).collect()
}

/// Keys and values of a keyed table in order; see [`Snapshot::values`].
pub struct Values {
    snapshot: Snapshot,
    table: TableId,
    streams: Vec<(Stream, Option<KeyedVersion>)>,
    pin: Pin,
    /// The key that was looked at last.
    last_key: Option<Box<[u8]>>,
    to: Bound<Box<[u8]>>,
    alive_from_ms: u64,
    ended: bool,
}

impl Values {
    pub(super) fn new(
        snapshot: &Snapshot,
        view: &View,
        table: TableId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        alive_from_ms: u64,
    ) -> Result<Values> {
        let pin = Pin::new(snapshot.core(), view);
        let streams = streams(view, table, from)?;
        let to = match to {
            Bound::Included(key) => Bound::Included(key.into()),
            Bound::Excluded(key) => Bound::Excluded(key.into()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let snapshot = snapshot.clone();
        let last_key = None;
        Ok(Values { snapshot, table, streams, pin, last_key, to, alive_from_ms, ended: false })
    }

    /// Opens the streams of the present view behind the last key. See `pin.rs`.
    fn open_anew(&mut self) -> Result<()> {
        let Some(last) = &self.last_key else {
            return Ok(());
        };
        let core = self.snapshot.core();
        let view = core.views.current();
        self.pin = Pin::new(core, &view);
        self.streams = streams(&view, self.table, Bound::Excluded(last))?;
        Ok(())
    }

    /// The smallest key at the heads of the streams, if it lies inside the range.
    fn next_key(&self) -> Option<Box<[u8]>> {
        let heads = self.streams.iter().filter_map(|(_, head)| head.as_ref());
        let key = heads.map(|version| &version.key).min()?;
        let inside = match &self.to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        inside.then(|| key.clone())
    }

    /// All versions of `key` that the snapshot shows, newest first.
    fn take_versions(&mut self, key: &[u8]) -> Result<Vec<KeyedVersion>> {
        let commit = self.snapshot.commit();
        let mut versions = Vec::new();
        for (stream, head) in &mut self.streams {
            while head.as_ref().is_some_and(|version| *version.key == *key) {
                let version = std::mem::replace(head, stream.next()?);
                versions.extend(version.filter(|version| version.commit <= commit));
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse((version.commit, version.index)));
        Ok(versions)
    }

    fn advance(&mut self) -> Result<Option<(Box<[u8]>, Payload)>> {
        loop {
            if self.pin.is_stale(self.snapshot.core()) {
                self.open_anew()?;
            }
            let Some(key) = self.next_key() else {
                return Ok(None);
            };
            let versions = self.take_versions(&key)?;
            self.last_key = Some(key.clone());
            if let Some(value) = alive(versions, self.alive_from_ms) {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl Iterator for Values {
    type Item = Result<(Box<[u8]>, Payload)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance();
        self.ended = !matches!(next, Ok(Some(_)));
        match next {
            Ok(item) => item.map(Ok),
            Err(error) => Some(Err(self.snapshot.explain(error))),
        }
    }
}
