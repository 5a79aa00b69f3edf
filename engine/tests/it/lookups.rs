//! A first append to a timeline that is not in memory costs about one read, whatever the number of
//! timelines, on its caller's thread.

use super::world::{Process, World, tiny_read};
use tidelog_engine::testing::Random;
use tidelog_engine::{Durability, Options, TableId, TableOptions, WriteBatch};

const TIMELINES: u64 = 30_000;

/// Timelines take more room in directories than the cache has; filters fit in it.
fn options() -> Options {
    Options {
        ring_bytes: 4 << 20,
        memtable_bytes: 1 << 20,
        sstable_bytes: 1 << 20,
        memory_budget: 8 << 20,
        ..tiny_read()
    }
}

fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// Reads per append to `count` timelines, numbered by `pick`.
fn reads_per_append(
    world: &World,
    process: &Process,
    table: TableId,
    count: u64,
    mut pick: impl FnMut(u64) -> u64,
) -> f64 {
    let before = world.disk.counts().reads;
    for index in 0..count {
        let mut batch = WriteBatch::new();
        batch.append(table, &key(pick(index)), b"one more", None).unwrap();
        process.engine.commit(batch, Durability::Buffered).unwrap();
    }
    assert_eq!(process.engine.stats().flushes, 0, "only look-ups read");
    (world.disk.counts().reads - before) as f64 / count as f64
}

#[test]
fn a_first_append_costs_about_one_read() {
    let world = World::new(1);
    let process = world.open(&options()).unwrap();
    let table = process.engine.create_table("inbox", TableOptions::timeline()).unwrap();
    for first in (0..TIMELINES).step_by(100) {
        let mut batch = WriteBatch::new();
        (first..first + 100)
            .for_each(|number| batch.append(table, &key(number), &[7; 64], None).unwrap());
        process.engine.commit(batch, Durability::Buffered).unwrap();
        process.scheduler.run_until_idle(20);
    }
    process.engine.close().unwrap();
    drop(process);
    let process = world.open(&options()).unwrap();
    let mut random = Random::new(1);
    // Warm: the filters are in the cache, the directories are not.
    reads_per_append(&world, &process, table, 500, |_| random.below(TIMELINES / 2));
    let half = TIMELINES / 2;
    let known = reads_per_append(&world, &process, table, 1500, |_| half + random.below(half));
    assert!((0.02..=1.1).contains(&known), "{known} reads for a known timeline");
    let new = reads_per_append(&world, &process, table, 500, |index| TIMELINES + index);
    assert!(new <= 0.3, "{new} reads for a new timeline");
    let stats = process.engine.stats();
    assert!(stats.cache_bytes <= 1 << 20, "{stats:?}");
}
