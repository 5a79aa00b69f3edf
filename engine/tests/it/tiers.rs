//! zstd and the cold tier: what is moved and compressed reads as before.

use super::world::{Process, START_MS, World, tiny, tiny_read};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{
    CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk, SimOptions,
};
use tidelog_engine::{
    ColdFileProblem, Compression, Direction, Disk, Durability, Engine, Error, ErrorKind, Options,
    Result, TableId, TableOptions, Tier, WriteBatch,
};

pub(crate) fn append(engine: &Engine, table: TableId, key: &[u8], text: &str) {
    let mut batch = WriteBatch::new();
    batch.append(table, key, text.as_bytes(), None).unwrap();
    engine.commit(batch, Durability::Buffered).unwrap();
}

pub(crate) fn texts(
    engine: &Engine,
    table: TableId,
    key: &[u8],
    direction: Direction,
) -> Vec<String> {
    let scan = engine.snapshot().scan(table, key, 0, u64::MAX, direction).unwrap();
    scan.map(|entry| String::from_utf8(entry.unwrap().payload.to_vec()).unwrap()).collect()
}

pub(crate) fn text(key: u8, number: u64) -> String {
    format!("message {number} of {key}: have you seen what the tide has left on the beach?")
}

#[test]
fn a_table_with_zstd_reads_as_it_was_written() {
    let compression = Compression::Zstd { level: 3 };
    for options in [tiny(), tiny_read()] {
        // Large enough for the pages that every SSTable has to count for little.
        let options = Options { memtable_bytes: 1 << 18, sstable_bytes: 1 << 20, ..options };
        let world = World::new(1);
        let process = world.open(&options).unwrap();
        let engine = &process.engine;
        let options_of_table = TableOptions { compression, ..TableOptions::timeline() };
        let created = engine.create_table("message", options_of_table);
        if !cfg!(feature = "zstd") {
            let error = created.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("feature `zstd`"), "{error}");
            continue;
        }
        let table = created.unwrap();
        for number in 1..=2_000 {
            append(engine, table, &[b'a' + u8::try_from(number % 3).unwrap()], &text(1, number));
        }
        engine.compact().unwrap();
        let stats = engine.stats();
        assert!(stats.sstable_bytes < 2_000 * 80 / 2, "it is compressed: {stats:?}");
        engine.close().unwrap();
        drop(process);
        let process = world.open(&options).unwrap();
        for rest in 0..3 {
            let key = [b'a' + u8::try_from(rest).unwrap()];
            let mut expected: Vec<String> =
                (1..=2_000).filter(|n| n % 3 == rest).map(|n| text(1, n)).collect();
            let found = texts(&process.engine, table, &key, Direction::Forward);
            assert_eq!(found, expected);
            expected.reverse();
            assert_eq!(texts(&process.engine, table, &key, Direction::Backward), expected);
        }
    }
}

#[test]
fn a_level_of_zstd_that_does_not_exist_is_refused() {
    let process = World::new(2).open(&tiny()).unwrap();
    for level in [0, 20] {
        let compression = Compression::Zstd { level };
        let options = TableOptions { compression, ..TableOptions::timeline() };
        let error = process.engine.create_table("message", options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUse, "{error}");
    }
}

/// A table that becomes cold after 20 seconds, written for a while: two messages a second.
pub(crate) struct Chat {
    pub(crate) table: TableId,
    pub(crate) messages: u64,
}

const KEYS: u64 = 3;

impl Chat {
    pub(crate) fn new(engine: &Engine, options: TableOptions) -> Chat {
        Chat { table: engine.create_table("message", options).unwrap(), messages: 0 }
    }

    pub(crate) fn write(&mut self, world: &World, process: &Process, count: u64) {
        for _ in 0..count {
            self.messages += 1;
            let key = [b'a' + u8::try_from(self.messages % KEYS).unwrap()];
            append(&process.engine, self.table, &key, &text(1, self.messages));
            world.clock.advance(Duration::from_millis(500));
            process.scheduler.run_until_idle(2);
        }
    }

    fn expected(&self, rest: u64) -> Vec<String> {
        (1..=self.messages).filter(|n| n % KEYS == rest).map(|n| text(1, n)).collect()
    }

    /// Every timeline, in both directions, by every way to read it.
    pub(crate) fn check(&self, engine: &Engine) {
        for rest in 0..KEYS {
            let key = [b'a' + u8::try_from(rest).unwrap()];
            let mut expected = self.expected(rest);
            assert_eq!(texts(engine, self.table, &key, Direction::Forward), expected);
            expected.reverse();
            assert_eq!(texts(engine, self.table, &key, Direction::Backward), expected);
            let count = expected.len() as u64;
            let snapshot = engine.snapshot();
            assert_eq!(snapshot.latest_seq(self.table, &key).unwrap(), count);
            for seq in [1, count / 2, count] {
                let entry = snapshot.get(self.table, &key, seq).unwrap().unwrap();
                let place = usize::try_from(seq).unwrap() - 1;
                assert_eq!(&*entry.payload, self.expected(rest)[place].as_bytes());
            }
        }
    }
}

pub(crate) fn by_tier(engine: &Engine) -> (u64, u64) {
    let stats = engine.stats();
    (stats.sstables - stats.cold_sstables, stats.cold_sstables)
}

pub(crate) fn settle(process: &Process) {
    process.scheduler.run_until_idle(10_000);
}

#[test]
fn what_is_old_moves_to_the_cold_tier_and_reads_as_before() {
    for (options, second) in
        [(tiny(), false), (tiny(), true), (tiny_read(), false), (tiny_read(), true)]
    {
        let world = if second { World::with_cold(3) } else { World::new(3) };
        let process = world.open(&options).unwrap();
        let timeline = TableOptions::timeline().cold_after(Duration::from_secs(20));
        let mut chat = Chat::new(&process.engine, timeline);
        chat.write(&world, &process, 600);
        process.engine.flush().unwrap();
        let held = process.engine.snapshot();
        world.clock.advance(Duration::from_millis(30_000));
        process.engine.compact().unwrap();
        settle(&process);
        assert!(by_tier(&process.engine).1 > 0, "{:?}", process.engine.stats());
        chat.check(&process.engine);
        let scan = held.scan(chat.table, b"a", 0, u64::MAX, Direction::Forward).unwrap();
        assert_eq!(scan.count(), 200, "a snapshot reads on");
        // New messages are hot, and a scan goes over both tiers.
        chat.write(&world, &process, 200);
        process.engine.flush().unwrap();
        chat.check(&process.engine);
        process.engine.close().unwrap();
        drop((held, process));
        let process = world.open(&options).unwrap();
        let (hot, cold) = by_tier(&process.engine);
        assert!(hot > 0 && cold > 0);
        chat.check(&process.engine);
        verify(&world);
        if let Some(cold) = &world.cold {
            assert!(cold.bytes().len() > 64 * 1024, "the data went to the second file");
        }
    }
}

pub(crate) fn verify(world: &World) {
    let mut inspector = Inspector::over(Arc::new(world.disk.reopen()));
    if let Some(cold) = &world.cold {
        inspector = inspector.with_cold(Arc::new(cold.reopen()));
    }
    assert_eq!(inspector.verify().unwrap().faults, vec![]);
}

#[test]
fn a_clock_that_jumps_moves_nothing_early() {
    let world = World::new(4);
    let process = world.open(&tiny()).unwrap();
    let timeline = TableOptions::timeline().cold_after(Duration::from_secs(3600));
    let mut chat = Chat::new(&process.engine, timeline);
    chat.write(&world, &process, 300);
    process.engine.flush().unwrap();
    world.clock.set_wall(START_MS + 365 * 24 * 3_600_000);
    process.engine.compact().unwrap();
    settle(&process);
    assert_eq!(by_tier(&process.engine).1, 0, "a year has not passed");
    chat.check(&process.engine);
}

#[test]
fn a_table_that_is_born_cold_has_nothing_hot() {
    let world = World::with_cold(5);
    let process = world.open(&tiny()).unwrap();
    let mut chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    chat.write(&world, &process, 600);
    process.engine.flush().unwrap();
    let hot_of_table = |process: &Process| {
        let inspector = Inspector::over(Arc::new(world.disk.reopen()));
        assert!(process.engine.stats().cold_sstables > 0);
        let live = inspector.sstables().unwrap();
        live.iter().filter(|s| s.meta.table == chat.table && s.meta.shard.tier == Tier::Hot).count()
    };
    assert_eq!(hot_of_table(&process), 0);
    chat.check(&process.engine);
    process.engine.compact().unwrap();
    chat.check(&process.engine);
    assert_eq!(hot_of_table(&process), 0);
    process.kill();
    let process = world.open(&tiny()).unwrap();
    chat.check(&process.engine);
    verify(&world);
}

#[test]
fn a_cold_disk_that_fails_stops_nobody() {
    let world = World::with_cold(6);
    let process = world.open(&tiny()).unwrap();
    let cold = world.cold.as_ref().unwrap();
    cold.fail(Fault {
        operation: FaultOperation::Sync,
        at: 0,
        times: FaultTimes::Once,
        effect: FaultEffect::Error,
    });
    let mut chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    chat.write(&world, &process, 600);
    process.engine.flush().unwrap();
    chat.check(&process.engine);
    assert_eq!(by_tier(&process.engine).1, 0, "the cold file is in doubt until it is opened again");
    assert_eq!(problem(process.engine.compact()), ColdFileProblem::Failing);
    process.engine.close().unwrap();
    drop(process);
    let process = world.open(&tiny()).unwrap();
    process.engine.compact().unwrap();
    settle(&process);
    assert!(by_tier(&process.engine).1 > 0, "what waited in the hot tier has moved");
    chat.check(&process.engine);
    chat.write(&world, &process, 300);
    process.engine.flush().unwrap();
    chat.check(&process.engine);
    verify(&world);
}

#[test]
fn a_full_cold_disk_keeps_data_hot() {
    let world = World::with_cold(7);
    world.cold.as_ref().unwrap().set_capacity(Some(64 * 1024));
    let process = world.open(&tiny()).unwrap();
    let timeline = TableOptions::timeline().cold_after(Duration::from_secs(1));
    let mut chat = Chat::new(&process.engine, timeline);
    chat.write(&world, &process, 300);
    process.engine.flush().unwrap();
    world.clock.advance(Duration::from_millis(60_000));
    assert_eq!(process.engine.compact().unwrap_err().kind(), ErrorKind::NoSpace);
    chat.check(&process.engine);
    world.cold.as_ref().unwrap().set_capacity(None);
    world.clock.advance(Duration::from_millis(60_000));
    process.engine.compact().unwrap();
    assert!(by_tier(&process.engine).1 > 0);
    chat.check(&process.engine);
}

/// A store with data in a cold file, closed.
fn with_cold_data(seed: u64) -> (World, Chat) {
    let world = World::with_cold(seed);
    let process = world.open(&tiny()).unwrap();
    let mut chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    chat.write(&world, &process, 300);
    process.engine.close().unwrap();
    (world, chat)
}

pub(crate) fn problem<T>(result: Result<T>) -> ColdFileProblem {
    match result.map(drop) {
        Err(Error::ColdFile { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_foreign_and_stale_files_are_told_apart_and_hot_data_stay_readable() {
    let (world, chat) = with_cold_data(8);
    let stale = world.cold.as_ref().unwrap().copied();
    let process = world.open(&tiny()).unwrap();
    let hot = process.engine.create_table("hot", TableOptions::timeline()).unwrap();
    append(&process.engine, hot, b"h", "still there");
    let mut more = Chat { ..chat };
    more.write(&world, &process, 300);
    process.engine.close().unwrap();
    drop(process);
    let empty = SimDisk::new(SimOptions::default());
    let foreign = with_cold_data(9).0.cold.unwrap();
    let short = world.cold.as_ref().unwrap().copied();
    short.truncate(68 * 1024).unwrap();
    for (cold, expected) in [
        (None, ColdFileProblem::NotGiven),
        (Some(empty), ColdFileProblem::Missing),
        (Some(foreign), ColdFileProblem::Foreign),
        (Some(stale), ColdFileProblem::Stale),
        (Some(short), ColdFileProblem::Stale),
    ] {
        let before = cold.as_ref().map(SimDisk::bytes);
        let damaged = World { cold: cold.clone(), disk: world.disk.copied(), ..world.clone() };
        assert_eq!(problem(damaged.open(&tiny())), expected);
        let without = Options { without_cold_file: true, ..tiny() };
        let process = damaged.open(&without).unwrap();
        assert_eq!(texts(&process.engine, hot, b"h", Direction::Forward), ["still there"]);
        append(&process.engine, hot, b"h", "and more");
        let scan = process.engine.snapshot().scan(more.table, b"a", 0, 9, Direction::Forward);
        let read = scan.and_then(|mut scan| scan.next().expect("there is something"));
        assert_eq!(problem(read), expected);
        // Born cold, and written all the same: hot until the file is back.
        append(&process.engine, more.table, b"new", "waits");
        process.engine.flush().unwrap();
        assert_eq!(texts(&process.engine, more.table, b"new", Direction::Forward), ["waits"]);
        process.engine.close().unwrap();
        drop(process);
        assert_eq!(cold.as_ref().map(SimDisk::bytes), before, "it was left alone");
        // The right file comes back, by another path.
        let back = World { cold: world.cold.as_ref().map(SimDisk::copied), ..damaged };
        let process = back.open(&tiny()).unwrap();
        more.check(&process.engine);
        assert_eq!(texts(&process.engine, more.table, b"new", Direction::Forward), ["waits"]);
        process.engine.compact().unwrap();
        more.check(&process.engine);
        verify(&back);
    }
}

#[test]
fn a_cold_file_may_come_later() {
    let mut world = World::new(10);
    let process = world.open(&tiny()).unwrap();
    let mut chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    chat.write(&world, &process, 300);
    process.engine.close().unwrap();
    drop(process);
    world.cold = Some(SimDisk::new(SimOptions::default()));
    let process = world.open(&tiny()).unwrap();
    chat.check(&process.engine);
    chat.write(&world, &process, 300);
    process.engine.flush().unwrap();
    chat.check(&process.engine);
    process.kill();
    let process = world.open(&tiny()).unwrap();
    chat.check(&process.engine);
    process.engine.compact().unwrap();
    chat.check(&process.engine);
    verify(&world);
}

/// What a sweep does: a table whose windows move, one that is born cold, and all of it twice.
fn sweep_workload(world: &World) -> Result<u64> {
    let process = world.open(&tiny())?;
    let mut acknowledged = 0;
    let outcome = (|| {
        let engine = &process.engine;
        let moving = TableOptions::timeline().cold_after(Duration::from_secs(5));
        let moving = engine.create_table("moving", moving)?;
        let born = engine.create_table("born", TableOptions::timeline().born_cold())?;
        for number in 1..=120 {
            let mut batch = WriteBatch::new();
            let payload = format!("{} {}", text(2, number), "~".repeat(400));
            batch.append(moving, b"m", payload.as_bytes(), None)?;
            batch.append(born, b"b", payload.as_bytes(), None)?;
            engine.commit(batch, Durability::Sync)?;
            acknowledged = number;
            world.clock.advance(Duration::from_millis(200));
            process.scheduler.run_until_idle(3);
            if number % 60 == 0 {
                engine.flush()?;
                world.clock.advance(Duration::from_millis(10_000));
                engine.compact()?;
            }
        }
        engine.close()
    })();
    process.kill();
    outcome.map(|()| acknowledged).or(Ok(acknowledged))
}

/// Both disks lose power at once, at every few operations of either; what was unsynced on one has
/// nothing to do with what was on the other.
#[test]
fn power_loss_with_moves_over_two_disks_loses_nothing() {
    let whole = World::with_cold(11);
    assert_eq!(sweep_workload(&whole).unwrap(), 120);
    let operations = [whole.disk.operation_count(), whole.cold.as_ref().unwrap().operation_count()];
    assert!(operations[1] > 30, "the cold file is written: {operations:?}");
    let policies =
        |seed| [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed }];
    for (which, step) in [(0, 17), (1, 2)] {
        for at in (1..operations[which]).step_by(step) {
            let world = World::with_cold(11);
            match which {
                0 => world.disk.crash_at(at),
                _ => world.cold.as_ref().unwrap().crash_at(at),
            }
            let acknowledged = sweep_workload(&world).unwrap_or(0);
            let seed = usize::try_from(at).unwrap();
            let (main, cold) = (policies(at)[seed % 3], policies(at + 1)[seed / 3 % 3]);
            let mut after = world.after(&main);
            after.cold = world.cold.as_ref().map(|disk| disk.crash_image(&cold));
            let context = format!("disk {which}, operation {at}, {main:?} and {cold:?}");
            check_sweep(&after, acknowledged, &context);
        }
    }
}

fn check_sweep(world: &World, acknowledged: u64, context: &str) {
    let process = world.open(&tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
    for round in 0..2 {
        for (name, key) in [("moving", b"m"), ("born", b"b")] {
            let Some(table) = process.engine.table(name) else {
                assert_eq!(acknowledged, 0, "{context}");
                continue;
            };
            let found = texts(&process.engine, table.id, key, Direction::Forward);
            let count = found.len() as u64;
            assert!(count == acknowledged || count == acknowledged + 1, "{context}: {count}");
            let latest = process.engine.snapshot().latest_seq(table.id, key).unwrap();
            assert_eq!(latest, count, "{context}: its state is known in the hot tier");
            for (number, found) in (1..).zip(&found) {
                assert!(found.starts_with(&text(2, number)), "{context}, round {round}");
            }
        }
        process.engine.flush().unwrap();
        world.clock.advance(Duration::from_millis(20_000));
        process.engine.compact().unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    verify(world);
    process.kill();
}
