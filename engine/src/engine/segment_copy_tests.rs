//! Segments that are replaced under readers, jobs, drops and crashes, over a simulated disk.

use super::root::Change;
use super::segment_copy::{Replaced, SegmentReplacement};
use super::{Core, Engine, Parts};
use crate::batch::WriteBatch;
use crate::compaction::{CompactionJob, Job, JobKind, Kept};
use crate::entry::{Direction, TableId};
use crate::error::{ErrorKind, Result};
use crate::inspect::Inspector;
use crate::options::{Compression, Durability, Options, ReadMode, TableOptions};
use crate::segment::Segment;
use crate::sync::Arc;
use crate::testing::{CrashPolicy, SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};
use std::collections::BTreeSet;

const MESSAGES: u64 = 24;
const READERS: [&[u8]; 3] = [b"room", b"alice", b"bob"];

/// A machine, and a process on it.
struct Store {
    disk: SimDisk,
    clock: SimClock,
    engine: Engine,
    scheduler: SimScheduler,
    table: TableId,
}

fn options(mode: ReadMode) -> Options {
    Options {
        ring_bytes: 256 * 1024,
        memtable_bytes: 128 * 1024,
        sstable_bytes: 64 * 1024,
        memory_budget: 1 << 20,
        output_rate: 0,
        read_mode: mode,
        ..Options::default()
    }
}

fn open(disk: &SimDisk, clock: &SimClock, mode: ReadMode) -> Result<(Engine, SimScheduler)> {
    let scheduler = SimScheduler::new(3, clock.clone());
    let parts = Parts {
        disk: Arc::new(disk.reopen()),
        cold: None,
        clock: Arc::new(clock.clone()),
        scheduler: Arc::new(scheduler.clone()),
        entropy: Arc::new(SeededEntropy::new(disk.operation_count())),
        name: "simulated.tide".to_owned(),
    };
    Ok((Engine::open_with(parts, options(mode))?, scheduler))
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = format!("message {number} ").into_bytes();
    payload.resize(300, b'.');
    payload
}

impl Store {
    /// One segment, with a record for each message, and SSTables that refer to it.
    fn new(mode: ReadMode) -> Store {
        let (disk, clock) = (SimDisk::new(SimOptions::default()), SimClock::new(1_704_067_200_000));
        let (engine, scheduler) = open(&disk, &clock, mode).unwrap();
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        let store = Store { disk, clock, engine, scheduler, table };
        (0..MESSAGES).for_each(|number| store.send(&payload(number)));
        store.engine.flush().unwrap();
        assert_eq!(store.engine.stats().segments, 1);
        store
    }

    fn send(&self, payload: &[u8]) {
        let mut batch = WriteBatch::new();
        let targets = READERS.map(|key| (self.table, key));
        batch.fan_out(targets, payload, Some(5), None, true).unwrap();
        self.engine.commit(batch, Durability::Sync).unwrap();
    }

    fn core(&self) -> &Arc<Core> {
        &self.engine.handle.core
    }

    fn segment(&self) -> Arc<Segment> {
        self.core().open_segment(self.number()).unwrap()
    }

    fn number(&self) -> u64 {
        self.core().root.lock().catalog.segments.iter().next().unwrap().number
    }

    fn begin(&self, erase: &[usize]) -> SegmentReplacement {
        let segment = self.segment();
        let offsets: Vec<u64> = segment.verify_all().1.offsets().collect();
        assert!(erase.is_empty() || offsets.len() as u64 == MESSAGES);
        let erase: BTreeSet<u64> = erase.iter().map(|index| offsets[*index]).collect();
        begin(self.core(), segment, erase).unwrap()
    }

    fn replace(&self, erase: &[usize]) -> Result<Replaced> {
        finish(self.core(), self.begin(erase))
    }

    /// Every timeline shows the messages, those that were erased without payload.
    fn check(&self, erased: &[usize]) {
        assert_eq!(shown(&self.engine, self.table).unwrap(), expected(erased));
        self.check_open_segments();
    }

    /// All open SSTables hold what the catalog says.
    fn check_open_segments(&self) {
        let root = self.core().root.lock();
        for (_, _, sstable) in self.core().views.current().version.iter() {
            for segment in sstable.segments().iter() {
                let live = root.catalog.segments.get(segment.meta().number);
                assert_eq!(live, Some(segment.meta()));
            }
        }
    }

    /// Two roots later everything but what is live is free.
    fn check_space(&self) {
        let core = self.core();
        (0..3).for_each(|_| core.commit_root(Change::default()).unwrap());
        assert_eq!((core.allocator.held(), core.allocator.released()), (0, 0));
        let root = core.root.lock();
        let sstables = root.catalog.version.iter().map(|(_, _, meta)| meta.extent.length);
        let segments = root.catalog.segments.iter().map(|meta| meta.extent.length);
        let live = sstables.chain(segments).sum::<u64>() + root.superblock.manifest.extent.length;
        assert_eq!(core.used_bytes(), live);
    }

    /// The process ends, and the next one finds the same.
    fn check_reopened(self, erased: &[usize]) {
        let (disk, clock, table) = (self.disk.clone(), self.clock.clone(), self.table);
        drop(self);
        let report = Inspector::over(Arc::new(disk.reopen())).verify().unwrap();
        assert_eq!(report.faults, []);
        assert_eq!(report.counts.erased, erased.len() as u64);
        let (engine, scheduler) = open(&disk, &clock, ReadMode::Map).unwrap();
        let store = Store { disk, clock, engine, scheduler, table };
        store.check(erased);
        store.check_space();
        store.engine.close().unwrap();
    }
}

/// The process is killed.
impl Drop for Store {
    fn drop(&mut self) {
        self.scheduler.kill();
        self.engine.clone().abandon();
    }
}

fn begin(
    core: &Arc<Core>,
    segment: Arc<Segment>,
    erase: BTreeSet<u64>,
) -> Result<SegmentReplacement> {
    let reservation = core.allocator.reserve(segment.meta().bytes, "a copy")?;
    Ok(SegmentReplacement::begin(core, segment, reservation, erase))
}

fn finish(core: &Core, mut replacement: SegmentReplacement) -> Result<Replaced> {
    while !replacement.step()? {}
    replacement.publish(core)
}

fn expected(erased: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let of_one = (0..).zip(0..MESSAGES).map(|(index, number)| match erased.contains(&index) {
        true => Vec::new(),
        false => payload(number),
    });
    vec![of_one.collect(); READERS.len()]
}

fn shown(engine: &Engine, table: TableId) -> Result<Vec<Vec<Vec<u8>>>> {
    let of_one = |key: &&[u8]| {
        let scan = engine.snapshot().scan(table, key, 0, u64::MAX, Direction::Forward)?;
        scan.map(|entry| {
            let entry = entry?;
            assert_eq!(entry.event_ms, Some(5), "it outlives the payload");
            Ok(entry.payload.to_vec())
        })
        .collect()
    };
    READERS.iter().map(of_one).collect()
}

#[test]
fn readers_go_on_in_the_old_extent_until_they_let_go() {
    for mode in [ReadMode::Map, ReadMode::Read] {
        let store = Store::new(mode);
        store.check(&[]);
        let snapshot = store.engine.snapshot();
        let scan = |key| snapshot.scan(store.table, key, 0, u64::MAX, Direction::Forward).unwrap();
        let mut held = scan(b"alice");
        let first = held.next().unwrap().unwrap();
        let old = store.segment().meta().clone();
        assert_eq!(store.replace(&[0, 7]).unwrap(), Replaced::Done);
        let new = store.segment().meta().clone();
        assert!(new.number == old.number && new.extent != old.extent);
        store.check(&[0, 7]);
        (0..3).for_each(|_| store.core().commit_root(Change::default()).unwrap());
        assert!(store.core().allocator.held() >= old.extent.length, "the scan holds it");
        // Whoever writes now is not given it.
        let others: Vec<_> =
            (0..64).map(|_| store.core().allocator.reserve(4096, "a block").unwrap()).collect();
        let meets = |offset| (old.extent.offset..old.extent.end()).contains(&offset);
        assert!(others.iter().all(|other| !meets(other.extent().offset)));
        drop(others);
        assert_eq!(*first.payload, payload(0)[..]);
        for (number, entry) in (1..MESSAGES).zip(held.by_ref()) {
            assert_eq!(*entry.unwrap().payload, payload(number)[..], "{mode:?}");
        }
        drop((first, held, snapshot));
        store.check_space();
        store.check_reopened(&[0, 7]);
    }
}

#[test]
fn a_segment_is_replaced_again_and_again() {
    for mode in [ReadMode::Map, ReadMode::Read] {
        let store = Store::new(mode);
        let mut erased = Vec::new();
        let mut places = BTreeSet::new();
        for round in 0..8 {
            // Read first, so that caches are full of what it was.
            store.check(&erased);
            places.insert(store.segment().meta().extent.offset);
            if round % 2 == 1 {
                erased.push(3 * round);
            }
            let newest = &erased[erased.len() - round % 2..];
            assert_eq!(store.replace(newest).unwrap(), Replaced::Done);
            store.check(&erased);
            // Now and then the first place is free again, and taken.
            (0..2).for_each(|_| store.core().commit_root(Change::default()).unwrap());
        }
        assert!(places.len() < 8, "old places are used again: {places:?}");
        store.check_space();
        store.check_reopened(&erased);
    }
}

#[test]
fn of_two_replacements_the_first_to_publish_wins() {
    let store = Store::new(ReadMode::Map);
    let (one, other) = (store.begin(&[1]), store.begin(&[2]));
    assert_eq!(finish(store.core(), other).unwrap(), Replaced::Done);
    assert_eq!(finish(store.core(), one).unwrap(), Replaced::Overtaken);
    store.check(&[2]);
    store.check_space();
    store.check_reopened(&[2]);
}

/// The outputs of a compaction hold the references of its inputs, and the segments that these held.
#[test]
fn a_compaction_that_began_before_refers_to_the_replacement() {
    for mode in [ReadMode::Map, ReadMode::Read] {
        let store = Store::new(mode);
        let core = store.core();
        let view = core.views.current();
        let (_, shard, levels) =
            view.version.all_shards().find(|(table, ..)| *table == store.table).unwrap();
        let inputs: Vec<_> = levels.iter().map(|(level, it)| (level, Arc::clone(it))).collect();
        let job = Job {
            table: store.table,
            shard,
            inputs,
            output_level: 1,
            kind: JobKind::Merge,
            below: Default::default(),
        };
        drop(view);
        let context = core.output.clone();
        let mut job = CompactionJob::new(context, job, Compression::None, Kept::default());
        let output = loop {
            if let Some(output) = job.step().unwrap() {
                break output;
            }
        };
        let old = store.segment().meta().extent;
        assert_eq!(store.replace(&[5]).unwrap(), Replaced::Done);
        let held = |output: &[(u8, Arc<crate::sstable::Sstable>)]| {
            let segments = output.iter().flat_map(|(_, sstable)| sstable.segments().iter());
            segments.map(|segment| segment.meta().extent).collect::<Vec<_>>()
        };
        assert!(held(&output.added).iter().all(|extent| *extent == old));
        let (removed, added) = (output.removed, output.added);
        core.commit_root(Change { removed, added, ..Change::default() }).unwrap();
        drop(job);
        store.check(&[5]);
        store.check_space();
        store.check_reopened(&[5]);
    }
}

#[test]
fn a_segment_that_is_dropped_during_the_copy_stays_dropped() {
    let store = Store::new(ReadMode::Map);
    let core = store.core();
    let mut replacement = store.begin(&[5]);
    assert!(replacement.step().unwrap());
    core.drop_table(store.table).unwrap();
    assert_eq!(store.engine.stats().segments, 0);
    assert_eq!(replacement.publish(core).unwrap(), Replaced::Dropped);
    store.check_space();
    // One that is given up gives its extent back too.
    let store = Store::new(ReadMode::Map);
    let mut replacement = store.begin(&[5]);
    assert!(replacement.step().unwrap());
    drop(replacement);
    store.check(&[]);
    store.check_space();
}

#[test]
fn damage_is_not_copied_and_keeps_nobody_waiting() {
    let store = Store::new(ReadMode::Read);
    let old = store.segment().meta().clone();
    store.disk.flip_bit(old.extent.offset + 2000, 3);
    let error = store.replace(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    assert_eq!(store.segment().meta(), &old);
    // A segment lies at the end, much is free below it, and it cannot be moved.
    for _ in 0..2 {
        store.engine.compact().unwrap();
        assert_eq!(store.segment().meta(), &old);
    }
    store.check_space();
    let read = |seq| store.engine.snapshot().get(store.table, b"bob", seq);
    assert!(read(1).unwrap().is_some(), "its neighbours can be read");
    let damaged = (1..=MESSAGES).filter(|seq| read(*seq).is_err()).count();
    assert_eq!(damaged, 1);
    store.disk.flip_bit(old.extent.offset + 2000, 3);
    assert_eq!(store.replace(&[]).unwrap(), Replaced::Done);
}

/// Power is lost at every operation of a replacement: the segment is the old or the new one, and
/// what neither names is free.
#[test]
fn power_is_lost_at_every_operation_of_a_replacement() {
    let erased = [0, 11, 23];
    let run = |crash_at: Option<u64>| {
        let store = Store::new(ReadMode::Map);
        let start = store.disk.operation_count();
        if let Some(at) = crash_at {
            store.disk.crash_at(start + at);
        }
        let replaced = store.replace(&erased);
        let operations = store.disk.operation_count() - start;
        (store, operations, replaced)
    };
    let (store, operations, replaced) = run(None);
    assert_eq!(replaced.unwrap(), Replaced::Done);
    store.check_reopened(&erased);
    let (mut old, mut new) = (0, 0);
    for at in 0..operations {
        let (store, _, replaced) = run(Some(at));
        assert!(replaced.is_err(), "operation {at} of {operations}");
        let seed = at;
        let mut policies = vec![
            CrashPolicy::DropAll,
            CrashPolicy::KeepAll,
            CrashPolicy::Kill,
            CrashPolicy::Random { seed },
            CrashPolicy::Random { seed: seed + 1000 },
        ];
        for index in 0..store.disk.pending_count() {
            policies.extend([CrashPolicy::DropOne(index), CrashPolicy::KeepOne(index)]);
            policies.push(CrashPolicy::TearOne { index, seed });
        }
        for policy in policies {
            let disk = store.disk.crash_image(&policy);
            let (engine, scheduler) = open(&disk, &store.clock, ReadMode::Map)
                .unwrap_or_else(|error| panic!("operation {at}, {policy:?}: {error}"));
            let clock = store.clock.clone();
            let image = Store { disk, clock, engine, scheduler, table: store.table };
            let found = shown(&image.engine, image.table).unwrap();
            let survived: &[usize] = match found == expected(&erased) {
                true => &erased,
                false => &[],
            };
            assert_eq!(found, expected(survived), "operation {at}, {policy:?}");
            if survived.is_empty() {
                old += 1
            } else {
                new += 1
            }
            image.check_space();
            image.check_reopened(survived);
        }
    }
    assert!(old > 20 && new > 2, "{old} old, {new} new");
}

/// A large payload is named by the log first, by the manifest later: only then is it replaced, and
/// a crash at once behind it finds it, with what the log has of others.
#[test]
fn a_large_payload_is_replaced_once_the_manifest_names_it() {
    let store = Store::new(ReadMode::Map);
    let large = vec![7; 300_000];
    store.send(&large);
    let count = |store: &Store| store.core().root.lock().catalog.segments.iter().count();
    assert_eq!(count(&store), 1, "the log alone names it");
    store.engine.flush().unwrap();
    assert_eq!(count(&store), 2);
    // The next one is in the log while the first is replaced.
    store.send(&vec![8; 300_000]);
    let number = store.core().root.lock().catalog.segments.iter().last().unwrap().number;
    let segment = store.core().open_segment(number).unwrap();
    let replacement = begin(store.core(), segment, BTreeSet::new()).unwrap();
    assert_eq!(finish(store.core(), replacement).unwrap(), Replaced::Done);
    let check = |engine: &Engine| {
        for (seq, byte) in [(MESSAGES + 1, 7), (MESSAGES + 2, 8)] {
            let entry = engine.snapshot().get(store.table, b"bob", seq).unwrap().unwrap();
            assert!(entry.payload.len() == 300_000 && entry.payload.iter().all(|it| *it == byte));
        }
    };
    check(&store.engine);
    store.scheduler.kill();
    for policy in [CrashPolicy::DropAll, CrashPolicy::Kill] {
        let disk = store.disk.crash_image(&policy);
        assert_eq!(Inspector::over(Arc::new(disk.reopen())).verify().unwrap().faults, []);
        let (clock, table) = (store.clock.clone(), store.table);
        let (engine, scheduler) = open(&disk, &clock, ReadMode::Map).unwrap();
        let image = Store { disk, clock, engine, scheduler, table };
        check(&image.engine);
        image.engine.flush().unwrap();
        check(&image.engine);
    }
}
