//! An asynchronous commit: a plain future, for any executor.

use super::{Committed, Outcome, Slot};
use crate::engine::Core;
use crate::error::Result;
use crate::sync::Arc;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The outcome of [`Engine::commit_async`](crate::Engine::commit_async).
///
/// The batch is in the queue before the future exists, so batches are committed in the order of the
/// calls, whether or not the futures are polled. While the engine holds writers back, all that is
/// queued waits, and so does the future. Dropping the future changes nothing: the batch is
/// committed as a whole, or refused. Only one with a precondition on a value may have to be looked
/// at again, where a flush came in between; that is done when the future is polled, and not at all
/// where it was dropped.
pub struct CommitFuture {
    state: State,
}

enum State {
    Refused(Option<crate::Error>),
    Waiting(Arc<Core>, Arc<Slot>),
}

impl CommitFuture {
    pub(crate) fn refused(error: crate::Error) -> CommitFuture {
        CommitFuture { state: State::Refused(Some(error)) }
    }

    pub(crate) fn waiting(core: Arc<Core>, slot: Arc<Slot>) -> CommitFuture {
        CommitFuture { state: State::Waiting(core, slot) }
    }
}

impl Future for CommitFuture {
    type Output = Result<Committed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (core, slot) = match &mut self.state {
                State::Refused(error) => {
                    return Poll::Ready(Err(error.take().expect("polled after it was ready")));
                }
                State::Waiting(core, slot) => (core, slot),
            };
            match slot.poll_outcome(context.waker()) {
                None => return Poll::Pending,
                Some(Outcome::Final(result)) => return Poll::Ready(result),
                Some(Outcome::Retry(batch, durability)) => {
                    let core = Arc::clone(core);
                    self.state = core.submit(batch, durability).state;
                }
            }
        }
    }
}
