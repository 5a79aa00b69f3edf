//! One simulated machine, and the stores opened on it.

use super::linked_disk::LinkedDisk;
use std::sync::Arc;
use tidelog_engine::testing::{
    CrashPolicy, SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler,
};
use tidelog_engine::{Disk, Engine, OpenCold, Options, Parts, ReadMode, Result, UnsyncedCommits};

/// 2024-01-01, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_704_067_200_000;

/// A machine: a disk, a clock, and a scheduler for the present process.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    /// The second disk, with the cold file, if there is one.
    pub(crate) cold: Option<SimDisk>,
    pub(crate) clock: SimClock,
    pub(crate) seed: u64,
}

/// A process that has the store open.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) scheduler: SimScheduler,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::with_disk(SimDisk::new(SimOptions::default()), seed)
    }

    pub(crate) fn with_disk(disk: SimDisk, seed: u64) -> World {
        World { disk, cold: None, clock: SimClock::new(START_MS), seed }
    }

    /// The same, with a second disk.
    pub(crate) fn with_cold(seed: u64) -> World {
        World { cold: Some(SimDisk::new(SimOptions::default())), ..World::new(seed) }
    }

    /// Opens the store as a new process would.
    pub(crate) fn open(&self, options: &Options) -> Result<Process> {
        let scheduler = SimScheduler::new(self.seed, self.clock.clone());
        let (disk, cold): (Arc<dyn Disk>, Option<OpenCold>) = match &self.cold {
            None => (Arc::new(self.disk.reopen()), None),
            Some(cold) => {
                let (main, second) = LinkedDisk::pair(&self.disk, cold);
                let open = move |_| Ok(Arc::new(second.reopen()) as Arc<dyn Disk>);
                (Arc::new(main), Some(Arc::new(open)))
            }
        };
        self.open_parts(disk, cold, scheduler, options)
    }

    /// Opens the store as a new process would that does not find the cold file.
    pub(crate) fn open_without_cold(&self, options: &Options) -> Result<Process> {
        let scheduler = SimScheduler::new(self.seed, self.clock.clone());
        let options = Options { without_cold_file: true, ..options.clone() };
        self.open_parts(Arc::new(self.disk.reopen()), None, scheduler, &options)
    }

    fn open_parts(
        &self,
        disk: Arc<dyn Disk>,
        cold: Option<OpenCold>,
        scheduler: SimScheduler,
        options: &Options,
    ) -> Result<Process> {
        let parts = Parts {
            disk,
            cold,
            clock: Arc::new(self.clock.clone()),
            scheduler: Arc::new(scheduler.clone()),
            entropy: Arc::new(SeededEntropy::new(self.seed ^ self.disk.operation_count())),
            name: "simulated.tide".to_owned(),
        };
        Ok(Process { engine: Engine::open_with(parts, options.clone())?, scheduler })
    }

    /// All disks, the main one first.
    pub(crate) fn disks(&self) -> Vec<&SimDisk> {
        std::iter::once(&self.disk).chain(&self.cold).collect()
    }

    /// The machine after a crash.
    pub(crate) fn after(&self, policy: &CrashPolicy) -> World {
        World {
            disk: self.disk.crash_image(policy),
            cold: self.cold.as_ref().map(|cold| cold.crash_image(policy)),
            clock: self.clock.clone(),
            seed: self.seed + 1,
        }
    }
}

impl Process {
    /// The process is killed: nothing is closed.
    pub(crate) fn kill(self) {
        self.scheduler.kill();
        self.engine.abandon();
    }
}

/// The smallest store there is: every few commits flush, a few flushes compact, the ring wraps.
/// What nobody wants synced is written past the page cache, as larger commits are.
pub(crate) fn tiny() -> Options {
    Options {
        ring_bytes: 256 * 1024,
        memtable_bytes: 16 * 1024,
        sstable_bytes: 16 * 1024,
        memory_budget: 1 << 20,
        output_rate: 0,
        unsynced_commits: UnsyncedCommits::Direct,
        ..Options::default()
    }
}

/// The same, with small commits that nobody wants synced stored into the page cache.
pub(crate) fn tiny_stored() -> Options {
    Options { unsynced_commits: UnsyncedCommits::Cached, ..tiny() }
}

/// The same as the first, with blocks read by `pread`.
pub(crate) fn tiny_read() -> Options {
    Options { read_mode: ReadMode::Read, ..tiny() }
}
