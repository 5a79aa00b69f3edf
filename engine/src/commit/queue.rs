//! The commit queue: any thread pushes, one thread at a time leads.
//!
//! # Invariants
//! I1. Whoever pushes either becomes the leader, or the leader that kept it from becoming one looks
//!     at the queue again after the push. So no slot waits without a leader.
//! I2. A sleeper is woken when its slot is completed, and when leadership is free while slots wait.
//!
//! # Concurrency
//! `push`, `pop` and `try_lead` take no lock. The mutex guards no data: it closes the gap between a
//! sleeper's last look and its sleep.

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
    sleepers: Mutex<()>,
    wake: Condvar,
}

/// The right to complete slots. Dropping it gives it away, and wakes a successor if slots wait.
pub(crate) struct Leadership<'a, T> {
    queue: &'a CommitQueue<T>,
}

impl<T> CommitQueue<T> {
    pub(crate) fn new() -> CommitQueue<T> {
        CommitQueue {
            waiting: Waiting::new(),
            leading: AtomicBool::new(false),
            sleepers: Mutex::new(()),
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

    /// Sleeps until `done`, or until leadership may be free.
    pub(crate) fn sleep_unless(&self, done: impl Fn() -> bool) {
        let mut guard = self.sleepers.lock();
        while !done() && self.leading.load(Ordering::SeqCst) {
            guard = self.wake.wait(guard);
        }
    }

    /// Wakes every sleeper, after slots were completed.
    pub(crate) fn wake_all(&self) {
        drop(self.sleepers.lock());
        self.wake.notify_all();
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
        if !self.queue.waiting.is_empty() {
            self.queue.wake_all();
        }
    }
}

#[cfg(all(loom, test))]
mod loom_tests {
    //! Every interleaving of two committers: each is completed, sequence ids are dense and in
    //! order, and a reader never sees an entry without all below it.
    use super::*;
    use crate::sync::{Arc, AtomicU64};

    struct Model {
        queue: CommitQueue<Arc<AtomicU64>>,
        /// The leader's own: the next sequence id.
        next: Mutex<u64>,
        log: [AtomicU64; 3],
        published: AtomicU64,
    }

    fn commit(model: &Model) -> u64 {
        let slot = Arc::new(AtomicU64::new(0));
        model.queue.push(Arc::clone(&slot));
        while slot.load(Ordering::Acquire) == 0 {
            match model.queue.try_lead() {
                Some(leadership) => lead(model, &leadership),
                None => model.queue.sleep_unless(|| slot.load(Ordering::Acquire) != 0),
            }
        }
        slot.load(Ordering::Acquire)
    }

    fn lead(model: &Model, leadership: &Leadership<'_, Arc<AtomicU64>>) {
        let mut next = model.next.lock();
        let mut group = Vec::new();
        while let Some(slot) = leadership.pop() {
            let seq = *next;
            *next += 1;
            model.log[usize::try_from(seq).unwrap()].store(seq, Ordering::Relaxed);
            group.push((slot, seq));
        }
        model.published.store(*next - 1, Ordering::Release);
        for (slot, seq) in group {
            slot.store(seq, Ordering::Release);
        }
        drop(next);
        model.queue.wake_all();
    }

    #[test]
    fn loom_assignment_and_publication() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model {
                queue: CommitQueue::new(),
                next: Mutex::new(1),
                log: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)],
                published: AtomicU64::new(0),
            });
            let other = Arc::clone(&model);
            let writer = loom::thread::spawn(move || commit(&other));
            let reader_model = Arc::clone(&model);
            let reader = loom::thread::spawn(move || {
                let published = reader_model.published.load(Ordering::Acquire);
                for seq in 1..=published {
                    let place = usize::try_from(seq).unwrap();
                    assert_eq!(reader_model.log[place].load(Ordering::Relaxed), seq);
                }
            });
            let mine = commit(&model);
            let theirs = writer.join().unwrap();
            reader.join().unwrap();
            assert_eq!((mine.min(theirs), mine.max(theirs)), (1, 2));
        });
    }
}
