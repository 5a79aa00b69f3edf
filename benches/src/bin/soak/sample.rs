//! What every interval shows: the file, the memory, and the bytes written since the start.

use crate::Result;
use crate::report::rounded;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tidelog_benches::measure::{Device, Latencies, allocated_bytes, process};
use tidelog_engine::{Engine, Stats};

/// Counters of the process and of the device at the start of what is measured.
pub(crate) struct Gauge {
    path: PathBuf,
    written_bytes: u64,
    device: Option<Device>,
}

impl Gauge {
    /// Begins to count. The store is open: what its creation has written is not counted.
    pub(crate) fn new(path: &Path) -> Result<Gauge> {
        let folder = path.parent().expect("a store lies in a folder");
        Ok(Gauge {
            path: path.to_owned(),
            written_bytes: process::written_bytes()?,
            device: Device::of(folder),
        })
    }

    /// Bytes that this process has written since the start, whatever they were.
    pub(crate) fn written_bytes(&self) -> Result<u64> {
        Ok(process::written_bytes()? - self.written_bytes)
    }

    /// Everything at this moment.
    pub(crate) fn take(&self, engine: &Engine) -> Result<Sample> {
        Ok(Sample {
            file_bytes: std::fs::metadata(&self.path)?.len(),
            allocated_bytes: allocated_bytes(&self.path)?,
            anonymous_bytes: process::anonymous_bytes()?,
            written_bytes: self.written_bytes()?,
            device_bytes: self.device.as_ref().and_then(Device::since).map(|c| c.written_bytes),
            stats: engine.stats(),
        })
    }
}

/// One moment.
pub(crate) struct Sample {
    pub(crate) file_bytes: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) anonymous_bytes: u64,
    pub(crate) written_bytes: u64,
    /// What the device was given, by whomever.
    pub(crate) device_bytes: Option<u64>,
    pub(crate) stats: Stats,
}

impl Sample {
    /// As part of a line.
    pub(crate) fn json(&self) -> Value {
        let stats = &self.stats;
        json!({
            "file_bytes": self.file_bytes,
            "allocated_bytes": self.allocated_bytes,
            "free_bytes": stats.free_bytes,
            "sstables": stats.sstables,
            "sstable_bytes": stats.sstable_bytes,
            "levels": stats.levels,
            "memtable_bytes": stats.memtable_bytes,
            "ring_used_bytes": stats.ring_used_bytes,
            "rss_anon_bytes": self.anonymous_bytes,
            "written_bytes": self.written_bytes,
            "device_written_bytes": self.device_bytes,
            "flushed_bytes": stats.flushed_bytes,
            "compacted_bytes": stats.compacted_bytes,
            "stalled_ms": stats.stalled_nanos / 1_000_000,
        })
    }
}

/// Quantiles of latencies, in microseconds.
pub(crate) fn quantiles(latencies: &Latencies) -> Value {
    let mut object = Map::new();
    object.insert("count".to_owned(), json!(latencies.count()));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        object.insert(format!("{name}_us"), rounded(latencies.quantile(quantile)));
    }
    Value::Object(object)
}

/// The members of both objects.
pub(crate) fn joined(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}
