//! [`Pool`]: the threads of a store that run blocking reads and callbacks.
//!
//! 1. A job waits in one queue, first in, first out. Threads start with the first job.
//! 2. A job that panics ends with its panic caught; the thread goes on.
//! 3. Shutting down refuses new jobs, runs those that wait, and joins the threads.
//!
//! # Concurrency
//! Any thread submits. `shutdown` on a thread of the pool itself joins all others and lets this one
//! end by itself. No lock is held while a job runs.

use crate::sync::{Condvar, Mutex};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use tidelog_engine::OwnProcess;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads that run jobs.
pub(crate) struct Pool {
    name: &'static str,
    thread_count: usize,
    shared: Arc<Shared>,
    process: OwnProcess,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Kept after the handles are taken for joining.
    thread_ids: Vec<ThreadId>,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(name: &'static str, thread_count: usize) -> Pool {
        assert!(thread_count > 0, "a pool without threads runs nothing");
        Pool { name, thread_count, shared: Arc::default(), process: OwnProcess::new() }
    }

    /// Queues a job. Gives it back where the pool is closed or the system gives no thread.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(job);
        }
        if state.threads.len() < self.thread_count {
            match self.start() {
                Ok(handle) => {
                    state.thread_ids.push(handle.thread().id());
                    state.threads.push(handle);
                }
                Err(_) if state.threads.is_empty() => return Err(job),
                // One thread is enough to run everything.
                Err(_) => {}
            }
        }
        state.queue.push_back(job);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the pool's threads start")]
    fn start(&self) -> std::io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name(self.name.to_owned()).spawn(move || shared.run())
    }

    /// Whether the caller runs on a thread of this pool: it must not wait for the pool's jobs.
    pub(crate) fn is_own_thread(&self) -> bool {
        self.shared.state.lock().thread_ids.contains(&thread::current().id())
    }

    /// Refuses new jobs, runs those queued, ends the threads. A second call finds nothing to do.
    pub(crate) fn shutdown(&self) {
        if !self.process.is_here() {
            // A child of fork has none of the threads: nobody would ever be joined.
            return;
        }
        let mut state = self.shared.state.lock();
        state.closed = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.shared.changed.notify_all();
        for handle in threads {
            if handle.thread().id() != thread::current().id() {
                handle.join().expect("jobs' panics are caught");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut state = self.state.lock();
            let job = loop {
                match state.queue.pop_front() {
                    Some(job) => break job,
                    None if state.closed => return,
                    None => state = self.changed.wait(state),
                }
            };
            drop(state);
            // Whoever needs the panic catches it inside the job; here it must only not end us.
            let _ = caught(job);
        }
    }
}

/// Runs user code; a panic becomes its message.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic_text(&*panic);
        // A panic's payload may panic when dropped: it is not worth a store.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
        text
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_in_order_and_survive_a_panic() {
        let pool = Pool::new("test", 1);
        let order = Arc::new(Mutex::new(Vec::new()));
        for index in 0..10 {
            let order = Arc::clone(&order);
            let job = move || {
                order.lock().push(index);
                assert!(index != 3, "this job panics on purpose");
            };
            assert!(pool.submit(Box::new(job)).is_ok());
        }
        pool.shutdown();
        assert_eq!(*order.lock(), (0..10).collect::<Vec<_>>());
        assert!(pool.submit(Box::new(|| {})).is_err());
    }

    #[test]
    fn a_job_may_shut_its_pool_down() {
        let pool = Arc::new(Pool::new("test", 2));
        let (done, told) = std::sync::mpsc::channel();
        let inner = Arc::clone(&pool);
        let job = move || {
            inner.shutdown();
            done.send(()).unwrap();
        };
        assert!(pool.submit(Box::new(job)).is_ok());
        told.recv().unwrap();
    }
}
