//! Power is lost at every disk operation of a small workload.
//!
//! What is simulated: operation k of a disk never returns; of everything unsynced the devices
//! keep what they like: nothing, all, a prefix, all but one, only one, torn sectors. Why that is
//! possible in reality: drives and file systems write back in any order. What must hold afterwards:
//! the store opens, holds a prefix of the committed batches, at least all acknowledged durable
//! ones, each whole; shows of them what the reference says; goes on from there; and the same once
//! more when recovery itself is cut off.

use super::draw;
use super::reference::{self, Reference, Step};
use super::sim::{Seen, Sim};
use super::world::{World, tiny, tiny_stored};
use std::time::Duration;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{Compression, Durability, ErrorKind, Options, Result, TableOptions};

/// What is done to a new store, and how often what is done to it then, with the number of the time.
pub(crate) struct Plan {
    pub(crate) two_disks: bool,
    pub(crate) create: fn(&mut Sim) -> Result<()>,
    pub(crate) count: usize,
    pub(crate) step: fn(&mut Sim, &mut Random, usize) -> Result<()>,
}

/// What a workload had reached when it ended or was cut off.
pub(crate) struct Reached {
    /// `None` where the store has not even its first table.
    pub(crate) reference: Option<Reference>,
    pub(crate) seen: Seen,
    pub(crate) is_whole: bool,
}

impl Plan {
    pub(crate) fn world(&self, seed: u64) -> World {
        if self.two_disks { World::with_cold(seed) } else { World::new(seed) }
    }

    /// Runs the workload until its end, or until the power is gone.
    pub(crate) fn run(&self, world: &World) -> Reached {
        let context = format!("seed {}", world.seed);
        let Ok(mut sim) = Sim::start(world.clone(), options(world), context) else {
            return Reached { reference: None, seen: Seen::default(), is_whole: false };
        };
        let is_whole = self.try_run(&mut sim).is_ok();
        sim.note_seen();
        sim.held.clear();
        sim.process.take().expect("nobody took it").kill();
        Reached { reference: Some(sim.reference), seen: sim.seen, is_whole }
    }

    /// The operations of each disk in a run that nothing cuts off.
    pub(crate) fn operations(&self, seed: u64) -> Vec<u64> {
        let whole = self.world(seed);
        let reached = self.run(&whole);
        assert!(reached.is_whole, "the workload runs to its end");
        check(whole.after(&CrashPolicy::DropAll), &reached, 1, &format!("seed {seed}, closed"));
        whole.disks().into_iter().map(|disk| disk.operation_count()).collect()
    }

    fn try_run(&self, sim: &mut Sim) -> Result<()> {
        (self.create)(sim)?;
        let mut random = Random::new(sim.world.seed);
        for number in 0..self.count {
            (self.step)(sim, &mut random, number)?;
        }
        sim.engine().close()?;
        sim.reference.all_durable();
        Ok(())
    }
}

/// Each life of a file has its own: unsynced commits are written in one, and stored in another.
pub(crate) fn options(world: &World) -> Options {
    if world.seed.is_multiple_of(2) { tiny() } else { tiny_stored() }
}

/// Opens what is left, compares, and goes on.
pub(crate) fn check(world: World, reached: &Reached, power_losses: u64, context: &str) {
    if let Some(mut sim) = go_on(world, reached, power_losses, context) {
        sim.process.take().expect("nobody took it").kill();
    }
}

/// The same, and gives the store that goes on; `None` where it has not even its first table.
pub(crate) fn go_on(
    world: World,
    reached: &Reached,
    power_losses: u64,
    context: &str,
) -> Option<Sim> {
    let of_store = options(&world);
    let process = match world.open(&of_store) {
        Ok(process) => process,
        Err(error) => panic!("{context}: the store does not open: {error}"),
    };
    let Some(reference) = reached.reference.clone() else {
        process.kill();
        return None;
    };
    let mut sim = Sim::resume(world, process, reference, context.to_owned());
    sim.options = of_store;
    let outcome = sim.recover(power_losses).and_then(|()| {
        sim.check()?;
        // It goes on: a new batch is committed and read, and what was there stays.
        let mut random = Random::new(sim.world.seed);
        let mut steps = vec![Step::Put { key: 200, value: b"after".to_vec() }];
        if sim.reference.tables.iter().any(|table| table.state.is_some()) {
            steps.push(draw::send(&mut random, &sim.reference));
        }
        sim.commit(&steps, Durability::Sync)?;
        sim.check()
    });
    outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
    Some(sim)
}

/// The images looked at for one crash point: the extremes always, the others in turn.
fn policies(pending: usize, at: u64, seed: u64) -> Vec<CrashPolicy> {
    let index = usize::try_from(at).unwrap() % pending.max(1);
    let in_turn = match at % 4 {
        0 => CrashPolicy::Prefix(index),
        1 => CrashPolicy::DropOne(index),
        2 => CrashPolicy::KeepOne(index),
        _ => CrashPolicy::Kill,
    };
    let seed = seed * 1000 + at;
    vec![
        CrashPolicy::DropAll,
        CrashPolicy::KeepAll,
        CrashPolicy::TearOne { index: pending.saturating_sub(1), seed },
        CrashPolicy::Random { seed },
        in_turn,
    ]
}

/// What a sweep came to: crash points, images, crashes in recovery.
pub(crate) type Swept = (usize, usize, usize);

/// Sweeps the crash points of all disks of a workload.
pub(crate) fn sweep(seed: u64, plan: &Plan, stride: usize) -> Swept {
    let mut swept = (0, 0, 0);
    for (index, operations) in plan.operations(seed).into_iter().enumerate() {
        for at in (0..operations).step_by(stride) {
            sweep_point(seed, plan, (index, at), &mut swept);
        }
    }
    swept
}

/// The power is lost at one operation of one disk.
pub(crate) fn sweep_point(seed: u64, plan: &Plan, (index, at): (usize, u64), swept: &mut Swept) {
    let world = plan.world(seed);
    world.disks()[index].crash_at(at);
    let reached = plan.run(&world);
    let context = format!("seed {seed}, disk {index}, crash at {at}");
    look_at_images(&world, &reached, (index, at), &context, swept);
}

fn look_at_images(
    world: &World,
    reached: &Reached,
    (disk, at): (usize, u64),
    context: &str,
    swept: &mut Swept,
) {
    swept.0 += 1;
    for policy in policies(world.disks()[disk].pending_count(), at, world.seed) {
        let context = format!("{context}, {policy:?}");
        let image = world.after(&policy);
        let power_losses = u64::from(policy != CrashPolicy::Kill);
        swept.1 += 1;
        if swept.1 % 5 == swept.0 % 5 {
            swept.2 += check_recovery_crash(&image, reached, (power_losses, at), &context);
        }
        check(image, reached, power_losses, &context);
    }
}

/// Cuts recovery off too, at one of its operations, and looks at what is left then. Returns how
/// many images that were; none where recovery has fewer operations.
pub(crate) fn check_recovery_crash(
    image: &World,
    reached: &Reached,
    (power_losses, at): (u64, u64),
    context: &str,
) -> usize {
    let again = image.after(&CrashPolicy::Kill);
    let start = again.disk.operation_count();
    again.disk.crash_at(start + at % 29);
    match again.open(&options(&again)) {
        Ok(process) => {
            process.kill();
            return 0;
        }
        // With the disk's error, or with the poison it left.
        Err(error) => {
            let kinds = [ErrorKind::Io, ErrorKind::Poisoned];
            assert!(kinds.contains(&error.kind()), "{context}: {error}");
        }
    }
    let seed = at + 7;
    let policies = [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed }];
    for policy in policies {
        let context = format!("{context}, then recovery cut off at {}, {policy:?}", at % 29);
        check(again.after(&policy), reached, power_losses + 1, &context);
    }
    3
}

/// Two tables that keep everything.
pub(crate) fn lasting(sim: &mut Sim) -> Result<()> {
    sim.create("chat", TableOptions::timeline())?;
    sim.create("inbox", TableOptions::timeline())
}

/// Background work goes on between the commits, a few steps at a time.
pub(crate) fn durable(sim: &mut Sim, random: &mut Random, number: usize) -> Result<()> {
    sim.commit(&draw::steps(random, &sim.reference), Durability::Sync)?;
    sim.pass(0, number % 4);
    Ok(())
}

pub(crate) fn mixed(sim: &mut Sim, random: &mut Random, number: usize) -> Result<()> {
    let durability = match random.below(12) {
        0 => Durability::Sync,
        1..7 => Durability::Interval(Duration::from_millis(random.below(20))),
        _ => Durability::Buffered,
    };
    sim.commit(&draw::steps(random, &sim.reference), durability)?;
    // Often idle, so that what is due must have been synced, and often not.
    sim.pass(4, number % 9);
    Ok(())
}

/// So little is written that nothing is synced for another reason than an interval.
pub(crate) fn intervals(sim: &mut Sim, random: &mut Random, number: usize) -> Result<()> {
    let durability = Durability::Interval(Duration::from_millis(random.below(20)));
    let key = u8::try_from(number).unwrap();
    let table = sim.reference.tables[0].state.as_ref().expect("it was created").id;
    let sent = reference::send(vec![(table, vec![key % 3])], vec![key; 40]);
    sim.commit(&[Step::Add { key: 1, amount: 1 }, sent], durability)?;
    sim.pass(4, 8);
    Ok(())
}

/// Each commit requires the value that the one before has written.
pub(crate) fn requiring(sim: &mut Sim, _: &mut Random, number: usize) -> Result<()> {
    let byte = u8::try_from(number).unwrap();
    let table = sim.reference.tables[0].state.as_ref().expect("it was created").id;
    let mut steps = reference::replace(sim.reference.contents(), 1, vec![byte; 20]).to_vec();
    steps.push(reference::send(vec![(table, vec![byte % 2])], vec![byte; 40]));
    let durability = if number.is_multiple_of(3) { Durability::Sync } else { Durability::Buffered };
    sim.commit(&steps, durability)?;
    sim.pass(0, number % 4);
    Ok(())
}

fn compressed(compression: Compression) -> TableOptions {
    TableOptions { compression, ..TableOptions::timeline() }
}

/// Tables whose windows expire, one of which moves to the cold tier before; and one that amends and
/// shares what they hold.
pub(crate) fn passing(sim: &mut Sim) -> Result<()> {
    let ttl = |options: TableOptions, seconds| options.ttl(Duration::from_secs(seconds));
    let moving = ttl(TableOptions::timeline(), 12).cold_after(Duration::from_secs(2));
    sim.create("moving", moving)?;
    sim.create("born", ttl(TableOptions::timeline(), 8).born_cold())?;
    sim.create("hot", ttl(compressed(Compression::Lz4), 5))?;
    let zstd = Compression::Zstd { level: 3 };
    sim.create("lasting", compressed(if cfg!(feature = "zstd") { zstd } else { Compression::Lz4 }))
}

/// What is written expires, moves, is amended and trimmed; and the clock jumps.
pub(crate) fn everything(sim: &mut Sim, random: &mut Random, number: usize) -> Result<()> {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    let durability = if random.chance(1, 3) { Durability::Buffered } else { Durability::Sync };
    let mut steps = draw::steps(random, &sim.reference);
    steps.push(draw::send(random, &sim.reference));
    sim.commit(&steps, durability)?;
    match number % 50 {
        20 => sim.jump(YEAR_MS),
        27 => sim.jump(-YEAR_MS),
        40 => sim.compact()?,
        _ => {}
    }
    sim.pass(80 + random.below(250), random.index(40));
    Ok(())
}
