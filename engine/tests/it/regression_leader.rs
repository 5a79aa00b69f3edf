//! Defects of leaders that panic, and of wakers that do what they like: each with its story.

use super::hooked_disk::Hook;
use super::regression::{append, entries, entry, hooked, no_hook, polled, threaded, watched};
use super::world::{World, tiny};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Wake, Waker};
use std::time::Duration;
use tidelog_engine::testing::{CrashPolicy, SimDisk, SimOptions, SimScheduler};
use tidelog_engine::{CommitFuture, Durability, Engine, ErrorKind, TableId, TableOptions};

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
        let mut met = 0;
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
            // On a busy machine all of them may be in the first group: then there is no second.
            assert!(panics.load(Ordering::Relaxed) <= 1, "round {round}");
            met += panics.load(Ordering::Relaxed);
        }
        assert!(met > 0, "no group met the panic");
    });
}

#[test]
fn a_future_of_the_group_before_a_panic_is_woken() {
    // Story: the wakers of a group are called once its leader leads no more. A panic in the next
    // group left them with the leader; the worker found an empty queue, and nobody called them.
    let world = World::new(121);
    let writes = Arc::new(AtomicU64::new(u64::MAX / 2));
    let counted = Arc::clone(&writes);
    let process = hooked(
        &world,
        Arc::new(move || assert!(counted.fetch_add(1, Ordering::SeqCst) != 1, "a defect")),
    );
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    // Two of them do not fit into one group.
    let large = || entry(table, b"t", &[7; 40 * 1024]);
    let mut first = engine.commit_async(large(), Durability::Sync);
    let woken = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&woken);
    let waker = Runs::waker(move || flag.store(true, Ordering::SeqCst));
    assert!(polled(&mut first, &waker).is_none());
    writes.store(0, Ordering::SeqCst);
    let commit = || engine.commit(large(), Durability::Sync);
    assert!(catch_unwind(AssertUnwindSafe(commit)).is_err());
    process.scheduler.run_until_idle(100);
    assert!(woken.load(Ordering::SeqCst), "it was forgotten");
    polled(&mut first, Waker::noop()).unwrap().unwrap();
    process.kill();
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
fn a_commit_after_fifty_idle_days_is_taken() {
    // Story: a memtable counts times in 32 bits of milliseconds from its base on. An empty one was
    // never replaced, so behind 49.7 days without a write the leader panicked over a group that the
    // log had already.
    let world = World::new(131);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    append(engine, table, b"t", b"before");
    engine.flush().unwrap();
    world.clock.advance(Duration::from_secs(50 * 86_400));
    assert_eq!(append(engine, table, b"t", b"behind"), 2);
    // Once more with entries in it: then it is frozen, and the next one begins later.
    world.clock.advance(Duration::from_secs(50 * 86_400));
    assert_eq!(append(engine, table, b"t", b"far behind"), 3);
    let all = [b"before".to_vec(), b"behind".to_vec(), b"far behind".to_vec()];
    let all: Vec<(u64, Vec<u8>)> = (1..).zip(all).collect();
    assert_eq!(entries(engine, table, b"t"), all);
    process.kill();
    let process = world.after(&CrashPolicy::Kill).open(&tiny()).unwrap();
    assert_eq!(entries(&process.engine, table, b"t"), all);
    process.kill();
}

#[test]
fn a_waker_whose_group_met_a_panic_may_commit_and_may_panic() {
    // Story: the wakers of a group whose leader panicked were called while it unwound, and led
    // still. One that committed waited for the leader on whose thread it ran, for ever; one that
    // panicked ended the process, since a thread that unwinds must not begin to unwind again.
    watched(|| {
        for panics in [false, true] {
            let world = World::new(141);
            let armed = Arc::new(AtomicBool::new(false));
            let process = hooked(&world, once(&armed, || panic!("a defect in the leader")));
            let engine = &process.engine;
            let table = engine.create_table("message", TableOptions::timeline()).unwrap();
            let mut future = engine.commit_async(entry(table, b"t", b"async"), Durability::Sync);
            let (send, receive) = channel();
            let inner = engine.clone();
            let waker = Runs::waker(move || {
                let outcome = inner.commit(entry(table, b"t", b"from the waker"), Durability::Sync);
                send.send(outcome.unwrap_err().kind()).unwrap();
                assert!(!panics, "a defect in the waker");
            });
            assert!(polled(&mut future, &waker).is_none());
            armed.store(true, Ordering::SeqCst);
            let commit = || engine.commit(entry(table, b"t", b"sync"), Durability::Sync);
            assert!(catch_unwind(AssertUnwindSafe(commit)).is_err());
            assert_eq!(receive.try_recv().expect("it was not called"), ErrorKind::Poisoned);
            let outcome = polled(&mut future, Waker::noop()).expect("the group was completed");
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
            process.kill();
        }
    });
}

#[test]
fn a_waker_on_the_commit_worker_s_own_thread_is_not_left_to_itself() {
    // Story: a waker that the commit worker called committed while somebody else led. That leader
    // was served and left the commit to the commit worker, on whose thread the waker slept until
    // somebody would lead.
    watched(|| {
        let disk = SimDisk::new(SimOptions::default());
        let leads = Arc::new(AtomicU64::new(u64::MAX / 2));
        let (go, going) = channel::<()>();
        let go = Mutex::new(Some(go));
        let counted = Arc::clone(&leads);
        let hook: Hook = Arc::new(move || {
            // The waker's comes while the group of the other one is written.
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                drop(go.lock().unwrap().take());
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        let engine = threaded(&disk, &tiny(), hook).unwrap();
        let table = engine.create_table("message", TableOptions::timeline()).unwrap();
        let (inside, is_inside) = channel();
        let (send, receive) = channel();
        let inner = engine.clone();
        let waker = Runs::waker(move || {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            inside.send(name).unwrap();
            assert!(going.recv().is_err(), "it is told by the end of the channel");
            send.send(inner.commit(entry(table, b"t", b"from the waker"), Durability::Sync))
                .unwrap();
        });
        // The group takes a moment, so that the waker is there before it ends.
        let mut future = loop {
            let mut future = engine.commit_async(entry(table, b"first", b""), Durability::Sync);
            if polled(&mut future, &waker).is_none() {
                break future;
            }
        };
        drop(waker);
        assert_eq!(is_inside.recv().unwrap(), "tidelog-commit");
        leads.store(0, Ordering::SeqCst);
        append(&engine, table, b"other", b"");
        assert_eq!(receive.recv().unwrap().unwrap().seqs, [1]);
        assert!(polled(&mut future, Waker::noop()).expect("it was woken").is_ok());
    });
}
