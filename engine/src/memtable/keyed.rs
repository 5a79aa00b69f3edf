//! The keyed part of a memtable: every version of every key, in a skip list.
//!
//! Order: (table, key, newest first), newest by (commit, index in the batch). Why a skip list here
//! and not for timelines: keys come in any order and are scanned in key order, and keyed tables are
//! the small part of the load (meta data, cursors, counters). Values stay in their frames.
//!
//! # Concurrency
//! One writer inserts; nothing is ever removed. Any number of readers, without locks.

use super::Memtable;
use crate::batch::KeyedOperation;
use crate::entry::{KeyedVersion, TableId};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crossbeam_skiplist::SkipMap;
use crossbeam_skiplist::map::Entry as Node;
use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// Estimate of what a version costs beside its key bytes: the node, and eight words for its tower
/// (two pointers on average), its counters and the allocator's headers.
const NODE_OVERHEAD: usize =
    size_of::<VersionKey>() + size_of::<VersionValue>() + size_of::<[usize; 8]>();
/// Versions a range takes over from the list at a time, at first and at most.
const RANGE_TAKE_MIN: usize = 4;
const RANGE_TAKE_MAX: usize = 256;

/// A version's place in the list, without owning the key.
type Position<'a> = (TableId, &'a [u8], Reverse<u64>, Reverse<u32>);

/// The same within a table, owning the key.
type OwnedPosition = (Box<[u8]>, Reverse<u64>, Reverse<u32>);

/// What has a place in the list. Lets a search borrow its key.
trait Positioned {
    fn position(&self) -> Position<'_>;
}

impl Positioned for Position<'_> {
    fn position(&self) -> Position<'_> {
        *self
    }
}

impl PartialEq for dyn Positioned + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.position() == other.position()
    }
}

impl Eq for dyn Positioned + '_ {}

impl PartialOrd for dyn Positioned + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Positioned + '_ {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position().cmp(&other.position())
    }
}

/// The key of the list. Field order is sort order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VersionKey {
    table: TableId,
    key: Box<[u8]>,
    commit: Reverse<u64>,
    index: Reverse<u32>,
}

impl Positioned for VersionKey {
    fn position(&self) -> Position<'_> {
        (self.table, &self.key, self.commit, self.index)
    }
}

impl<'a> Borrow<dyn Positioned + 'a> for VersionKey {
    fn borrow(&self) -> &(dyn Positioned + 'a) {
        self
    }
}

/// The rest of a version.
#[derive(Debug, Clone)]
struct VersionValue {
    time_ms: u64,
    operation: KeyedOperation,
    frame: u32,
    /// Range of the value in the frame.
    start: u32,
    end: u32,
}

/// One keyed write, as the memtable hands it over.
pub(super) struct KeyedWrite<'a> {
    pub(super) table: TableId,
    pub(super) key: &'a [u8],
    pub(super) commit: u64,
    pub(super) index: u32,
    pub(super) time_ms: u64,
    pub(super) operation: KeyedOperation,
    pub(super) frame: u32,
    pub(super) value: Range<u32>,
}

/// See the module.
pub(super) struct KeyedVersions {
    versions: SkipMap<VersionKey, VersionValue>,
    count: AtomicU64,
    bytes: AtomicUsize,
}

impl KeyedVersions {
    pub(super) fn new() -> KeyedVersions {
        KeyedVersions {
            versions: SkipMap::new(),
            count: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Adds a version. Writer only.
    pub(super) fn insert(&self, write: &KeyedWrite<'_>) {
        let key = VersionKey {
            table: write.table,
            key: write.key.into(),
            commit: Reverse(write.commit),
            index: Reverse(write.index),
        };
        let value = VersionValue {
            time_ms: write.time_ms,
            operation: write.operation,
            frame: write.frame,
            start: write.value.start,
            end: write.value.end,
        };
        self.versions.insert(key, value);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(NODE_OVERHEAD + write.key.len(), Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The versions of one key up to `commit_max`, newest first.
    fn of_key<'a>(
        &'a self,
        table: TableId,
        key: &'a [u8],
        commit_max: u64,
    ) -> impl Iterator<Item = Node<'a, VersionKey, VersionValue>> {
        let newest: Position<'_> = (table, key, Reverse(commit_max), Reverse(u32::MAX));
        let first = self.seek(Bound::Included(newest));
        std::iter::successors(first, Node::next)
            .take_while(move |node| node.key().table == table && *node.key().key == *key)
    }

    fn seek(&self, from: Bound<Position<'_>>) -> Option<Node<'_, VersionKey, VersionValue>> {
        self.versions.lower_bound(from.as_ref().map(|position| position as &dyn Positioned))
    }
}

impl Memtable {
    /// The versions of `key` that a snapshot of `commit_max` sees, newest first, up to and
    /// including the first that does not build on what lies below it.
    pub(crate) fn versions(
        &self,
        table: TableId,
        key: &[u8],
        commit_max: u64,
    ) -> Vec<KeyedVersion> {
        let mut found = Vec::new();
        for node in self.keyed.of_key(table, key, commit_max) {
            let version = self.version(&node);
            let last = version.operation.is_base();
            found.push(version);
            if last {
                break;
            }
        }
        found
    }

    /// All versions of `key` that a snapshot of `commit_max` sees, newest first.
    pub(crate) fn all_versions(
        &self,
        table: TableId,
        key: &[u8],
        commit_max: u64,
    ) -> Vec<KeyedVersion> {
        self.keyed.of_key(table, key, commit_max).map(|node| self.version(&node)).collect()
    }

    /// Whether `key` was written by a commit above `commit`.
    pub(crate) fn has_write_after(&self, table: TableId, key: &[u8], commit: u64) -> bool {
        let newest = self.keyed.of_key(table, key, u64::MAX).next();
        newest.is_some_and(|node| node.key().commit.0 > commit)
    }

    /// All versions of all keys of `table` from `from` on, by key, newest first; snapshots are the
    /// caller's business. May meet versions written after it was made.
    pub(crate) fn keyed_range(self: &Arc<Self>, table: TableId, from: Bound<&[u8]>) -> KeyedRange {
        let newest = (Reverse(u64::MAX), Reverse(u32::MAX));
        let oldest = (Reverse(0), Reverse(0));
        let from = match from {
            Bound::Unbounded => Bound::Included((Box::default(), newest.0, newest.1)),
            Bound::Included(key) => Bound::Included((key.into(), newest.0, newest.1)),
            Bound::Excluded(key) => Bound::Excluded((key.into(), oldest.0, oldest.1)),
        };
        KeyedRange {
            memtable: Arc::clone(self),
            table,
            next: Some(from),
            taken: VecDeque::new(),
            take: RANGE_TAKE_MIN,
        }
    }

    fn version(&self, node: &Node<'_, VersionKey, VersionValue>) -> KeyedVersion {
        let (key, value) = (node.key(), node.value());
        let frame = self.frames.get(value.frame);
        KeyedVersion {
            key: key.key.clone(),
            commit: key.commit.0,
            index: key.index.0,
            time_ms: value.time_ms,
            operation: value.operation,
            value: frame.payload(value.start as usize..value.end as usize),
        }
    }
}

/// See [`Memtable::keyed_range`]. Owns its memtable; it takes a few versions over at a time and
/// seeks again for the next ones, since a node of the list cannot be kept beside its list.
pub(crate) struct KeyedRange {
    memtable: Arc<Memtable>,
    table: TableId,
    /// Where to take on; `None` once the table has ended.
    next: Option<Bound<OwnedPosition>>,
    taken: VecDeque<KeyedVersion>,
    /// Versions to take next time.
    take: usize,
}

impl KeyedRange {
    fn refill(&mut self) {
        let Some(next) = self.next.take() else {
            return;
        };
        let table = self.table;
        let from = next.as_ref().map(|(key, commit, index)| (table, &**key, *commit, *index));
        let mut node = self.memtable.keyed.seek(from);
        while let Some(found) = node {
            if found.key().table != table {
                return;
            }
            self.taken.push_back(self.memtable.version(&found));
            if self.taken.len() == self.take {
                let key = found.key();
                self.next = Some(Bound::Excluded((key.key.clone(), key.commit, key.index)));
                self.take = RANGE_TAKE_MAX.min(self.take * 2);
                return;
            }
            node = found.next();
        }
    }
}

impl Iterator for KeyedRange {
    type Item = KeyedVersion;

    fn next(&mut self) -> Option<KeyedVersion> {
        if self.taken.is_empty() {
            self.refill();
        }
        self.taken.pop_front()
    }
}
