//! The memtable: all commits of one stretch of the log, readable while it is written.
//!
//! ```text
//!            (table, key)                                frames: bodies as in the WAL
//!                 │ hash                                 ┌───────────────────────┐
//!  index   [ | |tag·run| | ]                      0 ───▶ │ message: payload once │◀─┐
//!                   │                                    └───────────────────────┘  │
//!  runs      [ header: first seq, count, tail ]   1 ───▶ │ …                     │  │
//!                                        │                                          │
//!  chunks    [2 entries]◀──[4]◀──[8 … ]◀─┘   entry = seq · deltas · (frame, offset)─┘
//!
//!  keyed     skip list: (table, key, newest first) ──▶ (frame, range of the value)
//! ```
//!
//! Words and frames lie in large memory of the system's, which the next memtable takes (`memory`).
//!
//! Entries of a timeline arrive in order, so a timeline is a run that is appended to, not a stretch
//! of a sorted map: many times faster to fill, and smaller. A fan-out to N timelines adds one frame
//! and N entries of 24 bytes. Nothing is ever changed or removed: a full memtable is frozen,
//! flushed and dropped whole.
//!
//! Applying a body: (1) push the frame; (2) per target find or create the run, append the entry,
//! publish the run's count; (3) per keyed record insert a version; (4) publish the commit range.
//! A body of plain messages that the leader has just built is not decoded: its batch tells where
//! each target lies, which seq it got, and by a hint which run is its timeline's.
//! Recovery decodes, and looks many targets up together (`ahead.rs`).
//! Readers see an entry when its commit is at most their snapshot's, and snapshots are only given
//! out for commits that have been applied whole.
//!
//! # Invariants
//! 1. Commits rise strictly and times never fall from one body to the next; both fit 32 bits as
//!    deltas from the memtable's base.
//! 2. Every body held has been decoded whole, or its application failed and the memtable is thrown
//!    away by recovery.
//! 3. Run headers are linked per table, newest first; each is in the index, too.
//!
//! # Concurrency
//! One writer at a time; a lock that readers never touch holds others off. Readers take no lock:
//! every structure publishes with a release store what they load with acquire (`layout.rs`,
//! `index.rs`, `frames.rs`).

mod ahead;
mod amended;
mod arena;
mod cursor;
mod frames;
mod gather;
mod hint;
mod index;
mod keyed;
mod large;
mod layout;
#[cfg(all(test, loom))]
mod loom_tests;
mod messages;
mod run;
mod segments;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;
mod writer;

use crate::batch::{Appends, Target};
use crate::codec::DecodeError;
use crate::entry::TableId;
use crate::memory::Pool;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::version::TableKind;
pub(crate) use amended::Amended;
use arena::{WordArena, pack, unpack};
pub(crate) use cursor::{Placed, RunCursor};
use foldhash::fast::FixedState;
use frames::{Frame, Frames};
pub(crate) use gather::Gatherer;
use gather::fetch_bytes;
pub(crate) use hint::RunHint;
use index::RunIndex;
pub(crate) use keyed::KeyedRange;
use keyed::KeyedVersions;
use large::LargeSegments;
use layout::{
    EntryWords, RUN_KEY_LENGTH, RUN_KEY_PLACE, RUN_PREVIOUS, TABLE_NAME, TABLE_NEWEST_RUN,
    TABLE_PREVIOUS, TABLE_WORDS, WORDS_PER_ENTRY_MAX,
};
pub(crate) use messages::MessagePlace;
pub(crate) use run::{LargeEntry, Run};
use std::hash::{BuildHasher, Hasher};
use std::ops::Bound;
use std::sync::Arc;
use writer::Writer;

/// Fewest bytes that one record of a body takes: a target of a one-byte key.
const RECORD_BYTES_MIN: usize = 7;

/// Keys that are asked of memory together.
const KEYS_FETCHED: usize = 64;

/// See the module.
pub(crate) struct Memtable {
    base_commit: u64,
    base_time_ms: u64,
    hash: FixedState,
    arena: WordArena,
    index: RunIndex,
    frames: Frames,
    keyed: KeyedVersions,
    amended: Amended,
    large: LargeSegments,
    /// The newest table record in the arena, 0 for none.
    newest_table: AtomicU64,
    /// Bodies applied whole.
    applied: AtomicU64,
    entries: AtomicU64,
    /// Messages with a time to live of their own.
    own_ttls: AtomicU64,
    /// Messages with several targets.
    shared: AtomicU64,
    first_commit: AtomicU64,
    last_commit: AtomicU64,
    last_time_ms: AtomicU64,
    writer: Mutex<Writer>,
}

impl Memtable {
    /// No entry was committed before this time.
    pub(crate) fn base_time_ms(&self) -> u64 {
        self.base_time_ms
    }

    /// An empty memtable for commits from `base_commit` and times from `base_time_ms` on.
    pub(crate) fn new(base_commit: u64, base_time_ms: u64) -> Memtable {
        Memtable::in_pool(base_commit, base_time_ms, &Arc::default())
    }

    /// The same on memory that others have used before.
    pub(crate) fn in_pool(base_commit: u64, base_time_ms: u64, pool: &Arc<Pool>) -> Memtable {
        // A seed per memtable, the same in every replay of a simulation: keys that collide here do
        // not collide in the next one.
        let hash = FixedState::with_seed(base_commit ^ base_time_ms.rotate_left(32));
        Memtable {
            base_commit,
            base_time_ms,
            hash,
            arena: WordArena::new(pool),
            index: RunIndex::new(pool),
            frames: Frames::new(pool),
            keyed: KeyedVersions::new(),
            amended: Amended::new(),
            large: LargeSegments::new(),
            newest_table: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            own_ttls: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            first_commit: AtomicU64::new(0),
            last_commit: AtomicU64::new(0),
            last_time_ms: AtomicU64::new(0),
            writer: Mutex::new(Writer::default()),
        }
    }

    /// Whether a body of this commit, time, size and number of targets can still go in. What an
    /// empty memtable with this commit and time as its base refuses, no memtable takes; the limits
    /// of a batch are far below that.
    pub(crate) fn fits(
        &self,
        commit: u64,
        time_ms: u64,
        body_bytes: usize,
        targets: usize,
    ) -> bool {
        // Keyed records may need a table record each, so they count as targets do.
        let records = targets.max(body_bytes / RECORD_BYTES_MIN) as u64;
        let room = u64::from(segments::CAPACITY).saturating_sub(1 << 20);
        let words = self.entries().saturating_add(records).saturating_mul(WORDS_PER_ENTRY_MAX);
        self.stamp(commit, time_ms).is_some()
            && u32::try_from(body_bytes).is_ok()
            && words <= room
            && self.frames.has_room()
    }

    /// Applies one committed body, whose seqs are all assigned. Its entries are for readers whose
    /// snapshot is `commit` or later. One writer at a time: the leader, or recovery.
    ///
    /// # Errors
    /// For a body that cannot have been committed: it does not decode, or a seq or commit number
    /// does not rise, or it names a large payload that was not handed to [`Memtable::hold`] before.
    /// The memtable then holds a part of it, and is of no more use. Also when
    /// [`Memtable::fits`] would have said no.
    pub(crate) fn apply(
        &self,
        body: Arc<Vec<u8>>,
        commit: u64,
        time_ms: u64,
    ) -> Result<(), DecodeError> {
        let frame = Frame::Whole(body);
        self.writer.lock().apply(self, frame, (commit, time_ms), std::iter::empty())
    }

    /// The same of a body that nobody shares, with a hint for each target of its messages, in their
    /// order; what is not known there is noted. Fewer hints than targets are no mistake.
    pub(crate) fn apply_hinted<'a>(
        &self,
        body: Vec<u8>,
        commit: u64,
        time_ms: u64,
        hints: impl Iterator<Item = &'a RunHint> + Clone,
    ) -> Result<(), DecodeError> {
        self.writer.lock().apply(self, self.frames.take(body), (commit, time_ms), hints)
    }

    /// The same for a body that its batch has just built, with the seqs that it was given: nothing
    /// is decoded but the key of a timeline of which no hint tells. One seq and one hint a target.
    pub(crate) fn append<'a>(
        &self,
        appends: Appends,
        seqs: &[u64],
        commit: u64,
        time_ms: u64,
        hints: impl Iterator<Item = &'a RunHint> + Clone,
    ) -> Result<(), DecodeError> {
        self.writer.lock().append(self, appends, seqs, (commit, time_ms), hints)
    }

    /// What has been amended here, as far as a filter can tell.
    pub(crate) fn amended(&self) -> &Amended {
        &self.amended
    }

    /// Estimate of the memory held: frames by their capacity, arenas, index, keyed versions.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Memtable>()
            + self.frames.bytes()
            + self.arena.bytes()
            + self.index.bytes()
            + self.keyed.bytes()
            + self.amended.bytes()
            + self.large.bytes()
    }

    /// Timeline entries and keyed versions.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed) + self.keyed.count()
    }

    /// Whether an entry that a reader can see may have a time to live of its own.
    pub(crate) fn has_own_ttl(&self) -> bool {
        self.own_ttls.load(Ordering::Relaxed) > 0
    }

    /// Whether a message has several targets.
    pub(crate) fn has_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed) > 0
    }

    /// The time of the last commit applied.
    pub(crate) fn last_time_ms(&self) -> u64 {
        self.last_time_ms.load(Ordering::Relaxed)
    }

    /// Whether nothing has been applied.
    pub(crate) fn is_empty(&self) -> bool {
        self.commits().is_none()
    }

    /// The first and the last commit applied.
    pub(crate) fn commits(&self) -> Option<(u64, u64)> {
        if self.applied.load(Ordering::Acquire) == 0 {
            return None;
        }
        let first = self.first_commit.load(Ordering::Relaxed);
        Some((first, self.last_commit.load(Ordering::Relaxed)))
    }

    /// The entries of one timeline, if there are any.
    pub(crate) fn run(self: &Arc<Self>, table: TableId, key: &[u8]) -> Option<Run> {
        let header = self.find_run(table, key)?;
        Some(Run::new(Arc::clone(self), header))
    }

    /// The tables written to, by id. One that is written as both kinds, which a commit does not
    /// allow, is listed twice.
    pub(crate) fn tables(&self) -> Vec<(TableId, TableKind)> {
        let mut tables: Vec<_> =
            self.table_records().map(|(table, kind, _)| (table, kind)).collect();
        tables.sort_unstable_by_key(|(table, kind)| (*table, *kind == TableKind::Keyed));
        tables
    }

    /// The timelines of `table` from `from` on, by key.
    pub(crate) fn runs_sorted(self: &Arc<Self>, table: TableId, from: Bound<&[u8]>) -> Vec<Run> {
        let record = self
            .table_records()
            .find(|(found, kind, _)| *found == table && *kind == TableKind::Timeline);
        let mut headers = Vec::new();
        let mut next = record.map_or(0, |(_, _, newest_run)| newest_run);
        while next != 0 {
            headers.push(next);
            let header = self.arena.slice(next, RUN_PREVIOUS + 1);
            next = unpack(header[RUN_PREVIOUS].load(Ordering::Relaxed)).1;
        }
        // Most comparisons end with the first eight bytes, which need not be fetched for it.
        let mut runs: Vec<(u64, &[u8], u32)> = Vec::with_capacity(headers.len());
        for group in headers.chunks(KEYS_FETCHED) {
            fetch_bytes(group.iter().filter_map(|header| self.run_key(*header).first()));
            runs.extend(group.iter().filter_map(|header| {
                let key = self.run_key(*header);
                let wanted = match from {
                    Bound::Unbounded => true,
                    Bound::Included(from) => key >= from,
                    Bound::Excluded(from) => key > from,
                };
                wanted.then(|| (prefix(key), key, *header))
            }));
        }
        runs.sort_unstable();
        runs.into_iter().map(|(_, _, header)| Run::new(Arc::clone(self), header)).collect()
    }

    fn find_run(&self, table: TableId, key: &[u8]) -> Option<u32> {
        self.find_tagged(self.tag(table, key), table, key)
    }

    fn find_tagged(&self, tag: u32, table: TableId, key: &[u8]) -> Option<u32> {
        // Keys are at most KEY_LENGTH_MAX bytes; a longer one asked for is in no table.
        let name = pack(table.0, u32::try_from(key.len()).ok()?);
        self.index.find(tag, |run| {
            let header = self.arena.slice(run, RUN_KEY_PLACE + 1);
            header[RUN_KEY_LENGTH].load(Ordering::Relaxed) == name && self.run_key(run) == key
        })
    }

    /// Whether a run is that of a target's timeline.
    fn is_run_of(&self, run: u32, target: &Target<'_>) -> bool {
        let header = self.arena.slice(run, RUN_KEY_PLACE + 1);
        let table = unpack(header[RUN_KEY_LENGTH].load(Ordering::Relaxed)).0;
        table == target.table.0 && self.run_key(run) == target.key
    }

    fn tag(&self, table: TableId, key: &[u8]) -> u32 {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u32(table.0);
        hasher.write(key);
        let (high, low) = unpack(hasher.finish());
        high ^ low
    }

    /// The key of a published run.
    fn run_key(&self, run: u32) -> &[u8] {
        let header = self.arena.slice(run, RUN_KEY_PLACE + 1);
        let length = unpack(header[RUN_KEY_LENGTH].load(Ordering::Relaxed)).1 as usize;
        let (frame, offset) = unpack(header[RUN_KEY_PLACE].load(Ordering::Relaxed));
        let offset = offset as usize;
        &self.frames.get(frame)[offset..offset + length]
    }

    /// Table records, newest first: id, kind, newest run.
    fn table_records(&self) -> impl Iterator<Item = (TableId, TableKind, u32)> {
        let mut next = unpack(self.newest_table.load(Ordering::Acquire)).1;
        std::iter::from_fn(move || {
            if next == 0 {
                return None;
            }
            let record = self.arena.slice(next, TABLE_WORDS);
            let (table, kind) = unpack(record[TABLE_NAME].load(Ordering::Relaxed));
            let newest_run = unpack(record[TABLE_NEWEST_RUN].load(Ordering::Acquire)).1;
            next = unpack(record[TABLE_PREVIOUS].load(Ordering::Relaxed)).1;
            let kind = if kind == 1 { TableKind::Timeline } else { TableKind::Keyed };
            Some((TableId(table), kind, newest_run))
        })
    }

    /// Commit and time as deltas from the base, where they fit.
    fn stamp(&self, commit: u64, time_ms: u64) -> Option<u64> {
        let commit = u32::try_from(commit.checked_sub(self.base_commit)?).ok()?;
        let time = u32::try_from(time_ms.checked_sub(self.base_time_ms)?).ok()?;
        Some(pack(commit, time))
    }

    fn commit_of(&self, entry: EntryWords) -> u64 {
        self.base_commit + u64::from(unpack(entry.stamp).0)
    }

    fn time_of(&self, entry: EntryWords) -> u64 {
        self.base_time_ms + u64::from(unpack(entry.stamp).1)
    }
}

/// The first eight bytes of a key as a number that rises with it.
fn prefix(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    first[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(first)
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (commits, bytes) = (self.commits(), self.bytes());
        write!(f, "Memtable(commits {commits:?}, {} entries, {bytes} bytes)", self.entries())
    }
}
