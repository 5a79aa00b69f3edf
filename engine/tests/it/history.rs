//! Random histories: every operation that a store knows, over two disks that lose power at any
//! operation, in recovery too, and under a clock that jumps by a year.
//!
//! After each crash, now and then, and at the end every timeline is read in every way, and compared
//! with the reference. `histories` runs a few; see CONTRIBUTING.md for how to run many.
//!
//! What an operation does is drawn from the seed and its number alone, so a history that fails can
//! be tried with fewer of them.

use super::draw;
use super::sim::{Cold, Seen, Sim};
use super::world::{World, tiny, tiny_read, tiny_stored};
use std::time::Duration;
use tidelog_engine::limits::ERASE_AFTER_MS_MIN;
use tidelog_engine::testing::{CrashPolicy, Random, SimDisk};
use tidelog_engine::{Compression, Result, TableOptions};

/// The times to live that tables get, in milliseconds.
const TTLS: [u64; 3] = [8_000, 16_000, 40_000];
const ERASE_AFTER: Duration = Duration::from_millis(ERASE_AFTER_MS_MIN);
const YEAR_MS: i64 = 365 * 24 * 3_600_000;
/// Operations of a history.
pub(crate) const OPERATIONS: u64 = 250;
/// Snapshots that are held at once.
const HELD_MAX: usize = 3;

struct History {
    seed: u64,
    sim: Sim,
    random: Random,
    /// Whether the wall clock jumps in this history.
    jumps: bool,
    /// One commit in so many is synced.
    sync_each: u64,
}

fn options(random: &mut Random, name: &str) -> TableOptions {
    let ttl = |options: TableOptions, ms| options.ttl(Duration::from_millis(ms));
    let mut options = TableOptions::timeline();
    if random.chance(3, 4) {
        options = ttl(options, TTLS[random.index(3)]);
    }
    options = match name {
        "moving" => {
            options.cold_after(Duration::from_millis([2_000, 3_000, 6_000][random.index(3)]))
        }
        "born" => options.born_cold(),
        _ => options,
    };
    if random.chance(1, 6) {
        options = options.keep_last(5 + random.below(30));
    }
    if random.chance(1, 2) {
        options = options.erase_after(ERASE_AFTER);
    }
    options.compression = compression(random);
    options
}

fn compression(random: &mut Random) -> Compression {
    let level = [1, 3, 9][random.index(3)];
    match random.below(3) {
        0 => Compression::None,
        1 if cfg!(feature = "zstd") => Compression::Zstd { level },
        _ => Compression::Lz4,
    }
}

fn policy(random: &mut Random) -> CrashPolicy {
    let seed = random.below(1 << 40);
    [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed }][random.index(3)]
}

impl History {
    fn new(seed: u64, jumps: bool) -> History {
        let mut random = Random::new(seed);
        let world = if seed.is_multiple_of(3) { World::new(seed) } else { World::with_cold(seed) };
        let store = match random.index(3) {
            0 => tiny(),
            1 => tiny_stored(),
            _ => tiny_read(),
        };
        let context = format!("seed {seed}");
        let sim = Sim::start(world, store, context).expect("nothing is arranged yet");
        let sync_each = [2, 10, 50][random.index(3)];
        let mut history = History { seed, sim, random, jumps, sync_each };
        for name in ["moving", "born", "hot", "dropped"] {
            let options = options(&mut history.random, name);
            history.sim.create(name, options).expect("nothing is arranged yet");
        }
        history
    }

    fn operation(&mut self, number: u64) {
        self.random = Random::new(self.seed.wrapping_mul(1 << 20).wrapping_add(number));
        let drawn = self.random.below(100);
        self.sim.context = format!("seed {}, operation {number} ({drawn})", self.seed);
        let outcome = self.do_one(drawn);
        if outcome.is_err() || self.sim.is_crashed() {
            assert!(self.sim.is_crashed(), "{}: {outcome:?}", self.sim.context);
            self.crash(false);
        }
    }

    fn do_one(&mut self, drawn: u64) -> Result<()> {
        let (sim, random) = (&mut self.sim, &mut self.random);
        match drawn {
            0 | 1 => sim.flush(),
            2 => sim.compact(),
            3 => sim.sync(),
            4 | 5 => {
                let index = random.index(4);
                let options = options(random, sim.reference.tables[index].name);
                sim.alter(index, options)
            }
            6 => self.drop_or_create(),
            7 => {
                let with_cold = random.chance(2, 3);
                sim.reopen(with_cold)
            }
            8 | 9 => {
                self.arrange_crash();
                Ok(())
            }
            10 => {
                self.crash(true);
                Ok(())
            }
            11 if self.jumps => {
                // Never twice the same way: the wall is right, or a year ahead.
                sim.jump(if sim.is_ahead() { -YEAR_MS } else { YEAR_MS });
                Ok(())
            }
            12 => {
                match sim.cold {
                    Cold::Well => sim.fail_cold(random),
                    Cold::Failing | Cold::Absent => sim.mend_cold(),
                }
                Ok(())
            }
            13 | 14 => {
                sim.held.truncate(HELD_MAX - 1);
                sim.hold();
                Ok(())
            }
            15 => {
                sim.held.clear();
                Ok(())
            }
            16 => {
                if random.chance(1, 2) {
                    // In the middle of the pass, perhaps.
                    let disk = &sim.world.disk;
                    disk.crash_at(disk.operation_count() + random.below(200));
                }
                sim.erase(ERASE_AFTER);
                sim.check()
            }
            17..24 => sim.check(),
            24..44 => {
                sim.pass(50 + random.below(1_200), random.index(60));
                Ok(())
            }
            _ => {
                let steps = draw::steps(random, &sim.reference);
                let durability = draw::durability(random, self.sync_each);
                sim.commit(&steps, durability)
            }
        }
    }

    fn drop_or_create(&mut self) -> Result<()> {
        let engine = self.sim.engine();
        let sim = &mut self.sim;
        let index = sim.reference.tables.len() - 1;
        match sim.reference.tables[index].state {
            Some(_) => sim.reference.drop_table(&engine, index),
            None => sim.create("dropped", options(&mut self.random, "dropped")),
        }
    }

    /// In one of the next operations of one of the disks the power is lost.
    fn arrange_crash(&mut self) {
        let after = self.random.below(40);
        let disk: &SimDisk = match &self.sim.world.cold {
            Some(cold) if self.random.chance(1, 3) => cold,
            _ => &self.sim.world.disk,
        };
        disk.crash_at(disk.operation_count() + after);
    }

    /// The process is gone, and what comes then may be cut off too.
    fn crash(&mut self, only_kill: bool) {
        let mut chances = self.random.fork();
        let mut random = self.random.fork();
        let killed = only_kill || random.chance(1, 4);
        let mut first = true;
        let mut policies = || match std::mem::replace(&mut first, false) && killed {
            true => (CrashPolicy::Kill, CrashPolicy::Kill),
            false => (policy(&mut random), policy(&mut random)),
        };
        let mut arrange = |world: &World| {
            if chances.chance(1, 3) {
                world.disk.crash_at(world.disk.operation_count() + chances.below(30));
            }
        };
        while let Err(error) = self.sim.crash(&mut policies, &mut arrange) {
            assert!(self.sim.is_crashed(), "{}: {error}", self.sim.context);
        }
    }
}

/// Runs these operations of a history: all of [`OPERATIONS`], or those that shrinking left.
pub(crate) fn live(seed: u64, jumps: bool, operations: &[u64]) -> Seen {
    let mut history = History::new(seed, jumps);
    for number in operations {
        history.operation(*number);
    }
    if history.sim.is_crashed() {
        history.crash(false);
    }
    history.sim.context = format!("seed {seed}, at the end");
    history.sim.end()
}

/// The command that runs these operations of a history again.
pub(crate) fn command(test: &str, seed: u64, operations: &[u64]) -> String {
    let numbers: Vec<String> = operations.iter().map(u64::to_string).collect();
    let chosen = match operations.len() as u64 {
        OPERATIONS => String::new(),
        _ => format!("TIDELOG_OPERATIONS={} ", numbers.join(",")),
    };
    format!(
        "TIDELOG_SEED={seed} TIDELOG_SEEDS=1 {chosen}\
         cargo test --workspace --all-features --test it {test}"
    )
}
