//! Payloads of 256 KiB and more: written before their commit, named by the log, adopted by a flush.

use super::world::{Process, World, tiny, tiny_read};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use tidelog_engine::inspect::{Inspector, LogPayload, SpaceKind};
use tidelog_engine::limits::{LARGE_PAYLOAD_BYTES, PAYLOAD_LENGTH_MAX};
use tidelog_engine::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, Random, SimDisk,
};
use tidelog_engine::{
    Direction, Durability, Engine, Entry, Error, ErrorKind, Options, Precondition, Result, TableId,
    TableOptions, WriteBatch,
};

/// Payloads of so many bytes are large in the tests that need many of them.
const SMALL: usize = 3000;

fn create(engine: &Engine) -> TableId {
    engine.create_table("message", TableOptions::timeline()).unwrap()
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Random::new(seed).fill(&mut bytes);
    bytes
}

fn append(table: TableId, key: &[u8], payload: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new().with_large_from(SMALL);
    batch.append(table, key, payload, Some(7)).unwrap();
    batch
}

fn scan(engine: &Engine, table: TableId, key: &[u8]) -> Result<Vec<Entry>> {
    engine.snapshot().scan(table, key, 0, u64::MAX, Direction::Forward)?.collect()
}

fn inspect(disk: &SimDisk) -> Inspector {
    Inspector::over(Arc::new(disk.reopen()))
}

fn named(disk: &SimDisk) -> Vec<LogPayload> {
    inspect(disk).log().unwrap().payloads
}

fn assert_sound(disk: &SimDisk) {
    assert_eq!(inspect(disk).verify().unwrap().faults, []);
}

/// Bytes of the grid that something owns.
fn used(process: &Process) -> u64 {
    let stats = process.engine.stats();
    stats.file_bytes - stats.free_bytes
}

#[test]
fn the_largest_payload_passes_the_smallest_ring_and_survives_a_kill() {
    for options in [tiny(), tiny_read()] {
        let world = World::new(41);
        let process = world.open(&options).unwrap();
        let table = create(&process.engine);
        let payload = bytes(1, PAYLOAD_LENGTH_MAX);
        let mut batch = WriteBatch::new();
        batch.append(table, b"a", &payload, Some(-9)).unwrap();
        assert!(batch.byte_count() < 100, "the ring and its limits hear of a reference alone");
        process.engine.commit(batch, Durability::Sync).unwrap();
        let check = |process: &Process| {
            let entries = scan(&process.engine, table, b"a").unwrap();
            assert_eq!((entries.len(), entries[0].seq, entries[0].event_ms), (1, 1, Some(-9)));
            assert!(*entries[0].payload == payload[..] && entries[0].origin.is_none());
        };
        check(&process);
        assert!(process.engine.stats().memtable_bytes < 1 << 20);
        process.kill();
        assert_eq!(named(&world.disk)[0].segment.payload_bytes, payload.len() as u64);
        for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
            let after = world.after(&policy);
            assert_sound(&after.disk);
            let process = after.open(&options).unwrap();
            check(&process);
            process.engine.flush().unwrap();
            check(&process);
            process.engine.compact().unwrap();
            check(&process);
            process.engine.close().unwrap();
            process.kill();
            assert_eq!(named(&after.disk), []);
            assert_sound(&after.disk);
            let process = after.open(&options).unwrap();
            check(&process);
            process.kill();
        }
    }
}

/// The limit itself, and the bytes of a batch on either side of it.
#[test]
fn payloads_are_large_from_the_limit_on() {
    let world = World::new(42);
    let process = world.open(&Options { ring_bytes: 4 << 20, ..tiny() }).unwrap();
    let table = create(&process.engine);
    for (length, large) in [(LARGE_PAYLOAD_BYTES - 1, false), (LARGE_PAYLOAD_BYTES, true)] {
        let mut batch = WriteBatch::new();
        batch.append(table, b"a", &bytes(3, length), None).unwrap();
        assert_eq!(batch.byte_count() < length, large);
        process.engine.commit(batch, Durability::Sync).unwrap();
    }
    let entries = scan(&process.engine, table, b"a").unwrap();
    let lengths: Vec<usize> = entries.iter().map(|entry| entry.payload.len()).collect();
    assert_eq!(lengths, [LARGE_PAYLOAD_BYTES - 1, LARGE_PAYLOAD_BYTES]);
    let payloads = named(&world.disk);
    assert_eq!(payloads.len(), 1, "{payloads:?}");
    process.kill();
}

#[test]
fn a_fan_out_stores_it_once() {
    let world = World::new(43);
    let options = Options { ring_bytes: 4 << 20, memtable_bytes: 1 << 20, ..tiny() };
    let process = world.open(&Options { memory_budget: 8 << 20, ..options }).unwrap();
    let table = create(&process.engine);
    let payload = bytes(4, 1 << 20);
    let keys: Vec<Vec<u8>> = (0..1001).map(|n| format!("inbox {n:04}").into_bytes()).collect();
    let before = used(&process);
    let mut batch = WriteBatch::new();
    let targets = keys.iter().map(|key| (table, &key[..]));
    batch.fan_out(targets, &payload, Some(5), None, true).unwrap();
    process.engine.commit(batch, Durability::Sync).unwrap();
    let check = |process: &Process| {
        for (number, key) in keys.iter().enumerate() {
            let entries = scan(&process.engine, table, key).unwrap();
            assert_eq!((entries.len(), entries[0].event_ms), (1, Some(5)));
            assert!(*entries[0].payload == payload[..]);
            let origin = entries[0].origin.as_ref().map(|origin| (&*origin.key, origin.seq));
            assert_eq!(origin, (number > 0).then_some((&keys[0][..], 1)));
        }
    };
    check(&process);
    assert!(used(&process) - before < (1 << 20) + 8192, "one extent");
    process.engine.flush().unwrap();
    check(&process);
    process.engine.compact().unwrap();
    check(&process);
    let stats = process.engine.stats();
    assert_eq!((stats.segments, stats.segment_bytes), (1, (1 << 20) + 4096));
    assert!(stats.sstable_bytes < 1 << 20);
    process.engine.close().unwrap();
    process.kill();
    assert_sound(&world.disk);
}

#[test]
fn refused_commits_give_the_space_back() {
    let world = World::new(44);
    let process = world.open(&tiny()).unwrap();
    let table = create(&process.engine);
    let values = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let large = bytes(5, 300_000);
    process.engine.commit(append(table, b"a", &large), Durability::Sync).unwrap();
    process.engine.flush().unwrap();
    process.scheduler.run_until_idle(1000);
    let before = used(&process);
    let seq = Precondition::NextSeq { table, key: b"a"[..].into(), seq: 9 };
    let value = Some(b"other".to_vec());
    let other = Precondition::Value { table: values, key: b"k"[..].into(), value };
    for precondition in [seq.clone(), other] {
        let mut batch = append(table, b"a", &large);
        batch.require(precondition);
        let refused = process.engine.commit(batch, Durability::Sync).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert_eq!(used(&process), before);
    }
    // A future that is dropped: refused, and committed.
    let mut batch = append(table, b"a", &large);
    batch.require(seq);
    drop(process.engine.commit_async(batch, Durability::Sync));
    assert_ne!(used(&process), before, "it is written during the call");
    process.scheduler.run_until_idle(100);
    assert_eq!(used(&process), before);
    drop(process.engine.commit_async(append(table, b"a", &large), Durability::Sync));
    process.scheduler.run_until_idle(100);
    assert_eq!(scan(&process.engine, table, b"a").unwrap().len(), 2);
    assert!(used(&process) > before + 300_000);
    // A store that is closed.
    let late = process.engine.commit_async(append(table, b"a", &large), Durability::Sync);
    process.engine.close().unwrap();
    assert!(matches!(
        pin!(late).poll(&mut Context::from_waker(Waker::noop())),
        std::task::Poll::Ready(Ok(_))
    ));
    let closed = used(&process);
    let late = process.engine.commit(append(table, b"a", &large), Durability::Sync).unwrap_err();
    assert_eq!((late.kind(), used(&process)), (ErrorKind::Closed, closed));
    process.kill();
    assert_sound(&world.disk);
}

/// Several in one batch, with what is small before, between and behind them.
#[test]
fn a_batch_of_many_is_atomic() {
    let world = World::new(45);
    let process = world.open(&tiny()).unwrap();
    let table = create(&process.engine);
    let mut batch = WriteBatch::new().with_large_from(SMALL);
    let payloads: Vec<Vec<u8>> =
        (0..40).map(|n| bytes(n, if n % 3 == 0 { 100 } else { 40_000 })).collect();
    for payload in &payloads {
        batch.append(table, b"a", payload, None).unwrap();
    }
    let committed = process.engine.commit(batch, Durability::Buffered).unwrap();
    assert_eq!(committed.seqs, (1..=40).collect::<Vec<u64>>());
    let check = |engine: &Engine| {
        let entries = scan(engine, table, b"a").unwrap();
        assert!(entries.iter().map(|entry| &*entry.payload).eq(payloads.iter().map(|p| &p[..])));
    };
    check(&process.engine);
    process.kill();
    assert_eq!(named(&world.disk).len(), 26);
    let reader = world.open(&Options { read_only: true, ..tiny() }).unwrap();
    check(&reader.engine);
    reader.kill();
    let process = world.open(&tiny()).unwrap();
    check(&process.engine);
    process.kill();
}

/// A reader beside a live writer reads what the log names, and what a flush has adopted.
#[test]
fn readers_beside_the_writer_see_them() {
    let world = World::new(46);
    let process = world.open(&tiny()).unwrap();
    let table = create(&process.engine);
    let read_only = Options { read_only: true, ..tiny() };
    for number in 0..6 {
        let payload = bytes(number, 20_000);
        process.engine.commit(append(table, b"a", &payload), Durability::Buffered).unwrap();
        let reader = world.open(&read_only).unwrap();
        let entries = scan(&reader.engine, table, b"a").unwrap();
        assert_eq!(entries.len() as u64, number + 1);
        assert!(*entries.last().unwrap().payload == payload[..]);
        reader.kill();
        if number == 3 {
            process.engine.flush().unwrap();
        }
    }
    assert_sound(&world.disk);
    process.kill();
}

/// A payload that a reader holds keeps its extent, through flush, deletion and compaction.
#[test]
fn a_payload_that_is_held_is_not_overwritten() {
    let world = World::new(47);
    let process = world.open(&tiny()).unwrap();
    let table = create(&process.engine);
    let payload = bytes(6, 300_000);
    process.engine.commit(append(table, b"a", &payload), Durability::Sync).unwrap();
    let held = scan(&process.engine, table, b"a").unwrap().remove(0).payload;
    let mut batch = WriteBatch::new();
    batch.delete_timeline(table, b"a").unwrap();
    process.engine.commit(batch, Durability::Sync).unwrap();
    for number in 0..20 {
        let other = bytes(100 + number, 300_000);
        process.engine.commit(append(table, b"b", &other), Durability::Sync).unwrap();
        process.engine.compact().unwrap();
    }
    assert!(*held == payload[..]);
    assert!(process.engine.stats().held_bytes >= 300_000);
    drop(held);
    assert_eq!(process.engine.stats().held_bytes, 0);
    process.engine.compact().unwrap();
    process.engine.close().unwrap();
    process.kill();
    assert_sound(&world.disk);
}

/// What has expired before the flush is written nowhere, and its extent is free again; so is that
/// of a table that was dropped meanwhile.
#[test]
fn what_a_flush_leaves_out_gives_its_extent_back() {
    let world = World::new(48);
    let process = world.open(&tiny()).unwrap();
    let options = TableOptions::timeline().ttl(Duration::from_secs(10));
    let short = process.engine.create_table("short", options).unwrap();
    let dropped = process.engine.create_table("dropped", TableOptions::timeline()).unwrap();
    process.engine.flush().unwrap();
    process.scheduler.run_until_idle(1000);
    let before = used(&process);
    for table in [short, dropped] {
        process.engine.commit(append(table, b"a", &bytes(7, 1 << 20)), Durability::Sync).unwrap();
    }
    assert!(used(&process) > before + (2 << 20));
    process.engine.drop_table(dropped).unwrap();
    world.clock.advance(Duration::from_secs(60));
    process.scheduler.run_until_idle(1000);
    assert_eq!(scan(&process.engine, short, b"a").unwrap(), []);
    process.engine.compact().unwrap();
    assert_eq!(process.engine.stats().segments, 0);
    assert!(used(&process) < before + (1 << 20), "{} of {before}", used(&process));
    process.engine.close().unwrap();
    process.kill();
    assert_sound(&world.disk);
}

#[test]
fn a_full_disk_refuses_it_and_the_store_goes_on() {
    let world = World::new(49);
    let process = world.open(&tiny()).unwrap();
    let table = create(&process.engine);
    let payload = bytes(8, 2 << 20);
    world.disk.set_capacity(Some(world.disk.used_bytes() + (1 << 20)));
    for _ in 0..3 {
        let before = used(&process);
        let batch = append(table, b"a", &payload);
        let refused = process.engine.commit(batch, Durability::Sync).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NoSpace);
        assert_eq!(used(&process), before);
        process.engine.commit(append(table, b"a", b"small"), Durability::Sync).unwrap();
        process.engine.flush().unwrap();
    }
    world.disk.set_capacity(None);
    process.engine.commit(append(table, b"a", &payload), Durability::Sync).unwrap();
    let entries = scan(&process.engine, table, b"a").unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(*entries[3].payload == payload[..]);
    process.kill();
    assert_sound(&world.disk);
}

/// A write that fails is the commit's own; a sync that fails poisons the store. What was
/// acknowledged is there afterwards in either case, whole.
#[test]
fn failed_writes_and_syncs_lose_nothing() {
    let effects = [
        (FaultOperation::Write, FaultEffect::Error),
        (FaultOperation::Sync, FaultEffect::FailedSync(AfterFailedSync::Reverted)),
        (FaultOperation::Sync, FaultEffect::FailedSync(AfterFailedSync::LostOnlyAfterCrash)),
    ];
    let mut felt = 0;
    for (operation, effect) in effects {
        for at in 0..30 {
            let world = World::new(50);
            let process = world.open(&tiny()).unwrap();
            let table = create(&process.engine);
            world.disk.fail(Fault { operation, at, times: FaultTimes::Once, effect });
            let mut acknowledged = BTreeMap::new();
            for number in 0..10 {
                let payload = bytes(number, 30_000);
                match process.engine.commit(append(table, b"a", &payload), Durability::Sync) {
                    Ok(committed) => drop(acknowledged.insert(committed.seqs[0], payload)),
                    Err(_) => felt += 1,
                }
                process.scheduler.run_until_idle(5);
            }
            process.kill();
            world.disk.clear_faults();
            for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
                let after = world.after(&policy);
                let process = after.open(&tiny()).unwrap();
                let found = scan(&process.engine, table, b"a").unwrap();
                let found: BTreeMap<_, _> =
                    found.into_iter().map(|entry| (entry.seq, entry.payload)).collect();
                for (seq, payload) in &acknowledged {
                    assert!(*found[seq] == payload[..], "{operation:?} {at} {policy:?}: {seq}");
                }
                process.kill();
                assert_sound(&after.disk);
            }
        }
    }
    assert!(felt > 20, "only {felt} faults were felt");
}

/// Damage in one is found by `verify`, and told to whoever reads the entry; nobody else is harmed.
#[test]
fn damage_is_that_of_one_entry() {
    for options in [tiny(), tiny_read()] {
        let world = World::new(51);
        let process = world.open(&options).unwrap();
        let table = create(&process.engine);
        for key in [&b"a"[..], b"b", b"c"] {
            let payload = bytes(u64::from(key[0]), 50_000);
            process.engine.commit(append(table, key, &payload), Durability::Sync).unwrap();
        }
        process.kill();
        let payloads = named(&world.disk);
        assert_eq!(payloads.iter().map(|payload| payload.commit).collect::<Vec<_>>(), [1, 2, 3]);
        let place = payloads[1].segment.extent.offset;
        world.disk.flip_bit(place + 40_000, 3);
        let faults = inspect(&world.disk).verify().unwrap().faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].what, faults[0].offset), ("segment record", place));
        let process = world.open(&options).unwrap();
        let stages: [fn(&Engine) -> Result<()>; 3] =
            [|_| Ok(()), |engine| engine.flush(), |engine| engine.compact()];
        for stage in stages {
            stage(&process.engine).unwrap();
            for (key, sound) in [(&b"a"[..], true), (b"b", false), (b"c", true)] {
                match scan(&process.engine, table, key) {
                    Ok(entries) => {
                        assert!(sound);
                        assert!(*entries[0].payload == bytes(u64::from(key[0]), 50_000)[..]);
                    }
                    Err(Error::Corruption(found)) => {
                        assert!(!sound, "{found:?}");
                        assert_eq!((found.what, found.offset), ("segment record", place));
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
        process.kill();
    }
}

/// The map of the file knows what only the log names, and a crash before the log does leaks
/// nothing.
#[test]
fn what_the_log_does_not_name_is_free_after_a_crash() {
    let world = World::new(52);
    let process = world.open(&tiny()).unwrap();
    let table = create(&process.engine);
    let first = bytes(9, 1 << 20);
    process.engine.commit(append(table, b"a", &first), Durability::Sync).unwrap();
    let owned = used(&process);
    // Queued, and never led: its extent is written, and the log never hears of it.
    let late = process.engine.commit_async(append(table, b"a", &first), Durability::Sync);
    assert!(used(&process) >= owned + (1 << 20));
    process.scheduler.kill();
    let after = world.after(&CrashPolicy::KeepAll);
    drop(late);
    process.engine.abandon();
    let space = inspect(&after.disk).space().unwrap();
    let segments = space.iter().filter(|run| matches!(run.kind, SpaceKind::Segment(_)));
    assert_eq!(segments.count(), 1);
    assert_sound(&after.disk);
    let process = after.open(&tiny()).unwrap();
    // Recovery itself may have written another manifest record, and no more than that.
    assert!(used(&process) <= owned, "{} of {owned}", used(&process));
    assert_eq!(scan(&process.engine, table, b"a").unwrap().len(), 1);
    process.kill();
}

/// Recovery that must flush before it has replayed the whole log takes nothing that the rest of the
/// log names. All space is given back by and by while the log names extents high in the file.
#[test]
fn recovery_and_giving_back_leave_named_extents_alone() {
    let world = World::new(53);
    let process = world.open(&roomy()).unwrap();
    let table = create(&process.engine);
    let mut expected = Vec::new();
    for number in 0..60 {
        let length = if number % 4 == 3 { 20_000 } else { 2_500 };
        expected.push(bytes(number, length));
        process
            .engine
            .commit(append(table, b"a", &expected[expected.len() - 1]), Durability::Sync)
            .unwrap();
    }
    process.kill();
    let many = named(&world.disk).len();
    assert_eq!(many, 15);
    // Smaller memtables: replay fills three of them.
    let process = world.open(&tiny()).unwrap();
    assert!(process.engine.stats().flushes > 0, "recovery has flushed");
    let check = |process: &Process| {
        let entries = scan(&process.engine, table, b"a").unwrap();
        assert!(entries.iter().map(|entry| &*entry.payload).eq(expected.iter().map(|p| &p[..])));
    };
    check(&process);
    for _ in 0..40 {
        world.clock.advance(Duration::from_secs(6));
        process.scheduler.run_until_idle(500);
    }
    check(&process);
    process.kill();
    assert_sound(&world.disk);
    let process = world.open(&tiny()).unwrap();
    check(&process);
    process.engine.compact().unwrap();
    check(&process);
    process.engine.close().unwrap();
    process.kill();
    assert_sound(&world.disk);
}

fn roomy() -> Options {
    Options { ring_bytes: 4 << 20, memtable_bytes: 1 << 20, memory_budget: 8 << 20, ..tiny() }
}
