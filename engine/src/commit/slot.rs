//! One batch waiting for its commit, and where its outcome is put.

use super::{Committed, StoredPayloads};
use crate::batch::WriteBatch;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::state::StateCell;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::task::Waker;

crate::sync::thread_local! {
    /// Wakers of the slots that a panicking leader has dropped, on its thread. They are somebody
    /// else's code: they may commit, which waits for the leader, or panic, which ends a process
    /// that unwinds already. So they are called later, when nobody leads any more.
    static LEFT_BEHIND: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Takes the wakers of the slots that a leader which panicked on this thread has left behind.
pub(crate) fn take_left_behind() -> Vec<Waker> {
    LEFT_BEHIND.with(RefCell::take)
}

/// A slot in the hands of a leader. If the leader panics the slot is completed all the same.
pub(super) struct Claim(Arc<Slot>);

impl Claim {
    pub(super) fn new(slot: Arc<Slot>) -> Claim {
        Claim(slot)
    }

    /// Whether a thread waits for it, which may commit again once it is told.
    pub(super) fn has_caller(&self) -> bool {
        self.0.has_caller
    }

    /// See [`Slot::complete`].
    #[must_use]
    pub(super) fn complete(self, outcome: Outcome) -> Option<Waker> {
        self.0.complete(outcome)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.0.is_done() {
            let cause = "the thread that committed the batch panicked".into();
            let waker = self.0.complete(Outcome::Final(Err(Error::Poisoned { cause })));
            LEFT_BEHIND.with(|wakers| wakers.borrow_mut().extend(waker));
        }
    }
}

/// A batch that has been resolved: ready for a leader.
pub(crate) struct Request {
    pub(crate) batch: WriteBatch,
    /// The pinned state of each target, in the batch's order.
    pub(crate) cells: Vec<Arc<StateCell>>,
    /// The pinned state of the timeline of each mark, in the batch's order.
    pub(crate) mark_cells: Vec<Arc<StateCell>>,
    /// The pinned state of each sequence precondition, in the batch's order.
    pub(crate) expected: Vec<(Arc<StateCell>, u64)>,
    /// The pinned state of each amended timeline, and the amended seq.
    pub(crate) amended: Vec<(Arc<StateCell>, u64)>,
    /// The tables in which it retracts entries.
    pub(crate) retracted: BTreeSet<TableId>,
    pub(crate) durability: Durability,
    /// The commit at which value preconditions were seen to hold.
    pub(crate) resolved_at: u64,
    /// The segments of its large payloads.
    pub(crate) stored: StoredPayloads,
}

/// How a slot ended.
pub(crate) enum Outcome {
    /// For good.
    Final(Result<Committed>),
    /// A value precondition must be looked at again: here is the batch back.
    Retry(WriteBatch, Durability),
}

/// Shared by the caller, or its future, and the leader.
pub(crate) struct Slot {
    /// A thread waits for it, and no future.
    has_caller: bool,
    request: Mutex<Option<Request>>,
    done: AtomicBool,
    end: Mutex<End>,
}

#[derive(Default)]
struct End {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Slot {
    /// For a thread that waits.
    pub(crate) fn of_caller(request: Request) -> Slot {
        Slot { has_caller: true, ..Slot::of_future(request) }
    }

    /// For a future.
    pub(crate) fn of_future(request: Request) -> Slot {
        Slot {
            has_caller: false,
            request: Mutex::new(Some(request)),
            done: AtomicBool::new(false),
            end: Mutex::new(End::default()),
        }
    }

    /// Leader only, once.
    pub(crate) fn take_request(&self) -> Request {
        self.request.lock().take().expect("a slot is taken by one leader, once")
    }

    /// The same, unless it is to stay for the next group.
    pub(super) fn take_request_unless(
        &self,
        stays: impl FnOnce(&Request) -> bool,
    ) -> Option<Request> {
        let mut request = self.request.lock();
        match stays(request.as_ref().expect("a slot is taken by one leader, once")) {
            true => None,
            false => request.take(),
        }
    }

    /// Leader only, once. The caller wakes sleepers afterwards, and the waker once it leads no
    /// more: a waker runs somebody else's code.
    #[must_use]
    pub(crate) fn complete(&self, outcome: Outcome) -> Option<Waker> {
        let waker = {
            let mut end = self.end.lock();
            end.outcome = Some(outcome);
            end.waker.take()
        };
        self.done.store(true, Ordering::Release);
        waker
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The outcome, once.
    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        self.end.lock().outcome.take()
    }

    /// The outcome, or a promise to wake.
    pub(crate) fn poll_outcome(&self, waker: &Waker) -> Option<Outcome> {
        let mut end = self.end.lock();
        if let Some(outcome) = end.outcome.take() {
            return Some(outcome);
        }
        end.waker = Some(waker.clone());
        None
    }
}
