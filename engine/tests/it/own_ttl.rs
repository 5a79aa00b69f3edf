//! Entries with a time to live of their own: hidden exactly, in every place they lie in, and gone
//! from the file in the end.

use super::world::{Process, START_MS, World, tiny};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{
    AppendOptions, Clock, Direction, Durability, Engine, ErrorKind, Gap, GapReason, Item, Sequence,
    TableId, TableOptions, WriteBatch,
};

fn options(ttl_ms: u64) -> AppendOptions<'static> {
    AppendOptions { ttl: Some(Duration::from_millis(ttl_ms)), ..AppendOptions::default() }
}

/// Appends one entry; 0 is no time to live.
fn append(engine: &Engine, table: TableId, key: &[u8], ttl_ms: u64) -> u64 {
    let mut batch = WriteBatch::new();
    match ttl_ms {
        0 => batch.append(table, key, &[7; 300], None).unwrap(),
        _ => batch.append_with([(table, key)], &[7; 300], &options(ttl_ms)).unwrap(),
    }
    engine.commit(batch, Durability::Sync).unwrap().seqs[0]
}

fn pass(world: &World, process: &Process, milliseconds: u64) {
    for _ in 0..milliseconds.div_ceil(250) {
        world.clock.advance(Duration::from_millis(250.min(milliseconds)));
        process.scheduler.run_until_idle(2000);
    }
}

/// The seqs that are shown, read in every way, which must agree.
fn seqs(engine: &Engine, table: TableId, key: &[u8]) -> Vec<u64> {
    let snapshot = engine.snapshot();
    let scan = |direction| {
        let scan = snapshot.scan(table, key, 0, u64::MAX, direction).unwrap();
        scan.map(|entry| entry.unwrap().seq).collect::<Vec<_>>()
    };
    let forward = scan(Direction::Forward);
    let mut backward = scan(Direction::Backward);
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(snapshot.len(table, key).unwrap(), forward.len() as u64);
    let latest = snapshot.latest(table, key).unwrap().map(|entry| entry.seq);
    assert_eq!(latest, forward.last().copied());
    for seq in 1..=snapshot.latest_seq(table, key).unwrap() {
        let found = snapshot.get(table, key, seq).unwrap().is_some();
        assert_eq!(found, forward.contains(&seq), "{seq}");
    }
    forward
}

fn gaps(engine: &Engine, table: TableId, key: &[u8]) -> Vec<Gap> {
    let snapshot = engine.snapshot();
    let items = snapshot.scan_items(table, key, 1, u64::MAX, Direction::Forward).unwrap();
    let gaps = items.filter_map(|item| match item.unwrap() {
        Item::Gap(gap) => Some(gap),
        Item::Entry(_) => None,
    });
    gaps.collect()
}

fn expired(from: u64, to: u64) -> Gap {
    Gap { from, to, reason: GapReason::Expired }
}

#[test]
fn entries_are_hidden_exactly_wherever_they_lie() {
    for stage in 0..3 {
        let world = World::new(70);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let table = engine.create_table("chat", TableOptions::timeline()).unwrap();
        let clock = &world.clock;
        for ttl_ms in [0, 5_000, 10_000, 0, 5_000] {
            append(engine, table, b"t", ttl_ms);
        }
        match stage {
            0 => {}
            1 => engine.flush().unwrap(),
            _ => engine.compact().unwrap(),
        }
        let passed = clock.wall_ms() - START_MS;
        let held = engine.snapshot();
        clock.advance(Duration::from_millis(4_999 - passed));
        assert_eq!(seqs(engine, table, b"t"), [1, 2, 3, 4, 5], "stage {stage}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(seqs(engine, table, b"t"), [1, 3, 4], "stage {stage}");
        assert_eq!(gaps(engine, table, b"t"), [expired(2, 2), expired(5, 5)]);
        assert_eq!(held.len(table, b"t").unwrap(), 3, "a snapshot is no way around it");
        clock.advance(Duration::from_millis(5_000));
        assert_eq!(seqs(engine, table, b"t"), [1, 4]);
        assert_eq!(gaps(engine, table, b"t"), [expired(2, 3), expired(5, 5)]);
        assert_eq!(held.latest_seq(table, b"t").unwrap(), 5);
        let entry = engine.snapshot().get(table, b"t", 1).unwrap().unwrap();
        assert_eq!(entry.ttl_ms, None);
    }
}

#[test]
fn a_time_to_live_only_shortens() {
    let world = World::new(71);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = TableOptions::timeline().ttl(Duration::from_secs(10));
    let table = engine.create_table("chat", table).unwrap();
    append(engine, table, b"t", 60_000);
    append(engine, table, b"t", 2_000);
    pass(&world, &process, 2_000);
    assert_eq!(seqs(engine, table, b"t"), [1]);
    pass(&world, &process, 8_000);
    assert_eq!(seqs(engine, table, b"t"), [0u64; 0]);
    assert_eq!(append(engine, table, b"t", 0), 3);
}

#[test]
fn bounds_are_named() {
    let mut batch = WriteBatch::new();
    let table = TableId(16);
    for ttl in [Duration::ZERO, Duration::from_nanos(999_999), Duration::MAX] {
        let options = AppendOptions { ttl: Some(ttl), ..AppendOptions::default() };
        let error = batch.append_with([(table, &b"t"[..])], b"x", &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUse);
        assert!(error.to_string().contains("time to live of an entry"), "{error}");
    }
    assert!(batch.is_empty());
}

/// The newest entries expire and leave the file before older ones; the timeline goes on.
#[test]
fn a_seq_is_never_given_again_when_the_newest_entries_are_gone() {
    for reopen in [false, true] {
        let world = World::new(72);
        let process = world.open(&tiny()).unwrap();
        let table = process.engine.create_table("chat", TableOptions::timeline()).unwrap();
        for key in [&b"one"[..], b"two", b"three"] {
            append(&process.engine, table, key, 0);
        }
        process.engine.flush().unwrap();
        for _ in 0..4 {
            append(&process.engine, table, b"one", 3_000);
            append(&process.engine, table, b"new", 3_000);
        }
        process.engine.flush().unwrap();
        process.engine.compact().unwrap();
        pass(&world, &process, 3_000);
        process.engine.compact().unwrap();
        pass(&world, &process, 3_000);
        let entries: u64 = inspect_entries(&world, table);
        assert_eq!(entries, 3, "what has expired is out of the file");
        let process = match reopen {
            false => process,
            true => {
                process.kill();
                world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap()
            }
        };
        let engine = &process.engine;
        assert_eq!(engine.snapshot().latest_seq(table, b"one").unwrap(), 5);
        assert_eq!(engine.snapshot().latest_seq(table, b"new").unwrap(), 4);
        assert_eq!(gaps(engine, table, b"one"), [expired(2, 5)]);
        assert_eq!(append(engine, table, b"one", 0), 6);
        assert_eq!(append(engine, table, b"new", 0), 5);
        assert_eq!(append(engine, table, b"two", 0), 2);
        let timelines = engine.snapshot().timelines(table, b"", None).unwrap();
        assert_eq!(timelines.count(), 4);
    }
}

/// Entries of a table in SSTables, as the file tells them.
fn inspect_entries(world: &World, table: TableId) -> u64 {
    let sstables = Inspector::over(Arc::new(world.disk.reopen())).sstables().unwrap();
    let of_table = sstables.iter().filter(|sstable| sstable.meta.table == table);
    of_table.map(|sstable| sstable.meta.entries).sum()
}

/// In a table that keeps for ever, what has expired gives its space back without being asked.
#[test]
fn a_quarter_that_has_expired_is_rewritten_and_a_whole_is_dropped() {
    let world = World::new(73);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("chat", TableOptions::timeline()).unwrap();
    for round in 0..200u64 {
        let key = format!("timeline {}", round % 20);
        append(engine, table, key.as_bytes(), if round % 2 == 0 { 20_000 } else { 0 });
        process.scheduler.run_until_idle(100);
    }
    engine.flush().unwrap();
    engine.compact().unwrap();
    assert_eq!(inspect_entries(&world, table), 200);
    pass(&world, &process, 60_000);
    assert_eq!(inspect_entries(&world, table), 100);
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    assert_eq!(inspector.verify().unwrap().faults, []);
}

#[test]
fn fanned_out_entries_have_it_each_and_amendments_go_on() {
    let world = World::new(74);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("chat", TableOptions::timeline()).unwrap();
    let targets = [(table, &b"room"[..]), (table, b"ann"), (table, b"bob")];
    let mut batch = WriteBatch::new();
    let long = AppendOptions { first_is_origin: true, ..options(9_000) };
    batch.append_with(targets, &[1; 2000], &long).unwrap();
    let short = AppendOptions { first_is_origin: true, ..options(4_000) };
    batch.append_with(targets, &[2; 2000], &short).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    let mut batch = WriteBatch::new();
    batch.amend(table, b"room", 1, b"other").unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    engine.flush().unwrap();
    assert!(engine.stats().segments > 0, "{:?}", engine.stats());
    assert_eq!(seqs(engine, table, b"ann"), [1, 2]);
    pass(&world, &process, 4_000);
    for key in [&b"room"[..], b"ann", b"bob"] {
        assert_eq!(seqs(engine, table, key), [1]);
        let entry = engine.snapshot().get(table, key, 1).unwrap().unwrap();
        assert_eq!((&*entry.payload, entry.ttl_ms), (&b"other"[..], Some(9_000)));
    }
    engine.compact().unwrap();
    assert_eq!(seqs(engine, table, b"bob"), [1]);
    pass(&world, &process, 5_250);
    assert_eq!(seqs(engine, table, b"bob"), [0u64; 0]);
    engine.compact().unwrap();
    pass(&world, &process, 31_000);
    assert_eq!(engine.stats().segments, 0, "nobody refers to the payloads any more");
}

/// What was hidden stays hidden over a loss of power, although no table expires anything.
#[test]
fn no_crash_brings_an_entry_back() {
    let world = World::new(75);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("chat", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"t", 50_000);
    append(&process.engine, table, b"t", 0);
    pass(&world, &process, 120_000);
    assert_eq!(seqs(&process.engine, table, b"t"), [2]);
    process.kill();
    let world = world.after(&CrashPolicy::DropAll);
    // The machine's clock has lost its time.
    world.clock.jump_wall(-110_000);
    let process = world.open(&tiny()).unwrap();
    assert_eq!(seqs(&process.engine, table, b"t"), [2]);
}

#[test]
fn an_older_snapshot_of_a_table_of_given_ids_knows_the_latest_that_was_given() {
    // Story: where an entry with a time to live of its own may have gone, the latest seq of a
    // snapshot was taken for the one before the next that is left. Ids that a caller gives have
    // gaps, and a snapshot told of ids that nobody had given, once a later one was.
    let world = World::new(145);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let table = engine.create_table("given", given).unwrap();
    let write = |seq| {
        let mut batch = WriteBatch::new();
        let ttl = Some(Duration::from_secs(3_600));
        let options = AppendOptions { ttl, ..AppendOptions::default() };
        batch.append_at_with(table, b"t", seq, b"x", &options).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    };
    write(10);
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.latest_seq(table, b"t").unwrap(), 10);
    write(20);
    assert_eq!(snapshot.latest_seq(table, b"t").unwrap(), 10);
    engine.flush().unwrap();
    assert_eq!(snapshot.latest_seq(table, b"t").unwrap(), 10);
    process.kill();
}
