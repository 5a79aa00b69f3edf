//! How commits are held back, over a simulated disk. How deep level 0 lies is what the test says,
//! until the next root is written.

use super::LOOK;
use crate::batch::WriteBatch;
use crate::commit::{CommitFuture, Committed};
use crate::engine::{Core, Engine, Parts};
use crate::entry::TableId;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{LEVEL0_SLOW, LEVEL0_STOP};
use crate::options::{Durability, Options, TableOptions};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::testing::{SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

struct Store {
    engine: Engine,
    scheduler: SimScheduler,
    clock: SimClock,
    table: TableId,
}

fn store() -> Store {
    let clock = SimClock::new(1_704_067_200_000);
    let scheduler = SimScheduler::new(3, clock.clone());
    let parts = Parts {
        disk: Arc::new(SimDisk::new(SimOptions::default())),
        cold: None,
        clock: Arc::new(clock.clone()),
        scheduler: Arc::new(scheduler.clone()),
        entropy: Arc::new(SeededEntropy::new(1)),
        name: "simulated.tide".to_owned(),
    };
    let options = Options {
        ring_bytes: 8 << 20,
        memtable_bytes: 4 << 20,
        memory_budget: 64 << 20,
        ..Options::default()
    };
    let engine = Engine::open_with(parts, options).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    scheduler.run_until_idle(10_000);
    Store { engine, scheduler, clock, table }
}

impl Store {
    fn core(&self) -> &Core {
        &self.engine.handle.core
    }

    fn set_depth(&self, depth: usize) {
        self.core().views.replace(|view| view.level0_depth = depth);
    }

    fn batch(&self, payloads: &[&[u8]]) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for payload in payloads {
            batch.append(self.table, b"t", payload, None).unwrap();
        }
        batch
    }

    fn send(&self, payloads: &[&[u8]]) -> CommitFuture {
        self.engine.commit_async(self.batch(payloads), Durability::Sync)
    }

    fn commit(&self, payload: &[u8]) -> Result<Committed> {
        self.engine.commit(self.batch(&[payload]), Durability::Sync)
    }

    /// Time passes, and the workers do what they have to do at each moment.
    fn pass(&self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.scheduler.run_until_idle(1000);
            self.clock.advance(Duration::from_millis(1));
        }
        self.scheduler.run_until_idle(1000);
    }

    fn kill(self) {
        self.scheduler.kill();
        self.engine.abandon();
    }
}

fn polled(future: &mut CommitFuture, waker: &Waker) -> Option<Result<Committed>> {
    match Pin::new(future).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn futures_wait_while_level_0_is_full_and_are_woken_once() {
    let store = store();
    store.set_depth(LEVEL0_STOP);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut kept = [store.send(&[b"1"]), store.send(&[b"2"])];
    drop(store.send(&[b"dropped"]));
    let before = store.scheduler.step_count();
    for _ in 0..20 {
        store.pass(1);
        for future in &mut kept {
            assert!(polled(future, &waker).is_none());
        }
    }
    let steps = store.scheduler.step_count() - before;
    assert!(steps < 400, "{steps} steps in 20 ms: somebody looks all the time");
    assert_eq!(store.engine.stats().queued_commits, 3);
    assert!(store.core().lead(), "leadership is free");
    assert_eq!(store.engine.stats().queued_commits, 3, "nobody takes anything out");
    assert_eq!(count.0.load(Ordering::SeqCst), 0);

    store.set_depth(LEVEL0_STOP - 1);
    store.pass(2);
    assert_eq!(count.0.load(Ordering::SeqCst), 2, "each is woken, once");
    for (seq, future) in (1..).zip(&mut kept) {
        assert_eq!(polled(future, &waker).unwrap().unwrap().seqs, [seq]);
    }
    assert_eq!(store.engine.snapshot().len(store.table, b"t").unwrap(), 3, "the dropped one too");
    let stats = store.engine.stats();
    assert_eq!(stats.queued_commits, 0);
    assert!(stats.stalled_nanos >= 20_000_000, "{} ns", stats.stalled_nanos);
    store.engine.close().unwrap();
}

#[test]
fn futures_get_the_errors_of_callers_who_wait() {
    let store = store();
    store.set_depth(LEVEL0_STOP);
    let mut future = store.send(&[b"1"]);
    store.pass(2);
    assert!(polled(&mut future, Waker::noop()).is_none());
    *store.core().compaction_error.lock() = Some(Error::corruption("block", 0, "rotten"));
    assert!(store.core().is_held_back(), "a table that has damage does not count");

    let full = Error::NoSpace { what: "an SSTable", needed: 1 };
    *store.core().compaction_error.lock() = Some(full);
    assert_eq!(store.commit(b"2").unwrap_err().kind(), ErrorKind::NoSpace);
    store.clock.advance(LOOK);
    store.scheduler.run_until_idle(1000);
    let outcome = polled(&mut future, Waker::noop()).expect("it waits in vain");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NoSpace);

    *store.core().compaction_error.lock() = None;
    let mut future = store.send(&[b"3"]);
    store.pass(2);
    assert!(polled(&mut future, Waker::noop()).is_none());
    let _ = store.core().health.poison("a test", &Error::invalid("no room any more"));
    assert_eq!(store.commit(b"4").unwrap_err().kind(), ErrorKind::Poisoned);
    store.clock.advance(LOOK);
    store.scheduler.run_until_idle(1000);
    let outcome = polled(&mut future, Waker::noop()).expect("it waits in vain");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(store.engine.snapshot().len(store.table, b"t").unwrap(), 0);
    store.kill();
}

#[test]
fn a_close_commits_what_waits_for_room() {
    let store = store();
    store.set_depth(LEVEL0_STOP);
    let mut future = store.send(&[b"1"]);
    store.pass(3);
    assert!(polled(&mut future, Waker::noop()).is_none());
    store.engine.close().unwrap();
    let outcome = polled(&mut future, Waker::noop()).expect("it waits for ever");
    assert_eq!(outcome.unwrap().seqs, [1]);
    let mut late = store.send(&[b"2"]);
    let outcome = polled(&mut late, Waker::noop()).expect("it is refused at once");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn the_worker_rests_behind_what_it_has_led_while_level_0_is_nearly_full() {
    let store = store();
    // Each of these would sleep for about 92 ms.
    let payload = vec![7; 200_000];
    let send = || store.send(&[&payload, &payload]);
    let is_done = |future: &mut CommitFuture| {
        store.scheduler.run_until_idle(1000);
        polled(future, Waker::noop()).is_some_and(|outcome| outcome.is_ok())
    };
    store.set_depth(LEVEL0_STOP - 1);
    assert!(is_done(&mut send()), "nothing was led before it");
    let mut second = send();
    assert!(!is_done(&mut second), "the worker rests");
    store.clock.advance(Duration::from_millis(80));
    assert!(!is_done(&mut second), "it still rests");
    store.clock.advance(Duration::from_millis(20));
    assert!(is_done(&mut second), "no longer than a caller sleeps");
    assert!(store.engine.stats().stalled_nanos >= 80_000_000);

    // It owes as much again, but not to a level that is not deep any more.
    store.set_depth(LEVEL0_SLOW);
    for _ in 0..3 {
        assert!(is_done(&mut send()), "level 0 is not deep");
    }
    store.engine.close().unwrap();
}

/// A caller sleeps for its bytes before it queues. What a leader leaves behind is led by the
/// worker, and that rested first for what it had led for futures: the caller slept twice.
#[test]
fn the_worker_does_not_rest_while_a_caller_sleeps_in_the_queue() {
    let store = store();
    let core = store.core();
    let payload = vec![7; 200_000];
    store.set_depth(LEVEL0_STOP - 1);
    let mut large = store.send(&[&payload, &payload]);
    store.scheduler.run_until_idle(1000);
    assert!(polled(&mut large, Waker::noop()).is_some_and(|outcome| outcome.is_ok()));
    assert!(store.engine.stats().stalled_nanos >= 3_000_000, "the worker rests");
    let before = store.engine.stats().commits;
    let at_once = std::thread::scope(|scope| {
        let leadership = core.queue.try_lead().expect("nobody leads");
        // So short that it sleeps nowhere but in the queue.
        let caller = scope.spawn(|| store.commit(b"short"));
        while !core.queue.has_sleepers() {
            std::hint::spin_loop();
        }
        core.give_away(leadership);
        store.scheduler.run_until_idle(1000);
        let commits = store.engine.stats().commits;
        // Where it rests all the same, that is over by then.
        store.pass(100);
        caller.join().unwrap().unwrap();
        commits
    });
    assert_eq!(at_once, before + 1, "no time has passed");
    store.engine.close().unwrap();
}
