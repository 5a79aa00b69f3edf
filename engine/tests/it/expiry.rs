//! Times to live: altered, over restarts, and under clocks that jump.

use super::world::{Process, World, tiny};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{
    Direction, Durability, Engine, ErrorKind, Sequence, TableId, TableOptions, WriteBatch,
};

fn append(engine: &Engine, table: TableId, key: &[u8]) -> u64 {
    let mut batch = WriteBatch::new();
    batch.append(table, key, &[7; 300], None).unwrap();
    engine.commit(batch, Durability::Sync).unwrap().seqs[0]
}

fn seqs(engine: &Engine, table: TableId, key: &[u8]) -> Vec<u64> {
    let scan = engine.snapshot().scan(table, key, 0, u64::MAX, Direction::Forward).unwrap();
    scan.map(|entry| entry.unwrap().seq).collect()
}

fn timeline(ttl_seconds: u64) -> TableOptions {
    TableOptions::timeline().ttl(Duration::from_secs(ttl_seconds))
}

/// Appends an entry a second, `count` of them.
fn append_each_second(world: &World, engine: &Engine, table: TableId, count: u64) {
    for _ in 0..count {
        append(engine, table, b"t");
        world.clock.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_longer_time_to_live_brings_nothing_back() {
    let world = World::new(20);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("sync", timeline(10)).unwrap();
    append_each_second(&world, engine, table, 20);
    assert_eq!(seqs(engine, table, b"t"), (12..=20).collect::<Vec<_>>());
    engine.alter_table(table, timeline(1000)).unwrap();
    assert_eq!(seqs(engine, table, b"t"), (12..=20).collect::<Vec<_>>());
    engine.alter_table(table, TableOptions::timeline()).unwrap();
    world.clock.advance(Duration::from_secs(500));
    assert_eq!(seqs(engine, table, b"t"), (12..=20).collect::<Vec<_>>());
    // It was durable on return: a power loss changes nothing.
    process.kill();
    let world = world.after(&CrashPolicy::DropAll);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    assert_eq!(engine.table("sync").unwrap().options, TableOptions::timeline());
    assert_eq!(seqs(engine, table, b"t"), (12..=20).collect::<Vec<_>>());
    assert_eq!(append(engine, table, b"t"), 21);
}

#[test]
fn a_shorter_time_to_live_hides_at_once_and_for_ever() {
    let world = World::new(21);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("sync", timeline(100)).unwrap();
    let values =
        engine.create_table("value", TableOptions::keyed().ttl(Duration::from_secs(100))).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(values, b"k", b"v").unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    append_each_second(&world, engine, table, 20);
    assert_eq!(seqs(engine, table, b"t").len(), 20);
    let held = engine.snapshot();
    engine.alter_table(table, timeline(5)).unwrap();
    engine.alter_table(values, TableOptions::keyed().ttl(Duration::from_secs(5))).unwrap();
    assert_eq!(seqs(engine, table, b"t"), [17, 18, 19, 20]);
    assert_eq!(held.len(table, b"t").unwrap(), 4, "an older snapshot is no way around it");
    assert_eq!(held.value(values, b"k").unwrap(), None);
    engine.alter_table(table, timeline(100)).unwrap();
    engine.alter_table(values, TableOptions::keyed().ttl(Duration::from_secs(100))).unwrap();
    assert_eq!(seqs(engine, table, b"t"), [17, 18, 19, 20]);
    assert_eq!(engine.snapshot().value(values, b"k").unwrap(), None);
    engine.close().unwrap();
    drop((held, process));
    let again = world.open(&tiny()).unwrap();
    assert_eq!(seqs(&again.engine, table, b"t"), [17, 18, 19, 20]);
    assert_eq!(again.engine.snapshot().value(values, b"k").unwrap(), None);
}

#[test]
fn what_a_table_is_cannot_be_altered() {
    let world = World::new(22);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("sync", timeline(10)).unwrap();
    let before = engine.table("sync");
    let fails = |table: u32, options: TableOptions| {
        engine.alter_table(TableId(table), options).unwrap_err().kind()
    };
    assert_eq!(fails(99, timeline(9)), ErrorKind::NotFound);
    assert_eq!(fails(1, TableOptions::keyed()), ErrorKind::NotFound, "the engine's own table");
    assert_eq!(fails(table.0, TableOptions::keyed()), ErrorKind::InvalidUse);
    assert_eq!(fails(table.0, timeline(0)), ErrorKind::InvalidUse);
    let given = TableOptions { sequence: Sequence::Given, ..timeline(10) };
    assert_eq!(fails(table.0, given), ErrorKind::InvalidUse);
    let error = engine.create_table("other", timeline(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUse);
    assert_eq!(engine.table("sync"), before);
}

/// Lets time pass in small steps, and the background work with it.
fn pass(world: &World, process: &Process, seconds: u64) {
    for _ in 0..seconds * 4 {
        world.clock.advance(Duration::from_millis(250));
        process.scheduler.run_until_idle(1000);
    }
}

#[test]
fn what_has_expired_is_dropped_and_its_space_is_reused() {
    let world = World::new(23);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("sync", timeline(60)).unwrap();
    let mut highest = 0;
    for second in 0..400u64 {
        for number in 0..10u64 {
            let key = format!("timeline {}", (second * 10 + number) % 37);
            append(engine, table, key.as_bytes());
        }
        pass(&world, &process, 1);
        if second == 130 {
            highest = engine.stats().file_bytes;
        }
    }
    let stats = engine.stats();
    assert!(stats.dropped_sstables > 50, "{stats:?}");
    assert_eq!(stats.compacted_bytes, 0, "windows are dropped, not rewritten");
    // It grows by eighths, of which one may have been given back a moment before.
    assert!(stats.file_bytes <= highest * 130 / 100, "it grew from {highest}: {stats:?}");
    // Sixty-six seconds later nothing of it takes space: six are the lag that is promised.
    let live = stats.sstable_bytes;
    engine.flush().unwrap();
    pass(&world, &process, 66);
    let stats = engine.stats();
    assert!(stats.sstable_bytes < live / 4, "{} of {live} bytes are left", stats.sstable_bytes);
    let (sync, _) = sstables_by_table(&world, table);
    assert_eq!(sync, 0, "no SSTable of the table is left");
    assert!((1..=6_000).contains(&stats.expiry_lag_ms), "{} ms", stats.expiry_lag_ms);
}

/// Live SSTables of the table, and of all others.
fn sstables_by_table(world: &World, table: TableId) -> (usize, usize) {
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let all = inspector.sstables().unwrap();
    let of_table = all.iter().filter(|sstable| sstable.meta.table == table).count();
    (of_table, all.len() - of_table)
}

#[test]
fn a_seq_is_never_given_out_again_after_everything_is_dropped() {
    let world = World::new(24);
    let mut process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("sync", timeline(10)).unwrap();
    let given = TableOptions { sequence: Sequence::Given, ..timeline(10) };
    let given = process.engine.create_table("given", given).unwrap();
    let append_at = |engine: &Engine, seq: u64| {
        let mut batch = WriteBatch::new();
        batch.append_at(given, b"t", seq, b"x", None).unwrap();
        engine.commit(batch, Durability::Sync)
    };
    for round in 1..=4u64 {
        let engine = &process.engine;
        for _ in 0..30 {
            append(engine, table, b"often");
        }
        assert_eq!(append(engine, table, b"seldom"), round);
        append_at(engine, round * 1000).unwrap();
        // Once it expires in SSTables, once in the memtable.
        if round % 2 == 0 {
            engine.flush().unwrap();
        }
        let old = engine.snapshot();
        append(engine, table, b"often");
        pass(&world, &process, 30);
        engine.flush().unwrap();
        pass(&world, &process, 5);
        assert_eq!(sstables_by_table(&world, table).0, 0);
        let snapshot = engine.snapshot();
        assert_eq!(snapshot.latest(table, b"often").unwrap(), None);
        assert_eq!(snapshot.latest_seq(table, b"often").unwrap(), round * 31);
        assert_eq!(snapshot.latest_seq(table, b"seldom").unwrap(), round);
        assert_eq!(snapshot.latest_seq(given, b"t").unwrap(), round * 1000);
        assert!(old.latest_seq(table, b"seldom").unwrap() == round);
        let listed: Vec<_> = snapshot
            .timelines(table, b"", None)
            .unwrap()
            .map(|found| found.map(|found| (found.key.to_vec(), found.next_seq)).unwrap())
            .collect();
        assert_eq!(listed, [(b"often".to_vec(), round * 31 + 1), (b"seldom".to_vec(), round + 1)]);
        assert_eq!(append_at(engine, round * 1000).unwrap_err().kind(), ErrorKind::Conflict);
        drop((old, snapshot));
        match round {
            1 => {
                process.engine.close().unwrap();
                drop(process);
            }
            _ => process.kill(),
        }
        process = world.open(&tiny()).unwrap();
    }
    assert_eq!(append(&process.engine, table, b"seldom"), 5);
}

#[test]
fn a_snapshot_held_over_a_drop_shows_nothing_that_has_expired() {
    let world = World::new(25);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("sync", timeline(10)).unwrap();
    (0..100).for_each(|_| assert!(append(engine, table, b"t") > 0));
    engine.flush().unwrap();
    let held = engine.snapshot();
    let mut scan = held.scan(table, b"t", 0, u64::MAX, Direction::Forward).unwrap();
    let first = scan.next().unwrap().unwrap();
    pass(&world, &process, 20);
    assert!(engine.stats().dropped_sstables > 0);
    append(engine, table, b"t");
    engine.flush().unwrap();
    pass(&world, &process, 2);
    assert_eq!(held.len(table, b"t").unwrap(), 0);
    assert_eq!(held.get(table, b"t", 7).unwrap(), None);
    // A scan that goes on later opens anew, and shows nothing that has expired in between; what it
    // gave out stays.
    assert_eq!(scan.map(|entry| entry.unwrap().seq).collect::<Vec<_>>(), [0u64; 0]);
    assert_eq!(&*first.payload, &[7; 300]);
    assert_eq!(seqs(engine, table, b"t"), [101]);
}

#[test]
fn windows_of_several_times_to_live_are_dropped_each_at_its_time() {
    let world = World::new(26);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("sync", TableOptions::timeline()).unwrap();
    let second = |count: u64| {
        for _ in 0..count {
            append(engine, table, b"t");
            pass(&world, &process, 1);
        }
    };
    second(60);
    engine.flush().unwrap();
    engine.alter_table(table, timeline(40)).unwrap();
    second(60);
    assert!(seqs(engine, table, b"t").len() <= 40);
    engine.alter_table(table, timeline(100)).unwrap();
    let before = seqs(engine, table, b"t");
    second(40);
    assert_eq!(seqs(engine, table, b"t")[..before.len()], before, "nothing expires early");
    engine.alter_table(table, timeline(4)).unwrap();
    assert!(seqs(engine, table, b"t").len() <= 4);
    engine.flush().unwrap();
    pass(&world, &process, 6);
    assert_eq!(sstables_by_table(&world, table).0, 0, "a shorter one frees what is there");
    engine.alter_table(table, TableOptions::timeline()).unwrap();
    assert_eq!(seqs(engine, table, b"t"), [0u64; 0]);
    assert_eq!(append(engine, table, b"t"), 161);
}

#[test]
fn a_clock_that_jumps_neither_hides_nor_destroys_nor_brings_back() {
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    for (jump, restart) in [(YEAR_MS, false), (-YEAR_MS, false), (YEAR_MS, true), (-YEAR_MS, true)]
    {
        let world = World::new(27);
        let mut process = world.open(&tiny()).unwrap();
        let table = process.engine.create_table("sync", timeline(60)).unwrap();
        for _ in 0..80 {
            append(&process.engine, table, b"t");
            pass(&world, &process, 1);
        }
        process.engine.flush().unwrap();
        let before = seqs(&process.engine, table, b"t");
        assert_eq!(before, (22..=80).collect::<Vec<_>>());
        world.clock.jump_wall(jump);
        if restart {
            process.engine.close().unwrap();
            drop(process);
            process = world.open(&tiny()).unwrap();
        }
        pass(&world, &process, 10);
        let engine = &process.engine;
        assert_eq!(seqs(engine, table, b"t"), (32..=80).collect::<Vec<_>>(), "{jump} {restart}");
        assert_eq!(append(engine, table, b"t"), 81);
        // Confirmed for ten minutes, the jump forward counts; by then all has expired anyway.
        pass(&world, &process, 700);
        assert_eq!(seqs(engine, table, b"t"), [0u64; 0]);
        assert_eq!(sstables_by_table(&world, table).0, 0, "{jump} {restart}");
        world.clock.jump_wall(-jump);
        append(engine, table, b"t");
        pass(&world, &process, 30);
        assert_eq!(seqs(engine, table, b"t"), [82], "{jump} {restart}");
    }
}
