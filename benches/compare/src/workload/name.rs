//! The workloads by name, in the order in which they run.

/// A workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum WorkloadName {
    /// Bulk ingest; ends in an abort.
    W1,
    /// Open after the kill of W1, to the first successful read.
    W6,
    /// Reads on the database of W1, opened afresh.
    W4,
    /// The same with nothing of it in memory.
    W4c,
    /// Durable commits, one writer.
    W2,
    /// Durable commits, 64 threads, grouped by the engine.
    W3,
    /// The same grouped by the application.
    W3q,
    /// The same by 64 asynchronous writers on one thread.
    W3a,
    /// Fan-out.
    W5,
    /// Feeds, four times as large as the memory allowed.
    W7,
    /// A steady stream under a time to live.
    W8,
    /// Commits by 1 to 16 threads.
    ScalingThreads,
    /// Bulk ingest into 1,000 to 10,000,000 timelines.
    ScalingTimelines,
    /// Bulk ingest of 1 to 20 GB.
    ScalingGigabytes,
}

impl std::fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes of memory that W7 may take at full size.
const FEED_MEMORY_BYTES: f64 = (1 << 30) as f64;
/// Less than this no engine here runs in, whatever the size of the data.
const FEED_MEMORY_BYTES_MIN: u64 = 256 << 20;

impl WorkloadName {
    /// What belongs to one run. W7 and W8 take long, and have runs of their own.
    pub const IN_ONE_RUN: [WorkloadName; 9] = [
        WorkloadName::W1,
        WorkloadName::W2,
        WorkloadName::W3,
        WorkloadName::W3q,
        WorkloadName::W3a,
        WorkloadName::W4,
        WorkloadName::W4c,
        WorkloadName::W5,
        WorkloadName::W6,
    ];

    /// What grows.
    pub const SCALING: [WorkloadName; 3] = [
        WorkloadName::ScalingThreads,
        WorkloadName::ScalingTimelines,
        WorkloadName::ScalingGigabytes,
    ];

    /// All of them.
    pub fn all() -> Vec<WorkloadName> {
        <WorkloadName as clap::ValueEnum>::value_variants().to_vec()
    }

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            WorkloadName::W1 => "w1",
            WorkloadName::W2 => "w2",
            WorkloadName::W3 => "w3",
            WorkloadName::W3q => "w3q",
            WorkloadName::W3a => "w3a",
            WorkloadName::W4 => "w4",
            WorkloadName::W4c => "w4c",
            WorkloadName::W5 => "w5",
            WorkloadName::W6 => "w6",
            WorkloadName::W7 => "w7",
            WorkloadName::W8 => "w8",
            WorkloadName::ScalingThreads => "scaling-threads",
            WorkloadName::ScalingTimelines => "scaling-timelines",
            WorkloadName::ScalingGigabytes => "scaling-gigabytes",
        }
    }

    /// Whether it works on the database that W1 has left.
    pub fn follows_ingest(self) -> bool {
        matches!(self, WorkloadName::W4 | WorkloadName::W4c | WorkloadName::W6)
    }

    /// What grows: the steps. A workload that is not of scaling has one, 0.
    pub fn parameters(self, scale: f64) -> Vec<u64> {
        let up_to = |largest: f64, all: &[u64]| {
            let is_in = |step: &&u64| **step as f64 <= largest * scale || **step == all[0];
            all.iter().filter(is_in).copied().collect()
        };
        match self {
            WorkloadName::ScalingThreads => vec![1, 2, 4, 8, 16],
            WorkloadName::ScalingTimelines => {
                up_to(1e7, &[1_000, 10_000, 100_000, 1_000_000, 10_000_000])
            }
            WorkloadName::ScalingGigabytes => up_to(20.0, &[1, 2, 5, 10, 20]),
            _ => vec![0],
        }
    }

    /// Bytes of memory that the process is allowed, where it is not all there is.
    pub fn memory_bytes(self, scale: f64) -> Option<u64> {
        let scaled = std::time::Duration::from_secs_f64(FEED_MEMORY_BYTES / 1e9 * scale);
        let bytes = u64::try_from(scaled.as_nanos()).unwrap_or(u64::MAX);
        (self == WorkloadName::W7).then(|| bytes.max(FEED_MEMORY_BYTES_MIN))
    }
}
