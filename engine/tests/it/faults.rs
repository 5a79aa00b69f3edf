//! The k-th operation of the disk fails, for every k; the disk is full, and has room again.

use super::reference::{BATCH_KEY, Dump, Step, batch, send};
use super::world::{World, tiny};
use tidelog_engine::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk,
    SimOptions,
};
use tidelog_engine::{Durability, Engine, ErrorKind, Result, TableId, TableOptions};

#[derive(Clone, Copy)]
struct Tables {
    messages: TableId,
    values: TableId,
}

fn create(engine: &Engine) -> Result<Tables> {
    let messages = engine.create_table("message", TableOptions::timeline())?;
    let values = engine.create_table("value", TableOptions::keyed())?;
    Ok(Tables { messages, values })
}

/// Commits one payload to two timelines and adds to a counter; takes it in where it went well.
fn commit(engine: &Engine, tables: Tables, number: u8, acknowledged: &mut Dump) -> Result<()> {
    let targets = [number % 4, 9].map(|timeline| (tables.messages, vec![b't', timeline]));
    let payload = vec![number; 400];
    let steps = [send(targets.to_vec(), payload.clone()), Step::Add { key: 1, amount: 1 }];
    let writes = batch(tables.values, u64::from(number), &steps)?;
    let committed = engine.commit(writes, Durability::Sync)?;
    for (id, seq) in targets.into_iter().zip(committed.seqs) {
        acknowledged.timelines.entry(id).or_default().push((seq, payload.clone()));
    }
    let values = &mut acknowledged.values;
    let count =
        values.get(&vec![1]).map_or(0, |sum| i64::from_le_bytes(sum[..].try_into().unwrap()));
    values.insert(vec![1], (count + 1).to_le_bytes().to_vec());
    values.insert(BATCH_KEY.to_vec(), u64::from(number).to_le_bytes().to_vec());
    Ok(())
}

fn contents(engine: &Engine, tables: Tables) -> Result<Dump> {
    Dump::read(engine, tables.messages, tables.values)
}

/// Runs the workload, reopening after poison, and returns how many acknowledged batches there are.
fn run_with_fault(fault: Fault) -> (bool, ErrorKind) {
    let world = World::new(21);
    let process = world.open(&tiny()).unwrap();
    let tables = create(&process.engine).unwrap();
    world.disk.fail(fault);
    let mut acknowledged = Dump::default();
    let mut failure = None;
    for number in 0..80 {
        match commit(&process.engine, tables, number, &mut acknowledged) {
            Ok(_) => {
                assert!(
                    failure != Some(ErrorKind::Poisoned),
                    "{fault:?}: a poisoned store acknowledged a batch"
                );
            }
            Err(error) => failure = Some(error.kind()),
        }
        process.scheduler.run_until_idle(8);
    }
    process.kill();
    world.disk.clear_faults();
    // Killed: all that was acknowledged is there, and perhaps the batch whose fate was in doubt.
    for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
        let after = world.after(&policy);
        let process = after.open(&tiny()).unwrap_or_else(|e| panic!("{fault:?}, {policy:?}: {e}"));
        let found = contents(&process.engine, tables).unwrap();
        for (key, entries) in &acknowledged.timelines {
            assert!(
                found.timelines[key].starts_with(entries),
                "{fault:?}, {policy:?}: lost entries"
            );
        }
        commit(&process.engine, tables, 200, &mut acknowledged.clone()).unwrap();
        process.kill();
    }
    (failure.is_some(), failure.unwrap_or(ErrorKind::Closed))
}

fn sweep(operation: FaultOperation, effects: &[FaultEffect]) {
    let mut struck = 0;
    for effect in effects {
        for times in [FaultTimes::Once, FaultTimes::Forever] {
            for at in 0..60 {
                let fault = Fault { operation, at, times, effect: *effect };
                let (failed, _) = run_with_fault(fault);
                struck += usize::from(failed);
            }
        }
    }
    assert!(struck > 10, "{operation:?}: only {struck} faults were felt");
}

#[test]
fn a_failed_sync_is_never_forgotten() {
    sweep(
        FaultOperation::Sync,
        &[
            FaultEffect::FailedSync(AfterFailedSync::KeptInCache),
            FaultEffect::FailedSync(AfterFailedSync::Reverted),
            FaultEffect::FailedSync(AfterFailedSync::LostOnlyAfterCrash),
        ],
    );
}

#[test]
fn a_failed_write_is_never_forgotten() {
    sweep(FaultOperation::Write, &[FaultEffect::Error]);
}

#[test]
fn a_full_disk_loses_nothing_and_writing_resumes() {
    let disk = SimDisk::new(SimOptions::default());
    let world = World::with_disk(disk, 22);
    let process = world.open(&tiny()).unwrap();
    let tables = create(&process.engine).unwrap();
    world.disk.set_capacity(Some(world.disk.used_bytes() + 40 * 1024));
    let mut acknowledged = Dump::default();
    let mut refused = 0;
    let mut number = 0u32;
    while refused < 5 {
        let byte = u8::try_from(number % 250).unwrap();
        match commit(&process.engine, tables, byte, &mut acknowledged) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                refused += 1;
            }
        }
        number += 1;
        assert!(number < 10_000, "the disk never got full");
        process.scheduler.run_until_idle(10);
    }
    assert!(contents(&process.engine, tables).unwrap() == acknowledged, "reads go on");
    let after = world.after(&CrashPolicy::DropAll);
    world.disk.set_capacity(None);
    let mut resumed = 0;
    for _ in 0..200 {
        if commit(&process.engine, tables, 1, &mut acknowledged).is_ok() {
            resumed += 1;
        }
        world.clock.advance(std::time::Duration::from_millis(30));
        process.scheduler.run_until_idle(50);
    }
    assert!(resumed > 150, "only {resumed} of 200 commits went through after room was made");
    assert!(contents(&process.engine, tables).unwrap() == acknowledged);
    process.engine.close().unwrap();
    after.disk.set_capacity(None);
    let reopened = after.open(&tiny()).unwrap();
    assert!(contents(&reopened.engine, tables).is_ok());
}
