//! [`Pending`]: the future of every asynchronous call, and the promise behind it.
//!
//! It needs no runtime: whoever polls it leaves a waker, and the thread that has the answer wakes
//! it. A future may be dropped at any time; what it stands for goes on. A promise that is dropped
//! without an answer answers with an error, so nobody waits for ever.

use crate::backend::{CommitFuture, Committed};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Condvar, Mutex};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Turns the commit of a write into what the caller asked for.
type Finish<T> = Box<dyn FnOnce(Committed) -> T + Send>;

/// The answer to an asynchronous call: a plain `Future`, for any runtime or none.
///
/// The work began with the call; polling only waits. Dropping it gives up the answer, not the work:
/// a write happens whole or not at all, as if the future had been kept.
pub struct Pending<T>(State<T>);

enum State<T> {
    Ready(Option<Result<T>>),
    Shared(Arc<Mutex<Shared<T>>>),
    Commit(CommitFuture, Option<Finish<T>>),
}

enum Shared<T> {
    Waiting(Option<Waker>),
    Answered(Result<T>),
    Taken,
}

impl<T: Send + 'static> Pending<T> {
    pub(crate) fn ready(result: Result<T>) -> Pending<T> {
        Pending(State::Ready(Some(result)))
    }

    pub(crate) fn commit(
        future: CommitFuture,
        finish: impl FnOnce(Committed) -> T + Send + 'static,
    ) -> Pending<T> {
        Pending(State::Commit(future, Some(Box::new(finish))))
    }

    /// A future and the promise to answer it.
    pub(crate) fn promised() -> (Promise<T>, Pending<T>) {
        let shared = Arc::new(Mutex::new(Shared::Waiting(None)));
        (Promise(Some(Arc::clone(&shared))), Pending(State::Shared(shared)))
    }

    /// Blocks this thread until the answer is there. Not for threads of an asynchronous runtime.
    ///
    /// # Errors
    /// Those of the call.
    pub fn wait(self) -> Result<T> {
        block_on(self)
    }
}

impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    /// # Panics
    /// When polled again after it was ready, as futures do.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut self.0 {
            State::Ready(result) => Poll::Ready(result.take().expect("polled after it was ready")),
            State::Commit(future, finish) => future.as_mut().poll(context).map(|result| {
                let finish = finish.take().expect("polled after it was ready");
                result.map(finish)
            }),
            State::Shared(shared) => {
                let mut shared = shared.lock();
                match std::mem::replace(&mut *shared, Shared::Taken) {
                    Shared::Answered(result) => Poll::Ready(result),
                    Shared::Waiting(_) => {
                        *shared = Shared::Waiting(Some(context.waker().clone()));
                        Poll::Pending
                    }
                    Shared::Taken => panic!("polled after it was ready"),
                }
            }
        }
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

/// The duty to answer a [`Pending`].
pub(crate) struct Promise<T>(Option<Arc<Mutex<Shared<T>>>>);

impl<T> Promise<T> {
    pub(crate) fn answer(mut self, result: Result<T>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<T>) {
        let Some(shared) = self.0.take() else { return };
        let before = std::mem::replace(&mut *shared.lock(), Shared::Answered(result));
        // The lock is free again: a waker may poll at once.
        if let Shared::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.put(Err(Error::new(ErrorKind::Unknown, "the call was given up without an answer")));
    }
}

/// Wakes a thread that waits for a future.
#[derive(Default)]
struct Signal {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }
}

/// Waits for a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let mut woken = signal.woken.lock();
        while !*woken {
            woken = signal.changed.wait(woken);
        }
        *woken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_promise_answers() {
        let (promise, pending) = Pending::<()>::promised();
        drop(promise);
        assert_eq!(pending.wait().unwrap_err().kind(), ErrorKind::Unknown);
    }

    #[test]
    fn a_dropped_future_does_not_hinder_the_promise() {
        let (promise, pending) = Pending::promised();
        drop(pending);
        promise.answer(Ok(1));
    }

    #[test]
    fn waiting_wakes() {
        let (promise, pending) = Pending::promised();
        std::thread::scope(|scope| {
            scope.spawn(move || promise.answer(Ok(7)));
            assert_eq!(pending.wait().unwrap(), 7);
        });
    }
}
