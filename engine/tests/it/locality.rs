//! Timelines that are read much come to lie together, though no level is full.

use super::tiers::{settle, verify};
use super::world::{Process, World, tiny, tiny_read};
use tidelog_engine::{
    Direction, Durability, Engine, Options, Snapshot, TableId, TableOptions, WriteBatch, limits,
};

const HOT: &[u8] = b"m";
/// Flushes: fewer than make level 0 due.
const FLUSHES: u64 = limits::LEVEL0_COMPACT as u64 - 1;
const ENTRIES_A_FLUSH: u64 = 3;

/// A timeline with a part in each of many SSTables, among others.
fn scattered(world: &World, options: &Options) -> (Process, TableId) {
    let process = world.open(options).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for flush in 0..FLUSHES {
        for number in 0..ENTRIES_A_FLUSH {
            let mut batch = WriteBatch::new();
            for key in [b"a", HOT, b"z"] {
                let text = format!("{flush}.{number}");
                batch.append(table, key, text.as_bytes(), None).unwrap();
            }
            process.engine.commit(batch, Durability::Buffered).unwrap();
        }
        process.engine.flush().unwrap();
    }
    settle(&process);
    assert_eq!(level0(&process.engine), FLUSHES);
    (process, table)
}

fn level0(engine: &Engine) -> u64 {
    let stats = engine.stats();
    stats.tables[0].windows[0].levels.first().map_or(0, |level| level.sstables)
}

fn sstables(engine: &Engine) -> u64 {
    engine.stats().tables[0].windows[0].sstables()
}

fn newest(snapshot: &Snapshot, table: TableId, direction: Direction) -> usize {
    let from = if direction == Direction::Forward { 1 } else { 0 };
    snapshot.scan(table, HOT, from, u64::MAX, direction).unwrap().map(Result::unwrap).count()
}

#[test]
fn a_timeline_that_is_read_much_comes_to_lie_together() {
    let entries = usize::try_from(FLUSHES * ENTRIES_A_FLUSH).unwrap();
    for options in [tiny(), tiny_read()] {
        for direction in [Direction::Backward, Direction::Forward] {
            let world = World::new(1);
            let (process, table) = scattered(&world, &options);
            let before = process.engine.stats();
            let held = process.engine.snapshot();
            for _ in 0..200 {
                assert_eq!(newest(&process.engine.snapshot(), table, direction), entries);
                process.scheduler.run_until_idle(100);
            }
            let stats = process.engine.stats();
            assert!(sstables(&process.engine) <= limits::LOCALITY_RUNS as u64, "{stats:?}");
            assert!(stats.locality_compactions >= 1, "{stats:?}");
            let written = stats.compacted_bytes;
            assert!(written <= stats.flushed_bytes, "each byte once: {before:?} {stats:?}");
            // And there it ends.
            for _ in 0..2000 {
                newest(&process.engine.snapshot(), table, direction);
            }
            settle(&process);
            let later = process.engine.stats();
            assert_eq!(later.compactions, stats.compactions);
            assert_eq!(newest(&held, table, direction), entries);
            assert_eq!(newest(&process.engine.snapshot(), table, direction), entries);
            verify(&world);
        }
    }
}

#[test]
fn what_is_seldom_read_or_met_early_is_not_rewritten() {
    let world = World::new(2);
    let (process, table) = scattered(&world, &tiny());
    for _ in 0..20 {
        newest(&process.engine.snapshot(), table, Direction::Backward);
        settle(&process);
    }
    assert_eq!(process.engine.stats().locality_compactions, 0, "twenty reads pay for nothing");
    // The newest few entries lie in the first few SSTables.
    for _ in 0..5000 {
        let snapshot = process.engine.snapshot();
        let scan = snapshot.scan(table, HOT, 0, u64::MAX, Direction::Backward).unwrap();
        let few = usize::try_from(ENTRIES_A_FLUSH).unwrap() * limits::LOCALITY_RUNS;
        assert_eq!(scan.take(few).count(), few);
    }
    settle(&process);
    let stats = process.engine.stats();
    assert_eq!((stats.locality_compactions, stats.compacted_bytes), (0, 0), "{stats:?}");
    assert_eq!(level0(&process.engine), FLUSHES);
}

/// A timeline that is longer than an SSTable lies in many, and no compaction would change that.
#[test]
fn a_long_timeline_is_not_rewritten_for_being_long() {
    let world = World::new(3);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for number in 0..600u64 {
        let mut batch = WriteBatch::new();
        batch.append(table, HOT, &[u8::try_from(number % 251).unwrap(); 500], None).unwrap();
        process.engine.commit(batch, Durability::Buffered).unwrap();
    }
    process.engine.compact().unwrap();
    settle(&process);
    assert!(sstables(&process.engine) > 8, "it lies in many");
    let before = process.engine.stats();
    for _ in 0..500 {
        assert_eq!(newest(&process.engine.snapshot(), table, Direction::Backward), 600);
    }
    settle(&process);
    let stats = process.engine.stats();
    assert_eq!(stats.compacted_bytes, before.compacted_bytes);
    assert_eq!(stats.locality_compactions, 0);
}
