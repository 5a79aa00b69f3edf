//! `ThreadScheduler`: each worker steps on a named thread of its own.
//!
//! A worker's thread: step; when busy step again, when idle wait for a wake or the time, when done
//! or told to stop end. The wake is a flag under a lock beside a condition variable, so one that
//! comes while the worker is stepping is found by the next wait.
//!
//! # Invariants
//! I1. Every thread is owned: dropping the scheduler tells all workers to stop after their present
//!     step, wakes them and joins them (but the one it runs on).
//! I2. A panic of a step ends its worker alone, and `dead` hears of it exactly once.
//!
//! # Concurrency
//! The list of threads is locked for a push or a swap only, never while joining.

#[cfg(not(shuttle))]
mod priority;
#[cfg(test)]
mod tests;

use super::{Progress, Scheduler, Wake, Worker, panic_message};
use crate::error::{Error, Result};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

type Dead = Box<dyn FnOnce(String) + Send>;

/// Runs workers on threads.
#[derive(Debug, Default)]
pub struct ThreadScheduler {
    threads: Mutex<Vec<Thread>>,
}

#[derive(Debug)]
struct Thread {
    bell: Arc<Bell>,
    handle: JoinHandle<()>,
}

/// What a worker waits for.
#[derive(Debug, Default)]
struct Bell {
    state: Mutex<Signals>,
    rung: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Signals {
    wake: bool,
    stop: bool,
}

impl ThreadScheduler {
    /// A scheduler without workers.
    pub fn new() -> ThreadScheduler {
        ThreadScheduler::default()
    }

    /// Joins the threads whose workers are done. Under shuttle that is left to the drop: its
    /// threads do not tell.
    #[cfg(shuttle)]
    fn reap(&self) {}

    /// Joins the threads whose workers are done.
    #[cfg(not(shuttle))]
    fn reap(&self) {
        let mut finished = Vec::new();
        let mut threads = self.threads.lock();
        let mut index = 0;
        while index < threads.len() {
            if threads[index].handle.is_finished() {
                finished.push(threads.swap_remove(index));
            } else {
                index += 1;
            }
        }
        drop(threads);
        finished.into_iter().for_each(join);
    }
}

impl Scheduler for ThreadScheduler {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts threads")]
    fn spawn(&self, name: &str, worker: Box<dyn Worker>, dead: Dead) -> Result<Arc<dyn Wake>> {
        self.reap();
        let bell = Arc::new(Bell::default());
        let bell_of_thread = Arc::clone(&bell);
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(worker, &bell_of_thread, dead))
            .map_err(|error| Error::io("starting a worker thread", 0, error))?;
        self.threads.lock().push(Thread { bell: Arc::clone(&bell), handle });
        Ok(bell)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    fn pause(&self, limit: Duration) {
        #[cfg(not(shuttle))]
        thread::sleep(limit);
        // No time passes there: the others get their turns.
        #[cfg(shuttle)]
        {
            let _ = limit;
            thread::yield_now();
        }
    }

    #[cfg(not(shuttle))]
    #[expect(clippy::disallowed_methods, reason = "microseconds, which no `Clock` tells")]
    fn yield_until(&self, limit: Duration, until: &dyn Fn() -> bool) {
        let start = std::time::Instant::now();
        while !until() && start.elapsed() < limit {
            thread::yield_now();
        }
    }

    /// No time passes there: the others get a turn.
    #[cfg(shuttle)]
    fn yield_until(&self, _: Duration, until: &dyn Fn() -> bool) {
        if !until() {
            thread::yield_now();
        }
    }

    #[cfg(shuttle)]
    fn together(&self, _: &str, beside: &mut (dyn FnMut() + Send), own: &mut dyn FnMut()) {
        thread::scope(|scope| {
            scope.spawn(&mut *beside);
            own();
        });
    }

    #[cfg(not(shuttle))]
    fn together(&self, name: &str, beside: &mut (dyn FnMut() + Send), own: &mut dyn FnMut()) {
        let started = thread::scope(|scope| {
            let builder = thread::Builder::new().name(name.to_owned());
            let started = builder.spawn_scoped(scope, &mut *beside).is_ok();
            if started {
                own();
            }
            started
        });
        if !started {
            beside();
            own();
        }
    }

    fn single_threaded(&self) -> bool {
        false
    }
}

impl Drop for ThreadScheduler {
    fn drop(&mut self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in &threads {
            thread.bell.stop();
        }
        threads.into_iter().for_each(join);
    }
}

fn join(thread: Thread) {
    // The last owner of the scheduler may be a worker: it ends by itself after this step.
    if thread.handle.thread().id() != thread::current().id() {
        // An error is a panic that `dead` has been told of.
        let _ = thread.handle.join();
    }
}

fn run(mut worker: Box<dyn Worker>, bell: &Bell, dead: Dead) {
    #[cfg(not(shuttle))]
    if worker.gives_way() {
        priority::lower();
    }
    while !bell.stopped() {
        match catch_unwind(AssertUnwindSafe(|| worker.step())) {
            Ok(Progress::Busy) => {}
            Ok(Progress::Idle(limit)) => bell.wait(limit),
            Ok(Progress::Done) => return,
            Err(payload) => {
                dead(panic_message(&*payload));
                return;
            }
        }
    }
}

impl Bell {
    fn stopped(&self) -> bool {
        self.state.lock().stop
    }

    fn stop(&self) {
        self.state.lock().stop = true;
        self.rung.notify_all();
    }

    /// Waits for a wake and takes it. With a limit an early return is possible: a worker that is
    /// stepped too soon finds nothing to do.
    fn wait(&self, limit: Option<Duration>) {
        let mut state = self.state.lock();
        match limit {
            Some(limit) if !state.wake && !state.stop => state = self.rung.wait_for(state, limit),
            Some(_) => {}
            None => {
                while !state.wake && !state.stop {
                    state = self.rung.wait(state);
                }
            }
        }
        state.wake = false;
    }
}

impl Wake for Bell {
    fn wake(&self) {
        let rung_before = std::mem::replace(&mut self.state.lock().wake, true);
        // Whoever rang before has woken it: a second call of the system would be for nothing.
        if !rung_before {
            self.rung.notify_all();
        }
    }
}
