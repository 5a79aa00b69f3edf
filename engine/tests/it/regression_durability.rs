//! Defects by which something acknowledged, seen or hidden did not survive: each with its story.

use super::fuse::{Fuse, FusedDisk};
use super::regression::{append, entries, entry, polled, value};
use super::world::{Process, START_MS, World, tiny};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SeededEntropy,
    SimScheduler,
};
use tidelog_engine::{
    Durability, Engine, ErrorKind, Options, Parts, Sequence, TableOptions, WriteBatch, limits,
};

#[test]
fn a_refused_log_is_refused_again() {
    // Story: recovery flushes what it replays, and each flush writes a superblock. Its synced
    // position was that of the log being begun, lower than what was known. So an opening that met
    // damage behind the first flush refused it, and the next one took the same damage for a torn
    // tail and cut acknowledged entries off. By now recovery reads all of the log, for what it
    // names, before it writes anything: such an opening changes nothing.
    let world = World::new(104);
    let process = world.open(&Options { memtable_bytes: 1 << 20, ..tiny() }).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..55 {
        append(&process.engine, table, b"t", &[9; 900]);
    }
    // Its superblock is the only one that knows the last group to be synced.
    process.engine.create_table("late", TableOptions::timeline()).unwrap();
    assert_eq!(process.engine.stats().flushes, 0, "all of it is in the log");
    process.kill();
    let world = world.after(&CrashPolicy::Kill);
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let synced = inspector.root().unwrap().synced_lsn;
    let last = inspector.log().unwrap().groups.last().unwrap().offset;
    world.disk.flip_bit(last + 100, 3);
    for attempt in 1..=3 {
        let refused = world.open(&tiny()).err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::Corruption), "opening {attempt}");
        let root = inspector.root().unwrap();
        assert!(root.synced_lsn >= synced, "it fell from {synced} to {}", root.synced_lsn);
        assert_eq!(root.commit, 0, "nothing was flushed before all of the log was read");
    }
}

/// What meets the failed sync.
#[derive(Debug, Clone, Copy)]
enum Meets {
    Sync,
    Commit,
    Interval,
    Flush,
    CreateTable,
    Growth,
    Opening,
}

/// A reader has seen entry 5; a sync fails, and the process ends but not the machine.
fn seen_is_not_given_out_again(after: AfterFailedSync, meets: Meets) {
    let name = format!("{after:?}, {meets:?}");
    let world = World::new(106);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    for seq in 1..=5u64 {
        let durability = if seq < 3 { Durability::Sync } else { Durability::Buffered };
        engine.commit(entry(table, b"t", &seq.to_le_bytes()), durability).unwrap();
    }
    let seen = entries(engine, table, b"t");
    assert_eq!(seen.len(), 5);
    let effect = FaultEffect::FailedSync(after);
    let (operation, times) = (FaultOperation::Sync, FaultTimes::Once);
    world.disk.fail(Fault { operation, at: 0, times, effect });
    let durably = Durability::Sync;
    let failed = match meets {
        Meets::Sync => engine.sync().is_err(),
        Meets::Commit => engine.commit(entry(table, b"o", b""), durably).is_err(),
        Meets::Flush => engine.flush().is_err(),
        Meets::CreateTable => engine.create_table("x", TableOptions::keyed()).is_err(),
        Meets::Growth => engine.commit(entry(table, b"o", &vec![1; 1 << 20]), durably).is_err(),
        Meets::Opening => true,
        Meets::Interval => {
            let delay = Duration::from_millis(5);
            engine.commit(entry(table, b"o", b""), Durability::Interval(delay)).unwrap();
            world.clock.advance(delay * 2);
            process.scheduler.run_until_idle(20);
            engine.commit(entry(table, b"o", b""), Durability::Buffered).is_err()
        }
    };
    assert!(failed, "{name}: the failure was not told");
    process.kill();
    if matches!(meets, Meets::Opening) {
        let error = world.open(&tiny()).err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::Io), "{name}");
    }
    for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
        let world = world.after(&policy);
        let process = world.open(&tiny()).unwrap_or_else(|e| panic!("{name}, {policy:?}: {e}"));
        let found = entries(&process.engine, table, b"t");
        assert!(seen.starts_with(&found) && found.len() >= 2, "{name}, {policy:?}: {found:?}");
        let next = append(&process.engine, table, b"t", b"after");
        let lost = found.len() < seen.len();
        assert!(next > 5, "{name}, {policy:?}: {next} had been seen");
        assert!(!lost || next > limits::UNSYNCED_ENTRIES_MAX, "{name}, {policy:?}: no epoch");
        process.kill();
    }
}

#[test]
fn a_failed_sync_of_the_log_never_gives_a_seen_seq_out_again() {
    // Story: after a failed sync the kernel may drop the pages it could not write. The store was
    // poisoned, but reopening it in the same boot believed that a mere kill loses nothing: what
    // readers had seen under Buffered was gone, and its sequence ids were given out again.
    for after in [AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash] {
        for meets in [Meets::Sync, Meets::Commit, Meets::Interval] {
            seen_is_not_given_out_again(after, meets);
        }
    }
}

#[test]
fn a_failed_sync_of_a_root_never_gives_a_seen_seq_out_again() {
    // Story: as above; the sync before a superblock covers the log as well.
    for after in [AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash] {
        for meets in [Meets::Flush, Meets::CreateTable] {
            seen_is_not_given_out_again(after, meets);
        }
    }
}

#[test]
fn a_failed_sync_of_a_growing_file_never_gives_a_seen_seq_out_again() {
    // Story: as above; a large payload made the file grow, whose sync covers the log as well. The
    // store was poisoned, but the superblock forgot the boot when a worker next looked, and the
    // process ended before.
    for after in [AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash] {
        seen_is_not_given_out_again(after, Meets::Growth);
    }
}

#[test]
fn a_failed_sync_of_an_opening_never_gives_a_seen_seq_out_again() {
    // Story: as above; the system wrote the log back by itself and failed, which the first sync of
    // the next opening is told. That opening failed, and the one behind it was told nothing, found
    // the same boot, and took what was gone for an unfinished tail.
    for after in [AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash] {
        seen_is_not_given_out_again(after, Meets::Opening);
    }
}

#[test]
fn what_expired_on_an_idle_day_stays_away() {
    // Story: the clock's mark was written with superblocks alone, and an idle store writes none. A
    // reader saw entries expire; after a kill the clock went on from a mark of the day before, and
    // they were back. With a wall clock that is right it took ten minutes to be believed.
    const HOUR: Duration = Duration::from_secs(3600);
    for wall_is_right in [true, false] {
        let world = World::new(113);
        let process = world.open(&tiny()).unwrap();
        let options = TableOptions::timeline().ttl(HOUR);
        let table = process.engine.create_table("sync", options).unwrap();
        let keyed = TableOptions::keyed().ttl(HOUR);
        let values = process.engine.create_table("value", keyed).unwrap();
        append(&process.engine, table, b"old", b"x");
        let batch = value(values, b"old", b"x");
        process.engine.commit(batch, Durability::Sync).unwrap();
        let idle = |whole: Duration, step: Duration| {
            for _ in 0..whole.as_secs() / step.as_secs() {
                world.clock.advance(step);
                process.scheduler.run_until_idle(50);
            }
        };
        idle(23 * HOUR - Duration::from_secs(20), Duration::from_secs(20));
        append(&process.engine, table, b"late", b"x");
        // The last entry expires 10 seconds before the kill, and less than a lease behind the mark.
        idle(HOUR + Duration::from_secs(10), Duration::from_secs(10));
        append(&process.engine, table, b"fresh", b"x");
        let seen =
            |engine: &Engine, key: &[u8]| engine.snapshot().latest(table, key).unwrap().is_some();
        let engine = &process.engine;
        assert_eq!(
            [&b"old"[..], b"late", b"fresh"].map(|key| seen(engine, key)),
            [false, false, true]
        );
        assert_eq!(engine.snapshot().value(values, b"old").unwrap(), None);
        process.kill();
        for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
            let after = world.after(&policy);
            if !wall_is_right {
                after.clock.set_wall(START_MS);
            }
            let engine = after.open(&tiny()).unwrap().engine;
            assert!(!seen(&engine, b"old"), "{policy:?}, wall right: {wall_is_right}");
            assert_eq!(engine.snapshot().value(values, b"old").unwrap(), None);
            assert!(seen(&engine, b"fresh"), "hidden early");
            // With a wall clock that fell back, the mark alone is left: half a lease old at most.
            assert!(!wall_is_right || !seen(&engine, b"late"), "{policy:?}");
        }
    }
}

#[test]
fn commit_numbers_are_not_given_out_again() {
    // Story: a power loss took commits that readers had seen, and the opening after it jumped over
    // their numbers. It was killed before it committed anything; the next opening saw no power loss
    // and began again with the numbers that had been seen.
    let world = World::new(114);
    let process = world.open(&tiny()).unwrap();
    let values = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let commit = |process: &Process, durability| {
        process.engine.commit(value(values, b"k", b"v"), durability).unwrap().commit
    };
    commit(&process, Durability::Sync);
    let mut seen = (0..5).map(|_| commit(&process, Durability::Buffered)).max().unwrap();
    assert!(process.engine.snapshot().commit() >= seen);
    process.kill();
    let mut world = world.after(&CrashPolicy::DropAll);
    for policy in [CrashPolicy::Kill, CrashPolicy::Kill, CrashPolicy::DropAll, CrashPolicy::Kill] {
        // This process commits nothing.
        world.open(&tiny()).unwrap().kill();
        world = world.after(&policy);
        let process = world.open(&tiny()).unwrap();
        let next = commit(&process, Durability::Buffered);
        assert!(next > seen, "{policy:?}: {next} after {seen} had been seen");
        seen = next;
        process.kill();
        world = world.after(&CrashPolicy::DropAll);
    }
}

#[test]
fn buffered_commits_of_given_ids_are_durable() {
    // Story: the engine cannot jump over ids that it does not give. A reader saw id 20 under
    // Buffered, a power loss took it, and the caller was allowed to write id 15.
    for asynchronous in [false, true] {
        for durability in [Durability::Buffered, Durability::Interval(Duration::from_secs(9))] {
            let world = World::new(115);
            let process = world.open(&tiny()).unwrap();
            let engine = &process.engine;
            let options = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
            let given = engine.create_table("given", options).unwrap();
            let dense = engine.create_table("dense", TableOptions::timeline()).unwrap();
            let mut batch = entry(dense, b"t", b"beside");
            batch.append_at(given, b"t", 20, b"x", None).unwrap();
            if asynchronous {
                let mut future = engine.commit_async(batch, durability);
                process.scheduler.run_until_idle(20);
                polled(&mut future, Waker::noop()).unwrap().unwrap();
            } else {
                engine.commit(batch, durability).unwrap();
            }
            process.kill();
            let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
            assert_eq!(entries(&process.engine, given, b"t"), [(20, b"x".to_vec())]);
            assert_eq!(entries(&process.engine, dense, b"t").len(), 1);
            let mut stale = WriteBatch::new();
            stale.append_at(given, b"t", 15, b"x", None).unwrap();
            let error = process.engine.commit(stale, Durability::Sync).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }
}

#[test]
fn what_a_failed_write_of_the_log_was_to_say_is_seen_by_nobody() {
    // The memtable is filled while the log is written: what is in it before the write has failed
    // must not be read, nor flushed.
    let world = World::new(118);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"t", b"first");
    let fault = Fault {
        operation: FaultOperation::Write,
        effect: FaultEffect::Error,
        at: 0,
        times: FaultTimes::Forever,
    };
    world.disk.fail(fault);
    for (key, durability) in [(b"t", Durability::Buffered), (b"u", Durability::Buffered)] {
        let mut batch = WriteBatch::new();
        batch.append(table, key, b"second", None).unwrap();
        process.engine.commit(batch, durability).unwrap_err();
    }
    world.disk.clear_faults();
    process.scheduler.run_until_idle(100);
    assert_eq!(entries(&process.engine, table, b"t").len(), 1);
    assert_eq!(entries(&process.engine, table, b"u").len(), 0);
    assert_eq!(process.engine.flush().unwrap_err().kind(), ErrorKind::Poisoned);
    process.kill();
    let process = world.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
    assert_eq!(entries(&process.engine, table, b"t").len(), 1);
}

#[test]
fn a_change_of_the_root_that_panics_poisons_the_store() {
    // Story: only failures did. Behind a disk that panicked in the middle of a superblock the next
    // change wrote another root under the same number, over a manifest of which nobody knew how
    // far it was written.
    let mut met = 0;
    for call in 1..12 {
        let world = World::new(call);
        let fuse = Fuse::at(u64::MAX);
        let scheduler = SimScheduler::new(world.seed, world.clock.clone());
        let parts = Parts {
            disk: Arc::new(FusedDisk {
                inner: world.disk.reopen(),
                fuse: Arc::clone(&fuse),
                writes_from: Some(0),
            }),
            cold: None,
            clock: Arc::new(world.clock.clone()),
            scheduler: Arc::new(scheduler.clone()),
            entropy: Arc::new(SeededEntropy::new(world.seed)),
            name: "root.tide".to_owned(),
        };
        let engine = Engine::open_with(parts, tiny()).unwrap();
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        append(&engine, table, b"t", b"kept");
        fuse.light_at(call);
        let create = |name| engine.create_table(name, TableOptions::timeline());
        match catch_unwind(AssertUnwindSafe(|| create("first"))) {
            // It has fewer writes than that.
            Ok(created) => drop(created.unwrap()),
            Err(_) => {
                met += 1;
                assert_eq!(create("second").unwrap_err().kind(), ErrorKind::Poisoned);
                let late = engine.commit(entry(table, b"t", b"late"), Durability::Sync);
                assert_eq!(late.unwrap_err().kind(), ErrorKind::Poisoned);
                assert_eq!(entries(&engine, table, b"t").len(), 1);
            }
        }
        scheduler.kill();
        engine.abandon();
        let process = world.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
        assert_eq!(entries(&process.engine, table, b"t"), [(1, b"kept".to_vec())]);
        assert!(process.engine.table("second").is_none(), "call {call}");
        process.kill();
    }
    assert!(met >= 5, "a record and four copies are written: {met}");
}

#[test]
fn an_interval_is_kept_where_a_close_fails() {
    // Story: from the beginning of a close on the worker that syncs in time was refused. Where the
    // close then failed, on a full disk, nobody synced what was acknowledged, ever.
    let world = World::new(127);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let seconds = Durability::Interval(Duration::from_secs(5));
    process.engine.commit(entry(table, b"t", &[7; 9_000]), seconds).unwrap();
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    let error = process.engine.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    process.kill();
    world.disk.set_capacity(None);
    let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
    assert_eq!(entries(&process.engine, table, b"t").len(), 1, "five seconds may have passed");
}
