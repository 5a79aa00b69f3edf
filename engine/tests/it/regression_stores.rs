//! Defects of groups that are stored into the page cache, and of what happens beside a sync, one
//! test each.

use super::hooked_disk::Hook;
use super::regression::{entries, entry, no_hook, polled};
use super::world::{Process, World, tiny};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use tidelog_engine::testing::{CrashPolicy, SimDisk, SimScheduler};
use tidelog_engine::{
    Disk, Durability, Engine, ErrorKind, Flush, Geometry, Identity, Parts, Region, SeededEntropy,
    Stores, TableId, TableOptions, limits,
};

/// A simulated disk that calls a test before each write to the log; and, once something was written
/// elsewhere, before it tells that the next sync has ended.
struct SyncedDisk {
    inner: SimDisk,
    written: AtomicBool,
    log: Hook,
    synced: Hook,
}

impl Disk for SyncedDisk {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        match offset.checked_sub(limits::RING_OFFSET) {
            None => {}
            Some(place) if place < tiny().ring_bytes => (self.log)(),
            Some(_) => self.written.store(true, Ordering::SeqCst),
        }
        self.inner.write_at(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        if self.written.swap(false, Ordering::SeqCst) {
            (self.synced)();
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.allocate(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.inner.punch_hole(offset, length)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        self.inner.map(offset, length)
    }

    fn map_stores(&self, offset: u64, length: u64) -> io::Result<Option<Arc<dyn Stores>>> {
        self.inner.map_stores(offset, length)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}

/// A store on such a disk.
fn open(world: &World, log: Hook, synced: Hook) -> Process {
    let inner = world.disk.reopen();
    let disk = SyncedDisk { inner, written: AtomicBool::new(false), log, synced };
    let scheduler = SimScheduler::new(world.seed, world.clock.clone());
    let parts = Parts {
        disk: Arc::new(disk),
        cold: None,
        clock: Arc::new(world.clock.clone()),
        scheduler: Arc::new(scheduler.clone()),
        entropy: Arc::new(SeededEntropy::new(world.seed)),
        name: "synced.tide".to_owned(),
    };
    Process { engine: Engine::open_with(parts, tiny()).unwrap(), scheduler }
}

/// What happens beside a sync: once, and not before it is there.
type Beside = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn hook(beside: &Beside) -> Hook {
    let beside = Arc::clone(beside);
    Arc::new(move || {
        let action = beside.lock().unwrap().take();
        action.into_iter().for_each(|action| action());
    })
}

/// The entry of a group that a sync speaks of is there after every power loss, and so is the store.
/// `power`: it goes behind so many operations more.
fn synced_is_safe(power: Option<u64>, syncs: impl Fn(&Engine, TableId)) {
    let world = World::new(119);
    let beside = Beside::default();
    let Process { engine, scheduler } = open(&world, no_hook(), hook(&beside));
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    engine.commit(entry(table, b"t", b"first"), Durability::Buffered).unwrap();
    assert!(world.disk.counts().stored_bytes > 0, "it was stored");
    let (store, disk) = (engine.clone(), world.disk.clone());
    *beside.lock().unwrap() = Some(Box::new(move || {
        store.commit(entry(table, b"t", b"beside"), Durability::Buffered).unwrap();
        power.into_iter().for_each(|more| disk.crash_at(disk.operation_count() + more));
    }));
    syncs(&engine, table);
    assert!(beside.lock().unwrap().is_none(), "there was a sync");
    scheduler.kill();
    engine.abandon();
    for seed in 0..400 {
        let index = usize::try_from(seed % 4).unwrap();
        for policy in [CrashPolicy::Random { seed }, CrashPolicy::TearOne { index, seed }] {
            let process = world.after(&policy).open(&tiny()).unwrap();
            let found = entries(&process.engine, table, b"t");
            assert_eq!(found.first(), Some(&(1, b"first".to_vec())), "{policy:?}");
            process.kill();
        }
    }
}

#[test]
fn a_group_is_not_stored_beside_one_that_a_large_payload_has_synced() {
    // Story: the sync before a commit with a large payload spoke of the log as well, but had not
    // said so before it began. A group that came meanwhile was stored to a page of which the front
    // then counted as synced. A power loss that tore the page took that front with it, and the next
    // opening refused it as damage.
    synced_is_safe(None, |engine, table| {
        let large = entry(table, b"u", &vec![7; limits::LARGE_PAYLOAD_BYTES]);
        engine.commit(large, Durability::Buffered).unwrap();
    });
}

#[test]
fn a_group_is_not_stored_beside_one_that_a_root_has_synced() {
    // Story: the same, with the sync before a superblock. The power goes while the first half of
    // the superblock, which says what was synced, is on its way.
    synced_is_safe(Some(2), |engine, _| {
        engine.create_table("other", TableOptions::timeline()).unwrap_err();
    });
}

#[test]
fn a_future_of_a_commit_beside_which_its_worker_dies_is_refused() {
    // Story: the worker that leads for futures died while a batch wrote its large payload. What
    // waited then was refused; the batch came into the queue behind that, and nobody looked at it
    // any more.
    let world = World::new(120);
    let (beside, dies) = (Beside::default(), Beside::default());
    let Process { engine, scheduler } = open(&world, hook(&dies), hook(&beside));
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let (store, worker) = (engine.clone(), scheduler.clone());
    let armed = Arc::clone(&dies);
    *beside.lock().unwrap() = Some(Box::new(move || {
        *armed.lock().unwrap() = Some(Box::new(|| panic!("a defect in the leader")));
        drop(store.commit_async(entry(table, b"t", b"first"), Durability::Sync));
        worker.run_until_idle(100);
    }));
    let large = entry(table, b"u", &vec![7; limits::LARGE_PAYLOAD_BYTES]);
    let mut future = engine.commit_async(large, Durability::Sync);
    assert!(dies.lock().unwrap().is_none() && beside.lock().unwrap().is_none());
    scheduler.run_until_idle(100);
    let outcome = polled(&mut future, Waker::noop()).expect("nobody refuses the future");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned);
    Process { engine, scheduler }.kill();
}
