use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Does what the other end of a channel says, and tells of each step.
struct Scripted {
    orders: Receiver<Progress>,
    steps: Sender<&'static str>,
}

impl Worker for Scripted {
    fn step(&mut self) -> Progress {
        match self.orders.try_recv() {
            Ok(order) => {
                let _ = self.steps.send("ordered");
                order
            }
            Err(_) => {
                let _ = self.steps.send("idle");
                Progress::Idle(None)
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = self.steps.send("dropped");
    }
}

const LONG: Duration = Duration::from_secs(20);

fn scripted() -> (Box<Scripted>, Sender<Progress>, Receiver<&'static str>) {
    let (order, orders) = channel();
    let (steps, told) = channel();
    (Box::new(Scripted { orders, steps }), order, told)
}

fn nobody() -> Dead {
    Box::new(|message| panic!("the worker died: {message}"))
}

#[test]
fn a_worker_steps_when_woken_and_ends_when_done() {
    let scheduler = ThreadScheduler::new();
    let (worker, order, told) = scripted();
    let wake = scheduler.spawn("scripted", worker, nobody()).unwrap();
    assert_eq!(told.recv_timeout(LONG).unwrap(), "idle");
    for _ in 0..100 {
        order.send(Progress::Idle(None)).unwrap();
        wake.wake();
        // A wake may find the order taken already by an earlier step: skip such idle steps.
        while told.recv_timeout(LONG).unwrap() != "ordered" {}
    }
    order.send(Progress::Busy).unwrap();
    order.send(Progress::Idle(Some(Duration::from_millis(1)))).unwrap();
    wake.wake();
    while told.recv_timeout(LONG).unwrap() != "ordered" {}
    assert_eq!(told.recv_timeout(LONG).unwrap(), "ordered");
    // Time passed: stepped without a wake.
    assert_eq!(told.recv_timeout(LONG).unwrap(), "idle");
    order.send(Progress::Done).unwrap();
    wake.wake();
    while told.recv_timeout(LONG).unwrap() != "dropped" {}
    wake.wake();
    assert!(!scheduler.single_threaded());
}

#[test]
fn dropping_the_scheduler_stops_and_joins_all_workers() {
    let scheduler = ThreadScheduler::new();
    let (idle, _orders, told) = scripted();
    scheduler.spawn("idle", idle, nobody()).unwrap();
    struct AlwaysBusy;
    impl Worker for AlwaysBusy {
        fn step(&mut self) -> Progress {
            Progress::Busy
        }
    }
    scheduler.spawn("busy", Box::new(AlwaysBusy), nobody()).unwrap();
    drop(scheduler);
    assert_eq!(told.try_iter().last(), Some("dropped"));
}

#[test]
fn a_panic_is_reported_once_and_ends_one_worker() {
    struct Panics;
    impl Worker for Panics {
        fn step(&mut self) -> Progress {
            panic!("on {}", "purpose");
        }
    }
    let scheduler = ThreadScheduler::new();
    let (worker, _orders, told) = scripted();
    let wake = scheduler.spawn("lives", worker, nobody()).unwrap();
    let (report, reports) = channel();
    let dead = Box::new(move |message| report.send(message).unwrap());
    scheduler.spawn("dies", Box::new(Panics), dead).unwrap();
    assert_eq!(reports.recv_timeout(LONG).unwrap(), "on purpose");
    reports.recv_timeout(LONG).expect_err("told once, and then dropped");
    assert_eq!(told.recv_timeout(LONG).unwrap(), "idle");
    wake.wake();
    assert_eq!(told.recv_timeout(LONG).unwrap(), "idle");
}

/// The engine owns the scheduler and a worker may be the last owner of the engine.
#[test]
fn a_worker_may_drop_the_scheduler_itself() {
    struct Owner(Option<Arc<ThreadScheduler>>, Sender<()>);
    impl Worker for Owner {
        fn step(&mut self) -> Progress {
            let alone = self.0.as_ref().is_none_or(|owned| Arc::strong_count(owned) == 1);
            if !alone {
                return Progress::Idle(Some(Duration::from_millis(1)));
            }
            self.0 = None;
            self.1.send(()).unwrap();
            Progress::Done
        }
    }
    let (done, dropped) = channel();
    let scheduler = Arc::new(ThreadScheduler::new());
    let owner = Box::new(Owner(Some(Arc::clone(&scheduler)), done));
    scheduler.spawn("owner", owner, nobody()).unwrap();
    drop(scheduler);
    dropped.recv_timeout(LONG).unwrap();
}

#[test]
fn two_pieces_of_work_run_at_the_same_time() {
    let scheduler = ThreadScheduler::new();
    let ((ask, asked), (answer, answered)) = (channel(), channel());
    let mut sum = 0;
    // Neither could come to its end without the other.
    let mut beside = move || {
        for number in 0..3 {
            ask.send(number).unwrap();
            answered.recv_timeout(LONG).unwrap();
        }
    };
    let mut own = || {
        for _ in 0..3 {
            sum += asked.recv_timeout(LONG).unwrap();
            answer.send(()).unwrap();
        }
    };
    scheduler.together("beside", &mut beside, &mut own);
    assert_eq!(sum, 3);
}

#[test]
fn a_panic_beside_is_one_of_the_caller() {
    let scheduler = ThreadScheduler::new();
    let mut ran = false;
    let mut beside = || panic!("on purpose");
    let mut own = || ran = true;
    let together = AssertUnwindSafe(|| scheduler.together("beside", &mut beside, &mut own));
    catch_unwind(together).unwrap_err();
    assert!(ran);
}
