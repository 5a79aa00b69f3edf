//! What a store counts, held against what it was given, what is in its file, and what its disk was
//! asked for.

use super::world::{Process, START_MS, World, tiny};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::{Inspector, SstableReport};
use tidelog_engine::limits::LEVEL0_COMPACT;
use tidelog_engine::{Durability, Options, Stats, TableId, TableOptions, Tier, WriteBatch};

fn append(process: &Process, table: TableId, key: &[u8], payload: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    process.engine.commit(batch, Durability::Buffered).unwrap();
}

/// The live SSTables of a table, as the file has them.
fn in_the_file(world: &World, table: TableId) -> Vec<SstableReport> {
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let live = inspector.sstables().unwrap();
    live.into_iter().filter(|sstable| sstable.meta.table == table).collect()
}

/// Memtables are large, so that flushes come when they are asked for.
fn roomy() -> Options {
    Options { memtable_bytes: 1 << 18, memory_budget: 4 << 20, ..tiny() }
}

#[test]
fn what_commits_bring_is_counted_as_it_was_given() {
    let world = World::new(1);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = engine.create_table("value", TableOptions::keyed()).unwrap();
    assert_eq!((engine.stats().input_bytes, engine.stats().write_amplification()), (0, None));
    let mut batch = WriteBatch::new();
    batch.append(messages, b"room", b"hello", Some(7)).unwrap();
    let inboxes = [(messages, b"room".as_slice()), (messages, b"a"), (messages, b"bob")];
    batch.fan_out(inboxes, &[b'x'; 100], None, None, true).unwrap();
    batch.put(values, b"key", b"value").unwrap();
    batch.add(values, b"n", 1).unwrap();
    batch.delete(values, b"key").unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    let written = (4 + 5) + (100 + 4 + 1 + 3) + (3 + 5) + (1 + 8) + 3;
    assert_eq!(engine.stats().input_bytes, written);
    let mut batch = WriteBatch::new();
    batch.amend(messages, b"room", 1, b"hello!").unwrap();
    batch.retract(messages, b"room", 2).unwrap();
    batch.trim(messages, b"bob", 1).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    assert_eq!(engine.stats().input_bytes, written + (4 + 6) + 4 + 3);
}

/// A life with everything in it that writes: log, flushes, compactions, moves, drops, copies down.
fn busy_life(world: &World, process: &Process) {
    let engine = &process.engine;
    let options = TableOptions::timeline();
    let kept = engine.create_table("kept", options.clone()).unwrap();
    let cold = options.clone().cold_after(Duration::from_secs(20));
    let cold = engine.create_table("cold", cold).unwrap();
    let short = options.ttl(Duration::from_secs(40));
    let short = engine.create_table("short", short).unwrap();
    for number in 0..900_u64 {
        for table in [kept, cold, short] {
            append(process, table, &[b'a', u8::try_from(number % 7).unwrap()], &[b'.'; 150]);
        }
        // What only this table knows is written down before its last SSTable goes.
        append(process, short, &number.to_be_bytes(), b"once");
        world.clock.advance(Duration::from_millis(100));
        process.scheduler.run_until_idle(2);
    }
    engine.drop_table(kept).unwrap();
    engine.compact().unwrap();
    world.clock.advance(Duration::from_secs(60));
    process.scheduler.run_until_idle(10_000);
}

#[test]
fn every_byte_that_is_written_is_counted() {
    for second in [false, true] {
        let world = if second { World::with_cold(2) } else { World::new(2) };
        let process = world.open(&tiny()).unwrap();
        let on_disk = || {
            let cold = world.cold.as_ref().map_or(0, |cold| cold.counts().written_bytes);
            let counts = world.disk.counts();
            counts.written_bytes + counts.stored_bytes + cold
        };
        let before = (process.engine.stats().written_bytes(), on_disk());
        busy_life(&world, &process);
        let stats = process.engine.stats();
        let (counted, found) = (stats.written_bytes() - before.0, on_disk() - before.1);
        // A compaction that gives way to expiry is not counted.
        assert!(counted <= found && (found - counted) * 1000 < found, "{counted} of {found}");
        let Stats { flushed_bytes, compacted_bytes, moved_bytes, .. } = stats;
        let Stats { log_bytes, root_bytes, dropped_bytes, .. } = stats;
        let parts = [flushed_bytes, compacted_bytes, moved_bytes, log_bytes, root_bytes];
        assert!(parts.iter().all(|part| *part > 0) && dropped_bytes > 0, "{stats:?}");
        assert!(second || stats.relocated_bytes > 0, "{stats:?}");
        let amplification = stats.write_amplification().unwrap();
        let ratio = stats.written_bytes() as f64 / stats.input_bytes as f64;
        assert!((amplification - ratio).abs() < 1e-9);
        assert_eq!(stats.input_bytes, 900 * (3 * 152 + 12));
    }
}

#[test]
fn tables_are_told_by_tier_window_and_level() {
    let world = World::new(3);
    let process = world.open(&roomy()).unwrap();
    let engine = &process.engine;
    let options =
        TableOptions::timeline().ttl(Duration::from_secs(400)).cold_after(Duration::from_secs(200));
    let table = engine.create_table("message", options).unwrap();
    engine.create_table("empty", TableOptions::timeline()).unwrap();
    // Ten windows of ten seconds, with a flush each.
    for number in 0..10_u64 {
        append(&process, table, b"a", format!("message {number}").as_bytes());
        engine.flush().unwrap();
        world.clock.advance(Duration::from_secs(10));
    }
    let stats = engine.stats();
    let names: Vec<&str> = stats.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["message", "empty"]);
    assert_eq!((stats.tables[0].id, stats.tables[1].windows.len()), (table, 0));
    let windows = &stats.tables[0].windows;
    let from: Vec<u64> = windows.iter().map(|window| window.from_ms).collect();
    let expected: Vec<u64> = (0..10).rev().map(|number| START_MS + number * 10_000).collect();
    assert_eq!(from, expected);
    assert!(windows.iter().all(|w| (w.tier, w.width_ms, w.sstables()) == (Tier::Hot, 10_000, 1)));
    // Half of them become cold, into windows of a twentieth of the time to live.
    world.clock.advance(Duration::from_secs(145));
    engine.compact().unwrap();
    let stats = engine.stats();
    let told = &stats.tables[0];
    let cold: Vec<u64> = told.tier(Tier::Cold).map(|window| window.from_ms).collect();
    assert_eq!(cold, [START_MS + 40_000, START_MS + 20_000, START_MS]);
    assert!(told.tier(Tier::Cold).all(|window| window.width_ms == 20_000));
    assert_eq!(told.tier(Tier::Hot).count(), 5);
    let live = in_the_file(&world, table);
    for window in &told.windows {
        for (level, counted) in (0_u8..).zip(&window.levels) {
            let of_level = live.iter().filter(|sstable| {
                let shard = sstable.meta.shard;
                (shard.tier, shard.window, sstable.level) == (window.tier, window.from_ms, level)
            });
            let lengths: Vec<u64> = of_level.map(|s| s.meta.extent.length).collect();
            let found = (lengths.len() as u64, lengths.iter().sum::<u64>());
            assert_eq!((counted.sstables, counted.bytes), found);
        }
    }
    let counted: u64 = told.windows.iter().map(|window| window.sstables()).sum();
    assert_eq!(counted, live.len() as u64);
    let bytes: u64 = told.windows.iter().map(|window| window.bytes()).sum();
    assert_eq!(bytes, live.iter().map(|sstable| sstable.meta.extent.length).sum::<u64>());
}

#[test]
fn what_waits_for_background_work_is_told() {
    let world = World::new(4);
    let options = Options { memtable_bytes: 16 * 1024, ..roomy() };
    let process = world.open(&options).unwrap();
    let engine = &process.engine;
    let timeline = TableOptions::timeline();
    let cold = timeline.clone().cold_after(Duration::from_secs(60));
    let cold = engine.create_table("cold", cold).unwrap();
    let short = engine.create_table("short", timeline.ttl(Duration::from_secs(60))).unwrap();
    assert_eq!(engine.stats().pending, Default::default());
    // The workers are not stepped, so a full memtable waits.
    while engine.stats().pending.flush_bytes == 0 {
        append(&process, cold, b"a", &[b'.'; 500]);
    }
    let stats = engine.stats();
    assert!((16 * 1024..stats.memtable_bytes).contains(&stats.pending.flush_bytes), "{stats:?}");
    engine.flush().unwrap();
    assert_eq!(engine.stats().pending.flush_bytes, 0);
    for _ in 0..4 {
        world.clock.advance(Duration::from_secs(10));
        append(&process, cold, b"a", b"old");
        append(&process, short, b"a", b"old");
        engine.flush().unwrap();
    }
    assert_eq!(engine.stats().pending, Default::default());
    // Time goes on, and nobody works. The clock of expiry runs at most a minute ahead of the root.
    world.clock.advance(Duration::from_secs(45));
    let of = |table: TableId, before_ms: u64| {
        let live = in_the_file(&world, table).into_iter();
        live.filter(|s| s.meta.times_ms.1 <= START_MS + before_ms).collect::<Vec<_>>()
    };
    let pending = engine.stats().pending;
    let (moving, expired) = (of(cold, 25_000), of(short, 25_000));
    // One that was filled at the beginning, and those of 10 and 20 seconds later.
    assert_eq!((pending.moves, pending.drops), (3, 2));
    assert_eq!(pending.move_bytes, moving.iter().map(|s| s.meta.bytes).sum::<u64>());
    assert_eq!(pending.drop_bytes, expired.iter().map(|s| s.meta.extent.length).sum::<u64>());
    engine.compact().unwrap();
    process.scheduler.run_until_idle(10_000);
    assert_eq!(engine.stats().pending, Default::default());
    assert_eq!(engine.stats().moved_bytes, engine.stats().cold_bytes);
}

#[test]
fn compaction_that_is_due_is_told_in_bytes() {
    let world = World::new(5);
    let process = world.open(&roomy()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let mut due = false;
    for number in 0..40_u64 {
        append(&process, table, b"a", &number.to_be_bytes());
        append(&process, table, b"b", &number.to_be_bytes());
        engine.flush().unwrap();
        let pending = engine.stats().pending.compaction_bytes;
        let level0 = in_the_file(&world, table).into_iter().filter(|s| s.level == 0);
        let mut level0: Vec<_> = level0.map(|s| (s.meta.number, s.meta.bytes)).collect();
        if level0.len() < LEVEL0_COMPACT {
            assert_eq!(pending, 0, "after flush {number}");
            continue;
        }
        // The oldest, as many as one job takes, and what they meet in level 1.
        level0.sort_unstable();
        let mut room = LEVEL0_COMPACT as u64 * roomy().sstable_bytes;
        let fits = level0.iter().take_while(|(_, bytes)| {
            let fits = *bytes <= room;
            room = room.saturating_sub(*bytes);
            fits
        });
        let least: u64 = fits.map(|(_, bytes)| bytes).sum();
        let all: u64 = in_the_file(&world, table).iter().map(|s| s.meta.bytes).sum();
        assert!((least..=all).contains(&pending), "flush {number}: {least}, {pending}, {all}");
        due = true;
    }
    assert!(due);
    process.scheduler.run_until_idle(10_000);
    assert_eq!(engine.stats().pending.compaction_bytes, 0);
}
