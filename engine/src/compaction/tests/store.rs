//! A store reduced to memtables, levels and jobs over the simulated disk, beside a model of all
//! that was ever written.

use crate::batch::{KeyedOperation, WriteBatch};
use crate::cache::{BlockCache, Source};
use crate::compaction::job::JobOutput;
use crate::compaction::{
    CompactionJob, FlushJob, FlushTable, Kept, OutputContext, PickerOptions, WarmUp, fold, pick,
};
use crate::entry::{Direction, Entry, KeyedVersion, Origin, Payload, TableId};
use crate::error::Result;
use crate::file::{Allocator, Disk, FileId, Pacer};
use crate::memtable::Memtable;
use crate::options::{Compression, ReadMode, TableOptions};
use crate::read::state_of_run;
use crate::runtime::Clock;
use crate::sstable::Sstable;
use crate::state::{StateRecord, state_key};
use crate::sync::{AtomicU64, Ordering};
use crate::testing::{Random, SimClock, SimDisk, SimOptions, SimScheduler};
use crate::version::{STATE_TABLE, TableRecord, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) const FEED: TableId = TableId(16);
pub(super) const META: TableId = TableId(17);
pub(super) const INBOX: TableId = TableId(18);
const GRID_START: u64 = 64 * 1024;

/// What an entry must look like, as text that shows in a failure.
type Expected = (u64, u64, u64, Option<i64>, Option<Origin>, Vec<u8>);

/// See the module.
pub(super) struct Store {
    pub(super) random: Random,
    pub(super) disk: SimDisk,
    pub(super) context: OutputContext,
    pub(super) options: PickerOptions,
    pub(super) version: Version<Arc<Sstable>>,
    pub(super) memtable: Arc<Memtable>,
    pub(super) snapshots: Vec<u64>,
    commit: u64,
    time_ms: u64,
    generation: u64,
    timelines: BTreeMap<(TableId, Vec<u8>), Vec<Expected>>,
    /// Every version ever written, newest first.
    keyed: BTreeMap<Vec<u8>, Vec<KeyedVersion>>,
    /// The newest state of the timelines that were flushed.
    states: BTreeMap<(TableId, Vec<u8>), StateRecord>,
}

impl Store {
    pub(super) fn new(seed: u64, mode: ReadMode, sstable_bytes: u64) -> Store {
        let disk = SimDisk::new(SimOptions::default());
        disk.allocate(0, GRID_START).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let allocator = Allocator::new(Arc::clone(&shared), GRID_START, GRID_START, &[]).unwrap();
        let clock = SimClock::new(1_000_000);
        let scheduler = SimScheduler::new(seed, clock.clone());
        let pacer = Pacer::new(Arc::new(clock.clone()), Arc::new(scheduler), 0);
        let file = FileId([9; 16]);
        let cache = Arc::new(BlockCache::new(1 << 20));
        let context = OutputContext {
            disk: Arc::clone(&shared),
            file,
            allocator: Arc::new(allocator),
            pacer: Arc::new(pacer),
            next_number: Arc::new(AtomicU64::new(1)),
            sstable_bytes,
            source: Source {
                disk: shared,
                file,
                mode,
                cache,
                around: Arc::default(),
                unpacking: Arc::default(),
            },
            memory: Arc::default(),
            cold: None,
        };
        let options = PickerOptions {
            level0_compact: 3,
            level_bytes_base: 3 * sstable_bytes,
            ratio: 3,
            sstable_bytes,
        };
        Store {
            random: Random::new(seed),
            disk,
            context,
            options,
            version: Version::default(),
            memtable: Arc::new(Memtable::new(0, 0)),
            snapshots: Vec::new(),
            commit: 0,
            time_ms: clock.wall_ms(),
            generation: 1,
            timelines: BTreeMap::new(),
            keyed: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    /// The last one is cut by time, into windows that one flush or a few fill.
    pub(super) fn tables() -> Vec<FlushTable> {
        let table = |id, options: TableOptions, compression| {
            let options = TableOptions { compression, ..options };
            FlushTable::new(&TableRecord::new(id, "", options), 0)
        };
        let windows = TableOptions::timeline().ttl(Duration::from_secs(4));
        vec![
            table(FEED, TableOptions::timeline(), Compression::None),
            table(META, TableOptions::keyed(), Compression::Lz4),
            table(INBOX, windows, Compression::Lz4),
        ]
    }

    /// Commits one random batch.
    pub(super) fn write(&mut self) {
        self.commit += 1 + self.random.below(2);
        self.time_ms += self.random.below(50);
        let mut batch = WriteBatch::new();
        for index in 0..1 + u32::try_from(self.random.below(4)).unwrap() {
            match self.random.below(3) {
                0 => self.append(&mut batch),
                1 => self.fan_out(&mut batch),
                _ => self.change_key(&mut batch, index),
            }
        }
        let body = Arc::new(batch.into_body());
        self.memtable.apply(body, self.commit, self.time_ms).unwrap();
    }

    /// One long run of one timeline, which no SSTable holds whole.
    pub(super) fn write_long(&mut self, bytes: usize) {
        let mut written = 0;
        while written < bytes {
            self.commit += 1;
            let mut batch = WriteBatch::new();
            for _ in 0..20 {
                let payload = self.payload(600);
                written += payload.len() + 30;
                batch.append(FEED, b"long", &payload, None).unwrap();
                self.assign(&mut batch, FEED, b"long", None, None, &payload);
            }
            self.memtable.apply(Arc::new(batch.into_body()), self.commit, self.time_ms).unwrap();
        }
    }

    fn payload(&mut self, length_max: u64) -> Vec<u8> {
        let length = match self.random.below(40) {
            0 => self.random.below(40_000),
            _ => self.random.below(length_max),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.random.fill(&mut payload);
        payload
    }

    fn append(&mut self, batch: &mut WriteBatch) {
        let key = format!("feed-{}", self.random.below(9)).into_bytes();
        let payload = self.payload(500);
        let event_ms = self.random.chance(1, 3).then_some(-5);
        batch.append(FEED, &key, &payload, event_ms).unwrap();
        self.assign(batch, FEED, &key, event_ms, None, &payload);
    }

    fn fan_out(&mut self, batch: &mut WriteBatch) {
        let conversation = format!("talk-{}", self.random.below(3)).into_bytes();
        let payload = self.payload(300);
        let count = 1 + self.random.index(12);
        let inboxes: Vec<Vec<u8>> =
            (0..count).map(|inbox| format!("user-{inbox:02}").into_bytes()).collect();
        let targets = std::iter::once((FEED, conversation.as_slice()))
            .chain(inboxes.iter().map(|inbox| (INBOX, inbox.as_slice())));
        batch.fan_out(targets, &payload, None, None, true).unwrap();
        let first = batch.append_count() - count - 1;
        let seq = self.assign_at(batch, first, FEED, &conversation, None, None, &payload);
        let origin = Origin { table: FEED, key: conversation.into(), seq };
        for (target, inbox) in (first + 1..).zip(&inboxes) {
            let origin = Some(origin.clone());
            self.assign_at(batch, target, INBOX, inbox, None, origin, &payload);
        }
    }

    /// Assigns the seq of the last target.
    fn assign(
        &mut self,
        batch: &mut WriteBatch,
        table: TableId,
        key: &[u8],
        event_ms: Option<i64>,
        origin: Option<Origin>,
        payload: &[u8],
    ) {
        let target = batch.append_count() - 1;
        self.assign_at(batch, target, table, key, event_ms, origin, payload);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one expected entry")]
    fn assign_at(
        &mut self,
        batch: &mut WriteBatch,
        target: usize,
        table: TableId,
        key: &[u8],
        event_ms: Option<i64>,
        origin: Option<Origin>,
        payload: &[u8],
    ) -> u64 {
        let jump = if self.random.chance(1, 30) { 1000 } else { 1 };
        let timeline = self.timelines.entry((table, key.to_vec())).or_default();
        let seq = timeline.last().map_or(1, |last| last.0 + jump);
        batch.assign(target, seq);
        let stamp = (self.commit, self.time_ms);
        timeline.push((seq, stamp.0, stamp.1, event_ms, origin, payload.to_vec()));
        seq
    }

    fn change_key(&mut self, batch: &mut WriteBatch, index: u32) {
        let key = format!("key-{:02}", self.random.below(25)).into_bytes();
        let number = i64::try_from(self.random.below(100)).unwrap() - 50;
        let (operation, value) = match self.random.below(6) {
            0 | 1 => (KeyedOperation::Put, self.payload(200)),
            2 => (KeyedOperation::Delete, Vec::new()),
            3 | 4 => (KeyedOperation::Add, number.to_le_bytes().to_vec()),
            _ => (KeyedOperation::Max, number.to_le_bytes().to_vec()),
        };
        match operation {
            KeyedOperation::Put => batch.put(META, &key, &value).unwrap(),
            KeyedOperation::Delete => batch.delete(META, &key).unwrap(),
            KeyedOperation::Add => batch.add(META, &key, number).unwrap(),
            KeyedOperation::Max => batch.max(META, &key, number).unwrap(),
            KeyedOperation::Mark => unreachable!("not for users' tables"),
        }
        let version = KeyedVersion {
            key: key.clone().into(),
            commit: self.commit,
            index,
            time_ms: self.time_ms,
            operation,
            value: Payload::from_vec(value),
        };
        self.keyed.entry(key).or_default().insert(0, version);
    }

    /// A snapshot begins now, or one ends.
    pub(super) fn change_snapshots(&mut self) {
        if self.snapshots.len() > 2 || self.random.chance(1, 3) {
            if !self.snapshots.is_empty() {
                let index = self.random.index(self.snapshots.len());
                self.snapshots.remove(index);
            }
        } else if self.snapshots.last() != Some(&self.commit) {
            self.snapshots.push(self.commit);
        }
    }

    pub(super) fn flush_job(&self) -> FlushJob {
        let memtable = Arc::clone(&self.memtable);
        let is_warm = |table: &FlushTable| WarmUp::is_due_above(&self.version, table.id);
        let tables = Store::tables().into_iter().map(|table| {
            let is_warm = is_warm(&table);
            table.into_warm(is_warm)
        });
        let snapshots = self.snapshots.clone();
        FlushJob::new(self.context.clone(), memtable, tables.collect(), snapshots)
    }

    /// Flushes the memtable. On an error it stays.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.run_flush(self.flush_job())
    }

    /// Runs a flush of the memtable to its end. On an error the memtable stays.
    pub(super) fn run_flush(&mut self, mut job: FlushJob) -> Result<()> {
        let output = loop {
            if let Some(output) = job.step()? {
                break output;
            }
        };
        assert!(job.step().is_err(), "a job that is over has no more steps");
        let added = output.sstables.into_iter().map(|sstable| (0, sstable)).collect();
        self.publish(JobOutput { added, ..JobOutput::default() });
        self.memtable = Arc::new(Memtable::new(self.commit, self.time_ms));
        for ((table, key), entries) in &self.timelines {
            let last = entries.last().expect("a timeline has entries");
            let record =
                StateRecord { next_seq: last.0 + 1, last_commit: last.1, last_time_ms: last.2 };
            self.states.insert((*table, key.clone()), record);
        }
        Ok(())
    }

    pub(super) fn compaction(&self, busy: &BTreeSet<u64>) -> Option<CompactionJob> {
        let job = pick(&self.version, &self.options, busy)?;
        let tables = Store::tables();
        let table = tables.iter().find(|table| table.id == job.table);
        let compression = table.map_or(Compression::None, |table| table.compression);
        let kept = Kept { snapshots: self.snapshots.clone(), ..Kept::default() };
        Some(CompactionJob::new(self.context.clone(), job, compression, kept))
    }

    /// Makes an outcome live, as the worker does after its sync.
    pub(super) fn publish(&mut self, output: JobOutput) {
        let mut removed = output.removed.clone();
        let mut added = output.added;
        for (number, level) in output.moved {
            let (_, sstable) = self.version.find(number).expect("a moved SSTable is live");
            added.push((level, Arc::clone(sstable)));
            removed.push(number);
        }
        let before = std::mem::take(&mut self.version);
        self.version = before.apply(&removed, added);
        for number in output.removed {
            let (_, sstable) = before.find(number).expect("a removed SSTable was live");
            sstable.mark_obsolete(self.generation);
            let live = self.segments();
            let gone = sstable.segments().iter().filter(|s| !live.contains_key(&s.meta().number));
            gone.for_each(|segment| segment.mark_obsolete(self.generation));
        }
        drop(before);
        self.generation += 1;
        self.context.allocator.durable(self.generation);
    }

    /// The segments that live SSTables need, with the bytes of their extents.
    pub(super) fn segments(&self) -> BTreeMap<u64, u64> {
        let needed = self.version.iter().flat_map(|(.., item)| item.segments().iter());
        let metas = needed.map(|segment| segment.meta());
        metas.map(|meta| (meta.number, meta.extent.length)).collect()
    }

    /// Runs a job to its end. On an error it is dropped.
    pub(super) fn run(&mut self, mut job: CompactionJob) -> Result<()> {
        loop {
            if let Some(output) = job.step()? {
                self.publish(output);
                return Ok(());
            }
        }
    }

    /// Compacts until nothing is due.
    pub(super) fn settle(&mut self) -> Result<usize> {
        let mut jobs = 0;
        while let Some(job) = self.compaction(&BTreeSet::new()) {
            self.run(job)?;
            jobs += 1;
            assert!(jobs < 10_000, "the picker goes round in circles");
        }
        Ok(jobs)
    }

    /// Every byte of the grid is free, waits for a superblock, or is of a live SSTable; and nobody
    /// is in the way of a job.
    pub(super) fn check_space(&self) {
        let allocator = &self.context.allocator;
        let live: u64 = self.version.iter().map(|(.., item)| item.meta().extent.length).sum();
        let live = live + self.segments().values().sum::<u64>();
        let all = allocator.file_length() - GRID_START;
        assert_eq!(allocator.free_bytes() + allocator.released() + live, all, "bytes of the grid");
    }

    /// Everything that a reader can see is what the model says.
    pub(super) fn check(&self) {
        self.version.check_invariants().unwrap();
        self.check_space();
        for (_, _, sstable) in self.version.iter() {
            assert_eq!(sstable.verify(), []);
        }
        for ((table, key), expected) in &self.timelines {
            let found: Vec<Expected> =
                self.read(*table, key).into_iter().map(expected_of).collect();
            assert_eq!(found.len(), expected.len(), "entries of {}", String::from_utf8_lossy(key));
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found, expected, "in {}", String::from_utf8_lossy(key));
            }
        }
        let seen = self.snapshots.iter().copied().chain([self.commit]);
        for (commit, (key, history)) in
            seen.flat_map(|commit| self.keyed.iter().map(move |entry| (commit, entry)))
        {
            let expected = fold(history.iter().filter(|version| version.commit <= commit));
            let versions = self.versions(META, key, commit);
            let order = |version: &KeyedVersion| (version.commit, version.index);
            assert!(versions.is_sorted_by(|a, b| order(a) > order(b)), "versions of a key");
            assert_eq!(fold(&versions), expected, "{} at {commit}", String::from_utf8_lossy(key));
        }
        for ((table, key), expected) in &self.states {
            let versions = self.versions(STATE_TABLE, &state_key(*table, key), u64::MAX);
            let value = fold(&versions).expect("a timeline is recorded by its first flush");
            let record = StateRecord::decode(&value).unwrap();
            assert_eq!(versions[0].commit, record.last_commit);
            assert!(!record.is_newer_than(expected));
            let newest = self.candidates(*table, key).iter().find_map(|it| it.find(key).unwrap());
            assert_eq!(state_of_run(&newest.expect("nothing was dropped")), *expected);
        }
    }

    /// The SSTables that may hold a key, newest first.
    fn candidates(&self, table: TableId, key: &[u8]) -> Vec<Arc<Sstable>> {
        self.version.candidates(table, key).cloned().collect()
    }

    /// A timeline as readers read it, oldest first.
    fn read(&self, table: TableId, key: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for sstable in self.candidates(table, key).iter().rev() {
            if let Some(run) = sstable.find(key).unwrap() {
                let mut cursor = sstable.walk(key, &run, 0, Direction::Forward).unwrap();
                while let Some(entry) = cursor.next().unwrap() {
                    entries.push(entry);
                }
            }
        }
        if let Some(run) = self.memtable.run(table, key) {
            entries.extend(run.cursor(0, Direction::Forward).map(Result::unwrap));
        }
        entries
    }

    fn versions(&self, table: TableId, key: &[u8], commit: u64) -> Vec<KeyedVersion> {
        let mut versions = self.memtable.versions(table, key, commit);
        for sstable in self.candidates(table, key) {
            versions.extend(sstable.versions(key, commit).unwrap());
        }
        versions
    }

    /// The number that the next SSTable gets.
    pub(super) fn next_number(&self) -> u64 {
        self.context.next_number.load(Ordering::Relaxed)
    }
}

fn expected_of(entry: Entry) -> Expected {
    let Entry { seq, commit, time_ms, event_ms, ttl_ms: _, origin, payload, revision, erased } =
        entry;
    assert_eq!(revision, None, "amendments are laid over entries by readers alone");
    assert!(!erased, "nothing was erased");
    (seq, commit, time_ms, event_ms, origin, payload.to_vec())
}
