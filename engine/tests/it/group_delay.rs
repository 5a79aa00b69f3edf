//! Few callers that commit durably share their syncs: a group waits a moment for those who were
//! just told of the last one.

use super::hooked_disk::HookedDisk;
use super::regression::{entry, watched};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tidelog_engine::testing::{SeededEntropy, SimDisk, SimOptions};
use tidelog_engine::{
    Durability, Engine, Options, Parts, Result, Scheduler, SystemClock, TableOptions,
    ThreadScheduler, Wake, Worker,
};

/// Real threads, but whoever is waited for has all the time it needs: how soon a machine wakes a
/// thread is not what is tested.
struct Patient(ThreadScheduler);

impl Scheduler for Patient {
    fn spawn(
        &self,
        name: &str,
        worker: Box<dyn Worker>,
        dead: Box<dyn FnOnce(String) + Send>,
    ) -> Result<Arc<dyn Wake>> {
        self.0.spawn(name, worker, dead)
    }

    fn pause(&self, limit: Duration) {
        self.0.pause(limit);
    }

    fn yield_until(&self, _: Duration, until: &dyn Fn() -> bool) {
        let start = Instant::now();
        while !until() && start.elapsed() < Duration::from_secs(2) {
            self.0.pause(Duration::from_micros(50));
        }
    }

    fn single_threaded(&self) -> bool {
        false
    }
}

fn store() -> Engine {
    let options = Options { ring_bytes: 1 << 20, ..Options::default() };
    let disk = SimDisk::new(SimOptions::default());
    // A sync takes so long that everybody who comes back meanwhile is there at its end.
    let hook = Arc::new(|| std::thread::sleep(Duration::from_millis(2)));
    let disk = HookedDisk { hook, ..HookedDisk::new(disk, options.ring_bytes) };
    let parts = Parts {
        disk: Arc::new(disk),
        cold: None,
        clock: Arc::new(SystemClock::new()),
        scheduler: Arc::new(Patient(ThreadScheduler::new())),
        entropy: Arc::new(SeededEntropy::new(1)),
        name: "patient.tide".to_owned(),
    };
    Engine::open_with(parts, options).unwrap()
}

/// Groups that it takes for so many threads to commit so often each, in a loop.
fn groups(threads: u8, commits: u64) -> u64 {
    let engine = store();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let before = engine.stats().synced_groups;
    let together = Barrier::new(usize::from(threads));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (engine, together) = (&engine, &together);
            scope.spawn(move || {
                together.wait();
                for _ in 0..commits {
                    engine.commit(entry(table, &[thread], b"text"), Durability::Sync).unwrap();
                }
            });
        }
    });
    let groups = engine.stats().synced_groups - before;
    engine.close().unwrap();
    groups
}

#[test]
fn few_callers_in_a_loop_share_each_sync() {
    // Story: two threads took turns, each group had one of them, and with what it takes to wake a
    // thread they were slower than one alone; four had groups of less than two.
    watched(|| {
        for threads in [2, 5] {
            let groups = groups(threads, 60);
            // A few until all have come; without the delay every second group lacks somebody.
            assert!((60..=70).contains(&groups), "{threads} threads: {groups} groups");
        }
    });
}
