//! One fault: what happens under it, and what is there afterwards.

use super::trials::Trial;
use crate::prove::Counts;
use crate::prove::whole::crash_sweep::Plan;
use crate::prove::whole::reference::{Reference, Step};
use crate::prove::whole::sim::Sim;
use crate::prove::whole::world::{World, tiny, tiny_read, tiny_stored};
use crate::prove::whole::{self, draw};
use std::time::Duration;
use tidelog_engine::limits::ERASE_AFTER_MS_MIN;
use tidelog_engine::testing::{
    CrashPolicy, DiskCounts, Fault, FaultEffect, FaultTimes, Random, SimDisk,
};
use tidelog_engine::{Compression, Durability, Error, ErrorKind, Options, Result, TableOptions};

/// The workloads: those of power losses, and one that erases.
pub(super) const PLANS: [Plan; 5] = {
    let [durable, mixed, intervals, everything] = whole::PLANS;
    let erases = Plan { two_disks: false, create: erasing, count: 40, step: erase };
    [durable, mixed, intervals, everything, erases]
};
/// So many moments at which a workload is killed, before an opening that fails.
pub(super) const STOPS: usize = 3;
/// Steps of a workload on a full disk, before there is room again.
const FULL_STEPS: usize = 15;
/// Background work gets so many rounds to take writes again.
const ROUNDS_MAX: usize = 400;
/// Openings at which ids may jump, at most.
const LOSSES_MAX: u64 = 3;
const ERASE_AFTER: Duration = Duration::from_millis(ERASE_AFTER_MS_MIN);

/// What is read by calls can fail; so the longest workloads read by calls.
fn options(plan: usize) -> Options {
    [tiny_read, tiny_stored, tiny, tiny_read, tiny_read][plan]()
}

fn erasing(sim: &mut Sim) -> Result<()> {
    let lz4 = TableOptions { compression: Compression::Lz4, ..TableOptions::timeline() };
    sim.create("room", lz4.erase_after(ERASE_AFTER))?;
    sim.create("inbox", TableOptions::timeline())
}

/// Retractions among other writes, and passes that erase in between.
fn erase(sim: &mut Sim, random: &mut Random, number: usize) -> Result<()> {
    sim.commit(&draw::steps(random, &sim.reference), Durability::Sync)?;
    if let Some(place) = sim.reference.contents().some_entry(random.index(1 << 20)) {
        let retraction = Step::Amend { place, payload: None };
        sim.commit(&[retraction], Durability::Buffered)?;
    }
    let long = number % 10 == 9;
    sim.pass(if long { ERASE_AFTER_MS_MIN / 2 + 1000 } else { 20 }, random.index(20));
    if long {
        sim.erase_for(40);
    }
    Ok(())
}

/// What each disk was asked for by a whole workload, its creation included.
pub(super) fn counts_of_work(seed: u64, plan: usize) -> Vec<DiskCounts> {
    let world = PLANS[plan].world(seed);
    let ran = work(&world, plan, PLANS[plan].count, &mut |_, _| {});
    assert!(ran.error.is_none(), "nothing was arranged: {:?}", ran.error);
    let Ran { sim, .. } = ran;
    kill(&mut sim.expect("it started"));
    world.disks().into_iter().map(SimDisk::counts).collect()
}

/// What each disk was asked for by an opening.
pub(super) fn counts_of_opening(seed: u64, plan: usize, stop: usize) -> Vec<DiskCounts> {
    let (world, _) = killed(seed, plan, stop);
    let image = world.after(&CrashPolicy::Kill);
    image.open(&options(plan)).expect("nothing is arranged").kill();
    image.disks().into_iter().map(SimDisk::counts).collect()
}

/// A workload, as far as it came.
struct Ran {
    /// `None` where the store could not even be created.
    sim: Option<Sim>,
    /// The first error.
    error: Option<Error>,
    poisoned: bool,
}

/// Runs a workload. What fails is left out, until the store is poisoned.
fn work(world: &World, plan: usize, steps: usize, before: &mut dyn FnMut(&mut Sim, usize)) -> Ran {
    let context = format!("seed {}", world.seed);
    let mut sim = match Sim::start(world.clone(), options(plan), context) {
        Ok(sim) => sim,
        Err(error) => return Ran { sim: None, error: Some(error), poisoned: false },
    };
    sim.faults = true;
    let mut first = None;
    let mut note = |outcome: Result<()>| match outcome {
        Ok(()) => None,
        Err(error) => {
            let kind = error.kind();
            first.get_or_insert(error);
            Some(kind)
        }
    };
    let mut last = note((PLANS[plan].create)(&mut sim));
    let mut random = Random::new(world.seed);
    if last.is_none() {
        for number in 0..steps {
            before(&mut sim, number);
            last = note((PLANS[plan].step)(&mut sim, &mut random, number));
            if last == Some(ErrorKind::Poisoned) {
                break;
            }
            if number % 16 == 15 {
                note(sim.check());
            }
        }
    }
    let poisoned = last == Some(ErrorKind::Poisoned);
    Ran { sim: Some(sim), error: first, poisoned }
}

fn kill(sim: &mut Sim) {
    sim.held.clear();
    sim.process.take().expect("a process runs").kill();
}

/// A machine whose store was killed in the middle of a workload, and what must be there.
fn killed(seed: u64, plan: usize, stop: usize) -> (World, Reference) {
    let world = PLANS[plan].world(seed);
    let steps = PLANS[plan].count * (stop + 1) / STOPS - stop;
    let mut sim = work(&world, plan, steps, &mut |_, _| {}).sim.expect("nothing is arranged");
    kill(&mut sim);
    (world, sim.reference)
}

/// Tries one fault.
pub(super) fn run(seed: u64, trial: &Trial) -> Counts {
    let mut counts = Counts::default();
    counts.add("trials", 1);
    match *trial {
        Trial::Work { plan, disk, fault } => {
            let world = PLANS[plan].world(seed);
            world.disks()[disk].fail(fault);
            let ran = work(&world, plan, PLANS[plan].count, &mut |_, _| {});
            let errors = Allowed { fault: Some(fault), disk };
            settle(trial, plan, &world, ran, &errors, &mut counts);
        }
        Trial::Full { plan, disk, step, pages } => {
            let world = PLANS[plan].world(seed);
            let steps = (step + FULL_STEPS).min(PLANS[plan].count);
            let ran = work(&world, plan, steps, &mut |sim, number| {
                let disk = sim.world.disks()[disk];
                if number == step {
                    disk.set_capacity(Some(disk.used_bytes() + pages * 4096));
                }
            });
            let errors = Allowed { fault: None, disk };
            settle(trial, plan, &world, ran, &errors, &mut counts);
        }
        Trial::Open { plan, stop, disk, fault } => {
            let (world, reference) = killed(seed, plan, stop);
            open(trial, (plan, disk), &world, (reference, fault), &mut counts);
        }
    }
    counts
}

/// Which errors a trial may lead to.
struct Allowed {
    fault: Option<Fault>,
    disk: usize,
}

impl Allowed {
    fn check(&self, trial: &Trial, error: &Error) {
        let legal = |fault: &Fault| {
            matches!(fault.effect, FaultEffect::ShortRead | FaultEffect::ShortWrite)
        };
        assert!(!self.fault.as_ref().is_some_and(legal), "{trial:?}: {error}, of a short one");
        let typed = match error.kind() {
            ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::Poisoned => true,
            ErrorKind::ColdFile => self.disk == 1,
            _ => false,
        };
        assert!(typed, "{trial:?}: an error of another kind, {:?}: {error}", error.kind());
        assert!(!error.to_string().contains("panic"), "{trial:?}: {error}");
    }

    /// Whether something that was written may be lost although the machine lives on.
    fn loses(&self) -> bool {
        let of_sync = |fault: Fault| {
            matches!(fault.effect, FaultEffect::FailedSync(_) | FaultEffect::FullSync(_))
        };
        self.fault.is_some_and(of_sync)
    }
}

/// The faults are over: the store goes on where it may, and is whole after every end.
fn settle(
    trial: &Trial,
    plan: usize,
    world: &World,
    ran: Ran,
    allowed: &Allowed,
    counts: &mut Counts,
) {
    world.disks()[allowed.disk].clear_faults();
    world.disks()[allowed.disk].set_capacity(None);
    if let Some(error) = &ran.error {
        allowed.check(trial, error);
        counts.add("felt", 1);
    }
    let Some(mut sim) = ran.sim else {
        counts.add("not_created", 1);
        world.after(&CrashPolicy::Kill).open(&options(plan)).expect("it is created anew").kill();
        return;
    };
    sim.context = format!("{trial:?}");
    if !ran.poisoned && ran.error.is_some() {
        go_on(trial, plan, &mut sim, counts);
    }
    sim.check().unwrap_or_else(|error| panic!("{trial:?}: the faults are over, yet {error}"));
    counts.add("poisoned", u64::from(ran.poisoned));
    kill(&mut sim);
    for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
        let kept = !allowed.loses() && policy == CrashPolicy::Kill;
        finish(trial, plan, world.after(&policy), &sim.reference, kept);
        counts.add("recoveries", 1);
    }
}

/// Writes are taken again, if the store is not poisoned; otherwise none is.
fn go_on(trial: &Trial, plan: usize, sim: &mut Sim, counts: &mut Counts) {
    let mut random = Random::new(7);
    let mut last = None;
    for _ in 0..ROUNDS_MAX {
        let outcome = if sim.reference.tables.iter().any(|table| table.state.is_some()) {
            let steps = draw::steps(&mut random, &sim.reference);
            sim.commit(&steps, Durability::Sync)
        } else {
            (PLANS[plan].create)(sim)
        };
        match outcome {
            Ok(()) => {
                counts.add("went_on", 1);
                return;
            }
            Err(error) if error.kind() == ErrorKind::Poisoned => {
                counts.add("poisoned_later", 1);
                return;
            }
            Err(error) => last = Some(error),
        }
        sim.pass(100, 200);
    }
    panic!("{trial:?}: no write is taken though the faults are over: {last:?}");
}

/// Whether the disk does not even take a superblock that tells of a loss: no sync succeeds any
/// more, and what they have lost is lost to that too. In the same boot nothing tells then that
/// sequence ids were given to what is gone.
fn is_mute(trial: &Trial) -> bool {
    let (Trial::Work { fault, .. } | Trial::Open { fault, .. }) = trial else { return false };
    let of_sync = matches!(fault.effect, FaultEffect::FailedSync(_) | FaultEffect::FullSync(_));
    of_sync && fault.times == FaultTimes::Forever
}

/// What a store holds that is opened on a machine without faults. `kept`: nothing that was
/// acknowledged may be lost; ids may jump all the same, since a poisoned store forgets the boot.
fn finish(trial: &Trial, plan: usize, world: World, reference: &Reference, kept: bool) {
    let context = format!("{trial:?}, kept: {kept}");
    let process = world
        .open(&options(plan))
        .unwrap_or_else(|error| panic!("{context}: the store does not open: {error}"));
    let mut sim = Sim::resume(world, process, reference.clone(), context.clone());
    sim.options = options(plan);
    if kept {
        sim.reference.all_durable();
    }
    if is_mute(trial) {
        sim.reference.issued.clear();
    }
    let outcome = sim.recover(LOSSES_MAX).and_then(|()| {
        sim.check()?;
        if sim.reference.tables.iter().any(|table| table.state.is_some()) {
            let step = draw::send(&mut Random::new(3), &sim.reference);
            sim.commit(&[step], Durability::Sync)?;
        }
        sim.check()
    });
    outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
    sim.end();
}

/// A fault while a killed store is opened: it fails typed or opens, and nothing is lost by it.
fn open(
    trial: &Trial,
    (plan, disk): (usize, usize),
    world: &World,
    (reference, fault): (Reference, Fault),
    counts: &mut Counts,
) {
    let allowed = Allowed { fault: Some(fault), disk };
    for first in [CrashPolicy::Kill, CrashPolicy::DropAll] {
        let image = world.after(&first);
        image.disks()[disk].fail(fault);
        match image.open(&options(plan)) {
            Ok(process) => {
                let context = format!("{trial:?}, opened");
                let mut sim =
                    Sim::resume(image.clone(), process, reference.clone(), context.clone());
                sim.faults = true;
                if first == CrashPolicy::Kill && !allowed.loses() {
                    sim.reference.all_durable();
                }
                let outcome = sim.recover(LOSSES_MAX).and_then(|()| sim.check());
                if let Err(error) = outcome {
                    allowed.check(trial, &error);
                    counts.add("felt", 1);
                }
                kill(&mut sim);
            }
            Err(error) => {
                allowed.check(trial, &error);
                counts.add("felt", 1);
                counts.add("refused_openings", 1);
            }
        }
        image.disks()[disk].clear_faults();
        for then in [CrashPolicy::Kill, CrashPolicy::DropAll] {
            let killed = first == CrashPolicy::Kill && then == CrashPolicy::Kill;
            let kept = killed && !allowed.loses();
            finish(trial, plan, image.after(&then), &reference, kept);
            counts.add("recoveries", 1);
        }
    }
}
