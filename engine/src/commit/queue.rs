//! The commit queue: any thread pushes, one thread at a time leads.
//!
//! # Invariants
//! I1. Whoever pushes either becomes the leader, or the leader that kept it from becoming one looks
//!     at the queue again once leadership is free (`Core::give_away`), and calls the commit worker
//!     if slots wait. So no slot waits without a leader on its way; where the leader stops since
//!     level 0 is full, the worker looks again by itself (`engine/commit_pace.rs`).
//! I2. A sleeper is woken when its slot is completed, and for nothing else: what a leader leaves
//!     behind is led by the worker. Sleepers cannot be told apart, so to wake them for a successor
//!     would wake all of them, and cost each a change of threads (measured: an eighth of what
//!     durable commits of 64 threads take of the processors).
//! I3. Slots are popped in the order in which they were pushed. One that is put back is the oldest.
//!
//! # Concurrency
//! `push`, `pop`, `try_lead` and `is_led` take no lock, but `pop` for what was put back. The mutex
//! closes the gap between a sleeper's last look and its sleep, and guards their count: where nobody
//! sleeps, waking is no call of the system.

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
        pub(super) fn len(&self) -> usize {
            self.0.lock().len()
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
    /// What was put back, and whether there is any: changed by whoever leads.
    first: Mutex<Option<T>>,
    has_first: AtomicBool,
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
            first: Mutex::new(None),
            has_first: AtomicBool::new(false),
            leading: AtomicBool::new(false),
            sleepers: Mutex::new(0),
            wake: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, item: T) {
        self.waiting.push(item);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.has_first.load(Ordering::SeqCst)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.has_first.load(Ordering::SeqCst))
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

    /// Whether a caller sleeps until its slot is completed.
    pub(crate) fn has_sleepers(&self) -> bool {
        *self.sleepers.lock() > 0
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
        if self.queue.has_first.load(Ordering::Relaxed) {
            self.queue.has_first.store(false, Ordering::SeqCst);
            return self.queue.first.lock().take();
        }
        self.queue.waiting.pop()
    }

    /// Gives the slot back that was popped last: it is the next one again.
    pub(crate) fn put_back(&self, item: T) {
        let before = self.queue.first.lock().replace(item);
        assert!(before.is_none(), "only what was popped is put back");
        self.queue.has_first.store(true, Ordering::SeqCst);
    }
}

impl<T> Drop for Leadership<'_, T> {
    fn drop(&mut self) {
        self.queue.leading.store(false, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_back_comes_first_and_counts() {
        let queue = CommitQueue::new();
        queue.push('a');
        queue.push('b');
        let leadership = queue.try_lead().unwrap();
        for _ in 0..2 {
            let popped = leadership.pop().unwrap();
            assert_eq!((popped, queue.len()), ('a', 1));
            leadership.put_back(popped);
            assert_eq!(queue.len(), 2);
        }
        drop(leadership);
        let leadership = queue.try_lead().unwrap();
        assert_eq!((leadership.pop(), leadership.pop()), (Some('a'), Some('b')));
        leadership.put_back('b');
        assert!(!queue.is_empty(), "whoever looks calls the worker for it");
        assert_eq!((leadership.pop(), leadership.pop()), (Some('b'), None));
        assert!(queue.is_empty());
    }
}

#[cfg(all(loom, test))]
#[path = "queue_loom_tests.rs"]
mod loom_tests;
