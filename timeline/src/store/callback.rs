//! Callbacks: run on a thread of their own, one after the other, their panics caught and counted.
//!
//! A commit that is still going on is followed by a [`Follower`]: it is polled when woken, on the
//! thread of callbacks, and hands over the answer. It keeps itself alive through its waker.

use crate::backend::{CommitFuture, Committed};
use crate::buffer::Ticket;
use crate::error::Result;
use crate::pool::{Pool, caught};
use crate::sync::Mutex;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A callback with its conversion of the answer.
pub(crate) type Deliver = Box<dyn FnOnce(Result<Committed>) + Send>;

#[derive(Clone)]
pub(super) struct Callbacks {
    pool: Arc<Pool>,
}

impl Callbacks {
    pub(super) fn new() -> Callbacks {
        Callbacks { pool: Arc::new(Pool::new("tidelog-callback", 1)) }
    }

    pub(super) fn is_own_thread(&self) -> bool {
        self.pool.is_own_thread()
    }

    pub(super) fn shutdown(&self) {
        self.pool.shutdown();
    }

    /// Runs a callback. The ticket closes when it has returned.
    pub(super) fn deliver(&self, deliver: Deliver, result: Result<Committed>, ticket: Ticket) {
        let job = move || {
            if let Err(panic) = caught(|| deliver(result)) {
                ticket.panicked(&panic);
            }
        };
        if let Err(job) = self.pool.submit(Box::new(job)) {
            // Without a thread the callback still has to run.
            job();
        }
    }

    /// Runs a callback when a commit is answered.
    pub(super) fn follow(&self, future: CommitFuture, deliver: Deliver, ticket: Ticket) {
        let state = State { running: Some((future, deliver, ticket)), woken: false };
        let follower = Follower { callbacks: self.clone(), state: Mutex::new(state) };
        Arc::new(follower).step();
    }
}

type Running = (CommitFuture, Deliver, Ticket);

/// A commit and the callback that waits for it.
struct Follower {
    callbacks: Callbacks,
    state: Mutex<State>,
}

struct State {
    /// None while some thread polls, and for ever after the answer.
    running: Option<Running>,
    /// A wake came while some thread polled: poll again.
    woken: bool,
}

impl Follower {
    fn step(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        loop {
            let mut state = self.state.lock();
            let Some((mut future, deliver, ticket)) = state.running.take() else {
                state.woken = true;
                return;
            };
            state.woken = false;
            drop(state);
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return self.callbacks.deliver(deliver, result, ticket),
                Poll::Pending => {
                    let mut state = self.state.lock();
                    state.running = Some((future, deliver, ticket));
                    if !state.woken {
                        return;
                    }
                }
            }
        }
    }
}

impl Wake for Follower {
    /// Whoever wakes may hold locks of the backend: the polling is done elsewhere.
    fn wake(self: Arc<Self>) {
        let follower = Arc::clone(&self);
        if self.callbacks.pool.submit(Box::new(move || follower.step())).is_err() {
            self.step();
        }
    }
}
