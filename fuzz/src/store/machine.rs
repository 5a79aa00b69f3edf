//! A simulated machine with one process that has the store open.

use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::testing::{
    CrashPolicy, Random, SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler,
};
use tidelog_engine::{Engine, Options, Parts, ReadMode, Result};

/// 2024-01-01, in milliseconds since 1970.
const START_MS: u64 = 1_704_067_200_000;

/// The machine.
pub(super) struct Machine {
    disk: SimDisk,
    clock: SimClock,
    random: Random,
    options: Options,
    process: Option<Process>,
}

struct Process {
    engine: Engine,
    scheduler: SimScheduler,
}

impl Machine {
    /// A new machine with a new, tiny store: every few commits flush, a few flushes compact, the
    /// ring wraps.
    pub(super) fn start(random: &mut Random) -> Result<Machine> {
        let options = SimOptions {
            alignment: [512, 4096][random.index(2)],
            sector: [512, 4096][random.index(2)],
            ..SimOptions::default()
        };
        let mut machine = Machine {
            disk: SimDisk::new(options),
            clock: SimClock::new(START_MS),
            random: random.fork(),
            options: Options {
                ring_bytes: 256 * 1024,
                memtable_bytes: 16 * 1024,
                sstable_bytes: 16 * 1024,
                memory_budget: 1 << 20,
                output_rate: 0,
                read_mode: [ReadMode::Map, ReadMode::Read][random.index(2)],
                ..Options::default()
            },
            process: None,
        };
        machine.open()?;
        Ok(machine)
    }

    /// The open store.
    pub(super) fn engine(&self) -> &Engine {
        &self.process.as_ref().expect("a process runs").engine
    }

    /// Opens the store as a new process does.
    pub(super) fn open(&mut self) -> Result<()> {
        let scheduler = SimScheduler::new(self.random.next_u64(), self.clock.clone());
        let parts = Parts {
            disk: Arc::new(self.disk.reopen()),
            cold: None,
            clock: Arc::new(self.clock.clone()),
            scheduler: Arc::new(scheduler.clone()),
            entropy: Arc::new(SeededEntropy::new(self.random.next_u64())),
            name: "fuzzed.tide".to_owned(),
        };
        let engine = Engine::open_with(parts, self.options.clone())?;
        self.process = Some(Process { engine, scheduler });
        Ok(())
    }

    /// Steps background work.
    pub(super) fn run_background(&self, steps: usize) {
        let process = self.process.as_ref().expect("a process runs");
        process.scheduler.run_until_idle(steps);
    }

    /// Lets time pass; now and then the wall clock jumps.
    pub(super) fn pass_time(&self, random: &mut Random) {
        self.clock.advance(Duration::from_millis(random.below(5000)));
        if random.chance(1, 4) {
            let hours = i64::try_from(random.below(9)).expect("it is below 9") - 4;
            self.clock.jump_wall(hours * 3_600_000);
        }
    }

    /// Closes in order and opens again.
    pub(super) fn close_and_open(&mut self) -> Result<()> {
        let process = self.process.take().expect("a process runs");
        process.engine.close()?;
        drop(process);
        self.open()
    }

    /// The disk fails for good, so many operations from now.
    pub(super) fn crash_soon(&self, operations: u64) {
        self.disk.crash_at(self.disk.operation_count() + operations);
    }

    /// The process is gone, and the disk is what the crash left of it.
    pub(super) fn crash(&mut self, policy: &CrashPolicy) {
        let image = self.disk.crash_image(policy);
        self.end();
        self.disk = image;
    }

    /// An opening that is cut off, so many operations from now, by the same kind of crash.
    pub(super) fn crash_in_recovery(&mut self, operations: u64, policy: &CrashPolicy) {
        self.crash_soon(operations);
        // Whether it comes to its end or fails: the process is gone then.
        let _ = self.open();
        self.crash(policy);
    }

    /// Ends the process without closing the store: from here on its disk takes nothing, so the
    /// engine's own attempt to close fails. The workers live until then, since it waits for them.
    pub(super) fn end(&mut self) {
        self.disk.crash_at(self.disk.operation_count());
        if let Some(Process { engine, scheduler }) = self.process.take() {
            drop(engine);
            scheduler.kill();
        }
    }
}
