//! Groups of several batches. One thread that commits and waits makes groups of one; here futures
//! wait for the leader together.

use super::regression::{entries, entry, polled, value};
use super::world::{Process, World, tiny, tiny_stored};
use std::task::Waker;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{
    CommitFuture, Durability, Engine, ErrorKind, Options, Precondition, TableId, TableOptions,
};

/// Rounds of a history, each of which is one group or a few.
const ROUNDS: u64 = 12;

/// What was sent to one timeline, in order: so many messages, of which so many are durable.
struct Sent {
    messages: u64,
    durable: u64,
}

fn payload(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let mut bytes = vec![0; 8 + random.index(700)];
    random.fill(&mut bytes);
    bytes
}

fn options(seed: u64) -> Options {
    if seed.is_multiple_of(2) { tiny() } else { tiny_stored() }
}

/// Commits groups of up to eight batches until the end, or until the disk is gone.
fn live(process: &Process, table: TableId, seed: u64) -> Sent {
    let mut random = Random::new(seed);
    let mut sent = Sent { messages: 0, durable: 0 };
    for _ in 0..ROUNDS {
        let mut futures: Vec<(bool, CommitFuture)> = Vec::new();
        for _ in 0..1 + random.below(8) {
            let durable = random.chance(1, 3);
            let durability = if durable { Durability::Sync } else { Durability::Buffered };
            let batch = entry(table, b"t", &payload(sent.messages));
            sent.messages += 1;
            futures.push((durable, process.engine.commit_async(batch, durability)));
        }
        process.scheduler.run_until_idle(50);
        let first = sent.messages - futures.len() as u64;
        for (number, (durable, mut future)) in (first..).zip(futures) {
            match polled(&mut future, Waker::noop()) {
                Some(Ok(committed)) => {
                    assert_eq!(committed.seqs, [number + 1]);
                    if durable {
                        sent.durable = number + 1;
                    }
                }
                Some(Err(_)) => return sent,
                None => panic!("seed {seed}: a future of message {number} waits for ever"),
            }
        }
    }
    sent
}

/// Whether a store holds the front of what was sent, and all of it that is durable.
fn check(engine: &Engine, table: TableId, sent: &Sent, context: &str) -> u64 {
    let found = entries(engine, table, b"t");
    let count = found.len() as u64;
    assert!(count <= sent.messages && count >= sent.durable, "{context}: {count} entries");
    for ((seq, bytes), number) in found.iter().zip(0..) {
        assert_eq!((*seq, bytes), (number + 1, &payload(number)), "{context}");
    }
    count
}

fn start(world: &World, seed: u64) -> Option<(Process, TableId)> {
    let process = world.open(&options(seed)).ok()?;
    match process.engine.create_table("message", TableOptions::timeline()) {
        Ok(table) => Some((process, table)),
        Err(_) => {
            process.kill();
            None
        }
    }
}

#[test]
fn a_kill_behind_groups_of_several_batches_takes_none() {
    let (mut commits, mut groups) = (0, 0);
    for seed in 0..12 {
        let world = World::new(seed);
        let (process, table) = start(&world, seed).unwrap();
        let sent = live(&process, table, seed);
        let stats = process.engine.stats();
        commits += stats.commits;
        groups += stats.groups;
        process.kill();
        let world = world.after(&CrashPolicy::Kill);
        let process = world.open(&options(seed)).unwrap();
        let context = format!("seed {seed}");
        assert_eq!(check(&process.engine, table, &sent, &context), sent.messages, "{context}");
        process.kill();
    }
    assert!(commits > 3 * groups, "{commits} commits in {groups} groups");
}

#[test]
fn power_is_lost_at_every_operation_of_groups_of_several_batches() {
    for seed in 100..104 {
        let world = World::new(seed);
        let (process, table) = start(&world, seed).unwrap();
        live(&process, table, seed);
        process.kill();
        let operations = world.disk.operation_count();
        for at in 0..operations {
            let world = World::new(seed);
            world.disk.crash_at(at);
            let Some((process, table)) = start(&world, seed) else { continue };
            let sent = live(&process, table, seed);
            process.kill();
            for policy in
                [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed: at }]
            {
                let context = format!("seed {seed}, operation {at} of {operations}, {policy:?}");
                let process = world.after(&policy).open(&options(seed)).unwrap();
                check(&process.engine, table, &sent, &context);
                process.kill();
            }
        }
    }
}

/// Two batches look at the same value, and both find what they require; they wait together, and the
/// first one changes it.
#[test]
fn of_two_batches_that_require_the_same_value_one_is_refused() {
    let world = World::new(7);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let claim = |by: &[u8]| {
        let mut batch = value(table, b"k", by);
        batch.require(Precondition::Value { table, key: b"k"[..].into(), value: None });
        process.engine.commit_async(batch, Durability::Sync)
    };
    let mut futures = [claim(b"one"), claim(b"other")];
    process.scheduler.run_until_idle(50);
    let [one, other] =
        futures.each_mut().map(|future| polled(future, Waker::noop()).expect("it was led"));
    assert!(one.is_ok(), "{one:?}");
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Conflict);
    let held = process.engine.snapshot().value(table, b"k").unwrap();
    assert_eq!(held.as_deref(), Some(&b"one"[..]));
    process.kill();
}
