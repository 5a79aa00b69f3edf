//! Defects of the cold tier, and of disks that cannot be read or are full: found, and mended.

use super::regression::watched;
use super::tiers::{Chat, append, by_tier, problem, settle, text, texts, verify};
use super::world::{Process, World, tiny, tiny_read};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{AfterFailedSync, Fault, FaultEffect, FaultOperation, FaultTimes};
use tidelog_engine::{
    ColdFileProblem, Direction, Durability, Engine, ErrorKind, Options, TableId, TableOptions,
    Tier, WriteBatch,
};

/// The live SSTables of a table: tier, offset and length.
fn sstables_of(world: &World, table: TableId) -> Vec<(Tier, u64, u64)> {
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let live = inspector.sstables().unwrap().into_iter().filter(|s| s.meta.table == table);
    live.map(|s| (s.meta.shard.tier, s.meta.extent.offset, s.meta.extent.length)).collect()
}

fn hot_of(world: &World, table: TableId) -> usize {
    sstables_of(world, table).iter().filter(|(tier, ..)| *tier == Tier::Hot).count()
}

/// Time passes, and the workers work.
fn pass(world: &World, process: &Process, seconds: u64) {
    for _ in 0..seconds * 4 {
        world.clock.advance(Duration::from_millis(250));
        settle(process);
    }
}

fn delete_timeline(engine: &Engine, table: TableId, key: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.delete_timeline(table, key).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
}

/// The cold file is away.
fn away(world: &World) -> (World, Options) {
    let without = Options { without_cold_file: true, ..tiny() };
    (World { cold: None, ..world.clone() }, without)
}

/// A table with old messages in the cold file and the newest in the hot tier, closed.
fn half_cold(seed: u64, options: TableOptions) -> (World, Chat) {
    let world = World::with_cold(seed);
    let process = world.open(&tiny()).unwrap();
    let mut chat = Chat::new(&process.engine, options);
    chat.write(&world, &process, 300);
    process.engine.flush().unwrap();
    world.clock.advance(Duration::from_secs(400));
    process.engine.compact().unwrap();
    assert_eq!(hot_of(&world, chat.table), 0);
    chat.write(&world, &process, 30);
    process.engine.close().unwrap();
    assert!(hot_of(&world, chat.table) > 0);
    (world, chat)
}

/// Of a timeline that was deleted, compaction asked whether anything else knows its next sequence
/// id, and for that opened cold SSTables, which are older anyway. With the cold file away the same
/// job failed again and again: no table was compacted any more, and in the end none written.
#[test]
fn hot_compaction_never_asks_a_cold_file_that_is_away() {
    let (world, chat) =
        half_cold(41, TableOptions::timeline().cold_after(Duration::from_secs(300)));
    let (lonely, without) = away(&world);
    let process = lonely.open(&without).unwrap();
    delete_timeline(&process.engine, chat.table, b"a");
    process.engine.compact().unwrap();
    process.engine.close().unwrap();
    drop(process);
    let process = world.open(&tiny()).unwrap();
    assert!(texts(&process.engine, chat.table, b"a", Direction::Forward).is_empty());
    append(&process.engine, chat.table, b"a", "goes on");
    assert_eq!(process.engine.snapshot().latest_seq(chat.table, b"a").unwrap(), 111);
    assert_eq!(texts(&process.engine, chat.table, b"b", Direction::Forward).len(), 110);
    verify(&world);
}

/// The same question was asked when hot SSTables expire: the whole batch, over all tables, failed
/// again and again.
#[test]
fn hot_data_expire_while_the_cold_file_is_away() {
    let options = TableOptions::timeline().cold_after(Duration::from_secs(300));
    let options = options.ttl(Duration::from_secs(1000));
    let (world, chat) = half_cold(42, options);
    let (lonely, without) = away(&world);
    let process = lonely.open(&without).unwrap();
    pass(&lonely, &process, 1100);
    assert_eq!(hot_of(&lonely, chat.table), 0, "they have expired");
    process.engine.close().unwrap();
    drop(process);
    let process = world.open(&tiny()).unwrap();
    append(&process.engine, chat.table, b"a", "goes on");
    assert_eq!(process.engine.snapshot().latest_seq(chat.table, b"a").unwrap(), 111);
}

/// A round that looks for what is dead ended at the first timeline with data on a cold disk that
/// could not be read: nothing that was trimmed came back, in any table.
#[test]
fn what_was_trimmed_comes_back_beside_a_cold_disk_that_cannot_be_read() {
    let world = World::with_cold(43);
    let process = world.open(&tiny_read()).unwrap();
    let born = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    let hot = process.engine.create_table("hot", TableOptions::timeline()).unwrap();
    for number in 0..60 {
        append(&process.engine, born.table, b"a", &text(1, number));
        append(&process.engine, hot, b"h", &text(1, number));
    }
    process.engine.close().unwrap();
    drop(process);
    world.cold.as_ref().unwrap().make_unreadable(64 * 1024, 1 << 30);
    let process = world.open(&tiny_read()).unwrap();
    assert!(hot_of(&world, hot) > 0);
    let mut batch = WriteBatch::new();
    batch.trim(born.table, b"a", 30).unwrap();
    batch.delete_timeline(hot, b"h").unwrap();
    let committed = process.engine.commit(batch, Durability::Sync);
    committed.unwrap();
    process.engine.flush().unwrap();
    pass(&world, &process, 10);
    assert_eq!(hot_of(&world, hot), 0, "all of it is dead");
}

/// Flushes to a cold shard that cannot be compacted, since its oldest SSTable cannot be read.
fn deepen(world: &World, process: &Process, flushes: u64) {
    let chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    for number in 0..flushes {
        append(&process.engine, chat.table, b"a", &text(1, number));
        append(&process.engine, chat.table, b"z", &text(1, number));
        process.engine.flush().unwrap();
        world.cold.as_ref().unwrap().make_unreadable(64 * 1024, 64 * 1024);
        // Longer than a cold tier rests after a failure.
        pass(world, process, 11);
    }
}

/// Level 0 of a cold shard that cannot be compacted grew until writers of all tables waited for it,
/// without end and without an error.
#[test]
fn a_cold_shard_that_cannot_be_compacted_stops_no_writer() {
    watched(|| {
        let world = World::with_cold(44);
        let process = world.open(&tiny_read()).unwrap();
        deepen(&world, &process, 70);
        let (hot, cold) = by_tier(&process.engine);
        assert!(cold >= 48, "it lies deep: {cold} cold and {hot} hot");
    });
}

/// The same with a store that is opened without its cold file: its depth cannot change at all.
#[test]
fn a_deep_cold_file_that_is_away_stops_no_writer() {
    watched(|| {
        let world = World::with_cold(45);
        let process = world.open(&tiny_read()).unwrap();
        deepen(&world, &process, 60);
        process.engine.close().unwrap();
        drop(process);
        let (lonely, without) = away(&world);
        let process = lonely.open(&without).unwrap();
        let hot = process.engine.create_table("hot", TableOptions::timeline()).unwrap();
        append(&process.engine, hot, b"h", "nobody waits");
    });
}

/// A sector that cannot be read made the same compaction fail again and again: no table was
/// compacted any more, and writers of healthy tables were refused.
#[test]
fn a_sector_that_cannot_be_read_stops_one_table_alone() {
    watched(|| {
        let world = World::new(46);
        let process = world.open(&tiny_read()).unwrap();
        let bad = process.engine.create_table("bad", TableOptions::timeline()).unwrap();
        let good = process.engine.create_table("good", TableOptions::timeline()).unwrap();
        let write = |table, number| {
            append(&process.engine, table, b"a", &text(1, number));
            append(&process.engine, table, b"z", &text(1, number));
            process.engine.flush().unwrap();
        };
        write(bad, 0);
        let (_, offset, _) = sstables_of(&world, bad)[0];
        world.disk.make_unreadable(offset, 4096);
        for number in 1..=60 {
            write(bad, number);
            write(good, number);
            pass(&world, &process, 1);
        }
        let deep = sstables_of(&world, good).len();
        assert!(deep < 20, "the other table is compacted: {deep} SSTables");
        assert_eq!(process.engine.compact().unwrap_err().kind(), ErrorKind::Io);
        // The disk comes to its senses, and nobody has to open the store again.
        world.disk.clear_faults();
        pass(&world, &process, 120);
        assert!(sstables_of(&world, bad).len() < 20, "it was tried again");
        assert_eq!(texts(&process.engine, bad, b"a", Direction::Forward).len(), 61);
        process.engine.compact().unwrap();
        verify(&world);
    });
}

/// An expired SSTable whose directory could not be read kept all others from being dropped.
#[test]
fn expired_sstables_go_beside_one_that_cannot_be_read() {
    let world = World::new(47);
    let process = world.open(&tiny_read()).unwrap();
    let options = TableOptions::timeline().ttl(Duration::from_secs(400));
    let mut chat = Chat::new(&process.engine, options);
    chat.write(&world, &process, 200);
    process.engine.close().unwrap();
    drop(process);
    let sstables = sstables_of(&world, chat.table);
    assert!(sstables.len() > 3);
    world.disk.make_unreadable(sstables[1].1, sstables[1].2);
    let process = world.open(&tiny_read()).unwrap();
    pass(&world, &process, 500);
    assert_eq!(sstables_of(&world, chat.table).len(), 1, "all but that one are gone");
    world.disk.clear_faults();
    pass(&world, &process, 120);
    assert_eq!(sstables_of(&world, chat.table).len(), 0, "it was tried again");
}

/// The first failure of a cold flush was shown to whoever waited, although the next try, in the hot
/// tier, succeeds: `close` failed, and left the store as after a crash.
#[test]
fn a_store_closes_in_order_beside_a_full_cold_disk() {
    let world = World::with_cold(48);
    let process = world.open(&tiny()).unwrap();
    let chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    world.cold.as_ref().unwrap().set_capacity(Some(64 * 1024));
    append(&process.engine, chat.table, b"a", "hot for now");
    process.engine.close().unwrap();
    drop(process);
    let process = world.open(&tiny()).unwrap();
    assert_eq!(texts(&process.engine, chat.table, b"a", Direction::Forward), ["hot for now"]);
    assert_eq!(hot_of(&world, chat.table), 1);
}

/// The same when the store is opened after a kill: what has no room in the ring a second time is
/// flushed, to the cold tier first, and an opening that cannot flush fails.
#[test]
fn a_store_opens_beside_a_full_cold_disk() {
    let world = World::with_cold(49);
    // Two full memtables take more than half of the ring.
    let options = Options { memtable_bytes: 256 * 1024, ..tiny() };
    let process = world.open(&options).unwrap();
    let chat = Chat::new(&process.engine, TableOptions::timeline().born_cold());
    process.engine.flush().unwrap();
    world.cold.as_ref().unwrap().set_capacity(Some(64 * 1024));
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    // No more room for a flush: the log fills up.
    let refused = (0..10_000).find(|number| {
        let mut batch = WriteBatch::new();
        batch.append(chat.table, b"a", text(1, *number).as_bytes(), None).unwrap();
        process.engine.commit(batch, Durability::Sync).is_err()
    });
    let written = usize::try_from(refused.unwrap()).unwrap();
    process.kill();
    world.disk.set_capacity(None);
    let process = world.open(&options).unwrap();
    let found = texts(&process.engine, chat.table, b"a", Direction::Forward);
    assert!(found.len() >= written && found.len() <= written + 1, "{} of {written}", found.len());
    assert_eq!(by_tier(&process.engine).1, 0);
    process.engine.close().unwrap();
}

/// What the next sequence id of a timeline is was known by its newest SSTable alone. With the cold
/// file away nobody could append to a timeline of which all was cold, nor to one that was new, if
/// its id lay between those of cold ones; and lists of timelines ended.
#[test]
fn appends_go_on_without_the_cold_file_whatever_is_cold() {
    for born in [false, true] {
        let world = World::with_cold(50);
        let process = world.open(&tiny()).unwrap();
        let timeline = TableOptions::timeline();
        let timeline = match born {
            true => timeline.born_cold(),
            false => timeline.cold_after(Duration::from_secs(20)),
        };
        let mut chat = Chat::new(&process.engine, timeline);
        // Moved twice, so that records that are there already are older.
        for _ in 0..2 {
            chat.write(&world, &process, 300);
            process.engine.flush().unwrap();
            world.clock.advance(Duration::from_secs(60));
            process.engine.compact().unwrap();
            settle(&process);
        }
        assert_eq!(hot_of(&world, chat.table), 0);
        process.engine.close().unwrap();
        drop(process);
        let (lonely, without) = away(&world);
        let process = lonely.open(&without).unwrap();
        let timelines = process.engine.snapshot().timelines(chat.table, b"", None).unwrap();
        let next: Vec<u64> = timelines.map(|timeline| timeline.unwrap().next_seq).collect();
        assert_eq!(next, [201, 201, 201]);
        for (key, seq) in [(b"a", 201), (b"b", 201)] {
            let mut batch = WriteBatch::new();
            batch.append(chat.table, key, b"goes on", None).unwrap();
            batch.append(chat.table, &[key[0], 1], b"new", None).unwrap();
            let committed = process.engine.commit(batch, Durability::Sync).unwrap();
            assert_eq!(committed.seqs[..], [seq, 1]);
        }
        let read = process.engine.snapshot().get(chat.table, b"a", 1);
        assert_eq!(problem(read), ColdFileProblem::NotGiven);
        process.engine.close().unwrap();
        drop(process);
        let process = world.open(&tiny()).unwrap();
        let found = texts(&process.engine, chat.table, b"a", Direction::Forward);
        assert_eq!((found.len(), &*found[200]), (201, "goes on"));
        verify(&world);
    }
}

/// After a failed sync the cold file is in doubt until it is opened again. Moves were tried every
/// ten seconds all the same: each read, compressed and wrote a window, and failed at the gate.
#[test]
fn after_a_failed_sync_the_cold_file_is_not_written() {
    for effect in [FaultEffect::Error, FaultEffect::FullSync(AfterFailedSync::LostOnlyAfterCrash)] {
        let world = World::with_cold(51);
        let process = world.open(&tiny()).unwrap();
        let options = TableOptions::timeline().cold_after(Duration::from_secs(20));
        let mut chat = Chat::new(&process.engine, options);
        let cold = world.cold.as_ref().unwrap();
        let (operation, times) = (FaultOperation::Sync, FaultTimes::Once);
        cold.fail(Fault { operation, at: 0, times, effect });
        chat.write(&world, &process, 300);
        process.engine.flush().unwrap();
        pass(&world, &process, 30);
        let before = cold.operation_count();
        pass(&world, &process, 60);
        assert_eq!(cold.operation_count(), before, "{effect:?}");
        assert_eq!(problem(process.engine.compact()), ColdFileProblem::Failing);
        assert_eq!(cold.operation_count(), before, "{effect:?}");
        chat.check(&process.engine);
        process.engine.close().unwrap();
        drop(process);
        let process = world.open(&tiny()).unwrap();
        process.engine.compact().unwrap();
        assert_eq!(hot_of(&world, chat.table), 0, "it is tried again");
        chat.check(&process.engine);
        verify(&world);
    }
}
