//! The one name for atomics, locks and condition variables, so that loom and shuttle can replace
//! them.
//!
//! Everything that threads share goes through this module. Under `--cfg loom` the types are loom's,
//! which explore every interleaving of the small models in `loom_tests` modules. Under
//! `--cfg shuttle` they are shuttle's, and so are the threads of `runtime`: `tests/shuttle.rs` runs
//! the whole engine under schedules drawn at random. Its threads are turns of one thread of the
//! system, so nothing that is not of this module may wait: no `OnceLock` that is filled by what
//! takes a lock.
//!
//! The locks here do not carry poison: a panic while a lock is held is reported by the health cell
//! (see `health.rs`), never by a cascade of panics in other threads. So every critical section
//! leaves its data valid at each line.

#[cfg(loom)]
use loom::sync as imp;
#[cfg(shuttle)]
use shuttle::sync as imp;
#[cfg(not(any(loom, shuttle)))]
use std::sync as imp;

#[cfg(shuttle)]
pub(crate) use shuttle::{thread, thread_local};
#[cfg(not(shuttle))]
pub(crate) use std::{thread, thread_local};

pub(crate) use imp::{
    MutexGuard, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
// The count of references is std's under loom too: loom's own can be no receiver of methods and
// holds no trait objects, and nothing of the models hangs on when a count falls.
pub(crate) use std::sync::Arc;
use std::time::Duration;

/// A mutual-exclusion lock without poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A readers-writer lock without poison. Held for a pointer's clone or swap only.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        RwLock(imp::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A condition variable over [`Mutex`].
#[derive(Debug, Default)]
pub(crate) struct Condvar(imp::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Condvar(imp::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits at most `limit`. A spurious return is possible, as with [`Condvar::wait`].
    #[cfg(not(shuttle))]
    pub(crate) fn wait_for<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> MutexGuard<'a, T> {
        match self.0.wait_timeout(guard, limit) {
            Ok((guard, _)) => guard,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }

    /// No time passes there: a limit is up at once, now and then.
    #[cfg(shuttle)]
    pub(crate) fn wait_for<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
    ) -> MutexGuard<'a, T> {
        use shuttle::rand::Rng;
        if shuttle::rand::thread_rng().gen_ratio(1, 4) { guard } else { self.wait(guard) }
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
