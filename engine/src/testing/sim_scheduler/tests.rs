use super::*;

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Writes its name at each step and does what the closure says.
struct Named<F>(&'static str, Log, F);

impl<F: FnMut() -> Progress + Send + 'static> Worker for Named<F> {
    fn step(&mut self) -> Progress {
        self.1.lock().push(self.0);
        (self.2)()
    }
}

fn nobody() -> Dead {
    Box::new(|message| panic!("the worker died: {message}"))
}

fn busy_times(times: u32) -> impl FnMut() -> Progress + Send + 'static {
    let mut left = times;
    move || {
        left -= 1;
        if left == 0 { Progress::Done } else { Progress::Busy }
    }
}

fn order(seed: u64) -> (Vec<&'static str>, u64) {
    let scheduler = SimScheduler::new(seed, SimClock::new(0));
    let log = Log::default();
    for name in ["a", "b", "c"] {
        let worker = Box::new(Named(name, Arc::clone(&log), busy_times(5)));
        scheduler.spawn(name, worker, nobody()).unwrap();
    }
    assert_eq!(scheduler.run_until_idle(1000), 15);
    assert_eq!(scheduler.worker_count(), 0);
    let order = log.lock().clone();
    (order, scheduler.order_hash())
}

#[test]
fn the_seed_decides_the_order() {
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn idle_workers_step_when_woken_or_when_their_time_has_come() {
    let clock = SimClock::new(0);
    let scheduler = SimScheduler::new(1, clock.clone());
    let log = Log::default();
    let waits = Box::new(Named("waits", Arc::clone(&log), || Progress::Idle(None)));
    let wake = scheduler.spawn("waits", waits, nobody()).unwrap();
    assert_eq!(scheduler.run_until_idle(100), 1);
    wake.wake();
    wake.wake();
    assert_eq!(scheduler.run_until_idle(100), 1);

    let ticks = || Progress::Idle(Some(Duration::from_millis(10)));
    let ticks = Box::new(Named("ticks", Arc::clone(&log), ticks));
    scheduler.spawn("ticks", ticks, nobody()).unwrap();
    assert_eq!(scheduler.run_until_idle(100), 1);
    scheduler.pause(Duration::from_millis(4));
    assert_eq!((clock.monotonic_ms(), scheduler.run_until_idle(100)), (4, 0));
    scheduler.pause(Duration::from_secs(100));
    assert_eq!((clock.monotonic_ms(), scheduler.run_until_idle(100)), (10, 1));
    scheduler.pause(Duration::ZERO);
    assert_eq!(clock.monotonic_ms(), 11);
    assert_eq!(*log.lock(), ["waits", "waits", "ticks", "ticks"]);
    assert!(scheduler.single_threaded());
}

/// A flush that stalls pauses inside its own step: the others must go on, it must not be entered.
#[test]
fn a_pause_inside_a_step_runs_the_others() {
    let scheduler = SimScheduler::new(3, SimClock::new(0));
    let log = Log::default();
    let inner = scheduler.clone();
    let pauses = move || {
        for _ in 0..3 {
            inner.pause(Duration::from_millis(1));
        }
        let other = Named("spawned inside", Log::default(), || Progress::Done);
        inner.spawn("spawned inside", Box::new(other), nobody()).unwrap();
        Progress::Done
    };
    let worker = Box::new(Named("pauses", Arc::clone(&log), pauses));
    scheduler.spawn("pauses", worker, nobody()).unwrap().wake();
    assert!(scheduler.step_one());
    assert_eq!(scheduler.clock().monotonic_ms(), 3);
    assert_eq!((scheduler.worker_count(), scheduler.run_until_idle(10)), (1, 1));

    let inner = scheduler.clone();
    let mut paused = false;
    let once = move || {
        if !std::mem::replace(&mut paused, true) {
            inner.run_until_idle(10);
        }
        Progress::Done
    };
    scheduler.spawn("once", Box::new(Named("once", Arc::clone(&log), once)), nobody()).unwrap();
    let worker = Box::new(Named("other", Arc::clone(&log), busy_times(4)));
    scheduler.spawn("other", worker, nobody()).unwrap();
    scheduler.run_until_idle(100);
    let log = log.lock();
    assert_eq!(log.iter().filter(|name| **name == "once").count(), 1);
    assert_eq!(log.iter().filter(|name| **name == "other").count(), 4);
}

#[test]
fn a_wake_during_a_step_is_not_lost() {
    let scheduler = SimScheduler::new(3, SimClock::new(0));
    let own_wake: Arc<Mutex<Option<Arc<dyn Wake>>>> = Arc::default();
    let seen = Arc::clone(&own_wake);
    let wakes_itself = move || {
        if let Some(wake) = seen.lock().take() {
            wake.wake();
        }
        Progress::Idle(None)
    };
    let worker = Box::new(Named("self", Log::default(), wakes_itself));
    *own_wake.lock() = Some(scheduler.spawn("self", worker, nobody()).unwrap());
    assert_eq!(scheduler.run_until_idle(100), 2);
}

#[test]
fn a_panic_is_reported_and_ends_the_worker() {
    let scheduler = SimScheduler::new(3, SimClock::new(0));
    let worker = Box::new(Named("dies", Log::default(), || panic!("on purpose")));
    let told = Arc::new(Mutex::new(String::new()));
    let hears = Arc::clone(&told);
    let dead = Box::new(move |message| *hears.lock() = message);
    scheduler.spawn("dies", worker, dead).unwrap();
    assert_eq!(scheduler.run_until_idle(100), 1);
    assert_eq!(*told.lock(), "on purpose");
    assert_eq!(scheduler.worker_count(), 0);
}

#[test]
fn a_kill_drops_the_workers_even_from_inside() {
    let scheduler = SimScheduler::new(3, SimClock::new(0));
    let inner = scheduler.clone();
    let kills = move || {
        inner.kill();
        Progress::Busy
    };
    let marker = Arc::new(());
    let held = Arc::clone(&marker);
    let holds = move || {
        let _ = &held;
        Progress::Idle(None)
    };
    scheduler.spawn("holds", Box::new(Named("holds", Log::default(), holds)), nobody()).unwrap();
    scheduler.run_until_idle(10);
    scheduler.spawn("kills", Box::new(Named("kills", Log::default(), kills)), nobody()).unwrap();
    assert_eq!(scheduler.run_until_idle(100), 1);
    assert_eq!((scheduler.worker_count(), Arc::strong_count(&marker)), (0, 1));
}

#[test]
fn a_dismissal_drops_the_workers_of_a_name_alone() {
    let scheduler = SimScheduler::new(3, SimClock::new(0));
    let log = Log::default();
    for name in ["stays", "goes"] {
        let worker = Box::new(Named(name, Arc::clone(&log), || Progress::Idle(None)));
        scheduler.spawn(name, worker, nobody()).unwrap();
    }
    scheduler.dismiss("goes");
    scheduler.dismiss("nobody");
    assert_eq!((scheduler.worker_count(), scheduler.run_until_idle(10)), (1, 1));
    assert_eq!(*log.lock(), ["stays"]);
}
