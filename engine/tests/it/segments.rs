//! Payload segments, seen from outside: one payload for all recipients, on the disk too.

use super::world::{World, tiny, tiny_read};
use std::sync::Arc;
use tidelog_engine::inspect::{Inspector, SpaceKind};
use tidelog_engine::testing::{CrashPolicy, Random, SimDisk};
use tidelog_engine::{
    Direction, Durability, Engine, Entry, ErrorKind, Options, ReadMode, Stats, TableId,
    TableOptions, WriteBatch,
};

/// Conversations, and the inboxes that their messages go to.
#[derive(Clone, Copy)]
struct Tables {
    talk: TableId,
    inbox: TableId,
}

fn create(engine: &Engine) -> Tables {
    let talk = engine.create_table("talk", TableOptions::timeline()).unwrap();
    let inbox = engine.create_table("inbox", TableOptions::timeline()).unwrap();
    Tables { talk, inbox }
}

fn inbox_key(inbox: u64) -> Vec<u8> {
    format!("user-{inbox:05}").into_bytes()
}

fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    Random::new(number).fill(&mut payload);
    payload
}

/// One message of the conversation `room`, to these inboxes.
fn send(engine: &Engine, tables: Tables, inboxes: &[u64], payload: &[u8]) {
    let keys: Vec<Vec<u8>> = inboxes.iter().map(|inbox| inbox_key(*inbox)).collect();
    let targets = std::iter::once((tables.talk, &b"room"[..]))
        .chain(keys.iter().map(|key| (tables.inbox, &key[..])));
    let mut batch = WriteBatch::new();
    batch.fan_out(targets, payload, Some(-7), None, true).unwrap();
    engine.commit(batch, Durability::Buffered).unwrap();
}

fn scan(engine: &Engine, table: TableId, key: &[u8], direction: Direction) -> Vec<Entry> {
    let scan = engine.snapshot().scan(table, key, 0, u64::MAX, direction).unwrap();
    let mut entries: Vec<Entry> = scan.map(|entry| entry.unwrap()).collect();
    if direction == Direction::Backward {
        entries.reverse();
    }
    entries
}

/// Every entry, both ways: message `n` of the conversation went to inboxes `n % 5` and 5.
fn check(engine: &Engine, tables: Tables, messages: u64) {
    for direction in [Direction::Forward, Direction::Backward] {
        let talk = scan(engine, tables.talk, b"room", direction);
        assert_eq!(talk.len() as u64, messages);
        for (number, entry) in (0u64..).zip(&talk) {
            assert_eq!((entry.seq, entry.event_ms), (number + 1, Some(-7)));
            assert_eq!(*entry.payload, payload(number, 400)[..]);
            assert_eq!(entry.origin, None, "it is the origin of the others");
        }
        for inbox in 0..=5 {
            let entries = scan(engine, tables.inbox, &inbox_key(inbox), direction);
            let sent = (0..messages).filter(|number| inbox == 5 || number % 5 == inbox);
            assert_eq!(entries.len(), sent.clone().count());
            for (number, entry) in sent.zip(&entries) {
                let origin = entry.origin.as_ref().unwrap();
                assert_eq!((origin.table, &*origin.key), (tables.talk, &b"room"[..]));
                assert_eq!(origin.seq, number + 1);
                assert_eq!(entry.event_ms, Some(-7));
                assert_eq!(*entry.payload, payload(number, 400)[..]);
            }
        }
    }
}

fn inspect(disk: &SimDisk) -> Inspector {
    Inspector::over(Arc::new(disk.reopen()))
}

#[test]
fn shared_payloads_come_back_after_flush_compaction_and_reopening() {
    for options in [tiny(), tiny_read()] {
        let world = World::new(31);
        let process = world.open(&options).unwrap();
        let tables = create(&process.engine);
        for number in 0..200 {
            send(&process.engine, tables, &[number % 5, 5], &payload(number, 400));
            process.scheduler.run_until_idle(2);
        }
        process.engine.flush().unwrap();
        let before = process.engine.stats();
        assert!(before.segments > 1 && before.flushes > 3, "{before:?}");
        check(&process.engine, tables, 200);
        process.engine.compact().unwrap();
        let after = process.engine.stats();
        assert!(after.compactions > 0);
        assert_eq!(after.segment_bytes, before.segment_bytes, "compaction copies references");
        check(&process.engine, tables, 200);
        process.engine.close().unwrap();
        process.kill();
        let report = inspect(&world.disk).verify().unwrap();
        assert_eq!(report.faults, []);
        assert_eq!((report.counts.records, report.counts.segments), (200, after.segments));
        for options in [&options, &Options { read_only: true, ..options.clone() }] {
            let process = world.open(options).unwrap();
            check(&process.engine, tables, 200);
            process.kill();
        }
    }
}

/// P7. One payload of 1 KB to 1,000 of 5,000 inboxes, 200 times: 40 entries an inbox.
#[test]
fn a_fan_out_costs_one_payload() {
    const RECIPIENTS: u64 = 1_000;
    const MESSAGES: u64 = 200;
    const BYTES: usize = 1_000;
    let world = World::new(32);
    let options = Options {
        ring_bytes: 32 << 20,
        memtable_bytes: 4 << 20,
        sstable_bytes: 64 << 20,
        output_rate: 0,
        ..Options::default()
    };
    let process = world.open(&options).unwrap();
    let tables = create(&process.engine);
    let mut random = Random::new(1);
    for number in 0..MESSAGES {
        let first = random.below(5_000);
        let inboxes: Vec<u64> = (0..RECIPIENTS).map(|n| (first + n * 5) % 5_000).collect();
        send(&process.engine, tables, &inboxes, &payload(number, BYTES));
        process.scheduler.run_until_idle(1);
    }
    process.engine.flush().unwrap();
    process.engine.compact().unwrap();
    let Stats { flushed_bytes, compacted_bytes, sstable_bytes, segment_bytes, flushes, .. } =
        process.engine.stats();
    let delivered = MESSAGES * RECIPIENTS * BYTES as u64;
    let (written, kept) = (flushed_bytes + compacted_bytes, sstable_bytes + segment_bytes);
    let shares = format!(
        "{flushes} flushes, {written} bytes written: 1/{}; {kept} on disk: 1/{}",
        delivered / written,
        delivered / kept
    );
    assert!(flushes >= 2 && written <= delivered / 15, "{shares}");
    assert!(kept <= delivered / KEPT_SHARE, "{shares}");
    process.kill();
}

/// What is kept is at most this share (1/n) of what was delivered.
const KEPT_SHARE: u64 = 40;

/// A flipped bit in a record harms the entries that share it, by name and place, and nobody else.
#[test]
fn damage_of_a_shared_payload_is_named_by_those_who_need_it() {
    let world = World::new(33);
    let process = world.open(&tiny()).unwrap();
    let tables = create(&process.engine);
    for number in 0..20 {
        send(&process.engine, tables, &[number % 5, 5], &payload(number, 400));
    }
    process.engine.close().unwrap();
    process.kill();
    let needle = payload(7, 400);
    let bytes = world.disk.bytes();
    // The log in the ring holds the payload too.
    let first = inspect(&world.disk).segments().unwrap().into_iter().map(|s| s.extent.offset).min();
    let start = usize::try_from(first.unwrap()).unwrap();
    let place = start + bytes[start..].windows(400).position(|found| found == needle).unwrap();
    world.disk.flip_bit(place as u64 + 200, 1);
    let report = inspect(&world.disk).verify().unwrap();
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    let damaged = report.faults[0].offset;
    assert!((place as u64 - 100..place as u64).contains(&damaged), "{damaged} of {place}");
    for options in [tiny(), tiny_read()] {
        let process = world.open(&options).unwrap();
        let snapshot = process.engine.snapshot();
        for (table, key, needs) in [
            (tables.talk, b"room".to_vec(), true),
            (tables.inbox, inbox_key(2), true),
            (tables.inbox, inbox_key(5), true),
            (tables.inbox, inbox_key(3), false),
        ] {
            let read: Vec<_> =
                snapshot.scan(table, &key, 0, u64::MAX, Direction::Forward).unwrap().collect();
            let errors: Vec<_> = read.iter().filter_map(|entry| entry.as_ref().err()).collect();
            assert_eq!(!errors.is_empty(), needs, "{key:?}");
            assert!(errors.iter().all(|error| error.kind() == ErrorKind::Corruption));
        }
        // All before it, and all behind it, can be had.
        for seq in (1..=20u64).filter(|seq| *seq != 8) {
            assert!(snapshot.get(tables.talk, b"room", seq).unwrap().is_some());
        }
        process.kill();
    }
}

/// Power is lost at every operation of a flush and a compaction with shared payloads: whatever the
/// root names is whole, and everything else is free.
#[test]
fn a_crash_between_segment_and_root_leaks_nothing() {
    let run = |world: &World| -> tidelog_engine::Result<()> {
        let process = world.open(&tiny())?;
        let outcome = (|| {
            let talk = process.engine.create_table("talk", TableOptions::timeline())?;
            let inbox = process.engine.create_table("inbox", TableOptions::timeline())?;
            for number in 0..12u64 {
                let mut batch = WriteBatch::new();
                let targets = [(talk, &b"room"[..]), (inbox, b"alice"), (inbox, b"bob")];
                batch.fan_out(targets, &payload(number, 400), None, None, true)?;
                process.engine.commit(batch, Durability::Sync)?;
                if number % 4 == 3 {
                    process.engine.flush()?;
                }
            }
            process.engine.compact()
        })();
        process.kill();
        outcome
    };
    let whole = World::new(34);
    run(&whole).unwrap();
    let mut with_segments = 0;
    for at in 0..whole.disk.operation_count() {
        let world = World::new(34);
        world.disk.crash_at(at);
        assert!(run(&world).is_err(), "operation {at}");
        for policy in [CrashPolicy::DropAll, CrashPolicy::Random { seed: at }] {
            let image = world.after(&policy);
            let Ok(process) = image.open(&tiny()) else {
                panic!("crash at {at}, {policy:?}: the store does not open");
            };
            process.engine.close().unwrap();
            let inspector = inspect(&image.disk);
            assert_eq!(inspector.verify().unwrap().faults, [], "crash at {at}, {policy:?}");
            let live = inspector.segments().unwrap().len();
            let runs = inspector.space().unwrap();
            let owned = runs.iter().filter(|run| matches!(run.kind, SpaceKind::Segment(_)));
            assert_eq!(owned.count(), live);
            with_segments += usize::from(live > 0);
            // At most the payloads of twelve messages, whatever was begun and cut off.
            let bytes: u64 = inspector.segments().unwrap().iter().map(|s| s.records).sum();
            assert!(bytes <= 12, "{bytes} records");
        }
    }
    assert!(with_segments > 50, "{with_segments}");
}

/// Short payloads, and those of one timeline, stay in their entries.
#[test]
fn what_is_short_or_goes_to_one_timeline_is_not_shared() {
    let world = World::new(35);
    let process = world.open(&Options { read_mode: ReadMode::Map, ..tiny() }).unwrap();
    let tables = create(&process.engine);
    let mut batch = WriteBatch::new();
    batch.append(tables.inbox, b"alone", &payload(1, 5_000), None).unwrap();
    let targets = [(tables.inbox, &b"alice"[..]), (tables.inbox, b"bob")];
    batch.fan_out(targets, &payload(2, 20), Some(5), None, true).unwrap();
    process.engine.commit(batch, Durability::Sync).unwrap();
    process.engine.flush().unwrap();
    assert_eq!(process.engine.stats().segments, 0);
    let bob = scan(&process.engine, tables.inbox, b"bob", Direction::Forward);
    assert_eq!((bob[0].event_ms, bob[0].payload.len()), (Some(5), 20));
    process.kill();
}
