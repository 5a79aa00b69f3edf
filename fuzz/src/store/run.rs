//! One run: a store, and operations that are done to it and to the reference.
//!
//! An operation that fails, or during which the power goes, ends the process: then comes what was
//! left. A wall clock that has jumped ahead goes back only until the next opening, which may have
//! believed a minute of it; so what has expired stays so.

use super::draw;
use super::operation::Operation;
use super::setup::{self, TABLES};
use crate::prove::whole::draw::durability;
use crate::prove::whole::sim::{Cold, Seen, Sim};
use crate::prove::whole::world::World;
use std::collections::BTreeMap;
use tidelog_engine::Result;
use tidelog_engine::testing::{CrashPolicy, Random};

/// One commit in so many is synced.
const SYNC_EACH: u64 = 2;
/// Snapshots that are held at once.
const HELD_MAX: usize = 3;
/// Disk operations until a crash that was arranged, at most.
const CRASH_WITHIN: u64 = 12;
/// The same in an opening.
const CRASH_IN_RECOVERY_WITHIN: u64 = 30;
const HOUR_MS: i64 = 3_600_000;

/// See the module.
pub(super) struct Run {
    pub(super) sim: Sim,
    pub(super) done: Done,
    /// Whether the wall clock jumps in this run. Where it does, what is committed behind an opening
    /// may be dated hours ahead, and expires no more in it.
    jumps: bool,
    /// How far the wall clock has jumped ahead since the store was opened.
    ahead_ms: Option<i64>,
}

/// What was done, so that a run cannot be idle unseen.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) operations: BTreeMap<Operation, u64>,
    /// By their kind.
    pub(super) writes: BTreeMap<&'static str, u64>,
    /// Batches that losses of power took.
    pub(super) lost: u64,
}

impl Run {
    /// A new store, and what becomes of it.
    ///
    /// # Errors
    /// It cannot be created.
    pub(super) fn live(random: &mut Random) -> Result<Run> {
        let mut run = Run::start(random)?;
        for number in 0..20 + random.below(200) {
            run.step(random, number);
        }
        Ok(run)
    }

    fn start(random: &mut Random) -> Result<Run> {
        let (world, options) = (setup::world(random), setup::options(random));
        let mut sim = Sim::start(world, options, "a new store".to_owned())?;
        for name in TABLES {
            sim.create(name, setup::table(random, name))?;
        }
        let (jumps, ahead_ms) = (random.chance(1, 4), None);
        Ok(Run { sim, done: Done::default(), jumps, ahead_ms })
    }

    /// Closes the store, opens it again, looks at everything once more, and verifies the files.
    pub(super) fn end(mut self) -> Seen {
        self.sim.context.push_str(", at the end");
        self.sim.end()
    }

    fn step(&mut self, random: &mut Random, number: u64) {
        let operation = match Operation::draw(random) {
            Operation::Jump if !self.jumps => Operation::Wait,
            drawn => drawn,
        };
        self.sim.context = format!("step {number}, {operation:?}");
        *self.done.operations.entry(operation).or_default() += 1;
        let outcome = self.perform(operation, random);
        if self.is_cut_off(&outcome) {
            self.recover(random);
        }
    }

    fn perform(&mut self, operation: Operation, random: &mut Random) -> Result<()> {
        let sim = &mut self.sim;
        match operation {
            Operation::Commit => return self.commit(random),
            Operation::Work => sim.pass(0, random.index(40)),
            Operation::Wait => sim.pass(random.below(5_000), random.index(60)),
            Operation::Jump => self.jump(random),
            Operation::Flush => return sim.flush(),
            Operation::Compact => return sim.compact(),
            Operation::Sync => return sim.sync(),
            Operation::Check => return sim.check(),
            Operation::Hold => {
                sim.held.truncate(HELD_MAX - 1);
                sim.hold();
            }
            Operation::Alter => {
                let index = random.index(TABLES.len());
                return sim.alter(index, setup::table(random, TABLES[index]));
            }
            Operation::DropOrCreate => return self.drop_or_create(random),
            Operation::Cold => match sim.cold {
                Cold::Well => sim.fail_cold(random),
                Cold::Failing | Cold::Absent => sim.mend_cold(),
            },
            Operation::Reopen => {
                self.ahead_ms = None;
                return sim.reopen(random.chance(2, 3));
            }
            Operation::Crash => self.crash(random),
        }
        Ok(())
    }

    fn commit(&mut self, random: &mut Random) -> Result<()> {
        let steps = draw::batch(random, &self.sim.reference);
        let outcome = self.sim.commit(&steps, durability(random, SYNC_EACH));
        if outcome.is_ok() {
            for step in &steps {
                *self.done.writes.entry(draw::kind(step)).or_default() += 1;
            }
        }
        outcome
    }

    fn drop_or_create(&mut self, random: &mut Random) -> Result<()> {
        let engine = self.sim.engine();
        let (index, name) = (TABLES.len() - 1, TABLES[TABLES.len() - 1]);
        match self.sim.reference.tables[index].state {
            Some(_) => self.sim.reference.drop_table(&engine, index),
            None => self.sim.create(name, setup::table(random, name)),
        }
    }

    fn jump(&mut self, random: &mut Random) {
        let by_ms = match self.ahead_ms.take() {
            Some(ahead_ms) => -ahead_ms,
            None => {
                let hours = i64::try_from(1 + random.below(24)).expect("it is at most a day");
                self.ahead_ms = Some(hours * HOUR_MS);
                hours * HOUR_MS
            }
        };
        self.sim.jump(by_ms);
    }

    /// Whether the power is gone; nothing else may go wrong.
    fn is_cut_off(&self, outcome: &Result<()>) -> bool {
        let crashed = self.sim.is_crashed();
        assert!(crashed || outcome.is_ok(), "{}: {outcome:?}", self.sim.context);
        crashed
    }

    /// The process is gone in the middle of commits and of what the workers do, or between.
    fn crash(&mut self, random: &mut Random) {
        let disk = match &self.sim.world.cold {
            Some(cold) if random.chance(1, 3) => cold,
            _ => &self.sim.world.disk,
        };
        disk.crash_at(disk.operation_count() + random.below(CRASH_WITHIN));
        while random.chance(5, 6) {
            let outcome = self.commit(random);
            if self.is_cut_off(&outcome) {
                break;
            }
            self.sim.pass(0, random.index(6));
            if self.sim.is_crashed() {
                break;
            }
        }
        self.recover(random);
    }

    /// The process is gone, alone or with the machine; the openings that follow may be cut off too.
    fn recover(&mut self, random: &mut Random) {
        let before = self.sim.reference.contents().batch;
        let (mut chances, mut random) = (random.fork(), random.fork());
        let killed = random.chance(1, 3);
        let mut policies = || match killed {
            true => (CrashPolicy::Kill, CrashPolicy::Kill),
            false => (policy(&mut random), policy(&mut random)),
        };
        let mut arrange = |world: &World| {
            if chances.chance(1, 3) {
                let after = chances.below(CRASH_IN_RECOVERY_WITHIN);
                world.disk.crash_at(world.disk.operation_count() + after);
            }
        };
        while let Err(error) = self.sim.crash(&mut policies, &mut arrange) {
            assert!(self.sim.is_crashed(), "{}: {error}", self.sim.context);
        }
        self.ahead_ms = None;
        self.done.lost += before.saturating_sub(self.sim.reference.contents().batch);
    }
}

/// What a loss of power leaves of what was not synced.
fn policy(random: &mut Random) -> CrashPolicy {
    let index = random.index(8);
    match random.below(10) {
        0 => CrashPolicy::DropAll,
        1 => CrashPolicy::KeepAll,
        2 => CrashPolicy::Prefix(index),
        3 => CrashPolicy::DropOne(index),
        4 => CrashPolicy::KeepOne(index),
        5 => CrashPolicy::LengthsAlone,
        6 => CrashPolicy::BytesAlone,
        _ => CrashPolicy::Random { seed: random.next_u64() },
    }
}
