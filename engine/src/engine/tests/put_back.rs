//! The slot that a full group has no room for: its leader puts it back into the queue.

use super::{Store, append, finish, flush};
use crate::batch::WriteBatch;
use crate::commit::{CommitFuture, Committed, Slot};
use crate::engine::Core;
use crate::error::Result;
use crate::limits::LEADER_GROUPS_MAX;
use crate::options::{Durability, TableOptions};
use crate::runtime::{Progress, Scheduler, Worker};
use crate::sync::Arc;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

fn outcome(future: &mut CommitFuture) -> Result<Committed> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits for ever"),
    }
}

/// What is put back is in nobody's hands but the queue's, and stands before all that was called
/// later: also where its leader has served its groups, and others lead behind it.
#[test]
fn what_a_full_group_gives_back_is_committed_in_its_turn() {
    let store = Store::by_hand();
    let core = store.core();
    let table = store.engine.create_table("message", TableOptions::timeline()).unwrap();
    let payload = vec![7; 180_000];
    let send = |payloads: usize| {
        let mut batch = WriteBatch::new();
        for _ in 0..payloads {
            batch.append(table, b"t", &payload, None).unwrap();
        }
        store.engine.commit_async(batch, Durability::Sync)
    };
    assert!(6 * payload.len() > core.options.batch_bytes_max(), "two are more than a group holds");
    let mut futures: Vec<CommitFuture> = (0..=LEADER_GROUPS_MAX).map(|_| send(3)).collect();
    assert!(core.lead());
    assert_eq!(core.queue.len(), 1, "a leader serves a few groups");
    futures.push(send(1));
    // The next group needs a memtable.
    flush(core);
    assert!(core.lead());
    assert!(core.queue.is_empty());
    let seqs = futures.iter_mut().flat_map(|future| outcome(future).unwrap().seqs);
    let count = 3 * (LEADER_GROUPS_MAX as u64 + 1) + 1;
    assert_eq!(seqs.collect::<Vec<u64>>(), (1..=count).collect::<Vec<u64>>());
}

/// Flushes, as the worker does; and a leader that has the last slot of the queue in its hands until
/// the first flush has ended.
struct Beside {
    core: Arc<Core>,
    slot: Option<Arc<Slot>>,
}

impl Worker for Beside {
    fn step(&mut self) -> Progress {
        let core = &self.core;
        let frozen = core.views.current().frozen.last().map(Arc::clone);
        if let Some(frozen) = frozen {
            let job = core.flush_job(&frozen);
            finish(core, frozen, job);
        }
        if let Some(slot) = self.slot.take() {
            // It has not called the commit worker yet.
            core.queue.try_lead().expect("nobody else leads").put_back(slot);
        }
        Progress::Busy
    }
}

/// A closing saw an empty queue while a leader had the last slot in its hands, to put it back. The
/// group before it was flushed by the time at which the closing took the leadership, so all seemed
/// to be done, and the slot was refused as closed.
#[test]
fn a_closing_commits_what_a_leader_puts_back_beside_it() {
    let store = Store::by_hand();
    let core = store.core();
    let table = store.engine.create_table("message", TableOptions::timeline()).unwrap();
    append(core, table, b"t", b"of the group before");
    let mut batch = WriteBatch::new();
    batch.append(table, b"t", b"of the next one", None).unwrap();
    let mut future = store.engine.commit_async(batch, Durability::Sync);
    let slot = core.queue.try_lead().expect("nobody else leads").pop();
    assert!(slot.is_some() && core.queue.is_empty());
    let beside = Box::new(Beside { core: Arc::clone(core), slot });
    store.scheduler.spawn("beside", beside, Box::new(|panic| panic!("it died: {panic}"))).unwrap();
    store.engine.close().unwrap();
    assert_eq!(outcome(&mut future).unwrap().seqs, [2]);
}
