//! Every interleaving of two committers and the worker that leads what leaders leave behind: each
//! slot is completed, sequence ids are dense and in order, and a reader never sees an entry without
//! all below it.

use super::{CommitQueue, Leadership};
use crate::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, Ordering};

struct Model {
    queue: CommitQueue<Arc<AtomicU64>>,
    /// Slots that a leader takes before it gives leadership away.
    takes: usize,
    /// The leader's own: the next sequence id.
    next: Mutex<u64>,
    log: [AtomicU64; 3],
    published: AtomicU64,
    /// The worker's bell.
    rung: Mutex<bool>,
    bell: Condvar,
    over: AtomicBool,
    /// Writers that are done.
    committed: Mutex<u64>,
}

fn model(takes: usize) -> Arc<Model> {
    Arc::new(Model {
        queue: CommitQueue::new(),
        takes,
        next: Mutex::new(1),
        log: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)],
        published: AtomicU64::new(0),
        rung: Mutex::new(false),
        bell: Condvar::new(),
        over: AtomicBool::new(false),
        committed: Mutex::new(0),
    })
}

impl Model {
    /// As `Core::commit`.
    fn commit(&self) -> u64 {
        let slot = Arc::new(AtomicU64::new(0));
        self.queue.push(Arc::clone(&slot));
        while slot.load(Ordering::Acquire) == 0 {
            if !self.lead() {
                self.queue.sleep_unless(|| slot.load(Ordering::Acquire) != 0);
            }
        }
        slot.load(Ordering::Acquire)
    }

    /// As `Core::submit`.
    fn submit(&self) -> Arc<AtomicU64> {
        let slot = Arc::new(AtomicU64::new(0));
        self.queue.push(Arc::clone(&slot));
        if !self.queue.is_led() {
            self.ring();
        }
        slot
    }

    /// As `Core::lead` and `Core::give_away`.
    fn lead(&self) -> bool {
        let Some(leadership) = self.queue.try_lead() else { return false };
        self.serve(&leadership);
        drop(leadership);
        if !self.queue.is_empty() {
            self.ring();
        }
        true
    }

    fn serve(&self, leadership: &Leadership<'_, Arc<AtomicU64>>) {
        let mut next = self.next.lock();
        let mut group = Vec::new();
        while let Some(slot) = (group.len() < self.takes).then(|| leadership.pop()).flatten() {
            let seq = *next;
            *next += 1;
            self.log[usize::try_from(seq).unwrap()].store(seq, Ordering::Relaxed);
            group.push((slot, seq));
        }
        self.published.store(*next - 1, Ordering::Release);
        for (slot, seq) in group {
            slot.store(seq, Ordering::Release);
        }
        drop(next);
        self.queue.wake_all();
    }

    fn ring(&self) {
        *self.rung.lock() = true;
        self.bell.notify_all();
    }

    /// Tells the worker that all is done.
    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.ring();
    }

    /// As the commit worker.
    fn work(&self) {
        loop {
            if !self.queue.is_empty() && self.lead() {
                continue;
            }
            let mut rung = self.rung.lock();
            while !*rung {
                rung = self.bell.wait(rung);
            }
            *rung = false;
            drop(rung);
            if self.over.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

fn check(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

fn spawn<T: 'static>(
    model: &Arc<Model>,
    work: impl FnOnce(&Model) -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let model = Arc::clone(model);
    loom::thread::spawn(move || work(&model))
}

#[test]
fn loom_assignment_and_publication() {
    check(3, || {
        let model = model(2);
        let writers = [(); 2].map(|()| spawn(&model, commit_and_end));
        let published = model.published.load(Ordering::Acquire);
        for seq in 1..=published {
            let place = usize::try_from(seq).unwrap();
            assert_eq!(model.log[place].load(Ordering::Relaxed), seq);
        }
        model.work();
        let [one, other] = writers.map(|writer| writer.join().unwrap());
        assert_eq!((one.min(other), one.max(other)), (1, 2));
    });
}

/// Commits, and ends the model where the other one has committed.
fn commit_and_end(model: &Model) -> u64 {
    let seq = model.commit();
    let mut committed = model.committed.lock();
    *committed += 1;
    if *committed == 2 {
        model.end();
    }
    seq
}

#[test]
fn loom_what_a_leader_leaves_behind_is_led_by_the_worker() {
    check(2, || {
        let model = model(1);
        let worker = spawn(&model, Model::work);
        let writer = spawn(&model, Model::commit);
        let mine = model.commit();
        let theirs = writer.join().unwrap();
        assert_eq!((mine.min(theirs), mine.max(theirs)), (1, 2));
        model.end();
        worker.join().unwrap();
    });
}

#[test]
fn loom_a_slot_that_nobody_waits_for_is_completed_all_the_same() {
    check(2, || {
        let model = model(1);
        let worker = spawn(&model, Model::work);
        let writer = spawn(&model, Model::commit);
        let slot = model.submit();
        while slot.load(Ordering::Acquire) == 0 {
            loom::thread::yield_now();
        }
        writer.join().unwrap();
        model.end();
        worker.join().unwrap();
    });
}
