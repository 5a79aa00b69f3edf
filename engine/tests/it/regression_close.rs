//! Defects of closing beside commits, and of asynchronous commits that nobody led: each with its
//! story.

use super::hooked_disk::{Hook, HookedDisk};
use super::regression::{
    append, entries, entry, hooked, no_hook, polled, threaded, threaded_on, value, wait, watched,
};
use super::world::{World, tiny};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;
use std::time::Duration;
use tidelog_engine::testing::{SimDisk, SimOptions, SimScheduler};
use tidelog_engine::{
    Clock, CommitFuture, Durability, Engine, ErrorKind, Options, Parts, Precondition,
    SeededEntropy, SystemClock, TableId, TableOptions, ThreadScheduler, limits,
};

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
fn a_lock_that_a_dead_process_holds_a_moment_longer_is_waited_for() {
    // Story: the kernel ends the last write of a process that was killed before it lets go of its
    // file. Of a hundred openings behind such a kill eleven were refused.
    let disk = SimDisk::new(SimOptions::default());
    let refusing = |refusals| {
        let hooked = HookedDisk::new(disk.reopen(), tiny().ring_bytes);
        threaded_on(HookedDisk { refusals: AtomicU64::new(refusals), ..hooked }, &tiny())
    };
    refusing(20).unwrap().close().unwrap();
    assert_eq!(refusing(u64::MAX).err().unwrap().kind(), ErrorKind::Locked);
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

/// A clock that panics in the threads that ask for it, once each.
struct PanickingClock(SystemClock);

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

impl Clock for PanickingClock {
    fn wall_ms(&self) -> u64 {
        assert!(!PANICS.replace(false), "a defect in a clock");
        self.0.wall_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.monotonic_ms()
    }
}

#[test]
fn a_close_that_panics_lets_go_of_the_file() {
    // Story: a store whose closing was cut off by a panic (of a clock, of a disk) counted as
    // closed, but its workers went on, and held the file for as long as the process lived.
    watched(|| {
        let disk = SimDisk::new(SimOptions::default());
        let open = || {
            let parts = Parts {
                disk: Arc::new(disk.reopen()),
                cold: None,
                clock: Arc::new(PanickingClock(SystemClock::new())),
                scheduler: Arc::new(ThreadScheduler::new()),
                entropy: Arc::new(SeededEntropy::new(1)),
                name: "again.tide".to_owned(),
            };
            Engine::open_with(parts, tiny())
        };
        let engine = open().unwrap();
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        append(&engine, table, b"t", b"kept");
        // What is in memory is flushed first, and the memtable behind it is given a time.
        PANICS.set(true);
        assert!(catch_unwind(AssertUnwindSafe(|| engine.close())).is_err());
        drop(engine);
        let engine = open().unwrap();
        assert_eq!(entries(&engine, table, b"t").len(), 1);
    });
}
