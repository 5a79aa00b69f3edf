//! What is measured around a stretch of work, from the counters of the process and of the device.

mod caches;
mod progress;

use crate::Result;
use crate::record::Record;
pub use caches::drop_caches;
pub use progress::Progress;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
pub use tidelog_benches::measure::Latencies;
use tidelog_benches::measure::{Device, MemoryWatch, disk_bytes, process, settle};

/// Measures one stretch of work of this process.
pub struct Meter {
    directory: PathBuf,
    watch: MemoryWatch,
    device: Option<Device>,
    read_bytes: u64,
    written_bytes: u64,
    cpu: Duration,
    start: Instant,
}

/// The work of a stretch.
#[derive(Default)]
pub struct Work {
    pub workload: &'static str,
    pub operations: u64,
    pub logical_bytes: u64,
    pub latencies: Latencies,
    /// Time of the stretch where it is not simply the time that has passed.
    pub duration: Option<Duration>,
    /// Whether background work goes on behind the stretch, and belongs to it.
    pub settles: bool,
    /// Whether reads of the device are what is measured.
    pub is_cold: bool,
}

impl Meter {
    /// Begins a stretch.
    pub fn start(directory: &Path) -> Result<Meter> {
        Ok(Meter {
            directory: directory.to_owned(),
            watch: MemoryWatch::start(),
            device: Device::of(directory),
            read_bytes: process::read_bytes()?,
            written_bytes: process::written_bytes()?,
            cpu: process::cpu_time(),
            start: Instant::now(),
        })
    }

    /// Ends the stretch: what it took, without the name of the engine and its wrong answers.
    pub fn finish(self, work: Work) -> Result<Record> {
        let duration = work.duration.unwrap_or_else(|| self.start.elapsed());
        let counted = self.device.as_ref().and_then(Device::since);
        let read_bytes = process::read_bytes()? - self.read_bytes;
        if work.settles {
            settle()?;
        }
        let written_bytes = process::written_bytes()?;
        let amplification = written_bytes as f64 / work.logical_bytes as f64;
        let mut record = Record {
            workload: work.workload.to_owned(),
            operations: work.operations,
            seconds: duration.as_secs_f64(),
            rate: work.operations as f64 / duration.as_secs_f64(),
            cpu_seconds: (process::cpu_time() - self.cpu).as_secs_f64(),
            written_bytes,
            written_in_stretch_bytes: written_bytes - self.written_bytes,
            logical_bytes: work.logical_bytes,
            write_amplification: (work.logical_bytes > 0).then_some(amplification),
            disk_bytes: disk_bytes(&self.directory)?,
            peak_rss_bytes: process::peak_rss_bytes()?,
            peak_anonymous_bytes: self.watch.finish(),
            mapped_bytes: process::mapped_bytes()?,
            device_flushes: counted.map(|counted| counted.flushes),
            device_written_bytes: counted.map(|counted| counted.written_bytes),
            device_reads: counted.filter(|_| work.is_cold).map(|counted| counted.reads),
            read_bytes: work.is_cold.then_some(read_bytes),
            ..Record::default()
        };
        record.take_latencies(&work.latencies);
        Ok(record)
    }
}
