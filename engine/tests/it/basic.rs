//! What each call promises, on the simulated disk.

use super::world::{World, tiny, tiny_read};
use std::ops::Bound;
use std::time::Duration;
use tidelog_engine::{
    Compression, Direction, Durability, Engine, ErrorKind, Options, Origin, Precondition, Sequence,
    TableId, TableOptions, WriteBatch,
};

fn append(engine: &Engine, table: TableId, key: &[u8], payload: &[u8]) -> u64 {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    engine.commit(batch, Durability::Sync).unwrap().seqs[0]
}

fn seqs(engine: &Engine, table: TableId, key: &[u8], from: u64, to: u64, back: bool) -> Vec<u64> {
    let direction = if back { Direction::Backward } else { Direction::Forward };
    let scan = engine.snapshot().scan(table, key, from, to, direction).unwrap();
    scan.map(|entry| entry.unwrap().seq).collect()
}

#[test]
fn entries_are_dense_and_come_back_in_order_both_ways() {
    for options in [tiny(), tiny_read()] {
        let world = World::new(1);
        let process = world.open(&options).unwrap();
        let engine = &process.engine;
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        for number in 1..=300u64 {
            assert_eq!(append(engine, table, b"a", &number.to_le_bytes()), number);
            if number % 3 == 0 {
                assert_eq!(append(engine, table, b"b", &[9; 700]), number / 3);
            }
            process.scheduler.run_until_idle(3);
        }
        let check = |engine: &Engine| {
            assert_eq!(
                seqs(engine, table, b"a", 0, u64::MAX, false),
                (1..=300).collect::<Vec<_>>()
            );
            assert_eq!(seqs(engine, table, b"a", 290, 295, true), [295, 294, 293, 292, 291, 290]);
            assert_eq!(seqs(engine, table, b"a", 295, 290, false), []);
            assert_eq!(seqs(engine, table, b"b", 100, 100, false), [100]);
            assert_eq!(seqs(engine, table, b"nobody", 0, u64::MAX, true), []);
            let entry = engine.snapshot().get(table, b"a", 17).unwrap().unwrap();
            assert_eq!(&*entry.payload, &17u64.to_le_bytes());
            assert_eq!(engine.snapshot().get(table, b"a", 301).unwrap(), None);
            assert_eq!(engine.snapshot().latest_seq(table, b"b").unwrap(), 100);
        };
        check(engine);
        engine.flush().unwrap();
        check(engine);
        engine.compact().unwrap();
        check(engine);
        engine.close().unwrap();
        drop(process);
        let again = world.open(&options).unwrap();
        check(&again.engine);
        assert_eq!(append(&again.engine, table, b"a", b"next"), 301);
    }
}

#[test]
fn a_fan_out_is_one_commit_and_names_its_origin() {
    let world = World::new(2);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let history = engine.create_table("message", TableOptions::timeline()).unwrap();
    let inbox = engine.create_table("sync", TableOptions::timeline()).unwrap();
    append(engine, history, b"room", b"before");
    let mut batch = WriteBatch::new();
    let targets = [(history, &b"room"[..]), (inbox, b"ann"), (inbox, b"bob")];
    batch.fan_out(targets, b"hello", Some(-5), None, true).unwrap();
    let committed = engine.commit(batch, Durability::Sync).unwrap();
    assert_eq!(committed.seqs, [2, 1, 1]);
    for _ in 0..2 {
        let snapshot = engine.snapshot();
        let entry = snapshot.latest(inbox, b"bob").unwrap().unwrap();
        let origin = Origin { table: history, key: b"room"[..].into(), seq: 2 };
        assert_eq!((entry.origin, entry.event_ms), (Some(origin), Some(-5)));
        assert_eq!((entry.commit, entry.time_ms), (committed.commit, committed.time_ms));
        assert_eq!(snapshot.latest(history, b"room").unwrap().unwrap().origin, None);
        engine.flush().unwrap();
    }
}

#[test]
fn a_snapshot_shows_one_moment_for_ever() {
    let world = World::new(3);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = engine.create_table("value", TableOptions::keyed()).unwrap();
    let write = |number: u64| {
        let mut batch = WriteBatch::new();
        batch.append(messages, b"t", &[1; 500], None).unwrap();
        batch.put(values, b"k", &number.to_le_bytes()).unwrap();
        batch.add(values, b"sum", 1).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    };
    (1..=10).for_each(write);
    let old = engine.snapshot();
    (11..=200).for_each(write);
    engine.compact().unwrap();
    assert_eq!(old.len(messages, b"t").unwrap(), 10);
    assert_eq!(old.latest(messages, b"t").unwrap().unwrap().seq, 10);
    assert_eq!(old.latest_seq(messages, b"t").unwrap(), 10);
    assert_eq!(old.scan(messages, b"t", 0, 99, Direction::Forward).unwrap().count(), 10);
    assert_eq!(&*old.value(values, b"k").unwrap().unwrap(), &10u64.to_le_bytes());
    assert_eq!(&*old.value(values, b"sum").unwrap().unwrap(), &10i64.to_le_bytes());
    let listed = old.values(values, Bound::Unbounded, Bound::Unbounded).unwrap();
    let listed: Vec<_> = listed.map(|pair| pair.unwrap().1.to_vec()).collect();
    assert_eq!(listed, [10u64.to_le_bytes().to_vec(), 10i64.to_le_bytes().to_vec()]);
    let new = engine.snapshot();
    assert_eq!(&*new.value(values, b"sum").unwrap().unwrap(), &200i64.to_le_bytes());
    assert_eq!(new.len(messages, b"t").unwrap(), 200);
}

#[test]
fn what_has_expired_is_never_returned() {
    let world = World::new(4);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let options = TableOptions::timeline().ttl(Duration::from_secs(10));
    let table = engine.create_table("sync", options).unwrap();
    let keyed = TableOptions::keyed().ttl(Duration::from_secs(10));
    let values = engine.create_table("value", keyed).unwrap();
    for _ in 0..20 {
        append(engine, table, b"t", &[7; 300]);
        let mut batch = WriteBatch::new();
        batch.put(values, b"k", b"v").unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
        world.clock.advance(Duration::from_secs(1));
    }
    for _ in 0..2 {
        let snapshot = engine.snapshot();
        // Entry n was written at second n - 1; now is second 20; alive while now < time + 10.
        assert_eq!(seqs(engine, table, b"t", 0, u64::MAX, false), (12..=20).collect::<Vec<_>>());
        assert_eq!(seqs(engine, table, b"t", 0, u64::MAX, true).len(), 9);
        assert_eq!(snapshot.len(table, b"t").unwrap(), 9);
        assert_eq!(snapshot.get(table, b"t", 11).unwrap(), None);
        assert!(snapshot.get(table, b"t", 12).unwrap().is_some());
        assert!(snapshot.value(values, b"k").unwrap().is_some());
        engine.compact().unwrap();
    }
    world.clock.advance(Duration::from_secs(60));
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.latest(table, b"t").unwrap(), None);
    assert_eq!(snapshot.value(values, b"k").unwrap(), None);
    assert_eq!(snapshot.latest_seq(table, b"t").unwrap(), 20, "it never goes back");
    assert_eq!(append(engine, table, b"t", b"new"), 21);
}

#[test]
fn preconditions_hold_or_nothing_is_written() {
    let world = World::new(5);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = engine.create_table("value", TableOptions::keyed()).unwrap();
    let compare_and_set = |expected: Option<&[u8]>, new: &[u8]| {
        let mut batch = WriteBatch::new();
        batch.put(values, b"k", new).unwrap();
        batch.append(messages, b"log", new, None).unwrap();
        batch.require(Precondition::Value {
            table: values,
            key: b"k"[..].into(),
            value: expected.map(<[u8]>::to_vec),
        });
        engine.commit(batch, Durability::Sync)
    };
    compare_and_set(None, b"1").unwrap();
    assert_eq!(compare_and_set(None, b"2").unwrap_err().kind(), ErrorKind::Conflict);
    engine.flush().unwrap();
    assert_eq!(compare_and_set(Some(b"0"), b"2").unwrap_err().kind(), ErrorKind::Conflict);
    compare_and_set(Some(b"1"), b"2").unwrap();
    let next_seq = |seq| {
        let mut batch = WriteBatch::new();
        batch.append(messages, b"log", b"x", None).unwrap();
        batch.require(Precondition::NextSeq { table: messages, key: b"log"[..].into(), seq });
        engine.commit(batch, Durability::Sync)
    };
    assert_eq!(next_seq(2).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(next_seq(3).unwrap().seqs, [3]);
    assert_eq!(seqs(engine, messages, b"log", 0, 99, false), [1, 2, 3]);
}

#[test]
fn given_ids_rise_or_are_refused_as_a_whole() {
    let world = World::new(6);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let table = engine.create_table("given", given).unwrap();
    let dense = engine.create_table("dense", TableOptions::timeline()).unwrap();
    let write = |seqs: &[u64]| {
        let mut batch = WriteBatch::new();
        batch.append(dense, b"d", b"", None).unwrap();
        for seq in seqs {
            batch.append_at(table, b"g", *seq, b"p", None).unwrap();
        }
        engine.commit(batch, Durability::Sync)
    };
    assert_eq!(write(&[10, 20]).unwrap().seqs, [1, 10, 20]);
    assert_eq!(write(&[30, 30]).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(write(&[20]).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(write(&[21, 1 << 50]).unwrap().seqs, [2, 21, 1 << 50]);
    engine.flush().unwrap();
    assert_eq!(seqs(engine, table, b"g", 0, u64::MAX, false), [10, 20, 21, 1 << 50]);
    assert_eq!(seqs(engine, table, b"g", 11, 21, true), [21, 20]);
    let mut batch = WriteBatch::new();
    batch.append_at(dense, b"d", 7, b"", None).unwrap();
    let error = engine.commit(batch, Durability::Sync).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUse);
}

#[test]
fn ids_beyond_32_bits_come_back_from_the_log() {
    // Story: the log writes ids in 4 bytes, and in 8 from the batch on that may need them.
    let world = World::new(61);
    let process = world.open(&tiny()).unwrap();
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let table = process.engine.create_table("given", given).unwrap();
    let dense = process.engine.create_table("dense", TableOptions::timeline()).unwrap();
    let far = [(1 << 31) - 1, 1 << 31, (1 << 31) + 1, u64::from(u32::MAX), 1 << 32, 1 << 40];
    let mut bytes = Vec::new();
    for seq in far {
        let before = process.engine.stats().input_bytes;
        let mut batch = WriteBatch::new();
        batch.append_at(table, b"g", seq, b"p", None).unwrap();
        batch.append(dense, b"d", b"", None).unwrap();
        process.engine.commit(batch, Durability::Sync).unwrap();
        bytes.push(process.engine.stats().input_bytes - before);
    }
    assert!(bytes.iter().all(|more| *more == bytes[0]), "what was given is counted: {bytes:?}");
    process.kill();
    let killed = world.after(&tidelog_engine::testing::CrashPolicy::DropAll);
    let process = killed.open(&tiny()).unwrap();
    let engine = &process.engine;
    assert_eq!(seqs(engine, table, b"g", 0, u64::MAX, false), far);
    assert_eq!(seqs(engine, dense, b"d", 0, u64::MAX, false), [1, 2, 3, 4, 5, 6]);
    engine.flush().unwrap();
    assert_eq!(seqs(engine, table, b"g", 0, u64::MAX, false), far);
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let world = World::new(7);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = engine.create_table("value", TableOptions::keyed()).unwrap();
    let commit = |batch| engine.commit(batch, Durability::Sync).unwrap_err();
    let error = engine.create_table("message", TableOptions::keyed()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        engine.create_table("", TableOptions::keyed()).unwrap_err().kind(),
        ErrorKind::InvalidUse
    );
    let long = "n".repeat(129);
    assert_eq!(
        engine.create_table(&long, TableOptions::keyed()).unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(commit(WriteBatch::new()).kind(), ErrorKind::InvalidUse);
    let mut batch = WriteBatch::new();
    batch.append(TableId(99), b"t", b"", None).unwrap();
    assert_eq!(commit(batch).kind(), ErrorKind::NotFound);
    let mut batch = WriteBatch::new();
    batch.append(TableId(1), b"t", b"", None).unwrap();
    assert_eq!(commit(batch).kind(), ErrorKind::NotFound, "the engine's own table");
    let mut batch = WriteBatch::new();
    batch.append(values, b"t", b"", None).unwrap();
    assert_eq!(commit(batch).kind(), ErrorKind::InvalidUse);
    let mut batch = WriteBatch::new();
    batch.put(messages, b"t", b"").unwrap();
    assert_eq!(commit(batch).kind(), ErrorKind::InvalidUse);
    let mut batch = WriteBatch::new();
    batch.append(messages, b"t", &vec![0; 70_000], None).unwrap();
    let error = commit(batch);
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("65536"), "{error}");
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.get(values, b"t", 1).unwrap_err().kind(), ErrorKind::InvalidUse);
    assert_eq!(snapshot.value(messages, b"t").unwrap_err().kind(), ErrorKind::InvalidUse);
    assert_eq!(snapshot.len(TableId(99), b"t").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(append(engine, messages, b"t", b"first"), 1);
    let bad = Options { ring_bytes: 1000, ..tiny() };
    assert_eq!(World::new(8).open(&bad).err().unwrap().kind(), ErrorKind::InvalidUse);
}

#[test]
fn the_largest_batch_fits_and_one_byte_more_does_not() {
    let world = World::new(9);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let limit = tiny().batch_bytes_max();
    let overhead = {
        let mut batch = WriteBatch::new();
        // Its length takes as many bytes as that of the largest.
        batch.append(table, b"t", &vec![0; limit / 2], None).unwrap();
        batch.byte_count() - limit / 2
    };
    for round in 0..20 {
        for (extra, fits) in [(0, true), (1, false)] {
            let mut batch = WriteBatch::new();
            batch.append(table, b"t", &vec![round; limit - overhead + extra], None).unwrap();
            let outcome = process.engine.commit(batch, Durability::Buffered);
            assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
        }
    }
    assert_eq!(process.engine.snapshot().len(table, b"t").unwrap(), 20);
}

#[test]
fn closing_refuses_later_calls_and_a_second_writer_is_locked_out() {
    let world = World::new(10);
    let process = world.open(&tiny()).unwrap();
    assert_eq!(world.open(&tiny()).err().unwrap().kind(), ErrorKind::Locked);
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"t", b"x");
    process.engine.close().unwrap();
    process.engine.close().unwrap();
    let mut batch = WriteBatch::new();
    batch.append(table, b"t", b"", None).unwrap();
    let error = process.engine.commit(batch, Durability::Sync).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    drop(process);
    let again = world.open(&tiny()).unwrap();
    assert_eq!(seqs(&again.engine, table, b"t", 0, 9, false), [1]);
}

#[test]
fn a_read_only_store_replays_the_log_and_writes_nothing() {
    let world = World::new(11);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for number in 0..100u8 {
        append(&process.engine, table, b"t", &[number; 400]);
        process.scheduler.run_until_idle(2);
        let before = world.disk.bytes();
        let options = Options { read_only: true, create: false, ..tiny_read() };
        let reader = world.open(&options).unwrap();
        let count = u64::from(number) + 1;
        assert_eq!(reader.engine.snapshot().len(table, b"t").unwrap(), count);
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", b"", None).unwrap();
        let error = reader.engine.commit(batch, Durability::Sync).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        reader.engine.close().unwrap();
        assert!(before == world.disk.bytes(), "a reader writes nothing");
    }
}

#[test]
fn timelines_are_listed_by_prefix_in_order() {
    let world = World::new(12);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let other = engine.create_table("other", TableOptions::timeline()).unwrap();
    for key in ["b", "a1", "a2", "a", "c", "a10"] {
        append(engine, table, key.as_bytes(), b"x");
        append(engine, other, format!("o{key}").as_bytes(), b"x");
    }
    engine.flush().unwrap();
    append(engine, table, b"a2", b"x");
    append(engine, table, b"a3", b"x");
    let list = |prefix: &[u8], after: Option<&[u8]>| -> Vec<(String, u64)> {
        let list = engine.snapshot().timelines(table, prefix, after).unwrap();
        list.map(|item| item.unwrap())
            .map(|item| (String::from_utf8(item.key.to_vec()).unwrap(), item.next_seq))
            .collect()
    };
    let named = |names: &[(&str, u64)]| -> Vec<(String, u64)> {
        names.iter().map(|(name, seq)| ((*name).to_owned(), *seq)).collect()
    };
    assert_eq!(list(b"a", None), named(&[("a", 2), ("a1", 2), ("a10", 2), ("a2", 3), ("a3", 2)]));
    assert_eq!(list(b"a", Some(b"a10")), named(&[("a2", 3), ("a3", 2)]));
    assert_eq!(list(b"", Some(b"a3")), named(&[("b", 2), ("c", 2)]));
}

#[test]
fn power_loss_of_buffered_commits_never_reissues_a_seq() {
    // Story: a reader saw entry 5 of a timeline under Buffered, the power went, entries 3 to 5 were
    // lost. Were the next entry 3 again, a client with cursor 5 would never see it.
    let world = World::new(13);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"t", b"kept");
    append(&process.engine, table, b"t", b"kept");
    for _ in 3..=5 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", b"lost", None).unwrap();
        process.engine.commit(batch, Durability::Buffered).unwrap();
    }
    let seen = process.engine.snapshot().latest_seq(table, b"t").unwrap();
    assert_eq!(seen, 5);
    process.kill();
    let killed = world.after(&tidelog_engine::testing::CrashPolicy::Kill);
    let process = killed.open(&tiny()).unwrap();
    assert_eq!(append(&process.engine, table, b"t", b"after kill"), 6, "no jump after a mere kill");
    process.kill();
    let lost = world.after(&tidelog_engine::testing::CrashPolicy::DropAll);
    let process = lost.open(&tiny()).unwrap();
    assert_eq!(process.engine.snapshot().latest_seq(table, b"t").unwrap(), 2);
    assert_eq!(append(&process.engine, table, b"t", b"after"), 1_000_003);
    assert_eq!(append(&process.engine, table, b"fresh", b"after"), 1_000_001);
    assert_eq!(append(&process.engine, table, b"t", b"after"), 1_000_004);
    assert_eq!(
        seqs(&process.engine, table, b"t", 0, u64::MAX, false),
        [1, 2, 1_000_003, 1_000_004]
    );
    process.engine.close().unwrap();
    drop(process);
    let process = lost.open(&tiny()).unwrap();
    assert_eq!(append(&process.engine, table, b"t", b"clean"), 1_000_005, "no second jump");
}

#[test]
fn lz4_tables_read_back_the_same() {
    let world = World::new(14);
    let store = Options { memtable_bytes: 1 << 20, sstable_bytes: 1 << 20, ..tiny() };
    let process = world.open(&Options { ring_bytes: 4 << 20, ..store }).unwrap();
    let options = TableOptions { compression: Compression::Lz4, ..TableOptions::timeline() };
    let table = process.engine.create_table("message", options).unwrap();
    for number in 0..2000u64 {
        let text =
            format!("the same words again and again, number {number}, {}", "word ".repeat(60));
        append(&process.engine, table, b"t", text.as_bytes());
    }
    process.engine.compact().unwrap();
    let scan = process.engine.snapshot().scan(table, b"t", 0, 9999, Direction::Forward).unwrap();
    for (number, entry) in scan.enumerate() {
        let text = format!("the same words again and again, number {number}, ");
        assert!(entry.unwrap().payload.starts_with(text.as_bytes()));
    }
    let stats = process.engine.stats();
    assert!(stats.sstable_bytes < 250_000, "{} bytes", stats.sstable_bytes);
}

#[test]
fn an_interval_is_kept_by_the_background_sync() {
    let world = World::new(15);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let mut batch = WriteBatch::new();
    batch.append(table, b"t", b"x", None).unwrap();
    process.engine.commit(batch, Durability::Interval(Duration::from_millis(50))).unwrap();
    process.scheduler.run_until_idle(100);
    world.clock.advance(Duration::from_millis(60));
    process.scheduler.run_until_idle(100);
    let after = world.after(&tidelog_engine::testing::CrashPolicy::DropAll);
    let reopened = after.open(&tiny()).unwrap();
    assert_eq!(reopened.engine.snapshot().latest_seq(table, b"t").unwrap(), 1);
}
