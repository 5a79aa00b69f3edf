//! The commit queue: any thread pushes, one thread at a time leads.
//!
//! # Invariants
//! I1. Whoever pushes either becomes the leader, or the leader that kept it from becoming one looks
//!     at the queue again once leadership is free (`Core::give_away`), and calls the commit worker
//!     if slots wait. So no slot waits without a leader on its way.
//! I2. A sleeper is woken when its slot is completed, and for nothing else: what a leader leaves
//!     behind is led by the worker. Sleepers cannot be told apart, so to wake them for a successor
//!     would wake all of them, and cost each a change of threads (measured: an eighth of what
//!     durable commits of 64 threads take of the processors).
//!
//! # Concurrency
//! `push`, `pop`, `try_lead` and `is_led` take no lock. The mutex closes the gap between a
//! sleeper's last look and its sleep, and guards their count: where nobody sleeps, waking is no
//! call of the system.

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering};

#[cfg(loom)]
mod waiting {
    //! loom cannot see inside the lock-free queue: a locked one stands in.
    use crate::sync::Mutex;
    use std::collections::VecDeque;

    pub(super) struct Waiting<T>(Mutex<VecDeque<T>>);

    impl<T> Waiting<T> {
        pub(super) fn new() -> Self {
            Waiting(Mutex::new(VecDeque::new()))
        }
        pub(super) fn push(&self, item: T) {
            self.0.lock().push_back(item);
        }
        pub(super) fn pop(&self) -> Option<T> {
            self.0.lock().pop_front()
        }
        pub(super) fn is_empty(&self) -> bool {
            self.0.lock().is_empty()
        }
    }
}
#[cfg(not(loom))]
use crossbeam_queue::SegQueue as Waiting;
#[cfg(loom)]
use waiting::Waiting;

/// Waiting slots and the leadership over them.
pub(crate) struct CommitQueue<T> {
    waiting: Waiting<T>,
    leading: AtomicBool,
    /// How many there are.
    sleepers: Mutex<usize>,
    wake: Condvar,
}

/// The right to complete slots. Dropping it gives it away; whoever does so looks at the queue
/// afterwards.
pub(crate) struct Leadership<'a, T> {
    queue: &'a CommitQueue<T>,
}

impl<T> CommitQueue<T> {
    pub(crate) fn new() -> CommitQueue<T> {
        CommitQueue {
            waiting: Waiting::new(),
            leading: AtomicBool::new(false),
            sleepers: Mutex::new(0),
            wake: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, item: T) {
        self.waiting.push(item);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Leadership, if nobody has it.
    pub(crate) fn try_lead(&self) -> Option<Leadership<'_, T>> {
        // Sequentially consistent with the push before and the leader's last look: see I1.
        self.leading
            .compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst)
            .ok()
            .map(|_| Leadership { queue: self })
    }

    /// Whether somebody leads, who will look at the queue after giving leadership away: asked after
    /// a push, it tells whether the worker must be called.
    pub(crate) fn is_led(&self) -> bool {
        self.leading.load(Ordering::SeqCst)
    }

    /// Sleeps until `done`, unless leadership is free.
    pub(crate) fn sleep_unless(&self, done: impl Fn() -> bool) {
        let mut sleepers = self.sleepers.lock();
        *sleepers += 1;
        while !done() && self.is_led() {
            sleepers = self.wake.wait(sleepers);
        }
        *sleepers -= 1;
    }

    /// Wakes every sleeper, after slots were completed.
    pub(crate) fn wake_all(&self) {
        let nobody = *self.sleepers.lock() == 0;
        if !nobody {
            self.wake.notify_all();
        }
    }
}

impl<T> Leadership<'_, T> {
    /// The oldest waiting slot.
    pub(crate) fn pop(&self) -> Option<T> {
        self.queue.waiting.pop()
    }
}

impl<T> Drop for Leadership<'_, T> {
    fn drop(&mut self) {
        self.queue.leading.store(false, Ordering::SeqCst);
    }
}

#[cfg(all(loom, test))]
#[path = "queue_loom_tests.rs"]
mod loom_tests;
