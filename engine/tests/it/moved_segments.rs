//! Payload segments move down in the file when what lay below them is free.

use super::crash_sweep::{Plan, sweep};
use super::reference::{self, Step};
use super::sim::Sim;
use super::world::{Process, World, tiny, tiny_read};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::Random;
use tidelog_engine::{Direction, Durability, Result, TableId, TableOptions, WriteBatch};

/// The ring and what stands before it.
const FIXED: u64 = (64 + 256) * 1024;
/// A payload that is written before its commit.
const LARGE: usize = 300_000;
const KEPT: u64 = 40;

fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(length, b'.');
    payload
}

fn length_of(number: u64) -> usize {
    if number % 20 == 19 { LARGE } else { 400 }
}

/// To two timelines, so that the payload is shared.
fn send(process: &Process, table: TableId, number: u64, length: usize) {
    let mut batch = WriteBatch::new();
    let targets = [(table, &b"alice"[..]), (table, b"bob")];
    batch.fan_out(targets, &payload(number, length), Some(7), None, true).unwrap();
    process.engine.commit(batch, Durability::Buffered).unwrap();
    process.scheduler.run_until_idle(4);
}

/// A megabyte that expires after a minute, and above it shared payloads that stay.
fn fill(process: &Process) -> TableId {
    let ttl = Duration::from_secs(60);
    let passing = process.engine.create_table("passing", TableOptions::timeline().ttl(ttl));
    let (passing, kept) =
        (passing.unwrap(), process.engine.create_table("kept", TableOptions::timeline()).unwrap());
    for number in 0..2500 {
        send(process, passing, number, 400);
    }
    process.engine.flush().unwrap();
    for number in 0..KEPT {
        send(process, kept, number, length_of(number));
    }
    process.engine.flush().unwrap();
    kept
}

fn check(process: &Process, kept: TableId) {
    for key in [&b"alice"[..], b"bob"] {
        for direction in [Direction::Forward, Direction::Backward] {
            let scan = process.engine.snapshot().scan(kept, key, 0, u64::MAX, direction).unwrap();
            let mut entries: Vec<_> = scan.map(|entry| entry.unwrap()).collect();
            entries.sort_by_key(|entry| entry.seq);
            assert_eq!(entries.len() as u64, KEPT);
            for (number, entry) in (0..KEPT).zip(entries) {
                assert!(*entry.payload == payload(number, length_of(number))[..]);
                assert_eq!(entry.event_ms, Some(7));
            }
        }
    }
}

/// Where the live segments lie, by number.
fn places(world: &World) -> BTreeMap<u64, u64> {
    try_places(world).unwrap()
}

fn try_places(world: &World) -> Result<BTreeMap<u64, u64>> {
    let segments = Inspector::over(Arc::new(world.disk.reopen())).segments()?;
    Ok(segments.iter().map(|segment| (segment.number, segment.extent.offset)).collect())
}

fn pass(world: &World, process: &Process, seconds: u64) {
    for _ in 0..seconds {
        process.scheduler.run_until_idle(10_000);
        world.clock.advance(Duration::from_secs(1));
    }
    process.scheduler.run_until_idle(10_000);
}

/// A compaction that was asked for ended, and space was looked for, while expiry was still taking
/// away what lay below: nothing had a place to move to. Whether it does depends on who is where
/// when it begins.
#[test]
fn compacting_after_expiry_makes_the_file_as_long_as_what_it_holds() {
    for (options, skew) in [tiny(), tiny_read()].iter().flat_map(|it| (0..6).map(move |k| (it, k)))
    {
        let world = World::new(61);
        let process = world.open(options).unwrap();
        let kept = fill(&process);
        let before = process.engine.stats();
        assert!(before.file_bytes > FIXED + 1_500_000, "{before:?}");
        let high = places(&world);
        // A reader stands in a segment that moves.
        let snapshot = process.engine.snapshot();
        let mut held = snapshot.scan(kept, b"bob", 0, u64::MAX, Direction::Forward).unwrap();
        let first = held.next().unwrap().unwrap();
        world.clock.advance(Duration::from_secs(180));
        // A root brings the superblock's clock along: what expires never runs a minute ahead of it.
        process.engine.create_table("other", TableOptions::timeline()).unwrap();
        world.clock.advance(Duration::from_secs(20));
        process.scheduler.run_until_idle(skew * 7);
        process.engine.compact().unwrap();
        let low = places(&world);
        let moved =
            low.iter().filter(|(number, place)| high.get(number).is_some_and(|high| high > place));
        assert!(moved.count() >= 3, "from {high:?} to {low:?}");
        check(&process, kept);
        assert_eq!(*first.payload, payload(0, 400)[..]);
        for (number, entry) in (1..KEPT).zip(held.by_ref()) {
            assert!(*entry.unwrap().payload == payload(number, length_of(number))[..]);
        }
        drop((first, held, snapshot));
        process.engine.compact().unwrap();
        let stats = process.engine.stats();
        assert_eq!((stats.released_bytes, stats.held_bytes), (0, 0), "{stats:?}");
        let live = stats.sstable_bytes + stats.segment_bytes;
        assert!(stats.file_bytes < FIXED + live + 128 * 1024, "{before:?}, then {stats:?}");
        check(&process, kept);
        process.kill();
        let process = world.open(options).unwrap();
        check(&process, kept);
        process.engine.close().unwrap();
        let report = Inspector::over(Arc::new(world.disk.reopen())).verify().unwrap();
        assert_eq!(report.faults, []);
        assert_eq!(report.counts.records, KEPT);
    }
}

/// Nobody asks for it: a worker moves what keeps the file long, and then there is rest.
#[test]
fn segments_move_down_while_the_store_runs() {
    let world = World::new(62);
    let process = world.open(&tiny()).unwrap();
    let kept = fill(&process);
    let before = process.engine.stats();
    pass(&world, &process, 1500);
    let stats = process.engine.stats();
    let live = stats.sstable_bytes + stats.segment_bytes;
    assert!(before.file_bytes > FIXED + live + 1_000_000, "{before:?}");
    assert!(stats.file_bytes < FIXED + live * 3 / 2 + 200_000, "{before:?}, then {stats:?}");
    let operations = world.disk.operation_count();
    pass(&world, &process, 60);
    // The clock's mark is renewed, and nothing else is written.
    assert!(world.disk.operation_count() - operations < 40);
    check(&process, kept);
    process.kill();
}

/// A damaged record keeps its segment where it is, and nobody waiting.
#[test]
fn a_segment_that_is_damaged_stays_and_the_others_move() {
    let world = World::new(63);
    let process = world.open(&tiny()).unwrap();
    let kept = fill(&process);
    let high = places(&world);
    let (last, place) = high.iter().last().unwrap();
    // In the middle of a payload.
    world.disk.flip_bit(place + 200, 3);
    world.clock.advance(Duration::from_secs(200));
    process.engine.compact().unwrap();
    process.engine.compact().unwrap();
    let low = places(&world);
    assert_eq!(low.get(last), Some(place));
    assert!(low.iter().any(|(number, place)| high.get(number).is_some_and(|high| high > place)));
    pass(&world, &process, 60);
    // It is whole again, and somebody asks.
    world.disk.flip_bit(place + 200, 3);
    process.engine.compact().unwrap();
    assert!(places(&world)[last] < *place);
    check(&process, kept);
    process.kill();
}

thread_local! {
    /// Segments that `churn` has seen moved.
    static MOVED: Cell<usize> = const { Cell::new(0) };
}

fn one_table(sim: &mut Sim) -> Result<()> {
    sim.create("lasting", TableOptions::timeline())
}

/// Values come and go below shared payloads that stay.
fn churn(sim: &mut Sim, _: &mut Random, number: usize) -> Result<()> {
    let byte = u8::try_from(number).expect("fewer than 256 steps");
    let length = if (number / 30).is_multiple_of(2) { 900 } else { 3 };
    let put = |n| Step::Put { key: (byte * 2 + n) % 60, value: vec![byte; length] };
    let table = sim.reference.tables.iter().find_map(|table| table.state.as_ref());
    let table = table.expect("one was created").id;
    let targets = vec![(table, vec![byte % 5]), (table, vec![5 + byte % 2])];
    let durability = if number.is_multiple_of(3) { Durability::Sync } else { Durability::Buffered };
    sim.commit(&[put(0), put(1), reference::send(targets, vec![byte; 300])], durability)?;
    sim.pass(2500, 12);
    if number == 50 || number == 85 {
        let before = try_places(&sim.world)?;
        sim.compact()?;
        let after = try_places(&sim.world)?;
        let moved = |(n, place): &(&u64, &u64)| before.get(n).is_some_and(|b| b != *place);
        MOVED.set(MOVED.get() + after.iter().filter(moved).count());
    }
    Ok(())
}

#[test]
fn power_is_lost_while_segments_move() {
    let plan = Plan { two_disks: false, create: one_table, count: 90, step: churn };
    MOVED.set(0);
    assert!(plan.run(&World::new(64)).is_whole);
    assert!(MOVED.get() >= 3, "{} segments were moved", MOVED.get());
    let (points, images, second) = sweep(64, &plan, 4);
    assert!(points > 80 && images > 300 && second > 50, "{points} {images} {second}");
}
