//! Trims, deletions, retention and gaps: what readers see, what snapshots go on seeing, and that
//! space comes back by itself.

use super::world::{Process, World, tiny};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{
    Direction, Durability, Engine, ErrorKind, Gap, GapReason, Item, Options, Sequence, Snapshot,
    TableId, TableOptions, WriteBatch,
};

const KEY: &[u8] = b"room";

fn open() -> (World, Process, TableId) {
    let world = World::new(7);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    (world, process, table)
}

fn append(engine: &Engine, table: TableId, count: u64, durability: Durability) {
    let mut batch = WriteBatch::new();
    for _ in 0..count {
        batch.append(table, KEY, &[b'x'; 100], None).unwrap();
    }
    engine.commit(batch, durability).unwrap();
}

fn mark(engine: &Engine, change: impl FnOnce(&mut WriteBatch) -> tidelog_engine::Result<()>) {
    let mut batch = WriteBatch::new();
    change(&mut batch).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
}

fn seqs(snapshot: &Snapshot, table: TableId) -> Vec<u64> {
    let read = |direction| -> Vec<u64> {
        let scan = snapshot.scan(table, KEY, 0, u64::MAX, direction).unwrap();
        scan.map(|entry| entry.unwrap().seq).collect()
    };
    let forward = read(Direction::Forward);
    let mut backward = read(Direction::Backward);
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(snapshot.len(table, KEY).unwrap(), forward.len() as u64);
    let latest = snapshot.latest(table, KEY).unwrap().map(|entry| entry.seq);
    assert_eq!(latest, forward.last().copied());
    for seq in 1..60 {
        let got = snapshot.get(table, KEY, seq).unwrap().map(|entry| entry.seq);
        assert_eq!(got.is_some(), forward.contains(&seq), "{seq}");
    }
    forward
}

fn gaps(snapshot: &Snapshot, table: TableId, from: u64, to: u64) -> Vec<(u64, u64, GapReason)> {
    let read = |direction| -> Vec<Item> {
        let items = snapshot.scan_items(table, KEY, from, to, direction).unwrap();
        items.map(|item| item.unwrap()).collect()
    };
    let forward = read(Direction::Forward);
    let mut backward = read(Direction::Backward);
    backward.reverse();
    assert_eq!(forward, backward);
    let gap = |item| match item {
        Item::Gap(Gap { from, to, reason }) => Some((from, to, reason)),
        Item::Entry(_) => None,
    };
    forward.into_iter().filter_map(gap).collect()
}

fn settle(process: &Process) {
    process.scheduler.run_until_idle(100_000);
}

#[test]
fn marks_hide_what_is_there_and_nothing_that_comes() {
    let (_world, process, table) = open();
    let engine = &process.engine;
    let mut batch = WriteBatch::new();
    batch.trim(table, KEY, 100).unwrap();
    batch.delete_range(table, KEY, 3..=9).unwrap();
    for number in 0..10u8 {
        batch.append(table, KEY, &[number], None).unwrap();
        if number == 4 {
            batch.delete_entry(table, KEY, 2).unwrap();
            batch.delete_range(table, KEY, 5..=50).unwrap();
        }
    }
    batch.trim(table, KEY, 2).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    let snapshot = engine.snapshot();
    assert_eq!(seqs(&snapshot, table), [3, 4, 6, 7, 8, 9, 10], "each mark at its place");
    use GapReason::{Deleted, Trimmed};
    assert_eq!(gaps(&snapshot, table, 0, 99), [(1, 1, Trimmed), (2, 2, Deleted), (5, 5, Deleted)]);
    assert_eq!(gaps(&snapshot, table, 2, 4), [(2, 2, Deleted)]);
    assert_eq!(gaps(&snapshot, table, 6, 10), [], "nothing is missing");
    // A lower trim changes nothing, one beyond the end trims all there is.
    mark(engine, |batch| batch.trim(table, KEY, 1));
    assert_eq!(seqs(&engine.snapshot(), table).len(), 7);
    mark(engine, |batch| batch.trim(table, KEY, u64::MAX));
    append(engine, table, 1, Durability::Sync);
    assert_eq!(seqs(&engine.snapshot(), table), [11]);
    mark(engine, |batch| batch.delete_timeline(table, KEY));
    assert_eq!(seqs(&engine.snapshot(), table), []);
    assert_eq!(engine.snapshot().latest_seq(table, KEY).unwrap(), 11);
    assert_eq!(gaps(&engine.snapshot(), table, 0, 99), [(1, 11, Deleted)]);
    assert_eq!(seqs(&snapshot, table).len(), 7, "the snapshot shows its moment");
}

#[test]
fn bad_marks_are_named_and_change_nothing() {
    let (_world, process, table) = open();
    let engine = &process.engine;
    let options = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let given = engine.create_table("given", options.clone()).unwrap();
    let keyed = engine.create_table("keyed", TableOptions::keyed()).unwrap();
    let mut batch = WriteBatch::new();
    assert_eq!(batch.delete_range(table, KEY, 0..=3).unwrap_err().kind(), ErrorKind::TooLarge);
    #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
    let empty = batch.delete_range(table, KEY, 4..=3);
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::InvalidUse);
    assert_eq!(batch.set_keep_last(table, KEY, Some(0)).unwrap_err().kind(), ErrorKind::InvalidUse);
    let short = Some(Duration::from_micros(9));
    assert_eq!(
        batch.set_timeline_ttl(table, KEY, short).unwrap_err().kind(),
        ErrorKind::InvalidUse
    );
    assert_eq!(batch.trim(table, b"", 3).unwrap_err().kind(), ErrorKind::InvalidUse);
    assert!(batch.is_empty());
    for (table, kind) in [(keyed, ErrorKind::InvalidUse), (TableId(99), ErrorKind::NotFound)] {
        let mut batch = WriteBatch::new();
        batch.trim(table, KEY, 3).unwrap();
        assert_eq!(engine.commit(batch, Durability::Sync).unwrap_err().kind(), kind);
    }
    let mut batch = WriteBatch::new();
    batch.set_keep_last(given, KEY, Some(3)).unwrap();
    assert_eq!(engine.commit(batch, Durability::Sync).unwrap_err().kind(), ErrorKind::InvalidUse);
    let refused = engine.create_table("kept", options.keep_last(3)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidUse);
    // Tables of given ids are trimmed like others, and have no gaps.
    let mut batch = WriteBatch::new();
    for seq in [10, 20, 30] {
        batch.append_at(given, KEY, seq, b"x", None).unwrap();
    }
    batch.trim(given, KEY, 15).unwrap();
    batch.delete_entry(given, KEY, 30).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    assert_eq!(seqs(&engine.snapshot(), given), [20]);
    assert_eq!(gaps(&engine.snapshot(), given, 0, u64::MAX), []);
}

#[test]
fn a_snapshot_sees_what_a_later_mark_hides_through_flush_and_compaction() {
    let (world, process, table) = open();
    let engine = &process.engine;
    for _ in 0..5 {
        append(engine, table, 10, Durability::Sync);
    }
    let before = engine.snapshot();
    mark(engine, |batch| batch.delete_range(table, KEY, 11..=20));
    let between = engine.snapshot();
    mark(engine, |batch| batch.trim(table, KEY, 31));
    for _ in 0..2 {
        engine.flush().unwrap();
        engine.compact().unwrap();
        settle(&process);
        assert_eq!(seqs(&before, table), (1..=50).collect::<Vec<_>>());
        assert_eq!(seqs(&between, table), (1..=10).chain(21..=50).collect::<Vec<_>>());
        assert_eq!(seqs(&engine.snapshot(), table), (31..=50).collect::<Vec<_>>());
    }
    // Once nobody looks any more, the bytes go; what a snapshot in between sees stays right.
    drop(before);
    engine.compact().unwrap();
    assert_eq!(seqs(&between, table), (1..=10).chain(21..=50).collect::<Vec<_>>());
    drop(between);
    engine.compact().unwrap();
    let snapshot = engine.snapshot();
    assert_eq!(seqs(&snapshot, table), (31..=50).collect::<Vec<_>>());
    assert_eq!(gaps(&snapshot, table, 0, 99), [(1, 30, GapReason::Trimmed)]);
    drop(snapshot);
    engine.close().unwrap();
    drop(process);
    let disk = std::sync::Arc::new(world.disk.reopen());
    assert_eq!(Inspector::over(disk).verify().unwrap().faults, []);
    let again = world.open(&tiny()).unwrap();
    assert_eq!(seqs(&again.engine.snapshot(), table), (31..=50).collect::<Vec<_>>());
    assert_eq!(again.engine.snapshot().latest_seq(table, KEY).unwrap(), 50);
}

#[test]
fn an_older_snapshot_knows_the_latest_seq_of_what_is_gone() {
    let (world, process, table) = open();
    let engine = &process.engine;
    append(engine, table, 50, Durability::Sync);
    mark(engine, |batch| batch.delete_range(table, KEY, 41..=50));
    mark(engine, |batch| batch.trim(table, KEY, 20));
    engine.flush().unwrap();
    let disk = std::sync::Arc::new(world.disk.reopen());
    assert_eq!(Inspector::over(disk).verify().unwrap().faults, []);
    let snapshot = engine.snapshot();
    append(engine, table, 50, Durability::Sync);
    engine.compact().unwrap();
    assert_eq!(snapshot.latest_seq(table, KEY).unwrap(), 50);
    assert_eq!(seqs(&snapshot, table), (20..=40).collect::<Vec<_>>());
    use GapReason::{Deleted, Trimmed};
    assert_eq!(gaps(&snapshot, table, 0, 99), [(1, 19, Trimmed), (41, 50, Deleted)]);
}

#[test]
fn an_older_snapshot_lists_a_timeline_that_is_gone() {
    let (_world, process, table) = open();
    let engine = &process.engine;
    append(engine, table, 50, Durability::Sync);
    mark(engine, |batch| batch.delete_timeline(table, KEY));
    let snapshot = engine.snapshot();
    append(engine, table, 50, Durability::Sync);
    engine.compact().unwrap();
    mark(engine, |batch| batch.delete_timeline(table, KEY));
    engine.compact().unwrap();
    let listed = |snapshot: &Snapshot| -> Vec<u64> {
        let list = snapshot.timelines(table, b"", None).unwrap();
        list.map(|timeline| timeline.unwrap().next_seq).collect()
    };
    assert_eq!(listed(&snapshot), [51]);
    assert_eq!(snapshot.latest_seq(table, KEY).unwrap(), 50);
    assert_eq!(gaps(&snapshot, table, 0, 99), [(1, 50, GapReason::Deleted)]);
    assert_eq!(listed(&engine.snapshot()), [101]);
    assert_eq!(engine.snapshot().latest_seq(table, KEY).unwrap(), 100);
}

fn roomy() -> Options {
    Options {
        ring_bytes: 8 << 20,
        memtable_bytes: 1 << 20,
        sstable_bytes: 1 << 20,
        memory_budget: 16 << 20,
        output_rate: 0,
        ..Options::default()
    }
}

#[test]
fn a_million_entries_are_deleted_by_one_small_commit_and_their_space_comes_back() {
    let world = World::new(8);
    let process = world.open(&roomy()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let engine = &process.engine;
    for _ in 0..100 {
        let mut batch = WriteBatch::new();
        for number in 0..10_000u64 {
            batch.append(table, KEY, &number.to_le_bytes(), None).unwrap();
        }
        batch.append(table, b"other", b"stays", None).unwrap();
        engine.commit(batch, Durability::Buffered).unwrap();
        settle(&process);
    }
    assert_eq!(engine.snapshot().len(table, KEY).unwrap(), 1_000_000);
    engine.flush().unwrap();
    settle(&process);
    let before = engine.stats().sstable_bytes;
    assert!(before > 8_000_000, "{before}");
    let mut batch = WriteBatch::new();
    batch.delete_timeline(table, KEY).unwrap();
    assert!(batch.byte_count() < 100, "{}", batch.byte_count());
    engine.commit(batch, Durability::Sync).unwrap();
    assert_eq!(engine.snapshot().len(table, KEY).unwrap(), 0);
    settle(&process);
    // No compaction was asked for.
    let after = engine.stats().sstable_bytes;
    assert!(after < 300_000, "{after} of {before} bytes are left");
    assert_eq!(engine.snapshot().len(table, b"other").unwrap(), 100);
    engine.sync().unwrap();
    let next = |world: &World, process: Process| {
        process.kill();
        let world = world.after(&CrashPolicy::DropAll);
        let process = world.open(&roomy()).unwrap();
        assert_eq!(process.engine.snapshot().len(table, KEY).unwrap(), 0);
        let mut batch = WriteBatch::new();
        batch.append(table, KEY, b"next", None).unwrap();
        let seq = process.engine.commit(batch, Durability::Sync).unwrap().seqs[0];
        (world, process, seq)
    };
    let (world, process, seq) = next(&world, process);
    assert!(seq > 1_000_000, "{seq}");
    let (_, process, later) = next(&world, {
        mark(&process.engine, |batch| batch.delete_timeline(table, KEY));
        process.engine.compact().unwrap();
        process
    });
    assert!(later > seq, "{later} after {seq}");
    drop(process);
}

#[test]
fn what_is_partly_dead_is_rewritten_once_the_snapshot_lets_go() {
    let (_world, process, table) = open();
    let engine = &process.engine;
    for _ in 0..100 {
        append(engine, table, 10, Durability::Buffered);
        settle(&process);
    }
    engine.flush().unwrap();
    engine.compact().unwrap();
    let before = engine.stats().sstable_bytes;
    let snapshot = engine.snapshot();
    mark(engine, |batch| batch.trim(table, KEY, 501));
    settle(&process);
    let held = engine.stats().sstable_bytes;
    assert!(held >= before, "{held} of {before}: somebody sees it");
    assert_eq!(snapshot.len(table, KEY).unwrap(), 1000);
    drop(snapshot);
    process.scheduler.clock().advance(Duration::from_secs(2));
    settle(&process);
    let after = engine.stats().sstable_bytes;
    assert!(after * 10 < before * 7, "{after} of {before} bytes");
    assert_eq!(engine.snapshot().len(table, KEY).unwrap(), 500);
}

#[test]
fn keep_last_counts_entries_and_not_what_a_power_loss_took() {
    let world = World::new(9);
    let process = world.open(&tiny()).unwrap();
    let options = TableOptions::timeline().keep_last(4);
    let table = process.engine.create_table("message", options).unwrap();
    append(&process.engine, table, 10, Durability::Sync);
    assert_eq!(seqs(&process.engine.snapshot(), table), [7, 8, 9, 10]);
    let trimmed = [(1, 6, GapReason::Trimmed)];
    assert_eq!(gaps(&process.engine.snapshot(), table, 0, 99), trimmed);
    append(&process.engine, table, 2, Durability::Buffered);
    process.kill();
    let world = world.after(&CrashPolicy::DropAll);
    let process = world.open(&tiny()).unwrap();
    let latest = process.engine.snapshot().latest_seq(table, KEY).unwrap();
    append(&process.engine, table, 2, Durability::Sync);
    let shown = seqs(&process.engine.snapshot(), table);
    let next = latest + 1_000_001;
    assert_eq!(shown, [latest - 1, latest, next, next + 1]);
    let lost = (latest + 1, next - 1, GapReason::Lost);
    let snapshot = process.engine.snapshot();
    let trimmed = (1, latest - 2, GapReason::Trimmed);
    assert_eq!(gaps(&snapshot, table, 0, u64::MAX), [trimmed, lost]);
    assert_eq!(gaps(&snapshot, table, latest, next), [lost]);
    drop(snapshot);
    // Compaction drops what is not kept, and nothing else; a timeline's own number goes first.
    process.engine.compact().unwrap();
    assert_eq!(seqs(&process.engine.snapshot(), table), shown);
    mark(&process.engine, |batch| batch.set_keep_last(table, KEY, Some(1)));
    assert_eq!(seqs(&process.engine.snapshot(), table), [next + 1]);
    append(&process.engine, table, 4, Durability::Sync);
    mark(&process.engine, |batch| batch.set_keep_last(table, KEY, None));
    assert_eq!(seqs(&process.engine.snapshot(), table).len(), 4);
}

#[test]
fn a_timeline_expires_by_its_own_time_to_live_and_stays_expired() {
    let (world, process, table) = open();
    let engine = &process.engine;
    let minute = Duration::from_secs(60);
    let pass = |seconds| {
        // The expiry clock follows in the steps that its lease allows.
        for _ in 0..seconds {
            world.clock.advance(Duration::from_secs(1));
            settle(&process);
        }
    };
    append(engine, table, 5, Durability::Sync);
    mark(engine, |batch| batch.set_timeline_ttl(table, KEY, Some(minute)));
    pass(40);
    append(engine, table, 5, Durability::Sync);
    assert_eq!(seqs(&engine.snapshot(), table).len(), 10);
    pass(30);
    assert_eq!(seqs(&engine.snapshot(), table), [6, 7, 8, 9, 10]);
    assert_eq!(gaps(&engine.snapshot(), table, 0, 99), [(1, 5, GapReason::Expired)]);
    mark(engine, |batch| batch.set_timeline_ttl(table, KEY, None));
    assert_eq!(seqs(&engine.snapshot(), table), [6, 7, 8, 9, 10], "it does not come back");
    mark(engine, |batch| batch.set_timeline_ttl(table, KEY, Some(minute * 2)));
    pass(60);
    assert_eq!(seqs(&engine.snapshot(), table), [6, 7, 8, 9, 10]);
    engine.compact().unwrap();
    assert_eq!(seqs(&engine.snapshot(), table), [6, 7, 8, 9, 10]);
    pass(60);
    assert_eq!(seqs(&engine.snapshot(), table), []);
    assert_eq!(engine.snapshot().latest_seq(table, KEY).unwrap(), 10);
    append(engine, table, 1, Durability::Sync);
    assert_eq!(seqs(&engine.snapshot(), table), [11]);
    assert_eq!(gaps(&engine.snapshot(), table, 0, 99), [(1, 10, GapReason::Expired)]);
}

#[test]
fn lost_entries_are_told_from_expired_ones() {
    let world = World::new(11);
    let process = world.open(&tiny()).unwrap();
    let options = TableOptions::timeline().ttl(Duration::from_secs(100));
    let table = process.engine.create_table("message", options).unwrap();
    let plain = process.engine.create_table("plain", TableOptions::timeline()).unwrap();
    append(&process.engine, table, 5, Durability::Sync);
    append(&process.engine, plain, 5, Durability::Sync);
    append(&process.engine, table, 2, Durability::Buffered);
    process.kill();
    let world = world.after(&CrashPolicy::DropAll);
    let process = world.open(&tiny()).unwrap();
    let latest = process.engine.snapshot().latest_seq(table, KEY).unwrap();
    append(&process.engine, table, 2, Durability::Sync);
    append(&process.engine, plain, 2, Durability::Sync);
    let next = latest + 1_000_001;
    let lost = (latest + 1, next - 1, GapReason::Lost);
    assert_eq!(gaps(&process.engine.snapshot(), table, 0, u64::MAX), [lost]);
    let plain_lost = (6, 1_000_005, GapReason::Lost);
    assert_eq!(gaps(&process.engine.snapshot(), plain, 0, u64::MAX), [plain_lost]);
    mark(&process.engine, |batch| batch.delete_range(plain, KEY, 3..=1_000_006));
    let reasons = [(3, 1_000_006, GapReason::Deleted)];
    assert_eq!(gaps(&process.engine.snapshot(), plain, 0, u64::MAX), reasons);
    for _ in 0..99 {
        world.clock.advance(Duration::from_secs(1));
        settle(&process);
    }
    append(&process.engine, table, 1, Durability::Sync);
    for _ in 0..20 {
        world.clock.advance(Duration::from_secs(1));
        settle(&process);
    }
    let expired = (1, next + 1, GapReason::Expired);
    let found = gaps(&process.engine.snapshot(), table, 0, u64::MAX);
    assert_eq!(found, [expired], "the file knows the last of them, from behind the epoch");
}

#[test]
fn a_dropped_table_is_gone_with_all_that_spoke_of_it() {
    let (world, process, table) = open();
    let engine = &process.engine;
    let other = engine.create_table("other", TableOptions::timeline()).unwrap();
    for _ in 0..20 {
        append(engine, table, 10, Durability::Sync);
        append(engine, other, 1, Durability::Sync);
        settle(&process);
    }
    mark(engine, |batch| batch.trim(table, KEY, 5));
    engine.flush().unwrap();
    // Some of it is in memory, and in the log.
    append(engine, table, 3, Durability::Sync);
    let mut open_scan =
        engine.snapshot().scan(table, KEY, 0, u64::MAX, Direction::Forward).unwrap();
    open_scan.next().unwrap().unwrap();
    engine.drop_table(table).unwrap();
    assert_eq!(open_scan.count(), 198, "an open scan goes on");
    assert_eq!(engine.drop_table(table).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(engine.drop_table(TableId(1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(engine.table("message").is_none());
    let mut batch = WriteBatch::new();
    batch.append(table, KEY, b"x", None).unwrap();
    assert_eq!(engine.commit(batch, Durability::Sync).unwrap_err().kind(), ErrorKind::NotFound);
    let read = engine.snapshot().latest(table, KEY);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
    let again = engine.create_table("message", TableOptions::timeline()).unwrap();
    assert!(again > other, "ids are never used again");
    append(engine, again, 1, Durability::Sync);
    engine.compact().unwrap();
    let check = |engine: &Engine| {
        assert_eq!(seqs(&engine.snapshot(), again), [1]);
        assert_eq!(seqs(&engine.snapshot(), other).len(), 20);
    };
    check(engine);
    process.kill();
    for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
        let process = world.after(&policy).open(&tiny()).unwrap();
        check(&process.engine);
        process.kill();
    }
}

#[test]
fn power_is_lost_at_every_step_of_dropping_a_table() {
    let run = |crash_at: Option<u64>| -> (World, TableId, TableId, bool, u64) {
        let world = World::new(12);
        let process = world.open(&tiny()).unwrap();
        let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
        let other = process.engine.create_table("other", TableOptions::timeline()).unwrap();
        for _ in 0..12 {
            append(&process.engine, table, 10, Durability::Sync);
            append(&process.engine, other, 1, Durability::Sync);
            settle(&process);
        }
        process.engine.flush().unwrap();
        append(&process.engine, table, 5, Durability::Sync);
        let start = world.disk.operation_count();
        if let Some(at) = crash_at {
            world.disk.crash_at(start + at);
        }
        let dropped = process.engine.drop_table(table).is_ok();
        let flushed = process.engine.flush();
        assert!(crash_at.is_some() || flushed.is_ok());
        let operations = world.disk.operation_count() - start;
        process.kill();
        (world, table, other, dropped, operations)
    };
    let (.., whole, operations) = run(None);
    assert!(whole && operations > 5, "{operations}");
    for at in 0..operations {
        let (world, table, other, dropped, _) = run(Some(at));
        for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed: at }]
        {
            let context = format!("crash at {at} of {operations}, {policy:?}");
            let process = world.after(&policy).open(&tiny()).unwrap_or_else(|error| {
                panic!("{context}: {error}");
            });
            let engine = &process.engine;
            match engine.table("message") {
                None => {
                    let id = engine.create_table("message", TableOptions::timeline()).unwrap();
                    assert!(id > other, "{context}");
                }
                Some(found) => {
                    assert!(!dropped, "{context}: a dropped table is back");
                    assert_eq!(found.id, table);
                    assert_eq!(engine.snapshot().len(table, KEY).unwrap(), 125, "{context}");
                }
            }
            assert_eq!(engine.snapshot().len(other, KEY).unwrap(), 12, "{context}");
            process.kill();
        }
    }
}
