//! What is measured around a stretch of work, from the counters of the process and of the device.

use crate::Result;
use crate::record::Record;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
pub use tidelog_benches::measure::Latencies;
use tidelog_benches::measure::{Device, MemoryWatch, disk_bytes, process, settle};

/// Measures one stretch of work of this process.
pub struct Meter {
    directory: PathBuf,
    watch: MemoryWatch,
    device: Option<Device>,
    cpu: Duration,
    start: Instant,
}

/// The work of a stretch.
pub struct Work {
    pub workload: &'static str,
    pub operations: u64,
    pub logical_bytes: u64,
    pub latencies: Latencies,
    /// Time of the stretch where it is not simply the time that has passed.
    pub duration: Option<Duration>,
    /// Whether background work goes on behind the stretch, and belongs to it.
    pub settles: bool,
}

impl Meter {
    /// Begins a stretch.
    pub fn start(directory: &Path) -> Result<Meter> {
        Ok(Meter {
            directory: directory.to_owned(),
            watch: MemoryWatch::start(),
            device: Device::of(directory),
            cpu: process::cpu_time(),
            start: Instant::now(),
        })
    }

    /// Ends the stretch: what it took, without the name of the engine and its wrong answers.
    pub fn finish(self, work: Work) -> Result<Record> {
        let duration = work.duration.unwrap_or_else(|| self.start.elapsed());
        let before = self.device.as_ref();
        let counted = before.and_then(|device| device.since());
        if work.settles {
            settle()?;
        }
        let written_bytes = process::written_bytes()?;
        let amplification = written_bytes as f64 / work.logical_bytes as f64;
        Ok(Record {
            workload: work.workload.to_owned(),
            engine: String::new(),
            version: String::new(),
            settings: String::new(),
            scale: 0.0,
            repeat: 0,
            operations: work.operations,
            seconds: duration.as_secs_f64(),
            rate: work.operations as f64 / duration.as_secs_f64(),
            p50: work.latencies.quantile(0.5),
            p99: work.latencies.quantile(0.99),
            p999: work.latencies.quantile(0.999),
            max: work.latencies.quantile(1.0),
            cpu_seconds: (process::cpu_time() - self.cpu).as_secs_f64(),
            written_bytes,
            logical_bytes: work.logical_bytes,
            write_amplification: (work.logical_bytes > 0).then_some(amplification),
            disk_bytes: disk_bytes(&self.directory)?,
            peak_rss_bytes: process::peak_rss_bytes()?,
            peak_anonymous_bytes: self.watch.finish(),
            device_flushes: counted.map(|counted| counted.flushes),
            device_written_bytes: counted.map(|counted| counted.written_bytes),
            wrong_answers: 0,
        })
    }
}
