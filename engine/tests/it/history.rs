//! Random histories of tables that expire, are moved to the cold tier, and are altered, over two
//! disks that lose power at any operation and under a clock that jumps by a year.
//!
//! What must hold at every look, of every timeline: what is shown is a dense run up to the newest
//! acknowledged entry, with the payloads that were written; nothing that was once hidden is shown
//! again; nothing young is hidden, whatever the wall clock says, but for the minute that a crash
//! under a clock that is ahead costs; and where it never lied, nothing expired is shown. A batch
//! that was cut off is there as a whole or not at all.

use super::world::{Process, START_MS, World, tiny};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{
    Clock, Direction, Durability, Result, TableId, TableOptions, WriteBatch, limits,
};

const TIMELINES: u64 = 4;
/// The times to live that tables get, in milliseconds.
const TTLS: [u64; 3] = [8_000, 16_000, 40_000];
/// How far the clock of expiry may be from the monotonic one.
const SLACK_MS: u64 = 2_000;
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// An entry that was acknowledged, or is in doubt.
struct Written {
    payload: Vec<u8>,
    /// On the monotonic clock: before it was committed, and when that was known.
    at_ms: (u64, u64),
    /// It may have expired at some moment.
    may_be_hidden: bool,
}

/// Says where the data of a table go.
type Placement = fn(TableOptions) -> TableOptions;

/// What is known of one table.
struct Table {
    name: &'static str,
    id: TableId,
    cold: Placement,
    /// The shortest and the longest time to live that it may have now.
    ttl_ms: (u64, u64),
    timelines: Vec<Vec<Written>>,
    /// By timeline: the lowest seq that was shown at the last look.
    shown_from: Vec<u64>,
}

struct History {
    world: World,
    process: Option<Process>,
    tables: Vec<Table>,
    random: Random,
    /// Whether it jumps in this history.
    jumped: bool,
    /// How far the clock of expiry may be ahead since.
    lead_ms: u64,
    context: String,
    /// Moves, crashes and drops that were seen, so that a history cannot be idle unseen.
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    crashes: u64,
    cold_bytes: u64,
    dropped: u64,
    moved: u64,
}

fn key(timeline: usize) -> [u8; 2] {
    [b't', u8::try_from(timeline).unwrap()]
}

fn moving(options: TableOptions) -> TableOptions {
    options.cold_after(Duration::from_secs(3))
}

fn options(ttl_ms: u64) -> TableOptions {
    TableOptions::timeline().ttl(Duration::from_millis(ttl_ms))
}

impl Table {
    /// Notes which entries may have expired by now.
    fn note_expiry(&mut self, now_ms: u64) {
        for entry in self.timelines.iter_mut().flatten() {
            entry.may_be_hidden |= now_ms + SLACK_MS >= entry.at_ms.0 + self.ttl_ms.0;
        }
    }
}

impl History {
    fn new(seed: u64, second: bool, jumps: bool) -> History {
        let world = if second { World::with_cold(seed) } else { World::new(seed) };
        let process = world.open(&tiny()).unwrap();
        let mut history = History {
            world,
            process: Some(process),
            tables: Vec::new(),
            random: Random::new(seed),
            jumped: jumps,
            lead_ms: 0,
            context: format!("seed {seed}, second disk: {second}, jumps: {jumps}"),
            seen: Seen::default(),
        };
        let kinds: [(&str, Placement); 3] =
            [("moving", moving), ("born", TableOptions::born_cold), ("hot", |options| options)];
        for (name, cold) in kinds {
            let id = history.engine().create_table(name, cold(options(TTLS[1]))).unwrap();
            let timelines = (0..TIMELINES).map(|_| Vec::new()).collect();
            let shown_from = vec![1; usize::try_from(TIMELINES).unwrap()];
            let ttl_ms = (TTLS[1], TTLS[1]);
            history.tables.push(Table { name, id, cold, ttl_ms, timelines, shown_from });
        }
        history
    }

    fn engine(&self) -> &tidelog_engine::Engine {
        &self.process.as_ref().expect("a process runs").engine
    }

    fn now_ms(&self) -> u64 {
        self.world.clock.monotonic_ms()
    }

    /// Whether the wall clock lies.
    fn is_ahead(&self) -> bool {
        self.world.clock.wall_ms() > START_MS + self.now_ms() + 1_000
    }

    fn steps(&self, count: u64) {
        let process = self.process.as_ref().expect("a process runs");
        process.scheduler.run_until_idle(usize::try_from(count).unwrap());
    }

    /// One random operation. An error of the disk is a crash that was arranged.
    fn operation(&mut self) {
        let outcome = match self.random.below(40) {
            0 => self.engine().flush(),
            1 => self.engine().compact(),
            2 => self.alter(),
            3 => self.reopen(),
            4 => {
                self.arrange_crash();
                Ok(())
            }
            5 if self.jumped => {
                let way = if self.random.chance(1, 2) { YEAR_MS } else { -YEAR_MS };
                // Never twice the same way: the wall is right, or a year ahead.
                if self.is_ahead() == (way < 0) {
                    self.world.clock.jump_wall(way);
                }
                Ok(())
            }
            6..=9 => {
                self.check();
                Ok(())
            }
            10..=17 => {
                let ms = 100 + self.random.below(1_500);
                self.world.clock.advance(Duration::from_millis(ms));
                let steps = self.random.below(60);
                self.steps(steps);
                Ok(())
            }
            _ => self.append(),
        };
        if outcome.is_err() || self.is_crashed() {
            assert!(self.is_crashed(), "{}: {outcome:?}", self.context);
            self.crash();
        }
    }

    fn append(&mut self) -> Result<()> {
        let mut batch = WriteBatch::new();
        let size = 20 + self.random.index(900);
        let timeline = self.random.index(usize::try_from(TIMELINES).unwrap());
        let before_ms = self.now_ms();
        let id = self.world.disk.operation_count();
        let payload = format!("{id} {}", "~".repeat(size)).into_bytes();
        for table in &self.tables {
            batch.append(table.id, &key(timeline), &payload, None)?;
        }
        for table in &mut self.tables {
            let (payload, at_ms) = (payload.clone(), (before_ms, u64::MAX));
            table.timelines[timeline].push(Written { payload, at_ms, may_be_hidden: false });
        }
        let committed = self.engine().commit(batch, Durability::Sync)?;
        let now_ms = self.now_ms();
        for (table, seq) in self.tables.iter_mut().zip(committed.seqs) {
            let entries = &mut table.timelines[timeline];
            assert_eq!(seq, entries.len() as u64, "{}", self.context);
            entries.last_mut().unwrap().at_ms.1 = now_ms;
        }
        Ok(())
    }

    fn alter(&mut self) -> Result<()> {
        let now_ms = self.now_ms() + self.lead_ms;
        let (which, ttl_ms) = (self.random.index(3), TTLS[self.random.index(3)]);
        let table = &mut self.tables[which];
        table.note_expiry(now_ms);
        table.ttl_ms = (table.ttl_ms.0.min(ttl_ms), table.ttl_ms.1.max(ttl_ms));
        table.note_expiry(now_ms);
        let (id, options) = (table.id, (table.cold)(options(ttl_ms)));
        self.engine().alter_table(id, options)?;
        self.tables[which].ttl_ms = (ttl_ms, ttl_ms);
        Ok(())
    }

    /// In one of the next operations of one of the disks the power is lost.
    fn arrange_crash(&mut self) {
        let after = 1 + self.random.below(80);
        let disk = match &self.world.cold {
            Some(cold) if self.random.chance(1, 2) => cold,
            _ => &self.world.disk,
        };
        disk.crash_at(disk.operation_count() + after % 30);
    }

    fn is_crashed(&self) -> bool {
        self.world.disk.crashed() || self.world.cold.as_ref().is_some_and(|cold| cold.crashed())
    }

    fn note_seen(&mut self) {
        let stats = self.engine().stats();
        self.seen.cold_bytes = self.seen.cold_bytes.max(stats.cold_bytes);
        self.seen.dropped += stats.dropped_sstables;
        self.seen.moved += stats.moved_bytes;
    }

    fn policy(&mut self) -> CrashPolicy {
        let seed = self.random.below(1 << 40);
        [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed }]
            [self.random.index(3)]
    }

    fn crash(&mut self) {
        self.note_seen();
        self.process.take().expect("a process runs").kill();
        self.come_up();
        self.start();
    }

    fn reopen(&mut self) -> Result<()> {
        self.note_seen();
        let closed = self.engine().close();
        if closed.is_ok() {
            drop(self.process.take());
            self.start();
        }
        closed
    }

    /// The machine comes up again, and may be cut off once more while it does.
    fn come_up(&mut self) {
        self.seen.crashes += 1;
        if self.is_ahead() {
            // What was hidden must stay hidden, and the clock may have been a lease ahead of the
            // mark in the superblock: so far the wall is believed.
            self.lead_ms += limits::CLOCK_LEASE_MS;
        }
        let (main, cold) = (self.policy(), self.policy());
        let mut after = self.world.after(&main);
        after.cold = self.world.cold.as_ref().map(|disk| disk.crash_image(&cold));
        self.world = after;
    }

    /// Opens the store, learns what became of what was in doubt, and looks at everything.
    fn start(&mut self) {
        let process = loop {
            match self.world.open(&tiny()) {
                Ok(process) => break process,
                Err(error) => assert!(self.is_crashed(), "{}: {error}", self.context),
            }
            self.come_up();
        };
        self.process = Some(process);
        let now_ms = self.now_ms();
        let snapshot = self.engine().snapshot();
        let mut there = Vec::new();
        for index in 0..self.tables.len() {
            let info = self.engine().table(self.tables[index].name).expect("it was created");
            let table = &mut self.tables[index];
            let ttl_ms = info.options.ttl_ms.expect("each has one");
            table.ttl_ms = (ttl_ms, ttl_ms);
            for (timeline, entries) in table.timelines.iter_mut().enumerate() {
                if let Some(last) = entries.last_mut().filter(|last| last.at_ms.1 == u64::MAX) {
                    last.at_ms.1 = now_ms;
                    let latest = snapshot.latest_seq(table.id, &key(timeline)).unwrap();
                    there.push(latest == entries.len() as u64);
                    if latest + 1 == entries.len() as u64 {
                        entries.pop();
                    }
                }
            }
        }
        let whole = there.iter().all(|one| *one == there[0]);
        assert!(whole, "{}: a batch is there in part: {there:?}", self.context);
        drop(snapshot);
        self.check();
    }

    fn check(&mut self) {
        let (now_ms, context) = (self.now_ms(), &self.context);
        let engine = &self.process.as_ref().expect("a process runs").engine;
        let snapshot = engine.snapshot();
        for table in &mut self.tables {
            table.note_expiry(now_ms + self.lead_ms);
            for (timeline, entries) in table.timelines.iter().enumerate() {
                let key = key(timeline);
                let context = format!("{context}, {} {timeline} at {now_ms}", table.name);
                let scan = |direction| -> Result<Vec<(u64, Vec<u8>)>> {
                    let scan = snapshot.scan(table.id, &key, 0, u64::MAX, direction)?;
                    scan.map(|entry| entry.map(|e| (e.seq, e.payload.to_vec()))).collect()
                };
                let found = match scan(Direction::Forward) {
                    Ok(found) => found,
                    // The power is gone: there is nothing to be seen.
                    Err(_) if self.world.disk.crashed() => return,
                    Err(_) if self.world.cold.as_ref().is_some_and(|c| c.crashed()) => return,
                    Err(error) => panic!("{context}: {error}"),
                };
                let count = entries.len() as u64;
                let from = count + 1 - found.len() as u64;
                assert!(from >= table.shown_from[timeline], "{context}: {from} has come back");
                table.shown_from[timeline] = from;
                for (seq, (found_seq, payload)) in (from..).zip(&found) {
                    assert_eq!(*found_seq, seq, "{context}");
                    let entry = &entries[usize::try_from(seq).unwrap() - 1];
                    assert!(*payload == entry.payload, "{context}: another payload of {seq}");
                    let old = now_ms > entry.at_ms.1 + table.ttl_ms.1 + SLACK_MS;
                    assert!(self.jumped || !old, "{context}: {seq} has expired");
                }
                let hidden = &entries[..usize::try_from(from).unwrap() - 1];
                let lost = hidden.iter().position(|entry| !entry.may_be_hidden);
                let times = lost.map(|at| (at, hidden[at].at_ms, table.ttl_ms));
                assert_eq!(times, None, "{context}: an entry is hidden that has not expired");
                let backward = scan(Direction::Backward).map(|mut found| {
                    found.reverse();
                    found
                });
                assert!(backward.is_ok_and(|backward| backward == found), "{context}");
                assert_eq!(snapshot.latest_seq(table.id, &key).unwrap(), count, "{context}");
            }
        }
    }

    fn end(mut self) -> Seen {
        if self.is_crashed() {
            self.crash();
        }
        for disk in [Some(&self.world.disk), self.world.cold.as_ref()].into_iter().flatten() {
            disk.crash_at(u64::MAX);
        }
        self.check();
        self.reopen().unwrap_or_else(|error| panic!("{}: {error}", self.context));
        let mut inspector = Inspector::over(std::sync::Arc::new(self.world.disk.reopen()));
        if let Some(cold) = &self.world.cold {
            inspector = inspector.with_cold(std::sync::Arc::new(cold.reopen()));
        }
        assert_eq!(inspector.verify().unwrap().faults, vec![], "{}", self.context);
        self.seen
    }
}

fn live(seeds: std::ops::Range<u64>, jumps: bool) {
    let mut seen = Seen::default();
    for seed in seeds {
        let mut history = History::new(seed, seed % 3 != 0, jumps);
        for _ in 0..400 {
            history.operation();
        }
        let one = history.end();
        seen.crashes += one.crashes;
        seen.dropped += one.dropped;
        seen.moved += one.moved;
        seen.cold_bytes = seen.cold_bytes.max(one.cold_bytes);
    }
    let counts = [seen.crashes, seen.dropped, seen.moved, seen.cold_bytes];
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn nothing_is_lost_and_nothing_comes_back_over_tiers_and_crashes() {
    live(0..24, false);
}

#[test]
fn nothing_is_lost_and_nothing_comes_back_under_a_clock_that_jumps() {
    live(100..124, true);
}
