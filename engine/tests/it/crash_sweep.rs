//! Power is lost at every disk operation of a small workload.
//!
//! What is simulated: operation k of the disk never returns; of everything unsynced the device
//! keeps what it likes: nothing, all, a prefix, all but one, only one, torn sectors. Why that is
//! possible in reality: drives and file systems write back in any order. What must hold afterwards:
//! the store opens, holds a prefix of the committed batches, at least all acknowledged durable
//! ones, each whole; it goes on from there; and the same once more when recovery itself is cut off.

use super::reference::{Contents, Step, Tables, commit, contents};
use super::world::{Process, World, tiny};
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{Durability, ErrorKind, Result, TableOptions};

/// What is done to a process besides the batches, behind the batch of a number.
pub(crate) type Between = fn(&World, &Process, usize) -> Result<()>;

/// Background work goes on between the commits, a few steps at a time.
fn few_steps(_: &World, process: &Process, number: usize) -> Result<()> {
    process.scheduler.run_until_idle(number % 4);
    Ok(())
}

/// A workload, and what goes on between its batches.
pub(crate) struct Plan {
    pub(crate) batches: Vec<(Vec<Step>, Durability)>,
    pub(crate) between: Between,
}

/// What the workload had reached when it was cut off.
pub(crate) struct Reached {
    tables: Option<Tables>,
    /// The contents after each batch that was tried; the first is empty.
    history: Vec<Contents>,
    /// The last batch that was acknowledged as durable.
    durable: usize,
}

/// A workload that wraps the ring, flushes and compacts: about 100 batches.
fn workload(seed: u64, batches: usize, sync_share: u64) -> Vec<(Vec<Step>, Durability)> {
    let mut random = Random::new(seed);
    let mut contents = Contents::default();
    (0..batches)
        .map(|number| {
            let mut steps = Vec::new();
            if random.chance(1, 3) {
                let payload = random.chance(2, 3).then(|| format!("edit {number}").into_bytes());
                let timeline = u8::try_from(random.below(12)).unwrap();
                steps.extend(contents.amendment(timeline, random.below(20), payload));
            }
            steps.extend((0..1 + random.below(3)).map(|_| step(&mut random, number)));
            contents.apply(&steps);
            let durability = match random.below(100) < sync_share {
                true => Durability::Sync,
                false => Durability::Buffered,
            };
            (steps, durability)
        })
        .collect()
}

fn step(random: &mut Random, number: usize) -> Step {
    let key = u8::try_from(random.below(6)).unwrap();
    let timeline = u8::try_from(random.below(12)).unwrap();
    let seq = random.below(12);
    match random.below(11) {
        8 => Step::Trim { timeline, before: seq },
        9 => Step::DeleteRange { timeline, from: 1 + seq, to: 1 + seq + random.below(4) },
        10 if seq < 4 => Step::DeleteTimeline { timeline },
        10 => Step::KeepLast { timeline },
        0 => Step::Put { key, value: vec![key; random.index(40)] },
        1 => Step::Delete { key },
        2 => Step::Add { key, amount: 3 },
        3 => Step::Max { key, value: i64::try_from(number).unwrap() },
        _ => {
            let count = 1 + random.below(4);
            let first = random.below(12);
            let timelines = (0..count).map(|n| u8::try_from((first + n * 5) % 12).unwrap());
            let mut payload = format!("message {number} ").into_bytes();
            payload.resize(payload.len() + random.index(900), b'.');
            let timelines = timelines.collect();
            match random.below(3) {
                // It is written and read back; nothing expires in a sweep.
                0 => Step::SendFor { timelines, payload, ttl_ms: 1_000_000_000 },
                _ => Step::Send { timelines, payload },
            }
        }
    }
}

pub(crate) fn run(world: &World, plan: &Plan) -> Reached {
    let mut reached = Reached { tables: None, history: vec![Contents::default()], durable: 0 };
    // The first error ends the process, whatever it was doing.
    let _ = try_run(world, plan, &mut reached);
    reached
}

fn try_run(world: &World, plan: &Plan, reached: &mut Reached) -> Result<()> {
    let process = world.open(&tiny())?;
    let outcome = (|| {
        let messages = process.engine.create_table("message", TableOptions::timeline())?;
        let values = process.engine.create_table("value", TableOptions::keyed())?;
        let tables = Tables { messages, values };
        reached.tables = Some(tables);
        for (number, (steps, durability)) in plan.batches.iter().enumerate() {
            let mut next = reached.history.last().expect("it begins with one").clone();
            next.apply(steps);
            reached.history.push(next);
            commit(&process.engine, tables, steps, *durability)?;
            if *durability == Durability::Sync {
                reached.durable = number + 1;
            }
            (plan.between)(world, &process, number)?;
        }
        process.engine.close()
    })();
    process.kill();
    outcome
}

/// Opens what is left and compares.
fn check(world: &World, reached: &Reached, all_survive: bool, context: &str) {
    let process = match world.open(&tiny()) {
        Ok(process) => process,
        Err(error) => panic!("{context}: the store does not open: {error}"),
    };
    let named = |name| process.engine.table(name).map(|table| table.id);
    let (Some(messages), Some(values)) = (named("message"), named("value")) else {
        assert!(reached.tables.is_none(), "{context}: a created table is gone");
        return process.kill();
    };
    let tables = Tables { messages, values };
    let found = contents(&process.engine, tables).unwrap_or_else(|e| panic!("{context}: {e}"));
    let least = if all_survive { reached.history.len().saturating_sub(2) } else { reached.durable };
    let least = least.min(reached.history.len() - 1);
    let place = (least..reached.history.len()).find(|at| reached.history[*at] == found);
    assert!(
        place.is_some(),
        "{context}: the contents are none of the batches {least}..{}",
        reached.history.len()
    );
    // It goes on: a new batch is committed and read, and what was there stays.
    let mut expected = found;
    let steps = [Step::Put { key: 200, value: b"after".to_vec() }];
    expected.apply(&steps);
    commit(&process.engine, tables, &steps, Durability::Sync)
        .unwrap_or_else(|error| panic!("{context}: no write after recovery: {error}"));
    let again = contents(&process.engine, tables).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(again.values, expected.values, "{context}");
    process.kill();
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

/// Sweeps all crash points of a workload; returns (crash points, images, crashes in recovery).
fn sweep(seed: u64, batches: usize, sync_share: u64, stride: usize) -> (usize, usize, usize) {
    let batches = workload(seed, batches, sync_share);
    sweep_plan(seed, &Plan { batches, between: few_steps }, stride)
}

/// The same of any plan.
pub(crate) fn sweep_plan(seed: u64, plan: &Plan, stride: usize) -> (usize, usize, usize) {
    let whole = World::new(seed);
    let reached = run(&whole, plan);
    assert_eq!(reached.history.len(), plan.batches.len() + 1, "the workload runs to its end");
    check(&whole.after(&CrashPolicy::DropAll), &reached, true, &format!("seed {seed}, closed"));
    let operations = whole.disk.operation_count();
    let (mut points, mut images, mut second) = (0, 0, 0);
    for at in (0..operations).step_by(stride) {
        let world = World::new(seed);
        world.disk.crash_at(at);
        let reached = run(&world, plan);
        points += 1;
        for policy in policies(world.disk.pending_count(), at, seed) {
            let context =
                format!("seed {seed}, crash at operation {at} of {operations}, {policy:?}");
            let image = world.after(&policy);
            let all_survive = policy == CrashPolicy::Kill;
            images += 1;
            if images % 5 == points % 5 {
                second += check_recovery_crash(&image, &reached, all_survive, at, &context);
            }
            check(&image, &reached, all_survive, &context);
        }
    }
    (points, images, second)
}

/// Cuts recovery off too, at one of its operations, and looks at what is left then.
fn check_recovery_crash(
    image: &World,
    reached: &Reached,
    all_survive: bool,
    at: u64,
    context: &str,
) -> usize {
    let again = World {
        disk: image.disk.copied(),
        cold: None,
        clock: image.clock.clone(),
        seed: image.seed,
    };
    let start = again.disk.operation_count();
    again.disk.crash_at(start + at % 29);
    match again.open(&tiny()) {
        Ok(process) => {
            process.kill();
            return 0;
        }
        Err(error) => assert_eq!(error.kind(), crashed_kind(&error), "{context}: {error}"),
    }
    let seed = at + 7;
    let policies = [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed }];
    for policy in policies {
        let context = format!("{context}, then recovery cut off at {}, {policy:?}", at % 29);
        check(&again.after(&policy), reached, all_survive, &context);
    }
    3
}

/// An opening that is cut off fails with the disk's error, or with the poison it left.
fn crashed_kind(error: &tidelog_engine::Error) -> ErrorKind {
    match error.kind() {
        ErrorKind::Poisoned => ErrorKind::Poisoned,
        _ => ErrorKind::Io,
    }
}

#[test]
fn power_is_lost_at_every_operation_of_durable_commits() {
    let (points, images, second) = sweep(1, 60, 100, 1);
    assert!(points > 100 && images > 500 && second > 100, "{points} {images} {second}");
}

#[test]
fn power_is_lost_at_operations_of_mixed_commits() {
    let (points, images, second) = sweep(2, 150, 20, 3);
    assert!(points > 50 && images > 300 && second > 100, "{points} {images} {second}");
}

#[test]
fn the_same_seed_gives_the_same_disk_operations() {
    let plan = Plan { batches: workload(3, 40, 50), between: few_steps };
    let hash = || {
        let world = World::new(3);
        run(&world, &plan);
        (world.disk.log_hash(), world.disk.operation_count())
    };
    assert_eq!(hash(), hash());
}
