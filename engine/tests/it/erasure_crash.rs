//! Power is lost at every disk operation of an erasing pass, and of the opening behind it: the
//! store opens, what stays is whole, and the next pass erases what is left.

use super::erasure::{
    Chat, DEADLINE, Payloads, assert_sound, finish_pass, leaks, pass_time, random,
};
use super::world::{Process, World, tiny};
use std::collections::BTreeSet;
use std::time::Duration;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{Result, Scheduler, TableOptions};

/// A machine whose process was killed when a pass was due.
fn due(world: World, tables: TableOptions) -> (World, Payloads, Vec<u64>) {
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, tables.clone(), tables);
    let (payloads, seqs) = chat.fill(engine, &mut random(world.seed));
    engine.flush().unwrap();
    pass_time(&world, &process, Duration::from_secs(200));
    chat.retract_all(engine, &seqs);
    process.kill();
    world.clock.advance(DEADLINE / 2);
    (world, payloads, seqs)
}

/// Opens the store and lets it erase, until it is done or the power is gone.
fn erase(world: &World) -> Result<()> {
    let process = world.open(&tiny())?;
    for _ in 0..20_000 {
        process.scheduler.pause(Duration::from_millis(50));
        let erasure = process.engine.stats().erasure;
        if erasure.passes > 0 || world.disk.crashed() {
            break;
        }
    }
    process.kill();
    Ok(())
}

fn check(world: &World, payloads: &Payloads, seqs: &[u64], context: &str) {
    let process: Process = world.open(&tiny()).unwrap_or_else(|e| panic!("{context}: {e}"));
    let chat = Chat::of(&process.engine);
    // Before anything more is erased, whatever was: what stays is there.
    let room = process.engine.snapshot().len(chat.rooms, b"r").unwrap();
    assert_eq!(usize::try_from(room).unwrap(), payloads.kept.len() + seqs.len(), "{context}");
    finish_pass(&process);
    pass_time(world, &process, Duration::from_secs(10));
    assert_eq!(leaks(world, payloads), BTreeSet::new(), "{context}");
    chat.check(&process.engine, payloads, seqs);
    process.engine.flush().unwrap();
    assert_sound(world);
    process.kill();
}

#[test]
fn power_is_lost_while_a_pass_erases() {
    let images = sweep(due(World::new(21), TableOptions::timeline()), 1);
    assert!(images > 100, "{images} images");
}

#[test]
fn power_is_lost_while_a_pass_erases_in_two_files() {
    let cold = TableOptions::timeline().cold_after(Duration::from_secs(60));
    let images = sweep(due(World::with_cold(22), cold), 2);
    assert!(images > 50, "{images} images");
}

/// Cuts off one in `stride` operations of the first disk; gives how many images were looked at.
fn sweep((base, payloads, seqs): (World, Payloads, Vec<u64>), stride: usize) -> usize {
    let fresh = || base.after(&CrashPolicy::Kill);
    let whole = fresh();
    erase(&whole).unwrap();
    let operations = whole.disk.operation_count();
    assert_eq!(leaks(&whole, &payloads), BTreeSet::new());
    check(&whole, &payloads, &seqs, "not cut off");
    let mut images = 0;
    for at in (0..operations).step_by(stride) {
        let world = fresh();
        world.disk.crash_at(at);
        let _ = erase(&world);
        let seed = base.seed * 1000 + at;
        let policy = match at % 3 {
            0 => CrashPolicy::DropAll,
            1 => CrashPolicy::KeepAll,
            _ => CrashPolicy::Random { seed },
        };
        let image = world.after(&policy);
        let context = format!("crash at operation {at} of {operations}, {policy:?}");
        if at % 7 == 0 {
            // Once more, in the opening or a little later.
            let again = image.after(&CrashPolicy::Kill);
            again.disk.crash_at(3 + at % 40);
            let _ = erase(&again);
            let twice = again.after(&CrashPolicy::Random { seed: seed + 1 });
            check(&twice, &payloads, &seqs, &format!("{context}, and again"));
            images += 1;
        }
        check(&image, &payloads, &seqs, &context);
        images += 1;
    }
    images
}
