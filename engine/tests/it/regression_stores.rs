//! Defects of groups that are stored into the page cache, and of what happens beside a sync, one
//! test each.

use super::hooked_disk::{Hook, HookedDisk};
use super::regression::{entries, entry, no_hook, on_disk, polled};
use super::world::{Process, World, tiny, tiny_stored};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{Durability, Engine, ErrorKind, TableId, TableOptions, limits};

/// A store that stores, on a disk with these hooks.
fn open(world: &World, hook: Hook, synced: Hook) -> Process {
    let disk = HookedDisk::new(world.disk.reopen(), tiny().ring_bytes);
    on_disk(world, HookedDisk { hook, synced, ..disk }, tiny_stored())
}

/// What happens beside a sync: once, and not before it is there.
pub(crate) type Beside = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

pub(crate) fn hook(beside: &Beside) -> Hook {
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
            let process = world.after(&policy).open(&tiny_stored()).unwrap();
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
