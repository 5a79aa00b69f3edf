//! A flush keeps step with the memtable that fills behind it, unless somebody waits.

use super::world::{Process, World, tiny};
use std::time::Duration;
use tidelog_engine::{Durability, Options, TableId, TableOptions, WriteBatch};

const MEMTABLE: usize = 4 << 20;
const PAYLOAD: usize = 16 * 1024;

/// A store whose memtable has just been frozen; nothing of it has been written yet.
fn frozen(world: &World) -> (Process, TableId) {
    let options = Options {
        ring_bytes: 32 << 20,
        memtable_bytes: MEMTABLE,
        sstable_bytes: 8 << 20,
        memory_budget: 64 << 20,
        ..tiny()
    };
    let process = world.open(&options).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    process.scheduler.run_until_idle(10_000);
    write(&process, table, MEMTABLE + PAYLOAD);
    assert_eq!(process.engine.stats().flushes, 0);
    (process, table)
}

fn write(process: &Process, table: TableId, bytes: usize) {
    for timeline in [b"a", b"b", b"c"].iter().cycle().take(bytes / PAYLOAD) {
        let mut batch = WriteBatch::new();
        batch.append(table, *timeline, &[7; PAYLOAD], None).unwrap();
        process.engine.commit(batch, Durability::Buffered).unwrap();
    }
}

#[test]
fn a_flush_waits_for_the_memtable_behind_it() {
    let world = World::new(1);
    let (process, table) = frozen(&world);
    process.scheduler.run_until_idle(10_000);
    assert_eq!(process.engine.stats().flushes, 0, "nobody waits for it");
    write(&process, table, MEMTABLE / 10 * 7);
    world.clock.advance(Duration::from_millis(2));
    process.scheduler.run_until_idle(10_000);
    assert_eq!(process.engine.stats().flushes, 1, "the memtable behind it is soon full");
}

#[test]
fn a_flush_ends_in_good_time_where_nobody_writes() {
    let world = World::new(2);
    let (process, _) = frozen(&world);
    for _ in 0..400 {
        process.scheduler.run_until_idle(10_000);
        world.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(process.engine.stats().flushes, 1, "4 MiB at 16 MiB a second");
}

#[test]
fn a_flush_that_is_asked_for_does_not_wait() {
    let world = World::new(3);
    let (process, _) = frozen(&world);
    // While a waiter looks on, no time passes here: a flush that is held back is asked to go on
    // again and again.
    let before = process.scheduler.step_count();
    process.engine.flush().unwrap();
    let steps = process.scheduler.step_count() - before;
    assert!(steps < 300, "{steps} steps for sixteen pieces");
    assert!(process.engine.stats().flushes >= 1);
}
