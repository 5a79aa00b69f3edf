//! Defects of expiry, retention and their space that were mended: one test each, with its story.

use super::regression::hooked;
use super::regression_stores::{Beside, hook};
use super::world::{Process, World, tiny};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{
    AppendOptions, Direction, Durability, Engine, Options, Stats, TableId, TableOptions,
    WriteBatch, limits,
};

const KEY: &[u8] = b"room";

fn append(engine: &Engine, table: TableId, payload: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.append(table, KEY, payload, None).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
}

fn seqs(engine: &Engine, table: TableId) -> Vec<u64> {
    let scan = engine.snapshot().scan(table, KEY, 0, u64::MAX, Direction::Forward).unwrap();
    scan.map(|entry| entry.unwrap().seq).collect()
}

/// Lets time pass in small steps, and the background work with it.
fn pass(world: &World, process: &Process, seconds: u64) {
    for _ in 0..seconds * 4 {
        world.clock.advance(Duration::from_millis(250));
        process.scheduler.run_until_idle(1000);
    }
}

/// What is said of a timeline: how long, in seconds, or how many of its entries are kept.
#[derive(Debug, Clone, Copy)]
enum Kept {
    For(Option<u64>),
    Last(Option<u64>),
}

/// A store with sixteen SSTables, three seconds apart. Each has an entry of `KEY` behind a long
/// timeline, so that a merge of them comes to `KEY` at its end.
struct Merging {
    world: World,
    process: Process,
    table: TableId,
    /// Compactions before the merge.
    before: u64,
}

impl Merging {
    /// `few` goes with the last flush, which makes the merge due.
    fn new(few: Kept) -> Merging {
        let world = World::new(45);
        let options = Options {
            ring_bytes: 32 << 20,
            memtable_bytes: 4 << 20,
            sstable_bytes: 8 << 20,
            memory_budget: 64 << 20,
            ..tiny()
        };
        let process = world.open(&options).unwrap();
        let engine = &process.engine;
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        for flush in 0..16 {
            for number in 0..20 {
                let mut noise = vec![0; 64 * 1024];
                Random::new(flush * 20 + number).fill(&mut noise);
                let mut batch = WriteBatch::new();
                batch.append(table, b"a long one", &noise, None).unwrap();
                engine.commit(batch, Durability::Buffered).unwrap();
            }
            append(engine, table, b"short");
            if flush == 15 {
                say(engine, table, few);
            }
            engine.flush().unwrap();
            world.clock.advance(Duration::from_secs(3));
        }
        let before = engine.stats().compactions;
        Merging { world, process, table, before }
    }

    fn say(&self, kept: Kept) {
        say(&self.process.engine, self.table, kept);
    }

    fn until(&self, what: &str, wanted: impl Fn(&Stats) -> bool) {
        let engine = &self.process.engine;
        for _ in 0..100_000 {
            if wanted(&engine.stats()) {
                return;
            }
            if !self.process.scheduler.step_one() {
                self.world.clock.advance(Duration::from_millis(50));
            }
        }
        panic!("{what}: {:?}", engine.stats());
    }

    fn until_at_work(&self) {
        // What a flush writes is less than what is in memory.
        self.until("a merge is at work", |it| it.output_bytes > 0 && it.memtable_bytes < 64 * 1024);
    }

    /// All is shown while the merge is at work, though it is old by now, and when it has ended.
    fn check(&self, context: &str) {
        let engine = &self.process.engine;
        let all: Vec<u64> = (1..=16).collect();
        self.world.clock.advance(Duration::from_secs(50));
        assert_eq!(engine.stats().compactions, self.before, "{context}: it is still at work");
        assert_eq!(seqs(engine, self.table), all, "{context}");
        self.until("the merge has come through", |it| it.compactions > self.before);
        assert_eq!(seqs(engine, self.table), all, "{context}");
    }
}

fn say(engine: &Engine, table: TableId, kept: Kept) {
    let mut batch = WriteBatch::new();
    match kept {
        Kept::For(seconds) => {
            let ttl = seconds.map(Duration::from_secs);
            batch.set_timeline_ttl(table, KEY, ttl).unwrap();
        }
        Kept::Last(count) => batch.set_keep_last(table, KEY, count).unwrap(),
    }
    engine.commit(batch, Durability::Sync).unwrap();
}

/// A time to live that was lengthened while a merge was at work was read as it had been when the
/// merge was picked, but by a later clock: the merge left out what everybody was shown.
#[test]
fn a_longer_time_to_live_holds_in_a_merge_that_is_at_work() {
    for longer in [Some(3600), None] {
        let merging = Merging::new(Kept::For(Some(60)));
        merging.until_at_work();
        merging.say(Kept::For(longer));
        merging.check(&format!("{longer:?}"));
    }
}

/// The same of how many entries are kept: a merge left out what a larger number, said while it was
/// at work, had shown again.
#[test]
fn a_larger_number_to_keep_holds_in_a_merge_that_is_at_work() {
    for larger in [Some(100), None] {
        let merging = Merging::new(Kept::Last(Some(4)));
        merging.until_at_work();
        merging.say(Kept::Last(larger));
        merging.check(&format!("{larger:?}"));
    }
}

/// A flush makes one change of two of a timeline, the later one. Where a merge had been picked
/// between them it read, at the commit of that moment, what had held before both, and left out what
/// the first of them had shown again.
#[test]
fn changes_that_a_flush_makes_one_hold_in_a_merge_that_is_at_work() {
    for [few, more, all] in [
        [Kept::For(Some(60)), Kept::For(Some(3600)), Kept::For(None)],
        [Kept::Last(Some(4)), Kept::Last(Some(100)), Kept::Last(None)],
    ] {
        let merging = Merging::new(few);
        merging.say(more);
        merging.until_at_work();
        merging.say(all);
        merging.process.engine.flush().unwrap();
        merging.check(&format!("{few:?}"));
    }
}

/// A time to live that was taken away, or made longer, was so as of the moment at which its batch
/// got its place; readers heard of it once the batch was on the disk. An entry that ended in
/// between was hidden from those who read meanwhile, and came back.
#[test]
fn an_entry_that_ends_while_a_longer_time_to_live_is_written_does_not_come_back() {
    for longer in [Some(3600), None] {
        let world = World::new(47);
        let beside = Beside::default();
        let process = hooked(&world, hook(&beside));
        let engine = &process.engine;
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        say(engine, table, Kept::For(Some(10)));
        append(engine, table, b"brief");
        world.clock.advance(Duration::from_millis(9_999));
        let meanwhile = Arc::new(Mutex::new(None));
        let (store, clock, seen) = (engine.clone(), world.clock.clone(), Arc::clone(&meanwhile));
        *beside.lock().unwrap() = Some(Box::new(move || {
            clock.advance(Duration::from_millis(5));
            *seen.lock().unwrap() = Some(seqs(&store, table));
        }));
        say(engine, table, Kept::For(longer));
        let meanwhile = meanwhile.lock().unwrap().take().expect("it was written to the log");
        assert_eq!(seqs(engine, table), meanwhile, "{longer:?}");
        process.kill();
    }
}

/// A timeline of a table that keeps the last entries of each, and which had a mark of its own, was
/// counted twice: ten dead of twenty looked like twenty, and the SSTable went, with the entries
/// that were to be kept.
#[test]
fn what_is_dead_by_table_and_by_timeline_counts_once() {
    for mark in 0..3 {
        let world = World::new(30 + mark);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let table = TableOptions::timeline().keep_last(10);
        let table = engine.create_table("message", table).unwrap();
        for _ in 0..20 {
            append(engine, table, &[b'x'; 100]);
        }
        // Before anybody has looked at what the table keeps.
        let mut batch = WriteBatch::new();
        match mark {
            0 => batch.trim(table, KEY, 2).unwrap(),
            1 => batch.set_timeline_ttl(table, KEY, Some(Duration::from_secs(1000))).unwrap(),
            _ => batch.delete_entry(table, KEY, 3).unwrap(),
        }
        engine.commit(batch, Durability::Sync).unwrap();
        engine.flush().unwrap();
        pass(&world, &process, 30);
        assert_eq!(seqs(engine, table), (11..=20).collect::<Vec<_>>(), "mark {mark}");
        engine.compact().unwrap();
        pass(&world, &process, 30);
        assert_eq!(seqs(engine, table), (11..=20).collect::<Vec<_>>(), "mark {mark}");
    }
}

/// A time to live was altered twice while a flush was at work. The grid's piece of the first change
/// was left out by the second, since no SSTable lay in it yet; the flush put one there all the
/// same, by the grid that it had begun with, and the next flush went to a lower window. Newer
/// entries then lay behind older ones, and every read of the timeline ended with `Corruption`.
#[test]
fn a_piece_of_the_grid_stays_while_a_flush_may_go_there() {
    for steps in 0..12 {
        let world = World::new(60);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let ttl = |seconds| TableOptions::timeline().ttl(Duration::from_secs(seconds));
        let table = engine.create_table("message", ttl(8)).unwrap();
        append(engine, table, b"in the first piece");
        engine.flush().unwrap();
        world.clock.advance(Duration::from_millis(5_141));
        engine.alter_table(table, ttl(40)).unwrap();
        let mut count = 1;
        while engine.stats().pending.flush_bytes == 0 {
            append(engine, table, &[b'x'; 1000]);
            count += 1;
        }
        process.scheduler.run_until_idle(steps);
        world.clock.advance(Duration::from_millis(1_092));
        engine.alter_table(table, ttl(8)).unwrap();
        engine.flush().unwrap();
        append(engine, table, b"in the last piece");
        engine.flush().unwrap();
        assert_eq!(seqs(engine, table), (1..=count + 1).collect::<Vec<_>>(), "{steps} steps");
    }
}

/// Two SSTables of a flush needed the same payload segment and expired together: it was given up
/// twice, which a debug build noticed with a panic and the figures of a release build never got
/// over.
#[test]
fn a_segment_goes_once_when_all_that_needed_it_go_together() {
    let world = World::new(40);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let options = TableOptions::timeline().ttl(Duration::from_secs(20));
    let tables = ["one", "two"].map(|name| engine.create_table(name, options.clone()).unwrap());
    let mut batch = WriteBatch::new();
    let targets = tables.map(|table| (table, KEY));
    batch.fan_out(targets, &[7; 500], None, None, false).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    engine.flush().unwrap();
    assert_eq!(engine.stats().segments, 1);
    pass(&world, &process, 30);
    append(engine, tables[0], b"it goes on");
    let stats = engine.stats();
    assert_eq!((stats.segments, stats.held_bytes, stats.released_bytes), (0, 0, 0), "{stats:?}");
}

/// What expired in the cold file was free only when something else wrote a root.
#[test]
fn what_expires_in_the_cold_file_is_free_in_time() {
    let world = World::with_cold(41);
    let process = world.open(&Options { ..tiny() }).unwrap();
    let engine = &process.engine;
    let options =
        TableOptions::timeline().ttl(Duration::from_secs(100)).cold_after(Duration::from_secs(20));
    let table = engine.create_table("message", options).unwrap();
    for _ in 0..200 {
        append(engine, table, &[b'x'; 400]);
    }
    engine.flush().unwrap();
    pass(&world, &process, 60);
    let stats = engine.stats();
    assert!(stats.cold_sstables > 0, "{stats:?}");
    let full = stats.cold_free_bytes;
    pass(&world, &process, 46);
    let stats = engine.stats();
    assert_eq!(seqs(engine, table), []);
    assert_eq!(stats.cold_sstables, 0);
    assert!(stats.cold_free_bytes > full, "{full} bytes were free before: {stats:?}");
    assert!((1..=10_000).contains(&stats.expiry_lag_ms), "{} ms", stats.expiry_lag_ms);
}

/// Keep-last looked for the first entry behind each epoch, to know where its window goes on before
/// the ids that a power loss took. That entry may be out of the file, since its own time to live
/// was short, while older ones are alive: then the window was not made longer and hid entries that
/// were to be kept, or began in the wrong place and brought some back.
#[test]
fn keep_last_reaches_over_ids_that_were_lost_whatever_expires_behind_them() {
    for (before, short, after, count) in
        [(10, 3, 0, 8), (10, 1, 6, 5), (10, 2, 2, 12), (10, 9, 1, 4)]
    {
        let world = World::new(142);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let options = TableOptions::timeline().keep_last(count);
        let table = engine.create_table("message", options).unwrap();
        let other = engine.create_table("other", TableOptions::timeline()).unwrap();
        (0..before).for_each(|_| append(engine, table, b"x"));
        let mut lost = WriteBatch::new();
        lost.append(table, KEY, b"lost", None).unwrap();
        engine.commit(lost, Durability::Buffered).unwrap();
        process.kill();
        let world = world.after(&CrashPolicy::DropAll);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let ttl = Some(Duration::from_secs(1));
        for _ in 0..short {
            let mut batch = WriteBatch::new();
            let options = AppendOptions { ttl, ..AppendOptions::default() };
            batch.append_with([(table, KEY)], b"short", &options).unwrap();
            engine.commit(batch, Durability::Sync).unwrap();
        }
        engine.flush().unwrap();
        (0..after).for_each(|_| append(engine, table, b"x"));
        append(engine, other, b"x");
        pass(&world, &process, 3);
        engine.compact().unwrap();
        let jumped = limits::UNSYNCED_ENTRIES_MAX + before;
        let written = (1..=before).chain(jumped + 1..=jumped + short + after);
        let written: Vec<u64> = written.collect();
        let kept = &written[written.len().saturating_sub(usize::try_from(count).unwrap())..];
        let alive = |seq: &u64| !(jumped + 1..=jumped + short).contains(seq);
        let expected: Vec<u64> = kept.iter().copied().filter(alive).collect();
        assert_eq!(seqs(engine, table), expected, "{before} {short} {after}, keep {count}");
        process.kill();
    }
}

/// A snapshot that was older than an epoch's jump said that its timeline had ended at the newest
/// entry that was left of it, once later ones were gone: its newest sequence id went back.
#[test]
fn the_latest_seq_of_a_snapshot_does_not_go_back_before_a_jump() {
    let world = World::new(143);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"stays");
    let mut batch = WriteBatch::new();
    let ttl = Some(Duration::from_secs(1));
    let options = AppendOptions { ttl, ..AppendOptions::default() };
    batch.append_with([(table, KEY)], b"goes", &options).unwrap();
    process.engine.commit(batch, Durability::Sync).unwrap();
    let mut lost = WriteBatch::new();
    lost.append(table, KEY, b"lost", None).unwrap();
    process.engine.commit(lost, Durability::Buffered).unwrap();
    process.kill();
    let world = world.after(&CrashPolicy::DropAll);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.latest_seq(table, KEY).unwrap(), 2);
    append(engine, table, b"behind the jump");
    assert_eq!(seqs(engine, table).last(), Some(&(limits::UNSYNCED_ENTRIES_MAX + 3)));
    pass(&world, &process, 3);
    engine.compact().unwrap();
    engine.compact().unwrap();
    assert_eq!(snapshot.latest_seq(table, KEY).unwrap(), 2);
    process.kill();
}

/// A snapshot looked at what was left of a timeline, all of it younger than itself. Where that
/// began with seq 1,000,001 it was taken for the first entry of all, behind a jump that no power
/// loss had made, and the newest sequence id of the snapshot went back.
#[test]
fn the_latest_seq_of_a_snapshot_does_not_go_back_behind_a_million_entries() {
    let world = World::new(144);
    let options = Options {
        ring_bytes: 8 << 20,
        memtable_bytes: 2 << 20,
        sstable_bytes: 1 << 20,
        memory_budget: 32 << 20,
        ..tiny()
    };
    let process = world.open(&options).unwrap();
    let engine = &process.engine;
    let ttl = TableOptions::timeline().ttl(Duration::from_secs(100));
    let table = engine.create_table("message", ttl).unwrap();
    let million = limits::UNSYNCED_ENTRIES_MAX;
    for _ in 0..50 {
        let mut batch = WriteBatch::new();
        (0..million / 50).for_each(|_| batch.append(table, KEY, b"x", None).unwrap());
        engine.commit(batch, Durability::Buffered).unwrap();
    }
    engine.flush().unwrap();
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.latest_seq(table, KEY).unwrap(), million);
    pass(&world, &process, 90);
    append(engine, table, b"behind");
    engine.flush().unwrap();
    pass(&world, &process, 30);
    assert_eq!(seqs(engine, table), [million + 1], "the others have expired");
    assert_eq!(snapshot.latest_seq(table, KEY).unwrap(), million);
    process.kill();
}
