//! The workers of a store over a simulated machine. A test steps them itself, or does something in
//! the midst of a step: what takes two threads and luck elsewhere is a sequence here.

mod compaction;
mod put_back;
mod records;
mod syncing;
mod warm_up;

use super::workers::Task;
use super::{Core, Engine, Parts};
use crate::batch::WriteBatch;
use crate::compaction::FlushJob;
use crate::entry::{Direction, TableId};
use crate::options::{Durability, Options};
use crate::read::Frozen;
use crate::runtime::{Clock, Progress};
use crate::sync::{Arc, Mutex};
use crate::testing::{SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};
use std::collections::BTreeSet;
use std::time::Duration;

/// A machine, and a process on it.
pub(super) struct Store {
    pub(super) disk: SimDisk,
    pub(super) clock: HookedClock,
    pub(super) engine: Engine,
    pub(super) scheduler: SimScheduler,
}

/// Memtables of more than a step of a job.
fn options() -> Options {
    Options {
        ring_bytes: 4 << 20,
        memtable_bytes: 1 << 20,
        sstable_bytes: 1 << 20,
        memory_budget: 16 << 20,
        output_rate: 0,
        ..Options::default()
    }
}

impl Store {
    fn new(options: Options) -> Store {
        let (disk, clock) = (SimDisk::new(SimOptions::default()), HookedClock::new());
        let scheduler = SimScheduler::new(3, clock.time.clone());
        let parts = Parts {
            disk: Arc::new(disk.reopen()),
            cold: None,
            clock: Arc::new(clock.clone()),
            scheduler: Arc::new(scheduler.clone()),
            entropy: Arc::new(SeededEntropy::new(1)),
            name: "simulated.tide".to_owned(),
        };
        let engine = Engine::open_with(parts, options).unwrap();
        Store { disk, clock, engine, scheduler }
    }

    /// A store without workers: what is to be done the test does.
    pub(super) fn by_hand() -> Store {
        let store = Store::new(options());
        store.scheduler.kill();
        store
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.engine.handle.core
    }

    /// The entries of a timeline that readers are shown.
    pub(super) fn seqs(&self, table: TableId, key: &[u8]) -> Vec<u64> {
        let snapshot = self.engine.snapshot();
        let scan = snapshot.scan(table, key, 0, u64::MAX, Direction::Forward).unwrap();
        scan.map(|entry| entry.unwrap().seq).collect()
    }
}

/// The process is killed.
impl Drop for Store {
    fn drop(&mut self) {
        self.scheduler.kill();
        // It may hold the store.
        *self.clock.hook.lock() = None;
        self.engine.clone().abandon();
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// A clock that lets something happen while somebody looks at it.
#[derive(Clone)]
pub(super) struct HookedClock {
    time: SimClock,
    /// What happens, after so many looks more.
    hook: Arc<Mutex<Option<(u32, Hook)>>>,
}

impl HookedClock {
    fn new() -> HookedClock {
        HookedClock { time: SimClock::new(1_704_067_200_000), hook: Arc::default() }
    }

    pub(super) fn advance(&self, time: Duration) {
        self.time.advance(time);
    }

    /// Lets something happen once, after so many looks.
    fn at_look(&self, looks: u32, hook: impl FnOnce() + Send + 'static) {
        *self.hook.lock() = Some((looks, Box::new(hook)));
    }

    fn look(&self) {
        let mut hook = self.hook.lock();
        match hook.take() {
            Some((0, due)) => {
                // It may look at the clock itself.
                drop(hook);
                due();
            }
            Some((looks, waits)) => *hook = Some((looks - 1, waits)),
            None => {}
        }
    }
}

impl Clock for HookedClock {
    fn wall_ms(&self) -> u64 {
        self.look();
        self.time.wall_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.look();
        self.time.monotonic_ms()
    }
}

fn commit(core: &Core, batch: WriteBatch) {
    core.commit(batch, Durability::Sync).unwrap();
}

pub(super) fn append(core: &Core, table: TableId, key: &[u8], payload: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.append(table, key, payload, None).unwrap();
    commit(core, batch);
}

/// Freezes what is in memory, for a flush.
pub(super) fn freeze(core: &Core) -> Arc<Frozen> {
    core.freeze_active();
    let view = core.views.current();
    Arc::clone(view.frozen.last().expect("there was something to freeze"))
}

/// Does all that is left of a flush, as the worker does.
pub(super) fn finish(core: &Core, frozen: Arc<Frozen>, mut job: FlushJob) {
    let output = loop {
        if let Some(output) = job.step().unwrap() {
            break output;
        }
    };
    core.finish_flush(frozen, output).unwrap();
}

/// Flushes what is in memory.
pub(super) fn flush(core: &Core) {
    let frozen = freeze(core);
    let job = core.flush_job(&frozen);
    finish(core, frozen, job);
}

/// The numbers of a table's live SSTables.
fn numbers(core: &Core, table: TableId) -> BTreeSet<u64> {
    let view = core.views.current();
    view.sstables_of(table).map(|sstable| sstable.meta().number).collect()
}

/// Steps a worker until it has nothing more to do.
fn until_idle(core: &Arc<Core>, task: &mut impl Task) {
    for _ in 0..1000 {
        if task.step(core) != Progress::Busy {
            return;
        }
    }
    panic!("it goes on and on");
}
