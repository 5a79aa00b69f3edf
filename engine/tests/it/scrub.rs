//! Scrub, and the verification of a file that lives: all damage, nothing else, and nobody waits.

use super::reference::{Step, send};
use super::sim::Sim;
use super::world::{Process, World, tiny, tiny_read};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::{Inspector, VerifyOptions};
use tidelog_engine::testing::Random;
use tidelog_engine::{
    Clock, Direction, Durability, Engine, ErrorKind, Options, Progress, Scheduler, ScrubFault,
    ScrubOptions, ScrubReport, ScrubStructure, TableId, TableOptions, Tier, Worker, WriteBatch,
};

const FAST: u64 = 1 << 30;

/// A store with everything in it: timelines and keys in SSTables, segments, and a log.
struct Full {
    world: World,
    process: Process,
    messages: TableId,
    values: TableId,
    commits: u64,
}

impl Full {
    fn new(seed: u64, options: &Options) -> Full {
        let world = World::new(seed);
        let process = world.open(options).unwrap();
        let engine = process.engine.clone();
        let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
        let values = engine.create_table("value", TableOptions::keyed()).unwrap();
        let mut full = Full { world, process, messages, values, commits: 0 };
        (0..240).for_each(|_| full.commit());
        engine.flush().unwrap();
        engine.compact().unwrap();
        while full.inspector().log().unwrap().groups.len() < 6 {
            full.commit();
        }
        full
    }

    fn commit(&mut self) {
        let number = self.commits;
        self.commits += 1;
        let mut batch = WriteBatch::new();
        let keys = [[b'a' + u8::try_from(number % 7).unwrap()], [b'z']];
        let targets = keys.iter().map(|key| (self.messages, &key[..]));
        batch.fan_out(targets, &[7; 300], None, None, false).unwrap();
        batch.append(self.messages, b"own", &[8; 300], None).unwrap();
        batch.put(self.values, &number.to_be_bytes(), &[9; 40]).unwrap();
        self.process.engine.commit(batch, Durability::Sync).unwrap();
    }

    fn inspector(&self) -> Inspector {
        Inspector::over(Arc::new(self.world.disk.reopen()))
    }

    /// Reads all that there is: how many entries, and how many reads failed.
    fn read(&self) -> (u64, u64) {
        let snapshot = self.process.engine.snapshot();
        let (mut good, mut bad) = (0, 0);
        for key in [&b"a"[..], b"b", b"c", b"d", b"e", b"f", b"g", b"z", b"own"] {
            let Ok(scan) = snapshot.scan(self.messages, key, 0, u64::MAX, Direction::Forward)
            else {
                bad += 1;
                continue;
            };
            for entry in scan {
                match entry {
                    Ok(entry) => {
                        let byte = if key == b"own" { 8 } else { 7 };
                        assert!(*entry.payload == [byte; 300], "wrong bytes were served");
                        good += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
                        bad += 1;
                        break;
                    }
                }
            }
        }
        for number in 0..self.commits {
            match snapshot.value(self.values, &number.to_be_bytes()) {
                Ok(value) => {
                    assert_eq!(*value.unwrap(), [9; 40]);
                    good += 1;
                }
                Err(_) => bad += 1,
            }
        }
        (good, bad)
    }
}

fn scrub(engine: &Engine) -> ScrubReport {
    engine.scrub(ScrubOptions::default().pace(FAST)).unwrap().run().unwrap()
}

/// Every structure with the places in it that are to be damaged.
fn places(full: &Full) -> Vec<(ScrubStructure, u64, u64)> {
    let inspector = full.inspector();
    let root = inspector.root().unwrap();
    let mut places = vec![(ScrubStructure::Superblock, 2 * 16 * 1024, 4096)];
    let log = inspector.log().unwrap();
    let middle = &log.groups[log.groups.len() / 2];
    places.push((ScrubStructure::Log, middle.offset, 200));
    let records = inspector.manifest().unwrap().records;
    let record = &records[records.len() / 2];
    assert!(record.offset < root.manifest.offset + root.manifest_length);
    places.push((ScrubStructure::Manifest, record.offset, 30));
    let segments = inspector.segments().unwrap();
    assert!(!segments.is_empty());
    for meta in segments {
        let structure = ScrubStructure::Segment(meta.number);
        places.push((structure, meta.extent.offset, 300));
        places.push((structure, meta.extent.offset + meta.bytes - 64, 64));
    }
    for sstable in inspector.sstables().unwrap() {
        let number = sstable.meta.number;
        let blocks = inspector.blocks(number).unwrap();
        assert!(blocks.len() >= 6, "{blocks:?}");
        let structure = ScrubStructure::Sstable(number);
        places.extend(blocks.iter().map(|block| (structure, block.offset, block.length)));
    }
    places
}

#[test]
fn a_byte_that_rots_behind_every_cache_is_found_in_each_structure_and_named() {
    for options in [tiny(), tiny_read()] {
        let full = Full::new(3, &options);
        let engine = &full.process.engine;
        let (entries, bad) = full.read();
        assert!(entries > 900 && bad == 0);
        let clean = scrub(engine);
        assert_eq!((clean.fault_count, clean.whole, &clean.faults[..]), (0, true, &[][..]));
        assert!(clean.counts.sstables >= 2 && clean.counts.segments >= 1, "{:?}", clean.counts);
        assert!(clean.counts.log_bytes > 0);
        let tables = [full.messages, full.values];
        let mut spans = 0;
        for (structure, offset, length) in places(&full) {
            let place = offset + length / 3;
            full.world.disk.flip_bit(place, 3);
            let report = scrub(engine);
            let context = format!("{structure:?} at {place}: {:?}", report.faults);
            assert!(report.fault_count > 0 && report.whole, "{context}");
            assert!(report.faults.iter().all(|fault| fault.structure == structure), "{context}");
            let near =
                |fault: &ScrubFault| (offset..offset + length.max(4096)).contains(&fault.offset);
            assert!(report.faults.iter().any(near), "{context}");
            for fault in &report.faults {
                let of_table = !matches!(
                    structure,
                    ScrubStructure::Superblock | ScrubStructure::Log | ScrubStructure::Manifest
                );
                assert_eq!(fault.table.is_some(), of_table, "{context}");
                let Some(span) = &fault.entries else { continue };
                assert!(span.first <= span.last, "{context}");
                let whole = span.first.0 == b"a" && span.last.0 == b"z";
                spans += usize::from(!whole && fault.table.is_some_and(|it| tables.contains(&it)));
            }
            full.world.disk.flip_bit(place, 3);
        }
        assert!(spans > 2, "no stretch of entries was told");
        assert_eq!(full.read(), (entries, 0));
        let stats = engine.stats().scrub;
        assert!(stats.faults > 10 && stats.passes > 10 && !stats.running, "{stats:?}");
        assert!(stats.last_fault.is_some() && stats.last_pass_ms.is_some());
    }
}

/// Where the first data block of a table lies.
fn first_block(inspector: &Inspector, table: TableId) -> (u64, u64, u64) {
    let sstables = inspector.sstables().unwrap();
    let number = sstables.iter().find(|it| it.meta.table == table).unwrap().meta.number;
    let block = &inspector.blocks(number).unwrap()[0];
    (number, block.offset, block.length)
}

#[test]
fn what_lies_beside_the_damage_is_served_and_the_damage_is_told_with_its_entries() {
    let options = Options { sstable_bytes: 256 * 1024, ..tiny_read() };
    let full = Full::new(4, &options);
    let engine = &full.process.engine;
    let (entries, _) = full.read();
    let (number, offset, _) = first_block(&full.inspector(), full.messages);
    full.world.disk.flip_bit(offset + 40, 1);
    let report = scrub(engine);
    let fault = &report.faults[0];
    assert_eq!(fault.structure, ScrubStructure::Sstable(number));
    assert_eq!((fault.table, fault.offset), (Some(full.messages), offset));
    let span = fault.entries.clone().unwrap();
    assert!(span.first == (b"a".to_vec(), 1) && span.last.0 == b"own", "{span:?}");
    assert!((1..200).contains(&span.last.1), "{span:?}");
    let (good, _) = full.read();
    assert!(good * 2 > entries, "{good} of {entries} are served");
}

/// A map is verified on its first touch. What rots later was served, and compaction gave it a new
/// checksum.
#[test]
fn a_map_is_believed_no_more_once_a_scrub_has_found_rot_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rotten.tide");
    let engine = Engine::open(&path, tiny()).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..30 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", &[7; 300], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.flush().unwrap();
    let read = || {
        let scan = engine.snapshot().scan(table, b"t", 0, u64::MAX, Direction::Forward)?;
        scan.map(|entry| entry.map(|entry| entry.payload.to_vec())).collect::<Result<Vec<_>, _>>()
    };
    assert!(read().unwrap() == vec![vec![7; 300]; 30]);
    let (number, offset, length) = first_block(&Inspector::open(&path).unwrap(), table);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[9], offset + length / 2).unwrap();
    let report = scrub(&engine);
    assert_eq!(report.faults[0].structure, ScrubStructure::Sstable(number), "{report:?}");
    assert_eq!(read().unwrap_err().kind(), ErrorKind::Corruption);
    std::os::unix::fs::FileExt::write_all_at(&file, &[7], offset + length / 2).unwrap();
    assert!(read().unwrap() == vec![vec![7; 300]; 30]);
    // The system may drop the page that was right, and read the rotten one from the device.
    std::os::unix::fs::FileExt::write_all_at(&file, &[9], offset + length / 2).unwrap();
    assert_eq!(read().unwrap_err().kind(), ErrorKind::Corruption);
    std::os::unix::fs::FileExt::write_all_at(&file, &[7], offset + length / 2).unwrap();
    engine.close().unwrap();
}

#[test]
fn a_scrub_is_one_at_a_time_and_refuses_a_pace_below_its_limit() {
    let full = Full::new(5, &tiny());
    let engine = &full.process.engine;
    let error = engine.scrub(ScrubOptions::default().pace(1000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUse);
    assert!(error.to_string().contains("1000") && error.to_string().contains("65536"), "{error}");
    let first = engine.scrub(ScrubOptions::default()).unwrap();
    assert!(engine.stats().scrub.running);
    let error = engine.scrub(ScrubOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    drop(first);
    let mut second = engine.scrub(ScrubOptions::default().pace(FAST)).unwrap();
    second.step().unwrap();
    second.cancel().cancel();
    let report = second.run().unwrap();
    assert!(!report.whole && report.faults.is_empty());
}

#[test]
fn so_many_bytes_take_the_time_of_their_pace() {
    let pace = 64 * 1024;
    let full = Full::new(6, &tiny());
    let before = full.world.clock.monotonic_ms();
    let mut scrub = full.process.engine.scrub(ScrubOptions::default().pace(pace)).unwrap();
    let expected = scrub.progress().expected_bytes;
    while scrub.step().unwrap() {}
    let took_ms = full.world.clock.monotonic_ms() - before;
    let read = scrub.report().counts.read_bytes;
    let due_ms = read * 1000 / pace;
    // Early by the last piece and the credit of a tenth of a second, late by what others do.
    let piece_ms = 16 * 1024 * 1000 / pace;
    let range = due_ms - piece_ms - 150..=due_ms + 1500;
    assert!(range.contains(&took_ms), "{read} bytes took {took_ms} ms, due {due_ms} ms");
    // Little is read twice.
    let counts = scrub.report().counts;
    let named = counts.sstable_bytes + counts.segment_bytes + counts.log_bytes;
    assert!(read < named * 2 + 1_200_000, "{read} bytes read for {named}");
    assert!(expected <= named * 2 + 300_000 && scrub.progress().read_bytes == read);
}

#[test]
fn closing_the_store_ends_a_scrub() {
    let full = Full::new(7, &tiny());
    let mut scrub = full.process.engine.scrub(ScrubOptions::default().pace(FAST)).unwrap();
    assert!(scrub.step().unwrap());
    full.process.engine.close().unwrap();
    assert_eq!(scrub.step().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(scrub.step().unwrap_err().kind(), ErrorKind::Closed);
    let again = full.process.engine.scrub(ScrubOptions::default());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Closed);
}

/// With threads: the scrub waits for its pace when the store is closed.
#[test]
fn closing_the_store_ends_a_step_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("closed.tide");
    let engine = Engine::open(&path, Options { ring_bytes: 1 << 20, ..tiny() }).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let mut random = Random::new(1);
    for _ in 0..400 {
        let payload: Vec<u8> =
            (0..1000).map(|_| u8::try_from(random.index(256)).unwrap()).collect();
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", &payload, None).unwrap();
        engine.commit(batch, Durability::Buffered).unwrap();
    }
    engine.flush().unwrap();
    let scrub = engine.scrub(ScrubOptions::default().pace(64 * 1024)).unwrap();
    let ended = std::thread::spawn(move || scrub.run());
    engine.close().unwrap();
    assert_eq!(ended.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    drop(engine);
    let engine = Engine::open(&path, tiny()).unwrap();
    assert_eq!(engine.snapshot().len(table, b"t").unwrap(), 400);
}

#[test]
fn the_cold_file_is_scrubbed_and_its_absence_is_no_fault() {
    let world = World::with_cold(8);
    let options = Options { cold_file: Some("cold".into()), ..tiny() };
    let process = world.open(&options).unwrap();
    let engine = process.engine.clone();
    let cold = TableOptions { placement: Tier::Cold, ..TableOptions::timeline() };
    let table = engine.create_table("archive", cold).unwrap();
    for number in 0..200_u64 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", &[u8::try_from(number).unwrap(); 200], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.flush().unwrap();
    assert!(engine.stats().cold_sstables > 0);
    let report = scrub(&engine);
    assert_eq!((&report.faults[..], report.counts.absent_sstables), (&[][..], 0));
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let sstables = inspector.sstables().unwrap();
    let meta = &sstables.iter().find(|it| it.meta.table == table).unwrap().meta;
    let cold_disk = world.cold.as_ref().unwrap();
    cold_disk.flip_bit(meta.extent.offset + 30, 2);
    let report = scrub(&engine);
    assert!(report.faults[0].in_cold_file, "{:?}", report.faults);
    assert_eq!(report.faults[0].structure, ScrubStructure::Sstable(meta.number));
    assert!(report.faults[0].to_string().contains("of the cold file"));
    cold_disk.flip_bit(meta.extent.offset + 30, 2);
    for header in [0, 4096] {
        cold_disk.flip_bit(header + 9, 2);
    }
    let report = scrub(&engine);
    assert_eq!(report.faults[0].structure, ScrubStructure::ColdFile, "{:?}", report.faults);
    for header in [0, 4096] {
        cold_disk.flip_bit(header + 9, 2);
    }
    engine.close().unwrap();
    drop((engine, process));
    let process = world.open_without_cold(&tiny()).unwrap();
    let report = scrub(&process.engine);
    assert_eq!(report.faults, []);
    assert!(report.counts.absent_sstables > 0 && report.whole);
}

/// Steps of a scrub between random operations of a store that flushes and compacts all the time.
#[test]
fn a_sound_store_never_shows_a_fault_whatever_goes_on_beside_the_scrub() {
    for seed in 0..3 {
        let options = if seed % 2 == 0 { tiny() } else { tiny_read() };
        let mut sim = Sim::start(World::new(seed), options, format!("seed {seed}")).unwrap();
        sim.create("message", TableOptions::timeline()).unwrap();
        let messages = sim.reference.tables[0].state.as_ref().unwrap().id;
        let values = sim.reference.values;
        let mut random = Random::new(seed);
        let mut passes = 0;
        let mut running = None;
        for number in 0..300_u64 {
            let timeline = |random: &mut Random| vec![b't', u8::try_from(random.index(9)).unwrap()];
            let targets = vec![(messages, timeline(&mut random)), (messages, vec![b'u'])];
            let payload = vec![u8::try_from(number % 251).unwrap(); 40 + random.index(900)];
            let put = Step::Put { key: u8::try_from(random.index(9)).unwrap(), value: vec![1; 50] };
            sim.commit(&[send(targets, payload), put], Durability::Sync).unwrap();
            match random.index(40) {
                0 => sim.flush().unwrap(),
                1 => sim.compact().unwrap(),
                _ => sim.pass(5, 3),
            }
            let pace = if random.index(2) == 0 { FAST } else { 1 << 20 };
            let scrub = running.get_or_insert_with(|| {
                sim.engine().scrub(ScrubOptions::default().pace(pace)).unwrap()
            });
            let more = scrub.step().unwrap();
            assert_eq!(scrub.report().faults, [], "seed {seed}, {number}");
            if !more {
                passes += 1;
                running = None;
            }
        }
        drop(running);
        let _ = values;
        assert!(passes > 5, "seed {seed}: {passes} passes");
        sim.check().unwrap();
    }
}

/// Commits one batch a step, and looks at what the scrub holds.
struct Writer {
    engine: Engine,
    table: TableId,
    number: u64,
    held_max: Arc<std::sync::atomic::AtomicU64>,
}

impl Worker for Writer {
    fn step(&mut self) -> Progress {
        self.number += 1;
        let mut batch = WriteBatch::new();
        let key = [b'w', u8::try_from(self.number % 50).unwrap()];
        let payload = [u8::try_from(self.number % 251).unwrap(); 500];
        let targets = [(self.table, &key[..]), (self.table, b"all")];
        batch.fan_out(targets, &payload, None, None, self.number.is_multiple_of(3)).unwrap();
        self.engine.commit(batch, Durability::Buffered).unwrap();
        let held = self.engine.stats().held_bytes;
        self.held_max.fetch_max(held, std::sync::atomic::Ordering::Relaxed);
        Progress::Idle(Some(Duration::from_millis(20)))
    }
}

/// A store with a table that stays, and one that is written all the time and expires.
fn busy(seed: u64) -> (World, Process, TableId, Arc<std::sync::atomic::AtomicU64>) {
    let world = World::new(seed);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let still = engine.create_table("still", TableOptions::timeline()).unwrap();
    for number in 0..150_u64 {
        let mut batch = WriteBatch::new();
        batch.append(still, b"s", &[u8::try_from(number).unwrap(); 300], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.compact().unwrap();
    let ttl = Duration::from_secs(20);
    let table = engine.create_table("busy", TableOptions::timeline().ttl(ttl)).unwrap();
    let held_max = Arc::default();
    let writer = Writer { engine, table, number: 0, held_max: Arc::clone(&held_max) };
    let dead = Box::new(|why: String| panic!("the writer died: {why}"));
    process.scheduler.spawn("writer", Box::new(writer), dead).unwrap();
    pass(&world, &process, 25_000);
    (world, process, still, held_max)
}

fn pass(world: &World, process: &Process, time_ms: u64) {
    let until_ms = world.clock.monotonic_ms() + time_ms;
    while world.clock.monotonic_ms() < until_ms {
        process.scheduler.pause(Duration::from_millis(5));
    }
}

#[test]
fn a_slow_scrub_beside_a_busy_writer_finds_nothing_and_holds_one_structure_at_most() {
    let (world, process, _, held_max) = busy(11);
    // Views that were replaced hold some without a scrub as well, until background work goes by.
    held_max.store(0, std::sync::atomic::Ordering::Relaxed);
    pass(&world, &process, 15_000);
    let without = held_max.swap(0, std::sync::atomic::Ordering::Relaxed);
    let before = process.engine.stats();
    let scrub = process.engine.scrub(ScrubOptions::default().pace(64 * 1024)).unwrap();
    let report = scrub.run().unwrap();
    assert_eq!(report.faults, []);
    assert!(report.whole);
    let after = process.engine.stats();
    assert!(after.flushes > before.flushes + 5 && after.dropped_sstables > before.dropped_sstables);
    let held = held_max.load(std::sync::atomic::Ordering::Relaxed);
    assert!(held <= without + 64 * 1024, "{held} bytes were held, without a scrub {without}");
}

/// Each segment once, whether SSTables or the log name it.
#[test]
fn large_payloads_are_scrubbed_before_and_behind_their_flush() {
    let world = World::new(17);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("t", TableOptions::timeline()).unwrap();
    for number in 0..5_u8 {
        let mut batch = WriteBatch::new().with_large_from(1000);
        batch.append(table, b"large", &[number; 4000], None).unwrap();
        process.engine.commit(batch, Durability::Sync).unwrap();
        if number == 2 {
            process.engine.flush().unwrap();
        }
    }
    let report = scrub(&process.engine);
    assert!(report.whole && report.faults.is_empty(), "{report:?}");
    assert_eq!(report.counts.segments, 5);
    process.kill();
}

#[test]
fn between_two_steps_nothing_of_a_dropped_table_is_held() {
    let full = Full::new(12, &tiny());
    let engine = &full.process.engine;
    let mut scrub = engine.scrub(ScrubOptions::default().pace(FAST)).unwrap();
    while scrub.report().counts.sstables == 0 {
        assert!(scrub.step().unwrap());
    }
    let free = engine.stats().free_bytes + engine.stats().released_bytes;
    let sstables = full.inspector().sstables().unwrap();
    let dropped = sstables.iter().filter(|it| it.meta.table == full.messages);
    let dropped: u64 = dropped.map(|it| it.meta.extent.length).sum();
    assert!(dropped > 0);
    engine.drop_table(full.messages).unwrap();
    let stats = engine.stats();
    assert_eq!(stats.held_bytes, 0);
    let free_now = stats.free_bytes + stats.released_bytes;
    assert!(free_now >= free + dropped, "{dropped} dropped: {free_now}, before {free}");
    while scrub.step().unwrap() {}
    assert_eq!(scrub.report().faults, []);
}

#[test]
fn a_file_is_verified_beside_a_busy_writer_and_only_its_damage_is_found() {
    let mut skipped = 0;
    for seed in 20..22 {
        let (world, process, still, _) = busy(seed);
        let inspector = || {
            let clock = Arc::new(world.clock.clone());
            let inspector = Inspector::over(Arc::new(world.disk.reopen()));
            inspector.with_time(clock, Arc::new(process.scheduler.clone()))
        };
        let options = VerifyOptions::default().pace(64 * 1024);
        let report = inspector().verify_with(options).unwrap();
        assert_eq!(report.faults, [], "seed {seed}");
        assert!(report.counts.sstables > 0);
        skipped += report.counts.skipped;
        let sstables = inspector().sstables().unwrap();
        let meta = &sstables.iter().find(|it| it.meta.table == still).unwrap().meta;
        world.disk.flip_bit(meta.extent.offset + 100, 5);
        let faults = inspector().verify_with(options).unwrap().faults;
        assert!(!faults.is_empty(), "seed {seed}");
        let name = format!("SSTable {}:", meta.number);
        assert!(faults.iter().all(|fault| fault.detail.contains(&name)), "{faults:?}");
        world.disk.flip_bit(meta.extent.offset + 100, 5);
    }
    assert!(skipped > 0, "the writer was not busy enough to overtake anybody");
}
