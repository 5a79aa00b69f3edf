//! A hot window that moves to the cold tier piece by piece: who gets a turn between the pieces, and
//! what may happen to a window of which a part has gone.

use super::tiers::{append, settle, verify};
use super::world::{Process, START_MS, World, tiny};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::limits::LEVEL0_COMPACT;
use tidelog_engine::testing::{CrashPolicy, Random, SimDisk};
use tidelog_engine::{
    Clock, Direction, Durability, Engine, Options, Result, Snapshot, TableId, TableOptions, Tier,
    WriteBatch,
};

const TIMELINES: u64 = 5;
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// A payload that compresses badly, so that what is cold is about as large as what was hot.
fn payload(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let noise = (0..300).map(|_| u8::try_from(random.below(256)).unwrap());
    number.to_le_bytes().into_iter().chain(noise).collect()
}

/// A table of one hot window of many pieces, with its compactions done.
struct Window {
    world: World,
    process: Process,
    table: TableId,
    /// Message numbers by timeline, from seq 1 on, with their commit times.
    written: Vec<Vec<(u64, u64)>>,
    messages: u64,
}

impl Window {
    /// `messages` in timelines that follow each other, the last one first, so that the order of
    /// keys is not that of time.
    fn new(world: World, options: &Options, messages: u64, table: TableOptions) -> Window {
        let process = world.open(options).unwrap();
        let table = process.engine.create_table("message", table).unwrap();
        let written = vec![Vec::new(); usize::try_from(TIMELINES).unwrap()];
        let mut window = Window { world, process, table, written, messages: 0 };
        for number in 0..messages {
            window.write(TIMELINES - 1 - number * TIMELINES / messages, Durability::Buffered);
            window.world.clock.advance(Duration::from_millis(100));
            window.process.scheduler.run_until_idle(10);
        }
        window.process.engine.compact().unwrap();
        settle(&window.process);
        assert_eq!(window.cold(), 0);
        window
    }

    /// One more message in a timeline.
    fn write(&mut self, timeline: u64, durability: Durability) {
        self.messages += 1;
        let mut batch = WriteBatch::new();
        batch.append(self.table, &key(timeline), &payload(self.messages), None).unwrap();
        let committed = self.process.engine.commit(batch, durability).unwrap();
        let written = &mut self.written[usize::try_from(timeline).unwrap()];
        written.push((self.messages, committed.time_ms));
        assert_eq!(committed.seqs, [written.len() as u64]);
    }

    fn of_tier(&self, wanted: Tier) -> u64 {
        let stats = self.process.engine.stats();
        let tables = stats.tables.iter().filter(|table| table.id == self.table);
        tables.flat_map(|table| table.tier(wanted)).map(|window| window.sstables()).sum()
    }

    fn hot(&self) -> u64 {
        self.of_tier(Tier::Hot)
    }

    fn cold(&self) -> u64 {
        self.of_tier(Tier::Cold)
    }

    /// Works until the first piece has gone, and the second has not.
    fn begin_move(&self) {
        for _ in 0..100_000 {
            if self.cold() > 0 {
                break;
            }
            // The clock by which data grow old follows a step behind.
            if !self.process.scheduler.step_one() {
                self.world.clock.advance(SECOND / 20);
            }
        }
        assert!(self.cold() > 0, "nothing moves");
        assert!(self.hot() > 0, "the window has gone whole");
    }

    /// The same store, closed and opened.
    fn reopened(self) -> Window {
        let Window { world, process, .. } = self;
        process.engine.close().unwrap();
        drop(process);
        let process = world.open(&tiny()).unwrap();
        Window { world, process, table: self.table, written: self.written, messages: self.messages }
    }

    fn check(&self) {
        self.check_from(&self.process.engine, 0);
    }

    /// All that was committed from a moment on is shown, both ways, and nothing else; no sequence
    /// id goes back.
    fn check_from(&self, engine: &Engine, alive_from_ms: u64) {
        for (timeline, written) in (0..).zip(&self.written) {
            let snapshot = engine.snapshot();
            let alive = written.iter().filter(|(_, time_ms)| *time_ms >= alive_from_ms);
            let mut expected: Vec<u64> = alive.map(|(number, _)| *number).collect();
            assert_eq!(self.read(&snapshot, timeline, Direction::Forward), expected);
            expected.reverse();
            assert_eq!(self.read(&snapshot, timeline, Direction::Backward), expected);
            let latest = snapshot.latest_seq(self.table, &key(timeline)).unwrap();
            assert_eq!(latest, written.len() as u64, "timeline {timeline}");
        }
    }

    fn read(&self, snapshot: &Snapshot, timeline: u64, direction: Direction) -> Vec<u64> {
        let scan = snapshot.scan(self.table, &key(timeline), 0, u64::MAX, direction).unwrap();
        scan.map(|entry| number_of(&entry.unwrap().payload)).collect()
    }

    fn settle(&self) {
        self.process.engine.compact().unwrap();
        settle(&self.process);
    }
}

fn key(timeline: u64) -> [u8; 1] {
    [b'a' + u8::try_from(timeline).unwrap()]
}

fn number_of(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, payload(number));
    number
}

/// Windows of three minutes, which go after an hour.
fn hourly() -> TableOptions {
    TableOptions::timeline().cold_after(HOUR)
}

/// A window of five pieces, which are due.
fn due(seed: u64, table: TableOptions) -> Window {
    let window = Window::new(World::new(seed), &tiny(), 1800, table);
    window.world.clock.advance(HOUR * 2);
    window
}

#[test]
fn a_compaction_of_another_shard_comes_between_the_pieces_of_a_move() {
    let window = Window::new(World::new(1), &tiny(), 6000, hourly());
    let engine = &window.process.engine;
    let other = engine.create_table("other", TableOptions::timeline()).unwrap();
    let write_other = || {
        append(engine, other, b"o", "a line");
        engine.flush().unwrap();
    };
    let few = LEVEL0_COMPACT - 1;
    (0..few).for_each(|_| write_other());
    window.world.clock.advance(HOUR * 2);
    window.begin_move();
    let level0 = || {
        let stats = engine.stats();
        let table = stats.tables.iter().find(|table| table.id == other).unwrap();
        table.windows[0].levels[0].sstables
    };
    assert_eq!(level0(), few as u64, "not due yet");
    write_other();
    while level0() > few as u64 {
        assert!(window.process.scheduler.step_one(), "level 0 stays as it is");
    }
    assert!(window.hot() > 0, "it waited for the whole window");
    window.settle();
    assert_eq!(window.hot(), 0);
    window.check();
}

#[test]
fn readers_see_nothing_of_a_window_that_moves() {
    for cold in [false, true] {
        let world = if cold { World::with_cold(2) } else { World::new(2) };
        let window = Window::new(world, &tiny(), 1800, hourly());
        let snapshot = window.process.engine.snapshot();
        window.world.clock.advance(HOUR * 2);
        let scan = |timeline, direction| {
            let scan = snapshot.scan(window.table, &key(timeline), 0, u64::MAX, direction).unwrap();
            scan.map(|entry| number_of(&entry.unwrap().payload))
        };
        let mut scans: Vec<_> = (0..TIMELINES)
            .map(|timeline| {
                (scan(timeline, Direction::Forward), scan(timeline, Direction::Backward))
            })
            .collect();
        let mut read = vec![(Vec::new(), Vec::new()); scans.len()];
        for _ in 0..1800 / TIMELINES {
            for ((forward, backward), read) in scans.iter_mut().zip(&mut read) {
                read.0.extend(forward.next());
                read.1.extend(backward.next());
            }
            // The iterators open what is there anew from time to time.
            window.world.clock.advance(SECOND / 3);
            window.process.scheduler.run_until_idle(1);
            window.check();
        }
        for (written, (forward, backward)) in window.written.iter().zip(read) {
            let expected: Vec<u64> = written.iter().map(|(number, _)| *number).collect();
            assert_eq!(forward, expected);
            assert!(backward.iter().rev().eq(&expected));
        }
        assert!(scans.iter_mut().all(|(one, two)| one.next().is_none() && two.next().is_none()));
        window.settle();
        assert_eq!(window.hot(), 0);
        verify(&window.world);
    }
}

/// What is in memory when its window begins to move comes to the same window, behind what has gone.
#[test]
fn a_late_flush_into_a_window_that_moves_stays_in_order() {
    let mut window = Window::new(World::new(3), &tiny(), 1800, hourly());
    for timeline in 0..TIMELINES {
        window.write(timeline, Durability::Sync);
    }
    window.world.clock.advance(HOUR * 2);
    window.begin_move();
    let hot = window.hot();
    window.process.engine.flush().unwrap();
    assert!(window.hot() > 0 && hot > 0);
    window.check();
    window.settle();
    assert_eq!(window.hot(), 0, "the late ones have followed");
    window.check();
    for timeline in 0..TIMELINES {
        window.write(timeline, Durability::Sync);
    }
    window.check();
    verify(&window.world);
}

#[test]
fn a_window_that_is_no_longer_due_stays_in_two_parts() {
    for options in [TableOptions::timeline(), TableOptions::timeline().cold_after(HOUR * 10)] {
        let mut window = due(4, hourly());
        window.begin_move();
        window.process.engine.alter_table(window.table, options).unwrap();
        let begun = window.process.engine.stats();
        settle(&window.process);
        for timeline in 0..TIMELINES {
            window.write(timeline, Durability::Sync);
        }
        window.settle();
        let stats = window.process.engine.stats();
        assert!(window.hot() > 0 && window.cold() > 0, "{begun:?} {stats:?}");
        window.check();
        let window = window.reopened();
        window.check();
        // The rest follows when it is due again, and what was written meanwhile in its own time.
        window.process.engine.alter_table(window.table, hourly()).unwrap();
        window.world.clock.advance(HOUR * 2);
        window.settle();
        assert_eq!(window.hot(), 0);
        window.check();
        verify(&window.world);
    }
}

#[test]
fn a_table_that_is_dropped_in_the_midst_of_its_move_leaves_nothing() {
    // At every step of the second piece.
    for steps in 0..12 {
        let window = due(5, hourly());
        window.begin_move();
        window.process.scheduler.run_until_idle(steps);
        window.process.engine.drop_table(window.table).unwrap();
        settle(&window.process);
        let engine = &window.process.engine;
        engine.compact().unwrap();
        let stats = engine.stats();
        assert!(stats.tables.is_empty() && stats.cold_sstables == 0, "{stats:?}");
        assert!(stats.sstable_bytes < 200 * 1024, "only the engine's own are left: {stats:?}");
        verify(&window.world);
    }
}

/// The first to expire are those that would be moved last.
#[test]
fn the_half_of_a_moving_window_expires() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let options = hourly().ttl(minutes(63));
    for steps in [0, 3, 9] {
        let window = Window::new(World::new(6), &tiny(), 1800, options.clone());
        window.world.clock.advance(HOUR);
        window.begin_move();
        window.process.scheduler.run_until_idle(steps);
        // The window spans three minutes.
        let now_ms = START_MS + 90_050 + 63 * 60_000;
        let ahead_ms = now_ms - window.world.clock.wall_ms();
        // A root brings the superblock's clock along: what expires never runs a minute ahead of it.
        window.world.clock.advance(Duration::from_millis(ahead_ms - 20_000));
        window.process.engine.create_table("other", TableOptions::timeline()).unwrap();
        window.world.clock.advance(Duration::from_secs(20));
        let alive_from_ms = || window.world.clock.wall_ms() - 63 * 60_000;
        let expired = window.written.iter().flatten().filter(|(_, time)| *time < alive_from_ms());
        assert!((600..1000).contains(&expired.count()));
        window.check_from(&window.process.engine, alive_from_ms());
        window.process.scheduler.run_until_idle(steps);
        window.check_from(&window.process.engine, alive_from_ms());
        window.settle();
        assert_eq!(window.hot(), 0);
        assert!(window.process.engine.stats().dropped_sstables > 5);
        window.check_from(&window.process.engine, alive_from_ms());
        verify(&window.world);
        window.world.clock.advance(HOUR);
        settle(&window.process);
        window.settle();
        assert_eq!((window.hot(), window.cold()), (0, 0));
        window.check_from(&window.process.engine, u64::MAX);
    }
}

/// Power is lost while a window moves in pieces, at every fifth operation of either disk: an image
/// later each time than the one before, by every policy.
#[test]
fn power_loss_at_any_step_of_a_piecewise_move_loses_nothing() {
    for cold in [false, true] {
        let world = if cold { World::with_cold(7) } else { World::new(7) };
        let mut window = Window::new(world, &tiny(), 560, hourly());
        for timeline in 0..TIMELINES {
            window.write(timeline, Durability::Sync);
        }
        for _ in 0..58 {
            window.world.clock.advance(SECOND * 60);
            settle(&window.process);
        }
        assert_eq!(window.cold(), 0);
        window.process.engine.close().unwrap();
        let copied = || World {
            disk: window.world.disk.copied(),
            cold: window.world.cold.as_ref().map(|disk| disk.copied()),
            ..window.world.clone()
        };
        let whole = copied();
        let before = [Some(&whole.disk), whole.cold.as_ref()];
        let before = before.map(|disk| disk.map_or(0, |disk| disk.operation_count()));
        move_all(&whole).unwrap();
        let cold = Inspector::over(Arc::new(whole.disk.reopen())).sstables().unwrap();
        let cold = cold.iter().filter(|sstable| sstable.meta.shard.tier == Tier::Cold);
        assert!(cold.count() > 3, "it has moved");
        let after = [Some(&whole.disk), whole.cold.as_ref()];
        let after = after.map(|disk| disk.map_or(0, |disk| disk.operation_count()));
        assert!(after[0] - before[0] > 60, "{before:?} to {after:?}");
        for which in 0..2 {
            for at in (before[which] + 1..=after[which]).step_by(5) {
                let world = copied();
                let disk = if which == 0 { Some(&world.disk) } else { world.cold.as_ref() };
                disk.unwrap().crash_at(at);
                let _ = move_all(&world);
                let policy =
                    [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed: at }];
                let policy = &policy[usize::try_from(at).unwrap() % 3];
                check_after(
                    &window,
                    &world.after(policy),
                    &format!("disk {which}, {at}, {policy:?}"),
                );
            }
        }
    }
}

fn move_all(world: &World) -> Result<()> {
    let process = world.open(&tiny())?;
    until_all_is_cold(world, &process);
    process.kill();
    Ok(())
}

/// Works until the window has gone, or the power.
fn until_all_is_cold(world: &World, process: &Process) {
    for _ in 0..20_000 {
        if world.disk.crashed() || world.cold.as_ref().is_some_and(SimDisk::crashed) {
            return;
        }
        let stats = process.engine.stats();
        if stats.tables[0].tier(Tier::Hot).count() == 0 {
            return;
        }
        if !process.scheduler.step_one() {
            world.clock.advance(SECOND);
        }
    }
    panic!("nothing moves: {:?}", process.engine.stats());
}

fn check_after(window: &Window, world: &World, context: &str) {
    let process = world.open(&tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
    window.check_from(&process.engine, 0);
    until_all_is_cold(world, &process);
    window.check_from(&process.engine, 0);
    process.kill();
    verify(world);
}
