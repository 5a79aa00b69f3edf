//! Whatever the caller hands in panics at its k-th call, for every k: nobody hangs, nothing that
//! was acknowledged is lost, no batch is there by half, and the store goes on or refuses writes
//! with the cause, until it is opened again.

use super::fuse::{FewThreads, Fuse, FusedClock, FusedDisk, FusedEntropy};
use super::regression::{entries, entry, polled, wait, watched};
use super::world::{Process, World, tiny};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Waker;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{SeededEntropy, SimDisk, SimOptions, SimScheduler};
use tidelog_engine::{
    Durability, Engine, Error, ErrorKind, Options, Parts, Result, Scheduler, SystemClock, TableId,
    TableOptions, ThreadScheduler, WriteBatch, limits,
};

/// Which seam burns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seam {
    Disk,
    Clock,
    Entropy,
}

/// Operations of the workload.
const OPERATIONS: u64 = 36;

/// What was acknowledged: number to sequence id.
type Acknowledged = BTreeMap<u64, u64>;

fn parts(world: &World, scheduler: Arc<dyn Scheduler>, fuse: &Arc<Fuse>, seam: Seam) -> Parts {
    let of = |wanted| if seam == wanted { Arc::clone(fuse) } else { Fuse::at(u64::MAX) };
    let seed = world.seed ^ world.disk.operation_count();
    Parts {
        disk: Arc::new(FusedDisk {
            inner: world.disk.reopen(),
            fuse: of(Seam::Disk),
            writes_from: None,
        }),
        cold: None,
        clock: Arc::new(FusedClock { inner: world.clock.clone(), fuse: of(Seam::Clock) }),
        scheduler,
        entropy: Arc::new(FusedEntropy {
            inner: SeededEntropy::new(seed),
            fuse: of(Seam::Entropy),
        }),
        name: "fused.tide".to_owned(),
    }
}

/// Two entries that belong together; now and then a large one, a trim, or one of several targets.
fn batch(table: TableId, number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    if number % 9 == 5 {
        batch = batch.with_large_from(1000);
    }
    let length = if number.is_multiple_of(3) { 2500 } else { 40 };
    let payload = [&number.to_le_bytes()[..], &vec![7; length]].concat();
    let targets = [(table, &b"left"[..]), (table, b"right")];
    batch.fan_out(targets, &payload, None, None, number % 4 == 1).unwrap();
    if number % 7 == 6 {
        batch.trim(table, b"trimmed", number).unwrap();
    }
    batch
}

/// One call whose panic, or whose refusal, is the fuse's work.
fn attempt<T>(fuse: &Fuse, context: &str, call: impl FnOnce() -> Result<T>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            assert!(fuse.burnt(), "{context}: {error}");
            assert_eq!(error.kind(), ErrorKind::Poisoned, "{context}: {error}");
            None
        }
        Err(_) => {
            assert!(fuse.burnt(), "{context}: another panic");
            None
        }
    }
}

/// Commits from a number on, flushes, compacts; returns what was acknowledged.
fn work(process: &Process, first: u64, fuse: &Fuse, context: &str) -> Acknowledged {
    let Process { engine, scheduler } = process;
    let mut acknowledged = Acknowledged::new();
    let create = || match engine.table("message") {
        Some(table) => Ok(table.id),
        None => engine.create_table("message", TableOptions::timeline()),
    };
    // The second try meets a store that goes on, or is poisoned.
    let table = attempt(fuse, context, create).or_else(|| attempt(fuse, context, create));
    let Some(table) = table else { return acknowledged };
    for number in first..first + OPERATIONS {
        let durability = [Durability::Sync, Durability::Buffered][usize::from(number % 2 == 1)];
        let committed = match number % 5 {
            4 => attempt(fuse, context, || {
                let mut future = engine.commit_async(batch(table, number), durability);
                if let Some(outcome) = polled(&mut future, Waker::noop()) {
                    return outcome;
                }
                scheduler.run_until_idle(200);
                polled(&mut future, Waker::noop()).expect("nobody answers the future")
            }),
            _ => attempt(fuse, context, || engine.commit(batch(table, number), durability)),
        };
        if let Some(committed) = committed {
            assert_eq!(committed.seqs[0], committed.seqs[1], "{context}");
            acknowledged.insert(number, committed.seqs[0]);
        }
        scheduler.run_until_idle(3);
        if number % 12 == 11 {
            attempt(fuse, context, || engine.flush());
        }
    }
    attempt(fuse, context, || engine.compact());
    // Reads go on; one of them may be what burns the fuse.
    if attempt(fuse, context, || engine.snapshot().len(table, b"left")).is_none() {
        engine.snapshot().len(table, b"left").unwrap();
    }
    look(engine, table, &acknowledged, context);
    acknowledged
}

/// Both timelines hold the same, what was acknowledged among it.
fn look(engine: &Engine, table: TableId, acknowledged: &Acknowledged, context: &str) {
    let read = |key| catch_unwind(AssertUnwindSafe(|| entries(engine, table, key)));
    let Ok(left) = read(b"left").or_else(|_| read(b"left")) else {
        panic!("{context}: a second read fails too");
    };
    let right = read(b"right").or_else(|_| read(b"right"));
    assert!(right.is_ok_and(|right| right == left), "{context}: a batch is there by half");
    let numbers = left.iter().map(|(seq, payload)| {
        let number: [u8; 8] = payload[..8].try_into().unwrap();
        (u64::from_le_bytes(number), *seq)
    });
    let found: Acknowledged = numbers.collect();
    for (number, seq) in acknowledged {
        assert_eq!(found.get(number), Some(seq), "{context}: commit {number}");
    }
}

/// Opens, works and closes over a fuse that burns at the k-th call; then opens once more. Whether
/// it has burnt.
fn once(seam: Seam, call: u64) -> bool {
    let context = format!("{seam:?}, call {call}");
    let world = World::new(call ^ 0x66_7573);
    let fuse = Fuse::at(call);
    let mut acknowledged = Acknowledged::new();
    // The second opening, over the log of the first, may be what it meets.
    for round in 0..2 {
        let context = format!("{context}, opening {round}");
        let scheduler = SimScheduler::new(world.seed, world.clock.clone());
        let shared: Arc<dyn Scheduler> = Arc::new(scheduler.clone());
        let open = || Engine::open_with(parts(&world, shared, &fuse, seam), tiny());
        let Some(engine) = attempt(&fuse, &context, open) else {
            scheduler.kill();
            break;
        };
        let process = Process { engine, scheduler };
        let mut of_round = work(&process, round * OPERATIONS, &fuse, &context);
        acknowledged.append(&mut of_round);
        if round == 1 {
            attempt(&fuse, &context, || process.engine.close());
        }
        process.kill();
    }
    let process = world.open(&tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
    if let Some(table) = process.engine.table("message") {
        look(&process.engine, table.id, &acknowledged, &context);
        process.engine.commit(batch(table.id, 1), Durability::Sync).unwrap();
    }
    assert!(acknowledged.is_empty() || process.engine.table("message").is_some(), "{context}");
    process.engine.close().unwrap();
    let report = Inspector::over(Arc::new(world.disk.reopen())).verify().unwrap();
    assert!(report.faults.is_empty(), "{context}: {:?}", report.faults);
    fuse.burnt()
}

/// Every call up to `all`, then every `step`-th, until the fuse does not burn any more.
fn sweep(seam: Seam, all: u64, step: usize) {
    watched(move || {
        let calls = (1..all).chain((all..).step_by(step));
        let last = calls.into_iter().find(|call| !once(seam, *call));
        assert!(last.is_some_and(|last| last > 2), "{seam:?} is not called");
    });
}

#[test]
fn a_disk_that_panics_at_any_call_loses_nothing_that_was_acknowledged() {
    sweep(Seam::Disk, 120, 3);
}

#[test]
fn a_clock_that_panics_at_any_call_loses_nothing_that_was_acknowledged() {
    sweep(Seam::Clock, 60, 7);
}

#[test]
fn randomness_that_panics_at_any_call_loses_nothing_that_was_acknowledged() {
    sweep(Seam::Entropy, 60, 1);
}

#[test]
fn threads_beside_a_disk_that_panics_all_return_and_the_file_is_free() {
    watched(|| {
        for round in 0..60u64 {
            let context = format!("round {round}");
            let world = World::new(round);
            let fuse = Fuse::at(20 + round * 13);
            let threads: Arc<dyn Scheduler> = Arc::new(ThreadScheduler::new());
            let mut parts = parts(&world, threads, &fuse, Seam::Disk);
            parts.clock = Arc::new(SystemClock::new());
            let Some(engine) = attempt(&fuse, &context, || Engine::open_with(parts, tiny())) else {
                continue;
            };
            let create = || engine.create_table("message", TableOptions::timeline());
            let Some(table) = attempt(&fuse, &context, create) else { continue };
            let acknowledged: Vec<u64> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..3u8)
                    .map(|writer| {
                        let (engine, fuse, context) = (&engine, &fuse, &context);
                        scope.spawn(move || {
                            let commit = |number: u64| {
                                let payload = [&number.to_le_bytes()[..], &[1; 900]].concat();
                                let batch = entry(table, &[writer], &payload);
                                match writer {
                                    2 => wait(engine.commit_async(batch, Durability::Sync)),
                                    _ => engine.commit(batch, Durability::Buffered),
                                }
                            };
                            (0..60).map_while(|n| attempt(fuse, context, || commit(n))).count()
                                as u64
                        })
                    })
                    .collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            attempt(&fuse, &context, || engine.close());
            drop(engine);
            let engine = opened_at_last(&world, &context);
            for (writer, count) in (0u8..).zip(acknowledged) {
                let found = entries(&engine, table, &[writer]).len() as u64;
                assert!(found == count || found == count + 1, "{context}: {found} of {count}");
            }
        }
    });
}

/// Opens the store again: a worker that has just ended may hold its lock a moment longer.
fn opened_at_last(world: &World, context: &str) -> Engine {
    let parts = Parts {
        disk: Arc::new(world.disk.reopen()),
        cold: None,
        clock: Arc::new(SystemClock::new()),
        scheduler: Arc::new(ThreadScheduler::new()),
        entropy: Arc::new(SeededEntropy::new(world.seed)),
        name: "threads.tide".to_owned(),
    };
    Engine::open_with(parts, tiny()).unwrap_or_else(|error| panic!("{context}: {error}"))
}

#[test]
fn a_worker_that_panics_refuses_writes_with_its_cause_and_reads_go_on() {
    let world = World::new(77);
    let fuse = Fuse::at(u64::MAX);
    let scheduler = SimScheduler::new(world.seed, world.clock.clone());
    let never = Fuse::at(u64::MAX);
    let mut parts = parts(&world, Arc::new(scheduler.clone()), &never, Seam::Entropy);
    let behind_ring = limits::RING_OFFSET + tiny().ring_bytes;
    parts.disk = Arc::new(FusedDisk {
        inner: world.disk.reopen(),
        fuse: Arc::clone(&fuse),
        writes_from: Some(behind_ring),
    });
    let engine = Engine::open_with(parts, tiny()).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    for number in 0..3u64 {
        let batch = entry(table, b"t", &number.to_le_bytes());
        engine.commit(batch, Durability::Buffered).unwrap();
    }
    fuse.light();
    let with_cause = |error: Error| match error {
        Error::Poisoned { cause } => assert!(cause.contains("tidelog-flush"), "{cause}"),
        other => panic!("{other}"),
    };
    with_cause(engine.flush().unwrap_err());
    with_cause(engine.commit(entry(table, b"t", b"x"), Durability::Sync).unwrap_err());
    let mut late = engine.commit_async(entry(table, b"t", b"x"), Durability::Sync);
    with_cause(polled(&mut late, Waker::noop()).expect("it is refused at once").unwrap_err());
    assert_eq!(entries(&engine, table, b"t").len(), 3);
    with_cause(engine.close().unwrap_err());
    drop(engine);
    scheduler.kill();
    let process = world.open(&tiny()).unwrap();
    assert_eq!(entries(&process.engine, table, b"t").len(), 3);
    process.engine.close().unwrap();
}

#[test]
fn an_opening_that_gets_no_thread_fails_and_lets_go_of_the_file() {
    watched(|| {
        let disk = SimDisk::new(SimOptions::default());
        let options = Options { memtable_bytes: 64 * 1024, ..tiny() };
        let open = |refused| {
            let inner = ThreadScheduler::new();
            let parts = Parts {
                disk: Arc::new(disk.reopen()),
                cold: None,
                clock: Arc::new(SystemClock::new()),
                scheduler: Arc::new(FewThreads { inner, wishes: AtomicU64::new(0), refused }),
                entropy: Arc::new(SeededEntropy::new(refused)),
                name: "threads.tide".to_owned(),
            };
            Engine::open_with(parts, options.clone())
        };
        for refused in 0..12 {
            // Tried again at once: those workers that were started have let go by then.
            let engine = match open(refused) {
                Ok(engine) if refused == 0 || refused > 7 => engine,
                Ok(_) => panic!("thread {refused} is not needed"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                    open(0).unwrap_or_else(|error| panic!("thread {refused}: {error}"))
                }
            };
            let table = match engine.table("message") {
                Some(table) => table.id,
                None => engine.create_table("message", TableOptions::timeline()).unwrap(),
            };
            // One of each round before.
            assert_eq!(entries(&engine, table, b"t").len() as u64, refused);
            engine.commit(entry(table, b"t", b"x"), Durability::Sync).unwrap();
        }
    });
}
