//! What an opening after a kill reads.

use super::hooked_disk::HookedDisk;
use super::regression::append;
use super::world::{World, tiny};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidelog_engine::testing::{SeededEntropy, SimScheduler};
use tidelog_engine::{Engine, Options, Parts, TableOptions};

/// Memtables of 64 KiB.
fn options() -> Options {
    Options { memtable_bytes: 64 * 1024, ..tiny() }
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

/// The log was read twice, and twice all the way to where a torn group could lie.
#[test]
fn an_opening_reads_the_log_once() {
    let world = killed(30);
    let (read_bytes, ring_bytes) = (Arc::new(AtomicU64::new(0)), options().ring_bytes);
    let disk = HookedDisk {
        inner: world.disk.reopen(),
        ring_bytes,
        hook: Arc::new(|| {}),
        read_bytes: Arc::clone(&read_bytes),
    };
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
