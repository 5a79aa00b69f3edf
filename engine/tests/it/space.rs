//! Space comes back: what is free is reused, punched and cut off while the store runs, and neither
//! a crash, nor a reader of this or of another process, suffers from it.

use super::crash_sweep::{Plan, sweep};
use super::reference::{Step, send};
use super::sim::Sim;
use super::world::{Process, World, tiny, tiny_read};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::testing::{Random, SeededEntropy, SimScheduler};
use tidelog_engine::{
    Direction, Durability, Engine, ErrorKind, Options, Parts, Payload, ReadMode, Result, TableId,
    TableOptions, WriteBatch,
};

/// The ring and what stands before it.
const FIXED: u64 = (64 + 256) * 1024;

fn put(process: &Process, table: TableId, key: u32, value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(table, &key.to_be_bytes(), value).unwrap();
    process.engine.commit(batch, Durability::Buffered).unwrap();
    process.scheduler.run_until_idle(4);
}

fn append(process: &Process, table: TableId, key: &[u8], payload: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    process.engine.commit(batch, Durability::Buffered).unwrap();
    process.scheduler.run_until_idle(4);
}

/// Time passes, and the workers use it.
fn pass(world: &World, process: &Process, seconds: u64) {
    for _ in 0..seconds {
        process.scheduler.run_until_idle(10_000);
        world.clock.advance(Duration::from_secs(1));
    }
    process.scheduler.run_until_idle(10_000);
}

/// Rewrites the same values again and again, and keeps what it reads in between: so the extents of
/// all the SSTables there were cannot be used again.
fn hoard(process: &Process, table: TableId) -> Vec<Payload> {
    let mut payloads = Vec::new();
    for round in 0..60u8 {
        for key in 0..32 {
            put(process, table, key, &[round; 1000]);
        }
        process.engine.flush().unwrap();
        process.scheduler.run_until_idle(1000);
        let snapshot = process.engine.snapshot();
        payloads.extend((0..32u32).map(|key| {
            snapshot.value(table, &key.to_be_bytes()).unwrap().expect("it was just written")
        }));
    }
    payloads
}

fn expect_values(process: &Process, table: TableId) {
    for key in 0..32u32 {
        let value = process.engine.snapshot().value(table, &key.to_be_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&[59; 1000][..]));
    }
}

#[test]
fn a_compacted_store_is_as_long_as_what_it_holds() {
    let world = World::new(1);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let payloads = hoard(&process, table);
    let full = process.engine.stats();
    assert!(full.held_bytes > 1_000_000, "{full:?}");
    process.engine.compact().unwrap();
    let held = process.engine.stats();
    assert!(held.held_bytes > 1_000_000 && held.file_bytes > FIXED + 1_000_000, "{held:?}");
    let rounds = (0..60u8).flat_map(|round| [[round; 1000]; 32]);
    assert!(payloads.iter().zip(rounds).all(|(payload, expected)| payload[..] == expected));
    drop(payloads);
    process.engine.compact().unwrap();
    let stats = process.engine.stats();
    assert_eq!((stats.released_bytes, stats.held_bytes), (0, 0), "{stats:?}");
    assert_eq!(world.disk.bytes().len() as u64, stats.file_bytes);
    assert!(stats.file_bytes < FIXED + stats.sstable_bytes + 128 * 1024, "{stats:?}");
    expect_values(&process, table);
    process.engine.close().unwrap();
    drop(process);
    expect_values(&world.open(&tiny()).unwrap(), table);
}

#[test]
fn space_comes_back_while_the_store_runs_and_then_there_is_rest() {
    let world = World::new(2);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let payloads = hoard(&process, table);
    pass(&world, &process, 60);
    let full = process.engine.stats();
    assert!(full.file_bytes > FIXED + 1_500_000, "{full:?}");
    drop(payloads);
    pass(&world, &process, 100);
    let kept = process.engine.stats().file_bytes;
    assert_eq!(kept, full.file_bytes, "what was in use a moment ago may be taken again");
    // What moves down first leaves room that the next look finds.
    pass(&world, &process, 1500);
    let stats = process.engine.stats();
    assert!(stats.file_bytes < FIXED + 500_000, "{full:?}, then {stats:?}");
    let used = world.disk.used_bytes();
    assert!(used <= stats.file_bytes - stats.hole_bytes, "{used} of {stats:?}");
    // A store at rest writes nothing: no root, no cut, no hole.
    let (operations, counts) = (world.disk.operation_count(), world.disk.counts());
    pass(&world, &process, 60);
    assert_eq!((world.disk.operation_count(), world.disk.counts()), (operations, counts));
    expect_values(&process, table);
}

#[test]
fn a_steady_store_gives_nothing_back_that_it_takes_again() {
    let world = World::new(3);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let round = |seed: u32| {
        for key in 0..200 {
            put(&process, table, key * 7 % 200 + seed % 2, &[9; 1000]);
        }
        world.clock.advance(Duration::from_millis(2500));
    };
    (0..200).for_each(&round);
    let (before, length) = (world.disk.counts(), process.engine.stats().file_bytes);
    (0..400).for_each(&round);
    let after = world.disk.counts();
    let stats = process.engine.stats();
    // A thousand seconds, three looks, 80 MB written.
    assert!(after.truncations - before.truncations <= 1, "{before:?}, then {after:?}");
    assert!(after.holes - before.holes <= 2, "{before:?}, then {after:?}");
    assert!(stats.file_bytes <= length * 5 / 4, "{length}, then {stats:?}");
}

#[test]
fn a_long_scan_holds_no_old_version() {
    let world = World::new(4);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    for number in 0..4000u32 {
        append(&process, table, b"long", &number.to_le_bytes().repeat(20));
        append(&process, table, &number.to_be_bytes(), b"one of many");
        put(&process, values, number % 2000, &number.to_le_bytes().repeat(20));
    }
    process.engine.flush().unwrap();
    let snapshot = process.engine.snapshot();
    let scan = |direction| snapshot.scan(table, b"long", 0, u64::MAX, direction).unwrap();
    let list = || snapshot.timelines(table, b"", None).unwrap();
    let pairs = || snapshot.values(values, Bound::Unbounded, Bound::Unbounded).unwrap();
    let expected = (
        scan(Direction::Forward).map(|entry| entry.unwrap().seq).collect::<Vec<_>>(),
        list().map(|timeline| timeline.unwrap()).collect::<Vec<_>>(),
        pairs().map(|pair| pair.unwrap().1.to_vec()).collect::<Vec<_>>(),
    );
    let (mut forward, mut backward) = (scan(Direction::Forward), scan(Direction::Backward));
    let (mut timelines, mut mapped) = (list(), pairs());
    let mut found: Vec<u64> = forward.by_ref().take(10).map(|entry| entry.unwrap().seq).collect();
    let mut back: Vec<u64> = backward.by_ref().take(10).map(|entry| entry.unwrap().seq).collect();
    let mut listed: Vec<_> = timelines.by_ref().take(10).map(|entry| entry.unwrap()).collect();
    let mut valued: Vec<_> = mapped.by_ref().take(10).map(|p| p.unwrap().1.to_vec()).collect();
    // Everything moves to other SSTables, and more is written.
    append(&process, table, b"long", b"later");
    append(&process, table, b"a later one", b"later");
    for number in 0..2000u32 {
        put(&process, values, number, b"later");
    }
    process.engine.compact().unwrap();
    let stats = process.engine.stats();
    assert!(stats.held_bytes > 100_000, "{stats:?}");
    assert_eq!(stats.oldest_snapshot_commit, Some(snapshot.commit()));
    world.clock.advance(Duration::from_secs(2));
    assert!(process.engine.stats().oldest_snapshot_age_ms >= 2000);
    // One entry more of each, and the old version is let go.
    found.push(forward.next().unwrap().unwrap().seq);
    back.push(backward.next().unwrap().unwrap().seq);
    listed.push(timelines.next().unwrap().unwrap());
    valued.push(mapped.next().unwrap().unwrap().1.to_vec());
    // Views that were replaced are freed by background work, once nobody looks at them.
    process.scheduler.run_until_idle(100);
    assert_eq!(process.engine.stats().held_bytes, 0);
    found.extend(forward.map(|entry| entry.unwrap().seq));
    back.extend(backward.map(|entry| entry.unwrap().seq));
    listed.extend(timelines.map(|entry| entry.unwrap()));
    valued.extend(mapped.map(|pair| pair.unwrap().1.to_vec()));
    back.reverse();
    assert_eq!((found, listed, valued), expected);
    assert_eq!(back, expected.0);
    drop(snapshot);
    assert_eq!(process.engine.stats().oldest_snapshot_commit, None);
}

/// Opens the same file as another process, for reading.
fn open_beside(world: &World) -> Result<Engine> {
    let options = Options { read_only: true, ..tiny() };
    let parts = Parts {
        disk: Arc::new(world.disk.reopen()),
        cold: None,
        clock: Arc::new(world.clock.clone()),
        scheduler: Arc::new(SimScheduler::new(1, world.clock.clone())),
        entropy: Arc::new(SeededEntropy::new(1)),
        name: "simulated.tide".to_owned(),
    };
    Engine::open_with(parts, options)
}

#[test]
fn a_reader_beside_the_writer_is_told_when_its_blocks_are_gone() {
    let world = World::new(5);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    for key in 0..200 {
        put(&process, table, key, &[7; 1000]);
    }
    process.engine.flush().unwrap();
    let reader = open_beside(&world).unwrap();
    let hoarded = hoard(&process, table);
    for key in 0..200 {
        put(&process, table, key, b"short");
    }
    process.engine.compact().unwrap();
    drop(hoarded);
    process.engine.compact().unwrap();
    let mut kinds = Vec::new();
    for key in 0..200u32 {
        match reader.snapshot().value(table, &key.to_be_bytes()) {
            Ok(value) => assert_eq!(value.as_deref(), Some(&[7; 1000][..]), "key {key}"),
            Err(error) => kinds.push(error.kind()),
        }
    }
    assert!(kinds.len() > 20, "{}", kinds.len());
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::SnapshotTooOld), "{kinds:?}");
    let again = open_beside(&world).unwrap();
    let value = again.snapshot().value(table, &50u32.to_be_bytes()).unwrap();
    assert_eq!(value.as_deref(), Some(&b"short"[..]));
}

fn one_table(sim: &mut Sim) -> Result<()> {
    sim.create("message", TableOptions::timeline())
}

/// Values that come and go, so that much of the file is free most of the time. Between the batches
/// time passes, so that free space is looked at; twice, all is given back.
fn churn(sim: &mut Sim, _: &mut Random, number: usize) -> Result<()> {
    let byte = u8::try_from(number).unwrap();
    let length = if (number / 30).is_multiple_of(2) { 900 } else { 3 };
    let put = |n| {
        let key = u8::try_from((number * 2 + n) % 60).unwrap();
        Step::Put { key, value: vec![byte; length] }
    };
    let table = sim.reference.tables[0].state.as_ref().expect("it is there").id;
    let send = send(vec![(table, vec![b't', byte % 5])], vec![byte; 300]);
    let durability = if number.is_multiple_of(3) { Durability::Sync } else { Durability::Buffered };
    sim.commit(&[put(0), put(1), send], durability)?;
    sim.pass(75_000, 12);
    if number == 70 || number == 130 {
        sim.compact()?;
    }
    Ok(())
}

#[test]
fn power_is_lost_while_space_is_given_back() {
    let plan = Plan { two_disks: false, create: one_table, count: 150, step: churn };
    let world = World::new(6);
    assert!(plan.run(&world).is_whole);
    let counts = world.disk.counts();
    assert!(counts.truncations >= 3, "the workload cuts and punches: {counts:?}");
    let (points, images, second) = sweep(6, &plan, 4);
    assert!(points > 100 && images > 400 && second > 50, "{points} {images} {second}");
}

#[test]
fn moved_sstables_are_read_with_maps_and_without() {
    for options in [tiny(), tiny_read()] {
        let map = options.read_mode == ReadMode::Map;
        let world = World::new(7);
        let process = world.open(&options).unwrap();
        let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
        let values = process.engine.create_table("value", TableOptions::keyed()).unwrap();
        let hoarded = hoard(&process, values);
        for number in 0..2000u32 {
            append(&process, table, &[u8::try_from(number % 50).unwrap()], &[3; 100]);
        }
        process.engine.flush().unwrap();
        let before = process.engine.stats();
        drop(hoarded);
        let snapshot = process.engine.snapshot();
        let mut held = snapshot.scan(table, &[9], 0, u64::MAX, Direction::Forward).unwrap();
        let first = held.next().unwrap().unwrap();
        process.engine.compact().unwrap();
        let stats = process.engine.stats();
        assert!(stats.file_bytes < before.file_bytes, "maps {map}: {before:?}, then {stats:?}");
        assert_eq!(first.seq, 1);
        assert_eq!(&first.payload[..], &[3; 100]);
        let rest: Vec<_> = held.map(|entry| entry.unwrap()).collect();
        assert_eq!(rest.len(), 39, "maps {map}");
        for key in 0..50u8 {
            assert_eq!(process.engine.snapshot().len(table, &[key]).unwrap(), 40);
        }
        process.engine.close().unwrap();
    }
}
