//! What an opening after a kill reads, and what it leaves for later.

use super::hooked_disk::HookedDisk;
use super::regression::append;
use super::world::{World, tiny};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidelog_engine::testing::{SeededEntropy, SimScheduler};
use tidelog_engine::{Engine, Options, Parts, TableOptions};

/// Memtables of 128 KiB, of which a share of 32 KiB counts as large. An empty one has some 16.
fn options() -> Options {
    Options { memtable_bytes: 128 * 1024, ..tiny() }
}

/// The machine after a kill with so many entries of a kilobyte in the log.
fn killed(entries: u8) -> World {
    let world = World::new(61);
    let process = world.open(&options()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for number in 0..entries {
        append(&process.engine, table, b"t", &[number; 1024]);
    }
    process.kill();
    world
}

/// Flushes since the opening, bytes that the log holds, and entries, once background work rests.
fn opened(world: &World) -> (u64, u64, u64) {
    let process = world.open(&options()).unwrap();
    for _ in 0..1000 {
        process.scheduler.run_until_idle(1000);
        world.clock.advance(Duration::from_millis(1));
    }
    let stats = process.engine.stats();
    let table = process.engine.table("message").unwrap().id;
    let found = process.engine.snapshot().len(table, b"t").unwrap();
    process.kill();
    (stats.flushes, stats.ring_used_bytes, found)
}

/// It stayed in memory, each entry at a place of its own, until writers had filled it; and every
/// opening replayed it.
#[test]
fn a_large_recovered_memtable_is_flushed_at_once() {
    let world = killed(40);
    assert_eq!(opened(&world), (1, 0, 40));
    assert_eq!(opened(&world), (0, 0, 40));
}

/// A store that is killed again and again would end in tiny SSTables.
#[test]
fn a_small_recovered_memtable_stays() {
    let world = killed(3);
    for _ in 0..3 {
        let (flushes, log_bytes, found) = opened(&world);
        assert_eq!((flushes, found), (0, 3));
        assert!(log_bytes > 3 * 1024);
    }
}

/// The log was read twice, and twice all the way to where a torn group could lie.
#[test]
fn an_opening_reads_the_log_once() {
    let world = killed(30);
    let (read_bytes, ring_bytes) = (Arc::new(AtomicU64::new(0)), options().ring_bytes);
    let disk = HookedDisk::new(world.disk.reopen(), ring_bytes);
    let disk = HookedDisk { read_bytes: Arc::clone(&read_bytes), ..disk };
    let parts = Parts {
        disk: Arc::new(disk),
        cold: None,
        clock: Arc::new(world.clock.clone()),
        scheduler: Arc::new(SimScheduler::new(1, world.clock.clone())),
        entropy: Arc::new(SeededEntropy::new(2)),
        name: "simulated.tide".to_owned(),
    };
    let engine = Engine::open_with(parts, options()).unwrap();
    let table = engine.table("message").unwrap().id;
    assert_eq!(engine.snapshot().len(table, b"t").unwrap(), 30);
    let read = read_bytes.load(Ordering::Relaxed);
    assert!((30 * 1024..=ring_bytes).contains(&read), "{read} bytes of a ring of {ring_bytes}");
    engine.abandon();
}
