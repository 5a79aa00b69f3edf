//! Defects that were found and mended, each with its story: none may come back.
//!
//! Tests over real threads run under a watchdog, since what they guard against is waiting for ever.

use super::hooked_disk::{Hook, HookedDisk};
use super::world::{Process, START_MS, World, tiny};
use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk,
    SimOptions, SimScheduler,
};
use tidelog_engine::{
    Clock, CommitFuture, Committed, Direction, Durability, Engine, Error, ErrorKind, Options,
    Origin, Parts, Precondition, Result, SeededEntropy, Sequence, SystemClock, TableId,
    TableOptions, ThreadScheduler, WriteBatch, limits,
};

/// A batch of one entry.
fn entry(table: TableId, key: &[u8], payload: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    batch
}

/// A batch of one value.
fn value(table: TableId, key: &[u8], value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(table, key, value).unwrap();
    batch
}

fn append(engine: &Engine, table: TableId, key: &[u8], payload: &[u8]) -> u64 {
    engine.commit(entry(table, key, payload), Durability::Sync).unwrap().seqs[0]
}

/// All entries of a timeline.
fn entries(engine: &Engine, table: TableId, key: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let scan = engine.snapshot().scan(table, key, 0, u64::MAX, Direction::Forward).unwrap();
    scan.map(|entry| entry.unwrap()).map(|entry| (entry.seq, entry.payload.to_vec())).collect()
}

/// Fails a test that hangs. Its threads are left behind, since nothing can end them.
#[expect(clippy::disallowed_methods, reason = "a test that waits for ever must fail instead")]
pub(crate) fn watched(test: impl FnOnce() + Send + 'static) {
    let (done, waiting) = channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    // Far above what any of them takes, also on a machine that does much else.
    match waiting.recv_timeout(Duration::from_secs(240)) {
        Err(RecvTimeoutError::Timeout) => panic!("somebody waits for ever"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// A store over a simulated disk, with real threads and a real clock.
fn threaded(disk: &SimDisk, options: &Options, hook: Hook) -> Result<Engine> {
    let hooked = HookedDisk { inner: disk.reopen(), ring_bytes: options.ring_bytes, hook };
    let parts = Parts {
        disk: Arc::new(hooked),
        cold: None,
        clock: Arc::new(SystemClock::new()),
        scheduler: Arc::new(ThreadScheduler::new()),
        entropy: Arc::new(SeededEntropy::new(disk.operation_count())),
        name: "threaded.tide".to_owned(),
    };
    Engine::open_with(parts, options.clone())
}

/// A store of a simulated process whose writes to the log are announced.
fn hooked(world: &World, hook: Hook) -> Process {
    let scheduler = SimScheduler::new(world.seed, world.clock.clone());
    let disk = HookedDisk { inner: world.disk.reopen(), ring_bytes: tiny().ring_bytes, hook };
    let parts = Parts {
        disk: Arc::new(disk),
        cold: None,
        clock: Arc::new(world.clock.clone()),
        scheduler: Arc::new(scheduler.clone()),
        entropy: Arc::new(SeededEntropy::new(world.seed)),
        name: "hooked.tide".to_owned(),
    };
    Process { engine: Engine::open_with(parts, tiny()).unwrap(), scheduler }
}

fn no_hook() -> Hook {
    Arc::new(|| {})
}

fn polled(future: &mut CommitFuture, waker: &Waker) -> Option<Result<Committed>> {
    match Pin::new(future).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// The smallest executor.
fn wait(mut future: CommitFuture) -> Result<Committed> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    loop {
        if let Some(outcome) = polled(&mut future, &waker) {
            return outcome;
        }
        // Long, so that a wake-up that never comes is found by the watchdog.
        std::thread::park_timeout(Duration::from_secs(60));
    }
}

#[test]
fn an_origin_with_a_key_beyond_the_limit_is_refused() {
    // Story: the batch checked the keys of its targets, not that of its origin. An origin's key of
    // 1,025 bytes went to the log, where the decoder refuses it: the store could not be opened any
    // more. One of 65,536 bytes did not even fit its length field.
    let world = World::new(101);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(&process.engine, table, b"t", b"before");
    let send = |batch: &mut WriteBatch, length: usize| {
        let origin = Origin { table, key: vec![b'o'; length].into(), seq: 1 };
        batch.fan_out([(table, &b"t"[..])], b"payload", None, Some(&origin), false)
    };
    let mut batch = WriteBatch::new();
    for (length, kind) in [
        (0, ErrorKind::InvalidUse),
        (limits::KEY_LENGTH_MAX + 1, ErrorKind::TooLarge),
        (1 << 16, ErrorKind::TooLarge),
    ] {
        assert_eq!(send(&mut batch, length).unwrap_err().kind(), kind, "{length} bytes");
        assert!(batch.is_empty(), "a refused message leaves nothing behind");
    }
    send(&mut batch, limits::KEY_LENGTH_MAX).unwrap();
    process.engine.commit(batch, Durability::Sync).unwrap();
    process.kill();
    let process = world.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
    let newest = process.engine.snapshot().latest(table, b"t").unwrap().unwrap();
    assert_eq!(newest.origin.unwrap().key.len(), limits::KEY_LENGTH_MAX);
}

#[test]
fn the_longest_timeline_ids_survive_flush_compaction_and_reopening() {
    // Story: the state table keeps a timeline's id behind the 4 bytes of its table's. The catalog
    // held that key to the limit of a user's key, so the first flush of an id of 1,021 bytes was an
    // impossible edit, for ever.
    let world = World::new(102);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    let ids: Vec<Vec<u8>> = (1020..=1024).map(|length| vec![b'i'; length]).collect();
    let write = |process: &Process, seq: u64| {
        for id in &ids {
            assert_eq!(append(&process.engine, table, id, b"x"), seq, "{} bytes", id.len());
        }
    };
    write(&process, 1);
    process.engine.flush().unwrap();
    write(&process, 2);
    process.engine.compact().unwrap();
    write(&process, 3);
    process.kill();
    let after = world.after(&CrashPolicy::Kill);
    let process = after.open(&tiny()).unwrap();
    for id in &ids {
        assert_eq!(entries(&process.engine, table, id).len(), 3);
    }
    write(&process, 4);
    process.engine.close().unwrap();
    drop(process);
    write(&after.open(&tiny()).unwrap(), 5);
    let report = Inspector::over(Arc::new(after.disk.reopen())).verify().unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[test]
fn a_manifest_without_room_is_no_reason_to_refuse_writes_for_ever() {
    // Story: a root change may find no room for a new manifest extent. Nothing has been written
    // then that a root names, so the change may be tried again; and what the failed flush has put
    // out must be free again, or every try would eat a piece of the disk.
    let world = World::new(103);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    // Many long names make a base record that needs more contiguous room than a small SSTable.
    let create =
        |number: u64| engine.create_table(&format!("{number:0>128}"), TableOptions::timeline());
    let tables: Vec<_> = (0..900).map(|number| create(number).unwrap()).collect();
    let table = tables[0];
    // Data until nothing fits any more, then edits until a base is due.
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    let mut written = 0;
    while engine.flush().is_ok() {
        written = append(engine, table, b"t", &[7; 600]);
        assert!(written < 1000, "the disk never got full");
    }
    let error = (900..1000).find_map(|number| create(number).err()).unwrap();
    assert!(matches!(error, Error::NoSpace { what: "a manifest extent", .. }), "{error}");
    // Room for what a flush puts out, but not for a base.
    world.disk.set_capacity(Some(world.disk.used_bytes() + 64 * 1024));
    let mut refused = 0;
    for attempt in 0..40 {
        // What older roots held may make room in the end.
        let Err(error) = engine.flush() else { break };
        let starved = matches!(error, Error::NoSpace { what: "a manifest extent", .. });
        assert!(starved, "attempt {attempt}, what the others put out is not free again: {error}");
        refused += 1;
        world.clock.advance(Duration::from_millis(50));
    }
    assert!(refused > 0, "a base found room");
    world.disk.set_capacity(None);
    engine.flush().unwrap();
    assert_eq!(append(engine, table, b"t", b"after"), written + 1);
    process.kill();
    let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
    assert_eq!(process.engine.snapshot().len(table, b"t").unwrap(), written + 1);
}

#[test]
fn a_refused_log_is_refused_again() {
    // Story: recovery flushes what it replays, and each flush writes a superblock. Its synced
    // position was that of the log being begun, lower than what was known. So an opening that met
    // damage behind the first flush refused it, and the next one took the same damage for a torn
    // tail and cut acknowledged entries off. By now recovery reads all of the log, for what it
    // names, before it writes anything: such an opening changes nothing.
    let world = World::new(104);
    let process = world.open(&Options { memtable_bytes: 1 << 20, ..tiny() }).unwrap();
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..55 {
        append(&process.engine, table, b"t", &[9; 900]);
    }
    // Its superblock is the only one that knows the last group to be synced.
    process.engine.create_table("late", TableOptions::timeline()).unwrap();
    assert_eq!(process.engine.stats().flushes, 0, "all of it is in the log");
    process.kill();
    let world = world.after(&CrashPolicy::Kill);
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let synced = inspector.root().unwrap().synced_lsn;
    let last = inspector.log().unwrap().groups.last().unwrap().offset;
    world.disk.flip_bit(last + 100, 3);
    for attempt in 1..=3 {
        let refused = world.open(&tiny()).err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::Corruption), "opening {attempt}");
        let root = inspector.root().unwrap();
        assert!(root.synced_lsn >= synced, "it fell from {synced} to {}", root.synced_lsn);
        assert_eq!(root.commit, 0, "nothing was flushed before all of the log was read");
    }
}

/// What meets the failed sync.
#[derive(Debug, Clone, Copy)]
enum Meets {
    Sync,
    Commit,
    Interval,
    Flush,
    CreateTable,
}

/// A reader has seen entry 5; a sync fails, and the process ends but not the machine.
fn seen_is_not_given_out_again(after: AfterFailedSync, meets: Meets) {
    let name = format!("{after:?}, {meets:?}");
    let world = World::new(106);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    for seq in 1..=5u64 {
        let durability = if seq < 3 { Durability::Sync } else { Durability::Buffered };
        engine.commit(entry(table, b"t", &seq.to_le_bytes()), durability).unwrap();
    }
    let seen = entries(engine, table, b"t");
    assert_eq!(seen.len(), 5);
    let effect = FaultEffect::FailedSync(after);
    let (operation, times) = (FaultOperation::Sync, FaultTimes::Once);
    world.disk.fail(Fault { operation, at: 0, times, effect });
    let failed = match meets {
        Meets::Sync => engine.sync().is_err(),
        Meets::Commit => engine.commit(entry(table, b"o", b""), Durability::Sync).is_err(),
        Meets::Flush => engine.flush().is_err(),
        Meets::CreateTable => engine.create_table("x", TableOptions::keyed()).is_err(),
        Meets::Interval => {
            let delay = Duration::from_millis(5);
            engine.commit(entry(table, b"o", b""), Durability::Interval(delay)).unwrap();
            world.clock.advance(delay * 2);
            process.scheduler.run_until_idle(20);
            engine.commit(entry(table, b"o", b""), Durability::Buffered).is_err()
        }
    };
    assert!(failed, "{name}: the failure was not told");
    process.kill();
    for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
        let world = world.after(&policy);
        let process = world.open(&tiny()).unwrap_or_else(|e| panic!("{name}, {policy:?}: {e}"));
        let found = entries(&process.engine, table, b"t");
        assert!(seen.starts_with(&found) && found.len() >= 2, "{name}, {policy:?}: {found:?}");
        let next = append(&process.engine, table, b"t", b"after");
        let lost = found.len() < seen.len();
        assert!(next > 5, "{name}, {policy:?}: {next} had been seen");
        assert!(!lost || next > limits::UNSYNCED_ENTRIES_MAX, "{name}, {policy:?}: no epoch");
        process.kill();
    }
}

#[test]
fn a_failed_sync_of_the_log_never_gives_a_seen_seq_out_again() {
    // Story: after a failed sync the kernel may drop the pages it could not write. The store was
    // poisoned, but reopening it in the same boot believed that a mere kill loses nothing: what
    // readers had seen under Buffered was gone, and its sequence ids were given out again.
    for after in [AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash] {
        for meets in [Meets::Sync, Meets::Commit, Meets::Interval] {
            seen_is_not_given_out_again(after, meets);
        }
    }
}

#[test]
fn a_failed_sync_of_a_root_never_gives_a_seen_seq_out_again() {
    // Story: as above; the sync before a superblock covers the log as well.
    for after in [AfterFailedSync::Reverted, AfterFailedSync::LostOnlyAfterCrash] {
        for meets in [Meets::Flush, Meets::CreateTable] {
            seen_is_not_given_out_again(after, meets);
        }
    }
}

/// Commits until the store is closed; returns how many commits went well.
fn commit_until_closed(engine: &Engine, table: TableId, thread: u64) -> u64 {
    for number in 0u64.. {
        let batch = entry(table, &thread.to_le_bytes(), &number.to_le_bytes());
        let durability = if thread < 2 { Durability::Sync } else { Durability::Buffered };
        let outcome = match thread % 2 {
            0 => engine.commit(batch, durability),
            _ => wait(engine.commit_async(batch, durability)),
        };
        match outcome {
            Ok(committed) => assert_eq!(committed.seqs, [number + 1]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                return number;
            }
        }
    }
    unreachable!("the store is closed sooner");
}

#[test]
fn commits_beside_close_are_acknowledged_and_kept_or_refused() {
    // Story: a commit that had passed the check before `close` was pushed after the last leader had
    // gone: its caller waited for ever, or it was committed behind the last flush and its
    // acknowledgement was given while the workers went away.
    watched(|| {
        for round in 0..150u64 {
            let disk = SimDisk::new(SimOptions::default());
            let engine = threaded(&disk, &tiny(), no_hook()).unwrap();
            let table = engine.create_table("message", TableOptions::timeline()).unwrap();
            let acknowledged: Vec<u64> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|thread| {
                        let engine = engine.clone();
                        scope.spawn(move || commit_until_closed(&engine, table, thread))
                    })
                    .collect();
                std::thread::park_timeout(Duration::from_micros(round % 10 * 200));
                engine.close().unwrap();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            drop(engine);
            let engine = threaded(&disk, &tiny(), no_hook()).unwrap();
            for (thread, count) in (0u64..).zip(acknowledged) {
                let kept = engine.snapshot().len(table, &thread.to_le_bytes()).unwrap();
                assert_eq!(kept, count, "round {round}, thread {thread}");
            }
        }
    });
}

/// A clock that holds the threads back that ask to be held, once each.
struct HoldingClock {
    inner: SystemClock,
    held: Arc<AtomicU64>,
    released: Arc<AtomicBool>,
}

thread_local! {
    static HELD_BACK: Cell<bool> = const { Cell::new(false) };
}

impl Clock for HoldingClock {
    fn wall_ms(&self) -> u64 {
        if HELD_BACK.replace(false) {
            self.held.fetch_add(1, Ordering::SeqCst);
            while !self.released.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_micros(50));
            }
        }
        self.inner.wall_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.inner.monotonic_ms()
    }
}

/// Commits that were let in are pushed when `close` has returned; each gets an answer.
fn late_commits(asynchronous: fn(u64) -> bool) {
    let disk = SimDisk::new(SimOptions::default());
    let (held, released) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (inner, counted, gate) = (SystemClock::new(), Arc::clone(&held), Arc::clone(&released));
    let parts = Parts {
        disk: Arc::new(disk.reopen()),
        cold: None,
        clock: Arc::new(HoldingClock { inner, held: counted, released: gate }),
        scheduler: Arc::new(ThreadScheduler::new()),
        entropy: Arc::new(SeededEntropy::new(1)),
        name: "late.tide".to_owned(),
    };
    let engine = Engine::open_with(parts, tiny()).unwrap();
    let options = TableOptions::keyed().ttl(Duration::from_secs(9));
    let table = engine.create_table("value", options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let engine = &engine;
            scope.spawn(move || {
                let mut batch = value(table, b"k", &thread.to_le_bytes());
                // The engine asks for the time to look at the value: behind its check for `close`.
                let key = b"nothing"[..].into();
                batch.require(Precondition::Value { table, key, value: None });
                HELD_BACK.set(true);
                let outcome = match asynchronous(thread) {
                    true => wait(engine.commit_async(batch, Durability::Sync)),
                    false => engine.commit(batch, Durability::Sync),
                };
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
            });
        }
        while held.load(Ordering::SeqCst) < 6 {
            std::thread::park_timeout(Duration::from_micros(50));
        }
        engine.close().unwrap();
        released.store(true, Ordering::SeqCst);
    });
}

#[test]
fn commits_pushed_behind_close_are_refused() {
    // Story: as above, without luck. Later: a future pushed while somebody refused others behind
    // the close was left to a worker that had ended, and waited for ever.
    for asynchronous in [|_| true, |_| false, |thread| thread % 2 == 0] {
        watched(move || (0..100).for_each(|_| late_commits(asynchronous)));
    }
}

#[test]
fn an_asynchronous_commit_behind_a_tired_leader_is_led() {
    // Story: a leader serves a few groups and gives leadership away. The worker that leads for
    // futures had been woken by the push, had found somebody leading, and slept again: a future
    // pushed during the last group waited until somebody else committed.
    let world = World::new(107);
    let cell: Arc<OnceLock<(Engine, TableId, SimScheduler)>> = Arc::default();
    let futures: Arc<Mutex<Vec<CommitFuture>>> = Arc::default();
    let hook: Hook = Arc::new({
        let (cell, futures) = (Arc::clone(&cell), Arc::clone(&futures));
        move || {
            let Some((engine, table, scheduler)) = cell.get() else { return };
            let mut futures = futures.lock().unwrap();
            if futures.len() < limits::LEADER_GROUPS_MAX {
                futures.push(engine.commit_async(entry(*table, b"t", b"async"), Durability::Sync));
                scheduler.run_until_idle(20);
            }
        }
    });
    let process = hooked(&world, hook);
    let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
    assert!(cell.set((process.engine.clone(), table, process.scheduler.clone())).is_ok());
    assert_eq!(append(&process.engine, table, b"t", b"sync"), 1);
    process.scheduler.run_until_idle(50);
    let futures = std::mem::take(&mut *futures.lock().unwrap());
    assert_eq!(futures.len(), limits::LEADER_GROUPS_MAX);
    for (seq, mut future) in (2..).zip(futures) {
        let outcome = polled(&mut future, Waker::noop()).expect("nobody leads the last future");
        assert_eq!(outcome.unwrap().seqs, [seq]);
    }
    // The cell holds an engine that would keep its own disk.
    process.kill();
}

#[test]
fn asynchronous_commits_beside_synchronous_ones_are_led() {
    // Story: as above, by chance.
    watched(|| {
        let disk = SimDisk::new(SimOptions::default());
        let engine = threaded(&disk, &Options { ring_bytes: 1 << 20, ..tiny() }, no_hook());
        let engine = engine.unwrap();
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (engine, stop) = (&engine, &stop);
            let asynchronous = scope.spawn(move || {
                for number in 1..=3000 {
                    let batch = entry(table, b"async", b"");
                    let committed = wait(engine.commit_async(batch, Durability::Buffered));
                    assert_eq!(committed.unwrap().seqs, [number]);
                }
                stop.store(true, Ordering::Relaxed);
            });
            for number in 1..u64::MAX {
                let batch = entry(table, b"sync", b"");
                let committed = engine.commit(batch, Durability::Buffered).unwrap();
                assert_eq!(committed.seqs, [number]);
                // Without a pause now and then nobody would miss the wake-up: the next one leads.
                if stop.load(Ordering::Relaxed) || asynchronous.is_finished() {
                    break;
                }
                if number % 3 == 0 {
                    std::thread::park_timeout(Duration::from_micros(300));
                }
            }
        });
    });
}

/// A hook that does something once, when armed.
fn once(armed: &Arc<AtomicBool>, action: impl Fn() + Send + Sync + 'static) -> Hook {
    let armed = Arc::clone(armed);
    Arc::new(move || {
        if armed.swap(false, Ordering::SeqCst) {
            action();
        }
    })
}

#[test]
fn a_leader_that_panics_completes_its_group() {
    // Story: the slots that a leader had taken died with it, and whoever waited for them waited for
    // ever.
    let world = World::new(108);
    let armed = Arc::new(AtomicBool::new(false));
    let process = hooked(&world, once(&armed, || panic!("a defect in the leader")));
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    append(engine, table, b"t", b"kept");
    let mut future = engine.commit_async(entry(table, b"t", b"async"), Durability::Sync);
    armed.store(true, Ordering::SeqCst);
    let commit = || engine.commit(entry(table, b"t", b"sync"), Durability::Sync);
    assert!(catch_unwind(AssertUnwindSafe(commit)).is_err(), "the leader's own caller panics");
    let outcome = polled(&mut future, Waker::noop()).expect("the group was completed");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(commit().unwrap_err().kind(), ErrorKind::Poisoned);
    process.kill();
    let process = world.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
    assert_eq!(entries(&process.engine, table, b"t"), [(1, b"kept".to_vec())]);
}

#[test]
fn a_future_behind_a_leader_that_panics_is_refused() {
    // Story: as above; the future came while the group was written, and the worker that leads for
    // futures had looked and gone to sleep already.
    let world = World::new(109);
    let armed = Arc::new(AtomicBool::new(false));
    let cell: Arc<OnceLock<(Engine, TableId, SimScheduler)>> = Arc::default();
    let late: Arc<Mutex<Option<CommitFuture>>> = Arc::default();
    let (shared, future) = (Arc::clone(&cell), Arc::clone(&late));
    let action = move || {
        let (engine, table, scheduler) = shared.get().unwrap();
        let pushed = engine.commit_async(entry(*table, b"t", b"late"), Durability::Sync);
        *future.lock().unwrap() = Some(pushed);
        scheduler.run_until_idle(20);
        panic!("a defect in the leader");
    };
    let process = hooked(&world, once(&armed, action));
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    assert!(cell.set((engine.clone(), table, process.scheduler.clone())).is_ok());
    armed.store(true, Ordering::SeqCst);
    let commit = || engine.commit(entry(table, b"t", b"sync"), Durability::Sync);
    assert!(catch_unwind(AssertUnwindSafe(commit)).is_err());
    process.scheduler.run_until_idle(20);
    let mut future = late.lock().unwrap().take().unwrap();
    let outcome = polled(&mut future, Waker::noop()).expect("nobody refuses the future");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
    process.kill();
}

#[test]
fn callers_beside_a_leader_that_panics_all_return() {
    // Story: as above, with callers that sleep.
    watched(|| {
        for round in 0..30 {
            let disk = SimDisk::new(SimOptions::default());
            let writes = Arc::new(AtomicU64::new(u64::MAX / 2));
            let counted = Arc::clone(&writes);
            let hook: Hook = Arc::new(move || match counted.fetch_add(1, Ordering::SeqCst) {
                // The others queue up meanwhile: they are the group that the panic meets.
                0 => std::thread::park_timeout(Duration::from_millis(5)),
                1 => panic!("a defect in the leader"),
                _ => {}
            });
            let engine = threaded(&disk, &tiny(), hook).unwrap();
            let table = engine.create_table("message", TableOptions::timeline()).unwrap();
            writes.store(0, Ordering::SeqCst);
            let panics = AtomicU64::new(0);
            std::thread::scope(|scope| {
                for thread in 0..6u64 {
                    let (engine, panics) = (&engine, &panics);
                    scope.spawn(move || {
                        let batch = entry(table, &thread.to_le_bytes(), b"");
                        let commit = AssertUnwindSafe(|| engine.commit(batch, Durability::Sync));
                        match catch_unwind(commit) {
                            Ok(Ok(_)) => {}
                            Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::Poisoned),
                            Err(_) => _ = panics.fetch_add(1, Ordering::Relaxed),
                        }
                    });
                }
            });
            assert_eq!(panics.load(Ordering::Relaxed), 1, "round {round}");
        }
    });
}

#[test]
fn a_full_disk_gets_the_room_of_compacted_sstables_back() {
    // Story: a freed extent may be written again two superblocks later. On a full disk no flush
    // went through, so no superblock was written, so no extent became free: only reopening helped.
    // A flush of three tables and a compaction of as many need room of their own: a megabyte here.
    let recovered = (0..8).filter(|n| overwrites_on_a_full_disk((1 << 20) + n * 20_480)).count();
    assert!(recovered == 8, "the disk stayed full in {} of 8 runs", 8 - recovered);
}

#[test]
fn values_are_overwritten_on_a_disk_that_does_not_grow() {
    // Story: as above, where the file has room of its own.
    let world = World::new(117);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let mut refused = 0;
    for number in 0..4000u64 {
        if number == 200 {
            world.disk.set_capacity(Some(world.disk.used_bytes()));
        }
        let batch = value(table, &[u8::try_from(number % 20).unwrap()], &[1; 900]);
        match process.engine.commit(batch, Durability::Sync) {
            Ok(_) => refused = 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                refused += 1;
                assert!(refused < 300, "20 live values fit, but nothing was freed");
            }
        }
        process.scheduler.run_until_idle(30);
        world.clock.advance(Duration::from_millis(30));
    }
}

/// Fills a disk with SSTables of a few values that are written again and again, gives it so much
/// more room, and returns whether writing resumes.
fn overwrites_on_a_full_disk(room: u64) -> bool {
    let world = World::new(110);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("value", TableOptions::keyed()).unwrap();
    let weight = engine.create_table("weight", TableOptions::timeline()).unwrap();
    let put = |number: u8| {
        let batch = value(table, &[number % 20], &[1; 900]);
        let outcome = engine.commit(batch, Durability::Sync);
        process.scheduler.run_until_idle(30);
        world.clock.advance(Duration::from_millis(30));
        outcome.map_err(|error| assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"))
    };
    (0..100).for_each(|number| assert!(put(number).is_ok()));
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    while engine.commit(entry(weight, b"t", &[2; 2000]), Durability::Sync).is_ok() {
        process.scheduler.run_until_idle(30);
    }
    world.disk.set_capacity(Some(world.disk.used_bytes() + room * 4 + 64 * 1024));
    let _ = (0..200).filter(|number| put(*number).is_ok()).count();
    (0..60).filter(|number| put(*number).is_ok()).count() > 50
}

/// A waker that runs a test's code, once.
struct Runs(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Runs {
    fn waker(action: impl FnOnce() + Send + 'static) -> Waker {
        Arc::new(Runs(Mutex::new(Some(Box::new(action))))).into()
    }
}

impl Wake for Runs {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().unwrap().take();
        action.into_iter().for_each(|action| action());
    }
}

#[test]
fn a_waker_may_commit() {
    // Story: wakers were called while the leader led. One that committed (an executor that polls in
    // its waker) waited for the leader that called it.
    watched(|| {
        for leader_is_a_caller in [false, true] {
            let disk = SimDisk::new(SimOptions::default());
            let engine = threaded(&disk, &tiny(), no_hook()).unwrap();
            let table = engine.create_table("message", TableOptions::timeline()).unwrap();
            let (send, receive) = channel();
            let inner = engine.clone();
            let waker = Runs::waker(move || {
                let batch = entry(table, b"t", b"from the waker");
                send.send(inner.commit(batch, Durability::Sync)).unwrap();
            });
            let mut future = engine.commit_async(entry(table, b"t", b"first"), Durability::Sync);
            let pending = polled(&mut future, &waker).is_none();
            if leader_is_a_caller {
                append(&engine, table, b"other", b"");
            }
            if pending {
                assert_eq!(receive.recv().unwrap().unwrap().seqs, [2]);
                assert!(polled(&mut future, Waker::noop()).expect("it was woken").is_ok());
            }
            engine.close().unwrap();
        }
    });
}

#[test]
fn a_waker_may_commit_in_the_thread_of_the_leader() {
    // Story: as above, in one thread and so without luck.
    watched(|| {
        let world = World::new(111);
        let process = world.open(&tiny()).unwrap();
        let engine = process.engine.clone();
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        for (seq, led_by_the_worker) in [(1, true), (3, false)] {
            let inner = engine.clone();
            let waker = Runs::waker(move || {
                assert_eq!(append(&inner, table, b"t", b"from the waker"), seq + 1);
            });
            let mut future = engine.commit_async(entry(table, b"t", b"x"), Durability::Sync);
            assert!(polled(&mut future, &waker).is_none());
            match led_by_the_worker {
                true => _ = process.scheduler.run_until_idle(20),
                false => _ = append(&engine, table, b"other", b""),
            }
            assert_eq!(polled(&mut future, Waker::noop()).unwrap().unwrap().seqs, [seq]);
            assert_eq!(engine.snapshot().len(table, b"t").unwrap(), seq + 1);
        }
    });
}

#[test]
fn a_waker_may_drop_the_last_engine() {
    // Story: dropping the last engine closes the store and waits for the workers; in a waker, which
    // runs on a worker, that was waiting for itself.
    watched(|| {
        for _ in 0..20 {
            let disk = SimDisk::new(SimOptions::default());
            let engine = threaded(&disk, &tiny(), no_hook()).unwrap();
            let table = engine.create_table("message", TableOptions::timeline()).unwrap();
            let (send, receive) = channel();
            // A group takes a moment, so that the waker is there before it ends.
            let mut future = engine.commit_async(entry(table, b"t", b"kept"), Durability::Sync);
            let waker = Runs::waker(move || {
                drop(engine);
                send.send(()).unwrap();
            });
            let pending = polled(&mut future, &waker).is_none();
            drop(waker);
            if pending {
                receive.recv().unwrap();
                let _ = polled(&mut future, Waker::noop());
            }
            drop(future);
            // The worker that ran the waker holds the lock a moment longer.
            let again = (0..2000).find_map(|_| {
                std::thread::park_timeout(Duration::from_millis(1));
                threaded(&disk, &tiny(), no_hook()).ok()
            });
            assert_eq!(entries(&again.expect("it stays locked"), table, b"t").len(), 1);
        }
    });
}

#[test]
fn a_waker_may_panic() {
    // Story: the panic of somebody else's waker went through the leader and poisoned the store.
    let world = World::new(112);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    for led_by_the_worker in [true, false] {
        let mut first = engine.commit_async(entry(table, b"t", b"1"), Durability::Sync);
        let mut second = engine.commit_async(entry(table, b"t", b"2"), Durability::Sync);
        let woken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&woken);
        let waker = Runs::waker(|| panic!("a defect in a waker"));
        assert!(polled(&mut first, &waker).is_none());
        let waker = Runs::waker(move || flag.store(true, Ordering::SeqCst));
        assert!(polled(&mut second, &waker).is_none());
        match led_by_the_worker {
            true => _ = process.scheduler.run_until_idle(20),
            false => _ = append(engine, table, b"other", b""),
        }
        assert!(polled(&mut first, Waker::noop()).unwrap().is_ok());
        assert!(woken.load(Ordering::SeqCst), "the waker behind it was forgotten");
        append(engine, table, b"t", b"3");
    }
    assert_eq!(engine.snapshot().len(table, b"t").unwrap(), 6);
    engine.close().unwrap();
}

#[test]
fn what_expired_on_an_idle_day_stays_away() {
    // Story: the clock's mark was written with superblocks alone, and an idle store writes none. A
    // reader saw entries expire; after a kill the clock went on from a mark of the day before, and
    // they were back. With a wall clock that is right it took ten minutes to be believed.
    const HOUR: Duration = Duration::from_secs(3600);
    for wall_is_right in [true, false] {
        let world = World::new(113);
        let process = world.open(&tiny()).unwrap();
        let options = TableOptions::timeline().ttl(HOUR);
        let table = process.engine.create_table("sync", options).unwrap();
        let keyed = TableOptions::keyed().ttl(HOUR);
        let values = process.engine.create_table("value", keyed).unwrap();
        append(&process.engine, table, b"old", b"x");
        let batch = value(values, b"old", b"x");
        process.engine.commit(batch, Durability::Sync).unwrap();
        let idle = |whole: Duration, step: Duration| {
            for _ in 0..whole.as_secs() / step.as_secs() {
                world.clock.advance(step);
                process.scheduler.run_until_idle(50);
            }
        };
        idle(23 * HOUR - Duration::from_secs(20), Duration::from_secs(20));
        append(&process.engine, table, b"late", b"x");
        // The last entry expires 10 seconds before the kill, and less than a lease behind the mark.
        idle(HOUR + Duration::from_secs(10), Duration::from_secs(10));
        append(&process.engine, table, b"fresh", b"x");
        let seen =
            |engine: &Engine, key: &[u8]| engine.snapshot().latest(table, key).unwrap().is_some();
        let engine = &process.engine;
        assert_eq!(
            [&b"old"[..], b"late", b"fresh"].map(|key| seen(engine, key)),
            [false, false, true]
        );
        assert_eq!(engine.snapshot().value(values, b"old").unwrap(), None);
        process.kill();
        for policy in [CrashPolicy::Kill, CrashPolicy::DropAll] {
            let after = world.after(&policy);
            if !wall_is_right {
                after.clock.set_wall(START_MS);
            }
            let engine = after.open(&tiny()).unwrap().engine;
            assert!(!seen(&engine, b"old"), "{policy:?}, wall right: {wall_is_right}");
            assert_eq!(engine.snapshot().value(values, b"old").unwrap(), None);
            assert!(seen(&engine, b"fresh"), "hidden early");
            // With a wall clock that fell back, the mark alone is left: half a lease old at most.
            assert!(!wall_is_right || !seen(&engine, b"late"), "{policy:?}");
        }
    }
}

#[test]
fn commit_numbers_are_not_given_out_again() {
    // Story: a power loss took commits that readers had seen, and the opening after it jumped over
    // their numbers. It was killed before it committed anything; the next opening saw no power loss
    // and began again with the numbers that had been seen.
    let world = World::new(114);
    let process = world.open(&tiny()).unwrap();
    let values = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let commit = |process: &Process, durability| {
        process.engine.commit(value(values, b"k", b"v"), durability).unwrap().commit
    };
    commit(&process, Durability::Sync);
    let mut seen = (0..5).map(|_| commit(&process, Durability::Buffered)).max().unwrap();
    assert!(process.engine.snapshot().commit() >= seen);
    process.kill();
    let mut world = world.after(&CrashPolicy::DropAll);
    for policy in [CrashPolicy::Kill, CrashPolicy::Kill, CrashPolicy::DropAll, CrashPolicy::Kill] {
        // This process commits nothing.
        world.open(&tiny()).unwrap().kill();
        world = world.after(&policy);
        let process = world.open(&tiny()).unwrap();
        let next = commit(&process, Durability::Buffered);
        assert!(next > seen, "{policy:?}: {next} after {seen} had been seen");
        seen = next;
        process.kill();
        world = world.after(&CrashPolicy::DropAll);
    }
}

#[test]
fn buffered_commits_of_given_ids_are_durable() {
    // Story: the engine cannot jump over ids that it does not give. A reader saw id 20 under
    // Buffered, a power loss took it, and the caller was allowed to write id 15.
    for asynchronous in [false, true] {
        for durability in [Durability::Buffered, Durability::Interval(Duration::from_secs(9))] {
            let world = World::new(115);
            let process = world.open(&tiny()).unwrap();
            let engine = &process.engine;
            let options = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
            let given = engine.create_table("given", options).unwrap();
            let dense = engine.create_table("dense", TableOptions::timeline()).unwrap();
            let mut batch = entry(dense, b"t", b"beside");
            batch.append_at(given, b"t", 20, b"x", None).unwrap();
            if asynchronous {
                let mut future = engine.commit_async(batch, durability);
                process.scheduler.run_until_idle(20);
                polled(&mut future, Waker::noop()).unwrap().unwrap();
            } else {
                engine.commit(batch, durability).unwrap();
            }
            process.kill();
            let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
            assert_eq!(entries(&process.engine, given, b"t"), [(20, b"x".to_vec())]);
            assert_eq!(entries(&process.engine, dense, b"t").len(), 1);
            let mut stale = WriteBatch::new();
            stale.append_at(given, b"t", 15, b"x", None).unwrap();
            let error = process.engine.commit(stale, Durability::Sync).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }
}

#[test]
fn an_uncontended_compare_and_set_never_conflicts() {
    // Story: the value was looked for at an older commit, which no snapshot held. A flush in
    // between folded that version away, nothing was found, and the only writer of the key met a
    // conflict.
    watched(|| {
        let disk = SimDisk::new(SimOptions::default());
        let engine = threaded(&disk, &tiny(), no_hook()).unwrap();
        let values = engine.create_table("value", TableOptions::keyed()).unwrap();
        let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
        engine.commit(value(values, b"same", b"v"), Durability::Sync).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (engine, stop) = (&engine, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = entry(messages, b"t", &[1; 3000]);
                    // The same value again: the key never holds another.
                    batch.put(values, b"same", b"v").unwrap();
                    engine.commit(batch, Durability::Buffered).unwrap();
                }
            });
            let mut failure = None;
            let mut expected = None;
            for number in 0..3000u64 {
                let new = number.to_le_bytes();
                let mut batch = value(values, b"k", &new);
                for (key, value) in [(&b"k"[..], expected), (b"same", Some(b"v".to_vec()))] {
                    batch.require(Precondition::Value { table: values, key: key.into(), value });
                }
                failure = engine.commit(batch, Durability::Buffered).err();
                if failure.is_some() {
                    break;
                }
                expected = Some(new.to_vec());
            }
            stop.store(true, Ordering::Relaxed);
            assert!(failure.is_none(), "{failure:?}");
        });
        assert!(engine.stats().flushes > 20, "only {} flushes", engine.stats().flushes);
    });
}

#[test]
fn tables_are_created_by_many_threads_at_once() {
    // Story: the next table's id was read under the lock, and used after it had been given back.
    // Two threads took the same one, and the slower was told of an impossible edit.
    watched(|| {
        let disk = SimDisk::new(SimOptions::default());
        let engine = threaded(&disk, &tiny(), no_hook()).unwrap();
        let same = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (engine, same) = (&engine, &same);
                scope.spawn(move || {
                    for number in 0..20 {
                        let name = format!("{thread}-{number}");
                        engine.create_table(&name, TableOptions::timeline()).unwrap();
                        match engine.create_table(&format!("{number}"), TableOptions::keyed()) {
                            Ok(_) => _ = same.fetch_add(1, Ordering::Relaxed),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
                        }
                    }
                });
            }
        });
        assert_eq!(same.load(Ordering::Relaxed), 20, "a name was given to two tables");
        let ids: HashSet<TableId> = engine.tables().iter().map(|table| table.id).collect();
        assert_eq!(ids.len(), 8 * 20 + 20);
    });
}

#[test]
fn the_table_behind_the_last_is_too_large() {
    // Story: the limit was checked one table late, and the catalog refused what the check had let
    // through as an impossible edit.
    let world = World::new(116);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let create = |number: usize| engine.create_table(&number.to_string(), TableOptions::keyed());
    let error = (0..=limits::TABLE_COUNT_MAX).find_map(|number| create(number).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    let count = engine.tables().len();
    assert!(limits::TABLE_COUNT_MAX - count <= 1, "only {count} tables beside the engine's own");
    let first = engine.tables()[0].id;
    engine.commit(value(first, b"k", b"v"), Durability::Sync).unwrap();
    process.kill();
    let process = world.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
    assert_eq!(process.engine.tables().len(), count);
}

#[test]
fn a_closed_store_is_opened_at_once() {
    // Story: a worker counted itself out before it let go of the store, so the file was still
    // locked for a moment after `close` and `drop`.
    watched(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("again.tide");
        for round in 0..50u64 {
            let engine = Engine::open(&path, tiny()).unwrap();
            let table = match engine.table("message") {
                Some(table) => table.id,
                None => engine.create_table("message", TableOptions::timeline()).unwrap(),
            };
            assert_eq!(append(&engine, table, b"t", b"x"), round + 1);
            if round % 2 == 0 {
                engine.close().unwrap();
            }
            drop(engine);
        }
    });
}
