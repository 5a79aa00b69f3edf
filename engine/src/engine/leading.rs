//! How a batch gets to a leader: whoever commits leads, or sleeps while somebody does; for futures,
//! and for what a leader leaves behind, the commit worker leads.
//!
//! # Concurrency
//! See `commit/queue.rs` for the protocol.

use super::Core;
use super::workers::inside_a_worker;
use crate::batch::{Precondition, WriteBatch};
use crate::commit::{
    CommitFuture, Committed, Leadership, Outcome, Request, Slot, resolve, take_left_behind,
};
use crate::error::{Error, Result};
use crate::file::StoreBy;
use crate::limits;
use crate::options::{Durability, ReadMode, UnsyncedCommits};
use crate::sync::{Arc, Ordering};
use crate::wal::Writer;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Duration;

impl Core {
    /// Lets unsynced groups be stored in the way that the user wants.
    pub(crate) fn choose_unsynced(&self, writer: &mut Writer) {
        match (self.options.unsynced_commits, self.options.read_mode) {
            (UnsyncedCommits::Direct, _) => {}
            (UnsyncedCommits::Mapped, ReadMode::Map) => writer.store_unsynced(StoreBy::Map),
            (UnsyncedCommits::Cached | UnsyncedCommits::Mapped, _) => {
                writer.store_unsynced(StoreBy::Write);
            }
        }
    }

    /// Commits a batch and waits for it.
    pub(crate) fn commit(
        &self,
        mut batch: WriteBatch,
        durability: Durability,
    ) -> Result<Committed> {
        let mut has_waited = false;
        loop {
            self.declare_unsynced(durability)?;
            let mut request = resolve(self, batch, durability)?;
            if !has_waited {
                // Whoever comes back has slept for its bytes. A flush would end meanwhile each
                // time, and a condition on a value be looked at again for ever.
                self.wait_for_pace(request.batch.byte_count())?;
                has_waited = true;
            }
            self.store_large(&mut request)?;
            let is_synced = request.durability == Durability::Sync;
            let slot = Arc::new(Slot::of_caller(request));
            self.queue.push(Arc::clone(&slot));
            while !slot.is_done() {
                if self.is_held_back() {
                    self.wait_for_room();
                    continue;
                }
                if self.lead_for(&|| slot.is_done()) {
                    continue;
                }
                if inside_a_worker() {
                    // The worker that would lead what a leader leaves behind may be this one: a
                    // waker that commits.
                    self.scheduler.pause(Duration::from_micros(100));
                    continue;
                }
                if !is_synced {
                    // A group that is not synced is over sooner than a thread sleeps and wakes.
                    let is_over = || slot.is_done() || !self.queue.is_led();
                    self.scheduler.yield_until(limits::UNSYNCED_WAIT_MAX, &is_over);
                }
                self.queue.sleep_unless(|| slot.is_done());
            }
            match slot.take_outcome().expect("a done slot has its outcome") {
                Outcome::Final(result) => return result,
                Outcome::Retry(returned, _) => batch = returned,
            }
        }
    }

    /// Queues a batch without waiting. Where commits are held back, the queue is: see
    /// `commit_pace.rs`.
    pub(crate) fn submit(
        self: &Arc<Self>,
        batch: WriteBatch,
        durability: Durability,
    ) -> CommitFuture {
        let declared = self.declare_unsynced(durability);
        let request = declared.and_then(|()| {
            let mut request = resolve(self, batch, durability)?;
            self.store_large(&mut request)?;
            Ok(request)
        });
        match request {
            Err(error) => CommitFuture::refused(error),
            Ok(request) => {
                let slot = Arc::new(Slot::of_future(request));
                self.queue.push(Arc::clone(&slot));
                // Whoever leads calls the worker for what is left: see `give_away`.
                if !self.queue.is_led() {
                    self.wake(|wakes| &wakes.commit);
                }
                if self.closed.load(Ordering::Acquire) || self.health.check().is_err() {
                    // The worker that leads for futures is gone, or may have died since the batch
                    // was resolved: refuse it ourselves.
                    self.lead();
                }
                CommitFuture::waiting(Arc::clone(self), slot)
            }
        }
    }

    /// Writes the large payloads of a request.
    fn store_large(&self, request: &mut Request) -> Result<()> {
        let Request { batch, stored, .. } = request;
        stored.store(self, batch)?;
        // Only a value precondition can have the batch come back, to be stored anew.
        let looks_at_values = |p: &Precondition| matches!(p, Precondition::Value { .. });
        if !batch.preconditions().iter().any(looks_at_values) {
            batch.forget_large();
        }
        Ok(())
    }

    /// Leads waiting slots, unless somebody else does: few or none where level 0 is full.
    pub(crate) fn lead(&self) -> bool {
        self.lead_for(&|| false)
    }

    /// The same for a caller, who may leave once it is served.
    fn lead_for(&self, is_served: &dyn Fn() -> bool) -> bool {
        let led = self.lead_once(is_served);
        // Behind a close, or a worker's death, there may be no worker that would lead what was
        // pushed during the last group by callers who found it led. Whoever closes swaps the mark
        // before trying to lead, and a death poisons the store before: either that attempt finds
        // leadership free, or the mark is seen here.
        let without_worker =
            || self.closed.fetch_or(false, Ordering::AcqRel) || self.health.check().is_err();
        while led && !self.queue.is_empty() && without_worker() {
            if !self.lead_once(is_served) {
                break;
            }
        }
        led
    }

    fn lead_once(&self, is_served: &dyn Fn() -> bool) -> bool {
        // Made first, so that a panic drops it last: when leadership is free again.
        let guard = PoisonOnPanic(self);
        let Some(leadership) = self.queue.try_lead() else {
            std::mem::forget(guard);
            return false;
        };
        let wakers = match self.leader.lock().as_mut() {
            Some(leader) => {
                leader.lead(self, &leadership, is_served);
                leader.take_wakers()
            }
            None => {
                let wakers = refuse_closed(&leadership);
                self.queue.wake_all();
                wakers
            }
        };
        std::mem::forget(guard);
        self.give_away(leadership);
        call(wakers);
        true
    }

    /// Gives leadership away. For slots that wait the worker is called.
    pub(super) fn give_away(&self, leadership: Leadership<'_, Arc<Slot>>) {
        drop(leadership);
        if !self.queue.is_empty() {
            self.wake(|wakes| &wakes.commit);
        }
    }
}

/// Calls wakers: somebody else's code, whose panics are not ours.
fn call(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// Completes what came too late for a store that was closed.
fn refuse_closed(leadership: &Leadership<'_, Arc<Slot>>) -> Vec<Waker> {
    std::iter::from_fn(|| leadership.pop())
        .filter_map(|slot| {
            drop(slot.take_request());
            let error = Error::Closed { what: "the store was closed" };
            slot.complete(Outcome::Final(Err(error)))
        })
        .collect()
}

/// A leader that panics leaves slots and counters in doubt: the store takes no more writes.
struct PoisonOnPanic<'a>(&'a Core);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        let error = Error::Closed { what: "the leader panicked" };
        let _ = self.0.health.poison("committing a group failed", &error);
        // Its group was completed while unwinding: tell the sleepers, and call the worker for what
        // waits behind it.
        self.0.queue.wake_all();
        self.0.wake(|wakes| &wakes.commit);
        call(take_left_behind());
    }
}
