//! Defects behind a loss of what readers had seen, where sequence ids and commit numbers jump: each
//! with its story.

use super::regression::{append, entries, entry, polled, value};
use super::world::{World, tiny};
use std::sync::Arc;
use std::task::Waker;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes};
use tidelog_engine::{Durability, ErrorKind, Precondition, TableId, TableOptions, limits};

/// A machine whose process was killed: entries 1 and 2 of a timeline were synced, 3 to 5 were not.
/// In the keyed table is one value.
fn killed(seed: u64) -> (World, [TableId; 2]) {
    let world = World::new(seed);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    process.engine.commit(value(values, b"k", b"v"), Durability::Sync).unwrap();
    for seq in 1..=5u64 {
        let durability = if seq < 3 { Durability::Sync } else { Durability::Buffered };
        process.engine.commit(entry(table, b"t", &seq.to_le_bytes()), durability).unwrap();
    }
    process.kill();
    (world, [table, values])
}

/// The machine without the group that has so many behind it.
fn without_group(world: &World, behind: usize) -> World {
    let world = world.after(&CrashPolicy::Kill);
    let groups = Inspector::over(Arc::new(world.disk.reopen())).log().unwrap().groups;
    world.disk.zero(groups[groups.len() - 1 - behind].offset, 512);
    world
}

#[test]
fn a_group_that_is_lost_before_others_begins_an_epoch() {
    // Story: the system wrote the log back by itself, failed, and told somebody else who synced the
    // file. The next opening was told nothing, found the same boot, and took what was gone for an
    // unfinished tail. But a process that is killed leaves no whole group behind one that is not
    // there.
    let (world, [table, _]) = killed(128);
    let after = |behind: usize| {
        let process = without_group(&world, behind).open(&tiny()).unwrap();
        assert_eq!(entries(&process.engine, table, b"t").len(), 4 - behind);
        let next = append(&process.engine, table, b"t", b"after");
        process.kill();
        next
    };
    assert_eq!(after(0), 5, "it looks like a kill in the middle of the last group");
    assert!(after(1) > limits::UNSYNCED_ENTRIES_MAX, "no epoch");
}

#[test]
fn what_tells_of_a_lost_group_is_not_written_over_before_it_is_noted() {
    // Story: such an opening wrote the new log over the groups that told of the loss, and the epoch
    // was durable with the root behind that. Cut off in between, the next opening saw no loss.
    let (world, [table, _]) = killed(129);
    let (operation, times) = (FaultOperation::Sync, FaultTimes::Once);
    for number in 0..200 {
        let killed = without_group(&world, 1);
        let fails = number % 2 == 0;
        match fails {
            true => {
                let effect = FaultEffect::Error;
                killed.disk.fail(Fault { operation, at: number / 2, times, effect });
            }
            false => killed.disk.crash_at(killed.disk.operation_count() + number / 2),
        }
        let cut_off = match killed.open(&tiny()) {
            Ok(process) => {
                process.kill();
                false
            }
            Err(error) => {
                let kinds = [ErrorKind::Io, ErrorKind::Poisoned];
                assert!(kinds.contains(&error.kind()), "{number}: {error}");
                true
            }
        };
        killed.disk.clear_faults();
        let process = killed.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
        let next = append(&process.engine, table, b"t", b"after");
        assert!(next > limits::UNSYNCED_ENTRIES_MAX, "{number}, {cut_off}: {next} had been seen");
        process.kill();
    }
}

#[test]
fn what_readers_know_is_expected_behind_an_epoch() {
    // Story: who asked for the newest sequence id and then committed on condition that there was
    // none behind it was refused for ever: the next one is a million higher, which no reader is
    // told. And ids that no entry has could be amended.
    let (world, [table, _]) = killed(130);
    let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
    let engine = &process.engine;
    let expecting = |key: &[u8], seq: u64| {
        let mut batch = entry(table, key, b"after");
        batch.require(Precondition::NextSeq { table, key: Box::from(key), seq });
        engine.commit(batch, Durability::Sync).map(|committed| committed.seqs[0])
    };
    assert_eq!(engine.snapshot().latest_seq(table, b"t").unwrap(), 2);
    let listed = || {
        let list = engine.snapshot().timelines(table, b"", None).unwrap();
        list.map(Result::unwrap).map(|it| (it.latest_seq, it.next_seq)).collect::<Vec<_>>()
    };
    assert_eq!(listed(), [(2, 1_000_003)]);
    let conflict = |outcome: tidelog_engine::Result<u64>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
    };
    conflict(expecting(b"t", 6));
    let mut amendment = tidelog_engine::WriteBatch::new();
    amendment.amend(table, b"t", 7, b"other").unwrap();
    let refused = engine.commit(amendment, Durability::Sync).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    assert_eq!(expecting(b"t", 3).unwrap(), 1_000_003);
    conflict(expecting(b"t", 3));
    assert_eq!(expecting(b"t", 1_000_004).unwrap(), 1_000_004);
    assert_eq!(expecting(b"fresh", 1).unwrap(), 1_000_001);
    conflict(expecting(b"fresh", 1));
    assert_eq!(listed(), [(1_000_001, 1_000_002), (1_000_004, 1_000_005)]);
}

#[test]
fn a_value_is_compared_behind_an_epoch() {
    // Story: a flush behind an epoch counted all numbers as flushed that the epoch leaves out. A
    // commit on condition of a value then was looked at again, for ever: what it had seen seemed to
    // be older than what was flushed.
    let (world, [table, values]) = killed(131);
    let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
    let engine = &process.engine;
    engine.flush().unwrap();
    for (old, new) in [(b"v", b"w"), (b"w", b"x")] {
        let mut batch = value(values, b"k", new);
        let expected = Some(old.to_vec());
        batch.require(Precondition::Value {
            table: values,
            key: Box::from(&b"k"[..]),
            value: expected,
        });
        let mut future = engine.commit_async(batch, Durability::Sync);
        let mut outcome = None;
        for _ in 0..100 {
            process.scheduler.run_until_idle(10);
            outcome = outcome.or_else(|| polled(&mut future, Waker::noop()));
            if outcome.is_some() {
                break;
            }
        }
        outcome.expect("it is looked at for ever").unwrap();
    }
    assert_eq!(append(engine, table, b"t", b"after"), 1_000_003);
}
