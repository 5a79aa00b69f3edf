//! What one run measured: a line of JSON.

use serde::{Deserialize, Serialize};

/// One measurement of one engine. Latencies are in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The workload, `w1` to `w6`; W4 has two, `w4-newest` and `w4-forward`.
    pub workload: String,
    pub engine: String,
    pub version: String,
    pub settings: String,
    pub scale: f64,
    /// Which repetition, from 1.
    pub repeat: u32,
    /// What the rate counts: messages, commits, reads or opens.
    pub operations: u64,
    /// Time of the measured stretch; background work that goes on behind it is not in it.
    pub seconds: f64,
    /// Operations a second.
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// CPU time of the process in the measured stretch and until its background work was quiet.
    pub cpu_seconds: f64,
    /// Bytes that the process had written by then since it began, and in relation to the logical
    /// ones.
    pub written_bytes: u64,
    pub logical_bytes: u64,
    pub write_amplification: Option<f64>,
    /// Bytes that the database takes on the disk by then.
    pub disk_bytes: u64,
    /// Highest resident memory, and the part of it that is no file.
    pub peak_rss_bytes: u64,
    pub peak_anonymous_bytes: u64,
    /// What the device counted in the measured stretch, whoever caused it.
    pub device_flushes: Option<u64>,
    pub device_written_bytes: Option<u64>,
    /// Answers that were missing, wrong or too many. Anything but 0 is a failure.
    pub wrong_answers: u64,
}
