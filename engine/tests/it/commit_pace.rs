//! Futures are held back as callers are while compaction is behind: level 0 has its limit whoever
//! writes, and what has no room waits in the queue.

use super::regression::polled;
use super::world::{Process, World, tiny};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;
use tidelog_engine::limits::LEVEL0_STOP;
use tidelog_engine::testing::SimScheduler;
use tidelog_engine::{
    CommitFuture, Durability, Engine, Parts, Progress, Result, Scheduler, SeededEntropy, TableId,
    TableOptions, Wake, Worker, WriteBatch,
};

/// A scheduler whose worker that compacts does nothing in so many steps.
struct LateCompaction {
    inner: SimScheduler,
    idle_steps: Arc<AtomicU64>,
}

impl Scheduler for LateCompaction {
    fn spawn(
        &self,
        name: &str,
        worker: Box<dyn Worker>,
        dead: Box<dyn FnOnce(String) + Send>,
    ) -> Result<Arc<dyn Wake>> {
        let idle_steps = Arc::clone(&self.idle_steps);
        let worker: Box<dyn Worker> = match name {
            "tidelog-compact" => Box::new(LateWorker { inner: worker, idle_steps }),
            _ => worker,
        };
        self.inner.spawn(name, worker, dead)
    }

    fn pause(&self, limit: Duration) {
        self.inner.pause(limit);
    }

    fn single_threaded(&self) -> bool {
        self.inner.single_threaded()
    }
}

struct LateWorker {
    inner: Box<dyn Worker>,
    idle_steps: Arc<AtomicU64>,
}

impl Worker for LateWorker {
    fn step(&mut self) -> Progress {
        match self.idle_steps.load(Ordering::SeqCst) {
            0 => return self.inner.step(),
            FOR_EVER => {}
            left => self.idle_steps.store(left - 1, Ordering::SeqCst),
        }
        Progress::Idle(Some(Duration::from_millis(1)))
    }
}

/// So many steps, until the test says otherwise.
const FOR_EVER: u64 = u64::MAX;

/// A store with a table that is not compacted yet.
struct Store {
    world: World,
    process: Process,
    table: TableId,
    idle_steps: Arc<AtomicU64>,
}

fn store(seed: u64) -> Store {
    let world = World::new(seed);
    let scheduler = SimScheduler::new(seed, world.clock.clone());
    let idle_steps = Arc::new(AtomicU64::new(FOR_EVER));
    let late = LateCompaction { inner: scheduler.clone(), idle_steps: Arc::clone(&idle_steps) };
    let parts = Parts {
        disk: Arc::new(world.disk.reopen()),
        cold: None,
        clock: Arc::new(world.clock.clone()),
        scheduler: Arc::new(late),
        entropy: Arc::new(SeededEntropy::new(seed)),
        name: "late.tide".to_owned(),
    };
    let engine = Engine::open_with(parts, tiny()).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    Store { world, process: Process { engine, scheduler }, table, idle_steps }
}

impl Store {
    /// Fills a memtable. It is of two timelines, so that each flush lies over the one before.
    fn batch(&self) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for key in [b"a", b"b"] {
            batch.append(self.table, key, &[7; 8 * 1024], None).unwrap();
        }
        batch
    }

    fn send(&self) -> CommitFuture {
        self.process.engine.commit_async(self.batch(), Durability::Sync)
    }

    /// Commits and flushes until level 0 is so deep.
    fn deepen(&self, depth: usize) {
        for _ in 0..depth {
            self.process.engine.commit(self.batch(), Durability::Sync).unwrap();
            self.process.engine.flush().unwrap();
        }
        assert_eq!(self.process.engine.stats().flushes, depth as u64);
    }

    /// Time passes, and the workers do what they have to do at each moment.
    fn pass(&self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.process.scheduler.run_until_idle(1000);
            self.world.clock.advance(Duration::from_millis(1));
        }
        self.process.scheduler.run_until_idle(1000);
    }

    /// Lets compaction begin, and workers go on until nothing is queued.
    fn compact_until_nothing_waits(&self) {
        self.idle_steps.store(0, Ordering::SeqCst);
        for _ in 0..10_000 {
            if self.process.engine.stats().queued_commits == 0 {
                return;
            }
            self.pass(1);
        }
        panic!("{:?}", self.process.engine.stats());
    }
}

/// What futures of one store gave: dense ids in the order of the calls.
fn check(futures: impl IntoIterator<Item = CommitFuture>, first: u64) {
    for (seq, mut future) in (first..).zip(futures) {
        let outcome = polled(&mut future, Waker::noop()).expect("nobody answers a future");
        assert_eq!(outcome.unwrap().seqs, [seq, seq]);
    }
}

#[test]
fn level_0_keeps_its_limit_where_only_futures_write() {
    let store = store(1);
    let engine = &store.process.engine;
    // Three of them are a group, which fills a memtable: twice as much as level 0 has room for.
    let futures: Vec<CommitFuture> = (0..600).map(|_| store.send()).collect();
    store.pass(500);
    let (stop, stats) = (LEVEL0_STOP as u64, engine.stats());
    assert!((stop..=stop + 1).contains(&stats.flushes), "{stats:?}");
    assert_eq!(stats.commits + stats.queued_commits, 600);
    // Nobody leads while what is queued waits: a flush is free to freeze what is in memory.
    engine.flush().unwrap();
    let flushes = engine.stats().flushes;
    assert!(flushes <= stop + 2, "{flushes}");
    assert_eq!(engine.stats().commits, stats.commits);
    store.compact_until_nothing_waits();
    check(futures, 1);
    assert_eq!(engine.snapshot().len(store.table, b"a").unwrap(), 600);
    engine.close().unwrap();
}

#[test]
fn a_caller_waits_behind_futures_that_wait() {
    let store = store(2);
    store.deepen(LEVEL0_STOP - 1);
    let futures: Vec<CommitFuture> = (0..30).map(|_| store.send()).collect();
    store.idle_steps.store(1000, Ordering::SeqCst);
    let committed = store.process.engine.commit(store.batch(), Durability::Sync).unwrap();
    let left = store.idle_steps.load(Ordering::SeqCst);
    assert_eq!(left, 0, "it did not wait until there was room");
    let first = LEVEL0_STOP as u64;
    check(futures, first);
    assert_eq!(committed.seqs, [first + 30, first + 30]);
    store.process.engine.close().unwrap();
}

/// Counts how often it is woken; may panic then.
#[derive(Default)]
struct Count {
    woken: AtomicU64,
    panics: bool,
}

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a defect in a waker");
    }
}

#[test]
fn futures_that_wait_for_compaction_are_woken_once_whatever_wakers_do() {
    let store = store(3);
    store.deepen(LEVEL0_STOP);
    let counts = [false, true, false].map(|panics| Arc::new(Count { panics, ..Count::default() }));
    let mut futures = [store.send(), store.send(), store.send()];
    drop(store.send());
    for (future, count) in futures.iter_mut().zip(&counts) {
        assert!(polled(future, &Waker::from(Arc::clone(count))).is_none());
    }
    let woken = || counts.each_ref().map(|count| count.woken.load(Ordering::SeqCst));
    store.pass(50);
    assert_eq!((woken(), store.process.engine.stats().queued_commits), ([0; 3], 4));
    store.compact_until_nothing_waits();
    assert_eq!(woken(), [1; 3]);
    let first = LEVEL0_STOP as u64 + 1;
    check(futures, first);
    let length = store.process.engine.snapshot().len(store.table, b"a").unwrap();
    assert_eq!(length, first + 3, "the dropped one is there too");
    store.process.engine.close().unwrap();
}
