//! Times to live: altered, over restarts, and under clocks that jump.

use super::world::{World, tiny};
use std::time::Duration;
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
