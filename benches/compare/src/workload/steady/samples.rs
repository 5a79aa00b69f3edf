//! How latencies and the size of the database go with time.

use crate::Result;
use crate::measure::Latencies;
use crate::record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidelog_benches::measure::disk_bytes;

/// Intervals of a run.
const INTERVALS: u32 = 120;
/// A second in which an operation took longer has stalled.
const STALL: Duration = Duration::from_millis(100);

/// Gathers.
pub struct Samples {
    directory: PathBuf,
    start: Instant,
    ttl: Duration,
    interval: Duration,
    next: Instant,
    /// Of the whole run, and of the interval.
    writes: [Latencies; 2],
    reads: [Latencies; 2],
    /// The second that an operation stalled in last, and how many there were.
    stalled: (u64, u64),
    series: Vec<BTreeMap<String, f64>>,
    behind: Duration,
}

impl Samples {
    /// Begins a run.
    pub fn new(directory: &Path, length: Duration, ttl: Duration) -> Samples {
        let interval = length / INTERVALS;
        let start = Instant::now();
        Samples {
            directory: directory.to_owned(),
            start,
            ttl,
            interval,
            next: start + interval,
            writes: [Latencies::new(), Latencies::new()],
            reads: [Latencies::new(), Latencies::new()],
            stalled: (u64::MAX, 0),
            series: Vec::new(),
            behind: Duration::ZERO,
        }
    }

    /// Takes a batch.
    pub fn wrote(&mut self, latency: Duration) {
        self.writes.iter_mut().for_each(|latencies| latencies.record(latency));
        self.note(latency);
    }

    /// Takes a read.
    pub fn read(&mut self, latency: Duration) {
        self.reads.iter_mut().for_each(|latencies| latencies.record(latency));
        self.note(latency);
    }

    fn note(&mut self, latency: Duration) {
        let second = self.start.elapsed().as_secs();
        if latency > STALL && self.stalled.0 != second {
            self.stalled = (second, self.stalled.1 + 1);
        }
    }

    /// Looks at the disk, if it is time.
    pub fn sample(&mut self, behind: Duration) -> Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next += self.interval;
        let values = [
            ("second", self.start.elapsed().as_secs_f64()),
            ("disk_mib", disk_bytes(&self.directory)? as f64 / 1_048_576.0),
            ("write_p99_us", self.writes[1].quantile(0.99)),
            ("read_p99_us", self.reads[1].quantile(0.99)),
            ("max_us", self.writes[1].quantile(1.0).max(self.reads[1].quantile(1.0))),
            ("behind_ms", behind.as_secs_f64() * 1e3),
        ];
        self.series.push(values.map(|(name, value)| (name.to_owned(), value)).into());
        self.writes[1].clear();
        self.reads[1].clear();
        Ok(())
    }

    /// The end of the run, and how far it was behind its schedule then.
    pub fn finish(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// Of each batch.
    pub fn writes(&self) -> &Latencies {
        &self.writes[0]
    }

    /// Of each read.
    pub fn reads(&self) -> &Latencies {
        &self.reads[0]
    }

    /// Batches, and there are as many reads.
    pub fn operations(&self) -> u64 {
        self.writes[0].count()
    }

    /// Puts into the record what only this workload has.
    pub fn describe(self, record: &mut Record) {
        let from = |second: f64| {
            let late = self.series.iter().filter(move |interval| interval["second"] >= second);
            late.map(|interval| interval["disk_mib"]).fold(0.0, f64::max)
        };
        let mut add = |name: &str, value: f64| record.figures.insert(name.to_owned(), value);
        add("disk MiB at most", from(0.0));
        // The first time to live fills the store, the second one may still settle.
        add("disk MiB at most, steady", from(self.ttl.as_secs_f64() * 2.0));
        add("stalled seconds", self.stalled.1 as f64);
        add("ms behind at the end", self.behind.as_secs_f64() * 1e3);
        record.series = self.series;
    }
}
