//! Defects that were found and mended, each with its story: none may come back. Here those of
//! limits, preconditions and the catalog; the topics beside have files of their own.
//!
//! Tests over real threads run under a watchdog, since what they guard against is waiting for ever.

use super::hooked_disk::{Hook, HookedDisk};
use super::world::{Process, World, tiny};
use std::collections::HashSet;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{CrashPolicy, SimDisk, SimOptions, SimScheduler};
use tidelog_engine::{
    CommitFuture, Committed, Direction, Durability, Engine, ErrorKind, Options, Origin, Parts,
    Precondition, Result, SeededEntropy, SystemClock, TableId, TableOptions, ThreadScheduler,
    WriteBatch, limits,
};

/// A batch of one entry.
pub(crate) fn entry(table: TableId, key: &[u8], payload: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    batch
}

/// A batch of one value.
pub(crate) fn value(table: TableId, key: &[u8], value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(table, key, value).unwrap();
    batch
}

pub(crate) fn append(engine: &Engine, table: TableId, key: &[u8], payload: &[u8]) -> u64 {
    engine.commit(entry(table, key, payload), Durability::Sync).unwrap().seqs[0]
}

/// All entries of a timeline.
pub(crate) fn entries(engine: &Engine, table: TableId, key: &[u8]) -> Vec<(u64, Vec<u8>)> {
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
pub(crate) fn threaded(disk: &SimDisk, options: &Options, hook: Hook) -> Result<Engine> {
    let hooked = HookedDisk::new(disk.reopen(), options.ring_bytes);
    threaded_on(HookedDisk { hook, ..hooked }, options)
}

/// The same on such a disk.
pub(crate) fn threaded_on(disk: HookedDisk, options: &Options) -> Result<Engine> {
    let seed = disk.inner.operation_count();
    let parts = Parts {
        disk: Arc::new(disk),
        cold: None,
        clock: Arc::new(SystemClock::new()),
        scheduler: Arc::new(ThreadScheduler::new()),
        entropy: Arc::new(SeededEntropy::new(seed)),
        name: "threaded.tide".to_owned(),
    };
    Engine::open_with(parts, options.clone())
}

/// A store of a simulated process whose writes to the log are announced.
pub(crate) fn hooked(world: &World, hook: Hook) -> Process {
    let disk = HookedDisk::new(world.disk.reopen(), tiny().ring_bytes);
    on_disk(world, HookedDisk { hook, ..disk }, tiny())
}

/// A store of a simulated process on such a disk.
pub(crate) fn on_disk(world: &World, disk: HookedDisk, options: Options) -> Process {
    let scheduler = SimScheduler::new(world.seed, world.clock.clone());
    let parts = Parts {
        disk: Arc::new(disk),
        cold: None,
        clock: Arc::new(world.clock.clone()),
        scheduler: Arc::new(scheduler.clone()),
        entropy: Arc::new(SeededEntropy::new(world.seed)),
        name: "hooked.tide".to_owned(),
    };
    Process { engine: Engine::open_with(parts, options).unwrap(), scheduler }
}

pub(crate) fn no_hook() -> Hook {
    Arc::new(|| {})
}

pub(crate) fn polled(future: &mut CommitFuture, waker: &Waker) -> Option<Result<Committed>> {
    match Pin::new(future).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// The smallest executor.
pub(crate) fn wait(mut future: CommitFuture) -> Result<Committed> {
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
