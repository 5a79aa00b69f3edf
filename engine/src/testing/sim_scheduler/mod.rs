//! `SimScheduler`: all workers on the caller's thread, in an order drawn from a seed.
//!
//! A worker is *runnable* when it is new, was busy, was woken since its last step began, or when
//! the time it wanted to idle has passed. Each step draws one of the runnable workers. Nothing runs
//! unless somebody calls [`Scheduler::pause`], [`SimScheduler::step_one`] or
//! [`SimScheduler::run_until_idle`].
//!
//! # Invariants
//! I1. The lock is not held while a worker steps, is dropped or is reported dead: each may spawn,
//!     wake and pause.
//! I2. A worker that is stepping is not in its slot, so a pause inside a step cannot enter it
//!     again.
//!
//! # Concurrency
//! Made for one thread. Wakes may come from anywhere.

#[cfg(test)]
mod tests;

use super::SimClock;
use crate::error::Result;
use crate::runtime::{Clock, Progress, Random, Scheduler, Wake, Worker, mix, panic_message};
use crate::sync::{AtomicBool, Mutex, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

type Dead = Box<dyn FnOnce(String) + Send>;

/// A deterministic scheduler; clones are the same scheduler.
#[derive(Clone)]
pub struct SimScheduler {
    clock: SimClock,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    slots: Vec<Slot>,
    spawned: u64,
    steps: u64,
    order_hash: u64,
}

struct Slot {
    number: u64,
    name: String,
    /// The worker and whom to tell of its death; away while it steps.
    worker: Option<Hired>,
    wake: Arc<SimWake>,
    /// Runnable from this monotonic time on; `None`: only when woken.
    due_ms: Option<u64>,
}

type Hired = (Box<dyn Worker>, Dead);

struct SimWake(AtomicBool);

impl Wake for SimWake {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Slot {
    fn runnable(&self, now_ms: u64) -> bool {
        let due = self.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        self.worker.is_some() && (due || self.wake.0.load(Ordering::SeqCst))
    }
}

impl SimScheduler {
    /// A scheduler whose order depends on the seed alone.
    pub fn new(seed: u64, clock: SimClock) -> SimScheduler {
        let random = Random::new(seed);
        let state = State { random, slots: Vec::new(), spawned: 0, steps: 0, order_hash: 0 };
        SimScheduler { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Steps one runnable worker; `false` if there is none.
    pub fn step_one(&self) -> bool {
        let Some((number, (mut worker, dead))) = self.take_runnable() else {
            return false;
        };
        match catch_unwind(AssertUnwindSafe(|| worker.step())) {
            Ok(Progress::Busy) => self.put_back(number, worker, dead, Some(Duration::ZERO)),
            Ok(Progress::Idle(limit)) => self.put_back(number, worker, dead, limit),
            Ok(Progress::Done) => {
                self.remove(number);
                drop(worker);
            }
            Err(payload) => {
                self.remove(number);
                drop(worker);
                dead(panic_message(&*payload));
            }
        }
        true
    }

    /// Steps until no worker is runnable or `max_steps` are done; returns the steps. No time
    /// passes.
    pub fn run_until_idle(&self, max_steps: usize) -> usize {
        (0..max_steps).take_while(|_| self.step_one()).count()
    }

    /// Drops all workers as they are: the process is killed. A worker that is stepping is dropped
    /// when its step ends.
    pub fn kill(&self) {
        let slots = std::mem::take(&mut self.state.lock().slots);
        drop(slots);
    }

    /// Drops the workers of this name as they are: a test does what they would have done.
    pub fn dismiss(&self, name: &str) {
        let mut state = self.state.lock();
        let slots: Vec<Slot> = state.slots.extract_if(.., |slot| slot.name == name).collect();
        drop(state);
        drop(slots);
    }

    /// Workers that are not done.
    pub fn worker_count(&self) -> usize {
        self.state.lock().slots.len()
    }

    /// Steps so far.
    pub fn step_count(&self) -> u64 {
        self.state.lock().steps
    }

    /// A hash over which worker was stepped when, for determinism tests.
    pub fn order_hash(&self) -> u64 {
        self.state.lock().order_hash
    }

    /// The clock that this scheduler advances.
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    fn take_runnable(&self) -> Option<(u64, Hired)> {
        let now_ms = self.clock.monotonic_ms();
        let mut state = self.state.lock();
        let runnable: Vec<usize> =
            (0..state.slots.len()).filter(|index| state.slots[*index].runnable(now_ms)).collect();
        if runnable.is_empty() {
            return None;
        }
        let index = runnable[state.random.index(runnable.len())];
        state.steps += 1;
        let slot = &mut state.slots[index];
        // Taken before the step: a wake during it makes the worker runnable again.
        slot.wake.0.store(false, Ordering::SeqCst);
        slot.due_ms = None;
        let (number, taken) = (slot.number, slot.worker.take());
        state.order_hash = mix(state.order_hash.rotate_left(7) ^ mix(number) ^ now_ms);
        taken.map(|worker| (number, worker))
    }

    fn put_back(&self, number: u64, worker: Box<dyn Worker>, dead: Dead, limit: Option<Duration>) {
        let now_ms = self.clock.monotonic_ms();
        let mut state = self.state.lock();
        let Some(slot) = state.slots.iter_mut().find(|slot| slot.number == number) else {
            // Killed while it was stepping.
            drop(state);
            drop((worker, dead));
            return;
        };
        slot.due_ms = limit.map(|limit| now_ms.saturating_add(whole_ms(limit)));
        slot.worker = Some((worker, dead));
    }

    fn remove(&self, number: u64) {
        self.state.lock().slots.retain(|slot| slot.number != number);
    }

    /// How long until an idle worker wants to step again.
    fn next_due(&self) -> Option<u64> {
        let now_ms = self.clock.monotonic_ms();
        let state = self.state.lock();
        let idle = state.slots.iter().filter(|slot| slot.worker.is_some());
        idle.filter_map(|slot| slot.due_ms).min().map(|due_ms| due_ms.saturating_sub(now_ms))
    }
}

impl Scheduler for SimScheduler {
    fn spawn(&self, name: &str, worker: Box<dyn Worker>, dead: Dead) -> Result<Arc<dyn Wake>> {
        let wake = Arc::new(SimWake(AtomicBool::new(true)));
        let mut state = self.state.lock();
        state.spawned += 1;
        let slot = Slot {
            number: state.spawned,
            name: name.to_owned(),
            worker: Some((worker, dead)),
            wake: Arc::clone(&wake),
            due_ms: None,
        };
        state.slots.push(slot);
        Ok(wake)
    }

    /// Steps a worker. If there is none to step, time passes: `limit`, but not beyond the moment at
    /// which an idle worker wants to go on, and at least a millisecond, so that nobody waits in
    /// vain.
    fn pause(&self, limit: Duration) {
        if self.step_one() {
            return;
        }
        let limit_ms = whole_ms(limit);
        let passed_ms = self.next_due().map_or(limit_ms, |due_ms| due_ms.min(limit_ms)).max(1);
        self.clock.advance(Duration::from_millis(passed_ms));
    }

    fn single_threaded(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for SimScheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        let names: Vec<&str> = state.slots.iter().map(|slot| slot.name.as_str()).collect();
        f.debug_struct("SimScheduler")
            .field("workers", &names)
            .field("steps", &state.steps)
            .finish()
    }
}

/// Whole milliseconds, rounded up: a short wait is a wait.
fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
