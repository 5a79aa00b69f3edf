//! Time, threads and randomness: the other doors to the world, beside `Disk`.
//!
//! Background work is a [`Worker`]: a state machine that is stepped. The real scheduler steps each
//! worker on a thread of its own; the simulated one steps them on the caller's thread in an order
//! drawn from a seed, so the same code runs under both.

mod entropy;
mod random;
mod store_clock;
mod system_clock;
mod threads;

pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use random::Random;
#[cfg(any(test, feature = "testing"))]
pub(crate) use random::mix;
pub(crate) use store_clock::StoreClock;
pub use system_clock::SystemClock;
pub use threads::ThreadScheduler;

use crate::error::Result;
use std::sync::Arc;
use std::time::Duration;

/// Wall and monotonic time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 (UTC), as the system believes. May jump either way.
    fn wall_ms(&self) -> u64;
    /// Milliseconds since some fixed moment of this process. Never falls.
    fn monotonic_ms(&self) -> u64;
}

/// What one step of a worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Something was done: step again.
    Busy,
    /// Nothing to do until woken, or until so much time has passed.
    Idle(Option<Duration>),
    /// The worker is finished and is dropped.
    Done,
}

/// A piece of background work.
pub trait Worker: Send + 'static {
    /// Does a bounded piece of work.
    fn step(&mut self) -> Progress;

    /// Whether it works for long, and should get the processor after the threads of the
    /// application.
    fn gives_way(&self) -> bool {
        false
    }
}

/// A level-triggered wake-up shared by a worker and those who feed it: a wake that comes before
/// the wait is not lost.
pub trait Wake: Send + Sync + 'static {
    /// Makes the worker step soon.
    fn wake(&self);
}

/// Runs workers.
pub trait Scheduler: Send + Sync + 'static {
    /// Starts a worker. It is stepped until it says [`Progress::Done`].
    /// Fails when the system gives no thread. `dead` is called once, if a step panics.
    fn spawn(
        &self,
        name: &str,
        worker: Box<dyn Worker>,
        dead: Box<dyn FnOnce(String) + Send>,
    ) -> Result<Arc<dyn Wake>>;

    /// Gives others a chance: the caller waits for background work and has nothing to do. Threads
    /// sleep up to `limit`; the simulated scheduler steps a worker, or lets simulated time pass.
    fn pause(&self, limit: Duration);

    /// Lets other threads run until `until` holds, or for about `limit`: for waits that are over
    /// sooner than a thread sleeps and wakes. Where no thread runs beside the caller it returns at
    /// once.
    fn yield_until(&self, limit: Duration, until: &dyn Fn() -> bool) {
        let _ = (limit, until);
    }

    /// Runs both, and returns once both have ended: `beside` on a thread of its own, `own` on that
    /// of the caller. Without threads one after the other, `beside` first: so `own` may wait for
    /// it, but it not for `own`.
    fn together(&self, name: &str, beside: &mut (dyn FnMut() + Send), own: &mut dyn FnMut()) {
        let _ = name;
        beside();
        own();
    }

    /// Whether all workers run on the caller's thread: then nobody else will lead a commit.
    fn single_threaded(&self) -> bool;
}

/// What a panic said, for `dead` and the health cell.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
