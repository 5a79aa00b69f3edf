//! Defects that were found in reading, opening and compacting: one test each, with its story.

use super::world::{START_MS, World, tiny, tiny_read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidelog_engine::limits::{RING_OFFSET, SUPERBLOCK_SIZE};
use tidelog_engine::testing::fuzzing::superblock::{copy_range, repair};
use tidelog_engine::testing::{SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};
use tidelog_engine::{
    Direction, Disk, Durability, Engine, ErrorKind, Flush, GapReason, Geometry, Identity, Item,
    Options, Parts, ReadMode, Region, Result, TableId, TableOptions, WriteBatch,
};

fn append(engine: &Engine, table: TableId, key: &[u8], payload: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
}

/// A file of these bytes on a machine of its own.
fn world_of(bytes: &[u8]) -> World {
    let disk = SimDisk::from_bytes(SimOptions::default(), bytes);
    World { disk, cold: None, clock: SimClock::new(START_MS), seed: 5 }
}

/// The place of `needle` behind a ring of this length.
fn find(bytes: &[u8], ring_bytes: u64, needle: &[u8]) -> usize {
    let start = usize::try_from(RING_OFFSET + ring_bytes).unwrap();
    let found = bytes[start..].windows(needle.len()).position(|window| window == needle);
    start + found.expect("an SSTable holds it")
}

/// Called with the offset of a read before it is done; says whether it has done its work.
type Hook = Box<dyn FnMut(u64) -> bool + Send>;

/// A reader's disk: something happens, once, between two of its reads.
struct Watched {
    disk: SimDisk,
    hook: Mutex<Option<Hook>>,
}

impl Watched {
    fn open(world: &World, options: &Options, hook: Hook) -> Result<Engine> {
        let disk = Watched { disk: world.disk.reopen(), hook: Mutex::new(Some(hook)) };
        let parts = Parts {
            disk: Arc::new(disk),
            cold: None,
            clock: Arc::new(world.clock.clone()),
            scheduler: Arc::new(SimScheduler::new(1, world.clock.clone())),
            entropy: Arc::new(SeededEntropy::new(1)),
            name: "watched.tide".to_owned(),
        };
        let options = Options { read_only: true, create: false, ..options.clone() };
        Engine::open_with(parts, options)
    }
}

impl Disk for Watched {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn identity(&self) -> Identity {
        self.disk.identity()
    }

    fn length(&self) -> std::io::Result<u64> {
        self.disk.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut hook = self.hook.lock().unwrap();
        if hook.as_mut().is_some_and(|hook| hook(offset)) {
            *hook = None;
        }
        drop(hook);
        self.disk.read_at(offset, buffer)
    }

    fn write_at(&self, _: u64, _: &[u8], _: Flush) -> std::io::Result<usize> {
        panic!("a reader writes nothing")
    }

    fn sync(&self) -> std::io::Result<()> {
        self.disk.sync()
    }

    fn allocate(&self, _: u64, _: u64) -> std::io::Result<()> {
        panic!("a reader allocates nothing")
    }

    fn truncate(&self, _: u64) -> std::io::Result<()> {
        panic!("a reader cuts nothing")
    }

    fn punch_hole(&self, _: u64, _: u64) -> std::io::Result<bool> {
        panic!("a reader punches nothing")
    }

    fn map(&self, offset: u64, length: u64) -> std::io::Result<Region> {
        self.disk.map(offset, length)
    }

    fn try_lock(&self) -> std::io::Result<bool> {
        self.disk.try_lock()
    }
}

/// A reader beside a writer has read a block through a map, so its verified bit is set. The writer
/// compacts the SSTable away and writes something else to its place: the map shows the new bytes,
/// and nobody verifies them again.
#[test]
fn a_reader_beside_a_writer_does_not_read_through_maps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.tide");
    let writer = Engine::open(&path, tiny()).unwrap();
    let table = writer.create_table("message", TableOptions::timeline()).unwrap();
    append(&writer, table, b"t", b"the original bytes");
    writer.flush().unwrap();
    let options = Options { read_only: true, create: false, read_mode: ReadMode::Map, ..tiny() };
    let reader = Engine::open(&path, options).unwrap();
    let read = || reader.snapshot().get(table, b"t", 1);
    assert_eq!(&*read().unwrap().unwrap().payload, b"the original bytes");
    let bytes = std::fs::read(&path).unwrap();
    let place = find(&bytes, tiny().ring_bytes, b"the original bytes");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"somebody's secrets", place as u64).unwrap();
    file.sync_all().unwrap();
    match read() {
        Ok(entry) => assert_eq!(&*entry.unwrap().payload, b"the original bytes"),
        Err(error) => assert_ne!(error.kind(), ErrorKind::InvalidUse),
    }
}

/// The reader reads a stretch of the log and finds its end. Before it looks further ahead, the
/// writer appends more than that stretch: the look-ahead meets groups that were synced behind the
/// end, and the end was called damage, though the root had not moved.
#[test]
fn a_log_that_grows_under_a_reader_is_not_damaged() {
    let world = World::new(31);
    let options = Options {
        ring_bytes: 4 << 20,
        memtable_bytes: 16 << 20,
        memory_budget: 256 << 20,
        ..tiny_read()
    };
    let process = world.open(&options).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..5 {
        append(&process.engine, table, b"t", &[1; 1000]);
    }
    let writer = process.engine.clone();
    let hook = move |offset| {
        let ring = RING_OFFSET..RING_OFFSET + (4 << 20);
        let behind = ring.contains(&offset) && offset >= RING_OFFSET + (256 << 10);
        if behind {
            (0..20).for_each(|_| append(&writer, table, b"t", &[2; 60_000]));
        }
        behind
    };
    let reader = Watched::open(&world, &options, Box::new(hook)).unwrap();
    assert_eq!(reader.snapshot().len(table, b"t").unwrap(), 25);
    // Damage that stays is damage, for a reader as well.
    world.disk.flip_bit(RING_OFFSET + 700, 3);
    let error = Watched::open(&world, &options, Box::new(|_| true)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    process.kill();
}

/// The reader has read a root; before it reads the log of that root, the writer flushes and writes
/// on, a whole lap of the ring. The log seemed to end at its head, and commits that were
/// acknowledged before the reader was opened were missing.
#[test]
fn a_reader_that_was_lapped_begins_anew() {
    let world = World::new(32);
    let process = world.open(&tiny_read()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..10 {
        append(&process.engine, table, b"t", &[1; 500]);
    }
    let (writer, scheduler) = (process.engine.clone(), process.scheduler.clone());
    let hook = move |offset| {
        let in_ring = offset >= RING_OFFSET;
        if in_ring && offset < RING_OFFSET + tiny().ring_bytes {
            for _ in 0..400 {
                append(&writer, table, b"t", &[2; 1000]);
                scheduler.run_until_idle(20);
            }
            writer.flush().unwrap();
        }
        in_ring && offset < RING_OFFSET + tiny().ring_bytes
    };
    let reader = Watched::open(&world, &tiny_read(), Box::new(hook)).unwrap();
    assert_eq!(reader.snapshot().len(table, b"t").unwrap(), 410);
    process.kill();
}

/// The list of timelines showed what was there when it was made: timelines that the snapshot does
/// not know, and next seqs, commits and times from its future.
#[test]
fn timelines_are_listed_as_they_were_at_the_snapshot() {
    let world = World::new(33);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let write = |key: &[u8]| {
        world.clock.advance(Duration::from_millis(7));
        append(engine, table, key, b"payload");
    };
    (0..3).for_each(|_| write(b"old"));
    engine.flush().unwrap();
    (0..2).for_each(|_| write(b"old"));
    let snapshot = engine.snapshot();
    let newest = snapshot.latest(table, b"old").unwrap().unwrap();
    assert_eq!(newest.seq, 5);
    let check = |moment: &str| {
        let listed = snapshot.timelines(table, b"", None).unwrap();
        let listed: Vec<_> = listed.map(|timeline| timeline.unwrap()).collect();
        assert_eq!(listed.len(), 1, "{moment}: {listed:?}");
        assert_eq!(&*listed[0].key, b"old");
        let found = (listed[0].next_seq, listed[0].last_commit, listed[0].last_time_ms);
        assert_eq!(found, (6, newest.commit, newest.time_ms), "{moment}");
    };
    check("at once");
    (0..4).for_each(|_| write(b"old"));
    write(b"new");
    check("in memory");
    engine.flush().unwrap();
    check("between two records");
    write(b"old");
    engine.compact().unwrap();
    check("compacted");
    let now = engine.snapshot().timelines(table, b"", None).unwrap();
    let now: Vec<_> = now.map(|timeline| timeline.unwrap().next_seq).collect();
    assert_eq!(now, [2, 11], "new, old");
}

/// A superblock with a valid checksum and counters at the brink: counting on overflowed.
#[test]
fn counters_at_the_brink_are_refused() {
    let world = World::new(34);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"t", b"payload");
    let bytes = world.disk.bytes();
    process.kill();
    let fields = [("sequence", 16), ("incarnation", 40), ("WAL lsn", 136), ("synced lsn", 152)];
    for (name, offset) in fields.into_iter().chain([("commit", 160), ("clock", 168)]) {
        for value in [u64::MAX, u64::MAX - 1, (u64::MAX - 4096) & !4095, 1 << 63] {
            let mut bytes = bytes.clone();
            for copy in 0..4 {
                let copy = &mut bytes[copy_range(copy)];
                copy[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
                repair(copy);
            }
            for read_only in [false, true] {
                let options = Options { read_only, create: false, ..tiny() };
                let error = world_of(&bytes).open(&options).err();
                let kind = error.map(|error| error.kind());
                assert_eq!(kind, Some(ErrorKind::Corruption), "{name} {value}, {read_only}");
            }
        }
    }
}

/// A file made by somebody else: its root says that the log begins before commits that its SSTables
/// hold already, so two sources of a timeline share seqs. The scan panicked.
#[test]
fn sources_that_overlap_are_damage() {
    let world = World::new(35);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let before = world.disk.bytes()[..SUPERBLOCK_SIZE].to_vec();
    for _ in 0..10 {
        append(&process.engine, table, b"t", &[3; 100]);
    }
    process.engine.flush().unwrap();
    let mut bytes = world.disk.bytes();
    process.kill();
    for copy in 0..4 {
        let copy = &mut bytes[copy_range(copy)];
        // The head of the log, and the last commit before it.
        copy[132..144].copy_from_slice(&before[132..144]);
        copy[160..168].copy_from_slice(&before[160..168]);
        repair(copy);
    }
    let options = Options { read_only: true, create: false, ..tiny() };
    let process = world_of(&bytes).open(&options).unwrap();
    for direction in [Direction::Forward, Direction::Backward] {
        let snapshot = process.engine.snapshot();
        let mut scan = snapshot.scan(table, b"t", 0, u64::MAX, direction).unwrap();
        let entries = scan.by_ref().take_while(|entry| entry.is_ok()).count();
        assert_eq!(entries, 10, "{direction:?}");
        assert!(scan.next().is_none(), "after an error a scan is at its end");
        let last = snapshot.scan(table, b"t", 0, u64::MAX, direction).unwrap().last();
        assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::Corruption);
    }
}

/// One bit of one SSTable is flipped. Its compaction fails, is picked again and fails again, while
/// level 0 grows behind it, of its own table and of all others, until every writer is refused.
#[test]
fn a_damaged_sstable_does_not_stop_the_writers() {
    let world = World::new(36);
    let process = world.open(&tiny_read()).unwrap();
    let engine = &process.engine;
    let damaged = engine.create_table("damaged", TableOptions::timeline()).unwrap();
    let healthy = engine.create_table("healthy", TableOptions::timeline()).unwrap();
    append(engine, damaged, b"s", b"two timelines, so that SSTables overlap");
    append(engine, damaged, b"t", b"the bytes that will rot");
    engine.flush().unwrap();
    let place = find(&world.disk.bytes(), tiny().ring_bytes, b"the bytes that will rot");
    world.disk.flip_bit(place as u64, 2);
    for number in 0..1200u32 {
        let mut batch = WriteBatch::new();
        batch.append(damaged, b"t", &[1; 500], None).unwrap();
        batch.append(damaged, b"s", &[1; 50], None).unwrap();
        batch.append(healthy, b"s", &[2; 50], None).unwrap();
        batch.append(healthy, b"t", &[2; 500], None).unwrap();
        let committed = engine.commit(batch, Durability::Sync);
        assert!(committed.is_ok(), "commit {number}: {committed:?}");
        process.scheduler.run_until_idle(20);
    }
    let stats = engine.stats();
    assert!(stats.flushes > 60, "{} flushes are not enough for this test", stats.flushes);
    assert!(stats.compactions > 3, "the other tables are compacted: {stats:?}");
    assert_eq!(engine.compact().unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(engine.compact().unwrap_err().kind(), ErrorKind::Corruption, "asked again");
    append(engine, damaged, b"t", b"still open");
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.latest_seq(damaged, b"t").unwrap(), 1202);
    assert_eq!(snapshot.len(healthy, b"t").unwrap(), 1200);
    assert_eq!(snapshot.get(damaged, b"t", 1).unwrap_err().kind(), ErrorKind::Corruption);
}

/// A memtable of 64 MiB in a budget of 256 KiB: the budget was not asked.
#[test]
fn memtables_stay_inside_the_memory_budget() {
    let world = World::new(37);
    let budget = 256 * 1024;
    let options =
        Options { ring_bytes: 4 << 20, memtable_bytes: 64 << 20, memory_budget: budget, ..tiny() };
    let process = world.open(&options).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..600 {
        append(&process.engine, table, b"t", &[1; 1000]);
        process.scheduler.run_until_idle(20);
        let bytes = process.engine.stats().memtable_bytes;
        // Two memtables of a quarter each, and what the last batch of each took beyond it.
        assert!(bytes <= budget as u64 / 2 + 32 * 1024, "{bytes} bytes in memtables");
    }
    assert!(process.engine.stats().flushes > 5);
}

/// A scan that says what is missing told of a loss of power where entries had expired, and their
/// SSTables were gone, while it went on.
#[test]
fn what_expires_while_a_scan_goes_on_was_not_lost() {
    let world = World::new(132);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let options = TableOptions::timeline().ttl(Duration::from_secs(100));
    let table = engine.create_table("sync", options).unwrap();
    for _ in 0..20 {
        for _ in 0..10 {
            append(engine, table, b"t", &[7; 300]);
        }
        engine.flush().unwrap();
        world.clock.advance(Duration::from_secs(4));
    }
    let snapshot = engine.snapshot();
    let mut items = snapshot.scan_items(table, b"t", 0, u64::MAX, Direction::Forward).unwrap();
    let first: Vec<_> = items.by_ref().take(20).map(Result::unwrap).collect();
    assert!(first.iter().all(|item| matches!(item, Item::Entry(_))), "nothing is missing yet");
    // All but the newest expire, and are dropped.
    world.clock.advance(Duration::from_secs(90));
    append(engine, table, b"t", &[7; 300]);
    engine.compact().unwrap();
    process.scheduler.run_until_idle(500);
    let rest: Vec<_> = items.map(Result::unwrap).collect();
    let told = |wanted: GapReason| {
        rest.iter().any(|item| matches!(item, Item::Gap(gap) if gap.reason == wanted))
    };
    assert!(told(GapReason::Expired), "{rest:?}");
    assert!(!told(GapReason::Lost), "{rest:?}");
}
