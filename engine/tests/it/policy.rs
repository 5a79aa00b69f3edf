//! Long background jobs are cut short between two steps: by closing the store, by altering or
//! dropping the table, whatever the job is; and what they have written is free again.

use super::tiers::{settle, verify};
use super::world::{Process, World, tiny};
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::{Compression, Durability, Options, Stats, TableId, TableOptions, WriteBatch};

/// Bytes after which a step ends.
const STEP_BYTES: u64 = 256 << 10;
const PAYLOAD_BYTES: usize = 64 * 1024;
const HOUR: Duration = Duration::from_secs(3600);

/// SSTables of many steps.
fn options() -> Options {
    Options {
        ring_bytes: 32 << 20,
        memtable_bytes: 4 << 20,
        sstable_bytes: 8 << 20,
        memory_budget: 64 << 20,
        ..tiny()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Long {
    Merge,
    Move,
    DeadShare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Close,
    Alter,
    Drop,
}

/// Bytes of the file that something needs.
fn used(stats: &Stats) -> u64 {
    stats.file_bytes - stats.free_bytes
}

fn table_options() -> TableOptions {
    TableOptions::timeline().cold_after(HOUR)
}

fn write(process: &Process, table: TableId, key: u8, count: u64) {
    for number in 0..count {
        let mut random = Random::new(number + u64::from(key) * 1000);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.below(u64::MAX).to_le_bytes())
            .flatten()
            .take(PAYLOAD_BYTES)
            .collect();
        let mut batch = WriteBatch::new();
        batch.append(table, &[key], &noise, None).unwrap();
        process.engine.commit(batch, Durability::Buffered).unwrap();
    }
}

/// A store in the midst of a job that has at least three steps to go; and what was used before it.
fn in_the_midst(world: &World, long: Long) -> (Process, TableId, u64) {
    let process = world.open(&options()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", table_options()).unwrap();
    let (flushes, keys) = if long == Long::Merge { (8, 1) } else { (2, 2) };
    for _ in 0..flushes {
        (0..keys).for_each(|key| write(&process, table, b'a' + key, 56 / u64::from(keys)));
        if long == Long::Merge {
            // The last flush makes level 0 due.
            while engine.stats().memtable_bytes > PAYLOAD_BYTES as u64 {
                engine.flush().unwrap();
            }
        }
    }
    if long != Long::Merge {
        engine.compact().unwrap();
        settle(&process);
    }
    match long {
        Long::Merge => {}
        Long::Move => world.clock.advance(HOUR * 2),
        Long::DeadShare => {
            let mut batch = WriteBatch::new();
            batch.trim(table, b"a", 50).unwrap();
            engine.commit(batch, Durability::Sync).unwrap();
            world.clock.advance(Duration::from_secs(60));
        }
    }
    let mut before = used(&engine.stats());
    for _ in 0..100_000 {
        let stats = engine.stats();
        let of_dead = long != Long::DeadShare || stats.dead_compactions > 0;
        if of_dead && stats.output_bytes > 0 && stats.memtable_bytes < PAYLOAD_BYTES as u64 {
            return (process, table, before);
        }
        before = used(&stats);
        if !process.scheduler.step_one() {
            world.clock.advance(Duration::from_millis(50));
        }
    }
    panic!("{long:?} does not begin: {:?}", engine.stats());
}

/// Steps until the job has given up.
fn until_given_up(process: &Process, before: &Stats, context: &str) {
    for _ in 0..200 {
        let stats = process.engine.stats();
        assert_eq!(stats.compactions, before.compactions, "{context}: it went on to its end");
        if stats.output_bytes == 0 {
            return;
        }
        process.scheduler.step_one();
    }
    panic!("{context}: it goes on");
}

#[test]
fn a_long_job_is_cut_short_between_two_steps() {
    for long in [Long::Merge, Long::Move, Long::DeadShare] {
        for request in [Request::Close, Request::Alter, Request::Drop] {
            let context = format!("{long:?}, {request:?}");
            let world = World::new(1);
            let (process, table, used_before) = in_the_midst(&world, long);
            let engine = &process.engine;
            let before = engine.stats();
            let written = world.disk.counts().written_bytes;
            match request {
                Request::Close => engine.close().unwrap(),
                Request::Alter => {
                    let altered = table_options().ttl(HOUR * 100);
                    let altered = TableOptions { compression: Compression::Lz4, ..altered };
                    engine.alter_table(table, altered).unwrap();
                    until_given_up(&process, &before, &context);
                }
                Request::Drop => {
                    engine.drop_table(table).unwrap();
                    until_given_up(&process, &before, &context);
                }
            }
            let since = world.disk.counts().written_bytes - written;
            assert!(since <= STEP_BYTES / 2, "{context}: {since} bytes were written afterwards");
            if request == Request::Alter {
                let stats = engine.stats();
                let more = used(&stats).saturating_sub(used_before);
                assert!(more < STEP_BYTES / 2, "{context}: {more} bytes are not free");
            }
            if request == Request::Close {
                drop(process);
                verify(&world);
                let process = world.open(&options()).unwrap();
                let more = used(&process.engine.stats()).saturating_sub(used_before);
                assert!(more < STEP_BYTES / 2, "{context}: {more} bytes are not free");
                continue;
            }
            engine.compact().unwrap();
            settle(&process);
            verify(&world);
            let used = used(&engine.stats());
            let empty = request == Request::Drop;
            assert!(!empty || used < options().ring_bytes + STEP_BYTES, "{context}: {used} bytes");
        }
    }
}
